/*
 * A node over a simulated disk: first start, restart, snapshots, damage, and power cuts at every
 * step.
 *
 * The directory of a first start is the bootstrap snapshot of tests/golden/kafka-dir, the clock
 * stands where Kafka's stood, so that the first batch must be the bytes that Kafka wrote. The
 * metadata log of that directory, written by Kafka, is opened too. The crash test runs one program
 * on a disk, keeps a clone of the disk before each step, cuts the power there in every mode, opens
 * the directory again and compares with what was acknowledged: what comes back is a prefix of what
 * was appended and holds at least what a flush had answered for.
 */
#include "unit.h"

#include "base/err.h"
#include "base/metrics.h"
#include "raft/raft_node.h"
#include "simclock.h"
#include "simfs.h"
#include "storage/fd_cache.h"
#include "storage/plog.h"

#define META_DIR  "d/__cluster_metadata-0"
#define GOLDEN    GOLDEN_DIR "/kafka-dir/__cluster_metadata-0/"
#define BOOTSTRAP "00000000000000000000-0000000000.checkpoint"
#define LOG       "00000000000000000000.log"

/* 2026-11-21: when Kafka appended the first batch of the golden log. */
#define GOLDEN_NOW 1795264100431

struct bed {
    struct simclock clock;
    struct simfs *disk;
    struct metrics metrics;
    struct plog_env env;
    struct raft_node_options options;
    char error[RAFT_NODE_ERROR_BYTES];
    struct raft_node *rn;
    /* what on_record saw */
    int64_t offsets[512];
    uint32_t numbers[512];
    size_t seen;
    int32_t last_epoch;
};

static int on_record(void *ctx, struct view value, int64_t offset, int32_t epoch)
{
    struct bed *b = ctx;
    assert_in_range(b->seen, 0, ARRAY_LEN(b->offsets) - 1);
    b->offsets[b->seen] = offset;
    b->numbers[b->seen] = value.len >= 4 ? load_be32(value.ptr) : 0;
    b->seen++;
    b->last_epoch = epoch;
    return 0;
}

static void bed_init(struct bed *b, struct simfs *disk)
{
    *b = (struct bed){.disk = disk};
    simclock_init(&b->clock, 1);
    simclock_set_now(&b->clock, GOLDEN_NOW);
    metrics_init(&b->metrics);
    b->env = (struct plog_env){
        .fs = simfs_fs(disk),
        .clock = &b->clock.clock,
        .fds = fd_cache_new(simfs_fs(disk), 16),
        .metrics = &b->metrics,
    };
    b->options = (struct raft_node_options){
        .env = &b->env,
        .dir = "d",
        .node_id = 1,
        .segment_bytes = 1 << 30,
        .segment_ms = 604800000,
        .snapshot_bytes = 20971520,
        .snapshot_interval_ms = 3600000,
        .retention_bytes = 104857600,
        .retention_ms = -1, /* files of a simulated disk have no age */
        .on_record = on_record,
        .ctx = b,
    };
    assert_int_equal(uuid_parse(STR("ggY3UIp8QReMmmPv21o3Yg"), &b->options.directory_id), 0);
}

static void bed_release(struct bed *b)
{
    IGNORE(raft_node_close(b->rn, false)); /* a test may have left it in any state */
    b->rn = NULL;
    fd_cache_free(b->env.fds);
    metrics_release(&b->metrics);
}

static void copy_in(struct simfs *disk, const char *name)
{
    struct fs fs;
    fs_init_system(&fs);
    char from[512];
    char to[512];
    char *bytes;
    size_t len;
    snprintf(from, sizeof(from), GOLDEN "%s", name);
    snprintf(to, sizeof(to), META_DIR "/%s", name);
    assert_int_equal(fs_read_file(&fs, from, 1 << 20, &bytes, &len), 0);
    assert_int_equal(fs_replace_file(simfs_fs(disk), to, bytes, len), 0);
    mem_free(bytes);
}

