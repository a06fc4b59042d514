/*
 * A string as pointer and length: not NUL-terminated, not owned. ptr NULL is Kafka's null string;
 * {"" , 0} is the empty one (str_is_null tells them apart). A zeroed struct is the null string.
 * Print with  "%" STR_FMT, STR_ARG(s)  only strings of our own; what a client sent goes through
 * str_escape first.
 */
#ifndef BASE_STR_H
#define BASE_STR_H

#include "base/base.h"

struct str {
    const char *ptr;
    size_t len;
};

/* Bytes that are not owned; ptr NULL is Kafka's null. */
struct view {
    const uint8_t *ptr;
    size_t len;
};

#define STR_FMT    "%.*s"
#define STR_ARG(s) (int)((s).len > 4096 ? 4096 : (s).len), ((s).ptr == NULL ? "" : (s).ptr)
#define STR(literal)                \
    ((struct str){                  \
        .ptr = (literal),           \
        .len = sizeof(literal) - 1, \
    })

static inline struct str str_from(const char *text)
{
    return (struct str){.ptr = text, .len = text == NULL ? 0 : strlen(text)};
}

static inline struct str str_of(const char *ptr, size_t len)
{
    return (struct str){.ptr = ptr, .len = len};
}

static inline bool str_is_null(struct str s)
{
    return s.ptr == NULL;
}

/* Null equals only null. */
static inline bool str_equal(struct str a, struct str b)
{
    return a.len == b.len && (a.ptr == NULL) == (b.ptr == NULL) &&
           (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

static inline bool str_is(struct str a, const char *literal)
{
    size_t n = strlen(literal);
    return a.ptr != NULL && a.len == n && memcmp(a.ptr, literal, n) == 0;
}

/* Byte order, as Java's compareTo for ASCII; null first. */
int str_compare(struct str a, struct str b);

bool str_starts_with(struct str s, struct str prefix);
bool str_equal_ignore_case(struct str a, struct str b);
struct str str_trim(struct str s);

/* Takes the part before the next separator off *rest; false when nothing is left. */
bool str_split(struct str *rest, char separator, struct str *ret_part);

/* Whole string as a decimal number; ERR_MALFORMED or -ERANGE. Blanks are not skipped. */
must_check int str_to_i64(struct str s, int64_t *ret);
must_check int str_to_i32(struct str s, int32_t *ret);
must_check int str_to_double(struct str s, double *ret);

/* Java's String.hashCode over bytes of ASCII text (Kafka's partition of a group or transaction). */
int32_t str_java_hash(struct str s);

/* A bounded builder over memory of the caller: never writes past cap, always NUL-terminated when
 * cap > 0, `is_truncated` tells when something did not fit. A zeroed struct accepts nothing. */
struct strbuf {
    char *ptr;
    size_t len;
    size_t cap; /* bytes of ptr, the NUL included */
    bool is_truncated;
};

void strbuf_init(struct strbuf *sb, char *memory, size_t cap);
void strbuf_add(struct strbuf *sb, const char *bytes, size_t len);
void strbuf_add_str(struct strbuf *sb, struct str s);
void strbuf_addf(struct strbuf *sb, const char *format, ...) printf_like(2, 3);
struct str strbuf_str(const struct strbuf *sb);

/* Client text made harmless for logs and answers: control and non-ASCII bytes as \xNN, at most 256
 * source bytes, then "...". Returns sb's text for convenience. */
const char *str_escape(struct strbuf *sb, struct str s);

#endif
