/*
 * Limits of connections, as Kafka's ConnectionQuotas has them: the sum, each address, and how many
 * come in a second. Addresses are kept as 16 bytes (IPv4 mapped into IPv6), so that one peer is one
 * entry whichever socket it came by.
 *
 * The rate is a bucket that holds one second's worth and is filled by the machine clock.
 */
#include "net/conn_limits.h"

#include "base/base.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/hmap.h"
#include "base/mem.h"

#include <arpa/inet.h>
#include <netdb.h>

enum {
    OVERRIDES_MAX = 1024,
    HOST_MAX = 255,
};

struct address {
    uint8_t bytes[16];
};

struct entry {
    struct hmap_node node;
    struct address address;
    int32_t count;
};

struct override {
    struct address address;
    int32_t max;
};

struct conn_limits {
    struct lock lock;
    struct clock *clock;        /* borrowed */
    struct hmap entries;        /* struct entry, owned */
    struct override *overrides; /* owned */
    size_t overrides_count;
    int32_t count;
    int32_t max;
    int32_t per_ip_max;
    int32_t rate;      /* a second; INT32_MAX: none */
    int64_t credit_us; /* of the bucket: microseconds, 1000000 / rate for each connection */
    int64_t credit_at_ns;
    struct list waiters;
    struct metric *refused; /* borrowed, may be NULL */
};

struct conn_limits *conn_limits_new(struct clock *clock, struct metrics *metrics)
{
    struct conn_limits *cl = mem_zalloc(sizeof(*cl));
    uint64_t seed;
    clock_random(clock, &seed, sizeof(seed));
    lock_init(&cl->lock, LOCK_NET);
    cl->clock = clock;
    hmap_init(&cl->entries, seed);
    list_init(&cl->waiters);
    cl->max = INT32_MAX;
    cl->per_ip_max = INT32_MAX;
    cl->rate = INT32_MAX;
    if (metrics != NULL) {
        cl->refused = metrics_counter(metrics, "net_refused_per_ip",
                                      "connections closed for the limit of their address");
    }
    return cl;
}

struct conn_limits *conn_limits_free(struct conn_limits *cl)
{
    if (cl == NULL) {
        return NULL;
    }
    check(cl->count == 0 && cl->entries.count == 0 && list_is_empty(&cl->waiters));
    hmap_release(&cl->entries);
    lock_release(&cl->lock);
    mem_free(cl->overrides);
    return mem_free(cl);
}

void conn_limits_set_max(struct conn_limits *cl, int32_t connections_max)
{
    lock_take(&cl->lock);
    cl->max = connections_max;
    loop_waiter_wake_locked(&cl->waiters);
    lock_give(&cl->lock);
}

void conn_limits_set_per_ip(struct conn_limits *cl, int32_t per_ip_max)
{
    lock_take(&cl->lock);
    cl->per_ip_max = per_ip_max;
    lock_give(&cl->lock);
}

void conn_limits_set_rate(struct conn_limits *cl, int32_t per_second_max)
{
    lock_take(&cl->lock);
    cl->rate = per_second_max;
    cl->credit_us = 1000000;
    cl->credit_at_ns = clock_mono_ns(cl->clock);
    loop_waiter_wake_locked(&cl->waiters);
    lock_give(&cl->lock);
}

int32_t conn_limits_count(struct conn_limits *cl)
{
    lock_take(&cl->lock);
    int32_t count = cl->count;
    lock_give(&cl->lock);
    return count;
}

static struct address address_of_v4(const struct in_addr *in)
{
    struct address a = {.bytes = {[10] = 0xff, [11] = 0xff}};
    memcpy(a.bytes + 12, in, 4);
    return a;
}

static struct address address_of_v6(const struct in6_addr *in)
{
    struct address a;
    memcpy(a.bytes, in, sizeof(a.bytes));
    return a;
}

static struct address address_of(const struct conn_peer *peer)
{
    if (peer->len >= sizeof(peer->addr.v4) && peer->addr.any.sa_family == AF_INET) {
        return address_of_v4(&peer->addr.v4.sin_addr);
    }
    if (peer->len >= sizeof(peer->addr.v6) && peer->addr.any.sa_family == AF_INET6) {
        return address_of_v6(&peer->addr.v6.sin6_addr);
    }
    return (struct address){{0}};
}

/* Numbers first; a name is asked for, as Kafka does. */
static int resolve(struct str host, struct address *ret)
{
    char text[HOST_MAX + 1];
    struct in_addr v4;
    struct in6_addr v6;
    if (host.len == 0 || host.len > HOST_MAX) {
        return ERR_BAD_ARGUMENT;
    }
    memcpy(text, host.ptr, host.len);
    text[host.len] = '\0';
    if (inet_pton(AF_INET, text, &v4) == 1) {
        *ret = address_of_v4(&v4);
        return 0;
    }
    if (inet_pton(AF_INET6, text, &v6) == 1) {
        *ret = address_of_v6(&v6);
        return 0;
    }
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    if (getaddrinfo(text, NULL, &hints, &found) != 0 || found == NULL) {
        return ERR_BAD_ARGUMENT;
    }
    struct conn_peer peer = {.len = found->ai_addrlen};
    memcpy(&peer.addr, found->ai_addr, min_size(found->ai_addrlen, sizeof(peer.addr)));
    *ret = address_of(&peer);
    freeaddrinfo(found);
    return 0;
}

