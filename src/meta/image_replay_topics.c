/*
 * Records of topics and partitions. Kafka: TopicsDelta, TopicDelta, PartitionRegistration.merge.
 */
#include "base/err.h"
#include "base/mem.h"
#include "meta/image_delta.h"

#define LEADER_NO_CHANGE         (-2)
#define RECOVERY_STATE_NO_CHANGE (-1)

static void maps_put(struct image *im, struct image_topic_item *ti)
{
    struct image_probe by_name = image_probe_name(&ti->topic.name);
    struct image_probe by_id = image_probe_id(&ti->topic.id);
    struct image_probe sorted = image_probe_sorted(&ti->topic.name);
    image_map_put(&im->topic_names, &by_name, &ti->item);
    image_map_put(&im->topic_ids, &by_id, &ti->item);
    image_map_put(&im->topics, &sorted, &ti->item);
}

static struct topic_draft *draft_find(const struct image_delta *d, const struct uuid *id)
{
    struct hmap_node *n = hmap_first(&d->topics, load_be64(id->bytes));
    for (; n != NULL; n = hmap_next(n)) {
        struct topic_draft *td = container_of(n, struct topic_draft, node);
        if (uuid_equal(&td->base->topic.id, id)) {
            return td;
        }
    }
    return NULL;
}

static void draft_free(struct image_delta *d, struct topic_draft *td)
{
    hmap_remove(&d->topics, &td->node);
    image_item_unref(&td->base->item);
    mem_free(td->partitions);
    mem_free(td);
}

/* The draft of a topic that is there, made when it has none; NULL: no such topic. */
static struct topic_draft *draft_get(struct image_delta *d, const struct uuid *id)
{
    struct topic_draft *td = draft_find(d, id);
    if (td != NULL) {
        return td;
    }
    struct image_probe p = image_probe_id(id);
    struct image_item *it = image_map_find(&d->next->topic_ids, &p);
    if (it == NULL) {
        return NULL;
    }
    td = mem_zalloc(sizeof(*td));
    td->base = (struct image_topic_item *)image_item_ref(it);
    td->count = (size_t)td->base->topic.partitions_count;
    td->cap = td->count;
    if (td->count > 0) {
        td->partitions = mem_array(td->count, sizeof(td->partitions[0]));
        memcpy(td->partitions, td->base->topic.partitions, td->count * sizeof(td->partitions[0]));
    }
    hmap_insert(&d->topics, &td->node, load_be64(id->bytes));
    return td;
}

void delta_settle_topics(struct image_delta *d)
{
    struct image *im = d->next;
    hmap_foreach (n, &d->topics) {
        struct topic_draft *td = container_of(n, struct topic_draft, node);
        const struct image_topic *base = &td->base->topic;
        im->partitions_count += td->count - (size_t)base->partitions_count;
        struct image_topic_item *ti =
            image_topic_item_new(base->name, &base->id, td->partitions, to_i32(to_i64(td->count)));
        maps_put(im, ti);
        image_item_unref(&ti->item);
        draft_free(d, td);
    }
}

void delta_drop_topics(struct image_delta *d)
{
    hmap_foreach (n, &d->topics) {
        draft_free(d, container_of(n, struct topic_draft, node));
    }
}

int replay_topic(struct image_delta *d, const struct topic_record *rec)
{
    struct image_probe by_name = image_probe_name(&rec->name);
    struct image_probe by_id = image_probe_id(&rec->topic_id);
    if (image_map_find(&d->next->topic_names, &by_name) != NULL ||
        image_map_find(&d->next->topic_ids, &by_id) != NULL) {
        return ERR_MALFORMED;
    }
    struct image_topic_item *ti = image_topic_item_new(rec->name, &rec->topic_id, NULL, 0);
    maps_put(d->next, ti);
    image_item_unref(&ti->item);
    return 0;
}

int replay_remove_topic(struct image_delta *d, const struct remove_topic_record *rec)
{
    struct image *im = d->next;
    struct image_probe by_id = image_probe_id(&rec->topic_id);
    struct image_item *it = image_map_find(&im->topic_ids, &by_id);
    if (it == NULL) {
        return ERR_MALFORMED;
    }
    struct image_topic_item *ti = (struct image_topic_item *)image_item_ref(it);
    struct topic_draft *td = draft_find(d, &rec->topic_id);
    if (td != NULL) {
        draft_free(d, td);
    }
    struct image_probe by_name = image_probe_name(&ti->topic.name);
    struct image_probe sorted = image_probe_sorted(&ti->topic.name);
    bool is_removed = image_map_remove(&im->topic_ids, &by_id);
    is_removed = image_map_remove(&im->topic_names, &by_name) && is_removed;
    is_removed = image_map_remove(&im->topics, &sorted) && is_removed;
    check(is_removed);
    im->partitions_count -= (size_t)ti->topic.partitions_count;
    delta_clear_configs(d, CONFIG_RESOURCE_TOPIC, ti->topic.name);
    image_item_unref(&ti->item);
    return 0;
}

