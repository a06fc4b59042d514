/*
 * The shard without its machines' fine points: what a record looks like in the log (bytes that a
 * Kafka 4.4.0 wrote are compared), that bytes replayed make the state that emitting them made, what
 * becomes of transactions, of kinds and bytes that nobody knows, and of the bound on memory.
 *
 * Records of an event are taken into memory and fed to a second shard, as a restart would.
 */
#include "shard_fixture.h"

#include "base/err.h"
#include "coord/classic.h"
#include "coord/group.h"
#include "coord/offsets.h"

#define RECORDS_MAX 64

struct taken {
    struct arena arena;
    struct view keys[RECORDS_MAX];
    struct view values[RECORDS_MAX];
    size_t count;
};

static struct mem_budget memory;
static struct shard_config config;

static struct taken taken;

static int setup(void **state unused_ok)
{
    memset(&taken, 0, sizeof(taken));
    atomic_store(&memory.used, 0);
    memory.max = 0;
    config = fixture_config();
    config.memory = &memory;
    return 0;
}

static int teardown(void **state unused_ok)
{
    arena_release(&taken.arena);
    assert_int_equal(atomic_load(&memory.used), 0);
    return 0;
}

static void take_one(void *ctx unused_ok, struct view key, struct view value)
{
    assert_in_range(taken.count, 0, RECORDS_MAX - 1);
    taken.keys[taken.count] = fixture_keep(&taken.arena, key);
    taken.values[taken.count] = fixture_keep(&taken.arena, value);
    taken.count++;
}

/* Ends an event; returns how many records it had. */
static size_t end_event(struct shard *sh, struct list *completed)
{
    size_t count = shard_take_records(sh, take_one, NULL);
    list_init(completed);
    shard_take_completed(sh, completed);
    return count;
}

static struct shard *empty_shard(void)
{
    struct shard *sh = shard_new(&shard_machines, &config, 0, 1);
    struct list completed;
    shard_begin(sh, 1000, 1700000000000, &fixture_no_topics);
    shard_loaded(sh);
    assert_int_equal(end_event(sh, &completed), 0);
    return sh;
}

static struct shard *reloaded(void)
{
    struct shard *sh = shard_new(&shard_machines, &config, 0, 2);
    struct list completed;
    for (size_t i = 0; i < taken.count; i++) {
        assert_int_equal(shard_replay(sh, -1, taken.keys[i], taken.values[i]), 0);
    }
    shard_begin(sh, 5000, 1700000001000, &fixture_no_topics);
    shard_loaded(sh);
    end_event(sh, &completed);
    return sh;
}

static void emit_offset(struct shard *sh,
                        const char *group,
                        const char *topic,
                        int32_t partition,
                        int64_t offset,
                        bool is_tombstone)
{
    struct offset_commit_key key = {
        .group = str_from(group), .topic = str_from(topic), .partition = partition};
    struct offset_commit_value value = offset_commit_value_default;
    value.offset = offset;
    value.metadata = STR("note");
    value.commit_timestamp = 1700000000000;
    shard_emit(sh, &offset_commit_key_msg, &key, &offset_commit_value_msg, 3,
               is_tombstone ? NULL : &value);
}

static int64_t
offset_of(const struct shard *sh, const char *group, const char *topic, int32_t partition)
{
    const struct group *g = group_find(sh, str_from(group));
    const struct committed_offset *at =
        g == NULL ? NULL : offsets_find(sh, g, str_from(topic), partition);
    return at == NULL ? -1 : at->offset;
}

static void a_record_has_the_bytes_that_kafka_writes(void **state unused_ok)
{
    static const uint8_t key[] = {0, 1, 0, 2, 'g', 'o', 0, 2, 'g', 'a', 0, 0, 0, 3};
    static const uint8_t value[] = {0,    3,    0,    0,    0,    0,    0,    0,   0,   42,
                                    0xff, 0xff, 0xff, 0xff, 0,    4,    'n',  'o', 't', 'e',
                                    0,    0,    0x01, 0x8b, 0xcf, 0xe5, 0x68, 0};
    struct shard *sh = empty_shard();
    struct list completed;
    shard_begin(sh, 1000, 1700000000000, &fixture_no_topics);
    emit_offset(sh, "go", "ga", 3, 42, false);
    emit_offset(sh, "go", "ga", 3, 0, true);
    assert_int_equal(end_event(sh, &completed), 2);
    assert_int_equal(taken.keys[0].len, sizeof(key));
    assert_memory_equal(taken.keys[0].ptr, key, sizeof(key));
    assert_int_equal(taken.values[0].len, sizeof(value));
    assert_memory_equal(taken.values[0].ptr, value, sizeof(value));
    assert_memory_equal(taken.keys[1].ptr, key, sizeof(key));
    assert_null(taken.values[1].ptr);
    shard_free(sh);
}

