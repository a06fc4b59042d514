/*
 * Java's .properties format.
 *
 * Two passes over a text: natural lines are joined to logical ones (an odd number of backslashes at
 * the end continues a line, whose leading blanks are dropped; a comment line is never continued and
 * never continues), and each logical line is cut at the first separator that no backslash covers.
 * Escapes are resolved last, so that "\=" may be part of a key.
 */
#include "config/properties.h"

#include "base/err.h"

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\f';
}

static bool is_line_end(char c)
{
    return c == '\n' || c == '\r';
}

struct cursor {
    const char *next;
    const char *end;
    int line;
};

/* Past one line end: \n, \r or \r\n. */
static void skip_line_end(struct cursor *c)
{
    if (c->next < c->end && *c->next == '\r') {
        c->next++;
        if (c->next < c->end && *c->next == '\n') {
            c->next++;
        }
    } else if (c->next < c->end) {
        c->next++;
    }
    c->line++;
}

static void skip_blanks(struct cursor *c)
{
    while (c->next < c->end && is_blank(*c->next)) {
        c->next++;
    }
}

/* The next logical line without its continuations; false at the end of the text. The first `start`
 * of it says whether it was a comment or empty: those give an empty line. */
static bool next_logical_line(struct cursor *c, char *memory, size_t *ret_len, int *ret_line)
{
    if (c->next == c->end) {
        return false;
    }
    size_t len = 0;
    skip_blanks(c);
    *ret_line = c->line;
    bool is_comment = c->next < c->end && (*c->next == '#' || *c->next == '!');
    while (c->next < c->end) {
        char ch = *c->next;
        if (is_line_end(ch)) {
            skip_line_end(c);
            break;
        }
        if (ch == '\\' && !is_comment) {
            c->next++;
            if (c->next < c->end && is_line_end(*c->next)) {
                skip_line_end(c);
                skip_blanks(c);
                continue;
            }
            if (c->next == c->end) {
                break; /* a lone backslash at the end of the text says nothing */
            }
            memory[len++] = '\\';
            memory[len++] = *c->next++;
            continue;
        }
        c->next++;
        if (!is_comment) {
            memory[len++] = ch;
        }
    }
    *ret_len = len;
    return true;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    char lower = (char)(c | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

static bool read_unit(struct str raw, size_t at, uint32_t *ret)
{
    if (raw.len - at < 4) {
        return false;
    }
    uint32_t unit = 0;
    for (size_t i = 0; i < 4; i++) {
        int digit = hex_digit(raw.ptr[at + i]);
        if (digit < 0) {
            return false;
        }
        unit = unit * 16 + (uint32_t)digit;
    }
    *ret = unit;
    return true;
}

static size_t put_utf8(char *out, uint32_t code)
{
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    if (code < 0x800) {
        out[0] = (char)(0xc0 | (code >> 6));
        out[1] = (char)(0x80 | (code & 0x3f));
        return 2;
    }
    if (code < 0x10000) {
        out[0] = (char)(0xe0 | (code >> 12));
        out[1] = (char)(0x80 | ((code >> 6) & 0x3f));
        out[2] = (char)(0x80 | (code & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | (code >> 18));
    out[1] = (char)(0x80 | ((code >> 12) & 0x3f));
    out[2] = (char)(0x80 | ((code >> 6) & 0x3f));
    out[3] = (char)(0x80 | (code & 0x3f));
    return 4;
}

/* One \uXXXX, or two that make a pair; *at stands behind the u and is moved on. */
static bool unescape_unicode(struct str raw, size_t *at, char *out, size_t *out_len)
{
    uint32_t code;
    if (!read_unit(raw, *at, &code)) {
        return false;
    }
    *at += 4;
    uint32_t low;
    if (code >= 0xd800 && code < 0xdc00 && raw.len - *at >= 6 && raw.ptr[*at] == '\\' &&
        raw.ptr[*at + 1] == 'u' && read_unit(raw, *at + 2, &low) && low >= 0xdc00 && low < 0xe000) {
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
        *at += 6;
    }
    *out_len += put_utf8(out + *out_len, code);
    return true;
}

/* Never longer than what it is made from: six characters become at most three bytes. */
static int unescape(struct str raw, struct arena *arena, struct str *ret)
{
    char *out = arena_alloc(arena, raw.len + 1);
    size_t len = 0;
    size_t i = 0;
    while (i < raw.len) {
        char c = raw.ptr[i++];
        if (c != '\\' || i == raw.len) {
            out[len++] = c;
            continue;
        }
        c = raw.ptr[i++];
        switch (c) {
        case 't':
            out[len++] = '\t';
            break;
        case 'n':
            out[len++] = '\n';
            break;
        case 'r':
            out[len++] = '\r';
            break;
        case 'f':
            out[len++] = '\f';
            break;
        case 'u':
            if (!unescape_unicode(raw, &i, out, &len)) {
                return ERR_MALFORMED;
            }
            break;
        default:
            out[len++] = c;
            break;
        }
    }
    *ret = str_of(out, len);
    return 0;
}

/* Where the key ends and where the value begins. */
static void cut_line(struct str line, struct str *ret_key, struct str *ret_value)
{
    size_t i = 0;
    while (i < line.len && line.ptr[i] != '=' && line.ptr[i] != ':' && !is_blank(line.ptr[i])) {
        i += line.ptr[i] == '\\' ? 2 : 1;
    }
    i = min_size(i, line.len);
    *ret_key = str_of(line.ptr, i);
    while (i < line.len && is_blank(line.ptr[i])) {
        i++;
    }
    if (i < line.len && (line.ptr[i] == '=' || line.ptr[i] == ':')) {
        i++;
        while (i < line.len && is_blank(line.ptr[i])) {
            i++;
        }
    }
    *ret_value = str_of(line.ptr + i, line.len - i);
}

int properties_parse(struct str text,
                     struct arena *arena,
                     struct property **ret,
                     size_t *ret_count,
                     int *ret_line)
{
    size_t lines = 1;
    for (size_t i = 0; i < text.len; i++) {
        lines += is_line_end(text.ptr[i]) ? 1 : 0;
    }
    if (lines > PROPERTIES_MAX) {
        return ERR_TOO_LARGE;
    }
    struct property *items = arena_alloc(arena, lines * sizeof(*items));
    char *memory = arena_alloc(arena, text.len + 1);
    size_t count = 0;
    struct cursor c = {
        .next = text.ptr,
        .end = text.ptr + text.len,
        .line = 1,
    };
    size_t len;
    int line;
    while (next_logical_line(&c, memory, &len, &line)) {
        if (len == 0) {
            continue;
        }
        struct str key;
        struct str value;
        cut_line(str_of(memory, len), &key, &value);
        check(count < lines);
        struct property *p = &items[count++];
        p->line = line;
        if (unescape(key, arena, &p->key) < 0 || unescape(value, arena, &p->value) < 0) {
            *ret_line = line;
            return ERR_MALFORMED;
        }
    }
    *ret = items;
    *ret_count = count;
    return 0;
}
