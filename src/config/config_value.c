/*
 * Values of config keys, after Kafka's ConfigDef.parseType, its validators and convertToString.
 *
 * Worth knowing: LIST is split at commas with the blanks around them; lists whose validator forbids
 * repetition drop repeated values silently, and refuse empty ones; numbers may carry a plus sign; a
 * DOUBLE is printed as Java prints it.
 */
#include "config/config_value.h"

#include "base/err.h"

#include <math.h>

/* Takes the next of the comma-separated names of a row. */
static bool next_name(struct str *rest, struct str *ret)
{
    return rest->ptr != NULL && str_split(rest, ',', ret);
}

static bool is_named(const struct config_row *row, struct str text)
{
    struct str rest = str_from(row->names);
    struct str name;
    while (next_name(&rest, &name)) {
        if (row->check == CONFIG_CHECK_ONE_OF_CASELESS ? str_equal_ignore_case(name, text)
                                                       : str_equal(name, text)) {
            return true;
        }
    }
    return false;
}

static bool is_digits(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] < '0' || s.ptr[i] > '9') {
            return false;
        }
    }
    return s.len > 0;
}

/* host:port with a port from 0 to 65535; the host may be an IPv6 address in brackets. */
static bool is_host_port(struct str s)
{
    size_t colon = s.len;
    while (colon > 0 && s.ptr[colon - 1] != ':') {
        colon--;
    }
    if (colon < 2) {
        return false;
    }
    struct str host = str_of(s.ptr, colon - 1);
    struct str port = str_of(s.ptr + colon, s.len - colon);
    int32_t number;
    if (!is_digits(port) || str_to_i32(port, &number) < 0 || number > 65535) {
        return false;
    }
    if (host.ptr[0] == '[') {
        return host.len > 2 && host.ptr[host.len - 1] == ']';
    }
    return memchr(host.ptr, ':', host.len) == NULL;
}

/* id@host:port. */
static bool is_voter(struct str s)
{
    const char *at = s.len == 0 ? NULL : memchr(s.ptr, '@', s.len);
    if (at == NULL) {
        return false;
    }
    struct str id = str_of(s.ptr, (size_t)(at - s.ptr));
    int32_t number;
    return is_digits(id) && str_to_i32(id, &number) == 0 &&
           is_host_port(str_of(at + 1, s.len - id.len - 1));
}

/* partition:broker, both without a sign. */
static bool is_throttled_replica(struct str s)
{
    struct str left;
    struct str rest = s;
    return memchr(s.ptr, ':', s.len) != NULL && str_split(&rest, ':', &left) && is_digits(left) &&
           is_digits(rest);
}

/* The digits before one unit letter of an ISO-8601 duration; takes them off. */
static bool take_duration_part(struct str *s, char unit, bool may_have_fraction, bool *ret_found)
{
    size_t i = 0;
    bool has_dot = false;
    while (i < s->len && ((s->ptr[i] >= '0' && s->ptr[i] <= '9') ||
                          (may_have_fraction && !has_dot && i > 0 && s->ptr[i] == '.'))) {
        has_dot |= s->ptr[i] == '.';
        i++;
    }
    if (i == 0 || i == s->len || (s->ptr[i] | 0x20) != (unit | 0x20)) {
        return true; /* another unit, perhaps */
    }
    if (i > 18) {
        return false;
    }
    *s = str_of(s->ptr + i + 1, s->len - i - 1);
    *ret_found = true;
    return true;
}

/* PnDTnHnMn.nS without signs: a duration that is not negative. */
static bool is_duration(struct str s)
{
    if (s.len < 3 || (s.ptr[0] | 0x20) != 'p') {
        return false;
    }
    s = str_of(s.ptr + 1, s.len - 1);
    bool has_day = false;
    if (!take_duration_part(&s, 'D', false, &has_day)) {
        return false;
    }
    if (s.len == 0) {
        return has_day;
    }
    if ((s.ptr[0] | 0x20) != 't') {
        return false;
    }
    s = str_of(s.ptr + 1, s.len - 1);
    bool has_time = false;
    return take_duration_part(&s, 'H', false, &has_time) &&
           take_duration_part(&s, 'M', false, &has_time) &&
           take_duration_part(&s, 'S', true, &has_time) && has_time && s.len == 0;
}

