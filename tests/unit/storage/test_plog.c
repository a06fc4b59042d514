/*
 * A partition's log through its contract: offsets, roll, reads by bound, transactions, times,
 * retention, truncation, and what happens when the disk is full or a sync fails. Method: logs on a
 * simulated disk whose answers are compared with what was appended; files are compared with Kafka's
 * layouts.
 */
#include "storage_world.h"

static void a_new_log_makes_its_directory_and_no_more(void **state)
{
    (void)state;
    struct world w;
    size_t len;
    world_init(&w);
    uint64_t before = simfs_steps(w.disk);
    world_open(&w);
    assert_int_equal(simfs_steps(w.disk) - before, 3); /* mkdir, create, write: no sync */
    char *bytes = get_file(&w, WORLD_LOG "partition.metadata", &len);
    assert_string_equal(bytes, "version: 0\ntopic_id: AQIDAAAAAAAAAAAAAAAAAA");
    mem_free(bytes);
    assert_false(has_file(&w, WORLD_LOG "00000000000000000000.log"));
    struct plog_offsets o = offsets_of(&w);
    assert_int_equal(o.log_end, 0);
    assert_string_equal(plog_path(w.pl), "data/t-0");
    assert_true(str_is(plog_topic(w.pl), "t"));
    world_release(&w);
}

static void a_directory_of_another_topic_is_refused(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    world_open(&w);
    world_close(&w, true);
    w.how.topic_id.bytes[0] = 9;
    assert_int_equal(plog_open(&w.env, &w.how, &w.recovery, &w.pl), ERR_MISMATCH);
    w.how.flags = 0;
    w.how.topic = STR("unknown");
    assert_int_equal(plog_open(&w.env, &w.how, &w.recovery, &w.pl), -ENOENT);
    w.how.topic = STR("a/b");
    assert_int_equal(plog_open(&w.env, &w.how, &w.recovery, &w.pl), ERR_BAD_ARGUMENT);
    w.pl = NULL;
    world_release(&w);
}

static void appends_get_offsets_and_are_read_back(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    world_open(&w);
    int64_t end = 0;
    for (int i = 0; i < 500; i++) {
        assert_int_equal(append_plain(&w, 1 + i % 5, 20 + i % 90), end);
        end += 1 + i % 5;
    }
    struct plog_offsets o = offsets_of(&w);
    assert_int_equal(o.log_end, end);
    assert_int_equal(o.written, end);
    assert_int_equal(o.flushed, 0);
    assert_int_equal(check_all_readable(&w), 500);
    world_release(&w);
}

static void a_batch_is_stamped_with_offset_and_epoch(void **state)
{
    (void)state;
    struct world w;
    struct plog_read_result rr;
    enum kafka_error error;
    struct batch b;
    world_init(&w);
    world_open(&w);
    struct shape s = {.records = 2, .value_bytes = 5, .timestamp = 77, .leader_epoch = 6};
    append_shape(&w, &s);
    append_shape(&w, &s);
    struct plog_read how = {
        .offset = 3, .max_bytes = 1, .bound = PLOG_TO_LOG_END, .at_least_one = true};
    uint8_t *bytes = read_bytes(&w, &how, &rr, &error);
    assert_int_equal(batch_peek(bytes, rr.bytes, &b), 0);
    assert_int_equal(b.base_offset, 2);
    assert_int_equal(b.leader_epoch, 6);
    assert_true(batch_crc_is_good(&b));
    assert_int_equal(plog_latest_epoch(w.pl), 6);
    mem_free(bytes);
    world_release(&w);
}

static void staged_batches_are_one_write(void **state)
{
    (void)state;
    struct world w;
    int err;
    int64_t written;
    world_init(&w);
    world_open(&w);
    append_plain(&w, 1, 10);
    uint64_t before = simfs_steps(w.disk);
    struct shape s = {.records = 1, .value_bytes = 10};
    for (int i = 0; i < 20; i++) {
        assert_int_equal(stage_shape(&w, &s, &err).base_offset, 1 + i);
    }
    assert_true(plog_has_staged(w.pl));
    struct plog_offsets o = offsets_of(&w);
    assert_int_equal(o.log_end, 21);
    assert_int_equal(o.written, 1);
    enum kafka_error error;
    assert_int_equal(first_read(&w, 5, &error), -1); /* not before it is written */
    assert_int_equal(simfs_steps(w.disk), before);
    assert_int_equal(plog_write(w.pl, &written), 0);
    assert_int_equal(written, 21);
    assert_int_equal(simfs_steps(w.disk), before + 1);
    assert_int_equal(first_read(&w, 5, &error), 5);
    world_release(&w);
}

