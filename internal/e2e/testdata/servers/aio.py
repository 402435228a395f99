"""aiohttp's own server; the port is the argument."""
import asyncio
import sys

import work
from aiohttp import web


async def view(request):
    return web.Response(text=await work.arun(request.path) if len(request.path) > 1 else '{}')


app = web.Application()
app.router.add_get('/{path:.*}', view)

if __name__ == '__main__':
    loop = asyncio.new_event_loop()
    if hasattr(asyncio, 'eager_task_factory') and 'eager' in sys.argv:
        loop.set_task_factory(asyncio.eager_task_factory)
    web.run_app(app, host='127.0.0.1', port=int(sys.argv[1]), loop=loop, print=None)
