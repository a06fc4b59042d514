/* From a topic and a partition number of a request to the partition, with Kafka's refusals. Loop
 * thread. */
#ifndef BROKER_LOOKUP_H
#define BROKER_LOOKUP_H

#include "broker/partition.h"
#include "broker/request.h"

/* *ret: a reference (partition_unref), only with NONE. UNKNOWN_TOPIC_OR_PARTITION,
 * NOT_LEADER_OR_FOLLOWER, KAFKA_STORAGE_ERROR (offline). */
enum kafka_error lookup_partition(struct request *rq,
                                  const struct image_topic *t,
                                  int32_t number,
                                  struct partition **ret);
enum kafka_error
lookup_by_name(struct request *rq, struct str topic, int32_t number, struct partition **ret);
/* UNKNOWN_TOPIC_ID for an id that no topic has. *ret_topic: NULL then. */
enum kafka_error lookup_by_id(struct request *rq,
                              const struct uuid *id,
                              int32_t number,
                              struct partition **ret,
                              const struct image_topic **ret_topic);
/* The answer where the partition's log gave `err`: one that is being deleted is not there. */
enum kafka_error lookup_failure(struct request *rq, const struct partition *p, int err);
/* The same of a read; a disk that fails is told in a line that names the partition. */
enum kafka_error lookup_read_failure(struct request *rq, const struct partition *p, int err);
/* What the client believes of the leader epoch (-1: nothing): FENCED_LEADER_EPOCH,
 * UNKNOWN_LEADER_EPOCH. */
enum kafka_error lookup_check_epoch(const struct partition *p, int32_t current_leader_epoch);

#endif
