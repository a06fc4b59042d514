/*
 * The codec's rules by hand-made bytes and objects: what is refused and with which error, what is
 * accepted because Kafka accepts it, that a count from a peer never decides an allocation, and the
 * generated tables of APIs and errors. Whole messages are compared in test_codec_vectors.c.
 */
#include "base/base.h"
#include "base/err.h"
#include "base/mem.h"
#include "wire/codec.h"
#include "wire/gen/api.h"
#include "wire/gen/errors.h"
#include "wire/gen/messages.h"

#include "unit.h"

struct fixture {
    struct arena arena;
    struct writer out;
};

static int setup(void **state)
{
    struct fixture *fx = mem_zalloc(sizeof(*fx));
    arena_init(&fx->arena, 0);
    writer_init(&fx->out);
    *state = fx;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fx = *state;
    arena_release(&fx->arena);
    writer_release(&fx->out);
    mem_free(fx);
    return 0;
}

static struct view take_output(struct fixture *fx)
{
    struct rope rope;
    writer_finish(&fx->out, &rope);
    uint8_t *to = arena_alloc(&fx->arena, rope.bytes + 1);
    struct view v = {.ptr = to, .len = rope.bytes};
    for (struct rope_run *run = rope_first(&rope); run != NULL; run = rope_first(&rope)) {
        memcpy(to, run->ptr, run->len);
        to += run->len;
        rope_consume(&rope, run->len);
    }
    rope_release(&rope);
    return v;
}

/* Decodes from memory of exactly the given size. */
static int decode(struct fixture *fx,
                  const struct msg *m,
                  int16_t version,
                  const void *bytes,
                  size_t len,
                  void *ret_object)
{
    struct cursor in = cursor_of(bytes, len);
    return codec_decode(m, version, &in, &fx->arena, ret_object);
}

#define BYTES(...) ((const uint8_t[]){__VA_ARGS__}), sizeof((const uint8_t[]){__VA_ARGS__})

static void defaults_are_those_of_the_spec(void **state)
{
    IGNORE(state);
    struct fetch_request rq;
    msg_init(&fetch_request_msg, &rq);
    assert_int_equal(rq.max_bytes, 0x7fffffff);
    assert_int_equal(rq.replica_state.replica_epoch, -1);
    assert_true(str_is(rq.rack_id, ""));
    assert_true(str_is_null(rq.cluster_id));
    assert_int_equal(rq.topics.count, 0);
    assert_true(fetch_request_fetch_partition_default.high_watermark == INT64_MAX);
    assert_int_equal(list_partition_reassignments_request_default.topics.count, -1);
}

static void an_array_of_defaults_is_made_in_the_arena(void **state)
{
    struct fixture *fx = *state;
    struct fetch_request_fetch_partition *items =
        codec_array(&fx->arena, fetch_request_fetch_partition, 3);
    assert_int_equal(items[2].current_leader_epoch, -1);
    assert_null(codec_array(&fx->arena, fetch_request_fetch_partition, 0));
}

static void a_count_beyond_the_input_is_refused_before_memory_is_taken(void **state)
{
    struct fixture *fx = *state;
    struct metadata_request rq;
    assert_int_equal(decode(fx, &metadata_request_msg, 0, BYTES(0x77, 0x35, 0x94, 0), &rq),
                     ERR_TRUNCATED);
    assert_int_equal(decode(fx, &metadata_request_msg, 9, BYTES(0x81, 0x89, 0x7a, 0, 0, 0), &rq),
                     ERR_TRUNCATED);
    /* One byte of element behind a count of two. */
    assert_int_equal(decode(fx, &metadata_request_msg, 0, BYTES(0, 0, 0, 2, 0, 0, 0), &rq),
                     ERR_TRUNCATED);
    assert_int_equal(fx->arena.used, 0);
}

static void more_elements_than_the_limit_are_refused(void **state)
{
    struct fixture *fx = *state;
    size_t len = 4 + 2 * (CODEC_ARRAY_MAX + 1);
    uint8_t *bytes = mem_zalloc(len);
    store_be32(bytes, CODEC_ARRAY_MAX + 1);
    struct metadata_request rq;
    assert_int_equal(decode(fx, &metadata_request_msg, 0, bytes, len, &rq), ERR_TOO_LARGE);
    assert_int_equal(fx->arena.used, 0);
    mem_free(bytes);
}

