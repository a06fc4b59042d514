/* Aborted transactions of a segment. Method: entries in the file's own bytes, good and spoilt; what
 * is appended is read back, in one block and in several. */
#include "storage/txn_index.h"

#include "storage_world.h"

#define PATH "data/x.txnindex"

struct sum {
    int count;
    int stop_after;
    int64_t last;
};

static bool add_up(void *ctx, const struct txn_entry *entry)
{
    struct sum *s = ctx;
    s->count++;
    s->last = entry->last_offset;
    return s->count != s->stop_after;
}

static void entries_come_back_in_order(void **state)
{
    (void)state;
    struct world w;
    struct txn_index tx = {0};
    world_init(&w);
    for (int64_t i = 0; i < 300; i++) {
        struct txn_entry entry = {.producer_id = i,
                                  .first_offset = i * 10,
                                  .last_offset = i * 10 + 5,
                                  .last_stable_offset = i * 10};
        assert_int_equal(txn_index_append(&tx, w.env.fs, PATH, &entry), 0);
    }
    assert_int_equal(txn_index_load(&tx, w.env.fs, PATH, 0), 0);
    assert_int_equal(tx.count, 300);
    struct sum all = {0};
    assert_int_equal(txn_index_each(&tx, w.env.fs, PATH, add_up, &all), 0);
    assert_int_equal(all.count, 300);
    struct sum some = {.stop_after = 200};
    assert_int_equal(txn_index_each(&tx, w.env.fs, PATH, add_up, &some), 0);
    assert_int_equal(some.count, 200);
    assert_int_equal(some.last, 1995);
    assert_int_equal(txn_index_truncate_to(&tx, w.env.fs, PATH, 1995), 0);
    assert_int_equal(tx.count, 199);
    assert_int_equal(txn_index_truncate_to(&tx, w.env.fs, PATH, 0), 0);
    assert_false(has_file(&w, PATH));
    world_release(&w);
}

static void a_file_that_cannot_be_right_is_refused(void **state)
{
    (void)state;
    struct world w;
    struct txn_index tx = {0};
    size_t len;
    world_init(&w);
    for (int64_t i = 0; i < 2; i++) {
        struct txn_entry entry = {.producer_id = i,
                                  .first_offset = i * 10,
                                  .last_offset = i * 10 + 5,
                                  .last_stable_offset = 5};
        assert_int_equal(txn_index_append(&tx, w.env.fs, PATH, &entry), 0);
    }
    char *good = get_file(&w, PATH, &len);
    static const int spoilt[] = {0, 2, 10, 18, 26, 34, 36, 44, 52, 60}; /* sign bits and versions */
    for (size_t i = 0; i < ARRAY_LEN(spoilt); i++) {
        char bytes[2 * TXN_ENTRY_BYTES];
        memcpy(bytes, good, sizeof(bytes));
        bytes[spoilt[i]] = (char)0x80;
        put_file(&w, PATH, bytes, sizeof(bytes));
        assert_int_equal(txn_index_load(&tx, w.env.fs, PATH, 0), ERR_MALFORMED);
        assert_true(tx.is_bad);
        assert_int_equal(tx.count, 0);
    }
    put_file(&w, PATH, good, len - 1);
    assert_int_equal(txn_index_load(&tx, w.env.fs, PATH, 0), ERR_MALFORMED);
    put_file(&w, PATH, good, len);
    assert_int_equal(txn_index_load(&tx, w.env.fs, PATH, 6),
                     ERR_MALFORMED); /* a marker before the base */
    memset(good, 0, len);
    put_file(&w, PATH, good, TXN_ENTRY_BYTES); /* zeros: what a power cut leaves */
    assert_int_equal(txn_index_load(&tx, w.env.fs, PATH, 0), ERR_MALFORMED);
    mem_free(good);
    assert_int_equal(fs_unlink(w.env.fs, PATH), 0);
    assert_int_equal(txn_index_load(&tx, w.env.fs, PATH, 0), 0);
    assert_int_equal(tx.count, 0);
    world_release(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entries_come_back_in_order),
        cmocka_unit_test(a_file_that_cannot_be_right_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
