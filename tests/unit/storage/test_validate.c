/* The checks of a produced batch. Batches are made by hand, wrong in one way each, and must get the
 * code that Kafka 4.4.0 was seen to answer with; where two things are wrong at once, the order is
 * tested. Good batches are compared with what Kafka stored. Bombs are made with the compressor and
 * must stop early. */
#include "base/base.h"
#include "base/mem.h"
#include "storage/validate.h"

#include "unit.h"

#define NOW    INT64_C(1790000000000)
#define HOUR   INT64_C(3600000)
#define STAMP  INT64_C(1700000000000)
#define GOOD_0 "\x0e\0\0\0\1\2v\0"
#define GOOD_1 "\x0e\0\0\2\1\2v\0"
#define KEYED  "\x10\0\0\0\2k\2v\0"
#define LATEST 13

#define RECORDS(literal) .records = (literal), .len = sizeof(literal) - 1

struct recipe {
    const char *records;
    size_t len;
    int32_t count;
    enum codec_type codec; /* really used */
    int attributes;        /* beside the codec; with `claims` they are all */
    bool claims;
    int64_t base_offset;
    int64_t base_timestamp;
    int64_t max_timestamp;
    int64_t producer_id; /* 0: none */
    int32_t sequence;
    int32_t delta_off; /* added to the right last offset delta */
    int16_t epoch;
};

static struct validate_rules default_rules(void)
{
    return (struct validate_rules){
        .max_message_bytes = 1048588,
        .max_decompressed_bytes = 2147483639,
        .timestamp_before_max_ms = INT64_MAX,
        .timestamp_after_max_ms = HOUR,
        .keeps_codec = true,
        .leader_epoch = 6,
    };
}

static int level_of(enum codec_type codec)
{
    return codec == CODEC_GZIP ? -1 : codec == CODEC_ZSTD ? 3 : 9;
}

static void crc_mend(uint8_t *bytes, size_t size)
{
    store_be32(bytes + 17, crc32c(0, bytes + 21, size - 21));
}

static struct blob *made(const struct recipe *rc, size_t *ret_size)
{
    struct writer w;
    struct rope body;
    writer_init(&w);
    assert_int_equal(compress_bytes(rc->codec, level_of(rc->codec), rc->records, rc->len, &w), 0);
    writer_finish(&w, &body);
    struct batch_builder bb = {
        .codec = rc->claims ? CODEC_NONE : rc->codec,
        .attributes = (int16_t)rc->attributes,
        .base_offset = rc->base_offset,
        .base_timestamp = rc->base_timestamp == 0 ? STAMP : rc->base_timestamp,
        .max_timestamp = rc->max_timestamp == 0 ? STAMP : rc->max_timestamp,
        .producer_id = rc->producer_id == 0 ? -1 : rc->producer_id,
        .leader_epoch = -1,
        .base_sequence = rc->producer_id == 0 ? -1 : rc->sequence,
        .records_count = rc->count,
        .last_offset_delta = rc->count - 1 + rc->delta_off,
        .producer_epoch = rc->producer_id == 0 ? -1 : rc->epoch,
    };
    struct blob *blob = batch_builder_assemble(&bb, &body, ret_size);
    rope_release(&body);
    writer_release(&w);
    return blob;
}

/* Runs a batch through all steps. */
static enum kafka_error verdict_at(const struct recipe *rc,
                                   const struct validate_rules *rules,
                                   struct arena *arena,
                                   struct validate_result *ret)
{
    size_t size = 0;
    struct blob *blob = made(rc, &size);
    struct batch b;
    const char *message = NULL;
    *ret = (struct validate_result){.max_timestamp = -1};
    enum kafka_error error = validate_frame(blob->data, size, rules, LATEST, &b, &message);
    if (error == KAFKA_ERROR_NONE) {
        validate_records(&b, rules, NOW, arena, ret);
        error = ret->error;
    }
    blob_unref(blob);
    return error;
}

static enum kafka_error verdict(const struct recipe *rc, const struct validate_rules *rules)
{
    struct arena arena;
    struct validate_result result;
    arena_init(&arena, 0);
    enum kafka_error error = verdict_at(rc, rules, &arena, &result);
    if (error != KAFKA_ERROR_NONE) {
        assert_null(result.rebuilt);
    }
    blob_unref(result.rebuilt);
    arena_release(&arena);
    return error;
}

/* ---- the frame ---- */

struct frame {
    uint8_t bytes[512];
    size_t len;
};

static struct frame good_frame(void)
{
    struct frame f = {.len = 0};
    struct recipe rc = {RECORDS(GOOD_0 GOOD_1), .count = 2};
    struct blob *blob = made(&rc, &f.len);
    memcpy(f.bytes, blob->data, f.len);
    blob_unref(blob);
    return f;
}

static void expect_frame(const struct frame *f, enum kafka_error expect, bool expect_fails_request)
{
    struct validate_rules rules = default_rules();
    struct batch b;
    const char *message = NULL;
    bool fails_request = false;
    assert_int_equal(validate_frame(f->bytes, f->len, &rules, LATEST, &b, &message), expect);
    enum kafka_error first = validate_request(f->bytes, f->len, LATEST, &fails_request, &message);
    assert_int_equal(fails_request, expect_fails_request);
    assert_true(first == KAFKA_ERROR_NONE || first == expect);
    assert_int_equal(message != NULL, fails_request && first == KAFKA_ERROR_CORRUPT_MESSAGE);
}

