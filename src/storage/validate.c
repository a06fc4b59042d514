/*
 * The checks of a produced batch. Their order and codes are those that Kafka 4.4.0 answers with,
 * where that is not told by its protocol (LogValidator, KIP-467 for the record errors):
 *
 *   - A record that breaks the format ends the walk at once with INVALID_RECORD (87) and no list;
 *     record errors (key, timestamp) are collected and judged at the end, INVALID_TIMESTAMP (32)
 * before 87.
 *   - Compressed bytes that do not inflate, and an unknown codec, are UNKNOWN_SERVER_ERROR (-1);
 *     so are offsets that are not 0..n-1 in a compressed batch that keeps its codec (in plain ones
 * nobody looks at them), timestamps below -1 in a batch that is built anew, and a record length of
 * more than five bytes in a plain batch.
 *   - max.decompressed.message.bytes bounds one record of a compressed batch (87).
 *   - A batch whose LogAppendTime bit is set has its maximum timestamp for all its records; on a
 * CreateTime topic it is taken, and stored as CreateTime, unless that timestamp is -1.
 *
 * Memory: plain batches are walked in place, compressed ones through the pieces of the stream. A
 * batch that is built anew is written while it is read, up to max.message.bytes.
 *
 * Stricter than Kafka in one place: it does not compare a record's length with what the record
 * holds in compressed batches (and so stores batches that consumers cannot read); here they are 87,
 * as plain ones.
 */
#include "storage/validate.h"

#include "base/base.h"
#include "base/err.h"
#include "wire/record.h"
#include "wire/varint.h"

#define SIZE_AT              8
#define ZSTD_PRODUCE_VERSION 7
#define HEADER_BYTES_READABLE \
    51 /* Kafka reads as far as the producer id before it checks the size */
#define HEAVY_BYTES         (32 * 1024)
#define RECORD_ERRORS_FIRST 16
#define NO_TIMESTAMP        (-1)

static const char text_small[] = "The batch is smaller than the smallest possible one";
static const char text_magic[] = "The magic byte of the batch is none of 0, 1 and 2";
static const char text_key[] = "A compacted topic takes no record without a key";
static const char text_timestamp[] =
    "The timestamp of the record is outside of what message.timestamp.before.max.ms and "
    "message.timestamp.after.max.ms of the topic allow";
static const char text_type[] = "Only the broker may set the timestamp type to LogAppendTime";
static const char text_errors_timestamp[] =
    "The batch was refused: timestamps of its records are not allowed, see the record errors";
static const char text_errors_record[] =
    "The batch was refused because of some of its records, see the record errors";

/* ---- the frame ---- */

enum peek {
    PEEK_NONE, /* fewer bytes than a batch */
    PEEK_BATCH,
    PEEK_SMALL, /* a size below the smallest message of any format */
    PEEK_MAGIC,
};

/* As Kafka's ByteBufferLogInputStream looks at the next batch: size, magic, then whether it is
 * whole. */
static enum peek peek_next(const uint8_t *bytes, size_t len, size_t *ret_size)
{
    if (len < BATCH_OVERHEAD) {
        return PEEK_NONE;
    }
    int32_t length = (int32_t)load_be32(bytes + SIZE_AT);
    if (length < 14) {
        return PEEK_SMALL;
    }
    if (len < BATCH_MAGIC_AT + 1) {
        return PEEK_NONE;
    }
    if (bytes[BATCH_MAGIC_AT] > 2) {
        return PEEK_MAGIC;
    }
    *ret_size = (size_t)length + BATCH_OVERHEAD;
    return *ret_size > len ? PEEK_NONE : PEEK_BATCH;
}

