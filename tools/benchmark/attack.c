/* Hostile clients; see attack.h. */
#include "benchmark/attack.h"

#include "base/mem.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define NICE          10 /* others' machines attack; this one shall serve */
#define EVENTS_MAX    64
#define CONNECT_BATCH 64
#define PAUSE_US      1000

/* One connection that sends its frames over and over. */
struct stream {
    int fd; /* -1: to be connected */
    size_t at;
    size_t rounds;
    bool is_waiting; /* its socket was full */
};

struct siege {
    const struct attack *attack;
    const struct sockaddr_in *server;
    int epoll;
    struct buf frames;
    struct stream *streams;
    uint8_t *drain;
};

#define DRAIN_BYTES (1 << 20)

static int connect_quietly(const struct sockaddr_in *to)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)(const void *)to, sizeof(*to)) != 0) {
        close(fd);
        return -1;
    }
    if (fd >= 0) {
        check(fcntl(fd, F_SETFL, O_NONBLOCK) == 0);
    }
    return fd;
}

static void disconnect(struct stream *st)
{
    close(st->fd);
    st->fd = -1;
}

static void connect_stream(struct siege *sg, struct stream *st)
{
    *st = (struct stream){.fd = connect_quietly(sg->server)};
    if (st->fd >= 0) {
        struct epoll_event ev = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                                 .data = {.ptr = st}};
        if (epoll_ctl(sg->epoll, EPOLL_CTL_ADD, st->fd, &ev) != 0) {
            disconnect(st);
        }
    }
}

static bool is_sated(const struct siege *sg, const struct stream *st)
{
    return (sg->attack->flags & ATTACK_SILENT) != 0 && st->rounds > 0;
}

static void send_some(struct siege *sg, struct stream *st)
{
    while (!is_sated(sg, st)) {
        ssize_t n = send(st->fd, sg->frames.bytes + st->at, sg->frames.len - st->at, MSG_NOSIGNAL);
        if (n < 0) {
            if (errno != EAGAIN) {
                disconnect(st);
            }
            return;
        }
        st->at += (size_t)n;
        if (st->at == sg->frames.len) {
            st->at = 0;
            st->rounds++;
            if ((sg->attack->flags & ATTACK_FRESH) != 0) {
                sg->frames.len = 0;
                sg->attack->frames(&sg->frames);
            }
        }
    }
}

static void read_some(struct siege *sg, struct stream *st)
{
    for (;;) {
        ssize_t n = recv(st->fd, sg->drain, DRAIN_BYTES, 0);
        if (n == 0 || (n < 0 && errno != EAGAIN)) {
            disconnect(st);
        }
        if (n <= 0) {
            return;
        }
    }
}

