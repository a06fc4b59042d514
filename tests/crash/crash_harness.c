/*
 * The crash harness: does what was acknowledged survive a power cut at any moment?
 *
 * A workload runs once on a simulated disk. Before each call that changes the disk or makes a
 * change stable the disk is cloned, together with what has been promised so far. Afterwards the
 * power is cut in each clone, in seven ways (unsynced bytes and names lost, kept, kept in part,
 * reordered, torn; several seeds of each), the directory is opened as after a crash, and
 * crash_check compares. So each state is one (call, way, seed), and a failure is named by them.
 *
 * Beside that:
 *   - the power is cut again during some of the recoveries
 *   - the workload runs with each of its calls failing once with ENOSPC and once with EIO (lost
 * pages marked clean, as Linux does), then the power is cut
 *   - planted mistakes (faulty_fs.h, an early ack) must be found; a harness that does not find them
 * is broken
 *
 * crash_harness [states at least]    prints the number of states; status 1 when something is wrong
 */
#include "base/base.h"
#include "base/mem.h"
#include "crash_check.h"
#include "crash_model.h"
#include "crash_workload.h"
#include "faulty_fs.h"
#include "simfs.h"

enum {
    STATES_MIN = 20000,
    OPERATIONS = 120,
    SEEDS_OF_MIXED_MODES = 3,
    FAILURES_SHOWN = 5,
    NESTED_EACH = 499,
};

struct snapshot {
    struct simfs *disk; /* owned */
    struct crash_moment at;
    enum simfs_op op;
    char path[64];
};

struct recording {
    struct simclock clock; /* the clones keep a pointer to it */
    struct model *model;
    struct snapshot *snapshots; /* owned */
    size_t count;
    size_t cap;
};

struct tally {
    uint64_t states;
    uint64_t nested;
    uint64_t failures;
    struct crash_coverage coverage;
};

static const char *const mode_names[SIMFS_MODES] = {"lose",   "keep",    "lose-data", "lose-names",
                                                    "prefix", "reorder", "torn"};

static void record(void *ctx, struct simfs *s, uint64_t step, enum simfs_op op, const char *path)
{
    struct recording *rec = ctx;
    (void)step;
    rec->snapshots = mem_grow(rec->snapshots, &rec->cap, rec->count + 1, sizeof(rec->snapshots[0]));
    struct snapshot *sn = &rec->snapshots[rec->count++];
    *sn = (struct snapshot){.disk = simfs_clone(s), .op = op};
    snprintf(sn->path, sizeof(sn->path), "%s", path == NULL ? "" : path);
    crash_moment_take(rec->model, &sn->at);
}

static void recording_release(struct recording *rec)
{
    for (size_t i = 0; i < rec->count; i++) {
        simfs_free(rec->snapshots[i].disk);
    }
    mem_free(rec->snapshots);
    *rec = (struct recording){0};
}

/* --- crashes during recovery --------------------------------------------------------------------
 */

/* Recovers a copy of the disk, cutting the power before each of its own calls; then recovers again.
 */
static void
check_nested(struct simfs *source, struct model *m, const struct crash_moment *at, struct tally *t)
{
    struct recording rec = {.model = m};
    struct simfs *first = simfs_clone(source);
    simfs_on_step(first, record, &rec);
    bool is_good = crash_check(first, m, at, CHECK_CONTENT, &t->coverage, false);
    simfs_on_step(first, NULL, NULL);
    simfs_free(first);
    t->failures += is_good ? 0 : 1;
    for (size_t i = 0; i < rec.count; i++) {
        static const enum simfs_mode modes[] = {SIMFS_LOSE, SIMFS_REORDER, SIMFS_TORN};
        for (size_t k = 0; k < ARRAY_LEN(modes); k++) {
            struct simfs *second = simfs_clone(rec.snapshots[i].disk);
            simfs_power_on(second, i, modes[k]);
            t->states++;
            t->nested++;
            if (!crash_check(second, m, at, CHECK_CONTENT, &t->coverage, false)) {
                t->failures++;
                printf("  after a crash in recovery before call %zu (%s %s), mode %s\n", i + 1,
                       simfs_op_name(rec.snapshots[i].op), rec.snapshots[i].path,
                       mode_names[modes[k]]);
            }
            simfs_free(second);
        }
    }
    recording_release(&rec);
}

/* --- all states of one recording -----------------------------------------------------------------
 */

