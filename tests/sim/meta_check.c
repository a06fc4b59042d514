/* What must hold of images and of what a disk holds; see meta_node.h. */
#include "meta_node.h"

#include "base/base.h"
#include "base/err.h"
#include "meta/image.h"
#include "meta_node_impl.h"
#include "raft/format.h"
#include "raft/raft_node.h"
#include "storage/fd_cache.h"

enum {
    DESCRIPTORS_MAX = 4,
};

/* --- loading -------------------------------------------------------------------------------------
 */

struct loading {
    struct image_delta *d;
    int64_t offset;
    int32_t epoch;
};

static int on_record(void *ctx, struct view value, int64_t offset, int32_t epoch)
{
    struct loading *ld = ctx;
    ld->offset = offset;
    ld->epoch = epoch;
    return image_delta_replay(ld->d, value);
}

static bool is_first_start(struct fs *fs)
{
    struct fs_stat st;
    return fs_stat(fs, META_DIR "/__cluster_metadata-0/quorum-state", &st) == -ENOENT;
}

int meta_load(struct meta_node *n,
              struct plog_env *env,
              const struct uuid *directory_id,
              struct meta_loaded *ret)
{
    struct image *empty = image_new_empty();
    struct loading ld = {.d = image_delta_new(empty), .offset = -1, .epoch = -1};
    struct raft_node_options options = {
        .env = env,
        .dir = META_DIR,
        .node_id = META_NODE_ID,
        .directory_id = *directory_id,
        .segment_bytes = n->rules.segment_bytes,
        .segment_ms = INT64_C(604800000),
        .snapshot_bytes = n->rules.snapshot_bytes,
        .snapshot_interval_ms = 3600000,
        .retention_bytes = n->rules.retention_bytes,
        .retention_ms = INT64_C(604800000),
        .is_first_start = is_first_start(env->fs),
        .on_record = on_record,
        .ctx = &ld,
    };
    char error[RAFT_NODE_ERROR_BYTES];
    image_unref(empty);
    int err = raft_node_open(&options, error, &ret->rn);
    if (err < 0) {
        sim_note(n->s, "the metadata log cannot be loaded: %s", error);
        image_delta_free(ld.d);
        return err;
    }
    ret->image = image_delta_finish(ld.d, ld.offset, ld.epoch);
    ret->end = raft_node_next_offset(ret->rn);
    return 0;
}

/* --- a copy of the disk --------------------------------------------------------------------------
 */

struct look {
    bool is_formatted;
    int64_t end;
    uint64_t digest;
};

static int look_once(struct meta_node *n, struct plog_env *env, struct look *ret)
{
    enum format_state state;
    struct meta_properties mp;
    struct meta_loaded ml;
    *ret = (struct look){0};
    int err = format_inspect(env->fs, META_DIR, &state);
    if (err < 0 || state != FORMAT_FORMATTED) {
        sim_expect(n->s, n->history.committed == 0 && (err < 0 || state != FORMAT_FOREIGN),
                   "a copy: the formatted directory is gone (%d)", (int)state);
        return err;
    }
    err = meta_properties_read(env->fs, META_DIR, &mp);
    if (err < 0) {
        return err;
    }
    err = meta_load(n, env, &mp.directory_id, &ml);
    if (err < 0) {
        return err;
    }
    ret->is_formatted = true;
    ret->end = ml.end;
    ret->digest = meta_history_digest(ml.image);
    meta_history_check(&n->history, n->s, "a copy", ml.end, ml.image);
    image_unref(ml.image);
    return raft_node_close(ml.rn, false);
}

static void look_twice(struct meta_node *n, struct simfs *copy, uint64_t seed, enum simfs_mode mode)
{
    struct plog_env env = {.fs = simfs_fs(copy), .clock = &n->s->clock.clock};
    struct look first;
    struct look second;
    simfs_set_capacity(copy, 0);
    simfs_power_on(copy, seed, mode);
    env.fds = fd_cache_new(env.fs, DESCRIPTORS_MAX);
    int err = look_once(n, &env, &first);
    if (err >= 0) {
        simfs_kill(copy);
        err = look_once(n, &env, &second);
    }
    env.fds = fd_cache_free(env.fds);
    sim_expect(n->s, err >= 0, "a copy, power cut in mode %d: cannot be loaded: %s", (int)mode,
               err_text(err));
    sim_expect(n->s,
               err < 0 || (first.is_formatted == second.is_formatted && first.end == second.end &&
                           first.digest == second.digest),
               "a copy: loaded twice, it ends at %" PRId64 " and at %" PRId64, first.end,
               second.end);
}

void meta_node_look_at_copy(struct meta_node *n)
{
    if (simfs_is_off(n->disk) || n->s->has_failed) {
        return;
    }
    struct simfs *copy = simfs_clone(n->disk);
    enum simfs_mode mode = (enum simfs_mode)sim_rng_below(&n->rng, SIMFS_MODES);
    uint64_t seed = sim_rng_next(&n->rng);
    sim_note(n->s, "look at a copy, mode %d", (int)mode);
    sim_happened(n->s, "look at a copy of the disk");
    look_twice(n, copy, seed, mode);
    simfs_free(copy);
}

/* --- published images ----------------------------------------------------------------------------
 */

static struct seen_topic *find_seen(struct meta_node *n, const struct uuid *id)
{
    for (size_t i = n->seen_count; i > 0; i--) {
        if (uuid_equal(&n->seen[i - 1].id, id)) {
            return &n->seen[i - 1];
        }
    }
    return NULL;
}

