/*
 * Names of a log's files, and replacing a small side file without a sync: what such a file holds
 * can be rebuilt from the log, its readers detect a torn one, and whoever needs it stable uses
 * fs_replace_file. Any thread.
 */
#ifndef STORAGE_SIDE_FILE_H
#define STORAGE_SIDE_FILE_H

#include "base/base.h"
#include "base/fs.h"
#include "base/str.h"

#define LOG_PATH_MAX 4096

#define LOG_SUFFIX        ".log"
#define INDEX_SUFFIX      ".index"
#define TIME_INDEX_SUFFIX ".timeindex"
#define TXN_INDEX_SUFFIX  ".txnindex"
#define SNAPSHOT_SUFFIX   ".snapshot"
#define DELETED_SUFFIX    ".deleted" /* behind all of it */

#define EPOCH_FILE    "leader-epoch-checkpoint"
#define METADATA_FILE "partition.metadata"

struct log_path {
    char text[LOG_PATH_MAX];
};

/* `<dir>/<20 digits of offset><suffix>`; checked to fit when the log was opened. */
void log_path_of(struct log_path *ret, const char *dir, int64_t offset, const char *suffix);
void log_path_join(struct log_path *ret, const char *dir, const char *name);

/* Takes the head of a checkpoint file, version 0 and a count, off its text. False: it cannot be
 * right, or the last line is not whole. */
bool side_file_head(struct str *text, int64_t *ret_count);

/* Temporary file and rename, nothing synced: afterwards the file is old, new or, after a power cut,
 * anything. */
must_check int side_file_replace(struct fs *fs, const char *path, const void *bytes, size_t len);

#endif
