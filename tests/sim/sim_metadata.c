/*
 * Scenario: clients that change the metadata of a node that crashes.
 *
 * Each client owns a few topic names, does one thing at a time with them (create several at once,
 * delete, widen, alter a config, look), and sends it again until it is answered; so it knows
 * exactly how its topics stand whenever it has an answer, and what it is shown must be that. All
 * clients also fight for a few names that collide with each other, and take producer id blocks.
 * Other brokers of the cluster come and go, which moves leaders and epochs.
 *
 * The node (meta_node.h) is killed, loses its power at any change of its disk, also while it
 * formats or starts, is stopped cleanly, runs out of room, has calls fail; answers are lost on the
 * way.
 */
#include "base/base.h"
#include "base/mem.h"
#include "meta_node.h"
#include "sim.h"
#include "simnet.h"

enum {
    CLIENTS_MAX = 4,
    WIDEST = 12,
    CALM_US = 20000000,
};

struct world;

/* A name of a client, as it must stand when nothing is under way. */
struct owned {
    char name[META_NAME_BYTES];
    bool exists;
    bool has_id; /* known: an answer that was lost may have held it */
    struct uuid id;
    int32_t partitions;
    int32_t value;
};

struct client {
    struct world *w;
    int endpoint;
    int number;
    struct owned owned[META_NAMES_MAX];
    struct meta_request request; /* under way; id 0: none */
    int place[META_NAMES_MAX];   /* of its names in owned; -1: a shared one */
    bool was_sent_again;
    struct sim_event act; /* the next thing, or sending it again */
};

struct faults {
    int64_t tick_us;
    uint64_t crash; /* per mille of ticks, each of these */
    uint64_t stop;
    uint64_t failing;
    uint64_t full;
    uint64_t broker;
    uint64_t look;
};

struct world {
    struct sim *s;
    struct sim_rng rng;
    struct simnet *net;
    struct meta_node *n;
    struct faults faults;
    struct client clients[CLIENTS_MAX];
    int clients_count;
    struct sim_event tick;
    uint64_t next_id;
    int64_t think_us;
    int64_t retry_us;
    bool doubles; /* the network may */
    bool is_calm;
};

static const char *const shared_names[] = {"s.a", "s_a", "s.a.b", "s_a.b", "s.a_b"};

/* --- what a client asks --------------------------------------------------------------------------
 */

static void set_name(struct meta_request *rq, int32_t i, const char *name)
{
    size_t len = strlen(name);
    check(len < META_NAME_BYTES);
    memcpy(rq->names[i], name, len + 1);
}

static void choose_own(struct client *c, struct meta_request *rq, int32_t count)
{
    int first = (int)sim_rng_below(&c->w->rng, META_NAMES_MAX);
    rq->count = count;
    for (int32_t i = 0; i < count; i++) {
        c->place[i] = (first + i) % META_NAMES_MAX;
        set_name(rq, i, c->owned[c->place[i]].name);
    }
}

static void choose_shared(struct client *c, struct meta_request *rq)
{
    int first = (int)sim_rng_below(&c->w->rng, ARRAY_LEN(shared_names));
    rq->count = 1 + (int32_t)sim_rng_below(&c->w->rng, 2);
    for (int32_t i = 0; i < rq->count; i++) {
        c->place[i] = -1;
        set_name(rq, i, shared_names[(size_t)(first + i) % ARRAY_LEN(shared_names)]);
    }
}

static void choose(struct client *c)
{
    struct world *w = c->w;
    struct meta_request *rq = &c->request;
    *rq = (struct meta_request){.id = w->next_id++};
    rq->operation = (enum meta_operation)sim_rng_below(&w->rng, META_OPERATIONS);
    rq->partitions = 1 + (int32_t)sim_rng_below(&w->rng, WIDEST);
    rq->value = sim_rng_chance(&w->rng, 700) ? (int32_t)sim_rng_between(&w->rng, 1, 1000000) : 0;
    if (w->is_calm) {
        rq->operation = META_DESCRIBE;
    }
    if (rq->operation == META_DESCRIBE) {
        choose_own(c, rq, META_NAMES_MAX);
    } else if (rq->operation != META_IDS && sim_rng_chance(&w->rng, 200)) {
        choose_shared(c, rq);
    } else if (rq->operation != META_IDS) {
        choose_own(c, rq, 1 + (int32_t)sim_rng_below(&w->rng, 3));
    }
    c->was_sent_again = c->w->doubles; /* the network may do it */
}

