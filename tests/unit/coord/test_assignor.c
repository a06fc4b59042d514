/* Assignors on seeded random groups. Each result must give every partition that somebody wants to
 * exactly one of those who want it, be balanced, stay as it is when nothing has changed, and move
 * no more than balance needs when a member comes or goes. A few groups have the distribution that a
 * real Kafka 4.4.0 gave them. Speed is measured on the largest groups that are promised. */
#include "base/base.h"

#include "base/mem.h"
#include "coord/assignor.h"
#include "simclock.h"
#include "unit.h"

#include <time.h>

struct world {
    struct arena arena;
    struct assignor_topic *topics;
    int32_t topics_count;
    struct assignor_member *members;
    int32_t members_count;
    bool is_homogeneous;
};

static const struct assignment nothing;

static struct uuid topic_id(int32_t t)
{
    struct uuid id = {{0}};
    id.bytes[0] = (uint8_t)(t >> 8);
    id.bytes[1] = (uint8_t)t;
    return id;
}

static void world_init(struct world *w, int32_t topics_count, int32_t members_count)
{
    *w = (struct world){.topics_count = topics_count, .members_count = members_count};
    w->topics = arena_alloc(&w->arena, sizeof(*w->topics) * (size_t)topics_count);
    w->members = arena_alloc(&w->arena, sizeof(*w->members) * (size_t)members_count);
    for (int32_t t = 0; t < topics_count; t++) {
        w->topics[t].id = topic_id(t);
    }
    for (int32_t m = 0; m < members_count; m++) {
        w->members[m].id = arena_printf(&w->arena, "m%05d", m);
        w->members[m].current = &nothing;
    }
}

static void subscribe_all(struct world *w)
{
    int32_t *all = arena_alloc(&w->arena, sizeof(*all) * (size_t)w->topics_count);
    for (int32_t t = 0; t < w->topics_count; t++) {
        all[t] = t;
    }
    for (int32_t m = 0; m < w->members_count; m++) {
        w->members[m].topics = all;
        w->members[m].topics_count = w->topics_count;
    }
    w->is_homogeneous = true;
}

static void subscribe_some(struct world *w, uint64_t *random, uint64_t of)
{
    for (int32_t m = 0; m < w->members_count; m++) {
        int32_t *some = arena_alloc(&w->arena, sizeof(*some) * (size_t)w->topics_count);
        int32_t count = 0;
        for (int32_t t = 0; t < w->topics_count; t++) {
            if (sim_random(random) % of == 0) {
                some[count++] = t;
            }
        }
        w->members[m].topics = some;
        w->members[m].topics_count = count;
    }
    w->is_homogeneous = false;
}

/* The result, which is the members' current assignment from then on. */
static struct assignment *assign(struct world *w, assignor_fn *assignor)
{
    struct assignor_spec spec = {
        .topics = w->topics,
        .topics_count = w->topics_count,
        .members = w->members,
        .members_count = w->members_count,
        .is_homogeneous = w->is_homogeneous,
    };
    size_t count = (size_t)w->members_count;
    struct assignment *ret = arena_alloc(&w->arena, sizeof(*ret) * (count + 1));
    assignor(&spec, &w->arena, ret);
    for (size_t m = 0; m < count; m++) {
        w->members[m].current = &ret[m];
    }
    return ret;
}

static bool wants(const struct assignor_member *am, int32_t topic)
{
    for (int32_t i = 0; i < am->topics_count; i++) {
        if (am->topics[i] == topic) {
            return true;
        }
    }
    return false;
}

static void assert_each_once_and_wanted(const struct world *w, const struct assignment *ret)
{
    int64_t given = 0;
    int64_t wanted = 0;
    for (int32_t t = 0; t < w->topics_count; t++) {
        bool is_wanted = false;
        for (int32_t m = 0; m < w->members_count; m++) {
            is_wanted = is_wanted || wants(&w->members[m], t);
        }
        wanted += is_wanted ? w->topics[t].partitions_count : 0;
        for (int32_t p = 0; p < w->topics[t].partitions_count; p++) {
            int owners = 0;
            for (int32_t m = 0; m < w->members_count; m++) {
                if (assignment_has(&ret[m], &w->topics[t].id, p)) {
                    assert_true(wants(&w->members[m], t));
                    owners++;
                }
            }
            assert_int_equal(owners, is_wanted ? 1 : 0);
        }
    }
    for (int32_t m = 0; m < w->members_count; m++) {
        given += assignment_size(&ret[m]);
        for (int32_t i = 1; i < ret[m].count; i++) {
            assert_true(memcmp(&ret[m].topics[i - 1].id, &ret[m].topics[i].id, 16) < 0);
        }
    }
    assert_int_equal(given, wanted); /* nothing that is not there */
}

