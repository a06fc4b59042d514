/*
 * One handler an API; proto-specs/served.json names them. On the loop's thread; rq->body is
 * decoded, rq->response holds the spec's defaults. See request.h for the verdicts.
 */
#ifndef BROKER_HANDLERS_H
#define BROKER_HANDLERS_H

#include "broker/request.h"
#include "wire/gen/api.h"

#define ROW(key, function) enum request_verdict function(struct request *rq);
API_HANDLERS(ROW)
#undef ROW

/* The part of Produce that needs no loop. rq->state is set then. */
void produce_prepare(struct request *rq);
/* The part of Fetch that needs no loop: its partitions, from the request and its session. rq->state
 * is set then. */
void fetch_prepare(struct request *rq, int64_t now_ms);
size_t fetch_size(struct request *rq); /* how many its session has */

#endif
