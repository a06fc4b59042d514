/*
 * The broker under test as a process. See process.h.
 *
 * CPU time is the process clock (user and system, to the nanosecond), read through the clock of
 * another process. The kernel's work for loopback packets is charged to whoever sends, so the
 * broker's figure holds what its own answers cost.
 */
#include "benchmark/process.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "benchmark/client.h"

#define START_PATIENCE_MS 120000
#define PATH_BYTES        512

static void pin_self(int core)
{
    if (core >= 0) {
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET((unsigned)core, &set);
        IGNORE(sched_setaffinity(0, sizeof(set), &set)); /* one core only: then both share it */
    }
}

void process_pin(pid_t pid, int core)
{
    char path[PATH_BYTES];
    snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
    DIR *dir = core < 0 ? NULL : opendir(path);
    if (dir == NULL) {
        return;
    }
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((unsigned)core, &set);
    for (struct dirent *e = readdir(dir); e != NULL; e = readdir(dir)) {
        if (e->d_name[0] != '.') {
            IGNORE(sched_setaffinity((pid_t)strtol(e->d_name, NULL, 10), sizeof(set),
                                     &set)); /* ended */
        }
    }
    closedir(dir);
}

noreturn_function static void run_child(const struct process_options *o, int out)
{
    pin_self(o->core);
    if (o->descriptors_soft > 0) {
        struct rlimit limit;
        check(getrlimit(RLIMIT_NOFILE, &limit) == 0);
        limit.rlim_cur = o->descriptors_soft;
        check(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    }
    char log[PATH_BYTES];
    snprintf(log, sizeof(log), "%s.log", o->data);
    int err = open(log, O_WRONLY | O_CREAT | O_APPEND, 0644);
    check(err >= 0 && dup2(err, STDERR_FILENO) >= 0 && dup2(out, STDOUT_FILENO) >= 0);

    const char *arguments[24];
    size_t n = 0;
    if (o->sync_log != NULL) {
        const char *trace[] = {"strace",
                               "-f",
                               "--seccomp-bpf",
                               "-ttt",
                               "-T",
                               "-qq",
                               "-e",
                               "trace=fsync,fdatasync,syncfs,sync_file_range",
                               "-o",
                               o->sync_log};
        for (; n < ARRAY_LEN(trace); n++) {
            arguments[n] = trace[n];
        }
    }
    arguments[n++] = o->binary;
    arguments[n++] = "--data";
    arguments[n++] = o->data;
    arguments[n++] = "--listen";
    arguments[n++] = "127.0.0.1:0";
    if (o->mode == PROCESS_PAGE_CACHE) {
        arguments[n++] = "--override";
        arguments[n++] = "log.flush.interval.messages=9223372036854775807";
    }
    if (o->override != NULL) {
        arguments[n++] = "--override";
        arguments[n++] = o->override;
    }
    arguments[n] = NULL;
    execvp(arguments[0], (char *const *)(uintptr_t)arguments);
    fprintf(stderr, "%s: %s\n", arguments[0], strerror(errno));
    _exit(127);
}

/* Reads "jackdaw ready HOST:PORT". */
static int read_ready(int fd, struct sockaddr_in *ret)
{
    char line[256];
    size_t len = 0;
    int64_t until = now_ns() + START_PATIENCE_MS * INT64_C(1000000);
    while (len < sizeof(line) - 1) {
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        int64_t left_ms = (until - now_ns()) / 1000000;
        if (left_ms <= 0 || poll(&wait, 1, (int)left_ms) <= 0) {
            return -ETIMEDOUT;
        }
        ssize_t n = read(fd, line + len, 1);
        if (n <= 0) {
            return -EPIPE;
        }
        if (line[len] == '\n') {
            break;
        }
        len++;
    }
    line[len] = '\0';
    static const char ready[] = "jackdaw ready ";
    if (strncmp(line, ready, sizeof(ready) - 1) != 0) {
        return -EPROTO;
    }
    return address_parse(line + sizeof(ready) - 1, ret);
}

static pid_t only_child(pid_t pid)
{
    char path[PATH_BYTES];
    snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)pid, (int)pid);
    FILE *f = fopen(path, "re");
    long child = 0;
    if (f != NULL) {
        if (fscanf(f, "%ld", &child) != 1) {
            child = 0;
        }
        fclose(f);
    }
    return (pid_t)child;
}

int process_start(const struct process_options *o, struct process *ret)
{
    int pipes[2];
    if (pipe2(pipes, O_CLOEXEC) != 0) {
        return -errno;
    }
    pid_t pid = fork();
    if (pid < 0) {
        return -errno;
    }
    if (pid == 0) {
        run_child(o, pipes[1]);
    }
    close(pipes[1]);
    *ret = (struct process){.pid = pid, .parent = pid, .out = pipes[0]};
    int r = read_ready(pipes[0], &ret->address);
    if (r < 0) {
        fprintf(stderr, "bench: %s did not become ready (%s); see %s.log\n", o->binary,
                strerror(-r), o->data);
        process_kill(ret);
        return r;
    }
    if (o->sync_log != NULL) {
        ret->pid = only_child(pid);
    }
    return 0;
}

