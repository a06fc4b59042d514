/*
 * Group commit: logs with written, unflushed bytes queue here; one round takes all of them, syncs
 * each file once (or the whole file system when there are many), and reports each. A round is as
 * long as the disk needs, so the batch grows with the load. flusher_add: any thread; flusher_round:
 * the background thread that owns the flusher (or a test).
 */
#ifndef STORAGE_FLUSHER_H
#define STORAGE_FLUSHER_H

#include "base/base.h"
#include "storage/plog.h"

/* Above this many syncs of a round one syncfs is cheaper (measured on ext4: 4 files 12 ms against 4
 * ms, 64 files 95 ms against 9 ms; each fdatasync of a grown file is a journal commit of its own).
 */
#define FLUSHER_FILES_MAX 4

struct flusher;

/* on_flushed: on the thread of flusher_round, outside all locks. err: 0 or why the log went
 * offline. */
struct flusher *
flusher_new(struct plog_env *env,
            void (*on_flushed)(void *ctx, struct plog *pl, int64_t flushed, int err),
            void *ctx);
struct flusher *flusher_free(struct flusher *fl);
/* Queues the log unless it is queued. True when the queue was empty: wake the thread. */
bool flusher_add(struct flusher *fl, struct plog *pl);
/* Takes a log that is about to be closed off the queue; returns when no round is using it. */
void flusher_remove(struct flusher *fl, struct plog *pl);
/* One round over what is queued now. Returns the number of logs; 0: nothing queued. */
size_t flusher_round(struct flusher *fl);

#endif
