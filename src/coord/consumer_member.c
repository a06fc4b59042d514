/*
 * Members of a consumer group: their texts, what they hold, the maps that lead to them; the group
 * that holds them.
 *
 * All texts of its metadata lie in one block that is replaced as a whole. What it holds and must
 * give back is entered in the group's owners at the member's epoch: a partition is free when it has
 * no entry. As in Kafka an entry is taken back only when it still has the epoch with which it was
 * entered, and a higher epoch wins: records of a compacted log may overtake each other.
 */
#include "coord/consumer_private.h"

#include "base/base.h"
#include "coord/classic.h"

static void charge(struct consumer_member *m, int64_t bytes)
{
    struct shard *sh = m->consumer->sh;
    int64_t more = bytes - m->charged;
    if (more <= 0) {
        shard_give(sh, -more);
        m->charged = bytes;
    } else if (shard_charge(sh, more)) { /* refused: what is in a record is kept all the same */
        m->charged = bytes;
    }
}

static int64_t classic_bytes(const struct consumer_classic *cc)
{
    if (cc == NULL) {
        return 0;
    }
    int64_t bytes = (int64_t)sizeof(*cc);
    for (size_t i = 0; i < cc->protocols_count; i++) {
        bytes += to_i64(sizeof(cc->protocols[i]) + cc->protocols[i].name.len +
                        cc->protocols[i].metadata.len);
    }
    return bytes;
}

/* Of the block of texts. */
static int64_t text_bytes(const struct consumer_member *like)
{
    size_t bytes = like->instance_id.len + like->rack_id.len + like->client_id.len +
                   like->client_host.len + like->regex.len + like->server_assignor.len +
                   like->topics_count * sizeof(struct str);
    for (size_t i = 0; i < like->topics_count; i++) {
        bytes += like->topics[i].len;
    }
    return to_i64(bytes) + classic_bytes(like->classic);
}

int64_t consumer_member_cost(const struct consumer_member *like)
{
    return (int64_t)sizeof(struct consumer_member) + to_i64(like->id.len) + text_bytes(like);
}

static void recharge(struct consumer_member *m)
{
    int64_t owners = assignment_size(&m->assigned) + assignment_size(&m->pending_revocation);
    charge(m, consumer_member_cost(m) + assignment_bytes(&m->assigned) +
                  assignment_bytes(&m->pending_revocation) + assignment_bytes(&m->target) +
                  owners * (int64_t)(sizeof(struct owned_partition) + sizeof(int32_t)));
}

static struct orphan_target *orphan_find(const struct consumer *cg, struct str id)
{
    const struct hmap *map = &cg->details->orphans;
    struct hmap_node *node = hmap_first(map, hash_str(id, map->seed));
    for (; node != NULL; node = hmap_next(node)) {
        struct orphan_target *ot = container_of(node, struct orphan_target, node);
        if (str_equal(ot->member_id, id)) {
            return ot;
        }
    }
    return NULL;
}

struct consumer_member *consumer_member_new(struct consumer *cg, struct str id)
{
    struct consumer_member *m = mem_zalloc(sizeof(*m));
    m->consumer = cg;
    m->id = str_of(mem_strndup(id.ptr, id.len), id.len);
    m->client_id = STR("");
    m->client_host = STR("");
    m->regex = STR("");
    m->rebalance_timeout_ms = -1;
    m->previous_epoch = -1;
    timer_init(&m->session, cg->details->timers->session, cg->sh);
    timer_init(&m->rebalance, cg->details->timers->rebalance, cg->sh);
    hmap_insert(&cg->members, &m->node, hash_str(m->id, cg->members.seed));
    cg->members_count++;
    if (consumer_member_is_reconciled(m, cg->target_epoch)) {
        cg->details->reconciled_count++;
    }
    struct orphan_target *ot = orphan_find(cg, id);
    if (ot != NULL) {
        hmap_remove(&cg->details->orphans, &ot->node);
        m->target = ot->target;
        m->has_target = true;
        mem_free(ot);
    }
    recharge(m);
    return m;
}

