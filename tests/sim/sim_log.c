/*
 * Scenario: producers, transactions and readers on partition logs that crash.
 *
 * A node (log_node.h) serves a few logs. Producers of three kinds send batches over a bad network,
 * up to five in flight a log, and send them again until they are answered: plain ones (at least
 * once), idempotent ones, and transactional ones, which end their transactions by markers, some of
 * them by aborting. Readers look at random places all the time. The node is killed, loses its power
 * at any change of its disk, also while it recovers, is stopped cleanly, runs out of room, and has
 * calls fail.
 *
 * At the end the world is calm: every batch must be answered within a bounded time, and a clean
 * stop and start must find everything. Which of the faults a seed has, and how strong, is drawn
 * first.
 */
#include "base/base.h"
#include "base/mem.h"
#include "log_node.h"
#include "sim.h"
#include "simnet.h"
#include "wire/batch.h"

enum {
    PRODUCERS_MAX = 5,
    IN_FLIGHT_MAX = 5, /* of one producer in one log, as Kafka's clients have it */
    RECORDS_MAX = 12,
    VALUE_BYTES_MAX = 400,
    REFUSALS_MAX = 8, /* of one batch, until its producer begins anew */
    CALM_US = 20000000,
};

enum producer_kind {
    PRODUCER_PLAIN,
    PRODUCER_IDEMPOTENT,
    PRODUCER_TRANSACTIONAL,
};

enum producer_state {
    PRODUCER_SENDS,
    PRODUCER_ENDS,  /* no new data; markers follow when the old has been answered */
    PRODUCER_MARKS, /* markers are under way */
};

struct world;
struct producer;

/* A batch under way until it is answered. */
struct outgoing {
    struct list node; /* in producer.in_flight */
    struct sim_event retry;
    struct producer *p;
    uint64_t id;
    int32_t log;
    int refusals;
    bool is_marker;
    size_t size;
    uint8_t message[];
};

struct producer {
    struct world *w;
    int endpoint;
    enum producer_kind kind;
    enum producer_state state;
    struct sim_event produce;
    struct list in_flight;
    int64_t producer_id;
    int16_t epoch;
    bool is_aborting;
    bool begins_anew; /* with another producer id, when its transaction has ended */
    int32_t next_sequence[LOG_NODE_LOGS_MAX];
    int count[LOG_NODE_LOGS_MAX];       /* in flight */
    bool is_touched[LOG_NODE_LOGS_MAX]; /* by the transaction */
};

/* What a seed has of everything. */
struct faults {
    int64_t tick_us;
    uint64_t crash; /* per mille of ticks, each of these */
    uint64_t stop;
    uint64_t failing;
    uint64_t full;
    uint64_t checkpoint;
    uint64_t deletion;
};

struct world {
    struct sim *s;
    struct sim_rng rng;
    struct simnet *net;
    struct log_node *n;
    struct log_node_rules rules;
    struct faults faults;
    struct producer producers[PRODUCERS_MAX];
    int producers_count;
    struct sim_event tick;
    int64_t next_producer_id;
    uint64_t next_id;
    int64_t produce_us;
    int64_t retry_us;
    int32_t first_sequence;
    bool bumps_epochs; /* KIP-890: each transaction has its own epoch */
    bool is_calm;
};

/* --- batches -------------------------------------------------------------------------------------
 */

static void fill(struct sim_rng *rng, uint8_t *bytes, size_t len)
{
    /* Half of it is alike, so that codecs have something to do. */
    for (size_t i = 0; i < len; i++) {
        bytes[i] = i % 2 == 0 ? (uint8_t)sim_rng_below(rng, 4) : (uint8_t)i;
    }
}

static struct outgoing *
outgoing_new(struct producer *p, int32_t log, struct batch_builder *bb, bool is_marker);

