"""Profiles services in a test machine and says on the console, one line each, what is as it should be."""
import concurrent.futures
import ctypes
import errno
import json
import os
import platform
import shutil
import subprocess
import textwrap
import time

from machine import AGENT, Agent, as_nobody, go, gunicorn, libc, report, until, write_certificate

FUNCTIONS = {
    '/wait': {'wait', 'doze'},
    '/work': {'work', 'toil'},
    '/both': {'both', 'weigh', 'descend', 'linger'},
    '/nap': {'nap'},
    '/gather': {'gather', 'pick'},
}
OURS = set().union(*FUNCTIONS.values()) | {'took'}
# What may lie between a clock's reading in a function and the agent's there: seconds, share.
SLACK, SHARE = 0.040, 0.25


def compare(record, truth):
    """What a record tells wrong."""
    path = record['endpoint']
    frames = record['stacktrace']['root_frame']
    times = {}
    for i, frame in enumerate(frames):
        if frame['is_application_code'] and not frame['function'].startswith('['):
            name = frame['function'].rpartition('.')[2]  # without Go's package
            times[name] = max(times.get(name, 0), frame['time'] - noting(frames, i))
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
    unknown = sum(frame['time'] for frame in frames if frame['function'] == '[unknown]')
    if unknown > SLACK:
        yield '%s: %.3f s are [unknown]' % (path, unknown)
    # Looking at goroutines takes more of an emulated CPU than the agent may take: it looks less often, and says so. On one
    # without instructions for TLS, Go's assembly uses the frame pointer for itself, and is not known until it was seen once.
    lost = [why for why in record['request'].get('incomplete', []) if why not in ('precision', 'stack_truncated')]
    if lost:
        yield '%s: incomplete: %s' % (path, lost)


def noting(frames, i):
    """What a function spent in took after it had read the clock: children come before their parents."""
    spent, at = 0, i - 1
    while at >= 0 and frames[at]['depth'] > frames[i]['depth']:
        if frames[at]['depth'] == frames[i]['depth'] + 1 and frames[at]['function'].endswith('took'):
            spent += frames[at]['time']
        at -= 1
    return spent


ONE_BY_ONE = [['/both'], ['/wait'], ['/work']]
TWO_AT_ONCE = [['/wait', '/work'], ['/both', '/wait']] * 2


def sync():
    profile('sync', ONE_BY_ONE * 2, gunicorn())


def gthread():
    profile('gthread', ONE_BY_ONE + TWO_AT_ONCE, gunicorn('-k', 'gthread', '--threads', '4'))


def asyncio():
    """Two requests at once on one thread, one of them with a task of its own."""
    profile('asyncio', [['/nap'], ['/gather']] + [['/nap', '/gather']] * 2,
            gunicorn('-k', 'uvicorn.workers.UvicornH11Worker', app='tasks:app'))


def tls():
    profile('tls', ONE_BY_ONE + TWO_AT_ONCE, gunicorn('-k', 'gthread', '--threads', '4', tls=True))


def goroutines():
    profile('go', [*ONE_BY_ONE, ['/gather'], *TWO_AT_ONCE], go())


def go_tls():
    profile('go-tls', ONE_BY_ONE + TWO_AT_ONCE, go(tls=True))


def profile(name, rounds, service, **agent_options):
    """Sends the rounds, the requests of one at once, and checks the records."""
    agent = Agent(service, name, **agent_options)
    report('%s: the agent starts' % name, agent.ready)
    if not agent.ready:
        agent.tell()
        service.stop()
        return
    truths = []
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for paths in rounds:
            truths += zip(paths, pool.map(service.get, paths))
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
    service = gunicorn('-k', 'gthread', '--threads', '2')
    agent = Agent(service, 'kill')
    attached = bpf_objects()
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        answers = [pool.submit(service.get, '/both'), pool.submit(service.get, '/wait')]
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
        refused = subprocess.run([AGENT, '--pid', KERNEL_THREAD], capture_output=True, text=True)
        good = refused.returncode == 1 and refused.stderr.count('\n') == 1 and '--btf' in refused.stderr
        report('btf: its absence is told', good, refused.stderr)
        report('btf: the doctor says no', subprocess.run([AGENT, 'doctor'], stdout=subprocess.DEVNULL).returncode == 1)
        profile('btf', ONE_BY_ONE, gunicorn('-k', 'gthread', '--threads', '2'), flags=['--btf', kept])
    finally:
        subprocess.run(['busybox', 'umount', shown], check=True)


def doctor():
    service = gunicorn()
    done = subprocess.run([AGENT, 'doctor', '--pid', str(service.pid)], capture_output=True, text=True)
    report('doctor: all is well', done.returncode == 0, done.stderr)
    print(textwrap.indent(done.stdout, '   '))
    service.stop()


KERNEL_THREAD = '2'  # kthreadd: it cannot be profiled, nor can what descends from it
CAPABILITIES = {'CAP_BPF': 39, 'CAP_PERFMON': 38, 'CAP_SYS_RESOURCE': 24, 'CAP_SYS_ADMIN': 21}  # in the order of asking
OF_OTHERS = [19, 2]  # CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH


def privileges():
    """An agent that is not root is given what it says is missing, until it starts."""
    held = OF_OTHERS
    while more := [number for name, number in CAPABILITIES.items() if name in refusal(held) and number not in held]:
        held = held + more[:1]
    report('privileges: what is missing is told', 39 in held and 38 in held, refusal(held))
    print('   holds', held)
    profile('privileges', ONE_BY_ONE, gunicorn('-k', 'gthread', '--threads', '2'), capabilities=held)


def refusal(held):
    """What an agent with those capabilities says of a process that it cannot profile anyway."""
    return subprocess.run([AGENT, '--pid', KERNEL_THREAD], stderr=subprocess.PIPE, text=True,
                          preexec_fn=lambda: as_nobody(held)).stderr


def fallbacks():
    """What the kernel has another way for is tried without it as well."""
    done = subprocess.run(['./probe.test', '-test.v'], capture_output=True, text=True)
    report('probe: its own tests', done.returncode == 0, done.stdout + done.stderr)


CHECKS = {
    'fallbacks': fallbacks, 'sync': sync, 'gthread': gthread, 'asyncio': asyncio, 'tls': tls, 'go': goroutines,
    'go-tls': go_tls, 'privileges': privileges, 'kill': kill, 'btf': btf, 'doctor': doctor,
}


def main():
    print('PYTHON', platform.python_version())
    begun = time.monotonic()
    write_certificate()
    for check in os.environ['CHECKS'].split(',') if 'CHECKS' in os.environ else CHECKS:
        CHECKS[check]()
    print('SECONDS %.1f' % (time.monotonic() - begun))


main()
