/*
 * The members of a group of either kind in one shape (P), for story_print.c.
 */
#ifndef COORD_STORY_MEMBERS_H
#define COORD_STORY_MEMBERS_H

#include "base/base.h"
#include "base/mem.h"
#include "base/str.h"
#include "coord/group.h"

#define STORY_MEMBERS_MAX 10000 /* shown */

struct shown_topic {
    struct str name;           /* of a topic that is gone: its id */
    const int32_t *partitions; /* ascending */
    int32_t count;
};

struct shown_topics {
    struct shown_topic *items;
    int32_t count;
};

struct shown_member {
    struct str id;
    struct str instance_id; /* null: dynamic */
    struct str client_id;
    struct str client_host;
    const char *protocol; /* "classic", "consumer" */
    const char *state;    /* "stable", "joining", ...: see story_print.h */
    int32_t epoch;        /* of the consumer protocol; -1: none */
    bool is_leader;
    bool is_awaited;          /* the rebalance that runs waits for it */
    const struct str *topics; /* subscribed names */
    size_t topics_count;
    struct str regex; /* null: none */
    struct shown_topics owns;
    struct shown_topics must_revoke;
    int64_t unread_bytes; /* of an assignment that is none of a consumer; -1: it is read */
};

struct shown_members {
    struct shown_member *items; /* by id */
    size_t count;
    size_t omitted; /* beyond STORY_MEMBERS_MAX */
};

/* In the arena; texts are those of the state. */
void story_members(const struct shard *sh,
                   const struct group *g,
                   struct arena *arena,
                   struct shown_members *ret);

#endif
