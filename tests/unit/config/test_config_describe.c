/* Descriptions: entries of topics, brokers, groups and subscriptions over images with dynamic
 * values, each printed as one line "name=value source [synonyms]" and compared with what a
 * Kafka 4.4.0 answered for the same settings. */
#include "unit.h"

#include "base/err.h"
#include "config/config_describe.h"
#include "config/config_load.h"
#include "meta/records.h"
#include "wire/gen/messages.h"

struct world {
    struct arena arena;
    struct config *c;
    struct image *im;
};

struct dynamic {
    enum config_resource_type type;
    const char *resource;
    const char *key;
    const char *value;
};

static const struct dynamic dynamics[] = {
    {CONFIG_RESOURCE_BROKER, "", "min.insync.replicas", "1"},
    {CONFIG_RESOURCE_BROKER, "", "message.max.bytes", "2000000"},
    {CONFIG_RESOURCE_BROKER, "", "other.key", "v"},
    {CONFIG_RESOURCE_BROKER, "", "log.cleanup.policy", "delete,compact"},
    {CONFIG_RESOURCE_BROKER, "", "listener.name.plaintext.max.connections", "4"},
    {CONFIG_RESOURCE_BROKER, "1", "log.retention.ms", " 1000000 "},
    {CONFIG_RESOURCE_BROKER, "1", "own.key", "v"},
    {CONFIG_RESOURCE_BROKER, "1", "leader.replication.throttled.rate", "100"},
    {CONFIG_RESOURCE_BROKER, "1", "listener.name.plaintext.max.connections", "5"},
    {CONFIG_RESOURCE_BROKER, "1", "listener.name.plaintext.sasl.jaas.config", "secret"},
    {CONFIG_RESOURCE_TOPIC, "ta", "flush.ms", " 5 "},
    {CONFIG_RESOURCE_TOPIC, "ta", "cleanup.policy", "compact, delete"},
    {CONFIG_RESOURCE_GROUP, "g", "consumer.session.timeout.ms", "50000"},
    {CONFIG_RESOURCE_GROUP, "g", "consumer.assignor.offload.enable", "false"},
    {CONFIG_RESOURCE_CLIENT_METRICS, "m", "interval.ms", "500"},
};

static void begin(struct world *w)
{
    arena_init(&w->arena, 0);
    static const char file[] = "process.roles=broker,controller\nnode.id=1\n"
                               "controller.listener.names=CONTROLLER\n"
                               "controller.quorum.bootstrap.servers=127.0.0.1:9093\n"
                               "listeners=PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093\n"
                               "offsets.topic.num.partitions=4\nsome.plugin.key=x\n"
                               "listener.name.plaintext.num.network.threads=2\n"
                               "log.initial.task.delay.ms=7\nssl.key.password=secret\n";
    struct config_input in = {
        .file_name = "f",
        .file = STR(file),
    };
    char error[512];
    assert_int_equal(config_load(&in, NULL, &w->c, error, sizeof(error)), 0);
    struct meta_records records;
    meta_records_init(&records, &w->arena);
    for (size_t i = 0; i < ARRAY_LEN(dynamics); i++) {
        struct config_record rec = config_record_default;
        rec.resource_type = (int8_t)dynamics[i].type;
        rec.resource_name = str_from(dynamics[i].resource);
        rec.name = str_from(dynamics[i].key);
        rec.value = str_from(dynamics[i].value);
        assert_int_equal(meta_records_add(&records, &config_record_msg, 0, &rec), 0);
    }
    struct image *empty = image_new_empty();
    struct image_delta *d = image_delta_new(empty);
    for (size_t i = 0; i < records.count; i++) {
        assert_int_equal(image_delta_replay(d, records.items[i]), 0);
    }
    w->im = image_delta_finish(d, 1, 1);
    image_unref(empty);
}

static void end(struct world *w)
{
    image_unref(w->im);
    config_free(w->c);
    arena_release(&w->arena);
}

