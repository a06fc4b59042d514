/*
 * The files beside a segment. All numbers are big-endian.
 *
 *   .index      entries of 8: int32 offset of a batch's last record less the base offset, int32
 * position of the batch. Ascending; zeros behind the last are room that Kafka preallocates.
 *   .timeindex  entries of 12: int64 largest timestamp so far, int32 offset less the base offset;
 * the same .txnindex   entries of 34: int16 version (0), int64 producer id, first offset, last
 * offset, last stable offset .snapshot   int16 version (1), uint32 CRC-32C of what follows, int32
 * count, entries of 46: int64 producer id, int16 epoch, int32 last sequence, int64 last offset,
 * int32 offset delta, int64 timestamp, int32 coordinator epoch, int64 first offset of the open
 * transaction checkpoint  lines of text: version (0), count, then `topic partition offset` or
 * `epoch offset` each
 */
#include "dump_side_files.h"

#include "base/base.h"
#include "base/bytes.h"
#include "wire/batch.h"

#define OFFSET_ENTRY_BYTES   8
#define TIME_ENTRY_BYTES     12
#define TXN_ENTRY_BYTES      34
#define SNAPSHOT_ENTRY_BYTES 46
#define SNAPSHOT_CRC_FROM    6

static bool is_zero(const uint8_t *p, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (p[i] != 0) {
            return false;
        }
    }
    return true;
}

/* Entries that are in use: the first one may be all zeros, a later one not. */
static size_t entries_used(struct view bytes, size_t entry_bytes)
{
    size_t used = bytes.len / entry_bytes;
    while (used > 0 && is_zero(bytes.ptr + (used - 1) * entry_bytes, entry_bytes)) {
        used--;
    }
    return used;
}

/* Bytes behind the last whole entry. */
static void check_tail(struct dump_out *d, struct view bytes, size_t entry_bytes)
{
    size_t tail = bytes.len % entry_bytes;
    if (tail > 0) {
        dump_print_damage(d, to_i64(bytes.len - tail), to_i64(tail),
                          "less than an entry of %zu bytes", entry_bytes);
    }
}

static void print_unused(struct dump_out *d, struct view bytes, size_t used, size_t entry_bytes)
{
    size_t count = bytes.len / entry_bytes;
    if (used < count) {
        dump_print_begin(d, "unused");
        dump_print_int(d, "position", to_i64(used * entry_bytes));
        dump_print_int(d, "bytes", to_i64((count - used) * entry_bytes));
        dump_print_end(d);
    }
    check_tail(d, bytes, entry_bytes);
}

/* An entry must point at a batch that ends with its offset. */
static void check_in_segment(struct dump_out *d,
                             struct fs_file *segment,
                             int64_t at,
                             int64_t offset,
                             int64_t position)
{
    uint8_t head[BATCH_HEADER_BYTES];
    ssize_t got = fs_pread(segment, head, sizeof(head), position);
    struct batch b;
    if (got < 0 || batch_peek_header(head, (size_t)got, &b) < 0) {
        dump_print_damage(d, at, OFFSET_ENTRY_BYTES,
                          "no batch begins at position %" PRId64 " of the segment", position);
    } else if (batch_last_offset(&b) != offset) {
        dump_print_damage(d, at, OFFSET_ENTRY_BYTES,
                          "the batch at position %" PRId64
                          " of the segment ends with offset %" PRId64,
                          position, batch_last_offset(&b));
    }
}

void dump_side_files_offset_index(struct dump_out *d,
                                  struct view bytes,
                                  int64_t base_offset,
                                  struct fs_file *segment)
{
    size_t used = entries_used(bytes, OFFSET_ENTRY_BYTES);
    int64_t last_relative = -1;
    int64_t last_position = -1;
    for (size_t i = 0; i < used; i++) {
        const uint8_t *p = bytes.ptr + i * OFFSET_ENTRY_BYTES;
        int64_t at = to_i64(i * OFFSET_ENTRY_BYTES);
        int64_t relative = (int32_t)load_be32(p);
        int64_t position = (int32_t)load_be32(p + 4);
        dump_print_begin(d, "entry");
        dump_print_int(d, "offset", base_offset + relative);
        dump_print_int(d, "position", position);
        dump_print_end(d);
        if (relative <= last_relative || position <= last_position) {
            dump_print_damage(d, at, OFFSET_ENTRY_BYTES, "not above the entry before it");
        } else if (segment != NULL) {
            check_in_segment(d, segment, at, base_offset + relative, position);
        }
        last_relative = relative;
        last_position = position;
    }
    print_unused(d, bytes, used, OFFSET_ENTRY_BYTES);
}

void dump_side_files_time_index(struct dump_out *d, struct view bytes, int64_t base_offset)
{
    size_t used = entries_used(bytes, TIME_ENTRY_BYTES);
    int64_t last_timestamp = INT64_MIN;
    int64_t last_relative = -1;
    for (size_t i = 0; i < used; i++) {
        const uint8_t *p = bytes.ptr + i * TIME_ENTRY_BYTES;
        int64_t timestamp = (int64_t)load_be64(p);
        int64_t relative = (int32_t)load_be32(p + 8);
        dump_print_begin(d, "entry");
        dump_print_int(d, "timestamp", timestamp);
        dump_print_int(d, "offset", base_offset + relative);
        dump_print_end(d);
        if (timestamp <= last_timestamp || relative < last_relative || relative < 0) {
            dump_print_damage(d, to_i64(i * TIME_ENTRY_BYTES), TIME_ENTRY_BYTES,
                              "not above the entry before it");
        }
        last_timestamp = timestamp;
        last_relative = relative;
    }
    print_unused(d, bytes, used, TIME_ENTRY_BYTES);
}

