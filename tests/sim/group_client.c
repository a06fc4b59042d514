/*
 * What all clients of sim_groups have in common: one request at a time, with a time limit and a
 * back-off; partitions, their positions, commits and fetches of offsets.
 */
#include "base/base.h"

#include "coord/offsets.h"
#include "group_host.h"
#include "group_world.h"

enum {
    BACK_OFF_US = 100000,
    SOON_US = 1000,
    COMMIT_TIMEOUT_US = 2000000,
    SIMPLE_PAUSE_US = 400000,
};

static void think(struct sim_event *ev, void *ctx)
{
    (void)ev;
    struct client *cl = ctx;
    if (cl->is_paused || cl->is_waiting || cl->state == CLIENT_OFF) {
        return;
    }
    switch (cl->kind) {
    case CLIENT_EAGER:
    case CLIENT_COOPERATIVE:
        classic_client_think(cl);
        break;
    case CLIENT_MODERN:
        modern_client_think(cl);
        break;
    case CLIENT_SIMPLE:
        if (!client_use_partitions(cl)) {
            client_think_in(cl, sim_rng_exponential(&cl->w->client_rng, SIMPLE_PAUSE_US));
        }
        break;
    }
}

void client_think_in(struct client *cl, int64_t us)
{
    sim_arm(cl->w->s, &cl->think, max_i64(us, 1));
}

void client_think_soon(struct client *cl)
{
    client_think_in(cl, 1 + sim_rng_exponential(&cl->w->client_rng, SOON_US));
}

void client_back_off(struct client *cl)
{
    client_think_in(cl, BACK_OFF_US + sim_rng_exponential(&cl->w->client_rng, BACK_OFF_US));
}

bool is_transient(int16_t error)
{
    return error == KAFKA_ERROR_NOT_COORDINATOR || error == KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE ||
           error == KAFKA_ERROR_COORDINATOR_LOAD_IN_PROGRESS;
}

struct str client_instance(const struct client *cl)
{
    return cl->is_static ? str_from(cl->instance_id) : (struct str){0};
}

/* ---- requests ---- */

static void on_timeout(struct sim_event *ev, void *ctx)
{
    (void)ev;
    struct client *cl = ctx;
    sim_note(cl->w->s, "client %d: a request has timed out", cl->index);
    sim_happened(cl->w->s, "request timed out");
    cl->serial++;
    cl->is_waiting = false;
    cl->must_say_all = true;
    cl->must_say_owns = true;
    if (cl->state == CLIENT_LEAVES) {
        cl->state = CLIENT_OFF;
        return;
    }
    client_back_off(cl);
}

struct host_call *client_call(struct client *cl,
                              const struct msg *request,
                              const struct msg *response,
                              int16_t version,
                              void (*run)(struct host_call *hc),
                              void (*done)(struct client *cl, struct host_call *hc))
{
    struct host_call *hc = host_call_new(cl->w, cl->group);
    void *body = arena_alloc(&hc->arena, msg_size(request));
    void *answer = arena_alloc(&hc->arena, msg_size(response));
    msg_init(request, body);
    msg_init(response, answer);
    hc->client = cl;
    hc->call.api_key = msg_api_key(request);
    hc->call.version = version;
    hc->call.body = body;
    hc->call.response = answer;
    hc->run = run;
    hc->done = done;
    return hc;
}

void client_send(struct client *cl, struct host_call *hc, int64_t timeout_us)
{
    hc->serial = ++cl->serial;
    cl->is_waiting = true;
    sim_arm(cl->w->s, &cl->timeout, timeout_us);
    group_host_send(cl->w->host, hc);
}

/* ---- partitions ---- */

