/*
 * Objects to bytes, and how many they will be. Both walks are the same walk: what one writes the
 * other counts, and a tagged field, whose size stands before it, asks the counter.
 *
 * A field that the version does not have must be ignorable or at its default. A tagged field is
 * written when it is not at its default.
 */
#include "wire/codec.h"

#include "base/base.h"
#include "base/err.h"
#include "wire/cursor.h"
#include "wire/msg.h"

#define STRING_BYTES_MAX 0x7fff

struct encoder {
    struct writer *out;
    int16_t version;
    bool is_flexible;
};

static int encode_struct(struct encoder *e, const struct layout *l, void *object);
static int
size_struct(const struct encoder *e, const struct layout *l, const void *object, size_t *sum);

static bool field_is_compact(const struct encoder *e, const struct field *f)
{
    return e->is_flexible && (f->flags & FIELD_RIGID) == 0;
}

static size_t records_size(const struct records *records)
{
    return records->rope != NULL ? records->rope->bytes : records->len;
}

/* Refuses what the version cannot carry. True in *ret_is_present when the version has the field in
 * its regular place, in *ret_is_tagged when it goes among the tags. */
static int field_place(const struct encoder *e,
                       const struct field *f,
                       const void *object,
                       bool *ret_is_present,
                       bool *ret_is_tagged)
{
    *ret_is_present = false;
    *ret_is_tagged = false;
    if (likely(version_in(e->version, f->versions))) {
        if (unlikely(version_in(e->version, f->tagged))) {
            *ret_is_tagged = !codec_field_is_default(f, object);
        } else {
            *ret_is_present = true;
        }
        return 0;
    }
    if ((f->flags & FIELD_IGNORABLE) == 0 && !codec_field_is_default(f, object)) {
        return ERR_UNSUPPORTED;
    }
    return 0;
}

/* Checks a string, bytes, records or array before it is written or counted. */
static int check_length(const struct encoder *e,
                        const struct field *f,
                        bool is_null,
                        size_t len,
                        size_t len_max)
{
    if (unlikely(is_null)) {
        return version_in(e->version, f->nullable) ? 0 : ERR_MALFORMED;
    }
    return likely(len <= len_max) ? 0 : ERR_TOO_LARGE;
}

static size_t length_size(bool is_compact, bool is_string, bool is_null, size_t len)
{
    if (is_compact) {
        return uvarint_size(is_null ? 0 : (uint32_t)len + 1);
    }
    return is_string ? 2 : 4;
}

static void
encode_length(struct encoder *e, bool is_compact, bool is_string, bool is_null, size_t len)
{
    if (is_compact) {
        uint32_t value = is_null ? 0 : (uint32_t)len + 1;
        if (likely(value < 0x80)) {
            writer_i8(e->out, (int8_t)value);
        } else {
            writer_uvarint(e->out, value);
        }
    } else if (is_string) {
        writer_i16(e->out, is_null ? -1 : (int16_t)len);
    } else {
        writer_i32(e->out, is_null ? -1 : (int32_t)len);
    }
}

static int size_scalar(const struct encoder *e, const struct field *f, const void *p, size_t *sum)
{
    bool is_compact = field_is_compact(e, f);
    bool is_null = false;
    size_t len = 0;
    size_t len_max = INT32_MAX - 1;
    switch ((enum field_type)f->type) {
    case FIELD_STRING: {
        const struct str *s = p;
        is_null = s->ptr == NULL;
        len = s->len;
        len_max = STRING_BYTES_MAX;
        break;
    }
    case FIELD_BYTES: {
        const struct view *v = p;
        is_null = v->ptr == NULL;
        len = v->len;
        break;
    }
    case FIELD_RECORDS: {
        const struct records *records = p;
        is_null = records->ptr == NULL && records->rope == NULL;
        len = records_size(records);
        break;
    }
    case FIELD_BOOL:
    case FIELD_INT8:
    case FIELD_INT16:
    case FIELD_UINT16:
    case FIELD_INT32:
    case FIELD_UINT32:
    case FIELD_INT64:
    case FIELD_FLOAT64:
    case FIELD_UUID:
    case FIELD_STRUCT:
        *sum += f->size;
        return 0;
    }
    int r = check_length(e, f, is_null, len, len_max);
    if (r == 0) {
        *sum += length_size(is_compact, f->type == FIELD_STRING, is_null, len);
        *sum += is_null ? 0 : len;
    }
    return r;
}

