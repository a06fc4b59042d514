/*
 * The program: command line, environment and signals around one server.
 *
 * Standard output carries exactly one line, `jackdaw ready HOST:PORT`, when the server serves; all
 * else goes to standard error. Exit status: 0 after a clean stop, 1 when the server failed or could
 * not write at its stop what makes it a clean one, 2 for a mistake of whoever started it.
 *
 * Signals: no flag. Until the server serves, SIGTERM, SIGINT and SIGHUP end the process: a start
 * may be broken off anywhere, and the next one finds what a crash leaves. Only --ephemeral holds
 * them back, for its short start, so that its directory goes too. Then they are blocked here as in
 * every other thread, and taken by sigwait: the first one stops the server cleanly; a second one
 * ends the process at once. A SIGHUP that was ignored when the program began (nohup) stays so.
 * SIGUSR1 writes the metrics to the log.
 */
#include "base/base.h"

#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include "apis_tool.h"
#include "args.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/logger.h"
#include "base/mem.h"
#include "broker/broker.h"
#include "config/config_load.h"
#include "configs_tool.h"
#include "dump_tool.h"
#include "explain_tool.h"
#include "format_tool.h"
#include "ports_file.h"
#include "server.h"
#include "wire_tool.h"

#define LISTENER_LINE_MAX 1024 /* of --ports-file */

#define MMAP_BYTES (128 * 1024)
#define TRIM_BYTES (2 * 1024 * 1024)

#define STATUS_MISTAKE 2   /* of who started it */
#define STATUS_SIGNAL  128 /* and the number of the signal */

static int version_main(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    printf("jackdaw %s (Apache Kafka 4.4.0 protocol)\n", JACKDAW_VERSION);
    return 0;
}

static int help_main(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    printf("usage: jackdaw [server.properties] [options]     run the server\n"
           "       jackdaw explain|format|wire|dump|apis|configs|version|help\n"
           "\n"
           "  --override KEY=VALUE   a config key; wins over the file (may be repeated)\n"
           "  --data DIR             where the data lives (log.dirs); default ./jackdaw-data\n"
           "  --listen HOST:PORT     where clients connect; default 127.0.0.1:9092, port 0 is any "
           "free one\n"
           "  --ephemeral            a throw-away server: free port, temporary data, no flush\n"
           "  --ports-file FILE      a line 'LISTENER HOST:PORT' each, written when the server "
           "serves\n"
           "\n"
           "  explain  tells what a group of consumers on a running server has gone through\n"
           "  format   makes data directories as kafka-storage format does\n"
           "  wire     converts messages between hexadecimal and JSON\n"
           "  dump     prints log segments, indexes, snapshots, checkpoints and metadata records\n"
           "  apis     prints the APIs that are served\n"
           "  configs  prints every config key\n"
           "\n"
           "Keys are Kafka's; the command line wins over the file, the file over the environment\n"
           "(KAFKA_LOG_RETENTION_MS is log.retention.ms). 'jackdaw ready HOST:PORT' on standard "
           "output\n"
           "tells that it serves; logs go to standard error. The first SIGTERM, SIGINT or SIGHUP\n"
           "stops it cleanly, a second one at once.\n");
    return 0;
}

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
} commands[] = {
    {"apis", apis_tool_main},     {"configs", configs_tool_main},
    {"dump", dump_tool_main},     {"explain", explain_tool_main},
    {"format", format_tool_main}, {"help", help_main},
    {"version", version_main},    {"wire", wire_tool_main},
    {"--help", help_main},        {"-h", help_main},
    {"--version", version_main},
};

/* What the process holds while it serves. */
struct program {
    struct args args;
    struct clock clock;
    struct fs fs;
    struct logger logger;
    struct server *server; /* owned */
    char *temporary;       /* owned: the directory of --ephemeral; NULL: none */
};

static int mistake(const char *text)
{
    fprintf(stderr, "jackdaw: %s\n", text);
    return STATUS_MISTAKE;
}

/* ---- before the server ---- */

static int make_temporary(struct program *pg, char *ret_error, size_t cap)
{
    const char *base = getenv("TMPDIR");
    if (base == NULL || base[0] == '\0') {
        base = "/tmp";
    }
    char path[1024];
    int n = snprintf(path, sizeof(path), "%s/jackdaw-XXXXXX", base);
    if (n < 0 || (size_t)n >= sizeof(path) || mkdtemp(path) == NULL) {
        (void)snprintf(ret_error, cap, "--ephemeral: no directory can be made in %s: %s", base,
                       err_text(-errno));
        return -errno;
    }
    pg->temporary = mem_strdup(path);
    return 0;
}

