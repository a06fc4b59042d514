"""Groups as plain requests: a Client (lib/protocol.py) that joins, commits and describes.

The newest versions without tagged fields (FindCoordinator 2, JoinGroup 5, SyncGroup 3, Heartbeat 3, LeaveGroup 3,
OffsetCommit 7, OffsetFetch 5, DescribeGroups 4, DeleteGroups 1); ListGroups 5, ConsumerGroupHeartbeat 1 and OffsetCommit 9
have them.
Strings may be given as bytes, so that they need not be text at all. An answer is returned with its error code; nothing
is raised on a refusal.
"""
import struct
import time

from lib.protocol import Client, Reader, array, uvarint

OFFSET_COMMIT, OFFSET_FETCH, FIND_COORDINATOR, JOIN_GROUP, HEARTBEAT, LEAVE_GROUP, SYNC_GROUP = 8, 9, 10, 11, 12, 13, 14
DESCRIBE_GROUPS, LIST_GROUPS, DELETE_GROUPS, CONSUMER_GROUP_HEARTBEAT = 15, 16, 42, 68
ILLEGAL_GENERATION, INCONSISTENT_PROTOCOL, INVALID_GROUP_ID, UNKNOWN_MEMBER, INVALID_SESSION_TIMEOUT = 22, 23, 24, 25, 26
REBALANCE_IN_PROGRESS, INVALID_REQUEST, MEMBER_ID_REQUIRED, GROUP_MAX_SIZE_REACHED = 27, 42, 79, 81
NOT_READY = (14, 15, 16)  # a coordinator that loads, or is not there yet


def text(value):
    if value is None:
        return b'\xff\xff'
    data = value.encode() if isinstance(value, str) else value
    return struct.pack('>h', len(data)) + data


def blob(data):
    return struct.pack('>i', len(data)) + data


def compact(value):
    if value is None:
        return b'\0'
    data = value.encode() if isinstance(value, str) else value
    return uvarint(len(data) + 1) + data


def compact_array(items):
    return b'\0' if items is None else uvarint(len(items) + 1) + b''.join(items)


def read_uvarint(r):
    value = shift = 0
    while True:
        byte = r.take('B')
        value |= (byte & 0x7f) << shift
        shift += 7
        if byte < 0x80:
            return value


def read_compact(r):
    size = read_uvarint(r)
    if size == 0:
        return None
    r.at += size - 1
    return r.data[r.at - size + 1:r.at].decode(errors='replace')


def read_compact_array(r, read):
    return [read() for _ in range(read_uvarint(r) - 1)]


def skip_tags(r):
    for _ in range(read_uvarint(r)):
        read_uvarint(r)
        r.at += read_uvarint(r)


def subscription(topics, version=1, user_data=None):
    """What a classic consumer sends as a protocol's metadata."""
    out = struct.pack('>h', version) + array([text(t) for t in topics])
    out += struct.pack('>i', -1) if user_data is None else blob(user_data)
    return out + (struct.pack('>i', 0) if version >= 1 else b'')


