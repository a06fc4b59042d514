/*
 * What a group is subscribed to: topics by name and through patterns, each with the number of its
 * subscribers, and what follows from it: whether all members want the same, the assignor that most
 * of them name, the hash by which a change of the topics is noticed.
 *
 * A topic is counted once for each member that names it and once for each resolved pattern that
 * matches it. Counts make a join or a leave cost its own names and not the group's.
 *
 * Hash of a topic:  byte 0, id (two longs), name, number of partitions, then for each partition its
 * number and, sorted, length and name of each replica's rack. Hash of a group: hashes of the topics
 * that exist, by name; 0 when there are none. Names count as UTF-16, see consumer_hash.c.
 *
 * Kafka: ModernGroup.subscribedTopicNames, ConsumerGroup.subscriptionType, Utils.computeGroupHash.
 */
#include "coord/consumer_private.h"

#include "base/base.h"
#include "coord/consumer_hash.h"

#define RACKS_MAX 64 /* of one partition; more replicas than anybody has */

static struct subscribed_topic *topic_find(const struct consumer *cg, struct str name)
{
    const struct hmap *map = &cg->details->topics;
    struct hmap_node *node = hmap_first(map, hash_str(name, map->seed));
    for (; node != NULL; node = hmap_next(node)) {
        struct subscribed_topic *st = container_of(node, struct subscribed_topic, node);
        if (str_equal(st->name, name)) {
            return st;
        }
    }
    return NULL;
}

static void count_topic(struct consumer *cg, struct str name, int32_t by_name, int32_t by_regex)
{
    struct hmap *map = &cg->details->topics;
    struct subscribed_topic *st = topic_find(cg, name);
    if (st == NULL) {
        if (by_name < 0 || by_regex < 0) {
            return;
        }
        st = mem_zalloc(sizeof(*st) + name.len);
        memcpy(st + 1, name.ptr, name.len);
        st->name = str_of((const char *)(st + 1), name.len);
        hmap_insert(map, &st->node, hash_str(name, map->seed));
        cg->details->hash_is_known = false;
    }
    st->by_name += by_name;
    st->by_regex += by_regex;
    if (st->by_name <= 0 && st->by_regex <= 0) {
        hmap_remove(map, &st->node);
        mem_free(st);
        cg->details->hash_is_known = false;
    }
}

/* ---- assignors ---- */

static void count_assignor(struct consumer *cg, struct str name, int32_t delta)
{
    struct consumer_details *cd = cg->details;
    if (str_is_null(name)) {
        return;
    }
    for (size_t i = 0; i < cd->assignors_count; i++) {
        struct assignor_count *ac = &cd->assignors[i];
        if (str_equal(ac->name, name)) {
            ac->members += delta;
            if (ac->members <= 0) {
                mem_free((void *)(uintptr_t)ac->name.ptr);
                *ac = cd->assignors[--cd->assignors_count];
            }
            return;
        }
    }
    if (delta > 0) {
        cd->assignors = mem_grow(cd->assignors, &cd->assignors_cap, cd->assignors_count + 1,
                                 sizeof(*cd->assignors));
        cd->assignors[cd->assignors_count++] = (struct assignor_count){
            .name = str_of(mem_strndup(name.ptr, name.len), name.len),
            .members = delta,
        };
    }
}

/* Place of a name in Java's HashMap of 16 buckets, which decides between equal counts in Kafka. */
static uint32_t bucket_of(struct str name)
{
    uint32_t h = (uint32_t)str_java_hash(name);
    return (h ^ (h >> 16)) & 15;
}

struct str consumer_preferred_assignor(const struct consumer *cg)
{
    const struct assignor_count *best = NULL;
    for (size_t i = 0; i < cg->details->assignors_count; i++) {
        const struct assignor_count *ac = &cg->details->assignors[i];
        if (best == NULL || ac->members > best->members ||
            (ac->members == best->members && bucket_of(ac->name) < bucket_of(best->name))) {
            best = ac;
        }
    }
    return best == NULL ? cg->sh->config->assignors[0] : best->name;
}

/* ---- patterns ---- */

struct subscribed_regex *consumer_regex_find(const struct consumer *cg, struct str text)
{
    const struct hmap *map = &cg->details->regexes;
    struct hmap_node *node = hmap_first(map, hash_str(text, map->seed));
    for (; node != NULL; node = hmap_next(node)) {
        struct subscribed_regex *sr = container_of(node, struct subscribed_regex, node);
        if (str_equal(sr->text, text)) {
            return sr;
        }
    }
    return NULL;
}