enum kafka_error validate_request(const void *bytes,
                                  size_t len,
                                  int16_t produce_version,
                                  bool *ret_fails_request,
                                  const char **ret_message)
{
    const uint8_t *p = bytes;
    size_t size = 0;
    enum peek first = peek_next(p, len, &size);
    *ret_fails_request = first == PEEK_SMALL || first == PEEK_MAGIC;
    *ret_message = NULL;
    if (*ret_fails_request) {
        *ret_message = first == PEEK_SMALL ? text_small : text_magic;
        return KAFKA_ERROR_CORRUPT_MESSAGE;
    }
    if (first == PEEK_NONE || p[BATCH_MAGIC_AT] != 2) {
        return KAFKA_ERROR_INVALID_RECORD;
    }
    /* The smallest size that peek_next lets through, 26, holds the attributes at 21. */
    int codec = load_be16(p + 21) & BATCH_CODEC_MASK;
    if (produce_version < ZSTD_PRODUCE_VERSION && codec > CODEC_ZSTD) {
        *ret_fails_request = true; /* Kafka cannot name it when it looks for zstd */
        return KAFKA_ERROR_UNKNOWN_SERVER_ERROR;
    }
    if (produce_version < ZSTD_PRODUCE_VERSION && codec == CODEC_ZSTD) {
        return KAFKA_ERROR_UNSUPPORTED_COMPRESSION_TYPE;
    }
    size_t second_size = 0;
    enum peek second = peek_next(p + size, len - size, &second_size);
    if (second == PEEK_SMALL || second == PEEK_MAGIC) {
        return KAFKA_ERROR_CORRUPT_MESSAGE;
    }
    if (second == PEEK_BATCH) {
        return KAFKA_ERROR_INVALID_RECORD;
    }
    if (size < HEADER_BYTES_READABLE) {
        *ret_fails_request = true;
        return KAFKA_ERROR_UNKNOWN_SERVER_ERROR;
    }
    return KAFKA_ERROR_NONE;
}

enum kafka_error validate_frame(const void *bytes,
                                size_t len,
                                const struct validate_rules *rules,
                                int16_t produce_version,
                                struct batch *ret,
                                const char **ret_message)
{
    bool fails_request = false;
    enum kafka_error error =
        validate_request(bytes, len, produce_version, &fails_request, ret_message);
    if (error != KAFKA_ERROR_NONE) {
        return error;
    }
    if (load_be64(bytes) != 0) {
        return KAFKA_ERROR_INVALID_RECORD;
    }
    size_t size = 0;
    enum peek peek = peek_next(bytes, len, &size);
    check(peek == PEEK_BATCH);
    if (to_i64(size) > rules->max_message_bytes) {
        return KAFKA_ERROR_MESSAGE_TOO_LARGE;
    }
    struct batch b;
    if (batch_peek(bytes, size, &b) < 0 || !batch_crc_is_good(&b)) {
        return KAFKA_ERROR_CORRUPT_MESSAGE;
    }
    if (batch_codec(&b) > CODEC_ZSTD) {
        return KAFKA_ERROR_UNKNOWN_SERVER_ERROR;
    }
    *ret = b;
    return KAFKA_ERROR_NONE;
}

/* ---- the records ---- */

/* A batch that is written anew while it is read. */
struct rebuild {
    struct compressor *compressor; /* owned */
    struct writer out;
    int64_t bytes_max; /* of out */
    int64_t base_timestamp;
    bool is_on; /* what is written may still be needed */
    bool is_too_large;
    bool had_bad_timestamp;
};

struct walk {
    const struct batch *batch;
    const struct validate_rules *rules;
    struct arena *arena;
    struct validate_result *result;
    int64_t now_ms;
    int64_t max_timestamp;
    size_t errors_cap;
    bool had_key_error;
    bool had_timestamp_error;
    bool has_stamp; /* the batch says LogAppendTime */
    bool must_rebuild;
    struct rebuild rebuild;
};

static void walk_error(struct walk *w, int32_t index, const char *message)
{
    struct validate_result *result = w->result;
    size_t count = (size_t)result->record_errors_count;
    if (count == VALIDATE_RECORD_ERRORS_MAX) {
        return;
    }
    if (count == w->errors_cap) {
        size_t cap =
            max_size(min_size(2 * w->errors_cap, VALIDATE_RECORD_ERRORS_MAX), RECORD_ERRORS_FIRST);
        struct record_error *errors = arena_try_alloc(w->arena, cap * sizeof(*errors));
        if (errors == NULL) {
            return; /* the batch is refused all the same */
        }
        if (count > 0) {
            memcpy(errors, result->record_errors, count * sizeof(*errors));
        }
        result->record_errors = errors;
        w->errors_cap = cap;
    }
    result->record_errors[count] = (struct record_error){.batch_index = index, .message = message};
    result->record_errors_count++;
}

