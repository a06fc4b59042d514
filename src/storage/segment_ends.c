/*
 * How a segment's file ends, against what is told elsewhere.
 *
 * Lost ends. A segment that has a successor was whole when it was closed, and so were its indexes.
 * Where the last entry of one names what lies behind the file's end, the file was emptied or cut
 * since: what is missing is a hole, without bytes when the cut fell between two batches. Offsets
 * that merely are not there tell nothing: compaction, aborted transactions and deleted records
 * leave such gaps, and Kafka's compaction leaves empty files, with empty indexes beside them.
 *
 * Zeros at the end were room that nothing used: preallocated, or a power cut's.
 */
#include "storage/segment.h"

#include "base/base.h"
#include "base/bytes.h"
#include "base/err.h"
#include "base/mem.h"

enum {
    PIECE_BYTES = 65536,
};

/* What the last entry of an index file says; -1 where there is none, or none that can be read. */
struct last_entry {
    int64_t offset;
    int64_t position; /* of the offset index only */
};

static struct last_entry read_last_entry(const struct segment *sg,
                                         const struct segment_io *io,
                                         const char *suffix,
                                         size_t entry_bytes)
{
    struct log_path path;
    struct fs_file *file;
    int64_t size;
    uint8_t bytes[TIME_ENTRY_BYTES];
    struct last_entry last = {.offset = -1, .position = -1};
    log_path_of(&path, io->dir, sg->base_offset, suffix);
    if (fs_open(io->fs, path.text, FS_READ, &file) < 0) {
        return last;
    }
    if (fs_size(file, &size) >= 0 && size >= to_i64(entry_bytes)) {
        int64_t at = (size / to_i64(entry_bytes) - 1) * to_i64(entry_bytes);
        bool is_read = fs_pread(file, bytes, entry_bytes, at) == to_i64(entry_bytes);
        bool is_of_times = entry_bytes == TIME_ENTRY_BYTES;
        if (is_read && load_be64(bytes) != 0) { /* not preallocated */
            last.offset = sg->base_offset + (int32_t)load_be32(bytes + (is_of_times ? 8 : 0));
            last.position = is_of_times ? -1 : (int32_t)load_be32(bytes + 4);
        }
    }
    fs_file_unref(file);
    return last;
}

static int note_end(void *ctx, const struct batch *b, int64_t position)
{
    int64_t *end = ctx;
    (void)position;
    *end = batch_last_offset(b) + 1;
    return 0;
}

int segment_find_loss(struct segment *sg, const struct segment_io *io)
{
    int64_t end = sg->base_offset;
    uint16_t known = sg->holes_count;
    struct last_entry last = read_last_entry(sg, io, INDEX_SUFFIX, OFFSET_ENTRY_BYTES);
    if (sg->size == 0 && last.offset < 0) {
        last = read_last_entry(sg, io, TIME_INDEX_SUFFIX, TIME_ENTRY_BYTES);
    }
    if (last.offset < 0 || (sg->size > 0 && last.position < sg->size)) {
        return 0;
    }
    int err = segment_each(sg, io, 0, note_end, &end);
    if (err < 0) {
        return err;
    }
    if (last.offset >= end && last.offset < sg->end_offset &&
        segment_hole_of(sg, last.offset) == NULL) {
        const struct hole h = {
            .from = sg->size, .to = sg->size, .offset_from = end, .offset_to = sg->end_offset};
        segment_add_hole(sg, &h);
    }
    return sg->holes_count - known;
}

int segment_written_end(struct segment *sg,
                        const struct segment_io *io,
                        int64_t from,
                        int64_t to,
                        int64_t *ret)
{
    struct fs_file *file;
    if (from == to) {
        *ret = to;
        return 0;
    }
    int err = segment_file(sg, io, false, &file);
    if (err < 0) {
        return err;
    }
    uint8_t *piece = mem_alloc(PIECE_BYTES);
    size_t used = 0;
    while (to > from && used == 0 && err >= 0) {
        size_t n = to_size(min_i64(to - from, PIECE_BYTES));
        ssize_t got = fs_pread(file, piece, n, to - to_i64(n));
        err = got < 0 ? (int)got : 0;
        used = got < 0 ? 0 : (size_t)got;
        while (used > 0 && piece[used - 1] == 0) {
            used--;
        }
        to -= to_i64(n);
    }
    mem_free(piece);
    fs_file_unref(file);
    if (err >= 0) {
        *ret = to + to_i64(used);
    }
    return err;
}
