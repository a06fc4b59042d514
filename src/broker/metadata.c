/*
 * The metadata thread. It sleeps until there are jobs, takes all that wait, and works them off as
 * one batch:
 *
 * - decide: each job against the image that the jobs before it have made; its records are replayed
 *   at once;
 * - append: the records of the jobs, those of one job always in one batch of the log, so that all
 *   or none survive;
 * - flush: one sync for all of them;
 * - apply: partitions follow the new image;
 * - publish: loops see the image from their next turn on;
 * - done: each job on its own loop.
 *
 * Jobs that come meanwhile wait and make the next batch: the disk sets the size of batches by
 * itself.
 *
 * What there is no room for is refused: the log is as it was, the images made from the batch are
 * thrown away, its jobs fail, and the next batch tries again. After a failed sync nobody knows what
 * the log holds: every job fails from then on, and the owner is told once (metadata_set_fatal).
 *
 * At a start everything that a node writes (the leader's first batch, the cluster's first records,
 * its registrations, its leaderships) is appended before the one sync. A node of a cluster that
 * has begun serves, too, when there is no room for it: its image has these records, which say no
 * more than that it serves, and the log gets them at these very offsets, before any other, as soon
 * as there is room. Should it end before, the next start finds the same log and does the same.
 *
 * Invariant: published is what stable storage holds, or that and what a start owes to it; newest is
 * published or ahead of it, and only the metadata thread knows it.
 *
 * Answers to Kafka's QuorumController, MetadataLoader, SnapshotGenerator, BrokerLifecycleManager.
 */
#include "broker/metadata.h"

#include "base/err.h"
#include "broker/broker.h"
#include "broker/metadata_impl.h"
#include "config/config.h"
#include "meta/bootstrap.h"
#include "meta/controller.h"
#include "net/loop.h"
#include "raft/raft_node.h"

#define WISHES_MAX 100

#define SNAPSHOT_COMPLAINT_MS 60000
#define REFUSAL_COMPLAINT_MS  60000
#define OWED_RETRY_MS         5000 /* while a start owes records and nobody changes anything */

/* ---- the log and the images made from it ---- */

static void publish(struct metadata *md)
{
    lock_take(&md->image_lock);
    struct image *before = md->published;
    md->published = image_ref(md->newest);
    lock_give(&md->image_lock);
    image_unref(before);
}

struct image *metadata_image(struct metadata *md)
{
    lock_take(&md->image_lock);
    struct image *im = image_ref(md->published);
    lock_give(&md->image_lock);
    return im;
}

static int write_image(void *ctx, int (*each)(void *each_ctx, struct view value), void *each_ctx)
{
    return image_write_snapshot(ctx, each, each_ctx);
}

static void take_snapshot(struct metadata *md)
{
    if (md->owed.count > 0 || !raft_node_snapshot_is_due(md->rn) ||
        image_is_in_transaction(md->newest)) {
        return;
    }
    int r = raft_node_snapshot(md->rn, image_offset(md->newest), image_epoch(md->newest),
                               write_image, md->newest);
    struct log_left_out left_out;
    if (r < 0 &&
        log_limit_pass(&md->snapshot_limit, md->br->clock, SNAPSHOT_COMPLAINT_MS, &left_out)) {
        LOG_WARN(md->br->logger, FAC_META,
                 "no snapshot of the metadata at offset %" PRId64
                 ": %s; it is tried again with the next change%s",
                 image_offset(md->newest), err_text(r), left_out.text);
    }
}

/* ---- one batch of jobs ---- */

static void run_done(struct job *j)
{
    struct metadata_job *mj = container_of(j, struct metadata_job, job);
    struct image *im = mj->image;
    mj->done(mj, mj->err); /* it may free the job */
    image_unref(im);
}

static void finish_job(struct metadata_job *mj)
{
    mj->job.run = run_done;
    list_init(&mj->job.node);
    if (!loop_post(mj->loop, &mj->job)) {
        run_done(&mj->job); /* its loop has ended: nobody else runs there */
    }
}

