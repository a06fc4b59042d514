/*
 * Lines of `jackdaw dump`: each is a kind and named values, printed either for a person
 * (`batch position=0 codec=gzip`) or as one JSON object (`{"type":"batch","position":0,...}`).
 * Strings are quoted and escaped as in JSON in both, so that nothing in a file reaches the terminal
 * raw. One thread; values belong to the line that was begun last.
 */
#ifndef DUMP_PRINT_H
#define DUMP_PRINT_H

#include "base/base.h"
#include "base/str.h"
#include "wire/cursor.h"

struct dump_out {
    FILE *out;
    bool is_json;
    bool shows_records;
    bool is_damaged; /* something was found that should not be */
    bool is_first;   /* no value of this object was printed yet */
};

void dump_print_begin(struct dump_out *d, const char *type);
void dump_print_int(struct dump_out *d, const char *name, int64_t value);
void dump_print_bool(struct dump_out *d, const char *name, bool value);
void dump_print_text(struct dump_out *d, const char *name, struct str value);
/* Text when it is printable UTF-8, otherwise base64 under the name with `Base64` behind it. */
void dump_print_bytes(struct dump_out *d, const char *name, struct view value);
/* A value that is JSON already; the writer is empty afterwards. */
void dump_print_json(struct dump_out *d, const char *name, struct writer *json);
void dump_print_end(struct dump_out *d);

/* A list of objects as one value: between begin and end, items with values of their own. */
void dump_print_list_begin(struct dump_out *d, const char *name);
void dump_print_item_begin(struct dump_out *d, bool is_first_item);
void dump_print_item_end(struct dump_out *d);
void dump_print_list_end(struct dump_out *d);

/* A line of a file that is text itself: as it is, or as an object of kind `line`. */
void dump_print_line(struct dump_out *d, struct str text);

/* A whole line: bytes [position, position + len) of the file are not as they should be. */
void dump_print_damage(struct dump_out *d, int64_t position, int64_t len, const char *format, ...)
    printf_like(4, 5);

#endif
