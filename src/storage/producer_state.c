/*
 * Producer state of one log. Its snapshot, `<offset>.snapshot`: the state of the log up to
 * (without) that offset, big-endian:
 *
 *   at 0  2  version 1
 *   at 2  4  CRC-32C of all that follows
 *   at 6  4  number of entries, each of 46 bytes:
 *            0  8  producer id
 *            8  2  producer epoch
 *           10  4  sequence of its last record; -1: no batch is remembered
 *           14  8  offset of its last record
 *           22  4  offset (and sequence) delta of its last batch
 *           26  8  timestamp
 *           34  4  coordinator epoch
 *           38  8  first offset of its open transaction; -1: none
 *
 * Of the five batches only the last is in a snapshot; those behind the snapshot come from the log.
 */
#include "storage/producer_state.h"

#include "base/base.h"
#include "base/bytes.h"
#include "base/err.h"
#include "base/mem.h"

enum {
    SNAPSHOT_VERSION = 1,
    SNAPSHOT_CRC_FROM = 6,
    SNAPSHOT_HEADER_BYTES = 10,
    SNAPSHOT_ENTRY_BYTES = 46,
    MARKER_KEY_BYTES = 4,
    MARKER_VALUE_BYTES = 6,
    MARKER_RECORD_MAX = 4096,
};

void producer_state_init(struct producer_state *ps, uint64_t seed, _Atomic int64_t *shared)
{
    *ps = (struct producer_state){.shared = shared};
    hmap_init(&ps->map, seed);
    list_init(&ps->used);
    timers_init(&ps->idle);
}

static void count_shared(struct producer_state *ps, int64_t delta)
{
    if (ps->shared != NULL) {
        /* Relaxed: a glance at how many there are is enough. */
        atomic_fetch_add_explicit(ps->shared, delta, memory_order_relaxed);
    }
}

static void remove_entry(struct producer_state *ps, struct producer_entry *pe)
{
    hmap_remove(&ps->map, &pe->node);
    list_remove(&pe->used);
    timers_disarm(&ps->idle, &pe->idle);
    count_shared(ps, -1);
    mem_free(pe);
}

void producer_state_clear(struct producer_state *ps)
{
    timers_release(&ps->idle);
    hmap_foreach (node, &ps->map) {
        remove_entry(ps, container_of(node, struct producer_entry, node));
    }
    ps->ongoing.count = 0;
    ps->unreplicated.count = 0;
}

void producer_state_release(struct producer_state *ps)
{
    producer_state_clear(ps);
    hmap_release(&ps->map);
    mem_free(ps->ongoing.items);
    mem_free(ps->unreplicated.items);
    *ps = (struct producer_state){0};
}

static struct producer_entry *find_entry(const struct producer_state *ps, int64_t producer_id)
{
    uint64_t hash = hash_u64((uint64_t)producer_id, ps->map.seed);
    for (struct hmap_node *n = hmap_first(&ps->map, hash); n != NULL; n = hmap_next(n)) {
        struct producer_entry *pe = container_of(n, struct producer_entry, node);
        if (pe->producer_id == producer_id) {
            return pe;
        }
    }
    return NULL;
}

const struct producer_entry *producer_state_find(const struct producer_state *ps,
                                                 int64_t producer_id)
{
    return find_entry(ps, producer_id);
}

static struct producer_entry empty_entry(int64_t producer_id)
{
    return (struct producer_entry){
        .producer_id = producer_id,
        .last_timestamp = -1,
        .txn_first_offset = -1,
        .coordinator_epoch = -1,
        .producer_epoch = -1,
    };
}

static struct producer_entry *add_entry(struct producer_state *ps, int64_t producer_id)
{
    struct producer_entry *pe = mem_alloc(sizeof(*pe));
    *pe = empty_entry(producer_id);
    hmap_insert(&ps->map, &pe->node, hash_u64((uint64_t)producer_id, ps->map.seed));
    list_push_back(&ps->used, &pe->used);
    count_shared(ps, 1);
    return pe;
}

/* After a change: its place among those that can expire. Timestamps are the clients', so that the
 * order of use is another one. */
static void place_idle(struct producer_state *ps, struct producer_entry *pe)
{
    if (pe->txn_first_offset >= 0) {
        timers_disarm(&ps->idle, &pe->idle);
    } else if (!timer_is_armed(&pe->idle) || pe->idle.deadline_ms != pe->last_timestamp) {
        timers_arm(&ps->idle, &pe->idle, pe->last_timestamp);
    }
}

