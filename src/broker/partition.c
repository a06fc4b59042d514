/*
 * Appends and waits of one partition: stage, write, acknowledge. See partition.h for the rules and
 * Kafka's Partition, DelayedProduce and DelayedFetch for what they answer to.
 *
 * Why a false acknowledgement cannot happen: staging a batch and putting its waiter in place are
 * one step under append_lock; so are a failed write and the failing of everybody beyond what is
 * left. Between the two no offset can be given out twice.
 *
 * A waiter is in at most one place: the partition's list (lock: partition) or the ready list of its
 * io thread (lock: io thread). It moves from the first to the second under the partition's lock, so
 * that waiter_cancel, on the io thread, finds it.
 */
#include "broker/partition.h"

#include "broker/broker.h"
#include "broker/group_commit.h"
#include "broker/io_thread.h"

#define ROOM_BYTES (INT64_C(512) << 10) /* staged: beyond it other io threads wait */

struct partition *partition_ref(struct partition *p)
{
    if (p != NULL) {
        /* Relaxed: whoever takes a reference holds one already (or the table's lock). */
        atomic_fetch_add_explicit(&p->refs, 1, memory_order_relaxed);
    }
    return p;
}

static void partition_destroy(struct partition *p)
{
    if (p->pl != NULL) {
        group_commit_forget(p->br->group_commit, p->pl);
        /* A deleted log has nothing worth keeping; a live one is closed by partition_table_free. */
        IGNORE(plog_close(p->pl, false));
    }
    lock_release(&p->lock);
    lock_release(&p->append_lock);
    mem_free((char *)(uintptr_t)p->topic.ptr);
    mem_free(p);
}

struct partition *partition_unref(struct partition *p)
{
    /* Acquire-release: the last one sees everything that others did before they let go. */
    if (p != NULL && atomic_fetch_sub_explicit(&p->refs, 1, memory_order_acq_rel) == 1) {
        partition_destroy(p);
    }
    return NULL;
}

/* Under p->lock. Moves a waiter to its io thread; notes in *mask whom to wake afterwards. */
static void hand_over_locked(struct waiter *w, uint64_t *mask)
{
    list_remove(&w->link);
    if (io_thread_push_ready(w->io, w)) {
        *mask |= UINT64_C(1) << w->io->index;
    }
}

static void hand_over_room_locked(struct partition *p, uint64_t *mask)
{
    list_foreach_safe (node, next, &p->waiting_room) {
        hand_over_locked(list_entry(node, struct waiter, link), mask);
    }
    atomic_store_explicit(&p->room_waiters, 0, memory_order_relaxed);
}

static void wake_threads(struct broker *br, uint64_t mask, struct io_thread *self)
{
    while (mask != 0) {
        size_t index = (size_t)__builtin_ctzll(mask);
        mask &= mask - 1;
        io_thread_wake(br->ios[index], self);
    }
}

/* Everybody who waits for less than the new high watermark, and every fetch, is handed over. */
static void raise_high_watermark(struct partition *p, int64_t offset, struct io_thread *self)
{
    bool has_moved = plog_advance_high_watermark(p->pl, offset);
    uint64_t mask = 0;
    lock_take(&p->lock);
    /* The log's own may have come from a checkpoint of Kafka's, which does not wait for syncs. */
    if (offset > p->high_watermark) {
        p->high_watermark = offset;
        has_moved = true;
    }
    if (!has_moved) {
        lock_give(&p->lock);
        return;
    }
    /* One reader is served before who wrote: the first answer of a turn that woke the processor
     * costs thrice as much as the next one, and a record is worth most to whom it was sent. Who
     * wrote does not wait for more than one. */
    struct list *reader = p->waiting_fetches.next;
    if (reader != &p->waiting_fetches) {
        hand_over_locked(list_entry(reader, struct waiter, link), &mask);
    }
    list_foreach_safe (node, next, &p->waiting_appends) {
        struct waiter *w = list_entry(node, struct waiter, link);
        if (w->offset > p->high_watermark) {
            break;
        }
        hand_over_locked(w, &mask);
    }
    list_foreach_safe (node, next, &p->waiting_fetches) {
        hand_over_locked(list_entry(node, struct waiter, link), &mask);
    }
    lock_give(&p->lock);
    wake_threads(p->br, mask, self);
}

