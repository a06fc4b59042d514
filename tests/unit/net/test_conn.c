/*
 * Connections, one thread, the loop turned by hand (net_peer.h): frames however they are cut, order
 * of answers, hold and close, bad lengths, bounds, idle and mute by a clock under test control,
 * answers from files by sendfile and through memory.
 */
#include "base/base.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "net_peer.h"
#include "simfs.h"
#include "unit.h"

static void frames_arrive_whole_however_they_are_cut(void **state)
{
    (void)state;
    struct world wd;
    world_init(&wd, true);
    world_start(&wd);
    uint8_t bytes[256];
    size_t len = peer_frame(bytes, "A first");
    len += peer_frame(bytes + len, "A");
    len += peer_frame(bytes + len, "A third one, somewhat longer");
    int fd = world_connect(&wd);
    for (size_t cut = 0; cut <= len; cut++) {
        peer_send(fd, bytes, cut);
        world_turn(&wd);
        peer_send(fd, bytes + cut, len - cut);
        world_turn(&wd);
        peer_expect_frame(fd, "A first");
        peer_expect_frame(fd, "A");
        peer_expect_frame(fd, "A third one, somewhat longer");
        peer_expect_nothing(fd);
    }
    for (size_t i = 0; i < len; i++) {
        peer_send(fd, bytes + i, 1); /* a drip */
        world_turn(&wd);
    }
    peer_expect_frame(fd, "A first");
    peer_expect_frame(fd, "A");
    peer_expect_frame(fd, "A third one, somewhat longer");
    assert_int_equal(world_metric(&wd, "net_frames"), wd.frames);
    assert_int_equal(wd.live_requests, 0);
    close(fd);
    world_turn(&wd);
    assert_int_equal(wd.last_reason, CONN_END_PEER);
    world_release(&wd);
}

static void answers_leave_in_the_order_of_requests(void **state)
{
    (void)state;
    struct world wd;
    world_init(&wd, true);
    world_start(&wd);
    int fd = world_connect(&wd);
    peer_send_frame(fd, "P0");
    peer_send_frame(fd, "P1");
    peer_send_frame(fd, "A2");
    peer_send_frame(fd, "N3");
    peer_send_frame(fd, "P4");
    world_turn(&wd);
    assert_int_equal(wd.frames, 5);
    struct world_request *zero = wd.parked[0];
    struct world_request *one = wd.parked[1];
    struct world_request *four = wd.parked[2];
    world_answer(four);
    world_answer(one);
    world_turn(&wd);
    peer_expect_nothing(fd);
    assert_int_equal(wd.live_requests, 5); /* none is let go before its turn */
    world_answer(zero);
    world_turn(&wd);
    peer_expect_frame(fd, "P0");
    peer_expect_frame(fd, "P1");
    peer_expect_frame(fd, "A2");
    peer_expect_frame(fd, "P4");
    peer_expect_nothing(fd);
    assert_int_equal(wd.live_requests, 0);
    close(fd);
    world_release(&wd);
}

static void a_held_frame_waits_for_all_earlier_answers(void **state)
{
    (void)state;
    struct world wd;
    world_init(&wd, true);
    world_start(&wd);
    int fd = world_connect(&wd);
    peer_send_frame(fd, "P0");
    peer_send_frame(fd, "P1");
    peer_send_frame(fd, "H2");
    peer_send_frame(fd, "A3");
    world_turn(&wd);
    peer_send_frame(fd, "A4");
    world_turn(&wd);
    assert_int_equal(wd.frames, 2);
    assert_int_equal(wd.holds, 1);
    struct world_request *zero = wd.parked[0];
    world_answer(wd.parked[1]);
    world_turn(&wd);
    assert_int_equal(wd.frames, 2);
    world_answer(zero);
    world_turn(&wd);
    const char *expected[] = {"P0", "P1", "H2", "A3", "A4"};
    for (size_t i = 0; i < ARRAY_LEN(expected); i++) {
        peer_expect_frame(fd, expected[i]);
    }
    close(fd);
    world_release(&wd);
}

