/*
 * Producer state by Kafka's rules: duplicates, sequences, epochs, transactions, the last stable
 * offset, and the snapshot file. Method: each rule as a short history against the answer that a
 * real broker gave; undo as "apply, revert, encode" giving the same bytes; snapshots damaged byte
 * by byte.
 */
#include "storage/producer_state.h"

#include "storage_world.h"

static struct batch data(int64_t pid, int16_t epoch, int32_t sequence, int32_t count, int64_t base)
{
    return (struct batch){
        .producer_id = pid,
        .producer_epoch = epoch,
        .base_sequence = sequence,
        .last_offset_delta = count - 1,
        .records_count = count,
        .base_offset = base,
        .max_timestamp = 1000 + base,
    };
}

static struct batch txn_data(int64_t pid, int16_t epoch, int32_t sequence, int64_t base)
{
    struct batch b = data(pid, epoch, sequence, 1, base);
    b.attributes = BATCH_TRANSACTIONAL;
    return b;
}

static struct batch end_batch(int64_t pid, int16_t epoch, int64_t base)
{
    struct batch b = data(pid, epoch, -1, 1, base);
    b.attributes = BATCH_TRANSACTIONAL | BATCH_CONTROL;
    return b;
}

static const struct txn_marker commit = {.is_marker = true,
                                         .is_commit = true,
                                         .coordinator_epoch = 3};
static const struct txn_marker abort_marker = {.is_marker = true, .coordinator_epoch = 3};

static enum kafka_error ask(struct producer_state *ps, struct batch b)
{
    bool is_duplicate;
    struct producer_batch pb;
    enum kafka_error error =
        producer_state_check(ps, &b, NULL, PRODUCER_RULES_ALL, &is_duplicate, &pb);
    assert_false(is_duplicate);
    return error;
}

static void put(struct producer_state *ps, struct batch b)
{
    struct completed_txn completed;
    producer_state_apply(ps, &b, NULL, NULL, &completed);
}

static struct completed_txn
finish(struct producer_state *ps, struct batch b, const struct txn_marker *marker)
{
    struct completed_txn completed;
    producer_state_apply(ps, &b, marker, NULL, &completed);
    return completed;
}

static void an_unknown_producer_may_start_anywhere(void **state)
{
    (void)state;
    struct producer_state ps;
    producer_state_init(&ps, 1, NULL);
    assert_int_equal(ask(&ps, data(7, 0, 55, 3, 0)), KAFKA_ERROR_NONE);
    assert_int_equal(ask(&ps, data(7, -1, 0, 1, 0)), KAFKA_ERROR_NONE);
    producer_state_release(&ps);
}

static void the_last_five_batches_are_duplicates_and_nothing_else_is(void **state)
{
    (void)state;
    struct producer_state ps;
    producer_state_init(&ps, 1, NULL);
    for (int i = 0; i < 7; i++) {
        put(&ps, data(7, 0, i * 2, 2, i * 2));
    }
    for (int i = 0; i < 7; i++) {
        struct batch b = data(7, 0, i * 2, 2, 99);
        struct producer_batch pb;
        bool is_duplicate;
        enum kafka_error error =
            producer_state_check(&ps, &b, NULL, PRODUCER_RULES_ALL, &is_duplicate, &pb);
        assert_int_equal(is_duplicate, i >= 2);
        if (i >= 2) {
            assert_int_equal(pb.last_offset, i * 2 + 1);
            assert_int_equal(pb.timestamp, 1000 + i * 2);
        } else {
            assert_int_equal(error, KAFKA_ERROR_OUT_OF_ORDER_SEQUENCE_NUMBER);
        }
    }
    /* a part of a batch, and more than a batch */
    assert_int_equal(ask(&ps, data(7, 0, 12, 1, 99)), KAFKA_ERROR_OUT_OF_ORDER_SEQUENCE_NUMBER);
    assert_int_equal(ask(&ps, data(7, 0, 12, 3, 99)), KAFKA_ERROR_OUT_OF_ORDER_SEQUENCE_NUMBER);
    producer_state_release(&ps);
}

