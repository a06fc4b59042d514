/*
 * What a broker checks of a produced batch, in Kafka's order (P): ProduceRequest.validateRecords,
 * UnifiedLog.analyzeAndValidateRecords and LogValidator. No I/O, no clock: now_ms comes in.
 *
 * Three steps, in this order:
 *
 *   validate_request   the shape of the `records` field of one partition. Kafka does this for every
 *                      partition before it looks at acks; some findings refuse the whole request.
 *   validate_frame     that shape again, then what the log asks of a header, and the CRC; cheap,
 * always on the loop. validate_records   walks the records (counts, keys, timestamps) and builds
 * the batch anew when the topic wants another codec. Plain batches are walked in place, compressed
 * ones are streamed, never held inflated.
 *
 * logStartOffset in the answer: -1 for what validate_request refuses, and for CORRUPT_MESSAGE,
 * MESSAGE_TOO_LARGE and RECORD_LIST_TOO_LARGE (18: the batch is larger than segment.bytes, which
 * the caller compares after validate_records); the log's start for every other refusal of the last
 * two steps.
 */
#ifndef STORAGE_VALIDATE_H
#define STORAGE_VALIDATE_H

#include "base/base.h"
#include "base/bytes.h"
#include "base/mem.h"
#include "wire/batch.h"
#include "wire/gen/errors.h"

/* Record errors beyond this many are not listed (Kafka lists them all, however many a bomb holds).
 */
#define VALIDATE_RECORD_ERRORS_MAX 10000

/* The whole of a batch may inflate to max.decompressed.message.bytes, which in Kafka bounds each
 * single record and nothing else, or to this where that is less. */
#define VALIDATE_INFLATED_BYTES_MIN (INT64_C(256) << 20)

struct validate_rules {
    int64_t max_message_bytes;
    int64_t max_decompressed_bytes;  /* of one record of a compressed batch */
    int64_t timestamp_before_max_ms; /* INT64_MAX: none */
    int64_t timestamp_after_max_ms;
    int64_t loop_bytes_max; /* 0: none. Inflated bytes after which validate_records gives up: see
                               is_unfinished */
    bool is_log_append_time;
    bool is_compacted;     /* keys are required */
    bool keeps_codec;      /* compression.type=producer */
    enum codec_type codec; /* otherwise */
    int level;
    int32_t leader_epoch;
};

struct record_error {
    int32_t batch_index;
    const char *message; /* static */
};

struct validate_result {
    enum kafka_error error;             /* 0: good */
    const char *message;                /* static; NULL where Kafka has none */
    struct record_error *record_errors; /* in the arena */
    int32_t record_errors_count;
    int64_t max_timestamp;  /* of a good batch */
    int64_t append_time_ms; /* LogAppendTime topics: now; otherwise -1 */
    struct blob *rebuilt; /* a reference when the batch was built anew (offsets 0..n-1), or NULL */
    size_t rebuilt_size;
    bool must_stamp_times; /* in place: maxTimestamp or type differ from what the batch holds */
    bool is_unfinished;    /* no verdict: call again off the loop, with loop_bytes_max 0 */
};

/* The `records` field of one partition: one v2 batch (87 when there is none, an older one, or more
 * than one; 76 for zstd before version 7; 2 for a damaged second header). Less than a batch of
 * bytes after the first one is ignored, as in Kafka. *ret_fails_request: every partition of the
 * request gets this error, and *ret_message where it is not NULL. */
enum kafka_error validate_request(const void *bytes,
                                  size_t len,
                                  int16_t produce_version,
                                  bool *ret_fails_request,
                                  const char **ret_message);

/* *ret is set when the result is NONE; it covers the batch alone, without ignored bytes after it.
 * In order: validate_request, base offset (87), size (10), CRC (2), codec (-1). acks and everything
 * else that is checked before the log are the caller's. */
enum kafka_error validate_frame(const void *bytes,
                                size_t len,
                                const struct validate_rules *rules,
                                int16_t produce_version,
                                struct batch *ret,
                                const char **ret_message);

/* Everything else about the batch. On success the caller either appends result.rebuilt, or stamps
 * the batch in place (batch_stamp_times when must_stamp_times). */
void validate_records(const struct batch *b,
                      const struct validate_rules *rules,
                      int64_t now_ms,
                      struct arena *arena,
                      struct validate_result *ret);

/* True when the topic's codec differs from the batch's. */
bool validate_must_rebuild(const struct batch *b, const struct validate_rules *rules);

/* True when the walk is better begun off the loop. A small batch may still inflate to much: give
 * loop_bytes_max for those that are walked on it. */
bool validate_is_heavy(const struct batch *b);

#endif
