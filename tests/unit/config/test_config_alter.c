/* AlterConfigs and IncrementalAlterConfigs without a network: requests against images that are
 * built from records, answers and records compared with what a Kafka 4.4.0 answered and wrote.
 * Records are replayed, so that a second request sees what the first one did. */
#include "unit.h"

#include "base/err.h"
#include "config/config_alter.h"
#include "config/config_load.h"
#include "wire/gen/messages.h"

struct world {
    struct arena arena;
    struct config *c;
    struct image *im;
    size_t records_count; /* of the last request */
    struct meta_records records;
    char log_level[16];
};

static struct image *replay(struct image *im, const struct meta_records *records)
{
    struct image_delta *d = image_delta_new(im);
    for (size_t i = 0; i < records->count; i++) {
        assert_int_equal(image_delta_replay(d, records->items[i]), 0);
    }
    struct image *next = image_delta_finish(d, image_offset(im) + 1, 1);
    image_unref(im);
    return next;
}

static void begin(struct world *w)
{
    *w = (struct world){0};
    arena_init(&w->arena, 0);
    struct config_input in = {0};
    char error[512];
    assert_int_equal(config_load(&in, NULL, &w->c, error, sizeof(error)), 0);
    struct meta_records records;
    meta_records_init(&records, &w->arena);
    static const char *const topics[] = {"ta", "tb", "x", "y"};
    for (size_t i = 0; i < ARRAY_LEN(topics); i++) {
        struct topic_record topic = topic_record_default;
        topic.name = str_from(topics[i]);
        topic.topic_id.bytes[15] = (uint8_t)(i + 1);
        assert_int_equal(meta_records_add(&records, &topic_record_msg, 0, &topic), 0);
    }
    struct feature_level_record elr = feature_level_record_default;
    elr.name = STR("eligible.leader.replicas.version");
    elr.feature_level = 1;
    assert_int_equal(meta_records_add(&records, &feature_level_record_msg, 0, &elr), 0);
    struct config_record isr = config_record_default;
    isr.resource_type = CONFIG_RESOURCE_BROKER;
    isr.name = STR("min.insync.replicas");
    isr.value = STR("1");
    assert_int_equal(meta_records_add(&records, &config_record_msg, 0, &isr), 0);
    w->im = replay(image_new_empty(), &records);
}

static void end(struct world *w)
{
    image_unref(w->im);
    config_free(w->c);
    arena_release(&w->arena);
}

static void set_log_level(void *ctx, struct str level)
{
    struct world *w = ctx;
    snprintf(w->log_level, sizeof(w->log_level), STR_FMT, STR_ARG(level));
}

/* One resource; changes as key, operation, value triples in `changes`. */
struct wish {
    int8_t type;
    const char *name;
    struct config_change changes[4];
    size_t count;
    enum kafka_error expected;
};

#define CHANGE(key, op, text)                                                                     \
    {                                                                                             \
        .name = {(key), sizeof(key) - 1}, .operation = (op), .value = {(text), sizeof(text) - 1 } \
    }
#define NO_VALUE(key, op)                                   \
    {                                                       \
        .name = {(key), sizeof(key) - 1}, .operation = (op) \
    }

static void run(struct world *w,
                enum config_alter_mode mode,
                bool is_validate_only,
                const struct wish *wishes,
                size_t count)
{
    struct config_alteration *items = arena_alloc(&w->arena, count * sizeof(*items));
    for (size_t i = 0; i < count; i++) {
        items[i].type = wishes[i].type;
        items[i].name = str_from(wishes[i].name);
        items[i].changes_count = wishes[i].count;
        items[i].changes = arena_alloc(&w->arena, 4 * sizeof(struct config_change));
        memcpy(items[i].changes, wishes[i].changes, wishes[i].count * sizeof(struct config_change));
    }
    struct config_alter ca = {
        .c = w->c,
        .mode = mode,
        .is_validate_only = is_validate_only,
        .items = items,
        .count = count,
        .arena = &w->arena,
        .set_log_level = set_log_level,
        .ctx = w,
    };
    struct meta_records records;
    meta_records_init(&records, &w->arena);
    assert_int_equal(config_alter_decide(&ca, w->im, &records), 0);
    for (size_t i = 0; i < count; i++) {
        if (items[i].error != wishes[i].expected) {
            fail_msg("resource %zu (%s): %d instead of %d: " STR_FMT, i, wishes[i].name,
                     (int)items[i].error, (int)wishes[i].expected, STR_ARG(items[i].message));
        }
        bool has_message = !str_is_null(items[i].message) && items[i].message.len > 0;
        assert_int_equal(has_message, items[i].error > 0);
    }
    w->records_count = records.count;
    w->records = records;
    w->im = replay(w->im, &records);
}
#define RUN(w, mode, ...)                                       \
    run((w), (mode), false, (const struct wish[]){__VA_ARGS__}, \
        ARRAY_LEN(((const struct wish[]){__VA_ARGS__})))