/* "name=value 5 int ro secret [a=1 4, b=2 5]" */
static void print(const struct config_description *cd, char *out, size_t cap)
{
    struct strbuf sb;
    strbuf_init(&sb, out, cap);
    strbuf_addf(&sb, STR_FMT "=" STR_FMT " %d", STR_ARG(cd->name),
                STR_ARG(str_is_null(cd->value) ? STR("(null)") : cd->value), (int)cd->source);
    strbuf_addf(&sb, " %s%s%s", config_table_type_name(cd->type), cd->is_read_only ? " ro" : "",
                cd->is_sensitive ? " secret" : "");
    for (size_t i = 0; i < cd->synonyms_count; i++) {
        const struct config_synonym *s = &cd->synonyms[i];
        strbuf_addf(&sb, "%s" STR_FMT "=" STR_FMT " %d", i == 0 ? " [" : ", ", STR_ARG(s->name),
                    STR_ARG(str_is_null(s->value) ? STR("(null)") : s->value), (int)s->source);
    }
    strbuf_addf(&sb, "%s", cd->synonyms_count > 0 ? "]" : "");
}

static void expect_line(const struct config_descriptions *all, const char *key, const char *line)
{
    const struct config_description *found = NULL;
    for (size_t i = 0; i < all->count; i++) {
        if (str_is(all->items[i].name, key)) {
            assert_null(found);
            found = &all->items[i];
        }
    }
    if (line == NULL) {
        assert_null(found);
        return;
    }
    assert_non_null(found);
    char text[1024];
    print(found, text, sizeof(text));
    assert_string_equal(text, line);
}

static void own_of(struct world *w,
                   enum config_resource_type type,
                   const char *name,
                   const struct image_config **ret,
                   size_t *ret_count)
{
    image_configs(w->im, type, str_from(name), ret, ret_count);
}

static const struct config_selection everything = {0};

static int count_named(const struct config_descriptions *all, const char *name)
{
    int count = 0;
    for (size_t i = 0; i < all->count; i++) {
        count += str_is(all->items[i].name, name) ? 1 : 0;
    }
    return count;
}

static void topics_show_their_own_values_and_where_others_come_from(void **state)
{
    (void)state;
    struct world w;
    begin(&w);
    const struct image_config *own;
    size_t count;
    own_of(&w, CONFIG_RESOURCE_TOPIC, "ta", &own, &count);
    struct config_descriptions all = {0};
    config_describe_topic(w.c, w.im, own, count, &everything, &w.arena, &all);
    assert_int_equal(all.count, 37);
    expect_line(&all, "flush.ms", "flush.ms=5 1 LONG [flush.ms=5 1]");
    /* As Kafka's map has them. */
    assert_true(str_is(all.items[0].name, "compression.type"));
    assert_true(str_is(all.items[14].name, "segment.bytes"));
    assert_true(str_is(all.items[15].name, "retention.ms"));
    assert_true(str_is(all.items[36].name, "segment.index.bytes"));
    for (size_t i = 0; i < config_table_topic.count; i++) {
        const struct config_row *row = &config_table_topic.rows[i];
        assert_int_equal(count_named(&all, row->name), row->audience == CONFIG_PUBLIC);
    }
    expect_line(&all, "cleanup.policy",
                "cleanup.policy=compact,delete 1 LIST [cleanup.policy=compact,delete 1, "
                "log.cleanup.policy=delete,compact 3, log.cleanup.policy=delete 5]");
    expect_line(
        &all, "retention.ms",
        "retention.ms=1000000 2 LONG [log.retention.ms= 1000000  2, log.retention.hours=168 5]");
    expect_line(&all, "max.message.bytes",
                "max.message.bytes=2000000 3 INT [message.max.bytes=2000000 3, "
                "message.max.bytes=1048588 5]");
    expect_line(&all, "segment.ms", "segment.ms=604800000 5 LONG");
    expect_line(&all, "leader.replication.throttled.replicas",
                "leader.replication.throttled.replicas= 5 LIST");
    expect_line(&all, "internal.segment.bytes", NULL);
    static const struct str keys[] = {{"flush.ms", 8}, {"no.such", 7}, {"retention.ms", 12}};
    struct config_selection some = {keys, ARRAY_LEN(keys)};
    all = (struct config_descriptions){0};
    config_describe_topic(w.c, w.im, own, count, &some, &w.arena, &all);
    assert_int_equal(all.count, 2);
    end(&w);
}

