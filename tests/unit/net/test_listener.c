/*
 * Listeners on loopback: families, port 0, hand-over in turn, limits, and what happens without
 * descriptors (in a child process with a low limit). One thread: connect() is answered by the
 * backlog, then the loop is turned.
 */
#include "base/base.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "net/listener.h"
#include "net_peer.h"
#include "unit.h"

struct door {
    struct world wd;
    struct conn_limits *limits;
    struct listener *ls;
    struct conn_set *sets[2];
};

static void open_door(struct door *dr, const char *host)
{
    world_init(&dr->wd, true);
    dr->limits = conn_limits_new(&dr->wd.sc.clock, &dr->wd.metrics);
    dr->wd.options.limits = dr->limits;
    world_start(&dr->wd);
    struct listener_options options = {
        .host = host,
        .limits = dr->limits,
        .metrics = &dr->wd.metrics,
        .tag = dr,
    };
    assert_int_equal(listener_new(dr->wd.loop, &options, &dr->ls), 0);
    dr->sets[0] = dr->wd.set;
    listener_start(dr->ls, dr->sets, 1);
}

static void close_door(struct door *dr)
{
    listener_free(dr->ls);
    conn_set_close_all(dr->wd.set);
    world_turn(&dr->wd);
    assert_int_equal(conn_limits_count(dr->limits), 0);
    world_release(&dr->wd);
    conn_limits_free(dr->limits);
}

static int come(uint16_t port, int family)
{
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    struct conn_peer to = {.len = sizeof(to.addr)};
    if (family == AF_INET) {
        to.addr.v4 = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port)};
        to.addr.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        to.len = sizeof(to.addr.v4);
    } else {
        to.addr.v6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons(port)};
        to.addr.v6.sin6_addr = in6addr_loopback;
        to.len = sizeof(to.addr.v6);
    }
    if (connect(fd, &to.addr.any, to.len) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

/* True when the connection works: a request is answered. */
static bool works(struct door *dr, int fd)
{
    uint8_t frame[16];
    size_t len = peer_frame(frame, "A");
    if (send(fd, frame, len, MSG_NOSIGNAL) != (ssize_t)len) {
        return false;
    }
    world_turn(&dr->wd);
    uint8_t got[16];
    return recv(fd, got, sizeof(got), MSG_DONTWAIT) == (ssize_t)len;
}

static void both_families_are_served_and_peers_have_names(void **state)
{
    (void)state;
    static const struct {
        const char *host;
        bool has_v4;
        bool has_v6;
    } rows[] = {
        {"127.0.0.1", true, false}, {"::1", false, true},   {"", true, true},
        {"::", true, true},         {"0:0::0", true, true}, {"0.0.0.0", true, false},
    };
    int probe = socket(AF_INET6, SOCK_STREAM, 0);
    struct sockaddr_in6 local = {.sin6_family = AF_INET6, .sin6_addr = in6addr_loopback};
    bool has_ipv6 =
        probe >= 0 && bind(probe, (struct sockaddr *)(void *)&local, sizeof(local)) == 0;
    close(probe);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (rows[i].has_v6 && !has_ipv6) {
            continue;
        }
        struct door dr = {0};
        open_door(&dr, rows[i].host);
        uint16_t port = listener_port(dr.ls);
        assert_true(port > 0);
        int v4 = come(port, AF_INET);
        int v6 = come(port, AF_INET6);
        assert_int_equal(v4 >= 0, rows[i].has_v4);
        assert_int_equal(v6 >= 0, rows[i].has_v6);
        char text[CONN_PEER_TEXT_SIZE];
        if (v4 >= 0) {
            assert_true(works(&dr, v4));
            assert_ptr_equal(conn_tag(dr.wd.last_conn), &dr);
            conn_peer_text(conn_peer(dr.wd.last_conn), text);
            assert_non_null(strstr(text, "127.0.0.1"));
        }
        if (v6 >= 0) {
            assert_true(works(&dr, v6));
            conn_peer_text(conn_peer(dr.wd.last_conn), text);
            assert_memory_equal(text, "[::1]:", 6);
        }
        close(v4);
        close(v6);
        close_door(&dr);
    }
}

