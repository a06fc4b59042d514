/*
 * Limits of connections, as Kafka's ConnectionQuotas has them: the sum, each address, and how many
 * come in a second. Addresses are kept as 16 bytes (IPv4 mapped into IPv6), so that one peer is one
 * entry whichever socket it came by.
 *
 * Each listener has a share: its own sum and its own rate, and it may be exempt from those of all.
 *
 * A rate is a bucket that holds one second's worth and is filled by the machine clock.
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

struct bucket {
    int32_t rate;      /* a second; INT32_MAX: none */
    int64_t credit_us; /* microseconds, 1000000 / rate for each connection */
    int64_t filled_at_ns;
};

struct conn_share {
    struct list node;       /* in conn_limits.shares */
    struct conn_limits *cl; /* borrowed: the owner */
    struct conn_share_rules rules;
    struct bucket bucket;
    int32_t count;
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
    struct bucket bucket;
    struct list shares;     /* owned */
    struct list waiters;    /* for room */
    struct list excess;     /* for more connections than are allowed */
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
    list_init(&cl->excess);
    list_init(&cl->shares);
    cl->max = INT32_MAX;
    cl->per_ip_max = INT32_MAX;
    cl->bucket.rate = INT32_MAX;
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
    check(cl->count == 0 && cl->entries.count == 0 && list_is_empty(&cl->waiters) &&
          list_is_empty(&cl->excess));
    for (struct list *node; (node = list_pop_front(&cl->shares)) != NULL;) {
        mem_free(list_entry(node, struct conn_share, node));
    }
    hmap_release(&cl->entries);
    lock_release(&cl->lock);
    mem_free(cl->overrides);
    return mem_free(cl);
}

/* Kafka closes the least active ones until the sum is right, but not those of a listener that is
 * exempt. */
static void look_for_excess_locked(struct conn_limits *cl)
{
    if (cl->count > cl->max) {
        loop_waiter_wake_locked(&cl->excess);
    }
}

void conn_limits_set_max(struct conn_limits *cl, int32_t connections_max)
{
    lock_take(&cl->lock);
    cl->max = connections_max;
    loop_waiter_wake_locked(&cl->waiters);
    look_for_excess_locked(cl);
    lock_give(&cl->lock);
}

void conn_limits_set_per_ip(struct conn_limits *cl, int32_t per_ip_max)
{
    lock_take(&cl->lock);
    cl->per_ip_max = per_ip_max;
    lock_give(&cl->lock);
}

/* A rate that stays keeps its credit: it is set anew whenever any config changes. */
static void set_rate_locked(struct conn_limits *cl, struct bucket *b, int32_t rate)
{
    if (b->rate != rate) {
        *b = (struct bucket){
            .rate = rate, .credit_us = 1000000, .filled_at_ns = clock_mono_ns(cl->clock)};
    }
}

void conn_limits_set_rate(struct conn_limits *cl, int32_t per_second_max)
{
    lock_take(&cl->lock);
    set_rate_locked(cl, &cl->bucket, per_second_max);
    loop_waiter_wake_locked(&cl->waiters);
    lock_give(&cl->lock);
}

struct conn_share *conn_limits_share(struct conn_limits *cl)
{
    if (cl == NULL) {
        return NULL;
    }
    struct conn_share *sh = mem_zalloc(sizeof(*sh));
    sh->cl = cl;
    sh->rules = (struct conn_share_rules){
        .connections_max = INT32_MAX, .per_second_max = INT32_MAX, .sets_max = INT32_MAX};
    sh->bucket.rate = INT32_MAX;
    lock_take(&cl->lock);
    list_push_back(&cl->shares, &sh->node);
    lock_give(&cl->lock);
    return sh;
}

