/*
 * Administrators in sim_groups: they describe, delete groups and offsets, and remove members. They
 * wait for no answer.
 */
#include "base/base.h"

#include "coord/group_admin.h"
#include "coord/group_requests.h"
#include "coord/offsets.h"
#include "coord/story_print.h"
#include "group_host.h"
#include "group_world.h"

/* A delete is judged by what it did (check_executed), so one that was refused must not count. */
static void forget_kind(struct host_call *hc)
{
    hc->call.api_key = -1;
}

static void run_delete_group(struct host_call *hc)
{
    if (group_delete(hc->sh, group_name(hc->w, hc->group)) != KAFKA_ERROR_NONE) {
        forget_kind(hc);
    } else {
        sim_happened(hc->w->s, "group deleted");
    }
    shard_complete(hc->sh, &hc->call);
}

static void run_delete_offsets(struct host_call *hc)
{
    struct offset_delete_response rs = offset_delete_response_default;
    offsets_delete(hc->sh, hc->call.body, &hc->arena, &rs);
    if (rs.error_code != 0) {
        forget_kind(hc);
    } else {
        sim_happened(hc->w->s, "offsets deleted");
    }
    shard_complete(hc->sh, &hc->call);
}

static void run_describe(struct host_call *hc)
{
    struct str name = group_name(hc->w, hc->group);
    struct describe_groups_response_described_group classic =
        describe_groups_response_described_group_default;
    struct consumer_group_describe_response_described_group consumer =
        consumer_group_describe_response_described_group_default;
    struct group_list listed = {0};
    struct str text;
    group_describe(hc->sh, name, 6, &hc->arena, &classic);
    consumer_describe(hc->sh, name, &hc->arena, &consumer);
    group_list_add(hc->sh, &list_groups_request_default, &hc->arena, &listed);
    bool is_there = group_find(hc->sh, name) != NULL;
    bool is_explained =
        story_explain(hc->sh, name, sim_rng_chance(&hc->w->rng, 500), &hc->arena, &text);
    sim_expect(hc->w->s, is_there == is_explained, "group %d cannot be explained", hc->group);
    shard_complete(hc->sh, &hc->call);
    sim_happened(hc->w->s, "described");
}

static void run_remove(struct host_call *hc)
{
    group_leave(hc->sh, &hc->call);
}

static void *begin(struct host_call *hc, const struct msg *request, const struct msg *response)
{
    void *body = arena_alloc(&hc->arena, msg_size(request));
    hc->call.response = arena_alloc(&hc->arena, msg_size(response));
    msg_init(request, body);
    msg_init(response, hc->call.response);
    hc->call.api_key = msg_api_key(request);
    hc->call.body = body;
    return body;
}

static void remove_somebody(struct world *w, struct host_call *hc)
{
    struct client *cl = &w->clients[sim_rng_below(&w->rng, (uint64_t)w->clients_count)];
    struct leave_group_request *rq = begin(hc, &leave_group_request_msg, &leave_group_response_msg);
    hc->group = cl->group;
    hc->call.version = 5;
    hc->run = run_remove;
    rq->group_id = group_name(w, hc->group);
    rq->members.items = codec_array(&hc->arena, leave_group_request_member_identity, 1);
    rq->members.count = 1;
    if (cl->is_static && sim_rng_chance(&w->rng, 500)) {
        rq->members.items[0].group_instance_id =
            arena_strdup(&hc->arena, str_from(cl->instance_id));
        rq->members.items[0].member_id = STR("");
    } else {
        rq->members.items[0].member_id = arena_strdup(&hc->arena, str_from(cl->member_id));
    }
    rq->members.items[0].reason = STR("an admin wants it");
    sim_note(w->s, "an admin removes client %d", cl->index);
    sim_happened(w->s, "member removed");
}

static void delete_offsets(struct world *w, struct host_call *hc)
{
    struct offset_delete_request *rq =
        begin(hc, &offset_delete_request_msg, &offset_delete_response_msg);
    int t = (int)sim_rng_below(&w->rng, (uint64_t)w->topics_count);
    hc->run = run_delete_offsets;
    rq->group_id = group_name(w, hc->group);
    rq->topics.items =
        codec_array(&hc->arena, offset_delete_request_offset_delete_request_topic, 1);
    rq->topics.count = 1;
    rq->topics.items[0].name = str_from(w->topics[t].name);
    rq->topics.items[0].partitions.items =
        codec_array(&hc->arena, offset_delete_request_offset_delete_request_partition, 1);
    rq->topics.items[0].partitions.count = 1;
    rq->topics.items[0].partitions.items[0].partition_index =
        (int32_t)sim_rng_below(&w->rng, PARTITIONS_MAX);
}

void admin_do_something(struct world *w)
{
    struct host_call *hc = host_call_new(w, (int)sim_rng_below(&w->rng, (uint64_t)w->groups_count));
    switch (sim_rng_below(&w->rng, 6)) {
    case 0:
        begin(hc, &delete_groups_request_msg, &delete_groups_response_msg);
        hc->run = run_delete_group;
        break;
    case 1:
        delete_offsets(w, hc);
        break;
    case 2:
        remove_somebody(w, hc);
        break;
    default:
        begin(hc, &describe_groups_request_msg, &describe_groups_response_msg);
        hc->call.api_key = -1;
        hc->run = run_describe;
        break;
    }
    group_host_send(w->host, hc);
}