static void assert_balanced(const struct world *w, const struct assignment *ret)
{
    int64_t least = INT64_MAX;
    int64_t most = 0;
    for (int32_t m = 0; m < w->members_count; m++) {
        least = min_i64(least, assignment_size(&ret[m]));
        most = max_i64(most, assignment_size(&ret[m]));
    }
    assert_true(most - least <= 1);
}

/* No single move makes two members more even: nobody has two more than another who would take one
 * of his. */
static void assert_no_move_helps(const struct world *w, const struct assignment *ret)
{
    for (int32_t a = 0; a < w->members_count; a++) {
        for (int32_t b = 0; b < w->members_count; b++) {
            if (assignment_size(&ret[a]) < assignment_size(&ret[b]) + 2) {
                continue;
            }
            for (int32_t i = 0; i < w->members[b].topics_count; i++) {
                assert_null(assignment_find(&ret[a], &w->topics[w->members[b].topics[i]].id));
            }
        }
    }
}

/* Partitions that a member has now and had not before. */
static int64_t moved(const struct world *w,
                     const struct assignment *before,
                     const struct assignment *after,
                     int32_t members_count)
{
    struct arena arena = {0};
    int64_t count = 0;
    (void)w;
    for (int32_t m = 0; m < members_count; m++) {
        struct assignment more;
        assignment_minus(&after[m], &before[m], &arena, &more);
        count += assignment_size(&more);
    }
    arena_release(&arena);
    return count;
}

static void random_world(struct world *w, uint64_t *random)
{
    world_init(w, 1 + (int32_t)(sim_random(random) % 6), 1 + (int32_t)(sim_random(random) % 9));
    for (int32_t t = 0; t < w->topics_count; t++) {
        w->topics[t].partitions_count = (int32_t)(sim_random(random) % 12);
    }
}

static void uniform_is_balanced_and_stays(void **state)
{
    (void)state;
    uint64_t random = 21;
    for (int round = 0; round < 1000; round++) {
        struct world w;
        random_world(&w, &random);
        subscribe_all(&w);
        struct assignment *first = assign(&w, assignor_uniform);
        assert_each_once_and_wanted(&w, first);
        assert_balanced(&w, first);
        struct assignment *again = assign(&w, assignor_uniform);
        assert_int_equal(moved(&w, first, again, w.members_count), 0);
        arena_release(&w.arena);
    }
}

static int64_t total_of(const struct world *w)
{
    int64_t total = 0;
    for (int32_t t = 0; t < w->topics_count; t++) {
        total += w->topics[t].partitions_count;
    }
    return total;
}

/* What a newcomer must get at least: the others keep their share, and as many as may keep one more
 * do. */
static int64_t
least_to_move(const struct assignment *before, int32_t old_count, int64_t total, int32_t count)
{
    int64_t share = total / count;
    int64_t extras = total % count;
    int64_t kept = 0;
    for (int32_t m = 0; m < old_count; m++) {
        int64_t size = assignment_size(&before[m]);
        kept += min_i64(size, share);
        if (size > share && extras > 0) {
            kept++;
            extras--;
        }
    }
    return total - kept;
}

/* The new member comes first, last or between the others. */
static void a_new_member_takes_only_its_share(void **state)
{
    (void)state;
    uint64_t random = 22;
    for (int round = 0; round < 1000; round++) {
        struct world w;
        random_world(&w, &random);
        subscribe_all(&w);
        int32_t place = (int32_t)(sim_random(&random) % (uint64_t)w.members_count);
        struct assignor_member newcomer = w.members[place];
        struct assignor_member *all = w.members;
        struct assignor_member *old = arena_alloc(&w.arena, sizeof(*old) * 16);
        int32_t old_count = 0;
        for (int32_t m = 0; m < w.members_count; m++) {
            if (m != place) {
                old[old_count++] = all[m];
            }
        }
        if (old_count > 0) {
            int32_t count = w.members_count;
            w.members = old;
            w.members_count = old_count;
            struct assignment *before = assign(&w, assignor_uniform);
            for (int32_t m = 0, o = 0; m < count; m++) {
                all[m] = m == place ? newcomer : old[o++];
            }
            w.members = all;
            w.members_count = count;
            struct assignment *after = assign(&w, assignor_uniform);
            assert_each_once_and_wanted(&w, after);
            assert_balanced(&w, after);
            /* Nobody but the newcomer gets anything. */
            for (int32_t m = 0, o = 0; m < count; m++) {
                if (m != place) {
                    assert_true(assignment_contains(&before[o++], &after[m]));
                }
            }
            assert_int_equal(assignment_size(&after[place]),
                             least_to_move(before, old_count, total_of(&w), count));
        }
        arena_release(&w.arena);
    }
}

