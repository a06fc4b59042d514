/*
 * The codec against bytes that Kafka's own generated classes wrote. Each line of
 * tests/golden/vectors.jsonl holds a message, a version, the bytes in hexadecimal and the JSON that
 * Kafka's converter printed; every message is there at its lowest and at its highest version. Both
 * directions are compared to the letter. Then each line is spoilt in a systematic way (cut at every
 * length, every byte replaced) in memory of exactly its size, so that the address sanitizer sees
 * the first byte read beyond it: a cut message must be refused, a spoilt one refused or read as a
 * message that survives another turn, within the memory that a caller granted.
 *
 * argv[1] is the tests directory. JACKDAW_VECTORS may name a larger file of the same form, which is
 * then compared too.
 */
#include "base/base.h"
#include "base/err.h"
#include "base/mem.h"
#include "wire/codec.h"
#include "wire/json_reader.h"

#include "unit.h"

struct vector {
    const struct msg *msg;
    int16_t version;
    struct str json;
    uint8_t *bytes; /* owned: exactly len bytes */
    size_t len;
};

struct vectors {
    char *text; /* owned: the file */
    struct vector *items;
    size_t count;
    size_t cap;
};

static struct vectors sample;

static char *read_file(const char *path, size_t *ret_len)
{
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    char *text = NULL;
    size_t len = 0;
    size_t cap = 0;
    size_t n;
    do {
        text = mem_grow(text, &cap, len + 65536, 1);
        n = fread(text + len, 1, 65536, f);
        len += n;
    } while (n > 0);
    fclose(f);
    *ret_len = len;
    return text;
}

static uint8_t *from_hex(struct str hex, size_t *ret_len)
{
    uint8_t *bytes = malloc(hex.len / 2);
    for (size_t i = 0; i < hex.len; i++) {
        char c = hex.ptr[i];
        unsigned digit = (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10);
        bytes[i / 2] = (uint8_t)(i % 2 == 0 ? digit << 4 : bytes[i / 2] | digit);
    }
    *ret_len = hex.len / 2;
    return bytes;
}

static void read_line(struct vector *ret, struct str line)
{
    struct json_reader jr;
    json_reader_init(&jr, line, NULL);
    json_reader_expect(&jr, '{', "object");
    do {
        struct str key = json_reader_string(&jr);
        json_reader_expect(&jr, ':', "colon");
        if (str_is(key, "message")) {
            ret->msg = msg_find(json_reader_string(&jr));
        } else if (str_is(key, "version")) {
            int32_t version;
            assert_int_equal(str_to_i32(json_reader_number(&jr), &version), 0);
            ret->version = (int16_t)version;
        } else if (str_is(key, "hex")) {
            ret->bytes = from_hex(json_reader_string(&jr), &ret->len);
        } else {
            assert_true(str_is(key, "json"));
            json_reader_peek(&jr);
            ret->json.ptr = jr.next;
            json_reader_skip(&jr);
            ret->json.len = (size_t)(jr.next - ret->json.ptr);
        }
    } while (json_reader_accept(&jr, ','));
    json_reader_expect(&jr, '}', "end");
    assert_null(jr.failed);
    assert_non_null(ret->msg);
}

static void load(struct vectors *vs, const char *path)
{
    size_t len;
    vs->text = read_file(path, &len);
    struct str rest = str_of(vs->text, len);
    struct str line;
    while (str_split(&rest, '\n', &line)) {
        if (line.len == 0) {
            continue;
        }
        vs->items = mem_grow(vs->items, &vs->cap, vs->count + 1, sizeof(vs->items[0]));
        vs->items[vs->count] = (struct vector){0};
        read_line(&vs->items[vs->count++], line);
    }
}

static void unload(struct vectors *vs)
{
    for (size_t i = 0; i < vs->count; i++) {
        free(vs->items[i].bytes);
    }
    mem_free(vs->items);
    mem_free(vs->text);
    *vs = (struct vectors){0};
}

/* What the writer holds, in one piece of the arena; the writer is empty afterwards. */
static struct view take_output(struct writer *w, struct arena *arena)
{
    struct rope rope;
    writer_finish(w, &rope);
    uint8_t *to = arena_alloc(arena, rope.bytes + 1);
    struct view v = {.ptr = to, .len = rope.bytes};
    for (struct rope_run *run = rope_first(&rope); run != NULL; run = rope_first(&rope)) {
        memcpy(to, run->ptr, run->len);
        to += run->len;
        rope_consume(&rope, run->len);
    }
    rope_release(&rope);
    return v;
}

static void compare(const struct vector *v, struct writer *w, struct arena *arena)
{
    void *object = arena_alloc(arena, msg_size(v->msg));
    void *parsed = arena_alloc(arena, msg_size(v->msg));
    struct cursor in = cursor_of(v->bytes, v->len);
    assert_int_equal(codec_decode(v->msg, v->version, &in, arena, object), 0);
    assert_int_equal(cursor_left(&in), 0);

    assert_int_equal(codec_print_json(v->msg, v->version, object, w), 0);
    struct view json = take_output(w, arena);
    assert_int_equal(json.len, v->json.len);
    assert_memory_equal(json.ptr, v->json.ptr, json.len);

    struct str where = {0};
    assert_int_equal(codec_parse_json(v->msg, v->version, v->json, arena, parsed, &where), 0);
    assert_true(codec_equal(v->msg, v->version, object, parsed));
    for (int turn = 0; turn < 2; turn++) {
        size_t size;
        assert_int_equal(codec_size(v->msg, v->version, turn == 0 ? object : parsed, &size), 0);
        assert_int_equal(codec_encode(v->msg, v->version, turn == 0 ? object : parsed, w), 0);
        struct view bytes = take_output(w, arena);
        assert_int_equal(size, v->len);
        assert_int_equal(bytes.len, v->len);
        assert_memory_equal(bytes.ptr, v->bytes, v->len);
    }
}

