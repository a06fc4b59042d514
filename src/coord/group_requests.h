/*
 * The door of JoinGroup, SyncGroup, Heartbeat and LeaveGroup (P). They come for a name, and it is
 * decided here who serves them: the classic machine, or for a consumer group migrate.h, which has
 * classic members in it. Each completes the call now or parks it (Join, Sync).
 *
 * Kafka: GroupMetadataManager.classicGroupJoin, classicGroupSync, classicGroupHeartbeat,
 * classicGroupLeave.
 */
#ifndef COORD_GROUP_REQUESTS_H
#define COORD_GROUP_REQUESTS_H

#include "coord/shard.h"

void group_join(struct shard *sh, struct shard_call *call);
void group_sync(struct shard *sh, struct shard_call *call);
void group_heartbeat(struct shard *sh, struct shard_call *call);
void group_leave(struct shard *sh, struct shard_call *call);

#endif
