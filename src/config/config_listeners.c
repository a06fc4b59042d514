/*
 * Listeners and what clients are told about them.
 *
 * The order of the checks is Kafka's as far as a person can see it: forms and protocols first, then
 * names and ports twice, then what controllers and brokers need, then what is advertised. Names are
 * compared in capital letters. Two listeners may share a port only when one is bound to an IPv4 and
 * the other to an IPv6 address (KIP-797).
 */
#include "config/config_listeners.h"

#include "base/err.h"

static const char *const protocol_names[] = {"PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"};

const char *config_listeners_protocol_name(int16_t protocol)
{
    check(protocol >= 0 && (size_t)protocol < ARRAY_LEN(protocol_names));
    return protocol_names[protocol];
}

static bool find_protocol(struct str text, int16_t *ret)
{
    for (size_t i = 0; i < ARRAY_LEN(protocol_names); i++) {
        if (str_equal_ignore_case(text, str_from(protocol_names[i]))) {
            *ret = (int16_t)i;
            return true;
        }
    }
    return false;
}

static struct str upper_case(struct str s, struct arena *arena)
{
    char *out = arena_alloc(arena, s.len + 1);
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        out[i] = c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
    }
    return str_of(out, s.len);
}

static bool is_host_char(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c != '\0' && strchr("-%._:", c) != NULL);
}

bool config_listeners_parse_one(struct str text, struct arena *arena, struct config_listener *ret)
{
    size_t at = 0;
    while (at + 3 <= text.len && memcmp(text.ptr + at, "://", 3) != 0) {
        at++;
    }
    if (at == 0 || at + 3 > text.len) {
        return false;
    }
    struct str rest = str_of(text.ptr + at + 3, text.len - at - 3);
    size_t colon = rest.len;
    while (colon > 0 && rest.ptr[colon - 1] != ':') {
        colon--;
    }
    if (colon == 0) {
        return false;
    }
    struct str host = str_of(rest.ptr, colon - 1);
    struct str port_text = str_of(rest.ptr + colon, rest.len - colon);
    int32_t port;
    if (port_text.len == 0 || port_text.ptr[0] == '+' || str_to_i32(port_text, &port) < 0 ||
        port < 0 || port > UINT16_MAX) {
        return false;
    }
    if (host.len >= 2 && host.ptr[0] == '[' && host.ptr[host.len - 1] == ']') {
        host = str_of(host.ptr + 1, host.len - 2);
    }
    for (size_t i = 0; i < host.len; i++) {
        if (!is_host_char(host.ptr[i])) {
            return false;
        }
    }
    *ret = (struct config_listener){
        .name = upper_case(str_of(text.ptr, at), arena),
        .host = arena_strdup(arena, host),
        .port = (uint16_t)port,
    };
    return true;
}

static bool is_controller_name(const struct config_listeners_input *in, struct str name)
{
    for (size_t i = 0; i < in->controller_names_count; i++) {
        if (str_equal_ignore_case(in->controller_names[i], name)) {
            return true;
        }
    }
    return false;
}

static bool refuse(struct arena *arena, struct str *ret_message, const char *format, ...)
    printf_like(3, 4);

static bool refuse(struct arena *arena, struct str *ret_message, const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    *ret_message = arena_strdup(arena, str_from(text));
    return false;
}

/* The protocol that the map gives a listener; the last pair of a name counts. */
static bool find_in_map(struct str map, struct str name, int16_t *ret)
{
    bool is_found = false;
    struct str rest = map;
    struct str pair;
    while (str_split(&rest, ',', &pair)) {
        struct str listener;
        if (str_split(&pair, ':', &listener) && str_equal_ignore_case(str_trim(listener), name) &&
            find_protocol(str_trim(pair), ret)) {
            is_found = true;
        }
    }
    return is_found;
}

static bool check_map(struct str map, struct arena *arena, struct str *ret_message)
{
    struct str rest = map;
    struct str pair;
    while (str_split(&rest, ',', &pair)) {
        struct str whole = str_trim(pair);
        if (whole.len == 0) {
            continue;
        }
        struct str listener;
        int16_t protocol;
        if (memchr(whole.ptr, ':', whole.len) == NULL || !str_split(&pair, ':', &listener)) {
            return refuse(arena, ret_message,
                          "listener.security.protocol.map: '" STR_FMT
                          "' is not a pair NAME:PROTOCOL.",
                          STR_ARG(whole));
        }
        if (!find_protocol(str_trim(pair), &protocol)) {
            return refuse(arena, ret_message,
                          "listener.security.protocol.map: '" STR_FMT
                          "' is no security protocol; it must be one of PLAINTEXT, SSL, "
                          "SASL_PLAINTEXT, SASL_SSL.",
                          STR_ARG(str_trim(pair)));
        }
    }
    return true;
}

