/*
 * Listeners: sockets that accept, limits on who may come, and the hand-over to the loops.
 *
 * A listener lives on one loop and accepts there; connections go round robin to the conn_sets (by
 * mailbox where the loop is another one).
 *
 * Limits are those of one broker, and of each of its listeners (Kafka's ConnectionQuotas):
 *   max.connections                 above it accepting stops until a connection ends (they wait in
 * the backlog) max.connections.per.ip          above it the newcomer is closed; overrides
 * "127.0.0.1:3,::1:5" by address max.connection.creation.rate    above it accepting pauses Out of
 * descriptors newcomers are closed: the old connections go on, the newcomer is told at once,
 * nothing spins. That is where only those are left that belong to files (descriptors_max), and,
 * where even these have gone (EMFILE, ENFILE), with a reserve that is given up for the moment of an
 * accept.
 *
 * Threads: conn_limits from any thread; a listener on its loop's thread, or before the loops run
 * and after.
 */
#ifndef NET_LISTENER_H
#define NET_LISTENER_H

#include "base/base.h"
#include "base/metrics.h"
#include "base/str.h"
#include "net/conn.h"

struct conn_limits;
struct conn_share;
struct listener;

struct conn_limits *conn_limits_new(struct clock *clock, struct metrics *metrics);
struct conn_limits *
conn_limits_free(struct conn_limits *cl); /* after all connections; takes NULL */
void conn_limits_set_max(struct conn_limits *cl, int32_t connections_max);
void conn_limits_set_per_ip(struct conn_limits *cl, int32_t per_ip_max);
/* "address:count,..."; ERR_BAD_ARGUMENT when it cannot be read, and nothing is changed. */
must_check int conn_limits_set_overrides(struct conn_limits *cl, struct str text);
void conn_limits_set_rate(struct conn_limits *cl, int32_t per_second_max);
int32_t conn_limits_count(struct conn_limits *cl);

/* What holds for the connections of one listener beside what holds for all. */
struct conn_share_rules {
    int32_t connections_max;
    int32_t per_second_max;
    int32_t sets_max; /* new ones go to the first so many sets of the listener, to one at least */
    bool is_exempt;   /* from the sum and the rate of all; its connections count there */
};
/* A share is its limits' and lives as long as they do: any thread, also when the listener has gone.
 */
void conn_share_set(struct conn_share *sh, const struct conn_share_rules *rules);

struct listener_options {
    const char *host;             /* an address or a name; "", "::" or NULL: all, IPv6 and IPv4 */
    uint16_t port;                /* 0: any */
    int backlog;                  /* socket.listen.backlog.size; <= 0: 50 */
    int send_buffer_bytes;        /* socket.send.buffer.bytes; <= 0: the system's */
    int receive_buffer_bytes;     /* socket.receive.buffer.bytes; <= 0: the system's */
    int descriptors_max;          /* a newcomer with this number or above is closed; 0: none is */
    bool (*make_room)(void *ctx); /* gives up descriptors instead, false: none; may be NULL */
    void *make_room_ctx;
    struct conn_limits *limits; /* borrowed; NULL: none */
    struct metrics *metrics;    /* borrowed; NULL: none */
    void *tag;                  /* conn_tag of its connections */
};

/* Binds and listens; nothing is accepted before listener_start. -EADDRINUSE and the like;
 * ERR_BAD_ARGUMENT: the host does not resolve. */
must_check int
listener_new(struct loop *lp, const struct listener_options *options, struct listener **ret);
uint16_t listener_port(const struct listener *ls);            /* the real one */
struct conn_share *listener_share(const struct listener *ls); /* NULL: it has no limits */
/* `sets` (borrowed array, kept) take the connections in turn. */
void listener_start(struct listener *ls, struct conn_set **sets, size_t count);
void listener_stop(struct listener *ls);             /* accepts no more; connections stay */
struct listener *listener_free(struct listener *ls); /* takes NULL, returns NULL */

#endif
