/*
 * Reading of record batches, and the stamps that a leader writes into them; the layout is in the
 * header. Answers to Kafka's DefaultRecordBatch and DefaultRecord (KIP-98).
 *
 * The records of a batch are read in two ways. Where a record lies in one piece of memory (always
 * in a plain batch, nearly always in a compressed one) record_parse walks it with pointers. Where
 * it crosses pieces of the decompressor, the iterator gathers it into a buffer, and the stream
 * walks it field by field without one.
 *
 * As strict as Kafka's reader of plain batches, for compressed ones too: each record has exactly
 * the length that it says, each batch the number of records that it says, and nothing is left over.
 * A negative length of a key or a value is null, as there.
 */
#include "wire/batch.h"

#include "base/base.h"
#include "base/err.h"
#include "base/mem.h"
#include "wire/record.h"
#include "wire/varint.h"

#define BATCH_LENGTH_AT         8
#define BATCH_LEADER_EPOCH_AT   12
#define BATCH_CRC_AT            17
#define BATCH_ATTRIBUTES_AT     21
#define BATCH_MAX_TIMESTAMP_AT  35
#define BATCH_LENGTH_MIN        14 /* batchLength of the smallest message of any format */
#define RECORD_BUFFER_BYTES_MIN 4096

/* The attributes that a stamp keeps: those without a meaning are lost, as in Kafka. */
#define BATCH_ATTRIBUTES_KEPT \
    (BATCH_CODEC_MASK | BATCH_TRANSACTIONAL | BATCH_CONTROL | BATCH_DELETE_HORIZON)

int batch_peek_header(const void *bytes, size_t len, struct batch *ret)
{
    const uint8_t *p = bytes;
    if (len < BATCH_MAGIC_AT + 1) {
        return ERR_TRUNCATED;
    }
    int32_t length = (int32_t)load_be32(p + BATCH_LENGTH_AT);
    if (length < BATCH_LENGTH_MIN) {
        return ERR_MALFORMED;
    }
    int8_t magic = (int8_t)p[BATCH_MAGIC_AT];
    if (magic != 2) {
        *ret = (struct batch){
            .bytes = p,
            .size = (size_t)length + BATCH_OVERHEAD,
            .base_offset = (int64_t)load_be64(p),
            .magic = magic,
        };
        return ERR_UNSUPPORTED;
    }
    if (length < BATCH_HEADER_BYTES - BATCH_OVERHEAD) {
        return ERR_MALFORMED;
    }
    if (len < BATCH_HEADER_BYTES) {
        return ERR_TRUNCATED;
    }
    *ret = (struct batch){
        .bytes = p,
        .size = (size_t)length + BATCH_OVERHEAD,
        .base_offset = (int64_t)load_be64(p),
        .leader_epoch = (int32_t)load_be32(p + BATCH_LEADER_EPOCH_AT),
        .magic = magic,
        .crc = load_be32(p + BATCH_CRC_AT),
        .attributes = (int16_t)load_be16(p + BATCH_ATTRIBUTES_AT),
        .last_offset_delta = (int32_t)load_be32(p + 23),
        .base_timestamp = (int64_t)load_be64(p + 27),
        .max_timestamp = (int64_t)load_be64(p + BATCH_MAX_TIMESTAMP_AT),
        .producer_id = (int64_t)load_be64(p + 43),
        .producer_epoch = (int16_t)load_be16(p + 51),
        .base_sequence = (int32_t)load_be32(p + 53),
        .records_count = (int32_t)load_be32(p + 57),
    };
    return 0;
}

int batch_peek(const void *bytes, size_t len, struct batch *ret)
{
    struct batch b = {.size = 0};
    int r = batch_peek_header(bytes, len, &b);
    if ((r == 0 || r == ERR_UNSUPPORTED) && b.size > len) {
        return ERR_TRUNCATED;
    }
    if (r == 0 || r == ERR_UNSUPPORTED) {
        *ret = b;
    }
    return r;
}

