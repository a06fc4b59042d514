/*
 * Connections: what can be said of one, and its end; see conn.h. Reading is in conn_in.c, answering
 * in conn_out.c; conn_set.c owns them all.
 *
 * A connection that ends gives up its descriptor and its memory at once; what others must be told,
 * and the object itself, wait for free_task at the very end of the turn, so that nobody is called
 * back from inside a call of his own, and no pointer goes stale within a turn.
 */
#include "base/base.h"
#include "base/mem.h"

#include <arpa/inet.h>
#include <event2/event.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/conn_limits.h"
#include "net/conn_private.h"

enum {
    DISCARD_BYTES_MAX = 256 << 10, /* unread bytes of a connection that is closed */
};

const char *conn_peer_text(const struct conn_peer *peer, char ret_text[static CONN_PEER_TEXT_SIZE])
{
    char host[INET6_ADDRSTRLEN] = "";
    if (peer->len >= sizeof(peer->addr.v4) && peer->addr.any.sa_family == AF_INET) {
        inet_ntop(AF_INET, &peer->addr.v4.sin_addr, host, sizeof(host));
        snprintf(ret_text, CONN_PEER_TEXT_SIZE, "%s:%d", host, ntohs(peer->addr.v4.sin_port));
    } else if (peer->len >= sizeof(peer->addr.v6) && peer->addr.any.sa_family == AF_INET6) {
        inet_ntop(AF_INET6, &peer->addr.v6.sin6_addr, host, sizeof(host));
        snprintf(ret_text, CONN_PEER_TEXT_SIZE, "[%s]:%d", host, ntohs(peer->addr.v6.sin6_port));
    } else {
        snprintf(ret_text, CONN_PEER_TEXT_SIZE, "unknown");
    }
    return ret_text;
}

struct loop *conn_loop(const struct conn *cn)
{
    return cn->cs->loop;
}

void *conn_tag(const struct conn *cn)
{
    return cn->tag;
}

void conn_set_data(struct conn *cn, void *data)
{
    cn->data = data;
}

void *conn_data(const struct conn *cn)
{
    return cn->data;
}

uint64_t conn_id(const struct conn *cn)
{
    return cn->id;
}

const struct conn_peer *conn_peer(const struct conn *cn)
{
    return &cn->peer;
}

size_t conn_started(const struct conn *cn)
{
    return cn->started;
}

/* --- what it is ready for --- */

/* --- memory of answers that wait --- */

bool conn_is_room_short(const struct conn_set *cs)
{
    const struct mem_budget *mb = cs->options.answers;
    return mb != NULL && mb->max > 0 && cs->held_else + to_i64(cs->held) > mb->max;
}

/* --- bounds --- */

bool conn_may_read(const struct conn *cn)
{
    return !cn->is_dead && !cn->is_closing && !cn->must_end && !cn->is_held &&
           cn->started < cn->cs->options.started_max &&
           cn->unsent <= cn->cs->options.unsent_bytes_max && !timer_is_armed(&cn->mute) &&
           (cn->unsent == 0 || !conn_is_room_short(cn->cs));
}

bool conn_has_frame(const struct conn *cn)
{
    if (cn->in == NULL || cn->in_end - cn->in_start < 4) {
        return false;
    }
    /* A length that is not allowed counts as whole: looking at it closes the connection. */
    uint32_t len = load_be32(cn->in->data + cn->in_start);
    return len == 0 || len > cn->cs->options.request_bytes_max ||
           cn->in_end - cn->in_start - 4 >= len;
}

bool conn_has_input(const struct conn *cn)
{
    return conn_may_read(cn) && ((cn->is_readable && !cn->is_at_end) || conn_has_frame(cn));
}

void conn_make_ready(struct conn *cn)
{
    if (!cn->is_dead && !list_is_linked(&cn->ready)) {
        list_push_back(cn->is_greedy ? &cn->cs->backlog : &cn->cs->ready, &cn->ready);
        loop_at_next_turn(cn->cs->loop, &cn->cs->pump_task);
    }
}

