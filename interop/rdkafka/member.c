/*
 * A member of a group, for interop/groups.py, which says what it prints and how it ends:
 *
 *   member HOST:PORT TOPIC GROUP [KEY=VALUE...]
 *
 * The rebalance callback works for eager and for cooperative assignors. What was consumed of a
 * partition and is not committed yet is a part [from, to); it is committed when COMMIT_RECORDS
 * have come, when nothing comes, and when the partition is taken away.
 */
#include <librdkafka/rdkafka.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PARTITIONS_MAX 1024
#define COMMIT_RECORDS 20
#define POLL_MS        50

struct member {
    rd_kafka_t *rk;
    const char *topic;
    const char *subscribed; /* the topic, or a pattern */
    bool is_owned[PARTITIONS_MAX];
    int64_t from[PARTITIONS_MAX]; /* of what is not committed */
    int64_t to[PARTITIONS_MAX];   /* from: nothing */
    int pending;                  /* records in all parts */
};

static void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void say(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    fflush(stdout);
}

static void say_owned(const struct member *m)
{
    printf("assigned");
    for (int i = 0; i < PARTITIONS_MAX; i++) {
        if (m->is_owned[i]) {
            printf(" %d", i);
        }
    }
    say("\n");
}

static void commit_parts(struct member *m)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(8);
    for (int i = 0; i < PARTITIONS_MAX; i++) {
        if (m->from[i] < m->to[i]) {
            rd_kafka_topic_partition_list_add(list, m->topic, i)->offset = m->to[i];
            say("commit %d %lld %lld\n", i, (long long)m->from[i], (long long)m->to[i]);
        }
    }
    if (list->cnt > 0) {
        rd_kafka_resp_err_t error = rd_kafka_commit(m->rk, list, 0);
        for (int i = 0; i < list->cnt; i++) {
            const rd_kafka_topic_partition_t *p = &list->elems[i];
            rd_kafka_resp_err_t why = p->err != RD_KAFKA_RESP_ERR_NO_ERROR ? p->err : error;
            long long from = (long long)m->from[p->partition];
            long long to = (long long)m->to[p->partition];
            if (why != RD_KAFKA_RESP_ERR_NO_ERROR) {
                say("failed %d %lld %lld %s\n", p->partition, from, to, rd_kafka_err2name(why));
                continue;
            }
            say("committed %d %lld %lld\n", p->partition, from, to);
            m->pending -= (int)(to - from);
            m->from[p->partition] = m->to[p->partition];
        }
    }
    rd_kafka_topic_partition_list_destroy(list);
}

/* What is not committed by now is another member's to consume again. */
static void drop(struct member *m, const rd_kafka_topic_partition_list_t *list)
{
    for (int i = 0; i < list->cnt; i++) {
        int32_t p = list->elems[i].partition;
        m->pending -= (int)(m->to[p] - m->from[p]);
        m->from[p] = 0;
        m->to[p] = 0;
        m->is_owned[p] = false;
    }
}

static void on_rebalance(rd_kafka_t *rk,
                         rd_kafka_resp_err_t event,
                         rd_kafka_topic_partition_list_t *list,
                         void *opaque)
{
    struct member *m = opaque;
    bool is_cooperative = strcmp(rd_kafka_rebalance_protocol(rk), "COOPERATIVE") == 0;
    rd_kafka_error_t *error = NULL;
    if (event == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
        for (int i = 0; i < list->cnt; i++) {
            m->is_owned[list->elems[i].partition] = true;
        }
        say_owned(m);
        if (is_cooperative) {
            error = rd_kafka_incremental_assign(rk, list);
        } else {
            rd_kafka_assign(rk, list);
        }
    } else {
        if (!rd_kafka_assignment_lost(rk)) {
            commit_parts(m);
        }
        drop(m, list);
        say_owned(m);
        if (is_cooperative) {
            error = rd_kafka_incremental_unassign(rk, list);
        } else {
            rd_kafka_assign(rk, NULL);
        }
    }
    if (error != NULL) {
        say("error %s\n", rd_kafka_error_string(error));
        rd_kafka_error_destroy(error);
    }
}

static bool set(rd_kafka_conf_t *conf, const char *key, const char *value)
{
    char text[512];
    if (rd_kafka_conf_set(conf, key, value, text, sizeof(text)) != RD_KAFKA_CONF_OK) {
        say("error %s\n", text);
        return false;
    }
    return true;
}

