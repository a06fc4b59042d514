/*
 * The loop; see loop.h.
 *
 * A turn: libevent waits and calls back (each callback opens the turn, which reads the clocks),
 * then tasks that were put off to this turn, the mailbox, due timers, and the tasks of the turn's
 * end. libevent's own lock is left out: other threads reach a loop through an eventfd only.
 *
 * The one timer of libevent is armed when the next deadline comes before the one it is armed for,
 * and is left alone otherwise: at worst the loop wakes once for a deadline that was cancelled.
 *
 * How long a turn lasts is measured twice. By the machine clock, which also counts the time that
 * other threads had the core, and the disk; and in processor time of the thread, which is the work
 * that was done. Reading the latter is a system call: it is read at the end of a turn, when nobody
 * waits for it, at most so often (CPU_READ_NS), and behind turns that were long by the machine
 * clock. A turn's figure is too large by CPU_READ_NS and what lay between two turns at worst.
 */
#include "net/loop.h"

#include "base/base.h"
#include "base/mem.h"

#include <event2/event.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum {
    NS_PER_MS = 1000000,
    TURN_LONG_NS = 2 * NS_PER_MS,
    TURN_SUSPECT_NS = NS_PER_MS / 2, /* a turn that lasted so long is looked at closer */
    CPU_READ_NS = 50000,
    TURN_BUDGET_NS = 300000, /* then slices get their least only */
    SLICE_LEAST_NS = 50000,
    TURN_OWED_NS = 400000, /* left for the end of a turn */
    TURN_ROUNDS_MAX =
        1000, /* tasks that queue each other without end stop here till the next turn */
};

struct loop {
    struct event_base *base; /* owned */
    struct event *wake;      /* owned: reads wake_fd */
    struct event *alarm;     /* owned: the next deadline */
    int wake_fd;
    struct clock *clock;   /* borrowed */
    struct logger *logger; /* borrowed, may be NULL */
    struct mailbox mailbox;
    struct timers timers;
    int64_t alarm_ms;    /* what libevent is armed for; INT64_MAX: nothing */
    int64_t origin_ns;   /* machine clock and */
    int64_t origin_ms;   /* protocol clock when the loop was made */
    int64_t turn_ns;     /* machine clock at the start of the turn */
    int64_t cpu_read_ns; /* machine clock when cpu_ns was read; negative: never */
    int64_t cpu_ns;      /* processor time of the thread then */
    int64_t now_ms;
    int64_t wall_ms;
    bool is_in_turn;
    bool has_mail;
    bool is_sweep;    /* the turn does all there is: slices do not end */
    int64_t slice_ns; /* machine clock when the slice began, and what was owed then */
    int64_t slice_owed_ns;
    int64_t owed_ns;      /* of this turn */
    int64_t owed_next_ns; /* of the next one */
    struct list mail;     /* jobs that the last turns had no time for */
    atomic_bool must_stop;
    _Atomic pthread_t runner; /* the thread that is in loop_run or loop_turn; 0: none */
    struct list next;         /* tasks of the next turn's start */
    struct list tasks[TURN_PRIORITIES];
    struct metric *turns; /* borrowed, may be NULL; so are the others */
    struct metric *turn_max_us;
    struct metric *turn_wall_max_us;
    struct metric *turns_long;
    void *data;
};

static void on_wake(evutil_socket_t fd, short what, void *ctx)
{
    (void)what;
    struct loop *lp = ctx;
    uint64_t count;
    loop_enter_turn(lp);
    IGNORE(read(fd, &count, sizeof(count)) < 0); /* nothing to read: somebody woke us twice */
    lp->has_mail = true;
}

static void on_alarm(evutil_socket_t fd, short what, void *ctx)
{
    (void)fd;
    (void)what;
    struct loop *lp = ctx;
    lp->alarm_ms = INT64_MAX;
    loop_enter_turn(lp);
}

static void wake(void *ctx)
{
    struct loop *lp = ctx;
    uint64_t one = 1;
    ssize_t n;
    do {
        n = write(lp->wake_fd, &one, sizeof(one));
    } while (n < 0 && errno == EINTR);
    check(n == sizeof(one) || errno == EAGAIN); /* full: it is awake */
}

