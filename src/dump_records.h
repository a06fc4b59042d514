/*
 * What the records of Kafka's own topics say: metadata, consumer offsets, transactions, share
 * state, control records. One thread.
 */
#ifndef DUMP_RECORDS_H
#define DUMP_RECORDS_H

#include "base/base.h"
#include "base/mem.h"
#include "base/str.h"
#include "dump_print.h"
#include "wire/batch.h"

enum dump_topic {
    DUMP_TOPIC_OTHER,
    DUMP_TOPIC_METADATA,
    DUMP_TOPIC_GROUPS,
    DUMP_TOPIC_TRANSACTIONS,
    DUMP_TOPIC_SHARE_STATE,
};

/* By the name of the directory that holds the file: `<topic>-<partition>`, perhaps with more behind
 * it. */
enum dump_topic dump_records_topic(struct str directory);

/* Adds key, value and headers of a record to the line that was begun. */
void dump_records_add(struct dump_out *d,
                      enum dump_topic topic,
                      const struct batch *b,
                      const struct record *record,
                      struct arena *arena);

#endif
