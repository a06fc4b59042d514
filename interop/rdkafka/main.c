/*
 * A stock C client against a server: topics by the admin API, every codec with every acks, headers,
 * idempotence, large messages, offsets and times, and a restart in the middle.
 *
 *   rdkafka HOST:PORT [--no-restart]
 *
 * For a restart it prints RESTART and waits for a line on standard input.
 */
#include "check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BATCH 100

static const char *const codecs[] = {"none", "gzip", "snappy", "lz4", "zstd"};
#define CODECS_COUNT (sizeof(codecs) / sizeof(codecs[0]))

/* BATCH records with keys "k<i>" and values "<word>-<i>" in order, nothing else. */
static bool
is_batch(struct context *c, const struct seen_list *list, const char *word, size_t count)
{
    if (list->count != count) {
        return fail(c, "%zu records read, %zu written", list->count, count);
    }
    for (size_t i = 0; i < count; i++) {
        char value[64];
        const struct seen *s = &list->items[i];
        snprintf(value, sizeof(value), "%s-%zu", word, i);
        if (s->value == NULL || strcmp(s->value, value) != 0 || s->offset != (int64_t)i) {
            return fail(c, "record %zu: offset %lld value '%s'", i, (long long)s->offset,
                        s->value == NULL ? "(null)" : s->value);
        }
    }
    return true;
}

static bool
send_range(struct context *c, rd_kafka_t *rk, const char *topic, const char *word, int from, int to)
{
    for (int i = from; i < to; i++) {
        char key[32];
        char value[64];
        snprintf(key, sizeof(key), "k%d", i);
        snprintf(value, sizeof(value), "%s-%d", word, i);
        if (!message_send(c, rk, (struct message){.topic = topic, .key = key, .value = value})) {
            return false;
        }
    }
    return true;
}

static bool check_codec(struct context *c, const char *codec, const char *acks)
{
    char topic[128];
    char what[64];
    char compression[64];
    char required[32];
    snprintf(what, sizeof(what), "%s-acks%s", codec, acks);
    topic_name(c, what, topic, sizeof(topic));
    snprintf(compression, sizeof(compression), "compression.codec=%s", codec);
    snprintf(required, sizeof(required), "acks=%s", acks);
    const char *words[] = {compression, required, "linger.ms=20", NULL};
    struct seen_list seen = {0};
    bool is_good = topic_make(c, topic, 1, NULL);
    rd_kafka_t *rk = is_good ? client_new(c, RD_KAFKA_PRODUCER, words) : NULL;
    is_good = rk != NULL && send_range(c, rk, topic, codec, 0, BATCH) && flush_all(c, rk, BATCH);
    if (is_good && strcmp(acks, "0") != 0 && reports_of(rk)->last_offset != BATCH - 1) {
        is_good =
            fail(c, "the last report names offset %lld", (long long)reports_of(rk)->last_offset);
    }
    client_free(rk);
    for (int attempt = 0; is_good && attempt < 50; attempt++) {
        seen_list_clear(&seen);
        is_good = read_partition(c, topic, 0, RD_KAFKA_OFFSET_BEGINNING, NULL, &seen);
        if (seen.count == BATCH || strcmp(acks, "0") != 0) {
            break; /* acks=0: they may be under way */
        }
        usleep(100000);
    }
    is_good = is_good && is_batch(c, &seen, codec, BATCH);
    seen_list_clear(&seen);
    return is_good;
}

static bool check_create(struct context *c)
{
    char topic[128];
    topic_name(c, "create", topic, sizeof(topic));
    const char *const bad[] = {"no.such.key=1", NULL};
    if (!topic_make(c, topic, 3, NULL)) {
        return false;
    }
    rd_kafka_resp_err_t error = topic_create(c, topic, 3, NULL);
    if (error != RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS) {
        return fail(c, "a second time: %s", rd_kafka_err2name(error));
    }
    error = topic_create(c, "bad/name", 1, NULL);
    if (error != RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION) {
        return fail(c, "a bad name: %s", rd_kafka_err2name(error));
    }
    topic_name(c, "badconfig", topic, sizeof(topic));
    error = topic_create(c, topic, 1, bad);
    return error == RD_KAFKA_RESP_ERR_INVALID_CONFIG ||
           fail(c, "an unknown config: %s", rd_kafka_err2name(error));
}

