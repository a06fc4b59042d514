/*
 * DeleteTopics: topics named by name or by id, each once, are removed.
 *
 * What is refused, in this order: neither name nor id, or both > a name or an id twice (refused
 * once; nothing of it is deleted) > an unknown id > no permission > an unknown name > a name whose
 * topic is also named by its id (then it is not deleted).
 *
 * Answers to ControllerApis.deleteTopics and ReplicationControlManager.deleteTopics.
 */
#include "meta/controller.h"

#include "base/err.h"

typedef struct delete_topics_response_deletable_topic_result response_topic;

/* One entry of the request that is well-formed. */
struct deletion {
    struct controller_name *entry; /* of its name or its id in the request */
    const struct image_topic *t;   /* that is to be deleted; NULL: not */
    struct uuid id;                /* zero: asked for by name */
    response_topic out;
    bool is_dropped; /* answered by another item */
};

struct deletions {
    const struct controller *ct;
    const struct image *im;
    struct arena *arena;
    controller_grant_fn grants;
    void *grants_ctx;
    struct deletion *items;
    size_t count;
    struct controller_names names;
    struct controller_names ids; /* keys are the 16 bytes */
    struct delete_topics_response *ret;
};

static uint8_t grant_of(const struct deletions *ds, struct str topic)
{
    return ds->grants == NULL ? UINT8_MAX : ds->grants(ds->grants_ctx, topic);
}

static void refuse(response_topic *out, enum kafka_error error, struct str message)
{
    out->error_code = (int16_t)error;
    out->error_message = message;
}

/* Answers a malformed entry. */
static void append(struct deletions *ds, struct str name, const struct uuid *id, struct str message)
{
    response_topic *out = &ds->ret->responses.items[ds->ret->responses.count++];
    out->name = name;
    out->topic_id = *id;
    refuse(out, KAFKA_ERROR_INVALID_REQUEST, message);
}

/* How many topics the request holds, in whichever form its version has. */
static int32_t asked_count(const struct delete_topics_request *req)
{
    return req->topics.count > 0 ? req->topics.count
                                 : (req->topic_names.count > 0 ? req->topic_names.count : 0);
}

static void asked_at(const struct delete_topics_request *req,
                     int32_t i,
                     struct str *ret_name,
                     struct uuid *ret_id)
{
    *ret_id = (struct uuid){.bytes = {0}};
    if (req->topics.count > 0) {
        *ret_name = req->topics.items[i].name;
        *ret_id = req->topics.items[i].topic_id;
    } else {
        *ret_name = req->topic_names.items[i];
    }
}

static struct str id_key(const struct uuid *id)
{
    return str_of((const char *)id->bytes, sizeof(id->bytes));
}

/* Answers what is malformed; the first place of every name and id becomes an item. */
static void collect(struct deletions *ds, const struct delete_topics_request *req)
{
    int32_t count = asked_count(req);
    ds->items = arena_alloc(ds->arena, to_size(count) * sizeof(ds->items[0]));
    for (int32_t i = 0; i < count; i++) {
        struct str name;
        struct deletion *dn = &ds->items[ds->count];
        asked_at(req, i, &name, &dn->id);
        bool has_id = !uuid_is_zero(&dn->id);
        if (str_is_null(name) && !has_id) {
            append(ds, name, &dn->id, STR("Neither a topic name nor a topic id is given."));
        } else if (!str_is_null(name) && has_id) {
            append(ds, name, &dn->id,
                   STR("Both a topic name and a topic id are given; one of them is wanted."));
        } else {
            /* The key of an id is held by the item, which does not move. */
            dn->entry = has_id ? controller_names_add(&ds->ids, id_key(&dn->id), i)
                               : controller_names_add(&ds->names, name, i);
            if (dn->entry->index == i) {
                ds->count++;
            }
        }
    }
}

/* One item, before names and ids are brought together. */
static void decide(struct deletions *ds, struct deletion *dn)
{
    bool is_by_id = !uuid_is_zero(&dn->id);
    struct str name = is_by_id ? (struct str){.ptr = NULL} : dn->entry->name;
    dn->out = delete_topics_response_deletable_topic_result_default;
    dn->out.name = name;
    dn->out.topic_id = dn->id;
    if (dn->entry->times > 1) {
        refuse(&dn->out, KAFKA_ERROR_INVALID_REQUEST,
               is_by_id ? STR("The request names this topic id more than once.")
                        : STR("The request names this topic more than once."));
        return;
    }
    const struct image_topic *t =
        is_by_id ? image_topic_by_id(ds->im, &dn->id) : image_topic_by_name(ds->im, name);
    if (is_by_id && t == NULL) {
        refuse(&dn->out, KAFKA_ERROR_UNKNOWN_TOPIC_ID, STR("There is no topic of this id."));
        return;
    }
    uint8_t grant = grant_of(ds, is_by_id ? t->name : name);
    if ((grant & CONTROLLER_MAY_DESCRIBE) == 0) {
        refuse(&dn->out, KAFKA_ERROR_TOPIC_AUTHORIZATION_FAILED,
               STR("Not allowed to see this topic."));
        return;
    }
    if (t == NULL) {
        refuse(&dn->out, KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION,
               STR("There is no topic of this name."));
        return;
    }
    if (is_by_id) {
        dn->out.name = t->name; /* may be seen, so it may be told */
    }
    if ((grant & CONTROLLER_MAY) == 0) {
        refuse(&dn->out, KAFKA_ERROR_TOPIC_AUTHORIZATION_FAILED,
               STR("Not allowed to delete this topic."));
        return;
    }
    dn->out.topic_id = t->id;
    dn->t = t;
}

