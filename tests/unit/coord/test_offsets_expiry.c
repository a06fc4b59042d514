/*
 * Expiry of offsets and of groups: the clock of a shard is moved, its timer fires, and what is left
 * is compared with Kafka's rules (KIP-211): an empty group with a protocol type is counted from the
 * moment when it became empty, a simple one from each commit, and a topic that somebody is
 * subscribed to is kept.
 */
#include "offsets_world.h"

#define DAY INT64_C(86400000)

/* Moves the clock in steps of the sweep. */
static void pass(struct world *w, int64_t ms)
{
    while (ms > 0) {
        int64_t step = min_i64(ms, WORLD_CHECK_MS);
        world_run(w, step);
        ms -= step;
    }
}

static bool has_group(const struct world *w, const char *group)
{
    return group_find(w->sh, str_from(group)) != NULL;
}

static void a_shard_without_groups_has_no_timer(void **state)
{
    struct world *w = *state;
    assert_true(shard_next_deadline(w->sh) == INT64_MAX);
    world_commit_simple(w, "g", "a", 0, 1);
    assert_int_equal(shard_next_deadline(w->sh), WORLD_CHECK_MS);
    world_run(w, WORLD_CHECK_MS);
    assert_int_equal(shard_next_deadline(w->sh), 2 * WORLD_CHECK_MS);
    assert_int_equal(world_delete_group(w, "g"), KAFKA_ERROR_NONE);
    world_run(w, WORLD_CHECK_MS);
    assert_true(shard_next_deadline(w->sh) == INT64_MAX);
}

static void a_reload_of_groups_arms_the_timer(void **state)
{
    struct world *w = *state;
    world_commit_simple(w, "g", "a", 0, 1);
    world_restart(w);
    assert_int_equal(shard_next_deadline(w->sh), w->now_ms + WORLD_CHECK_MS);
}

static void offsets_of_a_simple_group_expire_by_their_commits(void **state)
{
    struct world *w = *state;
    world_commit_simple(w, "g", "a", 0, 1);
    pass(w, 2 * DAY);
    world_commit_simple(w, "g", "a", 1, 2);
    pass(w, 5 * DAY - WORLD_CHECK_MS);
    assert_int_equal(world_fetch(w, "g", "a", 0), 1);
    world_run(w, WORLD_CHECK_MS);
    assert_int_equal(w->emitted, 1);
    assert_int_equal(world_fetch(w, "g", "a", 0), -1);
    assert_int_equal(world_fetch(w, "g", "a", 1), 2);
    pass(w, 2 * DAY - WORLD_CHECK_MS);
    assert_true(has_group(w, "g"));
    world_run(w, WORLD_CHECK_MS);
    assert_int_equal(w->emitted, 2); /* the offset, and the group with it */
    assert_false(has_group(w, "g"));
    world_check_reload(w);
}

static void a_commit_makes_its_offset_young_again(void **state)
{
    struct world *w = *state;
    for (int64_t i = 0; i < 4; i++) {
        world_commit_simple(w, "g", "a", 0, i);
        pass(w, 6 * DAY);
    }
    assert_int_equal(world_fetch(w, "g", "a", 0), 3);
}

static void an_offset_with_a_time_of_its_own_goes_then(void **state)
{
    struct world *w = *state;
    struct world_commit c = {.group = "g",
                             .generation = -1,
                             .offset = 7,
                             .leader_epoch = -1,
                             .retention_ms = 2 * WORLD_CHECK_MS,
                             .version = 2};
    assert_int_equal(world_commit_one(w, c), 0);
    world_run(w, WORLD_CHECK_MS);
    assert_int_equal(world_fetch(w, "g", "a", 0), 7);
    world_run(w, WORLD_CHECK_MS);
    assert_int_equal(world_fetch(w, "g", "a", 0), -1);
    c.retention_ms = 30 * DAY; /* longer than the broker's */
    assert_int_equal(world_commit_one(w, c), 0);
    pass(w, 10 * DAY);
    world_restart(w);
    pass(w, 10 * DAY);
    assert_int_equal(world_fetch(w, "g", "a", 0), 7);
    pass(w, 11 * DAY);
    assert_false(has_group(w, "g"));
}

static int64_t empty_since(struct world *w, const char *group)
{
    return group_find(w->sh, str_from(group))->classic->state_wall_ms - WORLD_WALL_MS;
}

static void offsets_of_a_group_of_members_wait_until_it_is_empty(void **state)
{
    struct world *w = *state;
    const char *member = world_join(w, "g", "consumer", "a");
    struct world_commit c = {.group = "g", .generation = 1, .member = member, .offset = 5};
    assert_int_equal(world_commit_one(w, c), 0);
    c.topic = "b"; /* nobody is subscribed to it */
    c.offset = 6;
    assert_int_equal(world_commit_one(w, c), 0);
    struct classic_member *m =
        classic_member_find(group_find(w->sh, STR("g"))->classic, str_from(member));
    m->session_deadline_ms = INT64_MAX; /* it lives */
    pass(w, 8 * DAY);
    assert_int_equal(world_fetch(w, "g", "a", 0), 5);
    assert_int_equal(world_fetch(w, "g", "b", 0), -1);
    world_leave(w, "g", member);
    int64_t since = empty_since(w, "g");
    assert_true(since >= 8 * DAY);
    pass(w, 7 * DAY - WORLD_CHECK_MS - (w->now_ms - since));
    assert_int_equal(world_fetch(w, "g", "a", 0), 5);
    pass(w, 2 * WORLD_CHECK_MS);
    assert_false(has_group(w, "g"));
    world_check_reload(w);
}

