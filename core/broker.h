/* SPDX-License-Identifier: Apache-2.0
 *
 * One broker: what its shards share without locks (read-only after start), and what each shard has
 * for itself. How it starts and stops is core/broker.c; everything else is reached from here.
 */
#pragma once

#include "core/broker_logs.h"
#include "core/conf/conf.h"
#include "core/helper_line.h"
#include "core/metadata/image.h"
#include "core/metadata/store.h"
#include "core/partition/partition.h"
#include "core/plan.h"
#include "core/record/deflate.h"
#include "net/conn.h"
#include "net/listen.h"

struct cleaner;
struct controller;
struct controller_link;
struct fetch_sessions;
struct groups;
struct handover;
struct mender;
struct partition_offline;
struct quotas;
struct replica_fetchers;
struct broker_lookups;
struct retention;
struct scrub;

/* Batches that are searched for a time, and who waits to be next: core/api/offset_lookup.c. */
struct offset_scans {
    uint64_t bytes;
    uint64_t bytes_most; /* since the start */
    TAILQ_HEAD(, offset_lookup) line;
};

/* What one shard has. home: that shard; found by broker_shard_of(sh). */
struct broker_shard {
    struct broker *broker;
    struct shard *sh;
    struct net_shard net;
    const struct image *image; /* the newest this shard was given; NULL until the first */
    struct partition_table partitions;
    uint64_t changes;      /* of partitions, counted: partition->change */
    uint32_t image_number; /* counts the images this shard was given */
    uint32_t
        image_holds[2];    /* readers of the newest and of the one before, by its number's parity */
    uint64_t yields;       /* requests that went on in a later turn */
    uint32_t proposals;    /* of commit sets, on their way to the controller and back */
    bool partitions_ended; /* and their logs stop: what an image changes is the next start's */
    bool roles_ended;      /* the broker stops: nobody leads or follows any more */
    uint32_t deletions;    /* logs on their way out */
    uint32_t auto_creates; /* topics on their way in because they were asked for */
    void (*applied)(void *user); /* the image, once they are gone */
    void *applied_user;
    void (*stopped)(void *user);
    void *stopped_user;
    struct batch_check *check; /* for checks that end at once */
    struct inflater inflater;
    /* Batches that are being compressed anew or wait for room in their log (compression.type), and
     * the partitions that wait to be next. The deflater is touched on the helper thread only. */
    struct deflater deflater;
    uint32_t recodes;
    struct partition_line recode_line;
    struct offset_scans offset_scans;
    struct helper_line helper_line; /* of what inflates: checks and scans */
    struct broker_logs logs;
    struct fetch_sessions *sessions;
    struct groups *groups; /* those that this shard coordinates */
    struct replica_fetchers *fetchers;
    struct replica_throttle throttle;
    struct mender *mender;
    struct partition_offline *offline;
    struct quotas *quotas;
    struct broker_lookups *lookups; /* names of other brokers */
    struct timer lag;               /* when the followers are looked at next */
    struct retention *retention;
    struct cleaner *cleaner;
    struct scrub *scrub;
    struct producer_ids *producer_ids; /* this shard's piece of the broker's block */
    struct mail mail;                  /* between this shard and the control shard */
    struct timer drain;                /* while stopping: how long answers may take */
};

struct broker_options {
    const struct conf *conf; /* outlives the broker */
    struct fs *fs;
    struct plan plan;
    uint16_t shard_count;
    uint32_t pid;
    uint64_t seed[2];         /* for the identities of a fresh directory */
    uint64_t journal_bytes;   /* first length of a journal; 0: the default */
    uint32_t bypass_bytes;    /* appends of so much bypass the journal; 0: the default */
    uint32_t open_files_max;  /* segment files open at a time, per shard; 0: the default */
    uint32_t connections_max; /* at a time, beside max.connections; 0: no other limit */
    const char *store_url;    /* of the metadata; NULL: as the configuration says */
    store_body_fn *zookeeper; /* core/metadata/store_zookeeper.h, of a program that has it */
    struct store_sim *sim;    /* of a simulated cluster, for the URL sim: */
    /* NULL, or told by broker_open() how far it is with the logs, on the thread that called it. */
    void (*on_progress)(void *user, uint32_t done, uint32_t count);
    /* All on the control shard. */
    void (*on_ready)(void *user);
    void (*on_failed)(void *user, const char *sentence); /* it will not serve; stop it */
    void (*on_stopped)(void *user);
    void *user;
};

/* Read-only once the shards run, except what names a home. */
struct broker {
    struct broker_options options;
    const struct conf *conf;
    int32_t node_id;
    uint16_t shard_count;
    struct shard_group *group;
    struct broker_shard *shards; /* [shard_count] */
    struct log_dirs *dirs;
    bool metadata_inside;          /* the metadata store lies in one of them */
    struct listener_set listeners; /* with the ports they got; final before ready */

    /* home: shard 0 */
    struct controller *controller;
    struct controller_link *link; /* to the controller, when that is another broker */
    struct listen listen;
    char *store_url;
    struct handover *handover; /* while stopping, else NULL */
    uint64_t began_ns;
    uint16_t begun;   /* shards that run */
    uint16_t drained; /* shards without connections, while stopping */
    uint16_t stopped; /* shards that ended */
    bool stopping;
    bool failed; /* it gave up */
    bool ready;
};

#define CONTROL_SHARD 0U

/* What a mode comes to on these disks: where one is memory, nothing there survives a loss of power.
 */
enum log_durability broker_durability(const struct broker *broker, enum log_durability mode);

/* Blocking, before the threads start: takes the data directory and brings its logs back. NULL and
 * a sentence in `error` when that cannot be. */
struct broker *broker_open(const struct broker_options *options, struct shard_group *group,
                           struct log_error *error);
/* On each shard's thread, once, with its door open. */
void broker_shard_begin(struct broker *broker, struct shard *sh);
/* On the control shard: others lead, no new connections, answers leave, logs are closed; then
 * on_stopped. */
void broker_stop(struct broker *broker);
/* On the control shard: it cannot go on, and why. */
void broker_fail(struct broker *broker, const char *sentence);
/* After every shard has ended. */
void broker_close(struct broker *broker);

static inline struct broker_shard *broker_shard_of(const struct shard *sh)
{
    return sh->user;
}
