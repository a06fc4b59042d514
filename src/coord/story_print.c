/*
 * A group's story for a person, and as JSON for a program; story_print.h has the fields.
 *
 * Who was waited for in a step: those whose events in it came last. A classic rebalance goes on
 * when the last member has joined or its time is over, or when the leader has synced; a consumer
 * group is stable when the last member has revoked and taken over. So the newest events of a step,
 * by distinct member, name them, with the time since the step began.
 *
 * Texts of clients are escaped: for people as str_escape does it, in JSON as JSON has it, with
 * bytes that are no UTF-8 as U+FFFD.
 */
#include "coord/story_print.h"

#include "base/base.h"

#include "coord/classic.h"
#include "coord/consumer.h"
#include "coord/story_members.h"
#include "coord/story_private.h"

#define TEXT_BYTES_MAX (64 << 20) /* of an answer; members beyond it are counted only */
#define WAITED_MAX     3          /* shown of one step */
#define WAITED_MIN_MS  1          /* shorter is no wait */

/* ---- growing text ---- */

struct text {
    struct arena *arena;
    char *ptr;
    size_t len;
    size_t cap;
};

static void text_add(struct text *t, const char *bytes, size_t len)
{
    if (len > t->cap - t->len) {
        size_t cap = max_size(t->len + len, max_size(t->cap * 2, 4096));
        char *grown = arena_alloc(t->arena, cap);
        if (t->len > 0) {
            memcpy(grown, t->ptr, t->len);
        }
        t->ptr = grown;
        t->cap = cap;
    }
    if (len > 0) {
        memcpy(t->ptr + t->len, bytes, len);
    }
    t->len += len;
}

static void text_put(struct text *t, const char *literal)
{
    text_add(t, literal, strlen(literal));
}

static void printf_like(2, 3) text_addf(struct text *t, const char *format, ...)
{
    char line[512];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    check(len >= 0);
    text_add(t, line, min_size((size_t)len, sizeof(line) - 1));
}

static void text_escaped(struct text *t, struct str s)
{
    char memory[4 * 256 + 8];
    struct strbuf sb;
    strbuf_init(&sb, memory, sizeof(memory));
    text_put(t, str_escape(&sb, s));
}

/* Bytes of the UTF-8 character at p; 0: none. */
static size_t utf8_bytes(const uint8_t *p, size_t left)
{
    size_t n = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    if (n == 0 || n > left || p[0] > 0xf4) {
        return 0;
    }
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    bool is_overlong = (p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xf0 && p[1] < 0x90);
    bool is_beyond = (p[0] == 0xed && p[1] >= 0xa0) || (p[0] == 0xf4 && p[1] >= 0x90);
    return is_overlong || is_beyond ? 0 : n;
}

static void text_json(struct text *t, struct str s)
{
    if (str_is_null(s)) {
        text_put(t, "null");
        return;
    }
    text_put(t, "\"");
    const uint8_t *p = (const uint8_t *)s.ptr;
    for (size_t i = 0; i < s.len;) {
        size_t n = utf8_bytes(p + i, s.len - i);
        if (n == 0) {
            text_put(t, "\\ufffd");
            n = 1;
        } else if (p[i] == '"' || p[i] == '\\') {
            text_addf(t, "\\%c", p[i]);
        } else if (p[i] < 0x20 || p[i] == 0x7f) {
            text_addf(t, "\\u%04x", p[i]);
        } else {
            text_add(t, s.ptr + i, n);
        }
        i += n;
    }
    text_put(t, "\"");
}

static void text_json_field(struct text *t, const char *name, struct str value)
{
    text_addf(t, "\"%s\":", name);
    text_json(t, value);
}

/* ISO 8601 in UTC with milliseconds; the calendar by days since the year 0000-03-01. */
static void text_time(struct text *t, int64_t wall_ms)
{
    int64_t ms = min_i64(max_i64(wall_ms, 0), INT64_C(253402300799999));
    int64_t days = ms / 86400000 + 719468;
    int64_t era = days / 146097;
    int64_t of_era = days % 146097;
    int64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * year + year / 4 - year / 100);
    int64_t month = (5 * of_year + 2) / 153;
    int64_t day = of_year - (153 * month + 2) / 5 + 1;
    month = month < 10 ? month + 3 : month - 9;
    year += era * 400 + (month <= 2);
    int64_t of_day = ms % 86400000;
    text_addf(t,
              "%04" PRId64 "-%02" PRId64 "-%02" PRId64 "T%02" PRId64 ":%02" PRId64 ":%02" PRId64
              ".%03" PRId64 "Z",
              year, month, day, of_day / 3600000, of_day / 60000 % 60, of_day / 1000 % 60,
              of_day % 1000);
}

