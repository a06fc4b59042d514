/*
 * Appending: validate, give the batch its offset, keep it; then one write for all that was kept.
 *
 * Staging changes the state as if the batch were written (log end, producers, epochs,
 * transactions), because the next batch of the turn is judged by it. If the write fails, the file
 * is cut back to where it was and the staged batches are taken back newest first; the owner sees
 * log_end == written. A write that fails inside an append (a roll needs one) is remembered: until
 * the owner has called plog_write and learned of it, nothing more is taken, or an offset would be
 * given out twice while two requests wait for it.
 *
 * What is long is written before (plog_write_ahead, plog_write_most): bytes beyond the segment's
 * size, which nobody reads, and which a crash leaves as a torn tail. The lock is given meanwhile,
 * so that others read and stage; only who needs the active segment for itself waits (is_writing).
 *
 * Answers to Kafka's UnifiedLog.append and analyzeAndValidateProducerState.
 */
#include "storage/plog.h"

#include "base/base.h"
#include "base/err.h"
#include "storage/plog_impl.h"
#include "storage/plog_roll.h"

enum {
    WRITE_PIECES = 64, /* of one pwritev */
    MOST_ROUNDS = 4,
};

/* --- writing ---------------------------------------------------------------------------------- */

static void clear_staged(struct plog *pl)
{
    for (size_t i = 0; i < pl->staged_count; i++) {
        blob_unref(pl->staged[i].blob);
    }
    pl->staged_count = 0;
    pl->undos_count = 0;
    pl->staged_bytes = 0;
    pl->ahead_bytes = 0;
}

static void undo_staged(struct plog *pl)
{
    for (size_t i = pl->staged_count; i > 0; i--) {
        const struct staged *st = &pl->staged[i - 1];
        if (st->undo >= 0) {
            producer_state_revert(&pl->producers, &pl->undos[st->undo]);
        }
        if (st->assigned_epoch) {
            check(pl->epochs.count > 0);
            pl->epochs.count--;
        }
    }
    clear_staged(pl);
    pl->log_end = pl->written;
}

/* One pwritev of staged bytes. */
struct piece {
    struct iovec iov[WRITE_PIECES];
    int count;
    int64_t until; /* in staged bytes */
    /* Where the next one goes on: staged batches are only added meanwhile. */
    size_t next;
    int64_t next_from;
};

/* The staged bytes from ahead_bytes on, as far as one call takes them. */
static void next_piece(const struct plog *pl, int64_t until, struct piece *pc)
{
    pc->count = 0;
    pc->until = pl->ahead_bytes;
    while (pc->next < pl->staged_count && pc->count < WRITE_PIECES && pc->until < until) {
        const struct staged *st = &pl->staged[pc->next];
        int64_t end = pc->next_from + to_i64(st->size);
        if (end > pc->until) {
            const uint8_t *bytes = st->bytes + (pc->until - pc->next_from);
            memcpy(&pc->iov[pc->count].iov_base, &bytes, sizeof(bytes)); /* it knows no const */
            pc->iov[pc->count++].iov_len = to_size(min_i64(end, until) - pc->until);
            pc->until = min_i64(end, until);
        }
        pc->next_from = end;
        pc->next++;
    }
}

/* Staged bytes [pl->ahead_bytes, until) to their places in the file. */
static int
write_bytes(struct plog *pl, const struct segment *sg, struct fs_file *file, int64_t until)
{
    struct piece pc;
    pc.next = 0;
    pc.next_from = 0;
    while (pl->ahead_bytes < until) {
        next_piece(pl, until, &pc);
        int err = fs_pwritev(file, pc.iov, pc.count, sg->size + pl->ahead_bytes);
        if (err < 0) {
            return err;
        }
        pl->ahead_bytes = pc.until;
    }
    return 0;
}