static void a_port_in_use_and_a_bad_host_are_told(void **state)
{
    (void)state;
    struct door dr = {0};
    open_door(&dr, "127.0.0.1");
    struct listener *other;
    struct listener_options options = {.host = "127.0.0.1", .port = listener_port(dr.ls)};
    assert_int_equal(listener_new(dr.wd.loop, &options, &other), -EADDRINUSE);
    options = (struct listener_options){.host = "not a host"};
    assert_int_equal(listener_new(dr.wd.loop, &options, &other), ERR_BAD_ARGUMENT);
    close_door(&dr);
}

static void connections_go_to_the_sets_in_turn_also_to_other_loops(void **state)
{
    (void)state;
    struct door dr = {0};
    struct world other;
    open_door(&dr, "127.0.0.1");
    world_init(&other, true);
    world_start(&other);
    dr.sets[1] = other.set;
    listener_stop(dr.ls);
    listener_start(dr.ls, dr.sets, 2);
    int fds[6];
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        fds[i] = come(listener_port(dr.ls), AF_INET);
    }
    world_turn(&dr.wd);
    world_turn(&other);
    assert_int_equal(dr.wd.opened, 3);
    assert_int_equal(other.opened, 3);
    assert_int_equal(conn_limits_count(dr.limits), 6);
    const struct conn_share_rules one = {INT32_MAX, INT32_MAX, 1, false};
    conn_share_set(listener_share(dr.ls), &one);
    for (size_t i = 0; i < 2; i++) {
        close(fds[i]);
        fds[i] = come(listener_port(dr.ls), AF_INET);
    }
    world_turn(&dr.wd);
    world_turn(&other);
    assert_int_equal(dr.wd.opened, 5); /* one set is to be used now */
    assert_int_equal(other.opened, 3);
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        close(fds[i]);
    }
    world_turn(&other);
    assert_int_equal(other.closed, 3);
    world_release(&other);
    close_door(&dr);
}

static void too_many_of_one_address_are_closed_and_overrides_count(void **state)
{
    (void)state;
    struct door dr = {0};
    open_door(&dr, "127.0.0.1");
    conn_limits_set_per_ip(dr.limits, 2);
    int fds[4];
    for (size_t i = 0; i < 3; i++) {
        fds[i] = come(listener_port(dr.ls), AF_INET);
    }
    world_turn(&dr.wd);
    assert_int_equal(dr.wd.opened, 2);
    assert_int_equal(world_metric(&dr.wd, "net_refused_per_ip"), 1);
    assert_true(works(&dr, fds[0]));
    assert_true(works(&dr, fds[1]));
    peer_expect_end(fds[2]);
    close(fds[0]);
    world_turn(&dr.wd);
    fds[2] = come(listener_port(dr.ls), AF_INET);
    world_turn(&dr.wd);
    assert_true(works(&dr, fds[2])); /* the place was given back */
    assert_int_equal(conn_limits_set_overrides(dr.limits, STR("10.0.0.1:1, 127.0.0.1:3")), 0);
    fds[3] = come(listener_port(dr.ls), AF_INET);
    fds[0] = come(listener_port(dr.ls), AF_INET);
    world_turn(&dr.wd);
    assert_true(works(&dr, fds[3]));
    peer_expect_end(fds[0]);
    for (size_t i = 1; i < 4; i++) {
        close(fds[i]);
    }
    close_door(&dr);
}

static void overrides_that_cannot_be_read_change_nothing(void **state)
{
    (void)state;
    struct simclock sc;
    simclock_init(&sc, 1);
    struct conn_limits *cl = conn_limits_new(&sc.clock, NULL);
    assert_int_equal(conn_limits_set_overrides(cl, STR("")), 0);
    assert_int_equal(conn_limits_set_overrides(cl, STR("::1:5,[::2]:6,127.0.0.1:0")), 0);
    assert_int_equal(conn_limits_set_overrides(cl, STR("127.0.0.1")), ERR_BAD_ARGUMENT);
    assert_int_equal(conn_limits_set_overrides(cl, STR("127.0.0.1:x")), ERR_BAD_ARGUMENT);
    assert_int_equal(conn_limits_set_overrides(cl, STR(":3")), ERR_BAD_ARGUMENT);
    conn_limits_free(cl);
}

