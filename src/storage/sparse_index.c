/*
 * Sparse indexes of a segment. Formats (all big-endian, no header, no checksum):
 *
 *   <base>.index      at 0  4  offset of the batch's last record, relative to the base
 *                     at 4  4  position of the batch in the .log
 *   <base>.timeindex  at 0  8  largest timestamp so far
 *                     at 8  4  relative offset of the last record of the batch that has it
 *
 * Both keys of an entry are larger than those of the entry before. Kafka preallocates the files of
 * an active segment to segment.index.bytes and cuts them when it closes; after a kill the rest is
 * zeros. No entry but one for timestamp 0 at the very base can be all zeros, so the first such
 * entry ends the index.
 */
#include "storage/sparse_index.h"

#include "base/base.h"
#include "base/mem.h"

enum {
    BLOCK_BYTES =
        1536, /* whole entries of both; 192 entries of the offset index are 768 KiB of log */
};

enum index_key {
    KEY_OFFSET,   /* .index */
    KEY_POSITION, /* .index */
    KEY_TIME,     /* .timeindex */
};

void sparse_index_init(struct sparse_index *ix, uint16_t entry_bytes)
{
    *ix = (struct sparse_index){.entry_bytes = entry_bytes, .stored = SPARSE_INDEX_UNKNOWN};
}

static void drop_cached(struct sparse_index *ix)
{
    ix->cached = mem_free(ix->cached);
    ix->cached_count = 0;
}

void sparse_index_release(struct sparse_index *ix)
{
    ix->tail = mem_free(ix->tail);
    ix->tail_count = 0;
    drop_cached(ix);
}

static bool is_zero(const uint8_t *entry, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (entry[i] != 0) {
            return false;
        }
    }
    return true;
}

static int read_entry(struct fs_file *f, size_t entry_bytes, uint32_t i, uint8_t *ret)
{
    ssize_t n = fs_pread(f, ret, entry_bytes, to_i64(entry_bytes) * i);
    return n < 0 ? (int)n : (size_t)n < entry_bytes ? -EIO : 0;
}

/* Entries before the zeros that preallocation, or a power cut, left: a binary search over "is not
 * zero". */
static int count_entries(struct fs_file *f, size_t entry_bytes, uint32_t *ret, bool *ret_longer)
{
    int64_t size;
    int err = fs_size(f, &size);
    if (err < 0) {
        return err;
    }
    int64_t entries = size / to_i64(entry_bytes);
    uint32_t high = (uint32_t)min_i64(entries, INT32_MAX);
    uint32_t low = 0;
    uint8_t entry[TIME_ENTRY_BYTES];
    if (high > 0) {
        err = read_entry(f, entry_bytes, high - 1, entry);
        if (err < 0) {
            return err;
        }
        if (!is_zero(entry, entry_bytes)) {
            low = high;
        }
    }
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        err = read_entry(f, entry_bytes, mid, entry);
        if (err < 0) {
            return err;
        }
        if (is_zero(entry, entry_bytes)) {
            high = mid;
        } else {
            low = mid + 1;
        }
    }
    *ret = low;
    *ret_longer = size > to_i64(entry_bytes) * low;
    return 0;
}

int sparse_index_load(struct sparse_index *ix, struct fs *fs, const char *path)
{
    if (ix->stored != SPARSE_INDEX_UNKNOWN) {
        return 0;
    }
    struct fs_file *f;
    int err = fs_open(fs, path, FS_READ, &f);
    if (err < 0) {
        if (err == -ENOENT) {
            ix->stored = 0;
        }
        return err;
    }
    uint32_t stored = 0;
    err = count_entries(f, ix->entry_bytes, &stored, &ix->is_longer);
    fs_file_unref(f);
    if (err >= 0) {
        ix->stored = stored;
    }
    return err;
}

static int load(struct sparse_index *ix, struct fs *fs, const char *path)
{
    int err = sparse_index_load(ix, fs, path);
    return err == -ENOENT ? 0 : err;
}

uint32_t sparse_index_count(const struct sparse_index *ix)
{
    return (ix->stored == SPARSE_INDEX_UNKNOWN ? 0 : ix->stored) + ix->tail_count;
}

static uint8_t *add_entry(struct sparse_index *ix)
{
    if (ix->tail == NULL) {
        ix->tail = mem_alloc((size_t)INDEX_TAIL_ENTRIES * ix->entry_bytes);
    }
    check(ix->tail_count < INDEX_TAIL_ENTRIES);
    return ix->tail + (size_t)ix->tail_count++ * ix->entry_bytes;
}

bool sparse_index_add_offset(struct sparse_index *ix, struct offset_entry entry)
{
    uint8_t *to = add_entry(ix);
    store_be32(to, (uint32_t)entry.relative_offset);
    store_be32(to + 4, (uint32_t)entry.position);
    return ix->tail_count == INDEX_TAIL_ENTRIES;
}

