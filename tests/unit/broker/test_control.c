/*
 * The lines of the control door: what a tool writes is what the broker reads, for any bytes; what
 * is no line of words is refused. (The door itself: tests/unit/net/test_door.c; a broker's:
 * tests/e2e/test_explain.py.)
 */
#include "base/base.h"

#include "base/err.h"
#include "base/mem.h"
#include "base/rng.h"
#include "broker/control.h"
#include "unit.h"

static int parse(const char *line, struct arena *arena, struct str *ret_words, size_t *ret_count)
{
    return control_parse(str_from(line), arena, ret_words, ret_count);
}

static void any_words_come_over(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct rng rng;
    rng_init(&rng, 1);
    for (int round = 0; round < 2000; round++) {
        struct str words[CONTROL_WORDS_MAX];
        struct str read[CONTROL_WORDS_MAX];
        size_t count = 1 + rng_next(&rng) % CONTROL_WORDS_MAX;
        size_t read_count = 0;
        for (size_t i = 0; i < count; i++) {
            size_t len = rng_next(&rng) % 40;
            char *bytes = arena_alloc(&arena, len + 1);
            for (size_t k = 0; k < len; k++) {
                bytes[k] = (char)(rng_next(&rng) % (round % 2 == 0 ? 256 : 64));
            }
            words[i] = str_of(bytes, len);
        }
        struct str line = control_line(words, count, &arena);
        assert_int_equal(line.ptr[line.len - 1], '\n');
        line.len--;
        assert_null(memchr(line.ptr, '\n', line.len));
        assert_int_equal(control_parse(line, &arena, read, &read_count), 0);
        assert_int_equal(read_count, count);
        for (size_t i = 0; i < count; i++) {
            assert_true(str_equal(words[i], read[i]));
        }
        arena_reset(&arena);
    }
    arena_release(&arena);
}

static void what_is_no_line_of_words_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"%", "%4", "a %4", "%4g", "%g4", "a\tb", "\x7f", "\xc3\xbc"};
    struct arena arena = {0};
    struct str words[CONTROL_WORDS_MAX];
    size_t count = 0;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(parse(bad[i], &arena, words, &count), ERR_MALFORMED);
    }
    assert_int_equal(parse("a b c d e f g h i j k l m n o p", &arena, words, &count), 0);
    assert_int_equal(count, CONTROL_WORDS_MAX);
    assert_int_equal(parse("a b c d e f g h i j k l m n o p q", &arena, words, &count),
                     ERR_TOO_LARGE);
    assert_int_equal(parse("", &arena, words, &count), 0);
    assert_int_equal(count, 1);
    assert_int_equal(words[0].len, 0);
    assert_int_equal(parse("a  b ", &arena, words, &count), 0);
    assert_int_equal(count, 4);
    arena_release(&arena);
}

static void states_have_names(void **state)
{
    (void)state;
    for (int i = 0; i < CONTROL_STATUSES; i++) {
        enum control_status found;
        assert_true(
            control_status_find(str_from(control_status_name((enum control_status)i)), &found));
        assert_int_equal(found, i);
    }
    enum control_status none;
    assert_false(control_status_find(STR("nothing"), &none));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_words_come_over),
        cmocka_unit_test(what_is_no_line_of_words_is_refused),
        cmocka_unit_test(states_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
