/*
 * ConsumerGroupHeartbeat: joins, stays and leaves. The order of what is refused is Kafka's:
 *
 *     the request alone      empty or blank ids, what a join must carry, epoch below -2,
 *                            an assignor that there is not
 *     the group              unknown, of the other protocol and not to be converted, full
 *     the member             unknown, its instance in use or taken by another, wrong epoch
 *     the pattern            not one
 *     memory                 (ours) the shard's budget
 *
 * Nothing is written before all of that has passed. Kafka: GroupCoordinatorService and
 * GroupMetadataManager.consumerGroupHeartbeat, consumerGroupLeave.
 */
#include "coord/consumer_private.h"

#include "base/base.h"
#include "coord/classic.h"
#include "coord/pattern.h"

struct beat {
    struct shard *sh;
    struct shard_call *call;
    const struct consumer_group_heartbeat_request *request;
    struct consumer_group_heartbeat_response *response;
    struct group *g;              /* NULL: to be made */
    struct consumer_member *base; /* who it is, or the static member that it replaces; NULL: new */
    bool is_replacement;
};

static bool refuse(struct beat *b, enum kafka_error error, struct str message)
{
    *b->response = consumer_group_heartbeat_response_default;
    b->response->error_code = (int16_t)error;
    b->response->error_message = message;
    return false;
}

/* As Java's trim().isEmpty(). */
static bool is_blank(struct str s)
{
    if (str_is_null(s)) {
        return false;
    }
    for (size_t i = 0; i < s.len; i++) {
        if ((uint8_t)s.ptr[i] > ' ') {
            return false;
        }
    }
    return true;
}

static bool has_assignor(const struct shard *sh, struct str name)
{
    for (size_t i = 0; i < sh->config->assignors_count; i++) {
        if (str_equal(sh->config->assignors[i], name)) {
            return true;
        }
    }
    return false;
}

static bool refuse_assignor(struct beat *b)
{
    const struct shard_config *config = b->sh->config;
    struct str known = STR("");
    for (size_t i = 0; i < config->assignors_count; i++) {
        known = arena_printf(b->call->arena, STR_FMT "%s" STR_FMT, STR_ARG(known),
                             i == 0 ? "" : ", ", STR_ARG(config->assignors[i]));
    }
    return refuse(
        b, KAFKA_ERROR_UNSUPPORTED_ASSIGNOR,
        arena_printf(b->call->arena,
                     "there is no such server assignor; group.consumer.assignors has: " STR_FMT,
                     STR_ARG(known)));
}

static bool check_join(struct beat *b)
{
    const struct consumer_group_heartbeat_request *rq = b->request;
    if (rq->rebalance_timeout_ms == -1) {
        return refuse(b, KAFKA_ERROR_INVALID_REQUEST,
                      STR("a member that joins must give its rebalance timeout"));
    }
    if (rq->topic_partitions.count != 0) {
        return refuse(b, KAFKA_ERROR_INVALID_REQUEST,
                      STR("a member that joins must say that it owns no partitions"));
    }
    if (rq->subscribed_topic_names.count < 0 && str_is_null(rq->subscribed_topic_regex)) {
        return refuse(b, KAFKA_ERROR_INVALID_REQUEST,
                      STR("a member that joins must give topic names or a pattern"));
    }
    return true;
}