static void expect_config(struct world *w,
                          enum config_resource_type type,
                          const char *resource,
                          const char *key,
                          const char *value)
{
    struct str got = image_config_value(w->im, type, str_from(resource), str_from(key));
    if (!str_equal(got, str_from(value))) {
        fail_msg("%s of %s is '" STR_FMT "'", key, resource, STR_ARG(got));
    }
}

#define T  CONFIG_RESOURCE_TOPIC
#define B  CONFIG_RESOURCE_BROKER
#define L  CONFIG_RESOURCE_BROKER_LOGGER
#define G  CONFIG_RESOURCE_GROUP
#define CM CONFIG_RESOURCE_CLIENT_METRICS

#define NONE            KAFKA_ERROR_NONE
#define INVALID_REQUEST KAFKA_ERROR_INVALID_REQUEST
#define INVALID_CONFIG  KAFKA_ERROR_INVALID_CONFIG
#define INVALID_TOPIC   KAFKA_ERROR_INVALID_TOPIC_EXCEPTION
#define UNKNOWN_TOPIC   KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION

static void values_are_set_and_deleted(void **state)
{
    (void)state;
    struct world w;
    begin(&w);
    RUN(&w, CONFIG_ALTER_INCREMENTAL,
        {T,
         "ta",
         {CHANGE("retention.ms", CONFIG_SET, " 5 "), NO_VALUE("segment.ms", CONFIG_DELETE)},
         2,
         NONE});
    expect_config(&w, T, "ta", "retention.ms", " 5 ");
    assert_int_equal(w.records_count, 1); /* what was not set is not deleted */
    RUN(&w, CONFIG_ALTER_INCREMENTAL,
        {T, "ta", {CHANGE("retention.ms", CONFIG_SET, " 5 ")}, 1, NONE});
    assert_int_equal(w.records_count, 0);
    RUN(&w, CONFIG_ALTER_INCREMENTAL,
        {T, "ta", {CHANGE("retention.ms", CONFIG_DELETE, "x")}, 1, NONE});
    assert_int_equal(w.records_count, 1);
    expect_config(&w, T, "ta", "retention.ms", NULL);
    RUN(&w, CONFIG_ALTER_INCREMENTAL, {T, "ta", {{{0}}}, 0, NONE});
    end(&w);
}

static void a_broker_gets_a_record_even_when_nothing_changes(void **state)
{
    (void)state;
    struct world w;
    begin(&w);
    for (int i = 0; i < 2; i++) {
        RUN(&w, CONFIG_ALTER_INCREMENTAL,
            {B, "1", {CHANGE("log.retention.ms", CONFIG_SET, "600000")}, 1, NONE});
        assert_int_equal(w.records_count, 1);
    }
    end(&w);
}

