/*
 * Is a recovered directory what it must be? For each log:
 *
 *   - it opens; log start and log end lie within what was promised
 *   - every acknowledged batch is there, at its offset, byte for byte, and no byte is served that
 * was never appended; what lies beyond the acknowledged end is a prefix of what was written, but
 * for places where unsynced pages were lost, which answer CORRUPT_MESSAGE
 *   - producers are those of a replay of what is there; the last batch of each is known as a
 * duplicate
 *   - the last stable offset and the list of aborted transactions are those of a replay
 *   - opening again gives the same, and cuts nothing more
 *   - it takes appends, which survive the next power cut; its index files agree with its batches
 *   - nothing is left of what was deleted, and the log that has a deleted one's name has its
 * records
 */
#include "crash_check.h"

#include "base/base.h"
#include "base/err.h"
#include "crash_workload.h"
#include "storage/fd_cache.h"
#include "storage/flusher.h"
#include "storage/side_file.h"
#include "storage/trash.h"

enum {
    BATCHES_MAX = 4096,
    PRODUCERS_MAX = 64,
    READ_BYTES = 3000,
};

struct seen {
    const struct model_batch *batches[BATCHES_MAX]; /* borrowed from the model */
    size_t count;
    bool has_gap; /* something is missing between two batches */
};

struct checker {
    struct simfs *disk;
    const struct model *m;
    const struct crash_moment *at;
    struct crash_coverage *coverage;
    bool quiet;
    bool is_good;
    struct simclock clock;
    struct plog_env env;
    struct log_dir *ld;
    struct plog *pl;
    int log;
    struct plog_recovery recovery;
    struct plog_offsets offsets;
    struct seen seen;
};

void crash_moment_take(const struct model *m, struct crash_moment *ret)
{
    ret->now = m->now;
    ret->has_meta = m->has_meta;
    for (int i = 0; i < MODEL_LOGS; i++) {
        ret->promises[i] = m->logs[i].promise;
    }
    ret->victim = m->victim;
}

static bool printf_like(3, 4) expect(struct checker *c, bool is_good, const char *format, ...)
{
    if (is_good) {
        return true;
    }
    c->is_good = false;
    if (!c->quiet) {
        va_list args;
        va_start(args, format);
        struct str topic = workload_topic(c->log);
        printf("  log " STR_FMT " [start %" PRId64 " end %" PRId64 " acked %" PRId64 "]: ",
               STR_ARG(topic), c->offsets.log_start, c->offsets.log_end,
               c->at->promises[c->log].acked);
        vprintf(format, args);
        printf(" (%s, scanned %" PRId64 " cut %" PRId64 " holes %" PRId64 ")\n",
               c->ld != NULL && log_dir_was_clean(c->ld) ? "clean" : "unclean",
               c->recovery.scanned_bytes, c->recovery.cut_bytes, c->recovery.holes);
        va_end(args);
    }
    return false;
}

/* --- opening -----------------------------------------------------------------------------------
 */

static bool open_dir(struct checker *c)
{
    int err = log_dir_open(&c->env, WORKLOAD_DIR, &c->ld);
    if (!expect(c, err >= 0, "the directory does not open: %s", err_text(err))) {
        return false;
    }
    struct str names[8];
    size_t damaged = log_dir_damaged(c->ld, names, ARRAY_LEN(names));
    return expect(c, damaged == 0, "a checkpoint is damaged: " STR_FMT, STR_ARG(names[0]));
}

static void check_not_deleted(void *ctx, const char *name)
{
    expect(ctx, strstr(name, DELETED_SUFFIX) == NULL, "%s is left", name);
}

static bool open_log(struct checker *c)
{
    struct plog_open how = {
        .dir = WORKLOAD_DIR,
        .topic = workload_topic(c->log),
        .topic_id = workload_topic_id(c->log),
        .config = workload_config(c->log),
        .flags = PLOG_CREATE | (log_dir_was_clean(c->ld) ? PLOG_CLEAN : 0),
    };
    log_dir_lookup(c->ld, how.topic, 0, &how);
    int err = plog_open(&c->env, &how, &c->recovery, &c->pl);
    if (!expect(c, err >= 0, "does not open: %s", err_text(err))) {
        return false;
    }
    if (c->env.trash == NULL) {
        expect(c, fs_list(c->env.fs, plog_path(c->pl), check_not_deleted, c) >= 0,
               "cannot be listed");
    }
    plog_offsets(c->pl, &c->offsets);
    return true;
}

