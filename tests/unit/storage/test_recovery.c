/*
 * Opening what a crash, a hand or Kafka left behind. Method: a log is written, its files are cut,
 * spoilt, removed or replaced, each in every way that is cheap to try (each byte of the tail, each
 * bit of a batch, each side file), and what opens must serve every batch that is still good and
 * nothing else. The directories in data/ were written by Kafka 4.4.0; their expected content stands
 * here as numbers.
 */
#include "storage_world.h"

#include "storage/side_file.h"

#include <dirent.h>

#define LOG_0   WORLD_LOG "00000000000000000000.log"
#define INDEX_0 WORLD_LOG "00000000000000000000.index"

static const char *tests_dir;

static void write_ten(struct world *w)
{
    world_init(w);
    w->config.index_interval_bytes = 200;
    world_open(w);
    for (int i = 0; i < 10; i++) {
        struct shape s = {.records = 2,
                          .value_bytes = 40,
                          .timestamp = 1000 + i,
                          .has_producer = true,
                          .producer_id = 3,
                          .sequence = i * 2,
                          .leader_epoch = i / 5};
        append_shape(w, &s);
    }
}

/* Positions where the batches of the file begin, and its end. */
static size_t boundaries(const char *bytes, size_t len, size_t *ret, size_t max)
{
    size_t count = 0;
    size_t at = 0;
    while (at < len) {
        struct batch b;
        assert_int_equal(batch_peek(bytes + at, len - at, &b), 0);
        assert_true(count + 1 < max);
        ret[count++] = at;
        at += b.size;
    }
    ret[count] = at;
    return count;
}

static void a_tail_torn_at_any_byte_is_cut(void **state)
{
    (void)state;
    struct world w;
    size_t len;
    size_t at[32];
    write_ten(&w);
    world_close(&w, false);
    char *bytes = get_file(&w, LOG_0, &len);
    size_t count = boundaries(bytes, len, at, ARRAY_LEN(at));
    for (size_t cut = at[count - 3]; cut <= len; cut++) {
        size_t whole = 0;
        while (whole < count && at[whole + 1] <= cut) {
            whole++;
        }
        put_file(&w, LOG_0, bytes, cut);
        world_open(&w);
        assert_int_equal(offsets_of(&w).log_end, whole * 2);
        assert_int_equal(w.recovery.cut_bytes, cut - at[whole]);
        assert_int_equal(w.recovery.holes, 0);
        assert_int_equal(check_all_readable(&w), whole);
        struct shape next = {.records = 1,
                             .value_bytes = 1,
                             .has_producer = true,
                             .producer_id = 3,
                             .sequence = (int32_t)whole * 2,
                             .leader_epoch = 1};
        assert_int_equal(append_shape(&w, &next), whole * 2);
        world_close(&w, false);
    }
    mem_free(bytes);
    world_release(&w);
}

static void zeros_behind_the_last_batch_are_cut(void **state)
{
    (void)state;
    struct world w;
    size_t len;
    write_ten(&w);
    world_close(&w, false);
    char *bytes = get_file(&w, LOG_0, &len);
    char *longer = mem_zalloc(len + 300000);
    memcpy(longer, bytes, len);
    put_file(&w, LOG_0, longer, len + 300000);
    world_open(&w);
    assert_int_equal(offsets_of(&w).log_end, 20);
    assert_int_equal(w.recovery.cut_bytes, 300000);
    assert_int_equal(w.recovery.torn_bytes, 0); /* room that nothing used */
    world_close(&w, false);
    longer[len + 99] = 1; /* the first bytes of a batch, and room behind them */
    put_file(&w, LOG_0, longer, len + 300000);
    world_open(&w);
    assert_int_equal(w.recovery.cut_bytes, 300000);
    assert_int_equal(w.recovery.torn_bytes, 100);
    mem_free(bytes);
    mem_free(longer);
    world_release(&w);
}

