/*
 * Consumer groups against a real Kafka 4.4.0: the scripts tests/oracle/groups-consumer-*.jsonl are
 * put to a shard, and every answer must be the one that Kafka gave; then every record that the
 * groups have written must be the one that Kafka wrote (tests/golden/groups/consumer-records.jsonl,
 * made from its log), hashes of topics included.
 *
 * Topics get the ids that they had there. Texts for people count by being null or not, lists that
 * have no order are sorted, times and metadata versions in records do not count. What the broker
 * wrote after a script had ended (expired sessions) is behind what is compared.
 */
#include "consumer_rig.h"

#include "coord/group_admin.h"
#include "coord/shard_machines.h"
#include "wire/json_reader.h"

static const char *tests_dir;

enum {
    LINES_MAX = 400,
    VARS_MAX = 16
};

struct script_line {
    struct str name;
    struct str api;
    struct str body;
    struct str outcome; /* answer */
    int32_t version;
    int32_t sleep_ms;
};

static struct str read_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    char *bytes = NULL;
    size_t cap = 0;
    size_t len = 0;
    for (;;) {
        bytes = mem_grow(bytes, &cap, len + 65536, 1);
        size_t n = fread(bytes + len, 1, 65536, f);
        if (n == 0) {
            break;
        }
        len += n;
    }
    fclose(f);
    return str_of(bytes, len);
}

/* The text of the next value. */
static struct str value_text(struct json_reader *jr)
{
    (void)json_reader_peek(jr);
    const char *begin = jr->next;
    json_reader_skip(jr);
    return str_of(begin, (size_t)(jr->next - begin));
}

static struct str unquote(struct str text, struct arena *arena)
{
    struct json_reader jr;
    json_reader_init(&jr, text, arena);
    return json_reader_string(&jr);
}

static struct script_line read_line(struct str text, struct arena *arena)
{
    struct script_line l = {0};
    struct json_reader jr;
    json_reader_init(&jr, text, arena);
    json_reader_expect(&jr, '{', "an object");
    do {
        struct str key = json_reader_string(&jr);
        json_reader_expect(&jr, ':', "a colon");
        struct str value = value_text(&jr);
        if (str_is(key, "name")) {
            l.name = unquote(value, arena);
        } else if (str_is(key, "api")) {
            l.api = unquote(value, arena);
        } else if (str_is(key, "version")) {
            assert_int_equal(str_to_i32(value, &l.version), 0);
        } else if (str_is(key, "sleep")) {
            assert_int_equal(str_to_i32(value, &l.sleep_ms), 0);
        } else if (str_is(key, "body")) {
            l.body = value;
        } else if (str_is(key, "answer")) {
            l.outcome = value;
        }
    } while (json_reader_accept(&jr, ','));
    assert_null(jr.failed);
    return l;
}

/* "${t}" becomes the id of topic t. */
static struct str expand(const struct rig *r, struct str text, struct arena *arena)
{
    char *out = arena_alloc(arena, text.len * 2 + 64);
    size_t n = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] != '$' || i + 1 == text.len || text.ptr[i + 1] != '{') {
            out[n++] = text.ptr[i];
            continue;
        }
        size_t end = i;
        while (text.ptr[end] != '}') {
            end++;
        }
        struct str name = str_of(text.ptr + i + 2, end - i - 2);
        for (size_t t = r->topics_count; t-- > 0;) { /* the last of that name */
            if (str_is(name, r->topic[t].name)) {
                uuid_print(&r->topic[t].id, out + n);
                break;
            }
        }
        n += 22;
        i = end;
    }
    return str_of(out, n);
}

static void *parse(const char *msg_name, int32_t version, struct str json, struct arena *arena)
{
    const struct msg *m = msg_find(str_from(msg_name));
    assert_non_null(m);
    void *object = arena_alloc(arena, msg_size(m));
    struct str error = {0};
    int rc = codec_parse_json(m, (int16_t)version, json, arena, object, &error);
    if (rc != 0) {
        fail_msg("%s: %.*s", msg_name, STR_ARG(error));
    }
    return object;
}

