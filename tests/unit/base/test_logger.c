/* Lines of the logger, caught by a sink; the limit of lines with a clock under test control;
 * metrics. */
#include "base/base.h"

#include "base/logger.h"
#include "base/metrics.h"
#include "simclock.h"
#include "unit.h"

struct caught {
    char line[4096];
    size_t len;
    int count;
};

static void catch_line(void *ctx, const char *line, size_t len)
{
    struct caught *c = ctx;
    assert_true(len < sizeof(c->line));
    memcpy(c->line, line, len);
    c->line[len] = '\0';
    c->len = len;
    c->count++;
}

static void a_line_has_time_level_facility_and_text(void **state)
{
    (void)state;
    struct caught c = {0};
    struct simclock sc;
    simclock_init(&sc, 1);
    simclock_advance(&sc, 678);
    struct logger lg = {.level = LOG_LEVEL_INFO, .clock = &sc.clock, .sink = catch_line, .ctx = &c};
    setenv("TZ", "UTC", 1);
    LOG_WARN(&lg, FAC_NET, "closed peer=%s", "127.0.0.1:5");
    assert_string_equal(c.line, "[2026-01-01 00:00:00,678] WARN [net] closed peer=127.0.0.1:5\n");
    LOG_DEBUG(&lg, FAC_NET, "not written");
    assert_int_equal(c.count, 1);
    LOG_ERROR((struct logger *)NULL, FAC_NET, "nobody listens");
}

static void a_line_is_one_line_and_bounded(void **state)
{
    (void)state;
    struct caught c = {0};
    struct logger lg = {.sink = catch_line, .ctx = &c};
    LOG_ERROR(&lg, FAC_STORAGE, "two\nlines");
    assert_string_equal(c.line, "ERROR [storage] two lines\n");
    char text[5000];
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    LOG_INFO(&lg, FAC_RAFT, "%s", text);
    assert_true(c.len <= 2048);
    assert_string_equal(c.line + c.len - 5, "x...\n");
}

static void a_limit_lets_one_line_pass_for_each_interval(void **state)
{
    (void)state;
    struct simclock sc;
    struct log_limit limit = {0};
    struct log_left_out left_out;
    simclock_init(&sc, 1);
    assert_true(log_limit_pass(&limit, &sc.clock, 1000, &left_out));
    assert_string_equal(left_out.text, "");
    assert_false(log_limit_pass(&limit, &sc.clock, 1000, &left_out));
    simclock_advance(&sc, 999);
    assert_false(log_limit_pass(&limit, &sc.clock, 1000, &left_out));
    simclock_advance(&sc, 1);
    assert_true(log_limit_pass(&limit, &sc.clock, 1000, &left_out));
    assert_string_equal(left_out.text, " (2 lines like this left out)");
}

static void metrics_are_found_by_name_and_registered_once(void **state)
{
    (void)state;
    struct metrics ms;
    metrics_init(&ms);
    struct metric *bytes = metrics_counter(&ms, "net_bytes_in", "bytes read");
    struct metric *turn = metrics_gauge(&ms, "loop_turn_max_us", "longest turn");
    assert_ptr_equal(metrics_counter(&ms, "net_bytes_in", "bytes read"), bytes);
    assert_ptr_equal(metrics_find(&ms, "loop_turn_max_us"), turn);
    assert_null(metrics_find(&ms, "none"));
    metric_add(bytes, 5);
    metric_add(bytes, 6);
    assert_int_equal(metric_get(bytes), 11);
    metric_set_max(turn, 7);
    metric_set_max(turn, 3);
    assert_int_equal(metric_get(turn), 7);
    metric_add(NULL, 1);
    assert_int_equal(metric_get(NULL), 0);
    metrics_release(&ms);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_has_time_level_facility_and_text),
        cmocka_unit_test(a_line_is_one_line_and_bounded),
        cmocka_unit_test(a_limit_lets_one_line_pass_for_each_interval),
        cmocka_unit_test(metrics_are_found_by_name_and_registered_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
