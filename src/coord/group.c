/*
 * Groups by name, and the questions that both kinds answer by their table of functions.
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

static const struct group_machines *machines_of(const struct shard *sh)
{
    return sh->machines->groups;
}

/* Of one group without members and offsets: its structs, its name, what the allocator adds. A group
 * of either kind counts as a classic one. */
static int64_t cost_of(const struct shard *sh, struct str id)
{
    return to_i64(sizeof(struct group) + machines_of(sh)->classic->machine_bytes + id.len) + 256;
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
    int64_t cost = cost_of(sh, id);
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
    int64_t cost = cost_of(sh, id);
    g->charged = shard_charge(sh, cost) ? cost : 0;
    hmap_insert(&sh->groups, &g->node, hash_str(g->id, sh->groups.seed));
    machines_of(sh)->added(sh);
    return g;
}

static void set_kind(struct shard *sh, struct group *g, enum group_kind kind)
{
    g->kind = kind;
    g->ops = kind == GROUP_CLASSIC ? machines_of(sh)->classic : machines_of(sh)->consumer;
    g->ops->init(sh, g);
}

struct group *group_add_classic(struct shard *sh, struct str id)
{
    struct group *g = add(sh, id);
    set_kind(sh, g, GROUP_CLASSIC);
    return g;
}

struct group *group_add_consumer(struct shard *sh, struct str id)
{
    struct group *g = add(sh, id);
    set_kind(sh, g, GROUP_CONSUMER);
    return g;
}

void group_add_unwritten(struct shard *sh, struct str id)
{
    group_add_classic(sh, id)->seen_from = sh->records_count + 1;
}

bool group_is_seen(const struct shard *sh, const struct group *g)
{
    return sh->records_count >= g->seen_from;
}

void group_remove(struct shard *sh, struct group *g)
{
    g->ops->release(g);
    machines_of(sh)->forget(sh, g);
    hmap_remove(&sh->groups, &g->node);
    shard_give(sh, g->charged);
    mem_free((void *)(uintptr_t)g->id.ptr);
    mem_free(g);
}

void group_become_consumer(struct shard *sh, struct group *g)
{
    check(g->kind == GROUP_CLASSIC);
    g->ops->release(g);
    set_kind(sh, g, GROUP_CONSUMER);
}

void group_become_classic(struct shard *sh, struct group *g)
{
    check(g->kind == GROUP_CONSUMER);
    g->ops->release(g);
    set_kind(sh, g, GROUP_CLASSIC);
}

void group_reset(struct shard *sh, struct group *g)
{
    g->ops->release(g);
    g->ops->init(sh, g);
}

/* ---- what a group is asked ---- */

struct str group_state_name(const struct group *g)
{
    return g->ops->state_name(g);
}

struct str group_kind_name(const struct group *g)
{
    return g->kind == GROUP_CLASSIC ? STR("classic") : STR("consumer");
}

struct str group_protocol_type(const struct group *g)
{
    return g->ops->protocol_type(g);
}

bool group_is_empty(const struct group *g)
{
    return g->ops->is_empty(g);
}

bool group_is_dead(const struct group *g)
{
    return g->ops->is_dead(g);
}

enum kafka_error group_check_commit(struct shard *sh,
                                    struct group *g,
                                    struct str member_id,
                                    struct str instance_id,
                                    int32_t generation_or_epoch,
                                    bool is_transactional,
                                    int16_t version)
{
    return g->ops->check_commit(sh, g, member_id, instance_id, generation_or_epoch,
                                is_transactional, version);
}

bool group_is_commit_late(const struct group *g, struct str member_id, int32_t epoch)
{
    return g->ops->is_commit_late(g, member_id, epoch);
}

enum kafka_error group_check_commit_partition(const struct group *g,
                                              struct str member_id,
                                              int32_t epoch,
                                              const struct uuid *topic_id,
                                              int32_t partition)
{
    return g->ops->check_commit_partition(g, member_id, epoch, topic_id, partition);
}

enum kafka_error
group_check_offset_fetch(const struct group *g, struct str member_id, int32_t epoch)
{
    if (str_is_null(member_id) && epoch < 0) {
        return KAFKA_ERROR_NONE;
    }
    return g->ops->check_offset_fetch(g, member_id, epoch);
}

bool group_is_subscribed(const struct group *g, struct str topic)
{
    return g->ops->is_subscribed(g, topic);
}

bool group_offset_expiry_base(const struct group *g,
                              struct str topic,
                              int64_t commit_timestamp,
                              int64_t *ret_base_ms)
{
    return g->ops->offset_expiry_base(g, topic, commit_timestamp, ret_base_ms);
}

enum kafka_error group_check_delete(const struct group *g)
{
    if (group_is_dead(g)) {
        return KAFKA_ERROR_GROUP_ID_NOT_FOUND;
    }
    return group_is_empty(g) ? KAFKA_ERROR_NONE : KAFKA_ERROR_NON_EMPTY_GROUP;
}

void group_emit_tombstones(struct shard *sh, struct group *g)
{
    g->ops->emit_tombstones(sh, g);
}