static void sequences_follow_without_a_gap_and_wrap_to_zero(void **state)
{
    (void)state;
    struct producer_state ps;
    producer_state_init(&ps, 1, NULL);
    put(&ps, data(7, 0, 0, 5, 0));
    assert_int_equal(ask(&ps, data(7, 0, 5, 1, 5)), KAFKA_ERROR_NONE);
    assert_int_equal(ask(&ps, data(7, 0, 6, 1, 5)), KAFKA_ERROR_OUT_OF_ORDER_SEQUENCE_NUMBER);
    assert_int_equal(ask(&ps, data(7, 0, 4, 2, 5)), KAFKA_ERROR_OUT_OF_ORDER_SEQUENCE_NUMBER);
    put(&ps, data(8, 0, INT32_MAX - 1, 2, 5));
    assert_int_equal(ask(&ps, data(8, 0, 0, 1, 7)), KAFKA_ERROR_NONE);
    put(&ps, data(9, 0, INT32_MAX, 3, 8)); /* 2147483647, 0, 1 */
    assert_int_equal(ask(&ps, data(9, 0, 2, 1, 11)), KAFKA_ERROR_NONE);
    struct batch again = data(9, 0, INT32_MAX, 3, 99);
    struct producer_batch pb;
    bool is_duplicate;
    IGNORE(producer_state_check(&ps, &again, NULL, PRODUCER_RULES_ALL, &is_duplicate, &pb));
    assert_true(is_duplicate);
    producer_state_release(&ps);
}

static void epochs_fence(void **state)
{
    (void)state;
    struct producer_state ps;
    producer_state_init(&ps, 1, NULL);
    put(&ps, data(7, 4, 0, 5, 0));
    assert_int_equal(ask(&ps, data(7, 3, 5, 1, 5)), KAFKA_ERROR_INVALID_PRODUCER_EPOCH);
    assert_int_equal(ask(&ps, data(7, 5, 5, 1, 5)), KAFKA_ERROR_OUT_OF_ORDER_SEQUENCE_NUMBER);
    assert_int_equal(ask(&ps, data(7, 5, 0, 1, 5)), KAFKA_ERROR_NONE);
    put(&ps, data(7, 5, 0, 1, 5));
    /* the batches of the old epoch are forgotten */
    assert_int_equal(ask(&ps, data(7, 5, 1, 4, 9)), KAFKA_ERROR_NONE);
    assert_int_equal(producer_state_find(&ps, 7)->batches_count, 1);
    producer_state_release(&ps);
}

static void coordinators_have_no_sequences_but_epochs(void **state)
{
    (void)state;
    struct producer_state ps;
    bool is_duplicate;
    struct producer_batch pb;
    producer_state_init(&ps, 1, NULL);
    put(&ps, txn_data(7, 4, 0, 0));
    struct batch gap = txn_data(7, 4, 77, 1);
    assert_int_equal(
        producer_state_check(&ps, &gap, NULL, PRODUCER_RULES_EPOCH, &is_duplicate, &pb),
        KAFKA_ERROR_NONE);
    struct batch old = end_batch(7, 3, 1);
    assert_int_equal(
        producer_state_check(&ps, &old, &commit, PRODUCER_RULES_EPOCH, &is_duplicate, &pb),
        KAFKA_ERROR_INVALID_PRODUCER_EPOCH);
    IGNORE(finish(&ps, end_batch(7, 4, 1), &commit).is_set);
    struct txn_marker stale = {.is_marker = true, .coordinator_epoch = 2};
    struct batch end = end_batch(7, 4, 2);
    assert_int_equal(
        producer_state_check(&ps, &end, &stale, PRODUCER_RULES_EPOCH, &is_duplicate, &pb),
        KAFKA_ERROR_TRANSACTION_COORDINATOR_FENCED);
    producer_state_release(&ps);
}

