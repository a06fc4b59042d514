/*
 * Connections: sets of them, and their lives; see conn.h.
 */
#include "net/conn.h"

#include "base/base.h"
#include "base/logger.h"
#include "base/mem.h"

#include <arpa/inet.h>
#include <event2/event.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include "net/conn_limits.h"
#include "net/conn_private.h"

static void free_conn(struct conn *cn)
{
    struct conn_set *cs = cn->cs;
    list_remove(&cn->node);
    cs->count--;
    mem_free(cn);
}

/* free_task: all callbacks about the end of things, and the end of connections. A callback may
 * answer, close and open: what it causes runs in this task again. */
static void run_free(struct turn_task *task, void *ctx)
{
    (void)task;
    struct conn_set *cs = ctx;
    conn_out_release_slots(cs);
    list_foreach_safe (node, next, &cs->dying) {
        struct conn *cn = list_entry(node, struct conn, node);
        if (!cn->is_announced) {
            cn->is_announced = true;
            if (cs->options.handler.on_close != NULL) {
                cs->options.handler.on_close(cs->options.handler.ctx, cn, cn->reason);
            }
            conn_out_abandon(cn);
        }
    }
    conn_out_release_slots(cs);
    list_foreach_safe (node, next, &cs->dying) {
        struct conn *cn = list_entry(node, struct conn, node);
        if (cn->is_announced && list_is_empty(&cn->slots)) {
            free_conn(cn);
        }
    }
    conn_out_trim(cs);
}

/* --- timers of connections --- */

static void on_unmute(struct timer *t, void *ctx)
{
    (void)t;
    conn_make_ready(ctx);
}

static void on_linger(struct timer *t, void *ctx)
{
    struct conn *cn = ctx;
    int64_t silent_ns = loop_mono_ns(cn->cs->loop) - cn->active_ns;
    if (cn->out.bytes > 0 && silent_ns < (int64_t)CONN_LINGER_MS * 1000000) {
        timers_arm(loop_timers(cn->cs->loop), t, loop_now_ms(cn->cs->loop) + CONN_LINGER_MS);
        return; /* it still reads */
    }
    conn_end(cn, CONN_END_PEER);
}

static int64_t idle_deadline_ms(const struct conn_set *cs, const struct conn *cn)
{
    int64_t idle_ns = loop_mono_ns(cs->loop) - cn->active_ns;
    /* Rounded up: a timer must not come a moment too early and go round again. */
    return loop_now_ms(cs->loop) + cs->options.idle_ms - idle_ns / 1000000 + 1;
}

static void arm_idle(struct conn_set *cs)
{
    if (cs->options.idle_ms <= 0 || list_is_empty(&cs->by_activity) || timer_is_armed(&cs->idle)) {
        return;
    }
    struct conn *oldest = list_entry(cs->by_activity.next, struct conn, node);
    timers_arm(loop_timers(cs->loop), &cs->idle, idle_deadline_ms(cs, oldest));
}

static void on_idle(struct timer *t, void *ctx)
{
    (void)t;
    struct conn_set *cs = ctx;
    int64_t idle_ns = cs->options.idle_ms * 1000000;
    loop_begin_slice(cs->loop);
    while (!list_is_empty(&cs->by_activity) && !loop_slice_is_over(cs->loop)) {
        struct conn *cn = list_entry(cs->by_activity.next, struct conn, node);
        if (loop_mono_ns(cs->loop) - cn->active_ns < idle_ns) {
            break;
        }
        bool is_waiting = cn->started > 0 || list_is_linked(&cn->waiting);
        if (is_waiting && cn->out.bytes == 0) {
            conn_touch(cn); /* it waits for us */
            continue;
        }
        conn_end(cn, CONN_END_IDLE);
    }
    arm_idle(cs);
}

/* The one that was silent for the longest time, of those that may be closed; NULL: none. */
static struct conn *least_active(struct conn_set *cs)
{
    list_foreach (node, &cs->by_activity) {
        struct conn *cn = list_entry(node, struct conn, node);
        if (!conn_share_is_exempt(cn->share)) {
            return cn;
        }
    }
    return NULL;
}

static void shed(struct turn_task *task, void *ctx)
{
    struct conn_set *cs = ctx;
    loop_begin_slice(cs->loop);
    while (conn_limits_are_exceeded(cs->options.limits, &cs->excess)) {
        struct conn *cn = least_active(cs);
        if (cn == NULL) {
            return; /* another set has those who must go */
        }
        conn_end(cn, CONN_END_EXCESS);
        if (loop_slice_is_over(cs->loop)) {
            loop_at_next_turn(cs->loop, task);
            return;
        }
    }
}

static void on_excess(void *ctx)
{
    struct conn_set *cs = ctx;
    loop_at_turn_end(cs->loop, &cs->shed_task);
}

/* --- sets --- */

static void find_metrics(struct conn_set *cs, struct metrics *ms)
{
    static const char *const names[CONN_ENDS] = {
        [CONN_END_PEER] = "net_closed_by_peer",        [CONN_END_IDLE] = "net_closed_idle",
        [CONN_END_BAD_FRAME] = "net_closed_bad_frame", [CONN_END_LOCAL] = "net_closed_by_us",
        [CONN_END_MEMORY] = "net_closed_memory",       [CONN_END_FAILURE] = "net_closed_failure",
        [CONN_END_SLOW] = "net_closed_slow",           [CONN_END_EXCESS] = "net_closed_excess",
    };
    cs->open_gauge = metrics_gauge(ms, "net_connections", "open connections");
    cs->opened_count = metrics_counter(ms, "net_connections_opened", "connections taken");
    cs->frames_count = metrics_counter(ms, "net_frames", "requests read");
    cs->bytes_in_count = metrics_counter(ms, "net_bytes_in", "bytes read");
    cs->bytes_out_count = metrics_counter(ms, "net_bytes_out", "bytes sent");
    for (size_t i = 0; i < CONN_ENDS; i++) {
        cs->ends[i] = metrics_counter(ms, names[i], "connections ended, by reason");
    }
}

