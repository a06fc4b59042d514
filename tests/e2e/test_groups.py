"""Groups over restarts: what was acknowledged is there after a kill, nobody is left waiting, and an end is clean."""
import os
import random
import struct
import threading
import time

from lib.checks import expect, wait_until
from lib.group_protocol import (OFFSET_COMMIT, REBALANCE_IN_PROGRESS, UNKNOWN_MEMBER, GroupClient, array, subscription,
                                text)
from test_survival import Tmpfs

NOW = ['group.initial.rebalance.delay.ms=0']
NOT_COORDINATOR, NOT_AVAILABLE, LOADING = 16, 15, 14
KILLS = 5


def group_client(broker, **more):
    return GroupClient(broker.host, broker.port, **more)


def wait_for(broker, *groups):
    with group_client(broker) as c:
        for group in groups:
            expect(c.wait_for_coordinator(group), 0, f'coordinator of {group}')


def commit_frame(c, group, topic, partition, offset, metadata=''):
    body = text(group) + struct.pack('>i', -1) + text('') + text(None)
    body += array([text(topic) + array([struct.pack('>iqi', partition, offset, -1) + text(metadata)])])
    return c.frame(OFFSET_COMMIT, 7, body)


def read_commit(c):
    r = c.receive()
    r.take('i')
    return r.array(lambda: (r.text(), r.array(lambda: r.take('ih'))))[0][1][0][1]


def committed(c, group):
    error, found = c.offsets(group)
    expect(error, 0, f'offsets of {group}')
    return {key: offset for key, (offset, _, _) in found.items()}


def fill(path):
    """A file that takes what is left of a disk."""
    ballast = os.path.join(path, 'ballast')
    with open(ballast, 'wb', buffering=0) as file:
        for size in (1 << 20, 4096, 1):
            try:
                while True:
                    file.write(b'\0' * size)
            except OSError:
                pass
    return ballast


class Committer(threading.Thread):
    """Commits rising offsets of one partition, eight requests in flight, until the connection ends."""

    def __init__(self, broker, group, offset):
        super().__init__(daemon=True)
        self.broker, self.group, self.next, self.acked, self.errors = broker, group, offset, offset - 1, set()

    def run(self):
        try:
            with group_client(self.broker) as c:
                waiting = []
                while True:
                    while len(waiting) < 8:
                        c.socket.sendall(commit_frame(c, self.group, 'load', 0, self.next))
                        waiting.append(self.next)
                        self.next += 1
                    error = read_commit(c)
                    if error:
                        self.errors.add(error)
                        return
                    self.acked = waiting.pop(0)
        except OSError:
            pass


def test_commits_acknowledged_before_a_kill_are_there(env):
    """Committers of four groups with eight requests in flight, killed five times; offsets never go back behind an ack."""
    groups = [f'load-{i}' for i in range(4)]
    with env.broker(*NOW) as broker:
        wait_for(broker, *groups)
        with group_client(broker) as c:
            c.create_topic('load')
        at = dict.fromkeys(groups, 1)
        for _ in range(KILLS):
            threads = [Committer(broker, g, at[g]) for g in groups]
            for t in threads:
                t.start()
            time.sleep(random.uniform(0.2, 0.8))
            broker.kill()
            for t in threads:
                t.join(30)
            broker.start()
            wait_for(broker, *groups)
            with group_client(broker) as c:
                for t in threads:
                    expect(t.errors, set(), 'errors of commits')
                    found = committed(c, t.group)[('load', 0)]
                    assert t.acked <= found < t.next, f'{t.group}: {found} after an ack of {t.acked}, sent {t.next - 1}'
                    at[t.group] = t.next
        assert min(at.values()) > 50, f'hardly anything was committed: {at}'


