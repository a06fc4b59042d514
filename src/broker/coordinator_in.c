/*
 * The way into the coordinator. A handler leaves its task with the port of its io thread; at the
 * end of the io thread's turn all of them go into the inbox together, and wake the coordinator
 * once. (A worker that has a long request hands it in by itself.)
 *
 * A burst of requests so costs two wakes (see coordinator_out.c), however many they are. Heartbeats
 * come one by one from many connections, and nobody waits for their answers: they are handed in at
 * most each LATE_MS, or with others.
 *
 * Images come by the inbox, too, and are applied before the requests that came with them: who has
 * seen an image on an io thread finds a coordinator that has seen it.
 */
#include "broker/background.h"
#include "broker/broker.h"
#include "broker/coordinator_impl.h"
#include "broker/dispatch.h"

#include <arpa/inet.h>

#define CLIENT_HOST_BYTES 48
#define LATE_MS           5
#define LARGE_BYTES       ((size_t)64 << 10) /* of a request: is counted with the state */

static void run_questions(struct coordinator *co, struct list *questions)
{
    for (struct list *node; (node = list_pop_front(questions)) != NULL;) {
        coordinator_run_question(co, list_entry(node, struct coordinator_question, link));
    }
}

static void work_some(struct coordinator *co)
{
    struct loop *lp = co->io->loop;
    loop_begin_slice(lp);
    for (struct list *node; (node = list_pop_front(&co->work)) != NULL;) {
        coordinator_run_task(co, list_entry(node, struct coordinator_task, link));
        if (loop_slice_is_over(lp)) {
            break;
        }
    }
    if (!list_is_empty(&co->work)) {
        loop_at_next_turn(lp, &co->work_task);
    }
}

static void work_more(struct turn_task *task, void *ctx)
{
    (void)task;
    work_some(ctx);
}

void coordinator_take_inbox(struct coordinator *co)
{
    struct list questions;
    list_init(&questions);
    lock_take(&co->lock);
    list_splice_back(&co->work, &co->inbox);
    list_splice_back(&questions, &co->questions);
    struct image *im = co->next_image;
    co->next_image = NULL;
    co->is_posted = false;
    lock_give(&co->lock);
    if (im != NULL) {
        coordinator_follow_image(co, im);
    }
    run_questions(co, &questions);
}

static void run_inbox(struct job *j)
{
    struct coordinator *co = container_of(j, struct coordinator, inbox_job);
    coordinator_take_inbox(co);
    work_some(co);
}

/* Something was put into the inbox. Under co->lock; true: post the job, outside of it. */
static bool must_post_locked(struct coordinator *co)
{
    bool must_post = !co->is_posted;
    co->is_posted = true;
    return must_post;
}

static void post_inbox(struct coordinator *co)
{
    check(loop_post(co->io->loop, &co->inbox_job)); /* it is closed before its loop */
}

/* The end of an io thread's turn. */
static void hand_in(struct turn_task *turn_task, void *ctx)
{
    (void)turn_task;
    struct coordinator_port *port = ctx;
    struct coordinator *co = port->co;
    bool must_post = false;
    list_splice_back(&port->out, &port->late);
    timers_disarm(loop_timers(port->io->loop), &port->late_timer);
    port->handed_in_ms = loop_now_ms(port->io->loop);
    lock_take(&co->lock);
    if (!co->is_closed) {
        list_splice_back(&co->inbox, &port->out);
        must_post = must_post_locked(co);
    }
    lock_give(&co->lock);
    if (must_post) {
        post_inbox(co);
    }
    for (struct list *node; (node = list_pop_front(&port->out)) != NULL;) { /* it is closed */
        struct coordinator_task *task = list_entry(node, struct coordinator_task, link);
        coordinator_refuse(task, KAFKA_ERROR_NOT_COORDINATOR);
        coordinator_finish(co, task);
    }
}

