"""Makes one function after another of the same shape and frees it: their code objects use the same addresses.

Prints the address and name of each, and waits for a line after each print.
"""
import sys


def make(name):
    names = {}
    exec(compile("def %s():\n return 1\n" % name, "/srv/made.py", "exec"), names)
    return names.pop(name)


def show(function):
    print(id(function.__code__), function.__name__, flush=True)
    sys.stdin.readline()


for i in range(1000000):
    show(make("f%06d" % i))
