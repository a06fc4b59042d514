/*
 * Open segment files of one broker, at most `max` at once, least recently used closed first. A file
 * that is in use (sendfile, fsync) stays open through its own reference. Any thread
 * (LOCK_FD_CACHE). What is kept open must not take the last descriptors from what is opened in
 * passing: with a number of descriptor_max or above a file is not kept, and another one goes.
 */
#ifndef STORAGE_FD_CACHE_H
#define STORAGE_FD_CACHE_H

#include "base/base.h"
#include "base/fs.h"
#include "base/list.h"

struct fd_cache;

/* Embedded in a segment; zeroed is closed. */
struct fd_slot {
    struct list node;
    struct fs_file *file; /* the cache's reference */
};

struct fd_cache *fd_cache_new(struct fs *fs, size_t max);
void fd_cache_limit(struct fd_cache *fc, int descriptor_max); /* before the first use; 0: none */
struct fd_cache *fd_cache_free(struct fd_cache *fc);
/* A new reference to the open file of this slot, opened when it is not. */
must_check int fd_cache_get(struct fd_cache *fc,
                            struct fd_slot *slot,
                            const char *path,
                            unsigned flags,
                            struct fs_file **ret);
/* The same when it is open already; otherwise NULL. */
struct fs_file *fd_cache_try(struct fd_cache *fc, struct fd_slot *slot);
void fd_cache_drop(struct fd_cache *fc, struct fd_slot *slot); /* before the slot's owner goes */
/* Somebody else needs descriptors: closes some, keeping the `keep` last used ones. False: it has no
 * more than these. */
bool fd_cache_make_room(struct fd_cache *fc, size_t keep);
size_t fd_cache_count(struct fd_cache *fc);

#endif