/* ---- owners ---- */

static uint64_t owner_hash(const struct hmap *map, const struct uuid *id, int32_t partition)
{
    return hash_bytes(id->bytes, sizeof(id->bytes), map->seed + (uint32_t)partition);
}

static struct owned_partition *
owner_find(const struct consumer *cg, const struct uuid *id, int32_t partition)
{
    const struct hmap *map = &cg->details->owners;
    struct hmap_node *node = hmap_first(map, owner_hash(map, id, partition));
    for (; node != NULL; node = hmap_next(node)) {
        struct owned_partition *op = container_of(node, struct owned_partition, node);
        if (op->partition == partition && uuid_equal(&op->topic_id, id)) {
            return op;
        }
    }
    return NULL;
}

int32_t
consumer_partition_epoch(const struct consumer *cg, const struct uuid *topic_id, int32_t partition)
{
    const struct owned_partition *op = owner_find(cg, topic_id, partition);
    return op == NULL ? -1 : op->epoch;
}

static void own(struct consumer *cg, const struct assignment *a, int32_t epoch)
{
    struct hmap *map = &cg->details->owners;
    for (int32_t i = 0; i < a->count; i++) {
        const struct topic_partitions *tp = &a->topics[i];
        for (int32_t j = 0; j < tp->count; j++) {
            struct owned_partition *op = owner_find(cg, &tp->id, tp->partitions[j]);
            if (op == NULL) {
                op = mem_zalloc(sizeof(*op));
                op->topic_id = tp->id;
                op->partition = tp->partitions[j];
                op->epoch = epoch;
                hmap_insert(map, &op->node, owner_hash(map, &tp->id, op->partition));
            } else if (op->epoch < epoch) {
                op->epoch = epoch;
            }
        }
    }
}

static void disown(struct consumer *cg, const struct assignment *a, int32_t epoch)
{
    for (int32_t i = 0; i < a->count; i++) {
        const struct topic_partitions *tp = &a->topics[i];
        for (int32_t j = 0; j < tp->count; j++) {
            struct owned_partition *op = owner_find(cg, &tp->id, tp->partitions[j]);
            if (op != NULL && op->epoch == epoch) {
                hmap_remove(&cg->details->owners, &op->node);
                mem_free(op);
            }
        }
    }
}

/* ---- what it holds ---- */

bool consumer_member_is_reconciled(const struct consumer_member *m, int32_t target_epoch)
{
    return m->state == MEMBER_STABLE && m->epoch == target_epoch;
}

void consumer_count_reconciled(struct consumer *cg)
{
    cg->details->reconciled_count = 0;
    hmap_foreach (node, &cg->members) {
        const struct consumer_member *m = container_of(node, struct consumer_member, node);
        if (consumer_member_is_reconciled(m, cg->target_epoch)) {
            cg->details->reconciled_count++;
        }
    }
}

static int32_t *copy_epochs(const struct assignment *a, const int32_t *epochs, int32_t otherwise)
{
    size_t count = to_size(assignment_size(a));
    if (count == 0) {
        return NULL;
    }
    int32_t *copy = mem_array(count, sizeof(*copy));
    for (size_t i = 0; i < count; i++) {
        copy[i] = epochs == NULL ? otherwise : epochs[i];
    }
    return copy;
}

