/*
 * The road from a directory's files to a log in memory, at plog_open: recovery.c says how.
 * Blocking; nobody else has the log yet.
 */
#ifndef STORAGE_RECOVERY_H
#define STORAGE_RECOVERY_H

#include "base/base.h"

struct log_listing;
struct plog;
struct plog_open;
struct plog_recovery;

/* Segments, offsets, epochs and producers of what is listed; torn tails are cut, durably. Of an
 * empty directory: one empty segment. */
must_check int recovery_run(struct plog *pl,
                            const struct plog_open *how,
                            struct log_listing *ll,
                            struct plog_recovery *report);

#endif
