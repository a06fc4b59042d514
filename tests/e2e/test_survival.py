"""kill -9, full disks, no descriptors: what was acknowledged stays, and the server goes on."""
import os
import random
import re
import resource
import signal
import socket
import threading
import time

from lib.checks import client, expect, rss_kib, value_of, wait_until, write
from lib.disk import Tmpfs
from lib.group_protocol import GroupClient
from lib.protocol import METADATA, STORAGE_ERROR, Refused, array, batch, batches, text

KILLS = 6
PRODUCERS = 3


class Load(threading.Thread):
    """Produces unique values to one partition, several requests in flight, until the connection ends."""

    def __init__(self, broker, partition, start):
        super().__init__(daemon=True)
        self.broker, self.partition, self.number = broker, partition, start
        self.acked = {}  # offset: value
        self.error = None

    def run(self):
        try:
            with client(self.broker) as c:
                waiting = []
                while True:
                    while len(waiting) < 8:
                        value = value_of(f'p{self.partition}', self.number, random.randrange(10, 2000))
                        self.number += 1
                        c.socket.sendall(c.produce_frame('load', self.partition, batch([value])))
                        waiting.append(value)
                    (_, _, error, base), = c.read_produced()
                    if error:
                        self.error = error
                        return
                    self.acked[base] = waiting.pop(0)
        except OSError:
            pass


def check_acked(broker, acked):
    """Everything acknowledged is at its offset; offsets have no gap. Returns the values of each partition."""
    with client(broker) as c:
        for partition, wanted in acked.items():
            found = c.read_all('load', partition)
            expect([offset for offset, _, _ in found], list(range(len(found))), f'offsets of {partition}')
            for offset, value in wanted.items():
                assert offset < len(found), f'load-{partition}: offset {offset} was acknowledged, {len(found)} are left'
                expect(found[offset][2], value, f'load-{partition} offset {offset}')


def test_kill_9_under_load_loses_nothing_acknowledged(env):
    """Producers with eight requests in flight, killed six times at random moments; all acks are looked up after each."""
    acked = {p: {} for p in range(PRODUCERS)}
    with env.broker('log.segment.bytes=1048576') as broker:
        with client(broker) as c:
            c.create_topic('load', PRODUCERS)
        number = 0
        for _ in range(KILLS):
            loads = [Load(broker, p, number) for p in range(PRODUCERS)]
            for load in loads:
                load.start()
            time.sleep(random.uniform(0.2, 1.0))
            broker.kill()
            for load in loads:
                load.join(30)
                expect(load.error, None, 'error of a produce')
                acked[load.partition].update(load.acked)
                number = max(number, load.number)
            broker.start()
            check_acked(broker, acked)
        assert sum(map(len, acked.values())) > KILLS * PRODUCERS, 'hardly anything was acknowledged'


def test_topics_acknowledged_before_a_kill_are_there(env):
    """Creates topics one after another and kills the server behind the last answer."""
    with env.broker() as broker:
        with client(broker) as c:
            for i in range(30):
                c.create_topic(f'made-{i}', 1 + i % 3, {'retention.ms': str(1000000 + i)})
        broker.restart(is_clean=False)
        with client(broker) as c:
            _, topics = c.metadata(None)
        for i in range(30):
            error, partitions = topics[f'made-{i}']
            expect((error, len(partitions)), (0, 1 + i % 3), f'made-{i}')


def test_an_idempotent_producer_is_remembered_after_a_kill(env):
    """A duplicate of the last batch is answered with its old offset, a gap is refused, the next sequence goes on."""
    with env.broker() as broker:
        with client(broker) as c:
            c.create_topic('once')
            end = time.monotonic() + 20
            while True:
                try:
                    producer, epoch = c.init_producer_id()
                    break
                except Refused:
                    assert time.monotonic() < end, 'no producer id'
                    time.sleep(0.05)
            for i in range(7):
                expect(c.produce('once', 0, batch([b'%d' % i], producer, epoch, i)), i)
        broker.restart(is_clean=False)
        with client(broker) as c:
            expect(c.produce('once', 0, batch([b'6'], producer, epoch, 6)), 6, 'duplicate')
            try:
                c.produce('once', 0, batch([b'x'], producer, epoch, 9))
                raise AssertionError('a gap was accepted')
            except Refused as refused:
                expect(refused.code, 45)
            expect(c.produce('once', 0, batch([b'7'], producer, epoch, 7)), 7, 'next')


