/*
 * One event loop: an event_base of libevent, timers, a mailbox, and the turn.
 *
 * A turn is the unit of batching: the loop sleeps until something happens, takes in what has come
 * (sockets, mailbox, due timers), and ends the turn once: tasks registered with loop_at_turn_end
 * run, lowest priority number first, each once. That is where the appends of a turn become one
 * write, and the answers of a connection one writev. Time is read once at the start of a turn.
 *
 * A turn is short, whatever comes: who has many things to do takes a slice, does at least one, and
 * stops when the slice is over; the rest waits for the next turn (loop_at_next_turn). Jobs and
 * timers are run in that way. What a thing will still cost at the end of the turn is owed to it
 * beforehand.
 *
 * Nothing wakes a loop without a reason: libevent is given the next deadline only.
 *
 * Threads: loop_post and loop_stop from any thread; everything else on the thread that runs the
 * loop, or before loop_run and after it has returned.
 */
#ifndef NET_LOOP_H
#define NET_LOOP_H

#include "base/base.h"
#include "base/clock.h"
#include "base/list.h"
#include "base/logger.h"
#include "base/metrics.h"
#include "base/sync.h"
#include "base/timers.h"

struct event_base;
struct loop;

struct loop_options {
    struct clock *clock;   /* borrowed */
    struct logger *logger; /* borrowed; NULL: silent */
    /* borrowed; NULL: none. loop_turns, loop_turns_long, loop_turn_max_us (processor time; turns
     * below half a millisecond are not looked at), loop_turn_wall_max_us */
    struct metrics *metrics;
};

must_check int loop_new(const struct loop_options *options, struct loop **ret);
struct loop *loop_free(struct loop *lp); /* takes NULL, returns NULL; not while it runs */

/* Runs turns on the calling thread until loop_stop. May be called again. */
void loop_run(struct loop *lp);
/* One turn; without `may_wait` it does not sleep. For tests and for a last sweep at the end. */
void loop_turn(struct loop *lp, bool may_wait);
/* loop_run returns after the turn that it is in (or the next one that anything starts). Any thread.
 */
void loop_stop(struct loop *lp);

/* Runs j on the loop's thread. Any thread. False: the loop takes no more (loop_close_mailbox). */
must_check bool loop_post(struct loop *lp, struct job *j);
void loop_close_mailbox(struct loop *lp); /* later posts are refused */

/* Milliseconds of the protocol clock as it was when the loop was made, carried on by the machine
 * clock: never jumps, never goes back. For deadlines and distances. Cached for the turn. */
int64_t loop_now_ms(const struct loop *lp);
/* The protocol clock itself (timestamps of records). Cached for the turn. */
int64_t loop_wall_ms(const struct loop *lp);
/* The machine clock when the turn began, in nanoseconds. */
int64_t loop_mono_ns(const struct loop *lp);
/* The same read now: how long the turn has lasted. */
int64_t loop_turn_ns(const struct loop *lp);

/* A slice of the turn begins; one at a time. It is over when the turn has lasted its budget and the
 * slice its least. */
void loop_begin_slice(struct loop *lp);
bool loop_slice_is_over(const struct loop *lp);
/* Work was done that will cost so much more at the end of this turn. */
void loop_owe(struct loop *lp, int64_t ns);
/* The next turn will owe so much before it begins. */
void loop_owe_next(struct loop *lp, int64_t ns);
/* May this turn owe so much more? What is large by itself may be owed when nothing else is. */
bool loop_may_owe(const struct loop *lp, int64_t ns);
bool loop_is_sweep(const struct loop *lp); /* the turn is a last sweep: it shall do all there is */

/* Timers of this loop; deadlines on the time of loop_now_ms. */
struct timers *loop_timers(struct loop *lp);

struct clock *loop_clock(struct loop *lp);
struct logger *loop_logger(struct loop *lp);
struct event_base *loop_base(struct loop *lp);   /* of this layer only */
bool loop_is_current(const struct loop *lp);     /* the calling thread runs it */
void loop_set_data(struct loop *lp, void *data); /* for the owner: what belongs to this loop */
void *loop_data(const struct loop *lp);

/* Places at the end of a turn, in this order. */
enum turn_priority {
    TURN_APPEND, /* writes of the turn to the logs */
    TURN_COMMIT, /* what follows from them: high watermarks, flush rounds asked for */
    TURN_WAKE,   /* parked requests that these have completed */
    TURN_SEND,   /* answers of the turn leave */
    TURN_FREE,   /* what ended in this turn is freed */
};

enum {
    TURN_PRIORITIES = 5, /* count of the places above */
};

/* Lives in a struct of the caller, who keeps it until run() has been called or takes it out. */
struct turn_task {
    struct list node;
    enum turn_priority priority;
    void (*run)(struct turn_task *task, void *ctx);
    void *ctx;
};

void turn_task_init(struct turn_task *task,
                    enum turn_priority priority,
                    void (*run)(struct turn_task *task, void *ctx),
                    void *ctx);
/* Runs the task once at the end of this turn; nothing when it is queued already. A task may queue
 * others, of any priority, and itself; between turns it runs at the end of the next one. */
void loop_at_turn_end(struct loop *lp, struct turn_task *task);
/* Runs the task at the start of the next turn, which then does not wait; its priority is of no
 * matter. For work that goes on when the budget of a turn is used up. */
void loop_at_next_turn(struct loop *lp, struct turn_task *task);
void turn_task_cancel(struct turn_task *task);

/* Called by whatever wakes the loop through loop_base: opens the turn (reads the clocks) unless it
 * is open. */
void loop_enter_turn(struct loop *lp);

#endif
