/*
 * The metadata log over plog; see raft_log.h.
 *
 * Loading, in this order:
 *   1  the bootstrap snapshot, only ever for the first voters and the bootstrap records; one that
 *      cannot be read is passed over where the log or another snapshot says all of it again
 *   2  the newest snapshot that is whole and not before the log's start; a damaged one is left in
 *      place and an older one is taken; with none the log must begin at 0
 *   3  when the log ends before the snapshot does, its files go and it begins anew at the
 *      snapshot's end (Kafka: truncateToLatestSnapshot)
 *   4  the batches from the snapshot's end on; one that cannot be read is an error, since what
 *      follows it has been answered to clients
 *
 * The recovery point is not kept: the log is small, and what is read here is checked while it is
 * read.
 *
 * A power cut while several batches are on their way to the disk may take one and leave a later
 * one. That is no damage, nobody was told of them; but it looks like damage. So the offsets of a
 * flush of more than one batch are put on stable storage before its batches are written
 * (`unflushed-offsets`), and recovery cuts what is missing there with what follows, unless the log
 * goes on behind them. A flush of one batch leaves a torn tail at most. A new segment begins with
 * nothing unflushed.
 */
#include "raft/raft_log.h"

#include "base/err.h"
#include "base/mem.h"
#include "raft/quorum.h"
#include "storage/plog.h"

#define READ_BYTES     (1 << 20)
#define UNFLUSHED_FILE "unflushed-offsets"

enum {
    UNFLUSHED_FILE_MAX = 256,
    FIRST_FLUSH_OFFSETS = 10000, /* of the first start, at most */
};

struct raft_log {
    struct plog_env *env; /* borrowed */
    struct plog *pl;      /* owned */
    char dir[SNAPSHOT_PATH_MAX];
    int32_t epoch;
    int64_t next_offset; /* staged batches included */
    int64_t staged_from; /* the first offset that is staged */
    int staged_batches;
    bool is_first_start; /* until the first flush */
};

static const struct uuid metadata_topic_id = {.bytes = {[15] = 1}};

struct load {
    const struct raft_log_options *o;
    struct raft_log_found *found;
    struct raft_log *rl;
    struct snapshot_id id; /* being read */
};

__attribute__((format(printf, 3, 4))) static int
fail(struct load *ld, int err, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(ld->found->error, sizeof(ld->found->error), format, args);
    va_end(args);
    return err;
}

/* --- the offsets of a flush --- */

static int write_unflushed(struct raft_log *rl)
{
    char path[SNAPSHOT_PATH_MAX + 32];
    char text[64];
    snprintf(path, sizeof(path), "%s/" UNFLUSHED_FILE, rl->dir);
    int n = snprintf(text, sizeof(text), "0\n%" PRId64 " %" PRId64 "\n", rl->staged_from,
                     rl->next_offset);
    return fs_replace_file(rl->env->fs, path, text, (size_t)n);
}

static bool parse_unflushed(struct str text, struct plog_open *how)
{
    struct str version;
    struct str from;
    struct str to;
    return str_split(&text, '\n', &version) && str_is(version, "0") &&
           str_split(&text, ' ', &from) && str_split(&text, '\n', &to) &&
           str_to_i64(from, &how->unflushed_from) >= 0 && str_to_i64(to, &how->unflushed_to) >= 0;
}

/* A damaged file, as none, only means that nothing is cut. */
static int read_unflushed(struct raft_log *rl, struct plog_open *how)
{
    char path[SNAPSHOT_PATH_MAX + 32];
    cleanup(mem_free_charp) char *bytes = NULL;
    size_t len = 0;
    snprintf(path, sizeof(path), "%s/" UNFLUSHED_FILE, rl->dir);
    int r = fs_read_file(rl->env->fs, path, UNFLUSHED_FILE_MAX, &bytes, &len);
    if (r == -ENOENT && rl->is_first_start) {
        how->unflushed_to = FIRST_FLUSH_OFFSETS;
        how->flags |= PLOG_CUT_UNFLUSHED;
    } else if (r >= 0 && parse_unflushed(str_of(bytes, len), how)) {
        how->flags |= PLOG_CUT_UNFLUSHED;
    }
    return r == -ENOENT || r == -EFBIG ? 0 : r;
}

/* --- the plog --- */

