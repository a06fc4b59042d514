"""Members of stock clients in one group: three come, one is killed, one is added, one leaves, and all are stopped.

A member is a process of its own: MEMBER HOST:PORT TOPIC GROUP KEY=VALUE... It consumes, commits what it has consumed
(a few records at a time, and what is left when partitions are taken from it), and says so, a line each:

    assigned P P ...      what it owns from now on; all of it
    record P OFFSET       a record has come
    commit P FROM TO      it is about to commit [FROM, TO)
    committed P FROM TO   the commit was answered, and good
    failed P FROM TO why  the commit was answered, and refused, or not answered at all

SIGTERM closes it in good order, SIGKILL does not. Keys: name (the client id), session (ms), instance (a static member),
protocol (classic, consumer), strategy (an assignor), regex (instead of the topic's name).

What must hold: the parts that were committed lie end to end, from the first record of a partition to its last, so that
each record belongs to one commit and each owner went on where the one before had committed. A part that was about
to be committed when its member was killed may count, or not. In the end the group's offsets are the ends.
"""
import os
import re
import signal
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), 'tests', 'e2e'))
from lib.group_protocol import GroupClient  # noqa: E402
from lib.protocol import Refused, batch  # noqa: E402

PARTITIONS = 6
SESSION_MS = 2000
PATIENCE_SECONDS = 60
NOT_YET = (3, 6)  # a topic that is new: no leader yet


class Failed(Exception):
    """A scenario that did not hold."""


class Member:
    """A process, and what it has said."""

    def __init__(self, scenario, name, command, parse=str.split):
        self.name = name
        self.scenario = scenario
        self.owned = frozenset()
        self.assignments = 0  # how often it said what it owns
        self.errors = []
        self.is_killed = False
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        text=True, errors='replace')
        self.readers = [threading.Thread(target=self.listen, args=(pipe, parse), daemon=True)
                        for pipe in (self.process.stdout, self.process.stderr)]
        for reader in self.readers:
            reader.start()

    def listen(self, pipe, parse):
        for line in pipe:
            words = parse(line.rstrip('\n'))
            if words:
                self.scenario.note(self, words, line.rstrip('\n'))

    def end(self, how=signal.SIGTERM):
        """Its exit status, or a complaint."""
        self.is_killed = self.is_killed or how == signal.SIGKILL
        if self.process.poll() is None:
            self.process.send_signal(how)
        try:
            status = self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return 'it did not end on SIGTERM'
        for reader in self.readers:
            reader.join(10)
        self.owned = frozenset()
        return status


