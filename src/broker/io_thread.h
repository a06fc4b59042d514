/*
 * One io thread: a loop, the requests of its connections, and what its turn has to do at the end:
 * write the logs that were appended to, then wake whom that concerns, then (net) send.
 *
 * Thread: the loop's own, except where a function says any.
 */
#ifndef BROKER_IO_THREAD_H
#define BROKER_IO_THREAD_H

#include "base/base.h"
#include "base/list.h"
#include "base/logger.h"
#include "base/str.h"
#include "base/sync.h"
#include "base/timers.h"
#include "net/loop.h"
#include "wire/cursor.h"

struct broker;
struct conn_handler;
struct conn_set;
struct image;
struct io_thread;
struct plog;
struct waiter;

#define IO_THREADS_MAX 64 /* threads to wake are a mask of 64 bits */

/* A piece of work; run() has it to itself, and may put it back in line. */
struct io_step {
    struct list link;
    void (*run)(struct io_step *step);
};

/* What the owner of a log does when it has asked an io thread to be reminded: constant, one for all
 * owners of a kind. On the loop's thread. */
struct log_duties {
    void (*write)(struct io_thread *io, void *owner); /* the turn that appended ends */
    void (*flush)(struct io_thread *io, void *owner); /* io_thread_flush_later's time has passed */
    void (*release)(void *owner); /* of the reference that came with it; always the last call */
};

/* A log that this turn has staged to first. */
struct dirty_log {
    struct plog *pl; /* borrowed from the owner */
    void *owner;     /* a reference */
    const struct log_duties *duties;
};

/* A log in page-cache mode whose flush.ms runs. */
struct flush_later {
    void *owner; /* a reference */
    const struct log_duties *duties;
    int64_t due_ms;
};

struct io_thread {
    struct broker *br;      /* borrowed */
    struct loop *loop;      /* owned */
    struct conn_set *conns; /* owned; NULL: it has none */
    size_t index;           /* in br->ios */
    struct thread thread;
    struct image *image; /* a reference: the image of this turn */
    struct turn_task write_task;
    struct turn_task ahead_task; /* of the next turn, while a long append is being written */
    struct turn_task ready_task;
    struct turn_task image_task; /* lets go of the turn's image */
    struct turn_task go_on_task;
    struct list going_on;    /* struct io_step: work that the last turns had no time for */
    struct dirty_log *dirty; /* owned */
    size_t dirty_count;
    size_t dirty_cap;
    struct list free_requests; /* struct io_step: of request.c, run() frees one */
    size_t free_count;
    int64_t write_kib_ns;      /* what a KiB of a write costs, as of late */
    struct writer writer;      /* answers are encoded here */
    struct flush_later *later; /* owned */
    size_t later_count;
    size_t later_cap;
    struct timer later_timer;
    struct lock ready_lock; /* LOCK_IO_EVENTS */
    struct list ready;      /* ready_lock: struct waiter by ready_link */
    struct list waking_late;
    struct list waking;  /* the same, this thread's own: taken off it, and not woken yet */
    bool is_wake_posted; /* ready_lock: ready_job is on its way */
    struct job ready_job;
    struct log_limit storage_limit;
    struct log_limit read_limit;
    struct log_limit frame_limit;
    struct log_limit error_limit;
    struct log_limit transaction_limit;
};

/* handler: what becomes of frames (dispatch.h); copied, its ctx is set to the new io thread. NULL:
 * the thread has no connections (the coordinator's). */
must_check int io_thread_new(struct broker *br,
                             size_t index,
                             const struct conn_handler *handler,
                             struct io_thread **ret);
must_check int io_thread_start(struct io_thread *io);
void io_thread_stop(struct io_thread *io); /* ends the loop and joins */
struct io_thread *io_thread_free(struct io_thread *io);

/* The image that this turn uses throughout; borrowed until the end of the turn. */
struct image *io_thread_image(struct io_thread *io);

/* duties->flush(owner) when the time has passed. Takes the reference. */
void io_thread_flush_later(struct io_thread *io,
                           int64_t delay_ms,
                           const struct log_duties *duties,
                           void *owner);

/* duties->write(owner) at the end of this turn; a long append is written ahead in pieces, and then
 * at the end of a later one. Takes the reference. */
void io_thread_add_dirty(struct io_thread *io,
                         struct plog *pl,
                         const struct log_duties *duties,
                         void *owner);

/* What writing so much to logs that are not dirty yet, so many, will take at the end of the turn.
 */
int64_t io_thread_write_ns(const struct io_thread *io, size_t logs, size_t bytes);

/* Any thread, under the partition's lock. True: the thread must be woken (io_thread_wake), outside
 * the lock. */
must_check bool io_thread_push_ready(struct io_thread *io, struct waiter *w);
/* Any thread. self: the io thread that calls, or NULL. */
void io_thread_wake(struct io_thread *io, struct io_thread *self);
void io_thread_cancel_ready(struct io_thread *io, struct waiter *w);

/* step->run in the next turn, in a slice that it shares with others. */
void io_thread_go_on(struct io_thread *io, struct io_step *step);

/* One rate-limited line about a log that could not be written. */
void io_thread_report_storage(struct io_thread *io, struct str topic, int32_t number, int err);
/* The same about one that could not be read. Any thread. */
void io_thread_report_read(struct io_thread *io, struct str topic, int32_t number, int err);

#endif