static bool check_metadata(struct context *c)
{
    char topic[128];
    topic_name(c, "metadata", topic, sizeof(topic));
    if (!topic_make(c, topic, 7, NULL)) {
        return false;
    }
    rd_kafka_t *rk = client_new(c, RD_KAFKA_PRODUCER, NULL);
    const struct rd_kafka_metadata *metadata;
    rd_kafka_resp_err_t error = rd_kafka_metadata(rk, 1, NULL, &metadata, 10000);
    bool is_good = error == RD_KAFKA_RESP_ERR_NO_ERROR || fail(c, "%s", rd_kafka_err2name(error));
    if (is_good) {
        int partitions = -1;
        for (int i = 0; i < metadata->topic_cnt; i++) {
            if (strcmp(metadata->topics[i].topic, topic) == 0) {
                partitions = metadata->topics[i].partition_cnt;
            }
        }
        is_good = (metadata->broker_cnt == 1 && partitions == 7) ||
                  fail(c, "%d brokers, %d partitions", metadata->broker_cnt, partitions);
        rd_kafka_metadata_destroy(metadata);
    }
    client_free(rk);
    return is_good;
}

static bool check_headers(struct context *c)
{
    char topic[128];
    topic_name(c, "headers", topic, sizeof(topic));
    struct seen_list seen = {0};
    rd_kafka_t *rk = topic_make(c, topic, 1, NULL) ? client_new(c, RD_KAFKA_PRODUCER, NULL) : NULL;
    if (rk == NULL) {
        return false;
    }
    rd_kafka_headers_t *headers = rd_kafka_headers_new(4);
    rd_kafka_header_add(headers, "text", -1, "value", -1);
    rd_kafka_header_add(headers, "text", -1, "again", -1);
    rd_kafka_header_add(headers, "null", -1, NULL, 0);
    rd_kafka_header_add(headers, "bytes", -1, "\0\1\2", 3);
    bool is_good =
        message_send(
            c, rk,
            (struct message){.topic = topic, .key = "k", .value = "v", .headers = headers}) &&
        message_send(c, rk, (struct message){.topic = topic, .key = "tombstone"}) &&
        message_send(c, rk, (struct message){.topic = topic, .value = "no key"}) &&
        flush_all(c, rk, 3) && read_partition(c, topic, 0, RD_KAFKA_OFFSET_BEGINNING, NULL, &seen);
    client_free(rk);
    is_good =
        is_good && (seen.count == 3 || fail(c, "%zu records", seen.count)) &&
        (seen.items[0].headers_count == 4 || fail(c, "%zu headers", seen.items[0].headers_count)) &&
        (seen.items[1].value == NULL || fail(c, "a tombstone has a value")) &&
        (seen.items[2].key == NULL || fail(c, "a key came from nowhere"));
    seen_list_clear(&seen);
    return is_good;
}

static bool check_idempotence(struct context *c)
{
    char topic[128];
    topic_name(c, "idempotence", topic, sizeof(topic));
    const char *words[] = {"enable.idempotence=true", "linger.ms=1", "batch.num.messages=20", NULL};
    struct seen_list seen = {0};
    rd_kafka_t *rk = topic_make(c, topic, 1, NULL) ? client_new(c, RD_KAFKA_PRODUCER, words) : NULL;
    bool is_good = rk != NULL && send_range(c, rk, topic, "once", 0, 2000) &&
                   flush_all(c, rk, 2000) &&
                   read_partition(c, topic, 0, RD_KAFKA_OFFSET_BEGINNING, NULL, &seen) &&
                   is_batch(c, &seen, "once", 2000);
    client_free(rk);
    seen_list_clear(&seen);
    return is_good;
}

static bool send_large(struct context *c,
                       const char *topic,
                       const char *codec,
                       size_t size,
                       rd_kafka_resp_err_t want)
{
    char compression[64];
    snprintf(compression, sizeof(compression), "compression.codec=%s", codec);
    const char *words[] = {compression, "message.max.bytes=20000000", NULL};
    char *value = malloc(size);
    uint32_t noise = 1;
    for (size_t i = 0; i < size; i++) {
        noise = noise * 1664525 + 1013904223;
        value[i] = (char)(noise >> 24);
    }
    rd_kafka_t *rk = client_new(c, RD_KAFKA_PRODUCER, words);
    bool is_good =
        rk != NULL &&
        message_send(c, rk, (struct message){.topic = topic, .value = value, .value_len = size});
    if (is_good && want == RD_KAFKA_RESP_ERR_NO_ERROR) {
        is_good = flush_all(c, rk, 1);
    } else if (is_good) {
        rd_kafka_flush(rk, 30000);
        is_good = reports_of(rk)->error == want ||
                  fail(c, "%s instead of %s", rd_kafka_err2name(reports_of(rk)->error),
                       rd_kafka_err2name(want));
    }
    client_free(rk);
    free(value);
    return is_good;
}