static void finish_jobs(struct list *jobs, int err)
{
    for (struct list *node; (node = list_pop_front(jobs)) != NULL;) {
        struct metadata_job *mj = list_entry(node, struct metadata_job, job.node);
        if (err < 0) {
            mj->err = err;
        }
        finish_job(mj);
    }
}

static size_t bytes_of(const struct meta_records *records, size_t start)
{
    size_t bytes = 0;
    for (size_t i = start; i < records->count; i++) {
        bytes += records->items[i].len;
    }
    return bytes;
}

/* A batch of the log that is being filled with the records of whole jobs. */
struct pending {
    struct meta_records records;
    size_t bytes;
    struct list jobs; /* from the first with records on: they have seen what is in it */
};

static void give_ids(struct metadata *md)
{
    if (md->new_next_id == md->new_end_id) {
        return;
    }
    lock_take(&md->ids_lock);
    md->next_id = md->new_next_id;
    md->end_id = md->new_end_id;
    lock_give(&md->ids_lock);
    md->new_next_id = md->new_end_id;
}

static int append_and_flush(struct metadata *md, const struct pending *pd)
{
    int64_t offset;
    int r = metadata_owed_append(&md->owed, md->rn);
    if (r >= 0 && pd->records.count > 0) {
        r = raft_node_append(md->rn, pd->records.items, pd->records.count, &offset);
    }
    r = r < 0 ? r : raft_node_flush(md->rn, &offset);
    if (r >= 0) {
        check(offset > image_offset(md->newest));
    }
    return r;
}

/* There is no room: the cluster stays as it was before this batch. */
static void refuse(struct metadata *md, int err)
{
    struct log_left_out left_out;
    image_unref(md->newest);
    md->newest = image_ref(md->published);
    md->new_next_id = md->new_end_id;
    if (log_limit_pass(&md->refusal_limit, md->br->clock, REFUSAL_COMPLAINT_MS, &left_out)) {
        LOG_WARN(md->br->logger, FAC_META,
                 "the metadata log takes nothing: %s; what changes topics, configs or producer ids "
                 "is refused, and tried again with each request%s",
                 err_text(err), left_out.text);
    }
}

/* Writes, publishes and finishes the jobs; a negative result means that the log failed. */
static int commit(struct metadata *md, struct pending *pd)
{
    int r = 0;
    bool has_owed = md->owed.count > 0;
    if (pd->records.count > 0 || has_owed) {
        r = append_and_flush(md, pd);
    }
    if (r >= 0) {
        if (md->newest != md->published) { /* only this thread changes it */
            md->on_image(md->br, md->published, md->newest);
            publish(md);
            give_ids(md);
        }
        if (has_owed) {
            metadata_owed_release(&md->owed);
            LOG_INFO(md->br->logger, FAC_META, "the metadata log holds what this start owed to it");
        }
    } else if (err_is_passing(r) && raft_node_is_usable(md->rn)) {
        refuse(md, r);
    }
    finish_jobs(&pd->jobs, r);
    meta_records_init(&pd->records, &md->arena);
    pd->bytes = 0;
    return r < 0 && err_is_passing(r) && raft_node_is_usable(md->rn) ? 0 : r;
}

static int take_records(struct metadata *md,
                        struct metadata_job *mj,
                        struct meta_records *own,
                        struct pending *pd)
{
    int64_t base_offset = metadata_next_offset(md) + to_i64(pd->records.count);
    int r = metadata_replay(md, own->items, own->count, base_offset);
    if (r < 0) {
        LOG_ERROR(md->br->logger, FAC_META, "a decision made records that cannot be replayed: %s",
                  err_text(r));
        mj->err = r;
    } else {
        meta_records_add_all(&pd->records, own);
        pd->bytes += bytes_of(own, 0);
    }
    return r;
}

/* Decides one job. A refusal of ours becomes the job's own error; a negative result means that the
 * log failed. */
