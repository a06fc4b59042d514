/* A blocking Kafka client for tests: one connection, requests as generated structs, answers
 * decoded. */
#ifndef TESTS_LIB_KCLIENT_H
#define TESTS_LIB_KCLIENT_H

#include "base/base.h"
#include "base/mem.h"
#include "wire/gen/api.h"
#include "wire/gen/messages.h"

struct kclient {
    int fd;
    int32_t correlation_id;
    struct arena arena; /* of the last answer */
};

/* Connects to 127.0.0.1; fails the test otherwise. Reads give up after 10 s. */
void kclient_open(struct kclient *kc, uint16_t port);
void kclient_close(struct kclient *kc);
/* Sends; returns the correlation id. */
int32_t kclient_send(struct kclient *kc, int16_t api_key, int16_t version, void *body);
/* Receives the next answer into the arena (the one before is gone) and checks its correlation id.
 */
void *kclient_receive(struct kclient *kc, int16_t api_key, int16_t version, int32_t correlation_id);
/* Both. */
void *kclient_call(struct kclient *kc, int16_t api_key, int16_t version, void *body);

/* What most tests begin with. */
void kclient_create_topic(struct kclient *kc, const char *name, int32_t partitions);
/* One record of value `text`; returns the error, *ret_offset the base offset. */
int16_t kclient_produce(struct kclient *kc,
                        const char *topic,
                        int32_t partition,
                        const char *text,
                        int64_t *ret_offset);
/* Bytes of records from `offset` (Fetch 12, no wait), as they came; views into the arena. */
struct view kclient_fetch(struct kclient *kc,
                          const char *topic,
                          int32_t partition,
                          int64_t offset,
                          int64_t *ret_high_watermark);

#endif
