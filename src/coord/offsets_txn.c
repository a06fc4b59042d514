/*
 * Offsets that a transaction has written. They wait beside the committed ones until the marker of
 * their producer comes: a commit puts them into place (unless a later record has been there), an
 * abort drops them. Meanwhile a fetch that asks for stable offsets is told UNSTABLE_OFFSET_COMMIT,
 * and nothing expires there.
 *
 * Kafka: OffsetMetadataManager.replay, replayEndTransactionMarker, OpenTransactions; KIP-98, 447.
 */
#include "coord/offsets.h"

#include "base/base.h"
#include "base/mem.h"
#include "coord/offsets_private.h"

static struct offset_txn *txn_find(const struct offsets *os, int64_t producer_id)
{
    struct hmap_node *node = hmap_first(&os->txns, hash_u64((uint64_t)producer_id, os->txns.seed));
    while (node != NULL &&
           container_of(node, struct offset_txn, node)->producer_id != producer_id) {
        node = hmap_next(node);
    }
    return node == NULL ? NULL : container_of(node, struct offset_txn, node);
}

static struct offset_txn *txn_make(struct offsets *os, int64_t producer_id)
{
    struct offset_txn *txn = txn_find(os, producer_id);
    if (txn == NULL) {
        txn = mem_zalloc(sizeof(*txn));
        txn->producer_id = producer_id;
        list_init(&txn->pending);
        hmap_insert(&os->txns, &txn->node, hash_u64((uint64_t)producer_id, os->txns.seed));
    }
    return txn;
}

/* Out of its entry and its transaction, which goes with the last one. */
static void pending_free(struct shard *sh, struct pending_offset *po)
{
    struct pending_offset **at = &po->entry->pending;
    while (*at != po) {
        at = &(*at)->next;
    }
    *at = po->next;
    po->entry->owner->pending_count--;
    list_remove(&po->of_txn);
    po->txn->pending_count--;
    if (list_is_empty(&po->txn->pending)) {
        hmap_remove(&sh->offsets->txns, &po->txn->node);
        mem_free(po->txn);
    }
    shard_give(sh, po->charged);
    offsets_text_free(po->at.metadata);
    mem_free(po);
}

void offsets_drop_pending(struct shard *sh, struct offset_entry *oe)
{
    while (oe->pending != NULL) {
        pending_free(sh, oe->pending);
    }
}

void offsets_add_pending(struct shard *sh,
                         struct offset_entry *oe,
                         int64_t producer_id,
                         const struct committed_offset *at)
{
    for (struct pending_offset *po = oe->pending; po != NULL; po = po->next) {
        if (po->txn->producer_id == producer_id) { /* a later one takes its place */
            pending_free(sh, po);
            break;
        }
    }
    struct pending_offset *po = mem_zalloc(sizeof(*po));
    int64_t cost = to_i64(sizeof(*po)) + to_i64(at->metadata.len);
    po->charged = shard_charge(sh, cost) ? cost : 0;
    po->at = *at;
    po->at.metadata = offsets_text_copy(at->metadata);
    po->sequence = sh->offsets->sequence;
    po->entry = oe;
    po->txn = txn_make(sh->offsets, producer_id);
    list_push_back(&po->txn->pending, &po->of_txn);
    po->txn->pending_count++;
    po->next = oe->pending;
    oe->pending = po;
    oe->owner->pending_count++;
}

void offsets_replay_end_txn(struct shard *sh, int64_t producer_id, bool is_commit)
{
    struct offset_txn *txn = txn_find(sh->offsets, producer_id);
    for (size_t left = txn == NULL ? 0 : txn->pending_count; left > 0; left--) {
        struct pending_offset *po = list_entry(txn->pending.next, struct pending_offset, of_txn);
        struct offset_entry *oe = po->entry;
        if (is_commit && (!oe->is_committed || po->sequence > oe->sequence)) {
            offsets_put(sh, oe, &po->at, po->sequence);
        }
        pending_free(sh, po); /* the transaction goes with its last one */
        offsets_entry_tidy(sh, oe);
    }
}
