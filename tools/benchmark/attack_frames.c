/* What hostile clients send; see attack_frames.h. */
#include "benchmark/attack_frames.h"

#include "base/bytes.h"
#include "base/mem.h"
#include "wire/batch.h"
#include "wire/codec.h"
#include "wire/compress.h"
#include "wire/gen/api.h"
#include "wire/gen/messages.h"

#include <time.h>

#define CLIENT_ID "hostile"

static void add_rope(struct buf *b, struct rope *rope)
{
    for (struct rope_run *run; (run = rope_first(rope)) != NULL;) {
        buf_bytes(b, run->ptr, run->len);
        rope_consume(rope, run->len);
    }
    rope_release(rope);
}

static size_t begin(struct buf *b, int16_t key, int16_t version)
{
    size_t start = b->len;
    buf_i32(b, 0);
    buf_i16(b, key);
    buf_i16(b, version);
    buf_i32(b, 0);
    buf_i16(b, (int16_t)strlen(CLIENT_ID));
    buf_bytes(b, CLIENT_ID, strlen(CLIENT_ID));
    if (api_request_header_version(key, version) >= 2) {
        buf_i8(b, 0);
    }
    return start;
}

static void end(struct buf *b, size_t start)
{
    store_be32(b->bytes + start, (uint32_t)(b->len - start - 4));
}

static void add(struct buf *b, int16_t key, int16_t version, void *body)
{
    size_t start = begin(b, key, version);
    struct writer w;
    writer_init(&w);
    check(codec_encode(api_request_msg(key), version, body, &w) >= 0);
    struct rope rope;
    writer_finish(&w, &rope);
    add_rope(b, &rope);
    writer_release(&w);
    end(b, start);
}

static int64_t wall_ms(void)
{
    struct timespec now;
    check(clock_gettime(CLOCK_REALTIME, &now) == 0);
    return now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000;
}

/* A batch of `count` equal records. */
static void add_batch(struct buf *b, enum codec_type codec, int32_t count, size_t value_bytes)
{
    struct batch_builder bb;
    static const int levels[] = {[CODEC_GZIP] = 6, [CODEC_LZ4] = 9, [CODEC_ZSTD] = 3};
    batch_builder_init(&bb, codec, levels[codec]);
    int64_t now_ms = wall_ms();
    uint8_t *value = mem_zalloc(value_bytes + 1);
    for (int32_t i = 0; i < count; i++) {
        batch_builder_add(&bb, now_ms, (struct view){0},
                          (struct view){.ptr = value, .len = value_bytes});
    }
    mem_free(value);
    struct blob *blob;
    size_t size;
    check(batch_builder_finish(&bb, &blob, &size) >= 0);
    batch_builder_release(&bb);
    buf_bytes(b, blob->data, size);
    blob_unref(blob);
}

static void add_produce_of(struct buf *b, const char *topic, const struct buf *batch, int16_t acks)
{
    struct produce_request body;
    msg_init(api_request_msg(API_KEY_PRODUCE), &body);
    struct produce_request_topic_produce_data td = produce_request_topic_produce_data_default;
    struct produce_request_partition_produce_data pd =
        produce_request_partition_produce_data_default;
    body.acks = acks;
    body.timeout_ms = 30000;
    body.topic_data.items = &td;
    body.topic_data.count = 1;
    td.name = str_from(topic);
    td.partition_data.items = &pd;
    td.partition_data.count = 1;
    pd.records = (struct records){.ptr = batch->bytes, .len = batch->len};
    add(b, API_KEY_PRODUCE, 12, &body);
}

static void add_produce(struct buf *b, enum codec_type codec, int32_t count, size_t value_bytes)
{
    struct buf batch = {0};
    add_batch(&batch, codec, count, value_bytes);
    add_produce_of(b, "hostile-0", &batch, -1);
    buf_release(&batch);
}

/* ---- asking ---- */

/* Partitions [0, count) of a topic, or topics NAME-0..NAME-count-1 with one partition each. */
struct fetch_shape {
    const char *name;
    bool is_topics;
    int32_t count;
    int32_t max_wait_ms;
    int32_t min_bytes;
    int32_t session_epoch;
    int64_t offset;
};

