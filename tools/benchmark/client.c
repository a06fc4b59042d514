/*
 * A connection that asks and waits. See client.h.
 */
#include "benchmark/client.h"

#include "base/mem.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define ANSWER_MAX       (256 << 20)
#define PATIENCE_MS      60000
#define READY_NS         INT64_C(10000000000)
#define ERROR_NOT_THERE  3
#define ERROR_NOT_LEADER 6
#define ERROR_NO_SUCH_ID 100

int64_t now_ns(void)
{
    struct timespec t;
    check(clock_gettime(CLOCK_MONOTONIC, &t) == 0);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

int address_parse(const char *text, struct sockaddr_in *ret)
{
    char host[64];
    const char *colon = strrchr(text, ':');
    if (colon == NULL || (size_t)(colon - text) >= sizeof(host)) {
        return -EINVAL;
    }
    memcpy(host, text, (size_t)(colon - text));
    host[colon - text] = '\0';
    char *end;
    unsigned long port = strtoul(colon + 1, &end, 10);
    if (port == 0 || port > 65535) {
        return -EINVAL;
    }
    memset(ret, 0, sizeof(*ret));
    ret->sin_family = AF_INET;
    ret->sin_port = htons((uint16_t)port);
    return inet_pton(AF_INET, strcmp(host, "localhost") == 0 ? "127.0.0.1" : host,
                     &ret->sin_addr) == 1
               ? 0
               : -EINVAL;
}

int socket_connect(const struct sockaddr_in *to)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    int one = 1;
    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) != 0 ||
        connect(fd, (const struct sockaddr *)(const void *)to, sizeof(*to)) != 0) {
        int err = -errno;
        close(fd);
        return err;
    }
    return fd;
}

int client_open(struct client *c, const struct sockaddr_in *to)
{
    memset(c, 0, sizeof(*c));
    c->fd = socket_connect(to);
    if (c->fd < 0) {
        fprintf(stderr, "bench: connect: %s\n", strerror(-c->fd));
        return c->fd;
    }
    return 0;
}

void client_close(struct client *c)
{
    if (c->fd >= 0) {
        close(c->fd);
    }
    c->fd = -1;
    buf_release(&c->in);
    buf_release(&c->scratch);
}

int client_send(struct client *c, const void *bytes, size_t len)
{
    const char *p = bytes;
    while (len > 0) {
        ssize_t n = send(c->fd, p, len, MSG_NOSIGNAL);
        if (n < 0) {
            fprintf(stderr, "bench: send: %s\n", strerror(errno));
            return -errno;
        }
        p += n;
        len -= (size_t)n;
    }
    return 0;
}

static int read_exactly(struct client *c, void *bytes, size_t len)
{
    char *p = bytes;
    while (len > 0) {
        struct pollfd wait = {.fd = c->fd, .events = POLLIN};
        if (poll(&wait, 1, PATIENCE_MS) == 0) {
            fprintf(stderr, "bench: no answer within a minute\n");
            return -ETIMEDOUT;
        }
        ssize_t n = recv(c->fd, p, len, 0);
        if (n <= 0) {
            fprintf(stderr, "bench: connection lost: %s\n", n == 0 ? "closed" : strerror(errno));
            return -ECONNRESET;
        }
        p += n;
        len -= (size_t)n;
    }
    return 0;
}

int client_receive(struct client *c, struct answer *ret)
{
    uint8_t head[4];
    int r = read_exactly(c, head, sizeof(head));
    if (r < 0) {
        return r;
    }
    size_t len = load_be32(head);
    if (len > ANSWER_MAX) {
        fprintf(stderr, "bench: an answer of %zu bytes\n", len);
        return -EPROTO;
    }
    c->in.len = 0;
    r = read_exactly(c, buf_room(&c->in, len), len);
    if (r < 0) {
        return r;
    }
    *ret = (struct answer){.next = c->in.bytes, .end = c->in.bytes + len};
    return 0;
}

