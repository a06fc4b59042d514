/*
 * Connections: the order of answers, and sending; see conn.h.
 *
 * An answer waits in its slot until all earlier ones of its connection are there, then its runs
 * move to the connection's rope. At the end of the turn each rope is sent: runs of memory and small
 * runs of files by one sendmsg, large runs of files by sendfile. A small run is read to memory for
 * that moment: the copy costs less than calls, segments and wake-ups of the peer of its own
 * (answers of 64 KiB: two thirds of sendfile's processor time). What comes before a sendfile goes
 * with MSG_MORE, so that head and first bytes of a body share a segment and nothing waits for an
 * acknowledgement (TCP_NODELAY is set as well).
 *
 * Small answers leave first; those of connections that have much to say, and large ones, have what
 * is left of the slice, and one of them at least.
 *
 * A send that comes back short waits for the next edge of the socket. What is left of small answers
 * is copied then: they share memory with others', and would keep all of it.
 *
 * Memory of answers that wait is counted over all connections (conn_options.answers), each set's
 * part once a turn. While it is short, connections are read only when nothing of theirs waits, and
 * those that take nothing are closed, the longest idle first.
 */
#include "base/base.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/logger.h"
#include "base/mem.h"

#include <sys/sendfile.h>
#include <sys/uio.h>

#include "net/conn_private.h"

enum {
    IOV_COUNT = 64,
    COPY_BYTES = 64 << 10, /* of files, in one send */
    PATH_TEXT_BYTES = 1024,
};

/* --- the order of answers --- */

void conn_start(struct conn *cn, struct conn_slot *slot)
{
    check(slot->cn == NULL);
    slot->cn = cn;
    slot->is_answered = false;
    slot->must_close = false;
    slot->is_abandoned = false;
    rope_init(&slot->answer);
    list_init(&slot->node);
    list_push_back(&cn->slots, &slot->node);
    cn->started++;
}

/* The slot is no longer needed: on_release follows at the end of the turn. */
static void let_go(struct conn *cn, struct conn_slot *slot)
{
    list_remove(&slot->node);
    list_push_back(&cn->cs->released, &slot->node);
    loop_at_turn_end(cn->cs->loop, &cn->cs->free_task);
}

static size_t memory_of(const struct rope *rope)
{
    size_t bytes = 0;
    for (size_t i = rope->start; i < rope->count; i++) {
        bytes += rope->runs[i].type == ROPE_MEMORY ? rope->runs[i].len : 0;
    }
    return bytes;
}

static void drop_held(struct conn *cn, size_t bytes)
{
    cn->held -= bytes;
    cn->cs->held -= bytes;
}

/* Moves answers to the output as far as the order allows. */
static void advance(struct conn *cn)
{
    bool has_moved = false;
    while (!list_is_empty(&cn->slots)) {
        struct conn_slot *slot = list_entry(cn->slots.next, struct conn_slot, node);
        if (!slot->is_answered) {
            break;
        }
        if (!cn->must_end) {
            cn->must_end = slot->must_close;
            if (cn->out.bytes == 0) {
                cn->progress_ns = loop_mono_ns(cn->cs->loop);
            }
            rope_move(&cn->out, &slot->answer);
        } else {
            cn->unsent -= slot->answer.bytes; /* behind the one that ends it */
            drop_held(cn, memory_of(&slot->answer));
            rope_release(&slot->answer);
        }
        let_go(cn, slot);
        has_moved = true;
    }
    if (has_moved) {
        conn_make_dirty(cn); /* also when nothing is to be sent: the end may be due */
    }
}

static void answer(struct conn_slot *slot, struct rope *answer, bool must_close)
{
    struct conn *cn = slot->cn;
    check(cn != NULL && !slot->is_answered);
    slot->is_answered = true;
    slot->must_close = must_close;
    cn->started--;
    if (cn->is_dead) {
        if (answer != NULL) {
            rope_release(answer);
        }
        let_go(cn, slot);
        return;
    }
    if (answer != NULL) {
        size_t held = memory_of(answer);
        cn->held += held;
        cn->cs->held += held;
        cn->unsent += answer->bytes;
        rope_move(&slot->answer, answer);
    }
    if (cn->slots.next == &slot->node) {
        advance(cn);
    }
    if (cn->is_held && cn->started == 0) {
        cn->is_held = false;
    }
    if (!cn->is_pumping && conn_has_input(cn)) {
        conn_make_ready(cn);
    }
}

