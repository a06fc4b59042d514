/*
 * A door; see door.h.
 *
 * A connection is in one of three states: it reads a line, its line is being answered (nothing is
 * watched), its answer is being sent. The bytes behind a line wait in its buffer. A peer that has
 * closed its sending side still gets its answer.
 *
 * The mode: the inode of an unbound socket takes it by fchmod, and bind makes the file with it, so
 * that there is no moment with another one; it is looked at behind bind all the same, before
 * listen.
 */
#include "net/door.h"

#include "base/base.h"
#include "base/err.h"
#include "base/list.h"

#include <event2/event.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    LINE_BYTES_DEFAULT = 64 * 1024,
    CONNECTIONS_DEFAULT = 8,
    TIME_LIMIT_DEFAULT_MS = 10000,
    BACKLOG = 16,
    FIRST_READ_BYTES = 512,
    PAUSE_MS = 100, /* after an accept that failed */
    SEND_TURN_BYTES = 1 << 20,
    SOCKET_MODE = 0600,
};

struct door {
    struct loop *loop; /* borrowed */
    struct door_options options;
    int fd;           /* -1: none */
    int directory_fd; /* -1: none */
    bool is_bound;
    bool is_started;
    bool is_watching;
    struct event *event; /* owned */
    struct timer pause;
    struct list guests;
    size_t guests_count;
};

enum guest_state {
    GUEST_READS,
    GUEST_WAITS,
    GUEST_IS_ANSWERED,
};

struct guest {
    struct list link;
    struct door *door; /* borrowed */
    enum guest_state state;
    bool is_dead;      /* closed while its call is out */
    bool is_at_end;    /* the peer sends no more */
    int fd;            /* -1: closed */
    struct event *in;  /* owned */
    struct event *out; /* owned */
    struct timer limit;
    char *buffer; /* owned */
    size_t len;
    size_t cap;
    size_t line_bytes; /* of the line that is being answered, with its end */
    size_t sent;
    struct door_call call;
};

static void watch(struct door *d)
{
    bool should =
        d->is_started && d->guests_count < d->options.connections_max && !timer_is_armed(&d->pause);
    if (should == d->is_watching) {
        return;
    }
    d->is_watching = should;
    check((should ? event_add(d->event, NULL) : event_del(d->event)) == 0);
}

static void on_pause_end(struct timer *t, void *ctx)
{
    (void)t;
    watch(ctx);
}

/* ---- one connection ---- */

static void close_guest(struct guest *gu)
{
    timers_disarm(loop_timers(gu->door->loop), &gu->limit);
    if (gu->in != NULL) {
        event_free(gu->in);
        gu->in = NULL;
    }
    if (gu->out != NULL) {
        event_free(gu->out);
        gu->out = NULL;
    }
    if (gu->fd >= 0) {
        IGNORE(close(gu->fd)); /* a socket */
        gu->fd = -1;
    }
    if (gu->state == GUEST_WAITS) {
        gu->is_dead = true;
        return;
    }
    struct door *d = gu->door;
    list_remove(&gu->link);
    d->guests_count--;
    arena_release(&gu->call.arena);
    mem_free(gu->buffer);
    mem_free(gu);
    watch(d);
}

static void arm_limit(struct guest *gu)
{
    struct door *d = gu->door;
    timers_arm(loop_timers(d->loop), &gu->limit, loop_now_ms(d->loop) + d->options.time_limit_ms);
}

static void on_limit(struct timer *t, void *ctx)
{
    (void)t;
    close_guest(ctx);
}

static void begin_answer(struct guest *gu, struct str answer)
{
    gu->state = GUEST_IS_ANSWERED;
    gu->call.answer = answer;
    gu->sent = 0;
    arm_limit(gu);
    check(event_add(gu->out, NULL) == 0);
}

/* Takes the next line out of the buffer, or asks for more bytes. False: the guest is gone. */
static bool take_line(struct guest *gu)
{
    struct door *d = gu->door;
    const char *end = gu->len == 0 ? NULL : memchr(gu->buffer, '\n', gu->len);
    size_t line_len = end == NULL ? gu->len : (size_t)(end - gu->buffer);
    if (line_len > d->options.line_bytes_max) {
        IGNORE(event_del(gu->in) < 0); /* it may not be watched */
        gu->call.must_close = true;
        begin_answer(gu, d->options.overlong_answer);
        return true;
    }
    if (end == NULL) {
        if (gu->is_at_end) {
            close_guest(gu);
            return false;
        }
        return true;
    }
    IGNORE(event_del(gu->in) < 0); /* it may not be watched */
    timers_disarm(loop_timers(d->loop), &gu->limit);
    gu->state = GUEST_WAITS;
    gu->line_bytes = line_len + 1;
    gu->call.line = str_of(gu->buffer, line_len);
    gu->call.must_close = false;
    d->options.on_line(d->options.ctx, &gu->call);
    return true;
}

