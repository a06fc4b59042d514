/*
 * A crowd. See crowd.h.
 *
 * Answers are read into one buffer that all connections share; only an answer that came in part is
 * kept with its member. Frames are sent whole: they are small, and the server reads.
 */
#include "benchmark/crowd.h"

#include "base/mem.h"
#include "benchmark/client.h"
#include "benchmark/load.h"
#include "benchmark/process.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define EVENTS_MAX                  256
#define READ_BYTES                  (256 << 10)
#define PATIENCE_MS                 120000
#define ROUND_NS                    INT64_C(20000000)
#define GATHER_NS                   INT64_C(500000000)
#define IN_FLIGHT_MAX               64
#define ERROR_NOT_AVAILABLE         15
#define ERROR_REBALANCE_IN_PROGRESS 27
#define ERROR_MEMBER_ID_REQUIRED    79
#define COMMIT_FRAMES_MAX           IN_FLIGHT_MAX

void crowd_raise_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        IGNORE(setrlimit(RLIMIT_NOFILE, &limit)); /* opening the connections will tell */
    }
}

static struct asker asker_of(const struct crowd *cr, const struct crowd_member *m, char *name)
{
    snprintf(name, GROUP_NAME_BYTES, "%s-%" PRIu32, cr->name, m->group);
    return (struct asker){.group = name, .member = m->id, .epoch = m->epoch};
}

static int send_all(int fd, const void *bytes, size_t len)
{
    const char *p = bytes;
    while (len > 0) {
        ssize_t n = send(fd, p, len, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) {
            struct pollfd wait = {.fd = fd, .events = POLLOUT};
            if (poll(&wait, 1, PATIENCE_MS) == 0) {
                return -ETIMEDOUT;
            }
            continue;
        }
        if (n < 0) {
            return -errno;
        }
        p += n;
        len -= (size_t)n;
    }
    return 0;
}

static int send_out(struct crowd *cr, struct crowd_member *m)
{
    int r = send_all(m->fd, cr->out.bytes, cr->out.len);
    if (r < 0) {
        fprintf(stderr, "bench: member %zu: send: %s\n", (size_t)(m - cr->members), strerror(-r));
    }
    return r;
}

static void move(struct crowd *cr, struct crowd_member *m, enum crowd_state state)
{
    cr->stable -= m->state == CROWD_STABLE;
    cr->stable += state == CROWD_STABLE;
    m->state = state;
}

static int send_join(struct crowd *cr, struct crowd_member *m)
{
    char name[GROUP_NAME_BYTES];
    struct asker a = asker_of(cr, m, name);
    cr->out.len = 0;
    if (cr->protocol == CROWD_CLASSIC) {
        frame_join(&cr->out, &a, cr->topic, cr->session_ms);
    } else {
        a.epoch = 0;
        struct group_heartbeat h = {.asker = a, .topic = cr->topic, .owned_count = 0};
        frame_group_heartbeat(&cr->out, &h);
    }
    move(cr, m, CROWD_JOINING);
    return send_out(cr, m);
}

static int send_sync(struct crowd *cr, struct crowd_member *m, const struct joined *j)
{
    char name[GROUP_NAME_BYTES];
    struct asker a = asker_of(cr, m, name);
    const char **ids = mem_array(max_size(j->members_count, 1), sizeof(*ids));
    for (size_t i = 0; i < j->members_count; i++) {
        ids[i] = j->members[i];
    }
    cr->out.len = 0;
    frame_sync(&cr->out, &a, cr->topic, ids, j->is_leader ? j->members_count : 0,
               cr->partitions_each);
    mem_free(ids);
    move(cr, m, CROWD_SYNCING);
    return send_out(cr, m);
}

static int
refused(const struct crowd *cr, const struct crowd_member *m, const char *what, int error)
{
    fprintf(stderr, "bench: member %zu: %s: error %d\n", (size_t)(m - cr->members), what, error);
    return -EPROTO;
}

