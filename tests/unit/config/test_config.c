/* The config: tables are checked row by row; values, whole property files and topic configs against
 * what a Kafka 4.4.0 made of the same texts; precedence by giving one key in several places.
 * Dynamic values come from images that are built by replaying ConfigRecords. */
#include "unit.h"

#include "base/err.h"
#include "config/config_check.h"
#include "config/config_load.h"
#include "config/config_topic.h"
#include "meta/records.h"
#include "wire/gen/messages.h"

/* ---- tables ---- */

static void check_table(const struct config_table *table)
{
    struct arena arena;
    arena_init(&arena, 0);
    for (size_t i = 0; i < table->count; i++) {
        const struct config_row *row = &table->rows[i];
        if (i > 0) {
            assert_true(strcmp(table->rows[i - 1].name, row->name) < 0);
        }
        struct config_value value;
        struct str message;
        assert_true(config_value_parse(row, str_from(row->default_text), &arena, &value, &message));
        struct str printed = config_value_print(row, &value, &arena);
        assert_true(str_equal(printed, str_from(row->default_text)));
        assert_non_null(row->doc);
        size_t len = strlen(row->doc);
        assert_true(len > 10 && row->doc[len - 1] == '.');
    }
    arena_release(&arena);
}

static void rows_are_sorted_and_print_their_defaults_as_kafka_does(void **state)
{
    (void)state;
    const struct config_table *table;
    for (size_t i = 0; (table = config_table_broker(i)) != NULL; i++) {
        check_table(table);
    }
    check_table(&config_table_topic);
    check_table(&config_table_group_resource);
    check_table(&config_table_client_metrics);
}

static void every_key_of_kafka_is_there_once(void **state)
{
    (void)state;
    size_t count = config_table_broker_count();
    const struct config_row **rows = mem_array(count, sizeof(*rows));
    config_table_broker_sorted(rows);
    size_t kafkas = 0;
    size_t dynamic = 0;
    for (size_t i = 0; i < count; i++) {
        if (i > 0) {
            assert_true(strcmp(rows[i - 1]->name, rows[i]->name) < 0);
        }
        assert_ptr_equal(config_table_find_broker(str_from(rows[i]->name)), rows[i]);
        bool is_public = rows[i]->audience == CONFIG_PUBLIC;
        kafkas += is_public ? 1 : 0;
        dynamic += is_public && rows[i]->scope != CONFIG_SCOPE_READ_ONLY ? 1 : 0;
    }
    assert_int_equal(kafkas, 350);
    assert_int_equal(dynamic, 104);
    assert_null(config_table_find_broker(STR("log.segment.byte")));
    assert_null(config_table_find_broker(STR("")));
    mem_free(rows);
}

static void a_mistyped_key_finds_its_neighbour(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        {"log.retenton.ms", "log.retention.ms"},
        {"advertised.listener", "advertised.listeners"},
        {"log.segment.size", "log.segment.bytes"},
        {"jackdaw.memory.mx", "jackdaw.memory.max"},
    };
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        const struct config_row *row = config_table_nearest(str_from(pairs[i][0]));
        assert_non_null(row);
        assert_string_equal(row->name, pairs[i][1]);
    }
    assert_null(config_table_nearest(STR("zookeeper.connect")));
    assert_null(config_table_nearest(STR("x")));
    char longest[300];
    memset(longest, 'a', sizeof(longest));
    assert_null(config_table_nearest(str_of(longest, sizeof(longest))));
}

/* ---- values ---- */

struct value_case {
    const char *key;
    const char *text;
    const char *printed; /* NULL: refused */
};

static void
check_values(const struct config_table *table, const struct value_case *cases, size_t count)
{
    struct arena arena;
    arena_init(&arena, 0);
    for (size_t i = 0; i < count; i++) {
        const struct config_row *row = config_table_find(table, str_from(cases[i].key));
        assert_non_null(row);
        struct config_value value;
        struct str message = {0};
        bool is_good = config_value_parse(row, str_from(cases[i].text), &arena, &value, &message);
        if (is_good != (cases[i].printed != NULL)) {
            fail_msg("%s=%s: %s", cases[i].key, cases[i].text, is_good ? "accepted" : "refused");
        }
        if (is_good) {
            struct str printed = config_value_print(row, &value, &arena);
            if (!str_is(printed, cases[i].printed)) {
                fail_msg("%s=%s printed " STR_FMT, cases[i].key, cases[i].text, STR_ARG(printed));
            }
        } else {
            assert_non_null(strstr(message.ptr, cases[i].key));
        }
    }
    arena_release(&arena);
}

