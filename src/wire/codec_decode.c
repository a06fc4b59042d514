/*
 * Bytes to objects. Lengths and counts are compared with the bytes that are left before anything is
 * taken or allocated: an array is refused when its elements, at their least size in this version,
 * do not fit into the rest of the input. What an element takes in memory can still be a multiple of
 * what it takes on the wire; the arena's limit bounds the sum.
 *
 * Lenient where Kafka is: any negative length is null; a boolean is any byte that is not zero; text
 * need not be UTF-8; tags come in any order, unknown ones more than once; the size before a known
 * tag is not compared with what its field takes. Not lenient where it is not: a tag that exists,
 * but not in this version; null where the version has none; a string above 32767 bytes.
 */
#include "wire/codec.h"

#include "base/base.h"
#include "base/err.h"
#include "wire/cursor.h"
#include "wire/msg.h"

#define STRING_BYTES_MAX 0x7fff

struct decoder {
    struct cursor in;
    struct arena *arena;
    int16_t version;
    bool is_flexible;
};

static int decode_struct(struct decoder *d, const struct layout *l, void *ret_object);

static int32_t decode_length(struct decoder *d, bool is_compact)
{
    return is_compact ? (int32_t)(cursor_uvarint(&d->in) - 1u) : cursor_i32(&d->in);
}

static int decode_string(struct decoder *d, bool is_nullable, bool is_compact, struct str *ret)
{
    int32_t len = is_compact ? decode_length(d, true) : cursor_i16(&d->in);
    if (unlikely(len < 0)) {
        if (!is_nullable) {
            return d->in.failed ? ERR_TRUNCATED : ERR_MALFORMED;
        }
        *ret = (struct str){0};
        return 0;
    }
    if (unlikely(len > STRING_BYTES_MAX)) {
        return ERR_TOO_LARGE;
    }
    const uint8_t *p = cursor_take(&d->in, (size_t)len);
    if (unlikely(p == NULL)) {
        return ERR_TRUNCATED;
    }
    *ret = str_of((const char *)p, (size_t)len);
    return 0;
}

static int decode_bytes(struct decoder *d, bool is_nullable, bool is_compact, struct view *ret)
{
    int32_t len = decode_length(d, is_compact);
    if (unlikely(len < 0)) {
        if (!is_nullable) {
            return d->in.failed ? ERR_TRUNCATED : ERR_MALFORMED;
        }
        *ret = (struct view){0};
        return 0;
    }
    const uint8_t *p = cursor_take(&d->in, (size_t)len);
    if (unlikely(p == NULL)) {
        return ERR_TRUNCATED;
    }
    *ret = (struct view){.ptr = p, .len = (size_t)len};
    return 0;
}

/* One value that is neither array nor struct. A cursor that failed is noticed by decode_struct. An
 * array's elements are never null, whatever the array itself may be. */
static int decode_scalar(struct decoder *d, const struct field *f, bool is_compact, void *ret)
{
    bool is_nullable = (f->flags & FIELD_ARRAY) == 0 && version_in(d->version, f->nullable);
    switch ((enum field_type)f->type) {
    case FIELD_BOOL:
        *(bool *)ret = cursor_i8(&d->in) != 0;
        return 0;
    case FIELD_INT8:
        *(int8_t *)ret = cursor_i8(&d->in);
        return 0;
    case FIELD_INT16:
    case FIELD_UINT16:
        *(int16_t *)ret = cursor_i16(&d->in);
        return 0;
    case FIELD_INT32:
    case FIELD_UINT32:
        *(int32_t *)ret = cursor_i32(&d->in);
        return 0;
    case FIELD_INT64:
    case FIELD_FLOAT64:
        *(int64_t *)ret = cursor_i64(&d->in);
        return 0;
    case FIELD_UUID: {
        const uint8_t *p = cursor_take(&d->in, sizeof(struct uuid));
        if (p == NULL) {
            return ERR_TRUNCATED;
        }
        memcpy(ret, p, sizeof(struct uuid));
        return 0;
    }
    case FIELD_STRING:
        return decode_string(d, is_nullable, is_compact, ret);
    case FIELD_BYTES:
        return decode_bytes(d, is_nullable, is_compact, ret);
    case FIELD_RECORDS: {
        struct view v;
        int r = decode_bytes(d, is_nullable, is_compact, &v);
        if (r == 0) {
            *(struct records *)ret = (struct records){.ptr = v.ptr, .len = v.len};
        }
        return r;
    }
    case FIELD_STRUCT:
        break;
    }
    check(false);
    return ERR_MALFORMED;
}

static size_t element_bytes_min(const struct decoder *d, const struct field *f, bool is_compact)
{
    switch ((enum field_type)f->type) {
    case FIELD_STRUCT:
        return f->layout->bytes_min[d->version - f->layout->first_version];
    case FIELD_STRING:
        return is_compact ? 1 : 2;
    case FIELD_BYTES:
    case FIELD_RECORDS:
        return is_compact ? 1 : 4;
    case FIELD_BOOL:
    case FIELD_INT8:
    case FIELD_INT16:
    case FIELD_UINT16:
    case FIELD_INT32:
    case FIELD_UINT32:
    case FIELD_INT64:
    case FIELD_FLOAT64:
    case FIELD_UUID:
        break;
    }
    return f->size; /* as many bytes on the wire as in memory */
}

static int
decode_elements(struct decoder *d, const struct field *f, bool is_compact, struct any_array *array)
{
    size_t count = (size_t)array->count;
    size_t size = field_element_size(f);
    char *item = array->items;
    for (size_t i = 0; i < count; i++, item += size) {
        int r = f->type == FIELD_STRUCT ? decode_struct(d, f->layout, item)
                                        : decode_scalar(d, f, is_compact, item);
        if (unlikely(r < 0)) {
            return r;
        }
    }
    return 0;
}

