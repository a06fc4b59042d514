/*
 * What the controller decides about topics that exist (deleting, growing), producer ids, and the
 * coming and going of the broker; checked as in test_controller.c: by Kafka 4.4.0's answers and by
 * replaying the records.
 */
#include "controller_world.h"

/* ---- DeleteTopics ---- */

typedef struct delete_topics_request_delete_topic_state delete_topic;
typedef struct delete_topics_response_deletable_topic_result deleted_topic;

static struct delete_topics_response delete_for(struct world *w,
                                                delete_topic *topics,
                                                size_t count,
                                                int32_t timeout_ms,
                                                controller_grant_fn grants)
{
    struct delete_topics_request req = delete_topics_request_default;
    req.topics.items = topics;
    req.topics.count = (int32_t)count;
    req.timeout_ms = timeout_ms;
    struct delete_topics_response out = delete_topics_response_default;
    begin(w);
    controller_delete_topics(&w->ct, w->im, &req, grants, NULL, &w->arena, &w->records, &out);
    return out;
}

static delete_topic by_name(const char *name)
{
    delete_topic t = delete_topics_request_delete_topic_state_default;
    t.name = str_from(name);
    return t;
}

static delete_topic by_id(const struct uuid *id)
{
    delete_topic t = delete_topics_request_delete_topic_state_default;
    t.topic_id = *id;
    return t;
}

static int16_t
error_of(const struct delete_topics_response *out, const char *name, const struct uuid *id)
{
    for (int32_t i = 0; i < out->responses.count; i++) {
        const deleted_topic *dt = &out->responses.items[i];
        if (name != NULL ? str_is(dt->name, name)
                         : (str_is_null(dt->name) && uuid_equal(&dt->topic_id, id))) {
            return dt->error_code;
        }
    }
    return INT16_MIN;
}

static void topics_are_deleted_by_name_and_by_id(void **state)
{
    struct world *w = *state;
    make(w, "a", 1);
    make(w, "b", 1);
    make(w, "c", 1);
    struct uuid id = image_topic_by_name(w->im, STR("b"))->id;
    delete_topic topics[] = {by_name("a"), by_id(&id)};
    struct delete_topics_response out = delete_for(w, topics, 2, 1000, NULL);
    assert_int_equal(out.responses.count, 2);
    assert_int_equal(error_of(&out, "a", NULL), 0);
    assert_int_equal(error_of(&out, "b", NULL), 0);
    assert_false(uuid_is_zero(&out.responses.items[0].topic_id));
    assert_true(str_is_null(out.responses.items[0].error_message));
    record_is(w, 0, &remove_topic_record_msg, 0);
    apply(w);
    assert_int_equal(image_topics_count(w->im), 1);
    assert_non_null(image_topic_by_name(w->im, STR("c")));
}

static void version_5_names_topics_in_a_list_of_its_own(void **state)
{
    struct world *w = *state;
    make(w, "a", 1);
    struct str names[] = {STR("a"), STR("gone"), STR("x"), STR("x")};
    struct delete_topics_request req = delete_topics_request_default;
    req.topic_names.items = names;
    req.topic_names.count = 4;
    req.timeout_ms = 1000;
    struct delete_topics_response out = delete_topics_response_default;
    begin(w);
    controller_delete_topics(&w->ct, w->im, &req, NULL, NULL, &w->arena, &w->records, &out);
    assert_int_equal(out.responses.count, 3);
    assert_int_equal(error_of(&out, "a", NULL), 0);
    assert_int_equal(error_of(&out, "gone", NULL), KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION);
    assert_int_equal(error_of(&out, "x", NULL), KAFKA_ERROR_INVALID_REQUEST);
    assert_int_equal(w->records.count, 1);
}

