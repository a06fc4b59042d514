/*
 * Questions that others have about a consumer group: may this member commit or fetch offsets; and
 * what must always hold.
 *
 * A commit with an epoch below the member's may be one that crossed with the heartbeat's answer: it
 * is good for what the member has held since that epoch (KIP-1251).
 *
 * Kafka: ConsumerGroup.validateOffsetCommit, validateOffsetFetch, createAssignmentEpochValidator.
 */
#include "coord/consumer_private.h"

#include "base/base.h"

static enum kafka_error wrong_epoch(const struct consumer_member *m)
{
    return m->classic != NULL ? KAFKA_ERROR_ILLEGAL_GENERATION : KAFKA_ERROR_STALE_MEMBER_EPOCH;
}

enum kafka_error consumer_check_commit(struct shard *sh,
                                       struct group *g,
                                       struct str member_id,
                                       struct str instance_id,
                                       int32_t epoch,
                                       bool is_transactional,
                                       int16_t version)
{
    (void)sh;
    const struct consumer *cg = g->consumer;
    if (epoch < 0 && cg->members_count == 0) {
        return KAFKA_ERROR_NONE;
    }
    if (is_transactional && epoch == -1 && member_id.len == 0 && str_is_null(instance_id)) {
        return KAFKA_ERROR_NONE; /* a producer that does not say for whom */
    }
    const struct consumer_member *m = consumer_member_find(cg, member_id);
    if (m == NULL) {
        return KAFKA_ERROR_UNKNOWN_MEMBER_ID;
    }
    if (!is_transactional && m->classic == NULL && version < 9) {
        return KAFKA_ERROR_UNSUPPORTED_VERSION;
    }
    return epoch > m->epoch ? wrong_epoch(m) : KAFKA_ERROR_NONE;
}

bool consumer_is_commit_late(const struct group *g, struct str member_id, int32_t epoch)
{
    const struct consumer_member *m = consumer_member_find(g->consumer, member_id);
    return m != NULL && epoch < m->epoch;
}

/* Epoch of a partition in a set; -1: it is not there. */
static int32_t
epoch_of(const struct assignment *a, const int32_t *epochs, const struct uuid *id, int32_t p)
{
    size_t n = 0;
    for (int32_t i = 0; i < a->count; i++) {
        const struct topic_partitions *tp = &a->topics[i];
        if (!uuid_equal(&tp->id, id)) {
            n += to_size(tp->count);
            continue;
        }
        for (int32_t j = 0; j < tp->count; j++) {
            if (tp->partitions[j] == p) {
                return epochs[n + to_size(j)];
            }
        }
        return -1;
    }
    return -1;
}

enum kafka_error consumer_check_commit_partition(const struct group *g,
                                                 struct str member_id,
                                                 int32_t epoch,
                                                 const struct uuid *topic_id,
                                                 int32_t partition)
{
    const struct consumer_member *m = consumer_member_find(g->consumer, member_id);
    if (m == NULL || epoch >= m->epoch) {
        return KAFKA_ERROR_NONE;
    }
    int32_t since = epoch_of(&m->assigned, m->assigned_epochs, topic_id, partition);
    if (since < 0) {
        since = epoch_of(&m->pending_revocation, m->pending_revocation_epochs, topic_id, partition);
    }
    return since < 0 || epoch < since ? wrong_epoch(m) : KAFKA_ERROR_NONE;
}

enum kafka_error
consumer_check_offset_fetch(const struct group *g, struct str member_id, int32_t epoch)
{
    if (str_is_null(member_id) && epoch < 0) {
        return KAFKA_ERROR_NONE;
    }
    const struct consumer_member *m = consumer_member_find(g->consumer, member_id);
    if (m == NULL) {
        return KAFKA_ERROR_UNKNOWN_MEMBER_ID;
    }
    return epoch != m->epoch ? wrong_epoch(m) : KAFKA_ERROR_NONE;
}

