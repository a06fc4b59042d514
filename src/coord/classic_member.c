/*
 * Members of a classic group: who is in it, what they support, who leads.
 *
 * Four maps: members by id, static members by instance id, half-joined members by id, protocol
 * names with the number of members that support them. A protocol can be chosen when all members
 * support it; of those each member votes for the first of its own list.
 *
 * Ties: Kafka counts votes in a java.util.HashMap and takes the first of the largest as the map's
 * iteration meets them, which for equal votes is the order of the hash buckets. We follow that
 * order, so that the same members elect the same protocol.
 *
 * Kafka: ClassicGroup, ClassicGroupMember.
 */
#include "coord/classic_private.h"

#include "base/base.h"

#include "wire/codec.h"
#include "wire/cursor.h"

enum {
    JAVA_MAP_BUCKETS = 16, /* java.util.HashMap: at first; doubled when 3/4 full */
    ALLOCATION_COST = 32,  /* what a piece of memory costs beside its bytes */
};

static const uint8_t no_bytes[1];

/* ---- texts and protocols ---- */

static struct str put_text(char **at, struct str s)
{
    if (str_is_null(s)) {
        return s;
    }
    struct str copy = str_of(*at, s.len);
    if (s.len > 0) {
        memcpy(*at, s.ptr, s.len);
    }
    *at += s.len;
    return copy;
}

int64_t classic_protocols_bytes(const struct classic_protocol *protocols, size_t count)
{
    int64_t bytes = 0;
    for (size_t i = 0; i < count; i++) {
        bytes += to_i64(sizeof(*protocols) + protocols[i].name.len + protocols[i].metadata.len);
    }
    return bytes;
}

struct classic_protocol *classic_protocols_copy(const struct classic_protocol *protocols,
                                                size_t count)
{
    if (count == 0) {
        return NULL;
    }
    struct classic_protocol *copy = mem_alloc(to_size(classic_protocols_bytes(protocols, count)));
    char *at = (char *)(copy + count);
    for (size_t i = 0; i < count; i++) {
        copy[i].name = put_text(&at, protocols[i].name);
        struct str metadata = put_text(
            &at, str_of((const char *)protocols[i].metadata.ptr, protocols[i].metadata.len));
        copy[i].metadata = (struct view){.ptr = no_bytes};
        if (metadata.len > 0) {
            copy[i].metadata.ptr = (const uint8_t *)metadata.ptr;
            copy[i].metadata.len = metadata.len;
        }
    }
    return copy;
}

int64_t classic_member_cost(const struct classic_member *like)
{
    int64_t texts = to_i64(like->id.len + like->instance_id.len + like->client_id.len +
                           like->client_host.len + like->protocol_type.len);
    int64_t cost = to_i64(sizeof(*like)) + 4 * ALLOCATION_COST + texts;
    cost += classic_protocols_bytes(like->protocols, like->protocols_count);
    for (size_t i = 0; i < like->protocols_count; i++) {
        cost += to_i64(sizeof(struct classic_vote) + like->protocols[i].name.len);
    }
    return cost + to_i64(like->assignment.len);
}

static void copy_texts(struct classic_member *m, const struct classic_member *like)
{
    size_t bytes = like->id.len + like->instance_id.len + like->client_id.len +
                   like->client_host.len + like->protocol_type.len;
    char *at = mem_alloc(bytes + 1); /* the id may be empty and must not be null */
    m->id = put_text(&at, str_is_null(like->id) ? STR("") : like->id);
    m->instance_id = put_text(&at, like->instance_id);
    m->client_id = put_text(&at, like->client_id);
    m->client_host = put_text(&at, like->client_host);
    m->protocol_type = put_text(&at, like->protocol_type);
}

static void free_assignment(struct classic_member *m)
{
    if (m->assignment.len > 0) {
        mem_free((void *)(uintptr_t)m->assignment.ptr);
    }
    m->assignment = (struct view){.ptr = no_bytes};
}

static void set_assignment(struct classic_member *m, struct view assignment)
{
    free_assignment(m);
    if (assignment.len > 0) {
        uint8_t *bytes = mem_alloc(assignment.len);
        memcpy(bytes, assignment.ptr, assignment.len);
        m->assignment = (struct view){.ptr = bytes, .len = assignment.len};
    }
}

void classic_member_set_assignment(struct classic_member *m, struct view assignment)
{
    struct shard *sh = m->classic->sh;
    int64_t more = to_i64(assignment.len) - to_i64(m->assignment.len);
    set_assignment(m, assignment);
    if (more > 0 && shard_charge(sh, more)) {
        m->charged += more;
    } else if (more < 0) {
        int64_t less = min_i64(-more, m->charged);
        shard_give(sh, less);
        m->charged -= less;
    }
}