static bool is_offset_reset(struct str s)
{
    struct str prefix = STR("by_duration:");
    return str_is(s, "latest") || str_is(s, "earliest") ||
           (str_starts_with(s, prefix) &&
            is_duration(str_of(s.ptr + prefix.len, s.len - prefix.len)));
}

static bool may_repeat(const struct config_row *row)
{
    return row->check == CONFIG_CHECK_ANY || row->check == CONFIG_CHECK_THROTTLED_REPLICAS ||
           row->check == CONFIG_CHECK_VOTERS || row->check == CONFIG_CHECK_HOST_PORTS;
}

static bool holds(const struct str *items, size_t count, struct str item)
{
    for (size_t i = 0; i < count; i++) {
        if (str_equal(items[i], item)) {
            return true;
        }
    }
    return false;
}

static bool list_item_is_allowed(const struct config_row *row, struct str item)
{
    switch (row->check) {
    case CONFIG_CHECK_VALUES:
    case CONFIG_CHECK_SOME_VALUES:
        return item.len > 0;
    case CONFIG_CHECK_LIST_OF:
    case CONFIG_CHECK_LIST_OF_SOME:
        return is_named(row, item);
    case CONFIG_CHECK_THROTTLED_REPLICAS:
        return item.len == 0 || str_is(item, "*") || is_throttled_replica(item);
    case CONFIG_CHECK_VOTERS:
        return is_voter(item);
    case CONFIG_CHECK_HOST_PORTS:
        return is_host_port(item);
    case CONFIG_CHECK_ANY:
    case CONFIG_CHECK_RANGE:
    case CONFIG_CHECK_RANGE_OR:
    case CONFIG_CHECK_REAL:
    case CONFIG_CHECK_NOT_EMPTY:
    case CONFIG_CHECK_ONE_OF:
    case CONFIG_CHECK_ONE_OF_CASELESS:
    case CONFIG_CHECK_OFFSET_RESET:
        break;
    }
    return true;
}

/* The star of a list of throttled replicas stands alone, but for empty items. */
static bool is_good_star(const struct config_row *row, const struct config_value *list)
{
    size_t stars = 0;
    size_t filled = 0;
    for (size_t i = 0; i < list->items_count; i++) {
        stars += str_is(list->items[i], "*") ? 1 : 0;
        filled += list->items[i].len > 0 ? 1 : 0;
    }
    return row->check != CONFIG_CHECK_THROTTLED_REPLICAS || stars == 0 || filled == 1;
}

static bool parse_list(const struct config_row *row,
                       struct str text,
                       struct arena *arena,
                       struct config_value *ret)
{
    bool must_have_some =
        row->check == CONFIG_CHECK_SOME_VALUES || row->check == CONFIG_CHECK_LIST_OF_SOME;
    if (text.len == 0) {
        return !must_have_some;
    }
    size_t count = 1;
    for (size_t i = 0; i < text.len; i++) {
        count += text.ptr[i] == ',' ? 1 : 0;
    }
    if (count > CONFIG_VALUE_ITEMS_MAX) {
        return false;
    }
    ret->items = arena_alloc(arena, count * sizeof(*ret->items));
    size_t start = 0;
    for (size_t i = 0; i <= text.len; i++) {
        if (i < text.len && text.ptr[i] != ',') {
            continue;
        }
        struct str item = str_trim(str_of(text.ptr + start, i - start));
        start = i + 1;
        if (!list_item_is_allowed(row, item)) {
            return false;
        }
        if (may_repeat(row) || !holds(ret->items, ret->items_count, item)) {
            ret->items[ret->items_count++] = item;
        } else {
            ret->had_repeats = true;
        }
    }
    return is_good_star(row, ret);
}