static void frame_add(struct frame *f, const void *bytes, size_t len)
{
    memcpy(f->bytes + f->len, bytes, len);
    f->len += len;
}

static void a_field_without_a_whole_batch_is_an_invalid_record(void **state)
{
    IGNORE(state);
    struct frame f = good_frame();
    size_t size = f.len;
    expect_frame(&f, KAFKA_ERROR_NONE, false);
    for (f.len = 0; f.len < size; f.len++) {
        expect_frame(&f, KAFKA_ERROR_INVALID_RECORD, false);
    }
}

static void a_size_below_every_format_and_an_unknown_magic_refuse_the_request(void **state)
{
    IGNORE(state);
    static const int32_t small[] = {-1, INT32_MIN, 0, 13};
    struct frame f = good_frame();
    for (size_t i = 0; i < ARRAY_LEN(small); i++) {
        store_be32(f.bytes + 8, (uint32_t)small[i]);
        expect_frame(&f, KAFKA_ERROR_CORRUPT_MESSAGE, true);
    }
    static const int8_t magics[] = {3, -1, 127};
    for (size_t i = 0; i < ARRAY_LEN(magics); i++) {
        f = good_frame();
        f.bytes[16] = (uint8_t)magics[i];
        expect_frame(&f, KAFKA_ERROR_CORRUPT_MESSAGE, true);
    }
    for (uint8_t magic = 0; magic < 2; magic++) {
        f.bytes[16] = magic;
        expect_frame(&f, KAFKA_ERROR_INVALID_RECORD, false);
    }
}

static void a_batch_smaller_than_its_header_is_refused(void **state)
{
    IGNORE(state);
    for (size_t size = 26; size < BATCH_HEADER_BYTES; size++) {
        struct frame f = good_frame();
        f.len = size;
        store_be32(f.bytes + 8, (uint32_t)(size - 12));
        if (size < 51) {
            expect_frame(&f, KAFKA_ERROR_UNKNOWN_SERVER_ERROR, true);
        } else {
            expect_frame(&f, KAFKA_ERROR_CORRUPT_MESSAGE, false);
            f.bytes[7] = 5; /* the base offset comes first */
            expect_frame(&f, KAFKA_ERROR_INVALID_RECORD, false);
        }
    }
    /* What lies behind a short batch is read as the head of another one. */
    struct frame f = good_frame();
    store_be32(f.bytes + 8, 14);
    expect_frame(&f, KAFKA_ERROR_CORRUPT_MESSAGE, false);
}

static void there_is_one_batch_and_less_than_one_behind_it(void **state)
{
    IGNORE(state);
    struct frame good = good_frame();
    struct frame f = good;
    frame_add(&f, "\0", 1);
    expect_frame(&f, KAFKA_ERROR_NONE, false);
    frame_add(&f, "\0\0\0\0\0\0\0\0\0\0\0", 11); /* a size of 0 can be read now */
    expect_frame(&f, KAFKA_ERROR_CORRUPT_MESSAGE, false);
    f = good;
    frame_add(&f, good.bytes, good.len - 1);
    expect_frame(&f, KAFKA_ERROR_NONE, false);
    f = good;
    frame_add(&f, good.bytes, good.len);
    expect_frame(&f, KAFKA_ERROR_INVALID_RECORD, false);
    f.bytes[17] ^= 1; /* before the CRC of the first is looked at */
    expect_frame(&f, KAFKA_ERROR_INVALID_RECORD, false);
    f.bytes[16] = 3; /* after its magic */
    expect_frame(&f, KAFKA_ERROR_CORRUPT_MESSAGE, true);
    f = good;
    frame_add(&f, good.bytes, good.len);
    f.bytes[good.len + 16] = 9;
    expect_frame(&f, KAFKA_ERROR_CORRUPT_MESSAGE, false);
}

static void zstd_needs_version_7(void **state)
{
    IGNORE(state);
    struct recipe rc = {RECORDS(GOOD_0), .count = 1, .codec = CODEC_ZSTD};
    struct validate_rules rules = default_rules();
    size_t size = 0;
    struct blob *blob = made(&rc, &size);
    struct batch b;
    const char *message = NULL;
    assert_int_equal(validate_frame(blob->data, size, &rules, 7, &b, &message), KAFKA_ERROR_NONE);
    blob->data[17] ^= 1; /* wins over the CRC */
    assert_int_equal(validate_frame(blob->data, size, &rules, 6, &b, &message),
                     KAFKA_ERROR_UNSUPPORTED_COMPRESSION_TYPE);
    blob_unref(blob);
}

static void offset_then_size_then_crc_then_codec(void **state)
{
    IGNORE(state);
    struct validate_rules rules = default_rules();
    struct frame f = good_frame();
    struct batch b;
    const char *message = NULL;
    f.bytes[22] = 5; /* a codec that there is not */
    f.bytes[7] = 1;
    rules.max_message_bytes = (int64_t)f.len - 1;
    assert_int_equal(validate_frame(f.bytes, f.len, &rules, LATEST, &b, &message),
                     KAFKA_ERROR_INVALID_RECORD);
    f.bytes[7] = 0;
    assert_int_equal(validate_frame(f.bytes, f.len, &rules, LATEST, &b, &message),
                     KAFKA_ERROR_MESSAGE_TOO_LARGE);
    rules.max_message_bytes++;
    assert_int_equal(validate_frame(f.bytes, f.len, &rules, LATEST, &b, &message),
                     KAFKA_ERROR_CORRUPT_MESSAGE);
    crc_mend(f.bytes, f.len);
    assert_int_equal(validate_frame(f.bytes, f.len, &rules, LATEST, &b, &message),
                     KAFKA_ERROR_UNKNOWN_SERVER_ERROR);
    f.bytes[22] = 0;
    crc_mend(f.bytes, f.len);
    assert_int_equal(validate_frame(f.bytes, f.len, &rules, LATEST, &b, &message),
                     KAFKA_ERROR_NONE);
}

