/*
 * The table of partitions and their life: made, reconfigured and removed as the metadata image
 * says. Kafka: ReplicaManager.applyDelta. Appends and waits are in partition.c.
 */
#include "broker/partition_table.h"

#include "base/err.h"
#include "broker/background.h"
#include "broker/broker.h"
#include "broker/dir_assignment.h"
#include "broker/group_commit.h"
#include "broker/log_dirs.h"
#include "broker/metadata.h"
#include "broker/partition.h"
#include "config/config_topic.h"
#include "storage/flusher.h"
#include "storage/plog.h"
#include "storage/trash.h"

struct partition_table {
    struct broker *br;
    struct lock lock; /* LOCK_BROKER */
    struct hmap map;
    struct dir_assignment *dirs; /* owned; of whoever applies images */
    bool has_stale_starts; /* of whoever applies images: log starts of deleted partitions are still
                              on the disk */
    size_t retried;        /* of whoever applies images: partitions that are to be tried again */
    size_t begun_empty; /* of whoever applies images: whose records were expected, in this image */
    _Atomic bool has_offline;
    int64_t made_ms; /* machine clock; with the next two for a line of the log at the start */
    size_t scanned_logs;
    int64_t scanned_bytes;
};

#define RETRY_FAILURES_MAX    8 /* of one directory in one round: what is full is full for all */
#define BEGUN_EMPTY_LINES_MAX 20

struct partition_table *partition_table_new(struct broker *br)
{
    struct partition_table *pt = mem_zalloc(sizeof(*pt));
    pt->br = br;
    uint64_t seed = 0;
    clock_random(br->clock, &seed, sizeof(seed));
    lock_init(&pt->lock, LOCK_BROKER);
    hmap_init(&pt->map, seed);
    pt->dirs = dir_assignment_new(br);
    pt->made_ms = clock_mono_ms(br->clock);
    return pt;
}

static uint64_t
partition_hash(const struct partition_table *pt, const struct uuid *topic_id, int32_t number)
{
    return hash_bytes(topic_id->bytes, sizeof(topic_id->bytes), pt->map.seed + (uint32_t)number);
}

static struct partition *
find_locked(struct partition_table *pt, const struct uuid *topic_id, int32_t number)
{
    uint64_t hash = partition_hash(pt, topic_id, number);
    for (struct hmap_node *n = hmap_first(&pt->map, hash); n != NULL; n = hmap_next(n)) {
        struct partition *p = container_of(n, struct partition, node);
        if (p->number == number && uuid_equal(&p->topic_id, topic_id)) {
            return p;
        }
    }
    return NULL;
}

struct partition *
partition_find(struct partition_table *pt, const struct uuid *topic_id, int32_t number)
{
    lock_take(&pt->lock);
    struct partition *p = partition_ref(find_locked(pt, topic_id, number));
    lock_give(&pt->lock);
    return p;
}

void partition_all(struct partition_table *pt, struct partition ***ret, size_t *ret_count)
{
    lock_take(&pt->lock);
    struct partition **all = mem_array(pt->map.count + 1, sizeof(struct partition *));
    size_t count = 0;
    hmap_foreach (n, &pt->map) {
        all[count++] = partition_ref(container_of(n, struct partition, node));
    }
    lock_give(&pt->lock);
    *ret = all;
    *ret_count = count;
}

struct partition_table *partition_table_free(struct partition_table *pt)
{
    if (pt == NULL) {
        return NULL;
    }
    hmap_foreach (n, &pt->map) {
        struct partition *p = container_of(n, struct partition, node);
        hmap_remove(&pt->map, n);
        partition_unref(p);
    }
    hmap_release(&pt->map);
    dir_assignment_free(pt->dirs);
    lock_release(&pt->lock);
    mem_free(pt);
    return NULL;
}

static void on_settled(void *ctx, struct plog *pl, int64_t flushed, int err)
{
    (void)ctx;
    partition_flushed(plog_owner(pl), flushed, err);
}

/* At the end nobody waits any more. */
static void on_closing(void *ctx, struct plog *pl, int64_t flushed, int err)
{
    (void)ctx;
    if (err >= 0) {
        IGNORE(plog_advance_high_watermark(pl, flushed));
    }
}

