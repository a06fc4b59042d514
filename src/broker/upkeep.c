/*
 * Upkeep of the logs; see upkeep.h. It stands above partitions, directories and the threads that
 * work for them: they know nothing of each other, and it knows all.
 *
 * Kafka: LogManager (cleanupLogs, deleteLogs, checkpointRecoveryOffsets), LogDirFailureChannel.
 */
#include "broker/upkeep.h"

#include "base/err.h"
#include "broker/background.h"
#include "broker/broker.h"
#include "broker/io_thread.h"
#include "broker/log_dirs.h"
#include "broker/metadata.h"
#include "broker/partition.h"
#include "broker/partition_table.h"
#include "config/config.h"
#include "storage/trash.h"

#define RETRY_MS           1000  /* between attempts to open what could not be opened */
#define RETENTION_FIRST_MS 30000 /* as Kafka's log.initial.task.delay.ms */

struct upkeep {
    struct broker *br;
    int64_t retention_interval_ms;   /* constant */
    _Atomic int64_t retention_at_ms; /* machine clock; INT64_MAX: none is due */
    _Atomic int64_t unscanned_bytes; /* since the last checkpoint began */
    _Atomic bool is_checkpointing;   /* checkpoint_job waits or runs: there is one at a time */
    struct job checkpoint_job;
    struct metadata_job retry_job;
    bool has_more;               /* of the retry at hand */
    _Atomic bool is_retrying;    /* retry_job is under way */
    _Atomic int64_t retry_at_ms; /* machine clock; INT64_MAX: nothing is to be tried again */
};

/* ---- a disk that fails ---- */

static void fail_directory(struct broker *br, const struct log_dir *ld, int err)
{
    const struct log_dir_entry *dir = log_dirs_fail(br->log_dirs, ld, err);
    if (dir == NULL) {
        return;
    }
    partition_table_note_offline(br->partitions);
    struct partition **all = NULL;
    size_t count = 0;
    partition_all(br->partitions, &all, &count);
    for (size_t i = 0; i < count; i++) {
        if (all[i]->pl != NULL && all[i]->ld == ld) {
            plog_set_offline(all[i]->pl);
            partition_flushed(all[i], 0, ERR_OFFLINE);
        }
        partition_unref(all[i]);
    }
    mem_free(all);
    struct arena arena = {0};
    if (strcmp(metadata_dir(br, &arena), dir->path) == 0 && br->on_fatal != NULL) {
        br->on_fatal(br, err);
    }
    arena_release(&arena);
}

/* ---- checkpoints ---- */

/* What the last segment of a log in page-cache mode holds is left to the kernel, as Kafka leaves
 * it: a sync of each of many logs would cost more than the scan of their ends. */
static bool wants_checkpoint(const struct partition *p)
{
    return p->pl != NULL && !atomic_load(&p->is_deleted) &&
           (atomic_load_explicit(&p->is_durable, memory_order_relaxed) ||
            plog_wants_checkpoint(p->pl));
}

/* Those whose logs lie in this directory. */
static size_t
logs_of(const struct log_dir *ld, struct partition *const *all, size_t count, struct plog **ret)
{
    size_t here = 0;
    for (size_t i = 0; i < count; i++) {
        if (all[i]->ld == ld && wants_checkpoint(all[i])) {
            ret[here++] = all[i]->pl;
        }
    }
    return here;
}

/* Has one of them gone offline, though its directory has not? ret_err: why. */
static bool has_failed(struct plog *const *logs, size_t count, int *ret_err)
{
    for (size_t i = 0; i < count; i++) {
        if (plog_is_offline(logs[i]) && !plog_is_marked_deleted(logs[i])) {
            *ret_err = plog_offline_cause(logs[i]);
            return true;
        }
    }
    return false;
}

