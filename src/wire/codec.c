/*
 * Messages as objects: accessors, lookup, defaults, comparison. The walkers that read and write
 * them are codec_decode.c, codec_encode.c, codec_json_print.c and codec_json_parse.c. All of them
 * follow the nesting of the spec, never one that a peer chose, so their depth is a constant of the
 * tables.
 */
#include "wire/codec.h"

#include "base/base.h"
#include "wire/msg.h"

/* In place of a version: compare what any version has. */
#define ANY_VERSION INT16_MIN

const char *msg_name(const struct msg *m)
{
    return m->name;
}

int16_t msg_min_version(const struct msg *m)
{
    return m->versions.min;
}

int16_t msg_max_version(const struct msg *m)
{
    return m->versions.max;
}

bool msg_is_flexible(const struct msg *m, int16_t version)
{
    return version_in(version, m->flexible);
}

size_t msg_size(const struct msg *m)
{
    return m->layout->size;
}

int16_t msg_api_key(const struct msg *m)
{
    return m->api_key;
}

const struct msg *msg_at(size_t index)
{
    return index < msg_table_count ? msg_table[index] : NULL;
}

const struct msg *msg_find(struct str name)
{
    size_t low = 0;
    size_t high = msg_table_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = str_compare(name, str_from(msg_table[middle]->name));
        if (order == 0) {
            return msg_table[middle];
        }
        if (order < 0) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return NULL;
}

void msg_init(const struct msg *m, void *ret_object)
{
    memcpy(ret_object, m->layout->initial, m->layout->size);
}

void *codec_array_of(struct arena *arena, const void *initial, size_t size, size_t count)
{
    if (count == 0) {
        return NULL;
    }
    size_t bytes;
    check(!__builtin_mul_overflow(size, count, &bytes));
    char *items = arena_alloc(arena, bytes);
    for (size_t i = 0; i < count; i++) {
        memcpy(items + i * size, initial, size);
    }
    return items;
}

static bool layout_equal(const struct layout *l,
                         int16_t version,
                         bool is_flexible,
                         const void *a,
                         const void *b);

static bool views_equal(const void *a, size_t a_len, const void *b, size_t b_len)
{
    return (a == NULL) == (b == NULL) && a_len == b_len && (a_len == 0 || memcmp(a, b, a_len) == 0);
}

