/*
 * The control door; see control.h. The table of commands stands at the end.
 *
 * A call lives in the arena of its line in net/door and goes with it.
 */
#include "broker/control.h"

#include "base/base.h"

#include "base/err.h"
#include "broker/coordinator.h"
#include "coord/story_print.h"
#include "net/door.h"

#define HEAD_BYTES_MAX 64

struct control {
    struct door *door;               /* owned */
    struct loop *loop;               /* borrowed */
    struct coordinator *coordinator; /* borrowed, may be NULL */
};

static void dispatch(struct control_call *cc);

/* ---- words ---- */

static const char *const status_names[CONTROL_STATUSES] = {
    [CONTROL_OK] = "ok",
    [CONTROL_NOT_FOUND] = "not-found",
    [CONTROL_BAD_REQUEST] = "bad-request",
    [CONTROL_UNAVAILABLE] = "unavailable",
    [CONTROL_FAILED] = "failed",
};

const char *control_status_name(enum control_status status)
{
    return status_names[status];
}

bool control_status_find(struct str name, enum control_status *ret)
{
    for (size_t i = 0; i < CONTROL_STATUSES; i++) {
        if (str_is(name, status_names[i])) {
            *ret = (enum control_status)i;
            return true;
        }
    }
    return false;
}

struct str control_line(const struct str *words, size_t count, struct arena *arena)
{
    static const char digits[] = "0123456789ABCDEF";
    size_t room = 1;
    for (size_t i = 0; i < count; i++) {
        room += 3 * words[i].len + 1;
    }
    char *line = arena_alloc(arena, room);
    size_t len = 0;
    for (size_t i = 0; i < count; i++) {
        if (i > 0) {
            line[len++] = ' ';
        }
        for (size_t k = 0; k < words[i].len; k++) {
            uint8_t c = (uint8_t)words[i].ptr[k];
            if (c > ' ' && c <= '~' && c != '%') {
                line[len++] = (char)c;
                continue;
            }
            line[len++] = '%';
            line[len++] = digits[c >> 4];
            line[len++] = digits[c & 15];
        }
    }
    line[len++] = '\n';
    return str_of(line, len);
}

static int digit_of(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                  : -1;
}

static int parse_word(struct str word, struct arena *arena, struct str *ret)
{
    char *text = arena_alloc(arena, word.len + 1);
    size_t len = 0;
    for (size_t i = 0; i < word.len; i++) {
        char c = word.ptr[i];
        if (c <= ' ' || c > '~') {
            return ERR_MALFORMED;
        }
        if (c == '%') {
            int high = i + 2 < word.len ? digit_of(word.ptr[i + 1]) : -1;
            int low = i + 2 < word.len ? digit_of(word.ptr[i + 2]) : -1;
            if (high < 0 || low < 0) {
                return ERR_MALFORMED;
            }
            c = (char)(high * 16 + low);
            i += 2;
        }
        text[len++] = c;
    }
    *ret = str_of(text, len);
    return 0;
}

int control_parse(struct str line,
                  struct arena *arena,
                  struct str ret_words[static CONTROL_WORDS_MAX],
                  size_t *ret_count)
{
    size_t count = 0;
    for (size_t at = 0; at <= line.len;) {
        const char *blank = at == line.len ? NULL : memchr(line.ptr + at, ' ', line.len - at);
        size_t end = blank == NULL ? line.len : (size_t)(blank - line.ptr);
        if (count == CONTROL_WORDS_MAX) {
            return ERR_TOO_LARGE;
        }
        int r = parse_word(str_of(line.ptr + at, end - at), arena, &ret_words[count]);
        if (r < 0) {
            return r;
        }
        count++;
        at = end + 1;
    }
    *ret_count = count;
    return 0;
}

/* ---- calls ---- */

void control_answer(struct control_call *cc, enum control_status status, struct str body)
{
    struct control *ct = cc->control;
    char head[HEAD_BYTES_MAX];
    int n = snprintf(head, sizeof(head), "%s %zu\n", control_status_name(status), body.len);
    check(n > 0 && (size_t)n < sizeof(head));
    char *answer = arena_alloc(cc->arena, (size_t)n + body.len);
    memcpy(answer, head, (size_t)n);
    if (body.len > 0) {
        memcpy(answer + n, body.ptr, body.len);
    }
    struct str whole = str_of(answer, (size_t)n + body.len);
    if (loop_is_current(ct->loop)) {
        door_answer(cc->door, whole);
    } else {
        door_answer_from(ct->door, cc->door, whole);
    }
}

