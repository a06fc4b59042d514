/*
 * The rows about groups: heartbeats, commits, rebalances, what many groups weigh. See rows.h.
 *
 * Groups whose commits shall meet in one partition of __consumer_offsets have names of one hash.
 */
#include "benchmark/rows_groups.h"

#include "benchmark/crowd.h"
#include "benchmark/stage.h"

#include <unistd.h>

#define HEARTBEAT_MS       3000
#define SESSION_MS         60000
#define SESSION_LONG_MS    1800000
#define COMMIT_CONNECTIONS 50
#define COMMIT_IN_FLIGHT   10
#define ERROR_LOADING      14
#define ERROR_NOT_THERE    15
#define ERROR_NOT_LEADER   16
#define ERROR_ID_REQUIRED  79
#define REBALANCE_MEMBERS  1000
#define REBALANCE_EACH     10
#define NO_DELAY           "group.initial.rebalance.delay.ms=0"

static void name_topic(const struct stage *s, char *ret, size_t size)
{
    snprintf(ret, size, "bench-%d-%d-0", (int)getpid(), s->bench->runs);
}

static void name_groups(const struct stage *s, char *ret, size_t size)
{
    snprintf(ret, size, "group-%d-%d", (int)getpid(), s->bench->runs);
}

/* Waits until the group's coordinator is there and has loaded what it has. */
static int wait_for_coordinator(struct stage *s, const char *group)
{
    for (int i = 0; i < 6000; i++) {
        struct buf b = {0};
        struct answer a;
        frame_find_coordinator(&b, group);
        int r = client_send(&s->client, b.bytes, b.len);
        buf_release(&b);
        if (r >= 0) {
            r = client_receive(&s->client, &a);
        }
        int16_t error = r < 0 ? 0 : found_read(&a);
        if (r >= 0 && error == 0) {
            b = (struct buf){0};
            struct asker asker = {.group = group, .member = "nobody", .epoch = 1};
            frame_heartbeat(&b, &asker);
            r = client_send(&s->client, b.bytes, b.len);
            buf_release(&b);
            if (r >= 0) {
                r = client_receive(&s->client, &a);
            }
            error = r < 0 ? 0 : error_read(&a);
        }
        if (r < 0) {
            return r;
        }
        if (error != ERROR_LOADING && error != ERROR_NOT_THERE && error != ERROR_NOT_LEADER) {
            return 0;
        }
        usleep(10000);
    }
    return -ETIMEDOUT;
}

static int begin(struct stage *s,
                 struct bench *b,
                 enum column column,
                 enum process_mode mode,
                 const char *override,
                 int32_t partitions,
                 struct topic_id *ret)
{
    crowd_raise_limit();
    int r = stage_begin_with(s, b, column, mode, override);
    if (r >= 0) {
        r = stage_topic(s, partitions, ret);
    }
    return r < 0 ? r : wait_for_coordinator(s, "bench");
}

/* All members beat once each HEARTBEAT_MS, evenly spread. */
static int beat_for(struct crowd *cr, double seconds)
{
    int64_t start = now_ns();
    int64_t end = start + (int64_t)(seconds * 1e9);
    int64_t sent = 0;
    int r = 0;
    while (r >= 0) {
        int64_t now = now_ns();
        if (now >= end) {
            break;
        }
        int64_t due = (now - start) * (int64_t)cr->count / (HEARTBEAT_MS * INT64_C(1000000));
        while (sent < due && r >= 0) {
            size_t i = (size_t)(sent % (int64_t)cr->count);
            if (cr->members[i].state != CROWD_STABLE) {
                fprintf(stderr, "bench: a heartbeat was not answered within %d ms\n", HEARTBEAT_MS);
                return -ETIMEDOUT;
            }
            r = crowd_beat(cr, i);
            sent++;
        }
        if (r >= 0) {
            r = crowd_until(cr, min_i64(end, now + 1000000));
        }
    }
    return r;
}

