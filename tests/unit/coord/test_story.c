/*
 * Stories of groups: what is kept of what the machines tell, within which bounds, and how it is
 * shown. Method: a shard with empty classic groups; the test tells the story itself, on a clock
 * that it moves, and reads the text, or the JSON back with the reader of wire/.
 */
#include "base/base.h"

#include "base/mem.h"
#include "coord/classic.h"
#include "coord/group.h"
#include "coord/shard.h"
#include "coord/shard_machines.h"
#include "coord/story.h"
#include "coord/story_print.h"
#include "unit.h"
#include "wire/json_reader.h"

#define BEGIN_MS INT64_C(1000000)
#define WALL_MS  INT64_C(1767225600000) /* 2026-01-01T00:00:00Z */
#define MEMBER   "consumer-app-1-0f8fad5b-d9cb-469f-a165-70867728950e"

struct bench {
    struct shard_config config;
    struct mem_budget memory;
    struct shard *sh;
    struct group *g;
    struct arena arena;
    int64_t now_ms;
};

static void at(struct bench *b, int64_t ms)
{
    b->now_ms = BEGIN_MS + ms;
    shard_begin(b->sh, b->now_ms, WALL_MS + ms, NULL);
}

static void set_up(struct bench *b)
{
    *b = (struct bench){
        .config = {.max_size = 100,
                   .offsets_retention_ms = 1000,
                   .offsets_retention_check_interval_ms = 1000},
        .memory = {.max = 0},
    };
    b->config.memory = &b->memory;
    b->sh = shard_new(&shard_machines, &b->config, 0, 1);
    at(b, 0);
    shard_loaded(b->sh);
    b->g = group_add_classic(b->sh, STR("g"));
}

static void tear_down(struct bench *b)
{
    group_remove(b->sh, b->g);
    struct list done;
    list_init(&done);
    shard_take_completed(b->sh, &done);
    assert_int_equal(b->sh->charged, 0); /* what stories took they have given back */
    shard_free(b->sh);
    assert_int_equal(b->memory.used, 0);
    arena_release(&b->arena);
}

static void begin(struct bench *b, enum story_cause cause, const char *member, const char *detail)
{
    story_begin(b->sh, b->g, cause, str_from(member), str_from(detail));
}

static void event(struct bench *b, enum story_event_kind kind, const char *member)
{
    story_event(b->sh, b->g, kind, str_from(member), (struct str){0});
}

static void step(struct bench *b, enum story_step what, int32_t epoch)
{
    story_step(b->sh, b->g, what, epoch);
}

static const char *keep(struct bench *b, struct str s)
{
    const char *kept = arena_strdup(&b->arena, s).ptr;
    assert_non_null(kept);
    return kept;
}

static const char *text(struct bench *b)
{
    struct str s;
    assert_true(story_explain(b->sh, STR("g"), false, &b->arena, &s));
    return keep(b, s);
}

/* As JSON; whether it is, too. */
static const char *json(struct bench *b)
{
    struct str s;
    struct json_reader jr;
    assert_true(story_explain(b->sh, STR("g"), true, &b->arena, &s));
    json_reader_init(&jr, s, &b->arena);
    json_reader_skip(&jr);
    assert_null(jr.failed);
    assert_int_equal(json_reader_peek(&jr), 0); /* nothing behind it */
    return keep(b, s);
}

static void assert_has(const char *all, const char *part)
{
    if (strstr(all, part) == NULL) {
        print_error("'%s' is not in\n%s\n", part, all == NULL ? "" : all);
        fail();
    }
}

static void assert_lacks(const char *all, const char *part)
{
    if (strstr(all, part) != NULL) {
        print_error("'%s' is in\n%s\n", part, all == NULL ? "" : all);
        fail();
    }
}

static size_t count(const char *all, const char *part)
{
    size_t n = 0;
    for (const char *p = strstr(all, part); p != NULL; p = strstr(p + 1, part)) {
        n++;
    }
    return n;
}

