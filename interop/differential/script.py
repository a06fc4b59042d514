"""Scripts of requests from a seed: generate(seed) -> [lines], in the language that 'oracle ask' reads.

The generator follows roughly what the requests do (topics, partitions, ends of logs, producers, sessions), so that most
requests meet something that exists, nearly exists or no longer exists. '@@' in a line stands for six letters that the
runner chooses for each run: topics of two runs never meet.
"""
import random

import batches
import groups

VERSIONS = {'ApiVersions': (0, 5), 'Metadata': (0, 13), 'DescribeTopicPartitions': (0, 0), 'DescribeCluster': (0, 2),
            'CreateTopics': (2, 7), 'DeleteTopics': (1, 6), 'CreatePartitions': (0, 3), 'DescribeConfigs': (1, 4),
            'IncrementalAlterConfigs': (0, 1), 'AlterConfigs': (0, 2), 'Produce': (3, 13), 'Fetch': (4, 18),
            'ListOffsets': (1, 11), 'OffsetForLeaderEpoch': (2, 4), 'InitProducerId': (0, 5), 'DeleteRecords': (0, 2),
            'DescribeLogDirs': (1, 5), 'DescribeProducers': (0, 0), 'FindCoordinator': (0, 6),
            'ListConfigResources': (0, 1), **groups.VERSIONS}
PREFIX = '@@'
FUTURE = 2000000000000
PREFIX_LETTERS = 6
ZERO_ID = 'AAAAAAAAAAAAAAAAAAAAAA'
ODD_IDS = [ZERO_ID, 'AAAAAAAAAAAAAAAAAAAAAQ', 'abcdefghijklmnopqrstuA', '_____________________w']
ODD_INTS = [-1, 0, 1, 2, -2, 5, 100, 2147483647, -2147483648]
ODD_LONGS = [-1, 0, 1, -2, -3, -4, -5, -6, -7, 10, 2147483648, 9223372036854775807, -9223372036854775808]
BAD_NAMES = ['', '.', '..', 'a b', '\u00e9', 'a/b', 'x' * 250, 'a\nb', '@', '__cluster_metadata']
GOOD_CONFIGS = {
    'compression.type': ['producer', 'uncompressed', 'gzip', 'snappy', 'lz4', 'zstd'],
    'compression.gzip.level': ['1', '9', '-1'], 'compression.lz4.level': ['1', '9'], 'compression.zstd.level': ['-5', '3'],
    'message.timestamp.type': ['LogAppendTime', 'CreateTime'],
    'max.message.bytes': ['0', '60', '100', '200', '500', '1048588'],
    'segment.bytes': ['1048576', '2000000'],
    'cleanup.policy': ['compact', 'delete', 'compact,delete', ''],
    'message.timestamp.before.max.ms': ['0', '3600000', '9223372036854775807'],
    'message.timestamp.after.max.ms': ['0', '3600000', '9223372036854775807'],
    'segment.ms': ['9223372036854775807', '3600000'],
    'flush.messages': ['1', '9223372036854775807'],
    'index.interval.bytes': ['0', '1', '100', '4096'], 'min.insync.replicas': ['1', '2'],
    'retention.bytes': ['-1', '1000'], 'delete.retention.ms': ['0', '86400000'], 'preallocate': ['false', 'true'],
    'segment.index.bytes': ['100', '10485760'], 'file.delete.delay.ms': ['0', '60000'],
    'min.cleanable.dirty.ratio': ['0', '0.5', '1'], 'unclean.leader.election.enable': ['true', 'false'],
}
BAD_CONFIGS = [('cleanup.policy', 'x'), ('no.such', '1'), ('segment.bytes', '13'), ('max.message.bytes', '-1'),
               ('compression.type', 'x'), ('retention.ms', 'abc'), ('retention.ms', None), ('', ''), ('preallocate', '1'),
               ('min.cleanable.dirty.ratio', '1.1'), ('min.insync.replicas', '0'), ('flush.ms', '-1'),
               ('segment.ms', '0'), ('message.timestamp.type', 'logappendtime'), ('compression.gzip.level', '10'),
               ('max.compaction.lag.ms', '0'), ('local.retention.ms', '-3'), ('remote.storage.enable', 'true'),
               ('retention.bytes', '9223372036854775808'), ('cleanup.policy', 'delete,delete'),
               ('min.compaction.lag.ms', '9223372036854775807'), ('index.interval.bytes', '2147483648')]


class Partition:
    def __init__(self):
        self.end = 0
        self.sizes = []
        self.last_batch = None
        self.producers = {}  # id -> [epoch, next sequence, [(sequence, count)]]


class Topic:
    def __init__(self, name, count, configs):
        self.name = name
        self.id = None
        self.configs = dict(configs)
        self.partitions = [Partition() for _ in range(count)]


