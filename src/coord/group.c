/*
 * Groups by name, and the questions that both kinds answer.
 *
 * A group is a name, the machine of its kind, its committed offsets and its story. The machine can
 * be exchanged (a migration, or a reload in which the last record of a name decides); offsets and
 * story stay with the name.
 *
 * Kafka: Group, GroupMetadataManager.group, maybeDeleteGroup.
 */
#include "coord/group.h"

#include "base/base.h"

#include "base/mem.h"
#include "coord/classic.h"
#include "coord/consumer.h"
#include "coord/offsets.h"
#include "coord/story.h"

/* Of one group without members and offsets: its structs, its name, what the allocator adds. */
static int64_t cost_of(struct str id)
{
    return to_i64(sizeof(struct group) + sizeof(struct classic) + id.len) + 256;
}

static struct group *group_of(struct hmap_node *node)
{
    return container_of(node, struct group, node);
}

struct group *group_find(const struct shard *sh, struct str id)
{
    struct hmap_node *node = hmap_first(&sh->groups, hash_str(id, sh->groups.seed));
    while (node != NULL && !str_equal(group_of(node)->id, id)) {
        node = hmap_next(node);
    }
    return node == NULL ? NULL : group_of(node);
}

bool group_has_room(struct shard *sh, struct str id)
{
    int64_t cost = cost_of(id);
    if (!shard_charge(sh, cost)) {
        return false;
    }
    shard_give(sh, cost);
    return true;
}

static struct group *add(struct shard *sh, struct str id)
{
    check(!str_is_null(id));
    dcheck(group_find(sh, id) == NULL);
    struct group *g = mem_zalloc(sizeof(*g));
    g->id = str_of(mem_strndup(id.ptr, id.len), id.len);
    int64_t cost = cost_of(id);
    g->charged = shard_charge(sh, cost) ? cost : 0;
    hmap_insert(&sh->groups, &g->node, hash_str(g->id, sh->groups.seed));
    offsets_group_added(sh);
    return g;
}

struct group *group_add_classic(struct shard *sh, struct str id)
{
    struct group *g = add(sh, id);
    g->kind = GROUP_CLASSIC;
    g->classic = classic_new(sh, g);
    return g;
}

struct group *group_add_consumer(struct shard *sh, struct str id)
{
    struct group *g = add(sh, id);
    g->kind = GROUP_CONSUMER;
    g->consumer = consumer_new(sh, g);
    return g;
}

static void free_machine(struct group *g)
{
    switch (g->kind) {
    case GROUP_CLASSIC:
        g->classic = classic_free(g->classic);
        break;
    case GROUP_CONSUMER:
        g->consumer = consumer_free(g->consumer);
        break;
    }
}

void group_remove(struct shard *sh, struct group *g)
{
    free_machine(g);
    if (g->offsets != NULL) {
        offsets_forget(sh, g);
    }
    g->story = story_free(sh, g->story);
    hmap_remove(&sh->groups, &g->node);
    shard_give(sh, g->charged);
    mem_free((void *)(uintptr_t)g->id.ptr);
    mem_free(g);
}

void group_become_consumer(struct shard *sh, struct group *g)
{
    check(g->kind == GROUP_CLASSIC);
    free_machine(g);
    g->kind = GROUP_CONSUMER;
    g->consumer = consumer_new(sh, g);
}

void group_become_classic(struct shard *sh, struct group *g)
{
    check(g->kind == GROUP_CONSUMER);
    free_machine(g);
    g->kind = GROUP_CLASSIC;
    g->classic = classic_new(sh, g);
}

static struct str classic_state_name(enum classic_state state)
{
    switch (state) {
    case CLASSIC_EMPTY:
        return STR("Empty");
    case CLASSIC_PREPARING_REBALANCE:
        return STR("PreparingRebalance");
    case CLASSIC_COMPLETING_REBALANCE:
        return STR("CompletingRebalance");
    case CLASSIC_STABLE:
        return STR("Stable");
    case CLASSIC_DEAD:
        return STR("Dead");
    }
    check(false);
    return STR("");
}

