/*
 * A log directory on a simulated disk, and short ways to fill and read a log: what the tests of
 * storage/ share. A world ends with everything closed and freed.
 */
#ifndef TESTS_UNIT_STORAGE_WORLD_H
#define TESTS_UNIT_STORAGE_WORLD_H

#include "base/err.h"
#include "base/mem.h"
#include "simclock.h"
#include "simfs.h"
#include "storage/fd_cache.h"
#include "storage/flusher.h"
#include "storage/log_dir.h"
#include "storage/plog.h"
#include "storage/trash.h"
#include "unit.h"

#define WORLD_DIR "data"
#define WORLD_LOG "data/t-0/"

struct world {
    struct simclock clock;
    struct simfs *disk;
    struct plog_env env;
    struct plog_config config;
    struct plog *pl;
    struct plog_recovery recovery;
    struct plog_open how; /* of the log, for the next world_open */
};

/* A batch to be: zeroed and then set is n plain records. */
struct shape {
    int records;
    int value_bytes;
    int64_t timestamp; /* of the first record; the others follow by one */
    bool has_producer;
    int64_t producer_id;
    int16_t epoch;
    int32_t sequence;
    bool is_transactional;
    bool is_control;
    enum control_type control;
    int32_t coordinator_epoch;
    int32_t leader_epoch; /* of the append */
};

static inline void world_init(struct world *w)
{
    *w = (struct world){0};
    simclock_init(&w->clock, 1);
    w->disk = simfs_new(&w->clock.clock);
    w->env = (struct plog_env){
        .fs = simfs_fs(w->disk),
        .clock = &w->clock.clock,
        .fds = fd_cache_new(simfs_fs(w->disk), 8),
        .trash = trash_new(simfs_fs(w->disk), &w->clock.clock),
    };
    w->config = (struct plog_config){
        .rules =
            {
                .max_message_bytes = 1 << 20,
                .max_decompressed_bytes = 1 << 24,
                .timestamp_before_max_ms = INT64_MAX,
                .timestamp_after_max_ms = INT64_MAX,
                .keeps_codec = true,
            },
        .segment_bytes = 1 << 20,
        .segment_ms = INT64_MAX / 4,
        .segment_index_bytes = 1 << 20,
        .index_interval_bytes = 4096,
        .retention_ms = -1,
        .retention_bytes = -1,
        .file_delete_delay_ms = 60000,
        .producer_id_expiration_ms = INT64_MAX, /* timestamps of tests are small */
    };
    w->how = (struct plog_open){
        .dir = WORLD_DIR,
        .topic = STR("t"),
        .topic_id = {{1, 2, 3}},
        .config = &w->config,
        .flags = PLOG_CREATE,
    };
    assert_int_equal(fs_mkdir(w->env.fs, WORLD_DIR), 0);
    assert_int_equal(fs_sync_dir(w->env.fs, "/"), 0);
}

static inline void world_open(struct world *w)
{
    assert_int_equal(plog_open(&w->env, &w->how, &w->recovery, &w->pl), 0);
}

static inline void world_close(struct world *w, bool is_clean)
{
    assert_int_equal(plog_close(w->pl, is_clean), 0);
    w->pl = NULL;
    w->how.flags = PLOG_CREATE | (is_clean ? PLOG_CLEAN : 0u);
}

static inline void world_reopen(struct world *w, bool is_clean)
{
    world_close(w, is_clean);
    world_open(w);
}

static inline void world_release(struct world *w)
{
    if (w->pl != NULL) {
        world_close(w, false);
    }
    trash_free(w->env.trash);
    fd_cache_free(w->env.fds);
    simfs_free(w->disk);
}

static inline struct plog_offsets offsets_of(struct world *w)
{
    struct plog_offsets o;
    plog_offsets(w->pl, &o);
    return o;
}

static inline struct blob *make_batch(const struct shape *s, struct batch *ret)
{
    struct batch_builder bb;
    struct blob *blob;
    size_t size;
    uint8_t key[4];
    uint8_t end[6];
    batch_builder_init(&bb, CODEC_NONE, 0);
    bb.producer_id = s->has_producer ? s->producer_id : -1;
    bb.producer_epoch = s->has_producer ? s->epoch : (int16_t)-1;
    bb.base_sequence = s->has_producer && !s->is_control ? s->sequence : -1;
    bb.leader_epoch = -1;
    bb.attributes = (int16_t)((s->is_transactional ? BATCH_TRANSACTIONAL : 0) |
                              (s->is_control ? BATCH_CONTROL : 0));
    uint8_t *value = mem_zalloc((size_t)s->value_bytes + 1);
    memset(value, 'v', (size_t)s->value_bytes);
    if (s->is_control) {
        store_be16(key, 0);
        store_be16(key + 2, (uint16_t)s->control);
        store_be16(end, 0);
        store_be32(end + 2, (uint32_t)s->coordinator_epoch);
        batch_builder_add(&bb, s->timestamp, (struct view){key, sizeof(key)},
                          (struct view){end, sizeof(end)});
    }
    for (int i = 0; i < s->records && !s->is_control; i++) {
        batch_builder_add(&bb, s->timestamp + i, (struct view){0},
                          (struct view){value, (size_t)s->value_bytes});
    }
    assert_true(batch_builder_finish(&bb, &blob, &size) >= 0);
    batch_builder_release(&bb);
    mem_free(value);
    assert_int_equal(batch_peek(blob->data, size, ret), 0);
    return blob;
}

