/*
 * What the assignors share (P): the owner of each partition of a spec, in one flat array, and the
 * way from there to the assignments.
 */
#ifndef COORD_ASSIGNOR_OWNERS_H
#define COORD_ASSIGNOR_OWNERS_H

#include "coord/assignor.h"

enum {
    OWNER_NONE = -1,
};

struct assignor_owners {
    const struct assignor_spec *spec;
    int32_t *first; /* by topic: place of its partition 0 in `of`; one more at the end */
    int32_t *of;    /* index of the member that owns it, or OWNER_NONE */
};

/* Nobody owns anything; in the arena. */
void assignor_owners_init(struct assignor_owners *ao,
                          const struct assignor_spec *spec,
                          struct arena *arena);
/* The index of a topic of the spec; -1: none. */
int32_t assignor_topic_find(const struct assignor_spec *spec, const struct uuid *id);
bool assignor_is_subscribed(const struct assignor_member *am, int32_t topic);
/* ret[i]: what members[i] owns, in the arena. */
void assignor_owners_build(const struct assignor_owners *ao,
                           struct arena *arena,
                           struct assignment *ret);

/* Members with different subscriptions. */
void assignor_uniform_mixed(const struct assignor_spec *spec,
                            struct arena *arena,
                            struct assignment *ret);

#endif
