/*
 * Groups as administrators see them: groups of every state are made in a shard, then listed by
 * filters, described and deleted; the answers are those that a Kafka 4.4.0 has given for the same
 * groups.
 */
#include "offsets_world.h"

static int compare_names(const void *a, const void *b)
{
    return str_compare(((const struct list_groups_response_listed_group *)a)->group_id,
                       ((const struct list_groups_response_listed_group *)b)->group_id);
}

/* "g:protocol type:state:type ...", by name. */
static const char *list(struct world *w, const char *state, const char *type)
{
    struct str state_item = str_from(state);
    struct str type_item = str_from(type);
    struct list_groups_request filters = list_groups_request_default;
    filters.states_filter.items = &state_item;
    filters.states_filter.count = state == NULL ? 0 : 1;
    filters.types_filter.items = &type_item;
    filters.types_filter.count = type == NULL ? 0 : 1;
    struct group_list ret = {.items = NULL};
    group_list_add(w->sh, &filters, &w->arena, &ret);
    if (ret.count > 0) {
        qsort(ret.items, ret.count, sizeof(*ret.items), compare_names);
    }
    struct strbuf sb;
    strbuf_init(&sb, arena_alloc(&w->arena, 4096), 4096);
    for (size_t i = 0; i < ret.count; i++) {
        const struct list_groups_response_listed_group *lg = &ret.items[i];
        strbuf_addf(&sb, "%s" STR_FMT ":" STR_FMT ":" STR_FMT ":" STR_FMT, i == 0 ? "" : " ",
                    STR_ARG(lg->group_id), STR_ARG(lg->protocol_type), STR_ARG(lg->group_state),
                    STR_ARG(lg->group_type));
    }
    return sb.ptr;
}

static void groups_are_listed_by_state_and_type(void **state)
{
    struct world *w = *state;
    assert_string_equal(list(w, NULL, NULL), "");
    world_commit_simple(w, "simple", "a", 0, 1);
    (void)world_join(w, "stable", "consumer", "a");
    const char *gone = world_join(w, "empty", "connect", "a");
    world_leave(w, "empty", gone);
    const char *empty = "empty:connect:Empty:classic simple::Empty:classic";
    const char *all = "empty:connect:Empty:classic simple::Empty:classic "
                      "stable:consumer:Stable:classic";
    assert_string_equal(list(w, NULL, NULL), all);
    assert_string_equal(list(w, "Empty", NULL), empty);
    assert_string_equal(list(w, " eMPTY ", NULL), empty);
    assert_string_equal(list(w, "STABLE", NULL), "stable:consumer:Stable:classic");
    assert_string_equal(list(w, "Dead", NULL), "");
    assert_string_equal(list(w, "nonsense", NULL), "");
    assert_string_equal(list(w, "", NULL), "");
    assert_string_equal(list(w, NULL, "Classic"), all);
    assert_string_equal(list(w, NULL, " classic"), "");
    assert_string_equal(list(w, NULL, "consumer"), "");
    assert_string_equal(list(w, NULL, "nonsense"), "");
    assert_string_equal(list(w, "empty", "CLASSIC"), empty);
    assert_string_equal(list(w, "empty", "share"), "");
}

static struct describe_groups_response_described_group
describe(struct world *w, const char *group, int16_t version)
{
    struct describe_groups_response_described_group ret;
    group_describe(w->sh, str_from(group), version, &w->arena, &ret);
    return ret;
}

static void an_unknown_group_is_dead(void **state)
{
    struct world *w = *state;
    for (int16_t v = 0; v <= 6; v++) {
        struct describe_groups_response_described_group d = describe(w, "g", v);
        assert_true(str_is(d.group_id, "g"));
        assert_true(str_is(d.group_state, "Dead"));
        assert_true(str_is(d.protocol_type, ""));
        assert_true(str_is(d.protocol_data, ""));
        assert_int_equal(d.members.count, 0);
        assert_int_equal(d.error_code, v < 6 ? 0 : KAFKA_ERROR_GROUP_ID_NOT_FOUND);
        assert_true(str_is_null(d.error_message) == (v < 6));
    }
}

static void a_simple_group_is_described(void **state)
{
    struct world *w = *state;
    world_commit_simple(w, "g", "a", 0, 1);
    struct describe_groups_response_described_group d = describe(w, "g", 6);
    assert_int_equal(d.error_code, 0);
    assert_true(str_is(d.group_state, "Empty"));
    assert_true(str_is(d.protocol_type, ""));
    assert_true(str_is(d.protocol_data, ""));
    assert_int_equal(d.members.count, 0);
}

