/*
 * The newest image: the log's records and those that are decided and not yet in it. Every record
 * goes into it at the offset at which it will stand; see metadata_impl.h.
 */
#include "broker/metadata_impl.h"
#include "raft/raft_node.h"

int metadata_replay(struct metadata *md,
                    const struct view *records,
                    size_t count,
                    int64_t base_offset)
{
    if (count == 0) {
        return 0;
    }
    struct image_delta *d = image_delta_new(md->newest);
    for (size_t i = 0; i < count; i++) {
        int r = image_delta_replay(d, records[i]);
        if (r < 0) {
            image_delta_free(d);
            return r;
        }
    }
    struct image *next =
        image_delta_finish(d, base_offset + to_i64(count) - 1, raft_node_epoch(md->rn));
    image_unref(md->newest);
    md->newest = next;
    return 0;
}

int64_t metadata_next_offset(const struct metadata *md)
{
    return max_i64(raft_node_next_offset(md->rn), md->owed.end);
}

int metadata_owe(struct metadata *md, struct meta_records *records)
{
    int64_t base_offset = metadata_next_offset(md);
    int r = metadata_replay(md, records->items, records->count, base_offset);
    metadata_owed_add(&md->owed, records, base_offset, METADATA_BATCH_BYTES_MAX);
    meta_records_init(records, &md->owed.arena);
    return r;
}
