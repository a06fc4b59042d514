/* The record of what happened; see crash_model.h. */
#include "crash_model.h"

#include "base/base.h"
#include "base/mem.h"
#include "storage/producer_state.h"

void model_init(struct model *m)
{
    *m = (struct model){0};
}

void model_release(struct model *m)
{
    for (int i = 0; i < MODEL_LOGS; i++) {
        for (size_t k = 0; k < m->logs[i].count; k++) {
            mem_free(m->logs[i].batches[k].bytes);
        }
        mem_free(m->logs[i].batches);
    }
    *m = (struct model){0};
}

void model_append(struct model *m, int log, const struct batch *b)
{
    struct model_log *ml = &m->logs[log];
    ml->batches = mem_grow(ml->batches, &ml->cap, ml->count + 1, sizeof(ml->batches[0]));
    struct model_batch *mb = &ml->batches[ml->count++];
    *mb = (struct model_batch){
        .base = b->base_offset,
        .last = batch_last_offset(b),
        .added = ++m->now,
        .dead = UINT64_MAX,
        .bytes = mem_alloc(b->size),
        .size = b->size,
        .producer_id = b->producer_id,
        .producer_epoch = b->producer_epoch,
        .last_sequence = batch_last_sequence(b),
        .is_transactional = batch_is_transactional(b),
        .is_control = batch_is_control(b),
    };
    memcpy(mb->bytes, b->bytes, b->size);
    if (mb->is_control) {
        struct txn_marker marker;
        check(txn_marker_read(b, &marker) >= 0);
        mb->is_commit = marker.is_commit;
    }
}

void model_cut(struct model *m, int log, int64_t offset)
{
    struct model_log *ml = &m->logs[log];
    m->now++;
    for (size_t i = 0; i < ml->count; i++) {
        if (ml->batches[i].last >= offset && ml->batches[i].dead == UINT64_MAX) {
            ml->batches[i].dead = m->now;
        }
    }
}

static bool is_alive(const struct model_batch *mb, uint64_t now)
{
    return mb->added <= now && mb->dead > now;
}

const struct model_batch *model_find(const struct model *m,
                                     int log,
                                     uint64_t now,
                                     int64_t base,
                                     const uint8_t *bytes,
                                     size_t size)
{
    const struct model_log *ml = &m->logs[log];
    for (size_t i = 0; i < ml->count; i++) {
        const struct model_batch *mb = &ml->batches[i];
        if (mb->base == base && is_alive(mb, now) && mb->size == size &&
            memcmp(mb->bytes, bytes, size) == 0) {
            return mb;
        }
    }
    return NULL;
}

static struct model_producer *
producer_of(struct model_producer *producers, size_t *count, size_t max, int64_t producer_id)
{
    for (size_t i = 0; i < *count; i++) {
        if (producers[i].producer_id == producer_id) {
            return &producers[i];
        }
    }
    check(*count < max);
    producers[*count] = (struct model_producer){
        .producer_id = producer_id,
        .epoch = -1,
        .last_sequence = -1,
        .last_base = -1,
        .txn_first = -1,
    };
    return &producers[(*count)++];
}

size_t model_producers(const struct model *m,
                       int log,
                       uint64_t now,
                       int64_t end,
                       struct model_producer *ret,
                       size_t max)
{
    const struct model_log *ml = &m->logs[log];
    size_t count = 0;
    for (size_t i = 0; i < ml->count; i++) {
        const struct model_batch *mb = &ml->batches[i];
        if (!is_alive(mb, now) || mb->base >= end || mb->producer_id < 0) {
            continue;
        }
        struct model_producer *mp = producer_of(ret, &count, max, mb->producer_id);
        if (mp->epoch != mb->producer_epoch) {
            mp->epoch = mb->producer_epoch;
            mp->last_sequence = -1;
            mp->last_base = -1;
        }
        mp->touched = mb->base;
        if (mb->is_control) {
            mp->txn_first = -1;
            continue;
        }
        mp->last_sequence = mb->last_sequence;
        mp->last_base = mb->base;
        if (mb->is_transactional && mp->txn_first < 0) {
            mp->txn_first = mb->base;
        }
    }
    return count;
}

int model_fate(const struct model *m,
               int log,
               uint64_t now,
               const struct model_batch *of,
               int64_t end,
               int64_t *ret_first)
{
    const struct model_log *ml = &m->logs[log];
    int64_t first = -1;
    bool has_passed = false;
    for (size_t i = 0; i < ml->count; i++) {
        const struct model_batch *mb = &ml->batches[i];
        if (!is_alive(mb, now) || mb->base >= end || mb->producer_id != of->producer_id) {
            continue;
        }
        if (!mb->is_control) {
            first = first < 0 ? mb->base : first;
            has_passed = has_passed || mb == of;
            continue;
        }
        if (has_passed) {
            *ret_first = first;
            return mb->is_commit ? 0 : 1;
        }
        first = -1;
    }
    *ret_first = first;
    return -1;
}