static int decide_job(struct metadata *md, struct metadata_job *mj, struct pending *pd)
{
    struct meta_records own;
    meta_records_init(&own, &md->arena);
    mj->err = 0;
    mj->image = image_ref(md->newest);
    mj->decide(mj, mj->image, &own);
    size_t bytes = bytes_of(&own, 0);
    bool is_too_large = own.count > RAFT_NODE_RECORDS_MAX || bytes > METADATA_BATCH_BYTES_MAX;
    int r = 0;
    if (is_too_large) {
        mj->err = ERR_TOO_LARGE;
    } else if (pd->records.count + own.count > RAFT_NODE_RECORDS_MAX ||
               pd->bytes + bytes > METADATA_BATCH_BYTES_MAX) {
        const struct image *seen = md->newest;
        r = commit(md, pd);
        mj->err = md->newest != seen ? ERR_OFFLINE : 0; /* what it was decided upon is not so */
    }
    if (r >= 0 && mj->err == 0) {
        IGNORE(take_records(md, mj, &own, pd)); /* it is the job's */
    }
    if (md->newest == md->published) {
        finish_job(mj);
    } else {
        list_init(&mj->job.node);
        list_push_back(&pd->jobs, &mj->job.node);
    }
    return r;
}

/* Decides and commits; a negative result means that the log failed. */
static int work_off(struct metadata *md, struct list *jobs)
{
    struct pending pd = {.bytes = 0};
    int r = 0;
    meta_records_init(&pd.records, &md->arena);
    list_init(&pd.jobs);
    for (struct list *node; r >= 0 && (node = list_pop_front(jobs)) != NULL;) {
        r = decide_job(md, list_entry(node, struct metadata_job, job.node), &pd);
    }
    r = r < 0 ? r : commit(md, &pd);
    finish_jobs(&pd.jobs, r);
    return r;
}

static void fail(struct metadata *md, int err)
{
    md->failure = err;
    LOG_ERROR(md->br->logger, FAC_META,
              "the metadata log cannot be written: %s; topics and configs can no longer be changed",
              err_text(err));
    image_unref(md->newest);
    md->newest = image_ref(md->published);
    if (md->fatal != NULL) {
        md->fatal(md->fatal_ctx, err);
    }
}

static void work(struct metadata *md, struct list *jobs)
{
    if (md->failure == 0) {
        arena_reset(&md->arena);
        int r = work_off(md, jobs);
        if (r < 0) {
            fail(md, r);
        }
    }
    finish_jobs(jobs, md->failure);
    if (md->failure == 0) {
        take_snapshot(md);
    }
}

/* ---- the thread ---- */

/* Waits for jobs, or until what is owed is tried again, and moves them to ret; false: it is time to
 * stop (jobs that are left are in ret). */
static bool next_jobs(struct metadata *md, struct list *ret)
{
    list_init(ret);
    lock_take(&md->jobs_lock);
    bool waits = true;
    while (waits && list_is_empty(&md->jobs) && !md->is_stopping) {
        if (md->owed.count == 0 || md->failure < 0) {
            cond_wait(&md->jobs_cond, &md->jobs_lock);
        } else {
            waits = cond_wait_ms(&md->jobs_cond, &md->jobs_lock, OWED_RETRY_MS);
        }
    }
    list_splice_back(ret, &md->jobs);
    bool goes_on = !md->is_stopping;
    lock_give(&md->jobs_lock);
    return goes_on;
}

static void run(void *ctx)
{
    struct metadata *md = ctx;
    struct list jobs;
    bool goes_on = true;
    while (goes_on) {
        goes_on = next_jobs(md, &jobs);
        if (!list_is_empty(&jobs) || md->owed.count > 0) {
            work(md, &jobs);
        }
    }
}

int metadata_start(struct metadata *md)
{
    return thread_start(&md->thread, "metadata", run, md);
}

