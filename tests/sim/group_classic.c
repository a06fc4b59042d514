/*
 * A client of the classic group protocol. Eager: it gives everything back before it joins; then the
 * leader deals out everything anew. Cooperative: it keeps what it has and says so; the leader deals
 * out what nobody has, and what should move is first taken from the one, who joins again without
 * it, then given to the other (KIP-429).
 *
 * Subscriptions and assignments are the bytes of real consumers, as consumer groups read them.
 */
#include "base/base.h"

#include "coord/group_requests.h"
#include "coord/subscription.h"
#include "group_host.h"
#include "group_world.h"
#include "wire/cursor.h"

enum {
    REQUEST_TIMEOUT_US = 2000000,
    HEARTBEAT_US = 2000000,
    JOIN_SLACK_US = 5000000,
    LOOK_AGAIN_US = 20000000,
    SUBSCRIPTION_VERSION = 3,
    ASSIGNMENT_VERSION = 3,
};

/* One member as the leader sees it. */
struct candidate {
    struct str id;
    uint32_t topics;
    int32_t generation; /* of its claims */
    uint32_t claims[TOPICS_MAX];
    uint32_t gets[TOPICS_MAX];
    int load;
};

static const char *protocol_name(const struct client *cl)
{
    return cl->kind == CLIENT_EAGER ? "range" : "cooperative-sticky";
}

/* ---- the leader deals out ---- */

static bool may_get(const struct candidate *c, int t)
{
    return (c->topics >> t & 1) != 0;
}

static struct candidate *least_loaded(struct candidate *all, size_t count, int t)
{
    struct candidate *best = NULL;
    for (size_t i = 0; i < count; i++) {
        if (may_get(&all[i], t) && (best == NULL || all[i].load < best->load)) {
            best = &all[i];
        }
    }
    return best;
}

static void give(struct candidate *c, int t, int p)
{
    c->gets[t] |= 1u << p;
    c->load++;
}

/* Who claims it with the newest generation; two of the same: nobody. */
static struct candidate *claimant(struct candidate *all, size_t count, int t, int p)
{
    struct candidate *best = NULL;
    bool is_disputed = false;
    for (size_t i = 0; i < count; i++) {
        if ((all[i].claims[t] >> p & 1) == 0) {
            continue;
        }
        if (best == NULL || all[i].generation > best->generation) {
            best = &all[i];
            is_disputed = false;
        } else if (all[i].generation == best->generation) {
            is_disputed = true;
        }
    }
    return is_disputed ? NULL : best;
}

/* Moves partitions from who has much to who has little, until no move makes it evener. */
static void even_out(struct world *w, struct candidate *all, size_t count)
{
    bool has_moved = true;
    while (has_moved) {
        has_moved = false;
        for (size_t i = 0; i < count; i++) {
            for (int t = 0; t < w->topics_count; t++) {
                struct candidate *to = least_loaded(all, count, t);
                if (all[i].gets[t] == 0 || to == NULL || to->load + 1 >= all[i].load) {
                    continue;
                }
                int p = __builtin_ctz(all[i].gets[t]);
                all[i].gets[t] &= ~(1u << p);
                all[i].load--;
                give(to, t, p);
                has_moved = true;
            }
        }
    }
}

static void deal(struct client *cl, struct candidate *all, size_t count)
{
    struct world *w = cl->w;
    struct candidate *owner[TOPICS_MAX][PARTITIONS_MAX] = {{NULL}};
    for (int t = 0; t < w->topics_count; t++) {
        for (int p = 0; w->topics[t].exists && p < w->topics[t].partitions; p++) {
            struct candidate *c = claimant(all, count, t, p);
            owner[t][p] = c;
            if (c != NULL && may_get(c, t)) {
                give(c, t, p);
            }
        }
    }
    for (int t = 0; t < w->topics_count; t++) {
        for (int p = 0; w->topics[t].exists && p < w->topics[t].partitions; p++) {
            struct candidate *c = owner[t][p];
            struct candidate *to = least_loaded(all, count, t);
            if (to != NULL && (c == NULL || !may_get(c, t))) {
                give(to, t, p);
            }
        }
    }
    even_out(w, all, count);
    /* What somebody else still has is given to nobody yet: whoever has it comes back without it.
     * Should he not (what he claimed was of a topic that has been made anew since), the leader
     * deals again. */
    cl->look_again_us = 0;
    for (size_t i = 0; i < count; i++) {
        for (int t = 0; t < w->topics_count; t++) {
            for (size_t k = 0; k < count; k++) {
                if (k != i && (all[i].gets[t] & all[k].claims[t]) != 0) {
                    all[i].gets[t] &= ~all[k].claims[t];
                    cl->look_again_us = w->s->now_us + LOOK_AGAIN_US;
                }
            }
        }
    }
}

