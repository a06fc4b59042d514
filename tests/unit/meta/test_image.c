/*
 * Metadata images: replay, sharing, comparison, snapshots.
 *
 * Facts come from files that Kafka 4.4.0 wrote: the metadata log of tests/golden/kafka-dir, and the
 * snapshot data/snapshot.checkpoint. The property test replays random records into images and into
 * a plain model, keeps every image, and checks that each still is what its model says, and that the
 * comparison of any two reports exactly what differs.
 */
#include "unit.h"

#include "base/err.h"
#include "base/fs.h"
#include "base/mem.h"
#include "meta/bootstrap.h"
#include "meta/image.h"
#include "meta/image_impl.h"
#include "meta/records.h"
#include "wire/batch.h"
#include "wire/gen/messages.h"

static struct arena arena;

static int setup(void **state unused_ok)
{
    arena_init(&arena, 0);
    return 0;
}

static int teardown(void **state unused_ok)
{
    arena_release(&arena);
    return 0;
}

/* Calls each() with the value of every data record of a log or snapshot file. */
static void
each_record(const char *path, void (*each)(void *ctx, struct view value, int64_t offset), void *ctx)
{
    struct fs fs;
    fs_init_system(&fs);
    char *bytes;
    size_t len;
    assert_int_equal(fs_read_file(&fs, path, 1 << 20, &bytes, &len), 0);
    size_t at = 0;
    while (at < len) {
        struct batch b;
        assert_int_equal(batch_peek(bytes + at, len - at, &b), 0);
        assert_true(batch_crc_is_good(&b));
        struct record_iter it;
        assert_int_equal(record_iter_init(&it, &b, INT64_MAX), 0);
        struct record rec;
        while (record_iter_next(&it, &rec) > 0) {
            if (!batch_is_control(&b)) {
                each(ctx, rec.value, rec.offset);
            }
        }
        record_iter_release(&it);
        at += b.size;
    }
    mem_free(bytes);
}

static void replay_each(void *ctx, struct view value, int64_t offset unused_ok)
{
    assert_int_equal(image_delta_replay(ctx, value), 0);
}

static struct image *image_of_file(const char *path)
{
    struct image *empty = image_new_empty();
    struct image_delta *d = image_delta_new(empty);
    each_record(path, replay_each, d);
    image_unref(empty);
    return image_delta_finish(d, 100, 1);
}

#define GOLDEN_LOG GOLDEN_DIR "/kafka-dir/__cluster_metadata-0/00000000000000000000.log"