struct classic_member *
classic_member_new(struct classic *cl, const struct classic_member *like, int64_t charged)
{
    struct classic_member *m = mem_zalloc(sizeof(*m));
    m->classic = cl;
    m->charged = charged;
    copy_texts(m, like);
    m->rebalance_timeout_ms = like->rebalance_timeout_ms;
    m->session_timeout_ms = like->session_timeout_ms;
    m->protocols = classic_protocols_copy(like->protocols, like->protocols_count);
    m->protocols_count = like->protocols_count;
    m->has_synced = true;
    set_assignment(m, like->assignment);
    list_init(&m->link);
    timer_init(&m->session, cl->rebalance->timers->session, cl->sh);
    return m;
}

struct classic_member *classic_member_free(struct classic_member *m)
{
    struct shard *sh = m->classic->sh;
    check(m->join == NULL && m->sync == NULL);
    timers_disarm(&sh->timers, &m->session);
    shard_give(sh, m->charged);
    free_assignment(m);
    mem_free(m->protocols);
    mem_free((void *)(uintptr_t)m->id.ptr);
    mem_free(m);
    return NULL;
}

/* ---- what a request says ---- */

void classic_member_of_request(const struct shard_call *call,
                               struct str member_id,
                               struct classic_member *ret)
{
    const struct join_group_request *rq = call->body;
    *ret = (struct classic_member){
        .id = member_id,
        .instance_id = rq->group_instance_id,
        .client_id = call->client_id,
        .client_host = call->client_host,
        .protocol_type = rq->protocol_type,
        .session_timeout_ms = rq->session_timeout_ms,
        .rebalance_timeout_ms =
            call->version == 0 ? rq->session_timeout_ms : rq->rebalance_timeout_ms,
    };
    if (rq->protocols.count > 0) {
        size_t count = (size_t)rq->protocols.count;
        ret->protocols = arena_alloc(call->arena, count * sizeof(ret->protocols[0]));
        ret->protocols_count = count;
        for (size_t i = 0; i < count; i++) {
            ret->protocols[i].name = rq->protocols.items[i].name;
            ret->protocols[i].metadata = rq->protocols.items[i].metadata;
        }
    }
}

void classic_member_update(struct classic_member *m, const struct classic_member *like)
{
    m->rebalance_timeout_ms = like->rebalance_timeout_ms;
    m->session_timeout_ms = like->session_timeout_ms;
    classic_member_set_protocols(m, classic_protocols_copy(like->protocols, like->protocols_count),
                                 like->protocols_count);
}

/* ---- votes ---- */

static struct classic_vote *vote_find(const struct classic *cl, struct str name)
{
    const struct hmap *map = &cl->rebalance->votes;
    struct hmap_node *node = hmap_first(map, hash_str(name, map->seed));
    while (node != NULL) {
        struct classic_vote *vo = container_of(node, struct classic_vote, node);
        if (str_equal(vo->name, name)) {
            return vo;
        }
        node = hmap_next(node);
    }
    return NULL;
}

static struct classic_vote *vote_add(struct classic *cl, struct str name)
{
    struct hmap *map = &cl->rebalance->votes;
    struct classic_vote *vo = mem_zalloc(sizeof(*vo) + name.len);
    char *at = (char *)(vo + 1);
    vo->name = put_text(&at, name);
    hmap_insert(map, &vo->node, hash_str(vo->name, map->seed));
    return vo;
}

/* A name that a member says twice counts once: each vote is stamped with the number of the pass. */
static void add_supporter(struct classic *cl, const struct classic_member *m)
{
    uint64_t pass = ++cl->rebalance->pass;
    for (size_t i = 0; i < m->protocols_count; i++) {
        struct classic_vote *vo = vote_find(cl, m->protocols[i].name);
        vo = vo != NULL ? vo : vote_add(cl, m->protocols[i].name);
        if (vo->pass != pass) {
            vo->pass = pass;
            vo->supporters++;
        }
    }
}

static void remove_supporter(struct classic *cl, const struct classic_member *m)
{
    uint64_t pass = ++cl->rebalance->pass;
    for (size_t i = 0; i < m->protocols_count; i++) {
        struct classic_vote *vo = vote_find(cl, m->protocols[i].name);
        if (vo == NULL || vo->pass == pass) {
            continue; /* said twice */
        }
        vo->pass = pass;
        vo->supporters--;
        if (vo->supporters == 0) {
            hmap_remove(&cl->rebalance->votes, &vo->node);
            mem_free(vo);
        }
    }
}