/* Stages one batch; the result is the log's answer. */
static inline struct plog_append_result
stage_shape(struct world *w, const struct shape *s, int *ret_err)
{
    struct batch b;
    struct arena arena = {0};
    struct plog_append_result result = {0};
    struct blob *blob = make_batch(s, &b);
    struct plog_append in = {
        .blob = blob,
        .bytes = blob->data,
        .size = b.size,
        .batch = b,
        .origin = s->is_control ? PLOG_COORDINATOR : PLOG_CLIENT,
        .leader_epoch = s->leader_epoch,
        .now_ms = clock_now_ms(&w->clock.clock),
        .arena = &arena,
    };
    *ret_err = plog_append_as_leader(w->pl, &in, &result);
    blob_unref(blob);
    arena_release(&arena);
    return result;
}

/* Stages and writes; must be taken. The base offset. */
static inline int64_t append_shape(struct world *w, const struct shape *s)
{
    int err;
    int64_t written;
    struct plog_append_result result = stage_shape(w, s, &err);
    assert_int_equal(err, 0);
    assert_int_equal(result.error, KAFKA_ERROR_NONE);
    assert_int_equal(plog_write(w->pl, &written), 0);
    return result.base_offset;
}

static inline int64_t append_plain(struct world *w, int records, int value_bytes)
{
    struct shape s = {
        .records = records,
        .value_bytes = value_bytes,
        .timestamp = clock_now_ms(&w->clock.clock),
    };
    return append_shape(w, &s);
}

static inline enum kafka_error refusal_of(struct world *w, const struct shape *s)
{
    int err;
    struct plog_append_result result = stage_shape(w, s, &err);
    assert_int_equal(err, 0);
    return result.error;
}

static inline void flush_log(struct world *w)
{
    struct plog_flush f;
    int64_t flushed;
    if (plog_flush_begin(w->pl, &f)) {
        int err = plog_flush_run(&f);
        plog_flush_end(&f, err, &flushed);
        assert_int_equal(err, 0);
    }
}

/* Reads once: bytes of the answer (mem_alloc'ed, or NULL) and the base offset of its first batch.
 */
static inline uint8_t *read_bytes(struct world *w,
                                  const struct plog_read *how,
                                  struct plog_read_result *ret,
                                  enum kafka_error *ret_error)
{
    struct rope rope;
    uint8_t *bytes = NULL;
    rope_init(&rope);
    assert_true(plog_read(w->pl, how, &rope, ret, ret_error) >= 0);
    assert_int_equal(rope.bytes, ret->bytes);
    struct rope_run *run = rope_first(&rope);
    if (run != NULL) {
        bytes = mem_alloc(run->len);
        assert_int_equal(fs_pread(run->file, bytes, run->len, run->position), run->len);
    }
    rope_release(&rope);
    return bytes;
}

/* Base offset of the first batch that a read at this offset gives; -1: nothing; -2: an error, in
 * *ret_error. */
static inline int64_t first_read(struct world *w, int64_t offset, enum kafka_error *ret_error)
{
    struct plog_read how = {
        .offset = offset, .max_bytes = 1, .bound = PLOG_TO_LOG_END, .at_least_one = true};
    struct plog_read_result rr;
    uint8_t *bytes = read_bytes(w, &how, &rr, ret_error);
    int64_t base = *ret_error != KAFKA_ERROR_NONE ? -2 : -1;
    if (bytes != NULL) {
        struct batch b;
        assert_int_equal(batch_peek(bytes, rr.bytes, &b), 0);
        assert_true(batch_crc_is_good(&b));
        assert_int_equal(b.size, rr.bytes);
        base = b.base_offset;
    }
    mem_free(bytes);
    return base;
}

/* Every offset from the start to the end is served by a batch that holds it; how many batches. */
static inline int check_all_readable(struct world *w)
{
    struct plog_offsets o = offsets_of(w);
    int64_t offset = o.log_start;
    int batches = 0;
    while (offset < o.log_end) {
        enum kafka_error error;
        struct plog_read how = {
            .offset = offset, .max_bytes = 5000, .bound = PLOG_TO_LOG_END, .at_least_one = true};
        struct plog_read_result rr;
        uint8_t *bytes = read_bytes(w, &how, &rr, &error);
        assert_int_equal(error, KAFKA_ERROR_NONE);
        assert_true(rr.bytes > 0);
        for (size_t at = 0; at < rr.bytes; batches++) {
            struct batch b;
            assert_int_equal(batch_peek(bytes + at, rr.bytes - at, &b), 0);
            assert_true(batch_crc_is_good(&b));
            assert_true(b.base_offset <= offset && batch_last_offset(&b) >= offset);
            offset = batch_last_offset(&b) + 1;
            at += b.size;
        }
        mem_free(bytes);
    }
    return batches;
}

/* --- files ------------------------------------------------------------------------------------ */

static inline void put_file(struct world *w, const char *path, const void *bytes, size_t len)
{
    struct fs_file *f;
    assert_int_equal(fs_open(w->env.fs, path, FS_WRITE | FS_CREATE | FS_TRUNCATE, &f), 0);
    if (len > 0) {
        assert_int_equal(fs_pwrite(f, bytes, len, 0), 0);
    }
    fs_file_unref(f);
}

static inline char *get_file(struct world *w, const char *path, size_t *ret_len)
{
    char *bytes;
    assert_int_equal(fs_read_file(w->env.fs, path, 1 << 26, &bytes, ret_len), 0);
    return bytes;
}

static inline bool has_file(struct world *w, const char *path)
{
    struct fs_stat st;
    return fs_stat(w->env.fs, path, &st) >= 0;
}

#endif