/* What a group of one member goes through when it joins. */
static void join_once(struct bench *b, const char *member)
{
    begin(b, STORY_NEW_MEMBER, member, "rebalance enforced by the user");
    event(b, STORY_JOINED, member);
    step(b, STORY_STEP_JOINING, 0);
    at(b, b->now_ms - BEGIN_MS + 3000);
    step(b, STORY_STEP_SYNCING, 1);
    at(b, b->now_ms - BEGIN_MS + 5);
    event(b, STORY_SYNCED, member);
    step(b, STORY_STEP_STABLE, 1);
}

static void a_group_that_joined_once_costs_little(void **state)
{
    (void)state;
    struct bench b;
    set_up(&b);
    int64_t before = b.sh->charged;
    join_once(&b, MEMBER);
    assert_true(b.sh->charged > before);
    assert_true(b.sh->charged - before < 400);
    tear_down(&b);
}

static void the_timeline_is_told_in_full(void **state)
{
    (void)state;
    struct bench b;
    set_up(&b);
    assert_string_equal(text(&b), "Group g: classic, Empty, generation 0\n"
                                  "\n"
                                  "Timeline\n"
                                  "  No rebalance since this coordinator has begun.\n"
                                  "\n"
                                  "Members: 0\n");
    join_once(&b, "a");
    at(&b, 60000);
    event(&b, STORY_EXPIRED, "a");
    begin(&b, STORY_SESSION_TIMEOUT, "a", NULL);
    step(&b, STORY_STEP_JOINING, 1);
    at(&b, 60250);
    assert_string_equal(text(&b),
                        "Group g: classic, Empty, generation 0\n"
                        "\n"
                        "Timeline\n"
                        "  Rebalance 1, began 2026-01-01T00:00:00.000Z, took 3.005 s\n"
                        "    +0.000 s  cause: new-member a: rebalance enforced by the user\n"
                        "    +0.000 s  joined a\n"
                        "    +0.000 s  joining (0), took 3.000 s\n"
                        "    +3.000 s  syncing (1), took 0.005 s; waited longest for a (0.005 s)\n"
                        "    +3.005 s  synced a\n"
                        "    +3.005 s  stable (1)\n"
                        "  Rebalance 2, began 2026-01-01T00:01:00.000Z, runs since 0.250 s\n"
                        "    +0.000 s  cause: session-timeout a\n"
                        "    +0.000 s  expired a\n"
                        "    +0.000 s  joining (1), since 0.250 s\n"
                        "\n"
                        "Members: 0\n");
    const char *j = json(&b);
    assert_has(j, "\"rebalances_total\":2");
    assert_has(j, "\"began_at\":\"2026-01-01T00:01:00.000Z\",\"began_at_ms\":1767225660000,"
                  "\"duration_ms\":null,\"is_running\":true,\"running_ms\":250");
    assert_has(j, "{\"step\":\"joining\",\"after_ms\":0,\"epoch\":0,\"duration_ms\":3000,"
                  "\"waited_for\":[]}");
    tear_down(&b);
}

static void a_cause_joins_the_rebalance_that_runs(void **state)
{
    (void)state;
    struct bench b;
    set_up(&b);
    begin(&b, STORY_NEW_MEMBER, "a", NULL);
    step(&b, STORY_STEP_JOINING, 0);
    at(&b, 10);
    begin(&b, STORY_MEMBER_LEFT, "b", "closed");
    step(&b, STORY_STEP_STABLE, 1);
    begin(&b, STORY_TOPICS_CHANGED, NULL, "orders");
    const char *t = text(&b);
    assert_int_equal(count(t, "Rebalance "), 2);
    assert_has(t, "    +0.010 s  cause: member-left b: closed\n");
    assert_has(t, "    +0.000 s  cause: topics-changed: orders\n");
    tear_down(&b);
}

