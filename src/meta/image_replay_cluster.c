/*
 * Records of brokers, features, configs, and those that are only kept. Kafka: ClusterDelta,
 * FeaturesDelta, ConfigurationsDelta; ClientQuotasDelta, AclsDelta, ScramDelta,
 * DelegationTokenDelta say what replaces and what removes what.
 */
#include "base/err.h"
#include "base/mem.h"
#include "meta/image_delta.h"

/* --- brokers --- */

/* Replaces the list by one with `bi` in its place by id, or without the broker `id` when bi is
 * NULL. */
static void brokers_edit(struct image *im, int32_t id, struct image_broker_item *bi)
{
    struct image_broker_list *old = im->brokers;
    size_t old_count = old == NULL ? 0 : old->count;
    struct image_broker_list *bl =
        mem_zalloc(sizeof(*bl) + (old_count + 1) * sizeof(const struct image_broker *));
    atomic_init(&bl->refs, 1);
    size_t i = 0;
    for (; i < old_count && old->items[i]->id < id; i++) {
        image_item_ref(&image_broker_item_of(old->items[i])->item);
        bl->items[bl->count++] = old->items[i];
    }
    if (bi != NULL) {
        image_item_ref(&bi->item);
        bl->items[bl->count++] = &bi->broker;
    }
    if (i < old_count && old->items[i]->id == id) {
        i++;
    }
    for (; i < old_count; i++) {
        image_item_ref(&image_broker_item_of(old->items[i])->item);
        bl->items[bl->count++] = old->items[i];
    }
    image_broker_list_unref(old);
    im->brokers = bl;
}

static void brokers_put(struct image *im, const struct image_broker *b)
{
    struct image_broker_item *bi = image_broker_item_new(b);
    brokers_edit(im, b->id, bi);
    image_item_unref(&bi->item);
}

int replay_register_broker(struct image_delta *d, const struct register_broker_record *rec)
{
    struct image_broker b = {
        .id = rec->broker_id,
        .epoch = rec->broker_epoch,
        .incarnation_id = rec->incarnation_id,
        .rack = rec->rack,
        .is_fenced = rec->fenced,
        .is_in_controlled_shutdown = rec->in_controlled_shutdown,
        .log_dirs = rec->log_dirs.items,
        .log_dirs_count = rec->log_dirs.count,
        .cordoned_log_dirs = rec->cordoned_log_dirs.items,
        .cordoned_log_dirs_count = rec->cordoned_log_dirs.count,
        .endpoints_count = rec->end_points.count,
        .features_count = rec->features.count,
    };
    struct image_endpoint *ep =
        arena_alloc(&d->scratch, (size_t)rec->end_points.count * sizeof(*ep) + 1);
    for (int32_t i = 0; i < rec->end_points.count; i++) {
        const struct register_broker_record_broker_endpoint *from = &rec->end_points.items[i];
        ep[i] =
            (struct image_endpoint){from->name, from->host, from->port, from->security_protocol};
    }
    struct image_feature_range *fr =
        arena_alloc(&d->scratch, (size_t)rec->features.count * sizeof(*fr) + 1);
    for (int32_t i = 0; i < rec->features.count; i++) {
        const struct register_broker_record_broker_feature *from = &rec->features.items[i];
        fr[i] = (struct image_feature_range){from->name, from->min_supported_version,
                                             from->max_supported_version};
    }
    b.endpoints = ep;
    b.features = fr;
    brokers_put(d->next, &b);
    return 0;
}

/* The registration with this epoch; NULL: another one is registered, or none. */
static const struct image_broker *registration(struct image_delta *d, int32_t id, int64_t epoch)
{
    const struct image_broker *b = image_broker(d->next, id);
    return b != NULL && b->epoch == epoch ? b : NULL;
}

int replay_unregister_broker(struct image_delta *d, const struct unregister_broker_record *rec)
{
    if (registration(d, rec->broker_id, rec->broker_epoch) == NULL) {
        return ERR_MALFORMED;
    }
    brokers_edit(d->next, rec->broker_id, NULL);
    return 0;
}

int replay_broker_fencing(struct image_delta *d, int32_t id, int64_t epoch, bool is_fenced)
{
    const struct image_broker *before = registration(d, id, epoch);
    if (before == NULL) {
        return ERR_MALFORMED;
    }
    struct image_broker b = *before;
    b.is_fenced = is_fenced;
    brokers_put(d->next, &b);
    return 0;
}

