/*
 * The machine's file system behind fs.h. Calls that a signal ends are repeated; short reads and
 * writes are continued. A failed sync is never repeated here: after one the kernel may have marked
 * the lost pages clean, and a second call would lie (what to do then is the caller's decision).
 *
 * The lock is fcntl's of open file descriptions: it collides with the POSIX record lock that Java's
 * FileChannel.tryLock takes, so that a Kafka broker and we never open one directory together.
 */
#include "base/fs.h"

#include "base/base.h"
#include "base/err.h"
#include "base/fs_whole.h"
#include "base/mem.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum {
    SPARE_TRIES = 200, /* of a millisecond: what holds all descriptors so long is not passing by */
    FS_PAGE_BYTES = 4096,
    FS_MINCORE_PAGES = 1024, /* looked at by one mincore */
    FS_CACHESTAT_CALL =
        451, /* newer than the headers of some distributions; one number everywhere */
};

static int result_of(int r)
{
    return r < 0 ? -errno : 0;
}

static int open_fd(const char *path, int flags)
{
    int fd;
    do {
        fd = open(path, flags | O_CLOEXEC, 0644);
    } while (fd < 0 && errno == EINTR);
    return fd < 0 ? -errno : fd;
}

static struct fs_file *wrap(struct fs *fs, int fd)
{
    struct fs_file *f = mem_alloc(sizeof(*f));
    atomic_init(&f->refs, 1);
    f->fs = fs;
    f->fd = fd;
    return f;
}

/* Only a file is read and written at positions, and nothing else may keep a start waiting. */
static int check_is_file(int fd)
{
    struct stat is;
    if (fstat(fd, &is) != 0) {
        return -errno;
    }
    if (S_ISREG(is.st_mode)) {
        return 0;
    }
    return S_ISDIR(is.st_mode) ? -EISDIR : ERR_NOT_A_FILE;
}

static int system_open(struct fs *fs, const char *path, unsigned flags, struct fs_file **ret)
{
    int mode = (flags & FS_WRITE) != 0 ? O_RDWR : O_RDONLY;
    mode |= (flags & FS_CREATE) != 0 ? O_CREAT : 0;
    mode |= (flags & FS_EXCLUSIVE) != 0 ? O_EXCL : 0;
    mode |= (flags & FS_TRUNCATE) != 0 ? O_TRUNC : 0;
    /* Without waiting for who writes into a FIFO; to files it means nothing. */
    int fd = open_fd(path, mode | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) {
        return fd;
    }
    int err = check_is_file(fd);
    if (err < 0) {
        close(fd);
        return err;
    }
    *ret = wrap(fs, fd);
    return 0;
}

static void system_close(struct fs *fs, struct fs_file *f)
{
    (void)fs;
    /* Not repeated on EINTR: on Linux the descriptor is gone either way. */
    IGNORE(close(f->fd));
    mem_free(f);
}

static ssize_t system_pread(struct fs_file *f, void *ret_bytes, size_t len, int64_t position)
{
    uint8_t *to = ret_bytes;
    size_t done = 0;
    check(len <= SSIZE_MAX);
    while (done < len) {
        ssize_t n = pread(f->fd, to + done, len - done, position + to_i64(done));
        if (n < 0) {
            if (errno == EINTR) {
                continue;
            }
            return -errno;
        }
        if (n == 0) {
            break;
        }
        done += (size_t)n;
    }
    return (ssize_t)done;
}

/* Writes what is left of iov[0..count) when `skip` bytes of it are done. */
static int pwritev_rest(int fd, const struct iovec *iov, int count, int64_t position, size_t skip)
{
    for (int i = 0; i < count; i++) {
        if (skip >= iov[i].iov_len) {
            skip -= iov[i].iov_len;
            position += to_i64(iov[i].iov_len);
            continue;
        }
        const uint8_t *from = iov[i].iov_base;
        while (skip < iov[i].iov_len) {
            ssize_t n = pwrite(fd, from + skip, iov[i].iov_len - skip, position + to_i64(skip));
            if (n < 0 && errno == EINTR) {
                continue;
            }
            if (n <= 0) {
                return n < 0 ? -errno : -EIO;
            }
            skip += (size_t)n;
        }
        position += to_i64(iov[i].iov_len);
        skip = 0;
    }
    return 0;
}

