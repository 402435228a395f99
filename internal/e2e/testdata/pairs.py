"""Views of which every stack is known."""
import gc
import operator
import types


def inner_x():
    return sum(range(50))


def inner_y():
    return sum(range(50))


def outer_x():
    return inner_x()


def outer_y():
    return inner_y()


by_c = operator.methodcaller('__call__')


def alternate():
    for _ in range(2500):
        outer_x()
        outer_y()
        by_c(outer_x)
        by_c(outer_y)


made = 0


def imports():
    """Makes modules whose code is freed at once, so that the next one's takes its place."""
    global made
    for _ in range(20):
        made += 1
        module = types.ModuleType('made_%d' % made)
        source = '%sdef made_%d():\n return sum(i * i for i in range(15000))\nmade_%d()\n' % ('\n' * (made % 100), made, made)
        exec(compile(source, 'made_%d.py' % made, 'exec'), module.__dict__)
        del module
        gc.collect(0)


def app(environ, start_response):
    {'alternate': alternate, 'imports': imports}[environ['PATH_INFO'].strip('/')]()
    start_response('200 OK', [('Content-Length', '2')])
    return [b'ok']
