/*
 * Who gets which partitions (P): server side assignors of consumer groups, and sets of partitions.
 *
 * Kafka: UniformAssignor (homogeneous and heterogeneous), RangeAssignor. Sticky: as much as can
 * stay of the target before stays; balanced within one. The result depends on nothing but the
 * input; given the members in the same order it is Kafka's. (Range is as sticky as its order.)
 *
 * Racks of members and partitions are part of a spec as they are of Kafka's, but no assignor of
 * Kafka 4.4 looks at them, and so none does here: they only matter for when a target is computed.
 */
#ifndef COORD_ASSIGNOR_H
#define COORD_ASSIGNOR_H

#include "base/base.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/uuid.h"

/* Partitions of one topic. */
struct topic_partitions {
    struct uuid id;
    int32_t *partitions; /* ascending, each once */
    int32_t count;
};

/* Partitions of some topics: ascending by id, no topic without partitions. Zeroed: empty. Memory is
 * the heap's (one block: assignment_copy, assignment_release) unless a function says the arena's,
 * which nobody releases. */
struct assignment {
    struct topic_partitions *topics;
    int32_t count;
};

void assignment_release(struct assignment *a);
void assignment_copy(const struct assignment *from, struct assignment *ret); /* to the heap */
bool assignment_equal(const struct assignment *a, const struct assignment *b);
const struct topic_partitions *assignment_find(const struct assignment *a,
                                               const struct uuid *id); /* NULL: none */
bool assignment_has(const struct assignment *a, const struct uuid *id, int32_t partition);
bool assignment_contains(const struct assignment *a, const struct assignment *part); /* all of it */
int64_t assignment_size(const struct assignment *a);  /* partitions */
int64_t assignment_bytes(const struct assignment *a); /* memory */
/* Results in the arena. */
void assignment_minus(const struct assignment *a,
                      const struct assignment *b,
                      struct arena *arena,
                      struct assignment *ret);
void assignment_intersect(const struct assignment *a,
                          const struct assignment *b,
                          struct arena *arena,
                          struct assignment *ret);
void assignment_union(const struct assignment *a,
                      const struct assignment *b,
                      struct arena *arena,
                      struct assignment *ret);

/* Builds one from pairs in any order, repeated ones too. */
struct assignment_pair {
    struct uuid id;
    int32_t partition;
};

struct assignment_builder {
    struct arena *arena;
    struct assignment_pair *pairs;
    size_t count;
    size_t cap;
};
void assignment_builder_init(struct assignment_builder *ab, struct arena *arena);
void assignment_builder_add(struct assignment_builder *ab,
                            const struct uuid *id,
                            int32_t partition);
void assignment_builder_finish(struct assignment_builder *ab, struct assignment *ret); /* arena's */

struct assignor_topic {
    struct uuid id;
    int32_t partitions_count;
    /* Racks of partition p: racks[p * racks_max .. ), null ends; NULL: racks play no part. */
    const struct str *racks;
    size_t racks_max;
};

struct assignor_member {
    struct str id;
    struct str instance_id; /* null: dynamic */
    struct str rack_id;     /* null: none */
    const int32_t
        *topics; /* ascending indexes into spec.topics: what it is subscribed to and exists */
    int32_t topics_count;
    const struct assignment *current; /* its target before; may be empty */
};

struct assignor_spec {
    const struct assignor_topic *topics; /* ascending by id */
    int32_t topics_count;
    const struct assignor_member *members; /* ascending by id */
    int32_t members_count;
    bool is_homogeneous; /* all are subscribed to the same topics */
};

/* ret[i]: of members[i], in the arena. */
typedef void
assignor_fn(const struct assignor_spec *spec, struct arena *arena, struct assignment *ret);

assignor_fn *assignor_find(struct str name); /* "uniform", "range"; NULL: unknown */
void assignor_uniform(const struct assignor_spec *spec,
                      struct arena *arena,
                      struct assignment *ret);
void assignor_range(const struct assignor_spec *spec, struct arena *arena, struct assignment *ret);

#endif