static void lists_grow_from_their_default_and_shrink_to_nothing(void **state)
{
    (void)state;
    struct world w;
    begin(&w);
    RUN(&w, CONFIG_ALTER_INCREMENTAL,
        {T, "ta", {CHANGE("cleanup.policy", CONFIG_APPEND, "compact")}, 1, NONE});
    expect_config(&w, T, "ta", "cleanup.policy", "delete,compact");
    RUN(&w, CONFIG_ALTER_INCREMENTAL,
        {T, "ta", {CHANGE("cleanup.policy", CONFIG_APPEND, "compact")}, 1, NONE});
    expect_config(&w, T, "ta", "cleanup.policy", "delete,compact");
    RUN(&w, CONFIG_ALTER_INCREMENTAL,
        {T, "ta", {CHANGE("cleanup.policy", CONFIG_SUBTRACT, "nothing")}, 1, NONE});
    expect_config(&w, T, "ta", "cleanup.policy", "delete,compact");
    RUN(&w, CONFIG_ALTER_INCREMENTAL,
        {T, "ta", {CHANGE("cleanup.policy", CONFIG_SUBTRACT, "compact,delete, delete")}, 1, NONE});
    expect_config(&w, T, "ta", "cleanup.policy", "");
    RUN(&w, CONFIG_ALTER_INCREMENTAL,
        {T,
         "tb",
         {CHANGE("leader.replication.throttled.replicas", CONFIG_APPEND, "0:1,1:1")},
         1,
         NONE},
        {B, "", {CHANGE("log.cleanup.policy", CONFIG_APPEND, "compact")}, 1, NONE});
    expect_config(&w, T, "tb", "leader.replication.throttled.replicas", "0:1,1:1");
    expect_config(&w, B, "", "log.cleanup.policy", "delete,compact");
    RUN(&w, CONFIG_ALTER_INCREMENTAL,
        {T, "x", {CHANGE("cleanup.policy", CONFIG_APPEND, "compact,compact")}, 1, NONE});
    expect_config(&w, T, "x", "cleanup.policy", "delete,compact");
    RUN(&w, CONFIG_ALTER_INCREMENTAL,
        {T, "ta", {CHANGE("cleanup.policy", CONFIG_APPEND, "")}, 1, NONE}, /* "" as before */
        {T, "tb", {CHANGE("cleanup.policy", CONFIG_APPEND, "")}, 1, INVALID_CONFIG},
        {T, "x", {CHANGE("cleanup.policy", CONFIG_APPEND, ",compact")}, 1, INVALID_CONFIG},
        {B, "", {CHANGE("log.cleanup.policy", CONFIG_APPEND, "")}, 1, INVALID_REQUEST});
    RUN(&w, CONFIG_ALTER_INCREMENTAL,
        {T, "tb", {CHANGE("cleanup.policy", CONFIG_APPEND, "delete,,")}, 1, NONE});
    RUN(&w, CONFIG_ALTER_INCREMENTAL,
        {T, "ta", {CHANGE("retention.ms", CONFIG_APPEND, "1")}, 1, INVALID_CONFIG},
        {T, "tb", {CHANGE("no.such", CONFIG_SUBTRACT, "1")}, 1, INVALID_CONFIG},
        {B, "1", {CHANGE("num.io.threads", CONFIG_APPEND, "1")}, 1, INVALID_CONFIG},
        {B, "", {CHANGE("unknown.key", CONFIG_SUBTRACT, "1")}, 1, INVALID_CONFIG},
        {G,
         "g",
         {CHANGE("streams.rack.aware.assignment.tags", CONFIG_APPEND, "a")},
         1,
         INVALID_CONFIG},
        {CM, "m", {CHANGE("metrics", CONFIG_APPEND, "a")}, 1, INVALID_CONFIG});
    end(&w);
}

static void twins_and_nulls_are_refused_before_all_else(void **state)
{
    (void)state;
    struct world w;
    begin(&w);
    RUN(&w, CONFIG_ALTER_INCREMENTAL, {T, "ta", {{{0}}}, 0, INVALID_REQUEST},
        {T,
         "tb",
         {CHANGE("retention.ms", CONFIG_SET, "1"), NO_VALUE("retention.ms", CONFIG_DELETE)},
         2,
         INVALID_REQUEST},
        {T, "ta", {CHANGE("retention.ms", CONFIG_SET, "1")}, 1, INVALID_REQUEST},
        {G, "ta", {{{0}}}, 0, NONE}, {T, "ta", {{{0}}}, 0, INVALID_REQUEST});
    assert_int_equal(w.records_count, 0);
    RUN(&w, CONFIG_ALTER_INCREMENTAL,
        {T, "gone", {NO_VALUE("no.such", CONFIG_SET)}, 1, INVALID_REQUEST},
        {T, "tb", {NO_VALUE("cleanup.policy", CONFIG_APPEND)}, 1, INVALID_REQUEST});
    end(&w);
}