def test_a_duplicate_is_answered_over_what_a_killed_kafka_left(env):
    """Its high watermark is in the checkpoint, its records are not known to be synced: the answer waits for nobody."""
    with env.broker() as broker:
        with client(broker) as c:
            c.create_topic('once')
            producer, epoch = c.init_producer_id()
            expect(c.produce('once', 0, batch([b'0'], producer, epoch, 0)), 0)
        broker.kill()
        for name, offset in ('replication-offset-checkpoint', 1), ('recovery-point-offset-checkpoint', 0):
            with open(os.path.join(broker.data, name), 'w', encoding='ascii') as file:
                file.write(f'0\n1\nonce 0 {offset}\n')
        broker.start()
        with client(broker, timeout=5) as c:
            expect(c.produce('once', 0, batch([b'0'], producer, epoch, 0)), 0, 'duplicate')


def test_a_directory_of_another_topic_is_set_aside(env):
    """What a deleted namesake left, as a power cut may bring it back: kept as -stray, and the topic serves, empty."""
    with env.broker() as broker:
        with client(broker) as c:
            c.create_topic('name')
            c.produce('name', 0, batch([b'old']))
        broker.kill()
        with open(os.path.join(broker.data, 'name-0', 'partition.metadata'), 'w', encoding='ascii') as file:
            file.write('version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAQQ')
        broker.start()
        with client(broker) as c:
            expect(c.produce('name', 0, batch([b'new'])), 0, 'the first of the new log')
        strays = [name for name in os.listdir(broker.data) if name.startswith('name-0.') and name.endswith('-stray')]
        expect(len(strays), 1, f'strays {strays}')
        broker.restart(is_clean=False)
        with client(broker) as c:
            expect(c.list_offset('name', 0, -1)[2], 1, 'log end')


def test_in_page_cache_mode_rolled_segments_are_synced_in_the_background(env):
    """Nothing else asks for it, and last segments are left alone. After a kill what lies before the recovery point is
    not scanned."""
    with env.broker('log.flush.interval.messages=9223372036854775807', 'log.segment.bytes=1048576') as broker:
        with client(broker) as c:
            c.create_topic('t')
            c.create_topic('small')
            c.produce('small', 0, batch([b'x']))
        half = batch([os.urandom(500_000)])
        points = os.path.join(broker.data, 'recovery-point-offset-checkpoint')

        def point(topic='t'):
            with open(points, encoding='utf-8') as file:
                return max([int(line.split()[2]) for line in file if line.startswith(f'{topic} 0 ')], default=0)
        with client(broker) as c:
            for _ in range(150):
                c.produce('t', 0, half)
        wait_until(lambda: os.path.exists(points) and point() > 100, 'a recovery point')
        known = point()
        expect(point('small'), 0)
        broker.kill()
        broker.start()
        told = re.search(r'recovery points on, ([0-9]+) bytes', broker.log())
        assert told and int(told[1]) < (150 - known + 1) * 501_000, broker.log()
        with client(broker) as c:
            expect(c.list_offset('t', 0, -1)[2], 150)


def test_starts_quickly_after_a_kill(env):
    """A hundred megabytes of log, killed; the first ack must not wait for a scan of all of it."""
    with env.broker() as broker:
        with client(broker) as c:
            c.create_topic('big')
            frame = c.produce_frame('big', 0, batch([b'x' * 900000]))
            for _ in range(25):
                for _ in range(5):
                    c.socket.sendall(frame)
                for _ in range(5):
                    expect(c.read_produced()[0][2], 0)
        broker.restart(is_clean=False)
        began = time.monotonic()
        with client(broker) as c:
            expect(c.produce('big', 0, batch([b'y'])), 125)
        seconds = broker.ready_seconds + time.monotonic() - began
        assert seconds < (10 if env.is_sanitized else 0.5), f'{seconds:.2f} s'