class GroupClient(Client):
    def find_coordinator(self, group, key_type=0):
        r = self.ask(FIND_COORDINATOR, 2, text(group) + struct.pack('>b', key_type))
        _, error = r.take('ih')
        r.text()
        node, host, port = r.take('i'), r.text(), r.take('i')
        return error, node, host, port

    def wait_for_coordinator(self, group, seconds=30):
        end = time.monotonic() + seconds
        while True:
            error = self.find_coordinator(group)[0]
            if error == 0:
                error = self.offsets(group, {})[0]
            if error == 0 or error not in NOT_READY or time.monotonic() > end:
                return error
            time.sleep(0.05)

    def send_join(self, group, member='', protocols=None, session=10000, rebalance=10000, instance=None,
                  kind='consumer', version=5):
        protocols = [('range', subscription(['t']))] if protocols is None else protocols
        body = text(group) + struct.pack('>i', session)
        body += struct.pack('>i', rebalance) if version >= 1 else b''
        body += text(member) + (text(instance) if version >= 5 else b'') + text(kind)
        body += array([text(name) + blob(metadata) for name, metadata in protocols])
        self.send(JOIN_GROUP, version, body)

    def read_join(self, version=5):
        r = self.receive()
        if version >= 2:
            r.take('i')
        error, generation = r.take('hi')
        answer = {'error': error, 'generation': generation, 'protocol': r.text(), 'leader': r.text(), 'member': r.text()}

        def one():
            return r.text(), r.text() if version >= 5 else None, r.blob()

        answer['members'] = r.array(one)
        return answer

    def join(self, group, **more):
        version = more.get('version', 5)
        self.send_join(group, **more)
        return self.read_join(version)

    def join_whole(self, group, **more):
        """Joins, with the id that the first answer gives."""
        answer = self.join(group, **more)
        if answer['error'] == MEMBER_ID_REQUIRED:
            answer = self.join(group, **dict(more, member=answer['member']))
        return answer

    def send_sync(self, group, generation, member, assignments=(), instance=None):
        body = text(group) + struct.pack('>i', generation) + text(member) + text(instance)
        self.send(SYNC_GROUP, 3, body + array([text(m) + blob(a) for m, a in assignments]))

    def read_sync(self):
        """(error, assignment)"""
        r = self.receive()
        r.take('i')
        return r.take('h'), r.blob()

    def sync(self, group, generation, member, assignments=(), instance=None):
        self.send_sync(group, generation, member, assignments, instance)
        return self.read_sync()

    def heartbeat(self, group, generation, member, instance=None):
        body = text(group) + struct.pack('>i', generation) + text(member) + text(instance)
        return self.ask(HEARTBEAT, 3, body).take('ih')[1]

    def leave(self, group, members):
        """members: (id, instance) each. (error, [(id, instance, error)])"""
        r = self.ask(LEAVE_GROUP, 3, text(group) + array([text(m) + text(i) for m, i in members]))
        _, error = r.take('ih')
        return error, r.array(lambda: (r.text(), r.text(), r.take('h')))

    def commit(self, group, offsets, generation=-1, member='', metadata='', instance=None):
        """offsets: {(topic, partition): offset}. {(topic, partition): error}"""
        body = text(group) + struct.pack('>i', generation) + text(member) + text(instance)
        by_topic = {}
        for (topic, partition), offset in offsets.items():
            by_topic.setdefault(topic, []).append(struct.pack('>iqi', partition, offset, -1) + text(metadata))
        body += array([text(topic) + array(partitions) for topic, partitions in by_topic.items()])
        r = self.ask(OFFSET_COMMIT, 7, body)
        r.take('i')
        answer = r.array(lambda: (r.text(), r.array(lambda: r.take('ih'))))
        return {(topic, partition): error for topic, partitions in answer for partition, error in partitions}

    def commit_tagged(self, group, offsets, epoch, member, metadata=''):
        """As commit, at the version that members of the consumer protocol need."""
        by_topic = {}
        for (topic, partition), offset in offsets.items():
            by_topic.setdefault(topic, []).append(struct.pack('>iqi', partition, offset, -1) + compact(metadata) + b'\0')
        body = compact(group) + struct.pack('>i', epoch) + compact(member) + compact(None)
        body += compact_array([compact(topic) + compact_array(rows) + b'\0' for topic, rows in by_topic.items()]) + b'\0'
        r = self.ask_tagged(OFFSET_COMMIT, 9, body)
        r.take('i')

        def partition():
            row = r.take('ih')
            skip_tags(r)
            return row

        def one():
            row = read_compact(r), read_compact_array(r, partition)
            skip_tags(r)
            return row

        answer = read_compact_array(r, one)
        return {(topic, partition): error for topic, partitions in answer for partition, error in partitions}

    def offsets(self, group, topics=None):
        """topics: {name: partitions}, or None for all. (error, {(topic, partition): (offset, metadata, error)})"""
        body = text(group)
        if topics is None:
            body += struct.pack('>i', -1)
        else:
            body += array([text(t) + array([struct.pack('>i', p) for p in ps]) for t, ps in topics.items()])
        r = self.ask(OFFSET_FETCH, 5, body)
        r.take('i')

        def partition():
            index, offset, _ = r.take('iqi')
            return index, offset, r.text(), r.take('h')

        answer = r.array(lambda: (r.text(), r.array(partition)))
        found = {(topic, index): (offset, metadata, error) for topic, partitions in answer
                 for index, offset, metadata, error in partitions}
        return r.take('h'), found

    def describe(self, group):
        """{'error', 'state', 'type', 'protocol', 'members': [(id, instance, client, host, metadata, assignment)]}"""
        return self.describe_all([group])[0]

    def describe_all(self, groups):
        r = self.ask(DESCRIBE_GROUPS, 4, array([text(group) for group in groups]) + b'\0')
        r.take('i')

        def member():
            return r.text(), r.text(), r.text(), r.text(), r.blob(), r.blob()

        def one():
            answer = {'error': r.take('h'), 'group': r.text(), 'state': r.text(), 'type': r.text(), 'protocol': r.text()}
            answer['members'] = r.array(member)
            r.take('i')
            return answer

        return r.array(one)

    def ask_tagged(self, key, version, body):
        """A request with tagged fields in header and body; the reader stands behind the answer's header."""
        self.send_tagged(key, version, body)
        return self.read_tagged()

    def send_tagged(self, key, version, body):
        self.correlation += 1
        head = struct.pack('>hhi', key, version, self.correlation) + text(self.client_id) + b'\0'
        self.socket.sendall(struct.pack('>i', len(head) + len(body)) + head + body)

    def read_tagged(self):
        size = struct.unpack('>i', self.read_exactly(4))[0]
        r = Reader(self.read_exactly(size))
        r.take('i')
        skip_tags(r)
        return r

    def groups(self):
        """{id: (protocol type, state, type)}"""
        r = self.ask_tagged(LIST_GROUPS, 5, b'\1\1\0')
        r.take('ih')

        def one():
            row = read_compact(r), (read_compact(r), read_compact(r), read_compact(r))
            skip_tags(r)
            return row

        return dict(read_compact_array(r, one))

    def delete_groups(self, groups):
        r = self.ask(DELETE_GROUPS, 1, array([text(g) for g in groups]))
        r.take('i')
        return dict(r.array(lambda: (r.text(), r.take('h'))))

    def consumer_heartbeat(self, group, member, epoch, instance=None, rack=None, rebalance=-1, names=None, regex=None,
                           assignor=None, owned=None):
        """owned: {16 bytes of a topic's id: partitions}"""
        body = compact(group) + compact(member) + struct.pack('>i', epoch) + compact(instance) + compact(rack)
        body += struct.pack('>i', rebalance) + compact_array(None if names is None else [compact(n) for n in names])
        body += compact(regex) + compact(assignor)
        if owned is not None:
            owned = [topic + compact_array([struct.pack('>i', p) for p in partitions]) + b'\0'
                     for topic, partitions in owned.items()]
        r = self.ask_tagged(CONSUMER_GROUP_HEARTBEAT, 1, body + compact_array(owned) + b'\0')
        _, error = r.take('ih')
        answer = {'error': error, 'message': read_compact(r), 'member': read_compact(r)}
        answer['epoch'], answer['interval'] = r.take('ii')
        answer['assignment'] = None
        if r.take('b') >= 0:
            def topic():
                r.at += 16
                name = r.data[r.at - 16:r.at]
                partitions = read_compact_array(r, lambda: r.take('i'))
                skip_tags(r)
                return name, partitions

            answer['assignment'] = dict(read_compact_array(r, topic))
        return answer