/* With batch 3 of 10 (offsets 6-7) spoilt: it alone answers CORRUPT_MESSAGE. */
static void check_hole(struct world *w, size_t damaged)
{
    for (int64_t offset = 0; offset < 20; offset++) {
        enum kafka_error error;
        int64_t base = first_read(w, offset, &error);
        if (offset / 2 == to_i64(damaged)) {
            assert_int_equal(error, KAFKA_ERROR_CORRUPT_MESSAGE);
        } else {
            assert_int_equal(error, KAFKA_ERROR_NONE);
            assert_int_equal(base, offset - offset % 2);
        }
    }
    struct plog_read how = {.max_bytes = 100000, .bound = PLOG_TO_LOG_END, .at_least_one = true};
    struct plog_read_result rr;
    enum kafka_error error;
    struct batch b;
    uint8_t *bytes = read_bytes(w, &how, &rr, &error); /* stops before the hole */
    for (size_t at = 0; at < rr.bytes && damaged > 0; at += b.size) {
        assert_int_equal(batch_peek(bytes + at, rr.bytes - at, &b), 0);
        assert_true(batch_crc_is_good(&b));
        assert_true(b.base_offset < to_i64(damaged) * 2);
    }
    mem_free(bytes);
}

static void each_flipped_bit_makes_a_hole_and_no_more(void **state)
{
    (void)state;
    struct world w;
    size_t len;
    size_t at[32];
    write_ten(&w);
    flush_log(&w);
    world_close(&w, true);
    char *bytes = get_file(&w, LOG_0, &len);
    boundaries(bytes, len, at, ARRAY_LEN(at));
    for (size_t bit = at[3] * 8; bit < at[4] * 8; bit++) {
        size_t in_batch = bit / 8 - at[3];
        if (in_batch >= 12 && in_batch < 16) {
            continue; /* the leader epoch is not under the CRC */
        }
        char *spoilt = mem_alloc(len);
        memcpy(spoilt, bytes, len);
        spoilt[bit / 8] = (char)((unsigned char)spoilt[bit / 8] ^ (1u << (bit % 8)));
        put_file(&w, LOG_0, spoilt, len);
        mem_free(spoilt);
        for (unsigned is_clean = 0; is_clean < 2; is_clean++) {
            w.how.flags = PLOG_CREATE | (is_clean != 0 ? PLOG_CLEAN : 0u);
            world_open(&w);
            assert_int_equal(offsets_of(&w).log_end, 20);
            /* The base offset is not under the CRC either: it is wrong where it cannot stand. */
            check_hole(&w, 3);
            assert_int_equal(w.recovery.holes, is_clean != 0 ? 0 : 1);
            world_close(&w, false);
        }
    }
    mem_free(bytes);
    world_release(&w);
}

/* Is anything different that a check can see: all but the leader epoch. */
static bool is_spoilt(const char *before, const char *after, size_t from, size_t to)
{
    return memcmp(before + from, after + from, 12) != 0 ||
           memcmp(before + from + 16, after + from + 16, to - from - 16) != 0;
}

static void a_window_of_damage_costs_only_what_it_covers(void **state)
{
    (void)state;
    struct world w;
    size_t len;
    size_t at[32];
    static const uint8_t fills[] = {0x00, 0xff, 0x02};
    write_ten(&w);
    flush_log(&w);
    world_close(&w, true);
    char *bytes = get_file(&w, LOG_0, &len);
    boundaries(bytes, len, at, ARRAY_LEN(at));
    for (size_t from = 0; from < at[8]; from += 37) {
        for (size_t size = 64; size <= 512; size *= 2) {
            char *spoilt = mem_alloc(len);
            memcpy(spoilt, bytes, len);
            size_t to = min_size(from + size, at[9]); /* the last batch stays good */
            memset(spoilt + from, fills[from % 3], to - from);
            put_file(&w, LOG_0, spoilt, len);
            w.how.flags = PLOG_CREATE | (from % 2 == 0 ? PLOG_CLEAN : 0u);
            world_open(&w);
            assert_int_equal(offsets_of(&w).log_end, 20);
            for (size_t i = 0; i < 10; i++) {
                enum kafka_error error;
                bool is_hit = is_spoilt(bytes, spoilt, at[i], at[i + 1]);
                int64_t base = first_read(&w, to_i64(i) * 2, &error);
                assert_int_equal(error, is_hit ? KAFKA_ERROR_CORRUPT_MESSAGE : KAFKA_ERROR_NONE);
                assert_int_equal(base, is_hit ? -2 : to_i64(i) * 2);
            }
            world_close(&w, false);
            mem_free(spoilt);
        }
    }
    mem_free(bytes);
    world_release(&w);
}

