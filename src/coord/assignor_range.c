/*
 * Range: of every topic each of its subscribers gets one run of neighbouring partitions, the first
 * ones one more where they do not come out even. Members with the same subscriptions get the same
 * numbers of every topic that has the same number of partitions (co-partitioning).
 *
 * Static members come first, by instance id, so that they keep their runs when dynamic ones come
 * and go; then the others by member id. What a member had before plays no part: the order decides.
 *
 * Kafka: RangeAssignor. Racks play no part there either.
 */
#include "coord/assignor.h"

#include "base/base.h"
#include "base/mem.h"
#include "coord/assignor_owners.h"

struct ranked {
    struct str key; /* instance id, or member id */
    bool is_static;
    int32_t member;
};

static int compare_ranked(const void *a, const void *b)
{
    const struct ranked *x = a;
    const struct ranked *y = b;
    if (x->is_static != y->is_static) {
        return x->is_static ? -1 : 1;
    }
    int order = str_compare(x->key, y->key);
    return order != 0 ? order : (x->member > y->member) - (x->member < y->member);
}

static struct ranked *rank_members(const struct assignor_spec *spec, struct arena *arena)
{
    struct ranked *ranks = arena_alloc(arena, sizeof(*ranks) * to_size(spec->members_count));
    for (int32_t m = 0; m < spec->members_count; m++) {
        const struct assignor_member *am = &spec->members[m];
        bool is_static = !str_is_null(am->instance_id);
        ranks[m] = (struct ranked){
            .key = is_static ? am->instance_id : am->id,
            .is_static = is_static,
            .member = m,
        };
    }
    qsort(ranks, to_size(spec->members_count), sizeof(*ranks), compare_ranked);
    return ranks;
}

struct range_topic {
    int32_t subscribers;
    int32_t extras; /* that are left to hand out */
    int32_t next;   /* first partition of the next run */
};

void assignor_range(const struct assignor_spec *spec, struct arena *arena, struct assignment *ret)
{
    if (spec->members_count == 0) {
        return;
    }
    struct ranked *ranks = rank_members(spec, arena);
    struct range_topic *topics = arena_alloc(arena, sizeof(*topics) * to_size(spec->topics_count));
    for (int32_t m = 0; m < spec->members_count; m++) {
        for (int32_t i = 0; i < spec->members[m].topics_count; i++) {
            topics[spec->members[m].topics[i]].subscribers++;
        }
    }
    for (int32_t t = 0; t < spec->topics_count; t++) {
        struct range_topic *rt = &topics[t];
        rt->extras = rt->subscribers == 0 ? 0 : spec->topics[t].partitions_count % rt->subscribers;
    }
    struct assignor_owners owners;
    assignor_owners_init(&owners, spec, arena);
    for (int32_t r = 0; r < spec->members_count; r++) {
        const struct assignor_member *am = &spec->members[ranks[r].member];
        for (int32_t i = 0; i < am->topics_count; i++) {
            int32_t t = am->topics[i];
            struct range_topic *rt = &topics[t];
            int32_t count = spec->topics[t].partitions_count / rt->subscribers;
            if (rt->extras > 0) {
                rt->extras--;
                count++;
            }
            for (int32_t p = 0; p < count; p++) {
                owners.of[owners.first[t] + rt->next++] = ranks[r].member;
            }
        }
    }
    assignor_owners_build(&owners, arena, ret);
}