/* The words of interop/groups.py in the words of this client. */
static bool configure(rd_kafka_conf_t *conf, const char *key, const char *value)
{
    static const char *const names[][2] = {{"name", "client.id"},
                                           {"session", "session.timeout.ms"},
                                           {"instance", "group.instance.id"},
                                           {"strategy", "partition.assignment.strategy"},
                                           {"protocol", "group.protocol"}};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(key, names[i][0]) == 0) {
            return set(conf, names[i][1], value);
        }
    }
    return set(conf, key, value);
}

static rd_kafka_t *open_consumer(struct member *m, int argc, char **argv)
{
    char text[512];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    bool is_good =
        set(conf, "bootstrap.servers", argv[1]) && set(conf, "group.id", argv[3]) &&
        set(conf, "enable.auto.commit", "false") && set(conf, "auto.offset.reset", "earliest") &&
        set(conf, "heartbeat.interval.ms", "200") && set(conf, "fetch.wait.max.ms", "100") &&
        set(conf, "topic.metadata.refresh.interval.ms", "1000");
    for (int i = 4; i < argc && is_good; i++) {
        char key[128];
        const char *equals = strchr(argv[i], '=');
        if (equals == NULL || (size_t)(equals - argv[i]) >= sizeof(key)) {
            is_good = false;
            break;
        }
        snprintf(key, sizeof(key), "%.*s", (int)(equals - argv[i]), argv[i]);
        is_good = strcmp(key, "regex") == 0 || configure(conf, key, equals + 1);
        if (strcmp(key, "regex") == 0) {
            m->subscribed = equals + 1;
        }
    }
    rd_kafka_conf_set_opaque(conf, m);
    rd_kafka_conf_set_rebalance_cb(conf, on_rebalance);
    rd_kafka_t *rk = is_good ? rd_kafka_new(RD_KAFKA_CONSUMER, conf, text, sizeof(text)) : NULL;
    if (rk == NULL) {
        say("error %s\n", is_good ? text : "settings");
    }
    return rk;
}

static void note_record(struct member *m, const rd_kafka_message_t *message)
{
    int32_t p = message->partition;
    say("record %d %lld\n", p, (long long)message->offset);
    if (m->from[p] >= m->to[p]) {
        m->from[p] = message->offset;
    }
    m->to[p] = message->offset + 1;
    m->pending++;
}

static bool is_fatal(const rd_kafka_message_t *message)
{
    return message->err == RD_KAFKA_RESP_ERR__FATAL;
}

static int run(struct member *m, const sigset_t *stops)
{
    const struct timespec now = {0};
    while (sigtimedwait(stops, NULL, &now) < 0) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(m->rk, POLL_MS);
        bool is_idle = message == NULL;
        if (message != NULL && message->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
            note_record(m, message);
        } else if (message != NULL) {
            say("error %s\n", rd_kafka_message_errstr(message));
        }
        if (message != NULL) {
            bool is_over = is_fatal(message);
            rd_kafka_message_destroy(message);
            if (is_over) {
                return 1;
            }
        }
        if (m->pending >= COMMIT_RECORDS || (is_idle && m->pending > 0)) {
            commit_parts(m);
        }
    }
    commit_parts(m);
    rd_kafka_consumer_close(m->rk);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc < 4) {
        fprintf(stderr, "usage: member HOST:PORT TOPIC GROUP [KEY=VALUE...]\n");
        return 2;
    }
    sigset_t stops;
    sigemptyset(&stops);
    sigaddset(&stops, SIGTERM);
    sigprocmask(SIG_BLOCK, &stops, NULL);
    struct member *m = calloc(1, sizeof(*m));
    if (m == NULL) {
        return 1;
    }
    m->topic = argv[2];
    m->subscribed = m->topic;
    m->rk = open_consumer(m, argc, argv);
    if (m->rk == NULL) {
        return 1;
    }
    rd_kafka_poll_set_consumer(m->rk);
    rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(topics, m->subscribed, RD_KAFKA_PARTITION_UA);
    rd_kafka_resp_err_t error = rd_kafka_subscribe(m->rk, topics);
    rd_kafka_topic_partition_list_destroy(topics);
    if (error != RD_KAFKA_RESP_ERR_NO_ERROR) {
        say("error subscribe: %s\n", rd_kafka_err2name(error));
        return 1;
    }
    int status = run(m, &stops);
    rd_kafka_destroy(m->rk);
    free(m);
    return status;
}
