/*
 * The wiring of one broker: what is made in which order, and taken apart in the other. See
 * server.h.
 *
 *   1 listeners bind (the real ports go into the registration)
 *   2 log directories: an empty one is formatted, then locked
 *   3 background threads; the metadata log: replay, registration, the first image; partitions open
 *   4 clean-shutdown markers go, durably, before anything is appended
 *   5 the group coordinator and the io threads run, listeners accept
 */
#include "server.h"

#include "base/err.h"
#include "broker/background.h"
#include "broker/broker.h"
#include "broker/control.h"
#include "broker/coordinator.h"
#include "broker/dispatch.h"
#include "broker/fetch_session.h"
#include "broker/group_commit.h"
#include "broker/io_thread.h"
#include "broker/log_dirs.h"
#include "broker/metadata.h"
#include "broker/partition_table.h"
#include "broker/upkeep.h"
#include "config/config.h"
#include "net/listener.h"
#include "storage/fd_cache.h"
#include "storage/plog.h"
#include "storage/trash.h"

#include <sched.h>
#include <sys/resource.h>

#define IO_THREADS_LEAST     8   /* where there are as many cores */
#define DESCRIPTORS_RESERVE  64  /* for everything that is neither a connection nor a segment */
#define DESCRIPTORS_FILES    128 /* of the limit belong to files, a quarter of a low one */
#define KAFKA_RECEIVE_BUFFER 102400
#define ANSWERS_BYTES_MAX    (INT64_C(32) << 20) /* then slow readers go */
#define FETCH_SESSIONS_BYTES (INT64_C(32) << 20)
#define FETCH_SHARDED_SLOTS  256
#define PARKED_BYTES_MAX     (INT64_C(32) << 20) /* then fetches do not wait */
#define FD_CACHE_MOST        4096

struct server {
    struct broker br;
    struct listener **listeners; /* owned; br.listeners_count of them */
    struct conn_share **shares;  /* of the listeners; borrowed from limits */
    struct conn_set **sets;      /* borrowed from the io threads */
    struct control *control;     /* owned; NULL: it could not be made */
    void (*fatal)(void *ctx);
    void *fatal_ctx;
    int connections_end; /* the first descriptor that is no connection's */
    size_t files_kept;   /* open, whatever connections want */
    bool is_started;
    bool background_runs;
    size_t ios_started;
};

static void say(char *ret_error, size_t cap, const char *format, ...) printf_like(3, 4);

static void say(char *ret_error, size_t cap, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(ret_error, cap, format, args);
    va_end(args);
}

/* The soft limit of descriptors goes up to the hard one: Kafka's users raise it by hand. */
static size_t raise_descriptors(struct logger *logger)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return 1024;
    }
    rlim_t had = limit.rlim_cur;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0) {
        LOG_WARN(logger, FAC_SERVER, "the limit of open files stays at %ju: %s", (uintmax_t)had,
                 err_text(-errno));
        limit.rlim_cur = had;
    }
    return limit.rlim_cur > INT32_MAX ? INT32_MAX : (size_t)limit.rlim_cur;
}

/* The last descriptors are not for connections, and the last third of these is not for segments
 * that stay open, but for what is opened in passing: indexes, snapshots, checkpoints, directories.
 * So appends, segment rolls and new topics go on however many connections there are. */
static void divide_descriptors(struct server *sv, size_t descriptors)
{
    size_t files = min_size(DESCRIPTORS_FILES, descriptors / 4);
    size_t passing = files / 3;
    size_t cached = descriptors > DESCRIPTORS_RESERVE ? (descriptors - DESCRIPTORS_RESERVE) / 2 : 1;
    sv->connections_end = (int)(descriptors - files);
    sv->files_kept = files - passing;
    sv->br.fds = fd_cache_new(sv->br.fs, min_size(max_size(cached, sv->files_kept), FD_CACHE_MOST));
    fd_cache_limit(sv->br.fds, (int)(descriptors - passing));
}

/* A thread for each core, some even where num.network.threads asks for fewer: it decides how many
 * of them are given connections, and may change while the server runs; those without any sleep. */