static int
size_field(const struct encoder *e, const struct field *f, const void *object, size_t *sum)
{
    const void *p = field_at_const(f, object);
    if (f->flags & FIELD_ARRAY) {
        const struct any_array *array = p;
        bool is_null = array->count < 0;
        size_t count = is_null ? 0 : (size_t)array->count;
        int r = check_length(e, f, is_null, count, INT32_MAX - 1);
        *sum += length_size(field_is_compact(e, f), false, is_null, count);
        size_t size = field_element_size(f);
        const char *item = array->items;
        for (size_t i = 0; i < count && r == 0; i++, item += size) {
            r = f->type == FIELD_STRUCT ? size_struct(e, f->layout, item, sum)
                                        : size_scalar(e, f, item, sum);
        }
        return r;
    }
    if (f->type != FIELD_STRUCT) {
        return size_scalar(e, f, p, sum);
    }
    bool is_nullable = version_in(e->version, f->nullable);
    *sum += is_nullable ? 1 : 0;
    if (f->flags & FIELD_POINTER) {
        p = *(const void *const *)p;
        if (p == NULL) {
            return is_nullable ? 0 : ERR_MALFORMED;
        }
    }
    return size_struct(e, f->layout, p, sum);
}

static int size_tags(const struct encoder *e,
                     const struct layout *l,
                     const void *object,
                     uint32_t known,
                     size_t *sum)
{
    const struct unknown_tags *unknown = unknown_tags_of(l, object);
    *sum += uvarint_size(known + (uint32_t)unknown->count);
    for (int32_t i = 0; i < unknown->count; i++) {
        const struct unknown_tag *t = &unknown->items[i];
        *sum += uvarint_size(t->tag) + uvarint_size((uint32_t)t->data.len) + t->data.len;
    }
    for (size_t i = 0; i < l->tagged_count && known > 0; i++) {
        const struct field *f = &l->fields[l->tagged[i]];
        if (!version_in(e->version, f->tagged) || codec_field_is_default(f, object)) {
            continue;
        }
        size_t bytes = 0;
        int r = size_field(e, f, object, &bytes);
        if (r < 0) {
            return r;
        }
        *sum += uvarint_size(f->tag) + uvarint_size((uint32_t)bytes) + bytes;
    }
    return 0;
}

static int
size_struct(const struct encoder *e, const struct layout *l, const void *object, size_t *sum)
{
    uint32_t known = 0;
    for (size_t i = 0; i < l->count; i++) {
        const struct field *f = &l->fields[i];
        bool is_present;
        bool is_tagged;
        int r = field_place(e, f, object, &is_present, &is_tagged);
        if (r == 0 && is_present) {
            r = size_field(e, f, object, sum);
        }
        if (r < 0) {
            return r;
        }
        known += is_tagged;
    }
    if (e->is_flexible) {
        return size_tags(e, l, object, known, sum);
    }
    bool has_tags = l->unknown_tags != LAYOUT_NO_TAGS && unknown_tags_of(l, object)->count > 0;
    return has_tags ? ERR_UNSUPPORTED : 0;
}

static int encode_string(struct encoder *e, const struct field *f, const struct str *s)
{
    bool is_null = s->ptr == NULL;
    int r = check_length(e, f, is_null, s->len, STRING_BYTES_MAX);
    if (unlikely(r < 0)) {
        return r;
    }
    encode_length(e, field_is_compact(e, f), true, is_null, s->len);
    if (!is_null) {
        writer_bytes(e->out, s->ptr, s->len);
    }
    return 0;
}

static int encode_bytes(struct encoder *e, const struct field *f, const struct view *v)
{
    bool is_null = v->ptr == NULL;
    int r = check_length(e, f, is_null, v->len, INT32_MAX - 1);
    if (unlikely(r < 0)) {
        return r;
    }
    encode_length(e, field_is_compact(e, f), false, is_null, v->len);
    if (!is_null) {
        writer_bytes(e->out, v->ptr, v->len);
    }
    return 0;
}

static int encode_records(struct encoder *e, const struct field *f, const struct records *records)
{
    bool is_null = records->ptr == NULL && records->rope == NULL;
    size_t len = records_size(records);
    int r = check_length(e, f, is_null, len, INT32_MAX - 1);
    if (unlikely(r < 0)) {
        return r;
    }
    encode_length(e, field_is_compact(e, f), false, is_null, len);
    if (records->rope != NULL) {
        writer_splice(e->out, records->rope);
    } else if (!is_null) {
        writer_bytes(e->out, records->ptr, len);
    }
    return 0;
}

static int encode_scalar(struct encoder *e, const struct field *f, const void *p)
{
    switch ((enum field_type)f->type) {
    case FIELD_BOOL:
        writer_i8(e->out, *(const bool *)p ? 1 : 0);
        return 0;
    case FIELD_INT8:
        writer_i8(e->out, *(const int8_t *)p);
        return 0;
    case FIELD_INT16:
    case FIELD_UINT16:
        writer_i16(e->out, *(const int16_t *)p);
        return 0;
    case FIELD_INT32:
    case FIELD_UINT32:
        writer_i32(e->out, *(const int32_t *)p);
        return 0;
    case FIELD_INT64:
    case FIELD_FLOAT64:
        writer_i64(e->out, *(const int64_t *)p);
        return 0;
    case FIELD_UUID:
        memcpy(writer_room(e->out, sizeof(struct uuid)), p, sizeof(struct uuid));
        return 0;
    case FIELD_STRING:
        return encode_string(e, f, p);
    case FIELD_BYTES:
        return encode_bytes(e, f, p);
    case FIELD_RECORDS:
        return encode_records(e, f, p);
    case FIELD_STRUCT:
        break;
    }
    check(false);
    return ERR_MALFORMED;
}