/* As `format` leaves it. */
static struct simfs *formatted_disk(void)
{
    struct simfs *disk = simfs_new(NULL);
    assert_int_equal(fs_mkdir(simfs_fs(disk), "d"), 0);
    assert_int_equal(fs_mkdir(simfs_fs(disk), META_DIR), 0);
    copy_in(disk, BOOTSTRAP);
    assert_int_equal(fs_sync_all(simfs_fs(disk), "d"), 0);
    return disk;
}

static struct simfs *golden_disk(void)
{
    static const char *const names[] = {
        LOG,
        "00000000000000000000.index",
        "00000000000000000000.timeindex",
        "leader-epoch-checkpoint",
        "partition.metadata",
        "quorum-state",
        "00000000000000000162.snapshot",
        "00000000000000000320.snapshot",
    };
    struct simfs *disk = formatted_disk();
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        copy_in(disk, names[i]);
    }
    assert_int_equal(fs_sync_all(simfs_fs(disk), "d"), 0);
    return disk;
}

static void must_open(struct bed *b)
{
    b->seen = 0;
    int r = raft_node_open(&b->options, b->error, &b->rn);
    if (r < 0) {
        fail_msg("open: %s", b->error);
    }
}

static void must_close(struct bed *b)
{
    assert_int_equal(raft_node_close(b->rn, true), 0);
    b->rn = NULL;
}

static int64_t append(struct bed *b, uint32_t first, uint32_t count)
{
    uint8_t bytes[16][4];
    struct view records[16];
    int64_t base;
    for (uint32_t i = 0; i < count; i++) {
        store_be32(bytes[i], first + i);
        records[i] = (struct view){bytes[i], 4};
    }
    assert_int_equal(raft_node_append(b->rn, records, count, &base), 0);
    return base;
}

static int64_t flush(struct bed *b)
{
    int64_t committed;
    assert_int_equal(raft_node_flush(b->rn, &committed), 0);
    return committed;
}

static void count_syncs(void *ctx,
                        struct simfs *s unused_ok,
                        uint64_t step unused_ok,
                        enum simfs_op op,
                        const char *path unused_ok)
{
    if ((op & SIMFS_SYNCS) != 0) {
        (*(int *)ctx)++;
    }
}

static void a_first_start_writes_what_kafka_wrote_with_one_sync(void **state unused_ok)
{
    struct simfs *disk = formatted_disk();
    struct bed b;
    int syncs = 0;
    bed_init(&b, disk);
    simfs_on_step(disk, count_syncs, &syncs);
    b.options.is_first_start = true;
    must_open(&b);
    const struct view *bootstrap;
    size_t count;
    raft_node_bootstrap(b.rn, &bootstrap, &count);
    assert_int_equal(count, 6);
    assert_int_equal(b.seen, 0);
    assert_int_equal(raft_node_lead(b.rn), 0);
    assert_int_equal(raft_node_epoch(b.rn), 1);
    assert_int_equal(raft_node_next_offset(b.rn), 3);
    assert_int_equal(append(&b, 1, 3), 3);
    assert_int_equal(flush(&b), 6);
    assert_int_equal(syncs, 1);
    append(&b, 4, 1);
    assert_int_equal(flush(&b), 7);
    assert_int_equal(syncs, 2);
    simfs_on_step(disk, NULL, NULL);

    struct fs fs;
    fs_init_system(&fs);
    char *ours;
    char *theirs;
    size_t len;
    assert_int_equal(fs_read_file(simfs_fs(disk), META_DIR "/" LOG, 1 << 20, &ours, &len), 0);
    assert_true(len > 174);
    assert_int_equal(fs_read_file(&fs, GOLDEN LOG, 1 << 20, &theirs, &len), 0);
    assert_memory_equal(ours, theirs, 174);
    mem_free(ours);
    mem_free(theirs);
    assert_int_equal(fs_read_file(simfs_fs(disk), META_DIR "/quorum-state", 4096, &ours, &len), 0);
    assert_string_equal(ours,
                        "{\"leaderId\":1,\"leaderEpoch\":1,\"votedId\":-1,"
                        "\"votedDirectoryId\":\"AAAAAAAAAAAAAAAAAAAAAA\",\"data_version\":1}");
    mem_free(ours);
    assert_int_equal(
        fs_read_file(simfs_fs(disk), META_DIR "/partition.metadata", 4096, &ours, &len), 0);
    assert_string_equal(ours, "version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAQ");
    mem_free(ours);
    must_close(&b);
    bed_release(&b);
    simfs_free(disk);
}

