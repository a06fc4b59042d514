/* The command line of the server: word lists and what they mean, or the word that the refusal
 * names. */
#include "unit.h"

#include "args.h"

static bool parse(const char *const *words, struct args *ret, char *error, size_t cap)
{
    char *argv[16];
    char memory[16][64];
    int argc = 0;
    for (; words[argc] != NULL; argc++) {
        snprintf(memory[argc], sizeof(memory[argc]), "%s", words[argc]);
        argv[argc] = memory[argc];
    }
    argv[argc] = NULL;
    bool is_good = args_parse(argc, argv, ret, error, cap);
    if (is_good && ret->overrides_count > 0) {
        assert_string_equal(ret->overrides[0], "a.b=c");
    }
    return is_good;
}
#define PARSE(ret, error, ...) \
    parse((const char *const[]){"jackdaw", __VA_ARGS__, NULL}, (ret), (error), sizeof(error))

static void options_take_the_next_word_or_what_follows_equals(void **state)
{
    (void)state;
    struct args a;
    char error[256];
    assert_true(PARSE(&a, error, "f.properties", "--override", "a.b=c", "--override=d=e",
                      "--data=x", "--listen", "[::1]:0", "--ports-file", "p"));
    assert_non_null(a.file);
    assert_int_equal(a.overrides_count, 2);
    assert_true(a.data != NULL && a.listen != NULL && a.ports_file != NULL && !a.is_ephemeral);
    args_release(&a);
    assert_true(PARSE(&a, error, "--ephemeral"));
    assert_true(a.is_ephemeral && a.file == NULL && a.overrides_count == 0);
    args_release(&a);
}

static void mistakes_are_named(void **state)
{
    (void)state;
    struct args a;
    char error[256];
    assert_false(PARSE(&a, error, "--nope"));
    assert_non_null(strstr(error, "--nope"));
    assert_false(PARSE(&a, error, "--dat", "x"));
    assert_false(PARSE(&a, error, "--data"));
    assert_non_null(strstr(error, "DIR"));
    assert_false(PARSE(&a, error, "--data="));
    assert_false(PARSE(&a, error, "--ephemeral=1"));
    assert_false(PARSE(&a, error, "one", "two"));
    assert_non_null(strstr(error, "two"));
    assert_false(PARSE(&a, error, "--ephemeral", "--data", "x"));
    static const char *const once[] = {"--data", "--listen", "--ports-file"};
    for (size_t i = 0; i < ARRAY_LEN(once); i++) {
        assert_false(PARSE(&a, error, once[i], "first", once[i], "second"));
        assert_non_null(strstr(error, once[i]));
        assert_non_null(strstr(error, "second: there is one already, first"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_take_the_next_word_or_what_follows_equals),
        cmocka_unit_test(mistakes_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
