/* The cursor and the writer: values at the edges of each varint length go out and come back; reads
 * beyond the end fail once and stay failed; what is written across chunks comes back in order. */
#include "base/base.h"
#include "wire/cursor.h"

#include "unit.h"

static size_t flatten(struct writer *w, uint8_t *to, size_t cap)
{
    struct rope rope;
    writer_finish(w, &rope);
    size_t len = 0;
    for (struct rope_run *run = rope_first(&rope); run != NULL; run = rope_first(&rope)) {
        assert_true(len + run->len <= cap);
        memcpy(to + len, run->ptr, run->len);
        len += run->len;
        rope_consume(&rope, run->len);
    }
    rope_release(&rope);
    return len;
}

static void varints_come_back_at_every_length(void **state)
{
    IGNORE(state);
    struct writer w;
    uint8_t bytes[64];
    writer_init(&w);
    for (unsigned bit = 0; bit < 64; bit++) {
        for (int delta = -1; delta <= 1; delta++) {
            uint64_t u = (UINT64_C(1) << bit) + (uint64_t)(int64_t)delta;
            int64_t s = (int64_t)u;
            writer_uvarlong(&w, u);
            writer_varlong(&w, s);
            writer_uvarint(&w, (uint32_t)u);
            writer_varint(&w, (int32_t)u);
            size_t len = flatten(&w, bytes, sizeof(bytes));
            struct cursor c = cursor_of(bytes, len);
            assert_true(cursor_uvarlong(&c) == u);
            const uint8_t *before = c.next;
            assert_true(cursor_varlong(&c) == s);
            assert_int_equal(c.next - before, varlong_size(s));
            before = c.next;
            assert_true(cursor_uvarint(&c) == (uint32_t)u);
            assert_int_equal(c.next - before, uvarint_size((uint32_t)u));
            before = c.next;
            assert_true(cursor_varint(&c) == (int32_t)u);
            assert_int_equal(c.next - before, varint_size((int32_t)u));
            assert_false(c.failed);
            assert_int_equal(cursor_left(&c), 0);
        }
    }
    writer_release(&w);
}

static void a_varint_that_is_too_long_fails(void **state)
{
    IGNORE(state);
    uint8_t bytes[11];
    memset(bytes, 0x80, sizeof(bytes));
    bytes[10] = 0;
    struct cursor c = cursor_of(bytes, sizeof(bytes));
    assert_int_equal(cursor_uvarint(&c), 0);
    assert_true(c.failed);
    c = cursor_of(bytes, sizeof(bytes));
    assert_true(cursor_uvarlong(&c) == 0);
    assert_true(c.failed);
    /* Bits beyond the width are dropped, as in Kafka. */
    static const uint8_t wide[] = {0x81, 0x80, 0x80, 0x80, 0x7f};
    c = cursor_of(wide, sizeof(wide));
    assert_true(cursor_uvarint(&c) == 0xf0000001u);
    assert_false(c.failed);
}

static void the_first_failure_sticks(void **state)
{
    IGNORE(state);
    static const uint8_t bytes[] = {1, 2, 3};
    struct cursor c = cursor_of(bytes, sizeof(bytes));
    assert_int_equal(cursor_i16(&c), 0x0102);
    assert_int_equal(cursor_i32(&c), 0);
    assert_true(c.failed);
    assert_int_equal(cursor_i8(&c), 0);
    assert_int_equal(cursor_uvarint(&c), 0);
    assert_null(cursor_take(&c, 0));
}

static void output_keeps_its_order_across_chunks_and_splices(void **state)
{
    IGNORE(state);
    static const char inserted[] = "inserted";
    struct writer w;
    uint8_t *want = malloc(400000);
    uint8_t *got = malloc(400000);
    size_t len = 0;
    writer_init(&w);
    for (size_t i = 0; i < 300; i++) {
        size_t n = i * 7 % 1500;
        memset(want + len, (int)(i & 0xff), n);
        writer_bytes(&w, want + len, n);
        len += n;
        if (i % 50 == 49) {
            struct rope extra;
            rope_init(&extra);
            rope_add_memory(&extra, inserted, sizeof(inserted), NULL);
            memcpy(want + len, inserted, sizeof(inserted));
            len += sizeof(inserted);
            writer_splice(&w, &extra);
            assert_int_equal(extra.bytes, 0);
        }
        assert_int_equal(writer_size(&w), len);
    }
    assert_int_equal(flatten(&w, got, 400000), len);
    assert_memory_equal(got, want, len);
    assert_int_equal(writer_size(&w), 0);
    writer_i8(&w, 5);
    assert_int_equal(flatten(&w, got, 400000), 1);
    writer_release(&w);
    free(want);
    free(got);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(varints_come_back_at_every_length),
        cmocka_unit_test(a_varint_that_is_too_long_fails),
        cmocka_unit_test(the_first_failure_sticks),
        cmocka_unit_test(output_keeps_its_order_across_chunks_and_splices),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