/* A topic asked for by its name and by its id is not deleted and answered once, under its name. */
static void drop_doubles(struct deletions *ds)
{
    struct controller_names asked;
    controller_names_init(&asked, ds->ct, ds->arena);
    for (size_t i = 0; i < ds->count; i++) {
        struct deletion *dn = &ds->items[i];
        if (!uuid_is_zero(&dn->id) && (dn->t != NULL || dn->entry->times > 1)) {
            IGNORE(controller_names_add(&asked, id_key(&dn->id), (int32_t)i) == NULL);
        }
    }
    for (size_t i = 0; i < ds->count; i++) {
        struct deletion *dn = &ds->items[i];
        if (dn->t == NULL || !uuid_is_zero(&dn->id)) {
            continue;
        }
        struct controller_name *entry = controller_names_add(&asked, id_key(&dn->t->id), -1);
        if (entry->index >= 0) {
            refuse(&dn->out, KAFKA_ERROR_INVALID_REQUEST,
                   STR("The topic of this name is also named by its id in the request."));
            dn->t = NULL;
            struct deletion *by_id = &ds->items[entry->index];
            if (by_id->t != NULL) {
                by_id->t = NULL;
                by_id->is_dropped = true;
            }
        }
    }
    controller_names_release(&asked);
}

static bool add_records(struct deletions *ds, struct meta_records *records)
{
    size_t start = records->count;
    for (size_t i = 0; i < ds->count; i++) {
        if (ds->items[i].t == NULL) {
            continue;
        }
        struct remove_topic_record rec = remove_topic_record_default;
        rec.topic_id = ds->items[i].t->id;
        int r = meta_records_add(records, &remove_topic_record_msg, 0, &rec);
        check(r == 0);
        if (records->count - start > CONTROLLER_RECORDS_MAX) {
            records->count = start;
            return false;
        }
    }
    return true;
}

void controller_delete_topics_fail(const struct delete_topics_request *req,
                                   enum kafka_error error,
                                   struct str message,
                                   struct arena *arena,
                                   struct delete_topics_response *ret)
{
    int32_t count = asked_count(req);
    ret->responses.items =
        codec_array(arena, delete_topics_response_deletable_topic_result, to_size(count));
    ret->responses.count = count;
    for (int32_t i = 0; i < count; i++) {
        response_topic *out = &ret->responses.items[i];
        asked_at(req, i, &out->name, &out->topic_id);
        refuse(out, error, message);
    }
}

void controller_delete_topics(const struct controller *ct,
                              const struct image *im,
                              const struct delete_topics_request *req,
                              controller_grant_fn grants,
                              void *grants_ctx,
                              struct arena *arena,
                              struct meta_records *records,
                              struct delete_topics_response *ret)
{
    int32_t count = asked_count(req);
    if (count == 0) {
        return;
    }
    if (controller_is_timed_out(req->timeout_ms)) {
        controller_delete_topics_fail(req, KAFKA_ERROR_REQUEST_TIMED_OUT, (struct str){.ptr = NULL},
                                      arena, ret);
        return;
    }
    struct deletions ds = {
        .ct = ct,
        .im = im,
        .arena = arena,
        .grants = grants,
        .grants_ctx = grants_ctx,
        .ret = ret,
    };
    ret->responses.items =
        codec_array(arena, delete_topics_response_deletable_topic_result, to_size(count));
    ret->responses.count = 0;
    controller_names_init(&ds.names, ct, arena);
    controller_names_init(&ds.ids, ct, arena);
    collect(&ds, req);
    for (size_t i = 0; i < ds.count; i++) {
        decide(&ds, &ds.items[i]);
    }
    drop_doubles(&ds);
    controller_names_release(&ds.names);
    controller_names_release(&ds.ids);
    if (!add_records(&ds, records)) {
        controller_delete_topics_fail(
            req, KAFKA_ERROR_POLICY_VIOLATION,
            STR("One request may not make more than 10000 metadata records."), arena, ret);
        return;
    }
    for (size_t i = 0; i < ds.count; i++) {
        if (!ds.items[i].is_dropped) {
            ret->responses.items[ret->responses.count++] = ds.items[i].out;
        }
    }
}
