/*
 * Items of an image: each one flat, immutable allocation that holds all it points at, and the
 * probes that find it.
 */
#include "meta/image_item.h"

#include "base/mem.h"

/* The first n bytes as a big-endian number: orders like the text. */
static uint64_t prefix_key(const void *bytes, size_t len, size_t n)
{
    const uint8_t *b = bytes;
    uint64_t key = 0;
    for (size_t i = 0; i < n; i++) {
        key = key << 8 | (i < len ? b[i] : 0);
    }
    return key;
}

/* FNV-1a; '.' and '_' are the same. No seed: in an ordered map nobody gains from collisions. */
static uint64_t name_hash(struct str name)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i] == '.' ? '_' : name.ptr[i];
        h = (h ^ (uint8_t)c) * 0x100000001b3u;
    }
    return h;
}

static int compare_topic_name(const void *probe, const struct image_item *it)
{
    const struct str *name = probe;
    const struct image_topic_item *ti = (const struct image_topic_item *)it;
    return str_compare(*name, ti->topic.name);
}

static int compare_topic_id(const void *probe, const struct image_item *it)
{
    const struct uuid *id = probe;
    const struct image_topic_item *ti = (const struct image_topic_item *)it;
    return memcmp(id, &ti->topic.id, sizeof(*id));
}

static int compare_config(const void *probe, const struct image_item *it)
{
    const struct image_config_key *key = probe;
    const struct image_config_item *ci = (const struct image_config_item *)it;
    if (key->type != ci->type) {
        return key->type < ci->type ? -1 : 1;
    }
    return str_compare(key->name, ci->name);
}

static int compare_kept(const void *probe, const struct image_item *it)
{
    const struct image_kept_key *key = probe;
    const struct image_kept_item *ki = (const struct image_kept_item *)it;
    if (key->rank != ki->rank) {
        return key->rank < ki->rank ? -1 : 1;
    }
    struct str a = {.ptr = (const char *)key->key.ptr, .len = key->key.len};
    struct str b = {.ptr = (const char *)ki->key.ptr, .len = ki->key.len};
    return str_compare(a, b);
}

struct image_probe image_probe_name(const struct str *name)
{
    return (struct image_probe){
        .key = name_hash(*name),
        .compare = compare_topic_name,
        .probe = name,
    };
}

struct image_probe image_probe_id(const struct uuid *id)
{
    return (struct image_probe){
        .key = load_be64(id->bytes),
        .compare = compare_topic_id,
        .probe = id,
    };
}

struct image_probe image_probe_sorted(const struct str *name)
{
    return (struct image_probe){
        .key = prefix_key(name->ptr, name->len, 8),
        .compare = compare_topic_name,
        .probe = name,
    };
}

struct image_probe image_probe_config(const struct image_config_key *key)
{
    return (struct image_probe){
        .key = (uint64_t)key->type << 56 | prefix_key(key->name.ptr, key->name.len, 7),
        .compare = compare_config,
        .probe = key,
    };
}

struct image_probe image_probe_kept(const struct image_kept_key *key)
{
    return (struct image_probe){
        .key = (uint64_t)key->rank << 56 | prefix_key(key->key.ptr, key->key.len, 7),
        .compare = compare_kept,
        .probe = key,
    };
}

struct image_broker_item *image_broker_item_of(const struct image_broker *b)
{
    return (struct image_broker_item *)((uintptr_t)b - offsetof(struct image_broker_item, broker));
}

struct image_broker_list *image_broker_list_ref(struct image_broker_list *bl)
{
    if (bl != NULL) {
        atomic_fetch_add_explicit(&bl->refs, 1, memory_order_relaxed);
    }
    return bl;
}

void image_broker_list_unref(struct image_broker_list *bl)
{
    if (bl != NULL && atomic_fetch_sub_explicit(&bl->refs, 1, memory_order_acq_rel) == 1) {
        for (size_t i = 0; i < bl->count; i++) {
            image_item_unref(&image_broker_item_of(bl->items[i])->item);
        }
        mem_free(bl);
    }
}

/* One flat allocation that is filled from the front: the item and everything it points at. */
struct flat {
    uint8_t *bytes;
    size_t used;
    size_t size;
};
/* All sizes are rounded up to 8; the builder adds them up first, with flat_need. */
static size_t flat_need(size_t bytes)
{
    return (bytes + 7) & ~(size_t)7;
}

