/* SPDX-License-Identifier: Apache-2.0
 *
 * What the world outside of a broker knows about it: which topics were asked for and confirmed,
 * which batches were sent, where they were acknowledged, where they were read. Each fact is checked
 * against all earlier ones as it comes in, and model_conclude() checks the rest when the last life
 * has been read to its end. The first thing that is wrong ends the play.
 *
 * A batch is told by its tag, a number from 1 on: it is the timestamp of its records, and all its
 * bytes follow from it. In topics whose batches the broker rewrites (LogAppendTime, a codec of
 * their own) its records are the same, and what was rewritten is as the topic wants it. Since a
 * topic that is asked to be deleted may lose anything, nothing is expected of its partitions from
 * then on.
 *
 * What is checked where:
 *   model_acked        at another offset than before, or where another batch is
 *   model_read         bytes, gaps, batches that nobody sent, a batch at two places, at another
 *                      place than acknowledged, another batch where one was seen
 *   model_end          the end of a partition went back behind what anybody was told
 *   model_start        its start went back, or beyond what anybody has asked for
 *   model_topics_seen  a confirmed topic is missing, a deleted one is back
 *   model_conclude     acknowledged or seen and not there; order and gaps of each producer
 */
#pragma once

#include "core/record/batch_builder.h"
#include "io/sim/sim.h"
#include "io/uuid.h"
#include "net/kafka.h"
#include "tests/sim/node.h"

#define TOPICS_MAX     12U
#define PARTITIONS_MAX 5U
#define ATTEMPTS_MAX   8192U
#define PRODUCERS_MAX  4U

struct partition_fact {
    uint64_t *tags; /* [tags_size] by base offset; 0: not known */
    uint32_t tags_size;
    int64_t end;      /* the end lies here or later: acknowledged, or told by anybody */
    int64_t reckoned; /* the reckoning has read up to here */
    /* The log's start lies between these: told by anybody, and asked for. */
    int64_t start;
    int64_t start_asked;

    /* Where a topic may promise less than durable: all below survives a loss of power, or at least
     * a kill. */
    int64_t floor;
    int64_t floor_kill;
    uint32_t losses;    /* starts that may have found less than was told */
    uint32_t loss_life; /* of the last one */
    int32_t epoch;      /* the leader epoch that was seen last */
    int32_t epoch_least;
    uint32_t served_life; /* something was acknowledged or read in it, first at served_ns */
    uint64_t served_ns;
};

enum topic_state {
    TOPIC_FREE,  /* nobody has asked for it since it was last confirmed to be gone */
    TOPIC_ASKED, /* creation was asked for and not confirmed */
    TOPIC_THERE,
    TOPIC_GOING, /* deletion was asked for and not confirmed */
};

struct topic_fact {
    char name[16];
    enum topic_state state;
    uint64_t since_ns; /* the state's */
    uint32_t life;     /* the broker's life in which it became free: names are used again later */
    uint32_t incarnation;   /* how often the name became free */
    struct uuid id;         /* THERE and GOING */
    bool append_time;       /* message.timestamp.type=LogAppendTime */
    bool zstd;              /* compression.type */
    int32_t partitions;     /* confirmed */
    int32_t partitions_max; /* asked for */

    /* What it promises, as enum log_durability: the larger the less. */
    bool relaxed;           /* it may ever have been less than durable */
    bool changes;           /* somebody changes it now and then */
    uint8_t mode_first;     /* of every incarnation */
    uint8_t mode;           /* confirmed */
    uint8_t mode_asked;     /* not confirmed yet, or the same */
    uint64_t mode_ns[3];    /* until when it may have been each of them */
    int32_t flush_messages; /* 0: not set */
    int32_t flush_ms;       /* -1: not set */
    struct partition_fact partition[PARTITIONS_MAX];
};

struct attempt {
    uint8_t topic;
    uint8_t partition;
    uint8_t producer;
    bool idempotent;
    bool acked;
    bool forgotten;      /* its topic was deleted */
    uint32_t connection; /* of its producer, that it was sent on first */
    uint32_t size;
    uint32_t crc;
    uint32_t plain_crc; /* of its records, inflated */
    int32_t count;
    int32_t sequence;
    int64_t producer_id;
    int64_t offset;      /* where it was acknowledged or read; -1: unknown */
    uint64_t known_ns;   /* since when its offset is */
    uint64_t written_ns; /* likewise, that it would survive a kill; 0: it need not */
};

