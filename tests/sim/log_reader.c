/* Everything that is read from a node's logs, compared with their models; see log_node.h. */
#include "log_node.h"

#include "base/base.h"
#include "base/err.h"
#include "log_node_impl.h"

enum {
    ANSWER_BYTES_MAX = 1 << 20,
};

/* --- one read ------------------------------------------------------------------------------------
 */

struct answer {
    struct plog_read_result result;
    enum kafka_error error;
    uint8_t *bytes; /* owned */
    size_t len;
};

static int fetch_runs(const struct rope *rope, struct answer *an)
{
    an->len = rope->bytes;
    an->bytes = mem_alloc(max_size(rope->bytes, 1));
    uint8_t *at = an->bytes;
    for (size_t i = rope->start; i < rope->count; i++) {
        const struct rope_run *run = &rope->runs[i];
        if (run->type == ROPE_MEMORY) {
            memcpy(at, run->ptr, run->len);
        } else {
            ssize_t got = fs_pread(run->file, at, run->len, run->position);
            if (got < 0 || (size_t)got < run->len) {
                return got < 0 ? (int)got : ERR_TRUNCATED;
            }
        }
        at += run->len;
    }
    return 0;
}

static int read_at(struct node_log *nl, const struct plog_read *how, struct answer *ret)
{
    struct rope rope;
    *ret = (struct answer){0};
    rope_init(&rope);
    int err = plog_read(nl->pl, how, &rope, &ret->result, &ret->error);
    if (err >= 0) {
        err = fetch_runs(&rope, ret);
    }
    rope_release(&rope);
    return err;
}

/* A batch of the answer, its CRC checked. */
static bool next_batch(struct log_node *n,
                       const struct node_log *nl,
                       const struct answer *an,
                       size_t at,
                       struct batch *ret)
{
    int err = batch_peek(an->bytes + at, an->len - at, ret);
    return sim_expect(n->s, err >= 0 && batch_crc_is_good(ret),
                      "log %d sends %s as a batch (byte %zu of %zu)", nl->number,
                      err < 0 ? err_text(err) : "a damaged one", at, an->len);
}

/* --- offsets -------------------------------------------------------------------------------------
 */

void log_node_check_offsets(struct log_node *n, struct node_log *nl)
{
    struct plog_offsets o;
    if (n->s->has_failed || simfs_is_off(n->disk)) {
        return;
    }
    plog_offsets(nl->pl, &o);
    bool is_ordered = o.log_start <= o.flushed && o.flushed <= o.written &&
                      o.written <= o.log_end && o.last_stable <= o.high_watermark &&
                      o.high_watermark <= o.log_end;
    sim_expect(n->s, is_ordered,
               "log %d: start %" PRId64 " flushed %" PRId64 " written %" PRId64 " end %" PRId64
               " stable %" PRId64 " watermark %" PRId64,
               nl->number, o.log_start, o.flushed, o.written, o.log_end, o.last_stable,
               o.high_watermark);
    sim_expect(n->s, o.log_end == log_model_end(&nl->model),
               "log %d ends at %" PRId64 ", its model at %" PRId64, nl->number, o.log_end,
               log_model_end(&nl->model));
    int64_t stable = log_model_last_stable(&nl->model, o.high_watermark);
    sim_expect(n->s, o.last_stable == stable || nl->model.is_vague,
               "log %d is stable to %" PRId64 ", its model to %" PRId64 " (watermark %" PRId64 ")",
               nl->number, o.last_stable, stable, o.high_watermark);
}

/* --- after a crash -------------------------------------------------------------------------------
 */

struct found {
    struct model_batch *batches; /* owned */
    size_t count;
    size_t cap;
};

/* May this batch be here? It was here before, or, beyond what is promised, it once was. */
static bool is_known(const struct node_log *nl, const struct model_batch *mb, int64_t promised)
{
    const struct model_batch *was = log_model_at(&nl->model, mb->base_offset);
    if (was != NULL && log_model_is_same(was, mb)) {
        return true;
    }
    return mb->base_offset >= promised && log_model_was_ghost(&nl->model, mb);
}

/* Nothing of the model between `from` and `to` that was promised and is not deleted. */
static bool may_be_missing(const struct node_log *nl, int64_t from, int64_t to, int64_t promised)
{
    for (const struct model_batch *mb = log_model_at(&nl->model, from);
         mb != NULL && mb->base_offset < to; mb = log_model_at(&nl->model, mb->last_offset + 1)) {
        if (mb->last_offset >= nl->model.start_ever && mb->last_offset < promised) {
            return false;
        }
    }
    return true;
}

