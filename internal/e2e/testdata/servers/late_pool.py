"""A WSGI application whose executor has no threads before the first request that uses it."""
import concurrent.futures
import json

import doze

pool = concurrent.futures.ThreadPoolExecutor(8)


def app(environ, start_response):
    k = environ['PATH_INFO'].rsplit('/', 1)[1]
    body = json.dumps(pool.submit(getattr(doze, 'doze_' + k)).result() if k else {}).encode()
    start_response('200 OK', [('Content-Type', 'application/json'), ('Content-Length', str(len(body)))])
    return [body]
