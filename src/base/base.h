/*
 * What every file of jackdaw may rely on: standard headers, attributes, assertions.
 *
 * check(e)   an invariant of our own memory; stays in release builds, ends the process with a line
 *            that names file, line and expression. Never on bytes from a peer or from a disk.
 * dcheck(e)  the same for costly conditions; only in builds with -Ddebug_checks=true.
 */
#ifndef BASE_BASE_H
#define BASE_BASE_H

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define must_check        __attribute__((warn_unused_result))
#define cleanup(fn)       __attribute__((cleanup(fn)))
#define printf_like(f, a) __attribute__((format(printf, f, a)))
#define noreturn_function __attribute__((noreturn))
#define unused_ok         __attribute__((unused))
#define likely(e)         __builtin_expect(!!(e), 1)
#define unlikely(e)       __builtin_expect(!!(e), 0)

#define ARRAY_LEN(a)                    (sizeof(a) / sizeof((a)[0]))
#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

/* Drops a result on purpose; say why beside it. */
#define IGNORE(e) \
    do {          \
        if (e) {  \
        }         \
    } while (0)

noreturn_function void base_check_failed(const char *file, int line, const char *expression);

#define check(e)                                       \
    do {                                               \
        if (unlikely(!(e))) {                          \
            base_check_failed(__FILE__, __LINE__, #e); \
        }                                              \
    } while (0)

#ifdef JACKDAW_DCHECK
#define dcheck(e) check(e)
#else
#define dcheck(e) \
    do {          \
    } while (0)
#endif

static inline int64_t min_i64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static inline int64_t max_i64(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static inline size_t min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

static inline size_t max_size(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* Narrowing with a check: for numbers of our own. Untrusted ones are compared before. */
static inline int32_t to_i32(int64_t v)
{
    check(v >= INT32_MIN && v <= INT32_MAX);
    return (int32_t)v;
}

static inline size_t to_size(int64_t v)
{
    check(v >= 0);
    return (size_t)v;
}

static inline int64_t to_i64(size_t v)
{
    check(v <= INT64_MAX);
    return (int64_t)v;
}

/* Big-endian loads and stores, Kafka's order on the wire and on disk. */
static inline uint16_t load_be16(const void *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof(v));
    return __builtin_bswap16(v);
}

static inline uint32_t load_be32(const void *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof(v));
    return __builtin_bswap32(v);
}

static inline uint64_t load_be64(const void *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof(v));
    return __builtin_bswap64(v);
}

static inline void store_be16(void *p, uint16_t v)
{
    v = __builtin_bswap16(v);
    memcpy(p, &v, sizeof(v));
}

static inline void store_be32(void *p, uint32_t v)
{
    v = __builtin_bswap32(v);
    memcpy(p, &v, sizeof(v));
}

static inline void store_be64(void *p, uint64_t v)
{
    v = __builtin_bswap64(v);
    memcpy(p, &v, sizeof(v));
}

#endif
