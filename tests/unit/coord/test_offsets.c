/*
 * Committed offsets: a shard is driven by requests, and by the records of transactions as Kafka has
 * written them; after each of them the store is checked, and what a reload of all records gives is
 * compared with what is there.
 *
 * The random test keeps a map of its own: what was committed last is what is there, and nothing
 * goes back but by a commit.
 */
#include "offsets_world.h"

#include "base/rng.h"

static void a_commit_is_read_back(void **state)
{
    struct world *w = *state;
    struct world_commit c = {.group = "g",
                             .generation = -1,
                             .partition = 2,
                             .offset = 17,
                             .leader_epoch = 3,
                             .metadata = "note"};
    assert_int_equal(world_commit_one(w, c), 0);
    assert_int_equal(w->emitted, 1);
    struct world_fetched f = world_fetch_as(w, "g", "a", 2, false, NULL);
    assert_int_equal(f.error, 0);
    assert_int_equal(f.offset, 17);
    assert_int_equal(f.leader_epoch, 3);
    assert_true(str_is(f.metadata, "note"));
    world_check_reload(w);
}

static void null_metadata_is_empty_and_what_is_not_there_is_minus_one(void **state)
{
    struct world *w = *state;
    struct world_fetched f = world_fetch_as(w, "g", "a", 0, true, NULL);
    assert_int_equal(f.error, 0);
    assert_int_equal(f.offset, -1);
    assert_int_equal(f.leader_epoch, -1);
    assert_true(str_is(f.metadata, ""));
    world_commit_simple(w, "g", "a", 1, 5);
    f = world_fetch_as(w, "g", "a", 1, true, NULL);
    assert_int_equal(f.offset, 5);
    assert_true(str_is(f.metadata, ""));
    assert_int_equal(world_fetch(w, "g", "a", 0), -1);
    assert_int_equal(world_fetch(w, "g", "b", 1), -1);
    assert_int_equal(world_fetch(w, "other", "a", 1), -1);
    assert_null(group_find(w->sh, STR("other")));
}

/* Bytes as the dump of a Kafka shows them: key 1, value 4 with the topic's id as tag 0. */
static void a_record_has_kafkas_bytes(void **state)
{
    static const uint8_t key[] = {0, 1, 0, 1, 'g', 0, 1, 'a', 0, 0, 0, 2};
    static const uint8_t value[] = {
        0,    4,                                           /* version */
        0,    0,    0,    0,    0,    0,    0,    17,      /* offset */
        0,    0,    0,    3,                               /* leader epoch */
        5,    'n',  'o',  't',  'e',                       /* metadata */
        0x00, 0x00, 0x01, 0x8b, 0xcf, 0xe5, 0x68, 0x00,    /* commit timestamp */
        1,    0,    16,   1,    7,    1,    0,    0,    0, /* one tag: the id */
        0,    0,    0,    0,    0,    0,    0,    0,    0, 0};
    struct world *w = *state;
    struct world_commit c = {.group = "g",
                             .generation = -1,
                             .partition = 2,
                             .offset = 17,
                             .leader_epoch = 3,
                             .metadata = "note"};
    assert_int_equal(world_commit_one(w, c), 0);
    assert_int_equal(w->records[0].key.len, sizeof(key));
    assert_memory_equal(w->records[0].key.ptr, key, sizeof(key));
    assert_int_equal(w->records[0].value.len, sizeof(value));
    assert_memory_equal(w->records[0].value.ptr, value, sizeof(value));
}

static void a_time_of_retention_makes_a_record_of_version_one(void **state)
{
    struct world *w = *state;
    struct world_commit c = {.group = "g",
                             .generation = -1,
                             .offset = 9,
                             .leader_epoch = -1,
                             .metadata = "kept",
                             .retention_ms = 1000,
                             .version = 3};
    assert_int_equal(world_commit_one(w, c), 0);
    assert_int_equal(load_be16(w->records[0].value.ptr), 1);
    struct group *g = group_find(w->sh, STR("g"));
    const struct committed_offset *at = offsets_find(w->sh, g, STR("a"), 0);
    assert_int_equal(at->expire_timestamp, WORLD_WALL_MS + 1000);
    world_check_reload(w);
    c.retention_ms = INT64_MAX; /* wraps, as in Java */
    assert_int_equal(world_commit_one(w, c), 0);
    assert_true(offsets_find(w->sh, g, STR("a"), 0)->expire_timestamp < 0);
    c.retention_ms = 0; /* none */
    assert_int_equal(world_commit_one(w, c), 0);
    assert_int_equal(load_be16(w->records[2].value.ptr), 4);
    assert_int_equal(offsets_find(w->sh, g, STR("a"), 0)->expire_timestamp, -1);
    world_check_reload(w);
}

