/*
 * Java's .properties format (P), as server.properties is written: comments begin with # or !, a key
 * ends at the first = : or blank that is not escaped, a backslash at the end of a line continues
 * it, escapes are \t \n \r \f \uXXXX and any other character for itself. Values keep blanks at
 * their end.
 *
 * Java's Properties.load.
 */
#ifndef CONFIG_PROPERTIES_H
#define CONFIG_PROPERTIES_H

#include "base/base.h"
#include "base/mem.h"
#include "base/str.h"

struct property {
    struct str key;   /* in the arena */
    struct str value; /* in the arena; "" when there is none */
    int line;         /* where it begins, from 1 */
};

#define PROPERTIES_MAX 100000

/* All pairs in the order of the text; a key may come again (the last one counts). ERR_MALFORMED: a
 * \u escape that is not four hexadecimal digits, *ret_line says where. ERR_TOO_LARGE: too many. */
must_check int properties_parse(struct str text,
                                struct arena *arena,
                                struct property **ret,
                                size_t *ret_count,
                                int *ret_line);

#endif
