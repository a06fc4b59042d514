/*
 * The bytes of classic consumers: an int16 version, then ConsumerProtocolSubscription or
 * ConsumerProtocolAssignment of that version.
 *
 * Kafka: ConsumerProtocol. Fields are only ever appended, so a version above ours is read as the
 * newest that we know, and what follows behind the known fields is ignored. A version below 0, and
 * bytes that end before the last field of their version, are no such bytes.
 */
#include "coord/subscription.h"

#include "base/base.h"
#include "base/bytes.h"
#include "base/err.h"
#include "wire/codec.h"
#include "wire/cursor.h"

static int
parse(const struct msg *m, struct view bytes, struct arena *arena, void *ret, int16_t *ret_version)
{
    struct cursor in = cursor_of(bytes.ptr, bytes.ptr == NULL ? 0 : bytes.len);
    int16_t version = cursor_i16(&in);
    if (in.failed) {
        return ERR_TRUNCATED;
    }
    int16_t known = version > msg_max_version(m) ? msg_max_version(m) : version;
    int r = codec_decode(m, known, &in, arena, ret); /* a version below 0: ERR_UNSUPPORTED */
    if (r < 0) {
        return r;
    }
    *ret_version = version;
    return 0;
}

int subscription_parse(struct view bytes,
                       struct arena *arena,
                       struct consumer_protocol_subscription *ret,
                       int16_t *ret_version)
{
    return parse(&consumer_protocol_subscription_msg, bytes, arena, ret, ret_version);
}

int subscription_parse_assignment(struct view bytes,
                                  struct arena *arena,
                                  struct consumer_protocol_assignment *ret,
                                  int16_t *ret_version)
{
    return parse(&consumer_protocol_assignment_msg, bytes, arena, ret, ret_version);
}

struct view
subscription_encode(const struct msg *m, int16_t version, void *body, struct arena *arena)
{
    struct writer w;
    writer_init(&w);
    writer_i16(&w, version);
    check(codec_encode(m, version, body, &w) == 0);
    size_t len = writer_size(&w);
    uint8_t *bytes = arena_alloc(arena, len);
    struct rope rope;
    writer_finish(&w, &rope);
    uint8_t *next = bytes;
    for (size_t i = rope.start; i < rope.count; i++) {
        memcpy(next, rope.runs[i].ptr, rope.runs[i].len);
        next += rope.runs[i].len;
    }
    rope_release(&rope);
    writer_release(&w);
    return (struct view){.ptr = bytes, .len = len};
}

struct view subscription_build_assignment(const struct assignment *a,
                                          const struct shard_topics *topics,
                                          int16_t version,
                                          struct arena *arena)
{
    const struct msg *m = &consumer_protocol_assignment_msg;
    version = version < msg_min_version(m)   ? msg_min_version(m)
              : version > msg_max_version(m) ? msg_max_version(m)
                                             : version;
    struct consumer_protocol_assignment body = consumer_protocol_assignment_default;
    body.assigned_partitions.items =
        codec_array(arena, consumer_protocol_assignment_topic_partition, to_size(a->count));
    for (int32_t i = 0; i < a->count; i++) {
        const struct topic_partitions *tp = &a->topics[i];
        struct shard_topic t;
        if (!topics->by_id(topics->ctx, &tp->id, &t)) {
            continue;
        }
        struct consumer_protocol_assignment_topic_partition *to =
            &body.assigned_partitions.items[body.assigned_partitions.count++];
        to->topic = t.name;
        to->partitions.items = tp->partitions;
        to->partitions.count = tp->count;
    }
    /* Every field is in every version, and nothing in it is null. */
    return subscription_encode(m, version, &body, arena);
}