/* ---- the records ---- */

struct verdict_case {
    const char *name;
    struct recipe recipe;
    enum kafka_error expect;
};

static void
expect_cases(const struct verdict_case *cases, size_t count, const struct validate_rules *rules)
{
    for (size_t i = 0; i < count; i++) {
        enum kafka_error error = verdict(&cases[i].recipe, rules);
        if (error != cases[i].expect) {
            print_message("%s: %d, not %d\n", cases[i].name, error, cases[i].expect);
        }
        assert_int_equal(error, cases[i].expect);
    }
}

static void headers_that_do_not_fit_the_records_are_invalid(void **state)
{
    IGNORE(state);
    static const struct verdict_case cases[] = {
        {"good", {RECORDS(GOOD_0 GOOD_1), .count = 2}, KAFKA_ERROR_NONE},
        {"count 0", {RECORDS(""), .count = 0}, KAFKA_ERROR_INVALID_RECORD},
        {"count 0, last delta 0",
         {RECORDS(GOOD_0), .count = 0, .delta_off = 1},
         KAFKA_ERROR_INVALID_RECORD},
        {"count -1", {RECORDS(GOOD_0), .count = -1, .delta_off = 2}, KAFKA_ERROR_INVALID_RECORD},
        {"count too high",
         {RECORDS(GOOD_0 GOOD_1), .count = 3, .delta_off = -1},
         KAFKA_ERROR_INVALID_RECORD},
        {"last delta too high",
         {RECORDS(GOOD_0), .count = 1, .delta_off = 1},
         KAFKA_ERROR_INVALID_RECORD},
        {"last delta -1",
         {RECORDS(GOOD_0), .count = 1, .delta_off = -1},
         KAFKA_ERROR_INVALID_RECORD},
        {"last delta 2^31-1",
         {RECORDS(GOOD_0), .count = 1, .delta_off = INT32_MAX},
         KAFKA_ERROR_INVALID_RECORD},
        {"control",
         {RECORDS(GOOD_0), .count = 1, .attributes = BATCH_CONTROL},
         KAFKA_ERROR_INVALID_RECORD},
        {"a producer without a sequence",
         {RECORDS(GOOD_0), .count = 1, .producer_id = 5, .sequence = -1},
         KAFKA_ERROR_INVALID_RECORD},
        {"producer -2",
         {RECORDS(GOOD_0), .count = 1, .producer_id = -2, .sequence = -1},
         KAFKA_ERROR_NONE},
        {"a producer without an epoch",
         {RECORDS(GOOD_0), .count = 1, .producer_id = 5, .epoch = -1},
         KAFKA_ERROR_NONE},
        {"unused attributes",
         {RECORDS(GOOD_0), .count = 1, .attributes = 0xff80 - 0x10000},
         KAFKA_ERROR_NONE},
        {"delete horizon",
         {RECORDS(GOOD_0), .count = 1, .attributes = BATCH_DELETE_HORIZON},
         KAFKA_ERROR_NONE},
    };
    struct validate_rules rules = default_rules();
    expect_cases(cases, ARRAY_LEN(cases), &rules);
}

static void broken_records_are_invalid_in_every_codec(void **state)
{
    IGNORE(state);
    static const struct {
        const char *records;
        size_t len;
        int32_t count;
    } broken[] = {
        {GOOD_0, 8, 2},
        {GOOD_0 GOOD_1, 16, 1},
        {GOOD_0 GOOD_1 "\0", 17, 2},
        {GOOD_0 "\x0e\0\0\2\1\2v", 15, 2},
        {"\x0c\0\0\0\1\2v\0" GOOD_1, 16, 2},
        {"\x10\0\0\0\1\2v\0" GOOD_1, 16, 2},
        {"\0" GOOD_1, 9, 2},
        {"\1" GOOD_1, 9, 2},
        {"\x0e\0\0\0\1\2v\1", 8, 1},
        {"\x12\0\0\0\1\2v\2\1\1", 10, 1},
    };
    struct validate_rules rules = default_rules();
    for (size_t i = 0; i < ARRAY_LEN(broken); i++) {
        for (int codec = CODEC_NONE; codec <= CODEC_ZSTD; codec++) {
            struct recipe rc = {.records = broken[i].records,
                                .len = broken[i].len,
                                .count = broken[i].count,
                                .codec = (enum codec_type)codec};
            assert_int_equal(verdict(&rc, &rules), KAFKA_ERROR_INVALID_RECORD);
            rules.keeps_codec = false;
            rules.codec = CODEC_LZ4;
            assert_int_equal(verdict(&rc, &rules), KAFKA_ERROR_INVALID_RECORD);
            rules.keeps_codec = true;
        }
    }
}

