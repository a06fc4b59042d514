/*
 * A table of file calls, so that tests can crash the disk and fill it. Every file that the broker
 * stores is touched through here and nowhere else.
 *
 * Paths are absolute or relative to the working directory, NUL-terminated. All functions return 0
 * (or a count) or -errno. Short reads and writes are handled below the table: fs_pread returns the
 * bytes read (less only at end of file), fs_pwritev writes all or fails (how much was written then
 * is unknown; the caller truncates). EINTR never shows.
 * Any thread; one fs_file may be used by several threads (positions are explicit).
 */
#ifndef BASE_FS_H
#define BASE_FS_H

#include "base/base.h"

#include <stdatomic.h>
#include <sys/uio.h>

struct fs;
struct fs_whole;

/* An open file, refcounted: sendfile may still run on one that the cache has let go. */
struct fs_file {
    _Atomic uint32_t refs;
    struct fs *fs; /* borrowed */
    int fd;        /* the real descriptor, or -1 (simulated) */
};

enum fs_open_flags {
    FS_READ = 0,      /* always readable */
    FS_WRITE = 1,     /* and writable */
    FS_CREATE = 2,    /* made when absent, mode 0644 */
    FS_EXCLUSIVE = 4, /* with FS_CREATE: -EEXIST when present */
    FS_TRUNCATE = 8,
};

struct fs_stat {
    int64_t size;
    int64_t mtime_ms;
    bool is_dir;
};

struct fs_ops {
    int (*open)(struct fs *fs, const char *path, unsigned flags, struct fs_file **ret);
    void (*close)(struct fs *fs, struct fs_file *f);
    ssize_t (*pread)(struct fs_file *f, void *ret_bytes, size_t len, int64_t position);
    int (*pwritev)(struct fs_file *f, const struct iovec *iov, int count, int64_t position);
    int (*truncate)(struct fs_file *f, int64_t size);
    int (*allocate)(struct fs_file *f, int64_t size); /* reserve space, size grows with zeros */
    int (*datasync)(struct fs_file *f);
    int (*fsync)(struct fs_file *f);
    int (*size)(struct fs_file *f, int64_t *ret);
    int (*stat)(struct fs *fs, const char *path, struct fs_stat *ret);
    int (*rename)(struct fs *fs, const char *from, const char *to);
    int (*unlink)(struct fs *fs, const char *path);
    int (*mkdir)(struct fs *fs, const char *path); /* mode 0755; -EEXIST when present */
    int (*rmdir)(struct fs *fs, const char *path);
    int (*list)(struct fs *fs,
                const char *path,
                void (*each)(void *ctx, const char *name),
                void *ctx);                           /* without . and .. */
    int (*sync_dir)(struct fs *fs, const char *path); /* names in this directory are stable */
    /* The whole file system of this directory: syncfs, and whether it still takes changes. What has
     * failed once fails from then on. */
    int (*sync_all)(struct fs *fs, const char *path);
    int (*lock)(struct fs *fs,
                const char *path,
                struct fs_file **ret); /* makes and locks; -EWOULDBLOCK when held */
    int (*space)(struct fs *fs, const char *path, int64_t *ret_total, int64_t *ret_usable);
    /* True when [position, +len) can be read without waiting for a disk (mincore, RWF_NOWAIT). */
    bool (*is_cached)(struct fs_file *f, int64_t position, size_t len);
    int (*set_mtime)(struct fs *fs, const char *path, int64_t mtime_ms);
};

struct fs {
    const struct fs_ops *ops;
    _Atomic int spare; /* the machine's: a descriptor that is given up when a sync finds none left;
                          0: none */
    struct fs_whole *_Atomic whole; /* owned; the machine's: what is known of each file system */
};

/* The machine's file system. It opens files alone: -EISDIR for a directory, ERR_NOT_A_FILE for a
 * FIFO, a device or a socket (-ENXIO too), without waiting. */
void fs_init_system(struct fs *fs);
void fs_release_system(struct fs *fs);

must_check int fs_open(struct fs *fs, const char *path, unsigned flags, struct fs_file **ret);
struct fs_file *fs_file_ref(struct fs_file *f);
struct fs_file *
fs_file_unref(struct fs_file *f); /* takes NULL, returns NULL; the last one closes */
must_check ssize_t fs_pread(struct fs_file *f, void *ret_bytes, size_t len, int64_t position);
must_check int fs_pwritev(struct fs_file *f, const struct iovec *iov, int count, int64_t position);
must_check int fs_pwrite(struct fs_file *f, const void *bytes, size_t len, int64_t position);
must_check int fs_truncate(struct fs_file *f, int64_t size);
must_check int fs_allocate(struct fs_file *f, int64_t size);
must_check int fs_datasync(struct fs_file *f);
must_check int fs_fsync(struct fs_file *f);
must_check int fs_size(struct fs_file *f, int64_t *ret);
must_check int fs_stat(struct fs *fs, const char *path, struct fs_stat *ret);
must_check int fs_rename(struct fs *fs, const char *from, const char *to);
must_check int fs_unlink(struct fs *fs, const char *path);
must_check int fs_mkdir(struct fs *fs, const char *path);
must_check int fs_rmdir(struct fs *fs, const char *path);
must_check int
fs_list(struct fs *fs, const char *path, void (*each)(void *ctx, const char *name), void *ctx);
must_check int fs_sync_dir(struct fs *fs, const char *path);
must_check int fs_sync_all(struct fs *fs, const char *path);
must_check int fs_lock(struct fs *fs, const char *path, struct fs_file **ret);
must_check int fs_space(struct fs *fs, const char *path, int64_t *ret_total, int64_t *ret_usable);
bool fs_is_cached(struct fs_file *f, int64_t position, size_t len);
int fs_set_mtime(struct fs *fs, const char *path, int64_t mtime_ms);

/* What the kernel calls an open file, cut to fit, for a line of the log; "?" where it does not
 * tell. */
const char *fs_file_path(const struct fs_file *f, char *ret, size_t cap);

/* Whole small files (checkpoints). max bounds the read: -EFBIG beyond. The result is mem_alloc'ed,
 * NUL-terminated beyond its length. */
must_check int
fs_read_file(struct fs *fs, const char *path, size_t max, char **ret_bytes, size_t *ret_len);
/* Replaces path so that after a power cut it is the old or the new content, whole: temporary file
 * `path.tmp`, write, fsync, rename, fsync of the directory. */
must_check int fs_replace_file(struct fs *fs, const char *path, const void *bytes, size_t len);
/* Removes a directory and everything in it (one level of files and, where found, directories). */
must_check int fs_remove_tree(struct fs *fs, const char *path);

#endif
