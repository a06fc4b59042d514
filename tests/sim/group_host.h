/*
 * The coordinator's host in sim_groups: what broker/coordinator_run.c is to the shards, without
 * threads. A shard has a log; what an event appends is committed a while later, and then the calls
 * are answered. Shards crash (with a part of what was not committed), resign, fail to append, and
 * come back by replay of their logs, which are compacted now and then.
 */
#ifndef TESTS_SIM_GROUP_HOST_H
#define TESTS_SIM_GROUP_HOST_H

#include "base/base.h"
#include "coord/shard.h"
#include "group_world.h"

/* A request on its way, in the host, or on its way back. */
struct host_call {
    struct shard_call call;
    struct list at; /* of the host, while it has it */
    struct arena arena;
    struct world *w;
    struct client *client; /* NULL: an admin, who hears nothing */
    uint64_t serial;       /* of the client */
    int group;
    struct shard *sh;                  /* while run is called */
    void (*run)(struct host_call *hc); /* in an event */
    void (*done)(struct client *cl, struct host_call *hc);
    enum kafka_error refused; /* by the host: there is no response */
    bool is_refused;
    struct sim_event travel;
    int64_t arrived_us;
    size_t needed;   /* records that must be committed before it is answered */
    uint64_t number; /* in the order of execution */
};

struct group_host;

struct group_host *group_host_new(struct world *w);
struct group_host *group_host_free(struct group_host *h);

int group_host_shards(const struct group_host *h);
int group_host_shard_of(const struct group_host *h, int group);
struct shard *group_host_shard(const struct group_host *h, int shard); /* NULL: down or loading */

/* For the wire: the call belongs to the host from now on. */
void group_host_send(struct group_host *h, struct host_call *hc);
struct host_call *host_call_new(struct world *w, int group);

void group_host_topic_changed(struct group_host *h, enum shard_topic_change change, int topic);
void group_host_crash(struct group_host *h, int shard);
void group_host_resign(struct group_host *h, int shard);
void group_host_fail_next_append(struct group_host *h, int shard);
void group_host_calm(struct group_host *h); /* everything comes up and stays */
/* Calls that a shard holds since before this moment. */
bool group_host_has_waited(const struct group_host *h, int64_t since_us);
/* A shard that has read the log of this one. The caller frees it. */
struct shard *group_host_replay(struct group_host *h, int shard);

#endif