static size_t count_io_threads(const struct config *config)
{
    cpu_set_t cores;
    int64_t usable = 1;
    if (sched_getaffinity(0, sizeof(cores), &cores) == 0) {
        usable = CPU_COUNT(&cores);
    }
    int64_t most = max_i64(config_get_int(config, "num.network.threads"), IO_THREADS_LEAST);
    /* One place is the coordinator's. */
    return to_size(max_i64(1, min_i64(min_i64(usable, most), IO_THREADS_MAX - 1)));
}

static void make_fetch_shards(struct broker *br, size_t slots, uint64_t seed)
{
    br->fetch_shards_count = slots < FETCH_SHARDED_SLOTS ? 1 : FETCH_SHARDS_MAX;
    br->fetch_memory.max = FETCH_SESSIONS_BYTES;
    for (size_t i = 0; i < br->fetch_shards_count; i++) {
        lock_init(&br->fetch_shards[i].lock, LOCK_LEAF);
        size_t own = slots / br->fetch_shards_count + (i < slots % br->fetch_shards_count);
        br->fetch_shards[i].sessions = fetch_sessions_new(own, seed);
        fetch_sessions_limit(br->fetch_shards[i].sessions, &br->fetch_memory, FETCH_SHARDS_MAX);
    }
}

int server_new(struct config *config,
               struct clock *clock,
               struct fs *fs,
               struct logger *logger,
               struct server **ret,
               char *ret_error,
               size_t error_cap)
{
    struct server *sv = mem_zalloc(sizeof(*sv));
    struct broker *br = &sv->br;
    br->clock = clock;
    br->fs = fs;
    br->logger = logger;
    br->config = config;
    metrics_init(&br->metrics);
    br->bad_frames =
        metrics_counter(&br->metrics, "requests_bad_frames", "frames that ended their connection");
    size_t descriptors = raise_descriptors(logger);
    divide_descriptors(sv, descriptors);
    br->env = mem_zalloc(sizeof(*br->env));
    *br->env = (struct plog_env){
        .fs = fs,
        .clock = clock,
        .logger = logger,
        .fds = br->fds,
        .metrics = &br->metrics,
        .trash = trash_new(fs, clock),
    };
    br->memory.max = max_i64(config_get_int(config, "jackdaw.memory.max"), 0);
    br->queued.max = max_i64(config_get_int(config, "queued.max.request.bytes"), 0);
    br->answers.max = ANSWERS_BYTES_MAX;
    br->parked.max = PARKED_BYTES_MAX;
    br->conn_memory = conn_memory_new(&br->memory, &br->queued);
    br->conn_limits = conn_limits_new(clock, &br->metrics);
    br->fetch_max_bytes = config_get_int(config, "fetch.max.bytes");
    br->node_id = config_node_id(config);
    uint64_t seed = 0;
    clock_random(clock, &seed, sizeof(seed));
    make_fetch_shards(
        br, to_size(config_get_int(config, "max.incremental.fetch.session.cache.slots")), seed);
    br->ios_count = count_io_threads(config);
    br->ios = mem_array(br->ios_count + 1, sizeof(struct io_thread *));
    sv->sets = mem_array(br->ios_count, sizeof(struct conn_set *));
    for (size_t i = 0; i < br->ios_count; i++) {
        int r = io_thread_new(br, i, &dispatch_conn_handler, &br->ios[i]);
        if (r < 0) {
            say(ret_error, error_cap, "an event loop could not be made: %s", err_text(r));
            br->ios_count = i;
            server_free(sv);
            return r;
        }
        sv->sets[i] = br->ios[i]->conns;
    }
    *ret = sv;
    return 0;
}

/* Names of hosts in it are asked for, as Kafka does: whoever writes names waits for them. */
static int set_overrides(struct server *sv, const struct config_view *view, struct str *ret_text)
{
    enum config_source source;
    *ret_text = config_view_text(
        view, config_table_find_broker(STR("max.connections.per.ip.overrides")), &source);
    return conn_limits_set_overrides(sv->br.conn_limits, *ret_text);
}

