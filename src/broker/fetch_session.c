/*
 * Fetch sessions; see fetch_session.h. A session keeps its partitions in a list in fetch order
 * (those that returned data go to the end, so that all get their turn under a byte limit) and in a
 * hash map.
 */
#include "broker/fetch_session.h"

#include "base/hmap.h"
#include "base/list.h"

/* A target has one of the two. */
static const struct str no_topic;
static const struct uuid no_id;

#define SWEEP_PARTITIONS 200 /* of ended sessions, freed by one call */
#define TEXT_BYTES       64  /* what a partition holds beside itself, about */

struct session_partition {
    struct hmap_node node;
    struct list order;
    struct str topic; /* owned text; null when by id */
    struct uuid topic_id;
    struct str name; /* owned text; of a topic by id, once it was found */
    int32_t partition;
    int32_t current_leader_epoch;
    int32_t last_fetched_epoch;
    int32_t max_bytes;
    int64_t fetch_offset;
    int64_t log_start_offset;
    int64_t sent_high_watermark; /* -1: send in any case */
    int64_t sent_log_start;
};

struct session {
    struct hmap_node node;
    struct list used; /* least recently used first */
    int32_t id;
    int32_t epoch; /* expected next */
    int64_t last_used_ms;
    bool uses_ids;
    struct hmap partitions;
    struct list order;
};

struct fetch_sessions {
    struct hmap by_id;
    struct list used;
    struct list ended;         /* struct session by used: being taken apart */
    struct mem_budget *memory; /* borrowed; NULL: no bound */
    uint32_t id_step;
    size_t slots;
    uint64_t seed;
};

struct fetch_sessions *fetch_sessions_new(size_t slots, uint64_t seed)
{
    struct fetch_sessions *fs = mem_zalloc(sizeof(*fs));
    hmap_init(&fs->by_id, seed);
    list_init(&fs->used);
    list_init(&fs->ended);
    fs->id_step = 1;
    fs->slots = slots;
    fs->seed = seed;
    return fs;
}

void fetch_sessions_limit(struct fetch_sessions *fs, struct mem_budget *memory, uint32_t id_step)
{
    fs->memory = memory;
    fs->id_step = id_step;
}

static int64_t partition_bytes(struct str topic)
{
    return to_i64(sizeof(struct session_partition) + TEXT_BYTES + topic.len);
}

static void
partition_free(struct fetch_sessions *fs, struct session *ss, struct session_partition *sp)
{
    if (fs->memory != NULL) {
        mem_budget_give(fs->memory, partition_bytes(sp->topic));
    }
    hmap_remove(&ss->partitions, &sp->node);
    list_remove(&sp->order);
    mem_free((char *)(uintptr_t)sp->topic.ptr);
    mem_free((char *)(uintptr_t)sp->name.ptr);
    mem_free(sp);
}

/* Frees at most `left` partitions of sessions that have ended. */
static void sweep(struct fetch_sessions *fs, size_t left)
{
    while (!list_is_empty(&fs->ended)) {
        struct session *ss = list_entry(fs->ended.next, struct session, used);
        while (!list_is_empty(&ss->order)) {
            if (left == 0) {
                return;
            }
            left--;
            partition_free(fs, ss, list_entry(ss->order.next, struct session_partition, order));
        }
        hmap_release(&ss->partitions);
        list_remove(&ss->used);
        mem_free(ss);
    }
}

static void session_end(struct fetch_sessions *fs, struct session *ss)
{
    hmap_remove(&fs->by_id, &ss->node);
    list_remove(&ss->used);
    list_push_back(&fs->ended, &ss->used);
    sweep(fs, SWEEP_PARTITIONS);
}

struct fetch_sessions *fetch_sessions_free(struct fetch_sessions *fs)
{
    if (fs != NULL) {
        list_splice_back(&fs->ended, &fs->used);
        sweep(fs, SIZE_MAX);
        hmap_release(&fs->by_id);
        mem_free(fs);
    }
    return NULL;
}

size_t fetch_sessions_count(const struct fetch_sessions *fs)
{
    return fs->by_id.count;
}

static struct session *session_find(const struct fetch_sessions *fs, int32_t id)
{
    uint64_t hash = hash_u64((uint64_t)id, fs->seed);
    for (struct hmap_node *n = hmap_first(&fs->by_id, hash); n != NULL; n = hmap_next(n)) {
        struct session *ss = container_of(n, struct session, node);
        if (ss->id == id) {
            return ss;
        }
    }
    return NULL;
}

