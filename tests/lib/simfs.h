/*
 * A simulated disk behind base/fs.h, in memory, that can lose its power, fill up and fail.
 *
 * What is stable
 *   data    a file's pages (4 KiB) and size, by datasync or fsync of that file, or sync_all
 *   names   create, mkdir, rename, unlink, rmdir, by sync_dir of the directory that holds the name,
 *           or sync_all. fsync of a new file does not make its name stable. A rename from one
 *           directory to another is stable with the directory it goes to.
 *
 * Steps: each call that changes the disk or makes a change stable is counted, from 1: pwritev,
 * truncate, allocate, create (an open or a lock that makes the file), truncating open, rename,
 * unlink, mkdir, rmdir, datasync, fsync, sync_dir, sync_all. Two runs of one deterministic program
 * have the same steps.
 *
 * Two ways to enumerate crashes: simfs_crash_at(n) and one run for each n; or one run with on_step,
 * which clones the disk before each step (cheap: pages are shared) and tries all modes later.
 * In on_step: simfs_clone, and a note of what has been acknowledged so far. Of each clone later:
 * simfs_power_on, then the directory is opened with simfs_fs and compared with the note.
 *
 * Threads: the file calls of one simfs may come from several threads (one lock inside); clones may
 * be used on different threads. The other functions: while no call runs on it, except simfs_clone
 * in on_step. Paths: "a/b" and "/a/b" are the same; ".." is refused. No hard or symbolic links.
 */
#ifndef TESTS_LIB_SIMFS_H
#define TESTS_LIB_SIMFS_H

#include "base/fs.h"

struct clock;
struct simfs;

/* What is left of that which was not stable when the power comes back. */
enum simfs_mode {
    SIMFS_LOSE,       /* nothing */
    SIMFS_KEEP,       /* everything */
    SIMFS_LOSE_DATA,  /* all names; no data, but the sizes: zeros */
    SIMFS_LOSE_NAMES, /* all data; no names */
    SIMFS_PREFIX,  /* names: the first so many changes of each directory; data: any pages, any size
                      between the old and the new */
    SIMFS_REORDER, /* names: any of the changes; data: as above */
    SIMFS_TORN,    /* as REORDER, and pages are mixed of old and new sectors of 512 bytes */
};

enum {
    SIMFS_MODES = 7, /* count of the modes above */
};

enum simfs_op {
    SIMFS_OP_OPEN = 1 << 0, /* of an existing file */
    SIMFS_OP_CREATE = 1 << 1,
    SIMFS_OP_PREAD = 1 << 2,
    SIMFS_OP_PWRITEV = 1 << 3,
    SIMFS_OP_TRUNCATE = 1 << 4,
    SIMFS_OP_ALLOCATE = 1 << 5,
    SIMFS_OP_DATASYNC = 1 << 6,
    SIMFS_OP_FSYNC = 1 << 7,
    SIMFS_OP_RENAME = 1 << 8,
    SIMFS_OP_UNLINK = 1 << 9,
    SIMFS_OP_MKDIR = 1 << 10,
    SIMFS_OP_RMDIR = 1 << 11,
    SIMFS_OP_SYNC_DIR = 1 << 12,
    SIMFS_OP_SYNC_ALL = 1 << 13,
    SIMFS_OP_STAT = 1 << 14, /* stat, size, list, space */
};

#define SIMFS_SYNCS (SIMFS_OP_DATASYNC | SIMFS_OP_FSYNC | SIMFS_OP_SYNC_DIR | SIMFS_OP_SYNC_ALL)

/* `clock` (may be NULL) gives the times of files. */
struct simfs *simfs_new(struct clock *clock);
struct simfs *simfs_free(struct simfs *s); /* all files must be closed; takes NULL, returns NULL */
struct fs *simfs_fs(struct simfs *s);

/* The disk as it is now, stable and unstable state alike; without open files, locks, faults and
 * hooks. Steps are counted from 0 again. */
struct simfs *simfs_clone(struct simfs *s);

uint64_t simfs_steps(const struct simfs *s);
const char *simfs_op_name(enum simfs_op op);

/* Called before each step happens, outside the lock of the disk. */
void simfs_on_step(
    struct simfs *s,
    void (*before)(void *ctx, struct simfs *s, uint64_t step, enum simfs_op op, const char *path),
    void *ctx);

/* Step n does not happen, and from then on every call answers -EIO: the power is off. */
void simfs_crash_at(struct simfs *s, uint64_t n);
void simfs_power_off(struct simfs *s);
bool simfs_is_off(const struct simfs *s);

/* Power comes back: the disk holds what was stable and, by mode and seed, some of the rest; all of
 * it is stable now. Files open before answer -EIO (close them); locks and faults are gone; steps
 * count from 0. */
void simfs_power_on(struct simfs *s, uint64_t seed, enum simfs_mode mode);
/* The process dies, the kernel lives (kill -9): nothing is lost, nothing becomes stable. */
void simfs_kill(struct simfs *s);

/* The nth call from now (1: the next) among `ops` (a mask of enum simfs_op) answers err (-ENOSPC,
 * -EIO, -EMFILE, ...), and so do the count - 1 after it; count 0: all after it. Steps that fail
 * count as steps. A pwritev that fails has written the first half of its bytes; nothing else has an
 * effect. One such rule at a time; ops 0 removes it. */
void simfs_fail(struct simfs *s, unsigned ops, uint64_t nth, uint64_t count, int err);
/* When a sync fails, the dirty pages that it should have written are marked clean: they still
 * read as written, no later sync makes them stable (as Linux does). */
void simfs_set_fsyncgate(struct simfs *s, bool is_on);
/* Bytes that files may take, in whole pages, holes not counted; 0: no limit. A write that does not
 * fit is cut at the last page that does, and answers -ENOSPC. */
void simfs_set_capacity(struct simfs *s, int64_t bytes);
int64_t simfs_used(const struct simfs *s);

/* Damage: overwrites stable and current bytes alike, behind everybody's back. No step. */
must_check int
simfs_corrupt(struct simfs *s, const char *path, int64_t position, const void *bytes, size_t len);

#endif
