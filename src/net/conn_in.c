/*
 * Connections: their input; see conn.h.
 *
 * Reading. Sockets are watched for edges, so a connection costs no epoll_ctl in its life: a
 * callback only marks it and puts it on the ready list, and the pump, once a turn, goes through
 * that list in order, until its slice of the turn is over; what is left comes first in the next
 * turn. A connection leaves the list when it is drained, or blocked by one of its bounds: whoever
 * lifts the bound puts it back. One that has used up its share of a turn, or had much to say when
 * it was last pumped, goes to the backlog, which has what the others leave of the slice, and one
 * connection at least: who asks little waits only for others who ask little.
 *
 * Receive memory. Small requests of all connections are received into one shared blob of the loop,
 * one behind the other, and hold references of it. What is left of a frame that is not whole is
 * copied to a blob of its own size, so that an idle connection holds nothing and a slow one no more
 * than twice what it has sent; a large frame is received into its own blob, which doubles. Only
 * after a connection has completed a frame of N bytes may the next blob be made for N at once.
 *
 * The end of the stream. A short receive drains the socket without a second call; but when the edge
 * said that the peer has hung up, the end follows without another edge, and receiving goes on until
 * it is seen.
 */
#include "base/base.h"
#include "base/logger.h"
#include "base/mem.h"

#include <event2/event.h>
#include <sys/ioctl.h>

#include "net/conn_private.h"

/* True when this turn has done enough for this connection. */
static bool is_over_budget(struct conn *cn)
{
    if (cn->turn != cn->cs->turn) {
        cn->turn = cn->cs->turn;
        cn->turn_bytes = 0;
        cn->turn_frames = 0;
    }
    if (cn->turn_frames >= CONN_TURN_FRAMES ||
        (cn->turn_frames > 0 && loop_turn_ns(cn->cs->loop) - cn->cs->pump_ns > CONN_QUANTUM_NS)) {
        return true;
    }
    bool is_in_large = cn->in != NULL && cn->in_is_own && cn->in_start == 0;
    return cn->turn_bytes >= (is_in_large ? CONN_TURN_LARGE_BYTES : CONN_TURN_BYTES);
}

/* --- frames --- */

/* What came before the bad frame is answered first. */
static void close_for_frame(struct conn *cn, int32_t len)
{
    struct conn_set *cs = cn->cs;
    struct log_left_out left_out;
    if (log_limit_pass(&cs->bad_frame_limit, loop_clock(cs->loop), CONN_LOG_INTERVAL_MS,
                       &left_out)) {
        char peer[CONN_PEER_TEXT_SIZE];
        LOG_WARN(loop_logger(cs->loop), FAC_NET,
                 "closed a connection for the length of its request: peer=%s length=%d max=%zu%s",
                 conn_peer_text(&cn->peer, peer), len, cs->options.request_bytes_max,
                 left_out.text);
    }
    cn->is_closing = true;
    cn->is_bad = true;
    cn->in = blob_unref(cn->in);
    conn_end_if_done(cn);
}

/* Offers whole frames until there is none, or something blocks. */
static void parse(struct conn *cn)
{
    struct conn_set *cs = cn->cs;
    while (conn_may_read(cn) && conn_has_frame(cn) && !is_over_budget(cn)) {
        uint8_t *at = cn->in->data + cn->in_start;
        uint32_t len = load_be32(at);
        if (len == 0 || len > cs->options.request_bytes_max) {
            close_for_frame(cn, (int32_t)len);
            return;
        }
        conn_end_pass(cn);
        cs->frames++;
        cn->turn_frames++;
        enum conn_verdict verdict =
            cs->options.handler.on_frame(cs->options.handler.ctx, cn, cn->in, at + 4, len);
        if (cn->is_dead) {
            return; /* conn_close was called */
        }
        switch (verdict) {
        case CONN_TAKEN:
            cn->in_start += 4 + (size_t)len;
            cn->trust = max_size(len, cn->trust - cn->trust / 8);
            break;
        case CONN_HOLD:
            cs->frames--;
            if (cn->started == 0) {
                conn_put_off(cn); /* nobody else makes it ready */
                return;
            }
            cn->is_held = true;
            return;
        case CONN_CLOSE:
            cn->is_closing = true;
            cn->in = blob_unref(cn->in);
            conn_end_if_done(cn);
            return;
        }
    }
    if (cn->in != NULL && cn->in_start == cn->in_end) {
        cn->in = blob_unref(cn->in);
    }
}

