#!/usr/bin/env python3
"""Tests that start the real server: run.py SERVER [WORD...]; with words, only tests whose name holds one of them.

Each test_*.py beside this file holds functions test_NAME(env); the name is a claim, the first line of its text says
how it is tested. The last line is 'N passed, N failed, N skipped'; exit status 1 when something failed.
"""
import importlib
import os
import subprocess
import sys
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from lib.broker import Broker  # noqa: E402
from lib.checks import Skip  # noqa: E402

MODULES = ['test_program', 'test_survival', 'test_damage', 'test_hostile', 'test_answers', 'test_groups', 'test_hostile_groups',
           'test_explain', 'test_configs', 'test_directories', 'test_disk_errors', 'test_storm']


class Env:
    """What a test is given."""

    def __init__(self, binary):
        self.binary = binary
        self.top = os.path.dirname(os.path.dirname(HERE))
        with open(binary, 'rb') as file:
            program = file.read()
        # Shadows of memory that was given back stay: under ThreadSanitizer a large figure of memory says nothing.
        self.keeps_shadows = b'__tsan_init' in program
        self.is_sanitized = b'__asan_init' in program or self.keeps_shadows
        # Dead memory is kept small, so that figures of memory mean something.
        self.environment = {'ASAN_OPTIONS': os.environ.get('ASAN_OPTIONS', '') + ':quarantine_size_mb=8'}

    def broker(self, *overrides, **more):
        more['env'] = dict(self.environment, **more.get('env', {}))
        return Broker(self.binary, overrides=overrides, **more)

    def run(self, *arguments, timeout=60, env=None):
        """A run that shall end by itself: (status, standard output, standard error)."""
        run = subprocess.run([self.binary, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, timeout=timeout, env=dict(os.environ, **(env or {})), text=True,
                             errors='replace')
        return run.returncode, run.stdout, run.stderr


def main():
    if len(sys.argv) < 2 or not os.access(sys.argv[1], os.X_OK):
        print(f'run.py: no server {sys.argv[1:2]}\n0 passed, 1 failed')
        sys.exit(1)
    env = Env(os.path.abspath(sys.argv[1]))
    words = sys.argv[2:]
    counts = {'ok': 0, 'not ok': 0, 'skip': 0}
    for module_name in MODULES:
        module = importlib.import_module(module_name)
        for name, test in list(vars(module).items()):
            if not name.startswith('test_') or not callable(test) or (words and not any(w in name for w in words)):
                continue
            began = time.monotonic()
            title = name[5:].replace('_', ' ')
            try:
                test(env)
                state, why = 'ok', ''
            except Skip as skip:
                state, why = 'skip', f': {skip}'
            except Exception as error:  # whatever it was, the test did not hold
                state = 'not ok'
                where = traceback.extract_tb(error.__traceback__)
                line = next((f.lineno for f in reversed(where) if f.filename == module.__file__), 0)
                why = f': {module_name}.py:{line}: {type(error).__name__}: {str(error)[:3000]}'
            counts[state] += 1
            print(f'{state} {title} ({time.monotonic() - began:.1f} s){why}', flush=True)
    print('{ok} passed, {not ok} failed, {skip} skipped'.format(**counts))
    sys.exit(1 if counts['not ok'] else 0)


main()
