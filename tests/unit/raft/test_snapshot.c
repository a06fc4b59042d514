/*
 * Snapshots: names, the bytes that Kafka 4.4.0 wrote (the bootstrap snapshot of
 * tests/golden/kafka-dir, written again here from its own content must be the same file), and every
 * single-byte damage of one, which must be noticed before a record is given out.
 */
#include "unit.h"

#include "base/err.h"
#include "raft/snapshot.h"
#include "simfs.h"

#define GOLDEN \
    GOLDEN_DIR "/kafka-dir/__cluster_metadata-0/00000000000000000000-0000000000.checkpoint"

struct got {
    struct view items[64];
    size_t count;
    struct arena arena;
};

static int collect(void *ctx, struct view value)
{
    struct got *g = ctx;
    assert_in_range(g->count, 0, ARRAY_LEN(g->items) - 1);
    uint8_t *copy = arena_alloc(&g->arena, value.len);
    memcpy(copy, value.ptr, value.len);
    g->items[g->count++] = (struct view){copy, value.len};
    return 0;
}

static void read_golden(char **bytes, size_t *len)
{
    struct fs fs;
    fs_init_system(&fs);
    assert_int_equal(fs_read_file(&fs, GOLDEN, 1 << 20, bytes, len), 0);
}

static struct simfs *disk_with(const char *path, const void *bytes, size_t len)
{
    struct simfs *s = simfs_new(NULL);
    assert_int_equal(fs_mkdir(simfs_fs(s), "d"), 0);
    assert_int_equal(fs_replace_file(simfs_fs(s), path, bytes, len), 0);
    return s;
}

#define BOOTSTRAP "d/00000000000000000000-0000000000.checkpoint"

static void writes_the_file_that_kafka_wrote(void **state unused_ok)
{
    char *bytes;
    size_t len;
    read_golden(&bytes, &len);
    struct simfs *s = disk_with(BOOTSTRAP, bytes, len);
    struct fs *fs = simfs_fs(s);
    struct snapshot_id id = {0};
    struct control_state cs = {0};
    struct got got = {0};
    assert_int_equal(snapshot_read(fs, "d", &id, &cs, collect, &got), 0);
    assert_int_equal(got.count, 6);
    assert_int_equal(cs.kraft_version, 1);
    assert_true(cs.has_voters);
    assert_int_equal(cs.voters.count, 1);
    assert_int_equal(cs.voters.items[0].id, 1);
    assert_int_equal(cs.voters.items[0].endpoints[0].port, 9193);
    assert_true(str_is(cs.voters.items[0].endpoints[0].listener, "CONTROLLER"));

    /* Kafka took the time of each of the three batches: so do we, batch by batch. */
    struct snapshot_writer sw;
    int64_t times[3] = {1795264099044, 1795264099066, 1795264099068};
    assert_int_equal(snapshot_writer_open(&sw, fs, "d", &id, 1795264099030, times[0], &cs.voters),
                     0);
    sw.now_ms = times[1];
    for (size_t i = 0; i < got.count; i++) {
        assert_int_equal(snapshot_writer_add(&sw, got.items[i]), 0);
    }
    sw.now_ms = times[2];
    assert_int_equal(snapshot_writer_close(&sw, SNAPSHOT_SYNCED, 0), 0);
    char *ours;
    size_t our_len;
    assert_int_equal(fs_read_file(fs, BOOTSTRAP, 1 << 20, &ours, &our_len), 0);
    assert_int_equal(our_len, len);
    assert_memory_equal(ours, bytes, len);
    mem_free(ours);
    mem_free(bytes);
    arena_release(&got.arena);
    voters_release(&cs.voters);
    simfs_free(s);
}

static void every_damaged_byte_is_noticed(void **state unused_ok)
{
    char *bytes;
    size_t len;
    read_golden(&bytes, &len);
    for (size_t i = 0; i < len + len; i++) {
        /* First each byte flipped, then each length. */
        size_t size = i < len ? len : i - len;
        if (i < len) {
            bytes[i] = (char)(bytes[i] ^ 0x40);
        }
        struct simfs *s = disk_with(BOOTSTRAP, bytes, size);
        if (i < len) {
            bytes[i] = (char)(bytes[i] ^ 0x40);
        }
        struct snapshot_id id = {0};
        struct control_state cs = {0};
        struct got got = {0};
        int r = snapshot_read(simfs_fs(s), "d", &id, &cs, collect, &got);
        if (r >= 0) {
            fail_msg("damage at %zu was not noticed", i);
        }
        assert_int_equal(got.count, 0);
        arena_release(&got.arena);
        voters_release(&cs.voters);
        simfs_free(s);
    }
    mem_free(bytes);
}