bool batch_crc_is_good(const struct batch *b)
{
    return b->crc == crc32c(0, b->bytes + BATCH_ATTRIBUTES_AT, b->size - BATCH_ATTRIBUTES_AT);
}

int32_t sequence_add(int32_t sequence, int32_t delta)
{
    /* Sequences are counted modulo 2^31. */
    return (int32_t)(((uint32_t)sequence + (uint32_t)delta) & INT32_MAX);
}

int32_t batch_last_sequence(const struct batch *b)
{
    return b->base_sequence == -1 ? -1 : sequence_add(b->base_sequence, b->last_offset_delta);
}

void batch_stamp_offset(uint8_t *bytes, int64_t base_offset)
{
    store_be64(bytes, (uint64_t)base_offset);
}

void batch_stamp_leader_epoch(uint8_t *bytes, int32_t leader_epoch)
{
    store_be32(bytes + BATCH_LEADER_EPOCH_AT, (uint32_t)leader_epoch);
}

void batch_stamp_times(uint8_t *bytes, size_t size, bool is_log_append_time, int64_t max_timestamp)
{
    check(size >= BATCH_HEADER_BYTES);
    unsigned attributes = load_be16(bytes + BATCH_ATTRIBUTES_AT) & BATCH_ATTRIBUTES_KEPT;
    attributes |= is_log_append_time ? BATCH_LOG_APPEND_TIME : 0;
    store_be16(bytes + BATCH_ATTRIBUTES_AT, (uint16_t)attributes);
    store_be64(bytes + BATCH_MAX_TIMESTAMP_AT, (uint64_t)max_timestamp);
    store_be32(bytes + BATCH_CRC_AT,
               crc32c(0, bytes + BATCH_ATTRIBUTES_AT, size - BATCH_ATTRIBUTES_AT));
}

int record_headers_next(struct cursor *c, struct record_header *ret)
{
    if (c->next == c->end) {
        return 0;
    }
    const uint8_t *p = record_parse_header(c->next, c->end, ret);
    if (p == NULL) {
        return ERR_MALFORMED;
    }
    c->next = p;
    return 1;
}

int record_stream_init(struct record_stream *rs,
                       const struct batch *b,
                       int64_t output_max,
                       int64_t record_max)
{
    const uint8_t *records = b->bytes + BATCH_HEADER_BYTES;
    size_t len = b->size - BATCH_HEADER_BYTES;
    *rs = (struct record_stream){.record_max = record_max, .count = b->records_count};
    if (batch_codec(b) == CODEC_NONE) {
        rs->piece = cursor_of(records, len);
        return 0;
    }
    rs->piece = cursor_of(records, 0);
    return decompressor_new(batch_codec(b), records, len, output_max, &rs->decompressor);
}

void record_stream_release(struct record_stream *rs)
{
    rs->decompressor = decompressor_free(rs->decompressor);
}

/* The next piece when this one is used up. 1: there are bytes; 0: the records end. */
static inline int stream_refill(struct record_stream *rs)
{
    if (likely(rs->piece.next != rs->piece.end)) {
        return 1;
    }
    if (rs->decompressor == NULL) {
        return 0;
    }
    struct view bytes = {.ptr = NULL};
    int r = decompressor_read(rs->decompressor, &bytes);
    if (r < 0 || bytes.len == 0) {
        return r;
    }
    rs->inflated += to_i64(bytes.len);
    rs->piece = cursor_of(bytes.ptr, bytes.len);
    return 1;
}

/* Passes over n bytes of the present record. */
static int stream_take(struct record_stream *rs, int64_t n)
{
    if (n > rs->left) {
        return ERR_MALFORMED;
    }
    rs->left -= n;
    while (n > 0) {
        int r = stream_refill(rs);
        if (r <= 0) {
            return r < 0 ? r : ERR_MALFORMED;
        }
        size_t part = min_size(cursor_left(&rs->piece), (size_t)n);
        if (rs->sink != NULL) {
            r = rs->sink(rs->ctx, rs->piece.next, part);
            if (r < 0) {
                return r;
            }
        }
        rs->piece.next += part;
        n -= (int64_t)part;
    }
    return 0;
}