static void plain_records_in_an_open_transaction_are_refused(void **state)
{
    (void)state;
    struct producer_state ps;
    producer_state_init(&ps, 1, NULL);
    put(&ps, txn_data(7, 0, 0, 0));
    assert_int_equal(ask(&ps, data(7, 0, 1, 1, 1)), KAFKA_ERROR_INVALID_TXN_STATE);
    /* the sequence is looked at first */
    assert_int_equal(ask(&ps, data(7, 0, 3, 1, 1)), KAFKA_ERROR_OUT_OF_ORDER_SEQUENCE_NUMBER);
    IGNORE(finish(&ps, end_batch(7, 0, 1), &commit).is_set);
    assert_int_equal(ask(&ps, data(7, 0, 1, 1, 2)), KAFKA_ERROR_NONE);
    producer_state_release(&ps);
}

static void the_stable_offset_waits_for_the_first_transaction_and_its_marker(void **state)
{
    (void)state;
    struct producer_state ps;
    producer_state_init(&ps, 1, NULL);
    put(&ps, txn_data(1, 0, 0, 10));
    put(&ps, txn_data(2, 0, 0, 11));
    assert_int_equal(producer_state_first_unstable(&ps), 10);
    struct completed_txn ct = finish(&ps, end_batch(1, 0, 12), &abort_marker);
    assert_true(ct.is_set && ct.is_aborted);
    assert_int_equal(ct.first_offset, 10);
    assert_int_equal(ct.last_offset, 12);
    assert_int_equal(ct.last_stable_offset, 11); /* the other one is open */
    assert_int_equal(producer_state_first_unstable(&ps), 10);
    producer_state_replicated(&ps, 12); /* the marker itself is not below the high watermark */
    assert_int_equal(producer_state_first_unstable(&ps), 10);
    producer_state_replicated(&ps, 13);
    assert_int_equal(producer_state_first_unstable(&ps), 11);
    ct = finish(&ps, end_batch(2, 0, 13), &commit);
    assert_false(ct.is_aborted);
    assert_int_equal(ct.last_stable_offset, 14);
    producer_state_replicated(&ps, 14);
    assert_int_equal(producer_state_first_unstable(&ps), INT64_MAX);
    /* a marker without a transaction changes the epoch and nothing else */
    assert_false(finish(&ps, end_batch(2, 5, 14), &commit).is_set);
    assert_int_equal(producer_state_find(&ps, 2)->producer_epoch, 5);
    producer_state_release(&ps);
}

static void undo_gives_the_state_before(void **state)
{
    (void)state;
    struct producer_state ps;
    struct producer_undo undos[4];
    struct completed_txn completed;
    uint8_t *before;
    uint8_t *after;
    size_t before_len;
    size_t after_len;
    producer_state_init(&ps, 1, NULL);
    put(&ps, txn_data(1, 0, 0, 0));
    put(&ps, data(2, 0, 0, 3, 1));
    producer_state_encode(&ps, &before, &before_len);
    const struct batch batches[] = {data(2, 1, 0, 2, 4), end_batch(1, 0, 6), txn_data(1, 0, 1, 7),
                                    txn_data(3, 0, 0, 8)};
    for (size_t i = 0; i < ARRAY_LEN(batches); i++) {
        producer_state_apply(&ps, &batches[i], batch_is_control(&batches[i]) ? &abort_marker : NULL,
                             &undos[i], &completed);
    }
    assert_int_equal(ps.map.count, 3);
    for (size_t i = ARRAY_LEN(batches); i > 0; i--) {
        producer_state_revert(&ps, &undos[i - 1]);
    }
    producer_state_encode(&ps, &after, &after_len);
    assert_int_equal(before_len, after_len);
    assert_int_equal(ps.map.count, 2);
    assert_int_equal(producer_state_first_unstable(&ps), 0);
    assert_int_equal(ps.unreplicated.count, 0);
    assert_int_equal(producer_state_find(&ps, 2)->batches_count, 1);
    assert_int_equal(producer_state_find(&ps, 2)->producer_epoch, 0);
    mem_free(before);
    mem_free(after);
    producer_state_release(&ps);
}

/* What Kafka 4.4.0 wrote for one open transaction: a fact to be equal to. */
static const uint8_t kafkas_snapshot[] = {
    0x00, 0x01, 0xb6, 0xbc, 0x9d, 0xfb, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x01, 0xa0, 0xc4, 0xd6,
    0x05, 0x72, 0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00};