static bool take_found(struct log_node *n,
                       struct node_log *nl,
                       const struct answer *an,
                       int64_t promised,
                       int64_t *next,
                       struct found *fd)
{
    for (size_t at = 0; at < an->len;) {
        struct batch b;
        struct model_batch mb;
        if (!next_batch(n, nl, an, at, &b)) {
            return false;
        }
        at += b.size;
        log_model_describe(&b, &mb);
        bool is_good = sim_expect(n->s, is_known(nl, &mb, promised),
                                  "log %d holds at %" PRId64
                                  " a batch that was never there (promised to %" PRId64 ")",
                                  nl->number, mb.base_offset, promised) &&
                       sim_expect(n->s,
                                  mb.base_offset <= *next ||
                                      may_be_missing(nl, *next, mb.base_offset, promised),
                                  "log %d has lost %" PRId64 "..%" PRId64 ", promised to %" PRId64,
                                  nl->number, *next, mb.base_offset, promised);
        if (!is_good) {
            return false;
        }
        fd->batches = mem_grow(fd->batches, &fd->cap, fd->count + 1, sizeof(fd->batches[0]));
        fd->batches[fd->count++] = mb;
        *next = mb.last_offset + 1;
    }
    return true;
}

/* All batches of the log. Damage is allowed where nothing was promised. */
static int read_whole(struct log_node *n,
                      struct node_log *nl,
                      const struct plog_offsets *o,
                      int64_t promised,
                      struct found *fd)
{
    struct arena arena;
    arena_init(&arena, 0);
    int64_t next = o->log_start; /* behind the last batch found */
    int64_t at = next;
    int err = 0;
    while (at < o->log_end && err >= 0 && !n->s->has_failed) {
        struct plog_read how = {
            .offset = at,
            .max_bytes = 64 + (int64_t)sim_rng_below(&n->rng, 65536),
            .bound = PLOG_TO_LOG_END,
            .at_least_one = true,
            .arena = &arena,
        };
        struct answer an;
        err = read_at(nl, &how, &an);
        if (err >= 0 && an.error == KAFKA_ERROR_NONE) {
            if (an.len > 0 && take_found(n, nl, &an, promised, &next, fd)) {
                at = max_i64(next, at + 1);
            } else {
                at++; /* a hole that ends a segment */
            }
        } else if (err >= 0) {
            sim_happened(n->s, "hole that a power cut left");
            sim_expect(n->s,
                       an.error == KAFKA_ERROR_CORRUPT_MESSAGE &&
                           may_be_missing(nl, at, at + 1, n->has_lost_power ? promised : INT64_MAX),
                       "log %d answers %d at %" PRId64 ", promised to %" PRId64, nl->number,
                       an.error, at, promised);
            at++;
        }
        mem_free(an.bytes);
    }
    arena_release(&arena);
    if (err >= 0 && !n->s->has_failed) {
        sim_expect(n->s, may_be_missing(nl, next, INT64_MAX, promised),
                   "log %d ends at %" PRId64 " (%" PRId64 "), promised to %" PRId64, nl->number,
                   next, o->log_end, promised);
    }
    return err;
}

static void compare_producer(struct log_node *n,
                             struct node_log *nl,
                             const struct model_producer *p,
                             const struct plog_producer *now)
{
    if (now->producer_epoch == p->epoch && now->current_txn_start == p->txn_first_offset) {
        return;
    }
    bool begins_below =
        now->current_txn_start >= 0 && now->current_txn_start < nl->model.start_ever;
    if (log_model_is_doubtful(&nl->model, p) || begins_below) {
        sim_happened(n->s, "producer forgotten with its deleted records");
        nl->model.is_vague = true;
    }
    sim_expect(n->s, nl->model.is_vague,
               "log %d knows producer %" PRId64 " epoch %d with a transaction from %" PRId64
               ", the model epoch %d from %" PRId64,
               nl->number, p->producer_id, now->producer_epoch, now->current_txn_start, p->epoch,
               p->txn_first_offset);
}

/* Epochs and open transactions, after a start. */
static void compare_producers(struct log_node *n, struct node_log *nl)
{
    struct arena arena;
    struct plog_producer *known;
    int32_t count;
    arena_init(&arena, 0);
    plog_producers(nl->pl, &arena, &known, &count);
    for (size_t i = 0; i < nl->model.producers_count; i++) {
        const struct model_producer *p = &nl->model.producers[i];
        struct plog_producer now = {.producer_epoch = -1, .current_txn_start = -1};
        for (int32_t k = 0; k < count; k++) {
            now = known[k].producer_id == p->producer_id ? known[k] : now;
        }
        compare_producer(n, nl, p, &now);
    }
    arena_release(&arena);
}