static int write_txn(struct plog *pl, struct segment *sg, const struct completed_txn *ct)
{
    struct log_path path;
    struct txn_entry entry = {
        .producer_id = ct->producer_id,
        .first_offset = ct->first_offset,
        .last_offset = ct->last_offset,
        .last_stable_offset = ct->last_stable_offset,
    };
    log_path_of(&path, plog_path(pl), sg->base_offset, TXN_INDEX_SUFFIX);
    return txn_index_append(&sg->txns, pl->env->fs, path.text, &entry);
}

/* Aborted transactions go to the index before their marker goes to the log: what must not happen is
 * a marker without its entry. */
static int write_txns(struct plog *pl, struct segment *sg)
{
    int err = 0;
    for (size_t i = 0; i < pl->staged_count && err >= 0; i++) {
        const struct completed_txn *ct = &pl->staged[i].completed;
        if (ct->is_set && ct->is_aborted) {
            err = write_txn(pl, sg, ct);
        }
    }
    return err;
}

/* The active segment's file, for a write; a new one may be given its whole size at once. */
static int open_for_write(struct plog *pl, struct segment *sg, struct fs_file **ret)
{
    struct segment_io io = plog_io(pl, false);
    bool is_made = !sg->has_file;
    int err = pl->is_offline ? ERR_OFFLINE : segment_load_times(sg, &io);
    if (err >= 0) {
        err = segment_file(sg, &io, is_made, ret);
    }
    if (err >= 0 && is_made) {
        pl->names_made++;
        if (pl->config.preallocate && fs_allocate(*ret, pl->config.segment_bytes) >= 0) {
            sg->is_preallocated = true;
        }
    }
    return err;
}

/* The file back to its last whole batch: what was refused must not be found behind it after a kill,
 * so the segment ends there from now on, preallocated or not. What cannot even be cut is not
 * written to again. */
static void cut_back(struct plog *pl, struct segment *sg, struct fs_file *file, uint32_t txns)
{
    int err = fs_truncate(file, sg->size);
    sg->is_preallocated = sg->is_preallocated && err < 0;
    if (err >= 0 && sg->txns.count > txns) {
        struct log_path path;
        log_path_of(&path, plog_path(pl), sg->base_offset, TXN_INDEX_SUFFIX);
        err = txn_index_truncate(&sg->txns, pl->env->fs, path.text, txns);
    }
    if (err < 0) {
        plog_go_offline_locked(pl, err);
    }
}

static void note_written(struct plog *pl, struct segment *sg)
{
    struct segment_io io = plog_io(pl, false);
    int64_t bytes = 0;
    pl->has_grown = pl->has_grown || sg->size == 0;
    for (size_t i = 0; i < pl->staged_count; i++) {
        const struct staged *st = &pl->staged[i];
        segment_appended(sg, &io, st->position, st->size, st->last_offset, st->max_timestamp);
        bytes += to_i64(st->size);
    }
    sg->size += bytes;
    sg->end_offset = pl->log_end;
    pl->written = pl->log_end;
    pl->unflushed_bytes += bytes;
    pl->is_changed = true;
    size_t count = pl->undos_count;
    clear_staged(pl);
    producer_state_trim(&pl->producers, count);
    plog_add_write_mark(pl, pl->written, sg->base_offset, sg->size);
}

int plog_write_locked(struct plog *pl)
{
    check(!pl->is_writing);
    if (pl->staged_count == 0) {
        return 0;
    }
    struct segment *sg = plog_active(pl);
    struct fs_file *file = NULL;
    uint32_t txns = sg->txns.count;
    int err = open_for_write(pl, sg, &file);
    if (err >= 0) {
        err = write_txns(pl, sg);
    }
    if (err >= 0) {
        err = write_bytes(pl, sg, file, pl->staged_bytes);
    }
    if (err >= 0) {
        note_written(pl, sg);
    } else {
        if (file != NULL) {
            cut_back(pl, sg, file, txns);
        }
        undo_staged(pl);
    }
    fs_file_unref(file);
    return err;
}

