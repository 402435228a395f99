"""Serves work.py's views from threads of native.c, whose library is the argument."""
import ctypes
import json
import signal
import socket
import sys

import truth
import work

HEAD = 'HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\nX-Truth: %s\r\n\r\n'


@ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_void_p)
def handle(path, answer):
    truth.begin()
    work.VIEWS[path.decode().strip('/')]()
    text = (HEAD % json.dumps(truth.truth.seconds)).encode() + b'\0'
    ctypes.memmove(answer, text, len(text))


listener = socket.socket()
listener.bind(('127.0.0.1', 0))
listener.listen(100)
ctypes.CDLL(sys.argv[1]).start(listener.fileno(), 3, handle)
print('Listening at: %d' % listener.getsockname()[1], file=sys.stderr, flush=True)
signal.pause()
