/*
 * One directory of log.dirs. Kafka's LogManager, CleanShutdownFileHandler,
 * LocalLog.parseTopicPartitionName.
 *
 * The clean-shutdown marker says that everything in the directory is as its logs left it. It is put
 * in place last, after one sync of the whole file system, and taken away durably before the first
 * append: at no moment does a stable marker stand beside unsynced data.
 *
 * Checkpoints are read once; in memory they are a table by partition, written back as a whole.
 * Stale values are safe: a recovery point that is too low means a longer scan, a high watermark
 * that is too low is raised again by the owner. Only a log start that belongs to a deleted namesake
 * would do harm, so forgetting one goes to the disk at once.
 */
#include "storage/log_dir.h"

#include "base/base.h"
#include "base/err.h"
#include "base/sync.h"
#include "storage/side_file.h"

#define LOCK_FILE           ".lock"
#define CLEAN_FILE          ".kafka_cleanshutdown"
#define RECOVERY_FILE       "recovery-point-offset-checkpoint"
#define LOG_START_FILE      "log-start-offset-checkpoint"
#define HIGH_WATERMARK_FILE "replication-offset-checkpoint"
#define METADATA_LOG        "__cluster_metadata-0"

enum {
    CLEAN_FILE_MAX = 4096,
    DAMAGED_MAX = 8,
    TOPIC_MAX = 249,
};

/* What the checkpoints say of one partition. */
struct dir_entry {
    struct hmap_node node;
    struct str topic; /* owned text */
    int32_t partition;
    int64_t recovery_point;
    int64_t log_start; /* 0: not beyond the first segment */
    int64_t high_watermark;
};

struct log_dir {
    struct plog_env *env; /* borrowed */
    char *path;           /* owned */
    struct fs_file *lock_file;
    struct lock lock; /* LOCK_LOG_DIR: the table */
    struct cond written;
    bool is_writing; /* somebody writes checkpoint files, outside the lock */
    struct hmap entries;
    bool was_clean;
    bool has_failed;  /* a log did not close cleanly: no marker, no checkpoints */
    bool is_doubtful; /* a log was never opened: no marker */
    int64_t previous_broker_epoch;
    const char *damaged[DAMAGED_MAX]; /* static names */
    size_t damaged_count;
};

bool log_dir_was_clean(const struct log_dir *ld)
{
    return ld->was_clean;
}

int64_t log_dir_previous_broker_epoch(const struct log_dir *ld)
{
    return ld->previous_broker_epoch;
}

size_t log_dir_damaged(const struct log_dir *ld, struct str *ret_names, size_t max)
{
    size_t n = min_size(ld->damaged_count, max);
    for (size_t i = 0; i < n; i++) {
        ret_names[i] = str_from(ld->damaged[i]);
    }
    return n;
}

static void note_damaged(struct log_dir *ld, const char *name)
{
    if (ld->damaged_count < DAMAGED_MAX) {
        ld->damaged[ld->damaged_count++] = name;
    }
}

/* --- the table -------------------------------------------------------------------------------- */

static uint64_t hash_of(const struct log_dir *ld, struct str topic, int32_t partition)
{
    return hash_str(topic, ld->entries.seed ^ (uint32_t)partition);
}

static struct dir_entry *find_entry(const struct log_dir *ld, struct str topic, int32_t partition)
{
    uint64_t hash = hash_of(ld, topic, partition);
    for (struct hmap_node *n = hmap_first(&ld->entries, hash); n != NULL; n = hmap_next(n)) {
        struct dir_entry *de = container_of(n, struct dir_entry, node);
        if (de->partition == partition && str_equal(de->topic, topic)) {
            return de;
        }
    }
    return NULL;
}

static struct dir_entry *make_entry(struct log_dir *ld, struct str topic, int32_t partition)
{
    struct dir_entry *de = find_entry(ld, topic, partition);
    if (de == NULL) {
        de = mem_zalloc(sizeof(*de));
        de->topic = str_of(mem_strndup(topic.ptr, topic.len), topic.len);
        de->partition = partition;
        hmap_insert(&ld->entries, &de->node, hash_of(ld, topic, partition));
    }
    return de;
}

