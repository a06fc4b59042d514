/* Strings, numbers in them, Uuids and texts of failures: tables of examples; what Java would say
 * was taken from Java (hashCode, Uuid.toString). */
#include "base/base.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/str.h"
#include "base/uuid.h"
#include "simclock.h"
#include "unit.h"

static void null_and_empty_are_told_apart(void **state)
{
    (void)state;
    struct str null = {0};
    assert_true(str_is_null(null));
    assert_false(str_is_null(STR("")));
    assert_true(str_equal(null, null));
    assert_false(str_equal(null, STR("")));
    assert_true(str_compare(null, STR("")) < 0);
    assert_true(str_compare(STR("a"), STR("ab")) < 0);
    assert_true(str_compare(STR("b"), STR("ab")) > 0);
    assert_true(str_compare(STR("\xc3"), STR("a")) > 0);
    assert_false(str_is(null, ""));
    assert_true(str_starts_with(STR("listener.name"), STR("listener.")));
    assert_false(str_starts_with(STR("list"), STR("listener.")));
    assert_true(str_equal_ignore_case(STR("TrUe"), STR("true")));
    assert_true(str_is(str_trim(STR(" \t x y\r\n")), "x y"));
    assert_true(str_is(str_trim(STR("  ")), ""));
}

static void split_gives_every_part_also_empty_ones(void **state)
{
    (void)state;
    struct str rest = STR("a,,b,");
    struct str part;
    const char *expected[] = {"a", "", "b", ""};
    for (size_t i = 0; i < ARRAY_LEN(expected); i++) {
        assert_true(str_split(&rest, ',', &part));
        assert_true(str_is(part, expected[i]));
    }
    assert_false(str_split(&rest, ',', &part));
    rest = STR("");
    assert_true(str_split(&rest, ',', &part));
    assert_int_equal(part.len, 0);
    assert_false(str_split(&rest, ',', &part));
}

static void numbers_are_whole_strings_within_range(void **state)
{
    (void)state;
    int64_t v = 77;
    assert_int_equal(str_to_i64(STR("9223372036854775807"), &v), 0);
    assert_int_equal(v, INT64_MAX);
    assert_int_equal(str_to_i64(STR("-9223372036854775808"), &v), 0);
    assert_int_equal(v, INT64_MIN);
    assert_int_equal(str_to_i64(STR("9223372036854775808"), &v), -ERANGE);
    assert_int_equal(str_to_i64(STR("-9223372036854775809"), &v), -ERANGE);
    assert_int_equal(str_to_i64(STR("99999999999999999999999"), &v), -ERANGE);
    assert_int_equal(v, INT64_MIN); /* written only on success */
    const char *bad[] = {"", "-", "+", " 1", "1 ", "1x", "0x10", "1.0"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(str_to_i64(str_from(bad[i]), &v), ERR_MALFORMED);
    }
    int32_t w;
    assert_int_equal(str_to_i32(STR("+2147483647"), &w), 0);
    assert_int_equal(w, INT32_MAX);
    assert_int_equal(str_to_i32(STR("2147483648"), &w), -ERANGE);
    double d;
    assert_int_equal(str_to_double(STR("-2.5e3"), &d), 0);
    assert_true(d == -2500.0);
    assert_int_equal(str_to_double(STR("inf"), &d), ERR_MALFORMED);
    assert_int_equal(str_to_double(STR("1e999"), &d), -ERANGE);
    assert_int_equal(str_to_double(STR("1.5.2"), &d), ERR_MALFORMED);
}

static void java_hash_is_that_of_java(void **state)
{
    (void)state;
    assert_int_equal(str_java_hash(STR("")), 0);
    assert_int_equal(str_java_hash(STR("hello")), 99162322);
    assert_int_equal(str_java_hash(STR("polygenelubricants")), INT32_MIN);
    assert_int_equal(str_java_hash(STR("\xc3\xa9")), 0xe9);                         /* U+00E9 */
    assert_int_equal(str_java_hash(STR("\xf0\x9f\x98\x80")), 31 * 0xd83d + 0xde00); /* U+1F600 */
    assert_int_equal(str_java_hash(STR("\xff")), 0xfffd);
    assert_int_equal(str_java_hash(STR("\xe2\x82")), 31 * 0xfffd + 0xfffd);
}