def test_groups_go_on_after_a_restart(env):
    """A classic group of two, a consumer group and simple commits, over a clean end and a kill: members heartbeat on."""
    with env.broker(*NOW) as broker:
        wait_for(broker, 'classic', 'new', 'simple')
        a, b = group_client(broker), group_client(broker)
        a.create_topic('t', 4)
        first = a.join_whole('classic', instance='one', session=30000)
        a.sync('classic', first['generation'], first['member'], [(first['member'], b'all')], instance='one')
        b.send_join('classic', instance='two', session=30000)
        wait_until(lambda: a.heartbeat('classic', first['generation'], first['member'], 'one') == REBALANCE_IN_PROGRESS,
                   'the first member is told')
        first = a.join('classic', member=first['member'], instance='one', session=30000)
        second = b.read_join()
        expect((first['error'], second['error'], len(first['members'])), (0, 0, 2))
        b.send_sync('classic', second['generation'], second['member'], instance='two')
        expect(a.sync('classic', first['generation'], first['member'],
                      [(first['member'], b'1'), (second['member'], b'2')], instance='one'), (0, b'1'))
        expect(b.read_sync(), (0, b'2'))
        beat = a.consumer_heartbeat('new', 'member-of-new-0000000', 0, names=['t'], rebalance=60000, owned={})
        expect(beat['error'], 0)
        owned = beat['assignment']
        expect(sorted(sum(map(list, owned.values()), [])), [0, 1, 2, 3])
        expect(set(a.commit('simple', {('t', i): 10 + i for i in range(4)}).values()), {0})
        expect(set(a.commit('classic', {('t', 0): 3}, first['generation'], first['member'], instance='one').values()), {0})
        described = sorted(a.describe('classic')['members'])
        for is_clean in (True, False, True):
            broker.restart(is_clean)
            wait_for(broker, 'classic', 'new', 'simple')
            a, b = group_client(broker), group_client(broker)
            expect(sorted(a.describe('classic')['members']), described)
            expect(a.heartbeat('classic', first['generation'], first['member'], 'one'), 0)
            expect(b.heartbeat('classic', second['generation'], second['member'], 'two'), 0)
            again = a.consumer_heartbeat('new', 'member-of-new-0000000', beat['epoch'], owned=owned)
            expect((again['error'], again['epoch']), (0, beat['epoch']))
            expect(committed(a, 'simple'), {('t', i): 10 + i for i in range(4)})
            expect(committed(a, 'classic'), {('t', 0): 3})
            expect(a.groups(), {'classic': ('consumer', 'Stable', 'classic'), 'new': ('consumer', 'Stable', 'consumer'),
                                'simple': ('', 'Empty', 'classic')})
        # a rebalance after all this gets everybody in
        a.send_join('classic', member=first['member'], instance='one', session=30000,
                    protocols=[('range', subscription(['t', 'u']))])
        wait_until(lambda: b.heartbeat('classic', second['generation'], second['member'], 'two') == REBALANCE_IN_PROGRESS,
                   'the second member is told')
        second = b.join('classic', member=second['member'], instance='two', session=30000)
        expect((a.read_join()['generation'], second['error']), (first['generation'] + 1, 0))


def test_nobody_is_left_waiting_when_the_server_ends(env):
    """Joins and syncs that wait for others, and connections that have gone meanwhile: the end is clean and quick."""
    with env.broker(*NOW) as broker:
        wait_for(broker, 'g')
        parked = []
        for i in range(20):
            lead, late, gone = group_client(broker), group_client(broker), group_client(broker)
            group = f'wait-{i}'
            leader = lead.join_whole(group, session=60000, rebalance=60000)
            expect(leader['error'], 0)
            late.send_join(group, instance='late', session=60000, rebalance=60000)
            gone.send_join(group, instance='gone', session=60000, rebalance=60000)
            gone.close()
            follower = group_client(broker)
            other = follower.join_whole(f'sync-{i}', instance='a', session=60000)
            expect(other['error'], 0)
            parked += [lead, late, follower]
        began = time.monotonic()
        expect(broker.stop(), 0, 'exit status')
        took = time.monotonic() - began
        assert took < 10, f'it took {took:.1f} s'
        for c in parked:
            c.close()
        broker.start()
        wait_for(broker, 'g')