static void on_event(struct siege *sg, const struct epoll_event *ev)
{
    struct stream *st = ev->data.ptr;
    if (st->fd >= 0 && (sg->attack->flags & ATTACK_READS) != 0) {
        read_some(sg, st);
    }
    if (st->fd >= 0 && (ev->events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) {
        disconnect(st);
    }
    if (st->fd >= 0) {
        send_some(sg, st);
    }
}

static void besiege(const struct attack *at, const struct sockaddr_in *server)
{
    struct siege sg = {
        .attack = at,
        .server = server,
        .epoll = epoll_create1(EPOLL_CLOEXEC),
        .streams = mem_array((size_t)at->connections, sizeof(struct stream)),
        .drain = mem_alloc(DRAIN_BYTES),
    };
    at->frames(&sg.frames);
    for (int i = 0; i < at->connections; i++) {
        sg.streams[i].fd = -1;
    }
    for (;;) {
        int connected = 0;
        for (int i = 0; i < at->connections && connected < CONNECT_BATCH; i++) {
            if (sg.streams[i].fd < 0) {
                connect_stream(&sg, &sg.streams[i]);
                connected++;
            }
        }
        struct epoll_event events[EVENTS_MAX];
        int n = epoll_wait(sg.epoll, events, EVENTS_MAX, connected > 0 ? 0 : 10);
        for (int i = 0; i < n; i++) {
            on_event(&sg, &events[i]);
        }
    }
}

/* ---- attacks that are no frames ---- */

/* Many connections, each sending a request of 4 KiB a byte at a time. */
static void run_drip(const struct sockaddr_in *server)
{
    enum {
        CONNECTIONS = 1000
    };
    static const uint8_t head[] = {0, 0, 16, 8, 0, 3, 0, 1, 0, 0, 0, 1, 255, 255};
    int *fds = mem_array(CONNECTIONS, sizeof(int));
    size_t *at = mem_array(CONNECTIONS, sizeof(size_t));
    for (int i = 0; i < CONNECTIONS; i++) {
        fds[i] = -1;
    }
    for (;;) {
        for (int i = 0; i < CONNECTIONS; i++) {
            if (fds[i] < 0) {
                fds[i] = connect_quietly(server);
                at[i] = 0;
            }
            uint8_t byte = at[i] < sizeof(head) ? head[at[i]] : 0;
            if (fds[i] >= 0 && send(fds[i], &byte, 1, MSG_NOSIGNAL) < 0 && errno != EAGAIN) {
                close(fds[i]);
                fds[i] = -1;
            }
            at[i]++;
        }
        usleep(PAUSE_US);
    }
}

static void run_storm(const struct sockaddr_in *server)
{
    enum {
        CONNECTIONS = 200
    };
    int fds[CONNECTIONS];
    for (unsigned round = 0;; round++) {
        for (int i = 0; i < CONNECTIONS; i++) {
            fds[i] = connect_quietly(server);
        }
        for (int i = 0; i < CONNECTIONS; i++) {
            if (fds[i] < 0) {
                continue;
            }
            if (i % 3 == 0) { /* a reset instead of an end */
                struct linger now = {.l_onoff = 1};
                IGNORE(setsockopt(fds[i], SOL_SOCKET, SO_LINGER, &now, sizeof(now)) != 0);
            } else if (i % 3 == 1) {
                IGNORE(send(fds[i], "\0\0\0\x0a\0\x12\0\0\0\0\0\1\xff\xff", 14, MSG_NOSIGNAL) < 0);
            }
            close(fds[i]);
        }
    }
}

/* A hundred megabytes promised on each of fifty connections, a few of them sent now and then. */
static void run_promise(const struct sockaddr_in *server)
{
    enum {
        CONNECTIONS = 50
    };
    static const uint8_t head[] = {6, 64, 0, 0, 0, 0, 0, 8, 0, 0, 0, 1, 255, 255};
    static const uint8_t more[100];
    int fds[CONNECTIONS];
    for (int i = 0; i < CONNECTIONS; i++) {
        fds[i] = -1;
    }
    for (;;) {
        for (int i = 0; i < CONNECTIONS; i++) {
            const void *bytes = more;
            size_t len = sizeof(more);
            if (fds[i] < 0) {
                fds[i] = connect_quietly(server);
                bytes = head;
                len = sizeof(head);
            }
            if (fds[i] >= 0 && send(fds[i], bytes, len, MSG_NOSIGNAL) < 0 && errno != EAGAIN) {
                close(fds[i]);
                fds[i] = -1;
            }
        }
        usleep(10 * PAUSE_US);
    }
}

/* Noise, the greetings of other protocols, headers with nothing behind them, lengths and counts
 * that are not true. */
static void run_garbage(const struct sockaddr_in *server)
{
    static const char *const greetings[] = {"GET / HTTP/1.1\r\n\r\n", "\x16\x03\x01\x02\x00\x01",
                                            "SSH-2.0-x\r\n", "\x7f\xff\xff\xff",
                                            "\xff\xff\xff\xff"};
    struct buf lie = {0};
    frames_lying_counts(&lie);
    uint64_t noise = UINT64_C(0x9e3779b97f4a7c15);
    for (;;) {
        uint8_t bytes[512];
        for (size_t i = 0; i < sizeof(bytes); i++) {
            noise = noise * UINT64_C(6364136223846793005) + 1;
            bytes[i] = (uint8_t)(noise >> 56);
        }
        int fd = connect_quietly(server);
        if (fd < 0) {
            continue;
        }
        const void *what = bytes;
        size_t len = 8 + noise % 500;
        size_t kind = (noise >> 40) % 10;
        if (kind < ARRAY_LEN(greetings)) {
            what = greetings[kind];
            len = kind == 1 ? 6 : strlen(greetings[kind]);
        } else if (kind == 5) {
            what = lie.bytes;
            len = lie.len;
        } else {
            store_be32(bytes, (uint32_t)len - 4);
            store_be16(bytes + 4, kind % 3 == 0 ? 3 : (uint16_t)((noise >> 32) % 90));
            store_be16(bytes + 6, (uint16_t)((noise >> 24) % 13));
        }
        IGNORE(send(fd, what, len, MSG_NOSIGNAL) < 0);
        close(fd);
    }
}

/* Five thousand that connect and say nothing. */
static void run_idle(const struct sockaddr_in *server)
{
    enum {
        CONNECTIONS = 5000
    };
    for (int i = 0; i < CONNECTIONS; i++) {
        IGNORE(connect_quietly(server) < 0);
    }
    for (;;) {
        pause();
    }
}

/* ---- all of them ---- */

const struct attack attacks[] = {
    {"never-read", .frames = frames_fetch_megabyte, .connections = 100, .flags = ATTACK_PROMISED},
    {"never-read-metadata", .frames = frames_metadata_all, .connections = 500,
     .flags = ATTACK_MANY | ATTACK_PROMISED},
    {"never-read-small", .frames = frames_api_versions, .connections = 2000,
     .flags = ATTACK_PROMISED},
    {"drip", .run = run_drip, .flags = ATTACK_PROMISED},
    {"storm", .run = run_storm, .flags = ATTACK_PROMISED},
    {"promise", .run = run_promise, .flags = ATTACK_PROMISED},
    {"garbage", .run = run_garbage, .flags = ATTACK_PROMISED},
    {"idle", .run = run_idle, .flags = ATTACK_PROMISED},
    {"flood", .frames = frames_api_versions, .connections = 8,
     .flags = ATTACK_READS | ATTACK_PROMISED},
    {"flood-wide", .frames = frames_api_versions, .connections = 200,
     .flags = ATTACK_READS | ATTACK_PROMISED},
    {"flood-produce", .frames = frames_small_produce, .connections = 50,
     .flags = ATTACK_READS | ATTACK_PROMISED},
    {"elements", .frames = frames_many_elements, .connections = 4, .flags = ATTACK_READS},
    {"bombs", .frames = frames_bombs, .connections = 10, .flags = ATTACK_READS},
    {"tiny-records", .frames = frames_tiny_records, .connections = 10, .flags = ATTACK_READS},
    {"huge-batches", .frames = frames_huge_batches, .connections = 2, .flags = ATTACK_READS},
    {"large-batches", .frames = frames_large_batches, .connections = 4, .flags = ATTACK_READS},
    {"produce-wide", .frames = frames_produce_wide, .connections = 10, .flags = ATTACK_READS},
    {"new-producers", .frames = frames_new_producers, .connections = 4,
     .flags = ATTACK_READS | ATTACK_FRESH},
    {"unknown", .frames = frames_unknown_partitions, .connections = 10, .flags = ATTACK_READS},
    {"metadata-all", .frames = frames_metadata_all, .connections = 20,
     .flags = ATTACK_READS | ATTACK_MANY},
    {"metadata-names", .frames = frames_metadata_names, .connections = 20,
     .flags = ATTACK_READS | ATTACK_MANY},
    {"topic-pages", .frames = frames_topic_pages, .connections = 20,
     .flags = ATTACK_READS | ATTACK_MANY},
    {"configs-all", .frames = frames_configs_all, .connections = 10,
     .flags = ATTACK_READS | ATTACK_MANY},
    {"log-dirs-all", .frames = frames_log_dirs_all, .connections = 20,
     .flags = ATTACK_READS | ATTACK_MANY},
    {"fetch-many", .frames = frames_fetch_many, .connections = 20,
     .flags = ATTACK_READS | ATTACK_MANY},
    {"fetch-sessions", .frames = frames_fetch_sessions, .connections = 10,
     .flags = ATTACK_READS | ATTACK_MANY},
    {"fetch-parked", .frames = frames_fetch_parked, .connections = 1000,
     .flags = ATTACK_SILENT | ATTACK_MANY},
    {"fetch-wakened", .frames = frames_fetch_wakened, .connections = 2000, .flags = ATTACK_SILENT},
    {"offsets-many", .frames = frames_offsets_many, .connections = 20,
     .flags = ATTACK_READS | ATTACK_MANY},
    {"topics-refused", .frames = frames_topics_refused, .connections = 10, .flags = ATTACK_READS},
    {"topics-made", .frames = frames_topics_made, .connections = 4, .flags = ATTACK_READS},
    {"configs-altered", .frames = frames_configs_altered, .connections = 20, .flags = ATTACK_READS},
    {"producer-ids", .frames = frames_producer_ids, .connections = 20, .flags = ATTACK_READS},
};
const size_t attacks_count = ARRAY_LEN(attacks);

pid_t attack_start(const struct attack *at, const struct sockaddr_in *server)
{
    pid_t pid = fork();
    if (pid != 0) {
        return pid;
    }
    IGNORE(prctl(PR_SET_PDEATHSIG, SIGKILL) != 0);
    IGNORE(nice(NICE) == -1);
    struct rlimit limit;
    check(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    limit.rlim_cur = limit.rlim_max;
    IGNORE(setrlimit(RLIMIT_NOFILE, &limit) != 0);
    if (at->run != NULL) {
        at->run(server);
    } else {
        besiege(at, server);
    }
    _exit(0);
}

void attack_stop(pid_t pid)
{
    if (pid > 0) {
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
}