static void what_kafka_calls_an_unknown_error_is_one(void **state)
{
    IGNORE(state);
    static const struct verdict_case cases[] = {
        {"gzip that is none",
         {RECORDS(GOOD_0), .count = 1, .attributes = 1, .claims = true},
         KAFKA_ERROR_UNKNOWN_SERVER_ERROR},
        {"snappy that is none",
         {RECORDS(GOOD_0), .count = 1, .attributes = 2, .claims = true},
         KAFKA_ERROR_UNKNOWN_SERVER_ERROR},
        {"lz4 that is none",
         {RECORDS(GOOD_0), .count = 1, .attributes = 3, .claims = true},
         KAFKA_ERROR_UNKNOWN_SERVER_ERROR},
        {"zstd that is none",
         {RECORDS(GOOD_0), .count = 1, .attributes = 4, .claims = true},
         KAFKA_ERROR_UNKNOWN_SERVER_ERROR},
        {"codec 6",
         {RECORDS(GOOD_0), .count = 1, .attributes = 6, .claims = true},
         KAFKA_ERROR_UNKNOWN_SERVER_ERROR},
        {"no gzip",
         {RECORDS(""), .count = 1, .attributes = 1, .claims = true},
         KAFKA_ERROR_UNKNOWN_SERVER_ERROR},
        {"no zstd",
         {RECORDS(""), .count = 1, .attributes = 4, .claims = true},
         KAFKA_ERROR_INVALID_RECORD},
        {"offsets 0, 0 in gzip",
         {RECORDS(GOOD_0 GOOD_0), .count = 2, .codec = CODEC_GZIP},
         KAFKA_ERROR_UNKNOWN_SERVER_ERROR},
        {"offsets 1, 0 in zstd",
         {RECORDS(GOOD_1 GOOD_0), .count = 2, .codec = CODEC_ZSTD},
         KAFKA_ERROR_UNKNOWN_SERVER_ERROR},
        {"offsets 0, 0 in none", {RECORDS(GOOD_0 GOOD_0), .count = 2}, KAFKA_ERROR_NONE},
        {"a length of six bytes",
         {RECORDS("\x8e\x80\x80\x80\x80\0\0\0\0\1\2v\0"), .count = 1},
         KAFKA_ERROR_UNKNOWN_SERVER_ERROR},
        {"the same in gzip",
         {RECORDS("\x8e\x80\x80\x80\x80\0\0\0\0\1\2v\0"), .count = 1, .codec = CODEC_GZIP},
         KAFKA_ERROR_INVALID_RECORD},
    };
    struct validate_rules rules = default_rules();
    expect_cases(cases, ARRAY_LEN(cases), &rules);
}

static void a_compacted_topic_takes_no_record_without_a_key(void **state)
{
    IGNORE(state);
    struct validate_rules rules = default_rules();
    rules.is_compacted = true;
    for (int codec = CODEC_NONE; codec <= CODEC_ZSTD; codec++) {
        struct arena arena;
        struct validate_result result;
        arena_init(&arena, 0);
        struct recipe rc = {RECORDS(KEYED GOOD_1 "\x0e\0\0\4\0\2v\0"
                                                 "\x0e\0\0\6\1\2v\0"),
                            .count = 4, .codec = (enum codec_type)codec};
        assert_int_equal(verdict_at(&rc, &rules, &arena, &result), KAFKA_ERROR_INVALID_RECORD);
        assert_non_null(result.message);
        assert_int_equal(result.record_errors_count, 2); /* an empty key is one */
        assert_int_equal(result.record_errors[0].batch_index, 1);
        assert_int_equal(result.record_errors[1].batch_index, 3);
        assert_non_null(result.record_errors[0].message);
        /* A broken record behind it wins, and there is no list. */
        struct recipe broken = {RECORDS(GOOD_0 "\0"), .count = 2, .codec = (enum codec_type)codec};
        assert_int_equal(verdict_at(&broken, &rules, &arena, &result), KAFKA_ERROR_INVALID_RECORD);
        assert_null(result.message);
        assert_int_equal(result.record_errors_count, 0);
        arena_release(&arena);
    }
}

