/*
 * A partition that this broker holds: the rules between requests and the log (Kafka's Partition and
 * ReplicaManager). Found by topic id and number in the partition table; made and removed by the
 * metadata thread when an image says so, before anybody is answered about it.
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
#include "meta/image.h"
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
    struct plog *pl;             /* owned; NULL when its files cannot be read (offline) */
    struct log_dir *ld;          /* borrowed */
    struct lock append_lock;     /* LOCK_PARTITION */
    bool is_staged;              /* append_lock: some io thread will write at the end of its turn */
    struct lock lock;            /* LOCK_PURGATORY: what follows */
    int64_t high_watermark;      /* as the waiters were told */
    struct list waiting_appends; /* struct waiter by offset, ascending */
    struct list waiting_fetches; /* struct waiter */
    _Atomic bool is_deleted;
    _Atomic bool is_durable;        /* acks wait for the disk */
    _Atomic bool is_compacted_only; /* cleanup.policy=compact without delete */
    _Atomic int64_t uncheckpointed; /* bytes of it that background.c has counted */
    _Atomic int64_t flush_ms;  /* page-cache mode: a flush is asked for so long after a write */
    _Atomic bool is_flush_due; /* an io thread will ask for it */
    _Atomic int64_t
        flush_messages; /* page-cache mode: a flush is asked for after so many records */
};

/* A request's interest in one partition. Lives in the request's arena. */
struct waiter {
    struct list link;               /* in the partition's list; under its lock */
    struct list ready_link;         /* in the io thread's list of ready ones; under its lock */
    struct partition *p;            /* a reference */
    struct io_thread *io;           /* where the request lives */
    struct request *rq;             /* NULL: nobody's, but the coordinator's */
    int64_t offset;                 /* appends: wakes when high_watermark >= offset */
    enum kafka_error error;         /* set before wake when the append failed */
    void (*wake)(struct waiter *w); /* on the io thread */
};

struct partition_table;

struct partition_table *partition_table_new(struct broker *br);
/* Before anybody is served: what a kill left written but not known to be stable becomes stable in
 * one round, so that every acknowledged record is seen from the first answer on. */
void partition_table_settle(struct partition_table *pt);
/* The end: flushes (when clean) and closes all logs. No other thread is left. */
void partition_table_close(struct partition_table *pt, bool is_clean);
struct partition_table *partition_table_free(struct partition_table *pt);

/* A new reference or NULL. Any thread. */
struct partition *
partition_find(struct partition_table *pt, const struct uuid *topic_id, int32_t number);
struct partition *partition_ref(struct partition *p);
struct partition *partition_unref(struct partition *p);

/* All of them, each with a new reference, into mem_alloc'ed memory. */
void partition_all(struct partition_table *pt, struct partition ***ret, size_t *ret_count);
size_t partition_count(struct partition_table *pt);

/* The metadata thread: makes what `after` has and `before` (NULL: nothing) has not, removes what is
 * gone, applies configs. */
void partition_apply_image(struct partition_table *pt,
                           const struct image *before,
                           struct image *after);

/* Stages one validated batch (plog_validate) and, when `w` is not NULL and the batch was taken,
 * puts it in place to be woken when the batch is acknowledged (w->wake may be called within this
 * turn, never inside this call). Negative: our failure. */
must_check int partition_append_validated(struct partition *p,
                                          struct io_thread *io,
                                          const struct plog_append *in,
                                          struct validate_result *validated,
                                          struct plog_append_result *ret,
                                          struct waiter *w);
/* End of the turn of the io thread that staged first. */
void partition_write(struct partition *p, struct io_thread *io);
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
