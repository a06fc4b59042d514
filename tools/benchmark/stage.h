/*
 * A server for one row of the table, of whatever column: started on fresh data (or the other one),
 * with a connection to it. A function that fails says why and returns a negative number.
 */
#ifndef BENCHMARK_STAGE_H
#define BENCHMARK_STAGE_H

#include "benchmark/client.h"
#include "benchmark/process.h"
#include "benchmark/rows.h"

#define STAGE_PATH_BYTES 512

struct stage {
    struct bench *bench;
    enum column column;
    struct process process; /* pid 0: the other, without a pid */
    struct sockaddr_in address;
    const char *override; /* "KEY=VALUE" for a server of ours, or NULL */
    char data[STAGE_PATH_BYTES];
    char sync_log[STAGE_PATH_BYTES + 8];
    struct client client;
    bool is_open;
};

must_check int stage_begin(struct stage *s,
                           struct bench *b,
                           enum column column,
                           enum process_mode mode,
                           bool counts_syncs);
/* With one more setting for a server of ours. */
must_check int stage_begin_with(struct stage *s,
                                struct bench *b,
                                enum column column,
                                enum process_mode mode,
                                const char *override);
/* On what is there; descriptors 0: the soft limit as it is. */
must_check int stage_start_again(struct stage *s, enum process_mode mode, unsigned descriptors);
must_check int stage_connect(struct stage *s);
void stage_disconnect(struct stage *s);
/* Ends the server, returns `result`. The log of a failed run stays, to be read. */
must_check int stage_end(struct stage *s, int result);
must_check int stage_topic(struct stage *s, int32_t partitions, struct topic_id *ret);
void stage_note(struct stage *s, enum measure m, double value);

#endif