static void text_seconds(struct text *t, int64_t ms)
{
    text_addf(t, "%" PRId64 ".%03" PRId64 " s", ms / 1000, ms % 1000);
}

/* ---- names ---- */

static const char *cause_name(int cause)
{
    switch ((enum story_cause)cause) {
    case STORY_NEW_MEMBER:
        return "new-member";
    case STORY_MEMBER_REJOINED:
        return "member-rejoined";
    case STORY_MEMBER_LEFT:
        return "member-left";
    case STORY_MEMBER_REMOVED:
        return "member-removed";
    case STORY_SESSION_TIMEOUT:
        return "session-timeout";
    case STORY_REBALANCE_TIMEOUT:
        return "rebalance-timeout";
    case STORY_STATIC_REPLACED:
        return "static-member-replaced";
    case STORY_SUBSCRIPTION_CHANGED:
        return "subscription-changed";
    case STORY_TOPICS_CHANGED:
        return "topics-changed";
    case STORY_ASSIGNOR_CHANGED:
        return "assignor-changed";
    case STORY_PROTOCOL_CHANGED:
        return "protocol-changed";
    case STORY_LOADED:
        return "coordinator-loaded";
    }
    return "unknown";
}

static const char *event_name(int event)
{
    switch ((enum story_event_kind)event) {
    case STORY_JOINED:
        return "joined";
    case STORY_REJOINED:
        return "rejoined";
    case STORY_LEFT:
        return "left";
    case STORY_EXPIRED:
        return "expired";
    case STORY_FENCED:
        return "fenced";
    case STORY_SYNCED:
        return "synced";
    case STORY_MUST_REVOKE:
        return "must-revoke";
    case STORY_REVOKED:
        return "revoked";
    case STORY_GOT:
        return "got";
    case STORY_NOTE:
        return "note";
    }
    return "unknown";
}

static const char *step_name(int step)
{
    switch ((enum story_step)step) {
    case STORY_STEP_JOINING:
        return "joining";
    case STORY_STEP_SYNCING:
        return "syncing";
    case STORY_STEP_ASSIGNED:
        return "assigned";
    case STORY_STEP_STABLE:
        return "stable";
    }
    return "unknown";
}

/* ---- what a step was ---- */

struct wait {
    struct str member;
    uint32_t waited_ms; /* since the step began */
    bool is_expired;
};

struct step_facts {
    int64_t duration_ms; /* -1: it still runs, or is the last one */
    struct wait waits[WAITED_MAX];
    size_t waits_count;
};

/* Joining waits for members, syncing for the leader, a target for those that must revoke. */
static bool ends_a_wait(int step, int kind)
{
    switch ((enum story_event_kind)kind) {
    case STORY_JOINED:
    case STORY_REJOINED:
        return step == STORY_STEP_JOINING;
    case STORY_SYNCED:
        return step == STORY_STEP_SYNCING;
    case STORY_REVOKED:
        return step == STORY_STEP_ASSIGNED;
    case STORY_LEFT:
    case STORY_EXPIRED:
        return true;
    case STORY_FENCED:
    case STORY_MUST_REVOKE:
    case STORY_GOT:
    case STORY_NOTE:
        return false;
    }
    return false;
}

static void add_wait(struct step_facts *facts, const struct story_entry *entry, uint32_t begin_ms)
{
    size_t n = facts->waits_count;
    size_t keep = 0; /* the member's older event goes */
    for (size_t i = 0; i < n; i++) {
        if (!str_equal(facts->waits[i].member, entry->member)) {
            facts->waits[keep++] = facts->waits[i];
        }
    }
    if (keep == WAITED_MAX) {
        memmove(&facts->waits[0], &facts->waits[1], (WAITED_MAX - 1) * sizeof(facts->waits[0]));
        keep--;
    }
    facts->waits[keep] = (struct wait){
        .member = entry->member,
        .waited_ms = entry->after_ms - begin_ms,
        .is_expired = entry->kind == STORY_EXPIRED,
    };
    facts->waits_count = keep + 1;
}

