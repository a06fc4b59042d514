/* `jackdaw dump`: what it prints of segments that Kafka wrote, of the same ones damaged in known
 * places, and of side files made by hand. Lines are looked for in the JSON form. */
#include "base/base.h"
#include "base/bytes.h"
#include "base/fs.h"
#include "base/mem.h"
#include "dump_log.h"
#include "dump_print.h"
#include "dump_side_files.h"
#include "dump_tool.h"
#include "wire/batch.h"

#include "unit.h"

#include <unistd.h>

struct printed {
    struct dump_out out;
    char *text;
    size_t len;
};

struct scratch {
    const char *tests_dir;
    char dir[64];
    char path[128];
};

static void print_begin(struct printed *p)
{
    *p = (struct printed){.out = {.is_json = true, .shows_records = true}};
    p->out.out = open_memstream(&p->text, &p->len);
    assert_non_null(p->out.out);
}

static void print_end(struct printed *p)
{
    assert_int_equal(fclose(p->out.out), 0);
    assert_non_null(p->text);
}

static void print_release(struct printed *p)
{
    free(p->text);
}

static size_t count_of(const struct printed *p, const char *what)
{
    size_t count = 0;
    for (const char *at = strstr(p->text, what); at != NULL; at = strstr(at + 1, what)) {
        count++;
    }
    return count;
}

static size_t golden_read(const struct scratch *s, const char *name, uint8_t *ret, size_t cap)
{
    char path[512];
    int n = snprintf(path, sizeof(path), "%s/golden/segments/%s", s->tests_dir, name);
    assert_true(n > 0 && (size_t)n < sizeof(path));
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    size_t len = fread(ret, 1, cap, f);
    assert_int_equal(fclose(f), 0);
    return len;
}

static const char *scratch_write(struct scratch *s, const char *name, const void *bytes, size_t len)
{
    int n = snprintf(s->path, sizeof(s->path), "%s/%s", s->dir, name);
    assert_true(n > 0 && (size_t)n < sizeof(s->path));
    FILE *f = fopen(s->path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
    return s->path;
}

static void dump_segment(struct scratch *s,
                         const void *bytes,
                         size_t len,
                         int64_t base_offset,
                         enum dump_topic topic,
                         struct printed *ret)
{
    struct fs fs;
    struct fs_file *file = NULL;
    fs_init_system(&fs);
    assert_int_equal(fs_open(&fs, scratch_write(s, "x.log", bytes, len), FS_READ, &file), 0);
    print_begin(ret);
    assert_int_equal(dump_log_print(&ret->out, file, base_offset, topic), 0);
    print_end(ret);
    fs_file_unref(file);
    assert_int_equal(unlink(s->path), 0);
}

static void segments_of_kafka_are_printed_whole(void **state)
{
    struct scratch *s = *state;
    static const struct {
        const char *name;
        int64_t base_offset;
        size_t batches;
        size_t records;
    } rows[] = {{"none.log", 0, 6, 53},
                {"gzip.log", 0, 4, 51},
                {"zstd.log", 0, 4, 60},
                {"transactions.log", 3, 7, 13}};
    uint8_t bytes[8192];
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        size_t len = golden_read(s, rows[i].name, bytes, sizeof(bytes));
        struct printed p;
        dump_segment(s, bytes, len, rows[i].base_offset, DUMP_TOPIC_OTHER, &p);
        assert_int_equal(count_of(&p, "{\"type\":\"batch\""), rows[i].batches);
        assert_int_equal(count_of(&p, "{\"type\":\"record\""), rows[i].records);
        assert_false(p.out.is_damaged);
        if (strcmp(rows[i].name, "transactions.log") == 0) {
            assert_int_equal(
                count_of(&p, "\"control\":\"COMMIT\",\"value\":{\"coordinatorEpoch\":0}"), 2);
            assert_int_equal(count_of(&p, "\"control\":\"ABORT\""), 2);
        }
        print_release(&p);
    }
}

