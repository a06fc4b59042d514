/*
 * Replaying metadata records into the next image (P). One table maps api keys to what is done.
 *
 * Metadata transactions (KIP-866): the records between BeginTransaction and EndTransaction wait in
 * `pending`, as bytes, in the image itself, since a transaction may cross deltas; End replays them
 * in order, Abort forgets them.
 *
 * Kafka: MetadataDelta, MetadataBatchLoader.
 */
#include "meta/image_delta.h"

#include "base/err.h"
#include "base/mem.h"
#include "meta/records.h"

struct image_delta *image_delta_new(struct image *base)
{
    struct image_delta *d = mem_zalloc(sizeof(*d));
    struct image *next = mem_zalloc(sizeof(*next));
    atomic_init(&next->refs, 1);
    next->offset = base->offset;
    next->epoch = base->epoch;
    next->topic_names = image_map_ref(&base->topic_names);
    next->topic_ids = image_map_ref(&base->topic_ids);
    next->topics = image_map_ref(&base->topics);
    next->configs = image_map_ref(&base->configs);
    next->kept = image_map_ref(&base->kept);
    next->pending = image_map_ref(&base->pending);
    next->brokers = image_broker_list_ref(base->brokers);
    next->features = base->features;
    if (next->features != NULL) {
        image_item_ref(&next->features->item);
    }
    next->partitions_count = base->partitions_count;
    next->next_producer_id = base->next_producer_id;
    next->is_in_transaction = base->is_in_transaction;
    d->next = next;
    arena_init(&d->scratch, 0);
    arena_init(&d->arena, 0);
    hmap_init(&d->topics, 0);
    hmap_init(&d->configs, 0);
    return d;
}

struct image_delta *image_delta_free(struct image_delta *d)
{
    if (d != NULL) {
        delta_drop_topics(d);
        delta_drop_configs(d);
        hmap_release(&d->topics);
        hmap_release(&d->configs);
        arena_release(&d->scratch);
        arena_release(&d->arena);
        image_unref(d->next);
        mem_free(d);
    }
    return NULL;
}

static void settle(struct image_delta *d)
{
    delta_settle_topics(d);
    delta_settle_configs(d);
    arena_reset(&d->arena);
}

struct image *image_delta_finish(struct image_delta *d, int64_t offset, int32_t epoch)
{
    settle(d);
    struct image *im = d->next;
    d->next = NULL;
    im->offset = offset;
    im->epoch = epoch;
    image_delta_free(d);
    return im;
}

static struct view bytes_of(const void *bytes, size_t len)
{
    return (struct view){.ptr = bytes, .len = len};
}

static int
replay_message(struct image_delta *d, int16_t api_key, const void *object, struct view value)
{
    switch (api_key) {
    case 0:
        return replay_register_broker(d, object);
    case 1:
        return replay_unregister_broker(d, object);
    case 2:
        return replay_topic(d, object);
    case 3:
        return replay_partition(d, object);
    case 4:
        return replay_config(d, object);
    case 5:
        return replay_partition_change(d, object);
    case 7: {
        const struct fence_broker_record *rec = object;
        return replay_broker_fencing(d, rec->id, rec->epoch, true);
    }
    case 8: {
        const struct unfence_broker_record *rec = object;
        return replay_broker_fencing(d, rec->id, rec->epoch, false);
    }
    case 9:
        return replay_remove_topic(d, object);
    case 10: {
        const struct delegation_token_record *rec = object;
        return replay_kept(d, IMAGE_KEPT_TOKEN, bytes_of(rec->token_id.ptr, rec->token_id.len),
                           value);
    }
    case 11: {
        const struct user_scram_credential_record *rec = object;
        return replay_scram(d, rec->name, rec->mechanism, value);
    }
    case 12:
        return replay_feature_level(d, object);
    case 14:
        return replay_quota(d, object, value);
    case 15: {
        const struct producer_ids_record *rec = object;
        d->next->next_producer_id = rec->next_producer_id;
        return 0;
    }
    case 17:
        return replay_broker_change(d, object);
    case 18: {
        const struct access_control_entry_record *rec = object;
        return replay_kept(d, IMAGE_KEPT_ACL, bytes_of(&rec->id, sizeof(rec->id)), value);
    }
    case 19: {
        const struct remove_access_control_entry_record *rec = object;
        return replay_kept_removal(d, IMAGE_KEPT_ACL, bytes_of(&rec->id, sizeof(rec->id)));
    }
    case 22: {
        const struct remove_user_scram_credential_record *rec = object;
        return replay_scram(d, rec->name, rec->mechanism, (struct view){0});
    }
    case 26: {
        const struct remove_delegation_token_record *rec = object;
        return replay_kept_removal(d, IMAGE_KEPT_TOKEN,
                                   bytes_of(rec->token_id.ptr, rec->token_id.len));
    }
    case 27: {
        const struct register_controller_record *rec = object;
        uint8_t id[4];
        store_be32(id, (uint32_t)rec->controller_id);
        return replay_kept(d, IMAGE_KEPT_CONTROLLER, bytes_of(id, sizeof(id)), value);
    }
    case 28:
        return replay_clear_elr(d, object);
    case 29: {
        const struct unregister_controller_record *rec = object;
        uint8_t id[4];
        store_be32(id, (uint32_t)rec->controller_id);
        return replay_kept_removal(d, IMAGE_KEPT_CONTROLLER, bytes_of(id, sizeof(id)));
    }
    default:
        /* 20 NoOp; 21 ZkMigrationState, which means nothing any more. */
        return 0;
    }
}

