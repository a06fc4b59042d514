/*
 * Walking over batches and over damage. Method: a file of batches, spoilt at one place, with things
 * that look like batches put into the damage: the scanner must find the next good one and believe
 * none of the others.
 */
#include "storage/scanner.h"

#include "storage_world.h"

enum {
    BATCHES = 6,
    BUFFER_BYTES = 4096,
};

struct file_of_batches {
    struct world w;
    struct fs_file *file;
    uint8_t bytes[1 << 16];
    int64_t at[BATCHES + 1];
    uint8_t buffer[BUFFER_BYTES];
};

/* Batches of two records; the fourth is larger than the scanner's buffer. */
static struct file_of_batches *file_new(void)
{
    struct file_of_batches *fb = mem_zalloc(sizeof(*fb));
    world_init(&fb->w);
    for (int i = 0; i < BATCHES; i++) {
        struct batch b;
        struct shape s = {.records = 2, .value_bytes = i == 3 ? 9000 : 30};
        struct blob *blob = make_batch(&s, &b);
        batch_stamp_offset(blob->data, 100 + i * 2);
        memcpy(fb->bytes + fb->at[i], blob->data, b.size);
        fb->at[i + 1] = fb->at[i] + to_i64(b.size);
        blob_unref(blob);
    }
    return fb;
}

static void file_open(struct file_of_batches *fb, struct scanner *sc)
{
    put_file(&fb->w, "data/f", fb->bytes, to_size(fb->at[BATCHES]));
    assert_int_equal(fs_open(fb->w.env.fs, "data/f", FS_READ, &fb->file), 0);
    scanner_init(sc, fb->file, 100, 0, fb->at[BATCHES], fb->buffer, sizeof(fb->buffer));
    sc->checks_crc = true;
}

static void file_free(struct file_of_batches *fb)
{
    fs_file_unref(fb->file);
    world_release(&fb->w);
    mem_free(fb);
}

static void all_batches_are_passed_in_order(void **state)
{
    (void)state;
    struct file_of_batches *fb = file_new();
    struct scanner sc;
    struct batch b;
    int64_t position;
    file_open(fb, &sc);
    for (int i = 0; i < BATCHES; i++) {
        assert_int_equal(scanner_next(&sc, &b, &position), 1);
        assert_int_equal(position, fb->at[i]);
        assert_int_equal(b.base_offset, 100 + i * 2);
        assert_int_equal(b.bytes == NULL, i == 3);
    }
    assert_int_equal(scanner_next(&sc, &b, &position), 0);
    assert_int_equal(sc.next_offset, 112);
    file_free(fb);
}

/* Spoils batch n, expects that it is found bad, and that the way leads to batch n + 1. */
static void expect_resync(struct file_of_batches *fb, int n)
{
    struct scanner sc;
    struct batch b;
    int64_t position;
    file_open(fb, &sc);
    for (int i = 0; i < n; i++) {
        assert_int_equal(scanner_next(&sc, &b, &position), 1);
    }
    assert_int_equal(scanner_next(&sc, &b, &position), ERR_CORRUPT);
    assert_int_equal(sc.position, fb->at[n]);
    int r = scanner_resync(&sc);
    assert_false(sc.gave_up);
    if (n + 1 == BATCHES) {
        assert_int_equal(r, 0);
    } else {
        assert_int_equal(r, 1);
        assert_int_equal(sc.position, fb->at[n + 1]);
        assert_int_equal(scanner_next(&sc, &b, &position), 1);
        assert_int_equal(b.base_offset, 100 + (n + 1) * 2);
    }
    file_free(fb);
}

static void damage_anywhere_leads_to_the_next_batch(void **state)
{
    (void)state;
    static const int places[] = {3, 9, 16, 18, 22, 58, 70}; /* offset, length, magic, CRC, ... */
    for (int n = 0; n < BATCHES; n++) {
        for (size_t p = 0; p < ARRAY_LEN(places); p++) {
            if (places[p] == 3 && n + 1 == BATCHES) {
                continue; /* an offset that nothing contradicts */
            }
            struct file_of_batches *fb = file_new();
            fb->bytes[fb->at[n] + places[p]] ^= 0x04;
            expect_resync(fb, n);
        }
    }
}

static void what_looks_like_a_batch_is_not_believed(void **state)
{
    (void)state;
    struct file_of_batches *fb = file_new();
    /* in the large batch: a header with a bad CRC, and a whole batch of offsets long gone */
    uint8_t *large = fb->bytes + fb->at[3];
    memcpy(large + 2000, fb->bytes + fb->at[4], 61);
    memcpy(large + 5000, fb->bytes + fb->at[1], to_size(fb->at[2] - fb->at[1]));
    memset(large, 0, 61);
    expect_resync(fb, 3);
}

static void a_limit_of_offsets_is_kept(void **state)
{
    (void)state;
    struct file_of_batches *fb = file_new();
    struct scanner sc;
    struct batch b;
    int64_t position;
    file_open(fb, &sc);
    sc.offset_limit = 103; /* the next segment begins here: batch 1 cannot be of this one */
    assert_int_equal(scanner_next(&sc, &b, &position), 1);
    assert_int_equal(scanner_next(&sc, &b, &position), ERR_CORRUPT);
    assert_int_equal(scanner_resync(&sc), 0);
    file_free(fb);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_batches_are_passed_in_order),
        cmocka_unit_test(damage_anywhere_leads_to_the_next_batch),
        cmocka_unit_test(what_looks_like_a_batch_is_not_believed),
        cmocka_unit_test(a_limit_of_offsets_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
