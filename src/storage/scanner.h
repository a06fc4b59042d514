/*
 * Walks the batches of one segment file from a position on: headers for lookups and replays, CRCs
 * for recovery and first reads, and the way over damage to the next good batch.
 * Thread: one; the file may grow meanwhile.
 */
#ifndef STORAGE_SCANNER_H
#define STORAGE_SCANNER_H

#include "base/base.h"
#include "base/fs.h"
#include "wire/batch.h"

#define SCANNER_BUFFER_MIN 4096

struct scanner {
    struct fs_file *file; /* borrowed */
    int64_t base_offset;  /* of the segment: bounds what an offset may be */
    int64_t next_offset;  /* the next batch begins here or later */
    int64_t offset_limit; /* and ends before this offset */
    int64_t position;     /* of the next batch */
    int64_t end;          /* bytes from here on do not belong to the log */
    int64_t cached_from;  /* no_wait: bytes before this one are probed before they are read */
    bool no_wait;         /* -EAGAIN rather than waiting for a disk */
    bool checks_crc;
    bool gave_up;    /* scanner_resync: too much to try; something good may follow */
    uint8_t *buffer; /* borrowed */
    size_t buffer_cap;
    size_t buffer_len;
    int64_t buffer_at; /* position of its first byte */
};

void scanner_init(struct scanner *sc,
                  struct fs_file *file,
                  int64_t base_offset,
                  int64_t position,
                  int64_t end,
                  void *buffer,
                  size_t buffer_cap);

/* 1: a batch, of which *ret holds the header (ret->bytes is the whole batch or, when it does not
 * fit in the buffer, NULL), at *ret_position; forward. 0: the end. ERR_CORRUPT: what lies at
 * sc->position is no batch or its CRC is wrong; stays there. -errno. */
must_check int scanner_next(struct scanner *sc, struct batch *ret, int64_t *ret_position);

/* After ERR_CORRUPT: moves to the next batch with a good CRC; 1, or 0 when there is none before the
 * end. */
must_check int scanner_resync(struct scanner *sc);

/* The header at `position` of a file, unchecked. ERR_CORRUPT: none can be there. -errno. */
must_check int scanner_peek(struct fs_file *file, int64_t position, struct batch *ret);

#endif