/* java.net.InetAddress.toString of an address without a name. */
static struct str client_host(struct request *rq)
{
    const struct conn_peer *peer = conn_peer(rq->slot.cn);
    struct strbuf sb;
    strbuf_init(&sb, arena_alloc(&rq->arena, CLIENT_HOST_BYTES), CLIENT_HOST_BYTES);
    strbuf_add(&sb, "/", 1);
    if (peer->len == 0) {
        return strbuf_str(&sb);
    }
    const uint8_t *v4 = (const uint8_t *)&peer->addr.v4.sin_addr;
    if (peer->addr.any.sa_family == AF_INET6) {
        const struct in6_addr *v6 = &peer->addr.v6.sin6_addr;
        if (!IN6_IS_ADDR_V4MAPPED(v6)) {
            for (size_t i = 0; i < 16; i += 2) {
                strbuf_addf(&sb, "%s%x", i == 0 ? "" : ":", (unsigned)load_be16(v6->s6_addr + i));
            }
            return strbuf_str(&sb);
        }
        v4 = v6->s6_addr + 12;
    }
    strbuf_addf(&sb, "%u.%u.%u.%u", (unsigned)v4[0], (unsigned)v4[1], (unsigned)v4[2],
                (unsigned)v4[3]);
    return strbuf_str(&sb);
}

static struct coordinator_task *new_task(struct request *rq, enum task_kind kind)
{
    struct coordinator_task *task = arena_alloc(&rq->arena, sizeof(*task));
    task->rq = rq;
    task->kind = kind;
    list_init(&task->link);
    list_init(&task->wait.link);
    task->wait.task = task;
    return task;
}

/* A worker has the request: what it was charged is for others again, since it may be parked long.
 */
static enum request_verdict hand_in_now(struct coordinator *co, struct coordinator_task *task)
{
    struct request *rq = task->rq;
    background_give(co->br->background, rq->charge);
    rq->charge = 0;
    lock_take(&co->lock);
    bool is_closed = co->is_closed;
    bool must_post = false;
    if (!is_closed) {
        list_push_back(&co->inbox, &task->link);
        must_post = must_post_locked(co);
    }
    lock_give(&co->lock);
    if (is_closed) {
        coordinator_refuse(task, KAFKA_ERROR_NOT_COORDINATOR);
        mem_budget_give(&co->memory, task->charged);
        return REQUEST_DONE;
    }
    if (must_post) {
        post_inbox(co);
    }
    return REQUEST_PARKED;
}

/* A request may be parked long, and many of them may be: what is large is bounded with the state.
 */
static bool charge(struct coordinator *co, struct coordinator_task *task)
{
    size_t bytes = task->rq->arena.used;
    if (bytes <= LARGE_BYTES) {
        return true;
    }
    if (!mem_budget_take(&co->memory, to_i64(bytes))) {
        return false;
    }
    task->charged = to_i64(bytes);
    return true;
}

static enum request_verdict submit(struct coordinator_task *task)
{
    struct request *rq = task->rq;
    struct coordinator *co = rq->br->coordinator;
    if (!charge(co, task)) {
        coordinator_refuse(task, KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE);
        return REQUEST_DONE;
    }
    if (!loop_is_current(rq->io->loop)) {
        return hand_in_now(co, task);
    }
    struct coordinator_port *port = &co->ports[rq->io->index];
    list_push_back(&port->out, &task->link);
    loop_at_turn_end(rq->io->loop, &port->out_task);
    return REQUEST_PARKED;
}

static void late_is_due(struct timer *t, void *ctx)
{
    (void)t;
    struct coordinator_port *port = ctx;
    loop_at_turn_end(port->io->loop, &port->out_task);
}

static enum request_verdict submit_late(struct coordinator_task *task)
{
    struct request *rq = task->rq;
    struct coordinator_port *port = &rq->br->coordinator->ports[rq->io->index];
    struct loop *lp = rq->io->loop;
    bool is_large = rq->arena.used > LARGE_BYTES;
    if (is_large || !loop_is_current(lp) || loop_now_ms(lp) - port->handed_in_ms >= LATE_MS) {
        return submit(task);
    }
    list_push_back(&port->late, &task->link);
    if (!timer_is_armed(&port->late_timer)) {
        timers_arm(loop_timers(lp), &port->late_timer, port->handed_in_ms + LATE_MS);
    }
    return REQUEST_PARKED;
}