static int on_joined(struct crowd *cr, struct crowd_member *m, struct answer *a)
{
    struct joined j;
    joined_read(a, &j);
    int r = 0;
    if (a->failed) {
        r = -EPROTO;
    } else if (j.error == ERROR_MEMBER_ID_REQUIRED) {
        memcpy(m->id, j.member, sizeof(m->id));
        r = send_join(cr, m);
    } else if (j.error == ERROR_REBALANCE_IN_PROGRESS) {
        r = send_join(cr, m);
    } else if (j.error != 0) {
        r = refused(cr, m, "join", j.error);
    } else {
        m->epoch = j.generation;
        r = send_sync(cr, m, &j);
    }
    joined_release(&j);
    return r;
}

static int on_group_beat(struct crowd *cr, struct crowd_member *m, struct answer *a)
{
    struct group_beat beat;
    group_beat_read(a, &beat);
    if (a->failed || beat.error != 0) {
        return refused(cr, m, "group heartbeat", beat.error);
    }
    m->epoch = beat.epoch;
    if (beat.has_assignment) {
        size_t bytes = (size_t)beat.partitions_count * sizeof(*m->owned);
        m->owned = mem_realloc(m->owned, max_size(bytes, 1));
        memcpy(m->owned, beat.partitions, bytes);
        m->owned_count = beat.partitions_count;
        m->topic = beat.topic;
        m->owes_owned = true;
    }
    cr->beats++;
    move(cr, m, CROWD_STABLE);
    return 0;
}

static int on_answer(struct crowd *cr, struct crowd_member *m, struct answer *a)
{
    int16_t error;
    if (cr->protocol == CROWD_CONSUMER) {
        return on_group_beat(cr, m, a);
    }
    switch (m->state) {
    case CROWD_JOINING:
        return on_joined(cr, m, a);
    case CROWD_SYNCING:
    case CROWD_BEATING:
        error = error_read(a);
        if (error == ERROR_REBALANCE_IN_PROGRESS) {
            cr->told++;
            return send_join(cr, m);
        }
        if (error != 0) {
            return refused(cr, m, "sync or heartbeat", error);
        }
        cr->beats += m->state == CROWD_BEATING;
        move(cr, m, CROWD_STABLE);
        return 0;
    case CROWD_OUT:
    case CROWD_STABLE:
        break;
    }
    return refused(cr, m, "an answer to nothing", 0);
}

/* Takes the whole answers of [bytes, bytes + len); what is left over. */
static int take_answers(struct crowd *cr,
                        struct crowd_member *m,
                        const uint8_t *bytes,
                        size_t len,
                        int (*on)(struct crowd *, struct crowd_member *, struct answer *),
                        size_t *ret_left)
{
    size_t at = 0;
    while (len - at >= 4) {
        size_t size = load_be32(bytes + at);
        if (len - at - 4 < size) {
            break;
        }
        struct answer a = {.next = bytes + at + 4, .end = bytes + at + 4 + size};
        int r = on(cr, m, &a);
        if (r < 0) {
            return r;
        }
        at += 4 + size;
    }
    *ret_left = len - at;
    return 0;
}

static int receive(struct crowd *cr,
                   struct crowd_member *m,
                   uint8_t *shared,
                   int (*on)(struct crowd *, struct crowd_member *, struct answer *))
{
    ssize_t n = recv(m->fd, shared, READ_BYTES, MSG_DONTWAIT);
    if (n <= 0) {
        if (n < 0 && errno == EAGAIN) {
            return 0;
        }
        fprintf(stderr, "bench: member %zu: connection lost\n", (size_t)(m - cr->members));
        return -ECONNRESET;
    }
    const uint8_t *bytes = shared;
    size_t len = (size_t)n;
    if (m->in.len > 0) {
        buf_bytes(&m->in, shared, len);
        bytes = m->in.bytes;
        len = m->in.len;
    }
    size_t left;
    int r = take_answers(cr, m, bytes, len, on, &left);
    if (r < 0) {
        return r;
    }
    if (left == 0) {
        buf_release(&m->in);
    } else if (bytes == shared) {
        buf_bytes(&m->in, shared + len - left, left);
    } else {
        memmove(m->in.bytes, m->in.bytes + len - left, left);
        m->in.len = left;
    }
    return 0;
}

