"""An application that scribbles over what the interpreter keeps of its own functions, sleeps, and puts it right before
the interpreter looks. Offsets are those of CPython 3.13 to 3.15 with the interpreter lock."""
import ctypes
import time

CURRENT_FRAME = 72  # PyThreadState.current_frame
EXECUTABLE, PREVIOUS = 0, 8  # _PyInterpreterFrame
QUALNAME = 128  # PyCodeObject.co_qualname
LENGTH = 16  # PyASCIIObject.length

state = ctypes.pythonapi.PyThreadState_Get
state.restype = ctypes.c_uint64
word = ctypes.c_uint64.from_address
memory = ctypes.create_string_buffer(b'\xa5' * 65536)
garbage = ctypes.addressof(memory)


def hold(field, value):
    """Sleeps while a word is another. Nothing but C functions is called meanwhile."""
    old, sleep = field.value, time.sleep
    field.value = value
    sleep(0.03)
    field.value = old


def made(name):
    """A function whose name nobody else has."""
    names = {'hold': hold}
    exec(compile('def %s(*args): hold(*args)' % name, 'made.py', 'exec'), names)
    return names[name]


def scribble(kind):
    frame = word(state() + CURRENT_FRAME).value  # of this function
    if kind == 'loop':
        hold(word(frame + PREVIOUS), frame)
    elif kind == 'nowhere':
        hold(word(frame + PREVIOUS), 16)
    elif kind == 'nonsense':
        hold(word(frame + PREVIOUS), garbage)
    elif kind == 'code':
        hold(word(frame + EXECUTABLE), garbage)
    elif kind == 'object':
        hold(word(frame + EXECUTABLE), id('no code object'))
    elif kind == 'kernel':
        hold(word(frame + PREVIOUS), 0xffff888000000000)
    elif kind == 'thread':
        hold(word(state() + CURRENT_FRAME), garbage)
    elif kind == 'name':
        victim = made('victim_of_another_name')
        victim(word(id(victim.__code__) + QUALNAME), garbage)
    elif kind == 'length':
        victim = made('victim_of_length')
        victim(word(id(victim.__code__.co_qualname) + LENGTH), 1 << 30)
    else:
        time.sleep(0.03)


def app(environ, start_response):
    scribble(environ['PATH_INFO'].strip('/'))
    start_response('200 OK', [('Content-Length', '4')])
    return [b'done']