static bool check_large(struct context *c)
{
    char small[128];
    char large[128];
    const char *const config[] = {"max.message.bytes=12000000", NULL};
    const char *words[] = {"fetch.message.max.bytes=1000", "receive.message.max.bytes=100000000",
                           NULL};
    struct seen_list seen = {0};
    const size_t size = 8000000;
    topic_name(c, "small", small, sizeof(small));
    topic_name(c, "large", large, sizeof(large));
    bool is_good = topic_make(c, small, 1, NULL) && topic_make(c, large, 1, config) &&
                   send_large(c, small, "none", 2000000, RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE) &&
                   send_large(c, large, "none", size, RD_KAFKA_RESP_ERR_NO_ERROR) &&
                   send_large(c, large, "zstd", size, RD_KAFKA_RESP_ERR_NO_ERROR) &&
                   send_large(c, large, "gzip", size, RD_KAFKA_RESP_ERR_NO_ERROR) &&
                   read_partition(c, large, 0, RD_KAFKA_OFFSET_BEGINNING, words, &seen);
    is_good = is_good && (seen.count == 3 || fail(c, "%zu records", seen.count));
    for (size_t i = 0; is_good && i < seen.count; i++) {
        is_good = (seen.items[i].value_len == size &&
                   memcmp(seen.items[i].value, seen.items[0].value, size) == 0) ||
                  fail(c, "record %zu differs", i);
    }
    seen_list_clear(&seen);
    return is_good;
}

static bool check_offsets(struct context *c)
{
    char topic[128];
    struct seen_list seen = {0};
    topic_name(c, "offsets", topic, sizeof(topic));
    rd_kafka_t *rk = topic_make(c, topic, 2, NULL) ? client_new(c, RD_KAFKA_PRODUCER, NULL) : NULL;
    bool is_good = rk != NULL;
    for (int i = 0; i < 10 && is_good; i++) {
        is_good =
            message_send(c, rk, (struct message){.topic = topic, .partition = 1, .value = "v"}) &&
            flush_all(c, rk, i + 1);
    }
    int64_t low = -1;
    int64_t high = -1;
    if (is_good) {
        rd_kafka_query_watermark_offsets(rk, topic, 1, &low, &high, 10000);
        is_good = (low == 0 && high == 10) ||
                  fail(c, "from %lld to %lld", (long long)low, (long long)high);
    }
    if (is_good) {
        rd_kafka_query_watermark_offsets(rk, topic, 0, &low, &high, 10000);
        is_good = (low == 0 && high == 0) ||
                  fail(c, "empty: from %lld to %lld", (long long)low, (long long)high);
    }
    client_free(rk);
    static const struct {
        int64_t start;
        size_t count;
    } reads[] = {{0, 10}, {7, 3}, {10, 0}, {RD_KAFKA_OFFSET_END, 0}, {RD_KAFKA_OFFSET_TAIL(4), 4}};
    for (size_t i = 0; i < sizeof(reads) / sizeof(reads[0]) && is_good; i++) {
        is_good = read_partition(c, topic, 1, reads[i].start, NULL, &seen) &&
                  (seen.count == reads[i].count ||
                   fail(c, "from %lld: %zu records", (long long)reads[i].start, seen.count));
        seen_list_clear(&seen);
    }
    if (is_good && read_partition(c, topic, 1, 11, NULL, &seen)) {
        is_good = fail(c, "reading behind the end is no error");
    }
    seen_list_clear(&seen);
    return is_good;
}

