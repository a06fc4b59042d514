/*
 * One server: everything that runs behind the listeners of one config. Made, started and stopped by
 * one thread; several may live in one process. Errors that a person can mend come as one line of
 * text in ret_error.
 */
#ifndef SERVER_H
#define SERVER_H

#include "base/base.h"

struct broker_listener;
struct clock;
struct config;
struct fs;
struct logger;
struct server;

/* `config` is the server's from now on, also when this fails; the others are borrowed. */
must_check int server_new(struct config *config,
                          struct clock *clock,
                          struct fs *fs,
                          struct logger *logger,
                          struct server **ret,
                          char *ret_error,
                          size_t error_cap);

/* `fatal` is called, on any thread, when the server cannot go on (the metadata log cannot be
 * written): one clear line is in the log by then. It must end the process or see to it; without one
 * the server only refuses changes. Before server_start. */
void server_set_fatal(struct server *sv, void (*fatal)(void *ctx), void *ctx);

/* Returns when it serves. After a failure only server_free may be called. */
must_check int server_start(struct server *sv, char *ret_error, size_t error_cap);

/* The bound listeners with their real ports; borrowed. */
size_t server_listeners(struct server *sv, const struct broker_listener **ret);

/* Every metric as a line of the log, "metric NAME VALUE". Any time between start and stop. */
void server_log_metrics(struct server *sv);

/* is_clean: flushes, checkpoints, marks the directories as cleanly shut down. False: some of it
 * could not be written; the log says what. */
bool server_stop(struct server *sv, bool is_clean);

struct server *server_free(struct server *sv); /* takes NULL, returns NULL */

#endif
