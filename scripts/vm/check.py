"""Profiles a service in a test machine and says on the console, one line each, what is as it should be."""
import concurrent.futures
import ctypes
import errno
import json
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import time

AGENT = './apm-ebpf'
PORT = 8000
FUNCTIONS = {
    '/wait': {'wait', 'doze'},
    '/work': {'work', 'toil'},
    '/both': {'both', 'weigh', 'descend', 'linger'},
    '/nap': {'nap'},
    '/gather': {'gather', 'pick'},
}
OURS = set().union(*FUNCTIONS.values()) | {'took'}
# An emulated CPU does little else when it is interrupted a thousand times a second.
FREQUENCY = '200'
# What may lie between a clock's reading in a function and the agent's there: seconds, share.
SLACK, SHARE = 0.040, 0.25


def report(what, good, detail=''):
    print('ok' if good else 'FAILED', what, detail if not good else '', flush=True)


def until(what, true, seconds=90):
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            report(what, False, 'not within %d s' % seconds)
            return False
        time.sleep(0.05)
    return True


class Service:
    def __init__(self, *flags, app='service:app'):
        # A machine has one or two CPUs, and an emulated worker is slow to start.
        self.process = subprocess.Popen(
            [sys.executable, '-m', 'gunicorn', '-b', '127.0.0.1:%d' % PORT, '--timeout', '300', '--log-level', 'warning',
             *flags, app])
        self.pid = self.process.pid
        until('the service starts', self.answers)

    def answers(self):
        try:
            return get('/wait') is not None
        except OSError:
            return False

    def stop(self):
        self.process.terminate()
        self.process.wait()


class Agent:
    def __init__(self, service, name, flags=()):
        self.records, self.log = '/tmp/%s.jsonl' % name, '/tmp/%s.log' % name
        with open(self.log, 'w') as log:
            self.process = subprocess.Popen(
                [AGENT, '--pid', str(service.pid), '--log-file', self.records, '--log-level', 'debug', '-F', FREQUENCY, *flags], stderr=log)
        self.ready = until('the agent is ready', lambda: self.said('"ready"') or self.process.poll() is not None) and self.said('"ready"')

    def said(self, text):
        with open(self.log) as log:
            return text in log.read()

    def stop(self, expected):
        """Ends the agent when it has had the time to write what is expected; gives all records."""
        until('%d records arrive' % expected, lambda: len(self.read()) >= expected, 20)
        self.process.send_signal(signal.SIGINT)
        report('the agent ends', self.process.wait() == 0, 'status %s' % self.process.returncode)
        return self.read()

    def read(self):
        try:
            with open(self.records) as lines:
                return [json.loads(line) for line in lines if line.endswith('\n')]
        except FileNotFoundError:
            return []

    def tell(self):
        with open(self.log) as log:
            for line in log:
                print('  ', line.rstrip())


def get(path):
    """One request on a connection of its own; gives what the view says of itself."""
    with socket.create_connection(('127.0.0.1', PORT), 60) as s:
        s.sendall(b'GET %s HTTP/1.1\r\nHost: vm\r\nConnection: close\r\n\r\n' % path.encode())
        answer = b''
        while chunk := s.recv(65536):
            answer += chunk
    head, _, body = answer.partition(b'\r\n\r\n')
    return json.loads(body) if head.startswith(b'HTTP/1.1 200') else None


def compare(record, truth):
    """What a record tells wrong."""
    path = record['endpoint']
    frames = record['stacktrace']['root_frame']
    times = {}
    for frame in frames:
        if frame['is_application_code'] and not frame['function'].startswith('['):
            times[frame['function']] = max(times.get(frame['function'], 0), frame['time'])
    duration = record['stacktrace']['duration']
    for name in sorted(times.keys() & OURS - FUNCTIONS[path]):
        if name != 'took':
            yield '%s: foreign function %s, %.3f s' % (path, name, times[name])
    for name in sorted(FUNCTIONS[path] - times.keys()):
        yield '%s: %s is missing' % (path, name)
    for name, want in truth.items():
        have = times.get(name, 0)
        if abs(have - want) > max(SLACK, SHARE * want):
            yield '%s: %s took %.3f s, told are %.3f' % (path, name, want, have)
    if abs(frames[-1]['time'] - duration) > 1e-5:
        yield '%s: the root has %.6f s of %.6f' % (path, frames[-1]['time'], duration)
    lost = record['request'].get('incomplete')
    if lost:
        yield '%s: incomplete: %s' % (path, lost)


ONE_BY_ONE = [['/both'], ['/wait'], ['/work']]


def sync():
    profile('sync', ONE_BY_ONE * 2)


def gthread():
    profile('gthread', ONE_BY_ONE + [['/wait', '/work'], ['/both', '/wait']] * 2, '-k', 'gthread', '--threads', '4')


def asyncio():
    """Two requests at once on one thread, one of them with a task of its own."""
    profile('asyncio', [['/nap'], ['/gather']] + [['/nap', '/gather']] * 2, '-k', 'uvicorn.workers.UvicornH11Worker', app='tasks:app')


