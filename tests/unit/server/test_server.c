/*
 * Whole servers inside the test's process, over real sockets and a real directory. Method: two
 * brokers run at once, which a single global would spoil; each is written to, stopped, and started
 * again on its data.
 */
#include "kclient.h"
#include "unit.h"

#include "base/clock.h"
#include "base/fs.h"
#include "base/logger.h"
#include "broker/broker.h"
#include "config/config_load.h"
#include "server.h"
#include "wire/gen/errors.h"

#include <unistd.h>

struct node {
    struct clock clock;
    struct fs fs;
    struct logger logger;
    struct server *sv;
    uint16_t port;
    char dir[64];
};

static void quiet(void *ctx, const char *line, size_t len)
{
    (void)ctx;
    (void)fwrite(line, 1, len, stderr);
}

static void start(struct node *n)
{
    clock_init_system(&n->clock);
    fs_init_system(&n->fs);
    n->logger = (struct logger){.level = LOG_LEVEL_WARN, .sink = quiet};
    struct config_input in = {.data = n->dir, .listen = "127.0.0.1:0"};
    struct config *config = NULL;
    char error[512] = "";
    if (config_load(&in, &n->logger, &config, error, sizeof(error)) < 0 ||
        server_new(config, &n->clock, &n->fs, &n->logger, &n->sv, error, sizeof(error)) < 0 ||
        server_start(n->sv, error, sizeof(error)) < 0) {
        fail_msg("%s", error);
    }
    const struct broker_listener *listeners = NULL;
    assert_int_equal(server_listeners(n->sv, &listeners), 1);
    n->port = listeners[0].port;
}

static void stop(struct node *n)
{
    server_stop(n->sv, true);
    n->sv = server_free(n->sv);
    fs_release_system(&n->fs);
}

static void make_dir(struct node *n)
{
    *n = (struct node){.dir = "/tmp/jackdaw-test-XXXXXX"};
    assert_non_null(mkdtemp(n->dir));
}

static void remove_dir(struct node *n)
{
    assert_int_equal(fs_remove_tree(&n->fs, n->dir), 0);
}

static void two_brokers_live_in_one_process(void **state)
{
    (void)state;
    struct node nodes[2];
    for (int i = 0; i < 2; i++) {
        make_dir(&nodes[i]);
        start(&nodes[i]);
    }
    assert_int_not_equal(nodes[0].port, nodes[1].port);
    for (int i = 0; i < 2; i++) {
        struct kclient kc;
        kclient_open(&kc, nodes[i].port);
        kclient_create_topic(&kc, i == 0 ? "first" : "second", 1);
        for (int k = 0; k <= i; k++) {
            int64_t offset = -1;
            assert_int_equal(kclient_produce(&kc, i == 0 ? "first" : "second", 0, "hello", &offset),
                             0);
            assert_int_equal(offset, k);
        }
        int64_t offset = -1;
        assert_int_equal(kclient_produce(&kc, i == 0 ? "second" : "first", 0, "hello", &offset),
                         KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION);
        kclient_close(&kc);
    }
    for (int i = 0; i < 2; i++) {
        stop(&nodes[i]);
        remove_dir(&nodes[i]);
    }
}

static void records_are_read_back_after_a_restart(void **state)
{
    (void)state;
    struct node n;
    make_dir(&n);
    start(&n);
    struct kclient kc;
    kclient_open(&kc, n.port);
    kclient_create_topic(&kc, "kept", 2);
    int64_t offset = -1;
    assert_int_equal(kclient_produce(&kc, "kept", 1, "one", &offset), 0);
    assert_int_equal(kclient_produce(&kc, "kept", 1, "two", &offset), 0);
    int64_t high_watermark = -1;
    struct view before = kclient_fetch(&kc, "kept", 1, 0, &high_watermark);
    assert_int_equal(high_watermark, 2);
    uint8_t *copy = mem_alloc(before.len);
    memcpy(copy, before.ptr, before.len);
    size_t len = before.len;
    kclient_close(&kc);
    stop(&n);
    start(&n);
    kclient_open(&kc, n.port);
    struct view after = kclient_fetch(&kc, "kept", 1, 0, &high_watermark);
    assert_int_equal(high_watermark, 2);
    assert_int_equal(after.len, len);
    assert_memory_equal(after.ptr, copy, len);
    assert_int_equal(kclient_produce(&kc, "kept", 1, "three", &offset), 0);
    assert_int_equal(offset, 2);
    kclient_close(&kc);
    stop(&n);
    mem_free(copy);
    remove_dir(&n);
}

static void pipelined_produces_are_answered_in_order(void **state)
{
    (void)state;
    struct node n;
    make_dir(&n);
    start(&n);
    struct kclient kc;
    kclient_open(&kc, n.port);
    kclient_create_topic(&kc, "t", 1);
    struct produce_request body = produce_request_default;
    body.acks = -1;
    int32_t ids[20];
    for (int i = 0; i < 20; i++) {
        ids[i] = kclient_send(&kc, API_KEY_PRODUCE, 9, &body);
    }
    struct metadata_request mr = metadata_request_default;
    int32_t last = kclient_send(&kc, API_KEY_METADATA, 12, &mr);
    for (int i = 0; i < 20; i++) {
        kclient_receive(&kc, API_KEY_PRODUCE, 9, ids[i]);
    }
    struct metadata_response *out = kclient_receive(&kc, API_KEY_METADATA, 12, last);
    assert_int_equal(out->brokers.count, 1);
    assert_int_equal(out->brokers.items[0].port, n.port);
    kclient_close(&kc);
    stop(&n);
    remove_dir(&n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_brokers_live_in_one_process),
        cmocka_unit_test(records_are_read_back_after_a_restart),
        cmocka_unit_test(pipelined_produces_are_answered_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