static bool check_request(struct beat *b)
{
    const struct consumer_group_heartbeat_request *rq = b->request;
    int32_t epoch = rq->member_epoch;
    if ((b->call->version >= 1 || epoch > 0 || epoch == -1) && is_blank(rq->member_id)) {
        return refuse(b, KAFKA_ERROR_INVALID_REQUEST, STR("the member id is empty"));
    }
    if (is_blank(rq->group_id)) {
        return refuse(b, KAFKA_ERROR_INVALID_REQUEST, STR("the group id is empty"));
    }
    if (is_blank(rq->instance_id)) {
        return refuse(b, KAFKA_ERROR_INVALID_REQUEST, STR("the instance id is empty"));
    }
    if (is_blank(rq->rack_id)) {
        return refuse(b, KAFKA_ERROR_INVALID_REQUEST, STR("the rack id is empty"));
    }
    if (epoch == 0 && !check_join(b)) {
        return false;
    }
    if (epoch == -2 && str_is_null(rq->instance_id)) {
        return refuse(b, KAFKA_ERROR_INVALID_REQUEST,
                      STR("only a member with an instance id leaves for a while"));
    }
    if (epoch < -2) {
        return refuse(b, KAFKA_ERROR_INVALID_REQUEST, STR("there is no such member epoch"));
    }
    if (!str_is_null(rq->server_assignor) && !has_assignor(b->sh, rq->server_assignor)) {
        return refuse_assignor(b);
    }
    return true;
}

/* ---- the group ---- */

static bool is_classic_with_members(const struct group *g)
{
    return g != NULL && g->kind == GROUP_CLASSIC && !group_is_empty(g);
}

static bool classic_has(const struct group *g, struct str member_id, struct str instance_id)
{
    return classic_member_find(g->classic, member_id) != NULL ||
           (!str_is_null(instance_id) &&
            classic_member_find_instance(g->classic, instance_id) != NULL);
}

static bool check_size(struct beat *b)
{
    const struct consumer_group_heartbeat_request *rq = b->request;
    size_t members = 0;
    bool is_in = false;
    if (is_classic_with_members(b->g)) {
        members = b->g->classic->members.count;
        is_in = classic_has(b->g, rq->member_id, rq->instance_id);
    } else if (b->g != NULL && b->g->kind == GROUP_CONSUMER) {
        const struct consumer *cg = b->g->consumer;
        members = cg->members_count;
        is_in = consumer_member_of_instance(cg, rq->instance_id) != NULL ||
                consumer_member_find(cg, rq->member_id) != NULL;
    }
    if (!is_in && to_i64(members) >= b->sh->config->consumer_max_size) {
        return refuse(b, KAFKA_ERROR_GROUP_MAX_SIZE_REACHED,
                      STR("the group has as many members as group.consumer.max.size allows"));
    }
    return true;
}

static bool check_group(struct beat *b)
{
    bool is_join = b->request->member_epoch == 0;
    b->g = group_find(b->sh, b->request->group_id);
    if (b->g == NULL && !is_join) {
        return refuse(b, KAFKA_ERROR_GROUP_ID_NOT_FOUND, STR("there is no such group"));
    }
    if (b->g != NULL && b->g->kind == GROUP_CLASSIC) {
        if (!is_join) {
            return refuse(b, KAFKA_ERROR_GROUP_ID_NOT_FOUND, STR("this is no consumer group"));
        }
        if (!group_is_empty(b->g)) {
            struct str message = {0};
            enum kafka_error error = b->sh->machines->groups->check_upgrade(b->sh, b->g, &message);
            if (error != KAFKA_ERROR_NONE) {
                return refuse(b, error, message);
            }
        }
    }
    return check_size(b);
}

/* ---- the member ---- */

/* Every partition that it names is among those that it was given. */
static bool owns_only_assigned(const struct consumer_group_heartbeat_request *rq,
                               const struct consumer_member *m)
{
    if (rq->topic_partitions.count < 0) {
        return false;
    }
    for (int32_t i = 0; i < rq->topic_partitions.count; i++) {
        const struct consumer_group_heartbeat_request_topic_partitions *tp =
            &rq->topic_partitions.items[i];
        if (assignment_find(&m->assigned, &tp->topic_id) == NULL) {
            return false;
        }
        for (int32_t j = 0; j < tp->partitions.count; j++) {
            if (!assignment_has(&m->assigned, &tp->topic_id, tp->partitions.items[j])) {
                return false;
            }
        }
    }
    return true;
}