void consumer_member_set_position(struct consumer_member *m, const struct consumer_position *at)
{
    struct consumer *cg = m->consumer;
    if (consumer_member_is_reconciled(m, cg->target_epoch)) {
        cg->details->reconciled_count--;
    }
    disown(cg, &m->assigned, m->epoch);
    disown(cg, &m->pending_revocation, m->epoch);
    struct assignment assigned;
    struct assignment pending;
    assignment_copy(&at->assigned, &assigned);
    assignment_copy(&at->pending_revocation, &pending);
    int32_t otherwise = at->epoch > 0 ? at->epoch : 0;
    int32_t *assigned_epochs = copy_epochs(&assigned, at->assigned_epochs, otherwise);
    int32_t *pending_epochs = copy_epochs(&pending, at->pending_revocation_epochs, otherwise);
    assignment_release(&m->assigned);
    assignment_release(&m->pending_revocation);
    mem_free(m->assigned_epochs);
    mem_free(m->pending_revocation_epochs);
    m->assigned = assigned;
    m->pending_revocation = pending;
    m->assigned_epochs = assigned_epochs;
    m->pending_revocation_epochs = pending_epochs;
    m->epoch = at->epoch;
    m->previous_epoch = at->previous_epoch;
    m->state = at->state;
    own(cg, &m->assigned, m->epoch);
    own(cg, &m->pending_revocation, m->epoch);
    if (consumer_member_is_reconciled(m, cg->target_epoch)) {
        cg->details->reconciled_count++;
    }
    recharge(m);
}

void consumer_member_set_target(struct consumer_member *m, const struct assignment *target)
{
    struct assignment copy = {0};
    if (target != NULL) {
        assignment_copy(target, &copy);
    }
    assignment_release(&m->target);
    m->target = copy;
    m->has_target = target != NULL;
    recharge(m);
}

/* ---- metadata ---- */

static struct str put_text(char **next, struct str s)
{
    if (s.ptr == NULL || s.len == 0) {
        return str_of(s.ptr == NULL ? NULL : "", 0);
    }
    char *at = *next;
    memcpy(at, s.ptr, s.len);
    *next = at + s.len;
    return str_of(at, s.len);
}

static struct consumer_classic *
put_classic(struct consumer_classic *cc, char **next, const struct consumer_classic *like)
{
    struct classic_protocol *protocols = (struct classic_protocol *)(void *)(cc + 1);
    *cc = (struct consumer_classic){
        .session_timeout_ms = like->session_timeout_ms,
        .protocols = protocols,
        .protocols_count = like->protocols_count,
    };
    for (size_t i = 0; i < like->protocols_count; i++) {
        const struct classic_protocol *from = &like->protocols[i];
        protocols[i].name = put_text(next, from->name);
        struct str bytes = str_of((const char *)from->metadata.ptr, from->metadata.len);
        bytes = put_text(next, bytes);
        protocols[i].metadata = (struct view){(const uint8_t *)bytes.ptr, bytes.len};
    }
    return cc;
}

/* The block: classic metadata and protocols, names of topics, all bytes. */
static void copy_texts(struct consumer_member *m, const struct consumer_member *like)
{
    char *block = mem_zalloc(to_size(text_bytes(like)) + 1);
    size_t structs = 0;
    if (like->classic != NULL) {
        structs = sizeof(*like->classic) +
                  like->classic->protocols_count * sizeof(struct classic_protocol);
    }
    struct str *topics = (struct str *)(void *)(block + structs);
    char *next = block + structs + like->topics_count * sizeof(*topics);
    struct consumer_classic *classic = NULL;
    if (like->classic != NULL) {
        classic = put_classic((struct consumer_classic *)(void *)block, &next, like->classic);
    }
    for (size_t i = 0; i < like->topics_count; i++) {
        topics[i] = put_text(&next, like->topics[i]);
    }
    m->instance_id = put_text(&next, like->instance_id);
    m->rack_id = put_text(&next, like->rack_id);
    m->client_id = put_text(&next, like->client_id);
    m->client_host = put_text(&next, like->client_host);
    m->regex = put_text(&next, like->regex);
    m->server_assignor = put_text(&next, like->server_assignor);
    m->topics_count = like->topics_count;
    m->topics = topics;
    m->classic = classic;
    m->rebalance_timeout_ms = like->rebalance_timeout_ms;
    void *old = m->texts;
    m->texts = block;
    mem_free(old); /* like may have pointed there */
}