static bool parse_number(const struct config_row *row, struct str text, struct config_value *ret)
{
    if (str_to_i64(text, &ret->number) < 0) {
        return false;
    }
    int64_t n = ret->number;
    if (row->type == CONFIG_TYPE_INT && (n < INT32_MIN || n > INT32_MAX)) {
        return false;
    }
    if (row->type == CONFIG_TYPE_SHORT && (n < INT16_MIN || n > INT16_MAX)) {
        return false;
    }
    if (row->check == CONFIG_CHECK_RANGE) {
        return n >= row->min && n <= row->max;
    }
    if (row->check == CONFIG_CHECK_RANGE_OR) {
        return (n >= row->min && n <= row->max) || n == row->other;
    }
    return true;
}

static bool parse_double(const struct config_row *row, struct str text, struct config_value *ret)
{
    /* Java allows the suffix of a literal. */
    if (text.len > 1 && memchr("dDfF", text.ptr[text.len - 1], 4) != NULL) {
        text.len--;
    }
    /* It also reads NaN, which is neither below a minimum nor above a maximum. */
    if (str_is(text, "NaN")) {
        ret->real = (double)NAN;
        return true;
    }
    if (str_to_double(text, &ret->real) < 0) {
        return false;
    }
    return row->check != CONFIG_CHECK_REAL ||
           (ret->real >= (double)row->min / 1000.0 && ret->real <= (double)row->max / 1000.0);
}

static bool parse_string(const struct config_row *row, struct str text, struct config_value *ret)
{
    ret->text = text;
    switch (row->check) {
    case CONFIG_CHECK_NOT_EMPTY:
        return text.len > 0;
    case CONFIG_CHECK_ONE_OF:
    case CONFIG_CHECK_ONE_OF_CASELESS:
        return is_named(row, text);
    case CONFIG_CHECK_OFFSET_RESET:
        return is_offset_reset(text);
    case CONFIG_CHECK_ANY:
    case CONFIG_CHECK_RANGE:
    case CONFIG_CHECK_RANGE_OR:
    case CONFIG_CHECK_REAL:
    case CONFIG_CHECK_VALUES:
    case CONFIG_CHECK_SOME_VALUES:
    case CONFIG_CHECK_LIST_OF:
    case CONFIG_CHECK_LIST_OF_SOME:
    case CONFIG_CHECK_THROTTLED_REPLICAS:
    case CONFIG_CHECK_VOTERS:
    case CONFIG_CHECK_HOST_PORTS:
        break;
    }
    return true;
}

static bool parse_boolean(struct str text, struct config_value *ret)
{
    ret->number = str_equal_ignore_case(text, STR("true")) ? 1 : 0;
    return ret->number == 1 || str_equal_ignore_case(text, STR("false"));
}

bool config_value_parse(const struct config_row *row,
                        struct str text,
                        struct arena *arena,
                        struct config_value *ret,
                        struct str *ret_message)
{
    *ret = (struct config_value){.is_null = str_is_null(text)};
    if (ret->is_null) {
        return true;
    }
    struct str trimmed = str_trim(text);
    bool is_good = false;
    switch (row->type) {
    case CONFIG_TYPE_BOOLEAN:
        is_good = parse_boolean(trimmed, ret);
        break;
    case CONFIG_TYPE_INT:
    case CONFIG_TYPE_SHORT:
    case CONFIG_TYPE_LONG:
        is_good = parse_number(row, trimmed, ret);
        break;
    case CONFIG_TYPE_DOUBLE:
        is_good = parse_double(row, trimmed, ret);
        break;
    case CONFIG_TYPE_LIST:
        is_good = parse_list(row, trimmed, arena, ret);
        break;
    case CONFIG_TYPE_STRING:
    case CONFIG_TYPE_CLASS:
    case CONFIG_TYPE_PASSWORD:
    case CONFIG_TYPE_UNKNOWN:
        is_good = parse_string(row, trimmed, ret);
        break;
    }
    if (!is_good) {
        *ret_message = config_value_refusal(row, text, arena);
    }
    return is_good;
}