static void a_snapshot_is_kafkas_byte_for_byte(void **state)
{
    (void)state;
    struct producer_state ps;
    uint8_t *bytes;
    size_t len;
    producer_state_init(&ps, 1, NULL);
    assert_int_equal(
        producer_state_decode(&ps, kafkas_snapshot, sizeof(kafkas_snapshot), 0, INT64_MAX), 0);
    const struct producer_entry *pe = producer_state_find(&ps, 1);
    assert_non_null(pe);
    assert_int_equal(pe->txn_first_offset, 0);
    assert_int_equal(pe->batches[0].last_sequence, 2);
    assert_int_equal(producer_state_first_unstable(&ps), 0);
    producer_state_encode(&ps, &bytes, &len);
    assert_int_equal(len, sizeof(kafkas_snapshot));
    assert_memory_equal(bytes, kafkas_snapshot, len);
    mem_free(bytes);
    producer_state_clear(&ps);
    producer_state_encode(&ps, &bytes, &len);
    static const uint8_t empty[] = {0x00, 0x01, 0x48, 0x67, 0x4b, 0xc7, 0x00, 0x00, 0x00, 0x00};
    assert_int_equal(len, sizeof(empty));
    assert_memory_equal(bytes, empty, len);
    mem_free(bytes);
    producer_state_release(&ps);
}

static void a_damaged_snapshot_is_refused(void **state)
{
    (void)state;
    struct producer_state ps;
    uint8_t bytes[sizeof(kafkas_snapshot)];
    producer_state_init(&ps, 1, NULL);
    for (size_t len = 0; len < sizeof(bytes); len++) {
        assert_int_equal(producer_state_decode(&ps, kafkas_snapshot, len, 0, INT64_MAX),
                         ERR_MALFORMED);
    }
    for (size_t i = 0; i < sizeof(bytes) * 8; i++) {
        memcpy(bytes, kafkas_snapshot, sizeof(bytes));
        bytes[i / 8] ^= (uint8_t)(1u << (i % 8));
        assert_int_equal(producer_state_decode(&ps, bytes, sizeof(bytes), 0, INT64_MAX),
                         ERR_MALFORMED);
        assert_int_equal(ps.map.count, 0);
    }
    producer_state_release(&ps);
}

static void idle_producers_expire_but_not_within_a_transaction(void **state)
{
    (void)state;
    struct producer_state ps;
    producer_state_init(&ps, 1, NULL);
    put(&ps, data(1, 0, 0, 1, 0));     /* timestamp 1000 */
    put(&ps, txn_data(2, 0, 0, 1));    /* 1001 */
    put(&ps, data(3, 0, 0, 1, 50000)); /* 51000 */
    assert_int_equal(producer_state_expire(&ps, 11000, 10000), 1);
    assert_null(producer_state_find(&ps, 1));
    assert_non_null(producer_state_find(&ps, 2));
    assert_non_null(producer_state_find(&ps, 3));
    producer_state_release(&ps);
}

/* By the definition, over all of them. */
static void check_oldest(const struct producer_state *ps)
{
    int64_t oldest = INT64_MAX;
    size_t idle = 0;
    hmap_foreach (node, &ps->map) {
        const struct producer_entry *pe = container_of(node, struct producer_entry, node);
        if (pe->txn_first_offset < 0) {
            oldest = min_i64(oldest, pe->last_timestamp);
            idle++;
        }
    }
    assert_int_equal(producer_state_oldest(ps), oldest);
    assert_int_equal(ps->idle.count, idle);
}

static struct batch draw_batch(uint64_t *random, int64_t base)
{
    int64_t pid = (int64_t)(sim_random(random) % 40);
    bool is_txn = pid % 3 == 0;
    struct batch b = is_txn ? txn_data(pid, 0, 0, base) : data(pid, 0, 0, 1, base);
    b.max_timestamp = (int64_t)(sim_random(random) % 1000); /* clients say what they like */
    return b;
}