/* Without a map of one's own, a controller listener may have any name. */
static bool
find_listener_protocol(const struct config_listeners_input *in, struct str name, int16_t *ret)
{
    if (find_in_map(in->protocol_map, name, ret)) {
        return true;
    }
    *ret = SECURITY_PLAINTEXT;
    return !in->is_protocol_map_set && is_controller_name(in, name);
}

static bool is_ipv6(struct str host)
{
    return host.len > 0 && memchr(host.ptr, ':', host.len) != NULL;
}

static bool is_ipv4(struct str host)
{
    size_t dots = 0;
    for (size_t i = 0; i < host.len; i++) {
        if (host.ptr[i] == '.') {
            dots++;
        } else if (host.ptr[i] < '0' || host.ptr[i] > '9') {
            return false;
        }
    }
    return dots == 3;
}

static bool may_share_port(const struct config_listener *a, const struct config_listener *b)
{
    return (is_ipv4(a->host) && is_ipv6(b->host)) || (is_ipv6(a->host) && is_ipv4(b->host));
}

static bool parse_all(const struct config_listeners_input *in,
                      const char *key,
                      const struct str *texts,
                      size_t count,
                      struct arena *arena,
                      struct config_listener *ret,
                      struct str *ret_message)
{
    for (size_t i = 0; i < count; i++) {
        if (!config_listeners_parse_one(texts[i], arena, &ret[i])) {
            return refuse(arena, ret_message,
                          "%s: '" STR_FMT "' does not have the form NAME://host:port with a port "
                          "from 0 to 65535.",
                          key, STR_ARG(texts[i]));
        }
        if (!find_listener_protocol(in, ret[i].name, &ret[i].security_protocol)) {
            return refuse(arena, ret_message,
                          "%s: no security protocol is known for the listener " STR_FMT
                          "; name it in listener.security.protocol.map.",
                          key, STR_ARG(ret[i].name));
        }
        ret[i].is_controller = is_controller_name(in, ret[i].name);
    }
    return true;
}

static bool check_names_and_ports(const struct config_listener *list,
                                  size_t count,
                                  struct arena *arena,
                                  struct str *ret_message)
{
    for (size_t i = 0; i < count; i++) {
        for (size_t j = i + 1; j < count; j++) {
            if (str_equal(list[i].name, list[j].name)) {
                return refuse(arena, ret_message,
                              "listeners: each listener must have a different name, and " STR_FMT
                              " is there twice.",
                              STR_ARG(list[i].name));
            }
            if (list[i].port != 0 && list[i].port == list[j].port &&
                !may_share_port(&list[i], &list[j])) {
                return refuse(arena, ret_message,
                              "listeners: each listener must have a different port, and " STR_FMT
                              " and " STR_FMT " have port %u.",
                              STR_ARG(list[i].name), STR_ARG(list[j].name), (unsigned)list[i].port);
            }
        }
    }
    return true;
}

static bool check_roles(const struct config_listeners_input *in,
                        const struct config_listener *list,
                        size_t count,
                        struct arena *arena,
                        struct str *ret_message)
{
    size_t controllers = 0;
    for (size_t i = 0; i < count; i++) {
        controllers += list[i].is_controller ? 1 : 0;
    }
    if (in->needs_controller_listener && controllers == 0) {
        return refuse(arena, ret_message,
                      "controller.listener.names: one of its listeners must be among listeners, "
                      "since this node is a controller.");
    }
    if (controllers == count) {
        return refuse(arena, ret_message,
                      "listeners: there must be one for clients beside those of "
                      "controller.listener.names.");
    }
    for (size_t i = 0; i < count; i++) {
        if (list[i].security_protocol != SECURITY_PLAINTEXT) {
            return refuse(arena, ret_message,
                          "listeners: " STR_FMT " uses %s, which is not supported yet; only "
                          "PLAINTEXT is.",
                          STR_ARG(list[i].name),
                          config_listeners_protocol_name(list[i].security_protocol));
        }
    }
    return true;
}

