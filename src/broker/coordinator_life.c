/*
 * Start and end of the coordinator. The end: nothing is taken any more, what has not begun is
 * refused, shards are abandoned, and the thread ends when the last write is committed or has failed
 * and the last load has given up.
 */
#include "base/err.h"
#include "broker/broker.h"
#include "broker/coordinator_impl.h"

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
    coordinator_take_inbox(co);
    for (struct list *node; (node = list_pop_front(&co->work)) != NULL;) {
        struct coordinator_task *task = list_entry(node, struct coordinator_task, link);
        coordinator_refuse(task, KAFKA_ERROR_NOT_COORDINATOR);
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
    lock_init(&port->lock, LOCK_MAILBOX);
}

int coordinator_new(struct broker *br, struct coordinator **ret)
{
    struct coordinator *co = mem_zalloc(sizeof(*co));
    co->br = br;
    lock_init(&co->lock, LOCK_MAILBOX);
    co->loaded = coordinator_slot_loaded;
    co->lost = coordinator_slot_reload;
    list_init(&co->touched);
    list_init(&co->loads);
    turn_task_init(&co->write_task, TURN_APPEND, coordinator_write, co);
    turn_task_init(&co->load_task, TURN_FREE, coordinator_loads_start, co);
    turn_task_init(&co->stop_task, TURN_FREE, stop_when_done, co);
    co->stop_job.run = run_stop;
    coordinator_config_init(co);
    coordinator_topics_init(co);
    co->ports = mem_array(br->ios_count, sizeof(*co->ports));
    for (size_t i = 0; i < br->ios_count; i++) {
        init_port(co, i);
    }
    coordinator_in_init(co);
    coordinator_out_init(co);
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