def test_a_full_disk_refuses_appends_serves_reads_and_recovers(env):
    """Fills a small disk with one batch over and over, reads all of it back, makes room by removing a ballast file, and
    appends again."""
    def count_whole(c, high):
        """Batches that are served, each compared with what was sent behind its header's stamps."""
        count = 0
        while count < high:
            error, _, data = c.fetch('full', 0, count, max_wait=0)
            expect(error, 0)
            for base, found in batches(data):
                expect(base, count)
                assert found[16:] == one[16:], f'batch {base} is not what was written'
                count += 1
        return count

    one = batch([os.urandom(300000)])
    with Tmpfs(48) as disk:
        ballast = os.path.join(disk.path, 'ballast')
        with open(ballast, 'wb') as file:
            file.write(b'\0' * (12 << 20))
        with env.broker(data=os.path.join(disk.path, 'data')) as broker, client(broker) as c:
            c.create_topic('full', 2)
            count = 0
            while True:
                try:
                    expect(c.produce('full', 0, one), count, 'offset')
                    count += 1
                    assert count < 1000, 'the disk is never full'
                except Refused as refused:
                    expect(refused.code, STORAGE_ERROR)
                    break
            assert broker.is_running(), 'it ended itself'
            for _ in range(20):
                try:
                    c.produce('full', 0, one)
                    raise AssertionError('appended to a full disk')
                except Refused as refused:
                    expect(refused.code, STORAGE_ERROR)
            expect(count_whole(c, count), count, 'read back while full')
            os.unlink(ballast)
            end = time.monotonic() + 20
            while True:
                try:
                    base = c.produce('full', 0, one)
                    break
                except Refused as refused:
                    expect(refused.code, STORAGE_ERROR)
                    assert time.monotonic() < end, 'no append within 20 s after there is room'
                    time.sleep(0.05)
            expect(base, count, 'offset of the first append with room')
            expect(c.produce('full', 1, batch([b'other'])), 0)
            broker.restart(is_clean=False)
            with client(broker) as again:
                expect(again.list_offset('full', 0, -1)[2], count + 1, 'end after a kill')
                expect(count_whole(again, count + 1), count + 1, 'after a kill')


def fill(path):
    """Takes the last byte that the disk has."""
    with open(path, 'wb', buffering=0) as file:
        for size in (65536, 4096, 512, 1):
            try:
                while True:
                    file.write(b'x' * size)
            except OSError:
                pass


def refusal_of(call):
    """The error that a call is refused with; 0: it is not."""
    try:
        call()
        return 0
    except Refused as refused:
        return refused.code


def test_a_full_disk_refuses_new_topics_and_configs_and_serves_on(env):
    """Topics are created, made by Metadata and altered while not a byte is free: refused with a retriable error, from
    the first without room on; the server reads, starts again after a kill and after a stop, and takes all of it when
    there is room."""
    with Tmpfs(16) as disk:
        ballast = os.path.join(disk.path, 'ballast')
        with env.broker(data=os.path.join(disk.path, 'data')) as broker:
            with client(broker) as c:
                c.create_topic('t')
                for i in range(10):
                    expect(c.produce('t', 0, batch([b'%d' % i])), i)
                fill(ballast)
                codes = [refusal_of(lambda: c.create_topic(f'new-{i}', waits=False)) for i in range(60)]
                known = codes.index(STORAGE_ERROR)
                expect(set(codes[known:]), {STORAGE_ERROR}, 'once it is full')
                for i in range(200):
                    c.ask(METADATA, 4, array([text(f'auto-{i}')]) + b'\1')
                expect(len(c.metadata(None)[1]), 1 + known, 'topics')
            for is_clean in (False, True, False):
                broker.restart(is_clean=is_clean)
                with client(broker) as c:
                    expect(c.metadata(['t'])[1]['t'][0], 0)
                    expect(len(c.read_all('t', 0)), 10, 'read back while full')
                    expect(refusal_of(lambda: c.create_topic('more')), STORAGE_ERROR)
                    expect(refusal_of(c.init_producer_id), STORAGE_ERROR)
            os.unlink(ballast)
            with client(broker) as c:
                c.create_topic('more')
                expect(c.produce('more', 0, batch([b'v'])), 0)
                expect(c.produce('t', 0, batch([b'v'])), 10)
            broker.restart(is_clean=False)
            with client(broker) as c:
                expect(len(c.metadata(None)[1]), 2 + known, 'topics after a kill')
                expect(len(c.read_all('t', 0)), 11)


