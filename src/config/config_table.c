/*
 * Looking keys up in the tables of options: by name, and by nearness for people who mistyped one.
 *
 * The rows of a table are sorted, so a look-up is a binary search; a unit test holds the order.
 */
#include "config/config_table.h"

#include <assert.h>

static const struct config_table *const broker_tables[] = {
    &config_table_server, &config_table_log,      &config_table_group,
    &config_table_coord,  &config_table_security, &config_table_remote,
};

const struct config_table *config_table_broker(size_t index)
{
    return index < ARRAY_LEN(broker_tables) ? broker_tables[index] : NULL;
}

const struct config_row *config_table_find(const struct config_table *table, struct str name)
{
    size_t low = 0;
    size_t high = table->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = str_compare(name, str_from(table->rows[middle].name));
        if (order == 0) {
            return &table->rows[middle];
        }
        if (order < 0) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return NULL;
}

const struct config_row *config_table_find_broker(struct str name)
{
    for (size_t i = 0; i < ARRAY_LEN(broker_tables); i++) {
        const struct config_row *row = config_table_find(broker_tables[i], name);
        if (row != NULL) {
            return row;
        }
    }
    return NULL;
}

struct str config_table_listener_key(struct str name, struct str *ret_listener)
{
    struct str prefix = STR("listener.name.");
    if (!str_starts_with(name, prefix)) {
        return (struct str){0};
    }
    struct str rest = str_of(name.ptr + prefix.len, name.len - prefix.len);
    const char *dot = rest.len == 0 ? NULL : memchr(rest.ptr, '.', rest.len);
    if (dot == NULL) {
        return (struct str){0};
    }
    size_t len = (size_t)(dot - rest.ptr);
    *ret_listener = str_of(rest.ptr, len);
    return str_of(dot + 1, rest.len - len - 1);
}

const struct config_row *config_table_find_prefixed(struct str name)
{
    const struct config_row *row = config_table_find_broker(name);
    struct str listener;
    struct str base = row == NULL ? config_table_listener_key(name, &listener) : (struct str){0};
    return str_is_null(base) ? row : config_table_find_broker(base);
}

size_t config_table_broker_count(void)
{
    size_t count = 0;
    for (size_t i = 0; i < ARRAY_LEN(broker_tables); i++) {
        count += broker_tables[i]->count;
    }
    return count;
}

void config_table_broker_sorted(const struct config_row **ret)
{
    /* A merge: each table is sorted. */
    size_t next[ARRAY_LEN(broker_tables)] = {0};
    size_t count = config_table_broker_count();
    for (size_t n = 0; n < count; n++) {
        size_t best = ARRAY_LEN(broker_tables);
        for (size_t i = 0; i < ARRAY_LEN(broker_tables); i++) {
            if (next[i] == broker_tables[i]->count) {
                continue;
            }
            if (best == ARRAY_LEN(broker_tables) ||
                strcmp(broker_tables[i]->rows[next[i]].name,
                       broker_tables[best]->rows[next[best]].name) < 0) {
                best = i;
            }
        }
        check(best < ARRAY_LEN(broker_tables));
        ret[n] = &broker_tables[best]->rows[next[best]];
        next[best]++;
    }
}

static const struct config_synonym_rule synonyms[] = {
    {"cleanup.policy", {"log.cleanup.policy"}, {1}},
    {"compression.gzip.level", {"compression.gzip.level"}, {1}},
    {"compression.lz4.level", {"compression.lz4.level"}, {1}},
    {"compression.type", {"compression.type"}, {1}},
    {"compression.zstd.level", {"compression.zstd.level"}, {1}},
    {"delete.retention.ms", {"log.cleaner.delete.retention.ms"}, {1}},
    {"file.delete.delay.ms", {"log.segment.delete.delay.ms"}, {1}},
    {"flush.messages", {"log.flush.interval.messages"}, {1}},
    {"flush.ms", {"log.flush.interval.ms", "log.flush.scheduler.interval.ms"}, {1, 1}},
    {"index.interval.bytes", {"log.index.interval.bytes"}, {1}},
    {"local.retention.bytes", {"log.local.retention.bytes"}, {1}},
    {"local.retention.ms", {"log.local.retention.ms"}, {1}},
    {"max.compaction.lag.ms", {"log.cleaner.max.compaction.lag.ms"}, {1}},
    {"max.decompressed.message.bytes", {"max.decompressed.message.bytes"}, {1}},
    {"max.message.bytes", {"message.max.bytes"}, {1}},
    {"message.timestamp.after.max.ms", {"log.message.timestamp.after.max.ms"}, {1}},
    {"message.timestamp.before.max.ms", {"log.message.timestamp.before.max.ms"}, {1}},
    {"message.timestamp.type", {"log.message.timestamp.type"}, {1}},
    {"min.cleanable.dirty.ratio", {"log.cleaner.min.cleanable.ratio"}, {1}},
    {"min.compaction.lag.ms", {"log.cleaner.min.compaction.lag.ms"}, {1}},
    {"min.insync.replicas", {"min.insync.replicas"}, {1}},
    {"preallocate", {"log.preallocate"}, {1}},
    {"remote.copy.lag.bytes", {"log.remote.copy.lag.bytes"}, {1}},
    {"remote.copy.lag.ms", {"log.remote.copy.lag.ms"}, {1}},
    {"retention.bytes", {"log.retention.bytes"}, {1}},
    {"retention.ms",
     {"log.retention.ms", "log.retention.minutes", "log.retention.hours"},
     {1, 60 * 1000, 60 * 60 * 1000}},
    {"segment.bytes", {"log.segment.bytes"}, {1}},
    {"segment.index.bytes", {"log.index.size.max.bytes"}, {1}},
    {"segment.jitter.ms", {"log.roll.jitter.ms", "log.roll.jitter.hours"}, {1, 60 * 60 * 1000}},
    {"segment.ms", {"log.roll.ms", "log.roll.hours"}, {1, 60 * 60 * 1000}},
    {"unclean.leader.election.enable", {"unclean.leader.election.enable"}, {1}},
};
static_assert(ARRAY_LEN(synonyms) == CONFIG_SYNONYM_RULES, "one rule a topic key with synonyms");

