/*
 * Writes and syncs of one log that fail: what was refused has not happened, after a kill either,
 * what was written before stays, and a sync that failed ends the log.
 */
#include "storage_world.h"

static void a_write_that_fails_inside_an_append_is_told_by_the_next_write(void **state)
{
    (void)state;
    struct world w;
    int err;
    int64_t written;
    world_init(&w);
    w.config.segment_bytes = 1000;
    world_open(&w);
    append_plain(&w, 1, 300);
    struct shape s = {.records = 1, .value_bytes = 300};
    assert_int_equal(stage_shape(&w, &s, &err).base_offset, 1);
    simfs_fail(w.disk, SIMFS_OP_PWRITEV, 1, 1, -ENOSPC);
    s.value_bytes = 400; /* wants a roll, which wants the staged one written */
    IGNORE(stage_shape(&w, &s, &err).base_offset);
    assert_int_equal(err, -ENOSPC);
    IGNORE(stage_shape(&w, &s, &err).base_offset);
    assert_int_equal(err, -ENOSPC); /* nothing is taken until the owner knows */
    assert_int_equal(plog_write(w.pl, &written), -ENOSPC);
    assert_int_equal(offsets_of(&w).log_end, 1);
    assert_int_equal(append_plain(&w, 1, 400), 1);
    world_release(&w);
}

static void a_failed_sync_takes_the_log_offline(void **state)
{
    (void)state;
    struct world w;
    struct plog_flush f;
    int64_t flushed;
    int64_t written;
    int err;
    world_init(&w);
    world_open(&w);
    append_plain(&w, 1, 10);
    flush_log(&w);
    append_plain(&w, 1, 10);
    simfs_fail(w.disk, SIMFS_SYNCS, 1, 1, -EIO);
    assert_true(plog_flush_begin(w.pl, &f));
    err = plog_flush_run(&f);
    assert_int_equal(err, -EIO);
    plog_flush_end(&f, err, &flushed);
    assert_int_equal(flushed, 1);
    assert_true(plog_is_offline(w.pl));
    assert_int_equal(plog_offline_cause(w.pl), -EIO);
    struct shape s = {.records = 1, .value_bytes = 1};
    IGNORE(stage_shape(&w, &s, &err).base_offset);
    assert_int_equal(err, ERR_OFFLINE);
    assert_int_equal(plog_write(w.pl, &written), 0); /* nothing is staged */
    assert_false(plog_flush_begin(w.pl, &f));
    enum kafka_error error;
    assert_int_equal(first_read(&w, 0, &error), -2);
    assert_int_equal(error, KAFKA_ERROR_KAFKA_STORAGE_ERROR);
    world_release(&w);
}

/* Stages batches of one size; the one write of them all fails in its middle. */
static void fail_a_write_of(struct world *w, int count)
{
    struct shape s = {.records = 1, .value_bytes = 50, .timestamp = clock_now_ms(w->env.clock)};
    int64_t written;
    int err;
    for (int i = 0; i < count; i++) {
        IGNORE(stage_shape(w, &s, &err).base_offset);
        assert_int_equal(err, 0);
    }
    simfs_fail(w->disk, SIMFS_OP_PWRITEV, 1, 1, -ENOSPC);
    assert_int_equal(plog_write(w->pl, &written), -ENOSPC);
    simfs_fail(w->disk, 0, 0, 0, 0);
    assert_false(plog_is_offline(w->pl));
}

static void what_was_refused_does_not_come_back_after_a_kill(void **state)
{
    (void)state;
    for (int preallocates = 0; preallocates < 2; preallocates++) {
        struct world w;
        world_init(&w);
        w.config.preallocate = preallocates == 1;
        w.config.segment_bytes = 100000;
        world_open(&w);
        append_plain(&w, 1, 50);
        fail_a_write_of(&w, 4);                       /* two of them are in the file, whole */
        assert_int_equal(append_plain(&w, 1, 50), 1); /* as long as the first of them */
        world_reopen(&w, false);
        assert_int_equal(offsets_of(&w).log_end, 2);
        assert_int_equal(check_all_readable(&w), 2);
        assert_int_equal(append_plain(&w, 1, 50), 2);
        world_release(&w);
    }
}

static void what_a_roll_has_written_stays_when_the_new_segment_fails(void **state)
{
    (void)state;
    struct world w;
    struct plog_flush f;
    int64_t written;
    int err;
    world_init(&w);
    w.config.segment_bytes = 1000;
    world_open(&w);
    append_plain(&w, 1, 300);
    struct shape s = {.records = 1, .value_bytes = 300};
    assert_int_equal(stage_shape(&w, &s, &err).base_offset, 1);
    s.value_bytes = 400; /* rolls, which writes the staged one */
    assert_int_equal(stage_shape(&w, &s, &err).base_offset, 2);
    assert_int_equal(err, 0);
    simfs_fail(w.disk, SIMFS_OP_PWRITEV, 1, 1, -ENOSPC);
    assert_int_equal(plog_write(w.pl, &written), -ENOSPC);
    assert_int_equal(offsets_of(&w).log_end, 2);
    assert_int_equal(offsets_of(&w).written, 2);
    assert_true(plog_flush_begin(w.pl, &f)); /* and somebody waits for it */
    err = plog_flush_run(&f);
    plog_flush_end(&f, err, &written);
    assert_int_equal(written, 2);
    world_release(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_write_that_fails_inside_an_append_is_told_by_the_next_write),
        cmocka_unit_test(a_failed_sync_takes_the_log_offline),
        cmocka_unit_test(what_was_refused_does_not_come_back_after_a_kill),
        cmocka_unit_test(what_a_roll_has_written_stays_when_the_new_segment_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
