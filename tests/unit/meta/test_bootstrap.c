/*
 * The records that a cluster begins with: what is made here is compared, byte for byte, with what
 * Kafka 4.4.0 wrote at its first start (the log of tests/golden/kafka-dir), and the levels of
 * features with what `kafka-storage version-mapping` says of each release.
 */
#include "unit.h"

#include "base/err.h"
#include "base/fs.h"
#include "meta/bootstrap.h"
#include "wire/batch.h"

#define GOLDEN GOLDEN_DIR "/kafka-dir/__cluster_metadata-0/"

struct log_values {
    struct view items[512]; /* by offset or, in a snapshot, by place */
    size_t count;
};

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

static struct log_values *read_values(const char *path)
{
    struct fs fs;
    fs_init_system(&fs);
    char *bytes;
    size_t len;
    assert_int_equal(fs_read_file(&fs, path, 1 << 20, &bytes, &len), 0);
    struct log_values *lv = arena_alloc(&arena, sizeof(*lv));
    struct batch b;
    for (size_t at = 0; at < len; at += b.size) {
        assert_int_equal(batch_peek(bytes + at, len - at, &b), 0);
        struct record_iter it;
        struct record rec;
        assert_int_equal(record_iter_init(&it, &b, INT64_MAX), 0);
        while (record_iter_next(&it, &rec) > 0) {
            assert_in_range(lv->count, 0, ARRAY_LEN(lv->items) - 1);
            uint8_t *copy = arena_alloc(&arena, rec.value.len);
            memcpy(copy, rec.value.ptr, rec.value.len);
            lv->items[lv->count++] = (struct view){copy, rec.value.len};
        }
        record_iter_release(&it);
    }
    mem_free(bytes);
    return lv;
}

static void assert_values(const struct meta_records *mr, const struct log_values *lv, size_t from)
{
    for (size_t i = 0; i < mr->count; i++) {
        assert_int_equal(mr->items[i].len, lv->items[from + i].len);
        assert_memory_equal(mr->items[i].ptr, lv->items[from + i].ptr, mr->items[i].len);
    }
}

static void the_first_records_are_those_of_kafka(void **state unused_ok)
{
    struct log_values *lv = read_values(GOLDEN "00000000000000000000.log");
    struct log_values *snapshot = read_values(GOLDEN "00000000000000000000-0000000000.checkpoint");
    struct bootstrap_levels levels;
    struct meta_records features;
    bootstrap_levels_at(METADATA_VERSION_LATEST, &levels);
    meta_records_init(&features, &arena);
    assert_int_equal(bootstrap_features(&features, &levels), 0);
    assert_int_equal(features.count, 6);
    assert_values(&features, snapshot, 3);

    struct meta_records mr;
    meta_records_init(&mr, &arena);
    assert_int_equal(bootstrap_cluster(&mr, features.items, features.count, STR("1")), 0);
    assert_int_equal(mr.count, 9);
    assert_values(&mr, lv, 3);
}

static struct uuid uuid_of(const char *text)
{
    struct uuid id;
    assert_int_equal(uuid_parse(str_from(text), &id), 0);
    return id;
}

static void a_node_registers_like_kafka(void **state unused_ok)
{
    struct log_values *lv = read_values(GOLDEN "00000000000000000000.log");
    struct uuid dir = uuid_of("ggY3UIp8QReMmmPv21o3Yg");
    struct image_endpoint controller = {STR("CONTROLLER"), STR("127.0.0.1"), 9193, 0};
    struct image_endpoint client = {STR("PLAINTEXT"), STR("127.0.0.1"), 9192, 0};
    struct bootstrap_node node = {
        .id = 1,
        .incarnation_id = uuid_of("amCzC6lOTTOKlAiTksD2oA"),
        .endpoints = &controller,
        .endpoints_count = 1,
        .log_dirs = &dir,
        .log_dirs_count = 1,
    };
    struct meta_records mr;
    meta_records_init(&mr, &arena);
    assert_int_equal(bootstrap_register_controller(&mr, &node, METADATA_VERSION_LATEST), 0);
    assert_values(&mr, lv, 12);

    node.incarnation_id = uuid_of("PJqJ6KN4SgiBjurh4ZjMww");
    node.endpoints = &client;
    meta_records_init(&mr, &arena);
    assert_int_equal(bootstrap_register_broker(&mr, &node, 13, METADATA_VERSION_LATEST), 0);
    /* Kafka lists the features in the order of a hash table: the same bytes, elsewhere. */
    assert_int_equal(mr.items[0].len, lv->items[13].len);
    struct image *empty = image_new_empty();
    struct image_delta *ours = image_delta_new(empty);
    struct image_delta *theirs = image_delta_new(empty);
    assert_int_equal(image_delta_replay(ours, mr.items[0]), 0);
    assert_int_equal(image_delta_replay(theirs, lv->items[13]), 0);
    struct image *a = image_delta_finish(ours, 13, 1);
    struct image *b = image_delta_finish(theirs, 13, 1);
    const struct image_broker *x = image_broker(a, 1);
    const struct image_broker *y = image_broker(b, 1);
    assert_true(uuid_equal(&x->incarnation_id, &y->incarnation_id));
    assert_int_equal(x->epoch, y->epoch);
    assert_int_equal(x->features_count, y->features_count);
    assert_int_equal(x->is_fenced, y->is_fenced);
    assert_int_equal(x->log_dirs_count, y->log_dirs_count);
    assert_int_equal(x->cordoned_log_dirs_count, y->cordoned_log_dirs_count);
    assert_true(str_is_null(x->rack) && str_is_null(y->rack));
    image_unref(a);
    image_unref(b);
    image_unref(empty);

    meta_records_init(&mr, &arena);
    assert_int_equal(bootstrap_change_broker(&mr, 1, 13, BOOTSTRAP_UNFENCE), 0);
    assert_int_equal(bootstrap_cordon(&mr, 1, 13, NULL, 0, METADATA_VERSION_LATEST), 0);
    assert_int_equal(mr.count, 2);
    assert_values(&mr, lv, 14);
    meta_records_init(&mr, &arena);
    assert_int_equal(bootstrap_change_broker(&mr, 1, 214, BOOTSTRAP_CONTROLLED_SHUTDOWN), 0);
    assert_values(&mr, lv, 289);
    meta_records_init(&mr, &arena);
    assert_int_equal(bootstrap_change_broker(&mr, 1, 214, BOOTSTRAP_FENCE), 0);
    assert_values(&mr, lv, 319);
}