/* --- receiving --- */

static enum conn_memory_use use_of(const struct conn *cn)
{
    /* What one in the queue keeps is less than what goes back for it. */
    return conn_has_pass(cn) || cn->is_queued ? CONN_MEMORY_FORCED
           : cn->is_next                      ? CONN_MEMORY_BEYOND
                                              : CONN_MEMORY_SMALL;
}

static struct blob *take(struct conn *cn, size_t size)
{
    struct blob_pool *bp = cn->cs->pool;
    struct blob *b = blob_pool_take(bp, size, use_of(cn));
    if (b == NULL && blob_pool_lent(bp) == 0) {
        /* Every loop may have one blob, however small the budget is: or nothing would ever move. */
        b = blob_pool_take(bp, size, CONN_MEMORY_FORCED);
    }
    return b;
}

/* Makes room for `room` bytes in the shared blob. */
static bool open_shared(struct conn *cn, size_t room)
{
    struct conn_set *cs = cn->cs;
    if (cs->shared != NULL && !blob_is_shared(cs->shared)) {
        cs->shared_used = 0;
    }
    if (cs->shared != NULL && cs->shared->cap - cs->shared_used >= room) {
        return true;
    }
    cs->shared = blob_unref(cs->shared);
    cs->shared = take(cn, CONN_SHARED_BYTES);
    cs->shared_used = 0;
    return cs->shared != NULL;
}

/* How many bytes the frame that is pending has with its length; 0: not known yet. */
static size_t pending_need(const struct conn *cn)
{
    size_t have = cn->in_end - cn->in_start;
    return have < 4 ? 0 : 4 + (size_t)load_be32(cn->in->data + cn->in_start);
}

/* The size of the blob of what is pending, `have` bytes of a frame of `want`. */
static size_t size_of_own(const struct conn *cn, size_t have, size_t want)
{
    size_t size = max_size(2 * have, cn->trust + 4);
    if (cn->is_queued) {
        return have;
    }
    if (conn_has_pass(cn)) {
        size = max_size(size, 2 * CONN_SHARED_BYTES);
    } else {
        size = min_size(cn->is_next ? want : size, CONN_SHARED_BYTES);
    }
    return max_size(min_size(want, size), have);
}

/* Moves what is pending, less than a frame, to a blob of its own, sized by what has come. */
static bool settle(struct conn *cn)
{
    if (cn->in == NULL || (cn->in_is_own && cn->in_start == 0)) {
        return true;
    }
    size_t have = cn->in_end - cn->in_start;
    size_t need = pending_need(cn);
    struct blob *own = take(cn, need == 0 ? have : size_of_own(cn, have, need));
    if (own == NULL) {
        return false;
    }
    memcpy(own->data, cn->in->data + cn->in_start, have);
    blob_unref(cn->in);
    cn->in = own;
    cn->in_is_own = true;
    cn->in_start = 0;
    cn->in_end = have;
    return true;
}

/* It was given for less than the frame turns out to be: a little has come, and that is kept. */
static bool lose_pass(struct conn *cn)
{
    struct blob *own = cn->in;
    if (own != NULL && own->cap > CONN_SHARED_BYTES) {
        size_t have = cn->in_end - cn->in_start;
        own = blob_pool_take(cn->cs->pool, have, CONN_MEMORY_FORCED); /* less than goes back */
        if (own == NULL) {
            return false;
        }
        memcpy(own->data, cn->in->data + cn->in_start, have);
        blob_unref(cn->in);
        cn->in = own;
        cn->in_start = 0;
        cn->in_end = have;
    }
    conn_end_pass(cn);
    return true;
}

/* True when as much of the frame lies in the socket as one that sends will have there: it is not
 * read while it waits. */
static bool has_bytes(const struct conn *cn, size_t want)
{
    int there = 0;
    int room = 0;
    socklen_t len = sizeof(room);
    size_t rest = want - (cn->in == NULL ? 0 : cn->in_end - cn->in_start);
    if (ioctl(cn->fd, FIONREAD, &there) < 0 ||
        getsockopt(cn->fd, SOL_SOCKET, SO_RCVBUF, &room, &len) < 0) {
        return true; /* let reading find out */
    }
    return to_size(there) >= min_size(rest, min_size(CONN_PACE_BYTES, to_size(room) / 4));
}

