/*
 * partition.metadata, which says whose directory this is (PartitionMetadataFile):
 *
 *   version: 0
 *   topic_id: AtLxpkIVQCyeKxK16nOUag      22 characters, no newline behind
 */
#include "storage/plog.h"

#include "base/base.h"
#include "base/err.h"
#include "storage/plog_impl.h"

enum {
    METADATA_FILE_MAX = 4096,
};

static int parse_metadata(struct str text, struct uuid *ret)
{
    struct str line;
    bool has_version = false;
    bool has_id = false;
    while (str_split(&text, '\n', &line)) {
        struct str key;
        if (str_trim(line).len == 0) {
            continue;
        }
        if (!str_split(&line, ':', &key) || str_is_null(line)) {
            return ERR_MALFORMED;
        }
        struct str value = str_trim(line);
        if (str_is(key, "version")) {
            has_version = str_is(value, "0");
        } else if (str_is(key, "topic_id")) {
            has_id = uuid_parse(value, ret) >= 0;
        }
    }
    return has_version && has_id ? 0 : ERR_MALFORMED;
}

/* For a new log the plain write will do: its first flush syncs it, and until then it has no data.
 */
static int write_metadata(struct plog *pl, bool is_durable)
{
    struct log_path path;
    char text[64];
    char id[UUID_TEXT_SIZE];
    struct fs_file *f;
    uuid_print(&pl->topic_id, id);
    int n = snprintf(text, sizeof(text), "version: 0\ntopic_id: %s", id);
    log_path_join(&path, pl->path, METADATA_FILE);
    if (is_durable) {
        return fs_replace_file(pl->env->fs, path.text, text, (size_t)n);
    }
    int err = fs_open(pl->env->fs, path.text, FS_WRITE | FS_CREATE | FS_TRUNCATE, &f);
    if (err < 0) {
        return err;
    }
    err = fs_pwrite(f, text, (size_t)n, 0);
    fs_file_unref(f);
    return err;
}

int plog_load_metadata(struct plog *pl,
                       const struct uuid *wanted,
                       bool is_made,
                       struct plog_recovery *report)
{
    struct log_path path;
    cleanup(mem_free_charp) char *bytes = NULL;
    size_t len = 0;
    struct uuid found = {0};
    pl->topic_id = *wanted;
    if (is_made) {
        return uuid_is_zero(wanted) ? 0 : write_metadata(pl, false);
    }
    log_path_join(&path, pl->path, METADATA_FILE);
    int err = fs_read_file(pl->env->fs, path.text, METADATA_FILE_MAX, &bytes, &len);
    if (err >= 0) {
        err = parse_metadata(str_of(bytes, len), &found);
    }
    if (err >= 0) {
        if (uuid_is_zero(wanted)) {
            pl->topic_id = found;
            return 0;
        }
        return uuid_equal(wanted, &found) ? 0 : ERR_MISMATCH;
    }
    if (err != -ENOENT && err != ERR_MALFORMED && err != -EFBIG) {
        return err;
    }
    if (uuid_is_zero(wanted)) {
        return err == -ENOENT ? 0 : ERR_MALFORMED;
    }
    report->rebuilt_metadata_file = true;
    return write_metadata(pl, true);
}