/* --- content -----------------------------------------------------------------------------------
 */

static void see_batch(struct checker *c, const struct batch *b, int64_t *expected)
{
    const struct model_batch *mb =
        model_find(c->m, c->log, c->at->now, b->base_offset, b->bytes, b->size);
    if (!expect(c, mb != NULL, "offset %" PRId64 " holds what was never there", b->base_offset)) {
        return;
    }
    expect(c, batch_crc_is_good(b), "offset %" PRId64 " is served with a bad CRC", b->base_offset);
    if (c->seen.count > 0 || b->base_offset > *expected) {
        if (b->base_offset != *expected) {
            const struct model_promise *mp = &c->at->promises[c->log];
            c->seen.has_gap = true; /* of what nobody was promised */
            expect(c,
                   b->base_offset > *expected &&
                       max_i64(*expected, mp->start_max) >= min_i64(b->base_offset, mp->acked),
                   "offsets jump from %" PRId64 " to %" PRId64, *expected, b->base_offset);
        }
    }
    *expected = batch_last_offset(b) + 1;
    check(c->seen.count < BATCHES_MAX);
    c->seen.batches[c->seen.count++] = mb;
}

static void see_rope(struct checker *c, struct rope *rope, int64_t *expected)
{
    struct rope_run *run = rope_first(rope);
    uint8_t *bytes = mem_alloc(run->len);
    ssize_t got = fs_pread(run->file, bytes, run->len, run->position);
    expect(c, got == to_i64(run->len), "a run of the answer is not in the file");
    size_t at = 0;
    while (got > 0 && at < (size_t)got && c->is_good) {
        struct batch b;
        if (!expect(c, batch_peek(bytes + at, (size_t)got - at, &b) >= 0, "a batch is not whole")) {
            break;
        }
        see_batch(c, &b, expected);
        at += b.size;
    }
    mem_free(bytes);
}

/* Is the batch reported as aborted exactly when it was? */
static void check_aborted(struct checker *c, size_t from, const struct plog_read_result *rr)
{
    for (size_t i = from; i < c->seen.count; i++) {
        const struct model_batch *mb = c->seen.batches[i];
        int64_t first;
        if (!mb->is_transactional || mb->is_control || c->seen.has_gap) {
            continue;
        }
        int fate = model_fate(c->m, c->log, c->at->now, mb, c->offsets.log_end, &first);
        bool is_listed = false;
        for (int32_t k = 0; k < rr->aborted_count; k++) {
            is_listed = is_listed || (rr->aborted[k].producer_id == mb->producer_id &&
                                      rr->aborted[k].first_offset == first);
        }
        expect(c, fate >= 0, "offset %" PRId64 " of an open transaction is served", mb->base);
        expect(c, is_listed == (fate == 1),
               "offset %" PRId64 " of producer %" PRId64 ": listed as aborted %d, but was %d",
               mb->base, mb->producer_id, is_listed, fate);
    }
}

static void read_all(struct checker *c, enum plog_bound bound)
{
    struct arena arena = {0};
    int64_t offset = c->offsets.log_start;
    int64_t expected = offset;
    int64_t end = bound == PLOG_TO_LAST_STABLE ? c->offsets.last_stable : c->offsets.log_end;
    c->seen.count = 0;
    c->seen.has_gap = false;
    while (offset < end && c->is_good) {
        struct rope rope;
        struct plog_read_result rr;
        enum kafka_error error;
        struct plog_read how = {
            .offset = offset,
            .max_bytes = READ_BYTES,
            .bound = bound,
            .at_least_one = true,
            .arena = &arena,
        };
        rope_init(&rope);
        size_t before = c->seen.count;
        int err = plog_read(c->pl, &how, &rope, &rr, &error);
        expect(c, err >= 0, "reading %" PRId64 " fails: %s", offset, err_text(err));
        if (error != KAFKA_ERROR_NONE || rr.bytes == 0) {
            int64_t acked = c->at->promises[c->log].acked;
            c->seen.has_gap = true;
            expect(c, offset >= acked && (error == KAFKA_ERROR_CORRUPT_MESSAGE || rr.bytes == 0),
                   "reading %" PRId64 " answers %d", offset, (int)error);
            offset++;
            expected = max_i64(expected, offset);
        } else {
            see_rope(c, &rope, &expected);
            offset = expected;
            if (bound == PLOG_TO_LAST_STABLE) {
                check_aborted(c, before, &rr);
            }
        }
        rope_release(&rope);
    }
    arena_release(&arena);
}