/* Differences wrap around as Java's do, so that the ends of the range are refused. */
static inline bool timestamp_is_allowed(const struct walk *w, int64_t timestamp)
{
    uint64_t age = (uint64_t)w->now_ms - (uint64_t)timestamp;
    return (int64_t)age <= w->rules->timestamp_before_max_ms &&
           (int64_t)-age <= w->rules->timestamp_after_max_ms;
}

/* One record's key and timestamp. */
static inline void walk_record(struct walk *w, int32_t index, bool has_key, int64_t timestamp_delta)
{
    int64_t timestamp = (int64_t)((uint64_t)w->batch->base_timestamp + (uint64_t)timestamp_delta);
    if (unlikely(w->has_stamp)) {
        timestamp = w->batch->max_timestamp;
    }
    w->max_timestamp = max_i64(w->max_timestamp, timestamp);
    if (unlikely(w->rules->is_compacted && !has_key)) {
        walk_error(w, index, text_key);
        w->had_key_error = true;
        return;
    }
    if (!w->rules->is_log_append_time && likely(timestamp != NO_TIMESTAMP)) {
        if (unlikely(!timestamp_is_allowed(w, timestamp))) {
            walk_error(w, index, text_timestamp);
            w->had_timestamp_error = true;
        }
        return;
    }
    if (unlikely(w->has_stamp)) {
        walk_error(w, index, text_type);
        w->had_timestamp_error = true;
    }
}

static inline bool walk_had_error(const struct walk *w)
{
    return w->had_key_error || w->had_timestamp_error;
}

static enum kafka_error walk_plain(struct walk *w)
{
    const struct batch *b = w->batch;
    const uint8_t *p = b->bytes + BATCH_HEADER_BYTES;
    const uint8_t *end = b->bytes + b->size;
    for (int32_t i = 0; i < b->records_count; i++) {
        int32_t length = 0;
        const uint8_t *record = varint_read(p, end, &length);
        if (unlikely(record == NULL)) {
            return end - p >= VARINT_BYTES_MAX ? KAFKA_ERROR_UNKNOWN_SERVER_ERROR
                                               : KAFKA_ERROR_INVALID_RECORD;
        }
        if (unlikely(length < 0 || end - record < length)) {
            return KAFKA_ERROR_INVALID_RECORD;
        }
        struct record parsed;
        p = record + length;
        if (unlikely(record_parse(record, p, &parsed) < 0)) {
            return KAFKA_ERROR_INVALID_RECORD;
        }
        walk_record(w, i, parsed.key.ptr != NULL, parsed.timestamp);
    }
    return p == end ? KAFKA_ERROR_NONE : KAFKA_ERROR_INVALID_RECORD;
}

static int rebuild_write(void *ctx, const uint8_t *bytes, size_t len)
{
    struct rebuild *rb = ctx;
    if (!rb->is_on) {
        return 0;
    }
    int r = compressor_write(rb->compressor, bytes, len);
    if (r == 0 && to_i64(writer_size(&rb->out)) > rb->bytes_max) {
        rb->is_too_large = true;
        rb->is_on = false;
    }
    return r;
}

/* The head of a record: the payload follows as it is. */
static int rebuild_record(struct walk *w, int32_t index, const struct record_prefix *prefix)
{
    struct rebuild *rb = &w->rebuild;
    int64_t timestamp =
        w->has_stamp
            ? w->batch->max_timestamp
            : (int64_t)((uint64_t)w->batch->base_timestamp + (uint64_t)prefix->timestamp_delta);
    if (index == 0) {
        rb->base_timestamp = timestamp;
    }
    if (timestamp < NO_TIMESTAMP) {
        rb->had_bad_timestamp = true;
        rb->is_on = false;
        return 0;
    }
    uint8_t body[1 + 2 * VARLONG_BYTES_MAX];
    body[0] = 0; /* attributes */
    uint8_t *end =
        varlong_put(body + 1, (int64_t)((uint64_t)timestamp - (uint64_t)rb->base_timestamp));
    end = varlong_put(end, index);
    int64_t length = (end - body) + prefix->payload_bytes;
    if (length > INT32_MAX) {
        return ERR_TOO_LARGE;
    }
    uint8_t head[VARLONG_BYTES_MAX];
    int r = rebuild_write(rb, head, (size_t)(varlong_put(head, length) - head));
    return r < 0 ? r : rebuild_write(rb, body, (size_t)(end - body));
}

