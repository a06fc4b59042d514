/*
 * The state of a simulated disk; see simfs_disk.h and simfs.h.
 *
 * Names: each change is kept in one list, in order, until it is stable. A change names the inode,
 * not only the text, and an inode has at most one stable name: so any subset of the changes leaves
 * a renamed file at its old or at its new place, never at both and never at none.
 *
 * Data: a page is live, stable or both; dirty pages are those that a sync would copy. A crash picks
 * for each dirty page, by the mode, the stable one, the live one, or a mixture of sectors; and a
 * size from the stable to the live one. What no one wrote reads as zeros.
 */
#include "simfs_disk.h"

#include "base/base.h"
#include "base/mem.h"
#include "simclock.h"

static struct page *page_new(void)
{
    struct page *pg = mem_alloc(sizeof(*pg));
    atomic_init(&pg->refs, 1);
    return pg;
}

static struct page *page_ref(struct page *pg)
{
    if (pg != NULL) {
        atomic_fetch_add_explicit(&pg->refs, 1, memory_order_relaxed);
    }
    return pg;
}

static void page_unref(struct page *pg)
{
    /* Clones on other threads share pages: the last one must see the reads of all others done. */
    if (pg != NULL && atomic_fetch_sub_explicit(&pg->refs, 1, memory_order_acq_rel) == 1) {
        mem_free(pg);
    }
}

static struct page *page_copy(const struct page *pg)
{
    struct page *to = page_new();
    if (pg == NULL) {
        memset(to->bytes, 0, sizeof(to->bytes));
    } else {
        memcpy(to->bytes, pg->bytes, sizeof(to->bytes));
    }
    return to;
}

static void slot_set_live(struct disk *d, struct inode *ino, struct slot *sl, struct page *pg)
{
    if (ino->is_counted) {
        d->used_pages += (pg != NULL) - (sl->live != NULL);
    }
    page_unref(sl->live);
    sl->live = pg;
}

static void slot_set_stable(struct slot *sl, struct page *pg)
{
    page_unref(sl->stable);
    sl->stable = pg;
}

static uint32_t text_hash(const char *text)
{
    uint32_t h = 2166136261u;
    for (; *text != '\0'; text++) {
        h = (h ^ (uint8_t)*text) * 16777619u;
    }
    return h;
}

struct inode *inode_new(struct disk *d, bool is_dir)
{
    struct inode *ino = mem_zalloc(sizeof(*ino));
    ino->refs = 1;
    ino->id = ++d->next_id;
    ino->is_dir = is_dir;
    list_init(&ino->work);
    list_init(&ino->live);
    list_init(&ino->stable);
    list_push_back(&d->inodes, &ino->node);
    return ino;
}

struct inode *inode_ref(struct inode *ino)
{
    ino->refs++;
    return ino;
}

static void count_pages(struct disk *d, struct inode *ino, bool is_counted)
{
    if (ino->is_counted == is_counted) {
        return;
    }
    ino->is_counted = is_counted;
    for (size_t i = 0; i < ino->slot_count; i++) {
        if (ino->slots[i].live != NULL) {
            d->used_pages += is_counted ? 1 : -1;
        }
    }
}

void inode_use(struct disk *d, struct inode *ino)
{
    if (ino->users++ == 0) {
        count_pages(d, ino, true);
    }
}

void inode_disuse(struct disk *d, struct inode *ino)
{
    check(ino->users > 0);
    if (--ino->users == 0) {
        count_pages(d, ino, false);
    }
}

/* Takes the name away and drops its reference; an inode without any goes to the worklist. */
static void name_drop(struct disk *d, struct name *nm, struct list *dead)
{
    struct inode *ino = nm->inode;
    list_remove(&nm->node);
    if (ino->stable_name == nm) {
        ino->stable_name = NULL;
    } else {
        inode_disuse(d, ino);
    }
    mem_free(nm);
    if (--ino->refs == 0) {
        list_push_back(dead, &ino->work);
    }
}

/* A directory that goes may hold the last names of others: a worklist, since there is no recursion.
 */