/* One round over what is written and not known to be stable. */
static void settle(struct partition_table *pt, bool is_end)
{
    struct flusher *fl = flusher_new(pt->br->env, is_end ? on_closing : on_settled, NULL);
    hmap_foreach (n, &pt->map) {
        struct partition *p = container_of(n, struct partition, node);
        struct plog_offsets offsets;
        if (p->pl == NULL) {
            continue;
        }
        plog_offsets(p->pl, &offsets);
        if (offsets.written > offsets.flushed && (is_end || atomic_load(&p->is_durable))) {
            IGNORE(flusher_add(fl, p->pl)); /* nobody sleeps */
        }
    }
    while (flusher_round(fl) > 0) {
    }
    flusher_free(fl);
}

static void ask_for_retry(struct partition_table *pt)
{
    if (pt->retried > 0 && pt->br->on_offline != NULL) {
        pt->br->on_offline(pt->br);
    }
}

static void tell_of_recovery(const struct partition_table *pt)
{
    if (pt->scanned_logs > 0) {
        LOG_INFO(pt->br->logger, FAC_STORAGE,
                 "the last stop was not a clean one: %zu of %zu logs were checked from their "
                 "recovery points on, %" PRId64 " bytes, in %" PRId64 " ms",
                 pt->scanned_logs, pt->map.count, pt->scanned_bytes,
                 clock_mono_ms(pt->br->clock) - pt->made_ms);
    }
}

void partition_table_settle(struct partition_table *pt)
{
    tell_of_recovery(pt);
    settle(pt, false);
    ask_for_retry(pt);
    /* Of the first image, which came before the metadata thread. */
    struct image *im = metadata_image(pt->br->metadata);
    dir_assignment_cordon(pt->dirs, im);
    image_unref(im);
    dir_assignment_send(pt->dirs);
}

/* A clean stop syncs the logs in one round; what closing them writes beside them, and the
 * checkpoints, are log_dirs_close's to make stable, once for each directory. */
void partition_table_close(struct partition_table *pt, bool is_clean)
{
    struct broker *br = pt->br;
    if (is_clean) {
        settle(pt, true);
    }
    hmap_foreach (n, &pt->map) {
        struct partition *p = container_of(n, struct partition, node);
        if (p->pl == NULL) {
            if (p->ld != NULL) {
                log_dir_doubt(p->ld);
                p->ld = NULL;
            }
            continue;
        }
        group_commit_forget(br->group_commit, p->pl);
        int r = log_dir_close_plog(p->ld, p->pl, is_clean);
        if (r < 0) {
            br->has_failed_stop = true;
            LOG_ERROR(br->logger, FAC_STORAGE,
                      "partition " STR_FMT "-%d was not closed cleanly: %s", STR_ARG(p->topic),
                      p->number, err_text(r));
        }
        p->pl = NULL;
        p->ld = NULL; /* its owner closes it next */
    }
}

/* What one pass over an image needs: the defaults of topics are worked out once, for many of them.
 */
struct apply {
    struct partition_table *pt;
    const struct image *after;
    struct topic_effective defaults;
    bool has_defaults;
};

static const struct topic_effective *defaults_of(struct apply *a)
{
    if (!a->has_defaults) {
        config_topic_defaults(a->pt->br->config, a->after, &a->defaults);
        a->has_defaults = true;
    }
    return &a->defaults;
}

static void topic_config(struct apply *a, struct str topic, struct topic_effective *ret)
{
    const struct image_config *own = NULL;
    size_t count = 0;
    image_configs(a->after, CONFIG_RESOURCE_TOPIC, topic, &own, &count);
    *ret = *defaults_of(a);
    config_topic_override(own, count, ret);
}

static void apply_config(struct partition *p, const struct topic_effective *ct)
{
    if (p->pl != NULL) {
        plog_set_config(p->pl, &ct->plog);
    }
    p->min_insync_replicas = (int32_t)ct->min_insync_replicas;
    /* One record between flushes is every record flushed before its ack. */
    atomic_store_explicit(&p->is_durable, ct->is_durable || ct->flush_messages <= 1,
                          memory_order_relaxed);
    atomic_store_explicit(&p->flush_messages, ct->flush_messages, memory_order_relaxed);
    atomic_store_explicit(&p->flush_ms, ct->flush_ms, memory_order_relaxed);
    atomic_store_explicit(&p->is_compacted_only,
                          ct->is_compact_policy && !ct->plog.is_delete_policy,
                          memory_order_relaxed);
}

