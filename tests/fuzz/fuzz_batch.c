/*
 * Arbitrary bytes as a produced batch.
 *
 * The first byte of an input chooses the rules of the topic, the second the codec of step 3. Then
 *   1. the rest as it is goes through the checks of a frame;
 *   2. with length, magic and CRC made right it goes through the iterator, the stream and all
 * checks; a batch that was built anew must be good and hold as many records;
 *   3. what follows the header is compressed and must get the same verdict as the plain bytes.
 */
#include "base/base.h"
#include "base/mem.h"
#include "wire/batch.h"

/* The fuzz targets are made of the wire layer's sources; this one module of storage comes along. */
#include "storage/validate.c"

#define INFLATED_MAX (1 << 20)
#define NOW          INT64_C(1700000000000)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct validate_rules rules_of(uint8_t bits)
{
    return (struct validate_rules){
        .max_message_bytes = INFLATED_MAX,
        .max_decompressed_bytes = bits & 1 ? 100 : INFLATED_MAX,
        .timestamp_before_max_ms = bits & 2 ? 3600000 : INT64_MAX,
        .timestamp_after_max_ms = 3600000,
        .loop_bytes_max = INFLATED_MAX,
        .is_log_append_time = (bits & 4) != 0,
        .is_compacted = (bits & 8) != 0,
        .keeps_codec = (bits & 16) != 0,
        .codec = (enum codec_type)((bits >> 5) % 5),
        .level = 1,
    };
}

static int count_records(const struct batch *b)
{
    struct record_iter it;
    struct record_stream rs;
    struct record record;
    struct record_prefix prefix;
    int count = 0;
    int r = record_iter_init(&it, b, INFLATED_MAX);
    int s = record_stream_init(&rs, b, INFLATED_MAX, INFLATED_MAX);
    check(r == s);
    r = r < 0 ? r : record_iter_next(&it, &record);
    while (r > 0) {
        struct cursor headers = cursor_of(record.headers.ptr, record.headers.len);
        struct record_header header;
        int32_t headers_count = 0;
        while (record_headers_next(&headers, &header) == 1) {
            headers_count++;
        }
        check(headers_count == record.headers_count);
        check(record_stream_next(&rs, &prefix) == 1);
        bool has_key = false;
        check(record_stream_payload(&rs, &has_key, NULL, NULL) == 0);
        check(has_key == (record.key.ptr != NULL));
        check(prefix.offset_delta == record.offset_delta);
        count++;
        r = record_iter_next(&it, &record);
    }
    record_iter_release(&it);
    record_stream_release(&rs);
    return r < 0 ? r : count;
}

static enum kafka_error verdict_of(const struct batch *b, const struct validate_rules *rules)
{
    struct arena arena;
    struct validate_result result;
    arena_init(&arena, 1 << 20);
    validate_records(b, rules, NOW, &arena, &result);
    enum kafka_error error = result.error;
    if (error == KAFKA_ERROR_NONE && !result.is_unfinished) {
        check(count_records(b) == b->records_count ||
              rules->max_decompressed_bytes == INFLATED_MAX || batch_codec(b) == CODEC_NONE);
        if (result.rebuilt != NULL) {
            struct batch built;
            check(batch_peek(result.rebuilt->data, result.rebuilt_size, &built) == 0);
            check(batch_crc_is_good(&built));
            check(built.size == result.rebuilt_size);
            check(count_records(&built) == b->records_count);
        }
    }
    check(error != KAFKA_ERROR_NONE || (result.record_errors_count == 0 && result.message == NULL));
    check(result.rebuilt == NULL || error == KAFKA_ERROR_NONE);
    blob_unref(result.rebuilt);
    arena_release(&arena);
    return result.is_unfinished ? KAFKA_ERROR_REQUEST_TIMED_OUT : error;
}

static void
compare_with_compressed(const struct batch *b, enum codec_type codec, struct validate_rules rules)
{
    struct writer w;
    struct rope body;
    writer_init(&w);
    check(compress_bytes(codec, 1, b->bytes + BATCH_HEADER_BYTES, b->size - BATCH_HEADER_BYTES,
                         &w) == 0);
    writer_finish(&w, &body);
    struct batch_builder bb = {
        .codec = codec,
        .attributes = (int16_t)(b->attributes & ~BATCH_CODEC_MASK),
        .base_timestamp = b->base_timestamp,
        .max_timestamp = b->max_timestamp,
        .producer_id = b->producer_id,
        .base_sequence = b->base_sequence,
        .records_count = b->records_count,
        .last_offset_delta = b->last_offset_delta,
    };
    size_t size = 0;
    struct blob *blob = batch_builder_assemble(&bb, &body, &size);
    struct batch compressed;
    check(batch_peek(blob->data, size, &compressed) == 0);
    rules.keeps_codec = true;
    rules.max_decompressed_bytes = INFLATED_MAX;
    struct batch plain = *b;
    plain.attributes &= (int16_t)~BATCH_CODEC_MASK;
    enum kafka_error a = verdict_of(&plain, &rules);
    enum kafka_error z = verdict_of(&compressed, &rules);
    /* Offsets out of order and endless lengths are looked at in one of the two only. */
    check(a == z || a == KAFKA_ERROR_UNKNOWN_SERVER_ERROR || z == KAFKA_ERROR_UNKNOWN_SERVER_ERROR);
    blob_unref(blob);
    rope_release(&body);
    writer_release(&w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) {
        return 0;
    }
    struct validate_rules rules = rules_of(data[0]);
    enum codec_type codec = (enum codec_type)(data[1] % 4 + 1);
    uint8_t *bytes = mem_alloc(size);
    size -= 2;
    memcpy(bytes, data + 2, size);
    struct batch b;
    const char *message = NULL;
    enum kafka_error error = validate_frame(bytes, size, &rules, 13, &b, &message);
    check(error != KAFKA_ERROR_NONE || b.size <= size);
    IGNORE(batch_peek(bytes, size, &b)); /* either is fine */
    if (size >= BATCH_HEADER_BYTES) {
        store_be32(bytes + 8, (uint32_t)(size - BATCH_OVERHEAD));
        bytes[BATCH_MAGIC_AT] = 2;
        store_be32(bytes + 17, crc32c(0, bytes + 21, size - 21));
        check(batch_peek(bytes, size, &b) == 0);
        check(batch_crc_is_good(&b));
        IGNORE(count_records(&b));      /* either is fine */
        IGNORE(verdict_of(&b, &rules)); /* either is fine */
        if (size < 100000) {
            compare_with_compressed(&b, codec, rules);
        }
    }
    mem_free(bytes);
    return 0;
}