static int encode_array(struct encoder *e, const struct field *f, const struct any_array *array)
{
    bool is_null = array->count < 0;
    size_t count = is_null ? 0 : (size_t)array->count;
    int r = check_length(e, f, is_null, count, INT32_MAX - 1);
    if (unlikely(r < 0)) {
        return r;
    }
    encode_length(e, field_is_compact(e, f), false, is_null, count);
    size_t size = field_element_size(f);
    char *item = array->items;
    for (size_t i = 0; i < count && r == 0; i++, item += size) {
        r = f->type == FIELD_STRUCT ? encode_struct(e, f->layout, item) : encode_scalar(e, f, item);
    }
    return r;
}

static int encode_field(struct encoder *e, const struct field *f, void *object)
{
    void *p = field_at(f, object);
    if (f->flags & FIELD_ARRAY) {
        return encode_array(e, f, p);
    }
    if (f->type != FIELD_STRUCT) {
        return encode_scalar(e, f, p);
    }
    bool is_nullable = version_in(e->version, f->nullable);
    if (f->flags & FIELD_POINTER) {
        p = *(void **)p;
        if (p == NULL) {
            if (!is_nullable) {
                return ERR_MALFORMED;
            }
            /* Among the tags it is a varint, elsewhere a byte; 1 looks alike in both. */
            writer_i8(e->out, version_in(e->version, f->tagged) ? 0 : -1);
            return 0;
        }
    }
    if (is_nullable) {
        writer_i8(e->out, 1);
    }
    return encode_struct(e, f->layout, p);
}

/* They come last: the known tags of a struct are 0 to n - 1, so no unknown one is below them. */
static void encode_unknown_tags(struct encoder *e, const struct unknown_tags *unknown)
{
    for (int32_t i = 0; i < unknown->count; i++) {
        const struct unknown_tag *t = &unknown->items[i];
        writer_uvarint(e->out, t->tag);
        writer_uvarint(e->out, (uint32_t)t->data.len);
        writer_bytes(e->out, t->data.ptr, t->data.len);
    }
}

static int encode_tags(struct encoder *e, const struct layout *l, void *object, uint32_t known)
{
    const struct unknown_tags *unknown = unknown_tags_of(l, object);
    uint32_t count = known + (uint32_t)unknown->count;
    if (likely(count == 0)) {
        writer_i8(e->out, 0);
        return 0;
    }
    writer_uvarint(e->out, count);
    for (size_t i = 0; i < l->tagged_count && known > 0; i++) {
        const struct field *f = &l->fields[l->tagged[i]];
        if (!version_in(e->version, f->tagged) || codec_field_is_default(f, object)) {
            continue;
        }
        size_t bytes = 0;
        int r = size_field(e, f, object, &bytes);
        if (r < 0) {
            return r;
        }
        writer_uvarint(e->out, f->tag);
        writer_uvarint(e->out, (uint32_t)bytes);
        r = encode_field(e, f, object);
        if (r < 0) {
            return r;
        }
    }
    encode_unknown_tags(e, unknown);
    return 0;
}

static int encode_struct(struct encoder *e, const struct layout *l, void *object)
{
    uint32_t known = 0;
    for (size_t i = 0; i < l->count; i++) {
        const struct field *f = &l->fields[i];
        bool is_present;
        bool is_tagged;
        int r = field_place(e, f, object, &is_present, &is_tagged);
        if (r == 0 && is_present) {
            r = encode_field(e, f, object);
        }
        if (unlikely(r < 0)) {
            return r;
        }
        known += is_tagged;
    }
    if (e->is_flexible) {
        return encode_tags(e, l, object, known);
    }
    bool has_tags = l->unknown_tags != LAYOUT_NO_TAGS && unknown_tags_of(l, object)->count > 0;
    return has_tags ? ERR_UNSUPPORTED : 0;
}

int codec_encode(const struct msg *m, int16_t version, void *object, struct writer *out)
{
    if (!version_in(version, m->versions)) {
        return ERR_UNSUPPORTED;
    }
    struct encoder e = {
        .out = out,
        .version = version,
        .is_flexible = version_in(version, m->flexible),
    };
    return encode_struct(&e, m->layout, object);
}

int codec_size(const struct msg *m, int16_t version, const void *object, size_t *ret_bytes)
{
    if (!version_in(version, m->versions)) {
        return ERR_UNSUPPORTED;
    }
    const struct encoder e = {
        .version = version,
        .is_flexible = version_in(version, m->flexible),
    };
    size_t sum = 0;
    int r = size_struct(&e, m->layout, object, &sum);
    if (r == 0) {
        *ret_bytes = sum;
    }
    return r;
}
