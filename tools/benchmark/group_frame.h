/*
 * Requests of groups and what their answers say, at one version each: FindCoordinator 4,
 * JoinGroup 9, SyncGroup 5, Heartbeat 4, LeaveGroup 5, OffsetCommit 9, ConsumerGroupHeartbeat 1.
 */
#ifndef BENCHMARK_GROUP_FRAME_H
#define BENCHMARK_GROUP_FRAME_H

#include "benchmark/frame.h"

#define MEMBER_ID_BYTES     64
#define GROUP_NAME_BYTES    64
#define GROUP_PARTITION_MAX 256 /* of one member */

/* Which member of which group asks. Borrowed. */
struct asker {
    const char *group;
    const char *member;
    int32_t epoch; /* generation, or member epoch */
};

void frame_find_coordinator(struct buf *b, const char *group);
void frame_join(struct buf *b, const struct asker *a, const char *topic, int32_t session_ms);
/* An assignment of `each` partitions of `topic` for each of `count` member ids, or none. */
void frame_sync(struct buf *b,
                const struct asker *a,
                const char *topic,
                const char *const *members,
                size_t count,
                int32_t each);
void frame_heartbeat(struct buf *b, const struct asker *a);
void frame_leave(struct buf *b, const struct asker *a);
void frame_commit(struct buf *b,
                  const struct asker *a,
                  const char *topic,
                  int32_t partition,
                  int64_t offset);

/* topic NULL: as before; owned_count below 0: as before. */
struct group_heartbeat {
    struct asker asker;
    const char *topic;
    const struct topic_id *owned_topic;
    const int32_t *owned;
    int32_t owned_count;
};
void frame_group_heartbeat(struct buf *b, const struct group_heartbeat *h);

struct joined {
    int16_t error;
    int32_t generation;
    char member[MEMBER_ID_BYTES];
    bool is_leader;
    char (*members)[MEMBER_ID_BYTES]; /* owned; of a leader */
    size_t members_count;
};
/* Readers start behind the length; a bad answer leaves a->failed. */
void joined_read(struct answer *a, struct joined *ret);
void joined_release(struct joined *j);
int16_t error_read(struct answer *a); /* of SyncGroup, Heartbeat, LeaveGroup */
int16_t committed_read(struct answer *a);
int16_t found_read(struct answer *a);

struct group_beat {
    int16_t error;
    int32_t epoch;
    bool has_assignment;
    struct topic_id topic;
    int32_t partitions[GROUP_PARTITION_MAX];
    int32_t partitions_count;
};
void group_beat_read(struct answer *a, struct group_beat *ret);

#endif
