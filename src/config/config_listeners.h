/*
 * The keys about listeners, read together (P): listeners, advertised.listeners,
 * listener.security.protocol.map, controller.listener.names, inter.broker.listener.name,
 * security.inter.broker.protocol. Kafka's AbstractKafkaConfig and SocketServerConfigs.
 */
#ifndef CONFIG_CONFIG_LISTENERS_H
#define CONFIG_CONFIG_LISTENERS_H

#include "base/base.h"
#include "base/mem.h"
#include "base/str.h"

enum security_protocol { /* Kafka's ids */
    SECURITY_PLAINTEXT = 0,
    SECURITY_SSL = 1,
    SECURITY_SASL_PLAINTEXT = 2,
    SECURITY_SASL_SSL = 3,
};

struct config_listener {
    struct str name;           /* in capital letters */
    struct str host;           /* "" every address */
    uint16_t port;             /* 0: a free one */
    int16_t security_protocol; /* enum security_protocol */
    bool is_controller;        /* of the controller; nothing is bound for it */
    bool is_advertised;
    struct str advertised_host;
    uint16_t advertised_port; /* 0: the one that is bound */
};

#define CONFIG_LISTENERS_MAX 64

struct config_listeners_input {
    const struct str *listeners; /* NAME://host:port */
    size_t listeners_count;
    const struct str *advertised; /* none: as listeners */
    size_t advertised_count;
    const struct str *controller_names;
    size_t controller_names_count;
    struct str protocol_map;        /* NAME:PROTOCOL,... */
    bool is_protocol_map_set;       /* not the default */
    bool needs_controller_listener; /* one of controller_names must be in listeners */
    struct str inter_broker_name;   /* null: not set */
    struct str inter_broker_protocol;
    bool is_inter_broker_protocol_set;
    struct str machine_name; /* advertised where a listener has no host */
};

/* False: *ret_message says what is wrong. Results are in the arena. */
must_check bool config_listeners_parse(const struct config_listeners_input *in,
                                       struct arena *arena,
                                       struct config_listener **ret,
                                       size_t *ret_count,
                                       struct str *ret_message);

/* One NAME://host:port (host may be in brackets); false: it does not follow the form. */
must_check bool
config_listeners_parse_one(struct str text, struct arena *arena, struct config_listener *ret);

const char *config_listeners_protocol_name(int16_t protocol);

#endif
