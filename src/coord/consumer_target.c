/*
 * The target of a consumer group: who shall hold what, computed by the assignor that most members
 * name, from the topics as they are at that moment and the target before.
 *
 * It is computed when the group's epoch is ahead of the target's, by the first heartbeat that finds
 * the assignment interval over since the last one; heartbeats before that go by the old target.
 * Thousands of members that join at once cost so many joins and a few targets. A group that has
 * been left by all its members forgets the time, so that the next one waits for nothing.
 *
 * Only targets that have changed are written, then the epoch and the time.
 * Kafka: TargetAssignmentBuilder, GroupMetadataManager.maybeUpdateTargetAssignment; KIP-848.
 */
#include "coord/consumer_private.h"

#include "base/base.h"
#include "coord/assignor.h"

#define RACKS_MAX 8 /* of a partition's replicas that count for an assignor */

struct target_topic {
    struct str name;
    struct shard_topic at;
};

struct target_job {
    struct shard *sh;
    struct consumer *cg;
    struct arena *arena;
    struct target_topic *topics; /* those that exist, by name */
    size_t topics_count;
    struct assignor_spec spec;
    struct consumer_member **members; /* by id */
};

static bool is_due(const struct shard *sh, const struct group *g)
{
    int64_t last = g->consumer->details->target_timestamp;
    struct group_settings settings;
    sh->config->settings(sh->config->settings_ctx, g->id, &settings);
    return last == 0 || settings.assignment_interval_ms == 0 ||
           sh->wall_ms >= last + settings.assignment_interval_ms ||
           sh->wall_ms < last; /* the clock was set back: do not wait for it */
}

static int compare_by_name(const void *a, const void *b)
{
    const struct target_topic *x = a;
    const struct target_topic *y = b;
    return str_compare(x->name, y->name);
}

static int compare_by_id(const void *a, const void *b)
{
    const struct assignor_topic *x = a;
    const struct assignor_topic *y = b;
    return memcmp(x->id.bytes, y->id.bytes, sizeof(x->id.bytes));
}

static const struct str *read_racks(struct target_job *tj, const struct shard_topic *t)
{
    size_t partitions = to_size(t->partitions_count);
    struct str *racks = NULL;
    struct str some[RACKS_MAX];
    for (size_t p = 0; p < partitions; p++) {
        size_t count = tj->sh->topics->racks(tj->sh->topics->ctx, t, (int32_t)p, some, RACKS_MAX);
        if (count == 0) {
            continue;
        }
        if (racks == NULL) {
            racks = arena_alloc(tj->arena, partitions * RACKS_MAX * sizeof(*racks));
        }
        memcpy(&racks[p * RACKS_MAX], some, count * sizeof(*some));
    }
    return racks;
}

/* Topics that somebody is subscribed to and that exist. Racks are read when members have some. */
static void collect_topics(struct target_job *tj)
{
    bool has_racks = false;
    hmap_foreach (node, &tj->cg->members) {
        has_racks |= !str_is_null(container_of(node, struct consumer_member, node)->rack_id);
    }
    const struct hmap *map = &tj->cg->details->topics;
    tj->topics = arena_alloc(tj->arena, (map->count + 1) * sizeof(*tj->topics));
    hmap_foreach (node, map) {
        struct target_topic *tt = &tj->topics[tj->topics_count];
        tt->name = container_of(node, struct subscribed_topic, node)->name;
        if (tj->sh->topics->by_name(tj->sh->topics->ctx, tt->name, &tt->at)) {
            tj->topics_count++;
        }
    }
    qsort(tj->topics, tj->topics_count, sizeof(*tj->topics), compare_by_name);
    struct assignor_topic *topics =
        arena_alloc(tj->arena, (tj->topics_count + 1) * sizeof(*topics));
    for (size_t i = 0; i < tj->topics_count; i++) {
        topics[i].id = tj->topics[i].at.id;
        topics[i].partitions_count = tj->topics[i].at.partitions_count;
        topics[i].racks_max = RACKS_MAX;
        topics[i].racks = has_racks ? read_racks(tj, &tj->topics[i].at) : NULL;
    }
    qsort(topics, tj->topics_count, sizeof(*topics), compare_by_id);
    tj->spec.topics = topics;
    tj->spec.topics_count = to_i32(to_i64(tj->topics_count));
}

