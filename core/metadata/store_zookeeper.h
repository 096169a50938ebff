/* SPDX-License-Identifier: Apache-2.0
 *
 * The body of core/metadata/store.h on Apache ZooKeeper (libzookeeper_mt). Only of real programs:
 * they hand it to the broker, so that the simulation links no library that has threads.
 */
#pragma once

#include "core/metadata/store.h"

/* A store_body_fn for "zookeeper:"; `where` is host:port,host:port.../path, and everything lies
 * below that path, which is made when it is not there. */
struct store *store_zookeeper_open(struct shard *sh, const struct store_options *options,
                                   const char *where, char *sentence, size_t sentence_size);
