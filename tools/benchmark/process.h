/*
 * The broker under test as a process: started on one core with a fresh data directory, measured
 * through /proc, ended by the pid that was started.
 */
#ifndef BENCHMARK_PROCESS_H
#define BENCHMARK_PROCESS_H

#include "base/base.h"

#include <netinet/in.h>
#include <sys/types.h>

enum process_mode {
    PROCESS_PAGE_CACHE, /* log.flush.interval.messages at its maximum */
    PROCESS_DURABLE,    /* the default */
};

struct process_options {
    const char *binary;
    const char *data;     /* data directory */
    const char *sync_log; /* NULL, or: run under strace, which writes the sync calls there */
    const char *override; /* NULL, or one more "KEY=VALUE" */
    enum process_mode mode;
    int core;                  /* -1: anywhere */
    unsigned descriptors_soft; /* limit of descriptors; 0: as it is */
};

struct process {
    pid_t pid;    /* of the broker */
    pid_t parent; /* what was forked: the same, or strace */
    int out;      /* its standard output; -1: closed */
    struct sockaddr_in address;
};

/* Returns when the broker has said that it is ready. */
must_check int process_start(const struct process_options *o, struct process *ret);
void process_stop(struct process *p); /* SIGTERM, and waits */
void process_kill(struct process *p); /* SIGKILL, and waits */

/* Of a running process; zeros when it is not ours to look at. */
struct process_use {
    int64_t cpu_ns; /* user and system, all threads, ended ones too */
    int64_t rss_kib;
    int64_t pss_kib;
    int64_t voluntary_switches;
    int64_t descriptors;
};
void process_look(pid_t pid, struct process_use *ret);
int64_t process_cpu_ns(pid_t pid);
void process_pin(pid_t pid, int core); /* all threads; core -1: nothing */

/* Sync calls that strace has written: how many, and how many of them one after another. */
struct sync_count {
    int64_t calls;
    int64_t in_a_row;
};
void sync_log_count(const char *path, struct sync_count *ret);

int directory_make(const char *path);
void directory_remove(const char *path); /* with all that is in it */

#endif