static struct outgoing *make_data(struct producer *p, int32_t log)
{
    struct world *w = p->w;
    enum codec_type codec = CODEC_NONE;
    if (sim_rng_chance(&w->rng, 100)) {
        codec = sim_rng_chance(&w->rng, 500) ? CODEC_LZ4 : CODEC_SNAPPY;
    }
    struct batch_builder bb;
    batch_builder_init(&bb, codec, 0);
    if (p->kind != PRODUCER_PLAIN) {
        bb.producer_id = p->producer_id;
        bb.producer_epoch = p->epoch;
        bb.base_sequence = p->next_sequence[log];
        bb.attributes = p->kind == PRODUCER_TRANSACTIONAL ? BATCH_TRANSACTIONAL : 0;
    }
    int32_t count = 1 + (int32_t)sim_rng_below(&w->rng, RECORDS_MAX);
    int64_t now_ms = clock_now_ms(&w->s->clock.clock);
    for (int32_t i = 0; i < count; i++) {
        uint8_t value[VALUE_BYTES_MAX];
        size_t len = sim_rng_below(&w->rng, sizeof(value));
        fill(&w->rng, value, len);
        batch_builder_add(&bb, now_ms + i, (struct view){0}, (struct view){value, len});
    }
    p->next_sequence[log] = sequence_add(p->next_sequence[log], count);
    return outgoing_new(p, log, &bb, false);
}

static struct outgoing *make_marker(struct producer *p, int32_t log)
{
    uint8_t key[4] = {0};
    uint8_t value[6] = {0}; /* version 0, coordinator epoch 0 */
    struct batch_builder bb;
    batch_builder_init(&bb, CODEC_NONE, 0);
    bb.producer_id = p->producer_id;
    bb.producer_epoch = p->epoch;
    bb.attributes = BATCH_TRANSACTIONAL | BATCH_CONTROL;
    store_be16(key + 2, p->is_aborting ? CONTROL_ABORT : CONTROL_COMMIT);
    batch_builder_add(&bb, clock_now_ms(&p->w->s->clock.clock), (struct view){key, sizeof(key)},
                      (struct view){value, sizeof(value)});
    return outgoing_new(p, log, &bb, true);
}

/* --- sending -------------------------------------------------------------------------------------
 */

static void send(struct outgoing *og)
{
    struct world *w = og->p->w;
    simnet_send(w->net, og->p->endpoint, log_node_endpoint(w->n), og->message, og->size);
    int64_t wait = w->retry_us + sim_rng_exponential(&w->rng, w->retry_us);
    sim_arm(w->s, &og->retry, wait);
}

static void on_retry(struct sim_event *ev, void *ctx)
{
    struct outgoing *og = ctx;
    (void)ev;
    send(og);
}

static struct outgoing *
outgoing_new(struct producer *p, int32_t log, struct batch_builder *bb, bool is_marker)
{
    struct blob *blob;
    size_t size;
    check(batch_builder_finish(bb, &blob, &size) >= 0);
    batch_builder_release(bb);
    struct log_request rq = {.id = p->w->next_id++, .log = log, .is_marker = is_marker};
    struct outgoing *og = mem_zalloc(sizeof(*og) + sizeof(rq) + size);
    og->p = p;
    og->id = rq.id;
    og->log = log;
    og->is_marker = is_marker;
    og->size = sizeof(rq) + size;
    memcpy(og->message, &rq, sizeof(rq));
    memcpy(og->message + sizeof(rq), blob->data, size);
    blob_unref(blob);
    sim_event_init(&og->retry, on_retry, og);
    list_push_back(&p->in_flight, &og->node);
    p->count[log]++;
    return og;
}

static void outgoing_free(struct outgoing *og)
{
    sim_disarm(og->p->w->s, &og->retry);
    og->p->count[og->log]--;
    list_remove(&og->node);
    mem_free(og);
}

/* --- producers -----------------------------------------------------------------------------------
 */

static void reset_sequences(struct producer *p, int32_t first)
{
    for (size_t i = 0; i < ARRAY_LEN(p->next_sequence); i++) {
        p->next_sequence[i] = first;
        p->is_touched[i] = false;
    }
}

static void begin_anew(struct producer *p)
{
    p->producer_id = p->w->next_producer_id++;
    p->epoch = 0;
    p->begins_anew = false;
    p->state = PRODUCER_SENDS;
    reset_sequences(p, p->w->first_sequence);
}