static void members_of_a_stable_group_show_what_they_have(void **state)
{
    struct world *w = *state;
    const char *member = world_join(w, "g", "consumer", "a");
    struct describe_groups_response_described_group d = describe(w, "g", 5);
    assert_true(str_is(d.group_state, "Stable"));
    assert_true(str_is(d.protocol_type, "consumer"));
    assert_true(str_is(d.protocol_data, "range"));
    assert_int_equal(d.members.count, 1);
    const struct describe_groups_response_described_group_member *m = &d.members.items[0];
    assert_true(str_is(m->member_id, member));
    assert_true(str_is_null(m->group_instance_id));
    assert_true(str_is(m->client_id, "test"));
    assert_true(str_is(m->client_host, "/127.0.0.1"));
    struct view metadata = world_subscription(w, "a");
    assert_int_equal(m->member_metadata.len, metadata.len);
    assert_memory_equal(m->member_metadata.ptr, metadata.ptr, metadata.len);
    assert_int_equal(m->member_assignment.len, 4);
    assert_memory_equal(m->member_assignment.ptr, "mine", 4);
    world_leave(w, "g", member);
    d = describe(w, "g", 5);
    assert_true(str_is(d.group_state, "Empty"));
    assert_true(str_is(d.protocol_type, "consumer"));
    assert_true(str_is(d.protocol_data, ""));
    assert_int_equal(d.members.count, 0);
}

/* What was described stays readable when the group has gone. */
static void a_description_is_a_copy(void **state)
{
    struct world *w = *state;
    const char *member = world_join(w, "g", "consumer", "a");
    struct describe_groups_response_described_group d = describe(w, "g", 5);
    world_leave(w, "g", member);
    assert_int_equal(world_delete_group(w, "g"), KAFKA_ERROR_NONE);
    assert_true(str_is(d.members.items[0].member_id, member));
    assert_true(str_is(d.protocol_data, "range"));
    assert_memory_equal(d.members.items[0].member_assignment.ptr, "mine", 4);
}

static void only_empty_groups_are_deleted(void **state)
{
    struct world *w = *state;
    assert_int_equal(world_delete_group(w, "g"), KAFKA_ERROR_GROUP_ID_NOT_FOUND);
    const char *member = world_join(w, "g", "consumer", "a");
    struct world_commit c = {.group = "g", .generation = 1, .member = member, .offset = 5};
    assert_int_equal(world_commit_one(w, c), 0);
    assert_int_equal(world_delete_group(w, "g"), KAFKA_ERROR_NON_EMPTY_GROUP);
    assert_int_equal(w->emitted, 0);
    world_leave(w, "g", member);
    assert_int_equal(world_delete_group(w, "g"), KAFKA_ERROR_NONE);
    assert_int_equal(w->emitted, 2);
    assert_null(w->records[w->records_count - 1].value.ptr);
    assert_null(w->records[w->records_count - 2].value.ptr);
    assert_null(group_find(w->sh, STR("g")));
    assert_int_equal(world_delete_group(w, "g"), KAFKA_ERROR_GROUP_ID_NOT_FOUND);
    world_restart(w);
    assert_null(group_find(w->sh, STR("g")));
    assert_int_equal(world_fetch(w, "g", "a", 0), -1);
    world_commit_simple(w, "g", "a", 1, 7); /* it begins anew */
    assert_int_equal(world_fetch(w, "g", "a", 0), -1);
    world_check_reload(w);
}

/* It can be deleted and committed to at once; readers see it with the next record of the shard. */
static void a_commit_that_stores_nothing_makes_its_group(void **state)
{
    struct world *w = *state;
    static char note[4098];
    memset(note, 'x', sizeof(note) - 1);
    struct world_commit large = {.group = "g", .generation = -1, .metadata = note};
    struct world_commit member = {.group = "g", .generation = 1, .member = "m"};
    assert_int_equal(world_commit_one(w, member), KAFKA_ERROR_GROUP_ID_NOT_FOUND);
    assert_int_equal(world_commit_one(w, large), KAFKA_ERROR_OFFSET_METADATA_TOO_LARGE);
    assert_int_equal(w->emitted, 0);
    assert_int_equal(world_commit_one(w, member), KAFKA_ERROR_UNKNOWN_MEMBER_ID);
    assert_true(str_is(describe(w, "g", 5).group_state, "Dead"));
    assert_int_equal(describe(w, "g", 6).error_code, KAFKA_ERROR_GROUP_ID_NOT_FOUND);
    assert_string_equal(list(w, NULL, NULL), "");
    world_commit_simple(w, "other", "a", 0, 1);
    assert_true(str_is(describe(w, "g", 6).group_state, "Empty"));
    assert_string_equal(list(w, NULL, NULL), "g::Empty:classic other::Empty:classic");
    assert_int_equal(world_delete_group(w, "g"), KAFKA_ERROR_NONE);
    assert_int_equal(w->emitted, 1);
    assert_int_equal(world_delete_group(w, "g"), KAFKA_ERROR_GROUP_ID_NOT_FOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
        TEST(groups_are_listed_by_state_and_type),
        TEST(an_unknown_group_is_dead),
        TEST(a_simple_group_is_described),
        TEST(members_of_a_stable_group_show_what_they_have),
        TEST(a_description_is_a_copy),
        TEST(only_empty_groups_are_deleted),
        TEST(a_commit_that_stores_nothing_makes_its_group),
#undef TEST
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
