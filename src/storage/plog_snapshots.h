/*
 * The snapshot files of a log's producers: which there are, and the producers back from them. For
 * the files plog*.c and recovery.c, with the log's lock held.
 */
#ifndef STORAGE_PLOG_SNAPSHOTS_H
#define STORAGE_PLOG_SNAPSHOTS_H

#include "base/base.h"

struct plog;

/* A snapshot of the present producer state, good for `offset`. */
must_check int plog_save_snapshot(struct plog *pl, int64_t offset, bool is_durable);
bool plog_has_snapshot(const struct plog *pl, int64_t offset);
void plog_note_snapshot(struct plog *pl, int64_t offset);

must_check int plog_drop_snapshots_from(struct plog *pl, int64_t offset); /* those beyond it */
/* Those below the first segment tell nothing any more, but for the newest ones. */
void plog_drop_snapshots_below(struct plog *pl, int64_t offset);
/* The newest ones stay, those where a segment begins, and those where a recovery from the present,
 * or the persisted, recovery point would: the newer ones may not be stable, and lie beyond it. */
void plog_thin_snapshots(struct plog *pl);

/* The newest good snapshot at or below `limit`: its offset; -1: none, and no producers. */
int64_t plog_load_snapshot(struct plog *pl, int64_t limit);
/* From the newest snapshot that is not beyond the end, and the log behind it. */
must_check int plog_rebuild_producers(struct plog *pl);

#endif
