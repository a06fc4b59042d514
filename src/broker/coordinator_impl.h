/*
 * Inside of the coordinator, from above: coordinator_life.c (start and end), coordinator_in.c
 * (requests come), coordinator_run.c (shards and events), coordinator_load.c, coordinator_write.c
 * (batches and commits), coordinator_out.c (requests go), coordinator_topics.c (what the image
 * says). Everything here belongs to the coordinator's thread, but for what says otherwise.
 */
#ifndef BROKER_COORDINATOR_IMPL_H
#define BROKER_COORDINATOR_IMPL_H

#include "broker/coordinator.h"
#include "broker/io_thread.h"
#include "broker/partition.h"
#include "net/loop.h"
#include "wire/batch.h"

struct coordinator_task;

/* A task's interest in one shard: answered when what the shard has written by then is committed. */
struct coordinator_wait {
    struct list link; /* of slot->waits, then of pending_write.waits */
    struct coordinator_task *task;
};

enum task_kind {
    TASK_CALL,
    TASK_PARTS,
    TASK_ALL,
};

/* A request on its way through the coordinator; in the request's arena. */
struct coordinator_task {
    struct shard_call call;
    struct request *rq;
    struct list link; /* of a port, of the inbox, of the work */
    enum task_kind kind;
    union {
        struct {
            struct str group_id;
            void (*run)(struct shard *sh, struct shard_call *call);
            void (*refuse)(struct request *rq, enum kafka_error error);
        } one;
        struct {
            size_t count;
            int32_t *shards; /* by part: where it went; an image that came since says otherwise */
            struct str (*group_of)(struct request *rq, size_t i);
            void (*part)(struct shard *sh, struct request *rq, size_t i);
            void (*refuse)(struct request *rq, size_t i, enum kafka_error error);
        } parts;
        struct {
            void (*part)(struct shard *sh, struct request *rq);
            void (*refuse)(struct request *rq, enum kafka_error error);
        } all;
    };
    int64_t charged;              /* bytes of co->memory: of a request that is large */
    size_t waits;                 /* shards that it waits for */
    struct coordinator_wait wait; /* of the first of them */
};

enum slot_state {
    SLOT_LOADING,
    SLOT_ACTIVE,
    SLOT_FAILED, /* its log cannot be read: nobody is served until it is elected anew */
};

struct coordinator_load;

/* A partition of __consumer_offsets that this broker leads. */
struct coordinator_slot {
    struct coordinator *co; /* borrowed */
    int32_t number;
    enum slot_state state;         /* changed by slot_move alone */
    struct partition *p;           /* a reference; NULL: not here */
    struct shard *sh;              /* owned; NULL but in SLOT_ACTIVE */
    struct coordinator_load *load; /* of SLOT_LOADING; borrowed: it frees itself */
    struct timer timer;            /* the shard's next deadline */
    int64_t retry_at_ms;           /* of SLOT_FAILED, by the loop: until then it stays so */
    uint64_t seen;                 /* number of the last task of several shards that was here */
    struct list touched;           /* of co->touched: the turn's end has something to do */
    struct list waits;             /* coordinator_wait of this turn */
    struct list pending;           /* pending_write, by offset */
    struct batch_builder builder;  /* records of this turn */
    size_t builder_bytes;
    size_t batch_bytes_max;        /* asked for with the first record of a batch */
    enum kafka_error append_error; /* a batch of this turn was not taken */
};

/* What one io thread and the coordinator have for each other. */
struct coordinator_port {
    struct coordinator *co;    /* borrowed */
    struct io_thread *io;      /* borrowed */
    struct list out;           /* io thread: tasks of its turn */
    struct list late;          /* io thread: tasks that may wait for company */
    struct timer late_timer;   /* io thread: until then at most */
    int64_t handed_in_ms;      /* io thread: when it has last woken the coordinator */
    struct turn_task out_task; /* io thread */
    struct list finishing;     /* io thread: tasks whose requests are to be answered */
    struct turn_task finish_task;
    struct list done; /* coordinator's thread: tasks that ended in its turn */
    struct lock lock; /* LOCK_MAILBOX */
    struct list back; /* lock: tasks on their way back */
    bool is_posted;   /* lock: back_job is on its way */
    struct job back_job;
};

struct coordinator {
    struct broker *br;    /* borrowed */
    struct io_thread *io; /* owned; has no connections */
    /* Upwards to coordinator_run.c: a load has ended; what the log has of a slot is not what its
     * shard believes. */
    void (*loaded)(struct coordinator_slot *slot, struct shard *sh, int err);
    void (*lost)(struct coordinator_slot *slot, enum kafka_error error);
    struct shard_config config; /* constant but for what coordinator_settings reads */
    struct arena config_arena;  /* texts of it */
    struct mem_budget memory;
    bool has_consumer_protocol; /* group.coordinator.rebalance.protocols has it */
    enum codec_type codec;
    int codec_level;
    struct coordinator_port *ports; /* owned; by index of the io thread */

