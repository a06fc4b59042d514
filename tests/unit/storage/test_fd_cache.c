/* The bounded cache of open files. Method: more slots than the bound, used in a known order,
 * counted; one whose file is in use while it is pushed out. */
#include "storage/fd_cache.h"

#include <unistd.h>

#include "storage_world.h"

static void the_least_recently_used_file_is_closed_first(void **state)
{
    (void)state;
    struct world w;
    struct fd_slot slots[4] = {0};
    struct fs_file *f;
    struct fs_file *first;
    world_init(&w);
    struct fd_cache *fc = fd_cache_new(w.env.fs, 3);
    for (size_t i = 0; i < 3; i++) {
        char path[32];
        snprintf(path, sizeof(path), "data/%zu", i);
        assert_int_equal(fd_cache_get(fc, &slots[i], path, FS_WRITE | FS_CREATE, &f), 0);
        fs_file_unref(f);
    }
    assert_int_equal(fd_cache_count(fc), 3);
    first = fd_cache_try(fc, &slots[0]); /* 1 is now the oldest */
    assert_non_null(first);
    assert_int_equal(fd_cache_get(fc, &slots[3], "data/3", FS_WRITE | FS_CREATE, &f), 0);
    fs_file_unref(f);
    assert_int_equal(fd_cache_count(fc), 3);
    assert_null(fd_cache_try(fc, &slots[1]));
    assert_int_equal(fd_cache_get(fc, &slots[1], "data/1", FS_WRITE, &f), 0); /* pushes 2 out */
    fs_file_unref(f);
    assert_int_equal(fd_cache_get(fc, &slots[2], "data/2", FS_WRITE, &f),
                     0); /* and 0, which is in use */
    fs_file_unref(f);
    assert_null(fd_cache_try(fc, &slots[0]));
    assert_int_equal(fs_pwrite(first, "x", 1, 0), 0); /* its holder goes on */
    fs_file_unref(first);
    for (size_t i = 0; i < 4; i++) {
        fd_cache_drop(fc, &slots[i]);
        fd_cache_drop(fc, &slots[i]);
    }
    assert_int_equal(fd_cache_count(fc), 0);
    fd_cache_free(fc);
    world_release(&w);
}

static void without_descriptors_it_gives_up_its_own(void **state)
{
    (void)state;
    struct world w;
    struct fd_slot slots[3] = {0};
    struct fs_file *f;
    world_init(&w);
    struct fd_cache *fc = fd_cache_new(w.env.fs, 10);
    put_file(&w, "data/0", "0", 1);
    put_file(&w, "data/1", "1", 1);
    assert_int_equal(fd_cache_get(fc, &slots[0], "data/0", FS_READ, &f), 0);
    fs_file_unref(f);
    simfs_fail(w.disk, SIMFS_OP_OPEN, 1, 1, -EMFILE);
    assert_int_equal(fd_cache_get(fc, &slots[1], "data/1", FS_READ, &f), 0);
    fs_file_unref(f);
    assert_null(fd_cache_try(fc, &slots[0]));
    assert_int_equal(fd_cache_get(fc, &slots[2], "data/none", FS_READ, &f), -ENOENT);
    fd_cache_drop(fc, &slots[1]);
    fd_cache_free(fc);
    world_release(&w);
}

static void descriptors_are_given_to_who_needs_them(void **state)
{
    (void)state;
    struct world w;
    struct fd_slot slots[40] = {0};
    world_init(&w);
    struct fd_cache *fc = fd_cache_new(w.env.fs, 100);
    for (size_t i = 0; i < ARRAY_LEN(slots); i++) {
        char path[32];
        struct fs_file *f;
        snprintf(path, sizeof(path), "data/%zu", i);
        assert_int_equal(fd_cache_get(fc, &slots[i], path, FS_WRITE | FS_CREATE, &f), 0);
        fs_file_unref(f);
    }
    assert_true(fd_cache_make_room(fc, 10)); /* some at once */
    assert_in_range(fd_cache_count(fc), 11, 39);
    while (fd_cache_make_room(fc, 10)) {
    }
    assert_int_equal(fd_cache_count(fc), 10);
    for (size_t i = 0; i < ARRAY_LEN(slots); i++) { /* the last used stay */
        struct fs_file *f = fd_cache_try(fc, &slots[i]);
        assert_int_equal(f != NULL, i >= ARRAY_LEN(slots) - 10);
        fs_file_unref(f);
        fd_cache_drop(fc, &slots[i]);
    }
    fd_cache_free(fc);
    world_release(&w);
}

/* On the real system, for its numbers. */
static void the_last_descriptors_are_not_kept(void **state)
{
    (void)state;
    struct fs fs;
    struct fd_slot slots[20] = {0};
    size_t kept = 0;
    fs_init_system(&fs);
    int next = dup(0);
    assert_true(next >= 0);
    close(next);
    struct fd_cache *fc = fd_cache_new(&fs, 100);
    fd_cache_limit(fc, next + 5);
    for (size_t i = 0; i < ARRAY_LEN(slots); i++) {
        struct fs_file *f;
        assert_int_equal(fd_cache_get(fc, &slots[i], "/proc/self/exe", FS_READ, &f), 0);
        bool is_last = f->fd >= next + 5;
        fs_file_unref(f);
        assert_in_range(fd_cache_count(fc), min_size(i + 1, 4), 5);
        f = fd_cache_try(fc, &slots[i]);
        assert_int_equal(f == NULL, is_last);
        fs_file_unref(f);
        kept += !is_last;
    }
    assert_in_range(kept, 10, 13); /* one in two when all are taken */
    for (size_t i = 0; i < ARRAY_LEN(slots); i++) {
        fd_cache_drop(fc, &slots[i]);
    }
    fd_cache_free(fc);
    fs_release_system(&fs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_least_recently_used_file_is_closed_first),
        cmocka_unit_test(without_descriptors_it_gives_up_its_own),
        cmocka_unit_test(descriptors_are_given_to_who_needs_them),
        cmocka_unit_test(the_last_descriptors_are_not_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