static void a_restart_gives_everything_back_and_a_new_epoch(void **state unused_ok)
{
    struct simfs *disk = formatted_disk();
    struct bed b;
    bed_init(&b, disk);
    must_open(&b);
    assert_int_equal(raft_node_lead(b.rn), 0);
    append(&b, 1, 5);
    append(&b, 6, 2);
    flush(&b);
    must_close(&b);
    must_open(&b);
    assert_int_equal(b.seen, 7);
    for (uint32_t i = 0; i < 7; i++) {
        assert_int_equal(b.offsets[i], 3 + i);
        assert_int_equal(b.numbers[i], 1 + i);
    }
    assert_int_equal(b.last_epoch, 1);
    assert_int_equal(raft_node_lead(b.rn), 0);
    assert_int_equal(raft_node_epoch(b.rn), 2);
    assert_int_equal(raft_node_next_offset(b.rn), 11); /* the leader change alone */
    struct raft_node_description d;
    assert_int_equal(flush(&b), 11);
    raft_node_describe(b.rn, &d);
    assert_int_equal(d.leader_id, 1);
    assert_int_equal(d.leader_epoch, 2);
    assert_int_equal(d.high_watermark, 11);
    assert_int_equal(d.log_end, 11);
    assert_int_equal(d.kraft_version, 1);
    assert_int_equal(d.voters->count, 1);
    must_close(&b);
    bed_release(&b);
    simfs_free(disk);
}

static void a_log_that_kafka_wrote_opens(void **state unused_ok)
{
    struct simfs *disk = golden_disk();
    struct bed b;
    bed_init(&b, disk);
    must_open(&b);
    /* 320 offsets, of which 4 are control records. */
    assert_int_equal(b.seen, 316);
    assert_int_equal(b.offsets[0], 3);
    assert_int_equal(b.offsets[315], 319);
    assert_int_equal(raft_node_lead(b.rn), 0);
    assert_int_equal(raft_node_epoch(b.rn), 3);
    assert_int_equal(append(&b, 1, 1), 321);
    assert_int_equal(flush(&b), 322);
    must_close(&b);
    must_open(&b);
    assert_int_equal(b.seen, 317);
    must_close(&b);
    bed_release(&b);
    simfs_free(disk);
}

/* --- snapshots --- */

struct content {
    uint32_t first;
    uint32_t count;
};