static void close_comes_after_the_answers_of_earlier_requests(void **state)
{
    (void)state;
    struct world wd;
    world_init(&wd, true);
    world_start(&wd);
    int fd = world_connect(&wd);
    peer_send_frame(fd, "P0");
    peer_send_frame(fd, "C");
    peer_send_frame(fd, "A never seen");
    world_turn(&wd);
    peer_expect_nothing(fd);
    assert_int_equal(wd.closed, 0);
    world_answer(wd.parked[0]);
    world_turn(&wd);
    peer_expect_frame(fd, "P0");
    peer_expect_end(fd);
    assert_int_equal(wd.last_reason, CONN_END_LOCAL);
    assert_int_equal(wd.frames, 2);
    fd = world_connect(&wd);
    peer_send_frame(fd, "C");
    world_turn(&wd);
    peer_expect_end(fd);
    world_release(&wd);
}

static void a_failed_request_ends_the_connection_when_its_turn_comes(void **state)
{
    (void)state;
    struct world wd;
    world_init(&wd, true);
    world_start(&wd);
    int fd = world_connect(&wd);
    peer_send_frame(fd, "P0");
    peer_send_frame(fd, "P1");
    peer_send_frame(fd, "A2");
    world_turn(&wd);
    struct world_request *zero = wd.parked[0];
    struct world_request *one = wd.parked[1];
    wd.parked_count = 0;
    conn_fail(&one->slot);
    world_turn(&wd);
    assert_int_equal(wd.closed, 0);
    world_answer(zero);
    world_turn(&wd);
    peer_expect_frame(fd, "P0");
    peer_expect_end(fd);
    assert_int_equal(wd.live_requests, 0);
    world_release(&wd);
}

static void requests_of_a_dead_connection_are_abandoned_and_still_answered(void **state)
{
    (void)state;
    struct world wd;
    world_init(&wd, true);
    world_start(&wd);
    int fd = world_connect(&wd);
    peer_send_frame(fd, "P0");
    peer_send_frame(fd, "P1");
    peer_send_frame(fd, "A2");
    world_turn(&wd);
    conn_close(wd.last_conn);
    conn_close(wd.last_conn);
    world_turn(&wd);
    assert_int_equal(wd.closed, 1);
    assert_int_equal(wd.abandoned, 2); /* A2 was answered: it is only let go */
    assert_int_equal(wd.live_requests, 2);
    assert_true(wd.parked[0]->slot.is_abandoned);
    world_answer(wd.parked[0]);
    world_answer(wd.parked[0]);
    world_turn(&wd);
    assert_int_equal(wd.live_requests, 0);
    assert_int_equal(conn_set_count(wd.set), 0);
    peer_expect_end(fd);
    world_release(&wd);
}

static void lengths_that_are_not_allowed_close_at_once_with_one_line(void **state)
{
    (void)state;
    static const uint32_t bad[] = {0, UINT32_MAX, 0x80000000u, (1 << 20) + 1, INT32_MAX};
    struct world wd;
    world_init(&wd, true);
    world_start(&wd);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        int fd = world_connect(&wd);
        uint8_t bytes[4];
        store_be32(bytes, bad[i]);
        peer_send(fd, bytes, 4);
        world_turn(&wd);
        peer_expect_end(fd);
        assert_int_equal(wd.last_reason, CONN_END_BAD_FRAME);
    }
    assert_int_equal(wd.lines, 1);
    assert_non_null(strstr(wd.line, "length=0"));
    assert_non_null(strstr(wd.line, "peer=unknown"));
    simclock_advance(&wd.sc, 1000);
    int fd = world_connect(&wd);
    peer_send_frame(fd, "A0"); /* what came before is answered */
    peer_send(fd, "\xff\xff\xff\xff", 4);
    world_turn(&wd);
    assert_int_equal(wd.lines, 2);
    assert_non_null(strstr(wd.line, " (4 lines like this left out)"));
    assert_int_equal(wd.frames, 1);
    peer_expect_frame(fd, "A0");
    peer_expect_end(fd);
    assert_int_equal(world_metric(&wd, "net_closed_bad_frame"), 6);
    world_release(&wd);
}

