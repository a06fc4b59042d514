/*
 * The control door: what tools on this machine ask a running broker, by a Unix socket of mode 0600
 * in its first log directory (net/door.h). What comes is treated as untrusted all the same.
 *
 * A request is one line of at most CONTROL_LINE_BYTES_MAX bytes, ended by \n: words with one blank
 * between them. In a word each byte outside of '!' to '~', and '%', is %XX (two hexadecimal
 * digits); a word may be empty.
 *
 *     explain group NAME [json]
 *
 * An answer is a line "STATUS LENGTH\n" and LENGTH bytes behind it. STATUS: ok, not-found,
 * bad-request, unavailable (not now, or not here), failed; then the bytes are one line for a
 * person. Then the next request may come; a connection that is silent for ten seconds is closed.
 *
 * Another command is a row of the table at the end of control.c: its name, how many words, and a
 * function that answers the call with control_answer, now or later, from any thread, once. What it
 * keeps meanwhile lies in the call's arena. At the end of the broker whoever still has a call must
 * answer it before the loops have had their last turn.
 *
 * Thread: the loop of io thread 0. No thread of its own, no timer while nobody is connected.
 */
#ifndef BROKER_CONTROL_H
#define BROKER_CONTROL_H

#include "base/base.h"
#include "base/mem.h"
#include "base/str.h"
#include "net/loop.h"

struct coordinator;
struct control;
struct door_call;

#define CONTROL_SOCKET_NAME    "jackdaw.sock"
#define CONTROL_LINE_BYTES_MAX (64 * 1024)
#define CONTROL_WORDS_MAX      16

enum control_status {
    CONTROL_OK,
    CONTROL_NOT_FOUND,
    CONTROL_BAD_REQUEST,
    CONTROL_UNAVAILABLE,
    CONTROL_FAILED,
};
enum {
    CONTROL_STATUSES = 5, /* count of the above */
};

struct control_call {
    struct control *control;             /* borrowed */
    struct door_call *door;              /* borrowed */
    struct arena *arena;                 /* the call's: one thread at a time has it */
    struct str words[CONTROL_WORDS_MAX]; /* decoded; the first is the command */
    size_t words_count;
};

/* Answers the call, which is gone then. The body lies in the call's arena or is constant. */
void control_answer(struct control_call *cc, enum control_status status, struct str body);

/* lp: the loop; coordinator: NULL when there is none. Fails when the socket cannot be made
 * (door_new), and the broker goes on without it. */
must_check int control_new(struct loop *lp,
                           struct coordinator *coordinator,
                           const char *directory,
                           struct control **ret);
void control_start(struct control *ct);
/* The loop does not run: the socket goes, connections are closed. Unanswered calls are still
 * answered (by jobs of the loop) before control_free. Takes NULL. */
void control_close(struct control *ct);
struct control *control_free(struct control *ct); /* takes NULL, returns NULL */

/* ---- both sides of the socket ---- */

const char *control_status_name(enum control_status status);
/* False: no such status. */
must_check bool control_status_find(struct str name, enum control_status *ret);
/* A line with its \n, in the arena. */
struct str control_line(const struct str *words, size_t count, struct arena *arena);
/* Decoded words in the arena; ERR_MALFORMED: a bad escape, ERR_TOO_LARGE: too many words. */
must_check int control_parse(struct str line,
                             struct arena *arena,
                             struct str ret_words[static CONTROL_WORDS_MAX],
                             size_t *ret_count);

#endif