/* ---- lists without an order ---- */

static int by_topic_id(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct uuid)); /* the first field of each */
}

static int by_member_id(const void *a, const void *b)
{
    const struct consumer_group_describe_response_member *x = a;
    const struct consumer_group_describe_response_member *y = b;
    return str_compare(x->member_id, y->member_id);
}

static int by_text(const void *a, const void *b)
{
    return str_compare(*(const struct str *)a, *(const struct str *)b);
}

static void
sort_items(void *items, int32_t count, size_t size, int (*order)(const void *, const void *))
{
    if (count > 1) {
        qsort(items, to_size(count), size, order);
    }
}

#define SORT(list, order) sort_items((list).items, (list).count, sizeof((list).items[0]), order)

static struct str without_text(struct str s)
{
    return s.len > 0 ? STR("(text)") : s;
}

static void tidy_heartbeat(struct consumer_group_heartbeat_response *rs)
{
    rs->error_message = without_text(rs->error_message);
    if (rs->assignment != NULL) {
        SORT(rs->assignment->topic_partitions, by_topic_id);
    }
}

static void tidy_described(struct consumer_group_describe_response *rs)
{
    for (int32_t i = 0; i < rs->groups.count; i++) {
        struct consumer_group_describe_response_described_group *dg = &rs->groups.items[i];
        dg->error_message = without_text(dg->error_message);
        SORT(dg->members, by_member_id);
        for (int32_t j = 0; j < dg->members.count; j++) {
            SORT(dg->members.items[j].assignment.topic_partitions, by_topic_id);
            SORT(dg->members.items[j].target_assignment.topic_partitions, by_topic_id);
            SORT(dg->members.items[j].subscribed_topic_names, by_text);
        }
    }
}

static void compare(const char *msg_name,
                    int32_t version,
                    const struct script_line *l,
                    const void *expected,
                    const void *came)
{
    const struct msg *m = msg_find(str_from(msg_name));
    if (codec_equal(m, (int16_t)version, expected, came)) {
        return;
    }
    struct writer w;
    for (int i = 0; i < 2; i++) {
        writer_init(&w);
        IGNORE(codec_print_json(m, (int16_t)version, i == 0 ? expected : came, &w));
        struct rope rope;
        writer_finish(&w, &rope);
        print_error("%s: ", i == 0 ? "expected" : "came");
        for (struct rope_run *run; (run = rope_first(&rope)) != NULL;) {
            print_error("%.*s", (int)run->len, (const char *)run->ptr);
            rope_consume(&rope, run->len);
        }
        print_error("\n");
        rope_release(&rope);
        writer_release(&w);
    }
    fail_msg("%.*s", STR_ARG(l->name));
}

/* ---- what a script can ask ---- */

static void do_heartbeat(struct rig *r,
                         const struct script_line *l,
                         const struct script_line *e,
                         struct arena *arena)
{
    const struct consumer_group_heartbeat_request *rq =
        parse("ConsumerGroupHeartbeatRequest", l->version, l->body, arena);
    struct consumer_group_heartbeat_response *expected =
        parse("ConsumerGroupHeartbeatResponse", l->version, e->outcome, arena);
    struct consumer_group_heartbeat_response came = *rig_send(r, rq, (int16_t)l->version);
    if (rq->member_id.len == 0 && came.error_code == 0) {
        assert_int_equal(came.member_id.len, expected->member_id.len);
        came.member_id = expected->member_id; /* a random one */
    }
    tidy_heartbeat(expected);
    tidy_heartbeat(&came);
    compare("ConsumerGroupHeartbeatResponse", l->version, l, expected, &came);
}

