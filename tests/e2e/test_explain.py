"""`jackdaw explain group` and the control door that it asks at."""
import json
import os
import socket
import stat
import struct

from lib.checks import expect, wait_until
from lib.group_protocol import REBALANCE_IN_PROGRESS, GroupClient, array, blob, text

NOW = ['group.initial.rebalance.delay.ms=0']
ODD = 'odd name % \u00fc "\n'


def door_of(broker):
    return os.path.join(broker.data, 'jackdaw.sock')


def explain(env, broker, *words):
    status, out, err = env.run('explain', 'group', *words, '--data', broker.data, env=env.environment)
    return status, out, err


def assignment(topic, partitions):
    out = struct.pack('>h', 1) + array([text(topic) + array([struct.pack('>i', p) for p in partitions])])
    return out + struct.pack('>i', -1)


def ask(broker, *chunks):
    """What the door answers to these bytes, until it closes or is silent."""
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(door_of(broker))
        for chunk in chunks:
            s.sendall(chunk)
        s.shutdown(socket.SHUT_WR)
        answer = b''
        while True:
            try:
                piece = s.recv(65536)
            except ConnectionResetError:  # it has not read all that we said
                piece = b''
            if not piece:
                return answer
            answer += piece


def test_a_group_tells_why_it_rebalanced_and_who_owns_what(env):
    """Two members join, one leaves: the text and the JSON name causes, steps, and partitions."""
    with env.broker(*NOW) as b, GroupClient(b.host, b.port) as one, GroupClient(b.host, b.port) as two:
        expect(one.wait_for_coordinator(ODD), 0)
        first = one.join_whole(ODD)
        expect(one.sync(ODD, 1, first['member'], [(first['member'], assignment('t', [0, 1, 2]))])[0], 0)
        second = two.join(ODD)
        two.send_join(ODD, second['member'])
        # Two connections: only the answer tells that the join has come.
        wait_until(lambda: one.heartbeat(ODD, 1, first['member']) == REBALANCE_IN_PROGRESS, 'told of the rebalance')
        expect(one.join(ODD, member=first['member'])['generation'], 2)
        expect(two.read_join()['generation'], 2)
        two.send_sync(ODD, 2, second['member'])
        expect(one.sync(ODD, 2, first['member'], [(first['member'], assignment('t', [0, 1])),
                                                  (second['member'], assignment('t', [2, 5]))])[0], 0)
        expect(two.read_sync()[0], 0)
        status, out, err = explain(env, b, ODD, '--json')
        expect((status, err), (0, ''))
        story = json.loads(out)
        expect((story['group'], story['kind'], story['state'], story['epoch']), (ODD, 'classic', 'Stable', 2))
        expect([[c['cause'] for c in r['causes']] for r in story['rebalances']], [['new-member'], ['new-member']])
        expect([c['member_id'] for c in story['rebalances'][1]['causes']], [second['member']])
        steps = [(s['step'], s['epoch']) for s in story['rebalances'][1]['steps']]
        expect(steps, [('joining', 1), ('syncing', 2), ('stable', 2)])
        expect({m['member_id']: m['owns'] for m in story['members']},
               {first['member']: [{'topic': 't', 'partitions': [0, 1]}],
                second['member']: [{'topic': 't', 'partitions': [2, 5]}]})
        expect(two.leave(ODD, [(second['member'], None)])[0], 0)
        status, out, _ = explain(env, b, ODD)
        expect(status, 0)
        for part in ('Group odd name % \\xc3\\xbc "\\x0a: classic, PreparingRebalance',
                     f"cause: member-left {second['member']}", f"Waiting now for\n    {first['member']} (must-rejoin)",
                     'owns t: 0-1\n'):
            assert part in out, f'{part!r} is not in\n{out}'


