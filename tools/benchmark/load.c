/*
 * Load. See load.h.
 *
 * A produce connection is a ring: `sent` frames have left whole, `answered` have been answered, and
 * sent - answered never exceeds in_flight. A turn reads what is there, counts whole answers, and
 * sends as many frames again in one writev: the way a producer with a full pipeline behaves. The
 * frame's bytes are shared by all requests; only its first twelve bytes (length, key, version,
 * correlation id) are each request's own.
 */
#include "benchmark/load.h"

#include "base/mem.h"
#include "benchmark/process.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define IN_FLIGHT_MAX 64
#define HEAD_BYTES    12
#define IN_BYTES      (64 << 10)
#define PATIENCE_MS   30000

struct lane {
    int fd;
    uint64_t sent; /* frames begun, whole or in part */
    uint64_t answered;
    size_t partial; /* bytes of the newest frame that have left; 0: all have */
    size_t in_len;
    uint8_t in[IN_BYTES];
    uint8_t heads[IN_FLIGHT_MAX][HEAD_BYTES];
    int64_t started_ns[IN_FLIGHT_MAX];
};

void latencies_add(struct latencies *l, int64_t ns)
{
    if (l->count == l->cap) {
        l->cap = l->cap * 2 + 4096;
        l->ns = mem_realloc(l->ns, l->cap * sizeof(*l->ns));
    }
    l->ns[l->count++] = ns;
}

