"""A member of a group through confluent-kafka, for interop/groups.py: member_confluent.py HOST:PORT TOPIC GROUP [KEY=VALUE...]

The callbacks work for eager and cooperative assignors and for group.protocol=consumer, which is cooperative.
"""
import signal
import sys

from confluent_kafka import Consumer, KafkaException, TopicPartition

COMMIT_RECORDS = 20
NAMES = {'name': 'client.id', 'session': 'session.timeout.ms', 'instance': 'group.instance.id',
         'strategy': 'partition.assignment.strategy', 'protocol': 'group.protocol', 'assignor': 'group.remote.assignor'}


def say(*words):
    print(*words, flush=True)


class Member:
    def __init__(self, address, topic, group, settings):
        self.topic = topic
        self.is_modern = settings.get('protocol') == 'consumer'
        config = {'bootstrap.servers': address, 'group.id': group, 'enable.auto.commit': False,
                  'auto.offset.reset': 'earliest', 'fetch.wait.max.ms': 100, 'topic.metadata.refresh.interval.ms': 1000}
        self.subscribed = settings.pop('regex', topic)
        if self.is_modern:
            settings.pop('session', None)  # the broker's, in this protocol
        else:
            config['heartbeat.interval.ms'] = 200
        config.update({NAMES.get(key, key): value for key, value in settings.items()})
        self.is_incremental = self.is_modern or settings.get('strategy') == 'cooperative-sticky'
        self.consumer = Consumer(config)
        self.owned = set()
        self.parts = {}  # partition: [from, to]
        self.pending = 0

    def say_owned(self):
        say('assigned', *sorted(self.owned))

    def on_assign(self, _, partitions):
        self.owned |= {p.partition for p in partitions}
        self.say_owned()
        if self.is_incremental:
            self.consumer.incremental_assign(partitions)
        else:
            self.consumer.assign(partitions)

    def on_revoke(self, _, partitions):
        self.commit()
        self.drop(partitions)

    def on_lost(self, _, partitions):
        self.drop(partitions)

    def drop(self, partitions):
        for p in partitions:
            start, end = self.parts.pop(p.partition, (0, 0))
            self.pending -= end - start
            self.owned.discard(p.partition)
        self.say_owned()
        if self.is_incremental:
            self.consumer.incremental_unassign(partitions)
        else:
            self.consumer.unassign()

    def commit(self):
        parts = {p: part for p, part in self.parts.items() if part[0] < part[1]}
        for p, (start, end) in parts.items():
            say('commit', p, start, end)
        if not parts:
            return
        try:
            answers = self.consumer.commit(offsets=[TopicPartition(self.topic, p, end) for p, (_, end) in parts.items()],
                                           asynchronous=False)
            errors = {a.partition: a.error for a in answers}
        except KafkaException as error:
            errors = dict.fromkeys(parts, error.args[0])
        for p, (start, end) in parts.items():
            if errors.get(p):
                say('failed', p, start, end, errors[p])
            else:
                say('committed', p, start, end)
                self.pending -= end - start
                self.parts[p][0] = end

    def run(self):
        stop = []
        signal.signal(signal.SIGTERM, lambda *_: stop.append(1))
        self.consumer.subscribe([self.subscribed], on_assign=self.on_assign, on_revoke=self.on_revoke,
                                on_lost=self.on_lost)
        while not stop:
            message = self.consumer.poll(0.05)
            if message is None:
                self.commit()
            elif message.error():
                say('error', message.error())
            else:
                p, offset = message.partition(), message.offset()
                say('record', p, offset)
                part = self.parts.setdefault(p, [offset, offset])
                if part[0] == part[1]:
                    part[0] = offset
                part[1] = offset + 1
                self.pending += 1
                if self.pending >= COMMIT_RECORDS:
                    self.commit()
        self.commit()
        self.consumer.close()


def main():
    address, topic, group = sys.argv[1:4]
    Member(address, topic, group, dict(word.split('=', 1) for word in sys.argv[4:])).run()


main()