static void free_entry(struct log_dir *ld, struct dir_entry *de)
{
    hmap_remove(&ld->entries, &de->node);
    char *text;
    memcpy(&text, &de->topic.ptr, sizeof(text)); /* its own copy */
    mem_free(text);
    mem_free(de);
}

enum checkpoint_field {
    FIELD_RECOVERY_POINT,
    FIELD_LOG_START,
    FIELD_HIGH_WATERMARK,
};

static int64_t *field_of(struct dir_entry *de, enum checkpoint_field field)
{
    switch (field) {
    case FIELD_RECOVERY_POINT:
        return &de->recovery_point;
    case FIELD_LOG_START:
        return &de->log_start;
    case FIELD_HIGH_WATERMARK:
        return &de->high_watermark;
    }
    return &de->recovery_point;
}

static int load_checkpoint(struct log_dir *ld, const char *name, enum checkpoint_field field)
{
    struct log_path path;
    struct arena arena = {0};
    struct checkpoint_entry *entries = NULL;
    size_t count = 0;
    log_path_join(&path, ld->path, name);
    int err = checkpoint_read(ld->env->fs, path.text, &arena, &entries, &count);
    for (size_t i = 0; i < count && err >= 0; i++) {
        struct dir_entry *de = make_entry(ld, entries[i].topic, entries[i].partition);
        *field_of(de, field) = entries[i].offset;
    }
    arena_release(&arena);
    if (err == ERR_MALFORMED) {
        note_damaged(ld, name);
        err = 0;
    }
    return err;
}

/* One file from a copy of the table. Log starts are only listed where they say something. */
static int save_checkpoint(struct log_dir *ld, const char *name, enum checkpoint_field field)
{
    struct log_path path;
    struct arena arena = {0};
    size_t count = 0;
    log_path_join(&path, ld->path, name);
    lock_take(&ld->lock);
    struct checkpoint_entry *entries =
        arena_alloc(&arena, max_size(ld->entries.count, 1) * sizeof(*entries));
    hmap_foreach (node, &ld->entries) {
        struct dir_entry *de = container_of(node, struct dir_entry, node);
        int64_t offset = *field_of(de, field);
        if (field == FIELD_LOG_START && offset <= 0) {
            continue;
        }
        entries[count++] = (struct checkpoint_entry){
            .topic = arena_strdup(&arena, de->topic),
            .partition = de->partition,
            .offset = offset,
        };
    }
    lock_give(&ld->lock);
    int err = checkpoint_write(ld->env->fs, path.text, entries, count);
    arena_release(&arena);
    return err;
}

static void begin_writing(struct log_dir *ld)
{
    lock_take(&ld->lock);
    while (ld->is_writing) {
        cond_wait(&ld->written, &ld->lock);
    }
    ld->is_writing = true;
    lock_give(&ld->lock);
}

static void end_writing(struct log_dir *ld)
{
    lock_take(&ld->lock);
    ld->is_writing = false;
    cond_broadcast(&ld->written);
    lock_give(&ld->lock);
}

static int save_checkpoints(struct log_dir *ld)
{
    begin_writing(ld);
    int err = save_checkpoint(ld, RECOVERY_FILE, FIELD_RECOVERY_POINT);
    if (err >= 0) {
        err = save_checkpoint(ld, LOG_START_FILE, FIELD_LOG_START);
    }
    if (err >= 0) {
        err = save_checkpoint(ld, HIGH_WATERMARK_FILE, FIELD_HIGH_WATERMARK);
    }
    end_writing(ld);
    return err;
}

void log_dir_lookup(struct log_dir *ld, struct str topic, int32_t partition, struct plog_open *ret)
{
    lock_take(&ld->lock);
    const struct dir_entry *de = find_entry(ld, topic, partition);
    ret->recovery_point = de == NULL ? 0 : de->recovery_point;
    ret->log_start = de == NULL ? 0 : de->log_start;
    ret->high_watermark = de == NULL ? 0 : de->high_watermark;
    lock_give(&ld->lock);
}

bool log_dir_forget(struct log_dir *ld, struct str topic, int32_t partition)
{
    lock_take(&ld->lock);
    struct dir_entry *de = find_entry(ld, topic, partition);
    bool had_start = de != NULL && de->log_start > 0;
    if (de != NULL) {
        free_entry(ld, de);
    }
    lock_give(&ld->lock);
    return had_start;
}

