/* SPDX-License-Identifier: Apache-2.0
 *
 * A Fetch of a follower may be on its way for longer than the leader epoch that it names: what it
 * says of the follower's log may not be true any more, so it must count for nothing. Here one like
 * it is sent now and then, in a follower's name and under its broker epoch, so that nothing but the
 * leader epoch is wrong with it.
 */
#include "core/broker.h"
#include "net/err.h"
#include "net/kafka.h"
#include "tests/sim/cluster_agent.h"

/* What the leader's broker believes itself; NULL: it is not there. */
static const struct image *image_of(const struct cluster *cl, int32_t broker)
{
    if (broker < 1 || broker > (int32_t)cl->count)
        return NULL;
    const struct node *node = &cl->nodes[broker - 1];
    if (!node_runs(node) || !node->ready)
        return NULL;
    return broker_shard_of(process_shard(node->process, 0))->image;
}

static void on_answer(struct client *c, struct client_call *call)
{
    struct agent *a = call->user;
    struct fetch_response response;
    struct rd rd;
    (void)c;
    if (agent_answered(call, &rd) &&
        read_fetch_response(&rd, call->arena, call->version, &response) &&
        response.responses_count == 1 && response.responses[0].partitions_count == 1 &&
        response.responses[0].partitions[0].error_code == ERR_NONE)
        cluster_wrong(&a->cl->facts, "partition %u: a Fetch of a former leader epoch was taken",
                      a->partition);
    agent_later(a, 200 * MS);
}

static void send(struct agent *a, struct client *c, const struct topic_image *image,
                 const struct broker_image *follower)
{
    struct fetch_request request;
    struct fetch_request_topic topic;
    struct fetch_request_partition partition;
    int32_t epoch = image->partitions[a->partition].leader_epoch;
    init_fetch_request(&request);
    init_fetch_request_topic(&topic);
    init_fetch_request_partition(&partition);
    partition.partition = (int32_t)a->partition;
    partition.current_leader_epoch = (int32_t)rng_below(&a->rng, (uint64_t)epoch);
    partition.fetch_offset = a->cl->facts.partition[a->partition].end;
    partition.partition_max_bytes = 1 << 16;
    topic.topic_id = image->id;
    topic.partitions = &partition;
    topic.partitions_count = 1;
    request.replica_state.replica_id = follower->id;
    request.replica_state.replica_epoch = follower->epoch;
    request.topics = &topic;
    request.topics_count = 1;
    struct wr *w = client_begin(c, &a->call, KEY_FETCH, 15);
    write_fetch_request(w, 15, &request);
    agent_ask(a, c, on_answer);
}

void ghost_step(struct agent *a)
{
    a->partition = (uint32_t)rng_below(&a->rng, CLUSTER_PARTITIONS);
    const struct cluster_partition *fact = &a->cl->facts.partition[a->partition];
    int32_t id = fact->replica[rng_below(&a->rng, CLUSTER_REPLICAS)];
    struct client *c = agent_client(a, fact->leader);
    const struct image *image = image_of(a->cl, fact->leader);
    const struct topic_image *topic =
        image ? image_topic_by_name(image, CLUSTER_TOPIC, strlen(CLUSTER_TOPIC)) : NULL;
    const struct broker_image *follower = image ? image_broker(image, id) : NULL;
    if (!c || !topic || !follower || id == fact->leader ||
        topic->partitions[a->partition].leader_epoch < 1)
        agent_later(a, 50 * MS);
    else
        send(a, c, topic, follower);
}