/* What is for all listeners, but for the overrides. */
static void set_numbers(struct server *sv, const struct config_view *view)
{
    conn_limits_set_max(sv->br.conn_limits, (int32_t)config_view_int(view, "max.connections"));
    conn_limits_set_per_ip(sv->br.conn_limits,
                           (int32_t)config_view_int(view, "max.connections.per.ip"));
    conn_limits_set_rate(sv->br.conn_limits,
                         (int32_t)config_view_int(view, "max.connection.creation.rate"));
}

/* One of several listeners that is for brokers stays open when clients have taken all there is. */
static void set_share(struct server *sv, const struct config_view *view, size_t index)
{
    const struct broker *br = &sv->br;
    struct str name = br->listeners[index].name;
    const struct conn_share_rules rules = {
        .connections_max = (int32_t)config_view_listener_int(view, name, "max.connections"),
        .per_second_max =
            (int32_t)config_view_listener_int(view, name, "max.connection.creation.rate"),
        .sets_max = (int32_t)config_view_listener_int(view, name, "num.network.threads"),
        .is_exempt = br->listeners_count > 1 && config_is_inter_broker(br->config, name),
    };
    conn_share_set(sv->shares[index], &rules);
}

static void cordon(struct broker *br, const struct config_view *view)
{
    enum config_source source;
    const struct config_row *row = config_table_find_broker(STR("cordoned.log.dirs"));
    if (br->log_dirs != NULL) {
        log_dirs_cordon(br->log_dirs, config_view_text(view, row, &source));
    }
}

/* What a broker's config may change while it runs, and at the start when its listeners are bound.
 */
static void apply_configs(struct broker *br, const struct image *im)
{
    struct server *sv = container_of(br, struct server, br);
    struct config_view view = config_view_of(br->config, im);
    set_numbers(sv, &view);
    for (size_t i = 0; i < br->listeners_count; i++) {
        set_share(sv, &view, i);
    }
    cordon(br, &view);
    struct str overrides;
    int r = set_overrides(sv, &view, &overrides);
    if (r < 0) {
        LOG_WARN(br->logger, FAC_SERVER,
                 "max.connections.per.ip.overrides=" STR_FMT
                 " cannot be read; what was in force before stays",
                 STR_ARG(overrides));
    }
}

/* Who follows the metadata; the coordinator once there is one. */
static void on_image(struct broker *br, const struct image *before, struct image *after)
{
    partition_apply_image(br->partitions, before, after);
    if (br->coordinator != NULL) {
        coordinator_apply_image(br->coordinator, after);
    }
}

/* The group coordinator, with the image that the partitions were made from. */
static int make_coordinator(struct broker *br)
{
    int r = coordinator_new(br, &br->coordinator);
    if (r < 0) {
        return r;
    }
    struct image *im = metadata_image(br->metadata);
    coordinator_apply_image(br->coordinator, im);
    image_unref(im);
    return 0;
}

static void on_broker_fatal(struct broker *br, int err)
{
    struct server *sv = container_of(br, struct server, br);
    (void)err; /* log_dirs has said it */
    if (sv->fatal != NULL) {
        sv->fatal(sv->fatal_ctx);
    }
}

/* queued.max.request.bytes below it is refused, as Kafka does. */
static void warn_of_memory(const struct broker *br)
{
    int64_t request_max = config_get_int(br->config, "socket.request.max.bytes");
    if (br->memory.max > 0 && br->memory.max < request_max) {
        LOG_WARN(br->logger, FAC_SERVER,
                 "jackdaw.memory.max=%" PRId64 " is below socket.request.max.bytes=%" PRId64
                 ": a larger request is served alone, and memory exceeds the limit meanwhile",
                 br->memory.max, request_max);
    }
}