/* A history of batches, markers, undos, expirations and snapshots, compared with a walk over all
 * producers after each step. */
static void the_one_that_expires_first_is_always_known(void **state)
{
    (void)state;
    struct producer_state ps;
    uint64_t random = 7;
    producer_state_init(&ps, 1, NULL);
    for (int64_t base = 0; base < 4000; base++) {
        struct producer_undo undo;
        struct completed_txn completed;
        struct batch b = draw_batch(&random, base);
        uint64_t what = sim_random(&random) % 16;
        struct txn_marker marker = commit;
        if (what == 0 && b.producer_id % 3 == 0) {
            marker.timestamp = b.max_timestamp;
            b = end_batch(b.producer_id, 0, base);
        }
        bool is_marker = batch_is_control(&b);
        producer_state_apply(&ps, &b, is_marker ? &marker : NULL, &undo, &completed);
        check_oldest(&ps);
        if (what == 1) {
            producer_state_revert(&ps, &undo);
        } else if (what == 2) {
            size_t before = ps.map.count;
            size_t gone = producer_state_expire(&ps, 1000, 950);
            assert_int_equal(ps.map.count, before - gone);
            assert_true(producer_state_oldest(&ps) > 50);
        } else if (what == 3 && base % 8 == 0) {
            uint8_t *bytes;
            size_t len;
            producer_state_encode(&ps, &bytes, &len);
            assert_int_equal(producer_state_decode(&ps, bytes, len, 0, INT64_MAX), 0);
            mem_free(bytes);
        }
        check_oldest(&ps);
    }
    producer_state_clear(&ps);
    check_oldest(&ps);
    producer_state_release(&ps);
}

static void those_that_wrote_least_lately_are_forgotten_when_there_are_too_many(void **state)
{
    (void)state;
    _Atomic int64_t shared = PRODUCERS_SHARED_MAX - 3; /* other logs' */
    struct producer_state ps;
    producer_state_init(&ps, 1, &shared);
    put(&ps, txn_data(1, 0, 0, 100)); /* its transaction is open */
    put(&ps, data(2, 0, 0, 1, 101));
    put(&ps, data(3, 0, 0, 1, 102));
    producer_state_trim(&ps, 1);
    assert_int_equal(ps.map.count, 3); /* there is room */
    put(&ps, data(4, 0, 0, 1, 103));
    put(&ps, data(2, 0, 1, 1, 104)); /* again: 3 is now the oldest */
    producer_state_trim(&ps, 2);
    assert_int_equal(shared, PRODUCERS_SHARED_MAX);
    assert_null(producer_state_find(&ps, 3));
    assert_non_null(producer_state_find(&ps, 1));
    assert_non_null(producer_state_find(&ps, 2));
    assert_non_null(producer_state_find(&ps, 4));
    assert_int_equal(ask(&ps, data(3, 0, 1, 1, 105)), KAFKA_ERROR_NONE); /* it may go on */
    producer_state_release(&ps);
    assert_int_equal(shared, PRODUCERS_SHARED_MAX - 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_unknown_producer_may_start_anywhere),
        cmocka_unit_test(the_last_five_batches_are_duplicates_and_nothing_else_is),
        cmocka_unit_test(sequences_follow_without_a_gap_and_wrap_to_zero),
        cmocka_unit_test(epochs_fence),
        cmocka_unit_test(coordinators_have_no_sequences_but_epochs),
        cmocka_unit_test(plain_records_in_an_open_transaction_are_refused),
        cmocka_unit_test(the_stable_offset_waits_for_the_first_transaction_and_its_marker),
        cmocka_unit_test(undo_gives_the_state_before),
        cmocka_unit_test(a_snapshot_is_kafkas_byte_for_byte),
        cmocka_unit_test(a_damaged_snapshot_is_refused),
        cmocka_unit_test(idle_producers_expire_but_not_within_a_transaction),
        cmocka_unit_test(the_one_that_expires_first_is_always_known),
        cmocka_unit_test(those_that_wrote_least_lately_are_forgotten_when_there_are_too_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