/* Every acknowledged batch at or beyond the start was seen. */
static void check_acked(struct checker *c)
{
    const struct model_log *ml = &c->m->logs[c->log];
    int64_t acked = c->at->promises[c->log].acked;
    for (size_t i = 0; i < ml->count && c->is_good; i++) {
        const struct model_batch *mb = &ml->batches[i];
        if (mb->added > c->at->now || mb->dead <= c->at->now || mb->last >= acked ||
            mb->base < c->at->promises[c->log].start_max) {
            continue;
        }
        bool is_seen = false;
        for (size_t k = 0; k < c->seen.count; k++) {
            is_seen = is_seen || c->seen.batches[k] == mb;
        }
        expect(c, is_seen, "acknowledged offset %" PRId64 " is lost", mb->base);
    }
}

/* --- derived state -----------------------------------------------------------------------------
 */

static void check_producers(struct checker *c)
{
    struct model_producer expected[PRODUCERS_MAX];
    struct plog_producer *found;
    int32_t found_count;
    struct arena arena = {0};
    if (c->seen.has_gap) {
        return; /* what was lost may have changed them, or not */
    }
    size_t count =
        model_producers(c->m, c->log, c->at->now, c->offsets.log_end, expected, PRODUCERS_MAX);
    plog_producers(c->pl, &arena, &found, &found_count);
    for (size_t i = 0; i < count; i++) {
        const struct model_producer *mp = &expected[i];
        const struct plog_producer *pp = NULL;
        for (int32_t k = 0; k < found_count; k++) {
            pp = found[k].producer_id == mp->producer_id ? &found[k] : pp;
        }
        if (mp->touched < plog_first_offset(c->pl)) {
            continue; /* its records are deleted: it may be unknown */
        }
        if (!expect(c, pp != NULL, "producer %" PRId64 " is forgotten", mp->producer_id)) {
            continue;
        }
        expect(c,
               pp->producer_epoch == mp->epoch && pp->last_sequence == mp->last_sequence &&
                   pp->current_txn_start == mp->txn_first,
               "producer %" PRId64 " is at epoch %d sequence %d txn %" PRId64
               ", not %d %d %" PRId64,
               mp->producer_id, pp->producer_epoch, pp->last_sequence, pp->current_txn_start,
               mp->epoch, mp->last_sequence, mp->txn_first);
    }
    arena_release(&arena);
}

static void check_last_stable(struct checker *c)
{
    struct model_producer producers[PRODUCERS_MAX];
    if (c->seen.has_gap) {
        return;
    }
    size_t count =
        model_producers(c->m, c->log, c->at->now, c->offsets.log_end, producers, PRODUCERS_MAX);
    int64_t stable = c->offsets.log_end;
    for (size_t i = 0; i < count; i++) {
        if (producers[i].txn_first >= 0) {
            stable = min_i64(stable, max_i64(producers[i].txn_first, c->offsets.log_start));
        }
    }
    expect(c, c->offsets.last_stable == stable,
           "the last stable offset is %" PRId64 ", not %" PRId64, c->offsets.last_stable, stable);
}

static struct blob *blob_of(const struct model_batch *mb, struct batch *ret)
{
    struct blob *blob = blob_new(mb->size);
    memcpy(blob->data, mb->bytes, mb->size);
    check(batch_peek(blob->data, mb->size, ret) >= 0);
    return blob;
}