static void what_a_lost_member_had_is_all_that_moves(void **state)
{
    (void)state;
    uint64_t random = 23;
    for (int round = 0; round < 1000; round++) {
        struct world w;
        random_world(&w, &random);
        subscribe_all(&w);
        struct assignment *before = assign(&w, assignor_uniform);
        if (w.members_count > 1) {
            w.members_count--; /* the last one */
            struct assignment *after = assign(&w, assignor_uniform);
            assert_each_once_and_wanted(&w, after);
            assert_balanced(&w, after);
            assert_int_equal(moved(&w, before, after, w.members_count),
                             assignment_size(&before[w.members_count]));
        }
        arena_release(&w.arena);
    }
}

static void topics_that_are_gone_and_partitions_that_never_were_are_left_out(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 2, 2);
    w.topics[0].partitions_count = 4;
    w.topics[1].partitions_count = 4;
    struct assignment_builder ab;
    struct assignment strange;
    struct uuid gone = {{9, 9, 9}};
    struct uuid there = topic_id(0);
    assignment_builder_init(&ab, &w.arena);
    assignment_builder_add(&ab, &gone, 0);
    assignment_builder_add(&ab, &there, -3);
    assignment_builder_add(&ab, &there, 2);
    assignment_builder_add(&ab, &there, 4);
    assignment_builder_add(&ab, &there, INT32_MAX);
    assignment_builder_finish(&ab, &strange);
    for (int kind = 0; kind < 2; kind++) {
        subscribe_all(&w);
        w.is_homogeneous = kind == 0;
        w.members[0].current = &strange;
        w.members[1].current = &strange; /* both claim the same */
        struct assignment *ret = assign(&w, assignor_uniform);
        assert_each_once_and_wanted(&w, ret);
        assert_balanced(&w, ret);
        assert_true(assignment_has(&ret[0], &there, 2));
    }
    arena_release(&w.arena);
}

static void mixed_subscriptions_are_balanced_as_far_as_one_move_helps(void **state)
{
    (void)state;
    uint64_t random = 24;
    for (int round = 0; round < 1500; round++) {
        struct world w;
        random_world(&w, &random);
        subscribe_some(&w, &random, 2);
        struct assignment *first = assign(&w, assignor_uniform);
        assert_each_once_and_wanted(&w, first);
        assert_no_move_helps(&w, first);
        struct assignment *again = assign(&w, assignor_uniform);
        assert_int_equal(moved(&w, first, again, w.members_count), 0);
        /* Somebody changes what he wants, a topic grows. */
        w.topics[0].partitions_count += 3;
        subscribe_some(&w, &random, 2);
        struct assignment *third = assign(&w, assignor_uniform);
        assert_each_once_and_wanted(&w, third);
        assert_no_move_helps(&w, third);
        arena_release(&w.arena);
    }
}

/* Very uneven members are sorted in another way. */
static void mixed_subscriptions_with_one_giant_topic(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 2, 3);
    w.topics[0].partitions_count = 5000;
    w.topics[1].partitions_count = 9;
    static const int32_t giant[] = {0};
    static const int32_t both[] = {0, 1};
    static const int32_t small[] = {1};
    w.members[0].topics = giant;
    w.members[0].topics_count = 1;
    w.members[1].topics = both;
    w.members[1].topics_count = 2;
    w.members[2].topics = small;
    w.members[2].topics_count = 1;
    struct assignment *ret = assign(&w, assignor_uniform);
    assert_each_once_and_wanted(&w, ret);
    assert_no_move_helps(&w, ret);
    assert_int_equal(assignment_size(&ret[2]), 9);
    arena_release(&w.arena);
}

