/*
 * hostile: a broker beside clients that mean it harm. A good client produces (acks=all) and fetches
 * what it wrote, 200 times a second; first alone, then beside each attack, then beside all of them.
 *
 *   hostile --server FILE [--data DIR] [--seconds N] [--only ATTACK]... [--promised] [--all]
 *           [--durable] [--pinned] [--nice N] [--others SHARE]
 *
 * Promised: its p99 stays below twice its own or 5 ms, whichever is more; memory grows by at most
 * 128 MiB; no turn of an event loop is above 2 ms of work, as the broker's own metric says. Each
 * attack meets a fresh broker. The machine is shared by all of them, so the figure alone is
 * measured right before.
 *
 * A measurement counts, whatever it says, unless others had a good part of the processors
 * meanwhile: then it is thrown away unseen and made again, when the machine has become quiet.
 *
 * What breaks a promise once is measured twice more and must hold both times: a turn that is the
 * broker's own is long each time. A turn's time is what the kernel charges the thread, and on a
 * virtual machine some of that is not its work: for comparison a loop that only computes runs
 * before the first attack and after each one, for as much processor time as the broker used, and
 * its long turns are printed beside the broker's. tools/turns tells of each long turn whether the
 * broker or the machine made it. The last line sums all up.
 *
 * Exit status: 0 all promises held, 1 some did not, 2 it could not be measured, 3 the machine was
 * never quiet for long enough.
 */
#include "benchmark/attack.h"
#include "benchmark/bare.h"
#include "benchmark/load.h"
#include "benchmark/process.h"
#include "benchmark/quiet.h"

#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#define ONLY_MAX         32
#define PERIOD_NS        INT64_C(5000000)
#define ATTACK_LEAD_NS   INT64_C(1000000000)
#define RSS_GROWTH_KIB   (128 << 10)
#define BARE_LEAD_S      10
#define BARE_LEAST_S     0.5
#define P99_US_MAX       5000
#define TURN_US_MAX      2000
#define CREATED_AT_ONCE  100
#define METRICS_PATIENCE 200  /* of 10 ms */
#define OTHERS_SHARE_MAX 0.25 /* of one processor */
#define QUIET_WAIT_S     20
#define TRIES_MAX        3
#define CONFIRMATIONS    2
#define BROKEN           1 /* results: a promise did not hold; */
#define DISTURBED        2 /* others had the processors */

struct options {
    const char *binary;
    const char *directory;
    double seconds;
    double others_max; /* of one processor: a measurement with more is thrown away */
    bool is_durable;
    bool is_pinned;   /* the broker to one core, the clients to another */
    bool is_all;      /* all attacks at once, too */
    bool is_promised; /* those that the promise names */
    const char *only[ONLY_MAX];
    size_t only_count;
};

/* Turns of a loop above 2 ms, and of what. */
struct tally {
    struct bare bare; /* all that was seen of it so far */
    int64_t turns;
    int64_t long_count;
    double cpu_s;
};

/* The good client: two connections to a topic of its own. */
struct good {
    struct client producer;
    struct client consumer;
    struct buf produce;
    struct buf fetch;
    size_t offset_at;
    int64_t offset; /* of the next record */
};

struct figures {
    double p50_us;
    double p99_us;
    double max_us;
    int64_t rss_peak_kib;
};

static void print_usage(FILE *to)
{
    fputs(
        "hostile --server FILE [--data DIR] [--seconds N] [--only ATTACK]... [--promised] [--all]\n"
        "        [--durable] [--pinned] [--nice N] [--others SHARE]\n"
        "  --promised those that never read, drip, flood, storm or send lies; else all there are\n"
        "  --all      all attacks at once, after each alone (with --only: instead)\n"
        "  --durable  acks wait for the disk; else for the page cache\n"
        "  --pinned   the broker on one core, all clients on another\n"
        "  --nice     priority of broker and good client, on a machine that has other work\n"
        "  --others   how much of a processor others may have before a measurement is made again\n"
        "attacks:",
        to);
    for (size_t i = 0; i < attacks_count; i++) {
        fprintf(to, " %s", attacks[i].name);
    }
    fputc('\n', to);
}

