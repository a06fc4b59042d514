/*
 * A reader of JSON text (P), pulled token by token by someone who knows what should come. The first
 * failure sticks: `failed` names the reason, later calls do nothing. Text is RFC 8259; a value that
 * is skipped may nest JSON_DEPTH_MAX deep. One thread.
 */
#ifndef WIRE_JSON_READER_H
#define WIRE_JSON_READER_H

#include "base/base.h"
#include "base/mem.h"
#include "base/str.h"

#define JSON_DEPTH_MAX 64

struct json_reader {
    const char *begin;
    const char *next;
    const char *end;
    const char *failed;  /* reason, or NULL */
    struct arena *arena; /* borrowed: for strings that have escapes */
};

void json_reader_init(struct json_reader *jr, struct str text, struct arena *arena);
void json_reader_fail(struct json_reader *jr, const char *reason);

/* The first byte of the next token, 0 at the end or after a failure. */
char json_reader_peek(struct json_reader *jr);
/* Takes the byte if it is the next token. */
bool json_reader_accept(struct json_reader *jr, char c);
void json_reader_expect(struct json_reader *jr, char c, const char *reason);
/* Takes the literal (true, false, null) if it comes next. */
bool json_reader_literal(struct json_reader *jr, const char *literal);
/* A string without quotes, escapes resolved: a part of the text, or of the arena. Never null unless
 * the reader failed. */
struct str json_reader_string(struct json_reader *jr);
/* The text of a number. */
struct str json_reader_number(struct json_reader *jr);
/* Any value. */
void json_reader_skip(struct json_reader *jr);
/* Elements of the array whose '[' was just taken; the reader does not move. */
size_t json_reader_count(struct json_reader *jr);

#endif
