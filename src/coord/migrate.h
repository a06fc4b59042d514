/*
 * From one protocol to the other while members are live (P): KIP-848's online upgrade and downgrade
 * (group.consumer.migration.policy), and classic members inside consumer groups.
 *
 * Kafka: GroupMetadataManager.convertToConsumerGroup, convertToClassicGroup,
 * classicGroupJoinToConsumerGroup and kin.
 */
#ifndef COORD_MIGRATE_H
#define COORD_MIGRATE_H

#include "coord/classic.h"
#include "coord/consumer.h"

/* May a consumer-protocol member join this classic group? NONE: it may (empty ones are simply
 * replaced); GROUP_ID_NOT_FOUND: not by policy, or its members' bytes cannot be read. */
enum kafka_error
migrate_check_upgrade(const struct shard *sh, const struct group *g, struct str *ret_message);
/* Makes it a consumer group, with its members as classic ones; parked joins and syncs are completed
 * (REBALANCE_IN_PROGRESS), records emitted. */
void migrate_upgrade(struct shard *sh, struct group *g);
/* Would the group go back when this member (NULL: nobody) has left? */
bool migrate_wants_downgrade(const struct shard *sh,
                             const struct group *g,
                             const struct consumer_member *leaving);
/* Makes it a classic group of its classic members, which rebalance. leaving: taken out with it. The
 * group may be another object afterwards. */
void migrate_downgrade(struct shard *sh, struct group *g, struct consumer_member *leaving);

/* The classic APIs inside a consumer group. Complete the call. */
void migrate_join(struct shard *sh, struct group *g, struct shard_call *call);
void migrate_sync(struct shard *sh, struct group *g, struct shard_call *call);
void migrate_heartbeat(struct shard *sh, struct group *g, struct shard_call *call);
void migrate_leave(struct shard *sh, struct group *g, struct shard_call *call);

#endif
