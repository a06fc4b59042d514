#!/usr/bin/env python3
"""A data directory with groups moves from jackdaw to Kafka and back: group_directory.py SERVER JARS

JARS holds Kafka's own server. On each server: a classic group with a member, a group of the consumer protocol with a
member, and a group of offsets alone; offsets are committed to all three, more each time. Whoever opens the directory
next must have the same groups (type, state, members, their subscriptions and assignments) and the same offsets, with
their metadata, and the members must go on by the ids and epochs that they had. A line "ok NAME" or "not ok NAME: why".
"""
import os
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), 'tests', 'e2e'))
sys.path.insert(0, HERE)
from lib.group_protocol import NOT_READY, GroupClient, subscription  # noqa: E402
from lib.protocol import Refused  # noqa: E402
from oracle import PROPERTIES, PlainBroker, free_ports  # noqa: E402

TOPIC = 'moved'
PARTITIONS = 3
SESSION_MS = 1800000
MEMBER = 'bW92ZWQtbWVtYmVyLWlkLTE'
MORE = 'group.consumer.session.timeout.ms=60000\n'


class Life:
    """What the groups should be, whoever serves them."""

    def __init__(self):
        self.offset = 0
        self.member = None
        self.generation = None
        self.epoch = None
        self.owned = {}

    def begin(self, c):
        c.create_topic(TOPIC, PARTITIONS, {'retention.ms': '-1'})
        for group in ('classic', 'modern', 'plain', 'leaver'):
            assert c.wait_for_coordinator(group) == 0, f'no coordinator for {group}'
        joined = c.join_whole('classic', protocols=[('range', subscription([TOPIC])), ('other', b'more')], session=SESSION_MS,
                              rebalance=60000)
        assert joined['error'] == 0, f'join: {joined}'
        self.member, self.generation = joined['member'], joined['generation']
        error, _ = c.sync('classic', self.generation, self.member, [(self.member, b'\0\1what it has')])
        assert error == 0, f'sync: {error}'
        answer = c.consumer_heartbeat('modern', MEMBER, 0, rebalance=60000, names=[TOPIC], owned={}, rack='rack-1')
        for _ in range(10):
            assert answer['error'] == 0, f'heartbeat: {answer}'
            self.epoch = answer['epoch']
            self.owned = answer['assignment'] or self.owned
            if sum(len(p) for p in self.owned.values()) == PARTITIONS:
                break
            answer = c.consumer_heartbeat('modern', MEMBER, self.epoch, owned=self.owned)
        # A group that was there and is empty
        left = c.join_whole('leaver', protocols=[('range', subscription([TOPIC]))])
        c.sync('leaver', left['generation'], left['member'], [(left['member'], b'x')])
        c.leave('leaver', [(left['member'], None)])

    def go_on(self, c):
        """The members are still members; they commit, all groups do."""
        self.offset += 10
        for group in ('classic', 'modern', 'plain', 'leaver'):
            assert c.wait_for_coordinator(group) == 0, f'no coordinator for {group}'
        error = c.heartbeat('classic', self.generation, self.member)
        assert error == 0, f'heartbeat of the classic member: {error}'
        error, assignment = c.sync('classic', self.generation, self.member)
        assert (error, assignment) == (0, b'\0\1what it has'), f'sync: {error} {assignment}'
        answer = c.consumer_heartbeat('modern', MEMBER, self.epoch, owned=self.owned)
        assert answer['error'] == 0 and answer['epoch'] == self.epoch, f'heartbeat of the consumer: {answer}'
        where = {(TOPIC, p): self.offset + p for p in range(PARTITIONS)}
        self.commit(c, 'classic', where, self.generation, self.member)
        self.commit(c, 'plain', where, -1, '')
        self.commit(c, 'leaver', where, -1, '')
        # The commits of the consumer protocol are of version 9: by requests with tags
        self.commit_modern(c)

    def commit(self, c, group, where, generation, member):
        answer = c.commit(group, where, generation, member, metadata=f'note {self.offset}')
        assert set(answer.values()) == {0}, f'commit of {group}: {answer}'

    def commit_modern(self, c):
        answer = c.commit_tagged('modern', {(TOPIC, p): self.offset + p for p in range(PARTITIONS)}, self.epoch, MEMBER)
        assert set(answer.values()) == {0}, f'commit of modern: {answer}'

    def expect(self, c, who):
        groups = c.groups()
        wanted = {'classic': ('consumer', 'Stable', 'classic'), 'modern': ('consumer', 'Stable', 'consumer'),
                  'plain': ('', 'Empty', 'classic'), 'leaver': ('consumer', 'Empty', 'classic')}
        assert groups == wanted, f'{who} lists {groups}'
        for group in wanted:
            error, found = c.offsets(group)
            offsets = {where: (offset, error) for where, (offset, _, error) in found.items()}
            assert error == 0 and offsets == {(TOPIC, p): (self.offset + p, 0) for p in range(PARTITIONS)}, \
                f'{who}: offsets of {group}: {error} {found}'
            notes = {note for _, note, _ in found.values()}
            assert notes == {'' if group == 'modern' else f'note {self.offset}'}, f'{who}: metadata of {group}: {notes}'
        d = c.describe('classic')
        assert (d['state'], d['protocol'], d['type']) == ('Stable', 'range', 'consumer'), f'{who} describes {d}'
        member, instance, client, host, metadata, assignment = d['members'][0]
        assert (len(d['members']), member, instance, metadata, assignment) == \
            (1, self.member, None, subscription([TOPIC]), b'\0\1what it has'), f'{who} describes {d["members"]}'
        assert (client, host) == ('e2e', '/127.0.0.1'), f'{who}: {client} {host}'


