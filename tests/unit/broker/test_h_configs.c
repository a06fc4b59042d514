/* The config handlers of a whole server, over a socket: what is altered is described, refused as
 * Kafka refuses it, in force for the next record, and there again after a restart. */
#include "kclient.h"
#include "unit.h"

#include "base/clock.h"
#include "base/fs.h"
#include "base/logger.h"
#include "broker/broker.h"
#include "config/config_load.h"
#include "server.h"
#include "wire/gen/errors.h"

struct node {
    struct clock clock;
    struct fs fs;
    struct logger logger;
    struct server *sv;
    struct kclient kc;
    char dir[64];
};

static void drop_line(void *ctx, const char *line, size_t len)
{
    (void)ctx;
    (void)line;
    (void)len;
}

static void start(struct node *n)
{
    clock_init_system(&n->clock);
    fs_init_system(&n->fs);
    n->logger = (struct logger){.level = LOG_LEVEL_ERROR, .sink = drop_line};
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
    kclient_open(&n->kc, listeners[0].port);
}

static void stop(struct node *n)
{
    kclient_close(&n->kc);
    server_stop(n->sv, true);
    n->sv = server_free(n->sv);
    fs_release_system(&n->fs);
}

typedef struct describe_configs_response_describe_configs_result described;

/* The first resource of the answer; keys_count -1 asks for all. */
static described *describe(struct node *n,
                           int8_t type,
                           const char *name,
                           struct str *keys,
                           int32_t keys_count,
                           int16_t version)
{
    struct describe_configs_request_describe_configs_resource resource =
        describe_configs_request_describe_configs_resource_default;
    resource.resource_type = type;
    resource.resource_name = str_from(name);
    resource.configuration_keys.items = keys;
    resource.configuration_keys.count = keys_count;
    struct describe_configs_request body = describe_configs_request_default;
    body.resources.items = &resource;
    body.resources.count = 1;
    body.include_synonyms = true;
    body.include_documentation = version >= 3;
    struct describe_configs_response *out =
        kclient_call(&n->kc, API_KEY_DESCRIBE_CONFIGS, version, &body);
    assert_int_equal(out->results.count, 1);
    return &out->results.items[0];
}

static int16_t alter(struct node *n,
                     int8_t type,
                     const char *name,
                     const char *key,
                     int8_t operation,
                     const char *value)
{
    struct incremental_alter_configs_request_alterable_config change =
        incremental_alter_configs_request_alterable_config_default;
    change.name = str_from(key);
    change.config_operation = operation;
    change.value = str_from(value);
    struct incremental_alter_configs_request_alter_configs_resource resource =
        incremental_alter_configs_request_alter_configs_resource_default;
    resource.resource_type = type;
    resource.resource_name = str_from(name);
    resource.configs.items = &change;
    resource.configs.count = 1;
    struct incremental_alter_configs_request body = incremental_alter_configs_request_default;
    body.resources.items = &resource;
    body.resources.count = 1;
    struct incremental_alter_configs_response *out =
        kclient_call(&n->kc, API_KEY_INCREMENTAL_ALTER_CONFIGS, 1, &body);
    assert_int_equal(out->responses.count, 1);
    return out->responses.items[0].error_code;
}

static void expect_key(struct node *n,
                       int8_t type,
                       const char *name,
                       const char *key,
                       const char *value,
                       int8_t source)
{
    struct str one = str_from(key);
    described *d = describe(n, type, name, &one, 1, 4);
    assert_int_equal(d->error_code, 0);
    assert_int_equal(d->configs.count, 1);
    assert_true(str_is(d->configs.items[0].value, value));
    assert_int_equal(d->configs.items[0].config_source, source);
}