static void do_describe(struct rig *r,
                        const struct script_line *l,
                        const struct script_line *e,
                        struct arena *arena)
{
    const struct consumer_group_describe_request *rq =
        parse("ConsumerGroupDescribeRequest", l->version, l->body, arena);
    struct consumer_group_describe_response *expected =
        parse("ConsumerGroupDescribeResponse", l->version, e->outcome, arena);
    struct consumer_group_describe_response came = consumer_group_describe_response_default;
    came.groups.items = codec_array(arena, consumer_group_describe_response_described_group,
                                    to_size(rq->group_ids.count));
    came.groups.count = rq->group_ids.count;
    rig_begin(r);
    for (int32_t i = 0; i < rq->group_ids.count; i++) {
        consumer_describe(r->sh, rq->group_ids.items[i], arena, &came.groups.items[i]);
    }
    rig_end(r);
    assert_int_equal(r->records_new, 0);
    tidy_described(expected);
    tidy_described(&came);
    compare("ConsumerGroupDescribeResponse", l->version, l, expected, &came);
}

static void do_commit(struct rig *r,
                      const struct script_line *l,
                      const struct script_line *e,
                      struct arena *arena)
{
    const struct offset_commit_request *rq =
        parse("OffsetCommitRequest", l->version, l->body, arena);
    const struct offset_commit_response *expected =
        parse("OffsetCommitResponse", l->version, e->outcome, arena);
    struct offset_commit_response came = offset_commit_response_default;
    struct offset_commit_topic *topics =
        arena_alloc(arena, to_size(rq->topics.count) * sizeof(*topics));
    for (int32_t i = 0; i < rq->topics.count; i++) {
        struct shard_topic t;
        bool is_there = l->version >= 10 ? rig_by_id(r, &rq->topics.items[i].topic_id, &t)
                                         : rig_by_name(r, rq->topics.items[i].name, &t);
        assert_true(is_there);
        topics[i] = (struct offset_commit_topic){.name = arena_strdup(arena, t.name), .id = t.id};
    }
    struct offset_commit_check checked = {.topics = topics};
    struct shard_call call = {
        .api_key = 8,
        .version = (int16_t)l->version,
        .client_id = STR("ask"),
        .client_host = STR("/127.0.0.1"),
        .body = rq,
        .response = &came,
        .arena = arena,
    };
    list_init(&call.link);
    rig_begin(r);
    offsets_commit(r->sh, &call, &checked);
    assert_true(list_is_linked(&call.link));
    rig_end(r);
    compare("OffsetCommitResponse", l->version, l, expected, &came);
}

static void do_delete_groups(struct rig *r,
                             const struct script_line *l,
                             const struct script_line *e,
                             struct arena *arena)
{
    const struct delete_groups_request *rq =
        parse("DeleteGroupsRequest", l->version, l->body, arena);
    const struct delete_groups_response *expected =
        parse("DeleteGroupsResponse", l->version, e->outcome, arena);
    rig_begin(r);
    for (int32_t i = 0; i < rq->groups_names.count; i++) {
        assert_int_equal(group_delete(r->sh, rq->groups_names.items[i]),
                         expected->results.items[i].error_code);
    }
    rig_end(r);
}

static void do_create_topics(struct rig *r,
                             const struct script_line *l,
                             const struct script_line *e,
                             struct arena *arena)
{
    (void)l;
    const struct create_topics_response *rs = parse("CreateTopicsResponse", 7, e->outcome, arena);
    for (int32_t i = 0; i < rs->topics.count; i++) {
        char name[64] = {0};
        struct str from = rs->topics.items[i].name;
        memcpy(name, from.ptr, min_size(from.len, sizeof(name) - 1));
        rig_create(r, name, rs->topics.items[i].num_partitions, &rs->topics.items[i].topic_id);
    }
}

