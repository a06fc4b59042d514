/*
 * What lies in a log's directory, and cleaning up after interrupted deletions and compactions:
 * LogLoader's rules for `.deleted`, `.cleaned` and `.swap` files. Blocking; before the log is used.
 */
#ifndef STORAGE_LEFTOVERS_H
#define STORAGE_LEFTOVERS_H

#include "base/base.h"
#include "base/fs.h"

enum side_files {
    SIDE_INDEX = 1,
    SIDE_TIME_INDEX = 2,
    SIDE_TXN_INDEX = 4,
    SIDE_LOG = 8,
};

struct segment_files {
    int64_t base_offset;
    unsigned files; /* enum side_files */
};

struct log_listing {
    struct segment_files *segments; /* owned, ascending; with or without a .log */
    size_t segments_count;
    size_t segments_cap;
    int64_t *snapshots; /* owned, ascending */
    size_t snapshots_count;
    size_t snapshots_cap;
    char **leftovers; /* owned names: .deleted, .cleaned, .swap, .tmp */
    size_t leftovers_count;
    size_t leftovers_cap;
    bool has_epochs;
};

/* -ENOENT: no directory. */
must_check int log_listing_read(struct log_listing *ll, struct fs *fs, const char *dir);
void log_listing_release(struct log_listing *ll);

/* Finishes or undoes what was interrupted. *ret_changed: names changed; then list the directory
 * again. */
must_check int
leftovers_resolve(const struct log_listing *ll, struct fs *fs, const char *dir, bool *ret_changed);

#endif
