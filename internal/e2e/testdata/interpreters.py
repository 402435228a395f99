"""Work in a sub-interpreter, and beside one that does nothing."""
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
import time

made = []
SOURCE = """
import sys
import threading
import time

def inside():
    time.sleep(0.05)

def spin():
    end = time.monotonic() + 0.03
    while time.monotonic() < end:
        pass

def contend():
    other = threading.Thread(target=spin)
    other.start()
    spin()
    other.join()

inside()
if sys.version_info >= (3, 12):  # it has an interpreter lock of its own
    contend()
"""


def outside():
    if not made:
        made.extend([interpreters.create(), interpreters.create()])
    getattr(interpreters, 'exec', interpreters.run_string)(made[0], SOURCE)


def alone():
    time.sleep(0.03)


def app(environ, start_response):
    outside()
    alone()
    start_response('200 OK', [('Content-Length', '0')])
    return []