static void metadata_is_counted_in_letters_of_java(void **state)
{
    struct world *w = *state;
    char text[4 * 2100 + 1];
    struct world_commit c = {.group = "g", .generation = -1, .offset = 1, .metadata = text};
    memset(text, 'x', 4097);
    text[4097] = 0;
    assert_int_equal(world_commit_one(w, c), KAFKA_ERROR_OFFSET_METADATA_TOO_LARGE);
    assert_int_equal(w->emitted, 0);
    assert_false(group_is_seen(w->sh, group_find(w->sh, STR("g"))));
    text[4096] = 0;
    assert_int_equal(world_commit_one(w, c), 0);
    for (size_t i = 0; i < 2049; i++) { /* two units each */
        memcpy(text + 4 * i, "\xf0\x9f\x98\x80", 4);
    }
    text[4 * 2049] = 0;
    assert_int_equal(world_commit_one(w, c), KAFKA_ERROR_OFFSET_METADATA_TOO_LARGE);
    text[4 * 2048] = 0;
    assert_int_equal(world_commit_one(w, c), 0);
    for (size_t i = 0; i < 4096; i++) { /* one unit each */
        memcpy(text + 2 * i, "\xc3\xa9", 2);
    }
    text[8192] = 0;
    assert_int_equal(world_commit_one(w, c), 0);
    world_check_reload(w);
}

static void an_unknown_group_is_made_by_simple_commits_only(void **state)
{
    struct world *w = *state;
    struct world_commit c = {.group = "g", .generation = 0, .offset = 1, .version = 8};
    assert_int_equal(world_commit_one(w, c), KAFKA_ERROR_ILLEGAL_GENERATION);
    c.version = 9;
    assert_int_equal(world_commit_one(w, c), KAFKA_ERROR_GROUP_ID_NOT_FOUND);
    assert_null(group_find(w->sh, STR("g")));
    c.generation = -2;
    c.member = "anybody";
    assert_int_equal(world_commit_one(w, c), 0);
    c.generation = 0;
    assert_int_equal(world_commit_one(w, c), KAFKA_ERROR_UNKNOWN_MEMBER_ID);
    assert_int_equal(world_fetch(w, "g", "a", 0), 1);
}

static void a_group_name_that_no_record_can_hold_is_refused(void **state)
{
    struct world *w = *state;
    char *name = mem_zalloc(40001);
    memset(name, 'n', 40000);
    struct world_commit c = {.group = name, .generation = -1, .offset = 1};
    assert_int_equal(world_commit_one(w, c), KAFKA_ERROR_UNKNOWN_SERVER_ERROR);
    assert_int_equal(w->emitted, 0);
    name[32767] = 0;
    assert_int_equal(world_commit_one(w, c), 0);
    world_check_reload(w);
    mem_free(name);
}

static void members_commit_in_their_generation(void **state)
{
    struct world *w = *state;
    const char *member = world_join(w, "g", "consumer", "a");
    struct world_commit c = {.group = "g", .generation = 1, .member = member, .offset = 8};
    assert_int_equal(world_commit_one(w, c), 0);
    c.generation = 0;
    assert_int_equal(world_commit_one(w, c), KAFKA_ERROR_ILLEGAL_GENERATION);
    c.generation = 1;
    c.member = "nobody";
    assert_int_equal(world_commit_one(w, c), KAFKA_ERROR_UNKNOWN_MEMBER_ID);
    c.generation = -1;
    c.member = NULL;
    assert_int_equal(world_commit_one(w, c), KAFKA_ERROR_UNKNOWN_MEMBER_ID);
    assert_int_equal(world_fetch(w, "g", "a", 0), 8);
    world_check_reload(w);
}

