/*
 * Group commit over many logs.
 *
 * A round: take the queue, begin a flush of each log, sync, end each flush, tell the owner. Logs
 * beyond the first FLUSHER_FILES_MAX syncs, and those that ask for it, have their file system
 * synced as a whole, once for a directory; that covers the bytes and the names of all its logs that
 * had begun before. They hold no files meanwhile: a round of many logs must not use up the
 * descriptors. An error of such a sync says nothing about who lost what, so it takes all logs of
 * that directory in the round offline.
 *
 * What begins after the round took the queue waits for the next one: an ack never relies on a sync
 * that was called before its bytes were written.
 */
#include "storage/flusher.h"

#include "base/base.h"
#include "base/err.h"
#include "storage/plog_impl.h"

struct flusher {
    struct lock lock;
    struct cond idle;
    struct plog_env *env; /* borrowed */
    void (*on_flushed)(void *ctx, struct plog *pl, int64_t flushed, int err);
    void *ctx;
    struct list queue; /* struct plog by flush_link */
};

struct flusher *
flusher_new(struct plog_env *env,
            void (*on_flushed)(void *ctx, struct plog *pl, int64_t flushed, int err),
            void *ctx)
{
    struct flusher *fl = mem_zalloc(sizeof(*fl));
    lock_init(&fl->lock, LOCK_FLUSHER);
    cond_init(&fl->idle);
    list_init(&fl->queue);
    fl->env = env;
    fl->on_flushed = on_flushed;
    fl->ctx = ctx;
    return fl;
}

struct flusher *flusher_free(struct flusher *fl)
{
    if (fl == NULL) {
        return NULL;
    }
    check(list_is_empty(&fl->queue));
    cond_release(&fl->idle);
    lock_release(&fl->lock);
    mem_free(fl);
    return NULL;
}

bool flusher_add(struct flusher *fl, struct plog *pl)
{
    lock_take(&fl->lock);
    bool was_empty = list_is_empty(&fl->queue);
    bool is_added = false;
    if (!pl->is_queued) {
        pl->is_queued = true;
        is_added = true;
        list_push_back(&fl->queue, &pl->flush_link);
    }
    lock_give(&fl->lock);
    return was_empty && is_added;
}

void flusher_remove(struct flusher *fl, struct plog *pl)
{
    lock_take(&fl->lock);
    if (pl->is_queued) {
        pl->is_queued = false;
        list_remove(&pl->flush_link);
    }
    while (pl->is_flushing) {
        cond_wait(&fl->idle, &fl->lock);
    }
    lock_give(&fl->lock);
}

/* One log of a round. */
struct item {
    struct plog *pl;
    struct plog_flush flush;
    bool has_work;
    bool is_synced; /* by a sync of its whole file system */
    int err;
};

/* Takes what is queued; the logs cannot be closed before they are reported. */
static size_t take_queue(struct flusher *fl, struct item **ret)
{
    size_t count = 0;
    size_t cap = 0;
    struct item *items = NULL;
    lock_take(&fl->lock);
    struct list *node;
    while ((node = list_pop_front(&fl->queue)) != NULL) {
        struct plog *pl = list_entry(node, struct plog, flush_link);
        pl->is_queued = false;
        pl->is_flushing = true;
        items = mem_grow(items, &cap, count + 1, sizeof(*items));
        items[count++] = (struct item){.pl = pl};
    }
    lock_give(&fl->lock);
    *ret = items;
    return count;
}

static bool is_same_dir(const struct plog *a, const struct plog *b)
{
    return a->dir_len == b->dir_len && memcmp(a->path, b->path, a->dir_len) == 0;
}

static int sync_dir_of(struct flusher *fl, const struct plog *pl)
{
    struct log_path path;
    memcpy(path.text, pl->path, pl->dir_len);
    path.text[pl->dir_len] = '\0';
    return fs_sync_all(fl->env->fs, path.text);
}

/* The file systems as a whole, of those logs that need it, and their neighbours. */
static void sync_whole(struct flusher *fl, struct item *items, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct item *it = &items[i];
        if (!it->has_work || it->is_synced || !it->flush.needs_whole_fs) {
            continue;
        }
        int err = sync_dir_of(fl, it->pl);
        for (size_t k = 0; k < count; k++) {
            if (items[k].has_work && !items[k].is_synced && is_same_dir(items[k].pl, it->pl)) {
                items[k].is_synced = true;
                items[k].err = err;
            }
        }
    }
}

static void report(struct flusher *fl, struct item *it)
{
    int64_t flushed;
    if (it->has_work) {
        plog_flush_end(&it->flush, it->err, &flushed);
    } else {
        struct plog_offsets offsets;
        plog_offsets(it->pl, &offsets);
        flushed = offsets.flushed;
    }
    /* It may have gone offline beside this flush, which is worth nothing then. */
    if (it->err >= 0 && plog_is_offline(it->pl)) {
        it->err = plog_offline_cause(it->pl);
    }
    fl->on_flushed(fl->ctx, it->pl, flushed, it->err);
    lock_take(&fl->lock);
    it->pl->is_flushing = false;
    cond_broadcast(&fl->idle);
    lock_give(&fl->lock);
}

size_t flusher_round(struct flusher *fl)
{
    struct item *items;
    size_t count = take_queue(fl, &items);
    size_t syncs = 0;
    for (size_t i = 0; i < count; i++) {
        struct item *it = &items[i];
        it->has_work = plog_flush_begin(it->pl, &it->flush);
        if (it->has_work && !it->flush.needs_whole_fs) {
            syncs += (size_t)it->flush.files_count + (it->flush.sync_dir ? 1 : 0);
            if (syncs > FLUSHER_FILES_MAX) {
                plog_flush_as_whole(&it->flush);
            }
        }
    }
    sync_whole(fl, items, count);
    for (size_t i = 0; i < count; i++) {
        struct item *it = &items[i];
        if (it->has_work && !it->is_synced) {
            it->err = plog_flush_run(&it->flush);
        }
        report(fl, it);
    }
    mem_free(items);
    return count;
}