static void whoever_came_last_was_waited_for(void **state)
{
    (void)state;
    struct bench b;
    set_up(&b);
    begin(&b, STORY_NEW_MEMBER, "a", NULL);
    step(&b, STORY_STEP_JOINING, 4);
    event(&b, STORY_JOINED, "a"); /* at once: nobody waited */
    static const char *const members[] = {"b", "c", "d", "e"};
    for (size_t i = 0; i < ARRAY_LEN(members); i++) {
        at(&b, 1000 * (int64_t)(i + 1));
        event(&b, STORY_REJOINED, members[i]);
    }
    at(&b, 9000);
    event(&b, STORY_EXPIRED, "f");
    step(&b, STORY_STEP_SYNCING, 5);
    at(&b, 9001);
    event(&b, STORY_REJOINED, "a"); /* not what this step waits for */
    step(&b, STORY_STEP_STABLE, 5);
    assert_has(text(&b), "joining (4), took 9.000 s; waited longest for f (9.000 s, in vain), e "
                         "(4.000 s), d (3.000 s)\n");
    assert_has(text(&b), "syncing (5), took 0.001 s\n");
    assert_has(json(&b), "\"waited_for\":[{\"member_id\":\"f\",\"waited_ms\":9000,"
                         "\"in_vain\":true},{\"member_id\":\"e\",\"waited_ms\":4000,"
                         "\"in_vain\":false}");
    tear_down(&b);
}

static void events_behind_the_end_stay_unless_they_are_reasons(void **state)
{
    (void)state;
    struct bench b;
    set_up(&b);
    event(&b, STORY_FENCED, "early");
    at(&b, 5);
    event(&b, STORY_LEFT, "a");
    begin(&b, STORY_MEMBER_LEFT, "a", NULL);
    step(&b, STORY_STEP_STABLE, 1);
    at(&b, 10);
    event(&b, STORY_JOINED, "static");
    at(&b, 20);
    event(&b, STORY_EXPIRED, "c");
    event(&b, STORY_NOTE, "d");
    begin(&b, STORY_SESSION_TIMEOUT, "c", NULL);
    const char *t = text(&b);
    assert_has(t, "  Before the first rebalance, from 2026-01-01T00:00:00.000Z\n"
                  "    +0.000 s  fenced early\n"
                  "  Rebalance 1, began 2026-01-01T00:00:00.005Z, took 0.000 s\n"
                  "    +0.000 s  cause: member-left a\n"
                  "    +0.000 s  left a\n"
                  "    +0.000 s  stable (1)\n"
                  "    +0.005 s  joined static\n"
                  "  Rebalance 2, began 2026-01-01T00:00:00.020Z, runs since 0.000 s\n"
                  "    +0.000 s  cause: session-timeout c\n"
                  "    +0.000 s  expired c\n"
                  "    +0.000 s  note d\n");
    (void)json(&b);
    tear_down(&b);
}

static void only_the_last_rebalances_are_remembered(void **state)
{
    (void)state;
    struct bench b;
    set_up(&b);
    for (int i = 0; i < 3 * STORY_REBALANCES_MAX; i++) {
        at(&b, i * 1000);
        join_once(&b, "a");
    }
    const char *t = text(&b);
    assert_int_equal(count(t, "Rebalance "), STORY_REBALANCES_MAX);
    assert_lacks(t, "Rebalance 16,");
    assert_has(t, "Rebalance 17,");
    assert_has(t, "Rebalance 24,");
    assert_has(json(&b), "\"rebalances_total\":24");
    tear_down(&b);
}

static void too_many_events_are_counted_but_the_last_of_each_step_is_kept(void **state)
{
    (void)state;
    struct bench b;
    char name[32];
    set_up(&b);
    begin(&b, STORY_NEW_MEMBER, "m", NULL);
    step(&b, STORY_STEP_JOINING, 0);
    for (int i = 0; i < 1000; i++) {
        at(&b, 1 + i);
        snprintf(name, sizeof(name), "joins-%d", i);
        event(&b, STORY_REJOINED, name);
        begin(&b, STORY_NEW_MEMBER, name, NULL);
    }
    step(&b, STORY_STEP_SYNCING, 1);
    for (int i = 0; i < 1000; i++) {
        at(&b, 2000 + i);
        snprintf(name, sizeof(name), "syncs-%d", i);
        event(&b, STORY_SYNCED, name);
    }
    step(&b, STORY_STEP_STABLE, 1);
    for (int i = 0; i < 1000; i++) {
        at(&b, 4000 + i);
        event(&b, STORY_NOTE, "later");
    }
    const char *t = text(&b);
    assert_has(t, "waited longest for joins-999 (1.000 s)");
    assert_has(t, "waited longest for syncs-999 (1.999 s)");
    assert_true(count(t, "\n") < 120);
    assert_has(json(&b), "\"causes_forgotten\":985,\"events_forgotten\":2936");
    assert_true(b.sh->charged < 8000);
    tear_down(&b);
}

