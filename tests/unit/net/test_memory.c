/*
 * Request memory, one thread, the loop turned by hand (net_peer.h): it grows with the bytes that
 * have come; a budget makes who is beyond it wait, in the order of coming, and ends only those that
 * hold it and do not go on; a lone request of any size passes; small requests keep their part.
 * After each turn the budget is looked at.
 */
#include "base/base.h"

#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "net_peer.h"
#include "unit.h"

static void memory_grows_with_what_has_come_not_with_what_was_promised(void **state)
{
    (void)state;
    struct world wd;
    struct mem_budget budget = {.max = 0};
    world_init(&wd, true);
    wd.options.request_bytes_max = 100 << 20;
    wd.options.memory = conn_memory_new(&budget, NULL);
    world_start(&wd);
    enum {
        LIARS = 50
    };
    int fds[LIARS];
    uint8_t head[4];
    store_be32(head, 100 << 20);
    for (size_t i = 0; i < LIARS; i++) {
        fds[i] = world_connect(&wd);
        peer_send(fds[i], head, 4);
    }
    world_turn(&wd);
    assert_in_range(atomic_load(&budget.used), 0, LIARS * 512 + 65536);
    /* 200,000 bytes of one: at most twice that. */
    uint8_t *bytes = mem_zalloc(1000);
    for (int i = 0; i < 200; i++) {
        peer_send(fds[0], bytes, 1000);
        loop_turn(wd.loop, false);
        assert_in_range(atomic_load(&budget.used), 0, 2 * 1000 * (i + 1) + LIARS * 512 + 2 * 65536);
    }
    mem_free(bytes);
    for (size_t i = 0; i < LIARS; i++) {
        close(fds[i]);
    }
    world_turn(&wd);
    assert_int_equal(atomic_load(&budget.used), 0);
    struct conn_memory *cm = wd.options.memory;
    world_release(&wd);
    conn_memory_free(cm);
}

static void an_idle_connection_holds_no_memory(void **state)
{
    (void)state;
    struct world wd;
    struct mem_budget budget = {.max = 0};
    world_init(&wd, true);
    wd.options.memory = conn_memory_new(&budget, NULL);
    world_start(&wd);
    int fd = world_connect(&wd);
    for (int i = 0; i < 10; i++) {
        peer_send_frame(fd, "A");
        world_turn(&wd);
        peer_expect_frame(fd, "A");
        assert_int_equal(atomic_load(&budget.used), 0);
    }
    peer_send(fd, "\0\0", 2); /* the beginning of a length costs the smallest piece */
    world_turn(&wd);
    assert_int_equal(atomic_load(&budget.used), 512);
    close(fd);
    struct conn_memory *cm = wd.options.memory;
    world_release(&wd);
    conn_memory_free(cm);
}

static void without_memory_reading_stops_and_goes_on_when_some_is_given_back(void **state)
{
    (void)state;
    struct world wd;
    struct mem_budget budget = {.max = 3 * 65536};
    struct mem_budget queued = {.max = 10 * 65536};
    world_init(&wd, true);
    wd.options.memory = conn_memory_new(&budget, &queued);
    world_start(&wd);
    /* Each parked request of this size keeps a shared blob to itself. */
    enum {
        BYTES = 60000,
        PEERS = 6
    };
    int fds[PEERS];
    uint8_t *bytes = mem_alloc(BYTES + 4);
    memset(bytes, 'P', BYTES + 4);
    store_be32(bytes, BYTES);
    for (size_t i = 0; i < PEERS; i++) {
        fds[i] = world_connect(&wd);
        peer_send(fds[i], bytes, BYTES + 4);
        world_turn(&wd);
    }
    size_t before = wd.frames;
    assert_true(before >= 2 && before < PEERS);
    assert_true(atomic_load(&budget.used) <= budget.max);
    while (wd.frames < PEERS) {
        size_t now = wd.frames;
        assert_true(wd.parked_count > 0);
        world_answer(wd.parked[0]);
        world_turn(&wd);
        assert_true(wd.frames > now); /* each return lets somebody go on */
        assert_true(atomic_load(&budget.used) <= budget.max);
    }
    while (wd.parked_count > 0) {
        world_answer(wd.parked[0]);
    }
    world_turn(&wd);
    for (size_t i = 0; i < PEERS; i++) {
        assert_int_equal(recv(fds[i], bytes, BYTES + 4, MSG_DONTWAIT), BYTES + 4);
        close(fds[i]);
    }
    mem_free(bytes);
    struct conn_memory *cm = wd.options.memory;
    world_release(&wd);
    assert_int_equal(atomic_load(&budget.used), 0);
    assert_int_equal(atomic_load(&queued.used), 0);
    conn_memory_free(cm);
}