static void add_names(const struct config_row *row, struct strbuf *sb)
{
    struct str rest = str_from(row->names);
    struct str name;
    bool is_first = true;
    while (next_name(&rest, &name)) {
        strbuf_addf(sb, "%s" STR_FMT, is_first ? "" : ", ", STR_ARG(name));
        is_first = false;
    }
}

static void add_range(const struct config_row *row, struct strbuf *sb)
{
    int64_t type_max = row->type == CONFIG_TYPE_INT     ? INT32_MAX
                       : row->type == CONFIG_TYPE_SHORT ? INT16_MAX
                                                        : INT64_MAX;
    if (row->max >= type_max) {
        strbuf_addf(sb, ", at least %" PRId64, row->min);
    } else {
        strbuf_addf(sb, " from %" PRId64 " to %" PRId64, row->min, row->max);
    }
}

void config_value_allowed(const struct config_row *row, struct strbuf *sb)
{
    if (row->type == CONFIG_TYPE_BOOLEAN) {
        strbuf_addf(sb, "true or false");
        return;
    }
    bool has_names =
        row->check == CONFIG_CHECK_ONE_OF || row->check == CONFIG_CHECK_ONE_OF_CASELESS;
    if (!has_names) {
        const char *name = config_table_type_name(row->type);
        strbuf_addf(sb, "%s %s", name[0] == 'I' ? "an" : "a", name);
    }
    switch (row->check) {
    case CONFIG_CHECK_ANY:
        break;
    case CONFIG_CHECK_RANGE:
        add_range(row, sb);
        break;
    case CONFIG_CHECK_RANGE_OR:
        add_range(row, sb);
        strbuf_addf(sb, " or %" PRId64, row->other);
        break;
    case CONFIG_CHECK_REAL:
        strbuf_addf(sb, " from %g to %g", (double)row->min / 1000.0, (double)row->max / 1000.0);
        break;
    case CONFIG_CHECK_NOT_EMPTY:
        strbuf_addf(sb, " that is not empty");
        break;
    case CONFIG_CHECK_ONE_OF:
        strbuf_addf(sb, "one of: ");
        add_names(row, sb);
        break;
    case CONFIG_CHECK_ONE_OF_CASELESS:
        strbuf_addf(sb, "one of (capital letters or not): ");
        add_names(row, sb);
        break;
    case CONFIG_CHECK_VALUES:
        strbuf_addf(sb, " without empty values");
        break;
    case CONFIG_CHECK_SOME_VALUES:
        strbuf_addf(sb, " of one or more values, none of them empty");
        break;
    case CONFIG_CHECK_LIST_OF:
        strbuf_addf(sb, " of: ");
        add_names(row, sb);
        break;
    case CONFIG_CHECK_LIST_OF_SOME:
        strbuf_addf(sb, " of one or more of: ");
        add_names(row, sb);
        break;
    case CONFIG_CHECK_THROTTLED_REPLICAS:
        strbuf_addf(sb, ": * or partition:broker pairs separated by commas");
        break;
    case CONFIG_CHECK_VOTERS:
        strbuf_addf(sb, " of id@host:port");
        break;
    case CONFIG_CHECK_HOST_PORTS:
        strbuf_addf(sb, " of host:port");
        break;
    case CONFIG_CHECK_OFFSET_RESET:
        strbuf_addf(sb, ": latest, earliest or by_duration:PnDTnHnMn.nS");
        break;
    }
}

