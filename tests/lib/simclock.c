/* A clock under the test's control; see simclock.h. */
#include "simclock.h"

#include "base/base.h"

static const uint64_t golden_gamma = 0x9e3779b97f4a7c15ULL;

static uint64_t mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
}

uint64_t sim_random(uint64_t *state)
{
    *state += golden_gamma;
    return mix(*state);
}

static int64_t sim_now_ms(struct clock *c)
{
    struct simclock *sc = container_of(c, struct simclock, clock);
    return atomic_load(&sc->now_ms);
}

static int64_t sim_mono_ns(struct clock *c)
{
    struct simclock *sc = container_of(c, struct simclock, clock);
    return atomic_load(&sc->mono_ns);
}

static void sim_fill(struct clock *c, void *ret_bytes, size_t len)
{
    struct simclock *sc = container_of(c, struct simclock, clock);
    uint8_t *to = ret_bytes;
    while (len > 0) {
        uint64_t v = mix(atomic_fetch_add(&sc->random, golden_gamma) + golden_gamma);
        size_t n = min_size(len, sizeof(v));
        memcpy(to, &v, n);
        to += n;
        len -= n;
    }
}

void simclock_init(struct simclock *sc, uint64_t seed)
{
    sc->clock = (struct clock){.now_ms = sim_now_ms, .mono_ns = sim_mono_ns, .random = sim_fill};
    atomic_init(&sc->now_ms, INT64_C(1767225600000));
    atomic_init(&sc->mono_ns, INT64_C(1000000000));
    atomic_init(&sc->random, seed);
}

void simclock_advance(struct simclock *sc, int64_t ms)
{
    atomic_fetch_add(&sc->now_ms, ms);
    atomic_fetch_add(&sc->mono_ns, ms * 1000000);
}

void simclock_set_now(struct simclock *sc, int64_t now_ms)
{
    atomic_store(&sc->now_ms, now_ms);
}
