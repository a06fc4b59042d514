/*
 * The coordinator's host of sim_groups; see group_host.h.
 *
 * An event of a shard: begin, run, take the records into the log, take the completed calls behind
 * them, look at what must hold, arm the timer. What is in the log is committed together a moment
 * later. A failed append is found at the end of an event: the records are not in the log, whoever
 * waits is answered with an error, and the shard is loaded anew. A crash keeps any number of the
 * records that were not committed.
 */
#include "group_host.h"

#include "base/base.h"
#include "base/hmap.h"
#include "coord/group.h"
#include "coord/offsets.h"
#include "coord/shard_machines.h"

enum {
    COMMIT_MEAN_US = 3000,
    DOWN_MEAN_US = 300000,
    LOAD_MEAN_US = 200000,
    COMPACT_EVERY = 2000, /* records */
    LOOK_EVERY = 128,     /* events, at everything */
};

struct record {
    uint8_t *bytes; /* owned: the key, then the value */
    size_t key_len;
    size_t value_len;
    bool is_tombstone;
    bool ends_batch; /* what an event appends is in the log as a whole or not at all */
};

enum shard_phase {
    SHARD_DOWN,
    SHARD_LOADS,
    SHARD_SERVES,
};

struct hosted {
    struct group_host *h;
    int index;
    enum shard_phase phase;
    struct shard *sh;
    struct record *log; /* owned */
    size_t count;
    size_t cap;
    size_t committed; /* records */
    size_t offered;   /* committed when the event fires */
    uint64_t events;
    uint64_t appended;
    size_t compact_at;
    bool fails_next;
    bool has_failed;     /* in this event */
    struct list inside;  /* host_call by at: not completed */
    struct list waiting; /* host_call by at: for the commit */
    uint32_t modern;     /* groups that are of the consumer protocol: a mask */
    struct sim_event timer;
    struct sim_event commit;
    struct sim_event up;
};

struct group_host {
    struct world *w;
    struct hosted shards[SHARDS_MAX];
    int shards_count;
    struct list travelling; /* host_call by at */
    bool is_freed;
};

static void run_event(struct hosted *ho, void (*fn)(struct hosted *ho, void *ctx), void *ctx);

/* ---- calls ---- */

struct host_call *host_call_new(struct world *w, int group)
{
    struct host_call *hc = mem_zalloc(sizeof(*hc));
    hc->w = w;
    hc->group = group;
    hc->call.arena = &hc->arena;
    hc->call.client_id = STR("sim");
    hc->call.client_host = STR("/127.0.0.1");
    return hc;
}

static void host_call_free(struct host_call *hc)
{
    sim_disarm(hc->w->s, &hc->travel);
    list_remove(&hc->at);
    arena_release(&hc->arena);
    mem_free(hc);
}

static int64_t draw_delay(struct world *w)
{
    return 100 + sim_rng_exponential(&w->net_rng, w->faults.delay_us);
}

static void on_back(struct sim_event *ev, void *ctx)
{
    (void)ev;
    struct host_call *hc = ctx;
    struct client *cl = hc->client;
    list_remove(&hc->at);
    if (hc->serial == cl->serial && cl->is_waiting) {
        cl->is_waiting = false;
        cl->heard_us = hc->w->s->now_us;
        sim_disarm(hc->w->s, &cl->timeout);
        hc->done(cl, hc);
    }
    host_call_free(hc);
}

/* The answer leaves the host. */
static void answer(struct host_call *hc)
{
    struct world *w = hc->w;
    list_remove(&hc->at);
    if (!hc->is_refused) {
        check_answered(hc);
    }
    if (hc->client == NULL || sim_rng_chance(&w->net_rng, w->faults.loss)) {
        host_call_free(hc);
        return;
    }
    sim_event_init(&hc->travel, on_back, hc);
    list_push_back(&w->host->travelling, &hc->at);
    sim_arm(w->s, &hc->travel, draw_delay(w));
}

