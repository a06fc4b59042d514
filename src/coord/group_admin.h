/*
 * Groups as administrators see them (P): list, describe, delete. One group or one shard at a time;
 * the owner puts the parts of several shards together.
 *
 * Kafka: GroupCoordinatorShard.listGroups, describeGroups, deleteGroups; KIP-518 (states), 848
 * (types), 1043 (DescribeGroups 6).
 */
#ifndef COORD_GROUP_ADMIN_H
#define COORD_GROUP_ADMIN_H

#include "coord/group.h"
#include "coord/shard.h"

/* Appends those of this shard that pass the filters (which ignore case) to ret, in the arena. The
 * list is zeroed before the first shard; it remembers what the filters let pass. */
struct group_list {
    struct list_groups_response_listed_group *items;
    size_t count;
    size_t cap;
    bool has_filters;
    uint32_t states; /* bits of group_admin.c's tables */
    uint32_t types;
};
void group_list_add(const struct shard *sh,
                    const struct list_groups_request *filters,
                    struct arena *arena,
                    struct group_list *ret);

/* DescribeGroups 0-6, one group; authorized operations are the handler's. */
void group_describe(const struct shard *sh,
                    struct str group_id,
                    int16_t version,
                    struct arena *arena,
                    struct describe_groups_response_described_group *ret);

/* DeleteGroups, one group: tombstones of its offsets and of itself. */
enum kafka_error group_delete(struct shard *sh, struct str group_id);

#endif
