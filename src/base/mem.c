/*
 * Memory: the allocator's front, arenas, budgets.
 *
 * An arena is a list of chunks, newest first; only the newest is filled. What is large gets a chunk
 * of its own behind the newest, so that the room left there is not lost. A reset keeps one chunk of
 * ordinary size: a request that fits into it costs no call of the allocator.
 */
#include "base/mem.h"

#include "base/base.h"

enum {
    ARENA_ALIGN = 16,
    ARENA_CHUNK_BYTES = 8192,    /* with its head */
    ARENA_GROWN_BYTES = 1 << 20, /* an arena that has come so far takes larger chunks: */
    ARENA_GROWN_CHUNK_BYTES = 256 << 10,
    ARENA_LARGE_BYTES = 2048, /* from here on a chunk of its own, when the newest has no room */
};

struct arena_chunk {
    struct arena_chunk *next; /* owned: older */
    size_t cap;               /* bytes of data */
    char data[] __attribute__((aligned(ARENA_ALIGN)));
};

noreturn_function static void out_of_memory(size_t size)
{
    fprintf(stderr, "jackdaw: out of memory: %zu bytes refused by the system\n", size);
    abort();
}

void *mem_alloc(size_t size)
{
    void *ptr = malloc(size == 0 ? 1 : size);
    if (unlikely(ptr == NULL)) {
        out_of_memory(size);
    }
    return ptr;
}

void *mem_zalloc(size_t size)
{
    return mem_array(1, size);
}

void *mem_array(size_t count, size_t size)
{
    /* calloc checks the product. */
    bool is_empty = count == 0 || size == 0;
    void *ptr = is_empty ? calloc(1, 1) : calloc(count, size);
    if (unlikely(ptr == NULL)) {
        out_of_memory(size);
    }
    return ptr;
}

void *mem_realloc(void *ptr, size_t size)
{
    void *to = realloc(ptr, size == 0 ? 1 : size);
    if (unlikely(to == NULL)) {
        out_of_memory(size);
    }
    return to;
}

void *mem_try_alloc(size_t size)
{
    return malloc(size == 0 ? 1 : size);
}

void *mem_try_realloc(void *ptr, size_t size)
{
    return realloc(ptr, size == 0 ? 1 : size);
}

void *mem_free(void *ptr)
{
    free(ptr);
    return NULL;
}

char *mem_strndup(const char *ptr, size_t len)
{
    check(len < SIZE_MAX);
    char *to = mem_alloc(len + 1);
    if (len > 0) {
        memcpy(to, ptr, len);
    }
    to[len] = '\0';
    return to;
}

char *mem_strdup(const char *text)
{
    return mem_strndup(text, strlen(text));
}

void mem_free_charp(char **ptr)
{
    *ptr = mem_free(*ptr);
}

void *mem_grow(void *array, size_t *cap, size_t need, size_t size)
{
    if (need <= *cap) {
        return array;
    }
    size_t to = *cap < 8 ? 8 : *cap;
    while (to < need) {
        check(to <= SIZE_MAX / 2);
        to *= 2;
    }
    size_t bytes;
    check(!__builtin_mul_overflow(to, size, &bytes));
    array = mem_realloc(array, bytes);
    *cap = to;
    return array;
}

void arena_init(struct arena *a, size_t limit)
{
    *a = (struct arena){.limit = limit};
}