bool classic_supports(const struct classic *cl,
                      struct str protocol_type,
                      const struct join_group_request *rq)
{
    if (cl->state == CLASSIC_EMPTY) {
        return protocol_type.len > 0 && rq->protocols.count > 0;
    }
    if (str_is_null(cl->protocol_type) || !str_equal(cl->protocol_type, protocol_type)) {
        return false;
    }
    for (int32_t i = 0; i < rq->protocols.count; i++) {
        const struct classic_vote *vo = vote_find(cl, rq->protocols.items[i].name);
        if ((vo == NULL ? 0 : vo->supporters) == cl->members.count) {
            return true;
        }
    }
    return false;
}

/* Where java.util.HashMap with this many buckets keeps the name. */
static uint32_t java_bucket(struct str name, size_t buckets)
{
    uint32_t hash = (uint32_t)str_java_hash(name);
    return (hash ^ hash >> 16) & (uint32_t)(buckets - 1);
}

static bool wins(const struct classic_vote *a, const struct classic_vote *b, size_t buckets)
{
    if (a->votes != b->votes) {
        return a->votes > b->votes;
    }
    uint32_t at_a = java_bucket(a->name, buckets);
    uint32_t at_b = java_bucket(b->name, buckets);
    return at_a != at_b ? at_a < at_b : a->seat < b->seat;
}

static struct classic_vote *vote_of(struct classic *cl, const struct classic_member *m)
{
    for (size_t i = 0; i < m->protocols_count; i++) {
        struct classic_vote *vo = vote_find(cl, m->protocols[i].name);
        if (vo != NULL && vo->supporters == cl->members.count) {
            return vo;
        }
    }
    return NULL;
}

struct str classic_elect_protocol(struct classic *cl)
{
    uint64_t pass = ++cl->rebalance->pass;
    size_t seats = 0;
    list_foreach (node, &cl->order) {
        struct classic_vote *vo = vote_of(cl, list_entry(node, struct classic_member, link));
        if (vo == NULL) {
            continue;
        }
        if (vo->pass != pass) {
            vo->pass = pass;
            vo->votes = 0;
            vo->seat = seats++;
        }
        vo->votes++;
    }
    size_t buckets = JAVA_MAP_BUCKETS;
    while (seats > buckets / 4 * 3) {
        buckets *= 2;
    }
    const struct classic_vote *best = NULL;
    hmap_foreach (node, &cl->rebalance->votes) {
        const struct classic_vote *vo = container_of(node, struct classic_vote, node);
        if (vo->pass == pass && (best == NULL || wins(vo, best, buckets))) {
            best = vo;
        }
    }
    return best == NULL ? (struct str){0} : best->name;
}

bool classic_member_matches(const struct classic_member *m, const struct join_group_request *rq)
{
    if (rq->protocols.count < 0 || (size_t)rq->protocols.count != m->protocols_count) {
        return false;
    }
    for (size_t i = 0; i < m->protocols_count; i++) {
        const struct classic_protocol *mine = &m->protocols[i];
        struct view theirs = rq->protocols.items[i].metadata;
        if (!str_equal(mine->name, rq->protocols.items[i].name) ||
            mine->metadata.len != theirs.len ||
            (theirs.len > 0 && memcmp(mine->metadata.ptr, theirs.ptr, theirs.len) != 0)) {
            return false;
        }
    }
    return true;
}

void classic_member_set_protocols(struct classic_member *m,
                                  struct classic_protocol *protocols,
                                  size_t count)
{
    remove_supporter(m->classic, m);
    mem_free(m->protocols);
    m->protocols = protocols;
    m->protocols_count = count;
    add_supporter(m->classic, m);
}

/* ---- texts of the group ---- */

static void set_text(struct str *text, struct str to)
{
    char *copy = str_is_null(to) ? NULL : mem_strndup(to.ptr, to.len);
    mem_free((void *)(uintptr_t)text->ptr);
    *text = str_of(copy, to.len);
}

void classic_set_protocol_name(struct classic *cl, struct str name)
{
    set_text(&cl->protocol_name, name);
}

void classic_set_leader(struct classic *cl, struct str member_id)
{
    set_text(&cl->leader, member_id);
}

/* ---- in and out ---- */

static void link_instance(struct classic *cl, struct classic_member *m)
{
    struct hmap *map = &cl->rebalance->instances;
    hmap_insert(map, &m->instance_node, hash_str(m->instance_id, map->seed));
}

