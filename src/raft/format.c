/*
 * Formatting; see format.h for what is written and in which order.
 */
#include "raft/format.h"

#include "base/err.h"
#include "raft/raft_log.h"
#include "raft/snapshot.h"
#include "storage/log_dir.h"

struct look {
    size_t files;
    bool has_properties;
    bool has_metadata;
    bool has_others;
};

static void look_at(void *ctx, const char *name)
{
    struct look *l = ctx;
    l->files++;
    if (strcmp(name, "meta.properties") == 0) {
        l->has_properties = true;
    } else if (strcmp(name, RAFT_LOG_DIR) == 0) {
        l->has_metadata = true;
    } else if (strcmp(name, ".lock") != 0 && strcmp(name, "meta.properties.tmp") != 0 &&
               strcmp(name, "lost+found") != 0) {
        l->has_others = true;
    }
}

int format_inspect(struct fs *fs, const char *dir, enum format_state *ret)
{
    struct look l = {0};
    int r = fs_list(fs, dir, look_at, &l);
    if (r == -ENOENT) {
        *ret = FORMAT_EMPTY;
        return 0;
    }
    if (r < 0) {
        return r;
    }
    if (l.has_properties) {
        *ret = FORMAT_FORMATTED;
    } else if (l.has_others) {
        *ret = FORMAT_FOREIGN;
    } else {
        *ret = l.has_metadata ? FORMAT_INTERRUPTED : FORMAT_EMPTY;
    }
    return 0;
}

/* The directory and those above it. */
static int make_path(struct fs *fs, const char *dir)
{
    char path[SNAPSHOT_PATH_MAX];
    size_t len = strlen(dir);
    if (len == 0 || len >= sizeof(path)) {
        return len == 0 ? ERR_BAD_ARGUMENT : -ENAMETOOLONG;
    }
    memcpy(path, dir, len + 1);
    for (size_t i = 1; i <= len; i++) {
        if (path[i] != '/' && path[i] != '\0') {
            continue;
        }
        char c = path[i];
        path[i] = '\0';
        int r = fs_mkdir(fs, path);
        path[i] = c;
        if (r < 0 && r != -EEXIST) {
            struct fs_stat
                st; /* a directory above that we may not write to is well if it is there */
            if (fs_stat(fs, path, &st) < 0) {
                return r;
            }
        }
    }
    return 0;
}

static int write_snapshot(struct fs *fs,
                          struct clock *clock,
                          const struct format_options *o,
                          const char *dir,
                          const struct voters *vs)
{
    const struct snapshot_id id = {0};
    struct snapshot_writer sw;
    int64_t now_ms = clock_now_ms(clock);
    int r = snapshot_writer_open(&sw, fs, dir, &id, now_ms, now_ms, vs);
    if (r < 0) {
        return r;
    }
    for (size_t i = 0; i < o->records_count && r >= 0; i++) {
        r = snapshot_writer_add(&sw, o->records[i]);
    }
    return snapshot_writer_close(&sw, SNAPSHOT_UNSYNCED, r);
}

static int write_metadata(struct fs *fs,
                          struct clock *clock,
                          const struct format_options *o,
                          const struct uuid *directory_id)
{
    char dir[SNAPSHOT_PATH_MAX];
    int n = snprintf(dir, sizeof(dir), "%s/" RAFT_LOG_DIR, o->metadata_dir);
    if (n < 0 || (size_t)n >= sizeof(dir)) {
        return -ENAMETOOLONG;
    }
    struct fs_stat st;
    int r = fs_stat(fs, dir, &st);
    if (r >= 0) {
        r = fs_remove_tree(fs, dir); /* of an interrupted formatting: format_inspect */
    } else if (r == -ENOENT) {
        r = 0;
    }
    r = r < 0 ? r : fs_mkdir(fs, dir);
    if (r < 0) {
        return r;
    }
    if (!o->is_dynamic) {
        return write_snapshot(fs, clock, o, dir, NULL);
    }
    struct voters vs = {0};
    struct voter_endpoint endpoint = o->endpoint;
    struct voter v = {
        .id = o->node_id,
        .directory_id = *directory_id,
        .endpoints = &endpoint,
        .endpoints_count = 1,
    };
    r = voters_add(&vs, &v);
    r = r < 0 ? r : write_snapshot(fs, clock, o, dir, &vs);
    voters_release(&vs);
    return r;
}

int format_write(struct fs *fs,
                 struct clock *clock,
                 const struct format_options *o,
                 struct format_result *ret)
{
    if (o->dirs_count > FORMAT_DIRS_MAX || o->dirs_count == 0) {
        return ERR_BAD_ARGUMENT;
    }
    for (size_t i = 0; i < o->dirs_count; i++) {
        clock_random_uuid(clock, &ret->directory_ids[i]);
        int r = make_path(fs, o->dirs[i]);
        if (r >= 0 && o->metadata_dir != NULL && strcmp(o->dirs[i], o->metadata_dir) == 0) {
            r = write_metadata(fs, clock, o, &ret->directory_ids[i]);
        }
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

int format_finish(struct fs *fs,
                  struct clock *clock,
                  const struct format_options *o,
                  const struct format_result *res)
{
    for (size_t i = 0; i < o->dirs_count; i++) {
        struct meta_properties mp = {.directory_id = res->directory_ids[i], .node_id = o->node_id};
        if (o->cluster_id.len >= sizeof(mp.cluster_id)) {
            return ERR_BAD_ARGUMENT;
        }
        memcpy(mp.cluster_id, o->cluster_id.ptr, o->cluster_id.len);
        int r = meta_properties_write(fs, o->dirs[i], &mp, clock_now_ms(clock));
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

int format_directories(struct fs *fs,
                       struct clock *clock,
                       const struct format_options *o,
                       struct format_result *ret)
{
    int r = format_write(fs, clock, o, ret);
    for (size_t i = 0; i < o->dirs_count && r >= 0; i++) {
        r = fs_sync_all(fs, o->dirs[i]); /* each may be on a disk of its own */
    }
    return r < 0 ? r : format_finish(fs, clock, o, ret);
}
