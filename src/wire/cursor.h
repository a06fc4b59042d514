/*
 * The narrow gate for untrusted bytes (P). A cursor reads within [next, end) and never beyond; the
 * first failure sticks (`failed`), later reads return zeros, so that a caller may read a whole
 * struct and ask once. Lengths are compared with what is left before anything is done with them.
 *
 * A writer appends to blobs of its own and collects a rope: memory runs, and whatever ropes are
 * spliced in (file runs of a Fetch answer). One thread.
 */
#ifndef WIRE_CURSOR_H
#define WIRE_CURSOR_H

#include "base/base.h"
#include "base/bytes.h"
#include "base/str.h"
#include "base/uuid.h"

struct cursor {
    const uint8_t *next;
    const uint8_t *end;
    bool failed;
};

static inline struct cursor cursor_of(const void *bytes, size_t len)
{
    return (struct cursor){.next = bytes, .end = (const uint8_t *)bytes + len};
}

static inline size_t cursor_left(const struct cursor *c)
{
    return (size_t)(c->end - c->next);
}

/* n bytes and forward; NULL (and failed) when fewer are left. */
static inline const uint8_t *cursor_take(struct cursor *c, size_t n)
{
    if (unlikely(c->failed || cursor_left(c) < n)) {
        c->failed = true;
        return NULL;
    }
    const uint8_t *p = c->next;
    c->next += n;
    return p;
}

static inline int8_t cursor_i8(struct cursor *c)
{
    const uint8_t *p = cursor_take(c, 1);
    return p == NULL ? 0 : (int8_t)*p;
}

static inline int16_t cursor_i16(struct cursor *c)
{
    const uint8_t *p = cursor_take(c, 2);
    return p == NULL ? 0 : (int16_t)load_be16(p);
}

static inline int32_t cursor_i32(struct cursor *c)
{
    const uint8_t *p = cursor_take(c, 4);
    return p == NULL ? 0 : (int32_t)load_be32(p);
}

static inline int64_t cursor_i64(struct cursor *c)
{
    const uint8_t *p = cursor_take(c, 8);
    return p == NULL ? 0 : (int64_t)load_be64(p);
}

/* Unsigned varint of at most 5 bytes / 10 bytes; a longer one fails. zig-zag forms for signed. */
uint32_t cursor_uvarint_slow(struct cursor *c);
static inline uint32_t cursor_uvarint(struct cursor *c)
{
    if (likely(!c->failed && c->next < c->end && *c->next < 0x80)) {
        return *c->next++;
    }
    return cursor_uvarint_slow(c);
}
uint64_t cursor_uvarlong(struct cursor *c);
int32_t cursor_varint(struct cursor *c);
int64_t cursor_varlong(struct cursor *c);

struct writer {
    struct rope rope;  /* what is finished, without the open run at the end */
    struct blob *blob; /* owned: the open one */
    uint8_t *run;      /* start of the open run in blob */
    uint8_t *next;
    uint8_t *end;
    size_t chunk_bytes; /* size of the next blob */
};

void writer_init(struct writer *w);
void writer_release(struct writer *w);
/* Room for n contiguous bytes, to be filled by the caller at once; forward by n. */
uint8_t *writer_room_slow(struct writer *w, size_t n);
static inline uint8_t *writer_room(struct writer *w, size_t n)
{
    if (unlikely((size_t)(w->end - w->next) < n)) {
        return writer_room_slow(w, n);
    }
    uint8_t *p = w->next;
    w->next += n;
    return p;
}
void writer_bytes(struct writer *w, const void *bytes, size_t len);
void writer_uvarint(struct writer *w, uint32_t value);
void writer_uvarlong(struct writer *w, uint64_t value);
void writer_varint(struct writer *w, int32_t value);
void writer_varlong(struct writer *w, int64_t value);
/* Moves the runs of `from` here, between what was written before and what comes after. */
void writer_splice(struct writer *w, struct rope *from);
size_t writer_size(const struct writer *w); /* bytes so far */
/* Closes the open run and moves everything to *ret, which need not be initialised (what it held is
 * overwritten, not released); the writer is empty and keeps its open blob. */
void writer_finish(struct writer *w, struct rope *ret);

static inline void writer_i8(struct writer *w, int8_t v)
{
    *writer_room(w, 1) = (uint8_t)v;
}

static inline void writer_i16(struct writer *w, int16_t v)
{
    store_be16(writer_room(w, 2), (uint16_t)v);
}

static inline void writer_i32(struct writer *w, int32_t v)
{
    store_be32(writer_room(w, 4), (uint32_t)v);
}

static inline void writer_i64(struct writer *w, int64_t v)
{
    store_be64(writer_room(w, 8), (uint64_t)v);
}

size_t uvarint_size(uint32_t value);
size_t varint_size(int32_t value);
size_t varlong_size(int64_t value);

#endif
