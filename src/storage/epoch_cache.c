/*
 * Kafka's LeaderEpochFileCache (KIP-101, KIP-279). The file:
 *
 *   0                       version
 *   <count>
 *   <epoch> <start offset>  count lines, each ended by a newline
 *
 * A file that was not synced may be cut anywhere, so nothing of one with a wrong count, an entry
 * out of order or a missing last newline is believed; the caller rebuilds from the batches.
 */
#include "storage/epoch_cache.h"

#include "base/base.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "storage/side_file.h"

void epoch_cache_init(struct epoch_cache *ec)
{
    *ec = (struct epoch_cache){0};
}

void epoch_cache_release(struct epoch_cache *ec)
{
    mem_free(ec->entries);
    *ec = (struct epoch_cache){0};
}

static void push(struct epoch_cache *ec, int32_t epoch, int64_t start_offset)
{
    if (ec->count == ec->cap) {
        /* Most logs have one or two epochs in their life: grow tightly. */
        ec->cap = ec->cap == 0 ? 1 : ec->cap * 2;
        ec->entries = mem_realloc(ec->entries, ec->cap * sizeof(ec->entries[0]));
    }
    ec->entries[ec->count++] = (struct epoch_entry){.epoch = epoch, .start_offset = start_offset};
}

bool epoch_cache_assign(struct epoch_cache *ec, int32_t epoch, int64_t start_offset)
{
    if (epoch < 0 || start_offset < 0) {
        return false;
    }
    if (ec->count > 0) {
        const struct epoch_entry *latest = &ec->entries[ec->count - 1];
        if (latest->epoch == epoch && start_offset >= latest->start_offset) {
            return false;
        }
    }
    while (ec->count > 0 && (ec->entries[ec->count - 1].epoch >= epoch ||
                             ec->entries[ec->count - 1].start_offset >= start_offset)) {
        ec->count--;
    }
    ec->is_rewritten = ec->is_rewritten || ec->count < ec->saved_count;
    push(ec, epoch, start_offset);
    ec->is_dirty = true;
    return true;
}

void epoch_cache_truncate_end(struct epoch_cache *ec, int64_t end_offset)
{
    while (ec->count > 0 && ec->entries[ec->count - 1].start_offset >= end_offset) {
        ec->count--;
        ec->is_dirty = true;
        ec->is_rewritten = true;
    }
}

void epoch_cache_truncate_start(struct epoch_cache *ec, int64_t start_offset)
{
    size_t drop = 0;
    while (drop + 1 < ec->count && ec->entries[drop + 1].start_offset <= start_offset) {
        drop++;
    }
    if (drop > 0) {
        ec->count -= drop;
        memmove(ec->entries, ec->entries + drop, ec->count * sizeof(ec->entries[0]));
        ec->is_dirty = true;
        ec->is_rewritten = true;
    }
    if (ec->count > 0 && ec->entries[0].start_offset < start_offset) {
        ec->entries[0].start_offset = start_offset;
        ec->is_dirty = true;
        ec->is_rewritten = true;
    }
}

int32_t epoch_cache_latest(const struct epoch_cache *ec)
{
    return ec->count == 0 ? -1 : ec->entries[ec->count - 1].epoch;
}

/* Entries with epoch <= the one asked for: how many. */
static size_t count_up_to(const struct epoch_cache *ec, int32_t epoch)
{
    size_t low = 0;
    size_t high = ec->count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (ec->entries[mid].epoch <= epoch) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low;
}

