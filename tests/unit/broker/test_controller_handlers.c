/*
 * Handlers that answer from the image of the turn (Metadata, DescribeTopicPartitions,
 * DescribeCluster) or from the request alone (FindCoordinator, refusals of InitProducerId), called
 * on requests that the test builds: no thread, no socket. What they must answer was seen on
 * Kafka 4.4.0.
 */
#include "unit.h"

#include "base/err.h"
#include "broker/broker.h"
#include "broker/handlers.h"
#include "broker/io_thread.h"
#include "broker/partition_table.h"
#include "config/config.h"
#include "meta/bootstrap.h"
#include "meta/controller.h"
#include "meta/records.h"
#include "wire/gen/errors.h"

#include "simclock.h"

struct world {
    struct broker br;
    struct broker_listener listener;
    struct io_thread io;
    struct request_conn conn;
    struct arena arena;
    struct request rq;
    uint64_t random;
    struct simclock sc;
};

static const struct uuid directory_1 = {.bytes = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}};

static void next_bytes(void *ctx, void *ret_bytes, size_t len)
{
    struct world *w = ctx;
    uint8_t *to = ret_bytes;
    for (size_t i = 0; i < len; i++) {
        w->random = w->random * 6364136223846793005ULL + 1442695040888963407ULL;
        to[i] = (uint8_t)(w->random >> 33);
    }
}

static void replay(struct world *w, const struct meta_records *records)
{
    struct image_delta *d = image_delta_new(w->io.image);
    for (size_t i = 0; i < records->count; i++) {
        assert_int_equal(image_delta_replay(d, records->items[i]), 0);
    }
    struct image *next =
        image_delta_finish(d, image_offset(w->io.image) + (int64_t)records->count, 1);
    image_unref(w->io.image);
    w->io.image = next;
}

static void add_broker(struct world *w,
                       int32_t id,
                       const char *listener,
                       const char *host,
                       uint16_t port,
                       const char *rack)
{
    struct image_endpoint ep = {.name = str_from(listener), .host = str_from(host), .port = port};
    struct bootstrap_node node = {
        .id = id,
        .endpoints = &ep,
        .endpoints_count = 1,
        .rack = str_from(rack),
        .log_dirs = &directory_1,
        .log_dirs_count = 1,
    };
    struct meta_records records;
    meta_records_init(&records, &w->arena);
    assert_int_equal(bootstrap_register_broker(&records, &node, 5, METADATA_VERSION_LATEST), 0);
    assert_int_equal(bootstrap_change_broker(&records, id, 5, BOOTSTRAP_UNFENCE), 0);
    replay(w, &records);
}

static void change_broker(struct world *w, int32_t id, enum bootstrap_change change)
{
    struct meta_records records;
    meta_records_init(&records, &w->arena);
    assert_int_equal(bootstrap_change_broker(&records, id, 5, change), 0);
    replay(w, &records);
}

static void add_topic(struct world *w, const char *name, int32_t partitions)
{
    struct controller ct = {.node_id = 1, .ctx = w, .random = next_bytes};
    struct create_topics_request_creatable_topic t = create_topics_request_creatable_topic_default;
    t.name = str_from(name);
    t.num_partitions = partitions;
    t.replication_factor = 1;
    struct create_topics_request req = create_topics_request_default;
    req.topics.items = &t;
    req.topics.count = 1;
    struct create_topics_response out = create_topics_response_default;
    struct meta_records records;
    meta_records_init(&records, &w->arena);
    controller_create_topics(&ct, w->io.image, &req, NULL, NULL, &w->arena, &records, &out);
    assert_int_equal(out.topics.items[0].error_code, 0);
    replay(w, &records);
}