void conn_share_set(struct conn_share *sh, const struct conn_share_rules *rules)
{
    lock_take(&sh->cl->lock);
    sh->rules = *rules;
    set_rate_locked(sh->cl, &sh->bucket, rules->per_second_max);
    loop_waiter_wake_locked(&sh->cl->waiters);
    look_for_excess_locked(sh->cl);
    lock_give(&sh->cl->lock);
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
    if (str_to_i32(count, &ret->max) < 0) {
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

static int64_t price_us(const struct bucket *b)
{
    return b->rate <= 0 ? 1000000 : 1000000 / b->rate;
}

/* Milliseconds until the bucket holds the price of one; 0: it does. */
static int64_t wait_ms_locked(struct conn_limits *cl, struct bucket *b)
{
    if (b->rate == INT32_MAX) {
        return 0;
    }
    int64_t now_ns = clock_mono_ns(cl->clock);
    b->credit_us = min_i64(1000000, b->credit_us + (now_ns - b->filled_at_ns) / 1000);
    b->filled_at_ns = now_ns;
    return b->credit_us >= price_us(b) ? 0 : (price_us(b) - b->credit_us) / 1000 + 1;
}

static void pay_locked(struct bucket *b)
{
    b->credit_us -= b->rate == INT32_MAX ? 0 : price_us(b);
}

bool conn_limits_may_accept(struct conn_share *sh, struct loop_waiter *w, int64_t *ret_wait_ms)
{
    if (sh == NULL) {
        return true;
    }
    struct conn_limits *cl = sh->cl;
    bool is_allowed;
    lock_take(&cl->lock);
    if (sh->count >= sh->rules.connections_max || (!sh->rules.is_exempt && cl->count >= cl->max)) {
        *ret_wait_ms = 0;
        is_allowed = false;
        loop_waiter_add_locked(w, &cl->waiters);
    } else {
        int64_t wait_ms = wait_ms_locked(cl, &sh->bucket);
        if (!sh->rules.is_exempt) {
            wait_ms = max_i64(wait_ms, wait_ms_locked(cl, &cl->bucket));
        }
        is_allowed = wait_ms == 0;
        if (!is_allowed) {
            *ret_wait_ms = wait_ms;
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
    for (size_t i = cl->overrides_count; i > 0; i--) { /* the last one that names it */
        if (memcmp(&cl->overrides[i - 1].address, a, sizeof(*a)) == 0) {
            return cl->overrides[i - 1].max;
        }
    }
    return cl->per_ip_max;
}

enum admission
conn_limits_enter(struct conn_share *sh, const struct conn_peer *peer, size_t *ret_sets_max)
{
    if (sh == NULL) {
        *ret_sets_max = SIZE_MAX;
        return ADMIT;
    }
    struct conn_limits *cl = sh->cl;
    struct address a = address_of(peer);
    lock_take(&cl->lock);
    pay_locked(&sh->bucket);
    if (!sh->rules.is_exempt) {
        pay_locked(&cl->bucket);
    }
    *ret_sets_max = to_size(max_i64(1, sh->rules.sets_max));
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
        sh->count++;
        look_for_excess_locked(cl);
    }
    lock_give(&cl->lock);
    if (!is_admitted) {
        metric_add(cl->refused, 1);
    }
    return is_admitted ? ADMIT : ADMIT_NOT_THIS_ONE;
}

bool conn_limits_are_exceeded(struct conn_limits *cl, struct loop_waiter *w)
{
    if (cl == NULL) {
        return false;
    }
    lock_take(&cl->lock);
    bool are_exceeded = cl->count > cl->max;
    loop_waiter_add_locked(w, &cl->excess);
    lock_give(&cl->lock);
    return are_exceeded;
}

void conn_limits_await_excess(struct conn_limits *cl, struct loop_waiter *w)
{
    if (cl != NULL) {
        lock_take(&cl->lock);
        loop_waiter_add_locked(w, &cl->excess);
        lock_give(&cl->lock);
    }
}

bool conn_share_is_exempt(struct conn_share *sh)
{
    if (sh == NULL) {
        return false;
    }
    lock_take(&sh->cl->lock);
    bool is_exempt = sh->rules.is_exempt;
    lock_give(&sh->cl->lock);
    return is_exempt;
}

void conn_limits_leave(struct conn_share *sh, const struct conn_peer *peer)
{
    if (sh == NULL) {
        return;
    }
    struct conn_limits *cl = sh->cl;
    struct address a = address_of(peer);
    lock_take(&cl->lock);
    struct entry *en = find_locked(cl, &a, hash_bytes(&a, sizeof(a), cl->entries.seed));
    check(en != NULL && en->count > 0 && cl->count > 0 && sh->count > 0);
    cl->count--;
    sh->count--;
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
