/* The program itself, started as a user starts it: exit status, standard output and error, what is
 * left behind. The first argument of the test is the program. Every wait is for a pipe or for the
 * process. */
#include "unit.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

struct fixture {
    const char *program;
    char dir[64]; /* TMPDIR of the program */
};

struct child {
    pid_t pid;
    int out;
    int err;
};

static void start(struct fixture *fx, struct child *ch, const char *const *words)
{
    int out[2];
    int err[2];
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    assert_int_equal(pipe2(err, O_CLOEXEC), 0);
    ch->pid = fork();
    assert_true(ch->pid >= 0);
    if (ch->pid == 0) {
        char *argv[16] = {NULL};
        argv[0] = strdup(fx->program);
        for (int i = 0; words[i] != NULL; i++) {
            argv[i + 1] = strdup(words[i]);
        }
        if (dup2(out[1], 1) < 0 || dup2(err[1], 2) < 0 || chdir(fx->dir) != 0) {
            _exit(99);
        }
        setenv("TMPDIR", fx->dir, 1);
        unsetenv("KAFKA_NODE_ID");
        execv(fx->program, argv);
        _exit(98);
    }
    close(out[1]);
    close(err[1]);
    ch->out = out[0];
    ch->err = err[0];
}

/* All that comes until the other side is closed, or until one line is there. */
static void read_text(int fd, char *text, size_t cap, bool is_line)
{
    size_t len = 0;
    while (len + 1 < cap) {
        ssize_t n = read(fd, text + len, is_line ? 1 : cap - len - 1);
        if (n <= 0) {
            break;
        }
        len += (size_t)n;
        if (is_line && text[len - 1] == '\n') {
            break;
        }
    }
    text[len] = '\0';
}

static int finish(struct child *ch, char *err, size_t cap)
{
    read_text(ch->err, err, cap, false);
    close(ch->out);
    close(ch->err);
    int status;
    assert_int_equal(waitpid(ch->pid, &status, 0), ch->pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}
#define START(fx, ch, ...) start((fx), (ch), (const char *const[]){__VA_ARGS__, NULL})

static int count_entries(const char *dir)
{
    DIR *d = opendir(dir);
    assert_non_null(d);
    int count = 0;
    struct dirent *e;
    while ((e = readdir(d)) != NULL) {
        count += e->d_name[0] == '.' ? 0 : 1;
    }
    closedir(d);
    return count;
}

static void a_mistake_is_one_line_and_status_2(void **state)
{
    struct fixture *fx = *state;
    static const char *const lines[][3] = {
        {"--nope", NULL, "--nope"},
        {"--override", "log.segment.bytes=1", "at least 1048576"},
        {"--listen", "nowhere", "HOST:PORT"},
        {"no-such.properties", NULL, "no-such.properties"},
        {"--override", "listeners=SSL://:1", "not supported yet"},
    };
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        struct child ch;
        START(fx, &ch, lines[i][0], lines[i][1]);
        char out[256];
        char err[2048];
        read_text(ch.out, out, sizeof(out), false);
        assert_int_equal(finish(&ch, err, sizeof(err)), 2);
        assert_string_equal(out, "");
        assert_non_null(strstr(err, lines[i][2]));
        assert_ptr_equal(strchr(err, '\n'), err + strlen(err) - 1);
        assert_int_equal(count_entries(fx->dir), 0);
    }
}

static void an_ephemeral_server_leaves_nothing_behind(void **state)
{
    struct fixture *fx = *state;
    static const int signals[] = {SIGTERM, SIGINT};
    for (size_t i = 0; i < ARRAY_LEN(signals); i++) {
        struct child ch;
        START(fx, &ch, "--ephemeral", "--ports-file", "ports");
        char line[256];
        read_text(ch.out, line, sizeof(line), true);
        unsigned port = 0;
        assert_int_equal(sscanf(line, "jackdaw ready 127.0.0.1:%u\n", &port), 1);
        assert_true(port > 0);
        char path[128];
        snprintf(path, sizeof(path), "%s/ports", fx->dir);
        int fd = open(path, O_RDONLY);
        assert_true(fd >= 0);
        char ports[256];
        char expected[256];
        read_text(fd, ports, sizeof(ports), false);
        close(fd);
        snprintf(expected, sizeof(expected), "PLAINTEXT 127.0.0.1:%u\n", port);
        assert_string_equal(ports, expected);
        assert_int_equal(count_entries(fx->dir), 2); /* ports, and the data */
        assert_int_equal(kill(ch.pid, signals[i]), 0);
        char err[4096];
        char rest[256];
        read_text(ch.out, rest, sizeof(rest), false);
        assert_string_equal(rest, "");
        assert_int_equal(finish(&ch, err, sizeof(err)), 0);
        assert_int_equal(unlink(path), 0);
        assert_int_equal(count_entries(fx->dir), 0);
    }
}

static void subcommands_print_tables(void **state)
{
    struct fixture *fx = *state;
    static const char *const lines[][2] = {
        {"apis", "| 18 | ApiVersions | 0-5 |"},
        {"configs", "| jackdaw.memory.max | LONG |"},
        {"help", "--ports-file"},
        {"version", "jackdaw "},
    };
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        struct child ch;
        START(fx, &ch, lines[i][0]);
        char *out = malloc(1 << 20);
        assert_non_null(out);
        read_text(ch.out, out, 1 << 20, false);
        char err[256];
        assert_int_equal(finish(&ch, err, sizeof(err)), 0);
        assert_non_null(strstr(out, lines[i][1]));
        assert_string_equal(err, "");
        free(out);
    }
}

static int make_dir(void **state)
{
    struct fixture *fx = *state;
    snprintf(fx->dir, sizeof(fx->dir), "/tmp/jackdaw-program-XXXXXX");
    return mkdtemp(fx->dir) == NULL;
}

static int remove_dir(void **state)
{
    struct fixture *fx = *state;
    return rmdir(fx->dir);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: test_program JACKDAW\n");
        return 2;
    }
    char program[4096]; /* the child works in another directory */
    if (realpath(argv[1], program) == NULL) {
        perror(argv[1]);
        return 2;
    }
    struct fixture fx = {.program = program};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate_setup_teardown(a_mistake_is_one_line_and_status_2, make_dir,
                                                 remove_dir, &fx),
        cmocka_unit_test_prestate_setup_teardown(an_ephemeral_server_leaves_nothing_behind,
                                                 make_dir, remove_dir, &fx),
        cmocka_unit_test_prestate_setup_teardown(subcommands_print_tables, make_dir, remove_dir,
                                                 &fx),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
