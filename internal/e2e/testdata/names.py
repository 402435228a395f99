"""Functions with all kinds of names, on a framework where there is one."""
import time

try:
    import flask
except ImportError:
    flask = None


class Größe:
    def 測る(self):
        time.sleep(0.02)

    @staticmethod
    def statisch():
        def déjà_vu():
            time.sleep(0.01)

        return déjà_vu()


def обработать():
    Größe().測る()
    Größe.statisch()
    (lambda: time.sleep(0.01))()
    [time.sleep(0.005) for _ in range(2)]
    𝓏𝑒𝓇𝑜()
    return 'done'


def 𝓏𝑒𝓇𝑜():
    exec(compile('def \U00020000():\n  sleep(0.01)\n\U00020000()', 'astral 🐍.py', 'exec'), {'sleep': time.sleep})


if flask:
    app = flask.Flask(__name__)
    app.add_url_rule('/', view_func=обработать)
else:
    def app(environ, start_response):
        start_response('200 OK', [('Content-Length', '4')])
        return [обработать().encode()]
