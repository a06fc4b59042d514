/*
 * A log directory: its lock, identity, checkpoints, marker and the names in it. Method: files as
 * Kafka writes them are read and written back byte for byte; damaged ones must cost nothing but
 * themselves; the marker is watched over starts, stops and power cuts.
 */
#include "storage_world.h"

static const char kafkas_meta[] =
    "#\n#Sat Nov 21 12:28:19 UTC 2026\ncluster.id=4L6g3nShT-eMCtK--X86sw\n"
    "directory.id=ggY3UIp8QReMmmPv21o3Yg\nnode.id=1\nversion=1\n";

static void meta_properties_are_kafkas(void **state)
{
    (void)state;
    struct world w;
    struct meta_properties mp;
    char id[UUID_TEXT_SIZE];
    size_t len;
    world_init(&w);
    assert_int_equal(meta_properties_read(w.env.fs, WORLD_DIR, &mp), ERR_NOT_FORMATTED);
    put_file(&w, "data/meta.properties", kafkas_meta, strlen(kafkas_meta));
    assert_int_equal(meta_properties_read(w.env.fs, WORLD_DIR, &mp), 0);
    assert_string_equal(mp.cluster_id, "4L6g3nShT-eMCtK--X86sw");
    assert_int_equal(mp.node_id, 1);
    uuid_print(&mp.directory_id, id);
    assert_string_equal(id, "ggY3UIp8QReMmmPv21o3Yg");
    assert_int_equal(meta_properties_write(w.env.fs, WORLD_DIR, &mp, INT64_C(1795264099000)), 0);
    char *bytes = get_file(&w, "data/meta.properties", &len);
    assert_string_equal(bytes, kafkas_meta);
    mem_free(bytes);
    static const char by_hand[] =
        "! by hand\r\nversion : 1\nnode.id=  7 \ncluster.id=a\\:b\nunknown=x\n";
    put_file(&w, "data/meta.properties", by_hand, strlen(by_hand));
    assert_int_equal(meta_properties_read(w.env.fs, WORLD_DIR, &mp), 0);
    assert_int_equal(mp.node_id, 7);
    assert_string_equal(mp.cluster_id, "a:b");
    assert_true(uuid_is_zero(&mp.directory_id));
    static const char *const bad[] = {"",
                                      "version=1\n",
                                      "version=1\nnode.id=1\n",
                                      "version=2\nnode.id=1\ncluster.id=x\n",
                                      "node.id=1\ncluster.id=x\n",
                                      "version=1\nnode.id=-1\ncluster.id=x\n",
                                      "version=1\nnode.id=one\ncluster.id=x\n",
                                      "version=1\nnode.id=1\ncluster.id=x\ndirectory.id=short\n"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        put_file(&w, "data/meta.properties", bad[i], strlen(bad[i]));
        assert_int_equal(meta_properties_read(w.env.fs, WORLD_DIR, &mp), ERR_MALFORMED);
    }
    put_file(&w, "data/meta.properties", "version=0\nbroker.id=1\n", 22);
    assert_int_equal(meta_properties_read(w.env.fs, WORLD_DIR, &mp), ERR_UNSUPPORTED);
    world_release(&w);
}

static void a_checkpoint_is_kafkas_and_damage_is_found(void **state)
{
    (void)state;
    struct world w;
    struct arena arena = {0};
    struct checkpoint_entry *entries;
    size_t count;
    size_t len;
    static const char good[] = "0\n2\ntxn-a 1 16\n__transaction_state 3 4\n";
    static const char *const bad[] = {"\n",
                                      "0\n",
                                      "0\n1\n",
                                      "0\n1\nt 0 5",
                                      "0\n2\nt 0 5\n",
                                      "1\n1\nt 0 5\n",
                                      "0\n1\nt 0\n",
                                      "0\n1\nt -1 5\n",
                                      "0\n1\nt 0 -5\n",
                                      "0\n1\nt x 5\n",
                                      "0\n999999999999\nt 0 5\n",
                                      "0\n1\n 0 5\n",
                                      "0\n1\nt 0 5\n\n",
                                      "garbage\n",
                                      "0\n1\nt 0 99999999999999999999\n",
                                      "0\n1\nt 0 9223372036854775807\n"};
    world_init(&w);
    assert_int_equal(checkpoint_read(w.env.fs, "data/c", &arena, &entries, &count), 0);
    assert_int_equal(count, 0);
    put_file(&w, "data/c", "", 0);
    assert_int_equal(checkpoint_read(w.env.fs, "data/c", &arena, &entries, &count), 0);
    assert_int_equal(count, 0);
    put_file(&w, "data/c", good, strlen(good));
    assert_int_equal(checkpoint_read(w.env.fs, "data/c", &arena, &entries, &count), 0);
    assert_int_equal(count, 2);
    assert_true(str_is(entries[1].topic, "__transaction_state"));
    assert_int_equal(entries[1].partition, 3);
    assert_int_equal(entries[0].offset, 16);
    assert_int_equal(checkpoint_write(w.env.fs, "data/c", entries, count), 0);
    char *bytes = get_file(&w, "data/c", &len);
    assert_string_equal(bytes, good);
    mem_free(bytes);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        put_file(&w, "data/c", bad[i], strlen(bad[i]));
        assert_int_equal(checkpoint_read(w.env.fs, "data/c", &arena, &entries, &count),
                         ERR_MALFORMED);
    }
    arena_release(&arena);
    world_release(&w);
}

