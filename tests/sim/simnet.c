/* See simnet.h. A message under way is an event that owns its bytes. */
#include "simnet.h"

#include "base/base.h"
#include "base/list.h"
#include "base/mem.h"

struct message {
    struct sim_event event;
    struct list node; /* in net.messages */
    struct simnet *net;
    int from;
    int to;
    uint32_t incarnation; /* of the receiver */
    uint32_t connection;
    size_t len;
    uint8_t bytes[];
};

struct way {
    int64_t last_us; /* when the latest message arrives */
    uint32_t connection;
    bool is_cut;
};

struct place {
    struct simnet_endpoint endpoint;
    uint32_t incarnation;
    bool is_up;
};

struct simnet {
    struct sim *s;
    struct sim_rng rng;
    struct simnet_rules rules;
    struct list messages;
    struct place places[SIMNET_ENDPOINTS_MAX];
    struct way ways[SIMNET_ENDPOINTS_MAX][SIMNET_ENDPOINTS_MAX];
    int count;
    struct sim_event partition;
    struct sim_event heal;
    struct sim_event reset;
};

void simnet_rules_draw(struct sim_rng *rng, struct simnet_rules *ret)
{
    *ret = (struct simnet_rules){
        .latency_min_us = sim_rng_between(rng, 0, 500),
        .latency_mean_us = sim_rng_between(rng, 200, sim_rng_chance(rng, 300) ? 50000 : 2000),
        .is_ordered = sim_rng_chance(rng, 600),
    };
    if (sim_rng_chance(rng, 500)) {
        ret->loss_per_mille = sim_rng_below(rng, 300);
    }
    if (sim_rng_chance(rng, 500)) {
        ret->duplicate_per_mille = sim_rng_below(rng, 200);
    }
    if (sim_rng_chance(rng, 500)) {
        ret->partition_every_us = sim_rng_between(rng, 50000, 2000000);
        ret->partition_us = sim_rng_between(rng, 1000, 500000);
    }
    if (sim_rng_chance(rng, 500)) {
        ret->reset_every_us = sim_rng_between(rng, 20000, 1000000);
    }
}

static int64_t draw_wait(struct simnet *net, int64_t mean)
{
    return 1 + sim_rng_exponential(&net->rng, mean);
}

static void begin_partition(struct sim_event *ev, void *ctx)
{
    struct simnet *net = ctx;
    enum simnet_partition kind = (enum simnet_partition)sim_rng_below(&net->rng, 3);
    simnet_partition(net, kind, sim_rng_chance(&net->rng, 500));
    sim_happened(net->s, "partition of the network");
    sim_arm(net->s, &net->heal, draw_wait(net, net->rules.partition_us));
    sim_arm(net->s, ev, draw_wait(net, net->rules.partition_every_us));
}

static void end_partition(struct sim_event *ev, void *ctx)
{
    (void)ev;
    simnet_heal(ctx);
}

static void reset_some_pair(struct sim_event *ev, void *ctx)
{
    struct simnet *net = ctx;
    if (net->count >= 2) {
        int a = (int)sim_rng_below(&net->rng, (uint64_t)net->count);
        int b = (int)sim_rng_below(&net->rng, (uint64_t)net->count - 1);
        b += b >= a;
        sim_happened(net->s, "reset of a connection");
        simnet_reset(net, a, b);
    }
    sim_arm(net->s, ev, draw_wait(net, net->rules.reset_every_us));
}

struct simnet *simnet_new(struct sim *s, const struct simnet_rules *rules)
{
    struct simnet *net = mem_zalloc(sizeof(*net));
    net->s = s;
    net->rules = *rules;
    sim_rng_init(&net->rng, s->seed, "network");
    list_init(&net->messages);
    sim_event_init(&net->partition, begin_partition, net);
    sim_event_init(&net->heal, end_partition, net);
    sim_event_init(&net->reset, reset_some_pair, net);
    return net;
}

static void drop(struct message *m)
{
    sim_disarm(m->net->s, &m->event);
    list_remove(&m->node);
    mem_free(m);
}

struct simnet *simnet_free(struct simnet *net)
{
    if (net == NULL) {
        return NULL;
    }
    list_foreach_safe (node, next, &net->messages) {
        drop(list_entry(node, struct message, node));
    }
    sim_disarm(net->s, &net->partition);
    sim_disarm(net->s, &net->heal);
    sim_disarm(net->s, &net->reset);
    return mem_free(net);
}

int simnet_add(struct simnet *net, const struct simnet_endpoint *ep)
{
    check(net->count < SIMNET_ENDPOINTS_MAX);
    net->places[net->count] = (struct place){.endpoint = *ep, .is_up = true};
    return net->count++;
}

static void check_endpoint(const struct simnet *net, int endpoint)
{
    check(endpoint >= 0 && endpoint < net->count);
}

static void arrive(struct sim_event *ev, void *ctx)
{
    (void)ev;
    struct message *m = ctx;
    struct simnet *net = m->net;
    const struct place *pc = &net->places[m->to];
    const struct way *w = &net->ways[m->from][m->to];
    list_remove(&m->node);
    if (pc->is_up && pc->incarnation == m->incarnation && w->connection == m->connection &&
        !w->is_cut) {
        pc->endpoint.deliver(pc->endpoint.ctx, m->from, m->bytes, m->len);
    }
    mem_free(m);
}

