/*
 * Fetch sessions (P): KIP-227, Kafka's FetchSession and FetchManager. A session remembers what a
 * consumer fetches, so that it sends and gets only what changed.
 *
 *   request id, epoch   meaning
 *   any, -1             ends session `id` when there is one; full fetch without a session
 *   any, 0              ends session `id`; full fetch; a new session is made with the answer
 *   N, another          incremental: it must be the expected epoch (else 71; unknown N is 70)
 *
 * A topic that was asked by id keeps the name that it had when the session first found it.
 *
 * The cache is shared by all io threads: its owner locks it around begin and end; nothing here
 * blocks. What begin returns is a copy in the request's arena. Limits: `slots` sessions
 * (max.incremental.fetch.session.cache.slots); when it is full a session idle for
 * FETCH_SESSION_EVICT_MS gives way, then a smaller one. A large session that ends is taken apart
 * bit by bit by the calls that follow.
 */
#ifndef BROKER_FETCH_SESSION_H
#define BROKER_FETCH_SESSION_H

#include "base/base.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/uuid.h"
#include "wire/gen/errors.h"
#include "wire/gen/messages.h"

#define FETCH_SESSION_EVICT_MS 120000

/* One partition that is to be fetched. */
struct fetch_target {
    struct str topic;     /* in the arena; null when asked by id */
    struct uuid topic_id; /* zero when asked by name */
    struct str name; /* asked by id: the name that the session saw it with, in the arena; null */
    int32_t partition;
    int32_t current_leader_epoch;
    int32_t last_fetched_epoch;
    int32_t max_bytes;
    int64_t fetch_offset;
    int64_t log_start_offset;
};

/* What was answered for it, for the session to remember. */
struct fetch_outcome {
    struct str name; /* borrowed: of a topic that was asked by id and is known; null */
    int64_t high_watermark;
    int64_t log_start_offset;
    bool has_records;
    bool has_error;
    bool must_send; /* diverging epoch, preferred replica: always part of the answer */
};

enum fetch_kind {
    FETCH_SESSIONLESS,
    FETCH_FULL,
    FETCH_INCREMENTAL,
};

struct fetch_context {
    enum fetch_kind kind;
    enum kafka_error error; /* top level: 70, 71, 106; then nothing else is set */
    int32_t session_id;     /* of an incremental one */
    int32_t epoch;          /* that the request came with */
    bool uses_ids;
    struct fetch_target *targets; /* in the arena */
    size_t count;
};

struct fetch_sessions;

struct fetch_sessions *fetch_sessions_new(size_t slots, uint64_t seed);
struct fetch_sessions *fetch_sessions_free(struct fetch_sessions *fs);
size_t fetch_sessions_count(const struct fetch_sessions *fs);
/* Their memory is taken of a budget that others use too (borrowed): without room for it no session
 * is made, and one that would grow ends. New ids keep their rest modulo id_step. Before the first
 * session. */
void fetch_sessions_limit(struct fetch_sessions *fs, struct mem_budget *memory, uint32_t id_step);
size_t fetch_session_size(const struct fetch_sessions *fs,
                          int32_t id); /* its partitions; 0: there is none */

/* For session id 0 the cache is not touched: no lock is needed then. */
void fetch_session_begin(struct fetch_sessions *fs,
                         const struct fetch_request *body,
                         int16_t version,
                         int64_t now_ms,
                         struct arena *arena,
                         struct fetch_context *ret);
/* Decides the session id of the answer and, by ret_send[i], which targets are part of it. random:
 * for a new id. */
int32_t fetch_session_end(struct fetch_sessions *fs,
                          const struct fetch_context *fc,
                          const struct fetch_outcome *outcomes,
                          int64_t now_ms,
                          uint32_t random,
                          bool *ret_send);

#endif
