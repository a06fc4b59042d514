/*
 * CRC-32C, blobs and ropes. The checksum is compared with the published vectors of RFC 3720 and, at
 * every length and alignment around the stripe sizes, with the table version; a rope is compared
 * with a plain array that had the same bytes added and consumed, over seeded random operations.
 */
#include "base/base.h"

#include "base/bytes.h"
#include "base/fs.h"
#include "base/mem.h"
#include "simclock.h"
#include "simfs.h"
#include "unit.h"

static void crc32c_matches_the_published_vectors(void **state)
{
    (void)state;
    uint8_t bytes[32];
    assert_int_equal(crc32c(0, "", 0), 0);
    assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283);
    memset(bytes, 0, sizeof(bytes));
    assert_int_equal(crc32c(0, bytes, sizeof(bytes)), 0x8a9136aa);
    memset(bytes, 0xff, sizeof(bytes));
    assert_int_equal(crc32c(0, bytes, sizeof(bytes)), 0x62a8ab43);
    for (uint8_t i = 0; i < 32; i++) {
        bytes[i] = i;
    }
    assert_int_equal(crc32c(0, bytes, sizeof(bytes)), 0x46dd794e);
}

static void crc32c_by_instruction_and_by_table_agree(void **state)
{
    (void)state;
    enum {
        MAX = 16384
    };
    uint8_t *bytes = mem_alloc(MAX + 16);
    uint64_t random = 1;
    for (size_t i = 0; i < MAX + 16; i++) {
        bytes[i] = (uint8_t)sim_random(&random);
    }
    for (size_t len = 0; len < MAX; len += len < 600 ? 1 : 61) {
        const uint8_t *at = bytes + len % 16;
        uint32_t start = (uint32_t)len * 77;
        assert_int_equal(crc32c(start, at, len), crc32c_portable(start, at, len));
    }
    for (size_t cut = 0; cut < 5000; cut += 191) {
        assert_int_equal(crc32c(crc32c(0, bytes, cut), bytes + cut, 5000 - cut),
                         crc32c_portable(0, bytes, 5000));
    }
    mem_free(bytes);
}

static void count_free(struct blob *b, void *ctx)
{
    int *count = ctx;
    (*count)++;
    mem_free(b);
}

static void a_blob_ends_at_its_last_reference(void **state)
{
    (void)state;
    int freed = 0;
    struct blob *b = blob_new(100);
    b->on_free = count_free;
    b->ctx = &freed;
    assert_false(blob_is_shared(b));
    blob_ref(b);
    assert_true(blob_is_shared(b));
    assert_null(blob_unref(b));
    assert_int_equal(freed, 0);
    blob_unref(b);
    assert_int_equal(freed, 1);
    assert_null(blob_unref(NULL));
    assert_null(blob_try_new(SIZE_MAX - 8));
}

static void adjacent_memory_of_one_blob_is_one_run(void **state)
{
    (void)state;
    struct blob *b = blob_new(64);
    struct rope r = {0};
    rope_add_memory(&r, b->data, 10, b);
    rope_add_memory(&r, b->data + 10, 20, b);
    rope_add_memory(&r, b->data + 31, 3, b);
    rope_add_memory(&r, b->data, 0, b);
    assert_int_equal(r.count, 2);
    assert_int_equal(r.bytes, 33);
    assert_int_equal(atomic_load(&b->refs), 3);
    rope_release(&r);
    assert_int_equal(atomic_load(&b->refs), 1);
    blob_unref(b);
}

static void file_runs_keep_the_file_open_and_move_on(void **state)
{
    (void)state;
    struct simfs *disk = simfs_new(NULL);
    struct fs_file *f;
    assert_int_equal(fs_open(simfs_fs(disk), "f", FS_WRITE | FS_CREATE, &f), 0);
    struct rope r;
    rope_init(&r);
    rope_add_file(&r, f, 100, 50);
    rope_add_file(&r, f, 150, 50);
    rope_add_file(&r, f, 300, 7);
    assert_int_equal(r.count, 2);
    fs_file_unref(f);
    rope_consume(&r, 60);
    assert_int_equal(rope_first(&r)->position, 160);
    assert_int_equal(rope_first(&r)->len, 40);
    rope_consume(&r, 47);
    assert_null(rope_first(&r));
    assert_int_equal(r.bytes, 0);
    rope_release(&r);
    simfs_free(disk); /* checks that no file is open */
}

/* Compares all that is left of the rope with `expected`. */
static void expect_bytes(const struct rope *r, const uint8_t *expected, size_t len)
{
    size_t at = 0;
    assert_int_equal(r->bytes, len);
    for (size_t i = r->start; i < r->count; i++) {
        assert_memory_equal(r->runs[i].ptr, expected + at, r->runs[i].len);
        at += r->runs[i].len;
    }
    assert_int_equal(at, len);
}

static void a_rope_behaves_as_an_array_of_bytes(void **state)
{
    (void)state;
    enum {
        ROUNDS = 3000,
        MAX = 200000
    };
    uint64_t random = 42;
    uint8_t *model = mem_alloc(MAX);
    size_t start = 0;
    size_t end = 0;
    struct rope r;
    rope_init(&r);
    for (int i = 0; i < ROUNDS; i++) {
        size_t len = sim_random(&random) % 60;
        if (sim_random(&random) % 3 != 0) {
            struct blob *b = blob_new(len + 1);
            for (size_t k = 0; k < len; k++) {
                b->data[k] = (uint8_t)sim_random(&random);
            }
            memcpy(model + end, b->data, len);
            end += len;
            if (sim_random(&random) % 2 == 0) {
                struct rope other = {0};
                rope_add_memory(&other, b->data, len / 2, b);
                rope_add_memory(&other, b->data + len / 2, len - len / 2, b);
                rope_move(&r, &other);
                assert_int_equal(other.bytes, 0);
            } else {
                rope_add_memory(&r, b->data, len, b);
            }
            blob_unref(b);
        } else {
            len = min_size(len * 2, r.bytes);
            rope_consume(&r, len);
            start += len;
        }
        expect_bytes(&r, model + start, end - start);
    }
    rope_release(&r);
    mem_free(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(crc32c_matches_the_published_vectors),
        cmocka_unit_test(crc32c_by_instruction_and_by_table_agree),
        cmocka_unit_test(a_blob_ends_at_its_last_reference),
        cmocka_unit_test(adjacent_memory_of_one_blob_is_one_run),
        cmocka_unit_test(file_runs_keep_the_file_open_and_move_on),
        cmocka_unit_test(a_rope_behaves_as_an_array_of_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