class Script:
    def __init__(self, seed, only=None):
        self.rng = random.Random(seed)
        self.lines = []
        self.topics = []
        self.gone = []  # topics that were deleted
        self.saved = 0
        self.sessions = []  # [name of the id, next epoch, version]
        self.producer_ids = []
        self.only = only
        # Kafka looks only now and then for producers to forget, jackdaw at once: those of scripts write in the future.
        self.is_future = seed % 2 == 0
        self.time = FUTURE if self.is_future else batches.TIME

    # Chance

    def chance(self, percent):
        return self.rng.random() * 100 < percent

    def pick(self, items):
        return self.rng.choice(list(items))

    def some(self, make, low, high):
        """A list; now and then something stands there twice."""
        items = [make() for _ in range(self.rng.randint(low, high))]
        if items and self.chance(8):
            items.insert(self.rng.randrange(len(items) + 1), self.pick(items))
        return items

    # Lines

    def ask(self, api, body, version=None, **more):
        low, high = VERSIONS[api]
        if version is None:
            version = self.rng.randint(low, high)
        line = {'name': f'{len(self.lines)} {api}', 'api': api, 'version': version, 'conn': f'{PREFIX}main',
                'timeout': 5000, 'body': body, **more}
        self.lines.append(line)
        return line

    def save(self, where):
        self.saved += 1
        name = f'{PREFIX}{self.saved}'
        return name, {name: where}

    def await_topic(self, topic, count=None):
        name, save = self.save('/topics/0/topicId')
        more = {'save': save} if topic.id is None else {}
        until = {'/topics/0/errorCode': 0}
        for i in range(count or len(topic.partitions)):
            until[f'/topics/0/partitions/{i}/errorCode'] = 0
        self.ask('Metadata', {'topics': [{'name': topic.name}], 'allowAutoTopicCreation': False}, 12, until=until, **more)
        if topic.id is None:
            topic.id = '${%s}' % name
        self.ask('ListOffsets', {'replicaId': -1, 'topics': [{'name': topic.name, 'partitions': [
            {'partitionIndex': i, 'timestamp': -1} for i in range(count or len(topic.partitions))]}]}, 7, retry=[3, 5, 6])

    # Names that exist or not

    def new_name(self):
        self.saved += 1
        return f'{PREFIX}{self.pick("abc._-")}{self.saved}'

    def odd_name(self):
        if self.gone and self.chance(30):
            return self.pick(self.gone).name
        if self.topics and self.chance(15):
            name = self.pick(self.topics).name
            name = name.replace('.', '_') if '.' in name else name.replace('_', '.')
            if not any(t.name == name for t in self.topics):
                return name
        if self.chance(40):
            return self.pick(BAD_NAMES)
        return self.pick([f'{PREFIX}none', f'{PREFIX}NONE', PREFIX + 'y' * (249 - PREFIX_LETTERS),
                          PREFIX + 'y' * (250 - PREFIX_LETTERS)])

    def topic(self):
        return self.pick(self.topics) if self.topics else None

    def topic_name(self, odd=12):
        return self.odd_name() if not self.topics or self.chance(odd) else self.topic().name

    def topic_id(self, odd=10):
        if not self.topics or self.chance(odd):
            return self.pick(self.gone).id if self.gone and self.chance(50) else self.pick(ODD_IDS)
        return self.topic().id

    def partition_of(self, topic, odd=8):
        if topic is None or self.chance(odd):
            return self.pick([len(topic.partitions) if topic else 0, -1, 2147483647, -2147483648, 7])
        return self.rng.randrange(len(topic.partitions))

    def place(self, odd=10):
        """(topic or None, its name, its id, a partition's index, Partition or None)"""
        if not self.topics or self.chance(odd):
            return None, self.odd_name(), self.topic_id(100), self.pick([0, 0, 1, -1]), None
        topic = self.topic()
        index = self.partition_of(topic)
        known = topic.partitions[index] if 0 <= index < len(topic.partitions) else None
        return topic, topic.name, topic.id, index, known

    def by_topic(self, low, high, make, names, odd=10, items='partitions'):
        """Entries of topics with entries of partitions; make(index, Partition or None) -> dict or number."""
        out = []
        for _ in range(self.rng.randint(low, high)):
            _, name, uid, index, known = self.place(odd)
            entry = make(index, known)
            same = next((t for t in out if t[names[0]] == name), None)
            if same is not None and not self.chance(15):
                same[items].append(entry)
            else:
                out.append({names[0]: name, **({names[1]: uid} if len(names) > 1 else {}), items: [entry]})
        if out and self.chance(4):
            self.pick(out)[items] = []
        return out

    def near_offset(self, known):
        if known is None or self.chance(6):
            return self.pick(ODD_LONGS)
        return max(-1, self.rng.randint(-1, known.end + 1)) if self.chance(70) else self.pick([0, known.end, known.end - 1])

    # Topics

    def good_configs(self, most):
        names = self.rng.sample(sorted(GOOD_CONFIGS), self.rng.randint(0, most))
        configs = {n: self.pick(GOOD_CONFIGS[n]) for n in names}
        if configs.get('message.timestamp.type') == 'LogAppendTime':
            configs.pop('segment.ms', None)  # that would depend on the hour
        return configs

    def first_topics(self):
        made = []
        for _ in range(self.rng.randint(1, 3)):
            made.append(Topic(self.new_name(), self.rng.randint(1, 3), self.good_configs(3)))
        self.ask('CreateTopics', {'timeoutMs': 10000, 'topics': [
            {'name': t.name, 'numPartitions': len(t.partitions), 'replicationFactor': 1,
             'configs': [{'name': k, 'value': v} for k, v in t.configs.items()]} for t in made]}, 7)
        for t in made:
            self.await_topic(t)
        self.topics += made

    def create_topics(self):
        made = []

        def one():
            is_new = self.chance(65)
            entry = {'name': self.new_name() if is_new else self.topic_name(60),
                     'numPartitions': self.rng.randint(1, 3), 'replicationFactor': 1, 'configs': []}
            configs = self.good_configs(2)
            entry['configs'] = [{'name': k, 'value': v} for k, v in configs.items()]
            good = is_new
            if self.chance(25):
                good = False
                what = self.rng.randrange(5)
                if what == 0:
                    entry['numPartitions'] = self.pick([0, -1, -2, -2147483648])
                elif what == 1:
                    entry['replicationFactor'] = self.pick([0, -1, 2, -2, 32767, -32768])
                elif what == 2:
                    name, value = self.pick(BAD_CONFIGS)
                    entry['configs'].append({'name': name, 'value': value})
                elif what == 3:
                    entry['assignments'] = self.assignments()
                    if self.chance(60):
                        entry.update(numPartitions=-1, replicationFactor=-1)
                else:
                    entry['configs'] += entry['configs']
            if good:
                made.append(Topic(entry['name'], entry['numPartitions'], configs))
            return entry

        entries = self.some(one, 0, 4)
        only_check = self.chance(25)
        self.ask('CreateTopics', {'topics': entries, 'timeoutMs': self.pick([10000, 10000, 10000, 5000]),
                                  'validateOnly': only_check})
        if not only_check:
            for t in made:
                if sum(e['name'] == t.name for e in entries) == 1:
                    self.await_topic(t)
                    self.topics.append(t)

    def assignments(self):
        count = self.rng.randint(1, 3)
        indices = list(range(count))
        if self.chance(30):
            indices[self.rng.randrange(count)] = self.pick([count, -1, 0, 2147483647])
        return [{'partitionIndex': i, 'brokerIds': self.pick([[1], [1], [1], [1], [], [2], [1, 1], [1, 2], [-1]])}
                for i in indices]

    def delete_topics(self):
        version = self.rng.randint(*VERSIONS['DeleteTopics'])
        chosen = [self.topic()] if self.topics and len(self.topics) > 1 and self.chance(60) else []
        if version < 6:
            names = [t.name for t in chosen] + [self.odd_name() for _ in range(self.rng.randint(0, 2))]
            twice = [n for n in names if names.count(n) > 1]
            if self.chance(10) and names:
                twice = [names[0]]
                names.append(names[0])
            self.rng.shuffle(names)
            self.ask('DeleteTopics', {'topicNames': names, 'timeoutMs': 10000}, version)
            dead = [t for t in chosen if t.name not in twice]
        else:
            entries = []
            dead = []
            for t in chosen:
                way = self.rng.randrange(6)
                if way < 4:
                    dead.append(t)
                entries.append({'name': t.name} if way < 2 else {'name': None, 'topicId': t.id} if way < 4 else
                               {'name': t.name, 'topicId': t.id} if way == 4 else {'name': None})
            for _ in range(self.rng.randint(0, 2)):
                entries.append(self.pick([{'name': self.odd_name()}, {'name': None, 'topicId': self.topic_id(100)}]))
            if entries and self.chance(10):
                entries.append(entries[0])
                dead = []
                chosen = []
            self.ask('DeleteTopics', {'topics': entries, 'timeoutMs': 10000}, version)
        for t in dead:
            self.topics.remove(t)
            self.ask('Metadata', {'topics': [{'name': t.name}], 'allowAutoTopicCreation': False}, 12,
                     until={'/topics/0/errorCode': 3})
            self.ask('ListOffsets', {'replicaId': -1, 'topics': [{'name': t.name, 'partitions': [
                {'partitionIndex': 0, 'timestamp': -1}]}]}, 7, until={'/topics/0/partitions/0/errorCode': 3})
            if self.chance(50):  # made again
                again = Topic(t.name, self.rng.randint(1, 3), self.good_configs(2))
                self.ask('CreateTopics', {'timeoutMs': 10000, 'topics': [
                    {'name': t.name, 'numPartitions': len(again.partitions), 'replicationFactor': 1,
                     'configs': [{'name': k, 'value': v} for k, v in again.configs.items()]}]}, 5)
                self.await_topic(again)
                self.topics.append(again)
            self.gone.append(t)

    def create_partitions(self):
        grown = []

        def one():
            topic = self.topic() if self.chance(80) else None
            name = topic.name if topic else self.odd_name()
            have = len(topic.partitions) if topic else 1
            count = self.pick([have + 1, have + 1, have + 2, have, have - 1, 0, -1, -2147483648])
            entry = {'name': name, 'count': count, 'assignments': None}
            if self.chance(30):
                entry['assignments'] = [{'brokerIds': self.pick([[1], [1], [1], [], [2], [1, 1]])}
                                        for _ in range(self.rng.randint(0, 2))]
            elif topic and count > have:
                grown.append((topic, count))
            return entry

        entries = self.some(one, 0, 3)
        only_check = self.chance(30)
        self.ask('CreatePartitions', {'topics': entries, 'timeoutMs': 10000, 'validateOnly': only_check})
        for topic, count in grown:
            if not only_check and sum(e['name'] == topic.name for e in entries) == 1:
                topic.partitions += [Partition() for _ in range(count - len(topic.partitions))]
                self.await_topic(topic)

    # Descriptions

    def api_versions(self):
        word = lambda: self.pick(['a', 'jackdaw', '', 'a b', '-a', 'a-', 'a.b', 'x' * 300, '1', 'a_b', '\u00e9'])
        body = {'clientSoftwareName': word(), 'clientSoftwareVersion': word(),
                'clusterId': self.pick([None, None, '', 'foreign']), 'nodeId': self.pick([-1, -1, 1, 2, -2])}
        self.ask('ApiVersions', body, mask=['apiKeys', 'supportedFeatures'])

    def metadata(self):
        version = self.rng.randint(*VERSIONS['Metadata'])
        auto = version >= 4 and self.chance(15) or version < 4
        entries = []
        for _ in range(self.rng.randint(0 if version > 0 else 1, 3)):
            entry = {'name': self.topic_name(20)}
            if auto and not any(t.name == entry['name'] for t in self.topics):
                entry['name'] = self.pick(BAD_NAMES) if self.chance(50) or not self.topics else self.topic().name
            if version >= 10 and self.chance(40):
                entry['topicId'] = self.topic_id(20)
                if version >= 12 and self.chance(80):
                    entry['name'] = None
            entries.append(entry)
        if entries and self.chance(8):
            entries.append(entries[0])
        self.ask('Metadata', {'topics': entries, 'allowAutoTopicCreation': auto,
                              'includeClusterAuthorizedOperations': self.chance(30),
                              'includeTopicAuthorizedOperations': self.chance(30)}, version)
        if self.chance(8):  # made by asking for it
            name = self.new_name()
            topic = Topic(name, 1, {})
            self.ask('Metadata', {'topics': [{'name': name}, {'name': self.pick(BAD_NAMES)}],
                                  'allowAutoTopicCreation': True})
            if self.lines[-1]['version'] < 10:
                self.lines[-1]['body']['topics'].reverse()
            self.await_topic(topic)
            self.topics.append(topic)

    def describe_topic_partitions(self):
        def one():
            return {'name': self.topic_name(20) or f'{PREFIX}none'}
        body = {'topics': self.some(one, 1, 4), 'responsePartitionLimit': self.pick([2000, 1, 2, 3, 0, -1, 2147483647])}
        if self.chance(40):
            topic, name, _, index, _ = self.place(15)
            body['cursor'] = {'topicName': name or 'x', 'partitionIndex': min(index, 1000)}
        self.ask('DescribeTopicPartitions', body, ordered=['topics'])

    def describe_cluster(self):
        self.ask('DescribeCluster', {'includeClusterAuthorizedOperations': self.chance(50),
                                     'endpointType': self.pick([1, 1, 1, 2, 3, 0, -1, 127]),
                                     'includeFencedBrokers': self.chance(50)})

    def describe_log_dirs(self):
        def one():
            topic, name, _, index, _ = self.place()
            return {'topic': name, 'partitions': self.some(lambda: self.partition_of(topic, 15), 0, 3)}
        self.ask('DescribeLogDirs', {'topics': self.some(one, 1, 3)}, check=['size'])

    def describe_producers(self):
        topics = self.by_topic(0, 4, lambda index, known: index, ['name'], items='partitionIndexes')
        self.ask('DescribeProducers', {'topics': topics})

    def find_coordinator(self):
        key = lambda: self.pick(['g', '', 'x' * 300, '\u00e9', f'{PREFIX}g'])
        self.ask('FindCoordinator', {'key': key(), 'keyType': self.pick([0, 0, 0, 0, 3, -1, 127]),
                                     'coordinatorKeys': self.some(key, 0, 3)})

    def init_producer_id(self):
        name, save = self.save('/producerId')
        good = self.chance(60)
        body = {'transactionalId': None, 'transactionTimeoutMs': self.pick([60000, 0, -1, 2147483647])}
        if not good:
            body.update(producerId=self.pick([-1, 5, 0, 9223372036854775807, -2]), producerEpoch=self.pick([-1, 0, 5, 32767, -2]))
        self.ask('InitProducerId', body, retry=[14], **({'save': save} if good else {}))
        if good:
            self.producer_ids.append('${%s}' % name)

    # Configs

    def config_resource(self):
        if self.chance(85):
            return 2, self.topic_name(15)
        return self.pick([(4, '1'), (4, '2'), (4, ''), (4, 'x'), (4, '-1'), (8, '1'), (16, 'm'), (32, f'{PREFIX}g'),
                          (0, 'x'), (99, 'x'), (2, '')])

    def describe_configs(self):
        keys = sorted(GOOD_CONFIGS) + ['retention.ms', 'flush.ms', 'no.such', '', 'num.io.threads', 'leader.replication.throttled.replicas']

        def one():
            kind, name = self.config_resource()
            wanted = self.rng.sample(keys, self.rng.randint(0, 6) if kind == 2 else self.rng.randint(1, 6))
            return {'resourceType': kind, 'resourceName': name,
                    'configurationKeys': None if self.chance(40) and kind in (2, 32) else wanted}
        self.ask('DescribeConfigs', {'resources': self.some(one, 0, 3), 'includeSynonyms': self.chance(50),
                                     'includeDocumentation': self.chance(20)})

    def topic_config(self):
        if self.chance(25):
            return self.pick(BAD_CONFIGS)
        name = self.pick(sorted(GOOD_CONFIGS))
        if name == 'message.timestamp.type':
            return name, 'CreateTime'
        return name, self.pick(GOOD_CONFIGS[name])

    def incremental_alter(self):
        def change():
            name, value = self.topic_config()
            return {'name': name, 'value': value, 'configOperation': self.pick([0, 0, 0, 1, 1, 2, 3])}

        def one():
            kind, name = self.config_resource()
            configs = self.some(change, 0, 3)
            if kind != 2:
                configs = [{'name': self.pick(['no.such', '']), 'value': '1', 'configOperation': 1}]
            return {'resourceType': kind, 'resourceName': name, 'configs': configs}
        self.ask('IncrementalAlterConfigs', {'resources': self.some(one, 0, 3), 'validateOnly': self.chance(30)})
        self.lines.append({'sleep': 150})
        self.describe_configs()

    def alter(self):
        def one():
            name, value = self.topic_config()
            return {'resourceType': 2, 'resourceName': self.topic_name(15), 'configs': [{'name': name, 'value': value}]
                    if self.chance(80) else []}
        entries = self.some(one, 0, 2)
        seen = set()
        entries = [e for e in entries if not (e['resourceName'] in seen or seen.add(e['resourceName']))]
        self.ask('AlterConfigs', {'resources': entries, 'validateOnly': self.chance(30)})
        self.lines.append({'sleep': 150})
        self.describe_configs()

    def list_config_resources(self):
        self.ask('ListConfigResources', {'resourceTypes': self.pick([[16], [99], [32, 99], [0], [16, 16]])},
                 mask=['configResources'])

    # Records

    def one_record(self, delta, keyed, right=False):
        rng = self.rng
        key = None if not keyed and self.chance(60) else self.pick([b'', b'k', b'key' * 10, b'a'])
        value = None if self.chance(10) else bytes([rng.randrange(97, 123)]) * self.pick([0, 1, 3, 10, 50, 120, 1000])
        headers = [(self.pick([b'h', b'', b'hh']), self.pick([b'x', b'', None])) for _ in range(self.pick([0, 0, 0, 1, 2]))]
        return batches.record(delta, key, value, self.pick([0, 0, 0, 1, 1000, -5, 100000, -86400000]), headers,
                              self.pick([0, 0, 0, 0, 0, 0, 1, 127]),
                              self.pick(batches.WRONG_RECORDS) if self.chance(1.5) and not right else None)

    def batch(self, known, keyed, producer=(-1, -1, -1), count=None):
        """(bytes as hex, number of records, is it good)"""
        rng = self.rng
        count = count or self.pick([1, 1, 1, 2, 3, 5])
        last = known.end if known else 0
        records = [self.one_record(i, keyed) for i in range(count)]
        time = self.time + self.pick([0, 0, 1000, -1000, 86400000 * 8, 3600000, 5])
        options = {'codec': self.pick([0, 0, 1]), 'time': time, 'max_time': time + self.pick([0, 0, 0, 1000, -5]),
                   'producer': producer}
        good = True
        if self.chance(22):
            good = False
            for _ in range(self.pick([1, 1, 2])):
                way = self.pick(['count', 'last_delta', 'base', 'leader_epoch', 'magic', 'length', 'crc', 'tail', 'spoil',
                                 'attributes', 'producer' if self.is_future else 'crc', 'time', 'max_time', 'codec', 'wrong', 'attributes'])
                if way == 'wrong':
                    at = rng.randrange(count)
                    records[at] = batches.record(at, b'k', b'value', wrong=self.pick(batches.WRONG_RECORDS),
                                                 headers=[(b'h', b'x')] if self.chance(50) else [])
                    continue
                options[way] = {
                    'count': lambda: self.pick([0, -1, count + 1, count - 1, 2147483647, -2147483648]),
                    'last_delta': lambda: self.pick([count, -1, count - 2, 0, 2147483647]),
                    'base': lambda: self.pick([1, -1, last, 9223372036854775807]),
                    'leader_epoch': lambda: self.pick([0, 1, 5, 2147483647, -2]),
                    'magic': lambda: self.pick([0, 1, 3, -1, 127]),
                    'length': lambda: self.pick([0, 48, 49, -1, 13, 14, 200, 100000, -2147483648]),
                    'crc': lambda: self.pick([0, 1, 4294967295]),
                    'tail': lambda: self.pick([b'\0', b'\0' * 20, b'\x02\0']),
                    'spoil': lambda: rng.randrange(4, 200),
                    'attributes': lambda: self.pick([8, 16, 32, 48, 64, 128, 256, 32768, 65535 & ~7, 6, 7, 5, 40, 0x60, 72]),
                    'producer': lambda: self.pick([(7, -1, -1), (-1, 0, 0), (-1, -1, 0), (7, 0, -1), (7, -1, 0), (-2, 0, 0),
                                                   (7, 0, 2147483647), (9223372036854775807, 32767, 0), (7, -2, 0)]),
                    'time': lambda: self.pick([-1, 0, -2, 4102444800000, 9223372036854775807, -9223372036854775808]),
                    'max_time': lambda: self.pick([-1, 0, -2, 4102444800000, 9223372036854775807]),
                    'codec': lambda: self.pick([1, 2, 3, 4, 5, 6, 7]),
                }[way]()
        if options['codec'] == 1 and 'spoil' in options:
            options['spoil'] = self.pick([5, 1 << 20])  # not inside: see the lengths below
        if options['codec'] == 1:  # a length in there that is wrong Kafka stores, unreadable as it is; jackdaw does not
            records = [self.one_record(i, keyed, right=True) for i in range(count)]
        if options['codec'] > 1:
            options['attributes'] = options.get('attributes', 0) | options['codec']
            options['codec'] = 0
        return batches.batch(records, **options).hex(), count, good

    def java_batch(self, keyed):
        count = self.rng.randint(1, 4)
        records = [{'key': self.pick(['k', '', 'kk']) if keyed or self.chance(40) else None,
                    'value': self.pick(['v', '', 'long ' * 40, None]),
                    **({'timestamp': self.time + self.pick([0, 1, 1000, -1, 90000000])} if self.chance(50) else {}),
                    **({'headers': {'h': self.pick(['x', None, ''])}} if self.chance(15) else {})} for _ in range(count)]
        out = {'records': records, 'codec': self.pick(['none', 'gzip', 'snappy', 'lz4', 'zstd', 'zstd', 'lz4', 'snappy'])}
        good = True
        if self.chance(5):
            records[0].update(value='0123456789', repeat=self.pick([100, 5000, 30000]))
        if self.chance(10):
            out['magic'] = self.pick([0, 1])
            if out['codec'] == 'zstd':
                out['codec'] = 'gzip'
            for r in records:
                r.pop('headers', None)
            good = False
        elif self.chance(12):
            good = False
            out['set'] = {str(self.pick([61, 62])): self.pick(['00', 'ff', '40', '7fff'])}
        elif self.chance(6):
            good = False
            out['flip'] = self.pick([17, 8, 11, 16, 21, 22, 26, 45, 60, -1, 62])
        elif self.chance(4):
            good = False
            out['truncate'] = self.pick([1, 11, 12, 16, 17, 20, 60, 61, 62])
        if out.get('magic', 2) < 2 and ('flip' in out or 'truncate' in out):
            out.pop('flip', None)
        return out, count, good

    def sequence(self, known):
        """(producer id, epoch, sequence, count or None, what to remember)"""
        if known.producers and self.chance(80):
            pid = self.pick(sorted(known.producers))
            epoch, following, past = known.producers[pid]
            way = self.rng.randrange(14)
            if way < 6:
                return pid, epoch, following, None
            if way < 9 and past:
                sequence, count = self.pick(past)
                return pid, epoch, sequence, count
            return self.pick([(pid, epoch, following + 1, None), (pid, epoch, max(0, following - 1), None),
                              (pid, epoch + 1, 0, None), (pid, epoch + 1, following, None), (pid, max(0, epoch - 1), following, None),
                              (pid, epoch, 0, None), (pid, epoch, 2147483647, None), (pid, epoch + 1, 1, None)])
        pid = self.pick([5000, 5001, 5002, 77, 0, 9223372036854775807])
        return pid, self.pick([0, 0, 0, 3, 32767]), self.pick([0, 0, 0, 0, 5, 2147483646, 2147483647]), None

    def records(self, topic, known):
        """What stands in 'records', and remembers what it does."""
        keyed = topic is not None and 'compact' in topic.configs.get('cleanup.policy', '')
        keyed = keyed and not self.chance(15)
        if self.chance(2):
            return {'hex': self.pick(['', '00', '00' * 61, 'ff' * 80, '00' * 11])}
        if known is not None and self.is_future and self.chance(35):
            pid, epoch, sequence, count = self.sequence(known)
            epoch = min(epoch, 32767)
            sequence = min(sequence, 2147483647)
            text, count, good = self.batch(known, keyed, (pid, epoch, sequence), count)
            if good:
                have = known.producers.get(pid)
                if have is None or (have[0] == epoch and have[1] == sequence) or (epoch == have[0] + 1 and sequence == 0):
                    past = have[2] if have and have[0] == epoch else []
                    known.producers[pid] = [epoch, (sequence + count) % 2147483648, (past + [(sequence, count)])[-7:]]
                    known.end += count
            return {'hex': text}
        if self.chance(25):
            out, count, good = self.java_batch(keyed)
            if good and known is not None:
                known.end += count
            return out
        text, count, good = self.batch(known, keyed)
        if self.chance(5):
            return {'batches': [{'hex': text}, {'hex': self.batch(known, keyed)[0]}]}
        if self.chance(4):
            return {'hex': text + self.pick(['00', '00' * 11, '00' * 12, '00' * 17, 'ff' * 30, text[:40], text[:130]])}
        if self.chance(4):
            return {'hex': text[:2 * self.rng.randrange(len(text) // 2)]}
        if known is not None and known.last_batch and self.chance(5):
            return {'hex': known.last_batch}
        if good and known is not None:
            known.end += count
            known.sizes.append(len(text) // 2)
            known.last_batch = text
        return {'hex': text}

    def produce(self):
        version = self.rng.randint(*VERSIONS['Produce'])
        topics = []
        for _ in range(self.pick([1, 1, 1, 1, 2, 3])):
            topic, name, uid, index, known = self.place(7)
            entry = {'index': index, 'records': self.records(topic, known)}
            same = next((t for t in topics if t['name'] == name), None)
            if same is not None:
                same['partitionData'].append(entry)
            else:
                topics.append({'name': name, 'topicId': uid, 'partitionData': [entry]})
        if self.chance(2):
            topics = []
        acks = self.pick([-1, -1, -1, 1, 1, 1, 1, 1]) if self.chance(96) else self.pick([2, -2, 32767])
        more = {'client': '__admin_client'} if self.chance(2) else {}
        self.ask('Produce', {'acks': acks, 'timeoutMs': self.pick([10000, 10000, 5000]), 'topicData': topics,
                             'transactionalId': None}, version, **more)

    def produce_large(self):
        """Enough to make a log roll."""
        topic = self.topic()
        if topic is None:
            return
        index = self.rng.randrange(len(topic.partitions))
        known = topic.partitions[index]
        self.ask('Produce', {'acks': 1, 'timeoutMs': 10000, 'topicData': [
            {'name': topic.name, 'topicId': topic.id, 'partitionData': [{'index': index, 'records': {'records': [
                {'key': 'k', 'value': '0123456789', 'repeat': self.pick([30000, 60000])}]}}]}]})
        known.end += 1

    # Reading

    def fetch_partition(self, index, known):
        offset = self.near_offset(known)
        sizes = [0, 1, 61, 100, 1000, 1 << 20, 1 << 20, 1 << 20, 1 << 20]
        if known is not None and known.sizes:
            total = sum(known.sizes[:self.rng.randint(1, len(known.sizes))])
            sizes += [total, total - 1, total + 1, total + 11, total + 12, total + 17, total + 61]
        entry = {'partition': index, 'fetchOffset': offset, 'partitionMaxBytes': self.pick(sizes),
                 'currentLeaderEpoch': self.pick([-1, -1, -1, 0, 0, 1, -2]) if self.chance(40) else -1,
                 'lastFetchedEpoch': self.pick([0, 1, -1, -2, 100]) if self.chance(15) else -1,
                 'logStartOffset': self.pick([-1, 0, 5])}
        if self.chance(3):
            entry['highWatermark'] = self.pick([0, 5, -1])
        return entry

    def fetch(self):
        version = self.rng.randint(*VERSIONS['Fetch'])
        limits = [1 << 20, 1 << 20, 1 << 20, 0, 1, 100, 300, 1000]
        body = {'maxWaitMs': self.pick([0, 0, 0, 30, 60]), 'minBytes': self.pick([0, 0, 1, 1, 100, -1]),
                'maxBytes': self.pick(limits), 'isolationLevel': self.pick([0, 0, 0, 0, 1, 1]),
                'topics': self.by_topic(0 if self.chance(10) else 1, 4, self.fetch_partition, ['topic', 'topicId'])}
        if self.chance(2):
            body['isolationLevel'] = self.pick([2, -1, 127])
        if self.chance(3):
            body['replicaId'] = self.pick([0, 1, -2, 5])
        if self.chance(4):
            body['rackId'] = 'rack'
        more = {}
        if version >= 7:
            self.session(body, more, version)
        if version >= 13 and sum(len(t['partitions']) for t in body['topics']) > 1:
            for t in body['topics']:  # Kafka fails inside when it lists several partitions of no topic
                t['topicId'] = ODD_IDS[2] if t['topicId'] == ZERO_ID else t['topicId']
        self.ask('Fetch', body, version, **more)

    def session(self, body, more, version):
        body['sessionEpoch'] = -1
        way = self.rng.randrange(10)
        usable = [s for s in self.sessions if (s[2] >= 13) == (version >= 13)] if self.chance(90) else self.sessions
        if way < 2:
            name, save = self.save('/sessionId')
            body['sessionEpoch'] = 0
            if self.chance(10):
                body['sessionId'] = self.pick([1, -1, 2000000000])  # the largest breaks Kafka
            more['save'] = save
            self.sessions.append(['${%s}' % name, 1, version])
        elif way < 7 and usable:
            session = usable[-1] if self.chance(70) else self.pick(usable)
            body['sessionId'] = session[0]
            body['sessionEpoch'] = session[1]
            if self.chance(55):
                body['topics'] = []
            if self.chance(25):
                body['forgottenTopicsData'] = self.by_topic(1, 2, lambda i, known: i, ['topic', 'topicId'])
            odd = self.rng.randrange(14)
            if odd == 0:
                body['sessionEpoch'] = self.pick([session[1] + 1, session[1] - 1, 2147483647])
            elif odd == 1:
                body['sessionEpoch'] = self.pick([0, -1])
                self.sessions.remove(session)
            else:
                session[1] += 1
        elif way == 7:
            body['sessionEpoch'] = self.pick([0, 1, -1, -2, 5, 2147483647])
            body['sessionId'] = self.pick([0, 12345, -1])

    def list_offsets(self):
        def one(index, known):
            time = self.pick([-1, -2, -3, -4, -5, -6, -7, -1, -2, -3])
            if self.chance(45):
                time = self.time + self.pick([0, 1, -1, 1000, 1001, -1000, 5, 86400000 * 8, 100000, -86400000, 3600000])
            elif self.chance(8):
                time = self.pick([0, 9223372036854775807, -9223372036854775808, -100])
            return {'partitionIndex': index, 'timestamp': time,
                    'currentLeaderEpoch': self.pick([-1, -1, 0, 1, -2]) if self.chance(30) else -1}
        self.ask('ListOffsets', {'replicaId': -1 if self.chance(96) else self.pick([0, 1, -2, -3, 7]),
                                 'isolationLevel': self.pick([0, 0, 0, 1]) if self.chance(97) else self.pick([2, -1]),
                                 'topics': self.by_topic(0 if self.chance(5) else 1, 5, one, ['name']), 'timeoutMs': 1000})

    def leader_epochs(self):
        def one(index, known):
            return {'partition': index, 'currentLeaderEpoch': self.pick([-1, -1, -1, 0, 1, -2]),
                    'leaderEpoch': self.pick([0, 0, 0, 1, -1, -2, 5, 2147483647])}
        self.ask('OffsetForLeaderEpoch', {'replicaId': -1 if self.chance(50) else self.pick([-2, 1, 0, 7]),
                                          'topics': self.by_topic(0 if self.chance(5) else 1, 4, one, ['topic'])})

    def delete_records(self):
        def one(index, known):
            return {'partitionIndex': index, 'offset': self.near_offset(known)}
        self.ask('DeleteRecords', {'topics': self.by_topic(0 if self.chance(5) else 1, 3, one, ['name']),
                                   'timeoutMs': 5000})

    # The whole

    def last_look(self):
        for t in self.topics:
            count = len(t.partitions)
            self.ask('Fetch', {'maxBytes': 1 << 22, 'topics': [{'topic': t.name, 'topicId': t.id, 'partitions': [
                {'partition': i, 'partitionMaxBytes': 1 << 20} for i in range(count)]}]}, self.pick([4, 11, 12, 13, 18]))
            for special in (-1, -2, -3):
                self.ask('ListOffsets', {'replicaId': -1, 'topics': [{'name': t.name, 'partitions': [
                    {'partitionIndex': i, 'timestamp': special} for i in range(count)]}]}, 9)
            self.ask('DescribeProducers', {'topics': [{'name': t.name, 'partitionIndexes': list(range(count))}]})
            self.ask('DescribeLogDirs', {'topics': [{'topic': t.name, 'partitions': list(range(count))}]}, check=['size'])

    STEPS = [('produce', 30), ('fetch', 18), ('list_offsets', 9), ('delete_records', 3), ('leader_epochs', 3),
             ('create_topics', 3), ('delete_topics', 2), ('create_partitions', 2), ('metadata', 4),
             ('describe_topic_partitions', 2), ('describe_cluster', 1), ('describe_log_dirs', 2), ('describe_producers', 3),
             ('find_coordinator', 1), ('init_producer_id', 2), ('describe_configs', 2), ('incremental_alter', 2),
             ('alter', 1), ('api_versions', 1), ('list_config_resources', 1), ('produce_large', 2)]

    def run(self):
        self.first_topics()
        if self.only == ['groups']:
            groups.run(self)
            return self.lines
        steps = [s for s in self.STEPS if not self.only or s[0] in self.only]
        for _ in range(self.rng.randint(10, 45)):
            getattr(self, self.rng.choices([s[0] for s in steps], [s[1] for s in steps])[0])()
            if not self.topics:
                self.first_topics()
        self.last_look()
        return self.lines


def generate(seed, only=None):
    return Script(seed, only).run()
