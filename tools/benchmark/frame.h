/*
 * Requests built and answers read by hand, at one version each: Produce 13, Fetch 17,
 * CreateTopics 7.
 *
 * buf      bytes that grow; a finished frame starts with its length
 * answer   a reader over the bytes of an answer; it never leaves them, `failed` sticks
 */
#ifndef BENCHMARK_FRAME_H
#define BENCHMARK_FRAME_H

#include "base/base.h"

#define FRAME_CORRELATION_AT 8  /* in a request, behind length, key and version */
#define PRODUCE_ERROR_AT     31 /* in an answer about one partition, from its length on */

struct topic_id {
    uint8_t bytes[16];
};

struct buf {
    uint8_t *bytes; /* owned */
    size_t len;
    size_t cap;
};

void buf_release(struct buf *b);
uint8_t *buf_room(struct buf *b, size_t n); /* n bytes more, to be filled */
void buf_bytes(struct buf *b, const void *bytes, size_t len);
void buf_i8(struct buf *b, int8_t v);
void buf_i16(struct buf *b, int16_t v);
void buf_i32(struct buf *b, int32_t v);
void buf_i64(struct buf *b, int64_t v);
void buf_uvarint(struct buf *b, uint32_t v);
void buf_text(struct buf *b, const char *text); /* compact string */

struct answer {
    const uint8_t *next;
    const uint8_t *end;
    bool failed;
};

const uint8_t *answer_take(struct answer *a, size_t n); /* NULL beyond the end */
int8_t answer_i8(struct answer *a);
int16_t answer_i16(struct answer *a);
int32_t answer_i32(struct answer *a);
int64_t answer_i64(struct answer *a);
uint32_t answer_uvarint(struct answer *a);
void answer_skip_tags(struct answer *a);

/* Length, header version 2 of a request; returns where it starts. The length is set at its end. */
size_t frame_begin(struct buf *b, int16_t key, int16_t version);
void frame_end(struct buf *b, size_t start);

/* Produce: one batch of `records` records of `value_bytes` each for partitions
 * first..first+count-1. */
struct produce {
    struct topic_id topic;
    int32_t first;
    int32_t count;
    int32_t records;
    size_t value_bytes;
    int16_t acks;
};
void frame_produce(struct buf *b, const struct produce *p);
/* One partition, without a session. The offset may be patched at ret_offset_at. */
struct fetch {
    struct topic_id topic;
    int32_t min_bytes;
    int32_t max_wait_ms;
    int32_t max_bytes;
};
void frame_fetch(struct buf *b, const struct fetch *f, size_t *ret_offset_at);
/* `topics` topics NAME-<first>.. of `partitions` each. */
void frame_create_topics(struct buf *b,
                         const char *name,
                         int32_t first,
                         int32_t topics,
                         int32_t partitions);

/* Bytes of one batch as frame_produce builds it. */
size_t batch_bytes(int32_t records, size_t value_bytes);

#endif
