/* SPDX-License-Identifier: Apache-2.0
 *
 * Metadata records: what the controller decided, as bytes. The metadata log is batches of them; an
 * image (core/metadata/image.h) is what they add up to.
 *
 * A record is an envelope and a body, little-endian, fixed width:
 *
 *     0  kind          u16
 *     2  flags         u8, bit 0: mandatory
 *     3  version       u8, of the body
 *     4  least_reader  u8, the oldest version of this code's body that may read it
 *     5  length        u32, of the body
 *     9  body
 *
 * A body only ever grows at its end, so an older reader takes what it knows and skips the rest by
 * the length. When that would be wrong the writer raises least_reader. A reader that meets a record
 * it may not read, by kind or by least_reader, stops when the record is mandatory and skips it when
 * it is not. The numbers of kinds are never used again.
 *
 * A PARTITIONS record carries whole runs of new partitions: 10,000 of them are 40 KiB, so that the
 * creation of a topic is one atomic batch. Everything they start with follows from the replicas.
 */
#pragma once

#include "core/log/format.h"
#include "core/metadata/quota_entity.h"
#include "io/arena.h"
#include "net/wire.h"

/* Which kinds there are is told by one number, the level of this feature. It begins with 1; a kind
 * that is new gets the next one, raises METADATA_LEVEL_NEWEST and the default of
 * millrace.metadata.level with it, and is written only where the cluster has agreed to that level
 * (core/controller/controller_features.h). */
#define METADATA_LEVEL        "millrace.metadata"
#define METADATA_LEVEL_OLDEST 1
#define METADATA_LEVEL_NEWEST 2

/* X(NAME, number, text, mandatory, level) */
#define METADATA_KINDS(X)                                                                          \
    X(NOOP, 1, "noop", true, 1)                                                                    \
    X(BROKER_UP, 2, "broker_up", true, 1)                                                          \
    X(BROKER_DOWN, 3, "broker_down", true, 1)                                                      \
    X(BROKER_DRAINING, 4, "broker_draining", false, 1)                                             \
    X(TOPIC_CREATE, 5, "topic_create", true, 1)                                                    \
    X(TOPIC_DELETE, 6, "topic_delete", true, 1)                                                    \
    X(PARTITIONS, 7, "partitions", true, 1)                                                        \
    X(PARTITION_CHANGE, 8, "partition_change", true, 1)                                            \
    X(CONFIG, 9, "config", true, 1)                                                                \
    X(PRODUCER_IDS, 10, "producer_ids", true, 1)                                                   \
    X(FEATURE, 11, "feature", true, 1)                                                             \
    X(CLIENT_QUOTA, 13, "client_quota", true, 2)

/* Their numbers are taken; no version writes them yet. */
#define METADATA_KINDS_RESERVED(X) X(ACL, 12, "acl")

enum metadata_kind {
#define X(name, number, text, mandatory, level) METADATA_##name = (number),
    METADATA_KINDS(X)
#undef X
};

#define METADATA_ENDPOINTS_MAX 64U
#define METADATA_REPLICAS_MAX  64U
#define METADATA_ENVELOPE      9U

/* The first record of each controller: from here on the older ones are fenced. */
struct metadata_noop {
    int32_t controller_id;
    int32_t controller_epoch;
};

struct metadata_endpoint {
    struct str listener;
    struct str host;
    uint16_t port;
};

struct metadata_broker_up {
    int32_t id;
    int64_t epoch;
    struct uuid directory; /* its log directory */
    bool lossy;            /* it may have lost acknowledged records: it leaves every commit set */
    struct str rack;       /* null: none */
    struct str version;    /* of the program, for people */
    const struct metadata_endpoint *endpoints;
    uint32_t endpoint_count;
};

/* It is not there any more: its registration went. It stays known, with what its directory is. */
struct metadata_broker_down {
    int32_t id;
    int64_t epoch; /* of the registration that went */
};

/* It is about to stop: it leads nothing that another one may lead, and joins no commit set. Over
 * with its registration. */
struct metadata_broker_draining {
    int32_t id;
    int64_t epoch;
};

struct metadata_topic_create {
    struct uuid id;
    struct str name;
};

