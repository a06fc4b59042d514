/*
 * What hostile clients send: whole requests, built with the generated messages, and bytes that are
 * none. Topics: "hostile-0" has one partition, "wide-0" a thousand, "many-0".."many-9999" (where an
 * attack asks for them) one each.
 */
#ifndef BENCHMARK_ATTACK_FRAMES_H
#define BENCHMARK_ATTACK_FRAMES_H

#include "benchmark/frame.h"

#define MANY_TOPICS     10000
#define WIDE_PARTITIONS 1000

/* Each appends the frames of one round of its attack to `b`. */
typedef void frames_builder(struct buf *b);

frames_builder frames_fetch_megabyte;
frames_builder frames_api_versions;
frames_builder frames_small_produce;
frames_builder frames_many_elements;
frames_builder frames_lying_counts;
frames_builder frames_bombs;
frames_builder frames_unknown_partitions;
frames_builder frames_metadata_all;
frames_builder frames_metadata_names;
frames_builder frames_topic_pages;
frames_builder frames_configs_all;
frames_builder frames_log_dirs_all;
frames_builder frames_fetch_many;
frames_builder frames_fetch_sessions;
frames_builder frames_fetch_parked;
frames_builder frames_fetch_wakened;
frames_builder frames_offsets_many;
frames_builder frames_topics_refused;
frames_builder frames_topics_made;
frames_builder frames_configs_altered;
frames_builder frames_tiny_records;
frames_builder frames_large_batches;
frames_builder frames_huge_batches;
frames_builder frames_produce_wide;
frames_builder frames_producer_ids;
frames_builder frames_new_producers;

/* Not hostile: makes "huge-0", whose batches may have 100 MB. One request. */
frames_builder frames_huge_topic;

#endif
