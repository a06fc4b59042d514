/*
 * Regular expressions of subscriptions (P): what RE2/J accepts, matched against whole topic names
 * in bounded time, so that a hostile pattern cannot hold the coordinator up.
 */
#ifndef COORD_PATTERN_H
#define COORD_PATTERN_H

#include "base/base.h"
#include "base/str.h"

#define PATTERN_BYTES_MAX 4096

struct pattern;

/* NULL: not a pattern (or one that RE2/J refuses: look-around, back references, ...); *ret_reason
 * is a static or arena text for the client. */
struct arena;
struct pattern *pattern_new(struct str text, struct arena *arena, struct str *ret_reason);
struct pattern *pattern_free(struct pattern *p); /* takes NULL, returns NULL */
/* The whole name, ASCII. Costs at most the size of the pattern for each byte, and counts as no
 * match once all matches of this pattern have cost more than their bound (pattern.c). */
bool pattern_matches(const struct pattern *p, struct str name);

#endif