static int setup(void **state)
{
    struct world *w = mem_zalloc(sizeof(*w));
    w->listener = (struct broker_listener){
        .name = STR("PLAINTEXT"),
        .is_advertised = true,
        .advertised_host = STR("here.example"),
        .advertised_port = 9092,
    };
    w->br.listeners = &w->listener;
    w->br.listeners_count = 1;
    w->br.node_id = 1;
    memcpy(w->br.cluster_id, "4L6g3nShT-eMCtK--X86sw", 23);
    w->br.config = config_new();
    config_set(w->br.config, STR("node.id"), STR("1"), CONFIG_ORIGIN_FILE);
    config_sort(w->br.config);
    simclock_init(&w->sc, 1);
    w->br.clock = &w->sc.clock;
    w->br.partitions = partition_table_new(&w->br); /* none is offline */
    const struct loop_options lo = {.clock = w->br.clock};
    assert_int_equal(loop_new(&lo, &w->io.loop), 0);
    w->io.br = &w->br;
    w->io.image = image_new_empty();
    w->conn.io = &w->io;
    w->conn.listener = &w->listener;
    struct bootstrap_levels levels;
    bootstrap_levels_at(METADATA_VERSION_LATEST, &levels);
    struct meta_records records;
    meta_records_init(&records, &w->arena);
    assert_int_equal(bootstrap_features(&records, &levels), 0);
    replay(w, &records);
    add_broker(w, 1, "PLAINTEXT", "elsewhere", 1, NULL);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    loop_free(w->io.loop);
    image_unref(w->io.image);
    partition_table_free(w->br.partitions);
    config_free(w->br.config);
    arena_release(&w->arena);
    arena_release(&w->rq.arena);
    mem_free(w);
    return 0;
}

/* Calls the handler of an API; the answer stays valid until the next call. */
static void *ask(struct world *w,
                 int16_t key,
                 int16_t version,
                 void *body,
                 enum request_verdict (*handler)(struct request *))
{
    arena_release(&w->rq.arena);
    w->rq = (struct request){
        .conn = &w->conn,
        .io = &w->io,
        .br = &w->br,
        .api = api_info_find(key),
        .version = version,
        .body = body,
    };
    w->rq.response = arena_alloc(&w->rq.arena, msg_size(w->rq.api->response));
    msg_init(w->rq.api->response, w->rq.response);
    assert_int_equal(handler(&w->rq), REQUEST_DONE);
    return w->rq.response;
}

/* ---- Metadata ---- */

typedef struct metadata_request_metadata_request_topic asked_topic;

static struct metadata_response *
metadata(struct world *w, int16_t version, asked_topic *topics, int32_t count)
{
    struct metadata_request body = metadata_request_default;
    body.topics.items = topics;
    body.topics.count = count;
    body.allow_auto_topic_creation = false;
    return ask(w, API_KEY_METADATA, version, &body, h_metadata);
}

static asked_topic named(const char *name)
{
    asked_topic t = metadata_request_metadata_request_topic_default;
    t.name = str_from(name);
    return t;
}

static void the_answer_names_the_listener_the_request_came_in_on(void **state)
{
    struct world *w = *state;
    add_broker(w, 2, "PLAINTEXT", "two.example", 9, "r");
    add_broker(w, 3, "OTHER", "three.example", 9, NULL);
    add_broker(w, 4, "PLAINTEXT", "four.example", 9, NULL);
    change_broker(w, 4, BOOTSTRAP_FENCE);
    struct metadata_response *out = metadata(w, 13, NULL, 0);
    assert_int_equal(out->error_code, 0);
    assert_int_equal(out->brokers.count, 2);
    assert_true(str_is(out->brokers.items[0].host, "here.example"));
    assert_int_equal(out->brokers.items[0].port, 9092);
    assert_true(str_is_null(out->brokers.items[0].rack));
    assert_true(str_is(out->brokers.items[1].host, "two.example"));
    assert_true(str_is(out->brokers.items[1].rack, "r"));
    assert_true(str_is(out->cluster_id, "4L6g3nShT-eMCtK--X86sw"));
    assert_in_range(out->controller_id, 1, 3);
    assert_int_equal(out->topics.count, 0);
}