static int system_pwritev(struct fs_file *f, const struct iovec *iov, int count, int64_t position)
{
    while (count > 0) {
        int part = count < IOV_MAX ? count : IOV_MAX;
        size_t bytes = 0;
        for (int i = 0; i < part; i++) {
            bytes += iov[i].iov_len;
        }
        ssize_t n;
        do {
            n = pwritev(f->fd, iov, part, position);
        } while (n < 0 && errno == EINTR);
        if (n < 0) {
            return -errno;
        }
        if ((size_t)n < bytes) {
            /* Rare: a full disk, a signal, more than 2 GiB. */
            int err = pwritev_rest(f->fd, iov, part, position, (size_t)n);
            if (err < 0) {
                return err;
            }
        }
        position += to_i64(bytes);
        iov += part;
        count -= part;
    }
    return 0;
}

static int system_truncate(struct fs_file *f, int64_t size)
{
    int r;
    do {
        r = ftruncate(f->fd, size);
    } while (r < 0 && errno == EINTR);
    return result_of(r);
}

static int system_size(struct fs_file *f, int64_t *ret)
{
    struct stat st;
    if (fstat(f->fd, &st) < 0) {
        return -errno;
    }
    *ret = st.st_size;
    return 0;
}

static int system_allocate(struct fs_file *f, int64_t size)
{
    if (size == 0) {
        return 0;
    }
    int r;
    do {
        r = fallocate(f->fd, 0, 0, size);
    } while (r < 0 && errno == EINTR);
    if (r < 0 && errno == EOPNOTSUPP) {
        /* No way to reserve here; the size at least is as asked. */
        int64_t now;
        int err = system_size(f, &now);
        return err < 0 || now >= size ? err : system_truncate(f, size);
    }
    return result_of(r);
}

static int system_datasync(struct fs_file *f)
{
    int r;
    do {
        r = fdatasync(f->fd);
    } while (r < 0 && errno == EINTR);
    return result_of(r);
}

static int system_fsync(struct fs_file *f)
{
    int r;
    do {
        r = fsync(f->fd);
    } while (r < 0 && errno == EINTR);
    return result_of(r);
}

static int system_stat(struct fs *fs, const char *path, struct fs_stat *ret)
{
    (void)fs;
    struct stat st;
    if (stat(path, &st) < 0) {
        return -errno;
    }
    *ret = (struct fs_stat){
        .size = st.st_size,
        .mtime_ms = (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000,
        .is_dir = S_ISDIR(st.st_mode),
    };
    return 0;
}

static int system_rename(struct fs *fs, const char *from, const char *to)
{
    (void)fs;
    return result_of(rename(from, to));
}

static int system_unlink(struct fs *fs, const char *path)
{
    (void)fs;
    return result_of(unlink(path));
}

static int system_mkdir(struct fs *fs, const char *path)
{
    (void)fs;
    return result_of(mkdir(path, 0755));
}

static int system_rmdir(struct fs *fs, const char *path)
{
    (void)fs;
    return result_of(rmdir(path));
}

static int
system_list(struct fs *fs, const char *path, void (*each)(void *ctx, const char *name), void *ctx)
{
    (void)fs;
    DIR *dir = opendir(path);
    if (dir == NULL) {
        return -errno;
    }
    int err = 0;
    for (;;) {
        errno = 0;
        struct dirent *entry = readdir(dir);
        if (entry == NULL) {
            err = -errno;
            break;
        }
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            each(ctx, entry->d_name);
        }
    }
    IGNORE(closedir(dir)); /* it was only read */
    return err;
}

