/*
 * Records of a consumer group: how they are written and what each of them does when it is replayed.
 *
 *     kind  record                 value; a tombstone
 *     3     group                  epoch, hash of the topics; the group is gone
 *     4     partition metadata     of Kafka before 4.1, only remembered to be removed
 *     5     member                 its metadata; the member is gone
 *     6     target                 epoch and time of the target; epoch -1
 *     7     target of a member     its partitions; it has none
 *     8     current assignment     where the member has arrived; epoch -1 and nothing
 *     16    regular expression     topics that it matches; not resolved
 *
 * A compacted log keeps the last record of each key, in the order in which those were written, so
 * that a member's target or position may come before its metadata: a position makes the member, a
 * target waits for it (struct orphan_target).
 *
 * Kafka: GroupCoordinatorRecordHelpers, GroupMetadataManager.replay.
 */
#include "coord/consumer_private.h"

#include "base/base.h"
#include "coord/classic.h"
#include "coord/offsets.h"

/* ---- written ---- */

void consumer_emit_member(struct shard *sh, struct group *g, const struct consumer_member *m)
{
    struct consumer_group_member_metadata_key key = {.group_id = g->id, .member_id = m->id};
    struct consumer_group_member_metadata_value value =
        consumer_group_member_metadata_value_default;
    struct consumer_group_member_metadata_value_classic_member_metadata classic =
        consumer_group_member_metadata_value_classic_member_metadata_default;
    struct consumer_group_member_metadata_value_classic_protocol *protocols = NULL;
    value.instance_id = m->instance_id;
    value.rack_id = m->rack_id;
    value.client_id = m->client_id;
    value.client_host = m->client_host;
    value.subscribed_topic_names.items = m->topics;
    value.subscribed_topic_names.count = to_i32(to_i64(m->topics_count));
    value.subscribed_topic_regex = m->regex;
    value.rebalance_timeout_ms = m->rebalance_timeout_ms;
    value.server_assignor = m->server_assignor;
    value.classic_member_metadata = NULL; /* written as such: the default is none of null */
    if (m->classic != NULL) {
        size_t count = m->classic->protocols_count;
        protocols = mem_array(count + 1, sizeof(*protocols));
        for (size_t i = 0; i < count; i++) {
            protocols[i].name = m->classic->protocols[i].name;
            protocols[i].metadata = m->classic->protocols[i].metadata;
        }
        classic.session_timeout_ms = m->classic->session_timeout_ms;
        classic.supported_protocols.items = protocols;
        classic.supported_protocols.count = to_i32(to_i64(count));
        value.classic_member_metadata = &classic;
    }
    shard_emit(sh, &consumer_group_member_metadata_key_msg, &key,
               &consumer_group_member_metadata_value_msg, 0, &value);
    mem_free(protocols);
}

void consumer_emit_epoch(struct shard *sh, struct group *g, int32_t epoch, int64_t hash)
{
    struct consumer_group_metadata_key key = {.group_id = g->id};
    struct consumer_group_metadata_value value = consumer_group_metadata_value_default;
    value.epoch = epoch;
    value.metadata_hash = hash;
    shard_emit(sh, &consumer_group_metadata_key_msg, &key, &consumer_group_metadata_value_msg, 0,
               &value);
}

void consumer_emit_target(struct shard *sh,
                          struct group *g,
                          struct str member_id,
                          const struct assignment *target)
{
    struct consumer_group_target_assignment_member_key key = {.group_id = g->id,
                                                              .member_id = member_id};
    struct consumer_group_target_assignment_member_value value =
        consumer_group_target_assignment_member_value_default;
    struct consumer_group_target_assignment_member_value_topic_partition *topics =
        mem_array(to_size(target->count) + 1, sizeof(*topics));
    for (int32_t i = 0; i < target->count; i++) {
        topics[i].topic_id = target->topics[i].id;
        topics[i].partitions.items = target->topics[i].partitions;
        topics[i].partitions.count = target->topics[i].count;
    }
    value.topic_partitions.items = topics;
    value.topic_partitions.count = target->count;
    shard_emit(sh, &consumer_group_target_assignment_member_key_msg, &key,
               &consumer_group_target_assignment_member_value_msg, 0, &value);
    mem_free(topics);
}

void consumer_emit_target_metadata(struct shard *sh,
                                   struct group *g,
                                   int32_t epoch,
                                   int64_t timestamp)
{
    struct consumer_group_target_assignment_metadata_key key = {.group_id = g->id};
    struct consumer_group_target_assignment_metadata_value value =
        consumer_group_target_assignment_metadata_value_default;
    value.assignment_epoch = epoch;
    value.assignment_timestamp = timestamp;
    shard_emit(sh, &consumer_group_target_assignment_metadata_key_msg, &key,
               &consumer_group_target_assignment_metadata_value_msg, 0, &value);
}

