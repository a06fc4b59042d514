/*
 * The way of requests into the coordinator and out of it; its start and its end.
 *
 * In     A handler leaves its task with the port of its io thread; at the end of the io thread's
 *        turn all of them go into the inbox together, and wake the coordinator once. (A worker that
 *        has a long request hands it in by itself.)
 * Out    Tasks that ended in a turn of the coordinator go back at its end, together for each io
 *        thread, and wake it once.
 *
 * A burst of requests so costs two wakes, however many they are. Heartbeats come one by one from
 * many connections, and nobody waits for their answers: they are handed in at most each LATE_MS, or
 * with others.
 *
 * Images come by the inbox, too, and are applied before the requests that came with them: who has
 * seen an image on an io thread finds a coordinator that has seen it.
 *
 * The end: nothing is taken any more, what has not begun is refused, shards are abandoned, and the
 * thread ends when the last write is committed or has failed and the last load has given up.
 */
#include "broker/coordinator.h"

#include "base/err.h"
#include "broker/background.h"
#include "broker/broker.h"
#include "broker/coordinator_impl.h"
#include "broker/dispatch.h"

#include <arpa/inet.h>

#define CLIENT_HOST_BYTES 48
#define LATE_MS           5
#define LARGE_BYTES       ((size_t)64 << 10) /* of a request: is counted with the state */

int32_t coordinator_partition(const struct image *im, struct str group_id)
{
    const struct image_topic *t = image_topic_by_name(im, OFFSETS_TOPIC);
    if (t == NULL || t->partitions_count <= 0) {
        return -1;
    }
    /* Utils.abs: the smallest number has no opposite and counts as 0. */
    int32_t hash = str_java_hash(group_id);
    int32_t place = hash == INT32_MIN ? 0 : hash < 0 ? -hash : hash;
    return place % t->partitions_count;
}

struct request *coordinator_request(struct shard_call *call)
{
    return container_of(call, struct coordinator_task, call)->rq;
}

/* ---- refusing ---- */

static void refuse_task(struct coordinator_task *task, enum kafka_error error)
{
    switch (task->kind) {
    case TASK_CALL:
        task->one.refuse(task->rq, error);
        break;
    case TASK_PARTS:
        for (size_t i = 0; i < task->parts.count; i++) {
            task->parts.refuse(task->rq, i, error);
        }
        break;
    case TASK_ALL:
        task->all.refuse(task->rq, error);
        break;
    }
}

/* The parts that lie in one shard. */
static void
refuse_parts(struct coordinator_slot *slot, struct coordinator_task *task, enum kafka_error error)
{
    for (size_t i = 0; i < task->parts.count; i++) {
        if (task->parts.shards[i] == slot->number) {
            task->parts.refuse(task->rq, i, error);
        }
    }
}

/* ---- out ---- */

static void finish(struct coordinator *co, struct coordinator_task *task)
{
    mem_budget_give(&co->memory, task->charged);
    request_finish(task->rq);
}

static void finish_some(struct coordinator_port *port)
{
    struct loop *lp = port->io->loop;
    loop_begin_slice(lp);
    for (struct list *node; (node = list_pop_front(&port->finishing)) != NULL;) {
        finish(port->co, list_entry(node, struct coordinator_task, link));
        if (loop_slice_is_over(lp)) {
            break;
        }
    }
    if (!list_is_empty(&port->finishing)) {
        loop_at_next_turn(lp, &port->finish_task);
    }
}

static void finish_more(struct turn_task *task, void *ctx)
{
    (void)task;
    finish_some(ctx);
}

static void take_back(struct job *j)
{
    struct coordinator_port *port = container_of(j, struct coordinator_port, back_job);
    lock_take(&port->lock);
    list_splice_back(&port->finishing, &port->back);
    port->is_posted = false;
    lock_give(&port->lock);
    finish_some(port);
}

static void give_back(struct turn_task *turn_task, void *ctx)
{
    (void)turn_task;
    struct coordinator *co = ctx;
    for (size_t i = 0; i < co->br->ios_count; i++) {
        struct coordinator_port *port = &co->ports[i];
        if (list_is_empty(&port->done)) {
            continue;
        }
        lock_take(&port->lock);
        list_splice_back(&port->back, &port->done);
        bool must_post = !port->is_posted;
        port->is_posted = true;
        lock_give(&port->lock);
        if (must_post) {
            check(loop_post(port->io->loop, &port->back_job)); /* loops outlive the coordinator */
        }
    }
}

void coordinator_task_done(struct coordinator *co, struct coordinator_task *task)
{
    list_push_back(&co->ports[task->rq->io->index].done, &task->link);
    loop_at_turn_end(co->io->loop, &co->back_task);
}

void coordinator_wait_over(struct coordinator_slot *slot,
                           struct coordinator_wait *wait,
                           enum kafka_error error)
{
    struct coordinator_task *task = wait->task;
    if (error != KAFKA_ERROR_NONE) {
        if (task->kind == TASK_PARTS) {
            refuse_parts(slot, task, error);
        } else {
            refuse_task(task, error);
        }
    }
    check(task->waits > 0);
    if (--task->waits == 0) {
        coordinator_task_done(slot->co, task);
    }
}