/* Waits for answers at most until then; how many connections had some. */
static int turn(struct crowd *cr,
                uint8_t *shared,
                int64_t until_ns,
                int (*on)(struct crowd *, struct crowd_member *, struct answer *))
{
    struct epoll_event events[EVENTS_MAX];
    int64_t left_ms = (until_ns - now_ns() + 999999) / 1000000;
    int n = epoll_wait(cr->poll_fd, events, EVENTS_MAX, (int)max_i64(0, left_ms));
    for (int i = 0; i < n; i++) {
        int r = receive(cr, events[i].data.ptr, shared, on);
        if (r < 0) {
            return r;
        }
    }
    return n < 0 ? -errno : n;
}

int crowd_open(struct crowd *cr, size_t count, size_t groups)
{
    cr->members = mem_array(count, sizeof(*cr->members));
    memset(cr->members, 0, count * sizeof(*cr->members));
    cr->count = count;
    for (size_t i = 0; i < count; i++) {
        cr->members[i].fd = -1;
    }
    cr->poll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (cr->poll_fd < 0) {
        return -errno;
    }
    for (size_t i = 0; i < count; i++) {
        struct crowd_member *m = &cr->members[i];
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = m};
        m->group = (uint32_t)(i % groups);
        if (cr->protocol == CROWD_CONSUMER) {
            snprintf(m->id, sizeof(m->id), "member-%zu", i);
        }
        m->fd = socket_connect(&cr->server);
        if (m->fd < 0 || epoll_ctl(cr->poll_fd, EPOLL_CTL_ADD, m->fd, &event) != 0) {
            fprintf(stderr, "bench: connection %zu: %s\n", i, strerror(errno));
            return -EMFILE;
        }
    }
    return 0;
}

static void close_member(struct crowd *cr, struct crowd_member *m)
{
    if (m->fd >= 0) {
        move(cr, m, CROWD_OUT);
        close(m->fd);
        m->fd = -1;
    }
    buf_release(&m->in);
    m->owned = mem_free(m->owned);
    m->owned_count = 0;
}

void crowd_close(struct crowd *cr)
{
    for (size_t i = 0; i < cr->count; i++) {
        close_member(cr, &cr->members[i]);
    }
    cr->members = mem_free(cr->members);
    cr->count = 0;
    if (cr->poll_fd >= 0) {
        close(cr->poll_fd);
    }
    cr->poll_fd = -1;
    buf_release(&cr->out);
}

int crowd_join(struct crowd *cr, size_t first, size_t count)
{
    int r = 0;
    for (size_t i = first; i < first + count && r >= 0; i++) {
        r = send_join(cr, &cr->members[i]);
    }
    return r;
}

int crowd_beat(struct crowd *cr, size_t member)
{
    struct crowd_member *m = &cr->members[member];
    char name[GROUP_NAME_BYTES];
    struct asker a = asker_of(cr, m, name);
    cr->out.len = 0;
    if (cr->protocol == CROWD_CLASSIC) {
        frame_heartbeat(&cr->out, &a);
    } else {
        struct group_heartbeat h = {.asker = a,
                                    .owned_topic = &m->topic,
                                    .owned = m->owned,
                                    .owned_count = m->owes_owned ? m->owned_count : -1};
        frame_group_heartbeat(&cr->out, &h);
        m->owes_owned = false;
    }
    move(cr, m, CROWD_BEATING);
    return send_out(cr, m);
}

