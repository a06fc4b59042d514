/*
 * Metadata snapshots on disk; see snapshot.h for the format.
 */
#include "raft/snapshot.h"

#include "base/err.h"
#include "base/mem.h"
#include "raft/quorum.h"

#define SUFFIX        ".checkpoint"
#define NAME_DIGITS   31 /* "%020d-%010d" */
#define RECORD_MARGIN 64 /* bytes around a value in its record, generously */

int snapshot_path(const char *dir,
                  const struct snapshot_id *id,
                  const char *suffix,
                  char *ret,
                  size_t cap)
{
    int n = snprintf(ret, cap, "%s/%020" PRId64 "-%010" PRId32 SUFFIX "%s", dir, id->end_offset,
                     id->epoch, suffix);
    return n < 0 || (size_t)n >= cap ? -ENAMETOOLONG : 0;
}

/* --- listing --- */

struct listing {
    struct fs *fs;
    const char *dir;
    struct snapshot_id *ids;
    size_t count;
    size_t cap;
};

static bool parse_name(struct str name, struct snapshot_id *ret, struct str *ret_rest)
{
    if (name.len < NAME_DIGITS + strlen(SUFFIX) || name.ptr[20] != '-' ||
        memcmp(name.ptr + NAME_DIGITS, SUFFIX, strlen(SUFFIX)) != 0) {
        return false;
    }
    *ret_rest =
        str_of(name.ptr + NAME_DIGITS + strlen(SUFFIX), name.len - NAME_DIGITS - strlen(SUFFIX));
    return str_to_i64(str_of(name.ptr, 20), &ret->end_offset) >= 0 &&
           str_to_i32(str_of(name.ptr + 21, 10), &ret->epoch) >= 0 && ret->end_offset >= 0 &&
           ret->end_offset <= SNAPSHOT_OFFSET_MAX && ret->epoch >= 0 &&
           ret->epoch <= QUORUM_EPOCH_MAX;
}

static void list_one(void *ctx, const char *name)
{
    struct listing *l = ctx;
    struct snapshot_id id;
    struct str rest;
    if (!parse_name(str_from(name), &id, &rest)) {
        return;
    }
    if (rest.len > 0) {
        char path[SNAPSHOT_PATH_MAX];
        int n = snprintf(path, sizeof(path), "%s/%s", l->dir, name);
        if (n > 0 && (size_t)n < sizeof(path)) {
            IGNORE(fs_unlink(l->fs, path)); /* it does no harm, and goes the next time */
        }
        return;
    }
    l->ids = mem_grow(l->ids, &l->cap, l->count + 1, sizeof(l->ids[0]));
    l->ids[l->count++] = id;
}

static int compare_ids(const void *a, const void *b)
{
    const struct snapshot_id *x = a;
    const struct snapshot_id *y = b;
    if (x->end_offset != y->end_offset) {
        return x->end_offset < y->end_offset ? -1 : 1;
    }
    return (x->epoch > y->epoch) - (x->epoch < y->epoch);
}

int snapshot_list(struct fs *fs, const char *dir, struct snapshot_id **ret, size_t *ret_count)
{
    struct listing l = {.fs = fs, .dir = dir};
    int r = fs_list(fs, dir, list_one, &l);
    if (r < 0) {
        mem_free(l.ids);
        return r;
    }
    if (l.count > 0) {
        qsort(l.ids, l.count, sizeof(l.ids[0]), compare_ids);
    }
    *ret = l.ids;
    *ret_count = l.count;
    return 0;
}

/* --- reading --- */

struct reader {
    struct fs_file *file;
    int64_t position;
    int64_t size;
    uint8_t *buffer; /* owned */
    size_t cap;
};

