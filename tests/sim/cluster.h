/* SPDX-License-Identifier: Apache-2.0
 *
 * A cluster of shipped brokers over one simulated store, and what its clients were told: the parts
 * of scenario "cluster" (cluster.c: brokers, and a play from beginning to end; cluster_troubles.c:
 * what happens to them; cluster_upgrade.c: brokers of two versions; cluster_rot.c: a disk that
 * rots; cluster_clients.c: clients; cluster_facts.c: what must be so).
 *
 * Facts are about offsets of a partition. One that was acknowledged to acks=all, or read by a
 * consumer, has one value for ever. At the end every replica is in sync, and every one that was
 * acknowledged is read back, but for those that DeleteRecords may have deleted. Where leaders may
 * come from outside the commit set only this is so: who is there leads, records stay in order,
 * nothing is there twice, and in the end all replicas have the same.
 */
#pragma once

#include "net/client.h"
#include "tests/sim/node.h"

#define CLUSTER_BROKERS_MAX 5U
#define CLUSTER_PARTITIONS  4U
#define CLUSTER_REPLICAS    3U
#define CLUSTER_OFFSETS_MAX 8192U
#define CLUSTER_PRODUCERS   6U
#define CLUSTER_VALUES_MAX  4096U /* of one producer */
#define CLUSTER_TOPIC       "orders"

struct cluster;

struct cluster_partition {
    int32_t leader; /* as Metadata said last; -1: none */
    int32_t leader_epoch;
    int32_t replica[CLUSTER_REPLICAS]; /* likewise */
    uint32_t replicas;
    uint32_t in_sync;
    uint64_t acks;
    int64_t end;                            /* one after the last that is known of */
    int64_t deleted;                        /* DeleteRecords was asked for up to here */
    uint64_t values[CLUSTER_OFFSETS_MAX];   /* 0: nobody has told */
    bool begun_anew[CLUSTER_PRODUCERS + 1]; /* under another producer id, after an unclean leader */
    bool acked[CLUSTER_OFFSETS_MAX];
    bool read_back[CLUSTER_OFFSETS_MAX];
};

struct cluster_facts {
    struct cluster_partition partition[CLUSTER_PARTITIONS];
    uint64_t acks;
    uint64_t reads;
    uint64_t elections; /* changes of a leader that Metadata told */
    uint64_t deletions;
    uint64_t moves;
    bool failed;
    char why[400];
};

void cluster_wrong(struct cluster_facts *facts, const char *format, ...) printf_like(2, 3);
/* A value at an offset that will not change any more. */
void cluster_seen(struct cluster *cl, uint32_t partition, int64_t offset, uint64_t value);
void cluster_acked(struct cluster *cl, uint32_t partition, int64_t offset, uint64_t value);
/* Everything was read back: is what was acknowledged there, once, and in order? */
void cluster_conclude(struct cluster *cl);

/* Brokers that know two sets of records of the metadata: cluster_upgrade.c. */
struct cluster_upgrade {
    int16_t level[CLUSTER_BROKERS_MAX]; /* up to which each takes part, from its next start on */
    char setting[CLUSTER_BROKERS_MAX][4];
    bool patient; /* the newer level is asked for only when all have been upgraded */
    bool plain;   /* and what came with it is set only then */
    bool asked;   /* it was, and may be agreed to by now */
    bool granted; /* somebody was told so */
    int64_t older[CLUSTER_BROKERS_MAX]; /* registrations of older ones when it was; -1: none */
    uint32_t quotas;                    /* that were set */
};

/* Bytes of one broker's disk that have flipped: cluster_rot.c. */
#define CLUSTER_FLIPS_MAX 256U
struct cluster_flip {
    char path[120];
    struct partition_key key;
    int64_t segment_base;
    uint32_t at;
    uint8_t was;
};
struct cluster_rot {
    uint32_t victim;
    char segment_ms[8]; /* many are closed in a play */
    uint32_t count;
    struct cluster_flip flips[CLUSTER_FLIPS_MAX];
};

