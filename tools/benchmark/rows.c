/*
 * The rows: one function a load. Each starts a fresh broker (or uses the other one), makes its
 * topic, runs its load and notes its figures. Those about groups are in rows_groups.c.
 */
#include "benchmark/rows.h"

#include "base/mem.h"
#include "benchmark/load.h"
#include "benchmark/rows_groups.h"
#include "benchmark/stage.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#define PATH_BYTES 512
#define GIB        1073741824.0

static double run_seconds(const struct bench *b)
{
    return b->is_quick ? 1.0 : 4.0;
}

/* Bytes that a load may write while pages are warm. */
static int64_t warm_bytes(const struct bench *b)
{
    return (b->is_quick ? INT64_C(384) : INT64_C(1536)) << 20;
}

/* A produce load on a fresh topic of one partition, after its first record. */
static int
run_produce_load(struct stage *s, struct produce p, struct load l, struct load_result *ret)
{
    struct buf frame = {0};
    p.count = 1;
    int r = stage_topic(s, 1, &p.topic);
    if (r >= 0) {
        frame_produce(&frame, &p);
        r = client_produce(&s->client, &frame);
    }
    if (r >= 0) {
        l.server = s->address;
        l.pid = s->process.pid;
        l.frame = &frame;
        l.run_seconds = l.run_seconds > 0 ? l.run_seconds : run_seconds(s->bench);
        l.warm_seconds = s->bench->is_quick ? 0.3 : 1.5;
        int64_t requests_max = warm_bytes(s->bench) / 5 * 4 / (int64_t)frame.len;
        l.requests_max = l.requests_max > 0 ? min_i64(l.requests_max, requests_max) : requests_max;
        struct warm warm;
        warm_open(&warm, s->bench->directory, warm_bytes(s->bench));
        l.warm = &warm;
        r = load_produce(&l, ret);
        warm_close(&warm);
    }
    buf_release(&frame);
    return r;
}

static int row_small(struct bench *b, enum column column)
{
    struct stage s;
    struct load_result result;
    int r = stage_begin(&s, b, column, PROCESS_PAGE_CACHE, false);
    if (r >= 0) {
        r = run_produce_load(&s, (struct produce){.records = 1, .value_bytes = 100, .acks = -1},
                             (struct load){.connections = 4, .in_flight = 16}, &result);
    }
    if (r >= 0) {
        stage_note(&s, M_SMALL_CPU, result.cpu_seconds * 1e6 / (double)result.requests);
    }
    return stage_end(&s, r);
}

static int row_hundred(struct bench *b, enum column column)
{
    struct stage s;
    struct load_result result;
    int r = stage_begin(&s, b, column, PROCESS_PAGE_CACHE, false);
    if (r >= 0) {
        r = run_produce_load(&s, (struct produce){.records = 100, .value_bytes = 100, .acks = -1},
                             (struct load){.connections = 4, .in_flight = 5}, &result);
    }
    if (r >= 0) {
        stage_note(&s, M_HUNDRED_CPU, result.cpu_seconds * 1e6 / (double)result.requests);
    }
    return stage_end(&s, r);
}

static int row_bulk(struct bench *b, enum column column)
{
    struct stage s;
    struct load_result result;
    int r = stage_begin(&s, b, column, PROCESS_PAGE_CACHE, false);
    if (r >= 0) {
        r = run_produce_load(&s, (struct produce){.records = 1000, .value_bytes = 1000, .acks = -1},
                             (struct load){.connections = 2, .in_flight = 3}, &result);
    }
    if (r >= 0) {
        double bytes = (double)result.requests * (double)batch_bytes(1000, 1000);
        stage_note(&s, M_BULK_CPU, result.cpu_seconds / (bytes / GIB));
    }
    return stage_end(&s, r);
}

