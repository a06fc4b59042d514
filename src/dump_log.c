/*
 * Walks a segment by storage/scanner: what is damaged is named, with the bytes that are lost, and
 * the walk goes on at the next good batch. Zeros up to the end of the file are room that Kafka has
 * preallocated, not damage.
 *
 * Memory: one batch of at most BATCH_BYTES_MAX; a larger one is checked in pieces, without its
 * records.
 */
#include "dump_log.h"

#include "base/base.h"
#include "base/err.h"
#include "base/mem.h"
#include "storage/scanner.h"

#define BATCH_BYTES_MAX    (INT64_C(256) << 20)
#define INFLATED_BYTES_MAX (INT64_C(1) << 30)
#define ARENA_BYTES_MAX    (64u << 20)

struct dump_log {
    struct dump_out *out;
    struct fs_file *file;
    struct scanner scanner;
    struct arena arena;
    enum dump_topic topic;
};

static void print_record(struct dump_log *dl, const struct batch *b, const struct record *record)
{
    struct dump_out *d = dl->out;
    bool is_append_time = (b->attributes & BATCH_LOG_APPEND_TIME) != 0;
    dump_print_begin(d, d->is_json ? "record" : "  record");
    dump_print_int(d, "offset", record->offset);
    dump_print_int(d, "timestamp", is_append_time ? b->max_timestamp : record->timestamp);
    if (b->base_sequence >= 0) {
        dump_print_int(d, "sequence", sequence_add(b->base_sequence, record->offset_delta));
    }
    dump_records_add(d, dl->topic, b, record, &dl->arena);
    dump_print_end(d);
    arena_reset(&dl->arena);
}

static void print_records(struct dump_log *dl, const struct batch *b, int64_t position)
{
    struct record_iter it;
    struct record record;
    int r = record_iter_init(&it, b, INFLATED_BYTES_MAX);
    r = r < 0 ? r : record_iter_next(&it, &record);
    while (r > 0) {
        print_record(dl, b, &record);
        r = record_iter_next(&it, &record);
    }
    if (r < 0) {
        dump_print_damage(dl->out, position, to_i64(b->size),
                          "the records of the batch at offset %" PRId64 ": %s", b->base_offset,
                          err_text(r));
    }
    record_iter_release(&it);
}

static void print_batch(struct dump_log *dl, const struct batch *b, int64_t position)
{
    struct dump_out *d = dl->out;
    dump_print_begin(d, "batch");
    dump_print_int(d, "position", position);
    dump_print_int(d, "bytes", to_i64(b->size));
    dump_print_int(d, "baseOffset", b->base_offset);
    dump_print_int(d, "lastOffset", batch_last_offset(b));
    dump_print_int(d, "records", b->records_count);
    dump_print_int(d, "leaderEpoch", b->leader_epoch);
    dump_print_text(d, "codec", str_from(codec_type_name(batch_codec(b))));
    dump_print_text(d, "timestampType",
                    b->attributes & BATCH_LOG_APPEND_TIME ? STR("LogAppendTime")
                                                          : STR("CreateTime"));
    dump_print_int(d, "baseTimestamp", b->base_timestamp);
    dump_print_int(d, "maxTimestamp", b->max_timestamp);
    dump_print_int(d, "producerId", b->producer_id);
    dump_print_int(d, "producerEpoch", b->producer_epoch);
    dump_print_int(d, "baseSequence", b->base_sequence);
    dump_print_int(d, "lastSequence", batch_last_sequence(b));
    dump_print_bool(d, "transactional", batch_is_transactional(b));
    dump_print_bool(d, "control", batch_is_control(b));
    dump_print_bool(d, "deleteHorizon", (b->attributes & BATCH_DELETE_HORIZON) != 0);
    dump_print_int(d, "crc", b->crc);
    if (d->shows_records && b->bytes == NULL) {
        dump_print_text(d, "problem", STR("the batch is too large to show its records"));
    }
    dump_print_end(d);
    if (d->shows_records && b->bytes != NULL) {
        print_records(dl, b, position);
    }
}