int log_node_recover_model(struct log_node *n, struct node_log *nl, int64_t promised)
{
    struct plog_offsets o;
    struct found fd = {0};
    plog_offsets(nl->pl, &o);
    sim_note(n->s,
             "log %d: start %" PRId64 " end %" PRId64 " flushed %" PRId64 ", promised %" PRId64
             ", was %" PRId64,
             nl->number, o.log_start, o.log_end, o.flushed, promised, log_model_end(&nl->model));
    int err = read_whole(n, nl, &o, promised, &fd);
    if (err >= 0 && !n->s->has_failed) {
        nl->model.start = o.log_start;
        nl->model.start_ever = max_i64(nl->model.start_ever, o.log_start);
        log_model_adopt(&nl->model, fd.batches, fd.count);
        compare_producers(n, nl);
        nl->written = o.written;
        nl->flushed = o.flushed;
        nl->stable = max_i64(nl->stable, o.flushed); /* the checkpoint says so */
        if (!n->rules.is_durable) {
            nl->acked = min_i64(nl->acked, o.log_end);
            nl->seen = min_i64(nl->seen, o.log_end);
        }
    }
    mem_free(fd.batches);
    return err;
}

/* --- readers -------------------------------------------------------------------------------------
 */

static int64_t bound_of(const struct answer *an, enum plog_bound bound)
{
    switch (bound) {
    case PLOG_TO_LOG_END:
        return an->result.offsets.written;
    case PLOG_TO_HIGH_WATERMARK:
        return an->result.offsets.high_watermark;
    case PLOG_TO_LAST_STABLE:
        return an->result.offsets.last_stable;
    }
    return 0;
}

/* The batches of the answer are those of the model, one after another. *ret_end: behind the last
 * one. */
static bool check_batches(struct log_node *n,
                          struct node_log *nl,
                          const struct plog_read *how,
                          const struct answer *an,
                          int64_t *ret_end)
{
    int64_t next = how->offset;
    int64_t bound = bound_of(an, how->bound);
    size_t batches = 0;
    for (size_t at = 0; at < an->len; batches++) {
        struct batch b;
        struct model_batch mb;
        if (!next_batch(n, nl, an, at, &b)) {
            return false;
        }
        at += b.size;
        log_model_describe(&b, &mb);
        const struct model_batch *want = log_model_at(&nl->model, next);
        if (!sim_expect(n->s,
                        want != NULL && log_model_is_same(want, &mb) && mb.last_offset < bound,
                        "log %d: a read of %" PRId64 " gives the batch %" PRId64 "..%" PRId64
                        ", wanted %" PRId64 ", bound %" PRId64,
                        nl->number, how->offset, mb.base_offset, mb.last_offset,
                        want == NULL ? -1 : want->base_offset, bound)) {
            return false;
        }
        next = mb.last_offset + 1;
    }
    *ret_end = next;
    const struct model_batch *first = log_model_at(&nl->model, how->offset);
    bool has_something = first != NULL && first->base_offset < bound && how->offset < bound;
    return sim_expect(n->s, batches <= 1 || to_i64(an->len) <= how->max_bytes,
                      "log %d: a read of %" PRId64 " bytes gives %zu", nl->number, how->max_bytes,
                      an->len) &&
           sim_expect(n->s, batches > 0 || !has_something || !how->at_least_one,
                      "log %d: a read of %" PRId64 " gives nothing, bound %" PRId64, nl->number,
                      how->offset, bound);
}

static bool is_told(const struct answer *an, const struct model_txn *txn)
{
    for (int32_t i = 0; i < an->result.aborted_count; i++) {
        const struct plog_aborted *ab = &an->result.aborted[i];
        if (ab->producer_id == txn->producer_id && ab->first_offset == txn->first_offset) {
            return true;
        }
    }
    return false;
}

static bool is_told_twice(const struct answer *an, int32_t place)
{
    const struct plog_aborted *ab = &an->result.aborted[place];
    for (int32_t i = 0; i < place; i++) {
        const struct plog_aborted *other = &an->result.aborted[i];
        if (other->producer_id == ab->producer_id && other->first_offset == ab->first_offset) {
            return true;
        }
    }
    return false;
}

/* Its beginning is deleted: since a start the log, or the model, may know a part of it only. */
static bool is_vague(const struct node_log *nl, const struct model_txn *txn)
{
    return txn->first_offset < nl->model.start_ever && nl->model.life > 1;
}

