/*
 * CreateTopics as the controller decides it: a decision is good when the answer is the one that
 * Kafka 4.4.0 was seen to give to such a request and when its records, replayed, make the image
 * that was asked for. Refusals are rows of tables: a request, the error, and that nothing was
 * recorded.
 */
#include "controller_world.h"

static void a_created_topic_is_in_the_image_its_records_make(void **state)
{
    struct world *w = *state;
    create_config configs[] = {
        {.name = STR("retention.ms"), .value = STR("1")},
        {.name = STR("min.insync.replicas"), .value = STR("1")},
        {.name = STR("retention.ms"), .value = STR("2")},
    };
    create_topic t = topic_of("orders", 2, 1);
    t.configs.items = configs;
    t.configs.count = 3;
    struct create_topics_response out = create(w, &t, 1);
    assert_int_equal(out.topics.count, 1);
    assert_int_equal(out.topics.items[0].error_code, 0);
    assert_true(str_is_null(out.topics.items[0].error_message));
    assert_int_equal(out.topics.items[0].num_partitions, 2);
    assert_int_equal(out.topics.items[0].replication_factor, 1);
    assert_int_equal(out.topics.items[0].configs.count, 2);
    assert_int_equal(w->records.count, 6);
    record_is(w, 0, &topic_record_msg, 0);
    record_is(w, 1, &config_record_msg, 0);
    record_is(w, 2, &config_record_msg, 0);
    record_is(w, 3, &clear_elr_record_msg, 0);
    record_is(w, 4, &partition_record_msg, 2);
    record_is(w, 5, &partition_record_msg, 2);
    apply(w);
    const struct image_topic *it = image_topic_by_name(w->im, STR("orders"));
    assert_non_null(it);
    assert_true(uuid_equal(&it->id, &out.topics.items[0].topic_id));
    assert_int_equal(it->partitions_count, 2);
    for (int32_t i = 0; i < 2; i++) {
        const struct image_partition *ip = &it->partitions[i];
        assert_int_equal(ip->leader, 1);
        assert_int_equal(ip->leader_epoch, 0);
        assert_int_equal(ip->partition_epoch, 0);
        assert_int_equal(ip->replicas_count, 1);
        assert_int_equal(ip->isr_count, 1);
        assert_int_equal(ip->isr[0], 1);
        assert_true(uuid_equal(&ip->directories[0], &directory_1));
    }
    struct str value =
        image_config_value(w->im, CONFIG_RESOURCE_TOPIC, STR("orders"), STR("retention.ms"));
    assert_true(str_is(value, "2"));
}

static void minus_one_means_the_brokers_defaults(void **state)
{
    struct world *w = *state;
    create_topic t = topic_of("orders", -1, -1);
    struct create_topics_response out = create(w, &t, 1);
    assert_int_equal(out.topics.items[0].error_code, 0);
    assert_int_equal(out.topics.items[0].num_partitions, 3);
    assert_int_equal(out.topics.items[0].replication_factor, 1);
    assert_int_equal(w->records.count, 4);
}

static void a_broker_of_several_directories_chooses_itself(void **state)
{
    struct world *w = *state;
    add_broker(w, 1, 50, 2);
    make(w, "orders", 1);
    const struct image_partition *ip = &image_topic_by_name(w->im, STR("orders"))->partitions[0];
    assert_int_equal(image_directory_reserved(&ip->directories[0]), IMAGE_DIRECTORY_UNASSIGNED);
}

