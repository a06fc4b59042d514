/*
 * Loading: built-in values, environment, file and command line are laid over each other, then
 * synonyms are filled in, then everything is checked.
 *
 * node.id and its older name broker.id: whichever is given sets the other one (Kafka's
 * populateSynonyms), so that DescribeConfigs shows both.
 *
 * --listen replaces the first listener for clients and keeps those of the controller, and drops
 * advertised.listeners of lower origin, which would name the address that was replaced.
 */
#include "config/config_load.h"

#include "base/err.h"
#include "config/config_check.h"
#include "config/properties.h"

#define FILE_BYTES_MAX (16 << 20)

/* What holds without a file: the values of Kafka's own server.properties, on a private address; but
 * for keys that it sets to their defaults: those stay defaults for DescribeConfigs too. */
static const char built_in[] = "process.roles=broker,controller\n"
                               "node.id=1\n"
                               "controller.quorum.bootstrap.servers=127.0.0.1:9093\n"
                               "listeners=PLAINTEXT://127.0.0.1:9092\n"
                               "controller.listener.names=CONTROLLER\n"
                               "log.dirs=./jackdaw-data\n"
                               "num.recovery.threads.per.data.dir=1\n"
                               "offsets.topic.replication.factor=1\n"
                               "share.coordinator.state.topic.replication.factor=1\n"
                               "share.coordinator.state.topic.min.isr=1\n"
                               "transaction.state.log.replication.factor=1\n"
                               "transaction.state.log.min.isr=1\n";

struct loader {
    const struct config_input *in;
    struct logger *logger;
    struct config *c;
    struct arena arena;
    struct str message; /* why not; in the arena */
};

static bool refuse(struct loader *ld, const char *format, ...) printf_like(2, 3);

static bool refuse(struct loader *ld, const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    ld->message = arena_strdup(&ld->arena, str_from(text));
    return false;
}

static bool
add_properties(struct loader *ld, struct str text, const char *file_name, enum config_origin origin)
{
    struct property *items;
    size_t count;
    int line = 0;
    int err = properties_parse(text, &ld->arena, &items, &count, &line);
    if (err == ERR_TOO_LARGE) {
        return refuse(ld, "%s: more than %d lines.", file_name, PROPERTIES_MAX);
    }
    if (err < 0) {
        return refuse(ld, "%s, line %d: \\u must be followed by four hexadecimal digits.",
                      file_name, line);
    }
    for (size_t i = 0; i < count; i++) {
        config_set(ld->c, items[i].key, items[i].value, origin);
    }
    return true;
}

/* Variables of Kafka's scripts and images that are no keys. */
static bool is_of_scripts(struct str name)
{
    static const char *const prefixes[] = {
        "KAFKA_HEAP_OPTS", "KAFKA_OPTS",      "KAFKA_JMX_",      "KAFKA_LOG4J_",  "KAFKA_GC_",
        "KAFKA_JVM_",      "KAFKA_DEBUG",     "KAFKA_VERSION",   "KAFKA_HOME",    "KAFKA_TOOLS_",
        "KAFKA_MODE",      "KAFKA_CLASSPATH", "KAFKA_RUN_CLASS", "KAFKA_CLUSTER",
    };
    for (size_t i = 0; i < ARRAY_LEN(prefixes); i++) {
        if (str_starts_with(name, str_from(prefixes[i]))) {
            return true;
        }
    }
    return false;
}

struct str config_load_environment_key(struct str variable, struct arena *arena)
{
    struct str prefix = STR("KAFKA_");
    if (!str_starts_with(variable, prefix) || is_of_scripts(variable)) {
        return (struct str){0};
    }
    struct str rest = str_of(variable.ptr + prefix.len, variable.len - prefix.len);
    char *out = arena_alloc(arena, rest.len + 1);
    size_t len = 0;
    size_t i = 0;
    while (i < rest.len) {
        size_t bars = 0;
        while (i + bars < rest.len && rest.ptr[i + bars] == '_' && bars < 3) {
            bars++;
        }
        if (bars > 0) {
            out[len++] = ".._-"[bars];
            i += bars;
            continue;
        }
        char ch = rest.ptr[i++];
        out[len++] = ch >= 'A' && ch <= 'Z' ? (char)(ch - 'A' + 'a') : ch;
    }
    return str_of(out, len);
}

/* Of the tables, also for one listener; a mechanism may stand between the listener and the key. */
static bool is_known(struct str name)
{
    bool is_found = config_table_find_prefixed(name) != NULL;
    struct str part;
    struct str rest = config_table_listener_key(name, &part);
    while (!is_found && rest.len > 0 && str_split(&rest, '.', &part)) {
        is_found = config_table_find_broker(rest) != NULL;
    }
    return is_found;
}

/* Where the data lies, which --ephemeral decides itself. */
static bool is_data_key(struct str key)
{
    return str_is(key, "log.dirs") || str_is(key, "log.dir") || str_is(key, "metadata.log.dir");
}