bool sparse_index_add_time(struct sparse_index *ix, struct time_entry entry)
{
    uint8_t *to = add_entry(ix);
    store_be64(to, (uint64_t)entry.timestamp);
    store_be32(to + 8, (uint32_t)entry.relative_offset);
    return ix->tail_count == INDEX_TAIL_ENTRIES;
}

int sparse_index_flush(struct sparse_index *ix, struct fs *fs, const char *path)
{
    if (ix->tail_count == 0) {
        return 0;
    }
    int err = load(ix, fs, path);
    if (err < 0) {
        return err;
    }
    struct fs_file *f;
    err = fs_open(fs, path, FS_WRITE | FS_CREATE, &f);
    if (err < 0) {
        return err;
    }
    err = fs_pwrite(f, ix->tail, (size_t)ix->tail_count * ix->entry_bytes,
                    (int64_t)ix->stored * ix->entry_bytes);
    fs_file_unref(f);
    if (err >= 0) {
        ix->stored += ix->tail_count;
        ix->tail_count = 0;
        ix->is_unsynced = true;
    }
    return err;
}

int sparse_index_trim(struct sparse_index *ix, struct fs *fs, const char *path)
{
    int err = load(ix, fs, path);
    struct fs_file *f = NULL;
    if (err >= 0) {
        err = fs_open(fs, path, FS_WRITE | FS_CREATE, &f);
    }
    if (err < 0) {
        return err;
    }
    int64_t want = (int64_t)ix->stored * ix->entry_bytes;
    int64_t size;
    err = fs_size(f, &size);
    if (err >= 0 && size != want) {
        err = fs_truncate(f, want);
        ix->is_unsynced = true;
    }
    if (err >= 0) {
        ix->is_longer = false;
    }
    fs_file_unref(f);
    return err;
}

int sparse_index_truncate(struct sparse_index *ix, struct fs *fs, const char *path, uint32_t count)
{
    int err = load(ix, fs, path);
    if (err < 0) {
        return err;
    }
    if (count >= ix->stored) {
        uint32_t keep = count - ix->stored;
        ix->tail_count = (uint16_t)(keep < ix->tail_count ? keep : ix->tail_count);
        return 0;
    }
    ix->tail_count = 0;
    ix->is_longer = ix->is_longer || count < ix->stored;
    ix->stored = count;
    drop_cached(ix);
    return 0;
}

static int64_t key_of(const uint8_t *entry, enum index_key key)
{
    switch (key) {
    case KEY_OFFSET:
        return (int32_t)load_be32(entry);
    case KEY_POSITION:
        return (int32_t)load_be32(entry + 4);
    case KEY_TIME:
        return (int64_t)load_be64(entry);
    }
    return 0;
}

/* Entries of a piece of memory with key <= target. */
static uint32_t count_in_memory(const uint8_t *entries,
                                uint32_t count,
                                size_t bytes,
                                enum index_key key,
                                int64_t target)
{
    uint32_t low = 0;
    uint32_t high = count;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (key_of(entries + (size_t)mid * bytes, key) <= target) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low;
}

/* The answer when it lies in the block that was found last; 0: look into the file. */
static int find_in_cached(const struct sparse_index *ix,
                          enum index_key key,
                          int64_t target,
                          uint8_t *ret_entry)
{
    if (ix->cached == NULL) {
        return 0;
    }
    uint32_t n = count_in_memory(ix->cached, ix->cached_count, ix->entry_bytes, key, target);
    bool is_last = ix->cached_first + ix->cached_count == ix->stored;
    if (n == 0 || (n == ix->cached_count && !is_last)) {
        return 0;
    }
    memcpy(ret_entry, ix->cached + (size_t)(n - 1) * ix->entry_bytes, ix->entry_bytes);
    return to_i32(ix->cached_first + n);
}

static void
keep_block(struct sparse_index *ix, const uint8_t *block, uint32_t first, uint32_t count)
{
    if (ix->cached == NULL) {
        ix->cached = mem_alloc(BLOCK_BYTES);
    }
    memcpy(ix->cached, block, (size_t)count * ix->entry_bytes);
    ix->cached_first = first;
    ix->cached_count = count;
}

