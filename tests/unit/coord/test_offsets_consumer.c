/*
 * Committed offsets of consumer groups (KIP-848): one member joins, owns, changes its subscription;
 * commits and fetches at each of its epochs are answered as a Kafka 4.4.0 has answered them.
 * Expiry, listing, describing and deleting of such groups, too.
 */
#include "offsets_world.h"

#include "coord/consumer.h"

#define MEMBER "JYc2sMqFQ0mT6YPqQJvL1A"

struct beat {
    int32_t epoch;
    const char *topics[2]; /* subscribed; NULL: not said, or no second one */
    bool owns[2];          /* all of a, all of b; said unless is_silent */
    bool is_silent;
};

/* A heartbeat of the member; returns its epoch. */
static int32_t beat(struct world *w, struct beat b)
{
    static int32_t all[] = {0, 1, 2, 3};
    struct str names[2];
    struct consumer_group_heartbeat_request_topic_partitions owned[2];
    struct consumer_group_heartbeat_request body = consumer_group_heartbeat_request_default;
    body.group_id = STR("g");
    body.member_id = STR(MEMBER);
    body.member_epoch = b.epoch;
    body.rebalance_timeout_ms = 60000;
    if (b.topics[0] != NULL) {
        body.subscribed_topic_names.items = names;
        body.subscribed_topic_names.count = 0;
        for (size_t i = 0; i < 2 && b.topics[i] != NULL; i++) {
            names[body.subscribed_topic_names.count++] = str_from(b.topics[i]);
        }
    }
    if (!b.is_silent) {
        body.topic_partitions.items = owned;
        body.topic_partitions.count = 0;
        for (size_t i = 0; i < 2; i++) {
            if (b.owns[i]) {
                struct consumer_group_heartbeat_request_topic_partitions *tp =
                    &owned[body.topic_partitions.count++];
                *tp = consumer_group_heartbeat_request_topic_partitions_default;
                tp->topic_id = w->all[i].id;
                tp->partitions.items = all;
                tp->partitions.count = 4;
            }
        }
    }
    struct consumer_group_heartbeat_response response = consumer_group_heartbeat_response_default;
    struct shard_call call = {.api_key = 68,
                              .version = 1,
                              .client_id = STR("test"),
                              .client_host = STR("/127.0.0.1"),
                              .body = &body,
                              .response = &response,
                              .arena = &w->arena};
    world_begin(w);
    consumer_heartbeat(w->sh, &call);
    world_end(w);
    assert_int_equal(response.error_code, 0);
    return response.member_epoch;
}

/* The member joins and owns all of topic a. */
static int32_t join(struct world *w)
{
    int32_t epoch = beat(w, (struct beat){.topics = {"a"}});
    assert_int_equal(epoch, 2);
    return beat(w, (struct beat){.epoch = epoch, .owns = {true}});
}

/* It wants topic b, too; its epoch is the next one then. */
static int32_t widen(struct world *w, int32_t epoch)
{
    int32_t next = epoch;
    for (size_t i = 0; i < 10 && next == epoch; i++) {
        w->now_ms += 1000;
        next = beat(w, (struct beat){.epoch = epoch, .topics = {"a", "b"}, .owns = {true}});
    }
    assert_int_equal(next, epoch + 1);
    return beat(w, (struct beat){.epoch = next, .owns = {true, true}});
}

static void leave(struct world *w)
{
    assert_int_equal(beat(w, (struct beat){.epoch = -1, .is_silent = true}), -1);
}

static int16_t commit(struct world *w, int32_t epoch, const char *topic, int64_t offset)
{
    return world_commit_one(w, (struct world_commit){.group = "g",
                                                     .generation = epoch,
                                                     .member = MEMBER,
                                                     .topic = topic,
                                                     .offset = offset,
                                                     .leader_epoch = -1});
}

