/* Compression: what goes in comes out, for every codec, size and kind of data; streams made by hand
 * in the ways that other clients write them are read; damage, bombs and lies are refused. Memory is
 * measured as the growth of the resident set while a stream is read. */
#include "base/base.h"
#include "base/err.h"
#include "base/mem.h"
#include "wire/compress.h"

#include <lz4frame.h>
#include <snappy-c.h>
#include <sys/resource.h>
#include <zstd.h>

#include "unit.h"

#define NO_LIMIT INT64_MAX

static const enum codec_type real_codecs[] = {CODEC_GZIP, CODEC_SNAPPY, CODEC_LZ4, CODEC_ZSTD};

struct bytes {
    uint8_t *ptr;
    size_t len;
};

static void bytes_add(struct bytes *b, const void *more, size_t len)
{
    b->ptr = mem_realloc(b->ptr, b->len + len + 1);
    if (len > 0) {
        memcpy(b->ptr + b->len, more, len);
    }
    b->len += len;
}

static void bytes_release(struct bytes *b)
{
    b->ptr = mem_free(b->ptr);
    b->len = 0;
}

static struct bytes taken(struct writer *w)
{
    struct bytes b = {.ptr = NULL};
    struct rope rope;
    writer_finish(w, &rope);
    for (struct rope_run *run = rope_first(&rope); run != NULL; run = rope_first(&rope)) {
        bytes_add(&b, run->ptr, run->len);
        rope_consume(&rope, run->len);
    }
    rope_release(&rope);
    writer_release(w);
    return b;
}

static struct bytes compressed(enum codec_type codec, int level, const void *in, size_t len)
{
    struct writer w;
    writer_init(&w);
    assert_int_equal(compress_bytes(codec, level, in, len, &w), 0);
    return taken(&w);
}

static int level_of(enum codec_type codec)
{
    return codec == CODEC_GZIP ? -1 : codec == CODEC_ZSTD ? 3 : 9;
}

/* All output, or the first failure. */
static int
inflate_all(enum codec_type codec, const void *in, size_t len, int64_t max, struct bytes *ret)
{
    struct decompressor *d = NULL;
    *ret = (struct bytes){.ptr = NULL};
    int r = decompressor_new(codec, in, len, max, &d);
    struct view piece = {.len = 1};
    while (r == 0 && piece.len > 0) {
        r = decompressor_read(d, &piece);
        if (r == 0) {
            bytes_add(ret, piece.ptr, piece.len);
        }
    }
    if (r == 0) {
        assert_int_equal(decompressor_read(d, &piece), 0);
        assert_int_equal(piece.len, 0);
    } else if (d != NULL) {
        assert_int_equal(decompressor_read(d, &piece), r);
    }
    decompressor_free(d);
    return r;
}

static void expect_output(enum codec_type codec, struct bytes in, const void *out, size_t len)
{
    struct bytes b;
    assert_int_equal(inflate_all(codec, in.ptr, in.len, NO_LIMIT, &b), 0);
    assert_int_equal(b.len, len);
    assert_memory_equal(b.ptr, out, len);
    bytes_release(&b);
}

static void expect_failure(enum codec_type codec, struct bytes in, int64_t max, int failure)
{
    struct bytes b;
    assert_int_equal(inflate_all(codec, in.ptr, in.len, max, &b), failure);
    bytes_release(&b);
}

/* Deterministic noise; with `repeat` the same few bytes again and again. */
static uint8_t *sample(size_t len, bool repeat)
{
    uint8_t *p = mem_alloc(len + 1);
    uint64_t x = 88172645463325252u;
    for (size_t i = 0; i < len; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        p[i] = repeat ? (uint8_t)("jackdaw "[i % 8]) : (uint8_t)x;
    }
    return p;
}

static void every_codec_gives_back_what_went_in(void **state)
{
    IGNORE(state);
    static const size_t sizes[] = {0, 1, 17, 32767, 32768, 32769, 65536, 65537, 300000};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        for (int repeat = 0; repeat < 2; repeat++) {
            uint8_t *in = sample(sizes[i], repeat != 0);
            for (int codec = CODEC_NONE; codec <= CODEC_ZSTD; codec++) {
                struct bytes b = compressed((enum codec_type)codec,
                                            level_of((enum codec_type)codec), in, sizes[i]);
                if (repeat && sizes[i] > 1000 && codec != CODEC_NONE) {
                    assert_true(b.len < sizes[i] / 4);
                }
                expect_output((enum codec_type)codec, b, in, sizes[i]);
                bytes_release(&b);
            }
            mem_free(in);
        }
    }
}