static void topic_values_are_taken_as_kafka_takes_them(void **state)
{
    (void)state;
    static const struct value_case cases[] = {
        {"cleanup.policy", "compact,compact", "compact"},
        {"cleanup.policy", "compact, delete", "compact,delete"},
        {"cleanup.policy", "", ""},
        {"cleanup.policy", "compact,", NULL},
        {"cleanup.policy", " , ", NULL},
        {"cleanup.policy", "Delete", NULL},
        {"flush.ms", " 5 ", "5"},
        {"flush.ms", "+5", "5"},
        {"flush.ms", "5.0", NULL},
        {"flush.ms", "1_000", NULL},
        {"flush.ms", "", NULL},
        {"flush.ms", "9223372036854775807", "9223372036854775807"},
        {"flush.ms", "9223372036854775808", NULL},
        {"min.cleanable.dirty.ratio", ".5", "0.5"},
        {"min.cleanable.dirty.ratio", "0.5d", "0.5"},
        {"min.cleanable.dirty.ratio", "1e-5", "1.0E-5"},
        {"min.cleanable.dirty.ratio", "0.001", "0.001"},
        {"min.cleanable.dirty.ratio", "1.01", NULL},
        {"min.cleanable.dirty.ratio", "Infinity", NULL},
        {"preallocate", "TRUE", "true"},
        {"preallocate", " true ", "true"},
        {"preallocate", "", NULL},
        {"preallocate", "yes", NULL},
        {"compression.type", "GZIP", NULL},
        {"compression.type", " gzip ", "gzip"},
        {"message.timestamp.type", "createtime", NULL},
        {"leader.replication.throttled.replicas", "*", "*"},
        {"leader.replication.throttled.replicas", "1:2, 3:4", "1:2,3:4"},
        {"leader.replication.throttled.replicas", "1:2,1:2", "1:2,1:2"},
        {"leader.replication.throttled.replicas", "a", NULL},
        {"leader.replication.throttled.replicas", "1", NULL},
        {"leader.replication.throttled.replicas", "1:", NULL},
        {"leader.replication.throttled.replicas", "1:2:3", NULL},
        {"leader.replication.throttled.replicas", "-1:2", NULL},
        {"leader.replication.throttled.replicas", "*,1:2", NULL},
        {"leader.replication.throttled.replicas", "*,*", NULL},
        {"leader.replication.throttled.replicas", "1:2,", "1:2,"},
        {"leader.replication.throttled.replicas", ",*", ",*"},
        {"min.cleanable.dirty.ratio", "NaN", "NaN"},
        {"min.cleanable.dirty.ratio", "1.1", NULL},
        {"leader.replication.throttled.replicas", "", ""},
        {"retention.ms", "-2", NULL},
        {"retention.ms", "-1", "-1"},
        {"retention.bytes", "-5", "-5"},
        {"segment.bytes", "1048575", NULL},
        {"segment.bytes", "1048576", "1048576"},
        {"segment.bytes", "2147483648", NULL},
        {"min.insync.replicas", "0", NULL},
        {"max.message.bytes", "-1", NULL},
        {"compression.gzip.level", "-1", "-1"},
        {"compression.gzip.level", "0", NULL},
        {"compression.gzip.level", "9", "9"},
        {"compression.gzip.level", "10", NULL},
        {"compression.zstd.level", "-131072", "-131072"},
    };
    check_values(&config_table_topic, cases, ARRAY_LEN(cases));
}

static void group_values_are_taken_as_kafka_takes_them(void **state)
{
    (void)state;
    static const struct value_case cases[] = {
        {"share.auto.offset.reset", "earliest", "earliest"},
        {"share.auto.offset.reset", "Earliest", NULL},
        {"share.auto.offset.reset", "by_duration:PT1H", "by_duration:PT1H"},
        {"share.auto.offset.reset", "by_duration:P1D", "by_duration:P1D"},
        {"share.auto.offset.reset", "by_duration:P1DT2H3M4.5S", "by_duration:P1DT2H3M4.5S"},
        {"share.auto.offset.reset", "by_duration:PT1.5S", "by_duration:PT1.5S"},
        {"share.auto.offset.reset", "by_duration:-PT1H", NULL},
        {"share.auto.offset.reset", "by_duration:x", NULL},
        {"share.auto.offset.reset", "by_duration:P1M", NULL},
        {"share.auto.offset.reset", "by_duration:PT", NULL},
        {"share.auto.offset.reset", "by_duration:", NULL},
        {"share.auto.offset.reset", "none", NULL},
        {"share.isolation.level", "READ_COMMITTED", NULL},
        {"share.delivery.count.limit", "1", NULL},
        {"share.delivery.count.limit", "2", "2"},
        {"streams.rack.aware.assignment.tags", "a,", NULL},
        {"errors.deadletterqueue.copy.record.enable", "yes", NULL},
    };
    check_values(&config_table_group_resource, cases, ARRAY_LEN(cases));
}

