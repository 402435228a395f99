"""The shop's slow neighbour: takes a product's name on a TCP connection, answers with a number after 40 ms."""
import socketserver
import time


class Answer(socketserver.StreamRequestHandler):
    def handle(self):
        product = self.rfile.readline().strip()
        time.sleep(0.04)
        self.wfile.write(b'%d\n' % (100 * len(product)))


with socketserver.TCPServer(('127.0.0.1', 0), Answer) as server:
    print('listening on %s:%d' % server.server_address, flush=True)
    server.serve_forever()