static int compare_ns(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a;
    int64_t y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

double latencies_us(struct latencies *l, double share)
{
    if (l->count == 0) {
        return 0;
    }
    qsort(l->ns, l->count, sizeof(*l->ns), compare_ns);
    size_t at = (size_t)((double)l->count * share);
    return (double)l->ns[at < l->count ? at : l->count - 1] / 1e3;
}

void latencies_release(struct latencies *l)
{
    l->ns = mem_free(l->ns);
    l->count = 0;
    l->cap = 0;
}

/* Sends until in_flight frames are out or the socket is full. */
static int lane_send(const struct load *l, struct lane *ln)
{
    int64_t now = now_ns();
    for (;;) {
        struct iovec iov[2 * IN_FLIGHT_MAX + 2];
        int count = 0;
        uint64_t first = ln->sent - (ln->partial > 0 ? 1 : 0);
        uint64_t end = ln->answered + l->in_flight;
        for (uint64_t i = first; i < end; i++) {
            uint8_t *head = ln->heads[i % IN_FLIGHT_MAX];
            size_t skip = i == first ? ln->partial : 0;
            if (skip == 0) {
                memcpy(head, l->frame->bytes, HEAD_BYTES);
                store_be32(head + FRAME_CORRELATION_AT, (uint32_t)i);
                ln->started_ns[i % IN_FLIGHT_MAX] = now;
            }
            if (skip < HEAD_BYTES) {
                iov[count++] =
                    (struct iovec){.iov_base = head + skip, .iov_len = HEAD_BYTES - skip};
                skip = HEAD_BYTES;
            }
            iov[count++] =
                (struct iovec){.iov_base = l->frame->bytes + skip, .iov_len = l->frame->len - skip};
        }
        if (count == 0) {
            return 0;
        }
        struct msghdr message = {.msg_iov = iov, .msg_iovlen = (size_t)count};
        ssize_t n = sendmsg(ln->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0) {
            return errno == EAGAIN ? 0 : -errno;
        }
        size_t sent = ln->partial + (size_t)n;
        ln->sent = first + (sent + l->frame->len - 1) / l->frame->len;
        ln->partial = sent % l->frame->len;
    }
}

struct run {
    const struct load *load;
    struct lane *lanes; /* owned */
    struct latencies latencies;
    bool is_measuring;
    int64_t requests; /* measured ones */
    int64_t answers;  /* all */
};

static int lane_receive(struct run *run, struct lane *ln, int64_t now)
{
    ssize_t n = recv(ln->fd, ln->in + ln->in_len, sizeof(ln->in) - ln->in_len, MSG_DONTWAIT);
    if (n <= 0) {
        return n < 0 && errno == EAGAIN ? 0 : -ECONNRESET;
    }
    ln->in_len += (size_t)n;
    size_t at = 0;
    while (ln->in_len - at >= 4) {
        size_t len = 4 + (size_t)load_be32(ln->in + at);
        if (len > sizeof(ln->in) || len < PRODUCE_ERROR_AT + 2) {
            return -EPROTO;
        }
        if (ln->in_len - at < len) {
            break;
        }
        uint16_t error = load_be16(ln->in + at + PRODUCE_ERROR_AT);
        if (error != 0 || load_be32(ln->in + at + 4) != (uint32_t)ln->answered) {
            fprintf(stderr, "bench: answer %" PRIu64 ": error %d\n", ln->answered, (int16_t)error);
            return -EPROTO;
        }
        if (run->is_measuring) {
            latencies_add(&run->latencies, now - ln->started_ns[ln->answered % IN_FLIGHT_MAX]);
            run->requests++;
        }
        ln->answered++;
        run->answers++;
        at += len;
    }
    memmove(ln->in, ln->in + at, ln->in_len - at);
    ln->in_len -= at;
    return lane_send(run->load, ln);
}

static int load_open(struct run *run, int poll_fd)
{
    for (size_t i = 0; i < run->load->connections; i++) {
        struct lane *ln = &run->lanes[i];
        ln->fd = socket_connect(&run->load->server);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = ln};
        if (ln->fd < 0) {
            return ln->fd;
        }
        if (epoll_ctl(poll_fd, EPOLL_CTL_ADD, ln->fd, &event) != 0) {
            return -errno;
        }
        int r = lane_send(run->load, ln);
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

/* EPOLLOUT only while a frame is half out. */
static int lane_watch(struct lane *ln, int poll_fd)
{
    struct epoll_event event = {.events = EPOLLIN | (ln->partial > 0 ? EPOLLOUT : 0U),
                                .data.ptr = ln};
    return epoll_ctl(poll_fd, EPOLL_CTL_MOD, ln->fd, &event) == 0 ? 0 : -errno;
}

static int load_turn(struct run *run, int poll_fd)
{
    struct epoll_event events[IN_FLIGHT_MAX];
    int n = epoll_wait(poll_fd, events, IN_FLIGHT_MAX, PATIENCE_MS);
    if (n <= 0) {
        fprintf(stderr, "bench: no answer within 30 s\n");
        return -ETIMEDOUT;
    }
    int64_t now = now_ns();
    for (int i = 0; i < n; i++) {
        struct lane *ln = events[i].data.ptr;
        bool was_partial = ln->partial > 0;
        int r = (events[i].events & ~(uint32_t)EPOLLOUT) != 0 ? lane_receive(run, ln, now)
                                                              : lane_send(run->load, ln);
        if (r >= 0 && was_partial != (ln->partial > 0)) {
            r = lane_watch(ln, poll_fd);
        }
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

static int load_run(struct run *run, int poll_fd, struct load_result *ret)
{
    const struct load *l = run->load;
    int r = load_open(run, poll_fd);
    int64_t start = now_ns();
    int64_t measure_from = start + (int64_t)(l->warm_seconds * 1e9);
    int64_t cpu = 0;
    int64_t began = 0;
    while (r >= 0) {
        int64_t now = now_ns();
        bool is_warm =
            now >= measure_from || (l->requests_max > 0 && run->answers >= l->requests_max / 4);
        if (!run->is_measuring && is_warm) {
            run->is_measuring = true;
            began = now;
            cpu = process_cpu_ns(l->pid);
        }
        bool is_time = run->is_measuring && now >= began + (int64_t)(l->run_seconds * 1e9);
        if (is_time || (l->requests_max > 0 && run->requests >= l->requests_max)) {
            break;
        }
        r = load_turn(run, poll_fd);
        if (l->warm != NULL) {
            warm_feed(l->warm, run->answers * (int64_t)l->frame->len);
        }
    }
    if (r < 0) {
        return r;
    }
    ret->seconds = (double)(now_ns() - began) / 1e9;
    ret->cpu_seconds = (double)(process_cpu_ns(l->pid) - cpu) / 1e9;
    ret->requests = run->requests;
    ret->p50_us = latencies_us(&run->latencies, 0.50);
    ret->p99_us = latencies_us(&run->latencies, 0.99);
    return 0;
}

int load_produce(const struct load *l, struct load_result *ret)
{
    check(l->in_flight <= IN_FLIGHT_MAX && l->frame->len > HEAD_BYTES);
    memset(ret, 0, sizeof(*ret));
    struct run run = {.load = l, .lanes = mem_array(l->connections, sizeof(struct lane))};
    for (size_t i = 0; i < l->connections; i++) {
        run.lanes[i].fd = -1;
    }
    int poll_fd = epoll_create1(EPOLL_CLOEXEC);
    int r = poll_fd < 0 ? -errno : load_run(&run, poll_fd, ret);
    if (r < 0) {
        fprintf(stderr, "bench: load ended: %s\n", strerror(-r));
    }
    for (size_t i = 0; i < l->connections; i++) {
        if (run.lanes[i].fd >= 0) {
            close(run.lanes[i].fd);
        }
    }
    if (poll_fd >= 0) {
        close(poll_fd);
    }
    latencies_release(&run.latencies);
    mem_free(run.lanes);
    return r;
}

/* One connection of a fetch load: asks, reads the head of the answer, drops the rest unread. */
struct puller {
    int fd;
    int64_t offset;
    size_t frame_left; /* bytes of the answer still to come; 0: nothing asked */
    size_t head_len;
    uint8_t head[512];
    int64_t started_ns;
    uint8_t *frame; /* owned */
};

static int puller_ask(const struct fetch_load *l, struct puller *p)
{
    store_be64(p->frame + l->offset_at, (uint64_t)p->offset);
    p->head_len = 0;
    p->frame_left = 0;
    p->started_ns = now_ns();
    ssize_t n = send(p->fd, p->frame, l->load.frame->len, MSG_NOSIGNAL);
    return n == (ssize_t)l->load.frame->len ? 0 : -EIO;
}

/* 1: the answer is whole. */
static int puller_read(const struct fetch_load *l,
                       struct puller *p,
                       struct load_result *ret,
                       bool is_measuring)
{
    (void)l;
    if (p->head_len < sizeof(p->head) && (p->head_len < 4 || p->frame_left > 0)) {
        size_t want = sizeof(p->head) - p->head_len;
        ssize_t n = recv(p->fd, p->head + p->head_len, want, MSG_DONTWAIT);
        if (n <= 0) {
            return n < 0 && errno == EAGAIN ? 0 : -ECONNRESET;
        }
        bool is_first = p->head_len < 4;
        p->head_len += (size_t)n;
        if (p->head_len < 4) {
            return 0;
        }
        p->frame_left =
            is_first ? (size_t)load_be32(p->head) + 4 - p->head_len : p->frame_left - (size_t)n;
    }
    while (p->frame_left > 0) {
        static const size_t piece = 4 << 20;
        ssize_t n = recv(p->fd, NULL, min_size(p->frame_left, piece), MSG_DONTWAIT | MSG_TRUNC);
        if (n <= 0) {
            return n < 0 && errno == EAGAIN ? 0 : -ECONNRESET;
        }
        p->frame_left -= (size_t)n;
    }
    struct answer a = {.next = p->head + 4, .end = p->head + p->head_len};
    struct fetched f;
    fetched_read(&a, &f);
    if (f.error != 0 || a.failed) {
        fprintf(stderr, "bench: fetch: error %d\n", f.error);
        return -EPROTO;
    }
    int64_t batches = f.records_bytes / (int64_t)l->batch_bytes;
    p->offset = batches == 0 ? 0 : p->offset + batches * l->batch_records;
    if (p->offset >= l->end_offset) {
        p->offset = 0;
    }
    if (is_measuring) {
        ret->requests++;
        ret->bytes += f.records_bytes;
    }
    return 1;
}

static int
fetch_run(const struct fetch_load *l, struct puller *pullers, int poll_fd, struct load_result *ret)
{
    int64_t measure_from = now_ns() + (int64_t)(l->load.warm_seconds * 1e9);
    int64_t began = 0;
    int64_t cpu = 0;
    for (size_t i = 0; i < l->load.connections; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &pullers[i]};
        pullers[i].fd = socket_connect(&l->load.server);
        if (pullers[i].fd < 0 || epoll_ctl(poll_fd, EPOLL_CTL_ADD, pullers[i].fd, &event) != 0) {
            return -EIO;
        }
        int r = puller_ask(l, &pullers[i]);
        if (r < 0) {
            return r;
        }
    }
    for (;;) {
        int64_t now = now_ns();
        if (began == 0 && now >= measure_from) {
            began = now;
            cpu = process_cpu_ns(l->load.pid);
        }
        if (began != 0 && now >= began + (int64_t)(l->load.run_seconds * 1e9)) {
            break;
        }
        struct epoll_event events[IN_FLIGHT_MAX];
        int n = epoll_wait(poll_fd, events, IN_FLIGHT_MAX, PATIENCE_MS);
        if (n <= 0) {
            return -ETIMEDOUT;
        }
        for (int i = 0; i < n; i++) {
            struct puller *p = events[i].data.ptr;
            int r = puller_read(l, p, ret, began != 0);
            if (r == 1) {
                r = puller_ask(l, p);
            }
            if (r < 0) {
                return r;
            }
        }
    }
    ret->seconds = (double)(now_ns() - began) / 1e9;
    ret->cpu_seconds = (double)(process_cpu_ns(l->load.pid) - cpu) / 1e9;
    return 0;
}

int load_fetch(const struct fetch_load *l, struct load_result *ret)
{
    memset(ret, 0, sizeof(*ret));
    struct puller *pullers = mem_array(l->load.connections, sizeof(*pullers));
    for (size_t i = 0; i < l->load.connections; i++) {
        pullers[i].fd = -1;
        pullers[i].frame = mem_alloc(l->load.frame->len);
        memcpy(pullers[i].frame, l->load.frame->bytes, l->load.frame->len);
    }
    int poll_fd = epoll_create1(EPOLL_CLOEXEC);
    int r = poll_fd < 0 ? -errno : fetch_run(l, pullers, poll_fd, ret);
    if (r < 0) {
        fprintf(stderr, "bench: fetch load ended: %s\n", strerror(-r));
    }
    for (size_t i = 0; i < l->load.connections; i++) {
        if (pullers[i].fd >= 0) {
            close(pullers[i].fd);
        }
        mem_free(pullers[i].frame);
    }
    if (poll_fd >= 0) {
        close(poll_fd);
    }
    mem_free(pullers);
    return r;
}
