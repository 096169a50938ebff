/* SPDX-License-Identifier: Apache-2.0 */
#include "core/controller/controller_quota.h"

#include "core/metadata/quota_table.h"
#include "io/map.h"
#include "net/address.h"
#include "net/err.h"

#include <math.h>
#include <string.h>

#define BUCKETS_MAX  10000U /* of clients that are told apart; those beyond share one */
#define FRACTION_MAX 1e-6   /* what counts as a whole number */
#define THROTTLE_MAX 3600000.0

/* ---- changing quotas ---- */

/* Where not all brokers have to know records of quotas, there are none. */
static bool check_level(struct controller_step *step, struct control_op *op,
                        struct control_item *item)
{
    int16_t level = image_level(image_edit_peek(step->edit));
    if (step->mutate_early || level >= metadata_kind_level(METADATA_CLIENT_QUOTA))
        return true;
    return controller_refuse(op, item, ERR_UNSUPPORTED_VERSION,
                             "quotas of clients need " METADATA_LEVEL " at level %d, and the "
                             "cluster uses level %d: raise it when all brokers are upgraded "
                             "(millrace cluster features --upgrade)",
                             metadata_kind_level(METADATA_CLIENT_QUOTA), level);
}

static bool check_ip(struct control_op *op, struct control_item *item,
                     const struct quota_part *part)
{
    uint8_t ip[16];
    char text[ADDRESS_IP_SIZE];
    if (part->match != QUOTA_NAMED)
        return true;
    if (!address_ip_parse(part->name.data, (size_t)part->name.len, ip))
        return controller_refuse(op, item, ERR_INVALID_REQUEST,
                                 "an ip is written as an address, 192.0.2.1 or 2001:db8::1");
    if (!str_equal(part->name, str_of(address_ip_print(ip, text))))
        return controller_refuse(op, item, ERR_INVALID_REQUEST, "this address is written as %s",
                                 text);
    return true;
}

static bool check_name(struct control_op *op, struct control_item *item,
                       const struct quota_part *part)
{
    if (part->match != QUOTA_NAMED)
        return true;
    if (part->name.len == 0)
        return controller_refuse(op, item, ERR_INVALID_REQUEST,
                                 "a name is not empty; null is the default");
    if ((uint32_t)part->name.len > QUOTA_NAME_MAX ||
        memchr(part->name.data, 0, (size_t)part->name.len))
        return controller_refuse(op, item, ERR_INVALID_REQUEST,
                                 "a name has at most %u bytes, and none is zero", QUOTA_NAME_MAX);
    return true;
}

static bool check_entity(struct control_op *op, struct control_item *item)
{
    const struct quota_part *part = item->quota->part;
    bool by_client =
        part[QUOTA_OF_USER].match != QUOTA_ABSENT || part[QUOTA_OF_CLIENT].match != QUOTA_ABSENT;
    bool by_ip = part[QUOTA_OF_IP].match != QUOTA_ABSENT;
    if (by_client == by_ip)
        return controller_refuse(op, item, ERR_INVALID_REQUEST,
                                 "quotas are of a user, a client-id, the two together, or an ip");
    for (unsigned of = 0; of < QUOTA_PARTS; of++)
        if (!check_name(op, item, &part[of]))
            return false;
    return check_ip(op, item, &part[QUOTA_OF_IP]);
}

static bool is_whole(double value)
{
    return fabs(value - round(value)) <= FRACTION_MAX;
}

static bool check_limit(struct control_op *op, struct control_item *item, enum quota_kind kind,
                        double value)
{
    const char *key = quota_key(kind);
    double most = kind == QUOTA_CONNECTION ? (double)INT32_MAX : (double)INT64_MAX;
    bool whole = kind == QUOTA_PRODUCE || kind == QUOTA_FETCH || kind == QUOTA_CONNECTION;
    if (!(value > 0) || isinf(value))
        return controller_refuse(op, item, ERR_INVALID_REQUEST, "%s is a number above 0", key);
    if (whole && value > most)
        return controller_refuse(op, item, ERR_INVALID_REQUEST, "%s is at most %.0f", key, most);
    if (whole && !is_whole(value))
        return controller_refuse(op, item, ERR_INVALID_REQUEST, "%s is a whole number", key);
    return true;
}

/* What the entity has after the changes. */
static bool alter(struct control_op *op, struct control_item *item, double limits[QUOTA_KINDS])
{
    bool seen[QUOTA_KINDS] = {false};
    for (int32_t i = 0; i < item->limit_count; i++) {
        const struct control_limit *limit = &item->limits[i];
        enum quota_kind kind = quota_kind_of(limit->key);
        bool known = kind != QUOTA_KINDS && quota_entity_may(item->quota, kind);
        if (known && seen[kind])
            return controller_refuse(op, item, ERR_INVALID_REQUEST, "%s is there twice",
                                     quota_key(kind));
        if (!known && limit->remove)
            continue; /* it is not there, as was wanted */
        if (!known)
            return controller_refuse(op, item, ERR_INVALID_REQUEST, "there is no quota %.*s of it",
                                     limit->key.len < 64 ? limit->key.len : 64, limit->key.data);
        seen[kind] = true;
        if (!limit->remove && !check_limit(op, item, kind, limit->value))
            return false;
        limits[kind] = limit->remove ? 0 : limit->value;
    }
    return true;
}

