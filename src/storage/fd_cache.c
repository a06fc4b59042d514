/*
 * Open segment files, bounded. A list in order of use; the cache holds one reference for each file
 * in it, whoever uses a file holds another, so that closing the oldest one never takes a file away
 * from a running sendfile or sync.
 */
#include "storage/fd_cache.h"

#include "base/base.h"
#include "base/mem.h"
#include "base/sync.h"

struct fd_cache {
    struct lock lock;
    struct fs *fs;     /* borrowed */
    struct list slots; /* struct fd_slot, the most recently used at the end */
    size_t count;
    size_t max;
    int descriptor_max; /* 0: none */
};

enum {
    EVICTED_MAX = 16, /* at once */
};

struct fd_cache *fd_cache_new(struct fs *fs, size_t max)
{
    struct fd_cache *fc = mem_zalloc(sizeof(*fc));
    lock_init(&fc->lock, LOCK_FD_CACHE);
    list_init(&fc->slots);
    fc->fs = fs;
    fc->max = max_size(max, 1);
    return fc;
}

void fd_cache_limit(struct fd_cache *fc, int descriptor_max)
{
    fc->descriptor_max = descriptor_max;
}

struct fd_cache *fd_cache_free(struct fd_cache *fc)
{
    if (fc == NULL) {
        return NULL;
    }
    check(list_is_empty(&fc->slots));
    lock_release(&fc->lock);
    mem_free(fc);
    return NULL;
}

/* Takes the oldest file out of the cache; the caller drops the reference outside the lock. */
static struct fs_file *evict_locked(struct fd_cache *fc)
{
    struct list *node = list_pop_front(&fc->slots);
    check(node != NULL);
    struct fd_slot *slot = list_entry(node, struct fd_slot, node);
    struct fs_file *file = slot->file;
    slot->file = NULL;
    fc->count--;
    return file;
}

struct fs_file *fd_cache_try(struct fd_cache *fc, struct fd_slot *slot)
{
    struct fs_file *file = NULL;
    lock_take(&fc->lock);
    if (slot->file != NULL) {
        if (fc->slots.prev != &slot->node) {
            list_remove(&slot->node);
            list_push_back(&fc->slots, &slot->node);
        }
        file = fs_file_ref(slot->file);
    }
    lock_give(&fc->lock);
    return file;
}

int fd_cache_get(struct fd_cache *fc,
                 struct fd_slot *slot,
                 const char *path,
                 unsigned flags,
                 struct fs_file **ret)
{
    struct fs_file *file = fd_cache_try(fc, slot);
    if (file != NULL) {
        *ret = file;
        return 0;
    }
    int err = fs_open(fc->fs, path, flags, &file);
    for (int tries = 0; tries < 8 && (err == -EMFILE || err == -ENFILE); tries++) {
        /* Somebody else used up the descriptors: give up one of ours and try again. */
        lock_take(&fc->lock);
        struct fs_file *old = list_is_empty(&fc->slots) ? NULL : evict_locked(fc);
        lock_give(&fc->lock);
        if (old == NULL) {
            break;
        }
        fs_file_unref(old);
        err = fs_open(fc->fs, path, flags, &file);
    }
    if (err < 0) {
        return err;
    }
    struct fs_file *old = NULL;
    /* The system gives the lowest number that is free: only few are left. */
    bool is_last = fc->descriptor_max > 0 && file->fd >= fc->descriptor_max;
    lock_take(&fc->lock);
    if (slot->file == NULL && is_last) {
        old = fc->count > 0 ? evict_locked(fc) : NULL; /* so that there is room the next time */
    } else if (slot->file == NULL) {
        if (fc->count >= fc->max) {
            old = evict_locked(fc);
        }
        slot->file = fs_file_ref(file);
        list_push_back(&fc->slots, &slot->node);
        fc->count++;
    }
    lock_give(&fc->lock);
    fs_file_unref(old);
    *ret = file;
    return 0;
}

bool fd_cache_make_room(struct fd_cache *fc, size_t keep)
{
    struct fs_file *old[EVICTED_MAX];
    size_t count = 0;
    lock_take(&fc->lock);
    while (count < EVICTED_MAX && fc->count > keep) {
        old[count++] = evict_locked(fc);
    }
    lock_give(&fc->lock);
    for (size_t i = 0; i < count; i++) {
        fs_file_unref(old[i]);
    }
    return count > 0;
}

void fd_cache_drop(struct fd_cache *fc, struct fd_slot *slot)
{
    lock_take(&fc->lock);
    struct fs_file *file = slot->file;
    if (file != NULL) {
        list_remove(&slot->node);
        slot->file = NULL;
        fc->count--;
    }
    lock_give(&fc->lock);
    fs_file_unref(file);
}

size_t fd_cache_count(struct fd_cache *fc)
{
    lock_take(&fc->lock);
    size_t count = fc->count;
    lock_give(&fc->lock);
    return count;
}