/* Fails the appends beyond `offset` (all of them with -1) and wakes the fetches, which see for
 * themselves. */
static void
fail_appends(struct partition *p, int64_t offset, enum kafka_error error, struct io_thread *self)
{
    uint64_t mask = 0;
    lock_take(&p->lock);
    list_foreach_safe (node, next, &p->waiting_appends) {
        struct waiter *w = list_entry(node, struct waiter, link);
        if (w->offset > offset) {
            w->error = error;
            hand_over_locked(w, &mask);
        }
    }
    list_foreach_safe (node, next, &p->waiting_fetches) {
        hand_over_locked(list_entry(node, struct waiter, link), &mask);
    }
    hand_over_room_locked(p, &mask);
    lock_give(&p->lock);
    wake_threads(p->br, mask, self);
}

/* Puts an append's waiter in its place by offset, nearly always the end. A batch that is already
 * acknowledged (a duplicate) goes to the ready list at once. */
static void add_append_waiter(struct partition *p, struct waiter *w, struct io_thread *self)
{
    uint64_t mask = 0;
    lock_take(&p->lock);
    if (w->offset <= p->high_watermark) {
        if (io_thread_push_ready(w->io, w)) {
            mask = UINT64_C(1) << w->io->index;
        }
    } else {
        struct list *at = &p->waiting_appends;
        while (at->prev != &p->waiting_appends &&
               list_entry(at->prev, struct waiter, link)->offset > w->offset) {
            at = at->prev;
        }
        list_insert_before(at, &w->link);
    }
    lock_give(&p->lock);
    wake_threads(p->br, mask, self);
}

static const struct log_duties partition_duties;

/* After a write: whoever came to wait before it began has been counted by then, and whoever comes
 * later sees that there is room. Both by the log's lock. */
static void tell_room(struct partition *p, struct io_thread *self)
{
    uint64_t mask = 0;
    if (atomic_load_explicit(&p->room_waiters, memory_order_relaxed) == 0) {
        return;
    }
    lock_take(&p->lock);
    hand_over_room_locked(p, &mask);
    lock_give(&p->lock);
    wake_threads(p->br, mask, self);
}

static bool is_behind(struct partition *p, const struct io_thread *io)
{
    const struct io_thread *writer = atomic_load_explicit(&p->writer, memory_order_relaxed);
    return writer != NULL && writer != io && plog_staged_left(p->pl) > ROOM_BYTES;
}

bool partition_wait_for_room(struct partition *p, struct io_thread *io, struct waiter *w)
{
    if (!is_behind(p, io)) {
        return false;
    }
    lock_take(&p->lock);
    list_push_back(&p->waiting_room, &w->link);
    atomic_fetch_add_explicit(&p->room_waiters, 1, memory_order_relaxed);
    lock_give(&p->lock);
    if (is_behind(p, io)) {
        return true;
    }
    waiter_cancel(w); /* it was written meanwhile, perhaps before this one could be seen */
    return false;
}

/* What an append to it answers that the disk did not take. */
static enum kafka_error failure_of(const struct partition *p)
{
    return atomic_load_explicit(&p->is_deleted, memory_order_relaxed)
               ? KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION
               : KAFKA_ERROR_KAFKA_STORAGE_ERROR;
}

