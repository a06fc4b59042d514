// A member of a group through kafkajs, for interop/groups.py: node member.js HOST:PORT TOPIC GROUP [KEY=VALUE...]
'use strict';
const { Kafka, logLevel, PartitionAssigners } = require('kafkajs');

const [address, topic, groupId, ...words] = process.argv.slice(2);
const settings = Object.fromEntries(words.map((w) => [w.slice(0, w.indexOf('=')), w.slice(w.indexOf('=') + 1)]));

function say(...parts) {
  process.stdout.write(parts.join(' ') + '\n');
}

function logCreator() {
  return ({ level, log }) => {
    if (level <= logLevel.WARN) say('log', log.message, log.error || '');
  };
}

async function main() {
  const kafka = new Kafka({ clientId: settings.name, brokers: [address], logLevel: logLevel.WARN, logCreator });
  const consumer = kafka.consumer({
    groupId,
    sessionTimeout: Number(settings.session),
    rebalanceTimeout: 30000,
    heartbeatInterval: 200,
    maxWaitTimeInMs: 100,
    metadataMaxAge: 1000,
    partitionAssigners: [PartitionAssigners.roundRobin],
  });
  consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
    say('assigned', ...(payload.memberAssignment[topic] || []));
  });
  consumer.on(consumer.events.REBALANCING, () => say('assigned'));
  consumer.on(consumer.events.CRASH, ({ payload }) => say('error', payload.error.message));
  await consumer.connect();
  await consumer.subscribe({ topics: [topic], fromBeginning: true });
  await consumer.run({
    autoCommit: false,
    eachBatchAutoResolve: false,
    eachBatch: async ({ batch, resolveOffset, isRunning, isStale, heartbeat }) => {
      let from = null;
      let to = null;
      const commit = async () => {
        if (from === null) return;
        const part = [batch.partition, from, to];
        from = null;
        say('commit', ...part);
        try {
          await consumer.commitOffsets([{ topic, partition: batch.partition, offset: String(part[2]) }]);
          say('committed', ...part);
        } catch (error) {
          say('failed', ...part, error.message);
          throw error;
        }
      };
      for (const message of batch.messages) {
        if (!isRunning() || isStale()) break;
        const offset = Number(message.offset);
        say('record', batch.partition, offset);
        from = from === null ? offset : from;
        to = offset + 1;
        resolveOffset(message.offset);
        if (to - from >= 20) {
          await commit();
          await heartbeat();
        }
      }
      await commit();
    },
  });
  process.on('SIGTERM', async () => {
    await consumer.disconnect();
    process.exit(0);
  });
}

main().catch((error) => {
  say('error', error.message);
  process.exit(1);
});
