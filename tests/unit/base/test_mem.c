/* Arenas and budgets: every piece is written full, so that overlaps show as changed bytes (and as
 * errors under a sanitizer). */
#include "base/base.h"

#include "base/mem.h"
#include "simclock.h"
#include "unit.h"

static void pieces_of_an_arena_are_zeroed_aligned_and_apart(void **state)
{
    (void)state;
    enum {
        PIECES = 400
    };
    uint8_t *pieces[PIECES];
    size_t sizes[PIECES];
    uint64_t random = 3;
    struct arena a = {0};
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < PIECES; i++) {
            sizes[i] = sim_random(&random) % (i % 50 == 0 ? 20000 : 100);
            pieces[i] = arena_alloc(&a, sizes[i]);
            assert_int_equal((uintptr_t)pieces[i] % 16, 0);
            for (size_t k = 0; k < sizes[i]; k++) {
                assert_int_equal(pieces[i][k], 0);
            }
            memset(pieces[i], (int)(i & 0xff), sizes[i]);
        }
        for (size_t i = 0; i < PIECES; i++) {
            for (size_t k = 0; k < sizes[i]; k++) {
                assert_int_equal(pieces[i][k], i & 0xff);
            }
        }
        arena_reset(&a);
        assert_int_equal(a.used, 0);
    }
    arena_release(&a);
}

static void an_arena_gives_no_more_than_its_limit(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a, 1000);
    assert_non_null(arena_try_alloc(&a, 900));
    assert_null(arena_try_alloc(&a, 200));
    assert_non_null(arena_try_alloc(&a, 80));
    assert_null(arena_try_alloc(&a, SIZE_MAX));
    assert_null(arena_try_alloc(&a, SIZE_MAX - 40));
    arena_reset(&a);
    assert_non_null(arena_try_alloc(&a, 900));
    arena_release(&a);
}

static void a_reset_keeps_one_chunk(void **state)
{
    (void)state;
    struct arena a = {0};
    void *first = arena_alloc(&a, 100);
    arena_reset(&a);
    assert_ptr_equal(arena_alloc(&a, 100), first);
    arena_release(&a);
}

static void arena_strings_end_with_nul_and_null_stays_null(void **state)
{
    (void)state;
    struct arena a = {0};
    struct str s = arena_strdup(&a, STR("abc"));
    assert_string_equal(s.ptr, "abc");
    assert_int_equal(arena_strdup(&a, STR("")).ptr[0], '\0');
    assert_true(str_is_null(arena_strdup(&a, (struct str){0})));
    s = arena_printf(&a, "%05d|%s", 42, "x");
    assert_string_equal(s.ptr, "00042|x");
    assert_int_equal(s.len, 7);
    arena_release(&a);
}

static void a_budget_refuses_what_would_exceed_it(void **state)
{
    (void)state;
    struct mem_budget b = {.max = 100};
    assert_true(mem_budget_take(&b, 60));
    assert_false(mem_budget_take(&b, 41));
    assert_true(mem_budget_take(&b, 40));
    assert_false(mem_budget_take(&b, INT64_MAX));
    mem_budget_give(&b, 100);
    assert_int_equal(atomic_load(&b.used), 0);
    struct mem_budget none = {0};
    assert_true(mem_budget_take(&none, INT64_MAX));
    assert_false(mem_budget_take(&none, 1)); /* would overflow */
}

static void arrays_grow_by_doubling(void **state)
{
    (void)state;
    size_t cap = 0;
    int *array = mem_grow(NULL, &cap, 1, sizeof(array[0]));
    assert_int_equal(cap, 8);
    array = mem_grow(array, &cap, 100, sizeof(array[0]));
    assert_int_equal(cap, 128);
    mem_free(array);
    mem_free(mem_array(0, 8));
    char *text = mem_strndup("abcdef", 3);
    assert_string_equal(text, "abc");
    assert_null(mem_free(text));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_of_an_arena_are_zeroed_aligned_and_apart),
        cmocka_unit_test(an_arena_gives_no_more_than_its_limit),
        cmocka_unit_test(a_reset_keeps_one_chunk),
        cmocka_unit_test(arena_strings_end_with_nul_and_null_stays_null),
        cmocka_unit_test(a_budget_refuses_what_would_exceed_it),
        cmocka_unit_test(arrays_grow_by_doubling),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
