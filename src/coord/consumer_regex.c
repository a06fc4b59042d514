/*
 * Patterns of a consumer group: when they are matched against the names of all topics, and what
 * follows from it.
 *
 * A heartbeat finds the reason: a pattern that nobody had before, one that is not resolved, topics
 * that are newer than the last resolution, or its age. All patterns of the group are resolved then,
 * at most once in 10 s. The answer of that heartbeat goes by what was known before, as in Kafka,
 * where it is done aside; the next one sees the group's new epoch.
 *
 * Kafka: GroupMetadataManager.maybeUpdateRegularExpressions, handleRegularExpressionsResult,
 * TopicRegexResolver; KIP-848. A pattern is resolved as often as there is a reason, whoever asks:
 * there are no permissions of topics yet.
 */
#include "coord/consumer_private.h"

#include "base/base.h"
#include "coord/pattern.h"

#define REFRESH_MIN_INTERVAL_MS 10000

void consumer_regex_before(const struct consumer *cg, struct regex_before *ret)
{
    *ret = (struct regex_before){
        .resolved_count = cg->details->resolved_count,
        .timestamp = INT64_MIN,
    };
    bool is_first = true;
    hmap_foreach (node, &cg->details->regexes) {
        const struct subscribed_regex *sr = container_of(node, struct subscribed_regex, node);
        if (!sr->is_resolved) {
            continue;
        }
        ret->timestamp = max_i64(ret->timestamp, sr->timestamp);
        ret->version = is_first ? sr->version : min_i64(ret->version, sr->version);
        is_first = false;
    }
}

static bool is_due(const struct shard *sh,
                   const struct consumer *cg,
                   const struct regex_before *before,
                   bool is_new)
{
    const struct consumer_details *cd = cg->details;
    if (cd->subscribed_count == 0) {
        return false;
    }
    if (before->timestamp == INT64_MIN) {
        return true; /* nothing is resolved */
    }
    if (sh->wall_ms <= before->timestamp + REFRESH_MIN_INTERVAL_MS) {
        return false;
    }
    return is_new || cd->subscribed_count != before->resolved_count ||
           before->version < cd->new_topics_version ||
           sh->wall_ms > before->timestamp + sh->config->regex_refresh_interval_ms;
}

struct resolution {
    struct arena *arena;
    const struct pattern *pattern;
    struct str *topics; /* owned array, names borrowed from the event */
    size_t count;
    size_t cap;
};

static bool visit_topic(void *ctx, const struct shard_topic *t)
{
    struct resolution *rs = ctx;
    if (pattern_matches(rs->pattern, t->name)) {
        rs->topics = mem_grow(rs->topics, &rs->cap, rs->count + 1, sizeof(*rs->topics));
        rs->topics[rs->count++] = t->name;
    }
    return true;
}

static bool same_topics(const struct subscribed_regex *sr, const struct resolution *rs)
{
    size_t count = sr == NULL ? 0 : sr->topics_count;
    if (count != rs->count) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        if (!str_equal(sr->topics[i], rs->topics[i])) {
            return false;
        }
    }
    return true;
}

/* True: its topics are others than before. */
static bool resolve(struct shard *sh, struct group *g, struct str text, struct arena *arena)
{
    struct str reason;
    struct pattern *pattern = pattern_new(text, arena, &reason);
    struct resolution rs = {.arena = arena, .pattern = pattern};
    if (pattern != NULL) { /* one that a record has brought may be none: it matches nothing */
        sh->topics->each(sh->topics->ctx, visit_topic, &rs);
    }
    consumer_sort_names(rs.topics, &rs.count);
    bool has_changed = !same_topics(consumer_regex_find(g->consumer, text), &rs);
    consumer_emit_regex(sh, g, text, rs.topics, rs.count);
    mem_free(rs.topics);
    pattern_free(pattern);
    return has_changed;
}

void consumer_refresh_regexes(struct shard *sh,
                              struct group *g,
                              const struct regex_before *before,
                              bool is_new)
{
    struct consumer *cg = g->consumer;
    if (!is_due(sh, cg, before, is_new)) {
        return;
    }
    struct arena arena = {0};
    struct str *texts = arena_alloc(&arena, (cg->details->regexes.count + 1) * sizeof(*texts));
    size_t count = 0;
    hmap_foreach (node, &cg->details->regexes) {
        const struct subscribed_regex *sr = container_of(node, struct subscribed_regex, node);
        if (sr->members > 0) {
            texts[count++] = sr->text;
        }
    }
    consumer_sort_names(texts, &count);
    bool has_changed = false;
    for (size_t i = 0; i < count; i++) {
        has_changed |= resolve(sh, g, texts[i], &arena);
    }
    int64_t hash = consumer_compute_hash(sh, cg);
    if (has_changed || hash != cg->metadata_hash) {
        story_begin(sh, g, STORY_TOPICS_CHANGED, (struct str){0},
                    STR("topics that match a pattern have changed"));
        consumer_emit_epoch(sh, g, cg->epoch + 1, hash);
        cg->details->refresh_deadline_ms = sh->now_ms + INT32_MAX;
    }
    arena_release(&arena);
}