/* ---- several topics in one request ---- */

typedef struct offset_commit_request_offset_commit_request_topic request_topic;
typedef struct offset_commit_request_offset_commit_request_partition request_partition;

static request_topic topic_of(struct world *w, const char *name, size_t count, ...)
{
    request_topic t = offset_commit_request_offset_commit_request_topic_default;
    t.name = str_from(name);
    t.partitions.items =
        codec_array(&w->arena, offset_commit_request_offset_commit_request_partition, count + 1);
    t.partitions.count = (int32_t)count;
    va_list args;
    va_start(args, count);
    for (size_t i = 0; i < count; i++) {
        t.partitions.items[i].partition_index = va_arg(args, int);
        t.partitions.items[i].committed_offset = 100 + (int64_t)i;
    }
    va_end(args);
    return t;
}

/* "a:0=0,1=3 b:2=0", in the order of the answer. */
static const char *text_of(struct world *w, const struct offset_commit_response *response)
{
    struct strbuf sb;
    strbuf_init(&sb, arena_alloc(&w->arena, 4096), 4096);
    for (int32_t i = 0; i < response->topics.count; i++) {
        const struct offset_commit_response_offset_commit_response_topic *t =
            &response->topics.items[i];
        strbuf_addf(&sb, "%s" STR_FMT ":", i == 0 ? "" : " ", STR_ARG(t->name));
        for (int32_t j = 0; j < t->partitions.count; j++) {
            strbuf_addf(&sb, "%s%d=%d", j == 0 ? "" : ",", t->partitions.items[j].partition_index,
                        t->partitions.items[j].error_code);
        }
    }
    return sb.ptr;
}

/* Topics that the world does not have, and partitions from 4 on, are refused as the handler would
 * refuse them. */
static const char *commit_topics(struct world *w, request_topic *topics, size_t count)
{
    struct offset_commit_request body = offset_commit_request_default;
    body.group_id = STR("g");
    body.topics.items = topics;
    body.topics.count = (int32_t)count;
    struct offset_commit_check checked = {0};
    struct offset_commit_topic *checks = arena_alloc(&w->arena, (count + 1) * sizeof(*checks));
    for (size_t i = 0; i < count; i++) {
        struct shard_topic known;
        checks[i].name = topics[i].name;
        if (!world_by_name(w, topics[i].name, &known)) {
            checks[i].error = KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION;
            checked.refused_count++;
            continue;
        }
        checks[i].id = known.id;
        enum kafka_error *errors =
            arena_alloc(&w->arena, ((size_t)topics[i].partitions.count + 1) * sizeof(*errors));
        for (int32_t j = 0; j < topics[i].partitions.count; j++) {
            if (topics[i].partitions.items[j].partition_index >= 4) {
                errors[j] = KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION;
                checks[i].partition_errors = errors;
                checked.refused_count++;
            }
        }
    }
    checked.topics = checks;
    struct offset_commit_response response = offset_commit_response_default;
    struct shard_call call = {
        .api_key = 8, .version = 9, .body = &body, .response = &response, .arena = &w->arena};
    world_begin(w);
    offsets_commit(w->sh, &call, &checked);
    world_end(w);
    return text_of(w, &response);
}

/* As a Kafka 4.4.0 has answered the same requests. */
static void refused_partitions_stand_where_kafka_puts_them(void **state)
{
    struct world *w = *state;
    request_topic plain[] = {topic_of(w, "a", 2, 0, 1), topic_of(w, "b", 0),
                             topic_of(w, "c", 1, 3)};
    assert_string_equal(commit_topics(w, plain, 3), "a:0=0,1=0 c:3=0");
    request_topic twice[] = {topic_of(w, "a", 2, 2, 2), topic_of(w, "b", 1, 0),
                             topic_of(w, "a", 1, 0)};
    assert_string_equal(commit_topics(w, twice, 3), "a:2=0,2=0 b:0=0 a:0=0");
    request_topic some[] = {topic_of(w, "a", 4, 0, 4, 1, 5), topic_of(w, "b", 1, 1)};
    assert_string_equal(commit_topics(w, some, 2), "a:4=3,5=3,0=0,1=0 b:1=0");
    request_topic joined[] = {topic_of(w, "a", 1, 2), topic_of(w, "b", 1, 9),
                              topic_of(w, "a", 1, 0), topic_of(w, "b", 1, 0)};
    assert_string_equal(commit_topics(w, joined, 4), "b:9=3,0=0 a:2=0,0=0");
    request_topic unknown[] = {topic_of(w, "a", 1, 0), topic_of(w, "gone", 2, 0, 1),
                               topic_of(w, "b", 1, 0), topic_of(w, "none", 0)};
    assert_string_equal(commit_topics(w, unknown, 4), "gone:0=3,1=3 none: a:0=0 b:0=0");
    assert_int_equal(world_fetch(w, "g", "a", 0), 100);
    world_check_reload(w);
}