static void refuse(struct host_call *hc, enum kafka_error error)
{
    hc->is_refused = true;
    hc->refused = error;
    answer(hc);
}

static void validate(const struct group *g)
{
    if (g->kind == GROUP_CLASSIC) {
        classic_validate(g->classic);
    } else {
        consumer_validate(g->consumer);
    }
}

static void run_call(struct hosted *ho, void *ctx)
{
    struct host_call *hc = ctx;
    hc->number = ++ho->h->w->calls;
    hc->arrived_us = ho->h->w->s->now_us;
    list_push_back(&ho->inside, &hc->at);
    hc->sh = ho->sh;
    int group = hc->group;
    hc->run(hc);
    const struct group *g = group_find(ho->sh, group_name(ho->h->w, group));
    if (g != NULL) {
        validate(g);
    }
}

static void on_arrival(struct sim_event *ev, void *ctx)
{
    (void)ev;
    struct host_call *hc = ctx;
    struct group_host *h = hc->w->host;
    list_remove(&hc->at);
    struct hosted *ho = &h->shards[group_host_shard_of(h, hc->group)];
    switch (ho->phase) {
    case SHARD_DOWN:
        refuse(hc, KAFKA_ERROR_NOT_COORDINATOR);
        break;
    case SHARD_LOADS:
        refuse(hc, KAFKA_ERROR_COORDINATOR_LOAD_IN_PROGRESS);
        break;
    case SHARD_SERVES:
        run_event(ho, run_call, hc);
        break;
    }
}

void group_host_send(struct group_host *h, struct host_call *hc)
{
    struct world *w = h->w;
    if (sim_rng_chance(&w->net_rng, w->faults.loss)) {
        host_call_free(hc);
        return;
    }
    int64_t delay_us = draw_delay(w);
    if (hc->client != NULL) {
        int64_t at_us = max_i64(w->s->now_us + delay_us, hc->client->last_arrival_us + 1);
        hc->client->last_arrival_us = at_us;
        delay_us = at_us - w->s->now_us;
    }
    sim_event_init(&hc->travel, on_arrival, hc);
    list_push_back(&h->travelling, &hc->at);
    sim_arm(w->s, &hc->travel, delay_us);
}

/* ---- the log ---- */

static void free_record(struct record *r)
{
    r->bytes = mem_free(r->bytes);
}

static void append(void *ctx, struct view key, struct view value)
{
    struct hosted *ho = ctx;
    struct world *w = ho->h->w;
    ho->appended++;
    if (w->mistake == MISTAKE_LOSES_RECORDS && ho->appended % 40 == 0) {
        return;
    }
    if (ho->count == ho->cap) {
        ho->log = mem_grow(ho->log, &ho->cap, ho->count + 1, sizeof(*ho->log));
    }
    struct record *r = &ho->log[ho->count++];
    *r = (struct record){
        .bytes = mem_alloc(key.len + value.len + 1),
        .key_len = key.len,
        .value_len = value.len,
        .is_tombstone = value.ptr == NULL,
    };
    memcpy(r->bytes, key.ptr, key.len);
    if (value.len > 0) {
        memcpy(r->bytes + key.len, value.ptr, value.len);
    }
}

static void truncate_log(struct hosted *ho, size_t count)
{
    while (ho->count > count) {
        free_record(&ho->log[--ho->count]);
    }
    ho->committed = min_size(ho->committed, ho->count);
}

struct last {
    struct hmap_node node;
    size_t place;
};

/* Keeps the last record of each key, in its place, as the cleaner does; of the tombstones among
 * them those that are newer than a random place. */
