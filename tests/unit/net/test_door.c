/*
 * A door: the test is the client on the same thread, with non-blocking sockets, and turns the loop
 * by hand on a clock of its own. The directory is a temporary one of a name that is longer than the
 * address of a Unix socket can be.
 */
#include "base/base.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "net/door.h"
#include "simclock.h"
#include "unit.h"

#define NAME "a.sock"

struct bench {
    struct simclock sc;
    struct loop *loop;
    struct door *door;
    char base[32];
    char directory[256];
    char path[300];
    struct door_call *parked;
    size_t lines;
    char last[128];
};

/* "park": answered by the test; "big": a megabyte; else the line itself in brackets. */
static void on_line(void *ctx, struct door_call *dc)
{
    struct bench *b = ctx;
    b->lines++;
    snprintf(b->last, sizeof(b->last), STR_FMT, STR_ARG(dc->line));
    if (str_is(dc->line, "park")) {
        b->parked = dc;
    } else if (str_is(dc->line, "big")) {
        door_answer(dc, str_of(arena_alloc(&dc->arena, 1 << 20), 1 << 20));
    } else {
        door_answer(dc, arena_printf(&dc->arena, "[" STR_FMT "]", STR_ARG(dc->line)));
    }
}

static int open_door(struct bench *b)
{
    struct door_options options = {
        .directory = b->directory,
        .name = NAME,
        .line_bytes_max = 100,
        .connections_max = 2,
        .time_limit_ms = 1000,
        .overlong_answer = STR("too long"),
        .on_line = on_line,
        .ctx = b,
    };
    return door_new(b->loop, &options, &b->door);
}

static void set_up(struct bench *b)
{
    *b = (struct bench){0};
    snprintf(b->base, sizeof(b->base), "/tmp/test-door-XXXXXX");
    assert_non_null(mkdtemp(b->base));
    snprintf(b->directory, sizeof(b->directory), "%s/%0150d", b->base, 0);
    snprintf(b->path, sizeof(b->path), "%s/" NAME, b->directory);
    assert_int_equal(mkdir(b->directory, 0755), 0);
    simclock_init(&b->sc, 1);
    struct loop_options options = {.clock = &b->sc.clock};
    assert_int_equal(loop_new(&options, &b->loop), 0);
    assert_int_equal(open_door(b), 0);
    door_start(b->door);
}

static void tear_down(struct bench *b)
{
    door_close(b->door);
    assert_int_equal(door_count(b->door), 0);
    door_free(b->door);
    loop_free(b->loop);
    IGNORE(unlink(b->path) < 0); /* gone already */
    assert_int_equal(rmdir(b->directory), 0);
    assert_int_equal(rmdir(b->base), 0);
}

static void turn(struct bench *b)
{
    for (int i = 0; i < 10; i++) {
        loop_turn(b->loop, false);
    }
}

static int dial(struct bench *b)
{
    int directory = open(b->directory, O_RDONLY | O_DIRECTORY);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/" NAME, directory);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    close(directory);
    return fd;
}

static void say(struct bench *b, int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
    turn(b);
}

static void expect(int fd, const char *text)
{
    char bytes[256] = "";
    ssize_t n = recv(fd, bytes, sizeof(bytes) - 1, 0);
    assert_int_equal(n, strlen(text));
    assert_string_equal(bytes, text);
}

static bool is_silent(int fd)
{
    char byte;
    return recv(fd, &byte, 1, 0) < 0 && errno == EAGAIN;
}

static bool is_closed(int fd)
{
    char byte;
    ssize_t n = recv(fd, &byte, 1, 0);
    return n == 0 || (n < 0 && errno == ECONNRESET);
}

static void only_the_owner_may_open_it(void **state)
{
    (void)state;
    struct bench b;
    mode_t before = umask(0);
    set_up(&b);
    umask(before);
    struct stat st;
    assert_int_equal(lstat(b.path, &st), 0);
    assert_true(S_ISSOCK(st.st_mode));
    assert_int_equal(st.st_mode & 07777, 0600);
    tear_down(&b);
}

static void each_line_gets_its_answer_in_order(void **state)
{
    (void)state;
    struct bench b;
    set_up(&b);
    int fd = dial(&b);
    say(&b, fd, "one\n");
    expect(fd, "[one]");
    say(&b, fd, "tw");
    assert_true(is_silent(fd));
    say(&b, fd, "o\nthree\n\nf");
    expect(fd, "[two][three][]");
    say(&b, fd, "our\n");
    expect(fd, "[four]");
    close(fd);
    turn(&b);
    assert_int_equal(door_count(b.door), 0);
    tear_down(&b);
}

static void a_line_waits_for_the_answer_before_it(void **state)
{
    (void)state;
    struct bench b;
    set_up(&b);
    int fd = dial(&b);
    say(&b, fd, "park\nnext\n");
    assert_int_equal(b.lines, 1);
    assert_true(is_silent(fd));
    simclock_advance(&b.sc, 3600000); /* whoever answers may take any time */
    turn(&b);
    door_answer_from(b.door, b.parked, STR("done"));
    turn(&b);
    expect(fd, "done[next]");
    close(fd);
    turn(&b);
    tear_down(&b);
}