static void send(struct client *c)
{
    struct world *w = c->w;
    sim_note(w->s, "client %d asks %" PRIu64 ": %d", c->number, c->request.id,
             (int)c->request.operation);
    simnet_send(w->net, c->endpoint, meta_node_endpoint(w->n), &c->request, sizeof(c->request));
    sim_arm(w->s, &c->act, w->retry_us + sim_rng_exponential(&w->rng, w->retry_us));
}

static void on_act(struct sim_event *ev, void *ctx)
{
    struct client *c = ctx;
    (void)ev;
    if (c->request.id == 0) {
        choose(c);
    } else {
        c->was_sent_again = true;
    }
    send(c);
}

/* --- what it hears -------------------------------------------------------------------------------
 */

static bool expect(struct client *c, const struct owned *ow, bool is_right, enum kafka_error error)
{
    return sim_expect(
        c->w->s, is_right, "client %d, %s, operation %d%s: answered %d; it %s with %d partitions",
        c->number, ow->name, (int)c->request.operation, c->was_sent_again ? " sent again" : "",
        (int)error, ow->exists ? "exists" : "does not exist", ow->partitions);
}

static void hear_create(struct client *c, struct owned *ow, const struct meta_topic_answer *ta)
{
    if (ta->error == KAFKA_ERROR_TOPIC_ALREADY_EXISTS && c->was_sent_again && !ow->exists) {
        ow->has_id = false; /* the first answer was lost */
    } else if (ta->error == KAFKA_ERROR_NONE) {
        if (!expect(c, ow, !ow->exists, ta->error)) {
            return;
        }
        ow->has_id = true;
        ow->id = ta->id;
    } else {
        expect(c, ow, ow->exists && ta->error == KAFKA_ERROR_TOPIC_ALREADY_EXISTS, ta->error);
        return;
    }
    ow->exists = true;
    ow->partitions = c->request.partitions;
    ow->value = c->request.value;
}

static void hear_delete(struct client *c, struct owned *ow, const struct meta_topic_answer *ta)
{
    bool is_unknown = ta->error == KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION;
    bool is_right = ow->exists ? ta->error == KAFKA_ERROR_NONE || (is_unknown && c->was_sent_again)
                               : is_unknown;
    if (expect(c, ow, is_right, ta->error)) {
        ow->exists = false;
    }
}

static void hear_widen(struct client *c, struct owned *ow, const struct meta_topic_answer *ta)
{
    bool is_more = c->request.partitions > ow->partitions;
    enum kafka_error want = KAFKA_ERROR_NONE;
    if (!ow->exists) {
        want = KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION;
    } else if (!is_more) {
        want = KAFKA_ERROR_INVALID_PARTITIONS;
    }
    bool is_again = is_more && c->was_sent_again && ta->error == KAFKA_ERROR_INVALID_PARTITIONS;
    if (expect(c, ow, ta->error == want || (ow->exists && is_again), ta->error) && ow->exists &&
        is_more) {
        ow->partitions = c->request.partitions;
    }
}

static void hear_config(struct client *c, struct owned *ow, const struct meta_topic_answer *ta)
{
    enum kafka_error want = ow->exists ? KAFKA_ERROR_NONE : KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION;
    if (expect(c, ow, ta->error == want, ta->error) && ow->exists) {
        ow->value = c->request.value;
    }
}

static void hear_description(struct client *c, struct owned *ow, const struct meta_topic_answer *ta)
{
    bool is_same = ta->exists == ow->exists;
    if (is_same && ow->exists) {
        is_same = ta->partitions == ow->partitions && ta->value == ow->value &&
                  (!ow->has_id || uuid_equal(&ta->id, &ow->id));
        ow->id = ta->id;
        ow->has_id = true;
    }
    sim_happened(c->w->s, "topic as its owner knows it");
    sim_expect(c->w->s, is_same,
               "client %d, %s: %s with %d partitions, retention.ms %d; shown: %s with %d, %d",
               c->number, ow->name, ow->exists ? "exists" : "does not exist", ow->partitions,
               ow->value, ta->exists ? "exists" : "does not", ta->partitions, ta->value);
}