/* ---- in ---- */

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

static void take_inbox(struct coordinator *co)
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
    take_inbox(co);
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
        refuse_task(task, KAFKA_ERROR_NOT_COORDINATOR);
        finish(co, task);
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
        refuse_task(task, KAFKA_ERROR_NOT_COORDINATOR);
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
        refuse_task(task, KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE);
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

/* ---- start and end ---- */

/* Runs at the end of each turn from the stop on. */
static void stop_when_done(struct turn_task *task, void *ctx)
{
    (void)task;
    struct coordinator *co = ctx;
    if (co->pending_count == 0 && co->loads_running == 0) {
        loop_stop(co->io->loop);
    }
}

static void run_stop(struct job *j)
{
    struct coordinator *co = container_of(j, struct coordinator, stop_job);
    co->is_stopping = true;
    lock_take(&co->lock);
    co->is_closed = true;
    lock_give(&co->lock);
    take_inbox(co);
    for (struct list *node; (node = list_pop_front(&co->work)) != NULL;) {
        struct coordinator_task *task = list_entry(node, struct coordinator_task, link);
        refuse_task(task, KAFKA_ERROR_NOT_COORDINATOR);
        coordinator_task_done(co, task);
    }
    coordinator_resign_all(co);
    loop_at_turn_end(co->io->loop, &co->stop_task);
}

static void init_port(struct coordinator *co, size_t i)
{
    struct coordinator_port *port = &co->ports[i];
    port->co = co;
    port->io = co->br->ios[i];
    list_init(&port->out);
    list_init(&port->late);
    timer_init(&port->late_timer, late_is_due, port);
    list_init(&port->finishing);
    list_init(&port->done);
    list_init(&port->back);
    lock_init(&port->lock, LOCK_MAILBOX);
    turn_task_init(&port->out_task, TURN_WAKE, hand_in, port);
    turn_task_init(&port->finish_task, TURN_WAKE, finish_more, port);
    port->back_job.run = take_back;
}

int coordinator_new(struct broker *br, struct coordinator **ret)
{
    struct coordinator *co = mem_zalloc(sizeof(*co));
    co->br = br;
    lock_init(&co->lock, LOCK_MAILBOX);
    list_init(&co->inbox);
    list_init(&co->questions);
    list_init(&co->work);
    list_init(&co->touched);
    list_init(&co->loads);
    turn_task_init(&co->work_task, TURN_APPEND, work_more, co);
    turn_task_init(&co->write_task, TURN_APPEND, coordinator_write, co);
    turn_task_init(&co->back_task, TURN_SEND, give_back, co);
    turn_task_init(&co->load_task, TURN_FREE, coordinator_loads_start, co);
    turn_task_init(&co->stop_task, TURN_FREE, stop_when_done, co);
    co->inbox_job.run = run_inbox;
    co->stop_job.run = run_stop;
    coordinator_config_init(co);
    coordinator_topics_init(co);
    co->ports = mem_array(br->ios_count, sizeof(*co->ports));
    for (size_t i = 0; i < br->ios_count; i++) {
        init_port(co, i);
    }
    int r = io_thread_new(br, br->ios_count, NULL, &co->io);
    if (r < 0) {
        coordinator_free(co);
        return r;
    }
    br->ios[br->ios_count] = co->io; /* who wakes waiters finds it by its index */
    *ret = co;
    return 0;
}

int coordinator_start(struct coordinator *co)
{
    int r = io_thread_start(co->io);
    co->is_started = r >= 0;
    return r;
}

void coordinator_stop(struct coordinator *co)
{
    if (co == NULL || co->io == NULL || co->is_closed) {
        return;
    }
    check(loop_post(co->io->loop, &co->stop_job));
    if (co->is_started) {
        thread_join(&co->io->thread);
    }
    loop_close_mailbox(co->io->loop);
    loop_turn(co->io->loop, false); /* what came in with the last turn; all of it, if none ran */
}

struct coordinator *coordinator_free(struct coordinator *co)
{
    if (co == NULL) {
        return NULL;
    }
    coordinator_stop(co);
    if (co->io != NULL) {
        co->br->ios[co->br->ios_count] = NULL;
        co->io = io_thread_free(co->io);
    }
    for (size_t i = 0; i < co->slots_count; i++) {
        check(co->slots[i] == NULL);
    }
    mem_free(co->slots);
    for (size_t i = 0; i < co->br->ios_count; i++) {
        lock_release(&co->ports[i].lock);
    }
    mem_free(co->ports);
    image_unref(co->next_image);
    image_unref(co->image);
    arena_release(&co->topics_arena);
    arena_release(&co->config_arena);
    lock_release(&co->lock);
    mem_free(co);
    return NULL;
}