/* For a frame of `want` bytes; must: it waits in the queue when there is none. */
static bool get_pass(struct conn *cn, size_t want, bool must)
{
    struct conn_set *cs = cn->cs;
    struct conn_memory *cm = cs->options.memory;
    size_t bytes = blob_pool_size_of(want);
    if (conn_has_pass(cn)) {
        return true;
    }
    if (!(must ? conn_memory_ask_pass(cm, &cn->pass, bytes, has_bytes(cn, want), &cs->waiter)
               : conn_memory_try_pass(cm, &cn->pass, bytes))) {
        if (must && !cn->is_queued) {
            cn->is_queued = true;
            list_remove(&cn->waiting);
            list_push_back(&cs->queued, &cn->waiting);
        }
        return false;
    }
    if (cn->is_queued) {
        cn->is_queued = false;
        list_remove(&cn->waiting);
    }
    cn->pass_bytes = bytes;
    cn->pace_bytes = 0;
    cn->pace_ns = loop_mono_ns(cs->loop);
    list_push_back(&cs->passing, &cn->passing);
    if (!timer_is_armed(&cs->pace)) {
        timers_arm(loop_timers(cs->loop), &cs->pace, loop_now_ms(cs->loop) + CONN_PACE_LOOK_MS);
    }
    return true;
}

/* The length of the frame that comes next, which is left where it is; 0: not there yet, or not
 * allowed. */
static size_t peek_need(const struct conn *cn)
{
    uint8_t head[4];
    if (recv(cn->fd, head, sizeof(head), MSG_PEEK) != sizeof(head)) {
        return 0; /* failures come again when it is read */
    }
    uint32_t len = load_be32(head);
    return len == 0 || len > cn->cs->options.request_bytes_max ? 0 : 4 + (size_t)len;
}

enum fill {
    FILL_MORE,   /* there is room; bytes came, or the socket is drained */
    FILL_MEMORY, /* there is no memory to receive into */
    FILL_QUEUED, /* a large frame waits for its pass */
    FILL_ENDED,  /* the connection is dead */
};

/* Room in the shared blob, behind what is pending. */
static enum fill prepare_shared(struct conn *cn, size_t have, size_t *ret_room)
{
    struct conn_set *cs = cn->cs;
    if (!open_shared(cn, have + CONN_RECEIVE_MIN)) {
        return FILL_MEMORY;
    }
    if (have > 0) {
        memcpy(cs->shared->data + cs->shared_used, cn->in->data + cn->in_start, have);
        blob_unref(cn->in);
    }
    cn->in = blob_ref(cs->shared);
    cn->in_is_own = false;
    cn->in_start = cs->shared_used;
    cn->in_end = cs->shared_used + have;
    *ret_room = cs->shared->cap - cn->in_end;
    return FILL_MORE;
}

/* Room in a blob of its own for a frame of `want` bytes. */
static enum fill prepare_own(struct conn *cn, size_t have, size_t want, size_t *ret_room)
{
    struct conn_set *cs = cn->cs;
    if (cn->in == NULL) {
        cn->in = take(cn, size_of_own(cn, 0, want));
        cn->in_is_own = true;
        cn->in_start = 0;
        cn->in_end = 0;
        if (cn->in == NULL) {
            return FILL_MEMORY;
        }
    } else if (!settle(cn)) {
        return FILL_MEMORY;
    }
    if (cn->in_end == cn->in->cap) {
        size_t to = size_of_own(cn, have, want);
        struct blob *grown = blob_pool_grow(cs->pool, cn->in, cn->in_end, to, use_of(cn));
        if (grown == NULL) {
            return FILL_MEMORY;
        }
        cn->in = grown;
    }
    if (conn_has_pass(cn)) {
        size_t rest = cn->pass_bytes - min_size(cn->pass_bytes, cn->in->cap);
        conn_memory_set_pass(cs->options.memory, &cn->pass, rest);
    }
    *ret_room = min_size(want, cn->in->cap) - cn->in_end;
    return FILL_MORE;
}

/* Where the next bytes go: cn->in with room after in_end. *ret_room: how much may be received.
 * While memory is short nothing is received beyond the frame that has begun, and nothing at all of
 * a large one without a pass. */
