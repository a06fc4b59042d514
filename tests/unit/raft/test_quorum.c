/*
 * The election machine, event by event: each test feeds events and asks for state and effects.
 * There is no clock and no disk: what would be persisted is compared as a struct.
 */
#include "unit.h"

#include "raft/quorum.h"

static const struct uuid our_directory = {.bytes = {9}};

static struct quorum_event start_event(int32_t leader, int32_t epoch, int32_t log_epoch)
{
    return (struct quorum_event){
        .type = QUORUM_START,
        .now_ms = 1000,
        .election = {.leader_id = leader, .leader_epoch = epoch, .voted_id = -1},
        .log_epoch = log_epoch,
        .voters_count = 1,
        .is_voter = true,
    };
}

static void assert_leads_after(struct quorum_event ev, enum quorum_state state, int32_t epoch)
{
    struct quorum q;
    struct quorum_effects effects;
    quorum_init(&q, 1, &our_directory);
    quorum_step(&q, &ev, &effects);
    assert_int_equal(effects.refusal, QUORUM_ACCEPTED);
    assert_int_equal(q.state, state);
    assert_false(effects.must_persist);
    assert_int_equal(effects.deadline_ms, 1000);
    ev = (struct quorum_event){.type = QUORUM_ELECTION_TIMEOUT, .now_ms = 1000};
    quorum_step(&q, &ev, &effects);
    assert_int_equal(q.state, QUORUM_LEADER);
    assert_int_equal(q.epoch, epoch);
    assert_true(effects.must_persist);
    assert_true(effects.has_become_leader);
    assert_false(effects.must_ask_votes);
    assert_int_equal(effects.election.leader_id, 1);
    assert_int_equal(effects.election.leader_epoch, epoch);
    assert_int_equal(effects.election.voted_id, -1);
    assert_true(uuid_is_zero(&effects.election.voted_directory_id));
}

static void a_sole_voter_leads_the_next_epoch(void **state unused_ok)
{
    assert_leads_after(start_event(-1, 0, 0), QUORUM_UNATTACHED, 1);
    assert_leads_after(start_event(1, 2, 2), QUORUM_RESIGNED, 3);
    assert_leads_after(start_event(-1, 5, 2), QUORUM_UNATTACHED, 6);
}

/* quorum-state may be lost or older than the log: the epoch is above both. */
static void the_epoch_is_above_that_of_the_log(void **state unused_ok)
{
    assert_leads_after(start_event(-1, 0, 7), QUORUM_UNATTACHED, 8);
    assert_leads_after(start_event(1, 3, 7), QUORUM_UNATTACHED, 8);
}

static enum quorum_refusal refusal_of(int32_t voters, bool is_voter)
{
    struct quorum q;
    struct quorum_effects effects;
    struct quorum_event ev = start_event(-1, 0, 0);
    ev.voters_count = voters;
    ev.is_voter = is_voter;
    quorum_init(&q, 1, &our_directory);
    quorum_step(&q, &ev, &effects);
    enum quorum_refusal refusal = effects.refusal;
    assert_int_equal(effects.deadline_ms, INT64_MAX);
    assert_int_equal(q.state, QUORUM_INITIAL);
    ev.type = QUORUM_ELECTION_TIMEOUT; /* refused is refused: nothing moves it */
    quorum_step(&q, &ev, &effects);
    assert_int_equal(q.state, QUORUM_INITIAL);
    assert_false(effects.must_persist);
    return refusal;
}

static void other_quorums_are_refused(void **state unused_ok)
{
    assert_int_equal(refusal_of(0, false), QUORUM_NO_VOTERS);
    assert_int_equal(refusal_of(1, false), QUORUM_NOT_A_VOTER);
    assert_int_equal(refusal_of(3, true), QUORUM_OTHER_VOTERS);
}

static void a_leader_resigns_once(void **state unused_ok)
{
    struct quorum q;
    struct quorum_effects effects;
    struct quorum_event ev = start_event(-1, 0, 0);
    quorum_init(&q, 1, &our_directory);
    quorum_step(&q, &ev, &effects);
    ev.type = QUORUM_ELECTION_TIMEOUT;
    quorum_step(&q, &ev, &effects);
    quorum_step(&q, &ev, &effects); /* a late timeout changes nothing */
    assert_int_equal(q.state, QUORUM_LEADER);
    assert_int_equal(q.epoch, 1);
    assert_false(effects.must_persist);
    ev.type = QUORUM_RESIGN;
    quorum_step(&q, &ev, &effects);
    assert_int_equal(q.state, QUORUM_RESIGNED);
    quorum_step(&q, &ev, &effects);
    assert_int_equal(q.state, QUORUM_RESIGNED);
    ev.type = QUORUM_VOTE;
    ev.is_granted = true;
    ev.voter_epoch = 1;
    quorum_step(&q, &ev, &effects);
    assert_int_equal(q.state, QUORUM_RESIGNED);
    assert_string_equal(quorum_state_name(q.state), "resigned");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sole_voter_leads_the_next_epoch),
        cmocka_unit_test(the_epoch_is_above_that_of_the_log),
        cmocka_unit_test(other_quorums_are_refused),
        cmocka_unit_test(a_leader_resigns_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
