/*
 * What the rooms of a connection share, from above: conn_set.c (sets, lives), conn_in.c (frames
 * come in), conn_out.c (answers go out in their order), conn_state.c. Nobody else includes this.
 */
#ifndef NET_CONN_PRIVATE_H
#define NET_CONN_PRIVATE_H

#include "base/base.h"
#include "base/timers.h"
#include "net/blob_pool.h"
#include "net/conn.h"
#include "net/conn_memory.h"
#include "net/loop.h"

#include <event2/event_struct.h>

enum {
    CONN_SHARED_BYTES = 64 << 10, /* receive blob that small requests share; so for answers */
    CONN_RECEIVE_MIN = 16 << 10,  /* a receive into it has at least this room */
    CONN_PREPEND_MAX =
        4 << 10, /* a partial frame up to this is copied to where the rest will be received */
    CONN_TRUST_MIN =
        32 << 10, /* after a frame above this the next one gets a blob of its own at once */
    CONN_TURN_BYTES = 256 << 10,     /* read from one connection in one turn */
    CONN_TURN_LARGE_BYTES = 2 << 20, /* the same in the middle of one large frame */
    CONN_GREEDY_FRAMES = 8,
    CONN_FILL_MAX = 256 << 10,                     /* received by one call */
    CONN_TURN_FRAMES = 64,                         /* offered from one connection in one turn */
    CONN_TURN_SEND_BYTES = (1 << 20) + (64 << 10), /* sent to one connection in one turn */
    CONN_QUANTUM_NS = 150000, /* one connection's frames in one turn, but for the first */
    CONN_COPY_MAX = 16 << 10, /* what is left of a smaller answer is copied out of shared memory */
    CONN_LINGER_MS = 1000,    /* for answers under way when the peer has ended its side */
    CONN_STALL_MS = 1000,     /* in the middle of a frame while others wait for memory */
    CONN_PACE_MS = 1000,      /* for so many bytes of a large frame while others wait for memory */
    CONN_PACE_BYTES = 64 << 10,
    CONN_PACE_LOOK_MS = 250,
    CONN_SLOW_MS = 1000, /* without taking a byte while memory of answers is short */
    CONN_LOG_INTERVAL_MS = 1000,
};

struct conn {
    struct list node;    /* in cs->by_activity, oldest first; or cs->dying */
    struct list ready;   /* in cs->ready or cs->backlog */
    struct list dirty;   /* in cs->dirty or cs->dirty_late */
    struct list waiting; /* in cs->waiting or cs->queued: memory */
    struct list passing; /* in cs->passing: it has a pass */
    struct conn_set *cs; /* borrowed */
    int fd;              /* owned; -1: closed */
    uint64_t id;
    struct conn_peer peer;
    void *tag;
    void *data;
    struct conn_share *share; /* borrowed; NULL: nobody counts it */
    struct event event;       /* edges of both directions */
    int64_t active_ns;        /* machine clock at the last byte in or out */

    /* Input: bytes [in_start, in_end) of `in` are not yet parsed. is_own: the blob was taken for
     * this connection, and receiving goes on in it; else it is the shared one, or has been. */
    struct blob *in; /* a reference, or NULL: nothing is pending */
    size_t in_start;
    size_t in_end;
    bool in_is_own;
    bool is_readable;  /* the socket may have bytes */
    bool has_hangup;   /* the end of the stream may follow the bytes without a further edge */
    bool is_at_end;    /* the peer has ended its side */
    bool is_pumping;   /* its frames are being offered */
    bool is_greedy;    /* had much to say when it was last pumped: those who had not come first */
    bool is_held;      /* CONN_HOLD */
    bool is_queued;    /* in cs->queued */
    bool is_next;      /* the next in need of memory may take some beyond the limit */
    bool is_closing;   /* no more input; ends when the output is done */
    bool is_bad;       /* closing for the length of a frame */
    bool is_dead;      /* closed; callbacks or slots are left */
    bool is_announced; /* on_close was called */
    struct conn_pass pass; /* of the large frame that is coming */
    size_t pass_bytes;     /* it was given for */
    size_t pace_bytes;     /* have come since pace_ns */
    int64_t pace_ns;       /* machine clock: then it had had CONN_PACE_BYTES more */
    size_t trust;          /* size of a frame that this connection has completed lately */
    uint64_t turn;         /* the turn that the two counts are of */
    size_t turn_bytes;
    size_t turn_frames;
    struct timer mute;
    struct timer linger;
    int64_t muted_until_ms;
    enum conn_end reason;