static bool check_times(struct context *c)
{
    char topic[128];
    const char *const config[] = {"retention.ms=-1", NULL};
    static const int64_t base = 1700000000000;
    topic_name(c, "times", topic, sizeof(topic));
    rd_kafka_t *rk =
        topic_make(c, topic, 1, config) ? client_new(c, RD_KAFKA_PRODUCER, NULL) : NULL;
    bool is_good = rk != NULL;
    for (int i = 0; i < 20 && is_good; i++) {
        struct message m = {.topic = topic, .value = "v", .timestamp = base + i * 1000};
        is_good = message_send(c, rk, m) && flush_all(c, rk, i + 1);
    }
    static const struct {
        int64_t time;
        int64_t offset;
    } asks[] = {
        {0, 0}, {1700000000000, 0}, {1700000004999, 5}, {1700000005000, 5}, {1700000099000, -1}};
    for (size_t i = 0; i < sizeof(asks) / sizeof(asks[0]) && is_good; i++) {
        rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
        rd_kafka_topic_partition_list_add(list, topic, 0)->offset = asks[i].time;
        rd_kafka_resp_err_t error = rd_kafka_offsets_for_times(rk, list, 10000);
        is_good =
            (error == RD_KAFKA_RESP_ERR_NO_ERROR && list->elems[0].offset == asks[i].offset) ||
            fail(c, "time %lld: %s, offset %lld", (long long)asks[i].time, rd_kafka_err2name(error),
                 (long long)list->elems[0].offset);
        rd_kafka_topic_partition_list_destroy(list);
    }
    client_free(rk);
    return is_good;
}

static bool check_restart(struct context *c)
{
    char topic[128];
    char line[16];
    const char *words[] = {"enable.idempotence=true", "linger.ms=2", "reconnect.backoff.max.ms=200",
                           NULL};
    struct seen_list seen = {0};
    topic_name(c, "restart", topic, sizeof(topic));
    rd_kafka_t *rk = topic_make(c, topic, 1, NULL) ? client_new(c, RD_KAFKA_PRODUCER, words) : NULL;
    bool is_good = rk != NULL && send_range(c, rk, topic, "restart", 0, 500) &&
                   flush_all(c, rk, 500) && send_range(c, rk, topic, "restart", 500, 700);
    puts("RESTART");
    fflush(stdout);
    is_good = fgets(line, sizeof(line), stdin) != NULL && is_good;
    is_good = is_good && send_range(c, rk, topic, "restart", 700, 1000) && flush_all(c, rk, 1000) &&
              read_partition(c, topic, 0, RD_KAFKA_OFFSET_BEGINNING, NULL, &seen) &&
              is_batch(c, &seen, "restart", 1000);
    client_free(rk);
    seen_list_clear(&seen);
    return is_good;
}

/* Everything that the codec checks wrote is there after the restart. */
static bool check_after_restart(struct context *c)
{
    bool is_good = true;
    for (size_t i = 0; i < CODECS_COUNT && is_good; i++) {
        char topic[128];
        char what[64];
        struct seen_list seen = {0};
        snprintf(what, sizeof(what), "%s-acks1", codecs[i]);
        topic_name(c, what, topic, sizeof(topic));
        is_good = read_partition(c, topic, 0, RD_KAFKA_OFFSET_BEGINNING, NULL, &seen) &&
                  is_batch(c, &seen, codecs[i], BATCH);
        seen_list_clear(&seen);
    }
    return is_good;
}

/* The error of the one topic result of an admin answer. */
static rd_kafka_resp_err_t admin_error(rd_kafka_queue_t *queue)
{
    size_t count = 0;
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, 30000);
    if (event == NULL) {
        return RD_KAFKA_RESP_ERR__TIMED_OUT;
    }
    rd_kafka_resp_err_t error = rd_kafka_event_error(event);
    const rd_kafka_topic_result_t **rows = NULL;
    const rd_kafka_DeleteTopics_result_t *deleted = rd_kafka_event_DeleteTopics_result(event);
    const rd_kafka_CreatePartitions_result_t *created =
        rd_kafka_event_CreatePartitions_result(event);
    if (deleted != NULL) {
        rows = rd_kafka_DeleteTopics_result_topics(deleted, &count);
    } else if (created != NULL) {
        rows = rd_kafka_CreatePartitions_result_topics(created, &count);
    }
    if (error == RD_KAFKA_RESP_ERR_NO_ERROR && count == 1) {
        error = rd_kafka_topic_result_error(rows[0]);
    }
    rd_kafka_event_destroy(event);
    return error;
}

