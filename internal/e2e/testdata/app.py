"""A service with one view for each thing that a server or a request can do."""
import os
import socket
import sqlite3
import tempfile
import threading
import time
import urllib.parse
import urllib.request

served = 0
counting = threading.Lock()


def app(environ, start_response):
    global served
    path = environ['PATH_INFO'].strip('/')
    name, _, argument = path.partition('/')
    if name == 'count':
        return plain(start_response, str(served))
    with counting:
        served += 1
    query = dict(urllib.parse.parse_qsl(environ['QUERY_STRING']))
    body = VIEWS.get(name, hello)(environ, start_response, argument, query)
    return [] if environ['REQUEST_METHOD'] == 'HEAD' else body


def plain(start_response, text, status='200 OK'):
    body = text.encode()
    start_response(status, [('Content-Type', 'text/plain'), ('Content-Length', str(len(body)))])
    return [body]


def hello(environ, start_response, argument, query):
    return plain(start_response, 'hello')


def empty(environ, start_response, argument, query):
    return plain(start_response, '')


def status(environ, start_response, argument, query):
    """A status without a body."""
    start_response(argument + ' Some Reason', [])
    return []


def error(environ, start_response, argument, query):
    return plain(start_response, 'it failed', '500 Internal Server Error')


def escape(environ, start_response, argument, query):
    raise RuntimeError('escapes the application')


def escape_late(environ, start_response, argument, query):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    yield b'a part of it'
    raise RuntimeError('escapes in the middle of the answer')


def echo(environ, start_response, argument, query):
    total = 0
    while True:
        data = environ['wsgi.input'].read(65536)
        if not data:
            return plain(start_response, str(total))
        total += len(data)


def ignore(environ, start_response, argument, query):
    return plain(start_response, 'not read')


def stream(environ, start_response, argument, query):
    """Without a length: chunked, or up to the end of the connection."""
    start_response('200 OK', [('Content-Type', 'text/plain')])
    for i in range(int(argument)):
        yield b'part %d\n' % i


def big(environ, start_response, argument, query):
    return plain(start_response, 'x' * int(argument))


def nap(environ, start_response, argument, query):
    time.sleep(int(argument) / 1000)
    return plain(start_response, 'awake')


def hold(environ, start_response, argument, query):
    """Tells the test that it has begun, and goes on when the test lets it."""
    gate(query['gate'])
    return plain(start_response, 'released')


def hold_late(environ, start_response, argument, query):
    """The same in the middle of the answer."""
    start_response('200 OK', [('Content-Type', 'text/plain')])
    yield b'a part of it'
    gate(query['gate'])
    for _ in range(64):
        yield b'x' * 65536


def gate(address):
    host, _, port = address.rpartition(':')
    with socket.create_connection((host, int(port))) as s:
        s.sendall(b'at the gate\n')
        while s.recv(100):
            pass


def fetch(environ, start_response, argument, query):
    """Is a client itself, with a body each way."""
    request = urllib.request.Request(query['url'], data=b'a body', headers={'X-Sent-By': 'the service'})
    with urllib.request.urlopen(request) as answer:
        return plain(start_response, 'fetched %d bytes' % len(answer.read()))


REQUEST = b'GET /not/a/request HTTP/1.1\r\nHost: nobody\r\n\r\n'
ANSWER = b'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n'


def datagrams(address):
    """As QUIC has them, on the port that requests come to by TCP."""
    with socket.socket(type=socket.SOCK_DGRAM) as server, socket.socket(type=socket.SOCK_DGRAM) as client:
        server.bind(address)
        client.sendto(REQUEST, address)
        _, back = server.recvfrom(1000)
        server.sendto(ANSWER, back)
        client.recv(1000)


def noise(environ, start_response, argument, query):
    """Reads and writes what looks like HTTP wherever it is none."""
    with tempfile.TemporaryFile() as f:
        f.write(REQUEST)
        f.seek(0)
        f.read()
    a, b = socket.socketpair()
    reading, writing = os.pipe()
    os.write(writing, REQUEST)
    os.read(reading, 1000)
    os.close(reading)
    os.close(writing)
    for one, other in ((a, b), (b, a)):
        one.sendall(REQUEST)
        other.recv(1000)
        other.sendall(ANSWER)
        one.recv(1000)
    a.close()
    b.close()
    datagrams(('127.0.0.1', int(environ['SERVER_PORT'])))
    database(query['database'])
    with sqlite3.connect(':memory:') as connection:
        connection.execute('create table heads (head)')
        connection.execute('insert into heads values (?)', (REQUEST,))
        connection.execute('select * from heads').fetchall()
    return plain(start_response, 'done')


def database(address):
    """A server that answers with what looks like a request."""
    host, _, port = address.rpartition(':')
    with socket.create_connection((host, int(port))) as s:
        for _ in range(5):
            s.sendall(b'SELECT 1;\n')
            s.recv(1000)


VIEWS = {
    'empty': empty, 'status': status, 'error': error, 'escape': escape, 'escape-late': escape_late, 'echo': echo,
    'ignore': ignore, 'stream': stream, 'big': big, 'nap': nap, 'hold': hold, 'hold-late': hold_late, 'fetch': fetch,
    'noise': noise,
}
