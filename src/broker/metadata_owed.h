/*
 * Records that a node owes to the metadata log: decided, each with its offset, and not known to be
 * in the log. They are appended in order, before anything else, as often as it takes.
 *
 * Thread: the metadata thread.
 */
#ifndef BROKER_METADATA_OWED_H
#define BROKER_METADATA_OWED_H

#include "base/base.h"
#include "base/mem.h"
#include "meta/records.h"

struct raft_node;

struct owed_batch {
    const struct view *records;
    size_t count;
    int64_t base_offset;
};

/* Zeroed is empty. */
struct owed {
    struct arena arena;         /* for the records; its user's, until release */
    struct owed_batch *batches; /* owned */
    size_t count;
    size_t cap;
    int64_t end; /* offset behind the last; 0: nothing is owed */
};

void metadata_owed_release(struct owed *ow);
/* In as many batches as the log wants: these records need not stand or fall together. They are
 * borrowed and begin at base_offset, the end of what is owed or of the log. */
void metadata_owed_add(struct owed *ow,
                       const struct meta_records *records,
                       int64_t base_offset,
                       size_t batch_bytes_max);
/* Appends what is not in the log; the caller flushes. After a failure, of the flush too, it may be
 * called again. */
must_check int metadata_owed_append(const struct owed *ow, struct raft_node *rn);

#endif