static void segments_roll_by_size_and_by_time(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    w.config.segment_bytes = 1000;
    w.config.segment_ms = 60000;
    world_open(&w);
    append_plain(&w, 1, 400);
    append_plain(&w, 1, 400);
    append_plain(&w, 1, 400);
    assert_true(has_file(&w, WORLD_LOG "00000000000000000002.log"));
    assert_true(has_file(&w, WORLD_LOG "00000000000000000002.snapshot"));
    assert_true(has_file(&w, WORLD_LOG "00000000000000000000.timeindex"));
    simclock_advance(&w.clock, 60000);
    append_plain(&w, 1, 10); /* not older than segment.ms */
    assert_false(has_file(&w, WORLD_LOG "00000000000000000003.log"));
    simclock_advance(&w.clock, 1);
    append_plain(&w, 1, 10);
    assert_true(has_file(&w, WORLD_LOG "00000000000000000004.log"));
    struct shape big = {.records = 1, .value_bytes = 1200};
    assert_int_equal(refusal_of(&w, &big), KAFKA_ERROR_RECORD_LIST_TOO_LARGE);
    assert_int_equal(check_all_readable(&w), 5);
    world_release(&w);
}

static void one_read_is_from_one_segment_and_of_whole_batches(void **state)
{
    (void)state;
    struct world w;
    struct plog_read_result rr;
    enum kafka_error error;
    struct batch b;
    world_init(&w);
    w.config.segment_bytes = 1000;
    world_open(&w);
    for (int i = 0; i < 6; i++) {
        append_plain(&w, 1, 200); /* three in a segment */
    }
    size_t one = 0;
    for (int i = 1; i <= 4; i++) {
        struct plog_read how = {
            .max_bytes = i * 300, .bound = PLOG_TO_LOG_END, .at_least_one = i == 1};
        uint8_t *bytes = read_bytes(&w, &how, &rr, &error);
        assert_int_equal(batch_peek(bytes, rr.bytes, &b), 0);
        one = b.size;
        size_t whole = min_size((size_t)i * 300 / one, 3) * one;
        assert_int_equal(rr.bytes, whole);
        assert_int_equal(rr.is_cut_short, whole < 3 * one);
        mem_free(bytes);
    }
    struct plog_read small = {.max_bytes = 10, .bound = PLOG_TO_LOG_END};
    uint8_t *none = read_bytes(&w, &small, &rr, &error);
    assert_null(none);
    assert_true(rr.is_cut_short);
    world_release(&w);
}

static void reads_stop_at_their_bound(void **state)
{
    (void)state;
    struct world w;
    struct plog_read_result rr;
    enum kafka_error error;
    world_init(&w);
    world_open(&w);
    for (int i = 0; i < 10; i++) {
        append_plain(&w, 2, 50);
    }
    assert_false(plog_advance_high_watermark(w.pl, 0));
    assert_true(plog_advance_high_watermark(w.pl, 6));
    assert_false(plog_advance_high_watermark(w.pl, 4));
    struct plog_read how = {.max_bytes = 100000, .bound = PLOG_TO_HIGH_WATERMARK};
    uint8_t *bytes = read_bytes(&w, &how, &rr, &error);
    size_t all = rr.bytes;
    mem_free(bytes);
    how.bound = PLOG_TO_LOG_END;
    mem_free(read_bytes(&w, &how, &rr, &error));
    assert_int_equal(all * 10, rr.bytes * 3);
    assert_int_equal(rr.offsets.high_watermark, 6);
    how.offset = 6;
    how.bound = PLOG_TO_HIGH_WATERMARK;
    assert_null(read_bytes(&w, &how, &rr, &error));
    assert_int_equal(error, KAFKA_ERROR_NONE);
    how.offset = 21;
    assert_null(read_bytes(&w, &how, &rr, &error));
    assert_int_equal(error, KAFKA_ERROR_OFFSET_OUT_OF_RANGE);
    how.offset = -1;
    assert_null(read_bytes(&w, &how, &rr, &error));
    assert_int_equal(error, KAFKA_ERROR_OFFSET_OUT_OF_RANGE);
    world_release(&w);
}