static void a_new_topic_is_told_what_was_given(void **state)
{
    (void)state;
    struct world w;
    begin(&w);
    const struct image_config *own;
    size_t count;
    own_of(&w, CONFIG_RESOURCE_TOPIC, "ta", &own, &count);
    struct create_topics_response_creatable_topic_configs *items;
    int32_t n;
    config_describe_created(w.c, w.im, own, count, &w.arena, &items, &n);
    assert_int_equal(n, 37);
    int seen = 0;
    for (int32_t i = 0; i < n; i++) {
        if (i > 0) {
            assert_true(str_compare(items[i - 1].name, items[i].name) < 0);
        }
        if (str_is(items[i].name, "flush.ms")) {
            assert_true(str_is(items[i].value, " 5 ") && items[i].config_source == 1);
            seen++;
        } else if (str_is(items[i].name, "min.insync.replicas")) {
            assert_true(str_is(items[i].value, "1") && items[i].config_source == 3);
            seen++;
        } else if (str_is(items[i].name, "segment.ms")) {
            assert_true(str_is(items[i].value, "604800000") && items[i].config_source == 5);
            seen++;
        }
        assert_false(items[i].read_only || items[i].is_sensitive);
    }
    assert_int_equal(seen, 3);
    end(&w);
}

static void a_value_for_a_listener_is_stronger_than_that_of_the_broker(void **state)
{
    (void)state;
    struct world w;
    begin(&w);
    struct config_view view = config_view_of(w.c, w.im);
    struct config_view old = config_view_of(w.c, NULL);
    static const char key[] = "max.connections";
    assert_int_equal(config_view_listener_int(&view, STR("PLAINTEXT"), key), 5);
    assert_int_equal(config_view_listener_int(&view, STR("OTHER"), key), INT32_MAX);
    assert_int_equal(config_view_listener_int(&old, STR("PLAINTEXT"), key), INT32_MAX);
    assert_int_equal(config_view_listener_int(&old, STR("PLAINTEXT"), "num.network.threads"), 2);
    assert_true(config_is_inter_broker(w.c, STR("PLAINTEXT")));
    assert_false(config_is_inter_broker(w.c, STR("CONTROLLER")));
    end(&w);
}

static void brokers_show_everything_but_secrets(void **state)
{
    (void)state;
    struct world w;
    begin(&w);
    struct config_descriptions all = {0};
    config_describe_broker(w.c, w.im, &everything, &w.arena, &all);
    /* The public keys, one secret one that is set, one of a plugin, one of a listener, four dynamic
     * strangers and a rate. */
    assert_int_equal(all.count, 350 + 1 + 1 + 1 + 4 + 1);
    expect_line(&all, "log.retention.ms",
                "log.retention.ms=1000000 2 LONG [log.retention.ms= 1000000  2, "
                "log.retention.hours=168 5]");
    expect_line(&all, "log.retention.hours",
                "log.retention.hours=168 5 INT ro [log.retention.hours=168 5]");
    expect_line(&all, "log.retention.minutes", "log.retention.minutes=(null) 5 INT ro");
    expect_line(&all, "own.key", "own.key=(null) 2 UNKNOWN ro secret [own.key=(null) 2]");
    expect_line(&all, "other.key", "other.key=(null) 3 UNKNOWN ro secret [other.key=(null) 3]");
    expect_line(&all, "some.plugin.key",
                "some.plugin.key=(null) 4 UNKNOWN ro secret [some.plugin.key=(null) 4]");
    expect_line(
        &all, "leader.replication.throttled.rate",
        "leader.replication.throttled.rate=100 2 LONG [leader.replication.throttled.rate=100 2]");
    expect_line(&all, "listener.name.plaintext.max.connections",
                "listener.name.plaintext.max.connections=5 2 INT ro "
                "[listener.name.plaintext.max.connections=5 2, "
                "listener.name.plaintext.max.connections=4 3, max.connections=2147483647 5]");
    expect_line(&all, "listener.name.plaintext.sasl.jaas.config",
                "listener.name.plaintext.sasl.jaas.config=(null) 2 PASSWORD ro secret "
                "[listener.name.plaintext.sasl.jaas.config=(null) 2]");
    expect_line(&all, "ssl.key.password",
                "ssl.key.password=(null) 4 PASSWORD secret [ssl.key.password=(null) 4]");
    expect_line(&all, "broker.id", "broker.id=1 4 INT ro [broker.id=1 4, broker.id=-1 5]");
    expect_line(&all, "node.id", "node.id=1 4 INT ro [node.id=1 4]");
    expect_line(&all, "log.flush.interval.ms", "log.flush.interval.ms=(null) 5 LONG");
    expect_line(&all, "log.initial.task.delay.ms",
                "log.initial.task.delay.ms=7 4 LONG ro [log.initial.task.delay.ms=7 4, "
                "log.initial.task.delay.ms=30000 5]");
    expect_line(&all, "offsets.topic.num.partitions",
                "offsets.topic.num.partitions=4 4 INT ro [offsets.topic.num.partitions=4 4, "
                "offsets.topic.num.partitions=50 5]");
    expect_line(&all, "jackdaw.memory.max", NULL);
    static const struct str key = {"jackdaw.memory.max", 18};
    struct config_selection own = {&key, 1};
    all = (struct config_descriptions){0};
    config_describe_broker(w.c, w.im, &own, &w.arena, &all);
    expect_line(&all, "jackdaw.memory.max",
                "jackdaw.memory.max=1073741824 5 LONG ro [jackdaw.memory.max=1073741824 5]");
    assert_non_null(all.items[0].doc);
    end(&w);
}