static bool check_partitions_and_delete(struct context *c)
{
    char topic[128];
    char text[256];
    topic_name(c, "grow", topic, sizeof(topic));
    rd_kafka_t *rk = topic_make(c, topic, 1, NULL) ? client_new(c, RD_KAFKA_PRODUCER, NULL) : NULL;
    if (rk == NULL) {
        return false;
    }
    rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
    rd_kafka_NewPartitions_t *more[1] = {rd_kafka_NewPartitions_new(topic, 4, text, sizeof(text))};
    rd_kafka_DeleteTopic_t *away[1] = {rd_kafka_DeleteTopic_new(topic)};
    rd_kafka_CreatePartitions(rk, more, 1, NULL, queue);
    rd_kafka_resp_err_t error = admin_error(queue);
    bool is_good =
        error == RD_KAFKA_RESP_ERR_NO_ERROR || fail(c, "grow: %s", rd_kafka_err2name(error));
    if (is_good) {
        is_good =
            message_send(c, rk, (struct message){.topic = topic, .partition = 3, .value = "v"}) &&
            flush_all(c, rk, 1);
    }
    if (is_good) {
        rd_kafka_DeleteTopics(rk, away, 1, NULL, queue);
        error = admin_error(queue);
        is_good =
            error == RD_KAFKA_RESP_ERR_NO_ERROR || fail(c, "delete: %s", rd_kafka_err2name(error));
    }
    if (is_good) {
        rd_kafka_DeleteTopics(rk, away, 1, NULL, queue);
        error = admin_error(queue);
        is_good = error == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART ||
                  fail(c, "delete again: %s", rd_kafka_err2name(error));
    }
    rd_kafka_NewPartitions_destroy(more[0]);
    rd_kafka_DeleteTopic_destroy(away[0]);
    rd_kafka_queue_destroy(queue);
    client_free(rk);
    return is_good;
}

static bool check_delete_records(struct context *c)
{
    char topic[128];
    struct seen_list seen = {0};
    topic_name(c, "trim", topic, sizeof(topic));
    rd_kafka_t *rk = topic_make(c, topic, 1, NULL) ? client_new(c, RD_KAFKA_PRODUCER, NULL) : NULL;
    bool is_good = rk != NULL && send_range(c, rk, topic, "trim", 0, 10) && flush_all(c, rk, 10);
    if (is_good) {
        rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
        rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
        rd_kafka_topic_partition_list_add(list, topic, 0)->offset = 6;
        rd_kafka_DeleteRecords_t *trims[1] = {rd_kafka_DeleteRecords_new(list)};
        rd_kafka_DeleteRecords(rk, trims, 1, NULL, queue);
        rd_kafka_resp_err_t error = admin_error(queue);
        is_good = error == RD_KAFKA_RESP_ERR_NO_ERROR || fail(c, "%s", rd_kafka_err2name(error));
        rd_kafka_DeleteRecords_destroy(trims[0]);
        rd_kafka_topic_partition_list_destroy(list);
        rd_kafka_queue_destroy(queue);
    }
    is_good =
        is_good && read_partition(c, topic, 0, RD_KAFKA_OFFSET_BEGINNING, NULL, &seen) &&
        ((seen.count == 4 && seen.items[0].offset == 6) || fail(c, "%zu records left", seen.count));
    seen_list_clear(&seen);
    client_free(rk);
    return is_good;
}

/* The value of one topic config as the broker describes it. */
static bool describe(struct context *c,
                     rd_kafka_t *rk,
                     const char *topic,
                     const char *key,
                     char *ret,
                     size_t size)
{
    bool is_found = false;
    rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
    rd_kafka_ConfigResource_t *ask[1] = {
        rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, topic)};
    rd_kafka_DescribeConfigs(rk, ask, 1, NULL, queue);
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, 30000);
    if (event != NULL && rd_kafka_event_error(event) == RD_KAFKA_RESP_ERR_NO_ERROR) {
        size_t resources;
        size_t count;
        const rd_kafka_ConfigResource_t **rows = rd_kafka_DescribeConfigs_result_resources(
            rd_kafka_event_DescribeConfigs_result(event), &resources);
        const rd_kafka_ConfigEntry_t **entries = rd_kafka_ConfigResource_configs(rows[0], &count);
        for (size_t i = 0; i < count; i++) {
            if (strcmp(rd_kafka_ConfigEntry_name(entries[i]), key) == 0) {
                const char *value = rd_kafka_ConfigEntry_value(entries[i]);
                snprintf(ret, size, "%s", value == NULL ? "(null)" : value);
                is_found = true;
            }
        }
    }
    if (event != NULL) {
        rd_kafka_event_destroy(event);
    }
    rd_kafka_ConfigResource_destroy(ask[0]);
    rd_kafka_queue_destroy(queue);
    return is_found || fail(c, "%s is not described", key);
}