static void replays_a_log_that_kafka_wrote(void **state unused_ok)
{
    struct image *im = image_of_file(GOLDEN_LOG);
    static const char *const names[] = {
        "__consumer_offsets",
        "__transaction_state",
        "append-time",
        "compacted",
        "data-gzip",
        "data-lz4",
        "data-none",
        "data-snappy",
        "data-zstd",
        "empty",
        "rolled",
        "trimmed",
        "txn-a",
        "txn-b",
        "widened",
    };
    const struct image_topic **topics;
    size_t count;
    image_topics_sorted(im, &arena, &topics, &count);
    assert_int_equal(count, ARRAY_LEN(names));
    assert_int_equal(image_topics_count(im), count);
    size_t partitions = 0;
    for (size_t i = 0; i < count; i++) {
        assert_true(str_is(topics[i]->name, names[i]));
        assert_ptr_equal(image_topic_by_name(im, topics[i]->name), topics[i]);
        assert_ptr_equal(image_topic_by_id(im, &topics[i]->id), topics[i]);
        partitions += (size_t)topics[i]->partitions_count;
    }
    assert_int_equal(partitions, 29);
    assert_int_equal(image_partitions_count(im), 29);
    assert_null(image_topic_by_name(im, STR("gone")));

    const struct image_topic *t = image_topic_by_name(im, STR("widened"));
    assert_int_equal(t->partitions_count, 3);
    const struct image_partition *p = &t->partitions[2];
    assert_int_equal(p->replicas_count, 1);
    assert_int_equal(p->replicas[0], 1);
    /* The broker has left: no leader, and it alone is eligible. */
    assert_int_equal(p->leader, -1);
    assert_int_equal(p->isr_count, 0);
    assert_int_equal(p->elr_count, 1);
    assert_int_equal(p->elr[0], 1);
    assert_int_equal(p->last_known_elr_count, 1);
    assert_int_equal(p->leader_epoch, 3);
    assert_int_equal(p->partition_epoch, 4);
    char text[UUID_TEXT_SIZE];
    uuid_print(&p->directories[0], text);
    assert_string_equal(text, "ggY3UIp8QReMmmPv21o3Yg");

    const struct image_config *configs;
    image_configs(im, CONFIG_RESOURCE_TOPIC, STR("widened"), &configs, &count);
    assert_int_equal(count, 3);
    assert_true(str_is(configs[0].name, "compression.type"));
    assert_true(str_is(configs[0].value, "zstd"));
    assert_true(str_is(
        image_config_value(im, CONFIG_RESOURCE_TOPIC, STR("widened"), STR("retention.ms")), "-1"));
    assert_true(
        str_is_null(image_config_value(im, CONFIG_RESOURCE_TOPIC, STR("widened"), STR("a"))));
    assert_true(str_is(
        image_config_value(im, CONFIG_RESOURCE_BROKER, STR(""), STR("min.insync.replicas")), "1"));
    struct str *resources;
    image_config_resources(im, CONFIG_RESOURCE_TOPIC, &arena, &resources, &count);
    assert_int_equal(count, 15);
    assert_true(str_is(resources[14], "widened"));
    image_config_resources(im, CONFIG_RESOURCE_GROUP, &arena, &resources, &count);
    assert_int_equal(count, 1);

    assert_int_equal(image_feature_level(im, STR("metadata.version")), 33);
    assert_int_equal(image_feature_level(im, STR("kraft.version")), 0);
    assert_int_equal(image_next_producer_id(im), 1000);
    const struct image_broker *const *brokers;
    image_brokers(im, &brokers, &count);
    assert_int_equal(count, 1);
    assert_int_equal(brokers[0]->id, 1);
    assert_int_equal(brokers[0]->epoch, 214);
    assert_true(brokers[0]->is_fenced);
    assert_true(brokers[0]->is_in_controlled_shutdown);
    assert_int_equal(brokers[0]->cordoned_log_dirs_count, 0);
    assert_int_equal(brokers[0]->features_count, 7);
    assert_int_equal(brokers[0]->endpoints[0].port, 9192);
    assert_false(image_is_in_transaction(im));
    image_unref(im);
}

struct byte_list {
    struct view items[512];
    size_t count;
};

static int list_add(void *ctx, struct view value)
{
    struct byte_list *list = ctx;
    assert_in_range(list->count, 0, ARRAY_LEN(list->items) - 1);
    uint8_t *copy = arena_alloc(&arena, value.len);
    memcpy(copy, value.ptr, value.len);
    list->items[list->count++] = (struct view){copy, value.len};
    return 0;
}

static void list_add_record(void *ctx, struct view value, int64_t offset unused_ok)
{
    assert_int_equal(list_add(ctx, value), 0);
}

static int compare_views(const void *a, const void *b)
{
    const struct view *x = a;
    const struct view *y = b;
    return str_compare(str_of((const char *)x->ptr, x->len), str_of((const char *)y->ptr, y->len));
}

static void assert_same_records(struct byte_list *a, struct byte_list *b, bool is_ordered)
{
    assert_int_equal(a->count, b->count);
    if (!is_ordered) {
        qsort(a->items, a->count, sizeof(a->items[0]), compare_views);
        qsort(b->items, b->count, sizeof(b->items[0]), compare_views);
    }
    for (size_t i = 0; i < a->count; i++) {
        assert_int_equal(a->items[i].len, b->items[i].len);
        assert_memory_equal(a->items[i].ptr, b->items[i].ptr, a->items[i].len);
    }
}

