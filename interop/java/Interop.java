import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.CreateTopicsOptions;
import org.apache.kafka.clients.admin.DescribeClusterResult;
import org.apache.kafka.clients.admin.ListOffsetsResult.ListOffsetsResultInfo;
import org.apache.kafka.clients.admin.LogDirDescription;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.ProducerState;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndTimestamp;
import org.apache.kafka.clients.consumer.OffsetOutOfRangeException;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.InvalidConfigurationException;
import org.apache.kafka.common.errors.InvalidTopicException;
import org.apache.kafka.common.errors.RecordTooLargeException;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Kafka's own Java client against a server: java -cp 'jars/*' Interop.java HOST:PORT [--no-restart].
 * A line "ok NAME", "not ok NAME: why" or "skip NAME: why" a check. For a restart it prints RESTART and waits for a
 * line on standard input.
 */
public class Interop {
    interface Check {
        void run() throws Exception;
    }

    static String bootstrap;
    static String mark = Long.toString(ProcessHandle.current().pid());
    static Admin admin;
    static int failed;

    static void check(String name, Check check) {
        try {
            check.run();
            System.out.println("ok " + name);
        } catch (Throwable t) {
            failed++;
            Throwable cause = t instanceof ExecutionException && t.getCause() != null ? t.getCause() : t;
            System.out.println("not ok " + name + ": " + String.valueOf(cause).replace('\n', ' '));
        }
        System.out.flush();
    }

    static void expect(Object found, Object wanted, String what) {
        if (!Objects.equals(found, wanted)) {
            throw new AssertionError(what + ": " + found + " instead of " + wanted);
        }
    }

    static void expectFailure(Class<? extends Throwable> wanted, Future<?> future) throws Exception {
        try {
            future.get();
        } catch (ExecutionException e) {
            expect(e.getCause().getClass(), wanted, "error");
            return;
        }
        throw new AssertionError("no " + wanted.getSimpleName());
    }

    static byte[] bytes(String s) {
        return s == null ? null : s.getBytes(StandardCharsets.UTF_8);
    }

    static String topic(String what, int partitions, Map<String, String> configs) throws Exception {
        String name = "java-" + what + "-" + mark;
        admin.createTopics(List.of(new NewTopic(name, partitions, (short) 1).configs(configs))).all().get();
        return name;
    }

    static KafkaProducer<byte[], byte[]> producer(Object... settings) {
        Map<String, Object> config = new HashMap<>(Map.of("bootstrap.servers", bootstrap));
        for (int i = 0; i < settings.length; i += 2) {
            config.put((String) settings[i], settings[i + 1]);
        }
        return new KafkaProducer<>(config, new ByteArraySerializer(), new ByteArraySerializer());
    }

    static KafkaConsumer<byte[], byte[]> consumer(Object... settings) {
        Map<String, Object> config = new HashMap<>(Map.of("bootstrap.servers", bootstrap, "auto.offset.reset", "none",
                "enable.auto.commit", false));
        for (int i = 0; i < settings.length; i += 2) {
            config.put((String) settings[i], settings[i + 1]);
        }
        return new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    /** Every record of a partition from an offset to the end that it has now. */
    static List<ConsumerRecord<byte[], byte[]>> read(String topic, int partition, long start, Object... settings) {
        List<ConsumerRecord<byte[], byte[]>> out = new ArrayList<>();
        TopicPartition tp = new TopicPartition(topic, partition);
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(settings)) {
            long end = consumer.endOffsets(List.of(tp)).get(tp);
            consumer.assign(List.of(tp));
            consumer.seek(tp, start);
            long until = System.currentTimeMillis() + 30000;
            while (consumer.position(tp) < end) {
                consumer.poll(Duration.ofMillis(200)).forEach(out::add);
                if (System.currentTimeMillis() > until) {
                    throw new AssertionError("only " + out.size() + " records within 30 s");
                }
            }
        }
        return out;
    }

    static void expectValues(List<ConsumerRecord<byte[], byte[]>> records, String word, int count) {
        expect(records.size(), count, "records");
        for (int i = 0; i < count; i++) {
            expect(new String(records.get(i).value(), StandardCharsets.UTF_8), word + "-" + i, "value " + i);
            expect(records.get(i).offset(), (long) i, "offset " + i);
        }
    }

    static void send(KafkaProducer<byte[], byte[]> producer, String topic, String word, int from, int to) throws Exception {
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        for (int i = from; i < to; i++) {
            sent.add(producer.send(new ProducerRecord<>(topic, 0, bytes("k" + i), bytes(word + "-" + i))));
        }
        producer.flush();
        for (Future<RecordMetadata> f : sent) {
            f.get();
        }
    }

