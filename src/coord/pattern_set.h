/*
 * Sets of the bytes 0 to 127 (P), for pattern_syntax.c: the ASCII part of a class.
 */
#ifndef COORD_PATTERN_SET_H
#define COORD_PATTERN_SET_H

#include "base/base.h"
#include "base/str.h"

static inline bool pattern_is_digit(uint32_t c)
{
    return c >= '0' && c <= '9';
}

static inline bool pattern_is_upper(uint32_t c)
{
    return c >= 'A' && c <= 'Z';
}

static inline bool pattern_is_letter(uint32_t c)
{
    return pattern_is_upper(c) || (c >= 'a' && c <= 'z');
}

struct pattern_set {
    uint64_t bits[2];
};

static inline bool pattern_set_has(const struct pattern_set *s, uint32_t c)
{
    return (s->bits[c / 64] >> (c % 64) & 1) != 0;
}

void pattern_set_negate(struct pattern_set *s);
void pattern_set_join(struct pattern_set *s, const struct pattern_set *other);
void pattern_set_fold(struct pattern_set *s); /* every letter in it in both cases */
/* Code points from low to high; what is beyond ASCII counts where its case folds into it. */
void pattern_set_add_range(struct pattern_set *s, uint32_t low, uint32_t high, bool is_folded);

/* The first code point of UTF-8 text that is not empty; a byte that is none counts as a bad one. */
uint32_t pattern_set_decode(struct str text, size_t *ret_len);

/* "\\d", "[:alpha:]" and kin; false: there is no such name. */
must_check bool pattern_set_of_group(struct str name, struct pattern_set *ret);
/* A general category or a script, or "Any". */
must_check bool pattern_set_of_table(struct str name, struct pattern_set *ret);

#endif
