/*
 * Threads, ranked locks, mailboxes.
 *
 * A lock has a rank from LOCK_TABLE; a thread takes locks in ascending rank only. A build with
 * debug_checks keeps the ranks a thread holds and checks them. No callback, completion, fsync or
 * peer-sized allocation under a lock.
 *
 * A mailbox is a bounded queue of jobs into one thread, with a wake function of the receiver.
 */
#ifndef BASE_SYNC_H
#define BASE_SYNC_H

#include "base/base.h"
#include "base/list.h"

#include <pthread.h>

/* rank, name, what it guards */
#define LOCK_TABLE(ROW)                                                                      \
    ROW(10, LOCK_BROKER, "tables of the broker: partitions by topic id, images")             \
    ROW(20, LOCK_LOG_DIR, "table of logs, checkpoints of one log directory")                 \
    ROW(25, LOCK_PARTITION, "stage, write and wait of one partition's appends in one order") \
    ROW(30, LOCK_PLOG, "append, roll and truncate of one log")                               \
    ROW(40, LOCK_FLUSHER, "the queue of dirty logs")                                         \
    ROW(50, LOCK_PURGATORY, "parked requests of one partition")                              \
    ROW(60, LOCK_FD_CACHE, "open segment files")                                             \
    ROW(65, LOCK_IO_EVENTS, "waiters that became ready, for one io thread")                  \
    ROW(65, LOCK_NET, "who waits for request memory or for room for connections")            \
    ROW(70, LOCK_MAILBOX, "jobs for one thread")                                             \
    ROW(90, LOCK_LEAF, "anything that takes no other lock: logger, metrics, simulated disk")

enum lock_rank {
#define ROW(rank, name, text) name = (rank),
    LOCK_TABLE(ROW)
#undef ROW
};

struct lock {
    pthread_mutex_t mutex;
    enum lock_rank rank;
};

void lock_init(struct lock *l, enum lock_rank rank);
void lock_release(struct lock *l);
void lock_take(struct lock *l);
void lock_give(struct lock *l);

struct cond {
    pthread_cond_t cond;
};

void cond_init(struct cond *c);
void cond_release(struct cond *c);
void cond_wait(struct cond *c, struct lock *l);
/* False when timeout_ms passed without a signal; monotonic. */
bool cond_wait_ms(struct cond *c, struct lock *l, int64_t timeout_ms);
void cond_signal(struct cond *c);
void cond_broadcast(struct cond *c);

struct thread {
    pthread_t id;
    bool is_started;
    void (*run)(void *ctx);
    void *ctx;
    char name[16];
};

must_check int thread_start(struct thread *t, const char *name, void (*run)(void *ctx), void *ctx);
/* The calling thread wants the processor soon when it wakes, for this long at a time, and is so
 * many steps nicer to others than its starter was (0: as nice). Kernels before 6.12 know no slices.
 */
void thread_set_slice(int64_t slice_ns, int nice_steps);
void thread_join(struct thread *t); /* takes one that never started */

/* A piece of work for another thread. Lives in a struct of the sender, who must keep it until run()
 * has been called; run() may free it. */
struct job {
    struct list node;
    void (*run)(struct job *j);
};

struct mailbox {
    struct lock lock;
    struct list jobs;
    size_t count;
    size_t max; /* 0: bounded by its senders (each has a fixed number of jobs) */
    bool is_closed;
    void (*wake)(void *ctx); /* called outside the lock when the box was empty before */
    void *ctx;
};

void mailbox_init(struct mailbox *m, size_t max, void (*wake)(void *ctx), void *ctx);
void mailbox_release(struct mailbox *m);                        /* must be empty */
must_check bool mailbox_post(struct mailbox *m, struct job *j); /* false: full or closed */
/* Moves what is there now behind the jobs in `to`; the caller runs them. */
void mailbox_take(struct mailbox *m, struct list *to);
void mailbox_close(struct mailbox *m); /* later posts are refused; what is in it can still be run */

#endif
