/*
 * The world of sim_groups: a few topics, the coordinator's host (group_host.h), and the clients of
 * some groups.
 *
 * A client is a small model of a consumer: it has one request under way at a time, believes that it
 * owns some partitions, reads where it left off, commits, and does what errors tell it. It never
 * looks into the coordinator. The world (group_check.c) knows what all of them believe, and what
 * has been committed.
 */
#ifndef TESTS_SIM_GROUP_WORLD_H
#define TESTS_SIM_GROUP_WORLD_H

#include "base/base.h"
#include "base/mem.h"
#include "coord/classic.h"
#include "coord/consumer.h"
#include "coord/shard.h"
#include "sim.h"

enum {
    TOPICS_MAX = 6,
    PARTITIONS_MAX = 12, /* of a topic; a set of them is a mask */
    GROUPS_MAX = 6,
    SHARDS_MAX = 3,
    CLIENTS_MAX = 400,
    ID_BYTES_MAX = 128,
};

enum mistake { /* planted ones: places in the scenario's list, from 1 */
    MISTAKE_NONE,
    MISTAKE_ANSWERS_EARLY,  /* before the records are committed */
    MISTAKE_LOSES_RECORDS,  /* some are not in the log */
    MISTAKE_SWAPS_ANSWERS,  /* a member gets the assignment of another one */
    MISTAKE_BELIEVES_EARLY, /* that a member has given back what it should */
    MISTAKE_FORGETS_TIMERS,
};

struct world;
struct host_call;

struct topic {
    char name[16];
    struct uuid id;
    int32_t partitions;
    uint32_t incarnation; /* another one each time that it is made */
    bool exists;
    bool has_racks;
};

/* Partitions of one topic that somebody holds; of another incarnation: nothing. */
struct held {
    uint32_t incarnation;
    uint32_t mask;
};

enum client_kind {
    CLIENT_EAGER,       /* classic, gives all back before it joins */
    CLIENT_COOPERATIVE, /* classic, gives back what others get */
    CLIENT_MODERN,      /* KIP-848 */
    CLIENT_SIMPLE,      /* commits offsets without being a member */
};

enum client_state {
    CLIENT_OFF,
    CLIENT_JOINS,
    CLIENT_SYNCS,
    CLIENT_IS_MEMBER,
    CLIENT_LEAVES,
};

struct client {
    struct world *w;
    int index;
    int group;
    enum client_kind kind;
    enum client_state state;
    bool is_static;
    bool is_paused;
    bool is_stirred;        /* sim_groups.c has made it subscribe to something else */
    bool keeps_old_version; /* asks by older versions of the APIs */
    char instance_id[16];
    char member_id[ID_BYTES_MAX]; /* "": none */
    int32_t epoch;                /* generation, or member epoch */
    int32_t owns_epoch;           /* at which it was given what it owns */
    int32_t session_timeout_ms;
    int32_t rebalance_timeout_ms;
    uint32_t topics; /* subscribed: a mask of places in w->topics */
    bool uses_regex;
    const char *assignor; /* of the server; NULL: its choice */
    struct held owns[TOPICS_MAX];
    int64_t position[TOPICS_MAX][PARTITIONS_MAX]; /* -1: must be fetched; next to be committed */

    /* classic */
    bool is_leader;
    bool must_rejoin;
    uint32_t plan_count; /* of the leader: what it will send with its sync */
    struct {
        char member_id[ID_BYTES_MAX];
        struct held gets[TOPICS_MAX];
    } * plan;
    int64_t known_topics_version; /* what the leader has assigned */
    int64_t look_again_us;        /* it gave something to nobody yet; 0: it did not */

    /* modern */
    struct held target[TOPICS_MAX]; /* the newest assignment */
    bool has_target;
    bool must_say_all;  /* the next heartbeat has every field */
    bool must_say_owns; /* what it holds has changed */
    bool is_revoking;
    int64_t revoked_us; /* when it will have let go */

    /* the request under way */
    uint64_t serial; /* of the newest request; older answers are not heard */
    bool is_waiting;
    int64_t heard_us;        /* the newest answer */
    int64_t last_arrival_us; /* at the host: requests of a client do not overtake each other */
    struct sim_event think;
    struct sim_event timeout;
};

/* What has been committed for one partition of a group. */
struct fact {
    int64_t acked;       /* the most that was promised; -1: nothing */
    int64_t executed;    /* the most that was accepted and not lost since; -1: nothing */
    uint64_t deleted_at; /* number of the call that took it away; earlier promises do not count */
};

