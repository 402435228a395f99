"""Work in a sub-interpreter, and beside one that does nothing."""
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
import time

made = []
SOURCE = """
import time

def inside():
    time.sleep(0.05)

inside()
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