static void malformed_and_doubled_wishes_delete_nothing(void **state)
{
    struct world *w = *state;
    make(w, "a", 1);
    make(w, "b", 1);
    make(w, "c", 1);
    struct uuid a = image_topic_by_name(w->im, STR("a"))->id;
    struct uuid b = image_topic_by_name(w->im, STR("b"))->id;
    struct uuid unknown = {.bytes = {7}};
    struct uuid zero = {.bytes = {0}};
    delete_topic both = by_name("a");
    both.topic_id = a;
    delete_topic topics[] = {
        by_id(&zero), by_id(&zero), both,         by_id(&unknown), by_id(&b),
        by_name("b"), by_name("c"), by_name("c"), by_name("c"),
    };
    struct delete_topics_response out = delete_for(w, topics, ARRAY_LEN(topics), 1000, NULL);
    assert_int_equal(out.responses.count, 6);
    assert_int_equal(error_of(&out, NULL, &zero), KAFKA_ERROR_INVALID_REQUEST);
    assert_int_equal(error_of(&out, "a", NULL), KAFKA_ERROR_INVALID_REQUEST);
    assert_int_equal(error_of(&out, NULL, &unknown), KAFKA_ERROR_UNKNOWN_TOPIC_ID);
    assert_int_equal(error_of(&out, "b", NULL), KAFKA_ERROR_INVALID_REQUEST);
    assert_int_equal(error_of(&out, "c", NULL), KAFKA_ERROR_INVALID_REQUEST);
    assert_int_equal(w->records.count, 0);
    delete_topic ids[] = {by_id(&a), by_id(&a), by_name("a")};
    out = delete_for(w, ids, 3, 1000, NULL);
    assert_int_equal(out.responses.count, 2);
    assert_int_equal(error_of(&out, NULL, &a), KAFKA_ERROR_INVALID_REQUEST);
    assert_int_equal(error_of(&out, "a", NULL), KAFKA_ERROR_INVALID_REQUEST);
    assert_int_equal(w->records.count, 0);
}

static void deleting_without_time_answers_7_for_each(void **state)
{
    struct world *w = *state;
    make(w, "a", 1);
    delete_topic topics[] = {by_name("a"), by_name("x"), by_name("x")};
    struct delete_topics_response out = delete_for(w, topics, 3, 0, NULL);
    assert_int_equal(out.responses.count, 3);
    assert_int_equal(out.responses.items[2].error_code, KAFKA_ERROR_REQUEST_TIMED_OUT);
    assert_int_equal(w->records.count, 0);
}

static uint8_t grant_nothing(void *ctx unused_ok, struct str topic unused_ok)
{
    return 0;
}

static uint8_t grant_sight(void *ctx unused_ok, struct str topic unused_ok)
{
    return CONTROLLER_MAY_DESCRIBE;
}

static void who_may_not_see_a_topic_learns_nothing_of_it(void **state)
{
    struct world *w = *state;
    make(w, "a", 1);
    struct uuid a = image_topic_by_name(w->im, STR("a"))->id;
    delete_topic topics[] = {by_name("gone"), by_id(&a)};
    struct delete_topics_response out = delete_for(w, topics, 2, 1000, grant_nothing);
    assert_int_equal(error_of(&out, "gone", NULL), KAFKA_ERROR_TOPIC_AUTHORIZATION_FAILED);
    assert_int_equal(error_of(&out, NULL, &a), KAFKA_ERROR_TOPIC_AUTHORIZATION_FAILED);
    out = delete_for(w, topics, 2, 1000, grant_sight);
    assert_int_equal(error_of(&out, "gone", NULL), KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION);
    assert_int_equal(error_of(&out, "a", NULL), KAFKA_ERROR_TOPIC_AUTHORIZATION_FAILED);
    assert_int_equal(w->records.count, 0);
}

/* ---- CreatePartitions ---- */

typedef struct create_partitions_request_create_partitions_topic grow_topic;
typedef struct create_partitions_request_create_partitions_assignment grow_assignment;

