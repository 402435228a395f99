"""asgi.py's application, with kinds of work on trio."""
import trio
import work
from asgi import app

SOURCE = '''
async def trio_K(truth):
    with timed(truth, 'trio_K'):
        compute_K(truth)
        await trio.sleep(0.01)
        await below_K(truth)

async def below_K(truth):
    with timed(truth, 'below_K'):
        compute_K(truth)
        await trio.sleep(0.01)

async def nursery_K(truth):
    with timed(truth, 'nursery_K'):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(kid_K, truth)
            nursery.start_soon(below_K, truth)
            compute_K(truth)
        await trio.sleep(0.005)

async def kid_K(truth):
    with timed(truth, 'kid_K'):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(below_K, truth)

async def channel_K(truth):
    send, receive = trio.open_memory_channel(0)
    with timed(truth, 'channel_K'):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(feed_K, send)
            async for part in receive:
                compute_K(truth)

async def feed_K(send):
    async with send:
        for part in range(3):
            await trio.sleep(0.005)
            await send.send(part)

async def lock_K(truth):
    lock = trio.Lock()
    with timed(truth, 'lock_K'):
        async with trio.open_nursery() as nursery:
            await nursery.start(hold_K, lock)
            await wait_K(lock, truth)

async def wait_K(lock, truth):
    with timed(truth, 'wait_K'):
        async with lock:
            compute_K(truth)

async def hold_K(lock, task_status):
    async with lock:
        task_status.started()
        await trio.sleep(0.015)

async def socket_K(truth):
    with timed(truth, 'socket_K'):
        a, b = trio.socket.socketpair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer_K, b)
            await a.recv(1)
        a.close()

async def answer_K(b):
    await trio.sleep(0.01)
    await b.send(b'x')
    b.close()

async def lend_K(truth):
    with timed(truth, 'lend_K'):
        await trio.to_thread.run_sync(work_K, truth)
        await trio.to_thread.run_sync(work_K, truth)

async def fromthread_K(truth):
    with timed(truth, 'fromthread_K'):
        await trio.to_thread.run_sync(leap_K, truth)

def leap_K(truth):
    with timed(truth, 'leap_K'):
        compute_K(truth)
        trio.from_thread.run(below_K, truth)
        compute_K(truth)

async def timeout_K(truth):
    with timed(truth, 'timeout_K'):
        with trio.move_on_after(0.01):
            await trio.sleep_forever()
        compute_K(truth)
'''

work.trio = trio
for k in range(32):
    exec(compile(SOURCE.replace('K', str(k)), __file__, 'exec'), vars(work))