/* `size` is already rounded. NULL: the system has no memory. */
static void *arena_take(struct arena *a, size_t size)
{
    if (likely((size_t)(a->end - a->next) >= size && a->next != NULL)) {
        void *ptr = a->next;
        a->next += size;
        a->used += size;
        return memset(ptr, 0, size);
    }
    bool is_large = size >= ARENA_LARGE_BYTES;
    size_t chunk_bytes = a->used < ARENA_GROWN_BYTES ? ARENA_CHUNK_BYTES : ARENA_GROWN_CHUNK_BYTES;
    size_t cap = is_large ? size : chunk_bytes - sizeof(struct arena_chunk);
    size_t bytes;
    if (__builtin_add_overflow(cap, sizeof(struct arena_chunk), &bytes)) {
        return NULL;
    }
    struct arena_chunk *chunk = mem_try_alloc(bytes);
    if (chunk == NULL) {
        return NULL;
    }
    chunk->cap = cap;
    if (is_large && a->chunks != NULL) {
        chunk->next = a->chunks->next;
        a->chunks->next = chunk;
    } else {
        chunk->next = a->chunks;
        a->chunks = chunk;
        a->next = chunk->data + size;
        a->end = chunk->data + cap;
    }
    a->used += size;
    return memset(chunk->data, 0, size);
}

void *arena_try_alloc(struct arena *a, size_t size)
{
    if (unlikely(size > SIZE_MAX - ARENA_ALIGN)) {
        return NULL;
    }
    size = size == 0 ? ARENA_ALIGN : (size + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
    if (a->limit != 0 && (a->used > a->limit || size > a->limit - a->used)) {
        return NULL;
    }
    return arena_take(a, size);
}

void *arena_alloc(struct arena *a, size_t size)
{
    check(size <= SIZE_MAX - ARENA_ALIGN);
    size = size == 0 ? ARENA_ALIGN : (size + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
    void *ptr = arena_take(a, size);
    if (unlikely(ptr == NULL)) {
        out_of_memory(size);
    }
    return ptr;
}

struct str arena_strdup(struct arena *a, struct str s)
{
    if (str_is_null(s)) {
        return s;
    }
    char *ptr = arena_alloc(a, s.len + 1);
    if (s.len > 0) {
        memcpy(ptr, s.ptr, s.len);
    }
    return str_of(ptr, s.len);
}

struct str arena_printf(struct arena *a, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    va_list again;
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    check(len >= 0);
    char *ptr = arena_alloc(a, (size_t)len + 1);
    vsnprintf(ptr, (size_t)len + 1, format, again);
    va_end(again);
    return str_of(ptr, (size_t)len);
}

void arena_reset(struct arena *a)
{
    struct arena_chunk *kept = NULL;
    struct arena_chunk *chunk = a->chunks;
    while (chunk != NULL) {
        struct arena_chunk *next = chunk->next;
        if (kept == NULL && chunk->cap == ARENA_CHUNK_BYTES - sizeof(struct arena_chunk)) {
            kept = chunk;
        } else {
            mem_free(chunk);
        }
        chunk = next;
    }
    a->chunks = kept;
    a->used = 0;
    a->next = NULL;
    a->end = NULL;
    if (kept != NULL) {
        kept->next = NULL;
        a->next = kept->data;
        a->end = kept->data + kept->cap;
    }
}

void arena_release(struct arena *a)
{
    struct arena_chunk *chunk = a->chunks;
    while (chunk != NULL) {
        struct arena_chunk *next = chunk->next;
        mem_free(chunk);
        chunk = next;
    }
    *a = (struct arena){.limit = a->limit};
}

/* The counter guards no other memory, so relaxed order is enough. */
bool mem_budget_take(struct mem_budget *b, int64_t bytes)
{
    check(bytes >= 0);
    int64_t used = atomic_load_explicit(&b->used, memory_order_relaxed);
    int64_t to;
    do {
        if (__builtin_add_overflow(used, bytes, &to) || (b->max > 0 && to > b->max)) {
            return false;
        }
    } while (!atomic_compare_exchange_weak_explicit(&b->used, &used, to, memory_order_relaxed,
                                                    memory_order_relaxed));
    return true;
}

void mem_budget_give(struct mem_budget *b, int64_t bytes)
{
    int64_t before = atomic_fetch_sub_explicit(&b->used, bytes, memory_order_relaxed);
    check(bytes >= 0 && before >= bytes);
}