/* End of the turn of the io thread that staged first. */
static void write_log(struct io_thread *io, void *owner)
{
    struct partition *p = owner;
    int64_t written = 0;
    lock_take(&p->append_lock);
    atomic_store_explicit(&p->writer, NULL, memory_order_relaxed);
    int r = plog_write(p->pl, &written);
    if (r < 0) {
        struct plog_offsets offsets;
        plog_offsets(p->pl, &offsets);
        fail_appends(p, offsets.log_end, failure_of(p), io);
        written = offsets.written; /* what a roll has written before stays, and is waited for */
    }
    lock_give(&p->append_lock);
    tell_room(p, io);
    bool is_offline = plog_is_offline(p->pl);
    if (r < 0 && !is_offline) {
        io_thread_report_storage(io, p->topic, p->number, r);
    }
    if (is_offline || atomic_load_explicit(&p->is_durable, memory_order_relaxed)) {
        /* Where it has just gone offline, the round tells everybody who waits. */
        group_commit_flush(p->br->group_commit, p->pl);
        return;
    }
    raise_high_watermark(p, written, io);
    int64_t flush_messages = atomic_load_explicit(&p->flush_messages, memory_order_relaxed);
    if (flush_messages < INT64_MAX) {
        struct plog_offsets offsets;
        plog_offsets(p->pl, &offsets);
        if (written - offsets.flushed >= flush_messages) {
            group_commit_flush(p->br->group_commit, p->pl);
        }
    }
    int64_t flush_ms = atomic_load_explicit(&p->flush_ms, memory_order_relaxed);
    if (flush_ms < INT64_MAX &&
        !atomic_exchange_explicit(&p->is_flush_due, true, memory_order_relaxed)) {
        io_thread_flush_later(io, flush_ms, &partition_duties, partition_ref(p));
    }
}

static void flush_later(struct io_thread *io, void *owner)
{
    struct partition *p = owner;
    (void)io;
    atomic_store_explicit(&p->is_flush_due, false, memory_order_relaxed);
    if (!atomic_load(&p->is_deleted)) {
        group_commit_flush(p->br->group_commit, p->pl);
    }
}

static void release(void *owner)
{
    partition_unref(owner);
}

static const struct log_duties partition_duties = {.write = write_log,
                                                   .flush = flush_later,
                                                   .release = release};

static int append(struct partition *p,
                  struct io_thread *io,
                  const struct plog_append *in,
                  struct validate_result *validated,
                  struct plog_append_result *ret,
                  struct waiter *w)
{
    lock_take(&p->append_lock);
    int r = plog_append_validated(p->pl, in, validated, ret);
    if (r == 0 && ret->error == KAFKA_ERROR_NONE) {
        if (w != NULL) {
            w->offset = ret->last_offset + 1;
            add_append_waiter(p, w, io);
        }
        if (atomic_load_explicit(&p->writer, memory_order_relaxed) == NULL && !ret->is_duplicate) {
            atomic_store_explicit(&p->writer, io, memory_order_relaxed);
            io_thread_add_dirty(io, p->pl, &partition_duties, partition_ref(p));
        }
    }
    lock_give(&p->append_lock);
    return r;
}

int partition_append_validated(struct partition *p,
                               struct io_thread *io,
                               const struct plog_append *in,
                               struct validate_result *validated,
                               struct plog_append_result *ret,
                               struct waiter *w)
{
    check(p->pl != NULL);
    int r = append(p, io, in, validated, ret, w);
    while (r == -EAGAIN) { /* a new segment, and another io thread is in the middle of a piece */
        plog_settle(p->pl);
        r = append(p, io, in, validated, ret, w);
    }
    return r;
}

void partition_flushed(struct partition *p, int64_t flushed, int err)
{
    if (err < 0) {
        lock_take(&p->append_lock);
        fail_appends(p, -1, failure_of(p), NULL);
        lock_give(&p->append_lock);
        return;
    }
    raise_high_watermark(p, flushed, NULL);
}

bool partition_wait(struct partition *p, struct waiter *w)
{
    bool waits = false;
    lock_take(&p->lock);
    if (p->high_watermark <= w->offset &&
        !atomic_load_explicit(&p->is_deleted, memory_order_relaxed)) {
        list_push_back(&p->waiting_fetches, &w->link);
        waits = true;
    }
    lock_give(&p->lock);
    return waits;
}

void waiter_cancel(struct waiter *w)
{
    lock_take(&w->p->lock);
    list_remove(&w->link);
    lock_give(&w->p->lock);
    io_thread_cancel_ready(w->io, w);
}

/* The partition is gone (topic deleted): nobody shall wait for it. */
void partition_wake_all(struct partition *p)
{
    fail_appends(p, -1, KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION, NULL);
}
