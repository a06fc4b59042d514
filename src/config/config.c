/*
 * The values of one broker.
 *
 * Static values are kept as the texts that were given, sorted by name, with the row of each key
 * that the tables know; keys that they do not know are kept too, since DescribeConfigs shows them.
 * They are parsed when asked for: that happens at the start, not on the path of a record.
 *
 * Dynamic values lie in the metadata image (ConfigRecord of type BROKER): the resource "" for all
 * brokers, the node id for one. Kafka's DynamicBrokerConfig: per-broker > cluster > static >
 * default.
 */
#include "config/config.h"

struct config {
    struct arena arena;
    struct config_entry *entries; /* owned */
    size_t count;
    size_t cap;
    size_t next_sequence;
    bool is_sorted;
    int32_t node_id;
    char node_id_text[12];
    bool auto_create_topics_enable;
    bool is_ephemeral;
    int32_t max_request_partition_size_limit;
    struct config_listener *listeners; /* in the arena */
    size_t listeners_count;
    const struct config_row *synonym_rows[CONFIG_SYNONYM_RULES][3]; /* of the rules */
};

static const struct config_row *row_of(const char *name)
{
    const struct config_row *row = config_table_find_broker(str_from(name));
    check(row != NULL);
    return row;
}

struct config *config_new(void)
{
    struct config *c = mem_zalloc(sizeof(*c));
    arena_init(&c->arena, 0);
    c->is_sorted = true;
    const struct config_synonym_rule *rules = config_table_synonym_rules();
    for (size_t i = 0; i < CONFIG_SYNONYM_RULES; i++) {
        for (size_t j = 0; j < 3 && rules[i].broker_keys[j] != NULL; j++) {
            c->synonym_rows[i][j] = row_of(rules[i].broker_keys[j]);
        }
    }
    return c;
}

struct config *config_free(struct config *c)
{
    if (c != NULL) {
        arena_release(&c->arena);
        mem_free(c->entries);
        mem_free(c);
    }
    return NULL;
}

void config_set(struct config *c, struct str name, struct str text, enum config_origin origin)
{
    c->entries = mem_grow(c->entries, &c->cap, c->count + 1, sizeof(*c->entries));
    c->entries[c->count++] = (struct config_entry){
        .name = arena_strdup(&c->arena, name),
        .text = arena_strdup(&c->arena, text),
        .row = config_table_find_broker(name),
        .origin = origin,
        .sequence = c->next_sequence++,
    };
    c->is_sorted = false;
}

void config_remove(struct config *c, struct str name)
{
    const struct config_entry *entry = config_entry(c, name);
    if (entry == NULL) {
        return;
    }
    size_t index = (size_t)(entry - c->entries);
    memmove(&c->entries[index], &c->entries[index + 1],
            (c->count - index - 1) * sizeof(*c->entries));
    c->count--;
}

/* By name, the winner of each name last. */
static int compare_entries(const void *a, const void *b)
{
    const struct config_entry *left = a;
    const struct config_entry *right = b;
    int order = str_compare(left->name, right->name);
    if (order != 0) {
        return order;
    }
    if (left->origin != right->origin) {
        return left->origin < right->origin ? -1 : 1;
    }
    return left->sequence < right->sequence ? -1 : 1;
}

static void update_kept_values(struct config *c)
{
    c->auto_create_topics_enable = config_get_bool(c, "auto.create.topics.enable");
    c->max_request_partition_size_limit =
        (int32_t)config_get_int(c, "max.request.partition.size.limit");
    int64_t node_id = config_get_int(c, "node.id");
    c->node_id = node_id < 0 || node_id > INT32_MAX ? -1 : (int32_t)node_id;
    snprintf(c->node_id_text, sizeof(c->node_id_text), "%d", (int)c->node_id);
}

void config_sort(struct config *c)
{
    if (c->count > 0) {
        qsort(c->entries, c->count, sizeof(*c->entries), compare_entries);
    }
    size_t kept = 0;
    for (size_t i = 0; i < c->count; i++) {
        if (i + 1 < c->count && str_equal(c->entries[i].name, c->entries[i + 1].name)) {
            continue;
        }
        c->entries[kept++] = c->entries[i];
    }
    c->count = kept;
    c->is_sorted = true;
    update_kept_values(c);
}

bool config_check_types(struct config *c, struct arena *arena, struct str *ret_message)
{
    for (size_t i = 0; i < c->count; i++) {
        const struct config_entry *entry = &c->entries[i];
        struct config_value value;
        if (entry->row != NULL &&
            !config_value_parse(entry->row, entry->text, arena, &value, ret_message)) {
            return false;
        }
    }
    return true;
}

void config_set_ephemeral(struct config *c)
{
    c->is_ephemeral = true;
}

bool config_is_ephemeral(const struct config *c)
{
    return c->is_ephemeral;
}

