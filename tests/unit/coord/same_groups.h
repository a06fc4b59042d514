/*
 * Comparison of a live group with the one that a second shard has made of the log: member by
 * member, epoch by epoch, owner by owner.
 */
#ifndef TESTS_SAME_GROUPS_H
#define TESTS_SAME_GROUPS_H

#include "base/base.h"

#include "coord/classic.h"
#include "coord/consumer.h"
#include "coord/consumer_private.h"
#include "coord/group.h"
#include "unit.h"

/* ---- classic groups ---- */

/* In the other states a record says less than there is. */
static unused_ok bool classic_is_as_recorded(const struct classic *cl)
{
    return cl->state == CLASSIC_STABLE || cl->state == CLASSIC_EMPTY;
}

static unused_ok void same_view(struct view a, struct view b)
{
    assert_int_equal(a.len, b.len);
    assert_true(a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

static unused_ok void same_classic(const struct classic *live, const struct classic *loaded)
{
    assert_int_equal(live->state, loaded->state);
    assert_int_equal(live->generation, loaded->generation);
    assert_true(str_equal(live->protocol_type, loaded->protocol_type));
    assert_true(str_equal(live->protocol_name, loaded->protocol_name));
    assert_true(str_equal(live->leader, loaded->leader));
    assert_int_equal(live->members.count, loaded->members.count);
    const struct list *at = loaded->order.next;
    list_foreach (node, &live->order) {
        const struct classic_member *a = list_entry(node, struct classic_member, link);
        const struct classic_member *b =
            container_of((struct list *)(uintptr_t)at, struct classic_member, link);
        assert_true(str_equal(a->id, b->id));
        assert_true(str_equal(a->instance_id, b->instance_id));
        assert_true(str_equal(a->client_id, b->client_id));
        assert_true(str_equal(a->client_host, b->client_host));
        assert_int_equal(a->session_timeout_ms, b->session_timeout_ms);
        assert_int_equal(a->rebalance_timeout_ms, b->rebalance_timeout_ms);
        same_view(a->assignment, b->assignment);
        same_view(classic_member_metadata(a, live->protocol_name),
                  classic_member_metadata(b, loaded->protocol_name));
        at = at->next;
    }
    struct str topic = STR("t1");
    assert_int_equal(classic_is_subscribed(live->group, topic),
                     classic_is_subscribed(loaded->group, topic));
}

/* ---- consumer groups ---- */

static unused_ok void
same_set(const struct assignment *a, const int32_t *x, const struct assignment *b, const int32_t *y)
{
    assert_true(assignment_equal(a, b));
    for (int64_t i = 0; x != NULL && i < assignment_size(a); i++) {
        assert_int_equal(x[i], y[i]);
    }
}

static unused_ok void same_member(const struct consumer_member *a, const struct consumer_member *b)
{
    assert_true(str_equal(a->id, b->id));
    assert_true(consumer_metadata_equal(a, b));
    assert_int_equal(a->epoch, b->epoch);
    assert_int_equal(a->previous_epoch, b->previous_epoch);
    assert_int_equal(a->state, b->state);
    assert_int_equal(a->has_target, b->has_target);
    same_set(&a->assigned, a->assigned_epochs, &b->assigned, b->assigned_epochs);
    same_set(&a->pending_revocation, a->pending_revocation_epochs, &b->pending_revocation,
             b->pending_revocation_epochs);
    same_set(&a->target, NULL, &b->target, NULL);
    for (int32_t i = 0; i < a->assigned.count; i++) {
        const struct topic_partitions *tp = &a->assigned.topics[i];
        for (int32_t j = 0; j < tp->count; j++) {
            assert_int_equal(consumer_partition_epoch(a->consumer, &tp->id, tp->partitions[j]),
                             consumer_partition_epoch(b->consumer, &tp->id, tp->partitions[j]));
        }
    }
}

static unused_ok void same_consumer(const struct consumer *a, const struct consumer *b)
{
    const struct consumer_details *x = a->details;
    const struct consumer_details *y = b->details;
    assert_int_equal(a->epoch, b->epoch);
    assert_int_equal(a->target_epoch, b->target_epoch);
    assert_int_equal(a->metadata_hash, b->metadata_hash);
    assert_int_equal(a->members_count, b->members_count);
    assert_int_equal(a->classic_members_count, b->classic_members_count);
    assert_int_equal(consumer_state_of(a), consumer_state_of(b));
    assert_int_equal(x->target_timestamp, y->target_timestamp);
    assert_int_equal(x->owners.count, y->owners.count);
    assert_int_equal(x->topics.count, y->topics.count);
    assert_int_equal(x->regexes.count, y->regexes.count);
    assert_int_equal(x->instances.count, y->instances.count);
    hmap_foreach (node, &a->members) {
        const struct consumer_member *m = container_of(node, struct consumer_member, node);
        const struct consumer_member *other = consumer_member_find(b, m->id);
        assert_non_null(other);
        same_member(m, other);
    }
    hmap_foreach (node, &x->topics) {
        const struct subscribed_topic *st = container_of(node, struct subscribed_topic, node);
        assert_true(consumer_is_subscribed(b->group, st->name));
    }
    hmap_foreach (node, &x->regexes) {
        const struct subscribed_regex *sr = container_of(node, struct subscribed_regex, node);
        const struct subscribed_regex *other = consumer_regex_find(b, sr->text);
        assert_non_null(other);
        assert_int_equal(sr->members, other->members);
        assert_int_equal(sr->is_resolved, other->is_resolved);
        assert_int_equal(sr->version, other->version);
        assert_int_equal(sr->timestamp, other->timestamp);
        assert_int_equal(sr->topics_count, other->topics_count);
        for (size_t i = 0; i < sr->topics_count; i++) {
            assert_true(str_equal(sr->topics[i], other->topics[i]));
        }
    }
}

#endif
