/*
 * The voters of the metadata quorum (P): from VotersRecord control records (kraft.version 1,
 * dynamic) or from controller.quorum.voters (kraft.version 0, static). Kafka: VoterSet,
 * QuorumConfig.
 */
#ifndef RAFT_VOTERS_H
#define RAFT_VOTERS_H

#include "base/base.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/uuid.h"

#define VOTERS_MAX           64 /* more is refused */
#define VOTERS_ENDPOINTS_MAX 16

struct voter_endpoint {
    struct str listener;
    struct str host;
    uint16_t port;
};

struct voter {
    int32_t id;
    struct uuid directory_id; /* zero: static, unknown */
    struct voter_endpoint *endpoints;
    int32_t endpoints_count;
};

/* Owns its text. Zeroed is empty. */
struct voters {
    struct arena arena;
    struct voter items[VOTERS_MAX];
    int32_t count;
};

void voters_release(struct voters *vs);
void voters_clear(struct voters *vs);
/* Copies text; ERR_TOO_LARGE beyond the limits, ERR_MALFORMED for an id twice. */
must_check int voters_add(struct voters *vs, const struct voter *v);
/* "1@host:port,2@[::1]:port": replaces what is there; blanks around the parts are allowed.
 * ERR_MALFORMED. */
must_check int voters_parse(struct voters *vs, struct str text);
/* The voter of this id; a directory id that is known must be the same. NULL: none. */
const struct voter *
voters_find(const struct voters *vs, int32_t id, const struct uuid *directory_id);
/* "1@host:port, 2@host:port" for messages. */
void voters_print(const struct voters *vs, struct strbuf *sb);

#endif