static grow_topic grow_of(const char *name, int32_t count)
{
    grow_topic t = create_partitions_request_create_partitions_topic_default;
    t.name = str_from(name);
    t.count = count;
    t.assignments.count = -1;
    return t;
}

static struct create_partitions_response
grow_for(struct world *w, grow_topic *topics, size_t count, bool validate_only, int32_t timeout_ms)
{
    struct create_partitions_request req = create_partitions_request_default;
    req.topics.items = topics;
    req.topics.count = (int32_t)count;
    req.validate_only = validate_only;
    req.timeout_ms = timeout_ms;
    struct create_partitions_response out = create_partitions_response_default;
    begin(w);
    controller_create_partitions(&w->ct, w->im, &req, NULL, NULL, &w->arena, &w->records, &out);
    return out;
}

static void a_topic_grows_to_the_count_that_is_asked_for(void **state)
{
    struct world *w = *state;
    make(w, "a", 2);
    grow_topic t = grow_of("a", 5);
    assert_int_equal(grow_for(w, &t, 1, true, 1000).results.items[0].error_code, 0);
    assert_int_equal(w->records.count, 0);
    struct create_partitions_response out = grow_for(w, &t, 1, false, 1000);
    assert_int_equal(out.results.items[0].error_code, 0);
    assert_int_equal(w->records.count, 3);
    record_is(w, 0, &partition_record_msg, 2);
    apply(w);
    const struct image_topic *it = image_topic_by_name(w->im, STR("a"));
    assert_int_equal(it->partitions_count, 5);
    assert_int_equal(it->partitions[4].leader, 1);
}

static void what_would_not_grow_is_refused(void **state)
{
    struct world *w = *state;
    make(w, "a", 3);
    grow_topic topics[] = {
        grow_of("a", 3), grow_of("gone", INT32_MAX), grow_of("d", 9), grow_of("d", 9),
        grow_of("", 1),
    };
    struct create_partitions_response out = grow_for(w, topics, ARRAY_LEN(topics), false, 1000);
    assert_int_equal(out.results.count, 4);
    int16_t errors[] = {
        KAFKA_ERROR_INVALID_PARTITIONS,
        KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION,
        KAFKA_ERROR_INVALID_REQUEST,
        KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION,
    };
    for (int32_t i = 0; i < 4; i++) {
        assert_int_equal(out.results.items[i].error_code, errors[i]);
    }
    assert_true(str_is_null(out.results.items[1].error_message));
    topics[0] = grow_of("a", -1);
    assert_int_equal(grow_for(w, topics, 1, false, 1000).results.items[0].error_code,
                     KAFKA_ERROR_INVALID_PARTITIONS);
}

struct grow_row {
    int32_t count; /* wanted */
    int32_t brokers[2][2];
    int32_t counts[2];
    int32_t assigned; /* assignments */
    int16_t error;
};

static void assigned_partitions_must_be_as_many_as_are_added(void **state)
{
    struct world *w = *state;
    make(w, "a", 3);
    static const struct grow_row rows[] = {
        {5, {{1}, {1}}, {1, 1}, 2, 0},
        {4, {{0}}, {0}, 0, KAFKA_ERROR_INVALID_REPLICA_ASSIGNMENT},
        {3, {{0}}, {0}, 0, KAFKA_ERROR_INVALID_PARTITIONS},
        {4, {{1}, {1}}, {1, 1}, 2, KAFKA_ERROR_INVALID_REPLICA_ASSIGNMENT},
        {5, {{1}}, {1}, 1, KAFKA_ERROR_INVALID_REPLICA_ASSIGNMENT},
        {4, {{1, 1}}, {2}, 1, KAFKA_ERROR_INVALID_REPLICA_ASSIGNMENT},
        {4, {{2}}, {1}, 1, KAFKA_ERROR_INVALID_REPLICA_ASSIGNMENT},
        {4, {{0}}, {0}, 1, KAFKA_ERROR_INVALID_REPLICA_ASSIGNMENT},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int32_t brokers[2][2];
        memcpy(brokers, rows[i].brokers, sizeof(brokers));
        grow_assignment as[2];
        for (int32_t j = 0; j < 2; j++) {
            as[j] = create_partitions_request_create_partitions_assignment_default;
            as[j].broker_ids.items = brokers[j];
            as[j].broker_ids.count = rows[i].counts[j];
        }
        grow_topic t = grow_of("a", rows[i].count);
        t.assignments.items = as;
        t.assignments.count = rows[i].assigned;
        struct create_partitions_response out = grow_for(w, &t, 1, false, 1000);
        assert_int_equal(out.results.items[0].error_code, rows[i].error);
        assert_int_equal(w->records.count, rows[i].error == 0 ? (size_t)rows[i].assigned : 0);
    }
}