/* The record is the one that Kafka 4.4.0 wrote for the second of three partitions. */
static void a_broker_that_has_chosen_tells_it_once(void **state)
{
    struct world *w = *state;
    add_broker(w, 1, 50, 2);
    make(w, "orders", 2);
    struct uuid id = image_topic_by_name(w->im, STR("orders"))->id;
    struct uuid directory;
    assert_int_equal(uuid_parse(STR("nLvzi5lvs3aPf0fuToGrzw"), &directory), 0);
    begin(w);
    controller_assign_directory(w->im, 1, &id, 1, &directory, &w->records);
    assert_int_equal(w->records.count, 1);
    uint8_t expected[] = {1,    5,    2,    0,    0,    0,    1,    0,    0,    0,    0,
                          0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,
                          0,    1,    8,    17,   2,    0x9c, 0xbb, 0xf3, 0x8b, 0x99, 0x6f,
                          0xb3, 0x76, 0x8f, 0x7f, 0x47, 0xee, 0x4e, 0x81, 0xab, 0xcf};
    memcpy(expected + 7, &id, sizeof(id));
    assert_int_equal(w->records.items[0].len, sizeof(expected));
    assert_memory_equal(w->records.items[0].ptr, expected, sizeof(expected));
    apply(w);
    const struct image_topic *t = image_topic_by_name(w->im, STR("orders"));
    assert_true(uuid_equal(&t->partitions[1].directories[0], &directory));
    assert_int_equal(t->partitions[1].leader_epoch, 0);
    assert_int_equal(t->partitions[1].partition_epoch, 1);
    begin(w);
    struct uuid gone = {.bytes = {5}};
    controller_assign_directory(w->im, 1, &id, 1, &directory, &w->records);
    controller_assign_directory(w->im, 1, &id, 2, &directory, &w->records);
    controller_assign_directory(w->im, 1, &gone, 0, &directory, &w->records);
    controller_assign_directory(w->im, 2, &id, 0, &directory, &w->records);
    assert_int_equal(w->records.count, 0);
}

/* The record is the one that Kafka 4.4.0 wrote when one of two directories was cordoned. */
static void a_broker_gets_no_partitions_once_all_its_directories_are_cordoned(void **state)
{
    struct world *w = *state;
    struct uuid ids[2] = {directory_1, {.bytes = {9}}};
    add_broker(w, 1, 16, 2);
    begin(w);
    controller_cordon(w->im, 1, ids, 1, &w->records);
    uint8_t expected[32] = {1, 17, 3, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 16, 1, 3, 17, 2};
    assert_int_equal(w->records.count, 1);
    assert_int_equal(w->records.items[0].len, 35);
    assert_memory_equal(w->records.items[0].ptr, expected, 19);
    assert_memory_equal(w->records.items[0].ptr + 19, &directory_1, sizeof(directory_1));
    apply(w);
    make(w, "orders", 1);
    begin(w);
    controller_cordon(w->im, 1, ids, 1, &w->records);
    assert_int_equal(w->records.count, 0); /* no news */
    controller_cordon(w->im, 1, ids, 2, &w->records);
    apply(w);
    create_topic t = topic_of("more", 1, 1);
    struct create_topics_response out = create(w, &t, 1);
    assert_int_equal(out.topics.items[0].error_code, KAFKA_ERROR_INVALID_REPLICATION_FACTOR);
    begin(w);
    controller_cordon(w->im, 1, NULL, 0, &w->records);
    apply(w);
    make(w, "more", 1);
}

static void validation_alone_answers_alike_and_records_nothing(void **state)
{
    struct world *w = *state;
    create_topic t = topic_of("orders", 2, 1);
    struct create_topics_response out = create_for(w, &t, 1, true, 1000, NULL);
    assert_int_equal(out.topics.items[0].error_code, 0);
    assert_int_equal(out.topics.items[0].num_partitions, 2);
    assert_false(uuid_is_zero(&out.topics.items[0].topic_id));
    assert_int_equal(w->records.count, 0);
}

struct refusal {
    const char *name;
    int32_t partitions;
    int16_t replicas;
    const char *config;
    const char *value; /* NULL: null */
    int16_t error;
};

