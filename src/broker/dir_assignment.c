/*
 * Assignments go as jobs of the metadata thread, as many partitions to a job as Kafka's brokers put
 * into a request. Nobody waits for them: what a crash loses is found and told again by the next
 * start, which compares each log's place with the metadata. Kafka's AssignmentsManager.
 */
#include "broker/dir_assignment.h"

#include "base/mem.h"
#include "broker/broker.h"
#include "broker/io_thread.h"
#include "broker/log_dirs.h"
#include "broker/metadata.h"
#include "meta/controller.h"

#define ASSIGNED_AT_ONCE_MAX 2250

struct assigned {
    struct uuid topic_id;
    struct uuid directory;
    int32_t number;
};

struct dir_assignment {
    struct broker *br;      /* borrowed */
    struct assigned *items; /* owned */
    size_t count;
    size_t cap;
    bool is_cordon_due;
};

struct assigning {
    struct metadata_job mj;
    struct broker *br; /* borrowed */
    bool has_cordon;
    size_t count;
    struct assigned items[];
};

struct dir_assignment *dir_assignment_new(struct broker *br)
{
    struct dir_assignment *da = mem_zalloc(sizeof(*da));
    da->br = br;
    return da;
}

struct dir_assignment *dir_assignment_free(struct dir_assignment *da)
{
    if (da != NULL) {
        mem_free(da->items);
        mem_free(da);
    }
    return NULL;
}

void dir_assignment_add(struct dir_assignment *da,
                        const struct uuid *topic_id,
                        int32_t number,
                        const struct uuid *directory)
{
    da->items = mem_grow(da->items, &da->cap, da->count + 1, sizeof(da->items[0]));
    da->items[da->count++] = (struct assigned){*topic_id, *directory, number};
}

static void
decide_cordon(const struct broker *br, const struct image *im, struct meta_records *records)
{
    struct uuid *ids;
    int32_t count = log_dirs_ids(br->log_dirs, true, records->arena, &ids);
    controller_cordon(im, br->node_id, ids, count, records);
}

static void decide(struct metadata_job *mj, const struct image *im, struct meta_records *records)
{
    struct assigning *as = container_of(mj, struct assigning, mj);
    int32_t broker_id = as->br->node_id;
    for (size_t i = 0; i < as->count; i++) {
        const struct assigned *a = &as->items[i];
        controller_assign_directory(im, broker_id, &a->topic_id, a->number, &a->directory, records);
    }
    if (as->has_cordon) {
        decide_cordon(as->br, im, records);
    }
}

static void done(struct metadata_job *mj, int err)
{
    (void)err; /* the metadata thread has said it; the next start tells it again */
    mem_free(container_of(mj, struct assigning, mj));
}

void dir_assignment_cordon(struct dir_assignment *da, const struct image *im)
{
    struct arena arena = {0};
    struct meta_records records;
    meta_records_init(&records, &arena);
    decide_cordon(da->br, im, &records);
    da->is_cordon_due = records.count > 0;
    arena_release(&arena);
}

/* The next job; it takes part of what is to be told. */
static struct assigning *take(struct dir_assignment *da, size_t start)
{
    size_t count = min_size(da->count - start, ASSIGNED_AT_ONCE_MAX);
    struct assigning *as = mem_zalloc(sizeof(*as) + count * sizeof(as->items[0]));
    as->mj.loop = da->br->ios[0]->loop;
    as->mj.decide = decide;
    as->mj.done = done;
    as->br = da->br;
    as->has_cordon = da->is_cordon_due;
    as->count = count;
    if (count > 0) {
        memcpy(as->items, da->items + start, count * sizeof(as->items[0]));
    }
    da->is_cordon_due = false;
    return as;
}

void dir_assignment_send(struct dir_assignment *da)
{
    struct broker *br = da->br;
    if (br->metadata == NULL) {
        return;
    }
    size_t sent = 0;
    while (sent < da->count || da->is_cordon_due) {
        struct assigning *as = take(da, sent);
        sent += as->count;
        metadata_submit(br->metadata, &as->mj);
    }
    da->count = 0;
}
