"""The views that the benchmark loads. A shared page tells it how many requests are done, and when the last one was."""
import mmap
import os
import struct
import time

from flask import Flask

app = Flask(__name__)
page = mmap.mmap(os.open(os.environ['BENCH_PAGE'], os.O_RDWR), 24)
DONE = struct.Struct('<QQ')  # requests, monotonic nanoseconds
PROFILE = 16  # the byte that turns pyinstrument on


@app.get('/trivial')
def trivial():
    return 'ok'


@app.get('/calls')
def calls():
    return str(fib(25))


def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)


@app.get('/sleep')
def sleep():
    time.sleep(0.02)
    return 'ok'


@app.get('/')
def ready():
    return 'ok'


def counted(serve):
    def served(environ, start_response):
        body = (profiled if page[PROFILE] else serve)(environ, start_response)
        DONE.pack_into(page, 0, DONE.unpack_from(page)[0] + 1, time.monotonic_ns())
        return body

    def profiled(environ, start_response):
        from pyinstrument import Profiler
        profiler = Profiler(async_mode='disabled')
        profiler.start()
        try:
            return serve(environ, start_response)
        finally:
            profiler.stop().root_frame()
    return served


app.wsgi_app = counted(app.wsgi_app)