static void compare_all(const struct vectors *vs)
{
    struct writer w;
    struct arena arena;
    writer_init(&w);
    arena_init(&arena, 0);
    for (size_t i = 0; i < vs->count; i++) {
        compare(&vs->items[i], &w, &arena);
        arena_reset(&arena);
    }
    arena_release(&arena);
    writer_release(&w);
}

static void every_sample_reads_and_writes_as_in_kafka(void **state)
{
    IGNORE(state);
    compare_all(&sample);
}

static void the_whole_vector_file_reads_and_writes_as_in_kafka(void **state)
{
    IGNORE(state);
    const char *path = getenv("JACKDAW_VECTORS");
    if (path == NULL) {
        skip();
    }
    struct vectors whole = {0};
    load(&whole, path);
    compare_all(&whole);
    unload(&whole);
}

static bool has_sample(const struct msg *m, int16_t version)
{
    for (size_t i = 0; i < sample.count; i++) {
        if (sample.items[i].msg == m && sample.items[i].version == version) {
            return true;
        }
    }
    return false;
}

static void every_message_has_a_sample_at_both_ends(void **state)
{
    IGNORE(state);
    size_t count = 0;
    const struct msg *m;
    for (size_t i = 0; (m = msg_at(i)) != NULL; i++) {
        if (msg_min_version(m) <= msg_max_version(m)) {
            assert_true(has_sample(m, msg_min_version(m)));
            assert_true(has_sample(m, msg_max_version(m)));
            count++;
        }
    }
    assert_true(count > 270);
}

/* Decodes bytes that may be anything; a message that is accepted must survive another turn. */
static int try_bytes(const struct vector *v, const uint8_t *bytes, size_t len, struct writer *w)
{
    struct arena arena;
    arena_init(&arena, len * 16 + 1048576);
    void *object = mem_zalloc(msg_size(v->msg));
    struct cursor in = cursor_of(bytes, len);
    int r = codec_decode(v->msg, v->version, &in, &arena, object);
    if (r == 0) {
        struct arena again;
        arena_init(&again, 0);
        void *second = arena_alloc(&again, msg_size(v->msg));
        assert_int_equal(codec_encode(v->msg, v->version, object, w), 0);
        struct view out = take_output(w, &again);
        struct cursor in2 = cursor_of(out.ptr, out.len);
        assert_int_equal(codec_decode(v->msg, v->version, &in2, &again, second), 0);
        assert_int_equal(cursor_left(&in2), 0);
        assert_true(codec_equal(v->msg, v->version, object, second));
        arena_release(&again);
    }
    mem_free(object);
    arena_release(&arena);
    return r;
}

static void a_sample_that_is_cut_anywhere_is_refused(void **state)
{
    IGNORE(state);
    struct writer w;
    writer_init(&w);
    for (size_t i = 0; i < sample.count; i++) {
        const struct vector *v = &sample.items[i];
        for (size_t len = 0; len < v->len; len++) {
            uint8_t *bytes = malloc(len);
            if (len > 0) {
                memcpy(bytes, v->bytes, len);
            }
            assert_int_equal(try_bytes(v, bytes, len, &w), ERR_TRUNCATED);
            free(bytes);
        }
    }
    writer_release(&w);
}

static void a_sample_with_any_byte_replaced_does_no_harm(void **state)
{
    IGNORE(state);
    static const uint8_t bad[] = {0x00, 0x01, 0x7f, 0x80, 0xff};
    struct writer w;
    writer_init(&w);
    size_t accepted = 0;
    for (size_t i = 0; i < sample.count; i++) {
        const struct vector *v = &sample.items[i];
        uint8_t *bytes = malloc(v->len);
        for (size_t at = 0; at < v->len; at++) {
            memcpy(bytes, v->bytes, v->len);
            bytes[at] = bad[(i + at) % ARRAY_LEN(bad)];
            accepted += try_bytes(v, bytes, v->len, &w) == 0;
        }
        free(bytes);
    }
    writer_release(&w);
    assert_true(accepted > 0);
}

int main(int argc, char **argv)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/golden/vectors.jsonl", argc > 1 ? argv[1] : "tests");
    load(&sample, path);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_sample_reads_and_writes_as_in_kafka),
        cmocka_unit_test(the_whole_vector_file_reads_and_writes_as_in_kafka),
        cmocka_unit_test(every_message_has_a_sample_at_both_ends),
        cmocka_unit_test(a_sample_that_is_cut_anywhere_is_refused),
        cmocka_unit_test(a_sample_with_any_byte_replaced_does_no_harm),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unload(&sample);
    return failed;
}