static void each_resource_stands_for_itself(void **state)
{
    (void)state;
    struct world w;
    begin(&w);
    RUN(&w, CONFIG_ALTER_INCREMENTAL,
        {T, "gone", {CHANGE("no.such", CONFIG_SET, "1")}, 1, INVALID_CONFIG},
        {T, "bad/name", {CHANGE("no.such", CONFIG_SET, "1")}, 1, INVALID_TOPIC},
        {T, "", {{{0}}}, 0, INVALID_REQUEST}, {T, "gone2", {{{0}}}, 0, UNKNOWN_TOPIC},
        {T, "__cluster_metadata", {{{0}}}, 0, UNKNOWN_TOPIC},
        {T, "ta", {NO_VALUE("no.such", CONFIG_DELETE)}, 1, NONE},
        {T,
         "tb",
         {CHANGE("retention.ms", CONFIG_SET, "7"), CHANGE("flush.ms", CONFIG_SET, "x")},
         2,
         INVALID_CONFIG},
        {G, "g", {CHANGE("consumer.session.timeout.ms", CONFIG_SET, "50000")}, 1, NONE},
        {99, "x", {{{0}}}, 0, INVALID_REQUEST});
    assert_int_equal(w.records_count, 1);
    expect_config(&w, T, "tb", "retention.ms", NULL);
    expect_config(&w, G, "g", "consumer.session.timeout.ms", "50000");
    end(&w);
}

static void an_unknown_operation_spoils_what_goes_to_the_controller(void **state)
{
    (void)state;
    struct world w;
    begin(&w);
    RUN(&w, CONFIG_ALTER_INCREMENTAL,
        {T, "ta", {CHANGE("retention.ms", 7, "1")}, 1, KAFKA_ERROR_UNKNOWN_SERVER_ERROR},
        {B, "1", {CHANGE("node.id", CONFIG_SET, "1")}, 1, INVALID_REQUEST},
        {G,
         "g",
         {CHANGE("consumer.session.timeout.ms", CONFIG_SET, "50000")},
         1,
         KAFKA_ERROR_UNKNOWN_SERVER_ERROR});
    assert_int_equal(w.records_count, 0);
    RUN(&w, CONFIG_ALTER_INCREMENTAL,
        {B, "1", {CHANGE("log.retention.ms", 7, "1")}, 1, INVALID_REQUEST},
        {T, "ta", {CHANGE("retention.ms", CONFIG_SET, "100000")}, 1, NONE});
    assert_int_equal(w.records_count, 1);
    end(&w);
}