static void add_fetch(struct buf *b, const struct fetch_shape *fs)
{
    struct arena arena;
    arena_init(&arena, 0);
    struct fetch_request body;
    msg_init(api_request_msg(API_KEY_FETCH), &body);
    body.max_wait_ms = fs->max_wait_ms;
    body.min_bytes = fs->min_bytes;
    body.max_bytes = 1 << 20;
    body.session_epoch = fs->session_epoch;
    body.rack_id = STR("");
    int32_t topics = fs->is_topics ? fs->count : 1;
    int32_t partitions = fs->is_topics ? 1 : fs->count;
    body.topics.items = codec_array(&arena, fetch_request_fetch_topic, (size_t)topics);
    body.topics.count = topics;
    for (int32_t i = 0; i < topics; i++) {
        struct fetch_request_fetch_topic *ft = &body.topics.items[i];
        ft->topic = fs->is_topics ? arena_printf(&arena, "%s-%d", fs->name, i)
                                  : arena_printf(&arena, "%s", fs->name);
        ft->partitions.items =
            codec_array(&arena, fetch_request_fetch_partition, (size_t)partitions);
        ft->partitions.count = partitions;
        for (int32_t k = 0; k < partitions; k++) {
            ft->partitions.items[k].partition = k;
            ft->partitions.items[k].fetch_offset = fs->offset;
            ft->partitions.items[k].partition_max_bytes = 1 << 20;
        }
    }
    add(b, API_KEY_FETCH, 12, &body);
    arena_release(&arena);
}

void frames_fetch_megabyte(struct buf *b)
{
    add_fetch(b, &(struct fetch_shape){.name = "hostile-0", .count = 1, .session_epoch = -1});
}

void frames_fetch_many(struct buf *b)
{
    add_fetch(b, &(struct fetch_shape){
                     .name = "many", .is_topics = true, .count = MANY_TOPICS, .session_epoch = -1});
    add_fetch(
        b, &(struct fetch_shape){.name = "wide-0", .count = WIDE_PARTITIONS, .session_epoch = -1});
}

/* New sessions without end. */
void frames_fetch_sessions(struct buf *b)
{
    add_fetch(b, &(struct fetch_shape){.name = "many", .is_topics = true, .count = MANY_TOPICS});
}

/* Waits for what never comes, on partitions nobody writes to. */
void frames_fetch_parked(struct buf *b)
{
    add_fetch(b, &(struct fetch_shape){.name = "many",
                                       .is_topics = true,
                                       .count = 300,
                                       .max_wait_ms = 60000,
                                       .min_bytes = 1,
                                       .session_epoch = -1});
}

/* Waits on the good client's partition (its end is never reached): woken by each of its records. */
void frames_fetch_wakened(struct buf *b)
{
    add_fetch(b, &(struct fetch_shape){.name = "good-0",
                                       .count = 1,
                                       .max_wait_ms = 60000,
                                       .min_bytes = INT32_MAX,
                                       .session_epoch = -1});
}

void frames_api_versions(struct buf *b)
{
    for (int i = 0; i < 500; i++) {
        size_t start = begin(b, API_KEY_API_VERSIONS, 0);
        end(b, start);
    }
}

void frames_metadata_all(struct buf *b)
{
    struct metadata_request body;
    msg_init(api_request_msg(API_KEY_METADATA), &body);
    body.topics.count = -1;
    body.include_topic_authorized_operations = true;
    add(b, API_KEY_METADATA, 12, &body);
}

static void add_metadata(struct buf *b, const char *name, int32_t count, int32_t modulus)
{
    struct arena arena;
    arena_init(&arena, 0);
    struct metadata_request body;
    msg_init(api_request_msg(API_KEY_METADATA), &body);
    body.topics.items = codec_array(&arena, metadata_request_metadata_request_topic, (size_t)count);
    body.topics.count = count;
    body.allow_auto_topic_creation = false;
    for (int32_t i = 0; i < count; i++) {
        body.topics.items[i].name = arena_printf(&arena, "%s-%d", name, i % modulus);
    }
    add(b, API_KEY_METADATA, 12, &body);
    arena_release(&arena);
}

void frames_metadata_names(struct buf *b)
{
    add_metadata(b, "many", MANY_TOPICS, MANY_TOPICS);
    add_metadata(b, "wide", 2000, 1); /* a thousand partitions, asked for again and again */
    add_metadata(b, "nothing", MANY_TOPICS, MANY_TOPICS);
}

void frames_topic_pages(struct buf *b)
{
    struct describe_topic_partitions_request body;
    msg_init(api_request_msg(API_KEY_DESCRIBE_TOPIC_PARTITIONS), &body);
    body.response_partition_limit = 2000;
    add(b, API_KEY_DESCRIBE_TOPIC_PARTITIONS, 0, &body);
}