static void damage_is_named_and_passed(void **state)
{
    struct scratch *s = *state;
    uint8_t bytes[8192];
    size_t len = golden_read(s, "transactions.log", bytes, sizeof(bytes));
    struct printed p;
    bytes[78 + 100] ^= 4; /* in the records of the second batch, which has 133 bytes */
    dump_segment(s, bytes, len, 3, DUMP_TOPIC_OTHER, &p);
    assert_true(p.out.is_damaged);
    assert_int_equal(count_of(&p, "{\"type\":\"batch\""), 6);
    assert_int_equal(count_of(&p, "{\"type\":\"damage\",\"position\":78,\"bytes\":133,"), 1);
    print_release(&p);
    bytes[78 + 8] = 0x7f; /* and in its length */
    dump_segment(s, bytes, len, 3, DUMP_TOPIC_OTHER, &p);
    assert_int_equal(count_of(&p, "{\"type\":\"batch\""), 6);
    assert_int_equal(count_of(&p, "{\"type\":\"damage\",\"position\":78,\"bytes\":133,"), 1);
    print_release(&p);
    len = golden_read(s, "transactions.log", bytes, sizeof(bytes));
    dump_segment(s, bytes, len - 1, 3, DUMP_TOPIC_OTHER, &p);
    assert_int_equal(count_of(&p, "{\"type\":\"batch\""), 6);
    assert_int_equal(count_of(&p, "{\"type\":\"damage\",\"position\":821,\"bytes\":77,"), 1);
    print_release(&p);
    memset(bytes + len, 0, 1000);
    dump_segment(s, bytes, len + 1000, 3, DUMP_TOPIC_OTHER, &p);
    assert_false(p.out.is_damaged); /* preallocated */
    assert_int_equal(count_of(&p, "{\"type\":\"unused\",\"position\":899,\"bytes\":1000}"), 1);
    print_release(&p);
}

static struct blob *one_record(struct view key, struct view value, size_t *ret_size)
{
    struct batch_builder bb;
    struct blob *blob = NULL;
    batch_builder_init(&bb, CODEC_NONE, 0);
    batch_builder_add(&bb, 5, key, value);
    assert_int_equal(batch_builder_finish(&bb, &blob, ret_size), 0);
    batch_builder_release(&bb);
    return blob;
}

#define VIEW(literal) ((struct view){.ptr = (const uint8_t *)(literal), .len = sizeof(literal) - 1})

static void records_of_internal_topics_are_decoded(void **state)
{
    struct scratch *s = *state;
    static const struct {
        enum dump_topic topic;
        struct view key;
        struct view value;
        const char *expect;
        bool is_damaged;
    } rows[] = {
        {DUMP_TOPIC_METADATA,
         {NULL, 0},
         {(const uint8_t *)"\x01\x0c\0\2a\0\7\0", 8},
         "\"message\":\"FeatureLevelRecord\",\"version\":0,\"value\":{\"name\":\"a\","
         "\"featureLevel\":7}",
         false},
        {DUMP_TOPIC_METADATA,
         {NULL, 0},
         {(const uint8_t *)"\x01\x0c\0\2a\0", 6},
         "\"problem\":",
         true},
        {DUMP_TOPIC_METADATA,
         {NULL, 0},
         {(const uint8_t *)"\x01\x70\0\2", 4},
         "\"apiKey\":112,",
         false},
        {DUMP_TOPIC_METADATA, {NULL, 0}, {(const uint8_t *)"\x02\x0c\0", 3}, "\"problem\":", true},
        {DUMP_TOPIC_TRANSACTIONS,
         {(const uint8_t *)"\0\0\0\1t", 5},
         {NULL, 0},
         "\"message\":\"TransactionLog\",\"key\":{\"transactionalId\":\"t\"},\"value\":null",
         false},
        {DUMP_TOPIC_GROUPS,
         {(const uint8_t *)"\0\1\0\1g\0\1t\0\0\0\3", 12},
         {NULL, 0},
         "\"message\":\"OffsetCommit\",\"key\":{\"group\":\"g\",\"topic\":\"t\",\"partition\":3},"
         "\"value\":null",
         false},
        {DUMP_TOPIC_GROUPS,
         {(const uint8_t *)"\x7f\1\0", 3},
         {(const uint8_t *)"v", 1},
         "\"problem\":",
         false},
        {DUMP_TOPIC_GROUPS,
         {(const uint8_t *)"\0\1\0\1g\0\1t\0\0", 10},
         {NULL, 0},
         "\"problem\":",
         true},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        size_t size = 0;
        struct blob *blob = one_record(rows[i].key, rows[i].value, &size);
        struct printed p;
        dump_segment(s, blob->data, size, 0, rows[i].topic, &p);
        if (count_of(&p, rows[i].expect) != 1) {
            print_message("row %zu: %s\n", i, p.text);
        }
        assert_int_equal(count_of(&p, rows[i].expect), 1);
        assert_int_equal(p.out.is_damaged, rows[i].is_damaged);
        print_release(&p);
        blob_unref(blob);
    }
    assert_int_equal(dump_records_topic(STR("__cluster_metadata-0")), DUMP_TOPIC_METADATA);
    assert_int_equal(dump_records_topic(STR("__consumer_offsets-41")), DUMP_TOPIC_GROUPS);
    assert_int_equal(dump_records_topic(STR("consumer_offsets-1")), DUMP_TOPIC_OTHER);
}

