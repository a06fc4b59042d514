/*
 * The state of a simulated disk: inodes with live and stable pages, names live and stable, and the
 * changes of names that are not stable yet. No lock, no steps, no faults: those are simfs.c.
 */
#ifndef TESTS_LIB_SIMFS_DISK_H
#define TESTS_LIB_SIMFS_DISK_H

#include "base/base.h"
#include "base/list.h"
#include "simfs.h"

#include <stdatomic.h>

enum {
    DISK_PAGE_BYTES = 4096,
    DISK_SECTOR_BYTES = 512,
    DISK_NAME_MAX = 255,
};

/* Shared by live and stable state and by clones; written only while it has one reference. */
struct page {
    _Atomic uint32_t refs;
    uint8_t bytes[DISK_PAGE_BYTES];
};

struct slot {
    struct page *live;   /* a reference; NULL: a hole */
    struct page *stable; /* a reference; NULL: a hole */
    bool is_dirty;       /* the next sync makes live stable */
};

struct inode {
    struct list node; /* in disk.inodes */
    struct list work; /* in a worklist of one function */
    uint32_t refs;    /* names (live, stable), pending changes, open files */
    uint32_t id;
    bool is_dir;
    bool is_locked;
    bool is_reached;
    bool is_counted; /* its live pages are in disk.used_pages */
    uint32_t users;  /* live names and open files: without any its space is free */
    int64_t mtime_ms;
    struct inode *copy; /* while cloning: borrowed */
    struct slot *slots; /* owned */
    size_t slot_count;
    size_t slot_cap;
    int64_t size;
    int64_t stable_size;
    struct list live; /* directory: struct name */
    struct list stable;
    struct name *stable_name; /* where this inode is in the stable tree; borrowed */
};

struct name {
    struct list node;    /* in live or stable of dir */
    struct inode *dir;   /* borrowed: an empty directory alone can go */
    struct inode *inode; /* a reference */
    uint32_t hash;
    char text[];
};

enum change_type {
    CHANGE_LINK,   /* create, mkdir, rename: inode is now at dir/text, and nowhere else */
    CHANGE_UNLINK, /* inode is no longer at dir/text */
};

struct change {
    struct list node; /* in disk.pending */
    enum change_type type;
    struct inode *dir;   /* a reference */
    struct inode *inode; /* a reference */
    char text[];
};

struct disk {
    struct list inodes;
    struct list pending; /* oldest first */
    struct inode *root;
    struct page *zero; /* a reference: allocated, never written */
    uint32_t next_id;
    int64_t used_pages;     /* live, not holes */
    int64_t capacity_pages; /* 0: no limit */
};

void disk_init(struct disk *d);
void disk_release(struct disk *d);
void disk_copy(struct disk *to, struct disk *from);

struct inode *inode_new(struct disk *d, bool is_dir);
struct inode *inode_ref(struct inode *ino);
void inode_unref(struct disk *d, struct inode *ino);

/* *ret_dir: the directory that holds (or would hold) the last part of path, *ret_text that part;
 * the root has the empty text. *ret_name: NULL when there is none. -ENOENT, -ENOTDIR, -EINVAL,
 * -ENAMETOOLONG. */
must_check int disk_walk(struct disk *d,
                         const char *path,
                         struct inode **ret_dir,
                         char ret_text[static DISK_NAME_MAX + 1],
                         struct name **ret_name);

/* An open file begins or ends to use the space of the inode; apart from the reference. */
void inode_use(struct disk *d, struct inode *ino);
void inode_disuse(struct disk *d, struct inode *ino);

void disk_link(struct disk *d, struct inode *dir, const char *text, struct inode *ino);
void disk_unlink(struct disk *d, struct name *nm);
void disk_rename(struct disk *d, struct name *from, struct inode *dir, const char *text);

size_t inode_read(const struct inode *ino, void *ret_bytes, size_t len, int64_t position);
must_check int
inode_write(struct disk *d, struct inode *ino, const uint8_t *bytes, size_t len, int64_t position);
void inode_truncate(struct disk *d, struct inode *ino, int64_t size);
must_check int inode_allocate(struct disk *d, struct inode *ino, int64_t size);
void inode_sync(struct inode *ino);
void inode_forget_dirty(struct inode *ino); /* a failed sync */
void inode_patch(struct disk *d,
                 struct inode *ino,
                 const uint8_t *bytes,
                 size_t len,
                 int64_t position);

void disk_sync_dir(struct disk *d, struct inode *dir);
void disk_sync_all(struct disk *d);
void disk_power_on(struct disk *d, uint64_t seed, enum simfs_mode mode);

#endif
