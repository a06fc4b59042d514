#!/usr/bin/env python3
"""Scripts of requests with the answers that Kafka gave, put to a fresh server each: oracle.py SERVER [SCRIPT...]

ORACLE_DIR is the home of what asks: 'oracle ask HOST:PORT' sends a script, compare.py compares, scripts/NAME.jsonl and
scripts/NAME.expected.jsonl are scripts; those of our own are in tests/oracle. What may differ is named in
oracle-exceptions.txt, a line 'script<TAB>name of the request<TAB>why' each: a difference that is not listed fails, and
so does a listed one that no longer differs. A line "ok ...", "not ok ..." for each request.

Texts for people count only by being null, empty or not. NAME.properties beside a script are settings of its server.
"""
import json
import os
import re
import socket
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), 'tests', 'e2e'))
from lib.broker import Broker, StartError  # noqa: E402

SCRIPTS = ['wire', 'topics', 'produce', 'fetch', 'groups']
PROPERTIES = """process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
controller.listener.names=CONTROLLER
log.dirs={data}
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=4
group.initial.rebalance.delay.ms=0
"""
TEXTS = {'errorMessage', 'batchIndexErrorMessage', 'documentation'}
RESULT = re.compile(r'^(ok|not ok) \d+ (.*)$')


class PlainBroker(Broker):
    """Started by a properties file alone."""

    def command(self):
        return [self.binary, *self.arguments]


def find_script(home, name):
    """Path of a script, without its ending."""
    own = os.path.join(os.path.dirname(HERE), 'tests', 'oracle', name)
    return own if os.path.exists(f'{own}.jsonl') else f'{home}/scripts/{name}'


def own_scripts():
    where = os.path.join(os.path.dirname(HERE), 'tests', 'oracle')
    names = sorted(os.listdir(where)) if os.path.isdir(where) else []
    return [n[:-len('.expected.jsonl')] for n in names if n.endswith('.expected.jsonl')]


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.bind(('127.0.0.1', 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def read_exceptions():
    exceptions = {}
    with open(f'{HERE}/oracle-exceptions.txt', encoding='utf-8') as file:
        for line in file:
            if line.strip() and not line.startswith('#'):
                script, name, why = line.rstrip('\n').split('\t')
                exceptions[script, name] = why
    return exceptions


def without_texts(x):
    """What is compared: a text that says something is as good as any other."""
    if isinstance(x, dict):
        return {k: '(text)' if k in TEXTS and isinstance(v, str) and v else without_texts(v) for k, v in x.items()}
    return [without_texts(v) for v in x] if isinstance(x, list) else x


def copy_without_texts(source, target):
    with open(source, encoding='utf-8') as lines, open(target, 'w', encoding='utf-8') as out:
        for line in lines:
            out.write(json.dumps(without_texts(json.loads(line))) + '\n')


def run_script(binary, home, script):
    """[(is same, name, what differs)]"""
    port, controller = free_ports(2)
    with tempfile.TemporaryDirectory(prefix='jackdaw-oracle-') as work:
        properties = os.path.join(work, 'server.properties')
        with open(properties, 'w', encoding='utf-8') as file:
            file.write(PROPERTIES.format(port=port, controller=controller, data=os.path.join(work, 'data')))
            own = f'{find_script(home, script)}.properties'
            if os.path.exists(own):
                with open(own, encoding='utf-8') as more:
                    file.write(more.read())
        answers = os.path.join(work, 'answers.jsonl')
        with PlainBroker(binary, arguments=[properties]) as broker:
            with open(f'{find_script(home, script)}.jsonl', 'rb') as asked, open(answers, 'wb') as answered:
                subprocess.run([f'{home}/oracle', 'ask', broker.address], stdin=asked, stdout=answered, timeout=400)
        keep = os.environ.get('ORACLE_KEEP')
        if keep:
            os.makedirs(keep, exist_ok=True)
            os.replace(answers, answers := os.path.join(keep, f'{script}.jsonl'))
        copies = [os.path.join(work, 'expected-plain'), os.path.join(work, 'answers-plain')]
        for source, target in zip([f'{find_script(home, script)}.expected.jsonl', answers], copies):
            copy_without_texts(source, target)
        out = subprocess.run([sys.executable, f'{home}/compare.py', *copies, '--text', '--each'],
                             stdout=subprocess.PIPE, text=True).stdout
    rows = []
    for line in out.splitlines():
        match = RESULT.match(line)
        if match:
            name, _, why = match.group(2).partition(': ') if match.group(1) == 'not ok' else (match.group(2), '', '')
            rows.append((match.group(1) == 'ok', name, why))
    return rows


def main():
    home = os.environ['ORACLE_DIR']
    exceptions = read_exceptions()
    failed = 0
    for script in sys.argv[2:] or SCRIPTS + own_scripts():
        try:
            rows = run_script(sys.argv[1], home, script)
        except (StartError, AssertionError, subprocess.TimeoutExpired) as why:
            print(f'not ok {script}: {str(why).splitlines()[0]}')
            failed += 1
            continue
        if not rows:
            print(f'not ok {script}: no answers to compare')
            failed += 1
        differing = set()
        for is_same, name, why in rows:
            # A name may hold ': ' itself.
            listed = next((n for s, n in exceptions if s == script and f'{name}: {why}'.startswith(n + ': ')), None)
            if is_same:
                print(f'ok {script}: {name}')
            elif listed:
                differing.add(listed)
                print(f'ok {script}: {listed} (differs, as listed)')
            else:
                print(f'not ok {script}: {name}: {why}')
                failed += 1
        for s, name in exceptions:
            if s == script and rows and name not in differing:
                print(f'not ok {script}: {name}: listed as an exception, but it no longer differs')
                failed += 1
        sys.stdout.flush()
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