/* at: behind the step's own entry. */
static void find_step_facts(const struct story_rebalance *rb,
                            uint32_t at,
                            const struct story_entry *step,
                            struct step_facts *ret)
{
    struct story_entry entry;
    uint32_t begin_ms = step->after_ms;
    *ret = (struct step_facts){.duration_ms = -1};
    while (story_next(rb, &at, &entry)) {
        if (entry.type == STORY_STEP) {
            ret->duration_ms = entry.after_ms - begin_ms;
            return;
        }
        if (entry.type == STORY_EVENT && ends_a_wait(step->kind, entry.kind) &&
            !str_is_null(entry.member) && entry.after_ms >= begin_ms + WAITED_MIN_MS) {
            add_wait(ret, &entry, begin_ms);
        }
    }
}

/* When the rebalance was over, since its begin; -1: it runs. */
static int64_t find_end(const struct story_rebalance *rb)
{
    struct story_entry entry;
    uint32_t at = 0;
    while (story_next(rb, &at, &entry)) {
        if (entry.type == STORY_STEP && entry.kind == STORY_STEP_STABLE) {
            return entry.after_ms;
        }
    }
    return -1;
}

static int32_t epoch_of(const struct group *g)
{
    return g->kind == GROUP_CLASSIC ? g->classic->generation : g->consumer->epoch;
}

static bool runs(const struct story_rebalance *rb)
{
    return !rb->is_over && !rb->is_overtaken;
}

/* ---- for people ---- */

static void print_step(struct text *t,
                       const struct shard *sh,
                       const struct story_rebalance *rb,
                       const struct story_entry *entry,
                       uint32_t at)
{
    struct step_facts facts;
    find_step_facts(rb, at, entry, &facts);
    text_addf(t, "%s (%" PRId32 ")", step_name(entry->kind), entry->epoch);
    if (entry->kind == STORY_STEP_STABLE) {
        return;
    }
    if (facts.duration_ms >= 0) {
        text_put(t, ", took ");
        text_seconds(t, facts.duration_ms);
    } else if (runs(rb)) {
        text_put(t, ", since ");
        text_seconds(t, max_i64(sh->now_ms - rb->now_ms - entry->after_ms, 0));
    }
    for (size_t i = facts.waits_count; i-- > 0;) {
        text_put(t, i + 1 == facts.waits_count ? "; waited longest for " : ", ");
        text_escaped(t, facts.waits[i].member);
        text_put(t, " (");
        text_seconds(t, facts.waits[i].waited_ms);
        text_put(t, facts.waits[i].is_expired ? ", in vain)" : ")");
    }
}

static void print_entry(struct text *t,
                        const struct shard *sh,
                        const struct story_rebalance *rb,
                        const struct story_entry *entry,
                        uint32_t at)
{
    text_put(t, "    +");
    text_seconds(t, entry->after_ms);
    text_put(t, "  ");
    switch (entry->type) {
    case STORY_CAUSE:
        text_addf(t, "cause: %s", cause_name(entry->kind));
        break;
    case STORY_EVENT:
        text_put(t, event_name(entry->kind));
        break;
    case STORY_STEP:
        print_step(t, sh, rb, entry, at);
        break;
    }
    if (!str_is_null(entry->member)) {
        text_put(t, " ");
        text_escaped(t, entry->member);
    }
    if (!str_is_null(entry->detail) && entry->detail.len > 0) {
        text_put(t, ": ");
        text_escaped(t, entry->detail);
    }
    text_put(t, "\n");
}

static void
print_rebalance(struct text *t, const struct shard *sh, const struct story_rebalance *rb)
{
    if (rb->number == 0) {
        text_put(t, "  Before the first rebalance, from ");
    } else {
        text_addf(t, "  Rebalance %" PRIu32 ", began ", rb->number);
    }
    text_time(t, rb->wall_ms);
    int64_t end_ms = find_end(rb);
    if (end_ms >= 0) {
        text_put(t, ", took ");
        text_seconds(t, end_ms);
    } else if (rb->is_overtaken) {
        text_put(t, ", went over into the next one");
    } else if (rb->number != 0) {
        text_put(t, ", runs since ");
        text_seconds(t, max_i64(sh->now_ms - rb->now_ms, 0));
    }
    text_put(t, "\n");
    struct story_entry entry;
    uint32_t at = 0;
    while (story_next(rb, &at, &entry)) {
        print_entry(t, sh, rb, &entry, at);
    }
    if (rb->causes_dropped > 0 || rb->dropped > 0) {
        text_addf(t, "    and %" PRIu32 " causes and %" PRIu32 " events that are not remembered\n",
                  rb->causes_dropped, rb->dropped);
    }
}

