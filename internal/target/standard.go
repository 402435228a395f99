package target

import "strings"

// standard has the top-level modules and packages in Lib of CPython 3.6 to 3.15, but for tests.
var standard = func() map[string]bool {
	out := map[string]bool{}
	for _, name := range strings.Fields(standardNames) {
		out[name] = true
	}
	return out
}()

const standardNames = `
__future__ _aix_support _android_support _apple_support _ast_unparse _bootlocale _bootsubprocess _collections_abc
_colorize _compat_pickle _compression _distutils_system_mod _dummy_thread _ios_support _markupbase
_missing_stdlib_info _opcode_metadata _osx_support _py_abc _py_warnings _pydatetime _pydecimal _pyio _pylong _pyrepl
_sitebuiltins _strptime _threading_local _weakrefset abc aifc annotationlib argparse ast asynchat asyncio asyncore
base64 bdb binhex bisect bz2 cProfile calendar cgi cgitb chunk cmd code codecs codeop collections colorsys compileall
compression concurrent configparser contextlib contextvars copy copyreg crypt csv ctypes curses dataclasses datetime
dbm decimal difflib dis distutils doctest dummy_threading email encodings ensurepip enum filecmp fileinput fnmatch
formatter fractions ftplib functools genericpath getopt getpass gettext glob graphlib gzip hashlib heapq hmac html
http idlelib imaplib imghdr imp importlib inspect io ipaddress json keyword lib2to3 linecache locale logging lzma
macpath macurl2path mailbox mailcap mimetypes modulefinder multiprocessing netrc nntplib ntpath nturl2path numbers
opcode operator optparse os pathlib pdb pickle pickletools pipes pkgutil platform plistlib poplib posixpath pprint
profile profiling pstats pty py_compile pyclbr pydoc pydoc_data queue quopri random re reprlib rlcompleter runpy sched
secrets selectors shelve shlex shutil signal site smtpd smtplib sndhdr socket socketserver sqlite3 sre_compile
sre_constants sre_parse ssl stat statistics string stringprep struct subprocess sunau symbol symtable sysconfig
tabnanny tarfile telnetlib tempfile textwrap this threading timeit tkinter token tokenize tomllib trace traceback
tracemalloc tty turtle types typing unittest urllib uu uuid venv warnings wave weakref webbrowser wsgiref xdrlib xml
xmlrpc zipapp zipfile zipimport zoneinfo
`
