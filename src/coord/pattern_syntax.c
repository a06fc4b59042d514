/*
 * A reader of RE2/J's syntax that writes a program as it goes, in one pass.
 *
 * What is written is a run of steps with relative jumps, so that a piece of it can be moved and
 * copied as it is:
 *
 *     a literal, a class, .    SET
 *     ^ \A, $ \z, \b, \B      an assertion (there are no lines in a name)
 *     x|y                      SPLIT over x; x; JUMP behind y; y
 *     x*                       SPLIT behind the loop; x; JUMP back
 *     x+                       x; SPLIT back
 *     x?                       SPLIT over x; x
 *     x{2,4}                   x; x; SPLIT to the end; x; SPLIT to the end; x
 *     (...), (?P<n>...)        what is inside: nobody asks what a group has matched
 *     (?i), (?s), (?m), (?U)   case goes into the sets, the others make no difference
 *     x*?                      x*: what is matched as a whole stays the same
 *
 * What RE2/J does not have (look-around, back references, atomic groups, possessive repetitions,
 * recursion, verbs, \C, \G, \K, \R, \X) is refused in its order and words. Names are ASCII, thus a
 * code point beyond it matters only where case folds it into ASCII (the long s, the Kelvin sign).
 *
 * The last item (`atom`) of each open group is what a repetition repeats; the branch that is open
 * is what an alternation goes over. Both are at the end of what is written, so that nothing behind
 * them has to be mended when something is put before them.
 */
#include "coord/pattern_syntax.h"

#include "base/base.h"
#include "base/mem.h"
#include "coord/pattern_set.h"

enum {
    RUNE_MAX = 0x10ffff,
    REPEAT_MAX = 1000,
    REPEAT_NUMBER_MAX = 100000000,
    DEPTH_MAX = 200, /* open groups */
};

enum {
    FLAG_FOLD = 1,
    FLAG_OTHER = 2, /* m, s, U: read and of no effect */
};

static const char ERROR_RANGE[] = "invalid character class range";
static const char ERROR_ESCAPE[] = "invalid escape sequence";
static const char ERROR_CAPTURE[] = "invalid named capture";
static const char ERROR_DUPLICATE[] = "duplicate capture group name";
static const char ERROR_PERL[] = "invalid or unsupported Perl syntax";
static const char ERROR_REPEAT_OP[] = "invalid nested repetition operator";
static const char ERROR_REPEAT_SIZE[] = "invalid repeat count";
static const char ERROR_BRACKET[] = "missing closing ]";
static const char ERROR_PAREN[] = "missing closing )";
static const char ERROR_ARGUMENT[] = "missing argument to repetition operator";
static const char ERROR_BACKSLASH[] = "trailing backslash at end of expression";
static const char ERROR_INTERNAL[] = "regexp/syntax: internal error";
static const char ERROR_LARGE[] = "expression is too large";

struct level {
    unsigned flags;      /* in force outside of the group */
    size_t start;        /* of the group in the program */
    size_t branch_start; /* of the branch that is open */
    size_t last_jump;    /* at the end of the branch before; its argument leads to the one before */
    bool has_branches;
    bool has_atom;
    size_t atom_start;
};

struct translation {
    struct str text;
    size_t at;
    unsigned flags;
    bool is_after_repeat;
    const char *error; /* the first one */
    struct pattern_program program;
    size_t steps_cap;
    size_t sets_cap;
    size_t depth;
    struct level levels[DEPTH_MAX];
    struct str *names; /* owned: of groups */
    size_t names_count;
    size_t names_cap;
};

/* ---- reading ---- */

static bool more(const struct translation *tr)
{
    return tr->at < tr->text.len;
}

static bool next_is(const struct translation *tr, const char *literal)
{
    size_t len = strlen(literal);
    return tr->text.len - tr->at >= len && memcmp(tr->text.ptr + tr->at, literal, len) == 0;
}

/* The code point here, without going on. */
static uint32_t peek(const struct translation *tr, size_t *ret_len)
{
    return pattern_set_decode(str_of(tr->text.ptr + tr->at, tr->text.len - tr->at), ret_len);
}

static uint32_t pop(struct translation *tr)
{
    size_t len;
    uint32_t rune = peek(tr, &len);
    tr->at += len;
    return rune;
}

static void fail(struct translation *tr, const char *why)
{
    if (tr->error == NULL) {
        tr->error = why;
    }
}

/* ---- writing ---- */

