"""Damaged files: what can be rebuilt is rebuilt, what is damaged is never sent as good, the rest is served."""
import os
import random
import shutil
import struct

from lib.checks import client, expect, expect_all, wait_until, write
from lib.protocol import STORAGE_ERROR, CORRUPT_MESSAGE, Refused, batch, batches, crc32c

COUNT = 60
SIZE = 50000  # three segments of 1 MiB
GARBAGE = bytes(range(7, 200)) * 3
OVERRIDES = ['log.segment.bytes=1048576', 'log.index.interval.bytes=4096']


class Written:
    """A stopped data directory with one topic 't' of two partitions, to be copied and spoilt."""

    def __init__(self, env, is_clean):
        self.env = env
        self.broker = env.broker(*OVERRIDES)
        try:
            self.fill(is_clean)
        except BaseException:
            self.broker.remove()
            raise

    def fill(self, is_clean):
        self.broker.start()
        with client(self.broker) as c:
            c.create_topic('t', 2)
        write(self.broker, 't', 'd', COUNT, SIZE)
        write(self.broker, 't', 'd', COUNT, 100, partition=1)
        if is_clean:
            expect(self.broker.stop(), 0)
        else:
            self.broker.kill()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.broker.remove()

    def spoilt(self, spoil):
        """A broker, not yet started, on a copy that spoil(path) has changed."""
        other = self.env.broker(*OVERRIDES)
        shutil.copytree(self.broker.data, other.data, ignore=shutil.ignore_patterns('*.sock'))
        spoil(other.data)
        return other


def put(path, data):
    with open(path, 'wb') as file:
        file.write(data)


def files_of(data, partition, ending):
    where = os.path.join(data, f't-{partition}')
    return sorted(os.path.join(where, name) for name in os.listdir(where) if name.endswith(ending))


def each_file(ending, change):
    def spoil(data):
        for path in files_of(data, 0, ending):
            change(path)
    return spoil


