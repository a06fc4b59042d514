/*
 * Diagnostics: "[2026-01-02 03:04:05,678] WARN [net] text", the shape of Kafka's own server log. A
 * line is built on the stack and written whole by one call of the sink, so that lines of several
 * threads do not mix and no lock is needed.
 */
#include "base/logger.h"

#include "base/base.h"
#include "base/str.h"

#include <time.h>
#include <unistd.h>

enum {
    LINE_BYTES_MAX = 2048,
};

static const char *const level_names[] = {
    [LOG_LEVEL_DEBUG] = "DEBUG",
    [LOG_LEVEL_INFO] = "INFO",
    [LOG_LEVEL_WARN] = "WARN",
    [LOG_LEVEL_ERROR] = "ERROR",
};

static const char *const facility_names[] = {
    [FAC_SERVER] = "server", [FAC_NET] = "net",       [FAC_STORAGE] = "storage",
    [FAC_RAFT] = "raft",     [FAC_META] = "meta",     [FAC_BROKER] = "broker",
    [FAC_COORD] = "coord",   [FAC_CONFIG] = "config",
};

static void write_stderr(void *ctx, const char *line, size_t len)
{
    (void)ctx;
    while (len > 0) {
        ssize_t n = write(STDERR_FILENO, line, len);
        if (n < 0) {
            if (errno == EINTR) {
                continue;
            }
            return; /* a log that cannot be written is no reason to stop */
        }
        line += n;
        len -= (size_t)n;
    }
}

void logger_init_stderr(struct logger *lg, struct clock *clock, enum log_level level)
{
    *lg = (struct logger){.level = level, .clock = clock, .sink = write_stderr};
}

static void add_time(struct strbuf *sb, int64_t now_ms)
{
    time_t seconds = (time_t)(now_ms / 1000);
    struct tm tm;
    if (localtime_r(&seconds, &tm) == NULL) {
        return;
    }
    strbuf_addf(sb, "[%04d-%02d-%02d %02d:%02d:%02d,%03d] ", tm.tm_year + 1900, tm.tm_mon + 1,
                tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, (int)(now_ms % 1000));
}

void logger_write(struct logger *lg,
                  enum log_level level,
                  enum log_facility fac,
                  const char *format,
                  ...)
{
    if (lg == NULL || level < lg->level) {
        return;
    }
    char line[LINE_BYTES_MAX];
    struct strbuf sb;
    strbuf_init(&sb, line, sizeof(line) - 1); /* room for the newline */
    if (lg->clock != NULL) {
        add_time(&sb, clock_now_ms(lg->clock));
    }
    strbuf_addf(&sb, "%s [%s] ", level_names[level], facility_names[fac]);
    size_t start = sb.len;
    va_list args;
    va_start(args, format);
    int len = vsnprintf(sb.ptr + sb.len, sb.cap - sb.len, format, args);
    va_end(args);
    check(len >= 0);
    size_t end = start + (size_t)len;
    if (end >= sb.cap) {
        end = sb.cap - 1;
        memcpy(line + end - 3, "...", 3);
    }
    for (size_t i = start; i < end; i++) {
        if (line[i] == '\n' || line[i] == '\r') {
            line[i] = ' '; /* one event is one line */
        }
    }
    line[end] = '\n';
    lg->sink(lg->ctx, line, end + 1);
}

bool log_limit_pass(struct log_limit *limit,
                    struct clock *clock,
                    int64_t interval_ms,
                    struct log_left_out *ret)
{
    int64_t now = clock_mono_ms(clock);
    int64_t next = atomic_load_explicit(&limit->next_ms, memory_order_relaxed);
    /* Of several threads that come at once, the one whose exchange succeeds writes. */
    if (now < next ||
        !atomic_compare_exchange_strong_explicit(&limit->next_ms, &next, now + interval_ms,
                                                 memory_order_relaxed, memory_order_relaxed)) {
        atomic_fetch_add_explicit(&limit->suppressed, 1, memory_order_relaxed);
        return false;
    }
    uint32_t count = atomic_exchange_explicit(&limit->suppressed, 0, memory_order_relaxed);
    ret->text[0] = '\0';
    if (count > 0) {
        (void)snprintf(ret->text, sizeof(ret->text), " (%u line%s like this left out)", count,
                       count == 1 ? "" : "s");
    }
    return true;
}