static struct shape producer_shape(int64_t pid, int32_t sequence, int records)
{
    return (struct shape){
        .records = records,
        .value_bytes = 20,
        .has_producer = true,
        .producer_id = pid,
        .sequence = sequence,
        .timestamp = 1000,
    };
}

static void a_duplicate_answers_with_the_original(void **state)
{
    (void)state;
    struct world w;
    int err;
    world_init(&w);
    world_open(&w);
    append_plain(&w, 3, 10);
    struct shape s = producer_shape(5, 0, 4);
    assert_int_equal(append_shape(&w, &s), 3);
    struct shape next = producer_shape(5, 4, 2);
    assert_int_equal(append_shape(&w, &next), 7);
    for (int i = 0; i < 3; i++) {
        struct plog_append_result r = stage_shape(&w, &s, &err);
        assert_int_equal(err, 0);
        assert_true(r.is_duplicate);
        assert_int_equal(r.error, KAFKA_ERROR_NONE);
        assert_int_equal(r.base_offset, 3);
        assert_int_equal(r.last_offset, 6);
        assert_int_equal(r.append_time_ms, 1003);
        assert_false(plog_has_staged(w.pl));
        world_reopen(&w, i == 1); /* after a kill and after a clean stop too */
        if (i == 1) {
            s = next; /* a snapshot knows the last batch */
            r = stage_shape(&w, &s, &err);
            assert_true(r.is_duplicate);
            assert_int_equal(r.base_offset, 7);
            break;
        }
    }
    struct shape gap = producer_shape(5, 9, 1);
    assert_int_equal(refusal_of(&w, &gap), KAFKA_ERROR_OUT_OF_ORDER_SEQUENCE_NUMBER);
    world_release(&w);
}

static void what_its_producer_refuses_begins_a_segment_first(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    w.config.segment_ms = 1000;
    world_open(&w);
    struct shape s = producer_shape(5, 0, 1);
    assert_int_equal(append_shape(&w, &s), 0);
    struct shape gap = producer_shape(5, 9, 1);
    gap.timestamp += w.config.segment_ms + 1;
    assert_int_equal(refusal_of(&w, &gap), KAFKA_ERROR_OUT_OF_ORDER_SEQUENCE_NUMBER);
    assert_true(has_file(&w, WORLD_LOG "00000000000000000001.log"));
    assert_int_equal(refusal_of(&w, &gap), KAFKA_ERROR_OUT_OF_ORDER_SEQUENCE_NUMBER);
    append_plain(&w, 1, 10);
    world_reopen(&w, false);
    assert_int_equal(check_all_readable(&w), 2);
    world_release(&w);
}

static void append_txn(struct world *w, int64_t pid, int32_t sequence)
{
    struct shape s = producer_shape(pid, sequence, 1);
    s.is_transactional = true;
    append_shape(w, &s);
}

static void end_txn(struct world *w, int64_t pid, bool is_commit)
{
    struct shape s = producer_shape(pid, 0, 1);
    s.is_transactional = true;
    s.is_control = true;
    s.control = is_commit ? CONTROL_COMMIT : CONTROL_ABORT;
    append_shape(w, &s);
}

static void check_transactions(struct world *w)
{
    struct arena arena = {0};
    struct plog_read_result rr;
    enum kafka_error error;
    assert_true(plog_advance_high_watermark(w->pl, 7) || true);
    assert_int_equal(offsets_of(w).last_stable, 6);
    struct plog_read how = {
        .max_bytes = 100000, .bound = PLOG_TO_LAST_STABLE, .at_least_one = true, .arena = &arena};
    mem_free(read_bytes(w, &how, &rr, &error));
    assert_true(rr.bytes > 0);
    assert_int_equal(rr.aborted_count, 1);
    assert_int_equal(rr.aborted[0].producer_id, 1);
    assert_int_equal(rr.aborted[0].first_offset, 0);
    how.offset = 6;
    mem_free(read_bytes(w, &how, &rr, &error));
    assert_int_equal(rr.bytes, 0);
    assert_int_equal(rr.aborted_count, 0);
    arena_release(&arena);
}

