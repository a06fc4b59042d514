/*
 * A partition that this broker holds: the rules between requests and the log (Kafka's Partition and
 * ReplicaManager). Made, found and removed in partition_table.h.
 *
 * Appends: any io thread stages under `append_lock`; the thread that staged first writes at the end
 * of its turn; a waiter is put in place under the same lock, so that a failed write finds everybody
 * whom it concerns. Then the high watermark follows what is written (page-cache mode) or what is
 * flushed (durable mode), and whoever waits for it is handed to the io thread that owns the
 * request.
 *
 * A partition is refcounted; holders keep it past its deletion (then `is_deleted`).
 */
#ifndef BROKER_PARTITION_H
#define BROKER_PARTITION_H

#include "base/base.h"
#include "base/hmap.h"
#include "base/list.h"
#include "base/sync.h"
#include "base/uuid.h"
#include "broker/waiter.h"
#include "storage/plog.h"

#include <stdatomic.h>

struct broker;
struct io_thread;
struct log_dir;
struct request;

struct partition {
    struct hmap_node node; /* in the table, by topic id and number */
    _Atomic uint32_t refs;
    struct broker *br; /* borrowed */
    struct uuid topic_id;
    struct str topic; /* owned text */
    int32_t number;
    int32_t min_insync_replicas;
    _Atomic int32_t leader_epoch;
    struct plog *pl;    /* owned; NULL when its files cannot be read (offline) */
    struct log_dir *ld; /* borrowed */
    bool is_retried; /* the metadata thread: offline for a passing reason; another takes its place
                        once the files can be opened */
    bool had_files;  /* the same thread: before they were opened for the first time */
    struct lock append_lock;            /* LOCK_PARTITION */
    _Atomic(struct io_thread *) writer; /* set with append_lock: who staged first, and will write at
                                           the end of its turn; NULL: nothing is staged */
    _Atomic uint32_t room_waiters;      /* those in waiting_room, which changes with `lock` */
    struct lock lock;                   /* LOCK_PURGATORY: what follows */
    struct list waiting_room;           /* struct waiter: wants to stage */
    int64_t high_watermark;             /* as the waiters were told */
    struct list waiting_appends;        /* struct waiter by offset, ascending */
    struct list waiting_fetches;        /* struct waiter */
    _Atomic bool is_deleted;
    _Atomic bool is_durable;        /* acks wait for the disk */
    _Atomic bool is_compacted_only; /* cleanup.policy=compact without delete */
    _Atomic int64_t uncheckpointed; /* bytes of it that upkeep has counted */
    _Atomic int64_t flush_ms;  /* page-cache mode: a flush is asked for so long after a write */
    _Atomic bool is_flush_due; /* an io thread will ask for it */
    _Atomic int64_t
        flush_messages; /* page-cache mode: a flush is asked for after so many records */
};

/* The last one to let go closes what is open of it. Any thread. */
struct partition *partition_ref(struct partition *p);
struct partition *partition_unref(struct partition *p);

/* Stages one validated batch (plog_validate) and, when `w` is not NULL and the batch was taken,
 * puts it in place to be woken when the batch is acknowledged (w->wake may be called within this
 * turn, never inside this call). Negative: our failure. */
must_check int partition_append_validated(struct partition *p,
                                          struct io_thread *io,
                                          const struct plog_append *in,
                                          struct validate_result *validated,
                                          struct plog_append_result *ret,
                                          struct waiter *w);
/* Before staging: waits while another io thread has more to write to this log than it can in a
 * turn, so that memory does not fill with what is staged. False (and not in place): there is room.
 */
must_check bool
partition_wait_for_room(struct partition *p, struct io_thread *io, struct waiter *w);
/* The flusher's word: until where the log is on stable storage, or that it failed. Any thread. */
void partition_flushed(struct partition *p, int64_t flushed, int err);

/* Waits for the next move of the high watermark; false (and not in place) when it is already beyond
 * w->offset. */
must_check bool partition_wait(struct partition *p, struct waiter *w);
/* The partition is gone: whoever waits is handed over, appends with UNKNOWN_TOPIC_OR_PARTITION. */
void partition_wake_all(struct partition *p);
/* Takes a waiter off wherever it is; on its io thread only. Its wake will not be called any more.
 */
void waiter_cancel(struct waiter *w);

#endif
