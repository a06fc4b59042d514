/*
 * What one partition's log must hold, by the plain rules: a list of batches, and everything else
 * worked out from it. The scenario adds what the log took, cuts what it lost, and asks what it must
 * answer.
 *
 * Batches are known by the CRC over their content, their base offset and their leader epoch. A
 * batch that was taken back (a failed write, a crash) is a ghost: after a crash it may be found
 * again in its place, since bytes that were handed to a disk cannot be called back, but never below
 * what was promised.
 *
 * Producers as in Kafka's ProducerStateManager: an epoch, the last five batches, an open
 * transaction. A log that was opened again may have forgotten all but the last batch of a producer.
 */
#ifndef TESTS_SIM_LOG_MODEL_H
#define TESTS_SIM_LOG_MODEL_H

#include "base/base.h"
#include "wire/batch.h"
#include "wire/gen/errors.h"

enum {
    MODEL_BATCHES_REMEMBERED = 5,
};

struct model_batch {
    int64_t base_offset;
    int64_t last_offset;
    int64_t base_timestamp; /* of its first record; each following one is a millisecond later */
    int64_t max_timestamp;
    int64_t producer_id;
    int32_t leader_epoch;
    int32_t base_sequence;
    int32_t last_sequence;
    int32_t life; /* in which it was appended, or found again */
    uint32_t crc;
    int16_t producer_epoch;
    bool is_transactional;
    bool is_control;
    bool is_commit;
    bool is_deleted; /* the log has it no more, but may know its producer by it */
};

struct model_producer {
    int64_t producer_id;
    int64_t txn_first_offset; /* -1: none is open */
    int64_t last_offset;      /* of the newest batch or marker */
    int16_t epoch;
    int count;
    struct model_batch batches[MODEL_BATCHES_REMEMBERED]; /* oldest first */
};

struct model_txn {
    int64_t producer_id;
    int64_t first_offset;
    int64_t last_offset; /* of the marker; -1: open */
    bool is_aborted;
};

struct log_model {
    struct model_batch *batches; /* owned, by offset, without gaps */
    size_t count;
    size_t cap;
    struct model_batch *ghosts; /* owned */
    size_t ghosts_count;
    size_t ghosts_cap;
    struct model_producer *producers; /* owned */
    size_t producers_count;
    size_t producers_cap;
    struct model_txn *txns; /* owned, by marker or opening; open ones among them */
    size_t txns_count;
    size_t txns_cap;
    int64_t start;      /* the log's start, as it said last */
    int64_t start_ever; /* the furthest start ever: what is below it may come back, or not */
    int32_t life;
    bool
        is_vague; /* the log has forgotten producers with deleted records: nothing is sure of any */
};

void log_model_release(struct log_model *m);
int64_t log_model_end(const struct log_model *m);

/* b: with offset and epoch stamped; continues the log. */
void log_model_add(struct log_model *m, const struct batch *b);
/* What begins at or behind the offset is gone; it may haunt the log after a crash. */
void log_model_cut(struct log_model *m, int64_t offset);
/* The log was opened again and holds `found` from its start on. */
void log_model_adopt(struct log_model *m, const struct model_batch *found, size_t count);

/* A log that is opened may have forgotten a producer all of whose traces, or the beginning of whose
 * open transaction, lie below the furthest start. */
bool log_model_is_doubtful(const struct log_model *m, const struct model_producer *p);
/* False: a control record that is no end marker, or no control record at all. */
bool log_model_read_marker(const struct batch *b, bool *ret_is_commit);
void log_model_describe(const struct batch *b, struct model_batch *ret);
bool log_model_is_same(const struct model_batch *a, const struct model_batch *b);
/* The batch that holds the offset, or the next one; NULL at the end. */
const struct model_batch *log_model_at(const struct log_model *m, int64_t offset);
/* A ghost like this batch. */
bool log_model_was_ghost(const struct log_model *m, const struct model_batch *b);

struct model_answer {
    enum kafka_error error;
    bool is_duplicate;
    bool may_be_anything;
    bool may_be_forgotten; /* the log may also answer OUT_OF_ORDER_SEQUENCE_NUMBER, or take it as
                              new */
    int64_t base_offset;   /* of the original */
    int64_t last_offset;
};

/* What the log must answer to this batch of a client (or, is_ours, of a coordinator). */
void log_model_expect(const struct log_model *m,
                      const struct batch *b,
                      bool is_ours,
                      struct model_answer *ret);

int64_t log_model_last_stable(const struct log_model *m, int64_t high_watermark);
/* The first offset at or behind the start whose timestamp is at least this; -1. */
int64_t log_model_find_by_time(const struct log_model *m, int64_t timestamp);

#endif
