/*
 * What a record of an offset does to the store, live and from the log. One of a transaction waits
 * beside the committed offset (offsets_txn.c); a tombstone takes both away.
 *
 * Kafka: OffsetMetadataManager.replay.
 */
#include "coord/offsets.h"

#include "base/base.h"
#include "coord/offsets_private.h"

static void replay_tombstone(struct shard *sh, const struct offset_commit_key *key)
{
    struct group *g = group_find(sh, key->group);
    struct offset_topic *ot = g == NULL ? NULL : offsets_topic_find(sh->offsets, key->topic);
    struct offset_entry *oe =
        ot == NULL ? NULL : offsets_entry_find(g->offsets, ot, key->partition);
    if (oe != NULL) {
        offsets_drop_pending(sh, oe);
        offsets_entry_free(sh, oe);
    }
}

void offsets_replay(struct shard *sh,
                    int64_t producer_id,
                    const struct offset_commit_key *key,
                    const struct offset_commit_value *value)
{
    sh->offsets->sequence++;
    if (value == NULL) {
        replay_tombstone(sh, key);
        return;
    }
    struct group *g = group_find(sh, key->group);
    if (g == NULL) {
        g = group_add_classic(sh, key->group);
    }
    struct offset_entry *oe = offsets_entry_make(sh, g, key->topic, key->partition);
    const struct committed_offset at = {
        .offset = value->offset,
        .commit_timestamp = value->commit_timestamp,
        .expire_timestamp = value->expire_timestamp,
        .metadata = value->metadata,
        .topic_id = value->topic_id,
        .leader_epoch = value->leader_epoch,
    };
    if (producer_id < 0) {
        offsets_put(sh, oe, &at, sh->offsets->sequence);
    } else {
        offsets_add_pending(sh, oe, producer_id, &at);
    }
}

void offsets_forget(struct shard *sh, struct group *g)
{
    if (g->offsets == NULL) {
        return;
    }
    hmap_foreach (node, &g->offsets->entries) {
        struct offset_entry *oe = container_of(node, struct offset_entry, node);
        offsets_drop_pending(sh, oe);
        offsets_entry_free(sh, oe);
    }
}
