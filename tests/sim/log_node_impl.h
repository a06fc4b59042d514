/* The inside of a node, for log_node.c and log_reader.c alone. */
#ifndef TESTS_SIM_LOG_NODE_IMPL_H
#define TESTS_SIM_LOG_NODE_IMPL_H

#include "base/base.h"
#include "base/list.h"
#include "base/mem.h"
#include "log_node.h"
#include "storage/log_dir.h"

/* A request: in the inbox, then among the waiters of its log until its answer may leave. */
struct waiting {
    struct list node;
    struct log_request request;
    int client;
    struct blob *blob; /* a reference */
    size_t size;
    int64_t base_offset;
    int64_t until; /* the answer leaves when the high watermark is here */
};

struct node_log {
    int number;
    struct plog *pl; /* owned; NULL while the node is down */
    struct log_model model;
    struct list waiters;
    int64_t acked;   /* the furthest end of what was answered */
    int64_t seen;    /* the furthest end of what a consumer was given */
    int64_t written; /* as the log said last */
    int64_t flushed; /* as a round said last */
    int64_t stable;  /* the furthest of that, of all lives */
    int32_t leader_epoch;
};

struct log_node {
    struct sim *s;
    struct sim_rng rng;
    struct simnet *net;
    int endpoint;
    struct log_node_rules rules;
    struct simfs *disk;  /* owned */
    struct fs_ops lying; /* the disk's calls, with the planted mistake */
    struct plog_env env;
    struct flusher *fl; /* owned */
    struct log_dir *ld; /* owned */
    struct list inbox;
    struct node_log logs[LOG_NODE_LOGS_MAX];
    struct sim_event turn;
    struct sim_event flush;
    struct sim_event crash;
    struct sim_event restart;
    bool is_up;
    bool is_calm;
    bool is_in_background; /* a step of the disk may let others have a turn */
    bool wants_kill;       /* the next crash takes the process alone */
    bool must_lose_power;
    bool has_lost_power; /* since all logs were open */
};

/* After everything that may have changed the disk: without power the node is dead. */
void log_node_end_of_event(struct log_node *n);

/* A sync has failed: so the whole directory is offline. */
void log_node_take_offline(struct log_node *n);

/* log_reader.c */

/* Reads the log whole, compares, and brings the model to what the log holds now. promised: the end
 * of what must be there. Negative: the disk has gone meanwhile. */
must_check int log_node_recover_model(struct log_node *n, struct node_log *nl, int64_t promised);
/* Offsets against each other and against the model. */
void log_node_check_offsets(struct log_node *n, struct node_log *nl);

#endif
