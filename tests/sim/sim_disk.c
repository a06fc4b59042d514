/* See sim_disk.h. */
#include "sim_disk.h"

#include "base/base.h"

static int lie_about_path(struct fs *fs, const char *path)
{
    (void)fs;
    (void)path;
    return 0;
}

static int lie_about_file(struct fs_file *f)
{
    (void)f;
    return 0;
}

void sim_disk_plant(struct simfs *disk, unsigned lies, struct fs_ops *ops)
{
    struct fs *fs = simfs_fs(disk);
    *ops = *fs->ops;
    if ((lies & SIM_DISK_SYNC_DIR) != 0) {
        ops->sync_dir = lie_about_path;
    }
    if ((lies & SIM_DISK_DATASYNC) != 0) {
        ops->datasync = lie_about_file;
    }
    if ((lies & SIM_DISK_FSYNC) != 0) {
        ops->fsync = lie_about_file;
    }
    fs->ops = ops;
}

void sim_disk_fail_some_call(struct sim *s, struct sim_rng *rng, struct simfs *disk, bool truncates)
{
    static const struct {
        unsigned ops;
        int err;
    } calls[] = {
        {SIMFS_SYNCS, -EIO},
        {SIMFS_OP_PWRITEV, -EIO},
        {SIMFS_OP_CREATE | SIMFS_OP_OPEN, -EMFILE},
        {SIMFS_OP_RENAME | SIMFS_OP_UNLINK, -EIO},
        {SIMFS_OP_TRUNCATE | SIMFS_OP_PWRITEV, -EIO},
    };
    size_t i = sim_rng_below(rng, ARRAY_LEN(calls) - (truncates ? 0 : 1));
    uint64_t nth = 1 + sim_rng_below(rng, 20);
    sim_note(s, "calls %d fail at %" PRIu64, (int)calls[i].ops, nth);
    simfs_fail(disk, calls[i].ops, nth, 1 + sim_rng_below(rng, 2), calls[i].err);
}

void sim_disk_limit(struct sim *s, struct simfs *disk, int64_t bytes)
{
    sim_note(s, "room for %" PRId64 " bytes", bytes);
    simfs_set_capacity(disk, bytes < 0 ? 0 : simfs_used(disk) + bytes);
}

void sim_disk_calm(struct simfs *disk)
{
    simfs_fail(disk, 0, 0, 0, 0);
    simfs_set_capacity(disk, 0);
    simfs_crash_at(disk, UINT64_MAX);
}

void sim_disk_crash(struct sim *s, struct simfs *disk, uint64_t step, bool is_kill)
{
    sim_note(s, "%s in %" PRIu64 " steps", is_kill ? "kill" : "power cut", step);
    if (step > 0) {
        simfs_crash_at(disk, simfs_steps(disk) + step);
    } else {
        simfs_power_off(disk);
    }
}

void sim_disk_power_on(struct sim *s, struct sim_rng *rng, struct simfs *disk, bool is_kill)
{
    if (is_kill) {
        sim_note(s, "restart after a kill");
        sim_happened(s, "kill");
        simfs_kill(disk);
        return;
    }
    enum simfs_mode mode = (enum simfs_mode)sim_rng_below(rng, SIMFS_MODES);
    sim_note(s, "power comes back, mode %d", (int)mode);
    sim_happened(s, "power cut");
    simfs_power_on(disk, sim_rng_next(rng), mode);
}
