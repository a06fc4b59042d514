/*
 * What the coming and going of a broker does to partitions.
 *
 * A partition without a leader gets one from, in this order: its in-sync replicas; its eligible
 * leader replicas, if the broker's last life ended as it should (after a crash its log may have
 * lost what it had acknowledged, so its eligibility is void); its last known leader, which may have
 * lost records and is therefore marked as recovering. A broker that comes back before it was fenced
 * keeps its leaderships under a new leader epoch: what it lost in between must not look like the
 * old epoch.
 *
 * A broker that stops leaves the in-sync set; where it was the last, it becomes the eligible leader
 * replica.
 *
 * Answers to ClusterControlManager, ReplicationControlManager.handleBrokerFenced and its sisters,
 * PartitionChangeBuilder; KIP-966.
 */
#include "meta/controller.h"

#include "meta/bootstrap.h"
#include "meta/features.h"
#include "meta/placement.h"

#define LEADER_RECOVERING 1
#define ELR_VERSION_MIN   2 /* of PartitionChangeRecord */

static bool holds(const int32_t *ids, int32_t count, int32_t id)
{
    return image_slot(ids, count, id) >= 0;
}

static void
add_change(struct meta_records *records, int16_t version, struct partition_change_record *rec)
{
    int r = meta_records_add(records, &partition_change_record_msg, version, rec);
    check(r == 0); /* numbers of our own */
}

static void change_broker(struct meta_records *records,
                          const struct image_broker *b,
                          enum bootstrap_change change)
{
    int r = bootstrap_change_broker(records, b->id, b->epoch, change);
    check(r == 0); /* numbers of our own */
}

static void say_cordoned(const struct image *im,
                         struct meta_records *records,
                         const struct image_broker *b,
                         const struct uuid *directories,
                         int32_t count)
{
    int16_t metadata_version = image_feature_level(im, STR(METADATA_VERSION));
    int r = bootstrap_cordon(records, b->id, b->epoch, directories, count, metadata_version);
    check(r == 0); /* numbers of our own */
}

/* One element lists of the record: arrays of our own in the arena. */
static void set_one(struct arena *arena, int32_t id, int32_t **ret_items, int32_t *ret_count)
{
    *ret_items = arena_alloc(arena, sizeof(int32_t));
    **ret_items = id;
    *ret_count = 1;
}

static void set_none(struct arena *arena, int32_t **ret_items, int32_t *ret_count)
{
    *ret_items = arena_alloc(arena, sizeof(int32_t));
    *ret_count = 0;
}

static void partition_gets_leader(const struct image *im,
                                  const struct image_topic *t,
                                  int32_t number,
                                  int32_t id,
                                  bool was_clean,
                                  struct meta_records *records)
{
    const struct image_partition *ip = &t->partitions[number];
    struct partition_change_record rec = partition_change_record_default;
    rec.partition_id = number;
    rec.topic_id = t->id;
    if (ip->leader == id) {
        rec.leader = id; /* the same leader, in a new epoch */
        add_change(records, controller_partition_version(im), &rec);
        return;
    }
    if (ip->leader != IMAGE_NO_LEADER || !holds(ip->replicas, ip->replicas_count, id)) {
        return;
    }
    bool is_in_sync = holds(ip->isr, ip->isr_count, id);
    bool is_eligible = was_clean && holds(ip->elr, ip->elr_count, id);
    bool is_last = holds(ip->last_known_elr, ip->last_known_elr_count, id) ||
                   holds(ip->elr, ip->elr_count, id);
    if (!is_in_sync && !is_eligible && !is_last) {
        return;
    }
    rec.leader = id;
    if (!is_in_sync) {
        set_one(records->arena, id, &rec.isr.items, &rec.isr.count);
        if (!is_eligible) {
            rec.leader_recovery_state = LEADER_RECOVERING;
        }
    }
    if (ip->elr_count > 0) {
        set_none(records->arena, &rec.eligible_leader_replicas.items,
                 &rec.eligible_leader_replicas.count);
    }
    if (ip->last_known_elr_count > 0) {
        set_none(records->arena, &rec.last_known_elr.items, &rec.last_known_elr.count);
    }
    add_change(records, controller_partition_version(im), &rec);
}

void controller_broker_serves(const struct image *im,
                              int32_t broker_id,
                              bool was_clean,
                              struct meta_records *records)
{
    const struct image_broker *b = image_broker(im, broker_id);
    check(b != NULL);
    if (b->is_fenced) {
        change_broker(records, b, BOOTSTRAP_UNFENCE);
    }
    const struct image_topic **topics;
    size_t count;
    image_topics_sorted(im, records->arena, &topics, &count);
    for (size_t i = 0; i < count; i++) {
        for (int32_t number = 0; number < topics[i]->partitions_count; number++) {
            partition_gets_leader(im, topics[i], number, broker_id, was_clean, records);
        }
    }
    say_cordoned(im, records, b, NULL, 0);
}