static void the_last_of_two_commits_of_one_request_counts(void **state)
{
    struct world *w = *state;
    request_topic twice[] = {topic_of(w, "a", 3, 2, 1, 2)};
    (void)commit_topics(w, twice, 1);
    assert_int_equal(world_fetch(w, "g", "a", 2), 102);
    assert_int_equal(world_fetch(w, "g", "a", 1), 101);
    world_check_reload(w);
}

static void all_offsets_of_a_group_come_by_topic(void **state)
{
    struct world *w = *state;
    world_commit_simple(w, "g", "b", 3, 33);
    world_commit_simple(w, "g", "a", 2, 22);
    world_commit_simple(w, "g", "b", 1, 31);
    world_commit_simple(w, "h", "c", 0, 1);
    struct offset_fetch_request_offset_fetch_request_group ask =
        offset_fetch_request_offset_fetch_request_group_default;
    ask.group_id = STR("g");
    ask.topics.count = -1;
    struct offset_fetch_response_offset_fetch_response_group ret;
    world_begin(w);
    offsets_fetch(w->sh, &ask, false, &w->arena, &ret);
    world_end(w);
    assert_int_equal(ret.topics.count, 2);
    assert_true(str_is(ret.topics.items[0].name, "a"));
    assert_int_equal(ret.topics.items[0].partitions.count, 1);
    assert_int_equal(ret.topics.items[0].partitions.items[0].committed_offset, 22);
    assert_true(str_is(ret.topics.items[1].name, "b"));
    assert_int_equal(ret.topics.items[1].partitions.count, 2);
    assert_int_equal(ret.topics.items[1].partitions.items[0].committed_offset, 31);
    assert_int_equal(ret.topics.items[1].partitions.items[1].committed_offset, 33);
    ask.group_id = STR("none");
    world_begin(w);
    offsets_fetch(w->sh, &ask, false, &w->arena, &ret);
    world_end(w);
    assert_int_equal(ret.error_code, 0);
    assert_int_equal(ret.topics.count, 0);
}

static void an_offset_of_another_topic_of_that_name_is_none(void **state)
{
    struct world *w = *state;
    world_commit_simple(w, "g", "a", 0, 5);
    struct uuid first = world_id(1);
    struct uuid second = world_id(99);
    assert_int_equal(world_fetch_as(w, "g", "a", 0, false, &first).offset, 5);
    assert_int_equal(world_fetch_as(w, "g", "a", 0, false, &second).offset, -1);
    assert_int_equal(world_fetch(w, "g", "a", 0), 5); /* by name nobody can tell */
}

/* ---- deletions ---- */

static struct offset_delete_response delete_one(struct world *w, const char *group, int32_t p)
{
    struct offset_delete_request_offset_delete_request_partition partition = {.partition_index = p};
    struct offset_delete_request_offset_delete_request_topic topic = {.name = STR("a")};
    topic.partitions.items = &partition;
    topic.partitions.count = 1;
    struct offset_delete_request body = {.group_id = str_from(group)};
    body.topics.items = &topic;
    body.topics.count = 1;
    struct offset_delete_response ret = offset_delete_response_default;
    world_begin(w);
    offsets_delete(w->sh, &body, &w->arena, &ret);
    world_end(w);
    return ret;
}

static int16_t first_error(const struct offset_delete_response *r)
{
    return r->topics.items[0].partitions.items[0].error_code;
}

