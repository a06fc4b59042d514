/*
 * quorum-state; see quorum_file.h for the format.
 */
#include "raft/quorum_file.h"

#include "base/err.h"
#include "wire/gen/messages.h"

#define DATA_VERSION_KEY "\"data_version\":"

static void print_rope(const struct rope *rope, struct strbuf *sb)
{
    for (size_t i = rope->start; i < rope->count; i++) {
        strbuf_add(sb, (const char *)rope->runs[i].ptr, rope->runs[i].len);
    }
}

int quorum_file_print(const struct quorum_election *e,
                      int16_t version,
                      const struct voters *vs,
                      struct strbuf *sb)
{
    struct quorum_state_data_voter voters[VOTERS_MAX];
    struct quorum_state_data data = quorum_state_data_default;
    data.leader_id = e->leader_id;
    data.leader_epoch = e->leader_epoch;
    data.voted_id = e->voted_id;
    if (version == 0) {
        for (int32_t i = 0; i < vs->count; i++) {
            voters[i] = quorum_state_data_voter_default;
            voters[i].voter_id = vs->items[i].id;
        }
        data.current_voters.items = voters;
        data.current_voters.count = vs->count;
    } else {
        data.voted_directory_id = e->voted_directory_id;
    }
    struct writer w;
    struct rope rope;
    writer_init(&w);
    rope_init(&rope);
    int r = codec_print_json(&quorum_state_data_msg, version, &data, &w);
    if (r >= 0) {
        writer_finish(&w, &rope);
        print_rope(&rope, sb);
        check(sb->len > 0 && sb->ptr[sb->len - 1] == '}');
        sb->len--;
        strbuf_addf(sb, "," DATA_VERSION_KEY "%d}", version);
        r = sb->is_truncated ? ERR_TOO_LARGE : 0;
    }
    rope_release(&rope);
    writer_release(&w);
    return r;
}

/* Takes `,"data_version":N` out of the text, which then is a message of that version. */
static int take_version(char *text, size_t *len, int16_t *ret)
{
    char *at = memmem(text, *len, DATA_VERSION_KEY, strlen(DATA_VERSION_KEY));
    if (at == NULL) {
        return ERR_MALFORMED;
    }
    char *end = at + strlen(DATA_VERSION_KEY);
    while (end < text + *len && *end == ' ') {
        end++;
    }
    if (end >= text + *len || (*end != '0' && *end != '1')) {
        return ERR_UNSUPPORTED;
    }
    *ret = (int16_t)(*end - '0');
    end++;
    while (at > text && at[-1] == ' ') {
        at--;
    }
    if (at > text && at[-1] == ',') {
        at--;
    } else if (end < text + *len && *end == ',') {
        end++;
    }
    memmove(at, end, (size_t)(text + *len - end));
    *len -= (size_t)(end - at);
    return 0;
}

static int parse(char *text, size_t len, struct quorum_election *ret)
{
    int16_t version;
    int r = take_version(text, &len, &version);
    if (r < 0) {
        return r;
    }
    struct arena arena;
    arena_init(&arena, 0);
    struct quorum_state_data data;
    struct str where;
    msg_init(&quorum_state_data_msg, &data);
    r = codec_parse_json(&quorum_state_data_msg, version, str_of(text, len), &arena, &data, &where);
    if (r >= 0) {
        *ret = (struct quorum_election){
            .leader_id = data.leader_id,
            .leader_epoch = data.leader_epoch,
            .voted_id = data.voted_id,
            .voted_directory_id = data.voted_directory_id,
        };
        r = data.leader_epoch < 0 || data.leader_epoch > QUORUM_EPOCH_MAX ? ERR_MALFORMED : 0;
    }
    arena_release(&arena);
    return r;
}

int quorum_file_read(struct fs *fs, const char *path, struct quorum_election *ret)
{
    char *text;
    size_t len;
    int r = fs_read_file(fs, path, QUORUM_FILE_BYTES_MAX, &text, &len);
    if (r == -ENOENT) {
        *ret = (struct quorum_election){.leader_id = -1, .voted_id = -1};
        return 0;
    }
    if (r < 0) {
        return r;
    }
    r = parse(text, len, ret);
    mem_free(text);
    return r;
}
