/*
 * The file calls, each test twice: on the machine's file system in a temporary directory and on the
 * simulated disk, which must answer alike. The lock is also tried from a child process.
 */
#include "base/base.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "simfs.h"
#include "unit.h"

struct place {
    struct fs system;
    struct fs *fs;
    struct simfs *disk;
    char root[64];
    char path[4][128];
};

static int set_up(void **state, bool is_simulated)
{
    struct place *p = mem_zalloc(sizeof(*p));
    if (is_simulated) {
        p->disk = simfs_new(NULL);
        p->fs = simfs_fs(p->disk);
        snprintf(p->root, sizeof(p->root), "/root");
        check(fs_mkdir(p->fs, p->root) == 0);
    } else {
        fs_init_system(&p->system);
        p->fs = &p->system;
        snprintf(p->root, sizeof(p->root), "/tmp/jackdaw-test-fs-XXXXXX");
        check(mkdtemp(p->root) != NULL);
    }
    for (size_t i = 0; i < ARRAY_LEN(p->path); i++) {
        snprintf(p->path[i], sizeof(p->path[i]), "%s/%c", p->root, (char)('a' + i));
    }
    *state = p;
    return 0;
}

static int set_up_system(void **state)
{
    return set_up(state, false);
}

static int set_up_simulated(void **state)
{
    return set_up(state, true);
}

static int tear_down(void **state)
{
    struct place *p = *state;
    struct fs_stat st;
    check(fs_remove_tree(p->fs, p->root) == 0);
    check(fs_stat(p->fs, p->root, &st) == -ENOENT);
    if (p->disk == NULL) {
        fs_release_system(&p->system);
    }
    simfs_free(p->disk);
    mem_free(p);
    return 0;
}

static void writes_are_read_back(void **state)
{
    struct place *p = *state;
    struct fs_file *f;
    assert_int_equal(fs_open(p->fs, p->path[0], FS_READ, &f), -ENOENT);
    assert_int_equal(fs_open(p->fs, p->path[0], FS_WRITE | FS_CREATE | FS_EXCLUSIVE, &f), 0);
    char one[] = "hello, ";
    char two[] = "world";
    struct iovec iov[] = {
        {.iov_base = one, .iov_len = 7},
        {.iov_base = NULL, .iov_len = 0},
        {.iov_base = two, .iov_len = 5},
    };
    assert_int_equal(fs_pwritev(f, iov, 3, 5000), 0);
    int64_t size;
    assert_int_equal(fs_size(f, &size), 0);
    assert_int_equal(size, 5012);
    char got[64] = "";
    assert_int_equal(fs_pread(f, got, sizeof(got), 5000), 12);
    assert_memory_equal(got, "hello, world", 12);
    assert_int_equal(fs_pread(f, got, 4, 100), 4);
    assert_memory_equal(got, "\0\0\0\0", 4);
    assert_int_equal(fs_pread(f, got, 4, 6000), 0);
    assert_int_equal(fs_truncate(f, 5003), 0);
    assert_int_equal(fs_truncate(f, 5005), 0);
    assert_int_equal(fs_pread(f, got, sizeof(got), 5000), 5);
    assert_memory_equal(got, "hel\0\0", 5);
    assert_int_equal(fs_datasync(f), 0);
    assert_int_equal(fs_fsync(f), 0);
    assert_true(fs_is_cached(f, 4900, 105));
    assert_true(fs_is_cached(f, 4900, 100000));
    fs_file_unref(f);
    assert_int_equal(fs_open(p->fs, p->path[0], FS_WRITE | FS_CREATE | FS_EXCLUSIVE, &f), -EEXIST);
    assert_int_equal(fs_open(p->fs, p->path[0], FS_READ, &f), 0);
    assert_true(fs_pwrite(f, "x", 1, 0) == -EBADF);
    fs_file_unref(f);
    assert_int_equal(fs_open(p->fs, p->path[0], FS_WRITE | FS_TRUNCATE, &f), 0);
    assert_int_equal(fs_size(f, &size), 0);
    assert_int_equal(size, 0);
    fs_file_unref(f);
}