static void aborted_transactions_are_listed_and_open_ones_hold_back(void **state)
{
    (void)state;
    struct world w;
    size_t len;
    world_init(&w);
    world_open(&w);
    append_txn(&w, 1, 0);    /* 0 */
    append_txn(&w, 2, 0);    /* 1 */
    append_txn(&w, 1, 1);    /* 2 */
    end_txn(&w, 1, false);   /* 3 */
    end_txn(&w, 2, true);    /* 4 */
    append_plain(&w, 1, 20); /* 5 */
    append_txn(&w, 3, 0);    /* 6: open */
    assert_int_equal(offsets_of(&w).last_stable, 0);
    plog_advance_high_watermark(w.pl, 3);
    assert_int_equal(offsets_of(&w).last_stable,
                     0); /* its marker is not below the high watermark */
    plog_advance_high_watermark(w.pl, 4);
    assert_int_equal(offsets_of(&w).last_stable, 1); /* the other one's is not */
    check_transactions(&w);
    static const uint8_t entry[] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0,
                                    0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 1};
    char *bytes = get_file(&w, WORLD_LOG "00000000000000000000.txnindex", &len);
    assert_int_equal(len, sizeof(entry));
    assert_memory_equal(bytes, entry, len);
    mem_free(bytes);
    world_reopen(&w, true);
    check_transactions(&w);
    /* killed, without the file, and with garbage in it */
    for (int i = 0; i < 3; i++) {
        world_close(&w, i == 2);
        if (i == 1) {
            assert_int_equal(fs_unlink(w.env.fs, WORLD_LOG "00000000000000000000.txnindex"), 0);
        } else if (i == 2) {
            put_file(&w, WORLD_LOG "00000000000000000000.txnindex", "garbage", 7);
        }
        world_open(&w);
        check_transactions(&w);
    }
    assert_true(w.recovery.rebuilt_index);
    struct shape plain = producer_shape(3, 1, 1);
    assert_int_equal(refusal_of(&w, &plain), KAFKA_ERROR_INVALID_TXN_STATE);
    world_release(&w);
}

static void times_are_found_by_record(void **state)
{
    (void)state;
    struct world w;
    struct plog_position p;
    world_init(&w);
    w.config.segment_bytes = 2000;
    w.config.index_interval_bytes = 300;
    world_open(&w);
    for (int i = 0; i < 40; i++) {
        struct shape s = {
            .records = 3, .value_bytes = 30, .timestamp = 10000 + i * 100, .leader_epoch = 4};
        append_shape(&w, &s);
    }
    for (int is_reopened = 0; is_reopened < 2; is_reopened++) {
        for (int i = 0; i < 40; i++) {
            for (int k = 0; k < 4; k++) {
                assert_int_equal(plog_find_by_time(w.pl, 10000 + i * 100 + k, &p), 0);
                int64_t expected = i * 3 + k < 120 ? i * 3 + k : -1;
                assert_int_equal(p.offset, expected);
                assert_int_equal(p.leader_epoch, expected < 0 ? -1 : 4);
                assert_int_equal(p.timestamp, expected < 0 ? -1
                                              : k < 3      ? 10000 + i * 100 + k
                                                           : 10100 + i * 100);
            }
        }
        assert_int_equal(plog_find_by_time(w.pl, 0, &p), 0);
        assert_int_equal(p.offset, 0);
        assert_int_equal(plog_find_max_timestamp(w.pl, &p), 0);
        assert_int_equal(p.offset, 119);
        assert_int_equal(p.timestamp, 13902);
        world_reopen(&w, true);
    }
    plog_advance_high_watermark(w.pl, 120);
    assert_int_equal(plog_advance_log_start(w.pl, 50), 0);
    assert_int_equal(plog_find_by_time(w.pl, 0, &p), 0);
    assert_int_equal(p.offset, 50);
    world_release(&w);
}