def test_a_limit_of_file_sizes_refuses_appends_and_ends_nothing(env):
    """Files of 1 MiB at most (ulimit -f): appends beyond are refused, what is there is read, another partition works."""
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # which ends a process

    one = batch([os.urandom(300000)])
    with env.broker(limits=limit) as broker, client(broker) as c:
        c.create_topic('t', 2)
        for i in range(3):
            expect(c.produce('t', 0, one), i)
        for _ in range(5):
            expect(refusal_of(lambda: c.produce('t', 0, one)), STORAGE_ERROR)
        expect(len(c.read_all('t', 0)), 3)
        expect(c.produce('t', 1, one), 0)


def test_records_that_a_full_disk_does_not_let_go_stay(env):
    """DeleteRecords without room for the new log start is refused and moves nothing, for readers and after a kill; with
    room it is taken and survives one."""
    with Tmpfs(16) as disk:
        ballast = os.path.join(disk.path, 'ballast')
        with env.broker(data=os.path.join(disk.path, 'data')) as broker:
            with client(broker) as c:
                c.create_topic('t')
                for i in range(10):
                    expect(c.produce('t', 0, batch([b'%d' % i])), i)
                fill(ballast)
                expect(c.delete_records('t', {0: 7}), [(0, -1, STORAGE_ERROR)])
                expect(c.list_offset('t', 0, -2)[2], 0, 'the start')
                expect(len(c.read_all('t', 0)), 10)
                os.unlink(ballast)
                expect(c.delete_records('t', {0: 5}), [(0, 5, 0)])
                fill(ballast)
                expect(c.delete_records('t', {0: 7}), [(0, -1, STORAGE_ERROR)])
            broker.restart(is_clean=False)
            with client(broker) as c:
                expect(c.list_offset('t', 0, -2)[2], 5, 'the start after a kill')
                os.unlink(ballast)
                expect(c.delete_records('t', {0: 8}), [(0, 8, 0)])
            broker.restart(is_clean=False)
            with client(broker) as c:
                expect(c.list_offset('t', 0, -2)[2], 8, 'the start after another kill')


OFFLINE = (5, -1, [], [1])  # error, leader, in sync, offline: as Kafka with a failed log directory
ONLINE = (0, 1, [1], [])


def standing(c, topic):
    """What Metadata says of each partition: one of the two above."""
    _, partitions = c.metadata([topic])[1][topic]
    return [(error, leader, isr, offline) for (error, _, leader, _), (_, isr, offline) in partitions]


def test_partitions_made_on_a_full_disk_are_offline_and_serve_when_there_is_room(env):
    """Topics are made while there is room in the metadata log alone: Metadata says that their partitions are offline;
    room comes, and all of them serve, one that was deleted and made again meanwhile, too, also after a kill."""
    with Tmpfs(16) as disk:
        ballast = os.path.join(disk.path, 'ballast')
        with env.broker(data=os.path.join(disk.path, 'data')) as broker:
            with client(broker) as c:
                c.create_topic('t')
                fill(ballast)
                for name in ('a', 'b'):
                    c.create_topic(name, 2, waits=False)
                c.delete_topic('b')
                c.create_topic('b', 2, waits=False)
                for name in ('a', 'b'):
                    expect(standing(c, name), [OFFLINE] * 2, name)
                    expect(refusal_of(lambda: c.produce(name, 0, batch([b'v']))), STORAGE_ERROR)
                expect(standing(c, 't'), [ONLINE])
                os.unlink(ballast)
                wait_until(lambda: standing(c, 'a') + standing(c, 'b') == [ONLINE] * 4, 'all are online')
                for name in ('a', 'b'):
                    for number in range(2):
                        expect(c.produce(name, number, batch([b'v'])), 0)
            broker.restart(is_clean=False)
            with client(broker) as c:
                for name in ('a', 'b'):
                    expect(standing(c, name), [ONLINE] * 2)
                    for number in range(2):
                        expect(c.read_all(name, number), [(0, None, b'v')])
            expect(broker.stop(), 0)