static int write_content(void *ctx, int (*each)(void *each_ctx, struct view value), void *each_ctx)
{
    const struct content *c = ctx;
    for (uint32_t i = 0; i < c->count; i++) {
        uint8_t bytes[4];
        store_be32(bytes, c->first + i);
        int r = each(each_ctx, (struct view){bytes, 4});
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

/* Offsets: 0-2 control, 3-7 records, then a snapshot of 8 (100, 101), 8-9 records, a snapshot of 10
 * (200), 10 a record. */
static struct simfs *disk_with_snapshots(struct bed *b)
{
    struct simfs *disk = formatted_disk();
    bed_init(b, disk);
    must_open(b);
    assert_int_equal(raft_node_lead(b->rn), 0);
    append(b, 1, 5);
    assert_int_equal(flush(b), 8);
    struct content first = {100, 2};
    assert_int_equal(raft_node_snapshot(b->rn, 7, 1, write_content, &first), 0);
    append(b, 6, 2);
    assert_int_equal(flush(b), 10);
    struct content second = {200, 1};
    assert_int_equal(raft_node_snapshot(b->rn, 9, 1, write_content, &second), 0);
    append(b, 8, 1);
    flush(b);
    must_close(b);
    return disk;
}

#define SNAPSHOT_8  META_DIR "/00000000000000000008-0000000001.checkpoint"
#define SNAPSHOT_10 META_DIR "/00000000000000000010-0000000001.checkpoint"

static void assert_seen(const struct bed *b, const uint32_t *numbers, size_t count)
{
    assert_int_equal(b->seen, count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(b->numbers[i], numbers[i]);
    }
}

static void the_newest_whole_snapshot_is_loaded(void **state unused_ok)
{
    struct bed b;
    struct simfs *disk = disk_with_snapshots(&b);
    must_open(&b);
    assert_seen(&b, (uint32_t[]){200, 8}, 2);
    assert_int_equal(b.offsets[0], 9);
    assert_int_equal(b.offsets[1], 10);
    struct raft_node_description d;
    raft_node_describe(b.rn, &d);
    assert_int_equal(d.voters->count, 1);
    must_close(&b);

    assert_int_equal(simfs_corrupt(disk, SNAPSHOT_10, 300, "\xff\xff", 2), 0);
    must_open(&b);
    assert_seen(&b, (uint32_t[]){100, 101, 6, 7, 8}, 5);
    must_close(&b);

    assert_int_equal(simfs_corrupt(disk, SNAPSHOT_8, 20, "\xff\xff", 2), 0);
    must_open(&b);
    assert_seen(&b, (uint32_t[]){1, 2, 3, 4, 5, 6, 7, 8}, 8);
    assert_int_equal(raft_node_lead(b.rn), 0);
    raft_node_describe(b.rn, &d);
    assert_int_equal(d.voters->count, 1);
    must_close(&b);
    bed_release(&b);
    simfs_free(disk);
}

static void a_log_shorter_than_its_snapshot_begins_anew(void **state unused_ok)
{
    struct bed b;
    struct simfs *disk = disk_with_snapshots(&b);
    struct fs *fs = simfs_fs(disk);
    struct fs_file *f;
    assert_int_equal(fs_open(fs, META_DIR "/" LOG, FS_WRITE, &f), 0);
    assert_int_equal(fs_truncate(f, 200), 0);
    fs_file_unref(f);
    must_open(&b);
    assert_seen(&b, (uint32_t[]){200}, 1);
    assert_int_equal(raft_node_next_offset(b.rn), 10);
    assert_int_equal(raft_node_lead(b.rn), 0);
    assert_int_equal(append(&b, 9, 1), 11);
    flush(&b);
    must_close(&b);
    must_open(&b);
    assert_seen(&b, (uint32_t[]){200, 9}, 2);
    must_close(&b);
    /* Now the snapshot is all there is of the beginning. */
    assert_int_equal(simfs_corrupt(disk, SNAPSHOT_10, 300, "\xff\xff", 2), 0);
    assert_int_equal(raft_node_open(&b.options, b.error, &b.rn), ERR_CORRUPT);
    assert_non_null(strstr(b.error, "begins at offset 10"));
    b.rn = NULL;
    bed_release(&b);
    simfs_free(disk);
}

static void snapshots_are_due_by_bytes_and_by_time(void **state unused_ok)
{
    struct simfs *disk = formatted_disk();
    struct bed b;
    bed_init(&b, disk);
    b.options.snapshot_bytes = 200;
    b.options.retention_bytes = 1500;
    must_open(&b);
    assert_false(raft_node_snapshot_is_due(b.rn));
    assert_int_equal(raft_node_lead(b.rn), 0);
    assert_false(raft_node_snapshot_is_due(b.rn));
    append(&b, 1, 1);
    assert_false(raft_node_snapshot_is_due(b.rn));
    simclock_advance(&b.clock, 3600000);
    assert_true(raft_node_snapshot_is_due(b.rn));
    struct content c = {1, 1};
    int64_t committed = flush(&b);
    assert_int_equal(raft_node_snapshot(b.rn, committed - 1, 1, write_content, &c), 0);
    assert_false(raft_node_snapshot_is_due(b.rn));
    simclock_advance(&b.clock, 7200000);
    assert_false(raft_node_snapshot_is_due(b.rn)); /* nothing new */
    /* Many more: the oldest go, the newest stay, and the directory opens. */
    for (uint32_t i = 0; i < 20; i++) {
        append(&b, 1, 4);
        append(&b, 1, 4);
        append(&b, 1, 4);
        append(&b, 1, 4);
        assert_true(raft_node_snapshot_is_due(b.rn));
        committed = flush(&b);
        c.count = i;
        assert_int_equal(raft_node_snapshot(b.rn, committed - 1, 1, write_content, &c), 0);
    }
    struct fs_stat st;
    assert_int_equal(fs_stat(simfs_fs(disk), META_DIR "/" BOOTSTRAP, &st), -ENOENT);
    must_close(&b);
    must_open(&b);
    assert_int_equal(b.seen, 19);
    must_close(&b);
    bed_release(&b);
    simfs_free(disk);
}

/* --- damage and refusals --- */

/* Four bytes of the log at this place. */
static void expect_damage(int64_t position, const char *bytes, const char *words)
{
    struct simfs *disk = golden_disk();
    struct bed b;
    bed_init(&b, disk);
    assert_int_equal(simfs_corrupt(disk, META_DIR "/" LOG, position, bytes, 4), 0);
    assert_true(raft_node_open(&b.options, b.error, &b.rn) < 0);
    assert_non_null(strstr(b.error, words));
    b.rn = NULL;
    bed_release(&b);
    simfs_free(disk);
}

static void damage_inside_the_log_is_an_error(void **state unused_ok)
{
    expect_damage(5000, "\xff\xff\xff\xff", "is damaged at offset");
}

/* The epoch of a batch is not under its CRC. */
static void an_epoch_that_no_other_can_follow_is_damage(void **state unused_ok)
{
    expect_damage(12, "\x7f\xff\xff\xff", "is damaged at offset 0:");
}

static void copy_file(struct simfs *disk, const char *from, const char *to)
{
    char *bytes;
    size_t len;
    assert_int_equal(fs_read_file(simfs_fs(disk), from, 1 << 20, &bytes, &len), 0);
    assert_int_equal(fs_replace_file(simfs_fs(disk), to, bytes, len), 0);
    mem_free(bytes);
}

/* A whole snapshot under the name of one that ends where no log can go on: the log does not begin
 * anew there. */
static void a_snapshot_of_an_impossible_place_is_not_loaded(void **state unused_ok)
{
    struct bed b;
    struct simfs *disk = disk_with_snapshots(&b);
    copy_file(disk, SNAPSHOT_10, META_DIR "/09223372036854775807-0000000001.checkpoint");
    must_open(&b);
    assert_seen(&b, (uint32_t[]){200, 8}, 2);
    assert_int_equal(raft_node_lead(b.rn), 0);
    assert_int_equal(append(&b, 9, 1), 12);
    assert_int_equal(flush(&b), 13);
    must_close(&b);
    bed_release(&b);
    simfs_free(disk);
}

static void a_lost_quorum_state_is_made_again(void **state unused_ok)
{
    /* The last: an epoch that no other can follow. */
    static const char *const contents[] = {
        NULL, "", "garbage", "{\"data_version\":9}",
        "{\"leaderId\":1,\"leaderEpoch\":2147483647,\"votedId\":-1,"
        "\"votedDirectoryId\":\"AAAAAAAAAAAAAAAAAAAAAA\",\"data_version\":1}"};
    for (size_t i = 0; i < ARRAY_LEN(contents); i++) {
        struct simfs *disk = golden_disk();
        struct bed b;
        bed_init(&b, disk);
        assert_int_equal(fs_unlink(simfs_fs(disk), META_DIR "/quorum-state"), 0);
        if (contents[i] != NULL) {
            assert_int_equal(fs_replace_file(simfs_fs(disk), META_DIR "/quorum-state", contents[i],
                                             strlen(contents[i])),
                             0);
        }
        must_open(&b);
        assert_int_equal(raft_node_lead(b.rn), 0);
        assert_int_equal(raft_node_epoch(b.rn), 3);
        must_close(&b);
        bed_release(&b);
        simfs_free(disk);
    }
}

/* The log says who the voters are, too. */
static void a_lost_bootstrap_snapshot_matters_only_before_the_first_start(void **state unused_ok)
{
    struct simfs *disk = golden_disk();
    struct bed b;
    bed_init(&b, disk);
    assert_int_equal(simfs_corrupt(disk, META_DIR "/" BOOTSTRAP, 30, "\xff", 1), 0);
    must_open(&b);
    assert_int_equal(raft_node_lead(b.rn), 0);
    must_close(&b);
    assert_int_equal(fs_unlink(simfs_fs(disk), META_DIR "/" BOOTSTRAP), 0);
    must_open(&b);
    must_close(&b);
    bed_release(&b);
    simfs_free(disk);

    disk = formatted_disk();
    bed_init(&b, disk);
    assert_int_equal(simfs_corrupt(disk, META_DIR "/" BOOTSTRAP, 30, "\xff", 1), 0);
    assert_true(raft_node_open(&b.options, b.error, &b.rn) < 0);
    assert_non_null(strstr(b.error, "format"));
    b.rn = NULL;
    bed_release(&b);
    simfs_free(disk);
}

/* Each single read of a start fails once: either that is told, or nothing is missing; and nobody
 * who has a log is told to format. Without the file's log another snapshot is enough, and with
 * nothing at all that is said. */
static void a_bootstrap_snapshot_that_cannot_be_read_is_passed_over(void **state unused_ok)
{
    struct bed b;
    struct simfs *disk = disk_with_snapshots(&b);
    int passed_over = 0;
    for (uint64_t nth = 1; nth <= 60; nth++) {
        simfs_fail(disk, SIMFS_OP_PREAD, nth, 1, -EIO);
        b.seen = 0;
        int r = raft_node_open(&b.options, b.error, &b.rn);
        simfs_fail(disk, 0, 0, 0, 0);
        if (r < 0) {
            assert_null(strstr(b.error, "format"));
            b.rn = NULL;
            continue;
        }
        assert_seen(&b, (uint32_t[]){200, 8}, 2);
        must_close(&b);
        passed_over++;
    }
    assert_true(passed_over > 0);
    assert_int_equal(fs_unlink(simfs_fs(disk), META_DIR "/" LOG), 0);
    assert_int_equal(simfs_corrupt(disk, META_DIR "/" BOOTSTRAP, 30, "\xff", 1), 0);
    must_open(&b);
    assert_seen(&b, (uint32_t[]){200}, 1);
    assert_int_equal(raft_node_lead(b.rn), 0);
    must_close(&b);
    bed_release(&b);
    simfs_free(disk);

    disk = formatted_disk();
    bed_init(&b, disk);
    simfs_fail(disk, SIMFS_OP_PREAD, 1, 0, -EIO);
    assert_true(raft_node_open(&b.options, b.error, &b.rn) < 0);
    assert_non_null(strstr(b.error, "the log is empty: make it readable"));
    b.rn = NULL;
    bed_release(&b);
    simfs_free(disk);
}

static void assert_refused(struct bed *b, const char *words)
{
    assert_true(raft_node_open(&b->options, b->error, &b->rn) < 0);
    b->rn = NULL;
    if (strstr(b->error, words) == NULL) {
        fail_msg("not in: %s", b->error);
    }
}

static void quorums_of_others_are_refused_with_a_sentence(void **state unused_ok)
{
    struct simfs *disk = formatted_disk();
    struct bed b;
    bed_init(&b, disk);
    b.options.node_id = 2;
    assert_refused(&b, "node 2");
    b.options.node_id = 1;
    b.options.directory_id.bytes[0] ^= 1;
    assert_refused(&b, "is not a voter of its quorum (1@127.0.0.1:9193)");
    bed_release(&b);

    /* No snapshot at all: static voters, or none. */
    assert_int_equal(fs_unlink(simfs_fs(disk), META_DIR "/" BOOTSTRAP), 0);
    bed_init(&b, disk);
    assert_refused(&b, "names no voters");
    b.options.static_voters = STR("1@a:1,2@b:2,3@c:3");
    assert_refused(&b, "a quorum of 3 voters (1@a:1, 2@b:2, 3@c:3)");
    b.options.static_voters = STR("2@b:2");
    assert_refused(&b, "is not a voter");
    b.options.static_voters = STR("nonsense");
    assert_refused(&b, "controller.quorum.voters");
    b.options.static_voters = STR("1@localhost:9093");
    must_open(&b);
    assert_int_equal(raft_node_lead(b.rn), 0);
    assert_int_equal(raft_node_next_offset(b.rn), 1); /* no voters in the log */
    flush(&b);
    must_close(&b);
    char *text;
    size_t len;
    assert_int_equal(fs_read_file(simfs_fs(disk), META_DIR "/quorum-state", 4096, &text, &len), 0);
    assert_non_null(strstr(text, "\"data_version\":0"));
    mem_free(text);
    bed_release(&b);
    simfs_free(disk);
}

static void appends_are_bounded(void **state unused_ok)
{
    struct simfs *disk = formatted_disk();
    struct bed b;
    bed_init(&b, disk);
    must_open(&b);
    assert_int_equal(raft_node_lead(b.rn), 0);
    struct view *many = mem_array(RAFT_NODE_RECORDS_MAX + 1, sizeof(*many));
    int64_t base;
    for (size_t i = 0; i <= RAFT_NODE_RECORDS_MAX; i++) {
        many[i] = (struct view){(const uint8_t *)"abcd", 4};
    }
    assert_int_equal(raft_node_append(b.rn, many, RAFT_NODE_RECORDS_MAX + 1, &base), ERR_TOO_LARGE);
    assert_int_equal(raft_node_append(b.rn, many, RAFT_NODE_RECORDS_MAX, &base), 0);
    assert_int_equal(base, 3);
    uint8_t *large = mem_zalloc(9 << 20);
    many[0] = (struct view){large, 9 << 20};
    assert_int_equal(raft_node_append(b.rn, many, 1, &base), ERR_TOO_LARGE);
    assert_int_equal(raft_node_next_offset(b.rn), 3 + RAFT_NODE_RECORDS_MAX);
    mem_free(large);
    mem_free(many);
    must_close(&b);
    bed_release(&b);
    simfs_free(disk);
}

/* --- power cuts --- */

struct crash {
    struct simfs *disk;
    uint32_t acknowledged; /* records that a flush has answered for, when this step began */
    uint32_t appended;
};

struct run {
    struct crash crashes[512];
    size_t count;
    uint32_t acknowledged;
    uint32_t appended;
};

static void keep_disk(void *ctx,
                      struct simfs *s,
                      uint64_t step unused_ok,
                      enum simfs_op op unused_ok,
                      const char *path unused_ok)
{
    struct run *run = ctx;
    assert_in_range(run->count, 0, ARRAY_LEN(run->crashes) - 1);
    run->crashes[run->count++] = (struct crash){simfs_clone(s), run->acknowledged, run->appended};
}

/* Small segments: the snapshots become the only home of the first records. */
static void make_small(struct bed *b, bool is_small)
{
    if (is_small) {
        b->options.segment_bytes = 250;
        b->options.retention_bytes = 0;
    }
}

static void program(struct simfs *disk, struct run *run, bool is_small)
{
    struct bed b;
    for (int start = 0; start < 3; start++) {
        bed_init(&b, disk);
        make_small(&b, is_small && start > 0);
        b.options.is_first_start = start == 0;
        must_open(&b);
        assert_int_equal(raft_node_lead(b.rn), 0);
        for (uint32_t i = 0; i < 3; i++) {
            run->appended += 2;
            append(&b, run->appended - 1, 2);
            if (i == 1) {
                run->appended++;
                append(&b, run->appended, 1);
            }
            int64_t committed = flush(&b);
            run->acknowledged = run->appended;
            if (i == 1) {
                struct content c = {1, run->appended};
                assert_int_equal(raft_node_snapshot(b.rn, committed - 1, raft_node_epoch(b.rn),
                                                    write_content, &c),
                                 0);
            }
        }
        if (start == 1) {
            must_close(&b);
        }
        bed_release(&b);
    }
}

static void cut_power_everywhere(bool is_small)
{
    static struct run run;
    run = (struct run){0};
    struct simfs *disk = formatted_disk();
    simfs_on_step(disk, keep_disk, &run);
    program(disk, &run, is_small);
    simfs_on_step(disk, NULL, NULL);
    assert_true(run.count > 30);
    for (size_t i = 0; i < run.count; i++) {
        const struct crash *c = &run.crashes[i];
        for (int mode = 0; mode < SIMFS_MODES; mode++) {
            struct simfs *copy = simfs_clone(c->disk);
            simfs_power_on(copy, i, (enum simfs_mode)mode);
            struct bed b;
            bed_init(&b, copy);
            make_small(&b, is_small);
            int r = raft_node_open(&b.options, b.error, &b.rn);
            if (r < 0) {
                fail_msg("step %zu mode %d: %s", i, mode, b.error);
            }
            /* All numbers from 1 on, none missing: snapshots hold the records themselves here. */
            for (size_t n = 0; n < b.seen; n++) {
                assert_int_equal(b.numbers[n], n + 1);
            }
            assert_in_range(b.seen, c->acknowledged, c->appended);
            assert_int_equal(raft_node_lead(b.rn), 0);
            append(&b, 77, 1);
            flush(&b);
            must_close(&b);
            bed_release(&b);
            simfs_free(copy);
        }
        simfs_free(c->disk);
    }
    simfs_free(disk);
}

static void no_power_cut_loses_what_was_acknowledged(void **state unused_ok)
{
    cut_power_everywhere(false);
}

static void nor_when_the_log_is_trimmed_behind_snapshots(void **state unused_ok)
{
    cut_power_everywhere(true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_first_start_writes_what_kafka_wrote_with_one_sync),
        cmocka_unit_test(a_restart_gives_everything_back_and_a_new_epoch),
        cmocka_unit_test(a_log_that_kafka_wrote_opens),
        cmocka_unit_test(the_newest_whole_snapshot_is_loaded),
        cmocka_unit_test(a_log_shorter_than_its_snapshot_begins_anew),
        cmocka_unit_test(snapshots_are_due_by_bytes_and_by_time),
        cmocka_unit_test(damage_inside_the_log_is_an_error),
        cmocka_unit_test(an_epoch_that_no_other_can_follow_is_damage),
        cmocka_unit_test(a_snapshot_of_an_impossible_place_is_not_loaded),
        cmocka_unit_test(a_lost_quorum_state_is_made_again),
        cmocka_unit_test(a_lost_bootstrap_snapshot_matters_only_before_the_first_start),
        cmocka_unit_test(a_bootstrap_snapshot_that_cannot_be_read_is_passed_over),
        cmocka_unit_test(quorums_of_others_are_refused_with_a_sentence),
        cmocka_unit_test(appends_are_bounded),
        cmocka_unit_test(no_power_cut_loses_what_was_acknowledged),
        cmocka_unit_test(nor_when_the_log_is_trimmed_behind_snapshots),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
