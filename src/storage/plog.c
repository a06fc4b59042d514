/*
 * A partition's log: its life and the small questions. Kafka's UnifiedLog.
 *
 * Two ends. `log_end` counts what has an offset, `written` what the file system has, `flushed` what
 * survives a power cut; the owner sets the high watermark, which in the durable mode follows
 * `flushed`. Readers never see beyond `written`.
 *
 * The last stable offset is the first offset of the earliest transaction that is open, or that has
 * ended but whose marker is not yet below the high watermark (its end may still be taken back).
 */
#include "storage/plog.h"

#include "base/base.h"
#include "base/err.h"
#include "storage/plog_impl.h"

enum {
    LONGEST_FILE_NAME = 64, /* of a file in the log's directory, with its suffixes */
    UUID_HEX = 32,
    NAME_MAX_BYTES = 255,
};

struct segment_io plog_io(const struct plog *pl, bool no_wait)
{
    return (struct segment_io){
        .fs = pl->env->fs,
        .fds = pl->env->fds,
        .dir = plog_path(pl),
        .trash = pl->env->trash,
        .delete_delay_ms = pl->config.file_delete_delay_ms,
        .index_interval = pl->config.index_interval_bytes,
        .no_wait = no_wait,
    };
}

int plog_make_path(struct plog *pl, const struct plog_open *how)
{
    size_t dir_len = strlen(how->dir);
    size_t cap = dir_len + how->topic.len + 16;
    if (how->topic.len == 0 || how->topic.len > NAME_MAX_BYTES || how->partition < 0 ||
        memchr(how->topic.ptr, '/', how->topic.len) != NULL ||
        cap + LONGEST_FILE_NAME + NAME_MAX_BYTES > LOG_PATH_MAX) {
        return ERR_BAD_ARGUMENT;
    }
    pl->path = mem_alloc(cap);
    int n = snprintf(pl->path, cap, "%s/" STR_FMT "-%" PRId32, how->dir, STR_ARG(how->topic),
                     how->partition);
    check(n > 0 && (size_t)n < cap);
    pl->dir_len = dir_len;
    pl->topic = str_of(pl->path + dir_len + 1, how->topic.len);
    pl->partition = how->partition;
    return 0;
}

struct plog *plog_release(struct plog *pl)
{
    if (pl == NULL) {
        return NULL;
    }
    check(pl->staged_count == 0 && !list_is_linked(&pl->flush_link));
    for (size_t i = 0; i < pl->segments_count; i++) {
        segment_free(pl->segments[i], pl->env->fds);
    }
    mem_free(pl->segments);
    mem_free(pl->staged);
    mem_free(pl->undos);
    mem_free(pl->snapshots);
    producer_state_release(&pl->producers);
    epoch_cache_release(&pl->epochs);
    mem_free(pl->path);
    mem_free(pl->moved_path);
    cond_release(&pl->settled);
    lock_release(&pl->rules_lock);
    lock_release(&pl->lock);
    mem_free(pl);
    return NULL;
}

/* --- constants -------------------------------------------------------------------------------- */

struct str plog_topic(const struct plog *pl)
{
    return pl->topic;
}

int32_t plog_partition(const struct plog *pl)
{
    return pl->partition;
}

const struct uuid *plog_topic_id(const struct plog *pl)
{
    return &pl->topic_id;
}

const char *plog_path(const struct plog *pl)
{
    /* Acquire: the text was written before. */
    const char *moved = atomic_load_explicit(&pl->moved_path, memory_order_acquire);
    return moved != NULL ? moved : pl->path;
}

void plog_set_owner(struct plog *pl, void *owner)
{
    pl->owner = owner;
}

void *plog_owner(struct plog *pl)
{
    return pl->owner;
}

/* --- state ------------------------------------------------------------------------------------ */

void plog_set_config(struct plog *pl, const struct plog_config *config)
{
    lock_take(&pl->lock);
    lock_take(&pl->rules_lock);
    pl->config = *config;
    lock_give(&pl->rules_lock);
    lock_give(&pl->lock);
}

void plog_rules(struct plog *pl, struct validate_rules *ret)
{
    lock_take(&pl->rules_lock); /* whoever validates does not wait for whoever writes */
    *ret = pl->config.rules;
    lock_give(&pl->rules_lock);
}

