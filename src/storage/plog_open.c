/*
 * Opening a log: its directory is made or listed, what interrupted deletions and compactions left
 * is put in order, whose directory it is is looked up, and recovery does the rest.
 */
#include "storage/plog.h"

#include "base/base.h"
#include "base/err.h"
#include "storage/leftovers.h"
#include "storage/plog_impl.h"
#include "storage/recovery.h"

/* The listing of the directory, made when it shall be, after leftovers are out of the way. */
static int list_directory(struct plog *pl, unsigned flags, struct log_listing *ll, bool *ret_made)
{
    bool has_changed = false;
    *ret_made = false;
    int err = log_listing_read(ll, pl->env->fs, pl->path);
    if (err == -ENOENT && (flags & PLOG_CREATE) != 0) {
        *ret_made = true;
        return fs_mkdir(pl->env->fs, pl->path);
    }
    if (err >= 0 && ll->leftovers_count > 0) {
        err = leftovers_resolve(ll, pl->env->fs, pl->path, &has_changed);
        if (err >= 0 && has_changed) {
            log_listing_release(ll);
            err = log_listing_read(ll, pl->env->fs, pl->path);
        }
    }
    return err;
}

/* Nobody knows which names a killed process had synced; what lies below its recovery point had them
 * all. An empty segment (or one that begins there) lies behind it. */
static bool
has_unsure_names(const struct plog *pl, const struct plog_open *how, const struct log_listing *ll)
{
    const struct segment *sg = plog_active(pl);
    return pl->flushed < pl->log_end || ll->segments_count == 0 || sg->size == 0 ||
           sg->base_offset >= how->recovery_point;
}

int plog_open(struct plog_env *env,
              const struct plog_open *how,
              struct plog_recovery *ret_recovery,
              struct plog **ret)
{
    struct log_listing ll = {0};
    struct uuid seed;
    bool is_made = false;
    struct plog *pl = mem_zalloc(sizeof(*pl));
    *ret_recovery = (struct plog_recovery){0};
    pl->env = env;
    pl->config = *how->config;
    pl->producers_look_ms = clock_mono_ms(env->clock) + pl->config.producer_id_check_ms;
    pl->stale_base = INT64_MAX;
    lock_init(&pl->lock, LOCK_PLOG);
    lock_init(&pl->rules_lock, LOCK_LEAF);
    cond_init(&pl->settled);
    pl->placing_snapshot = -1;
    clock_random(env->clock, seed.bytes, sizeof(seed.bytes));
    producer_state_init(&pl->producers, load_be64(seed.bytes), &env->producers);
    epoch_cache_init(&pl->epochs);
    int err = plog_make_path(pl, how);
    if (err >= 0) {
        err = list_directory(pl, how->flags, &ll, &is_made);
    }
    if (err >= 0) {
        err = plog_load_metadata(pl, &how->topic_id, is_made, ret_recovery);
    }
    if (err >= 0) {
        err = recovery_run(pl, how, &ll, ret_recovery);
    }
    if (err >= 0) {
        pl->is_new = is_made || ((how->flags & PLOG_CLEAN) == 0 && has_unsure_names(pl, how, &ll));
    }
    log_listing_release(&ll);
    if (err < 0) {
        plog_release(pl);
        return err;
    }
    trash_tell(env->trash);
    *ret = pl;
    return 0;
}
