/*
 * What leaves a log and what stays of it: DeleteRecords, retention, the log's own deletion. On a
 * simulated disk; files are looked for by their names.
 */
#include "storage_world.h"

/* Producers outlive their records (ProducerStateManager forgets by time alone): after deleted
 * segments came back but for the one with the producer's last batch, a snapshot still knows it. */
static void a_repeat_of_a_deleted_batch_is_known_after_a_power_cut(void **state)
{
    (void)state;
    struct world w;
    int err;
    int64_t point;
    struct shape s = {.records = 3, .value_bytes = 200, .has_producer = true, .producer_id = 5};
    world_init(&w);
    w.config.segment_bytes = 900;
    world_open(&w);
    append_shape(&w, &s); /* 0-2, a segment as all of them */
    s.sequence = 3;
    append_shape(&w, &s); /* 3-5 */
    append_plain(&w, 3, 200);
    assert_int_equal(plog_checkpoint(w.pl, &point), 0);
    assert_int_equal(point, 9);
    plog_advance_high_watermark(w.pl, 9);
    assert_int_equal(plog_advance_log_start(w.pl, 6), 0);
    world_close(&w, false);
    put_file(&w, WORLD_LOG "00000000000000000000.log", NULL, 0);
    w.how.recovery_point = point;
    world_open(&w);
    struct plog_append_result r = stage_shape(&w, &s, &err);
    assert_int_equal(err, 0);
    assert_int_equal(r.error, KAFKA_ERROR_NONE);
    assert_true(r.is_duplicate);
    assert_int_equal(r.base_offset, 3);
    assert_int_equal(r.last_offset, 5);
    s.sequence = 6;
    assert_int_equal(append_shape(&w, &s), 9);
    world_release(&w);
}

static void delete_records_drops_whole_segments_behind_it(void **state)
{
    (void)state;
    struct world w;
    enum kafka_error error;
    world_init(&w);
    w.config.segment_bytes = 1000;
    world_open(&w);
    for (int i = 0; i < 9; i++) {
        append_plain(&w, 2, 100); /* three batches in a segment: 0-5, 6-11, 12-17 */
    }
    assert_int_equal(plog_advance_log_start(w.pl, 7), ERR_BAD_ARGUMENT);
    plog_advance_high_watermark(w.pl, 18);
    assert_int_equal(plog_advance_log_start(w.pl, 7), 0);
    assert_int_equal(offsets_of(&w).log_start, 7);
    assert_false(has_file(&w, WORLD_LOG "00000000000000000000.log"));
    assert_true(has_file(&w, WORLD_LOG "00000000000000000006.log"));
    assert_int_equal(first_read(&w, 6, &error), -2);
    assert_int_equal(error, KAFKA_ERROR_OFFSET_OUT_OF_RANGE);
    assert_int_equal(first_read(&w, 7, &error), 6); /* the batch that holds it */
    assert_int_equal(plog_advance_log_start(w.pl, 3), 0);
    assert_int_equal(offsets_of(&w).log_start, 7);
    assert_int_equal(plog_advance_log_start(w.pl, 18), 0);
    assert_int_equal(offsets_of(&w).log_start, 18);
    assert_int_equal(first_read(&w, 18, &error), -1);
    assert_int_equal(append_plain(&w, 1, 10), 18);
    w.how.log_start = 18;
    world_reopen(&w, false);
    assert_int_equal(offsets_of(&w).log_start, 18);
    assert_int_equal(offsets_of(&w).log_end, 19);
    world_release(&w);
}

/* It will be there after a restart: only the checkpoint of log starts keeps what was deleted away,
 * and that is written for logs whose start lies behind their first segment. */
static void a_segment_that_cannot_be_removed_still_counts_as_the_first(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    w.config.segment_bytes = 1000;
    world_open(&w);
    for (int i = 0; i < 9; i++) {
        append_plain(&w, 2, 100); /* three batches in a segment: 0-5, 6-11, 12-17 */
    }
    plog_advance_high_watermark(w.pl, 18);
    simfs_fail(w.disk, SIMFS_OP_UNLINK, 1, 1, -EIO);
    assert_int_equal(plog_advance_log_start(w.pl, 6), -EIO);
    assert_true(has_file(&w, WORLD_LOG "00000000000000000000.log"));
    assert_int_equal(offsets_of(&w).log_start, 6);
    assert_int_equal(plog_first_offset(w.pl), 0);
    world_release(&w);
}

static void retention_by_size_and_by_time_keeps_the_high_watermark(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    w.config.segment_bytes = 1000;
    w.config.is_delete_policy = true;
    w.config.retention_bytes = 1500;
    world_open(&w);
    for (int i = 0; i < 12; i++) {
        append_plain(&w, 1, 230); /* three in a segment of some 900 bytes */
    }
    int64_t size = plog_size_bytes(w.pl);
    assert_int_equal(plog_apply_retention(w.pl, 0), 0); /* nothing is below the high watermark */
    plog_advance_high_watermark(w.pl, 12);
    assert_int_equal(plog_apply_retention(w.pl, clock_now_ms(w.env.clock)), 2);
    assert_int_equal(offsets_of(&w).log_start, 6);
    assert_int_equal(plog_size_bytes(w.pl), size / 2);
    w.config.retention_bytes = -1;
    w.config.retention_ms = 1000;
    plog_set_config(w.pl, &w.config);
    simclock_advance(&w.clock, 1001);
    /* all are old: an empty segment remains */
    assert_int_equal(plog_apply_retention(w.pl, clock_now_ms(w.env.clock)), 2);
    assert_int_equal(offsets_of(&w).log_start, 12);
    assert_int_equal(plog_size_bytes(w.pl), 0);
    assert_true(has_file(&w, WORLD_LOG "00000000000000000012.log"));
    assert_int_equal(append_plain(&w, 1, 10), 12);
    world_reopen(&w, true);
    assert_int_equal(offsets_of(&w).log_start, 12);
    world_release(&w);
}

static void a_deleted_log_leaves_its_name(void **state)
{
    (void)state;
    struct world w;
    char path[512];
    world_init(&w);
    world_open(&w);
    append_plain(&w, 1, 10);
    assert_int_equal(plog_mark_deleted(w.pl, path, sizeof(path)), 0);
    assert_int_equal(strncmp(path, "data/t-0.", 9), 0);
    assert_string_equal(path + strlen(path) - 7, "-delete");
    assert_int_equal(strlen(path), 9 + 32 + 7);
    assert_true(plog_is_offline(w.pl));
    assert_false(has_file(&w, "data/t-0"));
    assert_int_equal(plog_close(w.pl, false), 0);
    world_open(&w); /* a namesake begins anew */
    assert_int_equal(offsets_of(&w).log_end, 0);
    world_release(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_repeat_of_a_deleted_batch_is_known_after_a_power_cut),
        cmocka_unit_test(delete_records_drops_whole_segments_behind_it),
        cmocka_unit_test(a_segment_that_cannot_be_removed_still_counts_as_the_first),
        cmocka_unit_test(retention_by_size_and_by_time_keeps_the_high_watermark),
        cmocka_unit_test(a_deleted_log_leaves_its_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
