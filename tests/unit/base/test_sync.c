/* Threads and mailboxes: several threads post to one receiver, who counts; order is checked for
 * each sender. Lock ranks are checked by a child process that breaks them and must die (builds with
 * debug_checks only). */
#include "base/base.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/sync.h"
#include "unit.h"

enum {
    SENDERS = 3,
    JOBS = 2000,
};

struct receiver {
    struct mailbox box;
    struct lock lock;
    struct cond woken;
    bool is_woken;
    int next[SENDERS];
    int wakes;
};

struct numbered {
    struct job job;
    struct receiver *to;
    int sender;
    int number;
};

struct sender {
    struct thread thread;
    struct receiver *to;
    int index;
};

static void wake(void *ctx)
{
    struct receiver *rv = ctx;
    lock_take(&rv->lock);
    rv->is_woken = true;
    rv->wakes++;
    cond_signal(&rv->woken);
    lock_give(&rv->lock);
}

static void take(struct job *j)
{
    struct numbered *nb = container_of(j, struct numbered, job);
    assert_int_equal(nb->to->next[nb->sender], nb->number);
    nb->to->next[nb->sender]++;
    mem_free(nb);
}

static void send_all(void *ctx)
{
    struct sender *sd = ctx;
    for (int i = 0; i < JOBS; i++) {
        struct numbered *nb = mem_zalloc(sizeof(*nb));
        nb->job.run = take;
        nb->to = sd->to;
        nb->sender = sd->index;
        nb->number = i;
        check(mailbox_post(&sd->to->box, &nb->job));
    }
}

static size_t run_all(struct mailbox *m)
{
    struct list jobs;
    size_t count = 0;
    list_init(&jobs);
    mailbox_take(m, &jobs);
    for (; !list_is_empty(&jobs); count++) {
        struct job *j = list_entry(list_pop_front(&jobs), struct job, node);
        j->run(j);
    }
    return count;
}

static void jobs_of_each_sender_arrive_once_and_in_order(void **state)
{
    (void)state;
    struct receiver rv = {0};
    struct sender senders[SENDERS];
    lock_init(&rv.lock, LOCK_LEAF);
    cond_init(&rv.woken);
    mailbox_init(&rv.box, 0, wake, &rv);
    for (int i = 0; i < SENDERS; i++) {
        senders[i] = (struct sender){.to = &rv, .index = i};
        assert_int_equal(thread_start(&senders[i].thread, "sender", send_all, &senders[i]), 0);
    }
    size_t got = 0;
    while (got < (size_t)SENDERS * JOBS) {
        lock_take(&rv.lock);
        while (!rv.is_woken) {
            cond_wait(&rv.woken, &rv.lock);
        }
        rv.is_woken = false;
        lock_give(&rv.lock);
        got += run_all(&rv.box);
    }
    for (int i = 0; i < SENDERS; i++) {
        thread_join(&senders[i].thread);
        assert_int_equal(rv.next[i], JOBS);
    }
    assert_true(rv.wakes >= 1);
    mailbox_release(&rv.box);
    cond_release(&rv.woken);
    lock_release(&rv.lock);
}

static void nothing(struct job *j)
{
    (void)j;
}

static void a_full_or_closed_mailbox_refuses(void **state)
{
    (void)state;
    struct mailbox box;
    struct job jobs[3] = {{.run = nothing}, {.run = nothing}, {.run = nothing}};
    mailbox_init(&box, 2, NULL, NULL);
    assert_true(mailbox_post(&box, &jobs[0]));
    assert_true(mailbox_post(&box, &jobs[1]));
    assert_false(mailbox_post(&box, &jobs[2]));
    assert_int_equal(run_all(&box), 2);
    assert_true(mailbox_post(&box, &jobs[2]));
    mailbox_close(&box);
    assert_false(mailbox_post(&box, &jobs[0]));
    assert_int_equal(run_all(&box), 1);
    mailbox_release(&box);
}

static void a_wait_ends_by_time(void **state)
{
    (void)state;
    struct lock l;
    struct cond c;
    lock_init(&l, LOCK_LEAF);
    cond_init(&c);
    lock_take(&l);
    assert_false(cond_wait_ms(&c, &l, 1));
    assert_false(cond_wait_ms(&c, &l, -5));
    lock_give(&l);
    cond_release(&c);
    lock_release(&l);
}

#ifdef JACKDAW_DCHECK
static void take_in_wrong_order(void)
{
    struct lock plog;
    struct lock leaf;
    lock_init(&plog, LOCK_PLOG);
    lock_init(&leaf, LOCK_LEAF);
    lock_take(&leaf);
    lock_take(&plog);
}

static void locks_taken_against_their_rank_end_the_process(void **state)
{
    (void)state;
    pid_t child = fork();
    if (child == 0) {
        IGNORE(freopen("/dev/null", "w", stderr) == NULL); /* the line is expected */
        signal(SIGABRT, SIG_DFL);
        take_in_wrong_order();
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}
#endif

static void locks_in_ascending_rank_are_fine(void **state)
{
    (void)state;
    struct lock plog;
    struct lock leaf;
    lock_init(&plog, LOCK_PLOG);
    lock_init(&leaf, LOCK_LEAF);
    lock_take(&plog);
    lock_take(&leaf);
    lock_give(&plog); /* given in any order */
    lock_give(&leaf);
    lock_take(&plog);
    lock_give(&plog);
    lock_release(&leaf);
    lock_release(&plog);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(jobs_of_each_sender_arrive_once_and_in_order),
        cmocka_unit_test(a_full_or_closed_mailbox_refuses),
        cmocka_unit_test(a_wait_ends_by_time),
        cmocka_unit_test(locks_in_ascending_rank_are_fine),
#ifdef JACKDAW_DCHECK
        cmocka_unit_test(locks_taken_against_their_rank_end_the_process),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