static void brokers_refuse_what_cannot_change_while_they_run(void **state)
{
    (void)state;
    static const struct {
        const char *resource;
        struct config_change change;
        enum kafka_error expected;
    } cases[] = {
        {"1", CHANGE("node.id", CONFIG_SET, "1"), INVALID_REQUEST},
        {"1", NO_VALUE("node.id", CONFIG_DELETE), NONE},
        {"2", CHANGE("log.retention.ms", CONFIG_SET, "1"), INVALID_REQUEST},
        {"x", CHANGE("log.retention.ms", CONFIG_SET, "1"), INVALID_REQUEST},
        {"", CHANGE("listeners", CONFIG_SET, "PLAINTEXT://:1"), INVALID_REQUEST},
        {"1", CHANGE("listeners", CONFIG_SET, "PLAINTEXT://:1"), INVALID_REQUEST},
        {"1", CHANGE("listeners", CONFIG_SET, "PLAINTEXT://127.0.0.1:9092"), NONE},
        {"1", CHANGE("num.io.threads", CONFIG_SET, "17"), INVALID_REQUEST},
        {"1", CHANGE("num.io.threads", CONFIG_SET, "16"), NONE},
        {"1", CHANGE("num.io.threads", CONFIG_SET, "3"), INVALID_REQUEST},
        {"1", CHANGE("num.io.threads", CONFIG_SET, "4"), NONE},
        {"", CHANGE("num.network.threads", CONFIG_SET, "7"), INVALID_REQUEST},
        {"", CHANGE("num.network.threads", CONFIG_SET, "6"), NONE},
        {"", CHANGE("log.cleaner.threads", CONFIG_SET, "0"), INVALID_REQUEST},
        {"", CHANGE("log.cleaner.threads", CONFIG_SET, "3"), INVALID_REQUEST},
        {"1", CHANGE("log.retention.ms", CONFIG_SET, "x"), INVALID_REQUEST},
        {"1", CHANGE("log.retention.ms", CONFIG_SET, "0"), INVALID_REQUEST},
        {"1", CHANGE("log.retention.ms", CONFIG_SET, "-1"), NONE},
        {"1", CHANGE("ssl.keystore.location", CONFIG_SET, "/x"), INVALID_REQUEST},
        {"1", CHANGE("leader.replication.throttled.rate", CONFIG_SET, "100"), NONE},
        {"1", CHANGE("leader.replication.throttled.rate", CONFIG_SET, "x"), INVALID_REQUEST},
        {"1", CHANGE("leader.replication.throttled.rate", CONFIG_SET, "-1"), INVALID_REQUEST},
        {"1", CHANGE("a.key.of.my.own", CONFIG_SET, "v"), NONE},
        {"1", CHANGE("listener.name.plaintext.max.connections", CONFIG_SET, "5"), NONE},
        {"1", CHANGE("listener.name.plaintext.max.connections", CONFIG_SET, "x"), INVALID_REQUEST},
        {"", CHANGE("listener.name.plaintext.max.connections", CONFIG_SET, "5"), NONE},
        {"", CHANGE("listener.name.plaintext.max.connections", CONFIG_SET, "0"), INVALID_REQUEST},
        {"", CHANGE("listener.name.PLAINTEXT.max.connections", CONFIG_SET, "0"), NONE},
        {"", CHANGE("listener.name.controller.max.connections", CONFIG_SET, "0"), NONE},
        {"", CHANGE("listener.name.nobody.max.connections", CONFIG_SET, "0"), NONE},
        {"1", CHANGE("listener.name.plaintext.max.connection.creation.rate", CONFIG_SET, "0"),
         INVALID_REQUEST},
        {"1", CHANGE("listener.name.plaintext.num.network.threads", CONFIG_SET, "7"),
         INVALID_REQUEST},
        {"1", CHANGE("listener.name.plaintext.num.network.threads", CONFIG_SET, "6"), NONE},
        {"", CHANGE("listener.name.plaintext.ssl.client.auth", CONFIG_SET, "none"),
         INVALID_REQUEST},
        {"1", CHANGE("metric.reporters", CONFIG_SET, "foo.Bar"), INVALID_REQUEST},
        {"1", CHANGE("principal.builder.class", CONFIG_SET, "foo.Bar"), INVALID_REQUEST},
        {"1", CHANGE("cordoned.log.dirs", CONFIG_SET, "/nope"), INVALID_REQUEST},
        {"1", CHANGE("cordoned.log.dirs", CONFIG_SET, "*"), NONE},
        {"", CHANGE("log.cleanup.policy", CONFIG_SET, "delete, compact"), NONE},
        {"", CHANGE("log.cleanup.policy", CONFIG_SET, "delete, delete"), INVALID_REQUEST},
        {"1", CHANGE("log.cleanup.policy", CONFIG_SET, "delete,compact,delete"), INVALID_REQUEST},
        {"", CHANGE("log.cleanup.policy", CONFIG_APPEND, "delete"), NONE},
        {"", CHANGE("log.cleanup.policy", CONFIG_APPEND, "compact"), NONE},
        {"", CHANGE("log.cleanup.policy", CONFIG_APPEND, "compact,compact"), INVALID_REQUEST},
        {"1", CHANGE("ssl.enabled.protocols", CONFIG_SET, "TLSv1.2,TLSv1.2"), INVALID_REQUEST},
        {"1", CHANGE("listener.name.plaintext.sasl.enabled.mechanisms", CONFIG_SET, "PLAIN,PLAIN"),
         INVALID_REQUEST},
        {"", CHANGE("group.consumer.assignment.interval.ms", CONFIG_SET, "99999"), INVALID_REQUEST},
        {"1", CHANGE("sasl.enabled.mechanisms", CONFIG_SET, "PLAIN"), NONE},
        {"", CHANGE("sasl.enabled.mechanisms", CONFIG_SET, "PLAIN"), INVALID_REQUEST},
        {"1", CHANGE("max.connections", CONFIG_SET, "0"), INVALID_REQUEST},
        {"", CHANGE("max.connection.creation.rate", CONFIG_SET, "0"), INVALID_REQUEST},
        {"1", CHANGE("log.local.retention.ms", CONFIG_SET, "-1"), INVALID_REQUEST},
        {"1", CHANGE("log.local.retention.ms", CONFIG_SET, "1"), NONE},
        {"1", CHANGE("log.local.retention.bytes", CONFIG_SET, "-1"), NONE},
        {"1", CHANGE("max.connections.per.ip", CONFIG_SET, "0"), INVALID_REQUEST},
        {"1", CHANGE("min.insync.replicas", CONFIG_SET, "1"), INVALID_CONFIG},
        {"", NO_VALUE("min.insync.replicas", CONFIG_DELETE), INVALID_CONFIG},
        {"", CHANGE("min.insync.replicas", CONFIG_SET, "2"), NONE},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct world w;
        begin(&w);
        struct wish wish = {B, cases[i].resource, {cases[i].change}, 1, cases[i].expected};
        run(&w, CONFIG_ALTER_INCREMENTAL, true, &wish, 1);
        assert_int_equal(w.records_count, 0);
        end(&w);
    }
}

