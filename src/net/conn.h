/*
 * Connections of one loop: frames in, answers out in order.
 *
 * In     A frame is an int32 length and so many bytes; each whole frame is offered to on_frame. A
 * length that is negative, zero or above the limit closes the connection at once, with one
 * rate-limited line. Memory grows with the bytes that have come, never with a length that was
 * promised. An idle connection holds no buffer. Out    conn_start puts a request in the order of
 * its connection, conn_answer gives its answer, in any order; answers leave in the order of the
 * starts, all of a turn together at its end. Bounds bytes and frames a turn, started requests,
 * unsent bytes; at each of them reading stops until it is below again. Memory of all connections of
 * a broker is bounded by conn_memory.
 *
 * A request that is started lives in a struct of the caller, with a conn_slot inside:
 *
 *   on_frame(cn, blob, frame, len)    conn_start(cn, &rq->slot); keep blob_ref(blob); ...; return
 * CONN_TAKEN conn_answer(&rq->slot, &rope)     once, at any later time (or inside on_frame), on the
 * loop's thread on_release(slot)                  once, after that, at the end of a turn: net has
 * let go of the slot on_abandon(slot)                  before the answer, when the connection has
 * died: nobody waits any more. conn_answer is still owed, now or later; its rope is dropped
 *
 * No callback is made from inside conn_start, conn_answer, conn_fail, conn_close or
 * conn_mute_until; a connection lives until its last slot has been answered, and dies at the end of
 * a turn.
 *
 * Threads: everything on the loop's thread; conn_memory is shared by the loops of a broker.
 */
#ifndef NET_CONN_H
#define NET_CONN_H

#include "base/base.h"
#include "base/bytes.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "net/loop.h"

#include <netinet/in.h>
#include <sys/socket.h>

struct conn;
struct conn_set;
struct conn_limits;
struct conn_memory;
struct conn_share;
struct conn_slot;

enum conn_verdict {
    CONN_TAKEN, /* the frame is done with, or a request was started that keeps a reference of the
                   blob */
    CONN_HOLD,  /* not now: offer the same frame again when all started requests of this connection
                   are answered. At least one must be unanswered, else the frame is offered again in
                   the next turn */
    CONN_CLOSE, /* no further reads; close when the answers of earlier requests have been sent */
};

enum conn_end {
    CONN_END_PEER,      /* the peer closed, or its socket failed */
    CONN_END_IDLE,      /* connections.max.idle.ms */
    CONN_END_BAD_FRAME, /* a length that is not allowed */
    CONN_END_LOCAL,     /* CONN_CLOSE, conn_fail, conn_close, shutdown */
    CONN_END_MEMORY,  /* all but stopped in the middle of a frame while others waited for memory */
    CONN_END_FAILURE, /* ours: a file ended early or could not be read */
    CONN_END_SLOW,    /* did not take its answers while their memory was short */
    CONN_END_EXCESS, /* more than max.connections, and nothing had come or gone for the longest time
                      */
};

enum {
    CONN_ENDS = 8, /* count of the reasons above */
};

/* A peer's address. */
struct conn_peer {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } addr;
    socklen_t len; /* 0: unknown (a socket pair) */
};

#define CONN_PEER_TEXT_SIZE 64 /* "[ipv6]:port" and a NUL */

struct conn_handler {
    enum conn_verdict (
        *on_frame)(void *ctx, struct conn *cn, struct blob *blob, uint8_t *frame, size_t len);
    void (*on_open)(void *ctx, struct conn *cn); /* may be NULL */
    void (*on_close)(void *ctx,
                     struct conn *cn,
                     enum conn_end reason); /* may be NULL; no call for cn follows but
                                              on_abandon and on_release */
    void (*on_abandon)(void *ctx, struct conn_slot *slot); /* may be NULL */
    void (*on_release)(void *ctx, struct conn_slot *slot); /* may be NULL */
    void *ctx;
};

struct conn_options {
    struct conn_handler handler;
    struct conn_memory *memory;             /* borrowed; NULL: no bound */
    struct conn_limits *limits;             /* of listener.h; borrowed; NULL: none */
    struct metrics *metrics;                /* borrowed; NULL: none */
    void (*reap)(void *ctx, struct job *j); /* runs j elsewhere (blob_pool.h); NULL: nobody does */
    void *reap_ctx;
    size_t request_bytes_max; /* socket.request.max.bytes; 0: 100 MiB */
    size_t started_max;       /* unanswered requests of a connection; 0: 128 */
    size_t unsent_bytes_max;  /* beyond it a connection is not read; 0: 256 KiB */
    /* Counts the bytes of memory in answers that have not left. Above its max a connection is read
     * only when all its answers have left, and one that does not take its answers is closed after a
     * second. Borrowed; NULL: not counted. */
    struct mem_budget *answers;
    void (*on_room)(void *ctx); /* on the loop's thread: it is below its max again; may be NULL */
    void *on_room_ctx;
    int64_t idle_ms; /* connections.max.idle.ms; <= 0: none */
};