/* Walks the stream. *ret_is_in_order: the offsets are 0..n-1. */
static int walk_stream(struct walk *w, struct record_stream *rs, bool *ret_is_in_order)
{
    struct record_prefix prefix;
    *ret_is_in_order = true;
    int r = record_stream_next(rs, &prefix);
    while (r > 0) {
        int32_t index = rs->index - 1;
        if (w->rebuild.is_on) {
            r = rebuild_record(w, index, &prefix);
            if (r < 0) {
                return r;
            }
        }
        bool has_key = false;
        r = record_stream_payload(rs, &has_key, w->must_rebuild ? rebuild_write : NULL,
                                  &w->rebuild);
        if (r < 0) {
            return r;
        }
        *ret_is_in_order &= prefix.offset_delta == index;
        walk_record(w, index, has_key, prefix.timestamp_delta);
        if (unlikely(walk_had_error(w))) {
            w->rebuild.is_on = false;
        }
        r = record_stream_next(rs, &prefix);
    }
    return r;
}

static enum kafka_error stream_error(int r)
{
    bool is_format = r == ERR_MALFORMED || r == ERR_TOO_LARGE;
    return is_format ? KAFKA_ERROR_INVALID_RECORD : KAFKA_ERROR_UNKNOWN_SERVER_ERROR;
}

/* Compressed batches, and plain ones that are to be compressed. */
static enum kafka_error walk_compressed(struct walk *w)
{
    const struct validate_rules *rules = w->rules;
    bool is_plain = batch_codec(w->batch) == CODEC_NONE;
    int64_t record_max = is_plain ? INT32_MAX : rules->max_decompressed_bytes;
    int64_t output_max = max_i64(rules->max_decompressed_bytes, VALIDATE_INFLATED_BYTES_MIN);
    bool is_trial = rules->loop_bytes_max > 0 && rules->loop_bytes_max < output_max;
    if (is_trial) {
        output_max = rules->loop_bytes_max;
    }
    struct record_stream rs;
    bool is_in_order = true;
    int r = record_stream_init(&rs, w->batch, output_max, record_max);
    if (r == 0) {
        r = walk_stream(w, &rs, &is_in_order);
    }
    bool is_over = r == ERR_TOO_LARGE && !rs.had_large_record;
    record_stream_release(&rs);
    if (is_over && is_trial) {
        w->result->is_unfinished = true;
        return KAFKA_ERROR_NONE;
    }
    if (r < 0) {
        return stream_error(r);
    }
    if (!is_in_order && !w->must_rebuild && !walk_had_error(w)) {
        return KAFKA_ERROR_UNKNOWN_SERVER_ERROR;
    }
    return KAFKA_ERROR_NONE;
}

static int rebuild_begin(struct walk *w)
{
    const struct validate_rules *rules = w->rules;
    struct rebuild *rb = &w->rebuild;
    rb->bytes_max = max_i64(rules->max_message_bytes - BATCH_HEADER_BYTES, 0);
    rb->is_on = true;
    writer_init(&rb->out);
    return compressor_new(rules->codec, rules->level, &rb->out, &rb->compressor);
}

static void rebuild_end(struct rebuild *rb)
{
    rb->compressor = compressor_free(rb->compressor);
    writer_release(&rb->out);
}

/* The new batch: transactional or not, with producer and sequence as before; other attributes go.
 */
