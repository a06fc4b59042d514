/*
 * Checks of dynamic configs.
 *
 * Groups: values, then the bounds that the broker's keys set, then session timeouts against
 * heartbeat intervals. Kafka's GroupConfig.validate: INVALID_CONFIG.
 *
 * Client metrics: ClientMetricsConfigs.validate: unknown keys and intervals out of range are
 * INVALID_REQUEST, patterns and what cannot be read INVALID_CONFIG.
 *
 * Brokers: DynamicBrokerConfig.validate. Unknown keys are accepted; read-only ones are not, nor
 * keys of one broker for all, nor TLS stores without a listener's prefix, nor a list that repeats a
 * value, which properties files and topics may do. The broker as it would be
 * then has to pass the checks of a start, and numbers of threads may change by half or double only.
 * Always INVALID_REQUEST.
 */
#include "config/config_resource.h"

#include "config/config_check.h"
#include "config/config_topic.h"

static enum kafka_error refuse(struct arena *arena,
                               struct str *ret_message,
                               enum kafka_error error,
                               const char *format,
                               ...) printf_like(4, 5);

static enum kafka_error refuse(struct arena *arena,
                               struct str *ret_message,
                               enum kafka_error error,
                               const char *format,
                               ...)
{
    char text[2048];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    *ret_message = arena_strdup(arena, str_from(text));
    return error;
}

