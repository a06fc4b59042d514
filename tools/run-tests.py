#!/usr/bin/env python3
"""Runs the test steps on a finished build and counts: run-tests.py BUILD [STEP...]

Each step is a command. A step's numbers are, whichever comes first: the single cases in the logs of 'meson test'
(TAP lines of cmocka programs), the last line 'N passed, N failed' that the command printed, its exit status.
The last line printed is the sum over all steps.
"""
import json
import os
import re
import subprocess
import sys
import time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CLOSING = re.compile(r'^(\d+) passed, (\d+) failed(?:, (\d+) skipped)?$', re.M)
TAP = re.compile(r'^(not ok|ok) \d+(.*)$', re.M)
SANITIZERS = {
    'ASAN_OPTIONS': 'detect_leaks=1:abort_on_error=0:exitcode=99:detect_stack_use_after_return=1',
    'UBSAN_OPTIONS': 'print_stacktrace=1:halt_on_error=1:exitcode=99',
}


def count_output(text, is_good):
    """(passed, failed, skipped) of one program from what it printed and its exit status."""
    closing = CLOSING.findall(text)
    tap = TAP.findall(text)
    if closing:
        passed, failed, skipped = (int(n or 0) for n in closing[-1])
    elif tap:
        skipped = sum(1 for state, rest in tap if '# SKIP' in rest.upper())
        failed = sum(1 for state, rest in tap if state == 'not ok' and '# SKIP' not in rest.upper())
        passed = len(tap) - skipped - failed
    else:
        return (1, 0, 0) if is_good else (0, 1, 0)
    if not is_good and failed == 0:
        failed = 1  # it died behind its last case
    return passed, failed, skipped


def run_unit(build, env):
    """meson's tests; the single cases are counted from its log."""
    log = os.path.join(build, 'meson-logs', 'testlog.json')
    if os.path.exists(log):
        os.unlink(log)
    command = ['meson', 'test', '-C', build, '--no-rebuild', '--print-errorlogs', '--timeout-multiplier', '4']
    status = subprocess.run(command, env=dict(env, CMOCKA_MESSAGE_OUTPUT='TAP')).returncode
    total = [0, 0, 0]
    if os.path.exists(log):
        with open(log, encoding='utf-8') as lines:
            for line in lines:
                row = json.loads(line)
                if row['result'] == 'SKIP':
                    total[2] += 1
                    continue
                text = row.get('stdout', '') + '\n' + row.get('stderr', '')
                for i, n in enumerate(count_output(text, row['result'] in ('OK', 'EXPECTEDFAIL'))):
                    total[i] += n
    if status != 0 and total[1] == 0:
        total[1] = 1
    return total


def run_command(command, env):
    """One program whose output is shown as it comes."""
    lines = []
    child = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                             errors='replace')
    for line in child.stdout:
        sys.stdout.write(line)
        sys.stdout.flush()
        lines.append(line)
    return count_output(''.join(lines), child.wait() == 0)


def main():
    build = os.path.abspath(sys.argv[1])
    server = os.path.join(build, 'src', 'jackdaw')
    py = sys.executable
    steps = {
        'layers': [py, f'{TOP}/tools/check-layers.py'],
        'style': [py, f'{TOP}/tools/check-style.py', '--build', build],
        'tools': [py, f'{TOP}/tests/tools/test_turns.py'],
        'unit': None,
        'e2e': [py, f'{TOP}/tests/e2e/run.py', server],
        'interop': [f'{TOP}/interop/run', 'kcat', 'rdkafka', 'groups-kcat', 'groups-rdkafka'],
    }
    wanted = sys.argv[2:] or list(steps)
    for name in wanted:
        if name not in steps:
            sys.exit(f'no step {name}; there are: {" ".join(steps)}')
    env = dict(os.environ, JACKDAW=server, **SANITIZERS)
    total = [0, 0, 0]
    failed_steps = []
    for name in wanted:
        print(f'== {name}', flush=True)
        start = time.monotonic()
        counts = run_unit(build, env) if steps[name] is None else run_command(steps[name], env)
        print(f'== {name}: {counts[0]} passed, {counts[1]} failed, {counts[2]} skipped'
              f' ({time.monotonic() - start:.1f} s)', flush=True)
        total = [a + b for a, b in zip(total, counts)]
        if counts[1]:
            failed_steps.append(name)
    if failed_steps:
        print('failed: ' + ' '.join(failed_steps))
    print(f'{total[0]} passed, {total[1]} failed' + (f', {total[2]} skipped' if total[2] else ''))
    sys.exit(1 if total[1] else 0)


main()
