/* Patterns. The table is what RE2/J 1.8, the library that Kafka 4.4.0 uses, says of each pattern:
 * refused with this description, or these of the names are matched ("~": the empty one). Random
 * pieces of patterns are put together to see that nothing goes wrong inside (this is for the
 * sanitizers); hostile ones are timed. */
#include "base/base.h"

#include "base/mem.h"
#include "coord/pattern.h"
#include "simclock.h"
#include "unit.h"

#include <time.h>

static const char *const names[] = {
    "orders", "Orders", "orders-1", "orders.eu", "a", "A", "k", "K",      "s",    "ab",
    "aab",    "abab",   "x_y",      "12",        "",  ".", "-", "foobar", "aaaa",
};

struct row {
    const char *pattern;
    const char *refusal; /* NULL: accepted */
    const char *matches; /* in the order of names, by blanks */
};

static const struct row rows[] = {
    {".*", NULL, "orders Orders orders-1 orders.eu a A k K s ab aab abab x_y 12 ~ . - foobar aaaa"},
    {".+", NULL, "orders Orders orders-1 orders.eu a A k K s ab aab abab x_y 12 . - foobar aaaa"},
    {"^orders$", NULL, "orders"},
    {"orders", NULL, "orders"},
    {"order", NULL, ""},
    {"(?i)ORDERS", NULL, "orders Orders"},
    {"(?i:o)rders", NULL, "orders Orders"},
    {"(?-i)Orders", NULL, "Orders"},
    {"o(?i)RDERS", NULL, "orders"},
    {"(o(?i)R)ders", NULL, "orders"},
    {"(?i)\305\277", NULL, "s"},
    {"(?i)[\305\277]", NULL, "s"},
    {"(?i)\\x{212A}", NULL, "k K"},
    {"(?i)[^K]", NULL, "a A s . -"},
    {"(?P<name>a)b", NULL, "ab"},
    {"(?<name>a)b", NULL, "ab"},
    {"(?P<n>a)(?P<n>b)", "duplicate capture group name", NULL},
    {"(?P<a b>x)", "invalid named capture", NULL},
    {"(?P<>x)", "invalid named capture", NULL},
    {"(?P<n", "invalid named capture", NULL},
    {"(?P=n)", "invalid or unsupported Perl syntax", NULL},
    {"(?P>n)", "invalid or unsupported Perl syntax", NULL},
    {"(?=a)a", "invalid or unsupported Perl syntax", NULL},
    {"(?!b)a", "invalid or unsupported Perl syntax", NULL},
    {"(?<=a)b", "invalid named capture", NULL},
    {"(?<!a)b", "invalid named capture", NULL},
    {"(?>a+)b", "invalid or unsupported Perl syntax", NULL},
    {"(?#c)a", "invalid or unsupported Perl syntax", NULL},
    {"(?R)", "invalid or unsupported Perl syntax", NULL},
    {"(?1)", "invalid or unsupported Perl syntax", NULL},
    {"(?(1)a|b)", "invalid or unsupported Perl syntax", NULL},
    {"(*FAIL)", "missing argument to repetition operator", NULL},
    {"(*PRUNE)a", "missing argument to repetition operator", NULL},
    {"a++", "invalid nested repetition operator", NULL},
    {"a*+", "invalid nested repetition operator", NULL},
    {"a**", "invalid nested repetition operator", NULL},
    {"a*?", NULL, "a ~ aaaa"},
    {"a+?", NULL, "a aaaa"},
    {"a??", NULL, "a ~"},
    {"a???", "invalid nested repetition operator", NULL},
    {"a{2}", NULL, ""},
    {"a{2,}", NULL, "aaaa"},
    {"a{1,2}b", NULL, "ab aab"},
    {"(ab){2}", NULL, "abab"},
    {"a{,2}", NULL, ""},
    {"a{0}", NULL, "~"},
    {"a{0,0}b", NULL, ""},
    {"(|a)+", NULL, "a ~ aaaa"},
    {"a{1001}", "invalid repeat count", NULL},
    {"a{1000}", NULL, ""},
    {"a{1,1001}", "invalid repeat count", NULL},
    {"a{2,1}", "invalid repeat count", NULL},
    {"a{01}", NULL, ""},
    {"a{99999999999}", "invalid repeat count", NULL},
    {"x{2}{3}", "invalid nested repetition operator", NULL},
    {"a{2}?", NULL, ""},
    {"{", NULL, ""},
    {"{*", "invalid nested repetition operator", NULL},
    {"a{", NULL, ""},
    {"a{1", NULL, ""},
    {"*a", "missing argument to repetition operator", NULL},
    {"|*", "missing argument to repetition operator", NULL},
    {"(*)", "missing argument to repetition operator", NULL},
    {"(?i)*", "missing argument to repetition operator", NULL},
    {"a(?i)*", NULL, "a ~ aaaa"},
    {"a*(?i)*", NULL, "a ~ aaaa"},
    {"^*a", NULL, "a"},
    {"(a", "missing closing )", NULL},
    {"a)", "regexp/syntax: internal error", NULL},
    {"(a))", "regexp/syntax: internal error", NULL},
    {"[a", "missing closing ]", NULL},
    {"[a-", "missing closing ]", NULL},
    {"[]a]", NULL, "a"},
    {"[^]a]", NULL, "A k K s . -"},
    {"[z-a]", "invalid character class range", NULL},
    {"[a-]", NULL, "a -"},
    {"[-a]", NULL, "a -"},
    {"[a\\-z]", NULL, "a -"},
    {"[a-\\d]", "invalid escape sequence", NULL},
    {"[[:alpha:]]", NULL, "a A k K s"},
    {"[[:^alpha:]_]+", NULL, "12 . -"},
    {"[[:foo:]]", "invalid character class range", NULL},
    {"[[:alpha]", NULL, "a"},
    {"[[.a.]]", NULL, ""},
    {"[a&&b]", NULL, "a"},
    {"\\pL", NULL, "a A k K s"},
    {"\\p{L}+", NULL, "orders Orders a A k K s ab aab abab foobar aaaa"},
    {"\\PL", NULL, ". -"},
    {"\\p{Lu}.*", NULL, "Orders A K"},
    {"\\p{^Lu}", NULL, "a k s . -"},
    {"\\P{^Lu}", NULL, "A K"},
    {"(?i)\\p{Lu}", NULL, "a A k K s"},
    {"\\p{Latin}+", NULL, "orders Orders a A k K s ab aab abab foobar aaaa"},
    {"\\p{Greek}", NULL, ""},
    {"\\p{Cherokee}", NULL, ""},
    {"\\p{Klingon}", "invalid character class range", NULL},
    {"\\p{Script=Greek}", "invalid character class range", NULL},
    {"\\p{IsAlphabetic}", "invalid character class range", NULL},
    {"\\pX", "invalid character class range", NULL},
    {"\\p", "invalid character class range", NULL},
    {"\\p{", "invalid character class range", NULL},
    {"\\pN+", NULL, "12"},
    {"\\d+", NULL, "12"},
    {"\\D", NULL, "a A k K s . -"},
    {"\\w+", NULL, "orders Orders a A k K s ab aab abab x_y 12 foobar aaaa"},
    {"\\W", NULL, ". -"},
    {"\\s", NULL, ""},
    {"\\h", "invalid escape sequence", NULL},
    {"\\A\\w+\\z", NULL, "orders Orders a A k K s ab aab abab x_y 12 foobar aaaa"},
    {"\\Z", "invalid escape sequence", NULL},
    {"\\Aorders\\b", NULL, "orders"},
    {"a\\b", NULL, "a"},
    {"\\Ba", NULL, ""},
    {"\\G", "invalid escape sequence", NULL},
    {"\\K", "invalid escape sequence", NULL},
    {"\\R", "invalid escape sequence", NULL},
    {"\\X", "invalid escape sequence", NULL},
    {"\\C", "invalid escape sequence", NULL},
    {"\\Qorders.eu\\E", NULL, "orders.eu"},
    {"\\Qa", NULL, "a"},
    {"\\Qa\\Eb", NULL, "ab"},
    {"\\Q.\\E+", NULL, "."},
    {"\\1", "invalid escape sequence", NULL},
    {"\\12", NULL, ""},
    {"\\101", NULL, "A"},
    {"\\x41", NULL, "A"},
    {"\\x4", "invalid escape sequence", NULL},
    {"\\x{41}", NULL, "A"},
    {"\\x{}", "invalid escape sequence", NULL},
    {"\\x{110000}", "invalid escape sequence", NULL},
    {"\\e", "invalid escape sequence", NULL},
    {"\\cA", "invalid escape sequence", NULL},
    {"\\_", NULL, ""},
    {"\\.", NULL, "."},
    {"\\-", NULL, "-"},
    {"\\\303\251", NULL, ""},
    {"\\", "trailing backslash at end of expression", NULL},
    {"a|b|", NULL, "a ~"},
    {"a||b", NULL, "a ~"},
    {"()", NULL, "~"},
    {"(?:)", NULL, "~"},
    {"(?)", NULL, "~"},
    {"(?:a", "missing closing )", NULL},
    {"(?x)a", "invalid or unsupported Perl syntax", NULL},
    {"(?U)a+", NULL, "a aaaa"},
    {"(?s).", NULL, "a A k K s . -"},
    {"(?m)^a$", NULL, "a"},
    {"(?i-s:A)", NULL, "a A"},
    {"(?i-)", "invalid or unsupported Perl syntax", NULL},
    {"(?-)", "invalid or unsupported Perl syntax", NULL},
    {"(?^a)", "invalid or unsupported Perl syntax", NULL},
    {"$", NULL, "~"},
    {"a$b", NULL, ""},
    {"o.*[a-z]{2}", NULL, "orders orders.eu"},
    {".{0,3}", NULL, "a A k K s ab aab x_y 12 ~ . -"},
    {"[\\Qa\\E]", "invalid escape sequence", NULL},
    {"[^\\x00-\\x{10FFFF}]", NULL, ""},
    {"[a-z&&[^b]]", NULL, ""},
    {"\\u0041", "invalid escape sequence", NULL},
    {"\303\251", NULL, ""},
    {"[\303\251-\303\274]", NULL, ""},
    {"", NULL, "~"},
    {"\303\277", NULL, ""},
    {"a\012b", NULL, ""},
};

