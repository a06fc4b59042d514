/*
 * The file quorum-state: who leads, whom we have voted for. JSON on one line, Kafka's
 * FileQuorumStateStore:
 *
 *   version 1
 * {"leaderId":1,"leaderEpoch":2,"votedId":-1,"votedDirectoryId":"AAA...","data_version":1} version
 * 0  {"clusterId":"","leaderId":1,"leaderEpoch":1,"votedId":-1,"appliedOffset":0,
 *               "currentVoters":[{"voterId":1}],"data_version":0}     (static voters)
 */
#ifndef RAFT_QUORUM_FILE_H
#define RAFT_QUORUM_FILE_H

#include "base/base.h"
#include "base/fs.h"
#include "raft/quorum.h"
#include "raft/voters.h"

#define QUORUM_FILE_BYTES_MAX 65536

/* The file's bytes. version 1 for kraft.version 1, otherwise 0 with the voters. */
must_check int quorum_file_print(const struct quorum_election *e,
                                 int16_t version,
                                 const struct voters *vs,
                                 struct strbuf *sb);
/* A missing file is no election (0, epoch 0, -1s). ERR_MALFORMED: cannot be read. */
must_check int quorum_file_read(struct fs *fs, const char *path, struct quorum_election *ret);

#endif