static enum kafka_error rebuild_finish(struct walk *w)
{
    struct rebuild *rb = &w->rebuild;
    const struct batch *b = w->batch;
    if (rb->had_bad_timestamp) {
        return KAFKA_ERROR_UNKNOWN_SERVER_ERROR;
    }
    if (!rb->is_too_large && compressor_finish(rb->compressor) < 0) {
        return KAFKA_ERROR_UNKNOWN_SERVER_ERROR;
    }
    if (rb->is_too_large || to_i64(writer_size(&rb->out)) > rb->bytes_max) {
        return KAFKA_ERROR_MESSAGE_TOO_LARGE;
    }
    bool is_stamped = w->rules->is_log_append_time;
    int attributes =
        (b->attributes & BATCH_TRANSACTIONAL) | (is_stamped ? BATCH_LOG_APPEND_TIME : 0);
    struct batch_builder bb = {
        .codec = w->rules->codec,
        .attributes = (int16_t)attributes,
        .base_timestamp = rb->base_timestamp,
        .max_timestamp = w->result->max_timestamp,
        .producer_id = b->producer_id,
        .leader_epoch = w->rules->leader_epoch,
        .base_sequence = b->base_sequence,
        .records_count = b->records_count,
        .last_offset_delta = b->records_count - 1,
        .producer_epoch = b->producer_epoch,
    };
    struct rope body;
    rope_init(&body);
    writer_finish(&rb->out, &body);
    w->result->rebuilt = batch_builder_assemble(&bb, &body, &w->result->rebuilt_size);
    rope_release(&body);
    return KAFKA_ERROR_NONE;
}

/* What the header says about the records, as LogValidator.validateBatch. */
static bool header_is_valid(const struct batch *b)
{
    return b->last_offset_delta >= 0 && b->records_count > 0 &&
           b->records_count - 1 == b->last_offset_delta && !batch_is_control(b) &&
           (b->producer_id < 0 || b->base_sequence >= 0);
}

static enum kafka_error walk_verdict(struct walk *w)
{
    struct validate_result *result = w->result;
    if (w->had_timestamp_error) {
        result->message = text_errors_timestamp;
        return KAFKA_ERROR_INVALID_TIMESTAMP;
    }
    if (w->had_key_error) {
        result->message = text_errors_record;
        return KAFKA_ERROR_INVALID_RECORD;
    }
    bool is_stamped = w->rules->is_log_append_time;
    result->append_time_ms = is_stamped ? w->now_ms : -1;
    result->max_timestamp = is_stamped ? w->now_ms : w->max_timestamp;
    if (w->must_rebuild) {
        return rebuild_finish(w);
    }
    result->must_stamp_times =
        w->has_stamp != is_stamped || w->batch->max_timestamp != result->max_timestamp;
    return KAFKA_ERROR_NONE;
}

void validate_records(const struct batch *b,
                      const struct validate_rules *rules,
                      int64_t now_ms,
                      struct arena *arena,
                      struct validate_result *ret)
{
    *ret = (struct validate_result){.max_timestamp = -1, .append_time_ms = -1};
    if (!header_is_valid(b)) {
        ret->error = KAFKA_ERROR_INVALID_RECORD;
        return;
    }
    struct walk w = {
        .batch = b,
        .rules = rules,
        .arena = arena,
        .result = ret,
        .now_ms = now_ms,
        .max_timestamp = NO_TIMESTAMP,
        .has_stamp = (b->attributes & BATCH_LOG_APPEND_TIME) != 0,
        .must_rebuild = validate_must_rebuild(b, rules),
    };
    if (w.must_rebuild && rebuild_begin(&w) < 0) {
        ret->error = KAFKA_ERROR_UNKNOWN_SERVER_ERROR;
    } else if (w.must_rebuild || batch_codec(b) != CODEC_NONE) {
        ret->error = walk_compressed(&w);
    } else {
        ret->error = walk_plain(&w);
    }
    if (ret->error == KAFKA_ERROR_NONE && !ret->is_unfinished) {
        ret->error = walk_verdict(&w);
    }
    bool lists_errors = ret->message != NULL;
    if (!lists_errors) {
        ret->record_errors = NULL; /* a broken record ends the walk without a list */
        ret->record_errors_count = 0;
    }
    if (w.must_rebuild) {
        rebuild_end(&w.rebuild);
    }
}

bool validate_must_rebuild(const struct batch *b, const struct validate_rules *rules)
{
    return !rules->keeps_codec && rules->codec != batch_codec(b);
}

bool validate_is_heavy(const struct batch *b)
{
    return batch_codec(b) != CODEC_NONE && b->size > HEAVY_BYTES;
}
