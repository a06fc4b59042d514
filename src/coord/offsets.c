/*
 * The store of committed offsets: entries by group, topic and partition.
 *
 *     shard.offsets   topics by name, each with the entries of all groups
 *                     transactions by producer id, each with what is pending of it
 *     group.offsets   entries by topic and partition: the committed offset, what is pending there
 *
 * A commit finds the topic's name and then the entry, and changes numbers: no memory is taken
 * unless the metadata is another one.
 *
 * Checks of a commit, in Kafka's order (OffsetMetadataManager.validateOffsetCommit, commitOffset):
 *     the handler's    group may be read, topic may be read, topic and partition exist
 *     no such group    generation < 0: it is made, a simple one, even if nothing is stored then;
 *                      else GROUP_ID_NOT_FOUND (9+), ILLEGAL_GENERATION (2-8)
 *     the group's      group_check_commit: member, instance, generation or epoch, state
 *     per partition    metadata too long: OFFSET_METADATA_TOO_LARGE, the others are stored
 *
 * Records have no offsets here, but they have an order: a transaction's offset becomes the
 * committed one only when no later record has written the same place (`sequence`; Kafka compares
 * record offsets).
 */
#include "coord/offsets.h"

#include "base/base.h"
#include "base/mem.h"
#include "coord/offsets_private.h"

#define ALLOCATION_EXTRA 16 /* what the allocator adds */
#define BUCKET_EXTRA     16 /* an entry's share of the map */

static struct offset_topic *topic_of(struct hmap_node *node)
{
    return container_of(node, struct offset_topic, node);
}

static struct offset_entry *entry_of(struct hmap_node *node)
{
    return container_of(node, struct offset_entry, node);
}

int64_t offsets_topic_cost(struct str name)
{
    return to_i64(sizeof(struct offset_topic) + name.len + ALLOCATION_EXTRA);
}

int64_t offsets_entry_cost(struct str metadata)
{
    int64_t text = metadata.len == 0 ? 0 : to_i64(metadata.len + ALLOCATION_EXTRA);
    return to_i64(sizeof(struct offset_entry)) + ALLOCATION_EXTRA + BUCKET_EXTRA + text;
}

int64_t offsets_group_cost(void)
{
    /* The struct and the least map. */
    return to_i64(sizeof(struct group_offsets) + 8 * sizeof(void *)) + 2 * ALLOCATION_EXTRA;
}

struct str offsets_text_copy(struct str text)
{
    return text.len == 0 ? STR("") : str_of(mem_strndup(text.ptr, text.len), text.len);
}

void offsets_text_free(struct str text)
{
    if (text.len > 0) {
        mem_free((void *)(uintptr_t)text.ptr);
    }
}

struct offset_topic *offsets_topic_find(const struct offsets *os, struct str name)
{
    struct hmap_node *node = hmap_first(&os->topics, hash_str(name, os->topics.seed));
    while (node != NULL && !str_equal(topic_of(node)->name, name)) {
        node = hmap_next(node);
    }
    return node == NULL ? NULL : topic_of(node);
}

static struct offset_topic *topic_make(struct offsets *os, struct str name)
{
    struct offset_topic *ot = offsets_topic_find(os, name);
    if (ot != NULL) {
        return ot;
    }
    ot = mem_alloc(sizeof(*ot) + name.len);
    char *text = (char *)(ot + 1);
    if (name.len > 0) {
        memcpy(text, name.ptr, name.len);
    }
    *ot = (struct offset_topic){.name = str_of(text, name.len)};
    list_init(&ot->entries);
    int64_t cost = offsets_topic_cost(name);
    ot->charged = shard_charge(os->sh, cost) ? cost : 0;
    hmap_insert(&os->topics, &ot->node, hash_str(ot->name, os->topics.seed));
    return ot;
}

static uint64_t
entry_hash(const struct group_offsets *go, const struct offset_topic *ot, int32_t partition)
{
    return hash_u64(ot->node.hash + (uint32_t)partition, go->entries.seed);
}

