/*
 * Everything that was ever appended to the metadata log, and what may be left of it after a crash:
 * all up to the committed end, and behind it whole jobs, in order, up to some place. The image is
 * always what a replay from nothing makes of it.
 */
#ifndef TESTS_SIM_META_HISTORY_H
#define TESTS_SIM_META_HISTORY_H

#include "base/base.h"
#include "base/mem.h"
#include "meta/image.h"
#include "sim.h"

/* Records that one request made: all of them are in the log or none. */
struct history_entry {
    int64_t base_offset;
    int32_t count;
    int32_t epoch;
    struct view *records; /* in the arena; NULL: control records of the log itself */
};

struct meta_history {
    struct arena arena;
    struct history_entry *entries; /* owned, by offset, without gaps */
    size_t count;
    size_t cap;
    int64_t committed; /* below: answered, or could have been */
};

void meta_history_release(struct meta_history *h);
/* records NULL: `count` control records. */
void meta_history_add(struct meta_history *h,
                      int64_t base_offset,
                      int32_t epoch,
                      const struct view *records,
                      size_t count);
int64_t meta_history_end(const struct meta_history *h);
/* A node found a log that ends here, and this image in it. */
bool meta_history_check(const struct meta_history *h,
                        struct sim *s,
                        const char *who,
                        int64_t end,
                        const struct image *im);
/* What lies behind the end is lost. */
void meta_history_cut(struct meta_history *h, int64_t end);

/* A hash over all that an image says, in the order of a snapshot. */
uint64_t meta_history_digest(const struct image *im);

#endif