/* The records that Kafka's own snapshot holds, byte for byte, though not in its (hashed) order. */
static void writes_the_records_that_kafka_wrote(void **state unused_ok)
{
    struct byte_list *theirs = arena_alloc(&arena, sizeof(*theirs));
    struct byte_list *ours = arena_alloc(&arena, sizeof(*ours));
    each_record(DATA_DIR "/snapshot.checkpoint", list_add_record, theirs);
    struct image *im = image_of_file(DATA_DIR "/snapshot.checkpoint");
    assert_int_equal(image_write_snapshot(im, list_add, ours), 0);
    assert_int_equal(theirs->count, 23);
    assert_same_records(theirs, ours, false);
    image_unref(im);
}

static struct image *image_of_list(const struct byte_list *list)
{
    struct image *empty = image_new_empty();
    struct image_delta *d = image_delta_new(empty);
    for (size_t i = 0; i < list->count; i++) {
        assert_int_equal(image_delta_replay(d, list->items[i]), 0);
    }
    image_unref(empty);
    return image_delta_finish(d, 7, 1);
}

static void a_snapshot_makes_the_same_image(void **state unused_ok)
{
    struct image *im = image_of_file(GOLDEN_LOG);
    struct byte_list *first = arena_alloc(&arena, sizeof(*first));
    struct byte_list *second = arena_alloc(&arena, sizeof(*second));
    assert_int_equal(image_write_snapshot(im, list_add, first), 0);
    struct image *again = image_of_list(first);
    assert_int_equal(image_write_snapshot(again, list_add, second), 0);
    assert_same_records(first, second, true);
    assert_int_equal(image_partitions_count(again), image_partitions_count(im));
    image_unref(again);
    image_unref(im);
}

/* --- records made here --- */

static struct uuid id_of(int n)
{
    struct uuid id = {.bytes = {0}};
    store_be32(id.bytes, (uint32_t)n * 2654435761u);
    store_be32(id.bytes + 12, (uint32_t)n);
    return id;
}

static struct view encode(const struct msg *m, int16_t version, void *object)
{
    struct view v;
    assert_int_equal(meta_record_encode(&arena, m, version, object, &v), 0);
    return v;
}

static struct view topic(const char *name, int n)
{
    struct topic_record rec = topic_record_default;
    rec.name = str_from(name);
    rec.topic_id = id_of(n);
    return encode(&topic_record_msg, 0, &rec);
}

static struct view partition(int n, int32_t id, int32_t leader)
{
    int32_t replicas[] = {leader, leader + 1};
    struct uuid dirs[] = {id_of(100), id_of(101)};
    struct partition_record rec = partition_record_default;
    rec.topic_id = id_of(n);
    rec.partition_id = id;
    rec.replicas.items = replicas;
    rec.replicas.count = 2;
    rec.isr.items = replicas;
    rec.isr.count = 2;
    rec.leader = leader;
    rec.leader_epoch = 0;
    rec.partition_epoch = 0;
    rec.directories.items = dirs;
    rec.directories.count = 2;
    return encode(&partition_record_msg, 1, &rec);
}

static struct view config(int type, const char *name, const char *key, const char *value)
{
    struct config_record rec = config_record_default;
    rec.resource_type = (int8_t)type;
    rec.resource_name = str_from(name);
    rec.name = str_from(key);
    rec.value = str_from(value);
    return encode(&config_record_msg, 0, &rec);
}

static struct view remove_topic(int n)
{
    struct remove_topic_record rec = remove_topic_record_default;
    rec.topic_id = id_of(n);
    return encode(&remove_topic_record_msg, 0, &rec);
}

static struct image *apply(struct image *base, const struct view *records, size_t count)
{
    struct image_delta *d = image_delta_new(base);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(image_delta_replay(d, records[i]), 0);
    }
    return image_delta_finish(d, image_offset(base) + (int64_t)count, 1);
}

#define APPLY(base, ...)                        \
    apply((base), (struct view[]){__VA_ARGS__}, \
          sizeof((struct view[]){__VA_ARGS__}) / sizeof(struct view))