int log_dir_save_starts(struct log_dir *ld)
{
    begin_writing(ld);
    int err = save_checkpoint(ld, LOG_START_FILE, FIELD_LOG_START);
    end_writing(ld);
    return err;
}

/* What the checkpoint says of a log that begins there; a start that was noted before the log has
 * moved to it stays. */
static int64_t start_to_note(const struct dir_entry *de, int64_t start, int64_t first)
{
    return start < de->log_start ? de->log_start : start > first ? start : 0;
}

int log_dir_note_starts(struct log_dir *ld,
                        struct plog *const *logs,
                        const int64_t *starts,
                        size_t count)
{
    int64_t *before = mem_array(count + 1, sizeof(*before));
    begin_writing(ld);
    for (size_t i = 0; i < count; i++) {
        int64_t first = plog_first_offset(logs[i]);
        lock_take(&ld->lock);
        before[i] = 0;
        if (!plog_is_offline(logs[i])) {
            struct dir_entry *de = make_entry(ld, plog_topic(logs[i]), plog_partition(logs[i]));
            before[i] = de->log_start;
            de->log_start = start_to_note(de, starts[i], first);
        }
        lock_give(&ld->lock);
    }
    int err = save_checkpoint(ld, LOG_START_FILE, FIELD_LOG_START);
    for (size_t i = 0; i < count && err < 0; i++) {
        lock_take(&ld->lock);
        struct dir_entry *de = find_entry(ld, plog_topic(logs[i]), plog_partition(logs[i]));
        if (de != NULL) {
            de->log_start = before[i];
        }
        lock_give(&ld->lock);
    }
    end_writing(ld);
    mem_free(before);
    return err;
}

/* --- opening ---------------------------------------------------------------------------------- */

/* {"version":0,"brokerEpoch":214}. Anything else, an empty file too, is no promise. */
static void read_clean_marker(struct log_dir *ld)
{
    static const char key[] = "\"brokerEpoch\":";
    struct log_path path;
    cleanup(mem_free_charp) char *bytes = NULL;
    size_t len;
    ld->previous_broker_epoch = -1;
    log_path_join(&path, ld->path, CLEAN_FILE);
    int err = fs_read_file(ld->env->fs, path.text, CLEAN_FILE_MAX, &bytes, &len);
    if (err == -ENOENT) {
        return;
    }
    const char *at = err < 0 ? NULL : strstr(bytes, key);
    if (at == NULL) {
        note_damaged(ld, CLEAN_FILE);
        return;
    }
    at += strlen(key);
    size_t n = strspn(at, "-0123456789");
    if (str_to_i64(str_of(at, n), &ld->previous_broker_epoch) < 0 || at[n] != '}') {
        ld->previous_broker_epoch = -1;
        note_damaged(ld, CLEAN_FILE);
        return;
    }
    ld->was_clean = true;
}

static struct log_dir *log_dir_free(struct log_dir *ld)
{
    hmap_foreach (node, &ld->entries) {
        free_entry(ld, container_of(node, struct dir_entry, node));
    }
    hmap_release(&ld->entries);
    fs_file_unref(ld->lock_file);
    cond_release(&ld->written);
    lock_release(&ld->lock);
    mem_free(ld->path);
    mem_free(ld);
    return NULL;
}

int log_dir_open(struct plog_env *env, const char *path, struct log_dir **ret)
{
    struct log_path lock_path;
    uint64_t seed;
    if (strlen(path) + TOPIC_MAX * 2 > LOG_PATH_MAX) {
        return -ENAMETOOLONG;
    }
    struct log_dir *ld = mem_zalloc(sizeof(*ld));
    ld->env = env;
    ld->path = mem_strdup(path);
    lock_init(&ld->lock, LOCK_LOG_DIR);
    cond_init(&ld->written);
    clock_random(env->clock, &seed, sizeof(seed));
    hmap_init(&ld->entries, seed);
    log_path_join(&lock_path, path, LOCK_FILE);
    int err = fs_lock(env->fs, lock_path.text, &ld->lock_file);
    if (err >= 0) {
        err = load_checkpoint(ld, RECOVERY_FILE, FIELD_RECOVERY_POINT);
    }
    if (err >= 0) {
        err = load_checkpoint(ld, LOG_START_FILE, FIELD_LOG_START);
    }
    if (err >= 0) {
        err = load_checkpoint(ld, HIGH_WATERMARK_FILE, FIELD_HIGH_WATERMARK);
    }
    if (err < 0) {
        log_dir_free(ld);
        return err;
    }
    read_clean_marker(ld);
    *ret = ld;
    return 0;
}