static struct event_base *make_base(void)
{
    struct event_config *config = event_config_new();
    if (config == NULL) {
        return NULL;
    }
    struct event_base *base = NULL;
    /* Edges, and the news of a half-closed peer: conn.c relies on both. */
    if (event_config_require_features(config, EV_FEATURE_ET | EV_FEATURE_EARLY_CLOSE) == 0 &&
        event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK | EVENT_BASE_FLAG_IGNORE_ENV) == 0) {
        base = event_base_new_with_config(config);
    }
    event_config_free(config);
    return base;
}

int loop_new(const struct loop_options *options, struct loop **ret)
{
    struct loop *lp = mem_zalloc(sizeof(*lp));
    lp->clock = options->clock;
    lp->logger = options->logger;
    lp->alarm_ms = INT64_MAX;
    list_init(&lp->next);
    list_init(&lp->mail);
    for (size_t i = 0; i < TURN_PRIORITIES; i++) {
        list_init(&lp->tasks[i]);
    }
    timers_init(&lp->timers);
    mailbox_init(&lp->mailbox, 0, wake, lp);
    lp->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (lp->wake_fd < 0) {
        int err = -errno;
        loop_free(lp);
        return err;
    }
    lp->base = make_base();
    if (lp->base != NULL) {
        lp->wake = event_new(lp->base, lp->wake_fd, EV_READ | EV_PERSIST, on_wake, lp);
        lp->alarm = event_new(lp->base, -1, 0, on_alarm, lp);
    }
    if (lp->wake == NULL || lp->alarm == NULL || event_add(lp->wake, NULL) < 0) {
        loop_free(lp);
        return errno == EMFILE || errno == ENFILE ? -errno : -ENOMEM;
    }
    if (options->metrics != NULL) {
        lp->turns = metrics_counter(options->metrics, "loop_turns", "turns of the event loops");
        lp->turn_max_us =
            metrics_gauge(options->metrics, "loop_turn_max_us",
                          "longest turn of an event loop, microseconds of processor time");
        lp->turn_wall_max_us =
            metrics_gauge(options->metrics, "loop_turn_wall_max_us",
                          "the same by the clock: with what others had of the core, and stalls");
        lp->turns_long = metrics_counter(options->metrics, "loop_turns_long", "turns above 2 ms");
    }
    lp->cpu_read_ns = INT64_MIN / 2;
    lp->origin_ns = clock_mono_ns(lp->clock);
    lp->origin_ms = clock_now_ms(lp->clock);
    lp->turn_ns = lp->origin_ns;
    lp->now_ms = lp->origin_ms;
    lp->wall_ms = lp->origin_ms;
    *ret = lp;
    return 0;
}

struct loop *loop_free(struct loop *lp)
{
    if (lp == NULL) {
        return NULL;
    }
    check(atomic_load_explicit(&lp->runner, memory_order_relaxed) == 0);
    if (lp->alarm != NULL) {
        event_free(lp->alarm);
    }
    if (lp->wake != NULL) {
        event_free(lp->wake);
    }
    if (lp->base != NULL) {
        event_base_free(lp->base);
    }
    if (lp->wake_fd >= 0) {
        IGNORE(close(lp->wake_fd)); /* nothing was written to a disk */
    }
    check(list_is_empty(&lp->mail));
    mailbox_release(&lp->mailbox);
    timers_release(&lp->timers);
    return mem_free(lp);
}

static int64_t now_of(const struct loop *lp, int64_t mono_ns)
{
    return lp->origin_ms + (mono_ns - lp->origin_ns) / NS_PER_MS;
}

void loop_enter_turn(struct loop *lp)
{
    if (lp->is_in_turn) {
        return;
    }
    lp->is_in_turn = true;
    lp->owed_ns = lp->owed_next_ns;
    lp->owed_next_ns = 0;
    lp->turn_ns = clock_mono_ns(lp->clock);
    lp->now_ms = now_of(lp, lp->turn_ns);
    lp->wall_ms = clock_now_ms(lp->clock);
}