void dump_side_files_txn_index(struct dump_out *d, struct view bytes)
{
    for (size_t i = 0; i < bytes.len / TXN_ENTRY_BYTES; i++) {
        struct cursor c = cursor_of(bytes.ptr + i * TXN_ENTRY_BYTES, TXN_ENTRY_BYTES);
        int16_t version = cursor_i16(&c);
        int64_t producer_id = cursor_i64(&c);
        int64_t first_offset = cursor_i64(&c);
        int64_t last_offset = cursor_i64(&c);
        int64_t last_stable_offset = cursor_i64(&c);
        dump_print_begin(d, "aborted");
        dump_print_int(d, "version", version);
        dump_print_int(d, "producerId", producer_id);
        dump_print_int(d, "firstOffset", first_offset);
        dump_print_int(d, "lastOffset", last_offset);
        dump_print_int(d, "lastStableOffset", last_stable_offset);
        dump_print_end(d);
        if (version != 0 || first_offset < 0 || last_offset < first_offset) {
            dump_print_damage(d, to_i64(i * TXN_ENTRY_BYTES), TXN_ENTRY_BYTES,
                              "not an aborted transaction");
        }
    }
    check_tail(d, bytes, TXN_ENTRY_BYTES);
}

static void print_producer(struct dump_out *d, struct cursor *c)
{
    dump_print_begin(d, "producer");
    dump_print_int(d, "producerId", cursor_i64(c));
    dump_print_int(d, "producerEpoch", cursor_i16(c));
    dump_print_int(d, "lastSequence", cursor_i32(c));
    dump_print_int(d, "lastOffset", cursor_i64(c));
    dump_print_int(d, "offsetDelta", cursor_i32(c));
    dump_print_int(d, "timestamp", cursor_i64(c));
    dump_print_int(d, "coordinatorEpoch", cursor_i32(c));
    dump_print_int(d, "currentTxnFirstOffset", cursor_i64(c));
    dump_print_end(d);
}

void dump_side_files_snapshot(struct dump_out *d, struct view bytes)
{
    struct cursor c = cursor_of(bytes.ptr, bytes.len);
    int16_t version = cursor_i16(&c);
    uint32_t crc = (uint32_t)cursor_i32(&c);
    int32_t count = cursor_i32(&c);
    if (c.failed) {
        dump_print_damage(d, 0, to_i64(bytes.len), "the file ends within its header");
        return;
    }
    uint32_t real = crc32c(0, bytes.ptr + SNAPSHOT_CRC_FROM, bytes.len - SNAPSHOT_CRC_FROM);
    dump_print_begin(d, "snapshot");
    dump_print_int(d, "version", version);
    dump_print_int(d, "crc", crc);
    dump_print_int(d, "producers", count);
    dump_print_end(d);
    if (version != 1) {
        dump_print_damage(d, 0, 2, "a version that is not known");
    }
    if (crc != real) {
        dump_print_damage(d, 2, 4, "the bytes have the CRC %" PRIu32, real);
    }
    while (cursor_left(&c) >= SNAPSHOT_ENTRY_BYTES) {
        print_producer(d, &c);
        count--;
    }
    if (count != 0 || cursor_left(&c) > 0) {
        dump_print_damage(d, c.next - bytes.ptr, to_i64(cursor_left(&c)),
                          "not as many producers as it says");
    }
}

/* `epoch offset`, or `topic partition offset`. */
static bool print_checkpoint_entry(struct dump_out *d, struct str line)
{
    struct str rest = line;
    struct str words[3] = {{.ptr = NULL}};
    size_t count = 0;
    while (count < ARRAY_LEN(words) && str_split(&rest, ' ', &words[count])) {
        count++;
    }
    int32_t first = 0;
    int64_t offset = 0;
    if (rest.len > 0 || count < 2 || str_to_i64(words[count - 1], &offset) < 0 ||
        str_to_i32(words[count - 2], &first) < 0) {
        return false;
    }
    dump_print_begin(d, "entry");
    if (count == 3) {
        dump_print_text(d, "topic", words[0]);
    }
    dump_print_int(d, count == 3 ? "partition" : "epoch", first);
    dump_print_int(d, "offset", offset);
    dump_print_end(d);
    return true;
}

void dump_side_files_checkpoint(struct dump_out *d, struct str text)
{
    struct str rest = text;
    struct str line = {.ptr = NULL};
    int64_t version = -1;
    int64_t count = -1;
    bool has_head = str_split(&rest, '\n', &line) && str_to_i64(line, &version) == 0 &&
                    str_split(&rest, '\n', &line) && str_to_i64(line, &count) == 0;
    if (!has_head || version != 0 || count < 0) {
        dump_print_damage(d, 0, to_i64(text.len), "does not begin with version 0 and a count");
        return;
    }
    int64_t entries = 0;
    while (rest.len > 0 && str_split(&rest, '\n', &line)) {
        if (print_checkpoint_entry(d, line)) {
            entries++;
        } else {
            dump_print_damage(d, line.ptr - text.ptr, to_i64(line.len), "not an entry");
        }
    }
    if (entries != count) {
        dump_print_damage(d, 0, to_i64(text.len), "says %" PRId64 " entries, has %" PRId64, count,
                          entries);
    }
}

void dump_side_files_text(struct dump_out *d, struct str text)
{
    struct str rest = text;
    struct str line = {.ptr = NULL};
    while (rest.len > 0 && str_split(&rest, '\n', &line)) {
        dump_print_line(d, line);
    }
}
