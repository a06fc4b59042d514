/*
 * Topics of a request, grouped: small arrays are laid out by hand, as a decoder leaves them, and
 * the groups compared with what was named. No broker, no files.
 */
#include "unit.h"

#include "broker/topic_groups.h"
#include "wire/gen/messages.h"

typedef struct delete_records_request_delete_records_topic named_topic;
typedef struct delete_records_request_delete_records_partition named;
typedef struct produce_request_topic_produce_data written_topic;

static struct topic_groups group(named_topic *topics, int32_t count, struct arena *arena)
{
    struct {
        named_topic *items;
        int32_t count;
    } array = {topics, count};
    const struct topic_source source = TOPIC_SOURCE(array, named_topic, name, partitions, false);
    struct topic_groups tg;
    topic_groups_init(&tg, &source, arena, 7);
    return tg;
}

static void topics_that_are_named_twice_are_one_group(void **state)
{
    (void)state;
    struct arena arena = {0};
    named parts[3] = {{.partition_index = 0}, {.partition_index = 1}, {.partition_index = 2}};
    named_topic topics[] = {
        {.name = STR("a"), .partitions = {.items = parts, .count = 2}},
        {.name = STR("b"), .partitions = {.items = parts, .count = 1}},
        {.name = STR("a"), .partitions = {.items = parts, .count = 3}},
    };
    struct topic_groups tg = group(topics, 3, &arena);
    assert_int_equal(tg.count, 2);
    assert_int_equal(tg.total, 6);
    assert_int_equal(tg.of[0], 0);
    assert_int_equal(tg.of[1], 1);
    assert_int_equal(tg.of[2], 0);
    assert_int_equal(tg.first[0], 0);
    assert_int_equal(tg.first[1], 1);
    assert_int_equal(tg.partitions[0], 5);
    assert_int_equal(tg.partitions[1], 1);
    topic_groups_release(&tg);
    arena_release(&arena);
}

static void topics_without_partitions_have_no_group(void **state)
{
    (void)state;
    struct arena arena = {0};
    named parts[1] = {{.partition_index = 0}};
    named_topic topics[] = {
        {.name = STR("a"), .partitions = {.items = NULL, .count = 0}},
        {.name = STR("b"), .partitions = {.items = parts, .count = 1}},
        {.name = STR("c"), .partitions = {.items = NULL, .count = -1}},
    };
    struct topic_groups tg = group(topics, 3, &arena);
    assert_int_equal(tg.count, 1);
    assert_true(tg.of[0] == SIZE_MAX);
    assert_int_equal(tg.of[1], 0);
    assert_true(tg.of[2] == SIZE_MAX);
    topic_groups_release(&tg);
    tg = group(topics, 0, &arena);
    assert_int_equal(tg.count, 0);
    assert_int_equal(tg.total, 0);
    topic_groups_release(&tg);
    arena_release(&arena);
}

static void a_partition_is_one_object_in_its_group(void **state)
{
    (void)state;
    struct arena arena = {0};
    named parts[1] = {{.partition_index = 0}};
    named_topic topics[] = {
        {.name = STR("a"), .partitions = {.items = parts, .count = 1}},
        {.name = STR("b"), .partitions = {.items = parts, .count = 1}},
    };
    struct topic_groups tg = group(topics, 2, &arena);
    for (int32_t number = -1; number < 1000; number++) {
        topic_groups_partition(&tg, 0, number)->times++;
        topic_groups_partition(&tg, 1, number)->times += 2;
    }
    for (int32_t number = -1; number < 1000; number++) {
        struct named_partition *np = topic_groups_partition(&tg, 0, number);
        assert_int_equal(np->number, number);
        assert_int_equal(np->times, 1);
        assert_int_equal(topic_groups_partition(&tg, 1, number)->times, 2);
    }
    topic_groups_release(&tg);
    arena_release(&arena);
}

static void topics_are_told_apart_by_their_ids(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct produce_request_partition_produce_data part = {.index = 0};
    written_topic topics[] = {
        {.topic_id = {.bytes = {1}}, .partition_data = {.items = &part, .count = 1}},
        {.topic_id = {.bytes = {2}}, .partition_data = {.items = &part, .count = 1}},
        {.topic_id = {.bytes = {1}}, .partition_data = {.items = &part, .count = 1}},
    };
    struct {
        written_topic *items;
        int32_t count;
    } array = {topics, 3};
    const struct topic_source source =
        TOPIC_SOURCE(array, written_topic, topic_id, partition_data, true);
    struct topic_groups tg;
    topic_groups_init(&tg, &source, &arena, 7);
    assert_int_equal(tg.count, 2);
    assert_int_equal(tg.of[2], tg.of[0]);
    assert_true(tg.of[1] != tg.of[0]);
    topic_groups_release(&tg);
    arena_release(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(topics_that_are_named_twice_are_one_group),
        cmocka_unit_test(topics_without_partitions_have_no_group),
        cmocka_unit_test(a_partition_is_one_object_in_its_group),
        cmocka_unit_test(topics_are_told_apart_by_their_ids),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
