/*
 * The loop: order and count of what runs in a turn, deadlines by a clock under test control, jobs
 * and stop from another thread, and that it sleeps: a loop that has nothing to do until a deadline
 * makes no turn before it.
 */
#include "base/base.h"

#include "base/mem.h"
#include "base/sync.h"
#include "net/loop.h"
#include "simclock.h"
#include "unit.h"

struct bench {
    struct loop *loop;
    struct simclock sc;
    struct clock system;
    struct metrics metrics;
    char order[64];
    size_t count;
    struct turn_task a;
    struct turn_task b;
    struct turn_task c;
};

static void set_up(struct bench *b, bool is_simulated)
{
    *b = (struct bench){0};
    simclock_init(&b->sc, 1);
    clock_init_system(&b->system);
    metrics_init(&b->metrics);
    struct loop_options options = {
        .clock = is_simulated ? &b->sc.clock : &b->system,
        .metrics = &b->metrics,
    };
    assert_int_equal(loop_new(&options, &b->loop), 0);
}

static void tear_down(struct bench *b)
{
    loop_free(b->loop);
    metrics_release(&b->metrics);
}

static void note(struct bench *b, char c)
{
    assert_true(b->count < sizeof(b->order) - 1);
    b->order[b->count++] = c;
}

static void run_a(struct turn_task *task, void *ctx)
{
    struct bench *b = ctx;
    (void)task;
    note(b, 'a');
    loop_at_turn_end(b->loop, &b->b);
    loop_at_turn_end(b->loop, &b->c);
}

static void run_b(struct turn_task *task, void *ctx)
{
    (void)task;
    note(ctx, 'b');
}

static void run_c(struct turn_task *task, void *ctx)
{
    (void)task;
    note(ctx, 'c');
}

static void tasks_of_a_turns_end_run_once_by_priority(void **state)
{
    (void)state;
    struct bench b;
    set_up(&b, true);
    turn_task_init(&b.a, TURN_APPEND, run_a, &b);
    turn_task_init(&b.b, TURN_SEND, run_b, &b);
    turn_task_init(&b.c, TURN_WAKE, run_c, &b);
    loop_at_turn_end(b.loop, &b.b);
    loop_at_turn_end(b.loop, &b.b);
    loop_at_turn_end(b.loop, &b.a);
    loop_turn(b.loop, true); /* does not wait: there is something to do */
    assert_string_equal(b.order, "acb");
    loop_turn(b.loop, false);
    assert_string_equal(b.order, "acb");
    loop_at_next_turn(b.loop, &b.c);
    loop_at_next_turn(b.loop, &b.a);
    turn_task_cancel(&b.c);
    loop_turn(b.loop, true);
    assert_string_equal(b.order, "acbacb");
    tear_down(&b);
}

static void run_again(struct turn_task *task, void *ctx)
{
    struct bench *b = ctx;
    b->count++;
    loop_at_turn_end(b->loop, task);
}

static void a_task_that_queues_itself_for_ever_does_not_hold_the_turn(void **state)
{
    (void)state;
    struct bench b;
    set_up(&b, true);
    turn_task_init(&b.a, TURN_APPEND, run_again, &b);
    loop_at_turn_end(b.loop, &b.a);
    loop_turn(b.loop, true);
    size_t first = b.count;
    assert_true(first > 0);
    loop_turn(b.loop, true);
    assert_true(b.count > first);
    turn_task_cancel(&b.a);
    tear_down(&b);
}

static void on_timer(struct timer *t, void *ctx)
{
    (void)t;
    note(ctx, 't');
}

static void deadlines_follow_the_machine_clock_and_not_the_jumps_of_the_other(void **state)
{
    (void)state;
    struct bench b;
    set_up(&b, true);
    struct timer t;
    timer_init(&t, on_timer, &b);
    int64_t start = loop_now_ms(b.loop);
    assert_int_equal(start, loop_wall_ms(b.loop));
    timers_arm(loop_timers(b.loop), &t, start + 50);
    simclock_advance(&b.sc, 49);
    loop_turn(b.loop, false);
    assert_int_equal(b.count, 0);
    simclock_set_now(&b.sc, start + 1000000);
    loop_turn(b.loop, false);
    assert_int_equal(b.count, 0);
    assert_int_equal(loop_wall_ms(b.loop), start + 1000000);
    assert_int_equal(loop_now_ms(b.loop), start + 49);
    simclock_advance(&b.sc, 1);
    loop_turn(b.loop, true); /* does not wait: it is due */
    assert_int_equal(b.count, 1);
    tear_down(&b);
}

static void stop_loop(struct timer *t, void *ctx)
{
    (void)t;
    loop_stop(ctx);
}

static void a_loop_sleeps_until_its_deadline(void **state)
{
    (void)state;
    struct bench b;
    set_up(&b, false);
    struct timer t;
    timer_init(&t, stop_loop, b.loop);
    int64_t start_ns = clock_mono_ns(&b.system);
    timers_arm(loop_timers(b.loop), &t, loop_now_ms(b.loop) + 30);
    loop_run(b.loop);
    int64_t ms = (clock_mono_ns(&b.system) - start_ns) / 1000000;
    assert_true(ms >= 29);
    /* One turn for the deadline, at most one for a wake a moment early. */
    assert_in_range(metric_get(metrics_find(&b.metrics, "loop_turns")), 1, 3);
    tear_down(&b);
}

enum {
    JOBS = 1000,
};

struct counted {
    struct job job;
    struct bench *b;
};

static void count_job(struct job *j)
{
    struct counted *c = container_of(j, struct counted, job);
    assert_true(loop_is_current(c->b->loop));
    if (++c->b->count == JOBS) {
        loop_stop(c->b->loop);
    }
    mem_free(c);
}

static void post_all(void *ctx)
{
    struct bench *b = ctx;
    check(!loop_is_current(b->loop));
    for (int i = 0; i < JOBS; i++) {
        struct counted *c = mem_zalloc(sizeof(*c));
        c->job.run = count_job;
        c->b = b;
        check(loop_post(b->loop, &c->job));
    }
}

static void jobs_of_another_thread_run_on_the_loop(void **state)
{
    (void)state;
    struct bench b;
    set_up(&b, false);
    struct thread poster;
    assert_int_equal(thread_start(&poster, "poster", post_all, &b), 0);
    loop_run(b.loop);
    thread_join(&poster);
    assert_int_equal(b.count, JOBS);
    loop_close_mailbox(b.loop);
    struct counted c = {.b = &b};
    assert_false(loop_post(b.loop, &c.job));
    assert_false(loop_is_current(b.loop));
    tear_down(&b);
}

static void stop_from_thread(void *ctx)
{
    loop_stop(ctx);
}

static void a_sleeping_loop_is_stopped_by_another_thread(void **state)
{
    (void)state;
    struct bench b;
    set_up(&b, false);
    struct thread stopper;
    assert_int_equal(thread_start(&stopper, "stopper", stop_from_thread, b.loop), 0);
    loop_run(b.loop); /* nothing else would end it */
    thread_join(&stopper);
    tear_down(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tasks_of_a_turns_end_run_once_by_priority),
        cmocka_unit_test(a_task_that_queues_itself_for_ever_does_not_hold_the_turn),
        cmocka_unit_test(deadlines_follow_the_machine_clock_and_not_the_jumps_of_the_other),
        cmocka_unit_test(a_loop_sleeps_until_its_deadline),
        cmocka_unit_test(jobs_of_another_thread_run_on_the_loop),
        cmocka_unit_test(a_sleeping_loop_is_stopped_by_another_thread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
