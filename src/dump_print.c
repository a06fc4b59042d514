/* Printing for `jackdaw dump`: see dump_print.h. */
#include "dump_print.h"

#include "base/base.h"

#define DAMAGE_TEXT_MAX 256

/* A failed write is seen at the end, by whoever flushes. */
static void put(struct dump_out *d, const char *bytes, size_t len)
{
    IGNORE(fwrite(bytes, 1, len, d->out));
}

static void put_text(struct dump_out *d, const char *text)
{
    put(d, text, strlen(text));
}

void dump_print_begin(struct dump_out *d, const char *type)
{
    if (d->is_json) {
        put_text(d, "{\"type\":\"");
    }
    put_text(d, type);
    if (d->is_json) {
        put_text(d, "\"");
    }
    d->is_first = false;
}

static void put_name(struct dump_out *d, const char *name, const char *suffix)
{
    if (!d->is_first) {
        put_text(d, d->is_json ? "," : " ");
    }
    d->is_first = false;
    put_text(d, d->is_json ? "\"" : "");
    put_text(d, name);
    put_text(d, suffix);
    put_text(d, d->is_json ? "\":" : "=");
}

void dump_print_int(struct dump_out *d, const char *name, int64_t value)
{
    char text[24];
    int n = snprintf(text, sizeof(text), "%" PRId64, value);
    put_name(d, name, "");
    put(d, text, (size_t)n);
}

void dump_print_bool(struct dump_out *d, const char *name, bool value)
{
    put_name(d, name, "");
    put_text(d, value ? "true" : "false");
}

/* Bytes of the character at p, 0 when it is none that a terminal may show. */
static size_t utf8_length(const uint8_t *p, size_t left)
{
    if (p[0] < 0x80) {
        return p[0] >= 0x20 && p[0] != 0x7f ? 1 : 0;
    }
    size_t n = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    if (p[0] < 0xc2 || p[0] > 0xf4 || n > left) {
        return 0;
    }
    uint32_t code = p[0] & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }
        code = code << 6 | (p[i] & 0x3f);
    }
    static const uint32_t least[] = {0, 0, 0xa0, 0x800, 0x10000};
    bool is_surrogate = code >= 0xd800 && code < 0xe000;
    return code >= least[n] && code <= 0x10ffff && !is_surrogate ? n : 0;
}

static bool is_printable(struct view v)
{
    size_t at = 0;
    while (at < v.len) {
        size_t n = utf8_length(v.ptr + at, v.len - at);
        bool is_blank = v.ptr[at] == '\n' || v.ptr[at] == '\t' || v.ptr[at] == '\r';
        if (n == 0 && !is_blank) {
            return false;
        }
        at += max_size(n, 1);
    }
    return true;
}

static void put_escaped(struct dump_out *d, const uint8_t *p, size_t len)
{
    size_t at = 0;
    while (at < len) {
        size_t n = utf8_length(p + at, len - at);
        if (n == 0) {
            char code[8];
            int written = snprintf(code, sizeof(code), "\\u%04x", (unsigned)p[at]);
            put(d, code, (size_t)written);
        } else if (p[at] == '"' || p[at] == '\\') {
            char escaped[2] = {'\\', (char)p[at]};
            put(d, escaped, sizeof(escaped));
        } else {
            put(d, (const char *)p + at, n);
        }
        at += max_size(n, 1);
    }
}

static void put_quoted(struct dump_out *d, const uint8_t *p, size_t len)
{
    put_text(d, "\"");
    put_escaped(d, p, len);
    put_text(d, "\"");
}

void dump_print_text(struct dump_out *d, const char *name, struct str value)
{
    put_name(d, name, "");
    if (value.ptr == NULL) {
        put_text(d, "null");
    } else {
        put_quoted(d, (const uint8_t *)value.ptr, value.len);
    }
}

static void put_base64(struct dump_out *d, struct view v)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    put_text(d, "\"");
    for (size_t at = 0; at < v.len; at += 3) {
        size_t n = min_size(v.len - at, 3);
        uint32_t bits = (uint32_t)v.ptr[at] << 16;
        bits |= n > 1 ? (uint32_t)v.ptr[at + 1] << 8 : 0;
        bits |= n > 2 ? (uint32_t)v.ptr[at + 2] : 0;
        char four[4] = {digits[bits >> 18], digits[bits >> 12 & 63],
                        n > 1 ? digits[bits >> 6 & 63] : '=', n > 2 ? digits[bits & 63] : '='};
        put(d, four, sizeof(four));
    }
    put_text(d, "\"");
}

void dump_print_bytes(struct dump_out *d, const char *name, struct view value)
{
    if (value.ptr == NULL) {
        dump_print_text(d, name, (struct str){.ptr = NULL});
    } else if (is_printable(value)) {
        dump_print_text(d, name, str_of((const char *)value.ptr, value.len));
    } else {
        put_name(d, name, "Base64");
        put_base64(d, value);
    }
}

void dump_print_json(struct dump_out *d, const char *name, struct writer *json)
{
    struct rope rope;
    rope_init(&rope);
    writer_finish(json, &rope);
    put_name(d, name, "");
    for (struct rope_run *run = rope_first(&rope); run != NULL; run = rope_first(&rope)) {
        put(d, (const char *)run->ptr, run->len);
        rope_consume(&rope, run->len);
    }
    rope_release(&rope);
}

void dump_print_end(struct dump_out *d)
{
    put_text(d, d->is_json ? "}\n" : "\n");
}

void dump_print_list_begin(struct dump_out *d, const char *name)
{
    put_name(d, name, "");
    put_text(d, "[");
}

void dump_print_item_begin(struct dump_out *d, bool is_first_item)
{
    put_text(d, is_first_item ? "{" : ",{");
    d->is_first = true;
}

void dump_print_item_end(struct dump_out *d)
{
    put_text(d, "}");
    d->is_first = false;
}

void dump_print_list_end(struct dump_out *d)
{
    put_text(d, "]");
}

void dump_print_line(struct dump_out *d, struct str text)
{
    struct view bytes = {.ptr = (const uint8_t *)text.ptr, .len = text.len};
    if (d->is_json) {
        dump_print_begin(d, "line");
        dump_print_bytes(d, "text", bytes);
    } else if (is_printable(bytes)) {
        put(d, text.ptr, text.len);
    } else {
        put_escaped(d, bytes.ptr, bytes.len);
    }
    dump_print_end(d);
}

void dump_print_damage(struct dump_out *d, int64_t position, int64_t len, const char *format, ...)
{
    char text[DAMAGE_TEXT_MAX];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    d->is_damaged = true;
    dump_print_begin(d, "damage");
    dump_print_int(d, "position", position);
    dump_print_int(d, "bytes", len);
    dump_print_text(d, "what", str_of(text, min_size((size_t)max_i64(n, 0), sizeof(text) - 1)));
    dump_print_end(d);
}