static void offsets_are_deleted_unless_somebody_is_subscribed(void **state)
{
    struct world *w = *state;
    struct offset_delete_response r = delete_one(w, "g", 0);
    assert_int_equal(r.error_code, KAFKA_ERROR_GROUP_ID_NOT_FOUND);
    world_commit_simple(w, "g", "a", 0, 5);
    r = delete_one(w, "g", 1); /* nothing there */
    assert_int_equal(first_error(&r), 0);
    assert_int_equal(w->emitted, 0);
    r = delete_one(w, "g", 0);
    assert_int_equal(first_error(&r), 0);
    assert_int_equal(w->emitted, 1);
    assert_int_equal(world_fetch(w, "g", "a", 0), -1);
    world_check_reload(w);

    const char *member = world_join(w, "m", "consumer", "a");
    struct world_commit c = {.group = "m", .generation = 1, .member = member, .offset = 8};
    assert_int_equal(world_commit_one(w, c), 0);
    r = delete_one(w, "m", 0);
    assert_int_equal(r.error_code, 0);
    assert_int_equal(first_error(&r), KAFKA_ERROR_GROUP_SUBSCRIBED_TO_TOPIC);
    assert_int_equal(w->emitted, 0);
    assert_int_equal(world_fetch(w, "m", "a", 0), 8);
    world_leave(w, "m", member);
    r = delete_one(w, "m", 0);
    assert_int_equal(first_error(&r), 0);
    assert_int_equal(world_fetch(w, "m", "a", 0), -1);

    member = world_join(w, "t", "connect", "a");
    r = delete_one(w, "t", 0);
    assert_int_equal(r.error_code, KAFKA_ERROR_NON_EMPTY_GROUP);
    world_leave(w, "t", member);
    r = delete_one(w, "t", 0);
    assert_int_equal(r.error_code, 0);
}

static void offsets_go_with_their_topic(void **state)
{
    struct world *w = *state;
    world_commit_simple(w, "g", "a", 0, 1);
    world_commit_simple(w, "g", "a", 1, 2);
    world_commit_simple(w, "g", "b", 0, 3);
    world_commit_simple(w, "h", "a", 3, 4);
    struct shard_topic gone = w->all[0];
    world_begin(w);
    shard_topic_changed(w->sh, TOPIC_DELETED, &gone);
    world_end(w);
    assert_int_equal(w->emitted, 3);
    assert_int_equal(world_fetch(w, "g", "a", 0), -1);
    assert_int_equal(world_fetch(w, "g", "b", 0), 3);
    assert_int_equal(world_fetch(w, "h", "a", 3), -1);
    assert_non_null(group_find(w->sh, STR("h"))); /* until the next sweep */
    world_check_reload(w);
    gone = w->all[1];
    gone.id = world_id(50); /* another one of that name */
    world_begin(w);
    shard_topic_changed(w->sh, TOPIC_DELETED, &gone);
    world_end(w);
    assert_int_equal(w->emitted, 0);
    assert_int_equal(world_fetch(w, "g", "b", 0), 3);
}

/* ---- transactions ---- */

static struct view
encoded(struct world *w, int16_t prefix, const struct msg *m, int16_t version, void *object)
{
    struct writer out;
    struct rope rope;
    writer_init(&out);
    writer_i16(&out, prefix);
    assert_int_equal(codec_encode(m, version, object, &out), 0);
    writer_finish(&out, &rope);
    struct view kept =
        fixture_keep(&w->arena, (struct view){.ptr = rope_first(&rope)->ptr, .len = rope.bytes});
    rope_release(&rope);
    writer_release(&out);
    return kept;
}

static void replay_pending(struct world *w,
                           int64_t producer_id,
                           const char *group,
                           int32_t partition,
                           int64_t offset)
{
    /* A record of our own is the model: it is taken back from the log. */
    world_commit_simple(w, "model", "a", partition, offset);
    struct world_record r = w->records[--w->records_count];
    struct offset_commit_key key = {
        .group = str_from(group), .topic = STR("a"), .partition = partition};
    r.key = encoded(w, 1, &offset_commit_key_msg, 0, &key);
    r.producer_id = producer_id;
    world_add_record(w, r);
}