static void a_rebalance_without_end_gives_way_to_the_next(void **state)
{
    (void)state;
    struct bench b;
    set_up(&b);
    for (int i = 0; i < 40; i++) {
        at(&b, i * 10000);
        begin(&b, STORY_TOPICS_CHANGED, NULL, "t");
        step(&b, STORY_STEP_ASSIGNED, i);
    }
    const char *t = text(&b);
    assert_has(t, "went over into the next one");
    assert_has(t, "Rebalance 3, began 2026-01-01T00:05:20.000Z, runs since 70.000 s\n");
    tear_down(&b);
}

static void texts_of_clients_are_cut_and_escaped(void **state)
{
    (void)state;
    struct bench b;
    char long_name[1000];
    memset(long_name, 'x', sizeof(long_name) - 1);
    long_name[sizeof(long_name) - 1] = '\0';
    set_up(&b);
    begin(&b, STORY_NEW_MEMBER, long_name, "\"quoted\"\\\x1b[31m\n\xc3\xbc\xff\xe2\x82");
    event(&b, STORY_JOINED, "");
    event(&b, STORY_NOTE, NULL);
    const char *t = text(&b);
    assert_has(t, "\"quoted\"\\x5c\\x1b[31m\\x0a\\xc3\\xbc\\xff\\xe2\\x82\n");
    assert_int_equal(count(t, "x") > 130, true);
    assert_true(strlen(t) < 700);
    assert_has(json(&b), "\"detail\":\"\\\"quoted\\\"\\\\\\u001b[31m\\u000a\xc3\xbc"
                         "\\ufffd\\ufffd\\ufffd\"");
    assert_has(json(&b), "{\"event\":\"joined\",\"after_ms\":0,\"member_id\":\"\","
                         "\"detail\":null}");
    assert_has(json(&b), "{\"event\":\"note\",\"after_ms\":0,\"member_id\":null,");
    tear_down(&b);
}

static void where_memory_is_short_the_past_goes_first(void **state)
{
    (void)state;
    struct bench b;
    set_up(&b);
    b.memory.max = b.memory.used + 1200;
    for (int i = 0; i < 20; i++) {
        at(&b, i * 10000);
        join_once(&b, MEMBER);
    }
    assert_true(b.memory.used <= b.memory.max);
    assert_has(text(&b), "Some of the past was forgotten, because memory was short.\n");
    assert_has(text(&b), "Rebalance 20,");
    assert_has(json(&b), "\"is_incomplete\":true");
    b.memory.max = b.memory.used; /* nothing more at all */
    at(&b, 1000000);
    join_once(&b, "another");
    assert_true(b.memory.used <= b.memory.max);
    (void)text(&b);
    tear_down(&b);
}

static void without_any_memory_there_is_no_story(void **state)
{
    (void)state;
    struct bench b;
    set_up(&b);
    b.memory.max = b.memory.used;
    join_once(&b, "a");
    assert_null(b.g->story);
    assert_has(text(&b), "No rebalance since this coordinator has begun.");
    (void)json(&b);
    tear_down(&b);
}

static void an_unknown_group_has_none(void **state)
{
    (void)state;
    struct bench b;
    set_up(&b);
    struct str s;
    assert_false(story_explain(b.sh, STR("other"), false, &b.arena, &s));
    tear_down(&b);
}

