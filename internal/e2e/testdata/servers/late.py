"""late.py PORT: a server on asyncio alone, whose first executor, with the modules that it needs, comes with a request."""
import asyncio
import json
import sys

import doze


async def serve(reader, writer):
    try:
        while head := await reader.readuntil(b'\r\n\r\n'):
            k = head.split()[1].rsplit(b'/', 1)[1].decode()
            loop = asyncio.get_running_loop()
            body = json.dumps(await loop.run_in_executor(None, getattr(doze, 'doze_' + k)) if k else {}).encode()
            writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s' % (len(body), body))
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    writer.close()


async def main():
    server = await asyncio.start_server(serve, '127.0.0.1', int(sys.argv[1]))
    await server.serve_forever()


asyncio.run(main())