/* The same over the file, a block at a time: *ret_entry is the last of them. */
static int count_in_file(struct sparse_index *ix,
                         struct fs_file *f,
                         enum index_key key,
                         int64_t target,
                         uint8_t *ret_entry)
{
    uint8_t block[BLOCK_BYTES];
    uint32_t per_block = (uint32_t)(BLOCK_BYTES / ix->entry_bytes);
    uint32_t low = 0; /* blocks: the answer lies in [low, high) */
    uint32_t high = (ix->stored + per_block - 1) / per_block;
    uint32_t count = 0;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        uint32_t first = mid * per_block;
        uint32_t n = ix->stored - first < per_block ? ix->stored - first : per_block;
        size_t len = (size_t)n * ix->entry_bytes;
        ssize_t got = fs_pread(f, block, len, (int64_t)first * ix->entry_bytes);
        if (got < 0) {
            return (int)got;
        }
        if ((size_t)got < len) {
            return -EIO;
        }
        uint32_t in_block = count_in_memory(block, n, ix->entry_bytes, key, target);
        if (in_block > 0) {
            keep_block(ix, block, first, n);
            count = first + in_block;
            memcpy(ret_entry, block + (size_t)(in_block - 1) * ix->entry_bytes, ix->entry_bytes);
        }
        if (in_block == n) {
            low = mid + 1;
        } else if (in_block == 0) {
            high = mid;
        } else {
            break;
        }
    }
    return to_i32(count);
}

static int find(struct sparse_index *ix,
                struct fs *fs,
                const char *path,
                enum index_key key,
                int64_t target,
                uint8_t *ret_entry)
{
    int err = load(ix, fs, path);
    if (err < 0) {
        return err;
    }
    if (ix->tail_count > 0) {
        uint32_t n = count_in_memory(ix->tail, ix->tail_count, ix->entry_bytes, key, target);
        if (n > 0) {
            memcpy(ret_entry, ix->tail + (size_t)(n - 1) * ix->entry_bytes, ix->entry_bytes);
            return to_i32(ix->stored + n);
        }
    }
    if (ix->stored == 0) {
        return 0;
    }
    int n = find_in_cached(ix, key, target, ret_entry);
    if (n > 0) {
        return n;
    }
    struct fs_file *f;
    err = fs_open(fs, path, FS_READ, &f);
    if (err < 0) {
        return err;
    }
    err = count_in_file(ix, f, key, target, ret_entry);
    fs_file_unref(f);
    return err;
}

static struct offset_entry decode_offset(const uint8_t *entry)
{
    return (struct offset_entry){
        .relative_offset = (int32_t)load_be32(entry),
        .position = (int32_t)load_be32(entry + 4),
    };
}

static struct time_entry decode_time(const uint8_t *entry)
{
    return (struct time_entry){
        .timestamp = (int64_t)load_be64(entry),
        .relative_offset = (int32_t)load_be32(entry + 8),
    };
}

int sparse_index_find_offset(struct sparse_index *ix,
                             struct fs *fs,
                             const char *path,
                             int64_t relative_offset,
                             struct offset_entry *ret)
{
    uint8_t entry[OFFSET_ENTRY_BYTES] = {0};
    int n = find(ix, fs, path, KEY_OFFSET, relative_offset, entry);
    *ret = decode_offset(entry);
    return n;
}

int sparse_index_find_position(struct sparse_index *ix,
                               struct fs *fs,
                               const char *path,
                               int64_t position,
                               struct offset_entry *ret)
{
    uint8_t entry[OFFSET_ENTRY_BYTES] = {0};
    int n = find(ix, fs, path, KEY_POSITION, position, entry);
    *ret = decode_offset(entry);
    return n;
}

int sparse_index_find_time(struct sparse_index *ix,
                           struct fs *fs,
                           const char *path,
                           int64_t timestamp,
                           struct time_entry *ret)
{
    uint8_t entry[TIME_ENTRY_BYTES] = {0};
    int n = find(ix, fs, path, KEY_TIME, timestamp, entry);
    *ret = decode_time(entry);
    return n;
}

static int
entry_at(struct sparse_index *ix, struct fs *fs, const char *path, uint32_t i, uint8_t *ret)
{
    int err = load(ix, fs, path);
    if (err < 0) {
        return err;
    }
    if (i >= sparse_index_count(ix)) {
        return 0;
    }
    if (i >= ix->stored) {
        memcpy(ret, ix->tail + (size_t)(i - ix->stored) * ix->entry_bytes, ix->entry_bytes);
        return 1;
    }
    struct fs_file *f;
    err = fs_open(fs, path, FS_READ, &f);
    if (err < 0) {
        return err;
    }
    err = read_entry(f, ix->entry_bytes, i, ret);
    fs_file_unref(f);
    return err < 0 ? err : 1;
}

int sparse_index_offset_at(struct sparse_index *ix,
                           struct fs *fs,
                           const char *path,
                           uint32_t i,
                           struct offset_entry *ret)
{
    uint8_t entry[OFFSET_ENTRY_BYTES];
    int r = entry_at(ix, fs, path, i, entry);
    if (r == 1) {
        *ret = decode_offset(entry);
    }
    return r;
}

int sparse_index_time_at(struct sparse_index *ix,
                         struct fs *fs,
                         const char *path,
                         uint32_t i,
                         struct time_entry *ret)
{
    uint8_t entry[TIME_ENTRY_BYTES];
    int r = entry_at(ix, fs, path, i, entry);
    if (r == 1) {
        *ret = decode_time(entry);
    }
    return r;
}