int replay_broker_change(struct image_delta *d, const struct broker_registration_change_record *rec)
{
    const struct image_broker *before = registration(d, rec->broker_id, rec->broker_epoch);
    if (before == NULL || rec->fenced < -1 || rec->fenced > 1 || rec->in_controlled_shutdown < 0 ||
        rec->in_controlled_shutdown > 1) {
        return ERR_MALFORMED;
    }
    struct image_broker b = *before;
    if (rec->fenced != 0) {
        b.is_fenced = rec->fenced > 0;
    }
    if (rec->in_controlled_shutdown > 0) {
        b.is_in_controlled_shutdown = true;
    }
    if (rec->log_dirs.count > 0) {
        b.log_dirs = rec->log_dirs.items;
        b.log_dirs_count = rec->log_dirs.count;
    }
    if (rec->cordoned_log_dirs.count >= 0) {
        b.cordoned_log_dirs = rec->cordoned_log_dirs.items;
        b.cordoned_log_dirs_count = rec->cordoned_log_dirs.count;
    }
    brokers_put(d->next, &b);
    return 0;
}

/* --- features --- */

int replay_feature_level(struct image_delta *d, const struct feature_level_record *rec)
{
    struct image *im = d->next;
    size_t old_count = im->features == NULL ? 0 : im->features->count;
    struct image_feature *list = arena_alloc(&d->scratch, (old_count + 1) * sizeof(*list));
    size_t count = 0;
    size_t i = 0;
    for (; i < old_count && str_compare(im->features->features[i].name, rec->name) < 0; i++) {
        list[count++] = im->features->features[i];
    }
    if (rec->feature_level != 0) {
        list[count++] = (struct image_feature){rec->name, rec->feature_level};
    }
    if (i < old_count && str_equal(im->features->features[i].name, rec->name)) {
        i++;
    }
    for (; i < old_count; i++) {
        list[count++] = im->features->features[i];
    }
    struct image_feature_list *fl = image_feature_list_new(list, count);
    image_item_unref(im->features == NULL ? NULL : &im->features->item);
    im->features = fl;
    return 0;
}

/* --- configs --- */

static uint64_t config_hash(const struct image_config_key *key)
{
    return hash_str(key->name, (uint64_t)key->type);
}

static struct config_draft *config_draft_get(struct image_delta *d,
                                             const struct image_config_key *key)
{
    uint64_t hash = config_hash(key);
    for (struct hmap_node *n = hmap_first(&d->configs, hash); n != NULL; n = hmap_next(n)) {
        struct config_draft *cd = container_of(n, struct config_draft, node);
        if (cd->key.type == key->type && str_equal(cd->key.name, key->name)) {
            return cd;
        }
    }
    struct config_draft *cd = mem_zalloc(sizeof(*cd));
    cd->key.type = key->type;
    cd->key.name = arena_strdup(&d->arena, key->name);
    struct image_probe p = image_probe_config(key);
    struct image_item *it = image_map_find(&d->next->configs, &p);
    if (it != NULL) {
        cd->base = (struct image_config_item *)image_item_ref(it);
        cd->count = cd->base->count;
        cd->cap = cd->count;
        cd->entries = mem_array(cd->cap, sizeof(cd->entries[0]));
        memcpy(cd->entries, cd->base->configs, cd->count * sizeof(cd->entries[0]));
    }
    hmap_insert(&d->configs, &cd->node, hash);
    return cd;
}

static void config_draft_free(struct image_delta *d, struct config_draft *cd)
{
    hmap_remove(&d->configs, &cd->node);
    image_item_unref(cd->base == NULL ? NULL : &cd->base->item);
    mem_free(cd->entries);
    mem_free(cd);
}

void delta_settle_configs(struct image_delta *d)
{
    hmap_foreach (n, &d->configs) {
        struct config_draft *cd = container_of(n, struct config_draft, node);
        struct image_probe p = image_probe_config(&cd->key);
        if (cd->count == 0) {
            IGNORE(image_map_remove(&d->next->configs, &p)); /* perhaps it never was there */
        } else {
            struct image_config_item *ci = image_config_item_new(&cd->key, cd->entries, cd->count);
            image_map_put(&d->next->configs, &p, &ci->item);
            image_item_unref(&ci->item);
        }
        config_draft_free(d, cd);
    }
}

void delta_drop_configs(struct image_delta *d)
{
    hmap_foreach (n, &d->configs) {
        config_draft_free(d, container_of(n, struct config_draft, node));
    }
}

void delta_clear_configs(struct image_delta *d, enum config_resource_type type, struct str name)
{
    struct image_config_key key = {.type = type, .name = name};
    config_draft_get(d, &key)->count = 0;
}