static void the_arena_limit_bounds_what_small_elements_grow_to(void **state)
{
    IGNORE(state);
    size_t len = 4 + 2 * 100000;
    uint8_t *bytes = mem_zalloc(len);
    store_be32(bytes, 100000);
    struct arena small;
    arena_init(&small, len * 4);
    struct cursor in = cursor_of(bytes, len);
    struct metadata_request rq;
    assert_int_equal(codec_decode(&metadata_request_msg, 0, &in, &small, &rq), ERR_NO_MEMORY);
    arena_release(&small);
    mem_free(bytes);
}

static void tag_bombs_are_refused(void **state)
{
    struct fixture *fx = *state;
    struct request_header h;
    /* key, version, correlation id, null client id, then tags */
#define HEADER 0, 3, 0, 9, 0, 0, 0, 1, 0xff, 0xff
    assert_int_equal(decode(fx, &request_header_msg, 2, BYTES(HEADER, 0x7f), &h), ERR_TRUNCATED);
    /* The first tag is whole, the count promises 127. */
    assert_int_equal(decode(fx, &request_header_msg, 2, BYTES(HEADER, 0x7f, 9, 0), &h),
                     ERR_TRUNCATED);
    assert_int_equal(decode(fx, &request_header_msg, 2, BYTES(HEADER, 1, 5, 0x7f, 1), &h),
                     ERR_TRUNCATED);
    assert_int_equal(decode(fx, &request_header_msg, 2,
                            BYTES(HEADER, 1, 0x80, 0x80, 0x80, 0x80, 0x80, 0, 0), &h),
                     ERR_TRUNCATED);
    assert_int_equal(fx->arena.used, 0);
}

static void a_tag_of_another_version_is_refused(void **state)
{
    struct fixture *fx = *state;
    struct fetch_request rq = fetch_request_default;
    assert_int_equal(codec_encode(&fetch_request_msg, 12, &rq, &fx->out), 0);
    struct view v = take_output(fx);
    uint8_t *bytes = arena_alloc(&fx->arena, v.len + 3);
    memcpy(bytes, v.ptr, v.len);
    /* Tag 1 is ReplicaState, from version 15 on; tag 9 is nobody's. */
    memcpy(bytes + v.len - 1, (const uint8_t[]){1, 1, 0}, 3);
    assert_int_equal(decode(fx, &fetch_request_msg, 12, bytes, v.len + 2, &rq), ERR_MALFORMED);
    bytes[v.len] = 9;
    assert_int_equal(decode(fx, &fetch_request_msg, 12, bytes, v.len + 2, &rq), 0);
}

static void unknown_tags_are_kept_in_any_order_and_number(void **state)
{
    struct fixture *fx = *state;
    struct request_header h;
    static const uint8_t bytes[] = {HEADER, 3, 9, 1, 'a', 5, 2, 'b', 'c', 9, 0};
    assert_int_equal(decode(fx, &request_header_msg, 2, bytes, sizeof(bytes), &h), 0);
    assert_int_equal(h.unknown_tags.count, 3);
    assert_int_equal(h.unknown_tags.items[1].tag, 5);
    assert_int_equal(h.unknown_tags.items[1].data.len, 2);
    assert_int_equal(codec_encode(&request_header_msg, 2, &h, &fx->out), 0);
    struct view v = take_output(fx);
    assert_int_equal(v.len, sizeof(bytes));
    assert_memory_equal(v.ptr, bytes, v.len);
    /* A version without tags cannot carry them. */
    assert_int_equal(codec_encode(&request_header_msg, 1, &h, &fx->out), ERR_UNSUPPORTED);
    writer_release(&fx->out);
}

static void unknown_tags_follow_known_ones(void **state)
{
    struct fixture *fx = *state;
    struct unknown_tag tags[] = {{.tag = 1, .data = {(const uint8_t *)"x", 1}},
                                 {.tag = 7, .data = {(const uint8_t *)"y", 1}}};
    struct fetch_request rq = fetch_request_default;
    rq.cluster_id = STR("c");
    rq.unknown_tags.items = tags;
    rq.unknown_tags.count = 2;
    assert_int_equal(codec_encode(&fetch_request_msg, 12, &rq, &fx->out), 0);
    struct view v = take_output(fx);
    static const uint8_t tail[] = {3, 0, 2, 2, 'c', 1, 1, 'x', 7, 1, 'y'};
    assert_memory_equal(v.ptr + v.len - sizeof(tail), tail, sizeof(tail));
}

