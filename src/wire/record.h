/*
 * One record of a batch (P), and reading it from contiguous memory: inlined into the loops of
 * wire/batch and storage/validate, where what is not used costs nothing. The layout is in
 * wire/batch.h.
 */
#ifndef WIRE_RECORD_H
#define WIRE_RECORD_H

#include "base/base.h"
#include "base/err.h"
#include "base/str.h"
#include "wire/varint.h"

struct record {
    int64_t timestamp; /* base + delta; LogAppendTime is the batch's max timestamp, the caller's
                          affair */
    int64_t offset;
    int32_t offset_delta;
    struct view key; /* ptr NULL: null */
    struct view value;
    int32_t headers_count;
    struct view headers; /* encoded headers, checked */
};

struct record_header {
    struct str key;
    struct view value; /* ptr NULL: null */
};

/* A key or value: its length and that many bytes. NULL: they do not fit. */
static inline const uint8_t *
record_parse_blob(const uint8_t *p, const uint8_t *end, struct view *ret)
{
    int32_t len = 0;
    p = varint_read(p, end, &len);
    if (unlikely(p == NULL)) {
        return NULL;
    }
    if (len < 0) {
        *ret = (struct view){.ptr = NULL};
        return p;
    }
    if (unlikely(end - p < len)) {
        return NULL;
    }
    *ret = (struct view){.ptr = p, .len = (size_t)len};
    return p + len;
}

static inline const uint8_t *
record_parse_header(const uint8_t *p, const uint8_t *end, struct record_header *ret)
{
    struct view key = {.ptr = NULL};
    p = record_parse_blob(p, end, &key);
    if (p == NULL || key.ptr == NULL) {
        return NULL;
    }
    ret->key = str_of((const char *)key.ptr, key.len);
    return record_parse_blob(p, end, &ret->value);
}

/* Key, value and headers; nothing may be left over. */
static inline int record_parse_payload(const uint8_t *p, const uint8_t *end, struct record *ret)
{
    p = record_parse_blob(p, end, &ret->key);
    if (unlikely(p == NULL)) {
        return ERR_MALFORMED;
    }
    p = record_parse_blob(p, end, &ret->value);
    if (unlikely(p == NULL)) {
        return ERR_MALFORMED;
    }
    p = varint_read(p, end, &ret->headers_count);
    if (unlikely(p == NULL || ret->headers_count < 0)) {
        return ERR_MALFORMED;
    }
    ret->headers = (struct view){.ptr = p, .len = (size_t)(end - p)};
    /* Each turn takes at least two bytes of the record. */
    for (int32_t i = 0; i < ret->headers_count; i++) {
        struct record_header header;
        p = record_parse_header(p, end, &header);
        if (p == NULL) {
            return ERR_MALFORMED;
        }
    }
    return p == end ? 0 : ERR_MALFORMED;
}

/* 0 or ERR_MALFORMED. timestamp and offset_delta are the deltas; offset is not set. */
static inline int record_parse(const uint8_t *p, const uint8_t *end, struct record *ret)
{
    if (unlikely(p == end)) {
        return ERR_MALFORMED;
    }
    p = varlong_read(p + 1, end, &ret->timestamp);
    p = p == NULL ? NULL : varint_read(p, end, &ret->offset_delta);
    if (unlikely(p == NULL)) {
        return ERR_MALFORMED;
    }
    return record_parse_payload(p, end, ret);
}

#endif
