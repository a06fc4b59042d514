/* A blocking client for tests; see kclient.h. */
#include "kclient.h"

#include "unit.h"
#include "wire/batch.h"
#include "wire/codec.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define CLIENT_ID "test"

void kclient_open(struct kclient *kc, uint16_t port)
{
    *kc = (struct kclient){.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    struct sockaddr_in addr = {
        .sin_family = AF_INET,
        .sin_port = htons(port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    const struct timeval patience = {.tv_sec = 10};
    assert_int_equal(setsockopt(kc->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
    assert_int_equal(connect(kc->fd, (const struct sockaddr *)&addr, sizeof(addr)), 0);
}

void kclient_close(struct kclient *kc)
{
    if (kc->fd >= 0) {
        close(kc->fd);
    }
    kc->fd = -1;
    arena_release(&kc->arena);
}

static void send_raw(struct kclient *kc, const void *bytes, size_t len)
{
    const uint8_t *p = bytes;
    while (len > 0) {
        ssize_t n = send(kc->fd, p, len, MSG_NOSIGNAL);
        assert_true(n > 0);
        p += n;
        len -= (size_t)n;
    }
}

int32_t kclient_send(struct kclient *kc, int16_t api_key, int16_t version, void *body)
{
    struct writer w;
    writer_init(&w);
    uint8_t *size_at = writer_room(&w, 4);
    writer_i16(&w, api_key);
    writer_i16(&w, version);
    writer_i32(&w, ++kc->correlation_id);
    writer_i16(&w, (int16_t)strlen(CLIENT_ID));
    writer_bytes(&w, CLIENT_ID, strlen(CLIENT_ID));
    if (api_request_header_version(api_key, version) >= 2) {
        writer_uvarint(&w, 0);
    }
    assert_int_equal(codec_encode(api_request_msg(api_key), version, body, &w), 0);
    store_be32(size_at, (uint32_t)(writer_size(&w) - 4));
    struct rope rope;
    writer_finish(&w, &rope);
    for (struct rope_run *run; (run = rope_first(&rope)) != NULL;) {
        send_raw(kc, run->ptr, run->len);
        rope_consume(&rope, run->len);
    }
    rope_release(&rope);
    writer_release(&w);
    return kc->correlation_id;
}

static void read_all(struct kclient *kc, uint8_t *ret, size_t len)
{
    while (len > 0) {
        ssize_t n = recv(kc->fd, ret, len, 0);
        assert_true(n > 0);
        ret += n;
        len -= (size_t)n;
    }
}

void *kclient_receive(struct kclient *kc, int16_t api_key, int16_t version, int32_t correlation_id)
{
    arena_reset(&kc->arena);
    uint8_t head[4];
    read_all(kc, head, sizeof(head));
    size_t len = load_be32(head);
    assert_true(len < ((size_t)64 << 20));
    uint8_t *bytes = arena_alloc(&kc->arena, len);
    read_all(kc, bytes, len);
    struct cursor c = cursor_of(bytes, len);
    assert_int_equal(cursor_i32(&c), correlation_id);
    if (api_response_header_version(api_key, version) >= 1) {
        assert_int_equal(cursor_uvarint(&c), 0);
    }
    const struct msg *m = api_response_msg(api_key);
    void *answer = arena_alloc(&kc->arena, msg_size(m));
    assert_int_equal(codec_decode(m, version, &c, &kc->arena, answer), 0);
    assert_int_equal(cursor_left(&c), 0);
    return answer;
}

void *kclient_call(struct kclient *kc, int16_t api_key, int16_t version, void *body)
{
    return kclient_receive(kc, api_key, version, kclient_send(kc, api_key, version, body));
}

void kclient_create_topic(struct kclient *kc, const char *name, int32_t partitions)
{
    struct create_topics_request_creatable_topic topic =
        create_topics_request_creatable_topic_default;
    topic.name = str_from(name);
    topic.num_partitions = partitions;
    topic.replication_factor = 1;
    struct create_topics_request body = create_topics_request_default;
    body.topics.items = &topic;
    body.topics.count = 1;
    body.timeout_ms = 10000;
    struct create_topics_response *out = kclient_call(kc, API_KEY_CREATE_TOPICS, 7, &body);
    assert_int_equal(out->topics.count, 1);
    assert_int_equal(out->topics.items[0].error_code, 0);
}

int16_t kclient_produce(struct kclient *kc,
                        const char *topic,
                        int32_t partition,
                        const char *text,
                        int64_t *ret_offset)
{
    struct batch_builder bb;
    batch_builder_init(&bb, CODEC_NONE, 0);
    batch_builder_add(&bb, 1700000000000, (struct view){0},
                      (struct view){.ptr = (const uint8_t *)text, .len = strlen(text)});
    struct blob *blob = NULL;
    size_t size = 0;
    assert_int_equal(batch_builder_finish(&bb, &blob, &size), 0);
    batch_builder_release(&bb);
    struct produce_request_partition_produce_data pd =
        produce_request_partition_produce_data_default;
    pd.index = partition;
    pd.records.ptr = blob->data;
    pd.records.len = size;
    struct produce_request_topic_produce_data td = produce_request_topic_produce_data_default;
    td.name = str_from(topic);
    td.partition_data.items = &pd;
    td.partition_data.count = 1;
    struct produce_request body = produce_request_default;
    body.acks = -1;
    body.timeout_ms = 10000;
    body.topic_data.items = &td;
    body.topic_data.count = 1;
    struct produce_response *out = kclient_call(kc, API_KEY_PRODUCE, 9, &body);
    blob_unref(blob);
    assert_int_equal(out->responses.count, 1);
    assert_int_equal(out->responses.items[0].partition_responses.count, 1);
    *ret_offset = out->responses.items[0].partition_responses.items[0].base_offset;
    return out->responses.items[0].partition_responses.items[0].error_code;
}

struct view kclient_fetch(struct kclient *kc,
                          const char *topic,
                          int32_t partition,
                          int64_t offset,
                          int64_t *ret_high_watermark)
{
    struct fetch_request_fetch_partition fp = fetch_request_fetch_partition_default;
    fp.partition = partition;
    fp.fetch_offset = offset;
    fp.partition_max_bytes = 1 << 20;
    struct fetch_request_fetch_topic ft = fetch_request_fetch_topic_default;
    ft.topic = str_from(topic);
    ft.partitions.items = &fp;
    ft.partitions.count = 1;
    struct fetch_request body = fetch_request_default;
    body.max_bytes = 1 << 20;
    body.topics.items = &ft;
    body.topics.count = 1;
    struct fetch_response *out = kclient_call(kc, API_KEY_FETCH, 12, &body);
    assert_int_equal(out->error_code, 0);
    assert_int_equal(out->responses.count, 1);
    const struct fetch_response_partition_data *data = &out->responses.items[0].partitions.items[0];
    assert_int_equal(data->error_code, 0);
    *ret_high_watermark = data->high_watermark;
    return (struct view){.ptr = data->records.ptr, .len = data->records.len};
}