static int open_plog(struct load *ld)
{
    struct plog_config config = {
        .rules =
            {
                .max_message_bytes = INT32_MAX,
                .max_decompressed_bytes = INT32_MAX,
                .timestamp_before_max_ms = INT64_MAX,
                .timestamp_after_max_ms = INT64_MAX,
                .keeps_codec = true,
            },
        .segment_bytes = ld->o->segment_bytes,
        .segment_ms = ld->o->segment_ms,
        .segment_index_bytes = 10 << 20,
        .index_interval_bytes = 4096,
        .retention_ms = -1,
        .retention_bytes = -1,
        .file_delete_delay_ms = 60000, /* KafkaMetadataLog: the default, whatever is set */
        .producer_id_expiration_ms = 86400000,
        .producer_id_check_ms = 600000,
    };
    struct plog_open how = {
        .dir = ld->o->dir,
        .topic = STR(RAFT_LOG_TOPIC),
        .partition = 0,
        .topic_id = metadata_topic_id,
        .config = &config,
        .flags = PLOG_CREATE,
    };
    struct plog_recovery recovery;
    int r = read_unflushed(ld->rl, &how);
    r = r < 0 ? r : plog_open(ld->o->env, &how, &recovery, &ld->rl->pl);
    if (r < 0) {
        return fail(ld, r, "the metadata log in %s cannot be opened: %s", ld->rl->dir, err_text(r));
    }
    struct plog_offsets offsets;
    plog_offsets(ld->rl->pl, &offsets);
    ld->rl->next_offset = offsets.log_end;
    return 0;
}

/* What plog would write into a directory that it has not made itself, with two syncs of its own. */
static int write_topic_id(struct load *ld)
{
    char path[SNAPSHOT_PATH_MAX + 32];
    char text[64];
    char id[UUID_TEXT_SIZE];
    struct fs_file *file;
    uuid_print(&metadata_topic_id, id);
    int n = snprintf(text, sizeof(text), "version: 0\ntopic_id: %s", id);
    snprintf(path, sizeof(path), "%s/partition.metadata", ld->rl->dir);
    int r = fs_open(ld->o->env->fs, path, FS_WRITE | FS_CREATE | FS_TRUNCATE, &file);
    if (r == -ENOENT) {
        return fail(ld, r,
                    "there is no metadata log in %s: %s is missing. It is looked for in "
                    "metadata.log.dir, or in the first of log.dirs",
                    ld->o->dir, ld->rl->dir);
    }
    if (r < 0) {
        return fail(ld, r, "%s cannot be written: %s", path, err_text(r));
    }
    r = fs_pwrite(file, text, (size_t)n, 0);
    fs_file_unref(file);
    return r;
}

/* --- snapshots --- */

static int on_snapshot_record(void *ctx, struct view value)
{
    struct load *ld = ctx;
    int r = ld->o->reader.on_record(ld->o->reader.ctx, value, ld->id.end_offset - 1, ld->id.epoch);
    if (r < 0) {
        return fail(ld, r,
                    "a record of snapshot %020" PRId64 "-%010" PRId32
                    ".checkpoint in %s cannot be applied: %s",
                    ld->id.end_offset, ld->id.epoch, ld->rl->dir, err_text(r));
    }
    return 0;
}

static int on_bootstrap_record(void *ctx, struct view value)
{
    struct load *ld = ctx;
    struct raft_log_found *f = ld->found;
    struct view *more = arena_alloc(&f->bootstrap_arena, (f->bootstrap_count + 1) * sizeof(*more));
    if (f->bootstrap_count > 0) {
        memcpy(more, f->bootstrap, f->bootstrap_count * sizeof(*more));
    }
    uint8_t *copy = arena_alloc(&f->bootstrap_arena, value.len);
    memcpy(copy, value.ptr, value.len);
    more[f->bootstrap_count] = (struct view){copy, value.len};
    f->bootstrap = more;
    f->bootstrap_count++;
    return 0;
}

/* Whether the file is damaged, rather than the disk or the reader unwilling. */
static bool is_damage(int err)
{
    return err == ERR_CORRUPT || err == ERR_TRUNCATED || err == ERR_MALFORMED ||
           err == ERR_UNSUPPORTED;
}

