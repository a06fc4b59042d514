/* Varints and the writer's memory; see cursor.h. Varints are those of protocol buffers, as Kafka's
 * ByteUtils reads them: bits beyond the width in the last byte are dropped, a continuation bit
 * there is an error. */
#include "wire/cursor.h"

#include "base/base.h"

enum {
    WRITER_CHUNK_BYTES_MIN = 4096,
    WRITER_CHUNK_BYTES_MAX = 65536,
};

uint32_t cursor_uvarint_slow(struct cursor *c)
{
    uint32_t value = 0;
    for (unsigned shift = 0; shift < 35; shift += 7) {
        const uint8_t *p = cursor_take(c, 1);
        if (p == NULL) {
            return 0;
        }
        value |= (uint32_t)(*p & 0x7f) << shift;
        if (*p < 0x80) {
            return value;
        }
    }
    c->failed = true;
    return 0;
}

uint64_t cursor_uvarlong(struct cursor *c)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
        const uint8_t *p = cursor_take(c, 1);
        if (p == NULL) {
            return 0;
        }
        value |= (uint64_t)(*p & 0x7f) << shift;
        if (*p < 0x80) {
            return value;
        }
    }
    c->failed = true;
    return 0;
}

int32_t cursor_varint(struct cursor *c)
{
    uint32_t v = cursor_uvarint(c);
    return (int32_t)((v >> 1) ^ (0 - (v & 1)));
}

int64_t cursor_varlong(struct cursor *c)
{
    uint64_t v = cursor_uvarlong(c);
    return (int64_t)((v >> 1) ^ (0 - (v & 1)));
}

void writer_init(struct writer *w)
{
    *w = (struct writer){.chunk_bytes = WRITER_CHUNK_BYTES_MIN};
    rope_init(&w->rope);
}

void writer_release(struct writer *w)
{
    rope_release(&w->rope);
    w->blob = blob_unref(w->blob);
    w->run = NULL;
    w->next = NULL;
    w->end = NULL;
}

static void close_run(struct writer *w)
{
    if (w->next > w->run) {
        rope_add_memory(&w->rope, w->run, (size_t)(w->next - w->run), w->blob);
        w->run = w->next;
    }
}

uint8_t *writer_room_slow(struct writer *w, size_t n)
{
    close_run(w);
    blob_unref(w->blob);
    size_t chunk = w->chunk_bytes == 0 ? WRITER_CHUNK_BYTES_MIN : w->chunk_bytes;
    size_t bytes = max_size(n, chunk);
    w->blob = blob_new(bytes);
    w->run = w->blob->data;
    w->next = w->run + n;
    w->end = w->run + bytes;
    w->chunk_bytes = min_size(chunk * 2, WRITER_CHUNK_BYTES_MAX);
    return w->run;
}

void writer_bytes(struct writer *w, const void *bytes, size_t len)
{
    size_t fits = min_size(len, (size_t)(w->end - w->next));
    if (fits > 0) {
        memcpy(w->next, bytes, fits);
        w->next += fits;
    }
    if (len > fits) {
        memcpy(writer_room_slow(w, len - fits), (const uint8_t *)bytes + fits, len - fits);
    }
}

void writer_uvarint(struct writer *w, uint32_t value)
{
    uint8_t bytes[5];
    size_t n = 0;
    while (value >= 0x80) {
        bytes[n++] = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    bytes[n++] = (uint8_t)value;
    memcpy(writer_room(w, n), bytes, n);
}

void writer_uvarlong(struct writer *w, uint64_t value)
{
    uint8_t bytes[10];
    size_t n = 0;
    while (value >= 0x80) {
        bytes[n++] = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    bytes[n++] = (uint8_t)value;
    memcpy(writer_room(w, n), bytes, n);
}

static uint32_t zigzag32(int32_t value)
{
    return ((uint32_t)value << 1) ^ (value < 0 ? UINT32_MAX : 0);
}

static uint64_t zigzag64(int64_t value)
{
    return ((uint64_t)value << 1) ^ (value < 0 ? UINT64_MAX : 0);
}

void writer_varint(struct writer *w, int32_t value)
{
    writer_uvarint(w, zigzag32(value));
}

void writer_varlong(struct writer *w, int64_t value)
{
    writer_uvarlong(w, zigzag64(value));
}

void writer_splice(struct writer *w, struct rope *from)
{
    close_run(w);
    rope_move(&w->rope, from);
}

size_t writer_size(const struct writer *w)
{
    return w->rope.bytes + (size_t)(w->next - w->run);
}

void writer_finish(struct writer *w, struct rope *ret)
{
    close_run(w);
    rope_init(ret);
    rope_move(ret, &w->rope);
}

static size_t uvarlong_size(uint64_t value)
{
    /* Seven bits a byte; zero takes one. */
    return (size_t)(70 - __builtin_clzll(value | 1)) / 7;
}

size_t uvarint_size(uint32_t value)
{
    return uvarlong_size(value);
}

size_t varint_size(int32_t value)
{
    return uvarlong_size(zigzag32(value));
}

size_t varlong_size(int64_t value)
{
    return uvarlong_size(zigzag64(value));
}
