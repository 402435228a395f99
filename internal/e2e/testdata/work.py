"""Views whose functions tell how long they took, in the header X-Truth."""
import asyncio
import contextlib
import json
import os
import select
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import truth
from truth import crunch, part, timed


@timed
def doze():
    with part('wait'):
        time.sleep(0.03)


@timed
def receive():
    a, b = socket.socketpair()
    later(b.send, b'x')
    with part('wait'):
        a.recv(1)
    a.close()
    b.close()


@timed
def acquire():
    lock = threading.Lock()
    lock.acquire()
    later(lock.release)
    with part('wait'):
        lock.acquire()


@timed
def read_pipe():
    reading, writing = os.pipe()
    later(os.write, writing, b'x')
    with part('wait'):
        os.read(reading, 1)
    os.close(reading)
    os.close(writing)


@timed
def wait_child():
    child = os.fork()
    if child == 0:
        time.sleep(0.03)
        os._exit(0)
    with part('wait'):
        os.waitpid(child, 0)


@timed
def run_child():
    subprocess.run([sys.executable, '-S', '-c', 'import time; time.sleep(0.03)'], check=True)


@timed
def poll():
    a, b = socket.socketpair()
    later(b.send, b'x')
    p = select.poll()
    p.register(a, select.POLLIN)
    with part('wait'):
        p.poll()
    a.close()
    b.close()


@timed
def epoll():
    a, b = socket.socketpair()
    later(b.send, b'x')
    with select.epoll() as p:
        p.register(a, select.EPOLLIN)
        with part('wait'):
            p.poll()
    a.close()
    b.close()


@timed
def accept():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        s.listen()
        client = socket.socket()
        later(client.connect, s.getsockname())
        with part('wait'):
            s.accept()[0].close()
        client.close()


@timed
def fill():
    """Sends more than fits until the other side reads."""
    a, b = socket.socketpair()
    later(drain, b)
    with part('wait'):
        a.sendall(b'x' * (1 << 22))
    a.close()


def drain(s):
    while s.recv(1 << 20):
        pass
    s.close()


@timed
def sync():
    with open(truth.__file__ + '.tmp', 'wb') as f:
        f.write(b'x' * (1 << 20))
        f.flush()
        os.fsync(f.fileno())
    os.unlink(f.name)


def later(function, *args):
    threading.Timer(0.03, function, args).start()


@timed
def compute():
    crunch(25)


@timed
def outer():
    crunch(5)
    middle()
    crunch(5)


@timed
def middle():
    crunch(5)
    inner()
    time.sleep(0.005)


@timed
def inner():
    crunch(5)
    time.sleep(0.01)


@timed
def recurse(n=40):
    if n:
        return recurse(n - 1)
    crunch(10)
    time.sleep(0.01)


@timed
def consume():
    return sum(rows(6))


def rows(n):
    for i in range(n):
        with part('rows'):
            crunch(3)
            time.sleep(0.002)
        yield i


@timed
def rescue():
    try:
        fail()
    except ValueError:
        crunch(8)


@timed
def fail():
    try:
        crunch(8)
        fail_deeply()
    finally:
        crunch(4)


@timed
def fail_deeply():
    crunch(8)
    raise ValueError('on purpose')


@timed
def comprehend():
    return [square(i) for i in range(4)]


@timed
def square(i):
    crunch(4)
    return i * i


@timed
def page():
    for view in doze, receive, compute, outer, recurse, consume, rescue, comprehend:
        view()


@timed
def lend():
    """Has executors of its own, as asgiref does: each tells its thread to end."""
    for _ in range(2):
        ThreadPoolExecutor(1).submit(crunch, 4).result()


@timed
def drive():
    """Has an event loop of its own."""
    crunch(4)
    loop = asyncio.new_event_loop()
    loop.run_until_complete(suspended())
    loop.close()
    crunch(4)


async def suspended():
    with part('[task]'):
        crunch(4)
        with part('wait'):
            await asyncio.sleep(0.02)
        crunch(4)


@timed
def sink(n=900):
    if n:
        return sink.__wrapped__(n - 1)
    with part('crunch'):
        crunch(30)


def contended():
    both.wait()
    contend()


@contextlib.contextmanager
def one_busy_cpu():
    """This thread, and those that it starts, have one CPU, which others want too, one of them all the time."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    hogs = [subprocess.Popen(['perl', '-e', 'select(undef, undef, undef, %s) while 1' % pause])
            for pause in ('0', '0')]
    try:
        yield
    finally:
        for hog in hogs:
            hog.kill()
            hog.wait()
        os.sched_setaffinity(0, before)


def nap(seconds):
    start = truth.now()
    time.sleep(0.01)
    seconds['nap'] += truth.now() - start


def start_late(thread, seconds):
    start = truth.now()
    thread.start()
    seconds['start_late'] += truth.now() - start


def starter(older, seconds):
    older.join()
    thread = threading.Thread(target=nap, args=(seconds,))
    start_late(thread, seconds)
    thread.join()


def begin():
    """Has threads start others, which get a CPU late, when those that are older than they have ended."""
    seconds = {'nap': 0, 'start_late': 0}
    with one_busy_cpu():
        for _ in range(25):
            older = threading.Thread(target=time.sleep, args=(0.001,))
            thread = threading.Thread(target=starter, args=(older, seconds))
            older.start()
            thread.start()
            thread.join()
    truth.truth.seconds = seconds


both = threading.Barrier(2)


def on_cpu():
    return time.clock_gettime(time.CLOCK_THREAD_CPUTIME_ID)


@timed
def contend():
    """Computes beside another thread; tells its own time on a CPU."""
    start = on_cpu()
    crunch(300)
    truth.truth.seconds['cpu'] = on_cpu() - start


def named(k):
    """A function that no other request may be seen in."""
    name = 'only_%d' % k
    space = {'crunch': crunch, 'time': time}
    exec(compile('def %s():\n crunch(3)\n time.sleep(0.01)\n crunch(3)\n' % name, 'only.py', 'exec'), space)
    return timed(space[name])


ONLY = [named(k) for k in range(32)]
VIEWS = {f.__name__: f for f in (begin, doze, receive, acquire, read_pipe, wait_child, run_child, poll, epoll, accept, fill, sync,
                                 compute, outer, recurse, consume, rescue, comprehend, page, drive, lend, sink, contended, *ONLY)}


def app(environ, start_response):
    truth.begin()
    VIEWS[environ['PATH_INFO'].strip('/')]()
    start_response('200 OK', [('Content-Length', '4'), ('X-Truth', json.dumps(truth.truth.seconds))])
    return [b'done']
