/* When the next pass of retention is due; the threads themselves are seen at work by the end-to-end
 * tests. */
#include "broker/upkeep.h"
#include "unit.h"

static void passes_keep_the_interval(void **state)
{
    (void)state;
    assert_int_equal(upkeep_retention_wait(1000, 300, 0), 300);
    assert_int_equal(upkeep_retention_wait(1000, 300, 1200), 300);
}

static void no_pass_before_something_can_expire(void **state)
{
    (void)state;
    assert_int_equal(upkeep_retention_wait(1000, 300, 9000), 8000);
}

static void no_pass_when_nothing_can_expire(void **state)
{
    (void)state;
    assert_int_equal(upkeep_retention_wait(1000, 300, INT64_MAX), INT64_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(passes_keep_the_interval),
        cmocka_unit_test(no_pass_before_something_can_expire),
        cmocka_unit_test(no_pass_when_nothing_can_expire),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
