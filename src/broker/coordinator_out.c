/*
 * The way out of the coordinator: tasks that ended in a turn of it go back at its end, together for
 * each io thread, and wake it once.
 */
#include "broker/broker.h"
#include "broker/coordinator_impl.h"

struct request *coordinator_request(struct shard_call *call)
{
    return container_of(call, struct coordinator_task, call)->rq;
}

void coordinator_refuse(struct coordinator_task *task, enum kafka_error error)
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

void coordinator_finish(struct coordinator *co, struct coordinator_task *task)
{
    mem_budget_give(&co->memory, task->charged);
    request_finish(task->rq);
}

static void finish_some(struct coordinator_port *port)
{
    struct loop *lp = port->io->loop;
    loop_begin_slice(lp);
    for (struct list *node; (node = list_pop_front(&port->finishing)) != NULL;) {
        coordinator_finish(port->co, list_entry(node, struct coordinator_task, link));
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
            coordinator_refuse(task, error);
        }
    }
    check(task->waits > 0);
    if (--task->waits == 0) {
        coordinator_task_done(slot->co, task);
    }
}

void coordinator_out_init(struct coordinator *co)
{
    turn_task_init(&co->back_task, TURN_SEND, give_back, co);
    for (size_t i = 0; i < co->br->ios_count; i++) {
        struct coordinator_port *port = &co->ports[i];
        list_init(&port->finishing);
        list_init(&port->done);
        list_init(&port->back);
        turn_task_init(&port->finish_task, TURN_WAKE, finish_more, port);
        port->back_job.run = take_back;
    }
}