class Scenario:
    """A topic, a group, members of it."""

    def __init__(self, server, name, commits=True, partitions=PARTITIONS):
        self.commits = commits  # members say what they commit
        self.condition = threading.Condition()
        self.topic = f'groups-{name}-{os.getpid()}'
        self.group = f'group-{name}-{os.getpid()}'
        self.ends = [0] * partitions
        self.members = []
        self.parts = [{} for _ in range(partitions)]  # from -> (to, is certain)
        self.seen = [{} for _ in range(partitions)]  # offset -> the member that had it first
        self.overlaps = []
        self.story = []
        self.began = time.monotonic()
        self.connect(server)
        self.client.create_topic(self.topic, partitions, {'retention.ms': '-1'})

    def connect(self, server):
        host, _, port = server.address.rpartition(':')
        self.client = GroupClient(host.strip('[]'), int(port), timeout=60)

    def tell(self, text):
        self.story.append(f'{time.monotonic() - self.began:.2f} {text}')

    def note(self, member, words, line):
        with self.condition:
            kind = words[0]
            if kind == 'assigned':
                member.owned = frozenset(int(p) for p in words[1:])
                member.assignments += 1
                self.tell(f'{member.name} owns {" ".join(words[1:]) or "nothing"}')
            elif kind == 'record':
                self.note_record(member, int(words[1]), int(words[2]))
            elif kind in ('commit', 'committed', 'failed'):
                self.note_part(member, kind, *(int(w) for w in words[1:4]))
                if kind == 'failed':
                    self.tell(f'{member.name} {line}')
            else:
                member.errors.append(line)
                self.tell(f'{member.name}: {line[:200]}')
            self.condition.notify_all()

    def note_record(self, member, partition, offset):
        first = self.seen[partition].setdefault(offset, member)
        if not self.commits and first is not member and not first.is_killed:
            self.overlaps.append(f'{member.name} was given {partition}: {offset}, which {first.name} had')

    def note_part(self, member, kind, partition, start, end):
        parts = self.parts[partition]
        known = parts.get(start)
        if kind == 'committed':
            if known and known[1]:
                self.overlaps.append(f'{member.name} committed {partition}: {start}-{end}, after {start}-{known[0]} was')
            parts[start] = (end, True)
        elif kind == 'commit' and not (known and known[1]):
            parts[start] = (end, False)

    def covered(self, partition):
        """How far the partition is consumed without a gap, and what is wrong."""
        if not self.commits:
            at = 0
            while at in self.seen[partition]:
                at += 1
            return at, None
        at = used = 0
        while at in self.parts[partition]:
            end, is_certain = self.parts[partition][at]
            used += is_certain
            at = end
        certain = sum(1 for _, is_certain in self.parts[partition].values() if is_certain)
        return at, None if used == certain else f'parts that do not lie end to end: {sorted(self.parts[partition].items())}'

    def wait(self, claim, what, seconds=PATIENCE_SECONDS):
        end = time.monotonic() + seconds
        with self.condition:
            while not claim():
                left = end - time.monotonic()
                if left <= 0:
                    raise Failed(f'not within {seconds} s: {what}')
                if self.overlaps:
                    raise Failed(self.overlaps[0])
                dead = [m for m in self.members if not m.is_killed and m.process.poll() not in (None, 0)]
                if dead:
                    raise Failed(f'{dead[0].name} ended with {dead[0].process.poll()}: {" / ".join(dead[0].errors)[-400:]}')
                self.condition.wait(min(left, 0.5))

    def start(self, name, command, parse=str.split):
        self.tell(f'start {name}')
        member = Member(self, name, command, parse)
        with self.condition:
            self.members.append(member)
        return member

    def kill(self, member):
        self.tell(f'kill {member.name}')
        member.is_killed = True
        member.end(signal.SIGKILL)

    def stop(self, member):
        self.tell(f'stop {member.name}')
        status = member.end()
        if status != 0:
            raise Failed(f'{member.name} stopped with {status}: {" / ".join(member.errors)[-400:]}')

    def produce(self, count):
        for partition, end in enumerate(self.ends):
            self.produce_to(partition, batch([b'%d' % i for i in range(end, end + count)]))
            self.ends[partition] += count
        self.tell(f'produced to {self.ends[0]}')

    def produce_to(self, partition, data):
        end = time.monotonic() + 10
        while True:
            try:
                return self.client.produce(self.topic, partition, data)
            except Refused as why:
                if why.code not in NOT_YET or time.monotonic() > end:
                    raise
                time.sleep(0.05)

    def shared(self, members):
        """Each partition has one owner, and nobody has two more than another."""
        owned = [p for m in members for p in m.owned]
        sizes = [len(m.owned) for m in members]
        return len(owned) == len(set(owned)) == len(self.ends) and max(sizes) - min(sizes) <= 1

    def wait_shared(self, members):
        names = ', '.join(m.name for m in members)
        self.wait(lambda: self.shared(members), f'the partitions shared by {names}')

    def wait_consumed(self):
        self.wait(lambda: all(self.covered(p)[0] >= end for p, end in enumerate(self.ends)), 'everything consumed')

    def check_all(self):
        """Nothing lost, each record in one commit, offsets at the ends."""
        for partition, end in enumerate(self.ends):
            at, wrong = self.covered(partition)
            if wrong or at != end:
                raise Failed(f'partition {partition}: consumed to {at} of {end}{"; " + wrong if wrong else ""}')
            missing = set(range(end)) - set(self.seen[partition])
            if missing:
                raise Failed(f'partition {partition}: records {sorted(missing)[:5]} were never seen')
        if self.overlaps:
            raise Failed(self.overlaps[0])
        error, found = self.client.offsets(self.group)
        wanted = {(self.topic, p): end for p, end in enumerate(self.ends)}
        if error or {where: offset for where, (offset, _, _) in found.items()} != wanted:
            raise Failed(f'offsets of the group: error {error}, {found} instead of {wanted}')

    def end(self):
        for member in self.members:
            if member.process.poll() is None:
                member.end(signal.SIGKILL)
        self.client.close()


