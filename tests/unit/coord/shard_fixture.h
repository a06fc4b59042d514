/*
 * What every test that drives a shard by hand needs: a configuration, a world without topics, the
 * records of a log, and the end of calls that nobody looks at.
 */
#ifndef TESTS_SHARD_FIXTURE_H
#define TESTS_SHARD_FIXTURE_H

#include "base/base.h"

#include "base/mem.h"
#include "coord/shard.h"
#include "coord/shard_machines.h"
#include "unit.h"

/* ---- no topics ---- */

static unused_ok bool
fixture_no_name(void *ctx unused_ok, struct str name unused_ok, struct shard_topic *ret unused_ok)
{
    return false;
}

static unused_ok bool fixture_no_id(void *ctx unused_ok,
                                    const struct uuid *id unused_ok,
                                    struct shard_topic *ret unused_ok)
{
    return false;
}

static unused_ok void fixture_no_each(void *ctx unused_ok,
                                      bool (*visit)(void *visit_ctx, const struct shard_topic *t)
                                          unused_ok,
                                      void *visit_ctx unused_ok)
{
}

static unused_ok size_t fixture_no_racks(void *ctx unused_ok,
                                         const struct shard_topic *t unused_ok,
                                         int32_t partition unused_ok,
                                         struct str *ret unused_ok,
                                         size_t max unused_ok)
{
    return 0;
}

static unused_ok const struct shard_topics fixture_no_topics = {
    .by_name = fixture_no_name,
    .by_id = fixture_no_id,
    .each = fixture_no_each,
    .racks = fixture_no_racks,
    .version = 1,
};

/* ---- configuration ---- */

/* The targets of consumer groups follow at once. */
static unused_ok void
fixture_settings(void *ctx unused_ok, struct str group unused_ok, struct group_settings *ret)
{
    *ret = (struct group_settings){.session_timeout_ms = 45000, .heartbeat_interval_ms = 5000};
}

/* Kafka's defaults, but no delay of the first rebalance. */
static unused_ok struct shard_config fixture_config(void)
{
    return (struct shard_config){
        .min_session_timeout_ms = 6000,
        .max_session_timeout_ms = 1800000,
        .max_size = INT32_MAX,
        .new_member_join_timeout_ms = 300000,
        .consumer_max_size = INT32_MAX,
        .assignors = {STR("uniform"), STR("range")},
        .assignors_count = 2,
        .migration_policy = MIGRATION_BIDIRECTIONAL,
        .regex_refresh_interval_ms = 600000,
        .offset_metadata_max_bytes = 4096,
        .offsets_retention_ms = INT64_C(7) * 24 * 3600 * 1000,
        .offsets_retention_check_interval_ms = 600000,
        .settings = fixture_settings,
    };
}

/* ---- the log ---- */

struct rig_record {
    struct view key;
    struct view value;
};

/* Null stays null. */
static unused_ok struct view fixture_keep(struct arena *arena, struct view v)
{
    struct str copy = arena_strdup(arena, str_of((const char *)v.ptr, v.len));
    return (struct view){.ptr = (const uint8_t *)copy.ptr, .len = copy.len};
}

static unused_ok void
fixture_replay(struct shard *sh, const struct rig_record *records, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(shard_replay(sh, -1, records[i].key, records[i].value), 0);
    }
}

/* Takes the completed calls away; returns how many there were. */
static unused_ok size_t fixture_drop_completed(struct shard *sh)
{
    struct list done;
    size_t count = 0;
    list_init(&done);
    shard_take_completed(sh, &done);
    while (list_pop_front(&done) != NULL) {
        count++;
    }
    return count;
}

#endif
