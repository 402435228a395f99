"""Servers that are started by a program: serve.py SERVER PORT."""
import sys


def gevent_pywsgi(port):
    from gevent import monkey
    monkey.patch_all()
    from gevent.pywsgi import WSGIServer
    from wsgi import app
    WSGIServer(('127.0.0.1', port), app, log=None).serve_forever()


def eventlet_wsgi(port):
    import eventlet
    eventlet.monkey_patch()
    from eventlet import wsgi
    from wsgi import app
    wsgi.server(eventlet.listen(('127.0.0.1', port)), app, log_output=False)


def waitress(port):
    from waitress import serve
    from wsgi import app
    serve(app, host='127.0.0.1', port=port, threads=32)


def werkzeug(port):
    from werkzeug.serving import run_simple
    from wsgi import app
    run_simple('127.0.0.1', port, app, threaded=True)


def cheroot(port):
    from cheroot.wsgi import Server
    from wsgi import app
    Server(('127.0.0.1', port), app, numthreads=16).start()


def wsgiref(port):
    from wsgiref.simple_server import WSGIServer, make_server
    from wsgi import app
    WSGIServer.request_queue_size = 128
    make_server('127.0.0.1', port, app).serve_forever()


def bjoern(port):
    import bjoern
    from wsgi import app
    bjoern.run(app, '127.0.0.1', port)


globals()[sys.argv[1]](int(sys.argv[2]))