#define CLUSTER_RACK(number) ((number) % 2 == 0 ? "even" : "odd")

struct cluster {
    struct world *world;
    struct rng rng;
    struct node nodes[CLUSTER_BROKERS_MAX];
    uint32_t count;
    struct store_sim *store;
    uint64_t store_delay_ns; /* of an answer, at most */
    struct cluster_facts facts;
    bool topic_made;
    int32_t controller; /* as Metadata said last */
    bool resting;       /* nothing new is produced or deleted */
    bool deletes;       /* records, now and then */
    bool unclean;       /* whoever is there leads, and records may be lost by that */
    bool moves;         /* partitions, to other brokers */
    bool insync_one;    /* min.insync.replicas is 1, not 2 */
    bool racks;         /* brokers and consumers say where they are */
    bool mixed;         /* brokers are of two versions */
    struct cluster_upgrade upgrade;
    bool rots; /* the disk of one */
    struct cluster_rot rot;
    bool dirs;              /* each broker has two log directories, of which one may fail */
    uint32_t away;          /* brokers that stay away */
    uint64_t late_ns;       /* what a network that is slow now may hold back for so long */
    uint64_t late_until_ns; /* what one that was slow has held back comes until then */
    /* The directory that each has lost, as its start is told. */
    char replaced[CLUSTER_BROKERS_MAX][LOG_DIRS_LOST_TEXT_LEN + 1];
    char advertised[CLUSTER_BROKERS_MAX][48];
    uint32_t reckoning; /* partitions that are to be read back yet */
    uint64_t values;    /* that producers have begun with */
    struct agent *agents[32];
    uint32_t agent_count;
};

/* What a broker believes itself; NULL: it is not there. */
const struct image *cluster_image(const struct cluster *cl, int32_t broker);
/* It serves. */
bool cluster_is_up(const struct cluster *cl, uint32_t i);
bool cluster_all_up(const struct cluster *cl);
bool cluster_all_in_sync(const struct cluster *cl);
/* What any broker knows last. */
const struct topic_image *cluster_newest_topic(const struct cluster *cl,
                                               const struct image **image);
/* The partition on a broker that runs; NULL: it has none. */
const struct partition *cluster_partition_on(const struct node *node,
                                             const struct partition_key *key);
/* Time goes by. Whoever ends is started again, but for those of the bits of `down`. */
void cluster_pass(struct cluster *cl, uint64_t ns, uint32_t down);
/* One thing happens, and has come to its end. */
void cluster_trouble(struct cluster *cl);
/* Once in a play: the disk of one is lost for ever, and an empty one takes its place. No set is
 * smaller than two, so that nothing is lost with it. Then other things happen. */
void cluster_trouble_replaced(struct cluster *cl);

/* cluster_upgrade.c: all begin with the older version. */
void cluster_upgrade_init(struct cluster *cl);
/* A broker is about to start again: why did it stop? */
void cluster_upgrade_ended(struct cluster *cl, uint32_t i);
void cluster_upgrade_play(struct cluster *cl);
/* All have the newer version in the end, and make use of it. */
void cluster_upgrade_end(struct cluster *cl);

/* cluster_rot.c: the disk of one of them rots. */
void cluster_rot_init(struct cluster *cl);
/* Some bits flip that others have, and time goes by. */
void cluster_rot(struct cluster *cl);
/* All are what they were. */
bool cluster_rot_is_mended(const struct cluster *cl);
void cluster_rot_wrong(struct cluster *cl);

/* Starts the clients on a machine of their own. */
void cluster_clients_start(struct cluster *cl);
/* Somebody who waits for something that must come; NULL: nobody. */
const char *cluster_clients_busy(const struct cluster *cl);
/* Is there anybody who will write to it? */
bool cluster_clients_write(const struct cluster *cl, uint32_t partition);
/* From now on consumers read all from the beginning. */
void cluster_clients_reckon(struct cluster *cl);
