/* SPDX-License-Identifier: Apache-2.0
 *
 * A broker of which there is nothing but the controller: its one log directory is made of memory,
 * and what the directory is told to keep outlives the broker in the test's model. Include in one
 * file of a test program: it has the bodies of what the controller calls.
 */
#pragma once

#include "core/broker.h"
#include "io/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* What a test has seen that must not be, the first of it in words. */
struct findings {
    uint32_t count;
    char first[512];
};

static inline void violate(struct findings *findings, const char *format, ...) printf_like(2, 3);

static inline void violate(struct findings *findings, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    if (findings->count++ == 0)
        (void)vsnprintf(findings->first, sizeof(findings->first), format, args);
    va_end(args);
}

/* What is in a broker's directory, from life to life. */
struct kept {
    char cluster_id[64];
    struct metadata_mark mark;
};

struct alone {
    struct broker broker;
    struct log_dir dir;
    struct log_dirs dirs; /* that one */
    struct kept *kept;
};

/* ---- fakes of what the controller calls ---- */

bool log_dirs_set_identity(struct log_dirs *dirs, const char *cluster_id, int32_t node_id,
                           struct log_error *error)
{
    (void)error;
    struct alone *alone = container_of(dirs, struct alone, dirs);
    alone->dir.node_id = node_id;
    (void)snprintf(alone->dir.cluster_id, sizeof(alone->dir.cluster_id), "%s", cluster_id);
    (void)snprintf(alone->kept->cluster_id, sizeof(alone->kept->cluster_id), "%s", cluster_id);
    return true;
}

bool log_dirs_set_mark(struct log_dirs *dirs, struct metadata_mark mark, struct log_error *error)
{
    (void)error;
    container_of(dirs, struct alone, dirs)->kept->mark = mark;
    return true;
}

/* ---- lives ---- */

/* dir.uuid has been set, and nothing else. */
static inline void alone_init(struct alone *alone, struct fs *fs, struct kept *kept,
                              struct conf *conf, int32_t node_id, struct broker_shard *shards)
{
    alone->kept = kept;
    alone->dir.path = mem_strdup("data");
    alone->dir.fs = fs;
    (void)snprintf(alone->dir.cluster_id, sizeof(alone->dir.cluster_id), "%s", kept->cluster_id);
    alone->dir.mark = kept->mark;
    alone->dirs =
        (struct log_dirs){.count = 1, .entries = {{.path = alone->dir.path, .dir = &alone->dir}}};
    memcpy(alone->dirs.entries[0].uuid, alone->dir.uuid, sizeof(alone->dir.uuid));
    memcpy(alone->dirs.identity, alone->dir.uuid, sizeof(alone->dir.uuid));
    alone->broker.conf = conf;
    alone->broker.node_id = node_id;
    alone->broker.dirs = &alone->dirs;
    alone->broker.shards = shards;
    alone->broker.listeners = conf->listeners;
}

static inline void alone_fini(struct alone *alone)
{
    mem_free(alone->dir.path);
}

/* on_begun is called on shard 0, once for each. */
static inline void alone_start_shard(struct alone *alone, struct shard *sh,
                                     void (*on_begun)(struct shard *here, struct mail *mail))
{
    struct broker_shard *bs = &alone->broker.shards[sh->id];
    alone->broker.shard_count = sh->count;
    bs->broker = &alone->broker;
    bs->sh = sh;
    sh->user = bs;
    shard_post(sh, 0, &bs->mail, on_begun);
}

/* One more shard has begun; was it the last one? */
static inline bool alone_shard_begun(struct alone *alone)
{
    return ++alone->broker.begun == alone->broker.shard_count;
}
