/*
 * What was deleted and waits; see trash.h. Kafka: LocalLog.deleteSegmentFiles (renamed at once,
 * unlinked by a task after file.delete.delay.ms), LogManager.deleteLogs.
 *
 * A heap of deadlines on the machine's clock, one for each name: topics may differ in their delay.
 * A name is a file's own only until the log's directory is renamed or a second file of that name is
 * deleted: then it is gone when its time comes, or goes earlier than it need. Nobody misses it:
 * readers that are under way hold the open file, and nothing opens a deleted one again.
 */
#include "storage/trash.h"

#include "base/base.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/sync.h"
#include "base/timers.h"
#include "storage/side_file.h"

enum {
    RETRY_MS = 10000, /* after what passes by kept a name from being removed */
};

struct trash {
    struct lock lock; /* LOCK_LEAF: what follows but for fs and clock */
    struct fs *fs;    /* borrowed */
    struct clock *clock;
    struct timers waiting; /* struct piece */
    struct list due;       /* struct piece: their time has come */
    void (*on_put)(void *ctx);
    void *ctx;
    int64_t told_ms; /* deadline that the listener knows; INT64_MAX: none */
};

struct piece {
    struct timer timer;
    struct list node; /* in trash.due */
    bool is_tree;
    char path[];
};

struct trash *trash_new(struct fs *fs, struct clock *clock)
{
    struct trash *tr = mem_zalloc(sizeof(*tr));
    lock_init(&tr->lock, LOCK_LEAF);
    timers_init(&tr->waiting);
    list_init(&tr->due);
    tr->fs = fs;
    tr->clock = clock;
    tr->told_ms = INT64_MAX;
    return tr;
}

struct trash *trash_free(struct trash *tr)
{
    if (tr == NULL) {
        return NULL;
    }
    while (tr->waiting.count > 0) {
        struct timer *t = tr->waiting.heap[0];
        timers_disarm(&tr->waiting, t);
        mem_free(container_of(t, struct piece, timer));
    }
    timers_release(&tr->waiting);
    lock_release(&tr->lock);
    mem_free(tr);
    return NULL;
}

void trash_listen(struct trash *tr, void (*on_put)(void *ctx), void *ctx)
{
    lock_take(&tr->lock);
    tr->on_put = on_put;
    tr->ctx = ctx;
    tr->told_ms = INT64_MAX;
    lock_give(&tr->lock);
}

static void come_due(struct timer *t, void *ctx)
{
    struct trash *tr = ctx;
    list_push_back(&tr->due, &container_of(t, struct piece, timer)->node);
}

static bool is_full(struct trash *tr)
{
    lock_take(&tr->lock);
    bool is_full = tr->waiting.count >= TRASH_NAMES_MAX;
    lock_give(&tr->lock);
    return is_full;
}

static void arm(struct trash *tr, struct piece *pc, int64_t delay_ms)
{
    int64_t now_ms = clock_mono_ms(tr->clock);
    int64_t at_ms = delay_ms > INT64_MAX - 1 - now_ms ? INT64_MAX - 1 : now_ms + delay_ms;
    lock_take(&tr->lock);
    timers_arm(&tr->waiting, &pc->timer, at_ms);
    lock_give(&tr->lock);
}

static void put(struct trash *tr, const char *path, bool is_tree, int64_t delay_ms)
{
    size_t size = strlen(path) + 1;
    struct piece *pc = mem_zalloc(sizeof(*pc) + size);
    memcpy(pc->path, path, size);
    pc->is_tree = is_tree;
    timer_init(&pc->timer, come_due, tr);
    list_init(&pc->node);
    arm(tr, pc, delay_ms);
}

static int unlink_now(struct fs *fs, const char *path)
{
    int err = fs_unlink(fs, path);
    return err == -ENOENT ? 0 : err;
}

int trash_put(struct trash *tr, struct fs *fs, const char *path, int64_t delay_ms)
{
    struct log_path to;
    int n = snprintf(to.text, sizeof(to.text), "%s%s", path, DELETED_SUFFIX);
    if (tr == NULL || n < 0 || (size_t)n >= sizeof(to.text) || is_full(tr)) {
        return unlink_now(fs, path);
    }
    int err = fs_rename(fs, path, to.text);
    if (err == -ENOENT) {
        return 0;
    }
    if (err < 0) {
        return unlink_now(fs, path);
    }
    put(tr, to.text, false, delay_ms);
    return 0;
}

void trash_put_tree(struct trash *tr, const char *path, int64_t delay_ms)
{
    put(tr, path, true, is_full(tr) ? 0 : delay_ms);
}

void trash_tell(struct trash *tr)
{
    void (*on_put)(void *ctx) = NULL;
    void *ctx = NULL;
    if (tr == NULL) {
        return;
    }
    lock_take(&tr->lock);
    int64_t next_ms = timers_next(&tr->waiting);
    if (tr->on_put != NULL && next_ms < tr->told_ms) {
        tr->told_ms = next_ms;
        on_put = tr->on_put;
        ctx = tr->ctx;
    }
    lock_give(&tr->lock);
    if (on_put != NULL) {
        on_put(ctx);
    }
}

int64_t trash_wait_ms(struct trash *tr)
{
    lock_take(&tr->lock);
    tr->told_ms = timers_next(&tr->waiting);
    int64_t next_ms = tr->told_ms;
    lock_give(&tr->lock);
    return next_ms == INT64_MAX ? INT64_MAX : max_i64(next_ms - clock_mono_ms(tr->clock), 0);
}

void trash_empty(struct trash *tr, void (*failed)(void *ctx, const char *path, int err), void *ctx)
{
    int64_t now_ms = clock_mono_ms(tr->clock);
    struct list due;
    list_init(&due);
    lock_take(&tr->lock);
    timers_run(&tr->waiting, now_ms);
    list_splice_back(&due, &tr->due);
    lock_give(&tr->lock);
    for (struct list *node; (node = list_pop_front(&due)) != NULL;) {
        struct piece *pc = list_entry(node, struct piece, node);
        int err = pc->is_tree ? fs_remove_tree(tr->fs, pc->path) : unlink_now(tr->fs, pc->path);
        if (err_is_passing(err)) {
            arm(tr, pc, RETRY_MS);
            continue;
        }
        if (err < 0) {
            failed(ctx, pc->path, err);
        }
        mem_free(pc);
    }
}