/* All connections of one loop. To end: stop the listeners, run the loop's last turns (arrivals may
 * still be in its mailbox), conn_set_close_all, answer what is unanswered, one more turn,
 * conn_set_free, loop_free. */
must_check int
conn_set_new(struct loop *lp, const struct conn_options *options, struct conn_set **ret);
/* Closes every connection; those with unanswered requests are abandoned and stay until answered. */
void conn_set_close_all(struct conn_set *cs);
size_t
conn_set_count(const struct conn_set *cs); /* those that wait for their last answer included */
/* After conn_set_close_all and a turn: conn_set_count must be 0. Takes NULL, returns NULL. */
struct conn_set *conn_set_free(struct conn_set *cs);
struct loop *conn_set_loop(struct conn_set *cs);

/* Takes over fd (non-blocking, a stream socket). `tag` tells the listener apart. The share (may be
 * NULL), which counts the peer, is left when the descriptor has been closed. Fails with -ENOMEM and
 * the like; then fd is closed. */
must_check int conn_open(struct conn_set *cs,
                         int fd,
                         const struct conn_peer *peer,
                         void *tag,
                         struct conn_share *share,
                         struct conn **ret);

struct loop *conn_loop(const struct conn *cn);
void *conn_tag(const struct conn *cn);
void conn_set_data(struct conn *cn, void *data); /* of the handler */
void *conn_data(const struct conn *cn);
uint64_t conn_id(const struct conn *cn); /* unique within its set */
const struct conn_peer *conn_peer(const struct conn *cn);
/* "127.0.0.1:40000", "[::1]:40000" or "unknown"; returns ret_text. */
const char *conn_peer_text(const struct conn_peer *peer, char ret_text[static CONN_PEER_TEXT_SIZE]);
size_t conn_started(const struct conn *cn); /* started and not yet answered */

/* Embedded in the caller's request; zeroed before the first use. */
struct conn_slot {
    struct list node;   /* in the order of its connection, then among those to be released */
    struct conn *cn;    /* NULL: not started */
    struct rope answer; /* waits for earlier ones */
    bool is_answered;
    bool must_close;
    bool is_abandoned; /* the connection has died */
};

/* In on_frame, on the frame's connection: this request is next in the order of answers. */
void conn_start(struct conn *cn, struct conn_slot *slot);
/* `answer`: all its runs are taken, it is left empty; NULL or empty: the request has none (acks=0).
 */
void conn_answer(struct conn_slot *slot, struct rope *answer);
/* No answer: the connection ends when this slot's turn has come and what is before it has been
 * sent. */
void conn_fail(struct conn_slot *slot);

/* Nothing more is parsed or read before the deadline (time of loop_now_ms); answers go on. A later
 * deadline moves an earlier one. */
void conn_mute_until(struct conn *cn, int64_t deadline_ms);
/* Ends it now: unsent answers are dropped. */
void conn_close(struct conn *cn);

/* Room for an answer in a blob that the answers of a turn share: so they become one run of memory.
 * Write at most `len` bytes at the result, then conn_out_add what was used to a rope. Only one at a
 * time. */
uint8_t *conn_out_reserve(struct conn_set *cs, size_t len);
void conn_out_add(struct conn_set *cs, size_t len, struct rope *answer);

/* Memory of request bytes of one broker, over all its loops. `memory` and `queued` (each may be
 * NULL) are the budgets of jackdaw.memory.max and queued.max.request.bytes; a quarter of each is
 * kept for small requests. What is in use is what has come; but a frame above 64 KiB goes on only
 * while the promised lengths of those that go on fill three quarters at most, or alone: a request
 * of any size passes, and memory stays within a budget, or one request and a quarter of it. Who
 * must wait is not read, holds 64 KiB at most, is never closed for it, and goes on in the order of
 * coming, huge ones at longer intervals, those whose bytes are not there last. Closed is who could
 * go on and holds up others: a large frame that has had less than 64 KiB in a second, a small one
 * without a byte. */
struct conn_memory *conn_memory_new(struct mem_budget *memory, struct mem_budget *queued);
struct conn_memory *
conn_memory_free(struct conn_memory *cm); /* after all sets and blobs; takes NULL */

#endif