static int read_created(struct answer *a, int32_t topics, struct topic_id *ret_ids)
{
    (void)answer_i32(a);
    answer_skip_tags(a);
    (void)answer_i32(a);
    uint32_t count = answer_uvarint(a) - 1;
    if (count != (uint32_t)topics) {
        return -EPROTO;
    }
    for (uint32_t i = 0; i < count; i++) {
        (void)answer_take(a, answer_uvarint(a) - 1);
        const uint8_t *id = answer_take(a, 16);
        int16_t error = answer_i16(a);
        if (a->failed || error != 0) {
            fprintf(stderr, "bench: create topics: error %d\n", error);
            return -EPROTO;
        }
        memcpy(ret_ids[i].bytes, id, 16);
        uint32_t text = answer_uvarint(a);
        (void)answer_take(a, text > 0 ? text - 1 : 0);
        (void)answer_take(a, 6);
        uint32_t configs = answer_uvarint(a);
        for (uint32_t k = 1; k < configs && !a->failed; k++) {
            (void)answer_take(a, answer_uvarint(a) - 1);
            uint32_t value = answer_uvarint(a);
            (void)answer_take(a, value > 0 ? value - 1 : 0);
            (void)answer_take(a, 3);
            answer_skip_tags(a);
        }
        answer_skip_tags(a);
    }
    return a->failed ? -EPROTO : 0;
}

int client_create_topics(struct client *c,
                         const char *name,
                         int32_t first,
                         int32_t topics,
                         int32_t partitions,
                         struct topic_id *ret_ids)
{
    c->scratch.len = 0;
    frame_create_topics(&c->scratch, name, first, topics, partitions);
    struct answer a;
    int r = client_send(c, c->scratch.bytes, c->scratch.len);
    if (r >= 0) {
        r = client_receive(c, &a);
    }
    return r < 0 ? r : read_created(&a, topics, ret_ids);
}

/* The first error of a Produce answer. */
static int read_produced(struct answer *a, int16_t *ret_error)
{
    (void)answer_i32(a);
    answer_skip_tags(a);
    *ret_error = 0;
    uint32_t topics = answer_uvarint(a);
    for (uint32_t t = 1; t < topics && !a->failed; t++) {
        (void)answer_take(a, 16);
        uint32_t partitions = answer_uvarint(a);
        for (uint32_t p = 1; p < partitions && !a->failed; p++) {
            (void)answer_i32(a);
            int16_t error = answer_i16(a);
            *ret_error = *ret_error != 0 ? *ret_error : error;
            (void)answer_take(a, 24);
            uint32_t errors = answer_uvarint(a);
            for (uint32_t e = 1; e < errors && !a->failed; e++) {
                (void)answer_i32(a);
                uint32_t text = answer_uvarint(a);
                (void)answer_take(a, text > 0 ? text - 1 : 0);
                answer_skip_tags(a);
            }
            uint32_t text = answer_uvarint(a);
            (void)answer_take(a, text > 0 ? text - 1 : 0);
            answer_skip_tags(a);
        }
        answer_skip_tags(a);
    }
    return a->failed ? -EPROTO : 0;
}

int client_produce(struct client *c, const struct buf *frame)
{
    int64_t until = now_ns() + READY_NS;
    for (;;) {
        struct answer a;
        int16_t error;
        int r = client_send(c, frame->bytes, frame->len);
        if (r >= 0) {
            r = client_receive(c, &a);
        }
        if (r >= 0) {
            r = read_produced(&a, &error);
        }
        if (r < 0 || error == 0) {
            return r;
        }
        bool may_come =
            error == ERROR_NOT_THERE || error == ERROR_NOT_LEADER || error == ERROR_NO_SUCH_ID;
        if (!may_come || now_ns() > until) {
            fprintf(stderr, "bench: produce: error %d\n", error);
            return -EPROTO;
        }
        usleep(1000);
    }
}

void fetched_read(struct answer *a, struct fetched *ret)
{
    *ret = (struct fetched){.next_offset = -1};
    (void)answer_i32(a);
    answer_skip_tags(a);
    (void)answer_i32(a);
    ret->error = answer_i16(a);
    (void)answer_i32(a);
    if (answer_uvarint(a) < 2) {
        return;
    }
    (void)answer_take(a, 16);
    (void)answer_uvarint(a);
    (void)answer_i32(a);
    int16_t error = answer_i16(a);
    ret->error = ret->error != 0 ? ret->error : error;
    (void)answer_take(a, 24);
    uint32_t aborted = answer_uvarint(a);
    check(aborted <= 1);
    (void)answer_i32(a);
    uint32_t len = answer_uvarint(a);
    ret->records_bytes = len == 0 ? 0 : (int64_t)len - 1;
    if (a->end - a->next >= 27) {
        const uint8_t *batch = a->next;
        ret->next_offset = (int64_t)load_be64(batch) + (int32_t)load_be32(batch + 23) + 1;
    }
}
