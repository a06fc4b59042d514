"""Hostile members of groups: names, sizes and numbers that no consumer sends. A good group goes on all the time."""
import struct
import time

from lib.checks import beside, expect, percentile, rss_kib
from lib.group_protocol import (INVALID_GROUP_ID, INVALID_REQUEST, JOIN_GROUP, MEMBER_ID_REQUIRED, REBALANCE_IN_PROGRESS,
                                SYNC_GROUP, UNKNOWN_MEMBER, GroupClient, array, blob, subscription, text)

SETTINGS = ['group.initial.rebalance.delay.ms=0', 'group.min.session.timeout.ms=100',
            'log.flush.interval.messages=9223372036854775807']
INVALID_REGEX = 128
COORDINATOR_NOT_AVAILABLE = 15
NAMES = [b'x' * 32767, b'\xff\xfe\x80', b'\xc3', b'\xed\xa0\x80', b'\0', b' ', b'..', b'/../../etc', '\U0001f600' * 100,
         b'\xf0\x9f\x98', b'%s%n', b'a\nb']


def group_client(broker, **more):
    return GroupClient(broker.host, broker.port, **more)


class Good:
    """A group of one member that commits, and knows what it has committed."""

    def __init__(self, broker):
        self.client = group_client(broker)
        self.client.create_topic('good', 4)
        expect(self.client.wait_for_coordinator('good'), 0, 'coordinator')
        joined = self.client.join_whole('good', session=60000)
        expect(joined['error'], 0, 'join')
        self.generation, self.member = joined['generation'], joined['member']
        expect(self.client.sync('good', self.generation, self.member, [(self.member, b'all')]), (0, b'all'))
        self.offset = 0

    def go_on(self):
        """How long a heartbeat and a commit took, in seconds."""
        began = time.monotonic()
        expect(self.client.heartbeat('good', self.generation, self.member), 0, 'heartbeat of the good member')
        self.offset += 1
        expect(self.client.commit('good', {('good', 0): self.offset}, self.generation, self.member), {('good', 0): 0})
        took = time.monotonic() - began
        expect(self.client.offsets('good')[1][('good', 0)][0], self.offset, 'committed offset')
        return took


def test_hostile_names_of_groups_and_members(env):
    """Names that are long, no text, empty or paths, in every request: errors, never a member, and nothing breaks."""
    with env.broker(*SETTINGS) as broker:
        good = Good(broker)
        with group_client(broker) as c:
            for name in NAMES:
                expect(c.join('good', member=name)['error'], UNKNOWN_MEMBER, f'join as {name[:10]!r}')
                expect(c.heartbeat('good', 1, name), UNKNOWN_MEMBER, f'heartbeat as {name[:10]!r}')
                expect(c.sync('good', 1, name)[0], UNKNOWN_MEMBER, f'sync as {name[:10]!r}')
                expect(c.leave('good', [(name, None), ('', name)])[0], 0, f'leave as {name[:10]!r}')
                expect(set(c.commit('good', {('good', 0): 1}, 1, name).values()), {UNKNOWN_MEMBER}, f'commit as {name[:10]!r}')
                expect(c.consumer_heartbeat('good', name, 5)['error'] != 0, True, f'group heartbeat as {name[:10]!r}')
                expect(c.heartbeat(name, 1, 'm'), UNKNOWN_MEMBER, f'heartbeat of {name[:10]!r}')
                c.offsets(name, {'good': [0]})
                c.offsets('good', {name: [0]})
                c.find_coordinator(name)
                good.go_on()
            expect(c.join('', member='x')['error'], INVALID_GROUP_ID, 'join of no group')
            expect(c.consumer_heartbeat('', 'x', 0, names=['good'], rebalance=1000, owned={})['error'], INVALID_REQUEST)
        # A group and an instance of such a name are as good as any.
        for name in NAMES:
            with group_client(broker, timeout=10) as c:
                joined = c.join(name, instance='i', session=1000)
                expect(joined['error'], 0, f'join of {name[:10]!r}')
                expect(c.sync(name, joined['generation'], joined['member'], instance='i')[0], 0, f'sync of {name[:10]!r}')
        good.go_on()
        expect(broker.is_running(), True)