static void add_environment(struct loader *ld)
{
    char *const *variable = ld->in->environment;
    for (; variable != NULL && *variable != NULL; variable++) {
        const char *equals = strchr(*variable, '=');
        if (equals == NULL) {
            continue;
        }
        struct str name = str_of(*variable, (size_t)(equals - *variable));
        struct str key = config_load_environment_key(name, &ld->arena);
        if (str_is_null(key)) {
            continue;
        }
        if (ld->in->is_ephemeral && is_data_key(key)) {
            LOG_WARN(ld->logger, FAC_CONFIG,
                     "%.*s of the environment is ignored: --ephemeral has a directory of its own",
                     (int)min_size(name.len, 200), name.ptr);
            continue;
        }
        if (is_known(key)) {
            config_set(ld->c, key, str_from(equals + 1), CONFIG_ORIGIN_ENVIRONMENT);
            continue;
        }
        const struct config_row *nearest = config_table_nearest(key);
        LOG_INFO(ld->logger, FAC_CONFIG, "%.*s of the environment is no key and ignored%s%s",
                 (int)min_size(name.len, 200), name.ptr,
                 nearest == NULL ? "" : "; nearest key: ", nearest == NULL ? "" : nearest->name);
    }
}

static bool add_overrides(struct loader *ld)
{
    for (size_t i = 0; i < ld->in->overrides_count; i++) {
        const char *pair = ld->in->overrides[i];
        const char *equals = strchr(pair, '=');
        if (equals == NULL || equals == pair) {
            return refuse(ld, "--override %s: it must have the form KEY=VALUE.", pair);
        }
        struct str key = str_trim(str_of(pair, (size_t)(equals - pair)));
        if (ld->in->is_ephemeral && is_data_key(key)) {
            return refuse(ld,
                          "--override " STR_FMT ": --ephemeral has a directory of its own; leave "
                          "one of them out.",
                          STR_ARG(key));
        }
        config_set(ld->c, key, str_from(equals + 1), CONFIG_ORIGIN_COMMAND_LINE);
    }
    if (ld->in->data != NULL) {
        config_set(ld->c, STR("log.dirs"), str_from(ld->in->data), CONFIG_ORIGIN_COMMAND_LINE);
    }
    if (ld->in->is_ephemeral) {
        config_set_ephemeral(ld->c);
        config_set(ld->c, STR("log.flush.interval.messages"), STR("9223372036854775807"),
                   CONFIG_ORIGIN_COMMAND_LINE);
        config_set(ld->c, STR("group.initial.rebalance.delay.ms"), STR("0"),
                   CONFIG_ORIGIN_COMMAND_LINE);
    }
    return true;
}

static bool is_controller_listener(struct loader *ld, struct str text)
{
    struct str *names;
    size_t count;
    config_get_list(ld->c, "controller.listener.names", &ld->arena, &names, &count);
    struct config_listener listener;
    if (!config_listeners_parse_one(text, &ld->arena, &listener)) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        if (str_equal_ignore_case(names[i], listener.name)) {
            return true;
        }
    }
    return false;
}

/* Puts HOST:PORT in the place of the first listener for clients. */
static bool apply_listen(struct loader *ld, struct str address)
{
    struct str *listeners;
    size_t count;
    config_get_list(ld->c, "listeners", &ld->arena, &listeners, &count);
    struct str text = STR("");
    bool is_placed = false;
    for (size_t i = 0; i < count; i++) {
        struct str item = listeners[i];
        if (!is_controller_listener(ld, item)) {
            struct str name = STR("PLAINTEXT");
            struct config_listener listener;
            if (config_listeners_parse_one(item, &ld->arena, &listener)) {
                name = listener.name;
            }
            if (is_placed) {
                continue;
            }
            is_placed = true;
            item = arena_printf(&ld->arena, STR_FMT "://" STR_FMT, STR_ARG(name), STR_ARG(address));
        }
        text = arena_printf(&ld->arena, STR_FMT "%s" STR_FMT, STR_ARG(text),
                            text.len > 0 ? "," : "", STR_ARG(item));
    }
    struct config_listener check_form;
    struct str whole = arena_printf(&ld->arena, "PLAINTEXT://" STR_FMT, STR_ARG(address));
    if (!is_placed || !config_listeners_parse_one(whole, &ld->arena, &check_form)) {
        return refuse(ld, "--listen " STR_FMT ": it must have the form HOST:PORT.",
                      STR_ARG(address));
    }
    config_set(ld->c, STR("listeners"), text, CONFIG_ORIGIN_COMMAND_LINE);
    config_sort(ld->c);
    const struct config_entry *advertised = config_entry(ld->c, STR("advertised.listeners"));
    if (advertised != NULL && advertised->origin < CONFIG_ORIGIN_COMMAND_LINE) {
        config_remove(ld->c, STR("advertised.listeners"));
    }
    return true;
}

/* node.id and broker.id set each other; a built-in one gives way to what the user said. */
static void fill_synonyms(struct config *c)
{
    static const struct str names[2] = {
        {"node.id", 7},
        {"broker.id", 9},
    };
    for (size_t i = 0; i < 2; i++) {
        const struct config_entry *own = config_entry(c, names[i]);
        const struct config_entry *other = config_entry(c, names[1 - i]);
        bool gives_way = other == NULL || (other->origin == CONFIG_ORIGIN_BUILT_IN && own != NULL &&
                                           own->origin != CONFIG_ORIGIN_BUILT_IN);
        if (own != NULL && gives_way) {
            config_set(c, names[1 - i], own->text, own->origin);
            config_sort(c);
        }
    }
}