size_t fetch_session_size(const struct fetch_sessions *fs, int32_t id)
{
    const struct session *ss = session_find(fs, id);
    return ss == NULL ? 0 : ss->partitions.count;
}

static uint64_t
target_hash(uint64_t seed, struct str topic, const struct uuid *id, int32_t partition)
{
    uint64_t h = hash_bytes(id->bytes, sizeof(id->bytes), seed + (uint32_t)partition);
    return str_is_null(topic) ? h : hash_str(topic, h);
}

static bool is_same(struct str topic_a,
                    const struct uuid *id_a,
                    int32_t a,
                    struct str topic_b,
                    const struct uuid *id_b,
                    int32_t b)
{
    return a == b && uuid_equal(id_a, id_b) && str_equal(topic_a, topic_b);
}

static struct session_partition *session_partition_find(const struct session *ss,
                                                        struct str topic,
                                                        const struct uuid *id,
                                                        int32_t partition)
{
    uint64_t hash = target_hash(ss->partitions.seed, topic, id, partition);
    for (struct hmap_node *n = hmap_first(&ss->partitions, hash); n != NULL; n = hmap_next(n)) {
        struct session_partition *sp = container_of(n, struct session_partition, node);
        if (is_same(sp->topic, &sp->topic_id, sp->partition, topic, id, partition)) {
            return sp;
        }
    }
    return NULL;
}

static struct str own_text(struct str text)
{
    return str_is_null(text) ? (struct str){0} : str_of(mem_strndup(text.ptr, text.len), text.len);
}

/* What was answered, for the next answer to differ from. */
static void session_partition_sent(struct session_partition *sp, const struct fetch_outcome *o)
{
    sp->sent_high_watermark = o->has_error ? -1 : o->high_watermark;
    sp->sent_log_start = o->log_start_offset;
    if (str_is_null(sp->name)) {
        sp->name = own_text(o->name);
    }
}

static void session_partition_set(struct session_partition *sp, const struct fetch_target *t)
{
    sp->current_leader_epoch = t->current_leader_epoch;
    sp->last_fetched_epoch = t->last_fetched_epoch;
    sp->max_bytes = t->max_bytes;
    sp->fetch_offset = t->fetch_offset;
    sp->log_start_offset = t->log_start_offset;
}

/* NULL: there is no memory for it. */
static struct session_partition *
session_add(struct fetch_sessions *fs, struct session *ss, const struct fetch_target *t)
{
    if (fs->memory != NULL && !mem_budget_take(fs->memory, partition_bytes(t->topic))) {
        return NULL;
    }
    struct session_partition *sp = mem_zalloc(sizeof(*sp));
    sp->topic = own_text(t->topic);
    sp->topic_id = t->topic_id;
    sp->partition = t->partition;
    sp->sent_high_watermark = -1;
    sp->sent_log_start = -1;
    session_partition_set(sp, t);
    list_push_back(&ss->order, &sp->order);
    hmap_insert(&ss->partitions, &sp->node,
                target_hash(ss->partitions.seed, sp->topic, &sp->topic_id, sp->partition));
    return sp;
}

/* The partitions of a request in its order; of one named twice the last counts. */
static void collect(const struct fetch_sessions *fs,
                    const struct fetch_request *body,
                    bool uses_ids,
                    struct arena *arena,
                    struct fetch_target **ret,
                    size_t *ret_count)
{
    struct indexed {
        struct hmap_node node;
        size_t index;
    };
    size_t total = 0;
    for (int32_t i = 0; i < body->topics.count; i++) {
        total += (size_t)body->topics.items[i].partitions.count;
    }
    struct fetch_target *targets = arena_alloc(arena, (total + 1) * sizeof(*targets));
    struct hmap seen;
    hmap_init(&seen, fs->seed);
    size_t count = 0;
    for (int32_t i = 0; i < body->topics.count; i++) {
        const struct fetch_request_fetch_topic *topic = &body->topics.items[i];
        for (int32_t j = 0; j < topic->partitions.count; j++) {
            const struct fetch_request_fetch_partition *fp = &topic->partitions.items[j];
            struct fetch_target t = {
                .topic = uses_ids ? no_topic : topic->topic,
                .topic_id = uses_ids ? topic->topic_id : no_id,
                .partition = fp->partition,
                .current_leader_epoch = fp->current_leader_epoch,
                .last_fetched_epoch = fp->last_fetched_epoch,
                .max_bytes = fp->partition_max_bytes,
                .fetch_offset = fp->fetch_offset,
                .log_start_offset = fp->log_start_offset,
            };
            size_t at = count;
            if (total > 1) {
                uint64_t hash = target_hash(fs->seed, t.topic, &t.topic_id, t.partition);
                struct hmap_node *n = hmap_first(&seen, hash);
                for (; n != NULL; n = hmap_next(n)) {
                    const struct fetch_target *other =
                        &targets[container_of(n, struct indexed, node)->index];
                    if (is_same(other->topic, &other->topic_id, other->partition, t.topic,
                                &t.topic_id, t.partition)) {
                        break;
                    }
                }
                if (n != NULL) {
                    at = container_of(n, struct indexed, node)->index;
                } else {
                    struct indexed *ix = arena_alloc(arena, sizeof(*ix));
                    ix->index = count;
                    hmap_insert(&seen, &ix->node, hash);
                }
            }
            targets[at] = t;
            if (at == count) {
                count++;
            }
        }
    }
    hmap_release(&seen);
    *ret = targets;
    *ret_count = count;
}

