"""The server as a process: started on a free port with a directory of its own, ended by its own pid."""
import os
import re
import selectors
import shutil
import signal
import subprocess
import tempfile
import time

READY = re.compile(r'^jackdaw ready (.+):(\d+)$')
SANITIZER = re.compile(r'(ERROR|WARNING): (Address|Leak|Thread)Sanitizer|runtime error:|check failed', re.I)


class StartError(Exception):
    """It did not become ready."""


class Broker:
    """One server. `with Broker(binary) as b:` starts it, and leaves nothing behind."""

    def __init__(self, binary, overrides=(), arguments=(), listen='127.0.0.1:0', data=None, env=None, prefix=(),
                 limits=None):
        self.binary = binary
        self.overrides = list(overrides)
        self.arguments = list(arguments)
        self.listen = listen
        self.env = dict(os.environ, **(env or {}))
        self.prefix = list(prefix)
        self.limits = limits  # called in the child
        self.own = tempfile.mkdtemp(prefix='jackdaw-test-')
        self.data = data or os.path.join(self.own, 'data')
        self.log_path = os.path.join(self.own, 'stderr')
        self.process = None
        self.host = None
        self.port = None
        self.ready_seconds = None

    def command(self):
        line = [*self.prefix, self.binary, '--data', self.data]
        if self.listen:
            line += ['--listen', self.listen]
        for item in self.overrides:
            line += ['--override', item]
        return line + self.arguments

    def start(self, timeout=60):
        began = time.monotonic()
        with open(self.log_path, 'ab') as log:
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                            stderr=log, env=self.env, preexec_fn=self.limits)
        line = read_line(self.process.stdout, timeout)
        match = READY.match(line)
        if not match:
            self.kill()
            raise StartError(f'no ready line but {line!r}; log:\n{self.log()[-2000:]}')
        self.ready_seconds = time.monotonic() - began
        self.host = match.group(1).strip('[]')
        self.port = int(match.group(2))
        return self

    @property
    def address(self):
        return f'{self.host}:{self.port}'

    @property
    def pid(self):
        return self.process.pid

    def log(self):
        with open(self.log_path, encoding='utf-8', errors='replace') as file:
            return file.read()

    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def wait(self, timeout=60):
        status = self.process.wait(timeout)
        self.process.stdout.close()
        return status

    def stop(self, timeout=60):
        """SIGTERM; the exit status."""
        if self.is_running():
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            return 'did not end on SIGTERM'

    def kill(self):
        if self.is_running():
            self.process.kill()
        return self.wait()

    def restart(self, is_clean=True, timeout=60):
        """On the same data and the same port."""
        self.listen = f'[{self.host}]:{self.port}' if ':' in self.host else f'{self.host}:{self.port}'
        status = self.stop() if is_clean else self.kill()
        self.start(timeout)
        return status

    def complaints(self):
        """What the sanitizers said."""
        return [line for line in self.log().splitlines() if SANITIZER.search(line)]

    def remove(self):
        if self.process is not None and self.is_running():
            self.kill()
        shutil.rmtree(self.own, ignore_errors=True)

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.remove()
            raise

    def __exit__(self, kind, value, trace):
        try:
            if self.is_running():
                status = self.stop()
                if kind is None and status != 0:
                    raise AssertionError(f'exit status {status} on SIGTERM; log:\n{self.log()[-2500:]}')
            if kind is None and self.complaints():
                raise AssertionError('sanitizer: ' + self.log()[-6000:])
            if kind is not None:
                print('    log: ' + self.log()[-1500:].replace('\n', '\n    log: '))
        finally:
            self.remove()


def read_line(pipe, timeout):
    """One line of an unbuffered pipe, without its end; what there was by then when time is up."""
    line = b''
    end = time.monotonic() + timeout
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while not line.endswith(b'\n'):
            left = end - time.monotonic()
            if left <= 0 or not selector.select(left):
                break
            byte = os.read(pipe.fileno(), 1)
            if not byte:
                break
            line += byte
    return line.decode('utf-8', 'replace').rstrip('\n')