static void above_the_maximum_newcomers_wait_until_one_has_gone(void **state)
{
    (void)state;
    struct door dr = {0};
    open_door(&dr, "127.0.0.1");
    conn_limits_set_max(dr.limits, 2);
    int fds[3];
    for (size_t i = 0; i < 3; i++) {
        fds[i] = come(listener_port(dr.ls), AF_INET);
    }
    world_turn(&dr.wd);
    assert_int_equal(dr.wd.opened, 2);
    assert_false(works(&dr, fds[2])); /* in the backlog */
    close(fds[0]);
    world_turn(&dr.wd);
    assert_int_equal(dr.wd.opened, 3);
    peer_expect_frame(fds[2], "A");
    conn_limits_set_max(dr.limits, 3);
    fds[0] = come(listener_port(dr.ls), AF_INET);
    world_turn(&dr.wd);
    assert_true(works(&dr, fds[0]));
    for (size_t i = 0; i < 3; i++) {
        close(fds[i]);
    }
    close_door(&dr);
}

static void a_listener_has_limits_of_its_own_and_may_be_exempt_from_the_common_ones(void **state)
{
    (void)state;
    struct door dr = {0};
    open_door(&dr, "127.0.0.1");
    struct listener_options options = {.host = "127.0.0.1", .limits = dr.limits, .tag = &dr};
    struct listener *other;
    assert_int_equal(listener_new(dr.wd.loop, &options, &other), 0);
    listener_start(other, dr.sets, 1);
    const struct conn_share_rules two = {2, INT32_MAX, 1, false};
    conn_share_set(listener_share(dr.ls), &two);
    int fds[5];
    for (size_t i = 0; i < 3; i++) {
        fds[i] = come(listener_port(dr.ls), AF_INET);
    }
    fds[3] = come(listener_port(other), AF_INET);
    world_turn(&dr.wd);
    assert_int_equal(dr.wd.opened, 3); /* the third of the first listener waits */
    assert_true(works(&dr, fds[3]));
    conn_limits_set_max(dr.limits, 3);
    const struct conn_share_rules many = {INT32_MAX, INT32_MAX, 1, false};
    conn_share_set(listener_share(dr.ls), &many);
    world_turn(&dr.wd);
    assert_int_equal(dr.wd.opened, 3); /* now for the sum of all */
    const struct conn_share_rules exempt = {INT32_MAX, INT32_MAX, 1, true};
    conn_share_set(listener_share(dr.ls), &exempt);
    world_turn(&dr.wd);
    assert_int_equal(dr.wd.opened, 4);
    fds[4] = come(listener_port(other), AF_INET);
    world_turn(&dr.wd);
    assert_int_equal(dr.wd.opened, 4); /* the exempt one counts for the others */
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        close(fds[i]);
    }
    listener_free(other);
    close_door(&dr);
}

static void above_a_lowered_maximum_the_least_active_are_closed(void **state)
{
    (void)state;
    struct door dr = {0};
    open_door(&dr, "127.0.0.1");
    int fds[4];
    for (size_t i = 0; i < 4; i++) {
        fds[i] = come(listener_port(dr.ls), AF_INET);
        world_turn(&dr.wd);
        simclock_advance(&dr.wd.sc, 1);
    }
    assert_true(works(&dr, fds[0])); /* now 1 and 2 were silent for the longest time */
    conn_limits_set_max(dr.limits, 4);
    world_turn(&dr.wd);
    assert_int_equal(dr.wd.closed, 0);
    conn_limits_set_max(dr.limits, 2);
    world_turn(&dr.wd);
    assert_int_equal(dr.wd.closed, 2);
    assert_int_equal(dr.wd.last_reason, CONN_END_EXCESS);
    assert_int_equal(world_metric(&dr.wd, "net_closed_excess"), 2);
    peer_expect_end(fds[1]);
    peer_expect_end(fds[2]);
    assert_true(works(&dr, fds[0]));
    assert_true(works(&dr, fds[3]));
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        close(fds[i]);
    }
    close_door(&dr);
}