int replay_config(struct image_delta *d, const struct config_record *rec)
{
    if (rec->resource_type < 0) {
        return ERR_MALFORMED;
    }
    struct image_config_key key = {
        .type = (enum config_resource_type)rec->resource_type,
        .name = rec->resource_name,
    };
    struct config_draft *cd = config_draft_get(d, &key);
    size_t at = 0;
    while (at < cd->count && str_compare(cd->entries[at].name, rec->name) < 0) {
        at++;
    }
    bool is_there = at < cd->count && str_equal(cd->entries[at].name, rec->name);
    if (str_is_null(rec->value)) {
        if (is_there) {
            cd->count--;
            memmove(&cd->entries[at], &cd->entries[at + 1],
                    (cd->count - at) * sizeof(cd->entries[0]));
        }
        return 0;
    }
    if (!is_there) {
        cd->entries = mem_grow(cd->entries, &cd->cap, cd->count + 1, sizeof(cd->entries[0]));
        memmove(&cd->entries[at + 1], &cd->entries[at], (cd->count - at) * sizeof(cd->entries[0]));
        cd->entries[at].name = arena_strdup(&d->arena, rec->name);
        cd->count++;
    }
    cd->entries[at].value = arena_strdup(&d->arena, rec->value);
    return 0;
}

/* --- records that are only kept --- */

int replay_kept(struct image_delta *d,
                enum image_kept_rank rank,
                struct view key,
                struct view value)
{
    struct image_kept_key kk = {.rank = rank, .key = key};
    struct image_probe p = image_probe_kept(&kk);
    struct image_kept_item *ki = image_kept_item_new(&kk, value);
    image_map_put(&d->next->kept, &p, &ki->item);
    image_item_unref(&ki->item);
    return 0;
}

/* What is not there need not be removed: Kafka does not mind either for most of these. */
int replay_kept_removal(struct image_delta *d, enum image_kept_rank rank, struct view key)
{
    struct image_kept_key kk = {.rank = rank, .key = key};
    struct image_probe p = image_probe_kept(&kk);
    IGNORE(image_map_remove(&d->next->kept, &p));
    return 0;
}

/* A null value removes. */
int replay_scram(struct image_delta *d, struct str name, int8_t mechanism, struct view value)
{
    uint8_t *key = arena_alloc(&d->scratch, name.len + 1);
    key[0] = (uint8_t)mechanism;
    memcpy(key + 1, name.ptr, name.len);
    struct view kv = {.ptr = key, .len = name.len + 1};
    return value.ptr == NULL ? replay_kept_removal(d, IMAGE_KEPT_SCRAM, kv)
                             : replay_kept(d, IMAGE_KEPT_SCRAM, kv, value);
}

static void add_text(struct writer *w, struct str s)
{
    writer_i8(w, str_is_null(s) ? 0 : 1);
    writer_i32(w, to_i32(to_i64(s.len)));
    writer_bytes(w, s.ptr, s.len);
}

/* The identity of a quota: its entities by type, and the key. */
int replay_quota(struct image_delta *d, const struct client_quota_record *rec, struct view value)
{
    struct client_quota_record_entity_data *entity = rec->entity.items;
    for (int32_t i = 1; i < rec->entity.count; i++) {
        for (int32_t j = i; j > 0; j--) {
            if (str_compare(entity[j - 1].entity_type, entity[j].entity_type) <= 0) {
                break;
            }
            struct client_quota_record_entity_data swap = entity[j];
            entity[j] = entity[j - 1];
            entity[j - 1] = swap;
        }
    }
    struct writer w;
    struct rope rope;
    writer_init(&w);
    rope_init(&rope);
    for (int32_t i = 0; i < rec->entity.count; i++) {
        add_text(&w, entity[i].entity_type);
        add_text(&w, entity[i].entity_name);
    }
    add_text(&w, rec->key);
    writer_finish(&w, &rope);
    uint8_t *key = arena_alloc(&d->scratch, rope.bytes);
    struct view kv = {.ptr = key, .len = rope.bytes};
    for (size_t i = rope.start; i < rope.count; i++) {
        memcpy(key, rope.runs[i].ptr, rope.runs[i].len);
        key += rope.runs[i].len;
    }
    rope_release(&rope);
    writer_release(&w);
    return rec->remove ? replay_kept_removal(d, IMAGE_KEPT_QUOTA, kv)
                       : replay_kept(d, IMAGE_KEPT_QUOTA, kv, value);
}
