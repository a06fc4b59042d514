/*
 * quorum-state, byte for byte as Kafka 4.4.0 wrote it (dynamic and static voters), read back, and
 * damaged in many ways: reading never gives an election that was not there.
 */
#include "unit.h"

#include "base/err.h"
#include "raft/quorum_file.h"
#include "simfs.h"

#define DYNAMIC                                         \
    "{\"leaderId\":1,\"leaderEpoch\":2,\"votedId\":-1," \
    "\"votedDirectoryId\":\"AAAAAAAAAAAAAAAAAAAAAA\",\"data_version\":1}"
#define STATIC                                                                                 \
    "{\"clusterId\":\"\",\"leaderId\":1,\"leaderEpoch\":1,\"votedId\":-1,\"appliedOffset\":0," \
    "\"currentVoters\":[{\"voterId\":1}],\"data_version\":0}"

static void prints_what_kafka_prints(void **state unused_ok)
{
    char memory[512];
    struct strbuf sb;
    struct voters vs = {.count = 1, .items = {{.id = 1}}};
    struct quorum_election e = {.leader_id = 1, .leader_epoch = 2, .voted_id = -1};
    strbuf_init(&sb, memory, sizeof(memory));
    assert_int_equal(quorum_file_print(&e, 1, &vs, &sb), 0);
    assert_int_equal(sb.len, strlen(DYNAMIC));
    assert_memory_equal(sb.ptr, DYNAMIC, sb.len);
    e.leader_epoch = 1;
    strbuf_init(&sb, memory, sizeof(memory));
    assert_int_equal(quorum_file_print(&e, 0, &vs, &sb), 0);
    assert_int_equal(sb.len, strlen(STATIC));
    assert_memory_equal(sb.ptr, STATIC, sb.len);
}

static int read_text(const char *text, size_t len, struct quorum_election *ret)
{
    struct simfs *s = simfs_new(NULL);
    assert_int_equal(fs_replace_file(simfs_fs(s), "quorum-state", text, len), 0);
    int r = quorum_file_read(simfs_fs(s), "quorum-state", ret);
    simfs_free(s);
    return r;
}

static void reads_both_versions(void **state unused_ok)
{
    struct quorum_election e;
    assert_int_equal(read_text(DYNAMIC, strlen(DYNAMIC), &e), 0);
    assert_int_equal(e.leader_id, 1);
    assert_int_equal(e.leader_epoch, 2);
    assert_int_equal(e.voted_id, -1);
    assert_int_equal(read_text(STATIC, strlen(STATIC), &e), 0);
    assert_int_equal(e.leader_epoch, 1);
    static const char reordered[] =
        "{\"data_version\":1, \"leaderId\":-1,\"leaderEpoch\":9,\"votedId\":3,"
        "\"votedDirectoryId\":\"ggY3UIp8QReMmmPv21o3Yg\"}";
    assert_int_equal(read_text(reordered, strlen(reordered), &e), 0);
    assert_int_equal(e.leader_epoch, 9);
    assert_int_equal(e.voted_id, 3);
    assert_int_equal(e.voted_directory_id.bytes[0], 0x82);
}

static void a_missing_file_is_no_election(void **state unused_ok)
{
    struct simfs *s = simfs_new(NULL);
    struct quorum_election e;
    assert_int_equal(quorum_file_read(simfs_fs(s), "quorum-state", &e), 0);
    assert_int_equal(e.leader_id, -1);
    assert_int_equal(e.leader_epoch, 0);
    assert_int_equal(e.voted_id, -1);
    simfs_free(s);
}

static void damaged_files_are_errors(void **state unused_ok)
{
    struct quorum_election e;
    for (size_t len = 0; len < strlen(DYNAMIC); len++) {
        assert_true(read_text(DYNAMIC, len, &e) < 0);
    }
    static const char negative_epoch[] =
        "{\"leaderId\":1,\"leaderEpoch\":-2,\"votedId\":-1,"
        "\"votedDirectoryId\":\"AAAAAAAAAAAAAAAAAAAAAA\",\"data_version\":1}";
    static const char last_epoch[] =
        "{\"leaderId\":1,\"leaderEpoch\":2147483647,\"votedId\":-1,"
        "\"votedDirectoryId\":\"AAAAAAAAAAAAAAAAAAAAAA\",\"data_version\":1}";
    const char *const bad[] = {
        "{}", "{\"data_version\":1}", "{\"data_version\":2,\"leaderId\":1}",
        "[]", negative_epoch,         last_epoch,
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_true(read_text(bad[i], strlen(bad[i]), &e) < 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prints_what_kafka_prints),
        cmocka_unit_test(reads_both_versions),
        cmocka_unit_test(a_missing_file_is_no_election),
        cmocka_unit_test(damaged_files_are_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
