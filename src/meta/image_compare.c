/*
 * What changed between two images: both sorted maps are walked side by side; runs of chunks that
 * the images share are skipped, so that the cost is that of the change.
 */
#include "meta/image_impl.h"

static void report_topic(const struct image_change *change,
                         void *ctx,
                         const struct image_topic *before,
                         const struct image_topic *after)
{
    bool is_same = before != NULL && after != NULL && uuid_equal(&before->id, &after->id);
    if (is_same) {
        if (change->topic_changed != NULL) {
            change->topic_changed(ctx, before, after);
        }
        return;
    }
    if (before != NULL && change->topic_deleted != NULL) {
        change->topic_deleted(ctx, before);
    }
    if (after != NULL && change->topic_created != NULL) {
        change->topic_created(ctx, after);
    }
}

static void
report_config(const struct image_change *change, void *ctx, const struct image_config_item *ci)
{
    if (change->config_changed != NULL) {
        change->config_changed(ctx, ci->type, ci->name);
    }
}

static void compare_topics(const struct image *before,
                           const struct image *after,
                           const struct image_change *change,
                           void *ctx)
{
    struct image_cursor a = image_map_first(&before->topics);
    struct image_cursor b = image_map_first(&after->topics);
    for (;;) {
        if (image_cursor_skip_shared(&a, &b)) {
            continue;
        }
        const struct image_slot *x = image_cursor_at(&a);
        const struct image_slot *y = image_cursor_at(&b);
        if (x == NULL && y == NULL) {
            return;
        }
        const struct image_topic *s =
            x == NULL ? NULL : &((const struct image_topic_item *)x->item)->topic;
        const struct image_topic *t =
            y == NULL ? NULL : &((const struct image_topic_item *)y->item)->topic;
        int order = s == NULL ? 1 : t == NULL ? -1 : str_compare(s->name, t->name);
        if (order != 0 || x->item != y->item) {
            report_topic(change, ctx, order <= 0 ? s : NULL, order >= 0 ? t : NULL);
        }
        if (order <= 0) {
            image_cursor_next(&a);
        }
        if (order >= 0) {
            image_cursor_next(&b);
        }
    }
}

static int order_configs(const struct image_config_item *s, const struct image_config_item *t)
{
    if (s == NULL || t == NULL) {
        return s == NULL ? 1 : -1;
    }
    if (s->type != t->type) {
        return s->type < t->type ? -1 : 1;
    }
    return str_compare(s->name, t->name);
}

static void compare_configs(const struct image *before,
                            const struct image *after,
                            const struct image_change *change,
                            void *ctx)
{
    struct image_cursor a = image_map_first(&before->configs);
    struct image_cursor b = image_map_first(&after->configs);
    for (;;) {
        if (image_cursor_skip_shared(&a, &b)) {
            continue;
        }
        const struct image_slot *x = image_cursor_at(&a);
        const struct image_slot *y = image_cursor_at(&b);
        if (x == NULL && y == NULL) {
            return;
        }
        const struct image_config_item *s =
            x == NULL ? NULL : (const struct image_config_item *)x->item;
        const struct image_config_item *t =
            y == NULL ? NULL : (const struct image_config_item *)y->item;
        int order = order_configs(s, t);
        if (order != 0 || s != t) {
            report_config(change, ctx, order <= 0 ? s : t);
        }
        if (order <= 0) {
            image_cursor_next(&a);
        }
        if (order >= 0) {
            image_cursor_next(&b);
        }
    }
}

static bool is_same_features(const struct image *a, const struct image *b)
{
    const struct image_feature *x;
    const struct image_feature *y;
    size_t x_count;
    size_t y_count;
    image_features(a, &x, &x_count);
    image_features(b, &y, &y_count);
    if (x_count != y_count) {
        return false;
    }
    for (size_t i = 0; i < x_count; i++) {
        if (!str_equal(x[i].name, y[i].name) || x[i].level != y[i].level) {
            return false;
        }
    }
    return true;
}

void image_compare(const struct image *before,
                   const struct image *after,
                   const struct image_change *change,
                   void *ctx)
{
    compare_topics(before, after, change, ctx);
    compare_configs(before, after, change, ctx);
    if (change->features_changed != NULL && !is_same_features(before, after)) {
        change->features_changed(ctx);
    }
}