/* Its sequence is broken for good: whatever is under way is given up. */
static void give_up(struct producer *p)
{
    sim_happened(p->w->s, "producer that begins anew");
    list_foreach_safe (node, next, &p->in_flight) {
        outgoing_free(list_entry(node, struct outgoing, node));
    }
    if (p->kind != PRODUCER_TRANSACTIONAL) {
        begin_anew(p);
        return;
    }
    p->begins_anew = true;
    p->is_aborting = true;
    p->state = PRODUCER_ENDS;
}

static void send_markers(struct producer *p)
{
    p->state = PRODUCER_MARKS;
    if (p->w->bumps_epochs || p->begins_anew) {
        p->epoch++;
    }
    for (int32_t i = 0; i < p->w->rules.logs; i++) {
        if (p->is_touched[i]) {
            send(make_marker(p, i));
        }
    }
}

static void end_transaction(struct producer *p)
{
    sim_happened(p->w->s, p->is_aborting ? "transaction aborted" : "transaction committed");
    if (p->begins_anew) {
        begin_anew(p);
        return;
    }
    p->state = PRODUCER_SENDS;
    if (p->w->bumps_epochs) {
        reset_sequences(p, 0);
    }
    memset(p->is_touched, 0, sizeof(p->is_touched));
}

/* Nothing is under way: the next thing, if there is one. */
static void go_on(struct producer *p)
{
    if (!list_is_empty(&p->in_flight)) {
        return;
    }
    if (p->state == PRODUCER_ENDS) {
        send_markers(p);
    }
    if (p->state == PRODUCER_MARKS && list_is_empty(&p->in_flight)) {
        end_transaction(p);
    }
}

static bool has_transaction(const struct producer *p)
{
    for (size_t i = 0; i < ARRAY_LEN(p->is_touched); i++) {
        if (p->is_touched[i]) {
            return true;
        }
    }
    return false;
}

static void begin_end(struct producer *p, bool is_aborting)
{
    p->is_aborting = is_aborting;
    p->state = PRODUCER_ENDS;
}

static void on_produce(struct sim_event *ev, void *ctx)
{
    struct producer *p = ctx;
    struct world *w = p->w;
    if (w->is_calm) {
        if (p->state == PRODUCER_SENDS && has_transaction(p)) {
            begin_end(p, true);
        }
        go_on(p);
        return;
    }
    int32_t log = (int32_t)sim_rng_below(&w->rng, (uint64_t)w->rules.logs);
    if (p->state == PRODUCER_SENDS && p->count[log] < IN_FLIGHT_MAX) {
        p->is_touched[log] = p->kind == PRODUCER_TRANSACTIONAL;
        send(make_data(p, log));
    }
    if (p->state == PRODUCER_SENDS && has_transaction(p) && sim_rng_chance(&w->rng, 200)) {
        begin_end(p, sim_rng_chance(&w->rng, 400));
    }
    go_on(p);
    sim_arm(w->s, ev, sim_rng_exponential(&w->rng, w->produce_us));
}

static struct outgoing *find_outgoing(struct producer *p, const struct log_answer *an)
{
    list_foreach (node, &p->in_flight) {
        struct outgoing *og = list_entry(node, struct outgoing, node);
        if (og->id == an->id) {
            return og;
        }
    }
    return NULL;
}

static void on_answer(void *ctx, int from, const void *bytes, size_t len)
{
    struct producer *p = ctx;
    struct world *w = p->w;
    struct log_answer an;
    (void)from;
    check(len == sizeof(an));
    memcpy(&an, bytes, sizeof(an));
    struct outgoing *og = find_outgoing(p, &an);
    if (og == NULL) {
        return; /* answered before, or given up */
    }
    sim_note(w->s, "producer %" PRId64 " hears %d to %" PRIu64, p->producer_id, an.error, an.id);
    switch (an.error) {
    case KAFKA_ERROR_NONE:
        outgoing_free(og);
        break;
    case KAFKA_ERROR_KAFKA_STORAGE_ERROR:
        sim_arm(w->s, &og->retry, w->retry_us);
        break;
    case KAFKA_ERROR_OUT_OF_ORDER_SEQUENCE_NUMBER:
        /* Perhaps an earlier one is still to come. */
        sim_happened(w->s, "sequence out of order");
        sim_arm(w->s, &og->retry, w->retry_us);
        if (++og->refusals > REFUSALS_MAX) {
            give_up(p);
        }
        break;
    default:
        sim_fail(w->s, "producer %" PRId64 " is refused with %d", p->producer_id, an.error);
    }
    go_on(p);
}

