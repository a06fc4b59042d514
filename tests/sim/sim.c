/*
 * See sim.h. The queue is a binary heap ordered by (time, order of arming). A failure is printed
 * with its seed, the command that shows it again, and the last notes.
 */
#include "sim.h"

#include "base/base.h"
#include "base/mem.h"
#include "base/str.h"

#include <inttypes.h>

enum {
    SEEDS_DEFAULT = 200,
    STEPS_DEFAULT = 1000,
    REPEAT_EVERY = 20,       /* seeds of which one is run twice */
    FAILURES_MAX = 5,        /* seeds that fail, then enough is known */
    MISTAKE_SEEDS_MAX = 200, /* until a planted mistake must be found */
};

static const uint64_t fnv_basis = 0xcbf29ce484222325ULL;
static const uint64_t fnv_prime = 0x100000001b3ULL;

static uint64_t fnv(uint64_t hash, const char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        hash = (hash ^ (uint8_t)bytes[i]) * fnv_prime;
    }
    return hash;
}

void sim_rng_init(struct sim_rng *rng, uint64_t seed, const char *purpose)
{
    uint64_t state = seed ^ fnv(fnv_basis, purpose, strlen(purpose));
    for (size_t i = 0; i < ARRAY_LEN(rng->state); i++) {
        rng->state[i] = sim_random(&state);
    }
}

static uint64_t rotate(uint64_t v, unsigned bits)
{
    return (v << bits) | (v >> (64 - bits));
}

