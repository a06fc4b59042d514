/*
 * A world for tests of the controller: an image made from records, and calls that decide, and
 * replay what was decided. One test at a time; a world is the cmocka state.
 */
#ifndef TESTS_CONTROLLER_WORLD_H
#define TESTS_CONTROLLER_WORLD_H

#include "unit.h"

#include "base/err.h"
#include "base/mem.h"
#include "meta/bootstrap.h"
#include "meta/controller.h"
#include "meta/image.h"
#include "meta/records.h"
#include "wire/gen/messages.h"

struct world {
    struct arena arena;
    struct image *im;
    struct controller ct;
    uint64_t random;
    struct meta_records records; /* of the last decision */
};

static const struct uuid directory_1 = {
    .bytes = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}};

static inline void next_bytes(void *ctx, void *ret_bytes, size_t len)
{
    struct world *w = ctx;
    uint8_t *to = ret_bytes;
    for (size_t i = 0; i < len; i++) {
        w->random = w->random * 6364136223846793005ULL + 1442695040888963407ULL;
        to[i] = (uint8_t)(w->random >> 33);
    }
}

/* Knows the keys of the tests; "bad" is never a value. */
static inline enum kafka_error check_configs(void *ctx unused_ok,
                                             const struct image *im unused_ok,
                                             const struct image_config *configs,
                                             size_t count,
                                             struct arena *arena unused_ok,
                                             struct str *ret_message)
{
    for (size_t i = 0; i < count; i++) {
        bool is_known = str_is(configs[i].name, "retention.ms") ||
                        str_is(configs[i].name, "min.insync.replicas");
        if (!is_known || str_is(configs[i].value, "bad")) {
            *ret_message = STR("refused");
            return KAFKA_ERROR_INVALID_CONFIG;
        }
    }
    return KAFKA_ERROR_NONE;
}

static inline void list_configs(void *ctx unused_ok,
                                const struct image *im unused_ok,
                                const struct image_config *configs,
                                size_t count,
                                struct arena *arena,
                                struct create_topics_response_creatable_topic_configs **ret,
                                int32_t *ret_count)
{
    *ret = codec_array(arena, create_topics_response_creatable_topic_configs, count);
    *ret_count = (int32_t)count;
    for (size_t i = 0; i < count; i++) {
        (*ret)[i].name = configs[i].name;
        (*ret)[i].value = configs[i].value;
    }
}

static inline void begin(struct world *w)
{
    meta_records_init(&w->records, &w->arena);
}

/* Replays the records of the last decision. */
static inline void apply(struct world *w)
{
    struct image_delta *d = image_delta_new(w->im);
    for (size_t i = 0; i < w->records.count; i++) {
        assert_int_equal(image_delta_replay(d, w->records.items[i]), 0);
    }
    struct image *next = image_delta_finish(d, image_offset(w->im) + (int64_t)w->records.count, 1);
    image_unref(w->im);
    w->im = next;
}

static inline void add_broker(struct world *w, int32_t id, int64_t epoch, size_t dirs)
{
    struct uuid directories[2] = {directory_1, {.bytes = {9}}};
    struct image_endpoint ep = {.name = STR("PLAINTEXT"), .host = STR("localhost"), .port = 9092};
    struct bootstrap_node node = {
        .id = id,
        .endpoints = &ep,
        .endpoints_count = 1,
        .log_dirs = directories,
        .log_dirs_count = (int32_t)dirs,
    };
    begin(w);
    assert_int_equal(bootstrap_register_broker(&w->records, &node, epoch, METADATA_VERSION_LATEST),
                     0);
    assert_int_equal(bootstrap_change_broker(&w->records, id, epoch, BOOTSTRAP_UNFENCE), 0);
    apply(w);
}

static inline int setup(void **state)
{
    struct world *w = mem_zalloc(sizeof(*w));
    w->im = image_new_empty();
    w->random = 7;
    w->ct = (struct controller){
        .node_id = 1,
        .default_partitions = 3,
        .default_replication_factor = 1,
        .ctx = w,
        .random = next_bytes,
        .check_configs = check_configs,
        .list_configs = list_configs,
    };
    struct bootstrap_levels levels;
    bootstrap_levels_at(METADATA_VERSION_LATEST, &levels);
    begin(w);
    assert_int_equal(bootstrap_features(&w->records, &levels), 0);
    apply(w);
    add_broker(w, 1, 42, 1);
    *state = w;
    return 0;
}

static inline int teardown(void **state)
{
    struct world *w = *state;
    image_unref(w->im);
    arena_release(&w->arena);
    mem_free(w);
    return 0;
}

typedef struct create_topics_request_creatable_topic create_topic;
typedef struct create_topics_request_creatable_topic_config create_config;
typedef struct create_topics_request_creatable_replica_assignment create_assignment;

static inline create_topic topic_of(const char *name, int32_t partitions, int16_t replicas)
{
    create_topic t = create_topics_request_creatable_topic_default;
    t.name = str_from(name);
    t.num_partitions = partitions;
    t.replication_factor = replicas;
    return t;
}

static inline struct create_topics_response create_for(struct world *w,
                                                       create_topic *topics,
                                                       size_t count,
                                                       bool validate_only,
                                                       int32_t timeout_ms,
                                                       controller_grant_fn grants)
{
    struct create_topics_request req = create_topics_request_default;
    req.topics.items = topics;
    req.topics.count = (int32_t)count;
    req.validate_only = validate_only;
    req.timeout_ms = timeout_ms;
    struct create_topics_response out = create_topics_response_default;
    begin(w);
    controller_create_topics(&w->ct, w->im, &req, grants, NULL, &w->arena, &w->records, &out);
    return out;
}

static inline struct create_topics_response
create(struct world *w, create_topic *topics, size_t count)
{
    return create_for(w, topics, count, false, 1000, NULL);
}

static inline void make(struct world *w, const char *name, int32_t partitions)
{
    create_topic t = topic_of(name, partitions, 1);
    struct create_topics_response out = create(w, &t, 1);
    assert_int_equal(out.topics.items[0].error_code, 0);
    apply(w);
}

static inline void record_is(const struct world *w, size_t i, const struct msg *m, int16_t version)
{
    struct cursor c = cursor_of(w->records.items[i].ptr, w->records.items[i].len);
    int16_t key;
    int16_t found;
    assert_int_equal(meta_record_frame(&c, &key, &found), 0);
    assert_string_equal(msg_name(meta_record_msg(key)), msg_name(m));
    assert_int_equal(found, version);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

#endif
