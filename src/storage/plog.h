/*
 * One partition's log: Kafka's UnifiedLog on Kafka's files (segment.h, index.h, producer_state.h,
 * epoch_cache.h). Directory `<topic>-<partition>/`.
 *
 * Offsets, always log_start <= flushed, high_watermark <= log_end; they are apart:
 *   log_start       first offset that can be read
 *   log_end         offset of the next record (staged ones included)
 *   written         end of what has been handed to the file system
 *   flushed         end of what is on stable storage
 *   high_watermark  end of what consumers may see: the owner sets it (partition rules)
 *   last stable     min(high_watermark, first offset of an open transaction)
 *
 * Appends are staged: plog_append_* validates, assigns offsets, stamps the batch in place, updates
 * the producer state and keeps a reference to the bytes; plog_write hands everything staged to the
 * file in one pwritev (the end of a loop turn). When the write fails the log is cut back to
 * `written`, the producer state with it; the owner fails the requests at or beyond the new log_end;
 * a later append tries the disk again. plog_flush_* puts what is written on stable storage.
 *
 * Thread: any; every function takes the log's own lock (LOCK_PLOG) unless it says so. No callback
 * is made under it. Errors: -errno and ERR_*; what a client did wrong is an enum kafka_error in the
 * result.
 */
#ifndef STORAGE_PLOG_H
#define STORAGE_PLOG_H

#include "base/base.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/list.h"
#include "base/logger.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/sync.h"
#include "base/uuid.h"
#include "storage/validate.h"

#include <stdatomic.h>

struct fd_cache; /* open segment files of one broker, bounded: fd_cache.h */
struct trash;    /* its deleted files: trash.h */
struct plog;

/* What all logs of one broker share; owned by the broker, outlives them. */
struct plog_env {
    struct fs *fs;
    struct clock *clock;
    struct logger *logger;
    struct fd_cache *fds;
    struct metrics *metrics;
    struct trash *trash; /* borrowed: what logs delete waits there; NULL: it goes at once */
    /* A log has its first batch, or a new segment: retention may want a look at it, and what it
     * has left behind a sync. May be NULL; called by plog_write without the log's lock. */
    void (*on_grown)(void *ctx, struct plog *pl);
    void *on_grown_ctx;
    _Atomic int64_t producers; /* that the logs remember; see producer_state.h */
};

/* Immutable once given; replaced as a whole by plog_set_config. Names are Kafka's topic configs. */
struct plog_config {
    struct validate_rules rules; /* leader_epoch in it is ignored; plog fills it */
    int64_t segment_bytes;
    int64_t segment_ms;
    int64_t segment_jitter_ms;
    int64_t segment_index_bytes;
    int64_t index_interval_bytes;
    int64_t retention_ms;    /* -1: none */
    int64_t retention_bytes; /* -1: none */
    int64_t file_delete_delay_ms;
    int64_t producer_id_expiration_ms;
    int64_t producer_id_check_ms; /* between two looks for expired ones, the first after an open */
    bool is_delete_policy;        /* cleanup.policy holds "delete" */
    bool preallocate;
};

enum plog_open_flags {
    PLOG_CREATE = 1,        /* make it when absent */
    PLOG_CLEAN = 2,         /* the directory was shut down cleanly: no scan */
    PLOG_CUT_UNFLUSHED = 4, /* unflushed_from and unflushed_to say something */
};

struct plog_open {
    const char *dir; /* path of the log directory (log.dirs entry) */
    struct str topic;
    int32_t partition;
    struct uuid topic_id;             /* zero: take what partition.metadata says */
    const struct plog_config *config; /* copied */
    unsigned flags;
    int64_t recovery_point; /* from the checkpoint; 0: scan all that is not known to be good */
    int64_t log_start;      /* from the checkpoint; 0 */
    int64_t high_watermark; /* from the checkpoint; clamped */
    /* One flush of several batches was begun for these offsets and it is not known to have ended:
     * damage or a gap in them is cut with what follows, unless good batches lie beyond (then the
     * flush had ended). */
    int64_t unflushed_from;
    int64_t unflushed_to;
};

