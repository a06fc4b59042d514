/*
 * The leader-epoch cache: assignments as Kafka's LeaderEpochFileCache makes them, the answers of
 * OffsetForLeaderEpoch, and what is believed of its file. Method: small caches by hand against the
 * rules, files spoilt in each way that a crash or a hand can spoil them.
 */
#include "storage/epoch_cache.h"

#include "storage_world.h"

static void assign_all(struct epoch_cache *ec)
{
    epoch_cache_init(ec);
    assert_true(epoch_cache_assign(ec, 0, 0));
    assert_true(epoch_cache_assign(ec, 2, 40));
    assert_true(epoch_cache_assign(ec, 5, 90));
    epoch_cache_validate(ec);
}

static void a_known_epoch_is_not_assigned_again(void **state)
{
    (void)state;
    struct epoch_cache ec;
    assign_all(&ec);
    assert_false(epoch_cache_assign(&ec, 5, 95));
    assert_int_equal(ec.count, 3);
    assert_false(epoch_cache_assign(&ec, -1, 100));
    epoch_cache_release(&ec);
}

static void an_epoch_without_records_gives_way_to_the_next(void **state)
{
    (void)state;
    struct epoch_cache ec;
    assign_all(&ec);
    assert_true(epoch_cache_assign(&ec, 6, 90));
    assert_int_equal(ec.count, 3);
    assert_int_equal(epoch_cache_latest(&ec), 6);
    assert_int_equal(epoch_cache_of(&ec, 90), 6);
    assert_int_equal(epoch_cache_of(&ec, 89), 2);
    epoch_cache_release(&ec);
}

static void end_offsets_are_those_of_kafka(void **state)
{
    (void)state;
    struct epoch_cache ec;
    int32_t epoch;
    int64_t end;
    assign_all(&ec);
    static const struct {
        int32_t asked;
        int32_t epoch;
        int64_t end;
    } rows[] = {{5, 5, 120}, {4, 2, 90}, {3, 2, 90},  {2, 2, 90},
                {1, 0, 40},  {0, 0, 40}, {6, -1, -1}, {-1, -1, -1}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        epoch_cache_end_of(&ec, rows[i].asked, 120, &epoch, &end);
        assert_int_equal(epoch, rows[i].epoch);
        assert_int_equal(end, rows[i].end);
    }
    epoch_cache_truncate_start(&ec, 50);
    epoch_cache_end_of(&ec, 0, 120, &epoch, &end);
    assert_int_equal(epoch, 0); /* older than all that is known: back to the start */
    assert_int_equal(end, 50);
    epoch_cache_release(&ec);
}

static void truncation_keeps_what_lies_inside(void **state)
{
    (void)state;
    struct epoch_cache ec;
    assign_all(&ec);
    epoch_cache_truncate_end(&ec, 90);
    assert_int_equal(epoch_cache_latest(&ec), 2);
    epoch_cache_truncate_start(&ec, 41);
    assert_int_equal(ec.count, 1);
    assert_int_equal(ec.entries[0].start_offset, 41);
    assert_int_equal(epoch_cache_of(&ec, 40), -1);
    epoch_cache_release(&ec);
}

static void the_file_is_kafkas_and_comes_back(void **state)
{
    (void)state;
    struct world w;
    struct epoch_cache ec;
    size_t len;
    world_init(&w);
    assign_all(&ec);
    for (int is_durable = 0; is_durable < 2; is_durable++) {
        assert_int_equal(epoch_cache_save(&ec, w.env.fs, "data/e", is_durable == 1), 0);
        char *bytes = get_file(&w, "data/e", &len);
        assert_string_equal(bytes, "0\n3\n0 0\n2 40\n5 90\n");
        mem_free(bytes);
    }
    epoch_cache_truncate_end(&ec, 41);
    assert_int_equal(epoch_cache_save(&ec, w.env.fs, "data/e", false), 0);
    char *bytes = get_file(&w, "data/e", &len);
    assert_string_equal(bytes, "0\n2\n0 0\n2 40\n"); /* nothing of the longer one is left */
    mem_free(bytes);
    assert_int_equal(epoch_cache_load(&ec, w.env.fs, "data/e"), 0);
    assert_int_equal(ec.count, 2);
    assert_false(epoch_cache_wants_save(&ec, 100));
    assert_true(epoch_cache_assign(&ec, 9, 100));
    assert_false(epoch_cache_wants_save(&ec, 100)); /* a leader that wrote nothing yet */
    assert_true(epoch_cache_wants_save(&ec, 101));
    epoch_cache_release(&ec);
    world_release(&w);
}

static void a_spoilt_file_is_not_believed(void **state)
{
    (void)state;
    struct world w;
    struct epoch_cache ec;
    static const char *const bad[] = {"",
                                      "\n",
                                      "0",
                                      "0\n",
                                      "0\n2\n0 0\n",
                                      "0\n1\n0 0",
                                      "0\n1\n0 0\n2 40\n",
                                      "1\n1\n0 0\n",
                                      "0\n-1\n",
                                      "0\n99999999999999999999\n",
                                      "0\n2\n2 40\n0 0\n",
                                      "0\n2\n0 0\n2 0\n",
                                      "0\n1\nx 0\n",
                                      "0\n1\n0\n",
                                      "garbage",
                                      "0\n1\n-1 0\n",
                                      "0\n1\n0 0\n\n"};
    world_init(&w);
    epoch_cache_init(&ec);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        put_file(&w, "data/e", bad[i], strlen(bad[i]));
        assert_int_equal(epoch_cache_load(&ec, w.env.fs, "data/e"), ERR_MALFORMED);
        assert_int_equal(ec.count, 0);
    }
    assert_int_equal(epoch_cache_load(&ec, w.env.fs, "data/none"), -ENOENT);
    epoch_cache_release(&ec);
    world_release(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_known_epoch_is_not_assigned_again),
        cmocka_unit_test(an_epoch_without_records_gives_way_to_the_next),
        cmocka_unit_test(end_offsets_are_those_of_kafka),
        cmocka_unit_test(truncation_keeps_what_lies_inside),
        cmocka_unit_test(the_file_is_kafkas_and_comes_back),
        cmocka_unit_test(a_spoilt_file_is_not_believed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