def profile(name, rounds, *flags, agent_flags=(), **service_options):
    """Sends the rounds, the requests of one at once, and checks the records."""
    service = Service(*flags, **service_options)
    agent = Agent(service, name, agent_flags)
    report('%s: the agent starts' % name, agent.ready)
    if not agent.ready:
        agent.tell()
        service.stop()
        return
    truths = []
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for paths in rounds:
            truths += zip(paths, pool.map(get, paths))
    records = agent.stop(len(truths))
    report('%s: one record each' % name, sorted(r['endpoint'] for r in records) == sorted(p for p, _ in truths),
           '%d of %d' % (len(records), len(truths)))
    wrong = list(differences(records, truths))
    report('%s: functions and times' % name, not wrong, '; '.join(wrong))
    agent.tell()
    if wrong:
        for record in records:
            print('  ', json.dumps(record))
    service.stop()


def differences(records, truths):
    """Requests of one path follow each other, so they are told apart by their order."""
    for path in sorted({p for p, _ in truths}):
        of_path = sorted((r for r in records if r['endpoint'] == path), key=lambda r: r['stacktrace']['start_time'])
        for record, truth in zip(of_path, (t for p, t in truths if p == path)):
            if truth is None:
                yield '%s: no answer' % path
            else:
                yield from compare(record, truth)


SYSCALL_BPF = {'x86_64': 321, 'aarch64': 280}[platform.machine()]
NEXT_ID = {'programs': 11, 'maps': 12, 'links': 31}


def bpf_objects():
    """How many programs, maps and links the kernel holds (BPF_PROG_GET_NEXT_ID and its like)."""
    libc = ctypes.CDLL(None, use_errno=True)
    counts = {}
    for kind, command in NEXT_ID.items():
        attributes = (ctypes.c_uint32 * 4)()
        counts[kind] = 0
        while libc.syscall(SYSCALL_BPF, command, ctypes.byref(attributes), ctypes.sizeof(attributes)) == 0:
            counts[kind] += 1
            attributes[0] = attributes[1]
        if ctypes.get_errno() != errno.ENOENT:
            raise OSError(ctypes.get_errno(), 'count BPF %s' % kind)
    return counts


def kill():
    """An agent that is killed in the middle of a request leaves the service alone and nothing behind."""
    before = bpf_objects()
    service = Service('-k', 'gthread', '--threads', '2')
    agent = Agent(service, 'kill')
    attached = bpf_objects()
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        answers = [pool.submit(get, '/both'), pool.submit(get, '/wait')]
        time.sleep(0.1)
        agent.process.kill()
        agent.process.wait()
        answers = [a.result() for a in answers]
    report('kill: the service goes on', None not in answers and service.answers(), repr(answers))
    gone = until('kill: nothing is left', lambda: bpf_objects() == before, 20)
    report('kill: nothing is left', gone and attached != before, 'before %s, now %s' % (before, bpf_objects()))
    service.stop()


def btf():
    """A kernel that shows no BTF is told in one line, and works by a file."""
    shown, kept = '/sys/kernel/btf', '/tmp/vmlinux.btf'
    shutil.copy(shown + '/vmlinux', kept)
    subprocess.run(['busybox', 'mount', '-t', 'tmpfs', 'none', shown], check=True)
    try:
        refused = subprocess.run([AGENT, '--pid', '1'], capture_output=True, text=True)
        good = refused.returncode == 1 and refused.stderr.count('\n') == 1 and '--btf' in refused.stderr
        report('btf: its absence is told', good, refused.stderr)
        report('btf: the doctor says no', subprocess.run([AGENT, 'doctor'], stdout=subprocess.DEVNULL).returncode == 1)
        profile('btf', ONE_BY_ONE, '-k', 'gthread', '--threads', '2', agent_flags=['--btf', kept])
    finally:
        subprocess.run(['busybox', 'umount', shown], check=True)


def doctor():
    service = Service()
    done = subprocess.run([AGENT, 'doctor', '--pid', str(service.pid)], capture_output=True, text=True)
    report('doctor: all is well', done.returncode == 0, done.stderr)
    print(textwrap.indent(done.stdout, '   '))
    service.stop()


def fallbacks():
    """What the kernel has another way for is tried without it as well."""
    done = subprocess.run(['./probe.test', '-test.v'], capture_output=True, text=True)
    report('probe: its own tests', done.returncode == 0, done.stdout + done.stderr)


CHECKS = {'fallbacks': fallbacks, 'sync': sync, 'gthread': gthread, 'asyncio': asyncio, 'kill': kill, 'btf': btf, 'doctor': doctor}


def main():
    print('PYTHON', platform.python_version())
    begun = time.monotonic()
    for check in os.environ['CHECKS'].split(',') if 'CHECKS' in os.environ else CHECKS:
        CHECKS[check]()
    print('SECONDS %.1f' % (time.monotonic() - begun))


main()