struct faults {
    int64_t tick_us;
    int64_t delay_us; /* mean, one way */
    uint64_t loss;    /* per mille of messages, each direction */
    uint64_t crash;   /* per mille of ticks, each of these: of a shard */
    uint64_t resign;  /* a shard goes down and comes back without losing anything */
    uint64_t failing; /* the next append of a shard fails */
    uint64_t come;    /* clients */
    uint64_t go;      /* leave */
    uint64_t die;     /* crash */
    uint64_t pause;
    uint64_t resubscribe;
    uint64_t topics;
    uint64_t admin;
    bool expires_offsets;
};

struct world {
    struct sim *s;
    struct sim_rng rng;     /* of the world's events */
    struct sim_rng net_rng; /* delays and losses */
    struct sim_rng client_rng;
    enum mistake mistake;
    struct faults faults;
    struct shard_config config;
    struct group_settings settings;
    struct topic topics[TOPICS_MAX];
    int topics_count;
    uint32_t incarnations;
    int64_t topics_version;
    struct shard_topics table;
    struct group_host *host;
    int groups_count;
    bool is_mixed[GROUPS_MAX]; /* groups that have clients of both protocols */
    struct client *clients;    /* owned array */
    int clients_count;
    struct fact facts[GROUPS_MAX][TOPICS_MAX][PARTITIONS_MAX];
    uint64_t calls; /* number of the newest call that was executed */
    struct sim_event tick;
    bool is_calm;
};

/* ---- group_topics.c ---- */

void topics_init(struct world *w);
int topics_find(const struct world *w, struct str name); /* -1: none */
int topics_find_id(const struct world *w, const struct uuid *id);
/* One is made, grows or goes; the shards hear of it. */
void topics_change_some(struct world *w);
struct str group_name(const struct world *w, int group);

static inline uint32_t held_mask(const struct world *w, const struct held *h, int topic)
{
    const struct topic *t = &w->topics[topic];
    return t->exists && t->incarnation == h->incarnation ? h->mask : 0;
}

/* ---- group_client.c ---- */

void client_init(struct world *w, struct client *cl, int group, enum client_kind kind);
void client_start(struct client *cl); /* from OFF */
void client_die(struct client *cl);   /* without a word */
void client_leave(struct client *cl);
void client_pause(struct client *cl, int64_t us);
void client_resume(struct client *cl);
void client_resubscribe(struct client *cl);
void client_release(struct client *cl);

/* For the kinds of clients. */
struct host_call *client_call(struct client *cl,
                              const struct msg *request,
                              const struct msg *response,
                              int16_t version,
                              void (*run)(struct host_call *hc),
                              void (*done)(struct client *cl, struct host_call *hc));
void client_send(struct client *cl, struct host_call *hc, int64_t timeout_us);
void client_think_in(struct client *cl, int64_t us);
void client_think_soon(struct client *cl);
void client_back_off(struct client *cl);
void client_own_nothing(struct client *cl);
/* Takes over what it owns now; what it has not held before must be fetched. */
void client_own(struct client *cl, const struct held *owns);
bool client_owns_any(const struct client *cl);
/* Asks for its positions or commits some, when there is a reason. False: there is none. */
bool client_use_partitions(struct client *cl);
struct str client_instance(const struct client *cl); /* null: dynamic */
bool is_transient(int16_t error);                    /* the coordinator is elsewhere, or not yet */

void classic_client_think(struct client *cl);
void classic_client_release(struct client *cl);
void modern_client_think(struct client *cl);
/* What its commits and fetches mean for it. */
void classic_client_on_error(struct client *cl, int16_t error);
void modern_client_on_error(struct client *cl, int16_t error);

/* ---- group_admin_client.c ---- */

void admin_do_something(struct world *w);

/* ---- group_check.c ---- */

/* The client has begun to own something. */
void check_owner(struct client *cl);
void check_all_owners(struct world *w, int group);
/* What calls mean for committed offsets: executed on a shard; answered for good. */
void check_executed(struct host_call *hc);
void check_answered(struct host_call *hc);
void check_topic_gone(struct world *w, int topic);
/* The live state of a shard against facts, and against its log. */
void check_shard(struct world *w, int shard);
void check_rolled_back(struct world *w, int shard);
bool check_is_group_quiet(struct world *w, int group, char *ret_why, size_t cap);
bool check_is_quiet(struct world *w, char *ret_why, size_t cap);

/* ---- group_dump.c ---- */

/* What of a shard must be the same after a reload, as text; in the arena. */
struct str dump_shard(struct shard *sh, struct shard *other, struct arena *arena);

#endif