/* Loads the newest usable snapshot. 1: one was loaded; 0: none. */
static int
load_snapshot(struct load *ld, const struct snapshot_id *ids, size_t count, int64_t log_start)
{
    struct raft_log_found *f = ld->found;
    for (size_t i = count; i > 0; i--) {
        ld->id = ids[i - 1];
        if (snapshot_is_bootstrap(&ld->id) || ld->id.end_offset < log_start) {
            continue;
        }
        struct control_state control = {0};
        int r =
            snapshot_read(ld->o->env->fs, ld->rl->dir, &ld->id, &control, on_snapshot_record, ld);
        if (r >= 0) {
            voters_release(&f->control.voters);
            f->control = control;
            f->snapshot = ld->id;
            f->last_epoch = ld->id.epoch;
            f->last_timestamp = f->control.snapshot_timestamp;
            f->has_log_voters = f->control.has_voters;
            return 1;
        }
        voters_release(&control.voters);
        if (!is_damage(r) || f->error[0] != '\0') {
            return f->error[0] != '\0'
                       ? r
                       : fail(ld, r,
                              "snapshot %020" PRId64 "-%010" PRId32
                              ".checkpoint in %s cannot be read: %s",
                              ld->id.end_offset, ld->id.epoch, ld->rl->dir, err_text(r));
        }
        f->damaged_snapshots++;
    }
    return 0;
}

/* The first voters and the records that begin a cluster; what the log says later replaces the
 * voters. Whether it can be done without, load_all sees when it knows what else there is. */
static int load_bootstrap(struct load *ld)
{
    struct raft_log_found *f = ld->found;
    struct snapshot_id id = {0};
    struct control_state control = {0};
    int r = snapshot_read(ld->o->env->fs, ld->rl->dir, &id, &control, on_bootstrap_record, ld);
    if (r >= 0) {
        f->control.kraft_version = control.kraft_version;
        f->control.has_voters = control.has_voters;
        voters_clear(&f->control.voters);
        for (int32_t i = 0; i < control.voters.count && control.has_voters && r >= 0; i++) {
            r = voters_add(&f->control.voters, &control.voters.items[i]);
        }
    } else {
        f->bootstrap_error = r == -ENOENT ? 0 : r;
        f->bootstrap_count = 0; /* the second pass may have failed after a few */
        r = 0;
    }
    voters_release(&control.voters);
    return r;
}

/* Neither a record nor a snapshot. */
static int refuse_nothing(struct load *ld)
{
    const struct raft_log_found *f = ld->found;
    if (f->damaged_snapshots > 0) {
        return fail(ld, ERR_CORRUPT,
                    "the metadata log in %s is empty and its snapshots are damaged", ld->rl->dir);
    }
    if (f->bootstrap_error < 0) {
        return fail(ld, f->bootstrap_error,
                    "the bootstrap snapshot in %s cannot be read (%s), and the log is empty: %s",
                    ld->rl->dir, err_text(f->bootstrap_error),
                    is_damage(f->bootstrap_error)
                        ? "format the directory again"
                        : "make it readable, or format the directory again");
    }
    return 0;
}

/* --- beginning anew at a snapshot --- */

static bool is_log_file(const char *name)
{
    static const char *const suffixes[] = {".log", ".index", ".timeindex", ".txnindex",
                                           ".snapshot"};
    size_t len = strlen(name);
    for (size_t i = 0; i < ARRAY_LEN(suffixes); i++) {
        size_t n = strlen(suffixes[i]);
        if (len > n && memcmp(name + len - n, suffixes[i], n) == 0) {
            return true;
        }
    }
    return strcmp(name, "leader-epoch-checkpoint") == 0;
}

struct wipe {
    struct fs *fs;
    const char *dir;
    int err;
};

static void wipe_one(void *ctx, const char *name)
{
    struct wipe *w = ctx;
    char path[SNAPSHOT_PATH_MAX + 256];
    if (is_log_file(name) && w->err >= 0) {
        int n = snprintf(path, sizeof(path), "%s/%s", w->dir, name);
        w->err = n < 0 || (size_t)n >= sizeof(path) ? -ENAMETOOLONG : fs_unlink(w->fs, path);
    }
}