void conn_answer(struct conn_slot *slot, struct rope *rope)
{
    answer(slot, rope, false);
}

void conn_fail(struct conn_slot *slot)
{
    answer(slot, NULL, true);
}

void conn_out_release_slots(struct conn_set *cs)
{
    for (struct list *node = list_pop_front(&cs->released); node != NULL;
         node = list_pop_front(&cs->released)) {
        struct conn_slot *slot = list_entry(node, struct conn_slot, node);
        slot->cn = NULL;
        if (cs->options.handler.on_release != NULL) {
            cs->options.handler.on_release(cs->options.handler.ctx, slot);
        }
    }
}

static struct conn_slot *first_not_told(struct conn *cn)
{
    list_foreach (node, &cn->slots) {
        struct conn_slot *slot = list_entry(node, struct conn_slot, node);
        if (!slot->is_abandoned) {
            return slot;
        }
    }
    return NULL;
}

void conn_out_abandon(struct conn *cn)
{
    const struct conn_handler *h = &cn->cs->options.handler;
    /* on_abandon may answer this slot and others: the list is looked at anew each time. */
    for (struct conn_slot *slot = first_not_told(cn); slot != NULL; slot = first_not_told(cn)) {
        slot->is_abandoned = true;
        if (slot->is_answered) {
            rope_release(&slot->answer);
            let_go(cn, slot);
        } else if (h->on_abandon != NULL) {
            h->on_abandon(h->ctx, slot);
        }
    }
}

/* --- sending --- */

/* What one call has done. */
enum sent {
    SENT_MORE,    /* go on */
    SENT_LARGE,   /* nothing: there is a large piece of a file at the head */
    SENT_FULL,    /* the socket takes no more now */
    SENT_BROKEN,  /* the peer is gone */
    SENT_FAILURE, /* the file is not what was promised */
};

/* Why a file is not what was promised. */
struct unsent_file {
    const struct rope_run *run;
    int err; /* 0: it has become shorter */
};

static enum sent sent_error(void)
{
    if (errno == EAGAIN) {
        return SENT_FULL;
    }
    return SENT_BROKEN;
}

static void sent_bytes(struct conn *cn, size_t n)
{
    size_t memory = 0;
    size_t left = n;
    for (size_t i = cn->out.start; left > 0; i++) {
        const struct rope_run *run = &cn->out.runs[i];
        size_t len = min_size(run->len, left);
        memory += run->type == ROPE_MEMORY ? len : 0;
        left -= len;
    }
    rope_consume(&cn->out, n);
    drop_held(cn, memory);
    cn->unsent -= n;
    cn->cs->bytes_out += to_i64(n);
}

/* What one sendmsg takes. */
struct parcel {
    struct iovec iov[IOV_COUNT];
    size_t count;
    size_t bytes;
    struct blob *copy; /* a reference, NULL: no file is among it */
    size_t copied;
};

static void parcel_add(struct parcel *pc, const uint8_t *ptr, size_t len)
{
    struct iovec *to = &pc->iov[pc->count++];
    memcpy(&to->iov_base, &ptr, sizeof(ptr)); /* iovec knows no const */
    to->iov_len = len;
    pc->bytes += len;
}

/* A run of a file is read to memory: for a small one that is cheaper than a call of its own, which
 * the peer is woken for. 1: it is in, as far as there is room; 0: it goes by sendfile. */