static void partition_changes_merge_like_kafka(void **state unused_ok)
{
    struct image *empty = image_new_empty();
    struct image *a = APPLY(empty, topic("t", 1), partition(1, 0, 1), partition(1, 1, 1));
    int32_t isr[] = {2};
    int32_t replicas[] = {2, 3};
    struct partition_change_record rec = partition_change_record_default;
    rec.topic_id = id_of(1);
    rec.partition_id = 1;
    rec.isr.items = isr;
    rec.isr.count = 1;
    struct image *b = APPLY(a, encode(&partition_change_record_msg, 0, &rec));
    const struct image_partition *p = &image_topic_by_name(b, STR("t"))->partitions[1];
    assert_int_equal(p->isr_count, 1);
    assert_int_equal(p->isr[0], 2);
    assert_int_equal(p->leader, 1);
    assert_int_equal(p->leader_epoch, 0);
    assert_int_equal(p->partition_epoch, 1);
    assert_int_equal(p->replicas_count, 2);

    rec.leader = 1; /* the same leader named again is an election */
    rec.replicas.items = replicas;
    rec.replicas.count = 2;
    rec.eligible_leader_replicas.items = isr;
    rec.eligible_leader_replicas.count = 1;
    struct image *c = APPLY(b, encode(&partition_change_record_msg, 2, &rec));
    p = &image_topic_by_name(c, STR("t"))->partitions[1];
    assert_int_equal(p->leader_epoch, 1);
    assert_int_equal(p->partition_epoch, 2);
    struct uuid kept = id_of(101);
    struct uuid unassigned = {.bytes = {[15] = 1}};
    assert_memory_equal(&p->directories[0], &kept, sizeof(kept));
    assert_memory_equal(&p->directories[1], &unassigned, sizeof(unassigned));
    assert_int_equal(p->elr_count, 1);

    struct clear_elr_record clear = clear_elr_record_default;
    clear.topic_name = STR("");
    struct image *e = APPLY(c, encode(&clear_elr_record_msg, 0, &clear));
    const struct image_topic *t = image_topic_by_name(e, STR("t"));
    assert_int_equal(t->partitions[1].elr_count, 0);
    assert_int_equal(t->partitions[1].partition_epoch, 3);
    assert_int_equal(t->partitions[0].partition_epoch, 0);
    clear.topic_name = STR("t");
    struct image *f = APPLY(c, encode(&clear_elr_record_msg, 0, &clear));
    assert_int_equal(image_topic_by_name(f, STR("t"))->partitions[1].elr_count, 0);
    /* The older images are untouched. */
    assert_int_equal(image_topic_by_name(a, STR("t"))->partitions[1].isr_count, 2);
    assert_int_equal(image_topic_by_name(c, STR("t"))->partitions[1].elr_count, 1);
    image_unref(f);
    image_unref(e);
    image_unref(c);
    image_unref(b);
    image_unref(a);
    image_unref(empty);
}

static void names_that_collide_are_found(void **state unused_ok)
{
    struct image *empty = image_new_empty();
    struct image *im = APPLY(empty, topic("a.b_c", 1), topic("a.bcc", 2));
    assert_true(str_is(image_topic_colliding(im, STR("a_b.c"))->name, "a.b_c"));
    assert_true(str_is(image_topic_colliding(im, STR("a_b_c"))->name, "a.b_c"));
    assert_null(image_topic_colliding(im, STR("a.b_c")));
    assert_null(image_topic_colliding(im, STR("a.b-c")));
    assert_null(image_topic_colliding(im, STR("other")));
    image_unref(im);
    image_unref(empty);
}

