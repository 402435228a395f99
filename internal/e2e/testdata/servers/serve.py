"""Servers that are started by a program: serve.py SERVER PORT [CERTIFICATE KEY]."""
import sys


def gevent_pywsgi(port, cert=None, key=None):
    from gevent import monkey
    monkey.patch_all()
    from gevent.pywsgi import WSGIServer
    from wsgi import app
    tls = {'certfile': cert, 'keyfile': key} if cert else {}
    WSGIServer(('127.0.0.1', port), app, log=None, **tls).serve_forever()


def eventlet_wsgi(port, cert=None, key=None):
    import eventlet
    eventlet.monkey_patch()
    from eventlet import wsgi
    from wsgi import app
    listener = eventlet.listen(('127.0.0.1', port))
    if cert:
        listener = eventlet.wrap_ssl(listener, certfile=cert, keyfile=key, server_side=True)
    wsgi.server(listener, app, log_output=False)


def waitress(port):
    from waitress import serve
    from wsgi import app
    serve(app, host='127.0.0.1', port=port, threads=32)


def werkzeug(port, *pair):
    from werkzeug.serving import run_simple
    from wsgi import app
    run_simple('127.0.0.1', port, app, threaded=True, ssl_context=pair or None)


def cheroot(port, cert=None, key=None, adapter='builtin'):
    from cheroot.wsgi import Server
    from wsgi import app
    server = Server(('127.0.0.1', port), app, numthreads=16)
    if cert:
        from cheroot.server import get_ssl_adapter_class
        server.ssl_adapter = get_ssl_adapter_class(adapter)(cert, key)
    server.start()


def wsgiref(port, *pair):
    from wsgiref.simple_server import WSGIServer, make_server
    from wsgi import app
    WSGIServer.request_queue_size = 128
    server = make_server('127.0.0.1', port, app)
    if pair:
        import ssl
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*pair)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    server.serve_forever()


def bjoern(port):
    import bjoern
    from wsgi import app
    bjoern.run(app, '127.0.0.1', port)


globals()[sys.argv[1]](int(sys.argv[2]), *sys.argv[3:])
