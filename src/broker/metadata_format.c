/*
 * What happens to the directories before the metadata log is opened: a set of empty ones is
 * formatted as `kafka-storage format --standalone` does it, one that is formatted says who this
 * node is.
 *
 * The directory of the metadata log decides: when it is formatted, an empty one beside it is
 * refused as by Kafka, since it may be where a disk is not mounted, and its partitions would begin
 * anew without their records (unless this is the first start of all: a power cut may have come
 * between the two). When it is not, but another is, the metadata is lost and nothing is touched.
 *
 * Answers to Kafka's StorageTool, Formatter, MetaPropertiesEnsemble.
 */
#include "broker/metadata.h"

#include "base/err.h"
#include "broker/broker.h"
#include "config/config.h"
#include "meta/bootstrap.h"
#include "raft/format.h"
#include "storage/log_dir.h"

/* Where the first voter says it listens when no controller listener is configured; nothing is bound
 * there. */
#define CONTROLLER_NAME STR("CONTROLLER")
#define CONTROLLER_HOST STR("localhost")
#define CONTROLLER_PORT 9093

#define DEFAULT_NODE_ID 1

struct directories {
    struct broker *br;
    struct arena arena;
    const char *paths[FORMAT_DIRS_MAX];
    enum format_state states[FORMAT_DIRS_MAX];
    struct uuid ids[FORMAT_DIRS_MAX]; /* of those that are formatted */
    size_t count;
    size_t metadata; /* the place of the metadata log's among them */
    char *ret_error;
    size_t error_cap;
};

static int refuse(struct directories *ds, int err, const char *format, ...) printf_like(3, 4);

static int refuse(struct directories *ds, int err, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(ds->ret_error, ds->error_cap, format, args);
    va_end(args);
    return err;
}

const char *metadata_dir(struct broker *br, struct arena *arena)
{
    struct str own = config_get_str(br->config, "metadata.log.dir");
    if (own.len > 0) {
        return arena_strdup(arena, own).ptr;
    }
    struct str *paths;
    size_t count;
    config_get_list(br->config, "log.dirs", arena, &paths, &count);
    return count == 0 ? NULL : arena_strdup(arena, paths[0]).ptr;
}

static int list_directories(struct directories *ds)
{
    struct str *paths;
    size_t count;
    config_get_list(ds->br->config, "log.dirs", &ds->arena, &paths, &count);
    const char *metadata = metadata_dir(ds->br, &ds->arena);
    if (metadata == NULL || count >= FORMAT_DIRS_MAX) {
        return refuse(ds, ERR_BAD_ARGUMENT, "log.dirs must name between 1 and %d directories",
                      FORMAT_DIRS_MAX - 1);
    }
    ds->metadata = count;
    for (size_t i = 0; i < count; i++) {
        ds->paths[i] = arena_strdup(&ds->arena, paths[i]).ptr;
        if (strcmp(ds->paths[i], metadata) == 0) {
            ds->metadata = i;
        }
    }
    ds->count = count;
    if (ds->metadata == count) {
        ds->paths[ds->count++] = metadata;
    }
    for (size_t i = 0; i < ds->count; i++) {
        int r = format_inspect(ds->br->fs, ds->paths[i], &ds->states[i]);
        if (r < 0) {
            return refuse(ds, r, "data directory %s cannot be read: %s", ds->paths[i], err_text(r));
        }
        if (ds->states[i] == FORMAT_FOREIGN) {
            return refuse(
                ds, ERR_NOT_FORMATTED,
                "data directory %s holds files but no meta.properties: it is neither empty nor "
                "formatted; choose another one with --data",
                ds->paths[i]);
        }
    }
    return 0;
}

bool metadata_is_first_start(const struct broker *br, const char *dir)
{
    char path[4096];
    struct strbuf sb;
    struct fs_stat st;
    strbuf_init(&sb, path, sizeof(path));
    strbuf_addf(&sb, "%s/__cluster_metadata-0/quorum-state", dir);
    return !sb.is_truncated && fs_stat(br->fs, path, &st) == -ENOENT;
}

/* Of a cluster that has run. */
static int refuse_empty(struct directories *ds)
{
    for (size_t i = 0; i < ds->count; i++) {
        if (ds->states[i] == FORMAT_EMPTY) {
            return refuse(ds, ERR_NOT_FORMATTED,
                          "data directory %s is empty while others are formatted; mount its disk, "
                          "or make it one of them with: jackdaw format --ignore-formatted",
                          ds->paths[i]);
        }
    }
    return 0;
}

static void fill_endpoint(const struct broker *br, struct voter_endpoint *ret)
{
    const struct config_listener *cl = config_controller_listener(br->config);
    *ret = (struct voter_endpoint){
        .listener = CONTROLLER_NAME, .host = CONTROLLER_HOST, .port = CONTROLLER_PORT};
    if (cl == NULL) {
        return;
    }
    ret->listener = cl->name;
    if (cl->advertised_host.len > 0) {
        ret->host = cl->advertised_host;
    } else if (cl->host.len > 0) {
        ret->host = cl->host;
    }
    uint16_t port = cl->advertised_port != 0 ? cl->advertised_port : cl->port;
    ret->port = port != 0 ? port : ret->port;
}