void client_own(struct client *cl, const struct held *owns)
{
    struct world *w = cl->w;
    for (int t = 0; t < w->topics_count; t++) {
        uint32_t had = held_mask(w, &cl->owns[t], t);
        uint32_t has = held_mask(w, &owns[t], t);
        for (int p = 0; p < PARTITIONS_MAX; p++) {
            if ((has & ~had) >> p & 1) {
                cl->position[t][p] = -1;
            }
        }
        cl->owns[t] = (struct held){.incarnation = w->topics[t].incarnation, .mask = has};
    }
    cl->owns_epoch = cl->epoch;
    check_owner(cl);
}

void client_own_nothing(struct client *cl)
{
    memset(cl->owns, 0, sizeof(cl->owns));
}

bool client_owns_any(const struct client *cl)
{
    for (int t = 0; t < cl->w->topics_count; t++) {
        if (held_mask(cl->w, &cl->owns[t], t) != 0) {
            return true;
        }
    }
    return false;
}

/* ---- offsets ---- */

static void on_offsets_error(struct client *cl, int16_t error)
{
    if (is_transient(error)) {
        client_back_off(cl);
        return;
    }
    switch (cl->kind) {
    case CLIENT_EAGER:
    case CLIENT_COOPERATIVE:
        classic_client_on_error(cl, error);
        break;
    case CLIENT_MODERN:
        modern_client_on_error(cl, error);
        break;
    case CLIENT_SIMPLE:
        sim_fail(cl->w->s, "client %d, simple: error %d", cl->index, (int)error);
        break;
    }
}

static void run_commit(struct host_call *hc)
{
    struct world *w = hc->w;
    const struct offset_commit_request *rq = hc->call.body;
    size_t count = to_size(rq->topics.count);
    struct offset_commit_topic *topics = arena_alloc(&hc->arena, count * sizeof(*topics));
    struct offset_commit_check *checked = arena_alloc(&hc->arena, sizeof(*checked));
    checked->topics = topics;
    for (size_t i = 0; i < count; i++) {
        struct shard_topic t;
        topics[i].name = rq->topics.items[i].name;
        if (w->table.by_name(w, topics[i].name, &t)) {
            topics[i].id = t.id;
        } else {
            topics[i].error = KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION;
            checked->refused_count++;
        }
    }
    offsets_commit(hc->sh, &hc->call, checked);
}

static void commit_done(struct client *cl, struct host_call *hc)
{
    int16_t error = (int16_t)hc->refused;
    const struct offset_commit_response *rs = hc->call.response;
    for (int32_t i = 0; !hc->is_refused && i < rs->topics.count; i++) {
        for (int32_t p = 0; p < rs->topics.items[i].partitions.count && error == 0; p++) {
            error = rs->topics.items[i].partitions.items[p].error_code;
        }
    }
    if (error == KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION || error == 0) {
        if (error == 0) {
            sim_happened(cl->w->s, "offsets committed");
        }
        client_think_soon(cl);
        return;
    }
    on_offsets_error(cl, error);
}

static void send_commit(struct client *cl)
{
    struct world *w = cl->w;
    bool is_simple = cl->kind == CLIENT_SIMPLE;
    int16_t version = cl->kind != CLIENT_MODERN && cl->keeps_old_version ? 5 : 9;
    struct host_call *hc = client_call(cl, &offset_commit_request_msg, &offset_commit_response_msg,
                                       version, run_commit, commit_done);
    struct offset_commit_request *rq = (void *)(uintptr_t)hc->call.body;
    rq->group_id = group_name(w, cl->group);
    rq->member_id = is_simple ? STR("") : arena_strdup(&hc->arena, str_from(cl->member_id));
    rq->generation_id_or_member_epoch = is_simple ? -1 : cl->epoch;
    rq->group_instance_id = version >= 7 ? client_instance(cl) : (struct str){0};
    rq->topics.items = codec_array(&hc->arena, offset_commit_request_offset_commit_request_topic,
                                   (size_t)w->topics_count);
    for (int t = 0; t < w->topics_count; t++) {
        uint32_t mask = held_mask(w, &cl->owns[t], t);
        struct offset_commit_request_offset_commit_request_topic *to =
            &rq->topics.items[rq->topics.count];
        to->name = arena_strdup(&hc->arena, str_from(w->topics[t].name));
        to->partitions.items = codec_array(
            &hc->arena, offset_commit_request_offset_commit_request_partition, PARTITIONS_MAX);
        for (int p = 0; p < PARTITIONS_MAX; p++) {
            if ((mask >> p & 1) == 0 || sim_rng_chance(&w->client_rng, 500)) {
                continue;
            }
            cl->position[t][p] += (int64_t)sim_rng_below(&w->client_rng, 10);
            struct offset_commit_request_offset_commit_request_partition *item =
                &to->partitions.items[to->partitions.count++];
            item->partition_index = p;
            item->committed_offset = cl->position[t][p];
            item->committed_metadata = sim_rng_chance(&w->client_rng, 100) ? STR("m") : STR("");
        }
        rq->topics.count += to->partitions.count > 0;
    }
    client_send(cl, hc, COMMIT_TIMEOUT_US);
}