static struct flat flat_new(size_t size)
{
    struct flat f = {.bytes = mem_zalloc(size), .size = size};
    return f;
}

static void *flat_take(struct flat *f, size_t bytes)
{
    bytes = flat_need(bytes);
    check(f->size - f->used >= bytes);
    void *p = f->bytes + f->used;
    f->used += bytes;
    return p;
}

/* NULL for len 0. */
static const void *flat_copy(struct flat *f, const void *bytes, size_t len)
{
    if (len == 0) {
        return NULL;
    }
    void *p = flat_take(f, len);
    memcpy(p, bytes, len);
    return p;
}

/* Null stays null; the empty string stays a string. */
static struct str flat_str(struct flat *f, struct str s)
{
    if (s.ptr == NULL) {
        return s;
    }
    if (s.len == 0) {
        return STR("");
    }
    return str_of(flat_copy(f, s.ptr, s.len), s.len);
}

static bool is_same_list(const int32_t *a, int32_t a_count, const int32_t *b, int32_t b_count)
{
    return a_count == b_count && a_count > 0 && memcmp(a, b, (size_t)a_count * sizeof(a[0])) == 0;
}

static size_t list_need(int32_t count)
{
    return flat_need((size_t)count * sizeof(int32_t));
}

static size_t partition_need(const struct image_partition *p)
{
    size_t need = list_need(p->replicas_count) + list_need(p->adding_count) +
                  list_need(p->removing_count) + list_need(p->elr_count) +
                  list_need(p->last_known_elr_count);
    if (!is_same_list(p->isr, p->isr_count, p->replicas, p->replicas_count)) {
        need += list_need(p->isr_count);
    }
    if (p->directories != NULL) {
        need += flat_need((size_t)p->replicas_count * sizeof(struct uuid));
    }
    return need;
}

static const int32_t *copy_list(struct flat *f, const int32_t *list, int32_t count)
{
    return flat_copy(f, list, (size_t)count * sizeof(list[0]));
}

static void
copy_partition(struct flat *f, const struct image_partition *from, struct image_partition *to)
{
    *to = *from;
    to->replicas = copy_list(f, from->replicas, from->replicas_count);
    if (is_same_list(from->isr, from->isr_count, from->replicas, from->replicas_count)) {
        to->isr = to->replicas;
    } else {
        to->isr = copy_list(f, from->isr, from->isr_count);
    }
    to->adding = copy_list(f, from->adding, from->adding_count);
    to->removing = copy_list(f, from->removing, from->removing_count);
    to->elr = copy_list(f, from->elr, from->elr_count);
    to->last_known_elr = copy_list(f, from->last_known_elr, from->last_known_elr_count);
    if (from->directories != NULL) {
        to->directories =
            flat_copy(f, from->directories, (size_t)from->replicas_count * sizeof(struct uuid));
    }
}

struct image_topic_item *image_topic_item_new(struct str name,
                                              const struct uuid *id,
                                              const struct image_partition *partitions,
                                              int32_t count)
{
    size_t array = (size_t)count * sizeof(partitions[0]);
    size_t need =
        flat_need(sizeof(struct image_topic_item)) + flat_need(name.len) + flat_need(array);
    for (int32_t i = 0; i < count; i++) {
        need += partition_need(&partitions[i]);
    }
    struct flat f = flat_new(need);
    struct image_topic_item *ti = flat_take(&f, sizeof(*ti));
    atomic_init(&ti->item.refs, 1);
    ti->topic.name = flat_str(&f, name);
    ti->topic.id = *id;
    ti->topic.partitions_count = count;
    struct image_partition *to = count == 0 ? NULL : flat_take(&f, array);
    for (int32_t i = 0; i < count; i++) {
        copy_partition(&f, &partitions[i], &to[i]);
    }
    ti->topic.partitions = to;
    return ti;
}

