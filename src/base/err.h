/*
 * Failures: ours, not the client's. A function that can fail returns int: 0 or positive is good,
 * negative is -errno (never below -4095) or one of the codes below (-5000 and down), so that one
 * value names both. Refusals (the client's fault) are `enum kafka_error` from the generator and are
 * never held in an int of this kind.
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include "base/base.h"

/* name, value, text for a person */
#define ERR_TABLE(ROW)                                                    \
    ROW(ERR_MALFORMED, -5001, "bytes do not follow the format")           \
    ROW(ERR_TRUNCATED, -5002, "bytes end too early")                      \
    ROW(ERR_TOO_LARGE, -5003, "larger than the limit allows")             \
    ROW(ERR_UNSUPPORTED, -5004, "version or feature is not supported")    \
    ROW(ERR_CORRUPT, -5005, "stored data is damaged")                     \
    ROW(ERR_NO_MEMORY, -5006, "the memory budget is used up")             \
    ROW(ERR_NOT_FORMATTED, -5007, "the data directory is not formatted")  \
    ROW(ERR_MISMATCH, -5008, "belongs to another cluster, node or topic") \
    ROW(ERR_OFFLINE, -5009, "the log directory is offline")               \
    ROW(ERR_BAD_ARGUMENT, -5010, "the argument is not allowed")           \
    ROW(ERR_CLOSED, -5011, "already closed")                              \
    ROW(ERR_NOT_A_FILE, -5012, "this is not a regular file")

enum err {
#define ROW(name, value, text) name = (value),
    ERR_TABLE(ROW)
#undef ROW
};

/* No room, no descriptor or no memory: nothing is wrong with what is there, and the same may work
 * later. */
bool err_is_passing(int err);

/* A short text for any failure code, also -errno; never NULL, static or thread-local by libc. */
const char *err_text(int err);

#endif
