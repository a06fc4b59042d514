/*
 * The directories of log.dirs; see log_dirs.h. A partition's directory is looked for in all of them
 * (a list made once at the start), new ones go where the fewest are, as Kafka's LogManager does.
 */
#include "broker/log_dirs.h"

#include "base/err.h"
#include "base/hmap.h"
#include "broker/broker.h"
#include "config/config.h"
#include "meta/image.h"

#define PARTITION_NAME_MAX 300

struct found {
    struct hmap_node node;
    struct log_dir_found what;
    struct log_dir_entry *dir;
    bool is_claimed;
};

struct log_dirs {
    struct broker *br;
    struct log_dir_entry *entries; /* owned */
    size_t count;
    struct arena paths;
    struct arena arena; /* of the scans */
    struct hmap found;  /* by directory name */
    uint64_t seed;
};

static void scan(struct log_dirs *lds, struct log_dir_entry *dir)
{
    struct log_dir_found *all = NULL;
    size_t count = 0;
    int r = log_dir_scan(dir->ld, &lds->arena, &all, &count);
    if (r < 0) {
        LOG_ERROR(lds->br->logger, FAC_STORAGE,
                  "log directory %s is offline: it cannot be listed: %s", dir->path, err_text(r));
        atomic_store(&dir->is_offline, true);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        struct found *f = arena_alloc(&lds->arena, sizeof(*f));
        f->what = all[i];
        f->dir = dir;
        hmap_insert(&lds->found, &f->node, hash_str(all[i].name, lds->seed));
    }
    struct str names[8];
    size_t damaged = log_dir_damaged(dir->ld, names, ARRAY_LEN(names));
    for (size_t i = 0; i < min_size(damaged, ARRAY_LEN(names)); i++) {
        LOG_WARN(lds->br->logger, FAC_STORAGE, "%s/" STR_FMT " is damaged and is made anew",
                 dir->path, STR_ARG(names[i]));
    }
}

int log_dirs_open(struct broker *br, struct log_dirs **ret, char *ret_error, size_t error_cap)
{
    struct log_dirs *lds = mem_zalloc(sizeof(*lds));
    lds->br = br;
    clock_random(br->clock, &lds->seed, sizeof(lds->seed));
    hmap_init(&lds->found, lds->seed);
    struct str *paths = NULL;
    size_t count = 0;
    config_get_list(br->config, "log.dirs", &lds->paths, &paths, &count);
    lds->entries = mem_array(count, sizeof(*lds->entries));
    lds->count = count;
    for (size_t i = 0; i < count; i++) {
        struct log_dir_entry *dir = &lds->entries[i];
        dir->path = arena_strdup(&lds->paths, paths[i]).ptr;
        struct meta_properties mp;
        int r = meta_properties_read(br->fs, dir->path, &mp);
        dir->has_id = r >= 0;
        if (dir->has_id) {
            dir->directory_id = mp.directory_id;
            r = log_dir_open(br->env, dir->path, &dir->ld);
        }
        if (r == -EWOULDBLOCK) {
            (void)snprintf(ret_error, error_cap,
                           "log directory %s is in use by another process; stop it or choose "
                           "another directory with --data",
                           dir->path);
            log_dirs_close(lds, false);
            return r;
        }
        if (r < 0) {
            LOG_ERROR(br->logger, FAC_STORAGE, "log directory %s is offline: %s", dir->path,
                      err_text(r));
            atomic_store(&dir->is_offline, true);
            dir->ld = NULL;
            continue;
        }
        scan(lds, dir);
    }
    *ret = lds;
    return 0;
}

struct log_dirs *log_dirs_close(struct log_dirs *lds, bool is_clean)
{
    if (lds == NULL) {
        return NULL;
    }
    for (size_t i = 0; i < lds->count; i++) {
        if (lds->entries[i].ld != NULL) {
            int r = log_dir_close(lds->entries[i].ld,
                                  is_clean && !atomic_load(&lds->entries[i].is_offline),
                                  lds->br->broker_epoch);
            if (r < 0) {
                lds->br->has_failed_stop = true;
                LOG_WARN(lds->br->logger, FAC_STORAGE,
                         "log directory %s: not marked as cleanly closed: %s", lds->entries[i].path,
                         err_text(r));
            }
        }
    }
    hmap_release(&lds->found);
    arena_release(&lds->arena);
    arena_release(&lds->paths);
    mem_free(lds->entries);
    mem_free(lds);
    return NULL;
}

void log_dirs_entries(struct log_dirs *lds, struct log_dir_entry **ret, size_t *ret_count)
{
    *ret = lds->entries;
    *ret_count = lds->count;
}

static bool is_online(const struct log_dir_entry *dir)
{
    return dir->ld != NULL && !atomic_load(&dir->is_offline);
}

