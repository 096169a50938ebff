/* SPDX-License-Identifier: Apache-2.0
 *
 * All client quotas of a cluster, as one image has them. A table that is in an image never changes;
 * images share it, and unchanged entities are shared by tables. Reference counts belong to the
 * control shard, so readers on other shards pay nothing.
 *
 * Which quota holds for a client is asked for each kind by itself (Kafka's order): user and client
 * id, user and the default client, user; the default user and client id, both defaults, the default
 * user; client id, the default client. What is found says as well for whom it counts: for the two
 * together, for all clients of the user, or for the client id whoever uses it.
 */
#pragma once

#include "core/metadata/metadata_record.h"

#define QUOTA_ENTITIES_MAX 10000U /* with quotas of their own, defaults included */
#define QUOTA_NAME_MAX     1024U  /* bytes */

struct quota_image {
    struct quota_entity entity; /* names in the memory behind it */
    double limits[QUOTA_KINDS]; /* 0: none; those there are, are above */
    uint32_t refs;
};

struct quota_table {
    uint64_t version; /* the batch that changed it last: two of one version are alike */
    uint32_t count;
    const struct quota_image **items; /* sorted */
    bool any[QUOTA_KINDS];            /* has anybody one of this kind? */

    /* private to the control shard */
    uint32_t refs;
    uint32_t room;
};

struct quota_rule {
    double limit;
    bool by_user, by_client; /* for whom it counts; both: for the client of the user */
};

/* NULL: it has none. */
const struct quota_image *quota_table_find(const struct quota_table *table,
                                           const struct quota_entity *entity);
/* What holds for a user's client; false: nothing does. */
bool quota_table_rule(const struct quota_table *table, enum quota_kind kind, struct str user,
                      struct str client, struct quota_rule *rule);
/* Connections a second of an address, as text; 0: no limit. */
double quota_table_ip_limit(const struct quota_table *table, struct str ip);

/* ---- on the control shard ---- */

struct quota_table *quota_table_new(void); /* with one reference, as the next one */
struct quota_table *quota_table_copy(const struct quota_table *from);
struct quota_table *quota_table_get(struct quota_table *table);
void quota_table_put(struct quota_table *table);
/* Of one that is in no image yet: all limits of an entity, in place of those it had. Returns how
 * many are unknown here. */
uint32_t quota_table_set(struct quota_table *table, const struct metadata_quota *record);