static void many_pieces_are_one_write(void **state)
{
    struct place *p = *state;
    enum {
        PIECES = 2500
    };
    struct fs_file *f;
    uint8_t *bytes = mem_alloc(PIECES * 3);
    uint8_t *got = mem_alloc(PIECES * 3);
    struct iovec *iov = mem_array(PIECES, sizeof(*iov));
    for (size_t i = 0; i < PIECES; i++) {
        memset(bytes + 3 * i, (int)(i % 251), 3);
        iov[i] = (struct iovec){.iov_base = bytes + 3 * i, .iov_len = 3};
    }
    assert_int_equal(fs_open(p->fs, p->path[0], FS_WRITE | FS_CREATE, &f), 0);
    assert_int_equal(fs_pwritev(f, iov, PIECES, 10), 0);
    assert_int_equal(fs_pread(f, got, PIECES * 3, 10), PIECES * 3);
    assert_memory_equal(got, bytes, PIECES * 3);
    fs_file_unref(f);
    mem_free(bytes);
    mem_free(got);
    mem_free(iov);
}

static void allocated_space_reads_as_zeros(void **state)
{
    struct place *p = *state;
    struct fs_file *f;
    int64_t size;
    char got[8];
    assert_int_equal(fs_open(p->fs, p->path[0], FS_WRITE | FS_CREATE, &f), 0);
    assert_int_equal(fs_pwrite(f, "abc", 3, 0), 0);
    assert_int_equal(fs_allocate(f, 10000), 0);
    assert_int_equal(fs_size(f, &size), 0);
    assert_int_equal(size, 10000);
    assert_int_equal(fs_pread(f, got, 8, 0), 8);
    assert_memory_equal(got, "abc\0\0\0\0\0", 8);
    assert_int_equal(fs_pread(f, got, 8, 9998), 2);
    fs_file_unref(f);
}

static void count_names(void *ctx, const char *name)
{
    assert_true(strcmp(name, ".") != 0 && strcmp(name, "..") != 0);
    (*(int *)ctx)++;
}

static void names_come_and_go(void **state)
{
    struct place *p = *state;
    struct fs_stat st;
    struct fs_file *f;
    char inner[160];
    int count = 0;
    assert_int_equal(fs_mkdir(p->fs, p->path[0]), 0);
    assert_int_equal(fs_mkdir(p->fs, p->path[0]), -EEXIST);
    snprintf(inner, sizeof(inner), "%s/file", p->path[0]);
    assert_int_equal(fs_open(p->fs, inner, FS_WRITE | FS_CREATE, &f), 0);
    assert_int_equal(fs_pwrite(f, "12345", 5, 0), 0);
    assert_int_equal(fs_rmdir(p->fs, p->path[0]), -ENOTEMPTY);
    assert_int_equal(fs_unlink(p->fs, p->path[0]), -EISDIR);
    assert_int_equal(fs_rename(p->fs, p->path[0], p->path[1]), 0);
    assert_int_equal(fs_stat(p->fs, p->path[0], &st), -ENOENT);
    assert_int_equal(fs_stat(p->fs, p->path[1], &st), 0);
    assert_true(st.is_dir);
    snprintf(inner, sizeof(inner), "%s/file", p->path[1]);
    assert_int_equal(fs_set_mtime(p->fs, inner, 1234567890123), 0);
    assert_int_equal(fs_stat(p->fs, inner, &st), 0);
    assert_int_equal(st.size, 5);
    assert_int_equal(st.mtime_ms, 1234567890123);
    assert_false(st.is_dir);
    assert_int_equal(fs_list(p->fs, p->path[1], count_names, &count), 0);
    assert_int_equal(count, 1);
    assert_int_equal(fs_list(p->fs, p->path[2], count_names, &count), -ENOENT);
    assert_int_equal(fs_unlink(p->fs, inner), 0);
    assert_int_equal(fs_unlink(p->fs, inner), -ENOENT);
    char got[5];
    assert_int_equal(fs_pread(f, got, 5, 0), 5); /* open files outlive their names */
    fs_file_unref(f);
    assert_int_equal(fs_sync_dir(p->fs, p->root), 0);
    assert_int_equal(fs_sync_all(p->fs, p->root), 0);
    assert_int_equal(fs_sync_dir(p->fs, p->path[2]), -ENOENT);
    int64_t total = 0;
    int64_t usable = 0;
    assert_int_equal(fs_space(p->fs, p->root, &total, &usable), 0);
    assert_true(total > 0 && usable > 0 && usable <= total);
}

