/*
 * One log, many threads: two that stage, one that writes as the end of an io thread's turn does,
 * two that make checkpoints and one that reads. Segments are small, so that batches must roll
 * while somebody writes without the lock. Whatever the order, each batch lies where its answer
 * said, and offsets have no gap. Threads that wait for each other without an end are ended by the
 * test's timeout; a build with ThreadSanitizer tells the rest.
 */
#include "storage_world.h"

enum {
    STAGERS = 2,
    KEEPERS = 2,
    BATCHES = 400, /* of each */
    VALUE_BYTES_MAX = 90000,
    PIECE_BYTES = 30000,
};

struct crew {
    struct world w;
    struct thread stagers[STAGERS];
    struct thread writer;
    struct thread keepers[KEEPERS];
    struct thread reader;
    _Atomic int stagers_left;
    _Atomic int next_stager;
    _Atomic bool is_written; /* the writer has ended */
    int64_t bases[STAGERS][BATCHES];
};

static int32_t size_of_batch(int stager, int i)
{
    return (int32_t)((i * 7919 + stager * 104729) % VALUE_BYTES_MAX);
}

static void stage_all(void *ctx)
{
    struct crew *cr = ctx;
    int me = atomic_fetch_add(&cr->next_stager, 1);
    for (int i = 0; i < BATCHES; i++) {
        int err;
        struct shape s = {.records = 1,
                          .value_bytes = size_of_batch(me, i),
                          .timestamp = 1000 + i,
                          .has_producer = true,
                          .producer_id = me,
                          .sequence = i};
        struct plog_append_result result = stage_shape(&cr->w, &s, &err);
        check(err == 0 && result.error == KAFKA_ERROR_NONE);
        cr->bases[me][i] = result.base_offset;
    }
    atomic_fetch_sub(&cr->stagers_left, 1);
}

static void write_all(void *ctx)
{
    struct crew *cr = ctx;
    bool is_last = false;
    for (int64_t turn = 0; !is_last; turn++) {
        int64_t written;
        is_last = atomic_load(&cr->stagers_left) == 0;
        while (turn % 2 == 0 && plog_write_ahead(cr->w.pl, PIECE_BYTES)) {
        }
        if (turn % 3 != 0) {
            plog_write_most(cr->w.pl);
        }
        check(plog_write(cr->w.pl, &written) == 0);
    }
    atomic_store(&cr->is_written, true);
}

static void keep_all(void *ctx)
{
    struct crew *cr = ctx;
    while (!atomic_load(&cr->is_written)) {
        int64_t point;
        check(plog_checkpoint(cr->w.pl, &point) == 0);
    }
}

static void read_all(void *ctx)
{
    struct crew *cr = ctx;
    uint8_t *bytes = mem_alloc(2 * VALUE_BYTES_MAX);
    int64_t offset = 0;
    while (!atomic_load(&cr->is_written)) {
        struct plog_offsets o = offsets_of(&cr->w);
        struct rope rope;
        struct plog_read_result rr;
        enum kafka_error error;
        struct plog_read how = {
            .offset = offset, .max_bytes = 1, .bound = PLOG_TO_LOG_END, .at_least_one = true};
        rope_init(&rope);
        check(plog_read(cr->w.pl, &how, &rope, &rr, &error) >= 0 && error == KAFKA_ERROR_NONE);
        struct rope_run *run = rope_first(&rope);
        if (run != NULL) {
            struct batch b;
            check(fs_pread(run->file, bytes, run->len, run->position) == to_i64(run->len));
            check(batch_peek(bytes, run->len, &b) == 0 && batch_crc_is_good(&b));
            check(b.base_offset == offset);
        }
        rope_release(&rope);
        offset = o.written == 0 ? 0 : (offset + 17) % o.written;
    }
    mem_free(bytes);
}