static void a_transaction_takes_effect_at_its_end(void **state unused_ok)
{
    struct begin_transaction_record begin_record = begin_transaction_record_default;
    struct end_transaction_record end_record = end_transaction_record_default;
    struct abort_transaction_record abort_record = abort_transaction_record_default;
    struct view begin = encode(&begin_transaction_record_msg, 0, &begin_record);
    struct view end = encode(&end_transaction_record_msg, 0, &end_record);
    struct view abort_it = encode(&abort_transaction_record_msg, 0, &abort_record);
    struct image *empty = image_new_empty();
    /* It may begin in one delta and end in another. */
    struct image *a = APPLY(empty, topic("x", 1), begin, topic("y", 2), partition(2, 0, 1));
    assert_true(image_is_in_transaction(a));
    assert_non_null(image_topic_by_name(a, STR("x")));
    assert_null(image_topic_by_name(a, STR("y")));
    struct byte_list *list = arena_alloc(&arena, sizeof(*list));
    assert_int_equal(image_write_snapshot(a, list_add, list), ERR_BAD_ARGUMENT);
    struct image *b = APPLY(a, topic("z", 3), end);
    assert_false(image_is_in_transaction(b));
    assert_int_equal(image_topic_by_name(b, STR("y"))->partitions_count, 1);
    assert_non_null(image_topic_by_name(b, STR("z")));
    struct image *c = APPLY(a, abort_it, topic("w", 4));
    assert_null(image_topic_by_name(c, STR("y")));
    assert_non_null(image_topic_by_name(c, STR("w")));
    struct image_delta *d = image_delta_new(b);
    assert_int_equal(image_delta_replay(d, end), ERR_MALFORMED);
    assert_int_equal(image_delta_replay(d, abort_it), ERR_MALFORMED);
    assert_int_equal(image_delta_replay(d, begin), 0);
    assert_int_equal(image_delta_replay(d, begin), ERR_MALFORMED);
    image_delta_free(d);
    image_unref(c);
    image_unref(b);
    image_unref(a);
    image_unref(empty);
}

static void a_topic_made_again_keeps_nothing(void **state unused_ok)
{
    struct image *empty = image_new_empty();
    struct image *a = APPLY(empty, topic("t", 1), partition(1, 0, 1), config(2, "t", "k", "v"));
    struct image *b = APPLY(a, remove_topic(1), topic("t", 2), config(2, "t", "k2", "v2"));
    assert_int_equal(image_topic_by_name(b, STR("t"))->partitions_count, 0);
    assert_int_equal(image_partitions_count(b), 0);
    struct uuid old = id_of(1);
    assert_null(image_topic_by_id(b, &old));
    assert_true(str_is_null(image_config_value(b, CONFIG_RESOURCE_TOPIC, STR("t"), STR("k"))));
    assert_true(str_is(image_config_value(b, CONFIG_RESOURCE_TOPIC, STR("t"), STR("k2")), "v2"));
    /* A null value removes; the last one removes the resource. */
    struct image *c = APPLY(b, config(2, "t", "k2", NULL));
    struct str *names;
    size_t count;
    image_config_resources(c, CONFIG_RESOURCE_TOPIC, &arena, &names, &count);
    assert_int_equal(count, 0);
    image_unref(c);
    image_unref(b);
    image_unref(a);
    image_unref(empty);
}

static void kept_records_replace_and_remove_each_other(void **state unused_ok)
{
    struct client_quota_record_entity_data entity[2] = {
        client_quota_record_entity_data_default,
        client_quota_record_entity_data_default,
    };
    entity[0].entity_type = STR("user");
    entity[0].entity_name = STR("bob");
    entity[1].entity_type = STR("client-id");
    struct client_quota_record quota = client_quota_record_default;
    quota.entity.items = entity;
    quota.entity.count = 2;
    quota.key = STR("producer_byte_rate");
    quota.value = 5;
    struct view first = encode(&client_quota_record_msg, 0, &quota);
    struct client_quota_record_entity_data swap = entity[0];
    entity[0] = entity[1];
    entity[1] = swap;
    quota.value = 6;
    struct view second = encode(&client_quota_record_msg, 0, &quota);
    struct user_scram_credential_record scram = user_scram_credential_record_default;
    scram.name = STR("bob");
    scram.mechanism = 1;
    scram.salt = scram.stored_key = scram.server_key = (struct view){(const uint8_t *)"x", 1};
    struct image *empty = image_new_empty();
    struct image *a = APPLY(empty, first, encode(&user_scram_credential_record_msg, 0, &scram));
    struct image *b = APPLY(a, second);
    struct byte_list *list = arena_alloc(&arena, sizeof(*list));
    assert_int_equal(image_kept_each(b, 14, list_add, list), 0);
    assert_int_equal(list->count, 1);
    assert_int_equal(compare_views(&list->items[0], &second), 0);
    quota.remove = true;
    struct remove_user_scram_credential_record gone = remove_user_scram_credential_record_default;
    gone.name = STR("bob");
    gone.mechanism = 1;
    struct image *c = APPLY(b, encode(&client_quota_record_msg, 0, &quota),
                            encode(&remove_user_scram_credential_record_msg, 0, &gone));
    list->count = 0;
    assert_int_equal(image_kept_each(c, 14, list_add, list), 0);
    assert_int_equal(image_kept_each(c, 11, list_add, list), 0);
    assert_int_equal(list->count, 0);
    assert_int_equal(image_kept_each(c, 2, list_add, list), ERR_BAD_ARGUMENT);
    image_unref(c);
    image_unref(b);
    image_unref(a);
    image_unref(empty);
}

