/*
 * Reading a segment batch by batch.
 *
 * Damage (design: "a hole"): at a bad place p the next good batch is looked for in this order:
 * where the damaged header itself says that it ends (a flipped bit in the records), and then at
 * each byte (so that nothing good is passed over, as it would be from index entry to index entry).
 * A candidate needs a header that can stand at this place of this segment (magic, lengths, an
 * offset at or beyond the expected one) and a good CRC; the header filter rejects nearly all bytes,
 * and SCANNER_CRC_BYTES_MAX bounds the work that bytes made by an enemy can cause.
 */
#include "storage/scanner.h"

#include "base/base.h"
#include "base/bytes.h"
#include "base/err.h"

#define BATCH_CRC_FROM        21 /* attributes */
#define SCANNER_CRC_BYTES_MAX (INT64_C(8) << 30)

void scanner_init(struct scanner *sc,
                  struct fs_file *file,
                  int64_t base_offset,
                  int64_t position,
                  int64_t end,
                  void *buffer,
                  size_t buffer_cap)
{
    check(buffer_cap >= SCANNER_BUFFER_MIN);
    *sc = (struct scanner){
        .file = file,
        .base_offset = base_offset,
        .next_offset = base_offset,
        .offset_limit = INT64_MAX,
        .position = position,
        .end = end,
        .buffer = buffer,
        .buffer_cap = buffer_cap,
    };
}

int scanner_peek(struct fs_file *file, int64_t position, struct batch *ret)
{
    uint8_t header[BATCH_HEADER_BYTES];
    ssize_t got = fs_pread(file, header, sizeof(header), position);
    if (got < 0) {
        return (int)got;
    }
    if (got < BATCH_HEADER_BYTES || batch_peek_header(header, sizeof(header), ret) < 0) {
        return ERR_CORRUPT;
    }
    ret->bytes = NULL;
    return 0;
}

/* Makes `len` bytes at `position` available in the buffer, with as many behind them as fit. Fewer
 * come at the end. */
static int
fill(struct scanner *sc, int64_t position, size_t len, const uint8_t **ret, size_t *ret_len)
{
    check(len <= sc->buffer_cap && position >= 0);
    int64_t want_end = min_i64(position + to_i64(len), sc->end);
    int64_t have_end = sc->buffer_at + to_i64(sc->buffer_len);
    if (position < sc->buffer_at || want_end > have_end) {
        size_t n = to_size(max_i64(min_i64(sc->end - position, to_i64(sc->buffer_cap)), 0));
        if (sc->no_wait && position < sc->cached_from && !fs_is_cached(sc->file, position, n)) {
            return -EAGAIN;
        }
        ssize_t got = fs_pread(sc->file, sc->buffer, n, position);
        if (got < 0) {
            sc->buffer_len = 0;
            return (int)got;
        }
        sc->buffer_at = position;
        sc->buffer_len = (size_t)got;
        have_end = position + (int64_t)got;
    }
    *ret = sc->buffer + (position - sc->buffer_at);
    *ret_len = to_size(max_i64(min_i64(have_end, position + to_i64(len)) - position, 0));
    return 0;
}

/* Can this header stand at `position`? */
static bool is_plausible(const struct scanner *sc, const struct batch *b, int64_t position)
{
    return to_i64(b->size) <= sc->end - position && b->base_offset >= sc->next_offset &&
           b->last_offset_delta >= 0 && b->records_count >= 0 &&
           b->base_offset - sc->base_offset <= INT32_MAX - (int64_t)b->last_offset_delta &&
           b->base_offset < sc->offset_limit - b->last_offset_delta;
}

/* The CRC of a batch too large for the buffer, or (in a resync) beside it, in pieces. */
static int check_crc_in_file(struct scanner *sc,
                             const struct batch *b,
                             int64_t position,
                             uint8_t *piece,
                             size_t piece_cap)
{
    uint32_t crc = 0;
    int64_t at = position + BATCH_CRC_FROM;
    int64_t end = position + to_i64(b->size);
    while (at < end) {
        size_t n = to_size(min_i64(end - at, to_i64(piece_cap)));
        ssize_t got = fs_pread(sc->file, piece, n, at);
        if (got < 0) {
            return (int)got;
        }
        if ((size_t)got < n) {
            return ERR_CORRUPT;
        }
        crc = crc32c(crc, piece, n);
        at += to_i64(n);
    }
    return crc == b->crc ? 0 : ERR_CORRUPT;
}

/* The base offset is not under the CRC. Where it leaves a gap and the batch behind it goes on
 * inside that gap, it is the offset that is wrong (compaction makes gaps too, but nothing follows
 * in them). */
static int check_gap(struct scanner *sc, const struct batch *b, int64_t position)
{
    struct batch next;
    int64_t at = position + to_i64(b->size);
    if (sc->end - at < BATCH_HEADER_BYTES) {
        return 0;
    }
    int err = scanner_peek(sc->file, at, &next);
    if (err < 0) {
        return err == ERR_CORRUPT ? 0 : err;
    }
    bool is_lie = next.base_offset >= sc->next_offset && next.base_offset <= batch_last_offset(b);
    return is_lie ? ERR_CORRUPT : 0;
}

