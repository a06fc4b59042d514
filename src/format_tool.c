/*
 * `jackdaw format`: options to levels of features, a configuration to directories and a first
 * voter, then raft/format.h. Kafka: StorageTool, Formatter.
 */
#include "format_tool.h"

#include "base/base.h"

#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/logger.h"
#include "base/mem.h"
#include "config/config.h"
#include "config/config_load.h"
#include "meta/bootstrap.h"
#include "raft/format.h"
#include "storage/log_dir.h"

#define PROPERTIES_BYTES_MAX (16 << 20)

enum {
    EXIT_GOOD = 0,
    EXIT_FAILED = 1,
    EXIT_USAGE = 2,
};

struct arguments {
    const char *cluster_id; /* NULL: a random one */
    const char *config;     /* NULL: none, the built-in values */
    const char *data;
    const char *release; /* NULL: the latest */
    const char *features[FEATURES_COUNT];
    size_t features_count;
    bool is_standalone;
    bool ignores_formatted;
};

struct plan {
    struct fs fs;
    struct clock clock;
    struct arena arena;
    struct config *config; /* owned */
    const struct arguments *args;
    const char **dirs; /* all of the configuration; in the arena */
    size_t dirs_count;
    const char *metadata_dir;
    char cluster_id[64];
    int16_t metadata_version;
};

static const char usage[] =
    "usage: jackdaw format [-t CLUSTER_ID] [-c server.properties] [--data DIR] [--standalone]\n"
    "                      [--ignore-formatted] [--release-version VERSION] [--feature "
    "NAME=LEVEL]...\n"
    "\n"
    "Makes the directories of log.dirs ready for a first start, as kafka-storage format does.\n"
    "\n"
    "  -t, --cluster-id ID        the cluster's id; a random one when it is left out\n"
    "  -c, --config FILE          the properties file with node.id, log.dirs and listeners\n"
    "      --data DIR             instead of log.dirs of the file\n"
    "  -s, --standalone           this node alone is the quorum (what happens anyway, unless\n"
    "                             controller.quorum.voters is set)\n"
    "  -g, --ignore-formatted     leave directories alone that are formatted already\n"
    "  -r, --release-version V    features as of this release, 3.3-IV3 to 4.4-IV2 (or 4.4)\n"
    "  -f, --feature NAME=LEVEL   one feature at this level, for example group.version=1\n";

