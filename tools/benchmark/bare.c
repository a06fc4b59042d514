/* A loop that only computes; see bare.h. */
#include "benchmark/bare.h"

#include "base/bytes.h"

#include <math.h>
#include <time.h>

enum {
    WORK_BYTES = 16384,
    TURN_NS = 500000,
    TURN_LONG_NS = 2000000,
};

static int64_t cpu_ns(void)
{
    struct timespec t;
    check(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t) == 0);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

void bare_run(struct bare *b, double cpu_s)
{
    static uint8_t work[WORK_BYTES] = {1};
    int64_t began = cpu_ns();
    int64_t until = began + (int64_t)(cpu_s * 1e9);
    int64_t turn = began;
    int64_t now = began;
    uint32_t sum = 0;
    while (now < until) {
        do {
            sum = crc32c(sum, work, sizeof(work));
            now = cpu_ns();
        } while (now - turn < TURN_NS);
        b->turns++;
        b->long_count += now - turn > TURN_LONG_NS;
        b->max_us = max_i64(b->max_us, (now - turn) / 1000);
        turn = now;
    }
    work[0] = (uint8_t)sum;
    b->cpu_s += (double)(now - began) / 1e9;
}

double bare_expected(const struct bare *b, double cpu_s)
{
    return (double)b->long_count / fmax(b->cpu_s, 1e-9) * cpu_s;
}
