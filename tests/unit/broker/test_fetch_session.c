/*
 * Fetch sessions against the table of KIP-227. Method: requests are built by hand, begun and ended
 * on a cache of two slots, with the outcomes that a log would have given.
 */
#include "unit.h"

#include "broker/fetch_session.h"

struct fixture {
    struct fetch_sessions *fs;
    struct arena arena;
    int64_t now_ms;
    uint32_t random;
};

static int set_up(void **state)
{
    struct fixture *f = mem_zalloc(sizeof(*f));
    f->fs = fetch_sessions_new(2, 7);
    f->now_ms = 1000;
    f->random = 100;
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    fetch_sessions_free(f->fs);
    arena_release(&f->arena);
    mem_free(f);
    return 0;
}

/* A request for `count` partitions 0..count-1 of topic "t", all at `offset`. */
static struct fetch_request
request(struct fixture *f, int32_t id, int32_t epoch, int32_t count, int64_t offset)
{
    struct fetch_request body = fetch_request_default;
    body.session_id = id;
    body.session_epoch = epoch;
    if (count > 0) {
        body.topics.items = arena_alloc(&f->arena, sizeof(*body.topics.items));
        body.topics.count = 1;
        body.topics.items[0] = fetch_request_fetch_topic_default;
        body.topics.items[0].topic = STR("t");
        body.topics.items[0].partitions.items =
            arena_alloc(&f->arena, (size_t)count * sizeof(*body.topics.items[0].partitions.items));
        body.topics.items[0].partitions.count = count;
        for (int32_t i = 0; i < count; i++) {
            body.topics.items[0].partitions.items[i] = fetch_request_fetch_partition_default;
            body.topics.items[0].partitions.items[i].partition = i;
            body.topics.items[0].partitions.items[i].fetch_offset = offset;
        }
    }
    return body;
}

static struct fetch_context begin(struct fixture *f, const struct fetch_request *body)
{
    struct fetch_context fc;
    fetch_session_begin(f->fs, body, 12, f->now_ms, &f->arena, &fc);
    return fc;
}

/* Ends with high watermark `hw` everywhere and no records; returns the session id and how many are
 * sent. */
static int32_t end(struct fixture *f, const struct fetch_context *fc, int64_t hw, size_t *ret_sent)
{
    struct fetch_outcome outcomes[8] = {0};
    bool sent[8] = {false};
    for (size_t i = 0; i < fc->count; i++) {
        outcomes[i].high_watermark = hw;
    }
    int32_t id = fetch_session_end(f->fs, fc, outcomes, f->now_ms, f->random++, sent);
    *ret_sent = 0;
    for (size_t i = 0; i < fc->count; i++) {
        *ret_sent += sent[i];
    }
    return id;
}

static int32_t open_session(struct fixture *f, int32_t count)
{
    struct fetch_request body = request(f, 0, 0, count, 0);
    struct fetch_context fc = begin(f, &body);
    size_t sent = 0;
    assert_int_equal(fc.kind, FETCH_FULL);
    int32_t id = end(f, &fc, 10, &sent);
    assert_int_equal(sent, count);
    return id;
}

static void incremental_fetch_sends_only_what_changed(void **state)
{
    struct fixture *f = *state;
    int32_t id = open_session(f, 3);
    assert_int_not_equal(id, 0);
    struct fetch_request body = request(f, id, 1, 0, 0);
    struct fetch_context fc = begin(f, &body);
    size_t sent = 9;
    assert_int_equal(fc.kind, FETCH_INCREMENTAL);
    assert_int_equal(fc.count, 3);
    assert_int_equal(end(f, &fc, 10, &sent), id);
    assert_int_equal(sent, 0);
    body = request(f, id, 2, 0, 0);
    fc = begin(f, &body);
    end(f, &fc, 11, &sent);
    assert_int_equal(sent, 3);
}

static void an_error_is_sent_each_time(void **state)
{
    struct fixture *f = *state;
    int32_t id = open_session(f, 1);
    for (int32_t epoch = 1; epoch < 4; epoch++) {
        struct fetch_request body = request(f, id, epoch, 0, 0);
        struct fetch_context fc = begin(f, &body);
        struct fetch_outcome outcome = {
            .high_watermark = -1, .log_start_offset = -1, .has_error = true};
        bool sent = false;
        fetch_session_end(f->fs, &fc, &outcome, f->now_ms, 1, &sent);
        assert_true(sent);
    }
}

