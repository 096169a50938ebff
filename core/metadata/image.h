/* SPDX-License-Identifier: Apache-2.0
 *
 * The cluster as this broker knows it: an immutable snapshot of the metadata log up to one batch.
 *
 * The control shard (shard 0) builds image n+1 from image n and the records of the next batches,
 * and mails it to every shard; a shard uses the newest it got and says so, and the control shard
 * frees an image when every shard is past it. At most two are live: batches that arrive meanwhile
 * coalesce into one further image. Unchanged topics are shared by all images; their reference
 * counts belong to the control shard, so readers on other shards pay nothing.
 *
 * Holding one: a handler may keep pointers into the image only until its turn ends. What waits
 * keeps a topic id, a partition number and a leader epoch, and looks up again.
 *
 * Source of the shapes: Kafka's metadata (KIP-500, KIP-516 topic ids, KIP-320 leader epochs).
 */
#pragma once

#include "core/conf/overrides.h"
#include "io/base.h"
#include "io/uuid.h"

struct partition_image {
    int32_t leader;          /* broker id, -1: none */
    int32_t leader_epoch;    /* never decreases for one topic id */
    int32_t partition_epoch; /* counts changes of this partition's state */
    uint16_t replica_count;
    uint16_t isr_count;
    const int32_t *replicas; /* in order of preference; the last removing_count are to go */
    const int32_t *isr;      /* the commit set */
    uint16_t removing_count; /* replicas that go when those before them are in the set */
    uint64_t adding;         /* bit i: replicas[i] is new since that was asked for */
    uint16_t home; /* the shard of this broker that owns it; meaningful when we are a replica */
    bool placed;   /* home was chosen; it stays, whether or not this broker remains a replica */
};

struct topic_image {
    struct uuid id;
    const char *name;
    uint16_t name_len;
    bool internal; /* __consumer_offsets, __transaction_state */
    uint32_t partition_count;
    const struct partition_image *partitions; /* [partition_count] */
    struct overrides overrides;               /* what was set for this topic */
    struct topic_conf conf; /* overrides on top of the broker's defaults, resolved */

    /* private to the control shard */
    uint32_t refs;
    int32_t *ids; /* replicas and commit sets of all partitions: [partition_count][2 * stride] */
    uint32_t stride;
};

struct broker_endpoint_image {
    const char *listener; /* metadata answers with the listener the client came in on */
    const char *host;
    uint16_t port;
};

struct broker_image {
    int32_t id;
    int64_t epoch;
    bool live;             /* registered; what is not live stays known, with its directory */
    bool draining;         /* it is about to stop: nobody waits for it, and it leads nothing new */
    struct uuid directory; /* of its log directory */
    const char *rack;      /* NULL: none */
    uint32_t endpoint_count;
    const struct broker_endpoint_image *endpoints;
};

struct feature_image {
    const char *name;
    int16_t level;
};

struct quota_table;

struct image {
    uint64_t batch;         /* number of the last metadata batch in it: the image's version */
    const char *cluster_id; /* 22 characters */
    int32_t controller_id;  /* -1: none known */
    int32_t controller_epoch;
    uint32_t broker_count;
    const struct broker_image *brokers; /* sorted by id */
    uint32_t topic_count;
    const struct topic_image *const *topics; /* sorted by name */
    uint64_t partition_count;                /* of all topics */
    uint32_t feature_count;
    const struct feature_image *features; /* finalised levels */
    int64_t producer_id_next;             /* the first id of no block */
    /* The configuration of this broker with its dynamic overrides, resolved. */
    const struct broker_conf *broker_conf;
    /* Those overrides: for all brokers, and for this one. Never NULL. */
    const struct overrides *cluster_overrides;
    const struct overrides *broker_overrides;
    const struct quota_table *quotas; /* core/metadata/quota_table.h; never NULL */

    /* private */
    struct image_tables *tables;
};

/* What the broker was started with, its dynamic overrides, and (unless NULL) a topic's: for
 * core/conf/overrides.h. Views into the image. */
struct conf_view image_view(const struct image *image, const struct topic_image *topic);

const struct topic_image *image_topic_by_name(const struct image *image, const char *name,
                                              size_t len);
const struct topic_image *image_topic_by_id(const struct image *image, const struct uuid *id);
const struct broker_image *image_broker(const struct image *image, int32_t id);
static inline bool image_broker_is_live(const struct image *image, int32_t id)
{
    const struct broker_image *broker = image_broker(image, id);
    return broker && broker->live;
}
/* May it be made the leader of something, or a member of a set? */
static inline bool image_broker_stays(const struct image *image, int32_t id)
{
    const struct broker_image *broker = image_broker(image, id);
    return broker && broker->live && !broker->draining;
}
/* Of METADATA_LEVEL: which kinds of records its brokers have agreed to use. */
int16_t image_level(const struct image *image);
/* NULL when the partition number is outside the topic. */
static inline const struct partition_image *image_partition(const struct topic_image *topic,
                                                            int32_t partition)
{
    if (partition < 0 || (uint32_t)partition >= topic->partition_count)
        return NULL;
    return &topic->partitions[partition];
}
static inline bool image_has_replica(const struct partition_image *partition, int32_t id)
{
    for (uint32_t i = 0; i < partition->replica_count; i++)
        if (partition->replicas[i] == id)
            return true;
    return false;
}
static inline bool image_in_set(const struct partition_image *partition, int32_t id)
{
    for (uint32_t i = 0; i < partition->isr_count; i++)
        if (partition->isr[i] == id)
            return true;
    return false;
}
static inline bool image_is_moving(const struct partition_image *partition)
{
    return partition->removing_count > 0 || partition->adding != 0;
}
/* How many of the set acks=all needs: min.insync.replicas, or as many as there are replicas if that
 * is less; while a partition moves, as many as it had or is to have. */
static inline uint32_t image_insync_min(const struct topic_conf *conf,
                                        const struct partition_image *partition)
{
    uint32_t after = partition->replica_count - (uint32_t)partition->removing_count;
    uint32_t before = partition->replica_count - (uint32_t)__builtin_popcountll(partition->adding);
    uint32_t replicas = before < after ? before : after;
    return (uint32_t)min_u64((uint64_t)conf->min_insync_replicas, replicas);
}
/* The endpoint of `broker` on the listener called `listener`, or NULL. */
const struct broker_endpoint_image *image_endpoint(const struct broker_image *broker,
                                                   const char *listener);

/* On the control shard, when no shard uses it any more: what no other image shares goes with it. */
void image_free(struct image *image);
