/*
 * Metadata records as bytes (P), Kafka's MetadataRecordSerde:
 *
 *   uvarint frame version (1), uvarint apiKey, uvarint version, message
 *
 * The key of the record that holds them is null.
 */
#include "meta/records.h"

#include "base/err.h"
#include "wire/gen/messages.h"

#define FRAME_VERSION 1

/* By api key; the gaps are keys that no release uses. */
static const struct msg *const record_msgs[] = {
    [0] = &register_broker_record_msg,
    [1] = &unregister_broker_record_msg,
    [2] = &topic_record_msg,
    [3] = &partition_record_msg,
    [4] = &config_record_msg,
    [5] = &partition_change_record_msg,
    [7] = &fence_broker_record_msg,
    [8] = &unfence_broker_record_msg,
    [9] = &remove_topic_record_msg,
    [10] = &delegation_token_record_msg,
    [11] = &user_scram_credential_record_msg,
    [12] = &feature_level_record_msg,
    [14] = &client_quota_record_msg,
    [15] = &producer_ids_record_msg,
    [17] = &broker_registration_change_record_msg,
    [18] = &access_control_entry_record_msg,
    [19] = &remove_access_control_entry_record_msg,
    [20] = &no_op_record_msg,
    [21] = &zk_migration_state_record_msg,
    [22] = &remove_user_scram_credential_record_msg,
    [23] = &begin_transaction_record_msg,
    [24] = &end_transaction_record_msg,
    [25] = &abort_transaction_record_msg,
    [26] = &remove_delegation_token_record_msg,
    [27] = &register_controller_record_msg,
    [28] = &clear_elr_record_msg,
    [29] = &unregister_controller_record_msg,
};

const struct msg *meta_record_msg(int16_t api_key)
{
    if (api_key < 0 || (size_t)api_key >= ARRAY_LEN(record_msgs)) {
        return NULL;
    }
    return record_msgs[api_key];
}

int meta_record_frame(struct cursor *c, int16_t *ret_api_key, int16_t *ret_version)
{
    uint32_t frame_version = cursor_uvarint(c);
    uint32_t api_key = cursor_uvarint(c);
    uint32_t version = cursor_uvarint(c);
    if (c->failed || api_key > INT16_MAX || version > INT16_MAX) {
        return ERR_MALFORMED;
    }
    if (frame_version != FRAME_VERSION) {
        return ERR_UNSUPPORTED;
    }
    *ret_api_key = (int16_t)api_key;
    *ret_version = (int16_t)version;
    return 0;
}

void meta_records_init(struct meta_records *mr, struct arena *arena)
{
    *mr = (struct meta_records){.arena = arena};
}

int meta_record_encode(struct arena *arena,
                       const struct msg *m,
                       int16_t version,
                       void *object,
                       struct view *ret)
{
    struct writer w;
    struct rope rope;
    writer_init(&w);
    rope_init(&rope);
    writer_uvarint(&w, FRAME_VERSION);
    writer_uvarint(&w, (uint32_t)msg_api_key(m));
    writer_uvarint(&w, (uint32_t)version);
    int r = codec_encode(m, version, object, &w);
    if (r >= 0) {
        writer_finish(&w, &rope);
        uint8_t *bytes = arena_alloc(arena, rope.bytes);
        ret->ptr = bytes;
        ret->len = rope.bytes;
        for (size_t i = rope.start; i < rope.count; i++) {
            memcpy(bytes, rope.runs[i].ptr, rope.runs[i].len);
            bytes += rope.runs[i].len;
        }
        r = 0;
    }
    rope_release(&rope);
    writer_release(&w);
    return r;
}

void meta_records_add_encoded(struct meta_records *mr, struct view value)
{
    if (mr->count == mr->cap) {
        size_t cap = mr->cap == 0 ? 16 : mr->cap * 2;
        struct view *items = arena_alloc(mr->arena, cap * sizeof(items[0]));
        if (mr->count > 0) {
            memcpy(items, mr->items, mr->count * sizeof(items[0]));
        }
        mr->items = items;
        mr->cap = cap;
    }
    mr->items[mr->count++] = value;
}

void meta_records_add_all(struct meta_records *mr, const struct meta_records *more)
{
    for (size_t i = 0; i < more->count; i++) {
        meta_records_add_encoded(mr, more->items[i]);
    }
}

int meta_records_add(struct meta_records *mr, const struct msg *m, int16_t version, void *object)
{
    struct view value;
    int r = meta_record_encode(mr->arena, m, version, object, &value);
    if (r >= 0) {
        meta_records_add_encoded(mr, value);
    }
    return r;
}