static void bury(struct disk *d, struct list *dead)
{
    for (struct list *node = list_pop_front(dead); node != NULL; node = list_pop_front(dead)) {
        struct inode *ino = list_entry(node, struct inode, work);
        list_foreach_safe (at, next, &ino->live) {
            name_drop(d, list_entry(at, struct name, node), dead);
        }
        list_foreach_safe (at, next, &ino->stable) {
            name_drop(d, list_entry(at, struct name, node), dead);
        }
        for (size_t i = 0; i < ino->slot_count; i++) {
            slot_set_live(d, ino, &ino->slots[i], NULL);
            slot_set_stable(&ino->slots[i], NULL);
        }
        mem_free(ino->slots);
        list_remove(&ino->node);
        mem_free(ino);
    }
}

void inode_unref(struct disk *d, struct inode *ino)
{
    check(ino->refs > 0);
    if (--ino->refs == 0) {
        struct list dead;
        list_init(&dead);
        list_push_back(&dead, &ino->work);
        bury(d, &dead);
    }
}

static void drop_one(struct disk *d, struct name *nm)
{
    struct list dead;
    list_init(&dead);
    name_drop(d, nm, &dead);
    bury(d, &dead);
}

static struct name *find_name(struct list *names, const char *text)
{
    uint32_t hash = text_hash(text);
    list_foreach (node, names) {
        struct name *nm = list_entry(node, struct name, node);
        if (nm->hash == hash && strcmp(nm->text, text) == 0) {
            return nm;
        }
    }
    return NULL;
}

static struct name *
add_name(struct list *names, struct inode *dir, const char *text, struct inode *ino)
{
    size_t len = strlen(text);
    struct name *nm = mem_alloc(sizeof(*nm) + len + 1);
    nm->dir = dir;
    nm->inode = inode_ref(ino);
    nm->hash = text_hash(text);
    memcpy(nm->text, text, len + 1);
    list_init(&nm->node);
    list_push_back(names, &nm->node);
    return nm;
}

void disk_init(struct disk *d)
{
    *d = (struct disk){0};
    list_init(&d->inodes);
    list_init(&d->pending);
    d->zero = page_copy(NULL);
    d->root = inode_new(d, true);
}

static struct change *change_new(struct disk *d,
                                 enum change_type type,
                                 struct inode *dir,
                                 const char *text,
                                 struct inode *ino)
{
    size_t len = strlen(text);
    struct change *ch = mem_alloc(sizeof(*ch) + len + 1);
    ch->type = type;
    ch->dir = inode_ref(dir);
    ch->inode = inode_ref(ino);
    memcpy(ch->text, text, len + 1);
    list_init(&ch->node);
    list_push_back(&d->pending, &ch->node);
    return ch;
}

static void change_free(struct disk *d, struct change *ch)
{
    list_remove(&ch->node);
    inode_unref(d, ch->inode);
    inode_unref(d, ch->dir);
    mem_free(ch);
}

void disk_release(struct disk *d)
{
    list_foreach_safe (node, next, &d->pending) {
        change_free(d, list_entry(node, struct change, node));
    }
    inode_unref(d, d->root);
    check(list_is_empty(&d->inodes)); /* nothing is open */
    page_unref(d->zero);
}

/* Makes the change stable. */
static void change_apply(struct disk *d, struct change *ch)
{
    struct name *there = find_name(&ch->dir->stable, ch->text);
    if (ch->type == CHANGE_UNLINK) {
        if (there != NULL && there->inode == ch->inode) {
            drop_one(d, there);
        }
        return;
    }
    if (there != NULL && there->inode == ch->inode) {
        return;
    }
    if (there != NULL) {
        drop_one(d, there);
    }
    if (ch->inode->stable_name != NULL) {
        drop_one(d, ch->inode->stable_name);
    }
    ch->inode->stable_name = add_name(&ch->dir->stable, ch->dir, ch->text, ch->inode);
}