int32_t epoch_cache_of(const struct epoch_cache *ec, int64_t offset)
{
    int32_t epoch = -1;
    size_t low = 0;
    size_t high = ec->count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (ec->entries[mid].start_offset <= offset) {
            epoch = ec->entries[mid].epoch;
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return epoch;
}

void epoch_cache_end_of(const struct epoch_cache *ec,
                        int32_t epoch,
                        int64_t log_end,
                        int32_t *ret_epoch,
                        int64_t *ret_end_offset)
{
    *ret_epoch = -1;
    *ret_end_offset = -1;
    if (epoch == -1 || ec->count == 0 || epoch > epoch_cache_latest(ec)) {
        return;
    }
    size_t n = count_up_to(ec, epoch);
    if (epoch == epoch_cache_latest(ec)) {
        *ret_epoch = epoch;
        *ret_end_offset = log_end;
    } else if (n == 0) {
        /* Older than all we know: the follower shall go back to our start. */
        *ret_epoch = epoch;
        *ret_end_offset = ec->entries[0].start_offset;
    } else {
        *ret_epoch = ec->entries[n - 1].epoch;
        *ret_end_offset = ec->entries[n].start_offset;
    }
}

static int parse_entries(struct epoch_cache *ec, struct str rest, int64_t count)
{
    struct str line;
    for (int64_t i = 0; i < count; i++) {
        struct str epoch_text;
        int32_t epoch;
        int64_t start;
        if (!str_split(&rest, '\n', &line) || !str_split(&line, ' ', &epoch_text) ||
            str_to_i32(epoch_text, &epoch) < 0 || str_to_i64(line, &start) < 0 || epoch < 0 ||
            start < 0) {
            return ERR_MALFORMED;
        }
        if (ec->count > 0 && (epoch <= ec->entries[ec->count - 1].epoch ||
                              start <= ec->entries[ec->count - 1].start_offset)) {
            return ERR_MALFORMED;
        }
        push(ec, epoch, start);
    }
    return rest.len == 0 ? 0 : ERR_MALFORMED;
}

int epoch_cache_load(struct epoch_cache *ec, struct fs *fs, const char *path)
{
    cleanup(mem_free_charp) char *bytes = NULL;
    size_t len;
    ec->count = 0;
    ec->is_dirty = false;
    ec->is_rewritten = false;
    ec->saved_count = 0;
    int err = fs_read_file(fs, path, EPOCH_CACHE_FILE_MAX, &bytes, &len);
    if (err < 0) {
        return err == -EFBIG ? ERR_MALFORMED : err;
    }
    struct str rest = str_of(bytes, len);
    int64_t count;
    if (!side_file_head(&rest, &count)) {
        return ERR_MALFORMED;
    }
    err = parse_entries(ec, rest, count);
    if (err < 0) {
        ec->count = 0;
    }
    ec->saved_count = ec->count;
    return err;
}

bool epoch_cache_wants_save(const struct epoch_cache *ec, int64_t log_end)
{
    bool is_only_new = !ec->is_rewritten && ec->count == ec->saved_count + 1 &&
                       ec->entries[ec->count - 1].start_offset == log_end;
    return ec->is_dirty && !is_only_new;
}

static int write_over(struct fs *fs, const char *path, const char *bytes, size_t len)
{
    struct fs_file *f;
    int64_t size;
    int err = fs_open(fs, path, FS_WRITE | FS_CREATE, &f);
    if (err < 0) {
        return err;
    }
    err = fs_size(f, &size);
    if (err >= 0) {
        err = fs_pwrite(f, bytes, len, 0);
    }
    if (err >= 0 && size > to_i64(len)) {
        err = fs_truncate(f, to_i64(len));
    }
    fs_file_unref(f);
    return err;
}

int epoch_cache_save(struct epoch_cache *ec, struct fs *fs, const char *path, bool is_durable)
{
    size_t cap = 64 + ec->count * 40;
    cleanup(mem_free_charp) char *text = mem_alloc(cap);
    struct strbuf sb;
    strbuf_init(&sb, text, cap);
    strbuf_addf(&sb, "0\n%zu\n", ec->count);
    for (size_t i = 0; i < ec->count; i++) {
        strbuf_addf(&sb, "%" PRId32 " %" PRId64 "\n", ec->entries[i].epoch,
                    ec->entries[i].start_offset);
    }
    check(!sb.is_truncated);
    int err = is_durable ? fs_replace_file(fs, path, sb.ptr, sb.len)
                         : write_over(fs, path, sb.ptr, sb.len);
    if (err >= 0) {
        ec->is_dirty = false;
        ec->is_rewritten = false;
        ec->saved_count = ec->count;
    }
    return err;
}

void epoch_cache_validate(const struct epoch_cache *ec)
{
    for (size_t i = 1; i < ec->count; i++) {
        check(ec->entries[i].epoch > ec->entries[i - 1].epoch);
        check(ec->entries[i].start_offset > ec->entries[i - 1].start_offset);
    }
}
