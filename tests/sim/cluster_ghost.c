/* SPDX-License-Identifier: Apache-2.0
 *
 * A Fetch of a follower may be on its way for longer than the leader epoch that it names: what it
 * says of the follower's log may not be true any more, so it must count for nothing. Here one like
 * it is sent now and then, in a follower's name and under its broker epoch, so that nothing but the
 * leader epoch is wrong with it.
 */
#include "net/err.h"
#include "net/kafka.h"
#include "tests/sim/cluster_agent.h"

static void on_answer(struct client *c, struct client_call *call)
{
    struct agent *a = call->user;
    struct fetch_response response;
    const struct fetch_response_partition *answer = agent_fetched(call, &response);
    (void)c;
    if (answer && answer->error_code == ERR_NONE)
        cluster_wrong(&a->cl->facts, "partition %u: a Fetch of a former leader epoch was taken",
                      a->partition);
    agent_later(a, 200 * MS);
}

static void send(struct agent *a, struct client *c, const struct topic_image *image,
                 const struct broker_image *follower)
{
    int32_t epoch = image->partitions[a->partition].leader_epoch;
    agent_fetch(a, c,
                &(struct agent_fetch){
                    .topic_id = &image->id,
                    .offset = a->cl->facts.partition[a->partition].end,
                    .leader_epoch = (int32_t)rng_below(&a->rng, (uint64_t)epoch),
                    .replica = follower->id,
                    .replica_epoch = follower->epoch,
                },
                on_answer);
}

void ghost_step(struct agent *a)
{
    a->partition = (uint32_t)rng_below(&a->rng, CLUSTER_PARTITIONS);
    const struct cluster_partition *fact = &a->cl->facts.partition[a->partition];
    int32_t id = fact->replica[rng_below(&a->rng, CLUSTER_REPLICAS)];
    struct client *c = agent_client(a, fact->leader);
    const struct image *image = cluster_image(a->cl, fact->leader);
    const struct topic_image *topic =
        image ? image_topic_by_name(image, CLUSTER_TOPIC, strlen(CLUSTER_TOPIC)) : NULL;
    const struct broker_image *follower = image ? image_broker(image, id) : NULL;
    if (!c || !topic || !follower || id == fact->leader ||
        topic->partitions[a->partition].leader_epoch < 1)
        agent_later(a, 50 * MS);
    else
        send(a, c, topic, follower);
}