static struct level *level_of(struct translation *tr)
{
    return &tr->levels[tr->depth];
}

/* Room for `count` steps at `at`, what is there moves back. False: the program is too large. */
static bool insert(struct translation *tr, size_t at, size_t count)
{
    struct pattern_program *pp = &tr->program;
    if (tr->error != NULL || count > PATTERN_STEPS_MAX - pp->steps_count) {
        fail(tr, ERROR_LARGE);
        return false;
    }
    pp->steps = mem_grow(pp->steps, &tr->steps_cap, pp->steps_count + count, sizeof(*pp->steps));
    memmove(pp->steps + at + count, pp->steps + at, (pp->steps_count - at) * sizeof(*pp->steps));
    pp->steps_count += count;
    return true;
}

static void put_at(struct translation *tr, size_t at, enum pattern_step_kind kind, size_t argument)
{
    if (insert(tr, at, 1)) {
        tr->program.steps[at] = (struct pattern_step){
            .kind = (uint16_t)kind, .argument = (uint16_t)argument, /* below PATTERN_STEPS_MAX */
        };
    }
}

static void put(struct translation *tr, enum pattern_step_kind kind, size_t argument)
{
    put_at(tr, tr->program.steps_count, kind, argument);
}

/* What is put next is the item that a repetition would repeat. */
static void begin_atom(struct translation *tr)
{
    struct level *lv = level_of(tr);
    lv->has_atom = true;
    lv->atom_start = tr->program.steps_count;
}

static void put_set(struct translation *tr, const struct pattern_set *s)
{
    struct pattern_program *pp = &tr->program;
    size_t i = 0;
    while (i < pp->sets_count && memcmp(&pp->sets[i], s, sizeof(*s)) != 0) {
        i++;
    }
    if (i == pp->sets_count) {
        pp->sets = mem_grow(pp->sets, &tr->sets_cap, pp->sets_count + 1, sizeof(*pp->sets));
        pp->sets[pp->sets_count++] = *s;
    }
    begin_atom(tr);
    put(tr, STEP_SET, i);
}

static void put_literal(struct translation *tr, uint32_t c)
{
    struct pattern_set s = {{0, 0}};
    pattern_set_add_range(&s, c, c, (tr->flags & FLAG_FOLD) != 0);
    put_set(tr, &s);
}

static void put_assertion(struct translation *tr, enum pattern_step_kind kind)
{
    begin_atom(tr);
    put(tr, kind, 0);
}

/* ---- groups ---- */

static void open_group(struct translation *tr, unsigned flags_inside)
{
    if (tr->depth + 1 == DEPTH_MAX) {
        fail(tr, ERROR_LARGE);
        return;
    }
    size_t start = tr->program.steps_count;
    tr->depth++;
    *level_of(tr) = (struct level){.flags = tr->flags, .start = start, .branch_start = start};
    tr->flags = flags_inside;
}

/* The branch that is open is an alternative to what follows. */
static void end_branch(struct translation *tr)
{
    struct level *lv = level_of(tr);
    size_t len = tr->program.steps_count - lv->branch_start;
    put_at(tr, lv->branch_start, STEP_SPLIT, len + 2);
    put(tr, STEP_JUMP, lv->has_branches ? lv->last_jump : 0);
    if (tr->error != NULL) {
        return;
    }
    lv->last_jump = tr->program.steps_count - 1;
    lv->has_branches = true;
    lv->branch_start = tr->program.steps_count;
    lv->has_atom = false;
}

/* All branches of the level are there: their jumps lead to the end. */
static void close_branches(struct translation *tr)
{
    struct level *lv = level_of(tr);
    size_t at = lv->last_jump;
    bool has_more = lv->has_branches && tr->error == NULL;
    while (has_more) {
        struct pattern_step *st = &tr->program.steps[at];
        size_t before = st->argument;
        st->argument = (uint16_t)(tr->program.steps_count - at);
        has_more = before > 0; /* no jump is the first step: a split is before it */
        at = before;
    }
}

static void close_group(struct translation *tr)
{
    if (tr->depth == 0) {
        fail(tr, ERROR_INTERNAL);
        return;
    }
    close_branches(tr);
    struct level closed = *level_of(tr);
    tr->depth--;
    tr->flags = closed.flags;
    struct level *lv = level_of(tr);
    lv->has_atom = true;
    lv->atom_start = closed.start;
}