static void a_builder_never_passes_its_end(void **state)
{
    (void)state;
    char memory[9];
    memset(memory, 'X', sizeof(memory));
    struct strbuf sb;
    strbuf_init(&sb, memory, 8);
    strbuf_add(&sb, "abc", 3);
    strbuf_addf(&sb, "%d", 12);
    assert_string_equal(memory, "abc12");
    assert_false(sb.is_truncated);
    strbuf_addf(&sb, "%s", "xyz");
    assert_true(sb.is_truncated);
    assert_string_equal(memory, "abc12xy");
    strbuf_add(&sb, "more", 4);
    assert_int_equal(strbuf_str(&sb).len, 7);
    assert_int_equal(memory[8], 'X');
    struct strbuf nothing = {0};
    strbuf_add(&nothing, "a", 1);
    strbuf_addf(&nothing, "%d", 1);
    assert_true(nothing.is_truncated);
    assert_int_equal(strbuf_str(&nothing).len, 0);
}

static void client_text_is_made_harmless(void **state)
{
    (void)state;
    char memory[2048];
    struct strbuf sb;
    strbuf_init(&sb, memory, sizeof(memory));
    assert_string_equal(str_escape(&sb, STR("a\n\x1b[31m\\\xff")), "a\\x0a\\x1b[31m\\x5c\\xff");
    char text[300];
    memset(text, 'z', sizeof(text));
    strbuf_init(&sb, memory, sizeof(memory));
    str_escape(&sb, str_of(text, sizeof(text)));
    assert_int_equal(sb.len, 256 + 3);
    assert_string_equal(memory + 250, "zzzzzz...");
}

static void uuids_print_and_parse_as_in_kafka(void **state)
{
    (void)state;
    struct uuid u = {{0}};
    char text[UUID_TEXT_SIZE];
    uuid_print(&u, text);
    assert_string_equal(text, "AAAAAAAAAAAAAAAAAAAAAA");
    assert_true(uuid_is_zero(&u));
    u.bytes[15] = 1;
    uuid_print(&u, text);
    assert_string_equal(text, "AAAAAAAAAAAAAAAAAAAAAQ"); /* the topic id of __cluster_metadata */
    struct simclock sc;
    simclock_init(&sc, 7);
    for (int i = 0; i < 500; i++) {
        struct uuid back;
        clock_random_uuid(&sc.clock, &u);
        uuid_print(&u, text);
        assert_int_not_equal(text[0], '-');
        assert_int_equal(u.bytes[6] >> 4, 4);
        assert_int_equal(u.bytes[8] >> 6, 2);
        assert_int_equal(uuid_parse(str_from(text), &back), 0);
        assert_true(uuid_equal(&u, &back));
    }
    assert_int_equal(uuid_parse(STR("AAAAAAAAAAAAAAAAAAAAAQ=="), &u), 0);
    assert_int_equal(uuid_parse(STR("AAAAAAAAAAAAAAAAAAAAA"), &u), ERR_MALFORMED);
    assert_int_equal(uuid_parse(STR("AAAAAAAAAAAAAAAAAAAA+Q"), &u), ERR_MALFORMED);
}

static void every_failure_has_a_text(void **state)
{
    (void)state;
    assert_string_equal(err_text(ERR_CORRUPT), "stored data is damaged");
    assert_string_equal(err_text(-ENOSPC), "No space left on device");
    assert_string_equal(err_text(-4000), "unknown error");
    assert_string_equal(err_text(-6000), "unknown error");
    assert_string_equal(err_text(INT32_MIN), "unknown error");
    assert_string_equal(err_text(0), "no error");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(null_and_empty_are_told_apart),
        cmocka_unit_test(split_gives_every_part_also_empty_ones),
        cmocka_unit_test(numbers_are_whole_strings_within_range),
        cmocka_unit_test(java_hash_is_that_of_java),
        cmocka_unit_test(a_builder_never_passes_its_end),
        cmocka_unit_test(client_text_is_made_harmless),
        cmocka_unit_test(uuids_print_and_parse_as_in_kafka),
        cmocka_unit_test(every_failure_has_a_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
