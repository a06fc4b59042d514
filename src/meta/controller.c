/*
 * What the decisions of the controller share: names, assignments, partition records; and the
 * smallest decision, a block of producer ids.
 *
 * Answers to Kafka's Topic.validate, ReplicationControlManager.validateManualPartitionAssignment
 * and buildPartitionRegistration, ProducerIdControlManager.
 */
#include "meta/controller.h"

#include "base/err.h"
#include "meta/features.h"
#include "meta/placement.h"

#define TOPIC_NAME_MAX 249

static bool is_name_character(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
}

struct str controller_topic_name_problem(struct str name)
{
    if (name.len == 0) {
        return STR("The topic name is empty.");
    }
    if (str_is(name, ".") || str_is(name, "..")) {
        return STR("The topic name is '.' or '..', which would name a directory.");
    }
    if (name.len > TOPIC_NAME_MAX) {
        return STR("The topic name is longer than 249 characters.");
    }
    for (size_t i = 0; i < name.len; i++) {
        if (!is_name_character(name.ptr[i])) {
            return STR("The topic name has a character other than ASCII letters, digits, '.', '_' "
                       "and '-'.");
        }
    }
    return (struct str){.ptr = NULL};
}

bool controller_topic_is_internal(struct str name)
{
    return str_is(name, "__consumer_offsets") || str_is(name, "__transaction_state") ||
           str_is(name, "__share_group_state");
}

void controller_names_init(struct controller_names *cn,
                           const struct controller *ct,
                           struct arena *arena)
{
    hmap_init(&cn->map, controller_seed(ct));
    cn->arena = arena;
}

void controller_names_release(struct controller_names *cn)
{
    hmap_release(&cn->map);
}

struct controller_name *
controller_names_add(struct controller_names *cn, struct str name, int32_t index)
{
    uint64_t hash = hash_str(name, cn->map.seed);
    for (struct hmap_node *node = hmap_first(&cn->map, hash); node != NULL;
         node = hmap_next(node)) {
        struct controller_name *entry = container_of(node, struct controller_name, node);
        if (str_equal(entry->name, name)) {
            entry->times++;
            return entry;
        }
    }
    struct controller_name *entry = arena_alloc(cn->arena, sizeof(*entry));
    entry->name = name;
    entry->index = index;
    entry->times = 1;
    hmap_insert(&cn->map, &entry->node, hash);
    return entry;
}

uint64_t controller_seed(const struct controller *ct)
{
    uint64_t seed;
    ct->random(ct->ctx, &seed, sizeof(seed));
    return seed;
}

/* As clock_random_uuid makes them: version 4, and a text that no command line takes for an option.
 */
void controller_random_uuid(const struct controller *ct, struct uuid *ret)
{
    do {
        ct->random(ct->ctx, ret->bytes, sizeof(ret->bytes));
        ret->bytes[6] = (uint8_t)((ret->bytes[6] & 0x0f) | 0x40);
        ret->bytes[8] = (uint8_t)((ret->bytes[8] & 0x3f) | 0x80);
    } while ((ret->bytes[0] & 0xfc) == 0xf8);
}

enum kafka_error controller_check_assignment(const struct image *im,
                                             const struct controller_assignment *as,
                                             int32_t count_wanted,
                                             struct arena *arena,
                                             struct str *ret_message)
{
    if (as->count == 0) {
        *ret_message = STR("A partition of the manual assignment has no replicas.");
        return KAFKA_ERROR_INVALID_REPLICA_ASSIGNMENT;
    }
    /* A list of registered brokers, each once, is no longer than there are brokers: the loop ends
     * early on a long one. */
    for (int32_t i = 0; i < as->count; i++) {
        const struct image_broker *b = image_broker(im, as->replicas[i]);
        if (b == NULL || placement_is_cordoned(b)) {
            *ret_message = arena_printf(
                arena, "The manual assignment names broker %" PRId32 ", %s.", as->replicas[i],
                b == NULL ? "which is not registered"
                          : "and all of its log directories are cordoned");
            return KAFKA_ERROR_INVALID_REPLICA_ASSIGNMENT;
        }
        if (image_slot(as->replicas, i, as->replicas[i]) >= 0) {
            *ret_message = arena_printf(
                arena, "The manual assignment names broker %" PRId32 " twice for one partition.",
                as->replicas[i]);
            return KAFKA_ERROR_INVALID_REPLICA_ASSIGNMENT;
        }
    }
    if (count_wanted >= 0 && as->count != count_wanted) {
        *ret_message = arena_printf(arena,
                                    "The manual assignment gives a partition %" PRId32
                                    " replicas where the others have %" PRId32 ".",
                                    as->count, count_wanted);
        return KAFKA_ERROR_INVALID_REPLICA_ASSIGNMENT;
    }
    return KAFKA_ERROR_NONE;
}