struct group_facts;    /* tests/sim/group_facts.h */
struct consumer_facts; /* tests/sim/consumer_facts.h */
struct keyed_facts;    /* tests/sim/keyed.h */
struct dirs_facts;     /* tests/sim/dirs.h */

struct model {
    struct world *world;
    struct node *node;
    struct group_facts *groups;       /* of the scenario that has groups */
    struct consumer_facts *consumers; /* of the one with those of KIP-848 */
    struct keyed_facts *keyed;        /* of the one whose topics are compacted: no tags then */
    struct dirs_facts *dirs;          /* of the one with several log directories */
    bool clock_jumped;                /* the broker's wall clock did */
    struct rng rng;
    uint32_t life; /* odd while the broker runs */
    /* A bit for each life in which the broker was asked to stop, and in which its disk failed: an
     * answer may arrive lives later. */
    uint64_t stops;
    uint64_t fails;
    bool resting;        /* nothing new is asked for */
    bool sweeping;       /* but for the deletion of one topic */
    bool reckoning;      /* the last life is being read to its end */
    bool forgets;        /* the broker may raise the start of any partition by itself */
    uint64_t operations; /* requests answered */
    uint64_t operations_max;
    bool rewrites;            /* some topics have a time or a codec of their own */
    bool modes;               /* some promise less than durable: tests/sim/promises.h */
    uint8_t risk;             /* what has happened since the last start: enum risk */
    bool slow;                /* in this life the disk was, or failed */
    uint32_t answer_life;     /* of the question that is being answered now */
    uint64_t answer_asked_ns; /* likewise */
    struct inflater inflater;
    uint32_t large_one_in; /* batches of many KiB */
    struct topic_fact topics[TOPICS_MAX];
    struct attempt *attempts; /* [tag] */
    uint64_t count;

    /* what came to pass, for the note at the end of a run */
    uint64_t acks, batches_read, fetches, lives, lost;

    bool failed;
    char why[400];
};

void model_init(struct model *m, struct world *world, struct node *node);
void model_fini(struct model *m);
/* Before anything is asked for: of four topics one has LogAppendTime, one zstd, and one both. */
void model_rewrites(struct model *m);
void wrong(struct model *m, const char *format, ...) printf_like(2, 3);
/* An error that a broker may give while it stops, or whose disk fails, to a question of that life:
 * the client asks again later. */
bool model_excuses(const struct model *m, uint32_t life, int16_t error);

/* ---- topics ---- */

void topic_state_set(struct model *m, struct topic_fact *topic, enum topic_state state);
/* A random one that is THERE; NULL: none is. */
struct topic_fact *model_topic(struct model *m, struct rng *rng);
uint8_t model_topic_index(const struct model *m, const struct topic_fact *topic);
/* By name or, when the name is null or empty, by id; NULL: none of ours. */
struct topic_fact *model_topic_find(struct model *m, struct str name, const struct uuid *id);
/* The answer to a Metadata request for all topics that was sent at `asked_ns`. */
void model_topics_seen(struct model *m, const struct metadata_response *response,
                       uint64_t asked_ns);

/* ---- batches ---- */

/* Makes the bytes of a batch with the builder: always the same for a tag. */
size_t model_batch(struct model *m, uint64_t tag, struct batch_builder *builder,
                   struct deflater *deflater, const uint8_t **bytes);
/* Draws a new batch; 0: there were enough. The caller fills in the sequence. */
uint64_t model_attempt(struct model *m, struct rng *rng);
void model_acked(struct model *m, uint64_t tag, int64_t base_offset);
/* Reads whole batches at `offset` (inside the first, or its base); the offset after them. */
int64_t model_read(struct model *m, struct topic_fact *topic, int32_t partition, int64_t offset,
                   const uint8_t *bytes, uint32_t len);
/* Somebody was told this end; `at_least` is partition->end when he asked. */
void model_end(struct model *m, struct topic_fact *topic, int32_t partition, int64_t end,
               int64_t at_least);
/* The same for its start; `at_least` is partition->start. */
void model_start(struct model *m, struct topic_fact *topic, int32_t partition, int64_t start,
                 int64_t at_least);
/* Is the whole of every partition known? Then checks it. */
void model_conclude(struct model *m);
