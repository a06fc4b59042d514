/*
 * Replay: from the bytes of a record to its messages, which shard_machines hands to the machine
 * that they belong to. The kinds of keys, each with the numbers that stand in the log (Kafka:
 * CoordinatorRecordType):
 *
 *    0  committed offset, of the oldest versions     8  consumer group: what a member holds
 *    1  committed offset                            16  consumer group: a regular expression
 *    2  classic group                             9-15  share groups: skipped
 *    3  consumer group: its epoch                17-23  streams groups: skipped
 *    4  consumer group: its topics, before 4.0
 *    5  consumer group: a member
 *    6  consumer group: the target's epoch
 *    7  consumer group: a member's target
 *
 * A kind that is unknown is skipped, as Kafka does it.
 */
#include "base/base.h"
#include "base/err.h"
#include "coord/shard.h"
#include "coord/shard_records.h"

/* Messages of a kind; NULL: nothing is known of it. */
static void
messages_of(int16_t kind, const struct msg **ret_key_msg, const struct msg **ret_value_msg)
{
    *ret_key_msg = NULL;
    *ret_value_msg = NULL;
    switch (kind) {
    case KIND_LEGACY_OFFSET:
        *ret_key_msg = &legacy_offset_commit_key_msg;
        *ret_value_msg = &legacy_offset_commit_value_msg;
        break;
    case KIND_OFFSET:
        *ret_key_msg = &offset_commit_key_msg;
        *ret_value_msg = &offset_commit_value_msg;
        break;
    case KIND_CLASSIC:
        *ret_key_msg = &group_metadata_key_msg;
        *ret_value_msg = &group_metadata_value_msg;
        break;
    case KIND_CONSUMER_METADATA:
        *ret_key_msg = &consumer_group_metadata_key_msg;
        *ret_value_msg = &consumer_group_metadata_value_msg;
        break;
    case KIND_CONSUMER_PARTITION_METADATA:
        *ret_key_msg = &consumer_group_partition_metadata_key_msg;
        *ret_value_msg = &consumer_group_partition_metadata_value_msg;
        break;
    case KIND_CONSUMER_MEMBER:
        *ret_key_msg = &consumer_group_member_metadata_key_msg;
        *ret_value_msg = &consumer_group_member_metadata_value_msg;
        break;
    case KIND_CONSUMER_TARGET_METADATA:
        *ret_key_msg = &consumer_group_target_assignment_metadata_key_msg;
        *ret_value_msg = &consumer_group_target_assignment_metadata_value_msg;
        break;
    case KIND_CONSUMER_TARGET_MEMBER:
        *ret_key_msg = &consumer_group_target_assignment_member_key_msg;
        *ret_value_msg = &consumer_group_target_assignment_member_value_msg;
        break;
    case KIND_CONSUMER_CURRENT:
        *ret_key_msg = &consumer_group_current_member_assignment_key_msg;
        *ret_value_msg = &consumer_group_current_member_assignment_value_msg;
        break;
    case KIND_CONSUMER_REGEX:
        *ret_key_msg = &consumer_group_regular_expression_key_msg;
        *ret_value_msg = &consumer_group_regular_expression_value_msg;
        break;
    default:
        break;
    }
}

static int
decode(const struct msg *m, int16_t version, struct cursor *c, struct arena *arena, void **ret)
{
    if (c->failed) {
        return ERR_TRUNCATED;
    }
    if (version < msg_min_version(m) || version > msg_max_version(m)) {
        return ERR_UNSUPPORTED;
    }
    void *object = arena_alloc(arena, msg_size(m));
    int r = codec_decode(m, version, c, arena, object);
    if (r < 0) {
        return r;
    }
    *ret = object;
    return 0;
}

int shard_replay(struct shard *sh, int64_t producer_id, struct view key, struct view value)
{
    check(sh->is_loading);
    struct cursor c = cursor_of(key.ptr, key.len);
    int16_t kind = cursor_i16(&c);
    if (c.failed) {
        return ERR_TRUNCATED;
    }
    const struct msg *key_msg;
    const struct msg *value_msg;
    messages_of(kind, &key_msg, &value_msg);
    if (key_msg == NULL) {
        return 0;
    }
    struct arena *arena = &sh->out->decoded;
    arena_reset(arena);
    void *key_object = NULL;
    void *value_object = NULL;
    int r = decode(key_msg, 0, &c, arena, &key_object);
    if (r == 0 && value.ptr != NULL) {
        c = cursor_of(value.ptr, value.len);
        int16_t version = cursor_i16(&c);
        r = decode(value_msg, version, &c, arena, &value_object);
    }
    if (r < 0) {
        return r;
    }
    sh->machines->replay(sh, producer_id, (enum record_kind)kind, key_object, value_object);
    return 0;
}

void shard_replay_end_txn(struct shard *sh, int64_t producer_id, bool is_commit)
{
    sh->machines->replay_end_txn(sh, producer_id, is_commit);
}

void shard_emit(struct shard *sh,
                const struct msg *key_msg,
                void *key,
                const struct msg *value_msg,
                int16_t value_version,
                void *value)
{
    shard_append(sh, key_msg, key, value_msg, value_version, value);
    sh->machines->replay(sh, -1, (enum record_kind)msg_api_key(key_msg), key, value);
}

void shard_append(struct shard *sh,
                  const struct msg *key_msg,
                  void *key,
                  const struct msg *value_msg,
                  int16_t value_version,
                  void *value)
{
    check(!sh->is_loading);
    sh->records_count++;
    shard_out_add(sh->out, key_msg, key, value_msg, value_version, value);
}