static bool was_aborted(const struct node_log *nl, const struct plog_aborted *ab)
{
    for (size_t i = 0; i < nl->model.txns_count; i++) {
        const struct model_txn *txn = &nl->model.txns[i];
        bool is_it = ab->first_offset == txn->first_offset ||
                     (is_vague(nl, txn) && ab->first_offset < txn->last_offset);
        if (ab->producer_id == txn->producer_id && txn->is_aborted && is_it) {
            return true;
        }
    }
    return false;
}

/* All aborted transactions that touch what was read are listed, and none that never was. */
static void check_aborted(struct log_node *n,
                          struct node_log *nl,
                          const struct answer *an,
                          int64_t from,
                          int64_t end)
{
    for (size_t i = 0; i < nl->model.txns_count; i++) {
        const struct model_txn *txn = &nl->model.txns[i];
        bool is_touched = txn->is_aborted && txn->first_offset < end && txn->last_offset >= from;
        sim_expect(n->s, !is_touched || is_told(an, txn) || is_vague(nl, txn),
                   "log %d: a read of %" PRId64 "..%" PRId64
                   " does not tell of the aborted transaction %" PRId64 "..%" PRId64
                   " of producer %" PRId64,
                   nl->number, from, end, txn->first_offset, txn->last_offset, txn->producer_id);
    }
    for (int32_t i = 0; i < an->result.aborted_count; i++) {
        const struct plog_aborted *ab = &an->result.aborted[i];
        sim_happened(n->s, "aborted transaction told to a reader");
        sim_expect(n->s, was_aborted(nl, ab) && !is_told_twice(an, i),
                   "log %d: a read of %" PRId64 " tells of an aborted transaction from %" PRId64
                   " of producer %" PRId64 " that never was, or twice",
                   nl->number, from, ab->first_offset, ab->producer_id);
    }
}

static void check_answer(struct log_node *n,
                         struct node_log *nl,
                         const struct plog_read *how,
                         const struct answer *an)
{
    int64_t end = how->offset;
    bool is_outside =
        how->offset < an->result.offsets.log_start || how->offset > an->result.offsets.log_end;
    if (an->error == KAFKA_ERROR_CORRUPT_MESSAGE) {
        const struct model_batch *mb = log_model_at(&nl->model, how->offset);
        sim_expect(n->s, mb == NULL || mb->base_offset > how->offset,
                   "log %d: a read of %" PRId64 " finds damage", nl->number, how->offset);
        return;
    }
    if (!sim_expect(
            n->s, an->error == (is_outside ? KAFKA_ERROR_OFFSET_OUT_OF_RANGE : KAFKA_ERROR_NONE),
            "log %d: a read of %" PRId64 " answers %d", nl->number, how->offset, an->error) ||
        is_outside || !check_batches(n, nl, how, an, &end)) {
        return;
    }
    if (how->bound == PLOG_TO_LAST_STABLE && an->len > 0 && !nl->model.is_vague) {
        check_aborted(n, nl, an, how->offset, end);
    }
    if (how->bound != PLOG_TO_LOG_END && an->len > 0) {
        bool is_safe = !n->rules.is_durable || end <= nl->stable;
        if (n->rules.mistake == LOG_NODE_RIGHT) {
            sim_expect(n->s, is_safe, "log %d shows %" PRId64 ", stable %" PRId64, nl->number, end,
                       nl->stable);
        }
        nl->seen = max_i64(nl->seen, end);
        sim_happened(n->s, "records read");
    }
}

static struct node_log *some_log(struct log_node *n)
{
    return &n->logs[sim_rng_below(&n->rng, (uint64_t)n->rules.logs)];
}

void log_node_read(struct log_node *n)
{
    if (!n->is_up) {
        return;
    }
    struct node_log *nl = some_log(n);
    struct arena arena;
    struct plog_offsets o;
    struct answer an;
    plog_offsets(nl->pl, &o);
    arena_init(&arena, 0);
    int64_t least = max_i64(o.log_start - 2, 0);
    struct plog_read how = {
        .offset = sim_rng_between(&n->rng, least, max_i64(o.log_end + 2, least)),
        .max_bytes =
            (int64_t)sim_rng_below(&n->rng, sim_rng_chance(&n->rng, 300) ? ANSWER_BYTES_MAX : 3000),
        .bound = (enum plog_bound)sim_rng_below(&n->rng, 3),
        .at_least_one = sim_rng_chance(&n->rng, 700),
        .arena = &arena,
    };
    bool is_offline = plog_is_offline(nl->pl);
    int err = read_at(nl, &how, &an);
    if (err >= 0 && !simfs_is_off(n->disk)) {
        if (is_offline) {
            sim_expect(n->s, an.error == KAFKA_ERROR_KAFKA_STORAGE_ERROR,
                       "log %d is offline and answers %d", nl->number, an.error);
        } else {
            check_answer(n, nl, &how, &an);
        }
    } else if (err < 0) {
        sim_note(n->s, "a read fails: %s", err_text(err)); /* an open that was made to fail */
    }
    mem_free(an.bytes);
    arena_release(&arena);
    log_node_end_of_event(n);
}

