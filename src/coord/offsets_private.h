/*
 * What the files of offsets share (P).
 *
 * An entry is one partition of one topic in one group. It lives while an offset is committed there
 * or one is pending. Topic names are kept once a shard. Nobody but offsets*.c includes this.
 */
#ifndef COORD_OFFSETS_PRIVATE_H
#define COORD_OFFSETS_PRIVATE_H

#include "base/base.h"
#include "base/hmap.h"
#include "base/list.h"
#include "base/timers.h"
#include "coord/offsets.h"

struct offset_topic {
    struct hmap_node node; /* in offsets.topics, by name */
    struct list entries;   /* of all groups, by of_topic; never empty: the last one frees it */
    size_t entries_count;
    struct str name; /* owned, behind the struct */
    int64_t charged;
};

/* An offset of a transaction that has not ended. */
struct pending_offset {
    struct list of_txn;          /* in offset_txn.pending */
    struct pending_offset *next; /* of the same entry */
    struct offset_txn *txn;
    struct offset_entry *entry;
    struct committed_offset at; /* its metadata is owned */
    int64_t sequence;
    int64_t charged;
};

struct offset_txn {
    struct hmap_node node; /* in offsets.txns, by producer id */
    struct list pending;   /* never empty */
    size_t pending_count;
    int64_t producer_id;
};

struct offset_entry {
    struct hmap_node node; /* in group_offsets.entries, by topic and partition */
    struct list of_topic;
    struct offset_topic *topic;
    struct group_offsets *owner;
    struct committed_offset at; /* when is_committed; its metadata is owned */
    struct pending_offset *pending;
    int64_t sequence; /* when is_committed: place of its record among all of the shard */
    int32_t partition;
    int32_t charged;
    bool is_committed;
};

struct group_offsets {
    struct group *group;
    struct hmap entries;
    size_t committed_count;
    size_t pending_count;
    int64_t charged;
};

struct offsets {
    struct shard *sh;
    struct hmap topics;
    struct hmap txns;
    struct timer expiry;
    int64_t sequence; /* records seen so far */
};

struct offset_topic *offsets_topic_find(const struct offsets *os, struct str name); /* or NULL */
struct offset_entry *offsets_entry_find(const struct group_offsets *go,
                                        const struct offset_topic *ot,
                                        int32_t partition); /* takes NULLs, returns NULL: none */
/* Bytes that an entry of this metadata counts for; a new topic; a group's first entry besides. */
int64_t offsets_entry_cost(struct str metadata);
int64_t offsets_topic_cost(struct str name);
int64_t offsets_group_cost(void);

struct offset_entry *
offsets_entry_make(struct shard *sh, struct group *g, struct str topic, int32_t partition);
void offsets_entry_free(struct shard *sh, struct offset_entry *oe); /* nothing pending is there */

/* A tombstone for the entry, which is gone afterwards. */
void offsets_emit_tombstone(struct shard *sh, struct group *g, struct offset_entry *oe);

/* offsets_txn.c: what is pending of this entry is forgotten; the entry stays. */
void offsets_drop_pending(struct shard *sh, struct offset_entry *oe);
void offsets_add_pending(struct shard *sh,
                         struct offset_entry *oe,
                         int64_t producer_id,
                         const struct committed_offset *at);
/* offsets.c: takes the place of what is committed there. The metadata is copied. */
void offsets_put(struct shard *sh,
                 struct offset_entry *oe,
                 const struct committed_offset *at,
                 int64_t sequence);
/* The entry goes when nothing is committed or pending there. */
void offsets_entry_tidy(struct shard *sh, struct offset_entry *oe);
/* Owned copy of a metadata text; an empty one is not owned. */
struct str offsets_text_copy(struct str text);
void offsets_text_free(struct str text);

#endif