static void more_than_10000_new_partitions_fail_the_whole_request(void **state)
{
    struct world *w = *state;
    make(w, "a", 3);
    make(w, "b", 1);
    grow_topic topics[] = {grow_of("a", 10003), grow_of("b", -6000)};
    assert_int_equal(grow_for(w, topics, 2, true, 1000).results.items[0].error_code, 0);
    topics[0].count = 10004;
    struct create_partitions_response out = grow_for(w, topics, 2, false, 1000);
    assert_int_equal(out.results.items[0].error_code, KAFKA_ERROR_POLICY_VIOLATION);
    assert_int_equal(out.results.items[1].error_code, KAFKA_ERROR_POLICY_VIOLATION);
    grow_topic halves[] = {grow_of("a", 6003), grow_of("b", 6001), grow_of("d", 1),
                           grow_of("d", 1)};
    out = grow_for(w, halves, 4, false, 1000);
    assert_int_equal(out.results.count, 4);
    assert_int_equal(out.results.items[3].error_code, KAFKA_ERROR_POLICY_VIOLATION);
    assert_int_equal(w->records.count, 0);
    out = grow_for(w, halves, 4, false, 0);
    assert_int_equal(out.results.items[3].error_code, KAFKA_ERROR_REQUEST_TIMED_OUT);
}

/* ---- producer ids, brokers ---- */

static void blocks_of_producer_ids_follow_each_other(void **state)
{
    struct world *w = *state;
    for (int64_t i = 0; i < 3; i++) {
        int64_t first = -1;
        begin(w);
        assert_int_equal(controller_allocate_producer_ids(&w->ct, w->im, &w->records, &first), 0);
        assert_int_equal(first, i * CONTROLLER_PRODUCER_ID_BLOCK);
        record_is(w, 0, &producer_ids_record_msg, 0);
        apply(w);
    }
}

static const struct image_partition *partition_a(const struct world *w)
{
    return &image_topic_by_name(w->im, STR("a"))->partitions[0];
}

static void stop_broker(struct world *w)
{
    begin(w);
    controller_broker_stops(w->im, 1, &w->records);
    apply(w);
}

static void serve_again(struct world *w, bool was_clean)
{
    struct bootstrap_node node = {.id = 1, .log_dirs = &directory_1, .log_dirs_count = 1};
    begin(w);
    assert_int_equal(bootstrap_register_broker(&w->records, &node, 100, METADATA_VERSION_LATEST),
                     0);
    apply(w);
    assert_true(image_broker(w->im, 1)->is_fenced);
    begin(w);
    controller_broker_serves(w->im, 1, was_clean, &w->records);
    apply(w);
}

static void a_clean_stop_leaves_eligible_leaders_behind(void **state)
{
    struct world *w = *state;
    make(w, "a", 1);
    stop_broker(w);
    assert_true(image_broker(w->im, 1)->is_fenced);
    assert_true(image_broker(w->im, 1)->is_in_controlled_shutdown);
    assert_int_equal(partition_a(w)->leader, IMAGE_NO_LEADER);
    assert_int_equal(partition_a(w)->isr_count, 0);
    assert_int_equal(partition_a(w)->elr_count, 1);
    assert_int_equal(partition_a(w)->last_known_elr_count, 1);
    assert_int_equal(partition_a(w)->leader_epoch, 1);
    stop_broker(w);
    assert_int_equal(w->records.count, 0);
}

