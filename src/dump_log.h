/* Segments of a log, and snapshots of the metadata, which have the same form. One thread. */
#ifndef DUMP_LOG_H
#define DUMP_LOG_H

#include "base/base.h"
#include "base/fs.h"
#include "dump_print.h"
#include "dump_records.h"

/* Prints each batch, with `shows_records` each record, and goes on behind what is damaged. 0 or
 * -errno: the file cannot be read. base_offset: of the file's name. */
must_check int dump_log_print(struct dump_out *d,
                              struct fs_file *file,
                              int64_t base_offset,
                              enum dump_topic topic);

#endif