static int parse_arguments(struct options *o, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const char *name = argv[i];
        if (strcmp(name, "--all") == 0) {
            o->is_all = true;
            continue;
        }
        if (strcmp(name, "--promised") == 0) {
            o->is_promised = true;
            continue;
        }
        if (strcmp(name, "--pinned") == 0) {
            o->is_pinned = true;
            continue;
        }
        if (strcmp(name, "--durable") == 0) {
            o->is_durable = true;
            continue;
        }
        if (i + 1 == argc) {
            return -EINVAL;
        }
        const char *value = argv[++i];
        if (strcmp(name, "--server") == 0) {
            o->binary = value;
        } else if (strcmp(name, "--data") == 0) {
            o->directory = value;
        } else if (strcmp(name, "--seconds") == 0) {
            o->seconds = strtod(value, NULL);
        } else if (strcmp(name, "--others") == 0) {
            o->others_max = strtod(value, NULL);
        } else if (strcmp(name, "--nice") == 0) {
            IGNORE(nice((int)strtol(value, NULL, 10)) == -1); /* the broker inherits it */
        } else if (strcmp(name, "--only") == 0 && o->only_count < ONLY_MAX) {
            o->only[o->only_count++] = value;
        } else {
            return -EINVAL;
        }
    }
    return o->binary == NULL || o->seconds <= 0 ? -EINVAL : 0;
}

/* ---- the good client ---- */

static int good_open(struct good *g, const struct sockaddr_in *to)
{
    *g = (struct good){0};
    int r = client_open(&g->producer, to);
    r = r < 0 ? r : client_open(&g->consumer, to);
    struct topic_id id;
    r = r < 0 ? r : client_create_topics(&g->producer, "good", 0, 1, 1, &id);
    if (r < 0) {
        return r;
    }
    frame_produce(
        &g->produce,
        &(struct produce){.topic = id, .count = 1, .records = 1, .value_bytes = 100, .acks = -1});
    frame_fetch(&g->fetch,
                &(struct fetch){.topic = id, .min_bytes = 1, .max_wait_ms = 500, .max_bytes = 4096},
                &g->offset_at);
    return client_produce(&g->producer, &g->produce); /* offset 0, perhaps after a while */
}

static void good_close(struct good *g)
{
    client_close(&g->producer);
    client_close(&g->consumer);
    buf_release(&g->produce);
    buf_release(&g->fetch);
}

/* One record there and back; the time of each goes to `l`. */
static int good_step(struct good *g, struct latencies *l)
{
    int64_t began = now_ns();
    int r = client_produce(&g->producer, &g->produce);
    int64_t produced = now_ns();
    if (r < 0) {
        return r;
    }
    g->offset++;
    store_be64(g->fetch.bytes + g->offset_at, (uint64_t)g->offset);
    struct answer a;
    struct fetched f;
    r = client_send(&g->consumer, g->fetch.bytes, g->fetch.len);
    r = r < 0 ? r : client_receive(&g->consumer, &a);
    if (r < 0) {
        return r;
    }
    fetched_read(&a, &f);
    if (f.error != 0 || f.next_offset != g->offset + 1) {
        fprintf(stderr, "hostile: the good client fetched nonsense: error %d next %" PRId64 "\n",
                f.error, f.next_offset);
        return -EPROTO;
    }
    latencies_add(l, produced - began);
    latencies_add(l, now_ns() - produced);
    return 0;
}

