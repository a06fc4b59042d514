"""A member of a group through aiokafka, for interop/groups.py: member_aiokafka.py HOST:PORT TOPIC GROUP [KEY=VALUE...]"""
import asyncio
import signal
import sys

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from aiokafka.errors import KafkaError

STRATEGIES = {'range': RangePartitionAssignor, 'roundrobin': RoundRobinPartitionAssignor, 'sticky': StickyPartitionAssignor}


def say(*words):
    print(*words, flush=True)


class Member(ConsumerRebalanceListener):
    def __init__(self, topic):
        self.topic = topic
        self.consumer = None
        self.parts = {}  # partition: [from, to]

    async def commit(self):
        parts = {p: part for p, part in self.parts.items() if part[0] < part[1]}
        for p, (start, end) in parts.items():
            say('commit', p, start, end)
        if not parts:
            return
        try:
            await self.consumer.commit({TopicPartition(self.topic, p): end for p, (_, end) in parts.items()})
        except KafkaError as error:
            for p, (start, end) in parts.items():
                say('failed', p, start, end, repr(error))
            return
        for p, (start, end) in parts.items():
            say('committed', p, start, end)
            self.parts[p][0] = end

    async def on_partitions_revoked(self, revoked):
        if revoked:
            await self.commit()
        self.parts = {}
        say('assigned')

    async def on_partitions_assigned(self, assigned):
        say('assigned', *sorted(tp.partition for tp in assigned))

    async def run(self, address, group, settings):
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        strategies = [STRATEGIES[settings[key]] for key in ('strategy',) if key in settings]
        self.consumer = AIOKafkaConsumer(
            bootstrap_servers=address, group_id=group, client_id=settings['name'], enable_auto_commit=False,
            auto_offset_reset='earliest', session_timeout_ms=int(settings['session']), heartbeat_interval_ms=200,
            max_poll_interval_ms=60000, rebalance_timeout_ms=30000, metadata_max_age_ms=1000, fetch_max_wait_ms=100,
            group_instance_id=settings.get('instance'),
            **({'partition_assignment_strategy': strategies} if strategies else {}))
        self.consumer.subscribe([self.topic], listener=self)
        await self.consumer.start()
        while not stop.is_set():
            batches = await self.consumer.getmany(timeout_ms=100, max_records=20)
            for tp, records in batches.items():
                for record in records:
                    say('record', tp.partition, record.offset)
                part = self.parts.setdefault(tp.partition, [records[0].offset, records[0].offset])
                if part[0] == part[1]:
                    part[0] = records[0].offset
                part[1] = records[-1].offset + 1
            await self.commit()
        await self.commit()
        await self.consumer.stop()


def main():
    address, topic, group = sys.argv[1:4]
    settings = dict(word.split('=', 1) for word in sys.argv[4:])
    asyncio.run(Member(topic).run(address, group, settings))


main()
