/* What is known of each file system, and its syncs; see fs_whole.h. */
#include "base/fs_whole.h"

#include "base/base.h"
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
    int fd;       /* owned; 0: not opened yet */
    bool has_probe;
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

/* A change that was refused for want of room says nothing against the file system. */
static bool is_shortage(int err)
{
    return err == -ENOSPC || err == -EDQUOT || err == -ENOMEM;
}

/* Not every file system has files without a name. */
static bool is_unsupported(int err)
{
    return err == -EOPNOTSUPP || err == -EISDIR || err == -EINVAL || err == -ENOENT ||
           err == -EACCES || err == -EPERM;
}

static int open_whole(struct fs_whole *fw, struct whole *w, const char *path)
{
    int fd = fw->open_dir(fw->fs, path, O_TMPFILE | O_RDWR);
    w->has_probe = fd >= 0;
    if (is_unsupported(fd) || is_shortage(fd)) {
        fd = fw->open_dir(fw->fs, path, O_RDONLY | O_DIRECTORY);
    }
    if (fd < 0) {
        return fd;
    }
    w->fd = fd;
    return 0;
}

static int sync_fd(int fd)
{
    int r;
    do {
        r = syncfs(fd);
    } while (r < 0 && errno == EINTR);
    return r < 0 ? -errno : 0;
}

static int probe(struct whole *w)
{
    int r;
    w->probe_size = w->probe_size % PROBE_SIZES + 1;
    do {
        r = ftruncate(w->fd, w->probe_size);
    } while (r < 0 && errno == EINTR);
    int err = r < 0 ? -errno : 0;
    return is_shortage(err) ? 0 : err;
}

int fs_whole_sync(struct fs_whole *fw, const char *path)
{
    struct stat st;
    if (stat(path, &st) < 0) {
        return -errno;
    }
    struct whole *w = take_turn(fw, st.st_dev);
    int err = w->fd > 0 ? w->err : open_whole(fw, w, path);
    if (err >= 0) {
        err = sync_fd(w->fd);
        err = err >= 0 && w->has_probe ? probe(w) : err;
        w->err = err;
    }
    give_turn(fw, w);
    return err;
}
