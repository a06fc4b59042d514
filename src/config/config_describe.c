/*
 * Descriptions of configs.
 *
 * The synonyms of a broker key are its family (log.retention.ms, .minutes, .hours): for each
 * source, from the strongest to the weakest, each of the family that is set there. What stands
 * before the first entry of the key's own name is dropped, so that a member which is set nowhere
 * has none. The first synonym is the one in force and gives the source.
 *
 * Broker keys that no table knows are kept by Kafka and shown as sensitive: value null, type
 * unknown. A key "listener.name.x.key" is typed like its base, which is its synonym.
 */
#include "config/config_describe.h"

#include "config/config_topic.h"

#define FAMILY_MAX 3

static const char *const families[][FAMILY_MAX] = {
    {"log.roll.ms", "log.roll.hours", NULL},
    {"log.roll.jitter.ms", "log.roll.jitter.hours", NULL},
    {"log.flush.interval.ms", "log.flush.scheduler.interval.ms", NULL},
    {"log.retention.ms", "log.retention.minutes", "log.retention.hours"},
};

/* A key that is one of a family belongs to it; log.flush.scheduler.interval.ms only lends its
 * value. */
static bool is_member(struct str name, const char *const *family, size_t index)
{
    return family[index] != NULL && str_is(name, family[index]) &&
           !str_is(name, "log.flush.scheduler.interval.ms");
}

static size_t find_family(struct str name, struct str ret_names[static FAMILY_MAX])
{
    for (size_t i = 0; i < ARRAY_LEN(families); i++) {
        for (size_t j = 0; j < FAMILY_MAX; j++) {
            if (!is_member(name, families[i], j)) {
                continue;
            }
            size_t count = 0;
            while (count < FAMILY_MAX && families[i][count] != NULL) {
                ret_names[count] = str_from(families[i][count]);
                count++;
            }
            return count;
        }
    }
    ret_names[0] = name;
    struct str listener;
    struct str base = config_table_listener_key(name, &listener);
    if (!str_is_null(base)) {
        ret_names[1] = base;
        return 2;
    }
    return 1;
}

static bool is_sensitive(const struct config_row *row)
{
    return row == NULL || row->type == CONFIG_TYPE_PASSWORD;
}

#define SOURCES      4
#define SYNONYMS_MAX (SOURCES * FAMILY_MAX)

/* All synonyms of a broker key into room for SYNONYMS_MAX. */
static size_t
list_synonyms(const struct config_view *view, struct str name, struct config_synonym *ret)
{
    static const enum config_source sources[SOURCES] = {
        CONFIG_SOURCE_DYNAMIC_BROKER,
        CONFIG_SOURCE_DYNAMIC_DEFAULT_BROKER,
        CONFIG_SOURCE_STATIC_BROKER,
        CONFIG_SOURCE_DEFAULT,
    };
    struct str names[FAMILY_MAX];
    const struct config_row *rows[FAMILY_MAX];
    size_t names_count = find_family(name, names);
    for (size_t i = 0; i < names_count; i++) {
        rows[i] = config_table_find_broker(names[i]);
    }
    bool hides = is_sensitive(rows[names_count > 1 && rows[0] == NULL ? 1 : 0]);
    size_t count = 0;
    for (size_t i = 0; i < SOURCES; i++) {
        for (size_t j = 0; j < names_count; j++) {
            struct str value = config_view_text_at(view, names[j], rows[j], sources[i]);
            if (str_is_null(value) || (count == 0 && !str_equal(names[j], name))) {
                continue;
            }
            check(count < SYNONYMS_MAX);
            ret[count++] = (struct config_synonym){
                .name = names[j],
                .value = hides ? (struct str){0} : value,
                .source = sources[i],
            };
        }
    }
    return count;
}

static bool is_selected(const struct config_selection *select, struct str name)
{
    size_t low = 0;
    size_t high = select->keys == NULL ? 0 : select->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = str_compare(name, select->keys[middle]);
        if (order == 0) {
            return true;
        }
        if (order < 0) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return select->keys == NULL;
}