static int parcel_add_file(struct parcel *pc, struct conn_set *cs, const struct rope_run *run)
{
    size_t room = COPY_BYTES - pc->copied;
    if (run->len > room && run->file->fd >= 0) {
        return 0;
    }
    if (pc->copy == NULL) {
        pc->copy = blob_pool_take(cs->pool, COPY_BYTES, CONN_MEMORY_FORCED);
        if (pc->copy == NULL) {
            return run->file->fd >= 0 ? 0 : -ENOMEM;
        }
    }
    uint8_t *to = pc->copy->data + pc->copied;
    size_t len = min_size(run->len, room);
    ssize_t got = fs_pread(run->file, to, len, run->position);
    if (got < 0) {
        return (int)got;
    }
    if ((size_t)got < len) {
        return ERR_TRUNCATED; /* the file has become shorter than what was promised */
    }
    parcel_add(pc, to, len);
    pc->copied += len;
    return 1;
}

/* From the head of the rope about `max` bytes. */
static int
parcel_fill(struct parcel *pc, struct conn *cn, size_t max, struct unsent_file *ret_failed)
{
    for (size_t i = cn->out.start; i < cn->out.count; i++) {
        const struct rope_run *run = &cn->out.runs[i];
        if (pc->count == IOV_COUNT || pc->bytes >= max || pc->copied == COPY_BYTES) {
            break;
        }
        if (run->type == ROPE_MEMORY) {
            parcel_add(pc, run->ptr, min_size(run->len, max - pc->bytes));
            continue;
        }
        int r = parcel_add_file(pc, cn->cs, run);
        if (r < 0) {
            *ret_failed = (struct unsent_file){.run = run, .err = r == ERR_TRUNCATED ? 0 : r};
        }
        if (r <= 0) {
            return r;
        }
    }
    return 0;
}

/* Sends what is at the head of the rope through memory. */
static enum sent send_parcel(struct conn *cn, size_t max, struct unsent_file *ret_failed)
{
    struct parcel pc = {.copy = NULL};
    int r = parcel_fill(&pc, cn, max, ret_failed);
    if (r < 0 || pc.count == 0) {
        blob_unref(pc.copy);
        return r < 0 ? SENT_FAILURE : SENT_LARGE;
    }
    struct msghdr message = {.msg_iov = pc.iov, .msg_iovlen = pc.count};
    int flags = MSG_NOSIGNAL | (pc.bytes < cn->out.bytes ? MSG_MORE : 0);
    ssize_t n;
    do {
        n = sendmsg(cn->fd, &message, flags);
    } while (n < 0 && errno == EINTR);
    enum sent sent = n < 0 ? sent_error() : (size_t)n < pc.bytes ? SENT_FULL : SENT_MORE;
    blob_unref(pc.copy);
    if (n > 0) {
        sent_bytes(cn, (size_t)n);
    }
    return sent;
}

static enum sent send_file(struct conn *cn, size_t max, struct unsent_file *ret_failed)
{
    const struct rope_run *run = rope_first(&cn->out);
    off_t position = run->position;
    size_t want = min_size(run->len, max);
    ssize_t n;
    do {
        n = sendfile(cn->fd, run->file->fd, &position, want);
    } while (n < 0 && errno == EINTR);
    if (n < 0 && errno != EIO) {
        return sent_error();
    }
    if (n <= 0) { /* 0: the file has become shorter than what was promised */
        *ret_failed = (struct unsent_file){.run = run, .err = n < 0 ? -errno : 0};
        return SENT_FAILURE;
    }
    sent_bytes(cn, (size_t)n);
    /* A short count may mean a full socket or a hole in the page cache: the next call tells. */
    return SENT_MORE;
}

static void fail_send(struct conn *cn, const struct unsent_file *failed)
{
    struct conn_set *cs = cn->cs;
    struct log_left_out left_out;
    if (log_limit_pass(&cs->memory_limit, loop_clock(cs->loop), CONN_LOG_INTERVAL_MS, &left_out)) {
        char peer[CONN_PEER_TEXT_SIZE];
        char path[PATH_TEXT_BYTES];
        LOG_ERROR(loop_logger(cs->loop), FAC_NET,
                  "closed a connection because the stored bytes of its answer could not be read: "
                  "file=%s position=%" PRId64 " cause=\"%s\" peer=%s%s",
                  fs_file_path(failed->run->file, path, sizeof(path)), failed->run->position,
                  failed->err < 0 ? err_text(failed->err) : "the file has become shorter",
                  conn_peer_text(&cn->peer, peer), left_out.text);
    }
    conn_end(cn, CONN_END_FAILURE);
}

