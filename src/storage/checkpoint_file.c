/*
 * Offset checkpoints of a log directory (OffsetCheckpointFile):
 *
 *   0                              version
 *   <count>
 *   <topic> <partition> <offset>   count lines, each ended by a newline
 *
 * The count is compared with the lines found, nothing is allocated by it. Replaced as a whole: a
 * file is old or new. Kafka makes an empty one when it starts, which has no entries.
 */
#include "storage/log_dir.h"

#include "base/base.h"
#include "base/err.h"
#include "storage/side_file.h"

enum {
    CHECKPOINT_FILE_MAX = 256 << 20,
    TOPIC_NAME_MAX = 249,
    LINE_NUMBERS_MAX = 40, /* two numbers, two blanks, a newline */
};

/* No log comes so far: what is above it is damage. */
#define CHECKPOINT_OFFSET_MAX (INT64_MAX / 2)

static int parse_line(struct str line, struct arena *arena, struct checkpoint_entry *ret)
{
    struct str topic;
    struct str partition;
    if (!str_split(&line, ' ', &topic) || !str_split(&line, ' ', &partition) || topic.len == 0 ||
        topic.len > TOPIC_NAME_MAX || str_to_i32(partition, &ret->partition) < 0 ||
        str_to_i64(line, &ret->offset) < 0 || ret->partition < 0 || ret->offset < 0 ||
        ret->offset > CHECKPOINT_OFFSET_MAX) {
        return ERR_MALFORMED;
    }
    ret->topic = arena_strdup(arena, topic);
    return 0;
}

static size_t count_lines(struct str text)
{
    size_t count = 0;
    for (size_t i = 0; i < text.len; i++) {
        count += text.ptr[i] == '\n';
    }
    return count;
}

int checkpoint_read(struct fs *fs,
                    const char *path,
                    struct arena *arena,
                    struct checkpoint_entry **ret,
                    size_t *ret_count)
{
    cleanup(mem_free_charp) char *bytes = NULL;
    size_t len = 0;
    int err = fs_read_file(fs, path, CHECKPOINT_FILE_MAX, &bytes, &len);
    if (err == -ENOENT || (err >= 0 && len == 0)) {
        *ret = NULL;
        *ret_count = 0;
        return 0;
    }
    if (err < 0) {
        return err == -EFBIG ? ERR_MALFORMED : err;
    }
    struct str rest = str_of(bytes, len);
    int64_t count;
    if (!side_file_head(&rest, &count) || (uint64_t)count != count_lines(rest)) {
        return ERR_MALFORMED;
    }
    struct checkpoint_entry *entries =
        arena_try_alloc(arena, max_size((size_t)count, 1) * sizeof(*entries));
    if (entries == NULL) {
        return ERR_NO_MEMORY;
    }
    for (int64_t i = 0; i < count; i++) {
        struct str line;
        if (!str_split(&rest, '\n', &line) || parse_line(line, arena, &entries[i]) < 0) {
            return ERR_MALFORMED;
        }
    }
    *ret = entries;
    *ret_count = (size_t)count;
    return 0;
}

int checkpoint_write(struct fs *fs,
                     const char *path,
                     const struct checkpoint_entry *entries,
                     size_t count)
{
    size_t cap = 32;
    for (size_t i = 0; i < count; i++) {
        cap += entries[i].topic.len + LINE_NUMBERS_MAX;
    }
    cleanup(mem_free_charp) char *text = mem_alloc(cap);
    struct strbuf sb;
    strbuf_init(&sb, text, cap);
    strbuf_addf(&sb, "0\n%zu\n", count);
    for (size_t i = 0; i < count; i++) {
        strbuf_addf(&sb, STR_FMT " %" PRId32 " %" PRId64 "\n", STR_ARG(entries[i].topic),
                    entries[i].partition, entries[i].offset);
    }
    check(!sb.is_truncated);
    return fs_replace_file(fs, path, sb.ptr, sb.len);
}