void metadata_submit(struct metadata *md, struct metadata_job *mj)
{
    mj->image = NULL;
    lock_take(&md->jobs_lock);
    bool is_stopping = md->is_stopping;
    bool was_empty = list_is_empty(&md->jobs);
    if (!is_stopping) {
        list_push_back(&md->jobs, &mj->job.node);
    }
    lock_give(&md->jobs_lock);
    if (is_stopping) {
        mj->err = ERR_CLOSED;
        finish_job(mj);
    } else if (was_empty) {
        cond_signal(&md->jobs_cond);
    }
}

/* ---- start ---- */

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

static int load(struct metadata *md, const char *dir, char *ret_error, size_t error_cap)
{
    struct broker *br = md->br;
    struct image *empty = image_new_empty();
    struct loading ld = {.d = image_delta_new(empty), .offset = -1};
    image_unref(empty);
    const struct raft_node_options options = {
        .env = br->env,
        .dir = dir,
        .node_id = br->node_id,
        .directory_id = br->directory_id,
        .static_voters = config_get_str(br->config, "controller.quorum.voters"),
        .segment_bytes = config_get_int(br->config, "metadata.log.segment.bytes"),
        .segment_ms = config_get_int(br->config, "metadata.log.segment.ms"),
        .snapshot_bytes =
            config_get_int(br->config, "metadata.log.max.record.bytes.between.snapshots"),
        .snapshot_interval_ms = config_get_int(br->config, "metadata.log.max.snapshot.interval.ms"),
        .retention_bytes = config_get_int(br->config, "metadata.max.retention.bytes"),
        .retention_ms = config_get_int(br->config, "metadata.max.retention.ms"),
        .is_first_start = metadata_is_first_start(br, dir),
        .on_record = on_record,
        .ctx = &ld,
    };
    char error[RAFT_NODE_ERROR_BYTES];
    int r = raft_node_open(&options, error, &md->rn);
    if (r < 0) {
        (void)snprintf(ret_error, error_cap, "%s", error[0] == '\0' ? err_text(r) : error);
        image_delta_free(ld.d);
        return r;
    }
    md->newest = image_delta_finish(ld.d, ld.offset, ld.epoch);
    return 0;
}

static int begin(struct metadata *md)
{
    struct meta_records records;
    struct pending none = {.bytes = 0};
    bool has_begun = image_feature_level(md->newest, STR(METADATA_VERSION)) > 0;
    meta_records_init(&records, &md->owed.arena);
    int r = raft_node_lead(md->rn);
    r = r < 0 ? r : metadata_begin_cluster(md, &records);
    r = r < 0 ? r : metadata_register_node(md, &records);
    if (r < 0) {
        return r;
    }
    meta_records_init(&none.records, &md->arena);
    r = append_and_flush(md, &none);
    if (r >= 0) {
        metadata_owed_release(&md->owed);
    } else if (has_begun && err_is_passing(r) && raft_node_is_usable(md->rn)) {
        LOG_WARN(md->br->logger, FAC_META,
                 "the metadata log does not take the records of this start: %s; it is tried again, "
                 "and until then what changes topics, configs or producer ids is refused",
                 err_text(r));
        r = 0;
    }
    return r;
}

int metadata_open(struct broker *br,
                  metadata_image_fn *on_image,
                  struct metadata **ret,
                  char *ret_error,
                  size_t error_cap)
{
    struct metadata *md = mem_zalloc(sizeof(*md));
    md->br = br;
    md->on_image = on_image;
    lock_init(&md->image_lock, LOCK_LEAF);
    lock_init(&md->ids_lock, LOCK_LEAF);
    lock_init(&md->jobs_lock, LOCK_MAILBOX);
    cond_init(&md->jobs_cond);
    list_init(&md->jobs);
    struct arena paths = {0};
    const char *dir = metadata_dir(br, &paths);
    int r = load(md, dir, ret_error, error_cap);
    if (r >= 0) {
        r = begin(md);
        if (r < 0) {
            (void)snprintf(ret_error, error_cap, "the metadata log in %s cannot be written: %s",
                           dir, err_text(r));
        }
    }
    arena_release(&paths);
    if (r < 0) {
        metadata_free(md);
        return r;
    }
    struct raft_node_description rd;
    raft_node_describe(md->rn, &rd);
    md->kraft_version = rd.kraft_version;
    arena_reset(&md->arena);
    struct image *nothing = image_new_empty();
    on_image(br, nothing, md->newest);
    image_unref(nothing);
    publish(md);
    take_snapshot(md);
    *ret = md;
    return 0;
}