static void an_empty_log_has_no_times(void **state)
{
    (void)state;
    struct world w;
    struct plog_position p;
    world_init(&w);
    world_open(&w);
    assert_int_equal(plog_find_by_time(w.pl, 0, &p), 0);
    assert_int_equal(p.offset, -1);
    assert_int_equal(plog_find_max_timestamp(w.pl, &p), 0);
    assert_int_equal(p.offset, -1);
    assert_int_equal(p.timestamp, -1);
    world_release(&w);
}

static void a_full_disk_refuses_and_recovers(void **state)
{
    (void)state;
    struct world w;
    int err;
    int64_t written;
    world_init(&w);
    world_open(&w);
    struct shape s = producer_shape(5, 0, 1);
    append_shape(&w, &s);
    flush_log(&w);
    int64_t used = simfs_used(w.disk);
    simfs_set_capacity(w.disk, used);
    for (int round = 0; round < 3; round++) {
        struct shape more = producer_shape(5, 1, 1);
        more.value_bytes = 5000;
        assert_int_equal(stage_shape(&w, &more, &err).base_offset, 1);
        struct shape another = producer_shape(6, 0, 1);
        assert_int_equal(stage_shape(&w, &another, &err).base_offset, 2);
        assert_int_equal(plog_write(w.pl, &written), -ENOSPC);
        struct plog_offsets o = offsets_of(&w);
        assert_int_equal(o.log_end, 1);
        assert_int_equal(o.written, 1);
        assert_false(plog_is_offline(w.pl));
        assert_int_equal(check_all_readable(&w), 1); /* reads go on */
        assert_int_equal(simfs_used(w.disk), used);  /* cut back to the last whole batch */
    }
    simfs_set_capacity(w.disk, 0);
    struct shape more = producer_shape(5, 1, 1);
    assert_int_equal(append_shape(&w, &more), 1); /* the sequence was not used up */
    struct shape another = producer_shape(6, 7, 1);
    assert_int_equal(append_shape(&w, &another), 2);
    world_reopen(&w, false);
    assert_int_equal(offsets_of(&w).log_end, 3);
    assert_int_equal(check_all_readable(&w), 3);
    world_release(&w);
}

static void a_long_write_in_pieces_shows_nothing_until_it_is_whole(void **state)
{
    (void)state;
    struct world w;
    enum kafka_error error;
    int err;
    int64_t written;
    world_init(&w);
    world_open(&w);
    append_plain(&w, 1, 10);
    flush_log(&w);
    struct shape s = {.records = 1, .value_bytes = 5000};
    int pieces = 0;
    IGNORE(stage_shape(&w, &s, &err).base_offset);
    while (plog_write_ahead(w.pl, 1500)) {
        if (++pieces == 2) {
            IGNORE(stage_shape(&w, &s, &err).base_offset); /* others may come meanwhile */
        }
        assert_int_equal(offsets_of(&w).written, 1);
        assert_int_equal(first_read(&w, 1, &error), -1);
    }
    assert_int_equal(pieces, 6);
    assert_int_equal(plog_write(w.pl, &written), 0);
    assert_int_equal(written, 3);
    flush_log(&w);
    assert_int_equal(check_all_readable(&w), 3);
    /* a disk that is full in the middle */
    int64_t used = simfs_used(w.disk);
    simfs_set_capacity(w.disk, used + 2000);
    IGNORE(stage_shape(&w, &s, &err).base_offset);
    assert_true(plog_write_ahead(w.pl, 1500));
    assert_false(plog_write_ahead(w.pl, 1500));
    assert_int_equal(plog_write(w.pl, &written), -ENOSPC);
    assert_int_equal(offsets_of(&w).log_end, 3);
    assert_int_equal(simfs_used(w.disk), used);
    simfs_set_capacity(w.disk, 0);
    assert_int_equal(append_shape(&w, &s), 3);
    /* killed in the middle */
    flush_log(&w);
    IGNORE(stage_shape(&w, &s, &err).base_offset);
    assert_true(plog_write_ahead(w.pl, 1500));
    world_reopen(&w, false);
    assert_int_equal(offsets_of(&w).log_end, 4);
    assert_int_equal(check_all_readable(&w), 4);
    assert_int_equal(append_shape(&w, &s), 4);
    world_release(&w);
}