/* What recovery did, for one log line of the caller. */
struct plog_recovery {
    int64_t scanned_bytes;
    int64_t cut_bytes;         /* taken off the end */
    int64_t torn_bytes;        /* of them, without zeros at their end: room that nothing used */
    int64_t below_start_bytes; /* the whole log, which ended below its log start */
    int64_t holes;             /* damaged places with good batches behind them: kept */
    bool rebuilt_index;
    bool rebuilt_producer_state; /* a snapshot was damaged */
    bool rebuilt_epochs;
    bool rebuilt_metadata_file; /* partition.metadata was empty or damaged and topic_id is known */
};

/* Opens (and recovers) or makes the log. Blocking I/O. ERR_MISMATCH: partition.metadata names
 * another topic id. */
must_check int plog_open(struct plog_env *env,
                         const struct plog_open *how,
                         struct plog_recovery *ret_recovery,
                         struct plog **ret);
/* Flushes when `is_clean` (and writes a producer snapshot), trims the indexes, closes. Blocking. No
 * other user is left. */
must_check int plog_close(struct plog *pl, bool is_clean);

/* Where the log lives and what it is; constant. */
struct str plog_topic(const struct plog *pl);
int32_t plog_partition(const struct plog *pl);
const struct uuid *plog_topic_id(const struct plog *pl);
const char *plog_path(const struct plog *pl); /* of the partition's directory */

void plog_set_config(struct plog *pl, const struct plog_config *config);
void plog_rules(struct plog *pl, struct validate_rules *ret); /* of the present config */

struct plog_offsets {
    int64_t log_start;
    int64_t log_end;
    int64_t written;
    int64_t flushed;
    int64_t high_watermark;
    int64_t last_stable;
};
void plog_offsets(struct plog *pl, struct plog_offsets *ret);

/* Becomes leader at this epoch: recorded in the leader-epoch cache when the next batch arrives
 * (Kafka records the start offset of the epoch on becoming leader: so do we, at log_end). */
must_check int plog_become_leader(struct plog *pl, int32_t leader_epoch);

enum plog_origin {
    PLOG_CLIENT,      /* all checks of validate.h, sequences */
    PLOG_COORDINATOR, /* our own batch (coordinators, markers): epoch checks only */
    PLOG_RAFT,        /* metadata log: no checks, leader epoch from the caller */
};

struct plog_append {
    struct blob *blob; /* holds the bytes; referenced until written */
    uint8_t *bytes;    /* one batch; stamped in place */
    size_t size;
    struct batch batch; /* of these bytes, from validate_frame or batch_peek */
    enum plog_origin origin;
    int32_t leader_epoch;
    int64_t now_ms;
    struct arena *arena; /* for record errors */
    bool may_defer;      /* plog_validate may say is_unfinished instead of inflating much */
};

#define PLOG_LOOP_BYTES_MAX (INT64_C(1) << 20) /* what may be inflated on a loop */

struct plog_append_result {
    enum kafka_error error;
    const char *message; /* NULL, static, or in the arena */
    struct record_error *record_errors;
    int32_t record_errors_count;
    int64_t base_offset;    /* -1 with an error */
    int64_t last_offset;    /* acknowledged when flushed/high watermark has passed it */
    int64_t append_time_ms; /* -1: CreateTime */
    int64_t log_start;      /* -1 where Kafka says -1 (failed before the log) */
    bool is_duplicate; /* nothing was appended; base_offset and last_offset are the original's */
};

/* Validates and stages one batch as leader. Negative: our failure (roll failed, ...), nothing
 * staged. */
must_check int plog_append_as_leader(struct plog *pl,
                                     const struct plog_append *in,
                                     struct plog_append_result *ret);
/* Would this batch begin a new segment? */
bool plog_would_roll(struct plog *pl, const struct batch *b, int64_t now_ms);
/* The part of validation that may run elsewhere: walks the records without the lock. Give the
 * result to plog_append_validated. (plog_append_as_leader = both.) */
void plog_validate(struct plog *pl, const struct plog_append *in, struct validate_result *ret);
/* -EAGAIN: the batch needs a new segment while another thread writes to this one, and nothing was
 * changed: again after plog_settle. */