/* Recovery points, log starts, high watermarks of everything that changed. Blocking. */
static void checkpoint(struct broker *br)
{
    struct log_dir_entry *dirs = NULL;
    size_t dirs_count = 0;
    log_dirs_entries(br->log_dirs, &dirs, &dirs_count);
    struct partition **all = NULL;
    size_t count = 0;
    partition_all(br->partitions, &all, &count);
    struct plog **logs = mem_array(count + 1, sizeof(*logs));
    for (size_t d = 0; d < dirs_count; d++) {
        if (dirs[d].ld == NULL || atomic_load(&dirs[d].is_offline)) {
            continue;
        }
        size_t here = logs_of(dirs[d].ld, all, count, logs);
        int cause;
        int r = log_dir_checkpoint(dirs[d].ld, logs, here);
        if (has_failed(logs, here, &cause)) {
            fail_directory(br, dirs[d].ld, cause);
        } else if (r < 0) {
            LOG_WARN(br->logger, FAC_STORAGE,
                     "checkpoints of %s were not written: %s; a start after a kill scans more",
                     dirs[d].path, err_text(r));
        }
    }
    for (size_t i = 0; i < count; i++) {
        partition_unref(all[i]);
    }
    mem_free(logs);
    mem_free(all);
}

static void note_starts(const struct log_dir_entry *dir, struct upkeep_start *items, size_t count)
{
    struct plog **logs = mem_array(count + 1, sizeof(*logs));
    int64_t *starts = mem_array(count + 1, sizeof(*starts));
    size_t here = 0;
    for (size_t i = 0; i < count; i++) {
        if (items[i].p->ld == dir->ld) {
            logs[here] = items[i].p->pl;
            starts[here++] = items[i].start;
        }
    }
    int r = here == 0                       ? 0
            : atomic_load(&dir->is_offline) ? ERR_OFFLINE
                                            : log_dir_note_starts(dir->ld, logs, starts, here);
    for (size_t i = 0; i < count; i++) {
        if (items[i].p->ld == dir->ld) {
            items[i].err = r;
        }
    }
    mem_free(starts);
    mem_free(logs);
}

void upkeep_note_starts(struct broker *br, struct upkeep_start *items, size_t count)
{
    struct log_dir_entry *dirs = NULL;
    size_t dirs_count = 0;
    log_dirs_entries(br->log_dirs, &dirs, &dirs_count);
    for (size_t d = 0; d < dirs_count && count > 0; d++) {
        if (dirs[d].ld != NULL) {
            note_starts(&dirs[d], items, count);
        }
    }
}

static void checkpoint_if_due(struct upkeep *up)
{
    if (atomic_load(&up->unscanned_bytes) >= UPKEEP_CHECKPOINT_BYTES &&
        !atomic_exchange(&up->is_checkpointing, true)) {
        background_post(up->br->background, &up->checkpoint_job);
    }
}

static void run_checkpoint(struct job *j)
{
    struct upkeep *up = container_of(j, struct upkeep, checkpoint_job);
    atomic_store(&up->unscanned_bytes, 0);
    if (up->br->log_dirs != NULL) { /* else they are closed, and that has written them */
        checkpoint(up->br);
    }
    atomic_store(&up->is_checkpointing, false);
    checkpoint_if_due(up); /* what was flushed meanwhile had to wait */
}

static void count_written(struct upkeep *up, struct partition *p)
{
    int64_t bytes = plog_uncheckpointed_bytes(p->pl);
    int64_t before = atomic_exchange_explicit(&p->uncheckpointed, bytes, memory_order_relaxed);
    int64_t grown = bytes > before ? bytes - before : 0;
    atomic_fetch_add(&up->unscanned_bytes, grown);
    checkpoint_if_due(up);
}

/* ---- after a flush ---- */

void upkeep_flushed(void *ctx, struct plog *pl, int64_t flushed, int err)
{
    struct upkeep *up = ctx;
    struct partition *p = plog_owner(pl);
    partition_flushed(p, flushed, err);
    if (err < 0) {
        /* A log that is being deleted is offline, under another name: no news of the disk. */
        if (!atomic_load(&p->is_deleted)) {
            fail_directory(up->br, p->ld, err);
        }
        return;
    }
    count_written(up, p);
}