def test_metadata_without_end_is_refused(env):
    """Members with megabytes of metadata until memory would be used up: refused then, and the rest goes on."""
    with env.broker(*SETTINGS) as broker:
        good = Good(broker)
        before = rss_kib(broker.pid)
        refused = 0
        metadata = b'm' * (16 << 20)
        for i in range(40):
            with group_client(broker, timeout=30) as c:
                joined = c.join(f'big-{i}', protocols=[('range', metadata)], instance='i', session=60000)
                refused += joined['error'] != 0
                if joined['error'] == 0:
                    c.sync(f'big-{i}', joined['generation'], joined['member'], [(joined['member'], metadata)], instance='i')
            if i % 10 == 0:
                good.go_on()
        grown = rss_kib(broker.pid) - before
        expect(refused > 0, True, '640 MiB of metadata were taken')
        assert env.keeps_shadows or grown < 600 << 10, f'{grown >> 10} MiB more memory'
        good.go_on()


def test_assignments_of_nobody_are_dropped(env):
    """A leader that assigns 10 MiB to 100,000 members that are not there: they do not count, and weigh nothing."""
    with env.broker(*SETTINGS) as broker:
        good = Good(broker)
        with group_client(broker, timeout=60) as c:
            joined = c.join_whole('ghosts', session=60000)
            before = rss_kib(broker.pid)
            ghosts = [(f'ghost-{i}', b'x' * 100) for i in range(100000)]
            for _ in range(3):
                generation, member = joined['generation'], joined['member']
                expect(c.sync('ghosts', generation, member, [*ghosts, (member, b'mine')]), (0, b'mine'))
                joined = c.join('ghosts', member=member, session=60000)
                expect(joined['error'], 0, 'join')
            expect([m[0] for m in c.describe('ghosts')['members']], [joined['member']], 'members')
            grown = rss_kib(broker.pid) - before
        assert grown < (24 if env.is_sanitized else 8) << 10, f'{grown >> 10} MiB more memory'
        good.go_on()


def test_thousands_of_half_joined_members_go_away(env):
    """Ids that are asked for and never used: they cost little, do not show, and are forgotten when their time is up."""
    with env.broker(*SETTINGS) as broker:
        good = Good(broker)
        count = 5000 if env.is_sanitized else 20000
        before = rss_kib(broker.pid)
        with group_client(broker, timeout=60) as c:
            protocols = [('range', subscription(['good']))]
            for start in range(0, count, 100):
                for _ in range(100):
                    c.send_join('good', session=2000, protocols=protocols)
                for _ in range(100):
                    expect(c.read_join()['error'], MEMBER_ID_REQUIRED)
                if start % 1000 == 0:
                    good.go_on()
            for i in range(1000):
                c.send_join(f'half-{i}', session=2000, protocols=protocols)
            for i in range(1000):
                expect(c.read_join()['error'], MEMBER_ID_REQUIRED)
            grown = rss_kib(broker.pid) - before
            assert grown < (48 if env.is_sanitized else 16) << 10, f'{grown >> 10} MiB more memory'
            expect(len(c.describe('good')['members']), 1, 'members that show')
        good.go_on()
        # They do not hold the group up: a real member comes, and all others are in
        time.sleep(2.5)
        with group_client(broker) as c:
            member = c.join('good', session=60000)['member']
            c.send_join('good', member=member, session=60000)
            while good.client.heartbeat('good', good.generation, good.member) != REBALANCE_IN_PROGRESS:
                time.sleep(0.01)
            joined = good.client.join('good', member=good.member, session=60000)
            expect((joined['error'], len(joined['members'])), (0, 2), 'members of the next generation')
            expect(c.read_join()['error'], 0)


