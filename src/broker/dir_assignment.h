/*
 * Tells the metadata log in which directory the logs of this broker's partitions lie (KIP-858:
 * AssignReplicasToDirs). The controller knows it beforehand where there is one directory; where
 * there are several the broker chooses, and says so afterwards; and so it does with directories
 * that are cordoned (KIP-1066).
 *
 * The metadata thread; before it runs, whoever starts the broker.
 */
#ifndef BROKER_DIR_ASSIGNMENT_H
#define BROKER_DIR_ASSIGNMENT_H

#include "base/base.h"
#include "base/uuid.h"

struct broker;
struct dir_assignment;
struct image;

struct dir_assignment *dir_assignment_new(struct broker *br);
struct dir_assignment *dir_assignment_free(struct dir_assignment *da); /* NULL: nothing */

/* To be told: the log of this partition lies in this directory. */
void dir_assignment_add(struct dir_assignment *da,
                        const struct uuid *topic_id,
                        int32_t number,
                        const struct uuid *directory);
/* To be told, where this image does not know it: the directories that are cordoned now. */
void dir_assignment_cordon(struct dir_assignment *da, const struct image *im);
/* Hands what was added to the metadata thread. Nothing happens while there is none. */
void dir_assignment_send(struct dir_assignment *da);

#endif