static struct coordinator_task *new_call(struct request *rq,
                                         struct str group_id,
                                         void (*run)(struct shard *sh, struct shard_call *call),
                                         void (*refuse)(struct request *rq, enum kafka_error error))
{
    struct coordinator_task *task = new_task(rq, TASK_CALL);
    task->one.group_id = group_id;
    task->one.run = run;
    task->one.refuse = refuse;
    task->call.api_key = rq->api->key;
    task->call.version = rq->version;
    task->call.client_id = str_is_null(rq->client_id) ? STR("") : rq->client_id;
    task->call.client_host = STR("");
    if (rq->api->key == API_KEY_JOIN_GROUP || rq->api->key == API_KEY_CONSUMER_GROUP_HEARTBEAT) {
        task->call.client_host = client_host(rq);
    }
    task->call.body = rq->body;
    task->call.response = rq->response;
    task->call.arena = &rq->arena;
    list_init(&task->call.link);
    return task;
}

enum request_verdict coordinator_call(struct request *rq,
                                      struct str group_id,
                                      void (*run)(struct shard *sh, struct shard_call *call),
                                      void (*refuse)(struct request *rq, enum kafka_error error))
{
    return submit(new_call(rq, group_id, run, refuse));
}

enum request_verdict coordinator_call_late(struct request *rq,
                                           struct str group_id,
                                           void (*run)(struct shard *sh, struct shard_call *call),
                                           void (*refuse)(struct request *rq,
                                                          enum kafka_error error))
{
    return submit_late(new_call(rq, group_id, run, refuse));
}

enum request_verdict
coordinator_parts(struct request *rq,
                  size_t count,
                  struct str (*group_of)(struct request *rq, size_t i),
                  void (*part)(struct shard *sh, struct request *rq, size_t i),
                  void (*refuse)(struct request *rq, size_t i, enum kafka_error error))
{
    struct coordinator_task *task = new_task(rq, TASK_PARTS);
    task->parts.count = count;
    task->parts.group_of = group_of;
    task->parts.part = part;
    task->parts.refuse = refuse;
    return submit(task);
}

enum request_verdict coordinator_all(struct request *rq,
                                     void (*part)(struct shard *sh, struct request *rq),
                                     void (*refuse)(struct request *rq, enum kafka_error error))
{
    struct coordinator_task *task = new_task(rq, TASK_ALL);
    task->all.part = part;
    task->all.refuse = refuse;
    return submit(task);
}

bool coordinator_ask(struct coordinator *co, struct coordinator_question *cq)
{
    lock_take(&co->lock);
    bool is_taken = !co->is_closed;
    bool must_post = false;
    if (is_taken) {
        list_push_back(&co->questions, &cq->link);
        must_post = must_post_locked(co);
    }
    lock_give(&co->lock);
    if (must_post) {
        post_inbox(co);
    }
    return is_taken;
}

void coordinator_apply_image(struct coordinator *co, struct image *im)
{
    struct image *before = NULL;
    bool must_post = false;
    lock_take(&co->lock);
    if (!co->is_closed) {
        before = co->next_image;
        co->next_image = image_ref(im);
        must_post = must_post_locked(co);
    }
    lock_give(&co->lock);
    image_unref(before);
    if (must_post) {
        post_inbox(co);
    }
}

void coordinator_in_init(struct coordinator *co)
{
    list_init(&co->inbox);
    list_init(&co->questions);
    list_init(&co->work);
    turn_task_init(&co->work_task, TURN_APPEND, work_more, co);
    co->inbox_job.run = run_inbox;
    for (size_t i = 0; i < co->br->ios_count; i++) {
        struct coordinator_port *port = &co->ports[i];
        list_init(&port->out);
        list_init(&port->late);
        timer_init(&port->late_timer, late_is_due, port);
        turn_task_init(&port->out_task, TURN_WAKE, hand_in, port);
    }
}
