/*
 * Striped placement. Each rack keeps its brokers in random order, those that serve and take more
 * apart from those that do not. A partition begins at the rack after the one its predecessor began
 * at, takes its leader from the first rack (in that order) that has a broker that serves, and its
 * followers rack by rack. Within a rack the next broker is taken at the offset `epoch`, so that two
 * partitions that begin at the same rack differ. After as many partitions as there are brokers that
 * serve everything is shuffled again.
 *
 * Invariant: a broker is taken at most once for one partition (each rack hands out its brokers by a
 * running index that starts anew for every partition and never passes its end).
 *
 * Answers to StripedReplicaPlacer and KIP-631.
 */
#include "meta/placement.h"

struct placement_list {
    int32_t *ids; /* in the arena */
    size_t count;
    size_t taken; /* of this partition */
};

struct placement_rack {
    struct str name; /* null: no rack */
    struct placement_list active;
    struct placement_list inactive;
};

/* splitmix64: small, seeded, good enough for shuffling. */
static uint64_t next_random(struct placement *pm)
{
    pm->random += 0x9e3779b97f4a7c15ULL;
    uint64_t z = pm->random;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
}

static void shuffle_list(struct placement *pm, struct placement_list *list)
{
    for (size_t i = list->count; i > 1; i--) {
        size_t j = (size_t)(next_random(pm) % i);
        int32_t id = list->ids[i - 1];
        list->ids[i - 1] = list->ids[j];
        list->ids[j] = id;
    }
}

static void shuffle(struct placement *pm)
{
    for (size_t i = 0; i < pm->racks_count; i++) {
        shuffle_list(pm, &pm->racks[i].active);
        shuffle_list(pm, &pm->racks[i].inactive);
    }
    pm->epoch = 0;
}

static struct placement_rack *find_rack(struct placement *pm, struct str name)
{
    for (size_t i = 0; i < pm->racks_count; i++) {
        if (str_equal(pm->racks[i].name, name)) {
            return &pm->racks[i];
        }
    }
    return NULL;
}

static int compare_racks(const void *a, const void *b)
{
    const struct placement_rack *ra = a;
    const struct placement_rack *rb = b;
    return str_compare(ra->name, rb->name);
}

static bool has_id(const struct uuid *ids, int32_t count, const struct uuid *id)
{
    for (int32_t i = 0; i < count; i++) {
        if (uuid_equal(&ids[i], id)) {
            return true;
        }
    }
    return false;
}

bool placement_is_cordoned(const struct image_broker *b)
{
    for (int32_t i = 0; i < b->log_dirs_count; i++) {
        if (!has_id(b->cordoned_log_dirs, b->cordoned_log_dirs_count, &b->log_dirs[i])) {
            return false;
        }
    }
    return b->log_dirs_count > 0;
}

bool placement_takes_more(const struct image_broker *b)
{
    return placement_is_active(b) && !placement_is_cordoned(b);
}

void placement_init(struct placement *pm,
                    const struct image *im,
                    struct arena *arena,
                    uint64_t seed)
{
    const struct image_broker *const *brokers;
    size_t count;
    image_brokers(im, &brokers, &count);
    *pm = (struct placement){.arena = arena, .random = seed, .brokers_count = count};
    if (count == 0) {
        return;
    }
    pm->racks = arena_alloc(arena, count * sizeof(pm->racks[0]));
    for (size_t i = 0; i < count; i++) {
        if (find_rack(pm, brokers[i]->rack) == NULL) {
            pm->racks[pm->racks_count].name = brokers[i]->rack;
            pm->racks_count++;
        }
    }
    qsort(pm->racks, pm->racks_count, sizeof(pm->racks[0]), compare_racks);
    for (size_t i = 0; i < pm->racks_count; i++) {
        pm->racks[i].active.ids = arena_alloc(arena, count * sizeof(int32_t));
        pm->racks[i].inactive.ids = arena_alloc(arena, count * sizeof(int32_t));
    }
    for (size_t i = 0; i < count; i++) {
        struct placement_rack *rack = find_rack(pm, brokers[i]->rack);
        bool is_active = placement_takes_more(brokers[i]);
        struct placement_list *list = is_active ? &rack->active : &rack->inactive;
        list->ids[list->count++] = brokers[i]->id;
        pm->active_count += is_active ? 1 : 0;
    }
    shuffle(pm);
    pm->offset = (size_t)(next_random(pm) % pm->racks_count);
}

/* The rack's next broker of this partition that serves; false when all are taken. */
static bool take_from(struct placement_list *list, size_t epoch, int32_t *ret_id)
{
    if (list->taken == list->count) {
        return false;
    }
    *ret_id = list->ids[(epoch + list->taken) % list->count];
    list->taken++;
    return true;
}

enum placement_verdict placement_next(struct placement *pm, int32_t count, int32_t *ret_brokers)
{
    check(count > 0);
    if ((size_t)count > pm->brokers_count) {
        return PLACEMENT_TOO_FEW_BROKERS;
    }
    if (pm->active_count == 0) {
        return PLACEMENT_NONE_ACTIVE;
    }
    if (pm->epoch == pm->active_count && pm->active_count > 1) {
        shuffle(pm);
    }
    for (size_t i = 0; i < pm->racks_count; i++) {
        pm->racks[i].active.taken = 0;
        pm->racks[i].inactive.taken = 0;
    }
    size_t at = pm->offset;
    while (!take_from(&pm->racks[at].active, pm->epoch, &ret_brokers[0])) {
        at = (at + 1) % pm->racks_count;
    }
    for (int32_t placed = 1; placed < count;) {
        at = (at + 1) % pm->racks_count;
        struct placement_rack *rack = &pm->racks[at];
        if (take_from(&rack->active, pm->epoch, &ret_brokers[placed]) ||
            take_from(&rack->inactive, pm->epoch, &ret_brokers[placed])) {
            placed++;
        }
    }
    pm->epoch++;
    pm->offset = (pm->offset + 1) % pm->racks_count;
    return PLACEMENT_OK;
}
