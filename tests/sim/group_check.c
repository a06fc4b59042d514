/*
 * What must hold in sim_groups.
 *
 * Owners. Of the clients that believe to own a partition those count that the coordinator still has
 * as members at the epoch at which they were given it: who was thrown out and has not heard of it
 * yet may believe what it likes, also when it asks to be let in again by its old name, or when the
 * group was upgraded in the middle of a rebalance (as in Kafka, the upgrade knows the assignments
 * of a stable group only). In a consumer group no two of them may own the same partition, whatever
 * their epochs. In a classic group no two of the same generation: the next generation may run
 * already while one is late, and has been dropped from it or will be.
 *
 * Offsets. A promise is a commit that was answered without error; from then on the coordinator must
 * have that offset or a later one, until somebody deletes it, the topic goes, or it expires. No
 * commit that goes back may be accepted of a member: members begin where they read that the one
 * before them had stopped.
 *
 * The log. Now and then a second shard reads the log of the first: both must say the same.
 */
#include "base/base.h"

#include "coord/group.h"
#include "coord/offsets.h"
#include "group_host.h"
#include "group_world.h"

/* ---- owners ---- */

static bool counts(const struct client *cl, const struct group *g)
{
    struct str id = str_from(cl->member_id);
    if (g->kind == GROUP_CONSUMER) {
        const struct consumer_member *m = consumer_member_find(g->consumer, id);
        return m != NULL && (cl->owns_epoch == m->epoch || cl->owns_epoch == m->previous_epoch);
    }
    return classic_member_find(g->classic, id) != NULL;
}

static bool may_both_own(const struct group *g, const struct client *a, const struct client *b)
{
    return g->kind == GROUP_CLASSIC && a->epoch != b->epoch;
}

static const struct group *find_group(const struct world *w, int group)
{
    const struct shard *sh = group_host_shard(w->host, group_host_shard_of(w->host, group));
    return sh == NULL ? NULL : group_find(sh, group_name(w, group));
}

static void compare(struct world *w, const struct group *g, struct client *a, struct client *b)
{
    if (!counts(b, g) || may_both_own(g, a, b)) {
        return;
    }
    for (int t = 0; t < w->topics_count; t++) {
        uint32_t both = held_mask(w, &a->owns[t], t) & held_mask(w, &b->owns[t], t);
        sim_expect(w->s, both == 0,
                   "group " STR_FMT ": clients %d (epoch %d) and %d (epoch %d) both own %s-%d",
                   STR_ARG(g->id), a->index, (int)a->epoch, b->index, (int)b->epoch,
                   w->topics[t].name, both == 0 ? 0 : __builtin_ctz(both));
    }
}

void check_owner(struct client *cl)
{
    struct world *w = cl->w;
    const struct group *g = find_group(w, cl->group);
    if (g == NULL || cl->member_id[0] == '\0' || !counts(cl, g)) {
        return;
    }
    for (int i = 0; i < w->clients_count; i++) {
        struct client *other = &w->clients[i];
        if (other != cl && other->group == cl->group && client_owns_any(other)) {
            compare(w, g, cl, other);
        }
    }
}

void check_all_owners(struct world *w, int group)
{
    for (int i = 0; i < w->clients_count; i++) {
        if (w->clients[i].group == group && client_owns_any(&w->clients[i])) {
            check_owner(&w->clients[i]);
        }
    }
}

/* ---- offsets ---- */

static void each_committed(struct host_call *hc,
                           void (*fn)(struct host_call *hc, struct fact *f, int64_t offset))
{
    struct world *w = hc->w;
    const struct offset_commit_request *rq = hc->call.body;
    const struct offset_commit_response *rs = hc->call.response;
    for (int32_t i = 0; i < rs->topics.count; i++) {
        int t = topics_find(w, rs->topics.items[i].name);
        for (int32_t p = 0; t >= 0 && p < rs->topics.items[i].partitions.count; p++) {
            const struct offset_commit_response_offset_commit_response_partition *out =
                &rs->topics.items[i].partitions.items[p];
            if (out->error_code != 0) {
                continue;
            }
            int64_t offset = -1;
            for (int32_t k = 0; k < rq->topics.count; k++) {
                if (!str_equal(rq->topics.items[k].name, rs->topics.items[i].name)) {
                    continue;
                }
                for (int32_t q = 0; q < rq->topics.items[k].partitions.count; q++) {
                    if (rq->topics.items[k].partitions.items[q].partition_index ==
                        out->partition_index) {
                        offset = rq->topics.items[k].partitions.items[q].committed_offset;
                    }
                }
            }
            fn(hc, &w->facts[hc->group][t][out->partition_index], offset);
        }
    }
}

