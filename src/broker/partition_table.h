/*
 * The partitions that this broker holds, by topic id and number: made and removed by the metadata
 * thread when an image says so, before anybody is answered about them.
 */
#ifndef BROKER_PARTITION_TABLE_H
#define BROKER_PARTITION_TABLE_H

#include "base/base.h"
#include "base/uuid.h"
#include "meta/image.h"

struct broker;
struct partition;
struct partition_table;

struct partition_table *partition_table_new(struct broker *br);
/* Before anybody is served: what a kill left written but not known to be stable becomes stable in
 * one round, so that every acknowledged record is seen from the first answer on. */
void partition_table_settle(struct partition_table *pt);
/* The end: flushes (when clean) and closes all logs. No other thread is left. */
void partition_table_close(struct partition_table *pt, bool is_clean);
struct partition_table *partition_table_free(struct partition_table *pt);

/* A new reference or NULL. Any thread. */
struct partition *
partition_find(struct partition_table *pt, const struct uuid *topic_id, int32_t number);

/* All of them, each with a new reference, into mem_alloc'ed memory. */
void partition_all(struct partition_table *pt, struct partition ***ret, size_t *ret_count);

/* The metadata thread: tries again to make or open the files of partitions that are offline for
 * want of room, descriptors or memory (broker.h: on_offline). True: some still are. */
must_check bool partition_table_retry(struct partition_table *pt, const struct image *im);
/* Some partition may be offline; before anybody has met one, or after the last one is back: false.
 * Any thread. */
bool partition_table_has_offline(const struct partition_table *pt);
void partition_table_note_offline(struct partition_table *pt);
/* Its files cannot be used. Any thread. */
bool partition_is_offline(struct partition_table *pt, const struct uuid *topic_id, int32_t number);

/* The metadata thread: makes what `after` has and `before` (NULL: nothing) has not, removes what is
 * gone, applies configs. */
void partition_apply_image(struct partition_table *pt,
                           const struct image *before,
                           struct image *after);

#endif