static void do_config(struct rig *r, const struct script_line *l, struct arena *arena)
{
    const struct incremental_alter_configs_request *rq =
        parse("IncrementalAlterConfigsRequest", l->version, l->body, arena);
    struct str group = rq->resources.items[0].resource_name;
    memcpy(r->settings_group, group.ptr, min_size(group.len, sizeof(r->settings_group) - 1));
    for (int32_t i = 0; i < rq->resources.items[0].configs.count; i++) {
        struct str name = rq->resources.items[0].configs.items[i].name;
        int32_t value;
        assert_int_equal(str_to_i32(rq->resources.items[0].configs.items[i].value, &value), 0);
        if (str_is(name, "consumer.assignment.interval.ms")) {
            r->settings.assignment_interval_ms = value;
        } else if (str_is(name, "consumer.heartbeat.interval.ms")) {
            r->settings.heartbeat_interval_ms = value;
        } else {
            assert_true(str_is(name, "consumer.session.timeout.ms"));
            r->settings.session_timeout_ms = value;
        }
    }
}

static void run_line(struct rig *r,
                     const struct script_line *l,
                     const struct script_line *e,
                     struct arena *arena)
{
    assert_true(str_equal(l->name, e->name));
    if (str_is(l->api, "ConsumerGroupHeartbeat")) {
        do_heartbeat(r, l, e, arena);
    } else if (str_is(l->api, "ConsumerGroupDescribe")) {
        do_describe(r, l, e, arena);
    } else if (str_is(l->api, "OffsetCommit")) {
        do_commit(r, l, e, arena);
    } else if (str_is(l->api, "CreateTopics")) {
        do_create_topics(r, l, e, arena);
    } else if (str_is(l->api, "CreatePartitions")) {
        rig_grow(r, "t1", 3);
    } else if (str_is(l->api, "DeleteTopics")) {
        rig_delete(r, "t2");
    } else if (str_is(l->api, "IncrementalAlterConfigs")) {
        do_config(r, l, arena);
    } else if (str_is(l->api, "DeleteGroups")) {
        do_delete_groups(r, l, e, arena);
    } else {
        bool is_other = str_is(l->api, "Metadata") || str_is(l->api, "ListOffsets") ||
                        str_is(l->api, "FindCoordinator") || str_is(l->api, "OffsetFetch") ||
                        str_is(l->api, "DescribeConfigs");
        assert_true(is_other); /* of the broker, and of the tests of offsets */
    }
}

/* ---- records ---- */

static const char *const kinds[] = {
    [1] = "OffsetCommit",
    [2] = "GroupMetadata",
    [3] = "ConsumerGroupMetadata",
    [4] = "ConsumerGroupPartitionMetadata",
    [5] = "ConsumerGroupMemberMetadata",
    [6] = "ConsumerGroupTargetAssignmentMetadata",
    [7] = "ConsumerGroupTargetAssignmentMember",
    [8] = "ConsumerGroupCurrentMemberAssignment",
    [16] = "ConsumerGroupRegularExpression",
};

struct decoded {
    int16_t kind;
    void *key;
    void *value; /* NULL: a tombstone */
};

static void tidy_record(struct decoded *d)
{
    if (d->value == NULL) {
        return;
    }
    if (d->kind == 1) {
        ((struct offset_commit_value *)d->value)->commit_timestamp = 0;
    } else if (d->kind == 6) {
        struct consumer_group_target_assignment_metadata_value *v = d->value;
        v->assignment_timestamp = v->assignment_timestamp != 0; /* none, or some */
    } else if (d->kind == 7) {
        SORT(((struct consumer_group_target_assignment_member_value *)d->value)->topic_partitions,
             by_topic_id);
    } else if (d->kind == 8) {
        struct consumer_group_current_member_assignment_value *v = d->value;
        SORT(v->assigned_partitions, by_topic_id);
        SORT(v->partitions_pending_revocation, by_topic_id);
    } else if (d->kind == 16) {
        struct consumer_group_regular_expression_value *v = d->value;
        assert_true(v->version > 0);
        assert_true(v->timestamp > 0);
        v->version = 0;
        v->timestamp = 0;
    }
}