static void doubles_are_printed_as_java_prints_them(void **state)
{
    (void)state;
    static const struct {
        double value;
        const char *text;
    } cases[] = {
        {0.0, "0.0"},
        {-0.0, "-0.0"},
        {1.0, "1.0"},
        {0.5, "0.5"},
        {100.0, "100.0"},
        {1234567.0, "1234567.0"},
        {12345678.0, "1.2345678E7"},
        {0.001, "0.001"},
        {0.0001, "1.0E-4"},
        {0.8, "0.8"},
        {-2.25, "-2.25"},
        {1e100, "1.0E100"},
        {1234.5, "1234.5"},
        {0.012, "0.012"},
        {1.7976931348623157e308, "1.7976931348623157E308"},
    };
    struct arena arena;
    arena_init(&arena, 0);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_true(str_is(config_value_print_double(cases[i].value, &arena), cases[i].text));
    }
    arena_release(&arena);
}

/* ---- loading ---- */

/* What a small broker is given, less what a test adds. */
#define COMMON                                                                           \
    "process.roles=broker,controller\nnode.id=1\ncontroller.listener.names=CONTROLLER\n" \
    "controller.quorum.bootstrap.servers=127.0.0.1:9093\nlog.dirs=/tmp/x\n"
#define LISTENERS "listeners=PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093\n"

static struct config *load_text(const char *file, char *error, size_t cap)
{
    struct config_input in = {
        .file_name = "server.properties",
        .file = str_from(file),
    };
    struct config *c = NULL;
    error[0] = '\0';
    int err = config_load(&in, NULL, &c, error, cap);
    assert_true(err == 0 || (err == ERR_BAD_ARGUMENT && error[0] != '\0'));
    return err == 0 ? c : NULL;
}

static void expect_refused(const char *file, const char *word)
{
    char error[512];
    struct config *c = load_text(file, error, sizeof(error));
    if (c != NULL) {
        fail_msg("accepted: %s", file);
    }
    if (strstr(error, word) == NULL || strchr(error, '\n') != NULL) {
        fail_msg("%s: does not name %s: %s", file, word, error);
    }
}

static void expect_good(const char *file)
{
    char error[512];
    struct config *c = load_text(file, error, sizeof(error));
    if (c == NULL) {
        fail_msg("%s: %s", file, error);
    }
    config_free(c);
}

static void a_file_follows_kafkas_rules(void **state)
{
    (void)state;
    expect_good(COMMON LISTENERS);
    expect_good(COMMON LISTENERS "unknown.key=5\n");
    expect_good(COMMON LISTENERS "controller.quorum.voters=1@127.0.0.1:9093\n");
    expect_good(COMMON LISTENERS "log.cleanup.policy=\nlog.retention.ms=-1\nlog.dirs=/a,/a\n");
    expect_good(COMMON LISTENERS "num.network.threads= 4 \nlog.preallocate= TRUE\n");
    expect_good(COMMON LISTENERS "queued.max.request.bytes=0\nlog.retention.minutes=-1\n");
    expect_good(COMMON LISTENERS
                "max.connections.per.ip=0\nmax.connections.per.ip.overrides=127.0.0.1:5,h:6\n");
    static const char *const refused[][2] = {
        {"node.id=1\ncontroller.listener.names=CONTROLLER\n" LISTENERS, "process.roles"},
        {"process.roles=broker,controller\ncontroller.listener.names=C\n" LISTENERS, "node.id"},
        {"process.roles=broker,controller\nnode.id=1\n" LISTENERS, "controller.listener.names"},
        {COMMON LISTENERS "broker.id=2\n", "broker.id"},
        {COMMON LISTENERS "node.id=-1\n", "node.id"},
        {COMMON LISTENERS "process.roles=foo\n", "process.roles"},
        {COMMON LISTENERS "process.roles=\n", "process.roles"},
        {COMMON LISTENERS "process.roles=broker\n", "not supported yet"},
        {COMMON LISTENERS "process.roles=controller\n", "not supported yet"},
        {COMMON LISTENERS "controller.quorum.bootstrap.servers=\n", "controller.quorum"},
        {COMMON LISTENERS "controller.quorum.bootstrap.servers=a\n", "host:port"},
        {COMMON LISTENERS "controller.quorum.voters=2@127.0.0.1:9093\n", "node.id (1)"},
        {COMMON LISTENERS "controller.quorum.voters=1@\n", "id@host:port"},
        {COMMON LISTENERS "controller.quorum.voters=1@a:1,2@b:1\n", "not supported yet"},
        {COMMON LISTENERS "log.dirs=\n", "log.dirs"},
        {COMMON LISTENERS "log.dirs=/a,\n", "log.dirs"},
        {COMMON LISTENERS "log.retention.hours=0\n", "log.retention.hours"},
        {COMMON LISTENERS "log.retention.ms=0\n", "log.retention.ms"},
        {COMMON LISTENERS "log.roll.ms=0\n", "log.roll.ms"},
        {COMMON LISTENERS "log.roll.jitter.ms=-1\n", "log.roll.jitter.ms"},
        {COMMON LISTENERS "log.segment.bytes=100\n", "at least 1048576"},
        {COMMON LISTENERS "num.network.threads=x\n", "num.network.threads"},
        {COMMON LISTENERS "num.network.threads=\n", "num.network.threads"},
        {COMMON LISTENERS "num.network.threads=99999999999\n", "num.network.threads"},
        {COMMON LISTENERS "queued.max.request.bytes=5\n", "socket.request.max.bytes"},
        {COMMON LISTENERS "max.connections.per.ip=0\n", "max.connections.per.ip.overrides"},
        {COMMON LISTENERS "max.connections.per.ip.overrides=bad\n", "host:number"},
        {COMMON LISTENERS "replica.fetch.wait.max.ms=50000\n", "replica.socket.timeout.ms"},
        {COMMON LISTENERS "offsets.topic.compression.codec=9\n", "offsets.topic.compression.codec"},
        {COMMON LISTENERS "group.consumer.session.timeout.ms=1\n",
         "group.consumer.min.session.timeout.ms"},
        {COMMON LISTENERS "group.consumer.assignors=x\n", "group.consumer.assignors"},
        {COMMON LISTENERS "group.coordinator.rebalance.protocols=consumer\n", "classic"},
        {COMMON LISTENERS "principal.builder.class=Foo\n", "principal.builder.class"},
        {COMMON LISTENERS "authorizer.class.name=org.example.A\n", "authorizer.class.name"},
        {COMMON LISTENERS "log.cleaner.dedupe.buffer.size=10\n", "log.cleaner.dedupe.buffer.size"},
        {COMMON LISTENERS "compression.type=foo\n", "uncompressed, zstd"},
        {COMMON LISTENERS "a=\\u12\n", "line"},
    };
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        expect_refused(refused[i][0], refused[i][1]);
    }
}