__attribute__((format(printf, 1, 2))) static int complain(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("jackdaw format: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    return EXIT_USAGE;
}

/* --- the command line --- */

/* The value of an option that takes one: behind '=' or the next argument. NULL: there is none. */
static const char *value_of(int argc, char **argv, int *at, const char *attached)
{
    if (attached != NULL) {
        return attached;
    }
    if (*at + 1 >= argc) {
        return NULL;
    }
    (*at)++;
    return argv[*at];
}

static bool
is_option(const char *arg, const char *short_name, const char *long_name, const char **ret_attached)
{
    size_t n = strlen(long_name);
    *ret_attached = NULL;
    if (strcmp(arg, short_name) == 0 || strcmp(arg, long_name) == 0) {
        return true;
    }
    if (strncmp(arg, long_name, n) == 0 && arg[n] == '=') {
        *ret_attached = arg + n + 1;
        return true;
    }
    return false;
}

static int read_option(struct arguments *a, int argc, char **argv, int *at)
{
    const char *arg = argv[*at];
    const char *attached;
    const char **target = NULL;
    if (is_option(arg, "-t", "--cluster-id", &attached)) {
        target = &a->cluster_id;
    } else if (is_option(arg, "-c", "--config", &attached)) {
        target = &a->config;
    } else if (is_option(arg, "--data", "--data", &attached)) {
        target = &a->data;
    } else if (is_option(arg, "-r", "--release-version", &attached)) {
        target = &a->release;
    } else if (is_option(arg, "-f", "--feature", &attached)) {
        if (a->features_count == FEATURES_COUNT) {
            return complain("--feature was given too often");
        }
        target = &a->features[a->features_count++];
    } else if (strcmp(arg, "-s") == 0 || strcmp(arg, "--standalone") == 0) {
        a->is_standalone = true;
    } else if (strcmp(arg, "-g") == 0 || strcmp(arg, "--ignore-formatted") == 0) {
        a->ignores_formatted = true;
    } else if (is_option(arg, "-I", "--initial-controllers", &attached) ||
               is_option(arg, "-N", "--no-initial-controllers", &attached)) {
        return complain("%s makes a quorum of several nodes, which is not supported yet", arg);
    } else if (is_option(arg, "-S", "--add-scram", &attached)) {
        return complain("%s is not supported yet", arg);
    } else {
        return complain("unknown option %s; see jackdaw format --help", arg);
    }
    if (target != NULL) {
        *target = value_of(argc, argv, at, attached);
        if (*target == NULL || **target == '\0') {
            return complain("%s needs a value", arg);
        }
    }
    return EXIT_GOOD;
}

/* --- the configuration --- */

static int load_config(struct plan *p)
{
    char *text = NULL;
    size_t len = 0;
    char error[1024];
    if (p->args->config != NULL) {
        int r = fs_read_file(&p->fs, p->args->config, PROPERTIES_BYTES_MAX, &text, &len);
        if (r < 0) {
            return complain("%s cannot be read: %s", p->args->config, err_text(r));
        }
    }
    struct logger logger;
    logger_init_stderr(&logger, &p->clock, LOG_LEVEL_WARN);
    struct config_input in = {
        .file_name = p->args->config,
        .file = text == NULL ? (struct str){0} : str_of(text, len),
        .environment = environ,
        .data = p->args->data,
    };
    int r = config_load(&in, &logger, &p->config, error, sizeof(error));
    mem_free(text);
    return r < 0 ? complain("%s", error) : EXIT_GOOD;
}

static int list_dirs(struct plan *p)
{
    struct str *dirs;
    config_get_list(p->config, "log.dirs", &p->arena, &dirs, &p->dirs_count);
    struct str metadata = config_get_str(p->config, "metadata.log.dir");
    bool is_apart = metadata.len > 0;
    p->dirs = arena_alloc(&p->arena, (p->dirs_count + 1) * sizeof(p->dirs[0]));
    for (size_t i = 0; i < p->dirs_count; i++) {
        p->dirs[i] = arena_strdup(&p->arena, dirs[i]).ptr;
        is_apart = is_apart && !str_equal(dirs[i], metadata);
    }
    if (is_apart) {
        p->dirs[p->dirs_count++] = arena_strdup(&p->arena, metadata).ptr;
    }
    if (p->dirs_count == 0 || p->dirs_count > FORMAT_DIRS_MAX) {
        return complain("log.dirs names %zu directories; 1 to %d are possible", p->dirs_count,
                        FORMAT_DIRS_MAX);
    }
    p->metadata_dir = metadata.len > 0 ? arena_strdup(&p->arena, metadata).ptr : p->dirs[0];
    return EXIT_GOOD;
}

/* --- features --- */

static int read_release(struct plan *p)
{
    p->metadata_version = METADATA_VERSION_LATEST;
    if (p->args->release != NULL) {
        p->metadata_version = features_metadata_version_parse(str_from(p->args->release));
        if (p->metadata_version < 0) {
            return complain("unknown release version %s; known are %s to %s", p->args->release,
                            features_metadata_version_name(METADATA_VERSION_MIN),
                            features_metadata_version_name(METADATA_VERSION_LATEST));
        }
    }
    return EXIT_GOOD;
}

/* "NAME=LEVEL" */
static int read_feature(const char *text, const struct feature **ret, int16_t *ret_level)
{
    const char *equals = strchr(text, '=');
    int32_t level;
    if (equals == NULL) {
        return complain("--feature %s: write NAME=LEVEL, for example group.version=1", text);
    }
    *ret = features_find(str_of(text, (size_t)(equals - text)));
    if (*ret == NULL) {
        char names[512];
        struct strbuf sb;
        strbuf_init(&sb, names, sizeof(names));
        for (size_t i = 0; i < FEATURES_COUNT; i++) {
            strbuf_addf(&sb, "%s%s", i == 0 ? "" : ", ", features_table[i].name);
        }
        return complain("--feature %s: no such feature; known are %s", text, names);
    }
    if (str_to_i32(str_from(equals + 1), &level) < 0 || level < (*ret)->min ||
        level > (*ret)->max) {
        return complain("--feature %s: %s may be %d to %d", text, (*ret)->name, (*ret)->min,
                        (*ret)->max);
    }
    *ret_level = (int16_t)level;
    return EXIT_GOOD;
}

static int decide_levels(struct plan *p, bool is_dynamic, struct bootstrap_levels *ret)
{
    const struct feature *f;
    int16_t level;
    for (size_t i = 0; i < p->args->features_count; i++) {
        int status = read_feature(p->args->features[i], &f, &level);
        if (status != EXIT_GOOD) {
            return status;
        }
        if (strcmp(f->name, METADATA_VERSION) == 0) {
            if (p->args->release != NULL) {
                return complain(
                    "--release-version and --feature metadata.version exclude each other");
            }
            p->metadata_version = level;
        }
        if (strcmp(f->name, "kraft.version") == 0 && (level > 0) != is_dynamic) {
            return complain("kraft.version is %d here: %s", is_dynamic ? 1 : 0,
                            is_dynamic ? "the first voter is written into the directory"
                                       : "controller.quorum.voters names the voters");
        }
    }
    bootstrap_levels_at(p->metadata_version, ret);
    for (size_t i = 0; i < p->args->features_count; i++) {
        int status = read_feature(p->args->features[i], &f, &level);
        check(status == EXIT_GOOD);
        int16_t needed = features_metadata_version_for(f, level);
        if (needed > p->metadata_version) {
            return complain("--feature %s needs metadata.version %d (%s) or later",
                            p->args->features[i], needed, features_metadata_version_name(needed));
        }
        ret->level[f - features_table] = level;
    }
    return EXIT_GOOD;
}

/* --- the work --- */

/* Leaves in p->dirs what is to be formatted; what is formatted gives its cluster id. */
static int inspect_dirs(struct plan *p)
{
    size_t left = 0;
    char known[64] = "";
    for (size_t i = 0; i < p->dirs_count; i++) {
        enum format_state state;
        int r = format_inspect(&p->fs, p->dirs[i], &state);
        if (r < 0) {
            complain("%s cannot be looked at: %s", p->dirs[i], err_text(r));
            return EXIT_FAILED;
        }
        switch (state) {
        case FORMAT_EMPTY:
        case FORMAT_INTERRUPTED:
            p->dirs[left++] = p->dirs[i];
            break;
        case FORMAT_FOREIGN:
            complain("%s has no meta.properties but is not empty: nothing is formatted over it",
                     p->dirs[i]);
            return EXIT_FAILED;
        case FORMAT_FORMATTED: {
            if (!p->args->ignores_formatted) {
                complain(
                    "log directory %s is already formatted; --ignore-formatted leaves it alone and "
                    "formats the others",
                    p->dirs[i]);
                return EXIT_FAILED;
            }
            struct meta_properties mp;
            r = meta_properties_read(&p->fs, p->dirs[i], &mp);
            if (r < 0) {
                complain("meta.properties in %s cannot be read: %s", p->dirs[i], err_text(r));
                return EXIT_FAILED;
            }
            memcpy(known, mp.cluster_id, sizeof(known));
            break;
        }
        }
    }
    if (known[0] != '\0') {
        if (p->args->cluster_id != NULL && strcmp(p->args->cluster_id, known) != 0) {
            complain("a formatted directory belongs to cluster %s, not to %s", known,
                     p->args->cluster_id);
            return EXIT_FAILED;
        }
        memcpy(p->cluster_id, known, sizeof(known));
    }
    p->dirs_count = left;
    return EXIT_GOOD;
}

static int decide_cluster_id(struct plan *p)
{
    if (p->cluster_id[0] != '\0') {
        return EXIT_GOOD;
    }
    if (p->args->cluster_id == NULL) {
        struct uuid id;
        clock_random_uuid(&p->clock, &id);
        uuid_print(&id, p->cluster_id);
        printf("Cluster id: %s\n", p->cluster_id);
        return EXIT_GOOD;
    }
    size_t len = strlen(p->args->cluster_id);
    if (len >= sizeof(p->cluster_id)) {
        return complain("the cluster id has %zu characters; at most %zu are possible", len,
                        sizeof(p->cluster_id) - 1);
    }
    for (size_t i = 0; i < len; i++) {
        if (p->args->cluster_id[i] < ' ' || p->args->cluster_id[i] == 0x7f) {
            return complain("the cluster id has a control character");
        }
    }
    memcpy(p->cluster_id, p->args->cluster_id, len + 1);
    return EXIT_GOOD;
}

static int format_dirs(struct plan *p, struct format_options *o)
{
    const char *version = features_metadata_version_name(p->metadata_version);
    for (size_t i = 0; i < p->dirs_count; i++) {
        const char *kind = "data";
        if (strcmp(p->dirs[i], p->metadata_dir) == 0) {
            kind = o->is_dynamic ? "dynamic metadata voter" : "metadata";
            o->metadata_dir = p->dirs[i];
        }
        printf("Formatting %s directory %s with metadata.version %s.\n", kind, p->dirs[i], version);
    }
    o->dirs = p->dirs;
    o->dirs_count = p->dirs_count;
    o->cluster_id = str_from(p->cluster_id);
    o->node_id = config_node_id(p->config);
    struct format_result result;
    int r = format_directories(&p->fs, &p->clock, o, &result);
    if (r < 0) {
        complain("formatting failed: %s", err_text(r));
        return EXIT_FAILED;
    }
    return EXIT_GOOD;
}

static int run(struct plan *p)
{
    int status = load_config(p);
    status = status != EXIT_GOOD ? status : list_dirs(p);
    status = status != EXIT_GOOD ? status : read_release(p);
    if (status != EXIT_GOOD) {
        return status;
    }
    struct format_options o = {
        .is_dynamic = config_get_str(p->config, "controller.quorum.voters").len == 0,
        .endpoint = {STR(FORMAT_CONTROLLER_LISTENER), STR(FORMAT_CONTROLLER_HOST),
                     FORMAT_CONTROLLER_PORT},
    };
    if (!o.is_dynamic && p->args->is_standalone) {
        return complain(
            "--standalone makes a dynamic quorum, but controller.quorum.voters is set; remove "
            "one of the two");
    }
    const struct config_listener *cl = config_controller_listener(p->config);
    if (cl != NULL) {
        o.endpoint = (struct voter_endpoint){cl->name, cl->host, cl->port};
        if (cl->advertised_host.len > 0) {
            o.endpoint.host = cl->advertised_host;
            o.endpoint.port = cl->advertised_port;
        }
        if (o.endpoint.host.len == 0) {
            o.endpoint.host = STR(FORMAT_CONTROLLER_HOST);
        }
    }
    struct bootstrap_levels levels;
    status = decide_levels(p, o.is_dynamic, &levels);
    status = status != EXIT_GOOD ? status : inspect_dirs(p);
    if (status != EXIT_GOOD) {
        return status;
    }
    if (p->dirs_count == 0) {
        printf("All of the log directories are already formatted.\n");
        return EXIT_GOOD;
    }
    status = decide_cluster_id(p);
    if (status != EXIT_GOOD) {
        return status;
    }
    struct meta_records records;
    meta_records_init(&records, &p->arena);
    int r = bootstrap_features(&records, &levels);
    check(r >= 0); /* our own table */
    o.records = records.items;
    o.records_count = records.count;
    return format_dirs(p, &o);
}

int format_tool_main(int argc, char **argv)
{
    struct arguments a = {0};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "-h") == 0 || strcmp(argv[i], "--help") == 0) {
            fputs(usage, stdout);
            return EXIT_GOOD;
        }
        int status = read_option(&a, argc, argv, &i);
        if (status != EXIT_GOOD) {
            return status;
        }
    }
    struct plan p = {.args = &a};
    fs_init_system(&p.fs);
    clock_init_system(&p.clock);
    int status = run(&p);
    config_free(p.config);
    arena_release(&p.arena);
    fs_release_system(&p.fs);
    return status;
}
