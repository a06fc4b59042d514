/*
 * Records of a turn become one batch for each shard, and who waits for them is answered when the
 * high watermark has passed it. Records beyond the size of a batch make several; a call waits for
 * the last of them.
 *
 * Calls without records wait for what is pending before them (what they have seen may not be
 * committed yet), as Kafka's deferred events do; when nothing is, they are answered at once.
 *
 * Answers to Kafka's CoordinatorRuntime.CoordinatorContext.append and flushCurrentBatch,
 * GroupCoordinatorService.handleOperationException.
 */
#include "base/err.h"
#include "broker/broker.h"
#include "broker/coordinator_impl.h"

#define BATCH_BYTES_MAX INT64_C(1048588)
#define RECORD_OVERHEAD 32 /* lengths, deltas, attributes: about, and at most */
/* A batch of a codec's may be a little larger than what went in. */
#define SLACK_BYTES 1024

struct pending_write {
    struct waiter w;
    struct coordinator_slot *slot;
    struct list link;  /* slot->pending */
    struct list waits; /* coordinator_wait */
};

void coordinator_slot_touch(struct coordinator_slot *slot)
{
    if (!list_is_linked(&slot->touched)) {
        list_push_back(&slot->co->touched, &slot->touched);
        loop_at_turn_end(slot->co->io->loop, &slot->co->write_task);
    }
}

/* Kafka's translation of a failed append. */
static enum kafka_error error_of(enum kafka_error append_error)
{
    switch ((int)append_error) {
    case KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION:
    case KAFKA_ERROR_NOT_ENOUGH_REPLICAS:
    case KAFKA_ERROR_NOT_ENOUGH_REPLICAS_AFTER_APPEND:
    case KAFKA_ERROR_REQUEST_TIMED_OUT:
        return KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE;
    case KAFKA_ERROR_NOT_LEADER_OR_FOLLOWER:
    case KAFKA_ERROR_KAFKA_STORAGE_ERROR:
        return KAFKA_ERROR_NOT_COORDINATOR;
    default:
        return KAFKA_ERROR_UNKNOWN_SERVER_ERROR;
    }
}

static void end_waits(struct coordinator_slot *slot, struct list *waits, enum kafka_error error)
{
    for (struct list *node; (node = list_pop_front(waits)) != NULL;) {
        coordinator_wait_over(slot, list_entry(node, struct coordinator_wait, link), error);
    }
}

static void free_pending(struct pending_write *pw)
{
    struct coordinator *co = pw->slot->co;
    list_remove(&pw->link);
    partition_unref(pw->w.p);
    co->pending_count--;
    if (co->is_stopping) {
        loop_at_turn_end(co->io->loop, &co->stop_task);
    }
    mem_free(pw);
}

/* A batch is committed, or failed. */
static void on_commit(struct waiter *w)
{
    struct pending_write *pw = container_of(w, struct pending_write, w);
    struct coordinator_slot *slot = pw->slot;
    enum kafka_error error = w->error == KAFKA_ERROR_NONE ? KAFKA_ERROR_NONE : error_of(w->error);
    end_waits(slot, &pw->waits, error);
    free_pending(pw);
    if (error != KAFKA_ERROR_NONE) {
        slot->co->lost(slot, error);
    }
}

void coordinator_cancel_writes(struct coordinator_slot *slot, enum kafka_error error)
{
    list_foreach_safe (node, next, &slot->pending) {
        struct pending_write *pw = list_entry(node, struct pending_write, link);
        waiter_cancel(&pw->w);
        end_waits(slot, &pw->waits, error);
        free_pending(pw);
    }
    end_waits(slot, &slot->waits, error);
}

/* ---- batches ---- */

/* Closes the batch at hand and stages it. w: put in place to be woken at its commit; NULL: a later
 * batch of the turn stands for it. */