static void replay_marker(struct world *w, int64_t producer_id, bool is_commit)
{
    world_add_record(
        w, (struct world_record){.producer_id = producer_id, .marker = is_commit ? 1 : -1});
}

static void offsets_of_a_transaction_wait_for_its_marker(void **state)
{
    struct world *w = *state;
    world_commit_simple(w, "g", "a", 0, 5);
    replay_pending(w, 1000, "g", 0, 9);
    replay_pending(w, 1000, "g", 1, 10);
    world_restart(w);
    assert_int_equal(world_fetch(w, "g", "a", 0), 5);
    assert_int_equal(world_fetch(w, "g", "a", 1), -1);
    struct world_fetched f = world_fetch_as(w, "g", "a", 0, true, NULL);
    assert_int_equal(f.error, KAFKA_ERROR_UNSTABLE_OFFSET_COMMIT);
    assert_int_equal(f.offset, -1);
    f = world_fetch_as(w, "g", "a", 1, true, NULL);
    assert_int_equal(f.error, KAFKA_ERROR_UNSTABLE_OFFSET_COMMIT);
    f = world_fetch_as(w, "g", "a", 2, true, NULL);
    assert_int_equal(f.error, 0);
    replay_marker(w, 1000, true);
    world_restart(w);
    assert_int_equal(world_fetch(w, "g", "a", 0), 9);
    assert_int_equal(world_fetch_as(w, "g", "a", 1, true, NULL).offset, 10);
    assert_false(offsets_have_pending(group_find(w->sh, STR("g"))));
}

static void an_aborted_transaction_leaves_nothing(void **state)
{
    struct world *w = *state;
    replay_pending(w, 1000, "g", 0, 9);
    replay_pending(w, 1001, "g", 0, 11);
    replay_marker(w, 1000, false);
    world_restart(w);
    assert_int_equal(world_fetch(w, "g", "a", 0), -1);
    assert_int_equal(world_fetch_as(w, "g", "a", 0, true, NULL).error,
                     KAFKA_ERROR_UNSTABLE_OFFSET_COMMIT);
    replay_marker(w, 1001, false);
    replay_marker(w, 1002, true); /* of nothing */
    world_restart(w);
    assert_int_equal(world_fetch_as(w, "g", "a", 0, true, NULL).error, 0);
    assert_true(offsets_are_empty(group_find(w->sh, STR("g"))));
}

static void a_later_commit_wins_over_a_transaction_that_ends_after_it(void **state)
{
    struct world *w = *state;
    replay_pending(w, 1000, "g", 0, 9);
    replay_pending(w, 1000, "g", 0, 10); /* of one transaction the last counts */
    replay_pending(w, 1001, "g", 1, 12);
    replay_pending(w, 1002, "g", 1, 13);
    world_restart(w);
    world_commit_simple(w, "g", "a", 0, 50);
    replay_marker(w, 1000, true);
    replay_marker(w, 1001, true);
    world_restart(w);
    assert_int_equal(world_fetch(w, "g", "a", 0), 50);
    assert_int_equal(world_fetch(w, "g", "a", 1), 12);
    replay_marker(w, 1002, true);
    world_restart(w);
    assert_int_equal(world_fetch(w, "g", "a", 1), 13);
}

static void a_deletion_takes_what_is_pending_too(void **state)
{
    struct world *w = *state;
    replay_pending(w, 1000, "g", 0, 9);
    replay_pending(w, 1000, "h", 0, 8);
    replay_pending(w, 1001, "h", 0, 7);
    world_restart(w);
    struct offset_delete_response r = delete_one(w, "g", 0);
    assert_int_equal(first_error(&r), 0);
    assert_int_equal(w->emitted, 1);
    assert_int_equal(world_delete_group(w, "h"), KAFKA_ERROR_NONE);
    assert_int_equal(w->emitted, 2); /* the offset and the group */
    assert_null(group_find(w->sh, STR("h")));
    replay_marker(w, 1000, true);
    replay_marker(w, 1001, true);
    world_restart(w);
    assert_int_equal(world_fetch(w, "g", "a", 0), -1);
    assert_int_equal(world_fetch(w, "h", "a", 0), -1);
}

/* ---- records of other releases ---- */