static void
report_recovery(struct partition_table *pt, struct partition *p, const struct plog_recovery *rec)
{
    pt->scanned_logs += rec->scanned_bytes > 0;
    pt->scanned_bytes += rec->scanned_bytes;
    if (rec->below_start_bytes > 0) {
        struct plog_offsets offsets;
        plog_offsets(p->pl, &offsets);
        LOG_WARN(p->br->logger, FAC_STORAGE,
                 "partition " STR_FMT "-%d ended below its log start %" PRId64
                 " and begins there anew: removed_bytes=%" PRId64,
                 STR_ARG(p->topic), p->number, offsets.log_start, rec->below_start_bytes);
    }
    bool has_rebuilt = rec->rebuilt_index || rec->rebuilt_producer_state || rec->rebuilt_epochs ||
                       rec->rebuilt_metadata_file;
    if (rec->torn_bytes > 0 || rec->holes > 0 || has_rebuilt) {
        LOG_WARN(p->br->logger, FAC_STORAGE,
                 "recovered partition=" STR_FMT "-%d scanned_bytes=%" PRId64
                 " torn_tail_bytes=%" PRId64 " damaged_places=%" PRId64 "%s%s%s%s%s",
                 STR_ARG(p->topic), p->number, rec->scanned_bytes, rec->torn_bytes, rec->holes,
                 has_rebuilt ? " rebuilt:" : "", rec->rebuilt_index ? " index" : "",
                 rec->rebuilt_producer_state ? " producer-state" : "",
                 rec->rebuilt_epochs ? " leader-epoch-checkpoint" : "",
                 rec->rebuilt_metadata_file ? " partition.metadata" : "");
    }
}

/* Checkpointed values are kept by name: those of a deleted namesake must not become ours. */
static void save_stale_starts(struct partition_table *pt)
{
    if (pt->has_stale_starts) {
        pt->has_stale_starts = false;
        log_dirs_save_starts(pt->br->log_dirs);
    }
}

static int open_files(struct partition_table *pt,
                      struct partition *p,
                      const struct topic_effective *ct,
                      const struct log_dir_entry *dir,
                      unsigned flags)
{
    struct plog_open how = {0};
    if (p->had_files) {
        log_dir_lookup(dir->ld, p->topic, p->number, &how);
    } else {
        pt->has_stale_starts |= log_dir_forget(dir->ld, p->topic, p->number);
        save_stale_starts(pt);
    }
    how.dir = dir->path;
    how.topic = p->topic;
    how.partition = p->number;
    how.topic_id = p->topic_id;
    how.config = &ct->plog;
    how.flags = PLOG_CREATE | flags;
    struct plog_recovery rec = {0};
    int r = plog_open(p->br->env, &how, &rec, &p->pl);
    if (r >= 0) {
        report_recovery(pt, p, &rec);
        plog_set_owner(p->pl, p);
    } else {
        p->pl = NULL;
    }
    return r;
}

static void stay_offline(struct partition_table *pt,
                         struct partition *p,
                         const struct log_dir_entry *dir,
                         int err)
{
    bool is_passing = err_is_passing(err);
    pt->retried += is_passing;
    pt->retried -= p->is_retried;
    p->is_retried = is_passing;
    LOG_ERROR(p->br->logger, FAC_STORAGE,
              "partition " STR_FMT "-%d is offline: its files in %s cannot be used: %s%s",
              STR_ARG(p->topic), p->number, dir->path, err_text(err),
              is_passing ? "; tried again until they can" : "");
}

/* At a start files are not found that should be there. As in Kafka the partition begins empty; but
 * who has lost a mount sees it here, while the old directory can still be given back. */
