/* SPDX-License-Identifier: Apache-2.0
 *
 * What of a node of Apache Kafka carries over to Millrace and what does not, for people and as
 * JSON.
 */
#pragma once

#include "tools/millrace/import/kafka_node.h"
#include "tools/millrace/output.h"

/* The canonical text of a topic's setting as Millrace keeps it, to mem_free(); NULL: Millrace does
 * not have the setting, or not that value. */
char *import_setting(const struct kafka_setting *setting);

/* Is the topic taken over? */
bool import_takes(const struct kafka_node *node, const struct kafka_topic *topic);
/* May the node be taken over, all but what is left out? */
bool import_may(const struct kafka_node *node);

/* Prints all of it: tables and sentences, or one object (json, ndjson) with the members of `more`,
 * whose reference it takes; NULL: there are none. */
void import_report(const struct invocation *inv, const struct kafka_node *node, json_t *more);