/* The last batch of each producer, sent again, is a duplicate. */
static void check_duplicates(struct checker *c)
{
    struct model_producer producers[PRODUCERS_MAX];
    size_t count =
        model_producers(c->m, c->log, c->at->now, c->offsets.log_end, producers, PRODUCERS_MAX);
    for (size_t i = 0; i < count && !c->seen.has_gap; i++) {
        for (size_t k = 0; k < c->seen.count; k++) {
            const struct model_batch *mb = c->seen.batches[k];
            if (mb->base != producers[i].last_base || mb->base < plog_first_offset(c->pl)) {
                continue;
            }
            struct arena arena = {0};
            struct plog_append_result result;
            struct batch b;
            struct blob *blob = blob_of(mb, &b);
            struct plog_append in = {
                .blob = blob,
                .bytes = blob->data,
                .size = mb->size,
                .batch = b,
                .origin = PLOG_CLIENT,
                .leader_epoch = 99,
                .now_ms = clock_now_ms(&c->clock.clock),
                .arena = &arena,
            };
            int err = plog_append_as_leader(c->pl, &in, &result);
            expect(c,
                   err >= 0 && result.error == KAFKA_ERROR_NONE && result.is_duplicate &&
                       result.base_offset == mb->base,
                   "the batch at %" PRId64 " is not known as a duplicate: %d %d", mb->base, err,
                   (int)result.error);
            blob_unref(blob);
            arena_release(&arena);
        }
    }
}

static void check_log(struct checker *c)
{
    const struct model_promise *mp = &c->at->promises[c->log];
    expect(c, c->offsets.log_end >= mp->acked, "the log is too short");
    /* The first segment may be lost with all that was not acknowledged, when its successor's name
     * is not. */
    bool is_front_lost = mp->acked <= mp->start_max;
    expect(c,
           (c->offsets.log_start <= mp->start_max || is_front_lost) &&
               c->offsets.log_start >= mp->start_durable,
           "the log start is not in %" PRId64 "..%" PRId64, mp->start_durable, mp->start_max);
    expect(c, c->offsets.flushed <= c->offsets.log_end, "flushed beyond the end");
    IGNORE(plog_advance_high_watermark(c->pl, c->offsets.log_end));
    plog_offsets(c->pl, &c->offsets);
    read_all(c, PLOG_TO_HIGH_WATERMARK);
    c->coverage->cut += c->recovery.cut_bytes > 0;
    c->coverage->holes += c->recovery.holes > 0;
    c->coverage->lost += c->seen.has_gap;
    check_acked(c);
    check_producers(c);
    check_last_stable(c);
    if (c->log == 1 && !c->seen.has_gap) {
        read_all(c, PLOG_TO_LAST_STABLE);
    }
}

/* --- going on ----------------------------------------------------------------------------------
 */

static bool is_index_good(struct checker *c, int64_t base, const uint8_t *entry)
{
    struct log_path path;
    struct fs_file *f;
    uint8_t header[BATCH_HEADER_BYTES];
    struct batch b;
    log_path_of(&path, plog_path(c->pl), base, LOG_SUFFIX);
    if (fs_open(c->env.fs, path.text, FS_READ, &f) < 0) {
        return false;
    }
    ssize_t got = fs_pread(f, header, sizeof(header), (int32_t)load_be32(entry + 4));
    fs_file_unref(f);
    return got == BATCH_HEADER_BYTES && batch_peek_header(header, sizeof(header), &b) >= 0 &&
           batch_last_offset(&b) == base + (int32_t)load_be32(entry);
}

static void check_index_file(void *ctx, const char *name)
{
    struct checker *c = ctx;
    struct log_path path;
    cleanup(mem_free_charp) char *bytes = NULL;
    size_t len;
    int64_t base;
    struct str suffix = str_from(name);
    if (suffix.len != 26 || strcmp(name + 20, INDEX_SUFFIX) != 0 ||
        str_to_i64(str_of(name, 20), &base) < 0) {
        return;
    }
    log_path_join(&path, plog_path(c->pl), name);
    int err = fs_read_file(c->env.fs, path.text, 1 << 20, &bytes, &len);
    if (!expect(c, err >= 0 && len % 8 == 0, "index %s cannot be read", name)) {
        return;
    }
    for (size_t at = 0; at < len; at += 8) {
        const uint8_t *entry = (const uint8_t *)bytes + at;
        expect(c, is_index_good(c, base, entry), "entry %zu of %s leads nowhere", at / 8, name);
        expect(c, at == 0 || load_be32(entry) > load_be32(entry - 8),
               "entry %zu of %s does not ascend", at / 8, name);
    }
}

