/*
 * Uniform, when all members have the same subscriptions: every member gets total / members
 * partitions, and total % members of them one more.
 *
 * Each member keeps what it had, up to its share; what is free afterwards goes to those below their
 * share. Who gets one more: members are asked in order, and one that could not fill the greater
 * share with what it has leaves it to a later one, as long as there are enough of those. So a new
 * member takes no more than balance needs, and what is balanced stays as it is.
 *
 * Kafka: UniformAssignor, UniformHomogeneousAssignmentBuilder. Racks play no part in Kafka 4.4's
 * assignors of consumer groups, nor here.
 */
#include "coord/assignor.h"

#include "base/base.h"
#include "base/mem.h"
#include "coord/assignor_owners.h"

struct unfilled {
    int32_t member;
    int32_t room;
};

struct uniform {
    const struct assignor_spec *spec;
    struct assignor_owners owners;
    int32_t *free; /* places that nobody owns */
    int32_t free_count;
    struct unfilled *unfilled;
    int32_t unfilled_count;
    int32_t share;        /* of every member */
    int32_t extras_count; /* members that may still get one more */
};

/* Is this one of the partitions that are handed out? Old targets may name what is gone. */
static bool locate(const struct uniform *un, const struct uuid *id, int32_t *ret_topic)
{
    *ret_topic = assignor_topic_find(un->spec, id);
    return *ret_topic >= 0 && assignor_is_subscribed(&un->spec->members[0], *ret_topic);
}

static bool is_partition(const struct assignor_spec *spec, int32_t topic, int32_t partition)
{
    return partition >= 0 && partition < spec->topics[topic].partitions_count;
}

static void claim_current(struct uniform *un)
{
    const struct assignor_spec *spec = un->spec;
    for (int32_t m = 0; m < spec->members_count; m++) {
        const struct assignment *current = spec->members[m].current;
        for (int32_t i = 0; i < current->count; i++) {
            const struct topic_partitions *tp = &current->topics[i];
            int32_t topic;
            if (!locate(un, &tp->id, &topic)) {
                continue;
            }
            for (int32_t p = 0; p < tp->count; p++) {
                if (!is_partition(spec, topic, tp->partitions[p])) {
                    continue;
                }
                int32_t *owner = &un->owners.of[un->owners.first[topic] + tp->partitions[p]];
                *owner = *owner == OWNER_NONE ? m : *owner;
            }
        }
    }
}

/* Takes from a member what is above its quota; returns what room it has left. */
static int32_t revoke_above(struct uniform *un, int32_t m, int32_t quota)
{
    const struct assignment *current = un->spec->members[m].current;
    for (int32_t i = 0; i < current->count; i++) {
        const struct topic_partitions *tp = &current->topics[i];
        int32_t topic;
        if (!locate(un, &tp->id, &topic)) {
            continue;
        }
        for (int32_t p = 0; p < tp->count; p++) {
            if (!is_partition(un->spec, topic, tp->partitions[p])) {
                continue;
            }
            int32_t at = un->owners.first[topic] + tp->partitions[p];
            if (un->owners.of[at] != m) {
                continue;
            }
            if (quota > 0) {
                quota--;
            } else {
                un->owners.of[at] = OWNER_NONE;
                un->free[un->free_count++] = at;
            }
        }
    }
    return quota;
}

static void revoke(struct uniform *un)
{
    int32_t members_count = un->spec->members_count;
    for (int32_t m = 0; m < members_count; m++) {
        bool has_extra = un->extras_count > 0;
        int32_t room = revoke_above(un, m, un->share + (has_extra ? 1 : 0));
        if (room > 0 && has_extra && members_count - m > un->extras_count) {
            room--;
            has_extra = false;
        }
        if (room > 0) {
            un->unfilled[un->unfilled_count++] = (struct unfilled){.member = m, .room = room};
        }
        un->extras_count -= has_extra ? 1 : 0;
    }
}

static void collect_free(struct uniform *un)
{
    const struct assignor_member *am = &un->spec->members[0];
    for (int32_t i = 0; i < am->topics_count; i++) {
        int32_t topic = am->topics[i];
        for (int32_t at = un->owners.first[topic]; at < un->owners.first[topic + 1]; at++) {
            if (un->owners.of[at] == OWNER_NONE) {
                un->free[un->free_count++] = at;
            }
        }
    }
}

static void hand_out(struct uniform *un)
{
    int32_t next = 0;
    for (int32_t i = 0; i < un->unfilled_count; i++) {
        for (int32_t n = 0; n < un->unfilled[i].room && next < un->free_count; n++) {
            un->owners.of[un->free[next++]] = un->unfilled[i].member;
        }
    }
    check(next == un->free_count);
}

void assignor_uniform(const struct assignor_spec *spec, struct arena *arena, struct assignment *ret)
{
    if (spec->members_count == 0) {
        return;
    }
    if (!spec->is_homogeneous) {
        assignor_uniform_mixed(spec, arena, ret);
        return;
    }
    struct uniform un = {.spec = spec};
    assignor_owners_init(&un.owners, spec, arena);
    int64_t total = 0;
    for (int32_t i = 0; i < spec->members[0].topics_count; i++) {
        total += spec->topics[spec->members[0].topics[i]].partitions_count;
    }
    un.free = arena_alloc(arena, sizeof(*un.free) * to_size(total));
    un.unfilled = arena_alloc(arena, sizeof(*un.unfilled) * to_size(spec->members_count));
    un.share = to_i32(total / spec->members_count);
    un.extras_count = to_i32(total % spec->members_count);
    claim_current(&un);
    collect_free(&un);
    revoke(&un);
    hand_out(&un);
    assignor_owners_build(&un.owners, arena, ret);
}
