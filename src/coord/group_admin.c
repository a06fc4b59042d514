/*
 * Groups as administrators see them. Answers are copies: they are put on the wire when the shard
 * has gone on already.
 *
 * Kafka: GroupMetadataManager.listGroups and describeGroups (a group of another kind than classic
 * is none for DescribeGroups), GroupCoordinatorShard.deleteGroups.
 */
#include "coord/group_admin.h"

#include "base/base.h"
#include "coord/classic.h"
#include "coord/offsets.h"

#define ERROR_MESSAGE_VERSION 6 /* of DescribeGroups: unknown groups are an error from here on */

typedef struct list_groups_response_listed_group listed_group;
typedef struct describe_groups_response_described_group described_group;
typedef struct describe_groups_response_described_group_member described_member;

/* ---- list ---- */

static const char *const state_names[] = {
    "Empty", "PreparingRebalance", "CompletingRebalance", "Stable",
    "Dead",  "Assigning",          "Reconciling"};
static const char *const type_names[] = {"classic", "consumer"};

/* The bit of a name; 0: it is none of them. */
static uint32_t bit_of(const char *const *names, size_t count, struct str name)
{
    for (size_t i = 0; i < count; i++) {
        if (str_equal_ignore_case(str_from(names[i]), name)) {
            return UINT32_C(1) << i;
        }
    }
    return 0;
}

static uint32_t state_bit(struct str name)
{
    return bit_of(state_names, ARRAY_LEN(state_names), name);
}

static uint32_t type_bit(struct str name)
{
    return bit_of(type_names, ARRAY_LEN(type_names), name);
}

/* A request may name as many filters as it likes: they are read once. Blanks around a state do not
 * count; those around a type do. */
static void read_filters(const struct list_groups_request *filters, struct group_list *ret)
{
    ret->has_filters = true;
    ret->states = filters->states_filter.count > 0 ? 0 : UINT32_MAX;
    ret->types = filters->types_filter.count > 0 ? 0 : UINT32_MAX;
    for (int32_t i = 0; i < filters->states_filter.count; i++) {
        ret->states |= state_bit(str_trim(filters->states_filter.items[i]));
    }
    for (int32_t i = 0; i < filters->types_filter.count; i++) {
        ret->types |= type_bit(filters->types_filter.items[i]);
    }
}

static listed_group *room_for_one(struct group_list *list, struct arena *arena)
{
    if (list->count == list->cap) {
        size_t cap = list->cap == 0 ? 16 : list->cap * 2;
        listed_group *items = arena_alloc(arena, cap * sizeof(*items));
        if (list->count > 0) {
            memcpy(items, list->items, list->count * sizeof(*items));
        }
        list->items = items;
        list->cap = cap;
    }
    return &list->items[list->count++];
}

void group_list_add(const struct shard *sh,
                    const struct list_groups_request *filters,
                    struct arena *arena,
                    struct group_list *ret)
{
    if (!ret->has_filters) {
        read_filters(filters, ret);
    }
    hmap_foreach (node, &sh->groups) {
        const struct group *g = container_of(node, struct group, node);
        if (!group_is_seen(sh, g) || (ret->states & state_bit(group_state_name(g))) == 0 ||
            (ret->types & type_bit(group_kind_name(g))) == 0) {
            continue;
        }
        listed_group *lg = room_for_one(ret, arena);
        *lg = list_groups_response_listed_group_default;
        lg->group_id = arena_strdup(arena, g->id);
        lg->protocol_type = arena_strdup(arena, group_protocol_type(g));
        lg->group_state = group_state_name(g);
        lg->group_type = group_kind_name(g);
    }
}

/* ---- describe ---- */

static struct view copy_view(struct arena *arena, struct view bytes)
{
    struct str copy = arena_strdup(arena, str_of((const char *)bytes.ptr, bytes.len));
    return (struct view){.ptr = (const uint8_t *)copy.ptr, .len = copy.len};
}

static void describe_member(const struct classic *cl,
                            const struct classic_member *m,
                            struct arena *arena,
                            described_member *ret)
{
    *ret = describe_groups_response_described_group_member_default;
    ret->member_id = arena_strdup(arena, m->id);
    ret->group_instance_id = arena_strdup(arena, m->instance_id);
    ret->client_id = arena_strdup(arena, m->client_id);
    ret->client_host = arena_strdup(arena, m->client_host);
    ret->member_assignment = copy_view(arena, m->assignment);
    if (cl->state == CLASSIC_STABLE) {
        ret->member_metadata = copy_view(arena, classic_member_metadata(m, cl->protocol_name));
    }
}

static void describe_classic(const struct classic *cl, struct arena *arena, described_group *ret)
{
    if (cl->state == CLASSIC_STABLE) {
        ret->protocol_data = arena_strdup(arena, cl->protocol_name);
    }
    ret->members.items = arena_alloc(arena, (cl->members.count + 1) * sizeof(*ret->members.items));
    hmap_foreach (node, &cl->members) {
        describe_member(cl, container_of(node, struct classic_member, node), arena,
                        &ret->members.items[ret->members.count++]);
    }
}

void group_describe(const struct shard *sh,
                    struct str group_id,
                    int16_t version,
                    struct arena *arena,
                    struct describe_groups_response_described_group *ret)
{
    *ret = describe_groups_response_described_group_default;
    ret->group_id = group_id;
    const struct group *g = group_find(sh, group_id);
    if (g != NULL && !group_is_seen(sh, g)) {
        g = NULL;
    }
    if (g == NULL || g->kind != GROUP_CLASSIC) {
        ret->group_state = STR("Dead");
        if (version >= ERROR_MESSAGE_VERSION) {
            ret->error_code = KAFKA_ERROR_GROUP_ID_NOT_FOUND;
            ret->error_message =
                g == NULL ? arena_printf(arena, "Group " STR_FMT " not found.", STR_ARG(group_id))
                          : arena_printf(arena, "Group " STR_FMT " is not a classic group.",
                                         STR_ARG(group_id));
        }
        return;
    }
    ret->group_state = group_state_name(g);
    ret->protocol_type = arena_strdup(arena, group_protocol_type(g));
    describe_classic(g->classic, arena, ret);
}

/* ---- delete ---- */

enum kafka_error group_delete(struct shard *sh, struct str group_id)
{
    struct group *g = group_find(sh, group_id);
    enum kafka_error error = g == NULL ? KAFKA_ERROR_GROUP_ID_NOT_FOUND : group_check_delete(g);
    if (error == KAFKA_ERROR_NONE) {
        offsets_emit_group_tombstones(sh, g);
        group_emit_tombstones(sh, g);
    }
    return error;
}
