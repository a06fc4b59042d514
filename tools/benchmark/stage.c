/*
 * A server for one row. See stage.h.
 */
#include "benchmark/stage.h"

#include "benchmark/floor.h"

#include <unistd.h>

int stage_start_again(struct stage *s, enum process_mode mode, unsigned descriptors)
{
    struct process_options o = {
        .binary = s->bench->binary,
        .data = s->data,
        .sync_log = s->sync_log[0] != '\0' ? s->sync_log : NULL,
        .override = s->override,
        .mode = mode,
        .core = s->bench->server_core,
        .descriptors_soft = descriptors,
    };
    int r = process_start(&o, &s->process);
    s->address = s->process.address;
    return r;
}

int stage_connect(struct stage *s)
{
    int r = client_open(&s->client, &s->address);
    s->is_open = r >= 0;
    return r;
}

void stage_disconnect(struct stage *s)
{
    if (s->is_open) {
        client_close(&s->client);
        s->is_open = false;
    }
}

static int begin(struct stage *s,
                 struct bench *b,
                 enum column column,
                 enum process_mode mode,
                 bool counts_syncs,
                 const char *override)
{
    *s = (struct stage){.bench = b, .column = column, .process = {.out = -1}, .override = override};
    b->runs++;
    snprintf(s->data, sizeof(s->data), "%s/run-%d-%d", b->directory, (int)getpid(), b->runs);
    if (counts_syncs) {
        snprintf(s->sync_log, sizeof(s->sync_log), "%s.syncs", s->data);
    }
    int r = 0;
    switch (column) {
    case COLUMN_FLOOR:
        r = floor_start(s->data, b->server_core, mode == PROCESS_DURABLE, &s->process);
        s->address = s->process.address;
        break;
    case COLUMN_OURS:
        r = stage_start_again(s, mode, 0);
        break;
    case COLUMN_OTHER:
        s->process.pid = b->other_pid;
        s->address = b->other;
        process_pin(b->other_pid, b->server_core);
        break;
    }
    return r < 0 ? r : stage_connect(s);
}

int stage_begin(struct stage *s,
                struct bench *b,
                enum column column,
                enum process_mode mode,
                bool counts_syncs)
{
    return begin(s, b, column, mode, counts_syncs, NULL);
}

int stage_begin_with(struct stage *s,
                     struct bench *b,
                     enum column column,
                     enum process_mode mode,
                     const char *override)
{
    return begin(s, b, column, mode, false, override);
}

int stage_end(struct stage *s, int result)
{
    char log[STAGE_PATH_BYTES + 8];
    stage_disconnect(s);
    if (s->column != COLUMN_OTHER) {
        process_kill(&s->process);
        directory_remove(s->data);
        snprintf(log, sizeof(log), "%s.log", s->data);
        if (result >= 0) {
            unlink(log);
        }
        if (s->sync_log[0] != '\0') {
            unlink(s->sync_log);
        }
    }
    return result;
}

int stage_topic(struct stage *s, int32_t partitions, struct topic_id *ret)
{
    char name[64];
    memset(ret, 0, sizeof(*ret));
    if (s->column == COLUMN_FLOOR) {
        return 0;
    }
    snprintf(name, sizeof(name), "bench-%d-%d", (int)getpid(), s->bench->runs);
    return client_create_topics(&s->client, name, 0, 1, partitions, ret);
}

void stage_note(struct stage *s, enum measure m, double value)
{
    s->bench->values[m][s->column] = value;
}