static int row_durable(struct bench *b, enum column column)
{
    struct produce p = {.records = 1, .value_bytes = 100, .acks = -1};
    struct load l = {.connections = 4, .in_flight = 16};
    struct load_result result;
    struct stage s;
    int r = stage_begin(&s, b, column, PROCESS_DURABLE, false);
    if (r >= 0) {
        r = run_produce_load(&s, p, l, &result);
    }
    if (r >= 0) {
        stage_note(&s, M_DURABLE_CPU, result.cpu_seconds * 1e6 / (double)result.requests);
    }
    r = stage_end(&s, r);
    if (r < 0 || column != COLUMN_OURS || access("/usr/bin/strace", X_OK) != 0) {
        return r;
    }

    /* Once more, counted: only the sync calls pass through strace. Warm-up and load are counted
     * together, so the requests of both are. */
    struct sync_count before;
    struct sync_count after;
    r = stage_begin(&s, b, column, PROCESS_DURABLE, true);
    if (r >= 0) {
        struct buf frame = {0};
        p.count = 1;
        r = stage_topic(&s, 1, &p.topic);
        if (r >= 0) {
            frame_produce(&frame, &p);
            r = client_produce(&s.client, &frame);
        }
        sync_log_count(s.sync_log, &before);
        if (r >= 0) {
            l.server = s.address;
            l.frame = &frame;
            l.run_seconds = b->is_quick ? 1 : 2;
            r = load_produce(&l, &result);
        }
        buf_release(&frame);
    }
    if (r >= 0) {
        stage_disconnect(&s);
        process_stop(&s.process);
        sync_log_count(s.sync_log, &after);
        stage_note(&s, M_DURABLE_ACKS,
                   (double)result.requests / (double)max_i64(1, after.calls - before.calls));
    }
    return stage_end(&s, r);
}

/* What a sync of this disk costs by itself: 200 bytes appended, fdatasync. On the core where the
 * server will sync: where the disk's interrupts go to another one, the way back costs as much as
 * half of a sync. */
static int measure_sync(const struct bench *b, double *ret_us)
{
    char path[PATH_BYTES];
    char bytes[200] = {1};
    struct latencies times = {0};
    cpu_set_t before;
    snprintf(path, sizeof(path), "%s/sync-%d", b->directory, (int)getpid());
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0) {
        return -errno;
    }
    int r = sched_getaffinity(0, sizeof(before), &before) == 0 ? 0 : -errno;
    process_pin(getpid(), b->server_core);
    for (int i = 0; i < 400 && r == 0; i++) {
        int64_t start = now_ns();
        r = write(fd, bytes, sizeof(bytes)) == (ssize_t)sizeof(bytes) && fdatasync(fd) == 0 ? 0
                                                                                            : -EIO;
        if (i >= 50) {
            latencies_add(&times, now_ns() - start);
        }
    }
    if (r == 0 && sched_setaffinity(0, sizeof(before), &before) < 0) {
        r = -errno;
    }
    *ret_us = latencies_us(&times, 0.5);
    latencies_release(&times);
    close(fd);
    unlink(path);
    return r;
}

static int row_durable_one(struct bench *b, enum column column)
{
    struct stage s;
    struct load_result result;
    double sync_us = 0;
    int r = column == COLUMN_OURS ? measure_sync(b, &sync_us) : 0;
    if (r < 0) {
        return r;
    }
    r = stage_begin(&s, b, column, PROCESS_DURABLE, false);
    if (r >= 0) {
        r = run_produce_load(&s, (struct produce){.records = 1, .value_bytes = 100, .acks = -1},
                             (struct load){.connections = 1, .in_flight = 1}, &result);
    }
    if (r >= 0) {
        if (column == COLUMN_OURS) {
            stage_note(&s, M_SYNC_P50, sync_us);
        }
        stage_note(&s, M_DURABLE_ONE_P50, result.p50_us);
    }
    return stage_end(&s, r);
}

/* `rounds` times: 1,000 partitions get one record each, in requests of `each` partitions sent at
 * once. */
static int
run_rounds(struct stage *s, struct topic_id topic, int32_t each, int rounds, double *ret_p99_ms)
{
    struct buf frames = {0};
    struct latencies times = {0};
    int32_t requests = 1000 / each;
    for (int32_t i = 0; i < requests; i++) {
        struct produce p = {.topic = topic,
                            .first = i * each,
                            .count = each,
                            .records = 1,
                            .value_bytes = 100,
                            .acks = -1};
        frame_produce(&frames, &p);
    }
    int r = 0;
    for (int i = 0; i < rounds && r >= 0; i++) {
        int64_t start = now_ns();
        r = client_send(&s->client, frames.bytes, frames.len);
        for (int32_t k = 0; k < requests && r >= 0; k++) {
            struct answer a;
            r = client_receive(&s->client, &a);
            if (r >= 0 && s->client.in.len > PRODUCE_ERROR_AT - 2 &&
                load_be16(s->client.in.bytes + PRODUCE_ERROR_AT - 4) != 0) {
                r = -EPROTO;
            }
            if (i >= 5) {
                latencies_add(&times, now_ns() - start);
            }
        }
    }
    *ret_p99_ms = latencies_us(&times, 0.99) / 1e3;
    latencies_release(&times);
    buf_release(&frames);
    return r;
}