/* 1: a batch, whole and with a good CRC; 0: the end. */
static int read_batch(struct reader *rd, struct batch *ret)
{
    if (rd->position == rd->size) {
        return 0;
    }
    uint8_t header[BATCH_HEADER_BYTES];
    ssize_t n = fs_pread(rd->file, header, sizeof(header), rd->position);
    if (n < 0) {
        return (int)n;
    }
    if ((size_t)n < sizeof(header)) {
        return ERR_TRUNCATED;
    }
    struct batch b;
    int r = batch_peek_header(header, sizeof(header), &b);
    if (r < 0) {
        return r;
    }
    if (b.size > SNAPSHOT_BATCH_BYTES_MAX || (int64_t)b.size > rd->size - rd->position) {
        return ERR_TRUNCATED;
    }
    if (b.size > rd->cap) {
        uint8_t *more = mem_try_realloc(rd->buffer, b.size);
        if (more == NULL) {
            return ERR_NO_MEMORY;
        }
        rd->buffer = more;
        rd->cap = b.size;
    }
    n = fs_pread(rd->file, rd->buffer, b.size, rd->position);
    if (n < 0 || (size_t)n < b.size) {
        return n < 0 ? (int)n : ERR_TRUNCATED;
    }
    r = batch_peek(rd->buffer, b.size, ret);
    if (r >= 0 && !batch_crc_is_good(ret)) {
        r = ERR_CORRUPT;
    }
    rd->position += (int64_t)b.size;
    return r < 0 ? r : 1;
}

/* One pass; each NULL: only checks, and collects the control records. */
static int read_pass(struct reader *rd,
                     const struct snapshot_id *id,
                     struct control_state *control,
                     int (*each)(void *ctx, struct view value),
                     void *ctx)
{
    int64_t next_offset = 0;
    struct batch b;
    rd->position = 0;
    int r;
    while ((r = read_batch(rd, &b)) > 0) {
        bool is_control = batch_is_control(&b);
        bool is_in_place = b.base_offset == next_offset && b.leader_epoch == id->epoch &&
                           (control->has_header || is_control) &&
                           (each != NULL || !control->has_footer);
        if (!is_in_place) {
            return ERR_CORRUPT;
        }
        next_offset = batch_last_offset(&b) + 1;
        struct record_iter it;
        struct record rec;
        r = record_iter_init(&it, &b, SNAPSHOT_BATCH_BYTES_MAX);
        while (r >= 0 && (r = record_iter_next(&it, &rec)) > 0) {
            if (is_control) {
                r = each == NULL ? control_read(control, &rec) : 0;
            } else if (each != NULL) {
                r = each(ctx, rec.value);
            }
        }
        record_iter_release(&it);
        if (r < 0) {
            return r;
        }
    }
    return r < 0 ? r : control->has_header && control->has_footer ? 0 : ERR_TRUNCATED;
}

int snapshot_read(struct fs *fs,
                  const char *dir,
                  const struct snapshot_id *id,
                  struct control_state *control,
                  int (*each)(void *ctx, struct view value),
                  void *ctx)
{
    char path[SNAPSHOT_PATH_MAX];
    struct reader rd = {0};
    control->has_header = false;
    control->has_footer = false;
    control->has_voters = false;
    control->kraft_version = 0;
    int r = snapshot_path(dir, id, "", path, sizeof(path));
    r = r < 0 ? r : fs_open(fs, path, FS_READ, &rd.file);
    if (r < 0) {
        return r;
    }
    r = fs_size(rd.file, &rd.size);
    r = r < 0 ? r : read_pass(&rd, id, control, NULL, NULL);
    r = r < 0 ? r : read_pass(&rd, id, control, each, ctx);
    mem_free(rd.buffer);
    fs_file_unref(rd.file);
    return r;
}

/* --- writing --- */

static int write_batch(struct snapshot_writer *sw, struct batch_builder *bb)
{
    struct blob *blob;
    size_t size;
    int64_t count = bb->last_offset_delta + 1;
    int r = batch_builder_finish(bb, &blob, &size);
    if (r < 0) {
        return r;
    }
    r = fs_pwrite(sw->file, blob->data, size, sw->position);
    blob_unref(blob);
    sw->position += (int64_t)size;
    sw->next_offset += count;
    return r;
}

