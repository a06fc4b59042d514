/*
 * Topics made on behalf of clients that only asked for them.
 * Thread: a loop's own.
 */
#ifndef BROKER_H_TOPICS_H
#define BROKER_H_TOPICS_H

#include "base/base.h"
#include "base/str.h"

struct request;

/* Has these topics made with the broker's defaults (the internal ones with their own settings) and
 * does not wait for it. Names that exist by then are passed over. While too many such wishes are on
 * their way this one is dropped: whoever asked asks again. */
void topics_auto_create(struct request *rq, const struct str *names, size_t count);

#endif