/* The connection is gone: everything is sent again, in order. */
static void on_reset(void *ctx, int peer)
{
    struct producer *p = ctx;
    (void)peer;
    list_foreach (node, &p->in_flight) {
        struct outgoing *og = list_entry(node, struct outgoing, node);
        sim_arm(p->w->s, &og->retry, p->w->retry_us);
    }
}

static void add_producer(struct world *w, enum producer_kind kind)
{
    struct producer *p = &w->producers[w->producers_count++];
    struct simnet_endpoint ep = {.deliver = on_answer, .reset = on_reset, .ctx = p};
    *p = (struct producer){.w = w, .kind = kind};
    p->endpoint = simnet_add(w->net, &ep);
    list_init(&p->in_flight);
    begin_anew(p);
    sim_event_init(&p->produce, on_produce, p);
    sim_arm(w->s, &p->produce, sim_rng_exponential(&w->rng, w->produce_us));
}

/* --- the world -----------------------------------------------------------------------------------
 */

static void crash(struct world *w)
{
    uint64_t step = sim_rng_chance(&w->rng, 200) ? 0 : 1 + sim_rng_below(&w->rng, 60);
    log_node_crash(w->n, step, sim_rng_chance(&w->rng, 400));
}

static void on_tick(struct sim_event *ev, void *ctx)
{
    struct world *w = ctx;
    const struct faults *f = &w->faults;
    log_node_read(w->n);
    log_node_empty_trash(w->n);
    if (sim_rng_chance(&w->rng, 200)) {
        log_node_find(w->n);
    }
    if (sim_rng_chance(&w->rng, f->checkpoint)) {
        log_node_checkpoint(w->n);
    }
    if (sim_rng_chance(&w->rng, f->deletion)) {
        log_node_delete_old(w->n);
    }
    if (sim_rng_chance(&w->rng, f->failing) && log_node_is_up(w->n)) {
        log_node_fail_some_call(w->n);
    }
    if (sim_rng_chance(&w->rng, f->full) && log_node_is_up(w->n)) {
        bool is_over = sim_rng_chance(&w->rng, 700);
        log_node_limit_disk(w->n, is_over ? -1 : sim_rng_between(&w->rng, 0, 40000));
    }
    if (sim_rng_chance(&w->rng, f->crash) && log_node_is_up(w->n)) {
        crash(w);
    } else if (sim_rng_chance(&w->rng, f->stop)) {
        log_node_stop(w->n);
    }
    sim_arm(w->s, ev, sim_rng_exponential(&w->rng, f->tick_us));
}

static void draw(struct world *w)
{
    w->faults = (struct faults){
        .tick_us = sim_rng_between(&w->rng, 1000, 6000),
        .crash = sim_rng_fault(&w->rng, 60),
        .stop = sim_rng_fault(&w->rng, 20),
        .failing = sim_rng_fault(&w->rng, 30),
        .full = sim_rng_fault(&w->rng, 60),
        .checkpoint = sim_rng_fault(&w->rng, 100),
        .deletion = sim_rng_fault(&w->rng, 60),
    };
    w->produce_us = sim_rng_between(&w->rng, 500, 8000);
    w->retry_us = sim_rng_between(&w->rng, 20000, 100000);
    w->first_sequence =
        sim_rng_chance(&w->rng, 200) ? INT32_MAX - (int32_t)sim_rng_below(&w->rng, 60) : 0;
    w->bumps_epochs = sim_rng_chance(&w->rng, 500);
}