static void each_bad_topic_is_refused_by_the_first_check_that_it_fails(void **state)
{
    struct world *w = *state;
    make(w, "have.it", 1);
    static const struct refusal rows[] = {
        {"have.it", 0, 0, "no.such", "1", KAFKA_ERROR_TOPIC_ALREADY_EXISTS},
        {"have_it", 0, 0, "no.such", "1", KAFKA_ERROR_INVALID_TOPIC_EXCEPTION},
        {"", 1, 1, NULL, NULL, KAFKA_ERROR_INVALID_TOPIC_EXCEPTION},
        {".", 0, 1, NULL, NULL, KAFKA_ERROR_INVALID_TOPIC_EXCEPTION},
        {"..", 1, 1, NULL, NULL, KAFKA_ERROR_INVALID_TOPIC_EXCEPTION},
        {"a/b", 0, 0, "no.such", "1", KAFKA_ERROR_INVALID_TOPIC_EXCEPTION},
        {"\xc3\xa4", 1, 1, NULL, NULL, KAFKA_ERROR_INVALID_TOPIC_EXCEPTION},
        {"t", 0, 5, "no.such", "1", KAFKA_ERROR_INVALID_CONFIG},
        {"t", 0, 1, "retention.ms", "bad", KAFKA_ERROR_INVALID_CONFIG},
        {"t", 0, 0, "retention.ms", NULL, KAFKA_ERROR_INVALID_CONFIG},
        {"t", 0, 0, NULL, NULL, KAFKA_ERROR_INVALID_REPLICATION_FACTOR},
        {"t", 1, -2, NULL, NULL, KAFKA_ERROR_INVALID_REPLICATION_FACTOR},
        {"t", 1, 2, NULL, NULL, KAFKA_ERROR_INVALID_REPLICATION_FACTOR},
        {"t", 0, 1, NULL, NULL, KAFKA_ERROR_INVALID_PARTITIONS},
        {"t", -2, 1, NULL, NULL, KAFKA_ERROR_INVALID_PARTITIONS},
        {"t", 0, 2, NULL, NULL, KAFKA_ERROR_INVALID_PARTITIONS},
        {"__cluster_metadata", 1, 1, NULL, NULL, KAFKA_ERROR_INVALID_REQUEST},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        create_topic t = topic_of(rows[i].name, rows[i].partitions, rows[i].replicas);
        create_config config = {
            .name = str_from(rows[i].config),
            .value = str_from(rows[i].value),
        };
        t.configs.items = &config;
        t.configs.count = rows[i].config == NULL ? 0 : 1;
        struct create_topics_response out = create(w, &t, 1);
        assert_int_equal(out.topics.items[0].error_code, rows[i].error);
        assert_false(str_is_null(out.topics.items[0].error_message));
        assert_true(uuid_is_zero(&out.topics.items[0].topic_id));
        assert_int_equal(out.topics.items[0].num_partitions, -1);
        assert_int_equal(out.topics.items[0].replication_factor, -1);
        assert_int_equal(out.topics.items[0].configs.count, 0);
        assert_int_equal(w->records.count, 0);
    }
}

static void a_name_of_249_letters_is_good_and_one_more_is_not(void **state)
{
    struct world *w = *state;
    char name[251];
    memset(name, 'n', sizeof(name));
    name[249] = 0;
    make(w, name, 1);
    name[249] = 'n';
    name[250] = 0;
    create_topic t = topic_of(name, 1, 1);
    assert_int_equal(create(w, &t, 1).topics.items[0].error_code,
                     KAFKA_ERROR_INVALID_TOPIC_EXCEPTION);
}

static void a_bad_topic_does_not_keep_others_from_being_made(void **state)
{
    struct world *w = *state;
    create_topic topics[] = {
        topic_of("good", 1, 1),  topic_of("twice", 1, 1), topic_of("bad/", 1, 1),
        topic_of("twice", 2, 1), topic_of("x.y", 1, 1),   topic_of("x_y", 1, 1),
    };
    struct create_topics_response out = create(w, topics, ARRAY_LEN(topics));
    assert_int_equal(out.topics.count, 5);
    int16_t errors[] = {0, KAFKA_ERROR_INVALID_REQUEST, KAFKA_ERROR_INVALID_TOPIC_EXCEPTION, 0, 0};
    const char *names[] = {"good", "twice", "bad/", "x.y", "x_y"};
    for (size_t i = 0; i < 5; i++) {
        assert_true(str_is(out.topics.items[i].name, names[i]));
        assert_int_equal(out.topics.items[i].error_code, errors[i]);
    }
    apply(w);
    assert_int_equal(image_topics_count(w->im), 3);
}

