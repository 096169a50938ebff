/* SPDX-License-Identifier: Apache-2.0 */
#include "core/metadata/store.h"

#include "core/metadata/store_sim.h"

#include <stdio.h>
#include <string.h>

const char *store_result_name(enum store_result result)
{
    switch (result) {
    case STORE_OK:
        return "ok";
    case STORE_NO_NODE:
        return "no_node";
    case STORE_EXISTS:
        return "exists";
    case STORE_BAD_VERSION:
        return "bad_version";
    case STORE_NOT_EMPTY:
        return "not_empty";
    case STORE_TOO_BIG:
        return "too_big";
    case STORE_UNKNOWN:
        return "unknown_outcome";
    case STORE_EXPIRED:
        return "session_expired";
    case STORE_CLOSED:
        return "closed";
    }
    return "?";
}

struct store *store_open(struct shard *sh, const struct store_options *options, char *sentence,
                         size_t sentence_size)
{
    static const char file[] = "file:";
    static const char sim[] = "sim:";
    static const char zookeeper[] = "zookeeper:";
    if (strncmp(options->url, file, sizeof(file) - 1) == 0)
        return store_file_open(sh, options, options->url + sizeof(file) - 1);
    if (strncmp(options->url, sim, sizeof(sim) - 1) == 0 && options->sim)
        return store_sim_open(sh, options);
    if (strncmp(options->url, zookeeper, sizeof(zookeeper) - 1) == 0 && options->zookeeper)
        return options->zookeeper(sh, options, options->url + sizeof(zookeeper) - 1, sentence,
                                  sentence_size);
    (void)snprintf(sentence, sentence_size,
                   "no metadata store answers to %s; use file:DIRECTORY for a single node",
                   options->url);
    return NULL;
}
