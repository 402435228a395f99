"""tornado's own server; the port is the first argument, a certificate and its key may follow."""
import asyncio
import json
import sys

import tornado.gen
import tornado.web
import work


class View(tornado.web.RequestHandler):
    async def get(self):
        self.write(await work.arun(self.request.path) if len(self.request.path) > 1 else '{}')


class Coroutine(tornado.web.RequestHandler):
    @tornado.gen.coroutine
    def get(self, k):
        truth = {}
        compute = getattr(work, 'compute_' + k)
        compute(truth)
        yield tornado.gen.sleep(0.01)
        compute(truth)
        yield getattr(work, 'nested_' + k)(truth)
        self.write(json.dumps(truth))


async def main():
    tls = dict(zip(('certfile', 'keyfile'), sys.argv[2:])) or None
    tornado.web.Application([('/coroutine/(.*)', Coroutine), ('.*', View)]).listen(int(sys.argv[1]), '127.0.0.1', ssl_options=tls)
    await asyncio.Event().wait()


asyncio.run(main())
