"""What the checks of a test machine are made of: services, agents, requests, and lines that say what is as it should be."""
import ctypes
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time

AGENT = './apm-ebpf'
PORT = 8000
PAIR = '/tmp/pair.pem'  # certificate and key
# An emulated CPU does little else when it is interrupted a thousand times a second.
FREQUENCY = '200'


def report(what, good, detail=''):
    print('ok' if good else 'FAILED', what, detail if not good else '', flush=True)


def until(what, true, seconds=240):
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            report(what, False, 'not within %d s' % seconds)
            return False
        time.sleep(0.05)
    return True


class Service:
    """A server that answers /wait; its directory's certificate is used with tls."""

    def __init__(self, *command, tls=False):
        self.tls = tls
        self.process = subprocess.Popen(command)
        self.pid = self.process.pid
        until('the service starts', self.answers)

    def answers(self):
        try:
            return self.get('/wait') is not None
        except OSError:
            return False

    def get(self, path):
        """One request on a connection of its own; gives what the view says of itself."""
        with socket.create_connection(('127.0.0.1', PORT), 60) as s:
            if self.tls:
                s = untrusting.wrap_socket(s)
            s.sendall(b'GET %s HTTP/1.1\r\nHost: vm\r\nConnection: close\r\n\r\n' % path.encode())
            answer = b''
            while chunk := s.recv(65536):
                answer += chunk
            s.close()
        head, _, body = answer.partition(b'\r\n\r\n')
        return json.loads(body) if head.startswith(b'HTTP/1.1 200') else None

    def stop(self):
        self.process.terminate()
        self.process.wait()


untrusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
untrusting.check_hostname = False
untrusting.verify_mode = ssl.CERT_NONE


def gunicorn(*flags, app='service:app', tls=False):
    # A machine has one or two CPUs, and an emulated worker is slow to start.
    certificate = ['--certfile', PAIR, '--keyfile', PAIR] if tls else []
    return Service(sys.executable, '-m', 'gunicorn', '-b', '127.0.0.1:%d' % PORT, '--timeout', '300',
                   '--log-level', 'warning', *certificate, *flags, app, tls=tls)


def go(tls=False):
    return Service('./goservice', *(['-certificate', PAIR] if tls else []), tls=tls)


def write_certificate():
    subprocess.run(['./goservice', '-certificate', PAIR, '-write-certificate'], check=True)


class Agent:
    """A running agent; capabilities, by number, are all that it has then, as another user than root."""

    def __init__(self, service, name, flags=(), capabilities=None):
        self.records, self.log = '/tmp/%s.jsonl' % name, '/tmp/%s.log' % name
        become = None if capabilities is None else lambda: as_nobody(capabilities)
        with open(self.log, 'w') as log:
            self.process = subprocess.Popen(
                [AGENT, '--pid', str(service.pid), '--log-file', self.records, '--log-level', 'debug', '-F', FREQUENCY,
                 *flags], stderr=log, preexec_fn=become)
        until('the agent is ready', lambda: self.said('"ready"') or self.process.poll() is not None)
        self.ready = self.said('"ready"')

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


KEEPCAPS, AMBIENT, AMBIENT_RAISE = 8, 47, 2  # include/uapi/linux/prctl.h
VERSION_3 = 0x20080522  # include/uapi/linux/capability.h
libc = ctypes.CDLL(None, use_errno=True)


def as_nobody(capabilities):
    """Makes this process another user's, with those capabilities only, which the next program keeps."""
    libc.prctl(KEEPCAPS, 1, 0, 0, 0)
    os.setgroups([])
    os.setresgid(65534, 65534, 65534)
    os.setresuid(65534, 65534, 65534)
    bits = sum(1 << number for number in capabilities)
    low, high = bits & 0xffffffff, bits >> 32
    header, data = (ctypes.c_uint32 * 2)(VERSION_3, 0), (ctypes.c_uint32 * 6)(low, low, low, high, high, high)
    if libc.capset(header, data):
        raise OSError(ctypes.get_errno(), 'set capabilities')
    for number in capabilities:
        if libc.prctl(AMBIENT, AMBIENT_RAISE, number, 0, 0):
            raise OSError(ctypes.get_errno(), 'keep capability %d' % number)