must_check int plog_append_validated(struct plog *pl,
                                     const struct plog_append *in,
                                     struct validate_result *validated,
                                     struct plog_append_result *ret);
/* Waits for the end of such a write. The caller holds no lock. */
void plog_settle(struct plog *pl);
/* As follower: offsets and epochs as they are; several batches; must continue log_end. */
must_check int
plog_append_as_follower(struct plog *pl, struct blob *blob, const uint8_t *bytes, size_t size);

/* Hands what is staged to the file. *ret_written: the new `written` offset. On failure everything
 * staged is undone (log_end == written again). 0 when nothing was staged. */
must_check int plog_write(struct plog *pl, int64_t *ret_written);
/* Takes everything staged back, as a failed plog_write does; before a plog_write_ahead alone. */
void plog_drop_staged(struct plog *pl);
/* Before plog_write, where that would take too long: hands `max` bytes of what is staged to the
 * file. False: no more than that is left, or it cannot go on; plog_write is next. */
must_check bool plog_write_ahead(struct plog *pl, int64_t max);
/* Right before plog_write: hands to the file what is staged now, when it is at least
 * PLOG_MOST_BYTES_MIN, while others may read and stage. What fails, plog_write tells. */
#define PLOG_MOST_BYTES_MIN (32 << 10)
void plog_write_most(struct plog *pl);
int64_t plog_staged_left(struct plog *pl); /* bytes that are staged and not in the file */
bool plog_has_staged(struct plog *pl);

/* Stable storage in two halves, so that one round covers many logs: begin (lock, short) notes what
 * is written and takes references to the files and directories that need a sync; run does the syncs
 * of this log (blocking, no lock) unless a syncfs was done instead; end publishes `flushed` or,
 * with an error, takes the log offline. */
struct plog_flush {
    struct plog *pl;
    int64_t until;            /* flushed becomes this */
    struct fs_file *files[4]; /* references: segments with unsynced bytes */
    int files_count;
    bool sync_dir;       /* names in the partition's directory */
    bool sync_parent;    /* the partition's own name in the log directory */
    bool needs_whole_fs; /* more files than fit, or a new log: syncfs */
    uint64_t names_made; /* the log's own: what the directory syncs cover */
    int64_t bytes;
    uint32_t incarnation;
};
/* False: nothing to flush. */
must_check bool plog_flush_begin(struct plog *pl, struct plog_flush *ret);
/* Lets go of its files: the whole file system it will be. */
void plog_flush_as_whole(struct plog_flush *f);
must_check int plog_flush_run(struct plog_flush *f);
void plog_flush_end(struct plog_flush *f, int err, int64_t *ret_flushed);

/* Raises the high watermark (never lowers it); true when it moved. */
bool plog_advance_high_watermark(struct plog *pl, int64_t offset);

enum plog_bound {
    PLOG_TO_LOG_END, /* followers; never beyond `written` */
    PLOG_TO_HIGH_WATERMARK,
    PLOG_TO_LAST_STABLE,
};

struct plog_aborted {
    int64_t producer_id;
    int64_t first_offset;
};

struct plog_read {
    int64_t offset;
    int64_t max_bytes;
    enum plog_bound bound;
    bool at_least_one; /* the first batch whole, however large */
    bool no_wait; /* -EAGAIN when pages are not in memory: then plog_warm elsewhere, and again */
    struct arena *arena; /* for aborted transactions */
};

struct plog_read_result {
    struct plog_offsets offsets;  /* of the same moment */
    struct plog_aborted *aborted; /* PLOG_TO_LAST_STABLE only; ordered by first offset */
    int32_t aborted_count;
    size_t bytes;      /* added to the rope */
    bool is_cut_short; /* a batch lies there but did not fit */
};

/* Whole batches from the one that holds the offset, of one segment, as file runs. kafka error by
 * *ret_error: OFFSET_OUT_OF_RANGE, CORRUPT_MESSAGE (a hole), KAFKA_STORAGE_ERROR. Each batch read
 * for the first time since the start has its CRC checked (then remembered by range). */