static int good_measure(struct good *g, pid_t broker, double seconds, struct figures *ret)
{
    struct latencies l = {0};
    int64_t start = now_ns();
    int64_t until = start + (int64_t)(seconds * 1e9);
    int r = 0;
    *ret = (struct figures){0};
    for (int64_t due = start; due < until && r >= 0; due = max_i64(due + PERIOD_NS, now_ns())) {
        int64_t wait_ns = due - now_ns();
        if (wait_ns > 0) {
            usleep((useconds_t)(wait_ns / 1000));
        }
        r = good_step(g, &l);
        if (l.count % 64 < 2) {
            struct process_use use;
            process_look(broker, &use);
            ret->rss_peak_kib = max_i64(ret->rss_peak_kib, use.rss_kib);
        }
    }
    ret->p50_us = latencies_us(&l, 0.5);
    ret->p99_us = latencies_us(&l, 0.99);
    ret->max_us = latencies_us(&l, 1.0);
    latencies_release(&l);
    return r;
}

/* ---- the broker ---- */

static int make_topics(struct good *g, bool with_many)
{
    struct topic_id ids[CREATED_AT_ONCE + 1];
    struct client *c = &g->producer;
    int r = client_create_topics(c, "hostile", 0, 1, 1, ids);
    r = r < 0 ? r : client_create_topics(c, "wide", 0, 1, WIDE_PARTITIONS, &ids[1]);
    for (int32_t i = 0; with_many && r >= 0 && i < MANY_TOPICS; i += CREATED_AT_ONCE) {
        r = client_create_topics(c, "many", i, CREATED_AT_ONCE, 1, ids + 1);
    }
    struct buf frame = {0};
    struct answer a;
    frames_huge_topic(&frame);
    r = r < 0 ? r : client_send(c, frame.bytes, frame.len);
    r = r < 0 ? r : client_receive(c, &a);
    /* Something to fetch. */
    frame.len = 0;
    frame_produce(
        &frame, &(struct produce){
                    .topic = ids[0], .count = 1, .records = 1, .value_bytes = 1000000, .acks = 1});
    for (int i = 0; i < 8; i++) {
        r = r < 0 ? r : client_produce(c, &frame);
    }
    buf_release(&frame);
    return r;
}

struct turns {
    int64_t max_us;      /* processor time */
    int64_t wall_max_us; /* by the clock */
    int64_t count;
    int64_t long_count; /* above 2 ms of processor time */
    double cpu_s;       /* that the broker used for all of them */
};

static bool find_metric(const char *text, const char *name, int64_t *ret)
{
    char line[128];
    snprintf(line, sizeof(line), "metric %s ", name);
    const char *at = strstr(text, line);
    if (at == NULL || strchr(at, '\n') == NULL) {
        return false;
    }
    *ret = strtoll(at + strlen(line), NULL, 10);
    return true;
}