/* epochs NULL: all at `otherwise`. The memory is the heap's, in one block. */
static struct consumer_group_current_member_assignment_value_topic_partitions *
with_epochs(const struct assignment *a, const int32_t *epochs, int32_t otherwise)
{
    struct consumer_group_current_member_assignment_value_topic_partitions *topics;
    size_t partitions = to_size(assignment_size(a));
    topics = mem_zalloc((to_size(a->count) + 1) * sizeof(*topics) + partitions * sizeof(int32_t));
    int32_t *copy = (int32_t *)(void *)(topics + a->count + 1);
    for (size_t i = 0; i < partitions; i++) {
        copy[i] = epochs == NULL ? otherwise : epochs[i];
    }
    for (int32_t i = 0; i < a->count; i++) {
        topics[i].topic_id = a->topics[i].id;
        topics[i].partitions.items = a->topics[i].partitions;
        topics[i].partitions.count = a->topics[i].count;
        topics[i].assignment_epochs.items = copy;
        topics[i].assignment_epochs.count = a->topics[i].count;
        copy += a->topics[i].count;
    }
    return topics;
}

void consumer_emit_position(struct shard *sh,
                            struct group *g,
                            struct str member_id,
                            const struct consumer_position *at)
{
    struct consumer_group_current_member_assignment_key key = {.group_id = g->id,
                                                               .member_id = member_id};
    struct consumer_group_current_member_assignment_value value =
        consumer_group_current_member_assignment_value_default;
    value.member_epoch = at->epoch;
    value.previous_member_epoch = at->previous_epoch;
    value.state = (int8_t)at->state;
    value.assigned_partitions.items = with_epochs(&at->assigned, at->assigned_epochs, at->epoch);
    value.assigned_partitions.count = at->assigned.count;
    value.partitions_pending_revocation.items =
        with_epochs(&at->pending_revocation, at->pending_revocation_epochs, at->epoch);
    value.partitions_pending_revocation.count = at->pending_revocation.count;
    shard_emit(sh, &consumer_group_current_member_assignment_key_msg, &key,
               &consumer_group_current_member_assignment_value_msg, 0, &value);
    mem_free(value.assigned_partitions.items);
    mem_free(value.partitions_pending_revocation.items);
}

void consumer_emit_regex(struct shard *sh,
                         struct group *g,
                         struct str text,
                         struct str *topics,
                         size_t topics_count)
{
    struct consumer_group_regular_expression_key key = {.group_id = g->id,
                                                        .regular_expression = text};
    struct consumer_group_regular_expression_value value =
        consumer_group_regular_expression_value_default;
    value.topics.items = topics;
    value.topics.count = to_i32(to_i64(topics_count));
    value.version = sh->topics->version;
    value.timestamp = sh->wall_ms;
    shard_emit(sh, &consumer_group_regular_expression_key_msg, &key,
               &consumer_group_regular_expression_value_msg, 0, &value);
}

void consumer_emit_regex_tombstone(struct shard *sh, struct group *g, struct str text)
{
    struct consumer_group_regular_expression_key key = {.group_id = g->id,
                                                        .regular_expression = text};
    shard_emit(sh, &consumer_group_regular_expression_key_msg, &key,
               &consumer_group_regular_expression_value_msg, 0, NULL);
}

void consumer_emit_partition_metadata_tombstone(struct shard *sh, struct group *g)
{
    struct consumer_group_partition_metadata_key key = {.group_id = g->id};
    shard_emit(sh, &consumer_group_partition_metadata_key_msg, &key,
               &consumer_group_partition_metadata_value_msg, 0, NULL);
}

static void emit_current_tombstone(struct shard *sh, struct group *g, struct str member_id)
{
    struct consumer_group_current_member_assignment_key key = {.group_id = g->id,
                                                               .member_id = member_id};
    shard_emit(sh, &consumer_group_current_member_assignment_key_msg, &key,
               &consumer_group_current_member_assignment_value_msg, 0, NULL);
}

static void emit_target_tombstone(struct shard *sh, struct group *g, struct str member_id)
{
    struct consumer_group_target_assignment_member_key key = {.group_id = g->id,
                                                              .member_id = member_id};
    shard_emit(sh, &consumer_group_target_assignment_member_key_msg, &key,
               &consumer_group_target_assignment_member_value_msg, 0, NULL);
}