static void a_member_commits_at_its_epoch(void **state)
{
    struct world *w = *state;
    int32_t epoch = join(w);
    assert_int_equal(commit(w, epoch, "a", 5), 0);
    assert_int_equal(commit(w, epoch, "b", 6), 0); /* what it does not own, too */
    assert_int_equal(commit(w, epoch + 1, "a", 7), KAFKA_ERROR_STALE_MEMBER_EPOCH);
    assert_int_equal(commit(w, epoch - 1, "a", 7), KAFKA_ERROR_STALE_MEMBER_EPOCH);
    assert_int_equal(commit(w, 0, "a", 7), KAFKA_ERROR_STALE_MEMBER_EPOCH);
    assert_int_equal(commit(w, -1, "a", 7), KAFKA_ERROR_STALE_MEMBER_EPOCH);
    assert_int_equal(commit(w, -2, "a", 7), KAFKA_ERROR_STALE_MEMBER_EPOCH);
    struct world_commit c = {
        .group = "g", .generation = epoch, .member = MEMBER, .offset = 7, .version = 8};
    assert_int_equal(world_commit_one(w, c), KAFKA_ERROR_UNSUPPORTED_VERSION);
    c.member = "nobody";
    assert_int_equal(world_commit_one(w, c), KAFKA_ERROR_UNKNOWN_MEMBER_ID);
    c = (struct world_commit){.group = "g", .generation = -1, .offset = 7};
    assert_int_equal(world_commit_one(w, c), KAFKA_ERROR_UNKNOWN_MEMBER_ID);
    c.generation = epoch;
    assert_int_equal(world_commit_one(w, c), KAFKA_ERROR_UNKNOWN_MEMBER_ID);
    assert_int_equal(world_fetch(w, "g", "a", 0), 5);
    assert_int_equal(world_fetch(w, "g", "b", 0), 6);
    world_check_reload(w);
}

static void a_member_that_is_behind_commits_what_was_its_own_then(void **state)
{
    struct world *w = *state;
    int32_t before = join(w);
    int32_t epoch = widen(w, before);
    assert_int_equal(commit(w, before, "a", 5), 0);
    assert_int_equal(commit(w, before, "b", 6), KAFKA_ERROR_STALE_MEMBER_EPOCH);
    assert_int_equal(commit(w, before, "c", 6), KAFKA_ERROR_STALE_MEMBER_EPOCH);
    assert_int_equal(commit(w, before - 1, "a", 6), KAFKA_ERROR_STALE_MEMBER_EPOCH);
    assert_int_equal(commit(w, epoch, "b", 7), 0);
    assert_int_equal(commit(w, epoch + 1, "a", 8), KAFKA_ERROR_STALE_MEMBER_EPOCH);
    world_restart(w); /* the epochs are in the log */
    assert_int_equal(commit(w, before, "a", 9), 0);
    assert_int_equal(commit(w, before, "b", 9), KAFKA_ERROR_STALE_MEMBER_EPOCH);
    assert_int_equal(world_fetch(w, "g", "a", 0), 9);
    assert_int_equal(world_fetch(w, "g", "b", 0), 7);
    world_check_reload(w);
}

/* The error of the group. */
static int16_t fetch_as(struct world *w, const char *member, int32_t epoch)
{
    struct offset_fetch_request_offset_fetch_request_group ask =
        offset_fetch_request_offset_fetch_request_group_default;
    ask.group_id = STR("g");
    ask.member_id = str_from(member);
    ask.member_epoch = epoch;
    ask.topics.count = -1;
    struct offset_fetch_response_offset_fetch_response_group ret;
    world_begin(w);
    offsets_fetch(w->sh, &ask, false, &w->arena, &ret);
    world_end(w);
    assert_true(ret.error_code == 0 || ret.topics.count == 0);
    return ret.error_code;
}

static void members_fetch_at_their_epoch_and_admins_at_any(void **state)
{
    struct world *w = *state;
    int32_t epoch = join(w);
    assert_int_equal(commit(w, epoch, "a", 5), 0);
    assert_int_equal(fetch_as(w, NULL, -1), 0);
    assert_int_equal(fetch_as(w, MEMBER, epoch), 0);
    assert_int_equal(fetch_as(w, MEMBER, epoch - 1), KAFKA_ERROR_STALE_MEMBER_EPOCH);
    assert_int_equal(fetch_as(w, MEMBER, 99), KAFKA_ERROR_STALE_MEMBER_EPOCH);
    assert_int_equal(fetch_as(w, MEMBER, -1), KAFKA_ERROR_STALE_MEMBER_EPOCH);
    assert_int_equal(fetch_as(w, "nobody", 1), KAFKA_ERROR_UNKNOWN_MEMBER_ID);
    assert_int_equal(fetch_as(w, "", -1), KAFKA_ERROR_UNKNOWN_MEMBER_ID);
    assert_int_equal(fetch_as(w, NULL, 0), KAFKA_ERROR_UNKNOWN_SERVER_ERROR);
}