static void forget(struct fetch_sessions *fs,
                   struct session *ss,
                   const struct fetch_request *body,
                   bool uses_ids)
{
    for (int32_t i = 0; i < body->forgotten_topics_data.count; i++) {
        const struct fetch_request_forgotten_topic *ft = &body->forgotten_topics_data.items[i];
        struct str topic = uses_ids ? no_topic : ft->topic;
        struct uuid id = uses_ids ? ft->topic_id : no_id;
        for (int32_t j = 0; j < ft->partitions.count; j++) {
            struct session_partition *sp =
                session_partition_find(ss, topic, &id, ft->partitions.items[j]);
            if (sp != NULL) {
                partition_free(fs, ss, sp);
            }
        }
    }
}

static void
session_targets(const struct session *ss, struct arena *arena, struct fetch_context *ret)
{
    ret->targets = arena_alloc(arena, (ss->partitions.count + 1) * sizeof(*ret->targets));
    list_foreach (node, &ss->order) {
        const struct session_partition *sp = list_entry(node, struct session_partition, order);
        ret->targets[ret->count++] = (struct fetch_target){
            .topic = arena_strdup(arena, sp->topic),
            .topic_id = sp->topic_id,
            .name = arena_strdup(arena, sp->name),
            .partition = sp->partition,
            .current_leader_epoch = sp->current_leader_epoch,
            .last_fetched_epoch = sp->last_fetched_epoch,
            .max_bytes = sp->max_bytes,
            .fetch_offset = sp->fetch_offset,
            .log_start_offset = sp->log_start_offset,
        };
    }
}

void fetch_session_begin(struct fetch_sessions *fs,
                         const struct fetch_request *body,
                         int16_t version,
                         int64_t now_ms,
                         struct arena *arena,
                         struct fetch_context *ret)
{
    bool uses_ids = version >= 13;
    if (body->session_id != 0) {
        sweep(fs, SWEEP_PARTITIONS);
    }
    *ret = (struct fetch_context){
        .kind = FETCH_SESSIONLESS,
        .session_id = 0,
        .epoch = body->session_epoch,
        .uses_ids = uses_ids,
    };
    if (body->session_epoch == 0 || body->session_epoch == -1) {
        struct session *old = body->session_id == 0 ? NULL : session_find(fs, body->session_id);
        if (old != NULL) {
            session_end(fs, old);
        }
        ret->kind = body->session_epoch == 0 ? FETCH_FULL : FETCH_SESSIONLESS;
        collect(fs, body, uses_ids, arena, &ret->targets, &ret->count);
        return;
    }
    struct session *ss = body->session_id == 0 ? NULL : session_find(fs, body->session_id);
    if (ss == NULL) {
        ret->error = KAFKA_ERROR_FETCH_SESSION_ID_NOT_FOUND;
        return;
    }
    if (ss->epoch != body->session_epoch) {
        ret->error = KAFKA_ERROR_INVALID_FETCH_SESSION_EPOCH;
        return;
    }
    if (ss->uses_ids != uses_ids) {
        ret->error = KAFKA_ERROR_FETCH_SESSION_TOPIC_ID_ERROR;
        return;
    }
    struct fetch_target *news = NULL;
    size_t news_count = 0;
    collect(fs, body, uses_ids, arena, &news, &news_count);
    for (size_t i = 0; i < news_count; i++) {
        struct session_partition *sp =
            session_partition_find(ss, news[i].topic, &news[i].topic_id, news[i].partition);
        if (sp != NULL) {
            session_partition_set(sp, &news[i]);
        } else if (session_add(fs, ss, &news[i]) == NULL) {
            session_end(fs, ss); /* it does not fit any more: the client goes on without one */
            ret->error = KAFKA_ERROR_FETCH_SESSION_ID_NOT_FOUND;
            return;
        }
    }
    forget(fs, ss, body, uses_ids);
    if (ss->partitions.count == 0) {
        /* Nothing is left: the session ends, and the answer says so with id 0. What the request
         * names beside what it forgets is answered all the same. */
        session_end(fs, ss);
        ret->targets = news;
        ret->count = news_count;
        return;
    }
    ss->last_used_ms = now_ms;
    ss->epoch = ss->epoch == INT32_MAX ? 1 : ss->epoch + 1;
    list_remove(&ss->used);
    list_push_back(&fs->used, &ss->used);
    ret->kind = FETCH_INCREMENTAL;
    ret->session_id = ss->id;
    session_targets(ss, arena, ret);
}