static void one_process_at_a_time(void **state)
{
    (void)state;
    struct world w;
    struct log_dir *ld;
    struct log_dir *other;
    world_init(&w);
    assert_int_equal(log_dir_open(&w.env, WORLD_DIR, &ld), 0);
    assert_int_equal(log_dir_open(&w.env, WORLD_DIR, &other), -EWOULDBLOCK);
    assert_int_equal(log_dir_close(ld, false, 0), 0);
    assert_int_equal(log_dir_open(&w.env, WORLD_DIR, &ld), 0);
    assert_int_equal(log_dir_close(ld, false, 0), 0);
    world_release(&w);
}

static void the_marker_stands_only_for_a_clean_stop(void **state)
{
    (void)state;
    struct world w;
    struct log_dir *ld;
    size_t len;
    world_init(&w);
    assert_int_equal(log_dir_open(&w.env, WORLD_DIR, &ld), 0);
    assert_false(log_dir_was_clean(ld));
    assert_int_equal(log_dir_previous_broker_epoch(ld), -1);
    assert_int_equal(log_dir_begin(ld), 0);
    world_open(&w);
    append_plain(&w, 1, 10);
    assert_int_equal(log_dir_close_plog(ld, w.pl, true), 0);
    w.pl = NULL;
    assert_int_equal(log_dir_close(ld, true, 214), 0);
    char *bytes = get_file(&w, "data/.kafka_cleanshutdown", &len);
    assert_string_equal(bytes, "{\"version\":0,\"brokerEpoch\":214}");
    mem_free(bytes);
    simfs_power_on(w.disk, 1, SIMFS_LOSE);
    assert_int_equal(log_dir_open(&w.env, WORLD_DIR, &ld), 0);
    assert_true(log_dir_was_clean(ld));
    assert_int_equal(log_dir_previous_broker_epoch(ld), 214);
    struct plog_open how = {0};
    log_dir_lookup(ld, STR("t"), 0, &how);
    assert_int_equal(how.recovery_point, 1);
    assert_int_equal(log_dir_begin(ld), 0);
    assert_int_equal(log_dir_close(ld, false, 0), 0);
    simfs_power_on(w.disk, 1, SIMFS_LOSE);
    assert_int_equal(log_dir_open(&w.env, WORLD_DIR, &ld), 0);
    assert_false(log_dir_was_clean(ld));
    assert_int_equal(log_dir_close(ld, false, 0), 0);
    put_file(&w, "data/.kafka_cleanshutdown", "", 0);
    assert_int_equal(log_dir_open(&w.env, WORLD_DIR, &ld), 0);
    assert_false(log_dir_was_clean(ld)); /* an empty marker is no promise */
    assert_int_equal(log_dir_close(ld, false, 0), 0);
    world_release(&w);
}

static void a_log_that_does_not_close_leaves_no_marker(void **state)
{
    (void)state;
    struct world w;
    struct log_dir *ld;
    world_init(&w);
    assert_int_equal(log_dir_open(&w.env, WORLD_DIR, &ld), 0);
    assert_int_equal(log_dir_begin(ld), 0);
    world_open(&w);
    append_plain(&w, 1, 10);
    simfs_fail(w.disk, SIMFS_OP_SYNC_ALL, 1, 1, -EIO);
    assert_int_equal(log_dir_close_plog(ld, w.pl, true), -EIO);
    w.pl = NULL;
    assert_int_equal(log_dir_close(ld, true, 5), 0);
    assert_false(has_file(&w, "data/.kafka_cleanshutdown"));
    world_release(&w);
}