static bool is_capture_name(struct str name)
{
    for (size_t i = 0; i < name.len; i++) {
        uint32_t c = (uint8_t)name.ptr[i];
        if (!pattern_is_letter(c) && !pattern_is_digit(c) && c != '_') {
            return false;
        }
    }
    return name.len > 0;
}

/* (?P<name> and (?<name>; `skip` bytes before the name. */
static void open_named_group(struct translation *tr, size_t skip)
{
    struct str name = str_of(tr->text.ptr + tr->at + skip, 0);
    const char *end = memchr(name.ptr, '>', tr->text.len - tr->at - skip);
    if (end == NULL) {
        fail(tr, ERROR_CAPTURE);
        return;
    }
    name.len = (size_t)(end - name.ptr);
    tr->at += skip + name.len + 1;
    if (!is_capture_name(name)) {
        fail(tr, ERROR_CAPTURE);
        return;
    }
    for (size_t i = 0; i < tr->names_count; i++) {
        if (str_equal(tr->names[i], name)) {
            fail(tr, ERROR_DUPLICATE);
            return;
        }
    }
    tr->names = mem_grow(tr->names, &tr->names_cap, tr->names_count + 1, sizeof(*tr->names));
    tr->names[tr->names_count++] = name;
    open_group(tr, tr->flags);
}

/* At "(?": (?flags), (?flags:, (?P<name>, (?<name>. */
static void read_perl_group(struct translation *tr)
{
    if (next_is(tr, "(?P<") || next_is(tr, "(?<")) {
        open_named_group(tr, next_is(tr, "(?P<") ? 4 : 3);
        return;
    }
    tr->at += 2;
    unsigned flags = tr->flags;
    bool is_negative = false;
    bool has_flag = false;
    while (more(tr)) {
        uint32_t c = pop(tr);
        unsigned flag = c == 'i' ? FLAG_FOLD : c == 'm' || c == 's' || c == 'U' ? FLAG_OTHER : 0;
        if (flag != 0) {
            flags = is_negative ? flags & ~flag : flags | flag;
            has_flag = true;
        } else if (c == '-' && !is_negative) {
            is_negative = true;
            has_flag = false;
        } else if ((c == ':' || c == ')') && (!is_negative || has_flag)) {
            if (c == ':') {
                open_group(tr, flags);
            } else {
                tr->flags = flags;
            }
            return;
        } else {
            break;
        }
    }
    fail(tr, ERROR_PERL);
}

/* ---- repetitions ---- */

/* A number as RE2/J reads it in {}; -1: none (no digits, a leading zero), -2: too large. */
static int64_t read_number(struct translation *tr)
{
    size_t start = tr->at;
    int64_t number = 0;
    while (more(tr) && pattern_is_digit((uint8_t)tr->text.ptr[tr->at])) {
        number = min_i64(number * 10 + (tr->text.ptr[tr->at] - '0'), REPEAT_NUMBER_MAX);
        tr->at++;
    }
    size_t len = tr->at - start;
    if (len == 0 || (len > 1 && tr->text.ptr[start] == '0')) {
        return -1;
    }
    return number >= REPEAT_NUMBER_MAX ? -2 : number;
}

/* At '{'. False: these are no repeat counts but literals, and nothing has been read. */
static bool read_counts(struct translation *tr, int64_t *ret_min, int64_t *ret_max)
{
    size_t start = tr->at;
    tr->at++;
    int64_t least = read_number(tr);
    int64_t most = least;
    if (least != -1 && next_is(tr, ",")) {
        tr->at++;
        if (next_is(tr, "}")) {
            most = -1; /* no bound */
        } else {
            most = read_number(tr);
            if (most == -1) {
                tr->at = start;
                return false;
            }
            if (most == -2) {
                least = -2;
            }
        }
    }
    if (least == -1 || !next_is(tr, "}")) {
        tr->at = start;
        return false;
    }
    tr->at++;
    *ret_min = least;
    *ret_max = most;
    return true;
}

/* Appends `times` copies of a piece at its own end. */
static void put_copies(struct translation *tr, size_t start, size_t len, int64_t times)
{
    for (int64_t i = 0; i < times && tr->error == NULL && len > 0; i++) {
        size_t at = tr->program.steps_count;
        if (insert(tr, at, len)) {
            memcpy(tr->program.steps + at, tr->program.steps + start,
                   len * sizeof(struct pattern_step));
        }
    }
}

static void put_star(struct translation *tr, size_t start)
{
    size_t len = tr->program.steps_count - start;
    put_at(tr, start, STEP_SPLIT, len + 2);
    put(tr, STEP_JUMP_BACK, len + 1);
}

