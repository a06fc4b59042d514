/*
 * Assignors by name, and what they share.
 *
 * While an assignor works, a partition is a place in one flat array, topics in the order of their
 * ids, that holds the index of its owner. Assignments are made from it in one walk at the end,
 * which visits topics and partitions in ascending order, so that nothing needs to be sorted.
 */
#include "coord/assignor.h"

#include "base/base.h"
#include "base/mem.h"
#include "coord/assignor_owners.h"

assignor_fn *assignor_find(struct str name)
{
    if (str_is(name, "uniform")) {
        return assignor_uniform;
    }
    return str_is(name, "range") ? assignor_range : NULL;
}

void assignor_owners_init(struct assignor_owners *ao,
                          const struct assignor_spec *spec,
                          struct arena *arena)
{
    int32_t *first = arena_alloc(arena, sizeof(*first) * (to_size(spec->topics_count) + 1));
    int64_t total = 0;
    for (int32_t t = 0; t < spec->topics_count; t++) {
        first[t] = to_i32(total);
        total += spec->topics[t].partitions_count;
    }
    first[spec->topics_count] = to_i32(total);
    int32_t *of = arena_alloc(arena, sizeof(*of) * to_size(total));
    for (int64_t i = 0; i < total; i++) {
        of[i] = OWNER_NONE;
    }
    *ao = (struct assignor_owners){.spec = spec, .first = first, .of = of};
}

int32_t assignor_topic_find(const struct assignor_spec *spec, const struct uuid *id)
{
    int32_t low = 0;
    int32_t high = spec->topics_count;
    while (low < high) {
        int32_t middle = low + (high - low) / 2;
        int order = memcmp(spec->topics[middle].id.bytes, id->bytes, sizeof(id->bytes));
        if (order == 0) {
            return middle;
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return -1;
}

bool assignor_is_subscribed(const struct assignor_member *am, int32_t topic)
{
    int32_t low = 0;
    int32_t high = am->topics_count;
    while (low < high) {
        int32_t middle = low + (high - low) / 2;
        if (am->topics[middle] == topic) {
            return true;
        }
        if (am->topics[middle] < topic) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return false;
}

/* What a member will need, and how far it is filled. */
struct share {
    struct topic_partitions *topics;
    int32_t *next;
    int32_t topics_count;
    int32_t partitions_count;
    int32_t last_topic; /* the one seen last */
};

static void count_shares(const struct assignor_owners *ao, struct share *shares)
{
    for (int32_t t = 0; t < ao->spec->topics_count; t++) {
        for (int32_t at = ao->first[t]; at < ao->first[t + 1]; at++) {
            if (ao->of[at] == OWNER_NONE) {
                continue;
            }
            struct share *sr = &shares[ao->of[at]];
            sr->partitions_count++;
            if (sr->last_topic != t) {
                sr->last_topic = t;
                sr->topics_count++;
            }
        }
    }
}

void assignor_owners_build(const struct assignor_owners *ao,
                           struct arena *arena,
                           struct assignment *ret)
{
    int32_t members_count = ao->spec->members_count;
    struct share *shares = arena_alloc(arena, sizeof(*shares) * to_size(members_count));
    for (int32_t m = 0; m < members_count; m++) {
        shares[m].last_topic = -1;
    }
    count_shares(ao, shares);
    for (int32_t m = 0; m < members_count; m++) {
        struct share *sr = &shares[m];
        ret[m] = (struct assignment){.count = sr->topics_count};
        if (sr->topics_count > 0) {
            sr->topics = arena_alloc(arena, sizeof(*sr->topics) * to_size(sr->topics_count));
            sr->next = arena_alloc(arena, sizeof(*sr->next) * to_size(sr->partitions_count));
            ret[m].topics = sr->topics;
        }
        sr->last_topic = -1;
        sr->topics_count = 0;
    }
    for (int32_t t = 0; t < ao->spec->topics_count; t++) {
        for (int32_t at = ao->first[t]; at < ao->first[t + 1]; at++) {
            if (ao->of[at] == OWNER_NONE) {
                continue;
            }
            struct share *sr = &shares[ao->of[at]];
            if (sr->last_topic != t) {
                sr->last_topic = t;
                sr->topics[sr->topics_count++] = (struct topic_partitions){
                    .id = ao->spec->topics[t].id,
                    .partitions = sr->next,
                };
            }
            *sr->next++ = at - ao->first[t];
            sr->topics[sr->topics_count - 1].count++;
        }
    }
}
