/*
 * Formatting on a simulated disk. The bootstrap snapshot is compared with the one that
 * `kafka-storage format
 * --standalone` of 4.4.0 wrote (tests/golden/kafka-dir), times, checksums and the directory id
 * masked. Power is cut before each step, in every mode: what is left is either to be formatted
 * again, or formatted and opens.
 */
#include "unit.h"

#include "base/err.h"
#include "base/metrics.h"
#include "meta/bootstrap.h"
#include "raft/format.h"
#include "raft/raft_node.h"
#include "simclock.h"
#include "simfs.h"
#include "storage/fd_cache.h"
#include "storage/log_dir.h"
#include "storage/plog.h"
#include "wire/batch.h"

#define NAME   "__cluster_metadata-0/00000000000000000000-0000000000.checkpoint"
#define GOLDEN GOLDEN_DIR "/kafka-dir/" NAME

struct bed {
    struct simclock clock;
    struct simfs *disk;
    struct arena arena;
    struct meta_records records;
    struct format_options options;
    struct format_result result;
    const char *dirs[2];
};

static void bed_init(struct bed *b)
{
    *b = (struct bed){.disk = simfs_new(NULL), .dirs = {"base/data", "base/more"}};
    simclock_init(&b->clock, 3);
    struct bootstrap_levels levels;
    bootstrap_levels_at(METADATA_VERSION_LATEST, &levels);
    meta_records_init(&b->records, &b->arena);
    assert_int_equal(bootstrap_features(&b->records, &levels), 0);
    b->options = (struct format_options){
        .dirs = b->dirs,
        .dirs_count = 1,
        .metadata_dir = "base/data",
        .cluster_id = STR("4L6g3nShT-eMCtK--X86sw"),
        .node_id = 1,
        .is_dynamic = true,
        .endpoint = {STR("CONTROLLER"), STR("127.0.0.1"), 9193},
        .records = b->records.items,
        .records_count = b->records.count,
    };
}

static void bed_release(struct bed *b)
{
    arena_release(&b->arena);
    simfs_free(b->disk);
}

static void format(struct bed *b)
{
    assert_int_equal(
        format_directories(simfs_fs(b->disk), &b->clock.clock, &b->options, &b->result), 0);
}

static enum format_state state_of(struct simfs *disk, const char *dir)
{
    enum format_state state;
    assert_int_equal(format_inspect(simfs_fs(disk), dir, &state), 0);
    return state;
}

/* Times, checksums and ids become zero. */
static void mask(uint8_t *bytes, size_t len)
{
    struct batch b;
    for (size_t at = 0; at < len; at += b.size) {
        assert_int_equal(batch_peek(bytes + at, len - at, &b), 0);
        assert_true(batch_crc_is_good(&b));
        memset(bytes + at + 17, 0, 4);
        memset(bytes + at + 27, 0, 16);
        if (at == 0) {
            /* After the batch header: SnapshotHeader's time; VotersRecord's directory id. */
            memset(bytes + 73, 0, 8);
            memset(bytes + 117, 0, 16);
        }
    }
}

static void leaves_what_kafka_leaves(void **state unused_ok)
{
    struct bed b;
    bed_init(&b);
    assert_int_equal(state_of(b.disk, "base/data"), FORMAT_EMPTY);
    format(&b);
    assert_int_equal(state_of(b.disk, "base/data"), FORMAT_FORMATTED);
    struct fs system;
    fs_init_system(&system);
    char *ours;
    char *theirs;
    size_t our_len;
    size_t their_len;
    assert_int_equal(fs_read_file(simfs_fs(b.disk), "base/data/" NAME, 1 << 20, &ours, &our_len),
                     0);
    assert_int_equal(fs_read_file(&system, GOLDEN, 1 << 20, &theirs, &their_len), 0);
    assert_int_equal(our_len, their_len);
    mask((uint8_t *)ours, our_len);
    mask((uint8_t *)theirs, their_len);
    assert_memory_equal(ours, theirs, our_len);
    mem_free(ours);
    mem_free(theirs);

    struct meta_properties mp;
    assert_int_equal(meta_properties_read(simfs_fs(b.disk), "base/data", &mp), 0);
    assert_string_equal(mp.cluster_id, "4L6g3nShT-eMCtK--X86sw");
    assert_int_equal(mp.node_id, 1);
    assert_true(uuid_equal(&mp.directory_id, &b.result.directory_ids[0]));
    bed_release(&b);
}

static int count_files(struct simfs *disk, const char *dir)
{
    struct fs_stat st;
    char path[256];
    int n = 0;
    static const char *const names[] = {"meta.properties", "__cluster_metadata-0",
                                        "bootstrap.checkpoint",
                                        "__cluster_metadata-0/quorum-state"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
        n += fs_stat(simfs_fs(disk), path, &st) == 0;
    }
    return n;
}