def test_members_whose_connections_die_time_out(env):
    """Three join, two connections go while they wait; the third is let in, alone, when their time is up."""
    with env.broker(*NOW, 'group.min.session.timeout.ms=100') as broker:
        wait_for(broker, 'g')
        c, gone = group_client(broker), [group_client(broker), group_client(broker)]
        first = c.join_whole('g', session=10000, rebalance=1500)
        expect(c.sync('g', first['generation'], first['member'])[0], 0)
        for i, other in enumerate(gone):
            other.send_join('g', instance=f'gone-{i}', session=1000, rebalance=1500)
        wait_until(lambda: c.heartbeat('g', first['generation'], first['member']) == REBALANCE_IN_PROGRESS, 'told')
        for other in gone:
            other.close()
        again = c.join('g', member=first['member'], session=10000, rebalance=1500)
        expect(again['error'], 0)
        expect(c.sync('g', again['generation'], again['member'])[0], 0)

        def is_alone():
            error = c.heartbeat('g', again['generation'], again['member'])
            if error == REBALANCE_IN_PROGRESS:
                again.update(c.join('g', member=again['member'], session=10000, rebalance=1500))
                expect(c.sync('g', again['generation'], again['member'])[0], 0)
            return len(c.describe('g')['members']) == 1

        wait_until(is_alone, 'the dead members are out')
        expect(c.heartbeat('g', again['generation'], 'gone-0-x'), UNKNOWN_MEMBER)


def test_pipelined_commits_take_effect_in_order(env):
    """Commits of rising offsets in one go, small and large frames mixed: the last one holds; a fetch behind them sees it."""
    with env.broker(*NOW) as broker:
        wait_for(broker, 'order')
        with group_client(broker) as c:
            c.create_topic('t')
            for round_number in range(20):
                count = random.randrange(2, 40)
                frames = [commit_frame(c, 'order', 't', 0, round_number * 100 + i,
                                       'x' * random.choice((0, 10, 4090, 4096))) for i in range(count)]
                c.socket.sendall(b''.join(frames))
                expect([read_commit(c) for _ in range(count)], [0] * count)
                expect(committed(c, 'order'), {('t', 0): round_number * 100 + count - 1})


def test_thousands_of_groups_are_loaded_again(env):
    """2,000 groups with three offsets each, some overwritten and deleted; all of them after a kill, and a clean end."""
    count = 2000
    with env.broker(*NOW, 'offsets.topic.num.partitions=7', 'log.flush.interval.messages=9223372036854775807') as broker:
        wait_for(broker, *[f'many-{i}' for i in range(30)])
        wanted = {}
        with group_client(broker) as c:
            c.create_topic('t', 3)
            for i in range(count):
                offsets = {('t', p): i * 10 + p for p in range(3)}
                expect(set(c.commit(f'many-{i}', offsets).values()), {0})
                if i % 3 == 0:
                    offsets[('t', 1)] = 7
                    expect(set(c.commit(f'many-{i}', {('t', 1): 7}).values()), {0})
                wanted[f'many-{i}'] = offsets
            gone = [f'many-{i}' for i in range(0, count, 5)]
            expect(set(c.delete_groups(gone).values()), {0})
            for name in gone:
                del wanted[name]
        for is_clean in (False, True):
            broker.restart(is_clean)
            wait_for(broker, *[f'many-{i}' for i in range(1, 30)])
            with group_client(broker) as c:
                expect(set(c.groups()), set(wanted))
                for name in random.sample(sorted(wanted), 200):
                    expect(committed(c, name), wanted[name], name)


def test_a_full_disk_refuses_commits_and_forgets_none(env):
    """Fills a small disk, commits into it, makes room again: refused ones are not seen, acknowledged ones stay."""
    with Tmpfs(24) as disk, env.broker(*NOW, 'offsets.topic.num.partitions=1', data=disk.path + '/data') as broker:
        wait_for(broker, 'g')
        with group_client(broker) as c, group_client(broker) as member:
            c.create_topic('t')
            joined = member.join_whole('with-member', session=60000)
            expect(member.sync('with-member', joined['generation'], joined['member'])[0], 0)
            expect(set(c.commit('g', {('t', 0): 1}).values()), {0})
            ballast = fill(disk.path)
            acked, error, refused = 1, 0, 0
            while refused < 20:
                offset = acked + 1
                error = set(c.commit('g', {('t', 0): offset}, metadata='x' * 4000).values()).pop()
                if error == 0:
                    acked = offset
                else:
                    assert error in (NOT_COORDINATOR, NOT_AVAILABLE, LOADING), error
                    refused += 1
            wait_until(lambda: c.offsets('g')[0] == 0, 'it is loaded again')
            expect(committed(c, 'g'), {('t', 0): acked}, 'while the disk is full')
            os.unlink(ballast)
            wait_until(lambda: set(c.commit('g', {('t', 0): acked + 1}).values()) == {0}, 'commits are taken again')
            expect(committed(c, 'g'), {('t', 0): acked + 1})
            wait_until(lambda: member.heartbeat('with-member', joined['generation'], joined['member']) == 0, 'the member')
            broker.restart(is_clean=False)
            wait_for(broker, 'g')
            with group_client(broker) as again:
                expect(committed(again, 'g'), {('t', 0): acked + 1}, 'after a kill')


