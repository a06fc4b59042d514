/* The world of the tests of net/; see net_peer.h. */
#include "base/base.h"

#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "net_peer.h"
#include "unit.h"

static void count_line(void *ctx, const char *line, size_t len)
{
    struct world *wd = ctx;
    wd->lines++;
    snprintf(wd->line, sizeof(wd->line), "%.*s", (int)len, line);
}

static void answer_with_frame(struct world_request *rq)
{
    struct rope rope;
    rope_init(&rope);
    uint8_t *to = conn_out_reserve(rq->wd->set, rq->len + 4);
    store_be32(to, (uint32_t)rq->len);
    memcpy(to + 4, rq->frame, rq->len);
    conn_out_add(rq->wd->set, rq->len + 4, &rope);
    conn_answer(&rq->slot, &rope);
    assert_int_equal(rope.bytes, 0);
}

void world_answer(struct world_request *rq)
{
    struct world *wd = rq->wd;
    for (size_t i = 0; i < wd->parked_count; i++) {
        if (wd->parked[i] == rq) {
            wd->parked[i] = wd->parked[--wd->parked_count];
        }
    }
    answer_with_frame(rq);
}

static enum conn_verdict
on_frame(void *ctx, struct conn *cn, struct blob *blob, uint8_t *frame, size_t len)
{
    struct world *wd = ctx;
    wd->last_conn = cn;
    if (frame[0] == 'H' && conn_started(cn) > 0) {
        wd->holds++;
        return CONN_HOLD;
    }
    wd->frames++;
    wd->last_frame_cap = blob->cap;
    if (frame[0] == 'C') {
        return CONN_CLOSE;
    }
    struct world_request *rq = mem_zalloc(sizeof(*rq));
    wd->live_requests++;
    rq->wd = wd;
    rq->blob = blob_ref(blob);
    rq->frame = frame;
    rq->len = len;
    conn_start(cn, &rq->slot);
    switch (frame[0]) {
    case 'P':
        check(wd->parked_count < WORLD_PARKED_MAX);
        wd->parked[wd->parked_count++] = rq;
        break;
    case 'N':
        conn_answer(&rq->slot, NULL);
        break;
    default:
        answer_with_frame(rq);
        break;
    }
    return CONN_TAKEN;
}

static void on_open(void *ctx, struct conn *cn)
{
    struct world *wd = ctx;
    wd->opened++;
    wd->last_conn = cn;
    conn_set_data(cn, wd);
}

static void on_close(void *ctx, struct conn *cn, enum conn_end reason)
{
    struct world *wd = ctx;
    assert_ptr_equal(conn_data(cn), wd);
    wd->closed++;
    wd->last_reason = reason;
}

static void on_abandon(void *ctx, struct conn_slot *slot)
{
    struct world *wd = ctx;
    (void)slot;
    wd->abandoned++;
}

static void on_release(void *ctx, struct conn_slot *slot)
{
    struct world *wd = ctx;
    struct world_request *rq = container_of(slot, struct world_request, slot);
    wd->live_requests--;
    blob_unref(rq->blob);
    mem_free(rq);
}

void world_init(struct world *wd, bool is_simulated)
{
    *wd = (struct world){0};
    simclock_init(&wd->sc, 1);
    clock_init_system(&wd->system);
    wd->logger = (struct logger){.sink = count_line, .ctx = wd};
    metrics_init(&wd->metrics);
    struct loop_options options = {
        .clock = is_simulated ? &wd->sc.clock : &wd->system,
        .logger = &wd->logger,
        .metrics = &wd->metrics,
    };
    assert_int_equal(loop_new(&options, &wd->loop), 0);
    wd->options = (struct conn_options){
        .handler =
            {
                .on_frame = on_frame,
                .on_open = on_open,
                .on_close = on_close,
                .on_abandon = on_abandon,
                .on_release = on_release,
                .ctx = wd,
            },
        .metrics = &wd->metrics,
        .request_bytes_max = 1 << 20,
    };
}

void world_start(struct world *wd)
{
    assert_int_equal(conn_set_new(wd->loop, &wd->options, &wd->set), 0);
}

void world_turn(struct world *wd)
{
    /* Work that is put off to the next turn takes at most so many. */
    for (int i = 0; i < 8; i++) {
        loop_turn(wd->loop, false);
    }
}

void world_release(struct world *wd)
{
    conn_set_close_all(wd->set);
    world_turn(wd);
    while (wd->parked_count > 0) {
        world_answer(wd->parked[0]);
    }
    world_turn(wd);
    assert_int_equal(wd->live_requests, 0);
    assert_int_equal(wd->opened, wd->closed);
    assert_int_equal(world_metric(wd, "net_connections"), 0);
    assert_int_equal(conn_set_count(wd->set), 0);
    conn_set_free(wd->set);
    loop_free(wd->loop);
    metrics_release(&wd->metrics);
}

int world_connect(struct world *wd)
{
    int fds[2];
    struct conn *cn;
    struct conn_peer unknown = {.len = 0};
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    int one = 1;
    IGNORE(ioctl(fds[1], FIONBIO, &one) < 0); /* cannot fail on a socket */
    assert_int_equal(conn_open(wd->set, fds[1], &unknown, NULL, NULL, &cn), 0);
    return fds[0];
}

int64_t world_metric(const struct world *wd, const char *name)
{
    const struct metric *m = metrics_find(&wd->metrics, name);
    assert_non_null(m);
    return metric_get(m);
}

void peer_send(int fd, const void *bytes, size_t len)
{
    assert_int_equal(send(fd, bytes, len, MSG_NOSIGNAL), len);
}

size_t peer_frame(uint8_t *to, const char *text)
{
    size_t len = strlen(text);
    store_be32(to, (uint32_t)len);
    memcpy(to + 4, text, len);
    return len + 4;
}

void peer_send_frame(int fd, const char *text)
{
    uint8_t bytes[4096];
    assert_true(strlen(text) <= sizeof(bytes) - 4);
    peer_send(fd, bytes, peer_frame(bytes, text));
}

bool peer_has_bytes(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, 0) == 1;
}

void peer_expect_frame(int fd, const char *text)
{
    uint8_t want[4096];
    uint8_t got[4096];
    size_t len = peer_frame(want, text);
    assert_true(peer_has_bytes(fd));
    assert_int_equal(recv(fd, got, len, MSG_DONTWAIT), len);
    assert_memory_equal(got, want, len);
}

void peer_expect_nothing(int fd)
{
    assert_false(peer_has_bytes(fd));
}

void peer_expect_end(int fd)
{
    uint8_t byte;
    ssize_t n = recv(fd, &byte, 1, MSG_DONTWAIT);
    assert_true(n == 0 || (n < 0 && errno == ECONNRESET));
    close(fd);
}