static void timestamps_are_held_against_the_topics_limits(void **state)
{
    IGNORE(state);
    static const struct verdict_case cases[] = {
        {"now", {RECORDS(GOOD_0), .count = 1, .base_timestamp = NOW}, KAFKA_ERROR_NONE},
        {"an hour ago",
         {RECORDS(GOOD_0), .count = 1, .base_timestamp = NOW - HOUR},
         KAFKA_ERROR_NONE},
        {"more than an hour ago",
         {RECORDS(GOOD_0), .count = 1, .base_timestamp = NOW - HOUR - 1},
         KAFKA_ERROR_INVALID_TIMESTAMP},
        {"in an hour",
         {RECORDS(GOOD_0), .count = 1, .base_timestamp = NOW + HOUR},
         KAFKA_ERROR_NONE},
        {"in more than an hour",
         {RECORDS(GOOD_0), .count = 1, .base_timestamp = NOW + HOUR + 1},
         KAFKA_ERROR_INVALID_TIMESTAMP},
        {"none", {RECORDS(GOOD_0), .count = 1, .base_timestamp = -1}, KAFKA_ERROR_NONE},
        {"-2", {RECORDS(GOOD_0), .count = 1, .base_timestamp = -2}, KAFKA_ERROR_INVALID_TIMESTAMP},
        {"the least",
         {RECORDS(GOOD_0), .count = 1, .base_timestamp = INT64_MIN},
         KAFKA_ERROR_INVALID_TIMESTAMP},
        {"the greatest",
         {RECORDS(GOOD_0), .count = 1, .base_timestamp = INT64_MAX},
         KAFKA_ERROR_INVALID_TIMESTAMP},
        {"stamped, too old",
         {RECORDS(GOOD_0), .count = 1, .base_timestamp = NOW, .max_timestamp = STAMP,
          .attributes = 8},
         KAFKA_ERROR_INVALID_TIMESTAMP},
        {"stamped, in time",
         {RECORDS(GOOD_0), .count = 1, .base_timestamp = STAMP, .max_timestamp = NOW,
          .attributes = 8},
         KAFKA_ERROR_NONE},
        {"stamped with none",
         {RECORDS(GOOD_0), .count = 1, .max_timestamp = -1, .attributes = 8},
         KAFKA_ERROR_INVALID_TIMESTAMP},
    };
    struct validate_rules rules = default_rules();
    rules.timestamp_before_max_ms = HOUR;
    expect_cases(cases, ARRAY_LEN(cases), &rules);
    /* Without limits the ends of the range are refused all the same. */
    rules = default_rules();
    struct recipe rc = {RECORDS(GOOD_0), .count = 1, .base_timestamp = INT64_MIN};
    assert_int_equal(verdict(&rc, &rules), KAFKA_ERROR_INVALID_TIMESTAMP);
    rc.base_timestamp = -2;
    assert_int_equal(verdict(&rc, &rules), KAFKA_ERROR_NONE);
}

static void timestamp_errors_win_over_key_errors_and_both_are_listed(void **state)
{
    IGNORE(state);
    struct validate_rules rules = default_rules();
    struct arena arena;
    struct validate_result result;
    arena_init(&arena, 0);
    rules.is_compacted = true;
    struct recipe rc = {RECORDS(KEYED GOOD_1), .count = 2, .base_timestamp = NOW + 2 * HOUR};
    assert_int_equal(verdict_at(&rc, &rules, &arena, &result), KAFKA_ERROR_INVALID_TIMESTAMP);
    assert_int_equal(result.record_errors_count, 2);
    assert_string_not_equal(result.record_errors[0].message, result.record_errors[1].message);
    arena_release(&arena);
}

static void only_the_broker_stamps(void **state)
{
    IGNORE(state);
    struct validate_rules rules = default_rules();
    struct arena arena;
    struct validate_result result;
    arena_init(&arena, 0);
    rules.is_log_append_time = true;
    struct recipe rc = {RECORDS(GOOD_0 GOOD_1), .count = 2, .attributes = BATCH_LOG_APPEND_TIME};
    assert_int_equal(verdict_at(&rc, &rules, &arena, &result), KAFKA_ERROR_INVALID_TIMESTAMP);
    assert_int_equal(result.record_errors_count, 2);
    rc.attributes = 0;
    rc.base_timestamp = -5; /* nobody looks at it */
    assert_int_equal(verdict_at(&rc, &rules, &arena, &result), KAFKA_ERROR_NONE);
    assert_true(result.must_stamp_times);
    assert_int_equal(result.max_timestamp, NOW);
    assert_int_equal(result.append_time_ms, NOW);
    arena_release(&arena);
}

static void the_maximum_timestamp_is_made_right(void **state)
{
    IGNORE(state);
    struct validate_rules rules = default_rules();
    struct arena arena;
    struct validate_result result;
    arena_init(&arena, 0);
    for (int codec = CODEC_NONE; codec <= CODEC_ZSTD; codec++) {
        struct recipe rc = {RECORDS("\x0e\0\x0a\0\1\2v\0"
                                    "\x0e\0\x12\2\1\2v\0"
                                    "\x0e\0\6\4\1\2v\0"),
                            .count = 3, .codec = (enum codec_type)codec};
        rc.max_timestamp = STAMP + 9;
        assert_int_equal(verdict_at(&rc, &rules, &arena, &result), KAFKA_ERROR_NONE);
        assert_false(result.must_stamp_times);
        assert_true(result.max_timestamp == STAMP + 9);
        assert_int_equal(result.append_time_ms, -1);
        assert_null(result.rebuilt);
        rc.max_timestamp = STAMP + 10;
        assert_int_equal(verdict_at(&rc, &rules, &arena, &result), KAFKA_ERROR_NONE);
        assert_true(result.must_stamp_times);
        assert_true(result.max_timestamp == STAMP + 9);
        /* Stamped by the producer: its maximum is that of all, and the type is taken off. */
        rc.attributes = BATCH_LOG_APPEND_TIME;
        assert_int_equal(verdict_at(&rc, &rules, &arena, &result), KAFKA_ERROR_NONE);
        assert_true(result.must_stamp_times);
        assert_true(result.max_timestamp == STAMP + 10);
        struct recipe old = {RECORDS(GOOD_0), .count = 1, .base_timestamp = -7,
                             .max_timestamp = -7};
        assert_int_equal(verdict_at(&old, &rules, &arena, &result), KAFKA_ERROR_NONE);
        assert_int_equal(result.max_timestamp, -1);
    }
    arena_release(&arena);
}

/* ---- another codec ---- */

