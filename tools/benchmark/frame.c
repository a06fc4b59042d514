/*
 * Requests built and answers read by hand. See frame.h; the layout of a batch is Kafka's
 * RecordBatch v2. Values are noise from a fixed seed, so that no codec and no file system makes
 * them smaller.
 */
#include "benchmark/frame.h"

#include "base/bytes.h"
#include "base/mem.h"

#include <time.h>

#define BATCH_HEADER 61

void buf_release(struct buf *b)
{
    b->bytes = mem_free(b->bytes);
    b->len = 0;
    b->cap = 0;
}

uint8_t *buf_room(struct buf *b, size_t n)
{
    if (b->cap - b->len < n) {
        b->cap = max_size(b->cap * 2, b->len + n + 256);
        b->bytes = mem_realloc(b->bytes, b->cap);
    }
    uint8_t *p = b->bytes + b->len;
    b->len += n;
    return p;
}

void buf_bytes(struct buf *b, const void *bytes, size_t len)
{
    if (len > 0) {
        memcpy(buf_room(b, len), bytes, len);
    }
}

void buf_i8(struct buf *b, int8_t v)
{
    *buf_room(b, 1) = (uint8_t)v;
}

void buf_i16(struct buf *b, int16_t v)
{
    store_be16(buf_room(b, 2), (uint16_t)v);
}

void buf_i32(struct buf *b, int32_t v)
{
    store_be32(buf_room(b, 4), (uint32_t)v);
}

void buf_i64(struct buf *b, int64_t v)
{
    store_be64(buf_room(b, 8), (uint64_t)v);
}

void buf_uvarint(struct buf *b, uint32_t v)
{
    while (v >= 0x80) {
        *buf_room(b, 1) = (uint8_t)(v | 0x80);
        v >>= 7;
    }
    *buf_room(b, 1) = (uint8_t)v;
}

static void buf_varint(struct buf *b, int32_t v)
{
    buf_uvarint(b, ((uint32_t)v << 1) ^ (uint32_t)(v >> 31));
}

void buf_text(struct buf *b, const char *text)
{
    size_t len = strlen(text);
    buf_uvarint(b, (uint32_t)len + 1);
    buf_bytes(b, text, len);
}

const uint8_t *answer_take(struct answer *a, size_t n)
{
    if (a->failed || (size_t)(a->end - a->next) < n) {
        a->failed = true;
        return NULL;
    }
    const uint8_t *p = a->next;
    a->next += n;
    return p;
}

int8_t answer_i8(struct answer *a)
{
    const uint8_t *p = answer_take(a, 1);
    return p == NULL ? 0 : (int8_t)*p;
}

int16_t answer_i16(struct answer *a)
{
    const uint8_t *p = answer_take(a, 2);
    return p == NULL ? 0 : (int16_t)load_be16(p);
}

int32_t answer_i32(struct answer *a)
{
    const uint8_t *p = answer_take(a, 4);
    return p == NULL ? 0 : (int32_t)load_be32(p);
}

int64_t answer_i64(struct answer *a)
{
    const uint8_t *p = answer_take(a, 8);
    return p == NULL ? 0 : (int64_t)load_be64(p);
}

uint32_t answer_uvarint(struct answer *a)
{
    uint32_t value = 0;
    for (unsigned shift = 0; shift < 35; shift += 7) {
        const uint8_t *p = answer_take(a, 1);
        if (p == NULL) {
            return 0;
        }
        value |= (uint32_t)(*p & 0x7f) << shift;
        if ((*p & 0x80) == 0) {
            return value;
        }
    }
    a->failed = true;
    return 0;
}

void answer_skip_tags(struct answer *a)
{
    uint32_t count = answer_uvarint(a);
    for (uint32_t i = 0; i < count && !a->failed; i++) {
        (void)answer_uvarint(a);
        (void)answer_take(a, answer_uvarint(a));
    }
}

size_t frame_begin(struct buf *b, int16_t key, int16_t version)
{
    size_t start = b->len;
    buf_i32(b, 0);
    buf_i16(b, key);
    buf_i16(b, version);
    buf_i32(b, 0);
    buf_i16(b, 5);
    buf_bytes(b, "bench", 5);
    buf_i8(b, 0);
    return start;
}

void frame_end(struct buf *b, size_t start)
{
    store_be32(b->bytes + start, (uint32_t)(b->len - start - 4));
}

