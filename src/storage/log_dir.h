/*
 * One directory of log.dirs: its lock, meta.properties, checkpoints and clean-shutdown marker, and
 * the partition directories found in it. Kafka's LogManager, MetaProperties, OffsetCheckpointFile.
 *
 *   .lock                              flock for the life of the process
 *   meta.properties                    version=1, cluster.id, node.id, directory.id
 *   recovery-point-offset-checkpoint   "0\n<count>\n<topic> <partition> <offset>\n..."
 *   log-start-offset-checkpoint        only logs whose start is beyond their first segment's base
 *   replication-offset-checkpoint      high watermarks
 *   cleaner-offset-checkpoint
 *   .kafka_cleanshutdown               {"version":0,"brokerEpoch":N}; removed (and the directory
 *                                      synced) before the first append
 *
 * Side files that cannot be read are ignored with one log line of the caller (`damaged`); stale
 * values are safe.
 * Thread: one owner at start and stop; log_dir_checkpoint on a background thread.
 */
#ifndef STORAGE_LOG_DIR_H
#define STORAGE_LOG_DIR_H

#include "base/base.h"
#include "base/hmap.h"
#include "storage/plog.h"

struct meta_properties {
    char cluster_id[64];
    struct uuid directory_id;
    int32_t node_id;
};

/* ERR_NOT_FORMATTED: no such file. ERR_MALFORMED: cannot be read. */
must_check int meta_properties_read(struct fs *fs, const char *dir, struct meta_properties *ret);
must_check int meta_properties_write(struct fs *fs,
                                     const char *dir,
                                     const struct meta_properties *mp,
                                     int64_t now_ms);

struct checkpoint_entry {
    struct str topic; /* in the arena */
    int32_t partition;
    int64_t offset;
};

/* Reads "0\n<count>\n..." ; ERR_MALFORMED when damaged; a missing file is no entries. Never
 * preallocates from the count. */
must_check int checkpoint_read(struct fs *fs,
                               const char *path,
                               struct arena *arena,
                               struct checkpoint_entry **ret,
                               size_t *ret_count);
must_check int checkpoint_write(struct fs *fs,
                                const char *path,
                                const struct checkpoint_entry *entries,
                                size_t count);

struct log_dir_found {
    struct str topic; /* in the arena of log_dir_scan */
    int32_t partition;
    bool is_deleted;        /* "-delete": to be removed */
    bool is_future;         /* "-future" */
    bool is_stray;          /* "-stray" */
    struct str name;        /* of the directory */
    int64_t recovery_point; /* from the checkpoints; 0 */
    int64_t log_start;
    int64_t high_watermark;
};

struct log_dir; /* path, lock, clean flag */

/* Takes the lock (-EWOULDBLOCK: another process has it), reads the checkpoints and the clean
 * marker. */
must_check int log_dir_open(struct plog_env *env, const char *path, struct log_dir **ret);
/* Partition directories found, with their checkpoints; __cluster_metadata-0 is left out. */
must_check int log_dir_scan(struct log_dir *ld,
                            struct arena *arena,
                            struct log_dir_found **ret,
                            size_t *ret_count);
/* The checkpointed values of one partition (zeros when unknown). */
void log_dir_lookup(struct log_dir *ld, struct str topic, int32_t partition, struct plog_open *ret);
bool log_dir_was_clean(const struct log_dir *ld);
int64_t log_dir_previous_broker_epoch(const struct log_dir *ld); /* -1: unknown (unclean) */
size_t log_dir_damaged(const struct log_dir *ld,
                       struct str *ret_names,
                       size_t max); /* side files that could not be read */
/* Removes the clean marker durably; before the first append. */
must_check int log_dir_begin(struct log_dir *ld);

/* The partition is deleted (or was never there): its checkpointed values go. True when they must go
 * from the disk, too, because a log of the same name would begin at the old one's start:
 * log_dir_save_starts, before there is one. */
bool log_dir_forget(struct log_dir *ld, struct str topic, int32_t partition);
/* Writes the checkpoint of log starts alone. Blocking. */
must_check int log_dir_save_starts(struct log_dir *ld);
/* The same with these starts, where the logs are about to begin. After a failure the old ones hold.
 */
must_check int log_dir_note_starts(struct log_dir *ld,
                                   struct plog *const *logs,
                                   const int64_t *starts,
                                   size_t count);

/* Writes the three checkpoints for these logs: plog_checkpoint of each that changed, then the
 * files. Partitions that are not given keep their values until they are forgotten. One thread at a
 * time. */
must_check int log_dir_checkpoint(struct log_dir *ld, struct plog *const *logs, size_t count);
/* plog_close, and its last values for the checkpoints of log_dir_close. */
must_check int log_dir_close_plog(struct log_dir *ld, struct plog *pl, bool is_clean);
/* A log of this directory could not be opened: nobody can say that it is as it was left, so no
 * clean marker. */
void log_dir_doubt(struct log_dir *ld);
/* A clean stop: all logs are closed; syncs the file system once for all their side files, then
 * writes checkpoints and the marker. Frees ld. */
must_check int log_dir_close(struct log_dir *ld, bool is_clean, int64_t broker_epoch);

#endif
