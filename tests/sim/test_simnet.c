/*
 * The simulator's own parts: the queue against a model that sorts, virtual time, the generator's
 * spread, the trace; and the network: each fault by itself, forced to a probability of one or zero,
 * then a storm of all of them twice from one seed, which must give one trace.
 */
#include "sim.h"
#include "simnet.h"
#include "unit.h"

#include "base/base.h"
#include "base/mem.h"

enum {
    INBOX_MAX = 4096,
};

struct peer {
    struct sim *s;
    int number;
    int inbox[INBOX_MAX];
    int count;
    int resets;
};

static void deliver(void *ctx, int from, const void *bytes, size_t len)
{
    struct peer *p = ctx;
    int value;
    assert_int_equal(len, sizeof(value));
    memcpy(&value, bytes, sizeof(value));
    assert_in_range(p->count, 0, INBOX_MAX - 1);
    p->inbox[p->count++] = value;
    sim_note(p->s, "%d gets %d from %d", p->number, value, from);
}

static void on_reset(void *ctx, int peer)
{
    struct peer *p = ctx;
    p->resets++;
    sim_note(p->s, "%d loses its connection to %d", p->number, peer);
}

/* A world of a few peers. */
struct world {
    struct sim s;
    struct simnet *net;
    struct peer peers[4];
};

static struct world *world_new(uint64_t seed, const struct simnet_rules *rules)
{
    struct world *w = mem_zalloc(sizeof(*w));
    sim_init(&w->s, seed);
    w->net = simnet_new(&w->s, rules);
    for (int i = 0; i < (int)ARRAY_LEN(w->peers); i++) {
        w->peers[i].s = &w->s;
        w->peers[i].number = i;
        struct simnet_endpoint ep = {.deliver = deliver, .reset = on_reset, .ctx = &w->peers[i]};
        assert_int_equal(simnet_add(w->net, &ep), i);
    }
    return w;
}

static void world_free(struct world *w)
{
    simnet_free(w->net);
    sim_release(&w->s);
    mem_free(w);
}

static void send(struct world *w, int from, int to, int value)
{
    simnet_send(w->net, from, to, &value, sizeof(value));
}

static void run_out(struct world *w)
{
    while (sim_step(&w->s)) {
    }
    assert_false(w->s.has_failed);
}

struct ticket {
    struct sim_event event;
    struct sim *s;
    int64_t due_us;
    int *log;
    int *count;
    int number;
};

static void note_ticket(struct sim_event *ev, void *ctx)
{
    struct ticket *t = ctx;
    assert_ptr_equal(ev, &t->event);
    assert_int_equal(t->s->now_us, t->due_us);
    t->log[(*t->count)++] = t->number;
}

static void events_happen_by_time_then_by_order_of_arming(void **state)
{
    (void)state;
    enum {
        TICKETS = 300
    };
    struct sim s;
    sim_init(&s, 1);
    struct sim_rng rng;
    sim_rng_init(&rng, 1, "test");
    struct ticket *tickets = mem_array(TICKETS, sizeof(*tickets));
    int log[TICKETS];
    int count = 0;
    int armed = 0;
    for (int i = 0; i < TICKETS; i++) {
        tickets[i] = (struct ticket){.s = &s, .log = log, .count = &count, .number = i};
        sim_event_init(&tickets[i].event, note_ticket, &tickets[i]);
        tickets[i].due_us = sim_rng_between(&rng, 0, 50);
        sim_arm(&s, &tickets[i].event, tickets[i].due_us);
        armed++;
    }
    for (int i = 0; i < TICKETS; i++) {
        if (sim_rng_chance(&rng, 200)) {
            sim_disarm(&s, &tickets[i].event);
            sim_disarm(&s, &tickets[i].event); /* twice is once */
            armed--;
        } else if (sim_rng_chance(&rng, 200)) {
            tickets[i].due_us = sim_rng_between(&rng, 0, 50);
            sim_arm(&s, &tickets[i].event, tickets[i].due_us);
        }
    }
    while (sim_step(&s)) {
    }
    assert_int_equal(count, armed);
    for (int i = 1; i < count; i++) {
        const struct ticket *a = &tickets[log[i - 1]];
        const struct ticket *b = &tickets[log[i]];
        assert_true(a->due_us < b->due_us ||
                    (a->due_us == b->due_us && a->event.order < b->event.order));
    }
    mem_free(tickets);
    sim_release(&s);
}

static void both_clocks_move_with_the_events(void **state)
{
    (void)state;
    struct sim s;
    sim_init(&s, 1);
    struct clock *c = &s.clock.clock;
    int64_t now_ms = clock_now_ms(c);
    int64_t mono_ns = clock_mono_ns(c);
    assert_true(sim_run_until(&s, 2500));
    assert_true(sim_run_until(&s, 3999));
    assert_int_equal(clock_now_ms(c) - now_ms, 3);
    assert_int_equal(clock_mono_ns(c) - mono_ns, 3000000);
    sim_release(&s);
}