static void run_fetch(struct host_call *hc)
{
    const struct offset_fetch_request *rq = hc->call.body;
    struct offset_fetch_response *rs = hc->call.response;
    rs->groups.items =
        codec_array(&hc->arena, offset_fetch_response_offset_fetch_response_group, 1);
    rs->groups.count = 1;
    offsets_fetch(hc->sh, &rq->groups.items[0], true, &hc->arena, &rs->groups.items[0]);
    shard_complete(hc->sh, &hc->call);
}

static void take_positions(struct client *cl,
                           const struct offset_fetch_response_offset_fetch_response_group *group)
{
    struct world *w = cl->w;
    for (int32_t i = 0; i < group->topics.count; i++) {
        int t = topics_find(w, group->topics.items[i].name);
        for (int32_t k = 0; t >= 0 && k < group->topics.items[i].partitions.count; k++) {
            int32_t p = group->topics.items[i].partitions.items[k].partition_index;
            int64_t offset = group->topics.items[i].partitions.items[k].committed_offset;
            if (cl->position[t][p] < 0) {
                cl->position[t][p] = max_i64(offset, 0);
            }
        }
    }
}

static void fetch_done(struct client *cl, struct host_call *hc)
{
    const struct offset_fetch_response *rs = hc->call.response;
    int16_t error = hc->is_refused ? (int16_t)hc->refused : rs->groups.items[0].error_code;
    if (error != 0) {
        on_offsets_error(cl, error);
        return;
    }
    sim_happened(cl->w->s, "offsets fetched");
    take_positions(cl, &rs->groups.items[0]);
    client_think_soon(cl);
}

static void send_fetch(struct client *cl)
{
    struct world *w = cl->w;
    struct host_call *hc = client_call(cl, &offset_fetch_request_msg, &offset_fetch_response_msg, 9,
                                       run_fetch, fetch_done);
    struct offset_fetch_request *rq = (void *)(uintptr_t)hc->call.body;
    rq->groups.items = codec_array(&hc->arena, offset_fetch_request_offset_fetch_request_group, 1);
    rq->groups.count = 1;
    struct offset_fetch_request_offset_fetch_request_group *group = &rq->groups.items[0];
    group->group_id = group_name(w, cl->group);
    if (cl->kind == CLIENT_MODERN) {
        group->member_id = arena_strdup(&hc->arena, str_from(cl->member_id));
        group->member_epoch = cl->epoch;
    }
    group->topics.items = codec_array(&hc->arena, offset_fetch_request_offset_fetch_request_topics,
                                      (size_t)w->topics_count);
    for (int t = 0; t < w->topics_count; t++) {
        uint32_t mask = held_mask(w, &cl->owns[t], t);
        struct offset_fetch_request_offset_fetch_request_topics *to =
            &group->topics.items[group->topics.count];
        to->name = arena_strdup(&hc->arena, str_from(w->topics[t].name));
        to->partition_indexes.items = arena_alloc(&hc->arena, PARTITIONS_MAX * sizeof(int32_t));
        for (int32_t p = 0; p < PARTITIONS_MAX; p++) {
            if ((mask >> p & 1) != 0 && cl->position[t][p] < 0) {
                to->partition_indexes.items[to->partition_indexes.count++] = p;
            }
        }
        group->topics.count += to->partition_indexes.count > 0;
    }
    client_send(cl, hc, COMMIT_TIMEOUT_US);
}