static void listeners_follow_kafkas_rules(void **state)
{
    (void)state;
    expect_good(COMMON "listeners=PLAINTEXT://127.0.0.1:9092,CONTROLLER://[::1]:9092\n");
    expect_good(COMMON "listeners=plaintext://h:1,controller://:9093\n");
    expect_good(COMMON "listeners=PLAINTEXT://127.0.0.1:0,X://127.0.0.1:0,CONTROLLER://:0\n"
                       "listener.security.protocol.map=X:PLAINTEXT,PLAINTEXT:PLAINTEXT,"
                       "CONTROLLER:PLAINTEXT\n");
    static const char *const refused[][2] = {
        {"", "controller.listener.names"},
        {"listeners=PLAINTEXT://127.0.0.1:9092\n", "controller.listener.names"},
        {"listeners=CONTROLLER://127.0.0.1:9092\n", "listeners"},
        {"listeners=\n", "listeners"},
        {"listeners=bad\n", "NAME://host:port"},
        {"listeners=PLAINTEXT:9092,CONTROLLER://:9093\n", "NAME://host:port"},
        {"listeners=PLAINTEXT://h:x,CONTROLLER://:9093\n", "NAME://host:port"},
        {"listeners=PLAINTEXT://h:70000,CONTROLLER://:9093\n", "65535"},
        {"listeners=PLAINTEXT://0.0.0.0:9092,CONTROLLER://:9093\n", "0.0.0.0"},
        {"listeners=PLAINTEXT://:9092,PLAINTEXT2://:9094,CONTROLLER://:9093\n", "PLAINTEXT2"},
        {"listeners=PLAINTEXT://:9092,CONTROLLER://:9092\n", "different port"},
        {"listeners=PLAINTEXT://:9092,PLAINTEXT://:9094,CONTROLLER://:9093\n", "different name"},
        {"listeners=SSL://h:1,CONTROLLER://:9093\n", "not supported yet"},
        {LISTENERS "advertised.listeners=FOO://h:9092\n", "FOO"},
        {LISTENERS "advertised.listeners=SSL://h:9092\n", "SSL"},
        {LISTENERS "advertised.listeners=CONTROLLER://h:9093\n", "advertised.listeners"},
        {LISTENERS "advertised.listeners=PLAINTEXT://0.0.0.0:9092\n", "0.0.0.0"},
        {LISTENERS "advertised.listeners=PLAINTEXT://h:1,PLAINTEXT://g:1\n", "twice"},
        {LISTENERS "inter.broker.listener.name=FOO\n", "FOO"},
        {LISTENERS "inter.broker.listener.name=CONTROLLER\n", "CONTROLLER"},
        {LISTENERS "security.inter.broker.protocol=SSL\n", "SSL"},
        {LISTENERS
         "inter.broker.listener.name=PLAINTEXT\nsecurity.inter.broker.protocol=PLAINTEXT\n",
         "only one"},
        {LISTENERS "listener.security.protocol.map=PLAINTEXT:PLAINTEXT\n", "CONTROLLER"},
        {LISTENERS "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:FOO\n", "FOO"},
        {LISTENERS "listener.security.protocol.map=bad\n", "bad"},
    };
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        char text[1024];
        snprintf(text, sizeof(text), "%s%s", COMMON, refused[i][0]);
        expect_refused(text, refused[i][1]);
    }
}

