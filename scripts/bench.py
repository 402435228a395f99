"""What profiling costs, behind scripts/bench: one gunicorn sync worker on CPU 0, the load and the profiler on CPU 1.

Load runs all the time. Short windows with a profiler, once it has loaded all it needs, alternate with windows
without; each ratio is that of a window to the mean of its two neighbours, so that slow drifts of the machine
cancel out. Where the worker had to wait for its CPU, somebody else used it, and the ratio is thrown away.
"""
import argparse
import contextlib
import ctypes
import mmap
import os
import pathlib
import platform
import re
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections import namedtuple

from running import ROOT, Failed, agent, gunicorn, main, running, schedstat, wait_for

VIEWS = {'trivial': 'trivial view', 'calls': 'fib(25), 242,785 calls', 'sleep': 'sleeps 20 ms'}
SERVER, BESIDE = ('taskset', '-c', '0'), ('taskset', '-c', '1')
CONNECTIONS = 4
PROFILE = 16
DONE = struct.Struct('<QQ')

arguments = argparse.ArgumentParser(prog='scripts/bench', description='Measures what profiling a Python service costs.')
arguments.add_argument('--quick', action='store_true', help='a tenth of the windows: minutes, not precision')
arguments.add_argument('--rounds', type=int, help='windows with a profiler, for each figure (default 30)')
arguments.add_argument('--window', type=float, default=0.5, metavar='SECONDS', help='length of one (default 0.5)')
arguments.add_argument('--view', action='append', choices=VIEWS, help='only this view; repeatable')
arguments.add_argument('--only', action='append', metavar='TEXT', help='only profilers whose name has TEXT; repeatable')
options = arguments.parse_args()
rounds = options.rounds or (3 if options.quick else 30)

Window = namedtuple('Window', 'rate waited')


class Server:
    """The worker under load, seen from outside."""

    def __init__(self, service, page, folder):
        self.port, self.pid, self.page, self.folder = service.port, int(service.workers[0]), page, folder

    def done(self):
        return DONE.unpack_from(self.page)

    def load(self, view, seconds):
        url = f'http://127.0.0.1:{self.port}/{view}'
        command = [*BESIDE, 'wrk', '-t1', f'-c{CONNECTIONS}', f'-d{seconds:.0f}s', url]
        return running(command, self.folder / 'wrk.log')

    def window(self):
        """Requests a second, from one request's end to another's; and the share of time spent waiting for the CPU."""
        start, (count, first), waited = time.monotonic(), self.done(), schedstat(self.pid)[1]
        time.sleep(options.window)
        (then, last), elapsed = self.done(), time.monotonic() - start
        if then == count:
            return Window(0, 1)
        return Window(1e9 * (then - count) / (last - first), (schedstat(self.pid)[1] - waited) / 1e9 / elapsed)

    def idle(self):
        """Waits until nothing is being answered any more."""
        before = None
        while before != (before := self.done()):
            time.sleep(0.3)


def ours(*flags):
    @contextlib.contextmanager
    def profiler(server):
        with agent(server.pid, server.folder, *flags, '--log-level', 'debug', prefix=BESIDE) as attached:
            attached.settle()
            yield attached
    return profiler


@contextlib.contextmanager
def py_spy(server):
    log = server.folder / 'py-spy.log'
    command = [pathlib.Path(sys.executable).with_name('py-spy'), 'record', '-r', '1000', '-d', '600',
               '-f', 'raw', '-o', server.folder / 'py-spy.txt', '-p', str(server.pid)]
    with running([*BESIDE, *command], log) as process:
        wait_for('py-spy', log, process, lambda text: 'Sampling process' in text)
        yield


@contextlib.contextmanager
def pyinstrument(server):
    server.page[PROFILE] = 1
    try:
        yield
    finally:
        server.page[PROFILE] = 0


@contextlib.contextmanager
def bare_timer(server):
    """The interrupt alone: a CPU clock of 1 kHz on the server's CPU that nobody reads."""
    attributes = struct.pack('<IIQQ40x', 1, 64, 0, 1_000_000)  # software, VER0, CPU clock, period in ns
    call = {'x86_64': 298, 'aarch64': 241}[platform.machine()]  # perf_event_open
    event = ctypes.CDLL(None, use_errno=True).syscall(call, attributes, -1, 0, -1, 0)
    if event < 0:
        raise Failed(f'no CPU clock: {os.strerror(ctypes.get_errno())}')
    try:
        yield
    finally:
        os.close(event)


PROFILERS = {
    'apm-ebpf': ours(),
    'apm-ebpf -F 1000': ours('-F', '1000'),
    'a bare 1 kHz timer': bare_timer,
    'py-spy record -r 1000': py_spy,
    'pyinstrument in process': pyinstrument,
}


