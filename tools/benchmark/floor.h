/*
 * The floor: the least that a server could do with a Produce request. A loop that reads all there
 * is, checks each CRC, stamps the offset, writes once a turn and answers once a connection; no
 * topics, no indexes, no errors. Durable: each turn's write is followed by an fdatasync. It runs in
 * a process of its own, pinned like the broker.
 */
#ifndef BENCHMARK_FLOOR_H
#define BENCHMARK_FLOOR_H

#include "base/base.h"
#include "benchmark/process.h"

must_check int floor_start(const char *file, int core, bool is_durable, struct process *ret);

#endif
