/*
 * Threads for what a loop must never wait for: workers for cold reads, look-ups by time, deletions
 * and checkpoints, for requests that are too long for a turn, and for a pass over everything now
 * and then (retention). What the work is they are told by who brings it.
 *
 * Long requests are heavy: one worker is always left to the others, and together they hold
 * BACKGROUND_HEAVY_BYTES at most, answers that wait to be sent included; who finds no room waits in
 * line. The workers run at a lower priority than the loops.
 */
#ifndef BROKER_BACKGROUND_H
#define BROKER_BACKGROUND_H

#include "base/base.h"
#include "base/sync.h"

struct background;
struct clock;
struct mem_budget;

/* Memory of requests that are heavy, about; one that needs more by itself runs alone. */
#define BACKGROUND_HEAVY_BYTES (INT64_C(48) << 20)

struct heavy_task {
    struct job job;
    int64_t charge; /* bytes that it will hold, about, until background_give; 0: it has memory
                       already, and needs no room */
};

struct background_options {
    struct clock *clock;              /* borrowed */
    const struct mem_budget *answers; /* borrowed: answers that wait to be sent */
    /* Runs on a worker, one at a time, when background_pass_within says so and nothing else waits.
     * Returns how many ms later the next one is due; INT64_MAX: not until it is asked for. */
    int64_t (*pass)(void *ctx);
    void *ctx;
};

struct background *background_new(const struct background_options *options);
must_check int background_start(struct background *bg);
void background_stop(struct background *bg); /* runs what is queued, then ends the threads */
struct background *background_free(struct background *bg);

/* Work for a worker thread. Any thread. Never refused before background_stop. */
void background_post(struct background *bg, struct job *j);
void background_post_heavy(struct background *bg, struct heavy_task *ht);
/* Of a task that holds memory already, and would hold more: false when those under way have twice
 * what they wait for. Any thread. */
must_check bool background_take(struct background *bg, int64_t charge);
/* What a heavy task was charged is free again. Any thread. */
void background_give(struct background *bg, int64_t charge);
/* Answers have left: there may be room. Any thread. */
void background_look(struct background *bg);
/* A pass is due when the time has gone by, if not earlier. Any thread, often. */
void background_pass_within(struct background *bg, int64_t wait_ms);

#endif