def cut_in_half(path):
    os.truncate(path, os.path.getsize(path) // 2 + 1)


def zeros(path):
    put(path, b'\0' * max(24, os.path.getsize(path)))


def txnindex(data):
    for path in files_of(data, 0, '.log'):
        put(path[:-4] + '.txnindex', GARBAGE)


SPOILERS = {
    'garbage in .txnindex': txnindex,
    'garbage in leader-epoch-checkpoint': lambda d: put(f'{d}/t-0/leader-epoch-checkpoint', GARBAGE),
    'empty leader-epoch-checkpoint': lambda d: put(f'{d}/t-0/leader-epoch-checkpoint', b''),
    'impossible leader-epoch-checkpoint': lambda d: put(f'{d}/t-0/leader-epoch-checkpoint', b'0\n2\n5 900\n3 100\n'),
    'no leader-epoch-checkpoint': each_file('leader-epoch-checkpoint', os.unlink),
    'empty partition.metadata': lambda d: put(f'{d}/t-0/partition.metadata', b''),
    'garbage in partition.metadata': lambda d: put(f'{d}/t-0/partition.metadata', GARBAGE),
    'garbage in .index': each_file('.index', lambda p: put(p, GARBAGE)),
    'no .index': each_file('.index', os.unlink),
    'half of .index': each_file('.index', cut_in_half),
    'zeros in .index': each_file('.index', zeros),
    'garbage in .timeindex': each_file('.timeindex', lambda p: put(p, GARBAGE)),
    'no .timeindex': each_file('.timeindex', os.unlink),
    'garbage in .snapshot': each_file('.snapshot', lambda p: put(p, GARBAGE)),
    'no .snapshot': each_file('.snapshot', os.unlink),
    'garbage in recovery-point-offset-checkpoint': lambda d: put(f'{d}/recovery-point-offset-checkpoint', GARBAGE),
    'garbage in replication-offset-checkpoint': lambda d: put(f'{d}/replication-offset-checkpoint', GARBAGE),
    'garbage in log-start-offset-checkpoint': lambda d: put(f'{d}/log-start-offset-checkpoint', GARBAGE),
    'empty checkpoints': lambda d: [put(f'{d}/{n}', b'') for n in os.listdir(d) if n.endswith('-checkpoint')],
    'a recovery point beyond the end': lambda d: put(f'{d}/recovery-point-offset-checkpoint', b'0\n1\nt 0 999999\n'),
    'garbage in the clean-shutdown mark': lambda d: put(f'{d}/.kafka_cleanshutdown', GARBAGE),
    'files of nobody': lambda d: [put(f'{d}/t-0/notes.txt', b'x'), put(f'{d}/stray', b'x'), os.mkdir(f'{d}/empty-0')],
    'leftovers of a crash': lambda d: [put(f'{d}/t-0/00000000000000000000.log.cleaned', GARBAGE),
                                       put(f'{d}/recovery-point-offset-checkpoint.tmp', GARBAGE),
                                       put(f'{d}/t-0/00000000000000000000.index.deleted', GARBAGE)],
}


def check_side_files(env, is_clean):
    wrong = []
    with Written(env, is_clean) as written:
        for name, spoil in SPOILERS.items():
            other = None
            try:
                other = written.spoilt(spoil)
                with other:
                    expect_all(other, 't', 'd', COUNT, SIZE)
                    expect_all(other, 't', 'd', COUNT, 100, partition=1)
                    with client(other) as c:
                        expect(c.produce('t', 0, batch([b'next'])), COUNT)
                        expect(c.list_offset('t', 0, -2)[2], 0, 'start')
            except Exception as why:  # each is looked at, then all are told
                wrong.append(f'{name}: {type(why).__name__}: {str(why)[:300]}')
    assert not wrong, '\n    '.join([''] + wrong)


def test_damaged_side_files_are_rebuilt_after_a_clean_stop(env):
    """Each kind of side file is spoilt on a copy; everything is read back and the next record is appended."""
    check_side_files(env, True)


def test_damaged_side_files_are_rebuilt_after_a_kill(env):
    """The same on what a kill left."""
    check_side_files(env, False)


def flip(path, at):
    with open(path, 'r+b') as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1 << random.randrange(8)]))


def places(path):
    """(base offset, position, size) of each batch of a segment."""
    with open(path, 'rb') as file:
        data = file.read()
    at = 0
    for base, one in batches(data):
        yield base, at, len(one)
        at += len(one)


def read_around(c, count):
    """What a consumer gets that steps over errors: {offset: value}, and the offsets that were refused."""
    good, refused = {}, set()
    offset = 0
    while offset < count:
        error, _, data = c.fetch('t', 0, offset, max_wait=0)
        if error:
            expect(error, CORRUPT_MESSAGE, f'error at {offset}')
            refused.add(offset)
            offset += 1
            continue
        found = False
        for base, one in batches(data):
            crc = struct.unpack_from('>I', one, 17)[0]
            assert crc == crc32c(one[21:]), f'a damaged batch was sent as good, base offset {base}'
            good[base] = one
            offset = max(offset, base + 1)
            found = True
        if not found:
            refused.add(offset)
            offset += 1
    return good, refused


def test_flipped_bits_in_a_clean_log_are_not_sent_and_nothing_else_is_lost(env):
    """One bit in each of three batches of a cleanly closed log: these are refused with 2, all others are served."""
    with Written(env, True) as written:
        bad = {5, 30, 31}

        def spoil(data):
            for path in files_of(data, 0, '.log'):
                for base, at, size in places(path):
                    if base in bad:
                        flip(path, at + random.randrange(61, size))

        with written.spoilt(spoil) as broker, client(broker) as c:
            good, refused = read_around(c, COUNT)
            expect(refused, bad, 'refused offsets')
            expect(set(good), set(range(COUNT)) - bad, 'served offsets')
            expect_all(broker, 't', 'd', COUNT, 100, partition=1)
            expect(c.produce('t', 0, batch([b'next'])), COUNT)


