"""An application without a framework."""
import work

try:
    import greenlet  # before the agent looks for it
except ImportError:
    pass


async def app(scope, receive, send):
    if scope['type'] == 'lifespan':
        return await lifespan(receive, send)
    body = (await work.arun(scope['path'])).encode() if len(scope['path']) > 1 else b'{}'
    headers = [(b'content-type', b'application/json'), (b'content-length', b'%d' % len(body))]
    await send({'type': 'http.response.start', 'status': 200, 'headers': headers})
    await send({'type': 'http.response.body', 'body': body})


try:
    import a2wsgi
    import wsgi
    bridge = a2wsgi.WSGIMiddleware(wsgi.app, workers=8)
except ImportError:
    bridge = None


async def lifespan(receive, send):
    while True:
        message = await receive()
        await send({'type': message['type'] + '.complete'})
        if message['type'] == 'lifespan.shutdown':
            return