static bool must_fetch(const struct client *cl)
{
    for (int t = 0; t < cl->w->topics_count; t++) {
        uint32_t mask = held_mask(cl->w, &cl->owns[t], t);
        for (int p = 0; p < PARTITIONS_MAX; p++) {
            if ((mask >> p & 1) != 0 && cl->position[t][p] < 0) {
                return true;
            }
        }
    }
    return false;
}

bool client_use_partitions(struct client *cl)
{
    if (!client_owns_any(cl)) {
        return false;
    }
    if (must_fetch(cl)) {
        send_fetch(cl);
        return true;
    }
    if (sim_rng_chance(&cl->w->client_rng, 400)) {
        send_commit(cl);
        return true;
    }
    return false;
}

/* ---- its life ---- */

static void draw_topics(struct client *cl)
{
    struct world *w = cl->w;
    uint32_t all = (1u << w->topics_count) - 1;
    /* A static member that comes back with another subscription is not heard in Kafka either. */
    bool is_fixed = cl->is_static && cl->kind != CLIENT_MODERN;
    cl->topics = is_fixed || sim_rng_chance(&w->client_rng, 600) ? all : 0;
    while (cl->topics == 0) {
        cl->topics = (uint32_t)sim_rng_next(&w->client_rng) & all;
    }
    cl->uses_regex =
        cl->kind == CLIENT_MODERN && !cl->keeps_old_version && sim_rng_chance(&w->client_rng, 200);
    if (cl->uses_regex) { /* those that end with a: the even ones */
        cl->topics = all & 0x55555555u;
    }
}

void client_init(struct world *w, struct client *cl, int group, enum client_kind kind)
{
    struct sim_rng *rng = &w->client_rng;
    *cl = (struct client){.w = w, .index = (int)(cl - w->clients), .group = group, .kind = kind};
    cl->is_static = sim_rng_chance(rng, 250);
    /* Few names: sometimes two claim the same one. */
    snprintf(cl->instance_id, sizeof(cl->instance_id), "i%d-%d", group,
             (int)sim_rng_below(rng, (uint64_t)w->clients_count + 2));
    cl->keeps_old_version = sim_rng_chance(rng, 250);
    /* Classic ones do not know static members; version 0 of the consumer protocol cannot say that
     * it has no regular expression, and a static member inherits that of the one before it. */
    cl->is_static &= !cl->keeps_old_version;
    cl->session_timeout_ms = (int32_t)sim_rng_between(rng, 6000, 12000);
    cl->rebalance_timeout_ms = (int32_t)sim_rng_between(rng, 5000, 15000);
    cl->assignor = sim_rng_chance(rng, 700) ? NULL : sim_rng_chance(rng, 500) ? "range" : "uniform";
    if (cl->is_static && cl->assignor == NULL) {
        cl->assignor = "uniform"; /* else it would have that of the one before it, too */
    }
    draw_topics(cl);
    sim_event_init(&cl->think, think, cl);
    sim_event_init(&cl->timeout, on_timeout, cl);
}

static void own_everything(struct client *cl)
{
    struct held owns[TOPICS_MAX] = {0};
    for (int t = 0; t < cl->w->topics_count; t++) {
        owns[t] = (struct held){
            .incarnation = cl->w->topics[t].incarnation,
            .mask = cl->w->topics[t].exists ? (1u << cl->w->topics[t].partitions) - 1 : 0,
        };
    }
    client_own(cl, owns);
}

