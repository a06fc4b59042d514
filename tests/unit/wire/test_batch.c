/* Record batches. Batches of the builder, and segments that Kafka wrote (tests/golden/segments),
 * are read back by the iterator and by the stream, which must agree; single records are given byte
 * by byte, good and broken, plain and through every codec; headers are damaged field by field. */
#include "base/base.h"
#include "base/err.h"
#include "base/mem.h"
#include "wire/batch.h"
#include "wire/varint.h"

#include "unit.h"

#define NO_LIMIT INT64_MAX

static const char *tests_dir;

static struct view view_of(const char *text)
{
    return (struct view){.ptr = (const uint8_t *)text, .len = text == NULL ? 0 : strlen(text)};
}

static int level_of(enum codec_type codec)
{
    return codec == CODEC_GZIP ? -1 : codec == CODEC_ZSTD ? 3 : 9;
}

/* A batch with these bytes as its records. */
static struct blob *
batch_with(enum codec_type codec, const void *records, size_t len, int32_t count, size_t *ret_size)
{
    struct writer w;
    struct rope body;
    writer_init(&w);
    assert_int_equal(compress_bytes(codec, level_of(codec), records, len, &w), 0);
    writer_finish(&w, &body);
    struct batch_builder bb;
    batch_builder_init(&bb, codec, 0);
    bb.base_timestamp = 1000;
    bb.records_count = count;
    bb.last_offset_delta = count - 1;
    struct blob *blob = batch_builder_assemble(&bb, &body, ret_size);
    batch_builder_release(&bb);
    rope_release(&body);
    writer_release(&w);
    return blob;
}

static int collect(void *ctx, const uint8_t *bytes, size_t len)
{
    writer_bytes(ctx, bytes, len);
    return 0;
}

static size_t flatten(struct writer *w, uint8_t **ret)
{
    struct rope rope;
    writer_finish(w, &rope);
    *ret = mem_alloc(rope.bytes + 1);
    size_t len = 0;
    for (struct rope_run *run = rope_first(&rope); run != NULL; run = rope_first(&rope)) {
        memcpy(*ret + len, run->ptr, run->len);
        len += run->len;
        rope_consume(&rope, run->len);
    }
    rope_release(&rope);
    return len;
}

/* Reads all records both ways and compares; the number of records, or the failure. */
static int read_both_ways(const struct batch *b, int64_t max)
{
    struct record_iter it;
    struct record_stream rs;
    struct record_prefix prefix;
    struct record record = {.offset = 0};
    int r = record_iter_init(&it, b, max);
    int s = record_stream_init(&rs, b, max, max);
    assert_int_equal(r, s);
    int count = 0;
    if (r == 0) {
        r = record_iter_next(&it, &record);
        s = record_stream_next(&rs, &prefix);
    }
    while (r > 0 && s > 0) {
        struct writer w;
        uint8_t *payload = NULL;
        bool has_key = false;
        writer_init(&w);
        s = record_stream_payload(&rs, &has_key, collect, &w);
        size_t len = flatten(&w, &payload);
        writer_release(&w);
        if (s == 0) {
            assert_int_equal(len, prefix.payload_bytes);
            assert_int_equal(has_key, record.key.ptr != NULL);
            assert_int_equal(prefix.offset_delta, record.offset_delta);
            assert_true(b->base_timestamp + prefix.timestamp_delta == record.timestamp);
            /* The payload ends with the headers, before them comes their number. */
            assert_true(record.headers.len <= len);
            if (record.headers.len > 0) {
                assert_memory_equal(payload + len - record.headers.len, record.headers.ptr,
                                    record.headers.len);
            }
            count++;
            s = record_stream_next(&rs, &prefix);
        }
        mem_free(payload);
        r = record_iter_next(&it, &record);
    }
    /* What the iterator refuses as a whole the stream refuses in its head or its payload. */
    if (r < 0 && s > 0) {
        bool has_key = false;
        s = record_stream_payload(&rs, &has_key, NULL, NULL);
    }
    /* Bytes that broke half-way may be called spoilt by one and ill-formed by the other, by how far
     * each had come. */
    assert_int_equal(r < 0, s < 0);
    if (r >= 0) {
        assert_int_equal(r, s);
    }
    record_iter_release(&it);
    record_stream_release(&rs);
    return r < 0 ? r : count;
}