static void end_process(struct process *p, int signal_number)
{
    if (p->parent > 0) {
        kill(p->pid > 0 ? p->pid : p->parent, signal_number);
        waitpid(p->parent, NULL, 0);
    }
    if (p->out >= 0) {
        close(p->out);
    }
    *p = (struct process){.out = -1};
}

void process_stop(struct process *p)
{
    end_process(p, SIGTERM);
}

void process_kill(struct process *p)
{
    end_process(p, SIGKILL);
}

int64_t process_cpu_ns(pid_t pid)
{
    clockid_t id;
    struct timespec t;
    if (pid <= 0 || clock_getcpuclockid(pid, &id) != 0 || clock_gettime(id, &t) != 0) {
        return 0;
    }
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

/* The number behind `name` in a file of lines "Name:  123 kB". */
static int64_t read_number(const char *path, const char *name)
{
    FILE *f = fopen(path, "re");
    if (f == NULL) {
        return 0;
    }
    char line[256];
    int64_t value = 0;
    size_t len = strlen(name);
    while (fgets(line, sizeof(line), f) != NULL) {
        if (strncmp(line, name, len) == 0 && line[len] == ':') {
            value = strtoll(line + len + 1, NULL, 10);
            break;
        }
    }
    fclose(f);
    return value;
}

void process_look(pid_t pid, struct process_use *ret)
{
    memset(ret, 0, sizeof(*ret));
    if (pid <= 0) {
        return;
    }
    char path[PATH_BYTES];
    ret->cpu_ns = process_cpu_ns(pid);
    snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    ret->rss_kib = read_number(path, "VmRSS");
    snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int)pid);
    ret->pss_kib = read_number(path, "Pss");

    snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
    DIR *dir = opendir(path);
    for (struct dirent *e = dir == NULL ? NULL : readdir(dir); e != NULL; e = readdir(dir)) {
        if (e->d_name[0] != '.') {
            char task[PATH_BYTES + 300];
            snprintf(task, sizeof(task), "%s/%s/status", path, e->d_name);
            ret->voluntary_switches += read_number(task, "voluntary_ctxt_switches");
        }
    }
    if (dir != NULL) {
        closedir(dir);
    }
    snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
    dir = opendir(path);
    for (struct dirent *e = dir == NULL ? NULL : readdir(dir); e != NULL; e = readdir(dir)) {
        ret->descriptors += e->d_name[0] != '.';
    }
    if (dir != NULL) {
        closedir(dir);
    }
}

struct interval {
    double start;
    double end;
};

static int compare_ends(const void *a, const void *b)
{
    const struct interval *x = a;
    const struct interval *y = b;
    return (x->end > y->end) - (x->end < y->end);
}

/* Lines "PID 1700000000.123456 fdatasync(5) = 0 <0.000150>"; a call that was cut in two by another
 * thread's has its start in the "unfinished" line and its length in the "resumed" one, so the end's
 * own time is start + length there. Calls one after another: the longest chain of intervals of
 * which none overlaps the next. */
void sync_log_count(const char *path, struct sync_count *ret)
{
    *ret = (struct sync_count){0};
    FILE *f = fopen(path, "re");
    if (f == NULL) {
        return;
    }
    struct interval *list = NULL;
    size_t count = 0;
    size_t cap = 0;
    char line[512];
    while (fgets(line, sizeof(line), f) != NULL) {
        const char *length = strrchr(line, '<');
        char *rest;
        (void)strtol(line, &rest, 10);
        double at = strtod(rest, NULL);
        if (length == NULL || strchr("0123456789", length[1]) == NULL) {
            continue; /* unfinished: its end comes */
        }
        if (count == cap) {
            cap = cap * 2 + 64;
            list = realloc(list, cap * sizeof(*list));
            check(list != NULL);
        }
        double took = strtod(length + 1, NULL);
        bool is_resumed = strstr(line, "resumed>") != NULL;
        list[count].start = is_resumed ? at - took : at;
        list[count].end = is_resumed ? at : at + took;
        count++;
    }
    fclose(f);
    if (count > 0) {
        qsort(list, count, sizeof(*list), compare_ends);
    }
    double end = 0;
    for (size_t i = 0; i < count; i++) {
        if (list[i].start >= end) {
            ret->in_a_row++;
            end = list[i].end;
        }
    }
    ret->calls = (int64_t)count;
    free(list);
}

int directory_make(const char *path)
{
    return mkdir(path, 0755) != 0 && errno != EEXIST ? -errno : 0;
}

static int remove_entry(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    IGNORE(remove(path)); /* best effort; what stays is in a directory of ours */
    return 0;
}

void directory_remove(const char *path)
{
    IGNORE(nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS));
}
