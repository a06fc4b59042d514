/* The machine's clock and entropy. CLOCK_REALTIME and CLOCK_MONOTONIC are read without a system
 * call (vDSO); entropy comes from getrandom. */
#include "base/clock.h"

#include "base/base.h"

#include <sys/random.h>
#include <time.h>

static int64_t system_now_ms(struct clock *c)
{
    (void)c;
    struct timespec ts;
    check(clock_gettime(CLOCK_REALTIME, &ts) == 0);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static int64_t system_mono_ns(struct clock *c)
{
    (void)c;
    struct timespec ts;
    check(clock_gettime(CLOCK_MONOTONIC, &ts) == 0);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static int64_t system_thread_cpu_ns(struct clock *c)
{
    (void)c;
    struct timespec ts;
    check(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts) == 0);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static void system_random(struct clock *c, void *ret_bytes, size_t len)
{
    (void)c;
    uint8_t *to = ret_bytes;
    while (len > 0) {
        ssize_t n = getrandom(to, min_size(len, 256), 0);
        if (n < 0) {
            check(errno == EINTR);
            continue;
        }
        to += n;
        len -= (size_t)n;
    }
}

void clock_init_system(struct clock *c)
{
    *c = (struct clock){
        .now_ms = system_now_ms,
        .mono_ns = system_mono_ns,
        .random = system_random,
        .thread_cpu_ns = system_thread_cpu_ns,
    };
}

void clock_random_uuid(struct clock *c, struct uuid *ret)
{
    char text[UUID_TEXT_SIZE];
    do {
        clock_random(c, ret->bytes, sizeof(ret->bytes));
        ret->bytes[6] = (uint8_t)((ret->bytes[6] & 0x0f) | 0x40); /* version 4 */
        ret->bytes[8] = (uint8_t)((ret->bytes[8] & 0x3f) | 0x80); /* IETF variant */
        uuid_print(ret, text);
        /* A leading dash would read as an option on a command line. The reserved Uuids (0 and 1)
         * cannot come out: the version bits are set. */
    } while (text[0] == '-');
}