static void compact(struct group_host *h, int shard)
{
    struct hosted *ho = &h->shards[shard];
    struct hmap lasts;
    hmap_init(&lasts, 1);
    size_t end = ho->committed;
    struct last *nodes = mem_array(end + 1, sizeof(*nodes));
    bool *is_kept = mem_array(end + 1, sizeof(*is_kept));
    size_t horizon = (size_t)sim_rng_below(&h->w->rng, end + 1);
    for (size_t i = end; i-- > 0;) {
        const struct record *r = &ho->log[i];
        uint64_t hash = hash_bytes(r->bytes, r->key_len, 1);
        struct hmap_node *node = hmap_first(&lasts, hash);
        while (node != NULL) {
            const struct record *o = &ho->log[container_of(node, struct last, node)->place];
            if (o->key_len == r->key_len && memcmp(o->bytes, r->bytes, r->key_len) == 0) {
                break;
            }
            node = hmap_next(node);
        }
        if (node == NULL) {
            nodes[i].place = i;
            hmap_insert(&lasts, &nodes[i].node, hash);
            is_kept[i] = !r->is_tombstone || i >= horizon;
        }
    }
    size_t to = 0;
    for (size_t i = 0; i < ho->count; i++) {
        if (i < end && !is_kept[i]) {
            free_record(&ho->log[i]);
        } else {
            ho->log[to++] = ho->log[i];
        }
    }
    size_t gone = ho->count - to;
    ho->count = to;
    ho->committed -= gone;
    ho->offered -= min_size(gone, ho->offered);
    list_foreach (node, &ho->waiting) {
        struct host_call *hc = list_entry(node, struct host_call, at);
        hc->needed -= min_size(gone, hc->needed);
    }
    hmap_release(&lasts);
    mem_free(nodes);
    mem_free(is_kept);
    sim_happened(h->w->s, "log compacted");
}

static void answer_committed(struct hosted *ho)
{
    struct list *node = ho->waiting.next;
    while (node != &ho->waiting) {
        struct host_call *hc = list_entry(node, struct host_call, at);
        if (hc->needed > ho->committed && ho->h->w->mistake != MISTAKE_ANSWERS_EARLY) {
            return;
        }
        node = node->next;
        answer(hc);
    }
}

static void arm_commit(struct hosted *ho)
{
    struct world *w = ho->h->w;
    if (ho->committed < ho->count && !sim_is_armed(&ho->commit)) {
        ho->offered = ho->count;
        /* The planted mistake shows when a crash comes between, which is rare. */
        int64_t mean_us =
            w->mistake == MISTAKE_ANSWERS_EARLY ? 100 * COMMIT_MEAN_US : COMMIT_MEAN_US;
        sim_arm(w->s, &ho->commit, 100 + sim_rng_exponential(&w->net_rng, mean_us));
    }
}

static void on_commit(struct sim_event *ev, void *ctx)
{
    (void)ev;
    struct hosted *ho = ctx;
    ho->committed = min_size(ho->offered, ho->count);
    answer_committed(ho);
    if (ho->count > ho->compact_at && ho->phase == SHARD_SERVES) {
        compact(ho->h, ho->index);
        ho->compact_at = ho->count + COMPACT_EVERY;
    }
    arm_commit(ho);
}

/* ---- events ---- */

static void begin(struct hosted *ho)
{
    struct world *w = ho->h->w;
    shard_begin(ho->sh, w->s->now_us / 1000 + 1000, clock_now_ms(&w->s->clock.clock), &w->table);
}

/* Completed calls behind those that wait. */
static void take_completed(struct hosted *ho)
{
    struct list done;
    list_init(&done);
    shard_take_completed(ho->sh, &done);
    for (struct list *node; (node = list_pop_front(&done)) != NULL;) {
        struct host_call *hc = container_of(node, struct host_call, call.link);
        list_remove(&hc->at);
        check_executed(hc);
        hc->needed = ho->count;
        list_push_back(&ho->waiting, &hc->at);
    }
}

