/*
 * What of a shard must survive a reload, as text: committed offsets of all groups, consumer groups
 * entirely, classic groups as far as their record goes. A classic group in the middle of a
 * rebalance has moved on from its record; one that is half-joined has none.
 */
#include "base/base.h"

#include "coord/assignor.h"
#include "coord/classic.h"
#include "coord/consumer.h"
#include "coord/group.h"
#include "coord/offsets.h"
#include "group_world.h"

struct dump {
    struct arena *arena;
    char *ptr;
    size_t len;
    size_t cap;
};

static void printf_like(2, 3) say(struct dump *d, const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    check(n >= 0);
    size_t len = min_size((size_t)n, sizeof(text) - 1);
    if (len > d->cap - d->len) {
        size_t cap = max_size(d->cap * 2, d->len + len + 4096);
        char *grown = arena_alloc(d->arena, cap);
        if (d->len > 0) {
            memcpy(grown, d->ptr, d->len);
        }
        d->ptr = grown;
        d->cap = cap;
    }
    memcpy(d->ptr + d->len, text, len);
    d->len += len;
}

static void say_str(struct dump *d, const char *name, struct str s)
{
    if (str_is_null(s)) {
        say(d, " %s=null", name);
    } else {
        say(d, " %s='" STR_FMT "'", name, STR_ARG(s));
    }
}

static void say_assignment(struct dump *d, const char *name, const struct assignment *a)
{
    say(d, " %s=", name);
    for (int32_t i = 0; i < a->count; i++) {
        char text[UUID_TEXT_SIZE];
        uuid_print(&a->topics[i].id, text);
        say(d, "%.6s:", text);
        for (int32_t p = 0; p < a->topics[i].count; p++) {
            say(d, "%" PRId32 ",", a->topics[i].partitions[p]);
        }
    }
}

static uint64_t hash_view(struct view v)
{
    return hash_bytes(v.ptr, v.len, 7);
}

static void say_protocols(struct dump *d, const struct classic_protocol *protocols, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        say_str(d, "protocol", protocols[i].name);
        say(d, ":%016" PRIx64, hash_view(protocols[i].metadata));
    }
}

/* ---- members by id ---- */

static int compare_consumer(const void *a, const void *b)
{
    const struct consumer_member *const *x = a;
    const struct consumer_member *const *y = b;
    return str_compare((*x)->id, (*y)->id);
}

static void say_consumer(struct dump *d, const struct consumer *cg)
{
    say(d, " epoch=%d target=%d hash=%" PRId64 " members=%zu classic=%zu\n", (int)cg->epoch,
        (int)cg->target_epoch, cg->metadata_hash, cg->members_count, cg->classic_members_count);
    const struct consumer_member **all =
        arena_alloc(d->arena, cg->members.count * sizeof(const struct consumer_member *));
    size_t count = 0;
    hmap_foreach (node, &cg->members) {
        all[count++] = container_of(node, struct consumer_member, node);
    }
    if (count > 1) {
        qsort(all, count, sizeof(*all), compare_consumer);
    }
    for (size_t i = 0; i < count; i++) {
        const struct consumer_member *m = all[i];
        say(d, " ");
        say_str(d, "member", m->id);
        say_str(d, "instance", m->instance_id);
        say_str(d, "rack", m->rack_id);
        say_str(d, "client", m->client_id);
        say_str(d, "host", m->client_host);
        for (size_t t = 0; t < m->topics_count; t++) {
            say_str(d, "topic", m->topics[t]);
        }
        say_str(d, "regex", m->regex);
        say_str(d, "assignor", m->server_assignor);
        say(d, " timeout=%d epoch=%d previous=%d state=%d", (int)m->rebalance_timeout_ms,
            (int)m->epoch, (int)m->previous_epoch, (int)m->state);
        say_assignment(d, "holds", &m->assigned);
        say_assignment(d, "revokes", &m->pending_revocation);
        say_assignment(d, "target", &m->target);
        if (m->classic != NULL) {
            say(d, " session=%d", (int)m->classic->session_timeout_ms);
            say_protocols(d, m->classic->protocols, m->classic->protocols_count);
        }
        say(d, "\n");
    }
}

static int compare_classic(const void *a, const void *b)
{
    const struct classic_member *const *x = a;
    const struct classic_member *const *y = b;
    return str_compare((*x)->id, (*y)->id);
}