/* The bytes that Kafka 4.4.0 wrote for this request, its resources in the order of the request. */
static void a_change_of_min_insync_replicas_clears_eligible_leader_replicas(void **state)
{
    (void)state;
    static const char *const expected[] = {
        "010400020278146d696e2e696e73796e632e7265706c69636173023400",
        "01040002027909666c7573682e6d73053130303000",
        "010400020279146d696e2e696e73796e632e7265706c69636173023400",
        "0104000202790b7365676d656e742e6d73083130303030303000",
        "0104000401146d696e2e696e73796e632e7265706c69636173023400",
        "011c00027800",
        "011c00027900",
        "011c000100",
    };
    struct world w;
    begin(&w);
    RUN(&w, CONFIG_ALTER_INCREMENTAL,
        {T, "x", {CHANGE("min.insync.replicas", CONFIG_SET, "4")}, 1, NONE},
        {T,
         "y",
         {CHANGE("segment.ms", CONFIG_SET, "1000000"),
          CHANGE("min.insync.replicas", CONFIG_SET, "4"), CHANGE("flush.ms", CONFIG_SET, "1000")},
         3,
         NONE},
        {B, "", {CHANGE("min.insync.replicas", CONFIG_SET, "4")}, 1, NONE});
    assert_int_equal(w.records.count, ARRAY_LEN(expected));
    for (size_t i = 0; i < ARRAY_LEN(expected); i++) {
        char hex[200] = "";
        for (size_t j = 0; j < w.records.items[i].len; j++) {
            snprintf(hex + 2 * j, sizeof(hex) - 2 * j, "%02x", w.records.items[i].ptr[j]);
        }
        assert_string_equal(hex, expected[i]);
    }
    RUN(&w, CONFIG_ALTER_INCREMENTAL,
        {T, "x", {CHANGE("min.insync.replicas", CONFIG_SET, "4")}, 1, NONE});
    assert_int_equal(w.records.count, 0);
    RUN(&w, CONFIG_ALTER_INCREMENTAL,
        {B, "", {CHANGE("min.insync.replicas", CONFIG_SET, "4")}, 1, NONE});
    assert_int_equal(w.records.count, 2); /* of a broker also when it is the same */
    RUN(&w, CONFIG_ALTER_REPLACE, {T, "y", {CHANGE("flush.ms", CONFIG_SET, "1000")}, 1, NONE});
    assert_int_equal(w.records.count, 3);
    end(&w);
}

static void threads_are_measured_from_what_is_in_force(void **state)
{
    (void)state;
    struct world w;
    begin(&w);
    RUN(&w, CONFIG_ALTER_INCREMENTAL,
        {B, "1", {CHANGE("num.io.threads", CONFIG_SET, "16")}, 1, NONE});
    RUN(&w, CONFIG_ALTER_INCREMENTAL,
        {B, "1", {CHANGE("num.io.threads", CONFIG_SET, "32")}, 1, NONE});
    RUN(&w, CONFIG_ALTER_INCREMENTAL,
        {B, "1", {NO_VALUE("num.io.threads", CONFIG_DELETE)}, 1, INVALID_REQUEST});
    RUN(&w, CONFIG_ALTER_INCREMENTAL,
        {B, "", {CHANGE("num.io.threads", CONFIG_SET, "1000")}, 1, NONE});
    end(&w);
}