static void arm_timer(struct hosted *ho)
{
    struct world *w = ho->h->w;
    int64_t next_ms = shard_next_deadline(ho->sh);
    if (next_ms == INT64_MAX || w->mistake == MISTAKE_FORGETS_TIMERS) {
        sim_disarm(w->s, &ho->timer);
        return;
    }
    int64_t at_us = (next_ms - 1000) * 1000;
    if (!sim_is_armed(&ho->timer) || ho->timer.at_us != max_i64(at_us, w->s->now_us)) {
        sim_arm(w->s, &ho->timer, max_i64(at_us - w->s->now_us, 0));
    }
}

static void look(struct hosted *ho)
{
    struct world *w = ho->h->w;
    hmap_foreach (node, &ho->sh->groups) {
        validate(container_of(node, struct group, node));
    }
    offsets_validate(ho->sh);
    if (ho->sh->groups.count == 0) { /* that of expiry fires once more, and is not armed again */
        sim_expect(w->s, ho->sh->timers.count <= 1, "%zu timers in an empty shard",
                   ho->sh->timers.count);
    }
    ho->sh->topics = &w->table; /* answers are looked at */
    check_shard(w, ho->index);
    ho->sh->topics = NULL;
}

/* Upgrades and downgrades of groups that have members. */
static void note_kinds(struct hosted *ho)
{
    struct world *w = ho->h->w;
    for (int i = 0; i < w->groups_count; i++) {
        if (group_host_shard_of(ho->h, i) != ho->index) {
            continue;
        }
        const struct group *g = group_find(ho->sh, group_name(w, i));
        bool was_modern = (ho->modern >> i & 1) != 0;
        bool is_modern = g == NULL ? was_modern : g->kind == GROUP_CONSUMER;
        if (is_modern != was_modern && !group_is_empty(g)) {
            sim_note(w->s, "group %d is a %s group now", i, is_modern ? "consumer" : "classic");
            sim_happened(w->s, is_modern ? "group upgraded" : "group downgraded");
        }
        ho->modern = is_modern ? ho->modern | 1u << i : ho->modern & ~(1u << i);
    }
}

static void go_down(struct hosted *ho, enum kafka_error error);

static void run_event(struct hosted *ho, void (*fn)(struct hosted *ho, void *ctx), void *ctx)
{
    struct world *w = ho->h->w;
    size_t before = ho->count;
    begin(ho);
    fn(ho, ctx);
    if (shard_take_records(ho->sh, append, ho) > 0 && ho->count > before) {
        ho->log[ho->count - 1].ends_batch = true;
    }
    take_completed(ho);
    if (ho->fails_next && ho->count > before) {
        ho->fails_next = false;
        truncate_log(ho, before);
        sim_note(w->s, "shard %d: an append fails", ho->index);
        sim_happened(w->s, "append failed");
        go_down(ho, KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE);
        return;
    }
    note_kinds(ho);
    if (++ho->events % LOOK_EVERY == 0) {
        look(ho);
    }
    answer_committed(ho);
    arm_commit(ho);
    arm_timer(ho);
}

static void run_timers(struct hosted *ho, void *ctx)
{
    (void)ctx;
    shard_run_timers(ho->sh);
}

static void on_timer(struct sim_event *ev, void *ctx)
{
    (void)ev;
    run_event(ctx, run_timers, NULL);
}

struct change {
    enum shard_topic_change change;
    struct shard_topic topic;
};

static void run_change(struct hosted *ho, void *ctx)
{
    const struct change *ch = ctx;
    shard_topic_changed(ho->sh, ch->change, &ch->topic);
}

void group_host_topic_changed(struct group_host *h, enum shard_topic_change change, int topic)
{
    const struct topic *t = &h->w->topics[topic];
    struct change ch = {
        .change = change,
        .topic = {.name = str_from(t->name),
                  .id = t->id,
                  .partitions_count = t->partitions,
                  .handle = t},
    };
    for (int i = 0; i < h->shards_count; i++) {
        if (h->shards[i].phase == SHARD_SERVES) {
            run_event(&h->shards[i], run_change, &ch);
        }
    }
}