static void lists_in_order_and_removes_leftovers(void **state unused_ok)
{
    struct simfs *s = disk_with("d/00000000000000000042-0000000001.checkpoint", "x", 1);
    struct fs *fs = simfs_fs(s);
    static const char *const others[] = {
        "d/00000000000000000042-0000000003.checkpoint",
        "d/00000000000000000007-0000000001.checkpoint",
        "d/00000000000000000099-0000000001.checkpoint.part",
        "d/00000000000000000001-0000000001.checkpoint.deleted",
        "d/00000000000000000000.log",
        "d/0000000000000000000x-0000000001.checkpoint",
        "d/00000000000000000043-2147483647.checkpoint",
        "d/09223372036854775807-0000000001.checkpoint",
        "d/quorum-state",
    };
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        assert_int_equal(fs_replace_file(fs, others[i], "x", 1), 0);
    }
    struct snapshot_id *ids;
    size_t count;
    assert_int_equal(snapshot_list(fs, "d", &ids, &count), 0);
    assert_int_equal(count, 3);
    assert_int_equal(ids[0].end_offset, 7);
    assert_int_equal(ids[1].epoch, 1);
    assert_int_equal(ids[2].epoch, 3);
    mem_free(ids);
    struct fs_stat st;
    assert_int_equal(fs_stat(fs, others[2], &st), -ENOENT);
    assert_int_equal(fs_stat(fs, others[3], &st), -ENOENT);
    assert_int_equal(fs_stat(fs, others[4], &st), 0);
    simfs_free(s);
}

static int count_up(void *ctx, struct view v)
{
    uint32_t *next = ctx;
    assert_int_equal(load_be32(v.ptr), *next);
    assert_int_equal(v.len, 4 + *next % 200);
    (*next)++;
    return 0;
}

/* Many records make many batches; an aborted writer leaves nothing. */
static void large_snapshots_come_back_whole(void **state unused_ok)
{
    struct simfs *s = simfs_new(NULL);
    struct fs *fs = simfs_fs(s);
    struct snapshot_id id = {.end_offset = 50000, .epoch = 4};
    struct snapshot_writer sw;
    uint8_t value[300] = {0};
    assert_int_equal(fs_mkdir(fs, "d"), 0);
    assert_int_equal(snapshot_writer_open(&sw, fs, "d", &id, 1, 2, NULL), 0);
    for (uint32_t i = 0; i < 25000; i++) {
        store_be32(value, i);
        assert_int_equal(snapshot_writer_add(&sw, (struct view){value, 4 + i % 200}), 0);
    }
    assert_int_equal(snapshot_writer_close(&sw, SNAPSHOT_SYNCED, 0), 0);
    struct control_state cs = {0};
    uint32_t next = 0;
    assert_int_equal(snapshot_read(fs, "d", &id, &cs, count_up, &next), 0);
    assert_int_equal(next, 25000);
    assert_int_equal(cs.kraft_version, 0);
    assert_false(cs.has_voters);

    id.end_offset++;
    assert_int_equal(snapshot_writer_open(&sw, fs, "d", &id, 1, 2, NULL), 0);
    assert_int_equal(snapshot_writer_add(&sw, (struct view){value, 4}), 0);
    assert_int_equal(snapshot_writer_close(&sw, SNAPSHOT_SYNCED, -ENOSPC), -ENOSPC);
    struct snapshot_id *ids;
    size_t count;
    assert_int_equal(snapshot_list(fs, "d", &ids, &count), 0);
    assert_int_equal(count, 1);
    mem_free(ids);
    simfs_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_the_file_that_kafka_wrote),
        cmocka_unit_test(every_damaged_byte_is_noticed),
        cmocka_unit_test(lists_in_order_and_removes_leftovers),
        cmocka_unit_test(large_snapshots_come_back_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