static int parse_override(struct str part, struct override *ret)
{
    size_t colon = part.len;
    while (colon > 0 && part.ptr[colon - 1] != ':') {
        colon--;
    }
    if (colon == 0) {
        return ERR_BAD_ARGUMENT;
    }
    struct str host = str_trim(str_of(part.ptr, colon - 1));
    struct str count = str_trim(str_of(part.ptr + colon, part.len - colon));
    if (host.len >= 2 && host.ptr[0] == '[' && host.ptr[host.len - 1] == ']') {
        host = str_of(host.ptr + 1, host.len - 2);
    }
    if (str_to_i32(count, &ret->max) < 0 || ret->max < 0) {
        return ERR_BAD_ARGUMENT;
    }
    return resolve(host, &ret->address);
}

int conn_limits_set_overrides(struct conn_limits *cl, struct str text)
{
    struct override *overrides = NULL;
    size_t count = 0;
    size_t cap = 0;
    int err = 0;
    struct str rest = str_trim(text);
    struct str part;
    while (rest.len > 0 && err >= 0 && str_split(&rest, ',', &part)) {
        if (str_trim(part).len == 0) {
            continue;
        }
        overrides = mem_grow(overrides, &cap, count + 1, sizeof(overrides[0]));
        err = count >= OVERRIDES_MAX ? ERR_BAD_ARGUMENT
                                     : parse_override(str_trim(part), &overrides[count]);
        count++;
    }
    if (err < 0) {
        mem_free(overrides);
        return err;
    }
    lock_take(&cl->lock);
    struct override *before = cl->overrides;
    cl->overrides = overrides;
    cl->overrides_count = count;
    lock_give(&cl->lock);
    mem_free(before);
    return 0;
}

static int64_t price_us(const struct conn_limits *cl)
{
    return cl->rate <= 0 ? 1000000 : 1000000 / cl->rate;
}

static void fill_bucket_locked(struct conn_limits *cl)
{
    int64_t now_ns = clock_mono_ns(cl->clock);
    cl->credit_us = min_i64(1000000, cl->credit_us + (now_ns - cl->credit_at_ns) / 1000);
    cl->credit_at_ns = now_ns;
}

bool conn_limits_may_accept(struct conn_limits *cl, struct loop_waiter *w, int64_t *ret_wait_ms)
{
    if (cl == NULL) {
        return true;
    }
    bool is_allowed = true;
    lock_take(&cl->lock);
    if (cl->count >= cl->max) {
        *ret_wait_ms = 0;
        is_allowed = false;
        loop_waiter_add_locked(w, &cl->waiters);
    } else if (cl->rate != INT32_MAX) {
        fill_bucket_locked(cl);
        is_allowed = cl->credit_us >= price_us(cl);
        if (!is_allowed) {
            *ret_wait_ms = (price_us(cl) - cl->credit_us) / 1000 + 1;
        }
    }
    lock_give(&cl->lock);
    return is_allowed;
}

static struct entry *find_locked(struct conn_limits *cl, const struct address *a, uint64_t hash)
{
    for (struct hmap_node *node = hmap_first(&cl->entries, hash); node != NULL;
         node = hmap_next(node)) {
        struct entry *en = container_of(node, struct entry, node);
        if (memcmp(&en->address, a, sizeof(*a)) == 0) {
            return en;
        }
    }
    return NULL;
}

static int32_t max_of_locked(const struct conn_limits *cl, const struct address *a)
{
    for (size_t i = 0; i < cl->overrides_count; i++) {
        if (memcmp(&cl->overrides[i].address, a, sizeof(*a)) == 0) {
            return cl->overrides[i].max;
        }
    }
    return cl->per_ip_max;
}

enum admission conn_limits_enter(struct conn_limits *cl, const struct conn_peer *peer)
{
    if (cl == NULL) {
        return ADMIT;
    }
    struct address a = address_of(peer);
    lock_take(&cl->lock);
    cl->credit_us -= cl->rate == INT32_MAX ? 0 : price_us(cl);
    uint64_t hash = hash_bytes(&a, sizeof(a), cl->entries.seed);
    struct entry *en = find_locked(cl, &a, hash);
    bool is_admitted = (en == NULL ? 0 : en->count) < max_of_locked(cl, &a);
    if (is_admitted) {
        if (en == NULL) {
            en = mem_zalloc(sizeof(*en));
            en->address = a;
            hmap_insert(&cl->entries, &en->node, hash);
        }
        en->count++;
        cl->count++;
    }
    lock_give(&cl->lock);
    if (!is_admitted) {
        metric_add(cl->refused, 1);
    }
    return is_admitted ? ADMIT : ADMIT_NOT_THIS_ONE;
}

void conn_limits_leave(void *ctx, const struct conn_peer *peer)
{
    struct conn_limits *cl = ctx;
    if (cl == NULL) {
        return;
    }
    struct address a = address_of(peer);
    lock_take(&cl->lock);
    struct entry *en = find_locked(cl, &a, hash_bytes(&a, sizeof(a), cl->entries.seed));
    check(en != NULL && en->count > 0 && cl->count > 0);
    cl->count--;
    if (--en->count == 0) {
        hmap_remove(&cl->entries, &en->node);
        mem_free(en);
    }
    loop_waiter_wake_locked(&cl->waiters);
    lock_give(&cl->lock);
}

void conn_limits_waiter_init(struct loop_waiter *w,
                             struct conn_limits *cl,
                             struct loop *loop,
                             void (*resume)(void *ctx),
                             void *ctx)
{
    loop_waiter_init(w, cl == NULL ? NULL : &cl->lock, loop, resume, ctx);
}