bool plog_is_offline(struct plog *pl)
{
    return atomic_load_explicit(&pl->is_offline, memory_order_acquire);
}

void plog_set_offline(struct plog *pl)
{
    lock_take(&pl->lock);
    plog_go_offline_locked(pl, ERR_OFFLINE);
    lock_give(&pl->lock);
}

int plog_offline_cause(struct plog *pl)
{
    lock_take(&pl->lock);
    int err = pl->offline_cause;
    lock_give(&pl->lock);
    return err;
}

bool plog_is_marked_deleted(struct plog *pl)
{
    lock_take(&pl->lock);
    bool is_marked = pl->moved_path != NULL;
    lock_give(&pl->lock);
    return is_marked;
}

void plog_go_offline_locked(struct plog *pl, int err)
{
    if (!pl->is_offline) {
        pl->offline_cause = err;
        pl->is_offline = true;
    }
}

int64_t plog_last_stable_locked(const struct plog *pl)
{
    int64_t unstable = max_i64(producer_state_first_unstable(&pl->producers), pl->log_start);
    return min_i64(unstable, pl->high_watermark);
}

void plog_offsets_locked(const struct plog *pl, struct plog_offsets *ret)
{
    *ret = (struct plog_offsets){
        .log_start = pl->log_start,
        .log_end = pl->log_end,
        .written = pl->written,
        .flushed = pl->flushed,
        .high_watermark = pl->high_watermark,
        .last_stable = plog_last_stable_locked(pl),
    };
}

void plog_offsets(struct plog *pl, struct plog_offsets *ret)
{
    lock_take(&pl->lock);
    plog_offsets_locked(pl, ret);
    lock_give(&pl->lock);
}

static bool raise_high_watermark(struct plog *pl, int64_t offset)
{
    offset = min_i64(offset, pl->log_end);
    if (offset <= pl->high_watermark) {
        return false;
    }
    pl->high_watermark = offset;
    if (pl->producers.unreplicated.count > 0) {
        producer_state_replicated(&pl->producers, offset);
    }
    return true;
}

bool plog_advance_high_watermark(struct plog *pl, int64_t offset)
{
    lock_take(&pl->lock);
    bool has_moved = raise_high_watermark(pl, offset);
    lock_give(&pl->lock);
    return has_moved;
}

int plog_become_leader(struct plog *pl, int32_t leader_epoch)
{
    lock_take(&pl->lock);
    int err = pl->is_offline ? ERR_OFFLINE : 0;
    if (err == 0 && epoch_cache_assign(&pl->epochs, leader_epoch, pl->log_end)) {
        pl->is_changed = true;
    }
    lock_give(&pl->lock);
    return err;
}

int64_t plog_size_bytes(struct plog *pl)
{
    int64_t size = 0;
    lock_take(&pl->lock);
    for (size_t i = 0; i < pl->segments_count; i++) {
        size += pl->segments[i]->size;
    }
    lock_give(&pl->lock);
    return size;
}

int64_t plog_first_offset(struct plog *pl)
{
    lock_take(&pl->lock);
    int64_t offset = min_i64(pl->segments[0]->base_offset, pl->stale_base);
    lock_give(&pl->lock);
    return offset;
}

bool plog_has_staged(struct plog *pl)
{
    lock_take(&pl->lock);
    bool has_staged = pl->staged_count > 0 || pl->write_error < 0;
    lock_give(&pl->lock);
    return has_staged;
}

int64_t plog_staged_left(struct plog *pl)
{
    lock_take(&pl->lock);
    int64_t left = pl->staged_bytes - pl->ahead_bytes;
    lock_give(&pl->lock);
    return left;
}

bool plog_wants_checkpoint(struct plog *pl)
{
    lock_take(&pl->lock);
    bool wants = pl->uncheckpointed_bytes > 0 || pl->flushed < plog_active(pl)->base_offset;
    lock_give(&pl->lock);
    return wants;
}

int64_t plog_uncheckpointed_bytes(struct plog *pl)
{
    lock_take(&pl->lock);
    int64_t bytes = pl->uncheckpointed_bytes + pl->unflushed_bytes;
    lock_give(&pl->lock);
    return bytes;
}

