/*
 * A table of file calls that passes everything on but for one mistake: what a storage layer would
 * do that forgot a sync. The harness must find each of them out.
 */
#ifndef TESTS_CRASH_FAULTY_FS_H
#define TESTS_CRASH_FAULTY_FS_H

#include "base/fs.h"

enum faulty_mistake {
    FAULTY_NONE,
    FAULTY_NO_DIR_SYNC,    /* the directory of a log is not synced */
    FAULTY_NO_OLD_SEGMENT, /* the segment before the newest one is not synced */
    FAULTY_NO_WHOLE_SYNC,  /* the sync of the whole file system does nothing */
    FAULTY_NO_FILE_SYNC,   /* a file is renamed into its place without having been synced */
};

struct faulty_fs {
    struct fs fs;     /* first: what the tested code gets */
    struct fs *inner; /* borrowed */
    enum faulty_mistake mistake;
};

void faulty_fs_init(struct faulty_fs *ff, struct fs *inner, enum faulty_mistake mistake);

#endif
