/*
 * What is known of a segment's bytes: ranges whose batches were checked (or written by this
 * process), and holes, where damage was found. Ranges are joined as they grow; with too many the
 * shortest is forgotten, which only means to check it again. Holes are never forgotten while the
 * log is open.
 */
#include "storage/segment.h"

#include "base/base.h"
#include "base/mem.h"

/* The range that holds `position`, or NULL. */
static const struct byte_range *range_of(const struct segment *sg, int64_t position)
{
    for (uint16_t i = sg->verified_count; i > 0; i--) {
        const struct byte_range *r = &sg->verified[i - 1];
        if (r->from <= position) {
            return position < r->to ? r : NULL;
        }
    }
    return NULL;
}

bool segment_is_verified(const struct segment *sg, int64_t from, int64_t to)
{
    const struct byte_range *r = range_of(sg, from);
    return from >= to || (r != NULL && to <= r->to);
}

static void remove_range(struct segment *sg, uint16_t i)
{
    sg->verified_count--;
    memmove(&sg->verified[i], &sg->verified[i + 1],
            (size_t)(sg->verified_count - i) * sizeof(sg->verified[0]));
}

static void insert_range(struct segment *sg, uint16_t at, int64_t from, int64_t to)
{
    if (sg->verified_count == SEGMENT_RANGES_MAX) {
        /* Forgetting one only means to check it again: take the shortest. */
        uint16_t shortest = 0;
        for (uint16_t i = 1; i < sg->verified_count; i++) {
            if (sg->verified[i].to - sg->verified[i].from <
                sg->verified[shortest].to - sg->verified[shortest].from) {
                shortest = i;
            }
        }
        remove_range(sg, shortest);
        at = (uint16_t)(at > shortest ? at - 1 : at);
    }
    if (sg->verified_count == sg->verified_cap) {
        sg->verified_cap = (uint16_t)(sg->verified_cap == 0 ? 1 : sg->verified_cap * 2);
        sg->verified = mem_realloc(sg->verified, sg->verified_cap * sizeof(sg->verified[0]));
    }
    memmove(&sg->verified[at + 1], &sg->verified[at],
            (size_t)(sg->verified_count - at) * sizeof(sg->verified[0]));
    sg->verified[at] = (struct byte_range){.from = from, .to = to};
    sg->verified_count++;
}

void segment_add_verified(struct segment *sg, int64_t from, int64_t to)
{
    uint16_t n = sg->verified_count;
    if (n > 0 && sg->verified[n - 1].to == from) { /* the road of every append */
        sg->verified[n - 1].to = to;
        return;
    }
    uint16_t at = 0;
    while (at < sg->verified_count && sg->verified[at].to < from) {
        at++;
    }
    /* Joins every range that it touches. */
    while (at < sg->verified_count && sg->verified[at].from <= to) {
        from = min_i64(from, sg->verified[at].from);
        to = max_i64(to, sg->verified[at].to);
        remove_range(sg, at);
    }
    insert_range(sg, at, from, to);
}

void segment_add_hole(struct segment *sg, const struct hole *h)
{
    uint16_t at = 0;
    while (at < sg->holes_count && sg->holes[at].from < h->from) {
        at++;
    }
    if (at < sg->holes_count && sg->holes[at].from == h->from) {
        sg->holes[at] = *h;
        return;
    }
    check(sg->holes_count < UINT16_MAX);
    sg->holes = mem_realloc(sg->holes, (size_t)(sg->holes_count + 1) * sizeof(sg->holes[0]));
    memmove(&sg->holes[at + 1], &sg->holes[at],
            (size_t)(sg->holes_count - at) * sizeof(sg->holes[0]));
    sg->holes[at] = *h;
    sg->holes_count++;
}

const struct hole *segment_hole_from(const struct segment *sg, int64_t position)
{
    for (uint16_t i = 0; i < sg->holes_count; i++) {
        if (sg->holes[i].from >= position) {
            return &sg->holes[i];
        }
    }
    return NULL;
}

const struct hole *segment_hole_of(const struct segment *sg, int64_t offset)
{
    for (uint16_t i = 0; i < sg->holes_count; i++) {
        if (offset >= sg->holes[i].offset_from && offset < sg->holes[i].offset_to) {
            return &sg->holes[i];
        }
    }
    return NULL;
}
