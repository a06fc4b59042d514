/* Names of a log's files and their unsynced replacement; Kafka's LogFileUtils. */
#include "storage/side_file.h"

#include "base/base.h"

void log_path_of(struct log_path *ret, const char *dir, int64_t offset, const char *suffix)
{
    int n = snprintf(ret->text, sizeof(ret->text), "%s/%020" PRId64 "%s", dir, offset, suffix);
    check(n > 0 && (size_t)n < sizeof(ret->text));
}

void log_path_join(struct log_path *ret, const char *dir, const char *name)
{
    int n = snprintf(ret->text, sizeof(ret->text), "%s/%s", dir, name);
    check(n > 0 && (size_t)n < sizeof(ret->text));
}

bool side_file_head(struct str *text, int64_t *ret_count)
{
    struct str version;
    struct str count;
    return text->len > 0 && text->ptr[text->len - 1] == '\n' && str_split(text, '\n', &version) &&
           str_is(version, "0") && str_split(text, '\n', &count) &&
           str_to_i64(count, ret_count) >= 0 && *ret_count >= 0;
}

int side_file_replace(struct fs *fs, const char *path, const void *bytes, size_t len)
{
    char temporary[LOG_PATH_MAX];
    int n = snprintf(temporary, sizeof(temporary), "%s.tmp", path);
    if (n < 0 || (size_t)n >= sizeof(temporary)) {
        return -ENAMETOOLONG;
    }
    struct fs_file *f;
    int err = fs_open(fs, temporary, FS_WRITE | FS_CREATE | FS_TRUNCATE, &f);
    if (err < 0) {
        return err;
    }
    if (len > 0) {
        err = fs_pwrite(f, bytes, len, 0);
    }
    fs_file_unref(f);
    if (err >= 0) {
        err = fs_rename(fs, temporary, path);
    }
    if (err < 0) {
        IGNORE(fs_unlink(fs, temporary)); /* the first failure is the one to tell */
    }
    return err;
}
