/*
 * Syncs of whole file systems, where the kernel's answers are the test's (syncfs and ftruncate are
 * wrapped): what a disk that gives up makes of them cannot be had by calls.
 */
#include "base/base.h"

#include <fcntl.h>
#include <sched.h>
#include <stdatomic.h>
#include <unistd.h>

#include "base/fs_whole.h"
#include "base/sync.h"
#include "unit.h"

#define THREADS 4
#define ROUNDS  200

/* What the calls answer, and how often they were asked. */
static struct {
    int syncfs_errno;
    int ftruncate_errno;
    _Atomic int syncs;
    _Atomic int probes;
    _Atomic int under_way;
    int open_error;     /* of any descriptor */
    int nameless_error; /* of a file without a name */
    int opens;
    off_t size; /* of the last change */
} kernel;

int __wrap_syncfs(int fd);
int __wrap_ftruncate64(int fd, off_t size);

int __wrap_syncfs(int fd)
{
    (void)fd;
    check(atomic_fetch_add(&kernel.under_way, 1) == 0);
    atomic_fetch_add(&kernel.syncs, 1);
    sched_yield();
    atomic_fetch_sub(&kernel.under_way, 1);
    errno = kernel.syncfs_errno;
    return errno == 0 ? 0 : -1;
}

int __wrap_ftruncate64(int fd, off_t size)
{
    (void)fd;
    check(size != kernel.size); /* the same length again is no change */
    kernel.size = size;
    atomic_fetch_add(&kernel.probes, 1);
    errno = kernel.ftruncate_errno;
    return errno == 0 ? 0 : -1;
}

static int open_dir(struct fs *fs, const char *path, int flags)
{
    (void)fs;
    kernel.opens++;
    if (kernel.open_error < 0) {
        return kernel.open_error;
    }
    if (kernel.nameless_error < 0 && (flags & O_TMPFILE) == O_TMPFILE) {
        return kernel.nameless_error;
    }
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

static int set_up(void **state)
{
    memset(&kernel, 0, sizeof(kernel));
    *state = fs_whole_new(NULL, open_dir);
    return 0;
}

static int tear_down(void **state)
{
    fs_whole_free(*state);
    return 0;
}

static void one_that_has_given_up_is_noticed_behind_a_good_sync(void **state)
{
    assert_int_equal(fs_whole_sync(*state, "src"), 0);
    kernel.ftruncate_errno = EROFS;
    assert_int_equal(fs_whole_sync(*state, "src"), -EROFS);
    assert_int_equal(kernel.syncs, 2);
    assert_int_equal(kernel.probes, 1);
}

/* The first change is the file itself. */
static void one_that_has_given_up_before_is_noticed(void **state)
{
    kernel.nameless_error = -EROFS;
    assert_int_equal(fs_whole_sync(*state, "src"), -EROFS);
    kernel.nameless_error = 0;
    assert_int_equal(fs_whole_sync(*state, "src"), -EROFS);
    assert_int_equal(kernel.syncs, 1);
}

static void what_has_failed_once_fails_for_everybody(void **state)
{
    kernel.syncfs_errno = EIO;
    assert_int_equal(fs_whole_sync(*state, "src"), -EIO);
    kernel.syncfs_errno = 0;
    assert_int_equal(fs_whole_sync(*state, "src"), -EIO);
    assert_int_equal(fs_whole_sync(*state, "tests"), -EIO); /* another directory of it */
    assert_int_equal(kernel.syncs, 1);
    assert_int_equal(fs_whole_sync(*state, "/proc"), 0); /* another file system */
}

static void no_room_for_the_change_is_no_failure(void **state)
{
    kernel.nameless_error = -ENOSPC;
    assert_int_equal(fs_whole_sync(*state, "src"), 0);
    kernel.nameless_error = 0; /* it is asked for again */
    kernel.ftruncate_errno = ENOSPC;
    assert_int_equal(fs_whole_sync(*state, "src"), 0);
    assert_int_equal(fs_whole_sync(*state, "src"), 0);
    assert_int_equal(kernel.probes, 1);
    kernel.ftruncate_errno = EROFS;
    assert_int_equal(fs_whole_sync(*state, "src"), -EROFS);
}

static void without_nameless_files_there_is_no_change(void **state)
{
    kernel.nameless_error = -EOPNOTSUPP;
    kernel.ftruncate_errno = EIO;
    assert_int_equal(fs_whole_sync(*state, "src"), 0);
    assert_int_equal(fs_whole_sync(*state, "src"), 0);
    assert_int_equal(kernel.opens, 2);
    assert_int_equal(kernel.probes, 0);
}

static void descriptors_are_needed_once(void **state)
{
    kernel.open_error = -EMFILE;
    assert_int_equal(fs_whole_sync(*state, "src"), -EMFILE);
    assert_int_equal(kernel.syncs, 0);
    kernel.open_error = 0;
    assert_int_equal(fs_whole_sync(*state, "src"), 0);
    kernel.open_error = -EMFILE;
    int opens = kernel.opens;
    assert_int_equal(fs_whole_sync(*state, "tests"), 0);
    assert_int_equal(kernel.opens, opens);
}

static void sync_often(void *ctx)
{
    for (int i = 0; i < ROUNDS; i++) {
        check(fs_whole_sync(ctx, "src") == 0);
    }
}

static void they_follow_each_other(void **state)
{
    struct thread threads[THREADS] = {0};
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(thread_start(&threads[i], "sync", sync_often, *state), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        thread_join(&threads[i]);
    }
    assert_int_equal(kernel.syncs, THREADS * ROUNDS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define ROW(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        ROW(one_that_has_given_up_is_noticed_behind_a_good_sync),
        ROW(one_that_has_given_up_before_is_noticed),
        ROW(what_has_failed_once_fails_for_everybody),
        ROW(no_room_for_the_change_is_no_failure),
        ROW(without_nameless_files_there_is_no_change),
        ROW(descriptors_are_needed_once),
        ROW(they_follow_each_other),
#undef ROW
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
