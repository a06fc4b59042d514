/*
 * Requests of groups and their answers. See group_frame.h.
 */
#include "benchmark/group_frame.h"

#include "base/mem.h"

#define KEY_OFFSET_COMMIT    8
#define KEY_FIND_COORDINATOR 10
#define KEY_JOIN_GROUP       11
#define KEY_HEARTBEAT        12
#define KEY_LEAVE_GROUP      13
#define KEY_SYNC_GROUP       14
#define KEY_GROUP_HEARTBEAT  68

static void buf_null(struct buf *b)
{
    buf_i8(b, 0);
}

static void buf_no_tags(struct buf *b)
{
    buf_i8(b, 0);
}

void frame_find_coordinator(struct buf *b, const char *group)
{
    size_t start = frame_begin(b, KEY_FIND_COORDINATOR, 4);
    buf_i8(b, 0);
    buf_uvarint(b, 2);
    buf_text(b, group);
    buf_no_tags(b);
    frame_end(b, start);
}

/* A string with a length of two bytes, as consumers have them in their metadata. */
static void buf_plain(struct buf *b, const char *text)
{
    size_t len = strlen(text);
    buf_i16(b, (int16_t)len);
    buf_bytes(b, text, len);
}

void frame_join(struct buf *b, const struct asker *a, const char *topic, int32_t session_ms)
{
    struct buf metadata = {0};
    buf_i16(&metadata, 1);
    buf_i32(&metadata, 1);
    buf_plain(&metadata, topic);
    buf_i32(&metadata, -1);
    buf_i32(&metadata, 0);

    size_t start = frame_begin(b, KEY_JOIN_GROUP, 9);
    buf_text(b, a->group);
    buf_i32(b, session_ms);
    buf_i32(b, 300000);
    buf_text(b, a->member);
    buf_null(b);
    buf_text(b, "consumer");
    buf_uvarint(b, 2);
    buf_text(b, "range");
    buf_uvarint(b, (uint32_t)metadata.len + 1);
    buf_bytes(b, metadata.bytes, metadata.len);
    buf_no_tags(b);
    buf_null(b);
    buf_no_tags(b);
    frame_end(b, start);
    buf_release(&metadata);
}

void frame_sync(struct buf *b,
                const struct asker *a,
                const char *topic,
                const char *const *members,
                size_t count,
                int32_t each)
{
    size_t start = frame_begin(b, KEY_SYNC_GROUP, 5);
    buf_text(b, a->group);
    buf_i32(b, a->epoch);
    buf_text(b, a->member);
    buf_null(b);
    buf_text(b, "consumer");
    buf_text(b, "range");
    buf_uvarint(b, (uint32_t)count + 1);
    int32_t partition = 0;
    for (size_t i = 0; i < count; i++) {
        struct buf assignment = {0};
        buf_i16(&assignment, 1);
        buf_i32(&assignment, 1);
        buf_plain(&assignment, topic);
        buf_i32(&assignment, each);
        for (int32_t k = 0; k < each; k++) {
            buf_i32(&assignment, partition++);
        }
        buf_i32(&assignment, -1);
        buf_text(b, members[i]);
        buf_uvarint(b, (uint32_t)assignment.len + 1);
        buf_bytes(b, assignment.bytes, assignment.len);
        buf_no_tags(b);
        buf_release(&assignment);
    }
    buf_no_tags(b);
    frame_end(b, start);
}

void frame_heartbeat(struct buf *b, const struct asker *a)
{
    size_t start = frame_begin(b, KEY_HEARTBEAT, 4);
    buf_text(b, a->group);
    buf_i32(b, a->epoch);
    buf_text(b, a->member);
    buf_null(b);
    buf_no_tags(b);
    frame_end(b, start);
}

void frame_leave(struct buf *b, const struct asker *a)
{
    size_t start = frame_begin(b, KEY_LEAVE_GROUP, 5);
    buf_text(b, a->group);
    buf_uvarint(b, 2);
    buf_text(b, a->member);
    buf_null(b);
    buf_null(b);
    buf_no_tags(b);
    buf_no_tags(b);
    frame_end(b, start);
}

void frame_commit(struct buf *b,
                  const struct asker *a,
                  const char *topic,
                  int32_t partition,
                  int64_t offset)
{
    size_t start = frame_begin(b, KEY_OFFSET_COMMIT, 9);
    buf_text(b, a->group);
    buf_i32(b, a->epoch);
    buf_text(b, a->member);
    buf_null(b);
    buf_uvarint(b, 2);
    buf_text(b, topic);
    buf_uvarint(b, 2);
    buf_i32(b, partition);
    buf_i64(b, offset);
    buf_i32(b, -1);
    buf_text(b, "");
    buf_no_tags(b);
    buf_no_tags(b);
    buf_no_tags(b);
    frame_end(b, start);
}