/* Bytes before the first batch that needs an entry in the index of transactions before it. */
static int64_t plain_bytes(const struct plog *pl)
{
    int64_t bytes = 0;
    for (size_t i = 0; i < pl->staged_count && !pl->staged[i].completed.is_set; i++) {
        bytes += to_i64(pl->staged[i].size);
    }
    return bytes;
}

void plog_settle_locked(struct plog *pl)
{
    pl->settlers++;
    while (pl->is_writing) {
        cond_wait(&pl->settled, &pl->lock);
    }
    pl->settlers--;
}

/* As write_bytes; the lock is given while the system writes. */
static int write_unlocked(struct plog *pl, int64_t until)
{
    struct segment *sg = plog_active(pl);
    struct fs_file *file = NULL;
    struct piece pc;
    check(!pl->is_writing);
    int err = pl->write_error < 0 ? pl->write_error : open_for_write(pl, sg, &file);
    pl->is_writing = err >= 0;
    pc.next = 0;
    pc.next_from = 0;
    while (err >= 0 && pl->ahead_bytes < until) {
        next_piece(pl, until, &pc);
        int64_t at = sg->size + pl->ahead_bytes;
        lock_give(&pl->lock);
        err = fs_pwritev(file, pc.iov, pc.count, at);
        lock_take(&pl->lock);
        pl->ahead_bytes = err < 0 ? pl->ahead_bytes : pc.until;
    }
    pl->is_writing = false;
    if (pl->settlers > 0) {
        cond_broadcast(&pl->settled);
    }
    fs_file_unref(file);
    return err;
}

bool plog_write_ahead(struct plog *pl, int64_t max)
{
    lock_take(&pl->lock);
    int64_t until = pl->ahead_bytes + max;
    bool is_more = pl->staged_bytes > until;
    if (is_more && pl->settlers == 0) {
        int err = write_unlocked(pl, min_i64(until, plain_bytes(pl)));
        is_more =
            err >= 0 && pl->ahead_bytes == until; /* else plog_write does it, or tells why not */
    }
    lock_give(&pl->lock);
    return is_more;
}

void plog_write_most(struct plog *pl)
{
    lock_take(&pl->lock);
    for (int i = 0; i < MOST_ROUNDS && pl->settlers == 0; i++) {
        int64_t left = pl->staged_bytes - pl->ahead_bytes;
        int64_t until = left < PLOG_MOST_BYTES_MIN ? 0 : plain_bytes(pl);
        if (until - pl->ahead_bytes < PLOG_MOST_BYTES_MIN || write_unlocked(pl, until) < 0) {
            break;
        }
    }
    lock_give(&pl->lock);
}

int plog_write(struct plog *pl, int64_t *ret_written)
{
    lock_take(&pl->lock);
    plog_settle_locked(pl);
    int err = pl->write_error;
    pl->write_error = 0;
    if (err >= 0) {
        err = plog_write_locked(pl);
    }
    if (err >= 0) {
        *ret_written = pl->written;
    }
    bool has_grown = pl->has_grown;
    pl->has_grown = false;
    lock_give(&pl->lock);
    if (has_grown && pl->env->on_grown != NULL) {
        pl->env->on_grown(pl->env->on_grown_ctx, pl);
    }
    return err;
}

void plog_drop_staged(struct plog *pl)
{
    lock_take(&pl->lock);
    check(pl->ahead_bytes == 0);
    undo_staged(pl);
    lock_give(&pl->lock);
}

/* --- staging ---------------------------------------------------------------------------------- */

static struct producer_undo *new_undo(struct plog *pl, struct staged *st)
{
    pl->undos = mem_grow(pl->undos, &pl->undos_cap, pl->undos_count + 1, sizeof(pl->undos[0]));
    st->undo = (int32_t)pl->undos_count;
    return &pl->undos[pl->undos_count++];
}