static void a_clean_start_takes_the_leadership_back(void **state)
{
    struct world *w = *state;
    make(w, "a", 1);
    stop_broker(w);
    serve_again(w, true);
    assert_false(image_broker(w->im, 1)->is_fenced);
    assert_false(image_broker(w->im, 1)->is_in_controlled_shutdown);
    assert_int_equal(partition_a(w)->leader, 1);
    assert_int_equal(partition_a(w)->leader_epoch, 2);
    assert_int_equal(partition_a(w)->leader_recovery_state, 0);
    assert_int_equal(partition_a(w)->isr_count, 1);
    assert_int_equal(partition_a(w)->elr_count, 0);
    assert_int_equal(partition_a(w)->last_known_elr_count, 0);
}

static void an_eligible_leader_that_crashed_leads_as_recovering(void **state)
{
    struct world *w = *state;
    make(w, "a", 1);
    stop_broker(w);
    serve_again(w, false);
    assert_int_equal(partition_a(w)->leader, 1);
    assert_int_equal(partition_a(w)->leader_recovery_state, 1);
    assert_int_equal(partition_a(w)->elr_count, 0);
}

static void a_leader_that_comes_back_unfenced_leads_in_a_new_epoch(void **state)
{
    struct world *w = *state;
    make(w, "a", 1);
    serve_again(w, false);
    assert_int_equal(partition_a(w)->leader, 1);
    assert_int_equal(partition_a(w)->leader_epoch, 1);
    assert_int_equal(partition_a(w)->isr_count, 1);
    assert_int_equal(partition_a(w)->leader_recovery_state, 0);
}

static void another_in_sync_replica_takes_over_from_one_that_stops(void **state)
{
    struct world *w = *state;
    add_broker(w, 2, 43, 1);
    create_topic t = topic_of("a", -1, -1);
    create_assignment as = create_topics_request_creatable_replica_assignment_default;
    int32_t ids[] = {1, 2};
    as.broker_ids.items = ids;
    as.broker_ids.count = 2;
    t.assignments.items = &as;
    t.assignments.count = 1;
    assert_int_equal(create(w, &t, 1).topics.items[0].error_code, 0);
    apply(w);
    assert_int_equal(partition_a(w)->leader, 1);
    stop_broker(w);
    assert_int_equal(partition_a(w)->leader, 2);
    assert_int_equal(partition_a(w)->isr_count, 1);
    assert_int_equal(partition_a(w)->elr_count, 0);
    serve_again(w, true);
    assert_int_equal(partition_a(w)->leader, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(topics_are_deleted_by_name_and_by_id),
        TEST(version_5_names_topics_in_a_list_of_its_own),
        TEST(malformed_and_doubled_wishes_delete_nothing),
        TEST(deleting_without_time_answers_7_for_each),
        TEST(who_may_not_see_a_topic_learns_nothing_of_it),
        TEST(a_topic_grows_to_the_count_that_is_asked_for),
        TEST(what_would_not_grow_is_refused),
        TEST(assigned_partitions_must_be_as_many_as_are_added),
        TEST(more_than_10000_new_partitions_fail_the_whole_request),
        TEST(blocks_of_producer_ids_follow_each_other),
        TEST(a_clean_stop_leaves_eligible_leaders_behind),
        TEST(a_clean_start_takes_the_leadership_back),
        TEST(an_eligible_leader_that_crashed_leads_as_recovering),
        TEST(a_leader_that_comes_back_unfenced_leads_in_a_new_epoch),
        TEST(another_in_sync_replica_takes_over_from_one_that_stops),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
