/*
 * The simulated disk itself: what must be stable is, what need not be is sometimes lost, in each of
 * the modes; faults; and the harness's own use: every step of fs_replace_file is cut in every mode,
 * and the file is the old or the new one, whole. The same enumeration over a replace that forgets a
 * sync must find a broken state: a disk that cannot convict would prove nothing.
 */
#include "base/base.h"

#include "base/fs.h"
#include "base/mem.h"
#include "simfs.h"
#include "unit.h"

static struct fs_file *make(struct simfs *s, const char *path, const char *text)
{
    struct fs_file *f;
    assert_int_equal(fs_open(simfs_fs(s), path, FS_WRITE | FS_CREATE, &f), 0);
    assert_int_equal(fs_pwrite(f, text, strlen(text), 0), 0);
    return f;
}

/* -1: absent; 0: other content; 1: this content. */
static int has(struct simfs *s, const char *path, const char *text)
{
    char *bytes;
    size_t len;
    if (fs_read_file(simfs_fs(s), path, 1 << 20, &bytes, &len) < 0) {
        return -1;
    }
    int is_same = len == strlen(text) && memcmp(bytes, text, len) == 0;
    mem_free(bytes);
    return is_same;
}

static void what_was_synced_survives_every_mode(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < SIMFS_MODES * 20; i++) {
        struct simfs *s = simfs_new(NULL);
        assert_int_equal(fs_mkdir(simfs_fs(s), "d"), 0);
        struct fs_file *f = make(s, "d/f", "stable");
        assert_int_equal(fs_datasync(f), 0);
        assert_int_equal(fs_sync_dir(simfs_fs(s), "d"), 0);
        assert_int_equal(fs_sync_dir(simfs_fs(s), "/"), 0);
        simfs_power_on(s, i, (enum simfs_mode)(i % SIMFS_MODES));
        char c;
        assert_int_equal(fs_pread(f, &c, 1, 0), -EIO); /* the old handle is dead */
        fs_file_unref(f);
        assert_int_equal(has(s, "d/f", "stable"), 1);
        simfs_free(s);
    }
}

static void a_synced_file_whose_directory_is_not_can_vanish(void **state)
{
    (void)state;
    struct simfs *s = simfs_new(NULL);
    struct fs_file *f = make(s, "f", "data");
    assert_int_equal(fs_fsync(f), 0);
    fs_file_unref(f);
    struct simfs *copy = simfs_clone(s);
    simfs_power_on(copy, 1, SIMFS_LOSE);
    assert_int_equal(has(copy, "f", "data"), -1);
    simfs_free(copy);
    copy = simfs_clone(s);
    simfs_power_on(copy, 1, SIMFS_KEEP);
    assert_int_equal(has(copy, "f", "data"), 1);
    simfs_free(copy);
    assert_int_equal(fs_sync_all(simfs_fs(s), "/"), 0);
    simfs_power_on(s, 1, SIMFS_LOSE);
    assert_int_equal(has(s, "f", "data"), 1);
    simfs_free(s);
}

