"""A raw client of the protocol: enough to make topics, produce, fetch and ask for offsets, and to send nonsense.

It speaks versions without tagged fields: ApiVersions 0, Metadata 8, CreateTopics 4, DeleteTopics 3, Produce 8,
Fetch 11, ListOffsets 5, InitProducerId 1, DescribeLogDirs 1. Batches are plain, with a CRC-32C of its own.
"""
import socket
import struct
import time

PRODUCE, FETCH, LIST_OFFSETS, METADATA = 0, 1, 2, 3
DELETE_RECORDS, INCREMENTAL_ALTER_CONFIGS, DESCRIBE_TOPIC_PARTITIONS = 21, 44, 75
API_VERSIONS, CREATE_TOPICS, DELETE_TOPICS, INIT_PRODUCER_ID = 18, 19, 20, 22
TOPIC, BROKER = 2, 4  # kinds of resources
NONE, CORRUPT_MESSAGE, UNKNOWN_TOPIC, NOT_LEADER, STORAGE_ERROR = 0, 2, 3, 6, 56


def make_crc_table():
    table = []
    for i in range(256):
        c = i
        for _ in range(8):
            c = (c >> 1) ^ (0x82f63b78 if c & 1 else 0)
        table.append(c)
    return table


CRC_TABLE = make_crc_table()


def crc32c(data):
    table = CRC_TABLE
    c = 0xffffffff
    for byte in data:
        c = table[(c ^ byte) & 0xff] ^ (c >> 8)
    return c ^ 0xffffffff


def uvarint(n):
    out = bytearray()
    while n >= 0x80:
        out.append(n & 0x7f | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def varint(n):
    return uvarint((n << 1) ^ (n >> 63))


def read_varint(data, at):
    shift = value = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7f) << shift
        shift += 7
        if byte < 0x80:
            return (value >> 1) ^ -(value & 1), at


def record(delta, key, value, headers=()):
    body = b'\0' + varint(0) + varint(delta)
    body += varint(-1) if key is None else varint(len(key)) + key
    body += varint(-1) if value is None else varint(len(value)) + value
    body += varint(len(headers))
    for name, text in headers:
        body += varint(len(name)) + name + varint(len(text)) + text
    return varint(len(body)) + body


def batch(values, producer_id=-1, epoch=-1, sequence=-1, timestamp=None, keys=None, attributes=0):
    """One record batch of plain records."""
    now = int(time.time() * 1000) if timestamp is None else timestamp
    body = struct.pack('>hiqqqhii', attributes, len(values) - 1, now, now, producer_id, epoch, sequence, len(values))
    body += b''.join(record(i, keys[i] if keys else None, v) for i, v in enumerate(values))
    head = struct.pack('>ibI', -1, 2, crc32c(body))
    return struct.pack('>qi', 0, len(head) + len(body)) + head + body


def batches(data):
    """Whole batches: (base offset, bytes) each."""
    at = 0
    while len(data) - at >= 61:
        size = 12 + struct.unpack_from('>i', data, at + 8)[0]
        if len(data) - at < size:
            return
        yield struct.unpack_from('>q', data, at)[0], data[at:at + size]
        at += size


def records(data):
    """(offset, key, value) of plain batches; a wrong CRC is an AssertionError."""
    for base, one in batches(data):
        crc, attributes = struct.unpack_from('>Ih', one, 17)
        assert crc == crc32c(one[21:]), f'a batch with a wrong CRC was sent, base offset {base}'
        if attributes & 0x20:
            continue
        assert attributes & 7 == 0, 'compressed'
        at = 61
        for _ in range(struct.unpack_from('>i', one, 57)[0]):
            _, at = read_varint(one, at)
            at += 1
            _, at = read_varint(one, at)
            delta, at = read_varint(one, at)
            parts = []
            for _ in range(2):
                size, at = read_varint(one, at)
                parts.append(None if size < 0 else one[at:at + size])
                at += max(0, size)
            headers, at = read_varint(one, at)
            for _ in range(headers * 2):
                size, at = read_varint(one, at)
                at += max(0, size)
            yield base + delta, parts[0], parts[1]


