/*
 * RecordBatch v2 (P), Kafka's DefaultRecordBatch:
 *
 *   at  bytes
 *    0   8   baseOffset
 *    8   4   batchLength: bytes after this field
 *   12   4   partitionLeaderEpoch (not under the CRC)
 *   16   1   magic 2
 *   17   4   crc: CRC-32C from attributes to the end
 *   21   2   attributes: 0-2 codec, 3 LogAppendTime, 4 transactional, 5 control, 6 delete horizon
 *   23   4   lastOffsetDelta
 *   27   8   baseTimestamp
 *   35   8   maxTimestamp
 *   43   8   producerId
 *   51   2   producerEpoch
 *   53   4   baseSequence
 *   57   4   recordsCount
 *   61       records, compressed as a whole when the codec says so
 *
 * A record: varint length of what follows, int8 attributes (unused), varlong timestampDelta, varint
 * offsetDelta, varint key length (below 0: null), key, varint value length (the same), value,
 * varint number of headers, then for each: varint key length (at least 0), key, varint value
 * length, value.
 *
 * batch_peek bounds everything by the bytes at hand. A record iterator streams compressed batches.
 */
#ifndef WIRE_BATCH_H
#define WIRE_BATCH_H

#include "base/base.h"
#include "wire/compress.h"
#include "wire/cursor.h"
#include "wire/record.h"

#define BATCH_OVERHEAD     12 /* baseOffset and batchLength */
#define BATCH_HEADER_BYTES 61
#define BATCH_MAGIC_AT     16

enum batch_attributes {
    BATCH_CODEC_MASK = 0x07,
    BATCH_LOG_APPEND_TIME = 0x08,
    BATCH_TRANSACTIONAL = 0x10,
    BATCH_CONTROL = 0x20,
    BATCH_DELETE_HORIZON = 0x40,
};

enum control_type {
    CONTROL_ABORT = 0,
    CONTROL_COMMIT = 1,
    CONTROL_LEADER_CHANGE = 2,
    CONTROL_SNAPSHOT_HEADER = 3,
    CONTROL_SNAPSHOT_FOOTER = 4,
    CONTROL_KRAFT_VERSION = 5,
    CONTROL_KRAFT_VOTERS = 6,
};

/* A batch header read into host order; `bytes` points at the batch (not owned). */
struct batch {
    const uint8_t *bytes;
    size_t size; /* whole batch: 12 + batchLength */
    int64_t base_offset;
    int64_t base_timestamp;
    int64_t max_timestamp;
    int64_t producer_id;
    int32_t leader_epoch;
    int32_t last_offset_delta;
    int32_t base_sequence;
    int32_t records_count;
    uint32_t crc;
    int16_t attributes;
    int16_t producer_epoch;
    int8_t magic;
};

/* Reads the header of the batch that starts at bytes. ERR_TRUNCATED: fewer bytes than the header or
 * than batchLength promises; ERR_MALFORMED: batchLength below the header's; ERR_UNSUPPORTED: magic
 * is not 2 (ret->magic and ret->size are set). The CRC is not checked. */
must_check int batch_peek(const void *bytes, size_t len, struct batch *ret);
/* The same for a header alone (len >= BATCH_HEADER_BYTES) whose records may not be at hand. */
must_check int batch_peek_header(const void *bytes, size_t len, struct batch *ret);
bool batch_crc_is_good(const struct batch *b);

static inline int64_t batch_last_offset(const struct batch *b)
{
    return b->base_offset + b->last_offset_delta;
}

static inline enum codec_type batch_codec(const struct batch *b)
{
    return (enum codec_type)(b->attributes & BATCH_CODEC_MASK);
}

static inline bool batch_is_control(const struct batch *b)
{
    return (b->attributes & BATCH_CONTROL) != 0;
}

static inline bool batch_is_transactional(const struct batch *b)
{
    return (b->attributes & BATCH_TRANSACTIONAL) != 0;
}

/* Sequence of the last record; wraps at 2^31-1 to 0. -1 without a sequence. */
int32_t batch_last_sequence(const struct batch *b);
int32_t sequence_add(int32_t sequence, int32_t delta);

/* Writes into a batch in place. The first two are not under the CRC. */
void batch_stamp_offset(uint8_t *bytes, int64_t base_offset);
void batch_stamp_leader_epoch(uint8_t *bytes, int32_t leader_epoch);
void batch_stamp_times(uint8_t *bytes,
                       size_t size,
                       bool is_log_append_time,
                       int64_t max_timestamp); /* and the CRC */