static void a_flush_covers_the_old_segment_and_the_new_name(void **state)
{
    (void)state;
    struct world w;
    struct plog_flush f;
    int64_t flushed;
    world_init(&w);
    w.config.segment_bytes = 1000;
    world_open(&w);
    append_plain(&w, 1, 400);
    assert_true(plog_flush_begin(w.pl, &f));
    assert_true(f.needs_whole_fs); /* all names are new */
    int err = plog_flush_run(&f);
    plog_flush_end(&f, err, &flushed);
    assert_int_equal(flushed, 1);
    append_plain(&w, 1, 400);
    append_plain(&w, 1, 400); /* rolls */
    assert_true(plog_flush_begin(w.pl, &f));
    assert_false(f.needs_whole_fs);
    assert_int_equal(f.files_count, 2);
    assert_true(f.sync_dir);
    append_plain(&w, 1, 10); /* after the beginning: not covered */
    err = plog_flush_run(&f);
    plog_flush_end(&f, err, &flushed);
    assert_int_equal(flushed, 3);
    assert_true(plog_flush_begin(w.pl, &f));
    assert_int_equal(f.files_count, 1);
    assert_false(f.sync_dir);
    err = plog_flush_run(&f);
    plog_flush_end(&f, err, &flushed);
    assert_int_equal(flushed, 4);
    assert_false(plog_flush_begin(w.pl, &f));
    world_release(&w);
}

static void truncation_takes_back_batches_epochs_and_producers(void **state)
{
    (void)state;
    struct world w;
    int32_t epoch;
    int64_t end;
    world_init(&w);
    w.config.segment_bytes = 1000;
    w.config.index_interval_bytes = 100;
    world_open(&w);
    for (int i = 0; i < 12; i++) {
        struct shape s = producer_shape(5, i * 2, 2);
        s.value_bytes = 100;
        s.leader_epoch = i / 4;
        append_shape(&w, &s);
    }
    flush_log(&w);
    assert_int_equal(plog_truncate_to(w.pl, 24), 0); /* the end: nothing to do */
    assert_int_equal(offsets_of(&w).log_end, 24);
    assert_int_equal(plog_truncate_to(w.pl, 13), 0); /* in the middle of 12-13 */
    struct plog_offsets o = offsets_of(&w);
    assert_int_equal(o.log_end, 12);
    assert_int_equal(o.flushed, 12);
    plog_end_of_epoch(w.pl, 1, &epoch, &end);
    assert_int_equal(epoch, 1);
    assert_int_equal(end, 12);
    assert_int_equal(plog_latest_epoch(w.pl), 1);
    struct shape gap = producer_shape(5, 14, 2);
    assert_int_equal(refusal_of(&w, &gap), KAFKA_ERROR_OUT_OF_ORDER_SEQUENCE_NUMBER);
    struct shape next = producer_shape(5, 12, 2);
    next.leader_epoch = 7;
    assert_int_equal(append_shape(&w, &next), 12);
    assert_int_equal(check_all_readable(&w), 7);
    flush_log(&w);
    simfs_power_on(w.disk, 1, SIMFS_LOSE); /* nothing of the old end comes back */
    world_reopen(&w, false);
    assert_int_equal(offsets_of(&w).log_end, 14);
    assert_int_equal(check_all_readable(&w), 7);
    assert_int_equal(plog_truncate_to(w.pl, 0), 0);
    assert_int_equal(append_plain(&w, 1, 1), 0);
    world_release(&w);
}

static void a_reset_log_begins_where_it_is_told(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    w.config.segment_bytes = 500;
    world_open(&w);
    for (int i = 0; i < 9; i++) {
        append_plain(&w, 2, 100);
    }
    flush_log(&w);
    assert_int_equal(plog_reset_to(w.pl, 1000), 0);
    struct plog_offsets o = offsets_of(&w);
    assert_int_equal(o.log_start, 1000);
    assert_int_equal(o.log_end, 1000);
    assert_int_equal(append_plain(&w, 1, 10), 1000);
    flush_log(&w);
    simfs_power_on(w.disk, 1, SIMFS_LOSE);
    world_reopen(&w, false);
    assert_int_equal(offsets_of(&w).log_start, 1000);
    assert_int_equal(offsets_of(&w).log_end, 1001);
    world_release(&w);
}