void config_set_listeners(struct config *c, const struct config_listener *listeners, size_t count)
{
    c->listeners = arena_alloc(&c->arena, count * sizeof(*c->listeners));
    for (size_t i = 0; i < count; i++) {
        c->listeners[i] = listeners[i];
        c->listeners[i].name = arena_strdup(&c->arena, listeners[i].name);
        c->listeners[i].host = arena_strdup(&c->arena, listeners[i].host);
        c->listeners[i].advertised_host = arena_strdup(&c->arena, listeners[i].advertised_host);
    }
    c->listeners_count = count;
}

void config_entries(const struct config *c, const struct config_entry **ret, size_t *ret_count)
{
    *ret = c->entries;
    *ret_count = c->count;
}

const struct config_entry *config_entry(const struct config *c, struct str name)
{
    check(c->is_sorted);
    size_t low = 0;
    size_t high = c->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = str_compare(name, c->entries[middle].name);
        if (order == 0) {
            return &c->entries[middle];
        }
        if (order < 0) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return NULL;
}

static struct str static_text(const struct config *c, const struct config_row *row)
{
    const struct config_entry *entry = config_entry(c, str_from(row->name));
    return entry != NULL ? entry->text : str_from(row->default_text);
}

/* For values that need no arena: everything but LIST. */
static struct config_value parse_plain(const struct config_row *row, struct str text)
{
    check(row->type != CONFIG_TYPE_LIST);
    struct arena arena;
    arena_init(&arena, 0);
    struct config_value value;
    struct str message;
    if (!config_value_parse(row, text, &arena, &value, &message)) {
        value = config_value_default(row, &arena);
    }
    arena_release(&arena);
    return value;
}

static int64_t number_of(const struct config_row *row, struct str text)
{
    check(row->type == CONFIG_TYPE_BOOLEAN || row->type == CONFIG_TYPE_INT ||
          row->type == CONFIG_TYPE_SHORT || row->type == CONFIG_TYPE_LONG);
    struct config_value value = parse_plain(row, text);
    return value.is_null ? CONFIG_NOT_SET : value.number;
}

int64_t config_get_int(const struct config *c, const char *name)
{
    const struct config_row *row = row_of(name);
    return number_of(row, static_text(c, row));
}

bool config_get_bool(const struct config *c, const char *name)
{
    return config_get_int(c, name) == 1;
}

double config_get_double(const struct config *c, const char *name)
{
    const struct config_row *row = row_of(name);
    check(row->type == CONFIG_TYPE_DOUBLE);
    return parse_plain(row, static_text(c, row)).real;
}

struct str config_get_str(const struct config *c, const char *name)
{
    const struct config_row *row = row_of(name);
    struct str text = static_text(c, row);
    return str_is_null(text) ? text : str_trim(text);
}

void config_get_list(const struct config *c,
                     const char *name,
                     struct arena *arena,
                     struct str **ret,
                     size_t *ret_count)
{
    const struct config_row *row = row_of(name);
    check(row->type == CONFIG_TYPE_LIST);
    if (strcmp(name, "log.dirs") == 0 && config_entry(c, STR("log.dirs")) == NULL) {
        row = row_of("log.dir");
    }
    struct config_value value;
    struct str message;
    if (!config_value_parse(row, static_text(c, row), arena, &value, &message)) {
        value = config_value_default(row, arena);
    }
    *ret = value.items;
    *ret_count = value.items_count;
}

bool config_is_set(const struct config *c, const char *name)
{
    const struct config_entry *entry = config_entry(c, str_from(row_of(name)->name));
    return entry != NULL && entry->origin != CONFIG_ORIGIN_BUILT_IN;
}

bool config_auto_create_topics_enable(const struct config *c)
{
    return c->auto_create_topics_enable;
}

int32_t config_max_request_partition_size_limit(const struct config *c)
{
    return c->max_request_partition_size_limit;
}

int32_t config_node_id(const struct config *c)
{
    return c->node_id;
}

struct str config_node_id_text(const struct config *c)
{
    return str_from(c->node_id_text);
}

void config_set_node_id(struct config *c, int32_t node_id)
{
    char text[12];
    snprintf(text, sizeof(text), "%d", (int)node_id);
    config_set(c, STR("node.id"), str_from(text), CONFIG_ORIGIN_SYNONYM);
    config_set(c, STR("broker.id"), str_from(text), CONFIG_ORIGIN_SYNONYM);
    config_sort(c);
}

void config_listeners(const struct config *c, const struct config_listener **ret, size_t *ret_count)
{
    *ret = c->listeners;
    *ret_count = c->listeners_count;
}

bool config_is_inter_broker(const struct config *c, struct str listener)
{
    struct str name = config_get_str(c, "inter.broker.listener.name");
    if (str_is_null(name)) {
        name = config_get_str(c, "security.inter.broker.protocol");
    }
    return str_equal_ignore_case(name, listener);
}

const struct config_listener *config_controller_listener(const struct config *c)
{
    for (size_t i = 0; i < c->listeners_count; i++) {
        if (c->listeners[i].is_controller) {
            return &c->listeners[i];
        }
    }
    return NULL;
}