static const struct msg *message_of(int16_t kind, const char *part)
{
    char name[80];
    snprintf(name, sizeof(name), "%s%s", kinds[kind], part);
    const struct msg *m = msg_find(str_from(name));
    assert_non_null(m);
    return m;
}

static struct decoded decode_record(const struct rig_record *rec, struct arena *arena)
{
    struct cursor c = cursor_of(rec->key.ptr, rec->key.len);
    struct decoded d = {.kind = cursor_i16(&c)};
    const struct msg *m = message_of(d.kind, "Key");
    d.key = arena_alloc(arena, msg_size(m));
    assert_int_equal(codec_decode(m, 0, &c, arena, d.key), 0);
    if (rec->value.ptr != NULL) {
        c = cursor_of(rec->value.ptr, rec->value.len);
        int16_t version = cursor_i16(&c);
        m = message_of(d.kind, "Value");
        d.value = arena_alloc(arena, msg_size(m));
        assert_int_equal(codec_decode(m, version, &c, arena, d.value), 0);
    }
    tidy_record(&d);
    return d;
}

static struct decoded read_record(struct str text, struct arena *arena, struct str *ret_group)
{
    struct decoded d = {0};
    struct str key = {0};
    struct str value = {0};
    int32_t version = 0;
    struct json_reader jr;
    json_reader_init(&jr, text, arena);
    json_reader_expect(&jr, '{', "an object");
    do {
        struct str name = json_reader_string(&jr);
        json_reader_expect(&jr, ':', "a colon");
        struct str part = value_text(&jr);
        if (str_is(name, "group")) {
            *ret_group = unquote(part, arena);
        } else if (str_is(name, "kind")) {
            int32_t kind;
            assert_int_equal(str_to_i32(part, &kind), 0);
            d.kind = (int16_t)kind;
        } else if (str_is(name, "key")) {
            key = part;
        } else if (str_is(name, "version")) {
            assert_int_equal(str_to_i32(part, &version), 0);
        } else {
            value = part;
        }
    } while (json_reader_accept(&jr, ','));
    assert_null(jr.failed);
    char full[80];
    snprintf(full, sizeof(full), "%sKey", kinds[d.kind]);
    d.key = parse(full, 0, key, arena);
    if (!str_is(value, "null")) {
        snprintf(full, sizeof(full), "%sValue", kinds[d.kind]);
        d.value = parse(full, version, value, arena);
    }
    tidy_record(&d);
    return d;
}

static struct str record_group(const struct decoded *d)
{
    return *(const struct str *)d->key; /* the first field of every key */
}

static int by_target(const void *a, const void *b)
{
    const struct decoded *x = a;
    const struct decoded *y = b;
    return str_compare(
        ((const struct consumer_group_target_assignment_member_key *)x->key)->member_id,
        ((const struct consumer_group_target_assignment_member_key *)y->key)->member_id);
}

/* Targets of one computation come in the order of a Java map. */
static void sort_targets(struct decoded *items, size_t count)
{
    for (size_t i = 0; i < count;) {
        size_t end = i;
        while (end < count && items[end].kind == 7 && items[end].value != NULL) {
            end++;
        }
        if (end > i) {
            qsort(&items[i], end - i, sizeof(*items), by_target);
        }
        i = end > i ? end : i + 1;
    }
}

static int32_t value_version(int16_t kind)
{
    return kind == 1 ? 4 : kind == 2 ? 3 : 0;
}

static size_t collect_golden(struct str group, struct decoded *ret, struct arena *arena)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/golden/groups/consumer-records.jsonl", tests_dir);
    struct str text = read_file(path);
    struct str rest = arena_strdup(arena, text);
    mem_free((void *)(uintptr_t)text.ptr);
    struct str line;
    size_t count = 0;
    while (rest.len > 0 && str_split(&rest, '\n', &line)) {
        struct str of = {0};
        if (line.len == 0) {
            continue;
        }
        struct decoded d = read_record(line, arena, &of);
        if (str_equal(of, group)) {
            assert_true(count < LINES_MAX);
            ret[count++] = d;
        }
    }
    return count;
}