def serve(life, port, who, is_first=False):
    with GroupClient('127.0.0.1', port) as c:
        if is_first:
            life.begin(c)
        else:
            for group in ('classic', 'modern', 'plain', 'leaver'):
                assert c.wait_for_coordinator(group) == 0, f'no coordinator for {group}'
            life.expect(c, who)
        life.go_on(c)
        life.expect(c, who)


def log_tail(log):
    with open(log, encoding='utf-8', errors='replace') as file:
        return ' '.join(file.read()[-600:].split())


def wait_for_port(port, child, log):
    end = time.monotonic() + 90
    while time.monotonic() < end and child.poll() is None:
        try:
            with GroupClient('127.0.0.1', port) as c:
                error = c.find_coordinator('classic')[0]
                if error == 0 and c.heartbeat('classic', 0, '') not in NOT_READY:
                    return
        except (OSError, Refused, KeyError):
            pass
        time.sleep(0.2)
    raise AssertionError('Kafka does not serve the directory: ' + log_tail(log))


class Kafka:
    def __init__(self, jars, properties, port, work):
        self.line = ['java', '-Xmx512m', '-cp', f'{jars}/*', 'kafka.Kafka', properties]
        self.port = port
        self.log = os.path.join(work, 'kafka.log')

    def __enter__(self):
        with open(self.log, 'ab') as out:
            self.child = subprocess.Popen(self.line, stdout=out, stderr=subprocess.STDOUT)
        wait_for_port(self.port, self.child, self.log)
        return self

    def __exit__(self, *_):
        self.child.terminate()
        try:
            self.child.wait(60)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()


def format_directory(jars, properties):
    line = ['java', '-cp', f'{jars}/*', 'kafka.tools.StorageTool', 'format', '--standalone', '-t', '4L6g3nShT-eMCtK--X86sw',
            '-c', properties]
    run = subprocess.run(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert run.returncode == 0, 'Kafka does not format: ' + run.stdout[-300:]


def move(binary, jars, is_clean, is_kafka_first):
    port, controller = free_ports(2)
    life = Life()
    with tempfile.TemporaryDirectory(prefix='jackdaw-groups-') as work:
        properties = os.path.join(work, 'server.properties')
        with open(properties, 'w', encoding='utf-8') as file:
            file.write(PROPERTIES.format(port=port, controller=controller, data=os.path.join(work, 'data')) + MORE)
        kafka = Kafka(jars, properties, port, work)
        if is_kafka_first:
            format_directory(jars, properties)
            kafka.__enter__()
            try:
                serve(life, port, 'Kafka', is_first=True)
            finally:
                kafka.__exit__()
        broker = PlainBroker(binary, arguments=[properties])
        try:
            broker.start()
            serve(life, port, 'jackdaw', is_first=not is_kafka_first)
            status = broker.stop() if is_clean else broker.kill()
            assert not is_clean or status == 0, f'exit status {status}'
            with kafka:
                serve(life, port, 'Kafka')
            broker.start()
            serve(life, port, 'jackdaw again')
            assert broker.stop() == 0, 'exit status'
        finally:
            broker.remove()


def main():
    failed = 0
    for is_clean, is_kafka_first, name in ((True, False, 'to Kafka and back, stopped cleanly'),
                                           (False, False, 'to Kafka and back, killed'),
                                           (True, True, 'from Kafka, to Kafka, and back')):
        try:
            move(sys.argv[1], sys.argv[2], is_clean, is_kafka_first)
            print(f'ok groups: {name}', flush=True)
        except Exception as why:  # whatever it was, it did not move
            print(f'not ok groups: {name}: {type(why).__name__} {" ".join(str(why).split())[-700:]}', flush=True)
            failed = 1
    sys.exit(failed)


main()
