"""HTTPS, HTTP and an HTTPS client in one event loop, without any framework: streams.py PORT CERTIFICATE KEY."""
import asyncio
import ssl
import sys
import urllib.parse

import work

trusting = ssl.create_default_context()
trusting.check_hostname = False
trusting.verify_mode = ssl.CERT_NONE


async def serve(reader, writer):
    try:
        while True:
            head = await reader.readuntil(b'\r\n\r\n')
            url = urllib.parse.urlsplit(head.split(b' ')[1].decode())
            text = (await answer(url)).encode()
            writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n' % len(text))
            for at in range(0, len(text), 50000):
                writer.write(text[at:at + 50000])
                await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def answer(url):
    if url.path.startswith('/big/'):
        return 'x' * int(url.path[5:])
    if url.path == '/fetch':
        return await fetch(urllib.parse.urlsplit(urllib.parse.parse_qs(url.query)['url'][0]))
    return await work.arun(url.path) if len(url.path) > 1 else '{}'


async def fetch(url):
    reader, writer = await asyncio.open_connection(url.hostname, url.port, ssl=trusting)
    writer.write(b'GET %s HTTP/1.0\r\n\r\n' % url.path.encode())
    text = await reader.read()
    writer.close()
    return 'fetched %d bytes' % len(text.partition(b'\r\n\r\n')[2])


async def main():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*sys.argv[2:4])
    await asyncio.start_server(serve, '127.0.0.1', int(sys.argv[1]), ssl=context)
    clear = await asyncio.start_server(serve, '127.0.0.1', 0)
    print('in clear at 127.0.0.1:%d' % clear.sockets[0].getsockname()[1], file=sys.stderr, flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
