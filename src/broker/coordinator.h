/*
 * The group coordinator's thread: owns a shard (coord/shard.h) for each partition of
 * __consumer_offsets that this broker leads, loads it from the log, runs requests against it,
 * writes the records of a turn in one batch a shard, and answers when they are committed.
 *
 *     io thread                        coordinator's thread                      io thread
 *     handler: authorize, check   ->   shard event: records, completed calls
 *                                      end of turn: append, one batch a shard
 *                                      high watermark passes them           ->   done, answer
 *
 * A partition is elected (leader here: load, COORDINATOR_LOAD_IN_PROGRESS meanwhile) and resigned
 * (NOT_COORDINATOR) by images. A failed append: what waits is answered with
 * COORDINATOR_NOT_AVAILABLE or NOT_COORDINATOR, and the shard is loaded anew.
 *
 * Kafka: CoordinatorRuntime, GroupCoordinatorService.
 */
#ifndef BROKER_COORDINATOR_H
#define BROKER_COORDINATOR_H

#include "base/base.h"
#include "broker/request.h"
#include "coord/shard.h"

struct broker;
struct coordinator;

#define OFFSETS_TOPIC STR("__consumer_offsets")

must_check int coordinator_new(struct broker *br, struct coordinator **ret);
must_check int coordinator_start(struct coordinator *co);
/* Before the io threads stop: nothing is left parked, and what comes later is refused. Takes NULL.
 */
void coordinator_stop(struct coordinator *co);
struct coordinator *coordinator_free(struct coordinator *co);
/* A new image is in force (partitions exist already). The metadata thread. */
void coordinator_apply_image(struct coordinator *co, struct image *im);

/* Kafka's hash over the present number of partitions of __consumer_offsets; -1: there is no such
 * topic. */
int32_t coordinator_partition(const struct image *im, struct str group_id);

/* Constant values that handlers look at, too. Any thread. */
const struct shard_config *coordinator_config(const struct coordinator *co);
/* The consumer protocol is not switched off (group.version, group.coordinator.rebalance.protocols).
 * A request's thread. */
bool coordinator_serves_consumer_groups(struct request *rq);

/* Each of these parks the request (returns REQUEST_PARKED) and answers it from rq->response. The
 * functions run on the coordinator's thread, which has the request's body, response and arena to
 * itself until the answer; they must not touch anything of the loop. */

/* One group. run completes the call, now or later. refuse fills the answer instead when there is no
 * shard for the group: COORDINATOR_NOT_AVAILABLE, NOT_COORDINATOR, COORDINATOR_LOAD_IN_PROGRESS;
 * also when an append has failed (then over what run has filled). */
enum request_verdict coordinator_call(struct request *rq,
                                      struct str group_id,
                                      void (*run)(struct shard *sh, struct shard_call *call),
                                      void (*refuse)(struct request *rq, enum kafka_error error));
/* The same for a request that changes nothing most of the time (a heartbeat), and may wait a few
 * milliseconds for others to share the wake of the coordinator with. */
enum request_verdict coordinator_call_late(struct request *rq,
                                           struct str group_id,
                                           void (*run)(struct shard *sh, struct shard_call *call),
                                           void (*refuse)(struct request *rq,
                                                          enum kafka_error error));
/* The request of a call that coordinator_call has made. */
struct request *coordinator_request(struct shard_call *call);

/* `count` groups of one request: part or refuse for each of them; answered when everything that
 * they have seen or written is committed. */
enum request_verdict
coordinator_parts(struct request *rq,
                  size_t count,
                  struct str (*group_of)(struct request *rq, size_t i),
                  void (*part)(struct shard *sh, struct request *rq, size_t i),
                  void (*refuse)(struct request *rq, size_t i, enum kafka_error error));

/* Every shard of this broker; refuse once for each that is loading. */
enum request_verdict coordinator_all(struct request *rq,
                                     void (*part)(struct shard *sh, struct request *rq),
                                     void (*refuse)(struct request *rq, enum kafka_error error));

/* For the control door: run(cq, sh, error) on the coordinator's thread with the group's shard, or
 * with NULL and why there is none. Any thread; ends the wait of whoever asked in its own way. */
struct coordinator_question {
    struct list link; /* used by the coordinator */
    struct str group_id;
    void (*run)(struct coordinator_question *cq, struct shard *sh, enum kafka_error error);
};
/* False: the coordinator takes no more. */
must_check bool coordinator_ask(struct coordinator *co, struct coordinator_question *cq);

#endif
