/*
 * Records of Kafka's own topics, decoded by their specs.
 *
 *   metadata          value: uvarint frame version (1), uvarint apiKey, uvarint version, message
 *   groups, txns ...  key: int16 which message, message; value: int16 version, message
 *   control records   key: int16 version, int16 type; value by type (KIP-98, KIP-595, KIP-630,
 * KIP-853)
 *
 * A message that cannot be read is printed as bytes, with the reason under `problem`.
 */
#include "dump_records.h"

#include "base/base.h"
#include "base/err.h"
#include "wire/codec.h"

#define METADATA_FRAME_VERSION 1

struct family {
    const char *directory;
    const char *prefixes[2]; /* of the names of its messages; none: all that no other family has */
};

static const struct family families[] = {
    [DUMP_TOPIC_OTHER] = {"", {NULL}},
    [DUMP_TOPIC_METADATA] = {"__cluster_metadata-", {NULL}},
    [DUMP_TOPIC_GROUPS] = {"__consumer_offsets-", {NULL}},
    [DUMP_TOPIC_TRANSACTIONS] = {"__transaction_state-", {"TransactionLog"}},
    [DUMP_TOPIC_SHARE_STATE] = {"__share_group_state-", {"ShareSnapshot", "ShareUpdate"}},
};

enum dump_topic dump_records_topic(struct str directory)
{
    for (size_t i = DUMP_TOPIC_METADATA; i < ARRAY_LEN(families); i++) {
        if (str_starts_with(directory, str_from(families[i].directory))) {
            return (enum dump_topic)i;
        }
    }
    return DUMP_TOPIC_OTHER;
}

static bool ends_with(struct str s, struct str suffix)
{
    return s.len >= suffix.len && str_equal(str_of(s.ptr + s.len - suffix.len, suffix.len), suffix);
}

static bool has_prefix_of(struct str name, const struct family *family)
{
    for (size_t i = 0; i < ARRAY_LEN(family->prefixes) && family->prefixes[i] != NULL; i++) {
        if (str_starts_with(name, str_from(family->prefixes[i]))) {
            return true;
        }
    }
    return false;
}

/* Keys are counted anew in each topic, so a name must belong to the topic. */
static bool belongs(struct str name, enum dump_topic topic)
{
    if (topic == DUMP_TOPIC_METADATA) {
        return !str_starts_with(name, STR("Remote"));
    }
    if (families[topic].prefixes[0] != NULL) {
        return has_prefix_of(name, &families[topic]);
    }
    return !has_prefix_of(name, &families[DUMP_TOPIC_TRANSACTIONS]) &&
           !has_prefix_of(name, &families[DUMP_TOPIC_SHARE_STATE]);
}

static const struct msg *find(enum dump_topic topic, struct str suffix, int64_t api_key)
{
    const struct msg *m = msg_at(0);
    for (size_t i = 0; m != NULL; m = msg_at(++i)) {
        struct str name = str_from(msg_name(m));
        if (msg_api_key(m) == api_key && ends_with(name, suffix) && belongs(name, topic)) {
            return m;
        }
    }
    return NULL;
}

static void
add_problem(struct dump_out *d, const char *name, struct view bytes, const char *problem)
{
    dump_print_bytes(d, name, bytes);
    dump_print_text(d, "problem", str_from(problem));
}

/* Prints the message that `in` holds, whole, under `name`; `bytes` are printed when it cannot be
 * read. */
static void add_message(struct dump_out *d,
                        const char *name,
                        const struct msg *m,
                        int64_t version,
                        struct cursor in,
                        struct view bytes,
                        struct arena *arena)
{
    if (version < msg_min_version(m) || version > msg_max_version(m)) {
        add_problem(d, name, bytes, "a version that is not known");
        return;
    }
    void *object = arena_alloc(arena, msg_size(m));
    int r = codec_decode(m, (int16_t)version, &in, arena, object);
    if (r < 0 || cursor_left(&in) > 0) {
        d->is_damaged = true;
        add_problem(d, name, bytes, r < 0 ? err_text(r) : "bytes are left over");
        return;
    }
    struct writer json;
    writer_init(&json);
    if (codec_print_json(m, (int16_t)version, object, &json) == 0) {
        dump_print_json(d, name, &json);
    } else {
        add_problem(d, name, bytes, "cannot be printed");
    }
    writer_release(&json);
}

static void add_metadata(struct dump_out *d, struct view value, struct arena *arena)
{
    struct cursor in = cursor_of(value.ptr, value.len);
    uint32_t frame_version = cursor_uvarint(&in);
    uint32_t api_key = cursor_uvarint(&in);
    uint32_t version = cursor_uvarint(&in);
    if (in.failed || frame_version != METADATA_FRAME_VERSION) {
        d->is_damaged = true;
        add_problem(d, "value", value, "not a metadata record");
        return;
    }
    const struct msg *m = find(DUMP_TOPIC_METADATA, STR("Record"), api_key);
    if (m == NULL) {
        dump_print_int(d, "apiKey", api_key);
        add_problem(d, "value", value, "a message that is not known");
        return;
    }
    dump_print_text(d, "message", str_from(msg_name(m)));
    dump_print_int(d, "version", version);
    add_message(d, "value", m, version, in, value, arena);
}