/* ---- stop ---- */

/* What a stopping broker leaves behind: no leaderships, and itself fenced. */
static int retire(struct metadata *md)
{
    struct meta_records records;
    arena_reset(&md->arena);
    meta_records_init(&records, &md->arena);
    controller_broker_stops(md->newest, md->br->node_id, &records);
    int r = metadata_owe(md, &records);
    return r < 0 ? r : metadata_owed_append(&md->owed, md->rn);
}

void metadata_stop(struct metadata *md, bool is_clean)
{
    lock_take(&md->jobs_lock);
    md->is_stopping = true;
    lock_give(&md->jobs_lock);
    cond_signal(&md->jobs_cond);
    thread_join(&md->thread);
    struct list left;
    list_init(&left);
    lock_take(&md->jobs_lock);
    list_splice_back(&left, &md->jobs);
    lock_give(&md->jobs_lock);
    finish_jobs(&left, ERR_CLOSED);
    int r = md->failure;
    if (is_clean && r == 0) {
        r = retire(md);
    }
    int closed = raft_node_close(md->rn, is_clean && r == 0);
    md->rn = NULL;
    r = r < 0 ? r : closed;
    if (r < 0) {
        md->br->has_failed_stop = true;
        LOG_WARN(md->br->logger, FAC_META, "the metadata log was not closed cleanly: %s",
                 err_text(r));
    }
}

struct metadata *metadata_free(struct metadata *md)
{
    if (md == NULL) {
        return NULL;
    }
    IGNORE(raft_node_close(md->rn, false)); /* only when it was never stopped */
    image_unref(md->newest);
    image_unref(md->published);
    metadata_owed_release(&md->owed);
    arena_release(&md->arena);
    cond_release(&md->jobs_cond);
    lock_release(&md->jobs_lock);
    lock_release(&md->ids_lock);
    lock_release(&md->image_lock);
    mem_free(md);
    return NULL;
}

/* ---- small things ---- */

bool metadata_take_producer_id(struct metadata *md, int64_t *ret)
{
    lock_take(&md->ids_lock);
    bool has_id = md->next_id < md->end_id;
    if (has_id) {
        *ret = md->next_id++;
    }
    lock_give(&md->ids_lock);
    return has_id;
}

int metadata_decide_producer_id(struct metadata *md,
                                const struct image *im,
                                struct meta_records *records,
                                int64_t *ret)
{
    if (metadata_take_producer_id(md, ret)) {
        return 0; /* an earlier batch has brought a block */
    }
    if (md->new_next_id == md->new_end_id) {
        struct controller ct = {.node_id = md->br->node_id};
        int64_t first;
        int r = controller_allocate_producer_ids(&ct, im, records, &first);
        if (r < 0) {
            return r;
        }
        md->new_next_id = first;
        md->new_end_id = first + CONTROLLER_PRODUCER_ID_BLOCK;
    }
    *ret = md->new_next_id++;
    return 0;
}

bool metadata_begin_wish(struct metadata *md)
{
    /* Relaxed: a bound on numbers, nothing is ordered by it. */
    if (atomic_fetch_add_explicit(&md->wishes, 1, memory_order_relaxed) < WISHES_MAX) {
        return true;
    }
    metadata_end_wish(md);
    return false;
}

void metadata_end_wish(struct metadata *md)
{
    atomic_fetch_sub_explicit(&md->wishes, 1, memory_order_relaxed);
}

int16_t metadata_kraft_version(const struct metadata *md)
{
    return md->kraft_version;
}

void metadata_set_fatal(struct metadata *md, void (*fatal)(void *ctx, int err), void *ctx)
{
    md->fatal = fatal;
    md->fatal_ctx = ctx;
}
