/*
 * The metadata thread ("raft"): owns the metadata log, the controller's decisions and the
 * publishing of images. Everybody else reads images and submits jobs.
 *
 * A job: decide() runs on the metadata thread with the newest image (including records decided
 * before it and not yet committed) and adds records; many jobs share one append and one sync; when
 * the records are on stable storage the new image is published (metadata_image_fn: partitions are
 * made, configs applied, on the metadata thread, before any answer), and then done() runs on the
 * loop that submitted the job.
 */
#ifndef BROKER_METADATA_H
#define BROKER_METADATA_H

#include "base/base.h"
#include "base/sync.h"
#include "meta/image.h"
#include "meta/records.h"

struct broker;
struct loop;
struct metadata;

struct metadata_job {
    struct job job; /* used by metadata.c */
    struct loop *loop;
    /* On the metadata thread. Adds records (in an arena of its own batch), keeps its answer for
     * done(), which may point into this image: until it has returned, or as long as it holds
     * mj->image. */
    void (*decide)(struct metadata_job *mj, const struct image *im, struct meta_records *records);
    /* On mj->loop's thread: err 0 when the records are durable and published; otherwise why not. */
    void (*done)(struct metadata_job *mj, int err);
    int err;             /* used by metadata.c; so is */
    struct image *image; /* the one of the decision */
};

/* What follows an image that is about to be published, before anybody sees it: partitions, the
 * coordinator. `before` is the one that it replaces, at the start one of nothing. The metadata
 * thread; the first time, of metadata_open. */
typedef void metadata_image_fn(struct broker *br, const struct image *before, struct image *after);

/* Formats br->config's log directories that are empty (like `kafka-storage format --standalone`)
 * and reads cluster id and directory id of the formatted ones into the broker. Before anything else
 * touches them. ret_error: one line for a person. */
must_check int metadata_format(struct broker *br, char *ret_error, size_t error_cap);
/* True when quorum-state is not in this directory: nobody has led the metadata log yet. */
bool metadata_is_first_start(const struct broker *br, const char *dir);
/* Opens the metadata log (br->log_dirs hold their locks by now), replays it, writes what a starting
 * node writes (leader change, bootstrap, registration records of br->listeners) in one append and
 * one flush, sets br->broker_epoch, and publishes the first image. Blocking; before loops run.
 * ret_error: one line for a person. */
must_check int metadata_open(struct broker *br,
                             metadata_image_fn *on_image,
                             struct metadata **ret,
                             char *ret_error,
                             size_t error_cap);
must_check int metadata_start(struct metadata *md); /* the thread */
void metadata_stop(struct metadata *md, bool is_clean);
struct metadata *metadata_free(struct metadata *md);

/* The newest published image; a new reference. Any thread. */
struct image *metadata_image(struct metadata *md);
/* Any loop's thread. Never fails: after stop, done() is called with ERR_CLOSED. */
void metadata_submit(struct metadata *md, struct metadata_job *mj);

/* A block of producer ids (ProducerIdsRecord) is taken through a job; ids come from the block
 * without one. */
#define METADATA_PRODUCER_ID_BLOCK 1000
/* The next id of the block; false: it is used up, submit a job that decides one. Any thread. */
must_check bool metadata_take_producer_id(struct metadata *md, int64_t *ret);
/* Inside decide(): an id, with the record of a new block where it needs one. Its job's done() may
 * give it away. */
must_check int metadata_decide_producer_id(struct metadata *md,
                                           const struct image *im,
                                           struct meta_records *records,
                                           int64_t *ret);

/* Jobs that nobody waits for (topics made for whoever asks for metadata) are bounded: false means
 * not now; else metadata_end_wish once the job is done. Any thread. */
must_check bool metadata_begin_wish(struct metadata *md);
void metadata_end_wish(struct metadata *md);

/* The directory that holds the metadata log, in the arena; NULL: none is configured. */
const char *metadata_dir(struct broker *br, struct arena *arena);

/* Level of kraft.version; 0: static voters. Any thread. */
int16_t metadata_kraft_version(const struct metadata *md);

/* Called once, on the metadata thread, when the metadata log can no longer be written: every job
 * fails from then on, and the process should end with status 1. The line is already in the log. Set
 * before metadata_start. */
void metadata_set_fatal(struct metadata *md, void (*fatal)(void *ctx, int err), void *ctx);

#endif