static void print_topics(struct text *t, const char *title, const struct shown_topics *topics)
{
    text_addf(t, "      %s", title);
    for (int32_t i = 0; i < topics->count; i++) {
        const struct shown_topic *topic = &topics->items[i];
        text_put(t, i == 0 ? " " : "; ");
        text_escaped(t, topic->name);
        text_put(t, ":");
        for (int32_t p = 0; p < topic->count;) {
            int32_t end = p;
            while (end + 1 < topic->count &&
                   topic->partitions[end + 1] == topic->partitions[end] + 1) {
                end++;
            }
            text_addf(t, "%s%" PRId32, p == 0 ? " " : ", ", topic->partitions[p]);
            if (end > p) {
                text_addf(t, "-%" PRId32, topic->partitions[end]);
            }
            p = end + 1;
        }
    }
    text_put(t, topics->count == 0 ? " nothing\n" : "\n");
}

static void print_member(struct text *t, const struct group *g, const struct shown_member *m)
{
    text_put(t, "    ");
    text_escaped(t, m->id);
    text_addf(t, "%s, %s", m->is_leader ? ", leader" : "", m->state);
    if (m->epoch >= 0) {
        text_addf(t, ", epoch %" PRId32, m->epoch);
    }
    if (g->kind == GROUP_CONSUMER) {
        text_addf(t, ", %s protocol", m->protocol);
    }
    text_put(t, "\n      client ");
    text_escaped(t, m->client_id);
    text_put(t, ", host ");
    text_escaped(t, m->client_host);
    if (!str_is_null(m->instance_id)) {
        text_put(t, ", instance ");
        text_escaped(t, m->instance_id);
    }
    text_put(t, "\n");
    if (m->topics_count > 0 || (!str_is_null(m->regex) && m->regex.len > 0)) {
        text_put(t, "      subscribed to");
        for (size_t i = 0; i < m->topics_count; i++) {
            text_put(t, i == 0 ? " " : ", ");
            text_escaped(t, m->topics[i]);
        }
        if (!str_is_null(m->regex) && m->regex.len > 0) {
            text_put(t, " all like ");
            text_escaped(t, m->regex);
        }
        text_put(t, "\n");
    }
    if (m->unread_bytes >= 0) {
        text_addf(t, "      owns what %" PRId64 " bytes say\n", m->unread_bytes);
    } else {
        print_topics(t, "owns", &m->owns);
    }
    if (m->must_revoke.count > 0) {
        print_topics(t, "must give back", &m->must_revoke);
    }
}

static void print_group(struct text *t, const struct group *g)
{
    text_put(t, "Group ");
    text_escaped(t, g->id);
    text_put(t, ": ");
    struct str kind = group_kind_name(g);
    struct str state = group_state_name(g);
    text_addf(t, STR_FMT ", " STR_FMT, STR_ARG(kind), STR_ARG(state));
    if (g->kind == GROUP_CLASSIC) {
        struct str type = group_protocol_type(g);
        text_addf(t, ", generation %" PRId32, g->classic->generation);
        if (type.len > 0) {
            text_put(t, ", protocol type ");
            text_escaped(t, type);
        }
        if (!str_is_null(g->classic->protocol_name)) {
            text_put(t, ", protocol ");
            text_escaped(t, g->classic->protocol_name);
        }
    } else {
        text_addf(t, ", epoch %" PRId32 ", assignment of epoch %" PRId32, g->consumer->epoch,
                  g->consumer->target_epoch);
    }
    text_put(t, "\n");
}

static void print_awaited(struct text *t, const struct shown_members *members)
{
    size_t awaited = 0;
    for (size_t i = 0; i < members->count; i++) {
        const struct shown_member *m = &members->items[i];
        if (!m->is_awaited) {
            continue;
        }
        if (awaited++ == 0) {
            text_put(t, "\nWaiting now for\n");
        }
        text_put(t, "    ");
        text_escaped(t, m->id);
        text_addf(t, " (%s)\n", m->state);
    }
}

