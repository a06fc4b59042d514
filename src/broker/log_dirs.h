/*
 * All directories of log.dirs of one broker: opened at start, each with its lock and identity; a
 * directory that fails goes offline and the others serve.
 */
#ifndef BROKER_LOG_DIRS_H
#define BROKER_LOG_DIRS_H

#include "base/base.h"
#include "base/mem.h"
#include "storage/log_dir.h"

struct broker;
struct image;
struct log_dirs;
struct plog;

struct log_dir_entry {
    struct log_dir *ld; /* owned; NULL: could not be opened */
    const char *path;
    struct uuid directory_id; /* when has_id: its meta.properties could be read */
    bool has_id;
    size_t partitions; /* placed here */
    _Atomic bool is_offline;
    _Atomic bool is_cordoned; /* it gets no new partitions while another one is not */
};

/* Opens all directories; formats nothing. ret_error: one line for a person. */
must_check int
log_dirs_open(struct broker *br, struct log_dirs **ret, char *ret_error, size_t error_cap);
struct log_dirs *log_dirs_close(struct log_dirs *lds, bool is_clean);
void log_dirs_entries(struct log_dirs *lds, struct log_dir_entry **ret, size_t *ret_count);
/* Where the files of this partition lie, or where new ones go: where the metadata says that they
 * are (`wanted`; NULL: it does not know directories), else where they are found, else the entry
 * with the fewest. NULL: nowhere; or one of the directories is offline, and the files may lie in
 * it. */
struct log_dir_entry *log_dirs_find(struct log_dirs *lds,
                                    struct str topic,
                                    int32_t partition,
                                    const struct uuid *wanted,
                                    bool *ret_exists);
/* A partition's files are no longer in this directory. */
void log_dirs_leave(struct log_dirs *lds, const struct log_dir *ld);
/* What lies under this partition's name in the directory belongs to another topic: it becomes
 * `-stray`. */
must_check int log_dirs_set_aside(struct log_dirs *lds,
                                  const struct log_dir_entry *dir,
                                  struct str topic,
                                  int32_t partition);
/* Directories of partitions that the image does not know become `-stray`; `-delete` ones are
 * removed. */
void log_dirs_sweep(struct log_dirs *lds, const struct image *im);
/* A sync of this directory has failed: what the kernel still held of it may be gone, and a later
 * sync would not tell. It goes offline, with a line in the log; the caller takes its logs offline
 * too. NULL: it was offline already. Any thread. */
const struct log_dir_entry *log_dirs_fail(struct log_dirs *lds, const struct log_dir *ld, int err);
/* cordoned.log.dirs: paths separated by commas, or "*". Blocks nobody; any thread. */
void log_dirs_cordon(struct log_dirs *lds, struct str paths);
/* The ids of directories that are online, of all or of the cordoned ones, in the order in which
 * Kafka registers them; in the arena. */
int32_t
log_dirs_ids(struct log_dirs *lds, bool is_cordoned_only, struct arena *arena, struct uuid **ret);
/* The log starts alone, of what was forgotten. Blocking. */
void log_dirs_save_starts(struct log_dirs *lds);

#endif
