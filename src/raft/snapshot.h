/*
 * Snapshots of the metadata log: `%020d-%010d.checkpoint` (end offset, epoch) in the directory of
 * the log.
 *
 *   control batch   SnapshotHeader; with kraft.version 1 also KRaftVersion and Voters
 *   data batches    the records of the image
 *   control batch   SnapshotFooter
 *
 * Offsets inside count from 0; every batch has the snapshot's epoch. Written as `.part`, synced,
 * renamed, directory synced. `00000000000000000000-0000000000.checkpoint` is what `format` leaves:
 * the first voters, and records for the controller to begin the cluster with.
 *
 * Kafka: Snapshots, RecordsSnapshotWriter, FileRawSnapshotWriter.
 * Thread: one owner; blocking.
 */
#ifndef RAFT_SNAPSHOT_H
#define RAFT_SNAPSHOT_H

#include "base/base.h"
#include "base/fs.h"
#include "raft/control.h"
#include "wire/batch.h"

#define SNAPSHOT_BATCH_RECORDS_MAX 10000
#define SNAPSHOT_BATCH_BYTES       (1 << 20)  /* a batch is ended when it has these */
#define SNAPSHOT_BATCH_BYTES_MAX   (64 << 20) /* a larger one is not read */

#define SNAPSHOT_OFFSET_MAX (INT64_MAX / 2) /* no log comes so far; appends go on behind it */

struct snapshot_id {
    int64_t end_offset;
    int32_t epoch;
};

static inline bool snapshot_is_bootstrap(const struct snapshot_id *id)
{
    return id->end_offset == 0 && id->epoch == 0;
}

#define SNAPSHOT_PATH_MAX 4096
must_check int snapshot_path(const char *dir,
                             const struct snapshot_id *id,
                             const char *suffix,
                             char *ret,
                             size_t cap);

/* All snapshots, oldest first, mem_alloc'ed. Leftovers of a crash (.part, .deleted) are removed. A
 * name with an offset or an epoch that no log comes to is nobody's snapshot. */
must_check int
snapshot_list(struct fs *fs, const char *dir, struct snapshot_id **ret, size_t *ret_count);

/* Checks all of the file first (CRCs, header, footer, offsets), then gives every data record to
 * each(): a damaged snapshot (ERR_CORRUPT, ERR_TRUNCATED, ERR_MALFORMED) gives none. */
must_check int snapshot_read(struct fs *fs,
                             const char *dir,
                             const struct snapshot_id *id,
                             struct control_state *control,
                             int (*each)(void *ctx, struct view value),
                             void *ctx);

struct snapshot_writer {
    struct fs *fs;
    struct fs_file *file; /* a reference */
    const char *dir;      /* borrowed */
    struct snapshot_id id;
    int64_t now_ms;
    int64_t position;
    int64_t next_offset;
    struct batch_builder batch;
    size_t batch_bytes;
    bool has_batch;
};

enum snapshot_sync {
    SNAPSHOT_SYNCED,
    SNAPSHOT_UNSYNCED, /* the caller syncs the file system before anything relies on it */
};

/* vs: NULL for kraft.version 0; without voters in it no VotersRecord is written. */
must_check int snapshot_writer_open(struct snapshot_writer *sw,
                                    struct fs *fs,
                                    const char *dir,
                                    const struct snapshot_id *id,
                                    int64_t last_contained_timestamp,
                                    int64_t now_ms,
                                    const struct voters *vs);
must_check int snapshot_writer_add(struct snapshot_writer *sw, struct view value);
/* Ends and publishes it, or after a failure of any call (err < 0) removes it; releases the writer.
 * Returns err or what failed here. */
must_check int snapshot_writer_close(struct snapshot_writer *sw, enum snapshot_sync sync, int err);

#endif