static enum crash_check_depth depth_of(uint64_t state)
{
    return state % 16 == 0 ? CHECK_AND_GO_ON : state % 4 == 0 ? CHECK_TWICE : CHECK_CONTENT;
}

static bool check_state(struct recording *rec,
                        size_t i,
                        enum simfs_mode mode,
                        uint64_t seed,
                        struct tally *t,
                        bool quiet)
{
    struct snapshot *sn = &rec->snapshots[i];
    struct simfs *disk = simfs_clone(sn->disk);
    simfs_power_on(disk, seed, mode);
    t->states++;
    if (!quiet && t->states % NESTED_EACH == 0) {
        check_nested(disk, rec->model, &sn->at, t);
    }
    bool is_good = crash_check(disk, rec->model, &sn->at, depth_of(t->states), &t->coverage, quiet);
    if (!is_good) {
        t->failures++;
        if (!quiet) {
            printf("  at call %zu (%s %s), mode %s, seed %" PRIu64 "\n", i + 1,
                   simfs_op_name(sn->op), sn->path, mode_names[mode], seed);
        }
    }
    simfs_free(disk);
    return is_good;
}

static void check_recording(struct recording *rec, struct tally *t, bool quiet, bool stops_at_first)
{
    for (size_t i = 0; i < rec->count && t->failures < FAILURES_SHOWN; i++) {
        for (int mode = 0; mode < SIMFS_MODES; mode++) {
            int seeds = mode >= SIMFS_PREFIX ? SEEDS_OF_MIXED_MODES : 1;
            for (int seed = 0; seed < seeds; seed++) {
                uint64_t s = i * 31 + (uint64_t)seed;
                if (!check_state(rec, i, (enum simfs_mode)mode, s, t, quiet) && stops_at_first) {
                    return;
                }
            }
        }
    }
}

/* --- runs ----------------------------------------------------------------------------------------
 */

struct run_options {
    uint64_t seed;
    bool is_wide;
    enum faulty_mistake faulty;
    enum workload_mistake mistake;
};

static void run_recorded(const struct run_options *how, struct model *m, struct recording *rec)
{
    *rec = (struct recording){.model = m};
    simclock_init(&rec->clock, how->seed);
    struct simfs *disk = simfs_new(&rec->clock.clock);
    struct faulty_fs faulty;
    faulty_fs_init(&faulty, simfs_fs(disk), how->faulty);
    model_init(m);
    simfs_on_step(disk, record, rec);
    struct workload w = {
        .fs = how->faulty == FAULTY_NONE ? simfs_fs(disk) : &faulty.fs,
        .clock = &rec->clock,
        .model = m,
        .seed = how->seed,
        .operations = OPERATIONS,
        .is_wide = how->is_wide,
        .mistake = how->mistake,
        .tolerates_errors = how->mistake == MISTAKE_OLD_NAME, /* files go under its hands */
    };
    workload_run(&w);
    record(rec, disk, 0, SIMFS_OP_SYNC_ALL, "the end");
    simfs_on_step(disk, NULL, NULL);
    simfs_free(disk);
}

static void run_crashes(uint64_t seed, bool is_wide, struct tally *t)
{
    struct run_options how = {.seed = seed, .is_wide = is_wide};
    struct model m;
    struct recording rec;
    run_recorded(&how, &m, &rec);
    uint64_t failures = t->failures;
    check_recording(&rec, t, false, false);
    if (t->failures > failures) {
        printf("workload seed %" PRIu64 "%s: %" PRIu64 " states wrong\n", seed,
               is_wide ? " (wide)" : "", t->failures - failures);
    }
    recording_release(&rec);
    model_release(&m);
}

/* --- failing calls -------------------------------------------------------------------------------
 */