static void bytes_reach_the_terminal_escaped(void **state)
{
    struct scratch *s = *state;
    static const struct {
        struct view value;
        const char *expect;
    } rows[] = {
        {{(const uint8_t *)"a\"\\\n", 4}, "\"value\":\"a\\\"\\\\\\u000a\""},
        {{(const uint8_t *)"\x1b[2J", 4}, "\"valueBase64\":\"G1sySg==\""},
        {{(const uint8_t *)"kavka \xc4\x8d", 8}, "\"value\":\"kavka \xc4\x8d\""},
        {{(const uint8_t *)"\xc2\x9b", 2}, "\"valueBase64\":\"wps=\""},
        {{(const uint8_t *)"\xed\xa0\x80", 3}, "\"valueBase64\":\"7aCA\""},
        {{(const uint8_t *)"", 0}, "\"value\":\"\""},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        size_t size = 0;
        struct blob *blob = one_record(VIEW("k"), rows[i].value, &size);
        struct printed p;
        dump_segment(s, blob->data, size, 0, DUMP_TOPIC_OTHER, &p);
        assert_int_equal(count_of(&p, rows[i].expect), 1);
        print_release(&p);
        blob_unref(blob);
    }
}

static void indexes_are_held_against_their_order_and_their_segment(void **state)
{
    struct scratch *s = *state;
    uint8_t bytes[8192];
    struct fs fs;
    struct fs_file *file = NULL;
    struct printed p;
    size_t len = golden_read(s, "transactions.log", bytes, sizeof(bytes));
    fs_init_system(&fs);
    assert_int_equal(fs_open(&fs, scratch_write(s, "y.log", bytes, len), FS_READ, &file), 0);
    struct view good = VIEW("\0\0\0\3\0\0\0\x4e"
                            "\0\0\0\4\0\0\0\xd3"
                            "\0\0\0\0\0\0\0\0");
    print_begin(&p);
    dump_side_files_offset_index(&p.out, good, 3, file);
    print_end(&p);
    assert_int_equal(count_of(&p, "{\"type\":\"entry\",\"offset\":6,\"position\":78}"), 1);
    assert_int_equal(count_of(&p, "{\"type\":\"entry\",\"offset\":7,\"position\":211}"), 1);
    assert_int_equal(count_of(&p, "{\"type\":\"unused\",\"position\":16,\"bytes\":8}"), 1);
    assert_false(p.out.is_damaged);
    print_release(&p);
    struct view bad = VIEW("\0\0\0\2\0\0\0\x4e"
                           "\0\0\0\2\0\0\0\xd3"
                           "\0\0\0\7\0\0\0\xd4"
                           "\0");
    print_begin(&p);
    dump_side_files_offset_index(&p.out, bad, 3, file);
    print_end(&p);
    assert_int_equal(count_of(&p, "{\"type\":\"damage\",\"position\":0,"), 1);
    assert_int_equal(count_of(&p, "{\"type\":\"damage\",\"position\":8,"), 1);
    assert_int_equal(count_of(&p, "{\"type\":\"damage\",\"position\":16,"), 1);
    assert_int_equal(count_of(&p, "{\"type\":\"damage\",\"position\":24,\"bytes\":1,"), 1);
    print_release(&p);
    struct view times = VIEW("\0\0\0\0\0\0\0\5\0\0\0\1"
                             "\0\0\0\0\0\0\0\5\0\0\0\2");
    print_begin(&p);
    dump_side_files_time_index(&p.out, times, 10);
    print_end(&p);
    assert_int_equal(count_of(&p, "{\"type\":\"entry\",\"timestamp\":5,\"offset\":11}"), 1);
    assert_int_equal(count_of(&p, "{\"type\":\"damage\",\"position\":12,"), 1);
    print_release(&p);
    fs_file_unref(file);
    assert_int_equal(unlink(s->path), 0);
}

