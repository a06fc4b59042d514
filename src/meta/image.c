/*
 * Reading a metadata image (P): look-ups in its maps; see image.h for the contract, image_impl.h
 * for the maps. Kafka: MetadataImage, TopicsImage, ClusterImage, ConfigurationsImage,
 * FeaturesImage.
 */
#include "meta/image.h"

#include "base/mem.h"
#include "meta/image_impl.h"

struct image *image_new_empty(void)
{
    struct image *im = mem_zalloc(sizeof(*im));
    atomic_init(&im->refs, 1);
    im->offset = -1;
    im->next_producer_id = -1;
    return im;
}

struct image *image_ref(struct image *im)
{
    atomic_fetch_add_explicit(&im->refs, 1, memory_order_relaxed);
    return im;
}

struct image *image_unref(struct image *im)
{
    if (im != NULL && atomic_fetch_sub_explicit(&im->refs, 1, memory_order_acq_rel) == 1) {
        image_map_release(&im->topic_names);
        image_map_release(&im->topic_ids);
        image_map_release(&im->topics);
        image_map_release(&im->configs);
        image_map_release(&im->kept);
        image_map_release(&im->pending);
        image_broker_list_unref(im->brokers);
        image_item_unref(im->features == NULL ? NULL : &im->features->item);
        mem_free(im);
    }
    return NULL;
}

int64_t image_offset(const struct image *im)
{
    return im->offset;
}

int32_t image_epoch(const struct image *im)
{
    return im->epoch;
}

static const struct image_topic *topic_of(const struct image_item *it)
{
    return it == NULL ? NULL : &((const struct image_topic_item *)it)->topic;
}

const struct image_topic *image_topic_by_name(const struct image *im, struct str name)
{
    struct image_probe p = image_probe_name(&name);
    return topic_of(image_map_find(&im->topic_names, &p));
}

const struct image_topic *image_topic_by_id(const struct image *im, const struct uuid *id)
{
    struct image_probe p = image_probe_id(id);
    return topic_of(image_map_find(&im->topic_ids, &p));
}

size_t image_topics_count(const struct image *im)
{
    return image_map_count(&im->topics);
}

size_t image_partitions_count(const struct image *im)
{
    return im->partitions_count;
}

void image_topics_sorted(const struct image *im,
                         struct arena *arena,
                         const struct image_topic ***ret,
                         size_t *ret_count)
{
    size_t count = image_topics_count(im);
    const struct image_topic **list = arena_alloc(arena, count * sizeof(list[0]) + 1);
    size_t n = 0;
    struct image_cursor c = image_map_first(&im->topics);
    for (const struct image_slot *s; (s = image_cursor_at(&c)) != NULL; image_cursor_next(&c)) {
        list[n++] = topic_of(s->item);
    }
    check(n == count);
    *ret = list;
    *ret_count = n;
}

static bool is_collision(struct str a, struct str b)
{
    if (a.len != b.len) {
        return false;
    }
    bool differs = false;
    for (size_t i = 0; i < a.len; i++) {
        char x = a.ptr[i] == '.' ? '_' : a.ptr[i];
        char y = b.ptr[i] == '.' ? '_' : b.ptr[i];
        if (x != y) {
            return false;
        }
        differs = differs || a.ptr[i] != b.ptr[i];
    }
    return differs;
}

static int compare_before_all(const void *probe unused_ok, const struct image_item *it unused_ok)
{
    return -1;
}

const struct image_topic *image_topic_colliding(const struct image *im, struct str name)
{
    struct image_probe p = image_probe_name(&name);
    uint64_t hash = p.key;
    p.compare = compare_before_all;
    struct image_cursor c = image_map_seek(&im->topic_names, &p);
    const struct image_slot *s;
    for (; (s = image_cursor_at(&c)) != NULL && s->key == hash; image_cursor_next(&c)) {
        const struct image_topic *t = topic_of(s->item);
        if (is_collision(name, t->name)) {
            return t;
        }
    }
    return NULL;
}

const struct image_broker *image_broker(const struct image *im, int32_t id)
{
    for (size_t i = 0; im->brokers != NULL && i < im->brokers->count; i++) {
        if (im->brokers->items[i]->id == id) {
            return im->brokers->items[i];
        }
    }
    return NULL;
}

void image_brokers(const struct image *im,
                   const struct image_broker *const **ret,
                   size_t *ret_count)
{
    *ret = im->brokers == NULL ? NULL : im->brokers->items;
    *ret_count = im->brokers == NULL ? 0 : im->brokers->count;
}

void image_configs(const struct image *im,
                   enum config_resource_type type,
                   struct str name,
                   const struct image_config **ret,
                   size_t *ret_count)
{
    struct image_config_key key = {.type = type, .name = name};
    struct image_probe p = image_probe_config(&key);
    struct image_item *it = image_map_find(&im->configs, &p);
    const struct image_config_item *ci = (const struct image_config_item *)it;
    *ret = ci == NULL ? NULL : ci->configs;
    *ret_count = ci == NULL ? 0 : ci->count;
}

struct str image_config_value(const struct image *im,
                              enum config_resource_type type,
                              struct str name,
                              struct str key)
{
    const struct image_config *configs;
    size_t count;
    image_configs(im, type, name, &configs, &count);
    size_t low = 0;
    size_t high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = str_compare(key, configs[middle].name);
        if (order == 0) {
            return configs[middle].value;
        }
        if (order < 0) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return (struct str){0};
}

void image_config_resources(const struct image *im,
                            enum config_resource_type type,
                            struct arena *arena,
                            struct str **ret,
                            size_t *ret_count)
{
    struct image_config_key key = {.type = type, .name = STR("")};
    struct image_probe p = image_probe_config(&key);
    size_t count = 0;
    const struct image_slot *s;
    struct image_cursor c = image_map_seek(&im->configs, &p);
    for (; (s = image_cursor_at(&c)) != NULL; image_cursor_next(&c)) {
        if (((const struct image_config_item *)s->item)->type != type) {
            break;
        }
        count++;
    }
    struct str *names = arena_alloc(arena, count * sizeof(names[0]) + 1);
    c = image_map_seek(&im->configs, &p);
    for (size_t i = 0; i < count; i++, image_cursor_next(&c)) {
        names[i] = ((const struct image_config_item *)image_cursor_at(&c)->item)->name;
    }
    *ret = names;
    *ret_count = count;
}

void image_features(const struct image *im, const struct image_feature **ret, size_t *ret_count)
{
    *ret = im->features == NULL ? NULL : im->features->features;
    *ret_count = im->features == NULL ? 0 : im->features->count;
}

int16_t image_feature_level(const struct image *im, struct str name)
{
    for (size_t i = 0; im->features != NULL && i < im->features->count; i++) {
        if (str_equal(im->features->features[i].name, name)) {
            return im->features->features[i].level;
        }
    }
    return 0;
}

int64_t image_next_producer_id(const struct image *im)
{
    return max_i64(im->next_producer_id, 0);
}

bool image_is_in_transaction(const struct image *im)
{
    return im->is_in_transaction;
}