static enum fill prepare(struct conn *cn, size_t *ret_room)
{
    size_t have = cn->in == NULL ? 0 : cn->in_end - cn->in_start;
    size_t need = cn->in == NULL ? 0 : pending_need(cn);
    bool is_short = conn_memory_is_short(cn->cs->options.memory);
    if (have == 0 && (is_short || cn->is_queued)) {
        need = peek_need(cn);
    }
    if (conn_has_pass(cn) && blob_pool_size_of(need) > cn->pass_bytes && !lose_pass(cn)) {
        return FILL_MEMORY;
    }
    size_t want = need == 0 ? cn->trust + 4 : need;
    bool must =
        need > CONN_SHARED_BYTES && (is_short || cn->is_queued || have >= CONN_SHARED_BYTES);
    if (want > CONN_SHARED_BYTES && (must || cn->trust > CONN_SHARED_BYTES) &&
        !get_pass(cn, want, must) && must) {
        return FILL_QUEUED;
    }
    bool is_trusted = need == 0 && cn->trust > CONN_TRUST_MIN && want <= CONN_SHARED_BYTES;
    bool is_own = conn_has_pass(cn) || is_trusted || have > CONN_PREPEND_MAX;
    size_t most = need == 0 ? (is_short ? 4 : CONN_SHARED_BYTES) : is_short ? need : SIZE_MAX;
    enum fill result =
        is_own ? prepare_own(cn, have, want, ret_room) : prepare_shared(cn, have, ret_room);
    if (result == FILL_MORE) {
        *ret_room = min_size(*ret_room, most - have);
    }
    return result;
}

/* Nothing was received into the room that prepare had made. */
static void unprepare(struct conn *cn)
{
    if (cn->in_start == cn->in_end) {
        cn->in = blob_unref(cn->in);
        conn_end_pass(cn);
    } else if (!cn->in_is_own) {
        cn->cs->shared_used = max_size(cn->cs->shared_used, cn->in_end);
    }
}

static enum fill fill(struct conn *cn)
{
    struct conn_set *cs = cn->cs;
    size_t room;
    enum fill prepared = prepare(cn, &room);
    if (prepared != FILL_MORE) {
        return prepared;
    }
    room = min_size(room, CONN_FILL_MAX);
    ssize_t n;
    do {
        n = recv(cn->fd, cn->in->data + cn->in_end, room, 0);
    } while (n < 0 && errno == EINTR);
    if (n <= 0) {
        unprepare(cn);
        cn->is_readable = false;
        if (n == 0) {
            cn->is_at_end = true;
        } else if (errno != EAGAIN) {
            conn_end(cn, CONN_END_PEER);
            return FILL_ENDED;
        }
        return FILL_MORE;
    }
    if (!cn->in_is_own) {
        cs->shared_used = cn->in_end + (size_t)n;
    }
    cn->in_end += (size_t)n;
    cn->turn_bytes += (size_t)n;
    cn->pace_bytes += (size_t)n;
    cs->bytes_in += n;
    cn->is_readable = (size_t)n == room || cn->has_hangup;
    conn_touch(cn);
    if (cn->pace_bytes >= CONN_PACE_BYTES) {
        cn->pace_bytes = 0;
        cn->pace_ns = cn->active_ns;
    }
    return FILL_MORE;
}

/* --- memory that is short --- */

/* True when the connection has begun a frame that is not whole. */
static bool is_inside_frame(const struct conn *cn)
{
    return cn->in != NULL && cn->in_end > cn->in_start && !conn_has_frame(cn);
}

/* True when it is we who do not read it. */
static bool is_excused(const struct conn *cn)
{
    if (timer_is_armed(&cn->mute) || cn->is_held || conn_has_frame(cn) ||
        cn->started >= cn->cs->options.started_max) {
        return true;
    }
    if (conn_may_read(cn)) {
        return cn->is_readable && !cn->is_at_end;
    }
    /* Its answers come first: does it take them? */
    return loop_mono_ns(cn->cs->loop) - cn->progress_ns < (int64_t)CONN_PACE_MS * 1000000;
}

/* Small frames of others wait for memory: the connection that has to go so that they can go on. It
 * could go on and does not: inside a frame, without a byte for a while; the one with the largest
 * blob. */
