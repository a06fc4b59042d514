/*
 * Group commit's thread: syncs the logs that it is told of, all that have come meanwhile in one
 * round (storage/flusher.h). What follows from a flush is a function that it is given.
 */
#ifndef BROKER_GROUP_COMMIT_H
#define BROKER_GROUP_COMMIT_H

#include "base/base.h"

struct group_commit;
struct plog;
struct plog_env;

/* on_flushed: on its thread, outside all locks; err 0: the log is on stable storage up to flushed;
 * else why it went offline. */
struct group_commit *
group_commit_new(struct plog_env *env,
                 void (*on_flushed)(void *ctx, struct plog *pl, int64_t flushed, int err),
                 void *ctx);
must_check int group_commit_start(struct group_commit *gc);
void group_commit_stop(struct group_commit *gc); /* syncs what is queued, then ends the thread */
struct group_commit *group_commit_free(struct group_commit *gc);

/* The log has written bytes that acks or a flush interval wait for. Any thread. After
 * group_commit_stop it is synced within the call. */
void group_commit_flush(struct group_commit *gc, struct plog *pl);
/* Before a log is closed: no round uses it afterwards. */
void group_commit_forget(struct group_commit *gc, struct plog *pl);

#endif