static bool check_epoch(struct beat *b, const struct consumer_member *m)
{
    int32_t epoch = b->request->member_epoch;
    if (epoch == 0) {
        return true;
    }
    if (epoch > m->epoch) {
        return refuse(b, KAFKA_ERROR_FENCED_MEMBER_EPOCH,
                      arena_printf(b->call->arena,
                                   "member epoch %" PRId32 " is above the known one, %" PRId32
                                   "; give everything back and join again",
                                   epoch, m->epoch));
    }
    /* The answer with the epoch after this one may have been lost. */
    if (epoch < m->epoch && (epoch != m->previous_epoch || !owns_only_assigned(b->request, m))) {
        return refuse(b, KAFKA_ERROR_FENCED_MEMBER_EPOCH,
                      arena_printf(b->call->arena,
                                   "member epoch %" PRId32 " is below the known one, %" PRId32
                                   "; give everything back and join again",
                                   epoch, m->epoch));
    }
    return true;
}

static bool check_instance(struct beat *b, const struct consumer_member *owner)
{
    if (owner == NULL) {
        return refuse(b, KAFKA_ERROR_UNKNOWN_MEMBER_ID, STR("nobody has this instance id"));
    }
    if (!str_equal(owner->id, b->request->member_id)) {
        return refuse(b, KAFKA_ERROR_FENCED_INSTANCE_ID,
                      STR("the instance id belongs to another member now"));
    }
    return true;
}

static bool check_static(struct beat *b, const struct consumer *cg)
{
    struct consumer_member *owner = consumer_member_of_instance(cg, b->request->instance_id);
    if (b->request->member_epoch != 0) {
        b->base = owner;
        return check_instance(b, owner) && check_epoch(b, owner);
    }
    if (owner == NULL) {
        b->base = consumer_member_find(cg, b->request->member_id);
        return true;
    }
    if (owner->classic == NULL && owner->epoch != -2) {
        return refuse(b, KAFKA_ERROR_UNRELEASED_INSTANCE_ID,
                      STR("the instance id is in use by another member"));
    }
    b->base = owner;
    b->is_replacement = true;
    return true;
}

static bool check_member(struct beat *b)
{
    if (b->g == NULL || b->g->kind != GROUP_CONSUMER) {
        return true;
    }
    const struct consumer *cg = b->g->consumer;
    if (!str_is_null(b->request->instance_id)) {
        return check_static(b, cg);
    }
    b->base = consumer_member_find(cg, b->request->member_id);
    if (b->base == NULL && b->request->member_epoch != 0) {
        return refuse(b, KAFKA_ERROR_UNKNOWN_MEMBER_ID, STR("there is no such member"));
    }
    return b->base == NULL || check_epoch(b, b->base);
}

static bool check_pattern(struct beat *b)
{
    struct str regex = b->request->subscribed_topic_regex;
    if (!regex_is_set(regex) || (b->base != NULL && str_equal(b->base->regex, regex))) {
        return true;
    }
    if (b->g != NULL && b->g->kind == GROUP_CONSUMER) {
        const struct subscribed_regex *sr = consumer_regex_find(b->g->consumer, regex);
        if (sr != NULL && sr->members > 0) {
            return true;
        }
    }
    struct str reason = {0};
    struct pattern *pattern = pattern_new(regex, b->call->arena, &reason);
    if (pattern == NULL) {
        return refuse(b, KAFKA_ERROR_INVALID_REGULAR_EXPRESSION, reason);
    }
    pattern_free(pattern);
    return true;
}

/* ---- as it shall stand ---- */

