"""An application for mod_wsgi, which runs it in an interpreter of its own beside the main one."""
import time


def wait():
    time.sleep(0.02)


def application(environ, start_response):
    wait()
    start_response('200 OK', [('Content-Length', '4')])
    return [b'done']