/* For one more. */
static bool check_room(struct control_op *op, struct control_item *item,
                       const struct quota_table *table)
{
    return table->count < QUOTA_ENTITIES_MAX ||
           controller_refuse(op, item, ERR_POLICY_VIOLATION,
                             "there are quotas of %u already, the most there may be",
                             QUOTA_ENTITIES_MAX);
}

void controller_alter_quota(struct controller_step *step, struct control_op *op,
                            struct control_item *item)
{
    double limits[QUOTA_KINDS] = {0};
    struct metadata_limit left[QUOTA_KINDS];
    uint32_t count = 0;
    if (!check_level(step, op, item) || !check_entity(op, item))
        return;
    const struct quota_table *table = image_edit_peek(step->edit)->quotas;
    const struct quota_image *before = quota_table_find(table, item->quota);
    if (before)
        memcpy(limits, before->limits, sizeof(limits));
    if (!alter(op, item, limits))
        return;
    for (unsigned kind = 0; kind < QUOTA_KINDS; kind++)
        if (limits[kind] > 0)
            left[count++] =
                (struct metadata_limit){str_of(quota_key((enum quota_kind)kind)), limits[kind]};
    if (!before && count > 0 && !check_room(op, item, table))
        return;
    bool same = true;
    for (unsigned kind = 0; kind < QUOTA_KINDS; kind++)
        same = same && (before ? before->limits[kind] : 0) == limits[kind];
    if (same || op->validate_only)
        return;
    controller_step_record(
        step, &(struct metadata_record){
                  .kind = METADATA_CLIENT_QUOTA,
                  .quota = {.entity = *item->quota, .limits = left, .limit_count = count}});
}

/* ---- partitions created and deleted ---- */

struct mutation_bucket {
    char *key;
    double tokens;
    double rate; /* a second */
    uint64_t filled_ns;
    UT_hash_handle hh;
};

static void bucket_free(struct mutation_buckets *buckets, struct mutation_bucket *bucket)
{
    HASH_DEL(buckets->by_key, bucket);
    buckets->count--;
    mem_free(bucket->key);
    mem_free(bucket);
}

static void fill(struct mutation_bucket *bucket, double rate, uint64_t now_ns)
{
    double since_s = (double)(now_ns - bucket->filled_ns) / 1e9;
    bucket->rate = rate;
    bucket->tokens = fmin(bucket->tokens + rate * since_s, rate * QUOTA_BURST_S);
    bucket->filled_ns = now_ns;
}

/* A full one is as good as none. */
static void forget_full(struct mutation_buckets *buckets, uint64_t now_ns)
{
    struct mutation_bucket *bucket;
    struct mutation_bucket *next;
    HASH_ITER(hh, buckets->by_key, bucket, next)
    {
        fill(bucket, bucket->rate, now_ns);
        if (bucket->tokens >= bucket->rate * QUOTA_BURST_S)
            bucket_free(buckets, bucket);
    }
}

static struct mutation_bucket *find(const struct mutation_buckets *buckets, struct str key)
{
    struct mutation_bucket *bucket;
    HASH_FIND(hh, buckets->by_key, key.data, (size_t)key.len, bucket);
    return bucket;
}

void mutation_bucket_find(struct mutation_buckets *buckets, struct control_op *op, uint64_t now_ns)
{
    op->bucket = NULL;
    if (op->mutation_rate <= 0)
        return;
    struct str key = op->mutator;
    struct mutation_bucket *bucket = find(buckets, key);
    if (!bucket && buckets->count >= BUCKETS_MAX)
        forget_full(buckets, now_ns);
    if (!bucket && buckets->count >= BUCKETS_MAX) {
        key = str_of("others");
        bucket = find(buckets, key);
    }
    if (!bucket) {
        bucket = mem_zalloc(sizeof(*bucket));
        bucket->key = mem_alloc((size_t)key.len + 1);
        memcpy(bucket->key, key.data, (size_t)key.len);
        bucket->tokens = op->mutation_rate * QUOTA_BURST_S;
        bucket->filled_ns = now_ns;
        HASH_ADD_KEYPTR(hh, buckets->by_key, bucket->key, (size_t)key.len, bucket);
        buckets->count++;
    }
    fill(bucket, op->mutation_rate, now_ns);
    op->bucket = bucket;
}

static void wait_for(struct control_op *op)
{
    const struct mutation_bucket *bucket = op->bucket;
    double ms = fmin(-bucket->tokens / bucket->rate * 1000, THROTTLE_MAX);
    op->throttle_ms = (uint32_t)ceil(fmax(ms, 1));
}

bool controller_charge(struct control_op *op, struct control_item *item, uint32_t partitions)
{
    struct mutation_bucket *bucket = op->bucket;
    if (!bucket)
        return true;
    if (op->strict && bucket->tokens < 0) {
        wait_for(op);
        return controller_refuse(op, item, ERR_THROTTLING_QUOTA_EXCEEDED,
                                 "%s is used up: again in %u ms", quota_key(QUOTA_MUTATION),
                                 op->throttle_ms);
    }
    bucket->tokens -= partitions;
    if (!op->strict && bucket->tokens < 0)
        wait_for(op);
    return true;
}

void mutation_buckets_fini(struct mutation_buckets *buckets)
{
    struct mutation_bucket *bucket;
    struct mutation_bucket *next;
    HASH_ITER(hh, buckets->by_key, bucket, next)
    {
        bucket_free(buckets, bucket);
    }
}
