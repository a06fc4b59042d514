/*
 * Files and directories that were deleted and stay for a while under another name, as Kafka keeps
 * them for file.delete.delay.ms: a file as `<name>.deleted`, the directory of a deleted partition
 * as
 * `<name>.<uuid>-delete`. When their time has come somebody calls trash_empty; until then they cost
 * a list entry. What still waits at the end stays on the disk: the next start removes it.
 *
 * Thread: any. trash_put renames and may be called under a log's lock; trash_tell calls the owner
 * back and must not be.
 */
#ifndef STORAGE_TRASH_H
#define STORAGE_TRASH_H

#include "base/base.h"

struct clock;
struct fs;
struct trash;

/* Names that wait. With as many nothing waits any more: it goes at once. */
#define TRASH_NAMES_MAX 100000

struct trash *trash_new(struct fs *fs, struct clock *clock);
struct trash *trash_free(struct trash *tr);

/* Called by trash_tell when something is due earlier than was known; NULL: nobody listens. */
void trash_listen(struct trash *tr, void (*on_put)(void *ctx), void *ctx);

/* The file's name is free: it waits under another one. Where it cannot be renamed (no room for a
 * longer name), or `tr` is NULL, it is unlinked. A file that is not there is no error. */
must_check int trash_put(struct trash *tr, struct fs *fs, const char *path, int64_t delay_ms);
/* A directory, renamed by its owner, who has closed what is in it. */
void trash_put_tree(struct trash *tr, const char *path, int64_t delay_ms);
/* After one or more of these, without any lock. Takes NULL. */
void trash_tell(struct trash *tr);

/* How long until the first is due; 0 now, INT64_MAX: nothing waits. */
int64_t trash_wait_ms(struct trash *tr);
/* Removes what is due. Blocking. What there is no descriptor or memory for is tried again later;
 * `failed` hears of what cannot be removed: that waits for the next start. */
void trash_empty(struct trash *tr, void (*failed)(void *ctx, const char *path, int err), void *ctx);

#endif
