/* Blobs and ropes; see bytes.h. A rope begins in its inline runs and moves to the heap when it
 * needs more; consumed runs drop their references at once, so that memory leaves with its bytes. */
#include "base/bytes.h"

#include "base/base.h"
#include "base/fs.h"
#include "base/mem.h"

struct blob *blob_try_new(size_t cap)
{
    size_t bytes;
    if (__builtin_add_overflow(sizeof(struct blob), cap, &bytes)) {
        return NULL;
    }
    struct blob *b = mem_try_alloc(bytes);
    if (b == NULL) {
        return NULL;
    }
    atomic_init(&b->refs, 1);
    b->cap = cap;
    b->on_free = NULL;
    b->ctx = NULL;
    return b;
}

struct blob *blob_new(size_t cap)
{
    struct blob *b = blob_try_new(cap);
    check(b != NULL);
    return b;
}

struct blob *blob_ref(struct blob *b)
{
    if (b != NULL) {
        /* Relaxed: whoever takes a reference already has one. */
        atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
    }
    return b;
}

struct blob *blob_unref(struct blob *b)
{
    if (b == NULL) {
        return NULL;
    }
    /* Release our writes; the last one acquires those of all others before it frees. The sole
     * owner skips the locked instruction: nobody else can raise the count. */
    if (atomic_load_explicit(&b->refs, memory_order_acquire) != 1) {
        uint32_t before = atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel);
        check(before != 0);
        if (before != 1) {
            return NULL;
        }
    } else {
        atomic_store_explicit(&b->refs, 0, memory_order_relaxed);
    }
    if (b->on_free != NULL) {
        b->on_free(b, b->ctx);
    } else {
        mem_free(b);
    }
    return NULL;
}

void rope_init(struct rope *r)
{
    r->runs = r->inline_runs;
    r->start = 0;
    r->count = 0;
    r->cap = ARRAY_LEN(r->inline_runs);
    r->bytes = 0;
}

static void run_drop(struct rope_run *run)
{
    if (run->blob != NULL) {
        run->blob = blob_unref(run->blob);
    }
    if (run->file != NULL) {
        run->file = fs_file_unref(run->file);
    }
}

void rope_release(struct rope *r)
{
    for (size_t i = r->start; i < r->count; i++) {
        run_drop(&r->runs[i]);
    }
    if (r->runs != r->inline_runs) {
        mem_free(r->runs);
    }
    rope_init(r);
}

/* Room for `more` runs at the end. */
static void rope_reserve(struct rope *r, size_t more)
{
    if (r->runs == NULL) {
        rope_init(r); /* a zeroed rope is an empty one */
    }
    if (r->cap - r->count >= more) {
        return;
    }
    if (r->start > 0) {
        memmove(r->runs, r->runs + r->start, (r->count - r->start) * sizeof(r->runs[0]));
        r->count -= r->start;
        r->start = 0;
        if (r->cap - r->count >= more) {
            return;
        }
    }
    if (r->runs == r->inline_runs) {
        size_t cap = 16;
        while (cap - r->count < more) {
            cap *= 2;
        }
        struct rope_run *runs = mem_array(cap, sizeof(runs[0]));
        memcpy(runs, r->inline_runs, r->count * sizeof(runs[0]));
        r->runs = runs;
        r->cap = cap;
    } else {
        r->runs = mem_grow(r->runs, &r->cap, r->count + more, sizeof(r->runs[0]));
    }
}

void rope_add_memory(struct rope *r, const void *ptr, size_t len, struct blob *blob)
{
    if (len == 0) {
        return;
    }
    if (r->count > r->start) {
        struct rope_run *last = &r->runs[r->count - 1];
        if (last->type == ROPE_MEMORY && last->blob == blob && last->ptr + last->len == ptr) {
            last->len += len;
            r->bytes += len;
            return;
        }
    }
    rope_reserve(r, 1);
    r->runs[r->count++] = (struct rope_run){
        .type = ROPE_MEMORY,
        .len = len,
        .ptr = ptr,
        .blob = blob_ref(blob),
    };
    r->bytes += len;
}

void rope_add_file(struct rope *r, struct fs_file *file, int64_t position, size_t len)
{
    if (len == 0) {
        return;
    }
    if (r->count > r->start) {
        struct rope_run *last = &r->runs[r->count - 1];
        if (last->type == ROPE_FILE && last->file == file &&
            last->position + to_i64(last->len) == position) {
            last->len += len;
            r->bytes += len;
            return;
        }
    }
    rope_reserve(r, 1);
    r->runs[r->count++] = (struct rope_run){
        .type = ROPE_FILE,
        .len = len,
        .file = fs_file_ref(file),
        .position = position,
    };
    r->bytes += len;
}

void rope_move(struct rope *to, struct rope *from)
{
    /* Answers of one turn are often written one behind the other: such runs are joined. */
    if (from->count > from->start && to->count > to->start) {
        struct rope_run *last = &to->runs[to->count - 1];
        struct rope_run *next = &from->runs[from->start];
        if (last->type == ROPE_MEMORY && next->type == ROPE_MEMORY && last->blob == next->blob &&
            last->ptr + last->len == next->ptr) {
            last->len += next->len;
            to->bytes += next->len;
            from->bytes -= next->len;
            from->start++;
            next->blob = blob_unref(next->blob); /* `last` has one */
        }
    }
    size_t n = from->count - from->start;
    if (n > 0) {
        rope_reserve(to, n);
        memcpy(to->runs + to->count, from->runs + from->start, n * sizeof(to->runs[0]));
        to->count += n;
        to->bytes += from->bytes;
    }
    if (from->runs != NULL && from->runs != from->inline_runs) {
        mem_free(from->runs);
    }
    rope_init(from);
}

void rope_consume(struct rope *r, size_t len)
{
    check(len <= r->bytes);
    r->bytes -= len;
    while (len > 0) {
        struct rope_run *run = &r->runs[r->start];
        if (len < run->len) {
            run->len -= len;
            if (run->type == ROPE_MEMORY) {
                run->ptr += len;
            } else {
                run->position += to_i64(len);
            }
            return;
        }
        len -= run->len;
        run_drop(run);
        r->start++;
    }
    if (r->start == r->count) {
        r->start = 0;
        r->count = 0;
    }
}