must_check int plog_read(struct plog *pl,
                         const struct plog_read *how,
                         struct rope *ret_rope,
                         struct plog_read_result *ret,
                         enum kafka_error *ret_error);
/* Brings [offset, +max_bytes) into the page cache and checks it. Blocking. */
void plog_warm(struct plog *pl, int64_t offset, int64_t max_bytes);

/* ListOffsets. Blocking (may inflate one batch). *ret_offset -1: none. */
struct plog_position {
    int64_t offset;
    int64_t timestamp;
    int32_t leader_epoch; /* -1: unknown */
};
must_check int plog_find_by_time(struct plog *pl, int64_t timestamp, struct plog_position *ret);
must_check int plog_find_max_timestamp(struct plog *pl, struct plog_position *ret);
int32_t plog_epoch_of(struct plog *pl, int64_t offset); /* -1: none */
int32_t plog_latest_epoch(struct plog *pl);             /* -1: none */
/* OffsetForLeaderEpoch: kafka-inventory 4.4. */
void plog_end_of_epoch(struct plog *pl, int32_t epoch, int32_t *ret_epoch, int64_t *ret_end_offset);

/* DeleteRecords: moves log_start up (<= high watermark), drops whole segments behind it. */
must_check int plog_advance_log_start(struct plog *pl, int64_t offset);
/* Cuts the end off, durably, under the log's lock (rare: followers and the metadata log). A batch
 * that holds the offset goes as a whole. */
must_check int plog_truncate_to(struct plog *pl, int64_t offset);
/* Empties the log, which then begins and ends at this offset (a snapshot took its place). */
must_check int plog_reset_to(struct plog *pl, int64_t offset);
/* Retention by time, size and log_start, and a look for expired producers when it is due; returns
 * the number of segments removed. Blocking. */
must_check int plog_apply_retention(struct plog *pl, int64_t now_ms);
/* The earliest time at which plog_apply_retention could find something to do: 0 now, INT64_MAX
 * never as the log is. Blocking. */
int64_t plog_next_expiry(struct plog *pl);
int64_t plog_size_bytes(struct plog *pl);
/* Of the first segment, files that could not be removed included: log_start is this or beyond. */
int64_t plog_first_offset(struct plog *pl);

/* Persists what bounds recovery: a producer snapshot at `flushed`. *ret_recovery_point for the
 * checkpoint. Blocking; a second one at the same time waits for the first. */
must_check int plog_checkpoint(struct plog *pl, int64_t *ret_recovery_point);
/* This recovery point is on stable storage: snapshots that only an older one needs may go. */
void plog_checkpointed(struct plog *pl, int64_t recovery_point);
/* Something was flushed since the last plog_checkpoint, or a segment before the last one is not on
 * stable storage as a whole. */
bool plog_wants_checkpoint(struct plog *pl);
int64_t plog_uncheckpointed_bytes(struct plog *pl); /* written since the last plog_checkpoint */

/* Renames the directory to `<name>.<uuid>-delete` (LocalLog), so that the name is free; the log is
 * unusable afterwards except for plog_close(false). The caller removes the directory later. */
must_check int plog_mark_deleted(struct plog *pl, char *ret_path, size_t cap);

/* DescribeProducers. */
struct plog_producer {
    int64_t producer_id;
    int64_t last_timestamp;
    int64_t current_txn_start; /* -1: none */
    int32_t last_sequence;
    int32_t coordinator_epoch; /* -1: none */
    int16_t producer_epoch;
};
void plog_producers(struct plog *pl,
                    struct arena *arena,
                    struct plog_producer **ret,
                    int32_t *ret_count);

bool plog_is_offline(struct plog *pl);
void plog_set_offline(struct plog *pl);
int plog_offline_cause(struct plog *pl); /* the first error that made it so; 0: it is not */
bool plog_is_marked_deleted(struct plog *pl);

/* For the owner: a free slot (partition) and the link of the flusher's queue. */
void plog_set_owner(struct plog *pl, void *owner);
void *plog_owner(struct plog *pl);

#endif
