/*
 * Bytes that travel: blobs, ropes, CRC-32C.
 *
 * A blob is a refcounted piece of memory. While one thread holds the only interest in it, it may be
 * written (a record batch is stamped in place); once it is shared across threads it is immutable.
 * The counter is atomic.
 *
 * A rope is a list of runs, of memory (with a reference to the blob that holds it, or none when the
 * memory outlives the rope) and of files (with a reference to the open file): what an answer is
 * made of, sent by writev and sendfile without a copy. One owner, no lock.
 */
#ifndef BASE_BYTES_H
#define BASE_BYTES_H

#include "base/base.h"
#include "base/str.h"

#include <stdatomic.h>

struct fs_file;

struct blob {
    _Atomic uint32_t refs;
    size_t cap; /* bytes of data */
    void (*on_free)(struct blob *b,
                    void *ctx); /* NULL: mem_free. Called at the last unref, any thread. */
    void *ctx;
    uint8_t data[] __attribute__((aligned(16)));
};

struct blob *blob_new(size_t cap);                /* ends the process without memory */
struct blob *blob_try_new(size_t cap) must_check; /* NULL without memory */
struct blob *blob_ref(struct blob *b);            /* takes NULL */
struct blob *blob_unref(struct blob *b);          /* takes NULL, returns NULL */

static inline bool blob_is_shared(const struct blob *b)
{
    return atomic_load_explicit(&b->refs, memory_order_acquire) > 1;
}

enum rope_run_type {
    ROPE_MEMORY,
    ROPE_FILE,
};

struct rope_run {
    enum rope_run_type type;
    size_t len;
    const uint8_t *ptr;   /* memory */
    struct blob *blob;    /* memory: a reference, or NULL */
    struct fs_file *file; /* file: a reference */
    int64_t position;     /* file: byte position */
};

struct rope {
    struct rope_run *runs; /* owned; the first `start` ones are consumed */
    size_t start;
    size_t count;
    size_t cap;
    size_t bytes; /* of all runs that are left */
    struct rope_run inline_runs[4];
};

void rope_init(struct rope *r);
void rope_release(struct rope *r); /* drops all references; the rope is empty and usable again */

/* The rope takes references of its own; the caller keeps his. `blob` may be NULL: then the memory
 * must outlive the rope. Adjacent memory of one blob is joined. A zeroed rope may be added to. */
void rope_add_memory(struct rope *r, const void *ptr, size_t len, struct blob *blob);
void rope_add_file(struct rope *r, struct fs_file *file, int64_t position, size_t len);
void rope_move(struct rope *to,
               struct rope *from);             /* appends all runs of `from`, which is left empty */
void rope_consume(struct rope *r, size_t len); /* len <= bytes */

static inline struct rope_run *rope_first(const struct rope *r)
{
    return r->start < r->count ? &r->runs[r->start] : NULL;
}

/* CRC-32C (Castagnoli) by the processor's instruction where it has one; start with crc 0, feed on
 * with the result. */
uint32_t crc32c(uint32_t crc, const void *bytes, size_t len);
/* The same from a table, on any processor; what crc32c does where there is no instruction. */
uint32_t crc32c_portable(uint32_t crc, const void *bytes, size_t len);

#endif
