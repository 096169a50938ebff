/* SPDX-License-Identifier: Apache-2.0
 *
 * A random model of replication: three brokers, one partition, one metadata log. It knows no bytes,
 * no disks and no time: only who has which records durable, what each believes, and messages that
 * come late, in any order, or never. A run is some hundred steps, each drawn at random: an append,
 * a flush, a Fetch, a broker that dies, comes back, or comes back with an empty disk, a session
 * that ends, an election, a proposal, a retry.
 *
 * After each step: what was committed is held, durably and unchanged, by every member of the commit
 * set, and no two leaders commit different records at one offset.
 *
 * The rules have the names that the code has for them (core/partition_replicas.h,
 * core/controller_replicas.h). A mutation breaks one; each must be found, which proves the model.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* X(NAME, the rule it breaks) */
#define MODEL_MUTATIONS(X)                                                                         \
    X(NONE, "")                                                                                    \
    X(NOT_DURABLE, "durable: ends that are not flushed count")                                     \
    X(ONLY_PROPOSAL, "superset: a smaller set counts when it is proposed")                         \
    X(PROPOSAL_NOT_COUNTED, "superset: who is to join does not count yet")                         \
    X(BELOW_EPOCH_START, "eligible: up to the high watermark is enough")                           \
    X(BROKER_EPOCH_IGNORED, "epochs match: the broker epochs of new members are not looked at")    \
    X(BELOW_MIN, "never below: sets shrink to one member")                                         \
    X(TRUNCATE_TO_WATERMARK, "a new follower truncates to its high watermark")                     \
    X(PROPOSAL_DROPPED, "superset: a proposal that takes long is forgotten")                       \
    X(UNFENCED_FETCH, "a Fetch of another leader epoch is served")                                 \
    X(REFUSAL_BELIEVED, "superset: a refusal ends a proposal")                                     \
    X(RETRY_READS_EPOCHS, "same bytes: a retry names the broker epochs of the day")

enum model_mutation {
#define X(name, rule) MODEL_##name,
    MODEL_MUTATIONS(X)
#undef X
        MODEL_MUTATION_COUNT
};

struct model_outcome {
    uint64_t runs;      /* played, the one with the violation included */
    uint64_t committed; /* records, over all runs */
    bool violated;
    char why[160];
};

/* Plays runs from the seed on until one violates something, at most `runs`. */
struct model_outcome model_play(enum model_mutation mutation, uint32_t insync_min, uint64_t seed,
                                uint64_t runs);
