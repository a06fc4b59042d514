"""Answers that differ from Kafka's where this once went wrong; tests/oracle asks the rest, where Java is present."""
import itertools
import re
import struct

from lib.checks import beside, client, expect, expect_all, write
from lib.group_protocol import OFFSET_COMMIT, GroupClient, compact, compact_array, uvarint
from lib.protocol import BROKER, CREATE_TOPICS, METADATA, array, batch, batches, text

METADATA_1 = array([text('nope')])


def delete_records(c, topic, *offsets):
    """DeleteRecords 1: [(partition, low watermark, error)] of the offsets given for partition 0."""
    parts = array([struct.pack('>iq', 0, offset) for offset in offsets])
    r = c.ask(21, 1, array([text(topic) + parts]) + struct.pack('>i', 30000))
    r.take('i')
    return r.array(lambda: (r.text(), r.array(lambda: r.take('iqh'))))[0][1]


def is_closed(c):
    try:
        return c.socket.recv(1) == b''
    except ConnectionResetError:
        return True


def test_a_namesake_of_a_deleted_topic_starts_at_0(env):
    """Records are deleted, then the topic; the next one of that name begins anew, after a kill, too."""
    with env.broker() as broker:
        for round_number in range(3):
            with client(broker) as c:
                c.create_topic('t')
            write(broker, 't', f'r{round_number}', 9)
            with client(broker) as c:
                expect(delete_records(c, 't', 7), [(0, 7, 0)])
                expect(c.list_offset('t', 0, -2)[2], 7)
                c.delete_topic('t')
                c.create_topic('t')
            write(broker, 't', f's{round_number}', 4)
            broker.restart(is_clean=round_number % 2 == 0)
            expect_all(broker, 't', f's{round_number}', 4)
            with client(broker) as c:
                c.delete_topic('t')


def test_of_a_partition_named_twice_the_last_offset_counts(env):
    """DeleteRecords with two offsets for one partition: one answer."""
    with env.broker() as broker:
        with client(broker) as c:
            c.create_topic('t')
        write(broker, 't', 'r', 9)
        with client(broker) as c:
            expect(delete_records(c, 't', 5, 2), [(0, 2, 0)])


def test_what_came_before_a_bad_frame_is_answered(env):
    """A request and a length of zero in one write: the answer, then the end."""
    with env.broker() as broker, client(broker) as c:
        c.socket.sendall(c.frame(3, 1, METADATA_1) + bytes(4))
        c.receive()
        assert is_closed(c), 'the connection goes on'


def test_null_inside_of_an_array_that_may_be_null_closes(env):
    """DescribeConfigs 1: the array of keys may be null, a key may not."""
    with env.broker() as broker:
        for keys, closes in ((struct.pack('>i', -1), False), (array([text(None)]), True)):
            with client(broker) as c:
                c.send(32, 1, array([b'\x02' + text('t') + keys]) + b'\0')
                if closes:
                    assert is_closed(c), 'a null key was taken'
                else:
                    c.receive()


def test_topics_without_partitions_are_not_answered(env):
    """Produce and ListOffsets of a topic that names no partition: no topic in the answer."""
    with env.broker() as broker, client(broker) as c:
        c.create_topic('t')
        r = c.ask(0, 3, text(None) + struct.pack('>hi', -1, 1000) + array([text('t') + array([])]))
        expect(r.take('i'), 0, 'topics of Produce')
        r = c.ask(2, 1, struct.pack('>i', -1) + array([text('t') + array([])]))
        expect(r.take('i'), 0, 'topics of ListOffsets')
        expect(c.produce('t', 0, batch([b'x'])), 0)


def test_a_negative_limit_of_a_fetch_is_the_first_partitions_alone(env):
    """maxBytes -1: the first partition is refused for its epoch, the second gets one batch all the same."""
    with env.broker() as broker:
        with client(broker) as c:
            c.create_topic('t', 2)
        write(broker, 't', 'r', 3)
        with client(broker) as c:
            parts = array([struct.pack('>iiqqi', partition, epoch, 0, -1, 1 << 20) for partition, epoch in ((1, 7), (0, -1))])
            body = struct.pack('>iiiibii', -1, 0, 0, -1, 0, 0, -1) + array([text('t') + parts]) + array([]) + text('')
            r = c.ask(1, 11, body)
            r.take('ihi')

            def one():
                number, error, high, _, _ = r.take('ihqqq')
                r.array(lambda: r.take('qq'))
                r.take('i')
                return number, error, high, len(list(batches(r.blob())))
            expect(r.array(lambda: (r.text(), r.array(one)))[0][1], [(1, 75, -1, 0), (0, 0, 3, 1)])


def change_default_codec(address, stop):
    with GroupClient(*address) as c:
        for codec in itertools.cycle((b'zstd', b'gzip', b'lz4', b'snappy')):
            if stop.is_set():
                return
            c.alter_configs(BROKER, '', compression_type=codec.decode())


def test_long_answers_of_configs_that_change_meanwhile(env):
    """Topics with all their configs, so many that a worker encodes them, while a default among these is replaced without
    end: each value is one that was set."""
    topics = compact_array([compact(f't{i}') + struct.pack('>ih', 1, 1) + b'\1\1\0' for i in range(80)])
    body = topics + struct.pack('>ib', 30000, 1) + b'\0'
    with (env.broker() as broker, beside(broker, change_default_codec), beside(broker, change_default_codec),
          GroupClient(broker.host, broker.port) as c, GroupClient(broker.host, broker.port) as other):
        seen = set()
        for _ in range(300):
            other.send_tagged(CREATE_TOPICS, 5, body)
            for answer in c.ask_tagged(CREATE_TOPICS, 5, body).data, other.read_tagged().data:
                values = re.findall(rb'compression\.type(.)([^\0]*)\0', answer)
                expect(len(values), 80, 'topics with a codec')
                seen |= {value[:size[0] - 1] for size, value in values}
        expect(seen - {b'producer'}, {b'zstd', b'gzip', b'lz4', b'snappy'})


def test_long_requests_are_answered(env):
    """300,000 partitions in one commit, and headers with more tagged fields than anybody sends."""
    with env.broker() as broker, GroupClient(broker.host, broker.port) as c:
        c.create_topic('t')
        expect(c.wait_for_coordinator('g'), 0)
        one = struct.pack('>iqi', 0, 0, -1) + compact('') + b'\0'
        body = compact('g') + struct.pack('>i', -1) + compact('') + compact(None)
        body += compact_array([compact('t') + compact_array([one] * 300000) + b'\0']) + b'\0'
        r = c.ask_tagged(OFFSET_COMMIT, 8, body)
        expect(len(r.data) > 300000 * 6, True, 'an answer for each')
        for count in (65, 10000):
            head = struct.pack('>hhi', METADATA, 12, 7) + text('x') + uvarint(count)
            head += b''.join(uvarint(200 + i) + b'\0' for i in range(count))
            frame = head + compact_array([]) + b'\0\0\0'
            c.socket.sendall(struct.pack('>i', len(frame)) + frame)
            c.read_tagged()
