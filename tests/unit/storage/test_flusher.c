/*
 * Group commit. Method: logs on a simulated disk, rounds counted in syncs; the power is cut after a
 * round to see that what was reported is there; failing syncs must be reported to all whom they
 * concern and to nobody else.
 */
#include "storage_world.h"

enum {
    LOGS_MAX = 24,
};

struct group {
    struct world w;
    struct plog *logs[LOGS_MAX];
    int count;
    int64_t flushed[LOGS_MAX];
    int errors[LOGS_MAX];
    int reports;
    struct flusher *fl;
    uint64_t syncs_of_files;
    uint64_t syncs_of_all;
};

static void on_flushed(void *ctx, struct plog *pl, int64_t flushed, int err)
{
    struct group *g = ctx;
    for (int i = 0; i < g->count; i++) {
        if (g->logs[i] == pl) {
            g->flushed[i] = flushed;
            g->errors[i] = err;
        }
    }
    g->reports++;
}

static void
count_syncs(void *ctx, struct simfs *s, uint64_t step, enum simfs_op op, const char *path)
{
    struct group *g = ctx;
    (void)s;
    (void)step;
    (void)path;
    g->syncs_of_files += op == SIMFS_OP_DATASYNC || op == SIMFS_OP_SYNC_DIR;
    g->syncs_of_all += op == SIMFS_OP_SYNC_ALL;
}

static void open_one(struct group *g, int i)
{
    char topic[16];
    snprintf(topic, sizeof(topic), "t%d", i);
    g->w.how.topic = str_from(topic);
    assert_int_equal(plog_open(&g->w.env, &g->w.how, &g->w.recovery, &g->logs[i]), 0);
}

static void group_init(struct group *g, int count)
{
    *g = (struct group){.count = count};
    world_init(&g->w);
    for (int i = 0; i < count; i++) {
        open_one(g, i);
    }
    g->fl = flusher_new(&g->w.env, on_flushed, g);
    simfs_on_step(g->w.disk, count_syncs, g);
}

static void group_release(struct group *g)
{
    for (int i = 0; i < g->count; i++) {
        flusher_remove(g->fl, g->logs[i]);
        assert_int_equal(plog_close(g->logs[i], false), 0);
    }
    flusher_free(g->fl);
    world_release(&g->w);
}

static void append_to(struct group *g, int i)
{
    g->w.pl = g->logs[i];
    append_plain(&g->w, 1, 20);
    g->w.pl = NULL;
}

static void one_round_covers_all_that_is_queued(void **state)
{
    (void)state;
    struct group g;
    group_init(&g, 3);
    for (int i = 0; i < 3; i++) {
        append_to(&g, i);
        assert_int_equal(flusher_add(g.fl, g.logs[i]), i == 0); /* the first wakes the thread */
        assert_false(flusher_add(g.fl, g.logs[i]));
    }
    assert_int_equal(flusher_round(g.fl), 3);
    assert_int_equal(g.syncs_of_all, 1); /* new logs: names and all */
    assert_int_equal(g.syncs_of_files, 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(g.flushed[i], 1);
        append_to(&g, i);
        IGNORE(flusher_add(g.fl, g.logs[i]));
    }
    assert_int_equal(flusher_round(g.fl), 3);
    assert_int_equal(g.syncs_of_all, 1);
    assert_int_equal(g.syncs_of_files, 3);
    assert_int_equal(flusher_round(g.fl), 0);
    /* nothing new: told what is known */
    IGNORE(flusher_add(g.fl, g.logs[1]));
    g.flushed[1] = -1;
    assert_int_equal(flusher_round(g.fl), 1);
    assert_int_equal(g.flushed[1], 2);
    assert_int_equal(g.syncs_of_files, 3);
    group_release(&g);
}

static void many_logs_are_one_sync(void **state)
{
    (void)state;
    struct group g;
    group_init(&g, LOGS_MAX);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < LOGS_MAX; i++) {
            append_to(&g, i);
            IGNORE(flusher_add(g.fl, g.logs[i]));
        }
        assert_int_equal(flusher_round(g.fl), LOGS_MAX);
        assert_int_equal(g.syncs_of_all, round + 1);
        assert_int_equal(g.syncs_of_files, 0);
    }
    for (int i = 0; i < LOGS_MAX; i++) {
        assert_int_equal(g.flushed[i], 2);
        assert_int_equal(plog_close(g.logs[i], false), 0);
    }
    simfs_power_on(g.w.disk, 1, SIMFS_LOSE);
    for (int i = 0; i < LOGS_MAX; i++) {
        struct plog_offsets o;
        open_one(&g, i);
        plog_offsets(g.logs[i], &o);
        assert_int_equal(o.log_end, 2);
    }
    group_release(&g);
}

