/* SPDX-License-Identifier: Apache-2.0
 *
 * A random model of replication: three brokers, one partition, one metadata log. It knows no bytes,
 * no disks and no time: only who has which records durable, what each believes, and messages that
 * come late, in any order, or never. A run is some hundred events, each drawn at random: an append,
 * a flush, a Fetch, a broker that dies, comes back, or comes back with an empty disk, a session
 * that ends, an election, a proposal, a retry.
 *
 * After each event: what was committed is held, durably and unchanged, by every member of the
 * commit set, and no two leaders commit different records at one offset.
 *
 * The rules have the names that the code has for them (core/partition/partition_replicas.h,
 * core/controller/controller_replicas.h). A mutation breaks one; each must be found, which proves
 * the model. That the code has these rules, and no others, is what a witness is for: it is told
 * each event and does the same to the code (tests/model/in_step.h).
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

#define MODEL_BROKERS  3
#define MODEL_LOG_MAX  12
#define MODEL_FETCHED  2 /* records in an answer */
#define MODEL_MAIL_MAX 24
#define MODEL_PAST_MAX 400 /* states of the metadata in one run */

struct model_record {
    int epoch, value;
};

/* What the controller has decided: one entry of the metadata log. Sets are bits by broker. */
struct model_metadata {
    int leader; /* -1: nobody */
    int leader_epoch, partition_epoch;
    int set, live;
    int broker_epoch[MODEL_BROKERS];
};

struct model_broker {
    bool up;
    bool disk_lost; /* its next start is lossy */
    struct model_record log[MODEL_LOG_MAX];
    int end, durable, watermark;
    struct model_metadata known;
    int known_index;
    bool begun; /* its role: not before all is durable that was on its way */
    /* leading */
    int epoch_start;
    int follower_end[MODEL_BROKERS];
    bool seen[MODEL_BROKERS];
    int seen_epoch[MODEL_BROKERS]; /* broker epoch of its last Fetch */
    int pending;                   /* members that a proposal may have added, with those that were;
                                      0: there is none */
    int ticket;                    /* of the last proposal */
    bool away;                     /* it has got no answer yet */
    int proposed;
    int proposed_epoch[MODEL_BROKERS];
    /* following */
    int nonce; /* of the Fetch that it waits for */
    bool waiting;
    int leader_watermark; /* -1: not heard yet */
};

enum model_verdict { MODEL_TAKEN, MODEL_STALE, MODEL_INELIGIBLE };

enum model_message_kind { MODEL_FETCH, MODEL_FETCHED_ANSWER, MODEL_ALTER, MODEL_ALTERED_ANSWER };

struct model_message {
    enum model_message_kind kind;
    int from, to;
    int leader_epoch, broker_epoch;
    int nonce; /* of a Fetch */
    int offset, last_epoch;
    int count; /* of records; -1: histories part */
    struct model_record records[MODEL_FETCHED];
    int watermark, diverging_epoch, diverging_end;
    int ticket; /* of a proposal */
    int set, partition_epoch;
    int member_epoch[MODEL_BROKERS];
    enum model_verdict verdict;
};

struct model {
    enum model_mutation mutation;
    int insync_min;
    uint64_t dice;
    struct model_broker broker[MODEL_BROKERS];
    struct model_metadata past[MODEL_PAST_MAX];
    int past_count;
    struct model_message mail[MODEL_MAIL_MAX];
    int mail_count;
    struct model_record committed[MODEL_LOG_MAX];
    int committed_count;
    bool disk_was_lost[MODEL_BROKERS]; /* and it has not been a member since */
    int next_value;
    struct model_message alter; /* what the last event made a leader propose, */
    bool altered;               /* if it did */
    const struct model_witness *witness;
    char why[200]; /* "": all is well */
};

static inline const struct model_metadata *model_now(const struct model *m)
{
    return &m->past[m->past_count - 1];
}

/* X(KIND, in words) */
#define MODEL_EVENTS(X)                                                                            \
    X(RUN_BEGINS, "the run begins")                                                                \
    X(RUN_ENDS, "the run ends")                                                                    \
    X(APPENDS, "it appends")                                                                       \
    X(FLUSHES, "it flushes")                                                                       \
    X(LEARNS, "it learns of newer metadata")                                                       \
    X(GETS, "it gets a message") /* MODEL_ALTER: the controller does */                            \
    X(MISSES, "it misses a follower, `other`")                                                     \
    X(ASKS_AGAIN, "it asks again for a set")                                                       \
    X(IS_FENCED, "its session ends")                                                               \
    X(REGISTERS, "it registers")                                                                   \
    X(PREFERS, "the first replica shall lead")                                                     \
    X(RESIGNS, "it does not want to lead")                                                         \
    X(STARTS, "it starts")                                                                         \
    X(CRASHES, "it crashes")

enum model_event_kind {
#define X(kind, words) MODEL_##kind,
    MODEL_EVENTS(X)
#undef X
};

struct model_event {
    enum model_event_kind kind;
    int broker, other;
    bool lossy; /* REGISTERS, with an empty disk */
    const struct model_message *message;
};

/* Is told of each event when the model is done with it. False: it has seen what must not be, and
 * said in `why` what. */
struct model_witness {
    bool (*sees)(void *user, const struct model *m, const struct model_event *event, char *why,
                 int why_size);
    void *user;
};

struct model_game {
    enum model_mutation mutation;
    int insync_min;
    uint64_t seed;
    uint64_t runs;
    const struct model_witness *witness; /* or NULL */
};

struct model_outcome {
    uint64_t runs;      /* played, the one with the violation included */
    uint64_t committed; /* records, over all runs */
    bool violated;
    char why[200];
};

/* Plays runs from the seed on until something must not be, at most as many as the game has. */
struct model_outcome model_play(const struct model_game *game);