static const int32_t *keep_list(struct image_delta *d, const int32_t *items, int32_t count)
{
    if (count <= 0) {
        return NULL;
    }
    size_t bytes = (size_t)count * sizeof(items[0]);
    int32_t *copy = arena_alloc(&d->arena, bytes);
    memcpy(copy, items, bytes);
    return copy;
}

static const struct uuid *keep_uuids(struct image_delta *d, const struct uuid *items, int32_t count)
{
    if (count <= 0) {
        return NULL;
    }
    size_t bytes = (size_t)count * sizeof(items[0]);
    struct uuid *copy = arena_alloc(&d->arena, bytes);
    memcpy(copy, items, bytes);
    return copy;
}

static int draft_grow(struct topic_draft *td, size_t count)
{
    if (count > td->cap) {
        size_t cap = max_size(count, td->cap * 2);
        struct image_partition *more = mem_try_realloc(td->partitions, cap * sizeof(more[0]));
        if (more == NULL) {
            return ERR_NO_MEMORY;
        }
        td->partitions = more;
        td->cap = cap;
    }
    for (; td->count < count; td->count++) {
        td->partitions[td->count] = (struct image_partition){.leader = IMAGE_NO_LEADER};
    }
    return 0;
}

static int32_t count_of(int32_t count)
{
    return count < 0 ? 0 : count; /* null is empty */
}

/* Each change raises them. */
static bool have_room(int32_t leader_epoch, int32_t partition_epoch)
{
    return leader_epoch < INT32_MAX && partition_epoch < INT32_MAX;
}

int replay_partition(struct image_delta *d, const struct partition_record *rec)
{
    if (rec->partition_id < 0 || rec->partition_id >= IMAGE_PARTITIONS_MAX ||
        (rec->directories.count > 0 && rec->directories.count != rec->replicas.count)) {
        return ERR_MALFORMED;
    }
    struct topic_draft *td = draft_get(d, &rec->topic_id);
    if (td == NULL) {
        return ERR_MALFORMED;
    }
    int r = draft_grow(td, (size_t)rec->partition_id + 1);
    if (r < 0) {
        return r;
    }
    td->partitions[rec->partition_id] = (struct image_partition){
        .leader = rec->leader,
        .leader_epoch = rec->leader_epoch,
        .partition_epoch = rec->partition_epoch,
        .leader_recovery_state = rec->leader_recovery_state,
        .replicas_count = count_of(rec->replicas.count),
        .isr_count = count_of(rec->isr.count),
        .adding_count = count_of(rec->adding_replicas.count),
        .removing_count = count_of(rec->removing_replicas.count),
        .elr_count = count_of(rec->eligible_leader_replicas.count),
        .last_known_elr_count = count_of(rec->last_known_elr.count),
        .replicas = keep_list(d, rec->replicas.items, rec->replicas.count),
        .isr = keep_list(d, rec->isr.items, rec->isr.count),
        .adding = keep_list(d, rec->adding_replicas.items, rec->adding_replicas.count),
        .removing = keep_list(d, rec->removing_replicas.items, rec->removing_replicas.count),
        .elr =
            keep_list(d, rec->eligible_leader_replicas.items, rec->eligible_leader_replicas.count),
        .last_known_elr = keep_list(d, rec->last_known_elr.items, rec->last_known_elr.count),
        .directories = keep_uuids(d, rec->directories.items, rec->directories.count),
    };
    return 0;
}

/* New replicas keep the directory that they had; others are unassigned. */
static const struct uuid *directories_for(struct image_delta *d,
                                          const struct image_partition *p,
                                          const int32_t *replicas,
                                          int32_t count)
{
    if (p->directories == NULL || count <= 0) {
        return NULL;
    }
    struct uuid *dirs = arena_alloc(&d->arena, (size_t)count * sizeof(dirs[0]));
    for (int32_t i = 0; i < count; i++) {
        dirs[i] = image_directory_unassigned;
        for (int32_t j = 0; j < p->replicas_count; j++) {
            if (p->replicas[j] == replicas[i]) {
                dirs[i] = p->directories[j];
            }
        }
    }
    return dirs;
}

