/*
 * Offset and time indexes. Method: indexes of many sizes (in memory, in the file, across blocks)
 * are asked for every key and compared with a linear search; Kafka's preallocated zeros and files
 * of odd sizes are counted.
 */
#include "storage/sparse_index.h"

#include "storage_world.h"

#define PATH "data/x.index"

static void fill(struct world *w, struct sparse_index *ix, int entries)
{
    sparse_index_init(ix, OFFSET_ENTRY_BYTES);
    assert_int_equal(sparse_index_load(ix, w->env.fs, PATH), -ENOENT);
    for (int i = 0; i < entries; i++) {
        struct offset_entry e = {.relative_offset = 10 + i * 3, .position = 100 + i * 50};
        if (sparse_index_add_offset(ix, e)) {
            assert_int_equal(sparse_index_flush(ix, w->env.fs, PATH), 0);
        }
    }
}

static void every_key_finds_its_entry(void **state)
{
    (void)state;
    static const int sizes[] = {0, 1, 63, 64, 65, 500, 504, 505, 510, 511, 2000, 2100};
    for (size_t s = 0; s < ARRAY_LEN(sizes); s++) {
        struct world w;
        struct sparse_index ix;
        struct offset_entry e;
        world_init(&w);
        fill(&w, &ix, sizes[s]);
        assert_int_equal(sparse_index_count(&ix), sizes[s]);
        for (int key = 0; key < 10 + sizes[s] * 3 + 5; key++) {
            int expected = key < 10 ? 0 : (int)min_i64((key - 10) / 3 + 1, sizes[s]);
            assert_int_equal(sparse_index_find_offset(&ix, w.env.fs, PATH, key, &e), expected);
            if (expected > 0) {
                assert_int_equal(e.relative_offset, 10 + (expected - 1) * 3);
                assert_int_equal(e.position, 100 + (expected - 1) * 50);
            }
        }
        for (int position = 90; position < 100 + sizes[s] * 50 + 60; position += 7) {
            int expected = position < 100 ? 0 : (int)min_i64((position - 100) / 50 + 1, sizes[s]);
            assert_int_equal(sparse_index_find_position(&ix, w.env.fs, PATH, position, &e),
                             expected);
        }
        sparse_index_release(&ix);
        world_release(&w);
    }
}

static void truncation_keeps_the_first_entries(void **state)
{
    (void)state;
    struct world w;
    struct sparse_index ix;
    struct offset_entry e;
    size_t len;
    world_init(&w);
    fill(&w, &ix, 200); /* 192 in the file, 8 in memory */
    assert_int_equal(sparse_index_truncate(&ix, w.env.fs, PATH, 195), 0);
    assert_int_equal(sparse_index_count(&ix), 195);
    assert_int_equal(sparse_index_truncate(&ix, w.env.fs, PATH, 100), 0);
    assert_int_equal(sparse_index_count(&ix), 100);
    assert_int_equal(sparse_index_find_offset(&ix, w.env.fs, PATH, 1000000, &e), 100);
    e = (struct offset_entry){.relative_offset = 5000, .position = 90000};
    IGNORE(sparse_index_add_offset(&ix, e));
    assert_int_equal(sparse_index_flush(&ix, w.env.fs, PATH), 0);
    assert_int_equal(sparse_index_trim(&ix, w.env.fs, PATH), 0);
    char *bytes = get_file(&w, PATH, &len);
    assert_int_equal(len, 101 * OFFSET_ENTRY_BYTES);
    assert_int_equal(load_be32(bytes + 800), 5000);
    assert_int_equal(load_be32(bytes + 804), 90000);
    mem_free(bytes);
    sparse_index_release(&ix);
    world_release(&w);
}

static void kafkas_preallocated_zeros_are_no_entries(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    static uint8_t bytes[100000];
    for (uint32_t n = 0; n < 300; n += 23) {
        struct sparse_index ix;
        memset(bytes, 0, sizeof(bytes));
        for (uint32_t i = 0; i < n; i++) {
            store_be64(bytes + (size_t)i * 12, 1000 + i);
            store_be32(bytes + (size_t)i * 12 + 8, i * 5);
        }
        put_file(&w, PATH, bytes, sizeof(bytes)); /* not even a multiple of the entry */
        sparse_index_init(&ix, TIME_ENTRY_BYTES);
        assert_int_equal(sparse_index_load(&ix, w.env.fs, PATH), 0);
        assert_int_equal(sparse_index_count(&ix), n);
        struct time_entry e;
        assert_int_equal(sparse_index_find_time(&ix, w.env.fs, PATH, 1100, &e), min_i64(n, 101));
        sparse_index_release(&ix);
    }
    world_release(&w);
}

static void an_index_that_cannot_be_written_keeps_its_entries(void **state)
{
    (void)state;
    struct world w;
    struct sparse_index ix;
    world_init(&w);
    fill(&w, &ix, 63);
    simfs_fail(w.disk, SIMFS_OP_PWRITEV, 1, 1, -ENOSPC);
    assert_int_equal(sparse_index_flush(&ix, w.env.fs, PATH), -ENOSPC);
    assert_int_equal(sparse_index_count(&ix), 63);
    assert_int_equal(sparse_index_flush(&ix, w.env.fs, PATH), 0);
    assert_int_equal(sparse_index_count(&ix), 63);
    sparse_index_release(&ix);
    world_release(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_key_finds_its_entry),
        cmocka_unit_test(truncation_keeps_the_first_entries),
        cmocka_unit_test(kafkas_preallocated_zeros_are_no_entries),
        cmocka_unit_test(an_index_that_cannot_be_written_keeps_its_entries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