static int row_durable_many(struct bench *b, enum column column)
{
    struct stage s;
    struct topic_id topic;
    struct buf frame = {0};
    double p99_ms;
    int rounds = b->is_quick ? 30 : 205;
    int r = stage_begin(&s, b, column, PROCESS_DURABLE, false);
    if (r >= 0) {
        r = stage_topic(&s, 1000, &topic);
    }
    if (r >= 0) {
        struct produce p = {
            .topic = topic, .count = 1000, .records = 1, .value_bytes = 100, .acks = -1};
        frame_produce(&frame, &p);
        r = client_produce(&s.client, &frame);
    }
    if (r >= 0) {
        r = run_rounds(&s, topic, 1000, rounds, &p99_ms);
    }
    if (r >= 0) {
        stage_note(&s, M_MANY_P99, p99_ms);
        r = run_rounds(&s, topic, 1, rounds, &p99_ms);
    }
    if (r >= 0) {
        stage_note(&s, M_MANY_SINGLE_P99, p99_ms);
    }
    buf_release(&frame);
    return stage_end(&s, r);
}

/* Fills a log with batches of 16 x 1000 B, about a sixteenth of a MiB each four. */
static int fill_log(struct stage *s, const struct buf *frame, int64_t requests)
{
    struct load_result result;
    struct load l = {.server = s->address,
                     .frame = frame,
                     .connections = 1,
                     .in_flight = 16,
                     .run_seconds = 600,
                     .requests_max = requests};
    return load_produce(&l, &result);
}

static int row_fetch(struct bench *b, enum column column)
{
    static const struct {
        enum measure measure;
        int32_t bytes;
    } sizes[] = {{M_FETCH_1M_CPU, 1 << 20}, {M_FETCH_64K_CPU, 64 << 10}};
    struct stage s;
    struct produce p = {.count = 1, .records = 16, .value_bytes = 1000, .acks = -1};
    struct buf frame = {0};
    int64_t requests = b->is_quick ? 4000 : 16000;
    int r = stage_begin(&s, b, column, PROCESS_PAGE_CACHE, false);
    if (r >= 0) {
        r = stage_topic(&s, 1, &p.topic);
    }
    if (r >= 0) {
        frame_produce(&frame, &p);
        r = client_produce(&s.client, &frame);
    }
    if (r >= 0) {
        r = fill_log(&s, &frame, requests);
    }
    for (size_t i = 0; i < ARRAY_LEN(sizes) && r >= 0; i++) {
        struct fetch f = {
            .topic = p.topic, .min_bytes = 1, .max_wait_ms = 500, .max_bytes = sizes[i].bytes};
        struct buf ask = {0};
        struct fetch_load l = {
            .load = {.server = s.address,
                     .connections = 2,
                     .pid = s.process.pid,
                     .warm_seconds = b->is_quick ? 0.5 : 1.5,
                     .run_seconds = run_seconds(b)},
            .batch_bytes = batch_bytes(16, 1000),
            .batch_records = 16,
            .end_offset = requests * 16,
        };
        struct load_result result;
        frame_fetch(&ask, &f, &l.offset_at);
        l.load.frame = &ask;
        r = load_fetch(&l, &result);
        if (r >= 0) {
            stage_note(&s, sizes[i].measure, result.cpu_seconds / ((double)result.bytes / GIB));
        }
        buf_release(&ask);
    }
    buf_release(&frame);
    return stage_end(&s, r);
}