static void older_metadata_versions_get_what_they_can_read(void **state unused_ok)
{
    struct bootstrap_levels levels;
    struct meta_records features;
    struct meta_records mr;
    bootstrap_levels_at(7, &levels);
    meta_records_init(&features, &arena);
    meta_records_init(&mr, &arena);
    assert_int_equal(bootstrap_features(&features, &levels), 0);
    assert_int_equal(features.count, 1);
    assert_int_equal(bootstrap_cluster(&mr, features.items, features.count, STR("1")), 0);
    assert_int_equal(mr.count, 1); /* no transaction, no eligible leader replicas */
    struct bootstrap_node node = {.id = 1};
    assert_int_equal(bootstrap_register_controller(&mr, &node, 14), 0);
    assert_int_equal(bootstrap_cordon(&mr, 1, 1, NULL, 0, 29), 0);
    assert_int_equal(mr.count, 1);
    assert_int_equal(bootstrap_register_controller(&mr, &node, 15), 0);
    assert_int_equal(mr.count, 2);
}

static void levels_follow_the_release(void **state unused_ok)
{
    static const struct {
        const char *release;
        int16_t metadata, kraft, transaction, group, elr, share, streams;
    } rows[] = {
        {"3.3-IV3", 7, 0, 0, 0, 0, 0, 0},  {"3.7-IV4", 19, 0, 0, 0, 0, 0, 0},
        {"3.9-IV0", 21, 1, 0, 0, 0, 0, 0}, {"4.0-IV0", 22, 1, 0, 1, 0, 0, 0},
        {"4.0-IV2", 24, 1, 2, 1, 0, 0, 0}, {"4.0", 25, 1, 2, 1, 0, 0, 0},
        {"4.1-IV0", 26, 1, 2, 1, 1, 0, 0}, {"4.1", 27, 1, 2, 1, 1, 0, 0},
        {"4.2-IV0", 28, 1, 2, 1, 1, 1, 0}, {"4.2", 29, 1, 2, 1, 1, 1, 1},
        {"4.3", 30, 1, 2, 1, 1, 1, 1},     {"4.4-IV0", 31, 1, 2, 1, 1, 2, 1},
        {"4.4", 33, 1, 2, 1, 1, 2, 1},     {"3.4", 8, 0, 0, 0, 0, 0, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int16_t mv = features_metadata_version_parse(str_from(rows[i].release));
        assert_int_equal(mv, rows[i].metadata);
        assert_int_equal(features_level_at(features_find(STR("kraft.version")), mv), rows[i].kraft);
        assert_int_equal(features_level_at(features_find(STR("transaction.version")), mv),
                         rows[i].transaction);
        assert_int_equal(features_level_at(features_find(STR("group.version")), mv), rows[i].group);
        assert_int_equal(
            features_level_at(features_find(STR("eligible.leader.replicas.version")), mv),
            rows[i].elr);
        assert_int_equal(features_level_at(features_find(STR("share.version")), mv), rows[i].share);
        assert_int_equal(features_level_at(features_find(STR("streams.version")), mv),
                         rows[i].streams);
        assert_int_equal(features_level_at(features_find(STR("metadata.version")), mv), mv);
    }
    for (size_t i = 0; i < FEATURES_COUNT; i++) {
        const struct feature *f = &features_table[i];
        assert_int_equal(features_level_at(f, METADATA_VERSION_LATEST), f->level);
        assert_in_range(f->level, f->min, f->max);
    }
    assert_int_equal(features_metadata_version_parse(STR("9.9")), -1);
    assert_int_equal(features_metadata_version_parse(STR("")), -1);
    assert_null(features_find(STR("foo.version")));
    assert_string_equal(features_metadata_version_name(33), "4.4-IV2");
    assert_null(features_metadata_version_name(34));
    assert_null(features_metadata_version_name(6));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_first_records_are_those_of_kafka, setup, teardown),
        cmocka_unit_test_setup_teardown(a_node_registers_like_kafka, setup, teardown),
        cmocka_unit_test_setup_teardown(older_metadata_versions_get_what_they_can_read, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(levels_follow_the_release, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
