/*
 * What is measured: a list of measures (lines of the table), filled by rows (runs of a load).
 */
#ifndef BENCHMARK_ROWS_H
#define BENCHMARK_ROWS_H

#include "base/base.h"

#include <netinet/in.h>
#include <sys/types.h>

/* MEASURE(name, row, text of the load, unit, reach: at most (or at least when negative) this; 0:
 * none) */
#define MEASURES(MEASURE)                                                                          \
    MEASURE(SMALL_CPU, "small",                                                                    \
            "page cache: requests of 1 x 100 B, 4 connections with 16 in flight", "us", 3)         \
    MEASURE(HUNDRED_CPU, "hundred", "page cache: requests of 100 x 100 B, 4 with 5 in flight",     \
            "us", 8)                                                                               \
    MEASURE(BULK_CPU, "bulk", "page cache: batches of 1000 x 1000 B", "s/GiB", 0.6)                \
    MEASURE(DURABLE_CPU, "durable", "durable: requests of 1 x 100 B, 4 with 16 in flight", "us",   \
            6)                                                                                     \
    MEASURE(DURABLE_ACKS, "durable", "durable: the same: acks a sync", "acks", -8)                 \
    MEASURE(SYNC_P50, "durable-one", "fdatasync behind a write, the server's core, p50", "us", 0)  \
    MEASURE(DURABLE_ONE_P50, "durable-one", "durable: one in flight, p50 (reach: the sync + 80)",  \
            "us", 1)                                                                               \
    MEASURE(MANY_P99, "durable-many", "durable: 1,000 partitions, one record each at once, p99",   \
            "ms", 20)                                                                              \
    MEASURE(MANY_SINGLE_P99, "durable-many", "durable: the same as 1,000 requests, p99", "ms", 20) \
    MEASURE(FETCH_1M_CPU, "fetch", "fetch of 1 MiB from the page cache", "s/GiB", 0.41)            \
    MEASURE(FETCH_64K_CPU, "fetch", "fetch of 64 KiB from the page cache", "s/GiB", 0.5)           \
    MEASURE(TAIL_P50, "tail", "produce to consume at 200/s, page cache, p50", "us", 80)            \
    MEASURE(TAIL_P99, "tail", "produce to consume at 200/s, page cache, p99", "us", 400)           \
    MEASURE(FIRST_MS, "first", "empty directory to the first acknowledged record, durable", "ms",  \
            20)                                                                                    \
    MEASURE(FIRST_SYNCS, "first", "the same: syncs one after another", "syncs", 6)                 \
    MEASURE(IDLE_RSS, "idle", "idle memory", "MiB", 8)                                             \
    MEASURE(IDLE_WAKES, "idle", "idle: wake-ups a second", "1/s", 0.2)                             \
    MEASURE(MANY_RSS, "partitions", "10,000 partitions, 100 of them active, all written once",     \
            "MiB", 100)                                                                            \
    MEASURE(MANY_RSS_AGAIN, "partitions", "the same, after a restart", "MiB", 100)                 \
    MEASURE(MANY_FDS, "partitions", "the same: descriptors (soft limit 1024)", "", 0)              \
    MEASURE(MANY_CREATED, "partitions", "the same: created (100 requests of 100)", "s", 2)         \
    MEASURE(MANY_STOPPED, "partitions", "the same: stopped cleanly", "s", 2)                       \
    MEASURE(MANY_STARTED, "partitions",                                                            \
            "the same: started again, to the first acknowledged record", "s", 1)                   \
    MEASURE(MANY_KILLED, "partitions", "the same: started after kill -9", "s", 2)                  \
    MEASURE(KILLED_MS, "killed",                                                                   \
            "started after kill -9, 1 GiB of log, to the first acknowledged record", "ms", 100)    \
    MEASURE(BEATS_CPU, "heartbeats",                                                               \
            "10,000 members of 1,000 groups, a heartbeat each 3 s: of one core", "%", 8)           \
    MEASURE(BEAT_CPU, "heartbeats", "the same: a heartbeat", "us", 0)                              \
    MEASURE(COMMIT_RATE, "commits",                                                                \
            "page cache: commits of one partition, 50 connections with 10 in flight", "1/s",       \
            -100000)                                                                               \
    MEASURE(COMMIT_CPU, "commits", "page cache: the same", "us", 10)                               \
    MEASURE(COMMIT_DURABLE_RATE, "commits", "durable: the same", "1/s", 0)                         \
    MEASURE(COMMIT_DURABLE_CPU, "commits", "durable: the same", "us", 10)                          \
    MEASURE(REBALANCE_CPU, "rebalance", "classic: one more than 999 members, 10,000 partitions",   \
            "s", 1)                                                                                \
    MEASURE(REBALANCE_SECONDS, "rebalance", "classic: the same, until all are in sync", "s", 0)    \
    MEASURE(GROUP_FORMED_CPU, "reconcile",                                                         \
            "consumer: 1,000 members come, 9,999 partitions, until all own theirs", "s", 1)        \
    MEASURE(GROUP_ONE_CPU, "reconcile", "consumer: one more comes", "s", 1)                        \
    MEASURE(GROUP_LEFT_CPU, "reconcile", "consumer: then 100 leave", "s", 1)                       \
    MEASURE(GROUPS_RSS, "groups", "10,000 classic groups of one member", "MiB", 40)                \
    MEASURE(GROUPS_WAKES, "groups", "the same, idle: wake-ups a second", "1/s", 0.5)               \
    MEASURE(CONSUMERS_RSS, "groups", "10,000 consumer groups of one member", "MiB", 40)            \
    MEASURE(CONSUMERS_WAKES, "groups", "the same, idle: wake-ups a second", "1/s", 0.5)

#define MEASURE_NAME(name, row, text, unit, reach) M_##name,
enum measure {
    MEASURES(MEASURE_NAME)
};
#undef MEASURE_NAME
#define MEASURE_COUNT(name, row, text, unit, reach) +1
enum {
    MEASURES_COUNT = 0 MEASURES(MEASURE_COUNT)
};
#undef MEASURE_COUNT

enum column {
    COLUMN_FLOOR,
    COLUMN_OURS,
    COLUMN_OTHER,
};
enum {
    COLUMNS_COUNT = 3
};

struct bench {
    const char *binary;    /* of the broker under test; NULL: only the other */
    const char *directory; /* for data, on a real disk */
    int server_core;       /* -1: not pinned */
    bool is_quick;
    bool has_other;
    struct sockaddr_in other;
    pid_t other_pid;                              /* 0: its CPU and memory are not ours to see */
    double values[MEASURES_COUNT][COLUMNS_COUNT]; /* below 0: not measured */
    int runs;                                     /* for fresh names */
};

enum row_flags {
    ROW_FLOOR = 1, /* the floor has this one */
    ROW_OTHER = 2, /* can be run on a broker that is already there */
};

struct row {
    const char *name;
    unsigned flags;
    int (*run)(struct bench *b, enum column column);
};

extern const struct row rows[];
extern const size_t rows_count;

#endif