/* Copies what is advertised into the listener of that name. */
static bool match_advertised(const struct config_listener *advertised,
                             size_t advertised_count,
                             struct config_listener *list,
                             size_t count,
                             struct arena *arena,
                             struct str *ret_message)
{
    for (size_t i = 0; i < advertised_count; i++) {
        bool is_found = false;
        for (size_t j = 0; j < count; j++) {
            if (!str_equal(advertised[i].name, list[j].name)) {
                continue;
            }
            if (list[j].is_advertised) {
                return refuse(arena, ret_message,
                              "advertised.listeners: " STR_FMT " is there twice.",
                              STR_ARG(list[j].name));
            }
            is_found = true;
            list[j].is_advertised = true;
            list[j].advertised_host = advertised[i].host;
            list[j].advertised_port = advertised[i].port;
        }
        if (!is_found && !advertised[i].is_controller) {
            return refuse(arena, ret_message,
                          "advertised.listeners: " STR_FMT " is not among listeners.",
                          STR_ARG(advertised[i].name));
        }
    }
    return true;
}

static bool advertise(const struct config_listeners_input *in,
                      struct config_listener *list,
                      size_t count,
                      struct arena *arena,
                      struct str *ret_message)
{
    if (in->advertised_count == 0) {
        for (size_t i = 0; i < count; i++) {
            list[i].is_advertised = true;
            list[i].advertised_host = list[i].host;
            list[i].advertised_port = list[i].port;
        }
    } else {
        struct config_listener *advertised =
            arena_alloc(arena, in->advertised_count * sizeof(*advertised));
        if (!parse_all(in, "advertised.listeners", in->advertised, in->advertised_count, arena,
                       advertised, ret_message) ||
            !match_advertised(advertised, in->advertised_count, list, count, arena, ret_message)) {
            return false;
        }
    }
    size_t for_clients = 0;
    for (size_t i = 0; i < count; i++) {
        if (!list[i].is_advertised) {
            continue;
        }
        for_clients += list[i].is_controller ? 0 : 1;
        if (!list[i].is_controller && str_is(list[i].advertised_host, "0.0.0.0")) {
            return refuse(arena, ret_message,
                          "advertised.listeners: " STR_FMT " would be 0.0.0.0, where no client can "
                          "connect; set advertised.listeners to an address that clients reach.",
                          STR_ARG(list[i].name));
        }
        if (list[i].advertised_host.len == 0) {
            list[i].advertised_host = arena_strdup(arena, in->machine_name);
        }
    }
    if (for_clients == 0) {
        return refuse(arena, ret_message,
                      "advertised.listeners: there must be one for clients beside those of "
                      "controller.listener.names.");
    }
    return true;
}

static bool check_inter_broker(const struct config_listeners_input *in,
                               const struct config_listener *list,
                               size_t count,
                               struct arena *arena,
                               struct str *ret_message)
{
    struct str name = in->inter_broker_name;
    if (!str_is_null(name) && in->is_inter_broker_protocol_set) {
        return refuse(arena, ret_message,
                      "inter.broker.listener.name and security.inter.broker.protocol: only one of "
                      "them may be set.");
    }
    if (str_is_null(name)) {
        name = in->inter_broker_protocol;
    }
    for (size_t i = 0; i < count; i++) {
        if (str_equal_ignore_case(list[i].name, name) && list[i].is_advertised &&
            !list[i].is_controller) {
            return true;
        }
    }
    return refuse(arena, ret_message,
                  "inter.broker.listener.name: " STR_FMT " is not an advertised listener for "
                  "brokers.",
                  STR_ARG(name));
}

bool config_listeners_parse(const struct config_listeners_input *in,
                            struct arena *arena,
                            struct config_listener **ret,
                            size_t *ret_count,
                            struct str *ret_message)
{
    if (in->listeners_count > CONFIG_LISTENERS_MAX || in->advertised_count > CONFIG_LISTENERS_MAX) {
        return refuse(arena, ret_message, "listeners: more than %d of them.", CONFIG_LISTENERS_MAX);
    }
    size_t count = in->listeners_count;
    struct config_listener *list = arena_alloc(arena, count * sizeof(*list));
    if (!check_map(in->protocol_map, arena, ret_message) ||
        !parse_all(in, "listeners", in->listeners, count, arena, list, ret_message) ||
        !check_names_and_ports(list, count, arena, ret_message) ||
        !check_roles(in, list, count, arena, ret_message) ||
        !advertise(in, list, count, arena, ret_message) ||
        !check_inter_broker(in, list, count, arena, ret_message)) {
        return false;
    }
    *ret = list;
    *ret_count = count;
    return true;
}
