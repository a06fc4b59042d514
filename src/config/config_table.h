/*
 * The tables of options: every key that Kafka 4.4 knows, and our own. One row is one fact in one
 * place; parsing, checks, DescribeConfigs and `jackdaw configs` are made from it. Constant data,
 * any thread.
 */
#ifndef CONFIG_CONFIG_TABLE_H
#define CONFIG_CONFIG_TABLE_H

#include "base/base.h"
#include "base/str.h"

enum config_type { /* DescribeConfigs' codes */
    CONFIG_TYPE_UNKNOWN = 0,
    CONFIG_TYPE_BOOLEAN = 1,
    CONFIG_TYPE_STRING = 2,
    CONFIG_TYPE_INT = 3,
    CONFIG_TYPE_SHORT = 4,
    CONFIG_TYPE_LONG = 5,
    CONFIG_TYPE_DOUBLE = 6,
    CONFIG_TYPE_LIST = 7,
    CONFIG_TYPE_CLASS = 8,
    CONFIG_TYPE_PASSWORD = 9,
};

/* Where a key may be changed while the broker runs. */
enum config_scope {
    CONFIG_SCOPE_READ_ONLY,  /* at start only */
    CONFIG_SCOPE_PER_BROKER, /* for one broker */
    CONFIG_SCOPE_CLUSTER,    /* for one broker or for all */
    CONFIG_SCOPE_TOPIC,
    CONFIG_SCOPE_GROUP,
    CONFIG_SCOPE_CLIENT_METRICS,
};

enum config_effect {
    CONFIG_NO_EFFECT, /* accepted, checked, shown, and nothing more */
    CONFIG_EFFECT,
    CONFIG_EFFECT_AT_START, /* a change while the broker runs, which Kafka takes, is refused */
};

/* Who sees a key. */
enum config_audience {
    CONFIG_PUBLIC,
    CONFIG_INTERNAL,     /* Kafka's own secret ones: shown only when they are set */
    CONFIG_OWN,          /* jackdaw's: shown only when they are named */
    CONFIG_DYNAMIC_ONLY, /* not of server.properties; shown only when they are set */
};

/* What is allowed beside the type. */
enum config_check {
    CONFIG_CHECK_ANY,
    CONFIG_CHECK_RANGE,              /* min to max */
    CONFIG_CHECK_RANGE_OR,           /* min to max, or `other` */
    CONFIG_CHECK_REAL,               /* min to max thousandths */
    CONFIG_CHECK_NOT_EMPTY,          /* a string */
    CONFIG_CHECK_ONE_OF,             /* of `names` */
    CONFIG_CHECK_ONE_OF_CASELESS,    /* the same, capital letters or not */
    CONFIG_CHECK_VALUES,             /* a list without empty values; repeated ones count once */
    CONFIG_CHECK_SOME_VALUES,        /* the same, not empty */
    CONFIG_CHECK_LIST_OF,            /* a list of `names` */
    CONFIG_CHECK_LIST_OF_SOME,       /* the same, not empty */
    CONFIG_CHECK_THROTTLED_REPLICAS, /* "*" or partition:broker,... */
    CONFIG_CHECK_VOTERS,             /* id@host:port,... */
    CONFIG_CHECK_HOST_PORTS,         /* host:port,... */
    CONFIG_CHECK_OFFSET_RESET,       /* latest, earliest, by_duration:... */
};

struct config_row {
    const char *name;
    const char *default_text; /* as Kafka prints it; NULL: not set */
    const char *names;        /* of the check, separated by commas; NULL: none */
    const char *doc;
    int64_t min;
    int64_t max;
    int64_t other;
    enum config_type type;
    enum config_check check;
    enum config_scope scope;
    enum config_effect effect;
    enum config_audience audience;
};

#define CONFIG_ROW(t, n, d, allowed, s, e, a, text)                               \
    {                                                                             \
        .name = (n), .default_text = (d), .doc = (text), .type = CONFIG_TYPE_##t, \
        .scope = CONFIG_SCOPE_##s, .effect = CONFIG_##e, .audience = CONFIG_##a,  \
        CONFIG_MAY_##allowed                                                      \
    }

