/*
 * What a start of a node writes: the records that begin the cluster, when it has not begun, and the
 * registrations of this node as controller and as broker.
 *
 * Answers to Kafka's ActivationRecordsGenerator, ControllerRegistrationManager and
 * BrokerLifecycleManager.
 */
#include "broker/broker.h"
#include "broker/log_dirs.h"
#include "broker/metadata_impl.h"
#include "config/config.h"
#include "meta/bootstrap.h"
#include "meta/controller.h"
#include "raft/raft_node.h"

#define ENDPOINTS_MAX 64

int metadata_begin_cluster(struct metadata *md, struct meta_records *records)
{
    if (image_is_in_transaction(md->newest)) {
        int r = bootstrap_abort_transaction(records);
        r = r < 0 ? r : metadata_owe(md, records);
        if (r < 0) {
            return r;
        }
    }
    if (image_feature_level(md->newest, STR(METADATA_VERSION)) > 0) {
        return 0;
    }
    const struct view *first;
    size_t count;
    raft_node_bootstrap(md->rn, &first, &count);
    struct str min_isr =
        arena_printf(&md->arena, "%" PRId64, config_get_int(md->br->config, "min.insync.replicas"));
    int r = bootstrap_cluster(records, first, count, min_isr);
    return r < 0 ? r : metadata_owe(md, records);
}

/* Endpoints of the broker as they are bound; a listener that advertised.listeners leaves out has
 * none. */
static int32_t broker_endpoints(const struct broker *br, struct image_endpoint *ret)
{
    int32_t count = 0;
    for (size_t i = 0; i < br->listeners_count && count < ENDPOINTS_MAX; i++) {
        const struct broker_listener *bl = &br->listeners[i];
        if (!bl->is_advertised) {
            continue;
        }
        ret[count++] = (struct image_endpoint){
            .name = bl->name,
            .host = bl->advertised_host,
            .port = bl->advertised_port,
            .security_protocol = bl->security_protocol,
        };
    }
    return count;
}

/* Kafka registers the listeners of the controller, whatever controller.quorum.voters says of them.
 * Nothing is bound for them here: without any, or with port 0, the voter tells. */
static int32_t controller_endpoints(const struct metadata *md, struct image_endpoint *ret)
{
    static const struct voter nobody = {0};
    struct raft_node_description rd;
    raft_node_describe(md->rn, &rd);
    const struct voter *v = voters_find(rd.voters, md->br->node_id, &md->br->directory_id);
    v = v == NULL ? &nobody : v;
    const struct config_listener *all;
    size_t all_count;
    config_listeners(md->br->config, &all, &all_count);
    int32_t count = 0;
    for (size_t i = 0; i < all_count && count < ENDPOINTS_MAX; i++) {
        const struct config_listener *cl = &all[i];
        if (!cl->is_controller) {
            continue;
        }
        uint16_t port = cl->advertised_port != 0 ? cl->advertised_port : cl->port;
        ret[count++] = (struct image_endpoint){
            .name = cl->name,
            .host = cl->advertised_host.len > 0 ? cl->advertised_host : cl->host,
            .port = port == 0 && v->endpoints_count > 0 ? v->endpoints[0].port : port,
            .security_protocol = cl->security_protocol,
        };
    }
    for (int32_t i = 0; config_controller_listener(md->br->config) == NULL &&
                        i < v->endpoints_count && count < ENDPOINTS_MAX;
         i++) {
        struct str name = v->endpoints[i].listener;
        ret[count++] = (struct image_endpoint){
            .name = name.len > 0 ? name : STR("CONTROLLER"), /* a static voter has none */
            .host = v->endpoints[i].host,
            .port = v->endpoints[i].port,
        };
    }
    return count;
}

/* Did the last life of this broker end as it should, in every directory? Then the marker names its
 * epoch. */
static bool was_clean(struct metadata *md)
{
    const struct image_broker *b = image_broker(md->newest, md->br->node_id);
    struct log_dir_entry *entries;
    size_t count;
    log_dirs_entries(md->br->log_dirs, &entries, &count);
    for (size_t i = 0; i < count; i++) {
        if (entries[i].ld == NULL || b == NULL ||
            log_dir_previous_broker_epoch(entries[i].ld) != b->epoch) {
            return false;
        }
    }
    return true;
}

int metadata_register_node(struct metadata *md, struct meta_records *records)
{
    struct broker *br = md->br;
    int16_t metadata_version = image_feature_level(md->newest, STR(METADATA_VERSION));
    bool is_clean = was_clean(md);
    struct image_endpoint *endpoints =
        arena_alloc(&md->arena, ENDPOINTS_MAX * sizeof(endpoints[0]));
    struct uuid *directories;
    int32_t directories_count = log_dirs_ids(br->log_dirs, false, &md->arena, &directories);
    struct bootstrap_node controller = {
        .id = br->node_id,
        .incarnation_id = br->incarnation_id,
        .endpoints = endpoints,
        .endpoints_count = controller_endpoints(md, endpoints),
    };
    int r = 0;
    if (metadata_version >= METADATA_VERSION_3_7_IV0) {
        r = bootstrap_register_controller(records, &controller, metadata_version);
        r = r < 0 ? r : metadata_owe(md, records);
    }
    struct str rack = config_get_str(br->config, "broker.rack");
    struct bootstrap_node broker = {
        .id = br->node_id,
        .incarnation_id = br->incarnation_id,
        .endpoints = endpoints,
        .endpoints_count = broker_endpoints(br, endpoints),
        .rack = rack.len == 0 ? (struct str){.ptr = NULL} : rack,
        .log_dirs = directories,
        .log_dirs_count = directories_count,
    };
    br->broker_epoch = metadata_next_offset(md);
    r = r < 0 ? r : bootstrap_register_broker(records, &broker, br->broker_epoch, metadata_version);
    r = r < 0 ? r : metadata_owe(md, records);
    if (r < 0) {
        return r;
    }
    controller_broker_serves(md->newest, br->node_id, is_clean, records);
    return metadata_owe(md, records);
}
