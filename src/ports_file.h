/*
 * The file of --ports-file: who started the server waits for it and reads it, or is handed it
 * through a FIFO or a device. Main thread.
 */
#ifndef PORTS_FILE_H
#define PORTS_FILE_H

#include "base/fs.h"

/* All of it or nothing where the path names a file or nothing at all; behind a link the file that
 * it leads to. -errno: ret_error says why in one line, without the path. */
must_check int ports_file_write(struct fs *fs,
                                const char *path,
                                const void *bytes,
                                size_t len,
                                char *ret_error,
                                size_t error_cap);

#endif
