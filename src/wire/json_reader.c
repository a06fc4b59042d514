/* See json_reader.h. Skipping keeps the open brackets in a bit each, not on the stack. */
#include "wire/json_reader.h"

#include "base/base.h"

void json_reader_init(struct json_reader *jr, struct str text, struct arena *arena)
{
    *jr = (struct json_reader){
        .begin = text.ptr,
        .next = text.ptr,
        .end = text.len == 0 ? text.ptr : text.ptr + text.len,
        .arena = arena,
    };
}

void json_reader_fail(struct json_reader *jr, const char *reason)
{
    if (jr->failed == NULL) {
        jr->failed = reason;
    }
}

char json_reader_peek(struct json_reader *jr)
{
    if (jr->failed != NULL) {
        return '\0';
    }
    while (jr->next < jr->end &&
           (*jr->next == ' ' || *jr->next == '\t' || *jr->next == '\n' || *jr->next == '\r')) {
        jr->next++;
    }
    return jr->next < jr->end ? *jr->next : '\0';
}

bool json_reader_accept(struct json_reader *jr, char c)
{
    if (json_reader_peek(jr) != c || c == '\0') {
        return false;
    }
    jr->next++;
    return true;
}

void json_reader_expect(struct json_reader *jr, char c, const char *reason)
{
    if (!json_reader_accept(jr, c)) {
        json_reader_fail(jr, reason);
    }
}