static void refuses(const uint8_t *bytes, size_t len, int err)
{
    struct image *empty = image_new_empty();
    struct image_delta *d = image_delta_new(empty);
    struct view v = {bytes, len};
    assert_int_equal(image_delta_replay(d, v), err);
    image_delta_free(d);
    image_unref(empty);
}

/* A change would raise them, and there is no epoch behind the last one. */
static void the_last_epoch_of_a_partition_is_not_passed(void **state unused_ok)
{
    struct image *empty = image_new_empty();
    for (int i = 0; i < 2; i++) {
        struct partition_record last = partition_record_default;
        last.topic_id = id_of(1);
        last.partition_id = 0;
        last.leader_epoch = i == 0 ? INT32_MAX : 0;
        last.partition_epoch = i == 0 ? 0 : INT32_MAX;
        struct partition_change_record change = partition_change_record_default;
        change.topic_id = id_of(1);
        change.partition_id = 0;
        change.leader = 1;
        struct image_delta *d = image_delta_new(empty);
        assert_int_equal(image_delta_replay(d, topic("t", 1)), 0);
        assert_int_equal(image_delta_replay(d, encode(&partition_record_msg, 0, &last)), 0);
        struct view v = encode(&partition_change_record_msg, 0, &change);
        assert_int_equal(image_delta_replay(d, v), ERR_MALFORMED);
        image_delta_free(d);
    }
    image_unref(empty);
}

static void bad_records_are_refused(void **state unused_ok)
{
    refuses((const uint8_t *)"", 0, ERR_MALFORMED);
    refuses((const uint8_t *)"\x02\x02\x00", 3, ERR_UNSUPPORTED); /* frame version */
    refuses((const uint8_t *)"\x01\x06\x00", 3, ERR_UNSUPPORTED); /* no such record */
    refuses((const uint8_t *)"\x01\x7f\x00", 3, ERR_UNSUPPORTED);
    refuses((const uint8_t *)"\x01\x02\x07", 3, ERR_UNSUPPORTED);       /* no such version */
    refuses((const uint8_t *)"\x01\x14\x00\x00\x00", 5, ERR_MALFORMED); /* a byte too many */
    refuses((const uint8_t *)"\x01\x02\x00\x05te", 6, ERR_TRUNCATED);
    struct view v = partition(9, 0, 1); /* of a topic that is not there */
    refuses(v.ptr, v.len, ERR_MALFORMED);
    v = remove_topic(9);
    refuses(v.ptr, v.len, ERR_MALFORMED);
}

/* --- the property --- */

enum {
    TOPICS = 40,
    IMAGES = 60
};

struct model {
    int id[TOPICS]; /* 0: not there */
    int partitions[TOPICS];
    int changes[TOPICS]; /* of partition 0 */
    int config[TOPICS];  /* value, 0: none */
};

struct seen {
    struct model before;
    struct model after;
    int created[TOPICS];
    int deleted[TOPICS];
    int changed[TOPICS];
    int configs[TOPICS];
};

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