static void any_negative_length_is_null_where_null_is_allowed(void **state)
{
    struct fixture *fx = *state;
    struct request_header h;
    assert_int_equal(
        decode(fx, &request_header_msg, 1, BYTES(0, 3, 0, 9, 0, 0, 0, 1, 0xff, 0xfe), &h), 0);
    assert_true(str_is_null(h.client_id));
    struct metadata_request rq;
    assert_int_equal(decode(fx, &metadata_request_msg, 1, BYTES(0xff, 0xff, 0xff, 0xfb), &rq), 0);
    assert_int_equal(rq.topics.count, -1);
    assert_int_equal(decode(fx, &metadata_request_msg, 0, BYTES(0xff, 0xff, 0xff, 0xff), &rq),
                     ERR_MALFORMED);
    assert_int_equal(decode(fx, &metadata_request_msg, 0, BYTES(0, 0, 0, 1, 0xff, 0xff), &rq),
                     ERR_MALFORMED);
}

static void any_byte_but_zero_is_true_and_text_is_kept_as_it_is(void **state)
{
    struct fixture *fx = *state;
    struct metadata_request rq;
    assert_int_equal(
        decode(fx, &metadata_request_msg, 4, BYTES(0, 0, 0, 1, 0, 2, 0xff, 0xc0, 2), &rq), 0);
    assert_true(rq.allow_auto_topic_creation);
    assert_memory_equal(rq.topics.items[0].name.ptr, "\xff\xc0", 2);
}

static void a_string_of_more_than_32767_bytes_is_refused(void **state)
{
    struct fixture *fx = *state;
    /* FindCoordinator v3: compact key, key type, tags. */
    struct find_coordinator_request rq;
    uint8_t *bytes = mem_zalloc(3 + 0x8000 + 2);
    memcpy(bytes, (const uint8_t[]){0x80, 0x80, 0x02}, 3);
    assert_int_equal(decode(fx, &find_coordinator_request_msg, 3, bytes, 3 + 0x7fff + 2, &rq), 0);
    assert_int_equal(rq.key.len, 0x7fff);
    bytes[0] = 0x81;
    assert_int_equal(decode(fx, &find_coordinator_request_msg, 3, bytes, 3 + 0x8000 + 2, &rq),
                     ERR_TOO_LARGE);
    mem_free(bytes);
}

static void bytes_after_the_message_stay_in_the_cursor(void **state)
{
    struct fixture *fx = *state;
    static const uint8_t bytes[] = {0, 0, 0, 0, 1, 2, 3};
    struct cursor in = cursor_of(bytes, sizeof(bytes));
    struct metadata_request rq;
    assert_int_equal(codec_decode(&metadata_request_msg, 0, &in, &fx->arena, &rq), 0);
    assert_int_equal(cursor_left(&in), 3);
}

static void a_field_that_the_version_lacks_must_be_ignorable_or_default(void **state)
{
    struct fixture *fx = *state;
    struct fetch_request rq = fetch_request_default;
    size_t size;
    rq.rack_id = STR("ignorable");
    assert_int_equal(codec_encode(&fetch_request_msg, 4, &rq, &fx->out), 0);
    take_output(fx);
    rq.replica_state.replica_id = 3; /* from version 15 on, not ignorable */
    assert_int_equal(codec_encode(&fetch_request_msg, 14, &rq, &fx->out), ERR_UNSUPPORTED);
    assert_int_equal(codec_size(&fetch_request_msg, 14, &rq, &size), ERR_UNSUPPORTED);
    writer_release(&fx->out);
    assert_int_equal(codec_encode(&fetch_request_msg, 15, &rq, &fx->out), 0);
}

static void null_and_length_are_checked_on_the_way_out(void **state)
{
    struct fixture *fx = *state;
    size_t size;
    char *text = arena_alloc(&fx->arena, 0x8000);
    memset(text, 'a', 0x8000);
    struct find_coordinator_request rq = find_coordinator_request_default;
    rq.key = (struct str){0};
    assert_int_equal(codec_encode(&find_coordinator_request_msg, 0, &rq, &fx->out), ERR_MALFORMED);
    assert_int_equal(codec_size(&find_coordinator_request_msg, 0, &rq, &size), ERR_MALFORMED);
    rq.key = str_of(text, 0x8000);
    assert_int_equal(codec_encode(&find_coordinator_request_msg, 0, &rq, &fx->out), ERR_TOO_LARGE);
    rq.key.len = 0x7fff;
    assert_int_equal(codec_encode(&find_coordinator_request_msg, 0, &rq, &fx->out), 0);
    assert_int_equal(codec_size(&find_coordinator_request_msg, 0, &rq, &size), 0);
    assert_int_equal(size, 2 + 0x7fff);
}

