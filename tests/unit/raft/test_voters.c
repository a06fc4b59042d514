/*
 * controller.quorum.voters, and who is a voter. Texts of the configuration go in, the set is
 * printed again.
 */
#include "unit.h"

#include "base/err.h"
#include "raft/voters.h"

static void assert_parsed(const char *text, const char *printed)
{
    struct voters vs = {0};
    char memory[512];
    struct strbuf sb;
    strbuf_init(&sb, memory, sizeof(memory));
    assert_int_equal(voters_parse(&vs, str_from(text)), 0);
    voters_print(&vs, &sb);
    assert_string_equal(sb.ptr, printed);
    voters_release(&vs);
}

static void lists_are_read(void **state unused_ok)
{
    assert_parsed("1@localhost:9093", "1@localhost:9093");
    assert_parsed(" 1@a:1 , 2@[::1]:65535,3@10.0.0.1:0", "1@a:1, 2@::1:65535, 3@10.0.0.1:0");
    assert_parsed("", "");
}

static void bad_lists_are_refused(void **state unused_ok)
{
    static const char *const bad[] = {
        "1",         "1@host",       "@host:1",     "x@host:1", "1@:9",  "1@host:x", "1@host:65536",
        "1@host:-1", "1@a:1,,2@b:2", "1@a:1,1@b:2", "-1@a:1",   "a:1@2", "1@host:",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct voters vs = {0};
        if (voters_parse(&vs, str_from(bad[i])) >= 0) {
            fail_msg("accepted: %s", bad[i]);
        }
        voters_release(&vs);
    }
}

static void a_known_directory_must_match(void **state unused_ok)
{
    struct voters vs = {0};
    struct uuid ours = {.bytes = {1}};
    struct uuid other = {.bytes = {2}};
    struct voter v = {.id = 4, .directory_id = ours};
    assert_int_equal(voters_add(&vs, &v), 0);
    v = (struct voter){.id = 5};
    assert_int_equal(voters_add(&vs, &v), 0);
    assert_non_null(voters_find(&vs, 4, &ours));
    assert_null(voters_find(&vs, 4, &other));
    assert_non_null(voters_find(&vs, 5, &other)); /* static: its directory is not known */
    assert_null(voters_find(&vs, 6, &ours));
    assert_int_equal(voters_add(&vs, &v), ERR_MALFORMED);
    for (v.id = 10; vs.count < VOTERS_MAX; v.id++) {
        assert_int_equal(voters_add(&vs, &v), 0);
    }
    v.id++;
    assert_int_equal(voters_add(&vs, &v), ERR_TOO_LARGE);
    voters_release(&vs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists_are_read),
        cmocka_unit_test(bad_lists_are_refused),
        cmocka_unit_test(a_known_directory_must_match),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