static void unsynced_pages_are_lost_kept_and_torn_by_mode(void **state)
{
    (void)state;
    enum {
        PAGES = 8,
        BYTES = PAGES * 4096
    };
    uint8_t *old = mem_alloc(BYTES);
    uint8_t *new = mem_alloc(BYTES);
    uint8_t *got = mem_alloc(BYTES);
    memset(old, 'o', BYTES);
    memset(new, 'n', BYTES);
    bool has_seen_old = false;
    bool has_seen_new = false;
    bool has_seen_mixed = false;
    bool has_seen_torn = false;
    for (uint64_t i = 0; i < SIMFS_MODES * 30; i++) {
        enum simfs_mode mode = (enum simfs_mode)(i % SIMFS_MODES);
        struct simfs *s = simfs_new(NULL);
        struct fs_file *f;
        assert_int_equal(fs_open(simfs_fs(s), "f", FS_WRITE | FS_CREATE, &f), 0);
        assert_int_equal(fs_pwrite(f, old, BYTES, 0), 0);
        assert_int_equal(fs_sync_all(simfs_fs(s), "/"), 0);
        assert_int_equal(fs_pwrite(f, new, BYTES, 0), 0);
        fs_file_unref(f);
        simfs_power_on(s, i, mode);
        assert_int_equal(fs_open(simfs_fs(s), "f", FS_READ, &f), 0);
        assert_int_equal(fs_pread(f, got, BYTES, 0), BYTES);
        fs_file_unref(f);
        int new_pages = 0;
        for (size_t at = 0; at < BYTES; at += 512) {
            assert_true(memcmp(got + at, old, 512) == 0 || memcmp(got + at, new, 512) == 0);
            if (at % 4096 != 0 && got[at] != got[at - 1]) {
                assert_int_equal(mode, SIMFS_TORN);
                has_seen_torn = true;
            }
            new_pages += at % 4096 == 0 && got[at] == 'n';
        }
        has_seen_old = has_seen_old || new_pages == 0;
        has_seen_new = has_seen_new || new_pages == PAGES;
        has_seen_mixed = has_seen_mixed || (new_pages > 0 && new_pages < PAGES);
        if (mode == SIMFS_LOSE || mode == SIMFS_LOSE_DATA) {
            assert_memory_equal(got, old, BYTES);
        }
        if (mode == SIMFS_KEEP || mode == SIMFS_LOSE_NAMES) {
            assert_memory_equal(got, new, BYTES);
        }
        simfs_free(s);
    }
    assert_true(has_seen_old && has_seen_new && has_seen_mixed && has_seen_torn);
    mem_free(old);
    mem_free(new);
    mem_free(got);
}

static void an_unsynced_size_is_anything_between_and_new_bytes_are_data_or_zeros(void **state)
{
    (void)state;
    bool has_seen_between = false;
    bool has_seen_zeros = false;
    for (uint64_t i = 0; i < 200; i++) {
        struct simfs *s = simfs_new(NULL);
        struct fs_file *f = make(s, "f", "0123456789");
        assert_int_equal(fs_sync_all(simfs_fs(s), "/"), 0);
        char more[9000];
        memset(more, 'm', sizeof(more));
        assert_int_equal(fs_pwrite(f, more, sizeof(more), 10), 0);
        fs_file_unref(f);
        simfs_power_on(s, i, SIMFS_REORDER);
        char *bytes;
        size_t len;
        assert_int_equal(fs_read_file(simfs_fs(s), "f", 10000, &bytes, &len), 0);
        assert_true(len >= 10 && len <= 9010);
        assert_memory_equal(bytes, "0123456789", 10);
        has_seen_between = has_seen_between || (len > 10 && len < 9010);
        for (size_t k = 10; k < len; k++) {
            assert_true(bytes[k] == 'm' || bytes[k] == 0);
            has_seen_zeros = has_seen_zeros || bytes[k] == 0;
        }
        mem_free(bytes);
        simfs_free(s);
    }
    assert_true(has_seen_between && has_seen_zeros);
}

static void a_rename_is_never_both_and_never_none(void **state)
{
    (void)state;
    bool has_seen_old = false;
    bool has_seen_new = false;
    for (uint64_t i = 0; i < SIMFS_MODES * 30; i++) {
        struct simfs *s = simfs_new(NULL);
        struct fs *fs = simfs_fs(s);
        assert_int_equal(fs_mkdir(fs, "x"), 0);
        assert_int_equal(fs_mkdir(fs, "y"), 0);
        fs_file_unref(make(s, "x/a", "content"));
        assert_int_equal(fs_sync_all(fs, "/"), 0);
        assert_int_equal(fs_rename(fs, "x/a", "x/b"), 0);
        assert_int_equal(fs_rename(fs, "x/b", "y/c"), 0);
        simfs_power_on(s, i, (enum simfs_mode)(i % SIMFS_MODES));
        int a = has(s, "x/a", "content");
        int b = has(s, "x/b", "content");
        int c = has(s, "y/c", "content");
        assert_int_equal((a == 1) + (b == 1) + (c == 1), 1);
        assert_int_equal((a == -1) + (b == -1) + (c == -1), 2);
        has_seen_old = has_seen_old || a == 1;
        has_seen_new = has_seen_new || c == 1;
        simfs_free(s);
    }
    assert_true(has_seen_old && has_seen_new);
}