static struct str name_of(int i)
{
    return arena_printf(&arena, "topic-%03d", i);
}

static int index_of(struct str name)
{
    int32_t n;
    assert_int_equal(str_to_i32(str_of(name.ptr + 6, name.len - 6), &n), 0);
    return n;
}

static struct view random_record(struct model *m, uint32_t *random, int *next_id)
{
    int i = (int)(next_random(random) % TOPICS);
    struct str name = name_of(i);
    if (m->id[i] == 0) {
        m->id[i] = (*next_id)++;
        m->partitions[i] = m->changes[i] = m->config[i] = 0;
        return topic(name.ptr, m->id[i]);
    }
    switch (next_random(random) % 8) {
    case 0: {
        struct view v = remove_topic(m->id[i]);
        m->id[i] = 0;
        m->config[i] = 0;
        return v;
    }
    case 1:
    case 2:
        m->config[i] = (int)(next_random(random) % 5);
        return config(2, name.ptr, "key",
                      m->config[i] == 0 ? NULL : arena_printf(&arena, "%d", m->config[i]).ptr);
    case 3:
    case 4:
        if (m->partitions[i] > 0) {
            struct partition_change_record rec = partition_change_record_default;
            rec.topic_id = id_of(m->id[i]);
            rec.partition_id = 0;
            rec.leader = 1;
            m->changes[i]++;
            return encode(&partition_change_record_msg, 0, &rec);
        }
        return partition(m->id[i], m->partitions[i]++, 1);
    default:
        return partition(m->id[i], m->partitions[i]++, 1);
    }
}

static void assert_image_is(const struct image *im, const struct model *m)
{
    size_t topics = 0;
    size_t partitions = 0;
    for (int i = 0; i < TOPICS; i++) {
        const struct image_topic *t = image_topic_by_name(im, name_of(i));
        assert_int_equal(t != NULL, m->id[i] != 0);
        struct str value = image_config_value(im, CONFIG_RESOURCE_TOPIC, name_of(i), STR("key"));
        int32_t n = 0;
        if (!str_is_null(value)) {
            assert_int_equal(str_to_i32(value, &n), 0);
        }
        assert_int_equal(n, m->config[i]);
        if (t == NULL) {
            continue;
        }
        struct uuid id = id_of(m->id[i]);
        assert_ptr_equal(image_topic_by_id(im, &id), t);
        assert_int_equal(t->partitions_count, m->partitions[i]);
        if (m->partitions[i] > 0) {
            assert_int_equal(t->partitions[0].partition_epoch, m->changes[i]);
        }
        topics++;
        partitions += (size_t)t->partitions_count;
    }
    assert_int_equal(image_topics_count(im), topics);
    assert_int_equal(image_partitions_count(im), partitions);
    image_map_validate(&im->topics);
    image_map_validate(&im->topic_ids);
    image_map_validate(&im->topic_names);
    image_map_validate(&im->configs);
}

static void on_created(void *ctx, const struct image_topic *t)
{
    ((struct seen *)ctx)->created[index_of(t->name)]++;
}

static void on_deleted(void *ctx, const struct image_topic *t)
{
    ((struct seen *)ctx)->deleted[index_of(t->name)]++;
}

static void on_changed(void *ctx, const struct image_topic *before, const struct image_topic *after)
{
    assert_true(str_equal(before->name, after->name));
    ((struct seen *)ctx)->changed[index_of(after->name)]++;
}

static void on_config(void *ctx, enum config_resource_type type, struct str name)
{
    assert_int_equal(type, CONFIG_RESOURCE_TOPIC);
    ((struct seen *)ctx)->configs[index_of(name)]++;
}