struct offset_entry *
offsets_entry_find(const struct group_offsets *go, const struct offset_topic *ot, int32_t partition)
{
    if (go == NULL || ot == NULL) {
        return NULL;
    }
    struct hmap_node *node = hmap_first(&go->entries, entry_hash(go, ot, partition));
    while (node != NULL &&
           (entry_of(node)->topic != ot || entry_of(node)->partition != partition)) {
        node = hmap_next(node);
    }
    return node == NULL ? NULL : entry_of(node);
}

struct offset_entry *
offsets_entry_make(struct shard *sh, struct group *g, struct str topic, int32_t partition)
{
    struct offset_topic *ot = topic_make(sh->offsets, topic);
    struct offset_entry *oe = offsets_entry_find(g->offsets, ot, partition);
    if (oe != NULL) {
        return oe;
    }
    if (g->offsets == NULL) {
        g->offsets = mem_zalloc(sizeof(*g->offsets));
        g->offsets->group = g;
        g->offsets->charged = shard_charge(sh, offsets_group_cost()) ? offsets_group_cost() : 0;
        hmap_init(&g->offsets->entries, sh->groups.seed);
    }
    oe = mem_zalloc(sizeof(*oe));
    oe->topic = ot;
    oe->owner = g->offsets;
    oe->partition = partition;
    oe->at.metadata = STR("");
    list_push_back(&ot->entries, &oe->of_topic);
    ot->entries_count++;
    hmap_insert(&g->offsets->entries, &oe->node, entry_hash(g->offsets, ot, partition));
    return oe;
}

/* Counts the entry's memory as it is now. */
static void entry_charge(struct shard *sh, struct offset_entry *oe)
{
    int64_t now = offsets_entry_cost(oe->at.metadata);
    if (now < oe->charged) {
        shard_give(sh, oe->charged - now);
        oe->charged = to_i32(now);
    } else if (now > oe->charged && shard_charge(sh, now - oe->charged)) {
        oe->charged = to_i32(now);
    }
}

void offsets_entry_free(struct shard *sh, struct offset_entry *oe)
{
    struct offset_topic *ot = oe->topic;
    struct group_offsets *go = oe->owner;
    check(oe->pending == NULL);
    if (oe->is_committed) {
        go->committed_count--;
    }
    hmap_remove(&go->entries, &oe->node);
    list_remove(&oe->of_topic);
    ot->entries_count--;
    shard_give(sh, oe->charged);
    offsets_text_free(oe->at.metadata);
    mem_free(oe);
    if (list_is_empty(&ot->entries)) {
        hmap_remove(&sh->offsets->topics, &ot->node);
        shard_give(sh, ot->charged);
        mem_free(ot);
    }
    if (go->entries.count == 0) {
        go->group->offsets = NULL;
        shard_give(sh, go->charged);
        hmap_release(&go->entries);
        mem_free(go);
    }
}

void offsets_put(struct shard *sh,
                 struct offset_entry *oe,
                 const struct committed_offset *at,
                 int64_t sequence)
{
    struct str text = oe->at.metadata;
    if (!str_equal(text, at->metadata)) {
        offsets_text_free(text);
        text = offsets_text_copy(at->metadata);
    }
    oe->at = *at;
    oe->at.metadata = text;
    oe->sequence = sequence;
    if (!oe->is_committed) {
        oe->is_committed = true;
        oe->owner->committed_count++;
    }
    entry_charge(sh, oe);
}

void offsets_entry_tidy(struct shard *sh, struct offset_entry *oe)
{
    if (!oe->is_committed && oe->pending == NULL) {
        offsets_entry_free(sh, oe);
    }
}

struct offsets *offsets_free(struct offsets *os)
{
    if (os == NULL) {
        return NULL;
    }
    check(os->topics.count == 0 && os->txns.count == 0);
    timers_disarm(&os->sh->timers, &os->expiry);
    hmap_release(&os->topics);
    hmap_release(&os->txns);
    mem_free(os);
    return NULL;
}

/* ---- tombstones ---- */

void offsets_emit_tombstone(struct shard *sh, struct group *g, struct offset_entry *oe)
{
    struct offset_commit_key key = {
        .group = g->id, .topic = oe->topic->name, .partition = oe->partition};
    shard_emit(sh, &offset_commit_key_msg, &key, &offset_commit_value_msg, 0, NULL);
}