static void print_text(struct text *t,
                       const struct shard *sh,
                       const struct group *g,
                       const struct shown_members *members)
{
    print_group(t, g);
    const struct story *st = g->story;
    text_put(t, "\nTimeline\n");
    if (st == NULL || st->count == 0) {
        text_put(t, "  No rebalance since this coordinator has begun.\n");
    }
    for (size_t i = 0; st != NULL && i < st->count; i++) {
        print_rebalance(t, sh, story_rebalance_at(st, i));
    }
    if (st != NULL && st->is_refused) {
        text_put(t, "  Some of the past was forgotten, because memory was short.\n");
    }
    print_awaited(t, members);
    text_addf(t, "\nMembers: %zu\n", members->count + members->omitted);
    size_t i = 0;
    while (i < members->count && t->len < TEXT_BYTES_MAX) {
        print_member(t, g, &members->items[i++]);
    }
    size_t omitted = members->count - i + members->omitted;
    if (omitted > 0) {
        text_addf(t, "    and %zu more\n", omitted);
    }
}

/* ---- JSON ---- */

static void json_step(struct text *t,
                      const struct story_rebalance *rb,
                      const struct story_entry *entry,
                      uint32_t at)
{
    struct step_facts facts;
    find_step_facts(rb, at, entry, &facts);
    text_addf(t, "{\"step\":\"%s\",\"after_ms\":%" PRIu32 ",\"epoch\":%" PRId32 ",\"duration_ms\":",
              step_name(entry->kind), entry->after_ms, entry->epoch);
    if (facts.duration_ms < 0) {
        text_put(t, "null");
    } else {
        text_addf(t, "%" PRId64, facts.duration_ms);
    }
    text_put(t, ",\"waited_for\":[");
    bool is_last = entry->kind == STORY_STEP_STABLE;
    for (size_t i = is_last ? 0 : facts.waits_count; i-- > 0;) {
        text_put(t, "{");
        text_json_field(t, "member_id", facts.waits[i].member);
        text_addf(t, ",\"waited_ms\":%" PRIu32 ",\"in_vain\":%s}%s", facts.waits[i].waited_ms,
                  facts.waits[i].is_expired ? "true" : "false", i > 0 ? "," : "");
    }
    text_put(t, "]}");
}

static void json_told(struct text *t, const struct story_entry *entry)
{
    bool is_cause = entry->type == STORY_CAUSE;
    text_addf(t, "{\"%s\":\"%s\",\"after_ms\":%" PRIu32 ",", is_cause ? "cause" : "event",
              is_cause ? cause_name(entry->kind) : event_name(entry->kind), entry->after_ms);
    text_json_field(t, "member_id", entry->member);
    text_put(t, ",");
    text_json_field(t, "detail", entry->detail);
    text_put(t, "}");
}

static void json_entries(struct text *t,
                         const struct story_rebalance *rb,
                         enum story_entry_type type,
                         const char *name)
{
    struct story_entry entry;
    uint32_t at = 0;
    bool is_first = true;
    text_addf(t, ",\"%s\":[", name);
    while (story_next(rb, &at, &entry)) {
        if (entry.type != type) {
            continue;
        }
        text_put(t, is_first ? "" : ",");
        is_first = false;
        if (type == STORY_STEP) {
            json_step(t, rb, &entry, at);
        } else {
            json_told(t, &entry);
        }
    }
    text_put(t, "]");
}

static void json_rebalance(struct text *t, const struct shard *sh, const struct story_rebalance *rb)
{
    int64_t end_ms = find_end(rb);
    text_addf(t, "{\"number\":%" PRIu32 ",\"began_at\":\"", rb->number);
    text_time(t, rb->wall_ms);
    text_addf(t, "\",\"began_at_ms\":%" PRId64 ",\"duration_ms\":", rb->wall_ms);
    if (end_ms < 0) {
        text_put(t, "null");
    } else {
        text_addf(t, "%" PRId64, end_ms);
    }
    bool is_running = rb->number != 0 && runs(rb);
    text_addf(t, ",\"is_running\":%s,\"running_ms\":%" PRId64, is_running ? "true" : "false",
              is_running ? max_i64(sh->now_ms - rb->now_ms, 0) : 0);
    json_entries(t, rb, STORY_CAUSE, "causes");
    json_entries(t, rb, STORY_STEP, "steps");
    json_entries(t, rb, STORY_EVENT, "events");
    text_addf(t, ",\"causes_forgotten\":%" PRIu32 ",\"events_forgotten\":%" PRIu32 "}",
              rb->causes_dropped, rb->dropped);
}

