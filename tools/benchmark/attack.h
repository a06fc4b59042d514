/*
 * Hostile clients: each attack runs in a process of its own until it is killed.
 */
#ifndef BENCHMARK_ATTACK_H
#define BENCHMARK_ATTACK_H

#include "benchmark/attack_frames.h"
#include "benchmark/client.h"

#include <sys/types.h>

enum attack_flags {
    ATTACK_READS = 1, /* answers are read and dropped; without it they never are */
    ATTACK_MANY = 2,  /* needs the ten thousand topics */
    ATTACK_FRESH = 4, /* its frames are built anew for each round */
    ATTACK_PROMISED =
        16,            /* what the promise names: never reads, drips, floods, storms, sends lies */
    ATTACK_SILENT = 8, /* one round each, then it only waits (and comes back when it is closed) */
};

struct attack {
    const char *name;
    frames_builder *frames; /* NULL: run */
    void (*run)(const struct sockaddr_in *server);
    int connections;
    int flags;
};

extern const struct attack attacks[];
extern const size_t attacks_count;

/* Forks; -1: it could not. The child dies with its parent. */
must_check pid_t attack_start(const struct attack *at, const struct sockaddr_in *server);
void attack_stop(pid_t pid);

#endif
