/* See log_model.h. Slow and simple on purpose: the producers are worked out anew after each cut. */
#include "log_model.h"

#include "base/base.h"
#include "base/mem.h"

void log_model_release(struct log_model *m)
{
    mem_free(m->batches);
    mem_free(m->ghosts);
    mem_free(m->producers);
    mem_free(m->txns);
    *m = (struct log_model){0};
}

int64_t log_model_end(const struct log_model *m)
{
    return m->count == 0 ? m->start : m->batches[m->count - 1].last_offset + 1;
}

bool log_model_read_marker(const struct batch *b, bool *ret_is_commit)
{
    struct record_iter it;
    struct record rec;
    if (!batch_is_control(b) || record_iter_init(&it, b, 1 << 16) < 0) {
        return false;
    }
    bool is_good = record_iter_next(&it, &rec) == 1 && rec.key.len >= 4;
    uint16_t type = is_good ? load_be16(rec.key.ptr + 2) : UINT16_MAX;
    record_iter_release(&it);
    *ret_is_commit = type == CONTROL_COMMIT;
    return type == CONTROL_COMMIT || type == CONTROL_ABORT;
}

void log_model_describe(const struct batch *b, struct model_batch *ret)
{
    *ret = (struct model_batch){
        .base_offset = b->base_offset,
        .last_offset = batch_last_offset(b),
        .base_timestamp = b->base_timestamp,
        .max_timestamp = b->max_timestamp,
        .producer_id = b->producer_id,
        .leader_epoch = b->leader_epoch,
        .base_sequence = b->base_sequence,
        .last_sequence = batch_last_sequence(b),
        .crc = b->crc,
        .producer_epoch = b->producer_epoch,
        .is_transactional = batch_is_transactional(b),
        .is_control = batch_is_control(b),
    };
    bool is_commit = false;
    ret->is_commit = log_model_read_marker(b, &is_commit) && is_commit;
}

bool log_model_is_same(const struct model_batch *a, const struct model_batch *b)
{
    return a->base_offset == b->base_offset && a->last_offset == b->last_offset &&
           a->crc == b->crc && a->leader_epoch == b->leader_epoch;
}

/* Producers. */

static struct model_producer *find_producer(const struct log_model *m, int64_t producer_id)
{
    for (size_t i = 0; i < m->producers_count; i++) {
        if (m->producers[i].producer_id == producer_id) {
            return &m->producers[i];
        }
    }
    return NULL;
}

static struct model_producer *get_producer(struct log_model *m, int64_t producer_id)
{
    struct model_producer *p = find_producer(m, producer_id);
    if (p != NULL) {
        return p;
    }
    m->producers =
        mem_grow(m->producers, &m->producers_cap, m->producers_count + 1, sizeof(m->producers[0]));
    p = &m->producers[m->producers_count++];
    *p = (struct model_producer){.producer_id = producer_id, .txn_first_offset = -1, .epoch = -1};
    return p;
}

static struct model_txn *find_open_txn(struct log_model *m, int64_t producer_id)
{
    for (size_t i = 0; i < m->txns_count; i++) {
        if (m->txns[i].producer_id == producer_id && m->txns[i].last_offset < 0) {
            return &m->txns[i];
        }
    }
    return NULL;
}

static void set_epoch(struct model_producer *p, int16_t epoch)
{
    if (p->epoch != epoch) {
        p->epoch = epoch;
        p->count = 0;
    }
}

static void
apply_marker(struct log_model *m, struct model_producer *p, const struct model_batch *mb)
{
    struct model_txn *txn = find_open_txn(m, mb->producer_id);
    if (txn != NULL) {
        txn->last_offset = mb->last_offset;
        txn->is_aborted = !mb->is_commit;
    }
    set_epoch(p, mb->producer_epoch);
    p->txn_first_offset = -1;
    p->last_offset = mb->last_offset;
}

