/*
 * The inside of a recovery, for recovery.c and recovery_damage.c alone. Thread: the one that opens
 * the log; nobody else has it yet.
 */
#ifndef STORAGE_RECOVERY_IMPL_H
#define STORAGE_RECOVERY_IMPL_H

#include "base/base.h"

struct plog;
struct plog_open;
struct plog_recovery;
struct scanner;

struct recovery {
    struct plog *pl;
    const struct plog_open *how;
    struct plog_recovery *report;
    uint8_t *buffer; /* owned */
    size_t buffer_bytes;
    int64_t state_offset; /* producers are those of the log up to here */
    int64_t known_end;    /* of a log that was closed cleanly; otherwise -1 */
    int64_t next_offset;  /* behind the last good batch */
    int64_t safe_end;     /* nothing below is removed for being empty */
    bool has_changed_names;
    bool was_scanned; /* the long way */
};

/* Segments from this one on, for good once their directory is synced. */
must_check int recovery_remove_segments(struct recovery *rc, size_t from);
/* The same for those behind the last good batch: what they held is reported as cut. */
must_check int recovery_cut_segments(struct recovery *rc, size_t from);
/* Is what is missing from this offset on, before segment i's `position`, what an unfinished flush
 * did not get to the disk? 1, 0, -errno. */
must_check int
recovery_is_unflushed(struct recovery *rc, size_t i, int64_t position, int64_t offset);
/* What to do about damage at sc->position in segment i. 1: go on scanning there; 0: this segment is
 * done; -errno. */
must_check int
recovery_handle_damage(struct recovery *rc, size_t i, struct scanner *sc, int64_t file_size);

#endif