static void emit_member_tombstone(struct shard *sh, struct group *g, struct str member_id)
{
    struct consumer_group_member_metadata_key key = {.group_id = g->id, .member_id = member_id};
    shard_emit(sh, &consumer_group_member_metadata_key_msg, &key,
               &consumer_group_member_metadata_value_msg, 0, NULL);
}

void consumer_emit_member_tombstones(struct shard *sh, struct group *g, struct str member_id)
{
    emit_current_tombstone(sh, g, member_id);
    emit_target_tombstone(sh, g, member_id);
    emit_member_tombstone(sh, g, member_id);
}

void consumer_emit_tombstones(struct shard *sh, struct group *g)
{
    struct consumer *cg = g->consumer;
    struct arena arena = {0};
    struct consumer_member **all = consumer_members_sorted(cg, &arena);
    size_t count = cg->members_count;
    struct str *ids = arena_alloc(&arena, (count + 1) * sizeof(*ids));
    for (size_t i = 0; i < count; i++) {
        ids[i] = arena_strdup(&arena, all[i]->id);
        emit_current_tombstone(sh, g, ids[i]);
    }
    for (size_t i = 0; i < count; i++) {
        emit_target_tombstone(sh, g, ids[i]);
    }
    struct consumer_group_target_assignment_metadata_key target_key = {.group_id = g->id};
    shard_emit(sh, &consumer_group_target_assignment_metadata_key_msg, &target_key,
               &consumer_group_target_assignment_metadata_value_msg, 0, NULL);
    size_t texts_count = 0;
    struct str *texts = arena_alloc(&arena, (cg->details->regexes.count + 1) * sizeof(*texts));
    hmap_foreach (node, &cg->details->regexes) {
        const struct subscribed_regex *sr = container_of(node, struct subscribed_regex, node);
        if (sr->is_resolved) {
            texts[texts_count++] = arena_strdup(&arena, sr->text);
        }
    }
    consumer_sort_names(texts, &texts_count);
    for (size_t i = 0; i < count; i++) {
        emit_member_tombstone(sh, g, ids[i]);
    }
    for (size_t i = 0; i < texts_count; i++) {
        consumer_emit_regex_tombstone(sh, g, texts[i]);
    }
    consumer_emit_partition_metadata_tombstone(sh, g);
    struct consumer_group_metadata_key key = {.group_id = arena_strdup(&arena, g->id)};
    shard_emit(sh, &consumer_group_metadata_key_msg, &key, &consumer_group_metadata_value_msg, 0,
               NULL); /* g may be gone now */
    arena_release(&arena);
}

/* ---- replayed ---- */

/* The group that a record is for. A classic one of that name gives way: live it has been emptied
 * or converted before, in a log the later record is right. */
static struct consumer *group_for(struct shard *sh, struct str group_id)
{
    struct group *g = group_find(sh, group_id);
    if (g == NULL) {
        g = group_add_consumer(sh, group_id);
    } else if (g->kind == GROUP_CLASSIC) {
        group_become_consumer(sh, g);
    }
    return g->consumer;
}

/* For a tombstone: NULL when there is nothing to take back. */
static struct consumer *existing_for(struct shard *sh, struct str group_id)
{
    struct group *g = group_find(sh, group_id);
    return g == NULL ? NULL : g->consumer;
}

static struct consumer *
group_of_record(struct shard *sh, struct str group_id, const void *value) /* NULL: a tombstone */
{
    return value != NULL ? group_for(sh, group_id) : existing_for(sh, group_id);
}

void consumer_replay_metadata(struct shard *sh,
                              const struct consumer_group_metadata_key *key,
                              const struct consumer_group_metadata_value *value)
{
    if (value != NULL) {
        struct consumer *cg = group_for(sh, key->group_id);
        cg->epoch = value->epoch;
        cg->metadata_hash = value->metadata_hash;
        return;
    }
    struct group *g = group_find(sh, key->group_id);
    if (g == NULL || g->kind != GROUP_CONSUMER) {
        return;
    }
    if (offsets_are_empty(g)) {
        group_remove(sh, g);
    } else { /* what is committed stays, in a group that nobody has made */
        group_become_classic(sh, g);
    }
}

void consumer_replay_partition_metadata(struct shard *sh,
                                        const struct consumer_group_partition_metadata_key *key,
                                        const struct consumer_group_partition_metadata_value *value)
{
    struct consumer *cg = group_of_record(sh, key->group_id, value);
    if (cg != NULL) {
        cg->details->has_partition_metadata = value != NULL;
    }
}