static void values_of_every_version_are_read(void **state)
{
    struct world *w = *state;
    for (int16_t v = 0; v <= 4; v++) {
        struct offset_commit_key key = {.group = STR("g"), .topic = STR("a"), .partition = v};
        struct offset_commit_value value = offset_commit_value_default;
        value.offset = 100 + v;
        value.metadata = STR("note");
        value.commit_timestamp = WORLD_WALL_MS + v;
        value.leader_epoch = v >= 3 ? 7 : -1;
        value.expire_timestamp = v == 1 ? WORLD_WALL_MS + 50 : -1;
        if (v >= 4) {
            value.topic_id = world_id(1);
        }
        struct world_record r = {.producer_id = -1};
        r.key = encoded(w, 1, &offset_commit_key_msg, 0, &key);
        r.value = encoded(w, v, &offset_commit_value_msg, v, &value);
        world_add_record(w, r);
    }
    world_restart(w);
    struct group *g = group_find(w->sh, STR("g"));
    for (int32_t v = 0; v <= 4; v++) {
        const struct committed_offset *at = offsets_find(w->sh, g, STR("a"), v);
        assert_non_null(at);
        assert_int_equal(at->offset, 100 + v);
        assert_true(str_is(at->metadata, "note"));
        assert_int_equal(at->commit_timestamp, WORLD_WALL_MS + v);
        assert_int_equal(at->leader_epoch, v >= 3 ? 7 : -1);
        assert_int_equal(at->expire_timestamp, v == 1 ? WORLD_WALL_MS + 50 : -1);
        assert_true(uuid_is_zero(&at->topic_id) == (v < 4));
    }
}

static void a_record_that_is_none_is_refused_and_changes_nothing(void **state)
{
    static const uint8_t key[] = {0, 1, 0, 1, 'g', 0, 1, 'a', 0, 0, 0, 2};
    static const uint8_t cut[] = {0, 4, 0, 0, 0};
    static const uint8_t future[] = {0, 99, 0, 0, 0, 0, 0, 0, 0, 0};
    struct world *w = *state;
    struct shard *sh = world_new_shard(w);
    shard_begin(sh, 0, WORLD_WALL_MS, &w->topics);
    struct view k = {.ptr = key, .len = sizeof(key)};
    struct view v = {.ptr = cut, .len = sizeof(cut)};
    assert_true(shard_replay(sh, -1, k, v) < 0);
    v = (struct view){.ptr = future, .len = sizeof(future)};
    assert_true(shard_replay(sh, -1, k, v) < 0);
    k.len = 7;
    assert_true(shard_replay(sh, -1, k, v) < 0);
    assert_int_equal(sh->groups.count, 0);
    shard_free(sh);
}

/* ---- memory ---- */

static void memory_is_bounded_and_given_back(void **state)
{
    struct world *w = *state;
    world_commit_simple(w, "g", "a", 0, 1);
    w->memory.max = atomic_load(&w->memory.used) + 100;
    struct world_commit c = {.group = "g", .generation = -1, .partition = 1, .offset = 5};
    assert_int_equal(world_commit_one(w, c), KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE);
    assert_int_equal(w->emitted, 0);
    c.group = "h";
    assert_int_equal(world_commit_one(w, c), KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE);
    assert_null(group_find(w->sh, STR("h")));
    world_commit_simple(w, "g", "a", 0, 2); /* takes no more */
    w->memory.max = 0;
    int64_t before = atomic_load(&w->memory.used);
    world_commit_simple(w, "g", "b", 1, 2);
    assert_true(atomic_load(&w->memory.used) > before);
    struct shard_topic gone = w->all[1];
    world_begin(w);
    shard_topic_changed(w->sh, TOPIC_DELETED, &gone);
    world_end(w);
    assert_int_equal(atomic_load(&w->memory.used), before);
    w->memory.max = 1; /* loading takes what it needs */
    world_restart(w);
    assert_int_equal(world_fetch(w, "g", "a", 0), 2);
}

/* ---- at random ---- */

#define RANDOM_GROUPS 4
#define RANDOM_TOPICS 3
#define RANDOM_PARTS  4
#define RANDOM_STEPS  3000

struct model {
    int64_t offset[RANDOM_GROUPS][RANDOM_TOPICS][RANDOM_PARTS]; /* -1: none */
};

