"""Functions that tell how long they took: seconds by name, outermost call only, on the wall clock."""
import contextlib
import functools
import threading
import time

now = time.perf_counter


class Truth(threading.local):
    def __init__(self):
        self.seconds = {}
        self.depth = {}


truth = Truth()


def begin():
    truth.seconds = {}
    truth.depth = {}


def add(name, start):
    truth.seconds[name] = truth.seconds.get(name, 0) + now() - start


def timed(function):
    name = function.__name__

    @functools.wraps(function)
    def measured(*args):
        depth = truth.depth
        depth[name] = depth.get(name, 0) + 1
        start = now()
        try:
            return function(*args)
        finally:
            depth[name] -= 1
            if not depth[name]:
                add(name, start)

    return measured


@contextlib.contextmanager
def part(name):
    """For what is no whole call: one step of a generator."""
    start = now()
    try:
        yield
    finally:
        add(name, start)


def crunch(ms):
    end = now() + ms / 1000
    while now() < end:
        pass