static void what_the_builder_writes_is_read_back(void **state)
{
    IGNORE(state);
    for (int codec = CODEC_NONE; codec <= CODEC_ZSTD; codec++) {
        struct batch_builder bb;
        batch_builder_init(&bb, (enum codec_type)codec, level_of((enum codec_type)codec));
        bb.base_offset = 700;
        bb.leader_epoch = 4;
        bb.producer_id = 77;
        bb.producer_epoch = 3;
        bb.base_sequence = 12;
        bb.attributes = BATCH_TRANSACTIONAL;
        struct blob *blob = NULL;
        size_t size = 0;
        batch_builder_add(&bb, 5000, view_of("k"), view_of("v"));
        batch_builder_add(&bb, 4000, view_of(NULL), view_of(""));
        struct view headers = {.ptr = (const uint8_t *)"\x02h\x02x\x00\x01", .len = 6};
        batch_builder_add_full(&bb, 2, 9000, view_of(""), view_of(NULL), 2, headers);
        assert_int_equal(batch_builder_finish(&bb, &blob, &size), 0);
        struct batch b;
        assert_int_equal(batch_peek(blob->data, size, &b), 0);
        assert_true(batch_crc_is_good(&b));
        assert_int_equal(b.size, size);
        assert_int_equal(b.base_offset, 700);
        assert_int_equal(batch_last_offset(&b), 702);
        assert_int_equal(b.leader_epoch, 4);
        assert_int_equal(b.producer_id, 77);
        assert_int_equal(b.producer_epoch, 3);
        assert_int_equal(batch_last_sequence(&b), 14);
        assert_int_equal(batch_codec(&b), codec);
        assert_true(batch_is_transactional(&b) && !batch_is_control(&b));
        assert_int_equal(b.base_timestamp, 5000);
        assert_int_equal(b.max_timestamp, 9000);
        assert_int_equal(b.records_count, 3);
        struct record_iter it;
        struct record record;
        assert_int_equal(record_iter_init(&it, &b, NO_LIMIT), 0);
        assert_int_equal(record_iter_next(&it, &record), 1);
        assert_int_equal(record.offset, 700);
        assert_int_equal(record.timestamp, 5000);
        assert_int_equal(record.key.len, 1);
        assert_memory_equal(record.value.ptr, "v", 1);
        assert_int_equal(record.headers_count, 0);
        assert_int_equal(record_iter_next(&it, &record), 1);
        assert_int_equal(record.timestamp, 4000);
        assert_null(record.key.ptr);
        assert_non_null(record.value.ptr);
        assert_int_equal(record.value.len, 0);
        assert_int_equal(record_iter_next(&it, &record), 1);
        assert_int_equal(record.offset, 702);
        assert_non_null(record.key.ptr);
        assert_null(record.value.ptr);
        assert_int_equal(record.headers_count, 2);
        struct cursor c = cursor_of(record.headers.ptr, record.headers.len);
        struct record_header header;
        assert_int_equal(record_headers_next(&c, &header), 1);
        assert_true(str_is(header.key, "h"));
        assert_memory_equal(header.value.ptr, "x", 1);
        assert_int_equal(record_headers_next(&c, &header), 1);
        assert_true(str_is(header.key, ""));
        assert_null(header.value.ptr);
        assert_int_equal(record_headers_next(&c, &header), 0);
        assert_int_equal(record_iter_next(&it, &record), 0);
        record_iter_release(&it);
        assert_int_equal(read_both_ways(&b, NO_LIMIT), 3);
        blob_unref(blob);
        /* The builder starts anew. */
        batch_builder_add(&bb, 1, view_of("again"), view_of(NULL));
        assert_int_equal(batch_builder_finish(&bb, &blob, &size), 0);
        assert_int_equal(batch_peek(blob->data, size, &b), 0);
        assert_int_equal(b.producer_id, -1);
        assert_int_equal(b.records_count, 1);
        assert_int_equal(batch_last_sequence(&b), -1);
        blob_unref(blob);
        batch_builder_release(&bb);
    }
}