static void the_state_is_the_same_after_a_reload(void **state unused_ok)
{
    struct shard *sh = empty_shard();
    struct list completed;
    shard_begin(sh, 1000, 1700000000000, &fixture_no_topics);
    emit_offset(sh, "a", "t", 0, 5, false);
    emit_offset(sh, "a", "t", 1, 6, false);
    emit_offset(sh, "b", "t", 0, 7, false);
    emit_offset(sh, "a", "t", 0, 9, false);
    emit_offset(sh, "a", "t", 1, 0, true);
    assert_int_equal(end_event(sh, &completed), 5);
    struct shard *again = reloaded();
    const struct shard *both[] = {sh, again};
    for (size_t i = 0; i < ARRAY_LEN(both); i++) {
        assert_int_equal(offset_of(both[i], "a", "t", 0), 9);
        assert_int_equal(offset_of(both[i], "a", "t", 1), -1);
        assert_int_equal(offset_of(both[i], "b", "t", 0), 7);
    }
    shard_free(sh);
    shard_free(again);
}

/* An event's records may be larger than the writer's chunks, and a later event begins anew. */
static void large_records_come_out_whole(void **state unused_ok)
{
    struct shard *sh = empty_shard();
    struct list completed;
    size_t len = 300000;
    uint8_t *bytes = mem_alloc(len);
    for (size_t i = 0; i < len; i++) {
        bytes[i] = (uint8_t)(i * 7);
    }
    struct group_metadata_key key = {.group = STR("g")};
    struct group_metadata_value value = group_metadata_value_default;
    struct group_metadata_value_member_metadata member =
        group_metadata_value_member_metadata_default;
    member.member_id = STR("m");
    member.assignment = (struct view){.ptr = bytes, .len = len};
    value.members.items = &member;
    value.members.count = 1;
    for (int i = 0; i < 3; i++) {
        shard_begin(sh, 1000, 1700000000000, &fixture_no_topics);
        shard_append(sh, &group_metadata_key_msg, &key, &group_metadata_value_msg, 3, &value);
        assert_int_equal(end_event(sh, &completed), 1);
        struct view got = taken.values[taken.count - 1];
        assert_in_range(got.len, len, len + 100);
        assert_memory_equal(got.ptr + got.len - len, bytes, len);
    }
    mem_free(bytes);
    shard_free(sh);
}

static struct view bytes_of(const char *text, size_t len)
{
    return (struct view){.ptr = (const uint8_t *)text, .len = len};
}
#define BYTES(literal) bytes_of(literal, sizeof(literal) - 1)

static void unknown_kinds_are_skipped_and_bad_bytes_refused(void **state unused_ok)
{
    struct shard *sh = shard_new(&shard_machines, &config, 0, 1);
    struct view tombstone = {.ptr = NULL};
    /* Share and streams groups, and a kind of the future. */
    assert_int_equal(shard_replay(sh, -1, BYTES("\0\012\0\001g"), BYTES("\0\0\1")), 0);
    assert_int_equal(shard_replay(sh, -1, BYTES("\0\021\0\001g"), BYTES("\0\0\1")), 0);
    assert_int_equal(shard_replay(sh, -1, BYTES("\x7f\xff"), BYTES("?")), 0);
    assert_int_equal(shard_replay(sh, -1, BYTES("\xff\xff"), tombstone), 0);
    assert_int_equal(shard_replay(sh, -1, BYTES("\0"), tombstone), ERR_TRUNCATED);
    assert_int_equal(shard_replay(sh, -1, BYTES("\0\002\0\007g"), tombstone), ERR_TRUNCATED);
    /* A value without a version, one of a version above ours, one that ends early. */
    assert_int_equal(shard_replay(sh, -1, BYTES("\0\002\0\001g"), BYTES("")), ERR_TRUNCATED);
    assert_int_equal(shard_replay(sh, -1, BYTES("\0\002\0\001g"), BYTES("\0\x09")),
                     ERR_UNSUPPORTED);
    assert_int_equal(shard_replay(sh, -1, BYTES("\0\002\0\001g"), BYTES("\0\3\0\1c")),
                     ERR_TRUNCATED);
    assert_int_equal(sh->groups.count, 0);
    shard_free(sh);
}

static void offsets_of_the_oldest_kind_are_read(void **state unused_ok)
{
    struct shard *sh = shard_new(&shard_machines, &config, 0, 1);
    assert_int_equal(shard_replay(sh, -1, BYTES("\0\0\0\1g\0\1t\0\0\0\2"),
                                  BYTES("\0\0\0\0\0\0\0\0\0\x2a\0\2md\0\0\1\x8b\xcf\xe5\x68\0")),
                     0);
    assert_int_equal(offset_of(sh, "g", "t", 2), 42);
    assert_int_equal(
        shard_replay(sh, -1, BYTES("\0\0\0\1g\0\1t\0\0\0\2"), (struct view){.ptr = NULL}), 0);
    assert_int_equal(offset_of(sh, "g", "t", 2), -1);
    shard_free(sh);
}

