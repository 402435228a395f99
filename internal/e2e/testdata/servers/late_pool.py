"""A WSGI application whose executor has no threads before the first request that uses it."""
import concurrent.futures
import json
import time

pool = concurrent.futures.ThreadPoolExecutor(8)

SOURCE = '''
def doze_K():
    start = time.perf_counter()
    time.sleep(0.01)
    return {'doze_K': time.perf_counter() - start}
'''
for k in range(24):
    exec(SOURCE.replace('K', str(k)))


def app(environ, start_response):
    k = environ['PATH_INFO'].rsplit('/', 1)[1]
    body = json.dumps(pool.submit(globals()['doze_' + k]).result() if k else {}).encode()
    start_response('200 OK', [('Content-Type', 'application/json'), ('Content-Length', str(len(body)))])
    return [body]