static void hear_topic(struct client *c, struct owned *ow, const struct meta_topic_answer *ta)
{
    switch (c->request.operation) {
    case META_CREATE:
        hear_create(c, ow, ta);
        break;
    case META_DELETE:
        hear_delete(c, ow, ta);
        break;
    case META_WIDEN:
        hear_widen(c, ow, ta);
        break;
    case META_CONFIG:
        hear_config(c, ow, ta);
        break;
    case META_DESCRIBE:
        hear_description(c, ow, ta);
        break;
    case META_IDS:
    case META_OPERATIONS:
        break;
    }
}

static void on_answer(void *ctx, int from, const void *bytes, size_t len)
{
    struct client *c = ctx;
    struct world *w = c->w;
    struct meta_answer an;
    (void)from;
    check(len == sizeof(an));
    memcpy(&an, bytes, sizeof(an));
    if (an.id != c->request.id) {
        return; /* of an earlier copy */
    }
    if (an.error != KAFKA_ERROR_NONE) {
        sim_arm(w->s, &c->act, w->retry_us); /* it may have happened or not: again */
        return;
    }
    for (int32_t i = 0; i < an.count && !w->s->has_failed; i++) {
        if (c->place[i] >= 0) {
            hear_topic(c, &c->owned[c->place[i]], &an.topics[i]);
        }
    }
    sim_happened(w->s, "request answered");
    c->request.id = 0;
    sim_arm(w->s, &c->act, sim_rng_exponential(&w->rng, w->think_us));
}

static void add_client(struct world *w)
{
    struct client *c = &w->clients[w->clients_count];
    struct simnet_endpoint ep = {.deliver = on_answer, .ctx = c};
    *c = (struct client){.w = w, .number = w->clients_count++};
    c->endpoint = simnet_add(w->net, &ep);
    for (int i = 0; i < META_NAMES_MAX; i++) {
        snprintf(c->owned[i].name, sizeof(c->owned[i].name), "client%d.topic%d", c->number, i);
    }
    sim_event_init(&c->act, on_act, c);
    sim_arm(w->s, &c->act, sim_rng_exponential(&w->rng, w->think_us));
}

/* --- the world -----------------------------------------------------------------------------------
 */

static void on_tick(struct sim_event *ev, void *ctx)
{
    struct world *w = ctx;
    const struct faults *f = &w->faults;
    if (sim_rng_chance(&w->rng, f->look)) {
        meta_node_look_at_copy(w->n);
    }
    if (sim_rng_chance(&w->rng, f->broker)) {
        meta_node_change_broker(w->n);
    }
    if (sim_rng_chance(&w->rng, f->failing) && meta_node_is_up(w->n)) {
        meta_node_fail_some_call(w->n);
    }
    if (sim_rng_chance(&w->rng, f->full) && meta_node_is_up(w->n)) {
        bool is_over = sim_rng_chance(&w->rng, 500);
        meta_node_limit_disk(w->n, is_over ? -1 : sim_rng_between(&w->rng, 0, 20000));
    }
    if (sim_rng_chance(&w->rng, f->crash) && meta_node_is_up(w->n)) {
        uint64_t step = sim_rng_chance(&w->rng, 200) ? 0 : 1 + sim_rng_below(&w->rng, 40);
        meta_node_crash(w->n, step, sim_rng_chance(&w->rng, 400));
    } else if (sim_rng_chance(&w->rng, f->stop)) {
        meta_node_stop(w->n);
    }
    meta_node_end_of_event(w->n);
    sim_arm(w->s, ev, sim_rng_exponential(&w->rng, f->tick_us));
}