static void records_that_cross_pieces_are_whole(void **state)
{
    IGNORE(state);
    size_t len = 300000;
    uint8_t *value = mem_alloc(len);
    for (size_t i = 0; i < len; i++) {
        value[i] = (uint8_t)(i * 7 + i / 251);
    }
    for (int codec = CODEC_NONE; codec <= CODEC_ZSTD; codec++) {
        struct batch_builder bb;
        batch_builder_init(&bb, (enum codec_type)codec, level_of((enum codec_type)codec));
        for (int32_t i = 0; i < 20; i++) {
            struct view v = {.ptr = value, .len = i % 3 == 0 ? len : (size_t)(i * 13777)};
            struct view key = {.ptr = value + 100, .len = i % 5 == 0 ? 70000 : 3};
            batch_builder_add(&bb, i, key, v);
        }
        struct blob *blob = NULL;
        size_t size = 0;
        assert_int_equal(batch_builder_finish(&bb, &blob, &size), 0);
        struct batch b;
        assert_int_equal(batch_peek(blob->data, size, &b), 0);
        struct record_iter it;
        struct record record;
        assert_int_equal(record_iter_init(&it, &b, NO_LIMIT), 0);
        for (int32_t i = 0; i < 20; i++) {
            assert_int_equal(record_iter_next(&it, &record), 1);
            assert_int_equal(record.offset, i);
            assert_int_equal(record.timestamp, i);
            assert_int_equal(record.key.len, i % 5 == 0 ? 70000 : 3);
            assert_memory_equal(record.key.ptr, value + 100, record.key.len);
            assert_int_equal(record.value.len, i % 3 == 0 ? len : (size_t)(i * 13777));
            assert_memory_equal(record.value.ptr, value, record.value.len);
        }
        assert_int_equal(record_iter_next(&it, &record), 0);
        record_iter_release(&it);
        assert_int_equal(read_both_ways(&b, NO_LIMIT), 20);
        if (codec != CODEC_NONE) {
            assert_int_equal(read_both_ways(&b, 1000), ERR_TOO_LARGE);
        }
        blob_unref(blob);
        batch_builder_release(&bb);
    }
    mem_free(value);
}

struct record_case {
    const char *name;
    const char *bytes;
    size_t len;
    int32_t count;
    int expect; /* records, or the failure */
};

#define BYTES(literal) literal, sizeof(literal) - 1
#define GOOD           "\x0e\0\0\0\1\2v\0"

