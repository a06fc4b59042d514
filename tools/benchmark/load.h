/*
 * Load: one frame sent over and over on several connections with a number of them in flight, and a
 * stream of fetches. One thread, one epoll.
 */
#ifndef BENCHMARK_LOAD_H
#define BENCHMARK_LOAD_H

#include "benchmark/client.h"
#include "benchmark/warm.h"

struct load {
    struct sockaddr_in server;
    const struct buf *frame; /* of one partition */
    size_t connections;
    size_t in_flight; /* on each */
    double warm_seconds;
    double run_seconds;
    int64_t requests_max; /* 0: no end but the time's */
    struct warm *warm;    /* borrowed; NULL: none */
    pid_t pid;            /* whose CPU is measured; 0: nobody's */
};

struct load_result {
    int64_t requests;
    int64_t bytes; /* of answers' records, of a fetch load */
    double seconds;
    double cpu_seconds;
    double p50_us;
    double p99_us;
};

must_check int load_produce(const struct load *l, struct load_result *ret);

/* Fetches from a log of equal batches, from its start to its end over and over; frame: of
 * frame_fetch. One request in flight on each connection, as a consumer has it. */
struct fetch_load {
    struct load load;
    size_t offset_at; /* place of the offset in the frame */
    size_t batch_bytes;
    int64_t batch_records;
    int64_t end_offset;
};
must_check int load_fetch(const struct fetch_load *l, struct load_result *ret);

/* Places of a sorted list of latencies. */
struct latencies {
    int64_t *ns; /* owned */
    size_t count;
    size_t cap;
};
void latencies_add(struct latencies *l, int64_t ns);
double latencies_us(struct latencies *l, double share); /* sorts; 0 when empty */
void latencies_release(struct latencies *l);

#endif
