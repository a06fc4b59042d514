/*
 * A connection that asks and waits, and the few questions that the rows need. A call that fails
 * says why on standard error and returns a negative number.
 */
#ifndef BENCHMARK_CLIENT_H
#define BENCHMARK_CLIENT_H

#include "benchmark/frame.h"

#include <netinet/in.h>

struct client {
    int fd;
    struct buf in;      /* the newest answer */
    struct buf scratch; /* the newest question of ours */
};

int64_t now_ns(void); /* monotonic */

/* "127.0.0.1:9092". */
must_check int address_parse(const char *text, struct sockaddr_in *ret);
must_check int socket_connect(const struct sockaddr_in *to); /* a descriptor, or -errno */

must_check int client_open(struct client *c, const struct sockaddr_in *to);
void client_close(struct client *c);
must_check int client_send(struct client *c, const void *bytes, size_t len);
/* The next answer: its bytes behind the length are in c->in. */
must_check int client_receive(struct client *c, struct answer *ret);

/* Creates topics NAME-<first>..; their ids go to ret_ids. */
must_check int client_create_topics(struct client *c,
                                    const char *name,
                                    int32_t first,
                                    int32_t topics,
                                    int32_t partitions,
                                    struct topic_id *ret_ids);
/* Sends a frame of frame_produce and waits until every partition answered 0; asks again for up to
 * ten seconds while the topic is not there yet. */
must_check int client_produce(struct client *c, const struct buf *frame);

/* What a Fetch answer says of its one partition. */
struct fetched {
    int16_t error;
    int64_t records_bytes;
    int64_t next_offset; /* behind the first batch; -1 without one at hand */
};
/* Reads as much as is there; `answer` starts behind the length. */
void fetched_read(struct answer *a, struct fetched *ret);

#endif
