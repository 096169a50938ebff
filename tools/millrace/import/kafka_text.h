/* SPDX-License-Identifier: Apache-2.0
 *
 * The small text files that Apache Kafka keeps beside its segments. All of them come from outside:
 * whatever does not look as it should is refused, and nothing is allocated beyond the file's size.
 *
 *   meta.properties                    java.util.Properties: version, cluster.id, node.id
 *   partition.metadata                 "version: 0", "topic_id: <22 characters>"
 *   leader-epoch-checkpoint            "0", a count, then "epoch offset" a line
 *   log-start-offset-checkpoint, ...   "0", a count, then "topic partition offset" a line
 *   topic-partition                    the name of a partition's folder
 */
#pragma once

#include "core/log/log.h"
#include "io/uuid.h"

#define KAFKA_TEXT_BYTES_MAX (64U << 20) /* of one such file */

/* The whole file, with a zero behind it; the caller's to mem_free(). NULL: *error is an errno. */
char *kafka_text_read(const char *directory, const char *name, size_t *len, int *error);

/* "a/b"; the caller's to mem_free(). */
char *kafka_path(const char *directory, const char *name);

struct kafka_meta {
    int32_t version; /* 0: the metadata is in ZooKeeper, 1: it is in a log of Kafka's own */
    int32_t node_id; /* -1: not said */
    char cluster_id[64];
};
/* False: a sentence says why. */
bool kafka_meta_parse(struct kafka_meta *meta, const char *text, size_t len, char *sentence,
                      size_t sentence_size) warn_unused;

bool kafka_topic_id_parse(struct uuid *id, const char *text, size_t len) warn_unused;

/* The highest epoch, -1 when there is none. */
bool kafka_epochs_parse(int32_t *latest, const char *text, size_t len) warn_unused;

struct kafka_mark {
    char topic[LOG_TOPIC_MAX + 1];
    int32_t partition;
    int64_t offset;
};

struct kafka_marks {
    struct kafka_mark *marks;
    uint32_t count;
};

/* Adds those of one file. */
bool kafka_marks_parse(struct kafka_marks *marks, const char *text, size_t len) warn_unused;
/* -1: none. */
int64_t kafka_marks_find(const struct kafka_marks *marks, const char *topic, int32_t partition);
void kafka_marks_fini(struct kafka_marks *marks);

/* False when the name is of no partition. */
bool kafka_folder_parse(const char *name, char topic[LOG_TOPIC_MAX + 1],
                        int32_t *partition) warn_unused;
