/* The inside of a metadata node, for meta_node.c, meta_decide.c and meta_check.c alone. */
#ifndef TESTS_SIM_META_NODE_IMPL_H
#define TESTS_SIM_META_NODE_IMPL_H

#include "base/base.h"
#include "base/list.h"
#include "base/mem.h"
#include "meta/controller.h"
#include "meta/records.h"
#include "meta_node.h"
#include "storage/log_dir.h"

#define META_DIR "data"

enum {
    META_NODE_ID = 1,
    META_BROKERS = 3,         /* ids 1..3; the first is the node itself */
    META_PARTITIONS_MAX = 12, /* of one topic: nobody asks for more */
};

enum meta_job_type {
    META_JOB_REQUEST,
    META_JOB_REGISTER, /* a broker of this id */
    META_JOB_SERVE,
    META_JOB_RETIRE,
};

struct meta_job {
    struct list node;
    enum meta_job_type type;
    int client;
    int32_t broker;
    struct meta_request request;
    struct meta_answer answer;
};

/* A topic that was published once. */
struct seen_topic {
    struct uuid id;
    char name[META_NAME_BYTES];
    uint64_t made_by; /* request, from 1; 0: not known */
    int32_t partitions;
    int32_t leader_epochs[META_PARTITIONS_MAX];
    int32_t partition_epochs[META_PARTITIONS_MAX];
};

struct meta_node {
    struct sim *s;
    struct sim_rng rng;
    struct simnet *net;
    int endpoint;
    struct meta_node_rules rules;
    struct simfs *disk; /* owned */
    struct fs_ops lying;
    struct plog_env env;
    struct controller ct;
    struct log_dir *ld;      /* owned */
    struct raft_node *rn;    /* owned */
    struct image *newest;    /* a reference */
    struct image *published; /* a reference */
    struct meta_history history;
    struct meta_properties identity; /* of the directory, once something was promised */
    bool has_identity;
    int32_t epoch_ever; /* of lives that have served */
    int64_t broker_epoch;
    struct list jobs;
    struct seen_topic *seen; /* owned */
    size_t seen_count;
    size_t seen_cap;
    int64_t *blocks; /* owned: first ids that were handed out */
    size_t blocks_count;
    size_t blocks_cap;
    struct sim_event turn;
    struct sim_event restart;
    bool is_up;
    bool is_calm;
    bool wants_kill;
};

/* meta_decide.c: what the controller makes of a job; the answer is in the job. */
void meta_decide(struct meta_node *n,
                 struct meta_job *mj,
                 const struct image *im,
                 int64_t base_offset,
                 struct meta_records *records);
/* Answers from an image. */
void meta_describe(const struct image *im, const struct meta_request *rq, struct meta_answer *ret);

/* meta_check.c */

struct meta_loaded {
    struct raft_node *rn; /* owned by the caller afterwards */
    struct image *image;  /* a reference */
    int64_t end;
};

/* Opens the log in an environment and builds the image. */
must_check int meta_load(struct meta_node *n,
                         struct plog_env *env,
                         const struct uuid *directory_id,
                         struct meta_loaded *ret);
/* The image has just been published. */
void meta_check_published(struct meta_node *n);
/* Who made the topics of this answer. */
void meta_note_makers(struct meta_node *n, const struct meta_job *mj);
void meta_check_block(struct meta_node *n, int64_t first);
void meta_check_release(struct meta_node *n);

#endif