static void numbers_spread_as_promised(void **state)
{
    (void)state;
    enum {
        DRAWS = 100000
    };
    struct sim_rng rng;
    sim_rng_init(&rng, 7, "test");
    int64_t sum = 0;
    int hits = 0;
    int seen[10] = {0};
    for (int i = 0; i < DRAWS; i++) {
        sum += sim_rng_exponential(&rng, 900);
        hits += sim_rng_chance(&rng, 250);
        seen[sim_rng_below(&rng, 10)]++;
        int64_t v = sim_rng_between(&rng, -3, 3);
        assert_true(v >= -3 && v <= 3);
    }
    assert_in_range(sum / DRAWS, 850, 950);
    assert_in_range(hits, DRAWS / 4 - 1000, DRAWS / 4 + 1000);
    for (size_t i = 0; i < ARRAY_LEN(seen); i++) {
        assert_in_range(seen[i], DRAWS / 10 - 1000, DRAWS / 10 + 1000);
    }
    struct sim_rng a;
    struct sim_rng b;
    sim_rng_init(&a, 7, "one");
    sim_rng_init(&b, 7, "other");
    assert_true(sim_rng_next(&a) != sim_rng_next(&b));
    assert_int_equal(sim_rng_exponential(&a, 0), 0);
}

static void nothing_happens_after_a_failure(void **state)
{
    (void)state;
    struct sim s;
    sim_init(&s, 1);
    int log[1];
    int count = 0;
    struct ticket t = {.s = &s, .log = log, .count = &count};
    sim_event_init(&t.event, note_ticket, &t);
    sim_arm(&s, &t.event, 0);
    bool is_good = sim_expect(&s, count == 0, "cannot be");
    assert_true(is_good);
    is_good = sim_expect(&s, count == 1, "first %d", 1);
    assert_false(is_good);
    sim_fail(&s, "second");
    assert_string_equal(s.failure, "first 1");
    assert_false(sim_step(&s));
    assert_int_equal(count, 0);
    sim_release(&s);
}

static void a_quiet_network_delivers_in_order_once(void **state)
{
    (void)state;
    struct simnet_rules rules = {.latency_mean_us = 1000, .is_ordered = true};
    struct world *w = world_new(3, &rules);
    for (int i = 0; i < 500; i++) {
        send(w, 0, 1, i);
    }
    run_out(w);
    assert_int_equal(w->peers[1].count, 500);
    for (int i = 0; i < 500; i++) {
        assert_int_equal(w->peers[1].inbox[i], i);
    }
    world_free(w);
}

static void messages_overtake_where_order_is_not_kept(void **state)
{
    (void)state;
    struct simnet_rules rules = {.latency_mean_us = 1000};
    struct world *w = world_new(3, &rules);
    for (int i = 0; i < 100; i++) {
        send(w, 0, 1, i);
    }
    run_out(w);
    assert_int_equal(w->peers[1].count, 100);
    int overtaken = 0;
    for (int i = 1; i < 100; i++) {
        overtaken += w->peers[1].inbox[i] < w->peers[1].inbox[i - 1];
    }
    assert_true(overtaken > 10);
    world_free(w);
}

static void messages_are_lost_and_doubled_by_the_rules(void **state)
{
    (void)state;
    struct simnet_rules rules = {.loss_per_mille = 300};
    struct world *w = world_new(5, &rules);
    for (int i = 0; i < 1000; i++) {
        send(w, 0, 1, i);
    }
    run_out(w);
    assert_in_range(w->peers[1].count, 600, 800);
    world_free(w);

    rules = (struct simnet_rules){.duplicate_per_mille = 1000};
    w = world_new(5, &rules);
    for (int i = 0; i < 100; i++) {
        send(w, 0, 1, i);
    }
    run_out(w);
    assert_int_equal(w->peers[1].count, 200);
    simnet_calm(w->net);
    send(w, 0, 1, 1);
    run_out(w);
    assert_int_equal(w->peers[1].count, 201);
    world_free(w);
}

static void a_cut_way_stops_one_direction(void **state)
{
    (void)state;
    struct simnet_rules rules = {.latency_min_us = 100};
    struct world *w = world_new(5, &rules);
    send(w, 0, 1, 1); /* under way when the way is cut */
    simnet_cut(w->net, 0, 1);
    send(w, 0, 1, 2);
    send(w, 1, 0, 3);
    assert_true(simnet_is_cut(w->net, 0, 1) && !simnet_is_cut(w->net, 1, 0));
    run_out(w);
    assert_int_equal(w->peers[1].count, 0);
    assert_int_equal(w->peers[0].count, 1);
    simnet_heal(w->net);
    send(w, 0, 1, 4);
    run_out(w);
    assert_int_equal(w->peers[1].count, 1);
    world_free(w);
}

