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

/* A roll on a full disk has no room for a snapshot. The segments before do not wait for it: they
 * are what makes room. */
static void a_segment_without_a_snapshot_stays_and_those_before_it_go(void **state)
{
    (void)state;
    struct world w;
    int64_t point;
    struct shape s = {.records = 3, .value_bytes = 200, .has_producer = true, .producer_id = 5};
    world_init(&w);
    w.config.segment_bytes = 900;
    world_open(&w);
    for (int i = 0; i < 4; i++) { /* segments 0-2, 3-5, 6-8, 9-11 */
        if (i == 3) {
            simfs_fail(w.disk, SIMFS_OP_RENAME, 1, 1, -ENOSPC);
        }
        append_shape(&w, &s);
        s.sequence += 3;
    }
    assert_true(has_file(&w, WORLD_LOG "00000000000000000006.snapshot"));
    assert_false(has_file(&w, WORLD_LOG "00000000000000000009.snapshot"));
    plog_advance_high_watermark(w.pl, 12);
    assert_int_equal(plog_advance_log_start(w.pl, 9), 0);
    assert_int_equal(offsets_of(&w).log_start, 9);
    assert_int_equal(plog_first_offset(w.pl), 6);
    assert_int_equal(plog_apply_retention(w.pl, clock_now_ms(w.env.clock)), 0);
    assert_int_equal(plog_checkpoint(w.pl, &point), 0);
    plog_checkpointed(w.pl, point);
    assert_int_equal(plog_apply_retention(w.pl, clock_now_ms(w.env.clock)), 1);
    assert_int_equal(plog_first_offset(w.pl), 9);
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
    simfs_fail(w.disk, SIMFS_OP_RENAME | SIMFS_OP_UNLINK, 1, 2, -EIO);
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

/* Somebody copies history: the records are older than the expiration from the first moment on. */
static void a_producer_with_old_records_is_known_until_the_look_for_such(void **state)
{
    (void)state;
    struct world w;
    int err;
    struct shape s = {.records = 1, .timestamp = 1000, .has_producer = true, .producer_id = 5};
    world_init(&w);
    w.config.producer_id_expiration_ms = 60000;
    w.config.producer_id_check_ms = 600000;
    world_open(&w);
    assert_int_equal(append_shape(&w, &s), 0);
    int64_t opened_ms = clock_now_ms(w.env.clock);
    assert_int_equal(plog_next_expiry(w.pl), opened_ms + 600000);
    simclock_advance(&w.clock, 599999);
    assert_int_equal(plog_apply_retention(w.pl, clock_now_ms(w.env.clock)), 0);
    struct plog_append_result r = stage_shape(&w, &s, &err);
    assert_true(err == 0 && r.is_duplicate && r.base_offset == 0);
    simclock_advance(&w.clock, 500000); /* the look is late; the next is not */
    assert_int_equal(plog_apply_retention(w.pl, clock_now_ms(w.env.clock)), 0);
    assert_int_equal(append_shape(&w, &s), 1);
    assert_int_equal(plog_next_expiry(w.pl), opened_ms + 1200000);
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

/* --- file.delete.delay.ms --------------------------------------------------------------------- */

static void not_expected(void *ctx, const char *path, int err)
{
    (void)ctx;
    fail_msg("%s cannot be removed: %d", path, err);
}

static void count_call(void *ctx)
{
    ++*(int *)ctx;
}

/* Seven batches of two records in segments that begin at 0, 6 and 12. */
static void fill_segments(struct world *w)
{
    w->config.segment_bytes = 1000;
    world_open(w);
    for (int i = 0; i < 7; i++) {
        append_plain(w, 2, 100);
    }
    plog_advance_high_watermark(w->pl, 14);
}

static void a_deleted_segment_waits_under_another_name(void **state)
{
    (void)state;
    struct world w;
    int told = 0;
    world_init(&w);
    trash_listen(w.env.trash, count_call, &told);
    fill_segments(&w);
    assert_int_equal(trash_wait_ms(w.env.trash), INT64_MAX);
    assert_int_equal(plog_advance_log_start(w.pl, 6), 0);
    assert_int_equal(told, 1);
    assert_false(has_file(&w, WORLD_LOG "00000000000000000000.log"));
    assert_true(has_file(&w, WORLD_LOG "00000000000000000000.log.deleted"));
    assert_true(has_file(&w, WORLD_LOG "00000000000000000000.index.deleted"));
    assert_true(has_file(&w, WORLD_LOG "00000000000000000000.timeindex.deleted"));
    assert_false(has_file(&w, WORLD_LOG "00000000000000000000.index"));
    assert_int_equal(trash_wait_ms(w.env.trash), 60000);
    simclock_advance(&w.clock, 59999);
    trash_empty(w.env.trash, not_expected, NULL);
    assert_true(has_file(&w, WORLD_LOG "00000000000000000000.log.deleted"));
    simclock_advance(&w.clock, 1);
    assert_int_equal(trash_wait_ms(w.env.trash), 0);
    trash_empty(w.env.trash, not_expected, NULL);
    assert_false(has_file(&w, WORLD_LOG "00000000000000000000.log.deleted"));
    assert_false(has_file(&w, WORLD_LOG "00000000000000000000.index.deleted"));
    assert_int_equal(trash_wait_ms(w.env.trash), INT64_MAX); /* nobody is woken for nothing */
    assert_int_equal(told, 1);
    assert_int_equal(check_all_readable(&w), 4);
    world_release(&w);
}

/* A topic's own delay counts for its segments; the listener hears only of what comes earlier. */
static void each_log_has_its_own_delay(void **state)
{
    (void)state;
    struct world w;
    int told = 0;
    world_init(&w);
    trash_listen(w.env.trash, count_call, &told);
    fill_segments(&w);
    assert_int_equal(plog_advance_log_start(w.pl, 6), 0);
    assert_int_equal(told, 1);
    w.config.file_delete_delay_ms = 100;
    plog_set_config(w.pl, &w.config);
    assert_int_equal(plog_advance_log_start(w.pl, 12), 0);
    assert_int_equal(told, 2);
    assert_int_equal(trash_wait_ms(w.env.trash), 100);
    simclock_advance(&w.clock, 100);
    trash_empty(w.env.trash, not_expected, NULL);
    assert_true(has_file(&w, WORLD_LOG "00000000000000000000.log.deleted"));
    assert_false(has_file(&w, WORLD_LOG "00000000000000000006.log.deleted"));
    assert_int_equal(trash_wait_ms(w.env.trash), 59900);
    world_release(&w);
}

static void truncated_segments_wait_and_their_names_are_free(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    fill_segments(&w);
    assert_int_equal(plog_truncate_to(w.pl, 6), 0);
    assert_true(has_file(&w, WORLD_LOG "00000000000000000012.log.deleted"));
    assert_false(has_file(&w, WORLD_LOG "00000000000000000012.log"));
    for (int i = 0; i < 5; i++) {
        append_plain(&w, 2, 90 + i);
    }
    flush_log(&w);
    assert_true(has_file(&w, WORLD_LOG "00000000000000000012.log"));
    simclock_advance(&w.clock, 60000);
    trash_empty(w.env.trash, not_expected, NULL);
    assert_false(has_file(&w, WORLD_LOG "00000000000000000012.log.deleted"));
    assert_int_equal(check_all_readable(&w), 8);
    world_reopen(&w, false);
    assert_int_equal(check_all_readable(&w), 8);
    world_release(&w);
}

static void a_reader_under_way_keeps_what_it_has_open(void **state)
{
    (void)state;
    struct world w;
    struct rope rope;
    struct plog_read_result rr;
    enum kafka_error error;
    struct plog_read how = {
        .offset = 0, .max_bytes = 10000, .bound = PLOG_TO_LOG_END, .at_least_one = true};
    world_init(&w);
    fill_segments(&w);
    rope_init(&rope);
    assert_int_equal(plog_read(w.pl, &how, &rope, &rr, &error), 0);
    assert_int_equal(plog_advance_log_start(w.pl, 12), 0);
    for (int pass = 0; pass < 2; pass++) {
        struct rope_run *run = rope_first(&rope);
        uint8_t *bytes = mem_alloc(run->len);
        struct batch b;
        assert_int_equal(fs_pread(run->file, bytes, run->len, run->position), run->len);
        assert_int_equal(batch_peek(bytes, run->len, &b), 0);
        assert_true(batch_crc_is_good(&b));
        mem_free(bytes);
        simclock_advance(&w.clock, 60000);
        trash_empty(w.env.trash, not_expected, NULL);
    }
    rope_release(&rope);
    world_release(&w);
}

static void what_still_waits_goes_at_the_next_start(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    fill_segments(&w);
    assert_int_equal(plog_advance_log_start(w.pl, 6), 0);
    w.how.log_start = 6;
    world_close(&w, true);
    assert_true(has_file(&w, WORLD_LOG "00000000000000000000.log.deleted"));
    world_open(&w);
    assert_false(has_file(&w, WORLD_LOG "00000000000000000000.log.deleted"));
    assert_false(has_file(&w, WORLD_LOG "00000000000000000000.index.deleted"));
    assert_int_equal(offsets_of(&w).log_start, 6);
    assert_int_equal(check_all_readable(&w), 4);
    /* Its time comes, and it is gone already. */
    simclock_advance(&w.clock, 60000);
    trash_empty(w.env.trash, not_expected, NULL);
    world_release(&w);
}

/* A longer name may want a block that a full disk has not: deleting must free room nevertheless. */
static void what_cannot_be_renamed_goes_at_once(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    fill_segments(&w);
    simfs_fail(w.disk, SIMFS_OP_RENAME, 1, 0, -ENOSPC);
    assert_int_equal(plog_advance_log_start(w.pl, 6), 0);
    assert_false(has_file(&w, WORLD_LOG "00000000000000000000.log"));
    assert_false(has_file(&w, WORLD_LOG "00000000000000000000.log.deleted"));
    assert_int_equal(trash_wait_ms(w.env.trash), INT64_MAX);
    simfs_fail(w.disk, 0, 0, 0, 0);
    world_release(&w);
}

static void a_deleted_directory_waits_while_its_namesake_lives(void **state)
{
    (void)state;
    struct world w;
    char path[512];
    world_init(&w);
    fill_segments(&w);
    assert_int_equal(plog_advance_log_start(w.pl, 6), 0);
    assert_int_equal(plog_mark_deleted(w.pl, path, sizeof(path)), 0);
    assert_int_equal(plog_close(w.pl, false), 0);
    trash_put_tree(w.env.trash, path, 70000);
    trash_tell(w.env.trash);
    world_open(&w);
    append_plain(&w, 2, 100);
    simclock_advance(&w.clock, 60000);
    trash_empty(w.env.trash, not_expected, NULL); /* by the old name: there is no such file */
    assert_true(has_file(&w, path));
    assert_int_equal(check_all_readable(&w), 1);
    simclock_advance(&w.clock, 10000);
    trash_empty(w.env.trash, not_expected, NULL);
    assert_false(has_file(&w, path));
    assert_int_equal(check_all_readable(&w), 1);
    assert_int_equal(trash_wait_ms(w.env.trash), INT64_MAX);
    world_release(&w);
}

static void what_no_descriptor_is_left_for_is_removed_later(void **state)
{
    (void)state;
    struct world w;
    char path[512];
    world_init(&w);
    fill_segments(&w);
    assert_int_equal(plog_mark_deleted(w.pl, path, sizeof(path)), 0);
    assert_int_equal(plog_close(w.pl, false), 0);
    trash_put_tree(w.env.trash, path, 0);
    simfs_fail(w.disk, SIMFS_OP_UNLINK, 1, 1, -EMFILE);
    trash_empty(w.env.trash, not_expected, NULL);
    assert_true(has_file(&w, path));
    assert_int_equal(trash_wait_ms(w.env.trash), 10000);
    simclock_advance(&w.clock, 10000);
    trash_empty(w.env.trash, not_expected, NULL);
    assert_false(has_file(&w, path));
    assert_int_equal(trash_wait_ms(w.env.trash), INT64_MAX);
    world_open(&w);
    world_release(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_repeat_of_a_deleted_batch_is_known_after_a_power_cut),
        cmocka_unit_test(delete_records_drops_whole_segments_behind_it),
        cmocka_unit_test(a_segment_without_a_snapshot_stays_and_those_before_it_go),
        cmocka_unit_test(a_segment_that_cannot_be_removed_still_counts_as_the_first),
        cmocka_unit_test(retention_by_size_and_by_time_keeps_the_high_watermark),
        cmocka_unit_test(a_producer_with_old_records_is_known_until_the_look_for_such),
        cmocka_unit_test(a_deleted_log_leaves_its_name),
        cmocka_unit_test(a_deleted_segment_waits_under_another_name),
        cmocka_unit_test(each_log_has_its_own_delay),
        cmocka_unit_test(truncated_segments_wait_and_their_names_are_free),
        cmocka_unit_test(a_reader_under_way_keeps_what_it_has_open),
        cmocka_unit_test(what_still_waits_goes_at_the_next_start),
        cmocka_unit_test(what_cannot_be_renamed_goes_at_once),
        cmocka_unit_test(a_deleted_directory_waits_while_its_namesake_lives),
        cmocka_unit_test(what_no_descriptor_is_left_for_is_removed_later),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