static int compare_i32(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a;
    int32_t y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

/* Place of a subscribed name in the spec; -1: there is no such topic. */
static int32_t place_of(const struct target_job *tj, struct str name)
{
    struct target_topic wanted = {.name = name};
    const struct target_topic *tt =
        tj->topics_count == 0
            ? NULL
            : bsearch(&wanted, tj->topics, tj->topics_count, sizeof(*tj->topics), compare_by_name);
    if (tt == NULL) {
        return -1;
    }
    struct assignor_topic key = {.id = tt->at.id};
    const struct assignor_topic *at =
        bsearch(&key, tj->spec.topics, tj->topics_count, sizeof(*tj->spec.topics), compare_by_id);
    return (int32_t)(at - tj->spec.topics);
}

static void add_places(const struct target_job *tj,
                       const struct str *names,
                       size_t names_count,
                       int32_t *places,
                       int32_t *count)
{
    for (size_t i = 0; i < names_count; i++) {
        int32_t place = place_of(tj, names[i]);
        if (place >= 0) {
            places[(*count)++] = place;
        }
    }
}

static void
subscribe_member(struct target_job *tj, const struct consumer_member *m, struct assignor_member *am)
{
    const struct subscribed_regex *sr =
        regex_is_set(m->regex) ? consumer_regex_find(tj->cg, m->regex) : NULL;
    size_t most = m->topics_count + (sr == NULL ? 0 : sr->topics_count);
    int32_t *places = arena_alloc(tj->arena, (most + 1) * sizeof(*places));
    int32_t count = 0;
    add_places(tj, m->topics, m->topics_count, places, &count);
    if (sr != NULL) {
        add_places(tj, sr->topics, sr->topics_count, places, &count);
    }
    qsort(places, to_size(count), sizeof(*places), compare_i32);
    int32_t kept = 0;
    for (int32_t i = 0; i < count; i++) {
        if (kept == 0 || places[kept - 1] != places[i]) {
            places[kept++] = places[i];
        }
    }
    am->topics = places;
    am->topics_count = kept;
}

static void collect_members(struct target_job *tj)
{
    size_t count = tj->cg->members_count;
    tj->members = consumer_members_sorted(tj->cg, tj->arena);
    struct assignor_member *members = arena_alloc(tj->arena, (count + 1) * sizeof(*members));
    for (size_t i = 0; i < count; i++) {
        struct consumer_member *m = tj->members[i];
        members[i].id = m->id;
        members[i].instance_id = m->instance_id;
        members[i].rack_id = m->rack_id;
        members[i].current = &m->target;
        if (i > 0 && tj->spec.is_homogeneous) {
            members[i].topics = members[0].topics;
            members[i].topics_count = members[0].topics_count;
        } else {
            subscribe_member(tj, m, &members[i]);
        }
    }
    tj->spec.members = members;
    tj->spec.members_count = to_i32(to_i64(count));
}

void consumer_update_target(struct shard *sh, struct group *g)
{
    struct consumer *cg = g->consumer;
    if (cg->target_epoch >= cg->epoch || !is_due(sh, g)) {
        return;
    }
    struct arena arena = {0};
    struct target_job tj = {.sh = sh, .cg = cg, .arena = &arena};
    tj.spec.is_homogeneous = consumer_is_homogeneous(cg);
    collect_topics(&tj);
    collect_members(&tj);
    assignor_fn *assign = assignor_find(consumer_preferred_assignor(cg));
    if (assign == NULL) { /* named by a record of a broker that had it */
        assign = assignor_uniform;
    }
    size_t count = cg->members_count;
    struct assignment *targets = arena_alloc(&arena, (count + 1) * sizeof(*targets));
    assign(&tj.spec, &arena, targets);
    for (size_t i = 0; i < count; i++) {
        struct consumer_member *m = tj.members[i];
        if (!m->has_target || !assignment_equal(&m->target, &targets[i])) {
            consumer_emit_target(sh, g, m->id, &targets[i]);
        }
    }
    consumer_emit_target_metadata(sh, g, cg->epoch, sh->wall_ms);
    story_step(sh, g, STORY_STEP_ASSIGNED, cg->epoch);
    arena_release(&arena);
}
