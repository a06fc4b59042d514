/*
 * Which leader epoch wrote from which offset: Kafka's LeaderEpochFileCache with its file
 * `leader-epoch-checkpoint` ("0\n<count>\n<epoch> <start offset>\n..."). Epochs and offsets both
 * ascend strictly. The file is a cache: the batches of the log say the same (P but for load and
 * save). Thread: the owner's (plog's lock).
 */
#ifndef STORAGE_EPOCH_CACHE_H
#define STORAGE_EPOCH_CACHE_H

#include "base/base.h"
#include "base/fs.h"

#define EPOCH_CACHE_FILE_MAX (16 << 20) /* bytes of the file that are read at most */

struct epoch_entry {
    int64_t start_offset;
    int32_t epoch;
};

struct epoch_cache {
    struct epoch_entry *entries; /* owned */
    size_t count;
    size_t cap;
    size_t saved_count; /* entries of the file, when is_dirty only says that there are more */
    bool is_dirty;      /* the file holds something else */
    bool is_rewritten;  /* entries of the file were changed or dropped */
};

void epoch_cache_init(struct epoch_cache *ec);
void epoch_cache_release(struct epoch_cache *ec);

/* The epoch writes from this offset on. Entries that contradict are removed, as Kafka does. True
 * when something changed. */
bool epoch_cache_assign(struct epoch_cache *ec, int32_t epoch, int64_t start_offset);
/* Drops what begins at or beyond the new end; moves the first entry up to the new start. */
void epoch_cache_truncate_end(struct epoch_cache *ec, int64_t end_offset);
void epoch_cache_truncate_start(struct epoch_cache *ec, int64_t start_offset);

int32_t epoch_cache_latest(const struct epoch_cache *ec);             /* -1: none */
int32_t epoch_cache_of(const struct epoch_cache *ec, int64_t offset); /* -1: none */
/* OffsetForLeaderEpoch: (-1, -1) when the epoch is not known. */
void epoch_cache_end_of(const struct epoch_cache *ec,
                        int32_t epoch,
                        int64_t log_end,
                        int32_t *ret_epoch,
                        int64_t *ret_end_offset);

/* -ENOENT; ERR_MALFORMED: not to be believed. The cache is empty then. */
must_check int epoch_cache_load(struct epoch_cache *ec, struct fs *fs, const char *path);
/* is_durable: by temporary file, sync and rename. Otherwise written over the old one, unsynced:
 * what a power cut may make of it is found at load (and a rename over a file costs a flush on some
 * file systems). */
must_check int
epoch_cache_save(struct epoch_cache *ec, struct fs *fs, const char *path, bool is_durable);

/* Is there more to save than a last epoch that has written nothing? The next leader's epoch takes
 * its place. */
bool epoch_cache_wants_save(const struct epoch_cache *ec, int64_t log_end);

/* Entries ascend: for tests. */
void epoch_cache_validate(const struct epoch_cache *ec);

#endif