static const struct record_case cases[] = {
    {"one record", BYTES(GOOD), 1, 1},
    {"attributes are free", BYTES("\x0e\x5a\0\0\1\2v\0"), 1, 1},
    {"too few records", BYTES(GOOD), 2, ERR_MALFORMED},
    {"a record more", BYTES(GOOD GOOD), 1, ERR_MALFORMED},
    {"a byte more", BYTES(GOOD "\0"), 1, ERR_MALFORMED},
    {"no records", BYTES(""), 0, 0},
    {"no records but a byte", BYTES("x"), 0, ERR_MALFORMED},
    {"the last record is cut", BYTES("\x0e\0\0\0\1\2v"), 1, ERR_MALFORMED},
    {"the length is one too small", BYTES("\x0c\0\0\0\1\2v\0"), 1, ERR_MALFORMED},
    {"the length is one too large", BYTES("\x10\0\0\0\1\2v\0" GOOD), 2, ERR_MALFORMED},
    {"a byte of padding in the record", BYTES("\x10\0\0\0\1\2v\0z"), 1, ERR_MALFORMED},
    {"length 0", BYTES("\0"), 1, ERR_MALFORMED},
    {"length -1", BYTES("\1\0\0\0\1\2v\0"), 1, ERR_MALFORMED},
    {"length 2^31-1", BYTES("\xfe\xff\xff\xff\x0f\0\0\0\1\2v\0"), 1, ERR_MALFORMED},
    {"length -2^31", BYTES("\xff\xff\xff\xff\x0f\0\0\0\1\2v\0"), 1, ERR_MALFORMED},
    {"length in five bytes", BYTES("\x8e\x80\x80\x80\0\0\0\0\1\2v\0"), 1, 1},
    {"length in six bytes", BYTES("\x8e\x80\x80\x80\x80\0\0\0\0\1\2v\0"), 1, ERR_MALFORMED},
    {"length cut", BYTES("\x8e\x80"), 1, ERR_MALFORMED},
    {"timestamp in ten bytes", BYTES("\x20\0\x80\x80\x80\x80\x80\x80\x80\x80\x80\0\0\1\2v\0"), 1,
     1},
    {"timestamp in eleven bytes",
     BYTES("\x22\0\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\0\0\1\2v\0"), 1, ERR_MALFORMED},
    {"offset in five bytes with spare bits", BYTES("\x16\0\0\x80\x80\x80\x80\x70\1\2v\0"), 1, 1},
    {"offset in six bytes", BYTES("\x18\0\0\x80\x80\x80\x80\x80\0\1\2v\0"), 1, ERR_MALFORMED},
    {"key length -2 is null", BYTES("\x0e\0\0\0\3\2v\0"), 1, 1},
    {"value length -2 is null", BYTES("\x0c\0\0\0\1\3\0"), 1, 1},
    {"key beyond the record", BYTES("\x0e\0\0\0\x20\2v\0" GOOD GOOD GOOD), 4, ERR_MALFORMED},
    {"value beyond the record", BYTES("\x0e\0\0\0\1\x20v\0" GOOD GOOD GOOD), 4, ERR_MALFORMED},
    {"key of 2^31-1 bytes", BYTES("\x14\0\0\0\xfe\xff\xff\xff\x0f\1\0"), 1, ERR_MALFORMED},
    {"no number of headers", BYTES("\x0a\0\0\0\1\1"), 1, ERR_MALFORMED},
    {"no number of headers, a record behind", BYTES("\x0a\0\0\0\1\1" GOOD), 2, ERR_MALFORMED},
    {"-1 headers", BYTES("\x0e\0\0\0\1\2v\1"), 1, ERR_MALFORMED},
    {"a header that is not there", BYTES("\x0e\0\0\0\1\2v\2"), 1, ERR_MALFORMED},
    {"2^31-1 headers that are not there", BYTES("\x16\0\0\0\1\2v\xfe\xff\xff\xff\x0f"), 1,
     ERR_MALFORMED},
    {"a header", BYTES("\x16\0\0\0\1\2v\2\2k\2x"), 1, 1},
    {"a header without a value", BYTES("\x14\0\0\0\1\2v\2\2k\1"), 1, 1},
    {"a header value of length -2", BYTES("\x14\0\0\0\1\2v\2\2k\3"), 1, 1},
    {"a header without a key", BYTES("\x12\0\0\0\1\2v\2\1\1"), 1, ERR_MALFORMED},
    {"a header key beyond the record", BYTES("\x14\0\0\0\1\2v\2\x20k\1" GOOD GOOD GOOD), 4,
     ERR_MALFORMED},
    {"a header value beyond the record", BYTES("\x16\0\0\0\1\2v\2\2k\x20x" GOOD GOOD GOOD), 4,
     ERR_MALFORMED},
};