static void a_follower_takes_batches_as_they_are(void **state)
{
    (void)state;
    struct world w;
    struct batch b;
    int64_t written;
    world_init(&w);
    world_open(&w);
    struct shape s = producer_shape(5, 0, 3);
    struct blob *blob = make_batch(&s, &b);
    batch_stamp_offset(blob->data, 100);
    batch_stamp_leader_epoch(blob->data, 9);
    assert_int_equal(plog_append_as_follower(w.pl, blob, blob->data, b.size), 0);
    assert_int_equal(plog_write(w.pl, &written), 0);
    assert_int_equal(written, 103);
    assert_int_equal(plog_latest_epoch(w.pl), 9);
    assert_int_equal(plog_epoch_of(w.pl, 100), 9);
    /* the same again does not continue the log; damage is found before anything is taken */
    assert_int_equal(plog_append_as_follower(w.pl, blob, blob->data, b.size), ERR_BAD_ARGUMENT);
    batch_stamp_offset(blob->data, 103);
    assert_int_equal(plog_append_as_follower(w.pl, blob, blob->data, b.size - 1), ERR_TRUNCATED);
    struct blob *spoilt = blob_new(b.size);
    memcpy(spoilt->data, blob->data, b.size);
    spoilt->data[b.size - 1] ^= 1;
    assert_int_equal(plog_append_as_follower(w.pl, spoilt, spoilt->data, b.size), ERR_CORRUPT);
    assert_false(plog_has_staged(w.pl));
    batch_stamp_offset(blob->data, INT64_MAX - 2);
    assert_int_equal(plog_append_as_follower(w.pl, blob, blob->data, b.size), ERR_BAD_ARGUMENT);
    /* of two batches none when the second is not good, or not behind the first */
    struct blob *two = blob_new(2 * b.size);
    batch_stamp_offset(blob->data, 103);
    memcpy(two->data, blob->data, b.size);
    memcpy(two->data + b.size, blob->data, b.size);
    assert_int_equal(plog_append_as_follower(w.pl, two, two->data, 2 * b.size), ERR_BAD_ARGUMENT);
    batch_stamp_offset(two->data + b.size, 110);
    two->data[2 * b.size - 1] ^= 1;
    assert_int_equal(plog_append_as_follower(w.pl, two, two->data, 2 * b.size), ERR_CORRUPT);
    assert_false(plog_has_staged(w.pl));
    two->data[2 * b.size - 1] ^= 1;
    assert_int_equal(plog_append_as_follower(w.pl, two, two->data, 2 * b.size), 0);
    assert_int_equal(plog_write(w.pl, &written), 0);
    assert_int_equal(written, 113);
    blob_unref(two);
    blob_unref(blob);
    blob_unref(spoilt);
    world_release(&w);
}

static void no_wait_answers_again_for_what_is_not_checked(void **state)
{
    (void)state;
    struct world w;
    struct plog_read_result rr;
    enum kafka_error error;
    struct rope rope;
    world_init(&w);
    world_open(&w);
    for (int i = 0; i < 50; i++) {
        append_plain(&w, 1, 100);
    }
    world_reopen(&w, true);
    /* a flipped bit in a cleanly closed log */
    assert_int_equal(simfs_corrupt(w.disk, WORLD_LOG "00000000000000000000.log", 300, "\xff", 1),
                     0);
    struct plog_read how = {.offset = 1,
                            .max_bytes = 1000,
                            .bound = PLOG_TO_LOG_END,
                            .no_wait = true,
                            .at_least_one = true};
    rope_init(&rope);
    assert_int_equal(plog_read(w.pl, &how, &rope, &rr, &error), -EAGAIN);
    assert_int_equal(rope.bytes, 0);
    plog_warm(w.pl, 1, 1000);
    assert_int_equal(plog_read(w.pl, &how, &rope, &rr, &error), 0);
    assert_int_equal(error, KAFKA_ERROR_CORRUPT_MESSAGE);
    how.offset = 2;
    assert_int_equal(plog_read(w.pl, &how, &rope, &rr, &error), 0);
    assert_int_equal(error, KAFKA_ERROR_NONE);
    assert_true(rr.bytes > 0);
    rope_release(&rope);
    world_release(&w);
}

