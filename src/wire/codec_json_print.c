/*
 * Objects as JSON, the way the JsonConverter classes of Kafka print them: keys in camelCase and in
 * the order of the spec; bytes in padded base64; a uuid in its own text; a tagged field only when
 * it is not at its default. Records are printed as base64 too (a converter prints their size). Text
 * that is not UTF-8 gets U+FFFD in place of each bad sequence, as Java decodes it.
 */
#include "wire/codec.h"

#include "base/base.h"
#include "base/err.h"
#include "wire/cursor.h"
#include "wire/msg.h"

struct printer {
    struct writer *out;
    int16_t version;
};

static int print_struct(const struct printer *p, const struct layout *l, const void *object);

static void put_text(struct writer *out, const char *text)
{
    writer_bytes(out, text, strlen(text));
}

/* Bytes of the UTF-8 sequence at s (at most len of them), or minus the bytes to be replaced by one
 * U+FFFD: the longest prefix of a good sequence, at least 1. */
static int utf8_sequence(const uint8_t *s, size_t len)
{
    uint8_t c = s[0];
    if (c < 0x80) {
        return 1;
    }
    int more = c >= 0xc2 && c <= 0xdf   ? 1
               : c >= 0xe0 && c <= 0xef ? 2
               : c >= 0xf0 && c <= 0xf4 ? 3
                                        : 0;
    if (more == 0) {
        return -1;
    }
    /* The second byte has a narrower range behind some first ones. */
    uint8_t low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
    uint8_t high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
    for (int i = 1; i <= more; i++) {
        if ((size_t)i >= len || s[i] < low || s[i] > high) {
            return -i;
        }
        low = 0x80;
        high = 0xbf;
    }
    return more + 1;
}

static void print_text(struct writer *out, struct str s)
{
    static const char names[] = "btnvfr"; /* 8 to 13; 11 has no short form */
    writer_i8(out, '"');
    size_t i = 0;
    while (i < s.len) {
        const uint8_t *at = (const uint8_t *)s.ptr + i;
        int n = utf8_sequence(at, s.len - i);
        uint8_t c = *at;
        if (n < 0) {
            writer_bytes(out, "\xef\xbf\xbd", 3);
            n = -n;
        } else if (c == '"' || c == '\\') {
            writer_i8(out, '\\');
            writer_i8(out, (int8_t)c);
        } else if (c >= 8 && c <= 13 && c != 11) {
            writer_i8(out, '\\');
            writer_i8(out, names[c - 8]);
        } else if (c < 0x20) {
            char escape[8];
            snprintf(escape, sizeof(escape), "\\u%04X", c);
            put_text(out, escape);
        } else {
            writer_bytes(out, at, (size_t)n);
        }
        i += (size_t)n;
    }
    writer_i8(out, '"');
}

static void print_base64(struct writer *out, const uint8_t *bytes, size_t len)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    writer_i8(out, '"');
    for (size_t i = 0; i < len; i += 3) {
        size_t n = min_size(len - i, 3);
        uint32_t v = (uint32_t)bytes[i] << 16;
        v |= n > 1 ? (uint32_t)bytes[i + 1] << 8 : 0;
        v |= n > 2 ? (uint32_t)bytes[i + 2] : 0;
        uint8_t *to = writer_room(out, 4);
        to[0] = (uint8_t)digits[v >> 18];
        to[1] = (uint8_t)digits[v >> 12 & 63];
        to[2] = n > 1 ? (uint8_t)digits[v >> 6 & 63] : '=';
        to[3] = n > 2 ? (uint8_t)digits[v & 63] : '=';
    }
    writer_i8(out, '"');
}

static void print_integer(struct writer *out, int64_t value)
{
    char text[24];
    snprintf(text, sizeof(text), "%" PRId64, value);
    put_text(out, text);
}

/* The shortest of the decimal forms that reads back as the same number. */
static void print_double(struct writer *out, double value)
{
    char text[40];
    if (!__builtin_isfinite(value)) {
        put_text(out, __builtin_isnan(value) ? "\"NaN\""
                      : value > 0            ? "\"Infinity\""
                                             : "\"-Infinity\"");
        return;
    }
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, value);
        if (strtod(text, NULL) == value) {
            break;
        }
    }
    put_text(out, text);
    if (strpbrk(text, ".e") == NULL) {
        put_text(out, ".0");
    }
}

/* Null is good only where the version allows it. */
static int print_null(const struct printer *p, const struct field *f)
{
    put_text(p->out, "null");
    return version_in(p->version, f->nullable) ? 0 : ERR_MALFORMED;
}