void offsets_emit_group_tombstones(struct shard *sh, struct group *g)
{
    if (g->offsets == NULL) {
        return;
    }
    hmap_foreach (node, &g->offsets->entries) {
        offsets_emit_tombstone(sh, g, entry_of(node));
    }
}

void offsets_topic_deleted(struct shard *sh, const struct shard_topic *t)
{
    struct offset_topic *ot = offsets_topic_find(sh->offsets, t->name);
    if (ot == NULL) {
        return;
    }
    /* The topic goes with its last entry: the next one is known before this one goes. */
    struct list *next = ot->entries.next;
    for (size_t left = ot->entries_count; left > 0; left--) {
        struct offset_entry *oe = list_entry(next, struct offset_entry, of_topic);
        next = next->next;
        bool is_of_it = oe->is_committed &&
                        (uuid_is_zero(&oe->at.topic_id) || uuid_equal(&oe->at.topic_id, &t->id));
        for (const struct pending_offset *po = oe->pending; po != NULL; po = po->next) {
            is_of_it =
                is_of_it || uuid_is_zero(&po->at.topic_id) || uuid_equal(&po->at.topic_id, &t->id);
        }
        if (is_of_it) {
            offsets_emit_tombstone(sh, oe->owner->group, oe);
        }
    }
}

/* ---- questions ---- */

bool offsets_are_empty(const struct group *g)
{
    return g->offsets == NULL;
}

bool offsets_have_pending(const struct group *g)
{
    return g->offsets != NULL && g->offsets->pending_count > 0;
}

const struct committed_offset *
offsets_find(const struct shard *sh, const struct group *g, struct str topic, int32_t partition)
{
    const struct offset_entry *oe =
        offsets_entry_find(g->offsets, offsets_topic_find(sh->offsets, topic), partition);
    return oe != NULL && oe->is_committed ? &oe->at : NULL;
}

void offsets_each(const struct group *g,
                  void (*visit)(void *ctx,
                                struct str topic,
                                int32_t partition,
                                const struct committed_offset *at),
                  void *ctx)
{
    if (g->offsets == NULL) {
        return;
    }
    hmap_foreach (node, &g->offsets->entries) {
        const struct offset_entry *oe = entry_of(node);
        if (oe->is_committed) {
            visit(ctx, oe->topic->name, oe->partition, &oe->at);
        }
    }
}

static void validate_group(const struct shard *sh, const struct group *g, size_t *entries)
{
    const struct group_offsets *go = g->offsets;
    if (go == NULL) {
        return;
    }
    size_t committed = 0;
    size_t pending = 0;
    check(go->group == g && go->entries.count > 0);
    hmap_foreach (node, &go->entries) {
        const struct offset_entry *oe = entry_of(node);
        check(oe->owner == go && list_is_linked(&oe->of_topic));
        check(oe->is_committed || oe->pending != NULL);
        check(!str_is_null(oe->at.metadata));
        check(oe->sequence <= sh->offsets->sequence);
        committed += oe->is_committed ? 1 : 0;
        for (const struct pending_offset *po = oe->pending; po != NULL; po = po->next) {
            check(po->entry == oe && list_is_linked(&po->of_txn));
            pending++;
        }
        (*entries)++;
    }
    check(committed == go->committed_count && pending == go->pending_count);
}

void offsets_validate(const struct shard *sh)
{
    size_t entries = 0;
    size_t of_topics = 0;
    hmap_foreach (node, &sh->groups) {
        validate_group(sh, container_of(node, struct group, node), &entries);
    }
    hmap_foreach (node, &sh->offsets->topics) {
        check(!list_is_empty(&topic_of(node)->entries));
        of_topics += topic_of(node)->entries_count;
    }
    check(entries == of_topics);
    hmap_foreach (node, &sh->offsets->txns) {
        const struct offset_txn *txn = container_of(node, struct offset_txn, node);
        check(!list_is_empty(&txn->pending) && txn->pending_count > 0);
    }
    check(sh->is_loading || sh->groups.count == 0 || timer_is_armed(&sh->offsets->expiry));
}
