/*
 * The topics of a request, each once: a request may name a topic, and a partition of it, more than
 * once, and many answers of Kafka are built from maps, so that they hold every topic and partition
 * once and no topic without partitions (P). All memory is the arena's, but for hash buckets, which
 * topic_groups_release frees.
 */
#ifndef BROKER_TOPIC_GROUPS_H
#define BROKER_TOPIC_GROUPS_H

#include "base/base.h"
#include "base/hmap.h"
#include "base/mem.h"

/* An array of topics in a decoded body, described by where things lie. */
struct topic_source {
    const void *items;
    size_t count;
    size_t size;          /* of one topic */
    size_t key_at;        /* of its name (struct str) or id (struct uuid) */
    size_t partitions_at; /* of its array of partitions */
    bool is_by_id;
};

/* The source of `array`, whose topics are of type `type` with a key and an array of partitions. */
#define TOPIC_SOURCE(array, type, key, partitions, by_id)                          \
    ((struct topic_source){.items = (array).items,                                 \
                           .count = (array).count > 0 ? (size_t)(array).count : 0, \
                           .size = sizeof(type),                                   \
                           .key_at = offsetof(type, key),                          \
                           .partitions_at = offsetof(type, partitions),            \
                           .is_by_id = (by_id)})

/* A partition that is named. */
struct named_partition {
    struct hmap_node node;
    size_t group;
    int32_t number;
    int32_t times; /* the caller's, 0 at first */
    void *user;    /* the caller's, NULL at first */
};

struct topic_groups {
    struct arena *arena; /* borrowed */
    size_t count;        /* of groups: different topics that name partitions */
    size_t total;        /* partitions named in all, repeated ones too */
    size_t *of;          /* by topic of the source: its group; SIZE_MAX: it names no partition */
    size_t *first;       /* by group: its first topic in the source */
    size_t *partitions;  /* by group: partitions named, repeated ones too */
    struct hmap named;   /* named_partition */
};

void topic_groups_init(struct topic_groups *tg,
                       const struct topic_source *source,
                       struct arena *arena,
                       uint64_t seed);
void topic_groups_release(struct topic_groups *tg);

/* The same object for the same partition of the same group; never NULL. */
struct named_partition *
topic_groups_partition(struct topic_groups *tg, size_t group, int32_t number);

#endif
