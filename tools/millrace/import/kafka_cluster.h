/* SPDX-License-Identifier: Apache-2.0
 *
 * What the metadata of Apache Kafka says, wherever it is kept: topics with ids, partitions and
 * settings, and how much there is of what Millrace does not take over.
 */
#pragma once

#include "core/log/log.h"
#include "io/map.h"
#include "io/uuid.h"
#include "net/wire.h"

#include <limits.h>

struct kafka_scan;

struct kafka_setting {
    char *name;
    char *value;
};

/* The settings of one topic or one broker. */
struct kafka_settings {
    struct kafka_setting *items;
    uint32_t count;
};

struct kafka_partition {
    bool known; /* the metadata, or a folder, speaks of it */
    int32_t leader_epoch;
    uint32_t replica_count;  /* 0: not said */
    bool elsewhere;          /* no replica is on this node */
    char *directory;         /* its folder; NULL: none was found */
    struct kafka_scan *scan; /* what is in it; NULL: not looked at */
    int64_t start_offset;
    int64_t high_watermark; /* -1: not said */
};

struct kafka_topic {
    char name[LOG_TOPIC_MAX + 1];
    struct uuid id; /* zero: none */
    struct kafka_partition *partitions;
    uint32_t partition_count;
    struct kafka_settings settings;
    bool is_left_out; /* one of Kafka's own that means nothing here, or the user wants it so */
    UT_hash_handle by_name;
    UT_hash_handle by_id;
};

/* X(NAME, what, what about it) */
#define KAFKA_OTHERS(X)                                                                            \
    X(ACLS, "ACLs", "there is no authorizer here yet")                                             \
    X(QUOTAS, "client quotas", "there are no quotas here yet")                                     \
    X(USERS, "SCRAM credentials", "there is no SASL here yet")                                     \
    X(TOKENS, "delegation tokens", "there is no SASL here yet")                                    \
    X(BROKER_SETTINGS, "dynamic broker settings",                                                  \
      "give them to millrace start in server.properties")

enum kafka_other {
#define X(name, what, why) KAFKA_##name,
    KAFKA_OTHERS(X)
#undef X
        KAFKA_OTHER_COUNT
};

struct kafka_cluster {
    int32_t node_id; /* whose directories these are */
    struct kafka_topic *by_name;
    struct kafka_topic *by_id;
    uint64_t others[KAFKA_OTHER_COUNT];
    int64_t producer_id_next; /* -1: not said */
};

void kafka_cluster_init(struct kafka_cluster *cluster, int32_t node_id);
void kafka_cluster_fini(struct kafka_cluster *cluster);

struct kafka_topic *kafka_topic_find(const struct kafka_cluster *cluster, const char *name);
struct kafka_topic *kafka_topic_of_id(const struct kafka_cluster *cluster, const struct uuid *id);
/* NULL: there is one of that name, or of that id. The id may be zero. */
struct kafka_topic *kafka_topic_add(struct kafka_cluster *cluster, struct str name,
                                    const struct uuid *id);
void kafka_topic_remove(struct kafka_cluster *cluster, struct kafka_topic *topic);
#define KAFKA_PARTITIONS_MAX 1000000
/* Its partition of this number, which is there from now on; NULL: the number is too large. */
struct kafka_partition *kafka_partition_get(struct kafka_topic *topic, int32_t number);

/* A value of len -1 takes the setting away. */
void kafka_settings_set(struct kafka_settings *settings, struct str name, struct str value);
void kafka_settings_fini(struct kafka_settings *settings);

/* In order of name, to mem_free(). */
struct kafka_topic **kafka_topics_sorted(const struct kafka_cluster *cluster, uint32_t *count);
