/*
 * Damage that a scan met: a hole or a torn tail?
 *
 * If a good batch follows (in this segment or a later one) the damage is a hole, kept on disk and
 * remembered; otherwise it is a torn tail and is cut, with the segments behind it. A log that was
 * closed cleanly has no torn tail: there, damage up to its known end is kept too. Where a flush was
 * under way when the power went (PLOG_CUT_UNFLUSHED) good batches may stand behind what it did not
 * get to the disk: nothing of it was acknowledged, and all of it goes.
 */
#include "storage/recovery_impl.h"

#include "base/base.h"
#include "base/err.h"
#include "storage/plog.h"
#include "storage/plog_impl.h"
#include "storage/scanner.h"

/* Is there any good batch in this segment? */
static int has_good_batch(struct recovery *rc, struct segment *sg)
{
    struct segment_io io = plog_io(rc->pl, false);
    struct fs_file *file;
    struct scanner sc;
    struct batch b;
    int64_t position;
    int err = segment_file(sg, &io, false, &file);
    if (err < 0) {
        return err;
    }
    scanner_init(&sc, file, sg->base_offset, 0, sg->size, rc->buffer, rc->buffer_bytes);
    sc.offset_limit = sg->end_offset;
    sc.checks_crc = true;
    int r = scanner_next(&sc, &b, &position);
    if (r == ERR_CORRUPT) {
        r = scanner_resync(&sc);
        r = r == 0 && sc.gave_up ? 1 : r;
    }
    fs_file_unref(file);
    return r;
}

static int any_good_after(struct recovery *rc, size_t i)
{
    int r = 0;
    for (size_t k = i + 1; k < rc->pl->segments_count && r == 0; k++) {
        r = has_good_batch(rc, rc->pl->segments[k]);
    }
    return r;
}

static int count_cut(struct recovery *rc, struct segment *sg, int64_t from, int64_t to)
{
    struct segment_io io = plog_io(rc->pl, false);
    int64_t end;
    int err = segment_written_end(sg, &io, from, to, &end);
    if (err >= 0) {
        rc->report->cut_bytes += to - from;
        rc->report->torn_bytes += end - from;
    }
    return err;
}

int recovery_remove_segments(struct recovery *rc, size_t from)
{
    struct plog *pl = rc->pl;
    struct segment_io io = plog_io(pl, false);
    int err = 0;
    while (pl->segments_count > from && err >= 0) {
        struct segment *sg = pl->segments[--pl->segments_count];
        rc->has_changed_names = true;
        err = segment_remove(sg, &io);
        segment_free(sg, pl->env->fds);
    }
    return err;
}

int recovery_cut_segments(struct recovery *rc, size_t from)
{
    int err = 0;
    for (size_t i = from; i < rc->pl->segments_count && err >= 0; i++) {
        err = count_cut(rc, rc->pl->segments[i], 0, rc->pl->segments[i]->size);
    }
    return err < 0 ? err : recovery_remove_segments(rc, from);
}

/* Nothing good follows: the file ends at its last good batch, durably. */
static int cut_tail(struct recovery *rc, size_t i, struct fs_file *file, int64_t file_size)
{
    struct segment *sg = rc->pl->segments[i];
    int err = count_cut(rc, sg, sg->size, file_size);
    if (err >= 0) {
        err = fs_truncate(file, sg->size);
    }
    if (err >= 0) {
        err = fs_datasync(file);
    }
    return err < 0 ? err : recovery_cut_segments(rc, i + 1);
}

/* Behind the last good batch at or behind this position of segment i, or of a later one. */
static int find_good_end(struct recovery *rc, size_t i, int64_t position, int64_t *ret)
{
    struct plog *pl = rc->pl;
    struct segment_io io = plog_io(pl, false);
    int r = 0;
    *ret = 0;
    for (size_t k = i; k < pl->segments_count && r >= 0; k++) {
        struct segment *sg = pl->segments[k];
        struct fs_file *file;
        struct scanner sc;
        struct batch b;
        struct fs_stat st;
        struct log_path path;
        log_path_of(&path, pl->path, sg->base_offset, LOG_SUFFIX);
        /* `size` is only what has been found to be good so far */
        r = fs_stat(io.fs, path.text, &st);
        if (r >= 0) {
            r = segment_file(sg, &io, false, &file);
        }
        if (r < 0) {
            return r;
        }
        scanner_init(&sc, file, sg->base_offset, k == i ? position : 0, st.size, rc->buffer,
                     rc->buffer_bytes);
        sc.checks_crc = true;
        do {
            int64_t at;
            r = scanner_next(&sc, &b, &at);
            if (r == 1) {
                *ret = batch_last_offset(&b) + 1;
            } else if (r == ERR_CORRUPT) {
                r = scanner_resync(&sc);
                *ret = r == 0 && sc.gave_up ? INT64_MAX : *ret;
            }
        } while (r == 1);
        fs_file_unref(file);
    }
    return r < 0 ? r : 0;
}

int recovery_is_unflushed(struct recovery *rc, size_t i, int64_t position, int64_t offset)
{
    const struct plog_open *how = rc->how;
    int64_t end;
    if ((how->flags & PLOG_CUT_UNFLUSHED) == 0 || offset < how->unflushed_from ||
        offset >= how->unflushed_to) {
        return 0;
    }
    int err = find_good_end(rc, i, position, &end);
    return err < 0 ? err : end <= how->unflushed_to;
}

int recovery_handle_damage(struct recovery *rc, size_t i, struct scanner *sc, int64_t file_size)
{
    struct segment *sg = rc->pl->segments[i];
    struct hole h = {.from = sc->position, .to = file_size, .offset_from = sc->next_offset};
    int r = recovery_is_unflushed(rc, i, sc->position, sc->next_offset);
    sc->buffer_len = 0; /* its memory was used */
    if (r == 1) {
        return cut_tail(rc, i, sc->file, file_size);
    }
    if (r == 0) {
        r = scanner_resync(sc);
    }
    if (r < 0) {
        return r;
    }
    if (r == 1) {
        struct batch b;
        h.to = sc->position;
        r = scanner_peek(sc->file, h.to, &b);
        if (r < 0) {
            return r;
        }
        h.offset_to = b.base_offset;
        segment_add_hole(sg, &h);
        rc->report->holes++;
        sg->size = h.to;
        return 1;
    }
    int follows = sc->gave_up ? 1 : any_good_after(rc, i);
    if (follows < 0) {
        return follows;
    }
    bool is_last = i + 1 == rc->pl->segments_count;
    if (follows == 1 || rc->known_end > sc->next_offset) {
        h.offset_to = is_last ? max_i64(rc->known_end, h.offset_from) : sg->end_offset;
        segment_add_hole(sg, &h);
        rc->report->holes++;
        sg->size = file_size;
        rc->next_offset = h.offset_to;
        return 0;
    }
    return cut_tail(rc, i, sc->file, file_size);
}