static void snapshots_and_transaction_indexes_are_checked(void **state)
{
    IGNORE(state);
    struct printed p;
    uint8_t snapshot[10 + 46] = {0, 1};
    snapshot[9] = 1;
    snapshot[10 + 7] = 9; /* producer id */
    store_be32(snapshot + 2, crc32c(0, snapshot + 6, sizeof(snapshot) - 6));
    print_begin(&p);
    dump_side_files_snapshot(&p.out, (struct view){.ptr = snapshot, .len = sizeof(snapshot)});
    print_end(&p);
    assert_false(p.out.is_damaged);
    assert_int_equal(count_of(&p, "{\"type\":\"producer\",\"producerId\":9,"), 1);
    print_release(&p);
    for (size_t at = 0; at < sizeof(snapshot); at++) {
        snapshot[at] ^= 0x10;
        print_begin(&p);
        dump_side_files_snapshot(&p.out, (struct view){.ptr = snapshot, .len = sizeof(snapshot)});
        dump_side_files_snapshot(&p.out, (struct view){.ptr = snapshot, .len = at});
        print_end(&p);
        assert_true(p.out.is_damaged);
        print_release(&p);
        snapshot[at] ^= 0x10;
    }
    uint8_t aborted[34 + 1] = {0};
    aborted[9] = 7;
    aborted[25] = 4;
    print_begin(&p);
    dump_side_files_txn_index(&p.out, (struct view){.ptr = aborted, .len = 34});
    assert_false(p.out.is_damaged);
    dump_side_files_txn_index(&p.out, (struct view){.ptr = aborted, .len = 35});
    assert_true(p.out.is_damaged);
    print_end(&p);
    assert_int_equal(count_of(&p, "\"producerId\":7,\"firstOffset\":0,\"lastOffset\":4,"), 2);
    print_release(&p);
}

static void checkpoints_are_checked_line_by_line(void **state)
{
    IGNORE(state);
    static const struct {
        const char *text;
        size_t entries;
        bool is_damaged;
    } rows[] = {
        {"0\n2\nt 3 40\n__x 0 7\n", 2, false},
        {"0\n1\n5 100\n", 1, false},
        {"0\n0\n", 0, false},
        {"0\n2\nt 3 40\n", 1, true},
        {"1\n0\n", 0, true},
        {"", 0, true},
        {"0\nx\n", 0, true},
        {"0\n1\nt 3\n", 0, true},
        {"0\n1\nt 3 4 5\n", 0, true},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct printed p;
        print_begin(&p);
        dump_side_files_checkpoint(&p.out, str_from(rows[i].text));
        print_end(&p);
        assert_int_equal(count_of(&p, "{\"type\":\"entry\""), rows[i].entries);
        assert_int_equal(p.out.is_damaged, rows[i].is_damaged);
        print_release(&p);
    }
}

static int tool(const char *a, const char *b)
{
    char name[] = "dump";
    char first[160];
    char second[160];
    IGNORE(snprintf(first, sizeof(first), "%s", a) < 0);
    IGNORE(snprintf(second, sizeof(second), "%s", b == NULL ? "" : b) < 0);
    char *argv[] = {name, first, b == NULL ? NULL : second, NULL};
    return dump_tool_main(b == NULL ? 2 : 3, argv);
}

static void the_exit_status_tells_good_damaged_and_wrong(void **state)
{
    struct scratch *s = *state;
    char *none[] = {s->dir, NULL};
    assert_int_equal(dump_tool_main(1, none), 2);
    assert_int_equal(tool("--what", NULL), 2);
    assert_int_equal(tool("--json", "/nowhere/00000000000000000000.log"), 1);
    scratch_write(s, "strange.name", "x", 1);
    assert_int_equal(tool(s->path, NULL), 2);
    assert_int_equal(unlink(s->path), 0);
    scratch_write(s, "meta.properties", "version=1\n", 10);
    assert_int_equal(tool(s->path, NULL), 0);
    assert_int_equal(unlink(s->path), 0);
    scratch_write(s, "unflushed-offsets", "0\n3 9\n", 6); /* of the metadata log */
    assert_int_equal(tool(s->path, NULL), 0);
    assert_int_equal(unlink(s->path), 0);
    scratch_write(s, "00000000000000000000.txnindex.deleted", "x", 1);
    assert_int_equal(tool("--json", s->path), 1);
    assert_int_equal(unlink(s->path), 0);
}

int main(int argc, char **argv)
{
    struct scratch s = {.tests_dir = argc > 1 ? argv[1] : "tests",
                        .dir = "/tmp/jackdaw-dump-XXXXXX"};
    if (mkdtemp(s.dir) == NULL) {
        return 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(segments_of_kafka_are_printed_whole, &s),
        cmocka_unit_test_prestate(damage_is_named_and_passed, &s),
        cmocka_unit_test_prestate(records_of_internal_topics_are_decoded, &s),
        cmocka_unit_test_prestate(bytes_reach_the_terminal_escaped, &s),
        cmocka_unit_test_prestate(indexes_are_held_against_their_order_and_their_segment, &s),
        cmocka_unit_test_prestate(snapshots_and_transaction_indexes_are_checked, &s),
        cmocka_unit_test_prestate(checkpoints_are_checked_line_by_line, &s),
        cmocka_unit_test_prestate(the_exit_status_tells_good_damaged_and_wrong, &s),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    IGNORE(rmdir(s.dir)); /* a failed test may have left something there */
    return failed;
}