bool json_reader_literal(struct json_reader *jr, const char *literal)
{
    size_t len = strlen(literal);
    if (json_reader_peek(jr) != literal[0] || (size_t)(jr->end - jr->next) < len ||
        memcmp(jr->next, literal, len) != 0) {
        return false;
    }
    jr->next += len;
    return true;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The four digits of \uXXXX at p, or -1. */
static int32_t hex_unit(const char *p, const char *end)
{
    if (end - p < 4) {
        return -1;
    }
    int32_t unit = 0;
    for (int i = 0; i < 4; i++) {
        int digit = hex_digit(p[i]);
        if (digit < 0) {
            return -1;
        }
        unit = unit * 16 + digit;
    }
    return unit;
}

static char *put_utf8(char *to, uint32_t code)
{
    if (code < 0x80) {
        *to++ = (char)code;
        return to;
    }
    if (code < 0x800) {
        *to++ = (char)(0xc0 | code >> 6);
    } else {
        if (code < 0x10000) {
            *to++ = (char)(0xe0 | code >> 12);
        } else {
            *to++ = (char)(0xf0 | code >> 18);
            *to++ = (char)(0x80 | (code >> 12 & 63));
        }
        *to++ = (char)(0x80 | (code >> 6 & 63));
    }
    *to++ = (char)(0x80 | (code & 63));
    return to;
}

/* The code point of the \u escape whose digits begin at *p; moves *p behind it. A surrogate without
 * its other half becomes '?', as Java encodes it. Negative: not an escape. */
static int32_t unescape_unit(const char **p, const char *end)
{
    int32_t unit = hex_unit(*p, end);
    if (unit < 0) {
        return -1;
    }
    *p += 4;
    if (unit < 0xd800 || unit > 0xdfff) {
        return unit;
    }
    if (unit < 0xdc00 && end - *p >= 6 && (*p)[0] == '\\' && (*p)[1] == 'u') {
        int32_t low = hex_unit(*p + 2, end);
        if (low >= 0xdc00 && low <= 0xdfff) {
            *p += 6;
            return 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
        }
    }
    return '?';
}

/* Resolves the escapes of [p, end) into `to`, which has room for as many bytes; the length or -1.
 */
static ptrdiff_t unescape(const char *p, const char *end, char *to)
{
    static const char names[] = "\"\\/bfnrt";
    static const char bytes[] = "\"\\/\b\f\n\r\t";
    char *begin = to;
    while (p < end) {
        if (*p != '\\') {
            *to++ = *p++;
            continue;
        }
        p++;
        if (p == end) {
            return -1;
        }
        char c = *p++;
        if (c == 'u') {
            int32_t code = unescape_unit(&p, end);
            if (code < 0) {
                return -1;
            }
            to = put_utf8(to, (uint32_t)code);
            continue;
        }
        const char *name = c == '\0' ? NULL : strchr(names, c);
        if (name == NULL) {
            return -1;
        }
        *to++ = bytes[name - names];
    }
    return to - begin;
}

/* Moves behind the closing quote of the string whose opening one was taken; the end of its text. */
static const char *string_end(struct json_reader *jr, bool *ret_has_escapes)
{
    *ret_has_escapes = false;
    while (jr->next < jr->end && *jr->next != '"') {
        if ((unsigned char)*jr->next < 0x20) {
            json_reader_fail(jr, "control character in a string");
            return jr->next;
        }
        if (*jr->next == '\\') {
            *ret_has_escapes = true;
            jr->next++;
            if (jr->next == jr->end) {
                break;
            }
        }
        jr->next++;
    }
    if (jr->next == jr->end) {
        json_reader_fail(jr, "string without an end");
        return jr->next;
    }
    return jr->next++;
}

struct str json_reader_string(struct json_reader *jr)
{
    json_reader_expect(jr, '"', "expected a string");
    if (jr->failed != NULL) {
        return (struct str){0};
    }
    const char *begin = jr->next;
    bool has_escapes;
    const char *end = string_end(jr, &has_escapes);
    if (jr->failed != NULL) {
        return (struct str){0};
    }
    struct str s = str_of(begin, (size_t)(end - begin));
    if (!has_escapes) {
        return s;
    }
    char *to = arena_try_alloc(jr->arena, s.len);
    if (to == NULL) {
        json_reader_fail(jr, "no memory");
        return (struct str){0};
    }
    ptrdiff_t len = unescape(begin, end, to);
    if (len < 0) {
        json_reader_fail(jr, "bad escape in a string");
        return (struct str){0};
    }
    return str_of(to, (size_t)len);
}

struct str json_reader_number(struct json_reader *jr)
{
    char c = json_reader_peek(jr);
    const char *begin = jr->next;
    if (c != '-' && (c < '0' || c > '9')) {
        json_reader_fail(jr, "expected a number");
        return (struct str){0};
    }
    while (jr->next < jr->end && *jr->next != '\0' &&
           strchr("0123456789+-.eE", *jr->next) != NULL) {
        jr->next++;
    }
    return str_of(begin, (size_t)(jr->next - begin));
}

/* A string, number or literal. */
static void skip_simple(struct json_reader *jr, char c)
{
    if (c == '"') {
        jr->next++;
        bool has_escapes;
        string_end(jr, &has_escapes);
    } else if (c == '-' || (c >= '0' && c <= '9')) {
        json_reader_number(jr);
    } else if (!json_reader_literal(jr, "true") && !json_reader_literal(jr, "false") &&
               !json_reader_literal(jr, "null")) {
        json_reader_fail(jr, "expected a value");
    }
}

/* A key and its colon. */
static void skip_key(struct json_reader *jr)
{
    if (json_reader_peek(jr) != '"') {
        json_reader_fail(jr, "expected a key");
        return;
    }
    skip_simple(jr, '"');
    json_reader_expect(jr, ':', "expected ':'");
}

void json_reader_skip(struct json_reader *jr)
{
    uint64_t is_object = 0; /* the lowest bit is the innermost bracket */
    unsigned depth = 0;
    do {
        char c = json_reader_peek(jr);
        if (c == '{' || c == '[') {
            jr->next++;
            if (!json_reader_accept(jr, c == '{' ? '}' : ']')) {
                if (depth == JSON_DEPTH_MAX) {
                    json_reader_fail(jr, "nested too deep");
                    return;
                }
                depth++;
                is_object = is_object << 1 | (c == '{' ? 1u : 0u);
                if (c == '{') {
                    skip_key(jr);
                }
                continue;
            }
        } else {
            skip_simple(jr, c);
        }
        /* A value ended: so may the brackets around it. */
        while (depth > 0 && jr->failed == NULL) {
            if (json_reader_accept(jr, ',')) {
                if (is_object & 1) {
                    skip_key(jr);
                }
                break;
            }
            json_reader_expect(jr, is_object & 1 ? '}' : ']', "expected ',' or a closing bracket");
            depth--;
            is_object >>= 1;
        }
    } while (depth > 0 && jr->failed == NULL);
}

size_t json_reader_count(struct json_reader *jr)
{
    struct json_reader ahead = *jr;
    size_t count = 0;
    if (json_reader_peek(&ahead) != ']') {
        do {
            json_reader_skip(&ahead);
            count++;
        } while (json_reader_accept(&ahead, ','));
    }
    if (json_reader_peek(&ahead) != ']') {
        json_reader_fail(jr, ahead.failed != NULL ? ahead.failed : "expected ',' or ']'");
        return 0;
    }
    return count;
}