static void json_topics(struct text *t, const char *name, const struct shown_topics *topics)
{
    text_addf(t, ",\"%s\":[", name);
    for (int32_t i = 0; i < topics->count; i++) {
        const struct shown_topic *topic = &topics->items[i];
        text_put(t, i == 0 ? "{" : ",{");
        text_json_field(t, "topic", topic->name);
        text_put(t, ",\"partitions\":[");
        for (int32_t p = 0; p < topic->count; p++) {
            text_addf(t, "%s%" PRId32, p == 0 ? "" : ",", topic->partitions[p]);
        }
        text_put(t, "]}");
    }
    text_put(t, "]");
}

static void json_member(struct text *t, const struct shown_member *m)
{
    text_put(t, "{");
    text_json_field(t, "member_id", m->id);
    text_put(t, ",");
    text_json_field(t, "instance_id", m->instance_id);
    text_put(t, ",");
    text_json_field(t, "client_id", m->client_id);
    text_put(t, ",");
    text_json_field(t, "client_host", m->client_host);
    text_addf(t,
              ",\"protocol\":\"%s\",\"state\":\"%s\",\"epoch\":%" PRId32
              ",\"is_leader\":%s,\"is_awaited\":%s,\"subscribed_topics\":[",
              m->protocol, m->state, m->epoch, m->is_leader ? "true" : "false",
              m->is_awaited ? "true" : "false");
    for (size_t i = 0; i < m->topics_count; i++) {
        text_put(t, i == 0 ? "" : ",");
        text_json(t, m->topics[i]);
    }
    text_put(t, "],");
    text_json_field(t, "subscribed_regex", m->regex);
    json_topics(t, "owns", &m->owns);
    json_topics(t, "must_revoke", &m->must_revoke);
    text_addf(t, ",\"unread_assignment_bytes\":%" PRId64 "}", max_i64(m->unread_bytes, 0));
}

static void print_json(struct text *t,
                       const struct shard *sh,
                       const struct group *g,
                       const struct shown_members *members)
{
    const struct story *st = g->story;
    const struct classic *cl = g->classic;
    struct str none = {0};
    text_put(t, "{");
    text_json_field(t, "group", g->id);
    text_put(t, ",");
    text_json_field(t, "kind", group_kind_name(g));
    text_put(t, ",");
    text_json_field(t, "state", group_state_name(g));
    text_put(t, ",");
    text_json_field(t, "protocol_type", group_protocol_type(g));
    text_put(t, ",");
    text_json_field(t, "protocol", g->kind == GROUP_CLASSIC ? cl->protocol_name : none);
    text_put(t, ",");
    text_json_field(t, "leader", g->kind == GROUP_CLASSIC ? cl->leader : none);
    text_addf(t,
              ",\"epoch\":%" PRId32 ",\"assignment_epoch\":%" PRId32
              ",\"rebalances_total\":%" PRIu32 ",\"is_incomplete\":%s,\"rebalances\":[",
              epoch_of(g), g->kind == GROUP_CLASSIC ? cl->generation : g->consumer->target_epoch,
              st == NULL ? 0 : st->total, st != NULL && st->is_refused ? "true" : "false");
    for (size_t i = 0; st != NULL && i < st->count; i++) {
        text_put(t, i == 0 ? "" : ",");
        json_rebalance(t, sh, story_rebalance_at(st, i));
    }
    text_put(t, "],\"members\":[");
    size_t i = 0;
    for (; i < members->count && t->len < TEXT_BYTES_MAX; i++) {
        text_put(t, i == 0 ? "" : ",");
        json_member(t, &members->items[i]);
    }
    text_addf(t, "],\"members_omitted\":%zu}\n", members->count - i + members->omitted);
}

bool story_explain(const struct shard *sh,
                   struct str group_id,
                   bool as_json,
                   struct arena *arena,
                   struct str *ret)
{
    const struct group *g = group_find(sh, group_id);
    if (g == NULL) {
        return false;
    }
    struct shown_members members;
    story_members(sh, g, arena, &members);
    struct text t = {.arena = arena};
    if (as_json) {
        print_json(&t, sh, g, &members);
    } else {
        print_text(&t, sh, g, &members);
    }
    *ret = str_of(t.ptr, t.len);
    return true;
}