def produce_to_all(c, topic, partitions):
    one = batch([b'v'])
    c.socket.sendall(b''.join(c.produce_frame(topic, i, one) for i in range(partitions)))
    return {c.read_produced()[0][2] for _ in range(partitions)}


def test_a_round_over_more_logs_than_descriptors(env):
    """A hard limit of 64 descriptors and a record for each of 100 logs, again and again: each is acknowledged and is
    there after a kill."""
    def limit():
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))

    with env.broker(limits=limit) as broker:
        with client(broker) as c:
            c.create_topic('many', 100)
            for _ in range(20):
                expect(produce_to_all(c, 'many', 100), {0})
        broker.kill()
        broker.start()
        with client(broker) as c:
            expect({c.list_offset('many', i, -1)[2] for i in range(100)}, {20})


def test_groups_that_no_descriptor_was_left_for_are_served_again(env):
    """Their log is to be opened while not one descriptor can be had: neither written to nor read again. When there are
    some the group is served, without a restart."""
    def limit(count):
        return lambda pid=0: resource.prlimit(pid, resource.RLIMIT_NOFILE, (count, 64))

    with env.broker(limits=limit(64)) as broker, GroupClient(broker.host, broker.port) as c:
        c.create_topic('many', 100)
        c.wait_for_coordinator('g')
        expect(c.commit('g', {('many', 0): 1}), {('many', 0): 0})
        expect(produce_to_all(c, 'many', 100), {0})  # the group's log is not among the open ones now
        limit(3)(broker.pid)
        assert c.commit('g', {('many', 0): 2})[('many', 0)] != 0
        wait_until(lambda: 'cannot be read' in broker.log(), 'the groups are not served')
        limit(64)(broker.pid)
        wait_until(lambda: c.commit('g', {('many', 0): 3})[('many', 0)] == 0, 'the group is served again')


def test_out_of_descriptors_it_keeps_old_connections_and_recovers(env):
    """A hard limit of 100 descriptors, 300 connections: the first one works on, a new one does when others left."""
    def limit():
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))

    with env.broker(limits=limit) as broker, client(broker) as good:
        good.create_topic('t')
        crowd = []
        for _ in range(300):
            s = socket.socket()
            s.settimeout(0.2)
            try:
                s.connect((broker.host, broker.port))
            except OSError:
                pass
            crowd.append(s)
        for i in range(50):
            expect(good.produce('t', 0, batch([b'v'])), i)
        for s in crowd:
            s.close()

        def can_connect():
            try:
                with client(broker, timeout=2) as c:
                    c.api_versions()
                return True
            except OSError:
                return False

        wait_until(can_connect, 'a new connection after the crowd has left')
        assert broker.is_running()
        good.create_topic('another')
        expect(good.produce('another', 0, batch([b'v'])), 0)


def test_files_keep_their_share_of_the_descriptors(env):
    """A hard limit of 256 and 240 idle connections: on an old connection segments roll, retention deletes, topics and
    their files are made, and what was written is read."""
    def limit():
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))

    overrides = ['log.retention.check.interval.ms=100', 'log.initial.task.delay.ms=100', 'log.segment.delete.delay.ms=0',
                 'metadata.log.max.record.bytes.between.snapshots=1']
    with env.broker(*overrides, limits=limit) as broker, client(broker) as good:
        good.create_topic('t', 1, {'segment.bytes': '1048576', 'retention.bytes': '3000000'})
        good.produce('t', 0, batch([b'v']))
        crowd = []
        for _ in range(240):
            s = socket.socket()
            s.settimeout(2)
            crowd.append(s)
            s.connect((broker.host, broker.port))
        wait_until(lambda: 'out of file descriptors' in broker.log(), 'newcomers are closed')
        assert len(os.listdir(f'/proc/{broker.pid}/fd')) < 210, 'the share of files is used up'
        data = batch([os.urandom(100000)])
        for i in range(60):
            expect(good.produce('t', 0, data), i + 1)
        wait_until(lambda: good.list_offset('t', 0, -2)[2] > 0, 'retention deletes')
        for k in range(60):
            good.create_topic(f'more-{k}', 2)
            for p in range(2):
                expect(good.produce(f'more-{k}', p, batch([b'v'])), 0)
        start = good.list_offset('t', 0, -2)[2]
        expect(len(good.read_all('t', 0, start)), 61 - start)
        for s in crowd:
            s.close()


