/* A list of metadata records to be appended (P): each is the value bytes of one record (frame
 * version 1, apiKey, version, message), in the arena of who decides. */
#ifndef META_RECORDS_H
#define META_RECORDS_H

#include "base/base.h"
#include "base/mem.h"
#include "wire/codec.h"

struct meta_records {
    struct arena *arena; /* borrowed */
    struct view *items;  /* in the arena */
    size_t count;
    size_t cap;
};

void meta_records_init(struct meta_records *mr, struct arena *arena);
/* Encodes `object` as record of message `m` at `version`. */
must_check int
meta_records_add(struct meta_records *mr, const struct msg *m, int16_t version, void *object);

/* A record that is encoded already; its bytes must live as long as the list. Never fails. */
void meta_records_add_encoded(struct meta_records *mr, struct view value);

void meta_records_add_all(struct meta_records *mr, const struct meta_records *more);

/* One record value in the arena. */
must_check int meta_record_encode(struct arena *arena,
                                  const struct msg *m,
                                  int16_t version,
                                  void *object,
                                  struct view *ret);

/* The frame before the message; the cursor stands at the message afterwards. ERR_MALFORMED;
 * ERR_UNSUPPORTED: another frame version. */
must_check int meta_record_frame(struct cursor *c, int16_t *ret_api_key, int16_t *ret_version);
/* The record message of this key, NULL: unknown. */
const struct msg *meta_record_msg(int16_t api_key);

#endif
