/*
 * The floor. See floor.h. It understands what frame_produce builds, and nothing else.
 */
#include "benchmark/floor.h"

#include "base/bytes.h"
#include "base/mem.h"
#include "benchmark/frame.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define IN_BYTES   (4 << 20)
#define OUT_BYTES  (64 << 10)
#define ANSWER_LEN 70
#define PEERS_MAX  64

struct peer {
    int fd;
    size_t in_len;
    size_t in_done; /* bytes of whole requests of this turn */
    size_t out_len;
    uint8_t *in; /* owned */
    uint8_t out[OUT_BYTES];
};

struct floor_server {
    int poll_fd;
    int listen_fd;
    int file;
    bool is_durable;
    int64_t next_offset;
    int iov_count;
    struct iovec iov[IOV_MAX];
    struct peer *dirty[PEERS_MAX];
    size_t dirty_count;
};

static void floor_flush(struct floor_server *s)
{
    if (s->iov_count > 0) {
        check(writev(s->file, s->iov, s->iov_count) > 0);
        s->iov_count = 0;
    }
}

/* One request at p, len bytes behind its length. */
static void floor_request(struct floor_server *s, struct peer *pe, uint8_t *p, size_t len)
{
    struct answer a = {.next = p, .end = p + len};
    (void)answer_i32(&a);
    uint32_t correlation = (uint32_t)answer_i32(&a);
    (void)answer_take(&a, (size_t)answer_i16(&a));
    answer_skip_tags(&a);
    (void)answer_uvarint(&a);
    (void)answer_take(&a, 6);
    (void)answer_uvarint(&a);
    const uint8_t *topic = answer_take(&a, 16);
    (void)answer_uvarint(&a);
    int32_t partition = answer_i32(&a);
    size_t size = answer_uvarint(&a) - 1;
    uint8_t *batch = (uint8_t *)(uintptr_t)answer_take(&a, size);
    check(!a.failed && size > 61);
    bool is_good = crc32c(0, batch + 21, size - 21) == load_be32(batch + 17);
    int64_t offset = s->next_offset;
    store_be64(batch, (uint64_t)offset);
    store_be32(batch + 12, 0);
    s->next_offset += (int64_t)load_be32(batch + 23) + 1;
    if (s->iov_count == IOV_MAX) {
        floor_flush(s);
    }
    s->iov[s->iov_count++] = (struct iovec){.iov_base = batch, .iov_len = size};

    check(pe->out_len + ANSWER_LEN <= sizeof(pe->out));
    uint8_t *out = pe->out + pe->out_len;
    memset(out, 0, ANSWER_LEN);
    store_be32(out, ANSWER_LEN - 4);
    store_be32(out + 4, correlation);
    out[9] = 2;
    memcpy(out + 10, topic, 16);
    out[26] = 2;
    store_be32(out + 27, (uint32_t)partition);
    store_be16(out + PRODUCE_ERROR_AT, is_good ? 0 : 2);
    store_be64(out + 33, (uint64_t)offset);
    store_be64(out + 41, UINT64_MAX);
    out[57] = 1;
    pe->out_len += ANSWER_LEN;
}

static void floor_close(struct peer *pe)
{
    close(pe->fd);
    mem_free(pe->in);
    mem_free(pe);
}

static void floor_read(struct floor_server *s, struct peer *pe)
{
    ssize_t n = recv(pe->fd, pe->in + pe->in_len, IN_BYTES - pe->in_len, MSG_DONTWAIT);
    if (n <= 0) {
        floor_close(pe);
        return;
    }
    pe->in_len += (size_t)n;
    while (pe->in_len - pe->in_done >= 4) {
        size_t len = load_be32(pe->in + pe->in_done);
        check(len + 4 <= IN_BYTES);
        if (pe->in_len - pe->in_done < len + 4) {
            break;
        }
        floor_request(s, pe, pe->in + pe->in_done + 4, len);
        pe->in_done += len + 4;
    }
    s->dirty[s->dirty_count++] = pe;
}

static void floor_end_turn(struct floor_server *s)
{
    bool has_written = s->iov_count > 0;
    floor_flush(s);
    check(!has_written || !s->is_durable || fdatasync(s->file) == 0);
    for (size_t i = 0; i < s->dirty_count; i++) {
        struct peer *pe = s->dirty[i];
        if (pe->out_len > 0) {
            check(send(pe->fd, pe->out, pe->out_len, MSG_NOSIGNAL) == (ssize_t)pe->out_len ||
                  errno != EAGAIN);
            pe->out_len = 0;
        }
        memmove(pe->in, pe->in + pe->in_done, pe->in_len - pe->in_done);
        pe->in_len -= pe->in_done;
        pe->in_done = 0;
    }
    s->dirty_count = 0;
}

static void floor_accept(struct floor_server *s)
{
    int fd = accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC);
    int one = 1;
    check(fd >= 0 && setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) == 0);
    struct peer *pe = mem_zalloc(sizeof(*pe));
    pe->fd = fd;
    pe->in = mem_alloc(IN_BYTES);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = pe};
    check(epoll_ctl(s->poll_fd, EPOLL_CTL_ADD, fd, &event) == 0);
}

noreturn_function static void floor_run(struct floor_server *s)
{
    struct epoll_event event = {.events = EPOLLIN};
    s->poll_fd = epoll_create1(EPOLL_CLOEXEC);
    check(s->poll_fd >= 0 && epoll_ctl(s->poll_fd, EPOLL_CTL_ADD, s->listen_fd, &event) == 0);
    for (;;) {
        struct epoll_event events[PEERS_MAX];
        int n = epoll_wait(s->poll_fd, events, PEERS_MAX, -1);
        for (int i = 0; i < n; i++) {
            if (events[i].data.ptr == NULL) {
                floor_accept(s);
            } else {
                floor_read(s, events[i].data.ptr);
            }
        }
        floor_end_turn(s);
    }
}

int floor_start(const char *file, int core, bool is_durable, struct process *ret)
{
    struct floor_server *s = mem_zalloc(sizeof(*s));
    s->is_durable = is_durable;
    s->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(at);
    struct sockaddr *address = (struct sockaddr *)(void *)&at;
    check(s->listen_fd >= 0 && bind(s->listen_fd, address, len) == 0 &&
          listen(s->listen_fd, 64) == 0);
    check(getsockname(s->listen_fd, address, &len) == 0);
    s->file = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0644);
    if (s->file < 0) {
        return -errno;
    }
    pid_t pid = fork();
    if (pid < 0) {
        return -errno;
    }
    if (pid == 0) {
        process_pin(getpid(), core);
        floor_run(s);
    }
    close(s->listen_fd);
    close(s->file);
    mem_free(s);
    *ret = (struct process){.pid = pid, .parent = pid, .out = -1, .address = at};
    return 0;
}