static void enter_instance(struct consumer_member *m)
{
    if (!str_is_null(m->instance_id)) {
        struct hmap *map = &m->consumer->details->instances;
        hmap_insert(map, &m->by_instance, hash_str(m->instance_id, map->seed));
    }
}

static void leave_instance(struct consumer_member *m)
{
    if (!str_is_null(m->instance_id)) {
        hmap_remove(&m->consumer->details->instances, &m->by_instance);
    }
}

void consumer_member_set_metadata(struct consumer_member *m, const struct consumer_member *like)
{
    struct consumer *cg = m->consumer;
    consumer_unsubscribe(cg, m);
    leave_instance(m);
    cg->classic_members_count -= m->classic != NULL;
    copy_texts(m, like);
    cg->classic_members_count += m->classic != NULL;
    enter_instance(m);
    consumer_subscribe(cg, m);
    recharge(m);
}

void consumer_member_free(struct consumer_member *m)
{
    struct consumer *cg = m->consumer;
    consumer_unsubscribe(cg, m);
    leave_instance(m);
    disown(cg, &m->assigned, m->epoch);
    disown(cg, &m->pending_revocation, m->epoch);
    cg->classic_members_count -= m->classic != NULL;
    if (consumer_member_is_reconciled(m, cg->target_epoch)) {
        cg->details->reconciled_count--;
    }
    hmap_remove(&cg->members, &m->node);
    cg->members_count--;
    timers_disarm(&cg->sh->timers, &m->session);
    timers_disarm(&cg->sh->timers, &m->rebalance);
    assignment_release(&m->assigned);
    assignment_release(&m->pending_revocation);
    assignment_release(&m->target);
    mem_free(m->assigned_epochs);
    mem_free(m->pending_revocation_epochs);
    shard_give(cg->sh, m->charged);
    mem_free(m->texts);
    mem_free((void *)(uintptr_t)m->id.ptr);
    mem_free(m);
}

void consumer_touch_member(struct shard *sh, struct consumer_member *m)
{
    int32_t timeout_ms;
    if (m->classic != NULL) {
        timeout_ms = m->classic->session_timeout_ms;
    } else {
        struct group_settings settings;
        sh->config->settings(sh->config->settings_ctx, m->consumer->group->id, &settings);
        timeout_ms = settings.session_timeout_ms;
    }
    m->session_deadline_ms = sh->now_ms + timeout_ms;
    /* An earlier deadline looks at the field when it fires. */
    if (!timer_is_armed(&m->session) || m->session.deadline_ms > m->session_deadline_ms) {
        timers_arm(&sh->timers, &m->session, m->session_deadline_ms);
    }
}

bool consumer_same_topics(const struct consumer_member *a, const struct consumer_member *b)
{
    if (a->topics_count != b->topics_count) {
        return false;
    }
    for (size_t i = 0; i < a->topics_count; i++) {
        if (!str_equal(a->topics[i], b->topics[i])) {
            return false;
        }
    }
    return true;
}

static bool same_classic(const struct consumer_classic *a, const struct consumer_classic *b)
{
    if (a == NULL || b == NULL) {
        return a == b;
    }
    if (a->session_timeout_ms != b->session_timeout_ms ||
        a->protocols_count != b->protocols_count) {
        return false;
    }
    for (size_t i = 0; i < a->protocols_count; i++) {
        struct view x = a->protocols[i].metadata;
        struct view y = b->protocols[i].metadata;
        if (!str_equal(a->protocols[i].name, b->protocols[i].name) || x.len != y.len ||
            (x.len > 0 && memcmp(x.ptr, y.ptr, x.len) != 0)) {
            return false;
        }
    }
    return true;
}

