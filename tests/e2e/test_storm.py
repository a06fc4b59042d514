"""Everything at once, on the real process: what only happens when many parts work at the same time.

Bulk writes that make checkpoints, rolls and retention; hundreds of logs with a record each; idempotent producers that
send again; topics made and deleted; DeleteRecords; configs of topics changed; readers. It ends in a kill or a stop, and
everything that was acknowledged and not deleted must be there, at its offset. STORM_ROUNDS (2) rounds of STORM_SECONDS
(5) each, STORM_SEED: the order of things; what the threads of the server make of it is another's to choose.
"""
import collections
import multiprocessing
import os
import random
import time

from lib.checks import client, expect
from lib.protocol import TOPIC, batch, batches, records

LOGS = 300
BIG_BYTES = 700000


class Ledger:
    """What a writer was promised: {(topic, partition): {offset: value}}, and where logs may begin by now."""

    def __init__(self):
        self.values = collections.defaultdict(dict)
        self.starts = collections.defaultdict(int)
        self.gone = set()

    def add(self, other):
        for where, values in other.values.items():
            self.values[where].update(values)
        for where, start in other.starts.items():
            self.starts[where] = max(self.starts[where], start)
        self.gone |= other.gone


def bulk(c, ledger, rng, word):
    """Large batches into a topic of small segments, of which retention keeps some."""
    value = word.encode() + b'.' * BIG_BYTES
    frame = c.produce_frame('big', 0, batch([value]))
    ledger.starts['big', 0] = 1 << 62
    while True:
        c.socket.sendall(frame * 4)
        for _ in range(4):
            _, _, error, base = c.read_produced()[0]
            expect(error, 0, 'a large batch')
            ledger.values['big', 0][base] = value[:40]
        yield


def touch(c, ledger, rng, word):
    """A record for each of many logs, in one go."""
    turn = 0
    while True:
        turn += 1
        value = f'{word} {turn}'.encode()
        one = batch([value])
        c.socket.sendall(b''.join(c.produce_frame('many', i, one) for i in range(LOGS)))
        for _ in range(LOGS):
            _, partition, error, base = c.read_produced()[0]
            expect(error, 0, f'a record of many-{partition}')
            ledger.values['many', partition][base] = value
        yield


def idempotent(c, ledger, rng, word):
    """Sequences, some sent again: the answer is the first one's offset."""
    producer_id, epoch = c.init_producer_id()
    sequences = collections.Counter()
    while True:
        partition = rng.randrange(4)
        value = f'{word} {sequences[partition]}'.encode()
        frame = c.produce_frame('once', partition, batch([value], producer_id, epoch, sequences[partition]))
        sequences[partition] += 1
        times = rng.choice((1, 1, 2))
        c.socket.sendall(frame * times)
        bases = [c.read_produced()[0][2:] for _ in range(times)]
        expect({error for error, _ in bases}, {0}, f'once-{partition} {sequences[partition]}')
        expect(len(set(bases)), 1, 'the offset of one that was sent again')
        ledger.values['once', partition][bases[0][1]] = value
        yield


def churn(c, ledger, rng, word):
    """Topics that live for a moment, or longer."""
    alive = []
    made = 0
    while True:
        made += 1
        name = f'{word.replace(" ", "-")}-{made}'
        c.create_topic(name, 6, configs={'segment.bytes': '1048576'})
        for partition in range(6):
            value = f'{name} {partition}'.encode()
            ledger.values[name, partition][c.produce(name, partition, batch([value]))] = value
        alive.append(name)
        if len(alive) > 5:
            gone = alive.pop(rng.randrange(len(alive)))
            ledger.gone.add(gone)
            c.delete_topic(gone)
        yield


def shorten(c, ledger, rng, word):
    """DeleteRecords, of what others write meanwhile."""
    while True:
        offsets = {i: c.list_offset('many', i, -1)[2] for i in rng.sample(range(LOGS), 5)}
        for partition, offset in offsets.items():
            offsets[partition] = rng.randint(0, offset)
            ledger.starts['many', partition] = max(ledger.starts['many', partition], offsets[partition])
        for partition, low, error in c.delete_records('many', offsets):
            expect(error, 0, f'DeleteRecords of many-{partition}')
            expect(low >= offsets[partition], True, f'many-{partition} begins at {low}')
        yield


def alter(c, ledger, rng, word):
    """What decides when and how logs roll, and what they keep."""
    while True:
        c.alter_configs(TOPIC, 'big', segment_bytes=rng.choice((1 << 20, 3 << 20, 16 << 20)),
                        retention_bytes=rng.choice((8 << 20, 40 << 20)), preallocate=rng.choice(('true', 'false')),
                        index_interval_bytes=rng.choice((0, 4096, 1 << 20)))
        c.alter_configs(TOPIC, 'many', segment_bytes=rng.choice((1 << 20, 4 << 20)), segment_ms=rng.choice((50, 1000, 10 ** 9)),
                        flush_messages=rng.choice((None, None, 1, 1000)))
        yield time.sleep(0.05)


