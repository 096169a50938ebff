/* SPDX-License-Identifier: Apache-2.0
 *
 * What topics promise that are less than durable (millrace.durability), and what a start may
 * therefore have lost: an end of the log and nothing else. Every start tells where each log ends
 * (node->on_recovered), before it serves:
 *
 *   - after a clean stop nothing is missing
 *   - after a kill nothing that was acknowledged as `os`, after a loss of power nothing that was
 *     acknowledged as durable, nor anything in front of it; and never flush.messages records, or
 *     one that was written flush.ms before
 *   - where anything is missing that was told, nothing is served before the leader epoch is a
 *     newer one; that of a topic that was always durable stays what it was
 *
 * What is missing is forgotten, its offsets are free for other batches; everything else is checked
 * as ever, so nothing is there twice, in another order, or with a gap.
 */
#pragma once

#include "core/log/log_dir.h"
#include "tests/sim/model.h"

enum risk { RISK_NONE, RISK_KILL, RISK_POWER };

/* Before anything is asked for: the topics get modes, limits, and who changes them. */
void promises_begin(struct model *m);
/* The broker has come to an end that was no clean stop. */
void promises_crashed(struct model *m, enum crash crash);
/* A life begins: where its logs end. */
void promises_recovered(struct model *m, const struct log_dir *dir);

/* Was the answer asked for before a start that lost something of it? */
static inline bool promises_is_stale(const struct model *m, const struct partition_fact *fact)
{
    return m->modes && m->answer_life < fact->loss_life;
}

void promises_acked(struct model *m, struct attempt *attempt);
void promises_served(struct model *m, struct partition_fact *fact);
void promises_epoch_seen(struct model *m, struct topic_fact *topic, int32_t partition,
                         int32_t epoch, uint64_t asked_ns);
/* Nobody leads it before the controller has given the next epoch. */
bool promises_excuse(const struct model *m, const struct topic_fact *topic, int16_t error);