/* The turn is over. */
static void count_turn(struct loop *lp)
{
    int64_t end_ns = clock_mono_ns(lp->clock);
    int64_t ns = end_ns - lp->turn_ns;
    bool is_suspect = ns >= TURN_SUSPECT_NS;
    int64_t cpu_ns = lp->cpu_ns;
    metric_add(lp->turns, 1);
    if (is_suspect || end_ns - lp->cpu_read_ns >= CPU_READ_NS) {
        lp->cpu_ns = clock_thread_cpu_ns(lp->clock);
        lp->cpu_read_ns = end_ns;
    }
    if (!is_suspect) {
        return;
    }
    metric_set_max(lp->turn_wall_max_us, ns / 1000);
    ns = min_i64(ns, lp->cpu_ns - cpu_ns);
    metric_set_max(lp->turn_max_us, ns / 1000);
    if (ns > TURN_LONG_NS) {
        metric_add(lp->turns_long, 1);
    }
}

/* Tells libevent the next deadline. True: it has come already. */
static bool arm_alarm(struct loop *lp)
{
    int64_t next = timers_next(&lp->timers);
    if (next >= lp->alarm_ms) {
        return false;
    }
    int64_t mono_ns = clock_mono_ns(lp->clock);
    if (next <= now_of(lp, mono_ns)) {
        return true;
    }
    int64_t wait_ms = next - now_of(lp, mono_ns);
    struct timeval tv = {
        .tv_sec = (time_t)(wait_ms / 1000),
        .tv_usec = (suseconds_t)(wait_ms % 1000) * 1000,
    };
    check(event_add(lp->alarm, &tv) == 0);
    lp->alarm_ms = next;
    return false;
}

static void run_next(struct loop *lp)
{
    struct list now;
    list_init(&now);
    list_splice_back(&now, &lp->next);
    for (struct list *node = list_pop_front(&now); node != NULL; node = list_pop_front(&now)) {
        struct turn_task *task = list_entry(node, struct turn_task, node);
        task->run(task, task->ctx);
    }
}

static struct list *first_task(struct loop *lp)
{
    for (size_t i = 0; i < TURN_PRIORITIES; i++) {
        struct list *node = list_pop_front(&lp->tasks[i]);
        if (node != NULL) {
            return node;
        }
    }
    return NULL;
}

static void end_turn(struct loop *lp)
{
    size_t rounds = 0;
    for (struct list *node = first_task(lp); node != NULL; node = first_task(lp)) {
        struct turn_task *task = list_entry(node, struct turn_task, node);
        if (++rounds > TURN_ROUNDS_MAX) {
            list_push_back(&lp->next, &task->node);
            break;
        }
        task->run(task, task->ctx);
    }
    lp->is_in_turn = false;
    if (lp->turns != NULL) {
        count_turn(lp);
    }
}

static bool has_tasks(const struct loop *lp)
{
    for (size_t i = 0; i < TURN_PRIORITIES; i++) {
        if (!list_is_empty(&lp->tasks[i])) {
            return true;
        }
    }
    return !list_is_empty(&lp->next) || !list_is_empty(&lp->mail);
}

static void run_mail(struct loop *lp)
{
    if (lp->has_mail) {
        lp->has_mail = false;
        mailbox_take(&lp->mailbox, &lp->mail);
    }
    loop_begin_slice(lp);
    while (!list_is_empty(&lp->mail) && !loop_slice_is_over(lp)) {
        struct job *j = list_entry(list_pop_front(&lp->mail), struct job, node);
        j->run(j);
    }
}

static void run_timers(struct loop *lp)
{
    /* One that arms itself again for a deadline already past must not hold the loop. */
    size_t left = lp->timers.count;
    loop_begin_slice(lp);
    while (left > 0 && !loop_slice_is_over(lp) && timers_run_first(&lp->timers, lp->now_ms)) {
        left--;
    }
}

