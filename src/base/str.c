/* Strings of pointer and length, numbers in them, and the bounded builder; see str.h. */
#include "base/str.h"

#include "base/base.h"
#include "base/err.h"

enum {
    ESCAPE_BYTES_MAX = 256,
    DOUBLE_TEXT_MAX = 63,
};

int str_compare(struct str a, struct str b)
{
    if (a.ptr == NULL || b.ptr == NULL) {
        return (a.ptr != NULL) - (b.ptr != NULL);
    }
    size_t n = min_size(a.len, b.len);
    int order = n == 0 ? 0 : memcmp(a.ptr, b.ptr, n);
    if (order != 0) {
        return order;
    }
    return (a.len > b.len) - (a.len < b.len);
}

bool str_starts_with(struct str s, struct str prefix)
{
    return s.len >= prefix.len && (prefix.len == 0 || memcmp(s.ptr, prefix.ptr, prefix.len) == 0);
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

bool str_equal_ignore_case(struct str a, struct str b)
{
    if (a.len != b.len || (a.ptr == NULL) != (b.ptr == NULL)) {
        return false;
    }
    for (size_t i = 0; i < a.len; i++) {
        if (lower(a.ptr[i]) != lower(b.ptr[i])) {
            return false;
        }
    }
    return true;
}

static bool is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

struct str str_trim(struct str s)
{
    while (s.len > 0 && is_blank(s.ptr[0])) {
        s.ptr++;
        s.len--;
    }
    while (s.len > 0 && is_blank(s.ptr[s.len - 1])) {
        s.len--;
    }
    return s;
}

bool str_split(struct str *rest, char separator, struct str *ret_part)
{
    if (rest->ptr == NULL) {
        return false;
    }
    const char *at = rest->len == 0 ? NULL : memchr(rest->ptr, separator, rest->len);
    if (at == NULL) {
        *ret_part = *rest;
        *rest = (struct str){0}; /* the last part is taken */
        return true;
    }
    size_t len = (size_t)(at - rest->ptr);
    *ret_part = str_of(rest->ptr, len);
    *rest = str_of(at + 1, rest->len - len - 1);
    return true;
}

int str_to_i64(struct str s, int64_t *ret)
{
    size_t i = 0;
    bool is_negative = false;
    if (s.len > 0 && (s.ptr[0] == '-' || s.ptr[0] == '+')) {
        is_negative = s.ptr[0] == '-';
        i = 1;
    }
    if (i == s.len) {
        return ERR_MALFORMED;
    }
    int64_t value = 0;
    bool is_out_of_range = false;
    for (; i < s.len; i++) {
        if (s.ptr[i] < '0' || s.ptr[i] > '9') {
            return ERR_MALFORMED;
        }
        int digit = s.ptr[i] - '0';
        /* Negative all the way, since INT64_MIN has no positive twin. */
        is_out_of_range |= __builtin_mul_overflow(value, 10, &value);
        is_out_of_range |= __builtin_sub_overflow(value, digit, &value);
    }
    if (!is_negative) {
        is_out_of_range |= __builtin_sub_overflow(0, value, &value);
    }
    if (is_out_of_range) {
        return -ERANGE;
    }
    *ret = value;
    return 0;
}

int str_to_i32(struct str s, int32_t *ret)
{
    int64_t value;
    int err = str_to_i64(s, &value);
    if (err < 0) {
        return err;
    }
    if (value < INT32_MIN || value > INT32_MAX) {
        return -ERANGE;
    }
    *ret = (int32_t)value;
    return 0;
}

int str_to_double(struct str s, double *ret)
{
    char text[DOUBLE_TEXT_MAX + 1];
    if (s.len == 0 || s.len > DOUBLE_TEXT_MAX) {
        return ERR_MALFORMED;
    }
    /* strtod also reads hexadecimal, names and leading blanks: only decimal forms are let through.
     */
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        bool is_known =
            (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '+' || c == 'e' || c == 'E';
        if (!is_known) {
            return ERR_MALFORMED;
        }
        text[i] = c;
    }
    text[s.len] = '\0';
    char *end;
    errno = 0;
    double value = strtod(text, &end);
    if (end != text + s.len) {
        return ERR_MALFORMED;
    }
    if (errno == ERANGE && (value > 1 || value < -1)) {
        return -ERANGE;
    }
    *ret = value;
    return 0;
}

/* One code point of UTF-8; what is not UTF-8 counts as U+FFFD, a byte at a time. */
static uint32_t code_point(struct str s, size_t *at)
{
    uint8_t first = (uint8_t)s.ptr[(*at)++];
    if (first < 0x80) {
        return first;
    }
    size_t more = first >= 0xf0 && first < 0xf5 ? 3 : first >= 0xe0 ? 2 : 1;
    if (first < 0xc2 || first >= 0xf5 || s.len - *at < more) {
        return 0xfffd;
    }
    uint32_t value = first & (0x3fu >> more);
    for (size_t i = 0; i < more; i++) {
        uint8_t next = (uint8_t)s.ptr[*at + i];
        if ((next & 0xc0) != 0x80) {
            return 0xfffd;
        }
        value = value << 6 | (next & 0x3fu);
    }
    *at += more;
    return value;
}

int32_t str_java_hash(struct str s)
{
    uint32_t hash = 0;
    size_t at = 0;
    while (at < s.len) {
        uint32_t c = code_point(s, &at);
        if (c >= 0x10000) {
            /* Java counts UTF-16 units. */
            hash = 31 * hash + (0xd800 + ((c - 0x10000) >> 10));
            c = 0xdc00 + ((c - 0x10000) & 0x3ff);
        }
        hash = 31 * hash + c;
    }
    return (int32_t)hash;
}

void strbuf_init(struct strbuf *sb, char *memory, size_t cap)
{
    *sb = (struct strbuf){.ptr = memory, .cap = cap};
    if (cap > 0) {
        memory[0] = '\0';
    }
}

void strbuf_add(struct strbuf *sb, const char *bytes, size_t len)
{
    size_t room = sb->cap == 0 ? 0 : sb->cap - 1 - sb->len;
    if (len > room) {
        sb->is_truncated = true;
        len = room;
    }
    if (len == 0) {
        return;
    }
    memcpy(sb->ptr + sb->len, bytes, len);
    sb->len += len;
    sb->ptr[sb->len] = '\0';
}

void strbuf_add_str(struct strbuf *sb, struct str s)
{
    strbuf_add(sb, s.ptr, s.len);
}

void strbuf_addf(struct strbuf *sb, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    size_t room = sb->cap - sb->len; /* with the NUL */
    int len = vsnprintf(sb->cap == 0 ? NULL : sb->ptr + sb->len, room, format, args);
    va_end(args);
    check(len >= 0);
    if ((size_t)len >= room) {
        sb->is_truncated = true;
        sb->len = sb->cap == 0 ? 0 : sb->cap - 1;
    } else {
        sb->len += (size_t)len;
    }
}

struct str strbuf_str(const struct strbuf *sb)
{
    return str_of(sb->ptr == NULL ? "" : sb->ptr, sb->len);
}

const char *str_escape(struct strbuf *sb, struct str s)
{
    static const char digits[] = "0123456789abcdef";
    size_t n = min_size(s.len, ESCAPE_BYTES_MAX);
    for (size_t i = 0; i < n; i++) {
        uint8_t c = (uint8_t)s.ptr[i];
        if (c >= 0x20 && c < 0x7f && c != '\\') {
            strbuf_add(sb, &s.ptr[i], 1);
        } else {
            char text[4] = {'\\', 'x', digits[c >> 4], digits[c & 15]};
            strbuf_add(sb, text, sizeof(text));
        }
    }
    if (n < s.len) {
        strbuf_add(sb, "...", 3);
    }
    return sb->cap == 0 ? "" : sb->ptr;
}