/* True when there is nothing but zeros from `position` on. */
static int is_zero_from(struct dump_log *dl, int64_t position)
{
    uint8_t piece[4096];
    while (position < dl->scanner.end) {
        size_t n = to_size(min_i64(dl->scanner.end - position, (int64_t)sizeof(piece)));
        ssize_t got = fs_pread(dl->file, piece, n, position);
        if (got <= 0) {
            return (int)got;
        }
        for (ssize_t i = 0; i < got; i++) {
            if (piece[i] != 0) {
                return 0;
            }
        }
        position += got;
    }
    return 1;
}

static void print_damage(struct dump_log *dl, int64_t position, int64_t next)
{
    struct dump_out *d = dl->out;
    uint8_t head[BATCH_HEADER_BYTES];
    ssize_t got = fs_pread(dl->file, head, sizeof(head), position);
    struct batch b = {.size = 0};
    int r = got < 0 ? (int)got : batch_peek_header(head, (size_t)got, &b);
    int64_t len = next - position;
    int64_t left = dl->scanner.end - position;
    if (r == ERR_UNSUPPORTED) {
        dump_print_damage(d, position, len, "magic %d: not a batch of the format that is read here",
                          b.magic);
    } else if (r == ERR_TRUNCATED) {
        dump_print_damage(d, position, len, "the file ends within the header of a batch");
    } else if (r < 0) {
        dump_print_damage(d, position, len, "no batch begins here: %s", err_text(r));
    } else if (to_i64(b.size) > left) {
        dump_print_damage(d, position, len,
                          "the batch at offset %" PRId64 " has %zu bytes, the file only %" PRId64
                          " more",
                          b.base_offset, b.size, left);
    } else if (b.base_offset < dl->scanner.next_offset) {
        dump_print_damage(d, position, len,
                          "a batch at offset %" PRId64 " where %" PRId64 " or more was expected",
                          b.base_offset, dl->scanner.next_offset);
    } else {
        dump_print_damage(d, position, len,
                          "the batch at offset %" PRId64
                          " with %d records does not have the CRC %" PRIu32
                          " that it says, or its header cannot be right",
                          b.base_offset, b.records_count, b.crc);
    }
}

/* At damage: 1 to go on, 0 at the end, negative when the file cannot be read. */
static int pass_damage(struct dump_log *dl)
{
    struct scanner *sc = &dl->scanner;
    int64_t position = sc->position;
    int r = is_zero_from(dl, position);
    if (r < 0) {
        return r;
    }
    if (r > 0) {
        dump_print_begin(dl->out, "unused");
        dump_print_int(dl->out, "position", position);
        dump_print_int(dl->out, "bytes", sc->end - position);
        dump_print_end(dl->out);
        return 0;
    }
    struct scanner before = *sc;
    r = scanner_resync(sc);
    if (r < 0) {
        return r;
    }
    int64_t next = r > 0 ? sc->position : sc->end;
    struct scanner after = *sc;
    *sc = before;
    print_damage(dl, position, next);
    *sc = after;
    return r;
}

int dump_log_print(struct dump_out *d,
                   struct fs_file *file,
                   int64_t base_offset,
                   enum dump_topic topic)
{
    int64_t size = 0;
    int r = fs_size(file, &size);
    if (r < 0) {
        return r;
    }
    size_t cap = to_size(max_i64(min_i64(size, BATCH_BYTES_MAX), SCANNER_BUFFER_MIN));
    uint8_t *buffer = mem_try_alloc(cap);
    if (buffer == NULL) {
        return ERR_NO_MEMORY;
    }
    struct dump_log dl = {.out = d, .file = file, .topic = topic};
    arena_init(&dl.arena, ARENA_BYTES_MAX);
    scanner_init(&dl.scanner, file, base_offset, 0, size, buffer, cap);
    dl.scanner.checks_crc = true;
    do {
        struct batch b;
        int64_t position = 0;
        r = scanner_next(&dl.scanner, &b, &position);
        if (r > 0) {
            print_batch(&dl, &b, position);
        } else if (r == ERR_CORRUPT) {
            r = pass_damage(&dl);
        }
    } while (r > 0);
    arena_release(&dl.arena);
    mem_free(buffer);
    return r;
}
