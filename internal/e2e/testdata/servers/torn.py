"""tornado's own server; the port is the argument."""
import asyncio
import sys

import tornado.web
import work


class View(tornado.web.RequestHandler):
    async def get(self):
        self.write(await work.arun(self.request.path) if len(self.request.path) > 1 else '{}')


async def main():
    tornado.web.Application([('.*', View)]).listen(int(sys.argv[1]), '127.0.0.1')
    await asyncio.Event().wait()


asyncio.run(main())
