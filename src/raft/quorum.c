/*
 * Leader election.
 *
 *   state        may be left for             on
 *   initial      unattached                  start
 *                resigned                    start, quorum-state says that we led this epoch
 *   unattached   candidate                   election timeout: epoch + 1, vote for ourselves
 *   resigned     candidate                   election timeout
 *   candidate    candidate                   election timeout: epoch + 1
 *                leader                      a majority has granted (our own vote counts)
 *   leader       resigned                    resign
 *
 * Invariants: the epoch never falls, and rises only on the way to candidate; it is above every
 * epoch of the log. What an effect persists is true before the effect after it is carried out. A
 * sole voter need not wait for a timeout: its first deadline is now.
 */
#include "raft/quorum.h"

/* predecessors[to]: bit set of the states that may come before. */
static const uint8_t predecessors[QUORUM_STATES] = {
    [QUORUM_UNATTACHED] = 1u << QUORUM_INITIAL,
    [QUORUM_RESIGNED] = 1u << QUORUM_INITIAL | 1u << QUORUM_LEADER,
    [QUORUM_CANDIDATE] = 1u << QUORUM_UNATTACHED | 1u << QUORUM_RESIGNED | 1u << QUORUM_CANDIDATE,
    [QUORUM_LEADER] = 1u << QUORUM_CANDIDATE,
};

static void quorum_move(struct quorum *q, enum quorum_state to)
{
    check((predecessors[to] & (1u << q->state)) != 0);
    q->state = to;
}

void quorum_init(struct quorum *q, int32_t node_id, const struct uuid *directory_id)
{
    *q = (struct quorum){
        .state = QUORUM_INITIAL,
        .node_id = node_id,
        .directory_id = *directory_id,
    };
}

static void start(struct quorum *q, const struct quorum_event *ev, struct quorum_effects *ret)
{
    if (ev->voters_count == 0) {
        ret->refusal = QUORUM_NO_VOTERS;
        return;
    }
    if (!ev->is_voter) {
        ret->refusal = QUORUM_NOT_A_VOTER;
        return;
    }
    if (ev->voters_count > 1) {
        ret->refusal = QUORUM_OTHER_VOTERS;
        return;
    }
    q->voters_count = ev->voters_count;
    q->epoch =
        ev->election.leader_epoch > ev->log_epoch ? ev->election.leader_epoch : ev->log_epoch;
    bool has_led = ev->election.leader_id == q->node_id && ev->election.leader_epoch == q->epoch;
    quorum_move(q, has_led ? QUORUM_RESIGNED : QUORUM_UNATTACHED);
    ret->deadline_ms = ev->now_ms;
}

static void become_leader(struct quorum *q, struct quorum_effects *ret)
{
    quorum_move(q, QUORUM_LEADER);
    ret->must_persist = true;
    ret->election = (struct quorum_election){
        .leader_id = q->node_id,
        .leader_epoch = q->epoch,
        .voted_id = -1,
    };
    ret->has_become_leader = true;
    ret->deadline_ms = INT64_MAX;
}

static void become_candidate(struct quorum *q, struct quorum_effects *ret)
{
    check(q->epoch < INT32_MAX);
    q->epoch++;
    q->granted = 1;
    quorum_move(q, QUORUM_CANDIDATE);
    if (q->granted > q->voters_count / 2) {
        /* Nobody else could be told of the vote: it need not be persisted apart. */
        become_leader(q, ret);
        return;
    }
    ret->must_persist = true;
    ret->election = (struct quorum_election){
        .leader_id = -1,
        .leader_epoch = q->epoch,
        .voted_id = q->node_id,
        .voted_directory_id = q->directory_id,
    };
    ret->must_ask_votes = true;
}

void quorum_step(struct quorum *q, const struct quorum_event *ev, struct quorum_effects *ret)
{
    *ret = (struct quorum_effects){.deadline_ms = INT64_MAX};
    switch (ev->type) {
    case QUORUM_START:
        start(q, ev, ret);
        break;
    case QUORUM_ELECTION_TIMEOUT:
        if (q->state == QUORUM_UNATTACHED || q->state == QUORUM_RESIGNED ||
            q->state == QUORUM_CANDIDATE) {
            become_candidate(q, ret);
        }
        break;
    case QUORUM_VOTE:
        if (q->state == QUORUM_CANDIDATE && ev->is_granted && ev->voter_epoch == q->epoch) {
            q->granted++;
            if (q->granted > q->voters_count / 2) {
                become_leader(q, ret);
            }
        }
        break;
    case QUORUM_RESIGN:
        if (q->state == QUORUM_LEADER) {
            quorum_move(q, QUORUM_RESIGNED);
        }
        break;
    }
}

const char *quorum_state_name(enum quorum_state state)
{
    switch (state) {
    case QUORUM_INITIAL:
        return "initial";
    case QUORUM_UNATTACHED:
        return "unattached";
    case QUORUM_RESIGNED:
        return "resigned";
    case QUORUM_CANDIDATE:
        return "candidate";
    case QUORUM_LEADER:
        return "leader";
    }
    return "unknown";
}