static void describe_update(const struct beat *b, struct consumer_member *ret)
{
    const struct consumer_group_heartbeat_request *rq = b->request;
    struct consumer_member updated = {
        .regex = STR(""),
        .rebalance_timeout_ms = -1,
    };
    if (b->base != NULL) {
        updated.instance_id = b->base->instance_id;
        updated.rack_id = b->base->rack_id;
        updated.topics = b->base->topics;
        updated.topics_count = b->base->topics_count;
        updated.regex = b->base->regex;
        updated.server_assignor = b->base->server_assignor;
        updated.rebalance_timeout_ms = b->base->rebalance_timeout_ms;
    }
    updated.id = rq->member_id;
    updated.client_id = str_is_null(b->call->client_id) ? STR("") : b->call->client_id;
    updated.client_host = b->call->client_host;
    if (!str_is_null(rq->instance_id)) {
        updated.instance_id = rq->instance_id;
    }
    if (!str_is_null(rq->rack_id)) {
        updated.rack_id = rq->rack_id;
    }
    if (rq->rebalance_timeout_ms != -1) {
        updated.rebalance_timeout_ms = rq->rebalance_timeout_ms;
    }
    if (!str_is_null(rq->server_assignor)) {
        updated.server_assignor = rq->server_assignor;
    }
    if (!str_is_null(rq->subscribed_topic_regex)) {
        updated.regex = rq->subscribed_topic_regex;
    }
    if (rq->subscribed_topic_names.count >= 0) {
        updated.topics_count = to_size(rq->subscribed_topic_names.count);
        updated.topics =
            arena_alloc(b->call->arena, (updated.topics_count + 1) * sizeof(*updated.topics));
        for (size_t i = 0; i < updated.topics_count; i++) {
            updated.topics[i] = rq->subscribed_topic_names.items[i];
        }
        consumer_sort_names(updated.topics, &updated.topics_count);
    }
    *ret = updated;
}

static bool check_memory(struct beat *b, const struct consumer_member *updated)
{
    if (b->base != NULL && !b->is_replacement && consumer_metadata_equal(b->base, updated)) {
        return true;
    }
    int64_t cost = consumer_member_cost(updated);
    if ((b->g == NULL && !group_has_room(b->sh, b->request->group_id)) ||
        !shard_charge(b->sh, cost)) {
        return refuse(b, KAFKA_ERROR_GROUP_MAX_SIZE_REACHED,
                      STR("the memory for groups is used up"));
    }
    shard_give(b->sh, cost);
    return true;
}

/* NULL: the request does not say. */
static const struct assignment *read_owned(const struct beat *b, struct assignment *owned)
{
    const struct consumer_group_heartbeat_request *rq = b->request;
    if (rq->topic_partitions.count < 0) {
        return NULL;
    }
    struct assignment_builder ab;
    assignment_builder_init(&ab, b->call->arena);
    for (int32_t i = 0; i < rq->topic_partitions.count; i++) {
        const struct consumer_group_heartbeat_request_topic_partitions *tp =
            &rq->topic_partitions.items[i];
        for (int32_t j = 0; j < tp->partitions.count; j++) {
            assignment_builder_add(&ab, &tp->topic_id, tp->partitions.items[j]);
        }
    }
    assignment_builder_finish(&ab, owned);
    return owned;
}

/* The group exists and is a consumer group afterwards. */
static struct group *make_group(const struct beat *b)
{
    struct shard *sh = b->sh;
    struct str id = b->request->group_id;
    struct group *g = b->g;
    if (is_classic_with_members(g)) {
        sh->machines->groups->upgrade(sh, g);
        g = group_find(sh, id);
        check(g != NULL && g->kind == GROUP_CONSUMER);
        return g;
    }
    if (g != NULL && g->kind == GROUP_CLASSIC) {
        group_emit_tombstones(sh, g);
        g = group_find(sh, id); /* it may be gone, or keep its offsets */
        if (g != NULL && g->kind == GROUP_CLASSIC) {
            group_become_consumer(sh, g);
        }
    }
    return g != NULL ? g : group_add_consumer(sh, id);
}

/* ---- the steps ---- */

