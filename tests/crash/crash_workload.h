/*
 * A run of a little broker on a simulated disk: four logs in one directory, batches of plain,
 * idempotent and transactional producers, rounds of the flusher, checkpoints, retention,
 * DeleteRecords, truncation, a fifth log that is deleted and made again, removal of what was
 * deleted when its delay is over, clean and unclean restarts. Deterministic by its seed: two runs
 * on two disks make the same calls, until one of them fails.
 */
#ifndef TESTS_CRASH_CRASH_WORKLOAD_H
#define TESTS_CRASH_CRASH_WORKLOAD_H

#include "crash_model.h"
#include "simclock.h"
#include "storage/log_dir.h"
#include "storage/plog.h"

#define WORKLOAD_DIR "data"

enum workload_mistake {
    MISTAKE_NONE,
    MISTAKE_EARLY_ACK, /* acknowledges what is written before the round that covers it has ended */
    MISTAKE_OLD_NAME,  /* removes a deleted directory by the name that another may have by now */
};

struct workload {
    struct fs *fs; /* borrowed */
    struct simclock *clock;
    struct model *model;
    uint64_t seed;
    int operations;
    bool is_wide; /* all logs are flushed together, so that a round syncs the file system */
    enum workload_mistake mistake;
    bool tolerates_errors; /* calls may fail: the run goes on as a broker would */
};

/* Names and configs, for whoever opens the logs again. */
struct str workload_topic(int log);
const struct plog_config *workload_config(int log);
struct uuid workload_topic_id(int log);

#define VICTIM_TOPIC "gone"
struct uuid workload_victim_id(int32_t life);
/* What a broker does at its start with directories of deleted partitions. */
must_check int workload_remove_deleted(struct fs *fs);

void workload_run(struct workload *w);

#endif
