/* The hash map against an array of flags over seeded random operations; and the spread of the hash
 * over keys that differ little, by counting the fullest bucket. */
#include "base/base.h"

#include "base/hmap.h"
#include "base/mem.h"
#include "simclock.h"
#include "unit.h"

enum {
    KEYS = 5000, /* more than a map moves to new buckets at once */
};

struct item {
    struct hmap_node node;
    uint64_t key;
    bool is_in;
};

static struct item *find(const struct hmap *m, uint64_t key, uint64_t hash)
{
    for (struct hmap_node *at = hmap_first(m, hash); at != NULL; at = hmap_next(at)) {
        struct item *it = container_of(at, struct item, node);
        if (it->key == key) {
            return it;
        }
    }
    return NULL;
}

static size_t count_nodes(const struct hmap *m)
{
    size_t count = 0;
    hmap_foreach (node, m) {
        count++;
    }
    return count;
}

static void the_map_holds_what_was_put_and_not_removed(void **state)
{
    (void)state;
    static const uint64_t spreads[] = {UINT64_MAX, 7}; /* the second one makes long chains */
    for (size_t s = 0; s < ARRAY_LEN(spreads); s++) {
        struct item *items = mem_array(KEYS, sizeof(*items));
        struct hmap m;
        uint64_t random = 5;
        size_t count = 0;
        hmap_init(&m, 99);
        size_t looks_while_moving = 0;
        for (int i = 0; i < 40000; i++) {
            uint64_t key = sim_random(&random) % KEYS;
            uint64_t hash = hash_u64(key, m.seed) % spreads[s];
            struct item *it = &items[key];
            assert_ptr_equal(find(&m, key, hash), it->is_in ? it : NULL);
            if (it->is_in) {
                hmap_remove(&m, &it->node);
                count--;
            } else {
                it->key = key;
                hmap_insert(&m, &it->node, hash);
                count++;
            }
            it->is_in = !it->is_in;
            assert_int_equal(m.count, count);
            looks_while_moving += m.old != NULL;
            if (i % 1000 == 0 || (m.old != NULL && looks_while_moving % 16 == 0)) {
                assert_int_equal(count_nodes(&m), count);
            }
        }
        assert_true(looks_while_moving > 100);
        size_t seen = 0;
        hmap_foreach (node, &m) {
            struct item *it = container_of(node, struct item, node);
            assert_true(it->is_in);
            it->is_in = false; /* seen once */
            seen++;
            if (seen % 2 == 0) {
                hmap_remove(&m, node); /* the current one may go */
            }
        }
        assert_int_equal(seen, count);
        assert_int_equal(m.count, count - seen / 2);
        hmap_release(&m);
        mem_free(items);
    }
}

static void an_empty_map_answers(void **state)
{
    (void)state;
    struct hmap m;
    hmap_init(&m, 1);
    assert_null(hmap_first(&m, 5));
    assert_null(hmap_any(&m));
    hmap_release(&m);
}

static size_t fullest(const uint32_t *buckets, size_t count)
{
    size_t most = 0;
    for (size_t i = 0; i < count; i++) {
        most = max_size(most, buckets[i]);
    }
    return most;
}

static void similar_keys_spread_over_the_buckets(void **state)
{
    (void)state;
    enum {
        BUCKETS = 1024
    };
    uint32_t low[BUCKETS] = {0};
    uint32_t high[BUCKETS] = {0};
    uint32_t numbers[BUCKETS] = {0};
    for (int i = 0; i < BUCKETS * 8; i++) {
        char text[40];
        int len =
            snprintf(text, sizeof(text), "%s%d", i % 2 == 0 ? "topic-" : "a-much-longer-name-", i);
        uint64_t h = hash_bytes(text, (size_t)len, 11);
        low[h % BUCKETS]++;
        high[h >> 54]++;
        numbers[hash_u64((uint64_t)i, 11) % BUCKETS]++;
    }
    /* A mean of 8: a random function stays below 25 or so. */
    assert_true(fullest(low, BUCKETS) < 30);
    assert_true(fullest(high, BUCKETS) < 30);
    assert_true(fullest(numbers, BUCKETS) < 30);
}

static void the_hash_depends_on_every_byte_on_length_and_on_seed(void **state)
{
    (void)state;
    uint8_t bytes[64] = {0};
    for (size_t len = 1; len <= sizeof(bytes); len++) {
        uint64_t h = hash_bytes(bytes, len, 1);
        assert_true(h != hash_bytes(bytes, len - 1, 1));
        assert_true(h != hash_bytes(bytes, len, 2));
        for (size_t i = 0; i < len; i++) {
            bytes[i] ^= 0x10;
            assert_true(h != hash_bytes(bytes, len, 1));
            bytes[i] ^= 0x10;
        }
    }
    assert_true(hash_bytes(NULL, 0, 1) == hash_bytes("", 0, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_map_holds_what_was_put_and_not_removed),
        cmocka_unit_test(an_empty_map_answers),
        cmocka_unit_test(similar_keys_spread_over_the_buckets),
        cmocka_unit_test(the_hash_depends_on_every_byte_on_length_and_on_seed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