/* A number of the present record that may cross pieces; its bits as they stand. */
static int stream_uvarlong(struct record_stream *rs, unsigned bytes_max, uint64_t *ret)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < bytes_max; i++) {
        int r = stream_refill(rs);
        if (r <= 0) {
            return r < 0 ? r : ERR_MALFORMED;
        }
        uint8_t byte = *rs->piece.next;
        r = stream_take(rs, 1);
        if (r < 0) {
            return r;
        }
        value |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (byte < 0x80) {
            *ret = value;
            return 0;
        }
    }
    return ERR_MALFORMED;
}

static int stream_varlong(struct record_stream *rs, int64_t *ret)
{
    uint64_t bits = 0;
    int r = stream_uvarlong(rs, VARLONG_BYTES_MAX, &bits);
    if (r == 0) {
        *ret = (int64_t)(bits >> 1) ^ -(int64_t)(bits & 1);
    }
    return r;
}

static int stream_varint(struct record_stream *rs, int32_t *ret)
{
    uint64_t bits = 0;
    int r = stream_uvarlong(rs, VARINT_BYTES_MAX, &bits);
    if (r == 0) {
        *ret = (int32_t)((uint32_t)bits >> 1) ^ -(int32_t)(bits & 1);
    }
    return r;
}

/* The length of the next record. 0: there is no record any more. */
static int stream_record_length(struct record_stream *rs, int32_t *ret)
{
    if (rs->index >= rs->count) {
        int r = stream_refill(rs);
        return r > 0 ? ERR_MALFORMED : r;
    }
    const uint8_t *p = varint_read(rs->piece.next, rs->piece.end, ret);
    if (likely(p != NULL)) {
        rs->piece.next = p;
    } else {
        rs->left = VARINT_BYTES_MAX;
        rs->sink = NULL;
        int r = stream_varint(rs, ret);
        if (r < 0) {
            return r;
        }
    }
    if (*ret < 0) {
        return ERR_MALFORMED;
    }
    if (*ret > rs->record_max) {
        rs->had_large_record = true;
        return ERR_TOO_LARGE;
    }
    rs->left = *ret;
    rs->index++;
    return 1;
}

int record_stream_next(struct record_stream *rs, struct record_prefix *ret)
{
    int32_t length = 0;
    int r = stream_record_length(rs, &length);
    if (r <= 0) {
        return r;
    }
    rs->sink = NULL;
    const uint8_t *p = rs->piece.next;
    size_t at_hand = cursor_left(&rs->piece);
    if (likely(at_hand >= (size_t)length && length > 0)) {
        const uint8_t *end = p + length;
        p = varlong_read(p + 1, end, &ret->timestamp_delta);
        p = p == NULL ? NULL : varint_read(p, end, &ret->offset_delta);
        if (p == NULL) {
            return ERR_MALFORMED;
        }
        rs->piece.next = p;
        rs->left = end - p;
    } else {
        r = stream_take(rs, 1);
        r = r < 0 ? r : stream_varlong(rs, &ret->timestamp_delta);
        r = r < 0 ? r : stream_varint(rs, &ret->offset_delta);
        if (r < 0) {
            return r;
        }
    }
    ret->payload_bytes = rs->left;
    return 1;
}

/* A length and that many bytes. */
static int stream_blob(struct record_stream *rs, bool *ret_is_null)
{
    int32_t len = 0;
    int r = stream_varint(rs, &len);
    if (r < 0) {
        return r;
    }
    *ret_is_null = len < 0;
    return len < 0 ? 0 : stream_take(rs, len);
}

