/*
 * Listeners; see listener.h.
 *
 * A listener's socket is watched by level, and a turn accepts so many at most: what is left shows
 * again. When it must not accept (limits), the socket is taken out of the loop until it may.
 */
#include "net/listener.h"

#include "base/base.h"
#include "base/err.h"
#include "base/logger.h"
#include "base/mem.h"

#include <arpa/inet.h>
#include <event2/event.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include "net/conn_limits.h"

enum {
    ACCEPT_TURN_MAX = 64,
    BACKLOG_DEFAULT = 50,
    LOG_INTERVAL_MS = 1000,
    FAILED_PAUSE_MS = 100, /* after an accept that failed for another reason */
};

struct listener {
    struct loop *loop; /* borrowed */
    struct listener_options options;
    int fd;
    uint16_t port;
    int reserve_fd;      /* given up for a moment when there are no others; -1: could not be had */
    struct event *event; /* owned */
    bool is_watching;
    struct conn_set **sets; /* borrowed */
    size_t sets_count;
    size_t next_set;
    struct timer pause;
    struct conn_share *share; /* borrowed from the limits; NULL: none */
    struct loop_waiter waiter;
    struct log_limit shed_limit;
    struct log_limit refuse_limit;
    struct log_limit fail_limit;
    struct metric *accepted; /* borrowed, may be NULL */
    struct metric *shed;
};

/* A connection on its way to the loop of its set. */
struct arrival {
    struct job job;
    struct conn_set *set;
    struct conn_share *share;
    int fd;
    struct conn_peer peer;
    void *tag;
};

static void set_watching(struct listener *ls, bool is_watching)
{
    if (ls->is_watching == is_watching) {
        return;
    }
    ls->is_watching = is_watching;
    check((is_watching ? event_add(ls->event, NULL) : event_del(ls->event)) == 0);
}

static int open_reserve(void)
{
    return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

/* Writes one line a second at most; returns whether this one may be, and what it should add. */
static bool may_log(struct listener *ls, struct log_limit *limit, struct log_left_out *ret_left_out)
{
    return log_limit_pass(limit, loop_clock(ls->loop), LOG_INTERVAL_MS, ret_left_out);
}

static void open_arrival(struct job *j)
{
    struct arrival *ar = container_of(j, struct arrival, job);
    struct conn *cn;
    /* A failure has closed the descriptor and given its place back; it is memory, and the peer sees
     * the end. */
    IGNORE(conn_open(ar->set, ar->fd, &ar->peer, ar->tag, ar->share, &cn) < 0);
    mem_free(ar);
}

static void hand_over(struct listener *ls, int fd, const struct conn_peer *peer, size_t sets_max)
{
    struct arrival *ar = mem_zalloc(sizeof(*ar));
    size_t sets = min_size(ls->sets_count, sets_max);
    ar->job.run = open_arrival;
    ar->set = ls->sets[ls->next_set % sets];
    ar->share = ls->share;
    ar->fd = fd;
    ar->peer = *peer;
    ar->tag = ls->options.tag;
    ls->next_set = (ls->next_set + 1) % sets;
    if (conn_set_loop(ar->set) == ls->loop) {
        open_arrival(&ar->job);
    } else if (!loop_post(conn_set_loop(ar->set), &ar->job)) {
        IGNORE(close(fd)); /* that loop has ended */
        conn_limits_leave(ls->share, peer);
        mem_free(ar);
    }
}

static void admit(struct listener *ls, int fd, const struct conn_peer *peer)
{
    metric_add(ls->accepted, 1);
    size_t sets_max;
    if (conn_limits_enter(ls->share, peer, &sets_max) != ADMIT) {
        struct log_left_out left_out;
        if (may_log(ls, &ls->refuse_limit, &left_out)) {
            char text[CONN_PEER_TEXT_SIZE];
            LOG_INFO(loop_logger(ls->loop), FAC_NET,
                     "closed a new connection, its address has too many already: peer=%s%s",
                     conn_peer_text(peer, text), left_out.text);
        }
        IGNORE(close(fd)); /* nothing was sent */
        return;
    }
    int one = 1;
    /* Kafka sets it too; it only costs a packet in two hours. */
    IGNORE(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one)) < 0);
    hand_over(ls, fd, peer, sets_max);
}

static void tell_shed(struct listener *ls)
{
    metric_add(ls->shed, 1);
    struct log_left_out left_out;
    if (may_log(ls, &ls->shed_limit, &left_out)) {
        LOG_WARN(loop_logger(ls->loop), FAC_NET,
                 "out of file descriptors: new connections are closed, the others go on: "
                 "port=%u%s",
                 (unsigned)ls->port, left_out.text);
    }
}