static void null_means_all_topics_and_empty_does_so_in_version_0_alone(void **state)
{
    struct world *w = *state;
    add_topic(w, "b", 2);
    add_topic(w, "__consumer_offsets", 1);
    assert_int_equal(metadata(w, 0, NULL, 0)->topics.count, 2);
    assert_int_equal(metadata(w, 1, NULL, 0)->topics.count, 0);
    struct metadata_response *out = metadata(w, 12, NULL, -1);
    assert_int_equal(out->topics.count, 2);
    assert_true(out->topics.items[0].is_internal);
    assert_false(out->topics.items[1].is_internal);
    assert_int_equal(out->topics.items[1].partitions.count, 2);
    struct metadata_response_metadata_response_partition *mp =
        &out->topics.items[1].partitions.items[1];
    assert_int_equal(mp->error_code, 0);
    assert_int_equal(mp->partition_index, 1);
    assert_int_equal(mp->leader_id, 1);
    assert_int_equal(mp->leader_epoch, 0);
    assert_int_equal(mp->replica_nodes.count, 1);
    assert_int_equal(mp->isr_nodes.items[0], 1);
    assert_int_equal(mp->offline_replicas.count, 0);
    assert_int_equal(out->topics.items[1].topic_authorized_operations, INT32_MIN);
}

static void names_that_are_not_there_and_bad_ones_are_told_apart(void **state)
{
    struct world *w = *state;
    add_topic(w, "a", 1);
    asked_topic topics[] = {named("gone"), named("a"), named("b/d"),
                            named("a"),    named(""),  named("__transaction_state")};
    struct metadata_response *out = metadata(w, 12, topics, 6);
    assert_int_equal(out->topics.count, 5);
    for (int32_t i = 0; i < 5; i++) {
        struct str name = out->topics.items[i].name;
        int16_t wanted = str_is(name, "a")                 ? 0
                         : name.len == 0                   ? KAFKA_ERROR_INVALID_TOPIC_EXCEPTION
                         : memchr(name.ptr, '/', name.len) ? KAFKA_ERROR_INVALID_TOPIC_EXCEPTION
                                                           : KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION;
        assert_int_equal(out->topics.items[i].error_code, wanted);
        assert_int_equal(out->topics.items[i].is_internal, str_is(name, "__transaction_state"));
    }
}

static void ids_win_over_names(void **state)
{
    struct world *w = *state;
    add_topic(w, "a", 1);
    struct uuid id = image_topic_by_name(w->io.image, STR("a"))->id;
    asked_topic topics[] = {named("wrong"), named("a"), named(NULL), named(NULL)};
    topics[0].topic_id = id;
    topics[2].topic_id = (struct uuid){.bytes = {9}};
    struct metadata_response *out = metadata(w, 12, topics, 4);
    assert_int_equal(out->topics.count, 2);
    for (int32_t i = 0; i < 2; i++) {
        bool is_known = uuid_equal(&out->topics.items[i].topic_id, &id);
        assert_int_equal(out->topics.items[i].error_code,
                         is_known ? 0 : KAFKA_ERROR_UNKNOWN_TOPIC_ID);
        assert_int_equal(str_is_null(out->topics.items[i].name), !is_known);
    }
}

static void ids_before_version_12_and_topics_without_any_name_fail_the_whole(void **state)
{
    struct world *w = *state;
    add_topic(w, "a", 1);
    asked_topic topics[] = {named("a"), named("b")};
    topics[1].topic_id = (struct uuid){.bytes = {9}};
    struct metadata_response *out = metadata(w, 11, topics, 2);
    assert_int_equal(out->topics.count, 2);
    assert_int_equal(out->topics.items[0].error_code, KAFKA_ERROR_INVALID_REQUEST);
    assert_int_equal(out->controller_id, -1);
    assert_int_equal(out->brokers.count, 0);
    assert_true(str_is_null(out->cluster_id));
    topics[1] = named(NULL);
    assert_int_equal(metadata(w, 10, topics, 2)->topics.items[1].error_code,
                     KAFKA_ERROR_INVALID_REQUEST);
    out = metadata(w, 13, topics, 2);
    assert_int_equal(out->error_code, KAFKA_ERROR_UNKNOWN_SERVER_ERROR);
    assert_int_equal(out->topics.items[0].error_code, KAFKA_ERROR_UNKNOWN_SERVER_ERROR);
    assert_true(str_is(out->topics.items[1].name, ""));
}

