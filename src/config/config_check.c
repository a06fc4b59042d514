/*
 * Checks over several keys. Kafka's AbstractKafkaConfig.validateValues, GroupCoordinatorConfig,
 * ShareGroupConfig, LogConfig.validateBrokerLogConfigValues.
 */
#include "config/config_check.h"

struct checker {
    const struct config *c;
    const struct config_view *view;
    struct arena *arena;
    struct str *ret_message;
};

static int64_t value_of(const struct checker *ck, const char *name)
{
    return config_view_int(ck->view, name);
}

static bool refuse(const struct checker *ck, const char *format, ...) printf_like(2, 3);

static bool refuse(const struct checker *ck, const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    *ck->ret_message = arena_strdup(ck->arena, str_from(text));
    return false;
}

/* The first of a pair may not be above the second. */
static const struct {
    const char *low;
    const char *high;
    bool is_strict; /* it must be below */
} orders[] = {
    {"replica.fetch.wait.max.ms", "replica.socket.timeout.ms", false},
    {"replica.fetch.wait.max.ms", "replica.lag.time.max.ms", false},
    {"group.min.session.timeout.ms", "group.max.session.timeout.ms", false},
    {"group.consumer.min.heartbeat.interval.ms", "group.consumer.heartbeat.interval.ms", false},
    {"group.consumer.heartbeat.interval.ms", "group.consumer.max.heartbeat.interval.ms", false},
    {"group.consumer.min.session.timeout.ms", "group.consumer.session.timeout.ms", false},
    {"group.consumer.session.timeout.ms", "group.consumer.max.session.timeout.ms", false},
    {"group.consumer.heartbeat.interval.ms", "group.consumer.session.timeout.ms", true},
    {"group.consumer.min.assignment.interval.ms", "group.consumer.assignment.interval.ms", false},
    {"group.consumer.assignment.interval.ms", "group.consumer.max.assignment.interval.ms", false},
    {"group.share.min.heartbeat.interval.ms", "group.share.heartbeat.interval.ms", false},
    {"group.share.heartbeat.interval.ms", "group.share.max.heartbeat.interval.ms", false},
    {"group.share.min.session.timeout.ms", "group.share.session.timeout.ms", false},
    {"group.share.session.timeout.ms", "group.share.max.session.timeout.ms", false},
    {"group.share.heartbeat.interval.ms", "group.share.session.timeout.ms", true},
    {"group.share.min.assignment.interval.ms", "group.share.assignment.interval.ms", false},
    {"group.share.assignment.interval.ms", "group.share.max.assignment.interval.ms", false},
    {"group.share.min.record.lock.duration.ms", "group.share.record.lock.duration.ms", false},
    {"group.share.record.lock.duration.ms", "group.share.max.record.lock.duration.ms", false},
    {"group.share.min.delivery.count.limit", "group.share.delivery.count.limit", false},
    {"group.share.delivery.count.limit", "group.share.max.delivery.count.limit", false},
    {"group.share.min.partition.max.record.locks", "group.share.partition.max.record.locks", false},
    {"group.share.partition.max.record.locks", "group.share.max.partition.max.record.locks", false},
    {"group.streams.min.heartbeat.interval.ms", "group.streams.heartbeat.interval.ms", false},
    {"group.streams.heartbeat.interval.ms", "group.streams.max.heartbeat.interval.ms", false},
    {"group.streams.min.session.timeout.ms", "group.streams.session.timeout.ms", false},
    {"group.streams.session.timeout.ms", "group.streams.max.session.timeout.ms", false},
    {"group.streams.heartbeat.interval.ms", "group.streams.session.timeout.ms", true},
    {"group.streams.min.assignment.interval.ms", "group.streams.assignment.interval.ms", false},
    {"group.streams.assignment.interval.ms", "group.streams.max.assignment.interval.ms", false},
    {"group.streams.num.standby.replicas", "group.streams.max.standby.replicas", false},
};

static bool check_orders(const struct checker *ck)
{
    for (size_t i = 0; i < ARRAY_LEN(orders); i++) {
        int64_t low = value_of(ck, orders[i].low);
        int64_t high = value_of(ck, orders[i].high);
        if (low > high || (orders[i].is_strict && low == high)) {
            return refuse(ck, "%s (%" PRId64 ") must be %s %s (%" PRId64 ").", orders[i].low, low,
                          orders[i].is_strict ? "below" : "at most", orders[i].high, high);
        }
    }
    return true;
}

/* The first key of a family that is set decides; then it must be at least `min`, or be unlimited.
 */