/* A new, zeroed description. */
static struct config_description *add(struct config_descriptions *all, struct arena *arena)
{
    if (all->count == all->cap) {
        size_t cap = all->cap == 0 ? 16 : all->cap * 2;
        struct config_description *items = arena_alloc(arena, cap * sizeof(*items));
        if (all->count > 0) {
            memcpy(items, all->items, all->count * sizeof(*items));
        }
        all->items = items;
        all->cap = cap;
    }
    struct config_description *cd = &all->items[all->count++];
    *cd = (struct config_description){0};
    return cd;
}

/* Puts `first` (unless its value is null) before the list. */
static void set_synonyms(struct config_description *cd,
                         const struct config_synonym *first,
                         const struct config_synonym *list,
                         size_t count,
                         struct arena *arena)
{
    size_t lead = first == NULL ? 0 : 1;
    cd->synonyms = arena_alloc(arena, (count + lead) * sizeof(*cd->synonyms) + 1);
    if (lead > 0) {
        cd->synonyms[0] = *first;
    }
    for (size_t i = 0; i < count; i++) {
        cd->synonyms[lead + i] = list[i];
    }
    cd->synonyms_count = count + lead;
    cd->source = cd->synonyms_count > 0 ? cd->synonyms[0].source : CONFIG_SOURCE_DEFAULT;
}

static struct str
parse_and_print(const struct config_row *row, struct str text, struct arena *arena)
{
    struct config_value value;
    struct str message;
    if (!config_value_parse(row, text, arena, &value, &message)) {
        return text;
    }
    return config_value_print(row, &value, arena);
}

static const struct image_config *
find_own(const struct image_config *own, size_t count, struct str name)
{
    for (size_t i = 0; i < count; i++) {
        if (str_equal(own[i].name, name)) {
            return &own[i];
        }
    }
    return NULL;
}

static bool
is_shown(const struct config_row *row, bool is_set, const struct config_selection *select)
{
    switch (row->audience) {
    case CONFIG_PUBLIC:
        return true;
    case CONFIG_INTERNAL:
    case CONFIG_DYNAMIC_ONLY:
        return is_set;
    case CONFIG_OWN:
        return select->keys != NULL;
    }
    return false;
}

/* ---- topics ---- */

static void describe_topic_key(const struct config_view *view,
                               const struct config_row *row,
                               const struct image_config *mine,
                               struct arena *arena,
                               struct config_description *cd)
{
    cd->name = str_from(row->name);
    cd->type = row->type;
    cd->doc = row->doc;
    if (mine != NULL) {
        cd->value = parse_and_print(row, mine->value, arena);
    } else {
        struct config_value value = config_topic_inherited(view, row, arena);
        cd->value = config_value_print(row, &value, arena);
    }
    struct config_synonym list[SYNONYMS_MAX];
    const struct config_synonym_rule *rule = config_table_synonym_rule(cd->name);
    size_t count = rule == NULL ? 0 : list_synonyms(view, str_from(rule->broker_keys[0]), list);
    struct config_synonym first = {
        .name = cd->name,
        .value = cd->value,
        .source = CONFIG_SOURCE_TOPIC,
    };
    set_synonyms(cd, mine == NULL ? NULL : &first, list, count, arena);
}

/* Kafka's answers go through a hash map whose order never changes; kafka-topics.sh prints what it
 * gets. */
static const char *const topic_order[] = {
    "compression.type",
    "errors.deadletterqueue.group.enable",
    "remote.copy.lag.bytes",
    "remote.log.delete.on.disable",
    "leader.replication.throttled.replicas",
    "remote.storage.enable",
    "min.insync.replicas",
    "segment.jitter.ms",
    "remote.log.copy.disable",
    "internal.segment.bytes",
    "local.retention.ms",
    "cleanup.policy",
    "flush.ms",
    "follower.replication.throttled.replicas",
    "compression.lz4.level",
    "segment.bytes",
    "retention.ms",
    "compression.gzip.level",
    "remote.copy.lag.ms",
    "flush.messages",
    "compression.zstd.level",
    "max.compaction.lag.ms",
    "file.delete.delay.ms",
    "max.message.bytes",
    "min.compaction.lag.ms",
    "message.timestamp.type",
    "local.retention.bytes",
    "preallocate",
    "index.interval.bytes",
    "min.cleanable.dirty.ratio",
    "unclean.leader.election.enable",
    "retention.bytes",
    "delete.retention.ms",
    "message.timestamp.after.max.ms",
    "max.decompressed.message.bytes",
    "message.timestamp.before.max.ms",
    "segment.ms",
    "segment.index.bytes",
};