int conn_set_new(struct loop *lp, const struct conn_options *options, struct conn_set **ret)
{
    struct conn_set *cs = mem_zalloc(sizeof(*cs));
    cs->loop = lp;
    cs->options = *options;
    struct conn_options *op = &cs->options;
    op->request_bytes_max = op->request_bytes_max == 0 ? 100 << 20 : op->request_bytes_max;
    /* A length is a positive int32; larger limits would let the sign through. */
    op->request_bytes_max = min_size(op->request_bytes_max, INT32_MAX);
    op->started_max = op->started_max == 0 ? 128 : op->started_max;
    op->unsent_bytes_max = op->unsent_bytes_max == 0 ? 256 << 10 : op->unsent_bytes_max;
    cs->pool = blob_pool_new(lp, op->memory);
    blob_pool_set_reaper(cs->pool, op->reap, op->reap_ctx);
    list_init(&cs->by_activity);
    list_init(&cs->ready);
    list_init(&cs->backlog);
    list_init(&cs->dirty);
    list_init(&cs->dirty_late);
    list_init(&cs->waiting);
    list_init(&cs->queued);
    list_init(&cs->passing);
    list_init(&cs->dying);
    list_init(&cs->released);
    turn_task_init(&cs->pump_task, TURN_APPEND, conn_in_pump_all, cs);
    turn_task_init(&cs->send_task, TURN_SEND, conn_out_send_all, cs);
    turn_task_init(&cs->free_task, TURN_FREE, run_free, cs);
    timer_init(&cs->idle, on_idle, cs);
    timer_init(&cs->stall, conn_in_stall, cs);
    timer_init(&cs->pace, conn_in_pace, cs);
    timer_init(&cs->slow, conn_out_slow, cs);
    turn_task_init(&cs->shed_task, TURN_APPEND, shed, cs);
    conn_limits_waiter_init(&cs->excess, op->limits, lp, on_excess, cs);
    conn_limits_await_excess(op->limits, &cs->excess);
    conn_memory_waiter_init(&cs->waiter, op->memory, lp, conn_in_resume, cs);
    if (op->metrics != NULL) {
        find_metrics(cs, op->metrics);
    }
    *ret = cs;
    return 0;
}

struct loop *conn_set_loop(struct conn_set *cs)
{
    return cs->loop;
}

size_t conn_set_count(const struct conn_set *cs)
{
    return cs->count;
}

void conn_set_close_all(struct conn_set *cs)
{
    list_foreach_safe (node, next, &cs->by_activity) {
        conn_end(list_entry(node, struct conn, node), CONN_END_LOCAL);
    }
}

struct conn_set *conn_set_free(struct conn_set *cs)
{
    if (cs == NULL) {
        return NULL;
    }
    check(cs->count == 0);
    loop_waiter_release(&cs->waiter);
    loop_waiter_release(&cs->excess);
    turn_task_cancel(&cs->pump_task);
    turn_task_cancel(&cs->send_task);
    turn_task_cancel(&cs->free_task);
    turn_task_cancel(&cs->shed_task);
    timers_disarm(loop_timers(cs->loop), &cs->idle);
    timers_disarm(loop_timers(cs->loop), &cs->stall);
    timers_disarm(loop_timers(cs->loop), &cs->pace);
    timers_disarm(loop_timers(cs->loop), &cs->slow);
    blob_unref(cs->shared);
    blob_unref(cs->out);
    blob_pool_let_go(cs->pool);
    return mem_free(cs);
}

int conn_open(struct conn_set *cs,
              int fd,
              const struct conn_peer *peer,
              void *tag,
              struct conn_share *share,
              struct conn **ret)
{
    struct conn *cn = mem_zalloc(sizeof(*cn));
    cn->cs = cs;
    cn->fd = fd;
    cn->id = ++cs->next_id;
    cn->peer = *peer;
    cn->tag = tag;
    cn->share = share;
    cn->is_writable = true;
    list_init(&cn->slots);
    rope_init(&cn->out);
    timer_init(&cn->mute, on_unmute, cn);
    timer_init(&cn->linger, on_linger, cn);
    int one = 1;
    if (peer->len > 0) {
        /* Answers are whole when they are sent: waiting for more would only delay them. */
        IGNORE(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) <
               0); /* not TCP: no need */
    }
    short edges = EV_READ | EV_WRITE | EV_CLOSED | EV_ET | EV_PERSIST;
    if (event_assign(&cn->event, loop_base(cs->loop), fd, edges, conn_in_event, cn) < 0 ||
        event_add(&cn->event, NULL) < 0) {
        IGNORE(close(fd)); /* a socket */
        conn_limits_leave(share, peer);
        mem_free(cn);
        return -ENOMEM;
    }
    cs->count++;
    metric_add(cs->open_gauge, 1);
    metric_add(cs->opened_count, 1);
    cn->active_ns = loop_mono_ns(cs->loop);
    list_push_back(&cs->by_activity, &cn->node);
    arm_idle(cs);
    if (cs->options.handler.on_open != NULL) {
        cs->options.handler.on_open(cs->options.handler.ctx, cn);
    }
    *ret = cn;
    return 0;
}