static uint64_t next_noise(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static void add_record(struct buf *b, int32_t offset_delta, size_t value_bytes, uint64_t *noise)
{
    struct buf head = {0};
    buf_i8(&head, 0);
    buf_varint(&head, 0);
    buf_varint(&head, offset_delta);
    buf_varint(&head, -1);
    buf_varint(&head, (int32_t)value_bytes);
    buf_varint(b, (int32_t)(head.len + value_bytes + 1));
    buf_bytes(b, head.bytes, head.len);
    buf_release(&head);
    uint8_t *p = buf_room(b, value_bytes);
    for (size_t i = 0; i < value_bytes; i++) {
        p[i] = (uint8_t)next_noise(noise);
    }
    buf_varint(b, 0);
}

static void add_batch(struct buf *b, int32_t records, size_t value_bytes)
{
    struct timespec now;
    check(clock_gettime(CLOCK_REALTIME, &now) == 0);
    int64_t now_ms = now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000;
    uint64_t noise = UINT64_C(0x9e3779b97f4a7c15);

    size_t start = b->len;
    buf_i64(b, 0);
    buf_i32(b, 0);
    buf_i32(b, -1);
    buf_i8(b, 2);
    buf_i32(b, 0);
    buf_i16(b, 0);
    buf_i32(b, records - 1);
    buf_i64(b, now_ms);
    buf_i64(b, now_ms);
    buf_i64(b, -1);
    buf_i16(b, -1);
    buf_i32(b, -1);
    buf_i32(b, records);
    check(b->len - start == BATCH_HEADER);
    for (int32_t i = 0; i < records; i++) {
        add_record(b, i, value_bytes, &noise);
    }
    uint8_t *batch = b->bytes + start;
    size_t size = b->len - start;
    store_be32(batch + 8, (uint32_t)(size - 12));
    store_be32(batch + 17, crc32c(0, batch + 21, size - 21));
}

size_t batch_bytes(int32_t records, size_t value_bytes)
{
    struct buf b = {0};
    add_batch(&b, records, value_bytes);
    size_t size = b.len;
    buf_release(&b);
    return size;
}

void frame_produce(struct buf *b, const struct produce *p)
{
    struct buf batch = {0};
    add_batch(&batch, p->records, p->value_bytes);

    size_t start = frame_begin(b, 0, 13);
    buf_uvarint(b, 0); /* transactional id: null */
    buf_i16(b, p->acks);
    buf_i32(b, 30000);
    buf_uvarint(b, 2);
    buf_bytes(b, p->topic.bytes, sizeof(p->topic.bytes));
    buf_uvarint(b, (uint32_t)p->count + 1);
    for (int32_t i = 0; i < p->count; i++) {
        buf_i32(b, p->first + i);
        buf_uvarint(b, (uint32_t)batch.len + 1);
        buf_bytes(b, batch.bytes, batch.len);
        buf_i8(b, 0);
    }
    buf_i8(b, 0);
    buf_i8(b, 0);
    frame_end(b, start);
    buf_release(&batch);
}

void frame_fetch(struct buf *b, const struct fetch *f, size_t *ret_offset_at)
{
    size_t start = frame_begin(b, 1, 17);
    buf_i32(b, f->max_wait_ms);
    buf_i32(b, f->min_bytes);
    buf_i32(b, f->max_bytes);
    buf_i8(b, 0);
    buf_i32(b, 0); /* no session */
    buf_i32(b, -1);
    buf_uvarint(b, 2);
    buf_bytes(b, f->topic.bytes, sizeof(f->topic.bytes));
    buf_uvarint(b, 2);
    buf_i32(b, 0);
    buf_i32(b, -1);
    *ret_offset_at = b->len;
    buf_i64(b, 0);
    buf_i32(b, -1);
    buf_i64(b, -1);
    buf_i32(b, f->max_bytes);
    buf_i8(b, 0);
    buf_i8(b, 0);
    buf_uvarint(b, 1); /* nothing forgotten */
    buf_uvarint(b, 1); /* rack "" */
    buf_i8(b, 0);
    frame_end(b, start);
}

void frame_create_topics(struct buf *b,
                         const char *name,
                         int32_t first,
                         int32_t topics,
                         int32_t partitions)
{
    size_t start = frame_begin(b, 19, 7);
    buf_uvarint(b, (uint32_t)topics + 1);
    for (int32_t i = 0; i < topics; i++) {
        char text[128];
        snprintf(text, sizeof(text), "%s-%" PRId32, name, first + i);
        buf_text(b, text);
        buf_i32(b, partitions);
        buf_i16(b, 1);
        buf_uvarint(b, 1);
        buf_uvarint(b, 1);
        buf_i8(b, 0);
    }
    buf_i32(b, 30000);
    buf_i8(b, 0);
    buf_i8(b, 0);
    frame_end(b, start);
}