/* What the entry says; it stays in its places. */
static void
set_entry(struct producer_state *ps, struct producer_entry *pe, const struct producer_entry *what)
{
    struct hmap_node node = pe->node;
    struct list used = pe->used;
    struct timer idle = pe->idle;
    *pe = *what;
    pe->node = node;
    pe->used = used;
    pe->idle = idle;
    place_idle(ps, pe);
}

static void touch_entry(struct producer_state *ps, struct producer_entry *pe)
{
    list_remove(&pe->used);
    list_push_back(&ps->used, &pe->used);
}

/* --- transactions ----------------------------------------------------------------------------- */

static void txns_insert(struct open_txns *txns, struct open_txn txn)
{
    txns->items = mem_grow(txns->items, &txns->cap, txns->count + 1, sizeof(txns->items[0]));
    size_t at = txns->count;
    while (at > 0 && txns->items[at - 1].first_offset > txn.first_offset) {
        at--;
    }
    memmove(txns->items + at + 1, txns->items + at, (txns->count - at) * sizeof(txns->items[0]));
    txns->items[at] = txn;
    txns->count++;
}

static void txns_remove_at(struct open_txns *txns, size_t at)
{
    txns->count--;
    memmove(txns->items + at, txns->items + at + 1, (txns->count - at) * sizeof(txns->items[0]));
}

static void txns_remove(struct open_txns *txns, int64_t first_offset)
{
    for (size_t i = 0; i < txns->count; i++) {
        if (txns->items[i].first_offset == first_offset) {
            txns_remove_at(txns, i);
            return;
        }
    }
}

void producer_state_replicated(struct producer_state *ps, int64_t high_watermark)
{
    size_t i = 0;
    while (i < ps->unreplicated.count) {
        if (ps->unreplicated.items[i].last_offset < high_watermark) {
            txns_remove_at(&ps->unreplicated, i);
        } else {
            i++;
        }
    }
}

int64_t producer_state_first_unstable(const struct producer_state *ps)
{
    int64_t first = INT64_MAX;
    if (ps->ongoing.count > 0) {
        first = ps->ongoing.items[0].first_offset;
    }
    if (ps->unreplicated.count > 0) {
        first = min_i64(first, ps->unreplicated.items[0].first_offset);
    }
    return first;
}

/* ProducerStateManager.lastStableOffset: where the log will be stable when this transaction is
 * gone. */
static int64_t stable_without(const struct producer_state *ps, const struct completed_txn *ct)
{
    for (size_t i = 0; i < ps->ongoing.count; i++) {
        if (ps->ongoing.items[i].producer_id != ct->producer_id) {
            return ps->ongoing.items[i].first_offset;
        }
    }
    return ct->last_offset + 1;
}

int txn_marker_read(const struct batch *b, struct txn_marker *ret)
{
    *ret = (struct txn_marker){.coordinator_epoch = -1};
    if (b->records_count == 0) {
        return 0; /* its transaction was cleaned away */
    }
    struct record_iter it;
    int err = record_iter_init(&it, b, MARKER_RECORD_MAX);
    if (err < 0) {
        return err;
    }
    struct record r;
    err = record_iter_next(&it, &r);
    if (err == 1) {
        err = 0;
        if (r.key.ptr == NULL || r.key.len < MARKER_KEY_BYTES) {
            err = ERR_MALFORMED;
        } else {
            uint16_t type = load_be16(r.key.ptr + 2);
            if (type == CONTROL_ABORT || type == CONTROL_COMMIT) {
                ret->is_marker = true;
                ret->is_commit = type == CONTROL_COMMIT;
                ret->timestamp = r.timestamp;
                if (r.value.ptr == NULL || r.value.len < MARKER_VALUE_BYTES) {
                    err = ERR_MALFORMED;
                } else {
                    ret->coordinator_epoch = (int32_t)load_be32(r.value.ptr + 2);
                }
            }
        }
    }
    record_iter_release(&it);
    return err;
}

/* --- rules ------------------------------------------------------------------------------------ */

/* Kafka's wrap: 2147483647 is followed by 0. */
static bool is_next_sequence(int32_t last, int32_t next)
{
    return (int64_t)next == (int64_t)last + 1 || (next == 0 && last == INT32_MAX);
}

