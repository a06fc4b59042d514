/*
 * Diagnostics on standard error (or wherever the sink writes): one line each, facts as key=value.
 * LOG_ERROR: an operator must act. Any thread. A logger is passed, never global; NULL logs nothing.
 * What a peer can cause is rate-limited with LOG_LIMITED and a struct log_limit of the caller.
 * base, wire and storage core do not log above debug.
 */
#ifndef BASE_LOGGER_H
#define BASE_LOGGER_H

#include "base/base.h"
#include "base/clock.h"

#include <stdatomic.h>

enum log_level {
    LOG_LEVEL_DEBUG,
    LOG_LEVEL_INFO,
    LOG_LEVEL_WARN,
    LOG_LEVEL_ERROR,
};

enum log_facility {
    FAC_SERVER,
    FAC_NET,
    FAC_STORAGE,
    FAC_RAFT,
    FAC_META,
    FAC_BROKER,
    FAC_COORD,
    FAC_CONFIG,
};

struct logger {
    enum log_level level; /* the least that is written */
    struct clock *clock;  /* borrowed; NULL: lines without a time */
    void (*sink)(void *ctx,
                 const char *line,
                 size_t len); /* one whole line with its newline; any thread */
    void *ctx;
};

void logger_init_stderr(struct logger *lg, struct clock *clock, enum log_level level);
void logger_write(struct logger *lg,
                  enum log_level level,
                  enum log_facility fac,
                  const char *format,
                  ...) printf_like(4, 5);

struct log_limit {
    _Atomic int64_t next_ms;     /* machine clock: not before */
    _Atomic uint32_t suppressed; /* since the last line */
};

/* The end of a line: "", or " (3 lines like this left out)". */
struct log_left_out {
    char text[48];
};

/* True when a line may be written now (one per interval_ms); *ret: what was left out before. */
bool log_limit_pass(struct log_limit *limit,
                    struct clock *clock,
                    int64_t interval_ms,
                    struct log_left_out *ret);

#define LOG_AT(lg, lvl, fac, ...)                             \
    do {                                                      \
        struct logger *log_at_ = (lg);                        \
        if (log_at_ != NULL && (lvl) >= log_at_->level) {     \
            logger_write(log_at_, (lvl), (fac), __VA_ARGS__); \
        }                                                     \
    } while (0)
#define LOG_DEBUG(lg, fac, ...) LOG_AT(lg, LOG_LEVEL_DEBUG, fac, __VA_ARGS__)
#define LOG_INFO(lg, fac, ...)  LOG_AT(lg, LOG_LEVEL_INFO, fac, __VA_ARGS__)
#define LOG_WARN(lg, fac, ...)  LOG_AT(lg, LOG_LEVEL_WARN, fac, __VA_ARGS__)
#define LOG_ERROR(lg, fac, ...) LOG_AT(lg, LOG_LEVEL_ERROR, fac, __VA_ARGS__)

#endif