void config_describe_topic(const struct config *c,
                           const struct image *im,
                           const struct image_config *own,
                           size_t own_count,
                           const struct config_selection *select,
                           struct arena *arena,
                           struct config_descriptions *ret)
{
    struct config_view view = config_view_of(c, im);
    check(ARRAY_LEN(topic_order) == config_table_topic.count);
    for (size_t i = 0; i < ARRAY_LEN(topic_order); i++) {
        const struct config_row *row =
            config_table_find(&config_table_topic, str_from(topic_order[i]));
        const struct image_config *mine = find_own(own, own_count, str_from(row->name));
        if (is_selected(select, str_from(row->name)) && is_shown(row, mine != NULL, select)) {
            describe_topic_key(&view, row, mine, arena, add(ret, arena));
        }
    }
}

/* A topic that is being made is told what was given, not what it was read as. */
static void describe_created_key(const struct config_view *view,
                                 const struct config_row *row,
                                 const struct image_config *mine,
                                 struct arena *arena,
                                 struct create_topics_response_creatable_topic_configs *ret)
{
    *ret = create_topics_response_creatable_topic_configs_default;
    ret->name = str_from(row->name);
    ret->value = str_from(row->default_text);
    ret->config_source = CONFIG_SOURCE_DEFAULT;
    if (mine != NULL) {
        ret->value = mine->value;
        ret->config_source = CONFIG_SOURCE_TOPIC;
        return;
    }
    const struct config_synonym_rule *rule = config_table_synonym_rule(str_from(row->name));
    const struct config_row *broker_row;
    for (size_t i = 0; rule != NULL && (broker_row = config_synonym_row(view->c, rule, i)) != NULL;
         i++) {
        enum config_source source;
        struct str text = config_view_text(view, broker_row, &source);
        if (str_is_null(text) || source == CONFIG_SOURCE_DEFAULT) {
            continue;
        }
        int64_t number;
        bool has_unit = rule->factors[i] != 1 && str_to_i64(str_trim(text), &number) == 0 &&
                        !__builtin_mul_overflow(number, rule->factors[i], &number);
        ret->value = has_unit ? arena_printf(arena, "%" PRId64, number) : text;
        ret->config_source = (int8_t)source;
        return;
    }
}

void config_describe_created(void *ctx,
                             const struct image *im,
                             const struct image_config *configs,
                             size_t count,
                             struct arena *arena,
                             struct create_topics_response_creatable_topic_configs **ret,
                             int32_t *ret_count)
{
    static const struct config_selection all = {0};
    struct config_view view = config_view_of(ctx, im);
    struct create_topics_response_creatable_topic_configs *items =
        arena_alloc(arena, config_table_topic.count * sizeof(*items));
    int32_t n = 0;
    for (size_t i = 0; i < config_table_topic.count; i++) {
        const struct config_row *row = &config_table_topic.rows[i];
        const struct image_config *mine = find_own(configs, count, str_from(row->name));
        if (is_shown(row, mine != NULL, &all)) {
            describe_created_key(&view, row, mine, arena, &items[n++]);
        }
    }
    *ret = items;
    *ret_count = n;
}

/* ---- brokers ---- */