/* Waits, without sleeping, until bytes are there. */
static int spin_until_readable(int fd, int64_t until_ns)
{
    char byte;
    for (;;) {
        ssize_t n = recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
        if (n > 0) {
            return 1;
        }
        if (n == 0 || errno != EAGAIN) {
            return -ECONNRESET;
        }
        if (now_ns() >= until_ns) {
            return 0;
        }
    }
}

/* The floor has nothing to fetch: the record counts as consumed with its answer. */
static int run_echo(struct stage *s, const struct produce *p, int count, struct latencies *times)
{
    struct buf produce = {0};
    struct answer a;
    frame_produce(&produce, p);
    int r = client_produce(&s->client, &produce);
    int64_t due = now_ns() + 50000000;
    for (int i = 0; i < count && r >= 0; i++) {
        while (now_ns() < due) {
        }
        int64_t start = now_ns();
        due = start + 5000000;
        r = client_send(&s->client, produce.bytes, produce.len);
        if (r >= 0) {
            r = spin_until_readable(s->client.fd, start + INT64_C(10000000000));
        }
        if (r >= 0) {
            r = client_receive(&s->client, &a);
        }
        if (i >= count / 10) {
            latencies_add(times, now_ns() - start);
        }
    }
    buf_release(&produce);
    return r;
}

/* Parks a fetch at the end of the log, produces, and waits for the record, `count` times at 200/s.
 */
static int run_tail(struct stage *s,
                    struct client *consumer,
                    const struct produce *p,
                    int count,
                    struct latencies *times)
{
    struct buf produce = {0};
    struct buf fetch = {0};
    struct fetch f = {
        .topic = p->topic, .min_bytes = 1, .max_wait_ms = 10000, .max_bytes = 1 << 20};
    struct fetched fetched = {.next_offset = -1};
    struct answer a;
    size_t offset_at;
    frame_produce(&produce, p);
    frame_fetch(&fetch, &f, &offset_at);
    int r = client_produce(&s->client, &produce);
    int64_t offset = 1;
    int64_t due = now_ns() + 50000000;
    for (int i = 0; i < count && r >= 0; i++) {
        store_be64(fetch.bytes + offset_at, (uint64_t)offset);
        r = client_send(consumer, fetch.bytes, fetch.len);
        while (r >= 0 && now_ns() < due) {
        }
        int64_t start = now_ns();
        due = start + 5000000;
        if (r >= 0) {
            r = client_send(&s->client, produce.bytes, produce.len);
        }
        if (r >= 0) {
            r = spin_until_readable(consumer->fd, start + INT64_C(10000000000));
        }
        if (r >= 0) {
            r = client_receive(consumer, &a);
        }
        int64_t end = now_ns();
        if (r >= 0) {
            fetched_read(&a, &fetched);
            r = fetched.error != 0 || fetched.next_offset != offset + 1 ? -EPROTO : 0;
        }
        if (r >= 0) {
            r = client_receive(&s->client, &a);
        }
        offset++;
        if (i >= count / 10) {
            latencies_add(times, end - start);
        }
    }
    buf_release(&produce);
    buf_release(&fetch);
    return r;
}

static int row_tail(struct bench *b, enum column column)
{
    struct stage s;
    struct client consumer = {.fd = -1};
    struct produce p = {.count = 1, .records = 1, .value_bytes = 100, .acks = -1};
    struct latencies times = {0};
    int r = stage_begin(&s, b, column, PROCESS_PAGE_CACHE, false);
    if (r >= 0) {
        r = stage_topic(&s, 1, &p.topic);
    }
    if (r >= 0) {
        r = client_open(&consumer, &s.address);
    }
    int count = b->is_quick ? 300 : 2000;
    if (r >= 0) {
        r = column == COLUMN_FLOOR ? run_echo(&s, &p, count, &times)
                                   : run_tail(&s, &consumer, &p, count, &times);
    }
    if (r >= 0) {
        stage_note(&s, M_TAIL_P50, latencies_us(&times, 0.5));
        stage_note(&s, M_TAIL_P99, latencies_us(&times, 0.99));
    }
    latencies_release(&times);
    client_close(&consumer);
    return stage_end(&s, r);
}