/* ---- up and down ---- */

static int replay_into(struct hosted *ho, struct shard *sh)
{
    for (size_t i = 0; i < ho->count; i++) {
        const struct record *r = &ho->log[i];
        struct view key = {.ptr = r->bytes, .len = r->key_len};
        struct view value = {
            .ptr = r->is_tombstone ? NULL : r->bytes + r->key_len,
            .len = r->value_len,
        };
        int err = shard_replay(sh, -1, key, value);
        if (err < 0) {
            return err;
        }
    }
    return 0;
}

struct shard *group_host_replay(struct group_host *h, int shard)
{
    struct hosted *ho = &h->shards[shard];
    struct shard *sh = shard_new(&shard_machines, &h->w->config, shard, 1);
    struct world *w = h->w;
    shard_begin(sh, w->s->now_us / 1000 + 1000, clock_now_ms(&w->s->clock.clock), &w->table);
    int err = replay_into(ho, sh);
    sim_expect(w->s, err >= 0, "shard %d: a record cannot be replayed: %d", shard, err);
    return sh;
}

static void run_loaded(struct hosted *ho, void *ctx)
{
    (void)ctx;
    shard_loaded(ho->sh);
}

static void on_up(struct sim_event *ev, void *ctx)
{
    struct hosted *ho = ctx;
    struct world *w = ho->h->w;
    if (ho->phase == SHARD_DOWN) {
        ho->phase = SHARD_LOADS;
        sim_arm(w->s, ev, sim_rng_exponential(&w->rng, LOAD_MEAN_US));
        return;
    }
    if (ho->committed < ho->count) {
        sim_arm(w->s, ev, COMMIT_MEAN_US); /* it loads what is committed */
        return;
    }
    ho->sh = shard_new(&shard_machines, &w->config, ho->index, sim_rng_next(&w->rng));
    begin(ho);
    int err = replay_into(ho, ho->sh);
    sim_expect(w->s, err >= 0, "shard %d: a record cannot be replayed: %d", ho->index, err);
    ho->phase = SHARD_SERVES;
    sim_note(w->s, "shard %d: up, %zu records, %zu groups", ho->index, ho->count,
             ho->sh->groups.count);
    run_event(ho, run_loaded, NULL);
    if (ho->phase == SHARD_SERVES) {
        look(ho);
        for (int g = 0; g < w->groups_count; g++) {
            if (group_host_shard_of(ho->h, g) == ho->index) {
                check_all_owners(w, g);
            }
        }
    }
}

/* Whoever waits or is parked hears this error; the state goes, the log stays. */
static void go_down(struct hosted *ho, enum kafka_error error)
{
    struct world *w = ho->h->w;
    begin(ho);
    shard_abandon(ho->sh, error);
    struct list done;
    list_init(&done);
    shard_take_completed(ho->sh, &done);
    for (struct list *node; (node = list_pop_front(&done)) != NULL;) {
        struct host_call *hc = container_of(node, struct host_call, call.link);
        list_remove(&hc->at);
        refuse(hc, error);
    }
    for (struct list *node; (node = list_pop_front(&ho->waiting)) != NULL;) {
        refuse(list_entry(node, struct host_call, at), error);
    }
    sim_expect(w->s, list_is_empty(&ho->inside), "shard %d: a parked call was forgotten",
               ho->index);
    for (struct list *node; (node = list_pop_front(&ho->inside)) != NULL;) {
        host_call_free(list_entry(node, struct host_call, at));
    }
    sim_disarm(w->s, &ho->timer);
    ho->sh = shard_free(ho->sh);
    ho->phase = SHARD_DOWN;
    check_rolled_back(w, ho->index);
    if (!ho->h->is_freed) {
        arm_commit(ho);
        sim_arm(w->s, &ho->up, w->is_calm ? 0 : sim_rng_exponential(&w->rng, DOWN_MEAN_US));
    }
}

