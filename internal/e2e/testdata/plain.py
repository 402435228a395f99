"""A server of the standard library that knows pipelining: it reads through a buffer. Its address is its argument, which
mptcp may follow."""
import http.server
import os
import socket
import sys


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def do_GET(self):
        body = b'hello'
        self.send_response(200)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        if self.path == '/renew':  # as autoreload of Tornado and CherryPy does
            os.execv(sys.executable, [sys.executable, *sys.argv])

    def do_POST(self):
        self.rfile.read(int(self.headers['Content-Length']))
        self.do_GET()

    def log_message(self, *args):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256
    address_family = socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET


with Server((sys.argv[1], 0), Handler, bind_and_activate=False) as server:
    if 'mptcp' in sys.argv:
        server.socket.close()
        server.socket = socket.socket(server.address_family, socket.SOCK_STREAM, 262)  # IPPROTO_MPTCP, Python 3.10
    server.server_bind()
    server.server_activate()
    print('Listening at: %d' % server.server_port, file=sys.stderr)
    server.serve_forever()