static void only_the_metadata_directory_gets_a_snapshot(void **state unused_ok)
{
    struct bed b;
    bed_init(&b);
    b.options.dirs_count = 2;
    b.options.metadata_dir = "base/more";
    format(&b);
    assert_int_equal(count_files(b.disk, "base/data"), 1);
    assert_int_equal(count_files(b.disk, "base/more"), 2);
    assert_false(uuid_equal(&b.result.directory_ids[0], &b.result.directory_ids[1]));
    bed_release(&b);
}

static void files_of_others_are_left_alone(void **state unused_ok)
{
    struct bed b;
    bed_init(&b);
    struct fs *fs = simfs_fs(b.disk);
    assert_int_equal(fs_mkdir(fs, "base"), 0);
    assert_int_equal(fs_mkdir(fs, "base/data"), 0);
    assert_int_equal(state_of(b.disk, "base/data"), FORMAT_EMPTY);
    assert_int_equal(fs_replace_file(fs, "base/data/.lock", "", 0), 0);
    assert_int_equal(state_of(b.disk, "base/data"), FORMAT_EMPTY);
    assert_int_equal(fs_mkdir(fs, "base/data/__cluster_metadata-0"), 0);
    assert_int_equal(state_of(b.disk, "base/data"), FORMAT_INTERRUPTED);
    assert_int_equal(fs_mkdir(fs, "base/data/topic-0"), 0);
    assert_int_equal(state_of(b.disk, "base/data"), FORMAT_FOREIGN);
    bed_release(&b);
}

/* --- power cuts --- */

struct crashes {
    struct simfs *disks[64];
    size_t count;
    int syncs;
};

static void keep_disk(void *ctx,
                      struct simfs *s,
                      uint64_t step unused_ok,
                      enum simfs_op op,
                      const char *path unused_ok)
{
    struct crashes *c = ctx;
    assert_in_range(c->count, 0, ARRAY_LEN(c->disks) - 1);
    c->disks[c->count++] = simfs_clone(s);
    c->syncs += (op & SIMFS_SYNCS) != 0;
}

static int ignore_record(void *ctx unused_ok,
                         struct view value unused_ok,
                         int64_t offset unused_ok,
                         int32_t epoch unused_ok)
{
    return 0;
}

/* A formatted directory opens, and its node leads. */
static void assert_opens(struct simfs *disk, struct clock *clock)
{
    struct meta_properties mp;
    struct metrics metrics;
    char error[RAFT_NODE_ERROR_BYTES];
    struct raft_node *rn;
    metrics_init(&metrics);
    struct plog_env env = {.fs = simfs_fs(disk),
                           .clock = clock,
                           .fds = fd_cache_new(simfs_fs(disk), 4),
                           .metrics = &metrics};
    assert_int_equal(meta_properties_read(simfs_fs(disk), "base/data", &mp), 0);
    struct raft_node_options o = {
        .env = &env,
        .dir = "base/data",
        .node_id = mp.node_id,
        .directory_id = mp.directory_id,
        .segment_bytes = 1 << 30,
        .segment_ms = 604800000,
        .snapshot_bytes = 20971520,
        .retention_bytes = -1,
        .retention_ms = -1,
        .on_record = ignore_record,
    };
    if (raft_node_open(&o, error, &rn) < 0) {
        fail_msg("%s", error);
    }
    assert_int_equal(raft_node_lead(rn), 0);
    assert_int_equal(raft_node_close(rn, true), 0);
    fd_cache_free(env.fds);
    metrics_release(&metrics);
}

static void an_interrupted_formatting_is_done_again(void **state unused_ok)
{
    static struct crashes crashes;
    struct bed b;
    bed_init(&b);
    crashes = (struct crashes){0};
    simfs_on_step(b.disk, keep_disk, &crashes);
    format(&b);
    simfs_on_step(b.disk, NULL, NULL);
    assert_in_range(crashes.syncs, 1, 3);
    assert_true(crashes.count > 8);
    size_t again = 0;
    for (size_t i = 0; i < crashes.count; i++) {
        for (int mode = 0; mode < SIMFS_MODES; mode++) {
            struct simfs *copy = simfs_clone(crashes.disks[i]);
            simfs_power_on(copy, i, (enum simfs_mode)mode);
            enum format_state left = state_of(copy, "base/data");
            assert_true(left != FORMAT_FOREIGN);
            if (left != FORMAT_FORMATTED) {
                struct format_result result;
                assert_int_equal(
                    format_directories(simfs_fs(copy), &b.clock.clock, &b.options, &result), 0);
                again++;
            }
            assert_opens(copy, &b.clock.clock);
            simfs_free(copy);
        }
        simfs_free(crashes.disks[i]);
    }
    assert_true(again > crashes.count);
    assert_opens(b.disk, &b.clock.clock);
    bed_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(leaves_what_kafka_leaves),
        cmocka_unit_test(only_the_metadata_directory_gets_a_snapshot),
        cmocka_unit_test(files_of_others_are_left_alone),
        cmocka_unit_test(an_interrupted_formatting_is_done_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