int16_t controller_partition_version(const struct image *im)
{
    return features_partition_record(image_feature_level(im, STR(METADATA_VERSION)));
}

bool controller_add_partition(const struct image *im,
                              const struct uuid *topic_id,
                              int32_t number,
                              const struct controller_assignment *as,
                              struct meta_records *records)
{
    struct partition_record pr = partition_record_default;
    pr.partition_id = number;
    pr.topic_id = *topic_id;
    pr.leader_epoch = 0;
    pr.partition_epoch = 0;
    size_t count = to_size(as->count);
    pr.replicas.items = arena_alloc(records->arena, count * sizeof(int32_t));
    pr.replicas.count = as->count;
    memcpy(pr.replicas.items, as->replicas, count * sizeof(int32_t));
    pr.isr.items = arena_alloc(records->arena, count * sizeof(int32_t));
    int16_t version = controller_partition_version(im);
    if (version >= 1) {
        pr.directories.items = arena_alloc(records->arena, count * sizeof(struct uuid));
        pr.directories.count = as->count;
    }
    for (int32_t i = 0; i < as->count; i++) {
        const struct image_broker *b = image_broker(im, as->replicas[i]);
        if (version >= 1) {
            bool is_known = b != NULL && b->log_dirs_count == 1;
            pr.directories.items[i] = is_known ? b->log_dirs[0] : image_directory_unassigned;
        }
        if (b != NULL && placement_is_active(b)) {
            pr.isr.items[pr.isr.count++] = as->replicas[i];
        }
    }
    if (pr.isr.count == 0) {
        return false;
    }
    pr.leader = pr.isr.items[0];
    /* Our own record of plain numbers can always be encoded. */
    int r = meta_records_add(records, &partition_record_msg, version, &pr);
    check(r == 0);
    return true;
}

bool controller_has_elr(const struct image *im)
{
    return image_feature_level(im, STR("eligible.leader.replicas.version")) > 0;
}

int controller_add_config(const struct image *im,
                          enum config_resource_type type,
                          struct str resource,
                          const struct image_config *config,
                          struct meta_records *records,
                          struct meta_records *after)
{
    struct config_record rec = config_record_default;
    rec.resource_type = (int8_t)type;
    rec.resource_name = resource;
    rec.name = config->name;
    rec.value = config->value;
    int r = meta_records_add(records, &config_record_msg, 0, &rec);
    if (r < 0 || !str_is(config->name, "min.insync.replicas") || !controller_has_elr(im)) {
        return r;
    }
    struct clear_elr_record clear = clear_elr_record_default;
    if (type == CONFIG_RESOURCE_TOPIC) {
        clear.topic_name = resource; /* of a broker: those of all topics */
    }
    return meta_records_add(after, &clear_elr_record_msg, 0, &clear);
}

int controller_allocate_producer_ids(const struct controller *ct,
                                     const struct image *im,
                                     struct meta_records *records,
                                     int64_t *ret_first)
{
    int64_t first = image_next_producer_id(im);
    const struct image_broker *b = image_broker(im, ct->node_id);
    if (first < 0 || first > INT64_MAX - CONTROLLER_PRODUCER_ID_BLOCK) {
        return ERR_TOO_LARGE;
    }
    struct producer_ids_record pir = producer_ids_record_default;
    pir.broker_id = ct->node_id;
    pir.broker_epoch = b == NULL ? -1 : b->epoch;
    pir.next_producer_id = first + CONTROLLER_PRODUCER_ID_BLOCK;
    int r = meta_records_add(records, &producer_ids_record_msg, 0, &pir);
    if (r < 0) {
        return r;
    }
    *ret_first = first;
    return 0;
}
