/*
 * The shard: what all machines of a coordinator partition share. Records are in shard_records.c and
 * shard_replay.c; here are events, timers, completed calls and the memory of the state. It knows no
 * machine: what an event entails in them it asks of shard_machines.
 *
 * Memory is counted in one budget of the broker, over all shards. Loading takes what it needs, the
 * bound be what it may: what is in the log has been accepted before.
 */
#include "coord/shard.h"

#include "base/base.h"
#include "coord/shard_records.h"

struct shard *shard_new(const struct shard_machines *machines,
                        const struct shard_config *config,
                        int32_t partition,
                        uint64_t seed)
{
    struct shard *sh = mem_zalloc(sizeof(*sh));
    sh->machines = machines;
    sh->config = config;
    sh->partition = partition;
    sh->is_loading = true;
    rng_init(&sh->rng, seed);
    timers_init(&sh->timers);
    hmap_init(&sh->groups, rng_next(&sh->rng));
    list_init(&sh->completed);
    sh->out = shard_out_new();
    machines->init(sh);
    return sh;
}

struct shard *shard_free(struct shard *sh)
{
    if (sh == NULL) {
        return NULL;
    }
    check(list_is_empty(&sh->completed));
    sh->machines->release(sh);
    hmap_release(&sh->groups);
    timers_release(&sh->timers);
    sh->out = shard_out_free(sh->out);
    if (sh->charged != 0 && sh->config->memory != NULL) {
        mem_budget_give(sh->config->memory, sh->charged);
    }
    mem_free(sh);
    return NULL;
}

void shard_begin(struct shard *sh,
                 int64_t now_ms,
                 int64_t wall_ms,
                 const struct shard_topics *topics)
{
    sh->now_ms = now_ms;
    sh->wall_ms = wall_ms;
    sh->topics = topics;
}

void shard_loaded(struct shard *sh)
{
    check(sh->is_loading);
    sh->is_loading = false;
    arena_release(&sh->out->decoded);
    sh->machines->loaded(sh);
}

void shard_abandon(struct shard *sh, enum kafka_error error)
{
    sh->machines->abandon(sh, error);
}

void shard_run_timers(struct shard *sh)
{
    check(!sh->is_loading);
    (void)timers_run(&sh->timers, sh->now_ms);
}

int64_t shard_next_deadline(const struct shard *sh)
{
    return timers_next(&sh->timers);
}

void shard_topic_changed(struct shard *sh,
                         enum shard_topic_change change,
                         const struct shard_topic *t)
{
    sh->machines->topic_changed(sh, change, t);
}

void shard_complete(struct shard *sh, struct shard_call *call)
{
    check(!list_is_linked(&call->link));
    list_push_back(&sh->completed, &call->link);
}

bool shard_charge(struct shard *sh, int64_t bytes)
{
    struct mem_budget *b = sh->config->memory;
    if (b != NULL && sh->is_loading) {
        atomic_fetch_add_explicit(&b->used, bytes, memory_order_relaxed);
    } else if (b != NULL && !mem_budget_take(b, bytes)) {
        return false;
    }
    sh->charged += bytes;
    return true;
}

void shard_give(struct shard *sh, int64_t bytes)
{
    check(bytes <= sh->charged);
    sh->charged -= bytes;
    if (sh->config->memory != NULL) {
        mem_budget_give(sh->config->memory, bytes);
    }
}

/* Version 4, IETF variant. */
static void random_uuid(struct shard *sh, struct uuid *ret)
{
    store_be64(ret->bytes, rng_next(&sh->rng));
    store_be64(ret->bytes + 8, rng_next(&sh->rng));
    ret->bytes[6] = (uint8_t)((ret->bytes[6] & 0x0f) | 0x40);
    ret->bytes[8] = (uint8_t)((ret->bytes[8] & 0x3f) | 0x80);
}

void shard_java_uuid(struct shard *sh, char ret_text[static SHARD_JAVA_UUID_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    struct uuid id;
    random_uuid(sh, &id);
    char *at = ret_text;
    for (size_t i = 0; i < sizeof(id.bytes); i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10) {
            *at++ = '-';
        }
        *at++ = digits[id.bytes[i] >> 4];
        *at++ = digits[id.bytes[i] & 15];
    }
    *at = '\0';
}

void shard_kafka_uuid(struct shard *sh, char ret_text[static UUID_TEXT_SIZE])
{
    do {
        struct uuid id;
        random_uuid(sh, &id);
        uuid_print(&id, ret_text);
    } while (ret_text[0] == '-');
}

size_t shard_take_records(struct shard *sh,
                          void (*each)(void *ctx, struct view key, struct view value),
                          void *ctx)
{
    return shard_out_take(sh->out, each, ctx);
}

void shard_take_completed(struct shard *sh, struct list *to)
{
    list_splice_back(to, &sh->completed);
    sh->topics = NULL;
}
