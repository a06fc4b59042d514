/*
 * One segment of a log: its .log file with the indexes beside it, what is known of its bytes
 * (checked ranges, holes), and the way from an offset to a position. Kafka's LogSegment.
 *
 * Files are made late: the .log with the first append, the indexes when there is an entry to write
 * or the segment closes. Thread: the owner's (plog's lock); files are used by reference elsewhere.
 */
#ifndef STORAGE_SEGMENT_H
#define STORAGE_SEGMENT_H

#include "base/base.h"
#include "storage/fd_cache.h"
#include "storage/scanner.h"
#include "storage/side_file.h"
#include "storage/sparse_index.h"
#include "storage/trash.h"
#include "storage/txn_index.h"

#define SEGMENT_INDEXES      3  /* files beside the .log */
#define SEGMENT_RANGES_MAX   64 /* checked ranges that are remembered; more are checked again */
#define SEGMENT_RECENT_BYTES (1 << 20) /* written that lately: in the page cache without asking */
#define SEGMENT_TIME_UNKNOWN INT64_MIN

struct byte_range {
    int64_t from;
    int64_t to;
};

/* Damage between good batches, or at the end of a segment that has a successor; without bytes where
 * the end of the file is gone. */
struct hole {
    int64_t from; /* bytes */
    int64_t to;
    int64_t offset_from;
    int64_t offset_to;
};

struct segment {
    struct fd_slot slot; /* of the .log */
    int64_t base_offset;
    int64_t end_offset;        /* offsets of this segment are below */
    int64_t size;              /* bytes of the .log that belong to the log */
    int64_t bytes_since_index; /* since the last entry of the offset index */
    int64_t max_timestamp;     /* -1: none */
    int64_t max_timestamp_offset;
    int64_t last_time_entry; /* timestamp of the time index's last entry; -1 */
    int64_t first_timestamp; /* largest of the first batch; SEGMENT_TIME_UNKNOWN */
    int64_t created_ms;
    int64_t appended_from; /* bytes from here on were written by this process */
    int64_t index_from;    /* offsets below have the index entries that they shall have */
    struct sparse_index offsets;
    struct sparse_index times;
    struct txn_index txns;
    struct byte_range *verified; /* owned, ascending, apart from each other */
    struct hole *holes;          /* owned, ascending */
    uint16_t verified_count;
    uint16_t verified_cap;
    uint16_t holes_count;
    bool has_file;        /* the .log exists */
    bool is_time_known;   /* max_timestamp and last_time_entry are loaded */
    bool is_index_bad;    /* it led astray: not used until rebuilt */
    bool is_open_ended;   /* entries to be forced when it closes */
    bool is_preallocated; /* the .log is longer than `size` */
};

/* Where a segment's files are and how they may be read. */
struct segment_io {
    struct fs *fs;
    struct fd_cache *fds;
    const char *dir;
    struct trash *trash; /* borrowed: where removed files go; NULL: they are unlinked */
    int64_t delete_delay_ms;
    int64_t index_interval; /* bytes between two index entries */
    bool no_wait;           /* -EAGAIN instead of waiting for a disk, or instead of a long repair */
};

struct segment *segment_new(int64_t base_offset, int64_t now_ms);
/* Closes the file. */
struct segment *segment_free(struct segment *sg, struct fd_cache *fds);

/* The .log; made when `create`. A reference for the caller. */
must_check int
segment_file(struct segment *sg, const struct segment_io *io, bool create, struct fs_file **ret);

/* After a batch was written at `position`: indexes, timestamps, checked range. */
void segment_appended(struct segment *sg,
                      const struct segment_io *io,
                      int64_t position,
                      size_t size,
                      int64_t last_offset,
                      int64_t max_timestamp);
/* The part of it that concerns the index entries and timestamps. */
void segment_index_batch(struct segment *sg,
                         const struct segment_io *io,
                         int64_t position,
                         int64_t size,
                         int64_t last_offset,
                         int64_t max_timestamp);
/* The last time entry, both indexes into their files, trimmed. */
must_check int segment_close_indexes(struct segment *sg, const struct segment_io *io);
/* Cuts off the index files what is not theirs. */
must_check int segment_trim_indexes(struct segment *sg, const struct segment_io *io);
/* True: what a power cut leaves of the index files may not be what is known of them. */
bool segment_has_loose_indexes(const struct segment *sg);
/* Index entries into their files; appends references to those that want a datasync (at most
 * SEGMENT_INDEXES), which is the caller's to do before a recovery point relies on them. */
must_check int segment_flush_indexes(struct segment *sg,
                                     const struct segment_io *io,
                                     struct fs_file **files,
                                     size_t *count);
