/* The front of the table of file calls, and what is built from several of them; see fs.h. */
#include "base/fs.h"

#include "base/base.h"
#include "base/err.h"
#include "base/mem.h"

enum {
    FS_PATH_MAX = 4096,
    FS_TREE_DEPTH_MAX = 32,
};

int fs_open(struct fs *fs, const char *path, unsigned flags, struct fs_file **ret)
{
    return fs->ops->open(fs, path, flags, ret);
}

struct fs_file *fs_file_ref(struct fs_file *f)
{
    /* Relaxed: whoever takes a reference already has one. */
    atomic_fetch_add_explicit(&f->refs, 1, memory_order_relaxed);
    return f;
}

struct fs_file *fs_file_unref(struct fs_file *f)
{
    if (f == NULL) {
        return NULL;
    }
    /* Release our use of the file; the last one acquires that of all others before it closes. */
    uint32_t before = atomic_fetch_sub_explicit(&f->refs, 1, memory_order_acq_rel);
    check(before != 0);
    if (before == 1) {
        f->fs->ops->close(f->fs, f);
    }
    return NULL;
}

ssize_t fs_pread(struct fs_file *f, void *ret_bytes, size_t len, int64_t position)
{
    return f->fs->ops->pread(f, ret_bytes, len, position);
}

int fs_pwritev(struct fs_file *f, const struct iovec *iov, int count, int64_t position)
{
    return f->fs->ops->pwritev(f, iov, count, position);
}

int fs_pwrite(struct fs_file *f, const void *bytes, size_t len, int64_t position)
{
    struct iovec iov = {.iov_len = len};
    memcpy(&iov.iov_base, &bytes, sizeof(bytes)); /* iovec knows no const */
    return f->fs->ops->pwritev(f, &iov, 1, position);
}

int fs_truncate(struct fs_file *f, int64_t size)
{
    return f->fs->ops->truncate(f, size);
}

int fs_allocate(struct fs_file *f, int64_t size)
{
    return f->fs->ops->allocate(f, size);
}

int fs_datasync(struct fs_file *f)
{
    return f->fs->ops->datasync(f);
}

int fs_fsync(struct fs_file *f)
{
    return f->fs->ops->fsync(f);
}

int fs_size(struct fs_file *f, int64_t *ret)
{
    return f->fs->ops->size(f, ret);
}

int fs_stat(struct fs *fs, const char *path, struct fs_stat *ret)
{
    return fs->ops->stat(fs, path, ret);
}

int fs_rename(struct fs *fs, const char *from, const char *to)
{
    return fs->ops->rename(fs, from, to);
}

int fs_unlink(struct fs *fs, const char *path)
{
    return fs->ops->unlink(fs, path);
}

int fs_mkdir(struct fs *fs, const char *path)
{
    return fs->ops->mkdir(fs, path);
}

int fs_rmdir(struct fs *fs, const char *path)
{
    return fs->ops->rmdir(fs, path);
}

int fs_list(struct fs *fs, const char *path, void (*each)(void *ctx, const char *name), void *ctx)
{
    return fs->ops->list(fs, path, each, ctx);
}

int fs_sync_dir(struct fs *fs, const char *path)
{
    return fs->ops->sync_dir(fs, path);
}

int fs_sync_all(struct fs *fs, const char *path)
{
    return fs->ops->sync_all(fs, path);
}

int fs_lock(struct fs *fs, const char *path, struct fs_file **ret)
{
    return fs->ops->lock(fs, path, ret);
}

int fs_space(struct fs *fs, const char *path, int64_t *ret_total, int64_t *ret_usable)
{
    return fs->ops->space(fs, path, ret_total, ret_usable);
}

bool fs_is_cached(struct fs_file *f, int64_t position, size_t len)
{
    return f->fs->ops->is_cached(f, position, len);
}

int fs_set_mtime(struct fs *fs, const char *path, int64_t mtime_ms)
{
    return fs->ops->set_mtime(fs, path, mtime_ms);
}

static void unref_file(struct fs_file **f)
{
    *f = fs_file_unref(*f);
}

int fs_read_file(struct fs *fs, const char *path, size_t max, char **ret_bytes, size_t *ret_len)
{
    cleanup(unref_file) struct fs_file *f = NULL;
    int err = fs_open(fs, path, FS_READ, &f);
    if (err < 0) {
        return err;
    }
    int64_t size;
    err = fs_size(f, &size);
    if (err < 0) {
        return err;
    }
    if (size < 0 || (uint64_t)size > max) {
        return -EFBIG;
    }
    size_t cap = (size_t)size;
    cleanup(mem_free_charp) char *bytes = mem_try_alloc(cap + 1);
    if (bytes == NULL) {
        return -ENOMEM;
    }
    ssize_t n = fs_pread(f, bytes, cap, 0);
    if (n < 0) {
        return (int)n;
    }
    bytes[n] = '\0';
    *ret_bytes = bytes;
    *ret_len = (size_t)n;
    bytes = NULL;
    return 0;
}