static void post(struct simnet *net, int from, int to, const void *bytes, size_t len)
{
    struct way *w = &net->ways[from][to];
    struct message *m = mem_alloc(sizeof(*m) + len);
    *m = (struct message){
        .net = net,
        .from = from,
        .to = to,
        .incarnation = net->places[to].incarnation,
        .connection = w->connection,
        .len = len,
    };
    if (len > 0) {
        memcpy(m->bytes, bytes, len);
    }
    int64_t at_us = net->s->now_us + net->rules.latency_min_us +
                    sim_rng_exponential(&net->rng, net->rules.latency_mean_us);
    if (net->rules.is_ordered) {
        at_us = max_i64(at_us, w->last_us);
        w->last_us = at_us;
    }
    list_init(&m->node);
    list_push_back(&net->messages, &m->node);
    sim_event_init(&m->event, arrive, m);
    sim_arm(net->s, &m->event, at_us - net->s->now_us);
}

void simnet_send(struct simnet *net, int from, int to, const void *bytes, size_t len)
{
    check_endpoint(net, from);
    check_endpoint(net, to);
    check(len <= SIMNET_MESSAGE_MAX);
    if (net->ways[from][to].is_cut || !net->places[to].is_up) {
        return;
    }
    if (sim_rng_chance(&net->rng, net->rules.loss_per_mille)) {
        sim_happened(net->s, "loss of a message");
        return;
    }
    post(net, from, to, bytes, len);
    if (sim_rng_chance(&net->rng, net->rules.duplicate_per_mille)) {
        sim_happened(net->s, "message that comes twice");
        post(net, from, to, bytes, len);
    }
}

static void tell_reset(struct simnet *net, int endpoint, int peer)
{
    const struct place *pc = &net->places[endpoint];
    if (pc->is_up && pc->endpoint.reset != NULL) {
        pc->endpoint.reset(pc->endpoint.ctx, peer);
    }
}

static void begin_connection(struct simnet *net, int from, int to)
{
    net->ways[from][to].connection++;
    net->ways[from][to].last_us = 0;
}

void simnet_set_up(struct simnet *net, int endpoint, bool is_up)
{
    check_endpoint(net, endpoint);
    struct place *pc = &net->places[endpoint];
    if (pc->is_up == is_up) {
        return;
    }
    pc->is_up = is_up;
    pc->incarnation++;
    if (is_up) {
        return;
    }
    for (int i = 0; i < net->count; i++) {
        if (i != endpoint) {
            begin_connection(net, i, endpoint);
            net->ways[endpoint][i].last_us = 0;
            tell_reset(net, i, endpoint);
        }
    }
}

void simnet_reset(struct simnet *net, int a, int b)
{
    check_endpoint(net, a);
    check_endpoint(net, b);
    begin_connection(net, a, b);
    begin_connection(net, b, a);
    tell_reset(net, a, b);
    tell_reset(net, b, a);
}

void simnet_cut(struct simnet *net, int from, int to)
{
    check_endpoint(net, from);
    check_endpoint(net, to);
    net->ways[from][to].is_cut = true;
}

void simnet_heal(struct simnet *net)
{
    for (int i = 0; i < net->count; i++) {
        for (int k = 0; k < net->count; k++) {
            net->ways[i][k].is_cut = false;
        }
    }
}

bool simnet_is_cut(const struct simnet *net, int from, int to)
{
    check_endpoint(net, from);
    check_endpoint(net, to);
    return net->ways[from][to].is_cut;
}

static void cut_pair(struct simnet *net, int a, int b, bool is_symmetric)
{
    bool is_first = sim_rng_chance(&net->rng, 500);
    if (is_symmetric || is_first) {
        simnet_cut(net, a, b);
    }
    if (is_symmetric || !is_first) {
        simnet_cut(net, b, a);
    }
}

void simnet_partition(struct simnet *net, enum simnet_partition kind, bool is_symmetric)
{
    if (net->count < 2) {
        return;
    }
    uint64_t sides = sim_rng_next(&net->rng);
    int one = (int)sim_rng_below(&net->rng, (uint64_t)net->count);
    for (int a = 0; a < net->count; a++) {
        for (int b = a + 1; b < net->count; b++) {
            bool is_across = ((sides >> a) & 1) != ((sides >> b) & 1);
            bool has_one = a == one || b == one;
            if (kind == SIMNET_ISOLATE ? has_one
                                       : is_across && (kind == SIMNET_SPLIT || !has_one)) {
                cut_pair(net, a, b, is_symmetric);
            }
        }
    }
}

void simnet_start_chaos(struct simnet *net)
{
    if (net->rules.partition_every_us > 0) {
        sim_arm(net->s, &net->partition, draw_wait(net, net->rules.partition_every_us));
    }
    if (net->rules.reset_every_us > 0) {
        sim_arm(net->s, &net->reset, draw_wait(net, net->rules.reset_every_us));
    }
}

void simnet_calm(struct simnet *net)
{
    sim_disarm(net->s, &net->partition);
    sim_disarm(net->s, &net->heal);
    sim_disarm(net->s, &net->reset);
    simnet_heal(net);
    net->rules.loss_per_mille = 0;
    net->rules.duplicate_per_mille = 0;
    net->rules.partition_every_us = 0;
    net->rules.reset_every_us = 0;
}
