"""Throughput of a service beside itself: runs of load without the agent and with it alternate."""
import re
import statistics
import subprocess
import time
from collections import namedtuple

from running import Failed, agent, schedstat

Run = namedtuple('Run', 'rate done records spent elapsed lost')  # spent: by the agent on CPUs, s

HEADER = f'{"req/s plain":>11} {"median":>8} {"quartiles":>14} {"agent, µs/request":>18}   records of requests'


def load(command):
    """Requests a second, and how many were answered, as wrk or h2load tell it."""
    said = subprocess.run(command, capture_output=True, text=True)
    rate = re.search(r'Requests/sec:\s+([\d.]+)|([\d.]+) req/s', said.stdout)
    done = re.search(r'(\d+) requests in|(\d+) succeeded', said.stdout)
    if said.returncode or not rate or not done:
        raise Failed(f'{" ".join(command)} says nothing of use: {(said.stderr or said.stdout).strip()[-200:]}')
    return float(rate[1] or rate[2]), int(done[1] or done[2])


def attached(pid, folder, command, prefix=()):
    """One run of load with an agent of its own."""
    with agent(pid, folder, '--log-level', 'debug', prefix=prefix) as profiler:
        profiler.settle()
        before, begun = schedstat(profiler.pid)[0], time.monotonic()
        rate, done = load(command)
        records = len(profiler.records(done, 3))
        spent, elapsed = (schedstat(profiler.pid)[0] - before) / 1e9, time.monotonic() - begun
        return Run(rate, done, records, spent, elapsed, sum(profiler.stop()['lost_events'].values()))


def compare(pid, folder, command, pairs, prefix=()):
    """A line that says what the agent takes from a service under a load."""
    plain, ratios, runs = [], [], []
    before, _ = load(command)
    for _ in range(pairs):
        run = attached(pid, folder, command, prefix)
        after, _ = load(command)
        ratios.append(2 * run.rate / (before + after))
        plain.append(after)
        runs.append(run)
        before = after
    low, median, high = statistics.quantiles(ratios, n=4, method='inclusive')
    records, done, lost = (sum(getattr(run, what) for run in runs) for what in ('records', 'done', 'lost'))
    cost = statistics.median(1e6 * run.spent / run.done for run in runs)
    return (f'{statistics.median(plain):11.0f} {median:8.3f} {low:7.3f}..{high:.3f} {cost:18.1f}   '
            f'{records} of {done}' + (f', {lost} events lost' if lost else ''))