static int set_limits(struct server *sv, char *ret_error, size_t error_cap)
{
    struct config_view view = config_view_of(sv->br.config, NULL);
    sv->br.on_configs = apply_configs;
    sv->br.on_fatal = on_broker_fatal;
    set_numbers(sv, &view);
    struct str overrides;
    int r = set_overrides(sv, &view, &overrides);
    if (r < 0) {
        say(ret_error, error_cap,
            "max.connections.per.ip.overrides=" STR_FMT
            " cannot be read; write address:count,address:count",
            STR_ARG(overrides));
    }
    return r;
}

/* The default bounds what a fast sender may have under way to 200 KiB: then each byte of large
 * batches costs twice the processor time. The system begins as low and grows with what is read. */
static int receive_buffer_bytes(const struct config *c)
{
    int64_t bytes = config_get_int(c, "socket.receive.buffer.bytes");
    return bytes == KAFKA_RECEIVE_BUFFER ? -1 : (int)bytes;
}

/* Connections want descriptors: files that wait for their next use give some. */
static bool make_room(void *ctx)
{
    struct server *sv = ctx;
    return fd_cache_make_room(sv->br.fds, sv->files_kept);
}

static int bind_one(struct server *sv,
                    const struct config_listener *cl,
                    size_t index,
                    char *ret_error,
                    size_t error_cap)
{
    struct broker *br = &sv->br;
    struct broker_listener *bl = &br->listeners[index];
    char *host = mem_strndup(cl->host.ptr, cl->host.len);
    struct listener_options options = {
        .host = host,
        .port = cl->port,
        .backlog = (int)config_get_int(br->config, "socket.listen.backlog.size"),
        .send_buffer_bytes = (int)config_get_int(br->config, "socket.send.buffer.bytes"),
        .receive_buffer_bytes = receive_buffer_bytes(br->config),
        .descriptors_max = sv->connections_end,
        .make_room = make_room,
        .make_room_ctx = sv,
        .limits = sv->br.conn_limits,
        .metrics = &br->metrics,
        .tag = bl,
    };
    int r = listener_new(br->ios[0]->loop, &options, &sv->listeners[index]);
    mem_free(host);
    if (r < 0) {
        say(ret_error, error_cap,
            "listener " STR_FMT "://" STR_FMT ":%u cannot be bound: %s; choose another address "
            "with --listen HOST:PORT or the key listeners",
            STR_ARG(cl->name), STR_ARG(cl->host), cl->port,
            r == ERR_BAD_ARGUMENT ? "the host is not known" : err_text(r));
        return r;
    }
    *bl = (struct broker_listener){
        .name = cl->name,
        .host = cl->host,
        .port = listener_port(sv->listeners[index]),
        .is_advertised = cl->is_advertised,
        .advertised_host = cl->advertised_host,
        .security_protocol = cl->security_protocol,
    };
    bl->advertised_port = cl->advertised_port == 0 ? bl->port : cl->advertised_port;
    sv->shares[index] = listener_share(sv->listeners[index]);
    return 0;
}

static int bind_all(struct server *sv, char *ret_error, size_t error_cap)
{
    struct broker *br = &sv->br;
    const struct config_listener *all = NULL;
    size_t count = 0;
    config_listeners(br->config, &all, &count);
    br->listeners = mem_array(count + 1, sizeof(*br->listeners));
    sv->listeners = mem_array(count + 1, sizeof(struct listener *));
    sv->shares = mem_array(count + 1, sizeof(struct conn_share *));
    for (size_t i = 0; i < count; i++) {
        if (all[i].is_controller) { /* nothing is bound until there is a cluster */
            LOG_INFO(br->logger, FAC_SERVER,
                     "listener " STR_FMT " is not opened: the controller is in this process and "
                     "no other node asks it; tools use --bootstrap-server",
                     STR_ARG(all[i].name));
            continue;
        }
        int r = bind_one(sv, &all[i], br->listeners_count, ret_error, error_cap);
        if (r < 0) {
            return r;
        }
        if (!all[i].is_advertised) {
            LOG_INFO(br->logger, FAC_SERVER,
                     "listener " STR_FMT " is not among advertised.listeners: who connects there "
                     "is told of no broker, no leader and no coordinator",
                     STR_ARG(all[i].name));
        }
        br->listeners_count++;
    }
    apply_configs(br, NULL);
    return 0;
}

