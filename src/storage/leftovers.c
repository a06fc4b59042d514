/*
 * The state of a directory after a crash of whoever wrote it (LogLoader, KAFKA-6264):
 *
 *   X.deleted   deleted; unlinked
 *   X.tmp       a replacement that never happened; unlinked
 *   X.cleaned   a compaction that did not finish; unlinked
 *   X.swap      a compaction that finished: its result is in place of the segments in its
 *               offset range, which are unlinked, and the suffix goes; unless a .cleaned with the
 *               same or a smaller base says that the group was not complete
 */
#include "storage/leftovers.h"

#include "base/base.h"
#include "base/mem.h"
#include "base/str.h"
#include "storage/scanner.h"
#include "storage/side_file.h"

enum {
    OFFSET_DIGITS = 20,
    SWAP_BUFFER_BYTES = 65536,
};

static bool has_suffix(struct str name, const char *suffix)
{
    size_t n = strlen(suffix);
    return name.len >= n && memcmp(name.ptr + name.len - n, suffix, n) == 0;
}

/* "%020d" and what follows. */
static bool split_name(struct str name, int64_t *ret_offset, struct str *ret_suffix)
{
    if (name.len <= OFFSET_DIGITS || name.ptr[0] < '0' || name.ptr[0] > '9' ||
        str_to_i64(str_of(name.ptr, OFFSET_DIGITS), ret_offset) < 0) {
        return false;
    }
    *ret_suffix = str_of(name.ptr + OFFSET_DIGITS, name.len - OFFSET_DIGITS);
    return ret_suffix->ptr[0] == '.';
}

static void add_segment_file(struct log_listing *ll, int64_t base_offset, unsigned file)
{
    for (size_t i = ll->segments_count; i > 0; i--) {
        if (ll->segments[i - 1].base_offset == base_offset) {
            ll->segments[i - 1].files |= file;
            return;
        }
    }
    ll->segments =
        mem_grow(ll->segments, &ll->segments_cap, ll->segments_count + 1, sizeof(ll->segments[0]));
    ll->segments[ll->segments_count++] =
        (struct segment_files){.base_offset = base_offset, .files = file};
}

static void add_name(void *ctx, const char *text)
{
    static const struct {
        const char *suffix;
        unsigned file;
    } kinds[] = {
        {LOG_SUFFIX, SIDE_LOG},
        {INDEX_SUFFIX, SIDE_INDEX},
        {TIME_INDEX_SUFFIX, SIDE_TIME_INDEX},
        {TXN_INDEX_SUFFIX, SIDE_TXN_INDEX},
    };
    struct log_listing *ll = ctx;
    struct str name = str_from(text);
    struct str suffix;
    int64_t offset;
    if (has_suffix(name, DELETED_SUFFIX) || has_suffix(name, ".cleaned") ||
        has_suffix(name, ".swap") || has_suffix(name, ".tmp")) {
        ll->leftovers =
            mem_grow(ll->leftovers, &ll->leftovers_cap, ll->leftovers_count + 1, sizeof(char *));
        ll->leftovers[ll->leftovers_count++] = mem_strdup(text);
        return;
    }
    if (str_is(name, EPOCH_FILE)) {
        ll->has_epochs = true;
        return;
    }
    if (!split_name(name, &offset, &suffix)) {
        return;
    }
    if (str_is(suffix, SNAPSHOT_SUFFIX)) {
        ll->snapshots = mem_grow(ll->snapshots, &ll->snapshots_cap, ll->snapshots_count + 1,
                                 sizeof(ll->snapshots[0]));
        ll->snapshots[ll->snapshots_count++] = offset;
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        if (str_is(suffix, kinds[i].suffix)) {
            add_segment_file(ll, offset, kinds[i].file);
        }
    }
}

static int compare_segments(const void *a, const void *b)
{
    const struct segment_files *x = a;
    const struct segment_files *y = b;
    return x->base_offset < y->base_offset ? -1 : x->base_offset > y->base_offset;
}

static int compare_offsets(const void *a, const void *b)
{
    int64_t x;
    int64_t y;
    memcpy(&x, a, sizeof(x));
    memcpy(&y, b, sizeof(y));
    return x < y ? -1 : x > y;
}

int log_listing_read(struct log_listing *ll, struct fs *fs, const char *dir)
{
    *ll = (struct log_listing){0};
    int err = fs_list(fs, dir, add_name, ll);
    if (ll->segments_count > 1) {
        qsort(ll->segments, ll->segments_count, sizeof(ll->segments[0]), compare_segments);
    }
    if (ll->snapshots_count > 1) {
        qsort(ll->snapshots, ll->snapshots_count, sizeof(ll->snapshots[0]), compare_offsets);
    }
    return err;
}

