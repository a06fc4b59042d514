/*
 * Records owed to the metadata log; see metadata_owed.h. Their offsets are what makes a retry safe:
 * an earlier attempt may have put some batches into the log, and these lie below its end.
 */
#include "broker/metadata_owed.h"

#include "raft/raft_node.h"

void metadata_owed_release(struct owed *ow)
{
    arena_release(&ow->arena);
    mem_free(ow->batches);
    *ow = (struct owed){.batches = NULL};
}

void metadata_owed_add(struct owed *ow,
                       const struct meta_records *records,
                       int64_t base_offset,
                       size_t batch_bytes_max)
{
    size_t start = 0;
    while (start < records->count) {
        size_t count = 0;
        size_t bytes = 0;
        while (start + count < records->count && count < RAFT_NODE_RECORDS_MAX) {
            bytes += records->items[start + count].len;
            if (bytes > batch_bytes_max && count > 0) {
                break;
            }
            count++;
        }
        ow->batches = mem_grow(ow->batches, &ow->cap, ow->count + 1, sizeof(ow->batches[0]));
        ow->batches[ow->count++] = (struct owed_batch){
            .records = records->items + start,
            .count = count,
            .base_offset = base_offset + to_i64(start),
        };
        start += count;
        ow->end = base_offset + to_i64(start);
    }
}

int metadata_owed_append(const struct owed *ow, struct raft_node *rn)
{
    int r = 0;
    for (size_t i = 0; i < ow->count && r >= 0; i++) {
        const struct owed_batch *ob = &ow->batches[i];
        int64_t base_offset = raft_node_next_offset(rn);
        if (ob->base_offset >= base_offset) {
            check(ob->base_offset == base_offset);
            r = raft_node_append(rn, ob->records, ob->count, &base_offset);
        }
    }
    return r;
}