static void the_default_of_all_brokers_is_what_was_set_for_all(void **state)
{
    (void)state;
    struct world w;
    begin(&w);
    struct config_descriptions all = {0};
    config_describe_cluster(w.c, w.im, &everything, &w.arena, &all);
    assert_int_equal(all.count, 5);
    expect_line(&all, "message.max.bytes",
                "message.max.bytes=2000000 3 INT [message.max.bytes=2000000 3]");
    expect_line(&all, "other.key", "other.key=(null) 3 UNKNOWN ro secret [other.key=(null) 3]");
    end(&w);
}

static void groups_and_subscriptions_inherit(void **state)
{
    (void)state;
    struct world w;
    begin(&w);
    const struct image_config *own;
    size_t count;
    own_of(&w, CONFIG_RESOURCE_GROUP, "g", &own, &count);
    struct config_descriptions all = {0};
    config_describe_group(w.c, w.im, own, count, &everything, &w.arena, &all);
    assert_int_equal(all.count, 22);
    expect_line(&all, "consumer.session.timeout.ms",
                "consumer.session.timeout.ms=50000 8 INT [consumer.session.timeout.ms=50000 8, "
                "group.consumer.session.timeout.ms=45000 5]");
    expect_line(&all, "consumer.assignor.offload.enable",
                "consumer.assignor.offload.enable=false 8 BOOLEAN "
                "[consumer.assignor.offload.enable=false 8, "
                "group.consumer.assignor.offload.enable=true 5]");
    expect_line(&all, "streams.assignor.name",
                "streams.assignor.name=sticky 5 STRING [group.streams.assignors=sticky 5]");
    expect_line(&all, "errors.deadletterqueue.topic.name",
                "errors.deadletterqueue.topic.name= 5 STRING "
                "[errors.deadletterqueue.topic.name= 5]");
    own_of(&w, CONFIG_RESOURCE_CLIENT_METRICS, "m", &own, &count);
    all = (struct config_descriptions){0};
    config_describe_client_metrics(own, count, &everything, &w.arena, &all);
    assert_int_equal(all.count, 3);
    expect_line(&all, "interval.ms", "interval.ms=500 7 INT [interval.ms=500 7]");
    expect_line(&all, "metrics", "metrics= 5 LIST");
    end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(topics_show_their_own_values_and_where_others_come_from),
        cmocka_unit_test(a_new_topic_is_told_what_was_given),
        cmocka_unit_test(a_value_for_a_listener_is_stronger_than_that_of_the_broker),
        cmocka_unit_test(brokers_show_everything_but_secrets),
        cmocka_unit_test(the_default_of_all_brokers_is_what_was_set_for_all),
        cmocka_unit_test(groups_and_subscriptions_inherit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
