/*
 * Scenario: groups of consumers, their coordinator and its log.
 *
 * A few groups live on a few shards (partitions of __consumer_offsets): of the classic protocol,
 * eager or cooperative, of the consumer protocol, of both at once, and some whose offsets are only
 * committed. Their members come, leave, die, pause, change what they subscribe to; some are static,
 * some speak old versions. Topics are made, grow, change their racks and are deleted. Messages are
 * late or lost; shards crash with a part of what was not committed, resign, fail to append, and
 * read their compacted logs again. Administrators look, delete and remove.
 *
 * group_check.c says what must hold meanwhile. At the end the world is calm: within a bounded time
 * every partition of a subscribed topic has one owner, the load is even, nobody waits, and the log
 * says what the shards say.
 */
#include "base/base.h"

#include <signal.h>
#include <unistd.h>

#include "coord/story_print.h"
#include "group_host.h"
#include "group_world.h"

enum {
    CALM_US = 240000000,
    STIR_US = 120000000,
    LOOK_US = 500000,
    PARKED_US = 60000000, /* the longest that a call may be parked: several timeouts */
    PAUSE_MEAN_US = 6000000,
};

static struct client *some_client(struct world *w)
{
    return &w->clients[sim_rng_below(&w->rng, (uint64_t)w->clients_count)];
}

static int some_shard(struct world *w)
{
    return (int)sim_rng_below(&w->rng, (uint64_t)group_host_shards(w->host));
}

static void on_tick(struct sim_event *ev, void *ctx)
{
    struct world *w = ctx;
    const struct faults *f = &w->faults;
    if (sim_rng_chance(&w->rng, f->come)) {
        client_start(some_client(w));
    }
    if (sim_rng_chance(&w->rng, f->go)) {
        client_leave(some_client(w));
    }
    if (sim_rng_chance(&w->rng, f->die)) {
        client_die(some_client(w));
    }
    if (sim_rng_chance(&w->rng, f->pause)) {
        client_pause(some_client(w), sim_rng_exponential(&w->rng, PAUSE_MEAN_US));
    }
    if (sim_rng_chance(&w->rng, f->resubscribe)) {
        client_resubscribe(some_client(w));
    }
    if (sim_rng_chance(&w->rng, f->topics)) {
        topics_change_some(w);
    }
    if (sim_rng_chance(&w->rng, f->crash)) {
        group_host_crash(w->host, some_shard(w));
    }
    if (sim_rng_chance(&w->rng, f->resign)) {
        group_host_resign(w->host, some_shard(w));
    }
    if (sim_rng_chance(&w->rng, f->failing)) {
        group_host_fail_next_append(w->host, some_shard(w));
    }
    if (sim_rng_chance(&w->rng, f->admin)) {
        admin_do_something(w);
    }
    sim_expect(w->s, !group_host_has_waited(w->host, w->s->now_us - PARKED_US),
               "a call has been parked for more than %d s", PARKED_US / 1000000);
    sim_arm(w->s, ev, sim_rng_exponential(&w->rng, f->tick_us));
}

static void draw_faults(struct world *w)
{
    w->faults = (struct faults){
        .tick_us = sim_rng_between(&w->rng, 20000, 200000),
        .delay_us = sim_rng_between(&w->rng, 200, 20000),
        .loss = sim_rng_fault(&w->rng, 40),
        .crash = sim_rng_fault(&w->rng, 15),
        .resign = sim_rng_fault(&w->rng, 15),
        .failing = sim_rng_fault(&w->rng, 15),
        .come = (uint64_t)sim_rng_between(&w->rng, 100, 800),
        .go = sim_rng_fault(&w->rng, 100),
        .die = sim_rng_fault(&w->rng, 100),
        .pause = sim_rng_fault(&w->rng, 60),
        .resubscribe = sim_rng_fault(&w->rng, 60),
        .topics = sim_rng_fault(&w->rng, 60),
        .admin = sim_rng_fault(&w->rng, 150),
        .expires_offsets = sim_rng_chance(&w->rng, 150),
    };
}

static void get_settings(void *ctx, struct str group, struct group_settings *ret)
{
    const struct world *w = ctx;
    (void)group;
    *ret = w->settings;
}

