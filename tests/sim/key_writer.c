/* SPDX-License-Identifier: Apache-2.0
 *
 * Writes records with keys, a few at a time, each batch once: what was not acknowledged may be
 * there or not.
 */
#include <string.h>

#include "io/mem.h"
#include "net/err.h"
#include "tests/sim/actor.h"
#include "tests/sim/keyed.h"

struct key_writer {
    struct actor actor;
    struct ask ask;
    uint32_t first; /* of the batch under way */
    uint32_t count;
    uint8_t *bytes;
    struct batch_builder builder;
    struct deflater deflater;
};

static struct key_writer *writer_of(struct actor *a)
{
    return container_of(a, struct key_writer, actor);
}

static void writer_start(struct actor *a)
{
    batch_builder_init(&writer_of(a)->builder);
    deflater_init(&writer_of(a)->deflater);
}

static void take_answer(struct key_writer *kw, const struct produce_response_partition *answer)
{
    struct model *m = kw->actor.model;
    if (!keyed_is_valid(m, kw->first) || model_excuses(m, kw->ask.life, answer->error_code))
        return;
    if (answer->error_code != ERR_NONE)
        wrong(m, "record %u: %s (%.*s)", kw->first, err_name(answer->error_code),
              answer->error_message.len > 0 ? answer->error_message.len : 0,
              answer->error_message.data);
    else
        keyed_acked(m, kw->first, kw->count, answer->base_offset);
}

static void on_produced(struct client *c, struct client_call *call)
{
    struct key_writer *kw = container_of(call, struct key_writer, ask.call);
    struct produce_response response;
    (void)c;
    mem_free(kw->bytes);
    kw->bytes = NULL;
    actor_later(&kw->actor, rng_one_in(&kw->actor.rng, 3) ? 0 : 500 * US);
    if (!ask_answered(&kw->ask) || !ask_read(&kw->ask, read_produce_response, &response))
        return;
    if (response.responses_count != 1 || response.responses[0].partition_responses_count != 1)
        wrong(kw->actor.model, "Produce answers something else");
    else
        take_answer(kw, &response.responses[0].partition_responses[0]);
}

static void produce(struct key_writer *kw, const struct topic_fact *topic, int32_t index)
{
    static const enum codec codecs[] = {CODEC_NONE, CODEC_GZIP, CODEC_SNAPPY, CODEC_LZ4};
    struct actor *a = &kw->actor;
    const uint8_t *bytes;
    keyed_batch(a->model, kw->first, kw->count, &kw->builder);
    enum codec codec = rng_one_in(&a->rng, 3) ? codecs[rng_below(&a->rng, 4)] : CODEC_NONE;
    size_t len = batch_builder_finish(&kw->builder, &kw->deflater, codec, 1, &bytes);
    kw->bytes = memcpy(mem_alloc(len), bytes, len);
    struct produce_request_partition partition = {
        .index = index, .records = records_ref((uint32_t)len, (uintptr_t)kw->bytes)};
    struct produce_request_topic one = {.name = str_of(topic->name),
                                        .topic_id = topic->id,
                                        .partition_data = &partition,
                                        .partition_data_count = 1};
    struct produce_request request = {.transactional_id = str_null(),
                                      .acks = -1,
                                      .timeout_ms = 30000,
                                      .topic_data = &one,
                                      .topic_data_count = 1};
    int16_t version = actor_version(a, KEY_PRODUCE, 3);
    struct wr *w = ask_begin(a, &kw->ask, KEY_PRODUCE, version);
    write_produce_request(w, version, &request);
    ask_send(&kw->ask, on_produced);
}

static void writer_step(struct actor *a)
{
    struct key_writer *kw = writer_of(a);
    struct rng *rng = &a->rng;
    struct topic_fact *topic = model_topic(a->model, rng);
    if (kw->ask.under_way)
        return;
    if (!topic || a->model->resting || a->model->operations > a->model->operations_max) {
        actor_later(a, a->model->resting ? S : 20 * MS);
        return;
    }
    int32_t partition = (int32_t)rng_below(rng, (uint64_t)topic->partitions);
    kw->count = (uint32_t)rng_between(rng, 1, KEYED_BATCH_MAX);
    kw->first = keyed_draw(a->model, rng, topic, partition, kw->count);
    if (kw->first == 0)
        actor_later(a, S);
    else
        produce(kw, topic, partition);
}

static bool writer_busy(const struct actor *a)
{
    return container_of(no_const(a), struct key_writer, actor)->ask.under_way;
}

const struct actor_kind actor_key_writer = {
    .name = "key writer",
    .size = sizeof(struct key_writer),
    .start = writer_start,
    .step = writer_step,
    .busy = writer_busy,
};