static void every_level_works_and_others_are_refused(void **state)
{
    IGNORE(state);
    static const struct {
        enum codec_type codec;
        int min;
        int max;
    } rows[] = {{CODEC_GZIP, 1, 9}, {CODEC_LZ4, 1, 17}, {CODEC_ZSTD, -5, 12}};
    uint8_t *in = sample(70000, true);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        for (int level = rows[i].min; level <= rows[i].max; level++) {
            struct bytes b = compressed(rows[i].codec, level, in, 70000);
            expect_output(rows[i].codec, b, in, 70000);
            bytes_release(&b);
        }
    }
    struct writer w;
    writer_init(&w);
    assert_int_equal(compress_bytes(CODEC_GZIP, 10, in, 10, &w), ERR_BAD_ARGUMENT);
    assert_int_equal(compress_bytes(CODEC_ZSTD, 99, in, 10, &w), ERR_BAD_ARGUMENT);
    assert_int_equal(compress_bytes((enum codec_type)5, 0, in, 10, &w), ERR_UNSUPPORTED);
    writer_release(&w);
    mem_free(in);
}

static void unknown_codecs_are_unsupported(void **state)
{
    IGNORE(state);
    struct decompressor *d = NULL;
    for (int codec = 5; codec < 8; codec++) {
        assert_int_equal(decompressor_new((enum codec_type)codec, "x", 1, 10, &d), ERR_UNSUPPORTED);
        assert_string_equal(codec_type_name((enum codec_type)codec), "unknown");
    }
    assert_string_equal(codec_type_name(CODEC_SNAPPY), "snappy");
}

static void the_output_stops_at_its_cap(void **state)
{
    IGNORE(state);
    uint8_t *in = sample(200000, true);
    for (size_t i = 0; i < ARRAY_LEN(real_codecs); i++) {
        struct bytes b = compressed(real_codecs[i], level_of(real_codecs[i]), in, 200000);
        struct bytes out;
        assert_int_equal(inflate_all(real_codecs[i], b.ptr, b.len, 200000, &out), 0);
        bytes_release(&out);
        expect_failure(real_codecs[i], b, 199999, ERR_TOO_LARGE);
        expect_failure(real_codecs[i], b, 0, ERR_TOO_LARGE);
        bytes_release(&b);
    }
    mem_free(in);
}

static int64_t resident_peak_bytes(void)
{
    struct rusage usage;
    assert_int_equal(getrusage(RUSAGE_SELF, &usage), 0);
    return (int64_t)usage.ru_maxrss * 1024;
}

static void a_bomb_is_read_in_small_memory(void **state)
{
    IGNORE(state);
    size_t chunk = 1 << 20;
    uint8_t *zeros = mem_zalloc(chunk);
    for (size_t i = 0; i < ARRAY_LEN(real_codecs); i++) {
        struct writer w;
        struct compressor *c = NULL;
        writer_init(&w);
        assert_int_equal(compressor_new(real_codecs[i], level_of(real_codecs[i]), &w, &c), 0);
        for (size_t n = 0; n < 64; n++) {
            assert_int_equal(compressor_write(c, zeros, chunk), 0);
        }
        assert_int_equal(compressor_finish(c), 0);
        compressor_free(c);
        struct bytes bomb = taken(&w);
        int64_t before = resident_peak_bytes();
        struct decompressor *d = NULL;
        assert_int_equal(decompressor_new(real_codecs[i], bomb.ptr, bomb.len, 48 << 20, &d), 0);
        size_t total = 0;
        int r = 0;
        struct view piece = {.len = 1};
        while (r == 0 && piece.len > 0) {
            r = decompressor_read(d, &piece);
            total += r == 0 ? piece.len : 0;
        }
        assert_int_equal(r, ERR_TOO_LARGE);
        assert_true(total <= 48 << 20 && total > 47 << 20);
        decompressor_free(d);
        assert_true(resident_peak_bytes() - before < 12 << 20);
        bytes_release(&bomb);
    }
    mem_free(zeros);
}

