/*
 * Uniform, when members have different subscriptions.
 *
 *   1. Each member keeps what it had of its topics.
 *   2. What is free goes, topic by topic, to the subscribers that have least.
 *   3. Topic by topic, partitions move from the subscribers that have most to those that have
 *      least, until these differ by one at most; again over all topics until a whole round has
 *      moved nothing, or ROUNDS_MAX.
 *
 * Topics with many partitions a subscriber come first, since their subscribers have the least
 * choice. The balance is perfect when the subscribers of each topic have the same subscriptions; it
 * may be off by a few where subscriptions overlap.
 *
 * A balance holds a topic's subscribers sorted by what they own, with a low range that has just got
 * partitions from the left on, and a high range that gives from the right on:
 *
 *        ^ low                  high
 *        |                     [#<-   ]#       # members that have nothing of this topic to give
 *        | [..->   ]       ####[#######]#        are swapped out of the high range
 *        | [#######]###########[#######]#
 *        +--------------------------------> members
 *
 * When all of a range have got (given) one, its level moves by one and it takes in those that stand
 * on the new level. Both steps cost constant time, and sorting is by counting: a round is linear.
 *
 * Kafka: UniformHeterogeneousAssignmentBuilder.
 */
#include "coord/assignor_owners.h"

#include "base/base.h"
#include "base/mem.h"

enum {
    ROUNDS_MAX = 16,
};

struct mixed {
    const struct assignor_spec *spec;
    struct assignor_owners owners;
    int32_t *sizes;             /* by member: partitions that it owns */
    int32_t *subscribers_first; /* by topic: place in `subscribers`; one more at the end */
    int32_t *subscribers;       /* members, ascending in each topic */
    /* Of one topic at a time: its partitions grouped by owner, and where those of a member are. */
    int32_t *grouped;
    int32_t *group_start; /* by member */
    int32_t *group_end;
    int32_t *counts;  /* for sorting by counting */
    uint64_t *packed; /* for sorting otherwise */
    int32_t counts_cap;
    struct arena *arena;
};

struct balance {
    const int32_t *sizes;
    int32_t *members; /* sorted by size, then by index */
    int32_t count;
    int32_t low_end;
    int32_t low_size;
    int32_t low_next;
    int32_t high_start;
    int32_t high_end;
    int32_t high_size;
    int32_t high_next;
};

static int32_t subscribers_count(const struct mixed *mx, int32_t topic)
{
    return mx->subscribers_first[topic + 1] - mx->subscribers_first[topic];
}

static int32_t partitions_count(const struct mixed *mx, int32_t topic)
{
    return mx->spec->topics[topic].partitions_count;
}

/* ---- the balance of one topic's subscribers ---- */

static int32_t *room_for_counts(struct mixed *mx, int32_t count)
{
    if (count > mx->counts_cap) {
        mx->counts_cap = to_i32(max_i64(count, 2 * (int64_t)mx->counts_cap));
        mx->counts = arena_alloc(mx->arena, sizeof(*mx->counts) * to_size(mx->counts_cap));
    }
    memset(mx->counts, 0, sizeof(*mx->counts) * to_size(count));
    return mx->counts;
}