static void one_more_at_an_exempt_listener_costs_another_one_its_connection(void **state)
{
    (void)state;
    struct door dr = {0};
    open_door(&dr, "127.0.0.1");
    struct listener_options options = {.host = "127.0.0.1", .limits = dr.limits, .tag = &dr};
    struct listener *brokers;
    assert_int_equal(listener_new(dr.wd.loop, &options, &brokers), 0);
    listener_start(brokers, dr.sets, 1);
    const struct conn_share_rules exempt = {INT32_MAX, INT32_MAX, 1, true};
    conn_share_set(listener_share(brokers), &exempt);
    conn_limits_set_max(dr.limits, 2);
    int fds[4];
    for (size_t i = 0; i < 3; i++) {
        fds[i] = come(listener_port(i == 1 ? dr.ls : brokers), AF_INET);
        world_turn(&dr.wd);
        simclock_advance(&dr.wd.sc, 1);
    }
    assert_int_equal(dr.wd.closed, 1);
    peer_expect_end(fds[1]); /* not the oldest */
    fds[3] = come(listener_port(brokers), AF_INET);
    world_turn(&dr.wd);
    assert_int_equal(dr.wd.closed, 1); /* those that are left are exempt */
    assert_true(works(&dr, fds[0]));
    conn_share_set(listener_share(brokers),
                   &(struct conn_share_rules){INT32_MAX, INT32_MAX, 1, false});
    world_turn(&dr.wd);
    assert_int_equal(dr.wd.closed, 2);
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        close(fds[i]);
    }
    listener_free(brokers);
    close_door(&dr);
}

static void a_listener_has_a_rate_of_its_own(void **state)
{
    (void)state;
    struct door dr = {0};
    open_door(&dr, "127.0.0.1");
    const struct conn_share_rules slow = {INT32_MAX, 5, 1, false};
    conn_share_set(listener_share(dr.ls), &slow);
    conn_limits_set_rate(dr.limits, 10);
    int fds[12];
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        fds[i] = come(listener_port(dr.ls), AF_INET);
    }
    world_turn(&dr.wd);
    assert_int_equal(dr.wd.opened, 5);
    conn_share_set(listener_share(dr.ls), &slow); /* the same again brings no credit */
    world_turn(&dr.wd);
    assert_int_equal(dr.wd.opened, 5);
    const struct conn_share_rules exempt = {INT32_MAX, INT32_MAX, 1, true};
    conn_share_set(listener_share(dr.ls), &exempt);
    simclock_advance(&dr.wd.sc, 201);
    world_turn(&dr.wd);
    assert_int_equal(dr.wd.opened, 12);
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        close(fds[i]);
    }
    close_door(&dr);
}

static void above_the_rate_accepting_pauses(void **state)
{
    (void)state;
    struct door dr = {0};
    open_door(&dr, "127.0.0.1");
    conn_limits_set_rate(dr.limits, 10);
    int fds[30];
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        fds[i] = come(listener_port(dr.ls), AF_INET);
    }
    world_turn(&dr.wd);
    assert_int_equal(dr.wd.opened, 10);
    for (int i = 0; i < 10; i++) {
        simclock_advance(&dr.wd.sc, 101);
        world_turn(&dr.wd);
    }
    assert_in_range(dr.wd.opened, 19, 20);
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        close(fds[i]);
    }
    close_door(&dr);
}

static void use_up_descriptors(struct door *dr)
{
    /* The client's own descriptors come first, then all that are left are used up. */
    int old = come(listener_port(dr->ls), AF_INET);
    world_turn(&dr->wd);
    assert_true(works(dr, old));
    int news[5];
    for (size_t i = 0; i < ARRAY_LEN(news); i++) {
        news[i] = come(listener_port(dr->ls), AF_INET);
        assert_true(news[i] >= 0);
    }
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = 64;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    int hogs[64];
    size_t count = 0;
    for (int fd = open("/dev/null", O_RDONLY); fd >= 0; fd = open("/dev/null", O_RDONLY)) {
        hogs[count++] = fd;
    }
    assert_int_equal(errno, EMFILE);
    world_turn(&dr->wd);
    assert_int_equal(world_metric(&dr->wd, "net_shed"), 5);
    assert_int_equal(dr->wd.lines, 1);
    assert_true(works(dr, old));
    for (size_t i = 0; i < ARRAY_LEN(news); i++) {
        peer_expect_end(news[i]);
    }
    /* Nothing spins: a turn that may wait would wait. */
    int64_t turns = world_metric(&dr->wd, "loop_turns");
    loop_turn(dr->wd.loop, false);
    assert_int_equal(world_metric(&dr->wd, "loop_turns"), turns + 1);
    assert_int_equal(world_metric(&dr->wd, "net_shed"), 5);
    for (size_t i = 0; i < count; i++) {
        close(hogs[i]);
    }
    int again = come(listener_port(dr->ls), AF_INET);
    world_turn(&dr->wd);
    assert_true(works(dr, again));
    close(again);
    close(old);
}