static void ranges_are_runs_of_neighbours(void **state)
{
    (void)state;
    uint64_t random = 25;
    for (int round = 0; round < 1000; round++) {
        struct world w;
        random_world(&w, &random);
        if (sim_random(&random) % 2 == 0) {
            subscribe_all(&w);
        } else {
            subscribe_some(&w, &random, 2);
        }
        struct assignment *ret = assign(&w, assignor_range);
        assert_each_once_and_wanted(&w, ret);
        for (int32_t m = 0; m < w.members_count; m++) {
            for (int32_t i = 0; i < ret[m].count; i++) {
                const struct topic_partitions *tp = &ret[m].topics[i];
                assert_int_equal(tp->partitions[tp->count - 1] - tp->partitions[0], tp->count - 1);
            }
        }
        arena_release(&w.arena);
    }
}

static void ranges_are_co_partitioned(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 3, 4);
    for (int32_t t = 0; t < 3; t++) {
        w.topics[t].partitions_count = 10;
    }
    subscribe_all(&w);
    struct assignment *ret = assign(&w, assignor_range);
    static const int32_t wanted[4] = {3, 3, 2, 2};
    for (int32_t m = 0; m < 4; m++) {
        assert_int_equal(ret[m].count, 3);
        for (int32_t t = 1; t < 3; t++) {
            assert_int_equal(ret[m].topics[t].count, wanted[m]);
            assert_memory_equal(ret[m].topics[t].partitions, ret[m].topics[0].partitions,
                                sizeof(int32_t) * (size_t)wanted[m]);
        }
    }
    arena_release(&w.arena);
}

static void static_members_come_first_in_ranges(void **state)
{
    (void)state;
    struct world w;
    struct uuid id = topic_id(0);
    world_init(&w, 1, 4);
    w.topics[0].partitions_count = 4;
    subscribe_all(&w);
    w.members[3].instance_id = STR("a");
    w.members[1].instance_id = STR("b");
    struct assignment *ret = assign(&w, assignor_range);
    assert_true(assignment_has(&ret[3], &id, 0));
    assert_true(assignment_has(&ret[1], &id, 1));
    assert_true(assignment_has(&ret[0], &id, 2));
    assert_true(assignment_has(&ret[2], &id, 3));
    arena_release(&w.arena);
}

static void assignors_have_kafkas_names(void **state)
{
    (void)state;
    assert_ptr_equal(assignor_find(STR("uniform")), assignor_uniform);
    assert_ptr_equal(assignor_find(STR("range")), assignor_range);
    assert_null(assignor_find(STR("Uniform")));
    assert_null(assignor_find(STR("")));
}

static int64_t cpu_us(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static int64_t time_assign(struct world *w)
{
    int64_t start = cpu_us();
    assign(w, assignor_uniform);
    return cpu_us() - start;
}

/* Bounds for a build with sanitizers on a busy machine; an optimised one needs a tenth of them. */
static void large_groups_are_assigned_quickly(void **state)
{
    (void)state;
    uint64_t random = 26;
    struct world w;
    world_init(&w, 1000, 1000);
    for (int32_t t = 0; t < 1000; t++) {
        w.topics[t].partitions_count = 10;
    }
    subscribe_all(&w);
    int64_t first = time_assign(&w);
    w.members_count--;
    int64_t second = time_assign(&w);
    printf("homogeneous: %" PRId64 " us, one member less: %" PRId64 " us\n", first, second);
    assert_true(first < 500000 && second < 500000);
    subscribe_some(&w, &random, 2);
    first = time_assign(&w);
    subscribe_some(&w, &random, 3);
    second = time_assign(&w);
    printf("mixed: %" PRId64 " us, all subscriptions changed: %" PRId64 " us\n", first, second);
    assert_true(first < 5000000 && second < 5000000);
    arena_release(&w.arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(uniform_is_balanced_and_stays),
        cmocka_unit_test(a_new_member_takes_only_its_share),
        cmocka_unit_test(what_a_lost_member_had_is_all_that_moves),
        cmocka_unit_test(topics_that_are_gone_and_partitions_that_never_were_are_left_out),
        cmocka_unit_test(mixed_subscriptions_are_balanced_as_far_as_one_move_helps),
        cmocka_unit_test(mixed_subscriptions_with_one_giant_topic),
        cmocka_unit_test(ranges_are_runs_of_neighbours),
        cmocka_unit_test(ranges_are_co_partitioned),
        cmocka_unit_test(static_members_come_first_in_ranges),
        cmocka_unit_test(assignors_have_kafkas_names),
        cmocka_unit_test(large_groups_are_assigned_quickly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
