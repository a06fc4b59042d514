/*
 * The model of a log against the plain rules: batches are made by hand, deletions and crashes are
 * played as the scenario plays them, and the model's answers are compared with what a reader of the
 * rules expects.
 */
#include "log_model.h"

#include "base/base.h"
#include "unit.h"

enum {
    RECORDS = 3,
};

static struct batch
make(int64_t base_offset, int64_t producer_id, int32_t base_sequence, uint32_t crc)
{
    return (struct batch){
        .base_offset = base_offset,
        .last_offset_delta = RECORDS - 1,
        .records_count = RECORDS,
        .base_timestamp = 1000 + base_offset,
        .max_timestamp = 1000 + base_offset + RECORDS - 1,
        .producer_id = producer_id,
        .producer_epoch = (int16_t)(producer_id < 0 ? -1 : 0),
        .base_sequence = base_sequence,
        .crc = crc,
    };
}

/* Of three segments that were deleted the middle one is gone after the power cut: the log has a
 * gap, and its snapshot still knows the producer whose last batch lay there. */
static void a_repeat_of_a_batch_in_a_gap_is_named_by_its_offset(void **state)
{
    (void)state;
    struct log_model m = {.life = 1};
    const struct batch first = make(0, 2, 0, 11);
    const struct batch plain = make(3, -1, -1, 12);
    const struct batch middle = make(6, 2, 3, 13);
    const struct batch last = make(9, -1, -1, 14);
    struct model_batch found[3];
    log_model_add(&m, &first);
    log_model_add(&m, &plain);
    log_model_add(&m, &middle);
    log_model_add(&m, &last);
    log_model_describe(&first, &found[0]);
    log_model_describe(&plain, &found[1]);
    log_model_describe(&last, &found[2]);
    m.start_ever = 9;
    for (int life = 2; life <= 3; life++) { /* each crash finds the same */
        struct model_answer want;
        m.start = 0;
        m.life = life;
        log_model_adopt(&m, found, ARRAY_LEN(found));
        log_model_expect(&m, &middle, false, &want);
        assert_true(want.is_duplicate);
        assert_int_equal(want.base_offset, 6);
        assert_int_equal(want.last_offset, 8);
        assert_int_equal(log_model_at(&m, 6)->base_offset, 9); /* a reader is led over the gap */
        assert_int_equal(log_model_find_by_time(&m, 1006), 9);
        const struct batch next = make(12, 2, 6, 15);
        log_model_expect(&m, &next, false, &want);
        assert_int_equal(want.error, KAFKA_ERROR_NONE);
        assert_false(want.is_duplicate);
    }
    log_model_release(&m);
}

/* What was written in a gap but never deleted has no place there: it is lost. */
static void a_batch_that_was_lost_is_not_remembered(void **state)
{
    (void)state;
    struct log_model m = {.life = 1};
    const struct batch first = make(0, 2, 0, 11);
    const struct batch lost = make(3, 2, 3, 12);
    struct model_batch found;
    struct model_answer want;
    log_model_add(&m, &first);
    log_model_add(&m, &lost);
    log_model_describe(&first, &found);
    m.life = 2;
    log_model_adopt(&m, &found, 1);
    log_model_expect(&m, &lost, false, &want);
    assert_false(want.is_duplicate);
    assert_int_equal(want.error, KAFKA_ERROR_NONE);
    assert_int_equal(log_model_end(&m), 3);
    log_model_release(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_repeat_of_a_batch_in_a_gap_is_named_by_its_offset),
        cmocka_unit_test(a_batch_that_was_lost_is_not_remembered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
