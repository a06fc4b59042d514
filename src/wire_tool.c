/* Messages by hand: see wire_tool.h. A refused line prints nothing on standard output; its number
 * and the reason go to standard error, and the next line is read. */
#include "wire_tool.h"

#include "base/base.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "wire/codec.h"
#include "wire/cursor.h"

enum {
    EXIT_REFUSED = 1,
    EXIT_USAGE = 2,
};

struct wire_tool {
    const struct msg *msg;
    int16_t version;
    struct arena arena;
    struct writer out;
    void *object; /* owned: msg_size bytes */
};

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* Returns 0, or an error with the reason in *ret_where. */
static int decode_line(struct wire_tool *t, struct str line, struct str *ret_where)
{
    uint8_t *bytes = arena_alloc(&t->arena, line.len / 2 + 1);
    for (size_t i = 0; i < line.len; i++) {
        int digit = hex_digit(line.ptr[i]);
        if (digit < 0 || line.len % 2 != 0) {
            *ret_where = STR("not hexadecimal");
            return ERR_MALFORMED;
        }
        bytes[i / 2] = (uint8_t)(bytes[i / 2] << 4 | digit);
    }
    struct cursor in = cursor_of(bytes, line.len / 2);
    int r = codec_decode(t->msg, t->version, &in, &t->arena, t->object);
    if (r < 0) {
        *ret_where = arena_printf(&t->arena, "near byte %zu", (size_t)(in.next - bytes));
        return r;
    }
    if (cursor_left(&in) > 0) {
        *ret_where = arena_printf(&t->arena, "%zu bytes after the message", cursor_left(&in));
        return ERR_MALFORMED;
    }
    *ret_where = STR("cannot be printed");
    return codec_print_json(t->msg, t->version, t->object, &t->out);
}

static int encode_line(struct wire_tool *t, struct str line, struct str *ret_where)
{
    int r = codec_parse_json(t->msg, t->version, line, &t->arena, t->object, ret_where);
    if (r < 0) {
        return r;
    }
    *ret_where = STR("cannot be encoded");
    return codec_encode(t->msg, t->version, t->object, &t->out);
}

static void print_output(struct wire_tool *t, bool as_hex)
{
    struct rope rope;
    writer_finish(&t->out, &rope);
    for (struct rope_run *run = rope_first(&rope); run != NULL; run = rope_first(&rope)) {
        if (as_hex) {
            for (size_t i = 0; i < run->len; i++) {
                printf("%02x", run->ptr[i]);
            }
        } else {
            fwrite(run->ptr, 1, run->len, stdout);
        }
        rope_consume(&rope, run->len);
    }
    rope_release(&rope);
    putchar('\n');
}

static int run(struct wire_tool *t, bool is_decode)
{
    char *line = NULL;
    size_t cap = 0;
    int status = 0;
    ssize_t n;
    for (size_t number = 1; (n = getline(&line, &cap, stdin)) >= 0; number++) {
        struct str text = str_trim(str_of(line, (size_t)n));
        struct str where = {0};
        arena_reset(&t->arena);
        int r = is_decode ? decode_line(t, text, &where) : encode_line(t, text, &where);
        if (r < 0) {
            fprintf(stderr, "line %zu: %s: " STR_FMT "\n", number, err_text(r), STR_ARG(where));
            writer_release(&t->out);
            status = EXIT_REFUSED;
        } else {
            print_output(t, !is_decode);
        }
    }
    free(line);
    return status;
}

int wire_tool_main(int argc, char **argv)
{
    bool is_decode = argc == 4 && strcmp(argv[1], "decode") == 0;
    if (!is_decode && (argc != 4 || strcmp(argv[1], "encode") != 0)) {
        fputs("usage: jackdaw wire decode|encode MESSAGE VERSION\n"
              "decode reads lines of hexadecimal and prints JSON, encode the reverse\n",
              stderr);
        return EXIT_USAGE;
    }
    const struct msg *m = msg_find(str_from(argv[2]));
    if (m == NULL) {
        fprintf(stderr, "no message of this name: %s\n", argv[2]);
        return EXIT_USAGE;
    }
    int32_t version;
    if (str_to_i32(str_from(argv[3]), &version) < 0 || version < msg_min_version(m) ||
        version > msg_max_version(m)) {
        fprintf(stderr, "%s has versions %d to %d\n", msg_name(m), msg_min_version(m),
                msg_max_version(m));
        return EXIT_USAGE;
    }
    struct wire_tool t = {.msg = m, .version = (int16_t)version, .object = mem_zalloc(msg_size(m))};
    arena_init(&t.arena, 0);
    writer_init(&t.out);
    int status = run(&t, is_decode);
    writer_release(&t.out);
    arena_release(&t.arena);
    mem_free(t.object);
    return status;
}