/* ---- validation ---- */

static void
check_set(const struct consumer_member *m, const struct assignment *a, const int32_t *epochs)
{
    size_t n = 0;
    for (int32_t i = 0; i < a->count; i++) {
        const struct topic_partitions *tp = &a->topics[i];
        check(tp->count > 0);
        check(i == 0 || memcmp(a->topics[i - 1].id.bytes, tp->id.bytes, 16) < 0);
        for (int32_t j = 0; j < tp->count; j++) {
            check(j == 0 || tp->partitions[j - 1] < tp->partitions[j]);
            /* One owner: had another member the partition too, its epoch would be in the map or
             * the number of entries would not be that of all members (consumer_validate). */
            check(consumer_partition_epoch(m->consumer, &tp->id, tp->partitions[j]) == m->epoch);
            check(epochs[n] <= m->epoch || m->epoch < 0);
            n++;
        }
    }
}

static void check_member(const struct consumer *cg, const struct consumer_member *m)
{
    check(m->consumer == cg);
    check(m->epoch >= -2);
    check(m->epoch <= cg->target_epoch);
    check_set(m, &m->assigned, m->assigned_epochs);
    check_set(m, &m->pending_revocation, m->pending_revocation_epochs);
    check(m->pending_revocation.count == 0 || m->state == MEMBER_UNREVOKED_PARTITIONS);
    if (m->state == MEMBER_STABLE && m->epoch == cg->target_epoch && m->epoch > 0) {
        check(assignment_contains(&m->target, &m->assigned));
    }
    if (m->state == MEMBER_UNRELEASED_PARTITIONS && m->epoch == cg->target_epoch) {
        check(assignment_contains(&m->target, &m->assigned));
    }
    check(str_is_null(m->instance_id) || consumer_member_of_instance(cg, m->instance_id) == m);
    for (size_t i = 0; i < m->topics_count; i++) {
        check(i == 0 || str_compare(m->topics[i - 1], m->topics[i]) < 0);
        check(consumer_is_subscribed(cg->group, m->topics[i]));
    }
    const struct subscribed_regex *sr =
        regex_is_set(m->regex) ? consumer_regex_find(cg, m->regex) : NULL;
    check(!regex_is_set(m->regex) || (sr != NULL && sr->members > 0));
}

void consumer_validate(const struct consumer *cg)
{
    const struct consumer_details *cd = cg->details;
    check(cg->members.count == cg->members_count);
    check(cg->epoch >= cg->target_epoch);
    int64_t owned = 0;
    size_t classic = 0;
    size_t reconciled = 0;
    size_t by_name = 0;
    hmap_foreach (node, &cg->members) {
        const struct consumer_member *m = container_of(node, struct consumer_member, node);
        check_member(cg, m);
        owned += assignment_size(&m->assigned) + assignment_size(&m->pending_revocation);
        classic += m->classic != NULL;
        reconciled += consumer_member_is_reconciled(m, cg->target_epoch);
        by_name += m->topics_count;
    }
    check(to_size(owned) == cd->owners.count);
    check(classic == cg->classic_members_count);
    check(reconciled == cd->reconciled_count);
    size_t resolved = 0;
    size_t subscribed = 0;
    hmap_foreach (node, &cd->regexes) {
        const struct subscribed_regex *sr = container_of(node, struct subscribed_regex, node);
        resolved += sr->is_resolved;
        subscribed += sr->members > 0;
        check(sr->is_resolved || sr->members > 0);
    }
    check(resolved == cd->resolved_count);
    check(subscribed == cd->subscribed_count);
    size_t counted = 0;
    hmap_foreach (node, &cd->topics) {
        const struct subscribed_topic *st = container_of(node, struct subscribed_topic, node);
        check(st->by_name > 0 || st->by_regex > 0);
        counted += to_size(st->by_name);
    }
    check(counted == by_name);
}
