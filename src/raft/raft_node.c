/*
 * Drives quorum and log of this node; see raft_node.h.
 *
 * Order at the start of an epoch: quorum-state first, then the first batch of the epoch. A crash
 * between the two wastes an epoch, no more; so does a full disk, which may take the batch and not
 * the file. On a first start both become stable with one sync of the file system, the batch
 * possibly without the file's name: the epoch is in the batch, too.
 */
#include "raft/raft_node.h"

#include "base/err.h"
#include "base/mem.h"
#include "raft/quorum_file.h"
#include "raft/raft_log.h"
#include "storage/plog.h"

#define STATE_FILE "quorum-state"

struct raft_node {
    struct raft_node_options o;
    struct raft_log *rl; /* owned */
    struct quorum q;
    struct raft_log_found found; /* voters, kraft.version, bootstrap records */
    char state_path[SNAPSHOT_PATH_MAX + 64];
    bool has_unnamed_state; /* quorum-state.tmp waits for the first flush */
    bool owes_state;        /* quorum-state could not be written, and `election` should be there */
    struct quorum_election election;
    int64_t epoch_offset;     /* of the first batch of this epoch */
    int32_t epoch_records;    /* in it; 0: this node does not lead */
    int64_t snapshot_end;     /* of the newest one; 0: none */
    int64_t bytes_since;      /* in the log since then */
    int64_t staged_bytes;     /* on their way to it */
    int64_t last_snapshot_ms; /* or of the start */
    int64_t last_timestamp;   /* of the last batch */
};

static int64_t now_of(const struct raft_node *rn)
{
    return clock_now_ms(rn->o.env->clock);
}

/* --- opening --- */

__attribute__((format(printf, 3, 4))) static int
refuse(char *ret_error, int err, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(ret_error, RAFT_NODE_ERROR_BYTES, format, args);
    va_end(args);
    return err;
}

/* Dynamic voters of the log win over static ones of the configuration, as in Kafka. */
static int decide_voters(struct raft_node *rn, char *ret_error)
{
    struct control_state *cs = &rn->found.control;
    if (cs->kraft_version > 0 && cs->has_voters) {
        return 0;
    }
    if (rn->o.static_voters.len > 0) {
        int r = voters_parse(&cs->voters, rn->o.static_voters);
        if (r < 0) {
            return refuse(ret_error, r, "controller.quorum.voters must be a list of id@host:port");
        }
        return 0;
    }
    voters_clear(&cs->voters);
    return 0;
}

static int explain(struct raft_node *rn, enum quorum_refusal refusal, char *ret_error)
{
    char text[256];
    struct strbuf sb;
    strbuf_init(&sb, text, sizeof(text));
    voters_print(&rn->found.control.voters, &sb);
    switch (refusal) {
    case QUORUM_ACCEPTED:
        break;
    case QUORUM_NO_VOTERS:
        return refuse(ret_error, ERR_UNSUPPORTED,
                      "%s names no voters: it was formatted without initial controllers, to join a "
                      "quorum of others, which is not supported yet; format it with --standalone",
                      rn->o.dir);
    case QUORUM_NOT_A_VOTER:
        return refuse(ret_error, ERR_MISMATCH,
                      "node %d with the directory id of %s is not a voter of its quorum (%s)",
                      rn->o.node_id, rn->o.dir, text);
    case QUORUM_OTHER_VOTERS:
        return refuse(
            ret_error, ERR_UNSUPPORTED,
            "%s belongs to a quorum of %d voters (%s); quorums of more than one voter are "
            "not supported yet",
            rn->o.dir, rn->found.control.voters.count, text);
    }
    return 0;
}

static int start_quorum(struct raft_node *rn, char *ret_error)
{
    const struct voters *vs = &rn->found.control.voters;
    struct quorum_event ev = {
        .type = QUORUM_START,
        .now_ms = now_of(rn),
        .log_epoch = rn->found.last_epoch,
        .voters_count = vs->count,
        .is_voter = voters_find(vs, rn->o.node_id, &rn->o.directory_id) != NULL,
    };
    int r = quorum_file_read(rn->o.env->fs, rn->state_path, &ev.election);
    if (r == ERR_MALFORMED || r == ERR_UNSUPPORTED || r == ERR_TRUNCATED || r == -EFBIG) {
        LOG_WARN(rn->o.env->logger, FAC_RAFT,
                 "%s cannot be read (%s): made again from the epoch of the log, %d", rn->state_path,
                 err_text(r), rn->found.last_epoch);
        ev.election = (struct quorum_election){.leader_id = -1, .voted_id = -1};
    } else if (r < 0) {
        return refuse(ret_error, r, "%s cannot be read: %s", rn->state_path, err_text(r));
    }
    struct quorum_effects effects;
    quorum_init(&rn->q, rn->o.node_id, &rn->o.directory_id);
    quorum_step(&rn->q, &ev, &effects);
    return explain(rn, effects.refusal, ret_error);
}