static void report_missing(struct partition_table *pt,
                           const struct partition *p,
                           const struct log_dir_entry *dir,
                           const struct uuid *wanted)
{
    struct plog_open known = {0};
    log_dir_lookup(dir->ld, p->topic, p->number, &known);
    int64_t offset = max_i64(known.recovery_point, known.high_watermark);
    bool is_elsewhere = wanted != NULL && image_directory_reserved(wanted) < 0 &&
                        !uuid_equal(wanted, &dir->directory_id);
    if ((!is_elsewhere && offset == 0) || pt->begun_empty++ >= BEGUN_EMPTY_LINES_MAX) {
        return;
    }
    if (is_elsewhere) {
        char id[UUID_TEXT_SIZE];
        uuid_print(wanted, id);
        LOG_ERROR(p->br->logger, FAC_STORAGE,
                  "partition " STR_FMT "-%d begins empty in %s: its files lie in the log directory "
                  "with directory.id=%s, which is not among log.dirs. To have its records, stop, "
                  "move %s/" STR_FMT "-%d away, and start with that directory in log.dirs",
                  STR_ARG(p->topic), p->number, dir->path, id, dir->path, STR_ARG(p->topic),
                  p->number);
    } else {
        LOG_ERROR(p->br->logger, FAC_STORAGE,
                  "partition " STR_FMT "-%d begins empty: %s/" STR_FMT "-%d is missing, and the "
                  "checkpoints beside it know the partition up to offset %" PRId64
                  ". To have its records, stop, and give that directory back in the place of the "
                  "new one",
                  STR_ARG(p->topic), p->number, dir->path, STR_ARG(p->topic), p->number, offset);
    }
}

static void report_more_missing(struct partition_table *pt)
{
    if (pt->begun_empty > BEGUN_EMPTY_LINES_MAX) {
        LOG_ERROR(pt->br->logger, FAC_STORAGE, "%zu more partitions begin empty like these",
                  pt->begun_empty - BEGUN_EMPTY_LINES_MAX);
    }
    pt->begun_empty = 0;
}

/* Opens or makes the files. A partition whose files cannot be read stays, offline; the others
 * serve. */
static void open_log(struct partition_table *pt,
                     struct partition *p,
                     const struct topic_effective *ct,
                     const struct image_partition *ip)
{
    struct broker *br = p->br;
    int32_t slot = image_slot(ip->replicas, ip->replicas_count, br->node_id);
    const struct uuid *wanted = ip->directories == NULL ? NULL : &ip->directories[slot];
    struct log_dir_entry *dir =
        log_dirs_find(br->log_dirs, p->topic, p->number, wanted, &p->had_files);
    if (dir == NULL) {
        LOG_ERROR(br->logger, FAC_BROKER,
                  "partition " STR_FMT "-%d is offline: the log directory that holds it is not "
                  "usable",
                  STR_ARG(p->topic), p->number);
        return;
    }
    p->ld = dir->ld;
    if (!p->had_files && br->metadata == NULL) { /* of the first image: it is not a new topic's */
        report_missing(pt, p, dir, wanted);
    }
    unsigned flags = log_dir_was_clean(dir->ld) ? PLOG_CLEAN : 0;
    int r = open_files(pt, p, ct, dir, flags);
    if (r == ERR_MISMATCH && p->had_files) { /* of a namesake that was deleted, as Kafka takes it */
        r = log_dirs_set_aside(br->log_dirs, dir, p->topic, p->number);
        p->had_files = r < 0;
        r = r < 0 ? r : open_files(pt, p, ct, dir, flags);
    }
    if (r < 0) {
        stay_offline(pt, p, dir, r);
    }
    dir->partitions += r >= 0 || p->is_retried;
    if (r >= 0 && wanted != NULL && !uuid_equal(wanted, &dir->directory_id)) {
        dir_assignment_add(pt->dirs, &p->topic_id, p->number, &dir->directory_id);
    }
}

/* We are the only replica, so always the leader: everything that is on the disk is committed. */
static void lead(struct partition *p, int32_t leader_epoch)
{
    if (p->pl == NULL) {
        return;
    }
    int r = plog_become_leader(p->pl, leader_epoch);
    if (r < 0) {
        LOG_ERROR(p->br->logger, FAC_STORAGE,
                  "partition " STR_FMT "-%d: leader epoch %d cannot be stored: %s",
                  STR_ARG(p->topic), p->number, leader_epoch, err_text(r));
    }
    atomic_store_explicit(&p->leader_epoch, leader_epoch, memory_order_relaxed);
}

