/*
 * DescribeLogDirs 1-5 (Kafka: ReplicaManager.describeLogDirs). Asks the file system for space and
 * every log for its size: on a worker.
 */
#include "broker/broker.h"
#include "broker/handlers.h"
#include "broker/io_thread.h"
#include "broker/log_dirs.h"
#include "broker/partition.h"
#include "broker/partition_table.h"
#include "broker/request.h"

static int by_name(const void *a, const void *b)
{
    const struct partition *pa = *(struct partition *const *)a;
    const struct partition *pb = *(struct partition *const *)b;
    int order = str_compare(pa->topic, pb->topic);
    return order != 0 ? order : (pa->number > pb->number) - (pa->number < pb->number);
}

/* Index of the partition among `all`, which are sorted; SIZE_MAX: it is not there. */
static size_t find(struct partition *const *all, size_t count, struct str topic, int32_t number)
{
    size_t low = 0;
    size_t high = count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        int order = str_compare(all[mid]->topic, topic);
        order = order != 0 ? order : (all[mid]->number > number) - (all[mid]->number < number);
        if (order == 0) {
            return mid;
        }
        low = order < 0 ? mid + 1 : low;
        high = order < 0 ? high : mid;
    }
    return SIZE_MAX;
}

/* By partition: is it asked for? */
static bool *mark_asked(struct request *rq, struct partition *const *all, size_t count)
{
    const struct describe_log_dirs_request *body = rq->body;
    bool *asked = arena_alloc(&rq->arena, count + 1);
    memset(asked, body->topics.count < 0, count);
    for (int32_t i = 0; i < body->topics.count; i++) {
        const struct describe_log_dirs_request_describable_log_dir_topic *dt =
            &body->topics.items[i];
        for (int32_t j = 0; j < dt->partitions.count; j++) {
            size_t at = find(all, count, dt->topic, dt->partitions.items[j]);
            if (at != SIZE_MAX) {
                asked[at] = true;
            }
        }
    }
    return asked;
}

static void describe_dir(struct request *rq,
                         struct log_dir_entry *dir,
                         struct partition **all,
                         const bool *asked,
                         size_t count,
                         struct describe_log_dirs_response_describe_log_dirs_result *out)
{
    *out = describe_log_dirs_response_describe_log_dirs_result_default;
    out->log_dir = str_from(dir->path);
    out->is_cordoned = dir->is_cordoned;
    if (dir->ld == NULL || atomic_load(&dir->is_offline)) {
        out->error_code = KAFKA_ERROR_KAFKA_STORAGE_ERROR;
        return;
    }
    IGNORE(fs_space(rq->br->fs, dir->path, &out->total_bytes,
                    &out->usable_bytes)); /* stay -1: unknown */
    out->topics.items = arena_alloc(&rq->arena, (count + 1) * sizeof(*out->topics.items));
    struct describe_log_dirs_response_describe_log_dirs_partition *parts =
        arena_alloc(&rq->arena, (count + 1) * sizeof(*parts));
    struct describe_log_dirs_response_describe_log_dirs_topic *tr = NULL;
    for (size_t i = 0; i < count; i++) {
        struct partition *p = all[i];
        if (p->ld != dir->ld || p->pl == NULL || !asked[i]) {
            continue;
        }
        if (tr == NULL || !str_equal(tr->name, p->topic)) {
            tr = &out->topics.items[out->topics.count++];
            *tr = describe_log_dirs_response_describe_log_dirs_topic_default;
            tr->name = arena_strdup(&rq->arena, p->topic);
            tr->partitions.items = parts;
        }
        *parts = describe_log_dirs_response_describe_log_dirs_partition_default;
        parts->partition_index = p->number;
        parts->partition_size = plog_size_bytes(p->pl);
        parts++;
        tr->partitions.count++;
    }
}

static void describe(struct request *rq)
{
    struct describe_log_dirs_response *out = rq->response;
    struct log_dir_entry *dirs = NULL;
    size_t dirs_count = 0;
    log_dirs_entries(rq->br->log_dirs, &dirs, &dirs_count);
    struct partition **all = NULL;
    size_t count = 0;
    partition_all(rq->br->partitions, &all, &count);
    qsort(all, count, sizeof(struct partition *), by_name);
    const bool *asked = mark_asked(rq, all, count);
    out->results.items = arena_alloc(&rq->arena, (dirs_count + 1) * sizeof(*out->results.items));
    out->results.count = (int32_t)dirs_count;
    for (size_t d = 0; d < dirs_count; d++) {
        describe_dir(rq, &dirs[d], all, asked, count, &out->results.items[d]);
    }
    for (size_t i = 0; i < count; i++) {
        partition_unref(all[i]);
    }
    mem_free(all);
}

enum request_verdict h_describe_log_dirs(struct request *rq)
{
    struct describe_log_dirs_response *out = rq->response;
    if (!authorize(rq, ACL_DESCRIBE, RESOURCE_CLUSTER, CLUSTER_NAME)) {
        out->error_code = KAFKA_ERROR_CLUSTER_AUTHORIZATION_FAILED;
        return REQUEST_DONE;
    }
    request_offload(rq, describe, request_finish);
    return REQUEST_PARKED;
}