def test_groups_are_served_when_their_partition_could_be_made(env):
    """The topic of groups is made while the disk is full; when there is room a group commits an offset."""
    with Tmpfs(16) as disk, env.broker(*NOW, 'offsets.topic.num.partitions=1', data=disk.path + '/data') as broker, \
            group_client(broker) as c:
        c.create_topic('t')
        ballast = fill(disk.path)

        def is_made():
            c.find_coordinator('g')
            return '__consumer_offsets' in c.metadata(None)[1]

        def commit():
            return set(c.commit('g', {('t', 0): 7}).values()).pop()

        wait_until(is_made, 'the topic of groups')
        expect(c.leaders('__consumer_offsets'), 0)
        assert commit() != 0, 'a commit was taken on a full disk'
        os.unlink(ballast)
        wait_until(lambda: commit() == 0, 'a commit is taken')
        expect(committed(c, 'g'), {('t', 0): 7})


def test_groups_end_with_their_topic_and_begin_anew(env):
    """Deletes __consumer_offsets under a parked join and committers; then the topic is made again, empty."""
    with env.broker(*NOW) as broker:
        wait_for(broker, 'g')
        with group_client(broker) as c, group_client(broker) as parked:
            c.create_topic('load')
            first = c.join_whole('j', session=60000, rebalance=60000)
            expect(first['error'], 0)
            parked.send_join('j', instance='i', session=60000, rebalance=60000)
            expect(set(c.commit('g', {('load', 0): 5}).values()), {0})
            committers = [Committer(broker, f'load-{i}', 1) for i in range(3)]
            for t in committers:
                t.start()
            time.sleep(0.3)
            c.delete_topic('__consumer_offsets')
            expect(parked.read_join()['error'] in (NOT_COORDINATOR, NOT_AVAILABLE), True, 'the parked join')
            for t in committers:
                t.join(20)
                assert t.errors <= {NOT_COORDINATOR, NOT_AVAILABLE} and t.errors, t.errors
            expect(c.offsets('g')[0], NOT_COORDINATOR)
            expect(c.find_coordinator('g')[0], NOT_AVAILABLE)
        wait_for(broker, 'g')
        with group_client(broker) as c:
            expect(c.groups(), {})
            expect(c.offsets('g'), (0, {}))
            expect(set(c.commit('g', {('load', 0): 6}).values()), {0})
            expect(committed(c, 'g'), {('load', 0): 6})
            c.delete_topic('load')
            wait_until(lambda: committed(c, 'g') == {}, 'offsets of a deleted topic are gone')


def test_groups_lie_in_the_partition_that_kafka_looks_in(env):
    """Commits of groups whose Java hash is positive, negative or has no opposite: which partition's log has the name."""
    places = {'classic': 2, 'modern': 1, 'leaver': 1, 'polygenelubricants': 0, '\u00e9': 1}  # Math.abs(hashCode()) % 4
    with env.broker('offsets.topic.num.partitions=4') as broker:
        with group_client(broker) as c:
            c.create_topic('hash')
            for group in places:
                expect(c.wait_for_coordinator(group), 0, 'coordinator')
                expect(c.commit(group, {('hash', 0): 1}), {('hash', 0): 0})
        for group, place in places.items():
            found = []
            for partition in range(4):
                path = os.path.join(broker.data, f'__consumer_offsets-{partition}', '0' * 20 + '.log')
                if os.path.exists(path):  # a log that is empty has none
                    with open(path, 'rb') as file:
                        found += [partition] if group.encode() in file.read() else []
            expect(found, [place], group)


def test_who_asks_for_transactions_is_told_in_the_log(env):
    """Clients ask until their timeout and are told no cause; one line of the log names it."""
    with env.broker() as broker:
        with group_client(broker) as c:
            for _ in range(20):
                expect(c.find_coordinator('txn\n', key_type=1)[0], NOT_AVAILABLE)
        lines = [line for line in broker.log().splitlines() if 'transactions, which are not supported yet' in line]
        expect(len(lines), 1, broker.log())
