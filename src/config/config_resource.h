/*
 * Whether a set of configs may be stored for a resource: what Kafka's controller and broker check
 * before a ConfigRecord is written. Pure but for the config; any thread. Messages live in the
 * arena.
 */
#ifndef CONFIG_CONFIG_RESOURCE_H
#define CONFIG_CONFIG_RESOURCE_H

#include "base/base.h"
#include "config/config.h"
#include "meta/image.h"
#include "wire/gen/errors.h"

/* All configs that the group would have, each key once, no null values. */
enum kafka_error config_resource_check_group(const struct config *c,
                                             const struct image *im,
                                             struct str group,
                                             const struct image_config *configs,
                                             size_t count,
                                             struct arena *arena,
                                             struct str *ret_message);

enum kafka_error config_resource_check_client_metrics(struct str subscription,
                                                      const struct image_config *configs,
                                                      size_t count,
                                                      struct arena *arena,
                                                      struct str *ret_message);

/* All dynamic configs that the broker resource would have ("": the default of all brokers), sorted
 * by name. */
enum kafka_error config_resource_check_broker(const struct config *c,
                                              const struct image *im,
                                              struct str resource,
                                              const struct image_config *configs,
                                              size_t count,
                                              struct arena *arena,
                                              struct str *ret_message);

#endif
