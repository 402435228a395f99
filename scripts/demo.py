"""The demo behind scripts/demo: a shop under gunicorn, the agent beside it, four requests, their records."""
import json
import pathlib
import re
import sys
import tempfile
import time
import uuid

from running import ROOT, Failed, agent, gunicorn, main, running, wait_for

SHOP = ROOT / 'examples' / 'shop'
PATHS = ['/', '/cart', '/stock/red%20chair', '/cart']


def demo():
    with tempfile.TemporaryDirectory(prefix='apm-ebpf-demo.') as name:
        folder = pathlib.Path(name)
        log = folder / 'warehouse.log'
        with running([sys.executable, SHOP / 'warehouse.py'], log) as warehouse:
            address = wait_for('the warehouse', log, warehouse, re.compile(r'listening on (\S+)\n').search)[1]
            with gunicorn(SHOP, 'shop:app', folder / 'gunicorn.log', workers=2, WAREHOUSE=address) as shop:
                print(f'A shop under gunicorn: master {shop.pid}, workers {" and ".join(shop.workers)}.')
                with agent(shop.pid, folder, '--app-only') as profiler:
                    print(f'apm-ebpf --pid {shop.pid} --app-only is ready.\n')
                    show(profiler, [ask(shop, path) for path in PATHS])


def ask(shop, path):
    trace = str(uuid.uuid4())
    shop.get(path, {'X-APM-TRACER': f'{trace}:{int(time.time())}'})
    return trace


def show(profiler, traces):
    lines = profiler.records(len(traces))
    records = {json.loads(line)['apitrace']['trace_id']: line.decode() for line in lines}
    if len(lines) != len(traces) or set(records) != set(traces):
        raise Failed(f'{len(traces)} requests were sent, but {len(lines)} records came')
    print(f'{len(traces)} requests, {len(lines)} records:')
    for trace in traces:
        print(records[trace])
    record = json.loads(records[traces[1]])
    print(f'\nThe second one, GET {record["endpoint"]}, as a tree:')
    for depth, frame in outline(record['stacktrace']['root_frame']):
        place = f'{frame["file_path_short"]}:{frame["line_no"]}'
        print(f'{1000 * frame["time"]:8.1f} ms  {"  " * depth}{frame["function"]:{30 - 2 * depth}} {place}')
    last = profiler.stop()
    print('\nThe agent\'s last word:', json.dumps(last))


def outline(frames):
    """(indent, frame), callers first. The list has each frame after those it called, with its depth on the stack."""
    trees = []
    for frame in frames:
        first = len(trees)
        while first and trees[first - 1][0] > frame['depth']:
            first -= 1
        called = [(indent + 1, below) for _, tree in trees[first:] for indent, below in tree]
        trees[first:] = [(frame['depth'], [(0, frame), *called])]
    return [line for _, tree in trees for line in tree]


main(demo)