/* Room for a client's text in a message. */
#define SHOWN_MAX 1100
#define SHOWN(name)                \
    char name##_memory[SHOWN_MAX]; \
    struct strbuf name;            \
    strbuf_init(&(name), name##_memory, sizeof(name##_memory))

static enum kafka_error check_values(const struct config_table *table,
                                     const char *what,
                                     enum kafka_error unknown,
                                     const struct image_config *configs,
                                     size_t count,
                                     struct arena *arena,
                                     struct str *ret_message)
{
    for (size_t i = 0; i < count; i++) {
        if (config_table_find(table, configs[i].name) == NULL) {
            SHOWN(name);
            return refuse(arena, ret_message, unknown, "Unknown %s config name: %s", what,
                          str_escape(&name, configs[i].name));
        }
    }
    for (size_t i = 0; i < count; i++) {
        const struct config_row *row = config_table_find(table, configs[i].name);
        struct config_value value;
        if (!config_value_parse(row, configs[i].value, arena, &value, ret_message)) {
            return KAFKA_ERROR_INVALID_CONFIG;
        }
    }
    return KAFKA_ERROR_NONE;
}

static struct str find_value(const struct image_config *configs, size_t count, const char *key)
{
    for (size_t i = 0; i < count; i++) {
        if (str_is(configs[i].name, key)) {
            return configs[i].value;
        }
    }
    return (struct str){0};
}

/* ---- groups ---- */

/* A key of a group and the broker keys that bound it (NULL: no bound). */
static const struct {
    const char *key;
    const char *low;
    const char *high;
} group_bounds[] = {
    {"consumer.session.timeout.ms", "group.consumer.min.session.timeout.ms",
     "group.consumer.max.session.timeout.ms"},
    {"consumer.heartbeat.interval.ms", "group.consumer.min.heartbeat.interval.ms",
     "group.consumer.max.heartbeat.interval.ms"},
    {"consumer.assignment.interval.ms", "group.consumer.min.assignment.interval.ms",
     "group.consumer.max.assignment.interval.ms"},
    {"share.session.timeout.ms", "group.share.min.session.timeout.ms",
     "group.share.max.session.timeout.ms"},
    {"share.heartbeat.interval.ms", "group.share.min.heartbeat.interval.ms",
     "group.share.max.heartbeat.interval.ms"},
    {"share.record.lock.duration.ms", "group.share.min.record.lock.duration.ms",
     "group.share.max.record.lock.duration.ms"},
    {"share.delivery.count.limit", "group.share.min.delivery.count.limit",
     "group.share.max.delivery.count.limit"},
    {"share.partition.max.record.locks", "group.share.min.partition.max.record.locks",
     "group.share.max.partition.max.record.locks"},
    {"share.assignment.interval.ms", "group.share.min.assignment.interval.ms",
     "group.share.max.assignment.interval.ms"},
    {"streams.session.timeout.ms", "group.streams.min.session.timeout.ms",
     "group.streams.max.session.timeout.ms"},
    {"streams.heartbeat.interval.ms", "group.streams.min.heartbeat.interval.ms",
     "group.streams.max.heartbeat.interval.ms"},
    {"streams.assignment.interval.ms", "group.streams.min.assignment.interval.ms",
     "group.streams.max.assignment.interval.ms"},
    {"streams.num.standby.replicas", NULL, "group.streams.max.standby.replicas"},
    {"streams.num.warmup.replicas", NULL, "group.streams.max.warmup.replicas"},
    {"streams.task.offset.interval.ms", "group.streams.min.task.offset.interval.ms", NULL},
};

/* A number of the group, or the broker key's (which is the group's behind "group."). Values have
 * been checked. */
static int64_t group_number(const struct config *c,
                            const struct image *im,
                            const struct image_config *configs,
                            size_t count,
                            const char *broker_key)
{
    struct str text = find_value(configs, count, broker_key + strlen("group."));
    int64_t number;
    if (!str_is_null(text) && str_to_i64(str_trim(text), &number) == 0) {
        return number;
    }
    return config_effective_int(c, im, broker_key);
}

static enum kafka_error check_group_bounds(const struct config *c,
                                           const struct image *im,
                                           const struct image_config *configs,
                                           size_t count,
                                           struct arena *arena,
                                           struct str *ret_message)
{
    for (size_t i = 0; i < ARRAY_LEN(group_bounds); i++) {
        struct str text = find_value(configs, count, group_bounds[i].key);
        int64_t number;
        if (str_is_null(text) || str_to_i64(str_trim(text), &number) < 0) {
            continue;
        }
        int64_t low = group_bounds[i].low == NULL
                          ? INT64_MIN
                          : config_effective_int(c, im, group_bounds[i].low);
        int64_t high = group_bounds[i].high == NULL
                           ? INT64_MAX
                           : config_effective_int(c, im, group_bounds[i].high);
        if (number < low) {
            return refuse(arena, ret_message, KAFKA_ERROR_INVALID_CONFIG,
                          "%s (%" PRId64 ") must be at least %s (%" PRId64 ").",
                          group_bounds[i].key, number, group_bounds[i].low, low);
        }
        if (number > high) {
            return refuse(arena, ret_message, KAFKA_ERROR_INVALID_CONFIG,
                          "%s (%" PRId64 ") must be at most %s (%" PRId64 ").", group_bounds[i].key,
                          number, group_bounds[i].high, high);
        }
    }
    static const char *const pairs[][2] = {
        {"group.consumer.session.timeout.ms", "group.consumer.heartbeat.interval.ms"},
        {"group.share.session.timeout.ms", "group.share.heartbeat.interval.ms"},
        {"group.streams.session.timeout.ms", "group.streams.heartbeat.interval.ms"},
    };
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        int64_t session = group_number(c, im, configs, count, pairs[i][0]);
        int64_t heartbeat = group_number(c, im, configs, count, pairs[i][1]);
        if (session <= heartbeat) {
            return refuse(arena, ret_message, KAFKA_ERROR_INVALID_CONFIG,
                          "%s (%" PRId64 ") must be above %s (%" PRId64 ").",
                          pairs[i][0] + strlen("group."), session, pairs[i][1] + strlen("group."),
                          heartbeat);
        }
    }
    return KAFKA_ERROR_NONE;
}

static bool has_assignor(const struct config *c, struct str name, struct arena *arena)
{
    struct str *items;
    size_t count;
    config_get_list(c, "group.streams.assignors", arena, &items, &count);
    for (size_t i = 0; i < count; i++) {
        if (str_equal(items[i], name)) {
            return true;
        }
    }
    return false;
}

/* True: some value of the list is there twice. */
static bool has_repeated_item(struct str list)
{
    struct str rest = list;
    struct str item;
    while (str_split(&rest, ',', &item)) {
        struct str others = rest;
        struct str other;
        while (others.ptr != NULL && str_split(&others, ',', &other)) {
            if (str_equal(str_trim(item), str_trim(other))) {
                return true;
            }
        }
    }
    return false;
}