/* `int16 prefix` and the message, as in a log; the memory is the arena's. */
static struct view
encode(int16_t prefix, const struct msg *m, int32_t version, void *object, struct arena *arena)
{
    struct writer w;
    struct rope rope;
    writer_init(&w);
    writer_i16(&w, prefix);
    assert_int_equal(codec_encode(m, (int16_t)version, object, &w), 0);
    writer_finish(&w, &rope);
    uint8_t *bytes = arena_alloc(arena, rope.bytes);
    size_t len = 0;
    for (struct rope_run *run; (run = rope_first(&rope)) != NULL;) {
        memcpy(bytes + len, run->ptr, run->len);
        len += run->len;
        rope_consume(&rope, run->len);
    }
    rope_release(&rope);
    writer_release(&w);
    return (struct view){.ptr = bytes, .len = len};
}

/* Kafka's own records, in its order of members and partitions, make the same members. */
static void check_load(struct rig *r, const char *group, const struct decoded *items, size_t count)
{
    struct arena arena = {0};
    struct shard *sh = shard_new(&shard_machines, &r->config, 0, 1);
    shard_begin(sh, r->now_ms, r->wall_ms + r->now_ms, &r->topics);
    for (size_t i = 0; i < count; i++) {
        int16_t kind = items[i].kind;
        struct view key = encode(kind, message_of(kind, "Key"), 0, items[i].key, &arena);
        struct view value = {0};
        if (items[i].value != NULL) {
            int32_t version = value_version(kind);
            value = encode((int16_t)version, message_of(kind, "Value"), version, items[i].value,
                           &arena);
        }
        assert_int_equal(shard_replay(sh, -1, key, value), 0);
    }
    const struct consumer *live = rig_group(r, group);
    const struct group *loaded = group_find(sh, str_from(group));
    assert_non_null(loaded);
    consumer_validate(loaded->consumer);
    assert_int_equal(live->epoch, loaded->consumer->epoch);
    assert_int_equal(live->target_epoch, loaded->consumer->target_epoch);
    assert_int_equal(live->metadata_hash, loaded->consumer->metadata_hash);
    assert_int_equal(live->members_count, loaded->consumer->members_count);
    hmap_foreach (node, &live->members) {
        const struct consumer_member *m = container_of(node, struct consumer_member, node);
        same_member(m, consumer_member_find(loaded->consumer, m->id));
    }
    shard_free(sh);
    arena_release(&arena);
}

static void check_records(struct rig *r, const char *group)
{
    struct arena arena = {0};
    struct decoded *came = arena_alloc(&arena, LINES_MAX * sizeof(*came));
    struct decoded *golden = arena_alloc(&arena, LINES_MAX * sizeof(*golden));
    size_t count = 0;
    for (size_t i = 0; i < r->records_count; i++) {
        struct decoded d = decode_record(&r->records[i], &arena);
        if (str_is(record_group(&d), group)) {
            assert_true(count < LINES_MAX);
            came[count++] = d;
        }
    }
    size_t golden_count = collect_golden(str_from(group), golden, &arena);
    if (group_find(r->sh, str_from(group)) != NULL) { /* else it was deleted in the end */
        check_load(r, group, golden, min_size(count, golden_count));
    }
    assert_true(count > 0);
    sort_targets(came, count);
    sort_targets(golden, golden_count);
    for (size_t i = 0; i < count; i++) {
        struct script_line at = {.name = arena_printf(&arena, "record %zu of %s", i, group)};
        if (i == golden_count) {
            fail_msg("%s: %zu records more than Kafka's, the first of kind %d", group,
                     count - golden_count, came[i].kind);
        }
        if (came[i].kind != golden[i].kind) {
            fail_msg("%.*s: kind %d, Kafka's is %d", STR_ARG(at.name), came[i].kind,
                     golden[i].kind);
        }
        char name[80];
        snprintf(name, sizeof(name), "%sKey", kinds[came[i].kind]);
        compare(name, 0, &at, golden[i].key, came[i].key);
        snprintf(name, sizeof(name), "%sValue", kinds[came[i].kind]);
        assert_int_equal(came[i].value == NULL, golden[i].value == NULL);
        if (came[i].value != NULL) {
            compare(name, value_version(came[i].kind), &at, golden[i].value, came[i].value);
        }
    }
    /* What follows there is a session that has expired. */
    assert_true(golden_count == count || golden[count].value == NULL);
    arena_release(&arena);
}