/* The names that match, as in the table. */
static void matches_of(const struct pattern *p, char *ret, size_t size)
{
    struct strbuf sb;
    strbuf_init(&sb, ret, size);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (pattern_matches(p, str_from(names[i]))) {
            strbuf_addf(&sb, "%s%s", sb.len > 0 ? " " : "", names[i][0] == '\0' ? "~" : names[i]);
        }
    }
    assert_false(sb.is_truncated);
}

static void patterns_mean_what_they_mean_to_kafka(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct arena arena = {0};
        struct str reason = {0};
        struct pattern *p = pattern_new(str_from(rows[i].pattern), &arena, &reason);
        char seen[256] = "";
        if (rows[i].refusal != NULL) {
            if (p != NULL || !str_is(reason, rows[i].refusal)) {
                fail_msg("%s: not refused as it should", rows[i].pattern);
            }
        } else {
            if (p == NULL) {
                fail_msg("%s: refused: %.*s", rows[i].pattern, (int)reason.len, reason.ptr);
            }
            matches_of(p, seen, sizeof(seen));
            if (strcmp(seen, rows[i].matches) != 0) {
                fail_msg("%s: matches %s, not %s", rows[i].pattern, seen, rows[i].matches);
            }
        }
        pattern_free(p);
        arena_release(&arena);
    }
}

