/*
 * A client of the consumer group protocol (KIP-848): heartbeats tell what it is subscribed to and
 * what it holds, answers tell what it should hold. It gives back what it should not hold any more,
 * which takes a while, then takes the new, then says so.
 */
#include "base/base.h"

#include "group_host.h"
#include "group_world.h"

enum {
    TIMEOUT_US = 2000000,
    REVOKE_MEAN_US = 300000,
};

/* ---- what it has and should have ---- */

static void finish_reconciling(struct client *cl)
{
    cl->is_revoking = false;
    cl->has_target = false;
    client_own(cl, cl->target);
    cl->must_say_owns = true;
    client_think_soon(cl);
}

static void begin_reconciling(struct client *cl)
{
    struct world *w = cl->w;
    bool must_revoke = false;
    for (int t = 0; t < w->topics_count; t++) {
        uint32_t gone = held_mask(w, &cl->owns[t], t) & ~held_mask(w, &cl->target[t], t);
        must_revoke |= gone != 0;
    }
    if (!must_revoke) {
        finish_reconciling(cl);
        return;
    }
    cl->is_revoking = true;
    int64_t us = sim_rng_exponential(&w->client_rng, REVOKE_MEAN_US);
    if (!w->is_calm && sim_rng_chance(&w->client_rng, 30)) {
        us = 2 * (int64_t)cl->rebalance_timeout_ms * 1000; /* too long */
        sim_happened(w->s, "revocation too slow");
    }
    cl->revoked_us = w->s->now_us + us;
}

static void take_target(struct client *cl,
                        const struct consumer_group_heartbeat_response_assignment *a)
{
    struct world *w = cl->w;
    memset(cl->target, 0, sizeof(cl->target));
    for (int32_t i = 0; i < a->topic_partitions.count; i++) {
        int t = topics_find_id(w, &a->topic_partitions.items[i].topic_id);
        if (t < 0) {
            continue; /* gone meanwhile */
        }
        cl->target[t].incarnation = w->topics[t].incarnation;
        for (int32_t p = 0; p < a->topic_partitions.items[i].partitions.count; p++) {
            cl->target[t].mask |= 1u << a->topic_partitions.items[i].partitions.items[p];
        }
    }
    cl->has_target = true;
    begin_reconciling(cl);
}

/* ---- answers ---- */

static void begin_anew(struct client *cl)
{
    client_own_nothing(cl);
    cl->epoch = 0;
    cl->has_target = false;
    cl->is_revoking = false;
    cl->state = CLIENT_JOINS;
    client_back_off(cl);
}

void modern_client_on_error(struct client *cl, int16_t error)
{
    struct world *w = cl->w;
    switch (error) {
    case KAFKA_ERROR_UNKNOWN_MEMBER_ID:
    case KAFKA_ERROR_FENCED_MEMBER_EPOCH:
        sim_happened(w->s, "modern member fenced");
        begin_anew(cl);
        break;
    case KAFKA_ERROR_UNRELEASED_INSTANCE_ID: /* somebody else uses that name, or has used it */
    case KAFKA_ERROR_GROUP_ID_NOT_FOUND:     /* a classic group that cannot be upgraded */
        if (error == KAFKA_ERROR_GROUP_ID_NOT_FOUND && cl->state == CLIENT_IS_MEMBER) {
            begin_anew(cl);
        } else if (sim_rng_chance(&w->client_rng, 20)) {
            sim_happened(w->s, "modern member gives up");
            client_die(cl);
        } else {
            client_back_off(cl);
        }
        break;
    case KAFKA_ERROR_STALE_MEMBER_EPOCH: /* the next heartbeat brings the new one */
        client_back_off(cl);
        break;
    case KAFKA_ERROR_GROUP_MAX_SIZE_REACHED:
    case KAFKA_ERROR_FENCED_INSTANCE_ID:
        sim_happened(w->s,
                     error == KAFKA_ERROR_FENCED_INSTANCE_ID ? "instance fenced" : "group full");
        client_die(cl);
        break;
    default:
        if (is_transient(error)) {
            client_back_off(cl);
            break;
        }
        sim_fail(w->s, "client %d, modern, state %d: error %d", cl->index, (int)cl->state,
                 (int)error);
        break;
    }
}

static void heartbeat_done(struct client *cl, struct host_call *hc)
{
    const struct consumer_group_heartbeat_response *rs = hc->call.response;
    int16_t error = hc->is_refused ? (int16_t)hc->refused : rs->error_code;
    sim_note(cl->w->s, "client %d: heartbeat of epoch %d: error %d, epoch %d%s", cl->index,
             (int)cl->epoch, (int)error, (int)rs->member_epoch,
             rs->assignment == NULL ? "" : ", assignment");
    if (cl->state == CLIENT_LEAVES) {
        if (is_transient(error)) {
            client_back_off(cl);
        } else {
            client_die(cl);
        }
        return;
    }
    if (error != 0) {
        cl->must_say_all = true;
        cl->must_say_owns = true;
        modern_client_on_error(cl, error);
        return;
    }
    if (cl->state == CLIENT_JOINS) {
        sim_happened(cl->w->s, "modern member joined");
        cl->state = CLIENT_IS_MEMBER;
    }
    if (!str_is_null(rs->member_id)) {
        snprintf(cl->member_id, sizeof(cl->member_id), STR_FMT, STR_ARG(rs->member_id));
    }
    cl->epoch = rs->member_epoch;
    cl->owns_epoch = cl->epoch;
    if (rs->assignment != NULL) {
        take_target(cl, rs->assignment);
    }
    client_think_in(cl, sim_rng_between(&cl->w->client_rng, 1, rs->heartbeat_interval_ms) * 1000);
    if (cl->must_say_owns) {
        client_think_soon(cl);
    }
}