    static void codec(String codec, String acks) throws Exception {
        String topic = topic(codec + "-acks" + acks, 1, Map.of());
        try (KafkaProducer<byte[], byte[]> p = producer("compression.type", codec, "acks", acks, "linger.ms", 20,
                "enable.idempotence", acks.equals("all"))) {
            send(p, topic, codec, 0, 200);
        }
        List<ConsumerRecord<byte[], byte[]>> records = read(topic, 0, 0);
        for (int i = 0; i < 50 && acks.equals("0") && records.size() < 200; i++) {
            Thread.sleep(100);
            records = read(topic, 0, 0);
        }
        expectValues(records, codec, 200);
    }

    static void createTopics() throws Exception {
        String name = topic("create", 3, Map.of("retention.ms", "-1"));
        expectFailure(TopicExistsException.class, admin.createTopics(List.of(new NewTopic(name, 3, (short) 1))).all());
        expectFailure(InvalidTopicException.class, admin.createTopics(List.of(new NewTopic("a/b", 3, (short) 1))).all());
        NewTopic bad = new NewTopic(name + "-bad", 1, (short) 1).configs(Map.of("no.such", "1"));
        expectFailure(InvalidConfigurationException.class, admin.createTopics(List.of(bad)).all());
        NewTopic trial = new NewTopic(name + "-trial", 1, (short) 1);
        admin.createTopics(List.of(trial), new CreateTopicsOptions().validateOnly(true)).all().get();
        expectFailure(UnknownTopicOrPartitionException.class, admin.describeTopics(List.of(name + "-trial")).allTopicNames());
        TopicDescription d = admin.describeTopics(List.of(name)).allTopicNames().get().get(name);
        expect(d.partitions().size(), 3, "partitions");
        expect(d.partitions().get(0).isr().size(), 1, "isr");
        expect(d.isInternal(), false, "internal");
        expect(admin.listTopics().names().get().contains(name), true, "listed");
    }

    static void growAndDelete() throws Exception {
        String name = topic("grow", 1, Map.of());
        admin.createPartitions(Map.of(name, NewPartitions.increaseTo(5))).all().get();
        try (KafkaProducer<byte[], byte[]> p = producer()) {
            p.send(new ProducerRecord<>(name, 4, null, bytes("v"))).get();
        }
        admin.deleteTopics(List.of(name)).all().get();
        expectFailure(UnknownTopicOrPartitionException.class, admin.deleteTopics(List.of(name)).all());
        topic("grow", 2, Map.of());
        expect(read(name, 0, 0).size(), 0, "records of the topic's second life");
    }

    static String config(ConfigResource.Type type, String name, String key) throws Exception {
        ConfigResource resource = new ConfigResource(type, name);
        Config config = admin.describeConfigs(List.of(resource)).all().get().get(resource);
        ConfigEntry entry = config.get(key);
        return entry == null ? "(absent)" : entry.value() + " " + entry.source();
    }

