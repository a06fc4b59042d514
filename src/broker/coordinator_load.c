/*
 * Loading a shard: its partition of __consumer_offsets is read from the start of the log to its
 * end, by workers, a piece at a time; the shard belongs to the load until it is given to its slot.
 *
 * A control batch ends a transaction; records of a transaction wait in the shard until then. A
 * record that cannot be read is passed over and counted; a damaged place of the log, too: the
 * offsets behind it are worth more than nothing (Kafka would refuse to serve the partition).
 *
 * Answers to Kafka's CoordinatorLoaderImpl, GroupCoordinatorRecordSerde.
 */
#include "base/err.h"
#include "base/fs.h"
#include "broker/background.h"
#include "broker/broker.h"
#include "broker/coordinator_impl.h"
#include "coord/shard_machines.h"
#include "storage/plog.h"

#define PIECE_BYTES  (INT64_C(1) << 20)
#define INFLATED_MAX (INT64_C(256) << 20) /* of one batch */
#define SLOW_LOAD_MS 1000                 /* is worth a line */
#define CONTROL_KEY  4                    /* bytes: version and type */
#define DAMAGE_STEPS 1000                 /* offsets tried behind damage in one piece of work */

struct coordinator_load {
    struct heavy_task task;
    struct list link;              /* co->loads until it begins */
    struct coordinator *co;        /* borrowed */
    struct coordinator_slot *slot; /* coordinator's thread; NULL: cancelled */
    struct partition *p;           /* a reference; NULL: none */
    struct shard *sh;              /* owned */
    _Atomic bool is_cancelled;
    int64_t begun_ns;
    int64_t offset; /* next to read */
    int64_t end;    /* log end when it began */
    int64_t records;
    int64_t bad_records;
    int64_t damaged; /* offsets that could not be read */
    uint8_t *buffer; /* owned */
    size_t buffer_cap;
    int err;
    bool is_at_end;
};

static struct coordinator_load *load_free(struct coordinator_load *load)
{
    if (load == NULL) {
        return NULL;
    }
    shard_free(load->sh);
    partition_unref(load->p);
    mem_free(load->buffer);
    mem_free(load);
    return NULL;
}

/* ---- on a worker ---- */

static int replay_marker(struct coordinator_load *load, const struct batch *b, struct record *r)
{
    if (r->key.len < CONTROL_KEY) {
        return ERR_TRUNCATED;
    }
    int16_t type = (int16_t)load_be16(r->key.ptr + 2);
    if (type == CONTROL_ABORT || type == CONTROL_COMMIT) {
        shard_replay_end_txn(load->sh, b->producer_id, type == CONTROL_COMMIT);
    }
    return 0;
}

static int replay_record(struct coordinator_load *load, const struct batch *b, struct record *r)
{
    if (batch_is_control(b)) {
        return replay_marker(load, b, r);
    }
    if (r->key.ptr == NULL) {
        return ERR_MALFORMED;
    }
    int64_t producer_id = batch_is_transactional(b) ? b->producer_id : -1;
    return shard_replay(load->sh, producer_id, r->key, r->value);
}

static void replay_batch(struct coordinator_load *load, const struct batch *b)
{
    struct record_iter it;
    int r = record_iter_init(&it, b, INFLATED_MAX);
    while (r >= 0) {
        struct record record;
        r = record_iter_next(&it, &record);
        if (r <= 0) {
            break;
        }
        load->records++;
        if (replay_record(load, b, &record) < 0) {
            load->bad_records++;
        }
    }
    if (r < 0) {
        load->bad_records++;
    }
    record_iter_release(&it);
}

static void replay_bytes(struct coordinator_load *load, size_t len)
{
    size_t at = 0;
    struct batch b;
    while (at < len && batch_peek(load->buffer + at, len - at, &b) >= 0) {
        if (batch_last_offset(&b) >= load->offset) {
            replay_batch(load, &b);
            load->offset = batch_last_offset(&b) + 1;
        }
        at += b.size;
    }
}

static int copy_rope(struct coordinator_load *load, struct rope *rope, size_t *ret_len)
{
    if (rope->bytes > load->buffer_cap) {
        load->buffer = mem_free(load->buffer);
        load->buffer_cap = 0;
        load->buffer = mem_try_alloc(rope->bytes);
        if (load->buffer == NULL) {
            return ERR_NO_MEMORY;
        }
        load->buffer_cap = rope->bytes;
    }
    size_t len = 0;
    for (const struct rope_run *run; (run = rope_first(rope)) != NULL;) {
        size_t n = run->len;
        if (run->type == ROPE_MEMORY) {
            memcpy(load->buffer + len, run->ptr, n);
        } else {
            ssize_t got = fs_pread(run->file, load->buffer + len, n, run->position);
            if (got < 0) {
                return (int)got;
            }
            if ((size_t)got < n) {
                return ERR_TRUNCATED;
            }
        }
        len += n;
        rope_consume(rope, n);
    }
    *ret_len = len;
    return 0;
}

/* Reads a piece into the buffer. *ret_error: what the log says of this offset. */
static int read_piece(struct coordinator_load *load, size_t *ret_len, enum kafka_error *ret_error)
{
    struct plog *pl = load->p->pl;
    struct plog_read how = {
        .offset = load->offset,
        .max_bytes = PIECE_BYTES,
        .bound = PLOG_TO_LOG_END,
        .at_least_one = true,
    };
    struct plog_read_result result;
    struct rope rope;
    rope_init(&rope);
    *ret_len = 0;
    *ret_error = KAFKA_ERROR_NONE;
    int r = plog_read(pl, &how, &rope, &result, ret_error);
    if (r >= 0 && *ret_error == KAFKA_ERROR_NONE) {
        r = copy_rope(load, &rope, ret_len);
    }
    rope_release(&rope);
    return r;
}