int snapshot_writer_open(struct snapshot_writer *sw,
                         struct fs *fs,
                         const char *dir,
                         const struct snapshot_id *id,
                         int64_t last_contained_timestamp,
                         int64_t now_ms,
                         const struct voters *vs)
{
    char path[SNAPSHOT_PATH_MAX];
    *sw = (struct snapshot_writer){.fs = fs, .dir = dir, .id = *id, .now_ms = now_ms};
    int r = snapshot_path(dir, id, ".part", path, sizeof(path));
    r = r < 0 ? r : fs_open(fs, path, FS_WRITE | FS_CREATE | FS_TRUNCATE, &sw->file);
    if (r < 0) {
        return r;
    }
    struct batch_builder bb;
    control_batch_init(&bb, true, 0, id->epoch, now_ms);
    r = control_add_snapshot_header(&bb, now_ms, last_contained_timestamp);
    if (r >= 0 && vs != NULL) {
        r = control_add_kraft_version(&bb, now_ms, 1);
    }
    if (r >= 0 && vs != NULL && vs->count > 0) {
        r = control_add_voters(&bb, now_ms, vs);
    }
    r = r < 0 ? r : write_batch(sw, &bb);
    batch_builder_release(&bb);
    return r < 0 ? snapshot_writer_close(sw, SNAPSHOT_UNSYNCED, r) : 0;
}

static int end_batch(struct snapshot_writer *sw)
{
    if (!sw->has_batch) {
        return 0;
    }
    int r = write_batch(sw, &sw->batch);
    batch_builder_release(&sw->batch);
    sw->has_batch = false;
    sw->batch_bytes = 0;
    return r;
}

int snapshot_writer_add(struct snapshot_writer *sw, struct view value)
{
    if (value.len > SNAPSHOT_BATCH_BYTES_MAX - SNAPSHOT_BATCH_BYTES) {
        return ERR_TOO_LARGE;
    }
    if (!sw->has_batch) {
        control_batch_init(&sw->batch, false, sw->next_offset, sw->id.epoch, sw->now_ms);
        sw->has_batch = true;
    }
    batch_builder_add(&sw->batch, sw->now_ms, (struct view){0}, value);
    sw->batch_bytes += value.len + RECORD_MARGIN;
    if (sw->batch_bytes >= SNAPSHOT_BATCH_BYTES ||
        sw->batch.records_count >= SNAPSHOT_BATCH_RECORDS_MAX) {
        return end_batch(sw);
    }
    return 0;
}

static int write_footer(struct snapshot_writer *sw)
{
    struct batch_builder bb;
    control_batch_init(&bb, true, sw->next_offset, sw->id.epoch, sw->now_ms);
    int r = control_add_snapshot_footer(&bb, sw->now_ms);
    r = r < 0 ? r : write_batch(sw, &bb);
    batch_builder_release(&bb);
    return r;
}

int snapshot_writer_close(struct snapshot_writer *sw, enum snapshot_sync sync, int err)
{
    char part[SNAPSHOT_PATH_MAX];
    char path[SNAPSHOT_PATH_MAX];
    bool is_synced = sync == SNAPSHOT_SYNCED;
    int r = err;
    r = r < 0 ? r : end_batch(sw);
    r = r < 0 ? r : write_footer(sw);
    r = r < 0 || !is_synced ? r : fs_fsync(sw->file);
    if (sw->has_batch) {
        batch_builder_release(&sw->batch);
        sw->has_batch = false;
    }
    sw->file = fs_file_unref(sw->file);
    int named = snapshot_path(sw->dir, &sw->id, ".part", part, sizeof(part));
    named = named < 0 ? named : snapshot_path(sw->dir, &sw->id, "", path, sizeof(path));
    check(named >= 0); /* the same names fitted when it was opened: .part is the longer one */
    r = r < 0 ? r : fs_rename(sw->fs, part, path);
    if (r < 0) {
        IGNORE(fs_unlink(sw->fs, part)); /* the first failure is the one to tell */
        return r;
    }
    return is_synced ? fs_sync_dir(sw->fs, sw->dir) : 0;
}
