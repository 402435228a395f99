"""Calls of every kind. Each comes to pause, which notes the stack that a traceback would show."""
import functools
import json
import os
import signal
import sys
import threading
import time

seen = []
kept = []  # code, so that its lines can be told afterwards


def pause(*_):
    frame, stack = sys._getframe(1), []
    while frame:
        code = frame.f_code
        stack.append((getattr(code, 'co_qualname', code.co_name), code.co_filename, code.co_firstlineno, frame.f_lineno))
        frame = frame.f_back
    seen.append(stack[::-1])
    time.sleep(0.005)
    return 1


class Meta(type):
    def __call__(cls, *args):
        return super().__call__(*args)


class Made(metaclass=Meta):
    def __init__(self):
        pause()


class Special:
    def __enter__(self):
        pause()

    def __exit__(self, *error):
        pause()

    def __getattr__(self, name):
        return pause()

    def __eq__(self, other):
        return bool(pause())

    def __hash__(self):
        return pause()

    def __lt__(self, other):
        return bool(pause())

    def __str__(self):
        return 'x' * pause()

    def __iter__(self):
        yield pause()

    def __call__(self):
        return pause()

    @property
    def attribute(self):
        return pause()

    @classmethod
    def of_class(cls):
        pause()

    @staticmethod
    def static():
        pause()


class Dropped:
    def __del__(self):
        pause()


def decorator(function):
    @functools.wraps(function)
    def wrapper(*args):
        return function(*args)
    return wrapper


@decorator
@decorator
def decorated():
    pause()


def special():
    with Special() as nothing:
        assert nothing is None
    Special().missing
    Special() == Special()
    hash(Special())
    sorted([Special(), Special()])
    str(Special())
    list(Special())
    Special()()
    Special().attribute
    Special.of_class()
    Special().static()
    Dropped()
    Made()
    decorated()


def from_c():
    sorted([1], key=pause)
    list(map(lambda x: pause(), [1]))
    functools.reduce(lambda a, b: pause(), [1, 2])
    functools.partial(pause)()
    threading.Timer(0, pause).run()


def comprehensions():
    [pause() for _ in (1,)]
    {pause(): [pause() for _ in (1,)] for _ in (1,)}
    list(pause() for _ in (1,))
    functools.partial(
        pause,
        pause(
            1),
    )(
        *[2]
    )


def delegated():
    yield pause()


def generators():
    def delegates():
        yield from delegated()

    def ends():
        try:
            yield
        except ValueError:
            pause()
        try:
            yield
        finally:
            pause()

    list(delegates())
    generator = ends()
    next(generator)
    generator.throw(ValueError())
    generator.close()


def coroutines():
    async def yields():
        yield pause()

    async def inner():
        pause()

    async def outer():
        await inner()
        async for _ in yields():
            pause()

    finish(outer())


def finish(coroutine):
    try:
        coroutine.send(None)
    except StopIteration:
        pass


def compiled():
    code = compile('def made():\n\n    pause()\n\nmade()', 'vorlage_ü.html', 'exec')
    kept.append(code)
    exec(code, {'pause': pause})
    code = compile('pause()', '<string>', 'eval')
    kept.append(code)
    eval(code)

    class Body:
        pause()
    kept.append(Body)


def exceptions():
    try:
        raise KeyError
    except KeyError:
        pause()
    finally:
        pause()


def traced():
    def trace(*_):
        return trace
    sys.settrace(trace)
    pause()
    sys.settrace(None)
    sys.setprofile(trace)
    pause()
    sys.setprofile(None)


def signalled():
    before = signal.signal(signal.SIGALRM, pause)
    os.kill(os.getpid(), signal.SIGALRM)
    time.sleep(0)
    signal.signal(signal.SIGALRM, before)


def initialised():
    class Fresh:
        def __init__(self, waits):
            if waits:
                pause()

    for i in range(100):  # until the interpreter has specialised the call
        Fresh(i == 99)


def app(environ, start_response):
    del seen[:]
    for kind in (special, from_c, comprehensions, generators, coroutines, compiled, exceptions, traced, signalled, initialised):
        kind()
    body = json.dumps(seen).encode()
    start_response('200 OK', [('Content-Length', str(len(body)))])
    return [body]
