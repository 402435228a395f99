"""Passes a request for /relay/HOST:PORT/PATH on to a service, with the headers that name its trace."""
import http.client

PASSED = {'HTTP_X_APM_TRACER': 'X-APM-TRACER', 'HTTP_TRACEPARENT': 'traceparent'}


def app(environ, start_response):
    _, _, address, path = (environ['PATH_INFO'] + '///').split('/', 3)
    body = relay(address, '/' + path.rstrip('/'), environ) if address else b'{}'
    start_response('200 OK', [('Content-Type', 'application/json'), ('Content-Length', str(len(body)))])
    return [body]


def relay(address, path, environ):
    headers = {name: environ[key] for key, name in PASSED.items() if key in environ}
    peer = http.client.HTTPConnection(address)
    peer.request('GET', path, headers=headers)
    body = peer.getresponse().read()
    peer.close()
    return body
