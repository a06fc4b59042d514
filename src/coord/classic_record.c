/*
 * The group's record: GroupMetadataKey 2 and GroupMetadataValue 3, and what a reload makes of it.
 *
 * A record holds of each member the metadata of the elected protocol only; that is the one protocol
 * that a loaded member supports until it joins again. Versions 0 and 1 of the value have no time of
 * the state (-1: offsets expire by their own times), version 0 has no rebalance timeout (-1: the
 * session timeout is it).
 *
 * A tombstone takes the group away. What offsets are left of it (a migration to the consumer
 * protocol writes the tombstone between) stay with an empty group of that name.
 *
 * Kafka: GroupCoordinatorRecordHelpers.newGroupMetadataRecord, GroupMetadataManager.replay.
 */
#include "coord/classic_private.h"

#include "base/base.h"

#include "coord/offsets.h"

enum {
    VALUE_VERSION = 3,
    RECORD_OVERHEAD = 128, /* of a batch with one record, key apart */
};

/* ---- to the log ---- */

static void build(struct classic *cl, struct arena *arena, struct group_metadata_value *ret)
{
    *ret = group_metadata_value_default;
    ret->protocol_type = str_is_null(cl->protocol_type) ? STR("") : cl->protocol_type;
    ret->generation = cl->generation;
    ret->protocol = cl->protocol_name;
    ret->leader = cl->leader;
    ret->current_state_timestamp = cl->state_wall_ms;
    ret->members.items =
        codec_array(arena, group_metadata_value_member_metadata, cl->members.count);
    ret->members.count = to_i32(to_i64(cl->members.count));
    struct group_metadata_value_member_metadata *at = ret->members.items;
    list_foreach (node, &cl->order) {
        const struct classic_member *m = list_entry(node, struct classic_member, link);
        at->member_id = m->id;
        at->group_instance_id = m->instance_id;
        at->client_id = m->client_id;
        at->client_host = m->client_host;
        at->rebalance_timeout = m->rebalance_timeout_ms;
        at->session_timeout = m->session_timeout_ms;
        at->subscription = classic_member_metadata(m, cl->protocol_name);
        at->assignment = m->assignment;
        at++;
    }
}

void classic_append_record(struct shard *sh, struct group *g)
{
    struct arena arena = {0};
    struct group_metadata_value value;
    struct group_metadata_key key = group_metadata_key_default;
    key.group = g->id;
    build(g->classic, &arena, &value);
    shard_append(sh, &group_metadata_key_msg, &key, &group_metadata_value_msg, VALUE_VERSION,
                 &value);
    arena_release(&arena);
}

bool classic_record_fits(struct classic *cl)
{
    int32_t max = cl->sh->config->record_bytes_max;
    if (max <= 0) {
        return true;
    }
    struct arena arena = {0};
    struct group_metadata_value value;
    build(cl, &arena, &value);
    size_t bytes = 0;
    int r = codec_size(&group_metadata_value_msg, VALUE_VERSION, &value, &bytes);
    arena_release(&arena);
    return r == 0 && bytes + cl->group->id.len + RECORD_OVERHEAD <= (size_t)max;
}

/* ---- from the log ---- */

static void load_member(struct classic *cl,
                        const struct group_metadata_value *value,
                        const struct group_metadata_value_member_metadata *mm)
{
    struct classic_protocol protocol = {
        .name = str_is_null(value->protocol) ? STR("") : value->protocol,
        .metadata = mm->subscription,
    };
    struct classic_member like = {
        .id = mm->member_id,
        .instance_id = mm->group_instance_id,
        .client_id = mm->client_id,
        .client_host = mm->client_host,
        .protocol_type = value->protocol_type,
        .rebalance_timeout_ms =
            mm->rebalance_timeout == -1 ? mm->session_timeout : mm->rebalance_timeout,
        .session_timeout_ms = mm->session_timeout,
        .protocols = &protocol,
        .protocols_count = 1,
        .assignment = mm->assignment,
    };
    /* A member twice in one record: the first counts. */
    IGNORE(classic_member_add(cl, &like));
}

static void load(struct classic *cl, const struct group_metadata_value *value)
{
    cl->generation = value->generation;
    cl->state_wall_ms = value->current_state_timestamp;
    cl->state = value->members.count > 0 ? CLASSIC_STABLE : CLASSIC_EMPTY;
    if (!str_is_null(value->protocol_type) && value->protocol_type.len > 0) {
        cl->protocol_type = str_of(mem_strndup(value->protocol_type.ptr, value->protocol_type.len),
                                   value->protocol_type.len);
    }
    for (int32_t i = 0; i < value->members.count; i++) {
        load_member(cl, value, &value->members.items[i]);
    }
    classic_set_protocol_name(cl, value->protocol);
    if (cl->members.count > 0 && str_is_null(value->protocol)) {
        classic_set_protocol_name(cl, STR(""));
    }
    if (cl->members.count > 0 && !str_is_null(value->leader)) {
        classic_set_leader(cl, value->leader);
    }
    classic_compute_topics(cl);
}

static void forget(struct shard *sh, struct group *g)
{
    if (offsets_are_empty(g) && !offsets_have_pending(g)) {
        group_remove(sh, g);
        return;
    }
    group_reset(sh, g);
}

void classic_replay(struct shard *sh,
                    const struct group_metadata_key *key,
                    const struct group_metadata_value *value)
{
    struct group *g = group_find(sh, key->group);
    if (value == NULL) {
        /* Of a name that is a consumer group by now: its own records say what it is. */
        if (g != NULL && g->kind == GROUP_CLASSIC) {
            forget(sh, g);
        }
        return;
    }
    if (g == NULL) {
        g = group_add_classic(sh, key->group);
    } else if (g->kind == GROUP_CONSUMER) {
        group_become_classic(sh, g);
    } else {
        group_reset(sh, g);
    }
    load(g->classic, value);
}