uint64_t sim_rng_next(struct sim_rng *rng)
{
    uint64_t *s = rng->state;
    uint64_t result = rotate(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate(s[3], 45);
    return result;
}

uint64_t sim_rng_below(struct sim_rng *rng, uint64_t bound)
{
    check(bound > 0);
    return (uint64_t)(((unsigned __int128)sim_rng_next(rng) * bound) >> 64);
}

int64_t sim_rng_between(struct sim_rng *rng, int64_t least, int64_t most)
{
    check(least <= most);
    return least + (int64_t)sim_rng_below(rng, (uint64_t)(most - least) + 1);
}

bool sim_rng_chance(struct sim_rng *rng, uint64_t per_mille)
{
    return sim_rng_below(rng, 1000) < per_mille;
}

uint64_t sim_rng_fault(struct sim_rng *rng, uint64_t bound)
{
    return sim_rng_chance(rng, 600) ? sim_rng_below(rng, bound) : 0;
}

int64_t sim_rng_exponential(struct sim_rng *rng, int64_t mean)
{
    /* Halvings until a coin falls, and the place within the last half: piecewise linear, mean 1.5
     * halves. */
    uint64_t bits = sim_rng_next(rng);
    int halves = bits == 0 ? 63 : __builtin_ctzll(bits);
    int64_t half = mean * 2 / 3;
    return half * halves + (half > 0 ? (int64_t)sim_rng_below(rng, (uint64_t)half + 1) : 0);
}

void sim_init(struct sim *s, uint64_t seed)
{
    *s = (struct sim){.seed = seed, .trace = fnv_basis};
    simclock_init(&s->clock, seed);
}

void sim_release(struct sim *s)
{
    for (size_t i = 0; i < s->count; i++) {
        s->heap[i]->slot = 0;
    }
    s->heap = mem_free(s->heap);
    s->count = 0;
    s->cap = 0;
}

static bool is_before(const struct sim_event *a, const struct sim_event *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->order < b->order;
}

static void put(struct sim *s, size_t i, struct sim_event *ev)
{
    s->heap[i] = ev;
    ev->slot = i + 1;
}

static void move_up(struct sim *s, size_t i)
{
    struct sim_event *ev = s->heap[i];
    while (i > 0 && is_before(ev, s->heap[(i - 1) / 2])) {
        put(s, i, s->heap[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    put(s, i, ev);
}

static void move_down(struct sim *s, size_t i)
{
    struct sim_event *ev = s->heap[i];
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= s->count) {
            break;
        }
        if (child + 1 < s->count && is_before(s->heap[child + 1], s->heap[child])) {
            child++;
        }
        if (!is_before(s->heap[child], ev)) {
            break;
        }
        put(s, i, s->heap[child]);
        i = child;
    }
    put(s, i, ev);
}

void sim_event_init(struct sim_event *ev, void (*fire)(struct sim_event *ev, void *ctx), void *ctx)
{
    *ev = (struct sim_event){.fire = fire, .ctx = ctx};
}

void sim_arm(struct sim *s, struct sim_event *ev, int64_t delay_us)
{
    check(delay_us >= 0);
    sim_disarm(s, ev);
    ev->at_us = s->now_us + delay_us;
    ev->order = s->next_order++;
    s->heap = mem_grow(s->heap, &s->cap, s->count + 1, sizeof(s->heap[0]));
    s->count++;
    put(s, s->count - 1, ev);
    move_up(s, s->count - 1);
}

void sim_disarm(struct sim *s, struct sim_event *ev)
{
    if (ev->slot == 0) {
        return;
    }
    size_t i = ev->slot - 1;
    ev->slot = 0;
    s->count--;
    if (i < s->count) {
        put(s, i, s->heap[s->count]);
        move_up(s, i);
        move_down(s, s->heap[i]->slot - 1);
    }
}

static void move_clock(struct sim *s, int64_t now_us)
{
    check(now_us >= s->now_us);
    /* Whole milliseconds, so that both clocks keep the pace of the events. */
    simclock_advance(&s->clock, now_us / 1000 - s->now_us / 1000);
    s->now_us = now_us;
}

bool sim_step(struct sim *s)
{
    if (s->has_failed || s->count == 0) {
        return false;
    }
    struct sim_event *ev = s->heap[0];
    sim_disarm(s, ev);
    move_clock(s, ev->at_us);
    s->steps++;
    ev->fire(ev, ev->ctx);
    return !s->has_failed;
}

bool sim_run(struct sim *s, uint64_t steps)
{
    for (uint64_t i = 0; i < steps; i++) {
        if (!sim_step(s)) {
            return false;
        }
    }
    return true;
}

bool sim_run_until(struct sim *s, int64_t until_us)
{
    while (s->count > 0 && s->heap[0]->at_us <= until_us) {
        if (!sim_step(s)) {
            return false;
        }
    }
    if (!s->has_failed) {
        move_clock(s, max_i64(until_us, s->now_us));
    }
    return !s->has_failed;
}

void sim_note(struct sim *s, const char *format, ...)
{
    char *note = s->notes[s->notes_count % SIM_TAIL_NOTES];
    struct strbuf sb;
    strbuf_init(&sb, note, SIM_NOTE_CHARS);
    strbuf_addf(&sb, "%" PRId64 " ", s->now_us);
    va_list ap;
    va_start(ap, format);
    int n = vsnprintf(note + sb.len, SIM_NOTE_CHARS - sb.len, format, ap);
    va_end(ap);
    check(n >= 0);
    s->notes_count++;
    s->trace = fnv(s->trace, note, strlen(note) + 1);
    if (s->is_verbose) {
        printf("# %s\n", note);
    }
}

void sim_fail(struct sim *s, const char *format, ...)
{
    if (s->has_failed) {
        return;
    }
    s->has_failed = true;
    va_list ap;
    va_start(ap, format);
    int n = vsnprintf(s->failure, sizeof(s->failure), format, ap);
    va_end(ap);
    check(n >= 0);
}

void sim_happened(struct sim *s, const char *name)
{
    for (size_t i = 0; i < s->counts_count; i++) {
        if (strcmp(s->counts[i].name, name) == 0) {
            s->counts[i].value++;
            return;
        }
    }
    check(s->counts_count < SIM_COUNTS_MAX);
    s->counts[s->counts_count++] = (struct sim_count){.name = name, .value = 1};
}

/* The program around a scenario. */

struct runner {
    const struct sim_scenario *sc;
    uint64_t first;
    uint64_t last;
    uint64_t steps;
    size_t mistake; /* place + 1 */
    bool is_verbose;
    bool is_chosen; /* seeds were named: nothing is planted on its own */
    int case_number;
    int failed;
    uint64_t events;
    struct sim_count counts[SIM_COUNTS_MAX];
    size_t counts_count;
};

static void print_failure(const struct runner *rn, const struct sim *s, size_t mistake)
{
    printf("# seed=%" PRIu64 " FAILED after %" PRIu64 " events: %s\n", s->seed, s->steps,
           s->failure);
    printf("# again: sim_%s --seed %" PRIu64 " --steps %" PRIu64 "%s%s --verbose\n", rn->sc->name,
           s->seed, rn->steps, mistake > 0 ? " --mistake " : "",
           mistake > 0 ? rn->sc->mistakes[mistake - 1] : "");
    uint64_t from = s->notes_count > SIM_TAIL_NOTES ? s->notes_count - SIM_TAIL_NOTES : 0;
    for (uint64_t i = from; i < s->notes_count && !s->is_verbose; i++) {
        printf("#   %s\n", s->notes[i % SIM_TAIL_NOTES]);
    }
}

static void add_counts(struct runner *rn, const struct sim *s)
{
    for (size_t i = 0; i < s->counts_count; i++) {
        size_t k = 0;
        while (k < rn->counts_count && strcmp(rn->counts[k].name, s->counts[i].name) != 0) {
            k++;
        }
        if (k == rn->counts_count) {
            check(rn->counts_count < SIM_COUNTS_MAX);
            rn->counts[rn->counts_count++] = (struct sim_count){.name = s->counts[i].name};
        }
        rn->counts[k].value += s->counts[i].value;
    }
}

/* True: nothing failed. *ret_trace: of the run. */
static bool
run_seed(struct runner *rn, uint64_t seed, size_t mistake, bool is_quiet, uint64_t *ret_trace)
{
    struct sim *s = mem_alloc(sizeof(*s));
    sim_init(s, seed);
    s->is_verbose = rn->is_verbose;
    struct sim_plan plan = {.steps = rn->steps, .mistake = mistake};
    rn->sc->run(s, &plan);
    sim_release(s);
    bool is_good = !s->has_failed;
    if (!is_good && !is_quiet) {
        print_failure(rn, s, mistake);
    }
    rn->events += s->steps;
    add_counts(rn, s);
    *ret_trace = s->trace ^ s->steps;
    mem_free(s);
    return is_good;
}

static void report(struct runner *rn, bool is_good, const char *what)
{
    rn->case_number++;
    rn->failed += !is_good;
    printf("%s %d - %s: %s\n", is_good ? "ok" : "not ok", rn->case_number, rn->sc->name, what);
    IGNORE(fflush(stdout)); /* progress only */
}

static void run_all(struct runner *rn)
{
    int failures = 0;
    bool is_same = true;
    for (uint64_t seed = rn->first; seed <= rn->last && failures < FAILURES_MAX; seed++) {
        uint64_t trace;
        uint64_t again;
        bool is_good = run_seed(rn, seed, rn->mistake, false, &trace);
        failures += !is_good;
        if (!is_good || seed % REPEAT_EVERY != 0) {
            continue;
        }
        IGNORE(run_seed(rn, seed, rn->mistake, true, &again)); /* the trace tells */
        if (trace != again) {
            is_same = false;
            printf("# seed=%" PRIu64 " gave two traces\n", seed);
        }
    }
    char what[96];
    struct strbuf sb;
    strbuf_init(&sb, what, sizeof(what));
    strbuf_addf(&sb, "seeds %" PRIu64 "..%" PRIu64 " of %" PRIu64 " steps", rn->first, rn->last,
                rn->steps);
    report(rn, failures == 0, what);
    report(rn, is_same, "the same seed, the same trace");
    printf("# %" PRIu64 " events\n", rn->events);
    for (size_t i = 0; i < rn->counts_count; i++) {
        printf("# %" PRIu64 " %s\n", rn->counts[i].value, rn->counts[i].name);
    }
}

static bool has_happened(const struct runner *rn, const char *name)
{
    for (size_t i = 0; i < rn->counts_count; i++) {
        if (strcmp(rn->counts[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

static void check_happened(struct runner *rn)
{
    if (rn->sc->must_happen == NULL) {
        return;
    }
    bool is_good = true;
    for (const char *const *name = rn->sc->must_happen; *name != NULL; name++) {
        if (!has_happened(rn, *name)) {
            printf("# never happened: %s\n", *name);
            is_good = false;
        }
    }
    report(rn, is_good, "all that should happen in some run did");
}

static void plant_mistakes(struct runner *rn)
{
    for (size_t i = 0; rn->sc->mistakes != NULL && rn->sc->mistakes[i] != NULL; i++) {
        uint64_t seed = 1;
        uint64_t trace;
        while (seed <= MISTAKE_SEEDS_MAX && run_seed(rn, seed, i + 1, true, &trace)) {
            seed++;
        }
        char what[128];
        struct strbuf sb;
        strbuf_init(&sb, what, sizeof(what));
        strbuf_addf(&sb, "catches a planted mistake: %s (seed %" PRIu64 ")", rn->sc->mistakes[i],
                    seed);
        report(rn, seed <= MISTAKE_SEEDS_MAX, what);
    }
}

static bool parse_count(const char *text, uint64_t *ret)
{
    int64_t v;
    if (text == NULL || str_to_i64(str_from(text), &v) < 0 || v < 0) {
        return false;
    }
    *ret = (uint64_t)v;
    return true;
}

static bool parse_range(const char *text, uint64_t *ret_first, uint64_t *ret_last)
{
    const char *dots = text == NULL ? NULL : strstr(text, "..");
    if (dots == NULL) {
        return false;
    }
    char *first = mem_strndup(text, (size_t)(dots - text));
    bool is_good = parse_count(first, ret_first) && parse_count(dots + 2, ret_last);
    mem_free(first);
    return is_good && *ret_first <= *ret_last;
}

static bool parse_mistake(const struct sim_scenario *sc, const char *text, size_t *ret)
{
    for (size_t i = 0; text != NULL && sc->mistakes != NULL && sc->mistakes[i] != NULL; i++) {
        if (strcmp(sc->mistakes[i], text) == 0) {
            *ret = i + 1;
            return true;
        }
    }
    return false;
}

static void list_mistakes(const struct sim_scenario *sc)
{
    for (size_t i = 0; sc->mistakes != NULL && sc->mistakes[i] != NULL; i++) {
        printf("%s\n", sc->mistakes[i]);
    }
}

static bool parse_arguments(struct runner *rn, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        bool is_good = true;
        if (strcmp(argv[i], "--verbose") == 0) {
            rn->is_verbose = true;
            continue;
        }
        if (strcmp(argv[i], "--seed") == 0) {
            is_good = parse_count(value, &rn->first);
            rn->last = rn->first;
            rn->is_chosen = true;
        } else if (strcmp(argv[i], "--seeds") == 0) {
            is_good = parse_range(value, &rn->first, &rn->last);
            rn->is_chosen = true;
        } else if (strcmp(argv[i], "--steps") == 0) {
            is_good = parse_count(value, &rn->steps);
        } else if (strcmp(argv[i], "--mistake") == 0) {
            is_good = parse_mistake(rn->sc, value, &rn->mistake);
        } else {
            is_good = false;
        }
        if (!is_good) {
            return false;
        }
        i++;
    }
    return true;
}

int sim_main(int argc, char **argv, const struct sim_scenario *sc)
{
    if (argc == 2 && strcmp(argv[1], "--list") == 0) {
        list_mistakes(sc);
        return 0;
    }
    struct runner rn = {.sc = sc, .first = 1, .last = SEEDS_DEFAULT, .steps = STEPS_DEFAULT};
    if (!parse_arguments(&rn, argc, argv)) {
        printf(
            "sim_%s [--seed N | --seeds A..B] [--steps M] [--mistake NAME] [--verbose] | --list\n",
            sc->name);
        return 2;
    }
    run_all(&rn);
    if (!rn.is_chosen && rn.mistake == 0) {
        check_happened(&rn);
        plant_mistakes(&rn);
    }
    printf("1..%d\n", rn.case_number);
    return rn.failed == 0 ? 0 : 1;
}