/* The batch `b` of these bytes begins at b->base_offset == log_end or beyond. */
static void stage(struct plog *pl,
                  struct blob *blob,
                  const uint8_t *bytes,
                  const struct batch *b,
                  const struct txn_marker *marker)
{
    struct segment *sg = plog_active(pl);
    pl->staged = mem_grow(pl->staged, &pl->staged_cap, pl->staged_count + 1, sizeof(pl->staged[0]));
    struct staged *st = &pl->staged[pl->staged_count++];
    *st = (struct staged){
        .blob = blob_ref(blob),
        .bytes = bytes,
        .size = b->size,
        .position = sg->size + pl->staged_bytes,
        .last_offset = batch_last_offset(b),
        .max_timestamp = b->max_timestamp,
        .undo = -1,
    };
    if (b->producer_id >= 0) {
        producer_state_apply(&pl->producers, b, marker, new_undo(pl, st), &st->completed);
        if (marker != NULL && !marker->is_marker) {
            pl->undos_count--; /* a control record that is no end marker changes nothing */
            st->undo = -1;
        }
    }
    if (b->leader_epoch > epoch_cache_latest(&pl->epochs)) {
        st->assigned_epoch = epoch_cache_assign(&pl->epochs, b->leader_epoch, b->base_offset);
    }
    pl->staged_bytes += to_i64(b->size);
    pl->log_end = st->last_offset + 1;
}

/* Whatever must happen before a batch can be staged. A segment that is begun for a batch that its
 * producer's state refuses then, or that is a duplicate, stays. */
static int make_room(struct plog *pl, const struct batch *b, int64_t now_ms)
{
    int err = pl->is_offline ? ERR_OFFLINE : pl->write_error;
    if (err < 0 || !plog_should_roll(pl, b, now_ms)) {
        return err;
    }
    if (pl->is_writing) {
        return -EAGAIN;
    }
    err = plog_write_locked(pl);
    if (err < 0) {
        pl->write_error = err;
        return err;
    }
    return plog_roll_locked(pl);
}

/* --- as leader -------------------------------------------------------------------------------- */

static void refuse(struct plog_append_result *ret, enum kafka_error error, int64_t log_start)
{
    *ret = (struct plog_append_result){
        .error = error,
        .base_offset = -1,
        .last_offset = -1,
        .append_time_ms = -1,
        .log_start = log_start,
    };
}

/* Kafka tells the log's start when the log refused the batch, and not when it was refused before.
 */
static int64_t start_for(const struct plog *pl, enum kafka_error error)
{
    bool is_before = error == KAFKA_ERROR_CORRUPT_MESSAGE ||
                     error == KAFKA_ERROR_MESSAGE_TOO_LARGE ||
                     error == KAFKA_ERROR_RECORD_LIST_TOO_LARGE;
    return is_before ? -1 : pl->log_start;
}

void plog_validate(struct plog *pl, const struct plog_append *in, struct validate_result *ret)
{
    *ret = (struct validate_result){.max_timestamp = in->batch.max_timestamp, .append_time_ms = -1};
    if (in->origin == PLOG_RAFT) {
        return;
    }
    struct validate_rules rules;
    plog_rules(pl, &rules);
    rules.leader_epoch = in->leader_epoch;
    rules.loop_bytes_max = in->may_defer ? PLOG_LOOP_BYTES_MAX : 0;
    if (in->origin == PLOG_CLIENT) {
        validate_records(&in->batch, &rules, in->now_ms, in->arena, ret);
    } else if (rules.is_log_append_time) {
        ret->max_timestamp = in->now_ms;
        ret->append_time_ms = in->now_ms;
        ret->must_stamp_times = true;
    }
}

struct pending {
    struct blob *blob; /* borrowed */
    uint8_t *bytes;
    struct batch b;
};

