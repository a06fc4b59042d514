/* File calls passed on, but for one mistake; see faulty_fs.h. */
#include "faulty_fs.h"

#include "base/base.h"
#include "base/mem.h"

struct faulty_file {
    struct fs_file file;   /* first */
    struct fs_file *inner; /* a reference */
    char path[];
};

static struct faulty_fs *outer(struct fs *fs)
{
    return container_of(fs, struct faulty_fs, fs);
}

static struct fs *in(struct fs *fs)
{
    return outer(fs)->inner;
}

static struct faulty_file *of(struct fs_file *f)
{
    return container_of(f, struct faulty_file, file);
}

static int wrap(struct fs *fs, const char *path, struct fs_file *inner, struct fs_file **ret)
{
    size_t len = strlen(path);
    struct faulty_file *ff = mem_alloc(sizeof(*ff) + len + 1);
    atomic_init(&ff->file.refs, 1);
    ff->file.fs = fs;
    ff->file.fd = -1;
    ff->inner = inner;
    memcpy(ff->path, path, len + 1);
    *ret = &ff->file;
    return 0;
}

static int faulty_open(struct fs *fs, const char *path, unsigned flags, struct fs_file **ret)
{
    struct fs_file *inner;
    int err = fs_open(in(fs), path, flags, &inner);
    return err < 0 ? err : wrap(fs, path, inner, ret);
}

static void faulty_close(struct fs *fs, struct fs_file *f)
{
    (void)fs;
    fs_file_unref(of(f)->inner);
    mem_free(of(f));
}

static ssize_t faulty_pread(struct fs_file *f, void *ret_bytes, size_t len, int64_t position)
{
    return fs_pread(of(f)->inner, ret_bytes, len, position);
}

static int faulty_pwritev(struct fs_file *f, const struct iovec *iov, int count, int64_t position)
{
    return fs_pwritev(of(f)->inner, iov, count, position);
}

static int faulty_truncate(struct fs_file *f, int64_t size)
{
    return fs_truncate(of(f)->inner, size);
}

static int faulty_allocate(struct fs_file *f, int64_t size)
{
    return fs_allocate(of(f)->inner, size);
}

struct newest {
    char name[64];
};

static void see_name(void *ctx, const char *name)
{
    struct newest *nw = ctx;
    size_t len = strlen(name);
    if (len == 24 && strcmp(name + 20, ".log") == 0 && strcmp(name, nw->name) > 0) {
        memcpy(nw->name, name, len + 1);
    }
}

/* A segment that has a successor. */
static bool is_old_segment(struct faulty_fs *fs, const char *path)
{
    struct newest nw = {{0}};
    char dir[512];
    const char *slash = strrchr(path, '/');
    if (slash == NULL || strlen(slash) != 25 || strcmp(slash + 21, ".log") != 0 ||
        (size_t)(slash - path) >= sizeof(dir)) {
        return false;
    }
    memcpy(dir, path, (size_t)(slash - path));
    dir[slash - path] = '\0';
    return fs_list(fs->inner, dir, see_name, &nw) >= 0 && strcmp(slash + 1, nw.name) < 0;
}

static int faulty_datasync(struct fs_file *f)
{
    struct faulty_fs *fs = outer(f->fs);
    if (fs->mistake == FAULTY_NO_OLD_SEGMENT && is_old_segment(fs, of(f)->path)) {
        return 0;
    }
    return fs_datasync(of(f)->inner);
}

static int faulty_fsync(struct fs_file *f)
{
    return outer(f->fs)->mistake == FAULTY_NO_FILE_SYNC ? 0 : fs_fsync(of(f)->inner);
}

static int faulty_size(struct fs_file *f, int64_t *ret)
{
    return fs_size(of(f)->inner, ret);
}

static int faulty_stat(struct fs *fs, const char *path, struct fs_stat *ret)
{
    return fs_stat(in(fs), path, ret);
}

static int faulty_rename(struct fs *fs, const char *from, const char *to)
{
    return fs_rename(in(fs), from, to);
}

static int faulty_unlink(struct fs *fs, const char *path)
{
    return fs_unlink(in(fs), path);
}

static int faulty_mkdir(struct fs *fs, const char *path)
{
    return fs_mkdir(in(fs), path);
}

static int faulty_rmdir(struct fs *fs, const char *path)
{
    return fs_rmdir(in(fs), path);
}

static int
faulty_list(struct fs *fs, const char *path, void (*each)(void *ctx, const char *name), void *ctx)
{
    return fs_list(in(fs), path, each, ctx);
}

static int faulty_sync_dir(struct fs *fs, const char *path)
{
    bool is_log = strchr(path, '/') != NULL && strlen(path) > 1;
    return outer(fs)->mistake == FAULTY_NO_DIR_SYNC && is_log ? 0 : fs_sync_dir(in(fs), path);
}

static int faulty_sync_all(struct fs *fs, const char *path)
{
    return outer(fs)->mistake == FAULTY_NO_WHOLE_SYNC ? 0 : fs_sync_all(in(fs), path);
}

static int faulty_lock(struct fs *fs, const char *path, struct fs_file **ret)
{
    struct fs_file *inner;
    int err = fs_lock(in(fs), path, &inner);
    return err < 0 ? err : wrap(fs, path, inner, ret);
}

static int faulty_space(struct fs *fs, const char *path, int64_t *ret_total, int64_t *ret_usable)
{
    return fs_space(in(fs), path, ret_total, ret_usable);
}

static bool faulty_is_cached(struct fs_file *f, int64_t position, size_t len)
{
    return fs_is_cached(of(f)->inner, position, len);
}

static int faulty_set_mtime(struct fs *fs, const char *path, int64_t mtime_ms)
{
    return fs_set_mtime(in(fs), path, mtime_ms);
}

static const struct fs_ops faulty_ops = {
    .open = faulty_open,
    .close = faulty_close,
    .pread = faulty_pread,
    .pwritev = faulty_pwritev,
    .truncate = faulty_truncate,
    .allocate = faulty_allocate,
    .datasync = faulty_datasync,
    .fsync = faulty_fsync,
    .size = faulty_size,
    .stat = faulty_stat,
    .rename = faulty_rename,
    .unlink = faulty_unlink,
    .mkdir = faulty_mkdir,
    .rmdir = faulty_rmdir,
    .list = faulty_list,
    .sync_dir = faulty_sync_dir,
    .sync_all = faulty_sync_all,
    .lock = faulty_lock,
    .space = faulty_space,
    .is_cached = faulty_is_cached,
    .set_mtime = faulty_set_mtime,
};

void faulty_fs_init(struct faulty_fs *ff, struct fs *inner, enum faulty_mistake mistake)
{
    *ff = (struct faulty_fs){.fs = {.ops = &faulty_ops}, .inner = inner, .mistake = mistake};
}