static void no_time_fails_everything_unless_nothing_is_left_to_do(void **state)
{
    struct world *w = *state;
    create_topic topics[] = {topic_of("a", 1, 1), topic_of("b", 1, 1), topic_of("b", 1, 1),
                             topic_of("..", 1, 1)};
    struct create_topics_response out = create_for(w, topics, ARRAY_LEN(topics), false, 0, NULL);
    assert_int_equal(out.topics.count, 4);
    for (int32_t i = 0; i < 4; i++) {
        assert_int_equal(out.topics.items[i].error_code, KAFKA_ERROR_REQUEST_TIMED_OUT);
        assert_true(str_is_null(out.topics.items[i].error_message));
    }
    assert_int_equal(w->records.count, 0);
    out = create_for(w, topics + 1, 2, false, -1, NULL);
    assert_int_equal(out.topics.count, 1);
    assert_int_equal(out.topics.items[0].error_code, KAFKA_ERROR_INVALID_REQUEST);
}

struct limit_row {
    int32_t first;
    int32_t second; /* 0: no second topic */
    int16_t error;
};

static void a_request_makes_at_most_10000_records(void **state)
{
    struct world *w = *state;
    static const struct limit_row rows[] = {
        {9999, 0, 0},
        {10000, 0, KAFKA_ERROR_POLICY_VIOLATION},
        {10001, 0, KAFKA_ERROR_POLICY_VIOLATION},
        {5000, 4998, 0},
        {5000, 5000, KAFKA_ERROR_POLICY_VIOLATION},
        {6000, 6000, KAFKA_ERROR_POLICY_VIOLATION},
        {20000, -20000, KAFKA_ERROR_POLICY_VIOLATION},
        {INT32_MAX, INT32_MAX, KAFKA_ERROR_POLICY_VIOLATION},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        create_topic topics[] = {topic_of("a", rows[i].first, 1), topic_of("b", rows[i].second, 1)};
        struct create_topics_response out = create(w, topics, rows[i].second == 0 ? 1 : 2);
        for (int32_t j = 0; j < out.topics.count; j++) {
            assert_int_equal(out.topics.items[j].error_code, rows[i].error);
        }
        size_t records = rows[i].second == 0
                             ? (size_t)rows[i].first + 1
                             : (size_t)(rows[i].first + (int64_t)rows[i].second) + 2;
        assert_int_equal(w->records.count, rows[i].error == 0 ? records : 0);
    }
}

static uint8_t grant_little(void *ctx unused_ok, struct str topic)
{
    return str_is(topic, "mine") ? CONTROLLER_MAY : CONTROLLER_MAY_SEE_CONFIGS;
}

static void what_is_not_allowed_is_not_made_and_hidden_configs_are_not_told(void **state)
{
    struct world *w = *state;
    create_topic topics[] = {topic_of("mine", 1, 1), topic_of("other", 1, 1)};
    struct create_topics_response out = create_for(w, topics, 2, false, 1000, grant_little);
    assert_int_equal(out.topics.items[0].error_code, 0);
    assert_int_equal(out.topics.items[0].topic_config_error_code,
                     KAFKA_ERROR_TOPIC_AUTHORIZATION_FAILED);
    assert_int_equal(out.topics.items[0].num_partitions, -1);
    assert_int_equal(out.topics.items[0].replication_factor, -1);
    assert_int_equal(out.topics.items[1].error_code, KAFKA_ERROR_TOPIC_AUTHORIZATION_FAILED);
    apply(w);
    assert_non_null(image_topic_by_name(w->im, STR("mine")));
    assert_null(image_topic_by_name(w->im, STR("other")));
}

struct assignment_row {
    int32_t numbers[3]; /* of the partitions */
    int32_t brokers[3][3];
    int32_t counts[3];
    int32_t count;
    int32_t partitions;
    int16_t replicas;
    int16_t error;
};

