/*
 * Aborted transactions of one segment: Kafka's TransactionIndex. The file exists only when there is
 * one; entries are written as soon as the abort marker is in the log. It is not a mere hint:
 * without an entry aborted data would be served as committed, so a file that cannot be right is
 * rebuilt from the log before anything is read. Thread: the owner's (plog's lock).
 */
#ifndef STORAGE_TXN_INDEX_H
#define STORAGE_TXN_INDEX_H

#include "base/base.h"
#include "base/fs.h"

#define TXN_ENTRY_BYTES 34

struct txn_entry {
    int64_t producer_id;
    int64_t first_offset;
    int64_t last_offset;        /* of the marker */
    int64_t last_stable_offset; /* of the log when the transaction ended */
};

struct txn_index {
    uint32_t count;
    bool is_unsynced;
    bool is_bad;         /* the file cannot be right; empty until the next truncation removes it */
    uint32_t good_count; /* of a bad one: entries at its front that can be right */
};

/* Counts and checks all entries. ERR_MALFORMED: cannot be right. A missing file is empty. */
must_check int
txn_index_load(struct txn_index *tx, struct fs *fs, const char *path, int64_t base_offset);
must_check int txn_index_append(struct txn_index *tx,
                                struct fs *fs,
                                const char *path,
                                const struct txn_entry *entry);
/* Keeps the first `count` entries; with none the file goes. */
must_check int
txn_index_truncate(struct txn_index *tx, struct fs *fs, const char *path, uint32_t count);
/* Drops entries whose marker lies at or beyond `offset`. */
must_check int
txn_index_truncate_to(struct txn_index *tx, struct fs *fs, const char *path, int64_t offset);

/* Calls `each` for the entries in order until it returns false. */
must_check int txn_index_each(const struct txn_index *tx,
                              struct fs *fs,
                              const char *path,
                              bool (*each)(void *ctx, const struct txn_entry *entry),
                              void *ctx);

#endif