static void find_time(struct log_node *n, struct node_log *nl)
{
    struct plog_position found;
    int64_t now_ms = clock_now_ms(&n->s->clock.clock);
    int64_t wanted =
        now_ms - (int64_t)sim_rng_below(&n->rng, 1 + (uint64_t)n->s->now_us / 1000 + 20);
    bool has_hole = false;
    for (size_t i = 1; i < nl->model.count; i++) {
        has_hole = has_hole || nl->model.batches[i].is_deleted ||
                   nl->model.batches[i].base_offset != nl->model.batches[i - 1].last_offset + 1;
    }
    /* Kafka looks into one segment only, which records below the start may have chosen. */
    bool may_be_none = false;
    for (size_t i = 0; i < nl->model.count && nl->model.batches[i].base_offset < nl->model.start;
         i++) {
        may_be_none = may_be_none || nl->model.batches[i].max_timestamp >= wanted;
    }
    int err = plog_find_by_time(nl->pl, wanted, &found);
    int64_t want = log_model_find_by_time(&nl->model, wanted);
    struct plog_offsets o;
    plog_offsets(nl->pl, &o);
    if (err < 0 || has_hole || o.written < o.log_end) {
        return; /* a call that was made to fail; damage; something is staged */
    }
    sim_expect(n->s, found.offset == want || (may_be_none && found.offset == -1),
               "log %d: time %" PRId64 " is at %" PRId64 ", in the model at %" PRId64, nl->number,
               wanted, found.offset, want);
    sim_happened(n->s, "search by time");
}

static void find_epoch(struct log_node *n, struct node_log *nl)
{
    struct plog_offsets o;
    plog_offsets(nl->pl, &o);
    if (o.log_start == o.log_end) {
        return;
    }
    /* The file may know more of what is deleted than the log's start, which a crash may take back.
     */
    int64_t offset = sim_rng_between(&n->rng, o.log_start, o.log_end - 1);
    offset = max_i64(offset, nl->model.start_ever);
    const struct model_batch *mb = log_model_at(&nl->model, offset);
    if (mb == NULL || mb->base_offset > offset) {
        return;
    }
    int32_t epoch = plog_epoch_of(nl->pl, offset);
    sim_expect(n->s, epoch == mb->leader_epoch,
               "log %d: offset %" PRId64 " was written in epoch %d, not %d", nl->number, offset,
               mb->leader_epoch, epoch);
}

void log_node_find(struct log_node *n)
{
    if (!n->is_up) {
        return;
    }
    struct node_log *nl = some_log(n);
    if (!plog_is_offline(nl->pl)) {
        find_time(n, nl);
        find_epoch(n, nl);
    }
    log_node_end_of_event(n);
}

void log_node_delete_old(struct log_node *n)
{
    if (!n->is_up) {
        return;
    }
    struct node_log *nl = some_log(n);
    struct plog_offsets o;
    plog_offsets(nl->pl, &o);
    int64_t to = sim_rng_between(&n->rng, o.log_start, max_i64(o.log_start, o.high_watermark));
    sim_note(n->s, "log %d is deleted up to %" PRId64, nl->number, to);
    /* Records below are gone for whoever asks, whether or not the calls succeed in full. */
    nl->model.start_ever = max_i64(nl->model.start_ever, to);
    int64_t first = plog_first_offset(nl->pl);
    int err = plog_advance_log_start(nl->pl, to);
    if (err >= 0) {
        err = plog_apply_retention(nl->pl, clock_now_ms(&n->s->clock.clock));
        sim_happened(n->s,
                     plog_first_offset(nl->pl) > first ? "segment deleted" : "log start moved");
    }
    plog_offsets(nl->pl, &o);
    nl->model.start = o.log_start;
    nl->model.start_ever = max_i64(nl->model.start_ever, o.log_start);
    if (err < 0) {
        sim_note(n->s, "the deletion fails: %s", err_text(err));
        if (plog_is_offline(nl->pl) && !simfs_is_off(n->disk)) {
            log_node_take_offline(n);
        }
    } else {
        sim_expect(n->s, o.log_start >= to, "log %d starts at %" PRId64 " before %" PRId64,
                   nl->number, o.log_start, to);
    }
    log_node_check_offsets(n, nl);
    log_node_end_of_event(n);
}
