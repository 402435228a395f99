/* The interpreter, linked into an executable that exports nothing. */
#include <Python.h>

int main(int argc, char **argv)
{
#if PY_VERSION_HEX >= 0x03080000
	return Py_BytesMain(argc, argv);
#else
	return _Py_UnixMain(argc, argv);
#endif
}
