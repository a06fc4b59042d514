/* Any bytes as any message of any version, and any text as its JSON: see README.md. What is
 * accepted must make the round trip through bytes unchanged, and through JSON without an error. */
#include "base/base.h"
#include "base/mem.h"
#include "wire/codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct fuzz {
    const struct msg *msg;
    int16_t version;
    struct arena arena;
    struct writer out;
};

static struct view take_output(struct fuzz *fz)
{
    struct rope rope;
    writer_finish(&fz->out, &rope);
    uint8_t *to = arena_alloc(&fz->arena, rope.bytes + 1);
    struct view v = {.ptr = to, .len = rope.bytes};
    for (struct rope_run *run = rope_first(&rope); run != NULL; run = rope_first(&rope)) {
        memcpy(to, run->ptr, run->len);
        to += run->len;
        rope_consume(&rope, run->len);
    }
    rope_release(&rope);
    return v;
}

/* codec_encode and what it promised. */
static struct view encode(struct fuzz *fz, void *object)
{
    size_t size;
    check(codec_size(fz->msg, fz->version, object, &size) == 0);
    check(codec_encode(fz->msg, fz->version, object, &fz->out) == 0);
    struct view bytes = take_output(fz);
    check(bytes.len == size);
    return bytes;
}

static void check_round_trip(struct fuzz *fz, void *object)
{
    struct view bytes = encode(fz, object);
    void *again = arena_alloc(&fz->arena, msg_size(fz->msg));
    struct cursor in = cursor_of(bytes.ptr, bytes.len);
    check(codec_decode(fz->msg, fz->version, &in, &fz->arena, again) == 0);
    check(cursor_left(&in) == 0);
    check(codec_equal(fz->msg, fz->version, object, again));
}

static void fuzz_bytes(struct fuzz *fz, const uint8_t *data, size_t size)
{
    struct arena arena;
    arena_init(&arena, size * 16 + 1048576);
    void *object = mem_zalloc(msg_size(fz->msg));
    struct cursor in = cursor_of(data, size);
    if (codec_decode(fz->msg, fz->version, &in, &arena, object) == 0) {
        check_round_trip(fz, object);
        check(codec_print_json(fz->msg, fz->version, object, &fz->out) == 0);
        struct view json = take_output(fz);
        struct str where;
        void *parsed = arena_alloc(&fz->arena, msg_size(fz->msg));
        check(codec_parse_json(fz->msg, fz->version, str_of((const char *)json.ptr, json.len),
                               &fz->arena, parsed, &where) == 0);
    }
    mem_free(object);
    arena_release(&arena);
}

static void fuzz_json(struct fuzz *fz, const uint8_t *data, size_t size)
{
    void *object = arena_alloc(&fz->arena, msg_size(fz->msg));
    struct str where;
    if (codec_parse_json(fz->msg, fz->version, str_of((const char *)data, size), &fz->arena, object,
                         &where) == 0) {
        size_t bytes;
        if (codec_size(fz->msg, fz->version, object, &bytes) == 0) {
            check_round_trip(fz, object);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t count = 0;
    while (msg_at(count) != NULL) {
        count++;
    }
    if (size < 3) {
        return 0;
    }
    struct fuzz fz = {.msg = msg_at((size_t)load_be16(data) % count)};
    int versions = msg_max_version(fz.msg) - msg_min_version(fz.msg) + 1;
    if (versions < 1) {
        return 0;
    }
    fz.version = (int16_t)(msg_min_version(fz.msg) + (data[2] & 0x7f) % versions);
    arena_init(&fz.arena, 0);
    writer_init(&fz.out);
    if (data[2] & 0x80) {
        fuzz_json(&fz, data + 3, size - 3);
    } else {
        fuzz_bytes(&fz, data + 3, size - 3);
    }
    writer_release(&fz.out);
    arena_release(&fz.arena);
    return 0;
}