int disk_walk(struct disk *d,
              const char *path,
              struct inode **ret_dir,
              char ret_text[static DISK_NAME_MAX + 1],
              struct name **ret_name)
{
    struct inode *dir = d->root;
    struct name *nm = NULL;
    ret_text[0] = '\0';
    for (;;) {
        path += strspn(path, "/");
        size_t len = strcspn(path, "/");
        if (len == 0) {
            break;
        }
        if (len == 1 && path[0] == '.') {
            path += len;
            continue;
        }
        if (len == 2 && memcmp(path, "..", 2) == 0) {
            return -EINVAL;
        }
        if (len > DISK_NAME_MAX) {
            return -ENAMETOOLONG;
        }
        if (ret_text[0] != '\0') {
            /* The part before this one must be a directory. */
            if (nm == NULL) {
                return -ENOENT;
            }
            if (!nm->inode->is_dir) {
                return -ENOTDIR;
            }
            dir = nm->inode;
        }
        memcpy(ret_text, path, len);
        ret_text[len] = '\0';
        nm = find_name(&dir->live, ret_text);
        path += len;
    }
    *ret_dir = dir;
    *ret_name = nm;
    return 0;
}

void disk_link(struct disk *d, struct inode *dir, const char *text, struct inode *ino)
{
    inode_use(d, add_name(&dir->live, dir, text, ino)->inode);
    change_new(d, CHANGE_LINK, dir, text, ino);
}

void disk_unlink(struct disk *d, struct name *nm)
{
    change_new(d, CHANGE_UNLINK, nm->dir, nm->text, nm->inode);
    drop_one(d, nm);
}

void disk_rename(struct disk *d, struct name *from, struct inode *dir, const char *text)
{
    struct inode *ino = inode_ref(from->inode);
    struct name *there = find_name(&dir->live, text);
    if (there != NULL) {
        drop_one(d, there); /* its end is part of the one change */
    }
    drop_one(d, from);
    inode_use(d, add_name(&dir->live, dir, text, ino)->inode);
    change_new(d, CHANGE_LINK, dir, text, ino);
    inode_unref(d, ino);
}

size_t inode_read(const struct inode *ino, void *ret_bytes, size_t len, int64_t position)
{
    if (position >= ino->size) {
        return 0;
    }
    len = min_size(len, (size_t)(ino->size - position));
    uint8_t *to = ret_bytes;
    size_t done = 0;
    while (done < len) {
        size_t at = (size_t)position + done;
        size_t i = at / DISK_PAGE_BYTES;
        size_t offset = at % DISK_PAGE_BYTES;
        size_t n = min_size(len - done, DISK_PAGE_BYTES - offset);
        if (i < ino->slot_count && ino->slots[i].live != NULL) {
            memcpy(to + done, ino->slots[i].live->bytes + offset, n);
        } else {
            memset(to + done, 0, n);
        }
        done += n;
    }
    return len;
}

static void make_slots(struct inode *ino, size_t count)
{
    if (count <= ino->slot_count) {
        return;
    }
    ino->slots = mem_grow(ino->slots, &ino->slot_cap, count, sizeof(ino->slots[0]));
    memset(ino->slots + ino->slot_count, 0, (count - ino->slot_count) * sizeof(ino->slots[0]));
    ino->slot_count = count;
}

static bool has_room(const struct disk *d, const struct slot *sl)
{
    return sl->live != NULL || d->capacity_pages == 0 || d->used_pages < d->capacity_pages;
}

/* The live page of the slot, writable. */
static struct page *own_page(struct disk *d, struct inode *ino, struct slot *sl)
{
    if (sl->live == NULL || atomic_load_explicit(&sl->live->refs, memory_order_acquire) > 1) {
        slot_set_live(d, ino, sl, page_copy(sl->live));
    }
    sl->is_dirty = true;
    return sl->live;
}

int inode_write(struct disk *d,
                struct inode *ino,
                const uint8_t *bytes,
                size_t len,
                int64_t position)
{
    size_t done = 0;
    make_slots(ino, ((size_t)position + len + DISK_PAGE_BYTES - 1) / DISK_PAGE_BYTES);
    while (done < len) {
        size_t at = (size_t)position + done;
        struct slot *sl = &ino->slots[at / DISK_PAGE_BYTES];
        size_t offset = at % DISK_PAGE_BYTES;
        size_t n = min_size(len - done, DISK_PAGE_BYTES - offset);
        if (!has_room(d, sl)) {
            return -ENOSPC;
        }
        memcpy(own_page(d, ino, sl)->bytes + offset, bytes + done, n);
        done += n;
        ino->size = max_i64(ino->size, position + to_i64(done));
    }
    return 0;
}

