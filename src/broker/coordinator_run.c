/*
 * The coordinator's shards: who is served, and events.
 *
 *   state     from               how
 *   -         LOADING ACTIVE FAILED   resigned: another leads it, or the topic is gone
 *   LOADING   -                  elected by an image
 *             ACTIVE             an append failed: what the shard believes is not in the log
 *   ACTIVE    LOADING            the log has been read to its end
 *   FAILED    LOADING            the log cannot be read
 *
 * Who asks for a group of a FAILED one has it elected anew, where its partition is back, or what
 * was in the way may have passed.
 *
 * Answers to Kafka's CoordinatorRuntime (CoordinatorContext, CoordinatorState) and
 * GroupCoordinatorService.onElection, onResignation.
 */
#include "base/err.h"
#include "broker/background.h"
#include "broker/broker.h"
#include "broker/coordinator_impl.h"
#include "broker/partition_table.h"

#define REPORT_MS         5000
#define RETRY_MS          1000              /* after what passes by kept a log from being read */
#define ANSWER_STEP_BYTES ((size_t)1 << 20) /* what an answer grows by before it is looked at */

static void slot_move(struct coordinator_slot *slot, enum slot_state to)
{
    switch (to) {
    case SLOT_LOADING:
        check(slot->state == SLOT_ACTIVE);
        break;
    case SLOT_ACTIVE:
    case SLOT_FAILED:
        check(slot->state == SLOT_LOADING);
        break;
    }
    slot->state = to;
}

static enum kafka_error error_of(const struct coordinator_slot *slot)
{
    if (slot == NULL) {
        return KAFKA_ERROR_NOT_COORDINATOR;
    }
    switch (slot->state) {
    case SLOT_LOADING:
        return KAFKA_ERROR_COORDINATOR_LOAD_IN_PROGRESS;
    case SLOT_ACTIVE:
        return KAFKA_ERROR_NONE;
    case SLOT_FAILED:
        return KAFKA_ERROR_NOT_COORDINATOR;
    }
    return KAFKA_ERROR_NOT_COORDINATOR;
}

static void elect(struct coordinator *co, const struct image_topic *t, int32_t number);
static void resign(struct coordinator_slot *slot);

/* A partition that was offline when its groups were to be loaded may be back; one that was not: see
 * slot->retry_at_ms. */
static struct coordinator_slot *revive(struct coordinator_slot *slot)
{
    struct coordinator *co = slot->co;
    bool was_there = slot->p != NULL && slot->p->pl != NULL;
    if (slot->state != SLOT_FAILED ||
        (was_there && loop_now_ms(co->io->loop) < slot->retry_at_ms)) {
        return slot;
    }
    int32_t number = slot->number;
    const struct image_topic *t = image_topic_by_name(co->image, OFFSETS_TOPIC);
    struct partition *p = partition_find(co->br->partitions, &t->id, number);
    bool is_back = p != NULL && p->pl != NULL;
    partition_unref(p);
    if (is_back) {
        resign(slot);
        elect(co, t, number);
    }
    return co->slots[number];
}

/* The slot of a group, or NULL; *ret_error: why nobody is served there. */
static struct coordinator_slot *
slot_of(struct coordinator *co, struct str group_id, enum kafka_error *ret_error)
{
    int32_t number = co->image == NULL ? -1 : coordinator_partition(co->image, group_id);
    struct coordinator_slot *slot =
        number >= 0 && (size_t)number < co->slots_count ? co->slots[number] : NULL;
    slot = slot == NULL ? NULL : revive(slot);
    *ret_error = error_of(slot);
    return *ret_error == KAFKA_ERROR_NONE ? slot : NULL;
}

/* ---- events ---- */

static void begin_event(struct coordinator_slot *slot)
{
    struct coordinator *co = slot->co;
    shard_begin(slot->sh, loop_now_ms(co->io->loop), loop_wall_ms(co->io->loop), &co->topics);
}

static void arm_timer(struct coordinator_slot *slot)
{
    struct timers *timers = loop_timers(slot->co->io->loop);
    int64_t next = shard_next_deadline(slot->sh);
    if (next == INT64_MAX) {
        timers_disarm(timers, &slot->timer);
    } else if (!timer_is_armed(&slot->timer) || slot->timer.deadline_ms != next) {
        timers_arm(timers, &slot->timer, next);
    }
}

static void end_event(struct coordinator_slot *slot)
{
    if (shard_take_records(slot->sh, coordinator_add_record, slot) > 0) {
        coordinator_slot_touch(slot);
    }
    struct list completed;
    list_init(&completed);
    shard_take_completed(slot->sh, &completed);
    for (struct list *node; (node = list_pop_front(&completed)) != NULL;) {
        struct shard_call *call = list_entry(node, struct shard_call, link);
        struct coordinator_task *task = container_of(call, struct coordinator_task, call);
        task->waits = 1;
        list_push_back(&slot->waits, &task->wait.link);
        coordinator_slot_touch(slot);
    }
    arm_timer(slot);
}

static void run_timers(struct timer *t, void *ctx)
{
    (void)t;
    struct coordinator_slot *slot = ctx;
    begin_event(slot);
    shard_run_timers(slot->sh);
    end_event(slot);
}