static void changes_of_one_directory_keep_their_order_in_prefix_mode(void **state)
{
    (void)state;
    bool has_seen[4] = {false};
    for (uint64_t i = 0; i < 100; i++) {
        struct simfs *s = simfs_new(NULL);
        fs_file_unref(make(s, "1", ""));
        fs_file_unref(make(s, "2", ""));
        fs_file_unref(make(s, "3", ""));
        simfs_power_on(s, i, SIMFS_PREFIX);
        struct fs_stat st;
        bool one = fs_stat(simfs_fs(s), "1", &st) == 0;
        bool two = fs_stat(simfs_fs(s), "2", &st) == 0;
        bool three = fs_stat(simfs_fs(s), "3", &st) == 0;
        assert_true((one || !two) && (two || !three));
        has_seen[one + two + three] = true;
        simfs_free(s);
    }
    assert_true(has_seen[0] && has_seen[1] && has_seen[2] && has_seen[3]);
}

static void a_crash_stops_everything_at_its_step(void **state)
{
    (void)state;
    struct simfs *s = simfs_new(NULL);
    struct fs *fs = simfs_fs(s);
    simfs_crash_at(s, 3);
    struct fs_file *f = make(s, "f", "a"); /* two steps: create, write */
    assert_int_equal(simfs_steps(s), 2);
    assert_int_equal(fs_pwrite(f, "b", 1, 0), -EIO);
    assert_true(simfs_is_off(s));
    struct fs_stat st;
    assert_int_equal(fs_stat(fs, "f", &st), -EIO);
    assert_int_equal(fs_mkdir(fs, "d"), -EIO);
    assert_int_equal(simfs_steps(s), 2);
    fs_file_unref(f);
    simfs_power_on(s, 1, SIMFS_KEEP);
    assert_int_equal(has(s, "f", "a"), 1);
    assert_int_equal(fs_mkdir(fs, "d"), 0);
    assert_int_equal(simfs_steps(s), 1);
    simfs_free(s);
}

static void kill_loses_nothing_and_makes_nothing_stable(void **state)
{
    (void)state;
    struct simfs *s = simfs_new(NULL);
    struct fs_file *held;
    assert_int_equal(fs_lock(simfs_fs(s), ".lock", &held), 0);
    fs_file_unref(make(s, "f", "a"));
    simfs_kill(s);
    assert_int_equal(has(s, "f", "a"), 1);
    struct fs_file *again;
    assert_int_equal(fs_lock(simfs_fs(s), ".lock", &again), 0);
    fs_file_unref(held);
    fs_file_unref(again);
    simfs_power_on(s, 1, SIMFS_LOSE);
    assert_int_equal(has(s, "f", "a"), -1);
    simfs_free(s);
}

static void faults_hit_the_calls_they_name(void **state)
{
    (void)state;
    struct simfs *s = simfs_new(NULL);
    struct fs *fs = simfs_fs(s);
    struct fs_file *f = make(s, "f", "........");
    simfs_fail(s, SIMFS_OP_PWRITEV, 2, 1, -EIO);
    assert_int_equal(fs_pwrite(f, "1", 1, 0), 0);
    assert_int_equal(fs_datasync(f), 0);
    assert_int_equal(fs_pwrite(f, "2222", 4, 4), -EIO);
    assert_int_equal(has(s, "f", "1...22.."), 1); /* half of it was written */
    assert_int_equal(fs_pwrite(f, "3", 1, 0), 0);
    struct fs_file *g;
    simfs_fail(s, SIMFS_OP_OPEN | SIMFS_OP_CREATE, 1, 0, -EMFILE);
    assert_int_equal(fs_open(fs, "f", FS_READ, &g), -EMFILE);
    assert_int_equal(fs_open(fs, "g", FS_WRITE | FS_CREATE, &g), -EMFILE);
    simfs_fail(s, 0, 0, 0, 0);
    assert_int_equal(fs_open(fs, "f", FS_READ, &g), 0);
    fs_file_unref(g);
    fs_file_unref(f);
    simfs_free(s);
}

