/*
 * A simulated network between a few endpoints: messages are copied, take their time, get lost, come
 * twice, overtake each other, meet partitions, and connections are reset. All of it is drawn
 * from the seed of the simulation, which also delivers: messages are events.
 *
 * A message is lost when its way is cut at the moment it is sent or the moment it arrives, when
 * its receiver is down then or was down in between, or when the connection of the two was reset in
 * between. A sender that goes down does not take back what it has sent.
 *
 * In order: messages of one direction of a pair do not overtake each other, as on a TCP
 * connection. Whoever wants to see them reordered draws is_ordered false.
 */
#ifndef TESTS_SIM_SIMNET_H
#define TESTS_SIM_SIMNET_H

#include "base/base.h"
#include "sim.h"

enum {
    SIMNET_ENDPOINTS_MAX = 16,
    SIMNET_MESSAGE_MAX = 1 << 20,
};

struct simnet_rules {
    int64_t latency_min_us;
    int64_t latency_mean_us; /* above the minimum, exponentially spread */
    uint64_t loss_per_mille;
    uint64_t duplicate_per_mille;
    bool is_ordered;
    int64_t partition_every_us; /* mean time between partitions; 0: none */
    int64_t partition_us;       /* mean length */
    int64_t reset_every_us;     /* mean time between resets of some pair; 0: none */
};

/* One of the many networks: each fault is in some of them, with some strength. */
void simnet_rules_draw(struct sim_rng *rng, struct simnet_rules *ret);

struct simnet_endpoint {
    void (*deliver)(void *ctx, int from, const void *bytes, size_t len);
    void (*reset)(void *ctx, int peer); /* the connection to the peer is gone; may be NULL */
    void *ctx;
};

struct simnet;

struct simnet *simnet_new(struct sim *s, const struct simnet_rules *rules);
struct simnet *simnet_free(struct simnet *net);                       /* takes NULL, returns NULL */
int simnet_add(struct simnet *net, const struct simnet_endpoint *ep); /* its number: 0, 1, ... */

void simnet_send(struct simnet *net, int from, int to, const void *bytes, size_t len);
/* Down: nothing reaches it. Its peers see their connections to it reset when it goes down. */
void simnet_set_up(struct simnet *net, int endpoint, bool is_up);
/* What is under way between the two is lost; both are told. */
void simnet_reset(struct simnet *net, int a, int b);

void simnet_cut(struct simnet *net, int from, int to); /* this direction alone */
void simnet_heal(struct simnet *net);                  /* all directions */
bool simnet_is_cut(const struct simnet *net, int from, int to);

enum simnet_partition {
    SIMNET_SPLIT,   /* each endpoint on one side or the other */
    SIMNET_ISOLATE, /* one endpoint against all others */
    SIMNET_BRIDGE,  /* two sides, and one endpoint that sees both */
};

/* Cuts both directions, or, not symmetric, one of each pair's; on top of what is cut. */
void simnet_partition(struct simnet *net, enum simnet_partition kind, bool is_symmetric);

/* Partitions and resets come and go by the rules, until calm: then nothing is lost, doubled or cut.
 */
void simnet_start_chaos(struct simnet *net);
void simnet_calm(struct simnet *net);

#endif