/* ---- tasks ---- */

static void run_call(struct coordinator *co, struct coordinator_task *task)
{
    enum kafka_error error;
    struct coordinator_slot *slot = slot_of(co, task->one.group_id, &error);
    if (slot == NULL) {
        task->one.refuse(task->rq, error);
        coordinator_task_done(co, task);
        return;
    }
    begin_event(slot);
    task->one.run(slot->sh, &task->call);
    end_event(slot);
}

/* The first of its parts in this shard: it waits for what the shard writes. */
static void wait_for(struct coordinator_slot *slot, struct coordinator_task *task)
{
    if (slot->seen == slot->co->tasks_seen) {
        return;
    }
    slot->seen = slot->co->tasks_seen;
    struct coordinator_wait *wait = &task->wait;
    if (list_is_linked(&wait->link)) {
        wait = arena_alloc(&task->rq->arena, sizeof(*wait));
        wait->task = task;
        list_init(&wait->link);
    }
    task->waits++;
    list_push_back(&slot->waits, &wait->link);
    coordinator_slot_touch(slot);
}

/* A short request may ask for much, by naming one large group again and again. What its answer has
 * grown by is charged, twice: it is encoded beside what it is made of. False: no room for more. */
static bool charge_answer(struct request *rq, size_t *charged)
{
    size_t grown = rq->arena.used - *charged;
    if (grown < ANSWER_STEP_BYTES) {
        return true;
    }
    *charged = rq->arena.used;
    if (!background_take(rq->br->background, 2 * to_i64(grown))) {
        return false;
    }
    rq->charge += 2 * to_i64(grown);
    return true;
}

static void run_parts(struct coordinator *co, struct coordinator_task *task)
{
    task->parts.shards =
        arena_alloc(&task->rq->arena, task->parts.count * sizeof(*task->parts.shards));
    size_t charged = task->rq->arena.used;
    bool has_room = true;
    for (size_t i = 0; i < task->parts.count; i++) {
        enum kafka_error error = KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE;
        struct str group_id = task->parts.group_of(task->rq, i);
        has_room = has_room && charge_answer(task->rq, &charged);
        struct coordinator_slot *slot = has_room ? slot_of(co, group_id, &error) : NULL;
        task->parts.shards[i] = slot == NULL ? -1 : slot->number;
        if (slot == NULL) {
            task->parts.refuse(task->rq, i, error);
            continue;
        }
        begin_event(slot);
        task->parts.part(slot->sh, task->rq, i);
        end_event(slot);
        wait_for(slot, task);
    }
}

static void run_all(struct coordinator *co, struct coordinator_task *task)
{
    for (size_t i = 0; i < co->slots_count; i++) {
        struct coordinator_slot *slot = co->slots[i];
        if (slot == NULL) {
            continue;
        }
        enum kafka_error error = error_of(slot);
        if (error == KAFKA_ERROR_COORDINATOR_LOAD_IN_PROGRESS) {
            task->all.refuse(task->rq, error);
        }
        if (error != KAFKA_ERROR_NONE) {
            continue;
        }
        begin_event(slot);
        task->all.part(slot->sh, task->rq);
        end_event(slot);
        wait_for(slot, task);
    }
}

void coordinator_run_task(struct coordinator *co, struct coordinator_task *task)
{
    co->tasks_seen++;
    switch (task->kind) {
    case TASK_CALL:
        run_call(co, task);
        return;
    case TASK_PARTS:
        run_parts(co, task);
        break;
    case TASK_ALL:
        run_all(co, task);
        break;
    }
    if (task->waits == 0) {
        coordinator_task_done(co, task);
    }
}

void coordinator_run_question(struct coordinator *co, struct coordinator_question *cq)
{
    enum kafka_error error;
    struct coordinator_slot *slot = slot_of(co, cq->group_id, &error);
    if (slot != NULL) {
        begin_event(slot);
    }
    cq->run(cq, slot == NULL ? NULL : slot->sh, error);
}

/* ---- elections ---- */

static void elect(struct coordinator *co, const struct image_topic *t, int32_t number)
{
    struct coordinator_slot *slot = mem_zalloc(sizeof(*slot));
    slot->co = co;
    slot->number = number;
    slot->p = partition_find(co->br->partitions, &t->id, number);
    slot->state = SLOT_LOADING;
    timer_init(&slot->timer, run_timers, slot);
    list_init(&slot->touched);
    list_init(&slot->waits);
    list_init(&slot->pending);
    batch_builder_init(&slot->builder, co->codec, co->codec_level);
    co->slots[number] = slot;
    coordinator_load_begin(slot);
}

/* Those who are parked, and those who wait for a commit, are answered. */
static void drop_shard(struct coordinator_slot *slot, enum kafka_error error)
{
    begin_event(slot);
    shard_abandon(slot->sh, error);
    end_event(slot);
    slot->sh = shard_free(slot->sh);
    timers_disarm(loop_timers(slot->co->io->loop), &slot->timer);
}