/* The system gives the lowest number that is free: all below it are in use. */
static bool is_beyond(const struct listener *ls, int fd)
{
    const struct listener_options *op = &ls->options;
    return op->descriptors_max > 0 && fd >= op->descriptors_max &&
           !(op->make_room != NULL && op->make_room(op->make_room_ctx));
}

/* No descriptor is left: the reserve makes room for one moment, so that the newcomer is told.
 * Returns 1, 0 when nobody was waiting (the kernel looks for a descriptor before it looks for a
 * connection), or -errno. */
static int shed_one(struct listener *ls)
{
    if (ls->reserve_fd >= 0) {
        IGNORE(close(ls->reserve_fd)); /* it was /dev/null */
    }
    int fd = accept4(ls->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    int result = fd >= 0 ? 1 : errno == EAGAIN ? 0 : -errno;
    if (fd >= 0) {
        IGNORE(close(fd)); /* nothing was sent */
        tell_shed(ls);
    }
    ls->reserve_fd = open_reserve();
    return result;
}

static void pause_for(struct listener *ls, int64_t wait_ms)
{
    set_watching(ls, false);
    if (wait_ms > 0) {
        timers_arm(loop_timers(ls->loop), &ls->pause, loop_now_ms(ls->loop) + wait_ms);
    }
}

/* False: nothing more is to be accepted in this turn. */
static bool accept_failed(struct listener *ls)
{
    int err = errno;
    int shed = -1;
    switch (err) {
    case EAGAIN:
        return false;
    case EINTR:
    case ECONNABORTED: /* and other ends that came before we did */
    case EPROTO:
    case EPERM:
        return true;
    case EMFILE:
    case ENFILE:
        shed = shed_one(ls);
        break;
    default:
        break;
    }
    if (shed >= 0) {
        return shed > 0;
    }
    struct log_left_out left_out;
    if (may_log(ls, &ls->fail_limit, &left_out)) {
        LOG_WARN(loop_logger(ls->loop), FAC_NET,
                 "cannot accept, trying again in a moment: port=%u error=%s%s", (unsigned)ls->port,
                 err_text(-err), left_out.text);
    }
    pause_for(ls, FAILED_PAUSE_MS);
    return false;
}

static void accept_some(struct listener *ls)
{
    loop_begin_slice(ls->loop);
    for (int i = 0; i < ACCEPT_TURN_MAX && !loop_slice_is_over(ls->loop); i++) {
        int64_t wait_ms = 0;
        if (!conn_limits_may_accept(ls->share, &ls->waiter, &wait_ms)) {
            pause_for(ls, wait_ms);
            return;
        }
        struct conn_peer peer = {.len = sizeof(peer.addr)};
        int fd = accept4(ls->fd, &peer.addr.any, &peer.len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0 && is_beyond(ls, fd)) {
            IGNORE(close(fd)); /* nothing was sent */
            tell_shed(ls);
        } else if (fd >= 0) {
            admit(ls, fd, &peer);
        } else if (!accept_failed(ls)) {
            return;
        }
    }
}

static void on_acceptable(evutil_socket_t fd, short what, void *ctx)
{
    (void)fd;
    (void)what;
    struct listener *ls = ctx;
    loop_enter_turn(ls->loop);
    accept_some(ls);
}

static void resume(void *ctx)
{
    struct listener *ls = ctx;
    if (ls->sets != NULL && !timer_is_armed(&ls->pause)) {
        set_watching(ls, true);
    }
}

static void on_pause_end(struct timer *t, void *ctx)
{
    (void)t;
    resume(ctx);
}

/* As Java has it: the unspecified address of IPv6, however it is written, means both families. */
static bool is_any_host(const char *host)
{
    struct in6_addr v6;
    return host == NULL || host[0] == '\0' ||
           (inet_pton(AF_INET6, host, &v6) == 1 && IN6_IS_ADDR_UNSPECIFIED(&v6));
}

static int set_options(int fd, const struct listener_options *options, int family)
{
    int one = 1;
    int off = 0;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0) {
        return -errno;
    }
    /* All addresses means both families by one socket. */
    bool is_any = is_any_host(options->host);
    if (family == AF_INET6 &&
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, is_any ? &off : &one, sizeof(one)) < 0) {
        return -errno;
    }
    /* Inherited by what is accepted, and known when windows are agreed. */
    int size = options->send_buffer_bytes;
    if (size > 0 && setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)) < 0) {
        return -errno;
    }
    size = options->receive_buffer_bytes;
    if (size > 0 && setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size)) < 0) {
        return -errno;
    }
    return 0;
}