/* What clients are told where a listener is bound to every address. */
static struct str machine_name(char *memory, size_t cap)
{
    if (gethostname(memory, cap) != 0) {
        return (struct str){0};
    }
    memory[cap - 1] = '\0';
    return str_from(memory);
}

static int load_config(struct program *pg, struct config **ret, char *ret_error, size_t cap)
{
    char name[256];
    struct config_input in = {
        .file_name = pg->args.file,
        .overrides = pg->args.overrides,
        .overrides_count = pg->args.overrides_count,
        .environment = environ,
        .data = pg->temporary != NULL ? pg->temporary : pg->args.data,
        .listen = pg->args.listen,
        .is_ephemeral = pg->args.is_ephemeral,
        .machine_name = machine_name(name, sizeof(name)),
    };
    return config_load_file(&pg->fs, &in, &pg->logger, ret, ret_error, cap);
}

/* ---- once it serves ---- */

/* "host:port", an IPv6 address in brackets; a listener on every address by the name that it tells,
 * or, when it tells none, by the one that is always right on this machine. */
static void print_address(const struct broker_listener *bl, struct strbuf *sb)
{
    struct str told = bl->is_advertised ? bl->advertised_host : STR("localhost");
    struct str host = bl->host.len > 0 ? bl->host : told;
    bool is_ipv6 = host.len > 0 && memchr(host.ptr, ':', host.len) != NULL;
    strbuf_addf(sb, is_ipv6 ? "[" STR_FMT "]:%u" : STR_FMT ":%u", STR_ARG(host),
                (unsigned)bl->port);
}

static int write_ports(struct program *pg, const char *path, char *ret_error, size_t error_cap)
{
    const struct broker_listener *listeners;
    size_t count = server_listeners(pg->server, &listeners);
    struct arena arena;
    arena_init(&arena, 0);
    size_t cap = count * LISTENER_LINE_MAX + 1;
    struct strbuf sb;
    strbuf_init(&sb, arena_alloc(&arena, cap), cap);
    for (size_t i = 0; i < count; i++) {
        strbuf_addf(&sb, STR_FMT " ", STR_ARG(listeners[i].name));
        print_address(&listeners[i], &sb);
        strbuf_add(&sb, "\n", 1);
    }
    int err = ports_file_write(&pg->fs, path, sb.ptr, sb.len, ret_error, error_cap);
    arena_release(&arena);
    return err;
}

static int announce(struct program *pg)
{
    const char *path = pg->args.ports_file;
    char error[256] = "";
    if (path != NULL && write_ports(pg, path, error, sizeof(error)) < 0) {
        fprintf(stderr, "jackdaw: --ports-file %s: %s\n", path, error);
        return STATUS_MISTAKE;
    }
    const struct broker_listener *listeners;
    size_t count = server_listeners(pg->server, &listeners);
    check(count > 0);
    char text[1024];
    struct strbuf sb;
    strbuf_init(&sb, text, sizeof(text));
    print_address(&listeners[0], &sb);
    printf("jackdaw ready %s\n", text);
    (void)fflush(stdout);
    return 0;
}

static void wait_for_end(struct program *pg, const sigset_t *signals)
{
    int signal = 0;
    while (sigwait(signals, &signal) != 0 || signal == SIGUSR1) {
        /* Not zero: EINTR, a debugger came by. */
        if (signal == SIGUSR1) {
            server_log_metrics(pg->server);
            signal = 0;
        }
    }
    (void)pthread_sigmask(SIG_UNBLOCK, signals, NULL);
}

/* The metadata log has failed: what was promised is on the disk, nothing more can be promised. */
static void end_now(void *ctx)
{
    (void)ctx;
    _exit(EXIT_FAILURE);
}

/* One of those that end the process has come while they were held back. */
static bool is_end_wanted(void)
{
    sigset_t pending;
    return sigpending(&pending) == 0 &&
           (sigismember(&pending, SIGTERM) == 1 || sigismember(&pending, SIGINT) == 1 ||
            sigismember(&pending, SIGHUP) == 1);
}

static int serve(struct program *pg, const sigset_t *signals)
{
    char error[2048] = "";
    if (pg->args.is_ephemeral && make_temporary(pg, error, sizeof(error)) < 0) {
        return mistake(error);
    }
    struct config *config;
    if (load_config(pg, &config, error, sizeof(error)) < 0) {
        return mistake(error);
    }
    int err =
        server_new(config, &pg->clock, &pg->fs, &pg->logger, &pg->server, error, sizeof(error));
    if (err >= 0) {
        server_set_fatal(pg->server, end_now, NULL);
        err = server_start(pg->server, error, sizeof(error));
    }
    if (err < 0) {
        return mistake(error[0] != '\0' ? error : err_text(err));
    }
    (void)pthread_sigmask(SIG_BLOCK, signals, NULL);
    bool is_wanted = !is_end_wanted();
    int status = is_wanted ? announce(pg) : 0;
    if (status == 0 && is_wanted) {
        wait_for_end(pg, signals);
    }
    bool is_stopped = server_stop(pg->server, !pg->args.is_ephemeral);
    return status == 0 && !is_stopped ? EXIT_FAILURE : status;
}