def test_many_partitions_with_few_descriptors(env):
    """1,000 partitions are written and read under a hard limit of 256 descriptors, also after a kill."""
    def limit():
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))

    count = 1000
    with env.broker(limits=limit) as broker:
        with client(broker, timeout=120) as c:
            c.create_topic('many', count)
            for i in range(0, count, 50):
                for k in range(i, i + 50):
                    c.socket.sendall(c.produce_frame('many', k, batch([b'%d' % k])))
                for k in range(i, i + 50):
                    expect(c.read_produced(), [('many', k, 0, 0)])
        broker.restart(is_clean=False, timeout=120)
        with client(broker, timeout=120) as c:
            for k in range(0, count, 53):
                expect(c.read_all('many', k), [(0, None, b'%d' % k)])


def test_a_promise_of_100_megabytes_costs_nothing(env):
    """Fifty connections send the length of a huge request and little else; a good client goes on, memory stays."""
    with env.broker() as broker, client(broker) as good:
        good.create_topic('t')
        before = rss_kib(broker.pid)
        liars = []
        for _ in range(50):
            s = socket.create_connection((broker.host, broker.port))
            s.sendall(b'\x06\x40\0\0' + b'\0\0\0\x08' + b'x' * 1000)
            liars.append(s)
        for i in range(100):
            expect(good.produce('t', 0, batch([b'v' * 1000])), i)
        grown = rss_kib(broker.pid) - before
        for s in liars:
            s.close()
        assert grown < 64 << 10, f'{grown} KiB more'