static void without_descriptors_newcomers_are_closed_and_the_old_go_on(void **state)
{
    (void)state;
    pid_t child = fork();
    if (child == 0) {
        struct door dr = {0};
        open_door(&dr, "127.0.0.1");
        use_up_descriptors(&dr);
        close_door(&dr);
        _exit(7);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 7);
}

struct cellar {
    int files[3]; /* with the lowest descriptors */
    size_t count;
    size_t asked;
};

static bool give_one(void *ctx)
{
    struct cellar *cr = ctx;
    cr->asked++;
    if (cr->count > 0) {
        close(cr->files[--cr->count]);
        return true;
    }
    return false;
}

/* Not until all are gone: those from descriptors_max on are left to others. */
static void the_last_descriptors_are_left_to_files_which_give_some_of_theirs(void **state)
{
    (void)state;
    enum {
        CLIENTS = 10
    };
    struct world wd;
    world_init(&wd, true);
    world_start(&wd);
    struct conn_set *sets[1] = {wd.set};
    struct cellar cr = {.count = 0};
    struct listener_options options = {
        .host = "127.0.0.1",
        .metrics = &wd.metrics,
        .make_room = give_one,
        .make_room_ctx = &cr,
    };
    while (cr.count < ARRAY_LEN(cr.files)) {
        cr.files[cr.count++] = open("/dev/null", O_RDONLY | O_CLOEXEC);
    }
    int fds[CLIENTS];
    for (size_t i = 0; i < CLIENTS; i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    }
    int first = open("/dev/null", O_RDONLY | O_CLOEXEC);
    close(first);
    options.descriptors_max = first + 3 + 2; /* three are the listener's, then two connections */
    struct listener *ls;
    assert_int_equal(listener_new(wd.loop, &options, &ls), 0);
    listener_start(ls, sets, 1);
    int next = open("/dev/null", O_RDONLY | O_CLOEXEC);
    close(next);
    size_t direct = (size_t)(options.descriptors_max - next);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(listener_port(ls))};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (size_t i = 0; i < CLIENTS; i++) {
        assert_int_equal(connect(fds[i], (struct sockaddr *)(void *)&to, sizeof(to)), 0);
        world_turn(&wd);
    }
    /* One with the number at the bound for each file that went; its number is free for the next. */
    size_t served = direct + 3 + 3;
    assert_int_equal(wd.opened, served);
    assert_int_equal(world_metric(&wd, "net_shed"), CLIENTS - served);
    assert_int_equal(wd.lines, 1);
    assert_non_null(strstr(wd.line, "out of file descriptors"));
    for (size_t i = 0; i < CLIENTS; i++) {
        if (i >= served) {
            peer_expect_end(fds[i]);
        } else {
            close(fds[i]);
        }
    }
    listener_free(ls);
    world_turn(&wd);
    world_release(&wd);
}

static void a_large_answer_reaches_a_slow_reader_over_tcp(void **state)
{
    (void)state;
    struct door dr = {0};
    open_door(&dr, "127.0.0.1");
    int fd = come(listener_port(dr.ls), AF_INET);
    peer_send_frame(fd, "P");
    world_turn(&dr.wd);
    enum {
        BYTES = 20 << 20
    };
    struct world_request *rq = dr.wd.parked[--dr.wd.parked_count];
    struct blob *b = blob_new(BYTES);
    for (size_t i = 0; i < BYTES; i++) {
        b->data[i] = (uint8_t)(i * 2654435761u >> 24);
    }
    struct rope rope;
    rope_init(&rope);
    rope_add_memory(&rope, b->data, BYTES, b);
    conn_answer(&rq->slot, &rope);
    uint8_t *got = mem_alloc(BYTES);
    size_t have = 0;
    for (int still = 0; have < BYTES && still < 10000; still++) {
        loop_turn(dr.wd.loop, false);
        ssize_t n = recv(fd, got + have, min_size(BYTES - have, 300000), MSG_DONTWAIT);
        if (n > 0) {
            have += (size_t)n;
            still = 0;
        }
    }
    assert_int_equal(have, BYTES);
    assert_memory_equal(got, b->data, BYTES);
    assert_false(blob_is_shared(b));
    blob_unref(b);
    mem_free(got);
    close(fd);
    close_door(&dr);
}

struct client {
    struct thread thread;
    uint16_t port;
    size_t bytes;
    int rounds;
};