/* Whoever waits for a sync shall not fail because connections have used up all descriptors: one is
 * kept for it. Between giving it up and using it another thread may be quicker (and sheds a
 * connection with it): again, then. */
static int open_with_spare(struct fs *fs, const char *path, int flags)
{
    const struct timespec pause = {.tv_nsec = 1000000};
    int fd = open_fd(path, flags);
    for (int tries = 0; tries < SPARE_TRIES && (fd == -EMFILE || fd == -ENFILE); tries++) {
        int spare = atomic_exchange(&fs->spare, 0);
        if (spare > 0) {
            IGNORE(close(spare)); /* of /dev/null */
        } else {
            IGNORE(nanosleep(&pause, NULL)); /* no event tells when a descriptor is free */
        }
        fd = open_fd(path, flags);
    }
    return fd;
}

static void keep_spare(struct fs *fs)
{
    if (atomic_load(&fs->spare) > 0) {
        return;
    }
    int fd = open_fd("/dev/null", O_RDONLY);
    int none = 0;
    if (fd > 0 && !atomic_compare_exchange_strong(&fs->spare, &none, fd)) {
        IGNORE(close(fd)); /* another thread has put one there */
    }
}

static int system_sync_dir(struct fs *fs, const char *path)
{
    int fd = open_with_spare(fs, path, O_RDONLY | O_DIRECTORY);
    if (fd < 0) {
        return fd;
    }
    int r;
    do {
        r = fsync(fd);
    } while (r < 0 && errno == EINTR);
    int err = result_of(r);
    IGNORE(close(fd)); /* only read through */
    keep_spare(fs);
    return err;
}

/* Made by the first who needs it: most tools only read. */
static struct fs_whole *whole_of(struct fs *fs)
{
    struct fs_whole *whole = atomic_load(&fs->whole);
    if (whole == NULL) {
        struct fs_whole *made = fs_whole_new(fs, open_with_spare);
        if (atomic_compare_exchange_strong(&fs->whole, &whole, made)) {
            whole = made;
        } else {
            fs_whole_free(made);
        }
    }
    return whole;
}

static int system_sync_all(struct fs *fs, const char *path)
{
    return fs_whole_sync(whole_of(fs), path);
}

static int system_lock(struct fs *fs, const char *path, struct fs_file **ret)
{
    int fd = open_fd(path, O_RDWR | O_CREAT);
    if (fd < 0) {
        return fd;
    }
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(fd, F_OFD_SETLK, &whole) < 0) {
        int err = errno == EACCES || errno == EAGAIN ? -EWOULDBLOCK : -errno;
        IGNORE(close(fd)); /* nothing was written */
        return err;
    }
    *ret = wrap(fs, fd);
    return 0;
}

static int system_space(struct fs *fs, const char *path, int64_t *ret_total, int64_t *ret_usable)
{
    (void)fs;
    struct statvfs vfs;
    if (statvfs(path, &vfs) < 0) {
        return -errno;
    }
    *ret_total = (int64_t)(vfs.f_blocks * vfs.f_frsize);
    *ret_usable = (int64_t)(vfs.f_bavail * vfs.f_frsize);
    return 0;
}

/* The kernel's answer for a range in one call, where it has it (Linux 6.5). */
static int cached_pages(int fd, uint64_t position, uint64_t len, uint64_t *ret_pages)
{
    struct {
        uint64_t position;
        uint64_t len;
    } range = {.position = position, .len = len};
    struct {
        uint64_t cached;
        uint64_t dirty;
        uint64_t writeback;
        uint64_t evicted;
        uint64_t recently_evicted;
    } stat = {0};
    if (syscall(FS_CACHESTAT_CALL, fd, &range, &stat, 0) < 0) {
        return -errno;
    }
    *ret_pages = stat.cached;
    return 0;
}

