/*
 * Control records of the metadata log and of snapshots (P): built into batches, and read. Kafka:
 * ControlRecordUtils, LeaderState.appendStartOfEpochControlRecords.
 *
 *   key    int16 version 0, int16 type (enum control_type)
 *   value  LeaderChangeMessage, KRaftVersionRecord, VotersRecord, SnapshotHeaderRecord,
 *          SnapshotFooterRecord, each at its version 0, which its first field repeats
 */
#ifndef RAFT_CONTROL_H
#define RAFT_CONTROL_H

#include "base/base.h"
#include "raft/voters.h"
#include "wire/batch.h"

/* Starts a batch whose records all have this time; control records or data. */
void control_batch_init(struct batch_builder *bb,
                        bool is_control,
                        int64_t base_offset,
                        int32_t leader_epoch,
                        int64_t now_ms);

must_check int control_add_leader_change(struct batch_builder *bb,
                                         int64_t now_ms,
                                         int32_t leader_id,
                                         const struct voters *vs);
must_check int control_add_kraft_version(struct batch_builder *bb, int64_t now_ms, int16_t version);
must_check int
control_add_voters(struct batch_builder *bb, int64_t now_ms, const struct voters *vs);
must_check int control_add_snapshot_header(struct batch_builder *bb,
                                           int64_t now_ms,
                                           int64_t last_contained_timestamp);
must_check int control_add_snapshot_footer(struct batch_builder *bb, int64_t now_ms);

/* What a reader keeps of control records: the newest value of each. */
struct control_state {
    struct voters voters; /* of the last VotersRecord */
    bool has_voters;
    int16_t kraft_version;      /* 0: none was seen */
    int64_t snapshot_timestamp; /* of a SnapshotHeader */
    bool has_header;
    bool has_footer;
};

/* Reads one record of a control batch into the state. ERR_MALFORMED, ERR_UNSUPPORTED
 * (kraft.version); an unknown type is skipped, as Kafka does. */
must_check int control_read(struct control_state *cs, const struct record *rec);

#endif