static int32_t first_sequence_of(const struct producer_batch *pb)
{
    int64_t first = (int64_t)pb->last_sequence - pb->offset_delta;
    return (int32_t)(first < 0 ? first + INT32_MAX + 1 : first);
}

static enum kafka_error check_sequence(const struct producer_entry *pe, const struct batch *b)
{
    if (b->producer_epoch != pe->producer_epoch) {
        /* A new epoch begins at 0, unless nothing is known of the producer. */
        return b->base_sequence != 0 && pe->producer_epoch != -1
                   ? KAFKA_ERROR_OUT_OF_ORDER_SEQUENCE_NUMBER
                   : KAFKA_ERROR_NONE;
    }
    if (pe->producer_epoch == -1) {
        return KAFKA_ERROR_NONE; /* its records were deleted: any sequence may come */
    }
    int32_t last = pe->batches_count > 0 ? pe->batches[pe->batches_count - 1].last_sequence : -1;
    return is_next_sequence(last, b->base_sequence) ? KAFKA_ERROR_NONE
                                                    : KAFKA_ERROR_OUT_OF_ORDER_SEQUENCE_NUMBER;
}

static bool
find_duplicate(const struct producer_entry *pe, const struct batch *b, struct producer_batch *ret)
{
    if (b->producer_epoch != pe->producer_epoch) {
        return false;
    }
    int32_t last = batch_last_sequence(b);
    for (int i = 0; i < pe->batches_count; i++) {
        const struct producer_batch *pb = &pe->batches[i];
        if (pb->last_sequence == last && first_sequence_of(pb) == b->base_sequence) {
            *ret = *pb;
            return true;
        }
    }
    return false;
}

enum kafka_error producer_state_check(const struct producer_state *ps,
                                      const struct batch *b,
                                      const struct txn_marker *marker,
                                      enum producer_rules rules,
                                      bool *ret_is_duplicate,
                                      struct producer_batch *ret_duplicate)
{
    *ret_is_duplicate = false;
    if (b->producer_id < 0 || (marker != NULL && !marker->is_marker)) {
        return KAFKA_ERROR_NONE;
    }
    const struct producer_entry *known = find_entry(ps, b->producer_id);
    if (known == NULL) { /* one that nobody knows has the epoch -1 */
        return b->producer_epoch < -1 ? KAFKA_ERROR_INVALID_PRODUCER_EPOCH : KAFKA_ERROR_NONE;
    }
    if (rules == PRODUCER_RULES_ALL && marker == NULL && find_duplicate(known, b, ret_duplicate)) {
        *ret_is_duplicate = true;
        return KAFKA_ERROR_NONE;
    }
    if (b->producer_epoch < known->producer_epoch) {
        return KAFKA_ERROR_INVALID_PRODUCER_EPOCH;
    }
    if (marker != NULL) {
        return marker->coordinator_epoch < known->coordinator_epoch
                   ? KAFKA_ERROR_TRANSACTION_COORDINATOR_FENCED
                   : KAFKA_ERROR_NONE;
    }
    if (rules == PRODUCER_RULES_ALL) {
        enum kafka_error error = check_sequence(known, b);
        if (error != KAFKA_ERROR_NONE) {
            return error;
        }
    }
    return known->txn_first_offset >= 0 && !batch_is_transactional(b)
               ? KAFKA_ERROR_INVALID_TXN_STATE
               : KAFKA_ERROR_NONE;
}

/* --- changes ---------------------------------------------------------------------------------- */

static void set_epoch(struct producer_entry *pe, int16_t epoch)
{
    if (pe->producer_epoch != epoch) {
        pe->producer_epoch = epoch;
        pe->batches_count = 0;
    }
}

static void apply_marker(struct producer_state *ps,
                         struct producer_entry *pe,
                         const struct batch *b,
                         const struct txn_marker *marker,
                         struct completed_txn *ret)
{
    if (pe->txn_first_offset >= 0) {
        *ret = (struct completed_txn){
            .producer_id = pe->producer_id,
            .first_offset = pe->txn_first_offset,
            .last_offset = b->base_offset,
            .is_aborted = !marker->is_commit,
            .is_set = true,
        };
        ret->last_stable_offset = stable_without(ps, ret);
        txns_remove(&ps->ongoing, ret->first_offset);
        txns_insert(&ps->unreplicated, (struct open_txn){
                                           .first_offset = ret->first_offset,
                                           .last_offset = ret->last_offset,
                                           .producer_id = ret->producer_id,
                                       });
    }
    set_epoch(pe, b->producer_epoch);
    pe->txn_first_offset = -1;
    pe->coordinator_epoch = marker->coordinator_epoch;
    pe->last_timestamp = marker->timestamp;
}