static void on_executed(struct host_call *hc, struct fact *f, int64_t offset)
{
    if (offset < f->executed && hc->w->faults.expires_offsets) {
        f->acked = -1; /* it has expired, and was begun anew */
        f->executed = -1;
    }
    sim_expect(hc->w->s, offset >= f->executed,
               "group %d: client %d commits %" PRId64 " after %" PRId64 " was committed", hc->group,
               hc->client->index, offset, f->executed);
    f->executed = max_i64(f->executed, offset);
}

static void on_answered(struct host_call *hc, struct fact *f, int64_t offset)
{
    if (hc->number > f->deleted_at) {
        f->acked = max_i64(f->acked, offset);
        f->executed = max_i64(f->executed, offset);
    }
}

static void forget(struct world *w, struct fact *f)
{
    *f = (struct fact){.acked = -1, .executed = -1, .deleted_at = w->calls};
}

void check_executed(struct host_call *hc)
{
    struct world *w = hc->w;
    if (hc->call.api_key == msg_api_key(&offset_commit_request_msg)) {
        each_committed(hc, on_executed);
    } else if (hc->call.api_key == msg_api_key(&delete_groups_request_msg)) {
        for (int t = 0; t < TOPICS_MAX; t++) {
            for (int p = 0; p < PARTITIONS_MAX; p++) {
                forget(w, &w->facts[hc->group][t][p]);
            }
        }
    } else if (hc->call.api_key == msg_api_key(&offset_delete_request_msg)) {
        const struct offset_delete_request *rq = hc->call.body;
        for (int32_t i = 0; i < rq->topics.count; i++) {
            int t = topics_find(w, rq->topics.items[i].name);
            for (int32_t p = 0; t >= 0 && p < rq->topics.items[i].partitions.count; p++) {
                int32_t partition = rq->topics.items[i].partitions.items[p].partition_index;
                forget(w, &w->facts[hc->group][t][partition]);
            }
        }
    }
}

void check_answered(struct host_call *hc)
{
    if (hc->call.api_key == msg_api_key(&offset_commit_request_msg)) {
        each_committed(hc, on_answered);
    }
}

void check_topic_gone(struct world *w, int topic)
{
    for (int g = 0; g < w->groups_count; g++) {
        for (int p = 0; p < PARTITIONS_MAX; p++) {
            forget(w, &w->facts[g][topic][p]);
        }
    }
}

/* What was accepted and not promised may be lost with the records of a crash. */
void check_rolled_back(struct world *w, int shard)
{
    for (int g = 0; g < w->groups_count; g++) {
        if (group_host_shard_of(w->host, g) != shard) {
            continue;
        }
        for (int t = 0; t < TOPICS_MAX; t++) {
            for (int p = 0; p < PARTITIONS_MAX; p++) {
                w->facts[g][t][p].executed = w->facts[g][t][p].acked;
            }
        }
    }
}

static void check_facts(struct world *w, int group, const struct shard *sh, const struct group *g)
{
    for (int t = 0; t < w->topics_count; t++) {
        for (int p = 0; p < PARTITIONS_MAX; p++) {
            struct fact *f = &w->facts[group][t][p];
            if (f->acked < 0) {
                continue;
            }
            const struct committed_offset *co =
                g == NULL ? NULL : offsets_find(sh, g, str_from(w->topics[t].name), p);
            if (co == NULL && w->faults.expires_offsets) {
                forget(w, f);
                continue;
            }
            sim_expect(w->s, co != NULL,
                       "group %d: the offset of %s-%d has vanished; %" PRId64 " was promised",
                       group, w->topics[t].name, p, f->acked);
            sim_expect(w->s, co == NULL || co->offset >= f->acked,
                       "group %d: the offset of %s-%d went back to %" PRId64 " from %" PRId64,
                       group, w->topics[t].name, p, co == NULL ? -1 : co->offset, f->acked);
        }
    }
}

/* ---- the log ---- */

static struct str line_at(struct str text, size_t at)
{
    while (at > 0 && text.ptr[at - 1] != '\n') {
        at--;
    }
    size_t end = at;
    while (end < text.len && text.ptr[end] != '\n') {
        end++;
    }
    return str_of(text.ptr + at, min_size(end - at, 400));
}

