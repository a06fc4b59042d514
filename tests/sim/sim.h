/*
 * A simulated world that one seed decides: virtual time, an event queue, random numbers, a trace.
 *
 * Everything that happens is an event at a virtual microsecond; events of one moment happen in the
 * order in which they were armed. Each concern draws from a generator of its own (sim_rng_init with
 * a purpose), so that one more draw here does not change what happens there. What happens is noted
 * (sim_note): the notes make the trace hash, and the last ones are printed with a failure. The same
 * seed, scenario and options give the same hash; sim_main checks that by running some twice.
 *
 * A failure (sim_fail, sim_expect) is kept, the first one; then no further event happens. So a
 * scenario must leave quietly after one, and can be asked to fail: a planted mistake has to be
 * caught.
 *
 * sim_main is the program around one scenario, and speaks TAP:
 *
 *   sim_x                       200 seeds, then each planted mistake until it is caught
 *   sim_x --seed 17             one seed; --verbose prints every note
 *   sim_x --seeds 1000..2000    many; for nightly runs, as long as you like
 *   sim_x --steps 20000         events a run (1000)
 *   sim_x --mistake NAME        with a mistake planted (and --seed or --seeds): it is to be found
 *   sim_x --list                the mistakes that can be planted
 *
 * One thread.
 */
#ifndef TESTS_SIM_SIM_H
#define TESTS_SIM_SIM_H

#include "base/base.h"
#include "simclock.h"

/* xoshiro256**, seeded by splitmix64. */
struct sim_rng {
    uint64_t state[4];
};

void sim_rng_init(struct sim_rng *rng, uint64_t seed, const char *purpose);
uint64_t sim_rng_next(struct sim_rng *rng);
uint64_t sim_rng_below(struct sim_rng *rng, uint64_t bound);               /* 0..bound-1 */
int64_t sim_rng_between(struct sim_rng *rng, int64_t least, int64_t most); /* both included */
bool sim_rng_chance(struct sim_rng *rng, uint64_t per_mille);
/* How often a fault happens, per mille: below `bound`; often never. */
uint64_t sim_rng_fault(struct sim_rng *rng, uint64_t bound);
/* At least 0, this mean, exponentially spread (in integers: the same on every machine). */
int64_t sim_rng_exponential(struct sim_rng *rng, int64_t mean);

struct sim_event {
    int64_t at_us;
    uint64_t order;
    size_t slot; /* place in the queue + 1; 0: not armed */
    void (*fire)(struct sim_event *ev,
                 void *ctx); /* disarmed when called; may arm again, may be freed */
    void *ctx;
};

enum {
    SIM_TAIL_NOTES = 64,
    SIM_NOTE_CHARS = 160,
    SIM_COUNTS_MAX = 64,
};

struct sim_count {
    const char *name; /* static */
    uint64_t value;
};

struct sim {
    struct simclock clock; /* moves with the events */
    uint64_t seed;
    int64_t now_us;          /* since the start */
    uint64_t steps;          /* events that have happened */
    uint64_t trace;          /* hash of all notes */
    struct sim_event **heap; /* owned array of borrowed events */
    size_t count;
    size_t cap;
    uint64_t next_order;
    bool has_failed;
    bool is_verbose;
    char failure[512];
    uint64_t notes_count;
    char notes[SIM_TAIL_NOTES][SIM_NOTE_CHARS]; /* the last ones, in a ring */
    struct sim_count counts[SIM_COUNTS_MAX];
    size_t counts_count;
};

void sim_init(struct sim *s, uint64_t seed);
void sim_release(struct sim *s); /* armed events are forgotten */

void sim_event_init(struct sim_event *ev, void (*fire)(struct sim_event *ev, void *ctx), void *ctx);
void sim_arm(struct sim *s, struct sim_event *ev, int64_t delay_us); /* moves an armed one */
void sim_disarm(struct sim *s, struct sim_event *ev);                /* takes a disarmed one */
static inline bool sim_is_armed(const struct sim_event *ev)
{
    return ev->slot != 0;
}
/* The next event happens. False: there is none, or something has failed. */
bool sim_step(struct sim *s);
bool sim_run(struct sim *s, uint64_t steps);         /* at most so many; false as sim_step */
bool sim_run_until(struct sim *s, int64_t until_us); /* what is due then, and the clock is there */

void sim_note(struct sim *s, const char *format, ...) printf_like(2, 3);
/* Keeps the first failure. */
void sim_fail(struct sim *s, const char *format, ...) printf_like(2, 3);
/* True when `e` holds; otherwise the run has failed. */
#define sim_expect(s, e, ...) ((e) ? true : (sim_fail((s), __VA_ARGS__), false))
/* How often something has happened: printed at the end, and sim_main insists on those named. */
void sim_happened(struct sim *s, const char *name);

struct sim_plan {
    uint64_t steps;
    size_t mistake; /* place in scenario.mistakes + 1; 0: none */
};

struct sim_scenario {
    const char *name;
    void (*run)(struct sim *s, const struct sim_plan *plan); /* sim_init was called */
    const char *const *mistakes;                             /* ends with NULL; may be NULL */
    const char *const
        *must_happen; /* in some run of the ordinary set; ends with NULL; may be NULL */
};

int sim_main(int argc, char **argv, const struct sim_scenario *sc); /* exit status */

#endif