static void damage_at_the_end_of_a_clean_log_keeps_its_end(void **state)
{
    (void)state;
    struct world w;
    size_t len;
    size_t at[32];
    enum kafka_error error;
    write_ten(&w);
    flush_log(&w);
    world_close(&w, true);
    char *bytes = get_file(&w, LOG_0, &len);
    boundaries(bytes, len, at, ARRAY_LEN(at));
    bytes[at[9] + 80] ^= 1;
    put_file(&w, LOG_0, bytes, len);
    world_open(&w);
    assert_int_equal(offsets_of(&w).log_end, 20); /* its offsets were given out */
    assert_int_equal(first_read(&w, 18, &error), -2);
    assert_int_equal(error, KAFKA_ERROR_CORRUPT_MESSAGE);
    assert_int_equal(first_read(&w, 16, &error), 16);
    assert_int_equal(append_plain(&w, 1, 5), 20);
    assert_int_equal(first_read(&w, 20, &error), 20);
    mem_free(bytes);
    world_release(&w);
}

static void damage_in_an_old_segment_does_not_cost_the_new_ones(void **state)
{
    (void)state;
    struct world w;
    size_t len;
    enum kafka_error error;
    world_init(&w);
    w.config.segment_bytes = 600;
    world_open(&w);
    for (int i = 0; i < 9; i++) {
        append_plain(&w, 1, 100); /* three in a segment */
    }
    world_close(&w, false);
    char *bytes = get_file(&w, WORLD_LOG "00000000000000000003.log", &len);
    put_file(&w, WORLD_LOG "00000000000000000003.log", bytes,
             len - 10); /* its last batch is torn */
    world_open(&w);
    assert_int_equal(w.recovery.holes, 1);
    assert_int_equal(w.recovery.cut_bytes, 0);
    assert_int_equal(offsets_of(&w).log_end, 9);
    for (int64_t offset = 0; offset < 9; offset++) {
        int64_t base = first_read(&w, offset, &error);
        assert_int_equal(base, offset == 5 ? -2 : offset);
    }
    mem_free(bytes);
    world_release(&w);
}

/* Six segments with three batches each of one record; what opens after this was done to the second
 * one. */
static void open_with_second_segment(struct world *w, bool is_clean, size_t batches, size_t bytes)
{
    size_t len;
    size_t at[8];
    world_init(w);
    w->config.segment_bytes = 600;
    w->config.index_interval_bytes = 150;
    world_open(w);
    for (int i = 0; i < 18; i++) {
        struct shape s = {.records = 1, .value_bytes = 100, .timestamp = 1000 + i};
        append_shape(w, &s);
    }
    flush_log(w);
    world_close(w, true);
    w->how.flags = PLOG_CREATE | (is_clean ? PLOG_CLEAN : 0u);
    w->how.recovery_point = is_clean ? 0 : 18;
    char *file = get_file(w, WORLD_LOG "00000000000000000003.log", &len);
    assert_int_equal(boundaries(file, len, at, ARRAY_LEN(at)), 3);
    put_file(w, WORLD_LOG "00000000000000000003.log", file, at[batches] + bytes);
    mem_free(file);
}

static void a_segment_that_lost_its_end_has_a_hole_there(void **state)
{
    (void)state;
    for (size_t lost = 0; lost < 12; lost++) {
        struct world w;
        enum kafka_error error;
        size_t batches = lost % 3;
        /* What the last entry of the index names is there in part: only reading it tells. */
        bool is_seen = batches < 2 || lost < 6;
        open_with_second_segment(&w, lost % 2 == 0, batches, lost < 6 ? 0 : 50);
        for (int life = 0; life < 2; life++) {
            world_open(&w);
            assert_int_equal(w.recovery.holes, is_seen);
            assert_int_equal(w.recovery.cut_bytes, 0);
            assert_int_equal(offsets_of(&w).log_end, 18);
            for (int64_t offset = 0; offset < 18; offset++) {
                bool is_lost = offset >= 3 + to_i64(batches) && offset < 6;
                assert_int_equal(first_read(&w, offset, &error), is_lost ? -2 : offset);
                assert_int_equal(error, is_lost ? KAFKA_ERROR_CORRUPT_MESSAGE : KAFKA_ERROR_NONE);
            }
            unsigned flags = w.how.flags;
            world_close(&w, true);
            w.how.flags = flags;
        }
        world_release(&w);
    }
}

