/* Sets of partitions against a plain table of flags: seeded random sets, every operation compared
 * with what the flags say, and the shape of every result looked at. */
#include "base/base.h"

#include "base/mem.h"
#include "coord/assignor.h"
#include "simclock.h"
#include "unit.h"

enum {
    TOPICS = 5,
    PARTITIONS = 7,
};

struct flags {
    bool has[TOPICS][PARTITIONS];
};

static struct uuid topic_id(int t)
{
    struct uuid id = {{0}};
    id.bytes[0] = (uint8_t)(t * 60); /* above 127 too: ids are compared as unsigned bytes */
    id.bytes[15] = (uint8_t)(t + 1);
    return id;
}

static void assert_shape(const struct assignment *a)
{
    for (int32_t i = 0; i < a->count; i++) {
        const struct topic_partitions *tp = &a->topics[i];
        assert_true(tp->count > 0);
        assert_true(i == 0 || memcmp(&a->topics[i - 1].id, &tp->id, sizeof(tp->id)) < 0);
        for (int32_t p = 1; p < tp->count; p++) {
            assert_true(tp->partitions[p - 1] < tp->partitions[p]);
        }
    }
}

static void assert_is(const struct assignment *a, const struct flags *f)
{
    assert_shape(a);
    int64_t count = 0;
    for (int t = 0; t < TOPICS; t++) {
        struct uuid id = topic_id(t);
        for (int32_t p = 0; p < PARTITIONS; p++) {
            assert_int_equal(assignment_has(a, &id, p), f->has[t][p]);
            count += f->has[t][p] ? 1 : 0;
        }
        assert_false(assignment_has(a, &id, -1));
        assert_false(assignment_has(a, &id, PARTITIONS));
    }
    assert_int_equal(assignment_size(a), count);
}

static void random_flags(uint64_t *random, struct flags *ret)
{
    uint64_t density = sim_random(random) % 5;
    for (int t = 0; t < TOPICS; t++) {
        bool is_empty = sim_random(random) % 3 == 0;
        for (int p = 0; p < PARTITIONS; p++) {
            ret->has[t][p] = !is_empty && sim_random(random) % 4 < density;
        }
    }
}

/* In a random order, some pairs twice. */
static void
build(uint64_t *random, struct arena *arena, const struct flags *f, struct assignment *ret)
{
    struct assignment_builder ab;
    assignment_builder_init(&ab, arena);
    int start = (int)(sim_random(random) % (TOPICS * PARTITIONS));
    int step = sim_random(random) % 2 == 0 ? 1 : 11; /* 11 and 35 have no common divisor */
    for (int i = 0; i < TOPICS * PARTITIONS; i++) {
        int at = (start + i * step) % (TOPICS * PARTITIONS);
        struct uuid id = topic_id(at / PARTITIONS);
        if (f->has[at / PARTITIONS][at % PARTITIONS]) {
            assignment_builder_add(&ab, &id, at % PARTITIONS);
            if (sim_random(random) % 4 == 0) {
                assignment_builder_add(&ab, &id, at % PARTITIONS);
            }
        }
    }
    assignment_builder_finish(&ab, ret);
}

static void operations_agree_with_flags(void **state)
{
    (void)state;
    uint64_t random = 4;
    struct arena arena = {0};
    for (int round = 0; round < 2000; round++) {
        struct flags x;
        struct flags y;
        struct assignment a;
        struct assignment b;
        random_flags(&random, &x);
        random_flags(&random, &y);
        build(&random, &arena, &x, &a);
        build(&random, &arena, &y, &b);
        assert_is(&a, &x);
        struct flags minus;
        struct flags both;
        struct flags any;
        bool is_part = true;
        for (int t = 0; t < TOPICS; t++) {
            for (int p = 0; p < PARTITIONS; p++) {
                minus.has[t][p] = x.has[t][p] && !y.has[t][p];
                both.has[t][p] = x.has[t][p] && y.has[t][p];
                any.has[t][p] = x.has[t][p] || y.has[t][p];
                is_part = is_part && (x.has[t][p] || !y.has[t][p]);
            }
        }
        struct assignment result;
        assignment_minus(&a, &b, &arena, &result);
        assert_is(&result, &minus);
        assert_true(assignment_contains(&a, &result));
        assignment_intersect(&a, &b, &arena, &result);
        assert_is(&result, &both);
        assert_int_equal(assignment_equal(&result, &b), is_part);
        assignment_union(&a, &b, &arena, &result);
        assert_is(&result, &any);
        assert_true(assignment_contains(&result, &a));
        assert_int_equal(assignment_contains(&a, &b), is_part);
        assert_int_equal(assignment_equal(&a, &b), memcmp(&x, &y, sizeof(x)) == 0);
        arena_reset(&arena);
    }
    arena_release(&arena);
}

static void a_copy_lives_without_the_arena(void **state)
{
    (void)state;
    uint64_t random = 8;
    for (int round = 0; round < 50; round++) {
        struct arena arena = {0};
        struct flags f;
        struct assignment a;
        struct assignment copy;
        random_flags(&random, &f);
        build(&random, &arena, &f, &a);
        int64_t bytes = assignment_bytes(&a);
        assignment_copy(&a, &copy);
        assert_true(assignment_equal(&a, &copy));
        arena_release(&arena);
        assert_is(&copy, &f);
        assert_int_equal(assignment_bytes(&copy), bytes);
        assignment_release(&copy);
        assert_int_equal(copy.count, 0);
        assert_null(copy.topics);
    }
}

static void an_empty_set_is_a_zeroed_struct(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct assignment_builder ab;
    struct assignment a;
    struct assignment zero = {0};
    struct uuid id = topic_id(1);
    assignment_builder_init(&ab, &arena);
    assignment_builder_finish(&ab, &a);
    assert_true(assignment_equal(&a, &zero));
    assert_true(assignment_contains(&a, &zero));
    assert_int_equal(assignment_size(&zero), 0);
    assert_int_equal(assignment_bytes(&zero), 0);
    assert_null(assignment_find(&zero, &id));
    assignment_union(&zero, &zero, &arena, &a);
    assert_int_equal(a.count, 0);
    assignment_copy(&zero, &a);
    assignment_release(&a);
    arena_release(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(operations_agree_with_flags),
        cmocka_unit_test(a_copy_lives_without_the_arena),
        cmocka_unit_test(an_empty_set_is_a_zeroed_struct),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
