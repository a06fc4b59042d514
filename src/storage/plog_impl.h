/*
 * The inside of a log, for the files plog*.c and the flusher alone; plog.h is the contract.
 *
 *   plog.c          life, offsets, small questions
 *   plog_append.c   validate, stage, write, undo
 *   plog_roll.c     new segments
 *   plog_front.c    DeleteRecords, retention
 *   plog_cut.c      truncation, reset
 *   plog_read.c     reads bounded by log end, high watermark, last stable offset
 *   plog_find.c     by time and by epoch
 *   plog_flush.c    stable storage, recovery points
 *   plog_snapshots.c  producers in files, and back from them
 *   plog_metadata.c whose directory it is
 *   recovery_txns.c which part of a torn .txnindex is good
 *   plog_open.c     opening
 *   recovery.c      what is there, what of it is good; recovery_damage.c: and where it is not
 *
 * Functions that end in _locked want the log's lock held.
 */
#ifndef STORAGE_PLOG_IMPL_H
#define STORAGE_PLOG_IMPL_H

#include "base/base.h"
#include "storage/epoch_cache.h"
#include "storage/plog.h"
#include "storage/producer_state.h"
#include "storage/segment.h"

#define PLOG_WRITE_MARKS 16 /* known (offset, position) pairs: where writes ended */
#define PLOG_READ_MARKS  8  /* and reads */
#define PLOG_MARKS       (PLOG_WRITE_MARKS + PLOG_READ_MARKS)

/* A batch boundary: the offset's batch begins at this position of that segment. */
struct plog_mark {
    int64_t offset;
    int64_t segment_base;
    int64_t position;
};

/* A batch that has its offset and is not yet in the file. */
struct staged {
    struct blob *blob; /* a reference */
    const uint8_t *bytes;
    size_t size;
    int64_t position;
    int64_t last_offset;
    int64_t max_timestamp;
    struct completed_txn completed;
    int32_t undo; /* index into undos; -1: it has no producer */
    bool assigned_epoch;
};

struct plog {
    struct lock lock;
    struct cond settled; /* with lock: one of is_writing, is_checkpointing, is_placing is over */
    bool is_writing;   /* a thread writes beyond the active segment's size, without the lock: nobody
                          else may write, roll, cut or close */
    uint32_t settlers; /* who wait for that: nobody begins another such write */
    struct lock rules_lock; /* LOCK_LEAF: config.rules, together with lock */
    struct plog_env *env;   /* borrowed */
    char *path;             /* owned: "<dir>/<topic>-<partition>" */
    /* Owned: after plog_mark_deleted. Set once, under lock; read without it, too. */
    char *_Atomic moved_path;
    void *owner;
    struct str topic; /* in path */
    size_t dir_len;   /* of path */
    int32_t partition;
    struct uuid topic_id;
    struct plog_config config;

    struct segment **segments; /* owned array of owned ones, by base offset; never empty */
    size_t segments_count;
    size_t segments_cap;

    int64_t log_start;
    int64_t log_end;
    int64_t written;
    int64_t flushed;
    int64_t high_watermark;

    struct staged *staged; /* owned; all of the active segment */
    size_t staged_count;
    size_t staged_cap;
    int64_t staged_bytes;
    int64_t ahead_bytes;         /* of them: in the file already */
    struct producer_undo *undos; /* owned */
    size_t undos_count;
    size_t undos_cap;

    struct producer_state producers;
    struct epoch_cache epochs;

    int64_t *snapshots; /* owned: offsets of the snapshot files, ascending */
    size_t snapshots_count;
    size_t snapshots_cap;

    struct plog_mark marks[PLOG_MARKS];
    uint32_t write_marks;
    uint32_t read_marks;
    uint32_t incarnation; /* of the bytes: changes when the log is cut */

    bool is_checkpointing;    /* one at a time: they write the same files, without the lock */
    bool is_placing;          /* a checkpoint names files: the directory keeps its own name */
    int64_t placing_snapshot; /* a checkpoint puts this one in place without the lock; -1: none */

    uint64_t names_made; /* names of the directory: changes, and how many of them are stable */
    uint64_t names_synced;
    int64_t unflushed_bytes;
    int64_t uncheckpointed_bytes;
    int64_t recovery_point;
    int64_t kept_point; /* the recovery point that the checkpoint file holds */
    /* The largest recovery point that may stand in a checkpoint file: when the log was cut below
     * it, no snapshot may make a recovery trust what lies under it. */
    int64_t told_point;
    int write_error;        /* of a write inside an append, for the next plog_write */
    int64_t stale_base;     /* of a segment below the first one whose file could not be removed;
                               INT64_MAX: none. It will be there again after a restart. */
    bool is_new;            /* its own name and partition.metadata are not stable */
    atomic_bool is_offline; /* by plog_go_offline_locked */
    int offline_cause;      /* lock: why, the first reason */
    bool is_changed;        /* since it was opened: closing has something to do */
    bool has_grown;         /* for on_grown */

    /* Machine clock: the next look for expired producers. */
    int64_t producers_look_ms;

    struct list flush_link; /* the flusher's, under its lock */
    bool is_queued;         /* the same */
    bool is_flushing;       /* the same: in a round that has not reported it */
};

/* Nothing of the log is believed any more. With the lock; whoever waits for a flush of it learns it
 * from the next one (flusher.c). */
void plog_go_offline_locked(struct plog *pl, int err);
struct segment_io plog_io(const struct plog *pl, bool no_wait);
static inline struct segment *plog_active(const struct plog *pl)
{
    return pl->segments[pl->segments_count - 1];
}

/* recovery_txns.c */
/* A segment's bad .txnindex keeps its good front when that holds every abort
 * marker below `until`; *ret_kept says whether. */
must_check int
plog_keep_good_txns(struct plog *pl, struct segment *sg, int64_t until, bool *ret_kept);

/* plog.c */
int plog_make_path(struct plog *pl, const struct plog_open *how);
struct plog *plog_release(struct plog *pl); /* memory and descriptors */
void plog_add_write_mark(struct plog *pl, int64_t offset, int64_t segment_base, int64_t position);
void plog_add_read_mark(struct plog *pl, int64_t offset, int64_t segment_base, int64_t position);
/* The segment that may hold the offset: the last one with base <= offset; index or -1. */
int64_t plog_segment_index(const struct plog *pl, int64_t offset);
int64_t plog_last_stable_locked(const struct plog *pl);
void plog_offsets_locked(const struct plog *pl, struct plog_offsets *ret);

/* plog_append.c */
/* Waits until nobody writes without the lock. It is given meanwhile: what was read before may have
 * changed. Before plog_write_locked and whatever else needs the active segment for itself. */
void plog_settle_locked(struct plog *pl);
int plog_write_locked(struct plog *pl);

/* plog_metadata.c */
/* The topic id, from the file or for it: ERR_MISMATCH, ERR_MALFORMED. is_made: the directory is
 * new. */
must_check int plog_load_metadata(struct plog *pl,
                                  const struct uuid *wanted,
                                  bool is_made,
                                  struct plog_recovery *report);

#endif
