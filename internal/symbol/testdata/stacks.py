"""Builds stacks of every kind of function, prints what CPython says of them, and waits for a line on standard input.

One JSON object a thread: its ident and its frames from the topmost to the outermost, each [address of the code object,
name, file, first line, current line]. The code that prints and waits is one line, so that no line moves in between.
"""
import asyncio
import json
import sys
import threading


def say(frame):
    frames = []
    while frame:
        code = frame.f_code
        name = getattr(code, "co_qualname", code.co_name)
        frames.append([id(code), name, code.co_filename, code.co_firstlineno, frame.f_lineno or 0])
        frame = frame.f_back
    return frames


def report():
    stacks = [{"thread": ident, "frames": say(frame)} for ident, frame in sys._current_frames().items()]
    for stack in stacks:
        if stack["thread"] == threading.get_ident():
            del stack["frames"][0]  # this function
    print(json.dumps(stacks), flush=True)


def bottom():
    report(), sys.stdin.readline()


def привет(go): return go()


def été(go):
    return [go() for _ in range(1)]


def 𐌰𐌱(go):
    x = (
        1,
        go(
        ),
        3,
    )
    return x


class Outer:
    class Inner:
        def method(self, go):
            def local():
                try:
                    pass
                finally:
                    with open("/dev/null"):
                        go()
            local()

        @property
        def value(self):
            return (lambda: self.go())()


def generator(go):
    yield from inner(go)


def inner(go):
    for i in range(2):
        if i:
            yield go()


async def leaf(go):
    go()


async def middle(go):
    await asyncio.sleep(0)
    async with Manager(go):
        pass


class Manager:
    def __init__(self, go):
        self.go = go

    async def __aenter__(self):
        await leaf(self.go)

    async def __aexit__(self, *error):
        pass


def coroutines(go):
    asyncio.new_event_loop().run_until_complete(middle(go))


def executed(go):
    exec(compile("\n\n\ndef made(): go()\nmade()", "<string>", "exec"), {"go": go})


def far(go):
    source = "def far_away(go):\n x = [" + "\n" * 400 + ",".join(["go"] * 300) + "]\n" + "\n" * 200 + " x[-1](\n\n)\n"
    names = {}
    exec(compile(source, "/srv/😀/away.py", "exec"), names)
    names["far_away"](go)


def inner_value(go):
    value = Outer.Inner()
    value.go = go
    return value.value


def listed(go):
    return list(generator(go)), sorted([2, 1], key=lambda _: None or 1)


def chain(functions):
    if not functions:
        return bottom()
    return functions[0](lambda: chain(functions[1:]))


def waiter(ready, never):
    while True:
        ready.set()
        never.wait()


ALL = [привет, été, 𐌰𐌱, Outer.Inner().method, listed, coroutines, executed, far, inner_value]
ready, never = threading.Event(), threading.Event()
threading.Thread(target=waiter, args=(ready, never), daemon=True).start()
ready.wait()
chain(ALL)