static bool check_configs(struct context *c)
{
    char topic[128];
    char value[128] = "";
    const char *const config[] = {"retention.ms=123456", NULL};
    topic_name(c, "configs", topic, sizeof(topic));
    rd_kafka_t *rk =
        topic_make(c, topic, 1, config) ? client_new(c, RD_KAFKA_PRODUCER, NULL) : NULL;
    bool is_good = rk != NULL && describe(c, rk, topic, "retention.ms", value, sizeof(value)) &&
                   (strcmp(value, "123456") == 0 || fail(c, "retention.ms %s", value)) &&
                   describe(c, rk, topic, "segment.bytes", value, sizeof(value)) &&
                   (strcmp(value, "1073741824") == 0 || fail(c, "segment.bytes %s", value));
    if (is_good) {
        rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
        rd_kafka_ConfigResource_t *change[1] = {
            rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, topic)};
        rd_kafka_ConfigResource_set_config(change[0], "cleanup.policy", "compact");
        rd_kafka_AlterConfigs(rk, change, 1, NULL, queue);
        rd_kafka_resp_err_t error = admin_error(queue);
        is_good =
            error == RD_KAFKA_RESP_ERR_NO_ERROR || fail(c, "alter: %s", rd_kafka_err2name(error));
        rd_kafka_ConfigResource_destroy(change[0]);
        rd_kafka_queue_destroy(queue);
    }
    /* The answer comes before every broker has seen the change. */
    for (int i = 0; is_good && i < 50; i++) {
        is_good = describe(c, rk, topic, "cleanup.policy", value, sizeof(value));
        if (strcmp(value, "compact") == 0) {
            break;
        }
        usleep(100000);
    }
    is_good = is_good && (strcmp(value, "compact") == 0 || fail(c, "cleanup.policy %s", value)) &&
              describe(c, rk, topic, "retention.ms", value, sizeof(value)) &&
              (strcmp(value, "604800000") == 0 ||
               fail(c, "retention.ms %s after it was replaced", value));
    client_free(rk);
    return is_good;
}

static int report(struct context *c, const char *name, bool is_good)
{
    if (is_good) {
        printf("ok %s\n", name);
    } else {
        printf("not ok %s: %s\n", name, c->why);
    }
    fflush(stdout);
    return is_good ? 0 : 1;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: rdkafka HOST:PORT [--no-restart]\n");
        return 2;
    }
    struct context c = {.bootstrap = argv[1],
                        .may_restart = argc < 3 || strcmp(argv[2], "--no-restart") != 0};
    snprintf(c.run, sizeof(c.run), "%d", (int)getpid());
    int failed = 0;
    failed += report(&c, "create topics: made, twice, bad name, bad config", check_create(&c));
    failed += report(&c, "metadata of all topics", check_metadata(&c));
    static const char *const all_acks[] = {"0", "1", "all"};
    for (size_t i = 0; i < CODECS_COUNT; i++) {
        for (size_t k = 0; k < 3; k++) {
            char name[64];
            snprintf(name, sizeof(name), "produce and read back: %s, acks=%s", codecs[i],
                     all_acks[k]);
            failed += report(&c, name, check_codec(&c, codecs[i], all_acks[k]));
        }
    }
    failed += report(&c, "headers, null keys, tombstones", check_headers(&c));
    failed += report(&c, "idempotence", check_idempotence(&c));
    failed += report(&c, "large messages, and too large ones", check_large(&c));
    failed += report(&c, "offsets: watermarks, middle, end, tail, out of range", check_offsets(&c));
    failed += report(&c, "offsets by time", check_times(&c));
    failed += report(&c, "more partitions, delete topics", check_partitions_and_delete(&c));
    failed += report(&c, "delete records", check_delete_records(&c));
    failed += report(&c, "describe and alter configs", check_configs(&c));
    if (c.may_restart) {
        failed +=
            report(&c, "a restart in the middle of an idempotent producer", check_restart(&c));
        failed += report(&c, "every codec read back after the restart", check_after_restart(&c));
    } else {
        puts("skip a restart in the middle of an idempotent producer: not our broker");
    }
    return failed == 0 ? 0 : 1;
}