int scanner_next(struct scanner *sc, struct batch *ret, int64_t *ret_position)
{
    if (sc->position >= sc->end) {
        return 0;
    }
    const uint8_t *bytes;
    size_t len;
    int err = fill(sc, sc->position, BATCH_HEADER_BYTES, &bytes, &len);
    if (err < 0) {
        return err;
    }
    struct batch b;
    if (len < BATCH_HEADER_BYTES || batch_peek_header(bytes, len, &b) < 0 ||
        !is_plausible(sc, &b, sc->position)) {
        return ERR_CORRUPT;
    }
    if (sc->checks_crc && b.base_offset > sc->next_offset) {
        err = check_gap(sc, &b, sc->position);
        if (err < 0) {
            return err;
        }
    }
    b.bytes = NULL;
    if (b.size <= sc->buffer_cap) {
        /* Only a checked batch, or one whose records tell something, is needed whole. */
        if (sc->checks_crc || batch_is_control(&b)) {
            err = fill(sc, sc->position, b.size, &bytes, &len);
            if (err < 0) {
                return err;
            }
            if (len < b.size) {
                return ERR_CORRUPT;
            }
            b.bytes = bytes;
            if (sc->checks_crc && !batch_crc_is_good(&b)) {
                return ERR_CORRUPT;
            }
        }
    } else if (sc->checks_crc) {
        sc->buffer_len = 0; /* its memory is used for the pieces */
        if (sc->no_wait && sc->position < sc->cached_from &&
            !fs_is_cached(sc->file, sc->position, b.size)) {
            return -EAGAIN;
        }
        err = check_crc_in_file(sc, &b, sc->position, sc->buffer, sc->buffer_cap);
        if (err < 0) {
            return err;
        }
    }
    *ret = b;
    *ret_position = sc->position;
    sc->position += to_i64(b.size);
    sc->next_offset = batch_last_offset(&b) + 1;
    return 1;
}

/* 1: a good batch lies at `position`. *budget: CRC bytes that may still be looked at. */
static int is_batch_at(struct scanner *sc, int64_t position, int64_t *budget)
{
    uint8_t piece[4096];
    if (sc->end - position < BATCH_HEADER_BYTES) {
        return 0;
    }
    struct batch b;
    int err = scanner_peek(sc->file, position, &b);
    if (err < 0 || !is_plausible(sc, &b, position)) {
        return err == ERR_CORRUPT ? 0 : err;
    }
    *budget -= to_i64(b.size);
    err = check_crc_in_file(sc, &b, position, piece, sizeof(piece));
    if (err >= 0) {
        err = check_gap(sc, &b, position);
    }
    return err == ERR_CORRUPT ? 0 : err < 0 ? err : 1;
}

static int found_at(struct scanner *sc, int64_t position)
{
    sc->position = position;
    return 1;
}

/* Where the damaged batch itself says that it ends. */
static int try_own_end(struct scanner *sc, int64_t *budget)
{
    const uint8_t *bytes;
    size_t len;
    int err = fill(sc, sc->position, BATCH_HEADER_BYTES, &bytes, &len);
    struct batch b;
    if (err < 0 || len < BATCH_HEADER_BYTES || batch_peek_header(bytes, len, &b) < 0 ||
        !is_plausible(sc, &b, sc->position)) {
        return err;
    }
    int64_t next = sc->position + to_i64(b.size);
    err = is_batch_at(sc, next, budget);
    return err == 1 ? found_at(sc, next) : err;
}

static int try_each_byte(struct scanner *sc, int64_t *budget)
{
    int64_t at = sc->position + 1;
    while (sc->end - at >= BATCH_HEADER_BYTES) {
        const uint8_t *bytes;
        size_t len;
        size_t want = to_size(min_i64(sc->end - at, to_i64(sc->buffer_cap)));
        int err = fill(sc, at, want, &bytes, &len);
        if (err < 0) {
            return err;
        }
        if (len < BATCH_HEADER_BYTES) {
            return 0;
        }
        size_t starts = len - BATCH_HEADER_BYTES + 1;
        size_t i = 0;
        while (i < starts) {
            const uint8_t *magic = memchr(bytes + i + BATCH_MAGIC_AT, 2, starts - i);
            if (magic == NULL) {
                break;
            }
            i = (size_t)(magic - bytes) - BATCH_MAGIC_AT;
            struct batch b;
            if (batch_peek_header(bytes + i, len - i, &b) >= 0 &&
                is_plausible(sc, &b, at + to_i64(i))) {
                if (*budget <= 0) {
                    sc->gave_up = true;
                    return 0;
                }
                err = is_batch_at(sc, at + to_i64(i), budget);
                if (err != 0) {
                    return err < 0 ? err : found_at(sc, at + to_i64(i));
                }
            }
            i++;
        }
        at += to_i64(starts);
    }
    return 0;
}

int scanner_resync(struct scanner *sc)
{
    int64_t budget = SCANNER_CRC_BYTES_MAX;
    sc->gave_up = false;
    int err = try_own_end(sc, &budget);
    if (err != 0) {
        return err;
    }
    return try_each_byte(sc, &budget);
}