static void groups_keep_within_the_brokers_bounds(void **state)
{
    (void)state;
    static const struct {
        const char *group;
        struct config_change change;
        enum kafka_error expected;
    } cases[] = {
        {"", CHANGE("consumer.session.timeout.ms", CONFIG_SET, "50000"), INVALID_REQUEST},
        {"g", CHANGE("no.such", CONFIG_SET, "1"), INVALID_CONFIG},
        {"g", CHANGE("consumer.session.timeout.ms", CONFIG_SET, "x"), INVALID_CONFIG},
        {"g", CHANGE("consumer.session.timeout.ms", CONFIG_SET, "44999"), INVALID_CONFIG},
        {"g", CHANGE("consumer.session.timeout.ms", CONFIG_SET, "45000"), NONE},
        {"g", CHANGE("consumer.session.timeout.ms", CONFIG_SET, "60001"), INVALID_CONFIG},
        {"g", CHANGE("share.delivery.count.limit", CONFIG_SET, "11"), INVALID_CONFIG},
        {"g", CHANGE("share.partition.max.record.locks", CONFIG_SET, "4001"), INVALID_CONFIG},
        {"g", CHANGE("streams.num.standby.replicas", CONFIG_SET, "3"), INVALID_CONFIG},
        {"g", CHANGE("streams.num.standby.replicas", CONFIG_SET, "2"), NONE},
        {"g", CHANGE("streams.task.offset.interval.ms", CONFIG_SET, "14999"), INVALID_CONFIG},
        {"g", CHANGE("streams.assignor.name", CONFIG_SET, "foo"), INVALID_CONFIG},
        {"g", CHANGE("streams.assignor.name", CONFIG_SET, "sticky"), NONE},
        {"g", CHANGE("streams.rack.aware.assignment.tags", CONFIG_SET, "a,b"), NONE},
        {"g", CHANGE("streams.rack.aware.assignment.tags", CONFIG_SET, "a, a"), INVALID_CONFIG},
        {"g", CHANGE("errors.deadletterqueue.topic.name", CONFIG_SET, "__x"), INVALID_CONFIG},
        {"g", CHANGE("errors.deadletterqueue.topic.name", CONFIG_SET, "foo"), NONE},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct world w;
        begin(&w);
        struct wish wish = {G, cases[i].group, {cases[i].change}, 1, cases[i].expected};
        run(&w, CONFIG_ALTER_INCREMENTAL, false, &wish, 1);
        end(&w);
    }
}

static void subscriptions_are_checked_as_kafka_checks_them(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        struct config_change change;
        enum kafka_error expected;
    } cases[] = {
        {"", CHANGE("interval.ms", CONFIG_SET, "500"), INVALID_REQUEST},
        {"m", CHANGE("interval.ms", CONFIG_SET, " 200 "), NONE},
        {"m", CHANGE("interval.ms", CONFIG_SET, "99"), INVALID_REQUEST},
        {"m", CHANGE("interval.ms", CONFIG_SET, "3600001"), INVALID_REQUEST},
        {"m", CHANGE("interval.ms", CONFIG_SET, "x"), INVALID_CONFIG},
        {"m", CHANGE("no.such", CONFIG_SET, "1"), INVALID_REQUEST},
        {"m", CHANGE("metrics", CONFIG_SET, "a,b"), NONE},
        {"m", CHANGE("match", CONFIG_SET, ""), NONE},
        {"m", CHANGE("match", CONFIG_SET, "client_id=a.*, client_software_name = (b|c)+"), NONE},
        {"m", CHANGE("match", CONFIG_SET, "client_id=(?i)x[)]\\("), NONE},
        {"m", CHANGE("match", CONFIG_SET, "client_id=["), INVALID_CONFIG},
        {"m", CHANGE("match", CONFIG_SET, "client_id=(a"), INVALID_CONFIG},
        {"m", CHANGE("match", CONFIG_SET, "client_id=a)"), INVALID_CONFIG},
        {"m", CHANGE("match", CONFIG_SET, "client_id=*a"), INVALID_CONFIG},
        {"m", CHANGE("match", CONFIG_SET, "client_id=a\\"), INVALID_CONFIG},
        {"m", CHANGE("match", CONFIG_SET, "client_id"), INVALID_CONFIG},
        {"m", CHANGE("match", CONFIG_SET, "foo=a"), INVALID_CONFIG},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct world w;
        begin(&w);
        struct wish wish = {CM, cases[i].name, {cases[i].change}, 1, cases[i].expected};
        run(&w, CONFIG_ALTER_INCREMENTAL, false, &wish, 1);
        end(&w);
    }
}