static bool apply_data(struct producer_state *ps, struct producer_entry *pe, const struct batch *b)
{
    set_epoch(pe, b->producer_epoch);
    if (pe->batches_count == PRODUCER_BATCHES) {
        memmove(pe->batches, pe->batches + 1, (PRODUCER_BATCHES - 1) * sizeof(pe->batches[0]));
        pe->batches_count--;
    }
    pe->batches[pe->batches_count++] = (struct producer_batch){
        .last_offset = batch_last_offset(b),
        .timestamp = b->max_timestamp,
        .last_sequence = batch_last_sequence(b),
        .offset_delta = b->last_offset_delta,
    };
    pe->last_timestamp = b->max_timestamp;
    if (!batch_is_transactional(b) || pe->txn_first_offset >= 0) {
        return false;
    }
    pe->txn_first_offset = b->base_offset;
    txns_insert(&ps->ongoing, (struct open_txn){
                                  .first_offset = b->base_offset,
                                  .last_offset = -1,
                                  .producer_id = pe->producer_id,
                              });
    return true;
}

void producer_state_apply(struct producer_state *ps,
                          const struct batch *b,
                          const struct txn_marker *marker,
                          struct producer_undo *undo,
                          struct completed_txn *ret_completed)
{
    ret_completed->is_set = false;
    if (b->producer_id < 0 || (marker != NULL && !marker->is_marker)) {
        return;
    }
    struct producer_entry *pe = find_entry(ps, b->producer_id);
    bool was_known = pe != NULL;
    if (!was_known) {
        pe = add_entry(ps, b->producer_id);
    }
    touch_entry(ps, pe);
    if (undo != NULL) {
        undo->before = *pe;
        undo->was_known = was_known;
        undo->began_txn = false;
    }
    bool began_txn = false;
    if (marker != NULL) {
        apply_marker(ps, pe, b, marker, ret_completed);
    } else {
        began_txn = apply_data(ps, pe, b);
    }
    place_idle(ps, pe);
    if (undo != NULL) {
        undo->began_txn = began_txn;
        undo->completed = *ret_completed;
    }
}

void producer_state_revert(struct producer_state *ps, const struct producer_undo *undo)
{
    struct producer_entry *pe = find_entry(ps, undo->before.producer_id);
    check(pe != NULL);
    if (undo->began_txn) {
        txns_remove(&ps->ongoing, pe->txn_first_offset);
    }
    if (undo->completed.is_set) {
        txns_remove(&ps->unreplicated, undo->completed.first_offset);
        txns_insert(&ps->ongoing, (struct open_txn){
                                      .first_offset = undo->completed.first_offset,
                                      .last_offset = -1,
                                      .producer_id = undo->completed.producer_id,
                                  });
    }
    if (!undo->was_known) {
        remove_entry(ps, pe);
        return;
    }
    set_entry(ps, pe, &undo->before);
}

static bool is_expired(const struct producer_entry *pe, int64_t now_ms, int64_t expiration_ms)
{
    return pe->txn_first_offset < 0 && now_ms - pe->last_timestamp >= expiration_ms;
}

size_t producer_state_expire(struct producer_state *ps, int64_t now_ms, int64_t expiration_ms)
{
    size_t count = 0;
    while (ps->idle.count > 0) {
        struct producer_entry *pe = container_of(ps->idle.heap[0], struct producer_entry, idle);
        if (!is_expired(pe, now_ms, expiration_ms)) {
            break;
        }
        remove_entry(ps, pe);
        count++;
    }
    return count;
}

int64_t producer_state_oldest(const struct producer_state *ps)
{
    return timers_next(&ps->idle);
}

void producer_state_trim(struct producer_state *ps, size_t count)
{
    if (ps->shared == NULL) {
        return;
    }
    for (; count > 0 && !list_is_empty(&ps->used); count--) {
        if (atomic_load_explicit(ps->shared, memory_order_relaxed) <= PRODUCERS_SHARED_MAX) {
            return;
        }
        struct producer_entry *pe = list_entry(ps->used.next, struct producer_entry, used);
        if (pe->txn_first_offset >= 0) {
            touch_entry(ps, pe);
        } else {
            remove_entry(ps, pe);
        }
    }
}

/* --- snapshots -------------------------------------------------------------------------------- */

