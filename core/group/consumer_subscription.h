/* SPDX-License-Identifier: Apache-2.0
 *
 * What the members of a consumer group want to read (KIP-848): names of topics, a regular
 * expression, or both. Members that want the same share one subscription, which knows by itself
 * which topics of the cluster it means: 20,000 members with one list of topics cost one list.
 *
 * A regular expression is asked against all topics of the cluster by the host, off the shard; until
 * the first answer has come it means nothing.
 */
#pragma once

#include "core/group/group_member.h"
#include "io/uuid.h"

struct consumer_regex {
    struct str text;
    uint32_t refs;      /* of subscriptions */
    bool resolved;      /* once at least */
    uint64_t asked;     /* the version of the cluster's topics that it was asked against */
    struct str *topics; /* sorted names that it matches */
    uint32_t topic_count;
    bool refused;        /* what it matches now does not fit the memory for members */
    int64_t resolved_ms; /* wall clock */
    bool dirty;          /* to be written */
    UT_hash_handle hh;
};

struct consumer_subscription {
    struct str *names; /* sorted, each once */
    uint32_t name_count;
    struct consumer_regex *regex; /* NULL: none */
    uint32_t refs;                /* of members */
    uint32_t number;              /* whoever makes a plan numbers them */

    /* The topics of the cluster that it means, sorted; as of that version of both. */
    struct uuid *ids;
    uint32_t id_room; /* of which there is memory for */
    uint32_t id_count;
    uint64_t version;

    struct str key;
    UT_hash_handle hh;
};

/* A topic that somebody of the group wants to read. */
struct consumer_topic {
    struct str name;
    uint32_t refs; /* of subscriptions and regular expressions */
    UT_hash_handle hh;
};

struct consumer_subscriptions {
    struct consumer_subscription *map;
    struct consumer_regex *regexes; /* map by text */
    struct consumer_topic *topics;  /* map by name: of all subscriptions */
    uint32_t regex_count;
    uint32_t count;
    uint64_t changes; /* how often a topic came or went */
    size_t bytes;     /* of memory */
};

/* With one reference more. Names may be in any order, and twice; regex "" or null: none. */
struct consumer_subscription *consumer_subscribe(struct consumer_subscriptions *all,
                                                 const struct str *names, uint32_t count,
                                                 struct str regex);
void consumer_unsubscribe(struct consumer_subscriptions *all, struct consumer_subscription *sub);

struct consumer_regex *consumer_regex_find(const struct consumer_subscriptions *all,
                                           struct str text);
/* What it matches; copied. False: as before. */
bool consumer_regex_resolve(struct consumer_subscriptions *all, struct consumer_regex *regex,
                            const struct str *topics, uint32_t count);

/* Memory for so many ids, which are not there yet. */
void consumer_subscription_reserve(struct consumer_subscriptions *all,
                                   struct consumer_subscription *sub, uint32_t room);
/* What its matches would take. */
size_t consumer_names_size(const struct str *names, uint32_t count);

bool consumer_subscribes(const struct consumer_subscriptions *all, struct str topic);
/* Does it name these, in any order? */
bool consumer_subscription_names(const struct consumer_subscription *sub, const struct str *names,
                                 uint32_t count);
/* Is the topic among the subscription's ids? */
bool consumer_subscription_has(const struct consumer_subscription *sub, const struct uuid *topic);
