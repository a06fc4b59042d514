/*
 * What the broker was told: the values of server.properties, the command line and the environment
 * over the defaults of the tables, and how dynamic values of the metadata image lie over them.
 *
 * Built by config_load (config/config_load.h) before threads run; immutable afterwards, any thread.
 * Names in calls are keys of the tables: a name that is in none is a bug (check).
 */
#ifndef CONFIG_CONFIG_H
#define CONFIG_CONFIG_H

#include "base/base.h"
#include "base/mem.h"
#include "base/str.h"
#include "config/config_listeners.h"
#include "config/config_table.h"
#include "config/config_value.h"
#include "meta/image.h"

/* Where a value comes from: DescribeConfigs' codes. */
enum config_source {
    CONFIG_SOURCE_UNKNOWN = 0,
    CONFIG_SOURCE_TOPIC = 1,
    CONFIG_SOURCE_DYNAMIC_BROKER = 2,
    CONFIG_SOURCE_DYNAMIC_DEFAULT_BROKER = 3,
    CONFIG_SOURCE_STATIC_BROKER = 4,
    CONFIG_SOURCE_DEFAULT = 5,
    CONFIG_SOURCE_LOGGER = 6,
    CONFIG_SOURCE_CLIENT_METRICS = 7,
    CONFIG_SOURCE_GROUP = 8,
};

/* Who said a static value; a later one wins. */
enum config_origin {
    CONFIG_ORIGIN_BUILT_IN, /* what holds without a properties file */
    CONFIG_ORIGIN_ENVIRONMENT,
    CONFIG_ORIGIN_FILE,
    CONFIG_ORIGIN_COMMAND_LINE,
    CONFIG_ORIGIN_SYNONYM, /* broker.id from node.id and the other way round */
};

/* One static value as it was given. */
struct config_entry {
    struct str name;
    struct str text;
    const struct config_row *row; /* NULL: an unknown key */
    enum config_origin origin;
    size_t sequence;
};

struct config;

struct config *config_new(void);
struct config *config_free(struct config *c); /* takes NULL, returns NULL */

/* Building. Texts are copied. A key may be set again; config_sort keeps the one that wins, and
 * after it the getters work. config_check_types says what is wrong with the first bad value. */
void config_set(struct config *c, struct str name, struct str text, enum config_origin origin);
void config_remove(struct config *c, struct str name); /* after config_sort */
void config_sort(struct config *c);
must_check bool config_check_types(struct config *c, struct arena *arena, struct str *ret_message);
void config_set_ephemeral(struct config *c);
void config_set_listeners(struct config *c, const struct config_listener *listeners, size_t count);

/* All static values, sorted by name. */
void config_entries(const struct config *c, const struct config_entry **ret, size_t *ret_count);
const struct config_entry *config_entry(const struct config *c,
                                        struct str name); /* NULL: not set */

/* Static value or default. Numbers: SHORT, INT, LONG, BOOLEAN; not set (null) gives `INT64_MIN`. */
int64_t config_get_int(const struct config *c, const char *name);
bool config_get_bool(const struct config *c, const char *name);
double config_get_double(const struct config *c, const char *name);
struct str config_get_str(const struct config *c, const char *name); /* null: not set */
/* The values of a LIST, in the arena (the texts are the config's). "log.dirs" gives those of
 * log.dir when it is not set. */
void config_get_list(const struct config *c,
                     const char *name,
                     struct arena *arena,
                     struct str **ret,
                     size_t *ret_count);
/* Set by the file, the command line or the environment (not built in). */
bool config_is_set(const struct config *c, const char *name);
#define CONFIG_NOT_SET INT64_MIN

bool config_is_ephemeral(const struct config *c); /* its data is thrown away at the end */

/* Asked for by requests: kept apart. */
bool config_auto_create_topics_enable(const struct config *c);
int32_t config_max_request_partition_size_limit(const struct config *c);

int32_t config_node_id(const struct config *c);
struct str config_node_id_text(const struct config *c); /* the name of the broker's resource */
/* Before threads run: a formatted directory has told the id. Only when node.id is not set. */
void config_set_node_id(struct config *c, int32_t node_id);

/* Listeners in the order of the key `listeners`. */
void config_listeners(const struct config *c,
                      const struct config_listener **ret,
                      size_t *ret_count);
/* Between brokers, as inter.broker.listener.name says or the protocol. */
bool config_is_inter_broker(const struct config *c, struct str listener);
/* The first controller listener, or NULL. */
const struct config_listener *config_controller_listener(const struct config *c);

/*
 * The config with the dynamic values of one image over it; valid as long as both.
 * Strength: per-broker dynamic, cluster dynamic, static, default. Dynamic values that cannot be
 * parsed are passed over.
 */
struct config_view {
    const struct config *c;
    const struct image_config *own;    /* of this broker, by name */
    const struct image_config *shared; /* of all brokers, by name */
    size_t own_count;
    size_t shared_count;
};
struct config_view config_view_of(const struct config *c,
                                  const struct image *im); /* im may be NULL */
/* The text in force of a broker key (null: not set) and where it comes from. */
struct str config_view_text(const struct config_view *view,
                            const struct config_row *row,
                            enum config_source *ret_source);
int64_t config_view_int(const struct config_view *view, const char *name);
/* The same for one listener: "listener.name.x.key", x in small letters, is stronger than the key.
 */
int64_t
config_view_listener_int(const struct config_view *view, struct str listener, const char *name);
/* The text of any broker key at one source; null: not set there. */
struct str config_view_text_at(const struct config_view *view,
                               struct str name,
                               const struct config_row *row,
                               enum config_source source);
/* The row of the i-th broker key of a rule of config_table_synonym_rules; NULL: none. */
const struct config_row *
config_synonym_row(const struct config *c, const struct config_synonym_rule *rule, size_t i);

int64_t config_effective_int(const struct config *c, const struct image *im, const char *name);
bool config_effective_bool(const struct config *c, const struct image *im, const char *name);

#endif
