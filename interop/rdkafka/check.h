/*
 * What the checks of the librdkafka program share: a client that was set up by "key=value" words,
 * topics made through the admin API, records produced and read back, and lines "ok NAME",
 * "not ok NAME: why", "skip NAME: why" on standard output, for interop/run to count.
 */
#ifndef INTEROP_CHECK_H
#define INTEROP_CHECK_H

#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RECORDS_MAX 4096

struct context {
    const char *bootstrap;
    bool may_restart;
    char run[32];  /* part of every topic's name */
    char why[512]; /* of the newest failure */
};

/* One record as it was read. Owned. */
struct seen {
    int64_t offset;
    int64_t timestamp;
    char *key;
    size_t key_len;
    char *value;
    size_t value_len;
    size_t headers_count;
};

struct seen_list {
    struct seen *items;
    size_t count;
};

/* Notes why and returns false. */
bool fail(struct context *c, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* words: "key=value" ..., ended by NULL. NULL when librdkafka refuses (noted). */
rd_kafka_t *client_new(struct context *c, rd_kafka_type_t type, const char *const *words);

/* config: "key=value" ..., ended by NULL, or NULL. Returns the error that the broker gave. */
rd_kafka_resp_err_t
topic_create(struct context *c, const char *topic, int partitions, const char *const *config);
bool topic_make(struct context *c, const char *topic, int partitions, const char *const *config);

struct message {
    const char *topic;
    int32_t partition;
    const char *key;             /* NULL: none */
    const char *value;           /* NULL: none */
    size_t value_len;            /* 0: of the text */
    int64_t timestamp;           /* 0: now */
    rd_kafka_headers_t *headers; /* taken; NULL: none */
};
bool message_send(struct context *c, rd_kafka_t *rk, struct message m);
/* Waits until all are acknowledged; false when one was not. Counts and checks come from the
 * delivery reports, which every client of client_new collects. */
struct reports {
    int delivered;
    int failed;
    rd_kafka_resp_err_t error; /* the newest one */
    int64_t last_offset;
};
bool flush_all(struct context *c, rd_kafka_t *rk, int expected);
const struct reports *reports_of(rd_kafka_t *rk);
void client_free(rd_kafka_t *rk);

/* Reads a partition from `start` (a number or one of librdkafka's logical offsets) to its end. */
bool read_partition(struct context *c,
                    const char *topic,
                    int32_t partition,
                    int64_t start,
                    const char *const *words,
                    struct seen_list *ret);
void seen_list_clear(struct seen_list *list);

void topic_name(const struct context *c, const char *what, char *ret, size_t size);

#endif