static bool is_valid(const struct config_row *row, struct str text)
{
    struct arena arena;
    arena_init(&arena, 0);
    struct config_value value;
    struct str message;
    bool is_good = config_value_parse(row, text, &arena, &value, &message);
    arena_release(&arena);
    return is_good;
}

const struct config_row *
config_synonym_row(const struct config *c, const struct config_synonym_rule *rule, size_t i)
{
    ptrdiff_t index = rule - config_table_synonym_rules();
    check(index >= 0 && index < CONFIG_SYNONYM_RULES);
    return i < 3 ? c->synonym_rows[index][i] : NULL;
}

struct config_view config_view_of(const struct config *c, const struct image *im)
{
    struct config_view view = {.c = c};
    if (im != NULL) {
        image_configs(im, CONFIG_RESOURCE_BROKER, config_node_id_text(c), &view.own,
                      &view.own_count);
        image_configs(im, CONFIG_RESOURCE_BROKER, STR(""), &view.shared, &view.shared_count);
    }
    return view;
}

static struct str find_dynamic(const struct image_config *list, size_t count, struct str name)
{
    size_t low = 0;
    size_t high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = str_compare(name, list[middle].name);
        if (order == 0) {
            return list[middle].value;
        }
        if (order < 0) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return (struct str){0};
}

struct str config_view_text_at(const struct config_view *view,
                               struct str name,
                               const struct config_row *row,
                               enum config_source source)
{
    if (source == CONFIG_SOURCE_DYNAMIC_BROKER) {
        return find_dynamic(view->own, view->own_count, name);
    }
    if (source == CONFIG_SOURCE_DYNAMIC_DEFAULT_BROKER) {
        return find_dynamic(view->shared, view->shared_count, name);
    }
    if (source == CONFIG_SOURCE_STATIC_BROKER) {
        const struct config_entry *entry = config_entry(view->c, name);
        return entry == NULL ? (struct str){0} : entry->text;
    }
    return row == NULL ? (struct str){0} : str_from(row->default_text);
}

struct str config_view_text(const struct config_view *view,
                            const struct config_row *row,
                            enum config_source *ret_source)
{
    static const enum config_source dynamic[] = {
        CONFIG_SOURCE_DYNAMIC_BROKER,
        CONFIG_SOURCE_DYNAMIC_DEFAULT_BROKER,
    };
    struct str name = str_from(row->name);
    for (size_t i = 0; i < ARRAY_LEN(dynamic); i++) {
        bool may_be =
            row->scope == CONFIG_SCOPE_CLUSTER || (row->scope == CONFIG_SCOPE_PER_BROKER && i == 0);
        struct str text =
            may_be ? config_view_text_at(view, name, row, dynamic[i]) : (struct str){0};
        if (!str_is_null(text) && is_valid(row, text)) {
            *ret_source = dynamic[i];
            return text;
        }
    }
    const struct config_entry *entry = config_entry(view->c, name);
    *ret_source = entry != NULL ? CONFIG_SOURCE_STATIC_BROKER : CONFIG_SOURCE_DEFAULT;
    return entry != NULL ? entry->text : str_from(row->default_text);
}

int64_t config_view_int(const struct config_view *view, const char *name)
{
    const struct config_row *row = row_of(name);
    enum config_source source;
    return number_of(row, config_view_text(view, row, &source));
}

#define LISTENER_KEY_MAX 400 /* longer ones belong to no listener that can be reached */

int64_t
config_view_listener_int(const struct config_view *view, struct str listener, const char *name)
{
    static const enum config_source sources[] = {
        CONFIG_SOURCE_DYNAMIC_BROKER,
        CONFIG_SOURCE_DYNAMIC_DEFAULT_BROKER,
        CONFIG_SOURCE_STATIC_BROKER,
    };
    char memory[LISTENER_KEY_MAX];
    struct strbuf sb;
    strbuf_init(&sb, memory, sizeof(memory));
    strbuf_addf(&sb, "listener.name." STR_FMT ".%s", STR_ARG(listener), name);
    for (size_t i = 0; i < sb.len; i++) {
        memory[i] =
            (char)(memory[i] >= 'A' && memory[i] <= 'Z' ? memory[i] - 'A' + 'a' : memory[i]);
    }
    const struct config_row *row = row_of(name);
    for (size_t i = 0; !sb.is_truncated && i < ARRAY_LEN(sources); i++) {
        struct str text = config_view_text_at(view, strbuf_str(&sb), NULL, sources[i]);
        if (!str_is_null(text) && is_valid(row, text)) {
            return number_of(row, text);
        }
    }
    return config_view_int(view, name);
}

int64_t config_effective_int(const struct config *c, const struct image *im, const char *name)
{
    struct config_view view = config_view_of(c, im);
    return config_view_int(&view, name);
}

bool config_effective_bool(const struct config *c, const struct image *im, const char *name)
{
    return config_effective_int(c, im, name) == 1;
}
