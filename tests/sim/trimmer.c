/* SPDX-License-Identifier: Apache-2.0
 *
 * The trimmer deletes records: it raises the start of partitions, to an offset that is known to be
 * there or to the high watermark, wherever that is.
 */
#include "net/err.h"
#include "tests/sim/actor.h"
#include "tests/sim/dirs.h"
#include "tests/sim/promises.h"

struct trimmer {
    struct actor actor;
    struct ask ask;
    struct topic_fact *topic;
    uint32_t incarnation;
    int32_t partition;
    int64_t offset;       /* asked for; TO_END */
    int64_t start;        /* of the model, when asked */
    int64_t asked_before; /* start_asked, before this question */
};

#define TO_END (-1)

static struct trimmer *trimmer_of(struct actor *a)
{
    return container_of(a, struct trimmer, actor);
}

static void trimmer_start(struct actor *a)
{
    (void)a;
}

static void take_answer(struct trimmer *tr, const struct delete_records_response_partition *answer)
{
    struct model *m = tr->actor.model;
    struct partition_fact *fact = &tr->topic->partition[tr->partition];
    dirs_answered(m, &tr->ask, answer->error_code, tr->topic, (uint32_t)tr->partition);
    if (model_excuses(m, tr->ask.life, answer->error_code) ||
        promises_excuse(m, tr->topic, answer->error_code))
        return;
    if (answer->error_code != ERR_NONE) {
        wrong(m, "trimming %s-%d to %lld: %s", tr->topic->name, tr->partition,
              (long long)tr->offset, err_name(answer->error_code));
        return;
    }
    if (answer->low_watermark < tr->offset)
        wrong(m, "%s-%d was trimmed to %lld, and begins at %lld", tr->topic->name, tr->partition,
              (long long)tr->offset, (long long)answer->low_watermark);
    if (tr->offset == TO_END && !m->forgets) /* now it is known where that was */
        fact->start_asked = max_i64(tr->asked_before, answer->low_watermark);
    model_start(m, tr->topic, tr->partition, answer->low_watermark, tr->start);
}

static void on_trimmed(struct client *c, struct client_call *call)
{
    struct trimmer *tr = container_of(call, struct trimmer, ask.call);
    struct delete_records_response response;
    (void)c;
    actor_later(&tr->actor, 20 * MS);
    if (!ask_answered(&tr->ask) || !ask_read(&tr->ask, read_delete_records_response, &response))
        return;
    if (response.topics_count != 1 || response.topics[0].partitions_count != 1)
        wrong(tr->actor.model, "DeleteRecords answers something else");
    else if (tr->topic->state == TOPIC_THERE && tr->topic->incarnation == tr->incarnation)
        take_answer(tr, &response.topics[0].partitions[0]);
}

static void trim(struct trimmer *tr)
{
    struct delete_records_request request;
    struct delete_records_request_topic topic;
    struct delete_records_request_partition partition;
    int16_t version = actor_version(&tr->actor, KEY_DELETE_RECORDS, 0);
    init_delete_records_request(&request);
    init_delete_records_request_topic(&topic);
    init_delete_records_request_partition(&partition);
    request.topics = &topic;
    request.topics_count = 1;
    request.timeout_ms = 30000;
    topic.name = str_of(tr->topic->name);
    topic.partitions = &partition;
    topic.partitions_count = 1;
    partition.partition_index = tr->partition;
    partition.offset = tr->offset;
    struct wr *w = ask_begin(&tr->actor, &tr->ask, KEY_DELETE_RECORDS, version);
    write_delete_records_request(w, version, &request);
    ask_send(&tr->ask, on_trimmed);
}

static void trimmer_step(struct actor *a)
{
    struct trimmer *tr = trimmer_of(a);
    struct rng *rng = &a->rng;
    if (tr->ask.under_way)
        return;
    tr->topic = model_topic(a->model, rng);
    if (!tr->topic || a->model->resting) {
        actor_later(a, 20 * MS);
        return;
    }
    tr->incarnation = tr->topic->incarnation;
    tr->partition = (int32_t)rng_below(rng, (uint64_t)tr->topic->partitions);
    struct partition_fact *fact = &tr->topic->partition[tr->partition];
    int64_t room = fact->end - fact->start;
    tr->start = fact->start;
    tr->asked_before = fact->start_asked;
    if (rng_one_in(rng, 6))
        tr->offset = TO_END;
    else if (rng_one_in(rng, 4))
        tr->offset = fact->end;
    else
        tr->offset = fact->start + (int64_t)rng_below(rng, (uint64_t)room / 2 + 1);
    fact->start_asked = tr->offset == TO_END ? INT64_MAX : max_i64(fact->start_asked, tr->offset);
    trim(tr);
}

const struct actor_kind actor_trimmer = {
    .name = "trimmer",
    .size = sizeof(struct trimmer),
    .start = trimmer_start,
    .step = trimmer_step,
};
