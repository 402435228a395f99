"""aiohttp's own server; the port is the first argument, a certificate and its key may follow."""
import asyncio
import ssl
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
    if 'uvloop' in sys.argv:
        import uvloop
        loop = uvloop.new_event_loop()
    context = None
    if len(sys.argv) > 3:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*sys.argv[2:4])
    web.run_app(app, host='127.0.0.1', port=int(sys.argv[1]), loop=loop, print=None, ssl_context=context)