static void what_is_staged_while_others_write_lies_where_it_was_promised(void **state)
{
    (void)state;
    static struct crew cr;
    world_init(&cr.w);
    cr.w.config.segment_bytes = 500000;
    world_open(&cr.w);
    atomic_store(&cr.stagers_left, STAGERS);
    for (int i = 0; i < STAGERS; i++) {
        assert_int_equal(thread_start(&cr.stagers[i], "stager", stage_all, &cr), 0);
    }
    assert_int_equal(thread_start(&cr.writer, "writer", write_all, &cr), 0);
    for (int i = 0; i < KEEPERS; i++) {
        assert_int_equal(thread_start(&cr.keepers[i], "keeper", keep_all, &cr), 0);
    }
    assert_int_equal(thread_start(&cr.reader, "reader", read_all, &cr), 0);
    for (int i = 0; i < STAGERS; i++) {
        thread_join(&cr.stagers[i]);
    }
    thread_join(&cr.writer);
    for (int i = 0; i < KEEPERS; i++) {
        thread_join(&cr.keepers[i]);
    }
    thread_join(&cr.reader);
    assert_int_equal(offsets_of(&cr.w).written, STAGERS * BATCHES);
    assert_int_equal(offsets_of(&cr.w).log_end, STAGERS * BATCHES);
    assert_int_equal(check_all_readable(&cr.w), STAGERS * BATCHES);
    for (int me = 0; me < STAGERS; me++) {
        for (int i = 0; i < BATCHES; i++) {
            struct plog_read how = {.offset = cr.bases[me][i],
                                    .max_bytes = 1,
                                    .bound = PLOG_TO_LOG_END,
                                    .at_least_one = true};
            struct plog_read_result rr;
            enum kafka_error error;
            struct batch b;
            uint8_t *bytes = read_bytes(&cr.w, &how, &rr, &error);
            assert_non_null(bytes);
            assert_int_equal(batch_peek(bytes, rr.bytes, &b), 0);
            assert_int_equal(b.base_offset, cr.bases[me][i]);
            assert_int_equal(b.producer_id, me);
            assert_int_equal(b.base_sequence, i);
            assert_in_range(b.size, (uint64_t)size_of_batch(me, i), UINT32_MAX);
            mem_free(bytes);
        }
    }
    world_release(&cr.w);
}

/* --- a checkpoint beside the deletion of its log ---------------------------------------------- */

enum {
    DELETION_WAIT_MS = 100, /* for what must not happen */
};

struct deletion {
    struct world w;
    struct thread deleter;
    struct lock lock;
    struct cond ended;
    bool has_begun;
    bool is_over;
};

static void delete_and_begin_anew(void *ctx)
{
    struct deletion *d = ctx;
    char path[512];
    check(plog_mark_deleted(d->w.pl, path, sizeof(path)) == 0);
    check(fs_mkdir(d->w.env.fs, "data/t-0") == 0);
    lock_take(&d->lock);
    d->is_over = true;
    cond_signal(&d->ended);
    lock_give(&d->lock);
}

/* The name of a file of the checkpoint is made up, the file is not there yet. */
static void
before_snapshot(void *ctx, struct simfs *s, uint64_t step, enum simfs_op op, const char *path)
{
    (void)s;
    (void)step;
    struct deletion *d = ctx;
    if (d->has_begun || op != SIMFS_OP_CREATE || strstr(path, ".snapshot.tmp") == NULL) {
        return;
    }
    d->has_begun = true;
    check(thread_start(&d->deleter, "deleter", delete_and_begin_anew, d) == 0);
    lock_take(&d->lock);
    while (!d->is_over && cond_wait_ms(&d->ended, &d->lock, DELETION_WAIT_MS)) {
    }
    lock_give(&d->lock);
}

static void a_checkpoint_of_a_deleted_log_writes_nothing_to_its_namesake(void **state)
{
    (void)state;
    static struct deletion d;
    int64_t point;
    world_init(&d.w);
    lock_init(&d.lock, LOCK_LEAF);
    cond_init(&d.ended);
    world_open(&d.w);
    append_plain(&d.w, 3, 100);
    simfs_on_step(d.w.disk, before_snapshot, &d);
    assert_int_equal(plog_checkpoint(d.w.pl, &point), 0);
    assert_true(d.has_begun);
    thread_join(&d.deleter);
    simfs_on_step(d.w.disk, NULL, NULL);
    assert_true(has_file(&d.w, "data/t-0"));
    assert_false(has_file(&d.w, WORLD_LOG "00000000000000000003.snapshot"));
    assert_false(has_file(&d.w, WORLD_LOG "00000000000000000003.snapshot.tmp"));
    assert_int_equal(plog_checkpoint(d.w.pl, &point), 0); /* nothing is left to do */
    assert_int_equal(plog_close(d.w.pl, false), 0);
    d.w.pl = NULL;
    world_release(&d.w);
    cond_release(&d.ended);
    lock_release(&d.lock);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_staged_while_others_write_lies_where_it_was_promised),
        cmocka_unit_test(a_checkpoint_of_a_deleted_log_writes_nothing_to_its_namesake),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