static void encode_entry(uint8_t *to, const struct producer_entry *pe)
{
    struct producer_batch last = {.last_offset = -1, .last_sequence = -1};
    if (pe->batches_count > 0) {
        last = pe->batches[pe->batches_count - 1];
    }
    store_be64(to, (uint64_t)pe->producer_id);
    store_be16(to + 8, (uint16_t)pe->producer_epoch);
    store_be32(to + 10, (uint32_t)last.last_sequence);
    store_be64(to + 14, (uint64_t)last.last_offset);
    store_be32(to + 22, (uint32_t)last.offset_delta);
    store_be64(to + 26, (uint64_t)pe->last_timestamp);
    store_be32(to + 34, (uint32_t)pe->coordinator_epoch);
    store_be64(to + 38, (uint64_t)pe->txn_first_offset);
}

void producer_state_encode(const struct producer_state *ps, uint8_t **ret, size_t *ret_len)
{
    size_t len = SNAPSHOT_HEADER_BYTES + ps->map.count * SNAPSHOT_ENTRY_BYTES;
    uint8_t *bytes = mem_alloc(len);
    uint8_t *at = bytes + SNAPSHOT_HEADER_BYTES;
    hmap_foreach (node, &ps->map) {
        encode_entry(at, container_of(node, struct producer_entry, node));
        at += SNAPSHOT_ENTRY_BYTES;
    }
    check(at == bytes + len);
    store_be16(bytes, SNAPSHOT_VERSION);
    store_be32(bytes + SNAPSHOT_CRC_FROM, (uint32_t)ps->map.count);
    store_be32(bytes + 2, crc32c(0, bytes + SNAPSHOT_CRC_FROM, len - SNAPSHOT_CRC_FROM));
    *ret = bytes;
    *ret_len = len;
}

static void
decode_entry(struct producer_state *ps, const uint8_t *from, int64_t now_ms, int64_t expiration_ms)
{
    struct producer_entry pe = empty_entry((int64_t)load_be64(from));
    struct producer_batch last = {
        .last_sequence = (int32_t)load_be32(from + 10),
        .last_offset = (int64_t)load_be64(from + 14),
        .offset_delta = (int32_t)load_be32(from + 22),
        .timestamp = (int64_t)load_be64(from + 26),
    };
    pe.producer_epoch = (int16_t)load_be16(from + 8);
    pe.last_timestamp = last.timestamp;
    pe.coordinator_epoch = (int32_t)load_be32(from + 34);
    pe.txn_first_offset = max_i64((int64_t)load_be64(from + 38), -1);
    if (last.last_offset >= 0) {
        pe.batches[0] = last;
        pe.batches_count = 1;
    }
    if (is_expired(&pe, now_ms, expiration_ms)) {
        return;
    }
    struct producer_entry *at = find_entry(ps, pe.producer_id);
    if (at == NULL) {
        at = add_entry(ps, pe.producer_id);
    }
    set_entry(ps, at, &pe);
    if (pe.txn_first_offset >= 0) {
        txns_insert(&ps->ongoing, (struct open_txn){
                                      .first_offset = pe.txn_first_offset,
                                      .last_offset = -1,
                                      .producer_id = pe.producer_id,
                                  });
    }
}

int producer_state_decode(struct producer_state *ps,
                          const void *bytes,
                          size_t len,
                          int64_t now_ms,
                          int64_t expiration_ms)
{
    const uint8_t *from = bytes;
    producer_state_clear(ps);
    if (len < SNAPSHOT_HEADER_BYTES || load_be16(from) != SNAPSHOT_VERSION ||
        load_be32(from + 2) != crc32c(0, from + SNAPSHOT_CRC_FROM, len - SNAPSHOT_CRC_FROM)) {
        return ERR_MALFORMED;
    }
    uint32_t count = load_be32(from + SNAPSHOT_CRC_FROM);
    if ((len - SNAPSHOT_HEADER_BYTES) / SNAPSHOT_ENTRY_BYTES != count ||
        (len - SNAPSHOT_HEADER_BYTES) % SNAPSHOT_ENTRY_BYTES != 0) {
        return ERR_MALFORMED;
    }
    for (uint32_t i = 0; i < count; i++) {
        decode_entry(ps, from + SNAPSHOT_HEADER_BYTES + (size_t)i * SNAPSHOT_ENTRY_BYTES, now_ms,
                     expiration_ms);
    }
    return 0;
}