static void resign(struct coordinator_slot *slot)
{
    struct coordinator *co = slot->co;
    if (slot->sh != NULL) {
        drop_shard(slot, KAFKA_ERROR_NOT_COORDINATOR);
    }
    if (slot->load != NULL) {
        coordinator_load_cancel(slot);
    }
    coordinator_cancel_writes(slot, KAFKA_ERROR_NOT_COORDINATOR);
    list_remove(&slot->touched);
    batch_builder_release(&slot->builder);
    partition_unref(slot->p);
    co->slots[slot->number] = NULL;
    mem_free(slot);
}

void coordinator_resign_all(struct coordinator *co)
{
    for (size_t i = 0; i < co->slots_count; i++) {
        if (co->slots[i] != NULL) {
            resign(co->slots[i]);
        }
    }
}

void coordinator_slot_reload(struct coordinator_slot *slot, enum kafka_error error)
{
    struct coordinator *co = slot->co;
    if (slot->state != SLOT_ACTIVE) {
        return; /* several of its batches failed together */
    }
    struct log_left_out left_out;
    if (log_limit_pass(&co->report_limit, co->br->clock, REPORT_MS, &left_out)) {
        LOG_WARN(co->br->logger, FAC_BROKER,
                 "group coordinator: records of __consumer_offsets-%d could not be written (error "
                 "%d); its groups are loaded anew%s",
                 slot->number, (int)error, left_out.text);
    }
    coordinator_drop_records(slot, error);
    drop_shard(slot, error);
    slot_move(slot, SLOT_LOADING);
    coordinator_load_begin(slot);
}

static void report_unreadable(const struct coordinator_slot *slot, int err)
{
    struct coordinator *co = slot->co;
    struct log_left_out left_out = {0};
    if (err_is_passing(err) &&
        !log_limit_pass(&co->unreadable_limit, co->br->clock, REPORT_MS, &left_out)) {
        return; /* it is tried again and again */
    }
    LOG_ERROR(co->br->logger, FAC_BROKER,
              "group coordinator: __consumer_offsets-%d cannot be read: %s; its groups are not "
              "served until %s%s",
              slot->number, err_text(err),
              err == ERR_OFFLINE    ? "it is online"
              : err_is_passing(err) ? "that has passed; who asks for one has it tried again"
                                    : "the broker starts again",
              left_out.text);
}

void coordinator_slot_loaded(struct coordinator_slot *slot, struct shard *sh, int err)
{
    slot->load = NULL;
    if (err < 0) {
        bool is_deleted = slot->p != NULL && atomic_load(&slot->p->is_deleted);
        if (!is_deleted) { /* the image that says so is on its way */
            report_unreadable(slot, err);
        }
        slot_move(slot, SLOT_FAILED);
        slot->retry_at_ms =
            err_is_passing(err) ? loop_now_ms(slot->co->io->loop) + RETRY_MS : INT64_MAX;
        return;
    }
    slot_move(slot, SLOT_ACTIVE);
    slot->sh = sh;
    begin_event(slot);
    shard_loaded(sh);
    end_event(slot);
}

static void make_room(struct coordinator *co, size_t count)
{
    if (count <= co->slots_count) {
        return;
    }
    struct coordinator_slot **slots = mem_array(count, sizeof(struct coordinator_slot *));
    for (size_t i = 0; i < co->slots_count; i++) {
        slots[i] = co->slots[i];
    }
    mem_free(co->slots);
    co->slots = slots;
    co->slots_count = count;
}

static void follow_leaders(struct coordinator *co,
                           const struct image_topic *before,
                           const struct image_topic *after)
{
    if (before == after) {
        return;
    }
    if (after == NULL || (before != NULL && !uuid_equal(&before->id, &after->id))) {
        coordinator_resign_all(co);
    }
    if (after == NULL) {
        return;
    }
    make_room(co, (size_t)after->partitions_count);
    for (int32_t i = 0; i < after->partitions_count; i++) {
        bool is_ours = after->partitions[i].leader == co->br->node_id;
        if (co->slots[i] != NULL && !is_ours) {
            resign(co->slots[i]);
        } else if (co->slots[i] == NULL && is_ours) {
            elect(co, after, i);
        }
    }
}

static void on_topic_change(void *ctx, enum shard_topic_change change, const struct shard_topic *t)
{
    struct coordinator *co = ctx;
    for (size_t i = 0; i < co->slots_count; i++) {
        struct coordinator_slot *slot = co->slots[i];
        if (slot != NULL && slot->state == SLOT_ACTIVE) {
            begin_event(slot);
            shard_topic_changed(slot->sh, change, t);
            end_event(slot);
        }
    }
}

void coordinator_follow_image(struct coordinator *co, struct image *im)
{
    struct image *before = co->image;
    co->image = im;
    coordinator_topics_reset(co);
    coordinator_config_follow(co);
    const struct image_topic *offsets_before =
        before == NULL ? NULL : image_topic_by_name(before, OFFSETS_TOPIC);
    follow_leaders(co, offsets_before, image_topic_by_name(im, OFFSETS_TOPIC));
    if (before != NULL) {
        coordinator_topics_compare(before, im, on_topic_change, co);
    }
    image_unref(before);
}