static struct subscribed_regex *regex_find_or_add(struct consumer *cg, struct str text)
{
    struct subscribed_regex *sr = consumer_regex_find(cg, text);
    if (sr == NULL) {
        struct hmap *map = &cg->details->regexes;
        sr = mem_zalloc(sizeof(*sr) + text.len);
        memcpy(sr + 1, text.ptr, text.len);
        sr->text = str_of((const char *)(sr + 1), text.len);
        hmap_insert(map, &sr->node, hash_str(text, map->seed));
    }
    return sr;
}

static void regex_tidy(struct consumer *cg, struct subscribed_regex *sr)
{
    if (sr->members == 0 && !sr->is_resolved) {
        hmap_remove(&cg->details->regexes, &sr->node);
        mem_free(sr);
    }
}

static void regex_clear(struct consumer *cg, struct subscribed_regex *sr)
{
    if (!sr->is_resolved) {
        return;
    }
    for (size_t i = 0; i < sr->topics_count; i++) {
        count_topic(cg, sr->topics[i], 0, -1);
    }
    shard_give(cg->sh, sr->charged);
    sr->topics = mem_free(sr->topics);
    sr->topics_count = 0;
    sr->charged = 0;
    sr->is_resolved = false;
    cg->details->resolved_count--;
}

static int compare_names(const void *a, const void *b)
{
    const struct str *x = a;
    const struct str *y = b;
    return str_compare(*x, *y);
}

void consumer_sort_names(struct str *names, size_t *count)
{
    if (*count > 1) {
        qsort(names, *count, sizeof(*names), compare_names);
    }
    size_t kept = 0;
    for (size_t i = 0; i < *count; i++) {
        if (kept == 0 || !str_equal(names[kept - 1], names[i])) {
            names[kept++] = names[i];
        }
    }
    *count = kept;
}

void consumer_regex_resolve(struct consumer *cg,
                            struct str text,
                            const struct consumer_group_regular_expression_value *value)
{
    struct subscribed_regex *sr = regex_find_or_add(cg, text);
    regex_clear(cg, sr);
    size_t count = value->topics.count < 0 ? 0 : to_size(value->topics.count);
    size_t bytes = count * sizeof(struct str);
    for (size_t i = 0; i < count; i++) {
        bytes += value->topics.items[i].len;
    }
    sr->topics = mem_alloc(bytes + 1);
    char *next = (char *)(sr->topics + count);
    for (size_t i = 0; i < count; i++) {
        struct str name = value->topics.items[i];
        memcpy(next, name.ptr == NULL ? "" : name.ptr, name.len);
        sr->topics[i] = str_of(next, name.len);
        next += name.len;
    }
    sr->topics_count = count;
    consumer_sort_names(sr->topics, &sr->topics_count);
    sr->is_resolved = true;
    sr->version = value->version;
    sr->timestamp = value->timestamp;
    sr->charged = shard_charge(cg->sh, to_i64(bytes)) ? to_i64(bytes) : 0;
    cg->details->resolved_count++;
    for (size_t i = 0; i < sr->topics_count; i++) {
        count_topic(cg, sr->topics[i], 0, 1);
    }
}

void consumer_regex_forget(struct consumer *cg, struct str text)
{
    struct subscribed_regex *sr = consumer_regex_find(cg, text);
    if (sr != NULL) {
        regex_clear(cg, sr);
        regex_tidy(cg, sr);
    }
}

/* ---- members ---- */

void consumer_subscribe(struct consumer *cg, const struct consumer_member *m)
{
    for (size_t i = 0; i < m->topics_count; i++) {
        count_topic(cg, m->topics[i], 1, 0);
    }
    if (regex_is_set(m->regex)) {
        struct subscribed_regex *sr = regex_find_or_add(cg, m->regex);
        cg->details->subscribed_count += sr->members == 0;
        sr->members++;
    }
    count_assignor(cg, m->server_assignor, 1);
}

void consumer_unsubscribe(struct consumer *cg, const struct consumer_member *m)
{
    for (size_t i = 0; i < m->topics_count; i++) {
        count_topic(cg, m->topics[i], -1, 0);
    }
    struct subscribed_regex *sr = regex_is_set(m->regex) ? consumer_regex_find(cg, m->regex) : NULL;
    if (sr != NULL) {
        sr->members--;
        cg->details->subscribed_count -= sr->members == 0;
        regex_tidy(cg, sr);
    }
    count_assignor(cg, m->server_assignor, -1);
}

void consumer_subscriptions_release(struct consumer *cg)
{
    struct consumer_details *cd = cg->details;
    hmap_foreach (node, &cd->regexes) {
        struct subscribed_regex *sr = container_of(node, struct subscribed_regex, node);
        regex_clear(cg, sr);
        hmap_remove(&cd->regexes, node);
        mem_free(sr);
    }
    hmap_release(&cd->regexes);
    hmap_foreach (node, &cd->topics) {
        hmap_remove(&cd->topics, node);
        mem_free(container_of(node, struct subscribed_topic, node));
    }
    hmap_release(&cd->topics);
    for (size_t i = 0; i < cd->assignors_count; i++) {
        mem_free((void *)(uintptr_t)cd->assignors[i].name.ptr);
    }
    cd->assignors = mem_free(cd->assignors);
    cd->assignors_count = 0;
}