#define RICH_0 "\x26\x11\x00\x00\x04k0\x08vvvv\x04\x02h\x02x\x02n\x01"
#define RICH_1 "\x26\x11\x0e\x02\x04k1\x08vvvv\x04\x02h\x02x\x02n\x01"
#define RICH_2 "\x26\x11\x1c\x04\x04k2\x08vvvv\x04\x02h\x02x\x02n\x01"

static void a_batch_is_built_anew_for_another_codec(void **state)
{
    IGNORE(state);
    for (int from = CODEC_NONE; from <= CODEC_ZSTD; from++) {
        for (int to = CODEC_NONE; to <= CODEC_ZSTD; to++) {
            struct validate_rules rules = default_rules();
            struct arena arena;
            struct validate_result result;
            arena_init(&arena, 0);
            rules.keeps_codec = false;
            rules.codec = (enum codec_type)to;
            rules.level = level_of(rules.codec);
            struct recipe rc = {RECORDS(RICH_0 RICH_1 RICH_2),
                                .count = 3,
                                .codec = (enum codec_type)from,
                                .attributes = 0xffd0 - 0x10000,
                                .producer_id = 77,
                                .sequence = 9,
                                .epoch = 2,
                                .max_timestamp = 3};
            assert_int_equal(verdict_at(&rc, &rules, &arena, &result), KAFKA_ERROR_NONE);
            assert_true(result.max_timestamp == STAMP + 14);
            if (from == to) {
                assert_null(result.rebuilt);
                assert_true(result.must_stamp_times);
                arena_release(&arena);
                continue;
            }
            assert_false(result.must_stamp_times);
            struct batch b;
            assert_int_equal(batch_peek(result.rebuilt->data, result.rebuilt_size, &b), 0);
            assert_int_equal(b.size, result.rebuilt_size);
            assert_true(batch_crc_is_good(&b));
            assert_int_equal(b.attributes, BATCH_TRANSACTIONAL | to);
            assert_int_equal(b.producer_id, 77);
            assert_int_equal(b.producer_epoch, 2);
            assert_int_equal(b.base_sequence, 9);
            assert_int_equal(b.base_offset, 0);
            assert_int_equal(b.last_offset_delta, 2);
            assert_int_equal(b.leader_epoch, 6);
            assert_true(b.base_timestamp == STAMP && b.max_timestamp == STAMP + 14);
            struct record_iter it;
            struct record record;
            assert_int_equal(record_iter_init(&it, &b, 10000), 0);
            for (int i = 0; i < 3; i++) {
                assert_int_equal(record_iter_next(&it, &record), 1);
                assert_int_equal(record.offset, i);
                assert_true(record.timestamp == STAMP + 7 * i);
                assert_int_equal(record.key.ptr[1], '0' + i);
                assert_memory_equal(record.value.ptr, "vvvv", 4);
                assert_int_equal(record.headers_count, 2);
            }
            assert_int_equal(record_iter_next(&it, &record), 0);
            record_iter_release(&it);
            if (to == CODEC_NONE) { /* the attributes of records are cleared */
                assert_memory_equal(result.rebuilt->data + BATCH_HEADER_BYTES, "\x26\0\0\0", 4);
            }
            blob_unref(result.rebuilt);
            arena_release(&arena);
        }
    }
}

static void a_new_batch_has_offsets_and_times_in_order(void **state)
{
    IGNORE(state);
    struct validate_rules rules = default_rules();
    struct arena arena;
    struct validate_result result;
    struct batch b;
    arena_init(&arena, 0);
    rules.keeps_codec = false;
    rules.codec = CODEC_GZIP;
    rules.level = -1;
    /* Offsets 0, 0 and a first timestamp that is not the base: made right. */
    struct recipe rc = {RECORDS("\x10\0\xc8\1\0\1\2v\0"
                                "\x0e\0\x63\0\1\2v\0"),
                        .count = 2, .codec = CODEC_LZ4};
    assert_int_equal(verdict_at(&rc, &rules, &arena, &result), KAFKA_ERROR_NONE);
    assert_int_equal(batch_peek(result.rebuilt->data, result.rebuilt_size, &b), 0);
    assert_true(b.base_timestamp == STAMP + 100 && b.max_timestamp == STAMP + 100);
    assert_int_equal(b.last_offset_delta, 1);
    struct record_iter it;
    struct record record;
    assert_int_equal(record_iter_init(&it, &b, 1000), 0);
    assert_int_equal(record_iter_next(&it, &record), 1);
    assert_int_equal(record_iter_next(&it, &record), 1);
    assert_int_equal(record.offset_delta, 1);
    assert_true(record.timestamp == STAMP - 50);
    record_iter_release(&it);
    blob_unref(result.rebuilt);
    /* Stamped by the broker. */
    rules.is_log_append_time = true;
    assert_int_equal(verdict_at(&rc, &rules, &arena, &result), KAFKA_ERROR_NONE);
    assert_int_equal(batch_peek(result.rebuilt->data, result.rebuilt_size, &b), 0);
    assert_true(b.base_timestamp == STAMP + 100 && b.max_timestamp == NOW);
    assert_int_equal(b.attributes, BATCH_LOG_APPEND_TIME | CODEC_GZIP);
    assert_int_equal(result.append_time_ms, NOW);
    blob_unref(result.rebuilt);
    /* A producer that stamps: its time is every record's. */
    rules.is_log_append_time = false;
    rc.attributes = BATCH_LOG_APPEND_TIME;
    rc.max_timestamp = STAMP - 1000;
    assert_int_equal(verdict_at(&rc, &rules, &arena, &result), KAFKA_ERROR_NONE);
    assert_int_equal(batch_peek(result.rebuilt->data, result.rebuilt_size, &b), 0);
    assert_true(b.base_timestamp == STAMP - 1000 && b.max_timestamp == STAMP - 1000);
    assert_int_equal(b.attributes, CODEC_GZIP);
    blob_unref(result.rebuilt);
    struct recipe negative = {RECORDS(GOOD_0), .count = 1, .base_timestamp = -5};
    assert_int_equal(verdict(&negative, &rules), KAFKA_ERROR_UNKNOWN_SERVER_ERROR);
    negative.base_timestamp = -1;
    assert_int_equal(verdict(&negative, &rules), KAFKA_ERROR_NONE);
    arena_release(&arena);
}

