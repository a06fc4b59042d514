/*
 * Messages by their specs (P): one interpreter walks the field tables that tools/gen makes from
 * proto-specs and decodes, encodes, sizes, prints, reads JSON and compares every message.
 *
 * Objects: the generator writes one C struct per message ("wire/gen/messages.h"), fields of all
 * versions, names in snake_case; a zeroed struct is NOT the default, msg_init is.
 *   string            struct str          (null: ptr NULL)
 *   bytes             struct view
 *   records           struct records
 *   uuid              struct uuid
 *   bool              bool
 *   int8 .. int64     int8_t .. int64_t;  uint16 uint16_t, uint32 uint32_t, float64 double
 *   []X               struct { X *items; int32_t count; }    null: count -1
 *   struct X          struct x embedded; nullable: struct x * (NULL is null)
 * A decoded object points into the input bytes (strings, bytes, records) and into the arena.
 * Unknown tagged fields are kept in `unknown_tags` of each struct of a flexible message and encoded
 * again, as Kafka does.
 *
 * Errors: ERR_TRUNCATED, ERR_MALFORMED (bytes), ERR_TOO_LARGE (a limit below), ERR_NO_MEMORY (the
 * arena's limit), ERR_UNSUPPORTED (a version the message does not have, or a field that is set,
 * not ignorable, and absent from this version). No recursion on depth chosen by a peer: the depth
 * is the spec's.
 */
#ifndef WIRE_CODEC_H
#define WIRE_CODEC_H

#include "base/base.h"
#include "base/mem.h"
#include "wire/cursor.h"

#define CODEC_ARRAY_MAX 1000000 /* elements; 4.4 refuses more before it allocates */
#define CODEC_TAGS_MAX  10000   /* tagged fields of one struct */

/* What a `records` field holds. Decoded: ptr/len into the input. To be encoded: either ptr/len, or
 * a rope that the encoder moves into its output (file runs). null: ptr NULL and rope NULL. */
struct records {
    const uint8_t *ptr;
    size_t len;
    struct rope *rope; /* borrowed; emptied by codec_encode */
};

struct unknown_tag {
    uint32_t tag;
    struct view data;
};

struct unknown_tags {
    struct unknown_tag *items;
    int32_t count;
};

struct msg; /* one message: name, versions, flexible versions, fields; const, generated */

/* Accessors, so that nobody needs the layout. */
const char *msg_name(const struct msg *m); /* "FetchRequest" */
int16_t msg_min_version(const struct msg *m);
int16_t msg_max_version(const struct msg *m);
bool msg_is_flexible(const struct msg *m, int16_t version);
size_t msg_size(const struct msg *m);        /* sizeof the C struct */
int16_t msg_api_key(const struct msg *m);    /* -1: none */
const struct msg *msg_find(struct str name); /* NULL: unknown */
const struct msg *msg_at(size_t index);      /* NULL past the end; sorted by name */

/* Sets every field to the spec's default. The same for any generated struct, nested ones too:
 *     struct fetch_response_partition_data pd = fetch_response_partition_data_default;
 * A struct pointer whose default is not null points to a constant: replace it, do not write
 * through it. */
void msg_init(const struct msg *m, void *ret_object);

/* `count` elements of a generated struct (its name without "struct"), each at its default, e.g.
 *     r->topics.items = codec_array(arena, metadata_response_metadata_response_topic, n);
 * NULL when count is 0; ends the process without memory: only for counts of our own. */
#define codec_array(arena, name, count) \
    ((struct name *)codec_array_of((arena), &name##_default, sizeof(struct name), (count)))
void *codec_array_of(struct arena *arena, const void *initial, size_t size, size_t count);

/* Reads one message; extra bytes stay in the cursor. On failure *ret_object is unusable. */
must_check int codec_decode(const struct msg *m,
                            int16_t version,
                            struct cursor *in,
                            struct arena *arena,
                            void *ret_object);
/* Appends the message. Fails (ERR_UNSUPPORTED) before it writes anything of a field that the
 * version cannot carry; null where the version does not allow null is ERR_MALFORMED. */
must_check int codec_encode(const struct msg *m, int16_t version, void *object, struct writer *out);
/* Bytes that codec_encode will append. */
must_check int
codec_size(const struct msg *m, int16_t version, const void *object, size_t *ret_bytes);

/* JSON as Kafka's generated JsonConverter classes write it: camelCase names, base64 bytes, uuids as
 * text. */
must_check int
codec_print_json(const struct msg *m, int16_t version, const void *object, struct writer *out);
/* Reads such JSON. *ret_where: arena text that says where and why it failed. */
must_check int codec_parse_json(const struct msg *m,
                                int16_t version,
                                struct str json,
                                struct arena *arena,
                                void *ret_object,
                                struct str *ret_where);

/* Same values in the fields that the version has. */
bool codec_equal(const struct msg *m, int16_t version, const void *a, const void *b);

#endif
