/*
 * What a group remembers of its rebalances: the ring and its entries; story_print.c shows them,
 * story_private.h has the format.
 *
 * The machines tell what happens in the order in which it happens to them, so an expired session is
 * told before the rebalance that it causes. What is told behind the end of a rebalance stays with
 * that one, but entries of the very millisecond in which the next one begins (the tail) move over
 * to it: they are its reasons.
 *
 * Bounds: STORY_REBALANCES_MAX rebalances, in each STORY_CAUSES_MAX causes, STORY_EVENTS_MAX
 * events, STORY_STEPS_MAX steps, STORY_TEXT_MAX bytes a text. Beyond them the newest event takes
 * the place of the one before it unless a step stands between: the last event of each step is
 * always known, and it is that of whoever was waited for. The memory is charged to the shard; when
 * that is refused the oldest rebalances go, then the new entry does.
 */
#include "coord/story.h"

#include "base/base.h"

#include "coord/story_private.h"

#define HEAD_BYTES     8
#define FIRST_CAP      256 /* bytes for the entries of a new rebalance */
#define OVERTAKE_MS    60000
#define ENTRY_MAX      (HEAD_BYTES + 2 * STORY_TEXT_MAX)
#define ENTRIES_MAX    (STORY_CAUSES_MAX + 2 * STORY_EVENTS_MAX + STORY_STEPS_MAX + 1)
#define FIRST_RING_CAP 1

static_assert(ENTRY_MAX * ENTRIES_MAX <= UINT16_MAX, "a reference has two bytes");
static_assert(STORY_TEXT_MAX < STORY_SAME, "a length has one byte");

static size_t story_bytes(size_t cap)
{
    return sizeof(struct story) + cap * sizeof(struct story_rebalance *);
}

static size_t rebalance_bytes(size_t cap)
{
    return sizeof(struct story_rebalance) + cap;
}

struct story_rebalance *story_rebalance_at(const struct story *st, size_t i)
{
    check(i < st->count);
    return st->ring[(st->first + i) % st->cap];
}

static struct story_rebalance *newest(const struct story *st)
{
    return st == NULL || st->count == 0 ? NULL : story_rebalance_at(st, st->count - 1u);
}

/* ---- entries ---- */

static struct str entry_member(const struct story_rebalance *rb, uint32_t at)
{
    const uint8_t *p = rb->bytes + at;
    if (p[6] == STORY_NULL) {
        return (struct str){0};
    }
    if (p[6] == STORY_SAME) {
        uint16_t place;
        memcpy(&place, p + HEAD_BYTES, sizeof(place));
        p = rb->bytes + place;
    }
    return str_of((const char *)p + HEAD_BYTES, p[6]);
}

static size_t member_bytes(uint8_t len)
{
    return len == STORY_NULL ? 0 : len == STORY_SAME ? sizeof(uint16_t) : len;
}

static size_t entry_bytes(const uint8_t *p)
{
    return HEAD_BYTES + member_bytes(p[6]) + (p[7] == STORY_NULL ? 0 : p[7]);
}

bool story_next(const struct story_rebalance *rb, uint32_t *at, struct story_entry *ret)
{
    if (*at >= rb->len) {
        return false;
    }
    const uint8_t *p = rb->bytes + *at;
    *ret = (struct story_entry){
        .type = (enum story_entry_type)p[4],
        .kind = p[5],
        .member = entry_member(rb, *at),
    };
    memcpy(&ret->after_ms, p, sizeof(ret->after_ms));
    const uint8_t *detail = p + HEAD_BYTES + member_bytes(p[6]);
    if (ret->type == STORY_STEP) {
        memcpy(&ret->epoch, detail, sizeof(ret->epoch));
    } else if (p[7] != STORY_NULL) {
        ret->detail = str_of((const char *)detail, p[7]);
    }
    *at += (uint32_t)entry_bytes(p);
    return true;
}

/* Where the member is spelled out; UINT32_MAX: nowhere. */
static uint32_t find_spelled(const struct story_rebalance *rb, struct str member)
{
    for (uint32_t at = 0; at < rb->len; at += (uint32_t)entry_bytes(rb->bytes + at)) {
        const uint8_t *p = rb->bytes + at;
        if (p[6] == member.len && memcmp(p + HEAD_BYTES, member.ptr, member.len) == 0) {
            return at;
        }
    }
    return UINT32_MAX;
}

static struct str cut(struct str s)
{
    s.len = min_size(s.len, STORY_TEXT_MAX);
    return s;
}

