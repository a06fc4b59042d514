/*
 * Sets of partitions: topics ascending by id (byte order), their partitions ascending.
 *
 *     topics ---> { id, count, partitions } { id, count, partitions } ...
 *                              |                           |
 *     numbers --> 0 1 2 5 7 <--+          3 4 <------------+
 *
 * What is copied to the heap is one block, topics first, then all numbers, so that ten thousand
 * members cost ten thousand allocations and not three times as many. Operations are merges: linear
 * in their operands.
 */
#include "coord/assignor.h"

#include "base/base.h"
#include "base/mem.h"
#include "base/uuid.h"

static int uuid_compare(const struct uuid *a, const struct uuid *b)
{
    return memcmp(a->bytes, b->bytes, sizeof(a->bytes));
}

void assignment_release(struct assignment *a)
{
    mem_free(a->topics);
    *a = (struct assignment){0};
}

int64_t assignment_size(const struct assignment *a)
{
    int64_t size = 0;
    for (int32_t i = 0; i < a->count; i++) {
        size += a->topics[i].count;
    }
    return size;
}

int64_t assignment_bytes(const struct assignment *a)
{
    if (a->count == 0) {
        return 0;
    }
    return (int64_t)sizeof(struct topic_partitions) * a->count +
           (int64_t)sizeof(int32_t) * assignment_size(a);
}

void assignment_copy(const struct assignment *from, struct assignment *ret)
{
    if (from->count == 0) {
        *ret = (struct assignment){0};
        return;
    }
    struct topic_partitions *topics = mem_alloc(to_size(assignment_bytes(from)));
    int32_t *next = (int32_t *)(void *)(topics + from->count);
    for (int32_t i = 0; i < from->count; i++) {
        const struct topic_partitions *tp = &from->topics[i];
        topics[i] = (struct topic_partitions){
            .id = tp->id,
            .partitions = next,
            .count = tp->count,
        };
        memcpy(next, tp->partitions, sizeof(*next) * to_size(tp->count));
        next += tp->count;
    }
    *ret = (struct assignment){.topics = topics, .count = from->count};
}

bool assignment_equal(const struct assignment *a, const struct assignment *b)
{
    if (a->count != b->count) {
        return false;
    }
    for (int32_t i = 0; i < a->count; i++) {
        const struct topic_partitions *x = &a->topics[i];
        const struct topic_partitions *y = &b->topics[i];
        if (x->count != y->count || !uuid_equal(&x->id, &y->id) ||
            memcmp(x->partitions, y->partitions, sizeof(int32_t) * to_size(x->count)) != 0) {
            return false;
        }
    }
    return true;
}

