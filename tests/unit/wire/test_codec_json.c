/* JSON that a person writes: what is accepted beside Kafka's own form, and that each refusal says
 * where it happened. Kafka's own form is compared in test_codec_vectors.c. */
#include "base/base.h"
#include "base/err.h"
#include "base/mem.h"
#include "wire/codec.h"
#include "wire/gen/messages.h"
#include "wire/json_reader.h"

#include "unit.h"

static struct arena arena;

static int setup(void **state)
{
    IGNORE(state);
    arena_init(&arena, 0);
    return 0;
}

static int teardown(void **state)
{
    IGNORE(state);
    arena_release(&arena);
    return 0;
}

static int
parse(const struct msg *m, int16_t version, const char *json, void *ret, struct str *where)
{
    return codec_parse_json(m, version, str_from(json), &arena, ret, where);
}

static void blanks_unknown_keys_and_any_order_are_accepted(void **state)
{
    IGNORE(state);
    struct find_coordinator_request rq;
    struct str where;
    const char *json =
        " { \"other\" : [ 1 , { \"a\" : [ ] , \"b\" : \"]}\\\"\" } , null , -1.5e3 ] ,\n"
        "\t\"keyType\" : 1 , \"key\" : \"a\\u0041\\ud83d\\ude00\\n\\u00e9\" } ";
    assert_int_equal(parse(&find_coordinator_request_msg, 1, json, &rq, &where), 0);
    assert_int_equal(rq.key_type, 1);
    assert_true(str_is(rq.key, "aA\xf0\x9f\x98\x80\n\xc3\xa9"));
}

static void integers_may_be_text_and_hexadecimal(void **state)
{
    IGNORE(state);
    struct find_coordinator_request rq;
    struct str where;
    assert_int_equal(
        parse(&find_coordinator_request_msg, 1, "{\"keyType\":\"0x7f\",\"key\":\"\"}", &rq, &where),
        0);
    assert_int_equal(rq.key_type, 127);
    assert_int_equal(parse(&find_coordinator_request_msg, 1, "{\"keyType\":\"-0x80\",\"key\":\"\"}",
                           &rq, &where),
                     0);
    assert_int_equal(rq.key_type, -128);
}

