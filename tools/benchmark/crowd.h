/*
 * A crowd: members of groups, each on a connection of its own. One thread, one epoll; a member does
 * what its newest answer asks for (id, join, sync, heartbeat, join again), as a consumer would.
 */
#ifndef BENCHMARK_CROWD_H
#define BENCHMARK_CROWD_H

#include "benchmark/group_frame.h"

#include <netinet/in.h>

enum crowd_protocol {
    CROWD_CLASSIC,
    CROWD_CONSUMER,
};

enum crowd_state {
    CROWD_OUT,     /* not in its group, nothing asked */
    CROWD_JOINING, /* waits for an id, or in the group */
    CROWD_SYNCING,
    CROWD_STABLE,  /* in, nothing asked */
    CROWD_BEATING, /* in, a heartbeat is under way */
};

struct crowd_member {
    int fd; /* -1: closed */
    enum crowd_state state;
    uint32_t group; /* number of its group */
    int32_t epoch;  /* generation, or member epoch */
    char id[MEMBER_ID_BYTES];
    struct buf in;         /* the beginning of an answer */
    struct topic_id topic; /* of what it owns, in the consumer protocol */
    int32_t *owned;        /* owned */
    int32_t owned_count;
    bool owes_owned;  /* the next heartbeat says what it owns */
    int64_t answered; /* commits */
};

struct crowd {
    struct sockaddr_in server;
    enum crowd_protocol protocol;
    const char *name;  /* groups are NAME-<number> */
    const char *topic; /* that all subscribe to */
    int32_t session_ms;
    int32_t partitions_each; /* that a leader gives to each member */
    struct crowd_member *members;
    size_t count;
    int poll_fd;
    size_t stable;  /* members in CROWD_STABLE */
    int64_t beats;  /* heartbeats that were answered with 0 */
    int64_t told;   /* heartbeats that were answered with "a rebalance is in progress" */
    struct buf out; /* the newest frame */
};

/* groups: member i is of group i % groups. */
must_check int crowd_open(struct crowd *cr, size_t count, size_t groups);
void crowd_close(struct crowd *cr);

/* [first, first + count) ask to join; nothing is waited for. */
must_check int crowd_join(struct crowd *cr, size_t first, size_t count);
must_check int crowd_beat(struct crowd *cr, size_t member);
/* Leaves and closes its connection. */
must_check int crowd_leave(struct crowd *cr, size_t member);
/* Takes answers until `stable` members are, or until_ns. -ETIMEDOUT when nothing came for long. */
must_check int crowd_settle(struct crowd *cr, size_t stable);
must_check int crowd_until(struct crowd *cr, int64_t until_ns);
/* Until `stable` members are in their groups for good: those that are in beat now and then, so that
 * they learn of who comes later, and join again. */
must_check int crowd_gather(struct crowd *cr, size_t stable);

/* Commits of one record each, in_flight on each connection, for `seconds`. All members are stable.
 */
struct crowd_commits {
    int64_t commits;
    double seconds;
    double cpu_seconds;
    double p99_us;
};
must_check int crowd_commit(struct crowd *cr,
                            size_t in_flight,
                            double warm_seconds,
                            double seconds,
                            pid_t pid,
                            struct crowd_commits *ret);

/* The consumer protocol: heartbeats in rounds until all members have one epoch and own `partitions`
 * in all. */
must_check int crowd_reconcile(struct crowd *cr, int32_t partitions, int *ret_rounds);

/* As many descriptors as the system lets us have. */
void crowd_raise_limit(void);

#endif