void frames_configs_all(struct buf *b)
{
    struct arena arena;
    arena_init(&arena, 0);
    struct describe_configs_request body;
    msg_init(api_request_msg(API_KEY_DESCRIBE_CONFIGS), &body);
    body.resources.items =
        codec_array(&arena, describe_configs_request_describe_configs_resource, MANY_TOPICS + 1);
    body.resources.count = MANY_TOPICS + 1;
    body.include_synonyms = true;
    body.include_documentation = true;
    for (int32_t i = 0; i < MANY_TOPICS; i++) {
        body.resources.items[i].resource_type = 2;
        body.resources.items[i].resource_name = arena_printf(&arena, "many-%d", i);
        body.resources.items[i].configuration_keys.count = -1;
    }
    body.resources.items[MANY_TOPICS].resource_type = 4;
    body.resources.items[MANY_TOPICS].resource_name = STR("1");
    body.resources.items[MANY_TOPICS].configuration_keys.count = -1;
    add(b, API_KEY_DESCRIBE_CONFIGS, 4, &body);
    arena_release(&arena);
}

void frames_log_dirs_all(struct buf *b)
{
    struct describe_log_dirs_request body;
    msg_init(api_request_msg(API_KEY_DESCRIBE_LOG_DIRS), &body);
    body.topics.count = -1;
    add(b, API_KEY_DESCRIBE_LOG_DIRS, 4, &body);
}

static void add_list_offsets(struct buf *b, int64_t timestamp)
{
    struct arena arena;
    arena_init(&arena, 0);
    struct list_offsets_request body;
    msg_init(api_request_msg(API_KEY_LIST_OFFSETS), &body);
    body.replica_id = -1;
    body.topics.items = codec_array(&arena, list_offsets_request_list_offsets_topic, MANY_TOPICS);
    body.topics.count = MANY_TOPICS;
    struct list_offsets_request_list_offsets_partition lp =
        list_offsets_request_list_offsets_partition_default;
    lp.timestamp = timestamp;
    for (int32_t i = 0; i < MANY_TOPICS; i++) {
        body.topics.items[i].name = arena_printf(&arena, "many-%d", i);
        body.topics.items[i].partitions.items = &lp;
        body.topics.items[i].partitions.count = 1;
    }
    add(b, API_KEY_LIST_OFFSETS, 8, &body);
    arena_release(&arena);
}

static void add_epochs(struct buf *b)
{
    struct arena arena;
    arena_init(&arena, 0);
    struct offset_for_leader_epoch_request body;
    msg_init(api_request_msg(API_KEY_OFFSET_FOR_LEADER_EPOCH), &body);
    body.replica_id = -1;
    body.topics.items =
        codec_array(&arena, offset_for_leader_epoch_request_offset_for_leader_topic, MANY_TOPICS);
    body.topics.count = MANY_TOPICS;
    struct offset_for_leader_epoch_request_offset_for_leader_partition ep =
        offset_for_leader_epoch_request_offset_for_leader_partition_default;
    for (int32_t i = 0; i < MANY_TOPICS; i++) {
        body.topics.items[i].topic = arena_printf(&arena, "many-%d", i);
        body.topics.items[i].partitions.items = &ep;
        body.topics.items[i].partitions.count = 1;
    }
    add(b, API_KEY_OFFSET_FOR_LEADER_EPOCH, 4, &body);
    arena_release(&arena);
}

void frames_offsets_many(struct buf *b)
{
    add_list_offsets(b, -1);
    add_list_offsets(b, 0);
    add_epochs(b);
}

void frames_unknown_partitions(struct buf *b)
{
    add_fetch(b, &(struct fetch_shape){.name = "nowhere",
                                       .is_topics = true,
                                       .count = 10000,
                                       .max_wait_ms = 100,
                                       .session_epoch = -1});
    add_fetch(b, &(struct fetch_shape){
                     .name = "hostile-0", .count = 10000, .max_wait_ms = 100, .session_epoch = -1});
    add_metadata(b, "nowhere", 10000, 10000);
    struct arena arena;
    arena_init(&arena, 0);
    struct produce_request body;
    msg_init(api_request_msg(API_KEY_PRODUCE), &body);
    struct produce_request_topic_produce_data td = produce_request_topic_produce_data_default;
    struct buf batch = {0};
    add_batch(&batch, CODEC_NONE, 1, 1);
    body.acks = 1;
    body.timeout_ms = 30000;
    body.topic_data.items = &td;
    body.topic_data.count = 1;
    td.name = STR("hostile-0");
    td.partition_data.items = codec_array(&arena, produce_request_partition_produce_data, 10000);
    td.partition_data.count = 10000;
    for (int32_t i = 0; i < 10000; i++) {
        td.partition_data.items[i].index = i + 1;
        td.partition_data.items[i].records = (struct records){.ptr = batch.bytes, .len = batch.len};
    }
    add(b, API_KEY_PRODUCE, 12, &body);
    buf_release(&batch);
    arena_release(&arena);
}

