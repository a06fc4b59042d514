/*
 * Where the replicas of new partitions go (P): striped over racks and brokers, so that leaders and
 * replicas spread evenly, no partition has two replicas on one broker, and racks repeat only
 * when there are fewer racks than replicas. Leaders are placed on brokers that serve.
 *
 * Kafka: StripedReplicaPlacer. One placement serves one request; the seed decides everything.
 */
#ifndef META_PLACEMENT_H
#define META_PLACEMENT_H

#include "base/base.h"
#include "base/mem.h"
#include "meta/image.h"

enum placement_verdict {
    PLACEMENT_OK,
    PLACEMENT_TOO_FEW_BROKERS, /* more replicas asked for than brokers are registered */
    PLACEMENT_NONE_ACTIVE,     /* all brokers are fenced or shutting down */
};

struct placement_rack;

struct placement {
    struct arena *arena;          /* borrowed */
    struct placement_rack *racks; /* in the arena; sorted by name */
    size_t racks_count;
    size_t brokers_count;
    size_t active_count;
    size_t offset;   /* rack that the next partition begins with */
    size_t epoch;    /* partitions placed since the last shuffle */
    uint64_t random; /* state of the generator */
};

void placement_init(struct placement *pm,
                    const struct image *im,
                    struct arena *arena,
                    uint64_t seed);

/* Replicas of the next partition, the leader first: `count` > 0 broker ids. */
must_check enum placement_verdict
placement_next(struct placement *pm, int32_t count, int32_t *ret_brokers);

/* May this broker lead or be in sync? Neither fenced nor shutting down. */
static inline bool placement_is_active(const struct image_broker *b)
{
    return !b->is_fenced && !b->is_in_controlled_shutdown;
}

/* May it be given new partitions? It must be active, and one of its directories not cordoned. */
bool placement_takes_more(const struct image_broker *b);
bool placement_is_cordoned(const struct image_broker *b); /* all of its directories are */

#endif
