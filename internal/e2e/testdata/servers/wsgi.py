"""Applications without a framework, and one on Flask."""
import work

try:
    import flask
except ImportError:
    flask = None


def app(environ, start_response):
    body = work.run(environ['PATH_INFO']).encode() if len(environ['PATH_INFO']) > 1 else b'{}'
    start_response('200 OK', [('Content-Type', 'application/json'), ('Content-Length', str(len(body)))])
    return [body]


if flask:
    async_views = flask.Flask(__name__)

    @async_views.get('/')
    def index():
        return '{}'

    @async_views.get('/<path:path>')
    async def view(path):
        return await work.arun(path)
