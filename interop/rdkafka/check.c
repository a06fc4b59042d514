/*
 * What the checks share. See check.h.
 */
#include "check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATIENCE_MS 30000

bool fail(struct context *c, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(c->why, sizeof(c->why), format, args);
    va_end(args);
    return false;
}

void topic_name(const struct context *c, const char *what, char *ret, size_t size)
{
    snprintf(ret, size, "rdkafka-%s-%s", what, c->run);
}

static void on_report(rd_kafka_t *rk, const rd_kafka_message_t *m, void *opaque)
{
    struct reports *r = opaque;
    (void)rk;
    if (m->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        r->failed++;
        r->error = m->err;
    } else {
        r->delivered++;
        r->last_offset = m->offset;
    }
}

rd_kafka_t *client_new(struct context *c, rd_kafka_type_t type, const char *const *words)
{
    char text[512];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, "bootstrap.servers", c->bootstrap, text, sizeof(text));
    for (size_t i = 0; words != NULL && words[i] != NULL; i++) {
        char key[128];
        const char *equals = strchr(words[i], '=');
        snprintf(key, sizeof(key), "%.*s", (int)(equals - words[i]), words[i]);
        if (rd_kafka_conf_set(conf, key, equals + 1, text, sizeof(text)) != RD_KAFKA_CONF_OK) {
            fail(c, "%s", text);
            rd_kafka_conf_destroy(conf);
            return NULL;
        }
    }
    if (type == RD_KAFKA_PRODUCER) {
        rd_kafka_conf_set_dr_msg_cb(conf, on_report);
    }
    struct reports *reports = calloc(1, sizeof(*reports));
    rd_kafka_conf_set_opaque(conf, reports);
    rd_kafka_t *rk = rd_kafka_new(type, conf, text, sizeof(text));
    if (rk == NULL) {
        fail(c, "%s", text);
        rd_kafka_conf_destroy(conf);
        free(reports);
    }
    return rk;
}

const struct reports *reports_of(rd_kafka_t *rk)
{
    return rd_kafka_opaque(rk);
}

void client_free(rd_kafka_t *rk)
{
    if (rk != NULL) {
        void *reports = rd_kafka_opaque(rk);
        rd_kafka_destroy(rk);
        free(reports);
    }
}

rd_kafka_resp_err_t
topic_create(struct context *c, const char *topic, int partitions, const char *const *config)
{
    char text[512];
    rd_kafka_t *rk = client_new(c, RD_KAFKA_PRODUCER, NULL);
    if (rk == NULL) {
        return RD_KAFKA_RESP_ERR__FAIL;
    }
    rd_kafka_NewTopic_t *topics[1] = {
        rd_kafka_NewTopic_new(topic, partitions, 1, text, sizeof(text))};
    for (size_t i = 0; config != NULL && config[i] != NULL; i++) {
        char key[128];
        const char *equals = strchr(config[i], '=');
        snprintf(key, sizeof(key), "%.*s", (int)(equals - config[i]), config[i]);
        rd_kafka_NewTopic_set_config(topics[0], key, equals + 1);
    }
    rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
    rd_kafka_CreateTopics(rk, topics, 1, NULL, queue);
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, PATIENCE_MS);
    rd_kafka_resp_err_t error = RD_KAFKA_RESP_ERR__TIMED_OUT;
    if (event != NULL) {
        error = rd_kafka_event_error(event);
        const rd_kafka_CreateTopics_result_t *result = rd_kafka_event_CreateTopics_result(event);
        if (error == RD_KAFKA_RESP_ERR_NO_ERROR) {
            size_t count;
            const rd_kafka_topic_result_t **rows =
                rd_kafka_CreateTopics_result_topics(result, &count);
            error = count == 1 ? rd_kafka_topic_result_error(rows[0]) : RD_KAFKA_RESP_ERR__FAIL;
        }
        rd_kafka_event_destroy(event);
    }
    rd_kafka_queue_destroy(queue);
    rd_kafka_NewTopic_destroy(topics[0]);
    client_free(rk);
    return error;
}

bool topic_make(struct context *c, const char *topic, int partitions, const char *const *config)
{
    rd_kafka_resp_err_t error = topic_create(c, topic, partitions, config);
    return error == RD_KAFKA_RESP_ERR_NO_ERROR ||
           fail(c, "create %s: %s", topic, rd_kafka_err2name(error));
}