    static void configs() throws Exception {
        String name = topic("configs", 1, Map.of("retention.ms", "123456"));
        expect(config(ConfigResource.Type.TOPIC, name, "retention.ms"), "123456 DYNAMIC_TOPIC_CONFIG", "retention.ms");
        expect(config(ConfigResource.Type.TOPIC, name, "segment.index.bytes"), "10485760 DEFAULT_CONFIG", "segment.index.bytes");
        expect(config(ConfigResource.Type.TOPIC, name, "flush.messages"), "9223372036854775807 DEFAULT_CONFIG", "flush.messages");
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, name);
        Collection<AlterConfigOp> ops = List.of(
                new AlterConfigOp(new ConfigEntry("retention.ms", null), AlterConfigOp.OpType.DELETE),
                new AlterConfigOp(new ConfigEntry("cleanup.policy", "compact"), AlterConfigOp.OpType.APPEND),
                new AlterConfigOp(new ConfigEntry("max.message.bytes", "5000"), AlterConfigOp.OpType.SET));
        admin.incrementalAlterConfigs(Map.of(resource, ops)).all().get();
        for (int i = 0; i < 50 && config(ConfigResource.Type.TOPIC, name, "max.message.bytes").startsWith("1048588"); i++) {
            Thread.sleep(100);
        }
        expect(config(ConfigResource.Type.TOPIC, name, "max.message.bytes"), "5000 DYNAMIC_TOPIC_CONFIG", "after");
        expect(config(ConfigResource.Type.TOPIC, name, "retention.ms"), "604800000 DEFAULT_CONFIG", "after");
        expect(config(ConfigResource.Type.TOPIC, name, "cleanup.policy"), "delete,compact DYNAMIC_TOPIC_CONFIG", "after");
        ops = List.of(new AlterConfigOp(new ConfigEntry("retention.ms", "often"), AlterConfigOp.OpType.SET));
        expectFailure(InvalidConfigurationException.class, admin.incrementalAlterConfigs(Map.of(resource, ops)).all());
        String node = Integer.toString(admin.describeCluster().nodes().get().iterator().next().id());
        expect(config(ConfigResource.Type.BROKER, node, "node.id").startsWith(node + " "), true, "broker's node.id");
    }

    static void cluster() throws Exception {
        DescribeClusterResult r = admin.describeCluster();
        expect(r.nodes().get().size(), 1, "nodes");
        expect(r.controller().get().id(), r.nodes().get().iterator().next().id(), "controller");
        expect(r.clusterId().get().length(), 22, "length of the cluster id");
    }

    static void headers() throws Exception {
        String name = topic("headers", 1, Map.of());
        try (KafkaProducer<byte[], byte[]> p = producer()) {
            ProducerRecord<byte[], byte[]> r = new ProducerRecord<>(name, 0, bytes("k"), bytes("v"));
            r.headers().add("a", bytes("1")).add("a", bytes("2")).add("null", null).add("\u00fc", new byte[0]);
            p.send(r).get();
            p.send(new ProducerRecord<>(name, 0, bytes("k"), null)).get();
            p.send(new ProducerRecord<>(name, 0, null, new byte[0])).get();
        }
        List<ConsumerRecord<byte[], byte[]>> records = read(name, 0, 0);
        expect(records.size(), 3, "records");
        expect(records.get(0).headers().toArray().length, 4, "headers");
        expect(records.get(0).headers().toArray()[2].value(), null, "null header");
        expect(records.get(1).value(), null, "tombstone");
        expect(records.get(2).key(), null, "key");
        expect(records.get(2).value().length, 0, "empty value");
    }

    static void large() throws Exception {
        String small = topic("small", 1, Map.of());
        String large = topic("large", 1, Map.of("max.message.bytes", "12000000"));
        byte[] value = new byte[8000000];
        new Random(1).nextBytes(value);
        for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
            try (KafkaProducer<byte[], byte[]> p = producer("max.request.size", 20000000, "buffer.memory", 40000000L,
                    "compression.type", codec)) {
                p.send(new ProducerRecord<>(large, 0, null, value)).get();
                byte[] tooMuch = Arrays.copyOf(value, 2000000);
                expectFailure(RecordTooLargeException.class, p.send(new ProducerRecord<>(small, 0, null, tooMuch)));
            }
        }
        List<ConsumerRecord<byte[], byte[]>> records = read(large, 0, 0, "max.partition.fetch.bytes", 1000);
        expect(records.size(), 5, "records");
        for (ConsumerRecord<byte[], byte[]> r : records) {
            expect(Arrays.equals(r.value(), value), true, "the value");
        }
    }

    static void offsets() throws Exception {
        String name = topic("offsets", 1, Map.of("retention.ms", "-1"));
        TopicPartition tp = new TopicPartition(name, 0);
        try (KafkaProducer<byte[], byte[]> p = producer()) {
            for (int i = 0; i < 20; i++) {
                p.send(new ProducerRecord<>(name, 0, 1700000000000L + i * 1000, null, bytes("v-" + i))).get();
            }
        }
        expect(read(name, 0, 15).size(), 5, "records from 15");
        Map<OffsetSpec, String> asks = Map.of(OffsetSpec.earliest(), "0", OffsetSpec.latest(), "20",
                OffsetSpec.maxTimestamp(), "19", OffsetSpec.forTimestamp(1700000004999L), "5",
                OffsetSpec.forTimestamp(1800000000000L), "-1", OffsetSpec.earliestLocal(), "0");
        for (Map.Entry<OffsetSpec, String> ask : asks.entrySet()) {
            ListOffsetsResultInfo info = admin.listOffsets(Map.of(tp, ask.getKey())).partitionResult(tp).get();
            expect(Long.toString(info.offset()), ask.getValue(), ask.getKey().getClass().getSimpleName());
        }
        try (KafkaConsumer<byte[], byte[]> c = consumer()) {
            OffsetAndTimestamp found = c.offsetsForTimes(Map.of(tp, 1700000007001L)).get(tp);
            expect(found.offset() + " " + found.timestamp(), "8 1700000008000", "by time");
            c.assign(List.of(tp));
            c.seek(tp, 1000);
            try {
                for (int i = 0; i < 20; i++) {
                    c.poll(Duration.ofMillis(500));
                }
                throw new AssertionError("reading behind the end is no error");
            } catch (OffsetOutOfRangeException e) {
                expect(e.partitions(), Set.of(tp), "out of range");
            }
        }
        long low = admin.deleteRecords(Map.of(tp, RecordsToDelete.beforeOffset(12))).lowWatermarks().get(tp).get().lowWatermark();
        expect(low, 12L, "low watermark");
        expect(admin.listOffsets(Map.of(tp, OffsetSpec.earliest())).partitionResult(tp).get().offset(), 12L, "earliest");
        expect(read(name, 0, 12).size(), 8, "records left");
        low = admin.deleteRecords(Map.of(tp, RecordsToDelete.beforeOffset(-1))).lowWatermarks().get(tp).get().lowWatermark();
        expect(low, 20L, "low watermark after all");
    }

    static void logDirsAndProducers() throws Exception {
        String name = topic("producers", 1, Map.of());
        TopicPartition tp = new TopicPartition(name, 0);
        try (KafkaProducer<byte[], byte[]> p = producer()) {
            send(p, name, "v", 0, 10);
            List<ProducerState> active = admin.describeProducers(List.of(tp)).partitionResult(tp).get().activeProducers();
            expect(active.size(), 1, "producers");
            expect(active.get(0).lastSequence(), 9, "last sequence");
        }
        int node = admin.describeCluster().nodes().get().iterator().next().id();
        Map<String, LogDirDescription> dirs = admin.describeLogDirs(List.of(node)).allDescriptions().get().get(node);
        expect(dirs.size(), 1, "log dirs");
        LogDirDescription dir = dirs.values().iterator().next();
        expect(dir.error(), null, "error of the log dir");
        if (dir.replicaInfos().get(tp).size() <= 0 || dir.totalBytes().getAsLong() <= 0) {
            throw new AssertionError("sizes: " + dir);
        }
    }

    static void readCommitted() throws Exception {
        String name = topic("committed", 1, Map.of());
        try (KafkaProducer<byte[], byte[]> p = producer()) {
            send(p, name, "c", 0, 50);
        }
        expectValues(read(name, 0, 0, "isolation.level", "read_committed"), "c", 50);
    }

    static void autoCreate() throws Exception {
        String name = "java-auto-" + mark;
        try (KafkaProducer<byte[], byte[]> p = producer()) {
            p.send(new ProducerRecord<>(name, bytes("v"))).get();
        }
        expect(read(name, 0, 0).size(), 1, "records");
    }

    static void restart() throws Exception {
        String name = topic("restart", 1, Map.of());
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        try (KafkaProducer<byte[], byte[]> p = producer("linger.ms", 2, "reconnect.backoff.max.ms", 200)) {
            send(p, name, "r", 0, 500);
            List<Future<RecordMetadata>> sent = new ArrayList<>();
            for (int i = 500; i < 700; i++) {
                sent.add(p.send(new ProducerRecord<>(name, 0, null, bytes("r-" + i))));
            }
            System.out.println("RESTART");
            System.out.flush();
            in.readLine();
            for (Future<RecordMetadata> f : sent) {
                f.get();
            }
            send(p, name, "r", 700, 1000);
        }
        expectValues(read(name, 0, 0), "r", 1000);
        for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
            expectValues(read("java-" + codec + "-acksall-" + mark, 0, 0), codec, 200);
        }
    }

    public static void main(String[] args) throws Exception {
        bootstrap = args[0];
        boolean mayRestart = args.length < 2 || !args[1].equals("--no-restart");
        admin = Admin.create(Map.of("bootstrap.servers", bootstrap));
        check("describe cluster", Interop::cluster);
        check("create, describe, list topics, with their errors", Interop::createTopics);
        check("a topic made by producing", Interop::autoCreate);
        for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
            for (String acks : List.of("0", "1", "all")) {
                check("produce and read back: " + codec + ", acks=" + acks, () -> codec(codec, acks));
            }
        }
        check("headers, null keys, tombstones, empty values", Interop::headers);
        check("large messages with every codec, and too large ones", Interop::large);
        check("offsets by number, by time, by name; delete records", Interop::offsets);
        check("read committed", Interop::readCommitted);
        check("describe and alter configs", Interop::configs);
        check("more partitions, delete a topic, make it again", Interop::growAndDelete);
        check("log dirs and producers", Interop::logDirsAndProducers);
        if (mayRestart) {
            check("a restart in the middle of an idempotent producer; all codecs read back", Interop::restart);
        } else {
            System.out.println("skip a restart in the middle of an idempotent producer: not our broker");
        }
        admin.close(Duration.ofSeconds(5));
        System.exit(failed == 0 ? 0 : 1);
    }
}