static void a_failed_sync_is_told_to_those_it_concerns(void **state)
{
    (void)state;
    struct group g;
    group_init(&g, 2);
    for (int i = 0; i < 2; i++) {
        append_to(&g, i);
        IGNORE(flusher_add(g.fl, g.logs[i]));
    }
    flusher_round(g.fl);
    for (int i = 0; i < 2; i++) {
        append_to(&g, i);
        IGNORE(flusher_add(g.fl, g.logs[i]));
    }
    simfs_fail(g.w.disk, SIMFS_OP_DATASYNC, 1, 1, -EIO);
    flusher_round(g.fl);
    assert_int_equal(g.errors[0], -EIO);
    assert_int_equal(g.flushed[0], 1);
    assert_true(plog_is_offline(g.logs[0]));
    assert_int_equal(g.errors[1], 0);
    assert_int_equal(g.flushed[1], 2);
    group_release(&g);
}

static void a_failed_sync_of_the_file_system_is_told_to_all(void **state)
{
    (void)state;
    struct group g;
    group_init(&g, 3);
    for (int i = 0; i < 3; i++) {
        append_to(&g, i);
        IGNORE(flusher_add(g.fl, g.logs[i]));
    }
    simfs_fail(g.w.disk, SIMFS_OP_SYNC_ALL, 1, 1, -EIO);
    flusher_round(g.fl);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(g.errors[i], -EIO);
        assert_int_equal(g.flushed[i], 0);
        assert_true(plog_is_offline(g.logs[i]));
    }
    group_release(&g);
}

static void
go_offline(void *ctx, struct simfs *s, uint64_t step, enum simfs_op op, const char *path)
{
    struct group *g = ctx;
    (void)s;
    (void)step;
    (void)path;
    if (op == SIMFS_OP_DATASYNC) {
        plog_set_offline(g->logs[0]);
    }
}

static void a_log_that_goes_offline_beside_its_flush_tells_so(void **state)
{
    (void)state;
    struct group g;
    group_init(&g, 1);
    append_to(&g, 0);
    IGNORE(flusher_add(g.fl, g.logs[0]));
    flusher_round(g.fl);
    append_to(&g, 0);
    IGNORE(flusher_add(g.fl, g.logs[0]));
    simfs_on_step(g.w.disk, go_offline, &g);
    flusher_round(g.fl);
    assert_int_equal(g.errors[0], ERR_OFFLINE); /* or whoever waits would wait for ever */
    assert_int_equal(g.flushed[0], 1);
    group_release(&g);
}

static void a_removed_log_is_not_touched(void **state)
{
    (void)state;
    struct group g;
    group_init(&g, 2);
    append_to(&g, 0);
    append_to(&g, 1);
    IGNORE(flusher_add(g.fl, g.logs[0]));
    IGNORE(flusher_add(g.fl, g.logs[1]));
    flusher_remove(g.fl, g.logs[0]);
    assert_int_equal(flusher_round(g.fl), 1);
    assert_int_equal(g.flushed[0], 0);
    assert_int_equal(g.flushed[1], 1);
    group_release(&g);
}

/* A thread that flushes while another appends: acks must come in order and cover what was written
 * before. */
struct racer {
    struct group *g;
    _Atomic bool is_over;
};

static void run_rounds(void *ctx)
{
    struct racer *r = ctx;
    while (!atomic_load_explicit(&r->is_over, memory_order_acquire)) {
        flusher_round(r->g->fl);
    }
    flusher_round(r->g->fl);
}

static void appends_and_rounds_go_side_by_side(void **state)
{
    (void)state;
    struct group g;
    struct thread t = {0};
    group_init(&g, 2);
    simfs_on_step(g.w.disk, NULL, NULL);
    struct racer r = {.g = &g};
    atomic_init(&r.is_over, false);
    assert_int_equal(thread_start(&t, "rounds", run_rounds, &r), 0);
    for (int n = 0; n < 500; n++) {
        append_to(&g, n % 2);
        IGNORE(flusher_add(g.fl, g.logs[n % 2]));
    }
    atomic_store_explicit(&r.is_over, true, memory_order_release);
    thread_join(&t);
    assert_int_equal(g.flushed[0], 250);
    assert_int_equal(g.flushed[1], 250);
    group_release(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_round_covers_all_that_is_queued),
        cmocka_unit_test(many_logs_are_one_sync),
        cmocka_unit_test(a_failed_sync_is_told_to_those_it_concerns),
        cmocka_unit_test(a_failed_sync_of_the_file_system_is_told_to_all),
        cmocka_unit_test(a_log_that_goes_offline_beside_its_flush_tells_so),
        cmocka_unit_test(a_removed_log_is_not_touched),
        cmocka_unit_test(appends_and_rounds_go_side_by_side),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