int crowd_leave(struct crowd *cr, size_t member)
{
    struct crowd_member *m = &cr->members[member];
    char name[GROUP_NAME_BYTES];
    struct asker a = asker_of(cr, m, name);
    cr->out.len = 0;
    if (cr->protocol == CROWD_CLASSIC) {
        frame_leave(&cr->out, &a);
    } else {
        a.epoch = -1;
        frame_group_heartbeat(&cr->out, &(struct group_heartbeat){.asker = a, .owned_count = -1});
    }
    int r = send_out(cr, m);
    if (r >= 0) {
        /* Its answer: the leave is done. */
        uint8_t byte;
        struct pollfd wait = {.fd = m->fd, .events = POLLIN};
        r = poll(&wait, 1, PATIENCE_MS) == 1 && recv(m->fd, &byte, 1, 0) == 1 ? 0 : -ECONNRESET;
    }
    close_member(cr, m);
    return r;
}

int crowd_until(struct crowd *cr, int64_t until_ns)
{
    uint8_t *shared = mem_alloc(READ_BYTES);
    int r = 0;
    while (r >= 0 && now_ns() < until_ns) {
        r = turn(cr, shared, until_ns, on_answer);
    }
    mem_free(shared);
    return r < 0 ? r : 0;
}

int crowd_settle(struct crowd *cr, size_t stable)
{
    uint8_t *shared = mem_alloc(READ_BYTES);
    int r = 0;
    while (r >= 0 && cr->stable < stable) {
        r = turn(cr, shared, now_ns() + PATIENCE_MS * INT64_C(1000000), on_answer);
        if (r == 0) {
            fprintf(stderr, "bench: %zu of %zu members are stable, and nothing comes\n", cr->stable,
                    stable);
            r = -ETIMEDOUT;
        }
    }
    mem_free(shared);
    return r < 0 ? r : 0;
}

int crowd_gather(struct crowd *cr, size_t stable)
{
    int64_t give_up = now_ns() + PATIENCE_MS * INT64_C(1000000);
    int64_t pause = GATHER_NS;
    for (;;) {
        int r = crowd_until(cr, now_ns() + pause);
        if (r < 0) {
            return r;
        }
        bool was_whole = cr->stable == stable;
        cr->told = 0;
        for (size_t i = 0; i < cr->count && r >= 0; i++) {
            if (cr->members[i].state == CROWD_STABLE) {
                r = crowd_beat(cr, i);
            }
        }
        if (r >= 0) {
            r = crowd_until(cr, now_ns() + pause);
        }
        if (r < 0) {
            return r;
        }
        if (was_whole && cr->told == 0 && cr->stable == stable) {
            return 0;
        }
        if (now_ns() > give_up) {
            fprintf(stderr, "bench: %zu of %zu members are stable\n", cr->stable, stable);
            return -ETIMEDOUT;
        }
    }
}

static int on_committed(struct crowd *cr, struct crowd_member *m, struct answer *a)
{
    int16_t error = committed_read(a);
    if (a->failed || error != 0) {
        return refused(cr, m, "commit", error);
    }
    m->answered++;
    return 0;
}

/* One member's commits: as many frames of one size as may be in flight, one behind the other. */
struct commit_lane {
    uint8_t *frames; /* owned */
    size_t frame_bytes;
    int64_t sent;
};

static void lane_build(struct crowd *cr, size_t member, size_t in_flight, struct commit_lane *lane)
{
    struct crowd_member *m = &cr->members[member];
    char name[GROUP_NAME_BYTES];
    struct asker a = asker_of(cr, m, name);
    cr->out.len = 0;
    frame_commit(&cr->out, &a, cr->topic, 0, 1);
    *lane = (struct commit_lane){.frames = mem_array(in_flight, cr->out.len),
                                 .frame_bytes = cr->out.len};
    for (size_t i = 0; i < in_flight; i++) {
        memcpy(lane->frames + i * cr->out.len, cr->out.bytes, cr->out.len);
    }
}