static void check_log(struct world *w, int shard)
{
    struct shard *sh = group_host_shard(w->host, shard);
    struct shard *again = group_host_replay(w->host, shard);
    struct arena arena = {0};
    struct str live = dump_shard(sh, again, &arena);
    struct str replayed = dump_shard(again, sh, &arena);
    size_t at = 0;
    while (at < live.len && at < replayed.len && live.ptr[at] == replayed.ptr[at]) {
        at++;
    }
    if (at < live.len || at < replayed.len) {
        struct str mine = line_at(live, min_size(at, live.len));
        struct str its = line_at(replayed, min_size(at, replayed.len));
        if (w->s->is_verbose) {
            printf("# live:     " STR_FMT "\n# replayed: " STR_FMT "\n", STR_ARG(mine),
                   STR_ARG(its));
        }
        sim_fail(w->s, "shard %d: live and log differ: '" STR_FMT "' and '" STR_FMT "'", shard,
                 STR_ARG(mine), STR_ARG(its));
    }
    arena_release(&arena);
    shard_free(again);
    sim_happened(w->s, "log read and compared");
}

void check_shard(struct world *w, int shard)
{
    struct shard *sh = group_host_shard(w->host, shard);
    for (int g = 0; g < w->groups_count; g++) {
        if (group_host_shard_of(w->host, g) == shard) {
            check_facts(w, g, sh, group_find(sh, group_name(w, g)));
        }
    }
    if (!w->s->has_failed) {
        check_log(w, shard);
    }
}

/* ---- once it is quiet ---- */

struct sums {
    uint32_t owned[TOPICS_MAX];
    uint32_t wanted[TOPICS_MAX];
    int members;
    int least; /* partitions of a member */
    int most;
    bool are_alike; /* all are subscribed to the same */
};

static bool add_member(struct world *w, struct client *cl, struct sums *sums)
{
    int owns = 0;
    for (int t = 0; t < w->topics_count; t++) {
        uint32_t mask = held_mask(w, &cl->owns[t], t);
        if (!w->topics[t].exists) {
            continue;
        }
        if ((mask & sums->owned[t]) != 0) {
            return false;
        }
        sums->owned[t] |= mask;
        owns += __builtin_popcount(mask);
        if ((cl->topics >> t & 1) != 0) {
            sums->wanted[t] = (1u << w->topics[t].partitions) - 1;
        } else if (mask != 0) {
            return false;
        }
    }
    sums->least = sums->members == 0 ? owns : (int)min_i64(sums->least, owns);
    sums->most = (int)max_i64(sums->most, owns);
    sums->members++;
    return true;
}

bool check_is_group_quiet(struct world *w, int group, char *ret_why, size_t cap)
{
    struct sums sums = {.are_alike = true};
    const struct client *first = NULL;
    bool is_range = false;
    for (int i = 0; i < w->clients_count; i++) {
        struct client *cl = &w->clients[i];
        if (cl->group != group || cl->kind == CLIENT_SIMPLE || cl->state == CLIENT_OFF) {
            continue;
        }
        if (cl->state != CLIENT_IS_MEMBER || cl->must_rejoin || cl->is_revoking) {
            snprintf(ret_why, cap, "client %d of group %d is in state %d", i, group,
                     (int)cl->state);
            return false;
        }
        if (!add_member(w, cl, &sums)) {
            snprintf(ret_why, cap, "client %d of group %d owns what it should not", i, group);
            return false;
        }
        first = first == NULL ? cl : first;
        sums.are_alike &= cl->topics == first->topics;
        is_range |= cl->assignor != NULL && strcmp(cl->assignor, "range") == 0;
    }
    for (int t = 0; t < w->topics_count && sums.members > 0; t++) {
        if (sums.owned[t] != sums.wanted[t]) {
            snprintf(ret_why, cap, "group %d: %s is owned as %x, not as %x", group,
                     w->topics[t].name, sums.owned[t], sums.wanted[t]);
            return false;
        }
    }
    if (sums.members > 0 && sums.are_alike && !is_range && sums.most - sums.least > 1) {
        snprintf(ret_why, cap, "group %d: one member owns %d, another one %d", group, sums.least,
                 sums.most);
        return false;
    }
    return true;
}

bool check_is_quiet(struct world *w, char *ret_why, size_t cap)
{
    for (int i = 0; i < group_host_shards(w->host); i++) {
        if (group_host_shard(w->host, i) == NULL) {
            snprintf(ret_why, cap, "shard %d does not serve", i);
            return false;
        }
    }
    for (int g = 0; g < w->groups_count; g++) {
        if (!check_is_group_quiet(w, g, ret_why, cap)) {
            return false;
        }
    }
    return true;
}
