/*
 * A node of the metadata scenario: formats its directory on a simulated disk, loads the metadata
 * log (raft_node), leads, registers, and decides requests (controller) that come over a simulated
 * network, many in one append and one sync, as the broker's metadata thread does. Snapshots are
 * taken often and the log behind them is forgotten.
 *
 * After each start, and now and then on a copy of the disk whose power was cut, what is loaded is
 * compared with the history; loading it twice must give the same. Each published image is checked
 * against all those before it.
 */
#ifndef TESTS_SIM_META_NODE_H
#define TESTS_SIM_META_NODE_H

#include "base/base.h"
#include "base/uuid.h"
#include "meta_history.h"
#include "sim.h"
#include "simfs.h"
#include "simnet.h"
#include "wire/gen/errors.h"

enum {
    META_NAMES_MAX = 4,
    META_NAME_BYTES = 24,
};

enum meta_operation {
    META_CREATE,
    META_DELETE,
    META_WIDEN,  /* to `partitions` each */
    META_CONFIG, /* retention.ms of each to `value`; 0: removed */
    META_IDS,    /* a block of producer ids */
    META_DESCRIBE,
    META_OPERATIONS, /* their number */
};

struct meta_request {
    uint64_t id;
    enum meta_operation operation;
    int32_t count;
    char names[META_NAMES_MAX][META_NAME_BYTES];
    int32_t partitions;
    int32_t value;
};

struct meta_topic_answer {
    enum kafka_error error;
    bool exists;
    struct uuid id;
    int32_t partitions;
    int32_t value; /* of retention.ms; 0: none */
};

struct meta_answer {
    uint64_t id;
    enum kafka_error error; /* of the request as a whole */
    int32_t count;
    struct meta_topic_answer topics[META_NAMES_MAX];
    int64_t first_producer_id;
};

enum meta_node_mistake {
    META_NODE_RIGHT,
    META_NODE_ANSWERS_BEFORE_FLUSH,
    META_NODE_NO_DIRECTORY_SYNC,
    META_NODE_NO_FILE_SYNC,
    META_NODE_SPLITS_REQUESTS, /* the records of one request in two batches */
    META_NODE_OLD_IMAGE,       /* decides on the published image, not the newest */
};

struct meta_node_rules {
    int64_t segment_bytes;
    int64_t snapshot_bytes;
    int64_t retention_bytes;
    int64_t turn_us;
    enum meta_node_mistake mistake;
};

void meta_node_rules_draw(struct sim_rng *rng, struct meta_node_rules *ret);

struct meta_node;

struct meta_node *
meta_node_new(struct sim *s, struct simnet *net, const struct meta_node_rules *rules);
struct meta_node *meta_node_free(struct meta_node *n);
int meta_node_endpoint(const struct meta_node *n);

void meta_node_start(struct meta_node *n);
void meta_node_stop(struct meta_node *n); /* cleanly */
bool meta_node_is_up(const struct meta_node *n);
void meta_node_crash(struct meta_node *n, uint64_t step, bool is_kill);
void meta_node_crash_first_start(struct meta_node *n); /* before meta_node_start: somewhere in it */
/* Behind whatever may have used the disk: a node without power is dead. */
void meta_node_end_of_event(struct meta_node *n);
void meta_node_fail_some_call(struct meta_node *n);
void meta_node_limit_disk(struct meta_node *n, int64_t bytes); /* negative: no limit */
void meta_node_calm(struct meta_node *n);

/* Another broker of the cluster comes or goes. */
void meta_node_change_broker(struct meta_node *n);
/* Cuts the power of a copy of the disk and looks what is there. */
void meta_node_look_at_copy(struct meta_node *n);

#endif
