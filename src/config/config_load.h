/*
 * From what the user gave to a struct config.
 *
 * With a properties file Kafka's rules hold exactly; without one the values that Kafka ships in its
 * server.properties are built in (node.id 1, one replica of the internal topics), with data in
 * ./jackdaw-data and 127.0.0.1:9092. The command line wins over the file, the file over the
 * environment (KAFKA_LOG_RETENTION_MS is log.retention.ms, __ is _, ___ is -).
 *
 * Before threads run. Reads no file: the text of server.properties is handed over.
 */
#ifndef CONFIG_CONFIG_LOAD_H
#define CONFIG_CONFIG_LOAD_H

#include "base/base.h"
#include "base/fs.h"
#include "base/logger.h"
#include "base/str.h"
#include "config/config.h"

struct config_input {
    const char *file_name;        /* for messages */
    struct str file;              /* null: no file */
    const char *const *overrides; /* KEY=VALUE, a later one wins */
    size_t overrides_count;
    char *const *environment; /* as environ; NULL: none */
    const char *data;         /* log.dirs; NULL: as configured */
    const char *listen;       /* HOST:PORT of the first listener for clients; NULL: as configured */
    bool is_ephemeral; /* no flush, no rebalance delay, a free port unless `listen` is given */
    struct str machine_name; /* advertised where a listener has no host; null: "localhost" */
};

/* ERR_BAD_ARGUMENT: a mistake of the user, one line in ret_error. Unknown keys are warned about. */
must_check int config_load(const struct config_input *in,
                           struct logger *logger,
                           struct config **ret,
                           char *ret_error,
                           size_t error_cap);

/* The same with what stands in the file named in->file_name (NULL: no file); in->file is not looked
 * at. Also what fs_read_file returns. */
must_check int config_load_file(struct fs *fs,
                                const struct config_input *in,
                                struct logger *logger,
                                struct config **ret,
                                char *ret_error,
                                size_t error_cap);

/* The key that a variable of the environment stands for, in the arena; null: it stands for none. */
struct str config_load_environment_key(struct str variable, struct arena *arena);

#endif