bool consumer_metadata_equal(const struct consumer_member *a, const struct consumer_member *b)
{
    return str_equal(a->instance_id, b->instance_id) && str_equal(a->rack_id, b->rack_id) &&
           str_equal(a->client_id, b->client_id) && str_equal(a->client_host, b->client_host) &&
           str_equal(a->regex, b->regex) && str_equal(a->server_assignor, b->server_assignor) &&
           a->rebalance_timeout_ms == b->rebalance_timeout_ms && consumer_same_topics(a, b) &&
           same_classic(a->classic, b->classic);
}

static int compare_members(const void *a, const void *b)
{
    const struct consumer_member *x = *(struct consumer_member *const *)a;
    const struct consumer_member *y = *(struct consumer_member *const *)b;
    return str_compare(x->id, y->id);
}

struct consumer_member **consumer_members_sorted(const struct consumer *cg, struct arena *arena)
{
    struct consumer_member **all = arena_alloc(arena, (cg->members_count + 1) * sizeof(*all));
    size_t count = 0;
    hmap_foreach (node, &cg->members) {
        all[count++] = container_of(node, struct consumer_member, node);
    }
    qsort(all, count, sizeof(*all), compare_members);
    return all;
}

/* ---- the group ---- */

struct consumer *
consumer_new(struct shard *sh, struct group *g, const struct consumer_timers *timers)
{
    struct consumer *cg = mem_zalloc(sizeof(*cg));
    struct consumer_details *cd = mem_zalloc(sizeof(*cd));
    uint64_t seed = sh->groups.seed;
    cg->group = g;
    cg->sh = sh;
    cg->epoch = 1;
    cg->target_epoch = 1;
    cg->details = cd;
    cd->timers = timers;
    hmap_init(&cg->members, seed);
    hmap_init(&cd->instances, seed);
    hmap_init(&cd->topics, seed);
    hmap_init(&cd->regexes, seed);
    hmap_init(&cd->owners, seed);
    hmap_init(&cd->orphans, seed);
    cd->refresh_deadline_ms = INT64_MIN;
    int64_t bytes = (int64_t)(sizeof(*cg) + sizeof(*cd));
    cd->charged = shard_charge(sh, bytes) ? bytes : 0;
    return cg;
}

struct consumer *consumer_free(struct consumer *cg)
{
    if (cg == NULL) {
        return NULL;
    }
    struct consumer_details *cd = cg->details;
    hmap_foreach (node, &cg->members) {
        consumer_member_free(container_of(node, struct consumer_member, node));
    }
    hmap_release(&cg->members);
    hmap_release(&cd->instances);
    consumer_subscriptions_release(cg);
    hmap_foreach (node, &cd->owners) { /* epochs of a strange log */
        hmap_remove(&cd->owners, node);
        mem_free(container_of(node, struct owned_partition, node));
    }
    hmap_release(&cd->owners);
    hmap_foreach (node, &cd->orphans) {
        struct orphan_target *ot = container_of(node, struct orphan_target, node);
        hmap_remove(&cd->orphans, node);
        assignment_release(&ot->target);
        mem_free(ot);
    }
    hmap_release(&cd->orphans);
    shard_give(cg->sh, cd->charged);
    mem_free(cd);
    mem_free(cg);
    return NULL;
}

void consumer_loaded(struct shard *sh, struct group *g)
{
    struct consumer *cg = g->consumer;
    struct group_settings settings;
    sh->config->settings(sh->config->settings_ctx, g->id, &settings);
    cg->details->new_topics_version = sh->topics->version;
    hmap_foreach (node, &cg->members) {
        struct consumer_member *m = container_of(node, struct consumer_member, node);
        m->session_deadline_ms = sh->now_ms + settings.session_timeout_ms;
        timers_arm(&sh->timers, &m->session, m->session_deadline_ms);
        if (m->state == MEMBER_UNREVOKED_PARTITIONS) {
            timers_arm(&sh->timers, &m->rebalance, sh->now_ms + m->rebalance_timeout_ms);
        }
    }
}
