/*
 * Control records; see control.h for the layout.
 */
#include "raft/control.h"

#include "base/err.h"
#include "wire/gen/messages.h"

#define KRAFT_VERSION_MAX 1
#define KEY_BYTES         4

void control_batch_init(struct batch_builder *bb,
                        bool is_control,
                        int64_t base_offset,
                        int32_t leader_epoch,
                        int64_t now_ms)
{
    batch_builder_init(bb, CODEC_NONE, 0);
    bb->attributes = is_control ? BATCH_CONTROL : 0;
    bb->base_offset = base_offset;
    bb->leader_epoch = leader_epoch;
    bb->base_timestamp = now_ms;
}

static int add(struct batch_builder *bb,
               int64_t now_ms,
               enum control_type type,
               const struct msg *m,
               void *object)
{
    struct writer w;
    struct rope rope;
    writer_init(&w);
    rope_init(&rope);
    int r = codec_encode(m, 0, object, &w);
    if (r >= 0) {
        uint8_t key[KEY_BYTES];
        store_be16(key, 0);
        store_be16(key + 2, (uint16_t)type);
        writer_finish(&w, &rope);
        uint8_t *value = mem_alloc(rope.bytes);
        size_t len = 0;
        for (size_t i = rope.start; i < rope.count; i++) {
            memcpy(value + len, rope.runs[i].ptr, rope.runs[i].len);
            len += rope.runs[i].len;
        }
        batch_builder_add(bb, now_ms, (struct view){key, sizeof(key)}, (struct view){value, len});
        mem_free(value);
        r = 0;
    }
    rope_release(&rope);
    writer_release(&w);
    return r;
}

int control_add_leader_change(struct batch_builder *bb,
                              int64_t now_ms,
                              int32_t leader_id,
                              const struct voters *vs)
{
    struct leader_change_message_voter voters[VOTERS_MAX];
    struct leader_change_message_voter granting = leader_change_message_voter_default;
    struct leader_change_message rec = leader_change_message_default;
    rec.leader_id = leader_id;
    for (int32_t i = 0; i < vs->count; i++) {
        voters[i] = leader_change_message_voter_default;
        voters[i].voter_id = vs->items[i].id;
    }
    rec.voters.items = voters;
    rec.voters.count = vs->count;
    granting.voter_id = leader_id;
    rec.granting_voters.items = &granting;
    rec.granting_voters.count = 1;
    return add(bb, now_ms, CONTROL_LEADER_CHANGE, &leader_change_message_msg, &rec);
}

int control_add_kraft_version(struct batch_builder *bb, int64_t now_ms, int16_t version)
{
    struct kraft_version_record rec = kraft_version_record_default;
    rec.kraft_version = version;
    return add(bb, now_ms, CONTROL_KRAFT_VERSION, &kraft_version_record_msg, &rec);
}

int control_add_voters(struct batch_builder *bb, int64_t now_ms, const struct voters *vs)
{
    struct arena arena;
    arena_init(&arena, 0);
    struct voters_record rec = voters_record_default;
    rec.voters.count = vs->count;
    rec.voters.items = arena_alloc(&arena, (size_t)vs->count * sizeof(rec.voters.items[0]));
    for (int32_t i = 0; i < vs->count; i++) {
        const struct voter *from = &vs->items[i];
        struct voters_record_voter *to = &rec.voters.items[i];
        *to = voters_record_voter_default;
        to->voter_id = from->id;
        to->voter_directory_id = from->directory_id;
        to->kraft_version_feature.min_supported_version = 0;
        to->kraft_version_feature.max_supported_version = KRAFT_VERSION_MAX;
        to->endpoints.count = from->endpoints_count;
        to->endpoints.items =
            arena_alloc(&arena, (size_t)from->endpoints_count * sizeof(to->endpoints.items[0]));
        for (int32_t j = 0; j < from->endpoints_count; j++) {
            to->endpoints.items[j] = voters_record_endpoint_default;
            to->endpoints.items[j].name = from->endpoints[j].listener;
            to->endpoints.items[j].host = from->endpoints[j].host;
            to->endpoints.items[j].port = from->endpoints[j].port;
        }
    }
    int r = add(bb, now_ms, CONTROL_KRAFT_VOTERS, &voters_record_msg, &rec);
    arena_release(&arena);
    return r;
}

int control_add_snapshot_header(struct batch_builder *bb,
                                int64_t now_ms,
                                int64_t last_contained_timestamp)
{
    struct snapshot_header_record rec = snapshot_header_record_default;
    rec.last_contained_log_timestamp = last_contained_timestamp;
    return add(bb, now_ms, CONTROL_SNAPSHOT_HEADER, &snapshot_header_record_msg, &rec);
}

int control_add_snapshot_footer(struct batch_builder *bb, int64_t now_ms)
{
    struct snapshot_footer_record rec = snapshot_footer_record_default;
    return add(bb, now_ms, CONTROL_SNAPSHOT_FOOTER, &snapshot_footer_record_msg, &rec);
}

static int read_voters(struct control_state *cs, struct cursor *c, struct arena *arena)
{
    struct voters_record rec;
    int r = codec_decode(&voters_record_msg, 0, c, arena, &rec);
    if (r < 0) {
        return r;
    }
    voters_clear(&cs->voters);
    for (int32_t i = 0; i < rec.voters.count && r >= 0; i++) {
        const struct voters_record_voter *from = &rec.voters.items[i];
        struct voter v = {
            .id = from->voter_id,
            .directory_id = from->voter_directory_id,
            .endpoints_count = from->endpoints.count,
        };
        v.endpoints = arena_alloc(arena, (size_t)v.endpoints_count * sizeof(v.endpoints[0]));
        for (int32_t j = 0; j < v.endpoints_count; j++) {
            v.endpoints[j].listener = from->endpoints.items[j].name;
            v.endpoints[j].host = from->endpoints.items[j].host;
            v.endpoints[j].port = from->endpoints.items[j].port;
        }
        r = voters_add(&cs->voters, &v);
    }
    cs->has_voters = true;
    return r;
}

int control_read(struct control_state *cs, const struct record *rec)
{
    if (rec->key.ptr == NULL || rec->key.len < KEY_BYTES || rec->value.ptr == NULL) {
        return ERR_MALFORMED;
    }
    struct cursor c = cursor_of(rec->value.ptr, rec->value.len);
    struct arena arena;
    arena_init(&arena, 0);
    int r = 0;
    switch ((int16_t)load_be16(rec->key.ptr + 2)) {
    case CONTROL_KRAFT_VERSION: {
        struct kraft_version_record kv;
        r = codec_decode(&kraft_version_record_msg, 0, &c, &arena, &kv);
        if (r >= 0 && (kv.kraft_version < 0 || kv.kraft_version > KRAFT_VERSION_MAX)) {
            r = ERR_UNSUPPORTED;
        }
        if (r >= 0) {
            cs->kraft_version = kv.kraft_version;
        }
        break;
    }
    case CONTROL_KRAFT_VOTERS:
        r = read_voters(cs, &c, &arena);
        break;
    case CONTROL_SNAPSHOT_HEADER: {
        struct snapshot_header_record header;
        r = codec_decode(&snapshot_header_record_msg, 0, &c, &arena, &header);
        if (r >= 0) {
            cs->snapshot_timestamp = header.last_contained_log_timestamp;
            cs->has_header = true;
        }
        break;
    }
    case CONTROL_SNAPSHOT_FOOTER:
        cs->has_footer = true;
        break;
    default:
        break;
    }
    arena_release(&arena);
    return r < 0 ? r : 0;
}
