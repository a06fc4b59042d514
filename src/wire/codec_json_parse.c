/*
 * JSON to objects, the way the JsonConverter classes of Kafka read it: every field of the version
 * must be there, tagged ones aside; keys that the version does not have are ignored; of a key given
 * twice the last value counts. An integer may also come as text, decimal or hexadecimal.
 */
#include "wire/codec.h"

#include "base/base.h"
#include "base/err.h"
#include "wire/json_reader.h"
#include "wire/msg.h"

#define FIELDS_MAX 64 /* of one struct: a bit each */

struct parser {
    struct json_reader in;
    const struct field *at; /* the field that is being read, for the report */
    int16_t version;
};

static void parse_struct(struct parser *p, const struct layout *l, void *ret_object);

static void *take(struct parser *p, size_t size)
{
    void *ptr = arena_try_alloc(p->in.arena, size);
    if (ptr == NULL) {
        json_reader_fail(&p->in, "no memory");
    }
    return ptr;
}

/* An integer of a text that is NUL-terminated, or not in range: false. 0x and # are hexadecimal, as
 * in Java's Long.decode. */
static bool decode_integer(const char *text, int64_t *ret)
{
    bool is_negative = text[0] == '-';
    const char *digits = text + (is_negative || text[0] == '+' ? 1 : 0);
    int base = 10;
    if (digits[0] == '0' && (digits[1] == 'x' || digits[1] == 'X')) {
        digits += 2;
        base = 16;
    } else if (digits[0] == '#') {
        digits += 1;
        base = 16;
    }
    uint64_t value = 0;
    if (*digits == '\0') {
        return false;
    }
    for (; *digits != '\0'; digits++) {
        char c = *digits;
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : 16;
        if (digit >= base || __builtin_mul_overflow(value, (uint64_t)base, &value) ||
            __builtin_add_overflow(value, (uint64_t)digit, &value)) {
            return false;
        }
    }
    if (value > (uint64_t)INT64_MAX + (is_negative ? 1 : 0)) {
        return false;
    }
    *ret = is_negative ? (int64_t)(0 - value) : (int64_t)value;
    return true;
}

static int64_t parse_integer(struct parser *p, int64_t low, int64_t high)
{
    char text[32];
    struct str s =
        json_reader_peek(&p->in) == '"' ? json_reader_string(&p->in) : json_reader_number(&p->in);
    int64_t value = 0;
    if (p->in.failed != NULL) {
        return 0;
    }
    if (s.len == 0 || s.len >= sizeof(text)) {
        json_reader_fail(&p->in, "expected an integer");
        return 0;
    }
    memcpy(text, s.ptr, s.len);
    text[s.len] = '\0';
    if (strlen(text) != s.len || !decode_integer(text, &value)) {
        json_reader_fail(&p->in, "expected an integer");
    } else if (value < low || value > high) {
        json_reader_fail(&p->in, "integer out of range");
    }
    return value;
}

static double parse_double(struct parser *p)
{
    double value = 0;
    if (json_reader_peek(&p->in) != '"') {
        struct str s = json_reader_number(&p->in);
        if (p->in.failed == NULL && str_to_double(s, &value) < 0) {
            json_reader_fail(&p->in, "expected a number");
        }
        return value;
    }
    struct str s = json_reader_string(&p->in);
    if (str_is(s, "NaN")) {
        return __builtin_nan("");
    }
    if (!str_is(s, "Infinity") && !str_is(s, "-Infinity")) {
        json_reader_fail(&p->in, "expected a number");
    }
    return str_is(s, "-Infinity") ? -__builtin_inf() : __builtin_inf();
}

static bool parse_bool(struct parser *p)
{
    if (json_reader_literal(&p->in, "true")) {
        return true;
    }
    if (!json_reader_literal(&p->in, "false")) {
        json_reader_fail(&p->in, "expected true or false");
    }
    return false;
}