#define RACK_TAGS_BYTES_MAX 4096 /* bounds the work of has_repeated_item */

enum kafka_error config_resource_check_group(const struct config *c,
                                             const struct image *im,
                                             struct str group,
                                             const struct image_config *configs,
                                             size_t count,
                                             struct arena *arena,
                                             struct str *ret_message)
{
    if (group.len == 0) {
        return refuse(arena, ret_message, KAFKA_ERROR_INVALID_REQUEST,
                      "A group must be named: there are no configs for all groups.");
    }
    enum kafka_error error =
        check_values(&config_table_group_resource, "group", KAFKA_ERROR_INVALID_CONFIG, configs,
                     count, arena, ret_message);
    if (error != KAFKA_ERROR_NONE) {
        return error;
    }
    error = check_group_bounds(c, im, configs, count, arena, ret_message);
    if (error != KAFKA_ERROR_NONE) {
        return error;
    }
    struct str assignor = find_value(configs, count, "streams.assignor.name");
    if (!str_is_null(assignor) && !has_assignor(c, str_trim(assignor), arena)) {
        SHOWN(shown);
        return refuse(arena, ret_message, KAFKA_ERROR_INVALID_CONFIG,
                      "streams.assignor.name: '%s' is not one of group.streams.assignors.",
                      str_escape(&shown, assignor));
    }
    struct str tags = find_value(configs, count, "streams.rack.aware.assignment.tags");
    if (!str_is_null(tags) && (tags.len > RACK_TAGS_BYTES_MAX || has_repeated_item(tags))) {
        return refuse(
            arena, ret_message, KAFKA_ERROR_INVALID_CONFIG,
            "streams.rack.aware.assignment.tags: each tag may be there once, with at most "
            "%d bytes in all.",
            RACK_TAGS_BYTES_MAX);
    }
    struct str topic = find_value(configs, count, "errors.deadletterqueue.topic.name");
    if (!str_is_null(topic) && str_starts_with(str_trim(topic), STR("__"))) {
        return refuse(arena, ret_message, KAFKA_ERROR_INVALID_CONFIG,
                      "errors.deadletterqueue.topic.name: a name that begins with __ is reserved.");
    }
    return KAFKA_ERROR_NONE;
}

/* ---- client metrics ---- */

#define INTERVAL_MIN_MS 100
#define INTERVAL_MAX_MS (60 * 60 * 1000)

/* Whether brackets and parentheses of a regular expression close and nothing is repeated at its
 * start: what makes a pattern bad in any dialect. */
static bool is_pattern(struct str s)
{
    int groups = 0;
    bool in_class = false;
    bool can_repeat = false;
    for (size_t i = 0; i < s.len; i++) {
        char ch = s.ptr[i];
        if (ch == '\\') {
            if (++i == s.len) {
                return false;
            }
            can_repeat = true;
        } else if (in_class) {
            in_class = ch != ']';
            can_repeat = true;
        } else if (ch == '[') {
            in_class = true;
        } else if (ch == '(') {
            groups++;
            can_repeat = i + 1 < s.len && s.ptr[i + 1] == '?';
        } else if (ch == ')') {
            if (groups-- == 0) {
                return false;
            }
            can_repeat = true;
        } else if (ch == '*' || ch == '+' || ch == '?') {
            if (!can_repeat) {
                return false;
            }
        } else {
            can_repeat = ch != '|';
        }
    }
    return groups == 0 && !in_class;
}

static bool is_match(struct str item)
{
    static const char *const keys[] = {
        "client_id",
        "client_instance_id",
        "client_software_name",
        "client_software_version",
        "client_source_address",
        "client_source_port",
    };
    const char *equals = item.len == 0 ? NULL : memchr(item.ptr, '=', item.len);
    if (equals == NULL) {
        return false;
    }
    struct str key = str_trim(str_of(item.ptr, (size_t)(equals - item.ptr)));
    struct str pattern = str_trim(str_of(equals + 1, item.len - (size_t)(equals + 1 - item.ptr)));
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        if (str_is(key, keys[i])) {
            return is_pattern(pattern);
        }
    }
    return false;
}