static void listeners_are_bound_and_advertised_as_told(void **state)
{
    (void)state;
    struct config_input in = {
        .file_name = "f",
        .file = STR(COMMON "listeners=PLAINTEXT://[::1]:9092,ext://:0,CONTROLLER://:9093\n"
                           "listener.security.protocol.map=EXT:PLAINTEXT,PLAINTEXT:PLAINTEXT,"
                           "CONTROLLER:PLAINTEXT\n"),
        .machine_name = STR("box.example"),
    };
    struct config *c;
    char error[512];
    assert_int_equal(config_load(&in, NULL, &c, error, sizeof(error)), 0);
    const struct config_listener *list;
    size_t count;
    config_listeners(c, &list, &count);
    assert_int_equal(count, 3);
    assert_true(str_is(list[0].name, "PLAINTEXT") && str_is(list[0].host, "::1"));
    assert_true(list[0].port == 9092 && str_is(list[0].advertised_host, "::1"));
    assert_true(str_is(list[1].name, "EXT") && str_is(list[1].host, ""));
    assert_true(list[1].port == 0 && str_is(list[1].advertised_host, "box.example"));
    assert_true(list[2].is_controller);
    assert_ptr_equal(config_controller_listener(c), &list[2]);
    config_free(c);

    in.file = STR(COMMON LISTENERS "advertised.listeners=PLAINTEXT://far.example:19092\n");
    assert_int_equal(config_load(&in, NULL, &c, error, sizeof(error)), 0);
    config_listeners(c, &list, &count);
    assert_true(str_is(list[0].advertised_host, "far.example"));
    assert_int_equal(list[0].advertised_port, 19092);
    assert_false(list[1].is_advertised);
    config_free(c);
}

static void without_a_file_there_is_a_whole_broker(void **state)
{
    (void)state;
    struct config_input in = {0};
    struct config *c;
    char error[512];
    assert_int_equal(config_load(&in, NULL, &c, error, sizeof(error)), 0);
    assert_int_equal(config_node_id(c), 1);
    assert_int_equal(config_get_int(c, "broker.id"), 1);
    assert_int_equal(config_get_int(c, "offsets.topic.replication.factor"), 1);
    assert_int_equal(config_get_int(c, "transaction.state.log.min.isr"), 1);
    assert_false(config_is_set(c, "node.id"));
    assert_int_equal(config_get_int(c, "log.retention.ms"), CONFIG_NOT_SET);
    assert_true(config_auto_create_topics_enable(c));
    assert_int_equal(config_max_request_partition_size_limit(c), 2000);
    struct arena arena;
    arena_init(&arena, 0);
    struct str *dirs;
    size_t count;
    config_get_list(c, "log.dirs", &arena, &dirs, &count);
    assert_true(count == 1 && str_is(dirs[0], "./jackdaw-data"));
    const struct config_listener *list;
    config_listeners(c, &list, &count);
    assert_true(count == 1 && str_is(list[0].host, "127.0.0.1") && list[0].port == 9092);
    assert_null(config_controller_listener(c));
    config_set_node_id(c, 7);
    assert_int_equal(config_node_id(c), 7);
    assert_int_equal(config_get_int(c, "broker.id"), 7);
    arena_release(&arena);
    config_free(c);
}

static void the_command_line_wins_over_the_file_and_the_file_over_the_environment(void **state)
{
    (void)state;
    char *const environment[] = {
        (char[]){"KAFKA_NUM_PARTITIONS=2"},
        (char[]){"KAFKA_LOG_SEGMENT_BYTES=2000000"},
        (char[]){"KAFKA_LOG_RETENTION_MS=77"},
        (char[]){"KAFKA_HEAP_OPTS=-Xmx1g"},
        (char[]){"KAFKA_NO_SUCH=1"},
        (char[]){"HOME=/"},
        NULL,
    };
    static const char *const overrides[] = {"num.partitions=8", "num.partitions=9", "a.b=c=d"};
    struct config_input in = {
        .file_name = "f",
        .file = STR(COMMON LISTENERS "num.partitions=3\nlog.segment.bytes=3000000\n"
                                     "num.partitions=4\n"),
        .environment = environment,
        .overrides = overrides,
        .overrides_count = ARRAY_LEN(overrides),
        .data = "/data",
    };
    struct config *c;
    char error[512];
    assert_int_equal(config_load(&in, NULL, &c, error, sizeof(error)), 0);
    assert_int_equal(config_get_int(c, "num.partitions"), 9);
    assert_int_equal(config_get_int(c, "log.segment.bytes"), 3000000);
    assert_int_equal(config_get_int(c, "log.retention.ms"), 77);
    assert_true(str_is(config_get_str(c, "log.dirs"), "/data"));
    assert_true(str_is(config_entry(c, STR("a.b"))->text, "c=d"));
    assert_null(config_entry(c, STR("heap.opts")));
    assert_null(config_entry(c, STR("no.such")));
    config_free(c);
    static const char *const bad[] = {"nothing"};
    in.overrides = bad;
    in.overrides_count = 1;
    assert_int_equal(config_load(&in, NULL, &c, error, sizeof(error)), ERR_BAD_ARGUMENT);
    assert_non_null(strstr(error, "KEY=VALUE"));
}