static void a_partition_without_a_leader_says_so(void **state)
{
    struct world *w = *state;
    add_topic(w, "a", 1);
    struct meta_records records;
    meta_records_init(&records, &w->arena);
    controller_broker_stops(w->io.image, 1, &records);
    replay(w, &records);
    asked_topic t = named("a");
    struct metadata_response *out = metadata(w, 12, &t, 1);
    struct metadata_response_metadata_response_partition *mp =
        &out->topics.items[0].partitions.items[0];
    assert_int_equal(mp->error_code, KAFKA_ERROR_LEADER_NOT_AVAILABLE);
    assert_int_equal(mp->leader_id, -1);
    assert_int_equal(mp->leader_epoch, 1);
    assert_int_equal(mp->replica_nodes.count, 1);
    assert_int_equal(mp->offline_replicas.count, 1);
    assert_int_equal(metadata(w, 0, &t, 1)->topics.items[0].partitions.items[0].replica_nodes.count,
                     0);
}

static void operations_are_told_when_they_are_asked_for(void **state)
{
    struct world *w = *state;
    asked_topic t = named("b/d");
    struct metadata_request body = metadata_request_default;
    body.topics.items = &t;
    body.topics.count = 1;
    body.allow_auto_topic_creation = false;
    body.include_cluster_authorized_operations = true;
    body.include_topic_authorized_operations = true;
    struct metadata_response *out = ask(w, API_KEY_METADATA, 8, &body, h_metadata);
    assert_int_equal(out->cluster_authorized_operations, 8096);
    assert_int_equal(out->topics.items[0].topic_authorized_operations, 3576);
}

/* ---- DescribeTopicPartitions ---- */

struct description {
    const char *asked[3];
    const char *cursor; /* NULL: none */
    int32_t cursor_partition;
    int32_t limit;
    const char *wanted;
};

/* "name:error[partitions] ... >cursor:partition" of an answer. */
static const char *told(struct arena *arena, const struct describe_topic_partitions_response *out)
{
    char *text = arena_alloc(arena, 1024);
    struct strbuf sb;
    strbuf_init(&sb, text, 1024);
    for (int32_t i = 0; i < out->topics.count; i++) {
        const struct describe_topic_partitions_response_describe_topic_partitions_response_topic
            *dt = &out->topics.items[i];
        strbuf_addf(&sb, "%s" STR_FMT ":%d[", i == 0 ? "" : " ", STR_ARG(dt->name), dt->error_code);
        for (int32_t j = 0; j < dt->partitions.count; j++) {
            strbuf_addf(&sb, "%s%" PRId32, j == 0 ? "" : ",",
                        dt->partitions.items[j].partition_index);
        }
        strbuf_addf(&sb, "]");
    }
    if (out->next_cursor != NULL) {
        strbuf_addf(&sb, " >" STR_FMT ":%" PRId32, STR_ARG(out->next_cursor->topic_name),
                    out->next_cursor->partition_index);
    }
    return text;
}