static void a_failed_sync_drops_what_it_should_have_written(void **state)
{
    (void)state;
    struct simfs *s = simfs_new(NULL);
    simfs_set_fsyncgate(s, true);
    struct fs_file *f = make(s, "f", "old");
    assert_int_equal(fs_sync_all(simfs_fs(s), "/"), 0);
    assert_int_equal(fs_pwrite(f, "new", 3, 0), 0);
    simfs_fail(s, SIMFS_SYNCS, 1, 1, -EIO);
    assert_int_equal(fs_datasync(f), -EIO);
    assert_int_equal(fs_datasync(f), 0); /* and this one lies */
    assert_int_equal(has(s, "f", "new"), 1);
    fs_file_unref(f);
    simfs_power_on(s, 1, SIMFS_KEEP);
    assert_int_equal(has(s, "f", "old"), 1);
    simfs_free(s);
}

static void a_full_disk_refuses_and_takes_again_when_there_is_room(void **state)
{
    (void)state;
    struct simfs *s = simfs_new(NULL);
    struct fs *fs = simfs_fs(s);
    simfs_set_capacity(s, 4 * 4096);
    uint8_t bytes[3 * 4096];
    memset(bytes, 'x', sizeof(bytes));
    struct fs_file *f = make(s, "f", "1");
    assert_int_equal(fs_pwrite(f, bytes, sizeof(bytes), 0), 0);
    assert_int_equal(fs_pwrite(f, bytes, sizeof(bytes), sizeof(bytes)), -ENOSPC);
    int64_t size;
    assert_int_equal(fs_size(f, &size), 0);
    assert_int_equal(size, 4 * 4096);                 /* what fitted was written */
    assert_int_equal(fs_pwrite(f, "again", 5, 0), 0); /* in place */
    int64_t total;
    int64_t usable;
    assert_int_equal(fs_space(fs, "/", &total, &usable), 0);
    assert_int_equal(total, 4 * 4096);
    assert_int_equal(usable, 0);
    assert_int_equal(fs_truncate(f, 4096), 0);
    assert_int_equal(simfs_used(s), 4096);
    struct fs_file *g = make(s, "g", "");
    assert_int_equal(fs_allocate(g, 4 * 4096), -ENOSPC);
    assert_int_equal(fs_unlink(fs, "g"), 0);
    fs_file_unref(g); /* space returns with the last handle */
    assert_int_equal(simfs_used(s), 4096);
    assert_int_equal(fs_pwrite(f, bytes, sizeof(bytes), 4096), 0);
    fs_file_unref(f);
    simfs_free(s);
}

static void a_clone_lives_its_own_life(void **state)
{
    (void)state;
    struct simfs *s = simfs_new(NULL);
    struct fs_file *f = make(s, "f", "one");
    struct simfs *copy = simfs_clone(s);
    assert_int_equal(fs_pwrite(f, "two", 3, 0), 0);
    assert_int_equal(has(copy, "f", "one"), 1);
    assert_int_equal(fs_unlink(simfs_fs(copy), "f"), 0);
    assert_int_equal(has(s, "f", "two"), 1);
    assert_int_equal(has(copy, "f", "one"), -1);
    simfs_free(copy);
    assert_int_equal(simfs_corrupt(s, "f", 1, "W", 1), 0);
    assert_int_equal(has(s, "f", "tWo"), 1);
    fs_file_unref(f);
    simfs_free(s);
}

static int replace_without_sync(struct fs *fs, const char *bytes)
{
    struct fs_file *f;
    int err = fs_open(fs, "d/f.tmp", FS_WRITE | FS_CREATE | FS_TRUNCATE, &f);
    if (err < 0) {
        return err;
    }
    err = fs_pwrite(f, bytes, strlen(bytes), 0);
    fs_file_unref(f);
    if (err >= 0) {
        err = fs_rename(fs, "d/f.tmp", "d/f");
    }
    return err < 0 ? err : fs_sync_dir(fs, "d");
}

struct cuts {
    struct simfs *disks[32];
    size_t count;
};