class Reader:
    def __init__(self, data):
        self.data = data
        self.at = 0

    def take(self, form):
        value = struct.unpack_from('>' + form, self.data, self.at)
        self.at += struct.calcsize('>' + form)
        return value[0] if len(value) == 1 else value

    def text(self):
        size = self.take('h')
        if size < 0:
            return None
        self.at += size
        return self.data[self.at - size:self.at].decode(errors='replace')

    def blob(self):
        size = self.take('i')
        if size < 0:
            return b''
        self.at += size
        return self.data[self.at - size:self.at]

    def array(self, read):
        return [read() for _ in range(max(0, self.take('i')))]


def text(value):
    if value is None:
        return b'\xff\xff'
    data = value.encode()
    return struct.pack('>h', len(data)) + data


def array(items):
    return struct.pack('>i', len(items)) + b''.join(items)


class Refused(Exception):
    """An error code of the protocol."""

    def __init__(self, code, what):
        super().__init__(f'{what}: error {code}')
        self.code = code


class Client:
    def __init__(self, host, port, timeout=30, client_id='e2e'):
        self.socket = socket.create_connection((host, port), timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.client_id = client_id
        self.correlation = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def frame(self, key, version, body):
        self.correlation += 1
        head = struct.pack('>hhi', key, version, self.correlation) + text(self.client_id)
        return struct.pack('>i', len(head) + len(body)) + head + body

    def send(self, key, version, body):
        self.socket.sendall(self.frame(key, version, body))

    def read_exactly(self, size):
        out = bytearray()
        while len(out) < size:
            piece = self.socket.recv(min(1 << 20, size - len(out)))
            if not piece:
                raise ConnectionError('closed by the server')
            out += piece
        return bytes(out)

    def receive(self):
        size = struct.unpack('>i', self.read_exactly(4))[0]
        reader = Reader(self.read_exactly(size))
        self.answered = reader.take('i')
        return reader

    def ask(self, key, version, body):
        self.send(key, version, body)
        return self.receive()

    def api_versions(self):
        r = self.ask(API_VERSIONS, 0, b'')
        error = r.take('h')
        if error:
            raise Refused(error, 'ApiVersions')
        return {key: (low, high) for key, low, high in r.array(lambda: r.take('hhh'))}

    def create_topic(self, name, partitions=1, configs=(), may_exist=False, waits=True):
        body = array([text(name) + struct.pack('>ih', partitions, 1) + array([]) +
                      array([text(k) + text(v) for k, v in dict(configs).items()])]) + struct.pack('>ib', 30000, 0)
        r = self.ask(CREATE_TOPICS, 4, body)
        r.take('i')
        error = r.array(lambda: (r.text(), r.take('h'), r.text()))[0][1]
        if error and not (may_exist and error == 36):
            raise Refused(error, f'create {name}')
        end = time.monotonic() + 10
        while waits and partitions > 0 and self.leaders(name) != partitions and time.monotonic() < end:
            time.sleep(0.01)

    def delete_topic(self, name):
        r = self.ask(DELETE_TOPICS, 3, array([text(name)]) + struct.pack('>i', 30000))
        r.take('i')
        error = r.array(lambda: (r.text(), r.take('h')))[0][1]
        if error:
            raise Refused(error, f'delete {name}')

    def metadata(self, topics):
        body = (struct.pack('>i', -1) if topics is None else array([text(t) for t in topics])) + b'\0\0\0'
        r = self.ask(METADATA, 8, body)
        r.take('i')
        brokers = r.array(lambda: (r.take('i'), r.text(), r.take('i'), r.text()))
        r.text()
        r.take('i')

        def partition():
            return r.take('hiii'), [r.array(lambda: r.take('i')) for _ in range(3)]

        def topic():
            error, name, _ = r.take('h'), r.text(), r.take('b')
            partitions = r.array(partition)
            r.take('i')
            return name, error, partitions

        return brokers, {name: (error, partitions) for name, error, partitions in r.array(topic)}

    def describe_topic(self, name):
        """DescribeTopicPartitions: (error, leader, epoch, replicas, in sync, eligible, last eligible, offline) of each."""
        r = self.ask(DESCRIBE_TOPIC_PARTITIONS, 0, b'\0\2' + bytes([len(name) + 1]) + name.encode() + b'\0' +
                     struct.pack('>i', 2000) + b'\xff\0')

        def ids():
            return [r.take('i') for _ in range(r.take('b') - 1)]

        size = r.take('biBhB')[-1]
        r.at += size - 1 + 16 + 1
        out = []
        for _ in range(r.take('b') - 1):
            error, _, leader, epoch = r.take('hiii')
            out.append((error, leader, epoch, ids(), ids(), ids(), ids(), ids()))
            r.take('b')
        return out

    def leaders(self, name):
        """Partitions of the topic that have a leader."""
        _, partitions = self.metadata([name])[1][name]
        return sum(1 for (error, _, leader, _), _ in partitions if error == 0 and leader >= 0)

    def delete_records(self, topic, offsets):
        """offsets: {partition: offset}; (partition, low watermark, error) of each."""
        items = [struct.pack('>iq', *item) for item in offsets.items()]
        r = self.ask(DELETE_RECORDS, 1, array([text(topic) + array(items)]) + struct.pack('>i', 30000))
        r.take('i')
        return r.array(lambda: (r.text(), r.array(lambda: r.take('iqh'))))[0][1]

    def alter_configs(self, kind, name, **changes):
        """Each key with _ for its dots; None takes the value away."""
        items = [text(k.replace('_', '.')) + struct.pack('>b', 1 if v is None else 0) +
                 text(None if v is None else str(v)) for k, v in changes.items()]
        r = self.ask(INCREMENTAL_ALTER_CONFIGS, 0, array([struct.pack('>b', kind) + text(name) + array(items)]) + b'\0')
        r.take('i')
        (error, _), = r.array(lambda: (r.take('h'), r.text(), r.take('b'), r.text())[:2])
        if error:
            raise Refused(error, f'alter {name}: {changes}')

    def init_producer_id(self):
        r = self.ask(INIT_PRODUCER_ID, 1, text(None) + struct.pack('>i', 60000))
        _, error, producer_id, epoch = r.take('ihqh')
        if error:
            raise Refused(error, 'InitProducerId')
        return producer_id, epoch

    def produce_frame(self, topic, partition, data, acks=-1):
        body = text(None) + struct.pack('>hi', acks, 30000)
        body += array([text(topic) + array([struct.pack('>ii', partition, len(data)) + data])])
        return self.frame(PRODUCE, 8, body)

    def read_produced(self):
        """[(topic, partition, error, base offset)]"""
        r = self.receive()

        def partition():
            index, error, base, _, _ = r.take('ihqqq')
            r.array(lambda: (r.take('i'), r.text()))
            r.text()
            return index, error, base

        answer = r.array(lambda: (r.text(), r.array(partition)))
        return [(name, *p) for name, partitions in answer for p in partitions]

    def produce(self, topic, partition, data, acks=-1):
        """The base offset; Refused on an error."""
        self.socket.sendall(self.produce_frame(topic, partition, data, acks))
        _, _, error, base = self.read_produced()[0]
        if error:
            raise Refused(error, f'produce to {topic}-{partition}')
        return base

    def fetch(self, topic, partition, offset, max_bytes=1 << 20, max_wait=500, min_bytes=1, isolation=0):
        """(error, high watermark, bytes)"""
        body = struct.pack('>iiiibii', -1, max_wait, min_bytes, max_bytes, isolation, 0, -1)
        body += array([text(topic) + array([struct.pack('>iiqqi', partition, -1, offset, -1, max_bytes)])])
        body += array([]) + text('')
        r = self.ask(FETCH, 11, body)
        _, error, _ = r.take('ihi')
        if error:
            return error, -1, b''

        def one():
            _, error, high, _, _ = r.take('ihqqq')
            r.array(lambda: r.take('qq'))
            r.take('i')
            return error, high, r.blob()

        answer = r.array(lambda: (r.text(), r.array(one)))
        return answer[0][1][0]

    def read_all(self, topic, partition=0, start=0):
        """Every record from start to the high watermark as (offset, key, value)."""
        out = []
        while True:
            error, high, data = self.fetch(topic, partition, start, max_wait=0)
            if error:
                raise Refused(error, f'fetch {topic}-{partition} at {start}')
            if start >= high:
                return out
            found = [one for one in records(data) if one[0] >= start]
            if not found:
                return out
            out += found
            start = found[-1][0] + 1

    def list_offset(self, topic, partition, timestamp):
        """(error, timestamp, offset)"""
        body = struct.pack('>ib', -1, 0)
        body += array([text(topic) + array([struct.pack('>iiq', partition, -1, timestamp)])])
        r = self.ask(LIST_OFFSETS, 5, body)
        r.take('i')

        def one():
            _, error, stamp, offset, _ = r.take('ihqqi')
            return error, stamp, offset

        return r.array(lambda: (r.text(), r.array(one)))[0][1][0]
