/*
 * A node of the log scenario: real partition logs and a real flusher on a simulated disk, behind a
 * simulated network, with a model beside each log. It plays the part of a broker that is the only
 * replica: a turn takes what has come, appends and writes it; a flush round makes it stable; the
 * high watermark follows what is flushed (durable mode) or written (page-cache mode), and answers
 * leave when it has passed them. In the middle of a round, between two syncs, further turns happen,
 * as other threads would have them.
 *
 * Whatever the logs answer is compared with the models: appends, reads, offsets, times, epochs.
 * After a crash each log is read whole: all that was acknowledged or seen is there, everything else
 * found was once written there, and the last stable offset, duplicates and sequences follow from
 * it.
 */
#ifndef TESTS_SIM_LOG_NODE_H
#define TESTS_SIM_LOG_NODE_H

#include "base/base.h"
#include "log_model.h"
#include "sim.h"
#include "simfs.h"
#include "simnet.h"
#include "storage/plog.h"

enum {
    LOG_NODE_LOGS_MAX = 24,
};

enum log_node_mistake {
    LOG_NODE_RIGHT,
    LOG_NODE_ACKS_BEFORE_FLUSH,     /* an answer leaves when its batch is written */
    LOG_NODE_SHOWS_BEFORE_FLUSH,    /* the high watermark follows what is written */
    LOG_NODE_NO_DIRECTORY_SYNC,     /* sync of a directory does nothing */
    LOG_NODE_NO_DATA_SYNC,          /* sync of a file does nothing */
    LOG_NODE_DUPLICATE_NOT_FLUSHED, /* a duplicate is answered before its original is stable */
};

struct log_node_rules {
    int logs;
    bool is_durable;
    struct plog_config config;
    size_t descriptors_max;
    uint64_t turns_within_syncs; /* per mille */
    int64_t turn_us;             /* between the first request and its turn */
    int64_t flush_us;            /* between a write and the next round */
    enum log_node_mistake mistake;
};

void log_node_rules_draw(struct sim_rng *rng, struct log_node_rules *ret);

/* On the network: this, then the bytes of one batch. */
struct log_request {
    uint64_t id;
    int32_t log;
    bool is_marker;
};

struct log_answer {
    uint64_t id;
    int32_t log;
    enum kafka_error error;
    int64_t base_offset;
};

struct log_node;

struct log_node *
log_node_new(struct sim *s, struct simnet *net, const struct log_node_rules *rules);
struct log_node *log_node_free(struct log_node *n);
int log_node_endpoint(const struct log_node *n);

/* Begins to serve, or fails the run. May die on the way, when a crash was set before. */
void log_node_start(struct log_node *n);
void log_node_stop(struct log_node *n); /* cleanly */
bool log_node_is_up(const struct log_node *n);

/* The power goes at the step-th change of the disk from now (0: at once), or the process is killed
 * there. It starts again by itself after a while. */
void log_node_crash(struct log_node *n, uint64_t step, bool is_kill);
/* A sync, a write or something else fails once or twice. */
void log_node_fail_some_call(struct log_node *n);
/* Only so many bytes more fit; negative: all there is. */
void log_node_limit_disk(struct log_node *n, int64_t bytes);
/* No fault from now on. */
void log_node_calm(struct log_node *n);

/* Each at a random place, compared with the models. */
void log_node_read(struct log_node *n);
void log_node_find(struct log_node *n);
void log_node_checkpoint(struct log_node *n);
void log_node_delete_old(struct log_node *n);
/* What was deleted and has waited long enough goes. */
void log_node_empty_trash(struct log_node *n);

#endif