void classic_member_link(struct classic *cl, struct classic_member *m)
{
    if (cl->members.count == 0) {
        set_text(&cl->protocol_type, m->protocol_type);
    }
    hmap_insert(&cl->members, &m->node, hash_str(m->id, cl->members.seed));
    list_push_back(&cl->order, &m->link);
    if (!str_is_null(m->instance_id)) {
        link_instance(cl, m);
    }
    add_supporter(cl, m);
    if (str_is_null(cl->leader)) {
        classic_set_leader(cl, m->id);
    }
}

void classic_member_remove(struct classic_member *m)
{
    struct classic *cl = m->classic;
    classic_complete_join_error(m, STR(""), KAFKA_ERROR_UNKNOWN_MEMBER_ID);
    classic_complete_sync_error(m, KAFKA_ERROR_UNKNOWN_MEMBER_ID);
    hmap_remove(&cl->members, &m->node);
    list_remove(&m->link);
    if (!str_is_null(m->instance_id)) {
        hmap_remove(&cl->rebalance->instances, &m->instance_node);
    }
    remove_supporter(cl, m);
    if (!m->has_synced) {
        cl->rebalance->pending_sync--;
    }
    if (classic_is_leader(cl, m)) {
        struct str next = {0};
        if (!list_is_empty(&cl->order)) {
            next = list_entry(cl->order.next, struct classic_member, link)->id;
        }
        classic_set_leader(cl, next);
    }
    classic_member_free(m);
}

struct classic_member *classic_member_rename(struct classic_member *m, struct str id)
{
    struct classic *cl = m->classic;
    check(m->join == NULL && m->sync == NULL);
    hmap_remove(&cl->members, &m->node);
    if (!str_is_null(m->instance_id)) {
        hmap_remove(&cl->rebalance->instances, &m->instance_node);
    }
    bool is_leader = classic_is_leader(cl, m);
    char *old_texts = (char *)(uintptr_t)m->id.ptr;
    struct classic_member like = *m;
    like.id = id;
    copy_texts(m, &like);
    mem_free(old_texts);
    hmap_insert(&cl->members, &m->node, hash_str(m->id, cl->members.seed));
    if (!str_is_null(m->instance_id)) {
        link_instance(cl, m);
    }
    if (is_leader) {
        classic_set_leader(cl, m->id);
    }
    /* Kafka goes on waiting for the sync of the id that is gone. */
    m->has_synced = true;
    m->is_new = false;
    timers_disarm(&cl->sh->timers, &m->session);
    return m;
}

struct classic_member *classic_member_add(struct classic *cl, const struct classic_member *like)
{
    if (classic_member_find(cl, like->id) != NULL ||
        (!str_is_null(like->instance_id) &&
         classic_member_find_instance(cl, like->instance_id) != NULL)) {
        return NULL;
    }
    int64_t cost = classic_member_cost(like);
    int64_t charged = shard_charge(cl->sh, cost) ? cost : 0;
    struct classic_member *m = classic_member_new(cl, like, charged);
    classic_member_link(cl, m);
    classic_session_touch(m, m->session_timeout_ms);
    return m;
}

/* ---- half-joined members ---- */

bool classic_pending_add(struct classic *cl, struct str id, int32_t session_timeout_ms)
{
    int64_t cost = to_i64(sizeof(struct classic_pending) + id.len) + 2 * ALLOCATION_COST;
    if (!shard_charge(cl->sh, cost)) {
        return false;
    }
    struct hmap *map = &cl->rebalance->pending;
    struct classic_pending *pe = mem_zalloc(sizeof(*pe));
    pe->classic = cl;
    pe->id = str_of(mem_strndup(id.ptr, id.len), id.len);
    pe->charged = cost;
    timer_init(&pe->session, cl->rebalance->timers->pending, cl->sh);
    hmap_insert(map, &pe->node, hash_str(pe->id, map->seed));
    timers_arm(&cl->sh->timers, &pe->session, cl->sh->now_ms + session_timeout_ms);
    return true;
}

void classic_pending_remove(struct classic_pending *pe)
{
    struct classic *cl = pe->classic;
    timers_disarm(&cl->sh->timers, &pe->session);
    hmap_remove(&cl->rebalance->pending, &pe->node);
    shard_give(cl->sh, pe->charged);
    mem_free((void *)(uintptr_t)pe->id.ptr);
    mem_free(pe);
}

/* ---- topics ---- */

static void forget_topics(struct classic *cl)
{
    hmap_foreach (node, &cl->rebalance->topics) {
        hmap_remove(&cl->rebalance->topics, node);
        mem_free(container_of(node, struct classic_topic, node));
    }
    hmap_release(&cl->rebalance->topics);
    cl->rebalance->are_topics_known = false;
}

