/*
 * The table of the machines: events of a shard go to all groups and to the offsets, records to the
 * machine that their kind belongs to, and what a group asks to its kind. This file knows everybody;
 * whoever it calls knows the shard and the group alone.
 */
#include "coord/shard_machines.h"

#include "base/base.h"
#include "coord/classic.h"
#include "coord/consumer.h"
#include "coord/group.h"
#include "coord/migrate.h"
#include "coord/offsets.h"
#include "coord/story.h"

/* ---- events ---- */

static void init(struct shard *sh)
{
    sh->offsets = offsets_new(sh);
}

static void release(struct shard *sh)
{
    hmap_foreach (node, &sh->groups) {
        struct group *g = container_of(node, struct group, node);
        offsets_forget(sh, g);
        group_remove(sh, g);
    }
    sh->offsets = offsets_free(sh->offsets);
}

static void loaded(struct shard *sh)
{
    hmap_foreach (node, &sh->groups) {
        struct group *g = container_of(node, struct group, node);
        switch (g->kind) {
        case GROUP_CLASSIC:
            classic_loaded(sh, g);
            break;
        case GROUP_CONSUMER:
            consumer_loaded(sh, g);
            break;
        }
    }
    offsets_loaded(sh);
}

static void abandon(struct shard *sh, enum kafka_error error)
{
    hmap_foreach (node, &sh->groups) {
        struct group *g = container_of(node, struct group, node);
        if (g->kind == GROUP_CLASSIC) { /* in the others nobody waits */
            classic_abandon(sh, g, error);
        }
    }
}

static void
topic_changed(struct shard *sh, enum shard_topic_change change, const struct shard_topic *t)
{
    hmap_foreach (node, &sh->groups) {
        struct group *g = container_of(node, struct group, node);
        if (g->kind == GROUP_CONSUMER) {
            consumer_topic_changed(sh, g, change, t);
        }
    }
    if (change == TOPIC_DELETED) {
        offsets_topic_deleted(sh, t);
    }
}

/* ---- records ---- */

static void replay_legacy_offset(struct shard *sh,
                                 int64_t producer_id,
                                 const struct legacy_offset_commit_key *key,
                                 const struct legacy_offset_commit_value *value)
{
    const struct offset_commit_key new_key = {
        .group = key->group, .topic = key->topic, .partition = key->partition};
    if (value == NULL) {
        offsets_replay(sh, producer_id, &new_key, NULL);
        return;
    }
    struct offset_commit_value new_value = offset_commit_value_default;
    new_value.offset = value->offset;
    new_value.metadata = value->metadata;
    new_value.commit_timestamp = value->commit_timestamp;
    offsets_replay(sh, producer_id, &new_key, &new_value);
}

static void replay(struct shard *sh,
                   int64_t producer_id,
                   enum record_kind kind,
                   const void *key,
                   const void *value)
{
    switch (kind) {
    case KIND_LEGACY_OFFSET:
        replay_legacy_offset(sh, producer_id, key, value);
        return;
    case KIND_OFFSET:
        offsets_replay(sh, producer_id, key, value);
        return;
    case KIND_CLASSIC:
        classic_replay(sh, key, value);
        return;
    case KIND_CONSUMER_METADATA:
        consumer_replay_metadata(sh, key, value);
        return;
    case KIND_CONSUMER_PARTITION_METADATA:
        consumer_replay_partition_metadata(sh, key, value);
        return;
    case KIND_CONSUMER_MEMBER:
        consumer_replay_member(sh, key, value);
        return;
    case KIND_CONSUMER_TARGET_METADATA:
        consumer_replay_target_metadata(sh, key, value);
        return;
    case KIND_CONSUMER_TARGET_MEMBER:
        consumer_replay_target_member(sh, key, value);
        return;
    case KIND_CONSUMER_CURRENT:
        consumer_replay_current(sh, key, value);
        return;
    case KIND_CONSUMER_REGEX:
        consumer_replay_regex(sh, key, value);
        return;
    }
    check(false); /* shard_replay.c knows the same kinds */
}

/* ---- groups ---- */

static void forget(struct shard *sh, struct group *g)
{
    if (g->offsets != NULL) {
        offsets_forget(sh, g);
    }
    g->story = story_free(sh, g->story);
}

static const struct group_machines group_machines = {
    .classic = &classic_ops,
    .consumer = &consumer_ops,
    .added = offsets_group_added,
    .forget = forget,
    .check_upgrade = migrate_check_upgrade,
    .upgrade = migrate_upgrade,
    .wants_downgrade = migrate_wants_downgrade,
    .downgrade = migrate_downgrade,
};

const struct shard_machines shard_machines = {
    .init = init,
    .release = release,
    .replay = replay,
    .replay_end_txn = offsets_replay_end_txn,
    .loaded = loaded,
    .abandon = abandon,
    .topic_changed = topic_changed,
    .groups = &group_machines,
};
