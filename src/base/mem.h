/*
 * Memory. mem_alloc and friends end the process when the system has none; mem_try_alloc returns
 * NULL and is required wherever a peer or a file chose the size (after a limit check).
 *
 * An arena is freed as a whole: one per request, reset for the next. Threads: one owner.
 * A budget is a shared, lock-free counter: request memory of one broker (jackdaw.memory.max).
 */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include "base/base.h"
#include "base/str.h"

#include <stdatomic.h>

void *mem_alloc(size_t size);               /* not zeroed */
void *mem_zalloc(size_t size);              /* zeroed */
void *mem_array(size_t count, size_t size); /* zeroed, overflow checked */
void *mem_realloc(void *ptr, size_t size);
void *mem_try_alloc(size_t size) must_check; /* NULL when there is none; not zeroed */
void *mem_try_realloc(void *ptr, size_t size) must_check;
void *mem_free(void *ptr); /* takes NULL, returns NULL */
char *mem_strdup(const char *text);
char *mem_strndup(const char *ptr, size_t len); /* adds a NUL */
void mem_free_charp(char **ptr);                /* for cleanup(mem_free_charp) */

/* Doubling growth of a plain array: makes room for at least `need` elements of `size` bytes. */
void *mem_grow(void *array, size_t *cap, size_t need, size_t size);

struct arena_chunk;

struct arena {
    struct arena_chunk *chunks; /* owned; the newest first */
    char *next;                 /* free bytes of the newest chunk */
    char *end;
    size_t used;  /* bytes handed out since the last reset */
    size_t limit; /* 0: none; arena_try_alloc returns NULL beyond it */
};

/* A zeroed struct is a valid empty arena without a limit. */
void arena_init(struct arena *a, size_t limit);
void *arena_alloc(struct arena *a, size_t size); /* zeroed, 16-aligned; ends the process */
void *arena_try_alloc(struct arena *a,
                      size_t size) must_check;          /* zeroed; NULL: no memory or limit */
struct str arena_strdup(struct arena *a, struct str s); /* null stays null; adds a NUL */
struct str arena_printf(struct arena *a, const char *format, ...) printf_like(2, 3);
void arena_reset(struct arena *a);   /* keeps one chunk of ordinary size for the next use */
void arena_release(struct arena *a); /* frees all */

struct mem_budget {
    _Atomic int64_t used; /* bytes */
    int64_t max;          /* bytes; 0: none. Set before the first use. */
};

must_check bool mem_budget_take(struct mem_budget *b, int64_t bytes); /* false: would exceed */
void mem_budget_give(struct mem_budget *b, int64_t bytes);

#endif