static void an_empty_consumer_group_takes_simple_commits(void **state)
{
    struct world *w = *state;
    int32_t epoch = join(w);
    assert_int_equal(commit(w, epoch, "a", 5), 0);
    leave(w);
    assert_int_equal(commit(w, epoch, "a", 6), KAFKA_ERROR_UNKNOWN_MEMBER_ID);
    world_commit_simple(w, "g", "a", 1, 7);
    assert_int_equal(world_fetch(w, "g", "a", 0), 5);
    assert_int_equal(world_fetch(w, "g", "a", 1), 7);
    world_restart(w);
    assert_int_equal(group_find(w->sh, STR("g"))->kind, GROUP_CONSUMER);
    world_check_reload(w);
}

/* Kafka counts every offset of a consumer group from its commit, also when it is empty. */
static void offsets_of_a_consumer_group_expire_unless_subscribed(void **state)
{
    struct world *w = *state;
    int32_t epoch = join(w);
    assert_int_equal(commit(w, epoch, "a", 5), 0);
    assert_int_equal(commit(w, epoch, "b", 6), 0);
    consumer_member_find(group_find(w->sh, STR("g"))->consumer, STR(MEMBER))->session_deadline_ms =
        INT64_MAX; /* it lives */
    world_run(w, WORLD_RETENTION);
    assert_int_equal(world_fetch(w, "g", "a", 0), 5);
    assert_int_equal(world_fetch(w, "g", "b", 0), -1);
    leave(w);
    world_run(w, WORLD_CHECK_MS);
    assert_null(group_find(w->sh, STR("g")));
    world_check_reload(w);
}

static void a_consumer_group_is_none_for_describe_groups(void **state)
{
    struct world *w = *state;
    struct describe_groups_response_described_group d;
    (void)join(w);
    group_describe(w->sh, STR("g"), 5, &w->arena, &d);
    assert_int_equal(d.error_code, 0);
    assert_true(str_is(d.group_state, "Dead"));
    group_describe(w->sh, STR("g"), 6, &w->arena, &d);
    assert_int_equal(d.error_code, KAFKA_ERROR_GROUP_ID_NOT_FOUND);
    assert_true(str_is(d.error_message, "Group g is not a classic group."));
}

static size_t count_listed(struct world *w, const char *state, const char *type)
{
    struct str state_item = str_from(state);
    struct str type_item = str_from(type);
    struct list_groups_request filters = list_groups_request_default;
    filters.states_filter.items = &state_item;
    filters.states_filter.count = 1;
    filters.types_filter.items = &type_item;
    filters.types_filter.count = 1;
    struct group_list ret = {.items = NULL};
    group_list_add(w->sh, &filters, &w->arena, &ret);
    for (size_t i = 0; i < ret.count; i++) {
        assert_true(str_is(ret.items[i].protocol_type, "consumer"));
    }
    return ret.count;
}

static void a_consumer_group_is_listed_and_deleted_when_it_is_empty(void **state)
{
    struct world *w = *state;
    int32_t epoch = join(w);
    assert_int_equal(commit(w, epoch, "a", 5), 0);
    assert_int_equal(count_listed(w, "stable", "Consumer"), 1);
    assert_int_equal(count_listed(w, "stable", "classic"), 0);
    assert_int_equal(count_listed(w, "Empty", "consumer"), 0);
    assert_int_equal(world_delete_group(w, "g"), KAFKA_ERROR_NON_EMPTY_GROUP);
    leave(w);
    assert_int_equal(count_listed(w, "Empty", "consumer"), 1);
    assert_int_equal(world_delete_group(w, "g"), KAFKA_ERROR_NONE);
    assert_null(group_find(w->sh, STR("g")));
    world_restart(w);
    assert_null(group_find(w->sh, STR("g")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
        TEST(a_member_commits_at_its_epoch),
        TEST(a_member_that_is_behind_commits_what_was_its_own_then),
        TEST(members_fetch_at_their_epoch_and_admins_at_any),
        TEST(an_empty_consumer_group_takes_simple_commits),
        TEST(offsets_of_a_consumer_group_expire_unless_subscribed),
        TEST(a_consumer_group_is_none_for_describe_groups),
        TEST(a_consumer_group_is_listed_and_deleted_when_it_is_empty),
#undef TEST
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
