/* SPDX-License-Identifier: Apache-2.0
 *
 * What the controller decides, apart from how it becomes durable: a request, what is there, and
 * chance in; records and a result per item out. No I/O, no time, no waiting: the same input gives
 * the same records.
 *
 * Decisions see those before them in the same batch, because each is applied to the edit at once.
 * Every item is checked as a whole before its first record. The rules are Kafka's (4.3): names and
 * collisions (Topic), counts and assignments (ReplicationControlManager), settings
 * (ConfigurationControlManager).
 */
#pragma once

#include "core/controller/controller.h"
#include "core/metadata/image_edit.h"

/* A batch is closed when it has grown past this: small batches keep the store responsive. */
#define CONTROL_BATCH_BYTES (128U << 10)

/* Of METADATA_LEVEL, up to which a broker takes part. */
struct controller_level {
    int32_t node;
    int16_t level;
};

struct controller_step {
    const struct conf *conf;
    int32_t node_id;
    struct controller_level lowest; /* of those that are registered */
    uint64_t (*random)(void *user);
    bool (*is_tired)(void *user); /* of deciding; NULL: never */
    void *user;
    const struct image *base;        /* what the edit began with */
    struct image_edit *edit;         /* the image so far, and what was decided */
    struct metadata_records records; /* what was decided */
    uint32_t unclean_elections;      /* in it: leaders from outside their sets */
    uint32_t last_copies_lost;       /* in it: partitions of which no set is left */
    /* deliberate mistakes: the answer is given and nothing was decided */
    bool mutate_deletion, mutate_producer_ids;
    bool mutate_shrink;   /* likewise: a set may shrink below its least */
    bool mutate_resign;   /* a leader that resigns is followed by whoever is there */
    bool mutate_epochs;   /* who joins a set does so under any broker epoch */
    bool mutate_settle;   /* a dead member stays in a set that could do without it */
    bool mutate_unclean;  /* leaders come from outside the set though nobody asked for that */
    bool mutate_clean;    /* or never */
    bool mutate_reassign; /* a move is over though not all have followed */
    bool mutate_drain;    /* who is about to stop keeps what it leads */
    bool mutate_lossy;    /* who may have lost something is taken for whole */
    bool mutate_level;    /* a level is agreed to though somebody there does not know it */
    bool mutate_early;    /* records are written before their level is agreed to */
};

/* For the files that decide: it is decided, and what comes after sees it. */
void controller_step_record(struct controller_step *step, const struct metadata_record *record);

/* An item is not done, and why. Returns false. */
bool controller_refuse(struct control_op *op, struct control_item *item, int16_t error,
                       const char *format, ...) printf_like(4, 5);

/* Decides the items of `op` from op->next_item on. True when all are decided; false when the batch
 * is full and must be written first, or when nothing but refusals came of some time of deciding. */
bool controller_step(struct controller_step *step, struct control_op *op);