/* Writes an entry at p, which has room for ENTRY_MAX; returns its bytes. */
static size_t
write_entry(const struct story_rebalance *rb, uint8_t *p, const struct story_entry *entry)
{
    struct str member = cut(entry->member);
    struct str detail = cut(entry->detail);
    memcpy(p, &entry->after_ms, sizeof(entry->after_ms));
    p[4] = (uint8_t)entry->type;
    p[5] = (uint8_t)entry->kind;
    uint8_t *to = p + HEAD_BYTES;
    uint32_t spelled = str_is_null(member) || member.len <= sizeof(uint16_t)
                           ? UINT32_MAX
                           : find_spelled(rb, member);
    if (str_is_null(member)) {
        p[6] = STORY_NULL;
    } else if (spelled != UINT32_MAX) {
        p[6] = STORY_SAME;
        uint16_t place = (uint16_t)spelled;
        memcpy(to, &place, sizeof(place));
        to += sizeof(place);
    } else {
        p[6] = (uint8_t)member.len;
        memcpy(to, member.ptr, member.len);
        to += member.len;
    }
    if (entry->type == STORY_STEP) {
        p[7] = sizeof(entry->epoch);
        memcpy(to, &entry->epoch, sizeof(entry->epoch));
    } else if (str_is_null(detail)) {
        p[7] = STORY_NULL;
    } else {
        p[7] = (uint8_t)detail.len;
        memcpy(to, detail.ptr, detail.len);
    }
    return entry_bytes(p);
}

/* ---- the ring ---- */

static void drop_oldest(struct shard *sh, struct story *st)
{
    struct story_rebalance *rb = story_rebalance_at(st, 0);
    shard_give(sh, to_i64(rebalance_bytes(rb->cap)));
    st->ring[st->first] = mem_free(rb);
    st->first = (uint8_t)((st->first + 1u) % st->cap);
    st->count--;
}

/* Takes memory from the shard, if need be that of the oldest rebalances but the newest `keep`. */
static bool take(struct shard *sh, struct story *st, size_t bytes, size_t keep)
{
    while (!shard_charge(sh, to_i64(bytes))) {
        st->is_refused = true;
        if (st->count <= keep) {
            return false;
        }
        drop_oldest(sh, st);
    }
    return true;
}

/* The group's story with room for one more rebalance; NULL: memory is short. */
static struct story *make_room(struct shard *sh, struct group *g)
{
    struct story *st = g->story;
    if (st != NULL && st->count == STORY_REBALANCES_MAX) {
        drop_oldest(sh, st);
    }
    if (st != NULL && st->count < st->cap) {
        return st;
    }
    size_t cap = st == NULL ? FIRST_RING_CAP : min_size(st->cap * 2u, STORY_REBALANCES_MAX);
    size_t old_bytes = st == NULL ? 0 : story_bytes(st->cap);
    if (!shard_charge(sh, to_i64(story_bytes(cap) - old_bytes))) {
        if (st == NULL) {
            return NULL;
        }
        st->is_refused = true;
        drop_oldest(sh, st);
        return st;
    }
    struct story *grown = mem_zalloc(story_bytes(cap));
    if (st != NULL) {
        *grown = *st;
        grown->first = 0;
        for (size_t i = 0; i < st->count; i++) {
            grown->ring[i] = story_rebalance_at(st, i);
        }
        mem_free(st);
    }
    grown->cap = (uint8_t)cap;
    g->story = grown;
    return grown;
}

static struct story_rebalance *add_rebalance(struct shard *sh, struct group *g)
{
    struct story *st = make_room(sh, g);
    if (st == NULL || !take(sh, st, rebalance_bytes(FIRST_CAP), 0)) {
        return NULL;
    }
    struct story_rebalance *rb = mem_alloc(rebalance_bytes(FIRST_CAP));
    *rb = (struct story_rebalance){
        .wall_ms = sh->wall_ms,
        .now_ms = sh->now_ms,
        .cap = FIRST_CAP,
        .tail_ms = UINT32_MAX,
    };
    st->ring[(st->first + st->count) % st->cap] = rb;
    st->count++;
    return rb;
}

/* The newest rebalance with `cap` bytes for entries; NULL: memory is short. The one before it
 * stays. */
static struct story_rebalance *resize(struct shard *sh, struct story *st, size_t cap)
{
    struct story_rebalance *rb = newest(st);
    if (cap > rb->cap && !take(sh, st, cap - rb->cap, 2)) {
        return NULL;
    }
    if (cap < rb->cap) {
        shard_give(sh, to_i64(rb->cap - cap));
    }
    rb = mem_realloc(rb, rebalance_bytes(cap));
    rb->cap = (uint32_t)cap;
    st->ring[(st->first + st->count - 1u) % st->cap] = rb;
    return rb;
}

static uint32_t since(const struct shard *sh, const struct story_rebalance *rb)
{
    return (uint32_t)min_i64(max_i64(sh->now_ms - rb->now_ms, 0), UINT32_MAX - 1);
}