static void offsets_that_no_index_names_are_no_damage(void **state)
{
    (void)state;
    for (size_t is_clean = 0; is_clean < 2; is_clean++) {
        struct world w;
        enum kafka_error error;
        open_with_second_segment(&w, is_clean == 1, 0, 0); /* all of it was compacted away */
        put_file(&w, WORLD_LOG "00000000000000000003.index", "", 0);
        put_file(&w, WORLD_LOG "00000000000000000003.timeindex", "", 0);
        world_open(&w);
        assert_int_equal(w.recovery.holes, 0);
        for (int64_t offset = 0; offset < 18; offset++) {
            bool is_gap = offset >= 3 && offset < 6;
            assert_int_equal(first_read(&w, offset, &error), is_gap ? 6 : offset);
        }
        world_release(&w);
    }
}

static void a_recovery_point_bounds_the_scan(void **state)
{
    (void)state;
    struct world w;
    int64_t point;
    world_init(&w);
    w.config.segment_bytes = 5000;
    w.config.index_interval_bytes = 500;
    world_open(&w);
    for (int i = 0; i < 100; i++) {
        append_plain(&w, 1, 200);
    }
    assert_int_equal(plog_checkpoint(w.pl, &point), 0);
    assert_int_equal(point, 100);
    assert_int_equal(plog_uncheckpointed_bytes(w.pl), 0);
    assert_int_equal(offsets_of(&w).flushed, 100);
    append_plain(&w, 1, 200);
    append_plain(&w, 1, 200);
    world_close(&w, false);
    w.how.recovery_point = point;
    world_open(&w);
    assert_int_equal(offsets_of(&w).log_end, 102);
    assert_int_equal(offsets_of(&w).flushed, 100);
    assert_true(w.recovery.scanned_bytes >= 2 * 200 && w.recovery.scanned_bytes < 2000);
    assert_int_equal(check_all_readable(&w), 102);
    assert_int_equal(plog_checkpoint(w.pl, &point), 0);
    assert_int_equal(point, 102);
    /* a stale one and one beyond the end are safe */
    static const int64_t points[] = {0, 37, 99, 100000};
    for (size_t i = 0; i < ARRAY_LEN(points); i++) {
        world_close(&w, false);
        w.how.recovery_point = points[i];
        world_open(&w);
        assert_int_equal(offsets_of(&w).log_end, 102);
        assert_int_equal(check_all_readable(&w), 102);
    }
    world_release(&w);
}

/* Index files are made with their first entry. Whether one is lost is told by the entries that the
 * log must have had below its recovery point. */
static void a_log_too_small_for_an_index_has_lost_none(void **state)
{
    (void)state;
    for (int batches = 1; batches <= 9; batches += 4) {
        struct world w;
        int64_t point;
        bool is_small = batches < 5;
        world_init(&w);
        w.config.index_interval_bytes = 500;
        world_open(&w);
        for (int i = 0; i < batches; i++) {
            append_plain(&w, 1, 200);
        }
        assert_int_equal(plog_checkpoint(w.pl, &point), 0);
        assert_int_equal(point, batches);
        assert_int_equal(fs_unlink(w.env.fs, INDEX_0), is_small ? -ENOENT : 0);
        append_plain(&w, 1, 20);
        world_close(&w, false);
        w.how.recovery_point = point;
        world_open(&w);
        assert_int_equal(offsets_of(&w).log_end, batches + 1);
        assert_int_equal(w.recovery.rebuilt_index, !is_small);
        assert_int_equal(check_all_readable(&w), batches + 1);
        world_release(&w);
    }
}

/* Nothing below the recovery point is scanned, and no later start looks there again: what an index
 * says of records that are gone (or zeros, of room that nothing used) must not outlive a power cut
 * once the log goes on in another segment. */
