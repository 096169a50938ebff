/* SPDX-License-Identifier: Apache-2.0 */
#include "core/replica/replica_throttle.h"

#include "core/broker.h"

#include <stdlib.h>
#include <string.h>

static const char *const list_keys[REPLICA_SIDES] = {
    [REPLICA_LEADS] = "leader.replication.throttled.replicas",
    [REPLICA_FOLLOWS] = "follower.replication.throttled.replicas",
};

/* "0:1,1:1" or "*"; the configuration has checked it. */
static bool names(const char *list, int32_t partition, int32_t broker)
{
    while (*list != '\0') {
        if (*list == '*')
            return true;
        char *end;
        long first = strtol(list, &end, 10);
        long second = *end == ':' ? strtol(end + 1, &end, 10) : -1;
        if (first == partition && second == broker)
            return true;
        list = strchrnul(end, ',');
        list += *list == ',';
    }
    return false;
}

/* No broker has a default for them, so what the topic says is all there is. */
bool replica_throttle_names(const struct topic_image *topic, int32_t partition, int32_t broker,
                            enum replica_side side)
{
    for (uint16_t i = 0; i < topic->overrides.count; i++) {
        const struct override *item = &topic->overrides.item[i];
        if (strcmp(conf_keys[item->key].name, list_keys[side]) == 0)
            return names(item->value, partition, broker);
    }
    return false;
}

static double rate_of(const struct broker_shard *bs, enum replica_side side)
{
    const struct broker_conf *conf = bs->image->broker_conf;
    int64_t rate =
        side == REPLICA_LEADS ? conf->leader_throttled_rate : conf->follower_throttled_rate;
    return rate == INT64_MAX ? -1 : (double)rate / bs->broker->shard_count;
}

uint64_t replica_throttle_rest_ns(struct broker_shard *bs, enum replica_side side)
{
    const uint64_t now_ns = io_now_ns(bs->sh->io);
    const double rate = rate_of(bs, side);
    if (rate < 0)
        return 0;
    const double sum = quota_window_sum(&bs->throttle.used[side], now_ns);
    return (uint64_t)(quota_rest_s(sum, rate, now_ns) * 1e9);
}

void replica_throttle_use(struct broker_shard *bs, enum replica_side side, uint64_t bytes)
{
    quota_window_add(&bs->throttle.used[side], io_now_ns(bs->sh->io), (double)bytes);
}
