/*
 * The file calls of the simulated disk, its steps, faults and power; see simfs.h. The state of the
 * disk and what a crash leaves of it are in simfs_disk.c.
 *
 * Each call enters through begin(), which counts the step, asks the fault rule and takes the lock,
 * and leaves through end().
 */
#include "simfs.h"

#include "base/base.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/sync.h"
#include "simfs_disk.h"

struct simfs {
    struct fs fs; /* first: what the tested code gets */
    struct lock lock;
    struct disk disk;
    struct clock *clock; /* borrowed, or NULL */
    uint64_t steps;
    uint64_t crash_at; /* 0: never */
    bool is_off;
    uint32_t generation; /* raised when open files end */
    unsigned fail_ops;
    uint64_t fail_after; /* calls that still pass */
    uint64_t fail_count; /* then so many fail */
    int fail_err;
    bool is_fsyncgate;
    void (*before)(void *ctx, struct simfs *s, uint64_t step, enum simfs_op op, const char *path);
    void *ctx;
};

struct handle {
    struct fs_file file;
    struct inode *inode; /* a reference */
    uint32_t generation;
    bool can_write;
    bool has_lock;
    char path[];
};

enum {
    STEPS = SIMFS_OP_CREATE | SIMFS_OP_PWRITEV | SIMFS_OP_TRUNCATE | SIMFS_OP_ALLOCATE |
            SIMFS_OP_DATASYNC | SIMFS_OP_FSYNC | SIMFS_OP_RENAME | SIMFS_OP_UNLINK |
            SIMFS_OP_MKDIR | SIMFS_OP_RMDIR | SIMFS_OP_SYNC_DIR | SIMFS_OP_SYNC_ALL,
    FILE_SIZE_MAX = 1 << 30,
};

static struct simfs *simfs_of(struct fs *fs)
{
    return container_of(fs, struct simfs, fs);
}

static struct handle *handle_of(struct fs_file *f)
{
    return container_of(f, struct handle, file);
}

const char *simfs_op_name(enum simfs_op op)
{
    switch (op) {
    case SIMFS_OP_OPEN:
        return "open";
    case SIMFS_OP_CREATE:
        return "create";
    case SIMFS_OP_PREAD:
        return "pread";
    case SIMFS_OP_PWRITEV:
        return "pwritev";
    case SIMFS_OP_TRUNCATE:
        return "truncate";
    case SIMFS_OP_ALLOCATE:
        return "allocate";
    case SIMFS_OP_DATASYNC:
        return "datasync";
    case SIMFS_OP_FSYNC:
        return "fsync";
    case SIMFS_OP_RENAME:
        return "rename";
    case SIMFS_OP_UNLINK:
        return "unlink";
    case SIMFS_OP_MKDIR:
        return "mkdir";
    case SIMFS_OP_RMDIR:
        return "rmdir";
    case SIMFS_OP_SYNC_DIR:
        return "sync_dir";
    case SIMFS_OP_SYNC_ALL:
        return "sync_all";
    case SIMFS_OP_STAT:
        return "stat";
    }
    return "?";
}

/* Leaves with the lock taken, whatever it answers. -EIO without power; the error of the fault rule
 * when it applies; else 0. */
static int begin(struct simfs *s, enum simfs_op op, const char *path)
{
    bool is_step = ((unsigned)op & STEPS) != 0;
    if (is_step && s->before != NULL && !s->is_off) {
        s->before(s->ctx, s, s->steps + 1, op, path);
    }
    lock_take(&s->lock);
    if (s->is_off) {
        return -EIO;
    }
    if (is_step) {
        if (s->crash_at != 0 && s->steps + 1 >= s->crash_at) {
            s->is_off = true;
            return -EIO;
        }
        s->steps++;
    }
    if ((s->fail_ops & (unsigned)op) == 0) {
        return 0;
    }
    if (s->fail_after > 0) {
        s->fail_after--;
        return 0;
    }
    if (s->fail_count == 0) {
        s->fail_ops = 0;
        return 0;
    }
    s->fail_count--;
    return s->fail_err;
}

static int end(struct simfs *s, int result)
{
    lock_give(&s->lock);
    return result;
}

static int begin_file(struct handle *h, enum simfs_op op)
{
    struct simfs *s = simfs_of(h->file.fs);
    int err = begin(s, op, h->path);
    return h->generation != s->generation ? -EIO : err;
}

