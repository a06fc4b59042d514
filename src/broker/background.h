/*
 * Threads for what a loop must never wait for: the flusher (group commit) and workers for cold
 * reads, look-ups by time, deletions, checkpoints and retention, and for requests that are too long
 * for a turn.
 *
 * The latter are heavy: one worker is always left to the others, and together they hold
 * BACKGROUND_HEAVY_BYTES at most, answers that wait to be sent included; who finds no room waits in
 * line. The workers run at a lower priority than the loops.
 */
#ifndef BROKER_BACKGROUND_H
#define BROKER_BACKGROUND_H

#include "base/base.h"
#include "base/sync.h"

struct broker;
struct partition;
struct plog;
struct request;
struct background;

/* Flushed bytes of all logs together after which recovery points are persisted: what a start after
 * a kill has to scan at most. */
#define BACKGROUND_CHECKPOINT_BYTES (INT64_C(64) << 20)

/* Memory of requests that are heavy, about; one that needs more by itself runs alone. */
#define BACKGROUND_HEAVY_BYTES (INT64_C(48) << 20)

struct heavy_task {
    struct job job;
    int64_t charge; /* bytes that it will hold, about, until background_give; 0: it has memory
                       already, and needs no room */
};

struct background *background_new(struct broker *br);
must_check int background_start(struct background *bg);
void background_stop(struct background *bg); /* runs what is queued, then ends the threads */
struct background *background_free(struct background *bg);

/* Work for a worker thread. Any thread. Never refused before background_stop. */
void background_post(struct background *bg, struct job *j);
void background_post_heavy(struct background *bg, struct heavy_task *ht);
/* What a heavy task was charged is free again. Any thread. */
void background_give(struct background *bg, int64_t charge);
/* Answers have left: there may be room. Any thread. */
void background_look(struct background *bg);
/* The log has written bytes that acks or a flush interval wait for. Any thread. */
void background_flush(struct background *bg, struct partition *p);
/* Before a log is closed: no round uses it afterwards. */
void background_forget(struct background *bg, struct plog *pl);
/* work() runs on a worker as a heavy task, which has the request and its arena to itself; then
 * done() on the request's loop. The connection may have gone in between: request_finish drops the
 * answer. */
void background_offload(struct request *rq,
                        void (*work)(struct request *rq),
                        void (*done)(struct request *rq));
/* Something may have become older than its retention allows: a pass soon, and then as often as
 * something can. */
void background_retention_soon(struct background *bg);
/* How long after a pass the next one is due, in ms: not before the interval has gone by, nor before
 * the earliest time (of the clock that shows now_ms) at which a log could lose something.
 * INT64_MAX: nothing can, none is due. */
int64_t background_retention_wait(int64_t now_ms, int64_t interval_ms, int64_t earliest_ms);

#endif