static void set_metadata(struct consumer_member *m,
                         const struct consumer_group_member_metadata_value *value)
{
    const struct consumer_group_member_metadata_value_classic_member_metadata *from =
        value->classic_member_metadata;
    struct consumer_member like = {
        .instance_id = value->instance_id,
        .rack_id = value->rack_id,
        .client_id = value->client_id,
        .client_host = value->client_host,
        .regex = value->subscribed_topic_regex,
        .server_assignor = value->server_assignor,
        .rebalance_timeout_ms = value->rebalance_timeout_ms,
    };
    size_t count = to_size(max_i64(value->subscribed_topic_names.count, 0));
    like.topics = mem_array(count + 1, sizeof(*like.topics));
    if (count > 0) {
        memcpy(like.topics, value->subscribed_topic_names.items, count * sizeof(*like.topics));
    }
    consumer_sort_names(like.topics, &count);
    like.topics_count = count;
    struct consumer_classic classic = {0};
    if (from != NULL) {
        classic.session_timeout_ms = from->session_timeout_ms;
        classic.protocols_count = to_size(max_i64(from->supported_protocols.count, 0));
        classic.protocols = mem_array(classic.protocols_count + 1, sizeof(*classic.protocols));
        for (size_t i = 0; i < classic.protocols_count; i++) {
            classic.protocols[i].name = from->supported_protocols.items[i].name;
            classic.protocols[i].metadata = from->supported_protocols.items[i].metadata;
        }
        like.classic = &classic;
    }
    consumer_member_set_metadata(m, &like);
    mem_free(classic.protocols);
    mem_free(like.topics);
}

void consumer_replay_member(struct shard *sh,
                            const struct consumer_group_member_metadata_key *key,
                            const struct consumer_group_member_metadata_value *value)
{
    struct consumer *cg = group_of_record(sh, key->group_id, value);
    if (cg == NULL) {
        return;
    }
    struct consumer_member *m = consumer_member_find(cg, key->member_id);
    if (value == NULL) {
        if (m != NULL) {
            consumer_member_free(m);
        }
        return;
    }
    if (m == NULL) {
        m = consumer_member_new(cg, key->member_id);
    }
    set_metadata(m, value);
}

void consumer_replay_target_metadata(
    struct shard *sh,
    const struct consumer_group_target_assignment_metadata_key *key,
    const struct consumer_group_target_assignment_metadata_value *value)
{
    struct consumer *cg = group_of_record(sh, key->group_id, value);
    if (cg == NULL) {
        return;
    }
    cg->target_epoch = value == NULL ? -1 : value->assignment_epoch;
    cg->details->target_timestamp = value == NULL ? 0 : value->assignment_timestamp;
    consumer_count_reconciled(cg);
}

static void drop_orphan(struct consumer *cg, struct str member_id)
{
    struct hmap *map = &cg->details->orphans;
    struct hmap_node *node = hmap_first(map, hash_str(member_id, map->seed));
    for (; node != NULL; node = hmap_next(node)) {
        struct orphan_target *ot = container_of(node, struct orphan_target, node);
        if (str_equal(ot->member_id, member_id)) {
            hmap_remove(map, node);
            assignment_release(&ot->target);
            mem_free(ot);
            return;
        }
    }
}

static void set_target(struct consumer *cg, struct str member_id, const struct assignment *target)
{
    struct consumer_member *m = consumer_member_find(cg, member_id);
    if (m != NULL) {
        consumer_member_set_target(m, target);
        return;
    }
    drop_orphan(cg, member_id);
    if (target == NULL) {
        return;
    }
    struct hmap *map = &cg->details->orphans;
    struct orphan_target *ot = mem_zalloc(sizeof(*ot) + member_id.len);
    memcpy(ot + 1, member_id.ptr == NULL ? "" : member_id.ptr, member_id.len);
    ot->member_id = str_of((const char *)(ot + 1), member_id.len);
    assignment_copy(target, &ot->target);
    hmap_insert(map, &ot->node, hash_str(ot->member_id, map->seed));
}

void consumer_replay_target_member(
    struct shard *sh,
    const struct consumer_group_target_assignment_member_key *key,
    const struct consumer_group_target_assignment_member_value *value)
{
    if (value == NULL) {
        struct consumer *cg = existing_for(sh, key->group_id);
        if (cg != NULL) {
            set_target(cg, key->member_id, NULL);
        }
        return;
    }
    struct arena arena = {0};
    struct assignment_builder ab;
    assignment_builder_init(&ab, &arena);
    for (int32_t i = 0; i < value->topic_partitions.count; i++) {
        const struct consumer_group_target_assignment_member_value_topic_partition *tp =
            &value->topic_partitions.items[i];
        for (int32_t j = 0; j < tp->partitions.count; j++) {
            assignment_builder_add(&ab, &tp->topic_id, tp->partitions.items[j]);
        }
    }
    struct assignment target;
    assignment_builder_finish(&ab, &target);
    set_target(group_for(sh, key->group_id), key->member_id, &target);
    arena_release(&arena);
}