enum kafka_error config_resource_check_client_metrics(struct str subscription,
                                                      const struct image_config *configs,
                                                      size_t count,
                                                      struct arena *arena,
                                                      struct str *ret_message)
{
    if (subscription.len == 0) {
        return refuse(arena, ret_message, KAFKA_ERROR_INVALID_REQUEST,
                      "A client metrics subscription must be named.");
    }
    enum kafka_error error =
        check_values(&config_table_client_metrics, "client metrics", KAFKA_ERROR_INVALID_REQUEST,
                     configs, count, arena, ret_message);
    if (error != KAFKA_ERROR_NONE) {
        return error;
    }
    struct str interval = find_value(configs, count, "interval.ms");
    int64_t number;
    if (!str_is_null(interval) && str_to_i64(str_trim(interval), &number) == 0 &&
        (number < INTERVAL_MIN_MS || number > INTERVAL_MAX_MS)) {
        return refuse(arena, ret_message, KAFKA_ERROR_INVALID_REQUEST,
                      "interval.ms (%" PRId64 ") must be from %d to %d (1 hour).", number,
                      INTERVAL_MIN_MS, INTERVAL_MAX_MS);
    }
    struct str rest = find_value(configs, count, "match");
    struct str item;
    while (rest.len > 0 && str_split(&rest, ',', &item)) {
        if (!is_match(item)) {
            SHOWN(shown);
            return refuse(arena, ret_message, KAFKA_ERROR_INVALID_CONFIG,
                          "match: '%s' is not a pair of a client's property and a pattern.",
                          str_escape(&shown, item));
        }
    }
    return KAFKA_ERROR_NONE;
}

/* ---- brokers ---- */

static bool is_in(struct str name, const char *const *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (str_is(name, list[i])) {
            return true;
        }
    }
    return false;
}

static const char *const security_keys[] = {
    "ssl.key.password",
    "ssl.keystore.certificate.chain",
    "ssl.keystore.key",
    "ssl.keystore.location",
    "ssl.keystore.password",
    "ssl.keystore.type",
    "ssl.truststore.certificates",
    "ssl.truststore.location",
    "ssl.truststore.password",
    "ssl.truststore.type",
};

/* Keys of a listener that may be set for all brokers at once. */
static const char *const shared_listener_keys[] = {"max.connection.creation.rate",
                                                   "max.connections", "num.network.threads"};

static enum kafka_error check_broker_names(struct str resource,
                                           const struct image_config *configs,
                                           size_t count,
                                           struct arena *arena,
                                           struct str *ret_message)
{
    bool is_for_all = resource.len == 0;
    for (size_t i = 0; i < count; i++) {
        struct str name = configs[i].name;
        const struct config_row *row = config_table_find_broker(name);
        if (row != NULL && row->scope == CONFIG_SCOPE_READ_ONLY) {
            return refuse(arena, ret_message, KAFKA_ERROR_INVALID_REQUEST,
                          "%s cannot be changed while the broker runs: it is read-only.",
                          row->name);
        }
        if (is_in(name, security_keys, ARRAY_LEN(security_keys))) {
            return refuse(arena, ret_message, KAFKA_ERROR_INVALID_REQUEST,
                          "%s can be changed for a listener only: put listener.name.<name>. before "
                          "it.",
                          row == NULL ? "" : row->name);
        }
        struct str listener;
        struct str base = config_table_listener_key(name, &listener);
        bool is_of_one =
            row != NULL ? row->scope == CONFIG_SCOPE_PER_BROKER
                        : !str_is_null(base) &&
                              !is_in(base, shared_listener_keys, ARRAY_LEN(shared_listener_keys));
        if (is_for_all && is_of_one) {
            SHOWN(shown);
            return refuse(arena, ret_message, KAFKA_ERROR_INVALID_REQUEST,
                          "%s cannot be set for all brokers at once: name a broker.",
                          str_escape(&shown, name));
        }
    }
    return KAFKA_ERROR_NONE;
}

