/*
 * Topics of a request, grouped; see topic_groups.h. A request of one topic, the common one, costs
 * no hashing.
 */
#include "broker/topic_groups.h"

#include "base/uuid.h"
#include "wire/msg.h"

struct group_node {
    struct hmap_node node;
    size_t group;
};

static const char *topic_at(const struct topic_source *source, size_t i)
{
    return (const char *)source->items + i * source->size;
}

static uint64_t key_hash(const struct topic_source *source, size_t i, uint64_t seed)
{
    const void *key = topic_at(source, i) + source->key_at;
    return source->is_by_id ? hash_bytes(key, sizeof(struct uuid), seed)
                            : hash_str(*(const struct str *)key, seed);
}

static bool same_key(const struct topic_source *source, size_t i, size_t j)
{
    const void *a = topic_at(source, i) + source->key_at;
    const void *b = topic_at(source, j) + source->key_at;
    return source->is_by_id ? memcmp(a, b, sizeof(struct uuid)) == 0
                            : str_equal(*(const struct str *)a, *(const struct str *)b);
}

static size_t find_group(const struct topic_groups *tg,
                         const struct topic_source *source,
                         const struct hmap *map,
                         uint64_t hash,
                         size_t i)
{
    for (struct hmap_node *n = hmap_first(map, hash); n != NULL; n = hmap_next(n)) {
        const struct group_node *gn = container_of(n, struct group_node, node);
        if (same_key(source, tg->first[gn->group], i)) {
            return gn->group;
        }
    }
    return SIZE_MAX;
}

void topic_groups_init(struct topic_groups *tg,
                       const struct topic_source *source,
                       struct arena *arena,
                       uint64_t seed)
{
    *tg = (struct topic_groups){.arena = arena};
    hmap_init(&tg->named, seed);
    tg->of = arena_alloc(arena, (source->count + 1) * sizeof(*tg->of));
    tg->first = arena_alloc(arena, (source->count + 1) * sizeof(*tg->first));
    tg->partitions = arena_alloc(arena, (source->count + 1) * sizeof(*tg->partitions));
    struct group_node *nodes = arena_alloc(arena, (source->count + 1) * sizeof(*nodes));
    struct hmap map;
    hmap_init(&map, seed);
    for (size_t i = 0; i < source->count; i++) {
        const struct any_array *partitions =
            (const void *)(topic_at(source, i) + source->partitions_at);
        if (partitions->count <= 0) {
            tg->of[i] = SIZE_MAX;
            continue;
        }
        uint64_t hash = source->count > 1 ? key_hash(source, i, seed) : 0;
        size_t group = find_group(tg, source, &map, hash, i);
        if (group == SIZE_MAX) {
            group = tg->count++;
            tg->first[group] = i;
            nodes[group].group = group;
            if (source->count > 1) {
                hmap_insert(&map, &nodes[group].node, hash);
            }
        }
        tg->of[i] = group;
        tg->partitions[group] += (size_t)partitions->count;
        tg->total += (size_t)partitions->count;
    }
    hmap_release(&map);
}

void topic_groups_release(struct topic_groups *tg)
{
    hmap_release(&tg->named);
}

struct named_partition *
topic_groups_partition(struct topic_groups *tg, size_t group, int32_t number)
{
    uint64_t hash = hash_u64((uint64_t)group << 32 | (uint32_t)number, tg->named.seed);
    for (struct hmap_node *n = hmap_first(&tg->named, hash); n != NULL; n = hmap_next(n)) {
        struct named_partition *np = container_of(n, struct named_partition, node);
        if (np->group == group && np->number == number) {
            return np;
        }
    }
    struct named_partition *np = arena_alloc(tg->arena, sizeof(*np));
    np->group = group;
    np->number = number;
    hmap_insert(&tg->named, &np->node, hash);
    return np;
}