static bool is_ignored(int signal)
{
    struct sigaction is;
    return sigaction(signal, NULL, &is) == 0 && is.sa_handler == SIG_IGN;
}

/* By the signal, as who waits for the process expects; the first process of a container is spared
 * its default, and exits. Nothing else is done here: this may interrupt anything. */
static void end_by_signal(int signal)
{
    struct sigaction end = {.sa_handler = SIG_DFL};
    (void)sigaction(signal, &end, NULL);
    sigset_t only;
    sigemptyset(&only);
    sigaddset(&only, signal);
    (void)pthread_sigmask(SIG_UNBLOCK, &only, NULL);
    (void)raise(signal);
    _exit(STATUS_SIGNAL + signal);
}

/* What a start does with signals; the set is what is waited for later. */
static void prepare_signals(bool is_held_back, sigset_t *ret)
{
    /* SIGINT and SIGTERM also where they were ignored: a shell does so with jobs in the background
     * for the sake of the terminal. */
    static const int ending[] = {SIGTERM, SIGINT, SIGHUP};
    sigemptyset(ret);
    for (size_t i = 0; i < ARRAY_LEN(ending); i++) {
        if (ending[i] != SIGHUP || !is_ignored(SIGHUP)) {
            struct sigaction end = {.sa_handler = end_by_signal};
            (void)sigaction(ending[i], &end, NULL);
            sigaddset(ret, ending[i]);
        }
    }
    (void)pthread_sigmask(is_held_back ? SIG_BLOCK : SIG_UNBLOCK, ret, NULL);
    sigset_t metrics;
    sigemptyset(&metrics);
    sigaddset(&metrics, SIGUSR1);
    (void)pthread_sigmask(SIG_BLOCK, &metrics, NULL);
    sigaddset(ret, SIGUSR1);
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    (void)sigaction(SIGPIPE, &ignore, NULL);
}

static int run_server(int argc, char **argv)
{
    /* Large pieces of memory are mapped: they grow without being copied, and go back at once when
     * they are freed. Said aloud the limit stays; else it moves up with what is freed. */
    (void)mallopt(M_MMAP_THRESHOLD, MMAP_BYTES);
    (void)mallopt(M_TRIM_THRESHOLD, TRIM_BYTES);
    struct program pg = {0};
    char error[1024];
    if (!args_parse(argc, argv, &pg.args, error, sizeof(error))) {
        return mistake(error);
    }
    sigset_t signals;
    prepare_signals(pg.args.is_ephemeral, &signals);
    clock_init_system(&pg.clock);
    fs_init_system(&pg.fs);
    logger_init_stderr(&pg.logger, &pg.clock, LOG_LEVEL_INFO);
    int status = serve(&pg, &signals);
    server_free(pg.server);
    if (pg.temporary != NULL) {
        int err = fs_remove_tree(&pg.fs, pg.temporary);
        if (err < 0) {
            LOG_WARN(&pg.logger, FAC_SERVER, "the temporary directory %s stays: %s", pg.temporary,
                     err_text(err));
        }
        mem_free(pg.temporary);
    }
    fs_release_system(&pg.fs);
    args_release(&pg.args);
    return status;
}

/* A standard descriptor that is closed would be the next socket or file, and lines for people would
 * go there. Its place is taken so that using it fails as before: it can only be read where it
 * should be written, and the other way round. */
static void take_standard_descriptors(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) < 0) {
            /* The lowest that is free is this one; without /dev/null all is as it was. */
            IGNORE(open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY));
        }
    }
}

static int run_command(int (*run)(int argc, char **argv), int argc, char **argv)
{
    int status = run(argc, argv);
    bool is_written = fflush(stdout) == 0 && ferror(stdout) == 0;
    return status == 0 && !is_written ? EXIT_FAILURE : status;
}

int main(int argc, char **argv)
{
    take_standard_descriptors();
    for (size_t i = 0; argc > 1 && i < ARRAY_LEN(commands); i++) {
        if (strcmp(argv[1], commands[i].name) == 0) {
            return run_command(commands[i].run, argc - 1, argv + 1);
        }
    }
    return run_server(argc, argv);
}
