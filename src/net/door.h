/*
 * A door: a Unix stream socket in a directory, for whoever may open its file (mode 0600). Lines
 * come in, one at a time on a connection; each gets one answer of any length; then the next line is
 * read.
 *
 * The address of such a socket is short (108 bytes); directories are not. So it is bound as
 * /proc/self/fd/N/NAME, relative to a descriptor of the directory, and by its path where there is
 * no /proc and the path is short enough.
 *
 * What a killed process has left in the directory is replaced: the caller holds a lock that says
 * that nobody else serves it. Anything but a socket is left alone and is an error.
 *
 * Bounds: bytes of a line, connections (above it newcomers wait in the backlog), time: a connection
 * must send a whole line, and take some of its answer, every so often. Without connections a door
 * has no timer.
 *
 * Threads: those of the loop; door_answer_from from any.
 */
#ifndef NET_DOOR_H
#define NET_DOOR_H

#include "base/base.h"
#include "base/mem.h"
#include "base/str.h"
#include "net/loop.h"

struct door;

/* One line that waits for its answer: on the loop's thread, then with whoever answers. */
struct door_call {
    struct str line;    /* without its end; stays readable until the answer is given */
    struct arena arena; /* for the answer; reset when it has left */
    struct job job;     /* used by door_answer_from */
    struct str answer;
    bool must_close; /* the connection ends behind this answer */
};

struct door_options {
    const char *directory;      /* borrowed for the call of door_new */
    const char *name;           /* borrowed, kept */
    size_t line_bytes_max;      /* 0: 64 KiB. A longer line gets on_overlong's answer and the end */
    size_t connections_max;     /* 0: 8 */
    int64_t time_limit_ms;      /* 0: 10 s */
    struct str overlong_answer; /* kept */
    /* Every call is owed one answer, now or later, also when its connection has died. */
    void (*on_line)(void *ctx, struct door_call *dc);
    void *ctx;
};

/* Binds and listens; nobody is served before door_start. Errors: -ENOTDIR, -EEXIST (there is
 * something that is no socket), ERR_TOO_LARGE (the path does not fit and there is no /proc), ... */
must_check int door_new(struct loop *lp, const struct door_options *options, struct door **ret);
void door_start(struct door *d);
/* `answer` lies in the call's arena, or is constant. The loop's thread. */
void door_answer(struct door_call *dc, struct str answer);
/* The same from any thread; on the loop's own later in this turn. */
void door_answer_from(struct door *d, struct door_call *dc, struct str answer);
/* Removes the socket, accepts no more, closes all connections; those whose call is not answered
 * yet stay. Not while the loop runs. */
void door_close(struct door *d);
size_t door_count(const struct door *d); /* connections */
/* After door_close, and when door_count is 0. Takes NULL, returns NULL. */
struct door *door_free(struct door *d);

#endif