static void on_readable(evutil_socket_t fd, short what, void *ctx)
{
    (void)what;
    struct guest *gu = ctx;
    struct door *d = gu->door;
    loop_enter_turn(d->loop);
    if (gu->cap == gu->len) {
        size_t cap = max_size(gu->cap * 2, FIRST_READ_BYTES);
        cap = min_size(cap, d->options.line_bytes_max + 2);
        gu->buffer = mem_realloc(gu->buffer, cap);
        gu->cap = cap;
    }
    ssize_t n = recv(fd, gu->buffer + gu->len, gu->cap - gu->len, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (n < 0) {
        close_guest(gu);
        return;
    }
    gu->is_at_end = n == 0;
    gu->len += (size_t)n;
    IGNORE(take_line(gu)); /* nothing follows here */
}

/* The answer has left: the next line. */
static void end_answer(struct guest *gu)
{
    if (gu->call.must_close) {
        close_guest(gu);
        return;
    }
    arena_release(&gu->call.arena);
    gu->call.answer = (struct str){0};
    gu->len -= gu->line_bytes;
    memmove(gu->buffer, gu->buffer + gu->line_bytes, gu->len);
    gu->state = GUEST_READS;
    arm_limit(gu);
    if (!take_line(gu) || gu->state != GUEST_READS) {
        return;
    }
    check(event_add(gu->in, NULL) == 0);
}

static void on_writable(evutil_socket_t fd, short what, void *ctx)
{
    (void)what;
    struct guest *gu = ctx;
    loop_enter_turn(gu->door->loop);
    struct str answer = gu->call.answer;
    size_t left = min_size(answer.len - gu->sent, SEND_TURN_BYTES);
    ssize_t n = left == 0 ? 0 : send(fd, answer.ptr + gu->sent, left, MSG_NOSIGNAL);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (n < 0) {
        close_guest(gu);
        return;
    }
    gu->sent += (size_t)n;
    if (gu->sent < answer.len) {
        arm_limit(gu);
        return;
    }
    check(event_del(gu->out) == 0);
    end_answer(gu);
}

void door_answer(struct door_call *dc, struct str answer)
{
    struct guest *gu = container_of(dc, struct guest, call);
    check(gu->state == GUEST_WAITS);
    if (gu->is_dead) {
        gu->state = GUEST_READS;
        close_guest(gu);
        return;
    }
    begin_answer(gu, answer);
}

static void answer_job(struct job *j)
{
    struct door_call *dc = container_of(j, struct door_call, job);
    door_answer(dc, dc->answer);
}

void door_answer_from(struct door *d, struct door_call *dc, struct str answer)
{
    dc->answer = answer;
    dc->job.run = answer_job;
    check(loop_post(d->loop, &dc->job)); /* the owner ends the loop behind the last answer */
}

/* ---- the socket ---- */

static void open_guest(struct door *d, int fd)
{
    struct guest *gu = mem_zalloc(sizeof(*gu));
    gu->door = d;
    gu->fd = fd;
    gu->in = event_new(loop_base(d->loop), fd, EV_READ | EV_PERSIST, on_readable, gu);
    gu->out = event_new(loop_base(d->loop), fd, EV_WRITE | EV_PERSIST, on_writable, gu);
    timer_init(&gu->limit, on_limit, gu);
    list_push_back(&d->guests, &gu->link);
    d->guests_count++;
    if (gu->in == NULL || gu->out == NULL || event_add(gu->in, NULL) < 0) {
        close_guest(gu);
        return;
    }
    arm_limit(gu);
}

static void on_acceptable(evutil_socket_t fd, short what, void *ctx)
{
    (void)what;
    struct door *d = ctx;
    loop_enter_turn(d->loop);
    while (d->is_watching) {
        int guest_fd = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (guest_fd >= 0) {
            open_guest(d, guest_fd);
        } else if (errno == EAGAIN) {
            return;
        } else if (errno != EINTR && errno != ECONNABORTED) {
            timers_arm(loop_timers(d->loop), &d->pause, loop_now_ms(d->loop) + PAUSE_MS);
        }
        watch(d);
    }
}

static int remove_stale(const struct door *d)
{
    struct stat st;
    if (fstatat(d->directory_fd, d->options.name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
        return errno == ENOENT ? 0 : -errno;
    }
    if (!S_ISSOCK(st.st_mode)) {
        return -EEXIST;
    }
    return unlinkat(d->directory_fd, d->options.name, 0) < 0 ? -errno : 0;
}

/* The address by way of /proc, or the plain path. */
static int bind_at(struct door *d, const char *directory)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t room = sizeof(address.sun_path);
    int n =
        snprintf(address.sun_path, room, "/proc/self/fd/%d/%s", d->directory_fd, d->options.name);
    if (n > 0 && (size_t)n < room &&
        bind(d->fd, (const struct sockaddr *)&address, sizeof(address)) == 0) {
        return 0;
    }
    int err = n > 0 && (size_t)n < room ? -errno : ERR_TOO_LARGE;
    if (err != -ENOENT && err != -ENOTDIR) {
        return err;
    }
    n = snprintf(address.sun_path, room, "%s/%s", directory, d->options.name);
    if (n < 0 || (size_t)n >= room) {
        return ERR_TOO_LARGE;
    }
    return bind(d->fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ? -errno : 0;
}

static int open_socket(struct door *d, const char *directory)
{
    d->directory_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (d->directory_fd < 0) {
        return -errno;
    }
    int err = remove_stale(d);
    if (err < 0) {
        return err;
    }
    d->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (d->fd < 0 || fchmod(d->fd, SOCKET_MODE) < 0) {
        return -errno;
    }
    err = bind_at(d, directory);
    if (err < 0) {
        return err;
    }
    d->is_bound = true;
    struct stat st;
    if (fstatat(d->directory_fd, d->options.name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
        return -errno;
    }
    if ((st.st_mode & 0777) != SOCKET_MODE &&
        fchmodat(d->directory_fd, d->options.name, SOCKET_MODE, 0) < 0) {
        return -errno;
    }
    return listen(d->fd, BACKLOG) < 0 ? -errno : 0;
}

int door_new(struct loop *lp, const struct door_options *options, struct door **ret)
{
    struct door *d = mem_zalloc(sizeof(*d));
    d->loop = lp;
    d->options = *options;
    d->options.directory = NULL; /* only borrowed for this call */
    if (d->options.line_bytes_max == 0) {
        d->options.line_bytes_max = LINE_BYTES_DEFAULT;
    }
    if (d->options.connections_max == 0) {
        d->options.connections_max = CONNECTIONS_DEFAULT;
    }
    if (d->options.time_limit_ms <= 0) {
        d->options.time_limit_ms = TIME_LIMIT_DEFAULT_MS;
    }
    d->fd = -1;
    d->directory_fd = -1;
    list_init(&d->guests);
    timer_init(&d->pause, on_pause_end, d);
    int err = open_socket(d, options->directory);
    if (err >= 0) {
        d->event = event_new(loop_base(lp), d->fd, EV_READ | EV_PERSIST, on_acceptable, d);
        err = d->event == NULL ? -ENOMEM : 0;
    }
    if (err < 0) {
        door_close(d);
        door_free(d);
        return err;
    }
    *ret = d;
    return 0;
}

void door_start(struct door *d)
{
    d->is_started = true;
    watch(d);
}

void door_close(struct door *d)
{
    d->is_started = false;
    timers_disarm(loop_timers(d->loop), &d->pause);
    if (d->event != NULL) {
        watch(d);
        event_free(d->event);
        d->event = NULL;
    }
    if (d->is_bound) {
        IGNORE(unlinkat(d->directory_fd, d->options.name, 0) < 0); /* somebody was quicker */
        d->is_bound = false;
    }
    list_foreach_safe (node, after, &d->guests) {
        struct guest *gu = list_entry(node, struct guest, link);
        if (!gu->is_dead) {
            close_guest(gu);
        }
    }
}

size_t door_count(const struct door *d)
{
    return d->guests_count;
}

struct door *door_free(struct door *d)
{
    if (d == NULL) {
        return NULL;
    }
    check(d->event == NULL && d->guests_count == 0);
    if (d->fd >= 0) {
        IGNORE(close(d->fd)); /* a socket */
    }
    if (d->directory_fd >= 0) {
        IGNORE(close(d->directory_fd)); /* nothing was written by it */
    }
    return mem_free(d);
}
