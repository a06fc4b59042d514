/*
 * What a broker does for its logs beside requests: what follows a flush (acknowledgements; a disk
 * that fails; bytes counted towards the next checkpoint), checkpoints, the passes of retention, and
 * the removal of what was deleted and has waited for it.
 * It gives background and group_commit the functions that they call: upkeep_pass, upkeep_flushed.
 */
#ifndef BROKER_UPKEEP_H
#define BROKER_UPKEEP_H

#include "base/base.h"

struct broker;
struct partition;
struct plog;
struct upkeep;

/* Bytes of all logs together, flushed or left behind in rolled segments, after which everything is
 * flushed and recovery points are persisted: what a start after a kill has to scan at most, beside
 * the last segments of logs in page-cache mode. */
#define UPKEEP_CHECKPOINT_BYTES (INT64_C(64) << 20)

/* Before a log is opened: it hears from br->env of logs that grow, and from br->on_retention. */
struct upkeep *upkeep_new(struct broker *br);
/* After background and group_commit have ended. */
struct upkeep *upkeep_free(struct upkeep *up);

/* Something may have become older than its retention allows: a pass soon, and then as often as
 * something can. Any thread. */
void upkeep_retention_soon(struct upkeep *up);

/* A pass over all logs when retention is due, and what has to be removed by now (ctx: the upkeep);
 * how long until there is something to do again. A worker. */
int64_t upkeep_pass(void *ctx);
/* The log is on stable storage until there, or why it went offline. After a failed sync the whole
 * directory goes offline, as log_dirs_fail tells: who waits for one of its logs gets
 * KAFKA_STORAGE_ERROR, and when the metadata log lies there the broker cannot go on (br->on_fatal).
 * The thread of group_commit. */
void upkeep_flushed(void *ctx, struct plog *pl, int64_t flushed, int err);

/* A partition whose log is about to begin at `start`. */
struct upkeep_start {
    struct partition *p;
    int64_t start;
    int err; /* negative: it may not */
};
/* Makes these log starts stable before the logs move there; err of each is set. Blocking. */
void upkeep_note_starts(struct broker *br, struct upkeep_start *items, size_t count);

/* How long after a pass the next one is due, in ms: not before the interval has gone by, nor before
 * the earliest time (of the clock that shows now_ms) at which a log could lose something.
 * INT64_MAX: nothing can, none is due. */
int64_t upkeep_retention_wait(int64_t now_ms, int64_t interval_ms, int64_t earliest_ms);

#endif
