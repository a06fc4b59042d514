/*
 * From the syntax of RE2/J to a program that a matcher can walk (P); used by pattern.c alone.
 *
 * The program has the meaning of the source for texts of ASCII, which is all that the name of a
 * topic may hold, matched as a whole.
 */
#ifndef COORD_PATTERN_SYNTAX_H
#define COORD_PATTERN_SYNTAX_H

#include "base/base.h"
#include "base/str.h"
#include "coord/pattern_set.h"

/* Of a program. A pattern of PATTERN_BYTES_MAX has room, unless counted repetitions, which are
 * multiplied out, make it larger. */
#define PATTERN_STEPS_MAX 10000

enum pattern_step_kind {
    STEP_SET,        /* a byte of sets[argument], then the next step */
    STEP_JUMP,       /* `argument` steps on */
    STEP_JUMP_BACK,  /* `argument` steps back */
    STEP_SPLIT,      /* the next step, and `argument` steps on */
    STEP_SPLIT_BACK, /* the next step, and `argument` steps back */
    STEP_BEGIN,      /* the next step, at the begin of the text */
    STEP_END,
    STEP_WORD_BOUNDARY,
    STEP_NO_WORD_BOUNDARY,
    STEP_MATCH,
};

struct pattern_step {
    uint16_t kind;
    uint16_t argument;
};

struct pattern_program {
    struct pattern_step *steps; /* owned; the last one is STEP_MATCH */
    size_t steps_count;
    struct pattern_set *sets; /* owned */
    size_t sets_count;
};

/* NULL: good; else why not, a static text in RE2/J's words, and *ret is as it was. */
const char *pattern_syntax_translate(struct str text, struct pattern_program *ret);
void pattern_syntax_release(struct pattern_program *pp);

#endif
