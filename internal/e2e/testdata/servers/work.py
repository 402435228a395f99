"""Functions named after the request that calls them. They note how long they took: seconds by name."""
import asyncio
import concurrent.futures
import functools
import json
import multiprocessing.pool
import queue
import socket
import threading
import time

now = time.perf_counter
left = set()
loops = []
pool = concurrent.futures.ThreadPoolExecutor(4)


class timed:
    def __init__(self, truth, name):
        self.truth = truth
        self.name = name

    def __enter__(self):
        self.start = now()

    def __exit__(self, *error):
        self.truth[self.name] = self.truth.get(self.name, 0) + now() - self.start


class Pool:
    """Threads of one's own that wait for work on a queue."""

    def __init__(self, queue):
        self.queue = queue
        self.threads = []
        self.lock = threading.Lock()

    def call(self, function, *args):
        with self.lock:
            while len(self.threads) < 4:
                self.threads.append(threading.Thread(target=self.work, daemon=True))
                self.threads[-1].start()
        done = threading.Event()
        self.queue.put((function, args, done))
        done.wait()

    def work(self):
        while True:
            function, args, done = self.queue.get()
            function(*args)
            done.set()


own = Pool(queue.Queue())
simple = Pool(queue.SimpleQueue())
last = Pool(queue.LifoQueue())
connections = queue.Queue()
for connection in range(2):
    connections.put(object())

@functools.lru_cache(None)
def threads():
    return multiprocessing.pool.ThreadPool(4)


@functools.lru_cache(None)
def lender():
    """Connections that lie in a queue, from which threads take what others have put there."""
    import sqlalchemy.pool
    import sqlite3

    return sqlalchemy.pool.QueuePool(lambda: sqlite3.connect(':memory:', check_same_thread=False), pool_size=4)


@functools.lru_cache(None)
def proxy():
    import wrapt

    class Proxy(wrapt.ObjectProxy):
        def __await__(self):
            return self

        def __next__(self):
            return self.__wrapped__.send(None)

        def send(self, value):
            return self.__wrapped__.send(value)

    return Proxy


def later(function, *args):
    asyncio.get_running_loop().call_later(0.02, function, *args)