/* ---- bytes ---- */

/* Requests that decode to as many elements as their bytes allow. */
void frames_many_elements(struct buf *b)
{
    size_t start = begin(b, API_KEY_METADATA, 12);
    uint32_t count = 900000;
    buf_uvarint(b, count + 1);
    memset(buf_room(b, count * 18), 0, count * 18); /* an id, a null name, no tags */
    buf_i8(b, 0);
    buf_i8(b, 0);
    buf_i8(b, 0);
    end(b, start);

    start = begin(b, API_KEY_DELETE_RECORDS, 0);
    buf_i32(b, 500000);
    for (uint32_t i = 0; i < 500000; i++) {
        buf_i16(b, 0);
        buf_i32(b, 0);
    }
    buf_i32(b, 0);
    end(b, start);

    start = begin(b, API_KEY_PRODUCE, 8);
    buf_i16(b, -1);
    buf_i16(b, 1);
    buf_i32(b, 1000);
    buf_i32(b, 500000);
    for (uint32_t i = 0; i < 500000; i++) {
        buf_i16(b, 0);
        buf_i32(b, 0);
    }
    end(b, start);
}

/* Counts and lengths that are not true; each ends its connection. */
void frames_lying_counts(struct buf *b)
{
    size_t start = begin(b, API_KEY_METADATA, 3);
    buf_i32(b, 2000000000);
    end(b, start);
}

/* ---- changing ---- */

static void add_creation(struct buf *b, const char *name, int32_t count, int32_t partitions)
{
    struct arena arena;
    arena_init(&arena, 0);
    struct create_topics_request body;
    msg_init(api_request_msg(API_KEY_CREATE_TOPICS), &body);
    body.topics.items = codec_array(&arena, create_topics_request_creatable_topic, (size_t)count);
    body.topics.count = count;
    for (int32_t i = 0; i < count; i++) {
        body.topics.items[i].name = arena_printf(&arena, "%s-%d", name, i);
        body.topics.items[i].num_partitions = partitions;
        body.topics.items[i].replication_factor = 1;
    }
    add(b, API_KEY_CREATE_TOPICS, 6, &body);
    arena_release(&arena);
}

void frames_huge_topic(struct buf *b)
{
    struct create_topics_request body;
    msg_init(api_request_msg(API_KEY_CREATE_TOPICS), &body);
    struct create_topics_request_creatable_topic topic =
        create_topics_request_creatable_topic_default;
    struct create_topics_request_creatable_topic_config config =
        create_topics_request_creatable_topic_config_default;
    body.topics.items = &topic;
    body.topics.count = 1;
    topic.name = STR("huge-0");
    topic.num_partitions = 1;
    topic.replication_factor = 1;
    topic.configs.items = &config;
    topic.configs.count = 1;
    config.name = STR("max.message.bytes");
    config.value = STR("100000000");
    add(b, API_KEY_CREATE_TOPICS, 6, &body);
}

void frames_topics_refused(struct buf *b)
{
    add_creation(b, "wide", 10000, 0);
    add_creation(b, "of/no/use", 10000, 1);
    add_creation(b, "vast", 1, INT32_MAX);
}

void frames_topics_made(struct buf *b)
{
    add_creation(b, "made", 20, 2);
    struct arena arena;
    arena_init(&arena, 0);
    struct delete_topics_request body;
    msg_init(api_request_msg(API_KEY_DELETE_TOPICS), &body);
    body.timeout_ms = 30000;
    body.topic_names.items = arena_alloc(&arena, 20 * sizeof(struct str));
    body.topic_names.count = 20;
    for (int32_t i = 0; i < 20; i++) {
        body.topic_names.items[i] = arena_printf(&arena, "made-%d", i);
    }
    add(b, API_KEY_DELETE_TOPICS, 5, &body);
    arena_release(&arena);
}