const struct config_synonym_rule *config_table_synonym_rules(void)
{
    return synonyms;
}

const struct config_synonym_rule *config_table_synonym_rule(struct str topic_key)
{
    size_t low = 0;
    size_t high = ARRAY_LEN(synonyms);
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = str_compare(topic_key, str_from(synonyms[middle].topic_key));
        if (order == 0) {
            return &synonyms[middle];
        }
        if (order < 0) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return NULL;
}

#define NEAREST_NAME_MAX 120

/* Levenshtein's distance; both at most NEAREST_NAME_MAX long. */
static size_t edit_distance(struct str a, struct str b)
{
    size_t row[NEAREST_NAME_MAX + 1];
    for (size_t j = 0; j <= b.len; j++) {
        row[j] = j;
    }
    for (size_t i = 1; i <= a.len; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b.len; j++) {
            size_t change = diagonal + (a.ptr[i - 1] == b.ptr[j - 1] ? 0 : 1);
            diagonal = row[j];
            row[j] = min_size(change, min_size(row[j], row[j - 1]) + 1);
        }
    }
    return row[b.len];
}

const struct config_row *config_table_nearest(struct str name)
{
    if (name.len > NEAREST_NAME_MAX) {
        return NULL;
    }
    const struct config_row *best = NULL;
    size_t best_distance = name.len / 3 + 1;
    for (size_t i = 0; i < ARRAY_LEN(broker_tables); i++) {
        for (size_t j = 0; j < broker_tables[i]->count; j++) {
            const struct config_row *row = &broker_tables[i]->rows[j];
            struct str known = str_from(row->name);
            if (row->audience == CONFIG_INTERNAL || known.len > NEAREST_NAME_MAX) {
                continue;
            }
            size_t distance = edit_distance(name, known);
            if (distance < best_distance) {
                best = row;
                best_distance = distance;
            }
        }
    }
    return best;
}

const char *config_table_type_name(enum config_type type)
{
    switch (type) {
    case CONFIG_TYPE_UNKNOWN:
        break;
    case CONFIG_TYPE_BOOLEAN:
        return "BOOLEAN";
    case CONFIG_TYPE_STRING:
        return "STRING";
    case CONFIG_TYPE_INT:
        return "INT";
    case CONFIG_TYPE_SHORT:
        return "SHORT";
    case CONFIG_TYPE_LONG:
        return "LONG";
    case CONFIG_TYPE_DOUBLE:
        return "DOUBLE";
    case CONFIG_TYPE_LIST:
        return "LIST";
    case CONFIG_TYPE_CLASS:
        return "CLASS";
    case CONFIG_TYPE_PASSWORD:
        return "PASSWORD";
    }
    return "UNKNOWN";
}

const char *config_table_scope_name(enum config_scope scope)
{
    switch (scope) {
    case CONFIG_SCOPE_READ_ONLY:
        return "read-only";
    case CONFIG_SCOPE_PER_BROKER:
        return "per-broker";
    case CONFIG_SCOPE_CLUSTER:
        return "cluster-wide";
    case CONFIG_SCOPE_TOPIC:
        return "topic";
    case CONFIG_SCOPE_GROUP:
        return "group";
    case CONFIG_SCOPE_CLIENT_METRICS:
        return "client-metrics";
    }
    return "unknown";
}