static void pages_of_partitions_follow_the_cursor(void **state)
{
    struct world *w = *state;
    add_topic(w, "m0", 1);
    add_topic(w, "m1", 1);
    add_topic(w, "c", 4);
    static const struct description rows[] = {
        {{NULL}, NULL, 0, 4, "c:0[0,1,2,3] >m0:0"},
        {{NULL}, "m00", 0, 30, "m1:0[0]"},
        {{"m1", "m0"}, NULL, 0, 0, "m0:0[0] >m1:0"},
        {{"m1", "aa", "m/1"}, NULL, 0, 10, "aa:3[] m/1:17[] m1:0[0]"},
        {{"m1", "aa", "zz"}, NULL, 0, 1, "aa:3[] m1:0[0] >zz:0"},
        {{"zz", "ab", "aa"}, NULL, 0, 1, "aa:3[] ab:3[] zz:3[]"},
        {{"c", "m1"}, "c", 1, 2, "c:0[1,2] >c:3"},
        {{"c", "m1"}, "c", 1, 3, "c:0[1,2,3] >m1:0"},
        {{"c", "m1"}, "c", 4, 3, "c:0[] m1:0[0]"},
        {{"c"}, "c", 9, 3, "c:0[]"},
        {{"c", "m1"}, "m1", -1, 3, "c:42[] m1:42[]"},
        {{"m0", "m1"}, "c", 1, 3, "m0:42[] m1:42[]"},
        {{"m0", "m1"}, "m00", 0, 3, "m0:42[] m1:42[]"},
        {{"m00", "m1"}, "m00", 0, 30, "m00:3[] m1:0[0]"},
        {{"m0", "m1", "m0"}, NULL, 0, 2, "m0:0[0] m1:0[0]"},
        {{"m0", "m1"}, NULL, 0, 1, "m0:0[0] >m1:0"},
        {{"m0"}, NULL, 0, INT32_MAX, "m0:0[0]"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct describe_topic_partitions_request_topic_request topics[3];
        struct describe_topic_partitions_request body = describe_topic_partitions_request_default;
        body.topics.items = topics;
        body.topics.count = 0;
        for (size_t j = 0; j < 3 && rows[i].asked[j] != NULL; j++) {
            topics[j] = describe_topic_partitions_request_topic_request_default;
            topics[j].name = str_from(rows[i].asked[j]);
            body.topics.count++;
        }
        struct describe_topic_partitions_request_cursor cursor = {
            .topic_name = str_from(rows[i].cursor),
            .partition_index = rows[i].cursor_partition,
        };
        body.cursor = rows[i].cursor == NULL ? NULL : &cursor;
        body.response_partition_limit = rows[i].limit;
        struct describe_topic_partitions_response *out =
            ask(w, API_KEY_DESCRIBE_TOPIC_PARTITIONS, 0, &body, h_describe_topic_partitions);
        assert_string_equal(told(&w->arena, out), rows[i].wanted);
        if (out->topics.items[0].error_code != KAFKA_ERROR_INVALID_REQUEST) {
            assert_int_equal(out->topics.items[0].topic_authorized_operations, 3576);
        }
    }
}

/* ---- DescribeCluster, ApiVersions, FindCoordinator, InitProducerId ---- */

static void describe_cluster_knows_brokers_only(void **state)
{
    struct world *w = *state;
    add_broker(w, 2, "PLAINTEXT", "two.example", 9, NULL);
    change_broker(w, 2, BOOTSTRAP_FENCE);
    struct describe_cluster_request body = describe_cluster_request_default;
    body.include_cluster_authorized_operations = true;
    struct describe_cluster_response *out =
        ask(w, API_KEY_DESCRIBE_CLUSTER, 2, &body, h_describe_cluster);
    assert_int_equal(out->error_code, 0);
    assert_int_equal(out->brokers.count, 1);
    assert_int_equal(out->controller_id, 1);
    assert_int_equal(out->cluster_authorized_operations, 8096);
    assert_true(str_is_null(out->error_message));
    body.include_fenced_brokers = true;
    out = ask(w, API_KEY_DESCRIBE_CLUSTER, 2, &body, h_describe_cluster);
    assert_int_equal(out->brokers.count, 2);
    assert_true(out->brokers.items[1].is_fenced);
    static const int8_t types[] = {0, 2, 3, -1};
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        body.endpoint_type = types[i];
        out = ask(w, API_KEY_DESCRIBE_CLUSTER, 2, &body, h_describe_cluster);
        assert_int_equal(out->error_code, types[i] == 2 ? KAFKA_ERROR_MISMATCHED_ENDPOINT_TYPE
                                                        : KAFKA_ERROR_UNSUPPORTED_ENDPOINT_TYPE);
        assert_int_equal(out->controller_id, -1);
        assert_int_equal(out->endpoint_type, 1);
        assert_int_equal(out->brokers.count, 0);
        assert_int_equal(out->cluster_authorized_operations, INT32_MIN);
        assert_true(str_is(out->cluster_id, ""));
    }
}