static void a_version_that_does_not_exist_is_refused(void **state)
{
    struct fixture *fx = *state;
    struct fetch_request rq = fetch_request_default;
    size_t size;
    assert_int_equal(codec_encode(&fetch_request_msg, 3, &rq, &fx->out), ERR_UNSUPPORTED);
    assert_int_equal(codec_size(&fetch_request_msg, 19, &rq, &size), ERR_UNSUPPORTED);
    assert_int_equal(decode(fx, &fetch_request_msg, -1, BYTES(0), &rq), ERR_UNSUPPORTED);
    assert_int_equal(decode(fx, msg_find(STR("LeaderAndIsrRequest")), 0, BYTES(0), &rq),
                     ERR_UNSUPPORTED);
}

static void records_in_a_rope_are_moved_into_the_output(void **state)
{
    struct fixture *fx = *state;
    struct rope rope;
    rope_init(&rope);
    rope_add_memory(&rope, "records", 7, NULL);
    struct fetch_response rs = fetch_response_default;
    rs.responses.items = codec_array(&fx->arena, fetch_response_fetchable_topic_response, 1);
    rs.responses.count = 1;
    rs.responses.items[0].partitions.items =
        codec_array(&fx->arena, fetch_response_partition_data, 1);
    rs.responses.items[0].partitions.count = 1;
    rs.responses.items[0].partitions.items[0].records.rope = &rope;
    size_t size;
    assert_int_equal(codec_size(&fetch_response_msg, 12, &rs, &size), 0);
    assert_int_equal(codec_encode(&fetch_response_msg, 12, &rs, &fx->out), 0);
    assert_int_equal(rope.bytes, 0);
    struct view v = take_output(fx);
    assert_int_equal(v.len, size);
    struct fetch_response back;
    assert_int_equal(decode(fx, &fetch_response_msg, 12, v.ptr, v.len, &back), 0);
    struct records *records = &back.responses.items[0].partitions.items[0].records;
    assert_int_equal(records->len, 7);
    assert_memory_equal(records->ptr, "records", 7);
}

static void objects_differ_by_the_fields_of_the_version_only(void **state)
{
    IGNORE(state);
    struct fetch_request a = fetch_request_default;
    struct fetch_request b = fetch_request_default;
    assert_true(codec_equal(&fetch_request_msg, 18, &a, &b));
    b.replica_state.replica_epoch = 4;
    assert_false(codec_equal(&fetch_request_msg, 18, &a, &b));
    assert_true(codec_equal(&fetch_request_msg, 14, &a, &b));
    b.topics.count = -1;
    assert_false(codec_equal(&fetch_request_msg, 14, &a, &b));
    b = a;
    struct unknown_tag tags[] = {{.tag = 4}, {.tag = 5}};
    a.unknown_tags.items = &tags[0];
    b.unknown_tags.items = &tags[1];
    a.unknown_tags.count = 1;
    b.unknown_tags.count = 1;
    assert_false(codec_equal(&fetch_request_msg, 14, &a, &b));
    assert_true(codec_equal(&fetch_request_msg, 11, &a, &b));
}

static void messages_are_found_by_name_and_sorted(void **state)
{
    IGNORE(state);
    const struct msg *m;
    size_t count = 0;
    for (; (m = msg_at(count)) != NULL; count++) {
        assert_ptr_equal(msg_find(str_from(msg_name(m))), m);
        assert_true(count == 0 || strcmp(msg_name(msg_at(count - 1)), msg_name(m)) < 0);
    }
    assert_int_equal(count, 286);
    assert_null(msg_find(STR("Nobody")));
    assert_null(msg_find(STR("")));
    assert_int_equal(msg_api_key(&fetch_request_msg), API_KEY_FETCH);
    assert_true(msg_is_flexible(&fetch_request_msg, 12));
    assert_false(msg_is_flexible(&fetch_request_msg, 11));
}