static void read_candidate(struct client *cl,
                           const struct join_group_response_join_group_response_member *m,
                           struct arena *arena,
                           struct candidate *ret)
{
    struct world *w = cl->w;
    struct consumer_protocol_subscription sub = consumer_protocol_subscription_default;
    int16_t version;
    *ret = (struct candidate){.id = m->member_id};
    if (subscription_parse(m->metadata, arena, &sub, &version) < 0) {
        sim_fail(w->s, "client %d: the metadata of a member cannot be read", cl->index);
        return;
    }
    ret->generation = sub.generation_id;
    for (int32_t i = 0; i < sub.topics.count; i++) {
        for (int t = 0; t < w->topics_count; t++) {
            ret->topics |= str_is(sub.topics.items[i], w->topics[t].name) ? 1u << t : 0;
        }
    }
    for (int32_t i = 0; i < sub.owned_partitions.count; i++) {
        int t = topics_find(w, sub.owned_partitions.items[i].topic);
        for (int32_t p = 0; t >= 0 && p < sub.owned_partitions.items[i].partitions.count; p++) {
            ret->claims[t] |= 1u << sub.owned_partitions.items[i].partitions.items[p];
        }
    }
}

static void plan(struct client *cl, const struct join_group_response *rs, struct arena *arena)
{
    struct world *w = cl->w;
    size_t count = to_size(rs->members.count);
    struct candidate *all = arena_alloc(arena, count * sizeof(*all));
    for (size_t i = 0; i < count; i++) {
        read_candidate(cl, &rs->members.items[i], arena, &all[i]);
    }
    deal(cl, all, count);
    cl->plan = mem_free(cl->plan);
    cl->plan = mem_array(count, sizeof(*cl->plan));
    cl->plan_count = (uint32_t)count;
    for (size_t i = 0; i < count; i++) {
        snprintf(cl->plan[i].member_id, ID_BYTES_MAX, STR_FMT, STR_ARG(all[i].id));
        for (int t = 0; t < w->topics_count; t++) {
            cl->plan[i].gets[t] = (struct held){
                .incarnation = w->topics[t].incarnation,
                .mask = all[i].gets[t],
            };
        }
    }
    cl->known_topics_version = w->topics_version;
}

void classic_client_release(struct client *cl)
{
    cl->plan = mem_free(cl->plan);
    cl->plan_count = 0;
}

/* ---- joining ---- */

static void join(struct client *cl)
{
    cl->must_rejoin = false;
    if (cl->kind == CLIENT_EAGER) {
        client_own_nothing(cl);
    }
    cl->state = CLIENT_JOINS;
    client_think_soon(cl);
}

/* The coordinator does not know it any more: nor may it believe to own anything. */
static void begin_anew(struct client *cl, bool keeps_id)
{
    client_own_nothing(cl);
    cl->epoch = -1;
    if (!keeps_id) {
        cl->member_id[0] = '\0';
    }
    cl->state = CLIENT_JOINS;
    client_think_soon(cl);
}

void classic_client_on_error(struct client *cl, int16_t error)
{
    struct world *w = cl->w;
    switch (error) {
    case KAFKA_ERROR_REBALANCE_IN_PROGRESS:
        join(cl);
        break;
    case KAFKA_ERROR_GROUP_ID_NOT_FOUND: /* of a commit */
    case KAFKA_ERROR_UNKNOWN_MEMBER_ID:
        sim_happened(w->s, "classic member unknown");
        begin_anew(cl, false);
        break;
    case KAFKA_ERROR_ILLEGAL_GENERATION:
        sim_happened(w->s, "classic member late");
        begin_anew(cl, true);
        break;
    case KAFKA_ERROR_FENCED_INSTANCE_ID:
        sim_happened(w->s, "instance fenced");
        client_die(cl);
        break;
    case KAFKA_ERROR_GROUP_MAX_SIZE_REACHED:
        sim_happened(w->s, "group full");
        client_die(cl);
        break;
    case KAFKA_ERROR_INCONSISTENT_GROUP_PROTOCOL:
        sim_happened(w->s, "protocols do not fit");
        client_die(cl);
        break;
    default:
        if (is_transient(error)) {
            client_back_off(cl);
            break;
        }
        sim_fail(w->s, "client %d, classic, state %d: error %d", cl->index, (int)cl->state,
                 (int)error);
        break;
    }
}