static void tell_causes(struct shard *sh,
                        struct group *g,
                        const struct consumer_member *m,
                        bool is_new,
                        bool has_subscription_changed,
                        bool has_assignor_changed)
{
    if (is_new) {
        story_begin(sh, g, STORY_NEW_MEMBER, m->id, (struct str){0});
    } else if (has_subscription_changed) {
        story_begin(sh, g, STORY_SUBSCRIPTION_CHANGED, m->id, (struct str){0});
    }
    if (has_assignor_changed) {
        story_begin(sh, g, STORY_ASSIGNOR_CHANGED, m->id, consumer_preferred_assignor(g->consumer));
    }
    if (!is_new && !has_subscription_changed && !has_assignor_changed) {
        story_begin(sh, g, STORY_TOPICS_CHANGED, (struct str){0}, (struct str){0});
    }
}

/* What its pattern's change means; emits the old one's tombstone. */
static bool change_regex(struct shard *sh,
                         struct group *g,
                         struct str was, /* a copy */
                         struct str is,
                         int32_t was_members,
                         int32_t is_members,
                         bool *ret_is_new)
{
    if (regex_is_set(was) && was_members == 1) {
        consumer_emit_regex_tombstone(sh, g, was);
    }
    if (!regex_is_set(is)) {
        return regex_is_set(was);
    }
    const struct subscribed_regex *sr = consumer_regex_find(g->consumer, is);
    *ret_is_new = is_members == 0;
    return is_members > 0 && sr->is_resolved;
}

static int32_t members_of_regex(const struct consumer *cg, struct str regex)
{
    const struct subscribed_regex *sr = regex_is_set(regex) ? consumer_regex_find(cg, regex) : NULL;
    return sr == NULL ? 0 : sr->members;
}

/* The group's epoch, when there is a reason. */
static void bump(struct shard *sh,
                 struct group *g,
                 const struct consumer_member *m,
                 bool is_new,
                 bool has_subscription_changed,
                 bool has_assignor_changed)
{
    struct consumer *cg = g->consumer;
    bool must = has_subscription_changed || has_assignor_changed;
    if (!must && sh->now_ms < cg->details->refresh_deadline_ms) {
        return;
    }
    int64_t hash = consumer_compute_hash(sh, cg);
    if (must || hash != cg->metadata_hash) {
        tell_causes(sh, g, m, is_new, has_subscription_changed, has_assignor_changed);
        consumer_emit_epoch(sh, g, cg->epoch + 1, hash);
    }
    cg->details->refresh_deadline_ms = sh->now_ms + INT32_MAX;
    if (cg->details->has_partition_metadata) {
        consumer_emit_partition_metadata_tombstone(sh, g);
    }
}

void consumer_apply(struct shard *sh,
                    struct group *g,
                    const struct consumer_member *updated,
                    const struct assignment *owned,
                    struct update_outcome *ret)
{
    struct consumer *cg = g->consumer;
    struct arena arena = {0};
    struct consumer_member *m = consumer_member_find(cg, updated->id);
    bool is_new = m == NULL;
    struct str was = m == NULL || str_equal(m->regex, updated->regex)
                         ? updated->regex
                         : arena_strdup(&arena, m->regex);
    if (is_new) {
        was = STR("");
    }
    bool has_regex_changed = !str_equal(was, updated->regex);
    bool has_names_changed = is_new ? updated->topics_count > 0 : !consumer_same_topics(m, updated);
    int32_t was_members = members_of_regex(cg, was);
    int32_t is_members = members_of_regex(cg, updated->regex);
    bool has_assignor_changed = false;
    if (is_new || !consumer_metadata_equal(m, updated)) {
        struct str assignor = arena_strdup(&arena, consumer_preferred_assignor(cg));
        consumer_emit_member(sh, g, updated);
        has_assignor_changed = !str_equal(assignor, consumer_preferred_assignor(cg));
        m = consumer_member_find(cg, updated->id);
        if (is_new) {
            story_event(sh, g, STORY_JOINED, m->id, (struct str){0});
        }
    }
    bool is_regex_new = false;
    bool is_resolved = has_regex_changed &&
                       change_regex(sh, g, was, m->regex, was_members, is_members, &is_regex_new);
    bump(sh, g, m, is_new, has_names_changed || is_resolved, has_assignor_changed);
    consumer_update_target(sh, g);
    ret->has_assignment_changed =
        consumer_reconcile(sh, g, m, owned, has_names_changed || has_regex_changed);
    ret->member = m;
    ret->is_regex_new = is_regex_new;
    consumer_touch_member(sh, m);
    arena_release(&arena);
}

