/*
 * All machines of a shard (P): the one table that shard_new is given. It stands on top of coord, so
 * that nothing below has to know its neighbours.
 */
#ifndef COORD_SHARD_MACHINES_H
#define COORD_SHARD_MACHINES_H

#include "coord/shard.h"

extern const struct shard_machines shard_machines;

#endif