/* Copies what is left of small answers, and leaves the memory that they share with others. */
static void settle(struct conn *cn)
{
    struct rope out;
    rope_init(&out);
    while (cn->out.bytes > 0) {
        const struct rope_run *run = rope_first(&cn->out);
        size_t len = run->len;
        if (run->type == ROPE_FILE) {
            rope_add_file(&out, run->file, run->position, len);
        } else if (len > CONN_COPY_MAX || run->blob == NULL || run->blob->cap <= CONN_COPY_MAX) {
            rope_add_memory(&out, run->ptr, len, run->blob);
        } else {
            if (cn->tail == NULL || cn->tail->cap - cn->tail_used < len) {
                blob_unref(cn->tail);
                cn->tail = blob_new(max_size(len, min_size(cn->out.bytes, CONN_COPY_MAX)));
                cn->tail_used = 0;
            }
            memcpy(cn->tail->data + cn->tail_used, run->ptr, len);
            rope_add_memory(&out, cn->tail->data + cn->tail_used, len, cn->tail);
            cn->tail_used += len;
        }
        rope_consume(&cn->out, len);
    }
    rope_move(&cn->out, &out);
}

static void send_out(struct conn *cn)
{
    int64_t before = cn->cs->bytes_out;
    size_t left = CONN_TURN_SEND_BYTES;
    while (cn->out.bytes > 0 && cn->is_writable) {
        if (left == 0) {
            conn_put_off(cn); /* the pump of the next turn makes it dirty again */
            break;
        }
        size_t bytes = cn->out.bytes;
        struct unsent_file failed = {0};
        enum sent sent = send_parcel(cn, left, &failed);
        if (sent == SENT_LARGE) {
            sent = send_file(cn, left, &failed);
        }
        switch (sent) {
        case SENT_MORE:
        case SENT_LARGE:
            break;
        case SENT_FULL:
            cn->is_writable = false;
            break;
        case SENT_BROKEN:
            conn_end(cn, CONN_END_PEER);
            return;
        case SENT_FAILURE:
            fail_send(cn, &failed);
            return;
        }
        left -= min_size(left, bytes - cn->out.bytes);
    }
    if (cn->cs->bytes_out != before) {
        conn_touch(cn);
        cn->progress_ns = loop_mono_ns(cn->cs->loop);
    }
    if (cn->out.bytes == 0) {
        cn->tail = blob_unref(cn->tail);
    } else if (!cn->is_writable) {
        settle(cn);
    }
    conn_end_if_done(cn);
    if (conn_has_input(cn)) {
        conn_put_off(cn); /* it was stopped for what it had not taken */
    }
}

void conn_out_send_all(struct turn_task *task, void *ctx)
{
    struct conn_set *cs = ctx;
    loop_begin_slice(cs->loop);
    do {
        struct list *node = list_pop_front(&cs->dirty);
        if (node == NULL) {
            break;
        }
        struct conn *cn = list_entry(node, struct conn, dirty);
        if (cn->is_greedy || cn->out.bytes > CONN_SHARED_BYTES) {
            list_push_back(&cs->dirty_late, node);
        } else {
            send_out(cn);
        }
    } while (!loop_slice_is_over(cs->loop));
    loop_begin_slice(cs->loop);
    while (!list_is_empty(&cs->dirty_late) && !loop_slice_is_over(cs->loop)) {
        send_out(list_entry(list_pop_front(&cs->dirty_late), struct conn, dirty));
    }
    if (!list_is_empty(&cs->dirty) || !list_is_empty(&cs->dirty_late)) {
        loop_at_next_turn(cs->loop, task);
    }
    loop_at_turn_end(cs->loop, &cs->free_task);
}

static int64_t told(const struct conn_set *cs)
{
    return atomic_load_explicit(&cs->options.answers->used, memory_order_relaxed);
}

void conn_out_look(struct conn_set *cs)
{
    if (cs->options.answers != NULL) {
        cs->held_else = told(cs) - to_i64(cs->held_told);
    }
}