static int bind_one(struct listener *ls, const struct addrinfo *at)
{
    int fd = socket(at->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    int backlog = ls->options.backlog <= 0 ? BACKLOG_DEFAULT : ls->options.backlog;
    struct conn_peer bound = {.len = sizeof(bound.addr)};
    int err = set_options(fd, &ls->options, at->ai_family);
    if (err >= 0 && (bind(fd, at->ai_addr, at->ai_addrlen) < 0 || listen(fd, backlog) < 0 ||
                     getsockname(fd, &bound.addr.any, &bound.len) < 0)) {
        err = -errno;
    }
    if (err < 0) {
        IGNORE(close(fd)); /* nothing was opened by it */
        return err;
    }
    ls->fd = fd;
    ls->port = ntohs(at->ai_family == AF_INET6 ? bound.addr.v6.sin6_port : bound.addr.v4.sin_port);
    return 0;
}

static int bind_host(struct listener *ls)
{
    const char *host = ls->options.host;
    char port[8];
    struct addrinfo hints = {
        .ai_socktype = SOCK_STREAM,
        .ai_flags = AI_PASSIVE | AI_NUMERICSERV,
    };
    bool is_any = is_any_host(host);
    snprintf(port, sizeof(port), "%u", (unsigned)ls->options.port);
    struct addrinfo *found = NULL;
    if (getaddrinfo(is_any ? NULL : host, port, &hints, &found) != 0) {
        return ERR_BAD_ARGUMENT;
    }
    int err = ERR_BAD_ARGUMENT;
    /* All addresses: the IPv6 socket serves both; without IPv6 in the kernel, IPv4 alone. */
    for (int pass = is_any ? 0 : 1; pass < 2 && err < 0; pass++) {
        for (const struct addrinfo *at = found; at != NULL && err < 0; at = at->ai_next) {
            if (pass == 0 && at->ai_family != AF_INET6) {
                continue;
            }
            err = bind_one(ls, at);
        }
        if (err == -EADDRINUSE) {
            break;
        }
    }
    freeaddrinfo(found);
    return err;
}

int listener_new(struct loop *lp, const struct listener_options *options, struct listener **ret)
{
    struct listener *ls = mem_zalloc(sizeof(*ls));
    ls->loop = lp;
    ls->options = *options;
    ls->fd = -1;
    ls->reserve_fd = -1;
    timer_init(&ls->pause, on_pause_end, ls);
    conn_limits_waiter_init(&ls->waiter, options->limits, lp, resume, ls);
    ls->share = conn_limits_share(options->limits);
    int err = bind_host(ls);
    if (err >= 0) {
        ls->event = event_new(loop_base(lp), ls->fd, EV_READ | EV_PERSIST, on_acceptable, ls);
        ls->reserve_fd = open_reserve();
        err = ls->event == NULL ? -ENOMEM : ls->reserve_fd < 0 ? -errno : 0;
    }
    ls->options.host = NULL; /* only borrowed for this call */
    if (err < 0) {
        listener_free(ls);
        return err;
    }
    if (options->metrics != NULL) {
        ls->accepted = metrics_counter(options->metrics, "net_accepted", "connections accepted");
        ls->shed = metrics_counter(options->metrics, "net_shed",
                                   "connections closed for want of descriptors");
    }
    *ret = ls;
    return 0;
}

uint16_t listener_port(const struct listener *ls)
{
    return ls->port;
}

struct conn_share *listener_share(const struct listener *ls)
{
    return ls->share;
}

void listener_start(struct listener *ls, struct conn_set **sets, size_t count)
{
    check(count > 0);
    ls->sets = sets;
    ls->sets_count = count;
    set_watching(ls, true);
}

void listener_stop(struct listener *ls)
{
    ls->sets = NULL;
    set_watching(ls, false);
    timers_disarm(loop_timers(ls->loop), &ls->pause);
}

struct listener *listener_free(struct listener *ls)
{
    if (ls == NULL) {
        return NULL;
    }
    if (ls->event != NULL) {
        listener_stop(ls);
        event_free(ls->event);
    }
    loop_waiter_release(&ls->waiter);
    if (ls->fd >= 0) {
        IGNORE(close(ls->fd)); /* a socket */
    }
    if (ls->reserve_fd >= 0) {
        IGNORE(close(ls->reserve_fd)); /* /dev/null */
    }
    return mem_free(ls);
}
