/*
 * What a log knows of its producers (P but for the snapshot files): the last five batches of each
 * for duplicates and sequences, its epoch, its open transaction; and the open transactions of the
 * log in order, which give the last stable offset. Kafka's ProducerStateManager, ProducerStateEntry
 * and ProducerAppendInfo (KIP-98).
 *
 * producer_state_check decides, producer_state_apply changes: a replay of the log after a restart
 * takes the second road alone. A change can be undone, newest first, as long as nothing else
 * happened. Thread: the owner's (plog's lock).
 */
#ifndef STORAGE_PRODUCER_STATE_H
#define STORAGE_PRODUCER_STATE_H

#include "base/base.h"
#include "base/fs.h"
#include "base/hmap.h"
#include "base/list.h"
#include "base/timers.h"
#include "wire/batch.h"
#include "wire/gen/errors.h"

#include <stdatomic.h>

#define PRODUCER_BATCHES 5

struct producer_batch {
    int64_t last_offset;
    int64_t timestamp; /* the batch's largest */
    int32_t last_sequence;
    int32_t offset_delta;
};

struct producer_entry {
    struct hmap_node node; /* by producer_id */
    struct list used;      /* in producer_state.used */
    struct timer idle;     /* at last_timestamp, in producer_state.idle; not in a transaction */
    int64_t producer_id;
    int64_t last_timestamp;
    int64_t txn_first_offset;  /* of the open transaction; -1: none */
    int32_t coordinator_epoch; /* -1: none */
    int16_t producer_epoch;    /* -1: none */
    int16_t batches_count;
    struct producer_batch batches[PRODUCER_BATCHES]; /* oldest first */
};

/* A transaction that is open, or ended but not yet below the high watermark. */
struct open_txn {
    int64_t first_offset;
    int64_t last_offset; /* of its marker; -1: open */
    int64_t producer_id;
};

struct open_txns {
    struct open_txn *items; /* owned, by first_offset */
    size_t count;
    size_t cap;
};

struct producer_state {
    struct hmap map;
    struct list used;        /* struct producer_entry, the one that wrote last at the end */
    struct timers idle;      /* those without an open transaction, by their last timestamp */
    _Atomic int64_t *shared; /* borrowed: entries of all logs together; NULL: nobody counts */
    struct open_txns ongoing;
    struct open_txns unreplicated; /* ended at or beyond the high watermark */
};

/* An end marker as read from its batch. */
struct txn_marker {
    int32_t coordinator_epoch;
    bool is_commit;
    bool is_marker; /* false: some other control record, or an empty batch */
    int64_t timestamp;
};

struct completed_txn {
    int64_t producer_id;
    int64_t first_offset;
    int64_t last_offset; /* of the marker */
    int64_t last_stable_offset;
    bool is_aborted;
    bool is_set;
};

/* How to take one apply back. */
struct producer_undo {
    struct producer_entry before; /* without its node */
    bool was_known;
    bool began_txn;
    struct completed_txn completed;
};

enum producer_rules {
    PRODUCER_RULES_ALL,   /* of a client: epochs, sequences, transactions */
    PRODUCER_RULES_EPOCH, /* of ourselves: epochs only */
};

/* Entries of all logs that share a counter; beyond them a log that gets new ones forgets as many of
 * its old ones. About 110 MB. */
#define PRODUCERS_SHARED_MAX 400000

void producer_state_init(struct producer_state *ps, uint64_t seed, _Atomic int64_t *shared);
void producer_state_release(struct producer_state *ps);
void producer_state_clear(struct producer_state *ps);

/* ERR_MALFORMED when a control batch cannot be read. `b` is whole (b->bytes). */
must_check int txn_marker_read(const struct batch *b, struct txn_marker *ret);

/* What Kafka answers to this batch. is_duplicate: *ret_duplicate is the batch that it repeats.
 * `marker` is NULL for data. */
enum kafka_error producer_state_check(const struct producer_state *ps,
                                      const struct batch *b,
                                      const struct txn_marker *marker,
                                      enum producer_rules rules,
                                      bool *ret_is_duplicate,
                                      struct producer_batch *ret_duplicate);
/* The batch is in the log at b->base_offset. `undo` may be NULL. */
void producer_state_apply(struct producer_state *ps,
                          const struct batch *b,
                          const struct txn_marker *marker,
                          struct producer_undo *undo,
                          struct completed_txn *ret_completed);
void producer_state_revert(struct producer_state *ps, const struct producer_undo *undo);

/* Ended transactions below the high watermark no longer hold the last stable offset back. */
void producer_state_replicated(struct producer_state *ps, int64_t high_watermark);
int64_t producer_state_first_unstable(const struct producer_state *ps); /* INT64_MAX: none */

const struct producer_entry *producer_state_find(const struct producer_state *ps,
                                                 int64_t producer_id);
/* Forgets producers that are idle since expiration_ms and have no open transaction; how many. As
 * long as that takes, however many there are. */
size_t producer_state_expire(struct producer_state *ps, int64_t now_ms, int64_t expiration_ms);

/* The last timestamp of the one that expires first; INT64_MAX: none can. */
int64_t producer_state_oldest(const struct producer_state *ps);

/* While there are more than PRODUCERS_SHARED_MAX: forgets those that have not written for longest
 * and have no open transaction, `count` at most. None must have an undo. A producer that was
 * forgotten may go on, as after an expiration: only a repetition of its last batches is not
 * recognized. */
void producer_state_trim(struct producer_state *ps, size_t count);

/* The snapshot file's bytes, mem_alloc'ed. */
void producer_state_encode(const struct producer_state *ps, uint8_t **ret, size_t *ret_len);
/* ERR_MALFORMED: damaged; the state is empty then. Expired producers are left out. */
must_check int producer_state_decode(struct producer_state *ps,
                                     const void *bytes,
                                     size_t len,
                                     int64_t now_ms,
                                     int64_t expiration_ms);

#endif