void controller_cordon(const struct image *im,
                       int32_t broker_id,
                       const struct uuid *directories,
                       int32_t count,
                       struct meta_records *records)
{
    const struct image_broker *b = image_broker(im, broker_id);
    size_t bytes = to_size(count) * sizeof(directories[0]);
    if (b != NULL && (b->cordoned_log_dirs_count != count ||
                      (bytes > 0 && memcmp(b->cordoned_log_dirs, directories, bytes) != 0))) {
        say_cordoned(im, records, b, directories, count);
    }
}

void controller_assign_directory(const struct image *im,
                                 int32_t broker_id,
                                 const struct uuid *topic_id,
                                 int32_t number,
                                 const struct uuid *directory,
                                 struct meta_records *records)
{
    const struct image_topic *t = image_topic_by_id(im, topic_id);
    if (t == NULL || number < 0 || number >= t->partitions_count) {
        return; /* deleted meanwhile */
    }
    const struct image_partition *ip = &t->partitions[number];
    int32_t slot = image_slot(ip->replicas, ip->replicas_count, broker_id);
    if (slot < 0 || ip->directories == NULL || uuid_equal(&ip->directories[slot], directory)) {
        return;
    }
    struct partition_change_record rec = partition_change_record_default;
    size_t count = to_size(ip->replicas_count);
    rec.partition_id = number;
    rec.topic_id = *topic_id;
    rec.directories.items = arena_alloc(records->arena, count * sizeof(rec.directories.items[0]));
    rec.directories.count = ip->replicas_count;
    memcpy(rec.directories.items, ip->directories, count * sizeof(rec.directories.items[0]));
    rec.directories.items[slot] = *directory;
    add_change(records, controller_partition_version(im), &rec);
}

/* The in-sync replica that takes over; -1: none. */
static int32_t
next_leader(const struct image *im, const struct image_partition *ip, int32_t leaving)
{
    for (int32_t i = 0; i < ip->replicas_count; i++) {
        const struct image_broker *b = image_broker(im, ip->replicas[i]);
        if (ip->replicas[i] != leaving && b != NULL && placement_is_active(b) &&
            holds(ip->isr, ip->isr_count, ip->replicas[i])) {
            return ip->replicas[i];
        }
    }
    return IMAGE_NO_LEADER;
}

static void partition_loses(const struct image *im,
                            const struct image_topic *t,
                            int32_t number,
                            int32_t id,
                            struct meta_records *records)
{
    const struct image_partition *ip = &t->partitions[number];
    bool is_in_sync = holds(ip->isr, ip->isr_count, id);
    if (ip->leader != id && !is_in_sync) {
        return;
    }
    int16_t version = controller_partition_version(im);
    bool has_elr = version >= ELR_VERSION_MIN && controller_has_elr(im);
    struct partition_change_record rec = partition_change_record_default;
    rec.partition_id = number;
    rec.topic_id = t->id;
    if (ip->leader == id) {
        rec.leader = next_leader(im, ip, id);
    }
    if (is_in_sync && ip->isr_count > 1) {
        rec.isr.items = arena_alloc(records->arena, to_size(ip->isr_count) * sizeof(int32_t));
        rec.isr.count = 0;
        for (int32_t i = 0; i < ip->isr_count; i++) {
            if (ip->isr[i] != id) {
                rec.isr.items[rec.isr.count++] = ip->isr[i];
            }
        }
    } else if (is_in_sync && has_elr) {
        set_none(records->arena, &rec.isr.items, &rec.isr.count);
        set_one(records->arena, id, &rec.eligible_leader_replicas.items,
                &rec.eligible_leader_replicas.count);
        set_one(records->arena, id, &rec.last_known_elr.items, &rec.last_known_elr.count);
    }
    add_change(records, version, &rec);
}

void controller_broker_stops(const struct image *im,
                             int32_t broker_id,
                             struct meta_records *records)
{
    const struct image_broker *b = image_broker(im, broker_id);
    if (b == NULL || b->is_fenced) {
        return;
    }
    change_broker(records, b, BOOTSTRAP_CONTROLLED_SHUTDOWN);
    const struct image_topic **topics;
    size_t count;
    image_topics_sorted(im, records->arena, &topics, &count);
    for (size_t i = 0; i < count; i++) {
        for (int32_t number = 0; number < topics[i]->partitions_count; number++) {
            partition_loses(im, topics[i], number, broker_id, records);
        }
    }
    change_broker(records, b, BOOTSTRAP_FENCE);
}