static struct pattern *compile(struct str text)
{
    struct str reason = {0};
    return pattern_new(text, NULL, &reason);
}

static void sizes_are_bounded(void **state)
{
    (void)state;
    static char text[PATTERN_BYTES_MAX + 2];
    /* The largest program for its text has room; one byte more of text has not. */
    memset(text, '|', sizeof(text));
    struct pattern *p = compile(str_of(text, PATTERN_BYTES_MAX));
    assert_non_null(p);
    assert_true(pattern_matches(p, STR("")));
    pattern_free(p);
    assert_null(compile(str_of(text, PATTERN_BYTES_MAX + 1)));
    /* What is multiplied out has not. */
    assert_null(compile(STR("(a{1000}){1000}")));
    assert_null(compile(STR("((((a{100}){100}){100}){100}){100}")));
    assert_null(compile(STR("(((a{0,9}){0,9}){0,9}){0,99}")));
    p = compile(STR("((((){1000}){1000}){1000}){1000}"));
    assert_non_null(p);
    assert_true(pattern_matches(p, STR("")));
    pattern_free(p);
    /* Nor has what is nested too deeply. */
    memset(text, '(', PATTERN_BYTES_MAX);
    assert_null(compile(str_of(text, PATTERN_BYTES_MAX)));
    assert_null(pattern_free(NULL));
}

static void bytes_that_are_no_text_do_no_harm(void **state)
{
    (void)state;
    static const char bad[] = "a\xff\xc3\xe2\x82[\xf0\x9f]\xed\xa0\x80?";
    struct pattern *p = compile(str_of(bad, sizeof(bad) - 1));
    assert_non_null(p);
    assert_false(pattern_matches(p, STR("a")));
    assert_false(pattern_matches(p, STR("a\xff")));
    pattern_free(p);
    p = compile(STR("[^a]"));
    assert_true(pattern_matches(p, STR("b")));
    assert_false(pattern_matches(p, STR("\xc3\xa9"))); /* no name of a topic */
    pattern_free(p);
}

