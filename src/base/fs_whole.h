/*
 * Syncs of whole file systems, behind fs_sync_all of the machine (fs_system.c).
 *
 * syncfs covers many files with one call, and tells less than their own syncs would:
 * - Where a file system has given up (ext4's journal has aborted, XFS has shut down), what waited
 *   for room on the disk is dropped, and no error is noted where syncfs looks. It returns 0 (seen
 *   on ext4 of Linux 6.18). Such a file system refuses changes from then on: so one is tried
 *   behind each sync, the length of a file without a name. That costs no sync.
 * - An error is told once for each descriptor. Syncs of one file system therefore follow each
 *   other, on a descriptor that is kept (later ones need none), and what has failed once fails
 *   from then on: what was lost may belong to whoever asks next.
 *
 * Threads: any.
 */
#ifndef BASE_FS_WHOLE_H
#define BASE_FS_WHOLE_H

#include "base/base.h"

struct fs;
struct fs_whole;

/* `open_dir` opens a path with these flags of open(2): a descriptor or -errno. */
struct fs_whole *fs_whole_new(struct fs *fs,
                              int (*open_dir)(struct fs *fs, const char *path, int flags));
struct fs_whole *fs_whole_free(struct fs_whole *fw); /* takes NULL, returns NULL */

/* Everything written to the file system of this directory before the call is on stable storage. */
must_check int fs_whole_sync(struct fs_whole *fw, const char *path);

#endif