static void a_transaction_counts_when_it_has_ended(void **state unused_ok)
{
    struct view key = BYTES("\0\1\0\1g\0\1t\0\0\0\0");
    struct view five = BYTES("\0\3\0\0\0\0\0\0\0\5\xff\xff\xff\xff\0\0\0\0\1\x8b\xcf\xe5\x68\0");
    struct view six = BYTES("\0\3\0\0\0\0\0\0\0\6\xff\xff\xff\xff\0\0\0\0\1\x8b\xcf\xe5\x68\0");
    struct shard *sh = shard_new(&shard_machines, &config, 0, 1);
    assert_int_equal(shard_replay(sh, 77, key, five), 0);
    assert_int_equal(shard_replay(sh, 78, key, six), 0);
    assert_int_equal(offset_of(sh, "g", "t", 0), -1);
    shard_replay_end_txn(sh, 78, false);
    assert_int_equal(offset_of(sh, "g", "t", 0), -1);
    shard_replay_end_txn(sh, 77, true);
    assert_int_equal(offset_of(sh, "g", "t", 0), 5);
    shard_free(sh);
}

static void memory_is_bounded_but_for_loading(void **state unused_ok)
{
    memory.max = 1000;
    struct shard *sh = shard_new(&shard_machines, &config, 0, 1);
    assert_true(shard_charge(sh, 5000)); /* it is in the log */
    shard_give(sh, 4500);
    struct list completed;
    shard_begin(sh, 1000, 1700000000000, &fixture_no_topics);
    shard_loaded(sh);
    end_event(sh, &completed);
    assert_true(shard_charge(sh, 400));
    assert_false(shard_charge(sh, 400));
    assert_int_equal(sh->charged, 900);
    shard_give(sh, 300);
    assert_true(shard_charge(sh, 400));
    shard_free(sh); /* gives the rest back: teardown looks */
}

static void answers_come_in_the_order_of_their_completion(void **state unused_ok)
{
    struct shard *sh = empty_shard();
    struct shard_call calls[3] = {0};
    struct list completed;
    shard_begin(sh, 1000, 1700000000000, &fixture_no_topics);
    shard_complete(sh, &calls[2]);
    shard_complete(sh, &calls[0]);
    shard_complete(sh, &calls[1]);
    end_event(sh, &completed);
    assert_ptr_equal(list_pop_front(&completed), &calls[2].link);
    assert_ptr_equal(list_pop_front(&completed), &calls[0].link);
    assert_ptr_equal(list_pop_front(&completed), &calls[1].link);
    assert_true(list_is_empty(&completed));
    assert_null(sh->topics);
    shard_free(sh);
}

static size_t fired;

static void fire(struct timer *t, void *ctx)
{
    struct shard *sh = ctx;
    fired++;
    if (fired < 3) {
        timers_arm(&sh->timers, t, sh->now_ms + 10);
    }
}

static void timers_fire_in_events(void **state unused_ok)
{
    struct shard *sh = empty_shard();
    struct list completed;
    struct timer t;
    fired = 0;
    timer_init(&t, fire, sh);
    int64_t none = shard_next_deadline(sh);
    timers_arm(&sh->timers, &t, 1100);
    assert_int_equal(shard_next_deadline(sh), 1100);
    for (int64_t now = 1100; now <= 1200; now += 5) {
        shard_begin(sh, now, 1700000000000, &fixture_no_topics);
        shard_run_timers(sh);
        end_event(sh, &completed);
    }
    assert_int_equal(fired, 3);
    assert_int_equal(shard_next_deadline(sh), none);
    shard_free(sh);
}

static void uuids_are_those_of_java(void **state unused_ok)
{
    struct shard *sh = empty_shard();
    char before[SHARD_JAVA_UUID_SIZE] = "";
    for (int i = 0; i < 100; i++) {
        char text[SHARD_JAVA_UUID_SIZE];
        shard_java_uuid(sh, text);
        assert_int_equal(strlen(text), 36);
        for (size_t k = 0; k < 36; k++) {
            bool is_dash = k == 8 || k == 13 || k == 18 || k == 23;
            assert_true(is_dash ? text[k] == '-' : strchr("0123456789abcdef", text[k]) != NULL);
        }
        assert_int_equal(text[14], '4');
        assert_non_null(strchr("89ab", text[19]));
        assert_string_not_equal(text, before);
        memcpy(before, text, sizeof(before));
    }
    shard_free(sh);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_record_has_the_bytes_that_kafka_writes, setup, teardown),
        cmocka_unit_test_setup_teardown(the_state_is_the_same_after_a_reload, setup, teardown),
        cmocka_unit_test_setup_teardown(large_records_come_out_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(unknown_kinds_are_skipped_and_bad_bytes_refused, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(offsets_of_the_oldest_kind_are_read, setup, teardown),
        cmocka_unit_test_setup_teardown(a_transaction_counts_when_it_has_ended, setup, teardown),
        cmocka_unit_test_setup_teardown(memory_is_bounded_but_for_loading, setup, teardown),
        cmocka_unit_test_setup_teardown(answers_come_in_the_order_of_their_completion, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(timers_fire_in_events, setup, teardown),
        cmocka_unit_test_setup_teardown(uuids_are_those_of_java, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
