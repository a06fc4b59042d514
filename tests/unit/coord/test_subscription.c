/* What classic consumers write: bytes by hand (as Kafka's ConsumerProtocol writes them) are read,
 * cut short, and met with versions that nobody has; what is built is read again. */
#include "base/base.h"

#include "base/err.h"
#include "coord/subscription.h"
#include "unit.h"

#define BYTES(literal)                     \
    ((struct view){                        \
        .ptr = (const uint8_t *)(literal), \
        .len = sizeof(literal) - 1,        \
    })

/* Version 3: topics a and bc, user data "u", owned bc-1 and bc-4, generation 7, rack r. */
static const char SUBSCRIPTION_3[] = "\0\3"
                                     "\0\0\0\2\0\1a\0\2bc"
                                     "\0\0\0\1u"
                                     "\0\0\0\1\0\2bc\0\0\0\2\0\0\0\1\0\0\0\4"
                                     "\0\0\0\7"
                                     "\0\1r";

static void a_subscription_is_read(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct consumer_protocol_subscription s;
    int16_t version;
    assert_int_equal(subscription_parse(BYTES(SUBSCRIPTION_3), &arena, &s, &version), 0);
    assert_int_equal(version, 3);
    assert_int_equal(s.topics.count, 2);
    assert_true(str_is(s.topics.items[0], "a"));
    assert_true(str_is(s.topics.items[1], "bc"));
    assert_int_equal(s.user_data.len, 1);
    assert_int_equal(s.owned_partitions.count, 1);
    assert_true(str_is(s.owned_partitions.items[0].topic, "bc"));
    assert_int_equal(s.owned_partitions.items[0].partitions.count, 2);
    assert_int_equal(s.owned_partitions.items[0].partitions.items[1], 4);
    assert_int_equal(s.generation_id, 7);
    assert_true(str_is(s.rack_id, "r"));
    arena_release(&arena);
}

static void older_versions_have_defaults(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct consumer_protocol_subscription s;
    int16_t version;
    assert_int_equal(
        subscription_parse(BYTES("\0\0\0\0\0\1\0\2t1\xff\xff\xff\xff"), &arena, &s, &version), 0);
    assert_int_equal(version, 0);
    assert_true(str_is(s.topics.items[0], "t1"));
    assert_null(s.user_data.ptr);
    assert_int_equal(s.owned_partitions.count, 0);
    assert_int_equal(s.generation_id, -1);
    assert_true(str_is_null(s.rack_id));
    arena_release(&arena);
}

static void a_newer_version_is_read_as_the_newest_known(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct consumer_protocol_subscription s;
    int16_t version;
    char bytes[sizeof(SUBSCRIPTION_3) + 3];
    memcpy(bytes, SUBSCRIPTION_3, sizeof(SUBSCRIPTION_3) - 1);
    memcpy(bytes + sizeof(SUBSCRIPTION_3) - 1, "more", 4);
    bytes[0] = 0x7f;
    struct view view = {.ptr = (const uint8_t *)bytes, .len = sizeof(bytes)};
    assert_int_equal(subscription_parse(view, &arena, &s, &version), 0);
    assert_int_equal(version, 0x7f03);
    assert_true(str_is(s.rack_id, "r"));
    arena_release(&arena);
}

static void what_is_cut_short_is_refused(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct consumer_protocol_subscription s;
    struct consumer_protocol_assignment a;
    int16_t version;
    for (size_t len = 0; len < sizeof(SUBSCRIPTION_3) - 1; len++) {
        struct view view = {.ptr = (const uint8_t *)SUBSCRIPTION_3, .len = len};
        assert_true(subscription_parse(view, &arena, &s, &version) < 0);
    }
    assert_true(subscription_parse((struct view){0}, &arena, &s, &version) < 0);
    assert_true(subscription_parse(BYTES("\xff\xff\0\0\0\0\0\0\0\0"), &arena, &s, &version) < 0);
    assert_true(subscription_parse(BYTES("\0\0\x7f\xff\xff\xff"), &arena, &s, &version) < 0);
    assert_true(subscription_parse(BYTES("\0\0\xff\xff\xff\xff"), &arena, &s, &version) < 0);
    assert_true(subscription_parse_assignment(BYTES("\0"), &arena, &a, &version) < 0);
    assert_true(subscription_parse_assignment(BYTES("\0\1\0\0\0\0"), &arena, &a, &version) < 0);
    arena_release(&arena);
}

/* ---- building ---- */

static struct uuid id_of(uint8_t number)
{
    return (struct uuid){.bytes = {number}};
}

/* Topics "t1" and "t3"; there is no topic 2. */
static bool by_id(void *ctx, const struct uuid *id, struct shard_topic *ret)
{
    (void)ctx;
    if (id->bytes[0] != 1 && id->bytes[0] != 3) {
        return false;
    }
    *ret = (struct shard_topic){
        .name = id->bytes[0] == 1 ? STR("t1") : STR("t3"),
        .id = *id,
        .partitions_count = 10,
    };
    return true;
}

static void an_assignment_is_built_with_names(void **state)
{
    (void)state;
    struct arena arena = {0};
    const struct shard_topics topics = {.by_id = by_id};
    struct assignment_builder ab;
    struct assignment a;
    assignment_builder_init(&ab, &arena);
    for (uint8_t t = 1; t <= 3; t++) {
        struct uuid id = id_of(t);
        assignment_builder_add(&ab, &id, t + 4);
        assignment_builder_add(&ab, &id, t);
    }
    assignment_builder_finish(&ab, &a);
    struct view view = subscription_build_assignment(&a, &topics, 1, &arena);
    static const char wanted[] = "\0\1"
                                 "\0\0\0\2"
                                 "\0\2t1\0\0\0\2\0\0\0\1\0\0\0\5"
                                 "\0\2t3\0\0\0\2\0\0\0\3\0\0\0\7"
                                 "\xff\xff\xff\xff";
    assert_int_equal(view.len, sizeof(wanted) - 1);
    assert_memory_equal(view.ptr, wanted, view.len);

    struct consumer_protocol_assignment read;
    int16_t version;
    assert_int_equal(subscription_parse_assignment(view, &arena, &read, &version), 0);
    assert_int_equal(version, 1);
    assert_int_equal(read.assigned_partitions.count, 2);
    arena_release(&arena);
}

static void versions_that_are_not_known_are_written_as_the_nearest(void **state)
{
    (void)state;
    struct arena arena = {0};
    const struct shard_topics topics = {.by_id = by_id};
    struct assignment none = {0};
    struct view view = subscription_build_assignment(&none, &topics, 99, &arena);
    assert_int_equal(view.len, 10);
    assert_memory_equal(view.ptr, "\0\3\0\0\0\0\xff\xff\xff\xff", 10);
    view = subscription_build_assignment(&none, &topics, -5, &arena);
    assert_memory_equal(view.ptr, "\0\0\0\0\0\0\xff\xff\xff\xff", 10);
    arena_release(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_subscription_is_read),
        cmocka_unit_test(older_versions_have_defaults),
        cmocka_unit_test(a_newer_version_is_read_as_the_newest_known),
        cmocka_unit_test(what_is_cut_short_is_refused),
        cmocka_unit_test(an_assignment_is_built_with_names),
        cmocka_unit_test(versions_that_are_not_known_are_written_as_the_nearest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