static struct partition *
new_partition(struct broker *br, const struct uuid *topic_id, struct str topic, int32_t number)
{
    struct partition *p = mem_zalloc(sizeof(*p));
    atomic_init(&p->refs, 1);
    p->br = br;
    p->topic_id = *topic_id;
    p->topic = str_of(mem_strndup(topic.ptr, topic.len), topic.len);
    p->number = number;
    lock_init(&p->append_lock, LOCK_PARTITION);
    list_init(&p->waiting_room);
    lock_init(&p->lock, LOCK_PURGATORY);
    list_init(&p->waiting_appends);
    list_init(&p->waiting_fetches);
    return p;
}

/* Its files are open, or it is offline. */
static void begin_to_serve(struct partition *p,
                           const struct topic_effective *ct,
                           const struct image_partition *ip)
{
    apply_config(p, ct);
    lead(p, ip->leader_epoch);
    if (p->pl != NULL) {
        struct plog_offsets offsets;
        plog_offsets(p->pl, &offsets);
        /* We are the only replica: what is stable is committed; in page-cache mode, what is
         * written. */
        p->high_watermark = atomic_load(&p->is_durable) ? offsets.flushed : offsets.written;
        IGNORE(plog_advance_high_watermark(p->pl, p->high_watermark));
    }
}

static void create_partition(struct partition_table *pt,
                             const struct topic_effective *ct,
                             const struct image_topic *t,
                             int32_t number)
{
    struct partition *p = new_partition(pt->br, &t->id, t->name, number);
    open_log(pt, p, ct, &t->partitions[number]);
    begin_to_serve(p, ct, &t->partitions[number]);
    if (p->pl == NULL) {
        partition_table_note_offline(pt);
    }
    lock_take(&pt->lock);
    hmap_insert(&pt->map, &p->node, partition_hash(pt, &p->topic_id, number));
    lock_give(&pt->lock);
}

struct removal {
    struct job job;
    struct partition *p; /* the table's reference */
    int64_t delay_ms;
    char path[4200]; /* of the renamed directory; "" none */
};

static void run_removal(struct job *j)
{
    struct removal *rm = container_of(j, struct removal, job);
    struct broker *br = rm->p->br;
    partition_unref(rm->p);
    if (rm->path[0] != '\0') {
        trash_put_tree(br->env->trash, rm->path, rm->delay_ms);
        trash_tell(br->env->trash);
    }
    mem_free(rm);
}

static struct log_dir_entry *entry_of(struct broker *br, const struct log_dir *ld)
{
    struct log_dir_entry *dirs = NULL;
    size_t count = 0;
    log_dirs_entries(br->log_dirs, &dirs, &count);
    for (size_t i = 0; i < count; i++) {
        if (dirs[i].ld == ld) {
            return &dirs[i];
        }
    }
    return NULL;
}

/* Deleted before its files could be opened. Of files that were not there before no record was ever
 * acknowledged: what there is of them goes, so that a namesake finds nothing. */
static void give_up_retry(struct partition_table *pt, struct partition *p)
{
    char path[4200];
    const struct log_dir_entry *dir = entry_of(pt->br, p->ld);
    int n =
        snprintf(path, sizeof(path), "%s/" STR_FMT "-%d", dir->path, STR_ARG(p->topic), p->number);
    pt->retried--;
    p->is_retried = false;
    log_dirs_leave(pt->br->log_dirs, p->ld);
    if (!p->had_files && n > 0 && (size_t)n < sizeof(path)) {
        int r = fs_remove_tree(pt->br->fs, path);
        if (r < 0 && r != -ENOENT) {
            LOG_WARN(pt->br->logger, FAC_STORAGE, "directory %s cannot be removed: %s", path,
                     err_text(r));
        }
    }
}

/* Its directory waits under another name for as long as the broker's default says, whatever the
 * topic's own config was: LogManager.deleteLogs. */
