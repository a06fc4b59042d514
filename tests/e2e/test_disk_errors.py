"""A disk that fails in the middle: everybody gets an answer, and what was answered is there.

A directory that stands where a file is to be made is such a failure, too.
"""
import os
import shutil

from lib.checks import client, expect, wait_until
from lib.disk import Tmpfs
from lib.protocol import STORAGE_ERROR, batch
from test_directories import placed, two_directories

SEGMENT_BYTES = 1048576


def write_two(broker, disk, pages_left, acks_are_durable):
    """Two batches in one turn, the second begins a segment; with so many pages left. Their answers."""
    with client(broker, timeout=20) as c:
        configs = () if acks_are_durable else (('flush.messages', str(2**63 - 1)),)
        c.create_topic('t', configs=configs)
        expect(c.produce('t', 0, batch([b'x' * (SEGMENT_BYTES - 1200)])), 0)
        left = SEGMENT_BYTES - os.path.getsize(os.path.join(broker.data, 't-0', f'{0:020d}.log'))
        frames = c.produce_frame('t', 0, batch([b'a' * (left - 200)])) + c.produce_frame('t', 0, batch([b'b' * 400]))
        ballast = disk.fill(pages_left)
        c.socket.sendall(frames)
        answers = [c.read_produced()[0][2:] for _ in range(2)]
        high = c.fetch('t', 0, 0, max_wait=0)[1]
        os.unlink(ballast)
        return answers, high


def test_a_batch_that_is_written_is_answered_though_the_next_one_fails(env):
    """A disk that fills up between two batches of one turn."""
    outcomes = set()
    with Tmpfs(12) as disk:
        for pages_left in range(7):
            for acks_are_durable in (True, False):
                data = os.path.join(disk.path, 'data')
                with env.broker(f'log.segment.bytes={SEGMENT_BYTES}', data=data) as broker:
                    answers, high = write_two(broker, disk, pages_left, acks_are_durable)
                    good = [offset for error, offset in answers if error == 0]
                    expect(good, list(range(1, 1 + len(good))), f'{pages_left} pages left: {answers}')
                    expect({error for error, _ in answers} <= {0, STORAGE_ERROR}, True, f'{answers}')
                    expect(high, 1 + len(good), 'what consumers see')
                    outcomes.add(tuple(error for error, _ in answers))
                    broker.restart(is_clean=False)
                    with client(broker) as c:
                        expect(len(c.read_all('t', 0)), high, 'records after a kill')
                shutil.rmtree(data)
    assert (0, STORAGE_ERROR) in outcomes, f'the disk was never full between them: {outcomes}'


def fill(c, topic, partition, count):
    """Batches of 900 kB, several in flight; their errors."""
    frame = c.produce_frame(topic, partition, batch([os.urandom(900000)]))
    errors = []
    for _ in range(count // 4):
        c.socket.sendall(frame * 4)
        errors += [c.read_produced()[0][2] for _ in range(4)]
    return errors


def test_a_checkpoint_that_fails_takes_its_directory_offline_and_leaves_nobody_waiting(env):
    broker, second = two_directories(env)
    with broker:
        with client(broker, timeout=20) as c:
            c.create_topic('t', 2)
            there = placed(second)[0]
            expect(there, 't-1')
            os.mkdir(os.path.join(second, there, 'leader-epoch-checkpoint'))
            errors = fill(c, 't', 1, 120)
            wait_until(lambda: 'is offline' in broker.log(), 'the checkpoint after 64 MiB fails')
            errors += fill(c, 't', 1, 4)
            expect(errors[-1], STORAGE_ERROR)
            expect(set(errors), {0, STORAGE_ERROR}, 'each has an answer')
            expect(c.produce('t', 0, batch([b'x'])), 0, 'the other directory serves')
        line, = [line for line in broker.log().splitlines() if 'is offline' in line]
        assert f'log directory {second} is offline' in line and 'Is a directory' in line, line
        os.rmdir(os.path.join(second, there, 'leader-epoch-checkpoint'))
        broker.restart(is_clean=False)
        with client(broker) as c:
            assert c.list_offset('t', 1, -1)[2] >= errors.count(0), 'what was acknowledged is there'


def touch_all(c, frames):
    c.socket.sendall(b''.join(frames))
    return [c.read_produced()[0][2] for _ in frames]


def test_a_checkpoint_that_is_due_while_one_runs_waits_for_it(env):
    """Many logs, so that a checkpoint takes long, and 64 MiB more each time before it has ended: nothing goes offline."""
    logs = 400
    with env.broker() as broker, client(broker, timeout=60) as c:
        c.create_topic('many', logs)
        c.create_topic('big')
        small = [c.produce_frame('many', i, batch([b'x'])) for i in range(logs)]
        errors = set()
        for _ in range(4):
            errors.update(touch_all(c, small))
            errors.update(fill(c, 'big', 0, 80))
        expect(errors, {0}, 'what producers were told')
        log = broker.log()
        assert 'offline' not in log and 'checkpoints of' not in log, log
        points = os.path.join(broker.data, 'recovery-point-offset-checkpoint')
        wait_until(lambda: os.path.exists(points), 'the first checkpoint')
        broker.restart(is_clean=False)
        with client(broker) as again:
            expect({again.list_offset('many', i, -1)[2] for i in range(logs)}, {4}, 'records of each small log')