/* End of turn: tells what this set holds, and notices when the memory becomes short or is no
 * longer. */
static void tell(struct conn_set *cs)
{
    if (cs->options.answers == NULL || (cs->held == cs->held_told && !cs->was_full)) {
        return;
    }
    int64_t more = to_i64(cs->held) - to_i64(cs->held_told);
    atomic_fetch_add_explicit(&cs->options.answers->used, more, memory_order_relaxed);
    cs->held_told = cs->held;
    conn_out_look(cs);
    bool is_full = conn_is_room_short(cs);
    if (is_full && !timer_is_armed(&cs->slow)) {
        timers_arm(loop_timers(cs->loop), &cs->slow, loop_now_ms(cs->loop) + CONN_SLOW_MS);
    }
    bool has_room = cs->was_full && !is_full;
    cs->was_full = is_full;
    if (has_room && cs->options.on_room != NULL) {
        cs->options.on_room(cs->options.on_room_ctx);
    }
}

void conn_out_slow(struct timer *t, void *ctx)
{
    struct conn_set *cs = ctx;
    conn_out_look(cs);
    int64_t limit_ns = loop_mono_ns(cs->loop) - (int64_t)CONN_SLOW_MS * 1000000;
    list_foreach_safe (node, next, &cs->by_activity) {
        struct conn *cn = list_entry(node, struct conn, node);
        if (!conn_is_room_short(cs) || loop_slice_is_over(cs->loop)) {
            break;
        }
        if (cn->out.bytes == 0 || cn->held == 0 || cn->progress_ns > limit_ns) {
            continue; /* nothing, or it waits for us */
        }
        struct log_left_out left_out;
        if (log_limit_pass(&cs->slow_limit, loop_clock(cs->loop), CONN_LOG_INTERVAL_MS,
                           &left_out)) {
            char peer[CONN_PEER_TEXT_SIZE];
            LOG_WARN(loop_logger(cs->loop), FAC_NET,
                     "closed a connection that does not read its answers while their memory was "
                     "used up: peer=%s bytes=%zu%s",
                     conn_peer_text(&cn->peer, peer), cn->held, left_out.text);
        }
        conn_end(cn, CONN_END_SLOW);
    }
    if (conn_is_room_short(cs)) {
        timers_arm(loop_timers(cs->loop), t, loop_now_ms(cs->loop) + CONN_SLOW_MS / 10);
    }
    loop_at_turn_end(cs->loop, &cs->free_task);
}

/* --- memory for answers --- */

uint8_t *conn_out_reserve(struct conn_set *cs, size_t len)
{
    check(cs->out_large == NULL);
    if (len > CONN_SHARED_BYTES / 2) {
        cs->out_large = blob_new(len);
        return cs->out_large->data;
    }
    if (cs->out != NULL && !blob_is_shared(cs->out)) {
        cs->out_used = 0;
    }
    if (cs->out == NULL || cs->out->cap - cs->out_used < len) {
        blob_unref(cs->out);
        cs->out = blob_new(CONN_SHARED_BYTES);
        cs->out_used = 0;
    }
    return cs->out->data + cs->out_used;
}

void conn_out_add(struct conn_set *cs, size_t len, struct rope *answer)
{
    if (cs->out_large != NULL) {
        check(len <= cs->out_large->cap);
        rope_add_memory(answer, cs->out_large->data, len, cs->out_large);
        cs->out_large = blob_unref(cs->out_large);
        return;
    }
    check(cs->out != NULL && len <= cs->out->cap - cs->out_used);
    rope_add_memory(answer, cs->out->data + cs->out_used, len, cs->out);
    cs->out_used += len;
}

void conn_out_trim(struct conn_set *cs)
{
    if (cs->shared != NULL && !blob_is_shared(cs->shared)) {
        cs->shared = blob_unref(cs->shared);
    }
    tell(cs);
    metric_add(cs->frames_count, cs->frames);
    metric_add(cs->bytes_in_count, cs->bytes_in);
    metric_add(cs->bytes_out_count, cs->bytes_out);
    cs->frames = 0;
    cs->bytes_in = 0;
    cs->bytes_out = 0;
}
