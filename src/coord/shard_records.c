/*
 * Records of an event. A key is `int16 kind` and the key's message in version 0; a value is `int16
 * version` and the value's message; a tombstone has no value (Kafka: GroupCoordinatorRecordSerde).
 *
 * All of them lie in one memory that is kept from event to event: offset commits are many and
 * small, a rebalance's assignments few and large.
 */
#include "coord/shard_records.h"

#include "base/base.h"
#include "base/bytes.h"

#define KEPT_BYTES_MAX   ((size_t)256 << 10) /* kept when an event is over */
#define KEPT_RECORDS_MAX 4096

struct shard_record {
    uint32_t key_len;
    int32_t value_len; /* -1: a tombstone */
};

struct shard_out *shard_out_new(void)
{
    struct shard_out *out = mem_zalloc(sizeof(*out));
    writer_init(&out->writer);
    return out;
}

struct shard_out *shard_out_free(struct shard_out *out)
{
    if (out == NULL) {
        return NULL;
    }
    writer_release(&out->writer);
    arena_release(&out->decoded);
    mem_free(out->items);
    mem_free(out->bytes);
    mem_free(out);
    return NULL;
}

/* What stands in the writer goes behind the bytes; returns how much. */
static size_t collect(struct shard_out *out)
{
    struct rope rope;
    writer_finish(&out->writer, &rope);
    size_t len = rope.bytes;
    if (out->bytes_cap - out->len < len) {
        out->bytes = mem_grow(out->bytes, &out->bytes_cap, out->len + len, 1);
    }
    for (struct rope_run *run; (run = rope_first(&rope)) != NULL;) {
        memcpy(out->bytes + out->len, run->ptr, run->len);
        out->len += run->len;
        rope_consume(&rope, run->len);
    }
    rope_release(&rope);
    return len;
}

static size_t
encode(struct shard_out *out, int16_t prefix, const struct msg *m, int16_t version, void *object)
{
    writer_i16(&out->writer, prefix);
    /* The machines put nothing into a record that it cannot hold. */
    check(codec_encode(m, version, object, &out->writer) == 0);
    return collect(out);
}

void shard_out_add(struct shard_out *out,
                   const struct msg *key_msg,
                   void *key,
                   const struct msg *value_msg,
                   int16_t value_version,
                   void *value)
{
    struct shard_record sr = {.value_len = -1};
    sr.key_len = (uint32_t)encode(out, msg_api_key(key_msg), key_msg, 0, key);
    if (value != NULL) {
        sr.value_len = to_i32(to_i64(encode(out, value_version, value_msg, value_version, value)));
    }
    if (out->count == out->cap) {
        out->items = mem_grow(out->items, &out->cap, out->count + 1, sizeof(*out->items));
    }
    out->items[out->count++] = sr;
}

size_t shard_out_take(struct shard_out *out,
                      void (*each)(void *ctx, struct view key, struct view value),
                      void *ctx)
{
    size_t count = out->count;
    const uint8_t *next = out->bytes;
    for (size_t i = 0; i < count; i++) {
        const struct shard_record *sr = &out->items[i];
        struct view key = {.ptr = next, .len = sr->key_len};
        struct view value = {.ptr = NULL};
        next += sr->key_len;
        if (sr->value_len >= 0) {
            value = (struct view){.ptr = next, .len = (size_t)sr->value_len};
            next += sr->value_len;
        }
        each(ctx, key, value);
    }
    out->count = 0;
    out->len = 0;
    if (out->bytes_cap > KEPT_BYTES_MAX || out->cap > KEPT_RECORDS_MAX) {
        out->bytes = mem_free(out->bytes);
        out->bytes_cap = 0;
        out->items = mem_free(out->items);
        out->cap = 0;
    }
    return count;
}