bool message_send(struct context *c, rd_kafka_t *rk, struct message m)
{
    size_t len = m.value == NULL ? 0 : m.value_len > 0 ? m.value_len : strlen(m.value);
    size_t key_len = m.key == NULL ? 0 : strlen(m.key);
    void *value = (void *)(uintptr_t)m.value;
    for (;;) {
        rd_kafka_resp_err_t error = rd_kafka_producev(
            rk, RD_KAFKA_V_TOPIC(m.topic), RD_KAFKA_V_PARTITION(m.partition),
            RD_KAFKA_V_KEY(m.key, key_len), RD_KAFKA_V_VALUE(value, len),
            RD_KAFKA_V_TIMESTAMP(m.timestamp), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
            RD_KAFKA_V_HEADERS(m.headers), RD_KAFKA_V_END);
        if (error == RD_KAFKA_RESP_ERR_NO_ERROR) {
            return true;
        }
        if (error != RD_KAFKA_RESP_ERR__QUEUE_FULL) {
            return fail(c, "produce: %s", rd_kafka_err2name(error));
        }
        rd_kafka_poll(rk, 100);
    }
}

bool flush_all(struct context *c, rd_kafka_t *rk, int expected)
{
    rd_kafka_resp_err_t error = rd_kafka_flush(rk, PATIENCE_MS);
    const struct reports *r = reports_of(rk);
    if (error != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return fail(c, "flush: %s", rd_kafka_err2name(error));
    }
    if (r->failed > 0 || r->delivered != expected) {
        return fail(c, "%d delivered, %d expected, %d failed: %s", r->delivered, expected,
                    r->failed, rd_kafka_err2name(r->error));
    }
    return true;
}

static void *copy_of(const void *bytes, size_t len)
{
    char *p = bytes == NULL ? NULL : malloc(len + 1);
    if (p != NULL) {
        memcpy(p, bytes, len);
        p[len] = '\0';
    }
    return p;
}

static void note_seen(struct seen_list *list, const rd_kafka_message_t *m)
{
    rd_kafka_headers_t *headers = NULL;
    struct seen *s = &list->items[list->count++];
    *s = (struct seen){
        .offset = m->offset,
        .timestamp = rd_kafka_message_timestamp(m, NULL),
        .key = copy_of(m->key, m->key_len),
        .key_len = m->key_len,
        .value = copy_of(m->payload, m->len),
        .value_len = m->len,
    };
    if (rd_kafka_message_headers(m, &headers) == RD_KAFKA_RESP_ERR_NO_ERROR) {
        s->headers_count = rd_kafka_header_cnt(headers);
    }
}

bool read_partition(struct context *c,
                    const char *topic,
                    int32_t partition,
                    int64_t start,
                    const char *const *words,
                    struct seen_list *ret)
{
    const char *all[16] = {"group.id=none", "enable.auto.commit=false", "enable.partition.eof=true",
                           "check.crcs=true", "auto.offset.reset=error"};
    for (size_t i = 0; words != NULL && words[i] != NULL; i++) {
        all[5 + i] = words[i];
    }
    ret->items = calloc(RECORDS_MAX, sizeof(*ret->items));
    ret->count = 0;
    rd_kafka_t *rk = client_new(c, RD_KAFKA_CONSUMER, all);
    if (rk == NULL) {
        return false;
    }
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, topic, partition)->offset = start;
    rd_kafka_resp_err_t error = rd_kafka_assign(rk, list);
    bool is_good =
        error == RD_KAFKA_RESP_ERR_NO_ERROR || fail(c, "assign: %s", rd_kafka_err2name(error));
    while (is_good) {
        rd_kafka_message_t *m = rd_kafka_consumer_poll(rk, PATIENCE_MS);
        if (m == NULL) {
            is_good = fail(c, "no record and no end within %d s", PATIENCE_MS / 1000);
            break;
        }
        error = m->err;
        if (error == RD_KAFKA_RESP_ERR_NO_ERROR && ret->count < RECORDS_MAX) {
            note_seen(ret, m);
        }
        rd_kafka_message_destroy(m);
        if (error == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
            break;
        }
        if (error != RD_KAFKA_RESP_ERR_NO_ERROR) {
            is_good = fail(c, "consume: %s", rd_kafka_err2name(error));
        }
    }
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_consumer_close(rk);
    client_free(rk);
    return is_good;
}

void seen_list_clear(struct seen_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        free(list->items[i].key);
        free(list->items[i].value);
    }
    free(list->items);
    *list = (struct seen_list){0};
}