static void warn_of_damage(const struct raft_node *rn)
{
    const struct raft_log_found *f = &rn->found;
    if (f->damaged_snapshots > 0) {
        LOG_WARN(rn->o.env->logger, FAC_RAFT,
                 "%zu damaged metadata snapshots in %s were passed over; loaded from %" PRId64
                 " and the log behind it",
                 f->damaged_snapshots, raft_log_path(rn->rl), f->snapshot.end_offset);
    }
    if (f->bootstrap_error < 0) {
        LOG_WARN(rn->o.env->logger, FAC_RAFT,
                 "the bootstrap snapshot in %s cannot be read (%s): passed over, what it began is "
                 "in the log or in another snapshot",
                 raft_log_path(rn->rl), err_text(f->bootstrap_error));
    }
    if (f->was_log_replaced) {
        LOG_WARN(rn->o.env->logger, FAC_RAFT,
                 "the metadata log in %s ended before its snapshot: it begins anew at %" PRId64,
                 raft_log_path(rn->rl), f->snapshot.end_offset);
    }
}

static int open_log(struct raft_node *rn, char *ret_error)
{
    const struct raft_log_options log_options = {
        .env = rn->o.env,
        .dir = rn->o.dir,
        .segment_bytes = rn->o.segment_bytes,
        .segment_ms = rn->o.segment_ms,
        .is_first_start = rn->o.is_first_start,
        .reader = {.on_record = rn->o.on_record, .ctx = rn->o.ctx},
    };
    int r = raft_log_open(&log_options, &rn->found, &rn->rl);
    if (r < 0) {
        return refuse(ret_error, r, "%s", rn->found.error);
    }
    warn_of_damage(rn);
    rn->snapshot_end = rn->found.snapshot.end_offset;
    rn->last_timestamp = rn->found.last_timestamp;
    rn->last_snapshot_ms = now_of(rn);
    rn->bytes_since = raft_log_end(rn->rl) > rn->snapshot_end ? raft_log_bytes(rn->rl) : 0;
    snprintf(rn->state_path, sizeof(rn->state_path), "%s/" STATE_FILE, raft_log_path(rn->rl));
    return 0;
}

int raft_node_open(const struct raft_node_options *o,
                   char ret_error[static RAFT_NODE_ERROR_BYTES],
                   struct raft_node **ret)
{
    struct raft_node *rn = mem_zalloc(sizeof(*rn));
    rn->o = *o;
    ret_error[0] = '\0';
    int r = open_log(rn, ret_error);
    r = r < 0 ? r : decide_voters(rn, ret_error);
    r = r < 0 ? r : start_quorum(rn, ret_error);
    if (r < 0) {
        IGNORE(raft_node_close(rn, false)); /* the first failure is the one to tell */
        return r;
    }
    *ret = rn;
    return 0;
}

int raft_node_close(struct raft_node *rn, bool is_clean)
{
    if (rn == NULL) {
        return 0;
    }
    int64_t committed;
    int r = 0;
    if (is_clean) {
        r = raft_node_flush(rn, &committed);
        struct quorum_event ev = {.type = QUORUM_RESIGN};
        struct quorum_effects effects;
        quorum_step(&rn->q, &ev, &effects);
    }
    int closed = raft_log_close(rn->rl, is_clean && r >= 0);
    voters_release(&rn->found.control.voters);
    arena_release(&rn->found.bootstrap_arena);
    mem_free(rn);
    return r < 0 ? r : closed;
}

void raft_node_bootstrap(const struct raft_node *rn, const struct view **ret, size_t *ret_count)
{
    *ret = rn->found.bootstrap;
    *ret_count = rn->found.bootstrap_count;
}

/* --- leading --- */

static int persist(struct raft_node *rn, const struct quorum_election *e)
{
    char text[8192];
    char temporary[sizeof(rn->state_path) + 4];
    struct strbuf sb;
    struct fs *fs = rn->o.env->fs;
    strbuf_init(&sb, text, sizeof(text));
    int16_t version = rn->found.control.kraft_version > 0 ? 1 : 0;
    int r = quorum_file_print(e, version, &rn->found.control.voters, &sb);
    if (r < 0) {
        return r;
    }
    if (!rn->o.is_first_start) {
        return fs_replace_file(fs, rn->state_path, sb.ptr, sb.len);
    }
    struct fs_file *file;
    snprintf(temporary, sizeof(temporary), "%s.tmp", rn->state_path);
    r = fs_open(fs, temporary, FS_WRITE | FS_CREATE | FS_TRUNCATE, &file);
    if (r >= 0) {
        r = fs_pwrite(file, sb.ptr, sb.len, 0);
        fs_file_unref(file);
        rn->has_unnamed_state = r >= 0;
    }
    return r;
}

