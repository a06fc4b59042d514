/* The files beside a segment: indexes, snapshots of producers, checkpoints, and plain text. One
 * thread. */
#ifndef DUMP_SIDE_FILES_H
#define DUMP_SIDE_FILES_H

#include "base/base.h"
#include "base/fs.h"
#include "dump_print.h"

/* `segment` is the log of the same base offset, to hold the entries against, or NULL. */
void dump_side_files_offset_index(struct dump_out *d,
                                  struct view bytes,
                                  int64_t base_offset,
                                  struct fs_file *segment);
void dump_side_files_time_index(struct dump_out *d, struct view bytes, int64_t base_offset);
void dump_side_files_txn_index(struct dump_out *d, struct view bytes);
void dump_side_files_snapshot(struct dump_out *d, struct view bytes);
void dump_side_files_checkpoint(struct dump_out *d, struct str text);
void dump_side_files_text(struct dump_out *d, struct str text);

#endif
