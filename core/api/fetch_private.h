/* SPDX-License-Identifier: Apache-2.0
 *
 * One Fetch under way, as its parts know it: core/api/api_fetch.c (decode, session, encode),
 * core/api/fetch_read.c (finding and waiting on the home shards), core/api/fetch_pin.c (bytes for
 * the socket). All of it lives in the request's arena.
 */
#pragma once

#include "core/api/api.h"
#include "core/api/fetch.h"
#include "core/api/fetch_session.h"

struct fetch;
struct fetch_group;

/* One partition of the request. Asked and found are the home shard's while its group is lent. */
struct fetch_part {
    struct partition_key key;
    uint16_t home;
    struct str topic; /* as asked; null in versions with ids */
    bool asked_by_id;

    /* asked */
    int64_t offset;
    int32_t bytes_max;
    int32_t current_leader_epoch;
    int32_t last_fetched_epoch;

    /* found */
    int16_t error;
    int64_t high_watermark; /* -1 with an error */
    int64_t last_stable_offset;
    int64_t log_start_offset;
    int64_t upto;            /* the end of what this reader may see */
    int32_t diverging_epoch; /* -1: none */
    int64_t diverging_end_offset;
    int32_t read_replica;                /* a broker that is nearer to the reader; -1: none */
    struct log_range range;              /* length: what will be sent */
    struct aborted_transaction *aborted; /* for readers of committed records; from mem_alloc() */
    uint32_t aborted_count;
    struct log_check *check; /* of what is sent from segments: the home shard's while a pin is
                                there; when there is something to send */

    /* private to fetch_read.c */
    struct fetch_group *group;
    uint64_t change; /* of the partition, as it was looked at */
    struct partition_watch watch;
};

/* The parts of one home shard: one mail there and back, whatever their number. */
struct fetch_group {
    struct mail mail;    /* lent to the home shard while `away` */
    struct mail cancel;  /* likewise, `cancelling` */
    struct task reread;  /* on the home shard, after a watch woke it */
    struct task reading; /* likewise, while it is being read */
    struct fetch *fetch;
    uint16_t home;
    struct fetch_part **parts;
    uint32_t part_count;
    bool away;       /* conn's shard: not answered yet */
    bool cancelling; /* conn's shard: the cancel is not back yet */

    /* the home shard's while away */
    struct broker_shard *bs;
    uint64_t bytes;
    uint64_t enough;  /* set before it is sent: with so many bytes it comes back at once */
    uint32_t next;    /* part to be read */
    uint32_t finding; /* asynchronous finds, and one while they are begun */
    bool urgent;      /* an error or a divergence: do not wait */
    bool parked;
    bool give_up;       /* the cancel came: answer as things are */
    uint64_t parked_ns; /* since it was sent: the first time it parked, 0: it did not */
    uint64_t woken_ns;  /* and the last time it was woken or called back */
};

struct fetch {
    struct api_work work;
    uint32_t next; /* part, of the step that runs */
    struct request *q;
    struct fetch_request request;
    struct fetch_part *parts;
    uint32_t part_count;
    struct fetch_group *groups; /* by home shard */
    uint32_t group_count;
    uint32_t bytes_max;
    uint32_t bytes_min;
    int32_t replica; /* a follower's broker id; -1: a consumer */
    int64_t replica_epoch;
    bool committed_only;
    bool knows_zstd; /* the request's version is new enough */
    bool may_follow; /* a consumer that may be served by a follower: likewise */
    bool may_wait;

    /* on the connection's shard */
    TAILQ_ENTRY(fetch) link; /* of the fetches under way here */
    uint32_t outstanding;    /* mails that are away */
    bool sending;
    bool calling_back;
    bool ending; /* enough, too late, or the connection goes: no more waiting */
    bool closing;
    struct timer deadline;
    int32_t session_id; /* to answer with; 0: sessionless */
    bool session_new;
    bool incremental;
    struct fetch_response response;
    struct fetch_response_partition *out; /* the next one */
    const struct fetch_part *before;      /* the last one told */
    bool failed;
};

/* fetch_read.c: finds everything, waits for bytes_min or the deadline, then fetch_finish(). */
void fetch_read(struct fetch *f);
/* No more waiting. */
void fetch_end(struct fetch *f);

/* api_fetch.c */
void fetch_finish(struct fetch *f);