static void touch(struct simfs *s, struct inode *ino)
{
    ino->mtime_ms = s->clock == NULL ? 0 : clock_now_ms(s->clock);
}

static struct fs_file *make_handle(struct simfs *s, const char *path, struct inode *ino)
{
    size_t len = strlen(path);
    struct handle *h = mem_alloc(sizeof(*h) + len + 1);
    atomic_init(&h->file.refs, 1);
    h->file.fs = &s->fs;
    h->file.fd = -1;
    h->inode = inode_ref(ino);
    inode_use(&s->disk, ino);
    h->generation = s->generation;
    h->can_write = false;
    h->has_lock = false;
    memcpy(h->path, path, len + 1);
    return &h->file;
}

/* What an open of this path would be, so that the right step is counted. */
static enum simfs_op op_of_open(struct simfs *s, const char *path, unsigned flags)
{
    struct inode *dir;
    struct name *nm;
    char text[DISK_NAME_MAX + 1];
    lock_take(&s->lock);
    int err = disk_walk(&s->disk, path, &dir, text, &nm);
    enum simfs_op op = SIMFS_OP_OPEN;
    if (err >= 0 && nm == NULL && text[0] != '\0' && (flags & FS_CREATE) != 0) {
        op = SIMFS_OP_CREATE;
    } else if (err >= 0 && nm != NULL && (flags & FS_TRUNCATE) != 0 && nm->inode->size > 0) {
        op = SIMFS_OP_TRUNCATE;
    }
    lock_give(&s->lock);
    return op;
}

static int open_locked(struct simfs *s, const char *path, unsigned flags, struct fs_file **ret)
{
    struct inode *dir;
    struct name *nm;
    char text[DISK_NAME_MAX + 1];
    int err = disk_walk(&s->disk, path, &dir, text, &nm);
    if (err < 0) {
        return err;
    }
    struct inode *ino = nm != NULL ? nm->inode : text[0] == '\0' ? s->disk.root : NULL;
    if (ino != NULL && (flags & FS_CREATE) != 0 && (flags & FS_EXCLUSIVE) != 0) {
        return -EEXIST;
    }
    if (ino != NULL && ino->is_dir && (flags & FS_WRITE) != 0) {
        return -EISDIR;
    }
    if (ino == NULL) {
        if ((flags & FS_CREATE) == 0) {
            return -ENOENT;
        }
        ino = inode_new(&s->disk, false);
        touch(s, ino);
        disk_link(&s->disk, dir, text, ino);
        inode_unref(&s->disk, ino); /* the names and the handle keep it */
    } else if ((flags & FS_TRUNCATE) != 0 && !ino->is_dir && ino->size > 0) {
        inode_truncate(&s->disk, ino, 0);
        touch(s, ino);
    }
    *ret = make_handle(s, path, ino);
    handle_of(*ret)->can_write = (flags & FS_WRITE) != 0;
    return 0;
}

static int sim_open(struct fs *fs, const char *path, unsigned flags, struct fs_file **ret)
{
    struct simfs *s = simfs_of(fs);
    int err = begin(s, op_of_open(s, path, flags), path);
    return end(s, err < 0 ? err : open_locked(s, path, flags, ret));
}

static void sim_close(struct fs *fs, struct fs_file *f)
{
    struct simfs *s = simfs_of(fs);
    struct handle *h = handle_of(f);
    lock_take(&s->lock);
    if (h->has_lock && h->generation == s->generation) {
        h->inode->is_locked = false;
    }
    inode_disuse(&s->disk, h->inode);
    inode_unref(&s->disk, h->inode);
    lock_give(&s->lock);
    mem_free(h);
}

static ssize_t sim_pread(struct fs_file *f, void *ret_bytes, size_t len, int64_t position)
{
    struct handle *h = handle_of(f);
    struct simfs *s = simfs_of(f->fs);
    ssize_t n = begin_file(h, SIMFS_OP_PREAD);
    if (n >= 0) {
        n = h->inode->is_dir ? -EISDIR
            : position < 0   ? -EINVAL
                             : (ssize_t)inode_read(h->inode, ret_bytes, len, position);
    }
    lock_give(&s->lock);
    return n;
}

