/*
 * The persistent map against a plain model: random puts and removals on a map whose older versions
 * are kept; after each step the newest version equals the model, and every older version is what it
 * was. Keys are drawn from a small range, so that many slots share a key and the comparison
 * decides.
 */
#include "unit.h"

#include "base/base.h"
#include "base/mem.h"
#include "meta/image_map.h"

struct number {
    struct image_item item;
    int value;
};

static int compare_number(const void *probe, const struct image_item *it)
{
    int value = *(const int *)probe;
    int other = ((const struct number *)it)->value;
    return value < other ? -1 : value > other;
}

static struct image_probe probe_of(const int *value)
{
    return (struct image_probe){
        .key = (uint64_t)(*value / 7),
        .compare = compare_number,
        .probe = value,
    };
}

static void put(struct image_map *m, int value)
{
    struct number *n = mem_zalloc(sizeof(*n));
    atomic_init(&n->item.refs, 1);
    n->value = value;
    struct image_probe p = probe_of(&value);
    image_map_put(m, &p, &n->item);
    image_item_unref(&n->item);
}

static bool take_out(struct image_map *m, int value)
{
    struct image_probe p = probe_of(&value);
    return image_map_remove(m, &p);
}

#define RANGE 1500

static void assert_is(const struct image_map *m, const bool *model)
{
    image_map_validate(m);
    struct image_cursor c = image_map_first(m);
    for (int i = 0; i < RANGE; i++) {
        struct image_probe p = probe_of(&i);
        assert_int_equal(image_map_find(m, &p) != NULL, model[i]);
        if (model[i]) {
            const struct image_slot *s = image_cursor_at(&c);
            assert_non_null(s);
            assert_int_equal(((const struct number *)s->item)->value, i);
            struct image_cursor sought = image_map_seek(m, &p);
            assert_ptr_equal(image_cursor_at(&sought), s);
            image_cursor_next(&c);
        }
    }
    assert_null(image_cursor_at(&c));
}

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

static void older_versions_stay_what_they_were(void **state unused_ok)
{
    enum {
        VERSIONS = 24
    };
    struct image_map old[VERSIONS] = {0};
    static bool models[VERSIONS][RANGE];
    struct image_map m = {0};
    bool model[RANGE] = {0};
    uint32_t random = 1;
    for (int v = 0; v < VERSIONS; v++) {
        int steps = (int)(next_random(&random) % 400);
        bool grows = v % 3 != 2;
        for (int i = 0; i < steps; i++) {
            int value = (int)(next_random(&random) % RANGE);
            bool is_put = next_random(&random) % 10 < (grows ? 8u : 2u);
            if (is_put) {
                put(&m, value);
            } else {
                assert_int_equal(take_out(&m, value), model[value]);
            }
            model[value] = is_put;
        }
        old[v] = image_map_ref(&m);
        memcpy(models[v], model, sizeof(model));
    }
    for (int v = 0; v < VERSIONS; v++) {
        assert_is(&old[v], models[v]);
        image_map_release(&old[v]);
    }
    assert_is(&m, model);
    image_map_release(&m);
}

/* Ascending puts leave chunks full, so that a replay in order wastes no memory. */
static void ascending_puts_fill_chunks(void **state unused_ok)
{
    struct image_map m = {0};
    for (int i = 0; i < RANGE; i++) {
        put(&m, i);
    }
    assert_in_range(m.root->count, 1, RANGE / (IMAGE_CHUNK_SLOTS - 1) + 1);
    for (int i = 0; i < RANGE; i++) {
        assert_true(take_out(&m, i));
    }
    assert_int_equal(image_map_count(&m), 0);
    image_map_release(&m);
}

static void shared_chunks_are_skipped(void **state unused_ok)
{
    struct image_map a = {0};
    for (int i = 0; i < RANGE; i++) {
        put(&a, i);
    }
    struct image_map b = image_map_ref(&a);
    put(&b, 700);
    struct image_cursor x = image_map_first(&a);
    struct image_cursor y = image_map_first(&b);
    int looked_at = 0;
    while (image_cursor_at(&x) != NULL) {
        if (!image_cursor_skip_shared(&x, &y)) {
            image_cursor_next(&x);
            image_cursor_next(&y);
            looked_at++;
        }
    }
    assert_in_range(looked_at, 1, IMAGE_CHUNK_SLOTS);
    image_map_release(&a);
    image_map_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(older_versions_stay_what_they_were),
        cmocka_unit_test(ascending_puts_fill_chunks),
        cmocka_unit_test(shared_chunks_are_skipped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