static void variables_become_keys_as_in_kafkas_image(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        {"KAFKA_LOG_RETENTION_MS", "log.retention.ms"},
        {"KAFKA_A__B___C_D", "a_b-c.d"},
        {"KAFKA_NODE_ID", "node.id"},
        {"KAFKA_JMX_PORT", NULL},
        {"KAFKA_LOG4J_ROOT_LOGLEVEL", NULL},
        {"KAFKA_OPTS", NULL},
        {"PATH", NULL},
    };
    struct arena arena;
    arena_init(&arena, 0);
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        struct str key = config_load_environment_key(str_from(pairs[i][0]), &arena);
        assert_true(str_equal(key, str_from(pairs[i][1])));
    }
    arena_release(&arena);
}

static void listen_takes_the_place_of_the_first_listener_for_clients(void **state)
{
    (void)state;
    struct config_input in = {
        .file_name = "f",
        .file = STR(COMMON LISTENERS "advertised.listeners=PLAINTEXT://far:1\n"),
        .listen = "[::1]:5",
    };
    struct config *c;
    char error[512];
    assert_int_equal(config_load(&in, NULL, &c, error, sizeof(error)), 0);
    assert_true(
        str_is(config_get_str(c, "listeners"), "PLAINTEXT://[::1]:5,CONTROLLER://127.0.0.1:9093"));
    const struct config_listener *list;
    size_t count;
    config_listeners(c, &list, &count);
    assert_true(str_is(list[0].advertised_host, "::1"));
    config_free(c);
    static const char *const bad[] = {"9092", "h:x", "h:70000", "a b:1"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        in.listen = bad[i];
        assert_int_equal(config_load(&in, NULL, &c, error, sizeof(error)), ERR_BAD_ARGUMENT);
        assert_non_null(strstr(error, "HOST:PORT"));
    }
    in.listen = NULL;
    in.is_ephemeral = true;
    assert_int_equal(config_load(&in, NULL, &c, error, sizeof(error)), 0);
    config_listeners(c, &list, &count);
    assert_int_equal(list[0].port, 0);
    assert_int_equal(config_get_int(c, "log.flush.interval.messages"), INT64_MAX);
    assert_int_equal(config_get_int(c, "group.initial.rebalance.delay.ms"), 0);
    config_free(c);
}

static void ephemeral_data_has_no_other_place(void **state)
{
    (void)state;
    static const char *const keys[] = {"log.dirs=/x", "log.dir=/x", "metadata.log.dir=/x"};
    static const char *const variables[] = {"KAFKA_LOG_DIRS=/x", "KAFKA_LOG_DIR=/x",
                                            "KAFKA_METADATA_LOG_DIR=/x", NULL};
    char *environment[ARRAY_LEN(variables)] = {NULL};
    for (size_t i = 0; variables[i] != NULL; i++) {
        environment[i] = mem_strdup(variables[i]);
    }
    struct config_input in = {.is_ephemeral = true, .data = "/own", .environment = environment};
    struct config *c;
    char error[512];
    assert_int_equal(config_load(&in, NULL, &c, error, sizeof(error)), 0);
    assert_true(str_is(config_get_str(c, "log.dirs"), "/own"));
    assert_null(config_entry(c, STR("metadata.log.dir")));
    config_free(c);
    in.overrides_count = 1;
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        in.overrides = &keys[i];
        assert_int_equal(config_load(&in, NULL, &c, error, sizeof(error)), ERR_BAD_ARGUMENT);
        assert_non_null(strstr(error, "--ephemeral has a directory of its own"));
    }
    in.overrides_count = 0;
    in.file = STR(COMMON LISTENERS "log.dirs=/x\n"); /* a server's own file may be tried out */
    assert_int_equal(config_load(&in, NULL, &c, error, sizeof(error)), 0);
    config_free(c);
    in.file = STR(COMMON LISTENERS "metadata.log.dir=/x\n");
    assert_int_equal(config_load(&in, NULL, &c, error, sizeof(error)), ERR_BAD_ARGUMENT);
    assert_non_null(strstr(error, "metadata.log.dir"));
    for (size_t i = 0; environment[i] != NULL; i++) {
        mem_free(environment[i]);
    }
}

/* ---- topics ---- */

struct dynamic {
    enum config_resource_type type;
    const char *resource;
    const char *key;
    const char *value;
};