static int write_locked(struct simfs *s,
                        struct handle *h,
                        const struct iovec *iov,
                        int count,
                        int64_t position,
                        size_t max)
{
    for (int i = 0; i < count && max > 0; i++) {
        size_t n = min_size(iov[i].iov_len, max);
        int err = inode_write(&s->disk, h->inode, iov[i].iov_base, n, position);
        if (err < 0) {
            return err;
        }
        position += to_i64(n);
        max -= n;
    }
    return 0;
}

static int sim_pwritev(struct fs_file *f, const struct iovec *iov, int count, int64_t position)
{
    struct handle *h = handle_of(f);
    struct simfs *s = simfs_of(f->fs);
    int err = begin_file(h, SIMFS_OP_PWRITEV);
    size_t bytes = 0;
    for (int i = 0; i < count; i++) {
        bytes += iov[i].iov_len;
    }
    if (s->is_off || h->generation != s->generation) {
        return end(s, -EIO);
    }
    if (!h->can_write) {
        return end(s, -EBADF);
    }
    if (position < 0 || bytes > FILE_SIZE_MAX || position > FILE_SIZE_MAX - to_i64(bytes)) {
        return end(s, -EFBIG);
    }
    touch(s, h->inode);
    if (err < 0) {
        IGNORE(write_locked(s, h, iov, count, position, bytes / 2)); /* err is told */
        return end(s, err);
    }
    return end(s, write_locked(s, h, iov, count, position, bytes));
}

static int sim_truncate(struct fs_file *f, int64_t size)
{
    struct handle *h = handle_of(f);
    struct simfs *s = simfs_of(f->fs);
    int err = begin_file(h, SIMFS_OP_TRUNCATE);
    if (err >= 0) {
        err = !h->can_write ? -EBADF : size < 0 ? -EINVAL : size > FILE_SIZE_MAX ? -EFBIG : 0;
    }
    if (err >= 0) {
        inode_truncate(&s->disk, h->inode, size);
        touch(s, h->inode);
    }
    return end(s, err);
}

static int sim_allocate(struct fs_file *f, int64_t size)
{
    struct handle *h = handle_of(f);
    struct simfs *s = simfs_of(f->fs);
    int err = begin_file(h, SIMFS_OP_ALLOCATE);
    if (err >= 0) {
        err = !h->can_write ? -EBADF : size < 0 ? -EINVAL : size > FILE_SIZE_MAX ? -EFBIG : 0;
    }
    return end(s, err < 0 ? err : inode_allocate(&s->disk, h->inode, size));
}

static int sync_file(struct fs_file *f, enum simfs_op op)
{
    struct handle *h = handle_of(f);
    struct simfs *s = simfs_of(f->fs);
    int err = begin_file(h, op);
    if (err >= 0) {
        inode_sync(h->inode);
    } else if (s->is_fsyncgate && !s->is_off) {
        inode_forget_dirty(h->inode);
    }
    return end(s, err);
}

static int sim_datasync(struct fs_file *f)
{
    return sync_file(f, SIMFS_OP_DATASYNC);
}

static int sim_fsync(struct fs_file *f)
{
    return sync_file(f, SIMFS_OP_FSYNC);
}

static int sim_size(struct fs_file *f, int64_t *ret)
{
    struct handle *h = handle_of(f);
    int err = begin_file(h, SIMFS_OP_STAT);
    if (err >= 0) {
        *ret = h->inode->size;
    }
    return end(simfs_of(f->fs), err);
}

/* The inode of an existing path. */
static int find(struct simfs *s, const char *path, struct inode **ret, struct name **ret_name)
{
    struct inode *dir;
    struct name *nm;
    char text[DISK_NAME_MAX + 1];
    int err = disk_walk(&s->disk, path, &dir, text, &nm);
    if (err < 0) {
        return err;
    }
    if (nm == NULL && text[0] != '\0') {
        return -ENOENT;
    }
    *ret = nm == NULL ? s->disk.root : nm->inode;
    *ret_name = nm;
    return 0;
}

static int sim_stat(struct fs *fs, const char *path, struct fs_stat *ret)
{
    struct simfs *s = simfs_of(fs);
    struct inode *ino;
    struct name *nm;
    int err = begin(s, SIMFS_OP_STAT, path);
    if (err >= 0) {
        err = find(s, path, &ino, &nm);
    }
    if (err >= 0) {
        *ret =
            (struct fs_stat){.size = ino->size, .mtime_ms = ino->mtime_ms, .is_dir = ino->is_dir};
    }
    return end(s, err);
}

