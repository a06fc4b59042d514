/*
 * The records of one event (P): encoded as they will stand in the log, one behind the other.
 *
 * Owner: the shard.
 */
#ifndef COORD_SHARD_RECORDS_H
#define COORD_SHARD_RECORDS_H

#include "base/base.h"
#include "base/mem.h"
#include "base/str.h"
#include "wire/codec.h"
#include "wire/cursor.h"

struct shard_record;

struct shard_out {
    struct shard_record *items; /* owned */
    size_t count;
    size_t cap;
    uint8_t *bytes; /* owned: keys and values of the items */
    size_t len;
    size_t bytes_cap;
    struct writer writer;
    struct arena decoded; /* of the record that is being replayed from bytes */
};

struct shard_out *shard_out_new(void);
struct shard_out *shard_out_free(struct shard_out *out); /* takes NULL, returns NULL */
/* Encodes one; value_msg and value NULL: a tombstone. */
void shard_out_add(struct shard_out *out,
                   const struct msg *key_msg,
                   void *key,
                   const struct msg *value_msg,
                   int16_t value_version,
                   void *value);
size_t shard_out_take(struct shard_out *out,
                      void (*each)(void *ctx, struct view key, struct view value),
                      void *ctx);

#endif