static void random_patterns_do_no_harm(void **state)
{
    (void)state;
    static const char *const pieces[] = {
        "a",   "b",   ".",      "(",   ")",     "(?:",      "(?i)", "|",    "*",     "+",    "?",
        "*?",  "[",   "]",      "[^",  "-",     "{",        "}",    "{2}",  "{1,3}", "{0,}", "{,",
        "\\Q", "\\E", "\\",     "\\d", "\\pL",  "\\p{",     "}",    "[:",   ":]",    "^",    "$",
        "\\b", "(?",  "(?P<n>", "\\x", "\\x{4", "\303\251", "\303", "a{9}", "ab|",   "0",    ",",
    };
    uint64_t random = 31;
    size_t accepted = 0;
    for (int round = 0; round < 30000; round++) {
        char memory[128];
        struct strbuf sb;
        strbuf_init(&sb, memory, sizeof(memory));
        for (uint64_t n = sim_random(&random) % 9; n > 0; n--) {
            strbuf_addf(&sb, "%s", pieces[sim_random(&random) % ARRAY_LEN(pieces)]);
        }
        struct pattern *p = compile(strbuf_str(&sb));
        if (p != NULL) {
            char seen[256];
            matches_of(p, seen, sizeof(seen));
            accepted++;
        }
        pattern_free(p);
    }
    assert_true(accepted > 3000);
}

/* ---- time ---- */

static int64_t cpu_us(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

enum {
    NAME_BYTES = 249,
    /* An optimised build needs at most 10 ms for a match, and 0.3 s for all names of a pattern; a
     * build with sanitizers ten times as much, a busy machine again some. */
    MATCH_US_MAX = 300000,
    PATTERN_US_MAX = 6000000,
};

static void long_name(char *name, const char *of)
{
    size_t len = strlen(of);
    for (size_t i = 0; i < NAME_BYTES; i++) {
        name[i] = of[i % len];
    }
}

/* `count` times `piece`. */
static struct str repeated(struct arena *arena, const char *piece, size_t count)
{
    size_t len = strlen(piece);
    char *text = arena_alloc(arena, len * count + 1);
    for (size_t i = 0; i < count; i++) {
        memcpy(text + i * len, piece, len);
    }
    return str_of(text, len * count);
}

static void hostile_patterns_are_matched_in_bounded_time(void **state)
{
    (void)state;
    struct arena arena = {0};
    const struct str patterns[] = {
        STR("(a+)+$"),
        STR("(a+)+b"),
        STR("(a*)*c"),
        STR("(a|aa)+c"),
        STR("(.*)*x"),
        STR("(a?){200}a{200}"),
        STR("(a?){1000}"),
        STR("(.*a){20}c"),
        STR("((a|b)*|c)*d"),
        STR("((a{0,10}){0,10}){0,10}b"),
        STR("(\\w+[._-]?)+!"),
        STR(".{0,1000}.{0,1000}.{0,1000}x"),
        STR("(\\b.?\\B.?)*x"),
        repeated(&arena, ".*", 1900),
        repeated(&arena, "(a|b)*", 600),
        repeated(&arena, "a?b?", 1000),
    };
    static const char *const bodies[] = {"a", "ab", "abc._-", "xyz0"};
    int64_t worst = 0;
    for (size_t i = 0; i < ARRAY_LEN(patterns); i++) {
        struct pattern *p = compile(patterns[i]);
        assert_non_null(p);
        for (size_t b = 0; b < ARRAY_LEN(bodies); b++) {
            char name[NAME_BYTES];
            long_name(name, bodies[b]);
            int64_t start = cpu_us();
            bool is_match = pattern_matches(p, str_of(name, sizeof(name)));
            worst = max_i64(worst, cpu_us() - start);
            (void)is_match;
        }
        pattern_free(p);
    }
    arena_release(&arena);
    printf("the slowest match: %" PRId64 " us\n", worst);
    assert_true(worst < MATCH_US_MAX);
}

static void a_pattern_that_has_had_its_share_matches_nothing_more(void **state)
{
    (void)state;
    struct arena arena = {0};
    char name[NAME_BYTES];
    long_name(name, "a");
    struct pattern *p = compile(repeated(&arena, ".*", 1900));
    assert_true(pattern_matches(p, STR("a")));
    int64_t start = cpu_us();
    for (int i = 0; i < 10000; i++) {
        IGNORE(pattern_matches(p, str_of(name, sizeof(name)))); /* for its cost */
    }
    int64_t took = cpu_us() - start;
    printf("ten thousand names: %" PRId64 " us\n", took);
    assert_true(took < PATTERN_US_MAX);
    assert_false(pattern_matches(p, STR("a")));
    pattern_free(p);
    /* An ordinary one does not come near that. */
    p = compile(STR("(orders|payments)[._-].*"));
    for (int i = 0; i < 100000; i++) {
        assert_true(pattern_matches(p, STR("payments.eu-west-1.v2")));
    }
    pattern_free(p);
    arena_release(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patterns_mean_what_they_mean_to_kafka),
        cmocka_unit_test(sizes_are_bounded),
        cmocka_unit_test(bytes_that_are_no_text_do_no_harm),
        cmocka_unit_test(random_patterns_do_no_harm),
        cmocka_unit_test(hostile_patterns_are_matched_in_bounded_time),
        cmocka_unit_test(a_pattern_that_has_had_its_share_matches_nothing_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
