/*
 * One value of one key (P): read, checked and printed as Kafka's ConfigDef does. Blanks around a
 * value do not count. A refusal is a text for a person that names key, value and what is allowed.
 */
#ifndef CONFIG_CONFIG_VALUE_H
#define CONFIG_CONFIG_VALUE_H

#include "base/base.h"
#include "base/mem.h"
#include "base/str.h"
#include "config/config_table.h"

struct config_value {
    bool is_null;      /* not set */
    int64_t number;    /* BOOLEAN (0, 1), SHORT, INT, LONG */
    double real;       /* DOUBLE */
    struct str text;   /* STRING, CLASS, PASSWORD: trimmed; a view of what was given */
    struct str *items; /* LIST: in the arena; views of what was given */
    size_t items_count;
    bool had_repeats; /* LIST: values that may not be repeated were, and are there once */
};

#define CONFIG_VALUE_ITEMS_MAX 100000 /* of one LIST */

/* False: *ret_message says why not. A null text is a null value, which is never refused here. */
must_check bool config_value_parse(const struct config_row *row,
                                   struct str text,
                                   struct arena *arena,
                                   struct config_value *ret,
                                   struct str *ret_message);

/* As Kafka's DescribeConfigs shows it; null stays null. In the arena. */
struct str config_value_print(const struct config_row *row,
                              const struct config_value *value,
                              struct arena *arena);

/* "a LONG, at least -1": what the key allows. */
void config_value_allowed(const struct config_row *row, struct strbuf *sb);

/* The refusal of a value of this key, with what is allowed; in the arena. */
struct str config_value_refusal(const struct config_row *row, struct str text, struct arena *arena);

/* The default; never refused, since a test holds that. */
struct config_value config_value_default(const struct config_row *row, struct arena *arena);

/* Java's Double.toString, in the arena. */
struct str config_value_print_double(double value, struct arena *arena);

#endif