/* The last item, at least `least` and at most `most` (-1: any number of) times. */
static void put_repeat(struct translation *tr, int64_t least, int64_t most)
{
    size_t start = level_of(tr)->atom_start;
    size_t len = tr->program.steps_count - start;
    if (most == 0) {
        tr->program.steps_count = start;
        return;
    }
    if (most < 0 && least == 0) {
        put_star(tr, start);
        return;
    }
    put_copies(tr, start, len, least - 1);
    if (most < 0) {
        put(tr, STEP_SPLIT_BACK, len);
        return;
    }
    /* Optional copies: each may go to the end, so that none comes behind one that is left out. */
    int64_t optional = most - max_i64(least, 1);
    for (int64_t i = optional; i > 0 && tr->error == NULL; i--) {
        put(tr, STEP_SPLIT, min_size((len + 1) * to_size(i), PATTERN_STEPS_MAX));
        put_copies(tr, start, len, 1);
    }
    if (least == 0) {
        put_at(tr, start, STEP_SPLIT, tr->program.steps_count - start + 1);
    }
}

static void repeat(struct translation *tr, int64_t least, int64_t most, bool is_repeated)
{
    if (next_is(tr, "?")) {
        tr->at++; /* reluctant: the same whole matches */
    }
    if (is_repeated) {
        fail(tr, ERROR_REPEAT_OP);
    } else if (!level_of(tr)->has_atom) {
        fail(tr, ERROR_ARGUMENT);
    } else {
        put_repeat(tr, least, most);
        tr->is_after_repeat = true;
    }
}

static void read_counted_repeat(struct translation *tr, bool is_repeated)
{
    int64_t least;
    int64_t most;
    if (!read_counts(tr, &least, &most)) {
        tr->at++;
        put_literal(tr, '{');
        tr->is_after_repeat = true; /* so RE2/J has it: {* is refused */
        return;
    }
    if (least < 0 || least > REPEAT_MAX || most > REPEAT_MAX || (most >= 0 && least > most)) {
        fail(tr, ERROR_REPEAT_SIZE);
        return;
    }
    repeat(tr, least, most, is_repeated);
}

/* ---- classes and escapes ---- */

static int hex_value(uint32_t c)
{
    if (pattern_is_digit(c)) {
        return (int)(c - '0');
    }
    uint32_t lower = c | 32;
    return c < 128 && lower >= 'a' && lower <= 'f' ? (int)(lower - 'a' + 10) : -1;
}

/* Behind \x: two digits, or any number of them in braces. */
static uint32_t read_hex_escape(struct translation *tr)
{
    if (!next_is(tr, "{")) {
        int high = more(tr) ? hex_value(pop(tr)) : -1;
        int low = more(tr) ? hex_value(pop(tr)) : -1;
        if (high < 0 || low < 0) {
            fail(tr, ERROR_ESCAPE);
            return 0;
        }
        return (uint32_t)(high * 16 + low);
    }
    tr->at++;
    uint32_t rune = 0;
    size_t digits = 0;
    while (more(tr)) {
        uint32_t c = pop(tr);
        if (c == '}' && digits > 0) {
            return rune;
        }
        int value = hex_value(c);
        if (value < 0) {
            break;
        }
        rune = rune * 16 + (uint32_t)value;
        digits++;
        if (rune > RUNE_MAX) {
            break;
        }
    }
    fail(tr, ERROR_ESCAPE);
    return 0;
}

/* At a backslash: an escape that stands for one code point. */
static uint32_t read_escape(struct translation *tr)
{
    tr->at++;
    if (!more(tr)) {
        fail(tr, ERROR_BACKSLASH);
        return 0;
    }
    uint32_t c = pop(tr);
    if (c >= '0' && c <= '7') {
        bool has_next = more(tr) && tr->text.ptr[tr->at] >= '0' && tr->text.ptr[tr->at] <= '7';
        if (c != '0' && !has_next) {
            fail(tr, ERROR_ESCAPE); /* a back reference */
            return 0;
        }
        uint32_t rune = c - '0';
        for (int i = 1; i < 3 && more(tr); i++) {
            char digit = tr->text.ptr[tr->at];
            if (digit < '0' || digit > '7') {
                break;
            }
            rune = rune * 8 + (uint32_t)(digit - '0');
            tr->at++;
        }
        return rune;
    }
    static const char names[] = "afnrtv";
    static const char values[] = "\a\f\n\r\t\v";
    const char *name = c < 128 ? memchr(names, (int)c, sizeof(names) - 1) : NULL;
    if (name != NULL) {
        return (uint8_t)values[name - names];
    }
    if (c == 'x') {
        return read_hex_escape(tr);
    }
    if (!pattern_is_letter(c) && !pattern_is_digit(c)) {
        return c;
    }
    fail(tr, ERROR_ESCAPE);
    return 0;
}