/* One client of a large request: sends it bit by bit, as much as the socket takes. */
struct sender {
    int fd;
    uint8_t *frame;
    size_t len; /* with the length in front */
    size_t sent;
    size_t got; /* of the answer */
};

static void sender_init(struct sender *sd, struct world *wd, char kind, size_t len)
{
    *sd = (struct sender){.fd = world_connect(wd), .len = len};
    sd->frame = mem_alloc(len);
    memset(sd->frame, kind, len);
    store_be32(sd->frame, (uint32_t)(len - 4));
}

static void sender_send(struct sender *sd, size_t most)
{
    size_t len = min_size(sd->len - sd->sent, most);
    ssize_t n = send(sd->fd, sd->frame + sd->sent, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    sd->sent += n > 0 ? (size_t)n : 0;
}

static void sender_take_answer(struct sender *sd)
{
    uint8_t bytes[4096];
    ssize_t n;
    while ((n = recv(sd->fd, bytes, sizeof(bytes), MSG_DONTWAIT)) > 0) {
        check(sd->got + (size_t)n <= sd->len);
        assert_memory_equal(bytes, sd->frame + sd->got, (size_t)n);
        sd->got += (size_t)n;
    }
}

static void sender_release(struct sender *sd)
{
    close(sd->fd);
    mem_free(sd->frame);
}

static void release(struct world *wd, struct mem_budget *budget)
{
    struct conn_memory *cm = wd->options.memory;
    world_release(wd);
    assert_int_equal(atomic_load(&budget->used), 0);
    conn_memory_free(cm);
}

static void a_lone_request_of_any_size_passes_whatever_the_budget(void **state)
{
    (void)state;
    static const size_t sizes[] = {65536, 65541, 131072, 530000, 900000, 999000, 1 << 20, 3 << 20};
    static const int64_t budgets[] = {1, 65536, 300000, 1000000, 1 << 20, 4 << 20};
    for (size_t i = 0; i < ARRAY_LEN(budgets) * ARRAY_LEN(sizes); i++) {
        struct world wd;
        struct mem_budget budget = {.max = budgets[i / ARRAY_LEN(sizes)]};
        size_t len = sizes[i % ARRAY_LEN(sizes)];
        world_init(&wd, true);
        wd.options.request_bytes_max = 4 << 20;
        wd.options.memory = conn_memory_new(NULL, &budget);
        world_start(&wd);
        struct sender sd;
        sender_init(&sd, &wd, 'A', len);
        for (int round = 0; round < 2; round++) { /* the second time it is trusted */
            sd.sent = 0;
            sd.got = 0;
            for (int turns = 0; sd.got < len; turns++) {
                assert_true(turns < 2000);
                sender_send(&sd, 50000);
                simclock_advance(&wd.sc, 50);
                loop_turn(wd.loop, false);
                sender_take_answer(&sd);
            }
        }
        assert_int_equal(wd.closed, 0);
        sender_release(&sd);
        release(&wd, &budget);
    }
}

static void requests_beyond_the_budget_wait_and_none_is_closed(void **state)
{
    (void)state;
    enum {
        SENDERS = 40,
        BYTES = 600000,
    };
    struct world wd;
    struct mem_budget budget = {.max = 5 << 20};
    world_init(&wd, true);
    wd.options.idle_ms = 5000;
    wd.options.memory = conn_memory_new(&budget, NULL);
    world_start(&wd);
    struct sender sd[SENDERS];
    for (size_t i = 0; i < SENDERS; i++) {
        sender_init(&sd[i], &wd, 'P', BYTES);
    }
    size_t whole = 0;
    for (int round = 0; round < 5; round++) {
        for (size_t i = 0; i < SENDERS; i++) {
            sender_send(&sd[i], SIZE_MAX);
            loop_turn(wd.loop, false);
            assert_true(atomic_load(&budget.used) <= budget.max);
        }
    }
    /* Several at once: three of a mebibyte each leave room for nothing but a quarter. */
    assert_in_range(wd.parked_count, 3, 4);
    assert_in_range(atomic_load(&budget.used), 3 << 20, 5 << 20);
    /* Long after each limit of time. */
    for (int i = 0; i < 40; i++) {
        simclock_advance(&wd.sc, 1000);
        world_turn(&wd);
    }
    assert_int_equal(wd.closed, 0);
    for (int turns = 0; whole < SENDERS; turns++) {
        assert_true(turns < 5000);
        if (wd.parked_count > 0) {
            world_answer(wd.parked[0]);
        }
        whole = 0;
        for (size_t i = 0; i < SENDERS; i++) {
            sender_send(&sd[i], SIZE_MAX);
            sender_take_answer(&sd[i]);
            whole += sd[i].got == BYTES;
        }
        world_turn(&wd);
        assert_true(atomic_load(&budget.used) <= budget.max);
    }
    assert_int_equal(wd.closed, 0);
    assert_int_equal(wd.lines, 0);
    for (size_t i = 0; i < SENDERS; i++) {
        sender_release(&sd[i]);
    }
    release(&wd, &budget);
}

static void passes_are_given_in_the_order_of_coming(void **state)
{
    (void)state;
    enum {
        SENDERS = 6
    };
    /* The large one is not overtaken by smaller ones that came later and would fit. */
    static const size_t sizes[SENDERS] = {200000, 200000, 900000, 100000, 100000, 100000};
    struct world wd;
    struct mem_budget budget = {.max = 1 << 20};
    world_init(&wd, true);
    wd.options.memory = conn_memory_new(&budget, NULL);
    world_start(&wd);
    struct sender sd[SENDERS];
    for (size_t i = 0; i < SENDERS; i++) {
        sender_init(&sd[i], &wd, 'P', sizes[i]);
        for (int k = 0; k < 20; k++) {
            sender_send(&sd[i], SIZE_MAX);
            world_turn(&wd);
        }
    }
    assert_int_equal(wd.parked_count, 2);
    for (size_t next = 0; next < SENDERS;) {
        assert_true(wd.parked_count > 0);
        size_t first = SIZE_MAX;
        for (size_t i = 0; i < wd.parked_count; i++) {
            first = min_size(first, wd.parked[i]->len + 4 == sizes[next] ? i : SIZE_MAX);
        }
        assert_int_not_equal(first, SIZE_MAX);
        world_answer(wd.parked[first]);
        next++;
        for (int k = 0; k < 20; k++) {
            for (size_t i = 0; i < SENDERS; i++) {
                sender_send(&sd[i], SIZE_MAX);
                sender_take_answer(&sd[i]);
            }
            world_turn(&wd);
        }
    }
    assert_int_equal(wd.closed, 0);
    for (size_t i = 0; i < SENDERS; i++) {
        assert_int_equal(sd[i].got, sizes[i]);
        sender_release(&sd[i]);
    }
    release(&wd, &budget);
}

static void who_holds_a_pass_and_hardly_goes_on_ends_when_others_wait(void **state)
{
    (void)state;
    enum {
        LIARS = 20,
        BYTES = 100 << 20,
    };
    struct world wd;
    struct mem_budget budget = {.max = 4 << 20};
    world_init(&wd, true);
    wd.options.request_bytes_max = BYTES;
    wd.options.memory = conn_memory_new(&budget, NULL);
    world_start(&wd);
    int liars[LIARS];
    uint8_t *bytes = mem_zalloc(100000);
    store_be32(bytes, BYTES);
    for (size_t i = 0; i < LIARS; i++) {
        liars[i] = world_connect(&wd);
        IGNORE(send(liars[i], bytes, 100000, MSG_DONTWAIT) < 0); /* as much as fits */
        world_turn(&wd);
    }
    /* One has its pass; memory is what has come. */
    assert_in_range(atomic_load(&budget.used), 65536, LIARS * 65536 + 2 * 100000 + 65536);
    struct sender good;
    sender_init(&good, &wd, 'A', 500000);
    int small = world_connect(&wd);
    for (int ms = 0; good.got < good.len; ms += 250) {
        assert_true(ms < 4000);
        for (size_t i = 0; i < LIARS; i++) {
            IGNORE(send(liars[i], bytes, 1000, MSG_DONTWAIT | MSG_NOSIGNAL) < 0); /* they drip */
        }
        sender_send(&good, SIZE_MAX);
        world_turn(&wd);
        sender_take_answer(&good);
        peer_send_frame(small, "A small"); /* is answered all the time */
        world_turn(&wd);
        peer_expect_frame(small, "A small");
        assert_true(atomic_load(&budget.used) <= budget.max);
        simclock_advance(&wd.sc, 250);
    }
    /* The good one is not huge: it waits for the one that holds the pass, not for all. */
    assert_in_range(wd.closed, 1, 2);
    assert_int_equal(world_metric(&wd, "net_closed_memory"), wd.closed);
    assert_non_null(strstr(wd.line, "had all but stopped inside a request"));
    for (size_t i = 0; i < LIARS; i++) {
        close(liars[i]);
    }
    close(small);
    mem_free(bytes);
    sender_release(&good);
    release(&wd, &budget);
}

static void who_goes_on_at_a_decent_rate_keeps_its_pass_and_so_do_all_when_none_waits(void **state)
{
    (void)state;
    struct world wd;
    struct mem_budget budget = {.max = 1 << 20};
    world_init(&wd, true);
    wd.options.memory = conn_memory_new(&budget, NULL);
    world_start(&wd);
    struct sender first;
    struct sender second;
    sender_init(&first, &wd, 'A', 1 << 20);
    sender_init(&second, &wd, 'A', 600000);
    for (int i = 0; i < 4; i++) {
        sender_send(&first, 50000);
        world_turn(&wd);
    }
    /* Nobody waits: it may stop. */
    for (int i = 0; i < 40; i++) {
        simclock_advance(&wd.sc, 250);
        world_turn(&wd);
    }
    for (int i = 0; i < 8; i++) {
        sender_send(&first, 70000); /* it goes on when the other comes */
        sender_send(&second, SIZE_MAX);
        world_turn(&wd);
        simclock_advance(&wd.sc, 900);
        world_turn(&wd);
        assert_int_equal(second.got, 0);
    }
    assert_int_equal(wd.closed, 0);
    for (int i = 0; second.got < second.len; i++) {
        assert_true(i < 100);
        sender_send(&first, SIZE_MAX);
        sender_send(&second, SIZE_MAX);
        world_turn(&wd);
        sender_take_answer(&first);
        sender_take_answer(&second);
    }
    assert_int_equal(wd.closed, 0);
    sender_release(&first);
    sender_release(&second);
    release(&wd, &budget);
}

static void whoever_ends_at_whatever_time_leaves_nothing_behind(void **state)
{
    (void)state;
    enum {
        SENDERS = 12,
        STEPS = 6000,
    };
    struct world wd;
    struct mem_budget budget = {.max = 700000};
    struct mem_budget other = {.max = 1500000};
    world_init(&wd, true);
    wd.options.memory = conn_memory_new(&budget, &other);
    world_start(&wd);
    uint64_t random = 11;
    struct sender sd[SENDERS];
    static const size_t sizes[] = {100, 5000, 60000, 65537, 100000, 200000, 400000, 1 << 20};
    size_t whole = 0;
    for (size_t i = 0; i < SENDERS; i++) {
        sender_init(&sd[i], &wd, 'A', sizes[i % ARRAY_LEN(sizes)]);
    }
    for (int step = 0; step < STEPS; step++) {
        struct sender *one = &sd[sim_random(&random) % SENDERS];
        sender_send(one, 1 + sim_random(&random) % 100000);
        sender_take_answer(one);
        bool is_whole = one->got == one->len;
        whole += is_whole;
        if (is_whole && sim_random(&random) % 2 == 0) {
            one->sent = 0; /* the same again, with trust */
            one->got = 0;
        } else if (is_whole || sim_random(&random) % 60 == 0) {
            sender_release(one);
            sender_init(one, &wd, sim_random(&random) % 3 == 0 ? 'P' : 'A',
                        sizes[sim_random(&random) % ARRAY_LEN(sizes)]);
        }
        loop_turn(wd.loop, false);
        if (wd.parked_count > 0 && sim_random(&random) % 3 == 0) {
            world_answer(wd.parked[sim_random(&random) % wd.parked_count]);
        }
        if (sim_random(&random) % 10 == 0) {
            simclock_advance(&wd.sc, 50);
        }
        /* The budget, or the largest request and a quarter; beside them what must be moved. */
        assert_in_range(atomic_load(&budget.used), 0, (1 << 20) + 700000 / 4 + 3 * 65536);
    }
    assert_true(whole > STEPS / 60);
    for (size_t i = 0; i < SENDERS; i++) {
        sender_release(&sd[i]);
    }
    release(&wd, &budget);
    assert_int_equal(atomic_load(&other.used), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_grows_with_what_has_come_not_with_what_was_promised),
        cmocka_unit_test(an_idle_connection_holds_no_memory),
        cmocka_unit_test(without_memory_reading_stops_and_goes_on_when_some_is_given_back),
        cmocka_unit_test(a_lone_request_of_any_size_passes_whatever_the_budget),
        cmocka_unit_test(requests_beyond_the_budget_wait_and_none_is_closed),
        cmocka_unit_test(passes_are_given_in_the_order_of_coming),
        cmocka_unit_test(who_holds_a_pass_and_hardly_goes_on_ends_when_others_wait),
        cmocka_unit_test(who_goes_on_at_a_decent_rate_keeps_its_pass_and_so_do_all_when_none_waits),
        cmocka_unit_test(whoever_ends_at_whatever_time_leaves_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