static void wrong_epochs_and_ids_leave_the_session_as_it_was(void **state)
{
    struct fixture *f = *state;
    int32_t id = open_session(f, 1);
    struct fetch_request body = request(f, id, 5, 0, 0);
    struct fetch_context fc = begin(f, &body);
    assert_int_equal(fc.error, KAFKA_ERROR_INVALID_FETCH_SESSION_EPOCH);
    body = request(f, id + 1, 1, 0, 0);
    fc = begin(f, &body);
    assert_int_equal(fc.error, KAFKA_ERROR_FETCH_SESSION_ID_NOT_FOUND);
    body = request(f, 0, 1, 0, 0);
    fc = begin(f, &body);
    assert_int_equal(fc.error, KAFKA_ERROR_FETCH_SESSION_ID_NOT_FOUND);
    body = request(f, id, 1, 0, 0);
    struct fetch_context by_id;
    fetch_session_begin(f->fs, &body, 13, f->now_ms, &f->arena, &by_id);
    assert_int_equal(by_id.error, KAFKA_ERROR_FETCH_SESSION_TOPIC_ID_ERROR);
    fc = begin(f, &body);
    assert_int_equal(fc.error, KAFKA_ERROR_NONE);
    assert_int_equal(fc.count, 1);
}

static void forgetting_the_last_partition_ends_the_session(void **state)
{
    struct fixture *f = *state;
    int32_t id = open_session(f, 1);
    struct fetch_request body = request(f, id, 1, 0, 0);
    struct fetch_request_forgotten_topic ft = fetch_request_forgotten_topic_default;
    int32_t zero = 0;
    ft.topic = STR("t");
    ft.partitions.items = &zero;
    ft.partitions.count = 1;
    body.forgotten_topics_data.items = &ft;
    body.forgotten_topics_data.count = 1;
    struct fetch_context fc = begin(f, &body);
    size_t sent = 0;
    assert_int_equal(fc.count, 0);
    assert_int_equal(end(f, &fc, 10, &sent), 0);
    body = request(f, id, 2, 0, 0);
    fc = begin(f, &body);
    assert_int_equal(fc.error, KAFKA_ERROR_FETCH_SESSION_ID_NOT_FOUND);
}

static void epoch_zero_and_minus_one_end_the_old_session(void **state)
{
    struct fixture *f = *state;
    int32_t id = open_session(f, 1);
    struct fetch_request body = request(f, id, 0, 1, 0);
    struct fetch_context fc = begin(f, &body);
    assert_int_equal(fc.kind, FETCH_FULL);
    assert_int_equal(fetch_sessions_count(f->fs), 0);
    id = open_session(f, 1);
    body = request(f, id, -1, 1, 0);
    fc = begin(f, &body);
    assert_int_equal(fc.kind, FETCH_SESSIONLESS);
    assert_int_equal(fetch_sessions_count(f->fs), 0);
}

static void a_full_cache_gives_no_session_until_one_is_old(void **state)
{
    struct fixture *f = *state;
    assert_int_not_equal(open_session(f, 2), 0);
    assert_int_not_equal(open_session(f, 2), 0);
    assert_int_equal(open_session(f, 1), 0);
    assert_int_not_equal(open_session(f, 3), 0); /* a smaller one gives way */
    f->now_ms += FETCH_SESSION_EVICT_MS + 1;
    assert_int_not_equal(open_session(f, 1), 0);
    assert_int_equal(fetch_sessions_count(f->fs), 2);
}

static void of_a_partition_named_twice_the_last_counts(void **state)
{
    struct fixture *f = *state;
    struct fetch_request body = request(f, 0, -1, 2, 5);
    body.topics.items[0].partitions.items[1].partition = 0;
    body.topics.items[0].partitions.items[1].fetch_offset = 8;
    struct fetch_context fc = begin(f, &body);
    assert_int_equal(fc.count, 1);
    assert_int_equal(fc.targets[0].fetch_offset, 8);
}

static void partitions_with_records_go_to_the_end(void **state)
{
    struct fixture *f = *state;
    int32_t id = open_session(f, 3);
    struct fetch_request body = request(f, id, 1, 0, 0);
    struct fetch_context fc = begin(f, &body);
    struct fetch_outcome outcomes[3];
    memset(outcomes, 0, sizeof(outcomes));
    outcomes[0].has_records = true;
    bool sent[3];
    fetch_session_end(f->fs, &fc, outcomes, f->now_ms, 1, sent);
    body = request(f, id, 2, 0, 0);
    fc = begin(f, &body);
    assert_int_equal(fc.targets[0].partition, 1);
    assert_int_equal(fc.targets[2].partition, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(incremental_fetch_sends_only_what_changed, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(an_error_is_sent_each_time, set_up, tear_down),
        cmocka_unit_test_setup_teardown(wrong_epochs_and_ids_leave_the_session_as_it_was, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(forgetting_the_last_partition_ends_the_session, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(epoch_zero_and_minus_one_end_the_old_session, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_full_cache_gives_no_session_until_one_is_old, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(of_a_partition_named_twice_the_last_counts, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(partitions_with_records_go_to_the_end, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