static void begin(struct world *w, struct sim *s, enum meta_node_mistake mistake)
{
    struct simnet_rules net_rules;
    struct meta_node_rules rules;
    w->s = s;
    w->next_id = 1;
    sim_rng_init(&w->rng, s->seed, "world");
    w->faults = (struct faults){
        .tick_us = sim_rng_between(&w->rng, 1000, 6000),
        .crash = sim_rng_fault(&w->rng, 60),
        .stop = sim_rng_fault(&w->rng, 20),
        .failing = sim_rng_fault(&w->rng, 20),
        .full = sim_rng_fault(&w->rng, 30),
        .broker = sim_rng_fault(&w->rng, 60),
        .look = sim_rng_fault(&w->rng, 40),
    };
    w->think_us = sim_rng_between(&w->rng, 500, 8000);
    w->retry_us = sim_rng_between(&w->rng, 20000, 100000);
    simnet_rules_draw(&w->rng, &net_rules);
    net_rules.is_ordered = true; /* nothing that was sent again comes behind what followed it */
    w->doubles = net_rules.duplicate_per_mille > 0;
    w->net = simnet_new(s, &net_rules);
    meta_node_rules_draw(&w->rng, &rules);
    rules.mistake = mistake;
    w->n = meta_node_new(s, w->net, &rules);
    int count = 1 + (int)sim_rng_below(&w->rng, CLIENTS_MAX);
    for (int i = 0; i < count; i++) {
        add_client(w);
    }
    simnet_start_chaos(w->net);
    sim_event_init(&w->tick, on_tick, w);
    sim_arm(s, &w->tick, w->faults.tick_us);
    if (sim_rng_chance(&w->rng, 500)) {
        meta_node_crash_first_start(w->n);
    }
    meta_node_start(w->n);
    meta_node_end_of_event(w->n);
}

/* Every client has seen its topics once more. */
static void calm_down(struct world *w)
{
    sim_note(w->s, "calm");
    simnet_calm(w->net);
    meta_node_calm(w->n);
    sim_disarm(w->s, &w->tick);
    uint64_t first_id = w->next_id;
    w->is_calm = true;
    int64_t until_us = w->s->now_us + CALM_US;
    bool is_quiet = false;
    while (!is_quiet && w->s->now_us < until_us) {
        if (!sim_run_until(w->s, w->s->now_us + 10000)) {
            return;
        }
        is_quiet = meta_node_is_up(w->n) && w->next_id >= first_id + 2 * CLIENTS_MAX;
        for (int i = 0; i < w->clients_count; i++) {
            const struct client *c = &w->clients[i];
            is_quiet = is_quiet && (c->request.id == 0 || c->request.id > first_id);
        }
    }
    sim_expect(w->s, is_quiet, "something is not answered %d s after the last fault",
               CALM_US / 1000000);
}

static void run(struct sim *s, const struct sim_plan *plan)
{
    struct world *w = mem_zalloc(sizeof(*w));
    begin(w, s, (enum meta_node_mistake)plan->mistake);
    if (sim_run(s, plan->steps)) {
        calm_down(w);
    }
    if (!s->has_failed) {
        meta_node_look_at_copy(w->n);
        meta_node_stop(w->n);
        while (!meta_node_is_up(w->n) && sim_step(s)) {
        }
    }
    sim_disarm(s, &w->tick);
    for (int i = 0; i < w->clients_count; i++) {
        sim_disarm(s, &w->clients[i].act);
    }
    meta_node_free(w->n);
    simnet_free(w->net);
    mem_free(w);
}

int main(int argc, char **argv)
{
    /* In the order of enum meta_node_mistake. */
    static const char *const mistakes[] = {
        "answer-before-flush",    "no-directory-sync",     "no-file-sync",
        "request-in-two-batches", "decision-on-old-image", NULL,
    };
    static const char *const must_happen[] = {
        "request answered",
        "topic as its owner knows it",
        "block of producer ids",
        "two topics of one request that collide",
        "snapshot",
        "power cut",
        "kill",
        "clean stop",
        "crash during a start",
        "look at a copy of the disk",
        "unanswered change lost",
        "metadata log that failed",
        "turn refused by a full disk",
        NULL,
    };
    static const struct sim_scenario scenario = {
        .name = "metadata",
        .run = run,
        .mistakes = mistakes,
        .must_happen = must_happen,
    };
    return sim_main(argc, argv, &scenario);
}
