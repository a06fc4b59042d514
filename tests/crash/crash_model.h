/*
 * What the crash harness knows: every batch that was ever given to a log, what was acknowledged,
 * what was deleted or cut. History only grows; each batch has the moments (a counter of events)
 * from which and until which it may be found on the disk, so that one history serves the checks of
 * all crash points.
 */
#ifndef TESTS_CRASH_CRASH_MODEL_H
#define TESTS_CRASH_CRASH_MODEL_H

#include "base/base.h"
#include "wire/batch.h"

#define MODEL_LOGS 4

struct model_batch {
    int64_t base;
    int64_t last;
    uint64_t added;
    uint64_t dead;  /* UINT64_MAX: alive */
    uint8_t *bytes; /* owned, as stamped */
    size_t size;
    int64_t producer_id;
    int16_t producer_epoch;
    int32_t last_sequence;
    bool is_transactional;
    bool is_control;
    bool is_commit;
};

/* What must be and may be at one moment. */
struct model_promise {
    int64_t acked;         /* everything below is durable */
    int64_t start_max;     /* the log start is not beyond this */
    int64_t start_durable; /* and not below this */
};

/* A log that is made, filled, deleted, and made again under the same name. */
struct model_victim {
    int32_t life;  /* its topic's number; 0: there was none yet */
    bool is_alive; /* else its directory is renamed, or removed */
    int64_t acked; /* of the present life */
};

struct model_log {
    struct model_batch *batches; /* owned, in the order of appends */
    size_t count;
    size_t cap;
    struct model_promise promise;
};

struct model {
    struct model_log logs[MODEL_LOGS];
    struct model_victim victim;
    uint64_t now;  /* events so far */
    bool has_meta; /* meta.properties is acknowledged */
};

void model_init(struct model *m);
void model_release(struct model *m);

/* A batch with its offset: bytes as they will be on the disk. */
void model_append(struct model *m, int log, const struct batch *b);
/* Batches at or beyond the offset are gone for good. */
void model_cut(struct model *m, int log, int64_t offset);

/* The batch with this base that may be on the disk at the moment `now`, with these bytes; NULL. */
const struct model_batch *model_find(const struct model *m,
                                     int log,
                                     uint64_t now,
                                     int64_t base,
                                     const uint8_t *bytes,
                                     size_t size);

/* The state of one producer after the live batches below `end` at `now`, but for those in
 * `missing`. */
struct model_producer {
    int64_t producer_id;
    int16_t epoch;
    int32_t last_sequence; /* -1: none */
    int64_t last_base;     /* its last batch; -1 */
    int64_t txn_first;     /* -1: none open */
    int64_t touched;       /* offset of the last batch that says something of it */
};

/* Fills ret (room for max); how many. */
size_t model_producers(const struct model *m,
                       int log,
                       uint64_t now,
                       int64_t end,
                       struct model_producer *ret,
                       size_t max);

/* Was this transactional batch aborted (1), committed (0), or is its transaction open (-1) below
 * `end`? */
int model_fate(const struct model *m,
               int log,
               uint64_t now,
               const struct model_batch *mb,
               int64_t end,
               int64_t *ret_first);

#endif