static enum kafka_error check_broker_values(const struct config *c,
                                            const struct image_config *configs,
                                            size_t count,
                                            struct arena *arena,
                                            struct str *ret_message)
{
    for (size_t i = 0; i < count; i++) {
        struct str name = configs[i].name;
        const struct config_row *row = config_table_find_prefixed(name);
        if (row == NULL) {
            continue;
        }
        struct config_value value;
        if (!config_value_parse(row, configs[i].value, arena, &value, ret_message)) {
            return KAFKA_ERROR_INVALID_REQUEST;
        }
        if (value.had_repeats) {
            return refuse(arena, ret_message, KAFKA_ERROR_INVALID_REQUEST,
                          "%s: each value may be there once.", row->name);
        }
        if (!str_is(name, row->name)) {
            continue; /* of one listener */
        }
        SHOWN(shown);
        if (row->type == CONFIG_TYPE_CLASS &&
            !(row->default_text != NULL && str_is(value.text, row->default_text))) {
            return refuse(arena, ret_message, KAFKA_ERROR_INVALID_REQUEST,
                          "%s: the Java class %s cannot be loaded here.", row->name,
                          str_escape(&shown, value.text));
        }
        for (size_t j = 0; strcmp(row->name, "metric.reporters") == 0 && j < value.items_count;
             j++) {
            if (!str_is(value.items[j], row->default_text)) {
                return refuse(arena, ret_message, KAFKA_ERROR_INVALID_REQUEST,
                              "%s: the Java class %s cannot be loaded here.", row->name,
                              str_escape(&shown, value.items[j]));
            }
        }
        if (row->effect == CONFIG_EFFECT_AT_START &&
            !str_equal(str_trim(configs[i].value), config_get_str(c, row->name))) {
            return refuse(
                arena, ret_message, KAFKA_ERROR_INVALID_REQUEST,
                "%s cannot be changed while the broker runs; set it in server.properties.",
                row->name);
        }
        if (strcmp(row->name, "log.cleaner.threads") == 0 && value.number < 1) {
            return refuse(arena, ret_message, KAFKA_ERROR_INVALID_REQUEST,
                          "log.cleaner.threads (%" PRId64 ") must be at least 1.", value.number);
        }
    }
    return KAFKA_ERROR_NONE;
}

static enum kafka_error check_cordoned(const struct config *c,
                                       const struct image_config *configs,
                                       size_t count,
                                       struct arena *arena,
                                       struct str *ret_message)
{
    struct str *dirs;
    size_t dirs_count;
    config_get_list(c, "log.dirs", arena, &dirs, &dirs_count);
    bool *is_named = arena_alloc(arena, dirs_count + 1);
    memset(is_named, 0, dirs_count + 1);
    struct str all = find_value(configs, count, "cordoned.log.dirs");
    struct str rest = str_is(str_trim(all), "*") ? STR("") : all;
    struct str item;
    while (rest.len > 0 && str_split(&rest, ',', &item)) {
        struct str dir = str_trim(item);
        size_t i = 0;
        while (i < dirs_count && !str_equal(dirs[i], dir)) {
            i++;
        }
        if (i == dirs_count || is_named[i]) {
            SHOWN(shown);
            return refuse(arena, ret_message, KAFKA_ERROR_INVALID_REQUEST,
                          "cordoned.log.dirs: %s is %s.", str_escape(&shown, dir),
                          i == dirs_count ? "not one of log.dirs" : "named twice");
        }
        is_named[i] = true;
    }
    return KAFKA_ERROR_NONE;
}

static const char *const thread_keys[] = {
    "background.threads",
    "log.cleaner.threads",
    "num.io.threads",
    "num.recovery.threads.per.data.dir",
    "num.replica.fetchers",
    "remote.log.manager.copier.thread.pool.size",
    "remote.log.manager.expiration.thread.pool.size",
    "remote.log.manager.follower.thread.pool.size",
    "remote.log.reader.threads",
};

static enum kafka_error check_thread_count(const char *key,
                                           int64_t is,
                                           int64_t wanted,
                                           struct arena *arena,
                                           struct str *ret_message)
{
    if (wanted != is && (wanted < is / 2 || wanted > is * 2)) {
        return refuse(arena, ret_message, KAFKA_ERROR_INVALID_REQUEST,
                      "%s (%" PRId64 ") must be at least half and at most double of what it is "
                      "(%" PRId64 ").",
                      key, wanted, is);
    }
    return KAFKA_ERROR_NONE;
}