static int begin_dirs(struct broker *br)
{
    struct log_dir_entry *dirs = NULL;
    size_t count = 0;
    log_dirs_entries(br->log_dirs, &dirs, &count);
    for (size_t i = 0; i < count; i++) {
        int r = dirs[i].ld == NULL ? 0 : log_dir_begin(dirs[i].ld);
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

/* The threads beside the loops, with what they do for the logs. */
static int start_upkeep(struct broker *br)
{
    br->upkeep = upkeep_new(br);
    br->group_commit = group_commit_new(br->env, upkeep_flushed, br->upkeep);
    const struct background_options options = {
        .clock = br->clock,
        .answers = &br->answers,
        .pass = upkeep_pass,
        .ctx = br->upkeep,
    };
    br->background = background_new(&options);
    int r = group_commit_start(br->group_commit);
    return r < 0 ? r : background_start(br->background);
}

void server_set_fatal(struct server *sv, void (*fatal)(void *ctx), void *ctx)
{
    sv->fatal = fatal;
    sv->fatal_ctx = ctx;
}

static void on_fatal(void *ctx, int err)
{
    (void)err; /* the metadata thread has said it */
    struct server *sv = ctx;
    if (sv->fatal != NULL) {
        sv->fatal(sv->fatal_ctx);
    }
}

/* The control door in the first directory that is there. Tools miss it; clients do not. */
static void open_control(struct server *sv)
{
    struct broker *br = &sv->br;
    struct log_dir_entry *dirs = NULL;
    size_t count = 0;
    log_dirs_entries(br->log_dirs, &dirs, &count);
    size_t i = 0;
    while (i < count && dirs[i].ld == NULL) {
        i++;
    }
    if (i == count) {
        return;
    }
    int r = control_new(br->ios[0]->loop, br->coordinator, dirs[i].path, &sv->control);
    if (r < 0) {
        LOG_WARN(br->logger, FAC_SERVER,
                 "there is no control door, jackdaw explain will not work: %s/%s: %s", dirs[i].path,
                 CONTROL_SOCKET_NAME, err_text(r));
        return;
    }
    control_start(sv->control);
}

int server_start(struct server *sv, char *ret_error, size_t error_cap)
{
    struct broker *br = &sv->br;
    clock_random_uuid(br->clock, &br->incarnation_id);
    warn_of_memory(br);
    int r = set_limits(sv, ret_error, error_cap);
    if (r >= 0) {
        r = bind_all(sv, ret_error, error_cap);
    }
    if (r >= 0) {
        r = metadata_format(br, ret_error, error_cap);
    }
    if (r >= 0) {
        r = log_dirs_open(br, &br->log_dirs, ret_error, error_cap);
    }
    if (r < 0) {
        return r;
    }
    struct config_view view = config_view_of(br->config, NULL);
    cordon(br, &view);
    br->partitions = partition_table_new(br);
    sv->background_runs = true; /* some of them, when one could not be started */
    r = start_upkeep(br);
    if (r >= 0) {
        r = begin_dirs(br);
    }
    if (r < 0) {
        say(ret_error, error_cap, "the log directories cannot be taken into use: %s", err_text(r));
        return r;
    }
    r = metadata_open(br, on_image, &br->metadata, ret_error, error_cap);
    if (r < 0) {
        return r;
    }
    metadata_set_fatal(br->metadata, on_fatal, sv);
    partition_table_settle(br->partitions);
    struct image *im = metadata_image(br->metadata);
    log_dirs_sweep(br->log_dirs, im);
    image_unref(im);
    for (size_t i = 0; i < br->listeners_count; i++) {
        listener_start(sv->listeners[i], sv->sets, br->ios_count);
    }
    r = make_coordinator(br);
    if (r >= 0) {
        r = coordinator_start(br->coordinator);
    }
    if (r >= 0) {
        open_control(sv);
        r = metadata_start(br->metadata);
    }
    for (size_t i = 0; r >= 0 && i < br->ios_count; i++) {
        r = io_thread_start(br->ios[i]);
        sv->ios_started += r >= 0;
    }
    if (r < 0) {
        say(ret_error, error_cap, "a thread could not be started: %s", err_text(r));
        return r;
    }
    upkeep_retention_soon(br->upkeep);
    sv->is_started = true;
    return 0;
}

size_t server_listeners(struct server *sv, const struct broker_listener **ret)
{
    *ret = sv->br.listeners;
    return sv->br.listeners_count;
}

void server_log_metrics(struct server *sv)
{
    for (const struct metric *m = sv->br.metrics.first; m != NULL; m = m->next) {
        LOG_INFO(sv->br.logger, FAC_SERVER, "metric %s %" PRId64, m->name, metric_get(m));
    }
}

/* Nobody waits any more: what is parked is abandoned, and the loops turn until the last request is
 * settled. It may wait for what another loop writes, so they take turns, and tell each other. */
static void settle_loops(struct server *sv)
{
    struct broker *br = &sv->br;
    bool is_settled;
    do {
        is_settled = true;
        for (size_t i = 0; i < br->ios_count; i++) {
            loop_turn(br->ios[i]->loop, false);
            is_settled = is_settled && conn_set_count(br->ios[i]->conns) == 0;
        }
    } while (!is_settled);
    for (size_t i = 0; i < br->ios_count; i++) {
        loop_close_mailbox(br->ios[i]->loop);
        loop_turn(br->ios[i]->loop, false);
    }
}

bool server_stop(struct server *sv, bool is_clean)
{
    struct broker *br = &sv->br;
    coordinator_stop(br->coordinator);
    for (size_t i = 0; i < sv->ios_started; i++) {
        io_thread_stop(br->ios[i]);
    }
    sv->ios_started = 0;
    for (size_t i = 0; sv->listeners != NULL && i < br->listeners_count; i++) {
        sv->listeners[i] = listener_free(sv->listeners[i]);
    }
    control_close(sv->control);
    for (size_t i = 0; i < br->ios_count; i++) {
        conn_set_close_all(br->ios[i]->conns);
        loop_turn(br->ios[i]->loop, false);
    }
    if (br->metadata != NULL) {
        metadata_stop(br->metadata, is_clean);
    }
    if (sv->background_runs) {
        background_stop(br->background);
        group_commit_stop(br->group_commit);
        sv->background_runs = false;
    }
    settle_loops(sv);
    sv->control = control_free(sv->control);
    br->coordinator = coordinator_free(br->coordinator);
    if (br->partitions != NULL) {
        partition_table_close(br->partitions, is_clean);
    }
    br->metadata = metadata_free(br->metadata);
    br->log_dirs = log_dirs_close(br->log_dirs, is_clean && sv->is_started);
    sv->is_started = false;
    return !br->has_failed_stop;
}

struct server *server_free(struct server *sv)
{
    if (sv == NULL) {
        return NULL;
    }
    struct broker *br = &sv->br;
    (void)server_stop(sv, false); /* a start that failed half-way; nothing after a stop */
    br->partitions = partition_table_free(br->partitions);
    br->background = background_free(br->background);
    for (size_t i = 0; i < br->ios_count; i++) {
        io_thread_free(br->ios[i]);
    }
    /* The last to hold a deleted partition may have been a loop: its log leaves group_commit. */
    br->group_commit = group_commit_free(br->group_commit);
    br->upkeep = upkeep_free(br->upkeep);
    mem_free(br->ios);
    mem_free(sv->sets);
    mem_free(sv->listeners);
    mem_free(sv->shares);
    mem_free(br->listeners);
    conn_limits_free(br->conn_limits);
    conn_memory_free(br->conn_memory);
    for (size_t i = 0; i < br->fetch_shards_count; i++) {
        fetch_sessions_free(br->fetch_shards[i].sessions);
        lock_release(&br->fetch_shards[i].lock);
    }
    fd_cache_free(br->fds);
    trash_free(br->env->trash);
    mem_free(br->env);
    metrics_release(&br->metrics);
    config_free(br->config);
    mem_free(sv);
    return NULL;
}
