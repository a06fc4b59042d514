/*
 * How a story is kept (P): only story.c and story_print.c look here.
 *
 * A rebalance is one block: a head and entries behind each other, each of which is
 *
 *     offset  size  field
 *     0       4     ms since the rebalance's first entry, in the machine's own byte order
 *     4       1     type: cause, event, step
 *     5       1     kind: of enum story_cause, story_event_kind, story_step
 *     6       1     bytes of the member's id; STORY_NULL: none; STORY_SAME: a reference
 *     7       1     bytes of the detail; STORY_NULL: none. A step: 4
 *     8       ...   the member's id, or 2 bytes: where the entry stands that spells it out
 *     ...     ...   the detail; a step: its epoch, 4 bytes
 *
 * A member is named many times in one rebalance and spelled once: a group of one member that has
 * joined once costs some 350 bytes.
 */
#ifndef COORD_STORY_PRIVATE_H
#define COORD_STORY_PRIVATE_H

#include "coord/story.h"

#define STORY_TEXT_MAX   128 /* bytes kept of a text */
#define STORY_CAUSES_MAX 16  /* of one rebalance; then they are counted only */
#define STORY_STEPS_MAX  32
#define STORY_NULL       255
#define STORY_SAME       254

enum story_entry_type {
    STORY_CAUSE,
    STORY_EVENT,
    STORY_STEP,
};

struct story_rebalance {
    int64_t wall_ms;  /* of the first entry, for people */
    int64_t now_ms;   /* of the first entry, for distances */
    uint32_t number;  /* counted from 1; 0: events before any rebalance */
    uint32_t len;     /* of bytes */
    uint32_t cap;     /* of bytes */
    uint32_t last;    /* offset of the newest entry; len when there is none */
    uint32_t tail;    /* offset of the first entry behind the end that has tail_ms; see story.c */
    uint32_t tail_ms; /* UINT32_MAX: there is no such entry */
    uint32_t dropped; /* events that were counted only */
    uint32_t causes_dropped;
    uint16_t events_count;
    uint8_t causes_count;
    uint8_t steps_count;
    bool is_over;
    bool is_overtaken; /* it never ended: the next one began after a long while */
    uint8_t bytes[];
};

struct story {
    uint32_t total;                 /* rebalances that have begun */
    uint8_t first;                  /* place of the oldest one in ring */
    uint8_t count;                  /* of ring */
    uint8_t cap;                    /* of ring */
    bool is_refused;                /* something was lost because memory was short */
    struct story_rebalance *ring[]; /* owned */
};

struct story_entry {
    enum story_entry_type type;
    int kind;
    uint32_t after_ms;
    struct str member; /* null: none */
    struct str detail; /* null: none */
    int32_t epoch;     /* of a step */
};

/* i: 0 is the oldest. */
struct story_rebalance *story_rebalance_at(const struct story *st, size_t i);
/* Walks the entries; *at begins at 0. False: that was all. */
bool story_next(const struct story_rebalance *rb, uint32_t *at, struct story_entry *ret);

#endif
