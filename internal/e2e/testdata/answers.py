"""A server on bare sockets that answers by every call that writes. Its address is its argument."""
import os
import signal
import socket
import sys
import tempfile
import threading

BODY = b'b' * 100000
file = tempfile.TemporaryFile()
file.write(BODY)
file.flush()


def head(*headers, status=b'200 OK'):
    return b'\r\n'.join((b'HTTP/1.1 ' + status, *headers, b'', b''))


SIZED = b'Content-Length: %d' % len(BODY)


def long_head(conn):
    conn.sendall(head(*(b'X-%d: %s' % (i, b'v' * 90) for i in range(100)), SIZED) + BODY)


def sendfile(conn):
    conn.sendall(head(SIZED))
    sent = 0
    while sent < len(BODY):
        sent += os.sendfile(conn.fileno(), file.fileno(), sent, len(BODY) - sent)


def sendmsg(conn):
    sent = conn.sendmsg([head(SIZED), BODY[:50000], BODY[50000:]])
    conn.sendall((head(SIZED) + BODY)[sent:])


def writev(conn):
    sent = os.writev(conn.fileno(), [head(SIZED), BODY])
    conn.sendall((head(SIZED) + BODY)[sent:])


def splice(conn):
    conn.sendall(head(SIZED))
    from_pipe, to_pipe = os.pipe()
    for at in range(0, len(BODY), 50000):
        os.write(to_pipe, BODY[at:at + 50000])
        left = 50000
        while left:
            left -= os.splice(from_pipe, conn.fileno(), left)
    os.close(from_pipe)
    os.close(to_pipe)


def trailers(conn):
    conn.sendall(head(b'Transfer-Encoding: chunked', b'Trailer: X-Sum'))
    conn.sendall(b'%x\r\n%s\r\n' % (len(BODY), BODY))
    conn.sendall(b'0\r\nX-Sum: 1\r\n\r\n')


def upgrade(conn):
    conn.sendall(head(b'Upgrade: websocket', b'Connection: Upgrade', status=b'101 Switching Protocols'))
    while frame := conn.recv(1000):
        conn.sendall(frame)


def slow(conn):
    body = BODY * 100
    conn.sendall(head(b'Content-Length: %d' % len(body)) + body)


def serve(conn):
    buffered = b''
    while True:
        while b'\r\n\r\n' not in buffered:
            if not (more := conn.recv(8192)):
                return conn.close()
            buffered += more
        request, _, buffered = buffered.partition(b'\r\n\r\n')
        globals()[request.split()[1].decode().strip('/')](conn)


signal.signal(signal.SIGUSR1, lambda *_: None)
listener = socket.create_server((sys.argv[1], 0))
print('Listening at: %d' % listener.getsockname()[1], file=sys.stderr)
while True:
    threading.Thread(target=serve, args=listener.accept()[:1]).start()