static int base64_digit(char c)
{
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }
    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }
    if (c >= '0' && c <= '9') {
        return c - '0' + 52;
    }
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

static struct view parse_base64(struct parser *p)
{
    struct str s = json_reader_string(&p->in);
    if (p->in.failed != NULL) {
        return (struct view){0};
    }
    for (int i = 0; i < 2 && s.len > 0 && s.ptr[s.len - 1] == '='; i++) {
        s.len--;
    }
    uint8_t *bytes = take(p, s.len / 4 * 3 + 3);
    if (bytes == NULL) {
        return (struct view){0};
    }
    size_t n = 0;
    uint32_t bits = 0;
    unsigned count = 0;
    for (size_t i = 0; i < s.len; i++) {
        int digit = base64_digit(s.ptr[i]);
        if (digit < 0 || s.len % 4 == 1) {
            json_reader_fail(&p->in, "expected base64");
            return (struct view){0};
        }
        bits = bits << 6 | (uint32_t)digit;
        count += 6;
        if (count >= 8) {
            count -= 8;
            bytes[n++] = (uint8_t)(bits >> count);
        }
    }
    return (struct view){.ptr = bytes, .len = n};
}

/* Takes a null where the version allows one. */
static bool parse_null(struct parser *p, const struct field *f)
{
    if (!json_reader_literal(&p->in, "null")) {
        return false;
    }
    if (!version_in(p->version, f->nullable)) {
        json_reader_fail(&p->in, "null is not allowed");
    }
    return true;
}

static void parse_scalar(struct parser *p, const struct field *f, void *ret)
{
    switch ((enum field_type)f->type) {
    case FIELD_BOOL:
        *(bool *)ret = parse_bool(p);
        return;
    case FIELD_INT8:
        *(int8_t *)ret = (int8_t)parse_integer(p, INT8_MIN, INT8_MAX);
        return;
    case FIELD_INT16:
        *(int16_t *)ret = (int16_t)parse_integer(p, INT16_MIN, INT16_MAX);
        return;
    case FIELD_UINT16:
        *(uint16_t *)ret = (uint16_t)parse_integer(p, 0, UINT16_MAX);
        return;
    case FIELD_INT32:
        *(int32_t *)ret = (int32_t)parse_integer(p, INT32_MIN, INT32_MAX);
        return;
    case FIELD_UINT32:
        *(uint32_t *)ret = (uint32_t)parse_integer(p, 0, UINT32_MAX);
        return;
    case FIELD_INT64:
        *(int64_t *)ret = parse_integer(p, INT64_MIN, INT64_MAX);
        return;
    case FIELD_FLOAT64:
        *(double *)ret = parse_double(p);
        return;
    case FIELD_UUID: {
        struct str s = json_reader_string(&p->in);
        if (p->in.failed == NULL && uuid_parse(s, ret) < 0) {
            json_reader_fail(&p->in, "expected a uuid");
        }
        return;
    }
    case FIELD_STRING:
        *(struct str *)ret = parse_null(p, f) ? (struct str){0} : json_reader_string(&p->in);
        return;
    case FIELD_BYTES:
        *(struct view *)ret = parse_null(p, f) ? (struct view){0} : parse_base64(p);
        return;
    case FIELD_RECORDS: {
        struct view v = parse_null(p, f) ? (struct view){0} : parse_base64(p);
        *(struct records *)ret = (struct records){.ptr = v.ptr, .len = v.len};
        return;
    }
    case FIELD_STRUCT:
        break;
    }
    check(false);
}