static void join_signed(struct pattern_set *to, struct pattern_set part, bool is_negative)
{
    if (is_negative) {
        pattern_set_negate(&part);
    }
    pattern_set_join(to, &part);
}

/* \d \D \s \S \w \W; false: none of them, nothing is read. */
static bool read_perl_class(struct translation *tr, struct pattern_set *s)
{
    if (tr->text.len - tr->at < 2 || tr->text.ptr[tr->at] != '\\' ||
        memchr("dDsSwW", tr->text.ptr[tr->at + 1], 6) == NULL) {
        return false;
    }
    char c = tr->text.ptr[tr->at + 1];
    char name[2] = {'\\', (char)(c | 32)};
    struct pattern_set part;
    check(pattern_set_of_group(str_of(name, sizeof(name)), &part));
    if ((tr->flags & FLAG_FOLD) != 0) {
        pattern_set_fold(&part);
    }
    join_signed(s, part, pattern_is_upper((uint8_t)c));
    tr->at += 2;
    return true;
}

/* [:name:] and [:^name:] inside of a class; false: none, nothing is read. */
static bool read_posix_class(struct translation *tr, struct pattern_set *s)
{
    if (!next_is(tr, "[:")) {
        return false;
    }
    const char *start = tr->text.ptr + tr->at;
    const char *end = memmem(start, tr->text.len - tr->at, ":]", 2);
    if (end == NULL) {
        return false;
    }
    struct str name = str_of(start, (size_t)(end + 2 - start));
    char plain[16];
    bool is_negative = name.len > 2 && name.ptr[2] == '^';
    struct str looked_up = name;
    if (is_negative && name.len <= sizeof(plain)) {
        memcpy(plain, "[:", 2);
        memcpy(plain + 2, name.ptr + 3, name.len - 3);
        looked_up = str_of(plain, name.len - 1);
    }
    struct pattern_set part;
    if (!pattern_set_of_group(looked_up, &part)) {
        fail(tr, ERROR_RANGE);
        return true;
    }
    if ((tr->flags & FLAG_FOLD) != 0) {
        pattern_set_fold(&part);
    }
    join_signed(s, part, is_negative);
    tr->at += name.len;
    return true;
}

/* \pN \p{Name} \p{^Name} \P...; false: none, nothing is read. */
static bool read_unicode_class(struct translation *tr, struct pattern_set *s)
{
    if (!next_is(tr, "\\p") && !next_is(tr, "\\P")) {
        return false;
    }
    bool is_negative = tr->text.ptr[tr->at + 1] == 'P';
    tr->at += 2;
    if (!more(tr)) {
        fail(tr, ERROR_RANGE);
        return true;
    }
    size_t start = tr->at;
    uint32_t c = pop(tr);
    struct str name = str_of(tr->text.ptr + start, tr->at - start);
    if (c == '{') {
        const char *from = tr->text.ptr + tr->at;
        const char *end = memchr(from, '}', tr->text.len - tr->at);
        if (end == NULL) {
            fail(tr, ERROR_RANGE);
            return true;
        }
        name = str_of(from, (size_t)(end - from));
        tr->at += name.len + 1;
    }
    if (name.len > 0 && name.ptr[0] == '^') {
        is_negative = !is_negative;
        name = str_of(name.ptr + 1, name.len - 1);
    }
    struct pattern_set part;
    if (!pattern_set_of_table(name, &part)) {
        fail(tr, ERROR_RANGE);
        return true;
    }
    if ((tr->flags & FLAG_FOLD) != 0) {
        pattern_set_fold(&part);
    }
    join_signed(s, part, is_negative);
    return true;
}

static uint32_t read_class_char(struct translation *tr)
{
    if (!more(tr)) {
        fail(tr, ERROR_BRACKET);
        return 0;
    }
    return tr->text.ptr[tr->at] == '\\' ? read_escape(tr) : pop(tr);
}