static void begin(struct world *w, struct sim *s, enum log_node_mistake mistake)
{
    struct simnet_rules rules;
    w->s = s;
    sim_rng_init(&w->rng, s->seed, "world");
    draw(w);
    simnet_rules_draw(&w->rng, &rules);
    w->net = simnet_new(s, &rules);
    log_node_rules_draw(&w->rng, &w->rules);
    w->rules.mistake = mistake;
    w->n = log_node_new(s, w->net, &w->rules);
    int count = 1 + (int)sim_rng_below(&w->rng, PRODUCERS_MAX);
    for (int i = 0; i < count; i++) {
        add_producer(w, (enum producer_kind)sim_rng_below(&w->rng, 3));
    }
    simnet_start_chaos(w->net);
    sim_event_init(&w->tick, on_tick, w);
    sim_arm(s, &w->tick, w->faults.tick_us);
    log_node_start(w->n);
}

static bool is_quiet(const struct world *w)
{
    for (int i = 0; i < w->producers_count; i++) {
        const struct producer *p = &w->producers[i];
        if (!list_is_empty(&p->in_flight) || p->state != PRODUCER_SENDS || has_transaction(p)) {
            return false;
        }
    }
    return log_node_is_up(w->n);
}

/* The faults are over: everything that was begun comes to its end. */
static void calm_down(struct world *w)
{
    sim_note(w->s, "calm");
    w->is_calm = true;
    simnet_calm(w->net);
    log_node_calm(w->n);
    sim_disarm(w->s, &w->tick);
    int64_t until_us = w->s->now_us + CALM_US;
    while (!is_quiet(w) && w->s->now_us < until_us) {
        for (int i = 0; i < w->producers_count; i++) {
            sim_arm(w->s, &w->producers[i].produce, 0);
        }
        if (!sim_run_until(w->s, w->s->now_us + 10000)) {
            return;
        }
    }
    sim_expect(w->s, is_quiet(w), "something is not answered %d s after the last fault",
               CALM_US / 1000000);
}

static void stop_and_look(struct world *w)
{
    log_node_stop(w->n);
    while (!log_node_is_up(w->n) && sim_step(w->s)) {
    }
    for (int i = 0; i < 20 && !w->s->has_failed; i++) {
        log_node_read(w->n);
        log_node_find(w->n);
    }
}

static void run(struct sim *s, const struct sim_plan *plan)
{
    struct world *w = mem_zalloc(sizeof(*w));
    begin(w, s, (enum log_node_mistake)plan->mistake);
    if (sim_run(s, plan->steps)) {
        calm_down(w);
    }
    if (!s->has_failed) {
        stop_and_look(w);
    }
    sim_disarm(s, &w->tick);
    for (int i = 0; i < w->producers_count; i++) {
        sim_disarm(s, &w->producers[i].produce);
        list_foreach_safe (node, next, &w->producers[i].in_flight) {
            outgoing_free(list_entry(node, struct outgoing, node));
        }
    }
    log_node_free(w->n);
    simnet_free(w->net);
    mem_free(w);
}

int main(int argc, char **argv)
{
    /* In the order of enum log_node_mistake. */
    static const char *const mistakes[] = {
        "ack-before-flush", "visible-before-flush",   "no-directory-sync",
        "no-data-sync",     "duplicate-before-flush", NULL,
    };
    static const char *const must_happen[] = {
        "append acknowledged",
        "records read",
        "duplicate recognised",
        "sequence out of order",
        "transaction committed",
        "transaction aborted",
        "aborted transaction told to a reader",
        "turn in the middle of a flush",
        "power cut",
        "kill",
        "clean stop",
        "clean start",
        "crash during recovery",
        "torn tail cut",
        "segment deleted",
        "deleted files removed",
        "append refused by a full disk",
        "flush that failed",
        "search by time",
        NULL,
    };
    static const struct sim_scenario scenario = {
        .name = "log",
        .run = run,
        .mistakes = mistakes,
        .must_happen = must_happen,
    };
    return sim_main(argc, argv, &scenario);
}
