/* Deadlines: seeded random arming, moving and disarming against a plain scan of all timers; then
 * the habits that callers rely on: arming again inside fire, disarming others inside fire. */
#include "base/base.h"

#include "base/timers.h"
#include "simclock.h"
#include "unit.h"

enum {
    TIMERS = 60,
};

struct bench {
    struct timers ts;
    struct timer timers[TIMERS];
    int fired[TIMERS];
    int64_t last_ms;
};

static void on_fire(struct timer *t, void *ctx)
{
    struct bench *b = ctx;
    assert_false(timer_is_armed(t));
    assert_true(t->deadline_ms >= b->last_ms); /* in order */
    b->last_ms = t->deadline_ms;
    b->fired[t - b->timers]++;
}

static void timers_fire_once_when_due_and_in_order(void **state)
{
    (void)state;
    struct bench b = {0};
    int64_t model[TIMERS];
    uint64_t random = 9;
    timers_init(&b.ts);
    for (int i = 0; i < TIMERS; i++) {
        timer_init(&b.timers[i], on_fire, &b);
        model[i] = INT64_MAX;
    }
    for (int64_t now = 0; now < 4000; now++) {
        size_t i = sim_random(&random) % TIMERS;
        if (sim_random(&random) % 4 == 0) {
            timers_disarm(&b.ts, &b.timers[i]);
            model[i] = INT64_MAX;
        } else {
            model[i] = now + (int64_t)(sim_random(&random) % 50);
            timers_arm(&b.ts, &b.timers[i], model[i]);
        }
        int64_t next = INT64_MAX;
        for (int k = 0; k < TIMERS; k++) {
            next = min_i64(next, model[k]);
        }
        assert_int_equal(timers_next(&b.ts), next);
        memset(b.fired, 0, sizeof(b.fired));
        b.last_ms = 0;
        timers_run(&b.ts, now);
        for (int k = 0; k < TIMERS; k++) {
            assert_int_equal(b.fired[k], model[k] <= now);
            model[k] = b.fired[k] ? INT64_MAX : model[k];
        }
    }
    timers_release(&b.ts);
    assert_false(timer_is_armed(&b.timers[0]));
}

static void arm_again(struct timer *t, void *ctx)
{
    timers_arm(ctx, t, t->deadline_ms); /* already past */
}

static void a_timer_that_arms_itself_for_the_past_does_not_hold_the_loop(void **state)
{
    (void)state;
    struct timers ts;
    struct timer t;
    timers_init(&ts);
    timer_init(&t, arm_again, &ts);
    timers_arm(&ts, &t, 5);
    assert_int_equal(timers_run(&ts, 10), 1);
    assert_true(timer_is_armed(&t));
    timers_release(&ts);
}

struct pair {
    struct timers ts;
    struct timer a;
    struct timer b;
    int fired;
};

static void disarm_other(struct timer *t, void *ctx)
{
    struct pair *p = ctx;
    p->fired++;
    timers_disarm(&p->ts, t == &p->a ? &p->b : &p->a);
}

static void a_timer_may_disarm_another_that_is_due(void **state)
{
    (void)state;
    struct pair p = {0};
    timer_init(&p.a, disarm_other, &p);
    timer_init(&p.b, disarm_other, &p);
    timers_arm(&p.ts, &p.a, 1);
    timers_arm(&p.ts, &p.b, 1);
    assert_int_equal(timers_run(&p.ts, 1), 1);
    assert_int_equal(p.fired, 1);
    assert_int_equal(timers_next(&p.ts), INT64_MAX);
    timers_release(&p.ts);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(timers_fire_once_when_due_and_in_order),
        cmocka_unit_test(a_timer_that_arms_itself_for_the_past_does_not_hold_the_loop),
        cmocka_unit_test(a_timer_may_disarm_another_that_is_due),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
