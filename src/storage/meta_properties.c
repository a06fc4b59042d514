/*
 * meta.properties, which says whose directory this is (MetaProperties, PropertiesUtils). A file of
 * java.util.Properties:
 *
 *   #
 *   #Sat Nov 21 12:28:19 UTC 2026
 *   cluster.id=4L6g3nShT-eMCtK--X86sw
 *   directory.id=ggY3UIp8QReMmmPv21o3Yg
 *   node.id=1
 *   version=1
 */
#include "storage/log_dir.h"

#include "base/base.h"
#include "base/err.h"
#include "storage/side_file.h"

#include <time.h>

#define META_FILE     "meta.properties"
#define META_FILE_MAX 65536

/* Splits "key=value", "key: value", "key value"; false for comments and blank lines. */
static bool split_property(struct str line, struct str *ret_key, struct str *ret_value)
{
    line = str_trim(line);
    if (line.len == 0 || line.ptr[0] == '#' || line.ptr[0] == '!') {
        return false;
    }
    size_t n = 0;
    while (n < line.len && strchr("=: \t", line.ptr[n]) == NULL) {
        n++;
    }
    *ret_key = str_of(line.ptr, n);
    struct str rest = str_trim(str_of(line.ptr + n, line.len - n));
    if (rest.len > 0 && (rest.ptr[0] == '=' || rest.ptr[0] == ':')) {
        rest = str_trim(str_of(rest.ptr + 1, rest.len - 1));
    }
    *ret_value = rest;
    return true;
}

/* Escapes of Properties.store that may stand in these values: a backslash before any character. */
static bool copy_value(struct str value, char *ret, size_t cap)
{
    size_t n = 0;
    for (size_t i = 0; i < value.len; i++) {
        if (value.ptr[i] == '\\' && i + 1 < value.len) {
            i++;
        }
        if (n + 1 >= cap) {
            return false;
        }
        ret[n++] = value.ptr[i];
    }
    ret[n] = '\0';
    return n > 0;
}

int meta_properties_read(struct fs *fs, const char *dir, struct meta_properties *ret)
{
    struct log_path path;
    cleanup(mem_free_charp) char *bytes = NULL;
    size_t len;
    struct meta_properties mp = {.node_id = -1};
    bool has_version = false;
    log_path_join(&path, dir, META_FILE);
    int err = fs_read_file(fs, path.text, META_FILE_MAX, &bytes, &len);
    if (err < 0) {
        return err == -ENOENT ? ERR_NOT_FORMATTED : err == -EFBIG ? ERR_MALFORMED : err;
    }
    struct str rest = str_of(bytes, len);
    struct str line;
    while (str_split(&rest, '\n', &line)) {
        struct str key;
        struct str value;
        char text[64];
        if (!split_property(line, &key, &value)) {
            continue;
        }
        if (str_is(key, "version")) {
            if (!str_is(value, "1")) {
                return str_is(value, "0") ? ERR_UNSUPPORTED : ERR_MALFORMED;
            }
            has_version = true;
        } else if (str_is(key, "node.id")) {
            if (str_to_i32(value, &mp.node_id) < 0 || mp.node_id < 0) {
                return ERR_MALFORMED;
            }
        } else if (str_is(key, "cluster.id")) {
            if (!copy_value(value, mp.cluster_id, sizeof(mp.cluster_id))) {
                return ERR_MALFORMED;
            }
        } else if (str_is(key, "directory.id")) {
            if (!copy_value(value, text, sizeof(text)) ||
                uuid_parse(str_from(text), &mp.directory_id) < 0) {
                return ERR_MALFORMED;
            }
        }
    }
    if (!has_version || mp.node_id < 0 || mp.cluster_id[0] == '\0') {
        return ERR_MALFORMED;
    }
    *ret = mp;
    return 0;
}

/* java.util.Date.toString in UTC. */
static void print_date(int64_t now_ms, char *ret, size_t cap)
{
    static const char *const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    time_t seconds = (time_t)(now_ms / 1000);
    struct tm tm;
    if (gmtime_r(&seconds, &tm) == NULL) {
        tm = (struct tm){.tm_mday = 1, .tm_year = 70, .tm_wday = 4};
    }
    snprintf(ret, cap, "%s %s %02d %02d:%02d:%02d UTC %d", days[tm.tm_wday], months[tm.tm_mon],
             tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, tm.tm_year + 1900);
}

int meta_properties_write(struct fs *fs,
                          const char *dir,
                          const struct meta_properties *mp,
                          int64_t now_ms)
{
    struct log_path path;
    char date[64];
    char directory_id[UUID_TEXT_SIZE];
    char text[512];
    struct strbuf sb;
    print_date(now_ms, date, sizeof(date));
    uuid_print(&mp->directory_id, directory_id);
    strbuf_init(&sb, text, sizeof(text));
    strbuf_addf(&sb, "#\n#%s\ncluster.id=%s\n", date, mp->cluster_id);
    if (!uuid_is_zero(&mp->directory_id)) {
        strbuf_addf(&sb, "directory.id=%s\n", directory_id);
    }
    strbuf_addf(&sb, "node.id=%" PRId32 "\nversion=1\n", mp->node_id);
    check(!sb.is_truncated);
    log_path_join(&path, dir, META_FILE);
    return fs_replace_file(fs, path.text, sb.ptr, sb.len);
}
