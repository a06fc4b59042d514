/* The .properties format: texts and the pairs that Java's Properties.load makes of them. */
#include "unit.h"

#include "base/err.h"
#include "config/properties.h"

struct expected {
    const char *key;
    const char *value;
};

static void expect(const char *text, const struct expected *expected, size_t count)
{
    struct arena arena;
    arena_init(&arena, 0);
    struct property *items;
    size_t n;
    int line;
    assert_int_equal(properties_parse(str_from(text), &arena, &items, &n, &line), 0);
    assert_int_equal(n, count);
    for (size_t i = 0; i < count; i++) {
        assert_true(str_is(items[i].key, expected[i].key));
        assert_true(str_is(items[i].value, expected[i].value));
    }
    arena_release(&arena);
}
#define EXPECT(text, ...)                                  \
    expect((text), (const struct expected[]){__VA_ARGS__}, \
           ARRAY_LEN(((const struct expected[]){__VA_ARGS__})))

static void keys_end_at_equals_colon_or_blank(void **state)
{
    (void)state;
    EXPECT("a=1\nb:2\nc 3\nd\t4\n", {"a", "1"}, {"b", "2"}, {"c", "3"}, {"d", "4"});
    EXPECT("a = 1\nb : 2\n  c   =  3", {"a", "1"}, {"b", "2"}, {"c", "3"});
    EXPECT("a==1\nb= =2\nc", {"a", "=1"}, {"b", "=2"}, {"c", ""});
    EXPECT("a=", {"a", ""});
}

static void values_keep_blanks_at_their_end(void **state)
{
    (void)state;
    EXPECT("a=1  \nb= x y\t\n", {"a", "1  "}, {"b", "x y\t"});
}

static void comments_and_empty_lines_are_nothing(void **state)
{
    (void)state;
    EXPECT("# one\n\n   ! two = 2\n \t\na=1 # no comment\n#b=2\\\nc=3", {"a", "1 # no comment"},
           {"c", "3"});
    struct arena arena;
    arena_init(&arena, 0);
    struct property *items;
    size_t n = 9;
    int line;
    assert_int_equal(properties_parse(STR(""), &arena, &items, &n, &line), 0);
    assert_int_equal(n, 0);
    arena_release(&arena);
}

static void a_backslash_continues_a_line(void **state)
{
    (void)state;
    EXPECT("listeners=A,\\\n    B,\\\r\n\tC\nb=1", {"listeners", "A,B,C"}, {"b", "1"});
    EXPECT("a=1\\\\\nb=2", {"a", "1\\"}, {"b", "2"});
    EXPECT("a=1\\", {"a", "1"});
    EXPECT("a=1\\\n#no comment", {"a", "1#no comment"});
}

static void line_ends_of_all_systems_count(void **state)
{
    (void)state;
    EXPECT("a=1\r\nb=2\rc=3\nd=4", {"a", "1"}, {"b", "2"}, {"c", "3"}, {"d", "4"});
}

static void escapes_are_resolved(void **state)
{
    (void)state;
    EXPECT("a\\=b=c\\:d\nk\\ 1=\\t\\n\\r\\f\\q\\\\", {"a=b", "c:d"}, {"k 1", "\t\n\r\fq\\"});
    EXPECT("u=\\u0041\\u00e9\\u20AC\\ud83d\\ude00", {"u", "A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"});
}

static void a_bad_unicode_escape_is_refused_with_its_line(void **state)
{
    (void)state;
    static const char *const bad[] = {"a=1\n\nb=\\u12g4\n", "a=1\n\nb=\\u12", "a=1\n\n\\uzz=1"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct arena arena;
        arena_init(&arena, 0);
        struct property *items;
        size_t n;
        int line = 0;
        assert_int_equal(properties_parse(str_from(bad[i]), &arena, &items, &n, &line),
                         ERR_MALFORMED);
        assert_int_equal(line, 3);
        arena_release(&arena);
    }
}

static void every_cut_of_a_text_is_read_within_its_bounds(void **state)
{
    (void)state;
    static const char text[] = "a=1\\\n b\\u00e9\\\r\n#x\n!y\n\\u0041 : \\\n=";
    for (size_t len = 0; len < sizeof(text); len++) {
        char *copy = mem_alloc(len + 1);
        memcpy(copy, text, len);
        struct arena arena;
        arena_init(&arena, 0);
        struct property *items;
        size_t n;
        int line;
        int err = properties_parse(str_of(copy, len), &arena, &items, &n, &line);
        assert_true(err == 0 || err == ERR_MALFORMED);
        arena_release(&arena);
        mem_free(copy);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_end_at_equals_colon_or_blank),
        cmocka_unit_test(values_keep_blanks_at_their_end),
        cmocka_unit_test(comments_and_empty_lines_are_nothing),
        cmocka_unit_test(a_backslash_continues_a_line),
        cmocka_unit_test(line_ends_of_all_systems_count),
        cmocka_unit_test(escapes_are_resolved),
        cmocka_unit_test(a_bad_unicode_escape_is_refused_with_its_line),
        cmocka_unit_test(every_cut_of_a_text_is_read_within_its_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
