/*
 * Altering configs.
 *
 * Order: a resource that comes twice, a key that comes twice, values that are null, the resource's
 * type and name, what the broker itself refuses (its own dynamic keys, its loggers). All of that is
 * decided for each resource alone. What is left would go to the controller: there one unknown
 * operation spoils all; otherwise again each resource stands for itself: operations on what is no
 * list, min.insync.replicas under eligible leader replicas, names and values, existence.
 *
 * Changes are sorted by key once, so that twins stand side by side and the new set of configs is a
 * merge with the old one, which the image keeps sorted: no step is quadratic in what a client sent.
 *
 * A record is written where the value changes; for brokers always (KAFKA-14136). Records that clear
 * eligible leader replicas follow those of all resources.
 */
#include "config/config_alter.h"

#include "base/err.h"
#include "config/config_resource.h"
#include "config/config_topic.h"
#include "meta/controller.h"
#include "wire/gen/messages.h"

#define SHOWN_MAX 1100
#define SHOWN(name)                \
    char name##_memory[SHOWN_MAX]; \
    struct strbuf name;            \
    strbuf_init(&(name), name##_memory, sizeof(name##_memory))

static void settle(const struct config_alter *ca,
                   struct config_alteration *al,
                   enum kafka_error error,
                   const char *format,
                   ...) printf_like(4, 5);

static void settle(const struct config_alter *ca,
                   struct config_alteration *al,
                   enum kafka_error error,
                   const char *format,
                   ...)
{
    char text[2048];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    al->is_settled = true;
    al->error = error;
    al->message = arena_strdup(ca->arena, str_from(text));
}

static int compare_changes(const void *a, const void *b)
{
    const struct config_change *left = a;
    const struct config_change *right = b;
    return str_compare(left->name, right->name);
}

static int compare_alterations(const void *a, const void *b)
{
    const struct config_alteration *const *left = a;
    const struct config_alteration *const *right = b;
    if ((*left)->type != (*right)->type) {
        return (*left)->type < (*right)->type ? -1 : 1;
    }
    return str_compare((*left)->name, (*right)->name);
}

static void refuse_twins(const struct config_alter *ca)
{
    if (ca->count < 2) {
        return;
    }
    struct config_alteration **sorted =
        arena_alloc(ca->arena, ca->count * sizeof(struct config_alteration *));
    for (size_t i = 0; i < ca->count; i++) {
        sorted[i] = &ca->items[i];
    }
    qsort(sorted, ca->count, sizeof(struct config_alteration *), compare_alterations);
    for (size_t i = 1; i < ca->count; i++) {
        if (compare_alterations(&sorted[i - 1], &sorted[i]) == 0) {
            settle(ca, sorted[i - 1], KAFKA_ERROR_INVALID_REQUEST, "A resource may be there once.");
            settle(ca, sorted[i], KAFKA_ERROR_INVALID_REQUEST, "A resource may be there once.");
        }
    }
}

/* The name of a broker resource must be this node's id. */
static bool check_node_name(const struct config_alter *ca, struct config_alteration *al)
{
    int32_t id;
    SHOWN(shown);
    if (str_to_i32(al->name, &id) < 0) {
        settle(ca, al, KAFKA_ERROR_INVALID_REQUEST, "A node id must be a number, not '%s'.",
               str_escape(&shown, al->name));
        return false;
    }
    if (id != config_node_id(ca->c)) {
        settle(ca, al, KAFKA_ERROR_INVALID_REQUEST, "This is node %d, not %d: ask that one.",
               (int)config_node_id(ca->c), (int)id);
        return false;
    }
    return true;
}

static void alter_loggers(const struct config_alter *ca, struct config_alteration *al)
{
    static const char *const levels[] = {"DEBUG", "ERROR", "FATAL", "INFO", "TRACE", "WARN"};
    if (!check_node_name(ca, al)) {
        return;
    }
    for (size_t i = 0; i < al->changes_count; i++) {
        const struct config_change *ch = &al->changes[i];
        SHOWN(shown);
        if (ch->operation == CONFIG_APPEND || ch->operation == CONFIG_SUBTRACT) {
            settle(ca, al, KAFKA_ERROR_INVALID_REQUEST, "The level of a logger is no list.");
            return;
        }
        if (ch->operation != CONFIG_SET && ch->operation != CONFIG_DELETE) {
            settle(ca, al, KAFKA_ERROR_INVALID_REQUEST, "Unknown operation %d.", ch->operation);
            return;
        }
        if (!str_is(ch->name, "root")) {
            settle(ca, al, KAFKA_ERROR_INVALID_CONFIG,
                   "There is no logger %s; the only one is root.", str_escape(&shown, ch->name));
            return;
        }
        if (ch->operation == CONFIG_DELETE) {
            settle(ca, al, KAFKA_ERROR_INVALID_REQUEST,
                   "The level of the root logger must be set.");
            return;
        }
        bool is_level = false;
        for (size_t j = 0; j < ARRAY_LEN(levels); j++) {
            is_level |= str_is(ch->value, levels[j]);
        }
        if (!is_level) {
            settle(ca, al, KAFKA_ERROR_INVALID_CONFIG,
                   "%s is no log level; it must be DEBUG, ERROR, FATAL, INFO, TRACE or WARN.",
                   str_escape(&shown, ch->value));
            return;
        }
        if (!ca->is_validate_only && ca->set_log_level != NULL) {
            ca->set_log_level(ca->ctx, ch->value);
        }
    }
    al->is_settled = true;
}

static bool is_operation(int8_t operation)
{
    return operation >= CONFIG_SET && operation <= CONFIG_SUBTRACT;
}

/* ---- the set of configs that would be ---- */

struct outcome {
    struct image_config *configs; /* all that the resource would have, by name */
    size_t count;
    struct image_config *records; /* value null: deleted */
    size_t records_count;
};

/* The row of a key that may be a list: Kafka knows the types of topics' and brokers' keys here. */
static const struct config_row *schema_row(int8_t type, struct str name)
{
    if (type == CONFIG_RESOURCE_TOPIC) {
        return config_table_find(&config_table_topic, name);
    }
    return type == CONFIG_RESOURCE_BROKER ? config_table_find_broker(name) : NULL;
}

struct parts {
    struct str *items;
    size_t count;
    size_t cap;
};

static void add_part(struct parts *p, struct str item, struct arena *arena)
{
    if (p->count == p->cap) {
        size_t cap = p->cap == 0 ? 8 : p->cap * 2;
        struct str *items = arena_alloc(arena, cap * sizeof(*items));
        if (p->count > 0) {
            memcpy(items, p->items, p->count * sizeof(*items));
        }
        p->items = items;
        p->cap = cap;
    }
    p->items[p->count++] = item;
}

static size_t find_part(const struct parts *p, struct str item)
{
    size_t i = 0;
    while (i < p->count && !str_equal(p->items[i], item)) {
        i++;
    }
    return i;
}

/* Values of one list times values of one change: bounds the work. Beyond it the value is too long
 * to be a config. */
#define LIST_VALUES_MAX 2000

/* Empty values are not what a resource has, but a change may name one, and the check of the whole
 * refuses it then: as Java splits, those at the end do not count, and "" is one empty value. */
static bool split_values(struct str text, bool keeps_empty, struct parts *p, struct arena *arena)
{
    struct str rest = text;
    struct str item;
    size_t filled = 0;
    while (rest.len > 0 && str_split(&rest, ',', &item)) {
        if (item.len > 0 || keeps_empty) {
            if (p->count == LIST_VALUES_MAX) {
                return false;
            }
            add_part(p, item, arena);
            filled = item.len > 0 ? p->count : filled;
        }
    }
    p->count = filled;
    if (text.len == 0 && keeps_empty) {
        add_part(p, STR(""), arena);
    }
    return true;
}

static struct str join_parts(const struct parts *p, struct arena *arena)
{
    size_t size = 1;
    for (size_t i = 0; i < p->count; i++) {
        size += p->items[i].len + 1;
    }
    char *memory = arena_alloc(arena, size);
    struct strbuf sb;
    strbuf_init(&sb, memory, size);
    for (size_t i = 0; i < p->count; i++) {
        if (i > 0) {
            strbuf_add(&sb, ",", 1);
        }
        strbuf_add_str(&sb, p->items[i]);
    }
    return strbuf_str(&sb);
}

static bool change_list(const struct config_alter *ca,
                        struct config_alteration *al,
                        const struct config_change *ch,
                        struct str current,
                        struct str *ret)
{
    const struct config_row *row = schema_row(al->type, ch->name);
    if (row == NULL || row->type != CONFIG_TYPE_LIST) {
        SHOWN(shown);
        settle(ca, al, KAFKA_ERROR_INVALID_CONFIG, "%s is no list: nothing can be %s it.",
               str_escape(&shown, ch->name),
               ch->operation == CONFIG_APPEND ? "appended to" : "subtracted from");
        return false;
    }
    struct parts values = {0};
    struct parts wanted = {0};
    struct str from = str_is_null(current) ? str_from(row->default_text) : current;
    if (!split_values(from, false, &values, ca->arena) ||
        !split_values(ch->value, true, &wanted, ca->arena)) {
        settle(ca, al, KAFKA_ERROR_INVALID_CONFIG, "%s: more than %d values.", row->name,
               LIST_VALUES_MAX);
        return false;
    }
    size_t known = values.count;
    for (size_t i = 0; i < wanted.count; i++) {
        size_t at = find_part(&values, wanted.items[i]);
        /* What a broker's change itself repeats stays, for the check that refuses it. */
        bool is_new = at >= (al->type == CONFIG_RESOURCE_BROKER ? known : values.count);
        if (ch->operation == CONFIG_APPEND && is_new) {
            add_part(&values, wanted.items[i], ca->arena);
        } else if (ch->operation == CONFIG_SUBTRACT && at < values.count) {
            memmove(&values.items[at], &values.items[at + 1],
                    (values.count - at - 1) * sizeof(*values.items));
            values.count--;
        }
    }
    *ret = join_parts(&values, ca->arena);
    return true;
}

static bool new_value(const struct config_alter *ca,
                      struct config_alteration *al,
                      const struct config_change *ch,
                      struct str current,
                      struct str *ret)
{
    switch ((enum config_operation)ch->operation) {
    case CONFIG_SET:
        *ret = ch->value;
        return true;
    case CONFIG_DELETE:
        *ret = (struct str){0};
        return true;
    case CONFIG_APPEND:
    case CONFIG_SUBTRACT:
        return change_list(ca, al, ch, current, ret);
    }
    check(false);
    return false;
}

static void note(const struct config_alteration *al,
                 struct outcome *out,
                 struct str name,
                 struct str before,
                 struct str after)
{
    if (!str_equal(before, after) || al->type == CONFIG_RESOURCE_BROKER) {
        out->records[out->records_count++] = (struct image_config){name, after};
    }
    if (!str_is_null(after)) {
        out->configs[out->count++] = (struct image_config){name, after};
    }
}

/* Merges the changes (sorted) with what the resource has (sorted). False: settled. */
static bool work_out(const struct config_alter *ca,
                     struct config_alteration *al,
                     const struct image *im,
                     struct outcome *ret)
{
    const struct image_config *old;
    size_t old_count;
    image_configs(im, (enum config_resource_type)al->type, al->name, &old, &old_count);
    size_t room = old_count + al->changes_count + 1;
    struct outcome out = {
        .configs = arena_alloc(ca->arena, room * sizeof(*out.configs)),
        .records = arena_alloc(ca->arena, room * sizeof(*out.records)),
    };
    size_t i = 0;
    size_t j = 0;
    while (i < old_count || j < al->changes_count) {
        int order = i == old_count           ? 1
                    : j == al->changes_count ? -1
                                             : str_compare(old[i].name, al->changes[j].name);
        if (order < 0) {
            if (ca->mode == CONFIG_ALTER_REPLACE) {
                out.records[out.records_count++] = (struct image_config){old[i].name, {0}};
            } else {
                out.configs[out.count++] = old[i];
            }
            i++;
            continue;
        }
        struct str before = order == 0 ? old[i].value : (struct str){0};
        struct str after;
        if (!new_value(ca, al, &al->changes[j], before, &after)) {
            return false;
        }
        note(al, &out, al->changes[j].name, before, after);
        i += order == 0 ? 1 : 0;
        j++;
    }
    *ret = out;
    return true;
}

/* ---- what the broker decides ---- */

static bool has_twins_or_nulls(const struct config_alter *ca, struct config_alteration *al)
{
    if (al->changes_count > 1) {
        qsort(al->changes, al->changes_count, sizeof(*al->changes), compare_changes);
    }
    SHOWN(shown);
    for (size_t i = 1; i < al->changes_count; i++) {
        if (str_equal(al->changes[i - 1].name, al->changes[i].name)) {
            settle(ca, al, KAFKA_ERROR_INVALID_REQUEST, "The key %s is there twice.",
                   str_escape(&shown, al->changes[i].name));
            return true;
        }
    }
    for (size_t i = 0; i < al->changes_count; i++) {
        if (al->changes[i].operation != CONFIG_DELETE && str_is_null(al->changes[i].value)) {
            settle(ca, al, KAFKA_ERROR_INVALID_REQUEST, "The key %s has no value (null).",
                   str_escape(&shown, al->changes[i].name));
            return true;
        }
    }
    return false;
}

static void
check_broker(const struct config_alter *ca, struct config_alteration *al, const struct image *im)
{
    if (al->name.len > 0 && !check_node_name(ca, al)) {
        return;
    }
    for (size_t i = 0; i < al->changes_count; i++) {
        if (!is_operation(al->changes[i].operation)) {
            settle(ca, al, KAFKA_ERROR_INVALID_REQUEST, "Unknown operation %d.",
                   al->changes[i].operation);
            return;
        }
    }
    struct outcome out;
    if (!work_out(ca, al, im, &out)) {
        return;
    }
    struct str message = {0};
    enum kafka_error error = config_resource_check_broker(ca->c, im, al->name, out.configs,
                                                          out.count, ca->arena, &message);
    if (error != KAFKA_ERROR_NONE) {
        al->is_settled = true;
        al->error = error;
        al->message = message;
    }
}

static void
check_alone(const struct config_alter *ca, struct config_alteration *al, const struct image *im)
{
    if (has_twins_or_nulls(ca, al)) {
        return;
    }
    switch (al->type) {
    case CONFIG_RESOURCE_TOPIC:
    case CONFIG_RESOURCE_CLIENT_METRICS:
    case CONFIG_RESOURCE_GROUP:
        return;
    case CONFIG_RESOURCE_BROKER:
        check_broker(ca, al, im);
        return;
    case CONFIG_RESOURCE_BROKER_LOGGER:
        if (ca->mode == CONFIG_ALTER_INCREMENTAL) {
            alter_loggers(ca, al);
            return;
        }
        break;
    default:
        break;
    }
    settle(ca, al, KAFKA_ERROR_INVALID_REQUEST,
           "The configs of resource type %d cannot be altered.", al->type);
}

/* ---- what the controller decides ---- */

/* KIP-966: with eligible leader replicas there is one min.insync.replicas for all brokers, and it
 * stays. */
static bool breaks_elr(const struct config_alter *ca,
                       struct config_alteration *al,
                       const struct image *im,
                       const struct outcome *out)
{
    if (al->type != CONFIG_RESOURCE_BROKER || !controller_has_elr(im)) {
        return false;
    }
    for (size_t i = 0; i < out->records_count; i++) {
        if (!str_is(out->records[i].name, "min.insync.replicas")) {
            continue;
        }
        if (al->name.len > 0) {
            settle(ca, al, KAFKA_ERROR_INVALID_CONFIG,
                   "min.insync.replicas cannot differ between brokers while eligible leader "
                   "replicas are in use.");
            return true;
        }
        if (str_is_null(out->records[i].value)) {
            settle(ca, al, KAFKA_ERROR_INVALID_CONFIG,
                   "min.insync.replicas of all brokers cannot be removed while eligible leader "
                   "replicas are in use.");
            return true;
        }
    }
    return false;
}

static enum kafka_error check_topic(const struct config_alter *ca,
                                    const struct image *im,
                                    struct config_alteration *al,
                                    const struct outcome *out,
                                    struct str *ret_message)
{
    if (al->name.len == 0) {
        *ret_message = STR("A topic must be named: there are no configs for all topics.");
        return KAFKA_ERROR_INVALID_REQUEST;
    }
    struct str problem = controller_topic_name_problem(al->name);
    if (!str_is_null(problem)) {
        *ret_message = problem;
        return KAFKA_ERROR_INVALID_TOPIC_EXCEPTION;
    }
    /* config_topic_check takes its config as the context of a callback. */
    union {
        const struct config *in;
        void *out;
    } ctx = {.in = ca->c};
    enum kafka_error error =
        config_topic_check(ctx.out, im, out->configs, out->count, ca->arena, ret_message);
    if (error != KAFKA_ERROR_NONE) {
        return error;
    }
    if (image_topic_by_name(im, al->name) == NULL) {
        SHOWN(shown);
        *ret_message =
            arena_printf(ca->arena, "The topic '%s' does not exist.", str_escape(&shown, al->name));
        return KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION;
    }
    return KAFKA_ERROR_NONE;
}

static enum kafka_error check_outcome(const struct config_alter *ca,
                                      const struct image *im,
                                      struct config_alteration *al,
                                      const struct outcome *out,
                                      struct str *ret_message)
{
    switch (al->type) {
    case CONFIG_RESOURCE_TOPIC:
        return check_topic(ca, im, al, out, ret_message);
    case CONFIG_RESOURCE_GROUP:
        return config_resource_check_group(ca->c, im, al->name, out->configs, out->count, ca->arena,
                                           ret_message);
    case CONFIG_RESOURCE_CLIENT_METRICS:
        return config_resource_check_client_metrics(al->name, out->configs, out->count, ca->arena,
                                                    ret_message);
    default:
        return KAFKA_ERROR_NONE;
    }
}

static int add_records(const struct config_alter *ca,
                       struct config_alteration *al,
                       const struct image *im,
                       const struct outcome *out,
                       struct meta_records *records,
                       struct meta_records *after)
{
    for (size_t i = 0; i < out->records_count; i++) {
        if (out->records[i].name.len > INT16_MAX || out->records[i].value.len > INT16_MAX) {
            settle(ca, al, KAFKA_ERROR_INVALID_CONFIG, "A key or a value is longer than %d bytes.",
                   INT16_MAX);
            return 0;
        }
    }
    for (size_t i = 0; i < out->records_count; i++) {
        int err = controller_add_config(im, (enum config_resource_type)al->type, al->name,
                                        &out->records[i], records, after);
        if (err < 0) {
            return err;
        }
    }
    return 0;
}

static int decide_one(const struct config_alter *ca,
                      struct config_alteration *al,
                      const struct image *im,
                      struct meta_records *records,
                      struct meta_records *after)
{
    struct outcome out;
    if (!work_out(ca, al, im, &out) || breaks_elr(ca, al, im, &out)) {
        return 0;
    }
    struct str message = {0};
    al->error = check_outcome(ca, im, al, &out, &message);
    al->message = message;
    al->is_settled = true;
    if (al->error != KAFKA_ERROR_NONE || ca->is_validate_only) {
        return 0;
    }
    return add_records(ca, al, im, &out, records, after);
}

int config_alter_decide(const struct config_alter *ca,
                        const struct image *im,
                        struct meta_records *records)
{
    refuse_twins(ca);
    struct meta_records after;
    meta_records_init(&after, records->arena);
    bool has_unknown_operation = false;
    for (size_t i = 0; i < ca->count; i++) {
        struct config_alteration *al = &ca->items[i];
        if (!al->is_settled) {
            check_alone(ca, al, im);
        }
        for (size_t j = 0; !al->is_settled && j < al->changes_count; j++) {
            has_unknown_operation |= !is_operation(al->changes[j].operation);
        }
    }
    for (size_t i = 0; i < ca->count; i++) {
        struct config_alteration *al = &ca->items[i];
        if (al->is_settled) {
            continue;
        }
        if (has_unknown_operation) {
            al->is_settled = true;
            al->error = KAFKA_ERROR_UNKNOWN_SERVER_ERROR;
            continue;
        }
        int err = decide_one(ca, al, im, records, &after);
        if (err < 0) {
            return err;
        }
    }
    meta_records_add_all(records, &after);
    return 0;
}