    /* Output. */
    struct list slots;   /* struct conn_slot in order: started, their answers not yet in `out` */
    size_t started;      /* of them unanswered */
    size_t unsent;       /* bytes in out and in answered slots */
    size_t held;         /* those of them that are memory */
    int64_t progress_ns; /* machine clock: a byte of `out` was taken, or it was empty */
    struct blob *tail;   /* a reference: copies of small answers that wait, or NULL */
    size_t tail_used;
    struct rope out;
    bool is_writable; /* no send has come back short since the last edge */
    bool must_end;    /* close when out has been sent: a slot failed */
};

struct conn_set {
    struct loop *loop; /* borrowed */
    struct conn_options options;
    struct blob_pool *pool;
    struct loop_waiter waiter;
    struct loop_waiter excess; /* more connections than are allowed */
    struct turn_task shed_task;
    struct list by_activity;
    struct list ready;   /* something has happened: first in each turn */
    struct list backlog; /* they have had their share of a turn and want more */
    struct list dirty;
    struct list dirty_late; /* those that can wait a little */
    struct list waiting;    /* for memory of small frames */
    struct list queued;     /* for the pass of a large frame */
    struct list passing;    /* they have one */
    struct list dying;
    struct list released;       /* struct conn_slot */
    struct turn_task pump_task; /* reads the ready ones */
    struct turn_task send_task;
    struct turn_task free_task;
    struct timer idle;
    struct timer stall;
    struct timer pace;
    struct timer slow;
    struct log_limit slow_limit;
    size_t held;       /* of all connections */
    size_t held_told;  /* what options.answers knows of it */
    int64_t held_else; /* what others hold, as it was when the turn began */
    bool was_full;     /* options.answers was above its max when this set last looked */
    int64_t pump_ns;   /* machine clock when the connection at hand got its turn */
    struct log_limit bad_frame_limit;
    struct log_limit memory_limit;
    struct blob *shared; /* a reference: being filled by receives; NULL: none */
    size_t shared_used;
    struct blob *out; /* a reference: being filled by answers */
    size_t out_used;
    struct blob *out_large; /* a reference: between reserve and add */
    size_t count;
    uint64_t next_id;
    uint64_t turn;
    int64_t frames; /* of this turn, added to the metrics at its end */
    int64_t bytes_in;
    int64_t bytes_out;
    struct metric *open_gauge; /* borrowed, may be NULL; so are the others */
    struct metric *opened_count;
    struct metric *frames_count;
    struct metric *bytes_in_count;
    struct metric *bytes_out_count;
    struct metric *ends[CONN_ENDS];
};

/* conn_state.c */
bool conn_is_room_short(const struct conn_set *cs); /* memory of answers is used up */
bool conn_may_read(const struct conn *cn);          /* no bound forbids it */
bool conn_has_frame(const struct conn *cn); /* a whole one, or a length that ends it, is pending */
bool conn_has_input(const struct conn *cn); /* and there is something to read */
void conn_make_ready(struct conn *cn);      /* look at it (again) in the next pump */
void conn_put_off(struct conn *cn);         /* the same, after those who have not had their share */
void conn_make_dirty(struct conn *cn);      /* send at the end of the turn */
bool conn_has_pass(const struct conn *cn);  /* its large frame may go on */
void conn_end_pass(struct conn *cn);        /* its large frame is whole, or no more */
void conn_touch(struct conn *cn);           /* a byte has come or gone */
void conn_end(struct conn *cn, enum conn_end reason);
void conn_end_if_done(struct conn *cn);

/* conn_in.c */
void conn_in_event(int fd, short what, void *ctx);        /* of libevent */
void conn_in_pump_all(struct turn_task *task, void *ctx); /* cs->pump_task */
void conn_in_resume(void *ctx);                           /* memory was given back */
void conn_in_stall(struct timer *t, void *ctx);           /* cs->stall */
void conn_in_pace(struct timer *t, void *ctx);            /* cs->pace */

/* conn_out.c */
void conn_out_send_all(struct turn_task *task, void *ctx); /* cs->send_task */
void conn_out_release_slots(struct conn_set *cs);          /* on_release for those that are done */
void conn_out_abandon(struct conn *cn);                    /* the slots of a dead connection */
void conn_out_slow(struct timer *t, void *ctx);            /* cs->slow */
void conn_out_look(struct conn_set *cs);                   /* start of a turn: what others hold */
void conn_out_trim(
    struct conn_set *cs); /* end of turn: shared memory that nobody needs goes back */

#endif