static void describe_broker_key(const struct config_view *view,
                                struct str name,
                                const struct config_row *row,
                                struct arena *arena,
                                struct config_description *cd)
{
    struct config_synonym list[SYNONYMS_MAX];
    size_t count = list_synonyms(view, name, list);
    bool is_exact = row != NULL && str_is(name, row->name);
    cd->name = name;
    cd->type = row == NULL ? CONFIG_TYPE_UNKNOWN : row->type;
    cd->is_sensitive = is_sensitive(row);
    cd->is_read_only = !is_exact || row->scope == CONFIG_SCOPE_READ_ONLY;
    cd->doc = row == NULL ? NULL : row->doc;
    if (!cd->is_sensitive && is_exact) {
        enum config_source source;
        cd->value = parse_and_print(row, config_view_text(view, row, &source), arena);
    } else if (!cd->is_sensitive && count > 0) {
        cd->value = list[0].value;
    }
    set_synonyms(cd, NULL, list, count, arena);
}

/* Keys of a dynamic resource that the tables do not hold by this name. */
static void describe_strangers(const struct config_view *view,
                               const struct image_config *list,
                               size_t list_count,
                               const struct config_selection *select,
                               struct arena *arena,
                               struct config_descriptions *ret)
{
    for (size_t i = 0; i < list_count; i++) {
        struct str name = list[i].name;
        if (config_table_find_broker(name) != NULL || !is_selected(select, name)) {
            continue;
        }
        /* What is static, or this broker's own, has been described before. */
        bool is_known =
            config_entry(view->c, name) != NULL ||
            (list == view->shared &&
             !str_is_null(config_view_text_at(view, name, NULL, CONFIG_SOURCE_DYNAMIC_BROKER)));
        if (!is_known) {
            describe_broker_key(view, name, config_table_find_prefixed(name), arena,
                                add(ret, arena));
        }
    }
}

void config_describe_broker(const struct config *c,
                            const struct image *im,
                            const struct config_selection *select,
                            struct arena *arena,
                            struct config_descriptions *ret)
{
    struct config_view view = config_view_of(c, im);
    size_t count = config_table_broker_count();
    const struct config_row **rows = arena_alloc(arena, count * sizeof(*rows));
    config_table_broker_sorted(rows);
    for (size_t i = 0; i < count; i++) {
        struct str name = str_from(rows[i]->name);
        if (!is_selected(select, name)) {
            continue;
        }
        bool is_set = config_entry(c, name) != NULL;
        is_set |=
            !str_is_null(config_view_text_at(&view, name, NULL, CONFIG_SOURCE_DYNAMIC_BROKER));
        is_set |= !str_is_null(
            config_view_text_at(&view, name, NULL, CONFIG_SOURCE_DYNAMIC_DEFAULT_BROKER));
        if (is_shown(rows[i], is_set, select)) {
            describe_broker_key(&view, name, rows[i], arena, add(ret, arena));
        }
    }
    const struct config_entry *entries;
    size_t entries_count;
    config_entries(c, &entries, &entries_count);
    for (size_t i = 0; i < entries_count; i++) {
        if (entries[i].row == NULL && is_selected(select, entries[i].name)) {
            describe_broker_key(&view, entries[i].name, config_table_find_prefixed(entries[i].name),
                                arena, add(ret, arena));
        }
    }
    describe_strangers(&view, view.own, view.own_count, select, arena, ret);
    describe_strangers(&view, view.shared, view.shared_count, select, arena, ret);
}

void config_describe_cluster(const struct config *c,
                             const struct image *im,
                             const struct config_selection *select,
                             struct arena *arena,
                             struct config_descriptions *ret)
{
    struct config_view view = config_view_of(c, im);
    for (size_t i = 0; i < view.shared_count; i++) {
        struct str name = view.shared[i].name;
        if (!is_selected(select, name)) {
            continue;
        }
        struct config_description *cd = add(ret, arena);
        describe_broker_key(&view, name, config_table_find_prefixed(name), arena, cd);
        cd->value = cd->is_sensitive ? (struct str){0} : view.shared[i].value;
        size_t kept = 0;
        for (size_t j = 0; j < cd->synonyms_count; j++) {
            if (cd->synonyms[j].source == CONFIG_SOURCE_DYNAMIC_DEFAULT_BROKER) {
                cd->synonyms[kept++] = cd->synonyms[j];
            }
        }
        cd->synonyms_count = kept;
        cd->source = kept > 0 ? CONFIG_SOURCE_DYNAMIC_DEFAULT_BROKER : CONFIG_SOURCE_DEFAULT;
    }
}