def test_hostile_patterns_take_no_time(env):
    """Patterns that hold a backtracking matcher up for ever, over topics of the worst names."""
    deep = '(' * 1500 + 'a' + ')' * 1500
    patterns = ['(a*)*b', '(a|aa)+$', '(a|a?)+b', '(.*)*(.*)*x', 'a{1000}{1000}', '(a{1,30}){1,30}{1,30}b', deep,
                '(a+)+' * 100, '((a*)*)*' * 50 + 'b', '[a-z]' * 5000, 'a?' * 500 + 'a' * 500, '(?=a)b', r'(a)\1', '(', '*', '',
                '[', 'x' * 32767]
    with env.broker(*SETTINGS) as broker:
        good = Good(broker)
        with group_client(broker, timeout=30) as c:
            for i in range(40):
                c.create_topic('a' * (200 + i))
            slowest = 0
            for i, pattern in enumerate(patterns):
                began = time.monotonic()
                c.socket.settimeout(20)
                answer = c.consumer_heartbeat(f'patterns-{i}', 'member', 0, regex=pattern, rebalance=10000, owned={})
                expect(answer['error'] in (0, INVALID_REQUEST, INVALID_REGEX), True, f'{pattern[:20]}: {answer}')
                slowest = max(slowest, good.go_on(), time.monotonic() - began)
            assert slowest < (5 if env.is_sanitized else 1), f'{slowest:.2f} s'
        expect(broker.is_running(), True)


def flood_groups(address, stop):
    """Joins, ids that are thrown away, syncs of nobody, heartbeats of nobody, patterns, as fast as they go."""
    clients = [GroupClient(*address, timeout=30) for _ in range(8)]
    metadata = [('range', b'm' * 10000)]
    number = 0
    while not stop.is_set():
        for c in clients:
            number += 1
            try:
                for _ in range(20):
                    c.send_join(f'flood-{number % 500}', session=500, protocols=metadata)
                for _ in range(20):
                    c.read_join()
                c.send(SYNC_GROUP, 3, text('good') + struct.pack('>i', 1) + text('nobody') + text(None) +
                       array([text(f'g{i}') + blob(b'x' * 100) for i in range(500)]))
                c.read_sync()
                c.heartbeat('good', 1, 'nobody')
                c.consumer_heartbeat(f'flood-modern-{number % 500}', f'm{number}', 0, regex='(a*)*b', rebalance=1000, owned={})
                c.send(JOIN_GROUP, 5, text('good') + b'\x7f\xff\xff\xff' * 2 + text('') + text(None) + text('consumer') +
                       struct.pack('>i', 0))
                c.read_join()
            except OSError:
                c.close()
                clients[clients.index(c)] = GroupClient(*address, timeout=30)


def test_one_large_group_that_is_named_many_times(env):
    """The whole answer would be of a gigabyte. It holds as many as there is room for, says of the others that they may
    be asked for again, and what it took is given back."""
    with env.broker(*SETTINGS) as broker:
        good = Good(broker)
        with group_client(broker) as c:
            joined = c.join_whole('large', protocols=[('range', b'm' * 20000)], session=60000)
            expect(c.sync('large', joined['generation'], joined['member'], [(joined['member'], b'a' * 20000)])[0], 0)
            for _ in range(3):
                described = c.describe_all(['large'] * 30000)
                errors = [d['error'] for d in described]
                known = errors.count(0)
                expect(errors, [0] * known + [COORDINATOR_NOT_AVAILABLE] * (30000 - known))
                assert 500 < known < 2000, known
                expect({d['members'][0][4:] for d in described[:known]}, {(b'm' * 20000, b'a' * 20000)})
                good.go_on()


def test_a_good_group_beside_a_flood_of_members(env):
    """Eight connections that join, sync and beat without end: the good member's heartbeats and commits stay quick."""
    with env.broker(*SETTINGS) as broker:
        good = Good(broker)
        for _ in range(50):
            good.go_on()
        before = rss_kib(broker.pid)
        times = []
        with beside(broker, flood_groups):
            end = time.monotonic() + 4
            while time.monotonic() < end:
                times.append(good.go_on())
            grown = rss_kib(broker.pid) - before
        p99 = percentile(times, 0.99)
        assert p99 < (1 if env.is_sanitized else 0.1), f'p99 {p99 * 1e3:.1f} ms of {len(times)}'
        assert grown < (512 if env.is_sanitized else 128) << 10, f'{grown >> 10} MiB more memory'
        good.go_on()