const struct topic_partitions *assignment_find(const struct assignment *a, const struct uuid *id)
{
    int32_t low = 0;
    int32_t high = a->count;
    while (low < high) {
        int32_t middle = low + (high - low) / 2;
        int order = uuid_compare(&a->topics[middle].id, id);
        if (order == 0) {
            return &a->topics[middle];
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return NULL;
}

bool assignment_has(const struct assignment *a, const struct uuid *id, int32_t partition)
{
    const struct topic_partitions *tp = assignment_find(a, id);
    int32_t low = 0;
    int32_t high = tp == NULL ? 0 : tp->count;
    while (low < high) {
        int32_t middle = low + (high - low) / 2;
        if (tp->partitions[middle] == partition) {
            return true;
        }
        if (tp->partitions[middle] < partition) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return false;
}

/* Every number of `part` is in `whole`; both ascending. */
static bool partitions_contain(const struct topic_partitions *whole,
                               const struct topic_partitions *part)
{
    int32_t at = 0;
    for (int32_t i = 0; i < part->count; i++) {
        while (at < whole->count && whole->partitions[at] < part->partitions[i]) {
            at++;
        }
        if (at == whole->count || whole->partitions[at] != part->partitions[i]) {
            return false;
        }
    }
    return true;
}

bool assignment_contains(const struct assignment *a, const struct assignment *part)
{
    int32_t at = 0;
    for (int32_t i = 0; i < part->count; i++) {
        const struct topic_partitions *tp = &part->topics[i];
        while (at < a->count && uuid_compare(&a->topics[at].id, &tp->id) < 0) {
            at++;
        }
        if (at == a->count || !uuid_equal(&a->topics[at].id, &tp->id) ||
            !partitions_contain(&a->topics[at], tp)) {
            return false;
        }
    }
    return true;
}

enum keep { /* which partitions a merge keeps, by bits */
    KEEP_LEFT = 1,
    KEEP_RIGHT = 2,
    KEEP_BOTH = 4,
};

/* Merges two ascending runs into `to`; returns how many it has kept. */
static int32_t merge_partitions(const struct topic_partitions *a,
                                const struct topic_partitions *b,
                                unsigned keep,
                                int32_t *to)
{
    int32_t kept = 0;
    int32_t i = 0;
    int32_t j = 0;
    while (i < a->count || j < b->count) {
        bool is_left = j == b->count || (i < a->count && a->partitions[i] < b->partitions[j]);
        bool is_right = !is_left && (i == a->count || b->partitions[j] < a->partitions[i]);
        int32_t number = is_right ? b->partitions[j] : a->partitions[i];
        unsigned from = is_left ? KEEP_LEFT : is_right ? KEEP_RIGHT : KEEP_BOTH;
        i += is_right ? 0 : 1;
        j += is_left ? 0 : 1;
        if ((keep & from) != 0) {
            to[kept++] = number;
        }
    }
    return kept;
}

static void merge(const struct assignment *a,
                  const struct assignment *b,
                  unsigned keep,
                  struct arena *arena,
                  struct assignment *ret)
{
    int64_t topics_max = (int64_t)a->count + ((keep & KEEP_RIGHT) != 0 ? b->count : 0);
    int64_t numbers_max = assignment_size(a) + ((keep & KEEP_RIGHT) != 0 ? assignment_size(b) : 0);
    *ret = (struct assignment){0};
    if (topics_max == 0) {
        return;
    }
    struct topic_partitions *topics = arena_alloc(arena, sizeof(*topics) * to_size(topics_max));
    int32_t *next = arena_alloc(arena, sizeof(*next) * to_size(numbers_max));
    int32_t count = 0;
    int32_t i = 0;
    int32_t j = 0;
    while (i < a->count || j < b->count) {
        int order = i == a->count   ? 1
                    : j == b->count ? -1
                                    : uuid_compare(&a->topics[i].id, &b->topics[j].id);
        struct topic_partitions none = {.count = 0};
        const struct topic_partitions *left = order <= 0 ? &a->topics[i++] : &none;
        const struct topic_partitions *right = order >= 0 ? &b->topics[j++] : &none;
        int32_t kept = merge_partitions(left, right, keep, next);
        if (kept > 0) {
            topics[count++] = (struct topic_partitions){
                .id = order <= 0 ? left->id : right->id,
                .partitions = next,
                .count = kept,
            };
            next += kept;
        }
    }
    *ret = (struct assignment){.topics = count == 0 ? NULL : topics, .count = count};
}

void assignment_minus(const struct assignment *a,
                      const struct assignment *b,
                      struct arena *arena,
                      struct assignment *ret)
{
    merge(a, b, KEEP_LEFT, arena, ret);
}

void assignment_intersect(const struct assignment *a,
                          const struct assignment *b,
                          struct arena *arena,
                          struct assignment *ret)
{
    merge(a, b, KEEP_BOTH, arena, ret);
}

void assignment_union(const struct assignment *a,
                      const struct assignment *b,
                      struct arena *arena,
                      struct assignment *ret)
{
    merge(a, b, KEEP_LEFT | KEEP_RIGHT | KEEP_BOTH, arena, ret);
}

void assignment_builder_init(struct assignment_builder *ab, struct arena *arena)
{
    *ab = (struct assignment_builder){.arena = arena};
}

void assignment_builder_add(struct assignment_builder *ab, const struct uuid *id, int32_t partition)
{
    if (ab->count == ab->cap) {
        size_t cap = ab->cap == 0 ? 16 : ab->cap * 2;
        struct assignment_pair *pairs = arena_alloc(ab->arena, sizeof(*pairs) * cap);
        if (ab->count > 0) {
            memcpy(pairs, ab->pairs, sizeof(*pairs) * ab->count);
        }
        ab->pairs = pairs;
        ab->cap = cap;
    }
    ab->pairs[ab->count++] = (struct assignment_pair){.id = *id, .partition = partition};
}

static int compare_pairs(const void *a, const void *b)
{
    const struct assignment_pair *x = a;
    const struct assignment_pair *y = b;
    int order = uuid_compare(&x->id, &y->id);
    return order != 0 ? order : (x->partition > y->partition) - (x->partition < y->partition);
}

void assignment_builder_finish(struct assignment_builder *ab, struct assignment *ret)
{
    *ret = (struct assignment){0};
    if (ab->count == 0) {
        return;
    }
    bool is_sorted = true;
    for (size_t i = 1; i < ab->count && is_sorted; i++) {
        is_sorted = compare_pairs(&ab->pairs[i - 1], &ab->pairs[i]) <= 0;
    }
    if (!is_sorted) {
        qsort(ab->pairs, ab->count, sizeof(*ab->pairs), compare_pairs);
    }
    size_t topics_count = 1;
    for (size_t i = 1; i < ab->count; i++) {
        topics_count += uuid_equal(&ab->pairs[i - 1].id, &ab->pairs[i].id) ? 0 : 1;
    }
    struct topic_partitions *topics = arena_alloc(ab->arena, sizeof(*topics) * topics_count);
    int32_t *next = arena_alloc(ab->arena, sizeof(*next) * ab->count);
    int32_t count = 0;
    for (size_t i = 0; i < ab->count; i++) {
        const struct assignment_pair *pair = &ab->pairs[i];
        if (i > 0 && compare_pairs(pair - 1, pair) == 0) {
            continue;
        }
        if (i == 0 || !uuid_equal(&topics[count - 1].id, &pair->id)) {
            topics[count++] = (struct topic_partitions){.id = pair->id, .partitions = next};
        }
        *next++ = pair->partition;
        topics[count - 1].count++;
    }
    *ret = (struct assignment){.topics = topics, .count = count};
}