static int
print_records(const struct printer *p, const struct field *f, const struct records *records)
{
    if (records->rope != NULL) {
        return ERR_UNSUPPORTED; /* its bytes may lie in files */
    }
    if (records->ptr == NULL) {
        return print_null(p, f);
    }
    print_base64(p->out, records->ptr, records->len);
    return 0;
}

static int print_scalar(const struct printer *p, const struct field *f, const void *value)
{
    switch ((enum field_type)f->type) {
    case FIELD_BOOL:
        put_text(p->out, *(const bool *)value ? "true" : "false");
        return 0;
    case FIELD_INT8:
        print_integer(p->out, *(const int8_t *)value);
        return 0;
    case FIELD_INT16:
        print_integer(p->out, *(const int16_t *)value);
        return 0;
    case FIELD_UINT16:
        print_integer(p->out, *(const uint16_t *)value);
        return 0;
    case FIELD_INT32:
        print_integer(p->out, *(const int32_t *)value);
        return 0;
    case FIELD_UINT32:
        print_integer(p->out, *(const uint32_t *)value);
        return 0;
    case FIELD_INT64:
        print_integer(p->out, *(const int64_t *)value);
        return 0;
    case FIELD_FLOAT64:
        print_double(p->out, *(const double *)value);
        return 0;
    case FIELD_UUID: {
        char text[UUID_TEXT_SIZE];
        uuid_print(value, text);
        print_text(p->out, str_from(text));
        return 0;
    }
    case FIELD_STRING: {
        const struct str *s = value;
        if (str_is_null(*s)) {
            return print_null(p, f);
        }
        print_text(p->out, *s);
        return 0;
    }
    case FIELD_BYTES: {
        const struct view *v = value;
        if (v->ptr == NULL) {
            return print_null(p, f);
        }
        print_base64(p->out, v->ptr, v->len);
        return 0;
    }
    case FIELD_RECORDS:
        return print_records(p, f, value);
    case FIELD_STRUCT:
        break;
    }
    check(false);
    return ERR_MALFORMED;
}

static int
print_array(const struct printer *p, const struct field *f, const struct any_array *array)
{
    if (array->count < 0) {
        return print_null(p, f);
    }
    size_t size = field_element_size(f);
    const char *item = array->items;
    writer_i8(p->out, '[');
    for (int32_t i = 0; i < array->count; i++, item += size) {
        if (i > 0) {
            writer_i8(p->out, ',');
        }
        int r =
            f->type == FIELD_STRUCT ? print_struct(p, f->layout, item) : print_scalar(p, f, item);
        if (r < 0) {
            return r;
        }
    }
    writer_i8(p->out, ']');
    return 0;
}

static int print_field(const struct printer *p, const struct field *f, const void *object)
{
    const void *value = field_at_const(f, object);
    if (f->flags & FIELD_ARRAY) {
        return print_array(p, f, value);
    }
    if (f->type != FIELD_STRUCT) {
        return print_scalar(p, f, value);
    }
    if (f->flags & FIELD_POINTER) {
        value = *(const void *const *)value;
        if (value == NULL) {
            return print_null(p, f);
        }
    }
    return print_struct(p, f->layout, value);
}

static int print_struct(const struct printer *p, const struct layout *l, const void *object)
{
    bool is_first = true;
    writer_i8(p->out, '{');
    for (size_t i = 0; i < l->count; i++) {
        const struct field *f = &l->fields[i];
        if (!version_in(p->version, f->versions)) {
            if ((f->flags & FIELD_IGNORABLE) == 0 && !codec_field_is_default(f, object)) {
                return ERR_UNSUPPORTED;
            }
            continue;
        }
        if (version_in(p->version, f->tagged) && codec_field_is_default(f, object)) {
            continue;
        }
        put_text(p->out, is_first ? "\"" : ",\"");
        is_first = false;
        writer_bytes(p->out, f->name, f->name_len);
        put_text(p->out, "\":");
        int r = print_field(p, f, object);
        if (r < 0) {
            return r;
        }
    }
    writer_i8(p->out, '}');
    return 0;
}

int codec_print_json(const struct msg *m, int16_t version, const void *object, struct writer *out)
{
    if (!version_in(version, m->versions)) {
        return ERR_UNSUPPORTED;
    }
    const struct printer p = {.out = out, .version = version};
    return print_struct(&p, m->layout, object);
}