static void a_reload_remembers_since_when_a_group_is_empty(void **state)
{
    struct world *w = *state;
    const char *member = world_join(w, "g", "consumer", "a");
    struct world_commit c = {.group = "g", .generation = 1, .member = member, .offset = 5};
    assert_int_equal(world_commit_one(w, c), 0);
    world_leave(w, "g", member);
    pass(w, 3 * DAY);
    world_restart(w);
    pass(w, 4 * DAY - 2 * WORLD_CHECK_MS);
    assert_int_equal(world_fetch(w, "g", "a", 0), 5);
    pass(w, 3 * WORLD_CHECK_MS);
    assert_false(has_group(w, "g"));
}

static void members_of_other_protocols_keep_all_offsets(void **state)
{
    struct world *w = *state;
    const char *member = world_join(w, "g", "connect", "a");
    struct world_commit c = {
        .group = "g", .generation = 1, .member = member, .topic = "b", .offset = 5};
    assert_int_equal(world_commit_one(w, c), 0);
    classic_member_find(group_find(w->sh, STR("g"))->classic, str_from(member))
        ->session_deadline_ms = INT64_MAX;
    pass(w, 20 * DAY);
    assert_int_equal(world_fetch(w, "g", "b", 0), 5);
}

static void an_empty_group_without_offsets_goes_with_the_next_sweep(void **state)
{
    struct world *w = *state;
    const char *member = world_join(w, "g", "consumer", "a");
    world_leave(w, "g", member);
    assert_true(has_group(w, "g"));
    pass(w, WORLD_CHECK_MS);
    assert_false(has_group(w, "g"));
    world_check_reload(w);
    assert_null(group_find(w->sh, STR("g")));
}

static void a_group_with_members_and_no_offsets_stays(void **state)
{
    struct world *w = *state;
    const char *member = world_join(w, "g", "consumer", "a");
    classic_member_find(group_find(w->sh, STR("g"))->classic, str_from(member))
        ->session_deadline_ms = INT64_MAX;
    pass(w, 20 * DAY);
    assert_true(has_group(w, "g"));
}

/* The model of a pending record is a commit of our own, taken back from the log. */
static void nothing_expires_under_an_open_transaction(void **state)
{
    struct world *w = *state;
    world_commit_simple(w, "g", "a", 0, 1);
    world_commit_simple(w, "g", "b", 0, 2);
    world_commit_simple(w, "g", "a", 0, 3);
    w->records[w->records_count - 1].producer_id = 1000;
    world_restart(w);
    pass(w, 8 * DAY);
    assert_int_equal(world_fetch(w, "g", "b", 0), -1);
    assert_int_equal(world_fetch(w, "g", "a", 0), 1);
    assert_true(has_group(w, "g"));
    struct world_record marker = {.producer_id = 1000, .marker = -1};
    world_add_record(w, marker);
    world_restart(w);
    pass(w, WORLD_CHECK_MS);
    assert_false(has_group(w, "g"));
}

static void timestamps_of_a_strange_log_do_no_harm(void **state)
{
    struct world *w = *state;
    world_commit_simple(w, "g", "a", 0, 1);
    /* The record's time of commit: behind version, offset, epoch and an empty text. */
    uint8_t *value = (uint8_t *)(uintptr_t)w->records[0].value.ptr;
    store_be64(value + 15, (uint64_t)INT64_MAX);
    world_restart(w);
    pass(w, 8 * DAY);
    assert_int_equal(world_fetch(w, "g", "a", 0), 1);
    store_be64(value + 15, (uint64_t)INT64_MIN);
    world_restart(w);
    pass(w, WORLD_CHECK_MS);
    assert_false(has_group(w, "g"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
        TEST(a_shard_without_groups_has_no_timer),
        TEST(a_reload_of_groups_arms_the_timer),
        TEST(offsets_of_a_simple_group_expire_by_their_commits),
        TEST(a_commit_makes_its_offset_young_again),
        TEST(an_offset_with_a_time_of_its_own_goes_then),
        TEST(offsets_of_a_group_of_members_wait_until_it_is_empty),
        TEST(a_reload_remembers_since_when_a_group_is_empty),
        TEST(members_of_other_protocols_keep_all_offsets),
        TEST(an_empty_group_without_offsets_goes_with_the_next_sweep),
        TEST(a_group_with_members_and_no_offsets_stays),
        TEST(nothing_expires_under_an_open_transaction),
        TEST(timestamps_of_a_strange_log_do_no_harm),
#undef TEST
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