struct image_broker_item *image_broker_item_new(const struct image_broker *b)
{
    size_t dirs = (size_t)b->log_dirs_count * sizeof(b->log_dirs[0]);
    size_t cordoned = b->cordoned_log_dirs_count <= 0
                          ? 0
                          : (size_t)b->cordoned_log_dirs_count * sizeof(b->cordoned_log_dirs[0]);
    size_t endpoints = (size_t)b->endpoints_count * sizeof(b->endpoints[0]);
    size_t features = (size_t)b->features_count * sizeof(b->features[0]);
    size_t need = flat_need(sizeof(struct image_broker_item)) + flat_need(dirs) +
                  flat_need(cordoned) + flat_need(endpoints) + flat_need(features) +
                  flat_need(b->rack.len);
    for (int32_t i = 0; i < b->endpoints_count; i++) {
        need += flat_need(b->endpoints[i].name.len) + flat_need(b->endpoints[i].host.len);
    }
    for (int32_t i = 0; i < b->features_count; i++) {
        need += flat_need(b->features[i].name.len);
    }
    struct flat f = flat_new(need);
    struct image_broker_item *bi = flat_take(&f, sizeof(*bi));
    atomic_init(&bi->item.refs, 1);
    bi->broker = *b;
    bi->broker.rack = flat_str(&f, b->rack);
    bi->broker.log_dirs = flat_copy(&f, b->log_dirs, dirs);
    bi->broker.cordoned_log_dirs = flat_copy(&f, b->cordoned_log_dirs, cordoned);
    struct image_endpoint *ep = endpoints == 0 ? NULL : flat_take(&f, endpoints);
    for (int32_t i = 0; i < b->endpoints_count; i++) {
        ep[i] = b->endpoints[i];
        ep[i].name = flat_str(&f, ep[i].name);
        ep[i].host = flat_str(&f, ep[i].host);
    }
    bi->broker.endpoints = ep;
    struct image_feature_range *fr = features == 0 ? NULL : flat_take(&f, features);
    for (int32_t i = 0; i < b->features_count; i++) {
        fr[i] = b->features[i];
        fr[i].name = flat_str(&f, fr[i].name);
    }
    bi->broker.features = fr;
    return bi;
}

struct image_config_item *image_config_item_new(const struct image_config_key *key,
                                                const struct image_config *configs,
                                                size_t count)
{
    size_t array = count * sizeof(configs[0]);
    size_t need =
        flat_need(sizeof(struct image_config_item)) + flat_need(key->name.len) + flat_need(array);
    for (size_t i = 0; i < count; i++) {
        need += flat_need(configs[i].name.len) + flat_need(configs[i].value.len);
    }
    struct flat f = flat_new(need);
    struct image_config_item *ci = flat_take(&f, sizeof(*ci));
    atomic_init(&ci->item.refs, 1);
    ci->type = key->type;
    ci->name = flat_str(&f, key->name);
    ci->count = count;
    struct image_config *to = flat_take(&f, array);
    for (size_t i = 0; i < count; i++) {
        to[i].name = flat_str(&f, configs[i].name);
        to[i].value = flat_str(&f, configs[i].value);
    }
    ci->configs = to;
    return ci;
}

struct image_kept_item *image_kept_item_new(const struct image_kept_key *key, struct view value)
{
    struct flat f = flat_new(flat_need(sizeof(struct image_kept_item)) + flat_need(key->key.len) +
                             flat_need(value.len));
    struct image_kept_item *ki = flat_take(&f, sizeof(*ki));
    atomic_init(&ki->item.refs, 1);
    ki->rank = key->rank;
    ki->key = (struct view){flat_copy(&f, key->key.ptr, key->key.len), key->key.len};
    ki->value = (struct view){flat_copy(&f, value.ptr, value.len), value.len};
    return ki;
}

struct image_feature_list *image_feature_list_new(const struct image_feature *features,
                                                  size_t count)
{
    size_t array = count * sizeof(features[0]);
    size_t need = flat_need(sizeof(struct image_feature_list)) + flat_need(array);
    for (size_t i = 0; i < count; i++) {
        need += flat_need(features[i].name.len);
    }
    struct flat f = flat_new(need);
    struct image_feature_list *fl = flat_take(&f, sizeof(*fl));
    atomic_init(&fl->item.refs, 1);
    fl->count = count;
    struct image_feature *to = flat_take(&f, array);
    for (size_t i = 0; i < count; i++) {
        to[i].name = flat_str(&f, features[i].name);
        to[i].level = features[i].level;
    }
    fl->features = to;
    return fl;
}
