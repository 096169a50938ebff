/* SPDX-License-Identifier: Apache-2.0
 *
 * Of whom and of what a client quota is: an entity is a user, a client id, both together, or an
 * address; each of them by name, or the default for those without a quota of their own. Names and
 * keys are Kafka's (KIP-546, KIP-612).
 */
#pragma once

#include "net/wire.h"

enum quota_kind {
    QUOTA_PRODUCE,    /* bytes a second */
    QUOTA_FETCH,      /* likewise */
    QUOTA_REQUEST,    /* percent of a core */
    QUOTA_MUTATION,   /* partitions created and deleted, a second */
    QUOTA_CONNECTION, /* new connections a second, of an address */
    QUOTA_KINDS,
};

/* "producer_byte_rate" */
const char *quota_key(enum quota_kind kind);
/* QUOTA_KINDS: there is no such key. */
enum quota_kind quota_kind_of(struct str key);

enum quota_of { QUOTA_OF_USER, QUOTA_OF_CLIENT, QUOTA_OF_IP, QUOTA_PARTS };

/* "client-id" */
const char *quota_type(enum quota_of of);
/* QUOTA_PARTS: there is no such type. */
enum quota_of quota_of_type(struct str type);

enum quota_match {
    QUOTA_ABSENT,  /* the entity says nothing of it */
    QUOTA_DEFAULT, /* of those without a quota of their own */
    QUOTA_NAMED,
};

struct quota_part {
    enum quota_match match;
    struct str name; /* QUOTA_NAMED: not empty */
};

struct quota_entity {
    struct quota_part part[QUOTA_PARTS];
};

/* An order of entities. */
int quota_entity_compare(const struct quota_entity *a, const struct quota_entity *b);
/* Has it a quota of this kind at all? */
bool quota_entity_may(const struct quota_entity *entity, enum quota_kind kind);