/* ---- scripts ---- */

static void run_script(const char *name, const char *const *groups)
{
    struct rig r;
    rig_init(&r);
    r.settings_group[0] = '?'; /* no group has settings of its own yet */
    char path[512];
    snprintf(path, sizeof(path), "%s/oracle/%s.jsonl", tests_dir, name);
    struct str script = read_file(path);
    snprintf(path, sizeof(path), "%s/oracle/%s.expected.jsonl", tests_dir, name);
    struct str answers = read_file(path);
    struct str script_rest = script;
    struct str answers_rest = answers;
    struct str line;
    while (script_rest.len > 0 && str_split(&script_rest, '\n', &line)) {
        if (line.len == 0) {
            continue;
        }
        struct arena arena = {0};
        struct script_line l = read_line(line, &arena);
        if (l.sleep_ms > 0) {
            rig_advance(&r, l.sleep_ms);
            arena_release(&arena);
            continue;
        }
        assert_true(str_split(&answers_rest, '\n', &line));
        struct script_line e = read_line(line, &arena);
        l.body = expand(&r, l.body, &arena);
        rig_advance(&r, 5);
        run_line(&r, &l, &e, &arena);
        arena_release(&arena);
    }
    for (size_t i = 0; groups[i] != NULL; i++) {
        check_records(&r, groups[i]);
    }
    mem_free((void *)(uintptr_t)script.ptr);
    mem_free((void *)(uintptr_t)answers.ptr);
    rig_release(&r);
}

static void test_reconciles_as_kafka(void **state)
{
    (void)state;
    run_script("groups-consumer-reconcile", (const char *const[]){"gr", NULL});
}

static void test_static_members_as_in_kafka(void **state)
{
    (void)state;
    run_script("groups-consumer-static", (const char *const[]){"gs", NULL});
}

static void test_patterns_as_in_kafka(void **state)
{
    (void)state;
    run_script("groups-consumer-regex", (const char *const[]){"gp", "gq", "gw", NULL});
}

static void test_topics_come_and_go_as_in_kafka(void **state)
{
    (void)state;
    run_script("groups-consumer-topics", (const char *const[]){"gt", "gu", "gn", NULL});
}

static void test_refuses_as_kafka(void **state)
{
    (void)state;
    run_script("groups-consumer-errors", (const char *const[]){"ge", "gk", "ge-t0", "ge-t2", NULL});
}

static void test_settings_and_assignors_as_in_kafka(void **state)
{
    (void)state;
    run_script("groups-consumer-config", (const char *const[]){"gi", "gz", NULL});
}

int main(int argc, char **argv)
{
    check(argc == 2);
    tests_dir = argv[1];
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reconciles_as_kafka),
        cmocka_unit_test(test_static_members_as_in_kafka),
        cmocka_unit_test(test_patterns_as_in_kafka),
        cmocka_unit_test(test_topics_come_and_go_as_in_kafka),
        cmocka_unit_test(test_refuses_as_kafka),
        cmocka_unit_test(test_settings_and_assignors_as_in_kafka),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