struct software {
    const char *name;
    const char *version;
    const char *cluster_id;
    int32_t node_id;
    int16_t api_version;
    int16_t error;
};

static void api_versions_refuses_odd_clients_and_strangers(void **state)
{
    struct world *w = *state;
    static const struct software rows[] = {
        {"", "1", NULL, -1, 3, KAFKA_ERROR_INVALID_REQUEST},
        {"a", "", NULL, -1, 4, KAFKA_ERROR_INVALID_REQUEST},
        {"a b", "1", NULL, -1, 3, KAFKA_ERROR_INVALID_REQUEST},
        {"a_b", "1", NULL, -1, 3, KAFKA_ERROR_INVALID_REQUEST},
        {"-a", "1", NULL, -1, 3, KAFKA_ERROR_INVALID_REQUEST},
        {"a", "1.", NULL, -1, 3, KAFKA_ERROR_INVALID_REQUEST},
        {"a", "1/2", NULL, -1, 3, KAFKA_ERROR_INVALID_REQUEST},
        {"a", "1", "4L6g3nShT-eMCtK--X86sw", -1, 5, KAFKA_ERROR_INVALID_REQUEST},
        {"a", "1", NULL, 1, 5, KAFKA_ERROR_INVALID_REQUEST},
        {"a", "1", NULL, -2, 5, KAFKA_ERROR_INVALID_REQUEST},
        {"a", "1", "x", -1, 5, KAFKA_ERROR_INVALID_REQUEST},
        {"a", "1", "x", 1, 5, KAFKA_ERROR_REBOOTSTRAP_REQUIRED},
        {"a", "1", "", 1, 5, KAFKA_ERROR_REBOOTSTRAP_REQUIRED},
        {"a", "1", "4L6g3nShT-eMCtK--X86sw", 2, 5, KAFKA_ERROR_REBOOTSTRAP_REQUIRED},
        {"a b", "1", "x", 1, 5, KAFKA_ERROR_INVALID_REQUEST},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct api_versions_request body = api_versions_request_default;
        body.client_software_name = str_from(rows[i].name);
        body.client_software_version = str_from(rows[i].version);
        body.cluster_id = str_from(rows[i].cluster_id);
        body.node_id = rows[i].node_id;
        struct api_versions_response *out =
            ask(w, API_KEY_API_VERSIONS, rows[i].api_version, &body, h_api_versions);
        assert_int_equal(out->error_code, rows[i].error);
        assert_int_equal(out->api_keys.count, 0);
    }
}

static int16_t find(struct world *w, int16_t version, int8_t type, const char *key)
{
    struct str keys[] = {str_from(key)};
    struct find_coordinator_request body = find_coordinator_request_default;
    body.key_type = type;
    body.key = keys[0];
    body.coordinator_keys.items = keys;
    body.coordinator_keys.count = version >= 4 ? 1 : 0;
    struct find_coordinator_response *out =
        ask(w, API_KEY_FIND_COORDINATOR, version, &body, h_find_coordinator);
    if (version < 4) {
        bool is_found = out->error_code == 0;
        assert_int_equal(out->node_id, is_found ? 1 : -1);
        assert_int_equal(out->port, is_found ? 9092 : -1);
        assert_true(str_is(out->host, is_found ? "here.example" : ""));
        return out->error_code;
    }
    assert_int_equal(out->coordinators.count, 1);
    assert_true(str_is(out->coordinators.items[0].key, key));
    bool is_found = out->coordinators.items[0].error_code == 0;
    assert_int_equal(out->coordinators.items[0].node_id, is_found ? 1 : -1);
    assert_true(str_is(out->coordinators.items[0].host, is_found ? "here.example" : ""));
    return out->coordinators.items[0].error_code;
}

static void a_group_is_led_by_the_leader_of_its_partition(void **state)
{
    struct world *w = *state;
    add_topic(w, "__consumer_offsets", 3);
    for (int16_t version = 0; version <= 6; version++) {
        assert_int_equal(find(w, version, 0, "g"), 0);
        assert_int_equal(find(w, version, 0, ""), 0);
    }
}