static struct conn *find_stalled(struct conn_set *cs)
{
    int64_t limit_ns = loop_mono_ns(cs->loop) - (int64_t)CONN_STALL_MS * 1000000;
    struct conn *victim = NULL;
    list_foreach (node, &cs->by_activity) {
        struct conn *cn = list_entry(node, struct conn, node);
        if (is_inside_frame(cn) && !list_is_linked(&cn->waiting) && !is_excused(cn) &&
            cn->active_ns <= limit_ns && (victim == NULL || cn->in->cap > victim->in->cap)) {
            victim = cn;
        }
    }
    return victim;
}

static void end_for_memory(struct conn *cn)
{
    struct conn_set *cs = cn->cs;
    struct log_left_out left_out;
    if (log_limit_pass(&cs->memory_limit, loop_clock(cs->loop), CONN_LOG_INTERVAL_MS, &left_out)) {
        char peer[CONN_PEER_TEXT_SIZE];
        LOG_WARN(loop_logger(cs->loop), FAC_NET,
                 "closed a connection that had all but stopped inside a request while others "
                 "waited for request memory: peer=%s bytes=%zu%s",
                 conn_peer_text(&cn->peer, peer), cn->in == NULL ? 0 : cn->in_end - cn->in_start,
                 left_out.text);
    }
    conn_end(cn, CONN_END_MEMORY);
}

/* Small frames wait for memory. Partial frames hold what others need, and may hold it for ever; and
 * where all that hold it wait themselves, the first of them goes on beyond the limit. */
void conn_in_stall(struct timer *t, void *ctx)
{
    struct conn_set *cs = ctx;
    if (list_is_empty(&cs->waiting)) {
        return;
    }
    struct conn *victim = find_stalled(cs);
    int64_t again_ms = victim == NULL ? CONN_STALL_MS : CONN_STALL_MS / 10;
    if (victim != NULL) {
        end_for_memory(victim);
    } else {
        list_entry(cs->waiting.next, struct conn, waiting)->is_next = true;
    }
    conn_in_resume(
        cs); /* also where the system, not the budget, had none: nobody tells us of that */
    timers_arm(loop_timers(cs->loop), t, loop_now_ms(cs->loop) + again_ms);
}

/* Those that have a pass and do not use it, while others wait. */
void conn_in_pace(struct timer *t, void *ctx)
{
    struct conn_set *cs = ctx;
    int64_t now_ns = loop_mono_ns(cs->loop);
    bool is_wanted = conn_memory_is_wanted(cs->options.memory);
    list_foreach_safe (node, next, &cs->passing) {
        struct conn *cn = list_entry(node, struct conn, passing);
        if (is_excused(cn)) {
            cn->pace_bytes = 0;
            cn->pace_ns = now_ns;
        } else if (is_wanted && now_ns - cn->pace_ns >= (int64_t)CONN_PACE_MS * 1000000) {
            end_for_memory(cn);
        }
    }
    if (!list_is_empty(&cs->passing)) {
        timers_arm(loop_timers(cs->loop), t, loop_now_ms(cs->loop) + CONN_PACE_LOOK_MS);
    }
}

static void start_waiting(struct conn *cn)
{
    struct conn_set *cs = cn->cs;
    if (!list_is_linked(&cn->waiting)) {
        list_push_back(&cs->waiting, &cn->waiting);
    }
    if (cs->options.memory != NULL) {
        conn_memory_wait(cs->options.memory, &cs->waiter);
    }
    if (!timer_is_armed(&cs->stall)) {
        timers_arm(loop_timers(cs->loop), &cs->stall, loop_now_ms(cs->loop) + CONN_STALL_MS);
    }
}

/* Memory was given back, or passes were granted: those that wait are looked at again. */
void conn_in_resume(void *ctx)
{
    struct conn_set *cs = ctx;
    list_foreach (node, &cs->waiting) {
        conn_make_ready(list_entry(node, struct conn, waiting));
    }
    list_foreach (node, &cs->queued) {
        struct conn *cn = list_entry(node, struct conn, waiting);
        if (conn_pass_is_granted(&cn->pass)) {
            conn_make_ready(cn);
        }
    }
}

/* --- the pump --- */