void plog_producers(struct plog *pl,
                    struct arena *arena,
                    struct plog_producer **ret,
                    int32_t *ret_count)
{
    lock_take(&pl->lock);
    size_t count = pl->producers.map.count;
    struct plog_producer *producers = arena_alloc(arena, max_size(count, 1) * sizeof(*producers));
    size_t i = 0;
    hmap_foreach (node, &pl->producers.map) {
        const struct producer_entry *pe = container_of(node, struct producer_entry, node);
        producers[i++] = (struct plog_producer){
            .producer_id = pe->producer_id,
            .last_timestamp = pe->last_timestamp,
            .current_txn_start = pe->txn_first_offset,
            .last_sequence =
                pe->batches_count > 0 ? pe->batches[pe->batches_count - 1].last_sequence : -1,
            .coordinator_epoch = pe->coordinator_epoch,
            .producer_epoch = pe->producer_epoch,
        };
    }
    lock_give(&pl->lock);
    *ret = producers;
    *ret_count = to_i32(to_i64(i));
}

/* --- places ----------------------------------------------------------------------------------- */

int64_t plog_segment_index(const struct plog *pl, int64_t offset)
{
    size_t low = 0;
    size_t high = pl->segments_count;
    if (pl->segments[high - 1]->base_offset <= offset) {
        return to_i64(high) - 1; /* the road of tailing readers */
    }
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (pl->segments[mid]->base_offset <= offset) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return to_i64(low) - 1;
}

void plog_add_write_mark(struct plog *pl, int64_t offset, int64_t segment_base, int64_t position)
{
    pl->marks[pl->write_marks++ % PLOG_WRITE_MARKS] = (struct plog_mark){
        .offset = offset,
        .segment_base = segment_base,
        .position = position,
    };
}

void plog_add_read_mark(struct plog *pl, int64_t offset, int64_t segment_base, int64_t position)
{
    for (size_t i = 0; i < PLOG_MARKS; i++) {
        struct plog_mark *m = &pl->marks[i];
        if (m->offset == offset && m->segment_base == segment_base) {
            return;
        }
    }
    pl->marks[PLOG_WRITE_MARKS + pl->read_marks++ % PLOG_READ_MARKS] = (struct plog_mark){
        .offset = offset,
        .segment_base = segment_base,
        .position = position,
    };
}

/* --- deletion --------------------------------------------------------------------------------- */

/* LocalLog.logDeleteDirName: the topic is cut so that the name fits. */
int plog_mark_deleted(struct plog *pl, char *ret_path, size_t cap)
{
    struct uuid id;
    char hex[UUID_HEX + 1];
    char suffix[80];
    clock_random(pl->env->clock, id.bytes, sizeof(id.bytes));
    for (size_t i = 0; i < sizeof(id.bytes); i++) {
        snprintf(hex + 2 * i, 3, "%02x", (unsigned)id.bytes[i]);
    }
    int suffix_len = snprintf(suffix, sizeof(suffix), "-%" PRId32 ".%s-delete", pl->partition, hex);
    check(suffix_len > 0 && (size_t)suffix_len < sizeof(suffix));
    size_t topic_len = min_size(pl->topic.len, NAME_MAX_BYTES - (size_t)suffix_len);
    size_t path_cap = pl->dir_len + 1 + topic_len + (size_t)suffix_len + 1;
    if (path_cap > cap) {
        return -ENAMETOOLONG;
    }
    char *path = mem_alloc(path_cap);
    snprintf(path, path_cap, "%.*s/" STR_FMT "%s", (int)pl->dir_len, pl->path,
             STR_ARG(str_of(pl->topic.ptr, topic_len)), suffix);
    lock_take(&pl->lock);
    /* A checkpoint under way names its files by the directory: behind this they would be files of a
     * namesake. */
    while (pl->is_placing) {
        cond_wait(&pl->settled, &pl->lock);
    }
    int err = pl->moved_path != NULL ? ERR_CLOSED : fs_rename(pl->env->fs, pl->path, path);
    if (err >= 0) {
        atomic_store_explicit(&pl->moved_path, path, memory_order_release);
        plog_go_offline_locked(pl, ERR_OFFLINE);
        memcpy(ret_path, path, path_cap);
    }
    lock_give(&pl->lock);
    if (err < 0) {
        mem_free(path);
    }
    return err;
}