/* ---- retention ---- */

int64_t upkeep_retention_wait(int64_t now_ms, int64_t interval_ms, int64_t earliest_ms)
{
    return earliest_ms == INT64_MAX ? INT64_MAX : max_i64(interval_ms, earliest_ms - now_ms);
}

/* Over all logs; how long until the next one. */
static int64_t apply_retention(struct upkeep *up)
{
    struct broker *br = up->br;
    int64_t earliest_ms = INT64_MAX;
    struct partition **all = NULL;
    size_t count = 0;
    partition_all(br->partitions, &all, &count);
    int64_t now_ms = clock_now_ms(br->clock);
    for (size_t i = 0; i < count; i++) {
        struct partition *p = all[i];
        if (p->pl != NULL && !atomic_load(&p->is_deleted) && !plog_is_offline(p->pl)) {
            int r = plog_apply_retention(p->pl, now_ms);
            if (r < 0) {
                LOG_WARN(br->logger, FAC_STORAGE,
                         "retention of " STR_FMT "-%d failed: %s; tried again at the next pass",
                         STR_ARG(p->topic), p->number, err_text(r));
            } else if (r > 0) {
                LOG_INFO(br->logger, FAC_STORAGE,
                         "retention of " STR_FMT "-%d removed %d segment(s)", STR_ARG(p->topic),
                         p->number, r);
            }
            earliest_ms = min_i64(earliest_ms, plog_next_expiry(p->pl));
        }
        partition_unref(p);
    }
    mem_free(all);
    return upkeep_retention_wait(now_ms, up->retention_interval_ms, earliest_ms);
}

/* The earliest time that anybody asked for counts. */
static void note_retention(struct upkeep *up, int64_t wait_ms)
{
    int64_t now_ms = clock_mono_ms(up->br->clock);
    int64_t at_ms = wait_ms > INT64_MAX - now_ms ? INT64_MAX : now_ms + wait_ms;
    int64_t known_ms = atomic_load(&up->retention_at_ms);
    while (at_ms < known_ms &&
           !atomic_compare_exchange_weak(&up->retention_at_ms, &known_ms, at_ms)) {
    }
}

static void retention_within(struct upkeep *up, int64_t wait_ms)
{
    note_retention(up, wait_ms);
    background_pass_within(up->br->background, wait_ms);
}

/* Any thread, often: rolls of busy logs come here and find a pass already due within the interval.
 * In page-cache mode nothing else asks for a sync of what a log has left behind; Kafka syncs a
 * segment when the next one begins, and its recovery point follows. */
static void on_grown(void *ctx, struct plog *pl)
{
    struct upkeep *up = ctx;
    struct partition *p = plog_owner(pl);
    retention_within(up, up->retention_interval_ms);
    if (p != NULL && !config_is_ephemeral(up->br->config)) {
        count_written(up, p);
    }
}

void upkeep_retention_soon(struct upkeep *up)
{
    retention_within(up, RETENTION_FIRST_MS);
}

/* A config has changed: what Kafka's next pass would see, and not much later than the first one. */
static void on_retention(struct broker *br)
{
    struct upkeep *up = br->upkeep;
    retention_within(up, min_i64(up->retention_interval_ms, RETENTION_FIRST_MS));
}

/* ---- partitions that wait for room or descriptors ---- */

static void on_offline(struct broker *br)
{
    struct upkeep *up = br->upkeep;
    atomic_store(&up->retry_at_ms, clock_mono_ms(br->clock) + RETRY_MS);
    background_pass_within(br->background, RETRY_MS);
}

