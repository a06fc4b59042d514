import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.regex.Pattern;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.consumer.SubscriptionPattern;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.WakeupException;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * A member of a group through Kafka's own client, for interop/groups.py:
 * java -cp ... Member HOST:PORT TOPIC GROUP [KEY=VALUE...]
 */
public class Member implements ConsumerRebalanceListener {
    static final Map<String, String> STRATEGIES = Map.of(
            "range", "RangeAssignor", "roundrobin", "RoundRobinAssignor", "sticky", "StickyAssignor",
            "cooperative-sticky", "CooperativeStickyAssignor");

    final String topic;
    final KafkaConsumer<byte[], byte[]> consumer;
    final TreeSet<Integer> owned = new TreeSet<>();
    final Map<Integer, long[]> parts = new TreeMap<>();  // partition: from, to
    volatile boolean isStopped;
    final Thread main = Thread.currentThread();

    static void say(Object... words) {
        StringBuilder line = new StringBuilder();
        for (Object word : words) {
            line.append(line.length() == 0 ? "" : " ").append(word);
        }
        System.out.println(line);
        System.out.flush();
    }

    void sayOwned() {
        List<Object> words = new ArrayList<>(List.of("assigned"));
        words.addAll(owned);
        say(words.toArray());
    }

    Member(String address, String topic, String group, Map<String, String> settings) {
        this.topic = topic;
        Map<String, Object> config = new HashMap<>(Map.of("bootstrap.servers", address, "group.id", group,
                "enable.auto.commit", false, "auto.offset.reset", "earliest", "max.poll.records", 20,
                "fetch.max.wait.ms", 100, "metadata.max.age.ms", 1000));
        boolean isModern = "consumer".equals(settings.get("protocol"));
        if (isModern) {
            config.put("group.protocol", "consumer");
        } else {
            config.put("session.timeout.ms", settings.get("session"));
            config.put("heartbeat.interval.ms", 200);
        }
        settings.forEach((key, value) -> {
            switch (key) {
                case "name" -> config.put("client.id", value);
                case "instance" -> config.put("group.instance.id", value);
                case "rack" -> config.put("client.rack", value);
                case "assignor" -> config.put("group.remote.assignor", value);
                case "strategy" -> config.put("partition.assignment.strategy",
                        "org.apache.kafka.clients.consumer." + STRATEGIES.get(value));
                default -> { }
            }
        });
        consumer = new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer());
        String regex = settings.get("regex");
        if (regex == null) {
            consumer.subscribe(List.of(topic), this);
        } else if (isModern) {
            consumer.subscribe(new SubscriptionPattern(regex), this);
        } else {
            consumer.subscribe(Pattern.compile(regex), this);
        }
    }

    void commit() {
        Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
        parts.forEach((p, part) -> {
            if (part[0] < part[1]) {
                say("commit", p, part[0], part[1]);
                offsets.put(new TopicPartition(topic, p), new OffsetAndMetadata(part[1]));
            }
        });
        if (offsets.isEmpty()) {
            return;
        }
        String why = null;
        for (int attempt = 0; attempt < 3; attempt++) {
            try {
                consumer.commitSync(offsets, Duration.ofSeconds(20));
                why = null;
                break;
            } catch (WakeupException e) {
                why = "wakeup";  // the close is under way; the commit goes on
            } catch (KafkaException e) {
                why = String.valueOf(e).replace('\n', ' ');
                break;
            }
        }
        for (TopicPartition tp : offsets.keySet()) {
            long[] part = parts.get(tp.partition());
            if (why != null) {
                say("failed", tp.partition(), part[0], part[1], why);
            } else {
                say("committed", tp.partition(), part[0], part[1]);
                part[0] = part[1];
            }
        }
    }

    void drop(Collection<TopicPartition> lost) {
        for (TopicPartition tp : lost) {
            owned.remove(tp.partition());
            parts.remove(tp.partition());
        }
        sayOwned();
    }

    @Override
    public void onPartitionsAssigned(Collection<TopicPartition> added) {
        added.forEach(tp -> owned.add(tp.partition()));
        sayOwned();
    }

    @Override
    public void onPartitionsRevoked(Collection<TopicPartition> revoked) {
        commit();
        drop(revoked);
    }

    @Override
    public void onPartitionsLost(Collection<TopicPartition> lost) {
        drop(lost);
    }

    void run() throws InterruptedException {
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            isStopped = true;
            try {
                main.join(20000);
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            }
            Runtime.getRuntime().halt(isClosed ? 0 : 1);
        }));
        while (!isStopped) {
            for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(100))) {
                say("record", record.partition(), record.offset());
                long[] part = parts.computeIfAbsent(record.partition(), p -> new long[2]);
                if (part[0] == part[1]) {
                    part[0] = record.offset();
                }
                part[1] = record.offset() + 1;
            }
            commit();
        }
        consumer.close();
        isClosed = true;
    }

    volatile boolean isClosed;

    public static void main(String[] args) throws Exception {
        Map<String, String> settings = new HashMap<>();
        for (int i = 3; i < args.length; i++) {
            int equals = args[i].indexOf('=');
            settings.put(args[i].substring(0, equals), args[i].substring(equals + 1));
        }
        try {
            new Member(args[0], args[1], args[2], settings).run();
        } catch (KafkaException e) {
            say("error", e);
            Runtime.getRuntime().halt(1);
        }
    }
}