static void say_classic(struct dump *d, const struct classic *cl)
{
    say(d, " generation=%d", (int)cl->generation);
    say_str(d, "type", str_is_null(cl->protocol_type) ? STR("") : cl->protocol_type);
    say_str(d, "protocol", cl->protocol_name);
    say_str(d, "leader", cl->leader);
    say(d, "\n");
    const struct classic_member **all =
        arena_alloc(d->arena, cl->members.count * sizeof(const struct classic_member *));
    size_t count = 0;
    hmap_foreach (node, &cl->members) {
        all[count++] = container_of(node, struct classic_member, node);
    }
    if (count > 1) {
        qsort(all, count, sizeof(*all), compare_classic);
    }
    for (size_t i = 0; i < count; i++) {
        say(d, " ");
        say_str(d, "member", all[i]->id);
        say_str(d, "instance", all[i]->instance_id);
        say(d, " session=%d timeout=%d assignment=%zu:%016" PRIx64 "\n",
            (int)all[i]->session_timeout_ms, (int)all[i]->rebalance_timeout_ms,
            all[i]->assignment.len, hash_view(all[i]->assignment));
    }
}

static void say_offsets(struct dump *d, struct shard *sh, const struct group *g)
{
    struct offset_fetch_request_offset_fetch_request_group asked =
        offset_fetch_request_offset_fetch_request_group_default;
    asked.group_id = g->id;
    asked.topics.count = -1;
    struct offset_fetch_response_offset_fetch_response_group answer =
        offset_fetch_response_offset_fetch_response_group_default;
    for (int t = 0; t < TOPICS_MAX; t++) {
        for (int32_t p = 0; p < PARTITIONS_MAX; p++) {
            char name[16];
            snprintf(name, sizeof(name), "t%d%c", t, t % 2 == 0 ? 'a' : 'b');
            const struct committed_offset *co = offsets_find(sh, g, str_from(name), p);
            if (co == NULL) {
                continue;
            }
            say(d, "  offset %s-%d %" PRId64 " at %" PRId64 " expires %" PRId64 " epoch %d", name,
                (int)p, co->offset, co->commit_timestamp, co->expire_timestamp,
                (int)co->leader_epoch);
            say_str(d, "metadata", co->metadata);
            say(d, "\n");
        }
    }
    offsets_fetch(sh, &asked, false, d->arena, &answer);
    say(d, "  fetched topics=%d error=%d\n", (int)answer.topics.count, (int)answer.error_code);
}

static int compare_groups(const void *a, const void *b)
{
    const struct group *const *x = a;
    const struct group *const *y = b;
    return str_compare((*x)->id, (*y)->id);
}

/* Is what its record says all that there is to be said? */
static bool is_settled(const struct group *g)
{
    return g == NULL || g->kind != GROUP_CLASSIC || g->classic->state == CLASSIC_STABLE ||
           g->classic->state == CLASSIC_EMPTY;
}

static bool is_told(const struct group *g, struct shard *other)
{
    if (g->kind == GROUP_CONSUMER || !offsets_are_empty(g)) {
        return true;
    }
    /* Joins that came to nothing leave a group without a record. */
    return g->classic->generation > 0 || group_find(other, g->id) != NULL;
}

struct str dump_shard(struct shard *sh, struct shard *other, struct arena *arena)
{
    struct dump d = {.arena = arena};
    const struct group **all = arena_alloc(arena, sh->groups.count * sizeof(const struct group *));
    size_t count = 0;
    hmap_foreach (node, &sh->groups) {
        all[count++] = container_of(node, struct group, node);
    }
    if (count > 1) {
        qsort(all, count, sizeof(*all), compare_groups);
    }
    for (size_t i = 0; i < count; i++) {
        const struct group *g = all[i];
        if (!is_told(g, other)) {
            continue;
        }
        if (!is_settled(g) || !is_settled(group_find(other, g->id))) {
            say(&d, "group " STR_FMT " rebalances\n", STR_ARG(g->id));
        } else if (g->kind == GROUP_CONSUMER) {
            say(&d, "group " STR_FMT " consumer", STR_ARG(g->id));
            say_consumer(&d, g->consumer);
        } else {
            say(&d, "group " STR_FMT " classic", STR_ARG(g->id));
            say_classic(&d, g->classic);
        }
        say_offsets(&d, sh, g);
    }
    return str_of(d.ptr, d.len);
}