/* Takes in what the connection has to say, as far as its bounds and this turn allow. */
static void pump_input(struct conn *cn)
{
    bool has_waited = list_is_linked(&cn->waiting) && !cn->is_queued;
    bool is_second_try = false;
    for (;;) {
        bool is_over = is_over_budget(cn);
        if (conn_has_frame(cn) && !is_over) {
            parse(cn);
        }
        if (cn->is_dead) {
            return;
        }
        if (!conn_may_read(cn)) {
            break;
        }
        if (is_over || is_over_budget(cn)) {
            if (cn->is_readable || conn_has_frame(cn)) {
                conn_put_off(cn);
            }
            break;
        }
        if (list_is_linked(&cn->ready) || !cn->is_readable || cn->is_at_end) {
            break;
        }
        if (loop_slice_is_over(cn->cs->loop)) {
            conn_put_off(cn);
            break;
        }
        switch (fill(cn)) {
        case FILL_MORE:
            has_waited = false;
            break;
        case FILL_ENDED:
            return;
        case FILL_MEMORY:
            if (is_second_try) {
                return; /* in the queue, where it was or at its end */
            }
            start_waiting(cn);
            is_second_try = true; /* it may have been given back before we asked to be told */
            continue;
        case FILL_QUEUED:
            break;
        }
        if (cn->is_queued) {
            break;
        }
        is_second_try = false;
    }
    if (!has_waited && !cn->is_queued) {
        list_remove(&cn->waiting);
    }
    /* What is left of the shared blob must not be kept for a frame that may never end. */
    if (cn->in != NULL && !conn_has_frame(cn) && !settle(cn)) {
        start_waiting(cn);
    }
    conn_end_if_done(cn);
    if (cn->is_at_end && !cn->is_dead && !timer_is_armed(&cn->linger)) {
        int64_t deadline_ms = loop_now_ms(cn->cs->loop) + CONN_LINGER_MS;
        timers_arm(loop_timers(cn->cs->loop), &cn->linger, deadline_ms);
    }
}

static void pump(struct conn *cn)
{
    cn->cs->pump_ns = loop_turn_ns(cn->cs->loop);
    cn->is_pumping = true; /* an answer given meanwhile need not make it ready */
    pump_input(cn);
    cn->is_pumping = false;
    cn->is_next = false;
    bool is_of_turn = cn->turn == cn->cs->turn;
    cn->is_greedy = is_of_turn && (cn->turn_frames > CONN_GREEDY_FRAMES ||
                                   loop_turn_ns(cn->cs->loop) - cn->cs->pump_ns > CONN_QUANTUM_NS);
    if (!cn->is_dead && cn->out.bytes > 0 && cn->is_writable) {
        conn_make_dirty(cn); /* the last turn had sent enough */
    }
}

/* Goes through the connections of `from`, `least` of them whatever the time. Who is left comes
 * first the next time. */
static void pump_list(struct conn_set *cs, struct list *from, size_t least)
{
    struct list now;
    list_init(&now);
    list_splice_back(&now, from);
    for (size_t i = 0; !list_is_empty(&now) && (i < least || !loop_slice_is_over(cs->loop)); i++) {
        pump(list_entry(list_pop_front(&now), struct conn, ready));
    }
    list_splice_back(&now, from);
    list_splice_back(from, &now);
}

void conn_in_pump_all(struct turn_task *task, void *ctx)
{
    struct conn_set *cs = ctx;
    cs->turn++;
    conn_out_look(cs);
    loop_begin_slice(cs->loop);
    pump_list(cs, &cs->ready, 1);
    pump_list(cs, &cs->backlog, 1);
    if (!list_is_empty(&cs->ready) || !list_is_empty(&cs->backlog)) {
        loop_at_next_turn(cs->loop, task);
    }
    loop_at_turn_end(cs->loop, &cs->free_task);
}

void conn_in_event(int fd, short what, void *ctx)
{
    (void)fd;
    struct conn *cn = ctx;
    loop_enter_turn(cn->cs->loop);
    if ((what & EV_WRITE) != 0 && !cn->is_writable) {
        cn->is_writable = true;
        if (cn->out.bytes > 0) {
            conn_make_dirty(cn);
        }
    }
    if ((what & (EV_READ | EV_CLOSED)) != 0) {
        cn->is_readable = true;
        cn->has_hangup = cn->has_hangup || (what & EV_CLOSED) != 0;
        conn_make_ready(cn);
    }
}
