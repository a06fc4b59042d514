/* Other work on the machine; see quiet.h. From /proc/stat, whose ticks are of 10 ms. */
#include "benchmark/quiet.h"

#include "benchmark/client.h"
#include "benchmark/process.h"

#include <time.h>
#include <unistd.h>

enum {
    TIMES = 8, /* user nice system idle iowait irq softirq steal */
    IDLE = 3,
    IO_WAIT = 4,
};

static int64_t busy_ns(void)
{
    long long t[TIMES] = {0};
    FILE *f = fopen("/proc/stat", "re");
    if (f == NULL) {
        return 0;
    }
    int n = fscanf(f, "cpu %lld %lld %lld %lld %lld %lld %lld %lld", &t[0], &t[1], &t[2], &t[3],
                   &t[4], &t[5], &t[6], &t[7]);
    fclose(f);
    int64_t ticks = 0;
    for (int i = 0; i < n; i++) {
        ticks += i == IDLE || i == IO_WAIT ? 0 : t[i];
    }
    return ticks * (INT64_C(1000000000) / sysconf(_SC_CLK_TCK));
}

static int64_t ours_ns(const struct quiet *q)
{
    struct timespec t;
    check(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t) == 0);
    int64_t ns = t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
    for (size_t i = 0; i < q->count; i++) {
        ns += process_cpu_ns(q->pids[i]);
    }
    return ns;
}

void quiet_begin(struct quiet *q, const pid_t *pids, size_t count)
{
    check(count <= QUIET_PIDS_MAX);
    *q = (struct quiet){.count = count};
    for (size_t i = 0; i < count; i++) {
        q->pids[i] = pids[i];
    }
    q->busy_ns = busy_ns();
    q->ours_ns = ours_ns(q);
    q->began_ns = now_ns();
}

double quiet_others(const struct quiet *q)
{
    int64_t elapsed_ns = now_ns() - q->began_ns;
    int64_t others_ns = busy_ns() - q->busy_ns - (ours_ns(q) - q->ours_ns);
    return (double)max_i64(others_ns, 0) / (double)max_i64(elapsed_ns, 1);
}

bool quiet_wait(double share, double seconds_max)
{
    int64_t until_ns = now_ns() + (int64_t)(seconds_max * 1e9);
    for (;;) {
        struct quiet q;
        quiet_begin(&q, NULL, 0);
        usleep(999999);
        if (quiet_others(&q) < share) {
            return true;
        }
        if (now_ns() >= until_ns) {
            return false;
        }
    }
}