static int load_piece(struct coordinator_load *load)
{
    for (int steps = 0; steps < DAMAGE_STEPS && load->offset < load->end; steps++) {
        size_t len;
        enum kafka_error error;
        int r = read_piece(load, &len, &error);
        if (r < 0) {
            return r;
        }
        if (error == KAFKA_ERROR_CORRUPT_MESSAGE) {
            load->offset++;
            load->damaged++;
            continue;
        }
        if (error == KAFKA_ERROR_OFFSET_OUT_OF_RANGE) {
            struct plog_offsets offsets;
            plog_offsets(load->p->pl, &offsets);
            if (offsets.log_start <= load->offset) {
                return ERR_CORRUPT;
            }
            load->offset = offsets.log_start; /* records were deleted meanwhile */
            continue;
        }
        if (error != KAFKA_ERROR_NONE) {
            return ERR_OFFLINE;
        }
        int64_t before = load->offset;
        replay_bytes(load, len);
        if (load->offset == before) {
            load->offset = load->end; /* nothing but a gap is left */
        }
        break;
    }
    load->is_at_end = load->offset >= load->end;
    return 0;
}

static void on_loaded(struct job *j);

static void run_piece(struct job *j)
{
    struct coordinator_load *load = container_of(j, struct coordinator_load, task.job);
    bool is_cancelled = atomic_load_explicit(&load->is_cancelled, memory_order_relaxed);
    if (!is_cancelled && load->err >= 0) {
        load->err = load_piece(load);
    }
    if (is_cancelled || load->err < 0 || load->is_at_end) {
        j->run = on_loaded;
        check(loop_post(load->co->io->loop, j)); /* it ends after its last load */
    } else {
        background_post_heavy(load->co->br->background, &load->task);
    }
}

/* ---- on the coordinator's thread ---- */

static void report(const struct coordinator_load *load)
{
    struct logger *logger = load->co->br->logger;
    int64_t ms = (clock_mono_ns(load->co->br->clock) - load->begun_ns) / 1000000;
    if (load->bad_records > 0 || load->damaged > 0) {
        LOG_WARN(logger, FAC_BROKER,
                 "group coordinator: while __consumer_offsets-%d was loaded %" PRId64
                 " records and %" PRId64 " offsets could not be read and were passed over",
                 load->p->number, load->bad_records, load->damaged);
    }
    if (ms >= SLOW_LOAD_MS) {
        LOG_INFO(logger, FAC_BROKER,
                 "group coordinator: loaded __consumer_offsets-%d: %" PRId64 " records in %" PRId64
                 " ms",
                 load->p->number, load->records, ms);
    }
}

static void on_loaded(struct job *j)
{
    struct coordinator_load *load = container_of(j, struct coordinator_load, task.job);
    struct coordinator *co = load->co;
    struct coordinator_slot *slot = load->slot;
    co->loads_running--;
    if (co->is_stopping) {
        loop_at_turn_end(co->io->loop, &co->stop_task);
    }
    if (slot != NULL) {
        struct shard *sh = NULL;
        if (load->err >= 0) {
            report(load);
            sh = load->sh;
            load->sh = NULL;
        }
        co->loaded(slot, sh, load->err);
    }
    load_free(load);
}

static struct shard *new_shard(struct coordinator_slot *slot)
{
    uint64_t seed = 0;
    clock_random(slot->co->br->clock, &seed, sizeof(seed));
    return shard_new(&shard_machines, &slot->co->config, slot->number, seed);
}

static bool is_empty(struct partition *p)
{
    struct plog_offsets offsets;
    if (p == NULL || p->pl == NULL) {
        return false;
    }
    plog_offsets(p->pl, &offsets);
    return offsets.log_start == offsets.log_end;
}

void coordinator_load_begin(struct coordinator_slot *slot)
{
    struct coordinator *co = slot->co;
    if (is_empty(slot->p)) {
        co->loaded(slot, new_shard(slot), 0);
        return;
    }
    struct coordinator_load *load = mem_zalloc(sizeof(*load));
    load->task.job.run = run_piece;
    load->co = co;
    load->slot = slot;
    load->p = partition_ref(slot->p);
    load->begun_ns = clock_mono_ns(co->br->clock);
    load->sh = new_shard(slot);
    slot->load = load;
    list_init(&load->link);
    list_push_back(&co->loads, &load->link);
    loop_at_turn_end(co->io->loop, &co->load_task);
}

void coordinator_load_cancel(struct coordinator_slot *slot)
{
    struct coordinator_load *load = slot->load;
    slot->load = NULL;
    load->slot = NULL;
    atomic_store_explicit(&load->is_cancelled, true, memory_order_relaxed);
    if (list_is_linked(&load->link)) { /* it has not begun */
        list_remove(&load->link);
        load_free(load);
    }
}

/* Everything that the turn has staged is written by now. */
void coordinator_loads_start(struct turn_task *task, void *ctx)
{
    (void)task;
    struct coordinator *co = ctx;
    for (struct list *node; (node = list_pop_front(&co->loads)) != NULL;) {
        struct coordinator_load *load = list_entry(node, struct coordinator_load, link);
        if (load->p == NULL || load->p->pl == NULL) {
            load->err = ERR_OFFLINE;
        } else {
            struct plog_offsets offsets;
            plog_offsets(load->p->pl, &offsets);
            load->offset = offsets.log_start;
            load->end = offsets.written;
        }
        co->loads_running++;
        background_post_heavy(co->br->background, &load->task);
    }
}