struct epoch_pair {
    struct uuid id;
    int32_t partition;
    int32_t epoch;
};

static int compare_pairs(const void *a, const void *b)
{
    const struct epoch_pair *x = a;
    const struct epoch_pair *y = b;
    int order = memcmp(x->id.bytes, y->id.bytes, sizeof(x->id.bytes));
    if (order != 0) {
        return order;
    }
    return x->partition < y->partition ? -1 : x->partition > y->partition;
}

/* Partitions of a record with the epochs at which they were assigned; without epochs, or with a
 * wrong number of them, all at the member's. Memory is the arena's. */
static void read_partitions(
    const struct consumer_group_current_member_assignment_value_topic_partitions *topics,
    int32_t count,
    int32_t member_epoch,
    struct arena *arena,
    struct assignment *ret,
    const int32_t **ret_epochs)
{
    size_t total = 0;
    for (int32_t i = 0; i < count; i++) {
        total += to_size(max_i64(topics[i].partitions.count, 0));
    }
    struct epoch_pair *pairs = arena_alloc(arena, (total + 1) * sizeof(*pairs));
    size_t n = 0;
    for (int32_t i = 0; i < count; i++) {
        int32_t partitions = topics[i].partitions.count;
        bool has_epochs = topics[i].assignment_epochs.count == partitions;
        for (int32_t j = 0; j < partitions; j++) {
            pairs[n++] = (struct epoch_pair){
                .id = topics[i].topic_id,
                .partition = topics[i].partitions.items[j],
                .epoch = has_epochs ? topics[i].assignment_epochs.items[j] : member_epoch,
            };
        }
    }
    qsort(pairs, n, sizeof(*pairs), compare_pairs);
    struct assignment_builder ab;
    assignment_builder_init(&ab, arena);
    int32_t *epochs = arena_alloc(arena, (total + 1) * sizeof(*epochs));
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        if (i > 0 && compare_pairs(&pairs[i - 1], &pairs[i]) == 0) {
            continue;
        }
        assignment_builder_add(&ab, &pairs[i].id, pairs[i].partition);
        epochs[kept++] = pairs[i].epoch;
    }
    assignment_builder_finish(&ab, ret);
    *ret_epochs = epochs;
}

void consumer_replay_current(struct shard *sh,
                             const struct consumer_group_current_member_assignment_key *key,
                             const struct consumer_group_current_member_assignment_value *value)
{
    struct consumer *cg = group_of_record(sh, key->group_id, value);
    if (cg == NULL) {
        return;
    }
    struct consumer_member *m = consumer_member_find(cg, key->member_id);
    if (value == NULL) {
        if (m != NULL) {
            struct consumer_position at = {.epoch = -1, .previous_epoch = -1, .state = m->state};
            consumer_member_set_position(m, &at);
        }
        return;
    }
    if (m == NULL) {
        m = consumer_member_new(cg, key->member_id);
    }
    struct arena arena = {0};
    struct consumer_position at = {
        .epoch = value->member_epoch,
        .previous_epoch = value->previous_member_epoch,
        .state = value->state >= MEMBER_STABLE && value->state <= MEMBER_UNRELEASED_PARTITIONS
                     ? (enum consumer_member_state)value->state
                     : MEMBER_UNKNOWN,
    };
    int32_t epoch = value->member_epoch > 0 ? value->member_epoch : 0;
    read_partitions(value->assigned_partitions.items, value->assigned_partitions.count, epoch,
                    &arena, &at.assigned, &at.assigned_epochs);
    read_partitions(value->partitions_pending_revocation.items,
                    value->partitions_pending_revocation.count, epoch, &arena,
                    &at.pending_revocation, &at.pending_revocation_epochs);
    consumer_member_set_position(m, &at);
    arena_release(&arena);
}

void consumer_replay_regex(struct shard *sh,
                           const struct consumer_group_regular_expression_key *key,
                           const struct consumer_group_regular_expression_value *value)
{
    if (value != NULL) {
        consumer_regex_resolve(group_for(sh, key->group_id), key->regular_expression, value);
        return;
    }
    struct consumer *cg = existing_for(sh, key->group_id);
    if (cg != NULL) {
        consumer_regex_forget(cg, key->regular_expression);
    }
}