static void the_root_logger_can_be_set(void **state)
{
    (void)state;
    struct world w;
    begin(&w);
    RUN(&w, CONFIG_ALTER_INCREMENTAL, {L, "1", {CHANGE("root", CONFIG_SET, "DEBUG")}, 1, NONE});
    assert_string_equal(w.log_level, "DEBUG");
    RUN(&w, CONFIG_ALTER_INCREMENTAL,
        {L, "1", {CHANGE("kafka.x", CONFIG_SET, "DEBUG")}, 1, INVALID_CONFIG});
    RUN(&w, CONFIG_ALTER_INCREMENTAL,
        {L, "1", {CHANGE("root", CONFIG_SET, "NOPE")}, 1, INVALID_CONFIG});
    RUN(&w, CONFIG_ALTER_INCREMENTAL,
        {L, "1", {CHANGE("root", CONFIG_APPEND, "INFO")}, 1, INVALID_REQUEST});
    RUN(&w, CONFIG_ALTER_INCREMENTAL,
        {L, "1", {NO_VALUE("root", CONFIG_DELETE)}, 1, INVALID_REQUEST});
    RUN(&w, CONFIG_ALTER_INCREMENTAL, {L, "", {{{0}}}, 0, INVALID_REQUEST},
        {L, "2", {{{0}}}, 0, INVALID_REQUEST});
    RUN(&w, CONFIG_ALTER_REPLACE, {L, "1", {{{0}}}, 0, INVALID_REQUEST});
    struct wish wish = {L, "1", {CHANGE("root", CONFIG_SET, "ERROR")}, 1, NONE};
    run(&w, CONFIG_ALTER_INCREMENTAL, true, &wish, 1);
    assert_string_equal(w.log_level, "DEBUG");
    end(&w);
}

static void the_older_request_replaces_all(void **state)
{
    (void)state;
    struct world w;
    begin(&w);
    RUN(&w, CONFIG_ALTER_INCREMENTAL,
        {T,
         "ta",
         {CHANGE("retention.ms", CONFIG_SET, "5"), CHANGE("flush.ms", CONFIG_SET, "6")},
         2,
         NONE});
    RUN(&w, CONFIG_ALTER_REPLACE, {T, "ta", {CHANGE("segment.ms", CONFIG_SET, "70000")}, 1, NONE},
        {T, "gone", {CHANGE("segment.ms", CONFIG_SET, "70000")}, 1, UNKNOWN_TOPIC},
        {T, "tb", {NO_VALUE("segment.ms", CONFIG_SET)}, 1, INVALID_REQUEST},
        {B, "1", {CHANGE("node.id", CONFIG_SET, "1")}, 1, INVALID_REQUEST});
    assert_int_equal(w.records_count, 3);
    expect_config(&w, T, "ta", "retention.ms", NULL);
    expect_config(&w, T, "ta", "flush.ms", NULL);
    expect_config(&w, T, "ta", "segment.ms", "70000");
    RUN(&w, CONFIG_ALTER_REPLACE,
        {B, "", {CHANGE("message.max.bytes", CONFIG_SET, "3000000")}, 1, INVALID_CONFIG});
    RUN(&w, CONFIG_ALTER_REPLACE,
        {B,
         "",
         {CHANGE("message.max.bytes", CONFIG_SET, "3000000"),
          CHANGE("min.insync.replicas", CONFIG_SET, "1")},
         2,
         NONE});
    expect_config(&w, B, "", "message.max.bytes", "3000000");
    end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_set_and_deleted),
        cmocka_unit_test(a_broker_gets_a_record_even_when_nothing_changes),
        cmocka_unit_test(lists_grow_from_their_default_and_shrink_to_nothing),
        cmocka_unit_test(twins_and_nulls_are_refused_before_all_else),
        cmocka_unit_test(each_resource_stands_for_itself),
        cmocka_unit_test(an_unknown_operation_spoils_what_goes_to_the_controller),
        cmocka_unit_test(brokers_refuse_what_cannot_change_while_they_run),
        cmocka_unit_test(a_change_of_min_insync_replicas_clears_eligible_leader_replicas),
        cmocka_unit_test(threads_are_measured_from_what_is_in_force),
        cmocka_unit_test(groups_keep_within_the_brokers_bounds),
        cmocka_unit_test(subscriptions_are_checked_as_kafka_checks_them),
        cmocka_unit_test(the_root_logger_can_be_set),
        cmocka_unit_test(the_older_request_replaces_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