static void refusals_name_the_field(void **state)
{
    IGNORE(state);
    static const struct {
        const char *json;
        const char *field;
        const char *reason;
    } cases[] = {
        {"", "(none)", "expected an object"},
        {"[]", "(none)", "expected an object"},
        {"{\"key\":\"a\"}", "keyType", "field is missing"},
        {"{\"key\":null,\"keyType\":1}", "key", "null is not allowed"},
        {"{\"key\":\"a\",\"keyType\":128}", "keyType", "integer out of range"},
        {"{\"key\":\"a\",\"keyType\":1.5}", "keyType", "expected an integer"},
        {"{\"key\":\"a\",\"keyType\":99999999999999999999}", "keyType", "expected an integer"},
        {"{\"key\":\"a\",\"keyType\":-}", "keyType", "expected an integer"},
        {"{\"key\":\"a\\x\",\"keyType\":1}", "key", "bad escape in a string"},
        {"{\"key\":\"a\\u12g4\",\"keyType\":1}", "key", "bad escape in a string"},
        {"{\"key\":\"a", "key", "string without an end"},
        {"{\"key\":\"a\\", "key", "string without an end"},
        {"{\"key\":\"a\tb\"}", "key", "control character in a string"},
        {"{\"key\":\"a\",\"keyType\":1,}", "keyType", "expected a string"},
        {"{\"key\":\"a\",\"keyType\":1", "keyType", "expected ',' or '}'"},
        {"{\"key\":\"a\",\"keyType\":1} x", "keyType", "text after the object"},
        {"{\"other\":[1,}", "(none)", "expected a value"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct find_coordinator_request rq;
        struct str where = {0};
        assert_int_equal(parse(&find_coordinator_request_msg, 1, cases[i].json, &rq, &where),
                         ERR_MALFORMED);
        char want[256];
        snprintf(want, sizeof(want), "field %s: %s", cases[i].field, cases[i].reason);
        assert_true(where.len > strlen(want));
        assert_memory_equal(where.ptr + where.len - strlen(want), want, strlen(want));
    }
}

static void arrays_nulls_and_base64_are_checked(void **state)
{
    IGNORE(state);
    struct metadata_request rq;
    struct str where;
    assert_int_equal(parse(&metadata_request_msg, 1, "{\"topics\":null}", &rq, &where), 0);
    assert_int_equal(rq.topics.count, -1);
    assert_int_equal(parse(&metadata_request_msg, 0, "{\"topics\":null}", &rq, &where),
                     ERR_MALFORMED);
    assert_int_equal(parse(&metadata_request_msg, 0, "{\"topics\":{}}", &rq, &where),
                     ERR_MALFORMED);
    assert_int_equal(
        parse(&metadata_request_msg, 0, "{\"topics\":[{\"name\":\"a\"},]}", &rq, &where),
        ERR_MALFORMED);
    struct sasl_authenticate_request sasl;
    assert_int_equal(
        parse(&sasl_authenticate_request_msg, 0, "{\"authBytes\":\"AAEC/w==\"}", &sasl, &where), 0);
    assert_int_equal(sasl.auth_bytes.len, 4);
    assert_int_equal(sasl.auth_bytes.ptr[3], 0xff);
    assert_int_equal(
        parse(&sasl_authenticate_request_msg, 0, "{\"authBytes\":\"A\"}", &sasl, &where),
        ERR_MALFORMED);
    assert_int_equal(
        parse(&sasl_authenticate_request_msg, 0, "{\"authBytes\":\"A*==\"}", &sasl, &where),
        ERR_MALFORMED);
}

static void skipping_is_bounded_in_depth(void **state)
{
    IGNORE(state);
    char text[512];
    for (size_t depth = JSON_DEPTH_MAX; depth <= JSON_DEPTH_MAX + 1; depth++) {
        memset(text, '[', depth);
        text[depth] = '1';
        memset(text + depth + 1, ']', depth);
        struct json_reader jr;
        json_reader_init(&jr, str_of(text, 2 * depth + 1), &arena);
        json_reader_skip(&jr);
        assert_true((jr.failed == NULL) == (depth == JSON_DEPTH_MAX));
        assert_true(depth != JSON_DEPTH_MAX || json_reader_peek(&jr) == '\0');
    }
}

static void text_is_printed_with_escapes_and_replacements(void **state)
{
    IGNORE(state);
    struct writer w;
    writer_init(&w);
    struct find_coordinator_request rq = find_coordinator_request_default;
    rq.key = STR("\"\\\x01\n\x7f"
                 "\xc3\xa9\xff\xe2\x82.\xed\xa0\x80\xf0\x9f\x98\x80");
    assert_int_equal(codec_print_json(&find_coordinator_request_msg, 0, &rq, &w), 0);
    struct rope rope;
    writer_finish(&w, &rope);
    static const char want[] = "{\"key\":\"\\\"\\\\\\u0001\\n\x7f\xc3\xa9\xef\xbf\xbd\xef\xbf\xbd."
                               "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xf0\x9f\x98\x80\"}";
    assert_int_equal(rope.bytes, sizeof(want) - 1);
    assert_memory_equal(rope_first(&rope)->ptr, want, sizeof(want) - 1);
    rope_release(&rope);
    writer_release(&w);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(blanks_unknown_keys_and_any_order_are_accepted),
        TEST(integers_may_be_text_and_hexadecimal),
        TEST(refusals_name_the_field),
        TEST(arrays_nulls_and_base64_are_checked),
        TEST(skipping_is_bounded_in_depth),
        TEST(text_is_printed_with_escapes_and_replacements),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