static int
decode_array(struct decoder *d, const struct field *f, bool is_compact, struct any_array *ret)
{
    int32_t count = decode_length(d, is_compact);
    if (unlikely(d->in.failed)) {
        return ERR_TRUNCATED;
    }
    ret->items = NULL;
    if (count <= 0) {
        if (count < 0 && !version_in(d->version, f->nullable)) {
            return ERR_MALFORMED;
        }
        ret->count = count < 0 ? -1 : 0;
        return 0;
    }
    size_t bytes_min = max_size(element_bytes_min(d, f, is_compact), 1);
    if ((size_t)count > cursor_left(&d->in) / bytes_min) {
        return ERR_TRUNCATED;
    }
    if (count > CODEC_ARRAY_MAX) {
        return ERR_TOO_LARGE;
    }
    ret->count = count;
    ret->items = arena_try_alloc(d->arena, (size_t)count * field_element_size(f));
    if (ret->items == NULL) {
        return ERR_NO_MEMORY;
    }
    return decode_elements(d, f, is_compact, ret);
}

/* What stands in front of a struct that this version allows to be null: a byte, negative for null;
 * among the tags a varint, zero or (for Kafka, which holds it in an int) negative for null. */
static bool decode_is_null(struct decoder *d, const struct field *f)
{
    if (likely(!version_in(d->version, f->nullable))) {
        return false;
    }
    if (version_in(d->version, f->tagged)) {
        return (int32_t)cursor_uvarint(&d->in) <= 0;
    }
    return cursor_i8(&d->in) < 0;
}

static int decode_struct_field(struct decoder *d, const struct field *f, void *ret)
{
    bool is_null = decode_is_null(d, f);
    if ((f->flags & FIELD_POINTER) == 0) {
        return decode_struct(d, f->layout, ret);
    }
    void **pointer = ret;
    *pointer = NULL;
    if (is_null) {
        return 0;
    }
    void *object = arena_try_alloc(d->arena, f->layout->size);
    if (object == NULL) {
        return ERR_NO_MEMORY;
    }
    *pointer = object;
    return decode_struct(d, f->layout, object);
}

static int decode_field(struct decoder *d, const struct field *f, void *object)
{
    void *ret = field_at(f, object);
    bool is_compact = d->is_flexible && (f->flags & FIELD_RIGID) == 0;
    if (f->flags & FIELD_ARRAY) {
        return decode_array(d, f, is_compact, ret);
    }
    if (f->type == FIELD_STRUCT) {
        return decode_struct_field(d, f, ret);
    }
    return decode_scalar(d, f, is_compact, ret);
}

/* `more` tags may follow this one: room for all of them is taken with the first unknown one. */
static int decode_unknown_tag(struct decoder *d,
                              uint32_t tag,
                              uint32_t size,
                              uint32_t more,
                              struct unknown_tags *tags)
{
    const uint8_t *p = cursor_take(&d->in, size);
    if (p == NULL) {
        return ERR_TRUNCATED;
    }
    if (tags->items == NULL) {
        tags->items = arena_try_alloc(d->arena, ((size_t)more + 1) * sizeof(tags->items[0]));
        if (tags->items == NULL) {
            return ERR_NO_MEMORY;
        }
    }
    tags->items[tags->count++] = (struct unknown_tag){
        .tag = tag,
        .data = {.ptr = p, .len = size},
    };
    return 0;
}

static int decode_tags(struct decoder *d, const struct layout *l, void *object)
{
    uint32_t count = cursor_uvarint(&d->in);
    if (likely(count == 0)) {
        return 0;
    }
    if (count > cursor_left(&d->in) / 2) {
        return ERR_TRUNCATED; /* a tag takes a byte for itself and one for its size */
    }
    if (count > CODEC_TAGS_MAX) {
        return ERR_TOO_LARGE;
    }
    struct unknown_tags *unknown = (void *)((char *)object + l->unknown_tags);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t tag = cursor_uvarint(&d->in);
        uint32_t size = cursor_uvarint(&d->in);
        if (d->in.failed) {
            return ERR_TRUNCATED;
        }
        int r;
        if (tag >= l->tagged_count) {
            r = decode_unknown_tag(d, tag, size, count - i - 1, unknown);
        } else {
            const struct field *f = &l->fields[l->tagged[tag]];
            r = version_in(d->version, f->tagged) ? decode_field(d, f, object) : ERR_MALFORMED;
        }
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

static int decode_struct(struct decoder *d, const struct layout *l, void *ret_object)
{
    memcpy(ret_object, l->initial, l->size);
    for (size_t i = 0; i < l->count; i++) {
        const struct field *f = &l->fields[i];
        if (!version_in(d->version, f->versions) || version_in(d->version, f->tagged)) {
            continue;
        }
        int r = decode_field(d, f, ret_object);
        if (unlikely(r < 0)) {
            return r;
        }
    }
    if (d->is_flexible) {
        int r = decode_tags(d, l, ret_object);
        if (unlikely(r < 0)) {
            return r;
        }
    }
    return unlikely(d->in.failed) ? ERR_TRUNCATED : 0;
}

int codec_decode(const struct msg *m,
                 int16_t version,
                 struct cursor *in,
                 struct arena *arena,
                 void *ret_object)
{
    if (!version_in(version, m->versions)) {
        return ERR_UNSUPPORTED;
    }
    struct decoder d = {
        .in = *in,
        .arena = arena,
        .version = version,
        .is_flexible = version_in(version, m->flexible),
    };
    int r = decode_struct(&d, m->layout, ret_object);
    *in = d.in;
    return r;
}