void inode_truncate(struct disk *d, struct inode *ino, int64_t size)
{
    size_t first = ((size_t)size + DISK_PAGE_BYTES - 1) / DISK_PAGE_BYTES;
    for (size_t i = first; size < ino->size && i < ino->slot_count; i++) {
        if (ino->slots[i].live != NULL) {
            slot_set_live(d, ino, &ino->slots[i], NULL);
            ino->slots[i].is_dirty = true;
        }
    }
    size_t offset = (size_t)size % DISK_PAGE_BYTES;
    if (size < ino->size && offset != 0 && first <= ino->slot_count &&
        ino->slots[first - 1].live != NULL) {
        struct page *pg = own_page(d, ino, &ino->slots[first - 1]);
        memset(pg->bytes + offset, 0, DISK_PAGE_BYTES - offset);
    }
    ino->size = size;
}

int inode_allocate(struct disk *d, struct inode *ino, int64_t size)
{
    make_slots(ino, ((size_t)size + DISK_PAGE_BYTES - 1) / DISK_PAGE_BYTES);
    size_t count = ((size_t)size + DISK_PAGE_BYTES - 1) / DISK_PAGE_BYTES;
    for (size_t i = 0; i < count; i++) {
        struct slot *sl = &ino->slots[i];
        if (sl->live != NULL) {
            continue;
        }
        if (!has_room(d, sl)) {
            return -ENOSPC;
        }
        slot_set_live(d, ino, sl, page_ref(d->zero));
        sl->is_dirty = true;
    }
    ino->size = max_i64(ino->size, size);
    return 0;
}

void inode_sync(struct inode *ino)
{
    for (size_t i = 0; i < ino->slot_count; i++) {
        struct slot *sl = &ino->slots[i];
        if (sl->is_dirty) {
            slot_set_stable(sl, page_ref(sl->live));
            sl->is_dirty = false;
        }
    }
    ino->stable_size = ino->size;
}

void inode_forget_dirty(struct inode *ino)
{
    for (size_t i = 0; i < ino->slot_count; i++) {
        ino->slots[i].is_dirty = false;
    }
}

/* Overwrites both states of what exists, without making anything dirty or stable. */
void inode_patch(struct disk *d,
                 struct inode *ino,
                 const uint8_t *bytes,
                 size_t len,
                 int64_t position)
{
    for (size_t done = 0; done < len; done++) {
        size_t at = (size_t)position + done;
        if (at / DISK_PAGE_BYTES >= ino->slot_count) {
            return;
        }
        struct slot *sl = &ino->slots[at / DISK_PAGE_BYTES];
        bool is_same = sl->live == sl->stable;
        bool is_dirty = sl->is_dirty;
        own_page(d, ino, sl)->bytes[at % DISK_PAGE_BYTES] = bytes[done];
        sl->is_dirty = is_dirty;
        if (is_same) {
            slot_set_stable(sl, page_ref(sl->live));
        } else if (sl->stable != NULL) {
            slot_set_stable(sl, page_copy(sl->stable));
            sl->stable->bytes[at % DISK_PAGE_BYTES] = bytes[done];
        }
    }
}

void disk_sync_dir(struct disk *d, struct inode *dir)
{
    list_foreach_safe (node, next, &d->pending) {
        struct change *ch = list_entry(node, struct change, node);
        if (ch->dir == dir) {
            change_apply(d, ch);
            change_free(d, ch);
        }
    }
}

void disk_sync_all(struct disk *d)
{
    list_foreach_safe (node, next, &d->pending) {
        struct change *ch = list_entry(node, struct change, node);
        change_apply(d, ch);
        change_free(d, ch);
    }
    list_foreach (node, &d->inodes) {
        inode_sync(list_entry(node, struct inode, node));
    }
}

static void copy_names(struct disk *d, struct list *to, struct list *from, bool is_stable)
{
    list_foreach (node, from) {
        struct name *nm = list_entry(node, struct name, node);
        struct name *made = add_name(to, nm->dir->copy, nm->text, nm->inode->copy);
        if (is_stable) {
            nm->inode->copy->stable_name = made;
        } else {
            inode_use(d, made->inode);
        }
    }
}