/* True when `dir` is `ino` or lies below it. */
static bool is_below(struct disk *d, struct inode *dir, struct inode *ino)
{
    while (dir != ino && dir != d->root) {
        struct inode *parent = NULL;
        list_foreach (node, &d->inodes) {
            struct inode *at = list_entry(node, struct inode, node);
            list_foreach (child, &at->live) {
                parent = list_entry(child, struct name, node)->inode == dir ? at : parent;
            }
        }
        check(parent != NULL);
        dir = parent;
    }
    return dir == ino;
}

static int rename_locked(struct simfs *s, const char *from, const char *to)
{
    struct inode *ino;
    struct name *nm;
    struct inode *dir;
    struct name *there;
    char text[DISK_NAME_MAX + 1];
    int err = find(s, from, &ino, &nm);
    if (err < 0) {
        return err;
    }
    err = disk_walk(&s->disk, to, &dir, text, &there);
    if (err < 0) {
        return err;
    }
    if (nm == NULL || text[0] == '\0') {
        return -EBUSY; /* the root */
    }
    if (there != NULL && there->inode == ino) {
        return 0;
    }
    if (ino->is_dir && is_below(&s->disk, dir, ino)) {
        return -EINVAL;
    }
    if (there != NULL && there->inode->is_dir != ino->is_dir) {
        return ino->is_dir ? -ENOTDIR : -EISDIR;
    }
    if (there != NULL && !list_is_empty(&there->inode->live)) {
        return -ENOTEMPTY;
    }
    disk_rename(&s->disk, nm, dir, text);
    return 0;
}

static int sim_rename(struct fs *fs, const char *from, const char *to)
{
    struct simfs *s = simfs_of(fs);
    int err = begin(s, SIMFS_OP_RENAME, to);
    return end(s, err < 0 ? err : rename_locked(s, from, to));
}

static int sim_unlink(struct fs *fs, const char *path)
{
    struct simfs *s = simfs_of(fs);
    struct inode *ino;
    struct name *nm;
    int err = begin(s, SIMFS_OP_UNLINK, path);
    if (err >= 0) {
        err = find(s, path, &ino, &nm);
    }
    if (err >= 0) {
        err = ino->is_dir ? -EISDIR : 0;
    }
    if (err >= 0) {
        disk_unlink(&s->disk, nm);
    }
    return end(s, err);
}

static int mkdir_locked(struct simfs *s, const char *path)
{
    struct inode *dir;
    struct name *nm;
    char text[DISK_NAME_MAX + 1];
    int err = disk_walk(&s->disk, path, &dir, text, &nm);
    if (err < 0) {
        return err;
    }
    if (nm != NULL || text[0] == '\0') {
        return -EEXIST;
    }
    struct inode *ino = inode_new(&s->disk, true);
    touch(s, ino);
    disk_link(&s->disk, dir, text, ino);
    inode_unref(&s->disk, ino);
    return 0;
}

static int sim_mkdir(struct fs *fs, const char *path)
{
    struct simfs *s = simfs_of(fs);
    int err = begin(s, SIMFS_OP_MKDIR, path);
    return end(s, err < 0 ? err : mkdir_locked(s, path));
}

static int sim_rmdir(struct fs *fs, const char *path)
{
    struct simfs *s = simfs_of(fs);
    struct inode *ino;
    struct name *nm;
    int err = begin(s, SIMFS_OP_RMDIR, path);
    if (err >= 0) {
        err = find(s, path, &ino, &nm);
    }
    if (err >= 0) {
        err = !ino->is_dir                 ? -ENOTDIR
              : nm == NULL                 ? -EBUSY
              : !list_is_empty(&ino->live) ? -ENOTEMPTY
                                           : 0;
    }
    if (err >= 0) {
        disk_unlink(&s->disk, nm);
    }
    return end(s, err);
}