static const struct {
    const char *key;
    const char *shown;
    int64_t min;
    bool may_be_negative; /* no limit */
} least[] = {
    {"log.retention.ms", "log.retention.ms", 1, true},
    {"log.retention.minutes", "log.retention.minutes", 1, true},
    {"log.retention.hours", "log.retention.hours", 1, true},
    {"log.roll.ms", "log.roll.ms", 1, false},
    {"log.roll.jitter.ms", "log.roll.jitter.ms", 0, false},
};

static bool check_log(const struct checker *ck)
{
    bool is_retention_known = false;
    for (size_t i = 0; i < ARRAY_LEN(least); i++) {
        int64_t n = value_of(ck, least[i].key);
        bool is_retention = least[i].may_be_negative;
        if (n == CONFIG_NOT_SET || (is_retention && is_retention_known)) {
            continue;
        }
        is_retention_known |= is_retention;
        if (n < least[i].min && !(is_retention && n < 0)) {
            return refuse(ck, "%s (%" PRId64 ") must be %sat least %" PRId64 ".", least[i].shown, n,
                          is_retention ? "-1 (no limit) or " : "", least[i].min);
        }
    }
    int64_t threads = value_of(ck, "log.cleaner.threads");
    int64_t buffer = value_of(ck, "log.cleaner.dedupe.buffer.size");
    if (threads > 0 && buffer / threads <= 1024 * 1024) {
        return refuse(ck,
                      "log.cleaner.dedupe.buffer.size (%" PRId64 ") must be above 1048576 for each "
                      "of log.cleaner.threads (%" PRId64 ").",
                      buffer, threads);
    }
    static const char *const codecs[] = {"offsets.topic.compression.codec",
                                         "share.coordinator.state.topic.compression.codec"};
    for (size_t i = 0; i < ARRAY_LEN(codecs); i++) {
        int64_t codec = value_of(ck, codecs[i]);
        if (codec < 0 || codec > 4) {
            return refuse(ck,
                          "%s (%" PRId64 ") must be 0 (none), 1 (gzip), 2 (snappy), 3 (lz4) or "
                          "4 (zstd).",
                          codecs[i], codec);
        }
    }
    return true;
}

static struct str effective_str(const struct checker *ck, const char *name)
{
    enum config_source source;
    return str_trim(config_view_text(ck->view, config_table_find_broker(str_from(name)), &source));
}

static bool check_requests(const struct checker *ck)
{
    int64_t queued = value_of(ck, "queued.max.request.bytes");
    int64_t request = value_of(ck, "socket.request.max.bytes");
    if (queued > 0 && queued < request) {
        return refuse(ck,
                      "queued.max.request.bytes (%" PRId64 ") must be -1 or at least "
                      "socket.request.max.bytes (%" PRId64 ").",
                      queued, request);
    }
    struct str rest = effective_str(ck, "max.connections.per.ip.overrides");
    if (value_of(ck, "max.connections.per.ip") == 0 && rest.len == 0) {
        return refuse(ck, "max.connections.per.ip (0) must be at least 1 unless "
                          "max.connections.per.ip.overrides is set.");
    }
    struct str pair;
    while (str_split(&rest, ',', &pair)) {
        struct str whole = str_trim(pair);
        size_t colon = whole.len;
        while (colon > 0 && whole.ptr[colon - 1] != ':') {
            colon--;
        }
        int32_t limit;
        if (whole.len > 0 &&
            (colon < 2 || str_to_i32(str_of(whole.ptr + colon, whole.len - colon), &limit) < 0)) {
            return refuse(ck,
                          "max.connections.per.ip.overrides: '" STR_FMT "' is not a pair "
                          "host:number.",
                          STR_ARG(whole));
        }
    }
    return true;
}

static bool has_item(const struct str *items, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (str_is(items[i], name)) {
            return true;
        }
    }
    return false;
}

