/* What must hold between the values of several keys, as Kafka checks it when a broker starts, and
 * what is not supported here yet. */
#ifndef CONFIG_CONFIG_CHECK_H
#define CONFIG_CONFIG_CHECK_H

#include "base/base.h"
#include "config/config.h"

/* False: *ret_message (in the arena) names key, value and what is allowed. Types are checked
 * before. */
must_check bool
config_check(const struct config_view *view, struct arena *arena, struct str *ret_message);

#endif