static void served_apis_are_in_order_and_within_their_messages(void **state)
{
    IGNORE(state);
    const struct api_info *a;
    int16_t last = -1;
    for (size_t i = 0; (a = api_info_at(i)) != NULL; i++) {
        assert_true(a->key > last);
        last = a->key;
        assert_ptr_equal(api_info_find(a->key), a);
        assert_true(a->min_version <= a->handle_min && a->handle_min <= a->max_version);
        assert_true(a->max_version <= msg_max_version(a->request));
        assert_int_equal(msg_api_key(a->response), a->key);
    }
    /* Produce is advertised from 0 on, for clients that look for it, and handled from 3 on. */
    assert_int_equal(api_info_find(API_KEY_PRODUCE)->min_version, 0);
    assert_int_equal(api_info_find(API_KEY_PRODUCE)->handle_min, 3);
    assert_true(api_info_find(API_KEY_PRODUCE)->concurrent);
    assert_null(api_info_find(-1));
    assert_null(api_info_find(API_KEY_MAX + 1));
    assert_null(api_info_find(API_KEY_LEADER_AND_ISR));
}

static void header_versions_follow_flexible_versions(void **state)
{
    IGNORE(state);
    assert_int_equal(api_request_header_version(API_KEY_FETCH, 11), 1);
    assert_int_equal(api_request_header_version(API_KEY_FETCH, 12), 2);
    assert_int_equal(api_response_header_version(API_KEY_FETCH, 11), 0);
    assert_int_equal(api_response_header_version(API_KEY_FETCH, 12), 1);
    assert_int_equal(api_request_header_version(API_KEY_SASL_HANDSHAKE, 1), 1);
    assert_int_equal(api_request_header_version(API_KEY_API_VERSIONS, 2), 1);
    assert_int_equal(api_request_header_version(API_KEY_API_VERSIONS, 99), 2);
    assert_int_equal(api_request_header_version(API_KEY_API_VERSIONS, -1), 2);
    assert_int_equal(api_response_header_version(API_KEY_API_VERSIONS, 4), 0);
    assert_int_equal(api_request_header_version(9999, 0), -1);
    assert_string_equal(api_name(API_KEY_VOTE), "Vote");
    assert_ptr_equal(api_response_msg(API_KEY_VOTE), &vote_response_msg);
}

static void errors_have_names(void **state)
{
    IGNORE(state);
    assert_string_equal(kafka_error_name(KAFKA_ERROR_UNKNOWN_SERVER_ERROR), "UNKNOWN_SERVER_ERROR");
    assert_string_equal(kafka_error_name(KAFKA_ERROR_NONE), "NONE");
    assert_int_equal(KAFKA_ERROR_REBOOTSTRAP_REQUIRED, 129);
    assert_string_equal(kafka_error_name((enum kafka_error)136), "CONTROLLER_ID_NOT_REGISTERED");
    assert_string_equal(kafka_error_name((enum kafka_error)137), "UNKNOWN_ERROR_CODE");
    assert_string_equal(kafka_error_name((enum kafka_error) - 2), "UNKNOWN_ERROR_CODE");
    assert_true(kafka_error_is_retriable(KAFKA_ERROR_NOT_COORDINATOR));
    assert_false(kafka_error_is_retriable(KAFKA_ERROR_PRODUCER_FENCED));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(defaults_are_those_of_the_spec),
        TEST(an_array_of_defaults_is_made_in_the_arena),
        TEST(a_count_beyond_the_input_is_refused_before_memory_is_taken),
        TEST(more_elements_than_the_limit_are_refused),
        TEST(the_arena_limit_bounds_what_small_elements_grow_to),
        TEST(tag_bombs_are_refused),
        TEST(a_tag_of_another_version_is_refused),
        TEST(unknown_tags_are_kept_in_any_order_and_number),
        TEST(unknown_tags_follow_known_ones),
        TEST(any_negative_length_is_null_where_null_is_allowed),
        TEST(any_byte_but_zero_is_true_and_text_is_kept_as_it_is),
        TEST(a_string_of_more_than_32767_bytes_is_refused),
        TEST(bytes_after_the_message_stay_in_the_cursor),
        TEST(a_field_that_the_version_lacks_must_be_ignorable_or_default),
        TEST(null_and_length_are_checked_on_the_way_out),
        TEST(a_version_that_does_not_exist_is_refused),
        TEST(records_in_a_rope_are_moved_into_the_output),
        TEST(objects_differ_by_the_fields_of_the_version_only),
        TEST(messages_are_found_by_name_and_sorted),
        TEST(served_apis_are_in_order_and_within_their_messages),
        TEST(header_versions_follow_flexible_versions),
        TEST(errors_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