static void parse_array(struct parser *p, const struct field *f, struct any_array *ret)
{
    *ret = (struct any_array){.count = 0};
    if (parse_null(p, f)) {
        ret->count = -1;
        return;
    }
    json_reader_expect(&p->in, '[', "expected an array");
    size_t count = p->in.failed == NULL ? json_reader_count(&p->in) : 0;
    if (count > CODEC_ARRAY_MAX) {
        json_reader_fail(&p->in, "array too large");
    }
    size_t size = field_element_size(f);
    char *item = p->in.failed == NULL && count > 0 ? take(p, count * size) : NULL;
    ret->items = item;
    for (size_t i = 0; i < count && p->in.failed == NULL; i++, item += size) {
        if (i > 0) {
            json_reader_expect(&p->in, ',', "expected ','");
        }
        if (f->type == FIELD_STRUCT) {
            parse_struct(p, f->layout, item);
        } else {
            parse_scalar(p, f, item);
        }
    }
    json_reader_expect(&p->in, ']', "expected ']'");
    ret->count = (int32_t)count;
}

static void parse_field(struct parser *p, const struct field *f, void *object)
{
    void *ret = field_at(f, object);
    p->at = f;
    if (f->flags & FIELD_ARRAY) {
        parse_array(p, f, ret);
        return;
    }
    if (f->type != FIELD_STRUCT) {
        parse_scalar(p, f, ret);
        return;
    }
    if (f->flags & FIELD_POINTER) {
        void **pointer = ret;
        *pointer = NULL;
        if (parse_null(p, f)) {
            return;
        }
        ret = take(p, f->layout->size);
        if (ret == NULL) {
            return;
        }
        *pointer = ret;
    }
    parse_struct(p, f->layout, ret);
}

static size_t find_field(const struct layout *l, struct str key, int16_t version)
{
    for (size_t i = 0; i < l->count; i++) {
        const struct field *f = &l->fields[i];
        if (f->name_len == key.len && version_in(version, f->versions) &&
            memcmp(f->name, key.ptr, key.len) == 0) {
            return i;
        }
    }
    return SIZE_MAX;
}

static void parse_struct(struct parser *p, const struct layout *l, void *ret_object)
{
    check(l->count <= FIELDS_MAX);
    memcpy(ret_object, l->initial, l->size);
    uint64_t seen = 0;
    json_reader_expect(&p->in, '{', "expected an object");
    bool has_more = json_reader_peek(&p->in) != '}';
    while (has_more && p->in.failed == NULL) {
        struct str key = json_reader_string(&p->in);
        json_reader_expect(&p->in, ':', "expected ':'");
        if (p->in.failed != NULL) {
            return;
        }
        size_t i = find_field(l, key, p->version);
        if (i == SIZE_MAX) {
            json_reader_skip(&p->in);
        } else {
            parse_field(p, &l->fields[i], ret_object);
            seen |= UINT64_C(1) << i;
        }
        has_more = json_reader_accept(&p->in, ',');
    }
    json_reader_expect(&p->in, '}', "expected ',' or '}'");
    for (size_t i = 0; i < l->count && p->in.failed == NULL; i++) {
        const struct field *f = &l->fields[i];
        if ((seen >> i & 1) == 0 && version_in(p->version, f->versions) &&
            !version_in(p->version, f->tagged)) {
            p->at = f;
            json_reader_fail(&p->in, "field is missing");
        }
    }
}

int codec_parse_json(const struct msg *m,
                     int16_t version,
                     struct str json,
                     struct arena *arena,
                     void *ret_object,
                     struct str *ret_where)
{
    if (!version_in(version, m->versions)) {
        *ret_where = arena_printf(arena, "%s has no version %d", m->name, version);
        return ERR_UNSUPPORTED;
    }
    struct parser p = {.version = version};
    json_reader_init(&p.in, json, arena);
    parse_struct(&p, m->layout, ret_object);
    if (p.in.failed == NULL && json_reader_peek(&p.in) != '\0') {
        json_reader_fail(&p.in, "text after the object");
    }
    if (p.in.failed == NULL) {
        return 0;
    }
    *ret_where = arena_printf(arena, "%s version %d, byte %zu, field %s: %s", m->name, version,
                              (size_t)(p.in.next - p.in.begin),
                              p.at == NULL ? "(none)" : p.at->name, p.in.failed);
    return ERR_MALFORMED;
}