#define CONFIG_MAY(what)           .check = CONFIG_CHECK_##what
#define CONFIG_MAY_ANY             CONFIG_MAY(ANY)
#define CONFIG_MAY_AT_LEAST(lo)    CONFIG_MAY(RANGE), .min = (lo), .max = INT64_MAX
#define CONFIG_MAY_BETWEEN(lo, hi) CONFIG_MAY(RANGE), .min = (lo), .max = (hi)
#define CONFIG_MAY_BETWEEN_OR(lo, hi, also) \
    CONFIG_MAY(RANGE_OR), .min = (lo), .max = (hi), .other = (also)
#define CONFIG_MAY_BETWEEN_THOUSANDTHS(lo, hi) CONFIG_MAY(REAL), .min = (lo), .max = (hi)
#define CONFIG_MAY_NOT_EMPTY                   CONFIG_MAY(NOT_EMPTY)
#define CONFIG_MAY_ONE_OF(list)                CONFIG_MAY(ONE_OF), .names = (list)
#define CONFIG_MAY_ONE_OF_CASELESS(list)       CONFIG_MAY(ONE_OF_CASELESS), .names = (list)
#define CONFIG_MAY_VALUES                      CONFIG_MAY(VALUES)
#define CONFIG_MAY_SOME_VALUES                 CONFIG_MAY(SOME_VALUES)
#define CONFIG_MAY_LIST_OF(list)               CONFIG_MAY(LIST_OF), .names = (list)
#define CONFIG_MAY_LIST_OF_SOME(list)          CONFIG_MAY(LIST_OF_SOME), .names = (list)
#define CONFIG_MAY_THROTTLED_REPLICAS          CONFIG_MAY(THROTTLED_REPLICAS)
#define CONFIG_MAY_VOTERS                      CONFIG_MAY(VOTERS)
#define CONFIG_MAY_HOST_PORTS                  CONFIG_MAY(HOST_PORTS)
#define CONFIG_MAY_OFFSET_RESET                CONFIG_MAY(OFFSET_RESET)

struct config_table {
    const struct config_row *rows; /* sorted by name in byte order */
    size_t count;
};

extern const struct config_table config_table_server;
extern const struct config_table config_table_log;
extern const struct config_table config_table_group;
extern const struct config_table config_table_coord;
extern const struct config_table config_table_security;
extern const struct config_table config_table_remote;

extern const struct config_table config_table_topic;
extern const struct config_table config_table_group_resource;
extern const struct config_table config_table_client_metrics;

/* The tables of broker keys, in no order; NULL beyond the last one. */
const struct config_table *config_table_broker(size_t index);

/* NULL: no such key. */
const struct config_row *config_table_find(const struct config_table *table, struct str name);
const struct config_row *config_table_find_broker(struct str name);
/* "key" of "listener.name.x.key", and x; null: the name has no such prefix. */
struct str config_table_listener_key(struct str name, struct str *ret_listener);
/* The row of a broker key, by what is behind its prefix where it has one; NULL: no such key. */
const struct config_row *config_table_find_prefixed(struct str name);

/* The broker keys that give a topic key its default, the first that is set wins. */
struct config_synonym_rule {
    const char *topic_key;
    const char *broker_keys[3]; /* NULL: none */
    int64_t factors[3];         /* to the unit of the topic key */
};
#define CONFIG_SYNONYM_RULES 31
const struct config_synonym_rule *config_table_synonym_rules(void); /* sorted by topic_key */
const struct config_synonym_rule *config_table_synonym_rule(struct str topic_key); /* NULL: none */

/* All broker keys sorted by name, into an array with room for config_table_broker_count() rows. */
size_t config_table_broker_count(void);
void config_table_broker_sorted(const struct config_row **ret);

/* The known broker key that is nearest by edits, or NULL when none is near (a third of its length).
 */
const struct config_row *config_table_nearest(struct str name);

const char *config_table_type_name(enum config_type type);
const char *config_table_scope_name(enum config_scope scope);

#endif
