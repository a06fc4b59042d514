/* The command line of the server: `jackdaw [server.properties] [options]`. Pure; main thread. */
#ifndef ARGS_H
#define ARGS_H

#include "base/base.h"

#define ARGS_OVERRIDES_MAX 1000

struct args {
    const char *file;       /* server.properties; NULL: none */
    const char **overrides; /* owned array; KEY=VALUE */
    size_t overrides_count;
    const char *data; /* NULL: not given; so the others */
    const char *listen;
    const char *ports_file;
    bool is_ephemeral;
};

/* argv[0] is the program. False: ret_error says in one line what is wrong. */
must_check bool
args_parse(int argc, char **argv, struct args *ret, char *ret_error, size_t error_cap);
void args_release(struct args *a);

#endif