static void join_done(struct client *cl, struct host_call *hc)
{
    const struct join_group_response *rs = hc->call.response;
    int16_t error = hc->is_refused ? (int16_t)hc->refused : rs->error_code;
    sim_note(cl->w->s, "client %d: join: error %d, generation %d", cl->index, (int)error,
             (int)rs->generation_id);
    if (error == KAFKA_ERROR_MEMBER_ID_REQUIRED) {
        snprintf(cl->member_id, sizeof(cl->member_id), STR_FMT, STR_ARG(rs->member_id));
        client_think_soon(cl);
        return;
    }
    if (error != 0) {
        classic_client_on_error(cl, error);
        return;
    }
    sim_happened(cl->w->s, "classic member joined");
    snprintf(cl->member_id, sizeof(cl->member_id), STR_FMT, STR_ARG(rs->member_id));
    cl->epoch = rs->generation_id;
    cl->is_leader = str_is(rs->leader, cl->member_id);
    classic_client_release(cl);
    if (cl->is_leader && !rs->skip_assignment) {
        plan(cl, rs, &hc->arena);
    } else if (cl->is_leader) {
        sim_happened(cl->w->s, "leader skips the assignment");
        cl->known_topics_version = 0; /* it looks, and rebalances when it must */
    }
    cl->state = CLIENT_SYNCS;
    client_think_soon(cl);
}

static void run_join(struct host_call *hc)
{
    group_join(hc->sh, &hc->call);
}

static struct view subscription(struct client *cl, struct arena *arena)
{
    struct world *w = cl->w;
    struct consumer_protocol_subscription sub = consumer_protocol_subscription_default;
    sub.topics.items = arena_alloc(arena, (size_t)w->topics_count * sizeof(struct str));
    sub.owned_partitions.items =
        codec_array(arena, consumer_protocol_subscription_topic_partition, (size_t)w->topics_count);
    sub.generation_id = cl->epoch;
    for (int t = 0; t < w->topics_count; t++) {
        if ((cl->topics >> t & 1) != 0) {
            sub.topics.items[sub.topics.count++] = str_from(w->topics[t].name);
        }
        uint32_t mask = held_mask(w, &cl->owns[t], t);
        if (mask == 0) {
            continue;
        }
        struct consumer_protocol_subscription_topic_partition *to =
            &sub.owned_partitions.items[sub.owned_partitions.count++];
        to->topic = str_from(w->topics[t].name);
        to->partitions.items = arena_alloc(arena, PARTITIONS_MAX * sizeof(int32_t));
        for (int32_t p = 0; p < PARTITIONS_MAX; p++) {
            if ((mask >> p & 1) != 0) {
                to->partitions.items[to->partitions.count++] = p;
            }
        }
    }
    return subscription_encode(&consumer_protocol_subscription_msg, SUBSCRIPTION_VERSION, &sub,
                               arena);
}

static void send_join(struct client *cl)
{
    /* A consumer group lets in whoever comes by an old name (as Kafka's does): a cooperative client
     * that may have been thrown out without hearing of it must not go on with what it had. */
    if (cl->w->s->now_us - cl->heard_us > (int64_t)cl->session_timeout_ms * 1000 / 2) {
        client_own_nothing(cl);
        cl->epoch = -1;
    }
    int16_t version = cl->keeps_old_version ? 3 : 9;
    struct host_call *hc = client_call(cl, &join_group_request_msg, &join_group_response_msg,
                                       version, run_join, join_done);
    struct join_group_request *rq = (void *)(uintptr_t)hc->call.body;
    rq->group_id = group_name(cl->w, cl->group);
    rq->session_timeout_ms = cl->session_timeout_ms;
    rq->rebalance_timeout_ms = cl->rebalance_timeout_ms;
    rq->member_id = arena_strdup(&hc->arena, str_from(cl->member_id));
    rq->group_instance_id = client_instance(cl);
    rq->protocol_type = STR("consumer");
    rq->protocols.items =
        codec_array(&hc->arena, join_group_request_join_group_request_protocol, 1);
    rq->protocols.count = 1;
    rq->protocols.items[0].name = str_from(protocol_name(cl));
    rq->protocols.items[0].metadata = subscription(cl, &hc->arena);
    rq->reason = version >= 8 ? STR("the simulation wants it") : (struct str){0};
    sim_note(cl->w->s, "client %d joins as %s of generation %d", cl->index,
             cl->member_id[0] == '\0' ? "nobody" : "member", (int)cl->epoch);
    client_send(cl, hc, (int64_t)cl->rebalance_timeout_ms * 1000 + JOIN_SLACK_US);
}