static bool has_topic(const struct classic *cl, struct str name)
{
    const struct hmap *map = &cl->rebalance->topics;
    struct hmap_node *node = hmap_first(map, hash_str(name, map->seed));
    while (node != NULL && !str_equal(container_of(node, struct classic_topic, node)->name, name)) {
        node = hmap_next(node);
    }
    return node != NULL;
}

static void add_topic(struct classic *cl, struct str name)
{
    if (has_topic(cl, name)) {
        return;
    }
    struct hmap *map = &cl->rebalance->topics;
    struct classic_topic *to = mem_zalloc(sizeof(*to) + name.len);
    char *at = (char *)(to + 1);
    to->name = put_text(&at, name);
    hmap_insert(map, &to->node, hash_str(to->name, map->seed));
}

/* Version 0 is the beginning of every version: version, topics. False: no subscription. */
static bool add_topics_of(struct classic *cl, struct view metadata, struct arena *arena)
{
    struct cursor in = cursor_of(metadata.ptr, metadata.len);
    cursor_i16(&in);
    struct consumer_protocol_subscription sub = consumer_protocol_subscription_default;
    if (in.failed || codec_decode(&consumer_protocol_subscription_msg, 0, &in, arena, &sub) < 0) {
        return false;
    }
    for (int32_t i = 0; i < sub.topics.count; i++) {
        add_topic(cl, sub.topics.items[i]);
    }
    return true;
}

void classic_compute_topics(struct classic *cl)
{
    forget_topics(cl);
    if (!str_is(cl->protocol_type, "consumer")) {
        return;
    }
    if (cl->members.count > 0 && str_is_null(cl->protocol_name)) {
        return;
    }
    struct arena arena = {0};
    bool is_known = true;
    list_foreach (node, &cl->order) {
        const struct classic_member *m = list_entry(node, struct classic_member, link);
        if (!add_topics_of(cl, classic_member_metadata(m, cl->protocol_name), &arena)) {
            is_known = false;
            break;
        }
        arena_reset(&arena);
    }
    arena_release(&arena);
    if (!is_known) {
        forget_topics(cl);
    }
    cl->rebalance->are_topics_known = is_known;
}

bool classic_is_subscribed(const struct group *g, struct str topic)
{
    const struct classic *cl = g->classic;
    return cl->rebalance->are_topics_known ? has_topic(cl, topic)
                                           : str_is(cl->protocol_type, "consumer");
}

/* ---- the machine's memory ---- */

struct classic *classic_new(struct shard *sh, struct group *g, const struct classic_timers *timers)
{
    struct classic *cl = mem_zalloc(sizeof(*cl));
    cl->group = g;
    cl->sh = sh;
    cl->state = CLASSIC_EMPTY;
    cl->state_wall_ms = sh->wall_ms;
    uint64_t seed = sh->groups.seed;
    hmap_init(&cl->members, seed);
    list_init(&cl->order);
    struct classic_rebalance *rb = mem_zalloc(sizeof(*rb));
    rb->classic = cl;
    rb->previous_state = CLASSIC_DEAD;
    hmap_init(&rb->instances, seed);
    hmap_init(&rb->pending, seed);
    hmap_init(&rb->votes, seed);
    hmap_init(&rb->topics, seed);
    cl->rebalance = rb;
    rb->timers = timers;
    timer_init(&rb->join, timers->join, sh);
    timer_init(&rb->sync, timers->sync, sh);
    return cl;
}

struct classic *classic_free(struct classic *cl)
{
    if (cl == NULL) {
        return NULL;
    }
    struct classic_rebalance *rb = cl->rebalance;
    hmap_foreach (node, &rb->pending) {
        classic_pending_remove(container_of(node, struct classic_pending, node));
    }
    list_foreach_safe (node, tmp, &cl->order) {
        list_remove(node);
        classic_member_free(list_entry(node, struct classic_member, link));
    }
    hmap_foreach (node, &rb->votes) {
        mem_free(container_of(node, struct classic_vote, node));
    }
    forget_topics(cl);
    timers_disarm(&cl->sh->timers, &rb->join);
    timers_disarm(&cl->sh->timers, &rb->sync);
    hmap_release(&rb->votes);
    hmap_release(&rb->pending);
    hmap_release(&rb->instances);
    hmap_release(&cl->members);
    mem_free(rb);
    mem_free((void *)(uintptr_t)cl->leader.ptr);
    mem_free((void *)(uintptr_t)cl->protocol_name.ptr);
    mem_free((void *)(uintptr_t)cl->protocol_type.ptr);
    mem_free(cl);
    return NULL;
}