static void records_are_checked_field_by_field_in_every_codec(void **state)
{
    IGNORE(state);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct record_case *rc = &cases[i];
        for (int codec = CODEC_NONE; codec <= CODEC_ZSTD; codec++) {
            size_t size = 0;
            struct blob *blob =
                batch_with((enum codec_type)codec, rc->bytes, rc->len, rc->count, &size);
            struct batch b;
            assert_int_equal(batch_peek(blob->data, size, &b), 0);
            int r = read_both_ways(&b, NO_LIMIT);
            /* No limit at all but the stream's: a length of 2^31-1 is no reason to ask for memory.
             */
            if (r != rc->expect) {
                print_message("%s, %s: %d, not %d\n", rc->name,
                              codec_type_name((enum codec_type)codec), r, rc->expect);
            }
            assert_int_equal(r, rc->expect);
            blob_unref(blob);
        }
    }
}

/* Snappy pieces are blocks, and a stream of blocks of one byte crosses a piece at every byte. */
static void records_that_cross_a_piece_at_every_byte_get_the_same_verdict(void **state)
{
    IGNORE(state);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct record_case *rc = &cases[i];
        if (rc->len == 0) {
            continue;
        }
        struct writer w;
        struct rope body;
        writer_init(&w);
        writer_bytes(&w, "\x82SNAPPY\0\0\0\0\1\0\0\0\1", 16);
        for (size_t at = 0; at < rc->len; at++) {
            /* length 3: one byte inflated, a literal of one byte */
            uint8_t block[] = {0, 0, 0, 3, 1, 0, (uint8_t)rc->bytes[at]};
            writer_bytes(&w, block, sizeof(block));
        }
        writer_finish(&w, &body);
        struct batch_builder bb;
        batch_builder_init(&bb, CODEC_SNAPPY, 0);
        bb.records_count = rc->count;
        size_t size = 0;
        struct blob *blob = batch_builder_assemble(&bb, &body, &size);
        struct batch b;
        assert_int_equal(batch_peek(blob->data, size, &b), 0);
        int r = read_both_ways(&b, NO_LIMIT);
        if (r != rc->expect) {
            print_message("%s: %d, not %d\n", rc->name, r, rc->expect);
        }
        assert_int_equal(r, rc->expect);
        blob_unref(blob);
        rope_release(&body);
        batch_builder_release(&bb);
        writer_release(&w);
    }
}

static struct blob *sample_batch(size_t *ret_size)
{
    struct batch_builder bb;
    struct blob *blob = NULL;
    batch_builder_init(&bb, CODEC_NONE, 0);
    batch_builder_add(&bb, 10, view_of("key"), view_of("value"));
    batch_builder_add(&bb, 11, view_of("key"), view_of("value"));
    assert_int_equal(batch_builder_finish(&bb, &blob, ret_size), 0);
    batch_builder_release(&bb);
    return blob;
}

static void a_header_says_what_is_wrong_with_it(void **state)
{
    IGNORE(state);
    size_t size = 0;
    struct blob *blob = sample_batch(&size);
    uint8_t *bytes = blob->data;
    struct batch b;
    for (size_t len = 0; len < size; len++) {
        assert_int_equal(batch_peek(bytes, len, &b), ERR_TRUNCATED);
    }
    assert_int_equal(batch_peek_header(bytes, BATCH_HEADER_BYTES, &b), 0);
    assert_int_equal(batch_peek_header(bytes, BATCH_HEADER_BYTES - 1, &b), ERR_TRUNCATED);
    assert_int_equal(b.size, size);
    uint32_t length = load_be32(bytes + 8);
    static const int32_t bad_lengths[] = {-1, INT32_MIN, 0, 13, 14, 48};
    for (size_t i = 0; i < ARRAY_LEN(bad_lengths); i++) {
        store_be32(bytes + 8, (uint32_t)bad_lengths[i]);
        assert_int_equal(batch_peek(bytes, size, &b), ERR_MALFORMED);
    }
    store_be32(bytes + 8, length + 1);
    assert_int_equal(batch_peek(bytes, size, &b), ERR_TRUNCATED);
    store_be32(bytes + 8, INT32_MAX);
    assert_int_equal(batch_peek(bytes, size, &b), ERR_TRUNCATED);
    assert_int_equal(batch_peek_header(bytes, size, &b), 0);
    assert_int_equal(b.size, (size_t)INT32_MAX + 12);
    store_be32(bytes + 8, length);
    static const int8_t bad_magics[] = {0, 1, 3, -1};
    for (size_t i = 0; i < ARRAY_LEN(bad_magics); i++) {
        bytes[16] = (uint8_t)bad_magics[i];
        assert_int_equal(batch_peek(bytes, size, &b), ERR_UNSUPPORTED);
        assert_int_equal(b.magic, bad_magics[i]);
        assert_int_equal(b.size, size);
    }
    blob_unref(blob);
}