int row_heartbeats(struct bench *b, enum column column)
{
    struct stage s;
    struct topic_id topic;
    char topic_name[64];
    char group_name[64];
    struct crowd cr = {.name = group_name,
                       .topic = topic_name,
                       .session_ms = SESSION_MS,
                       .partitions_each = 1,
                       .poll_fd = -1};
    size_t groups = 1000; /* also when it is quick: fewer would share less of a turn */
    double seconds = b->is_quick ? 3 : 15;
    int r = begin(&s, b, column, PROCESS_DURABLE, NULL, 10, &topic);
    name_topic(&s, topic_name, sizeof(topic_name));
    name_groups(&s, group_name, sizeof(group_name));
    cr.server = s.address;
    if (r >= 0) {
        r = crowd_open(&cr, groups * 10, groups);
    }
    if (r >= 0) {
        r = crowd_join(&cr, 0, cr.count);
    }
    if (r >= 0) {
        r = crowd_gather(&cr, cr.count);
    }
    if (r >= 0) {
        struct process_use before;
        struct process_use after;
        int64_t start = now_ns();
        cr.beats = 0;
        process_look(s.process.pid, &before);
        r = beat_for(&cr, seconds);
        process_look(s.process.pid, &after);
        double took = (double)(now_ns() - start) / 1e9;
        if (r >= 0 && s.process.pid > 0) {
            double cpu = (double)(after.cpu_ns - before.cpu_ns);
            stage_note(&s, M_BEATS_CPU, cpu / 1e9 / took * 100);
            stage_note(&s, M_BEAT_CPU, cpu / 1e3 / (double)max_i64(1, cr.beats));
        }
    }
    crowd_close(&cr);
    return stage_end(&s, r);
}

/* Kafka's hash of a name, of Java's String. */
static uint32_t hash_of(const char *text)
{
    uint32_t hash = 0;
    for (const char *p = text; *p != '\0'; p++) {
        hash = hash * 31 + (uint8_t)*p;
    }
    return (int32_t)hash < 0 ? 0 - hash : hash;
}

/* Numbers that make NAME-<number> fall into one partition, whatever their count out of 100's
 * divisors. */
static void meet_in_one_partition(struct crowd *cr)
{
    uint32_t number = 0;
    uint32_t wanted = 0;
    for (size_t i = 0; i < cr->count; i++) {
        for (;; number++) {
            char name[GROUP_NAME_BYTES];
            snprintf(name, sizeof(name), "%s-%" PRIu32, cr->name, number);
            uint32_t place = hash_of(name) % 100;
            if (i == 0 || place == wanted) {
                wanted = place;
                break;
            }
        }
        cr->members[i].group = number++;
    }
}

static int run_commits(struct bench *b,
                       enum column column,
                       enum process_mode mode,
                       enum measure cpu,
                       enum measure rate)
{
    struct stage s;
    struct topic_id topic;
    char topic_name[64];
    char group_name[64];
    struct crowd cr = {.name = group_name,
                       .topic = topic_name,
                       .session_ms = SESSION_LONG_MS,
                       .partitions_each = 1,
                       .poll_fd = -1};
    struct crowd_commits commits;
    int r = begin(&s, b, column, mode, NO_DELAY, 1, &topic);
    name_topic(&s, topic_name, sizeof(topic_name));
    name_groups(&s, group_name, sizeof(group_name));
    cr.server = s.address;
    if (r >= 0) {
        r = crowd_open(&cr, COMMIT_CONNECTIONS, COMMIT_CONNECTIONS);
    }
    if (r >= 0) {
        meet_in_one_partition(&cr);
        r = crowd_join(&cr, 0, cr.count);
    }
    if (r >= 0) {
        r = crowd_settle(&cr, cr.count);
    }
    if (r >= 0) {
        r = crowd_commit(&cr, COMMIT_IN_FLIGHT, b->is_quick ? 0.3 : 1.5, b->is_quick ? 1 : 5,
                         s.process.pid, &commits);
    }
    if (r >= 0) {
        stage_note(&s, rate, (double)commits.commits / commits.seconds);
        if (s.process.pid > 0) {
            stage_note(&s, cpu, commits.cpu_seconds * 1e6 / (double)max_i64(1, commits.commits));
        }
    }
    crowd_close(&cr);
    return stage_end(&s, r);
}

int row_commits(struct bench *b, enum column column)
{
    int r = run_commits(b, column, PROCESS_PAGE_CACHE, M_COMMIT_CPU, M_COMMIT_RATE);
    if (r >= 0 && column == COLUMN_OURS) {
        r = run_commits(b, column, PROCESS_DURABLE, M_COMMIT_DURABLE_CPU, M_COMMIT_DURABLE_RATE);
    }
    return r;
}