/* Room for one more: a free slot, one that is idle for long, or a smaller one. */
static bool make_room(struct fetch_sessions *fs, size_t partitions, int64_t now_ms)
{
    if (fs->slots == 0) {
        return false;
    }
    if (fs->by_id.count < fs->slots) {
        return true;
    }
    struct session *oldest = list_entry(fs->used.next, struct session, used);
    if (now_ms - oldest->last_used_ms > FETCH_SESSION_EVICT_MS ||
        oldest->partitions.count < partitions) {
        session_end(fs, oldest);
        return true;
    }
    return false;
}

static int32_t make_session(struct fetch_sessions *fs,
                            const struct fetch_context *fc,
                            const struct fetch_outcome *outcomes,
                            int64_t now_ms,
                            uint32_t random)
{
    if (!make_room(fs, fc->count, now_ms)) {
        return 0;
    }
    int32_t id = (int32_t)(random & INT32_MAX);
    while (id == 0 || session_find(fs, id) != NULL) {
        id = id > INT32_MAX - (int32_t)fs->id_step ? id % (int32_t)fs->id_step
                                                   : id + (int32_t)fs->id_step;
    }
    struct session *ss = mem_zalloc(sizeof(*ss));
    ss->id = id;
    ss->epoch = 1;
    ss->last_used_ms = now_ms;
    ss->uses_ids = fc->uses_ids;
    hmap_init(&ss->partitions, fs->seed);
    list_init(&ss->order);
    list_push_back(&fs->used, &ss->used);
    hmap_insert(&fs->by_id, &ss->node, hash_u64((uint64_t)id, fs->seed));
    for (size_t i = 0; i < fc->count; i++) {
        struct session_partition *sp = session_add(fs, ss, &fc->targets[i]);
        if (sp == NULL) {
            session_end(fs, ss);
            return 0;
        }
        session_partition_sent(sp, &outcomes[i]);
    }
    return id;
}

int32_t fetch_session_end(struct fetch_sessions *fs,
                          const struct fetch_context *fc,
                          const struct fetch_outcome *outcomes,
                          int64_t now_ms,
                          uint32_t random,
                          bool *ret_send)
{
    for (size_t i = 0; i < fc->count; i++) {
        ret_send[i] = true;
    }
    if (fc->kind == FETCH_SESSIONLESS) {
        return 0;
    }
    sweep(fs, SWEEP_PARTITIONS);
    if (fc->kind == FETCH_FULL) {
        return make_session(fs, fc, outcomes, now_ms, random);
    }
    struct session *ss = session_find(fs, fc->session_id);
    if (ss == NULL) {
        return fc->session_id; /* ended while this request waited: the next one is told */
    }
    for (size_t i = 0; i < fc->count; i++) {
        const struct fetch_target *t = &fc->targets[i];
        struct session_partition *sp =
            session_partition_find(ss, t->topic, &t->topic_id, t->partition);
        const struct fetch_outcome *o = &outcomes[i];
        if (sp == NULL) {
            continue;
        }
        bool changed = o->has_records || o->has_error || o->must_send ||
                       sp->sent_high_watermark != o->high_watermark ||
                       sp->sent_log_start != o->log_start_offset;
        ret_send[i] = changed;
        session_partition_sent(sp, o);
        if (o->has_records) {
            list_remove(&sp->order);
            list_push_back(&ss->order, &sp->order);
        }
    }
    return fc->session_id;
}