static void what_is_altered_is_described_in_force_and_kept(void **state)
{
    struct node *n = *state;
    start(n);
    kclient_create_topic(&n->kc, "t", 1);
    expect_key(n, 2, "t", "max.message.bytes", "1048588", 5);
    assert_int_equal(alter(n, 2, "t", "max.message.bytes", 0, "100"), 0);
    expect_key(n, 2, "t", "max.message.bytes", "100", 1);
    char text[201];
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    int64_t offset = -1;
    assert_int_equal(kclient_produce(&n->kc, "t", 0, text, &offset), KAFKA_ERROR_MESSAGE_TOO_LARGE);
    assert_int_equal(kclient_produce(&n->kc, "t", 0, "short", &offset), 0);
    assert_int_equal(alter(n, 4, "", "message.max.bytes", 0, "2000000"), 0);
    assert_int_equal(alter(n, 4, "1", "node.id", 0, "2"), KAFKA_ERROR_INVALID_REQUEST);
    assert_int_equal(alter(n, 2, "gone", "retention.ms", 0, "1"),
                     KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION);
    stop(n);
    start(n);
    expect_key(n, 2, "t", "max.message.bytes", "100", 1);
    expect_key(n, 4, "1", "message.max.bytes", "2000000", 3);
    assert_int_equal(kclient_produce(&n->kc, "t", 0, text, &offset), KAFKA_ERROR_MESSAGE_TOO_LARGE);
    assert_int_equal(alter(n, 2, "t", "max.message.bytes", 1, NULL), 0);
    expect_key(n, 2, "t", "max.message.bytes", "2000000", 3);
    assert_int_equal(kclient_produce(&n->kc, "t", 0, text, &offset), 0);
    stop(n);
}

static void every_version_describes_everything(void **state)
{
    struct node *n = *state;
    start(n);
    kclient_create_topic(&n->kc, "t", 1);
    for (int16_t version = 1; version <= 4; version++) {
        for (int32_t keys = -1; keys <= 0; keys++) {
            described *d = describe(n, 4, "1", NULL, keys, version);
            assert_int_equal(d->error_code, 0);
            assert_int_equal(d->configs.count, 350);
            for (int32_t i = 0; i < d->configs.count; i++) {
                bool has_doc = !str_is_null(d->configs.items[i].documentation) &&
                               d->configs.items[i].documentation.len > 0;
                assert_int_equal(has_doc, version >= 3);
                assert_int_equal(d->configs.items[i].config_type != 0, version >= 3);
            }
            assert_int_equal(describe(n, 2, "t", NULL, keys, version)->configs.count, 37);
        }
    }
    assert_int_equal(describe(n, 2, "gone", NULL, -1, 4)->error_code,
                     KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION);
    assert_int_equal(describe(n, 2, "b/d", NULL, -1, 4)->error_code,
                     KAFKA_ERROR_INVALID_TOPIC_EXCEPTION);
    assert_int_equal(describe(n, 4, "2", NULL, -1, 4)->error_code, KAFKA_ERROR_INVALID_REQUEST);
    assert_int_equal(describe(n, 4, "x", NULL, -1, 4)->error_code, KAFKA_ERROR_INVALID_REQUEST);
    assert_int_equal(describe(n, 99, "t", NULL, -1, 4)->error_code, KAFKA_ERROR_INVALID_REQUEST);
    described *loggers = describe(n, 8, "1", NULL, -1, 4);
    assert_int_equal(loggers->configs.count, 1);
    assert_true(str_is(loggers->configs.items[0].value, "ERROR"));
    stop(n);
}

static int make_dir(void **state)
{
    struct node *n = *state;
    snprintf(n->dir, sizeof(n->dir), "/tmp/jackdaw-configs-XXXXXX");
    return mkdtemp(n->dir) == NULL;
}

static int remove_dir(void **state)
{
    struct node *n = *state;
    return fs_remove_tree(&n->fs, n->dir);
}

int main(void)
{
    struct node n = {0};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate_setup_teardown(what_is_altered_is_described_in_force_and_kept,
                                                 make_dir, remove_dir, &n),
        cmocka_unit_test_prestate_setup_teardown(every_version_describes_everything, make_dir,
                                                 remove_dir, &n),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