/* One record with a value of n bytes, the rest is 10 or 11 bytes. */
static char *large_record(size_t n, size_t *ret_len)
{
    struct batch_builder bb;
    struct blob *blob = NULL;
    size_t size = 0;
    uint8_t *value = mem_zalloc(n);
    batch_builder_init(&bb, CODEC_NONE, 0);
    batch_builder_add(&bb, 0, (struct view){.ptr = NULL}, (struct view){.ptr = value, .len = n});
    assert_int_equal(batch_builder_finish(&bb, &blob, &size), 0);
    *ret_len = size - BATCH_HEADER_BYTES;
    char *record = mem_alloc(*ret_len);
    memcpy(record, blob->data + BATCH_HEADER_BYTES, *ret_len);
    blob_unref(blob);
    batch_builder_release(&bb);
    mem_free(value);
    return record;
}

static void a_new_batch_that_grows_too_large_is_refused(void **state)
{
    IGNORE(state);
    struct validate_rules rules = default_rules();
    struct recipe rc = {.count = 1, .codec = CODEC_GZIP};
    char *record = large_record(1000, &rc.len);
    rc.records = record;
    rules.keeps_codec = false;
    rules.codec = CODEC_NONE;
    rules.max_message_bytes = BATCH_HEADER_BYTES + (int64_t)rc.len;
    assert_int_equal(verdict(&rc, &rules), KAFKA_ERROR_NONE);
    rules.max_message_bytes--;
    assert_int_equal(verdict(&rc, &rules), KAFKA_ERROR_MESSAGE_TOO_LARGE);
    mem_free(record);
}

static void max_decompressed_bytes_bounds_one_record(void **state)
{
    IGNORE(state);
    struct validate_rules rules = default_rules();
    struct recipe rc = {.count = 1};
    char *record = large_record(1000, &rc.len);
    rc.records = record;
    for (int codec = CODEC_NONE; codec <= CODEC_ZSTD; codec++) {
        rc.codec = (enum codec_type)codec;
        rules.max_decompressed_bytes = (int64_t)rc.len - 2; /* its length is of two bytes */
        assert_int_equal(verdict(&rc, &rules), KAFKA_ERROR_NONE);
        rules.max_decompressed_bytes--;
        assert_int_equal(verdict(&rc, &rules),
                         codec == CODEC_NONE ? KAFKA_ERROR_NONE : KAFKA_ERROR_INVALID_RECORD);
        /* Several records may have more together. */
        struct recipe two = {RECORDS(GOOD_0 GOOD_1), .count = 2, .codec = (enum codec_type)codec};
        rules.max_decompressed_bytes = 7;
        assert_int_equal(verdict(&two, &rules), KAFKA_ERROR_NONE);
    }
    mem_free(record);
}

/* Compresses a record that says it has `bytes` bytes, then zeros without end. */
static struct blob *bomb(enum codec_type codec, int64_t bytes, size_t *ret_size)
{
    struct writer w;
    struct rope body;
    struct compressor *c = NULL;
    writer_init(&w);
    assert_int_equal(compressor_new(codec, level_of(codec), &w, &c), 0);
    uint8_t *zeros = mem_zalloc(1 << 20);
    struct writer head;
    writer_init(&head);
    writer_varint(&head, (int32_t)bytes);
    writer_bytes(&head, "\0\0\0\1", 4);
    writer_varint(&head,
                  (int32_t)bytes - 9); /* its own five bytes, and four before; no headers behind */
    struct rope rope;
    writer_finish(&head, &rope);
    assert_int_equal(compressor_write(c, rope_first(&rope)->ptr, rope.bytes), 0);
    rope_release(&rope);
    writer_release(&head);
    for (int i = 0; i < 64; i++) {
        assert_int_equal(compressor_write(c, zeros, 1 << 20), 0);
    }
    assert_int_equal(compressor_finish(c), 0);
    compressor_free(c);
    mem_free(zeros);
    writer_finish(&w, &body);
    struct batch_builder bb = {
        .codec = codec, .producer_id = -1, .base_sequence = -1, .records_count = 1};
    struct blob *blob = batch_builder_assemble(&bb, &body, ret_size);
    rope_release(&body);
    writer_release(&w);
    return blob;
}