static bool has_name(const struct str *names, size_t count, struct str name)
{
    return count > 0 && bsearch(&name, names, count, sizeof(*names), compare_names) != NULL;
}

bool consumer_member_is_subscribed(const struct consumer_member *m, struct str topic)
{
    if (has_name(m->topics, m->topics_count, topic)) {
        return true;
    }
    const struct subscribed_regex *sr =
        regex_is_set(m->regex) ? consumer_regex_find(m->consumer, m->regex) : NULL;
    return sr != NULL && sr->is_resolved && has_name(sr->topics, sr->topics_count, topic);
}

bool consumer_is_subscribed(const struct group *g, struct str topic)
{
    return topic_find(g->consumer, topic) != NULL;
}

void consumer_topic_changed(struct shard *sh,
                            struct group *g,
                            enum shard_topic_change change,
                            const struct shard_topic *t)
{
    struct consumer_details *cd = g->consumer->details;
    if (change == TOPIC_CREATED) {
        cd->new_topics_version = sh->topics->version;
    }
    if (consumer_is_subscribed(g, t->name)) {
        cd->hash_is_known = false;
        cd->refresh_deadline_ms = INT64_MIN; /* the next heartbeat looks */
    }
}

bool consumer_is_homogeneous(const struct consumer *cg)
{
    const struct consumer_details *cd = cg->details;
    if (cd->subscribed_count > 1) {
        return false;
    }
    bool is_by_regex = cd->subscribed_count == 1;
    if (is_by_regex) {
        hmap_foreach (node, &cd->regexes) {
            const struct subscribed_regex *sr = container_of(node, struct subscribed_regex, node);
            if (sr->members > 0 && to_size(sr->members) != cg->members_count) {
                return false;
            }
        }
    }
    hmap_foreach (node, &cd->topics) {
        const struct subscribed_topic *st = container_of(node, struct subscribed_topic, node);
        if (is_by_regex ? (st->by_regex != 1 || st->by_name > 0)
                        : to_size(st->by_name) != cg->members_count) {
            return false;
        }
    }
    return true;
}

/* ---- the hash ---- */

static int64_t topic_hash(struct shard *sh, const struct shard_topic *t, struct hash_input *in)
{
    in->len = 0;
    hash_input_put_byte(in, 0);
    hash_input_put_i64(in, (int64_t)load_be64(t->id.bytes));
    hash_input_put_i64(in, (int64_t)load_be64(t->id.bytes + 8));
    hash_input_put_text(in, t->name);
    hash_input_put_i32(in, t->partitions_count);
    for (int32_t p = 0; p < t->partitions_count; p++) {
        hash_input_put_i32(in, p);
        struct str racks[RACKS_MAX];
        size_t count = sh->topics->racks(sh->topics->ctx, t, p, racks, RACKS_MAX);
        if (count > 1) {
            qsort(racks, count, sizeof(*racks), compare_names);
        }
        for (size_t i = 0; i < count; i++) {
            hash_input_put_i32(in, consumer_hash_utf16_length(racks[i]));
            hash_input_put_text(in, racks[i]);
        }
    }
    return (int64_t)consumer_hash_bytes(in->bytes, in->len);
}

int64_t consumer_compute_hash(struct shard *sh, struct consumer *cg)
{
    struct consumer_details *cd = cg->details;
    if (cd->hash_is_known && cd->hash_version == sh->topics->version) {
        return cd->hash;
    }
    struct str *names = mem_array(cd->topics.count + 1, sizeof(*names));
    size_t count = 0;
    hmap_foreach (node, &cd->topics) {
        names[count++] = container_of(node, struct subscribed_topic, node)->name;
    }
    consumer_sort_names(names, &count);
    struct hash_input whole = {0};
    struct hash_input in = {0};
    for (size_t i = 0; i < count; i++) {
        struct shard_topic t;
        if (sh->topics->by_name(sh->topics->ctx, names[i], &t)) {
            hash_input_put_i64(&whole, topic_hash(sh, &t, &in));
        }
    }
    cd->hash = whole.len == 0 ? 0 : (int64_t)consumer_hash_bytes(whole.bytes, whole.len);
    cd->hash_version = sh->topics->version;
    cd->hash_is_known = true;
    hash_input_release(&in);
    hash_input_release(&whole);
    mem_free(names);
    return cd->hash;
}
