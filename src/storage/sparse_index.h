/*
 * The offset index and the time index of one segment: sorted entries of a fixed size in a file, the
 * newest few in memory until they are worth a write. Kafka's OffsetIndex and TimeIndex.
 *
 * Written by pwrite, never mapped: a full disk must not become SIGBUS. Files are opened for each
 * use (a seek of a consumer, each 64th entry of an append), so that an idle log holds no
 * descriptor; the block that was found last is kept, since whoever reads on looks there again.
 * Entries are hints: whoever follows one checks what it finds there.
 * Thread: the owner's (plog's lock).
 */
#ifndef STORAGE_SPARSE_INDEX_H
#define STORAGE_SPARSE_INDEX_H

#include "base/base.h"
#include "base/fs.h"

#define OFFSET_ENTRY_BYTES 8
#define TIME_ENTRY_BYTES   12
#define INDEX_TAIL_ENTRIES 64

struct sparse_index {
    uint8_t *tail;   /* owned: encoded entries that are not in the file; NULL when there are none */
    uint8_t *cached; /* owned: the block of the file that was found last; NULL: none */
    uint32_t cached_first; /* entry number where it begins */
    uint32_t cached_count;
    uint32_t stored; /* entries in the file; -1 as UINT32_MAX: not looked at yet */
    uint16_t entry_bytes;
    uint16_t tail_count;
    bool is_unsynced; /* the file was written since its last sync */
    bool is_longer;   /* the file has zeros or old entries behind ours */
};

#define SPARSE_INDEX_UNKNOWN UINT32_MAX

struct offset_entry {
    int32_t relative_offset; /* of the batch's last record, from the segment's base */
    int32_t position;        /* where the batch begins */
};

struct time_entry {
    int64_t timestamp;       /* the largest so far */
    int32_t relative_offset; /* of the last record of the batch that has it */
};

void sparse_index_init(struct sparse_index *ix, uint16_t entry_bytes);
void sparse_index_release(struct sparse_index *ix);

/* Counts the entries of the file, those before Kafka's preallocated zeros. -ENOENT: no file (then
 * it is empty). Done once; the others call it. */
must_check int sparse_index_load(struct sparse_index *ix, struct fs *fs, const char *path);
uint32_t sparse_index_count(const struct sparse_index *ix); /* loaded */

/* True: the tail is full and wants a flush. */
must_check bool sparse_index_add_offset(struct sparse_index *ix, struct offset_entry entry);
must_check bool sparse_index_add_time(struct sparse_index *ix, struct time_entry entry);
/* Writes the tail to the file (made when absent). */
must_check int sparse_index_flush(struct sparse_index *ix, struct fs *fs, const char *path);
/* Takes off the file what lies behind the entries, as Kafka does when a segment closes. */
must_check int sparse_index_trim(struct sparse_index *ix, struct fs *fs, const char *path);
/* Keeps the first `count` entries. The file keeps what lies behind them until it is trimmed
 * (cutting a file is slow, and a recovery drops those entries again), which must be before a
 * recovery point passes them. */
must_check int
sparse_index_truncate(struct sparse_index *ix, struct fs *fs, const char *path, uint32_t count);

/* How many entries have key <= the one given; the last of them in *ret. Keys that do not ascend
 * give some answer. */
must_check int sparse_index_find_offset(struct sparse_index *ix,
                                        struct fs *fs,
                                        const char *path,
                                        int64_t relative_offset,
                                        struct offset_entry *ret);
must_check int sparse_index_find_position(struct sparse_index *ix,
                                          struct fs *fs,
                                          const char *path,
                                          int64_t position,
                                          struct offset_entry *ret);
must_check int sparse_index_find_time(struct sparse_index *ix,
                                      struct fs *fs,
                                      const char *path,
                                      int64_t timestamp,
                                      struct time_entry *ret);
/* 1, or 0 when the index has no such entry. */
must_check int sparse_index_offset_at(struct sparse_index *ix,
                                      struct fs *fs,
                                      const char *path,
                                      uint32_t i,
                                      struct offset_entry *ret);
must_check int sparse_index_time_at(struct sparse_index *ix,
                                    struct fs *fs,
                                    const char *path,
                                    uint32_t i,
                                    struct time_entry *ret);

#endif
