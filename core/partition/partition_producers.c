/* SPDX-License-Identifier: Apache-2.0 */
#include "core/partition/partition_producers.h"

#include "core/broker.h"
#include "core/log/producer_state.h"
#include "io/mem.h"

static void deliver(struct shard *here, struct mail *mail)
{
    (void)here;
    struct partition_producers *ask = container_of(mail, struct partition_producers, priv.mail);
    ask->done(ask);
}

static void finish(struct partition_producers *ask, enum err error)
{
    struct shard *here = shard_here();
    ask->error = (int16_t)error;
    if (ask->priv.from->sh == here)
        ask->done(ask);
    else
        shard_answer(here, &ask->priv.mail, deliver);
}

/* At most log_config.producer_ids_max of them, so it fits a turn. */
static void copy(struct partition_producers *ask, const struct producer_state *state)
{
    if (state->count == 0)
        return;
    ask->list = mem_alloc(state->count * sizeof(*ask->list));
    for (uint32_t i = 0; i < state->count; i++) {
        const struct producer *from = &state->producers[i];
        const struct producer_batch *last =
            from->count > 0 ? &from->batches[(from->first + from->count - 1U) % PRODUCER_REMEMBERED]
                            : NULL;
        ask->list[ask->count++] = (struct partition_producer){
            .id = from->id,
            .epoch = from->epoch,
            .last_sequence = last ? last->last_sequence : -1,
            .last_timestamp = last ? last->timestamp : -1,
            .coordinator_epoch = from->coordinator_epoch,
            .txn_first_offset = from->txn_first_offset,
        };
    }
}

static void answer(struct broker_shard *bs, struct partition_producers *ask)
{
    const struct partition *pt = partition_find(&bs->partitions, &ask->key);
    if (!pt || !pt->log) {
        finish(ask, partition_absence(bs, &ask->key));
    } else if (!pt->leading) {
        finish(ask, ERR_NOT_LEADER_OR_FOLLOWER);
    } else {
        copy(ask, log_producers(pt->log));
        finish(ask, ERR_NONE);
    }
}

static void on_ask(struct shard *here, struct mail *mail)
{
    answer(broker_shard_of(here), container_of(mail, struct partition_producers, priv.mail));
}

void partition_producers_ask(struct broker_shard *from, struct partition_producers *ask)
{
    ask->priv.from = from;
    ask->list = NULL;
    ask->count = 0;
    if (ask->home == from->sh->id)
        answer(from, ask);
    else
        shard_post(from->sh, ask->home, &ask->priv.mail, on_ask);
}