/* ---- syncing ---- */

static void take_assignment(struct client *cl, struct view bytes, struct arena *arena)
{
    struct world *w = cl->w;
    struct consumer_protocol_assignment a = consumer_protocol_assignment_default;
    struct held gets[TOPICS_MAX] = {0};
    int16_t version;
    if (bytes.len > 0 && subscription_parse_assignment(bytes, arena, &a, &version) < 0) {
        sim_fail(w->s, "client %d: its assignment cannot be read", cl->index);
        return;
    }
    for (int32_t i = 0; i < a.assigned_partitions.count; i++) {
        int t = topics_find(w, a.assigned_partitions.items[i].topic);
        if (t < 0) {
            continue; /* gone meanwhile */
        }
        gets[t].incarnation = w->topics[t].incarnation;
        for (int32_t p = 0; p < a.assigned_partitions.items[i].partitions.count; p++) {
            gets[t].mask |= 1u << a.assigned_partitions.items[i].partitions.items[p];
        }
    }
    bool gives_back = false;
    for (int t = 0; t < w->topics_count; t++) {
        gives_back |= (held_mask(w, &cl->owns[t], t) & ~held_mask(w, &gets[t], t)) != 0;
    }
    cl->state = CLIENT_IS_MEMBER;
    client_own(cl, gets);
    cl->must_rejoin |= gives_back && cl->kind == CLIENT_COOPERATIVE;
    client_think_soon(cl);
}

static void sync_done(struct client *cl, struct host_call *hc)
{
    const struct sync_group_response *rs = hc->call.response;
    int16_t error = hc->is_refused ? (int16_t)hc->refused : rs->error_code;
    sim_note(cl->w->s, "client %d: sync of generation %d: error %d", cl->index, (int)cl->epoch,
             (int)error);
    if (error != 0) {
        classic_client_on_error(cl, error);
        return;
    }
    sim_happened(cl->w->s, "classic member synced");
    classic_client_release(cl);
    take_assignment(cl, rs->assignment, &hc->arena);
}

/* The planted mistake: somebody else's bytes. */
static void swap_assignments(struct sync_group_request *rq)
{
    for (int32_t i = 0; i + 1 < rq->assignments.count; i += 2) {
        rq->assignments.items[i].assignment = rq->assignments.items[i + 1].assignment;
    }
}

static void run_sync(struct host_call *hc)
{
    if (hc->w->mistake == MISTAKE_SWAPS_ANSWERS) {
        swap_assignments((void *)(uintptr_t)hc->call.body);
    }
    group_sync(hc->sh, &hc->call);
}

static struct view assignment(struct client *cl, const struct held *gets, struct arena *arena)
{
    struct world *w = cl->w;
    struct consumer_protocol_assignment a = consumer_protocol_assignment_default;
    a.assigned_partitions.items =
        codec_array(arena, consumer_protocol_assignment_topic_partition, (size_t)w->topics_count);
    for (int t = 0; t < w->topics_count; t++) {
        uint32_t mask = held_mask(w, &gets[t], t);
        if (mask == 0) {
            continue;
        }
        struct consumer_protocol_assignment_topic_partition *to =
            &a.assigned_partitions.items[a.assigned_partitions.count++];
        to->topic = str_from(w->topics[t].name);
        to->partitions.items = arena_alloc(arena, PARTITIONS_MAX * sizeof(int32_t));
        for (int32_t p = 0; p < PARTITIONS_MAX; p++) {
            if ((mask >> p & 1) != 0) {
                to->partitions.items[to->partitions.count++] = p;
            }
        }
    }
    return subscription_encode(&consumer_protocol_assignment_msg, ASSIGNMENT_VERSION, &a, arena);
}