static void remove_partition(struct apply *a, const struct uuid *topic_id, int32_t number)
{
    struct partition_table *pt = a->pt;
    lock_take(&pt->lock);
    struct partition *p = find_locked(pt, topic_id, number);
    if (p != NULL) {
        hmap_remove(&pt->map, &p->node);
    }
    lock_give(&pt->lock);
    if (p == NULL) {
        return;
    }
    atomic_store_explicit(&p->is_deleted, true, memory_order_release);
    struct removal *rm = mem_zalloc(sizeof(*rm));
    rm->p = p;
    rm->delay_ms = defaults_of(a)->plog.file_delete_delay_ms;
    if (p->pl != NULL) {
        int r = plog_mark_deleted(p->pl, rm->path, sizeof(rm->path));
        if (r < 0) {
            LOG_WARN(pt->br->logger, FAC_STORAGE,
                     "partition " STR_FMT "-%d: directory cannot be renamed: %s", STR_ARG(p->topic),
                     number, err_text(r));
            rm->path[0] = '\0';
        }
        pt->has_stale_starts |= log_dir_forget(p->ld, p->topic, number);
        log_dirs_leave(pt->br->log_dirs, p->ld);
    } else if (p->is_retried) {
        give_up_retry(pt, p);
    }
    partition_wake_all(p);
    rm->job.run = run_removal;
    background_post(pt->br->background, &rm->job);
}

static bool holds_us(const struct broker *br, const struct image_partition *ip)
{
    return image_slot(ip->replicas, ip->replicas_count, br->node_id) >= 0;
}

static void on_topic_created(void *ctx, const struct image_topic *t)
{
    struct apply *a = ctx;
    struct topic_effective ct;
    topic_config(a, t->name, &ct);
    for (int32_t i = 0; i < t->partitions_count; i++) {
        if (holds_us(a->pt->br, &t->partitions[i])) {
            create_partition(a->pt, &ct, t, i);
        }
    }
}

static void on_topic_deleted(void *ctx, const struct image_topic *t)
{
    struct apply *a = ctx;
    for (int32_t i = 0; i < t->partitions_count; i++) {
        remove_partition(a, &t->id, i);
    }
}

static void
on_topic_changed(void *ctx, const struct image_topic *before, const struct image_topic *after)
{
    struct apply *a = ctx;
    struct topic_effective ct;
    topic_config(a, after->name, &ct);
    for (int32_t i = 0; i < after->partitions_count; i++) {
        bool had = i < before->partitions_count && holds_us(a->pt->br, &before->partitions[i]);
        bool has = holds_us(a->pt->br, &after->partitions[i]);
        if (has && !had) {
            create_partition(a->pt, &ct, after, i);
        } else if (had && !has) {
            remove_partition(a, &after->id, i);
        } else if (has && before->partitions[i].leader_epoch != after->partitions[i].leader_epoch) {
            struct partition *p = partition_find(a->pt, &after->id, i);
            if (p != NULL) {
                lead(p, after->partitions[i].leader_epoch);
            }
            partition_unref(p);
        }
    }
}

/* Logs may lose something earlier than was thought. */
static void retention_soon(struct broker *br)
{
    if (br->on_retention != NULL) {
        br->on_retention(br);
    }
}

/* A broker's configs are the defaults of all topics. */
static void apply_config_to_all(struct apply *a)
{
    struct partition **all = NULL;
    size_t count = 0;
    partition_all(a->pt, &all, &count);
    for (size_t i = 0; i < count; i++) {
        struct topic_effective ct;
        topic_config(a, all[i]->topic, &ct);
        apply_config(all[i], &ct);
        partition_unref(all[i]);
    }
    mem_free(all);
    retention_soon(a->pt->br);
}

static void on_config_changed(void *ctx, enum config_resource_type type, struct str name)
{
    struct apply *a = ctx;
    if (type == CONFIG_RESOURCE_TOPIC) {
        const struct image_topic *t = image_topic_by_name(a->after, name);
        if (t == NULL) {
            return;
        }
        struct topic_effective ct;
        topic_config(a, name, &ct);
        for (int32_t i = 0; i < t->partitions_count; i++) {
            struct partition *p = partition_find(a->pt, &t->id, i);
            if (p != NULL) {
                apply_config(p, &ct);
            }
            partition_unref(p);
        }
        retention_soon(a->pt->br);
    } else if (type == CONFIG_RESOURCE_BROKER) {
        if (a->pt->br->on_configs != NULL) {
            a->pt->br->on_configs(a->pt->br, a->after);
        }
        dir_assignment_cordon(a->pt->dirs, a->after);
        apply_config_to_all(a);
    }
}

/* ---- what is offline ---- */

bool partition_table_has_offline(const struct partition_table *pt)
{
    /* Relaxed: a hint to look; who missed it sees it the next time. */
    return atomic_load_explicit(&pt->has_offline, memory_order_relaxed);
}