    struct lock lock;         /* LOCK_MAILBOX; for the four below and is_closed */
    struct list inbox;        /* tasks */
    struct list questions;    /* coordinator_question */
    struct image *next_image; /* a reference; NULL: none since the last one */
    bool is_posted;           /* inbox_job is on its way */
    bool is_closed;           /* nothing more is taken */
    struct job inbox_job;
    struct job stop_job;

    struct list work; /* tasks taken from the inbox */
    struct turn_task work_task;
    struct turn_task write_task; /* TURN_APPEND */
    struct turn_task back_task;  /* TURN_SEND */
    struct turn_task load_task;  /* TURN_FREE: loads begin when the turn has written */
    struct turn_task stop_task;  /* TURN_FREE: is everything at an end? */
    struct list touched;         /* slots */
    struct list loads;           /* coordinator_load: to be begun */
    size_t loads_running;
    size_t pending_count;            /* pending_write of all slots, resigned ones included */
    struct coordinator_slot **slots; /* owned; by partition; NULL: not led here */
    size_t slots_count;
    uint64_t tasks_seen;
    struct image *image; /* a reference; NULL before the first */
    struct shard_topics topics;
    struct arena topics_arena; /* of topics_sorted */
    const struct image_topic **topics_sorted;
    size_t topics_sorted_count;
    struct group_settings settings_default;
    bool is_stopping;
    bool is_started;
    struct log_limit report_limit;
    struct log_limit unreadable_limit;
};

/* ---- coordinator_in.c ---- */

void coordinator_in_init(struct coordinator *co); /* ports are there */
/* Images and questions; tasks go to co->work. */
void coordinator_take_inbox(struct coordinator *co);

/* ---- coordinator_out.c ---- */

void coordinator_out_init(struct coordinator *co);
void coordinator_refuse(struct coordinator_task *task, enum kafka_error error);
/* On the request's io thread: it is answered. */
void coordinator_finish(struct coordinator *co, struct coordinator_task *task);
/* The task has ended: its request is answered by its io thread. */
void coordinator_task_done(struct coordinator *co, struct coordinator_task *task);
/* The task's part in this shard is over; with an error it is refused what it had there. */
void coordinator_wait_over(struct coordinator_slot *slot,
                           struct coordinator_wait *wait,
                           enum kafka_error error);

/* ---- coordinator_run.c ---- */

void coordinator_run_task(struct coordinator *co, struct coordinator_task *task);
void coordinator_run_question(struct coordinator *co, struct coordinator_question *cq);
/* A new image: partitions won and lost, topics changed. */
void coordinator_follow_image(struct coordinator *co, struct image *im);
/* Everything ends: what is parked is answered. */
void coordinator_resign_all(struct coordinator *co);
void coordinator_slot_loaded(struct coordinator_slot *slot, struct shard *sh, int err);
/* What the log has of it does not say what the shard believes: the shard goes, a new one is loaded.
 */
void coordinator_slot_reload(struct coordinator_slot *slot, enum kafka_error error);

/* ---- coordinator_write.c ---- */

void coordinator_slot_touch(struct coordinator_slot *slot);
/* For shard_take_records; ctx is the slot. */
void coordinator_add_record(void *ctx, struct view key, struct view value);
/* The end of a turn: one append for each slot that was touched. */
void coordinator_write(struct turn_task *task, void *ctx);
/* Nothing of this slot is waited for any more; who did gets this error. */
void coordinator_cancel_writes(struct coordinator_slot *slot, enum kafka_error error);
/* Records of this turn are forgotten, with who waits for them. */
void coordinator_drop_records(struct coordinator_slot *slot, enum kafka_error error);

/* ---- coordinator_load.c ---- */

void coordinator_load_begin(struct coordinator_slot *slot);
/* The slot is gone: what is loaded is thrown away. */
void coordinator_load_cancel(struct coordinator_slot *slot);
void coordinator_loads_start(struct turn_task *task, void *ctx);

/* ---- coordinator_topics.c ---- */

void coordinator_topics_init(struct coordinator *co);
/* After co->image has changed. */
void coordinator_topics_reset(struct coordinator *co);
/* Calls each shard_topic_changed that leads from one image to the other. */
void coordinator_topics_compare(const struct image *before,
                                const struct image *after,
                                void (*each)(void *ctx,
                                             enum shard_topic_change change,
                                             const struct shard_topic *t),
                                void *ctx);
void coordinator_config_init(struct coordinator *co);
void coordinator_config_follow(struct coordinator *co); /* dynamic values of co->image */

#endif