static void append_time_is_stamped(void **state)
{
    (void)state;
    struct world w;
    struct plog_read_result rr;
    enum kafka_error error;
    struct batch b;
    int err;
    int64_t written;
    world_init(&w);
    w.config.rules.is_log_append_time = true;
    world_open(&w);
    struct shape s = {.records = 2, .value_bytes = 5, .timestamp = 77};
    struct plog_append_result r = stage_shape(&w, &s, &err);
    assert_int_equal(r.append_time_ms, clock_now_ms(w.env.clock));
    assert_int_equal(plog_write(w.pl, &written), 0);
    struct plog_read how = {.max_bytes = 1, .bound = PLOG_TO_LOG_END, .at_least_one = true};
    uint8_t *bytes = read_bytes(&w, &how, &rr, &error);
    assert_int_equal(batch_peek(bytes, rr.bytes, &b), 0);
    assert_true(batch_crc_is_good(&b));
    assert_int_equal(b.max_timestamp, clock_now_ms(w.env.clock));
    assert_int_equal(b.attributes & BATCH_LOG_APPEND_TIME, BATCH_LOG_APPEND_TIME);
    mem_free(bytes);
    struct plog_position p;
    assert_int_equal(plog_find_by_time(w.pl, 78, &p), 0);
    assert_int_equal(p.offset, 0);
    assert_int_equal(p.timestamp, clock_now_ms(w.env.clock));
    world_release(&w);
}

static void preallocated_files_are_trimmed(void **state)
{
    (void)state;
    struct world w;
    struct fs_stat st;
    world_init(&w);
    w.config.preallocate = true;
    w.config.segment_bytes = 100000;
    world_open(&w);
    append_plain(&w, 1, 50);
    assert_int_equal(fs_stat(w.env.fs, WORLD_LOG "00000000000000000000.log", &st), 0);
    assert_int_equal(st.size, 100000);
    world_reopen(&w, false); /* zeros are a torn tail */
    assert_int_equal(offsets_of(&w).log_end, 1);
    assert_int_equal(append_plain(&w, 1, 50), 1);
    world_close(&w, true);
    assert_int_equal(fs_stat(w.env.fs, WORLD_LOG "00000000000000000000.log", &st), 0);
    assert_true(st.size < 1000);
    world_open(&w);
    assert_int_equal(check_all_readable(&w), 2);
    world_release(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_log_makes_its_directory_and_no_more),
        cmocka_unit_test(a_directory_of_another_topic_is_refused),
        cmocka_unit_test(appends_get_offsets_and_are_read_back),
        cmocka_unit_test(a_batch_is_stamped_with_offset_and_epoch),
        cmocka_unit_test(staged_batches_are_one_write),
        cmocka_unit_test(segments_roll_by_size_and_by_time),
        cmocka_unit_test(one_read_is_from_one_segment_and_of_whole_batches),
        cmocka_unit_test(reads_stop_at_their_bound),
        cmocka_unit_test(a_duplicate_answers_with_the_original),
        cmocka_unit_test(what_its_producer_refuses_begins_a_segment_first),
        cmocka_unit_test(aborted_transactions_are_listed_and_open_ones_hold_back),
        cmocka_unit_test(times_are_found_by_record),
        cmocka_unit_test(an_empty_log_has_no_times),
        cmocka_unit_test(a_full_disk_refuses_and_recovers),
        cmocka_unit_test(a_long_write_in_pieces_shows_nothing_until_it_is_whole),
        cmocka_unit_test(a_flush_covers_the_old_segment_and_the_new_name),
        cmocka_unit_test(truncation_takes_back_batches_epochs_and_producers),
        cmocka_unit_test(a_reset_log_begins_where_it_is_told),
        cmocka_unit_test(a_follower_takes_batches_as_they_are),
        cmocka_unit_test(no_wait_answers_again_for_what_is_not_checked),
        cmocka_unit_test(append_time_is_stamped),
        cmocka_unit_test(preallocated_files_are_trimmed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
