/*
 * The layout of the generated field tables (P): private to the codec and to what tools/gen writes.
 * Everybody else sees `struct msg` through the accessors of wire/codec.h.
 *
 * A layout describes one C struct; a message is a layout with a name and versions. Ranges of
 * versions are inclusive; an empty one is {1, 0}, an open one ends at INT16_MAX.
 */
#ifndef WIRE_MSG_H
#define WIRE_MSG_H

#include "base/base.h"

struct unknown_tags;

enum field_type {
    FIELD_BOOL,
    FIELD_INT8,
    FIELD_INT16,
    FIELD_UINT16,
    FIELD_INT32,
    FIELD_UINT32,
    FIELD_INT64,
    FIELD_FLOAT64,
    FIELD_UUID,
    FIELD_STRING,
    FIELD_BYTES,
    FIELD_RECORDS,
    FIELD_STRUCT,
};

enum field_flags {
    FIELD_ARRAY = 1,     /* type is that of the elements */
    FIELD_POINTER = 2,   /* a struct that some version allows to be null: held by pointer */
    FIELD_IGNORABLE = 4, /* dropped silently by versions that do not have it */
    FIELD_RIGID = 8,     /* not in compact form even in flexible versions */
    FIELD_NULL_DEFAULT = 16,
    FIELD_MAP_KEY = 32,
};

struct version_range {
    int16_t min;
    int16_t max;
};

struct layout;

struct field {
    const char *name;            /* as in JSON */
    const struct layout *layout; /* of a struct */
    const char *text;            /* default of a string */
    union {
        int64_t integer; /* default of a bool or an integer */
        double real;     /* default of a float64 */
    } value;
    struct version_range versions;
    struct version_range nullable;
    struct version_range tagged;
    uint16_t tag;
    uint16_t offset; /* in the C struct */
    uint8_t name_len;
    uint8_t type;  /* enum field_type */
    uint8_t flags; /* enum field_flags */
    uint8_t size;  /* bytes of one value in memory, structs aside */
};

#define LAYOUT_NO_TAGS UINT16_MAX

struct layout {
    const struct field *fields; /* in wire order */
    const uint8_t *tagged;      /* indexes of the fields with a tag, by tag */
    const void *initial;        /* an object with every field at its default */
    const uint16_t *bytes_min;  /* least encoded bytes, by version from first_version on */
    uint32_t size;              /* of the C struct */
    uint16_t unknown_tags;      /* offset of its unknown tags, or LAYOUT_NO_TAGS */
    int16_t first_version;
    uint8_t count;
    uint8_t tagged_count;
};

struct msg {
    const char *name;
    const struct layout *layout;
    struct version_range versions;
    struct version_range flexible;
    int16_t api_key; /* -1: none */
};

/* All messages, sorted by name in byte order. */
extern const struct msg *const msg_table[];
extern const size_t msg_table_count;

/* Arrays of any element type have this shape in the generated structs. */
struct any_array {
    void *items;
    int32_t count;
};

/* Where a field lies in its object. */
static inline void *field_at(const struct field *f, void *object)
{
    return (char *)object + f->offset;
}

static inline const void *field_at_const(const struct field *f, const void *object)
{
    return (const char *)object + f->offset;
}

static inline const struct unknown_tags *unknown_tags_of(const struct layout *l, const void *object)
{
    return (const void *)((const char *)object + l->unknown_tags);
}

/* Bytes of one element in memory. */
static inline size_t field_element_size(const struct field *f)
{
    return f->type == FIELD_STRUCT ? f->layout->size : f->size;
}

static inline bool version_in(int16_t version, struct version_range range)
{
    return version >= range.min && version <= range.max;
}

/* True when the object's field has the spec's default: such a tagged field is not written, and such
 * a field may be absent from a version though it is not ignorable. */
bool codec_field_is_default(const struct field *f, const void *object);

#endif