static void apply_data(struct log_model *m, struct model_producer *p, const struct model_batch *mb)
{
    set_epoch(p, mb->producer_epoch);
    if (p->count == MODEL_BATCHES_REMEMBERED) {
        memmove(p->batches, p->batches + 1, sizeof(p->batches[0]) * (MODEL_BATCHES_REMEMBERED - 1));
        p->count--;
    }
    p->batches[p->count++] = *mb;
    p->last_offset = mb->last_offset;
    if (mb->is_transactional && p->txn_first_offset < 0) {
        p->txn_first_offset = mb->base_offset;
        m->txns = mem_grow(m->txns, &m->txns_cap, m->txns_count + 1, sizeof(m->txns[0]));
        m->txns[m->txns_count++] = (struct model_txn){
            .producer_id = mb->producer_id,
            .first_offset = mb->base_offset,
            .last_offset = -1,
        };
    }
}

static void apply(struct log_model *m, const struct model_batch *mb)
{
    if (mb->producer_id < 0) {
        return;
    }
    struct model_producer *p = get_producer(m, mb->producer_id);
    if (mb->is_control) {
        apply_marker(m, p, mb);
    } else {
        apply_data(m, p, mb);
    }
}

static void apply_all(struct log_model *m)
{
    m->producers_count = 0;
    m->txns_count = 0;
    for (size_t i = 0; i < m->count; i++) {
        apply(m, &m->batches[i]);
    }
}

/* The list. */

static void
push(struct model_batch **array, size_t *count, size_t *cap, const struct model_batch *mb)
{
    *array = mem_grow(*array, cap, *count + 1, sizeof((*array)[0]));
    (*array)[(*count)++] = *mb;
}

void log_model_add(struct log_model *m, const struct batch *b)
{
    struct model_batch mb;
    log_model_describe(b, &mb);
    check(mb.base_offset == log_model_end(m));
    mb.life = m->life;
    push(&m->batches, &m->count, &m->cap, &mb);
    apply(m, &mb);
}

void log_model_cut(struct log_model *m, int64_t offset)
{
    size_t keep = m->count;
    while (keep > 0 && m->batches[keep - 1].base_offset >= offset) {
        keep--;
        push(&m->ghosts, &m->ghosts_count, &m->ghosts_cap, &m->batches[keep]);
    }
    if (keep < m->count) {
        m->count = keep;
        apply_all(m);
    }
}

/* Cut batches that lie whole between the list's end and the offset, and were deleted: newest first,
 * from *next on down to `least`. The log's files may come back but for some in the middle, and its
 * snapshots know producers by the batches that were there. */
static void push_deleted(struct log_model *m, size_t least, int64_t until, size_t *next)
{
    for (; *next > least && m->ghosts[*next - 1].last_offset < until; (*next)--) {
        struct model_batch mb = m->ghosts[*next - 1];
        bool is_between = m->count == 0 || mb.base_offset >= log_model_end(m);
        if (is_between && mb.last_offset < m->start_ever) {
            mb.is_deleted = true;
            push(&m->batches, &m->count, &m->cap, &mb);
        }
    }
}

void log_model_adopt(struct log_model *m, const struct model_batch *found, size_t count)
{
    /* Below the start the old list stands: producers remember what was deleted. */
    int64_t first = count == 0 ? m->start : found[0].base_offset;
    const struct model_batch *at_start = log_model_at(m, m->start);
    size_t least = m->ghosts_count;
    log_model_cut(m, at_start == NULL ? first : min_i64(first, at_start->base_offset));
    size_t next = m->ghosts_count;
    for (size_t i = 0; i < count; i++) {
        struct model_batch mb = found[i];
        mb.life = m->life - 1;
        push_deleted(m, least, mb.base_offset, &next);
        push(&m->batches, &m->count, &m->cap, &mb);
    }
    apply_all(m);
}

const struct model_batch *log_model_at(const struct log_model *m, int64_t offset)
{
    size_t low = 0;
    size_t high = m->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (m->batches[middle].last_offset < offset) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    while (low < m->count && m->batches[low].is_deleted) {
        low++;
    }
    return low < m->count ? &m->batches[low] : NULL;
}