void disk_copy(struct disk *to, struct disk *from)
{
    *to = (struct disk){0};
    list_init(&to->inodes);
    list_init(&to->pending);
    to->zero = page_ref(from->zero);
    to->capacity_pages = from->capacity_pages;
    list_foreach (node, &from->inodes) {
        struct inode *ino = list_entry(node, struct inode, node);
        struct inode *copy = inode_new(to, ino->is_dir);
        copy->id = ino->id;
        copy->mtime_ms = ino->mtime_ms;
        copy->size = ino->size;
        copy->stable_size = ino->stable_size;
        make_slots(copy, ino->slot_count);
        for (size_t i = 0; i < ino->slot_count; i++) {
            slot_set_live(to, copy, &copy->slots[i], page_ref(ino->slots[i].live));
            copy->slots[i].stable = page_ref(ino->slots[i].stable);
            copy->slots[i].is_dirty = ino->slots[i].is_dirty;
        }
        ino->copy = copy;
    }
    to->next_id = from->next_id;
    to->root = from->root->copy;
    list_foreach (node, &from->inodes) {
        struct inode *ino = list_entry(node, struct inode, node);
        copy_names(to, &ino->copy->live, &ino->live, false);
        copy_names(to, &ino->copy->stable, &ino->stable, true);
    }
    list_foreach (node, &from->pending) {
        struct change *ch = list_entry(node, struct change, node);
        change_new(to, ch->type, ch->dir->copy, ch->text, ch->inode->copy);
    }
    /* Each copy was made with one reference; the root keeps it, files that were only open end here.
     */
    list_foreach_safe (node, next, &from->inodes) {
        struct inode *ino = list_entry(node, struct inode, node);
        if (ino != from->root) {
            inode_unref(to, ino->copy);
        }
        ino->copy = NULL;
    }
}

static void pick_names(struct disk *d, uint64_t *random, enum simfs_mode mode)
{
    /* PREFIX: a directory whose first refusal has come takes no more. The mark is kept in
     * is_reached, which the walk from the root clears before it uses it. */
    list_foreach (node, &d->inodes) {
        list_entry(node, struct inode, node)->is_reached = false;
    }
    list_foreach_safe (node, next, &d->pending) {
        struct change *ch = list_entry(node, struct change, node);
        bool is_kept = false;
        switch (mode) {
        case SIMFS_LOSE:
        case SIMFS_LOSE_NAMES:
            break;
        case SIMFS_KEEP:
        case SIMFS_LOSE_DATA:
            is_kept = true;
            break;
        case SIMFS_PREFIX:
            is_kept = !ch->dir->is_reached && sim_random(random) % 4 != 0;
            ch->dir->is_reached = !is_kept;
            break;
        case SIMFS_REORDER:
        case SIMFS_TORN:
            is_kept = sim_random(random) % 2 == 0;
            break;
        }
        if (is_kept) {
            change_apply(d, ch);
        }
        change_free(d, ch);
    }
}

static struct page *tear(const struct page *old, const struct page *new, uint64_t bits)
{
    struct page *pg = page_copy(old);
    for (size_t i = 0; i < DISK_PAGE_BYTES / DISK_SECTOR_BYTES; i++) {
        if ((bits >> i & 1) == 0) {
            continue;
        }
        uint8_t *to = pg->bytes + i * DISK_SECTOR_BYTES;
        if (new == NULL) {
            memset(to, 0, DISK_SECTOR_BYTES);
        } else {
            memcpy(to, new->bytes + i *DISK_SECTOR_BYTES, DISK_SECTOR_BYTES);
        }
    }
    return pg;
}

static int64_t pick_size(const struct inode *ino, uint64_t *random, enum simfs_mode mode)
{
    switch (mode) {
    case SIMFS_LOSE:
        return ino->stable_size;
    case SIMFS_KEEP:
    case SIMFS_LOSE_NAMES:
    case SIMFS_LOSE_DATA:
        return ino->size;
    case SIMFS_PREFIX:
    case SIMFS_REORDER:
    case SIMFS_TORN:
        break;
    }
    int64_t least = min_i64(ino->size, ino->stable_size);
    int64_t most = max_i64(ino->size, ino->stable_size);
    switch (sim_random(random) % 3) {
    case 0:
        return least;
    case 1:
        return most;
    default:
        return least + (int64_t)(sim_random(random) % (uint64_t)(most - least + 1));
    }
}