void consumer_update_member(struct shard *sh,
                            struct group *g,
                            const struct consumer_member *updated,
                            const struct assignment *owned,
                            struct consumer_member **ret)
{
    struct update_outcome outcome;
    struct regex_before before;
    consumer_regex_before(g->consumer, &before);
    consumer_apply(sh, g, updated, owned, &outcome);
    consumer_refresh_regexes(sh, g, &before, outcome.is_regex_new);
    *ret = outcome.member;
}

struct consumer_member *consumer_replace_member(struct shard *sh,
                                                struct group *g,
                                                struct consumer_member *old,
                                                struct str new_id)
{
    struct consumer_member was = *old;
    struct arena arena = {0};
    struct consumer_position at = {
        .epoch = 0,
        .previous_epoch = 0,
        .state = old->state,
        .assigned_epochs = old->assigned_epochs,
        .pending_revocation_epochs = old->pending_revocation_epochs,
    };
    assignment_copy(&old->assigned, &at.assigned);
    assignment_copy(&old->pending_revocation, &at.pending_revocation);
    /* What the new one takes over is not freed with the old one. */
    old->texts = NULL;
    old->target = (struct assignment){0};
    old->assigned_epochs = NULL;
    old->pending_revocation_epochs = NULL;
    was.id = arena_strdup(&arena, new_id);
    story_event(sh, g, STORY_JOINED, was.id, STR("takes the place of its instance's member"));
    consumer_emit_member_tombstones(sh, g, old->id);
    consumer_emit_member(sh, g, &was);
    consumer_emit_target(sh, g, was.id, &was.target);
    consumer_emit_position(sh, g, was.id, &at);
    assignment_release(&at.assigned);
    assignment_release(&at.pending_revocation);
    assignment_release(&was.target);
    mem_free(was.assigned_epochs);
    mem_free(was.pending_revocation_epochs);
    mem_free(was.texts);
    struct consumer_member *m = consumer_member_find(g->consumer, was.id);
    arena_release(&arena);
    return m;
}

/* ---- answers ---- */

static void answer_assignment(struct beat *b, const struct consumer_member *m)
{
    struct consumer_group_heartbeat_response_assignment *answer =
        arena_alloc(b->call->arena, sizeof(*answer));
    *answer = consumer_group_heartbeat_response_assignment_default;
    struct consumer_group_heartbeat_response_topic_partitions *topics =
        arena_alloc(b->call->arena, (to_size(m->assigned.count) + 1) * sizeof(*topics));
    for (int32_t i = 0; i < m->assigned.count; i++) {
        const struct topic_partitions *tp = &m->assigned.topics[i];
        size_t bytes = to_size(tp->count) * sizeof(int32_t);
        topics[i] = consumer_group_heartbeat_response_topic_partitions_default;
        topics[i].topic_id = tp->id;
        topics[i].partitions.items = arena_alloc(b->call->arena, bytes);
        topics[i].partitions.count = tp->count;
        memcpy(topics[i].partitions.items, tp->partitions, bytes);
    }
    answer->topic_partitions.items = topics;
    answer->topic_partitions.count = m->assigned.count;
    b->response->assignment = answer;
}