/* The batch that begins the epoch. */
static int build_epoch_start(struct raft_node *rn, struct batch_builder *bb, int64_t now_ms)
{
    const struct control_state *cs = &rn->found.control;
    control_batch_init(bb, true, 0, rn->q.epoch, now_ms);
    int r = control_add_leader_change(bb, now_ms, rn->q.node_id, &cs->voters);
    if (r >= 0 && cs->kraft_version > 0 && !rn->found.has_log_voters) {
        r = control_add_kraft_version(bb, now_ms, cs->kraft_version);
        r = r < 0 ? r : control_add_voters(bb, now_ms, &cs->voters);
    }
    return r;
}

static bool wants_epoch_start(const struct raft_node *rn)
{
    return rn->epoch_records > 0 && raft_log_end(rn->rl) == rn->epoch_offset;
}

static int begin_epoch(struct raft_node *rn)
{
    struct batch_builder bb;
    int64_t now_ms = now_of(rn);
    int64_t base_offset;
    if (!wants_epoch_start(rn)) {
        return 0;
    }
    int r = build_epoch_start(rn, &bb, now_ms);
    r = r < 0 ? r : raft_log_append(rn->rl, &bb, now_ms, &base_offset);
    batch_builder_release(&bb);
    return r;
}

/* How many records begin the epoch is known before they are in the log. */
static int plan_epoch(struct raft_node *rn)
{
    struct batch_builder bb;
    int r = raft_log_become_leader(rn->rl, rn->q.epoch);
    if (r < 0) {
        return r;
    }
    r = build_epoch_start(rn, &bb, now_of(rn));
    if (r >= 0) {
        rn->epoch_offset = raft_log_end(rn->rl);
        rn->epoch_records = bb.records_count;
    }
    batch_builder_release(&bb);
    return r;
}

int raft_node_lead(struct raft_node *rn)
{
    struct quorum_event ev = {.type = QUORUM_ELECTION_TIMEOUT, .now_ms = now_of(rn)};
    struct quorum_effects effects;
    quorum_step(&rn->q, &ev, &effects);
    int r = effects.must_persist ? persist(rn, &effects.election) : 0;
    if (err_is_passing(r) && !rn->o.is_first_start) {
        rn->owes_state = true;
        rn->election = effects.election;
        r = 0;
    }
    return r < 0 || !effects.has_become_leader ? r : plan_epoch(rn);
}

bool raft_node_is_usable(struct raft_node *rn)
{
    return raft_log_is_usable(rn->rl);
}

int64_t raft_node_next_offset(const struct raft_node *rn)
{
    return raft_log_end(rn->rl) + (wants_epoch_start(rn) ? rn->epoch_records : 0);
}

int32_t raft_node_epoch(const struct raft_node *rn)
{
    return rn->q.epoch;
}

int raft_node_append(struct raft_node *rn,
                     const struct view *records,
                     size_t count,
                     int64_t *ret_base_offset)
{
    check(rn->q.state == QUORUM_LEADER);
    if (count > RAFT_NODE_RECORDS_MAX) {
        return ERR_TOO_LARGE;
    }
    struct batch_builder bb;
    int64_t now_ms = now_of(rn);
    size_t bytes = BATCH_HEADER_BYTES;
    control_batch_init(&bb, false, 0, rn->q.epoch, now_ms);
    for (size_t i = 0; i < count; i++) {
        batch_builder_add(&bb, now_ms, (struct view){0}, records[i]);
        bytes += records[i].len;
    }
    int r = begin_epoch(rn);
    r = r < 0 ? r : raft_log_append(rn->rl, &bb, now_ms, ret_base_offset);
    batch_builder_release(&bb);
    if (r >= 0) {
        rn->staged_bytes += to_i64(bytes);
        rn->last_timestamp = now_ms;
    }
    return r;
}

int raft_node_flush(struct raft_node *rn, int64_t *ret_committed)
{
    bool is_first = rn->has_unnamed_state;
    int r = begin_epoch(rn);
    r = r < 0 ? r : raft_log_flush(rn->rl, is_first);
    if (r >= 0 && is_first) {
        char temporary[sizeof(rn->state_path) + 4];
        snprintf(temporary, sizeof(temporary), "%s.tmp", rn->state_path);
        r = fs_rename(rn->o.env->fs, temporary, rn->state_path);
        rn->has_unnamed_state = false;
    }
    rn->bytes_since += r >= 0 ? rn->staged_bytes : 0;
    rn->staged_bytes = 0;
    if (r >= 0) {
        rn->owes_state = rn->owes_state && persist(rn, &rn->election) < 0;
        *ret_committed = raft_log_flushed(rn->rl);
    }
    return r;
}