/* What the slot holds after the crash, as a reference. */
static struct page *pick_page(const struct slot *sl, uint64_t *random, enum simfs_mode mode)
{
    if (!sl->is_dirty) {
        return page_ref(sl->stable);
    }
    switch (mode) {
    case SIMFS_LOSE:
    case SIMFS_LOSE_DATA:
        return page_ref(sl->stable);
    case SIMFS_KEEP:
    case SIMFS_LOSE_NAMES:
        return page_ref(sl->live);
    case SIMFS_PREFIX:
    case SIMFS_REORDER:
        break;
    case SIMFS_TORN:
        if (sim_random(random) % 2 == 0) {
            return tear(sl->stable, sl->live, sim_random(random));
        }
        break;
    }
    return page_ref(sim_random(random) % 2 == 0 ? sl->live : sl->stable);
}

static void pick_data(struct disk *d, struct inode *ino, uint64_t seed, enum simfs_mode mode)
{
    uint64_t random = seed ^ (uint64_t)ino->id << 32;
    bool is_stable = ino->size == ino->stable_size;
    int64_t size = is_stable ? ino->size : pick_size(ino, &random, mode);
    for (size_t i = 0; i < ino->slot_count; i++) {
        struct slot *sl = &ino->slots[i];
        struct page *pg = pick_page(sl, &random, mode);
        slot_set_live(d, ino, sl, page_ref(pg));
        slot_set_stable(sl, pg);
        sl->is_dirty = false;
    }
    if (!is_stable) {
        /* Bytes behind the end are zeros when the file grows again. */
        ino->size = INT64_MAX - DISK_PAGE_BYTES;
        inode_truncate(d, ino, size);
    }
    inode_sync(ino);
}

/* The live tree becomes the stable one; what cannot be reached from the root is dropped. */
static void rebuild_names(struct disk *d)
{
    struct list work;
    struct list dead;
    list_init(&work);
    list_init(&dead);
    list_foreach (node, &d->inodes) {
        list_entry(node, struct inode, node)->is_reached = false;
    }
    list_push_back(&work, &d->root->work);
    for (struct list *at = list_pop_front(&work); at != NULL; at = list_pop_front(&work)) {
        struct inode *dir = list_entry(at, struct inode, work);
        dir->is_reached = true;
        list_foreach (node, &dir->stable) {
            struct inode *ino = list_entry(node, struct name, node)->inode;
            ino->is_reached = true;
            if (ino->is_dir) {
                list_push_back(&work, &ino->work);
            }
        }
    }
    list_foreach (node, &d->inodes) {
        struct inode *dir = list_entry(node, struct inode, node);
        inode_ref(dir); /* none goes while the list is walked */
        list_foreach_safe (at, next, &dir->live) {
            name_drop(d, list_entry(at, struct name, node), &dead);
        }
        list_foreach_safe (at, next, &dir->stable) {
            struct name *nm = list_entry(at, struct name, node);
            if (dir->is_reached) {
                inode_use(d, add_name(&dir->live, dir, nm->text, nm->inode)->inode);
            } else {
                name_drop(d, nm, &dead);
            }
        }
    }
    list_foreach (node, &d->inodes) {
        struct inode *ino = list_entry(node, struct inode, node);
        if (--ino->refs == 0 && !list_is_linked(&ino->work)) {
            list_push_back(&dead, &ino->work);
        }
    }
    bury(d, &dead);
}

void disk_power_on(struct disk *d, uint64_t seed, enum simfs_mode mode)
{
    uint64_t random = seed;
    pick_names(d, &random, mode);
    list_foreach (node, &d->inodes) {
        struct inode *ino = list_entry(node, struct inode, node);
        ino->is_locked = false;
        if (!ino->is_dir) {
            pick_data(d, ino, sim_random(&random), mode);
        }
    }
    rebuild_names(d);
}
