"""Services and agents for the demo and the benchmark: each is a context, and ends with it."""
import contextlib
import http.client
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
AGENT = ROOT / 'build' / 'apm-ebpf'


class Failed(Exception):
    """Says in one line what went wrong."""


def main(run):
    """Calls run so that every context is left, however the script ends."""
    for sig in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(sig, lambda *_: sys.exit(143))
    try:
        run()
    except Failed as failure:
        sys.exit(f'{os.path.basename(sys.argv[0])}: {failure}')
    except KeyboardInterrupt:
        sys.exit(130)


def wait_for(what, log, process, look, seconds=30):
    """Looks at the log until it says what is waited for; the process that writes it must live."""
    end = time.monotonic() + seconds
    while not (seen := look(text := log.read_text(errors='replace'))):
        last = (text.strip().splitlines() or ['it said nothing'])[-1]
        if process.poll() is not None:
            raise Failed(f'{what} ended with status {process.returncode}: {last}')
        if time.monotonic() > end:
            raise Failed(f'{what} is not ready after {seconds} s: {last}')
        time.sleep(0.02)
    return seen


@contextlib.contextmanager
def running(command, log, **options):
    """The started process, whose output goes to the log."""
    with open(log, 'wb') as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, **options)
    try:
        yield process
    finally:
        stop(process)


def stop(process, seconds=10):
    """SIGTERM, then SIGKILL; returns the exit status."""
    for sig in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is None:
            process.send_signal(sig)
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.wait(seconds)
    raise Failed(f'process {process.pid} does not end')


def schedstat(pid):
    """Nanoseconds on a CPU and waiting for one, of all threads."""
    spent = [0, 0]
    for stat in pathlib.Path(f'/proc/{pid}/task').glob('*/schedstat'):
        with contextlib.suppress(OSError):
            for i, nanoseconds in enumerate(stat.read_text().split()[:2]):
                spent[i] += int(nanoseconds)
    return spent


class Gunicorn:
    """A running gunicorn with sync workers; `workers` are their process ids."""

    def __init__(self, process, log, workers):
        self.pid = process.pid
        address = re.compile(r'Listening at: http://127\.0\.0\.1:(\d+) ')
        worker = re.compile(r'Booting worker with pid: (\d+)')
        self.port = int(wait_for('gunicorn', log, process, address.search)[1])
        self.workers = wait_for('gunicorn', log, process, lambda text: len(found := worker.findall(text)) >= workers and found)
        self.get('/')

    def get(self, path, headers={}):
        connection = http.client.HTTPConnection('127.0.0.1', self.port, timeout=30)
        with contextlib.closing(connection):
            connection.request('GET', path, headers=headers)
            answer = connection.getresponse()
            answer.read()
        if answer.status != 200:
            raise Failed(f'{path} was answered with status {answer.status}')


@contextlib.contextmanager
def gunicorn(folder, application, log, workers=1, prefix=(), **environment):
    command = [*prefix, sys.executable, '-m', 'gunicorn', '-b', '127.0.0.1:0', '-w', str(workers), application]
    environment = {**os.environ, 'PYTHONDONTWRITEBYTECODE': '1', **environment}
    with running(command, log, cwd=folder, env=environment) as process:
        yield Gunicorn(process, log, workers)


class Agent:
    """An attached agent. Its records and its diagnostics are files in the folder."""

    def __init__(self, process, log, records):
        self.process, self.pid, self.log, self.path = process, process.pid, log, records
        wait_for('the agent', log, process, lambda text: '"message":"ready"' in text)

    def settle(self):
        """Waits until everything is loaded that it may ever need. It must log what helps debugging."""
        wait_for('the agent', self.log, self.process, lambda text: 'all programs are loaded' in text)

    def records(self, count, seconds=5):
        """The complete lines so far, once there are that many or the time is up."""
        end = time.monotonic() + seconds
        while True:
            text = self.path.read_bytes() if self.path.exists() else b''
            lines = text[:text.rfind(b'\n') + 1].splitlines()
            if len(lines) >= count or time.monotonic() > end:
                return lines
            time.sleep(0.05)

    def stop(self):
        """Ends the agent; returns its last diagnostic line, which tells what was recorded and lost."""
        if stop(self.process) != 0:
            raise Failed(f'the agent ended with status {self.process.returncode}')
        lines = self.log.read_text().splitlines()
        return json.loads(lines[-1])


@contextlib.contextmanager
def agent(pid, folder, *flags, prefix=()):
    records, log = folder / 'records.jsonl', folder / 'agent.log'
    records.unlink(missing_ok=True)
    if not AGENT.exists():
        raise Failed(f'no {AGENT}: run scripts/build first')
    command = [*prefix, AGENT, '--pid', str(pid), '--log-file', records, *flags]
    with running(command, log) as process:
        yield Agent(process, log, records)
