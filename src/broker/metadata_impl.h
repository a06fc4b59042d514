/*
 * Inside of the metadata: metadata.c (the log, the images, the thread and its jobs) >
 * metadata_start.c (what a start writes) > metadata_newest.c (records into the newest image).
 */
#ifndef BROKER_METADATA_IMPL_H
#define BROKER_METADATA_IMPL_H

#include "base/logger.h"
#include "base/sync.h"
#include "broker/metadata.h"
#include "broker/metadata_owed.h"

/* Records of one append; the log takes 8 MiB with everything around them. */
#define METADATA_BATCH_BYTES_MAX (7 << 20)

struct metadata {
    struct broker *br;    /* borrowed */
    struct raft_node *rn; /* owned */
    metadata_image_fn *on_image;
    struct thread thread;
    struct arena arena;      /* of the batch at hand; metadata thread */
    struct image *newest;    /* a reference; metadata thread */
    struct lock image_lock;  /* LOCK_LEAF */
    struct image *published; /* image_lock: a reference */
    struct lock jobs_lock;   /* LOCK_MAILBOX */
    struct cond jobs_cond;
    struct list jobs;     /* jobs_lock: metadata_job by job.node */
    bool is_stopping;     /* jobs_lock */
    struct lock ids_lock; /* LOCK_LEAF */
    int64_t next_id;      /* ids_lock: of the block in use */
    int64_t end_id;       /* ids_lock */
    int64_t new_next_id;  /* metadata thread: of a block whose record is not committed yet */
    int64_t new_end_id;
    _Atomic int wishes;
    int16_t kraft_version; /* constant after the start */
    struct owed owed;      /* metadata thread: of the start */
    int failure;           /* metadata thread: what made the log unusable; 0: nothing */
    void (*fatal)(void *ctx, int err);
    void *fatal_ctx;
    struct log_limit snapshot_limit;
    struct log_limit refusal_limit;
};

/* These belong to the metadata thread, or to the start before there is one. */

/* Replays records behind the newest image, as they will stand from base_offset on. */
must_check int
metadata_replay(struct metadata *md, const struct view *records, size_t count, int64_t base_offset);
/* Of the next record that is decided. */
int64_t metadata_next_offset(const struct metadata *md);
/* Records of a start: they go into the newest image at once, and into the log with the next batch,
 * before any other. Empties `records`. */
must_check int metadata_owe(struct metadata *md, struct meta_records *records);

/* Owes the records that begin the cluster, or nothing; an open transaction of the last leader is
 * ended first. Where that was the one that begins the cluster nothing has begun yet: Kafka 4.4 ends
 * its process here and goes on with the same records at the next start. `records` is for use. */
must_check int metadata_begin_cluster(struct metadata *md, struct meta_records *records);
/* Owes the registrations of this node, which tells the broker its epoch, and its leaderships. */
must_check int metadata_register_node(struct metadata *md, struct meta_records *records);

#endif