static void draw_config(struct world *w)
{
    w->settings = (struct group_settings){
        .session_timeout_ms = (int32_t)sim_rng_between(&w->rng, 6000, 12000),
        .heartbeat_interval_ms = (int32_t)sim_rng_between(&w->rng, 1500, 3000),
        .assignment_interval_ms =
            sim_rng_chance(&w->rng, 500) ? 0 : (int32_t)sim_rng_between(&w->rng, 1, 3000),
    };
    w->config = (struct shard_config){
        .min_session_timeout_ms = 1000,
        .max_session_timeout_ms = 60000,
        .max_size = sim_rng_chance(&w->rng, 100) ? 5 : INT32_MAX,
        .initial_rebalance_delay_ms =
            sim_rng_chance(&w->rng, 500) ? 0 : (int32_t)sim_rng_between(&w->rng, 1, 3000),
        .new_member_join_timeout_ms = 10000,
        .consumer_max_size = sim_rng_chance(&w->rng, 100) ? 5 : INT32_MAX,
        .assignors = {STR("uniform"), STR("range")},
        .assignors_count = 2,
        .migration_policy = MIGRATION_BIDIRECTIONAL,
        .regex_refresh_interval_ms = (int32_t)sim_rng_between(&w->rng, 5000, 60000),
        .offset_metadata_max_bytes = 4096,
        .record_bytes_max = 1 << 20,
        .offsets_retention_ms = w->faults.expires_offsets ? 5000 : INT64_C(1000000000),
        .offsets_retention_check_interval_ms = 3000,
        .settings = get_settings,
        .settings_ctx = w,
    };
}

static enum client_kind draw_kind(struct world *w, int group_kind)
{
    bool is_modern = sim_rng_chance(&w->rng, 500);
    switch (group_kind) {
    case 0:
        return CLIENT_EAGER;
    case 1:
        return CLIENT_COOPERATIVE;
    case 2:
    case 3:
        return CLIENT_MODERN;
    case 4:
        return is_modern ? CLIENT_MODERN : CLIENT_EAGER;
    case 5:
        return is_modern ? CLIENT_MODERN : CLIENT_COOPERATIVE;
    default:
        return CLIENT_SIMPLE;
    }
}

static void make_clients(struct world *w)
{
    int most = sim_rng_chance(&w->rng, 40) ? CLIENTS_MAX : sim_rng_chance(&w->rng, 300) ? 80 : 24;
    w->clients_count = w->groups_count + (int)sim_rng_below(&w->rng, (uint64_t)most);
    w->clients_count = (int)min_i64(w->clients_count, CLIENTS_MAX);
    w->clients = mem_array((size_t)w->clients_count, sizeof(*w->clients));
    int kinds[GROUPS_MAX];
    for (int g = 0; g < w->groups_count; g++) {
        kinds[g] = (int)sim_rng_below(&w->rng, 7);
    }
    /* A committer alone is all there is of its group. */
    bool has_simple[GROUPS_MAX] = {false};
    for (int i = 0; i < w->clients_count; i++) {
        int g = i % w->groups_count;
        for (int k = 0; k < w->groups_count && has_simple[g]; k++) {
            g = (g + 1) % w->groups_count;
        }
        if (has_simple[g]) {
            w->clients_count = i;
            return;
        }
        has_simple[g] = kinds[g] == 6;
        w->is_mixed[g] = kinds[g] == 4 || kinds[g] == 5;
        client_init(w, &w->clients[i], g, draw_kind(w, kinds[g]));
    }
}

static void begin(struct world *w, struct sim *s, enum mistake mistake)
{
    w->s = s;
    w->mistake = mistake;
    sim_rng_init(&w->rng, s->seed, "world");
    sim_rng_init(&w->net_rng, s->seed, "net");
    sim_rng_init(&w->client_rng, s->seed, "clients");
    for (int g = 0; g < GROUPS_MAX; g++) {
        for (int t = 0; t < TOPICS_MAX; t++) {
            for (int p = 0; p < PARTITIONS_MAX; p++) {
                w->facts[g][t][p] = (struct fact){.acked = -1, .executed = -1};
            }
        }
    }
    draw_faults(w);
    draw_config(w);
    topics_init(w);
    w->groups_count = 1 + (int)sim_rng_below(&w->rng, GROUPS_MAX);
    make_clients(w);
    w->host = group_host_new(w);
    for (int i = 0; i < w->clients_count; i++) {
        if (sim_rng_chance(&w->rng, 600)) {
            client_start(&w->clients[i]);
        }
    }
    sim_event_init(&w->tick, on_tick, w);
    sim_arm(s, &w->tick, w->faults.tick_us);
}

static void subscribe(struct client *cl, uint32_t topics)
{
    cl->topics = topics;
    cl->uses_regex = false;
    cl->must_say_all = true;
    cl->must_rejoin = cl->kind != CLIENT_MODERN && cl->state == CLIENT_IS_MEMBER;
}

/* A group that was up- or downgraded in the middle of a rebalance may keep an old assignment until
 * something changes, as in Kafka: it goes on with the assignments of the last generation, and that
 * a rebalance was due may be lost with the coordinator. So something changes, and changes back. */