/* ---- groups and subscriptions ---- */

/* The broker key that gives a group key its value; NULL: none. Most have the prefix "group.". */
static const struct config_row *group_synonym(struct str name)
{
    if (str_is(name, "streams.assignor.name")) {
        return config_table_find_broker(STR("group.streams.assignors"));
    }
    char text[128];
    struct strbuf sb;
    strbuf_init(&sb, text, sizeof(text));
    strbuf_addf(&sb, "group." STR_FMT, STR_ARG(name));
    return config_table_find_broker(strbuf_str(&sb));
}

static struct str inherited_group_value(const struct config_view *view,
                                        const struct config_row *row,
                                        const struct config_row *broker_row,
                                        struct arena *arena)
{
    if (broker_row == NULL) {
        return str_from(row->default_text);
    }
    enum config_source source;
    struct str text =
        parse_and_print(broker_row, config_view_text(view, broker_row, &source), arena);
    if (row->type != CONFIG_TYPE_LIST && broker_row->type == CONFIG_TYPE_LIST) {
        struct str first = text;
        if (str_split(&text, ',', &first)) {
            return first;
        }
    }
    return text;
}

void config_describe_group(const struct config *c,
                           const struct image *im,
                           const struct image_config *own,
                           size_t own_count,
                           const struct config_selection *select,
                           struct arena *arena,
                           struct config_descriptions *ret)
{
    struct config_view view = config_view_of(c, im);
    for (size_t i = 0; i < config_table_group_resource.count; i++) {
        const struct config_row *row = &config_table_group_resource.rows[i];
        struct str name = str_from(row->name);
        const struct image_config *mine = find_own(own, own_count, name);
        if (!is_selected(select, name) || !is_shown(row, mine != NULL, select)) {
            continue;
        }
        const struct config_row *broker_row = group_synonym(name);
        struct config_description *cd = add(ret, arena);
        cd->name = name;
        cd->type = row->type;
        cd->doc = row->doc;
        /* Kafka shows an internal key as it was written, with its blanks. */
        cd->value = mine == NULL ? inherited_group_value(&view, row, broker_row, arena)
                    : row->audience == CONFIG_INTERNAL ? mine->value
                                                       : parse_and_print(row, mine->value, arena);
        struct config_synonym list[SYNONYMS_MAX];
        size_t count = 0;
        if (broker_row != NULL) {
            count = list_synonyms(&view, str_from(broker_row->name), list);
        } else if (row->default_text != NULL) {
            list[count++] = (struct config_synonym){
                .name = name,
                .value = str_from(row->default_text),
                .source = CONFIG_SOURCE_DEFAULT,
            };
        }
        struct config_synonym first = {
            .name = name,
            .value = cd->value,
            .source = CONFIG_SOURCE_GROUP,
        };
        set_synonyms(cd, mine == NULL ? NULL : &first, list, count, arena);
    }
}

void config_describe_client_metrics(const struct image_config *own,
                                    size_t own_count,
                                    const struct config_selection *select,
                                    struct arena *arena,
                                    struct config_descriptions *ret)
{
    for (size_t i = 0; i < config_table_client_metrics.count; i++) {
        const struct config_row *row = &config_table_client_metrics.rows[i];
        struct str name = str_from(row->name);
        if (!is_selected(select, name)) {
            continue;
        }
        const struct image_config *mine = find_own(own, own_count, name);
        struct config_description *cd = add(ret, arena);
        cd->name = name;
        cd->type = row->type;
        cd->doc = row->doc;
        cd->value = mine != NULL ? mine->value : str_from(row->default_text);
        struct config_synonym first = {
            .name = name,
            .value = cd->value,
            .source = CONFIG_SOURCE_CLIENT_METRICS,
        };
        set_synonyms(cd, mine == NULL ? NULL : &first, NULL, 0, arena);
    }
}