def read(c, ledger, rng, word):
    """Whole batches at the offsets that were asked for, at any place of any log."""
    while True:
        topic, partition = rng.choice((('big', 0), ('many', rng.randrange(LOGS)), ('once', rng.randrange(4))))
        start = c.list_offset(topic, partition, -2)[2]
        end = c.list_offset(topic, partition, -1)[2]
        at = rng.randint(start, max(start, end))
        error, _, data = c.fetch(topic, partition, at, max_wait=0)
        may_be_gone = topic != 'once'
        expect(error == 0 or error == 1 and may_be_gone, True, f'a fetch of {topic}-{partition} at {at}: {error}')
        if error == 0 and at < end:
            found = [base for base, _ in batches(data)]
            assert found and found == sorted(found) and found[0] <= at, (topic, partition, at, end, found)
        yield


WORKERS = (bulk, touch, idempotent, churn, shorten, alter, read)


def work(worker, where, word, seed, stop, pipe):
    """A process: until it is told to stop or the server has gone. Its ledger, what went wrong, and whether a server that
    was killed explains it."""
    ledger = Ledger()
    why = None
    is_cut = False
    try:
        with client(where, timeout=60) as c:
            for _ in worker(c, ledger, random.Random(seed), word):
                if stop.is_set():
                    break
    except Exception as error:  # whatever it was, the round did not hold
        why = f'{worker.__name__}: {type(error).__name__}: {error}'
        is_cut = isinstance(error, ConnectionError) and stop.is_set()
    pipe.send((ledger, why, is_cut))


def blow(broker, turn, seconds, seed, is_killed):
    """One round; what was promised in it."""
    stop = multiprocessing.Event()
    crew = []
    for i, worker in enumerate(WORKERS):
        ours, theirs = multiprocessing.Pipe()
        word = f'{worker.__name__} {turn}'
        process = multiprocessing.Process(target=work, args=(worker, broker, word, seed + i, stop, theirs), daemon=True)
        process.start()
        crew.append((process, ours))
    time.sleep(seconds)
    assert broker.is_running(), f'the server has ended: {broker.log()[-2000:]}'
    stop.set()
    if is_killed:
        broker.kill()
    ledger = Ledger()
    for process, pipe in crew:
        found, why, is_cut = pipe.recv()
        process.join()
        assert why is None or is_cut and is_killed, f'{why}; log:\n{broker.log()[-1500:]}'
        ledger.add(found)
    return ledger


def look(broker, ledger):
    """Everything that was promised and not deleted; how many records that were."""
    count = 0
    with client(broker, timeout=60) as c:
        for (topic, partition), values in sorted(ledger.values.items()):
            if topic in ledger.gone or not values:
                continue
            where = f'{topic}-{partition}'
            start = c.list_offset(topic, partition, -2)[2]
            expect(start <= max(0, ledger.starts[topic, partition]), True, f'{where} begins at {start}')
            assert c.list_offset(topic, partition, -1)[2] > max(values), f'{where} ends before {max(values)}'
            found = {}
            while start <= max(values):
                error, high, data = c.fetch(topic, partition, start, max_bytes=8 << 20, max_wait=0)
                if error == 1 and start < ledger.starts[topic, partition]:  # retention has been here meanwhile
                    start = c.list_offset(topic, partition, -2)[2]
                    continue
                expect(error, 0, f'{where} at {start}')
                assert data, f'{where}: nothing at {start}, the high watermark is {high}'
                if topic == 'big':  # a CRC of so much takes Python too long
                    new = {base: one[61:200] for base, one in batches(data)}
                    wrong = [base for base, one in new.items() if values.get(base, b'') not in one]
                    expect(wrong, [], f'{where}: records that are not what was promised')
                    new = {base: values.get(base) for base in new}
                else:
                    new = {offset: value for offset, _, value in records(data)}
                found.update(new)
                start = max(new) + 1
            first = c.list_offset(topic, partition, -2)[2]
            missing = [offset for offset, value in values.items() if offset >= first and found.get(offset) != value]
            expect(missing, [], f'{where}: promised records that are not there')
            count += len(values)
    return count


def test_nothing_that_was_promised_is_lost_in_a_storm(env):
    """A kill after the first round, a stop after the second; no error, no directory offline, every record at its place."""
    rounds = int(os.environ.get('STORM_ROUNDS', '2'))
    seconds = float(os.environ.get('STORM_SECONDS', '5'))
    seed = int(os.environ.get('STORM_SEED', '1'))
    with env.broker('log.retention.check.interval.ms=200', 'log.segment.delete.delay.ms=500') as broker:
        with client(broker, timeout=60) as c:
            c.create_topic('big', configs={'segment.bytes': '1048576', 'retention.bytes': '8388608'})
            c.create_topic('many', LOGS)
            c.create_topic('once', 4)
        ledger = Ledger()
        for turn in range(rounds):
            is_clean = turn % 2 == 1
            ledger.add(blow(broker, turn, seconds, seed + turn * 100, not is_clean))
            if is_clean:
                expect(broker.stop(), 0, 'status on SIGTERM')
            broker.start()
            look(broker, ledger)
        bad = [line for line in broker.log().splitlines() if ' ERROR ' in line or 'offline' in line or 'is damaged' in line]
        expect(bad, [], 'log')
