/*
 * Opens the directory of a disk that came back after a crash, as a broker would, and compares it
 * with what had been promised at that moment. Prints what is wrong.
 */
#ifndef TESTS_CRASH_CRASH_CHECK_H
#define TESTS_CRASH_CRASH_CHECK_H

#include "crash_model.h"
#include "simfs.h"

struct crash_moment {
    uint64_t now;
    bool has_meta;
    struct model_promise promises[MODEL_LOGS];
    struct model_victim victim;
};

void crash_moment_take(const struct model *m, struct crash_moment *ret);

enum crash_check_depth {
    CHECK_CONTENT,   /* what is there is what was promised */
    CHECK_TWICE,     /* and recovering again changes nothing */
    CHECK_AND_GO_ON, /* and the logs take appends that survive the next cut; indexes agree with the
                        logs */
};

/* What the states were like: a harness that never sees a hole tests nothing about holes. */
struct crash_coverage {
    uint64_t clean; /* directories with the marker of a clean stop */
    uint64_t cut;   /* logs with a torn tail */
    uint64_t holes; /* logs with damage that was kept */
    uint64_t lost;  /* logs where something unacknowledged was lost */
};

/* True: all is well. `quiet` prints nothing (for mistakes that must be found). */
bool crash_check(struct simfs *disk,
                 const struct model *m,
                 const struct crash_moment *at,
                 enum crash_check_depth depth,
                 struct crash_coverage *coverage,
                 bool quiet);

#endif