/* The directory part of `path`, "." when it has none. */
static int parent_of(const char *path, char *ret_parent, size_t cap)
{
    const char *slash = strrchr(path, '/');
    size_t len = slash == NULL ? 0 : slash == path ? 1 : (size_t)(slash - path);
    if (len >= cap) {
        return -ENAMETOOLONG;
    }
    if (len == 0) {
        memcpy(ret_parent, ".", 2);
        return 0;
    }
    memcpy(ret_parent, path, len);
    ret_parent[len] = '\0';
    return 0;
}

static int write_whole_file(struct fs *fs, const char *path, const void *bytes, size_t len)
{
    cleanup(unref_file) struct fs_file *f = NULL;
    int err = fs_open(fs, path, FS_WRITE | FS_CREATE | FS_TRUNCATE, &f);
    if (err < 0) {
        return err;
    }
    if (len > 0) {
        err = fs_pwrite(f, bytes, len, 0);
        if (err < 0) {
            return err;
        }
    }
    return fs_fsync(f);
}

int fs_replace_file(struct fs *fs, const char *path, const void *bytes, size_t len)
{
    char temporary[FS_PATH_MAX];
    char parent[FS_PATH_MAX];
    int n = snprintf(temporary, sizeof(temporary), "%s.tmp", path);
    if (n < 0 || (size_t)n >= sizeof(temporary)) {
        return -ENAMETOOLONG;
    }
    int err = parent_of(path, parent, sizeof(parent));
    if (err < 0) {
        return err;
    }
    /* The content is stable before the name points to it, or a power cut leaves an empty file. */
    err = write_whole_file(fs, temporary, bytes, len);
    if (err >= 0) {
        err = fs_rename(fs, temporary, path);
    }
    if (err < 0) {
        IGNORE(fs_unlink(fs, temporary)); /* the first failure is the one to tell */
        return err;
    }
    return fs_sync_dir(fs, parent);
}

struct name_list {
    char **names; /* owned, each too */
    size_t count;
    size_t cap;
};

static void name_list_release(struct name_list *nl)
{
    for (size_t i = 0; i < nl->count; i++) {
        mem_free(nl->names[i]);
    }
    mem_free(nl->names);
    *nl = (struct name_list){0};
}

static void name_list_add(struct name_list *nl, char *name)
{
    nl->names = mem_grow(nl->names, &nl->cap, nl->count + 1, sizeof(nl->names[0]));
    nl->names[nl->count++] = name;
}

struct tree_walk {
    struct name_list paths;
    const char *dir; /* borrowed: what is being listed */
};

static void each_in_tree(void *ctx, const char *name)
{
    struct tree_walk *walk = ctx;
    size_t cap = strlen(walk->dir) + strlen(name) + 2;
    char *path = mem_alloc(cap);
    snprintf(path, cap, "%s/%s", walk->dir, name);
    name_list_add(&walk->paths, path);
}

static size_t depth_of(const char *path)
{
    size_t depth = 0;
    for (; *path != '\0'; path++) {
        depth += *path == '/';
    }
    return depth;
}

/* Removes files at once; directories that are found go to the end of the list, to be emptied later
 * and removed in reverse order, when all below them is gone. */
int fs_remove_tree(struct fs *fs, const char *path)
{
    cleanup(name_list_release) struct name_list dirs = {0};
    name_list_add(&dirs, mem_strdup(path));
    size_t top = depth_of(path);
    for (size_t i = 0; i < dirs.count; i++) {
        struct tree_walk walk = {.dir = dirs.names[i]};
        int err = depth_of(walk.dir) - top > FS_TREE_DEPTH_MAX
                      ? -ELOOP
                      : fs_list(fs, walk.dir, each_in_tree, &walk);
        for (size_t k = 0; k < walk.paths.count && err >= 0; k++) {
            err = fs_unlink(fs, walk.paths.names[k]);
            if (err == -EISDIR || err == -EPERM) {
                name_list_add(&dirs, walk.paths.names[k]);
                walk.paths.names[k] = NULL;
                err = 0;
            } else if (err == -ENOENT) {
                err = 0; /* somebody was quicker */
            }
        }
        name_list_release(&walk.paths);
        if (err < 0) {
            return err;
        }
    }
    for (size_t i = dirs.count; i > 0; i--) {
        int err = fs_rmdir(fs, dirs.names[i - 1]);
        if (err < 0) {
            return err;
        }
    }
    return 0;
}
