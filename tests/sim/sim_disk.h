/*
 * What scenarios do to the simulated disk of a node: planted lies, failing calls, too little room,
 * a crash at some step, and what is left of it when the node starts again. Each call notes what it
 * does, and draws from the generator that it is given.
 */
#ifndef TESTS_SIM_SIM_DISK_H
#define TESTS_SIM_SIM_DISK_H

#include "base/base.h"
#include "base/fs.h"
#include "sim.h"
#include "simfs.h"

enum sim_disk_lie {
    SIM_DISK_SYNC_DIR = 1, /* each of these does nothing and says that it did */
    SIM_DISK_DATASYNC = 2,
    SIM_DISK_FSYNC = 4,
};

/* lies: of enum sim_disk_lie. *ops becomes the disk's table of calls: it lives as long as the disk.
 */
void sim_disk_plant(struct simfs *disk, unsigned lies, struct fs_ops *ops);

/* A sync, a write or something else fails once or twice. truncates: such a call, too. */
void sim_disk_fail_some_call(struct sim *s,
                             struct sim_rng *rng,
                             struct simfs *disk,
                             bool truncates);
/* Only so many bytes more fit; negative: all there is. */
void sim_disk_limit(struct sim *s, struct simfs *disk, int64_t bytes);
/* No fault from now on. */
void sim_disk_calm(struct simfs *disk);

/* The power goes at the step-th change of the disk from now; 0: it is off at once. is_kill is for
 * the note: sim_disk_power_on decides. */
void sim_disk_crash(struct sim *s, struct simfs *disk, uint64_t step, bool is_kill);
/* Of a disk that is off. is_kill: only the process had died; else something may be lost, in a mode
 * that is drawn. */
void sim_disk_power_on(struct sim *s, struct sim_rng *rng, struct simfs *disk, bool is_kill);

#endif