/* What Kafka refuses about groups, and the Java that nobody here can run. */
static bool check_plugins(const struct checker *ck)
{
    struct str *items;
    size_t count;
    config_get_list(ck->c, "group.coordinator.rebalance.protocols", ck->arena, &items, &count);
    if (!has_item(items, count, "classic")) {
        return refuse(ck, "group.coordinator.rebalance.protocols: classic must be among them.");
    }
    static const char *const assignors[][2] = {
        {"group.consumer.assignors", "uniform,range"},
        {"group.share.assignors", "simple"},
        {"group.streams.assignors", "sticky"},
    };
    for (size_t i = 0; i < ARRAY_LEN(assignors); i++) {
        config_get_list(ck->c, assignors[i][0], ck->arena, &items, &count);
        for (size_t j = 0; j < count; j++) {
            struct str rest = str_from(assignors[i][1]);
            struct str name;
            bool is_known = false;
            while (str_split(&rest, ',', &name)) {
                is_known |= str_equal(name, items[j]);
            }
            if (!is_known) {
                return refuse(ck, "%s: '" STR_FMT "' is not known; it must be of: %s.",
                              assignors[i][0], STR_ARG(items[j]), assignors[i][1]);
            }
        }
    }
    const struct config_entry *entries;
    size_t entries_count;
    config_entries(ck->c, &entries, &entries_count);
    for (size_t i = 0; i < entries_count; i++) {
        const struct config_row *row = entries[i].row;
        if (row == NULL ||
            (row->type != CONFIG_TYPE_CLASS && strcmp(row->name, "authorizer.class.name") != 0)) {
            continue;
        }
        struct str text = str_trim(entries[i].text);
        if (text.len > 0 && !(row->default_text != NULL && str_is(text, row->default_text))) {
            return refuse(
                ck, "%s: the Java class " STR_FMT " cannot be loaded here; leave the key out.",
                row->name, STR_ARG(text));
        }
    }
    if (effective_str(ck, "config.providers").len > 0) {
        return refuse(ck, "config.providers: variables in values are not supported; leave it out.");
    }
    if (config_get_bool(ck->c, "remote.log.storage.system.enable")) {
        return refuse(ck, "remote.log.storage.system.enable: tiered storage is not supported.");
    }
    return true;
}

/* "2" of "2@host:port". */
static int64_t voter_id(struct str voter)
{
    struct str id;
    int64_t number = -1;
    if (!str_split(&voter, '@', &id) || str_to_i64(id, &number) < 0) {
        return -1;
    }
    return number;
}

static bool check_identity(const struct checker *ck)
{
    static const struct {
        const char *name;
        const char *example;
    } required[] = {
        {"process.roles", "broker,controller"},
        {"node.id", "1"},
        {"controller.listener.names", "CONTROLLER"},
    };
    for (size_t i = 0; i < ARRAY_LEN(required); i++) {
        if (config_entry(ck->c, str_from(required[i].name)) == NULL) {
            return refuse(ck,
                          "%s is missing, and with a properties file it has no default; a node of "
                          "its own has %s=%s",
                          required[i].name, required[i].name, required[i].example);
        }
    }
    if (config_get_int(ck->c, "broker.id") != config_get_int(ck->c, "node.id")) {
        return refuse(ck,
                      "broker.id (%" PRId64 ") must be the same as node.id (%" PRId64
                      "); it is its "
                      "older name.",
                      config_get_int(ck->c, "broker.id"), config_get_int(ck->c, "node.id"));
    }
    struct str *roles;
    size_t roles_count;
    config_get_list(ck->c, "process.roles", ck->arena, &roles, &roles_count);
    if (roles_count != 2) {
        return refuse(ck,
                      "process.roles: '" STR_FMT "' alone is not supported yet; it must be "
                      "broker,controller.",
                      STR_ARG(roles[0]));
    }
    struct str *voters;
    size_t voters_count;
    config_get_list(ck->c, "controller.quorum.voters", ck->arena, &voters, &voters_count);
    struct str *servers;
    size_t servers_count;
    config_get_list(ck->c, "controller.quorum.bootstrap.servers", ck->arena, &servers,
                    &servers_count);
    if (voters_count == 0 && servers_count == 0) {
        return refuse(ck, "controller.quorum.bootstrap.servers or controller.quorum.voters must be "
                          "set; a node of its own has "
                          "controller.quorum.bootstrap.servers=127.0.0.1:9093");
    }
    if (voters_count > 1) {
        return refuse(ck, "controller.quorum.voters: more than one voter is not supported yet.");
    }
    if (voters_count == 1 && voter_id(voters[0]) != config_get_int(ck->c, "node.id")) {
        return refuse(ck,
                      "controller.quorum.voters: node.id (%" PRId64 ") is not among '" STR_FMT "'.",
                      config_get_int(ck->c, "node.id"), STR_ARG(voters[0]));
    }
    return true;
}

bool config_check(const struct config_view *view, struct arena *arena, struct str *ret_message)
{
    struct checker ck = {
        .c = view->c,
        .view = view,
        .arena = arena,
        .ret_message = ret_message,
    };
    return check_identity(&ck) && check_requests(&ck) && check_log(&ck) && check_orders(&ck) &&
           check_plugins(&ck);
}