void client_start(struct client *cl)
{
    if (cl->state != CLIENT_OFF) {
        return;
    }
    sim_note(cl->w->s, "client %d of group %d starts, kind %d%s%s", cl->index, cl->group,
             (int)cl->kind, cl->is_static ? " as " : "", cl->is_static ? cl->instance_id : "");
    sim_happened(cl->w->s, "client started");
    cl->member_id[0] = '\0';
    cl->epoch = cl->kind == CLIENT_MODERN ? 0 : -1;
    cl->state = CLIENT_JOINS;
    cl->must_rejoin = false;
    cl->has_target = false;
    cl->is_revoking = false;
    client_own_nothing(cl);
    if (cl->kind == CLIENT_SIMPLE) {
        cl->state = CLIENT_IS_MEMBER;
        own_everything(cl);
    } else if (cl->kind == CLIENT_MODERN && !cl->keeps_old_version) {
        snprintf(cl->member_id, sizeof(cl->member_id), "m%d-%016" PRIx64, cl->index,
                 sim_rng_next(&cl->w->client_rng));
    }
    client_think_soon(cl);
}

static void end(struct client *cl)
{
    cl->state = CLIENT_OFF;
    cl->is_paused = false;
    cl->is_waiting = false;
    cl->is_revoking = false;
    cl->must_rejoin = false;
    cl->serial++;
    client_own_nothing(cl);
    sim_disarm(cl->w->s, &cl->think);
    sim_disarm(cl->w->s, &cl->timeout);
}

void client_die(struct client *cl)
{
    if (cl->state != CLIENT_OFF) {
        sim_note(cl->w->s, "client %d dies", cl->index);
        sim_happened(cl->w->s, "client died");
        end(cl);
    }
}

void client_leave(struct client *cl)
{
    bool may_leave = cl->state == CLIENT_IS_MEMBER && !cl->is_waiting && !cl->is_paused &&
                     cl->kind != CLIENT_SIMPLE;
    if (!may_leave || (cl->is_static && cl->kind != CLIENT_MODERN)) {
        return;
    }
    sim_note(cl->w->s, "client %d leaves", cl->index);
    sim_happened(cl->w->s, "client left");
    client_own_nothing(cl);
    cl->state = CLIENT_LEAVES;
    client_think_soon(cl);
}

static void on_resume(struct sim_event *ev, void *ctx)
{
    struct client *cl = ctx;
    cl->is_paused = false;
    ev->fire = think;
    think(ev, ctx);
}

void client_resume(struct client *cl)
{
    if (cl->is_paused) {
        client_think_soon(cl);
    }
}

/* A long stop of the process: it hears no answer, and believes what it believed. */
void client_pause(struct client *cl, int64_t us)
{
    if (cl->state == CLIENT_OFF || cl->is_paused) {
        return;
    }
    sim_note(cl->w->s, "client %d pauses for %" PRId64 " ms", cl->index, us / 1000);
    sim_happened(cl->w->s, "client paused");
    cl->is_paused = true;
    cl->is_waiting = false;
    cl->must_say_all = true;
    cl->must_say_owns = true;
    cl->serial++;
    sim_disarm(cl->w->s, &cl->timeout);
    cl->think.fire = on_resume;
    client_think_in(cl, us);
}

void client_resubscribe(struct client *cl)
{
    if (cl->state != CLIENT_IS_MEMBER || cl->kind == CLIENT_SIMPLE || cl->is_paused) {
        return;
    }
    uint32_t before = cl->topics;
    bool had_regex = cl->uses_regex;
    draw_topics(cl);
    if (cl->topics != before || cl->uses_regex != had_regex) {
        sim_note(cl->w->s, "client %d subscribes to %x, not to %x", cl->index, cl->topics, before);
        sim_happened(cl->w->s, "subscription changed");
        cl->must_rejoin = cl->kind != CLIENT_MODERN;
        cl->must_say_all = true;
    }
}

void client_release(struct client *cl)
{
    end(cl);
    classic_client_release(cl);
}