/* A record outside of a transaction, or of one that has ended. */
static int replay_one(struct image_delta *d, struct view value)
{
    struct cursor c = cursor_of(value.ptr, value.len);
    int16_t api_key;
    int16_t version;
    int r = meta_record_frame(&c, &api_key, &version);
    if (r < 0) {
        return r;
    }
    const struct msg *m = meta_record_msg(api_key);
    if (m == NULL) {
        return ERR_UNSUPPORTED;
    }
    arena_reset(&d->scratch);
    void *object = arena_alloc(&d->scratch, msg_size(m));
    msg_init(m, object);
    r = codec_decode(m, version, &c, &d->scratch, object);
    if (r < 0) {
        return r;
    }
    if (cursor_left(&c) != 0) {
        return ERR_MALFORMED;
    }
    if (d->topics.count >= DELTA_DRAFTS_MAX || d->configs.count >= DELTA_DRAFTS_MAX) {
        settle(d);
    }
    return replay_message(d, api_key, object, value);
}

static int pending_compare(const void *probe unused_ok, const struct image_item *it unused_ok)
{
    return 0; /* numbers are unique */
}

static void pending_add(struct image *im, struct view value)
{
    struct image_kept_key key = {0};
    struct image_kept_item *ki = image_kept_item_new(&key, value);
    struct image_probe p = {.key = image_map_count(&im->pending), .compare = pending_compare};
    image_map_put(&im->pending, &p, &ki->item);
    image_item_unref(&ki->item);
}

/* The transaction has ended: its records take effect. */
static int pending_replay(struct image_delta *d)
{
    struct image_map pending = d->next->pending;
    d->next->pending = (struct image_map){0};
    d->next->is_in_transaction = false;
    int r = 0;
    struct image_cursor c = image_map_first(&pending);
    for (const struct image_slot *s; r >= 0 && (s = image_cursor_at(&c)) != NULL;
         image_cursor_next(&c)) {
        r = replay_one(d, ((const struct image_kept_item *)s->item)->value);
    }
    image_map_release(&pending);
    return r;
}

int image_delta_replay(struct image_delta *d, struct view value)
{
    struct cursor c = cursor_of(value.ptr, value.len);
    int16_t api_key;
    int16_t version;
    int r = meta_record_frame(&c, &api_key, &version);
    if (r < 0) {
        return r;
    }
    const struct msg *m = meta_record_msg(api_key);
    struct image *im = d->next;
    if (m == &begin_transaction_record_msg) {
        if (im->is_in_transaction) {
            return ERR_MALFORMED;
        }
        im->is_in_transaction = true;
        return 0;
    }
    if (m == &end_transaction_record_msg) {
        return im->is_in_transaction ? pending_replay(d) : ERR_MALFORMED;
    }
    if (m == &abort_transaction_record_msg) {
        if (!im->is_in_transaction) {
            return ERR_MALFORMED;
        }
        image_map_release(&im->pending);
        im->is_in_transaction = false;
        return 0;
    }
    if (im->is_in_transaction) {
        pending_add(im, value);
        return 0;
    }
    return replay_one(d, value);
}
