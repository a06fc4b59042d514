/*
 * What classic consumers put into the bytes that a broker mostly passes on (P):
 * ConsumerProtocolSubscription and ConsumerProtocolAssignment, version first.
 */
#ifndef COORD_SUBSCRIPTION_H
#define COORD_SUBSCRIPTION_H

#include "base/base.h"
#include "base/mem.h"
#include "coord/assignor.h"
#include "coord/shard.h"

/* In the arena; ERR_*: no such bytes. A version above ours is read as the newest that we know. */
must_check int subscription_parse(struct view bytes,
                                  struct arena *arena,
                                  struct consumer_protocol_subscription *ret,
                                  int16_t *ret_version);
must_check int subscription_parse_assignment(struct view bytes,
                                             struct arena *arena,
                                             struct consumer_protocol_assignment *ret,
                                             int16_t *ret_version);
/* The version and the body in it, in the arena; the body must be one that can be encoded. */
struct view
subscription_encode(const struct msg *m, int16_t version, void *body, struct arena *arena);
/* The bytes of an assignment with topic names, in the arena. Topics that are gone are left out. */
struct view subscription_build_assignment(const struct assignment *a,
                                          const struct shard_topics *topics,
                                          int16_t version,
                                          struct arena *arena);

#endif