static void on_line(void *ctx, struct door_call *dc)
{
    struct control_call *cc = arena_alloc(&dc->arena, sizeof(*cc));
    cc->control = ctx;
    cc->door = dc;
    cc->arena = &dc->arena;
    struct str line = dc->line;
    if (line.len > 0 && line.ptr[line.len - 1] == '\r') {
        line.len--;
    }
    if (control_parse(line, cc->arena, cc->words, &cc->words_count) < 0) {
        control_answer(cc, CONTROL_BAD_REQUEST, STR("this is no line of words\n"));
        return;
    }
    dispatch(cc);
}

int control_new(struct loop *lp,
                struct coordinator *coordinator,
                const char *directory,
                struct control **ret)
{
    struct control *ct = mem_zalloc(sizeof(*ct));
    ct->loop = lp;
    ct->coordinator = coordinator;
    struct door_options options = {
        .directory = directory,
        .name = CONTROL_SOCKET_NAME,
        .line_bytes_max = CONTROL_LINE_BYTES_MAX,
        .overlong_answer = STR("bad-request 21\nthe line is too long\n"),
        .on_line = on_line,
        .ctx = ct,
    };
    int r = door_new(lp, &options, &ct->door);
    if (r < 0) {
        mem_free(ct);
        return r;
    }
    *ret = ct;
    return 0;
}

void control_start(struct control *ct)
{
    door_start(ct->door);
}

void control_close(struct control *ct)
{
    if (ct != NULL) {
        door_close(ct->door);
    }
}

struct control *control_free(struct control *ct)
{
    if (ct == NULL) {
        return NULL;
    }
    ct->door = door_free(ct->door);
    return mem_free(ct);
}

/* ---- explain group NAME [json] ---- */

struct explain {
    struct coordinator_question question;
    struct control_call *call;
    bool as_json;
};

/* On the coordinator's thread. */
static void explain_group(struct coordinator_question *cq, struct shard *sh, enum kafka_error error)
{
    struct explain *ex = container_of(cq, struct explain, question);
    struct control_call *cc = ex->call;
    struct str body;
    if (error == KAFKA_ERROR_COORDINATOR_LOAD_IN_PROGRESS) {
        control_answer(cc, CONTROL_UNAVAILABLE, STR("the group is being loaded; try again\n"));
    } else if (sh == NULL) {
        control_answer(cc, CONTROL_UNAVAILABLE,
                       STR("this broker does not coordinate the group now; no broker does before "
                           "the first group exists\n"));
    } else if (story_explain(sh, cq->group_id, ex->as_json, cc->arena, &body)) {
        control_answer(cc, CONTROL_OK, body);
    } else {
        control_answer(cc, CONTROL_NOT_FOUND, STR("there is no such group\n"));
    }
}

static void run_explain(struct control_call *cc)
{
    bool as_json = cc->words_count == 4 && str_is(cc->words[3], "json");
    if (!str_is(cc->words[1], "group") || (cc->words_count == 4 && !as_json)) {
        control_answer(cc, CONTROL_BAD_REQUEST, STR("usage: explain group NAME [json]\n"));
        return;
    }
    struct explain *ex = arena_alloc(cc->arena, sizeof(*ex));
    ex->question.group_id = cc->words[2];
    ex->question.run = explain_group;
    ex->call = cc;
    ex->as_json = as_json;
    struct coordinator *co = cc->control->coordinator;
    if (co == NULL || !coordinator_ask(co, &ex->question)) {
        control_answer(cc, CONTROL_UNAVAILABLE, STR("the broker is stopping\n"));
    }
}

/* ---- the table ---- */

static const struct {
    const char *name;
    size_t words_min; /* with the name */
    size_t words_max;
    void (*run)(struct control_call *cc);
} commands[] = {
    {"explain", 3, 4, run_explain},
};

static void dispatch(struct control_call *cc)
{
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        if (!str_is(cc->words[0], commands[i].name)) {
            continue;
        }
        if (cc->words_count < commands[i].words_min || cc->words_count > commands[i].words_max) {
            control_answer(cc, CONTROL_BAD_REQUEST, STR("wrong number of words\n"));
        } else {
            commands[i].run(cc);
        }
        return;
    }
    control_answer(cc, CONTROL_BAD_REQUEST, STR("there is no such command\n"));
}