void partition_table_note_offline(struct partition_table *pt)
{
    atomic_store_explicit(&pt->has_offline, true, memory_order_relaxed);
}

static bool is_offline(const struct partition *p)
{
    return p->pl == NULL ||
           (!atomic_load_explicit(&p->is_deleted, memory_order_relaxed) && plog_is_offline(p->pl));
}

bool partition_is_offline(struct partition_table *pt, const struct uuid *topic_id, int32_t number)
{
    struct partition *p = partition_find(pt, topic_id, number);
    bool is = p != NULL && is_offline(p);
    partition_unref(p);
    return is;
}

/* Whoever finds the partition from now on finds the open one. */
static void replace(struct partition_table *pt, struct partition *p, struct partition *open)
{
    lock_take(&pt->lock);
    hmap_remove(&pt->map, &p->node);
    hmap_insert(&pt->map, &open->node, partition_hash(pt, &open->topic_id, open->number));
    lock_give(&pt->lock);
    pt->retried--;
    LOG_INFO(pt->br->logger, FAC_STORAGE, "partition " STR_FMT "-%d is online",
             STR_ARG(open->topic), open->number);
    partition_unref(p);
}

/* Negative: its files still cannot be opened. */
static int retry(struct apply *a, struct partition *p, const struct log_dir_entry *dir)
{
    const struct image_topic *t = image_topic_by_id(a->after, &p->topic_id);
    check(t != NULL && p->number < t->partitions_count);
    struct topic_effective ct;
    topic_config(a, t->name, &ct);
    struct partition *open = new_partition(p->br, &p->topic_id, p->topic, p->number);
    open->ld = p->ld;
    open->had_files = p->had_files;
    int r = open_files(a->pt, open, &ct, dir, 0); /* an attempt before may have changed them */
    if (r < 0) {
        partition_unref(open);
        if (!err_is_passing(r)) {
            stay_offline(a->pt, p, dir, r);
        }
        return r;
    }
    begin_to_serve(open, &ct, &t->partitions[p->number]);
    replace(a->pt, p, open);
    return 0;
}

static void release_all(struct partition **all, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        partition_unref(all[i]);
    }
    mem_free(all);
}

static void look_for_offline(struct partition_table *pt)
{
    struct partition **all = NULL;
    size_t count = 0;
    atomic_store_explicit(&pt->has_offline, false, memory_order_relaxed);
    partition_all(pt, &all, &count);
    for (size_t i = 0; i < count; i++) {
        if (is_offline(all[i])) {
            partition_table_note_offline(pt);
        }
    }
    release_all(all, count);
}

bool partition_table_retry(struct partition_table *pt, const struct image *im)
{
    struct apply a = {.pt = pt, .after = im};
    struct partition **all = NULL;
    size_t count = 0;
    const struct log_dir *full = NULL;
    int failures = 0;
    partition_all(pt, &all, &count);
    for (size_t i = 0; i < count; i++) {
        struct partition *p = all[i];
        const struct log_dir_entry *dir = p->is_retried ? entry_of(pt->br, p->ld) : NULL;
        if (dir == NULL || p->ld == full || atomic_load(&dir->is_offline)) {
            continue;
        }
        if (retry(&a, p, dir) < 0 && ++failures == RETRY_FAILURES_MAX) {
            full = p->ld;
            failures = 0;
        }
    }
    release_all(all, count);
    look_for_offline(pt);
    return pt->retried > 0;
}

static void on_features_changed(void *ctx)
{
    (void)ctx; /* no feature level changes what a partition does */
}

void partition_apply_image(struct partition_table *pt,
                           const struct image *before,
                           struct image *after)
{
    struct apply a = {.pt = pt, .after = after};
    const struct image_change change = {
        .topic_created = on_topic_created,
        .topic_deleted = on_topic_deleted,
        .topic_changed = on_topic_changed,
        .config_changed = on_config_changed,
        .features_changed = on_features_changed,
    };
    image_compare(before, after, &change, &a);
    report_more_missing(pt);
    save_stale_starts(pt);
    dir_assignment_send(pt->dirs);
    if (pt->br->metadata != NULL) { /* else partition_table_settle does it */
        ask_for_retry(pt);
    }
}