static void send_sync(struct client *cl)
{
    int16_t version = cl->keeps_old_version ? 2 : 5;
    struct host_call *hc = client_call(cl, &sync_group_request_msg, &sync_group_response_msg,
                                       version, run_sync, sync_done);
    struct sync_group_request *rq = (void *)(uintptr_t)hc->call.body;
    rq->group_id = group_name(cl->w, cl->group);
    rq->generation_id = cl->epoch;
    rq->member_id = arena_strdup(&hc->arena, str_from(cl->member_id));
    rq->group_instance_id = client_instance(cl);
    if (version >= 5) {
        rq->protocol_type = STR("consumer");
        rq->protocol_name = str_from(protocol_name(cl));
    }
    rq->assignments.items =
        codec_array(&hc->arena, sync_group_request_sync_group_request_assignment, cl->plan_count);
    rq->assignments.count = (int32_t)cl->plan_count;
    for (uint32_t i = 0; i < cl->plan_count; i++) {
        rq->assignments.items[i].member_id =
            arena_strdup(&hc->arena, str_from(cl->plan[i].member_id));
        rq->assignments.items[i].assignment = assignment(cl, cl->plan[i].gets, &hc->arena);
    }
    client_send(cl, hc, (int64_t)cl->rebalance_timeout_ms * 1000 + JOIN_SLACK_US);
}

/* ---- heartbeats, leaving ---- */

static void heartbeat_done(struct client *cl, struct host_call *hc)
{
    const struct heartbeat_response *rs = hc->call.response;
    int16_t error = hc->is_refused ? (int16_t)hc->refused : rs->error_code;
    if (error != 0) {
        sim_note(cl->w->s, "client %d: heartbeat of generation %d: error %d", cl->index,
                 (int)cl->epoch, (int)error);
        classic_client_on_error(cl, error);
        return;
    }
    client_think_in(cl, sim_rng_between(&cl->w->client_rng, 1, HEARTBEAT_US));
}

static void run_heartbeat(struct host_call *hc)
{
    group_heartbeat(hc->sh, &hc->call);
}

static void send_heartbeat(struct client *cl)
{
    struct host_call *hc =
        client_call(cl, &heartbeat_request_msg, &heartbeat_response_msg,
                    cl->keeps_old_version ? 2 : 4, run_heartbeat, heartbeat_done);
    struct heartbeat_request *rq = (void *)(uintptr_t)hc->call.body;
    rq->group_id = group_name(cl->w, cl->group);
    rq->generation_id = cl->epoch;
    rq->member_id = arena_strdup(&hc->arena, str_from(cl->member_id));
    rq->group_instance_id = client_instance(cl);
    client_send(cl, hc, REQUEST_TIMEOUT_US);
}

static void leave_done(struct client *cl, struct host_call *hc)
{
    if (hc->is_refused) {
        client_back_off(cl);
        return;
    }
    client_die(cl);
}

static void run_leave(struct host_call *hc)
{
    group_leave(hc->sh, &hc->call);
}

static void send_leave(struct client *cl)
{
    int16_t version = cl->keeps_old_version ? 2 : 5;
    struct host_call *hc = client_call(cl, &leave_group_request_msg, &leave_group_response_msg,
                                       version, run_leave, leave_done);
    struct leave_group_request *rq = (void *)(uintptr_t)hc->call.body;
    struct str id = arena_strdup(&hc->arena, str_from(cl->member_id));
    rq->group_id = group_name(cl->w, cl->group);
    if (version < 3) {
        rq->member_id = id;
    } else {
        rq->members.items = codec_array(&hc->arena, leave_group_request_member_identity, 1);
        rq->members.count = 1;
        rq->members.items[0].member_id = id;
        rq->members.items[0].reason = STR("the simulation ends it");
    }
    client_send(cl, hc, REQUEST_TIMEOUT_US);
}

/* The leader watches the topics for all. */
static bool has_news(const struct client *cl)
{
    bool is_due = cl->look_again_us != 0 && cl->w->s->now_us >= cl->look_again_us;
    return cl->is_leader && (is_due || cl->known_topics_version != cl->w->topics_version);
}

void classic_client_think(struct client *cl)
{
    switch (cl->state) {
    case CLIENT_OFF:
        break;
    case CLIENT_JOINS:
        send_join(cl);
        break;
    case CLIENT_SYNCS:
        send_sync(cl);
        break;
    case CLIENT_IS_MEMBER:
        if (cl->must_rejoin || has_news(cl)) {
            join(cl);
        } else if (!sim_rng_chance(&cl->w->client_rng, 600) || !client_use_partitions(cl)) {
            send_heartbeat(cl);
        }
        break;
    case CLIENT_LEAVES:
        send_leave(cl);
        break;
    }
}