static void index_entries_of_what_is_lost_go_for_good(void **state)
{
    (void)state;
    static const char zeros[32];
    for (int is_zeros = 0; is_zeros <= 1; is_zeros++) {
        struct world w;
        size_t len;
        size_t index_len;
        size_t at[32];
        int64_t point;
        struct fs_file *f;
        write_ten(&w);
        assert_int_equal(plog_checkpoint(w.pl, &point), 0);
        world_close(&w, false);
        char *bytes = get_file(&w, LOG_0, &len);
        char *index = get_file(&w, INDEX_0, &index_len);
        boundaries(bytes, len, at, ARRAY_LEN(at));
        size_t end = is_zeros == 1 ? len : at[5];
        size_t kept = 0;
        while (kept < index_len && load_be32(index + kept + 4) < end) {
            kept += 8;
        }
        assert_true(kept > 0 && (kept < index_len) == (is_zeros == 0));
        put_file(&w, LOG_0, bytes, end);
        if (is_zeros == 1) {
            assert_int_equal(fs_open(w.env.fs, INDEX_0, FS_WRITE, &f), 0);
            assert_int_equal(fs_pwrite(f, zeros, sizeof(zeros), to_i64(kept)), 0);
            fs_file_unref(f);
        }
        assert_int_equal(fs_sync_all(w.env.fs, WORLD_DIR), 0);
        w.how.recovery_point = is_zeros == 1 ? 20 : 10;
        world_open(&w);
        assert_int_equal(offsets_of(&w).log_end, w.how.recovery_point);
        world_close(&w, false);
        simfs_power_off(w.disk);
        simfs_power_on(w.disk, 1, SIMFS_LOSE);
        mem_free(index);
        index = get_file(&w, INDEX_0, &index_len);
        assert_int_equal(index_len, kept);
        mem_free(index);
        mem_free(bytes);
        world_release(&w);
    }
}