static struct image *image_with(const struct dynamic *all, size_t count)
{
    struct arena arena;
    arena_init(&arena, 0);
    struct meta_records records;
    meta_records_init(&records, &arena);
    for (size_t i = 0; i < count; i++) {
        struct config_record rec = config_record_default;
        rec.resource_type = (int8_t)all[i].type;
        rec.resource_name = str_from(all[i].resource);
        rec.name = str_from(all[i].key);
        rec.value = str_from(all[i].value);
        assert_int_equal(meta_records_add(&records, &config_record_msg, 0, &rec), 0);
    }
    struct image *empty = image_new_empty();
    struct image_delta *d = image_delta_new(empty);
    for (size_t i = 0; i < records.count; i++) {
        assert_int_equal(image_delta_replay(d, records.items[i]), 0);
    }
    struct image *im = image_delta_finish(d, 1, 1);
    image_unref(empty);
    arena_release(&arena);
    return im;
}

static struct config *config_from(const char *more)
{
    char text[1024];
    snprintf(text, sizeof(text), "%s%s", COMMON LISTENERS, more);
    char error[512];
    struct config *c = load_text(text, error, sizeof(error));
    assert_non_null(c);
    return c;
}

static void topic_numbers_come_from_the_nearest_place(void **state)
{
    (void)state;
    struct config *c = config_from("log.retention.hours=2\nlog.segment.bytes=2000000\n"
                                   "log.cleanup.policy=compact\ncompression.type=lz4\n"
                                   "compression.lz4.level=3\n");
    static const struct dynamic all[] = {
        {CONFIG_RESOURCE_BROKER, "", "message.max.bytes", "111"},
        {CONFIG_RESOURCE_BROKER, "", "log.segment.bytes", "3000000"},
        {CONFIG_RESOURCE_BROKER, "1", "log.segment.bytes", "4000000"},
        {CONFIG_RESOURCE_BROKER, "2", "log.segment.bytes", "5000000"},
        {CONFIG_RESOURCE_BROKER, "1", "log.index.interval.bytes", "damaged"},
        {CONFIG_RESOURCE_TOPIC, "t", "segment.bytes", "6000000"},
        {CONFIG_RESOURCE_TOPIC, "t", "retention.ms", " 5 "},
        {CONFIG_RESOURCE_TOPIC, "t", "cleanup.policy", "delete"},
        {CONFIG_RESOURCE_TOPIC, "t", "message.timestamp.type", "LogAppendTime"},
        {CONFIG_RESOURCE_TOPIC, "t", "compression.type", "zstd"},
        {CONFIG_RESOURCE_TOPIC, "t", "preallocate", "true"},
        {CONFIG_RESOURCE_TOPIC, "t", "min.insync.replicas", "2"},
    };
    struct image *im = image_with(all, ARRAY_LEN(all));
    struct topic_effective te;
    config_topic_effective(c, im, STR("other"), &te);
    assert_int_equal(te.plog.retention_ms, 2 * 3600 * 1000);
    assert_int_equal(te.plog.segment_bytes, 4000000);
    assert_int_equal(te.plog.rules.max_message_bytes, 111);
    assert_int_equal(te.plog.index_interval_bytes, 4096);
    assert_int_equal(te.plog.segment_ms, 604800000);
    assert_int_equal(te.plog.segment_jitter_ms, 0);
    assert_int_equal(te.plog.segment_index_bytes, 10485760);
    assert_int_equal(te.plog.retention_bytes, -1);
    assert_int_equal(te.plog.file_delete_delay_ms, 60000);
    assert_int_equal(te.plog.producer_id_expiration_ms, 86400000);
    assert_int_equal(te.plog.rules.timestamp_after_max_ms, 3600000);
    assert_true(te.plog.rules.timestamp_before_max_ms == INT64_MAX);
    assert_int_equal(te.plog.rules.max_decompressed_bytes, 2147483639);
    assert_true(te.is_compact_policy && te.plog.rules.is_compacted && !te.plog.is_delete_policy);
    assert_true(te.plog.rules.codec == CODEC_LZ4 && te.plog.rules.level == 3);
    assert_false(te.plog.rules.keeps_codec || te.plog.rules.is_log_append_time);
    assert_int_equal(te.min_insync_replicas, 1);
    assert_true(te.is_durable && te.flush_messages == INT64_MAX);
    config_topic_effective(c, im, STR("t"), &te);
    assert_int_equal(te.plog.retention_ms, 5);
    assert_int_equal(te.plog.segment_bytes, 6000000);
    assert_true(te.plog.is_delete_policy && !te.is_compact_policy && !te.plog.rules.is_compacted);
    assert_true(te.plog.rules.codec == CODEC_ZSTD && te.plog.rules.level == 3);
    assert_true(te.plog.rules.is_log_append_time && te.plog.preallocate);
    assert_int_equal(te.min_insync_replicas, 2);
    image_unref(im);
    config_free(c);
}

