/*
 * A small world for the tests of net/, on one thread: the test is the client (blocking sockets on
 * loopback or a socket pair) and turns the loop by hand, so that nothing depends on timing.
 *
 * The handler obeys the first byte of a frame:
 *   'A' answer with the frame itself      'P' park: the test answers later      'N' no answer
 * (acks=0) 'H' hold until earlier ones are answered, then as 'A'                       'C' close
 */
#ifndef TESTS_UNIT_NET_PEER_H
#define TESTS_UNIT_NET_PEER_H

#include "base/base.h"
#include "base/logger.h"
#include "base/metrics.h"
#include "net/conn.h"
#include "net/loop.h"
#include "simclock.h"

enum {
    WORLD_PARKED_MAX = 256,
};

struct world_request {
    struct conn_slot slot;
    struct world *wd;
    struct blob *blob; /* a reference */
    uint8_t *frame;
    size_t len;
};

struct world {
    struct simclock sc;
    struct clock system;
    struct logger logger;
    struct metrics metrics;
    struct loop *loop;
    struct conn_set *set;
    struct conn_options options;
    struct world_request *parked[WORLD_PARKED_MAX];
    size_t parked_count;
    size_t live_requests;
    size_t frames;
    size_t holds;
    size_t opened;
    size_t closed;
    size_t abandoned;
    size_t lines; /* of the log */
    char line[512];
    enum conn_end last_reason;
    struct conn *last_conn;
    size_t last_frame_cap; /* of the blob of the last frame */
};

/* The loop's clock is wd->sc when is_simulated. Then set wd->options and call world_start. */
void world_init(struct world *wd, bool is_simulated);
void world_start(struct world *wd);
void world_release(struct world *wd); /* checks that nothing is left */

void world_turn(struct world *wd);           /* turns until nothing more happens at once */
int world_connect(struct world *wd);         /* a socket pair; the client's end */
void world_answer(struct world_request *rq); /* with its frame */
int64_t world_metric(const struct world *wd, const char *name);

/* The client's side; all check. */
void peer_send(int fd, const void *bytes, size_t len);
void peer_send_frame(int fd, const char *text);
size_t peer_frame(uint8_t *to, const char *text); /* length and text; returns bytes */
bool peer_has_bytes(int fd);
void peer_expect_frame(int fd, const char *text);
void peer_expect_nothing(int fd);
void peer_expect_end(int fd);

#endif