/* Takes bytes of a record as they come; a negative result ends the stream with it. */
typedef int record_sink(void *ctx, const uint8_t *bytes, size_t len);

/* Walks the records of a batch without a view of a whole one: first its numbers, then key, value
 * and headers are checked and passed on piece by piece, so that memory does not grow with a record.
 * Each record_stream_next that gave a record must be followed by record_stream_payload. */
struct record_stream {
    struct decompressor *decompressor; /* owned; NULL for plain records */
    struct cursor piece;               /* what is left of the bytes at hand */
    int64_t left;                      /* bytes of the present record that are still to come */
    int64_t record_max;
    int64_t inflated; /* bytes of output so far */
    int32_t count;
    int32_t index;         /* of the next record */
    bool had_large_record; /* ERR_TOO_LARGE was a record's length, not the stream's */
    record_sink *sink;     /* may be NULL */
    void *ctx;
};

struct record_prefix {
    int64_t timestamp_delta;
    int64_t payload_bytes; /* from the key's length to the record's end */
    int32_t offset_delta;
};

/* output_max bounds the inflated size, record_max the size of one record. The batch's bytes are
 * borrowed. */
must_check int record_stream_init(struct record_stream *rs,
                                  const struct batch *b,
                                  int64_t output_max,
                                  int64_t record_max);
void record_stream_release(struct record_stream *rs);
/* 1: a record; 0: all recordsCount read and nothing left over; negative: ERR_CORRUPT (bytes),
 * ERR_MALFORMED (counts, lengths, trailing bytes), ERR_TOO_LARGE, ERR_NO_MEMORY. */
must_check int record_stream_next(struct record_stream *rs, struct record_prefix *ret);
/* 0, or negative as above. sink may be NULL. */
must_check int
record_stream_payload(struct record_stream *rs, bool *ret_has_key, record_sink *sink, void *ctx);

/* Reads records one after another. Views are valid until the next record_iter_next: of a plain
 * batch they point into the batch; of a compressed one into a piece of the stream, or, for a record
 * that crosses pieces, into a buffer that grows with the bytes that have come. */
struct record_iter {
    struct record_stream stream;
    const struct batch *batch; /* borrowed */
    uint8_t *buffer;           /* owned: bytes of a record that crosses pieces */
    size_t buffer_cap;
};

/* output_max bounds the inflated size, and the size of one record. */
must_check int record_iter_init(struct record_iter *it, const struct batch *b, int64_t output_max);
void record_iter_release(struct record_iter *it);
/* As record_stream_next. */
must_check int record_iter_next(struct record_iter *it, struct record *ret);

/* Walks record.headers. 1: a header; 0: end. */
must_check int record_headers_next(struct cursor *c, struct record_header *ret);

/* Builds one batch: for control batches, coordinator and metadata records, recompression. */
struct batch_builder {
    struct writer records; /* owned */
    enum codec_type codec;
    int level;
    int16_t attributes; /* without the codec */
    int64_t base_offset;
    int64_t base_timestamp;
    int64_t max_timestamp;
    int64_t producer_id;
    int32_t leader_epoch;
    int32_t base_sequence;
    int32_t records_count;
    int32_t last_offset_delta;
    int16_t producer_epoch;
};

void batch_builder_init(struct batch_builder *bb, enum codec_type codec, int level);
void batch_builder_release(struct batch_builder *bb);
/* key or value with ptr NULL are null. headers: already encoded, headers_count of them. */
void batch_builder_add(struct batch_builder *bb,
                       int64_t timestamp,
                       struct view key,
                       struct view value);
void batch_builder_add_full(struct batch_builder *bb,
                            int32_t offset_delta,
                            int64_t timestamp,
                            struct view key,
                            struct view value,
                            int32_t headers_count,
                            struct view headers);
/* The whole batch as one blob; *ret_size its bytes. The builder is empty afterwards, with the
 * defaults of batch_builder_init and the same codec. */
must_check int batch_builder_finish(struct batch_builder *bb, struct blob **ret, size_t *ret_size);
/* Header (from the builder's fields, records_count and last_offset_delta among them) and body,
 * which is encoded and compressed already and is consumed; less than 2 GiB together. */
struct blob *
batch_builder_assemble(const struct batch_builder *bb, struct rope *body, size_t *ret_size);

#endif