static void a_stream_that_is_cut_short_is_never_taken_for_whole(void **state)
{
    IGNORE(state);
    uint8_t *in = sample(70000, true);
    memcpy(in + 100, "some other bytes, so that it is not one run", 43);
    for (size_t i = 0; i < ARRAY_LEN(real_codecs); i++) {
        struct bytes b = compressed(real_codecs[i], level_of(real_codecs[i]), in, 70000);
        for (size_t len = 0; len < b.len; len += 1 + len / 50) {
            struct bytes out;
            int r = inflate_all(real_codecs[i], b.ptr, len, NO_LIMIT, &out);
            /* Cut between two blocks of snappy or before a frame of zstd there is only less. */
            assert_true(r == ERR_CORRUPT || (r == 0 && out.len < 70000));
            bool may_be_short = real_codecs[i] == CODEC_SNAPPY || len == 0;
            assert_true(r < 0 || may_be_short);
            bytes_release(&out);
        }
        bytes_release(&b);
    }
    mem_free(in);
}

static void flipped_bits_do_no_harm(void **state)
{
    IGNORE(state);
    uint8_t *in = sample(3000, true);
    memcpy(in + 100, "some other bytes, so that it is not one run", 43);
    for (size_t i = 0; i < ARRAY_LEN(real_codecs); i++) {
        struct bytes b = compressed(real_codecs[i], level_of(real_codecs[i]), in, 3000);
        for (size_t bit = 0; bit < b.len * 8; bit++) {
            b.ptr[bit / 8] ^= (uint8_t)(1u << (bit % 8));
            struct bytes out;
            int r = inflate_all(real_codecs[i], b.ptr, b.len, 100000, &out);
            assert_true(r == 0 || r == ERR_CORRUPT || r == ERR_TOO_LARGE);
            if (real_codecs[i] == CODEC_GZIP && r == 0) { /* it has a checksum */
                assert_int_equal(out.len, 3000);
                assert_memory_equal(out.ptr, in, 3000);
            }
            bytes_release(&out);
            b.ptr[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        }
        bytes_release(&b);
    }
    mem_free(in);
}

static void empty_and_plain_input_is_refused(void **state)
{
    IGNORE(state);
    struct bytes plain = {.ptr = (uint8_t[]){14, 0, 0, 0, 1, 2, 'v', 0, 14, 0, 0, 2, 1, 2, 'v', 0},
                          .len = 16};
    struct bytes nothing = {.ptr = plain.ptr};
    for (size_t i = 0; i < ARRAY_LEN(real_codecs); i++) {
        expect_failure(real_codecs[i], plain, NO_LIMIT, ERR_CORRUPT);
        if (real_codecs[i] != CODEC_ZSTD) { /* no frame at all is an empty stream there */
            expect_failure(real_codecs[i], nothing, NO_LIMIT, ERR_CORRUPT);
        }
    }
    expect_output(CODEC_ZSTD, nothing, "", 0);
}

/* "jack" and "daw", each a whole gzip member, and one behind the other. */
static void make_members(struct bytes *a, struct bytes *b, struct bytes *both)
{
    *a = compressed(CODEC_GZIP, -1, "jack", 4);
    *b = compressed(CODEC_GZIP, -1, "daw", 3);
    *both = (struct bytes){.ptr = NULL};
    bytes_add(both, a->ptr, a->len);
    bytes_add(both, b->ptr, b->len);
}

static void reserved_flags_of_a_gzip_header_do_not_count(void **state)
{
    IGNORE(state);
    struct bytes a;
    struct bytes b;
    struct bytes both;
    make_members(&a, &b, &both);
    a.ptr[3] |= 0xe0;
    expect_output(CODEC_GZIP, a, "jack", 4);
    both.ptr[3] |= 0x20;
    both.ptr[a.len + 3] |= 0x80;
    expect_output(CODEC_GZIP, both, "jackdaw", 7);
    a.ptr[3] |= 0x02; /* the header's checksum, which is not there */
    expect_failure(CODEC_GZIP, a, NO_LIMIT, ERR_CORRUPT);
    a.len = 4;
    expect_failure(CODEC_GZIP, a, NO_LIMIT, ERR_CORRUPT);
    bytes_release(&a);
    bytes_release(&b);
    bytes_release(&both);
}

static void gzip_members_are_one_stream_and_other_bytes_after_them_are_ignored(void **state)
{
    IGNORE(state);
    struct bytes a;
    struct bytes b;
    struct bytes both;
    make_members(&a, &b, &both);
    expect_output(CODEC_GZIP, both, "jackdaw", 7);
    bytes_add(&both, "junk", 4);
    expect_output(CODEC_GZIP, both, "jackdaw", 7);
    both.len -= 4;
    bytes_add(&both, "\x1f\x8b", 2);
    expect_output(CODEC_GZIP, both, "jackdaw", 7);
    both.len -= 2;
    bytes_add(&both, a.ptr, a.len - 1); /* a third member, cut short */
    expect_failure(CODEC_GZIP, both, NO_LIMIT, ERR_CORRUPT);
    bytes_release(&both);
    a.ptr[a.len - 1] ^= 1; /* the length in the trailer */
    expect_failure(CODEC_GZIP, a, NO_LIMIT, ERR_CORRUPT);
    bytes_release(&a);
    bytes_release(&b);
}

static struct bytes snappy_block_of(const char *text, size_t len)
{
    struct bytes b = {.ptr = NULL};
    size_t made = snappy_max_compressed_length(len);
    b.ptr = mem_alloc(made);
    assert_int_equal(snappy_compress(text, len, (char *)b.ptr, &made), SNAPPY_OK);
    b.len = made;
    return b;
}

static void xerial_add(struct bytes *b, const char *text)
{
    struct bytes block = snappy_block_of(text, strlen(text));
    uint8_t len[4];
    store_be32(len, (uint32_t)block.len);
    bytes_add(b, len, sizeof(len));
    bytes_add(b, block.ptr, block.len);
    bytes_release(&block);
}

static void snappy_is_read_raw_and_in_xerial_frames(void **state)
{
    IGNORE(state);
    static const uint8_t header[16] = {0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0,
                                       0,    0,   0,   9,   0,   0,   0,   7};
    struct bytes b = snappy_block_of("jackdaw", 7);
    expect_output(CODEC_SNAPPY, b, "jackdaw", 7);
    bytes_add(&b, "\0", 1);
    expect_failure(CODEC_SNAPPY, b, NO_LIMIT, ERR_CORRUPT);
    bytes_release(&b);
    bytes_add(&b, header, sizeof(header));
    expect_output(CODEC_SNAPPY, b, "", 0);
    xerial_add(&b, "");
    xerial_add(&b, "jack");
    bytes_add(&b, header, sizeof(header)); /* two streams in one */
    xerial_add(&b, "daw");
    expect_output(CODEC_SNAPPY, b, "jackdaw", 7);
    bytes_add(&b, "\0\0", 2); /* less than a length */
    expect_output(CODEC_SNAPPY, b, "jackdaw", 7);
    bytes_add(&b, "\0\0", 2);
    expect_failure(CODEC_SNAPPY, b, NO_LIMIT, ERR_CORRUPT);
    b.ptr[b.len - 4] = 0xff;
    expect_failure(CODEC_SNAPPY, b, NO_LIMIT, ERR_CORRUPT);
    bytes_release(&b);
}

static void snappy_promises_are_held_against_the_input(void **state)
{
    IGNORE(state);
    /* 2 GiB out of seven bytes, and out of nothing. */
    struct bytes b = {.ptr = (uint8_t[]){0xff, 0xff, 0xff, 0xff, 0x07, 0x00, 'a'}, .len = 7};
    expect_failure(CODEC_SNAPPY, b, NO_LIMIT, ERR_CORRUPT);
    b.len = 5;
    expect_failure(CODEC_SNAPPY, b, NO_LIMIT, ERR_CORRUPT);
    /* The densest snappy: what its own compressor makes of zeros passes the check. */
    char *zeros = mem_zalloc(1 << 20);
    struct bytes dense = snappy_block_of(zeros, 1 << 20);
    expect_output(CODEC_SNAPPY, dense, zeros, 1 << 20);
    expect_failure(CODEC_SNAPPY, dense, (1 << 20) - 1, ERR_TOO_LARGE);
    bytes_release(&dense);
    mem_free(zeros);
}

static struct bytes lz4_frame(const LZ4F_preferences_t *preferences, const void *in, size_t len)
{
    struct bytes b = {.ptr = NULL};
    size_t cap = LZ4F_compressFrameBound(len, preferences);
    b.ptr = mem_alloc(cap);
    b.len = LZ4F_compressFrame(b.ptr, cap, in, len, preferences);
    assert_false(LZ4F_isError(b.len));
    return b;
}

static void lz4_takes_one_frame_of_independent_blocks(void **state)
{
    IGNORE(state);
    uint8_t *in = sample(300000, false);
    LZ4F_preferences_t preferences = {
        .frameInfo = {.blockSizeID = LZ4F_max4MB,
                      .blockMode = LZ4F_blockIndependent,
                      .contentChecksumFlag = LZ4F_contentChecksumEnabled,
                      .blockChecksumFlag = LZ4F_blockChecksumEnabled,
                      .contentSize = 300000}};
    struct bytes b = lz4_frame(&preferences, in, 300000);
    expect_output(CODEC_LZ4, b, in, 300000);
    struct bytes second = {.ptr = NULL};
    bytes_add(&second, b.ptr, b.len);
    bytes_add(&b, second.ptr, second.len); /* what follows the frame is ignored */
    expect_output(CODEC_LZ4, b, in, 300000);
    bytes_release(&b);
    bytes_add(&b, "\x50\x2a\x4d\x18\0\0\0\0", 8); /* a skippable frame is not expected */
    bytes_add(&b, second.ptr, second.len);
    expect_failure(CODEC_LZ4, b, NO_LIMIT, ERR_CORRUPT);
    bytes_release(&b);
    bytes_release(&second);
    preferences = (LZ4F_preferences_t){
        .frameInfo = {.blockSizeID = LZ4F_max64KB, .blockMode = LZ4F_blockLinked}};
    b = lz4_frame(&preferences, in, 300000);
    expect_failure(CODEC_LZ4, b, NO_LIMIT, ERR_CORRUPT);
    bytes_release(&b);
    mem_free(in);
}

static void what_we_write_is_what_kafka_writes(void **state)
{
    IGNORE(state);
    /* The heads of the frames that the Java client makes. */
    struct bytes b = compressed(CODEC_LZ4, 9, "jackdaw", 7);
    assert_memory_equal(b.ptr, "\x04\x22\x4d\x18\x60\x40\x82", 7);
    bytes_release(&b);
    uint8_t *in = sample(70000, false);
    b = compressed(CODEC_SNAPPY, 0, in, 70000);
    assert_memory_equal(b.ptr, "\x82SNAPPY\0\0\0\0\1\0\0\0\1", 16);
    size_t blocks = 0;
    for (size_t at = 16; at < b.len; at += 4 + load_be32(b.ptr + at)) {
        size_t inflated = 0;
        assert_int_equal(snappy_uncompressed_length((const char *)b.ptr + at + 4,
                                                    load_be32(b.ptr + at), &inflated),
                         SNAPPY_OK);
        assert_int_equal(inflated, blocks < 2 ? 32768 : 70000 - 65536);
        blocks++;
    }
    assert_int_equal(blocks, 3);
    bytes_release(&b);
    mem_free(in);
}

/* A zstd frame of one raw block with a window of 2^log bytes. */
static struct bytes zstd_window(unsigned log, const char *text)
{
    struct bytes b = {.ptr = NULL};
    uint32_t len = (uint32_t)strlen(text);
    uint8_t head[] = {
        0x28, 0xb5, 0x2f, 0xfd, 0, (uint8_t)((log - 10) << 3), (uint8_t)(len << 3 | 1), 0, 0};
    bytes_add(&b, head, sizeof(head));
    bytes_add(&b, text, len);
    return b;
}

static void zstd_frames_are_one_stream_with_windows_up_to_128_mib(void **state)
{
    IGNORE(state);
    struct bytes b = zstd_window(27, "jack");
    struct bytes c = zstd_window(10, "daw");
    bytes_add(&b, "\x50\x2a\x4d\x18\2\0\0\0xx", 10); /* a skippable frame */
    bytes_add(&b, c.ptr, c.len);
    expect_output(CODEC_ZSTD, b, "jackdaw", 7);
    bytes_add(&b, "junk", 4);
    expect_failure(CODEC_ZSTD, b, NO_LIMIT, ERR_CORRUPT);
    bytes_release(&b);
    bytes_release(&c);
    b = zstd_window(28, "jackdaw");
    expect_failure(CODEC_ZSTD, b, NO_LIMIT, ERR_CORRUPT);
    bytes_release(&b);
}

/* A zstd frame of n blocks of 128 KiB, each one byte again and again, four bytes long. */
static struct bytes zstd_bomb(unsigned window_log, size_t n)
{
    struct bytes b = {.ptr = NULL};
    uint8_t head[] = {0x28, 0xb5, 0x2f, 0xfd, 0, (uint8_t)((window_log - 10) << 3)};
    bytes_add(&b, head, sizeof(head));
    for (size_t i = 0; i < n; i++) {
        uint32_t block = 131072u << 3 | 1u << 1 | (i + 1 == n);
        uint8_t bytes[] = {(uint8_t)block, (uint8_t)(block >> 8), (uint8_t)(block >> 16), 'x'};
        bytes_add(&b, bytes, sizeof(bytes));
    }
    return b;
}

static void zstd_with_a_large_window_ends_after_32_mib(void **state)
{
    IGNORE(state);
    struct bytes b = zstd_bomb(27, 1024);
    int64_t before = resident_peak_bytes();
    struct decompressor *d = NULL;
    struct view piece;
    size_t total = 0;
    int r = decompressor_new(CODEC_ZSTD, b.ptr, b.len, NO_LIMIT, &d);
    while (r == 0) {
        r = decompressor_read(d, &piece);
        total += r == 0 ? piece.len : 0;
    }
    decompressor_free(d);
    assert_int_equal(r, ERR_TOO_LARGE);
    assert_true(total >= 31 << 20 && total <= 32 << 20);
    assert_true(resident_peak_bytes() - before < 72 << 20);
    bytes_release(&b);
    b = zstd_bomb(27, 200);
    struct bytes out;
    assert_int_equal(inflate_all(CODEC_ZSTD, b.ptr, b.len, NO_LIMIT, &out), 0);
    assert_int_equal(out.len, 200 * 131072);
    bytes_release(&out);
    bytes_release(&b);
    b = zstd_bomb(23, 300);
    assert_int_equal(inflate_all(CODEC_ZSTD, b.ptr, b.len, NO_LIMIT, &out), 0);
    assert_int_equal(out.len, 300 * 131072);
    bytes_release(&out);
    bytes_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_bomb_is_read_in_small_memory),
        cmocka_unit_test(zstd_with_a_large_window_ends_after_32_mib),
        cmocka_unit_test(every_codec_gives_back_what_went_in),
        cmocka_unit_test(every_level_works_and_others_are_refused),
        cmocka_unit_test(unknown_codecs_are_unsupported),
        cmocka_unit_test(the_output_stops_at_its_cap),
        cmocka_unit_test(a_stream_that_is_cut_short_is_never_taken_for_whole),
        cmocka_unit_test(flipped_bits_do_no_harm),
        cmocka_unit_test(empty_and_plain_input_is_refused),
        cmocka_unit_test(reserved_flags_of_a_gzip_header_do_not_count),
        cmocka_unit_test(gzip_members_are_one_stream_and_other_bytes_after_them_are_ignored),
        cmocka_unit_test(snappy_is_read_raw_and_in_xerial_frames),
        cmocka_unit_test(snappy_promises_are_held_against_the_input),
        cmocka_unit_test(lz4_takes_one_frame_of_independent_blocks),
        cmocka_unit_test(what_we_write_is_what_kafka_writes),
        cmocka_unit_test(zstd_frames_are_one_stream_with_windows_up_to_128_mib),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