static void partitions_have_the_shape_of_their_kind(void **state)
{
    (void)state;
    struct simnet_rules rules = {0};
    bool has_cut[3] = {false};
    for (uint64_t seed = 1; seed <= 60; seed++) {
        for (int kind = 0; kind < 3; kind++) {
            for (int is_symmetric = 0; is_symmetric < 2; is_symmetric++) {
                struct world *w = world_new(seed, &rules);
                simnet_partition(w->net, (enum simnet_partition)kind, is_symmetric != 0);
                int touched[4] = {0};
                int cuts = 0;
                for (int a = 0; a < 4; a++) {
                    for (int b = a + 1; b < 4; b++) {
                        int both = simnet_is_cut(w->net, a, b) + simnet_is_cut(w->net, b, a);
                        assert_true(both == 0 || both == 1 + is_symmetric);
                        touched[a] += both > 0;
                        touched[b] += both > 0;
                        cuts += both > 0;
                    }
                }
                has_cut[kind] = has_cut[kind] || cuts > 0;
                /* Of four: a split has 0, 3 or 4 pairs cut, one alone 3, around a bridge 0 or 2. */
                int lone = 0;
                for (int a = 0; a < 4; a++) {
                    lone += touched[a] == 3;
                }
                if (kind == SIMNET_SPLIT) {
                    assert_true(cuts == 0 || cuts == 3 || cuts == 4);
                } else if (kind == SIMNET_ISOLATE) {
                    assert_int_equal(cuts, 3);
                    assert_int_equal(lone, 1);
                } else {
                    assert_true(cuts == 0 || cuts == 2);
                }
                world_free(w);
            }
        }
    }
    assert_true(has_cut[0] && has_cut[1] && has_cut[2]);
}

static void a_reset_loses_what_is_under_way_and_tells_both(void **state)
{
    (void)state;
    struct simnet_rules rules = {.latency_min_us = 100};
    struct world *w = world_new(5, &rules);
    send(w, 0, 1, 1);
    send(w, 1, 0, 2);
    send(w, 2, 1, 3);
    simnet_reset(w->net, 0, 1);
    send(w, 0, 1, 4);
    run_out(w);
    assert_int_equal(w->peers[0].count, 0);
    assert_int_equal(w->peers[1].count, 2);
    assert_int_equal(w->peers[0].resets, 1);
    assert_int_equal(w->peers[1].resets, 1);
    assert_int_equal(w->peers[2].resets, 0);
    world_free(w);
}

static void an_endpoint_that_was_down_gets_nothing_from_before(void **state)
{
    (void)state;
    struct simnet_rules rules = {.latency_min_us = 100};
    struct world *w = world_new(5, &rules);
    send(w, 0, 1, 1);
    send(w, 1, 0, 2); /* was sent: arrives */
    simnet_set_up(w->net, 1, false);
    send(w, 0, 1, 3);
    simnet_set_up(w->net, 1, true);
    send(w, 0, 1, 4);
    run_out(w);
    assert_int_equal(w->peers[0].count, 1);
    assert_int_equal(w->peers[0].inbox[0], 2);
    assert_int_equal(w->peers[0].resets, 1);
    assert_int_equal(w->peers[1].count, 1);
    assert_int_equal(w->peers[1].inbox[0], 4);
    world_free(w);
}

/* The trace of a storm. */
static uint64_t storm(uint64_t seed, int *ret_delivered)
{
    struct sim_rng rng;
    sim_rng_init(&rng, seed, "storm");
    struct simnet_rules rules;
    simnet_rules_draw(&rng, &rules);
    struct world *w = world_new(seed, &rules);
    simnet_start_chaos(w->net);
    for (int i = 0; i < 400; i++) {
        int from = (int)sim_rng_below(&rng, 4);
        int to = (int)sim_rng_below(&rng, 4);
        send(w, from, to, i);
        if (sim_rng_chance(&rng, 20)) {
            int one = (int)sim_rng_below(&rng, 4);
            simnet_set_up(w->net, one, false);
            simnet_set_up(w->net, one, true);
        }
        assert_true(sim_run_until(&w->s, w->s.now_us + 2000));
    }
    uint64_t trace = w->s.trace;
    *ret_delivered = 0;
    for (int i = 0; i < 4; i++) {
        *ret_delivered += w->peers[i].count;
    }
    world_free(w);
    return trace;
}

static void one_seed_gives_one_storm(void **state)
{
    (void)state;
    uint64_t last = 0;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        int delivered;
        int again;
        uint64_t trace = storm(seed, &delivered);
        assert_true(storm(seed, &again) == trace);
        assert_int_equal(delivered, again);
        assert_in_range(delivered, 20, 600);
        assert_true(trace != last);
        last = trace;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(events_happen_by_time_then_by_order_of_arming),
        cmocka_unit_test(both_clocks_move_with_the_events),
        cmocka_unit_test(numbers_spread_as_promised),
        cmocka_unit_test(nothing_happens_after_a_failure),
        cmocka_unit_test(a_quiet_network_delivers_in_order_once),
        cmocka_unit_test(messages_overtake_where_order_is_not_kept),
        cmocka_unit_test(messages_are_lost_and_doubled_by_the_rules),
        cmocka_unit_test(a_cut_way_stops_one_direction),
        cmocka_unit_test(partitions_have_the_shape_of_their_kind),
        cmocka_unit_test(a_reset_loses_what_is_under_way_and_tells_both),
        cmocka_unit_test(an_endpoint_that_was_down_gets_nothing_from_before),
        cmocka_unit_test(one_seed_gives_one_storm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
