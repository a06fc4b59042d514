/*
 * Patterns: pattern_syntax.c makes a program of the text; here it is walked.
 *
 * The walk takes all ways at once (Thompson): a list of the steps that have been reached, from one
 * byte of the name to the next. It costs at most the steps of the program for each byte, never
 * more, and is exact: a whole match has no use for the order in which ways are tried. So a hostile
 * pattern is no worse than a long one.
 *
 * Bounds: PATTERN_BYTES_MAX of text, PATTERN_STEPS_MAX steps of the program, and VISITS_MAX visits
 * of steps in the life of one pattern, which is made anew each time when the topics of a cluster
 * are gone through. A name that comes when these are used up does not match.
 *
 * RE2/J, which Kafka uses, walks in the same way. A library that goes back and tries again has been
 * measured and left aside: its limits count tries, not time, and some matches fail under them.
 */
#include "coord/pattern.h"

#include "base/base.h"
#include "base/mem.h"
#include "coord/pattern_syntax.h"

enum {
    VISITS_MAX = 50000000,
    NO_BYTE = -1, /* before the first and behind the last */
};

/* Steps that have been reached, each once. */
struct walk {
    uint16_t *now;
    uint16_t *next;
    uint16_t *open; /* reached, not looked at yet */
    size_t now_count;
    size_t next_count;
    uint32_t pass;  /* one for each list */
    uint32_t *seen; /* by step: the pass in which it was reached */
    int64_t visits;
};

struct pattern {
    struct pattern_program program; /* owned */
    struct walk *walk;              /* owned, with its arrays: written by each match */
};

static struct walk *walk_new(size_t steps)
{
    size_t list_bytes = steps * sizeof(uint16_t);
    size_t seen_bytes = steps * sizeof(uint32_t);
    struct walk *wk = mem_zalloc(sizeof(*wk) + seen_bytes + 3 * list_bytes);
    wk->seen = (uint32_t *)(void *)(wk + 1);
    wk->now = (uint16_t *)(void *)(wk->seen + steps);
    wk->next = wk->now + steps;
    wk->open = wk->next + steps;
    return wk;
}

struct pattern *pattern_new(struct str text, struct arena *arena, struct str *ret_reason)
{
    (void)arena;
    struct pattern_program program = {0};
    const char *error = text.len > PATTERN_BYTES_MAX ? "expression is too large"
                                                     : pattern_syntax_translate(text, &program);
    if (error != NULL) {
        *ret_reason = str_from(error);
        return NULL;
    }
    struct pattern *p = mem_zalloc(sizeof(*p));
    p->program = program;
    p->walk = walk_new(program.steps_count);
    return p;
}

struct pattern *pattern_free(struct pattern *p)
{
    if (p == NULL) {
        return NULL;
    }
    pattern_syntax_release(&p->program);
    mem_free(p->walk);
    return mem_free(p);
}

static bool is_word(int c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_';
}

static void reach(struct walk *wk, size_t step, size_t *open_count)
{
    if (wk->seen[step] != wk->pass) {
        wk->seen[step] = wk->pass;
        wk->open[(*open_count)++] = (uint16_t)step;
    }
}

/* Adds what can be reached from a step without a byte; `before` and `after` are those beside. */
static void follow(const struct pattern *p, size_t from, int before, int after)
{
    struct walk *wk = p->walk;
    size_t open_count = 0;
    reach(wk, from, &open_count);
    while (open_count > 0) {
        size_t at = wk->open[--open_count];
        const struct pattern_step *st = &p->program.steps[at];
        bool is_boundary = is_word(before) != is_word(after);
        bool goes_on = false;
        wk->visits++;
        switch ((enum pattern_step_kind)st->kind) {
        case STEP_SET:
        case STEP_MATCH:
            wk->next[wk->next_count++] = (uint16_t)at;
            break;
        case STEP_JUMP:
            reach(wk, at + st->argument, &open_count);
            break;
        case STEP_JUMP_BACK:
            reach(wk, at - st->argument, &open_count);
            break;
        case STEP_SPLIT:
            reach(wk, at + st->argument, &open_count);
            goes_on = true;
            break;
        case STEP_SPLIT_BACK:
            reach(wk, at - st->argument, &open_count);
            goes_on = true;
            break;
        case STEP_BEGIN:
            goes_on = before == NO_BYTE;
            break;
        case STEP_END:
            goes_on = after == NO_BYTE;
            break;
        case STEP_WORD_BOUNDARY:
            goes_on = is_boundary;
            break;
        case STEP_NO_WORD_BOUNDARY:
            goes_on = !is_boundary;
            break;
        }
        if (goes_on) {
            reach(wk, at + 1, &open_count);
        }
    }
}

static void next_list(struct walk *wk)
{
    uint16_t *list = wk->now;
    wk->now = wk->next;
    wk->now_count = wk->next_count;
    wk->next = list;
    wk->next_count = 0;
    wk->pass++;
    check(wk->pass != 0); /* VISITS_MAX comes first */
}

/* One byte of the name. */
static void take_byte(const struct pattern *p, int c, int after)
{
    struct walk *wk = p->walk;
    next_list(wk);
    for (size_t i = 0; i < wk->now_count; i++) {
        size_t at = wk->now[i];
        const struct pattern_step *st = &p->program.steps[at];
        if (st->kind == STEP_SET && c < 128 &&
            pattern_set_has(&p->program.sets[st->argument], (uint32_t)c)) {
            follow(p, at + 1, c, after);
        }
    }
    wk->visits += to_i64(wk->now_count) + 1;
}

static int byte_at(struct str name, size_t i)
{
    return i < name.len ? (uint8_t)name.ptr[i] : NO_BYTE;
}

bool pattern_matches(const struct pattern *p, struct str name)
{
    struct walk *wk = p->walk;
    wk->next_count = 0;
    next_list(wk);
    follow(p, 0, NO_BYTE, byte_at(name, 0));
    for (size_t i = 0; i < name.len && wk->next_count > 0; i++) {
        if (wk->visits > VISITS_MAX) {
            return false;
        }
        take_byte(p, byte_at(name, i), byte_at(name, i + 1));
    }
    for (size_t i = 0; i < wk->next_count; i++) {
        if (p->program.steps[wk->next[i]].kind == STEP_MATCH) {
            return true;
        }
    }
    return false;
}