/* All have joined; then one more comes, and everyone is told by a heartbeat and joins again. */
static int run_classic(struct stage *s, struct crowd *cr, size_t members)
{
    int r = crowd_open(cr, members, 1);
    if (r >= 0) {
        r = crowd_join(cr, 0, members - 1);
    }
    if (r >= 0) {
        r = crowd_gather(cr, members - 1);
    }
    int64_t start = now_ns();
    int64_t cpu = process_cpu_ns(s->process.pid);
    if (r >= 0) {
        r = crowd_join(cr, members - 1, 1);
    }
    cr->told = 0;
    while (r >= 0 && cr->told == 0) {
        /* Until the join is known. */
        r = cr->members[0].state == CROWD_STABLE ? crowd_beat(cr, 0) : 0;
        if (r >= 0) {
            r = crowd_until(cr, now_ns() + 2000000);
        }
    }
    for (size_t i = 0; i < members && r >= 0; i++) {
        if (cr->members[i].state == CROWD_STABLE) {
            r = crowd_beat(cr, i);
        }
    }
    if (r >= 0) {
        r = crowd_settle(cr, members);
    }
    if (r >= 0) {
        stage_note(s, M_REBALANCE_SECONDS, (double)(now_ns() - start) / 1e9);
        if (s->process.pid > 0) {
            stage_note(s, M_REBALANCE_CPU, (double)(process_cpu_ns(s->process.pid) - cpu) / 1e9);
        }
    }
    return r;
}

int row_rebalance(struct bench *b, enum column column)
{
    struct stage s;
    struct topic_id topic;
    char topic_name[64];
    char group_name[64];
    struct crowd cr = {.name = group_name,
                       .topic = topic_name,
                       .session_ms = SESSION_LONG_MS,
                       .partitions_each = REBALANCE_EACH,
                       .poll_fd = -1};
    int r = begin(&s, b, column, PROCESS_DURABLE, NULL, 1, &topic);
    name_topic(&s, topic_name, sizeof(topic_name));
    name_groups(&s, group_name, sizeof(group_name));
    cr.server = s.address;
    if (r >= 0) {
        r = run_classic(&s, &cr, b->is_quick ? REBALANCE_MEMBERS / 10 : REBALANCE_MEMBERS);
    }
    crowd_close(&cr);
    return stage_end(&s, r);
}

static double cpu_since(const struct stage *s, int64_t *cpu)
{
    int64_t now = process_cpu_ns(s->process.pid);
    double seconds = (double)(now - *cpu) / 1e9;
    *cpu = now;
    return seconds;
}

/* 1,000 come at once; then one more; then a tenth of them leaves. */
static int run_consumer(struct stage *s, struct crowd *cr, size_t members, int32_t partitions)
{
    int rounds;
    int r = crowd_open(cr, members + 1, 1);
    int64_t cpu = process_cpu_ns(s->process.pid);
    if (r >= 0) {
        r = crowd_join(cr, 0, members);
    }
    if (r >= 0) {
        r = crowd_settle(cr, members);
    }
    if (r >= 0) {
        r = crowd_reconcile(cr, partitions, &rounds);
    }
    if (r < 0) {
        return r;
    }
    bool has_pid = s->process.pid > 0;
    double formed = cpu_since(s, &cpu);
    r = crowd_join(cr, members, 1);
    if (r >= 0) {
        r = crowd_settle(cr, members + 1);
    }
    if (r >= 0) {
        r = crowd_reconcile(cr, partitions, &rounds);
    }
    double one = cpu_since(s, &cpu);
    for (size_t i = 0; i < members / 10 && r >= 0; i++) {
        r = crowd_leave(cr, i);
    }
    if (r >= 0) {
        r = crowd_reconcile(cr, partitions, &rounds);
    }
    double left = cpu_since(s, &cpu);
    if (r >= 0 && has_pid) {
        stage_note(s, M_GROUP_FORMED_CPU, formed);
        stage_note(s, M_GROUP_ONE_CPU, one);
        stage_note(s, M_GROUP_LEFT_CPU, left);
    }
    return r;
}

int row_reconcile(struct bench *b, enum column column)
{
    struct stage s;
    struct topic_id topic;
    char topic_name[64];
    char group_name[64];
    struct crowd cr = {
        .protocol = CROWD_CONSUMER, .name = group_name, .topic = topic_name, .poll_fd = -1};
    size_t members = b->is_quick ? REBALANCE_MEMBERS / 10 : REBALANCE_MEMBERS;
    int32_t partitions = (int32_t)members * REBALANCE_EACH - 1; /* 10,000 are refused */
    int r = begin(&s, b, column, PROCESS_DURABLE, NULL, partitions, &topic);
    name_topic(&s, topic_name, sizeof(topic_name));
    name_groups(&s, group_name, sizeof(group_name));
    cr.server = s.address;
    if (r >= 0) {
        r = run_consumer(&s, &cr, members, partitions);
    }
    crowd_close(&cr);
    return stage_end(&s, r);
}