static void ignore_flushed(void *ctx, struct plog *pl, int64_t flushed, int err)
{
    (void)ctx;
    (void)pl;
    (void)flushed;
    (void)err;
}

/* Three more batches, flushed; their offset. */
static int64_t append_more(struct checker *c)
{
    int64_t first = -1;
    for (int i = 0; i < 3; i++) {
        struct batch_builder bb;
        struct blob *blob;
        struct batch b;
        size_t size;
        struct arena arena = {0};
        struct plog_append_result result = {0};
        batch_builder_init(&bb, CODEC_NONE, 0);
        bb.producer_id = -1;
        bb.producer_epoch = -1;
        bb.base_sequence = -1;
        batch_builder_add(&bb, 1, (struct view){0}, (struct view){(const uint8_t *)"after", 5});
        check(batch_builder_finish(&bb, &blob, &size) >= 0);
        batch_builder_release(&bb);
        check(batch_peek(blob->data, size, &b) >= 0);
        struct plog_append in = {
            .blob = blob,
            .bytes = blob->data,
            .size = size,
            .batch = b,
            .origin = PLOG_CLIENT,
            .leader_epoch = 99,
            .now_ms = clock_now_ms(&c->clock.clock),
            .arena = &arena,
        };
        int err = plog_append_as_leader(c->pl, &in, &result);
        expect(c, err >= 0 && result.error == KAFKA_ERROR_NONE, "does not take an append");
        first = first < 0 ? result.base_offset : first;
        blob_unref(blob);
        arena_release(&arena);
    }
    int64_t written;
    expect(c, plog_write(c->pl, &written) >= 0, "cannot be written to");
    struct flusher *fl = flusher_new(&c->env, ignore_flushed, NULL);
    IGNORE(flusher_add(fl, c->pl));
    flusher_round(fl);
    flusher_free(fl);
    return first;
}

static void expect_readable(struct checker *c, int64_t offset)
{
    struct rope rope;
    struct plog_read_result rr;
    enum kafka_error error;
    struct plog_read how = {
        .offset = offset, .max_bytes = 1, .bound = PLOG_TO_LOG_END, .at_least_one = true};
    rope_init(&rope);
    int err = plog_read(c->pl, &how, &rope, &rr, &error);
    expect(c, err >= 0 && error == KAFKA_ERROR_NONE && rr.bytes > 0, "offset %" PRId64 " is lost",
           offset);
    rope_release(&rope);
}

/* After the recovery. */
static void check_appended(struct checker *c, int64_t first)
{
    for (int64_t offset = first; offset < first + 3; offset++) {
        expect_readable(c, offset);
    }
}

static void check_no_directory(void *ctx, const char *name)
{
    expect(ctx, strstr(name, "-delete") == NULL, "%s is left", name);
}

/* The log whose name another one had, with all that it acknowledged, whatever became of the removal
 * of the other. */
static void check_victim(struct checker *c)
{
    struct plog_open how = {
        .dir = WORKLOAD_DIR,
        .topic = STR(VICTIM_TOPIC),
        .topic_id = workload_victim_id(c->at->victim.life),
        .config = workload_config(0),
        .flags = PLOG_CREATE,
    };
    int err = workload_remove_deleted(c->env.fs);
    expect(c, err >= 0, "directories of deleted logs do not go: %s", err_text(err));
    expect(c, fs_list(c->env.fs, WORKLOAD_DIR, check_no_directory, c) >= 0, "cannot be listed");
    if (!c->at->victim.is_alive || c->at->victim.acked == 0) {
        return;
    }
    err = plog_open(&c->env, &how, &c->recovery, &c->pl);
    if (!expect(c, err >= 0, "the victim does not open: %s", err_text(err))) {
        return;
    }
    plog_offsets(c->pl, &c->offsets);
    expect(c, c->offsets.log_start == 0 && c->offsets.log_end >= c->at->victim.acked,
           "the victim has %" PRId64 "..%" PRId64 " of %" PRId64, c->offsets.log_start,
           c->offsets.log_end, c->at->victim.acked);
    for (int64_t offset = 0; offset < c->at->victim.acked; offset += 2) {
        expect_readable(c, offset);
    }
    IGNORE(plog_close(c->pl, false)); /* nothing was changed */
    c->pl = NULL;
}