void log_listing_release(struct log_listing *ll)
{
    for (size_t i = 0; i < ll->leftovers_count; i++) {
        mem_free(ll->leftovers[i]);
    }
    mem_free(ll->leftovers);
    mem_free(ll->segments);
    mem_free(ll->snapshots);
    *ll = (struct log_listing){0};
}

static int unlink_name(struct fs *fs, const char *dir, const char *name)
{
    struct log_path path;
    log_path_join(&path, dir, name);
    int err = fs_unlink(fs, path.text);
    return err == -ENOENT ? 0 : err;
}

/* The offset behind the last batch of a swapped segment. */
static int
swap_end(struct fs *fs, const char *dir, const char *name, int64_t base_offset, int64_t *ret)
{
    struct log_path path;
    struct fs_file *f;
    int64_t size;
    log_path_join(&path, dir, name);
    int err = fs_open(fs, path.text, FS_READ, &f);
    if (err < 0) {
        return err;
    }
    err = fs_size(f, &size);
    if (err >= 0) {
        struct scanner sc;
        struct batch b;
        int64_t position;
        uint8_t *buffer = mem_alloc(SWAP_BUFFER_BYTES);
        scanner_init(&sc, f, base_offset, 0, size, buffer, SWAP_BUFFER_BYTES);
        while ((err = scanner_next(&sc, &b, &position)) == 1) {
        }
        *ret = sc.next_offset;
        mem_free(buffer);
        err = err == 0 || err < -4095 ? 0 : err; /* damage is recovery's affair */
    }
    fs_file_unref(f);
    return err;
}

/* The smallest base of a `.cleaned` file: swaps at or beyond it are not complete. */
static int64_t first_cleaned(const struct log_listing *ll)
{
    int64_t first = INT64_MAX;
    for (size_t i = 0; i < ll->leftovers_count; i++) {
        struct str name = str_from(ll->leftovers[i]);
        struct str suffix;
        int64_t offset;
        if (has_suffix(name, ".cleaned") && split_name(name, &offset, &suffix)) {
            first = min_i64(first, offset);
        }
    }
    return first;
}

static bool is_good_swap(const char *text, int64_t cleaned, int64_t *ret_offset, bool *ret_is_log)
{
    struct str name = str_from(text);
    struct str suffix;
    if (!has_suffix(name, ".swap") || !split_name(name, ret_offset, &suffix) ||
        *ret_offset >= cleaned) {
        return false;
    }
    *ret_is_log = str_is(suffix, LOG_SUFFIX ".swap");
    return true;
}

/* Segments that a swapped one replaces. */
static int remove_replaced(const struct log_listing *ll,
                           struct fs *fs,
                           const char *dir,
                           int64_t from,
                           int64_t to)
{
    static const char *const suffixes[] = {LOG_SUFFIX, INDEX_SUFFIX, TIME_INDEX_SUFFIX,
                                           TXN_INDEX_SUFFIX};
    for (size_t i = 0; i < ll->segments_count; i++) {
        int64_t base = ll->segments[i].base_offset;
        for (size_t k = 0; k < ARRAY_LEN(suffixes) && base >= from && base < to; k++) {
            struct log_path path;
            log_path_of(&path, dir, base, suffixes[k]);
            int err = fs_unlink(fs, path.text);
            if (err < 0 && err != -ENOENT) {
                return err;
            }
        }
    }
    return 0;
}

static int put_in_place(struct fs *fs, const char *dir, const char *name)
{
    struct log_path from;
    struct log_path to;
    log_path_join(&from, dir, name);
    log_path_join(&to, dir, name);
    to.text[strlen(to.text) - strlen(".swap")] = '\0';
    return fs_rename(fs, from.text, to.text);
}

int leftovers_resolve(const struct log_listing *ll,
                      struct fs *fs,
                      const char *dir,
                      bool *ret_changed)
{
    int64_t cleaned = first_cleaned(ll);
    int64_t offset;
    bool is_log;
    int err = 0;
    *ret_changed = false;
    for (size_t i = 0; i < ll->leftovers_count && err >= 0; i++) {
        int64_t end;
        if (is_good_swap(ll->leftovers[i], cleaned, &offset, &is_log) && is_log) {
            err = swap_end(fs, dir, ll->leftovers[i], offset, &end);
            if (err >= 0) {
                err = remove_replaced(ll, fs, dir, offset, end);
            }
        }
    }
    for (size_t i = 0; i < ll->leftovers_count && err >= 0; i++) {
        const char *name = ll->leftovers[i];
        *ret_changed = *ret_changed || !has_suffix(str_from(name), DELETED_SUFFIX);
        if (!is_good_swap(name, cleaned, &offset, &is_log)) {
            err = unlink_name(fs, dir, name);
            continue;
        }
        err = put_in_place(fs, dir, name);
    }
    /* A .deleted file that comes back is removed again: it is not worth a sync. */
    return err < 0 || !*ret_changed ? err : fs_sync_dir(fs, dir);
}