static int begin_anew(struct load *ld, int64_t offset)
{
    struct raft_log *rl = ld->rl;
    struct fs *fs = ld->o->env->fs;
    int r = plog_close(rl->pl, false);
    rl->pl = NULL;
    struct wipe w = {.fs = fs, .dir = rl->dir};
    r = r < 0 ? r : fs_list(fs, rl->dir, wipe_one, &w);
    r = r < 0 ? r : w.err;
    char path[SNAPSHOT_PATH_MAX + 32];
    struct fs_file *file = NULL;
    snprintf(path, sizeof(path), "%s/%020" PRId64 ".log", rl->dir, offset);
    r = r < 0 ? r : fs_open(fs, path, FS_WRITE | FS_CREATE, &file);
    fs_file_unref(file);
    r = r < 0 ? r : fs_sync_dir(fs, rl->dir);
    if (r < 0) {
        return fail(ld, r, "the metadata log in %s cannot begin anew at offset %" PRId64 ": %s",
                    rl->dir, offset, err_text(r));
    }
    r = open_plog(ld);
    if (r >= 0 && rl->next_offset != offset) {
        r = fail(ld, ERR_CORRUPT, "the metadata log in %s does not begin at offset %" PRId64,
                 rl->dir, offset);
    }
    ld->found->was_log_replaced = true;
    return r;
}

/* --- reading the log --- */

static int read_control(struct load *ld, const struct record *rec)
{
    struct raft_log_found *f = ld->found;
    bool had_voters = f->control.has_voters;
    f->control.has_voters = false;
    int r = control_read(&f->control, rec);
    f->has_log_voters = f->has_log_voters || f->control.has_voters;
    f->control.has_voters = f->control.has_voters || had_voters;
    return r;
}

static int read_records(struct load *ld, const struct batch *b, int64_t from)
{
    struct record_iter it;
    struct record rec;
    int r = record_iter_init(&it, b, SNAPSHOT_BATCH_BYTES_MAX);
    while (r >= 0 && (r = record_iter_next(&it, &rec)) > 0) {
        if (rec.offset < from) {
            continue;
        }
        if (batch_is_control(b)) {
            r = read_control(ld, &rec);
        } else {
            r = ld->o->reader.on_record(ld->o->reader.ctx, rec.value, rec.offset, b->leader_epoch);
        }
        if (r < 0) {
            fail(ld, r,
                 "the record at offset %" PRId64 " of the metadata log in %s cannot be "
                 "applied: %s",
                 rec.offset, ld->rl->dir, err_text(r));
        }
    }
    record_iter_release(&it);
    return r;
}

/* Batches in memory; *next moves behind each. */
static int
read_batches(struct load *ld, const uint8_t *bytes, size_t len, int64_t from, int64_t *next)
{
    struct raft_log_found *f = ld->found;
    size_t at = 0;
    while (at < len) {
        struct batch b;
        int r = batch_peek(bytes + at, len - at, &b);
        if (r >= 0 && !batch_crc_is_good(&b)) {
            r = ERR_CORRUPT;
        }
        /* Damage is what has no end in this log; a gap is records that are missing. The CRC does
         * not cover the epoch. */
        if (r >= 0 && (b.base_offset > *next || batch_last_offset(&b) < *next ||
                       b.leader_epoch > QUORUM_EPOCH_MAX)) {
            r = ERR_CORRUPT;
        }
        if (r < 0) {
            return fail(ld, r, "the metadata log in %s is damaged at offset %" PRId64 ": %s",
                        ld->rl->dir, *next, err_text(r));
        }
        r = read_records(ld, &b, from);
        if (r < 0) {
            return r;
        }
        f->last_epoch = b.leader_epoch > f->last_epoch ? b.leader_epoch : f->last_epoch;
        f->last_timestamp = b.max_timestamp;
        *next = batch_last_offset(&b) + 1;
        at += b.size;
    }
    return 0;
}

static int copy_runs(const struct rope *rope, uint8_t *bytes)
{
    for (size_t i = rope->start; i < rope->count; i++) {
        const struct rope_run *run = &rope->runs[i];
        if (run->type == ROPE_MEMORY) {
            memcpy(bytes, run->ptr, run->len);
        } else {
            ssize_t n = fs_pread(run->file, bytes, run->len, run->position);
            if (n < 0 || (size_t)n < run->len) {
                return n < 0 ? (int)n : ERR_TRUNCATED;
            }
        }
        bytes += run->len;
    }
    return 0;
}