void group_host_crash(struct group_host *h, int shard)
{
    struct hosted *ho = &h->shards[shard];
    if (ho->phase != SHARD_SERVES) {
        return;
    }
    size_t kept = ho->committed + (size_t)sim_rng_below(&h->w->rng, ho->count - ho->committed + 1);
    while (kept > ho->committed && !ho->log[kept - 1].ends_batch) {
        kept--;
    }
    sim_note(h->w->s, "shard %d: crash, %zu of %zu records are kept, %zu were committed", shard,
             kept, ho->count, ho->committed);
    sim_happened(h->w->s, kept < ho->count ? "crash that loses records" : "crash");
    truncate_log(ho, kept);
    go_down(ho, KAFKA_ERROR_NOT_COORDINATOR);
}

void group_host_resign(struct group_host *h, int shard)
{
    if (h->shards[shard].phase == SHARD_SERVES) {
        sim_note(h->w->s, "shard %d: resigns", shard);
        sim_happened(h->w->s, "resigned");
        go_down(&h->shards[shard], KAFKA_ERROR_NOT_COORDINATOR);
    }
}

void group_host_fail_next_append(struct group_host *h, int shard)
{
    h->shards[shard].fails_next = true;
}

void group_host_calm(struct group_host *h)
{
    for (int i = 0; i < h->shards_count; i++) {
        struct hosted *ho = &h->shards[i];
        ho->fails_next = false;
        if (ho->phase != SHARD_SERVES) {
            sim_arm(h->w->s, &ho->up, 0);
        }
    }
}

bool group_host_has_waited(const struct group_host *h, int64_t since_us)
{
    for (int i = 0; i < h->shards_count; i++) {
        list_foreach (node, &h->shards[i].inside) {
            if (list_entry(node, struct host_call, at)->arrived_us < since_us) {
                return true;
            }
        }
    }
    return false;
}

/* ---- the host ---- */

int group_host_shards(const struct group_host *h)
{
    return h->shards_count;
}

int group_host_shard_of(const struct group_host *h, int group)
{
    return group % h->shards_count;
}

struct shard *group_host_shard(const struct group_host *h, int shard)
{
    return h->shards[shard].phase == SHARD_SERVES ? h->shards[shard].sh : NULL;
}

struct group_host *group_host_new(struct world *w)
{
    struct group_host *h = mem_zalloc(sizeof(*h));
    h->w = w;
    list_init(&h->travelling);
    h->shards_count = 1 + (int)sim_rng_below(&w->rng, SHARDS_MAX);
    for (int i = 0; i < h->shards_count; i++) {
        struct hosted *ho = &h->shards[i];
        ho->h = h;
        ho->index = i;
        ho->compact_at = (size_t)sim_rng_between(&w->rng, 50, COMPACT_EVERY);
        list_init(&ho->inside);
        list_init(&ho->waiting);
        sim_event_init(&ho->timer, on_timer, ho);
        sim_event_init(&ho->commit, on_commit, ho);
        sim_event_init(&ho->up, on_up, ho);
        sim_arm(w->s, &ho->up, 0);
    }
    return h;
}

struct group_host *group_host_free(struct group_host *h)
{
    h->is_freed = true;
    for (int i = 0; i < h->shards_count; i++) {
        struct hosted *ho = &h->shards[i];
        if (ho->phase == SHARD_SERVES) {
            go_down(ho, KAFKA_ERROR_NOT_COORDINATOR);
        }
        sim_disarm(h->w->s, &ho->timer);
        sim_disarm(h->w->s, &ho->commit);
        sim_disarm(h->w->s, &ho->up);
        truncate_log(ho, 0);
        mem_free(ho->log);
    }
    for (struct list *node; (node = list_pop_front(&h->travelling)) != NULL;) {
        host_call_free(list_entry(node, struct host_call, at));
    }
    return mem_free(h);
}
