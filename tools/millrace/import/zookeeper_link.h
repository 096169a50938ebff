/* SPDX-License-Identifier: Apache-2.0
 *
 * A session with ZooKeeper for commands that ask one thing after another: the library's calls that
 * wait. Brokers have core/metadata/store_zookeeper.h.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define ZOOKEEPER_DATA_BYTES_MAX (2U << 20) /* of one node; ZooKeeper allows 1 MiB */

struct _zhandle;

struct zookeeper_link {
    struct _zhandle *zh; /* zhandle_t */
    char root[512];      /* the path behind the servers, "" or "/kafka" */
};

/* servers: "host:port,.../path". False: the sentence says why. Blocks; close it in any case. */
bool zookeeper_link_open(struct zookeeper_link *link, const char *servers, char *sentence,
                         size_t sentence_size);
void zookeeper_link_close(struct zookeeper_link *link);