static void retention_by_milliseconds_minutes_and_hours_in_this_order(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t expected;
    } cases[] = {
        {"", 604800000},
        {"log.retention.hours=1\n", 3600000},
        {"log.retention.hours=1\nlog.retention.minutes=1\n", 60000},
        {"log.retention.hours=1\nlog.retention.minutes=1\nlog.retention.ms=1\n", 1},
        {"log.retention.ms=-2\n", -1},
        {"log.retention.hours=-1\n", -1},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct config *c = config_from(cases[i].text);
        struct topic_effective te;
        config_topic_effective(c, NULL, STR("t"), &te);
        assert_int_equal(te.plog.retention_ms, cases[i].expected);
        config_free(c);
    }
    struct config *c = config_from("log.roll.hours=2\nlog.roll.jitter.hours=1\n"
                                   "log.flush.scheduler.interval.ms=9\n");
    struct topic_effective te;
    config_topic_effective(c, NULL, STR("t"), &te);
    assert_int_equal(te.plog.segment_ms, 7200000);
    assert_int_equal(te.plog.segment_jitter_ms, 3600000);
    assert_int_equal(te.flush_ms, 9);
    config_free(c);
}

static void acks_wait_for_the_disk_unless_somebody_set_the_flush_key(void **state)
{
    (void)state;
    static const struct dynamic topic[] = {
        {CONFIG_RESOURCE_TOPIC, "t", "flush.messages", "9223372036854775807"}};
    static const struct dynamic cluster[] = {
        {CONFIG_RESOURCE_BROKER, "", "log.flush.interval.messages", "10"}};
    struct config *c = config_from("");
    struct topic_effective te;
    struct image *im = image_with(topic, 1);
    config_topic_effective(c, im, STR("t"), &te);
    assert_false(te.is_durable);
    config_topic_effective(c, im, STR("u"), &te);
    assert_true(te.is_durable);
    image_unref(im);
    im = image_with(cluster, 1);
    config_topic_effective(c, im, STR("u"), &te);
    assert_true(!te.is_durable && te.flush_messages == 10);
    image_unref(im);
    config_free(c);
    c = config_from("log.flush.interval.messages=9223372036854775807\n");
    config_topic_effective(c, NULL, STR("u"), &te);
    assert_false(te.is_durable);
    config_free(c);
}

static void topic_configs_are_refused_as_kafka_refuses_them(void **state)
{
    (void)state;
    struct config *c = config_from("log.cleaner.max.compaction.lag.ms=100\n");
    static const struct {
        const char *key;
        const char *value;
        enum kafka_error error;
    } cases[] = {
        {"no.such", "1", KAFKA_ERROR_INVALID_CONFIG},
        {"retention.ms", "x", KAFKA_ERROR_INVALID_CONFIG},
        {"retention.ms", "1", KAFKA_ERROR_NONE},
        {"cleanup.policy", "compact,burn", KAFKA_ERROR_INVALID_CONFIG},
        {"min.compaction.lag.ms", "101", KAFKA_ERROR_INVALID_CONFIG},
        {"min.compaction.lag.ms", "100", KAFKA_ERROR_NONE},
        {"remote.storage.enable", "true", KAFKA_ERROR_INVALID_CONFIG},
        {"remote.storage.enable", "false", KAFKA_ERROR_NONE},
        {"message.format.version", "3.0", KAFKA_ERROR_INVALID_CONFIG},
        {"internal.segment.bytes", "100", KAFKA_ERROR_NONE},
    };
    struct arena arena;
    arena_init(&arena, 0);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct image_config one = {str_from(cases[i].key), str_from(cases[i].value)};
        struct str message = {0};
        assert_int_equal(config_topic_check(c, NULL, &one, 1, &arena, &message), cases[i].error);
        assert_int_equal(str_is_null(message), cases[i].error == KAFKA_ERROR_NONE);
    }
    arena_release(&arena);
    config_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_sorted_and_print_their_defaults_as_kafka_does),
        cmocka_unit_test(every_key_of_kafka_is_there_once),
        cmocka_unit_test(a_mistyped_key_finds_its_neighbour),
        cmocka_unit_test(topic_values_are_taken_as_kafka_takes_them),
        cmocka_unit_test(group_values_are_taken_as_kafka_takes_them),
        cmocka_unit_test(doubles_are_printed_as_java_prints_them),
        cmocka_unit_test(a_file_follows_kafkas_rules),
        cmocka_unit_test(listeners_follow_kafkas_rules),
        cmocka_unit_test(listeners_are_bound_and_advertised_as_told),
        cmocka_unit_test(without_a_file_there_is_a_whole_broker),
        cmocka_unit_test(the_command_line_wins_over_the_file_and_the_file_over_the_environment),
        cmocka_unit_test(variables_become_keys_as_in_kafkas_image),
        cmocka_unit_test(listen_takes_the_place_of_the_first_listener_for_clients),
        cmocka_unit_test(ephemeral_data_has_no_other_place),
        cmocka_unit_test(topic_numbers_come_from_the_nearest_place),
        cmocka_unit_test(retention_by_milliseconds_minutes_and_hours_in_this_order),
        cmocka_unit_test(acks_wait_for_the_disk_unless_somebody_set_the_flush_key),
        cmocka_unit_test(topic_configs_are_refused_as_kafka_refuses_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