static bool names(struct str paths, const char *path)
{
    struct str item;
    while (paths.len > 0 && str_split(&paths, ',', &item)) {
        struct str name = str_trim(item);
        if (str_is(name, "*") || str_is(name, path)) {
            return true;
        }
    }
    return false;
}

void log_dirs_cordon(struct log_dirs *lds, struct str paths)
{
    for (size_t i = 0; i < lds->count; i++) {
        /* Relaxed: a hint about where to put what is new. */
        atomic_store_explicit(&lds->entries[i].is_cordoned, names(paths, lds->entries[i].path),
                              memory_order_relaxed);
    }
}

/* Kafka's order of ids: as two signed numbers. */
static int compare_ids(const void *a, const void *b)
{
    const struct uuid *ids[2] = {a, b};
    for (size_t half = 0; half < 16; half += 8) {
        int64_t left = (int64_t)load_be64(ids[0]->bytes + half);
        int64_t right = (int64_t)load_be64(ids[1]->bytes + half);
        if (left != right) {
            return left < right ? -1 : 1;
        }
    }
    return 0;
}

int32_t
log_dirs_ids(struct log_dirs *lds, bool is_cordoned_only, struct arena *arena, struct uuid **ret)
{
    struct uuid *ids = arena_alloc(arena, (lds->count + 1) * sizeof(ids[0]));
    size_t count = 0;
    for (size_t i = 0; i < lds->count; i++) {
        const struct log_dir_entry *dir = &lds->entries[i];
        if (!atomic_load(&dir->is_offline) && (!is_cordoned_only || dir->is_cordoned)) {
            ids[count++] = dir->directory_id;
        }
    }
    qsort(ids, count, sizeof(ids[0]), compare_ids);
    *ret = ids;
    return (int32_t)count;
}

/* Is this a better place for new files? One that is not cordoned, then the one with fewer logs. */
static bool is_better(const struct log_dir_entry *dir, const struct log_dir_entry *than)
{
    if (than == NULL || dir->is_cordoned != than->is_cordoned) {
        return than == NULL || than->is_cordoned;
    }
    return dir->partitions < than->partitions;
}

static struct str
partition_name(char memory[static PARTITION_NAME_MAX], struct str topic, int32_t partition)
{
    struct strbuf sb;
    strbuf_init(&sb, memory, PARTITION_NAME_MAX);
    strbuf_addf(&sb, STR_FMT "-%d", STR_ARG(topic), partition);
    return strbuf_str(&sb);
}

/* Two directories may hold files of one partition: after a disk was copied, or a move that a crash
 * cut short. The metadata knows which ones are the partition's; without its word the first of
 * log.dirs. (Kafka does not start then.) */
static struct found *find_files(struct log_dirs *lds, struct str name, const struct uuid *wanted)
{
    struct found *best = NULL;
    uint64_t hash = hash_str(name, lds->seed);
    for (struct hmap_node *n = hmap_first(&lds->found, hash); n != NULL; n = hmap_next(n)) {
        struct found *f = container_of(n, struct found, node);
        if (f->is_claimed || !str_equal(f->what.name, name) || !is_online(f->dir)) {
            continue;
        }
        if (wanted != NULL && uuid_equal(&f->dir->directory_id, wanted)) {
            return f;
        }
        if (best == NULL || f->dir < best->dir) {
            best = f;
        }
    }
    return best;
}

/* The metadata's directory is ours and cannot be used: what lies elsewhere is an old copy. */
static bool is_lost_for_now(const struct log_dirs *lds, const struct uuid *wanted)
{
    for (size_t i = 0; i < lds->count && wanted != NULL; i++) {
        const struct log_dir_entry *dir = &lds->entries[i];
        if (!is_online(dir) && dir->has_id && uuid_equal(&dir->directory_id, wanted)) {
            return true;
        }
    }
    return false;
}

/* Where new files go. A directory that is offline may hold them already, and then an empty log
 * elsewhere would look like the loss of all records: only who was never in any is made anew. */
static struct log_dir_entry *choose(struct log_dirs *lds, const struct uuid *wanted)
{
    struct log_dir_entry *best = NULL;
    bool has_offline = false;
    for (size_t i = 0; i < lds->count; i++) {
        struct log_dir_entry *dir = &lds->entries[i];
        if (!is_online(dir)) {
            has_offline = true;
            continue;
        }
        if (wanted != NULL && uuid_equal(&dir->directory_id, wanted)) {
            return dir;
        }
        if (is_better(dir, best)) {
            best = dir;
        }
    }
    bool is_new = wanted == NULL || uuid_equal(wanted, &image_directory_unassigned);
    return has_offline && !is_new ? NULL : best;
}