static void side_files_that_can_be_rebuilt_are_rebuilt(void **state)
{
    (void)state;
    static const char *const names[] = {
        "00000000000000000000.index",    "00000000000000000000.timeindex",
        "00000000000000000000.txnindex", "00000000000000000020.snapshot",
        "leader-epoch-checkpoint",       "partition.metadata"};
    static const struct {
        const char *bytes;
        size_t len;
        bool is_absent;
    } contents[] = {{"", 0, true},
                    {"", 0, false},
                    {"garbage", 7, false},
                    {"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 12, false},
                    {"\0\0\0\5\0\0\0\x21\0\0\0\7\0\0\0\x99\0\0\0\0\0\0\0\x01", 24, false}};
    struct world w;
    write_ten(&w);
    for (size_t n = 0; n < ARRAY_LEN(names); n++) {
        for (size_t c = 0; c < ARRAY_LEN(contents) * 2; c++) {
            struct log_path path;
            struct plog_position p;
            bool is_clean = c % 2 == 0;
            flush_log(&w);
            world_close(&w, true);
            w.how.recovery_point = is_clean ? 0 : 20;
            w.how.flags = PLOG_CREATE | (is_clean ? PLOG_CLEAN : 0u);
            log_path_join(&path, "data/t-0", names[n]);
            if (contents[c / 2].is_absent) {
                IGNORE(fs_unlink(w.env.fs, path.text));
            } else {
                put_file(&w, path.text, contents[c / 2].bytes, contents[c / 2].len);
            }
            world_open(&w);
            bool is_bad_snapshot = n == 3 && !contents[c / 2].is_absent;
            assert_int_equal(w.recovery.rebuilt_producer_state, is_bad_snapshot);
            assert_int_equal(offsets_of(&w).log_end, 20);
            assert_int_equal(check_all_readable(&w), 10);
            assert_int_equal(plog_latest_epoch(w.pl), 1);
            assert_int_equal(plog_epoch_of(w.pl, 9), 0);
            assert_int_equal(plog_epoch_of(w.pl, 10), 1);
            assert_int_equal(plog_find_by_time(w.pl, 1005, &p), 0);
            assert_int_equal(p.offset, 9);
            assert_int_equal(plog_find_max_timestamp(w.pl, &p), 0);
            assert_int_equal(p.offset, 19);
            struct shape last = {.records = 2,
                                 .value_bytes = 40,
                                 .timestamp = 1009,
                                 .has_producer = true,
                                 .producer_id = 3,
                                 .sequence = 18};
            int err;
            assert_true(stage_shape(&w, &last, &err).is_duplicate);
            assert_true(uuid_equal(plog_topic_id(w.pl), &w.how.topic_id));
        }
    }
    world_release(&w);
}

static void snapshots_beyond_the_end_are_not_believed(void **state)
{
    (void)state;
    struct world w;
    size_t len;
    size_t at[32];
    write_ten(&w);
    world_close(&w, true);
    assert_true(has_file(&w, WORLD_LOG "00000000000000000020.snapshot"));
    char *bytes = get_file(&w, LOG_0, &len);
    boundaries(bytes, len, at, ARRAY_LEN(at));
    put_file(&w, LOG_0, bytes, at[6]);
    mem_free(bytes);
    w.how.flags = PLOG_CREATE;
    w.how.recovery_point = 20;
    world_open(&w);
    assert_int_equal(offsets_of(&w).log_end, 12);
    assert_false(has_file(&w, WORLD_LOG "00000000000000000020.snapshot"));
    struct shape next = {
        .records = 1, .value_bytes = 1, .has_producer = true, .producer_id = 3, .sequence = 12};
    assert_int_equal(append_shape(&w, &next), 12);
    world_release(&w);
}

static void a_log_below_its_start_begins_anew_there(void **state)
{
    (void)state;
    struct world w;
    size_t len;
    write_ten(&w);
    world_close(&w, false);
    mem_free(get_file(&w, LOG_0, &len));
    w.how.log_start = 500;
    world_open(&w);
    assert_int_equal(w.recovery.below_start_bytes, len);
    assert_int_equal(w.recovery.cut_bytes, 0);
    assert_int_equal(offsets_of(&w).log_start, 500);
    assert_int_equal(offsets_of(&w).log_end, 500);
    assert_false(has_file(&w, LOG_0));
    world_release(&w);
}

/* --- what compactions and deletions leave ----------------------------------------------------- */

static void copy(struct world *w, const char *from, const char *to)
{
    size_t len;
    char *bytes = get_file(w, from, &len);
    put_file(w, to, bytes, len);
    mem_free(bytes);
}

static void interrupted_compactions_are_finished_or_undone(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    w.config.segment_bytes = 600;
    world_open(&w);
    for (int i = 0; i < 9; i++) {
        append_plain(&w, 1, 100); /* 0-2, 3-5, 6-8 */
    }
    world_close(&w, true);
    /* deleted, cleaned, replaced files that never got their name */
    copy(&w, WORLD_LOG "00000000000000000000.log", WORLD_LOG "00000000000000000001.log.deleted");
    copy(&w, WORLD_LOG "00000000000000000000.log", WORLD_LOG "00000000000000000000.log.cleaned");
    put_file(&w, WORLD_LOG "leader-epoch-checkpoint.tmp", "x", 1);
    /* a swap at or beyond a .cleaned is not complete */
    copy(&w, WORLD_LOG "00000000000000000000.log", WORLD_LOG "00000000000000000000.log.swap");
    world_open(&w);
    assert_int_equal(check_all_readable(&w), 9);
    assert_false(has_file(&w, WORLD_LOG "00000000000000000001.log.deleted"));
    assert_false(has_file(&w, WORLD_LOG "00000000000000000000.log.cleaned"));
    assert_false(has_file(&w, WORLD_LOG "00000000000000000000.log.swap"));
    assert_false(has_file(&w, WORLD_LOG "leader-epoch-checkpoint.tmp"));
    world_close(&w, true);
    /* a complete swap takes the place of what it covers: here 0-5 by its first batch and batch 5 */
    size_t len_a;
    size_t len_b;
    char *a = get_file(&w, WORLD_LOG "00000000000000000000.log", &len_a);
    char *b = get_file(&w, WORLD_LOG "00000000000000000003.log", &len_b);
    size_t one = len_a / 3;
    char *swap = mem_alloc(2 * one);
    memcpy(swap, a, one);
    memcpy(swap + one, b + 2 * one, one);
    put_file(&w, WORLD_LOG "00000000000000000000.log.swap", swap, 2 * one);
    mem_free(a);
    mem_free(b);
    mem_free(swap);
    world_open(&w);
    assert_false(has_file(&w, WORLD_LOG "00000000000000000003.log"));
    assert_false(has_file(&w, WORLD_LOG "00000000000000000000.log.swap"));
    enum kafka_error error;
    assert_int_equal(first_read(&w, 0, &error), 0);
    assert_int_equal(first_read(&w, 1, &error), 5); /* compacted away: the next one */
    assert_int_equal(first_read(&w, 6, &error), 6);
    assert_int_equal(offsets_of(&w).log_end, 9);
    world_release(&w);
}

static void orphaned_index_files_are_removed(void **state)
{
    (void)state;
    struct world w;
    write_ten(&w);
    world_close(&w, true);
    put_file(&w, WORLD_LOG "00000000000000000777.index", "12345678", 8);
    world_open(&w);
    assert_int_equal(offsets_of(&w).log_end, 20);
    assert_false(has_file(&w, WORLD_LOG "00000000000000000777.index"));
    world_release(&w);
}

/* --- Kafka's directories ---------------------------------------------------------------------- */

/* Copies a directory of the real file system onto the simulated disk. */
static void load_golden(struct world *w, const char *name)
{
    char from[4096];
    char to[512];
    snprintf(from, sizeof(from), "%s/unit/storage/data/%s", tests_dir, name);
    snprintf(to, sizeof(to), WORLD_DIR "/%s", name);
    assert_int_equal(fs_mkdir(w->env.fs, to), 0);
    DIR *dir = opendir(from);
    assert_non_null(dir);
    struct dirent *entry;
    while ((entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] == '.') {
            continue;
        }
        snprintf(from, sizeof(from), "%s/unit/storage/data/%s/%s", tests_dir, name, entry->d_name);
        snprintf(to, sizeof(to), WORLD_DIR "/%s/%s", name, entry->d_name);
        FILE *f = fopen(from, "rb");
        assert_non_null(f);
        static char bytes[1 << 16];
        size_t len = fread(bytes, 1, sizeof(bytes), f);
        fclose(f);
        put_file(w, to, bytes, len);
    }
    closedir(dir);
}

