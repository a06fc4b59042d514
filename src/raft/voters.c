/*
 * The set of voters; see voters.h.
 */
#include "raft/voters.h"

#include "base/err.h"

void voters_release(struct voters *vs)
{
    arena_release(&vs->arena);
    vs->count = 0;
}

void voters_clear(struct voters *vs)
{
    arena_reset(&vs->arena);
    vs->count = 0;
}

int voters_add(struct voters *vs, const struct voter *v)
{
    if (vs->count == VOTERS_MAX || v->endpoints_count > VOTERS_ENDPOINTS_MAX) {
        return ERR_TOO_LARGE;
    }
    for (int32_t i = 0; i < vs->count; i++) {
        if (vs->items[i].id == v->id) {
            return ERR_MALFORMED;
        }
    }
    struct voter *to = &vs->items[vs->count];
    *to = *v;
    to->endpoints = arena_alloc(&vs->arena, (size_t)v->endpoints_count * sizeof(to->endpoints[0]));
    for (int32_t i = 0; i < v->endpoints_count; i++) {
        to->endpoints[i].listener = arena_strdup(&vs->arena, v->endpoints[i].listener);
        to->endpoints[i].host = arena_strdup(&vs->arena, v->endpoints[i].host);
        to->endpoints[i].port = v->endpoints[i].port;
    }
    vs->count++;
    return 0;
}

/* "id@host:port" */
static int parse_one(struct voters *vs, struct str text)
{
    const char *at = memchr(text.ptr, '@', text.len);
    const char *colon = memrchr(text.ptr, ':', text.len);
    if (at == NULL || colon == NULL || colon < at) {
        return ERR_MALFORMED;
    }
    struct str host = str_of(at + 1, (size_t)(colon - at - 1));
    if (host.len >= 2 && host.ptr[0] == '[' && host.ptr[host.len - 1] == ']') {
        host = str_of(host.ptr + 1, host.len - 2);
    }
    struct str port_text = str_of(colon + 1, (size_t)(text.ptr + text.len - colon - 1));
    int32_t port;
    struct voter v = {0};
    int r = str_to_i32(str_of(text.ptr, (size_t)(at - text.ptr)), &v.id);
    r = r < 0 ? r : str_to_i32(port_text, &port);
    if (r < 0 || v.id < 0 || port < 0 || port > UINT16_MAX || host.len == 0) {
        return ERR_MALFORMED;
    }
    struct voter_endpoint ep = {.listener = STR(""), .host = host, .port = (uint16_t)port};
    v.endpoints = &ep;
    v.endpoints_count = 1;
    return voters_add(vs, &v);
}

int voters_parse(struct voters *vs, struct str text)
{
    voters_clear(vs);
    text = str_trim(text);
    struct str part;
    bool has_more = text.len > 0;
    while (has_more && str_split(&text, ',', &part)) {
        part = str_trim(part);
        int r = part.len == 0 ? ERR_MALFORMED : parse_one(vs, part);
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

const struct voter *
voters_find(const struct voters *vs, int32_t id, const struct uuid *directory_id)
{
    for (int32_t i = 0; i < vs->count; i++) {
        const struct voter *v = &vs->items[i];
        if (v->id == id) {
            bool is_same =
                uuid_is_zero(&v->directory_id) || uuid_equal(&v->directory_id, directory_id);
            return is_same ? v : NULL;
        }
    }
    return NULL;
}

void voters_print(const struct voters *vs, struct strbuf *sb)
{
    for (int32_t i = 0; i < vs->count; i++) {
        const struct voter *v = &vs->items[i];
        strbuf_addf(sb, "%s%d", i == 0 ? "" : ", ", v->id);
        if (v->endpoints_count > 0) {
            strbuf_addf(sb, "@" STR_FMT ":%u", STR_ARG(v->endpoints[0].host), v->endpoints[0].port);
        }
    }
}