static void manual_assignments_must_be_whole(void **state)
{
    struct world *w = *state;
    static const struct assignment_row rows[] = {
        {{1, 0}, {{1}, {1}}, {1, 1}, 2, -1, -1, 0},
        {{0}, {{1}}, {1}, 1, 1, -1, KAFKA_ERROR_INVALID_REQUEST},
        {{0}, {{1}}, {1}, 1, -1, 1, KAFKA_ERROR_INVALID_REQUEST},
        {{0, 0}, {{1}, {1}}, {1, 1}, 2, -1, -1, KAFKA_ERROR_INVALID_REPLICA_ASSIGNMENT},
        {{0, 2}, {{1}, {1}}, {1, 1}, 2, -1, -1, KAFKA_ERROR_INVALID_REPLICA_ASSIGNMENT},
        {{-1}, {{1}}, {1}, 1, -1, -1, KAFKA_ERROR_INVALID_REPLICA_ASSIGNMENT},
        {{0}, {{0}}, {0}, 1, -1, -1, KAFKA_ERROR_INVALID_REPLICA_ASSIGNMENT},
        {{0}, {{1, 1}}, {2}, 1, -1, -1, KAFKA_ERROR_INVALID_REPLICA_ASSIGNMENT},
        {{0}, {{1, 2}}, {2}, 1, -1, -1, KAFKA_ERROR_INVALID_REPLICA_ASSIGNMENT},
        {{0}, {{-1}}, {1}, 1, -1, -1, KAFKA_ERROR_INVALID_REPLICA_ASSIGNMENT},
        {{0, 1}, {{1}, {1, 1}}, {1, 2}, 2, -1, -1, KAFKA_ERROR_INVALID_REPLICA_ASSIGNMENT},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        create_assignment as[3];
        int32_t brokers[3][3];
        memcpy(brokers, rows[i].brokers, sizeof(brokers));
        for (int32_t j = 0; j < rows[i].count; j++) {
            as[j] = create_topics_request_creatable_replica_assignment_default;
            as[j].partition_index = rows[i].numbers[j];
            as[j].broker_ids.items = brokers[j];
            as[j].broker_ids.count = rows[i].counts[j];
        }
        create_topic t = topic_of("t", rows[i].partitions, rows[i].replicas);
        t.assignments.items = as;
        t.assignments.count = rows[i].count;
        struct create_topics_response out = create_for(w, &t, 1, true, 1000, NULL);
        assert_int_equal(out.topics.items[0].error_code, rows[i].error);
        if (rows[i].error == 0) {
            assert_int_equal(out.topics.items[0].num_partitions, rows[i].count);
        }
    }
}

static void a_fenced_broker_gets_no_partitions(void **state)
{
    struct world *w = *state;
    begin(w);
    assert_int_equal(bootstrap_change_broker(&w->records, 1, 42, BOOTSTRAP_FENCE), 0);
    apply(w);
    create_topic t = topic_of("t", 1, 1);
    assert_int_equal(create(w, &t, 1).topics.items[0].error_code,
                     KAFKA_ERROR_INVALID_REPLICATION_FACTOR);
    assert_int_equal(w->records.count, 0);
    create_assignment as = create_topics_request_creatable_replica_assignment_default;
    int32_t id = 1;
    as.broker_ids.items = &id;
    as.broker_ids.count = 1;
    t = topic_of("t", -1, -1);
    t.assignments.items = &as;
    t.assignments.count = 1;
    assert_int_equal(create(w, &t, 1).topics.items[0].error_code,
                     KAFKA_ERROR_INVALID_REPLICA_ASSIGNMENT);
    assert_int_equal(w->records.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_created_topic_is_in_the_image_its_records_make),
        TEST(minus_one_means_the_brokers_defaults),
        TEST(a_broker_that_has_chosen_tells_it_once),
        TEST(a_broker_of_several_directories_chooses_itself),
        TEST(a_broker_gets_no_partitions_once_all_its_directories_are_cordoned),
        TEST(validation_alone_answers_alike_and_records_nothing),
        TEST(each_bad_topic_is_refused_by_the_first_check_that_it_fails),
        TEST(a_name_of_249_letters_is_good_and_one_more_is_not),
        TEST(a_bad_topic_does_not_keep_others_from_being_made),
        TEST(no_time_fails_everything_unless_nothing_is_left_to_do),
        TEST(a_request_makes_at_most_10000_records),
        TEST(what_is_not_allowed_is_not_made_and_hidden_configs_are_not_told),
        TEST(manual_assignments_must_be_whole),
        TEST(a_fenced_broker_gets_no_partitions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