/* One request after the other; each must come back as it was sent. */
static void run_client(void *ctx)
{
    struct client *cl = ctx;
    int fd = come(cl->port, AF_INET);
    check(fd >= 0);
    uint8_t *frame = mem_alloc(cl->bytes + 4);
    uint8_t *got = mem_alloc(cl->bytes + 4);
    store_be32(frame, (uint32_t)cl->bytes);
    for (int i = 0; i < cl->rounds; i++) {
        memset(frame + 4, i & 0xff, cl->bytes);
        frame[4] = 'A';
        size_t sent = 0;
        while (sent < cl->bytes + 4) {
            ssize_t n = send(fd, frame + sent, cl->bytes + 4 - sent, MSG_NOSIGNAL);
            check(n > 0);
            sent += (size_t)n;
        }
        check(recv(fd, got, cl->bytes + 4, MSG_WAITALL) == (ssize_t)cl->bytes + 4);
        check(memcmp(got, frame, cl->bytes + 4) == 0);
    }
    close(fd);
    mem_free(frame);
    mem_free(got);
}

static void run_loop(void *ctx)
{
    loop_run(ctx);
}

/* Two loops on two threads share a budget that is too small for all of their clients at once: who
 * waits on one loop is woken by what the other gives back. Small and large requests; all must be
 * answered. */
static void two_loops_share_memory_and_lose_no_wake_up(void **state)
{
    (void)state;
    enum {
        CLIENTS = 8
    };
    static const size_t sizes[CLIENTS] = {10, 100, 40000, 40000, 60000, 150000, 300000, 100000};
    struct mem_budget budget = {.max = 300000};
    struct conn_memory *cm = conn_memory_new(&budget, NULL);
    struct world worlds[2];
    struct conn_set *sets[2];
    struct thread threads[2];
    struct client clients[CLIENTS];
    for (size_t i = 0; i < 2; i++) {
        world_init(&worlds[i], false);
        worlds[i].options.memory = cm;
        world_start(&worlds[i]);
        sets[i] = worlds[i].set;
    }
    struct conn_limits *limits = conn_limits_new(&worlds[0].system, NULL);
    struct listener_options options = {.host = "127.0.0.1", .limits = limits};
    struct listener *ls;
    assert_int_equal(listener_new(worlds[0].loop, &options, &ls), 0);
    listener_start(ls, sets, 2);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(thread_start(&threads[i], "loop", run_loop, worlds[i].loop), 0);
    }
    for (size_t i = 0; i < CLIENTS; i++) {
        clients[i] = (struct client){.port = listener_port(ls), .bytes = sizes[i], .rounds = 150};
        assert_int_equal(thread_start(&clients[i].thread, "client", run_client, &clients[i]), 0);
    }
    for (size_t i = 0; i < CLIENTS; i++) {
        thread_join(&clients[i].thread);
    }
    for (size_t i = 0; i < 2; i++) {
        loop_stop(worlds[i].loop);
        thread_join(&threads[i]);
    }
    assert_int_equal(worlds[0].frames + worlds[1].frames, CLIENTS * 150);
    listener_free(ls);
    world_release(&worlds[0]);
    world_release(&worlds[1]);
    assert_int_equal(atomic_load(&budget.used), 0);
    conn_limits_free(limits);
    conn_memory_free(cm);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_families_are_served_and_peers_have_names),
        cmocka_unit_test(a_port_in_use_and_a_bad_host_are_told),
        cmocka_unit_test(connections_go_to_the_sets_in_turn_also_to_other_loops),
        cmocka_unit_test(too_many_of_one_address_are_closed_and_overrides_count),
        cmocka_unit_test(overrides_that_cannot_be_read_change_nothing),
        cmocka_unit_test(above_the_maximum_newcomers_wait_until_one_has_gone),
        cmocka_unit_test(above_a_lowered_maximum_the_least_active_are_closed),
        cmocka_unit_test(one_more_at_an_exempt_listener_costs_another_one_its_connection),
        cmocka_unit_test(a_listener_has_limits_of_its_own_and_may_be_exempt_from_the_common_ones),
        cmocka_unit_test(a_listener_has_a_rate_of_its_own),
        cmocka_unit_test(above_the_rate_accepting_pauses),
        cmocka_unit_test(without_descriptors_newcomers_are_closed_and_the_old_go_on),
        cmocka_unit_test(the_last_descriptors_are_left_to_files_which_give_some_of_theirs),
        cmocka_unit_test(two_loops_share_memory_and_lose_no_wake_up),
        cmocka_unit_test(a_large_answer_reaches_a_slow_reader_over_tcp),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
