/* The topics of sim_groups, and how a shard sees them. */
#include "base/base.h"

#include "group_host.h"
#include "group_world.h"

static void fill(const struct world *w, int i, struct shard_topic *ret)
{
    const struct topic *t = &w->topics[i];
    *ret = (struct shard_topic){
        .name = str_from(t->name),
        .id = t->id,
        .partitions_count = t->partitions,
        .handle = t,
    };
}

int topics_find(const struct world *w, struct str name)
{
    for (int i = 0; i < w->topics_count; i++) {
        if (w->topics[i].exists && str_is(name, w->topics[i].name)) {
            return i;
        }
    }
    return -1;
}

int topics_find_id(const struct world *w, const struct uuid *id)
{
    for (int i = 0; i < w->topics_count; i++) {
        if (w->topics[i].exists && uuid_equal(&w->topics[i].id, id)) {
            return i;
        }
    }
    return -1;
}

static bool by_name(void *ctx, struct str name, struct shard_topic *ret)
{
    const struct world *w = ctx;
    int i = topics_find(w, name);
    if (i >= 0) {
        fill(w, i, ret);
    }
    return i >= 0;
}

static bool by_id(void *ctx, const struct uuid *id, struct shard_topic *ret)
{
    const struct world *w = ctx;
    int i = topics_find_id(w, id);
    if (i >= 0) {
        fill(w, i, ret);
    }
    return i >= 0;
}

static void
each(void *ctx, bool (*visit)(void *visit_ctx, const struct shard_topic *t), void *visit_ctx)
{
    const struct world *w = ctx;
    for (int i = 0; i < w->topics_count; i++) {
        struct shard_topic t;
        fill(w, i, &t);
        if (w->topics[i].exists && !visit(visit_ctx, &t)) {
            return;
        }
    }
}

static size_t
racks(void *ctx, const struct shard_topic *st, int32_t partition, struct str *ret, size_t max)
{
    (void)ctx;
    static const char *const names[] = {"rack-a", "rack-b", "rack-c"};
    const struct topic *t = st->handle;
    if (!t->has_racks) {
        return 0;
    }
    size_t count = min_size(max, 2);
    for (size_t i = 0; i < count; i++) {
        ret[i] = str_from(names[((size_t)partition + i) % ARRAY_LEN(names)]);
    }
    return count;
}

static void make(struct world *w, int i)
{
    struct topic *t = &w->topics[i];
    t->exists = true;
    t->incarnation = ++w->incarnations;
    t->partitions = (int32_t)sim_rng_between(&w->rng, 1, PARTITIONS_MAX);
    t->has_racks = sim_rng_chance(&w->rng, 300);
    store_be64(t->id.bytes, sim_rng_next(&w->rng));
    store_be64(t->id.bytes + 8, sim_rng_next(&w->rng) | 1);
}

void topics_init(struct world *w)
{
    w->topics_count = 1 + (int)sim_rng_below(&w->rng, TOPICS_MAX);
    for (int i = 0; i < w->topics_count; i++) {
        snprintf(w->topics[i].name, sizeof(w->topics[i].name), "t%d%c", i, i % 2 == 0 ? 'a' : 'b');
        if (i == 0 || sim_rng_chance(&w->rng, 800)) {
            make(w, i);
        }
    }
    w->topics_version = 1;
    w->table = (struct shard_topics){
        .by_name = by_name,
        .by_id = by_id,
        .each = each,
        .racks = racks,
        .ctx = w,
        .version = w->topics_version,
    };
}

void topics_change_some(struct world *w)
{
    int i = (int)sim_rng_below(&w->rng, (uint64_t)w->topics_count);
    struct topic *t = &w->topics[i];
    w->table.version = ++w->topics_version;
    if (!t->exists) {
        make(w, i);
        sim_note(w->s, "topic %s made with %d partitions", t->name, (int)t->partitions);
        sim_happened(w->s, "topic made");
        group_host_topic_changed(w->host, TOPIC_CREATED, i);
    } else if (t->partitions < PARTITIONS_MAX && sim_rng_chance(&w->rng, 600)) {
        t->partitions = (int32_t)sim_rng_between(&w->rng, t->partitions + 1, PARTITIONS_MAX);
        sim_note(w->s, "topic %s grows to %d partitions", t->name, (int)t->partitions);
        sim_happened(w->s, "topic grown");
        group_host_topic_changed(w->host, TOPIC_CHANGED, i);
    } else if (sim_rng_chance(&w->rng, 300)) {
        t->has_racks = !t->has_racks;
        sim_note(w->s, "topic %s has other racks", t->name);
        group_host_topic_changed(w->host, TOPIC_CHANGED, i);
    } else {
        t->exists = false;
        sim_note(w->s, "topic %s deleted", t->name);
        sim_happened(w->s, "topic deleted");
        check_topic_gone(w, i);
        group_host_topic_changed(w->host, TOPIC_DELETED, i);
    }
}

struct str group_name(const struct world *w, int group)
{
    static const char *const names[GROUPS_MAX] = {"g0", "g1", "g2", "g3", "g4", "g5"};
    (void)w;
    return str_from(names[group]);
}
