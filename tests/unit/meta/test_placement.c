/*
 * Placement of replicas, over images with brokers in racks. Checked are the properties that users
 * rely on, for many seeds: no broker twice in a partition, leaders only on brokers that serve and
 * evenly spread, and a rack repeated only when there are too few racks.
 */
#include "unit.h"

#include "base/err.h"
#include "base/mem.h"
#include "meta/bootstrap.h"
#include "meta/placement.h"
#include "meta/records.h"

struct row {
    const char *rack; /* NULL: none */
    bool serves;
};

static struct image *image_of(struct arena *arena, const struct row *rows, int32_t count)
{
    struct meta_records records;
    meta_records_init(&records, arena);
    for (int32_t i = 0; i < count; i++) {
        struct bootstrap_node node = {.id = i + 1, .rack = str_from(rows[i].rack)};
        assert_int_equal(bootstrap_register_broker(&records, &node, 7, METADATA_VERSION_LATEST), 0);
        if (rows[i].serves) {
            assert_int_equal(bootstrap_change_broker(&records, i + 1, 7, BOOTSTRAP_UNFENCE), 0);
        }
    }
    struct image *empty = image_new_empty();
    struct image_delta *d = image_delta_new(empty);
    for (size_t i = 0; i < records.count; i++) {
        assert_int_equal(image_delta_replay(d, records.items[i]), 0);
    }
    image_unref(empty);
    return image_delta_finish(d, 1, 1);
}

static void each_broker_once_and_leaders_that_serve(void **state unused_ok)
{
    struct arena arena = {0};
    static const struct row rows[] = {
        {"a", true}, {"a", false}, {"b", true}, {NULL, true}, {"b", true}, {"c", false},
    };
    struct image *im = image_of(&arena, rows, ARRAY_LEN(rows));
    for (uint64_t seed = 0; seed < 50; seed++) {
        struct placement pm;
        placement_init(&pm, im, &arena, seed);
        for (int32_t replicas = 1; replicas <= 6; replicas++) {
            int32_t ids[6];
            assert_int_equal(placement_next(&pm, replicas, ids), PLACEMENT_OK);
            assert_true(rows[ids[0] - 1].serves);
            unsigned seen = 0;
            for (int32_t i = 0; i < replicas; i++) {
                assert_in_range(ids[i], 1, 6);
                assert_int_equal(seen & (1u << ids[i]), 0);
                seen |= 1u << ids[i];
            }
        }
    }
    image_unref(im);
    arena_release(&arena);
}

static void racks_repeat_only_when_they_must_and_lead_in_turn(void **state unused_ok)
{
    struct arena arena = {0};
    static const struct row rows[] = {
        {"a", true}, {"a", true}, {"b", true}, {"b", true}, {"c", true}, {"c", true},
    };
    struct image *im = image_of(&arena, rows, ARRAY_LEN(rows));
    for (uint64_t seed = 0; seed < 50; seed++) {
        struct placement pm;
        placement_init(&pm, im, &arena, seed);
        int leads[3] = {0}; /* by rack */
        for (int32_t n = 0; n < 30; n++) {
            int32_t ids[3];
            assert_int_equal(placement_next(&pm, 3, ids), PLACEMENT_OK);
            leads[(ids[0] - 1) / 2]++;
            for (int32_t i = 0; i < 3; i++) {
                assert_string_not_equal(rows[ids[i] - 1].rack, rows[ids[(i + 1) % 3] - 1].rack);
            }
        }
        for (int i = 0; i < 3; i++) {
            assert_int_equal(leads[i], 10);
        }
    }
    image_unref(im);
    arena_release(&arena);
}

static void leaders_are_spread_evenly(void **state unused_ok)
{
    struct arena arena = {0};
    static const struct row rows[] = {{NULL, true}, {NULL, true}, {NULL, true}, {NULL, true}};
    struct image *im = image_of(&arena, rows, ARRAY_LEN(rows));
    struct placement pm;
    placement_init(&pm, im, &arena, 1);
    int32_t leads[5] = {0};
    int32_t follows[5] = {0};
    for (int32_t n = 0; n < 400; n++) {
        int32_t ids[2];
        assert_int_equal(placement_next(&pm, 2, ids), PLACEMENT_OK);
        leads[ids[0]]++;
        follows[ids[1]]++;
    }
    for (int32_t id = 1; id <= 4; id++) {
        assert_int_equal(leads[id], 100);
        assert_int_equal(follows[id], 100);
    }
    image_unref(im);
    arena_release(&arena);
}

static void too_few_or_none_that_serve_is_said(void **state unused_ok)
{
    struct arena arena = {0};
    static const struct row rows[] = {{NULL, false}, {NULL, false}};
    struct image *im = image_of(&arena, rows, ARRAY_LEN(rows));
    struct placement pm;
    int32_t ids[3];
    placement_init(&pm, im, &arena, 1);
    assert_int_equal(placement_next(&pm, 3, ids), PLACEMENT_TOO_FEW_BROKERS);
    assert_int_equal(placement_next(&pm, 2, ids), PLACEMENT_NONE_ACTIVE);
    image_unref(im);
    im = image_new_empty();
    placement_init(&pm, im, &arena, 1);
    assert_int_equal(placement_next(&pm, 1, ids), PLACEMENT_TOO_FEW_BROKERS);
    image_unref(im);
    arena_release(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_broker_once_and_leaders_that_serve),
        cmocka_unit_test(racks_repeat_only_when_they_must_and_lead_in_turn),
        cmocka_unit_test(leaders_are_spread_evenly),
        cmocka_unit_test(too_few_or_none_that_serve_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