static struct seen_topic *add_seen(struct meta_node *n, const struct uuid *id, struct str name)
{
    n->seen = mem_grow(n->seen, &n->seen_cap, n->seen_count + 1, sizeof(n->seen[0]));
    struct seen_topic *st = &n->seen[n->seen_count++];
    *st = (struct seen_topic){.id = *id};
    check(name.len < sizeof(st->name));
    memcpy(st->name, name.ptr, name.len);
    return st;
}

static void check_partition(struct meta_node *n,
                            struct seen_topic *st,
                            int32_t i,
                            const struct image_partition *ip)
{
    bool is_led = ip->leader == IMAGE_NO_LEADER;
    for (int32_t k = 0; k < ip->replicas_count; k++) {
        is_led = is_led || ip->leader == ip->replicas[k];
    }
    sim_expect(n->s, ip->replicas_count > 0 && is_led,
               "topic %s partition %d: %d replicas, leader %d", st->name, i, ip->replicas_count,
               ip->leader);
    bool is_forward = i >= st->partitions || (ip->leader_epoch >= st->leader_epochs[i] &&
                                              ip->partition_epoch >= st->partition_epochs[i]);
    sim_expect(n->s, is_forward, "topic %s partition %d: epochs go back to %d, %d", st->name, i,
               ip->leader_epoch, ip->partition_epoch);
    st->leader_epochs[i] = ip->leader_epoch;
    st->partition_epochs[i] = ip->partition_epoch;
}

static void check_topic(struct meta_node *n, const struct image *im, const struct image_topic *t)
{
    struct seen_topic *st = find_seen(n, &t->id);
    if (st == NULL) {
        st = add_seen(n, &t->id, t->name);
    }
    if (!sim_expect(n->s,
                    str_equal(t->name, str_from(st->name)) && image_topic_by_id(im, &t->id) == t &&
                        image_topic_by_name(im, t->name) == t,
                    "topic " STR_FMT ": its id was that of %s, or finds another one",
                    STR_ARG(t->name), st->name) ||
        !sim_expect(n->s,
                    t->partitions_count > 0 && t->partitions_count <= META_PARTITIONS_MAX &&
                        t->partitions_count >= st->partitions,
                    "topic %s has %d partitions after %d", st->name, t->partitions_count,
                    st->partitions)) {
        return;
    }
    for (int32_t i = 0; i < t->partitions_count; i++) {
        check_partition(n, st, i, &t->partitions[i]);
    }
    st->partitions = t->partitions_count;
    const struct image_topic *other = image_topic_colliding(im, t->name);
    if (other != NULL) {
        const struct seen_topic *so = find_seen(n, &other->id);
        sim_happened(n->s, "two topics of one request that collide");
        sim_expect(n->s,
                   so == NULL || so->made_by == 0 || st->made_by == 0 || so->made_by == st->made_by,
                   "topic %s collides with " STR_FMT " of another request", st->name,
                   STR_ARG(other->name));
    }
}

void meta_check_published(struct meta_node *n)
{
    struct arena arena;
    const struct image *im = n->published;
    const struct image_topic **topics;
    size_t count;
    arena_init(&arena, 0);
    image_topics_sorted(im, &arena, &topics, &count);
    size_t partitions = 0;
    for (size_t i = 0; i < count && !n->s->has_failed; i++) {
        check_topic(n, im, topics[i]);
        partitions += (size_t)topics[i]->partitions_count;
        sim_expect(n->s, i == 0 || str_compare(topics[i - 1]->name, topics[i]->name) < 0,
                   "two topics " STR_FMT, STR_ARG(topics[i]->name));
    }
    sim_expect(n->s, count == image_topics_count(im) && partitions == image_partitions_count(im),
               "the image counts %zu topics and %zu partitions, it has %zu and %zu",
               image_topics_count(im), image_partitions_count(im), count, partitions);
    arena_release(&arena);
}

void meta_note_makers(struct meta_node *n, const struct meta_job *mj)
{
    if (mj->type != META_JOB_REQUEST || mj->request.operation != META_CREATE) {
        return;
    }
    for (int32_t i = 0; i < mj->request.count; i++) {
        const struct meta_topic_answer *ta = &mj->answer.topics[i];
        if (ta->error == KAFKA_ERROR_NONE && find_seen(n, &ta->id) == NULL) {
            add_seen(n, &ta->id, str_from(mj->request.names[i]))->made_by = mj->request.id;
        }
    }
}

void meta_check_block(struct meta_node *n, int64_t first)
{
    for (size_t i = 0; i < n->blocks_count; i++) {
        sim_expect(n->s,
                   first >= n->blocks[i] + CONTROLLER_PRODUCER_ID_BLOCK ||
                       first + CONTROLLER_PRODUCER_ID_BLOCK <= n->blocks[i],
                   "the producer ids from %" PRId64 " are handed out again with %" PRId64, first,
                   n->blocks[i]);
    }
    n->blocks = mem_grow(n->blocks, &n->blocks_cap, n->blocks_count + 1, sizeof(n->blocks[0]));
    n->blocks[n->blocks_count++] = first;
    sim_happened(n->s, "block of producer ids");
}

void meta_check_release(struct meta_node *n)
{
    n->seen = mem_free(n->seen);
    n->blocks = mem_free(n->blocks);
}
