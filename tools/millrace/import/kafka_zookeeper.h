/* SPDX-License-Identifier: Apache-2.0
 *
 * The metadata of Kafka in ZooKeeper mode, asked of ZooKeeper while that still runs (Kafka itself
 * is stopped): topics with ids, partitions, settings, and how much there is of what is not taken
 * over. Read only.
 */
#pragma once

#include "tools/millrace/import/kafka_cluster.h"

/* servers: "host:port,.../path". False: the sentence says why. Blocks. */
bool kafka_zookeeper_read(struct kafka_cluster *cluster, const char *servers,
                          const char *cluster_id, char *sentence, size_t sentence_size) warn_unused;

/* One topic, as the node /brokers/topics/NAME has it, and its settings as /config/topics/NAME has
 * them. False: it is not what Kafka writes. */
bool kafka_zookeeper_topic(struct kafka_cluster *cluster, const char *name, const char *data,
                           size_t len) warn_unused;
bool kafka_zookeeper_settings(struct kafka_topic *topic, const char *data, size_t len) warn_unused;