static void stage(struct coordinator_slot *slot, struct waiter *w)
{
    struct coordinator *co = slot->co;
    struct partition *p = slot->p;
    struct blob *blob = NULL;
    struct plog_append in = {
        .origin = PLOG_COORDINATOR,
        .leader_epoch = atomic_load_explicit(&p->leader_epoch, memory_order_relaxed),
        .now_ms = loop_wall_ms(co->io->loop),
    };
    struct plog_append_result result = {.error = KAFKA_ERROR_NONE};
    int r = batch_builder_finish(&slot->builder, &blob, &in.size);
    slot->builder_bytes = 0;
    if (r >= 0) {
        in.blob = blob;
        in.bytes = blob->data;
        r = batch_peek(in.bytes, in.size, &in.batch);
    }
    if (r >= 0) {
        struct validate_result validated;
        plog_validate(p->pl, &in, &validated);
        r = partition_append_validated(p, co->io, &in, &validated, &result, w);
    }
    blob_unref(blob);
    if (r < 0) {
        io_thread_report_storage(co->io, p->topic, p->number, r);
        slot->append_error = KAFKA_ERROR_KAFKA_STORAGE_ERROR;
    } else if (result.error != KAFKA_ERROR_NONE) {
        slot->append_error = result.error;
    }
}

static size_t batch_bytes_max(struct coordinator_slot *slot)
{
    struct validate_rules rules;
    plog_rules(slot->p->pl, &rules);
    int64_t max = min_i64(rules.max_message_bytes, BATCH_BYTES_MAX);
    return max <= 2 * SLACK_BYTES ? SLACK_BYTES : to_size(max - SLACK_BYTES);
}

void coordinator_add_record(void *ctx, struct view key, struct view value)
{
    struct coordinator_slot *slot = ctx;
    if (slot->append_error != KAFKA_ERROR_NONE) {
        return; /* the shard is lost */
    }
    size_t bytes = key.len + value.len + RECORD_OVERHEAD;
    if (slot->builder_bytes == 0) {
        slot->batch_bytes_max = batch_bytes_max(slot);
    } else if (slot->builder_bytes + bytes > slot->batch_bytes_max) {
        stage(slot, NULL);
    }
    batch_builder_add(&slot->builder, loop_wall_ms(slot->co->io->loop), key, value);
    slot->builder_bytes += bytes;
}

/* ---- the end of a turn ---- */

void coordinator_drop_records(struct coordinator_slot *slot, enum kafka_error error)
{
    batch_builder_release(&slot->builder);
    batch_builder_init(&slot->builder, slot->co->codec, slot->co->codec_level);
    slot->builder_bytes = 0;
    slot->append_error = KAFKA_ERROR_NONE;
    end_waits(slot, &slot->waits, error);
}

static void stage_last(struct coordinator_slot *slot)
{
    struct pending_write *pw = mem_zalloc(sizeof(*pw));
    pw->slot = slot;
    pw->w.p = partition_ref(slot->p);
    pw->w.io = slot->co->io;
    pw->w.wake = on_commit;
    list_init(&pw->w.link);
    list_init(&pw->w.ready_link);
    list_init(&pw->link);
    list_init(&pw->waits);
    slot->co->pending_count++;
    stage(slot, &pw->w);
    if (slot->append_error != KAFKA_ERROR_NONE) {
        free_pending(pw); /* it was not put in place */
        return;
    }
    list_push_back(&slot->pending, &pw->link);
    list_splice_back(&pw->waits, &slot->waits);
}

static void write_slot(struct coordinator_slot *slot)
{
    if (slot->builder_bytes > 0 && slot->append_error == KAFKA_ERROR_NONE) {
        stage_last(slot);
    }
    if (slot->append_error != KAFKA_ERROR_NONE) {
        slot->co->lost(slot, error_of(slot->append_error));
        return;
    }
    if (list_is_empty(&slot->waits)) {
        return;
    }
    if (list_is_empty(&slot->pending)) {
        end_waits(slot, &slot->waits, KAFKA_ERROR_NONE);
    } else {
        struct pending_write *last = list_entry(slot->pending.prev, struct pending_write, link);
        list_splice_back(&last->waits, &slot->waits);
    }
}

void coordinator_write(struct turn_task *task, void *ctx)
{
    (void)task;
    struct coordinator *co = ctx;
    struct list touched;
    list_init(&touched);
    list_splice_back(&touched, &co->touched);
    for (struct list *node; (node = list_pop_front(&touched)) != NULL;) {
        write_slot(list_entry(node, struct coordinator_slot, touched));
    }
}
