/*
 * bench: the figures of a broker that were promised, measured. The broker runs on one core, this
 * client on another.
 *
 *   bench [--server FILE] [--data DIR] [--against HOST:PORT[,PID]] [--only ROW]... [--quick]
 *         [--cores S,C] [--no-floor]
 *
 * Exit status: 0 all figures within reach, 1 some are not, 2 it could not be measured.
 */
#include "benchmark/process.h"
#include "benchmark/rows.h"

#include <assert.h>
#include <sched.h>
#include <unistd.h>

#include "benchmark/client.h"

#define ONLY_MAX 16

struct measure_info {
    const char *row;
    const char *text;
    const char *unit;
    double reach;
};

#define MEASURE_INFO(name, row, text, unit, reach) {row, text, unit, reach},
static const struct measure_info infos[] = {MEASURES(MEASURE_INFO)};
#undef MEASURE_INFO
static_assert(ARRAY_LEN(infos) == MEASURES_COUNT, "one line a measure");

struct options {
    struct bench bench;
    int client_core;
    bool has_floor;
    const char *only[ONLY_MAX];
    size_t only_count;
};

static void print_usage(FILE *to)
{
    fputs(
        "bench [--server FILE] [--data DIR] [--against HOST:PORT[,PID]] [--only ROW]... [--quick]\n"
        "      [--cores S,C] [--no-floor]\n"
        "  --server   the broker's program (without: only the other broker is measured)\n"
        "  --data     where fresh data directories are made: on a real disk\n"
        "  --against  the same loads on a broker that is there; with its PID also its CPU and "
        "memory\n"
        "rows:",
        to);
    for (size_t i = 0; i < rows_count; i++) {
        fprintf(to, " %s", rows[i].name);
    }
    fputc('\n', to);
}

static int parse_against(struct bench *b, char *text)
{
    char *comma = strchr(text, ',');
    if (comma != NULL) {
        *comma = '\0';
        b->other_pid = (pid_t)strtol(comma + 1, NULL, 10);
    }
    b->has_other = true;
    return address_parse(text, &b->other);
}

static int parse_arguments(struct options *o, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const char *name = argv[i];
        if (strcmp(name, "--quick") == 0) {
            o->bench.is_quick = true;
            continue;
        }
        if (strcmp(name, "--no-floor") == 0) {
            o->has_floor = false;
            continue;
        }
        if (i + 1 == argc) {
            return -EINVAL;
        }
        char *value = argv[++i];
        if (strcmp(name, "--server") == 0) {
            o->bench.binary = value;
        } else if (strcmp(name, "--data") == 0) {
            o->bench.directory = value;
        } else if (strcmp(name, "--only") == 0 && o->only_count < ONLY_MAX) {
            o->only[o->only_count++] = value;
        } else if (strcmp(name, "--cores") == 0) {
            char *end;
            o->bench.server_core = (int)strtol(value, &end, 10);
            o->client_core = *end == ',' ? (int)strtol(end + 1, NULL, 10) : -1;
        } else if (strcmp(name, "--against") != 0 || parse_against(&o->bench, value) < 0) {
            return -EINVAL;
        }
    }
    return 0;
}

static bool is_wanted(const struct options *o, const char *row)
{
    for (size_t i = 0; i < o->only_count; i++) {
        if (strcmp(o->only[i], row) == 0) {
            return true;
        }
    }
    return o->only_count == 0;
}

static double reach_of(const struct bench *b, enum measure m)
{
    if (m == M_DURABLE_ONE_P50) {
        return b->values[M_SYNC_P50][COLUMN_OURS] + 80;
    }
    if (m == M_FETCH_1M_CPU && b->values[m][COLUMN_OTHER] > 0) {
        return 1.1 * b->values[m][COLUMN_OTHER];
    }
    return infos[m].reach;
}

static const char *format_value(char *to, size_t size, double value)
{
    if (value < 0) {
        return "-";
    }
    snprintf(to, size, value >= 100 ? "%.0f" : value >= 10 ? "%.1f" : "%.2f", value);
    return to;
}

/* Prints the lines that were measured; the number of those out of reach. */
static int print_table(const struct bench *b)
{
    int missed = 0;
    printf(
        "| load | unit | floor | jackdaw | %sreach | |\n| --- | --- | --- | --- | %s--- | --- |\n",
        b->has_other ? "other | " : "", b->has_other ? "--- | " : "");
    for (size_t i = 0; i < MEASURES_COUNT; i++) {
        const double *values = b->values[i];
        char text[4][32];
        double reach = reach_of(b, (enum measure)i);
        double ours = values[COLUMN_OURS];
        bool is_good = reach < 0 ? ours >= -reach : ours <= reach;
        if (ours < 0 && values[COLUMN_OTHER] < 0 && values[COLUMN_FLOOR] < 0) {
            continue;
        }
        const char *verdict = ours < 0 || reach == 0 ? "" : is_good ? "ok" : "MISSED";
        missed += strcmp(verdict, "MISSED") == 0;
        printf("| %s | %s | %s | %s | ", infos[i].text, infos[i].unit,
               format_value(text[0], sizeof(text[0]), values[COLUMN_FLOOR]),
               format_value(text[1], sizeof(text[1]), ours));
        if (b->has_other) {
            printf("%s | ", format_value(text[2], sizeof(text[2]), values[COLUMN_OTHER]));
        }
        printf("%s%s | %s |\n", reach < 0 ? "at least " : "",
               reach == 0 ? "" : format_value(text[3], sizeof(text[3]), reach < 0 ? -reach : reach),
               verdict);
    }
    return missed;
}

static int run_rows(struct options *o)
{
    int failed = 0;
    for (size_t i = 0; i < rows_count; i++) {
        const struct row *row = &rows[i];
        if (!is_wanted(o, row->name)) {
            continue;
        }
        bool has_column[] = {
            [COLUMN_FLOOR] = o->has_floor && (row->flags & ROW_FLOOR) != 0,
            [COLUMN_OURS] = o->bench.binary != NULL,
            [COLUMN_OTHER] = o->bench.has_other && (row->flags & ROW_OTHER) != 0,
        };
        for (size_t column = 0; column < COLUMNS_COUNT; column++) {
            if (!has_column[column]) {
                continue;
            }
            static const char *const names[] = {"floor", "jackdaw", "other"};
            fprintf(stderr, "bench: %s on %s\n", row->name, names[column]);
            if (row->run(&o->bench, (enum column)column) < 0) {
                fprintf(stderr, "bench: %s on %s could not be measured\n", row->name,
                        names[column]);
                failed++;
            }
        }
    }
    return failed;
}

int main(int argc, char **argv)
{
    struct options o = {
        .bench = {.directory = ".", .server_core = 0}, .client_core = 1, .has_floor = true};
    if (parse_arguments(&o, argc, argv) < 0) {
        print_usage(stderr);
        return 2;
    }
    if (sysconf(_SC_NPROCESSORS_ONLN) < 2) {
        o.bench.server_core = -1;
        o.client_core = -1;
        fprintf(stderr, "bench: one core only: client and broker share it\n");
    }
    process_pin(getpid(), o.client_core);
    for (size_t i = 0; i < MEASURES_COUNT; i++) {
        for (size_t column = 0; column < COLUMNS_COUNT; column++) {
            o.bench.values[i][column] = -1;
        }
    }
    int failed = run_rows(&o);
    int missed = print_table(&o.bench);
    return failed > 0 ? 2 : missed > 0 ? 1 : 0;
}