/* Formats the directories that are not; `cluster_id` is the new or the old one. */
static int format_rest(struct directories *ds, struct str cluster_id)
{
    struct broker *br = ds->br;
    const char *paths[FORMAT_DIRS_MAX];
    size_t count = 0;
    for (size_t i = 0; i < ds->count; i++) {
        if (ds->states[i] != FORMAT_FORMATTED) {
            paths[count++] = ds->paths[i];
        }
    }
    if (count == 0) {
        return 0;
    }
    bool is_first = ds->states[ds->metadata] != FORMAT_FORMATTED;
    struct bootstrap_levels levels;
    bootstrap_levels_at(METADATA_VERSION_LATEST, &levels);
    struct meta_records records;
    meta_records_init(&records, &ds->arena);
    int r = bootstrap_features(&records, &levels);
    if (r < 0) {
        return refuse(ds, r, "the first records cannot be made: %s", err_text(r));
    }
    struct format_options options = {
        .dirs = paths,
        .dirs_count = count,
        .metadata_dir = is_first ? ds->paths[ds->metadata] : NULL,
        .cluster_id = cluster_id,
        .node_id = br->node_id,
        .is_dynamic = config_get_str(br->config, "controller.quorum.voters").len == 0,
        .records = records.items,
        .records_count = records.count,
    };
    fill_endpoint(br, &options.endpoint);
    struct format_result result;
    r = format_directories(br->fs, br->clock, &options, &result);
    if (r < 0) {
        return refuse(ds, r, "data directory %s cannot be formatted: %s", paths[0], err_text(r));
    }
    LOG_INFO(br->logger, FAC_META,
             "formatted %zu data director%s for cluster " STR_FMT " node %" PRId32, count,
             count == 1 ? "y" : "ies", STR_ARG(cluster_id), br->node_id);
    return 0;
}

/* The identity that a formatted directory has; all of them must agree with it. */
static int read_identity(struct directories *ds)
{
    struct broker *br = ds->br;
    for (size_t n = 0; n < ds->count; n++) {
        size_t i = (ds->metadata + n) % ds->count; /* that of the metadata log first */
        if (ds->states[i] != FORMAT_FORMATTED) {
            continue;
        }
        struct meta_properties mp;
        int r = meta_properties_read(br->fs, ds->paths[i], &mp);
        if (r < 0) {
            return refuse(ds, r, "%s/meta.properties cannot be read: %s", ds->paths[i],
                          err_text(r));
        }
        if (br->node_id < 0) {
            config_set_node_id(br->config, mp.node_id);
            br->node_id = mp.node_id;
        }
        if (mp.node_id != br->node_id) {
            return refuse(ds, ERR_MISMATCH,
                          "data directory %s belongs to node %" PRId32 ", and node.id is %" PRId32,
                          ds->paths[i], mp.node_id, br->node_id);
        }
        if (br->cluster_id[0] != '\0' && strcmp(br->cluster_id, mp.cluster_id) != 0) {
            return refuse(ds, ERR_MISMATCH,
                          "data directory %s belongs to cluster %s, the others to %s", ds->paths[i],
                          mp.cluster_id, br->cluster_id);
        }
        static_assert(sizeof(br->cluster_id) == sizeof(mp.cluster_id), "one length of cluster ids");
        memcpy(br->cluster_id, mp.cluster_id, sizeof(br->cluster_id));
        if (i == ds->metadata) {
            br->directory_id = mp.directory_id;
        }
        for (size_t k = 0; k < n; k++) {
            size_t other = (ds->metadata + k) % ds->count;
            if (ds->states[other] == FORMAT_FORMATTED && !uuid_is_zero(&mp.directory_id) &&
                uuid_equal(&ds->ids[other], &mp.directory_id)) {
                return refuse(ds, ERR_MISMATCH,
                              "data directories %s and %s have the same directory.id: one is a "
                              "copy of the other; leave one of them out of log.dirs",
                              ds->paths[other], ds->paths[i]);
            }
        }
        ds->ids[i] = mp.directory_id;
    }
    return 0;
}

static int format_all(struct directories *ds)
{
    struct broker *br = ds->br;
    int r = list_directories(ds);
    r = r < 0 ? r : read_identity(ds);
    if (r < 0) {
        return r;
    }
    bool is_formatted = ds->states[ds->metadata] == FORMAT_FORMATTED;
    if (!is_formatted && br->cluster_id[0] != '\0') {
        return refuse(ds, ERR_NOT_FORMATTED,
                      "data directory %s, which should hold the metadata log, is empty while "
                      "others are formatted; "
                      "restore it, or begin with empty directories",
                      ds->paths[ds->metadata]);
    }
    if (is_formatted && !metadata_is_first_start(br, ds->paths[ds->metadata])) {
        r = refuse_empty(ds);
        if (r < 0) {
            return r;
        }
    }
    if (br->node_id < 0) {
        config_set_node_id(br->config, DEFAULT_NODE_ID);
        br->node_id = DEFAULT_NODE_ID;
    }
    char text[UUID_TEXT_SIZE];
    struct str cluster_id = str_from(br->cluster_id);
    if (!is_formatted) {
        struct uuid id;
        clock_random_uuid(br->clock, &id);
        uuid_print(&id, text);
        cluster_id = str_from(text);
    }
    r = format_rest(ds, cluster_id);
    for (size_t i = 0; r >= 0 && i < ds->count; i++) {
        ds->states[i] = FORMAT_FORMATTED;
    }
    return r < 0 ? r : read_identity(ds);
}

int metadata_format(struct broker *br, char *ret_error, size_t error_cap)
{
    struct directories *ds = mem_zalloc(sizeof(*ds));
    ds->br = br;
    ds->ret_error = ret_error;
    ds->error_cap = error_cap;
    br->cluster_id[0] = '\0';
    int r = format_all(ds);
    arena_release(&ds->arena);
    mem_free(ds);
    return r;
}