static void check_model(struct world *w, const struct model *m)
{
    static const char *const groups[] = {"g0", "g1", "g2", "g3"};
    for (size_t g = 0; g < RANDOM_GROUPS; g++) {
        for (size_t t = 0; t < RANDOM_TOPICS; t++) {
            for (int32_t p = 0; p < RANDOM_PARTS; p++) {
                assert_int_equal(world_fetch(w, groups[g], w->all[t].name.ptr, p),
                                 m->offset[g][t][p]);
            }
        }
    }
}

static void random_step(struct world *w, struct model *m, struct rng *r)
{
    static const char *const groups[] = {"g0", "g1", "g2", "g3"};
    static const char *const notes[] = {NULL, "", "short", "somewhat longer than the others"};
    size_t g = rng_next(r) % RANDOM_GROUPS;
    size_t t = rng_next(r) % RANDOM_TOPICS;
    size_t p = rng_next(r) % RANDOM_PARTS;
    switch (rng_next(r) % 16) {
    case 0: {
        enum kafka_error error = world_delete_group(w, groups[g]);
        assert_true(error == KAFKA_ERROR_NONE || error == KAFKA_ERROR_GROUP_ID_NOT_FOUND);
        memset(m->offset[g], 0xff, sizeof(m->offset[g]));
        break;
    }
    case 1: {
        struct shard_topic gone = w->all[t];
        world_begin(w);
        shard_topic_changed(w->sh, TOPIC_DELETED, &gone);
        world_end(w);
        for (size_t i = 0; i < RANDOM_GROUPS; i++) {
            memset(m->offset[i][t], 0xff, sizeof(m->offset[i][t]));
        }
        break;
    }
    case 2:
        world_run(w, (int64_t)(rng_next(r) % 1000));
        break;
    case 3:
        world_restart(w);
        break;
    default: {
        int64_t offset = (int64_t)(rng_next(r) % 100000);
        struct world_commit c = {.group = groups[g],
                                 .generation = -1,
                                 .topic = w->all[t].name.ptr,
                                 .partition = (int32_t)p,
                                 .offset = offset,
                                 .metadata = notes[rng_next(r) % ARRAY_LEN(notes)],
                                 .version = 9};
        assert_int_equal(world_commit_one(w, c), 0);
        m->offset[g][t][p] = offset;
        break;
    }
    }
}

static void at_random_the_log_says_what_the_shard_has(void **state)
{
    struct world *w = *state;
    struct rng r;
    struct model m;
    rng_init(&r, 4711);
    memset(&m, 0xff, sizeof(m));
    for (size_t i = 0; i < RANDOM_STEPS; i++) {
        random_step(w, &m, &r);
        if (i % 100 == 99) {
            check_model(w, &m);
            world_check_reload(w);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
        TEST(a_commit_is_read_back),
        TEST(null_metadata_is_empty_and_what_is_not_there_is_minus_one),
        TEST(a_record_has_kafkas_bytes),
        TEST(a_time_of_retention_makes_a_record_of_version_one),
        TEST(metadata_is_counted_in_letters_of_java),
        TEST(an_unknown_group_is_made_by_simple_commits_only),
        TEST(a_group_name_that_no_record_can_hold_is_refused),
        TEST(members_commit_in_their_generation),
        TEST(refused_partitions_stand_where_kafka_puts_them),
        TEST(the_last_of_two_commits_of_one_request_counts),
        TEST(all_offsets_of_a_group_come_by_topic),
        TEST(an_offset_of_another_topic_of_that_name_is_none),
        TEST(offsets_are_deleted_unless_somebody_is_subscribed),
        TEST(offsets_go_with_their_topic),
        TEST(offsets_of_a_transaction_wait_for_its_marker),
        TEST(an_aborted_transaction_leaves_nothing),
        TEST(a_later_commit_wins_over_a_transaction_that_ends_after_it),
        TEST(a_deletion_takes_what_is_pending_too),
        TEST(values_of_every_version_are_read),
        TEST(a_record_that_is_none_is_refused_and_changes_nothing),
        TEST(memory_is_bounded_and_given_back),
        TEST(at_random_the_log_says_what_the_shard_has),
#undef TEST
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
