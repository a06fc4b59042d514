/*
 * What migrate.c and migrate_classic.c share (P); nobody else includes this.
 */
#ifndef COORD_MIGRATE_PRIVATE_H
#define COORD_MIGRATE_PRIVATE_H

#include "coord/migrate.h"
#include "wire/gen/messages.h"

/* The version that the member's bytes have; 0 when they have none. */
int16_t migrate_version_of(struct view metadata);
/* As migrate_downgrade, when a static member `joining` (of which the classic part and the texts are
 * looked at) takes the place of `replaced`, which is in the group still. */
void migrate_downgrade_replaced(struct shard *sh,
                                struct group *g,
                                const struct consumer_member *replaced,
                                const struct consumer_member *joining,
                                int32_t generation,
                                bool must_rebalance);

#endif
