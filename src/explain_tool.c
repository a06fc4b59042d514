/* `jackdaw explain`: finds the data directory as the server does, and asks at its control door. */
#include "explain_tool.h"

#include "base/base.h"

#include <unistd.h>

#include "base/err.h"
#include "base/fs.h"
#include "base/mem.h"
#include "config/config.h"
#include "config/config_load.h"
#include "control_client.h"

enum {
    EXIT_GOOD = 0,
    EXIT_FAILED = 1,
    EXIT_USAGE = 2,
};

static const char usage[] =
    "usage: jackdaw explain group NAME [--json] [--data DIR | server.properties]\n"
    "\n"
    "Asks the broker that runs on this directory (default ./jackdaw-data): the timeline of the\n"
    "group's last rebalances, why each began, whom it waited for, and what each member owns.\n"
    "\n"
    "  --json      as one JSON object\n"
    "  --data DIR  the data directory of the broker (the first of log.dirs)\n";

struct arguments {
    const char *group;
    const char *data; /* NULL: not given */
    const char *file; /* NULL: not given */
    bool as_json;
};

__attribute__((format(printf, 2, 3))) static int complain(int status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("jackdaw explain: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    return status;
}

static int read_arguments(int argc, char **argv, struct arguments *a)
{
    size_t words = 0;
    bool only_words = false;
    for (int i = 1; i < argc; i++) {
        const char *arg = argv[i];
        if (!only_words && strcmp(arg, "--") == 0) {
            only_words = true;
        } else if (!only_words && strcmp(arg, "--json") == 0) {
            a->as_json = true;
        } else if (!only_words && strcmp(arg, "--data") == 0) {
            if (i + 1 == argc) {
                return complain(EXIT_USAGE, "--data: DIR is missing");
            }
            a->data = argv[++i];
        } else if (!only_words && strncmp(arg, "--data=", 7) == 0) {
            a->data = arg + 7;
        } else if (!only_words && strncmp(arg, "--", 2) == 0) {
            return complain(EXIT_USAGE, "%s: no such option; see jackdaw explain --help", arg);
        } else if (words == 0) {
            if (strcmp(arg, "group") != 0) {
                return complain(EXIT_USAGE, "%s: only a group can be explained", arg);
            }
            words++;
        } else if (words == 1) {
            a->group = arg;
            words++;
        } else if (words == 2) {
            a->file = arg;
            words++;
        } else {
            return complain(EXIT_USAGE, "%s: that is one word too many", arg);
        }
    }
    if (a->group == NULL) {
        return complain(EXIT_USAGE, "say which group: jackdaw explain group NAME");
    }
    if (a->file != NULL && a->data != NULL) {
        return complain(EXIT_USAGE, "--data and a properties file: one of them is enough");
    }
    return EXIT_GOOD;
}

/* The first of log.dirs. */
static int find_directory(const struct arguments *a, struct arena *arena, const char **ret)
{
    struct fs fs;
    char error[1024] = "";
    struct config *config = NULL;
    fs_init_system(&fs);
    struct config_input in = {.file_name = a->file, .environment = environ, .data = a->data};
    int r = config_load_file(&fs, &in, NULL, &config, error, sizeof(error));
    fs_release_system(&fs);
    if (r < 0) {
        return complain(EXIT_FAILED, "%s", error);
    }
    struct str *dirs;
    size_t count;
    config_get_list(config, "log.dirs", arena, &dirs, &count);
    *ret = count == 0 ? NULL : arena_strdup(arena, dirs[0]).ptr;
    config_free(config);
    return *ret == NULL ? complain(EXIT_FAILED, "log.dirs is empty") : EXIT_GOOD;
}

static int ask(const struct arguments *a, const char *directory, struct arena *arena)
{
    struct str words[4] = {STR("explain"), STR("group"), str_from(a->group), STR("json")};
    enum control_status status;
    struct str body;
    int r = control_client_ask(directory, words, a->as_json ? 4 : 3, arena, &status, &body);
    if (r == -ENOENT || r == -ECONNREFUSED || r == -ENOTDIR) {
        return complain(EXIT_FAILED,
                        "no broker runs on %s (there is no %s that answers); name its directory "
                        "with --data DIR or its properties file",
                        directory, CONTROL_SOCKET_NAME);
    }
    if (r < 0) {
        return complain(EXIT_FAILED, "%s/%s: %s", directory, CONTROL_SOCKET_NAME, err_text(r));
    }
    if (status != CONTROL_OK) {
        body = str_trim(body);
        char memory[1100];
        struct strbuf sb;
        strbuf_init(&sb, memory, sizeof(memory));
        return complain(EXIT_FAILED, "group %s: " STR_FMT, str_escape(&sb, words[2]),
                        STR_ARG(body));
    }
    if (fwrite(body.ptr, 1, body.len, stdout) != body.len || fflush(stdout) != 0) {
        return complain(EXIT_FAILED, "standard output: %s", err_text(-errno));
    }
    return EXIT_GOOD;
}

int explain_tool_main(int argc, char **argv)
{
    struct arguments a = {0};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            fputs(usage, stdout);
            return EXIT_GOOD;
        }
    }
    int status = read_arguments(argc, argv, &a);
    struct arena arena = {0};
    const char *directory = NULL;
    if (status == EXIT_GOOD) {
        status = find_directory(&a, &arena, &directory);
    }
    if (status == EXIT_GOOD) {
        status = ask(&a, directory, &arena);
    }
    arena_release(&arena);
    return status;
}