void raft_node_describe(struct raft_node *rn, struct raft_node_description *ret)
{
    *ret = (struct raft_node_description){
        .leader_id = rn->q.state == QUORUM_LEADER ? rn->q.node_id : -1,
        .leader_epoch = rn->q.epoch,
        .high_watermark = raft_log_flushed(rn->rl),
        .log_end = raft_log_end(rn->rl),
        .log_start = raft_log_start(rn->rl),
        .kraft_version = rn->found.control.kraft_version,
        .voters = &rn->found.control.voters,
    };
}

/* --- snapshots --- */

bool raft_node_snapshot_is_due(const struct raft_node *rn)
{
    int64_t bytes = rn->bytes_since + rn->staged_bytes;
    if (bytes == 0) {
        return false;
    }
    if (bytes >= rn->o.snapshot_bytes) {
        return true;
    }
    return rn->o.snapshot_interval_ms > 0 &&
           now_of(rn) - rn->last_snapshot_ms >= rn->o.snapshot_interval_ms;
}

static int add_record(void *ctx, struct view value)
{
    return snapshot_writer_add(ctx, value);
}

static int64_t
file_bytes(const struct raft_node *rn, const struct snapshot_id *id, int64_t *ret_mtime_ms)
{
    char path[SNAPSHOT_PATH_MAX + 64];
    struct fs_stat st;
    *ret_mtime_ms = now_of(rn);
    int r = snapshot_path(raft_log_path(rn->rl), id, "", path, sizeof(path));
    r = r < 0 ? r : fs_stat(rn->o.env->fs, path, &st);
    if (r < 0) {
        return 0;
    }
    *ret_mtime_ms = st.mtime_ms;
    return st.size;
}

/* Forgets the oldest snapshots, and the log before the oldest that stays, while there are too many
 * bytes or they are too old. The newest always stays. */
static int retain(struct raft_node *rn)
{
    struct snapshot_id *ids;
    size_t count;
    struct fs *fs = rn->o.env->fs;
    int r = snapshot_list(fs, raft_log_path(rn->rl), &ids, &count);
    if (r < 0) {
        return r;
    }
    int64_t mtime_ms;
    int64_t total = raft_log_bytes(rn->rl);
    for (size_t i = 0; i < count; i++) {
        total += file_bytes(rn, &ids[i], &mtime_ms);
    }
    for (size_t i = 0; i + 1 < count && r >= 0; i++) {
        int64_t size = file_bytes(rn, &ids[i], &mtime_ms);
        bool is_too_much = rn->o.retention_bytes >= 0 && total > rn->o.retention_bytes;
        bool is_too_old = rn->o.retention_ms >= 0 && now_of(rn) - mtime_ms > rn->o.retention_ms;
        if (!is_too_much && !is_too_old) {
            break;
        }
        char path[SNAPSHOT_PATH_MAX + 64];
        int64_t before = raft_log_bytes(rn->rl);
        r = raft_log_advance_start(rn->rl, ids[i + 1].end_offset);
        r = r < 0 ? r : snapshot_path(raft_log_path(rn->rl), &ids[i], "", path, sizeof(path));
        r = r < 0 ? r : fs_unlink(fs, path);
        total -= size + before - raft_log_bytes(rn->rl);
    }
    mem_free(ids);
    return r;
}

int raft_node_snapshot(struct raft_node *rn,
                       int64_t last_offset,
                       int32_t last_epoch,
                       int (*write)(void *ctx,
                                    int (*each)(void *each_ctx, struct view value),
                                    void *each_ctx),
                       void *ctx)
{
    struct snapshot_id id = {.end_offset = last_offset + 1, .epoch = last_epoch};
    check(id.end_offset <= raft_log_flushed(rn->rl));
    if (id.end_offset <= rn->snapshot_end) {
        return 0;
    }
    int64_t now_ms = now_of(rn);
    const struct control_state *cs = &rn->found.control;
    struct snapshot_writer sw;
    int r = snapshot_writer_open(&sw, rn->o.env->fs, raft_log_path(rn->rl), &id, rn->last_timestamp,
                                 now_ms, cs->kraft_version > 0 ? &cs->voters : NULL);
    if (r < 0) {
        return r;
    }
    r = write(ctx, add_record, &sw);
    r = snapshot_writer_close(&sw, SNAPSHOT_SYNCED, r);
    if (r < 0) {
        return r;
    }
    rn->snapshot_end = id.end_offset;
    rn->bytes_since = 0;
    rn->last_snapshot_ms = now_ms;
    return retain(rn);
}