static int stream_headers(struct record_stream *rs)
{
    int32_t count = 0;
    int r = stream_varint(rs, &count);
    if (r < 0 || count < 0) {
        return r < 0 ? r : ERR_MALFORMED;
    }
    /* Each turn takes at least two bytes of the record. */
    for (int32_t i = 0; i < count; i++) {
        bool is_null = false;
        r = stream_blob(rs, &is_null);
        if (r < 0 || is_null) {
            return r < 0 ? r : ERR_MALFORMED;
        }
        r = stream_blob(rs, &is_null);
        if (r < 0) {
            return r;
        }
    }
    return rs->left == 0 ? 0 : ERR_MALFORMED;
}

int record_stream_payload(struct record_stream *rs, bool *ret_has_key, record_sink *sink, void *ctx)
{
    rs->sink = sink;
    rs->ctx = ctx;
    const uint8_t *p = rs->piece.next;
    if (likely(cursor_left(&rs->piece) >= (size_t)rs->left)) {
        struct record record;
        int r = record_parse_payload(p, p + rs->left, &record);
        if (r < 0) {
            return r;
        }
        *ret_has_key = record.key.ptr != NULL;
        return stream_take(rs, rs->left);
    }
    bool is_null = false;
    int r = stream_blob(rs, &is_null);
    if (r < 0) {
        return r;
    }
    *ret_has_key = !is_null;
    r = stream_blob(rs, &is_null);
    return r < 0 ? r : stream_headers(rs);
}

int record_iter_init(struct record_iter *it, const struct batch *b, int64_t output_max)
{
    *it = (struct record_iter){.batch = b};
    return record_stream_init(&it->stream, b, output_max, output_max);
}

void record_iter_release(struct record_iter *it)
{
    record_stream_release(&it->stream);
    it->buffer = mem_free(it->buffer);
    it->buffer_cap = 0;
}

/* Collects `length` bytes of a record into the buffer, which grows by what has come, never by what
 * was promised. */
static int record_gather(struct record_iter *it, size_t length)
{
    struct cursor *piece = &it->stream.piece;
    size_t len = 0;
    while (len < length) {
        int r = stream_refill(&it->stream);
        if (r <= 0) {
            return r < 0 ? r : ERR_MALFORMED;
        }
        size_t n = min_size(length - len, cursor_left(piece));
        if (it->buffer_cap - len < n) {
            size_t cap = max_size(min_size(length, 2 * (len + n)), RECORD_BUFFER_BYTES_MIN);
            uint8_t *buffer = mem_try_realloc(it->buffer, cap);
            if (buffer == NULL) {
                return ERR_NO_MEMORY;
            }
            it->buffer = buffer;
            it->buffer_cap = cap;
        }
        memcpy(it->buffer + len, piece->next, n);
        piece->next += n;
        len += n;
    }
    return 0;
}

int record_iter_next(struct record_iter *it, struct record *ret)
{
    int32_t length = 0;
    int r = stream_record_length(&it->stream, &length);
    if (unlikely(r <= 0)) {
        return r;
    }
    const uint8_t *record = it->stream.piece.next;
    if (likely(cursor_left(&it->stream.piece) >= (size_t)length)) {
        it->stream.piece.next += length;
    } else if (it->stream.decompressor == NULL) {
        return ERR_MALFORMED;
    } else {
        r = record_gather(it, (size_t)length);
        if (r < 0) {
            return r;
        }
        record = it->buffer;
    }
    struct record parsed;
    r = record_parse(record, record + length, &parsed);
    if (unlikely(r < 0)) {
        return r;
    }
    const struct batch *b = it->batch;
    parsed.timestamp = (int64_t)((uint64_t)b->base_timestamp + (uint64_t)parsed.timestamp);
    parsed.offset = (int64_t)((uint64_t)b->base_offset + (uint64_t)(int64_t)parsed.offset_delta);
    *ret = parsed;
    return 1;
}
