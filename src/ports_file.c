/*
 * A file is replaced by rename, so that a reader that waits for it never sees a part of it. What is
 * no file must stay what it is: over /dev/null, which root may replace, a rename would hit every
 * process of the machine. So a FIFO and a character device are written to, and all else is refused.
 *
 * Nothing here may wait for a reader: a FIFO is opened without blocking, which fails when nobody
 * reads it, and what does not go into it at once is a failure too.
 */
#include "ports_file.h"

#include "base/err.h"
#include "base/mem.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

static bool is_stream(mode_t mode)
{
    return S_ISFIFO(mode) || S_ISCHR(mode);
}

static int write_all(int fd, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, bytes, len);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return -errno;
        }
        bytes += n;
        len -= (size_t)n;
    }
    return 0;
}

static int write_stream(const char *path, const char *bytes, size_t len)
{
    int fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    if (fd < 0) {
        return -errno;
    }
    /* Looked at again: it may have become another thing since. */
    struct stat is;
    int err = fstat(fd, &is) == 0 ? 0 : -errno;
    if (err >= 0) {
        err = is_stream(is.st_mode) ? write_all(fd, bytes, len) : -EAGAIN;
    }
    close(fd);
    return err;
}

/* It tells of this process only, so nothing is synced. What has the temporary name is removed, not
 * opened: it may be a link to anything. */
static int replace(struct fs *fs, const char *path, const void *bytes, size_t len)
{
    char temporary[PATH_MAX + 8];
    int n = snprintf(temporary, sizeof(temporary), "%s.tmp", path);
    if (n < 0 || (size_t)n >= sizeof(temporary)) {
        return -ENAMETOOLONG;
    }
    int err = fs_unlink(fs, temporary);
    if (err < 0 && err != -ENOENT) {
        return err;
    }
    struct fs_file *file;
    err = fs_open(fs, temporary, FS_WRITE | FS_CREATE | FS_EXCLUSIVE, &file);
    if (err < 0) {
        return err;
    }
    err = fs_pwrite(file, bytes, len, 0);
    fs_file_unref(file);
    err = err < 0 ? err : fs_rename(fs, temporary, path);
    if (err < 0) {
        IGNORE(fs_unlink(fs, temporary)); /* the first error is told */
    }
    return err;
}

int ports_file_write(struct fs *fs,
                     const char *path,
                     const void *bytes,
                     size_t len,
                     char *ret_error,
                     size_t error_cap)
{
    struct stat is;
    bool is_there = stat(path, &is) == 0;
    const char *why = NULL;
    int err = 0;
    if (is_there && is_stream(is.st_mode)) {
        err = write_stream(path, bytes, len);
        why = err == -ENXIO && S_ISFIFO(is.st_mode) ? "nobody reads this FIFO" : NULL;
    } else if (is_there && !S_ISREG(is.st_mode)) {
        err = S_ISDIR(is.st_mode) ? -EISDIR : -EINVAL;
        why = S_ISDIR(is.st_mode) ? NULL : "this is no file, FIFO or character device";
    } else {
        char target[PATH_MAX];
        /* Behind a link that leads nowhere is nothing to keep: the link itself is replaced. */
        bool is_found = is_there && realpath(path, target) != NULL;
        err = replace(fs, is_found ? target : path, bytes, len);
    }
    if (err < 0) {
        (void)snprintf(ret_error, error_cap, "%s", why != NULL ? why : err_text(err));
    }
    return err;
}
