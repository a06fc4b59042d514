/* What is known of each file system, and its syncs; see fs_whole.h. */
#include "base/fs_whole.h"

#include "base/base.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/sync.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    PROBE_SIZES = 4096, /* a length without a block, other than the last one */
};

struct whole {
    struct whole *next;
    dev_t dev;
    bool is_busy; /* with the lock: somebody has the turn, and with it what follows */
    int fd;       /* owned: the directory that was asked for first; 0: not opened yet */
    int probe_fd; /* owned: a file without a name; 0: none yet, -1: there are none here */
    off_t probe_size;
    int err; /* of the first sync that failed */
};

struct fs_whole {
    struct fs *fs; /* borrowed */
    int (*open_dir)(struct fs *fs, const char *path, int flags);
    struct lock lock; /* LOCK_LEAF */
    struct cond given;
    struct whole *first; /* owned; there are as many as there are disks */
};

struct fs_whole *fs_whole_new(struct fs *fs,
                              int (*open_dir)(struct fs *fs, const char *path, int flags))
{
    struct fs_whole *fw = mem_zalloc(sizeof(*fw));
    fw->fs = fs;
    fw->open_dir = open_dir;
    lock_init(&fw->lock, LOCK_LEAF);
    cond_init(&fw->given);
    return fw;
}

struct fs_whole *fs_whole_free(struct fs_whole *fw)
{
    if (fw == NULL) {
        return NULL;
    }
    while (fw->first != NULL) {
        struct whole *w = fw->first;
        fw->first = w->next;
        if (w->fd > 0) {
            IGNORE(close(w->fd)); /* nothing was written through it */
        }
        if (w->probe_fd > 0) {
            IGNORE(close(w->probe_fd)); /* nobody reads it */
        }
        mem_free(w);
    }
    cond_release(&fw->given);
    lock_release(&fw->lock);
    return mem_free(fw);
}

static struct whole *find_locked(struct fs_whole *fw, dev_t dev)
{
    struct whole *w = fw->first;
    while (w != NULL && w->dev != dev) {
        w = w->next;
    }
    if (w == NULL) {
        w = mem_zalloc(sizeof(*w));
        w->dev = dev;
        w->next = fw->first;
        fw->first = w;
    }
    return w;
}

static struct whole *take_turn(struct fs_whole *fw, dev_t dev)
{
    lock_take(&fw->lock);
    struct whole *w = find_locked(fw, dev);
    while (w->is_busy) {
        cond_wait(&fw->given, &fw->lock);
    }
    w->is_busy = true;
    lock_give(&fw->lock);
    return w;
}

static void give_turn(struct fs_whole *fw, struct whole *w)
{
    lock_take(&fw->lock);
    w->is_busy = false;
    cond_broadcast(&fw->given);
    lock_give(&fw->lock);
}

/* Not every file system has files without a name. */
static bool is_unsupported(int err)
{
    return err == -EOPNOTSUPP || err == -EISDIR || err == -EINVAL || err == -ENOENT ||
           err == -EACCES || err == -EPERM;
}

static int sync_fd(int fd)
{
    int r;
    do {
        r = syncfs(fd);
    } while (r < 0 && errno == EINTR);
    return r < 0 ? -errno : 0;
}

static int open_probe(struct fs_whole *fw, struct whole *w, const char *path)
{
    int fd = fw->open_dir(fw->fs, path, O_TMPFILE | O_RDWR);
    if (is_unsupported(fd)) {
        w->probe_fd = -1;
        return 0;
    }
    if (fd < 0) {
        return fd;
    }
    w->probe_fd = fd;
    return 0;
}

/* Whether it takes a change: of the length of a file, and the first time that file itself. */
static int try_change(struct fs_whole *fw, struct whole *w, const char *path)
{
    if (w->probe_fd <= 0) {
        return w->probe_fd < 0 ? 0 : open_probe(fw, w, path);
    }
    int r;
    w->probe_size = w->probe_size % PROBE_SIZES + 1;
    do {
        r = ftruncate(w->probe_fd, w->probe_size);
    } while (r < 0 && errno == EINTR);
    return r < 0 ? -errno : 0;
}

static int sync_one(struct fs_whole *fw, struct whole *w, const char *path)
{
    if (w->fd == 0) {
        int fd = fw->open_dir(fw->fs, path, O_RDONLY | O_DIRECTORY);
        if (fd < 0) {
            return fd;
        }
        w->fd = fd;
    }
    w->err = sync_fd(w->fd);
    if (w->err >= 0) {
        int err = try_change(fw, w, path);
        w->err = err_is_passing(err) ? 0 : err; /* want of room says nothing against it */
    }
    return w->err;
}

int fs_whole_sync(struct fs_whole *fw, const char *path)
{
    struct stat st;
    if (stat(path, &st) < 0) {
        return -errno;
    }
    struct whole *w = take_turn(fw, st.st_dev);
    int err = w->err < 0 ? w->err : sync_one(fw, w, path);
    give_turn(fw, w);
    return err;
}