void frame_group_heartbeat(struct buf *b, const struct group_heartbeat *h)
{
    size_t start = frame_begin(b, KEY_GROUP_HEARTBEAT, 1);
    buf_text(b, h->asker.group);
    buf_text(b, h->asker.member);
    buf_i32(b, h->asker.epoch);
    buf_null(b);
    buf_null(b);
    buf_i32(b, h->asker.epoch == 0 ? 300000 : -1);
    if (h->topic != NULL) {
        buf_uvarint(b, 2);
        buf_text(b, h->topic);
    } else {
        buf_null(b);
    }
    buf_null(b);
    buf_null(b);
    if (h->owned_count < 0) {
        buf_null(b);
    } else if (h->owned_count == 0) {
        buf_uvarint(b, 1);
    } else {
        buf_uvarint(b, 2);
        buf_bytes(b, h->owned_topic->bytes, sizeof(h->owned_topic->bytes));
        buf_uvarint(b, (uint32_t)h->owned_count + 1);
        for (int32_t i = 0; i < h->owned_count; i++) {
            buf_i32(b, h->owned[i]);
        }
        buf_no_tags(b);
    }
    buf_no_tags(b);
    frame_end(b, start);
}

/* A compact string; longer than there is room for, or null: "". */
static void read_text(struct answer *a, char *ret, size_t size)
{
    uint32_t len = answer_uvarint(a);
    const uint8_t *p = len == 0 ? NULL : answer_take(a, len - 1);
    ret[0] = '\0';
    if (p != NULL && len - 1 < size) {
        memcpy(ret, p, len - 1);
        ret[len - 1] = '\0';
    }
}

static void skip_text(struct answer *a)
{
    uint32_t len = answer_uvarint(a);
    (void)answer_take(a, len == 0 ? 0 : len - 1);
}

static void begin_answer(struct answer *a)
{
    (void)answer_i32(a);
    answer_skip_tags(a);
    (void)answer_i32(a); /* throttle time */
}

void joined_read(struct answer *a, struct joined *ret)
{
    char leader[MEMBER_ID_BYTES];
    *ret = (struct joined){0};
    begin_answer(a);
    ret->error = answer_i16(a);
    ret->generation = answer_i32(a);
    skip_text(a);
    skip_text(a);
    read_text(a, leader, sizeof(leader));
    (void)answer_i8(a);
    read_text(a, ret->member, sizeof(ret->member));
    ret->is_leader = ret->error == 0 && strcmp(leader, ret->member) == 0;
    uint32_t count = answer_uvarint(a);
    if (count < 2 || a->failed || count > (size_t)(a->end - a->next)) {
        return;
    }
    ret->members = mem_array(count, sizeof(*ret->members));
    for (uint32_t i = 1; i < count && !a->failed; i++) {
        read_text(a, ret->members[ret->members_count++], MEMBER_ID_BYTES);
        skip_text(a);
        skip_text(a);
        answer_skip_tags(a);
    }
}

void joined_release(struct joined *j)
{
    j->members = mem_free(j->members);
    j->members_count = 0;
}

int16_t error_read(struct answer *a)
{
    begin_answer(a);
    return answer_i16(a);
}

int16_t committed_read(struct answer *a)
{
    begin_answer(a);
    (void)answer_uvarint(a);
    skip_text(a);
    (void)answer_uvarint(a);
    (void)answer_i32(a);
    return answer_i16(a);
}

int16_t found_read(struct answer *a)
{
    begin_answer(a);
    (void)answer_uvarint(a);
    skip_text(a);
    (void)answer_i32(a);
    skip_text(a);
    (void)answer_i32(a);
    return answer_i16(a);
}

void group_beat_read(struct answer *a, struct group_beat *ret)
{
    begin_answer(a);
    ret->error = answer_i16(a);
    skip_text(a);
    skip_text(a);
    ret->epoch = answer_i32(a);
    (void)answer_i32(a);
    ret->has_assignment = answer_i8(a) >= 0;
    ret->partitions_count = 0;
    if (!ret->has_assignment) {
        return;
    }
    uint32_t topics = answer_uvarint(a);
    for (uint32_t t = 1; t < topics && !a->failed; t++) {
        const uint8_t *id = answer_take(a, 16);
        if (id != NULL) {
            memcpy(ret->topic.bytes, id, 16);
        }
        uint32_t count = answer_uvarint(a);
        for (uint32_t i = 1; i < count && !a->failed; i++) {
            int32_t partition = answer_i32(a);
            if (ret->partitions_count < GROUP_PARTITION_MAX) {
                ret->partitions[ret->partitions_count++] = partition;
            }
        }
        answer_skip_tags(a);
    }
}