struct str config_value_refusal(const struct config_row *row, struct str text, struct arena *arena)
{
    char allowed_memory[512];
    struct strbuf allowed;
    strbuf_init(&allowed, allowed_memory, sizeof(allowed_memory));
    config_value_allowed(row, &allowed);
    if (row->type == CONFIG_TYPE_PASSWORD) {
        return arena_printf(arena, "The value of %s is not allowed; it must be %s.", row->name,
                            allowed.ptr);
    }
    char value_memory[1100];
    struct strbuf value;
    strbuf_init(&value, value_memory, sizeof(value_memory));
    return arena_printf(arena, "Invalid value %s for configuration %s: it must be %s.",
                        str_escape(&value, text), row->name, allowed.ptr);
}

struct str config_value_print_double(double value, struct arena *arena)
{
    if (isnan(value)) {
        return STR("NaN");
    }
    if (isinf(value)) {
        return value < 0 ? STR("-Infinity") : STR("Infinity");
    }
    if (value == 0) {
        return signbit(value) ? STR("-0.0") : STR("0.0");
    }
    /* The fewest digits that read back as the same number: d.ddddde[+-]xx. */
    char text[64];
    for (int precision = 0; precision <= 17; precision++) {
        int n = snprintf(text, sizeof(text), "%.*e", precision, value);
        check(n > 0 && (size_t)n < sizeof(text));
        double again;
        if (str_to_double(str_from(text), &again) == 0 && again == value) {
            break;
        }
    }
    const char *sign = text[0] == '-' ? "-" : "";
    char digits[32];
    int count = 0;
    const char *p = text[0] == '-' ? text + 1 : text;
    for (; *p != 'e'; p++) {
        if (*p != '.') {
            digits[count++] = *p;
        }
    }
    digits[count] = '\0';
    int32_t exponent;
    check(str_to_i32(str_from(p + 1), &exponent) == 0);
    if (exponent < -3 || exponent >= 7) {
        return arena_printf(arena, "%s%c.%sE%d", sign, digits[0], count > 1 ? digits + 1 : "0",
                            (int)exponent);
    }
    if (exponent < 0) {
        return arena_printf(arena, "%s0.%.*s%s", sign, (int)(-exponent - 1), "00", digits);
    }
    int whole = (int)exponent + 1;
    int padding = whole > count ? whole - count : 0;
    return arena_printf(arena, "%s%.*s%.*s.%s", sign, whole - padding, digits, padding, "0000000",
                        whole < count ? digits + whole : "0");
}

static struct str print_list(const struct config_value *value, struct arena *arena)
{
    size_t size = 1;
    for (size_t i = 0; i < value->items_count; i++) {
        size += value->items[i].len + 1;
    }
    char *memory = arena_alloc(arena, size);
    struct strbuf sb;
    strbuf_init(&sb, memory, size);
    for (size_t i = 0; i < value->items_count; i++) {
        if (i > 0) {
            strbuf_add(&sb, ",", 1);
        }
        strbuf_add_str(&sb, value->items[i]);
    }
    return strbuf_str(&sb);
}

struct str config_value_print(const struct config_row *row,
                              const struct config_value *value,
                              struct arena *arena)
{
    if (value->is_null) {
        return (struct str){0};
    }
    switch (row->type) {
    case CONFIG_TYPE_BOOLEAN:
        return value->number != 0 ? STR("true") : STR("false");
    case CONFIG_TYPE_INT:
    case CONFIG_TYPE_SHORT:
    case CONFIG_TYPE_LONG:
        return arena_printf(arena, "%" PRId64, value->number);
    case CONFIG_TYPE_DOUBLE:
        return config_value_print_double(value->real, arena);
    case CONFIG_TYPE_LIST:
        return print_list(value, arena);
    case CONFIG_TYPE_STRING:
    case CONFIG_TYPE_CLASS:
    case CONFIG_TYPE_PASSWORD:
    case CONFIG_TYPE_UNKNOWN:
        break;
    }
    return value->text;
}

struct config_value config_value_default(const struct config_row *row, struct arena *arena)
{
    struct config_value value;
    struct str message;
    check(config_value_parse(row, str_from(row->default_text), arena, &value, &message));
    return value;
}