bool log_model_was_ghost(const struct log_model *m, const struct model_batch *b)
{
    for (size_t i = 0; i < m->ghosts_count; i++) {
        if (log_model_is_same(&m->ghosts[i], b)) {
            return true;
        }
    }
    return false;
}

/* Forgetting. */

bool log_model_is_doubtful(const struct log_model *m, const struct model_producer *p)
{
    bool is_gone = p->last_offset < m->start_ever;
    return is_gone || (p->txn_first_offset >= 0 && p->txn_first_offset < m->start_ever);
}

/* Answers. */

static bool is_next(int32_t last, int32_t next)
{
    return last == INT32_MAX ? next == 0 : next == last + 1;
}

static enum kafka_error sequence_error(const struct model_producer *p, const struct batch *b)
{
    int32_t last = p->count > 0 ? p->batches[p->count - 1].last_sequence : -1;
    if (b->producer_epoch != p->epoch) {
        last = -1;
    }
    return is_next(last, b->base_sequence) ? KAFKA_ERROR_NONE
                                           : KAFKA_ERROR_OUT_OF_ORDER_SEQUENCE_NUMBER;
}

void log_model_expect(const struct log_model *m,
                      const struct batch *b,
                      bool is_ours,
                      struct model_answer *ret)
{
    *ret = (struct model_answer){.error = KAFKA_ERROR_NONE, .may_be_anything = m->is_vague};
    const struct model_producer *p = b->producer_id < 0 ? NULL : find_producer(m, b->producer_id);
    if (p == NULL) {
        return;
    }
    /* Deleted with its segment, and then the snapshots were lost. */
    bool is_gone = p->last_offset < m->start_ever && p->txn_first_offset < 0;
    is_gone = is_gone || (p->count > 0 && p->batches[p->count - 1].last_offset < m->start_ever);
    ret->may_be_forgotten = is_gone && m->life > 0;
    int32_t last = batch_last_sequence(b);
    for (int i = 0; i < p->count && !is_ours && b->producer_epoch == p->epoch; i++) {
        const struct model_batch *mb = &p->batches[i];
        if (mb->base_sequence == b->base_sequence && mb->last_sequence == last) {
            ret->is_duplicate = true;
            ret->base_offset = mb->base_offset;
            ret->last_offset = mb->last_offset;
            ret->may_be_forgotten =
                ret->may_be_forgotten || (i < p->count - 1 && mb->life < m->life);
            return;
        }
    }
    if (b->producer_epoch < p->epoch) {
        ret->error = KAFKA_ERROR_INVALID_PRODUCER_EPOCH;
    } else if (!is_ours && sequence_error(p, b) != KAFKA_ERROR_NONE) {
        ret->error = sequence_error(p, b);
    } else if (!batch_is_control(b) && p->txn_first_offset >= 0 && !batch_is_transactional(b)) {
        ret->error = KAFKA_ERROR_INVALID_TXN_STATE;
    }
}

int64_t log_model_last_stable(const struct log_model *m, int64_t high_watermark)
{
    int64_t stable = high_watermark;
    for (size_t i = 0; i < m->txns_count; i++) {
        const struct model_txn *txn = &m->txns[i];
        if (txn->last_offset < 0 || txn->last_offset >= high_watermark) {
            stable = min_i64(stable, max_i64(txn->first_offset, m->start));
        }
    }
    return stable;
}

int64_t log_model_find_by_time(const struct log_model *m, int64_t timestamp)
{
    for (size_t i = 0; i < m->count; i++) {
        const struct model_batch *mb = &m->batches[i];
        if (mb->is_deleted || mb->last_offset < m->start || mb->max_timestamp < timestamp) {
            continue;
        }
        int64_t first = max_i64(timestamp - mb->base_timestamp, 0);
        int64_t offset = max_i64(mb->base_offset + first, m->start);
        if (offset <= mb->last_offset) {
            return offset;
        }
    }
    return -1;
}
