"""A Flask application that can tell which functions call which: by sys.setprofile while a request is traced."""
import inspect
import json
import sys

import flask

application = flask.Flask(__name__)
calls = set()
functions = {}


@application.route('/cart/<int:number>')
def cart(number):
    return flask.jsonify([row(i) for i in range(number)])


@application.before_request
def prepare():
    flask.g.user = 'somebody'


def row(i):
    return flask.render_template_string('{{ i }} of {{ g.user }}', i=i)


def note(frame, event, argument):
    while event == 'call' and frame.f_back:
        calls.add(identity(frame.f_back) + identity(frame))
        functions[identity(frame)] = frame.f_code
        frame = frame.f_back


def creations():
    """Who may make generators: from 3.11 on that takes a moment in the generator's own frame, which is not told."""
    for maker, code in functions.items():
        for made, generator in functions.items():
            if generator.co_flags & inspect.CO_GENERATOR and generator.co_name in code.co_names:
                yield maker + made


def identity(frame):
    code = frame.f_code
    return code.co_filename, getattr(code, 'co_qualname', code.co_name), code.co_firstlineno


def app(environ, start_response):
    if environ['PATH_INFO'] == '/calls':
        body = json.dumps(sorted(calls.union(creations()))).encode()
        start_response('200 OK', [('Content-Length', str(len(body)))])
        return [body]
    if environ['QUERY_STRING'] != 'trace':
        return application(environ, start_response)
    sys.setprofile(note)
    try:
        return list(application(environ, start_response))  # traced to its end
    finally:
        sys.setprofile(None)
