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
#include "base/sync.h"
#include "broker/request.h"
#include "net/loop.h"

struct broker;
struct partition;
struct waiter;

#define IO_THREADS_MAX 64 /* threads to wake are a mask of 64 bits */

/* A log in page-cache mode whose flush.ms runs. */
struct flush_later {
    struct partition *p; /* a reference */
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
    struct list going_on;     /* struct request by link: work that the last turns had no time for */
    struct partition **dirty; /* references: logs that this turn has staged to first */
    size_t dirty_count;
    size_t dirty_cap;
    struct list free_requests; /* struct request by link; at most FREE_REQUESTS_MAX */
    size_t free_count;
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
    struct log_limit frame_limit;
    struct log_limit error_limit;
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

/* Asks for a flush of this log when the time has passed. */
void io_thread_flush_later(struct io_thread *io, struct partition *p, int64_t delay_ms);

void io_thread_add_dirty(struct io_thread *io, struct partition *p);

/* Any thread, under the partition's lock. True: the thread must be woken (io_thread_wake), outside
 * the lock. */
must_check bool io_thread_push_ready(struct io_thread *io, struct waiter *w);
/* Any thread. self: the io thread that calls, or NULL. */
void io_thread_wake(struct io_thread *io, struct io_thread *self);
void io_thread_cancel_ready(struct io_thread *io, struct waiter *w);

/* rq->go_on in the next turn. */
void io_thread_go_on(struct io_thread *io, struct request *rq);

/* One rate-limited line about a log that could not be written. */
void io_thread_report_storage(struct io_thread *io, struct partition *p, int err);

struct request *io_thread_take_request(struct io_thread *io);
void io_thread_give_request(struct io_thread *io, struct request *rq);

#endif