static void close_all(struct checker *c, bool is_clean)
{
    if (c->pl != NULL) {
        int err = plog_close(c->pl, is_clean);
        expect(c, err >= 0, "does not close: %s", err_text(err));
        c->pl = NULL;
    }
}

static void check_twice(struct checker *c)
{
    struct plog_offsets before = c->offsets;
    struct plog_recovery recovery = c->recovery;
    close_all(c, false);
    if (!open_log(c)) {
        return;
    }
    expect(c, c->offsets.log_start == before.log_start && c->offsets.log_end == before.log_end,
           "a second recovery gives %" PRId64 "..%" PRId64 " instead of %" PRId64 "..%" PRId64,
           c->offsets.log_start, c->offsets.log_end, before.log_start, before.log_end);
    expect(c, c->recovery.cut_bytes == 0, "a second recovery cuts again");
    expect(c, c->recovery.holes == recovery.holes, "a second recovery sees other holes");
    check_log(c);
}

static void check_going_on(struct checker *c)
{
    int64_t first = append_more(c);
    close_all(c, false);
    IGNORE(log_dir_close(c->ld, false, 0));
    c->ld = NULL;
    simfs_power_on(c->disk, 1, SIMFS_LOSE);
    if (!open_dir(c) || !open_log(c)) {
        return;
    }
    check_appended(c, first);
    int64_t end = c->offsets.log_end;
    /* Closed cleanly, its index files are as Kafka's tools want them. */
    close_all(c, true);
    if (open_log(c)) {
        expect(c, c->offsets.log_end == end, "closing changes the end");
        expect(c, fs_list(c->env.fs, plog_path(c->pl), check_index_file, c) >= 0,
               "cannot be listed");
    }
}

bool crash_check(struct simfs *disk,
                 const struct model *m,
                 const struct crash_moment *at,
                 enum crash_check_depth depth,
                 struct crash_coverage *coverage,
                 bool quiet)
{
    struct checker *c = mem_zalloc(sizeof(*c));
    *c = (struct checker){
        .disk = disk, .m = m, .at = at, .coverage = coverage, .quiet = quiet, .is_good = true};
    simclock_init(&c->clock, 1);
    c->env = (struct plog_env){
        .fs = simfs_fs(disk),
        .clock = &c->clock.clock,
        .fds = fd_cache_new(simfs_fs(disk), 4),
    };
    /* Half of the recoveries rename what they remove, as a broker's do. */
    if (at->now % 2 == 0) {
        c->env.trash = trash_new(c->env.fs, &c->clock.clock);
    }
    struct meta_properties mp;
    int err = meta_properties_read(c->env.fs, WORKLOAD_DIR, &mp);
    expect(c, err >= 0 ? mp.node_id == 1 : !at->has_meta && err == ERR_NOT_FORMATTED,
           "meta.properties: %s", err_text(err));
    bool has_dir = at->has_meta && open_dir(c);
    coverage->clean += has_dir && log_dir_was_clean(c->ld);
    for (c->log = 0; c->log < MODEL_LOGS && has_dir && c->is_good; c->log++) {
        if (open_log(c)) {
            check_log(c);
            if (depth >= CHECK_TWICE && c->is_good) {
                check_twice(c);
            }
            if (c->is_good) {
                /* The marker of a clean stop must not outlive an append, a refused one either: it
                 * may begin a segment. */
                expect(c, log_dir_begin(c->ld) >= 0, "the clean marker does not go");
                check_duplicates(c);
            }
            if (depth >= CHECK_AND_GO_ON && c->is_good) {
                check_going_on(c);
            }
        }
        close_all(c, false);
    }
    c->log = 0;
    if (has_dir && c->is_good) {
        check_victim(c);
    }
    if (c->ld != NULL) {
        IGNORE(log_dir_close(c->ld, false, 0));
    }
    trash_free(c->env.trash);
    bool is_good = c->is_good;
    fd_cache_free(c->env.fds);
    mem_free(c);
    return is_good;
}
