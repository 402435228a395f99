"""The asyncio service of a test machine: requests that await take turns on one thread."""
import asyncio
import json
import time


async def app(scope, receive, send):
    truth = {}
    await VIEWS.get(scope['path'], nothing)(truth)
    body = json.dumps(truth).encode()
    headers = [(b'content-length', b'%d' % len(body))]
    await send({'type': 'http.response.start', 'status': 200, 'headers': headers})
    await send({'type': 'http.response.body', 'body': body})


async def nothing(truth):
    pass


async def nap(truth):
    begun = time.perf_counter()
    await asyncio.sleep(0.3)
    truth['nap'] = time.perf_counter() - begun


async def gather(truth):
    begun = time.perf_counter()
    await asyncio.create_task(pick())
    truth['gather'] = time.perf_counter() - begun


async def pick():
    await asyncio.sleep(0.1)
    begun = time.perf_counter()
    while time.perf_counter() - begun < 0.2:
        pass


VIEWS = {'/nap': nap, '/gather': gather}