def run_scenario(server, tally, suite, name, body, **more):
    """body(scenario) raises Failed."""
    began = time.monotonic()
    scenario = None
    try:
        scenario = Scenario(server, re.sub('[^A-Za-z0-9]+', '-', name), **more)
        body(scenario)
        tally.add(suite, 'ok', f'{name} ({time.monotonic() - began:.1f} s)')
    except (Failed, Refused, OSError, AssertionError) as why:
        story = ' | '.join(scenario.story[-40:]) if scenario else ''
        tally.add(suite, 'not ok', f'{name}: {type(why).__name__}: {why}; {story}')
    finally:
        if scenario:
            scenario.end()
    if os.environ.get('GROUPS_STORY') and scenario:
        print('#   ' + '\n#   '.join(scenario.story), flush=True)


def come_and_go(scenario, start, count=30):
    """The scenario that every client runs. start(name) makes a member."""
    scenario.produce(count)
    a, b, c = start('a'), start('b'), start('c')
    scenario.wait_shared([a, b, c])
    scenario.produce(count)
    scenario.wait_consumed()
    scenario.kill(b)
    scenario.produce(count)
    scenario.wait_shared([a, c])
    scenario.wait_consumed()
    d = start('d')
    scenario.produce(count)
    scenario.wait_shared([a, c, d])
    scenario.wait_consumed()
    scenario.stop(a)
    scenario.produce(count)
    scenario.wait_shared([c, d])
    scenario.wait_consumed()
    scenario.stop(c)
    scenario.stop(d)
    scenario.check_all()


def come_back(scenario, start, count=30, is_killed=True):
    """Static members: one goes and comes back under its name; nobody else moves."""
    scenario.produce(count)
    a, b, c = start('a', instance='a'), start('b', instance='b'), start('c', instance='c')
    scenario.wait_shared([a, b, c])
    scenario.wait_consumed()
    owned, before = b.owned, (a.assignments, c.assignments)
    if is_killed:
        scenario.kill(b)
    else:
        scenario.stop(b)
    again = start('b again', instance='b')
    scenario.produce(count)
    scenario.wait(lambda: again.owned == owned, 'the same partitions for the same instance')
    scenario.wait_consumed()
    if (a.assignments, c.assignments) != before:
        raise Failed('the others were given partitions anew')
    for member in (a, again, c):
        scenario.stop(member)
    scenario.check_all()


def leave_and_come_back(scenario, start):
    """The consumer protocol takes no second member of an instance that has not said that it goes."""
    come_back(scenario, start, is_killed=False)


def words(**settings):
    """KEY=VALUE for a member's command line."""
    settings.setdefault('session', SESSION_MS)
    return [f'{key}={value}' for key, value in settings.items() if value is not None]


def member_starter(scenario, server, command, **settings):
    """start(name, **more) for members of one program."""
    def start(name, **more):
        line = [*command, server.address, scenario.topic, scenario.group]
        return scenario.start(name, line + words(name=name.replace(' ', '-'), **dict(settings, **more)))
    return start