def produce_at_once(broker, topic, data, count):
    """So many connections send it at the same time; the errors."""
    errors = []

    def one():
        try:
            with client(broker, timeout=60) as c:
                c.produce(topic, 0, data)
        except (OSError, Refused) as error:
            errors.append(repr(error))
    threads = [threading.Thread(target=one) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


def test_requests_beyond_the_memory_for_them_wait(env):
    """queued.max.request.bytes and jackdaw.memory.max as low as they may be: lone requests of any size, and many at
    once, are all served."""
    for overrides in (['queued.max.request.bytes=1000000', 'socket.request.max.bytes=1000000'],
                      ['jackdaw.memory.max=400000', 'socket.request.max.bytes=1000000']):
        with env.broker(*overrides) as broker:
            with client(broker) as c:
                c.create_topic('t')
            sent = 0
            for size in (100000, 400000, 530000, 999000):
                with client(broker) as c:
                    expect(c.produce('t', 0, batch([b'v' * size])), sent, f'{size} bytes')
                sent += 1
            for size, count in ((600000, 20), (100000, 50), (20000, 100)):
                expect(produce_at_once(broker, 't', batch([b'v' * size]), count), [], f'{count} x {size} bytes')
                sent += count
            with client(broker) as c:
                expect(c.list_offset('t', 0, -1)[2], sent)
            expect('closed a connection' in broker.log(), False, broker.log())
            expect('jackdaw.memory.max=400000 is below socket.request.max.bytes' in broker.log(),
                   'jackdaw' in overrides[0])


def test_large_requests_pass_those_who_promise_and_drip(env):
    """Fifty connections have sent 80 KB of 100 MB and go on by a byte: a megabyte passes, and goes on doing so."""
    with env.broker('jackdaw.memory.max=134217728') as broker, client(broker, timeout=60) as good:
        good.create_topic('t')
        stop = threading.Event()
        liars = []
        for _ in range(50):
            s = socket.create_connection((broker.host, broker.port))
            s.sendall(b'\x06\x40\0\0' + b'\0\0\0\x08' + b'x' * 80000)
            liars.append(s)

        def drip():
            while not stop.wait(0.1):
                for s in liars:
                    try:
                        s.send(b'x')
                    except OSError:
                        pass
        thread = threading.Thread(target=drip)
        thread.start()
        try:
            small, large = batch([b'v']), batch([os.urandom(900000)])
            began = time.monotonic()
            with client(broker) as other:
                for _ in range(50):
                    other.produce('t', 0, small)
            assert time.monotonic() - began < 3, 'small requests wait'
            for _ in range(5):
                good.produce('t', 0, large)
        finally:
            stop.set()
            thread.join()
        assert 'had all but stopped inside a request' in broker.log(), broker.log()
        for s in liars:
            s.close()


def test_retention_deletes_and_the_log_start_survives_a_kill(env):
    """Small segments and retention.bytes; the oldest records go, reading starts at the new start, also after a kill.

    The files wait as .deleted, and a start removes them."""
    overrides = ['log.segment.bytes=1048576', 'log.retention.check.interval.ms=100', 'log.initial.task.delay.ms=100',
                 'log.segment.delete.delay.ms=600000']
    with env.broker(*overrides) as broker:
        with client(broker) as c:
            c.create_topic('old', 1, {'retention.bytes': '2097152'})
        write(broker, 'old', 'o', 40, size=200000)
        with client(broker) as c:
            wait_until(lambda: c.list_offset('old', 0, -2)[2] > 0, 'the start moves on', 45)
        directory = os.path.join(broker.data, 'old-0')
        wait_until(lambda: '00000000000000000000.timeindex.deleted' in os.listdir(directory), 'its files wait')
        assert '00000000000000000000.log.deleted' in os.listdir(directory), os.listdir(directory)
        broker.restart(is_clean=False)
        expect([name for name in os.listdir(directory) if name.endswith('.deleted')], [])
        with client(broker) as c:
            start = c.list_offset('old', 0, -2)[2]
            found = c.read_all('old', 0, start)
        assert start > 0, 'the start went back'
        expect([offset for offset, _, _ in found], list(range(start, 40)))
        expect(found[-1][2], value_of('o', 39, 200000))


def test_a_deleted_topic_waits_under_another_name(env):
    """log.segment.delete.delay.ms of 700: its directory is renamed, stays, and goes by itself; its namesake stays."""
    with env.broker('log.segment.delete.delay.ms=700') as broker:
        def waiting():
            return [name for name in os.listdir(broker.data) if name.startswith('t-0.') and name.endswith('-delete')]
        with client(broker) as c:
            c.create_topic('t', 1, {'file.delete.delay.ms': '0'})
            expect(c.produce('t', 0, batch([b'old'])), 0)
            began = time.monotonic()
            c.delete_topic('t')
            expect([len(name) for name in waiting()], [len('t-0.') + 32 + len('-delete')])
            c.create_topic('t', 1)
            expect(c.produce('t', 0, batch([b'new'])), 0)
            wait_until(lambda: not waiting(), 'the directory goes')
            assert time.monotonic() - began >= 0.7, 'it went too early'
            expect([value for _, _, value in c.read_all('t', 0)], [b'new'])
            c.delete_topic('t')
        expect(broker.stop(), 0)
        expect(len(waiting()), 1)  # a stop does not wait
        broker.start()
        expect(waiting(), [])


def test_a_topic_that_is_deleted_while_its_flush_is_due_lets_the_broker_stop(env):
    """flush.ms of an hour, a record, the topic deleted: a loop is the last to hold the log, and lets go at the end."""
    with env.broker() as broker:
        with client(broker) as c:
            c.create_topic('t', 1, {'flush.ms': '3600000', 'flush.messages': '1000000'})
            expect(c.produce('t', 0, batch([b'v'])), 0)
            c.delete_topic('t')
        expect(broker.stop(), 0)
        expect(broker.complaints(), [])