/* Index files as a killed Kafka leaves them: ten mebibytes of zeros behind the entries. */
static void preallocate(struct world *w, const char *path, size_t size)
{
    size_t len;
    char *bytes = get_file(w, path, &len);
    char *longer = mem_zalloc(size);
    memcpy(longer, bytes, len);
    put_file(w, path, longer, size);
    mem_free(bytes);
    mem_free(longer);
}

static void kafkas_rolled_log_opens(void **state)
{
    (void)state;
    for (unsigned is_clean = 0; is_clean < 2; is_clean++) {
        struct world w;
        struct plog_position p;
        world_init(&w);
        load_golden(&w, "rolled-0");
        if (is_clean == 0) {
            preallocate(&w, "data/rolled-0/00000000000000000032.index", 10485760);
            preallocate(&w, "data/rolled-0/00000000000000000032.timeindex", 10485756);
        }
        w.how.topic = STR("rolled");
        w.how.topic_id = (struct uuid){{0}};
        w.how.flags = is_clean != 0 ? PLOG_CLEAN : 0u;
        w.how.recovery_point = is_clean != 0 ? 40 : 0;
        world_open(&w);
        assert_int_equal(offsets_of(&w).log_end, 40);
        assert_int_equal(w.recovery.holes + w.recovery.cut_bytes, 0);
        assert_false(w.recovery.rebuilt_index);
        assert_int_equal(w.recovery.scanned_bytes > 0, is_clean == 0);
        check_all_readable(&w);
        assert_int_equal(plog_latest_epoch(w.pl), 2);
        assert_int_equal(plog_epoch_of(w.pl, 39), 0);
        assert_int_equal(plog_find_max_timestamp(w.pl, &p), 0);
        assert_int_equal(p.offset, 39);
        char id[UUID_TEXT_SIZE];
        uuid_print(plog_topic_id(w.pl), id);
        assert_string_equal(id, "AtLxpkIVQCyeKxK16nOUag");
        assert_int_equal(append_plain(&w, 1, 10), 40);
        world_release(&w);
    }
}