static void warn_unknown(struct loader *ld)
{
    const struct config_entry *entries;
    size_t count;
    config_entries(ld->c, &entries, &count);
    for (size_t i = 0; i < count; i++) {
        if (is_known(entries[i].name)) {
            continue;
        }
        char memory[1100];
        struct strbuf sb;
        strbuf_init(&sb, memory, sizeof(memory));
        const struct config_row *nearest = config_table_nearest(entries[i].name);
        LOG_WARN(ld->logger, FAC_CONFIG, "unknown key %s is ignored%s%s",
                 str_escape(&sb, entries[i].name),
                 nearest == NULL ? "" : "; nearest key: ", nearest == NULL ? "" : nearest->name);
    }
}

static bool load_listeners(struct loader *ld)
{
    struct config *c = ld->c;
    struct str *listeners;
    struct str *advertised;
    struct str *names;
    struct config_listeners_input in = {
        .protocol_map = config_get_str(c, "listener.security.protocol.map"),
        .is_protocol_map_set = config_entry(c, STR("listener.security.protocol.map")) != NULL,
        .needs_controller_listener = !str_is_null(ld->in->file),
        .inter_broker_name = config_get_str(c, "inter.broker.listener.name"),
        .inter_broker_protocol = config_get_str(c, "security.inter.broker.protocol"),
        .is_inter_broker_protocol_set =
            config_entry(c, STR("security.inter.broker.protocol")) != NULL,
        .machine_name = str_is_null(ld->in->machine_name) ? STR("localhost") : ld->in->machine_name,
    };
    config_get_list(c, "listeners", &ld->arena, &listeners, &in.listeners_count);
    config_get_list(c, "advertised.listeners", &ld->arena, &advertised, &in.advertised_count);
    config_get_list(c, "controller.listener.names", &ld->arena, &names, &in.controller_names_count);
    in.listeners = listeners;
    in.advertised = advertised;
    in.controller_names = names;
    struct config_listener *list;
    size_t count;
    if (!config_listeners_parse(&in, &ld->arena, &list, &count, &ld->message)) {
        return false;
    }
    config_set_listeners(c, list, count);
    return true;
}

static bool load(struct loader *ld)
{
    const struct config_input *in = ld->in;
    if (str_is_null(in->file) &&
        !add_properties(ld, STR(built_in), "built-in values", CONFIG_ORIGIN_BUILT_IN)) {
        return false;
    }
    add_environment(ld);
    if (!str_is_null(in->file) &&
        !add_properties(ld, in->file, in->file_name, CONFIG_ORIGIN_FILE)) {
        return false;
    }
    if (!add_overrides(ld)) {
        return false;
    }
    config_sort(ld->c);
    if (in->is_ephemeral && config_entry(ld->c, STR("metadata.log.dir")) != NULL) {
        return refuse(ld, "metadata.log.dir: --ephemeral has a directory of its own for all data, "
                          "and the metadata would stay behind; leave one of them out.");
    }
    fill_synonyms(ld->c);
    warn_unknown(ld);
    if (!config_check_types(ld->c, &ld->arena, &ld->message)) {
        return false;
    }
    const char *listen = in->listen == NULL && in->is_ephemeral ? "127.0.0.1:0" : in->listen;
    if (listen != NULL && !apply_listen(ld, str_from(listen))) {
        return false;
    }
    struct config_view view = config_view_of(ld->c, NULL);
    return config_check(&view, &ld->arena, &ld->message) && load_listeners(ld);
}

int config_load(const struct config_input *in,
                struct logger *logger,
                struct config **ret,
                char *ret_error,
                size_t error_cap)
{
    struct loader ld = {
        .in = in,
        .logger = logger,
        .c = config_new(),
    };
    arena_init(&ld.arena, 0);
    bool is_good = load(&ld);
    if (is_good) {
        *ret = ld.c;
    } else {
        snprintf(ret_error, error_cap, STR_FMT, STR_ARG(ld.message));
        config_free(ld.c);
    }
    arena_release(&ld.arena);
    return is_good ? 0 : ERR_BAD_ARGUMENT;
}

int config_load_file(struct fs *fs,
                     const struct config_input *in,
                     struct logger *logger,
                     struct config **ret,
                     char *ret_error,
                     size_t error_cap)
{
    struct config_input whole = *in;
    char *text = NULL;
    size_t len = 0;
    whole.file = (struct str){0};
    if (in->file_name != NULL) {
        int r = fs_read_file(fs, in->file_name, FILE_BYTES_MAX, &text, &len);
        if (r < 0) {
            (void)snprintf(ret_error, error_cap, "%s: %s", in->file_name, err_text(r));
            return r;
        }
        whole.file = str_of(text, len);
    }
    int r = config_load(&whole, logger, ret, ret_error, error_cap);
    mem_free(text);
    return r;
}