def test_a_damaged_length_in_the_middle_loses_nothing_behind_it(env):
    """A batch header with a length of nonsense; batches behind it are found again."""
    with Written(env, True) as written:
        def spoil(data):
            path = files_of(data, 0, '.log')[0]
            at = next(at for base, at, _ in places(path) if base == 7)
            with open(path, 'r+b') as file:
                file.seek(at + 8)
                file.write(b'\x7f\xff\xff\xf0')

        with written.spoilt(spoil) as broker, client(broker) as c:
            good, refused = read_around(c, COUNT)
            expect(refused, {7}, 'refused offsets')
            expect(set(good), set(range(COUNT)) - {7}, 'served offsets')


def test_damage_in_an_unscanned_tail_with_good_batches_behind_it_is_a_hole(env):
    """Killed, then one bit flipped in the middle of the last segment: the batches behind it stay."""
    with Written(env, False) as written:
        def spoil(data):
            path = files_of(data, 0, '.log')[-1]
            base, at, size = list(places(path))[-3]
            spoil.bad = base
            flip(path, at + size // 2)

        with written.spoilt(spoil) as broker, client(broker) as c:
            good, refused = read_around(c, COUNT)
            expect(refused, {spoil.bad}, 'refused offsets')
            expect(set(good), set(range(COUNT)) - {spoil.bad}, 'served offsets')
            expect(c.produce('t', 0, batch([b'next'])), COUNT)


def test_a_torn_tail_is_cut(env):
    """Killed; garbage, zeros, or half a batch behind the last one: cut, and appends go on at the right offset."""
    with Written(env, False) as written:
        for tail in (GARBAGE, b'\0' * 5000, batch([b'x' * 3000])[:1700]):
            def spoil(data, tail=tail):
                with open(files_of(data, 0, '.log')[-1], 'ab') as file:
                    file.write(tail)

            with written.spoilt(spoil) as broker:
                expect_all(broker, 't', 'd', COUNT, SIZE)
                with client(broker) as c:
                    expect(c.produce('t', 0, batch([b'next'])), COUNT)
                    expect(c.read_all('t', 0, COUNT), [(COUNT, None, b'next')])


def recovered(broker):
    """What the log says of recoveries."""
    return [line for line in broker.log().splitlines() if 'recovered partition=' in line or 'begins there anew' in line]


def test_the_log_tells_what_was_damaged_and_nothing_else(env):
    """A damaged snapshot, an emptied segment, room that was preallocated, a log start beyond the end: a line, or none."""
    def spoil_snapshot(data):
        put(files_of(data, 1, '.snapshot')[-1], GARBAGE)

    def empty_segment(data):
        put(files_of(data, 0, '.log')[1], b'')

    def preallocate(data):
        with open(files_of(data, 0, '.log')[-1], 'r+b') as file:
            file.truncate(3 << 20)

    def start_beyond(data):
        put(f'{data}/log-start-offset-checkpoint', b'0\n1\nt 1 500\n')

    for is_clean, spoil, partition, words in (
            (True, spoil_snapshot, 1, 'torn_tail_bytes=0 damaged_places=0 rebuilt: producer-state'),
            (True, empty_segment, 0, 'partition=t-0 scanned_bytes=0 torn_tail_bytes=0 damaged_places=1'),
            (False, preallocate, 0, None),
            (True, start_beyond, 1, 'partition t-1 ended below its log start 500 and begins there anew: removed_bytes=')):
        with Written(env, is_clean) as written, written.spoilt(spoil) as broker:
            lines = recovered(broker)
            expect(len(lines), 0 if words is None else 1, f'{spoil.__name__}: {lines}')
            assert words is None or words in lines[0], lines
            if spoil is not empty_segment:
                continue
            base = int(os.path.basename(files_of(broker.data, 0, '.log')[1])[:20])
            with client(broker) as c:
                good, refused = read_around(c, COUNT)
                expect(c.fetch('t', 0, base, max_wait=0)[0], CORRUPT_MESSAGE)
            behind = int(os.path.basename(files_of(broker.data, 0, '.log')[2])[:20])
            expect((set(good), refused), (set(range(base)) | set(range(behind, COUNT)), set(range(base, behind))))


def test_a_partition_that_cannot_be_read_is_offline_and_others_serve(env):
    """A directory stands where a segment was; the other partition and the topic's metadata are served."""
    with Written(env, True) as written:
        def spoil(data):
            for path in files_of(data, 0, '.log'):
                os.unlink(path)
                os.mkdir(path)

        with written.spoilt(spoil) as broker:
            expect_all(broker, 't', 'd', COUNT, 100, partition=1)
            with client(broker) as c:
                try:
                    error = c.fetch('t', 0, 0, max_wait=0)[0]
                except Refused as refused:
                    error = refused.code
                expect(error, STORAGE_ERROR, 'of the partition without files')
                error, partitions = c.metadata(['t'])[1]['t']
                expect([(error, leader, isr, offline) for (error, _, leader, _), (_, isr, offline) in partitions],
                       [(5, -1, [], [1]), (0, 1, [1], [])])
                expect([(p[0], p[1], *p[4:]) for p in c.describe_topic('t')],
                       [(0, -1, [], [1], [], [1]), (0, 1, [1], [], [], [])])
                expect(c.produce('t', 1, batch([b'next'])), COUNT)
                c.create_topic('new')
                expect(c.produce('new', 0, batch([b'v'])), 0)


def test_a_read_that_fails_is_told_with_its_partition(env):
    """While it runs a directory takes the place of a file: error 56, one line for many; mended, it is read again."""
    for ending, where in (('.log', 't-0'), ('.index', 't-0')):
        with Written(env, True) as written, written.spoilt(lambda data: None) as broker, client(broker) as c:
            path = files_of(broker.data, 0, ending)[1]
            offset = int(os.path.basename(path)[:20]) + 15
            os.rename(path, path + '.kept')
            os.mkdir(path)
            for _ in range(5):
                expect(c.fetch('t', 0, offset, max_wait=0)[0], STORAGE_ERROR, ending)
            lines = [line for line in broker.log().splitlines() if f'reads of {where} are refused' in line]
            expect(len(lines), 1, broker.log())
            assert 'its files cannot be read: Is a directory; they are taken again' in lines[0], lines
            assert 'has no Kafka error' not in broker.log()
            os.rmdir(path)
            os.rename(path + '.kept', path)
            expect(c.fetch('t', 0, offset, max_wait=0)[0], 0)


def test_a_fifo_among_the_files_of_a_partition_is_not_waited_for(env):
    """In the place of each file of one partition, apart; nobody writes into it. The start goes on, the other is served."""
    with Written(env, True) as written:
        for ending in ('.metadata', 'checkpoint', '.snapshot', '.timeindex', '.log'):
            def spoil(data, ending=ending):
                os.unlink(f'{data}/.kafka_cleanshutdown')  # so that every file is read
                path = files_of(data, 0, ending)[-1]
                os.unlink(path)
                os.mkfifo(path)

            with written.spoilt(spoil) as broker:
                expect_all(broker, 't', 'd', COUNT, 100, partition=1)


def test_a_damaged_metadata_log_tail_is_cut(env):
    """Garbage behind the metadata log, as a power cut leaves it: all topics are there, new ones are made."""
    with Written(env, False) as written:
        def spoil(data):
            where = f'{data}/__cluster_metadata-0'
            last = sorted(name for name in os.listdir(where) if name.endswith('.log'))[-1]
            with open(f'{where}/{last}', 'ab') as file:
                file.write(GARBAGE[:100])

        with written.spoilt(spoil) as broker:
            expect_all(broker, 't', 'd', COUNT, SIZE)
            with client(broker) as c:
                c.create_topic('new')
                wait_until(lambda: c.leaders('new') == 1, 'the new topic')