void frames_configs_altered(struct buf *b)
{
    struct incremental_alter_configs_request body;
    msg_init(api_request_msg(API_KEY_INCREMENTAL_ALTER_CONFIGS), &body);
    struct incremental_alter_configs_request_alter_configs_resource resource =
        incremental_alter_configs_request_alter_configs_resource_default;
    struct incremental_alter_configs_request_alterable_config config =
        incremental_alter_configs_request_alterable_config_default;
    body.resources.items = &resource;
    body.resources.count = 1;
    resource.resource_type = 2;
    resource.resource_name = STR("hostile-0");
    resource.configs.items = &config;
    resource.configs.count = 1;
    config.name = STR("retention.ms");
    char value[32];
    for (int i = 0; i < 10; i++) {
        snprintf(value, sizeof(value), "%d", 100000000 + i);
        config.value = str_from(value);
        add(b, API_KEY_INCREMENTAL_ALTER_CONFIGS, 1, &body);
    }
}

void frames_producer_ids(struct buf *b)
{
    struct init_producer_id_request body;
    msg_init(api_request_msg(API_KEY_INIT_PRODUCER_ID), &body);
    body.transaction_timeout_ms = 1000;
    for (int i = 0; i < 100; i++) {
        add(b, API_KEY_INIT_PRODUCER_ID, 4, &body);
    }
}

/* ---- records ---- */

void frames_small_produce(struct buf *b)
{
    for (int i = 0; i < 100; i++) {
        add_produce(b, CODEC_NONE, 1, 100);
    }
}

/* A megabyte of the smallest records there are. */
void frames_tiny_records(struct buf *b)
{
    add_produce(b, CODEC_NONE, 110000, 0);
}

void frames_large_batches(struct buf *b)
{
    add_produce(b, CODEC_NONE, 10, 100000);
}

/* To a topic that takes 100 MB. */
void frames_huge_batches(struct buf *b)
{
    struct buf batch = {0};
    add_batch(&batch, CODEC_NONE, 1000000, 12);
    add_produce_of(b, "huge-0", &batch, 1);
    buf_release(&batch);
}

void frames_produce_wide(struct buf *b)
{
    struct arena arena;
    arena_init(&arena, 0);
    struct produce_request body;
    msg_init(api_request_msg(API_KEY_PRODUCE), &body);
    struct produce_request_topic_produce_data td = produce_request_topic_produce_data_default;
    struct buf batch = {0};
    add_batch(&batch, CODEC_NONE, 1, 10);
    body.acks = -1;
    body.timeout_ms = 30000;
    body.topic_data.items = &td;
    body.topic_data.count = 1;
    td.name = STR("wide-0");
    td.partition_data.items =
        codec_array(&arena, produce_request_partition_produce_data, WIDE_PARTITIONS);
    td.partition_data.count = WIDE_PARTITIONS;
    for (int32_t i = 0; i < WIDE_PARTITIONS; i++) {
        td.partition_data.items[i].index = i;
        td.partition_data.items[i].records = (struct records){.ptr = batch.bytes, .len = batch.len};
    }
    add(b, API_KEY_PRODUCE, 12, &body);
    buf_release(&batch);
    arena_release(&arena);
}

/* A batch of another idempotent producer each time. */
void frames_new_producers(struct buf *b)
{
    struct buf batch = {0};
    add_batch(&batch, CODEC_NONE, 1, 10);
    uint64_t id = (uint64_t)wall_ms() << 16;
    for (int i = 0; i < 2000; i++) {
        store_be64(batch.bytes + 43, id + (uint64_t)i);
        store_be16(batch.bytes + 51, 0);
        store_be32(batch.bytes + 53, 0);
        store_be32(batch.bytes + 17, crc32c(0, batch.bytes + 21, batch.len - 21));
        add_produce_of(b, "hostile-0", &batch, 1);
    }
    buf_release(&batch);
}

/* Records of hundreds of megabytes of zeros, in batches below max.message.bytes, and a million
 * empty records. */
void frames_bombs(struct buf *b)
{
    static const enum codec_type codecs[] = {CODEC_GZIP, CODEC_SNAPPY, CODEC_LZ4, CODEC_ZSTD};
    static const size_t sizes[] = {300 << 20, 18 << 20, 220 << 20, 1000 << 20};
    for (size_t i = 0; i < ARRAY_LEN(codecs); i++) {
        add_produce(b, codecs[i], 1, sizes[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(codecs); i++) {
        add_produce(b, codecs[i], 1000000, 0); /* small, and many records */
    }
}