static void assert_comparison(const struct image *a,
                              const struct image *b,
                              const struct model *x,
                              const struct model *y)
{
    struct seen seen = {.before = *x, .after = *y};
    const struct image_change change = {
        .topic_created = on_created,
        .topic_deleted = on_deleted,
        .topic_changed = on_changed,
        .config_changed = on_config,
    };
    image_compare(a, b, &change, &seen);
    for (int i = 0; i < TOPICS; i++) {
        bool is_same = x->id[i] == y->id[i];
        assert_int_equal(seen.created[i], !is_same && y->id[i] != 0);
        assert_int_equal(seen.deleted[i], !is_same && x->id[i] != 0);
        bool must_change = is_same && x->id[i] != 0 &&
                           (x->partitions[i] != y->partitions[i] || x->changes[i] != y->changes[i]);
        assert_int_equal(seen.changed[i], must_change);
        /* A value that went away and came back is a new object: it may be reported. */
        if (x->config[i] != y->config[i]) {
            assert_int_equal(seen.configs[i], 1);
        }
        assert_in_range(seen.configs[i], 0, 1);
    }
}

static void images_stay_and_compare_exactly(void **state unused_ok)
{
    static struct model models[IMAGES];
    struct image *images[IMAGES];
    uint32_t random = 7;
    int next_id = 1;
    struct model m = {0};
    struct image *im = image_new_empty();
    for (int n = 0; n < IMAGES; n++) {
        struct image_delta *d = image_delta_new(im);
        int steps = n % 7 == 0 ? 200 : 3;
        for (int i = 0; i < steps; i++) {
            assert_int_equal(image_delta_replay(d, random_record(&m, &random, &next_id)), 0);
        }
        images[n] = image_delta_finish(d, n, 1);
        image_unref(im);
        im = image_ref(images[n]);
        models[n] = m;
    }
    image_unref(im);
    for (int n = 0; n < IMAGES; n++) {
        assert_image_is(images[n], &models[n]);
        for (int back = 0; back < 4 && back <= n; back++) {
            assert_comparison(images[n - back], images[n], &models[n - back], &models[n]);
            assert_comparison(images[n], images[n - back], &models[n], &models[n - back]);
        }
    }
    for (int n = 0; n < IMAGES; n++) {
        image_unref(images[n]);
    }
}

/* A topic of many partitions is built once a delta; drafts beyond the bound are settled. */
static void large_deltas_are_whole(void **state unused_ok)
{
    struct image *empty = image_new_empty();
    struct image_delta *d = image_delta_new(empty);
    enum {
        MANY = 1500
    };
    for (int i = 1; i <= MANY; i++) {
        assert_int_equal(image_delta_replay(d, topic(name_of(i).ptr, i)), 0);
        assert_int_equal(image_delta_replay(d, partition(i, 0, 1)), 0);
        assert_int_equal(image_delta_replay(d, config(2, name_of(i).ptr, "key", "1")), 0);
    }
    for (int i = 1; i < 1000; i++) {
        assert_int_equal(image_delta_replay(d, partition(5, i, 1)), 0);
    }
    struct image *im = image_delta_finish(d, 1, 1);
    assert_int_equal(image_topics_count(im), MANY);
    assert_int_equal(image_partitions_count(im), MANY + 999);
    struct image_partition last = image_topic_by_name(im, name_of(5))->partitions[999];
    assert_int_equal(last.replicas_count, 2);
    image_unref(im);
    image_unref(empty);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(replays_a_log_that_kafka_wrote, setup, teardown),
        cmocka_unit_test_setup_teardown(writes_the_records_that_kafka_wrote, setup, teardown),
        cmocka_unit_test_setup_teardown(a_snapshot_makes_the_same_image, setup, teardown),
        cmocka_unit_test_setup_teardown(partition_changes_merge_like_kafka, setup, teardown),
        cmocka_unit_test_setup_teardown(names_that_collide_are_found, setup, teardown),
        cmocka_unit_test_setup_teardown(a_transaction_takes_effect_at_its_end, setup, teardown),
        cmocka_unit_test_setup_teardown(a_topic_made_again_keeps_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(kept_records_replace_and_remove_each_other, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(the_last_epoch_of_a_partition_is_not_passed, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(bad_records_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(images_stay_and_compare_exactly, setup, teardown),
        cmocka_unit_test_setup_teardown(large_deltas_are_whole, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
