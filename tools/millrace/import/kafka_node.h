/* SPDX-License-Identifier: Apache-2.0
 *
 * The data directories of one node of Apache Kafka, after a clean stop: may they be taken over, and
 * what is in them. Reads everything and changes nothing.
 *
 * Refused as a whole (the node's refusals): a Kafka that runs, a stop that was no clean one,
 * directories of different nodes, metadata that is not known. Refused topic by topic (theirs):
 * damaged or old segments, open transactions, segments in tiered storage, replicas elsewhere only.
 */
#pragma once

#include "tools/millrace/command.h"
#include "tools/millrace/import/kafka_cluster.h"
#include "tools/millrace/import/kafka_scan.h"
#include "tools/millrace/import/kafka_text.h"

/* A sentence: cause, object, next step. */
struct kafka_refusal {
    char topic[LOG_TOPIC_MAX + 1]; /* "": it is about the node */
    char text[512];
};

struct kafka_node {
    const char **dirs; /* borrowed */
    uint32_t dir_count;
    struct kafka_meta meta;
    bool kraft;
    bool settings_known; /* of topics */
    struct kafka_cluster cluster;
    struct kafka_marks starts; /* log-start-offset-checkpoint */
    struct kafka_marks ends;   /* replication-offset-checkpoint: high watermarks */
    struct kafka_refusal *refusals;
    uint32_t refusal_count;
    uint32_t strays; /* folders of no topic that is there */
    uint64_t groups; /* with committed offsets */
    uint64_t committed_offsets;
    uint64_t folder_bytes; /* of segments: what there is to read */
};

struct kafka_node_options {
    const char *zookeeper;     /* "host:port/path", or NULL */
    const char *const *except; /* topics to leave out */
    uint32_t except_count;
    /* NULL, or told now and then how many bytes of folder_bytes were read. */
    void (*on_progress)(void *user, uint64_t done, uint64_t all);
    void *user;
};

/* kafka_node_fini() is due in any case. */
void kafka_node_read(struct kafka_node *node, const char **dirs, uint32_t dir_count,
                     const struct kafka_node_options *options);
/* Only: are its directories those of one node that was stopped cleanly? False: the refusals say. */
bool kafka_node_at_rest(struct kafka_node *node) warn_unused;
void kafka_node_fini(struct kafka_node *node);

/* topic NULL: about the node. */
void kafka_refuse(struct kafka_node *node, const char *topic, const char *format, ...)
    printf_like(3, 4);
/* Is there a refusal of it? */
bool kafka_topic_is_refused(const struct kafka_node *node, const struct kafka_topic *topic);
/* "__consumer_offsets": read as what it is. */
#define KAFKA_OFFSETS_TOPIC "__consumer_offsets"