/* Older kernels: a mapping for the question only, nothing is read through it. */
static bool is_in_core(int fd, int64_t position, size_t len)
{
    unsigned char pages[FS_MINCORE_PAGES];
    void *map = mmap(NULL, len, PROT_READ, MAP_SHARED, fd, position);
    if (map == MAP_FAILED) {
        return false;
    }
    bool is_all = true;
    uint8_t *from = map;
    for (size_t at = 0; at < len && is_all; at += sizeof(pages) * FS_PAGE_BYTES) {
        size_t part = min_size(len - at, sizeof(pages) * FS_PAGE_BYTES);
        is_all = mincore(from + at, part, pages) == 0;
        for (size_t i = 0; is_all && i < (part + FS_PAGE_BYTES - 1) / FS_PAGE_BYTES; i++) {
            is_all = (pages[i] & 1) != 0;
        }
    }
    munmap(map, len);
    return is_all;
}

static bool system_is_cached(struct fs_file *f, int64_t position, size_t len)
{
    if (len == 0) {
        return true;
    }
    int64_t first = position - position % FS_PAGE_BYTES;
    int64_t end = position + to_i64(len);
    uint64_t want = (uint64_t)((end - first + FS_PAGE_BYTES - 1) / FS_PAGE_BYTES);
    uint64_t have;
    int err = cached_pages(f->fd, (uint64_t)first, (uint64_t)(end - first), &have);
    if (err >= 0 && have >= want) {
        return true;
    }
    /* What lies beyond the end of the file is never cached and never waited for. */
    int64_t size;
    if (system_size(f, &size) < 0 || size <= first) {
        return true;
    }
    if (end > size) {
        end = size;
        want = (uint64_t)((end - first + FS_PAGE_BYTES - 1) / FS_PAGE_BYTES);
    }
    if (err >= 0) {
        return have >= want;
    }
    return is_in_core(f->fd, first, (size_t)(end - first));
}

static int system_set_mtime(struct fs *fs, const char *path, int64_t mtime_ms)
{
    (void)fs;
    struct timespec times[2] = {
        {.tv_nsec = UTIME_OMIT},
        {.tv_sec = mtime_ms / 1000, .tv_nsec = (mtime_ms % 1000) * 1000000},
    };
    if (times[1].tv_nsec < 0) {
        times[1].tv_sec--;
        times[1].tv_nsec += 1000000000;
    }
    return result_of(utimensat(AT_FDCWD, path, times, 0));
}

static const struct fs_ops system_ops = {
    .open = system_open,
    .close = system_close,
    .pread = system_pread,
    .pwritev = system_pwritev,
    .truncate = system_truncate,
    .allocate = system_allocate,
    .datasync = system_datasync,
    .fsync = system_fsync,
    .size = system_size,
    .stat = system_stat,
    .rename = system_rename,
    .unlink = system_unlink,
    .mkdir = system_mkdir,
    .rmdir = system_rmdir,
    .list = system_list,
    .sync_dir = system_sync_dir,
    .sync_all = system_sync_all,
    .lock = system_lock,
    .space = system_space,
    .is_cached = system_is_cached,
    .set_mtime = system_set_mtime,
};

void fs_init_system(struct fs *fs)
{
    *fs = (struct fs){.ops = &system_ops};
}

void fs_release_system(struct fs *fs)
{
    int spare = atomic_exchange(&fs->spare, 0);
    if (spare > 0) {
        IGNORE(close(spare)); /* of /dev/null */
    }
    fs_whole_free(atomic_exchange(&fs->whole, NULL));
}

const char *fs_file_path(const struct fs_file *f, char *ret, size_t cap)
{
    char link[64];
    snprintf(link, sizeof(link), "/proc/self/fd/%d", f->fd);
    ssize_t n = f->fd < 0 || cap < 2 ? -1 : readlink(link, ret, cap - 1);
    if (n <= 0) {
        return "?";
    }
    ret[n] = '\0';
    return ret;
}