static void read_class(struct translation *tr)
{
    struct pattern_set s = {{0, 0}};
    tr->at++;
    bool is_negative = next_is(tr, "^");
    tr->at += is_negative ? 1 : 0;
    bool is_first = true; /* a ] that comes first is a member */
    while (tr->error == NULL && (is_first || !next_is(tr, "]"))) {
        is_first = false;
        if (!more(tr)) {
            fail(tr, ERROR_BRACKET);
            break;
        }
        if (read_posix_class(tr, &s) || read_unicode_class(tr, &s) || read_perl_class(tr, &s)) {
            continue;
        }
        uint32_t low = read_class_char(tr);
        uint32_t high = low;
        if (tr->text.len - tr->at >= 2 && tr->text.ptr[tr->at] == '-' &&
            tr->text.ptr[tr->at + 1] != ']') {
            tr->at++;
            high = read_class_char(tr);
            if (high < low) {
                fail(tr, ERROR_RANGE);
            }
        }
        pattern_set_add_range(&s, low, high, (tr->flags & FLAG_FOLD) != 0);
    }
    tr->at++;
    if (is_negative) {
        pattern_set_negate(&s);
    }
    if (tr->error == NULL) {
        put_set(tr, &s);
    }
}

/* \Q up to \E or to the end. */
static void read_quoted(struct translation *tr)
{
    while (more(tr) && !next_is(tr, "\\E")) {
        put_literal(tr, pop(tr));
    }
    tr->at = next_is(tr, "\\E") ? tr->at + 2 : tr->at;
}

static void read_backslash(struct translation *tr)
{
    char c = tr->text.len - tr->at >= 2 ? tr->text.ptr[tr->at + 1] : '\0';
    if (c == 'A' || c == 'z' || c == 'b' || c == 'B') {
        put_assertion(tr, c == 'A'   ? STEP_BEGIN
                          : c == 'z' ? STEP_END
                          : c == 'b' ? STEP_WORD_BOUNDARY
                                     : STEP_NO_WORD_BOUNDARY);
        tr->at += 2;
    } else if (c == 'C') {
        fail(tr, ERROR_ESCAPE);
    } else if (c == 'Q') {
        tr->at += 2;
        read_quoted(tr);
    } else {
        struct pattern_set s = {{0, 0}};
        if (read_unicode_class(tr, &s) || read_perl_class(tr, &s)) {
            put_set(tr, &s);
        } else {
            put_literal(tr, read_escape(tr));
        }
    }
}

static void read_item(struct translation *tr, bool is_repeated)
{
    static const struct pattern_set all = {{UINT64_MAX, UINT64_MAX}};
    size_t len;
    uint32_t c = peek(tr, &len);
    switch (c) {
    case '(':
        if (next_is(tr, "(?")) {
            read_perl_group(tr);
        } else {
            tr->at++;
            open_group(tr, tr->flags);
        }
        break;
    case '|':
        tr->at++;
        end_branch(tr);
        break;
    case ')':
        tr->at++;
        close_group(tr);
        break;
    case '^':
    case '$':
        tr->at++;
        put_assertion(tr, c == '^' ? STEP_BEGIN : STEP_END);
        break;
    case '.':
        tr->at++;
        put_set(tr, &all);
        break;
    case '[':
        read_class(tr);
        break;
    case '*':
    case '+':
    case '?':
        tr->at++;
        repeat(tr, c == '+' ? 1 : 0, c == '?' ? 1 : -1, is_repeated);
        break;
    case '{':
        read_counted_repeat(tr, is_repeated);
        break;
    case '\\':
        read_backslash(tr);
        break;
    default:
        tr->at += len;
        put_literal(tr, c);
        break;
    }
}

const char *pattern_syntax_translate(struct str text, struct pattern_program *ret)
{
    struct translation *tr = mem_zalloc(sizeof(*tr));
    tr->text = text;
    while (more(tr) && tr->error == NULL) {
        bool is_repeated = tr->is_after_repeat;
        tr->is_after_repeat = false;
        read_item(tr, is_repeated);
    }
    if (tr->depth > 0) {
        fail(tr, ERROR_PAREN);
    }
    close_branches(tr);
    put(tr, STEP_MATCH, 0);
    const char *error = tr->error;
    mem_free(tr->names);
    if (error == NULL) {
        *ret = tr->program;
    } else {
        pattern_syntax_release(&tr->program);
    }
    mem_free(tr);
    return error;
}

void pattern_syntax_release(struct pattern_program *pp)
{
    mem_free(pp->steps);
    mem_free(pp->sets);
    *pp = (struct pattern_program){0};
}
