/*
 * What an assertion does when it fails: one line, then abort, so that a core names the place. No
 * logger here: a broken invariant may be the logger's own.
 */
#include "base/base.h"

void base_check_failed(const char *file, int line, const char *expression)
{
    fprintf(stderr, "jackdaw: %s:%d: check failed: %s\n", file, line, expression);
    abort();
}
