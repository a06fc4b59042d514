/*
 * One broker instance: owns clock, entropy, file table, logger, metrics, config, metadata,
 * partitions and loops; no global state, two brokers live in one process. This struct holds
 * pointers; what they point at is declared in the modules' own headers.
 */
#ifndef BROKER_BROKER_H
#define BROKER_BROKER_H

#include "base/base.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/logger.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/sync.h"
#include "base/uuid.h"
#include "meta/image.h"

struct config;   /* config/config.h: what server.properties and overrides say; immutable after start
                  */
struct metadata; /* broker/metadata.h */
struct partition_table; /* broker/partition_table.h */
struct log_dirs;        /* broker/log_dirs.h */
struct io_thread;       /* broker/io_thread.h */
struct coordinator;     /* broker/coordinator.h */
struct background;      /* broker/background.h: threads for cold reads, deletes, long requests */
struct group_commit;    /* broker/group_commit.h: the thread that syncs logs */
struct upkeep;          /* broker/upkeep.h */
struct conn_limits;     /* net/listener.h */
struct conn_memory;     /* net/conn.h */
struct fetch_sessions;  /* broker/fetch_session.h */
struct plog_env;
struct fd_cache;

#define FETCH_SHARDS_MAX 16

/* Fetch sessions whose ids leave the same rest: long work on one holds up few others. */
struct fetch_shard {
    struct lock lock; /* LOCK_LEAF */
    struct fetch_sessions *sessions;
};

/* A bound listener as the config asked for it, with the port that it got. */
struct broker_listener {
    struct str name; /* "PLAINTEXT" */
    struct str host; /* bound; "" all */
    uint16_t port;
    bool is_advertised; /* false: who comes in here is told of no broker */
    struct str advertised_host;
    uint16_t advertised_port;
    int16_t security_protocol; /* 0 PLAINTEXT */
};

struct broker {
    struct clock *clock;   /* borrowed: protocol and machine clock */
    struct fs *fs;         /* borrowed */
    struct logger *logger; /* borrowed */
    struct config *config; /* owned */
    struct metrics metrics;
    struct mem_budget memory;  /* request bytes: jackdaw.memory.max */
    struct mem_budget queued;  /* request bytes: queued.max.request.bytes */
    struct mem_budget answers; /* bytes of answers in memory that have not left */
    struct mem_budget parked;  /* bytes of fetches that wait for records */
    struct conn_limits *conn_limits;
    struct conn_memory *conn_memory;
    struct plog_env *env;
    struct fd_cache *fds;
    struct metadata *metadata;
    struct log_dirs *log_dirs;
    struct partition_table *partitions;
    struct background *background;
    struct group_commit *group_commit;
    struct upkeep *upkeep;
    struct coordinator *coordinator;
    struct fetch_shard fetch_shards[FETCH_SHARDS_MAX];
    uint32_t fetch_shards_count;
    struct mem_budget fetch_memory; /* bytes of fetch sessions */
    struct metric *bad_frames;
    /* The broker cannot go on: its metadata cannot be stored. Any thread; one line is in the log.
     * NULL: nobody asks. */
    void (*on_fatal)(struct broker *br, int err);
    /* Configs of the broker have changed: what a config may change while it runs. The metadata
     * thread. NULL: nobody asks. */
    void (*on_configs)(struct broker *br, const struct image *im);
    /* A log's retention may have become shorter. Any thread. NULL: nobody asks. */
    void (*on_retention)(struct broker *br);
    /* Partitions are offline for a passing reason: partition_table_retry, after a while. The
     * metadata thread. NULL: nobody asks. */
    void (*on_offline)(struct broker *br);
    int64_t fetch_max_bytes; /* fetch.max.bytes */
    struct io_thread **ios;  /* owned; behind them the coordinator's */
    size_t ios_count;        /* without the coordinator's */
    struct broker_listener *listeners;
    size_t listeners_count;
    char cluster_id[64];
    struct uuid directory_id;
    struct uuid incarnation_id;
    int32_t node_id;
    int64_t broker_epoch;
    bool has_failed_stop; /* a stop could not write what makes it a clean one; the log says what */
};

#endif