static int compare_packed(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* By size, then by index, into `to`; `from` ascends and no size is outside of [least, most]. */
static void sort_by_size(struct mixed *mx,
                         const int32_t *from,
                         int32_t count,
                         int32_t least,
                         int32_t most,
                         int32_t *to)
{
    if ((int64_t)most - least > 8 * (int64_t)count + 64) { /* too sparse to be counted */
        for (int32_t i = 0; i < count; i++) {
            mx->packed[i] = (uint64_t)mx->sizes[from[i]] << 32 | (uint32_t)from[i];
        }
        qsort(mx->packed, to_size(count), sizeof(*mx->packed), compare_packed);
        for (int32_t i = 0; i < count; i++) {
            to[i] = (int32_t)(uint32_t)mx->packed[i];
        }
        return;
    }
    int32_t *counts = room_for_counts(mx, most - least + 2);
    for (int32_t i = 0; i < count; i++) {
        counts[mx->sizes[from[i]] - least + 1]++;
    }
    for (int32_t level = 1; level <= most - least; level++) {
        counts[level] += counts[level - 1];
    }
    for (int32_t i = 0; i < count; i++) {
        to[counts[mx->sizes[from[i]] - least]++] = from[i];
    }
}

/* Sorts the subscribers of a topic; returns the difference between the last and the first. */
static int32_t balance_begin(struct balance *bl, struct mixed *mx, int32_t topic)
{
    const int32_t *from = mx->subscribers + mx->subscribers_first[topic];
    int32_t count = subscribers_count(mx, topic);
    int32_t least = mx->sizes[from[0]];
    int32_t most = least;
    for (int32_t i = 1; i < count; i++) {
        least = to_i32(min_i64(least, mx->sizes[from[i]]));
        most = to_i32(max_i64(most, mx->sizes[from[i]]));
    }
    sort_by_size(mx, from, count, least, most, bl->members);
    bl->sizes = mx->sizes;
    bl->count = count;
    bl->low_end = 0;
    bl->low_size = least - 1;
    bl->low_next = 0;
    bl->high_start = count;
    bl->high_end = count;
    bl->high_size = most + 1;
    bl->high_next = count - 1;
    return most - least;
}

/* Who gets the next one; the caller gives it. */
static int32_t balance_least(struct balance *bl)
{
    if (bl->low_next >= bl->low_end) {
        bl->low_size++;
        while (bl->low_end < bl->count && bl->sizes[bl->members[bl->low_end]] == bl->low_size) {
            bl->low_end++;
        }
        bl->low_next = 0;
    }
    return bl->members[bl->low_next++];
}

/* Who gives the next one; -1: nobody has any. */
static int32_t balance_most(struct balance *bl)
{
    if (bl->high_next < bl->high_start) {
        if (bl->high_end <= bl->high_start && bl->high_start > 0) {
            /* All were swapped out: on with the level of the next. */
            bl->high_size = bl->sizes[bl->members[bl->high_start - 1]];
        } else {
            bl->high_size--;
        }
        while (bl->high_start > 0 && bl->sizes[bl->members[bl->high_start - 1]] == bl->high_size) {
            bl->high_start--;
        }
        bl->high_next = bl->high_end - 1;
    }
    return bl->high_next < 0 ? -1 : bl->members[bl->high_next--];
}

/* The one that balance_most gave last has nothing to give. */
static void balance_exclude(struct balance *bl)
{
    int32_t at = bl->high_next + 1;
    int32_t excluded = bl->members[at];
    bl->high_end--;
    bl->members[at] = bl->members[bl->high_end];
    bl->members[bl->high_end] = excluded;
}

static bool balance_is_even(const struct balance *bl)
{
    return bl->high_size - bl->low_size <= 1;
}

/* ---- the steps ---- */

static void move_partition(struct mixed *mx, int32_t topic, int32_t partition, int32_t member)
{
    int32_t *owner = &mx->owners.of[mx->owners.first[topic] + partition];
    if (*owner != OWNER_NONE) {
        mx->sizes[*owner]--;
    }
    *owner = member;
    mx->sizes[member]++;
}

static void count_subscribers(struct mixed *mx)
{
    const struct assignor_spec *spec = mx->spec;
    int32_t *first = mx->subscribers_first;
    for (int32_t m = 0; m < spec->members_count; m++) {
        for (int32_t i = 0; i < spec->members[m].topics_count; i++) {
            first[spec->members[m].topics[i] + 1]++;
        }
    }
    int64_t total = 0;
    for (int32_t t = 1; t <= spec->topics_count; t++) {
        total += first[t];
        first[t] = to_i32(total);
    }
    mx->subscribers = arena_alloc(mx->arena, sizeof(*mx->subscribers) * to_size(total));
    int32_t *next = arena_alloc(mx->arena, sizeof(*next) * to_size(spec->topics_count));
    for (int32_t m = 0; m < spec->members_count; m++) {
        for (int32_t i = 0; i < spec->members[m].topics_count; i++) {
            int32_t t = spec->members[m].topics[i];
            mx->subscribers[first[t] + next[t]++] = m;
        }
    }
}

static void keep_current(struct mixed *mx)
{
    const struct assignor_spec *spec = mx->spec;
    for (int32_t m = 0; m < spec->members_count; m++) {
        const struct assignment *current = spec->members[m].current;
        for (int32_t i = 0; i < current->count; i++) {
            const struct topic_partitions *tp = &current->topics[i];
            int32_t topic = assignor_topic_find(spec, &tp->id);
            if (topic < 0 || !assignor_is_subscribed(&spec->members[m], topic)) {
                continue;
            }
            for (int32_t p = 0; p < tp->count; p++) {
                int32_t partition = tp->partitions[p];
                if (partition >= 0 && partition < partitions_count(mx, topic) &&
                    mx->owners.of[mx->owners.first[topic] + partition] == OWNER_NONE) {
                    move_partition(mx, topic, partition, m);
                }
            }
        }
    }
}

struct topic_rank {
    int64_t partitions;
    int64_t subscribers;
    int32_t topic;
};

/* Partitions a subscriber, descending; subscribers, ascending; id, ascending. */
static int compare_topics(const void *a, const void *b)
{
    const struct topic_rank *x = a;
    const struct topic_rank *y = b;
    int64_t left = x->partitions * y->subscribers;
    int64_t right = y->partitions * x->subscribers;
    if (left != right) {
        return left > right ? -1 : 1;
    }
    if (x->subscribers != y->subscribers) {
        return x->subscribers < y->subscribers ? -1 : 1;
    }
    return (x->topic > y->topic) - (x->topic < y->topic);
}

/* Topics that somebody is subscribed to, in the order in which they are worked on. */
static struct topic_rank *rank_topics(struct mixed *mx, int32_t *ret_count)
{
    int32_t topics_count = mx->spec->topics_count;
    struct topic_rank *ranks = arena_alloc(mx->arena, sizeof(*ranks) * to_size(topics_count));
    int32_t count = 0;
    for (int32_t t = 0; t < topics_count; t++) {
        if (subscribers_count(mx, t) > 0) {
            ranks[count++] = (struct topic_rank){
                .partitions = partitions_count(mx, t),
                .subscribers = subscribers_count(mx, t),
                .topic = t,
            };
        }
    }
    qsort(ranks, to_size(count), sizeof(*ranks), compare_topics);
    *ret_count = count;
    return ranks;
}

static void hand_out_topic(struct mixed *mx, struct balance *bl, int32_t topic)
{
    bool has_begun = false;
    for (int32_t p = 0; p < partitions_count(mx, topic); p++) {
        if (mx->owners.of[mx->owners.first[topic] + p] != OWNER_NONE) {
            continue;
        }
        if (!has_begun) {
            balance_begin(bl, mx, topic);
            has_begun = true;
        }
        move_partition(mx, topic, p, balance_least(bl));
    }
}

/* Sets `grouped`, `group_start` and `group_end` for a topic; all of it has owners. */
static void group_by_owner(struct mixed *mx, int32_t topic)
{
    int32_t first = mx->subscribers_first[topic];
    int32_t end = mx->subscribers_first[topic + 1];
    for (int32_t i = first; i < end; i++) {
        mx->group_start[mx->subscribers[i]] = 0;
    }
    const int32_t *of = mx->owners.of + mx->owners.first[topic];
    for (int32_t p = 0; p < partitions_count(mx, topic); p++) {
        mx->group_start[of[p]]++;
    }
    int32_t next = 0;
    for (int32_t i = first; i < end; i++) {
        int32_t m = mx->subscribers[i];
        int32_t count = mx->group_start[m];
        mx->group_start[m] = next;
        mx->group_end[m] = next;
        next += count;
    }
    for (int32_t p = 0; p < partitions_count(mx, topic); p++) {
        mx->grouped[mx->group_end[of[p]]++] = p;
    }
}

/* Moves partitions of one topic; returns how many. */
static int32_t balance_topic(struct mixed *mx, struct balance *bl, int32_t topic)
{
    int32_t moved = 0;
    if (balance_begin(bl, mx, topic) <= 1) {
        return 0;
    }
    group_by_owner(mx, topic);
    while (!balance_is_even(bl)) {
        int32_t from = balance_most(bl);
        while (from >= 0 && mx->group_end[from] == mx->group_start[from]) {
            balance_exclude(bl);
            from = balance_most(bl);
        }
        if (from < 0) {
            break;
        }
        int32_t partition = mx->grouped[--mx->group_end[from]];
        int32_t to = balance_least(bl);
        if (balance_is_even(bl)) {
            break;
        }
        move_partition(mx, topic, partition, to);
        moved++;
    }
    return moved;
}

/* Until nothing has moved since a topic was last looked at. */
static void
balance_topics(struct mixed *mx, struct balance *bl, const struct topic_rank *ranks, int32_t count)
{
    int32_t last = -1; /* rank of the topic that was the last to move */
    for (int round = 0; round < ROUNDS_MAX; round++) {
        for (int32_t r = 0; r < count; r++) {
            if (ranks[r].subscribers < 2) {
                continue;
            }
            if (r == last) {
                return;
            }
            if (balance_topic(mx, bl, ranks[r].topic) > 0 || last == -1) {
                last = r;
            }
        }
    }
}

void assignor_uniform_mixed(const struct assignor_spec *spec,
                            struct arena *arena,
                            struct assignment *ret)
{
    struct mixed mx = {.spec = spec, .arena = arena};
    size_t members_count = to_size(spec->members_count);
    assignor_owners_init(&mx.owners, spec, arena);
    mx.sizes = arena_alloc(arena, sizeof(*mx.sizes) * members_count);
    mx.group_start = arena_alloc(arena, sizeof(*mx.group_start) * members_count);
    mx.group_end = arena_alloc(arena, sizeof(*mx.group_end) * members_count);
    mx.packed = arena_alloc(arena, sizeof(*mx.packed) * members_count);
    mx.subscribers_first =
        arena_alloc(arena, sizeof(*mx.subscribers_first) * (to_size(spec->topics_count) + 1));
    count_subscribers(&mx);
    keep_current(&mx);
    int32_t count;
    struct topic_rank *ranks = rank_topics(&mx, &count);
    int32_t partitions_max = 0;
    for (int32_t r = 0; r < count; r++) {
        partitions_max = to_i32(max_i64(partitions_max, ranks[r].partitions));
    }
    mx.grouped = arena_alloc(arena, sizeof(*mx.grouped) * to_size(partitions_max));
    struct balance bl = {
        .members = arena_alloc(arena, sizeof(*bl.members) * members_count),
    };
    for (int32_t r = 0; r < count; r++) {
        hand_out_topic(&mx, &bl, ranks[r].topic);
    }
    balance_topics(&mx, &bl, ranks, count);
    assignor_owners_build(&mx.owners, arena, ret);
}