/* One value that is neither array nor struct. */
static bool scalar_equal(const struct field *f, const void *a, const void *b)
{
    switch ((enum field_type)f->type) {
    case FIELD_STRING: {
        const struct str *x = a;
        const struct str *y = b;
        return views_equal(x->ptr, x->len, y->ptr, y->len);
    }
    case FIELD_BYTES: {
        const struct view *x = a;
        const struct view *y = b;
        return views_equal(x->ptr, x->len, y->ptr, y->len);
    }
    case FIELD_RECORDS: {
        /* What a rope holds is not looked at: ropes are equal to themselves. */
        const struct records *x = a;
        const struct records *y = b;
        return x->rope == y->rope &&
               (x->rope != NULL || views_equal(x->ptr, x->len, y->ptr, y->len));
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
        return memcmp(a, b, f->size) == 0;
    case FIELD_STRUCT:
        break;
    }
    check(false);
    return false;
}

static bool array_equal(const struct field *f,
                        int16_t version,
                        bool is_flexible,
                        const struct any_array *a,
                        const struct any_array *b)
{
    if (a->count < 0 || b->count < 0) {
        return a->count < 0 && b->count < 0;
    }
    if (a->count != b->count) {
        return false;
    }
    size_t size = field_element_size(f);
    for (size_t i = 0; i < (size_t)a->count; i++) {
        const void *x = (const char *)a->items + i * size;
        const void *y = (const char *)b->items + i * size;
        if (f->type == FIELD_STRUCT ? !layout_equal(f->layout, version, is_flexible, x, y)
                                    : !scalar_equal(f, x, y)) {
            return false;
        }
    }
    return true;
}

static bool
field_equal(const struct field *f, int16_t version, bool is_flexible, const void *a, const void *b)
{
    a = field_at_const(f, a);
    b = field_at_const(f, b);
    if (f->flags & FIELD_ARRAY) {
        return array_equal(f, version, is_flexible, a, b);
    }
    if (f->type != FIELD_STRUCT) {
        return scalar_equal(f, a, b);
    }
    if (f->flags & FIELD_POINTER) {
        a = *(const void *const *)a;
        b = *(const void *const *)b;
        if (a == NULL || b == NULL) {
            return a == b;
        }
    }
    return layout_equal(f->layout, version, is_flexible, a, b);
}

static bool tags_equal(const struct unknown_tags *a, const struct unknown_tags *b)
{
    if (a->count != b->count) {
        return false;
    }
    for (int32_t i = 0; i < a->count; i++) {
        struct view x = a->items[i].data;
        struct view y = b->items[i].data;
        if (a->items[i].tag != b->items[i].tag || x.len != y.len ||
            (x.len != 0 && memcmp(x.ptr, y.ptr, x.len) != 0)) {
            return false;
        }
    }
    return true;
}

static bool layout_equal(const struct layout *l,
                         int16_t version,
                         bool is_flexible,
                         const void *a,
                         const void *b)
{
    for (size_t i = 0; i < l->count; i++) {
        const struct field *f = &l->fields[i];
        if ((version == ANY_VERSION || version_in(version, f->versions)) &&
            !field_equal(f, version, is_flexible, a, b)) {
            return false;
        }
    }
    return !is_flexible || l->unknown_tags == LAYOUT_NO_TAGS ||
           tags_equal(unknown_tags_of(l, a), unknown_tags_of(l, b));
}

bool codec_equal(const struct msg *m, int16_t version, const void *a, const void *b)
{
    return layout_equal(m->layout, version, version_in(version, m->flexible), a, b);
}

bool codec_field_is_default(const struct field *f, const void *object)
{
    const void *p = field_at_const(f, object);
    bool has_null_default = f->flags & FIELD_NULL_DEFAULT;
    if (f->flags & FIELD_ARRAY) {
        const struct any_array *a = p;
        return has_null_default ? a->count < 0 : a->count == 0;
    }
    switch ((enum field_type)f->type) {
    case FIELD_BOOL:
        return *(const bool *)p == (f->value.integer != 0);
    case FIELD_INT8:
        return *(const int8_t *)p == f->value.integer;
    case FIELD_INT16:
        return *(const int16_t *)p == f->value.integer;
    case FIELD_UINT16:
        return *(const uint16_t *)p == f->value.integer;
    case FIELD_INT32:
        return *(const int32_t *)p == f->value.integer;
    case FIELD_UINT32:
        return *(const uint32_t *)p == f->value.integer;
    case FIELD_INT64:
        return *(const int64_t *)p == f->value.integer;
    case FIELD_FLOAT64:
        return *(const double *)p == f->value.real;
    case FIELD_UUID:
        return uuid_is_zero(p);
    case FIELD_STRING:
        return has_null_default ? str_is_null(*(const struct str *)p)
                                : str_is(*(const struct str *)p, f->text);
    case FIELD_BYTES: {
        const struct view *v = p;
        return has_null_default ? v->ptr == NULL : v->ptr != NULL && v->len == 0;
    }
    case FIELD_RECORDS: {
        const struct records *records = p;
        return records->ptr == NULL && records->rope == NULL;
    }
    case FIELD_STRUCT:
        break;
    }
    if (f->flags & FIELD_POINTER) {
        p = *(const void *const *)p;
        if (p == NULL || has_null_default) {
            return p == NULL && has_null_default;
        }
    }
    return layout_equal(f->layout, ANY_VERSION, true, p, f->layout->initial);
}