/* One read of the log from *next on. */
static int read_piece(struct load *ld, struct arena *arena, int64_t from, int64_t *next)
{
    struct plog_read how = {
        .offset = *next,
        .max_bytes = READ_BYTES,
        .bound = PLOG_TO_LOG_END,
        .at_least_one = true,
        .arena = arena,
    };
    struct rope rope;
    struct plog_read_result result;
    enum kafka_error error = KAFKA_ERROR_NONE;
    rope_init(&rope);
    int r = plog_read(ld->rl->pl, &how, &rope, &result, &error);
    if (r >= 0 && (error != KAFKA_ERROR_NONE || rope.bytes == 0)) {
        r = ERR_CORRUPT;
    }
    uint8_t *bytes = NULL;
    if (r >= 0) {
        bytes = mem_try_alloc(rope.bytes);
        r = bytes == NULL ? ERR_NO_MEMORY : copy_runs(&rope, bytes);
    }
    if (r < 0) {
        fail(ld, r, "the metadata log in %s is damaged at offset %" PRId64 ": %s", ld->rl->dir,
             *next, err_text(r));
    } else {
        r = read_batches(ld, bytes, rope.bytes, from, next);
    }
    mem_free(bytes);
    rope_release(&rope);
    arena_reset(arena);
    return r;
}

static int read_log(struct load *ld, int64_t from)
{
    struct arena arena;
    arena_init(&arena, 0);
    int64_t next = from;
    int r = 0;
    while (r >= 0 && next < ld->rl->next_offset) {
        r = read_piece(ld, &arena, from, &next);
    }
    arena_release(&arena);
    return r;
}

/* --- opening --- */

static int load_all(struct load *ld)
{
    struct raft_log *rl = ld->rl;
    struct snapshot_id *ids = NULL;
    size_t count = 0;
    struct plog_offsets offsets;
    plog_offsets(rl->pl, &offsets);
    int r = load_bootstrap(ld);
    if (r < 0) {
        return r;
    }
    r = snapshot_list(ld->o->env->fs, rl->dir, &ids, &count);
    if (r < 0) {
        return fail(ld, r, "%s cannot be listed: %s", rl->dir, err_text(r));
    }
    r = load_snapshot(ld, ids, count, offsets.log_start);
    mem_free(ids);
    if (r < 0) {
        return r;
    }
    if (r == 0 && offsets.log_start > 0) {
        return fail(ld, ERR_CORRUPT,
                    "the metadata log in %s begins at offset %" PRId64
                    " and there is no whole snapshot that ends there or later",
                    rl->dir, offsets.log_start);
    }
    r = r == 0 && rl->next_offset == 0 ? refuse_nothing(ld) : 0;
    if (r < 0) {
        return r;
    }
    int64_t from = ld->found->snapshot.end_offset;
    if (rl->next_offset < from) {
        r = begin_anew(ld, from);
        if (r < 0) {
            return r;
        }
    }
    return read_log(ld, from);
}

int raft_log_open(const struct raft_log_options *o,
                  struct raft_log_found *ret_found,
                  struct raft_log **ret)
{
    *ret_found = (struct raft_log_found){0};
    struct raft_log *rl = mem_zalloc(sizeof(*rl));
    struct load ld = {.o = o, .found = ret_found, .rl = rl};
    rl->env = o->env;
    rl->is_first_start = o->is_first_start;
    int n = snprintf(rl->dir, sizeof(rl->dir), "%s/" RAFT_LOG_DIR, o->dir);
    /* Room for the longest name below it. */
    int r = n < 0 || (size_t)n >= sizeof(rl->dir) - 64 ? -ENAMETOOLONG : 0;
    r = r < 0 || !o->is_first_start ? r : write_topic_id(&ld);
    r = r < 0 ? r : open_plog(&ld);
    r = r < 0 ? r : load_all(&ld);
    if (r < 0) {
        if (ret_found->error[0] == '\0') {
            fail(&ld, r, "the metadata log in %s cannot be opened: %s", o->dir, err_text(r));
        }
        IGNORE(raft_log_close(rl, false)); /* the first failure is the one to tell */
        return r;
    }
    rl->epoch = ret_found->last_epoch;
    *ret = rl;
    return 0;
}

int raft_log_close(struct raft_log *rl, bool is_clean)
{
    int r = 0;
    if (rl != NULL) {
        if (rl->pl != NULL) {
            r = plog_close(rl->pl, is_clean);
        }
        mem_free(rl);
    }
    return r;
}

/* --- questions --- */

const char *raft_log_path(const struct raft_log *rl)
{
    return rl->dir;
}

int64_t raft_log_start(struct raft_log *rl)
{
    struct plog_offsets offsets;
    plog_offsets(rl->pl, &offsets);
    return offsets.log_start;
}

int64_t raft_log_end(struct raft_log *rl)
{
    return rl->next_offset;
}

int64_t raft_log_flushed(struct raft_log *rl)
{
    struct plog_offsets offsets;
    plog_offsets(rl->pl, &offsets);
    return offsets.flushed;
}