int log_dir_begin(struct log_dir *ld)
{
    struct log_path path;
    log_path_join(&path, ld->path, CLEAN_FILE);
    int err = fs_unlink(ld->env->fs, path.text);
    if (err == -ENOENT) {
        return 0;
    }
    return err < 0 ? err : fs_sync_dir(ld->env->fs, ld->path);
}

/* --- what is there ---------------------------------------------------------------------------- */

struct dir_scan {
    struct log_dir *ld;
    struct arena *arena;
    struct log_dir_found *found; /* mem_alloc'ed while it grows */
    size_t count;
    size_t cap;
};

static bool is_topic_name(struct str s)
{
    if (s.len == 0 || s.len > TOPIC_MAX || str_is(s, ".") || str_is(s, "..")) {
        return false;
    }
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        bool is_good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '.' || c == '_' || c == '-';
        if (!is_good) {
            return false;
        }
    }
    return true;
}

static bool take_suffix(struct str *name, const char *suffix)
{
    size_t n = strlen(suffix);
    if (name->len < n || memcmp(name->ptr + name->len - n, suffix, n) != 0) {
        return false;
    }
    /* "<topic>-<partition>.<unique>-<suffix>" */
    size_t dot = name->len;
    while (dot > 0 && name->ptr[dot - 1] != '.') {
        dot--;
    }
    if (dot == 0) {
        return false;
    }
    name->len = dot - 1;
    return true;
}

static bool parse_dir_name(struct str name, struct log_dir_found *ret)
{
    *ret = (struct log_dir_found){.name = name};
    ret->is_deleted = take_suffix(&name, "-delete");
    ret->is_future = !ret->is_deleted && take_suffix(&name, "-future");
    ret->is_stray = !ret->is_deleted && !ret->is_future && take_suffix(&name, "-stray");
    size_t dash = name.len;
    while (dash > 0 && name.ptr[dash - 1] != '-') {
        dash--;
    }
    if (dash == 0) {
        return false;
    }
    struct str partition = str_of(name.ptr + dash, name.len - dash);
    ret->topic = str_of(name.ptr, dash - 1);
    return is_topic_name(ret->topic) && partition.len > 0 && partition.ptr[0] >= '0' &&
           partition.ptr[0] <= '9' && str_to_i32(partition, &ret->partition) >= 0;
}

static void scan_one(void *ctx, const char *text)
{
    struct dir_scan *ds = ctx;
    struct log_dir_found found;
    struct log_path path;
    struct fs_stat st;
    if (strlen(text) > TOPIC_MAX + 64 || strcmp(text, METADATA_LOG) == 0) {
        return;
    }
    struct str name = arena_strdup(ds->arena, str_from(text));
    if (!parse_dir_name(name, &found)) {
        return;
    }
    log_path_join(&path, ds->ld->path, text);
    if (fs_stat(ds->ld->env->fs, path.text, &st) < 0 || !st.is_dir) {
        return;
    }
    if (!found.is_deleted && !found.is_future && !found.is_stray) {
        struct plog_open values;
        log_dir_lookup(ds->ld, found.topic, found.partition, &values);
        found.recovery_point = values.recovery_point;
        found.log_start = values.log_start;
        found.high_watermark = values.high_watermark;
    }
    ds->found = mem_grow(ds->found, &ds->cap, ds->count + 1, sizeof(ds->found[0]));
    ds->found[ds->count++] = found;
}

int log_dir_scan(struct log_dir *ld,
                 struct arena *arena,
                 struct log_dir_found **ret,
                 size_t *ret_count)
{
    struct dir_scan ds = {.ld = ld, .arena = arena};
    int err = fs_list(ld->env->fs, ld->path, scan_one, &ds);
    if (err >= 0) {
        *ret = arena_alloc(arena, max_size(ds.count, 1) * sizeof(**ret));
        if (ds.count > 0) {
            memcpy(*ret, ds.found, ds.count * sizeof(**ret));
        }
        *ret_count = ds.count;
    }
    mem_free(ds.found);
    return err;
}