static int ask(struct stage *s, struct buf *b, struct answer *ret)
{
    int r = client_send(&s->client, b->bytes, b->len);
    b->len = 0;
    return r < 0 ? r : client_receive(&s->client, ret);
}

/* One member of a group of its own, over the one connection. */
static int one_member(struct stage *s, struct buf *b, const char *group, const char *topic)
{
    struct joined j = {0};
    struct answer a;
    int r = 0;
    char id[MEMBER_ID_BYTES] = "";
    for (int i = 0; i < 2 && r >= 0; i++) {
        struct asker asker = {.group = group, .member = id};
        joined_release(&j);
        frame_join(b, &asker, topic, SESSION_LONG_MS);
        r = ask(s, b, &a);
        if (r >= 0) {
            joined_read(&a, &j);
            memcpy(id, j.member, sizeof(id));
            r = a.failed || (j.error != 0 && j.error != ERROR_ID_REQUIRED) ? -EPROTO : 0;
        }
        if (r >= 0 && j.error == 0) {
            break;
        }
    }
    if (r >= 0) {
        const char *member = id;
        struct asker asker = {.group = group, .member = id, .epoch = j.generation};
        frame_sync(b, &asker, topic, &member, 1, 1);
        r = ask(s, b, &a);
        r = r >= 0 && error_read(&a) != 0 ? -EPROTO : r;
    }
    joined_release(&j);
    return r;
}

static int one_consumer(struct stage *s, struct buf *b, const char *group, const char *topic)
{
    struct group_heartbeat h = {.asker = {.group = group, .member = "JYc2sMqFQ0mT6YPqQJvL1A"},
                                .topic = topic};
    struct group_beat beat;
    struct answer a;
    frame_group_heartbeat(b, &h);
    int r = ask(s, b, &a);
    if (r >= 0) {
        group_beat_read(&a, &beat);
        r = a.failed || beat.error != 0 ? -EPROTO : 0;
    }
    return r;
}

/* How much memory `count` groups add, and how often they wake the server. */
static int weigh(struct stage *s,
                 int count,
                 int (*make)(struct stage *, struct buf *, const char *, const char *),
                 enum measure rss,
                 enum measure wakes)
{
    char topic[64];
    char group[GROUP_NAME_BYTES];
    struct buf b = {0};
    struct process_use before;
    struct process_use after;
    name_topic(s, topic, sizeof(topic));
    int r = 0;
    /* The first hundred touch what is touched once. */
    for (int i = 0; i < count + 100 && r >= 0; i++) {
        if (i == 100) {
            process_look(s->process.pid, &before);
        }
        snprintf(group, sizeof(group), "weight-%d-%d", (int)wakes, i);
        r = make(s, &b, group, topic);
    }
    process_look(s->process.pid, &after);
    buf_release(&b);
    if (r < 0 || s->process.pid <= 0) {
        return r;
    }
    stage_note(s, rss, (double)(after.rss_kib - before.rss_kib) / 1024 * (10000.0 / (double)count));
    unsigned seconds = s->bench->is_quick ? 3 : 15;
    sleep(2);
    process_look(s->process.pid, &before);
    sleep(seconds);
    process_look(s->process.pid, &after);
    stage_note(s, wakes, (double)(after.voluntary_switches - before.voluntary_switches) / seconds);
    return 0;
}

int row_groups(struct bench *b, enum column column)
{
    struct stage s;
    struct topic_id topic;
    int count = b->is_quick ? 1000 : 10000;
    int r = begin(&s, b, column, PROCESS_PAGE_CACHE, NO_DELAY, 1, &topic);
    if (r >= 0) {
        r = weigh(&s, count, one_member, M_GROUPS_RSS, M_GROUPS_WAKES);
    }
    r = stage_end(&s, r);
    if (r < 0) {
        return r;
    }
    r = begin(&s, b, column, PROCESS_PAGE_CACHE, NO_DELAY, 1, &topic);
    if (r >= 0) {
        r = weigh(&s, count, one_consumer, M_CONSUMERS_RSS, M_CONSUMERS_WAKES);
    }
    return stage_end(&s, r);
}
