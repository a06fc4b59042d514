/*
 * <base>.txnindex, Kafka's AbortedTxn entries, big-endian:
 *
 *   at  0  2  version 0
 *   at  2  8  producer id
 *   at 10  8  first offset of the transaction
 *   at 18  8  offset of its abort marker
 *   at 26  8  last stable offset of the log after it
 *
 * Marker offsets ascend. A reader stops at the first entry whose last stable offset is beyond what
 * it reads: no later transaction can begin before it.
 */
#include "storage/txn_index.h"

#include "base/base.h"
#include "base/err.h"

enum {
    BLOCK_ENTRIES = 128,
};

static void encode(uint8_t *to, const struct txn_entry *entry)
{
    store_be16(to, 0);
    store_be64(to + 2, (uint64_t)entry->producer_id);
    store_be64(to + 10, (uint64_t)entry->first_offset);
    store_be64(to + 18, (uint64_t)entry->last_offset);
    store_be64(to + 26, (uint64_t)entry->last_stable_offset);
}

static struct txn_entry decode(const uint8_t *from)
{
    return (struct txn_entry){
        .producer_id = (int64_t)load_be64(from + 2),
        .first_offset = (int64_t)load_be64(from + 10),
        .last_offset = (int64_t)load_be64(from + 18),
        .last_stable_offset = (int64_t)load_be64(from + 26),
    };
}

struct load_check {
    int64_t base_offset;
    int64_t last_offset;
    uint32_t good_count;
    bool is_bad;
};

static bool check_entry(void *ctx, const struct txn_entry *entry)
{
    struct load_check *lc = ctx;
    /* A marker lies behind the data that it aborts: so that zeros (bytes that a power cut took) are
     * no entry. */
    lc->is_bad = entry->producer_id < 0 || entry->first_offset < 0 ||
                 entry->last_offset <= entry->first_offset ||
                 entry->last_offset < lc->base_offset || entry->last_offset <= lc->last_offset ||
                 entry->last_stable_offset < 0;
    lc->last_offset = entry->last_offset;
    lc->good_count += !lc->is_bad;
    return !lc->is_bad;
}

int txn_index_load(struct txn_index *tx, struct fs *fs, const char *path, int64_t base_offset)
{
    struct fs_stat st;
    *tx = (struct txn_index){0};
    int err = fs_stat(fs, path, &st);
    if (err < 0) {
        return err == -ENOENT ? 0 : err;
    }
    if (st.size / TXN_ENTRY_BYTES > INT32_MAX) {
        tx->is_bad = true;
        return ERR_MALFORMED;
    }
    tx->count = (uint32_t)(st.size / TXN_ENTRY_BYTES);
    struct load_check lc = {.base_offset = base_offset, .last_offset = -1};
    err = txn_index_each(tx, fs, path, check_entry, &lc);
    if (err >= 0 && (lc.is_bad || st.size % TXN_ENTRY_BYTES != 0)) {
        err = ERR_MALFORMED;
    }
    if (err < 0) {
        tx->count = 0;
        tx->is_bad = err == ERR_MALFORMED;
        tx->good_count = lc.good_count;
    }
    return err;
}

int txn_index_append(struct txn_index *tx,
                     struct fs *fs,
                     const char *path,
                     const struct txn_entry *entry)
{
    uint8_t bytes[TXN_ENTRY_BYTES];
    encode(bytes, entry);
    struct fs_file *f;
    int err = fs_open(fs, path, FS_WRITE | FS_CREATE, &f);
    if (err < 0) {
        return err;
    }
    err = fs_pwrite(f, bytes, sizeof(bytes), (int64_t)tx->count * TXN_ENTRY_BYTES);
    if (err >= 0) {
        tx->count++;
        tx->is_unsynced = true;
    } else {
        /* A cut entry is found at load. */
        IGNORE(fs_truncate(f, (int64_t)tx->count * TXN_ENTRY_BYTES));
    }
    fs_file_unref(f);
    return err;
}

int txn_index_truncate(struct txn_index *tx, struct fs *fs, const char *path, uint32_t count)
{
    tx->count = count;
    tx->is_bad = false;
    if (count == 0) {
        tx->is_unsynced = false;
        int err = fs_unlink(fs, path);
        return err == -ENOENT ? 0 : err;
    }
    struct fs_file *f;
    int err = fs_open(fs, path, FS_WRITE, &f);
    if (err < 0) {
        return err;
    }
    err = fs_truncate(f, (int64_t)count * TXN_ENTRY_BYTES);
    fs_file_unref(f);
    tx->is_unsynced = true;
    return err;
}

struct truncate_count {
    int64_t offset;
    uint32_t keep;
};

static bool count_kept(void *ctx, const struct txn_entry *entry)
{
    struct truncate_count *tc = ctx;
    if (entry->last_offset >= tc->offset) {
        return false;
    }
    tc->keep++;
    return true;
}

int txn_index_truncate_to(struct txn_index *tx, struct fs *fs, const char *path, int64_t offset)
{
    struct truncate_count tc = {.offset = offset};
    if (tx->is_bad) {
        return txn_index_truncate(tx, fs, path, 0);
    }
    if (tx->count == 0) {
        return 0;
    }
    int err = txn_index_each(tx, fs, path, count_kept, &tc);
    if (err < 0) {
        return err;
    }
    return tc.keep == tx->count ? 0 : txn_index_truncate(tx, fs, path, tc.keep);
}

int txn_index_each(const struct txn_index *tx,
                   struct fs *fs,
                   const char *path,
                   bool (*each)(void *ctx, const struct txn_entry *entry),
                   void *ctx)
{
    uint8_t block[BLOCK_ENTRIES * TXN_ENTRY_BYTES];
    if (tx->count == 0) {
        return 0;
    }
    struct fs_file *f;
    int err = fs_open(fs, path, FS_READ, &f);
    if (err < 0) {
        return err;
    }
    bool goes_on = true;
    for (uint32_t i = 0; i < tx->count && goes_on && err >= 0; i += BLOCK_ENTRIES) {
        uint32_t n = tx->count - i < BLOCK_ENTRIES ? tx->count - i : BLOCK_ENTRIES;
        size_t len = (size_t)n * TXN_ENTRY_BYTES;
        ssize_t got = fs_pread(f, block, len, (int64_t)i * TXN_ENTRY_BYTES);
        err = got < 0 ? (int)got : (size_t)got < len ? ERR_MALFORMED : 0;
        for (uint32_t k = 0; k < n && goes_on && err >= 0; k++) {
            const uint8_t *at = block + (size_t)k * TXN_ENTRY_BYTES;
            if (load_be16(at) != 0) {
                err = ERR_MALFORMED;
                break;
            }
            struct txn_entry entry = decode(at);
            goes_on = each(ctx, &entry);
        }
    }
    fs_file_unref(f);
    return err;
}
