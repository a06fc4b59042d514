/*
 * The rows about groups; each fills the measures of its name in rows.h.
 */
#ifndef BENCHMARK_ROWS_GROUPS_H
#define BENCHMARK_ROWS_GROUPS_H

#include "benchmark/rows.h"

must_check int row_heartbeats(struct bench *b, enum column column);
must_check int row_commits(struct bench *b, enum column column);
must_check int row_rebalance(struct bench *b, enum column column);
must_check int row_reconcile(struct bench *b, enum column column);
must_check int row_groups(struct bench *b, enum column column);

#endif