/* Also of AF_UNIX: a close with unread bytes is ECONNRESET at the other end. */
static void who_sends_more_behind_a_bad_length_meets_an_end(void **state)
{
    (void)state;
    static uint8_t bytes[180000];
    struct world wd;
    world_init(&wd, true);
    world_start(&wd);
    int fd = world_connect(&wd);
    memset(bytes, 0xff, sizeof(bytes));
    peer_send(fd, bytes, sizeof(bytes));
    world_turn(&wd);
    assert_int_equal(recv(fd, bytes, 1, MSG_DONTWAIT), 0);
    close(fd);
    assert_int_equal(wd.last_reason, CONN_END_BAD_FRAME);
    world_release(&wd);
}

static void the_largest_frame_is_taken(void **state)
{
    (void)state;
    struct world wd;
    world_init(&wd, true);
    world_start(&wd);
    int fd = world_connect(&wd);
    size_t len = (1 << 20) + 4;
    uint8_t *bytes = mem_alloc(len);
    memset(bytes, 'A', len);
    store_be32(bytes, 1 << 20);
    for (int round = 0; round < 2; round++) {
        size_t sent = 0;
        size_t got = 0;
        uint8_t *back = mem_alloc(len);
        while (got < len) {
            ssize_t n = send(fd, bytes + sent, len - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
            sent += n > 0 ? (size_t)n : 0;
            loop_turn(wd.loop, false);
            n = recv(fd, back + got, len - got, MSG_DONTWAIT);
            got += n > 0 ? (size_t)n : 0;
        }
        assert_memory_equal(back, bytes, len);
        mem_free(back);
    }
    mem_free(bytes);
    close(fd);
    world_release(&wd);
}

static void started_requests_are_bounded(void **state)
{
    (void)state;
    struct world wd;
    world_init(&wd, true);
    wd.options.started_max = 3;
    world_start(&wd);
    int fd = world_connect(&wd);
    for (int i = 0; i < 10; i++) {
        peer_send_frame(fd, "P");
    }
    world_turn(&wd);
    assert_int_equal(wd.frames, 3);
    world_answer(wd.parked[0]);
    world_turn(&wd);
    assert_int_equal(wd.frames, 4);
    while (wd.frames < 10) {
        world_answer(wd.parked[0]);
        world_turn(&wd);
    }
    close(fd);
    world_release(&wd);
}

static void a_turn_takes_a_bounded_part_of_one_connection(void **state)
{
    (void)state;
    struct world wd;
    world_init(&wd, true);
    wd.options.started_max = 1000;
    world_start(&wd);
    int one = world_connect(&wd);
    int other = world_connect(&wd);
    for (int i = 0; i < 200; i++) {
        peer_send_frame(one, "N");
    }
    peer_send_frame(other, "A");
    loop_turn(wd.loop, false);
    assert_int_equal(wd.frames, 64 + 1);
    peer_expect_frame(other, "A");
    loop_turn(wd.loop, true); /* does not wait: there is more */
    assert_int_equal(wd.frames, 128 + 1);
    world_turn(&wd);
    assert_int_equal(wd.frames, 201);
    close(one);
    close(other);
    world_release(&wd);
}

static void a_peer_that_does_not_read_is_not_read(void **state)
{
    (void)state;
    struct world wd;
    world_init(&wd, true);
    wd.options.idle_ms = 5000;
    world_start(&wd);
    int fd = world_connect(&wd);
    char text[2001];
    memset(text, 'A', 2000);
    text[2000] = '\0';
    uint8_t frame[2100];
    size_t len = peer_frame(frame, text);
    size_t sent = 0;
    for (int still = 0; still < 50; still++) {
        ssize_t n = send(fd, frame + sent % len, len - sent % len, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n > 0) {
            sent += (size_t)n;
            still = 0;
        }
        loop_turn(wd.loop, false);
    }
    /* Bounded: what sockets hold, and the bound of unsent bytes. */
    assert_true(sent < 8 << 20);
    size_t frames = wd.frames;
    uint8_t *bytes = mem_alloc(len);
    size_t got = 0;
    while (got < sent - sent % len) {
        ssize_t n = recv(fd, bytes + got % len, len - got % len, MSG_DONTWAIT);
        if (n > 0) {
            got += (size_t)n;
            assert_true(got % len != 0 || memcmp(bytes, frame, len) == 0);
        } else {
            loop_turn(wd.loop, false);
        }
    }
    assert_true(wd.frames > frames);
    /* Again, and then it never reads: the idle limit ends it. */
    for (int still = 0; still < 50; still++) {
        ssize_t n = send(fd, frame + sent % len, len - sent % len, MSG_DONTWAIT | MSG_NOSIGNAL);
        sent += n > 0 ? (size_t)n : 0;
        still = n > 0 ? 0 : still;
        loop_turn(wd.loop, false);
    }
    simclock_advance(&wd.sc, 5002);
    world_turn(&wd);
    assert_int_equal(wd.closed, 1);
    assert_int_equal(wd.last_reason, CONN_END_IDLE);
    mem_free(bytes);
    close(fd);
    world_release(&wd);
}

static void idle_connections_end_and_busy_ones_stay(void **state)
{
    (void)state;
    struct world wd;
    world_init(&wd, true);
    wd.options.idle_ms = 1000;
    world_start(&wd);
    int idle = world_connect(&wd);
    int busy = world_connect(&wd);
    int parked = world_connect(&wd);
    world_turn(&wd);
    peer_send_frame(parked, "P");
    world_turn(&wd);
    simclock_advance(&wd.sc, 600);
    peer_send_frame(busy, "A");
    world_turn(&wd);
    simclock_advance(&wd.sc, 600);
    world_turn(&wd);
    peer_expect_end(idle);
    assert_int_equal(wd.closed, 1);
    assert_int_equal(world_metric(&wd, "net_closed_idle"), 1);
    peer_expect_frame(busy, "A");
    simclock_advance(&wd.sc, 600);
    world_turn(&wd);
    peer_expect_end(busy);
    assert_int_equal(wd.closed, 2); /* the parked one waits for us */
    world_answer(wd.parked[0]);
    world_turn(&wd);
    peer_expect_frame(parked, "P");
    simclock_advance(&wd.sc, 1100);
    world_turn(&wd);
    peer_expect_end(parked);
    world_release(&wd);
}

static void a_muted_connection_is_read_after_its_deadline(void **state)
{
    (void)state;
    struct world wd;
    world_init(&wd, true);
    world_start(&wd);
    int fd = world_connect(&wd);
    peer_send_frame(fd, "A0");
    world_turn(&wd);
    conn_mute_until(wd.last_conn, loop_now_ms(wd.loop) + 100);
    conn_mute_until(wd.last_conn, loop_now_ms(wd.loop) + 50);
    peer_send_frame(fd, "A1");
    simclock_advance(&wd.sc, 99);
    world_turn(&wd);
    peer_expect_frame(fd, "A0");
    peer_expect_nothing(fd);
    simclock_advance(&wd.sc, 1);
    world_turn(&wd);
    peer_expect_frame(fd, "A1");
    close(fd);
    world_release(&wd);
}

static void a_peer_that_ends_its_side_gets_its_answers(void **state)
{
    (void)state;
    struct world wd;
    world_init(&wd, true);
    world_start(&wd);
    int fd = world_connect(&wd);
    peer_send_frame(fd, "P0");
    peer_send_frame(fd, "H1");
    shutdown(fd, SHUT_WR);
    world_turn(&wd);
    assert_int_equal(wd.closed, 0);
    world_answer(wd.parked[0]);
    world_turn(&wd);
    peer_expect_frame(fd, "P0");
    peer_expect_frame(fd, "H1");
    peer_expect_end(fd);
    /* But not for ever. */
    fd = world_connect(&wd);
    peer_send_frame(fd, "P0");
    shutdown(fd, SHUT_WR);
    world_turn(&wd);
    simclock_advance(&wd.sc, 1000);
    world_turn(&wd);
    assert_int_equal(wd.abandoned, 1);
    peer_expect_end(fd);
    world_release(&wd);
}

struct stored {
    struct fs fs;
    struct fs_file *file;
    char path[64];
    uint8_t *bytes;
    size_t len;
};

static void store(struct stored *st, struct fs *fs, const char *path)
{
    st->len = 3 << 20;
    st->bytes = mem_alloc(st->len);
    uint64_t random = 4;
    for (size_t i = 0; i < st->len; i++) {
        st->bytes[i] = (uint8_t)sim_random(&random);
    }
    assert_int_equal(fs_open(fs, path, FS_WRITE | FS_CREATE, &st->file), 0);
    assert_int_equal(fs_pwrite(st->file, st->bytes, st->len, 0), 0);
}

/* Answers a parked request with head, a part of the file, and a tail; reads slowly. */
static void expect_file_answer(struct world *wd, int fd, struct stored *st)
{
    peer_send_frame(fd, "P");
    world_turn(wd);
    struct world_request *rq = wd->parked[--wd->parked_count];
    struct rope rope;
    rope_init(&rope);
    rope_add_memory(&rope, "head", 4, NULL);
    rope_add_file(&rope, st->file, 1000, st->len - 1000);
    rope_add_memory(&rope, "tail", 4, NULL);
    size_t len = rope.bytes;
    conn_answer(&rq->slot, &rope);
    uint8_t *got = mem_alloc(len);
    size_t have = 0;
    for (int still = 0; have < len && still < 1000; still++) {
        loop_turn(wd->loop, false);
        ssize_t n = recv(fd, got + have, min_size(len - have, 100000), MSG_DONTWAIT);
        if (n > 0) {
            have += (size_t)n;
            still = 0;
        }
    }
    assert_int_equal(have, len);
    assert_memory_equal(got, "head", 4);
    assert_memory_equal(got + 4, st->bytes + 1000, st->len - 1000);
    assert_memory_equal(got + len - 4, "tail", 4);
    mem_free(got);
}

static void answers_come_from_files_by_sendfile_and_through_memory(void **state)
{
    (void)state;
    struct world wd;
    world_init(&wd, true);
    world_start(&wd);
    struct stored st = {.path = "/tmp/jackdaw-test-conn-XXXXXX"};
    int made = mkstemp(st.path);
    assert_true(made >= 0);
    close(made);
    fs_init_system(&st.fs);
    store(&st, &st.fs, st.path);
    struct simfs *disk = simfs_new(NULL);
    struct stored simulated = {0};
    store(&simulated, simfs_fs(disk), "f");
    int fd = world_connect(&wd);
    expect_file_answer(&wd, fd, &st);
    expect_file_answer(&wd, fd, &simulated);
    /* A file that is shorter than what was promised cannot be answered: the connection ends. */
    assert_int_equal(fs_truncate(st.file, 1000), 0);
    peer_send_frame(fd, "P");
    world_turn(&wd);
    struct world_request *rq = wd.parked[--wd.parked_count];
    struct rope rope;
    rope_init(&rope);
    rope_add_file(&rope, st.file, 0, 2000);
    conn_answer(&rq->slot, &rope);
    world_turn(&wd);
    assert_int_equal(wd.last_reason, CONN_END_FAILURE);
    assert_non_null(strstr(wd.line, st.path));
    assert_non_null(strstr(wd.line, " position=0 cause=\"the file has become shorter\""));
    close(fd);
    fs_file_unref(st.file);
    fs_file_unref(simulated.file);
    simfs_free(disk);
    unlink(st.path);
    mem_free(st.bytes);
    mem_free(simulated.bytes);
    world_release(&wd);
}

static void after_a_large_frame_the_next_one_has_its_blob_at_once(void **state)
{
    (void)state;
    struct world wd;
    world_init(&wd, true);
    world_start(&wd);
    int fd = world_connect(&wd);
    size_t len = 150000;
    uint8_t *bytes = mem_alloc(len + 4);
    memset(bytes, 'N', len + 4);
    store_be32(bytes, (uint32_t)len);
    for (int i = 0; i < 3; i++) {
        size_t sent = 0;
        while (sent < len + 4) {
            ssize_t n = send(fd, bytes + sent, len + 4 - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
            sent += n > 0 ? (size_t)n : 0;
            world_turn(&wd);
        }
        assert_int_equal(wd.frames, i + 1);
        assert_int_equal(wd.last_frame_cap, 1 << 18);
    }
    peer_send_frame(fd, "A small one again");
    world_turn(&wd);
    peer_expect_frame(fd, "A small one again");
    mem_free(bytes);
    close(fd);
    world_release(&wd);
}

static void random_traffic_is_answered_in_order(void **state)
{
    (void)state;
    enum {
        ROUNDS = 4000,
        PEERS = 4
    };
    struct world wd;
    world_init(&wd, true);
    world_start(&wd);
    uint64_t random = 77;
    int fds[PEERS];
    uint32_t asked[PEERS] = {0};
    uint32_t seen[PEERS] = {0};
    char text[3000];
    uint8_t frame[3004];
    for (size_t p = 0; p < PEERS; p++) {
        fds[p] = world_connect(&wd);
    }
    for (int i = 0; i < ROUNDS; i++) {
        size_t p = sim_random(&random) % PEERS;
        static const char kinds[] = "AAAPPH";
        if (asked[p] - seen[p] < 40) {
            int n =
                snprintf(text, sizeof(text), "%c%u ", kinds[sim_random(&random) % 6], asked[p]++);
            size_t more = sim_random(&random) % 10 == 0 ? sim_random(&random) % 2900 : 0;
            memset(text + n, '.', more);
            text[(size_t)n + more] = '\0';
            size_t len = peer_frame(frame, text);
            size_t cut = sim_random(&random) % len;
            peer_send(fds[p], frame, cut);
            if (sim_random(&random) % 2 == 0) {
                loop_turn(wd.loop, false);
            }
            peer_send(fds[p], frame + cut, len - cut);
        }
        if (sim_random(&random) % 3 == 0) {
            loop_turn(wd.loop, false);
        }
        if (wd.parked_count > 0 && sim_random(&random) % 2 == 0) {
            world_answer(wd.parked[sim_random(&random) % wd.parked_count]);
        }
        p = sim_random(&random) % PEERS;
        while (peer_has_bytes(fds[p])) {
            uint8_t head[4];
            assert_int_equal(recv(fds[p], head, 4, MSG_WAITALL), 4);
            size_t len = load_be32(head);
            assert_int_equal(recv(fds[p], text, len, MSG_WAITALL), len);
            assert_int_equal(strtoul(text + 1, NULL, 10), seen[p]++);
        }
    }
    for (size_t p = 0; p < PEERS; p++) {
        close(fds[p]);
    }
    world_release(&wd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_arrive_whole_however_they_are_cut),
        cmocka_unit_test(answers_leave_in_the_order_of_requests),
        cmocka_unit_test(a_held_frame_waits_for_all_earlier_answers),
        cmocka_unit_test(close_comes_after_the_answers_of_earlier_requests),
        cmocka_unit_test(a_failed_request_ends_the_connection_when_its_turn_comes),
        cmocka_unit_test(requests_of_a_dead_connection_are_abandoned_and_still_answered),
        cmocka_unit_test(lengths_that_are_not_allowed_close_at_once_with_one_line),
        cmocka_unit_test(who_sends_more_behind_a_bad_length_meets_an_end),
        cmocka_unit_test(the_largest_frame_is_taken),
        cmocka_unit_test(started_requests_are_bounded),
        cmocka_unit_test(a_turn_takes_a_bounded_part_of_one_connection),
        cmocka_unit_test(a_peer_that_does_not_read_is_not_read),
        cmocka_unit_test(idle_connections_end_and_busy_ones_stay),
        cmocka_unit_test(a_muted_connection_is_read_after_its_deadline),
        cmocka_unit_test(a_peer_that_ends_its_side_gets_its_answers),
        cmocka_unit_test(answers_come_from_files_by_sendfile_and_through_memory),
        cmocka_unit_test(after_a_large_frame_the_next_one_has_its_blob_at_once),
        cmocka_unit_test(random_traffic_is_answered_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