void conn_put_off(struct conn *cn)
{
    if (!cn->is_dead && !list_is_linked(&cn->ready)) {
        list_push_back(&cn->cs->backlog, &cn->ready);
        loop_at_next_turn(cn->cs->loop, &cn->cs->pump_task);
    }
}

void conn_make_dirty(struct conn *cn)
{
    struct conn_set *cs = cn->cs;
    if (!list_is_linked(&cn->dirty)) {
        list_push_back(&cs->dirty, &cn->dirty);
        loop_at_turn_end(cs->loop, &cs->send_task);
    }
}

void conn_mute_until(struct conn *cn, int64_t deadline_ms)
{
    if (cn->is_dead || (timer_is_armed(&cn->mute) && deadline_ms <= cn->mute.deadline_ms)) {
        return;
    }
    if (deadline_ms > loop_now_ms(cn->cs->loop)) {
        timers_arm(loop_timers(cn->cs->loop), &cn->mute, deadline_ms);
    }
}

void conn_touch(struct conn *cn)
{
    struct conn_set *cs = cn->cs;
    cn->active_ns = loop_mono_ns(cs->loop);
    list_remove(&cn->node);
    list_push_back(&cs->by_activity, &cn->node);
}

bool conn_has_pass(const struct conn *cn)
{
    return list_is_linked(&cn->passing);
}

void conn_end_pass(struct conn *cn)
{
    if (!conn_has_pass(cn) && !cn->is_queued) {
        return;
    }
    if (cn->is_queued) {
        list_remove(&cn->waiting);
        cn->is_queued = false;
    }
    list_remove(&cn->passing);
    conn_memory_end_pass(cn->cs->options.memory, &cn->pass);
}

/* --- the end --- */

/* To close a socket with bytes that were not read is to reset the connection. Who sent a bad frame
 * is told by an end, as Kafka does it: librdkafka guesses from that that it speaks TLS to a
 * plaintext port, and says so. What has not come yet may still bring a reset. */
static void discard_unread(int fd)
{
    uint8_t bytes[4096];
    IGNORE(shutdown(fd, SHUT_WR)); /* it is closed in a moment */
    for (size_t taken = 0; taken < DISCARD_BYTES_MAX; taken += sizeof(bytes)) {
        if (recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT) <= 0) {
            return;
        }
    }
}

void conn_end(struct conn *cn, enum conn_end reason)
{
    struct conn_set *cs = cn->cs;
    if (cn->is_dead) {
        return;
    }
    cn->is_dead = true;
    cn->reason = reason;
    check(event_del(&cn->event) == 0);
    if (reason == CONN_END_BAD_FRAME) {
        discard_unread(cn->fd);
    }
    IGNORE(close(cn->fd)); /* a socket: nothing is left to fail */
    cn->fd = -1;
    list_remove(&cn->node);
    list_remove(&cn->ready);
    list_remove(&cn->dirty);
    list_remove(&cn->waiting);
    conn_end_pass(cn);
    timers_disarm(loop_timers(cs->loop), &cn->mute);
    timers_disarm(loop_timers(cs->loop), &cn->linger);
    cn->in = blob_unref(cn->in);
    rope_release(&cn->out);
    cn->unsent = 0;
    cs->held -= cn->held;
    cn->held = 0;
    cn->tail = blob_unref(cn->tail);
    metric_add(cs->open_gauge, -1);
    metric_add(cs->ends[reason], 1);
    conn_limits_leave(cn->share, &cn->peer);
    list_push_back(&cs->dying, &cn->node);
    loop_at_turn_end(cs->loop, &cs->free_task);
}

void conn_close(struct conn *cn)
{
    conn_end(cn, CONN_END_LOCAL);
}

/* Ends a connection from which nothing more is expected and which has nothing more to say. */
void conn_end_if_done(struct conn *cn)
{
    if (cn->is_dead || cn->out.bytes > 0) {
        return;
    }
    if (cn->must_end || (cn->is_closing && cn->started == 0)) {
        conn_end(cn, cn->is_bad ? CONN_END_BAD_FRAME : CONN_END_LOCAL);
    } else if (cn->is_at_end && cn->started == 0 && !conn_has_frame(cn)) {
        conn_end(cn, CONN_END_PEER);
    }
}