/* The metadata thread: whoever makes, alters and deletes partitions. It decides nothing. */
static void retry(struct metadata_job *mj, const struct image *im, struct meta_records *records)
{
    struct upkeep *up = container_of(mj, struct upkeep, retry_job);
    (void)im; /* it may be ahead of the partitions */
    (void)records;
    struct image *published = metadata_image(up->br->metadata);
    up->has_more = partition_table_retry(up->br->partitions, published);
    image_unref(published);
}

static void done_retry(struct metadata_job *mj, int err)
{
    struct upkeep *up = container_of(mj, struct upkeep, retry_job);
    bool has_more = err >= 0 && up->has_more;
    atomic_store(&up->is_retrying, false);
    if (has_more) {
        on_offline(up->br);
    } else if (atomic_load(&up->retry_at_ms) != INT64_MAX) { /* asked for meanwhile */
        background_pass_within(up->br->background, RETRY_MS);
    }
}

/* When to look again; done_retry says so while one is under way. */
static int64_t retry_when_due(struct upkeep *up, int64_t now_ms)
{
    int64_t at_ms = atomic_load(&up->retry_at_ms);
    if (at_ms > now_ms || atomic_exchange(&up->is_retrying, true)) {
        return atomic_load(&up->is_retrying) ? INT64_MAX : at_ms;
    }
    atomic_store(&up->retry_at_ms, INT64_MAX);
    up->retry_job.loop = up->br->ios[0]->loop;
    metadata_submit(up->br->metadata, &up->retry_job);
    return INT64_MAX;
}

/* ---- deleted files ---- */

/* Any thread: something waits for its removal, earlier than what did before. */
static void on_trash(void *ctx)
{
    struct upkeep *up = ctx;
    if (up->br->background != NULL) {
        background_pass_within(up->br->background, trash_wait_ms(up->br->env->trash));
    }
}

static void on_not_removed(void *ctx, const char *path, int err)
{
    struct broker *br = ctx;
    LOG_WARN(br->logger, FAC_STORAGE,
             "%s was deleted and cannot be removed: %s; it is tried again at the next start", path,
             err_text(err));
}

int64_t upkeep_pass(void *ctx)
{
    struct upkeep *up = ctx;
    struct broker *br = up->br;
    int64_t now_ms = clock_mono_ms(br->clock);
    if (atomic_load(&up->retention_at_ms) <= now_ms) {
        /* Forgotten before the logs are looked at: what happens meanwhile is noted again. */
        atomic_store(&up->retention_at_ms, INT64_MAX);
        note_retention(up, apply_retention(up));
    }
    int64_t retry_at_ms = retry_when_due(up, now_ms);
    trash_empty(br->env->trash, on_not_removed, br);
    int64_t at_ms = min_i64(atomic_load(&up->retention_at_ms), retry_at_ms);
    int64_t wait_ms = at_ms == INT64_MAX ? INT64_MAX : max_i64(at_ms - now_ms, 0);
    return min_i64(wait_ms, trash_wait_ms(br->env->trash));
}

struct upkeep *upkeep_new(struct broker *br)
{
    struct upkeep *up = mem_zalloc(sizeof(*up));
    up->br = br;
    up->retention_interval_ms = config_get_int(br->config, "log.retention.check.interval.ms");
    up->checkpoint_job.run = run_checkpoint;
    up->retry_job.decide = retry;
    up->retry_job.done = done_retry;
    atomic_init(&up->retention_at_ms, INT64_MAX);
    atomic_init(&up->retry_at_ms, INT64_MAX);
    br->on_offline = on_offline;
    br->env->on_grown = on_grown;
    br->env->on_grown_ctx = up;
    trash_listen(br->env->trash, on_trash, up);
    br->on_retention = on_retention;
    return up;
}

struct upkeep *upkeep_free(struct upkeep *up)
{
    if (up == NULL) {
        return NULL;
    }
    up->br->env->on_grown = NULL;
    trash_listen(up->br->env->trash, NULL, NULL);
    up->br->on_retention = NULL;
    up->br->on_offline = NULL;
    mem_free(up);
    return NULL;
}