struct log_dir_entry *log_dirs_find(struct log_dirs *lds,
                                    struct str topic,
                                    int32_t partition,
                                    const struct uuid *wanted,
                                    bool *ret_exists)
{
    char memory[PARTITION_NAME_MAX];
    *ret_exists = false;
    struct str name = partition_name(memory, topic, partition);
    struct found *f = find_files(lds, name, wanted);
    if (is_lost_for_now(lds, wanted)) {
        while (f != NULL) { /* stays as it is until it is clear which one is right */
            f->is_claimed = true;
            f = find_files(lds, name, wanted);
        }
        return NULL;
    }
    if (f == NULL) {
        return choose(lds, wanted);
    }
    f->is_claimed = true;
    *ret_exists = true;
    return f->dir;
}

void log_dirs_leave(struct log_dirs *lds, const struct log_dir *ld)
{
    for (size_t i = 0; i < lds->count; i++) {
        if (lds->entries[i].ld == ld && lds->entries[i].partitions > 0) {
            lds->entries[i].partitions--;
        }
    }
}

/* Kept under another name: never deleted, since only a committed record may delete data. */
static int set_aside(struct log_dirs *lds,
                     const struct log_dir_entry *dir,
                     struct str name,
                     const struct log_dir_entry *twin)
{
    char from[4096];
    char to[4400];
    struct uuid id;
    char text[UUID_TEXT_SIZE];
    clock_random_uuid(lds->br->clock, &id);
    uuid_print(&id, text);
    (void)snprintf(from, sizeof(from), "%s/" STR_FMT, dir->path, STR_ARG(name));
    (void)snprintf(to, sizeof(to), "%s/" STR_FMT ".%s-stray", dir->path, STR_ARG(name), text);
    int r = fs_rename(lds->br->fs, from, to);
    LOG_WARN(lds->br->logger, FAC_STORAGE, "directory %s %s%s; kept as %s%s%s", from,
             twin == NULL ? "belongs to no topic of this cluster"
                          : "is not in use: the partition lies in ",
             twin == NULL ? "" : twin->path, to, r < 0 ? ", which failed: " : "",
             r < 0 ? err_text(r) : "");
    return r;
}

int log_dirs_set_aside(struct log_dirs *lds,
                       const struct log_dir_entry *dir,
                       struct str topic,
                       int32_t partition)
{
    char name[PARTITION_NAME_MAX];
    return set_aside(lds, dir, partition_name(name, topic, partition), NULL);
}

/* Where a partition takes its files from; NULL: nowhere. */
static const struct log_dir_entry *find_claimed(struct log_dirs *lds, struct str name)
{
    uint64_t hash = hash_str(name, lds->seed);
    for (struct hmap_node *n = hmap_first(&lds->found, hash); n != NULL; n = hmap_next(n)) {
        struct found *f = container_of(n, struct found, node);
        if (f->is_claimed && str_equal(f->what.name, name)) {
            return f->dir;
        }
    }
    return NULL;
}

void log_dirs_sweep(struct log_dirs *lds, const struct image *im)
{
    (void)im;
    hmap_foreach (n, &lds->found) {
        struct found *f = container_of(n, struct found, node);
        if (f->is_claimed || f->what.is_stray || f->what.is_future) {
            continue;
        }
        if (f->what.is_deleted) {
            char path[4096];
            (void)snprintf(path, sizeof(path), "%s/" STR_FMT, f->dir->path, STR_ARG(f->what.name));
            int r = fs_remove_tree(lds->br->fs, path);
            if (r < 0) {
                LOG_WARN(lds->br->logger, FAC_STORAGE,
                         "directory %s of a deleted partition cannot be removed: %s", path,
                         err_text(r));
            }
            continue;
        }
        const struct log_dir_entry *twin = find_claimed(lds, f->what.name);
        IGNORE(set_aside(lds, f->dir, f->what.name, twin) < 0); /* it has been said */
    }
    hmap_release(&lds->found);
    hmap_init(&lds->found, lds->seed);
    arena_release(&lds->arena);
}

void log_dirs_save_starts(struct log_dirs *lds)
{
    for (size_t d = 0; d < lds->count; d++) {
        struct log_dir_entry *dir = &lds->entries[d];
        int r = is_online(dir) ? log_dir_save_starts(dir->ld) : 0;
        if (r < 0) {
            LOG_WARN(lds->br->logger, FAC_STORAGE, "the log starts of %s were not written: %s",
                     dir->path, err_text(r));
        }
    }
}

const struct log_dir_entry *log_dirs_fail(struct log_dirs *lds, const struct log_dir *ld, int err)
{
    struct log_dir_entry *dir = NULL;
    for (size_t i = 0; i < lds->count; i++) {
        if (lds->entries[i].ld == ld) {
            dir = &lds->entries[i];
        }
    }
    if (dir == NULL || atomic_exchange(&dir->is_offline, true)) {
        return NULL;
    }
    LOG_ERROR(lds->br->logger, FAC_STORAGE,
              "log directory %s is offline: a sync failed, or a write that could not be taken back "
              "(%s); records that were not flushed were not acknowledged. Mend the disk and start "
              "again",
              dir->path, err_text(err));
    return dir;
}