static void kafkas_transactions_are_seen_in_its_log(void **state)
{
    (void)state;
    for (unsigned is_clean = 0; is_clean < 2; is_clean++) {
        struct world w;
        struct arena arena = {0};
        struct plog_read_result rr;
        enum kafka_error error;
        world_init(&w);
        w.config.producer_id_expiration_ms = INT64_MAX;
        load_golden(&w, "txn-a-0");
        w.how.topic = STR("txn-a");
        w.how.topic_id = (struct uuid){{0}};
        w.how.flags = is_clean != 0 ? PLOG_CLEAN : 0u;
        if (is_clean == 0) {
            assert_int_equal(fs_unlink(w.env.fs, "data/txn-a-0/00000000000000000003.txnindex"), 0);
        }
        world_open(&w);
        plog_advance_high_watermark(w.pl, 16);
        assert_int_equal(offsets_of(&w).log_end, 16);
        assert_int_equal(offsets_of(&w).last_stable, 16);
        struct plog_read how = {.offset = 3,
                                .max_bytes = 100000,
                                .bound = PLOG_TO_LAST_STABLE,
                                .at_least_one = true,
                                .arena = &arena};
        mem_free(read_bytes(&w, &how, &rr, &error));
        assert_int_equal(rr.aborted_count, 2);
        assert_int_equal(rr.aborted[0].producer_id, 2);
        assert_int_equal(rr.aborted[0].first_offset, 4);
        assert_int_equal(rr.aborted[1].producer_id, 4);
        assert_int_equal(rr.aborted[1].first_offset, 12);
        struct plog_producer *producers;
        int32_t count;
        plog_producers(w.pl, &arena, &producers, &count);
        assert_int_equal(count, 4);
        for (int32_t i = 0; i < count; i++) {
            assert_int_equal(producers[i].current_txn_start, -1);
            assert_int_equal(producers[i].last_sequence, 2);
        }
        arena_release(&arena);
        world_release(&w);
    }
}

static void kafkas_trimmed_log_starts_within_a_batch(void **state)
{
    (void)state;
    struct world w;
    enum kafka_error error;
    world_init(&w);
    load_golden(&w, "trimmed-0");
    w.how.topic = STR("trimmed");
    w.how.topic_id = (struct uuid){{0}};
    w.how.flags = PLOG_CLEAN;
    w.how.log_start = 12;
    w.how.high_watermark = 40;
    w.how.recovery_point = 40;
    world_open(&w);
    assert_int_equal(offsets_of(&w).log_start, 12);
    assert_int_equal(offsets_of(&w).high_watermark, 40);
    assert_int_equal(first_read(&w, 11, &error), -2);
    assert_true(first_read(&w, 12, &error) >= 0);
    world_release(&w);
}

int main(int argc, char **argv)
{
    tests_dir = argc > 1 ? argv[1] : "tests";
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_tail_torn_at_any_byte_is_cut),
        cmocka_unit_test(zeros_behind_the_last_batch_are_cut),
        cmocka_unit_test(each_flipped_bit_makes_a_hole_and_no_more),
        cmocka_unit_test(a_window_of_damage_costs_only_what_it_covers),
        cmocka_unit_test(damage_at_the_end_of_a_clean_log_keeps_its_end),
        cmocka_unit_test(damage_in_an_old_segment_does_not_cost_the_new_ones),
        cmocka_unit_test(a_segment_that_lost_its_end_has_a_hole_there),
        cmocka_unit_test(offsets_that_no_index_names_are_no_damage),
        cmocka_unit_test(a_recovery_point_bounds_the_scan),
        cmocka_unit_test(a_log_too_small_for_an_index_has_lost_none),
        cmocka_unit_test(index_entries_of_what_is_lost_go_for_good),
        cmocka_unit_test(side_files_that_can_be_rebuilt_are_rebuilt),
        cmocka_unit_test(snapshots_beyond_the_end_are_not_believed),
        cmocka_unit_test(a_log_below_its_start_begins_anew_there),
        cmocka_unit_test(interrupted_compactions_are_finished_or_undone),
        cmocka_unit_test(orphaned_index_files_are_removed),
        cmocka_unit_test(kafkas_rolled_log_opens),
        cmocka_unit_test(kafkas_transactions_are_seen_in_its_log),
        cmocka_unit_test(kafkas_trimmed_log_starts_within_a_batch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