static void add_coordinator(struct dump_out *d,
                            enum dump_topic topic,
                            const struct record *record,
                            struct arena *arena)
{
    struct cursor key = cursor_of(record->key.ptr, record->key.len);
    int16_t api_key = cursor_i16(&key);
    const struct msg *m = key.failed ? NULL : find(topic, STR("Key"), api_key);
    if (m == NULL) {
        dump_print_bytes(d, "key", record->key);
        add_problem(d, "value", record->value, "a key that is not known");
        return;
    }
    struct str name = str_from(msg_name(m));
    dump_print_text(d, "message", str_of(name.ptr, name.len - strlen("Key")));
    /* The int16 before the fields says which message it is, and there is one version of each. */
    add_message(d, "key", m, msg_max_version(m), key, record->key, arena);
    if (record->value.ptr == NULL) {
        dump_print_bytes(d, "value", record->value);
        return;
    }
    struct cursor value = cursor_of(record->value.ptr, record->value.len);
    int16_t version = cursor_i16(&value);
    const struct msg *v = find(topic, STR("Value"), api_key);
    if (v == NULL || value.failed) {
        d->is_damaged |= value.failed;
        add_problem(d, "value", record->value, "not a value of this message");
        return;
    }
    dump_print_int(d, "version", version);
    add_message(d, "value", v, version, value, record->value, arena);
}

static void add_control(struct dump_out *d, const struct record *record, struct arena *arena)
{
    static const struct {
        const char *name;
        const char *message;
        bool has_own_version; /* the version is the message's first field, too */
    } types[] = {
        [CONTROL_ABORT] = {"ABORT", "EndTxnMarker", false},
        [CONTROL_COMMIT] = {"COMMIT", "EndTxnMarker", false},
        [CONTROL_LEADER_CHANGE] = {"LEADER_CHANGE", "LeaderChangeMessage", true},
        [CONTROL_SNAPSHOT_HEADER] = {"SNAPSHOT_HEADER", "SnapshotHeaderRecord", true},
        [CONTROL_SNAPSHOT_FOOTER] = {"SNAPSHOT_FOOTER", "SnapshotFooterRecord", true},
        [CONTROL_KRAFT_VERSION] = {"KRAFT_VERSION", "KRaftVersionRecord", true},
        [CONTROL_KRAFT_VOTERS] = {"KRAFT_VOTERS", "VotersRecord", true},
    };
    struct cursor key = cursor_of(record->key.ptr, record->key.len);
    IGNORE(cursor_i16(&key)); /* the version of the key: there is only one */
    int16_t type = cursor_i16(&key);
    struct cursor value = cursor_of(record->value.ptr, record->value.len);
    struct cursor behind = value;
    int16_t version = cursor_i16(&behind);
    if (key.failed || behind.failed || type < 0 || (size_t)type >= ARRAY_LEN(types)) {
        dump_print_bytes(d, "key", record->key);
        add_problem(d, "value", record->value, "a control record that is not known");
        return;
    }
    const struct msg *m = msg_find(str_from(types[type].message));
    dump_print_text(d, "control", str_from(types[type].name));
    add_message(d, "value", m, version, types[type].has_own_version ? value : behind, record->value,
                arena);
}

static void add_headers(struct dump_out *d, const struct record *record)
{
    struct cursor c = cursor_of(record->headers.ptr, record->headers.len);
    struct record_header header;
    if (record->headers_count == 0) {
        return;
    }
    dump_print_list_begin(d, "headers");
    for (bool is_first = true; record_headers_next(&c, &header) == 1; is_first = false) {
        dump_print_item_begin(d, is_first);
        dump_print_bytes(
            d, "key", (struct view){.ptr = (const uint8_t *)header.key.ptr, .len = header.key.len});
        dump_print_bytes(d, "value", header.value);
        dump_print_item_end(d);
    }
    dump_print_list_end(d);
}

void dump_records_add(struct dump_out *d,
                      enum dump_topic topic,
                      const struct batch *b,
                      const struct record *record,
                      struct arena *arena)
{
    if (batch_is_control(b)) {
        add_control(d, record, arena);
    } else if (topic == DUMP_TOPIC_METADATA) {
        add_metadata(d, record->value, arena);
    } else if (topic != DUMP_TOPIC_OTHER && record->key.ptr != NULL) {
        add_coordinator(d, topic, record, arena);
    } else {
        dump_print_bytes(d, "key", record->key);
        dump_print_bytes(d, "value", record->value);
    }
    add_headers(d, record);
}