static void members_own_what_the_leaders_bytes_say(void **state)
{
    (void)state;
    struct bench b;
    set_up(&b);
    /* version 1; t1: 3, 0, 1, 7; no user data */
    static const uint8_t assignment[] =
        "\0\1\0\0\0\1\0\2t1\0\0\0\4\0\0\0\3\0\0\0\0\0\0\0\1\0\0\0\7\377\377\377\377";
    static const uint8_t strange[] = {0xff, 0xff, 1};
    struct classic_protocol protocol = {.name = STR("range"), .metadata = {(const uint8_t *)"", 0}};
    struct classic_member like = {
        .id = STR("m1"),
        .instance_id = STR("i\n1"),
        .client_id = STR("app"),
        .client_host = STR("/127.0.0.1"),
        .protocol_type = STR("consumer"),
        .rebalance_timeout_ms = 1000,
        .session_timeout_ms = 1000,
        .protocols = &protocol,
        .protocols_count = 1,
        .assignment = {assignment, sizeof(assignment) - 1},
    };
    assert_non_null(classic_member_add(b.g->classic, &like));
    like.id = STR("m2");
    like.instance_id = (struct str){0};
    like.assignment = (struct view){strange, sizeof(strange)};
    assert_non_null(classic_member_add(b.g->classic, &like));
    const char *t = text(&b);
    assert_has(t, "    m1, leader, stable\n"
                  "      client app, host /127.0.0.1, instance i\\x0a1\n"
                  "      owns t1: 0-1, 3, 7\n");
    assert_has(t, "      owns what 3 bytes say\n");
    assert_has(json(&b), "\"owns\":[{\"topic\":\"t1\",\"partitions\":[0,1,3,7]}]");
    assert_has(json(&b), "\"unread_assignment_bytes\":3");
    tear_down(&b);
}

/* Anything in any order, with memory that is short now and then. */
static void any_story_can_be_told(void **state)
{
    (void)state;
    struct bench b;
    struct rng rng;
    static const char *const names[] = {"a", "b", MEMBER, "", NULL, "0123456789", "xy"};
    rng_init(&rng, 7);
    for (int round = 0; round < 60; round++) {
        set_up(&b);
        int64_t ms = 0;
        for (int i = 0; i < 2000; i++) {
            const char *member = names[rng_next(&rng) % ARRAY_LEN(names)];
            ms += rng_next(&rng) % 8 == 0 ? (int64_t)(rng_next(&rng) % 30000) : 0;
            at(&b, ms);
            b.memory.max =
                rng_next(&rng) % 4 == 0 ? b.memory.used + (int64_t)(rng_next(&rng) % 2000) : 0;
            switch (rng_next(&rng) % (round % 2 == 0 ? 8 : 30)) {
            case 0:
                begin(&b, (enum story_cause)(rng_next(&rng) % 12), member, "why");
                break;
            case 1:
                step(&b, (enum story_step)(rng_next(&rng) % 4), i);
                break;
            default:
                event(&b, (enum story_event_kind)(rng_next(&rng) % 10), member);
                break;
            }
            if (i % 200 == 0) {
                (void)text(&b);
                (void)json(&b);
                arena_reset(&b.arena);
            }
        }
        assert_true(b.sh->charged < 150000);
        tear_down(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_group_that_joined_once_costs_little),
        cmocka_unit_test(the_timeline_is_told_in_full),
        cmocka_unit_test(a_cause_joins_the_rebalance_that_runs),
        cmocka_unit_test(whoever_came_last_was_waited_for),
        cmocka_unit_test(events_behind_the_end_stay_unless_they_are_reasons),
        cmocka_unit_test(only_the_last_rebalances_are_remembered),
        cmocka_unit_test(too_many_events_are_counted_but_the_last_of_each_step_is_kept),
        cmocka_unit_test(a_rebalance_without_end_gives_way_to_the_next),
        cmocka_unit_test(texts_of_clients_are_cut_and_escaped),
        cmocka_unit_test(where_memory_is_short_the_past_goes_first),
        cmocka_unit_test(without_any_memory_there_is_no_story),
        cmocka_unit_test(an_unknown_group_has_none),
        cmocka_unit_test(members_own_what_the_leaders_bytes_say),
        cmocka_unit_test(any_story_can_be_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