/* The batch as it will be stored: the client's, or the one that validation built anew. */
static int pending_of(const struct plog_append *in,
                      const struct validate_result *validated,
                      struct pending *ret)
{
    *ret = (struct pending){.blob = in->blob, .bytes = in->bytes, .b = in->batch};
    if (validated->rebuilt != NULL) {
        ret->blob = validated->rebuilt;
        ret->bytes = validated->rebuilt->data;
        int err = batch_peek(ret->bytes, validated->rebuilt_size, &ret->b);
        if (err < 0) {
            return err;
        }
    }
    if (validated->must_stamp_times) {
        bool is_append_time = validated->append_time_ms >= 0;
        batch_stamp_times(ret->bytes, ret->b.size, is_append_time, validated->max_timestamp);
        ret->b.max_timestamp = validated->max_timestamp;
    }
    ret->b.bytes = ret->bytes;
    return 0;
}

static enum kafka_error check_producer(struct plog *pl,
                                       const struct plog_append *in,
                                       const struct batch *b,
                                       const struct txn_marker *marker,
                                       struct plog_append_result *ret)
{
    struct producer_batch duplicate;
    bool is_duplicate = false;
    if (b->producer_id < 0 || in->origin == PLOG_RAFT) {
        return KAFKA_ERROR_NONE;
    }
    enum kafka_error error =
        producer_state_check(&pl->producers, b, marker,
                             in->origin == PLOG_CLIENT ? PRODUCER_RULES_ALL : PRODUCER_RULES_EPOCH,
                             &is_duplicate, &duplicate);
    if (is_duplicate) {
        *ret = (struct plog_append_result){
            .base_offset = duplicate.last_offset - duplicate.offset_delta,
            .last_offset = duplicate.last_offset,
            .append_time_ms = duplicate.timestamp,
            .log_start = pl->log_start,
            .is_duplicate = true,
        };
    }
    return error;
}

static int append_locked(struct plog *pl,
                         const struct plog_append *in,
                         const struct validate_result *validated,
                         struct plog_append_result *ret)
{
    struct txn_marker marker_memory;
    const struct txn_marker *marker = NULL;
    struct pending p;
    if (validated->error != KAFKA_ERROR_NONE) {
        refuse(ret, validated->error, start_for(pl, validated->error));
        ret->message = validated->message;
        ret->record_errors = validated->record_errors;
        ret->record_errors_count = validated->record_errors_count;
        return 0;
    }
    /* After an undone write the producers are not where this batch's client thinks. */
    int err = pl->is_offline ? ERR_OFFLINE : pl->write_error;
    if (err >= 0) {
        err = pending_of(in, validated, &p);
    }
    if (err < 0) {
        return err;
    }
    if (in->origin != PLOG_RAFT && to_i64(p.b.size) > pl->config.segment_bytes) {
        refuse(ret, KAFKA_ERROR_RECORD_LIST_TOO_LARGE, -1);
        return 0;
    }
    if (batch_is_control(&p.b) && p.b.producer_id >= 0) {
        err = txn_marker_read(&p.b, &marker_memory);
        if (err < 0) {
            return err;
        }
        marker = &marker_memory;
    }
    p.b.base_offset = pl->log_end;
    err = make_room(pl, &p.b, in->now_ms); /* before the producers are asked: as in Kafka */
    if (err < 0) {
        return err;
    }
    ret->is_duplicate = false;
    enum kafka_error error = check_producer(pl, in, &p.b, marker, ret);
    if (error != KAFKA_ERROR_NONE || ret->is_duplicate) {
        if (error != KAFKA_ERROR_NONE) {
            refuse(ret, error, pl->log_start);
        }
        return 0;
    }
    p.b.leader_epoch = in->leader_epoch;
    batch_stamp_offset(p.bytes, p.b.base_offset);
    batch_stamp_leader_epoch(p.bytes, in->leader_epoch);
    stage(pl, p.blob, p.bytes, &p.b, marker);
    *ret = (struct plog_append_result){
        .base_offset = p.b.base_offset,
        .last_offset = batch_last_offset(&p.b),
        .append_time_ms = validated->append_time_ms,
        .log_start = pl->log_start,
    };
    return 0;
}

