/* Partitions of a request; see lookup.h. Kafka: ReplicaManager.getPartitionOrError,
 * Partition.checkCurrentLeaderEpoch. */
#include "broker/lookup.h"

#include "base/err.h"
#include "broker/broker.h"
#include "broker/io_thread.h"
#include "broker/partition_table.h"

enum kafka_error lookup_partition(struct request *rq,
                                  const struct image_topic *t,
                                  int32_t number,
                                  struct partition **ret)
{
    if (t == NULL || number < 0 || number >= t->partitions_count) {
        return KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION;
    }
    struct partition *p = partition_find(rq->br->partitions, &t->id, number);
    if (p == NULL) {
        return t->partitions[number].leader == rq->br->node_id
                   ? KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION
                   : KAFKA_ERROR_NOT_LEADER_OR_FOLLOWER;
    }
    if (p->pl == NULL || plog_is_offline(p->pl)) {
        enum kafka_error error = lookup_failure(rq, p, ERR_OFFLINE);
        if (error == KAFKA_ERROR_KAFKA_STORAGE_ERROR) {
            partition_table_note_offline(rq->br->partitions);
        }
        partition_unref(p);
        return error;
    }
    *ret = p;
    return KAFKA_ERROR_NONE;
}

enum kafka_error lookup_failure(struct request *rq, const struct partition *p, int err)
{
    return atomic_load(&p->is_deleted) ? KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION
                                       : kafka_error_from(rq, err);
}

enum kafka_error lookup_read_failure(struct request *rq, const struct partition *p, int err)
{
    enum kafka_error error = lookup_failure(rq, p, err);
    /* Of a log that is offline it has been said why. */
    if (error == KAFKA_ERROR_KAFKA_STORAGE_ERROR && err != ERR_OFFLINE) {
        io_thread_report_read(rq->io, p->topic, p->number, err);
    }
    return error;
}

enum kafka_error
lookup_by_name(struct request *rq, struct str topic, int32_t number, struct partition **ret)
{
    return lookup_partition(rq, image_topic_by_name(request_image(rq), topic), number, ret);
}

enum kafka_error lookup_by_id(struct request *rq,
                              const struct uuid *id,
                              int32_t number,
                              struct partition **ret,
                              const struct image_topic **ret_topic)
{
    *ret_topic = image_topic_by_id(request_image(rq), id);
    return *ret_topic == NULL ? KAFKA_ERROR_UNKNOWN_TOPIC_ID
                              : lookup_partition(rq, *ret_topic, number, ret);
}

enum kafka_error lookup_check_epoch(const struct partition *p, int32_t current_leader_epoch)
{
    int32_t known = atomic_load_explicit(&p->leader_epoch, memory_order_relaxed);
    if (current_leader_epoch == -1 || current_leader_epoch == known) {
        return KAFKA_ERROR_NONE;
    }
    return current_leader_epoch < known ? KAFKA_ERROR_FENCED_LEADER_EPOCH
                                        : KAFKA_ERROR_UNKNOWN_LEADER_EPOCH;
}
