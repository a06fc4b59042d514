/*
 * Building of record batches: control batches, coordinator and metadata records, recompression.
 * Records are collected plain; the codec runs over them as a whole when the batch is finished.
 *
 * As Kafka's MemoryRecordsBuilder: the base timestamp is that of the first record, the maximum
 * starts at -1 (no timestamp), and the attributes byte of a record is 0.
 */
#include "wire/batch.h"

#include "base/base.h"
#include "base/err.h"

void batch_builder_init(struct batch_builder *bb, enum codec_type codec, int level)
{
    *bb = (struct batch_builder){
        .codec = codec,
        .level = level,
        .base_timestamp = -1,
        .max_timestamp = -1,
        .producer_id = -1,
        .leader_epoch = -1,
        .base_sequence = -1,
        .last_offset_delta = -1,
        .producer_epoch = -1,
    };
    writer_init(&bb->records);
}

void batch_builder_release(struct batch_builder *bb)
{
    writer_release(&bb->records);
}

static size_t view_size(struct view v)
{
    return v.ptr == NULL ? varint_size(-1) : varint_size(to_i32(to_i64(v.len))) + v.len;
}

static void view_write(struct writer *w, struct view v)
{
    if (v.ptr == NULL) {
        writer_varint(w, -1);
        return;
    }
    writer_varint(w, to_i32(to_i64(v.len)));
    writer_bytes(w, v.ptr, v.len);
}

void batch_builder_add_full(struct batch_builder *bb,
                            int32_t offset_delta,
                            int64_t timestamp,
                            struct view key,
                            struct view value,
                            int32_t headers_count,
                            struct view headers)
{
    if (bb->records_count == 0) {
        bb->base_timestamp = timestamp;
    }
    int64_t delta = (int64_t)((uint64_t)timestamp - (uint64_t)bb->base_timestamp);
    size_t length = 1 + varlong_size(delta) + varint_size(offset_delta) + view_size(key) +
                    view_size(value) + varint_size(headers_count) + headers.len;
    struct writer *w = &bb->records;
    writer_varint(w, to_i32(to_i64(length)));
    writer_i8(w, 0);
    writer_varlong(w, delta);
    writer_varint(w, offset_delta);
    view_write(w, key);
    view_write(w, value);
    writer_varint(w, headers_count);
    if (headers.len > 0) {
        writer_bytes(w, headers.ptr, headers.len);
    }
    bb->records_count++;
    bb->last_offset_delta = offset_delta;
    bb->max_timestamp = max_i64(bb->max_timestamp, timestamp);
}

void batch_builder_add(struct batch_builder *bb,
                       int64_t timestamp,
                       struct view key,
                       struct view value)
{
    struct view no_headers = {.ptr = NULL};
    batch_builder_add_full(bb, bb->last_offset_delta + 1, timestamp, key, value, 0, no_headers);
}

struct blob *
batch_builder_assemble(const struct batch_builder *bb, struct rope *body, size_t *ret_size)
{
    size_t size = BATCH_HEADER_BYTES + body->bytes;
    struct blob *blob = blob_new(size);
    uint8_t *p = blob->data;
    store_be64(p, (uint64_t)bb->base_offset);
    store_be32(p + 8, (uint32_t)to_i32(to_i64(size - BATCH_OVERHEAD)));
    store_be32(p + 12, (uint32_t)bb->leader_epoch);
    p[BATCH_MAGIC_AT] = 2;
    store_be16(p + 21, (uint16_t)((unsigned)bb->attributes | (unsigned)bb->codec));
    store_be32(p + 23, (uint32_t)bb->last_offset_delta);
    store_be64(p + 27, (uint64_t)bb->base_timestamp);
    store_be64(p + 35, (uint64_t)bb->max_timestamp);
    store_be64(p + 43, (uint64_t)bb->producer_id);
    store_be16(p + 51, (uint16_t)bb->producer_epoch);
    store_be32(p + 53, (uint32_t)bb->base_sequence);
    store_be32(p + 57, (uint32_t)bb->records_count);
    uint8_t *to = p + BATCH_HEADER_BYTES;
    while (body->bytes > 0) {
        const struct rope_run *run = rope_first(body);
        check(run->type == ROPE_MEMORY);
        size_t n = run->len;
        memcpy(to, run->ptr, n);
        to += n;
        rope_consume(body, n);
    }
    store_be32(p + 17, crc32c(0, p + 21, size - 21));
    *ret_size = size;
    return blob;
}

/* Runs the codec over the collected records. */
static int batch_compress(struct batch_builder *bb, struct rope *records, struct writer *out)
{
    struct compressor *c = NULL;
    int r = compressor_new(bb->codec, bb->level, out, &c);
    while (r == 0 && records->bytes > 0) {
        const struct rope_run *run = rope_first(records);
        size_t n = run->len;
        r = compressor_write(c, run->ptr, n);
        rope_consume(records, n);
    }
    if (r == 0) {
        r = compressor_finish(c);
    }
    compressor_free(c);
    return r;
}

int batch_builder_finish(struct batch_builder *bb, struct blob **ret, size_t *ret_size)
{
    struct rope body;
    rope_init(&body);
    writer_finish(&bb->records, &body);
    int r = 0;
    if (bb->codec != CODEC_NONE) {
        struct writer compressed;
        writer_init(&compressed);
        r = batch_compress(bb, &body, &compressed);
        rope_release(&body);
        writer_finish(&compressed, &body);
        writer_release(&compressed);
    }
    if (r == 0 && body.bytes > INT32_MAX - BATCH_HEADER_BYTES) {
        r = ERR_TOO_LARGE;
    }
    if (r == 0) {
        *ret = batch_builder_assemble(bb, &body, ret_size);
    }
    rope_release(&body);
    batch_builder_release(bb);
    batch_builder_init(bb, bb->codec, bb->level);
    return r;
}