/* --- checkpoints ------------------------------------------------------------------------------ */

static void note_values(struct log_dir *ld, struct plog *pl, int64_t recovery_point)
{
    struct plog_offsets offsets;
    plog_offsets(pl, &offsets);
    int64_t first = plog_first_offset(pl);
    lock_take(&ld->lock);
    /* A log that was deleted meanwhile is forgotten already, and its name may be another's. */
    if (!plog_is_offline(pl)) {
        struct dir_entry *de = make_entry(ld, plog_topic(pl), plog_partition(pl));
        de->recovery_point = recovery_point;
        de->log_start = start_to_note(de, offsets.log_start, first);
        de->high_watermark = offsets.high_watermark;
    }
    lock_give(&ld->lock);
}

int log_dir_checkpoint(struct log_dir *ld, struct plog *const *logs, size_t count)
{
    int64_t *points = mem_array(max_size(count, 1), sizeof(*points));
    int err = 0;
    for (size_t i = 0; i < count; i++) {
        points[i] = -1;
        /* A log that is offline, or has no room for its snapshot, keeps what was known of it. */
        if (plog_is_offline(logs[i])) {
            continue;
        }
        int failed = plog_checkpoint(logs[i], &points[i]);
        if (failed >= 0) {
            note_values(ld, logs[i], points[i]);
            continue;
        }
        points[i] = -1;
        if (plog_is_offline(logs[i]) && !plog_is_marked_deleted(logs[i])) {
            err = failed; /* a sync failed: the directory is the owner's to take offline */
            break;
        }
    }
    if (err >= 0) {
        err = save_checkpoints(ld);
    }
    for (size_t i = 0; i < count && err >= 0; i++) {
        if (points[i] >= 0) {
            plog_checkpointed(logs[i], points[i]);
        }
    }
    mem_free(points);
    return err;
}

static int64_t known_recovery_point(struct log_dir *ld, const struct plog *pl)
{
    struct plog_open values;
    log_dir_lookup(ld, plog_topic(pl), plog_partition(pl), &values);
    return values.recovery_point;
}

int log_dir_close_plog(struct log_dir *ld, struct plog *pl, bool is_clean)
{
    struct str topic = plog_topic(pl);
    cleanup(mem_free_charp) char *topic_text = mem_strndup(topic.ptr, topic.len);
    topic.ptr = topic_text;
    int32_t partition = plog_partition(pl);
    int64_t before = known_recovery_point(ld, pl);
    struct plog_offsets offsets;
    plog_offsets(pl, &offsets);
    if (is_clean && !plog_is_offline(pl)) {
        note_values(ld, pl, offsets.log_end);
    }
    bool was_offline = plog_is_offline(pl);
    int err = plog_close(pl, is_clean);
    lock_take(&ld->lock);
    if (is_clean && (err < 0 || was_offline)) {
        ld->has_failed = true;
        make_entry(ld, topic, partition)->recovery_point = before;
    }
    lock_give(&ld->lock);
    return err;
}

void log_dir_doubt(struct log_dir *ld)
{
    lock_take(&ld->lock);
    ld->is_doubtful = true;
    lock_give(&ld->lock);
}

static int write_clean_marker(struct log_dir *ld, int64_t broker_epoch)
{
    struct log_path path;
    char text[80];
    int n =
        snprintf(text, sizeof(text), "{\"version\":0,\"brokerEpoch\":%" PRId64 "}", broker_epoch);
    log_path_join(&path, ld->path, CLEAN_FILE);
    return fs_replace_file(ld->env->fs, path.text, text, (size_t)n);
}

int log_dir_close(struct log_dir *ld, bool is_clean, int64_t broker_epoch)
{
    int err = 0;
    if (ld == NULL) {
        return 0;
    }
    if (is_clean && !ld->has_failed) {
        err = fs_sync_all(ld->env->fs, ld->path);
        if (err >= 0) {
            err = save_checkpoints(ld);
        }
        if (err >= 0 && !ld->is_doubtful) {
            err = write_clean_marker(ld, broker_epoch);
        }
    }
    log_dir_free(ld);
    return err;
}