/* By SIGUSR1 and the log. */
must_check static int read_turns(const struct process *p, const char *log, struct turns *ret)
{
    static char text[1 << 20];
    int fd = open(log, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    off_t from = lseek(fd, 0, SEEK_END);
    int r = -ETIMEDOUT;
    kill(p->pid, SIGUSR1);
    for (int i = 0; i < METRICS_PATIENCE && r < 0; i++) {
        usleep(10000);
        ssize_t n = pread(fd, text, sizeof(text) - 1, from);
        text[n < 0 ? 0 : n] = '\0';
        if (find_metric(text, "loop_turns", &ret->count) &&
            find_metric(text, "loop_turns_long", &ret->long_count) &&
            find_metric(text, "loop_turn_max_us", &ret->max_us) &&
            find_metric(text, "loop_turn_wall_max_us", &ret->wall_max_us)) {
            r = 0;
        }
    }
    close(fd);
    return r;
}

/* ---- one attack, or all ---- */

static int check_promises(const char *name,
                          const struct figures *alone,
                          const struct figures *beside,
                          const struct turns *turns,
                          const struct bare *bare)
{
    double limit_us = fmax(2 * alone->p99_us, P99_US_MAX);
    int64_t growth_kib = beside->rss_peak_kib - alone->rss_peak_kib;
    bool is_late = beside->p99_us > limit_us;
    bool is_fat = growth_kib > RSS_GROWTH_KIB;
    bool is_long = turns->max_us > TURN_US_MAX;
    printf("| %s | %.2f / %.2f | %.2f / %.2f / %.1f | %.1f | %" PRId64 " of %" PRId64
           ", %.1f | %.1f | %.1f |%s%s%s%s |\n",
           name, alone->p50_us / 1e3, alone->p99_us / 1e3, beside->p50_us / 1e3,
           beside->p99_us / 1e3, beside->max_us / 1e3, (double)growth_kib / 1024, turns->long_count,
           turns->count, (double)turns->max_us / 1e3, bare_expected(bare, turns->cpu_s),
           (double)turns->wall_max_us / 1e3, is_late ? " LATE" : "", is_fat ? " FAT" : "",
           is_long ? " LONG" : "", is_late || is_fat || is_long ? "" : " ok");
    fflush(stdout);
    return is_late || is_fat || is_long ? BROKEN : 0;
}

static int measure(const struct options *o,
                   struct tally *tally,
                   struct good *g,
                   const struct process *p,
                   const char *name,
                   const struct attack *const *which,
                   size_t count)
{
    struct figures alone;
    struct figures beside;
    struct quiet quiet;
    int r = good_measure(g, p->pid, 0.3, &alone); /* warm */
    quiet_begin(&quiet, &p->pid, 1);
    r = r < 0 ? r : good_measure(g, p->pid, o->seconds, &alone);
    if (r < 0 || quiet_others(&quiet) > o->others_max) {
        return r < 0 ? r : DISTURBED;
    }
    pid_t *pids = calloc(count + 1, sizeof(pid_t));
    check(pids != NULL);
    for (size_t i = 0; i < count; i++) {
        pids[i] = attack_start(which[i], &p->address);
    }
    pids[count] = p->pid;
    quiet_begin(&quiet, pids, count + 1);
    int64_t until = now_ns() + ATTACK_LEAD_NS;
    while (now_ns() < until) {
        usleep(10000);
    }
    r = good_measure(g, p->pid, o->seconds, &beside);
    double others = quiet_others(&quiet);
    for (size_t i = 0; i < count; i++) {
        attack_stop(pids[i]);
    }
    free(pids);
    if (r < 0) {
        fprintf(stderr, "hostile: the good client was let down beside %s\n", name);
        return r;
    }
    if (others > o->others_max) {
        return DISTURBED;
    }
    char log[512];
    struct turns turns = {0};
    snprintf(log, sizeof(log), "%s/data.log", o->directory);
    r = read_turns(p, log, &turns);
    if (r < 0) {
        return r;
    }
    turns.cpu_s = (double)process_cpu_ns(p->pid) / 1e9;
    tally->turns += turns.count;
    tally->long_count += turns.long_count;
    tally->cpu_s += turns.cpu_s;
    bare_run(&tally->bare, fmax(turns.cpu_s, BARE_LEAST_S));
    return check_promises(name, &alone, &beside, &turns, &tally->bare);
}

static int run_once(const struct options *o,
                    struct tally *tally,
                    const char *name,
                    const struct attack *const *which,
                    size_t count)
{
    char data[512];
    snprintf(data, sizeof(data), "%s/data", o->directory);
    directory_remove(data);
    struct process_options how = {
        .binary = o->binary,
        .data = data,
        .mode = o->is_durable ? PROCESS_DURABLE : PROCESS_PAGE_CACHE,
        .core = o->is_pinned ? 0 : -1,
    };
    struct process p;
    int r = process_start(&how, &p);
    if (r < 0) {
        return r;
    }
    bool with_many = false;
    for (size_t i = 0; i < count; i++) {
        with_many = with_many || (which[i]->flags & ATTACK_MANY) != 0;
    }
    struct good g;
    r = good_open(&g, &p.address);
    r = r < 0 ? r : make_topics(&g, with_many);
    r = r < 0 ? r : measure(o, tally, &g, &p, name, which, count);
    good_close(&g);
    process_stop(&p);
    directory_remove(data);
    return r;
}

static int run_quiet(const struct options *o,
                     struct tally *tally,
                     const char *name,
                     const struct attack *const *which,
                     size_t count)
{
    for (int i = 0; i < TRIES_MAX; i++) {
        int r = run_once(o, tally, name, which, count);
        if (r != DISTURBED || !quiet_wait(o->others_max / 2, QUIET_WAIT_S)) {
            return r;
        }
    }
    return DISTURBED;
}

static int run(const struct options *o,
               struct tally *tally,
               const char *name,
               const struct attack *const *which,
               size_t count)
{
    int r = run_quiet(o, tally, name, which, count);
    if (r != BROKEN) {
        return r;
    }
    for (int i = 0; i < CONFIRMATIONS; i++) {
        r = run_quiet(o, tally, name, which, count);
        if (r != 0) {
            return r;
        }
    }
    return 0;
}

static bool is_wanted(const struct options *o, const struct attack *at)
{
    const char *name = at->name;
    if (o->is_promised && (at->flags & ATTACK_PROMISED) == 0) {
        return false;
    }
    for (size_t i = 0; i < o->only_count; i++) {
        if (strcmp(o->only[i], name) == 0) {
            return true;
        }
    }
    return o->only_count == 0;
}

int main(int argc, char **argv)
{
    struct options o = {.directory = ".", .seconds = 3, .others_max = OTHERS_SHARE_MAX};
    if (parse_arguments(&o, argc, argv) < 0) {
        print_usage(stderr);
        return 2;
    }
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max; /* the broker inherits it */
        IGNORE(setrlimit(RLIMIT_NOFILE, &limit) != 0);
    }
    IGNORE(directory_make(o.directory) < 0);
    process_pin(getpid(), o.is_pinned ? 1 : -1);
    const struct attack **which = calloc(attacks_count, sizeof(*which));
    check(which != NULL);
    size_t count = 0;
    int broken = 0;
    int failed = 0;
    bool is_disturbed = false;
    struct tally tally = {0};
    bare_run(&tally.bare, BARE_LEAD_S);
    printf("| attack | alone p50 / p99 ms | beside p50 / p99 / max ms | memory MiB more "
           "| turns above 2 ms, longest | of a bare loop | by the clock ms | |\n"
           "| --- | --- | --- | --- | --- | --- | --- | --- |\n");
    for (size_t i = 0; i < attacks_count; i++) {
        if (is_wanted(&o, &attacks[i])) {
            which[count++] = &attacks[i];
        }
    }
    size_t alone = o.is_all && o.only_count > 0 ? 0 : count;
    for (size_t i = 0; i < alone + o.is_all && !is_disturbed; i++) {
        int r = i < alone ? run(&o, &tally, which[i]->name, &which[i], 1)
                          : run(&o, &tally, "all at once", which, count);
        failed += r < 0;
        broken += r == BROKEN;
        is_disturbed = r == DISTURBED;
    }
    free(which);
    printf("turns above 2 ms: %" PRId64 " of %" PRId64
           " in %.0f s of the broker's work; of a bare loop %" PRId64 " of %" PRId64
           " in %.0f s, longest %.1f ms\n",
           tally.long_count, tally.turns, tally.cpu_s, tally.bare.long_count, tally.bare.turns,
           tally.bare.cpu_s, (double)tally.bare.max_us / 1e3);
    if (is_disturbed) {
        fprintf(stderr, "hostile: the machine was not quiet for long enough\n");
    }
    return failed > 0 ? 2 : broken > 0 ? 1 : is_disturbed ? 3 : 0;
}
