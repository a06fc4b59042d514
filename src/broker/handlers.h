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

#endif
