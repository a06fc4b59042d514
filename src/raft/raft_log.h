/*
 * The metadata log: `__cluster_metadata-0` of the metadata log directory, over plog. Batches are
 * appended with the leader epoch, control and data alike, and read back in order; snapshots lie
 * beside it (snapshot.h).
 *
 * Loading is the newest valid snapshot and the log behind it. A damaged snapshot falls back to an
 * older one, or to the log from its beginning when it still has it; never to an empty state. Damage
 * inside the log is an error.
 *
 * Thread: one owner; blocking. Kafka: KafkaRaftLog.
 */
#ifndef RAFT_RAFT_LOG_H
#define RAFT_RAFT_LOG_H

#include "base/base.h"
#include "raft/control.h"
#include "raft/snapshot.h"

struct plog_env;
struct raft_log;

#define RAFT_LOG_TOPIC             "__cluster_metadata"
#define RAFT_LOG_DIR               RAFT_LOG_TOPIC "-0"
#define RAFT_LOG_BATCH_RECORDS_MAX 10000
#define RAFT_LOG_BATCH_BYTES_MAX   (8 << 20) /* Kafka's limit for its own batches */

/* A record of a snapshot (offset: of the last record that the snapshot holds) or of the log. A
 * negative result ends the load. */
struct raft_log_reader {
    int (*on_record)(void *ctx, struct view value, int64_t offset, int32_t epoch);
    void *ctx;
};

struct raft_log_options {
    struct plog_env *env;  /* borrowed */
    const char *dir;       /* the log directory; borrowed */
    int64_t segment_bytes; /* metadata.log.segment.bytes */
    int64_t segment_ms;    /* metadata.log.segment.ms */
    bool is_first_start; /* nothing need be stable before the first flush, which is one of the whole
                            file system */
    struct raft_log_reader reader;
};

/* What was found while loading; text of failures for the operator. */
struct raft_log_found {
    struct control_state
        control; /* newest voters and kraft.version: snapshot, then log. Release control.voters */
    bool has_log_voters;    /* the log itself, or a snapshot that is not the bootstrap one, says who
                               they are */
    int32_t last_epoch;     /* of the last batch or the snapshot; 0: none */
    int64_t last_timestamp; /* of the last batch */
    struct snapshot_id snapshot; /* that was loaded; end_offset 0: none */
    size_t damaged_snapshots;
    bool was_log_replaced;        /* the log ended before the snapshot does: it begins anew there */
    struct arena bootstrap_arena; /* release */
    int bootstrap_error;    /* the bootstrap snapshot could not be read, and was passed over; 0 */
    struct view *bootstrap; /* records of the bootstrap snapshot; not given to the reader */
    size_t bootstrap_count;
    char error[512]; /* when opening failed, a sentence for the operator */
};

/* Opens or makes the log, and gives the reader what it holds. ret_found is set on failures too. */
must_check int raft_log_open(const struct raft_log_options *o,
                             struct raft_log_found *ret_found,
                             struct raft_log **ret);
must_check int raft_log_close(struct raft_log *rl, bool is_clean);

const char *raft_log_path(const struct raft_log *rl); /* of __cluster_metadata-0 */
int64_t raft_log_start(struct raft_log *rl);
int64_t raft_log_end(struct raft_log *rl);
int64_t raft_log_flushed(struct raft_log *rl);
int64_t raft_log_bytes(struct raft_log *rl);

/* From now on batches of this epoch are appended. */
must_check int raft_log_become_leader(struct raft_log *rl, int32_t epoch);
/* A failure of append or flush leaves nothing in the log behind the last batch that a flush has
 * answered for, or one of its own on the way to a new segment: raft_log_end tells. False: that
 * cannot be relied upon (a sync has failed, or what was half written cannot be cut off). */
bool raft_log_is_usable(struct raft_log *rl);
/* Takes the builder's batch (offsets and epoch are set here) into the log, not yet on stable
 * storage. */
must_check int raft_log_append(struct raft_log *rl,
                               struct batch_builder *bb,
                               int64_t now_ms,
                               int64_t *ret_base_offset);
/* Everything appended is on stable storage afterwards. whole_fs: by one sync of the file system,
 * which also covers whatever else was written there before. */
must_check int raft_log_flush(struct raft_log *rl, bool whole_fs);
/* The log may forget what is before this offset (a snapshot holds it). */
must_check int raft_log_advance_start(struct raft_log *rl, int64_t offset);

#endif