SOURCE = '''
def work_K(truth):
    with timed(truth, 'work_K'):
        compute_K(truth)
        time.sleep(0.01)
        receive_K(truth)

def compute_K(truth):
    with timed(truth, 'compute_K'):
        end = now() + 0.003
        while now() < end:
            pass

def receive_K(truth):
    with timed(truth, 'receive_K'):
        a, b = socket.socketpair()
        threading.Timer(0.005, b.send, (b'x',)).start()
        a.recv(1)
        a.close()
        b.close()

def pool_K(truth):
    with timed(truth, 'pool_K'):
        pool.submit(work_K, truth).result()

def own_K(truth):
    with timed(truth, 'own_K'):
        own.call(work_K, truth)

def simple_K(truth):
    with timed(truth, 'simple_K'):
        simple.call(work_K, truth)

def last_K(truth):
    with timed(truth, 'last_K'):
        last.call(work_K, truth)

def applied_K(truth):
    with timed(truth, 'applied_K'):
        threads().apply(work_K, (truth,))

def mapped_K(truth):
    with timed(truth, 'mapped_K'):
        threads().map(doze_K, [truth] * 2)

def doze_K(truth):
    with timed(truth, 'doze_K'):
        time.sleep(0.01)

def lent_K(truth):
    with timed(truth, 'lent_K'):
        for again in range(50):
            lender().connect().close()
        connection = lender().connect()
        work_K(truth)
        connection.close()

def shared_K(truth):
    with timed(truth, 'shared_K'):
        t = threading.Thread(target=borrow_K, args=(truth,))
        t.start()
        t.join()
        pool.submit(borrow_K, truth).result()

def borrow_K(truth):
    with timed(truth, 'borrow_K'):
        connection = connections.get()
        work_K(truth)
        connections.put(connection)

def thread_K(truth):
    with timed(truth, 'thread_K'):
        t = threading.Thread(target=work_K, args=(truth,))
        t.start()
        compute_K(truth)
        t.join()

def spawn_K(truth):
    import gevent
    with timed(truth, 'spawn_K'):
        jobs = [gevent.spawn(work_K, truth), gevent.spawn(pause_K, truth)]
        compute_K(truth)
        gevent.joinall(jobs)

def pause_K(truth):
    with timed(truth, 'pause_K'):
        time.sleep(0.015)

async def await_K(truth):
    with timed(truth, 'await_K'):
        compute_K(truth)
        await asyncio.sleep(0.01)
        await nested_K(truth)

async def nested_K(truth):
    with timed(truth, 'nested_K'):
        compute_K(truth)
        await asyncio.sleep(0.01)

async def gather_K(truth):
    with timed(truth, 'gather_K'):
        compute_K(truth)
        await asyncio.gather(nested_K(truth), child_K(truth))
        await asyncio.sleep(0.005)

async def child_K(truth):
    with timed(truth, 'child_K'):
        await asyncio.sleep(0.01)
        await asyncio.create_task(nested_K(truth))

async def group_K(truth):
    with timed(truth, 'group_K'):
        async with asyncio.TaskGroup() as g:
            g.create_task(child_K(truth))
            g.create_task(nested_K(truth))

async def parts_K(truth):
    with timed(truth, 'parts_K'):
        for part in locked_K, queued_K, evented_K, awaited_K:
            await part(truth)

async def locked_K(truth):
    lock = asyncio.Lock()
    await lock.acquire()
    later(lock.release)
    with timed(truth, 'locked_K'):
        await lock.acquire()

async def queued_K(truth):
    queue = asyncio.Queue()
    later(queue.put_nowait, 0)
    with timed(truth, 'queued_K'):
        await queue.get()

async def evented_K(truth):
    event = asyncio.Event()
    later(event.set)
    with timed(truth, 'evented_K'):
        await event.wait()

async def awaited_K(truth):
    future = asyncio.get_running_loop().create_future()
    later(future.set_result, 0)
    with timed(truth, 'awaited_K'):
        await future

async def called_K(truth):
    loop = asyncio.get_running_loop()
    future = loop.create_future()
    def first():
        compute_K(truth)
        loop.call_later(0.005, second)
    def second():
        asyncio.ensure_future(nested_K(truth)).add_done_callback(future.set_result)
    with timed(truth, 'called_K'):
        loop.call_soon(first)
        await future

async def batched_K(truth): # as loaders of data do
    loop = asyncio.get_running_loop()
    future = loop.create_future()
    async def load():
        future.set_result(await nested_K(truth))
    with timed(truth, 'batched_K'):
        loop.call_soon(asyncio.ensure_future, load())
        await future

async def deep_K(truth, more=150):
    await (deep_K(truth, more - 1) if more else nested_K(truth))

async def many_K(truth):
    with timed(truth, 'many_K'):
        await asyncio.gather(*(wait_K(truth) for _ in range(20)))

async def wait_K(truth):
    with timed(truth, 'wait_K'):
        await asyncio.sleep(0.01)

async def leave_K(truth):
    with timed(truth, 'leave_K'):
        left.add(task := asyncio.create_task(stay_K()))
        task.add_done_callback(left.discard)
        await asyncio.sleep(0.01)

async def stay_K():
    await asyncio.sleep(0.1)

async def brief_K(truth):
    with timed(truth, 'brief_K'):
        await asyncio.gather(done_K(truth), nested_K(truth), done_K(truth))
        task = asyncio.create_task(done_K(truth))
        await asyncio.sleep(0.02)
        await task

async def done_K(truth):
    with timed(truth, 'done_K'):
        compute_K(truth)

async def created_K(truth):
    with timed(truth, 'created_K'):
        task = asyncio.create_task(nested_K(truth))
        compute_K(truth)
        await asyncio.wait_for(task, 5)

async def back_K(truth):
    with timed(truth, 'back_K'):
        loops[:] = [asyncio.get_running_loop()]
        await asyncio.to_thread(hop_K, truth)

def hop_K(truth):
    with timed(truth, 'hop_K'):
        asyncio.run_coroutine_threadsafe(nested_K(truth), loops[0]).result()

def from_K(truth):
    with timed(truth, 'from_K'):
        import anyio.from_thread
        compute_K(truth)
        anyio.from_thread.run(nested_K, truth)

async def proxied_K(truth): # as agents that measure do with what they have called
    with timed(truth, 'proxied_K'):
        await proxy()(proxy()(nested_K(truth)))

async def switch_K(truth):
    """As SQLAlchemy does: a function in a greenlet has the task await for it."""
    import greenlet
    own = greenlet.getcurrent()
    def query():
        work_K(truth)
        own.switch(nested_K(truth))
    with timed(truth, 'switch_K'):
        helper = greenlet.greenlet(query)
        awaited = helper.switch()
        while not helper.dead:
            awaited = helper.switch(await awaited)

async def query_K(truth):
    from sqlalchemy.util import greenlet_spawn # which imports greenlet when it is called first
    with timed(truth, 'query_K'):
        await greenlet_spawn(execute_K, truth)

def execute_K(truth):
    from sqlalchemy.util import await_only
    with timed(truth, 'execute_K'):
        compute_K(truth)
        await_only(nested_K(truth))

async def executor_K(truth):
    with timed(truth, 'executor_K'):
        await asyncio.get_running_loop().run_in_executor(None, work_K, truth)

async def tothread_K(truth):
    with timed(truth, 'tothread_K'):
        await asyncio.to_thread(work_K, truth)

async def handed_K(truth): # to the thread that waits for this very coroutine
    from asgiref.sync import sync_to_async
    with timed(truth, 'handed_K'):
        await sync_to_async(work_K)(truth)
'''

for k in range(32):
    exec(compile(SOURCE.replace('K', str(k)), __file__, 'exec'))


def run(path):
    """Does what a path names, as in /work/3, and tells how long it took."""
    kind, k = path.strip('/').split('/')[-2:]
    truth = {}
    globals()['%s_%s' % (kind, k)](truth)
    return json.dumps(truth)


async def arun(path):
    kind, k = path.strip('/').split('/')[-2:]
    truth = {}
    called = globals()['%s_%s' % (kind, k)](truth)
    if called is not None:
        await called
    return json.dumps(truth)