static void a_file_is_replaced_whole(void **state)
{
    struct place *p = *state;
    char *bytes;
    size_t len;
    assert_int_equal(fs_read_file(p->fs, p->path[0], 100, &bytes, &len), -ENOENT);
    assert_int_equal(fs_replace_file(p->fs, p->path[0], "first version", 13), 0);
    assert_int_equal(fs_replace_file(p->fs, p->path[0], "second", 6), 0);
    assert_int_equal(fs_read_file(p->fs, p->path[0], 100, &bytes, &len), 0);
    assert_int_equal(len, 6);
    assert_string_equal(bytes, "second");
    mem_free(bytes);
    assert_int_equal(fs_read_file(p->fs, p->path[0], 5, &bytes, &len), -EFBIG);
    assert_int_equal(fs_replace_file(p->fs, p->path[0], NULL, 0), 0);
    assert_int_equal(fs_read_file(p->fs, p->path[0], 5, &bytes, &len), 0);
    assert_int_equal(len, 0);
    mem_free(bytes);
    int count = 0;
    assert_int_equal(fs_list(p->fs, p->root, count_names, &count), 0);
    assert_int_equal(count, 1); /* no temporary file stays */
}

static void a_tree_is_removed_whole(void **state)
{
    struct place *p = *state;
    char path[200];
    struct fs_stat st;
    struct fs_file *f;
    assert_int_equal(fs_mkdir(p->fs, p->path[0]), 0);
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof(path), "%s/dir%d", p->path[0], i);
        assert_int_equal(fs_mkdir(p->fs, path), 0);
        snprintf(path, sizeof(path), "%s/dir%d/deep", p->path[0], i);
        assert_int_equal(fs_mkdir(p->fs, path), 0);
        snprintf(path, sizeof(path), "%s/dir%d/deep/file", p->path[0], i);
        assert_int_equal(fs_open(p->fs, path, FS_WRITE | FS_CREATE, &f), 0);
        fs_file_unref(f);
    }
    assert_int_equal(fs_remove_tree(p->fs, p->path[0]), 0);
    assert_int_equal(fs_stat(p->fs, p->path[0], &st), -ENOENT);
    assert_int_equal(fs_remove_tree(p->fs, p->path[0]), -ENOENT);
}

static void a_lock_has_one_holder(void **state)
{
    struct place *p = *state;
    struct fs_file *held;
    struct fs_file *other;
    assert_int_equal(fs_lock(p->fs, p->path[0], &held), 0);
    assert_int_equal(fs_lock(p->fs, p->path[0], &other), -EWOULDBLOCK);
    if (p->disk == NULL) {
        /* A process that locks as Java does is refused too. */
        pid_t child = fork();
        if (child == 0) {
            int fd = open(p->path[0], O_RDWR);
            struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
            _exit(fcntl(fd, F_SETLK, &whole) < 0 ? 7 : 0);
        }
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(WEXITSTATUS(status), 7);
    }
    fs_file_unref(held);
    assert_int_equal(fs_lock(p->fs, p->path[0], &other), 0);
    fs_file_unref(other);
}

#define ON_BOTH(test)                                                \
    cmocka_unit_test_setup_teardown(test, set_up_system, tear_down), \
        cmocka_unit_test_setup_teardown(test, set_up_simulated, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(writes_are_read_back),           ON_BOTH(many_pieces_are_one_write),
        ON_BOTH(allocated_space_reads_as_zeros), ON_BOTH(names_come_and_go),
        ON_BOTH(a_file_is_replaced_whole),       ON_BOTH(a_tree_is_removed_whole),
        ON_BOTH(a_lock_has_one_holder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