/* The names are copied out, since `each` may make calls of its own. */
static int
sim_list(struct fs *fs, const char *path, void (*each)(void *ctx, const char *name), void *ctx)
{
    struct simfs *s = simfs_of(fs);
    struct inode *ino;
    struct name *at;
    char **names = NULL;
    size_t count = 0;
    size_t cap = 0;
    int err = begin(s, SIMFS_OP_STAT, path);
    if (err >= 0) {
        err = find(s, path, &ino, &at);
    }
    if (err >= 0 && !ino->is_dir) {
        err = -ENOTDIR;
    }
    if (err >= 0) {
        list_foreach (node, &ino->live) {
            struct name *nm = list_entry(node, struct name, node);
            names = mem_grow(names, &cap, count + 1, sizeof(names[0]));
            names[count++] = mem_strdup(nm->text);
        }
    }
    err = end(s, err);
    for (size_t i = 0; i < count; i++) {
        each(ctx, names[i]);
        mem_free(names[i]);
    }
    mem_free(names);
    return err;
}

static int sim_sync_dir(struct fs *fs, const char *path)
{
    struct simfs *s = simfs_of(fs);
    struct inode *ino;
    struct name *nm;
    int err = begin(s, SIMFS_OP_SYNC_DIR, path);
    if (err >= 0) {
        err = find(s, path, &ino, &nm);
    }
    if (err >= 0) {
        err = ino->is_dir ? 0 : -ENOTDIR;
    }
    if (err >= 0) {
        disk_sync_dir(&s->disk, ino);
    }
    return end(s, err);
}

static int sim_sync_all(struct fs *fs, const char *path)
{
    struct simfs *s = simfs_of(fs);
    struct inode *ino;
    struct name *nm;
    int err = begin(s, SIMFS_OP_SYNC_ALL, path);
    if (err < 0) {
        if (s->is_fsyncgate && !s->is_off) {
            list_foreach (node, &s->disk.inodes) {
                inode_forget_dirty(list_entry(node, struct inode, node));
            }
        }
        return end(s, err);
    }
    err = find(s, path, &ino, &nm);
    if (err >= 0) {
        disk_sync_all(&s->disk);
    }
    return end(s, err);
}

static int lock_locked(struct simfs *s, const char *path, struct fs_file **ret)
{
    int err = open_locked(s, path, FS_WRITE | FS_CREATE, ret);
    if (err < 0) {
        return err;
    }
    struct handle *h = handle_of(*ret);
    if (h->inode->is_locked) {
        inode_disuse(&s->disk, h->inode);
        inode_unref(&s->disk, h->inode);
        mem_free(h);
        *ret = NULL;
        return -EWOULDBLOCK;
    }
    h->inode->is_locked = true;
    h->has_lock = true;
    return 0;
}

static int sim_lock(struct fs *fs, const char *path, struct fs_file **ret)
{
    struct simfs *s = simfs_of(fs);
    struct fs_file *f = NULL;
    int err = begin(s, op_of_open(s, path, FS_WRITE | FS_CREATE), path);
    err = end(s, err < 0 ? err : lock_locked(s, path, &f));
    if (err >= 0) {
        *ret = f;
    }
    return err;
}

static int sim_space(struct fs *fs, const char *path, int64_t *ret_total, int64_t *ret_usable)
{
    struct simfs *s = simfs_of(fs);
    int err = begin(s, SIMFS_OP_STAT, path);
    if (err >= 0) {
        int64_t total = s->disk.capacity_pages == 0 ? INT64_C(1) << 28 : s->disk.capacity_pages;
        *ret_total = total * DISK_PAGE_BYTES;
        *ret_usable = max_i64(0, total - s->disk.used_pages) * DISK_PAGE_BYTES;
    }
    return end(s, err);
}

static bool sim_is_cached(struct fs_file *f, int64_t position, size_t len)
{
    (void)f;
    (void)position;
    (void)len;
    return true;
}

static int sim_set_mtime(struct fs *fs, const char *path, int64_t mtime_ms)
{
    struct simfs *s = simfs_of(fs);
    struct inode *ino;
    struct name *nm;
    int err = begin(s, SIMFS_OP_STAT, path);
    if (err >= 0) {
        err = find(s, path, &ino, &nm);
    }
    if (err >= 0) {
        ino->mtime_ms = mtime_ms;
    }
    return end(s, err);
}

