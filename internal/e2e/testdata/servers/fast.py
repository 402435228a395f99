"""FastAPI: every kind of view, alone and behind middleware."""
import fastapi
import fastapi.responses
import starlette.background
import work

try:
    import greenlet  # before the agent looks for it
except ImportError:
    pass

app = fastapi.FastAPI()
mounted = fastapi.FastAPI()
middleware = fastapi.FastAPI()


@app.get('/')
@middleware.get('/')
def index():
    return {}


@app.get('/def/{kind}/{k}')
def in_pool(kind: str, k: int):
    return fastapi.Response(work.run('/%s/%d' % (kind, k)))


@mounted.get('/{kind}/{k}')
async def in_loop(kind: str, k: int):
    return fastapi.Response(await work.arun('/%s/%d' % (kind, k)))


@app.get('/stream/{kind}/{k}')
async def stream(kind: str, k: int):
    async def parts():
        yield ' '
        yield await work.arun('/%s/%d' % (kind, k))

    return fastapi.responses.StreamingResponse(parts())


@app.get('/stream-def/{kind}/{k}')
def stream_in_pool(kind: str, k: int):
    def parts():
        yield ' '
        yield work.run('/%s/%d' % (kind, k))

    return fastapi.responses.StreamingResponse(parts())


@app.get('/background/{kind}/{k}')
async def background(kind: str, k: int):
    task = starlette.background.BackgroundTask(work.arun, '/await/%d' % k)
    return fastapi.Response(await work.arun('/%s/%d' % (kind, k)), background=task)


@middleware.middleware('http')
async def pass_on(request, call_next):
    return await call_next(request)


app.mount('/async', mounted)
middleware.mount('/', app)