static void the_crc_covers_all_but_offset_length_and_leader_epoch(void **state)
{
    IGNORE(state);
    size_t size = 0;
    struct blob *blob = sample_batch(&size);
    struct batch b;
    for (size_t at = 0; at < size; at++) {
        if (at >= 8 && at < 12) {
            continue;
        }
        for (unsigned bit = 0; bit < 8; bit++) {
            blob->data[at] ^= (uint8_t)(1u << bit);
            if (at == BATCH_MAGIC_AT) {
                assert_int_equal(batch_peek(blob->data, size, &b), ERR_UNSUPPORTED);
            } else {
                assert_int_equal(batch_peek(blob->data, size, &b), 0);
                assert_int_equal(batch_crc_is_good(&b), at < 16);
            }
            blob->data[at] ^= (uint8_t)(1u << bit);
        }
    }
    blob_unref(blob);
}

static void stamps_keep_the_batch_valid(void **state)
{
    IGNORE(state);
    size_t size = 0;
    struct blob *blob = sample_batch(&size);
    struct batch b;
    store_be16(blob->data + 21, 0xffff & ~BATCH_CODEC_MASK);
    batch_stamp_offset(blob->data, INT64_C(1) << 40);
    batch_stamp_leader_epoch(blob->data, 9);
    batch_stamp_times(blob->data, size, true, 123456);
    assert_int_equal(batch_peek(blob->data, size, &b), 0);
    assert_true(batch_crc_is_good(&b));
    assert_true(b.base_offset == INT64_C(1) << 40);
    assert_int_equal(b.leader_epoch, 9);
    assert_int_equal(b.max_timestamp, 123456);
    assert_int_equal(b.attributes, 0x78); /* bits without a meaning are gone */
    batch_stamp_times(blob->data, size, false, -1);
    assert_int_equal(batch_peek(blob->data, size, &b), 0);
    assert_true(batch_crc_is_good(&b));
    assert_int_equal(b.attributes, 0x70);
    assert_int_equal(b.max_timestamp, -1);
    blob_unref(blob);
}

static void sequences_wrap_to_zero(void **state)
{
    IGNORE(state);
    assert_int_equal(sequence_add(0, 0), 0);
    assert_int_equal(sequence_add(5, 7), 12);
    assert_int_equal(sequence_add(INT32_MAX, 1), 0);
    assert_int_equal(sequence_add(INT32_MAX - 1, 1), INT32_MAX);
    assert_int_equal(sequence_add(INT32_MAX, INT32_MAX), INT32_MAX - 1);
    struct batch b = {.base_sequence = INT32_MAX, .last_offset_delta = 2};
    assert_int_equal(batch_last_sequence(&b), 1);
    b.base_sequence = -1;
    assert_int_equal(batch_last_sequence(&b), -1);
}

static void spoilt_bytes_with_a_good_crc_do_no_harm(void **state)
{
    IGNORE(state);
    for (int codec = CODEC_GZIP; codec <= CODEC_ZSTD; codec++) {
        size_t size = 0;
        struct blob *blob =
            batch_with((enum codec_type)codec, BYTES(GOOD GOOD GOOD GOOD), 4, &size);
        for (size_t at = BATCH_HEADER_BYTES; at < size; at++) {
            for (unsigned bit = 0; bit < 8; bit++) {
                blob->data[at] ^= (uint8_t)(1u << bit);
                struct batch b;
                assert_int_equal(batch_peek(blob->data, size, &b), 0);
                int r = read_both_ways(&b, 10000);
                assert_true(r == 4 || r == ERR_CORRUPT || r == ERR_MALFORMED || r == ERR_TOO_LARGE);
                blob->data[at] ^= (uint8_t)(1u << bit);
            }
        }
        blob_unref(blob);
    }
}