def ratios(server, profiler):
    """Throughput with the profiler relative to without, and how many were thrown away."""
    kept, thrown, plain = [], 0, []
    end = time.monotonic() + rounds * (2 * options.window + 3)
    before = server.window()
    while len(kept) < rounds and time.monotonic() < end:
        with profiler(server):
            time.sleep(0.1)
            attached = server.window()
        time.sleep(0.1)
        after = server.window()
        if max(window.waited for window in (before, attached, after)) > 0.05:
            thrown += 1
        else:
            kept.append(2 * attached.rate / (before.rate + after.rate))
            plain.append(after.rate)
        before = after
    return kept, thrown, plain


def account(server, view, profiler, seconds):
    """One agent over a bounded load: records for requests, CPU time, memory, losses."""
    server.idle()
    count = server.done()[0]
    with profiler(server) as attached:
        cpu = schedstat(attached.pid)[0]
        with server.load(view, seconds) as wrk:
            wrk.wait()
        server.idle()
        requests = server.done()[0] - count
        records = len(attached.records(requests, 3))
        cpu = schedstat(attached.pid)[0] - cpu
        status = pathlib.Path(f'/proc/{attached.pid}/status').read_text()
        last = attached.stop()
    memory = int(status.split('VmHWM:')[1].split()[0]) / 1024
    return f'{records:>7} of {requests:<7} {cpu / 1e3 / requests:15.1f} ms {memory:10.0f} MB   {lost(last)}'


def lost(said):
    """The losses that the agent's last line counts."""
    counts = {**said, **said.get('lost_events', {})}
    return ' '.join(f'{what}={n}' for what, n in counts.items() if what != 'records' and isinstance(n, int) and n) or 'nothing'


def trimmed(values):
    """The mean without the fifth at either end."""
    cut = len(values) // 5
    return statistics.fmean(sorted(values)[cut:len(values) - cut])


def bench():
    if len(os.sched_getaffinity(0)) < 2:
        raise Failed('needs two CPUs: one for the server, one for the load')
    chosen = {name: profiler for name, profiler in PROFILERS.items()
              if not options.only or any(text in name for text in options.only)}
    with tempfile.TemporaryDirectory(prefix='apm-ebpf-bench.') as name:
        folder = pathlib.Path(name)
        (folder / 'page').write_bytes(bytes(24))
        with open(folder / 'page', 'r+b') as file, mmap.mmap(file.fileno(), 24) as page:
            with gunicorn(ROOT / 'scripts', 'bench_app:app', folder / 'gunicorn.log', prefix=SERVER,
                          BENCH_PAGE=str(folder / 'page')) as service:
                tables(Server(service, page, folder), options.view or list(VIEWS), chosen)
    walks()
    others('bench-servers', str(min(rounds, 10)))
    others('bench-go', ROOT / 'build' / 'hello', str(min(rounds, 10)))


def tables(server, views, chosen):
    print(f'Linux {platform.release()} {platform.machine()}, Python {platform.python_version()}, '
          f'one gunicorn sync worker, wrk with {CONNECTIONS} connections\n')
    print(f'{"throughput":24} {"req/s plain":>11} {"median":>8} {"quartiles":>14} {"trimmed mean":>13} {"windows":>8}')
    for view in views:
        print(VIEWS[view])
        for name, profiler in chosen.items():
            with server.load(view, 60 + rounds * (2 * options.window + 6)):
                time.sleep(0.5)
                kept, thrown, plain = ratios(server, profiler)
            if not kept:
                print(f'  {name:22} none of {thrown} windows was undisturbed')
                continue
            low, median, high = quartiles(kept)
            note = f' ({thrown} thrown away)' if thrown else ''
            print(f'  {name:22} {statistics.median(plain):11.1f} {median:8.3f} {low:7.3f}..{high:.3f} '
                  f'{trimmed(kept):12.3f} {len(kept):8}{note}', flush=True)
    print(f'\n{"accounts":24} {"records of requests":>18} {"CPU per 1,000":>15} {"memory":>13}   lost')
    for view in views:
        print(VIEWS[view])
        for name, profiler in chosen.items():
            if name.startswith('apm-ebpf'):
                print(f'  {name:20}', account(server, view, profiler, 2 if options.quick else 5), flush=True)


def walks():
    """A stack's cost on each interpreter that the tests have prepared."""
    pythons = sorted(pathlib.Path(sys.prefix).parent.glob('3.*/bin/python'),
                     key=lambda python: int(re.search(r'/3\.(\d+)', str(python))[1]))
    others('bench-walk', *(pythons or [sys.executable]))


def others(script, *arguments):
    """What other services pay."""
    print(flush=True)
    subprocess.run([sys.executable, '-B', ROOT / 'scripts' / script, *arguments], check=True)


def quartiles(values):
    return statistics.quantiles(values, n=4, method='inclusive') if len(values) > 1 else values * 3


main(bench)