static int lanes_fill(struct crowd *cr, struct commit_lane *lanes, size_t in_flight)
{
    for (size_t i = 0; i < cr->count; i++) {
        struct crowd_member *m = &cr->members[i];
        size_t room = in_flight - (size_t)(lanes[i].sent - m->answered);
        if (room > 0) {
            int r = send_all(m->fd, lanes[i].frames, room * lanes[i].frame_bytes);
            if (r < 0) {
                return r;
            }
            lanes[i].sent += (int64_t)room;
        }
    }
    return 0;
}

static int64_t count_answered(const struct crowd *cr)
{
    int64_t sum = 0;
    for (size_t i = 0; i < cr->count; i++) {
        sum += cr->members[i].answered;
    }
    return sum;
}

int crowd_commit(struct crowd *cr,
                 size_t in_flight,
                 double warm_seconds,
                 double seconds,
                 pid_t pid,
                 struct crowd_commits *ret)
{
    struct commit_lane *lanes = mem_array(cr->count, sizeof(*lanes));
    uint8_t *shared = mem_alloc(READ_BYTES);
    for (size_t i = 0; i < cr->count; i++) {
        lane_build(cr, i, in_flight, &lanes[i]);
    }
    int64_t began = 0;
    int64_t before = 0;
    int64_t cpu = 0;
    int64_t measure_from = now_ns() + (int64_t)(warm_seconds * 1e9);
    int r = 0;
    for (;;) {
        int64_t now = now_ns();
        if (began == 0 && now >= measure_from) {
            began = now;
            before = count_answered(cr);
            cpu = process_cpu_ns(pid);
        }
        if (began != 0 && now >= began + (int64_t)(seconds * 1e9)) {
            break;
        }
        r = lanes_fill(cr, lanes, in_flight);
        if (r >= 0) {
            r = turn(cr, shared, now + PATIENCE_MS * INT64_C(1000000), on_committed);
        }
        if (r <= 0) {
            r = r == 0 ? -ETIMEDOUT : r;
            break;
        }
    }
    *ret = (struct crowd_commits){
        .commits = count_answered(cr) - before,
        .seconds = (double)(now_ns() - began) / 1e9,
        .cpu_seconds = (double)(process_cpu_ns(pid) - cpu) / 1e9,
    };
    for (size_t i = 0; i < cr->count; i++) {
        mem_free(lanes[i].frames);
    }
    mem_free(lanes);
    mem_free(shared);
    return r < 0 ? r : 0;
}

static bool is_reconciled(const struct crowd *cr, int32_t partitions)
{
    int64_t owned = 0;
    int32_t epoch = -1;
    for (size_t i = 0; i < cr->count; i++) {
        const struct crowd_member *m = &cr->members[i];
        if (m->fd < 0 || m->state == CROWD_OUT) {
            continue;
        }
        if (m->owes_owned || (epoch >= 0 && m->epoch != epoch)) {
            return false;
        }
        epoch = m->epoch;
        owned += m->owned_count;
    }
    return owned == partitions;
}

int crowd_reconcile(struct crowd *cr, int32_t partitions, int *ret_rounds)
{
    int64_t give_up = now_ns() + PATIENCE_MS * INT64_C(1000000);
    for (int round = 1; now_ns() < give_up; round++) {
        size_t waiting = 0;
        int r = 0;
        for (size_t i = 0; i < cr->count && r >= 0; i++) {
            if (cr->members[i].state == CROWD_STABLE) {
                r = crowd_beat(cr, i);
                waiting++;
            }
        }
        if (r >= 0) {
            r = crowd_settle(cr, waiting);
        }
        if (r < 0) {
            return r;
        }
        if (is_reconciled(cr, partitions)) {
            *ret_rounds = round;
            return 0;
        }
        r = crowd_until(cr, now_ns() + round * ROUND_NS);
        if (r < 0) {
            return r;
        }
    }
    fprintf(stderr, "bench: not reconciled within %d s\n", PATIENCE_MS / 1000);
    return -ETIMEDOUT;
}