int replay_partition_change(struct image_delta *d, const struct partition_change_record *rec)
{
    struct topic_draft *td = draft_get(d, &rec->topic_id);
    if (td == NULL || rec->partition_id < 0 || (size_t)rec->partition_id >= td->count) {
        return ERR_MALFORMED;
    }
    struct image_partition *p = &td->partitions[rec->partition_id];
    int32_t replicas_count = rec->replicas.count >= 0 ? rec->replicas.count : p->replicas_count;
    if ((rec->directories.count >= 0 && rec->directories.count != replicas_count) ||
        !have_room(p->leader_epoch, p->partition_epoch)) {
        return ERR_MALFORMED;
    }
    if (rec->replicas.count >= 0) {
        p->directories = directories_for(d, p, rec->replicas.items, rec->replicas.count);
        p->replicas = keep_list(d, rec->replicas.items, rec->replicas.count);
        p->replicas_count = rec->replicas.count;
    }
    if (rec->directories.count >= 0) {
        p->directories = keep_uuids(d, rec->directories.items, rec->directories.count);
    }
    if (rec->isr.count >= 0) {
        p->isr = keep_list(d, rec->isr.items, rec->isr.count);
        p->isr_count = rec->isr.count;
    }
    if (rec->removing_replicas.count >= 0) {
        p->removing = keep_list(d, rec->removing_replicas.items, rec->removing_replicas.count);
        p->removing_count = rec->removing_replicas.count;
    }
    if (rec->adding_replicas.count >= 0) {
        p->adding = keep_list(d, rec->adding_replicas.items, rec->adding_replicas.count);
        p->adding_count = rec->adding_replicas.count;
    }
    if (rec->eligible_leader_replicas.count >= 0) {
        p->elr =
            keep_list(d, rec->eligible_leader_replicas.items, rec->eligible_leader_replicas.count);
        p->elr_count = rec->eligible_leader_replicas.count;
    }
    if (rec->last_known_elr.count >= 0) {
        p->last_known_elr = keep_list(d, rec->last_known_elr.items, rec->last_known_elr.count);
        p->last_known_elr_count = rec->last_known_elr.count;
    }
    if (rec->leader != LEADER_NO_CHANGE) {
        p->leader = rec->leader;
        p->leader_epoch++;
    }
    if (rec->leader_recovery_state != RECOVERY_STATE_NO_CHANGE) {
        p->leader_recovery_state = rec->leader_recovery_state;
    }
    p->partition_epoch++;
    return 0;
}

static bool has_elr(const struct image_partition *p)
{
    return p->elr_count > 0 || p->last_known_elr_count > 0;
}

/* As a PartitionChangeRecord that empties both lists. */
static void clear_elr(struct topic_draft *td)
{
    for (size_t i = 0; i < td->count; i++) {
        struct image_partition *p = &td->partitions[i];
        if (has_elr(p)) {
            p->elr = NULL;
            p->elr_count = 0;
            p->last_known_elr = NULL;
            p->last_known_elr_count = 0;
            p->partition_epoch += p->partition_epoch < INT32_MAX;
        }
    }
}

static bool topic_has_elr(const struct image_topic *t)
{
    for (int32_t i = 0; i < t->partitions_count; i++) {
        if (has_elr(&t->partitions[i])) {
            return true;
        }
    }
    return false;
}

int replay_clear_elr(struct image_delta *d, const struct clear_elr_record *rec)
{
    if (rec->topic_name.len > 0) {
        struct image_probe p = image_probe_name(&rec->topic_name);
        struct image_item *it = image_map_find(&d->next->topic_names, &p);
        if (it == NULL) {
            return ERR_MALFORMED;
        }
        const struct image_topic *t = &((struct image_topic_item *)it)->topic;
        if (draft_find(d, &t->id) != NULL || topic_has_elr(t)) {
            clear_elr(draft_get(d, &t->id));
        }
        return 0;
    }
    delta_settle_topics(d);
    struct image_map all = image_map_ref(&d->next->topics);
    struct image_cursor c = image_map_first(&all);
    for (const struct image_slot *s; (s = image_cursor_at(&c)) != NULL; image_cursor_next(&c)) {
        const struct image_topic *t = &((const struct image_topic_item *)s->item)->topic;
        if (topic_has_elr(t)) {
            clear_elr(draft_get(d, &t->id));
        }
    }
    image_map_release(&all);
    return 0;
}
