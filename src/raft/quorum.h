/*
 * Who leads the metadata quorum (P): a state machine without clock, disk or network. The driver
 * (raft_node) feeds events and carries out effects, in the order: persist, then act.
 *
 * Today it knows quorums whose only voter is this node; any other set of voters is refused at the
 * start with a reason. Votes of others have their place in the events and the states already.
 *
 * Kafka: QuorumState, KafkaRaftClient.
 */
#ifndef RAFT_QUORUM_H
#define RAFT_QUORUM_H

#include "base/base.h"
#include "base/uuid.h"

/* Nobody comes to a higher epoch: each costs an election. One that a disk tells of is damage, and
 * what begins at this one still has room for a million. */
#define QUORUM_EPOCH_MAX (INT32_MAX - (1 << 20))

enum quorum_state {
    QUORUM_INITIAL,    /* nothing is known */
    QUORUM_UNATTACHED, /* no leader is known in this epoch */
    QUORUM_RESIGNED,   /* was the leader of this epoch, before a restart or on purpose */
    QUORUM_CANDIDATE,  /* has voted for itself */
    QUORUM_LEADER,
};
#define QUORUM_STATES 5

/* What quorum-state holds: it is on stable storage before anything follows from it. */
struct quorum_election {
    int32_t leader_id; /* -1: unknown */
    int32_t leader_epoch;
    int32_t voted_id; /* -1: nobody */
    struct uuid voted_directory_id;
};

enum quorum_event_type {
    QUORUM_START,            /* after the log has been read */
    QUORUM_ELECTION_TIMEOUT, /* the deadline of the effects has passed */
    QUORUM_VOTE,             /* a voter has answered */
    QUORUM_RESIGN,           /* a clean stop */
};

struct quorum_event {
    enum quorum_event_type type;
    int64_t now_ms;
    /* QUORUM_START */
    struct quorum_election election; /* as persisted; leader_epoch 0 and -1s: none */
    int32_t log_epoch;               /* of the last batch; 0 for an empty log */
    int32_t voters_count;
    bool is_voter; /* this node is one of them, by id and directory */
    /* QUORUM_VOTE */
    int32_t voter_epoch;
    bool is_granted;
};

enum quorum_refusal {
    QUORUM_ACCEPTED,
    QUORUM_NO_VOTERS,    /* formatted without initial voters */
    QUORUM_NOT_A_VOTER,  /* the voters are others */
    QUORUM_OTHER_VOTERS, /* there are more than this node */
};

struct quorum_effects {
    bool must_persist; /* `election`, before everything else */
    struct quorum_election election;
    bool has_become_leader; /* append the records that begin an epoch */
    bool must_ask_votes;    /* of the other voters */
    int64_t deadline_ms;    /* send QUORUM_ELECTION_TIMEOUT then; INT64_MAX: never */
    enum quorum_refusal refusal;
};

struct quorum {
    enum quorum_state state;
    int32_t node_id;
    struct uuid directory_id;
    int32_t epoch;
    int32_t voters_count;
    int32_t granted; /* votes in this epoch, our own too */
};

void quorum_init(struct quorum *q, int32_t node_id, const struct uuid *directory_id);
void quorum_step(struct quorum *q, const struct quorum_event *ev, struct quorum_effects *ret);
const char *quorum_state_name(enum quorum_state state);

#endif