static void a_peer_that_sends_no_more_gets_its_answer(void **state)
{
    (void)state;
    struct bench b;
    set_up(&b);
    int fd = dial(&b);
    say(&b, fd, "park\n");
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    turn(&b);
    door_answer(b.parked, STR("done"));
    turn(&b);
    expect(fd, "done");
    assert_true(is_closed(fd));
    assert_int_equal(door_count(b.door), 0);
    close(fd);
    tear_down(&b);
}

static void a_line_that_is_too_long_ends_the_connection(void **state)
{
    (void)state;
    struct bench b;
    set_up(&b);
    int fd = dial(&b);
    char line[300];
    memset(line, 'x', sizeof(line));
    line[100] = '\n';
    line[101] = '\0';
    say(&b, fd, line); /* exactly as long as it may be */
    char bytes[256];
    assert_int_equal(recv(fd, bytes, sizeof(bytes), 0), 102);
    memset(line, 'x', sizeof(line));
    line[101] = '\0';
    say(&b, fd, line);
    expect(fd, "too long");
    assert_true(is_closed(fd));
    assert_int_equal(b.lines, 1);
    close(fd);
    tear_down(&b);
}

static void who_says_nothing_or_takes_nothing_is_closed(void **state)
{
    (void)state;
    struct bench b;
    set_up(&b);
    int silent = dial(&b);
    int slow = dial(&b);
    say(&b, silent, "half");
    say(&b, slow, "big\n");
    assert_int_equal(door_count(b.door), 2);
    simclock_advance(&b.sc, 999);
    turn(&b);
    assert_int_equal(door_count(b.door), 2);
    simclock_advance(&b.sc, 2);
    turn(&b);
    assert_true(is_closed(silent));
    assert_int_equal(door_count(b.door), 0);
    close(silent);
    close(slow);
    tear_down(&b);
}

static void a_long_answer_arrives_whole(void **state)
{
    (void)state;
    struct bench b;
    set_up(&b);
    int fd = dial(&b);
    say(&b, fd, "big\n");
    size_t total = 0;
    static char bytes[65536];
    for (int i = 0; i < 1000 && total < 1 << 20; i++) {
        ssize_t n = recv(fd, bytes, sizeof(bytes), 0);
        total += n > 0 ? (size_t)n : 0;
        turn(&b);
    }
    assert_int_equal(total, 1 << 20);
    say(&b, fd, "x\n");
    expect(fd, "[x]");
    close(fd);
    turn(&b);
    tear_down(&b);
}

static void newcomers_wait_while_there_are_too_many(void **state)
{
    (void)state;
    struct bench b;
    set_up(&b);
    int first = dial(&b);
    int second = dial(&b);
    int third = dial(&b);
    turn(&b);
    assert_int_equal(door_count(b.door), 2);
    say(&b, third, "me\n");
    assert_true(is_silent(third));
    close(first);
    turn(&b);
    expect(third, "[me]");
    close(second);
    close(third);
    turn(&b);
    assert_int_equal(door_count(b.door), 0);
    tear_down(&b);
}

static void what_a_killed_process_left_is_replaced_and_nothing_else(void **state)
{
    (void)state;
    struct bench b;
    set_up(&b);
    struct door *first = b.door;
    assert_int_equal(open_door(&b), 0); /* the socket of the first one is the stale one here */
    door_start(b.door);
    int fd = dial(&b);
    say(&b, fd, "hello\n");
    expect(fd, "[hello]");
    close(fd);
    turn(&b);
    door_close(b.door);
    door_free(b.door);
    struct stat st;
    assert_int_equal(lstat(b.path, &st), -1);
    int file = open(b.path, O_CREAT | O_WRONLY, 0644);
    close(file);
    assert_int_equal(open_door(&b), -EEXIST);
    assert_int_equal(lstat(b.path, &st), 0);
    b.door = first;
    tear_down(&b);
}

static void a_call_outlives_its_connection(void **state)
{
    (void)state;
    struct bench b;
    set_up(&b);
    int fd = dial(&b);
    say(&b, fd, "park\n");
    door_close(b.door);
    assert_int_equal(door_count(b.door), 1);
    door_answer_from(b.door, b.parked, STR("nobody hears it"));
    turn(&b);
    assert_int_equal(door_count(b.door), 0);
    close(fd);
    tear_down(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_the_owner_may_open_it),
        cmocka_unit_test(each_line_gets_its_answer_in_order),
        cmocka_unit_test(a_line_waits_for_the_answer_before_it),
        cmocka_unit_test(a_peer_that_sends_no_more_gets_its_answer),
        cmocka_unit_test(a_line_that_is_too_long_ends_the_connection),
        cmocka_unit_test(who_says_nothing_or_takes_nothing_is_closed),
        cmocka_unit_test(a_long_answer_arrives_whole),
        cmocka_unit_test(newcomers_wait_while_there_are_too_many),
        cmocka_unit_test(what_a_killed_process_left_is_replaced_and_nothing_else),
        cmocka_unit_test(a_call_outlives_its_connection),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
