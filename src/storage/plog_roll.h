/*
 * A log's newest segment gives way to another one. For the files plog*.c and recovery.c, with the
 * log's lock held.
 */
#ifndef STORAGE_PLOG_ROLL_H
#define STORAGE_PLOG_ROLL_H

#include "base/base.h"

struct batch;
struct plog;
struct segment;

void plog_insert_segment(struct plog *pl, struct segment *sg);
bool plog_should_roll(struct plog *pl, const struct batch *b, int64_t now_ms);
/* Closes the active segment and begins one at log_end. Nothing is staged. */
must_check int plog_roll_locked(struct plog *pl);
must_check int plog_close_segment(struct plog *pl, struct segment *sg);

#endif