static enum kafka_error check_threads(const struct config_view *before,
                                      const struct config_view *after,
                                      struct arena *arena,
                                      struct str *ret_message)
{
    enum kafka_error error = KAFKA_ERROR_NONE;
    for (size_t i = 0; error == KAFKA_ERROR_NONE && i < ARRAY_LEN(thread_keys); i++) {
        error = check_thread_count(thread_keys[i], config_view_int(before, thread_keys[i]),
                                   config_view_int(after, thread_keys[i]), arena, ret_message);
    }
    return error;
}

/* What each listener for clients would have: its own values, or those of the broker. */
static enum kafka_error check_listeners(const struct config_view *before,
                                        const struct config_view *after,
                                        struct arena *arena,
                                        struct str *ret_message)
{
    static const char *const limits[] = {"max.connection.creation.rate", "max.connections"};
    static const char threads[] = "num.network.threads";
    const struct config_listener *all;
    size_t count;
    config_listeners(after->c, &all, &count);
    for (size_t i = 0; i < count; i++) {
        struct str name = all[i].name;
        for (size_t j = 0; !all[i].is_controller && j < ARRAY_LEN(limits); j++) {
            int64_t wanted = config_view_listener_int(after, name, limits[j]);
            if (wanted < 1 && wanted != config_view_listener_int(before, name, limits[j])) {
                return refuse(arena, ret_message, KAFKA_ERROR_INVALID_REQUEST,
                              "%s (%" PRId64 ") must be at least 1.", limits[j], wanted);
            }
        }
        enum kafka_error error =
            all[i].is_controller
                ? KAFKA_ERROR_NONE
                : check_thread_count(threads, config_view_listener_int(before, name, threads),
                                     config_view_listener_int(after, name, threads), arena,
                                     ret_message);
        if (error != KAFKA_ERROR_NONE) {
            return error;
        }
    }
    return KAFKA_ERROR_NONE;
}

/* What is kept on local disks is no more than what is kept at all. */
static enum kafka_error
check_local_retention(const struct config_view *after, struct arena *arena, struct str *ret_message)
{
    static const char *const keys[][2] = {{"retention.ms", "local.retention.ms"},
                                          {"retention.bytes", "local.retention.bytes"}};
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        const struct config_row *row = config_table_find(&config_table_topic, str_from(keys[i][0]));
        const struct config_row *local_row =
            config_table_find(&config_table_topic, str_from(keys[i][1]));
        int64_t all = config_topic_inherited(after, row, arena).number;
        int64_t local = config_topic_inherited(after, local_row, arena).number;
        if (all >= 0 && local != -2 && (local == -1 || local > all)) {
            return refuse(arena, ret_message, KAFKA_ERROR_INVALID_REQUEST,
                          "log.%s (%" PRId64 ") must be at most log.%s (%" PRId64 "), or -2.",
                          keys[i][1], local, keys[i][0], all);
        }
    }
    return KAFKA_ERROR_NONE;
}

enum kafka_error config_resource_check_broker(const struct config *c,
                                              const struct image *im,
                                              struct str resource,
                                              const struct image_config *configs,
                                              size_t count,
                                              struct arena *arena,
                                              struct str *ret_message)
{
    enum kafka_error error = check_broker_names(resource, configs, count, arena, ret_message);
    if (error == KAFKA_ERROR_NONE) {
        error = check_broker_values(c, configs, count, arena, ret_message);
    }
    if (error == KAFKA_ERROR_NONE) {
        error = check_cordoned(c, configs, count, arena, ret_message);
    }
    if (error != KAFKA_ERROR_NONE) {
        return error;
    }
    struct config_view before = config_view_of(c, im);
    struct config_view after = before;
    if (resource.len == 0) {
        after.shared = configs;
        after.shared_count = count;
    } else {
        after.own = configs;
        after.own_count = count;
    }
    error = check_threads(&before, &after, arena, ret_message);
    if (error == KAFKA_ERROR_NONE) {
        error = check_listeners(&before, &after, arena, ret_message);
    }
    if (error == KAFKA_ERROR_NONE) {
        error = check_local_retention(&after, arena, ret_message);
    }
    if (error != KAFKA_ERROR_NONE) {
        return error;
    }
    return config_check(&after, arena, ret_message) ? KAFKA_ERROR_NONE
                                                    : KAFKA_ERROR_INVALID_REQUEST;
}
