/* SPDX-License-Identifier: Apache-2.0
 *
 * The cluster as its brokers tell it: `millrace cluster brokers` and `millrace cluster health`.
 */
#include "net/err.h"
#include "tools/millrace/cluster.h"

#define LOOK_EVERY_NS 1000000000U

static bool is_live(const struct metadata_response *metadata, int32_t node)
{
    for (int32_t i = 0; i < metadata->brokers_count; i++) {
        if (metadata->brokers[i].node_id == node)
            return true;
    }
    return false;
}

/* ---- brokers ---- */

static const struct column broker_columns[] = {
    {.key = "broker", .title = "BROKER"},
    {.key = "host", .title = "HOST"},
    {.key = "port", .title = "PORT"},
    {.key = "rack", .title = "RACK"},
    {.key = "controller", .title = "CONTROLLER"},
    {.key = "leads", .title = "LEADS"},
    {.key = "replicas", .title = "REPLICAS"},
};

static json_t *broker_row(const struct metadata_response *metadata,
                          const struct metadata_response_broker *broker)
{
    int leads = 0;
    int replicas = 0;
    for (int32_t i = 0; i < metadata->topics_count; i++) {
        const struct metadata_response_topic *topic = &metadata->topics[i];
        for (int32_t p = 0; p < topic->partitions_count; p++) {
            const struct metadata_response_partition *partition = &topic->partitions[p];
            leads += partition->leader_id == broker->node_id;
            for (int32_t r = 0; r < partition->replica_nodes_count; r++)
                replicas += partition->replica_nodes[r] == broker->node_id;
        }
    }
    return json_pack("{s:i, s:o, s:i, s:o, s:b, s:i, s:i}", "broker", broker->node_id, "host",
                     json_of(broker->host), "port", broker->port, "rack", json_of(broker->rack),
                     "controller", broker->node_id == metadata->controller_id, "leads", leads,
                     "replicas", replicas);
}

static int brokers(struct session *s)
{
    struct metadata_response metadata;
    int code = cluster_metadata(s, NULL, 0, false, &metadata);
    if (code != EXIT_OK)
        return code;
    struct listing *listing = listing_open(s->inv, broker_columns, array_count(broker_columns));
    for (int32_t i = 0; i < metadata.brokers_count; i++)
        listing_row(listing, broker_row(&metadata, &metadata.brokers[i]));
    listing_close(listing);
    return EXIT_OK;
}

int cmd_cluster_brokers(struct invocation *inv)
{
    return session_run(inv, brokers);
}

/* ---- health ---- */

static const struct column health_columns[] = {
    {.key = "healthy", .title = "HEALTHY"},
    {.key = "brokers", .title = "BROKERS"},
    {.key = "controller", .title = "CONTROLLER"},
    {.key = "partitions", .title = "PARTITIONS"},
    {.key = "leaderless", .title = "LEADERLESS"},
    {.key = "under_replicated", .title = "UNDER-REPLICATED"},
};

struct health {
    int partitions, leaderless, under_replicated;
    bool good;
};

static void add_partition(struct health *health, const struct metadata_response *metadata,
                          const struct metadata_response_partition *partition)
{
    bool whole = partition->isr_nodes_count >= partition->replica_nodes_count;
    for (int32_t r = 0; r < partition->replica_nodes_count; r++)
        whole = whole && is_live(metadata, partition->replica_nodes[r]);
    health->partitions++;
    health->leaderless += !is_live(metadata, partition->leader_id);
    health->under_replicated += !whole;
}

static struct health health_of(const struct metadata_response *metadata, int64_t brokers_wanted)
{
    struct health health = {0};
    for (int32_t i = 0; i < metadata->topics_count; i++) {
        const struct metadata_response_topic *topic = &metadata->topics[i];
        for (int32_t p = 0; p < topic->partitions_count; p++)
            add_partition(&health, metadata, &topic->partitions[p]);
    }
    health.good = is_live(metadata, metadata->controller_id) && health.leaderless == 0 &&
                  health.under_replicated == 0 && metadata->brokers_count >= brokers_wanted;
    return health;
}

static int look(struct session *s, int64_t brokers_wanted)
{
    struct metadata_response metadata;
    int code = cluster_metadata(s, NULL, 0, false, &metadata);
    if (code != EXIT_OK)
        return code;
    struct health health = health_of(&metadata, brokers_wanted);
    bool known = is_live(&metadata, metadata.controller_id);
    struct listing *listing = listing_open(s->inv, health_columns, array_count(health_columns));
    listing_row(listing, json_pack("{s:b, s:i, s:o, s:i, s:i, s:i}", "healthy", health.good,
                                   "brokers", metadata.brokers_count, "controller",
                                   known ? json_integer(metadata.controller_id) : json_null(),
                                   "partitions", health.partitions, "leaderless", health.leaderless,
                                   "under_replicated", health.under_replicated));
    listing_close(listing);
    (void)fflush(stdout);
    return health.good ? EXIT_OK : EXIT_UNHEALTHY;
}

static int health(struct session *s)
{
    int64_t brokers_wanted = 1;
    if (!option_number(s->inv, "brokers", 1, 100000, &brokers_wanted))
        return EXIT_USAGE;
    bool until_healthy = option_on(s->inv, "exit-when-healthy");
    bool watch = option_on(s->inv, "watch") || until_healthy;
    int code = look(s, brokers_wanted);
    while (watch && !(until_healthy && code == EXIT_OK)) {
        session_pause(s, LOOK_EVERY_NS);
        arena_reset(&s->arena);
        code = look(s, brokers_wanted);
    }
    return code;
}

int cmd_cluster_health(struct invocation *inv)
{
    return session_run(inv, health);
}