static void other_coordinators_are_not_available_and_odd_keys_are_refused(void **state)
{
    struct world *w = *state;
    for (int16_t version = 0; version <= 6; version++) {
        assert_int_equal(find(w, version, 1, "t"), KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE);
        assert_int_equal(find(w, version, 42, "g"), KAFKA_ERROR_INVALID_REQUEST);
        assert_int_equal(find(w, version, -1, "g"), KAFKA_ERROR_INVALID_REQUEST);
        assert_int_equal(find(w, version, 2, "g:3jmzwiYkRqyXf0yVOk3ayQ:0"),
                         version < 6 ? KAFKA_ERROR_INVALID_REQUEST
                                     : KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE);
    }
    assert_int_equal(find(w, 6, 2, "g:h:3jmzwiYkRqyXf0yVOk3ayQ:1"),
                     KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE);
    assert_int_equal(find(w, 6, 2, "g:AAAAAAAAAAAAAAAAAAAAAA:-1"),
                     KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE);
    static const char *bad[] = {
        "a",
        "b:c:d",
        ":3jmzwiYkRqyXf0yVOk3ayQ:0",
        "g:3jmzwiYkRqyXf0yVOk3ayQ:x",
        "g:3jmzwiYkRqyXf0yVOk3ayQ",
        "",
        ":",
        "::",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(find(w, 6, 2, bad[i]), KAFKA_ERROR_INVALID_REQUEST);
    }
}

struct producer {
    const char *transactional_id;
    int32_t timeout_ms;
    int64_t producer_id;
    int16_t epoch;
    int16_t error;
};

static void producer_ids_are_refused_in_kafkas_order(void **state)
{
    struct world *w = *state;
    static const struct producer rows[] = {
        {NULL, 60000, 5, -1, KAFKA_ERROR_INVALID_REQUEST},
        {NULL, 60000, -1, 5, KAFKA_ERROR_INVALID_REQUEST},
        {"", -1, -1, -1, KAFKA_ERROR_INVALID_REQUEST},
        {"tx", -1, 5, -1, KAFKA_ERROR_INVALID_REQUEST},
        {"tx", -1, -1, -1, KAFKA_ERROR_INVALID_TRANSACTION_TIMEOUT},
        {"tx", 0, -1, -1, KAFKA_ERROR_INVALID_TRANSACTION_TIMEOUT},
        {"tx", 900001, -1, -1, KAFKA_ERROR_INVALID_TRANSACTION_TIMEOUT},
        {"tx", 900000, -1, -1, KAFKA_ERROR_NOT_COORDINATOR},
        {"tx", 1, 5, 3, KAFKA_ERROR_NOT_COORDINATOR},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct init_producer_id_request body = init_producer_id_request_default;
        body.transactional_id = str_from(rows[i].transactional_id);
        body.transaction_timeout_ms = rows[i].timeout_ms;
        body.producer_id = rows[i].producer_id;
        body.producer_epoch = rows[i].epoch;
        struct init_producer_id_response *out =
            ask(w, API_KEY_INIT_PRODUCER_ID, 5, &body, h_init_producer_id);
        assert_int_equal(out->error_code, rows[i].error);
        assert_int_equal(out->producer_id, -1);
        assert_int_equal(out->producer_epoch, -1);
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_answer_names_the_listener_the_request_came_in_on),
        TEST(null_means_all_topics_and_empty_does_so_in_version_0_alone),
        TEST(names_that_are_not_there_and_bad_ones_are_told_apart),
        TEST(ids_win_over_names),
        TEST(ids_before_version_12_and_topics_without_any_name_fail_the_whole),
        TEST(a_partition_without_a_leader_says_so),
        TEST(operations_are_told_when_they_are_asked_for),
        TEST(pages_of_partitions_follow_the_cursor),
        TEST(describe_cluster_knows_brokers_only),
        TEST(api_versions_refuses_odd_clients_and_strangers),
        TEST(a_group_is_led_by_the_leader_of_its_partition),
        TEST(other_coordinators_are_not_available_and_odd_keys_are_refused),
        TEST(producer_ids_are_refused_in_kafkas_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