static struct str consumer_state_name(enum consumer_state state)
{
    switch (state) {
    case CONSUMER_EMPTY:
        return STR("Empty");
    case CONSUMER_ASSIGNING:
        return STR("Assigning");
    case CONSUMER_RECONCILING:
        return STR("Reconciling");
    case CONSUMER_STABLE:
        return STR("Stable");
    case CONSUMER_DEAD:
        return STR("Dead");
    }
    check(false);
    return STR("");
}

struct str group_state_name(const struct group *g)
{
    return g->kind == GROUP_CLASSIC ? classic_state_name(g->classic->state)
                                    : consumer_state_name(consumer_state_of(g->consumer));
}

struct str group_kind_name(const struct group *g)
{
    return g->kind == GROUP_CLASSIC ? STR("classic") : STR("consumer");
}

struct str group_protocol_type(const struct group *g)
{
    if (g->kind == GROUP_CONSUMER) {
        return STR("consumer");
    }
    return str_is_null(g->classic->protocol_type) ? STR("") : g->classic->protocol_type;
}

bool group_is_empty(const struct group *g)
{
    return g->kind == GROUP_CLASSIC ? g->classic->state == CLASSIC_EMPTY
                                    : consumer_state_of(g->consumer) == CONSUMER_EMPTY;
}

enum kafka_error group_check_commit(struct shard *sh,
                                    struct group *g,
                                    struct str member_id,
                                    struct str instance_id,
                                    int32_t generation_or_epoch,
                                    bool is_transactional,
                                    int16_t version)
{
    if (g->kind == GROUP_CLASSIC) {
        return classic_check_commit(sh, g, member_id, instance_id, generation_or_epoch,
                                    is_transactional);
    }
    return consumer_check_commit(sh, g, member_id, instance_id, generation_or_epoch,
                                 is_transactional, version);
}

enum kafka_error
group_check_offset_fetch(const struct group *g, struct str member_id, int32_t epoch)
{
    if (str_is_null(member_id) && epoch < 0) {
        return KAFKA_ERROR_NONE;
    }
    if (g->kind == GROUP_CLASSIC) {
        return g->classic->state == CLASSIC_DEAD ? KAFKA_ERROR_GROUP_ID_NOT_FOUND
                                                 : KAFKA_ERROR_NONE;
    }
    return consumer_check_offset_fetch(g, member_id, epoch);
}

bool group_is_subscribed(const struct group *g, struct str topic)
{
    return g->kind == GROUP_CLASSIC ? classic_is_subscribed(g, topic)
                                    : consumer_is_subscribed(g, topic);
}

bool group_offset_expiry_base(const struct group *g,
                              struct str topic,
                              int64_t commit_timestamp,
                              int64_t *ret_base_ms)
{
    if (g->kind == GROUP_CLASSIC) {
        return classic_offset_expiry_base(g, topic, commit_timestamp, ret_base_ms);
    }
    if (consumer_is_subscribed(g, topic)) {
        return false;
    }
    *ret_base_ms = commit_timestamp;
    return true;
}

enum kafka_error group_check_delete(const struct group *g)
{
    if (g->kind == GROUP_CLASSIC && g->classic->state == CLASSIC_DEAD) {
        return KAFKA_ERROR_GROUP_ID_NOT_FOUND;
    }
    return group_is_empty(g) ? KAFKA_ERROR_NONE : KAFKA_ERROR_NON_EMPTY_GROUP;
}

void group_emit_tombstones(struct shard *sh, struct group *g)
{
    if (g->kind == GROUP_CONSUMER) {
        consumer_emit_tombstones(sh, g);
        return;
    }
    struct group_metadata_key key = group_metadata_key_default;
    key.group = g->id;
    shard_emit(sh, &group_metadata_key_msg, &key, &group_metadata_value_msg, 3, NULL);
}