static size_t file_read(const char *name, uint8_t **ret)
{
    char path[512];
    int n = snprintf(path, sizeof(path), "%s/golden/segments/%s", tests_dir, name);
    assert_true(n > 0 && (size_t)n < sizeof(path));
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    *ret = mem_alloc(65536);
    size_t len = fread(*ret, 1, 65536, f);
    assert_int_equal(fclose(f), 0);
    return len;
}

static void segments_that_kafka_wrote_are_read_whole(void **state)
{
    IGNORE(state);
    static const struct {
        const char *file;
        enum codec_type codec;
        int64_t first_offset;
        int64_t end_offset;
        int controls;
    } segments[] = {
        {"none.log", CODEC_NONE, 0, 53, 0},         {"gzip.log", CODEC_GZIP, 0, 51, 0},
        {"snappy.log", CODEC_SNAPPY, 0, 81, 0},     {"lz4.log", CODEC_LZ4, 0, 59, 0},
        {"zstd.log", CODEC_ZSTD, 0, 60, 0},         {"append-time.log", CODEC_NONE, 0, 9, 0},
        {"transactions.log", CODEC_NONE, 3, 16, 4},
    };
    for (size_t i = 0; i < ARRAY_LEN(segments); i++) {
        uint8_t *bytes = NULL;
        size_t len = file_read(segments[i].file, &bytes);
        int64_t next = segments[i].first_offset;
        int controls = 0;
        for (size_t at = 0; at < len;) {
            struct batch b;
            assert_int_equal(batch_peek(bytes + at, len - at, &b), 0);
            assert_true(batch_crc_is_good(&b));
            assert_int_equal(batch_codec(&b), segments[i].codec);
            assert_int_equal(b.base_offset, next);
            assert_int_equal(read_both_ways(&b, 1 << 20), b.records_count);
            struct record_iter it;
            struct record record;
            assert_int_equal(record_iter_init(&it, &b, 1 << 20), 0);
            int64_t max = -1;
            while (record_iter_next(&it, &record) == 1) {
                assert_int_equal(record.offset, next);
                next++;
                max = max_i64(max, record.timestamp);
            }
            if ((b.attributes & BATCH_LOG_APPEND_TIME) == 0) {
                assert_true(max == b.max_timestamp);
            }
            if (batch_is_control(&b)) {
                controls++;
                assert_int_equal(record.key.len, 4);
                uint16_t type = load_be16(record.key.ptr + 2);
                assert_true(type == CONTROL_COMMIT || type == CONTROL_ABORT);
            }
            record_iter_release(&it);
            assert_int_equal(next, batch_last_offset(&b) + 1);
            at += b.size;
        }
        assert_int_equal(next, segments[i].end_offset);
        assert_int_equal(controls, segments[i].controls);
        mem_free(bytes);
    }
}

int main(int argc, char **argv)
{
    tests_dir = argc > 1 ? argv[1] : "tests";
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_the_builder_writes_is_read_back),
        cmocka_unit_test(records_that_cross_pieces_are_whole),
        cmocka_unit_test(records_are_checked_field_by_field_in_every_codec),
        cmocka_unit_test(records_that_cross_a_piece_at_every_byte_get_the_same_verdict),
        cmocka_unit_test(a_header_says_what_is_wrong_with_it),
        cmocka_unit_test(the_crc_covers_all_but_offset_length_and_leader_epoch),
        cmocka_unit_test(stamps_keep_the_batch_valid),
        cmocka_unit_test(sequences_wrap_to_zero),
        cmocka_unit_test(spoilt_bytes_with_a_good_crc_do_no_harm),
        cmocka_unit_test(segments_that_kafka_wrote_are_read_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