static const struct fs_ops sim_ops = {
    .open = sim_open,
    .close = sim_close,
    .pread = sim_pread,
    .pwritev = sim_pwritev,
    .truncate = sim_truncate,
    .allocate = sim_allocate,
    .datasync = sim_datasync,
    .fsync = sim_fsync,
    .size = sim_size,
    .stat = sim_stat,
    .rename = sim_rename,
    .unlink = sim_unlink,
    .mkdir = sim_mkdir,
    .rmdir = sim_rmdir,
    .list = sim_list,
    .sync_dir = sim_sync_dir,
    .sync_all = sim_sync_all,
    .lock = sim_lock,
    .space = sim_space,
    .is_cached = sim_is_cached,
    .set_mtime = sim_set_mtime,
};

static struct simfs *make(struct clock *clock)
{
    struct simfs *s = mem_zalloc(sizeof(*s));
    s->fs.ops = &sim_ops;
    s->clock = clock;
    lock_init(&s->lock, LOCK_LEAF);
    return s;
}

struct simfs *simfs_new(struct clock *clock)
{
    struct simfs *s = make(clock);
    disk_init(&s->disk);
    return s;
}

struct simfs *simfs_free(struct simfs *s)
{
    if (s != NULL) {
        disk_release(&s->disk);
        lock_release(&s->lock);
        mem_free(s);
    }
    return NULL;
}

struct fs *simfs_fs(struct simfs *s)
{
    return &s->fs;
}

struct simfs *simfs_clone(struct simfs *s)
{
    struct simfs *to = make(s->clock);
    lock_take(&s->lock);
    disk_copy(&to->disk, &s->disk);
    to->is_fsyncgate = s->is_fsyncgate;
    lock_give(&s->lock);
    return to;
}

uint64_t simfs_steps(const struct simfs *s)
{
    return s->steps;
}

void simfs_on_step(
    struct simfs *s,
    void (*before)(void *ctx, struct simfs *s, uint64_t step, enum simfs_op op, const char *path),
    void *ctx)
{
    s->before = before;
    s->ctx = ctx;
}

void simfs_crash_at(struct simfs *s, uint64_t n)
{
    s->crash_at = n;
}

void simfs_power_off(struct simfs *s)
{
    lock_take(&s->lock);
    s->is_off = true;
    lock_give(&s->lock);
}

bool simfs_is_off(const struct simfs *s)
{
    return s->is_off;
}

static void restart(struct simfs *s)
{
    s->generation++;
    s->is_off = false;
    s->crash_at = 0;
    s->steps = 0;
    s->fail_ops = 0;
}

void simfs_power_on(struct simfs *s, uint64_t seed, enum simfs_mode mode)
{
    lock_take(&s->lock);
    disk_power_on(&s->disk, seed, mode);
    restart(s);
    lock_give(&s->lock);
}

void simfs_kill(struct simfs *s)
{
    lock_take(&s->lock);
    list_foreach (node, &s->disk.inodes) {
        list_entry(node, struct inode, node)->is_locked = false;
    }
    restart(s);
    lock_give(&s->lock);
}

void simfs_fail(struct simfs *s, unsigned ops, uint64_t nth, uint64_t count, int err)
{
    check(ops == 0 || (nth > 0 && err < 0));
    lock_take(&s->lock);
    s->fail_ops = ops;
    s->fail_after = nth - 1;
    s->fail_count = count == 0 ? UINT64_MAX : count;
    s->fail_err = err;
    lock_give(&s->lock);
}

void simfs_set_fsyncgate(struct simfs *s, bool is_on)
{
    s->is_fsyncgate = is_on;
}

void simfs_set_capacity(struct simfs *s, int64_t bytes)
{
    lock_take(&s->lock);
    s->disk.capacity_pages = bytes / DISK_PAGE_BYTES;
    lock_give(&s->lock);
}

int64_t simfs_used(const struct simfs *s)
{
    return s->disk.used_pages * DISK_PAGE_BYTES;
}

int simfs_corrupt(struct simfs *s,
                  const char *path,
                  int64_t position,
                  const void *bytes,
                  size_t len)
{
    struct inode *ino;
    struct name *nm;
    lock_take(&s->lock);
    int err = find(s, path, &ino, &nm);
    if (err >= 0) {
        err = ino->is_dir ? -EISDIR : position < 0 ? -EINVAL : 0;
    }
    if (err >= 0) {
        inode_patch(&s->disk, ino, bytes, len, position);
    }
    return end(s, err);
}