int plog_append_validated(struct plog *pl,
                          const struct plog_append *in,
                          struct validate_result *validated,
                          struct plog_append_result *ret)
{
    *ret = (struct plog_append_result){0};
    lock_take(&pl->lock);
    int err = append_locked(pl, in, validated, ret);
    lock_give(&pl->lock);
    if (err != -EAGAIN) {
        validated->rebuilt = blob_unref(validated->rebuilt);
    }
    return err;
}

void plog_settle(struct plog *pl)
{
    lock_take(&pl->lock);
    plog_settle_locked(pl);
    lock_give(&pl->lock);
}

int plog_append_as_leader(struct plog *pl,
                          const struct plog_append *in,
                          struct plog_append_result *ret)
{
    struct validate_result validated;
    plog_validate(pl, in, &validated);
    int err = plog_append_validated(pl, in, &validated, ret);
    while (err == -EAGAIN) {
        plog_settle(pl);
        err = plog_append_validated(pl, in, &validated, ret);
    }
    return err;
}

/* --- as follower ------------------------------------------------------------------------------ */

struct incoming {
    struct batch b;
    struct txn_marker marker;
    bool has_marker;
};

/* The batches of these bytes, when all of them are whole, good and in order: before the first is
 * staged. `ret` (owned by the caller in any case) grows. */
static int
read_incoming(const uint8_t *bytes, size_t size, struct incoming **ret, size_t *ret_count)
{
    size_t cap = 0;
    int64_t next = 0;
    while (size > 0) {
        *ret = mem_grow(*ret, &cap, *ret_count + 1, sizeof(**ret));
        struct incoming *in = &(*ret)[*ret_count];
        int err = batch_peek(bytes, size, &in->b);
        if (err >= 0 && !batch_crc_is_good(&in->b)) {
            err = ERR_CORRUPT;
        }
        if (err >= 0 && (in->b.base_offset < next || in->b.last_offset_delta < 0 ||
                         in->b.base_offset >= INT64_MAX - in->b.last_offset_delta)) {
            err = ERR_BAD_ARGUMENT;
        }
        if (err >= 0) {
            in->has_marker = batch_is_control(&in->b) && in->b.producer_id >= 0;
            err = in->has_marker ? txn_marker_read(&in->b, &in->marker) : 0;
        }
        if (err < 0) {
            return err;
        }
        next = batch_last_offset(&in->b) + 1;
        bytes += in->b.size;
        size -= in->b.size;
        ++*ret_count;
    }
    return 0;
}

static int
stage_incoming(struct plog *pl, struct blob *blob, const struct incoming *in, size_t count)
{
    int64_t now_ms = clock_now_ms(pl->env->clock);
    int err = count > 0 && in[0].b.base_offset < pl->log_end ? ERR_BAD_ARGUMENT : 0;
    for (size_t i = 0; i < count && err >= 0; i++) {
        err = make_room(pl, &in[i].b, now_ms);
        if (err >= 0) {
            stage(pl, blob, in[i].b.bytes, &in[i].b, in[i].has_marker ? &in[i].marker : NULL);
        }
    }
    return err;
}

int plog_append_as_follower(struct plog *pl, struct blob *blob, const uint8_t *bytes, size_t size)
{
    struct incoming *in = NULL;
    size_t count = 0;
    int err = read_incoming(bytes, size, &in, &count);
    if (err >= 0) {
        lock_take(&pl->lock);
        plog_settle_locked(pl);
        err = stage_incoming(pl, blob, in, count);
        lock_give(&pl->lock);
    }
    mem_free(in);
    return err;
}