int64_t raft_log_bytes(struct raft_log *rl)
{
    return plog_size_bytes(rl->pl);
}

/* --- appending --- */

int raft_log_become_leader(struct raft_log *rl, int32_t epoch)
{
    check(epoch > rl->epoch);
    rl->epoch = epoch;
    return plog_become_leader(rl->pl, epoch);
}

/* What must be stable before this batch is staged: a log that was found, and the batches of the
 * segment that ends with them. */
static int make_way(struct raft_log *rl, const struct batch *b, int64_t now_ms)
{
    struct plog_offsets offsets;
    if (rl->is_first_start) {
        return 0;
    }
    if (rl->staged_batches > 0) {
        return plog_would_roll(rl->pl, b, now_ms) ? raft_log_flush(rl, false) : 0;
    }
    plog_offsets(rl->pl, &offsets);
    return offsets.written > offsets.flushed ? raft_log_flush(rl, false) : 0;
}

static int append_batch(struct raft_log *rl, struct blob *blob, size_t size, int64_t now_ms)
{
    struct arena arena;
    struct plog_append in = {
        .blob = blob,
        .bytes = blob->data,
        .size = size,
        .origin = PLOG_RAFT,
        .leader_epoch = rl->epoch,
        .now_ms = now_ms,
        .arena = &arena,
    };
    struct plog_append_result result;
    arena_init(&arena, 0);
    int r = batch_peek(blob->data, size, &in.batch);
    r = r < 0 ? r : make_way(rl, &in.batch, now_ms);
    r = r < 0 ? r : plog_append_as_leader(rl->pl, &in, &result);
    if (r >= 0 && result.error != KAFKA_ERROR_NONE) {
        r = ERR_BAD_ARGUMENT;
    }
    if (r >= 0) {
        check(result.base_offset == rl->next_offset);
        rl->staged_from = rl->staged_batches == 0 ? result.base_offset : rl->staged_from;
        rl->staged_batches++;
        rl->next_offset = result.last_offset + 1;
    }
    arena_release(&arena);
    return r < 0 ? r : 0;
}

bool raft_log_is_usable(struct raft_log *rl)
{
    return !plog_is_offline(rl->pl);
}

int raft_log_append(struct raft_log *rl,
                    struct batch_builder *bb,
                    int64_t now_ms,
                    int64_t *ret_base_offset)
{
    if (bb->records_count == 0 || bb->records_count > RAFT_LOG_BATCH_RECORDS_MAX) {
        return bb->records_count == 0 ? ERR_BAD_ARGUMENT : ERR_TOO_LARGE;
    }
    bb->base_offset = rl->next_offset;
    bb->leader_epoch = rl->epoch;
    int64_t base_offset = rl->next_offset;
    struct blob *blob;
    size_t size;
    int r = batch_builder_finish(bb, &blob, &size);
    if (r < 0) {
        return r;
    }
    r = size > RAFT_LOG_BATCH_BYTES_MAX ? ERR_TOO_LARGE : append_batch(rl, blob, size, now_ms);
    blob_unref(blob);
    if (r >= 0) {
        *ret_base_offset = base_offset;
    }
    return r;
}

int raft_log_flush(struct raft_log *rl, bool whole_fs)
{
    int64_t written;
    int r = rl->staged_batches > 1 && !rl->is_first_start ? write_unflushed(rl) : 0;
    if (r < 0) {
        plog_drop_staged(rl->pl);
    } else {
        r = plog_write(rl->pl, &written);
    }
    rl->staged_batches = 0;
    if (r < 0) {
        struct plog_offsets offsets; /* what was staged is undone */
        plog_offsets(rl->pl, &offsets);
        rl->next_offset = offsets.log_end;
        return r;
    }
    struct plog_flush f;
    if (plog_flush_begin(rl->pl, &f)) {
        int64_t flushed;
        r = whole_fs ? fs_sync_all(rl->env->fs, rl->dir) : plog_flush_run(&f);
        plog_flush_end(&f, r, &flushed);
        if (r >= 0) {
            rl->is_first_start = false;
            IGNORE(plog_advance_high_watermark(
                rl->pl, flushed)); /* a sole voter's is what it has flushed */
        }
    }
    return r < 0 ? r : plog_is_offline(rl->pl) ? ERR_OFFLINE : 0;
}

int raft_log_advance_start(struct raft_log *rl, int64_t offset)
{
    return plog_advance_log_start(rl->pl, offset);
}