/* Appends to the newest rebalance; the entry's time is set here. */
static void append(struct shard *sh, struct story *st, struct story_entry entry)
{
    struct story_rebalance *rb = newest(st);
    entry.after_ms = since(sh, rb);
    uint8_t bytes[ENTRY_MAX];
    size_t n = write_entry(rb, bytes, &entry);
    if (rb->len + n > rb->cap) {
        rb = resize(sh, st, max_size(rb->len + n, rb->cap + rb->cap / 2u));
        if (rb == NULL) {
            return;
        }
    }
    if (rb->is_over && rb->tail_ms != entry.after_ms) {
        rb->tail = rb->len;
        rb->tail_ms = entry.after_ms;
    }
    memcpy(rb->bytes + rb->len, bytes, n);
    rb->last = rb->len;
    rb->len += (uint32_t)n;
    rb->events_count = (uint16_t)(rb->events_count + (entry.type == STORY_EVENT));
    rb->causes_count = (uint8_t)(rb->causes_count + (entry.type == STORY_CAUSE));
    rb->steps_count = (uint8_t)(rb->steps_count + (entry.type == STORY_STEP));
}

static bool is_last(const struct story_rebalance *rb, enum story_entry_type type)
{
    return rb->last < rb->len && rb->bytes[rb->last + 4] == (uint8_t)type;
}

/* Moves the tail of `rb` to the newest rebalance, which is new. */
static void move_tail(struct shard *sh, struct story *st, struct story_rebalance *rb)
{
    uint32_t at = rb->tail;
    struct story_entry entry;
    while (story_next(rb, &at, &entry)) {
        rb->events_count--;
        append(sh, st, entry);
    }
    rb->len = rb->tail;
    rb->tail_ms = UINT32_MAX;
    rb->last = rb->len; /* whatever stands before it is no event to be replaced */
}

/* ---- what the machines tell ---- */

void story_begin(struct shard *sh,
                 struct group *g,
                 enum story_cause cause,
                 struct str member,
                 struct str detail)
{
    struct story_rebalance *before = newest(g->story);
    bool is_overtaken = before != NULL && !before->is_over &&
                        before->causes_count >= STORY_CAUSES_MAX && since(sh, before) > OVERTAKE_MS;
    struct story_entry entry = {
        .type = STORY_CAUSE,
        .kind = (int)cause,
        .member = member,
        .detail = detail,
    };
    if (before != NULL && !before->is_over && !is_overtaken) {
        if (before->causes_count >= STORY_CAUSES_MAX) {
            before->causes_dropped++;
        } else {
            append(sh, g->story, entry);
        }
        return;
    }
    if (is_overtaken) {
        before->is_overtaken = true;
    }
    size_t count = g->story == NULL ? 0 : g->story->count;
    struct story_rebalance *rb = add_rebalance(sh, g);
    if (rb == NULL) {
        return;
    }
    struct story *st = g->story;
    rb->number = ++st->total;
    append(sh, st, entry);
    if (count == 0 || st->count < 2) {
        return; /* whatever was before is gone */
    }
    before = story_rebalance_at(st, st->count - 2u);
    if (before->is_over && before->tail_ms == since(sh, before)) {
        move_tail(sh, st, before);
        if (before->number == 0 && before->len == 0 && st->count == 2) {
            drop_oldest(sh, st);
        }
    }
}

void story_event(struct shard *sh,
                 struct group *g,
                 enum story_event_kind kind,
                 struct str member,
                 struct str detail)
{
    struct story_rebalance *rb = newest(g->story);
    if (rb == NULL) {
        rb = add_rebalance(sh, g);
        if (rb == NULL) {
            return;
        }
        rb->is_over = true;
    }
    if (rb->events_count >= STORY_EVENTS_MAX) {
        rb->dropped++;
        bool has_own_place = is_last(rb, STORY_EVENT) && rb->tail_ms != since(sh, rb);
        if (has_own_place) {
            rb->len = rb->last;
            rb->events_count--;
        } else if (rb->events_count >= 2 * STORY_EVENTS_MAX) {
            return;
        }
    }
    append(sh, g->story,
           (struct story_entry){
               .type = STORY_EVENT,
               .kind = (int)kind,
               .member = member,
               .detail = detail,
           });
}

void story_step(struct shard *sh, struct group *g, enum story_step step, int32_t epoch)
{
    struct story_rebalance *rb = newest(g->story);
    if (rb == NULL || rb->is_over) {
        return;
    }
    if (step != STORY_STEP_STABLE && rb->steps_count >= STORY_STEPS_MAX) {
        return;
    }
    append(sh, g->story,
           (struct story_entry){.type = STORY_STEP, .kind = (int)step, .epoch = epoch});
    rb = newest(g->story);
    if (step == STORY_STEP_STABLE) {
        rb->is_over = true;
        IGNORE(resize(sh, g->story, rb->len)); /* smaller: cannot fail */
    }
}

struct story *story_free(struct shard *sh, struct story *st)
{
    if (st == NULL) {
        return NULL;
    }
    while (st->count > 0) {
        drop_oldest(sh, st);
    }
    shard_give(sh, to_i64(story_bytes(st->cap)));
    return mem_free(st);
}
