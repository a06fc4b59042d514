/*
 * What recovery does about a flush that never ended, and when retention wants a log next. Batches
 * of one record lie one after another in one file; the middle one is damaged behind the log's back,
 * and the log is opened again with different knowledge of the last flush.
 */
#include "storage_world.h"

#define FIRST_LOG WORLD_LOG "00000000000000000000.log"

static void count_call(void *ctx, struct plog *pl)
{
    (void)pl;
    ++*(int *)ctx;
}

static int64_t size_of(struct world *w, const char *path)
{
    struct fs_stat st;
    assert_int_equal(fs_stat(w->env.fs, path, &st), 0);
    return st.size;
}

/* Three batches, offsets 0, 1 and 2; the one at 1 damaged. */
static void damaged_log(struct world *w)
{
    struct fs_file *f;
    world_init(w);
    world_open(w);
    IGNORE(append_plain(w, 1, 100));
    int64_t at = size_of(w, FIRST_LOG);
    IGNORE(append_plain(w, 1, 100));
    IGNORE(append_plain(w, 1, 100));
    world_close(w, false);
    assert_int_equal(fs_open(w->env.fs, FIRST_LOG, FS_WRITE, &f), 0);
    assert_int_equal(fs_pwrite(f, "xxxx", 4, at + 70), 0);
    fs_file_unref(f);
}

static void damage_in_a_flush_that_is_not_known_to_have_ended_is_cut(void **state)
{
    (void)state;
    struct world w;
    damaged_log(&w);
    w.how.flags |= PLOG_CUT_UNFLUSHED;
    w.how.unflushed_from = 1;
    w.how.unflushed_to = 3;
    world_open(&w);
    assert_int_equal(w.recovery.holes, 0);
    assert_int_equal(offsets_of(&w).log_end, 1);
    world_release(&w);
}

static void damage_with_a_good_batch_behind_that_flush_stays_a_hole(void **state)
{
    (void)state;
    struct world w;
    damaged_log(&w);
    w.how.flags |= PLOG_CUT_UNFLUSHED;
    w.how.unflushed_from = 0;
    w.how.unflushed_to = 2;
    world_open(&w);
    assert_int_equal(w.recovery.holes, 1);
    assert_int_equal(offsets_of(&w).log_end, 3);
    world_release(&w);
}

static void damage_before_that_flush_stays_a_hole(void **state)
{
    (void)state;
    struct world w;
    damaged_log(&w);
    w.how.flags |= PLOG_CUT_UNFLUSHED;
    w.how.unflushed_from = 2;
    w.how.unflushed_to = 3;
    world_open(&w);
    assert_int_equal(w.recovery.holes, 1);
    assert_int_equal(offsets_of(&w).log_end, 3);
    world_release(&w);
}

static void an_empty_segment_behind_a_lost_tail_does_not_make_a_gap(void **state)
{
    (void)state;
    struct world w;
    struct fs_file *f;
    world_init(&w);
    world_open(&w);
    IGNORE(append_plain(&w, 5, 100));
    world_close(&w, false);
    assert_int_equal(
        fs_open(w.env.fs, WORLD_LOG "00000000000000000009.log", FS_WRITE | FS_CREATE, &f), 0);
    fs_file_unref(f);
    world_open(&w);
    assert_int_equal(offsets_of(&w).log_end, 5);
    assert_int_equal(append_plain(&w, 1, 100), 5);
    world_release(&w);
}

static void expiry_is_that_of_the_oldest_segment(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    w.config.is_delete_policy = true;
    w.config.retention_ms = 1000;
    world_open(&w);
    assert_int_equal(plog_next_expiry(w.pl), INT64_MAX); /* empty */
    int64_t now_ms = clock_now_ms(w.env.clock);
    IGNORE(append_plain(&w, 1, 100));
    assert_int_equal(plog_next_expiry(w.pl), now_ms + 1001);
    w.config.retention_ms = -1;
    plog_set_config(w.pl, &w.config);
    assert_int_equal(plog_next_expiry(w.pl), INT64_MAX);
    w.config.retention_ms = INT64_MAX;
    plog_set_config(w.pl, &w.config);
    assert_int_equal(plog_next_expiry(w.pl), INT64_MAX);
    w.config.retention_bytes = 0;
    plog_set_config(w.pl, &w.config);
    assert_int_equal(plog_next_expiry(w.pl), 0);
    w.config.is_delete_policy = false;
    plog_set_config(w.pl, &w.config);
    assert_int_equal(plog_next_expiry(w.pl), INT64_MAX);
    world_release(&w);
}

static void a_first_batch_and_a_new_segment_are_told(void **state)
{
    (void)state;
    struct world w;
    int calls = 0;
    world_init(&w);
    w.env.on_grown = count_call;
    w.env.on_grown_ctx = &calls;
    w.config.segment_bytes = 1000;
    world_open(&w);
    IGNORE(append_plain(&w, 1, 300));
    assert_int_equal(calls, 1);
    IGNORE(append_plain(&w, 1, 300));
    assert_int_equal(calls, 1);
    IGNORE(append_plain(&w, 1, 300));
    assert_int_equal(calls, 2);
    world_release(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(damage_in_a_flush_that_is_not_known_to_have_ended_is_cut),
        cmocka_unit_test(damage_with_a_good_batch_behind_that_flush_stays_a_hole),
        cmocka_unit_test(damage_before_that_flush_stays_a_hole),
        cmocka_unit_test(an_empty_segment_behind_a_lost_tail_does_not_make_a_gap),
        cmocka_unit_test(expiry_is_that_of_the_oldest_segment),
        cmocka_unit_test(a_first_batch_and_a_new_segment_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