/* Largest timestamp from the time index, once; an index whose last entry is wrong is rebuilt. */
must_check int segment_load_times(struct segment *sg, const struct segment_io *io);
/* LogSegment.largestTimestamp: the file's own time where the records have none. */
must_check int
segment_largest_timestamp(struct segment *sg, const struct segment_io *io, int64_t *ret);
must_check int segment_load_first_timestamp(struct segment *sg, const struct segment_io *io);

/* Finds the first batch whose last offset is >= offset. `hint_position` (0: none): a batch that
 * begins at or below it begins there. 1: found; 0: beyond the end; ERR_CORRUPT: the offset lies in
 * a hole; -EAGAIN; -errno. */
must_check int segment_locate(struct segment *sg,
                              const struct segment_io *io,
                              int64_t offset,
                              int64_t hint_position,
                              struct batch *ret,
                              int64_t *ret_position);
/* The header of the batch at `position`, unchecked. ERR_CORRUPT: none can be there. */
must_check int
segment_peek(struct segment *sg, const struct segment_io *io, int64_t position, struct batch *ret);
/* Checks batches from `from` (where one begins) until `to`; *ret_end: the last boundary reached, at
 * most `to`; less when damage comes before. *ret_next: the offset behind it, -1 when it is not
 * known. */
must_check int segment_verify(struct segment *sg,
                              const struct segment_io *io,
                              int64_t from,
                              int64_t from_offset,
                              int64_t to,
                              int64_t *ret_end,
                              int64_t *ret_next);
/* The last batch boundary in [from, limit] of checked bytes; `from` is one. */
must_check int segment_floor(struct segment *sg,
                             const struct segment_io *io,
                             int64_t from,
                             int64_t limit,
                             int64_t *ret,
                             int64_t *ret_next);
/* From the batch at `position` on: the first one with max_timestamp >= timestamp and last offset >=
 * offset. 1, 0, errors. */
must_check int segment_find_time(struct segment *sg,
                                 const struct segment_io *io,
                                 int64_t position,
                                 int64_t timestamp,
                                 int64_t offset,
                                 struct batch *ret,
                                 int64_t *ret_position);

bool segment_is_verified(const struct segment *sg, int64_t from, int64_t to);
void segment_add_verified(struct segment *sg, int64_t from, int64_t to);
void segment_add_hole(struct segment *sg, const struct hole *h);
/* A segment that was whole when it was closed: where its file has lost its end since, that is a
 * hole. How many were found. */
must_check int segment_find_loss(struct segment *sg, const struct segment_io *io);
/* Where the bytes end, between two positions, that are not zero. */
must_check int segment_written_end(struct segment *sg,
                                   const struct segment_io *io,
                                   int64_t from,
                                   int64_t to,
                                   int64_t *ret);
/* The hole that begins at this position, or the first one behind it; NULL. */
const struct hole *segment_hole_from(const struct segment *sg, int64_t position);
/* The hole that holds the offset; NULL. */
const struct hole *segment_hole_of(const struct segment *sg, int64_t offset);

/* Both indexes anew from the .log; checks all batches on the way. */
must_check int segment_rebuild_indexes(struct segment *sg, const struct segment_io *io);

/* Does a batch begin where the index says so? */
bool segment_is_entry_good(struct segment *sg,
                           const struct segment_io *io,
                           const struct offset_entry *entry);
/* Where the index says that a batch at or below the offset begins; 0 without an answer. */
must_check int segment_index_position(struct segment *sg,
                                      const struct segment_io *io,
                                      int64_t offset,
                                      int64_t *ret);
/* Calls `each` for every good batch from `position` on until it answers other than 0; that answer.
 */
must_check int segment_each(struct segment *sg,
                            const struct segment_io *io,
                            int64_t position,
                            int (*each)(void *ctx, const struct batch *b, int64_t position),
                            void *ctx);

/* Forgets what is known of bytes, index entries and transactions at or behind `position`, where
 * `offset` begins. The .log is the caller's affair. */
must_check int segment_truncate_known(struct segment *sg,
                                      const struct segment_io *io,
                                      int64_t position,
                                      int64_t offset);
/* Before a scan that makes everything from offset `from` on anew: keeps the index entries and
 * transactions below it untouched (they are stable, what would be written over them is not).
 * *ret_position: where the scan begins, at or before the batch of that offset; *ret_offset: of the
 * batch there. *ret_rebuilt: the index could not be followed and is made anew from the segment's
 * beginning. */
must_check int segment_prepare_scan(struct segment *sg,
                                    const struct segment_io *io,
                                    int64_t from,
                                    bool has_indexes,
                                    int64_t *ret_position,
                                    int64_t *ret_offset,
                                    bool *ret_rebuilt);
/* Frees the names of the segment's files: the .log's alone, those of the files beside it, or all.
 * Whoever has one open keeps it. */
must_check int segment_remove_log(struct segment *sg, const struct segment_io *io);
must_check int segment_remove_indexes(struct segment *sg, const struct segment_io *io);
must_check int segment_remove(struct segment *sg, const struct segment_io *io);

#endif