/* Runs with the nth call failing; false when the run made fewer calls. */
static bool run_failing(uint64_t seed, uint64_t n, int err, struct tally *t)
{
    struct simclock clock;
    struct model m;
    simclock_init(&clock, seed);
    struct simfs *disk = simfs_new(&clock.clock);
    model_init(&m);
    unsigned ops = err == -ENOSPC
                       ? SIMFS_OP_CREATE | SIMFS_OP_PWRITEV | SIMFS_OP_ALLOCATE | SIMFS_OP_MKDIR
                       : SIMFS_OP_CREATE | SIMFS_OP_PWRITEV | SIMFS_OP_TRUNCATE | SIMFS_OP_RENAME |
                             SIMFS_OP_UNLINK | SIMFS_OP_MKDIR | SIMFS_SYNCS;
    simfs_set_fsyncgate(disk, true);
    simfs_fail(disk, ops, n, 1, err);
    struct workload w = {
        .fs = simfs_fs(disk),
        .clock = &clock,
        .model = &m,
        .seed = seed,
        .operations = OPERATIONS / 2,
        .tolerates_errors = true,
    };
    workload_run(&w);
    bool has_more = n <= simfs_steps(disk);
    struct recording rec = {.model = &m};
    record(&rec, disk, 0, SIMFS_OP_SYNC_ALL, "the end of a run with a failure");
    static const enum simfs_mode modes[] = {SIMFS_LOSE, SIMFS_KEEP, SIMFS_REORDER};
    for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
        if (!check_state(&rec, 0, modes[i], n, t, false)) {
            printf("  when call %" PRIu64 " of workload %" PRIu64 " failed with %d\n", n, seed,
                   err);
        }
    }
    recording_release(&rec);
    simfs_free(disk);
    model_release(&m);
    return has_more;
}

static void run_failures(uint64_t seed, struct tally *t)
{
    static const int errors[] = {-ENOSPC, -EIO};
    for (size_t i = 0; i < ARRAY_LEN(errors); i++) {
        for (uint64_t n = 1; t->failures < FAILURES_SHOWN; n++) {
            if (!run_failing(seed, n, errors[i], t)) {
                break;
            }
        }
    }
}

/* --- planted mistakes ----------------------------------------------------------------------------
 */

static bool
find_mistake(const char *name, enum faulty_mistake faulty, enum workload_mistake mistake)
{
    struct tally t = {0};
    for (uint64_t seed = 1; seed <= 4 && t.failures == 0; seed++) {
        struct run_options how = {.seed = seed, .faulty = faulty, .mistake = mistake};
        struct model m;
        struct recording rec;
        how.is_wide = faulty == FAULTY_NO_WHOLE_SYNC;
        run_recorded(&how, &m, &rec);
        check_recording(&rec, &t, true, true);
        recording_release(&rec);
        model_release(&m);
    }
    printf("planted: %s: %s after %" PRIu64 " states\n", name,
           t.failures > 0 ? "found" : "NOT FOUND", t.states);
    return t.failures > 0;
}

int main(int argc, char **argv)
{
    struct tally t = {0};
    uint64_t wanted = argc > 1 ? strtoull(argv[1], NULL, 10) : STATES_MIN;
    setvbuf(stdout, NULL, _IOLBF, 0);
    bool is_good =
        find_mistake("a log's directory is not synced", FAULTY_NO_DIR_SYNC, MISTAKE_NONE);
    is_good = find_mistake("the old segment is not synced when the log rolls",
                           FAULTY_NO_OLD_SEGMENT, MISTAKE_NONE) &&
              is_good;
    is_good = find_mistake("an ack before its round has ended", FAULTY_NONE, MISTAKE_EARLY_ACK) &&
              is_good;
    is_good = find_mistake("the file system is not synced", FAULTY_NO_WHOLE_SYNC, MISTAKE_NONE) &&
              is_good;
    is_good =
        find_mistake("a file is renamed unsynced", FAULTY_NO_FILE_SYNC, MISTAKE_NONE) && is_good;
    is_good =
        find_mistake("a deleted log is removed by its old name", FAULTY_NONE, MISTAKE_OLD_NAME) &&
        is_good;
    run_failures(100, &t);
    for (uint64_t seed = 1; t.states < wanted && t.failures < FAILURES_SHOWN; seed++) {
        run_crashes(seed, seed % 3 == 0, &t);
    }
    printf("%" PRIu64 " states, %" PRIu64 " of them during a recovery, %" PRIu64 " wrong\n",
           t.states, t.nested, t.failures);
    printf("among them: %" PRIu64 " clean stops, %" PRIu64 " logs with a torn tail, %" PRIu64
           " with a hole, %" PRIu64 " with a loss that nobody was promised\n",
           t.coverage.clean, t.coverage.cut, t.coverage.holes, t.coverage.lost);
    bool has_seen_all = t.coverage.clean > 0 && t.coverage.cut > 0 && t.coverage.holes > 0;
    return is_good && has_seen_all && t.failures == 0 ? 0 : 1;
}