static void beat(struct beat *b)
{
    struct shard *sh = b->sh;
    const struct consumer_group_heartbeat_request *rq = b->request;
    struct consumer_member updated;
    if (!check_group(b) || !check_member(b) || !check_pattern(b)) {
        return;
    }
    if (b->base != NULL && b->base->state == MEMBER_UNKNOWN && rq->topic_partitions.count != 0) {
        refuse(b, KAFKA_ERROR_FENCED_MEMBER_EPOCH,
               STR("the state of the member is not known here; give everything back and join"));
        return;
    }
    describe_update(b, &updated);
    if (!check_memory(b, &updated)) {
        return;
    }
    if (updated.id.len == 0) {
        char *text = arena_alloc(b->call->arena, UUID_TEXT_SIZE);
        shard_kafka_uuid(sh, text);
        updated.id = str_from(text);
    }
    bool is_upgrade = is_classic_with_members(b->g);
    struct group *g = make_group(b);
    if (is_upgrade) { /* the one that joins may have been a classic member, or take its place */
        struct str id = updated.id;
        b->g = g;
        check(check_member(b));
        describe_update(b, &updated);
        updated.id = id;
    }
    struct regex_before before;
    consumer_regex_before(g->consumer, &before);
    if (b->is_replacement) {
        b->base = consumer_replace_member(sh, g, b->base, updated.id);
        describe_update(b, &updated); /* its texts have moved */
        updated.id = b->base->id;
    }
    struct assignment owned;
    struct update_outcome outcome;
    consumer_apply(sh, g, &updated, read_owned(b, &owned), &outcome);
    const struct consumer_member *m = outcome.member;
    struct group_settings settings;
    sh->config->settings(sh->config->settings_ctx, g->id, &settings);
    b->response->member_id = arena_strdup(b->call->arena, m->id);
    b->response->member_epoch = m->epoch;
    b->response->heartbeat_interval_ms = settings.heartbeat_interval_ms;
    bool is_full =
        rq->rebalance_timeout_ms != -1 && rq->topic_partitions.count >= 0 &&
        (rq->subscribed_topic_names.count >= 0 || !str_is_null(rq->subscribed_topic_regex));
    if (rq->member_epoch == 0 || is_full || outcome.has_assignment_changed) {
        answer_assignment(b, m);
    }
    consumer_refresh_regexes(sh, g, &before, outcome.is_regex_new);
}

static void leave(struct beat *b)
{
    struct shard *sh = b->sh;
    const struct consumer_group_heartbeat_request *rq = b->request;
    struct group *g = group_find(sh, rq->group_id);
    if (g == NULL || g->kind != GROUP_CONSUMER) {
        refuse(b, KAFKA_ERROR_GROUP_ID_NOT_FOUND, STR("there is no such consumer group"));
        return;
    }
    struct consumer_member *m;
    if (str_is_null(rq->instance_id)) {
        m = consumer_member_find(g->consumer, rq->member_id);
        if (m == NULL) {
            refuse(b, KAFKA_ERROR_UNKNOWN_MEMBER_ID, STR("there is no such member"));
            return;
        }
    } else {
        m = consumer_member_of_instance(g->consumer, rq->instance_id);
        if (!check_instance(b, m)) {
            return;
        }
    }
    b->response->member_id = arena_strdup(b->call->arena, m->id);
    b->response->member_epoch = rq->member_epoch;
    if (rq->member_epoch == -2) {
        story_event(sh, g, STORY_LEFT, m->id, STR("for a while: its instance may come back"));
        struct consumer_position at = {
            .epoch = -2,
            .previous_epoch = m->previous_epoch,
            .state = m->state,
            .assigned = m->assigned,
            .assigned_epochs = arena_alloc(
                b->call->arena, (to_size(assignment_size(&m->assigned)) + 1) * sizeof(int32_t)),
        };
        consumer_emit_position(sh, g, m->id, &at);
        return;
    }
    story_event(sh, g, STORY_LEFT, m->id, (struct str){0});
    consumer_remove_members(sh, g, &m, 1, STORY_MEMBER_LEFT, (struct str){0});
}

void consumer_heartbeat(struct shard *sh, struct shard_call *call)
{
    struct beat b = {
        .sh = sh,
        .call = call,
        .request = call->body,
        .response = call->response,
    };
    if (check_request(&b)) {
        if (b.request->member_epoch < 0) {
            leave(&b);
        } else {
            beat(&b);
        }
    }
    shard_complete(sh, call);
}