void loop_turn(struct loop *lp, bool may_wait)
{
    pthread_t before = atomic_load_explicit(&lp->runner, memory_order_relaxed);
    atomic_store_explicit(&lp->runner, pthread_self(), memory_order_relaxed);
    bool is_due = arm_alarm(lp);
    int flags = EVLOOP_ONCE;
    if (!may_wait || is_due || has_tasks(lp)) {
        flags |= EVLOOP_NONBLOCK;
    }
    check(event_base_loop(lp->base, flags) >= 0);
    loop_enter_turn(lp);
    lp->is_sweep = !may_wait;
    run_next(lp);
    run_mail(lp);
    run_timers(lp);
    end_turn(lp);
    atomic_store_explicit(&lp->runner, before, memory_order_relaxed);
}

void loop_run(struct loop *lp)
{
    atomic_store_explicit(&lp->runner, pthread_self(), memory_order_relaxed);
    /* Cleared by whoever runs: a stop asked for before the start ends the run after its first turn.
     */
    while (!atomic_exchange(&lp->must_stop, false)) {
        loop_turn(lp, true);
    }
    atomic_store_explicit(&lp->runner, 0, memory_order_relaxed);
}

void loop_stop(struct loop *lp)
{
    atomic_store(&lp->must_stop, true);
    wake(lp);
}

bool loop_post(struct loop *lp, struct job *j)
{
    return mailbox_post(&lp->mailbox, j);
}

void loop_close_mailbox(struct loop *lp)
{
    mailbox_close(&lp->mailbox);
}

int64_t loop_now_ms(const struct loop *lp)
{
    return lp->now_ms;
}

int64_t loop_wall_ms(const struct loop *lp)
{
    return lp->wall_ms;
}

int64_t loop_mono_ns(const struct loop *lp)
{
    return lp->turn_ns;
}

int64_t loop_turn_ns(const struct loop *lp)
{
    return clock_mono_ns(lp->clock) - lp->turn_ns;
}

void loop_begin_slice(struct loop *lp)
{
    lp->slice_ns = clock_mono_ns(lp->clock);
    lp->slice_owed_ns = lp->owed_ns;
}

bool loop_slice_is_over(const struct loop *lp)
{
    int64_t now_ns = clock_mono_ns(lp->clock) + lp->owed_ns;
    return now_ns - lp->turn_ns > TURN_BUDGET_NS &&
           now_ns - lp->slice_ns - lp->slice_owed_ns > SLICE_LEAST_NS && !lp->is_sweep;
}

void loop_owe(struct loop *lp, int64_t ns)
{
    lp->owed_ns += ns;
}

void loop_owe_next(struct loop *lp, int64_t ns)
{
    lp->owed_next_ns += ns;
}

bool loop_may_owe(const struct loop *lp, int64_t ns)
{
    return lp->owed_ns == 0 || lp->owed_ns + ns <= TURN_OWED_NS || lp->is_sweep;
}

bool loop_is_sweep(const struct loop *lp)
{
    return lp->is_sweep;
}

struct timers *loop_timers(struct loop *lp)
{
    return &lp->timers;
}

struct clock *loop_clock(struct loop *lp)
{
    return lp->clock;
}

struct logger *loop_logger(struct loop *lp)
{
    return lp->logger;
}

struct event_base *loop_base(struct loop *lp)
{
    return lp->base;
}

bool loop_is_current(const struct loop *lp)
{
    /* Relaxed: whoever reads its own id there has written it; any other value is another thread. */
    return atomic_load_explicit(&lp->runner, memory_order_relaxed) == pthread_self();
}

void loop_set_data(struct loop *lp, void *data)
{
    lp->data = data;
}

void *loop_data(const struct loop *lp)
{
    return lp->data;
}

void turn_task_init(struct turn_task *task,
                    enum turn_priority priority,
                    void (*run)(struct turn_task *task, void *ctx),
                    void *ctx)
{
    *task = (struct turn_task){.priority = priority, .run = run, .ctx = ctx};
    list_init(&task->node);
}

void loop_at_turn_end(struct loop *lp, struct turn_task *task)
{
    if (!list_is_linked(&task->node)) {
        list_push_back(&lp->tasks[task->priority], &task->node);
    }
}

void loop_at_next_turn(struct loop *lp, struct turn_task *task)
{
    if (!list_is_linked(&task->node)) {
        list_push_back(&lp->next, &task->node);
    }
}

void turn_task_cancel(struct turn_task *task)
{
    list_remove(&task->node);
}
