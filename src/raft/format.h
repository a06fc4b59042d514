/*
 * Formatting data directories, as `kafka-storage format` leaves them:
 *
 *   every log directory          meta.properties (version=1, cluster.id, node.id, directory.id)
 *   the metadata log directory   __cluster_metadata-0/00000000000000000000-0000000000.checkpoint:
 * header; with dynamic voters KRaftVersion 1 and Voters; the records that begin the cluster; footer
 *
 * quorum-state and the log itself come with the first start. meta.properties comes last: a
 * directory that has it is formatted. A directory that has none, but for a metadata directory and
 * the lock file, is one whose formatting was interrupted, and is formatted again; anything else
 * found there is somebody's data and is refused.
 *
 * Syncs one after another: format_directories one of the file system and two for each
 * meta.properties. A first start calls format_write, opens and leads the log, flushes it (one sync
 * of the file system covers all of it), and then format_finish.
 *
 * Thread: any; blocking. Kafka: Formatter.
 */
#ifndef RAFT_FORMAT_H
#define RAFT_FORMAT_H

#include "base/base.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/str.h"
#include "base/uuid.h"
#include "raft/voters.h"

#define FORMAT_DIRS_MAX 64

/* The endpoint of the first voter where the configuration has no controller listener. */
#define FORMAT_CONTROLLER_LISTENER "CONTROLLER"
#define FORMAT_CONTROLLER_HOST     "localhost"
#define FORMAT_CONTROLLER_PORT     9093

enum format_state {
    FORMAT_FORMATTED, /* has meta.properties */
    FORMAT_EMPTY,     /* nothing is there, or no directory at all */
    FORMAT_INTERRUPTED,
    FORMAT_FOREIGN, /* files, but no meta.properties */
};
must_check int format_inspect(struct fs *fs, const char *dir, enum format_state *ret);

struct format_options {
    const char *const *dirs; /* to be formatted; made when absent */
    size_t dirs_count;
    const char *metadata_dir; /* one of them; NULL: the metadata directory is not among them */
    struct str cluster_id;
    int32_t node_id;
    bool is_dynamic; /* kraft.version 1; otherwise static voters of the configuration */
    struct voter_endpoint endpoint; /* dynamic: of this node, the first voter */
    const struct view *records;     /* for the bootstrap snapshot */
    size_t records_count;
};

struct format_result {
    struct uuid directory_ids[FORMAT_DIRS_MAX]; /* by place in dirs */
};

/* Everything but meta.properties, not yet on stable storage. */
must_check int format_write(struct fs *fs,
                            struct clock *clock,
                            const struct format_options *o,
                            struct format_result *ret);
/* meta.properties, after what was written is on stable storage. */
must_check int format_finish(struct fs *fs,
                             struct clock *clock,
                             const struct format_options *o,
                             const struct format_result *res);
/* Both, with the sync between them. */
must_check int format_directories(struct fs *fs,
                                  struct clock *clock,
                                  const struct format_options *o,
                                  struct format_result *ret);

#endif