static void keep_disk(void *ctx, struct simfs *s, uint64_t step, enum simfs_op op, const char *path)
{
    struct cuts *c = ctx;
    assert_int_equal(step, c->count + 1);
    assert_non_null(simfs_op_name(op));
    assert_non_null(path);
    assert_true(c->count < ARRAY_LEN(c->disks));
    c->disks[c->count++] = simfs_clone(s);
}

/* How many states of the crash are neither old nor new. */
static size_t broken_states(bool is_careful, size_t *ret_states)
{
    struct cuts c = {0};
    size_t broken = 0;
    struct simfs *base = simfs_new(NULL);
    assert_int_equal(fs_mkdir(simfs_fs(base), "d"), 0);
    assert_int_equal(fs_replace_file(simfs_fs(base), "d/f", "old", 3), 0);
    assert_int_equal(fs_sync_all(simfs_fs(base), "/"), 0);
    struct simfs *s = simfs_clone(base);
    simfs_on_step(s, keep_disk, &c);
    int err = is_careful ? fs_replace_file(simfs_fs(s), "d/f", "newer", 5)
                         : replace_without_sync(simfs_fs(s), "newer");
    assert_int_equal(err, 0);
    c.disks[c.count++] = simfs_clone(s);
    for (size_t i = 0; i < c.count; i++) {
        for (uint64_t seed = 0; seed < SIMFS_MODES * 10; seed++) {
            struct simfs *cut = simfs_clone(c.disks[i]);
            simfs_power_on(cut, seed, (enum simfs_mode)(seed % SIMFS_MODES));
            bool is_new = has(cut, "d/f", "newer") == 1;
            bool is_old = has(cut, "d/f", "old") == 1;
            broken += !is_new && !is_old;
            broken += i + 1 == c.count && !is_new; /* it was acknowledged */
            simfs_free(cut);
            (*ret_states)++;
        }
        simfs_free(c.disks[i]);
    }
    simfs_free(s);
    simfs_free(base);
    return broken;
}

static void replacing_a_file_is_atomic_and_the_disk_convicts_one_without_sync(void **state)
{
    (void)state;
    size_t states = 0;
    assert_int_equal(broken_states(true, &states), 0);
    assert_true(states >= 6 * SIMFS_MODES * 10);
    assert_true(broken_states(false, &states) > 0);
}

static void two_crashes_of_one_seed_are_the_same(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 50; seed++) {
        char *bytes[2];
        size_t len[2];
        for (int i = 0; i < 2; i++) {
            struct simfs *s = simfs_new(NULL);
            char text[9001];
            memset(text, 't', 9000);
            text[9000] = '\0';
            fs_file_unref(make(s, "f", text));
            assert_int_equal(fs_sync_dir(simfs_fs(s), "/"), 0);
            simfs_power_on(s, seed, SIMFS_TORN);
            assert_int_equal(fs_read_file(simfs_fs(s), "f", 10000, &bytes[i], &len[i]), 0);
            simfs_free(s);
        }
        assert_int_equal(len[0], len[1]);
        assert_memory_equal(bytes[0], bytes[1], len[0]);
        mem_free(bytes[0]);
        mem_free(bytes[1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_synced_survives_every_mode),
        cmocka_unit_test(a_synced_file_whose_directory_is_not_can_vanish),
        cmocka_unit_test(unsynced_pages_are_lost_kept_and_torn_by_mode),
        cmocka_unit_test(an_unsynced_size_is_anything_between_and_new_bytes_are_data_or_zeros),
        cmocka_unit_test(a_rename_is_never_both_and_never_none),
        cmocka_unit_test(changes_of_one_directory_keep_their_order_in_prefix_mode),
        cmocka_unit_test(a_crash_stops_everything_at_its_step),
        cmocka_unit_test(kill_loses_nothing_and_makes_nothing_stable),
        cmocka_unit_test(faults_hit_the_calls_they_name),
        cmocka_unit_test(a_failed_sync_drops_what_it_should_have_written),
        cmocka_unit_test(a_full_disk_refuses_and_takes_again_when_there_is_room),
        cmocka_unit_test(a_clone_lives_its_own_life),
        cmocka_unit_test(replacing_a_file_is_atomic_and_the_disk_convicts_one_without_sync),
        cmocka_unit_test(two_crashes_of_one_seed_are_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
