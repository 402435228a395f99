"""BlackSheep, whose coroutines are compiled by Cython."""
import blacksheep
import work

app = blacksheep.Application()


@blacksheep.get('/')
async def index():
    return blacksheep.text('{}')


@blacksheep.get('/{kind}/{k}')
async def in_loop(kind: str, k: int):
    return blacksheep.text(await work.arun('/%s/%d' % (kind, k)))
