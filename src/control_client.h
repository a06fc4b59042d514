/*
 * The tools' side of a broker's control door (broker/control.h): one question, one answer.
 * Blocking.
 */
#ifndef CONTROL_CLIENT_H
#define CONTROL_CLIENT_H

#include "base/base.h"
#include "base/mem.h"
#include "base/str.h"
#include "broker/control.h"

/* -ENOENT, -ECONNREFUSED: no broker serves this directory. ERR_MALFORMED: an answer that is none.
 * ERR_TRUNCATED: it ended too early. The body lies in the arena. */
must_check int control_client_ask(const char *directory,
                                  const struct str *words,
                                  size_t count,
                                  struct arena *arena,
                                  enum control_status *ret_status,
                                  struct str *ret_body);

#endif