static void stir_mixed_groups(struct world *w)
{
    char why[160];
    uint32_t all = (1u << w->topics_count) - 1;
    for (int i = 0; i < w->clients_count; i++) {
        struct client *cl = &w->clients[i];
        if (cl->is_stirred) {
            subscribe(cl, all);
        } else if (w->is_mixed[cl->group] &&
                   !check_is_group_quiet(w, cl->group, why, sizeof(why))) {
            sim_happened(w->s, "mixed group stirred");
            cl->is_stirred = true;
            subscribe(cl, cl->topics == all ? 1 : all);
        }
    }
}

/* The faults are over: within a bounded time everybody has what he should have. */
static void calm_down(struct world *w)
{
    struct sim *s = w->s;
    char why[160] = "";
    sim_note(s, "calm");
    w->is_calm = true;
    w->faults.loss = 0;
    sim_disarm(s, &w->tick);
    group_host_calm(w->host);
    for (int i = 0; i < w->clients_count; i++) {
        client_resume(&w->clients[i]);
    }
    int64_t until_us = s->now_us + CALM_US;
    int64_t stir_us = s->now_us + STIR_US;
    int quiet = 0;
    while (quiet < 10 && s->now_us < until_us) {
        if (!sim_run_until(s, s->now_us + LOOK_US)) {
            return;
        }
        quiet = check_is_quiet(w, why, sizeof(why)) ? quiet + 1 : 0;
        if (s->now_us >= stir_us) {
            stir_us += STIR_US / 3;
            stir_mixed_groups(w);
        }
    }
    sim_expect(s, quiet > 0, "not quiet %d s after the last fault: %s", CALM_US / 1000000, why);
    for (int i = 0; i < group_host_shards(w->host) && !s->has_failed; i++) {
        struct shard *sh = group_host_shard(w->host, i);
        sh->topics = &w->table;
        check_shard(w, i);
        sh->topics = NULL;
    }
    for (int g = 0; g < w->groups_count; g++) {
        check_all_owners(w, g);
    }
}

/* A broken invariant of the machines ends the process: at least its seed must be known then. */
static volatile uint64_t running_seed;
static volatile uint64_t running_steps;

static void on_abort(int number)
{
    (void)number;
    char text[128];
    int n = snprintf(text, sizeof(text),
                     "# seed=%" PRIu64 " ended the process; again: sim_groups "
                     "--seed %" PRIu64 " --steps %" PRIu64 " --verbose\n",
                     running_seed, running_seed, running_steps);
    IGNORE(write(STDOUT_FILENO, text, (size_t)n) < 0); /* the process ends anyway */
}

/* What the groups themselves tell. */
static void print_stories(struct world *w)
{
    struct arena arena = {0};
    struct str text;
    for (int g = 0; g < w->groups_count; g++) {
        struct shard *sh = group_host_shard(w->host, group_host_shard_of(w->host, g));
        if (sh != NULL && story_explain(sh, group_name(w, g), false, &arena, &text)) {
            printf("%.*s\n", (int)min_size(text.len, INT32_MAX), text.ptr);
        }
    }
    arena_release(&arena);
}

static void run(struct sim *s, const struct sim_plan *plan)
{
    struct world *w = mem_zalloc(sizeof(*w));
    running_seed = s->seed;
    running_steps = plan->steps;
    begin(w, s, (enum mistake)plan->mistake);
    /* Many clients need more events for the same time. */
    if (sim_run(s, w->clients_count > 100 ? plan->steps * 4 : plan->steps)) {
        calm_down(w);
    }
    if (s->has_failed && s->is_verbose) {
        print_stories(w);
    }
    for (int i = 0; i < w->clients_count; i++) {
        client_release(&w->clients[i]);
    }
    group_host_free(w->host);
    sim_disarm(s, &w->tick);
    mem_free(w->clients);
    mem_free(w);
}

static const char *const mistakes[] = {
    "answers-before-commit", "loses-records",  "swaps-assignments",
    "believes-revoked",      "forgets-timers", NULL,
};

static const char *const must_happen[] = {
    "append failed",
    "classic member joined",
    "classic member late",
    "classic member synced",
    "classic member unknown",
    "client died",
    "client left",
    "client paused",
    "crash",
    "crash that loses records",
    "described",
    "group deleted",
    "group downgraded",
    "group full",
    "group upgraded",
    "instance fenced",
    "leader skips the assignment",
    "log compacted",
    "log read and compared",
    "member removed",
    "modern member fenced",
    "modern member joined",
    "offsets committed",
    "offsets deleted",
    "offsets fetched",
    "request timed out",
    "resigned",
    "revocation too slow",
    "subscription changed",
    "topic deleted",
    "topic grown",
    "topic made",
    NULL,
};

int main(int argc, char **argv)
{
    static const struct sim_scenario scenario = {
        .name = "groups",
        .run = run,
        .mistakes = mistakes,
        .must_happen = must_happen,
    };
    setvbuf(stdout, NULL, _IOLBF, 0); /* what was printed is there when the process ends */
    signal(SIGABRT, on_abort);
    return sim_main(argc, argv, &scenario);
}
