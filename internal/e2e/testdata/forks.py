"""pairs in a server that forks for each request."""
import socketserver
import sys
import wsgiref.simple_server

import pairs


class Server(socketserver.ForkingMixIn, wsgiref.simple_server.WSGIServer):
    pass


with wsgiref.simple_server.make_server('127.0.0.1', 0, pairs.app, Server) as server:
    print('Listening at: %d' % server.server_port, file=sys.stderr)
    server.serve_forever()