def test_explain_says_what_is_wrong(env):
    """No broker, no such group, wrong words: a line on standard error and the status that fits."""
    with env.broker(*NOW) as b, GroupClient(b.host, b.port) as c:
        expect(c.wait_for_coordinator('g'), 0)
        expect(c.join('g', version=5)['error'], 79)
        status, out, err = explain(env, b, 'nobody')
        expect((status, out), (1, ''))
        assert 'there is no such group' in err, err
        expect(explain(env, b, 'g')[0], 0)
        properties = os.path.join(b.own, 'server.properties')
        with open(properties, 'w', encoding='ascii') as file:
            file.write(f'process.roles=broker,controller\nnode.id=1\nlog.dirs={b.data}\n'
                       'listeners=PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093\n'
                       'controller.listener.names=CONTROLLER\n'
                       'controller.quorum.bootstrap.servers=127.0.0.1:9093\n')
        status, out, err = env.run('explain', 'group', 'g', properties)
        expect((status, err), (0, ''))
        assert out.startswith('Group g: classic'), out
        data = b.data
    status, _, err = env.run('explain', 'group', 'g', '--data', data)
    expect(status, 1)
    assert 'no broker runs' in err, err
    for words in ([], ['topic', 't'], ['group'], ['group', 'g', '--what'], ['group', 'g', 'a', 'b']):
        expect(env.run('explain', *words)[0], 2, ' '.join(words))
    expect(env.run('explain', '--help')[0], 0)


def test_the_door_is_for_its_owner_and_goes_with_the_broker(env):
    """Mode 0600; a clean stop removes it, a killed broker's is replaced, and a file in its place is left alone."""
    with env.broker(*NOW) as b:
        expect(stat.S_IMODE(os.lstat(door_of(b)).st_mode), 0o600)
        expect(stat.S_ISSOCK(os.lstat(door_of(b)).st_mode), True)
        b.restart(is_clean=False)
        expect(ask(b, b'explain group g\n')[:11], b'unavailable')
        expect(b.stop(), 0)
        expect(os.path.exists(door_of(b)), False)
        with open(door_of(b), 'w', encoding='ascii') as file:
            file.write('mine')
        b.start()
        assert 'there is no control door' in b.log(), b.log()
        expect(b.stop(), 0)
        with open(door_of(b), encoding='ascii') as file:
            expect(file.read(), 'mine')


def test_a_directory_of_any_length_has_a_door(env):
    """A data directory whose path is longer than a socket's address can be."""
    with env.broker(*NOW) as short:
        data = os.path.join(short.own, 'd' * 180)
        with env.broker(*NOW, data=data) as b:
            status, _, err = explain(env, b, 'g')
            expect(status, 1)
            assert 'no broker runs' not in err, err


def test_strange_words_at_the_door_are_refused_one_by_one(env):
    """Bad escapes, unknown commands, too long lines, bytes of all kinds: an answer or an end, and the broker lives."""
    with env.broker(*NOW) as b:
        for line in (b'\n', b'explain\n', b'explain group\n', b'explain topic t\n', b'explain group g xml\n',
                     b'explain group g json more\n', b'nothing such\n', b'explain group %zz\n', b'explain group %4\n',
                     b'explain group \xff\xfe\n', b'a ' * 20 + b'\n', b'\0\0\0\n'):
            answer = ask(b, line)
            expect(answer[:12], b'bad-request ', repr(line))
            head, _, body = answer.partition(b'\n')
            expect(int(head.split()[1]), len(body), repr(line))
        expect(ask(b, b'x' * 70000)[:12], b'bad-request ')
        expect(ask(b, os.urandom(3000).replace(b'\n', b'')), b'')
        expect(ask(b, b'half a line'), b'')
        answers = ask(b, b'nothing\nexplain group a%20b\r\nexplain group  json\n')
        expect(answers.count(b'bad-request '), 1)
        expect(answers.count(b'unavailable '), 2)
        with GroupClient(b.host, b.port) as c:
            expect(c.wait_for_coordinator('a b'), 0)