struct metadata_topic_delete {
    struct uuid id;
};

/* `count` new partitions from number `first` on. Each is led by its first replica at leader epoch
 * 0, partition epoch 0, and has all its replicas in its commit set. */
struct metadata_partitions {
    struct uuid topic_id;
    int32_t first;
    uint32_t count;
    uint32_t replica_count;  /* of each */
    const int32_t *replicas; /* [count * replica_count] */
};

/* A partition that is being moved has the replicas it is to have first, and behind them those that
 * go when it has. */
struct metadata_partition_change {
    struct uuid topic_id;
    int32_t partition;
    int32_t leader; /* -1: none */
    int32_t leader_epoch;
    int32_t partition_epoch;
    const int32_t *replicas;
    const int32_t *isr;
    uint32_t replica_count;
    uint32_t isr_count;
    uint32_t removing_count; /* the last of the replicas */
    uint64_t adding;         /* bit i: replicas[i] was none before */
};

struct metadata_setting {
    struct str name;
    struct str value;
};

enum metadata_resource {
    METADATA_RESOURCE_TOPIC = 2, /* numbers of Kafka's ConfigResource */
    METADATA_RESOURCE_BROKER = 4,
};

/* All settings of one resource: they replace what it had. */
struct metadata_config {
    enum metadata_resource resource;
    struct uuid topic_id; /* of a topic, else zero */
    int32_t broker_id;    /* of a broker; -1: all brokers, and for a topic */
    const struct metadata_setting *settings;
    uint32_t setting_count;
};

/* Ids up to first + count belong to somebody now. */
struct metadata_producer_ids {
    int32_t broker_id;
    int64_t broker_epoch;
    int64_t first;
    int32_t count;
};

/* The level of a feature that all brokers have agreed to use. */
struct metadata_feature {
    struct str name;
    int16_t level;
};

struct metadata_limit {
    struct str key;
    double value;
};

/* All quotas of one entity: they replace what it had. None: it has none any more. */
struct metadata_quota {
    struct quota_entity entity;
    const struct metadata_limit *limits;
    uint32_t limit_count;
};

struct metadata_record {
    enum metadata_kind kind;
    union {
        struct metadata_noop noop;
        struct metadata_broker_up broker_up;
        struct metadata_broker_down broker_down;
        struct metadata_broker_draining broker_draining;
        struct metadata_topic_create topic_create;
        struct metadata_topic_delete topic_delete;
        struct metadata_partitions partitions;
        struct metadata_partition_change partition_change;
        struct metadata_config config;
        struct metadata_producer_ids producer_ids;
        struct metadata_feature feature;
        struct metadata_quota quota;
    };
};

/* "topic_create"; for a number of no known kind "unknown". Reserved kinds have names, too. */
const char *metadata_kind_name(uint16_t kind);
/* The level from which on it may be written. */
int16_t metadata_kind_level(enum metadata_kind kind);

/* Appends the record; out->overrun when there is no room. */
void metadata_record_encode(struct bytes_out *out, const struct metadata_record *record);
/* Bytes that metadata_record_encode will take. */
size_t metadata_record_size(const struct metadata_record *record);

/* Encoded records, growing: the contents of a batch or a snapshot. */
struct metadata_records {
    uint8_t *data;
    size_t length;
    size_t room;
    uint32_t count;
};

void metadata_records_add(struct metadata_records *records, const struct metadata_record *record);
void metadata_records_fini(struct metadata_records *records); /* empty, and usable again */

enum metadata_verdict {
    METADATA_READ,    /* *record is filled; its views live as long as the bytes and the arena */
    METADATA_SKIPPED, /* optional, and not for this version */
    METADATA_END,     /* no bytes are left */
    METADATA_REFUSED, /* mandatory and unknown, or damaged: the sentence says which */
};

/* Reads the next record of `in`, as a reader who knows the kinds up to `level`. Any bytes may come:
 * nothing is believed before it is checked, and what is allocated is bounded by the bytes read. */
enum metadata_verdict metadata_record_decode(struct bytes_in *in, int16_t level,
                                             struct arena *arena, struct metadata_record *record,
                                             char *sentence, size_t sentence_size);
