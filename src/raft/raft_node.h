/*
 * This node's part in the metadata quorum. No thread of its own: the metadata thread drives it.
 *
 *   raft_node_open    loads log and snapshots, calls on_record for every committed record
 *   raft_node_lead    begins an epoch as leader: quorum-state, LeaderChange (and, once,
 * KRaftVersion and Voters) raft_node_append  records as one batch, in memory and then in the page
 * cache raft_node_flush   one sync for everything appended since the last; what it returns is
 * committed raft_node_snapshot_is_due, raft_node_snapshot raft_node_close
 *
 * Only quorums whose single voter is this node are led today; anything else is refused by
 * raft_node_open with a sentence for the operator.
 *
 * quorum-state of a sole voter is never the only witness of its epoch: a file that is missing or
 * damaged is made again from the log, with a line in the log. On a first start (is_first_start) it
 * is not synced on its own: its content is covered by the first flush, and takes its name after it.
 *
 * Thread: one owner; blocking. Errors: -errno and ERR_*. After a failure of append or flush the
 * log holds what it held before, and takes the next append (a disk that is full: try again when
 * there is room), unless raft_node_is_usable says no: then the process should end. quorum-state for
 * which there is no room is written with a later flush; until then the epoch stands in the log.
 * Kafka: KafkaRaftClient.
 */
#ifndef RAFT_RAFT_NODE_H
#define RAFT_RAFT_NODE_H

#include "base/base.h"
#include "base/str.h"
#include "base/uuid.h"
#include "raft/quorum.h"
#include "raft/voters.h"

struct plog_env;
struct raft_node;

struct raft_node_options {
    struct plog_env *env; /* borrowed; its clock stamps batches, its logger gets warnings */
    const char *dir;      /* metadata.log.dir, or the first of log.dirs; borrowed while open */
    int32_t node_id;
    struct uuid directory_id; /* of meta.properties */
    struct str static_voters; /* controller.quorum.voters; null or empty: dynamic */
    int64_t segment_bytes;    /* metadata.log.segment.bytes 1073741824 */
    int64_t segment_ms;       /* metadata.log.segment.ms 604800000 */
    int64_t snapshot_bytes;   /* metadata.log.max.record.bytes.between.snapshots 20971520 */
    int64_t
        snapshot_interval_ms; /* metadata.log.max.snapshot.interval.ms 3600000; 0: never by time */
    int64_t retention_bytes;  /* metadata.max.retention.bytes 104857600; -1: none */
    int64_t retention_ms;     /* metadata.max.retention.ms 604800000; -1: none */
    bool is_first_start;      /* just formatted by this process */
    /* Every record value of the loaded snapshot and of the log behind it, in order. A negative
     * result fails the open. */
    int (*on_record)(void *ctx, struct view value, int64_t offset, int32_t epoch);
    void *ctx;
};

#define RAFT_NODE_ERROR_BYTES 512
#define RAFT_NODE_RECORDS_MAX 10000 /* of one append */

/* ret_error: on failure a sentence for the operator. */
must_check int raft_node_open(const struct raft_node_options *o,
                              char ret_error[static RAFT_NODE_ERROR_BYTES],
                              struct raft_node **ret);

/* Records of the bootstrap snapshot, for a cluster whose log is still empty. Valid until close. */
void raft_node_bootstrap(const struct raft_node *rn, const struct view **ret, size_t *ret_count);

/* The first batch of the epoch goes into the log with the first append, or the first flush. */
must_check int raft_node_lead(struct raft_node *rn);

/* False after a failure behind which nobody knows what the log holds. */
bool raft_node_is_usable(struct raft_node *rn);
/* The offset that the first record of the next append gets. */
int64_t raft_node_next_offset(const struct raft_node *rn);
int32_t raft_node_epoch(const struct raft_node *rn);
/* One batch: all records or none survive a crash. ERR_TOO_LARGE: more than RAFT_NODE_RECORDS_MAX,
 * or above 8 MiB. */
must_check int raft_node_append(struct raft_node *rn,
                                const struct view *records,
                                size_t count,
                                int64_t *ret_base_offset);
/* *ret_committed: records below this offset are on stable storage. */
must_check int raft_node_flush(struct raft_node *rn, int64_t *ret_committed);

/* Enough was committed since the last snapshot, or enough time has passed. */
bool raft_node_snapshot_is_due(const struct raft_node *rn);
/* Writes the snapshot that ends behind last_offset (of the image), then forgets what
 * metadata.max.retention.* no longer holds. write calls each() with every record value:
 * image_write_snapshot. Nothing is done when there is a snapshot of that offset already. */
must_check int raft_node_snapshot(struct raft_node *rn,
                                  int64_t last_offset,
                                  int32_t last_epoch,
                                  int (*write)(void *ctx,
                                               int (*each)(void *each_ctx, struct view value),
                                               void *each_ctx),
                                  void *ctx);

/* For DescribeQuorum. */
struct raft_node_description {
    int32_t leader_id; /* -1: none yet */
    int32_t leader_epoch;
    int64_t high_watermark;
    int64_t log_end;
    int64_t log_start;
    int16_t kraft_version;
    const struct voters *voters; /* valid until close */
};
void raft_node_describe(struct raft_node *rn, struct raft_node_description *ret);

/* Flushes when clean. Takes NULL. */
must_check int raft_node_close(struct raft_node *rn, bool is_clean);

#endif