static void checkpoints_hold_what_the_logs_say(void **state)
{
    (void)state;
    struct world w;
    struct log_dir *ld;
    struct plog_open how = {0};
    size_t len;
    world_init(&w);
    static const char old[] = "0\n1\ngone 3 77\n";
    put_file(&w, "data/log-start-offset-checkpoint", old, strlen(old));
    put_file(&w, "data/recovery-point-offset-checkpoint", "nonsense", 8);
    assert_int_equal(log_dir_open(&w.env, WORLD_DIR, &ld), 0);
    struct str names[4];
    assert_int_equal(log_dir_damaged(ld, names, 4), 1);
    assert_true(str_is(names[0], "recovery-point-offset-checkpoint"));
    world_open(&w);
    for (int i = 0; i < 6; i++) {
        append_plain(&w, 1, 10);
    }
    plog_advance_high_watermark(w.pl, 5);
    assert_int_equal(plog_advance_log_start(w.pl, 2), 0);
    assert_int_equal(log_dir_checkpoint(ld, &w.pl, 1), 0);
    char *bytes = get_file(&w, "data/recovery-point-offset-checkpoint", &len);
    assert_true(strstr(bytes, "t 0 6\n") != NULL);
    mem_free(bytes);
    bytes = get_file(&w, "data/replication-offset-checkpoint", &len);
    assert_true(strstr(bytes, "t 0 5\n") != NULL);
    mem_free(bytes);
    bytes = get_file(&w, "data/log-start-offset-checkpoint", &len);
    assert_true(strstr(bytes, "t 0 2\n") != NULL && strstr(bytes, "gone 3 77\n") != NULL);
    mem_free(bytes);
    log_dir_lookup(ld, STR("gone"), 3, &how);
    assert_int_equal(how.log_start, 77);
    /* a namesake must not begin there */
    assert_true(log_dir_forget(ld, STR("gone"), 3));
    assert_false(log_dir_forget(ld, STR("gone"), 3));
    assert_int_equal(log_dir_save_starts(ld), 0);
    bytes = get_file(&w, "data/log-start-offset-checkpoint", &len);
    assert_string_equal(bytes, "0\n1\nt 0 2\n");
    mem_free(bytes);
    log_dir_lookup(ld, STR("gone"), 3, &how);
    assert_int_equal(how.log_start, 0);
    assert_int_equal(log_dir_close(ld, false, 0), 0);
    assert_int_equal(log_dir_open(&w.env, WORLD_DIR, &ld), 0);
    log_dir_lookup(ld, STR("t"), 0, &how);
    assert_int_equal(how.recovery_point, 6);
    assert_int_equal(how.high_watermark, 5);
    assert_int_equal(how.log_start, 2);
    assert_int_equal(log_dir_close(ld, false, 0), 0);
    world_release(&w);
}

static void partition_directories_are_found_by_their_names(void **state)
{
    (void)state;
    struct world w;
    struct log_dir *ld;
    struct arena arena = {0};
    struct log_dir_found *found;
    size_t count;
    static const char *const dirs[] = {"data/a-b-7",
                                       "data/gone-0.0bfbd2f93ab74e83b4be3ed7f7e07074-delete",
                                       "data/x.y-1.5d0-future",
                                       "data/z-2.5d0-stray",
                                       "data/__cluster_metadata-0",
                                       "data/__consumer_offsets-49",
                                       "data/no_partition",
                                       "data/minus--1",
                                       "data/-5",
                                       "data/bad name-1",
                                       "data/t-1x"};
    world_init(&w);
    for (size_t i = 0; i < ARRAY_LEN(dirs); i++) {
        assert_int_equal(fs_mkdir(w.env.fs, dirs[i]), 0);
    }
    put_file(&w, "data/file-3", "x", 1);
    put_file(&w, "data/recovery-point-offset-checkpoint", "0\n1\na-b 7 12\n", 13);
    assert_int_equal(log_dir_open(&w.env, WORLD_DIR, &ld), 0);
    assert_int_equal(log_dir_scan(ld, &arena, &found, &count), 0);
    assert_int_equal(count, 6); /* "minus-" is a topic's name, and so is 1 a partition */
    for (size_t i = 0; i < count; i++) {
        if (str_is(found[i].name, "a-b-7")) {
            assert_true(str_is(found[i].topic, "a-b"));
            assert_int_equal(found[i].partition, 7);
            assert_int_equal(found[i].recovery_point, 12);
        }
        assert_int_equal(found[i].is_deleted, str_starts_with(found[i].name, STR("gone")));
        assert_int_equal(found[i].is_future, str_starts_with(found[i].name, STR("x.y")));
        assert_int_equal(found[i].is_stray, str_starts_with(found[i].name, STR("z-2")));
        if (found[i].is_future) {
            assert_true(str_is(found[i].topic, "x.y"));
            assert_int_equal(found[i].partition, 1);
        }
    }
    arena_release(&arena);
    assert_int_equal(log_dir_close(ld, false, 0), 0);
    world_release(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(meta_properties_are_kafkas),
        cmocka_unit_test(a_checkpoint_is_kafkas_and_damage_is_found),
        cmocka_unit_test(one_process_at_a_time),
        cmocka_unit_test(the_marker_stands_only_for_a_clean_stop),
        cmocka_unit_test(a_log_that_does_not_close_leaves_no_marker),
        cmocka_unit_test(checkpoints_hold_what_the_logs_say),
        cmocka_unit_test(partition_directories_are_found_by_their_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