static void a_bomb_is_given_up_on_the_loop_and_ends_off_it(void **state)
{
    IGNORE(state);
    for (int codec = CODEC_GZIP; codec <= CODEC_ZSTD; codec++) {
        struct validate_rules rules = default_rules();
        struct validate_result result;
        struct arena arena;
        struct batch b;
        size_t size = 0;
        arena_init(&arena, 0);
        /* As long as it has bytes: a good batch, when it is allowed. */
        struct blob *blob = bomb((enum codec_type)codec, INT64_C(64) << 20, &size);
        assert_int_equal(batch_peek(blob->data, size, &b), 0);
        rules.loop_bytes_max = 256 * 1024;
        validate_records(&b, &rules, NOW, &arena, &result);
        assert_true(result.is_unfinished);
        assert_int_equal(result.error, KAFKA_ERROR_NONE);
        rules.max_decompressed_bytes =
            1 << 20; /* refused by the record's length, without inflating it */
        validate_records(&b, &rules, NOW, &arena, &result);
        assert_false(result.is_unfinished);
        assert_int_equal(result.error, KAFKA_ERROR_INVALID_RECORD);
        rules = default_rules();
        validate_records(&b, &rules, NOW, &arena, &result);
        assert_false(result.is_unfinished);
        assert_int_equal(result.error, KAFKA_ERROR_INVALID_RECORD); /* bytes are left over */
        /* Built anew: what is too large is not kept. */
        rules.keeps_codec = false;
        rules.codec = CODEC_NONE;
        validate_records(&b, &rules, NOW, &arena, &result);
        assert_int_equal(result.error, KAFKA_ERROR_INVALID_RECORD);
        assert_null(result.rebuilt);
        blob_unref(blob);
        arena_release(&arena);
    }
}

static void record_errors_are_listed_up_to_a_bound(void **state)
{
    IGNORE(state);
    struct validate_rules rules = default_rules();
    struct arena arena;
    struct validate_result result;
    int32_t count = VALIDATE_RECORD_ERRORS_MAX + 100;
    struct batch_builder bb;
    struct blob *blob = NULL;
    size_t size = 0;
    struct batch b;
    arena_init(&arena, 0);
    batch_builder_init(&bb, CODEC_NONE, 0);
    for (int32_t i = 0; i < count; i++) {
        batch_builder_add(&bb, STAMP, (struct view){.ptr = NULL}, (struct view){.ptr = NULL});
    }
    assert_int_equal(batch_builder_finish(&bb, &blob, &size), 0);
    assert_int_equal(batch_peek(blob->data, size, &b), 0);
    rules.is_compacted = true;
    validate_records(&b, &rules, NOW, &arena, &result);
    assert_int_equal(result.error, KAFKA_ERROR_INVALID_RECORD);
    assert_int_equal(result.record_errors_count, VALIDATE_RECORD_ERRORS_MAX);
    for (int32_t i = 0; i < VALIDATE_RECORD_ERRORS_MAX; i++) {
        assert_int_equal(result.record_errors[i].batch_index, i);
    }
    arena_reset(&arena);
    arena.limit = 1000; /* the list is as long as the arena allows, the verdict the same */
    validate_records(&b, &rules, NOW, &arena, &result);
    assert_int_equal(result.error, KAFKA_ERROR_INVALID_RECORD);
    assert_true(result.record_errors_count < 100);
    blob_unref(blob);
    batch_builder_release(&bb);
    arena_release(&arena);
}

static void heavy_batches_are_told_by_their_header(void **state)
{
    IGNORE(state);
    struct batch b = {.attributes = CODEC_NONE, .size = 10 << 20};
    struct validate_rules rules = default_rules();
    assert_false(validate_is_heavy(&b));
    assert_false(validate_must_rebuild(&b, &rules));
    b.attributes = CODEC_ZSTD;
    assert_true(validate_is_heavy(&b));
    b.size = 1000;
    assert_false(validate_is_heavy(&b));
    rules.keeps_codec = false;
    rules.codec = CODEC_GZIP;
    assert_true(validate_must_rebuild(&b, &rules));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_field_without_a_whole_batch_is_an_invalid_record),
        cmocka_unit_test(a_size_below_every_format_and_an_unknown_magic_refuse_the_request),
        cmocka_unit_test(a_batch_smaller_than_its_header_is_refused),
        cmocka_unit_test(there_is_one_batch_and_less_than_one_behind_it),
        cmocka_unit_test(zstd_needs_version_7),
        cmocka_unit_test(offset_then_size_then_crc_then_codec),
        cmocka_unit_test(headers_that_do_not_fit_the_records_are_invalid),
        cmocka_unit_test(broken_records_are_invalid_in_every_codec),
        cmocka_unit_test(what_kafka_calls_an_unknown_error_is_one),
        cmocka_unit_test(a_compacted_topic_takes_no_record_without_a_key),
        cmocka_unit_test(timestamps_are_held_against_the_topics_limits),
        cmocka_unit_test(timestamp_errors_win_over_key_errors_and_both_are_listed),
        cmocka_unit_test(only_the_broker_stamps),
        cmocka_unit_test(the_maximum_timestamp_is_made_right),
        cmocka_unit_test(a_batch_is_built_anew_for_another_codec),
        cmocka_unit_test(a_new_batch_has_offsets_and_times_in_order),
        cmocka_unit_test(a_new_batch_that_grows_too_large_is_refused),
        cmocka_unit_test(max_decompressed_bytes_bounds_one_record),
        cmocka_unit_test(a_bomb_is_given_up_on_the_loop_and_ends_off_it),
        cmocka_unit_test(record_errors_are_listed_up_to_a_bound),
        cmocka_unit_test(heavy_batches_are_told_by_their_header),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