/* ---- heartbeats ---- */

static void run_heartbeat(struct host_call *hc)
{
    struct consumer_group_heartbeat_request *rq = (void *)(uintptr_t)hc->call.body;
    if (hc->w->mistake == MISTAKE_BELIEVES_EARLY && rq->member_epoch > 0) {
        const struct group *g = group_find(hc->sh, rq->group_id);
        const struct consumer_member *m = g == NULL || g->kind != GROUP_CONSUMER
                                              ? NULL
                                              : consumer_member_find(g->consumer, rq->member_id);
        if (m != NULL && m->pending_revocation.count > 0) {
            rq->topic_partitions.items =
                codec_array(&hc->arena, consumer_group_heartbeat_request_topic_partitions, 1);
            rq->topic_partitions.count = 0;
        }
    }
    consumer_heartbeat(hc->sh, &hc->call);
}

static void
say_owns(struct client *cl, struct host_call *hc, struct consumer_group_heartbeat_request *rq)
{
    struct world *w = cl->w;
    rq->topic_partitions.items = codec_array(
        &hc->arena, consumer_group_heartbeat_request_topic_partitions, (size_t)w->topics_count);
    rq->topic_partitions.count = 0;
    for (int t = 0; t < w->topics_count && rq->member_epoch > 0; t++) {
        uint32_t mask = held_mask(w, &cl->owns[t], t);
        if (mask == 0) {
            continue;
        }
        struct consumer_group_heartbeat_request_topic_partitions *to =
            &rq->topic_partitions.items[rq->topic_partitions.count++];
        to->topic_id = w->topics[t].id;
        to->partitions.items = arena_alloc(&hc->arena, PARTITIONS_MAX * sizeof(int32_t));
        for (int32_t p = 0; p < PARTITIONS_MAX; p++) {
            if ((mask >> p & 1) != 0) {
                to->partitions.items[to->partitions.count++] = p;
            }
        }
    }
}

static void say_subscription(struct client *cl,
                             struct host_call *hc,
                             struct consumer_group_heartbeat_request *rq)
{
    struct world *w = cl->w;
    rq->instance_id = client_instance(cl);
    rq->rack_id = cl->index % 3 == 0 ? STR("rack-a") : (struct str){0};
    rq->rebalance_timeout_ms = cl->rebalance_timeout_ms;
    rq->server_assignor = cl->assignor == NULL ? (struct str){0} : str_from(cl->assignor);
    rq->subscribed_topic_names.items =
        arena_alloc(&hc->arena, (size_t)w->topics_count * sizeof(struct str));
    rq->subscribed_topic_names.count = 0;
    rq->subscribed_topic_regex = hc->call.version == 0 ? (struct str){0}
                                 : cl->uses_regex      ? STR("t[0-9]a")
                                                       : STR("");
    for (int t = 0; t < w->topics_count && !cl->uses_regex; t++) {
        if ((cl->topics >> t & 1) != 0) {
            rq->subscribed_topic_names.items[rq->subscribed_topic_names.count++] =
                arena_strdup(&hc->arena, str_from(w->topics[t].name));
        }
    }
}

static void send_heartbeat(struct client *cl, int32_t epoch)
{
    struct host_call *hc = client_call(
        cl, &consumer_group_heartbeat_request_msg, &consumer_group_heartbeat_response_msg,
        cl->keeps_old_version ? 0 : 1, run_heartbeat, heartbeat_done);
    struct consumer_group_heartbeat_request *rq = (void *)(uintptr_t)hc->call.body;
    rq->group_id = group_name(cl->w, cl->group);
    rq->member_id = arena_strdup(&hc->arena, str_from(cl->member_id));
    rq->member_epoch = epoch;
    rq->instance_id = client_instance(cl);
    rq->topic_partitions.count = -1;
    rq->subscribed_topic_names.count = -1;
    if (epoch >= 0 && (epoch == 0 || cl->must_say_all)) {
        say_subscription(cl, hc, rq);
        cl->must_say_all = false;
        cl->must_say_owns = true;
    }
    if (epoch >= 0 && cl->must_say_owns) {
        say_owns(cl, hc, rq);
        cl->must_say_owns = false;
    }
    client_send(cl, hc, TIMEOUT_US);
}

void modern_client_think(struct client *cl)
{
    struct world *w = cl->w;
    switch (cl->state) {
    case CLIENT_OFF:
    case CLIENT_SYNCS:
        break;
    case CLIENT_JOINS:
        if (cl->keeps_old_version && cl->epoch == 0 && sim_rng_chance(&w->client_rng, 500)) {
            cl->member_id[0] = '\0';
        }
        send_heartbeat(cl, 0);
        break;
    case CLIENT_IS_MEMBER:
        if (cl->is_revoking && w->s->now_us >= cl->revoked_us) {
            finish_reconciling(cl);
            break;
        }
        if (!cl->must_say_owns && sim_rng_chance(&w->client_rng, 500) &&
            client_use_partitions(cl)) {
            break;
        }
        send_heartbeat(cl, cl->epoch);
        break;
    case CLIENT_LEAVES:
        send_heartbeat(cl, cl->is_static ? -2 : -1);
        break;
    }
}
