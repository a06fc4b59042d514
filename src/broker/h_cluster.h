/*
 * What the handlers know of the cluster as a client sees it: which APIs and features there are, and
 * under which address a broker is reached.
 * Thread: a loop's own.
 */
#ifndef BROKER_H_CLUSTER_H
#define BROKER_H_CLUSTER_H

#include "base/base.h"
#include "base/mem.h"
#include "base/str.h"
#include "meta/image.h"
#include "wire/gen/messages.h"

struct broker;
struct request;

/* The answer of ApiVersions for a client that speaks this version of it. */
void api_versions_fill(struct broker *br,
                       int16_t version,
                       struct api_versions_response *ret,
                       struct arena *arena);

/* Where this broker is reached by who came in on the request's listener; false: it has no such
 * listener, or does not advertise it. The host is valid as long as the image of the turn. */
bool cluster_endpoint(const struct request *rq,
                      const struct image_broker *b,
                      struct str *ret_host,
                      int32_t *ret_port);
/* Any broker that serves, as the controller that clients are told; -1: none. */
int32_t cluster_controller_id(const struct request *rq, const struct image *im);

#endif