/* Starts on an empty directory, makes a topic, waits for one record's ack. */
static int run_first(struct stage *s, struct bench *b, bool counts_syncs, double *ret_ms)
{
    struct produce p = {.count = 1, .records = 1, .value_bytes = 100, .acks = -1};
    struct buf frame = {0};
    int64_t start = now_ns();
    int r = stage_begin(s, b, COLUMN_OURS, PROCESS_DURABLE, counts_syncs);
    if (r >= 0) {
        r = stage_topic(s, 1, &p.topic);
    }
    if (r >= 0) {
        frame_produce(&frame, &p);
        r = client_produce(&s->client, &frame);
    }
    *ret_ms = (double)(now_ns() - start) / 1e6;
    buf_release(&frame);
    return r;
}

static int compare_double(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

static int row_first(struct bench *b, enum column column)
{
    struct stage s;
    double times[9];
    (void)column;
    for (size_t i = 0; i < ARRAY_LEN(times); i++) {
        int r = run_first(&s, b, false, &times[i]);
        r = stage_end(&s, r);
        if (r < 0) {
            return r;
        }
    }
    qsort(times, ARRAY_LEN(times), sizeof(times[0]), compare_double);
    stage_note(&s, M_FIRST_MS, times[ARRAY_LEN(times) / 2]);
    if (access("/usr/bin/strace", X_OK) != 0) {
        return 0;
    }
    double unused_ms;
    int r = run_first(&s, b, true, &unused_ms);
    if (r >= 0) {
        struct sync_count syncs;
        stage_disconnect(&s);
        process_kill(&s.process);
        sync_log_count(s.sync_log, &syncs);
        stage_note(&s, M_FIRST_SYNCS, (double)syncs.in_a_row);
    }
    return stage_end(&s, r);
}

static int row_idle(struct bench *b, enum column column)
{
    struct stage s;
    int r = stage_begin(&s, b, column, PROCESS_DURABLE, false);
    if (r >= 0) {
        struct process_use before;
        struct process_use after;
        unsigned seconds = b->is_quick ? 3 : 15;
        stage_disconnect(&s);
        sleep(4); /* what was used to start is given back within two passes, a second apart */
        process_look(s.process.pid, &before);
        sleep(seconds);
        process_look(s.process.pid, &after);
        if (s.process.pid > 0) {
            stage_note(&s, M_IDLE_RSS, (double)after.rss_kib / 1024);
            stage_note(&s, M_IDLE_WAKES,
                       (double)(after.voluntary_switches - before.voluntary_switches) / seconds);
        }
    }
    return stage_end(&s, r);
}

#define REQUESTS_OF_100 100

/* One record for every partition of topics [0, topics), in requests of a hundred. */
static int write_once(struct stage *s, const struct topic_id *ids, int32_t topics)
{
    int r = 0;
    for (int32_t i = 0; i < topics && r >= 0; i++) {
        struct produce p = {
            .topic = ids[i], .count = 100, .records = 1, .value_bytes = 100, .acks = -1};
        struct buf frame = {0};
        frame_produce(&frame, &p);
        r = client_produce(&s->client, &frame);
        buf_release(&frame);
    }
    return r;
}

static int write_active(struct stage *s, const struct topic_id *ids)
{
    int r = 0;
    for (int i = 0; i < 100 && r >= 0; i++) {
        r = write_once(s, ids, 1);
    }
    return r;
}

/* Starts on what is there; seconds to the first ack, of the last partition. */
static int start_again(struct stage *s, const struct produce *p, double *ret_seconds)
{
    struct buf frame = {0};
    frame_produce(&frame, p);
    int64_t start = now_ns();
    int r = stage_start_again(s, PROCESS_DURABLE, 1024);
    if (r >= 0) {
        r = stage_connect(s);
    }
    if (r >= 0) {
        r = client_produce(&s->client, &frame);
    }
    *ret_seconds = (double)(now_ns() - start) / 1e9;
    buf_release(&frame);
    return r;
}

static int run_partitions(struct stage *s, struct topic_id *ids, int32_t topics)
{
    struct process_use use;
    char name[64];
    snprintf(name, sizeof(name), "bench-%d-%d", (int)getpid(), s->bench->runs);
    int r = 0;
    int64_t start = now_ns();
    for (int32_t i = 0; i < topics && r >= 0; i++) {
        r = client_create_topics(&s->client, name, i, 1, 100, &ids[i]);
    }
    if (r < 0) {
        return r;
    }
    stage_note(s, M_MANY_CREATED, (double)(now_ns() - start) / 1e9);
    r = write_once(s, ids, topics);
    if (r >= 0) {
        r = write_active(s, ids);
    }
    if (r < 0) {
        return r;
    }
    process_look(s->process.pid, &use);
    if (s->process.pid > 0) {
        stage_note(s, M_MANY_RSS, (double)use.rss_kib / 1024);
        stage_note(s, M_MANY_FDS, (double)use.descriptors);
    }
    return 0;
}

static int row_partitions(struct bench *b, enum column column)
{
    struct stage s;
    struct process_use use;
    double seconds;
    int32_t topics = b->is_quick ? 10 : REQUESTS_OF_100;
    struct topic_id ids[REQUESTS_OF_100];
    int r = stage_begin(&s, b, column, PROCESS_DURABLE, false);
    if (r >= 0) {
        r = run_partitions(&s, ids, topics);
    }
    if (r < 0 || column == COLUMN_OTHER) {
        return stage_end(&s, r);
    }
    struct produce last = {.topic = ids[topics - 1],
                           .first = 99,
                           .count = 1,
                           .records = 1,
                           .value_bytes = 100,
                           .acks = -1};
    stage_disconnect(&s);
    int64_t stop_ns = now_ns();
    process_stop(&s.process);
    stage_note(&s, M_MANY_STOPPED, (double)(now_ns() - stop_ns) / 1e9);
    r = start_again(&s, &last, &seconds);
    if (r >= 0) {
        stage_note(&s, M_MANY_STARTED, seconds);
        r = write_active(&s, ids);
    }
    if (r >= 0) {
        process_look(s.process.pid, &use);
        stage_note(&s, M_MANY_RSS_AGAIN, (double)use.rss_kib / 1024);
        r = write_once(&s, ids, topics);
    }
    if (r >= 0) {
        stage_disconnect(&s);
        process_kill(&s.process);
        r = start_again(&s, &last, &seconds);
    }
    if (r >= 0) {
        stage_note(&s, M_MANY_KILLED, seconds);
    }
    return stage_end(&s, r);
}

static int row_killed(struct bench *b, enum column column)
{
    struct stage s;
    struct produce p = {.count = 1, .records = 1000, .value_bytes = 1000, .acks = -1};
    struct buf frame = {0};
    double seconds;
    int r = stage_begin(&s, b, column, PROCESS_DURABLE, false);
    if (r >= 0) {
        r = stage_topic(&s, 1, &p.topic);
    }
    if (r >= 0) {
        frame_produce(&frame, &p);
        r = client_produce(&s.client, &frame);
    }
    if (r >= 0) {
        r = fill_log(&s, &frame, b->is_quick ? 100 : 1060);
    }
    if (r >= 0) {
        stage_disconnect(&s);
        process_kill(&s.process);
        p.records = 1;
        r = start_again(&s, &p, &seconds);
    }
    if (r >= 0) {
        stage_note(&s, M_KILLED_MS, seconds * 1e3);
    }
    buf_release(&frame);
    return stage_end(&s, r);
}

const struct row rows[] = {
    {"small", ROW_FLOOR | ROW_OTHER, row_small},
    {"hundred", ROW_FLOOR | ROW_OTHER, row_hundred},
    {"bulk", ROW_FLOOR | ROW_OTHER, row_bulk},
    {"durable", ROW_FLOOR, row_durable},
    {"durable-one", ROW_FLOOR, row_durable_one},
    {"durable-many", 0, row_durable_many},
    {"fetch", ROW_OTHER, row_fetch},
    {"tail", ROW_FLOOR | ROW_OTHER, row_tail},
    {"first", 0, row_first},
    {"idle", ROW_OTHER, row_idle},
    {"partitions", ROW_OTHER, row_partitions},
    {"killed", 0, row_killed},
    {"heartbeats", ROW_OTHER, row_heartbeats},
    {"commits", ROW_OTHER, row_commits},
    {"rebalance", ROW_OTHER, row_rebalance},
    {"reconcile", ROW_OTHER, row_reconcile},
    {"groups", ROW_OTHER, row_groups},
};
const size_t rows_count = ARRAY_LEN(rows);
