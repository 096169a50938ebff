/* SPDX-License-Identifier: Apache-2.0 */
#include "core/replica/replica_ask.h"

#include "core/broker_address.h"
#include "io/mem.h"
#include "net/kafka.h"

#include <stdio.h>

#define ANSWER_BYTES_MAX (128U << 20) /* one batch may be as large as a request */
#define RECORD_BYTES_MAX (1U << 20)   /* but that one is always whole */
#define VERSION_MIN      15
#define PATIENCE_NS      3000000000ULL

static void end(struct replica_ask *ask)
{
    ask->asking = false;
    ask->done(ask->user);
}

static void on_unreached(struct shard *sh, struct task *task)
{
    (void)sh;
    end(container_of(task, struct replica_ask, unreached));
}

static void take_records(struct replica_ask *ask, struct span records)
{
    ask->len = records.len;
    ask->bytes = mem_alloc(ask->len + 1);
    span_take(&records, ask->bytes, ask->len);
    ask->why = NULL;
}

static void answer_read(struct replica_ask *ask, struct client_call *call)
{
    struct fetch_response response;
    struct rd rd;
    rd_init(&rd, call->answer);
    ask->why = "its answer is none";
    if (!read_fetch_response(&rd, call->arena, call->version, &response))
        return;
    if (response.error_code != ERR_NONE)
        ask->why = err_name(response.error_code);
    if (response.responses_count != 1 || response.responses[0].partitions_count != 1)
        return;
    const struct fetch_response_partition *part = &response.responses[0].partitions[0];
    if (part->error_code != ERR_NONE)
        ask->why = err_name(part->error_code);
    else
        take_records(ask, part->records.span);
}

static void on_answer(struct client *c, struct client_call *call)
{
    struct replica_ask *ask = call->user;
    if (call->status == CLIENT_ANSWERED)
        answer_read(ask, call);
    client_close(c);
}

static void on_ready(struct client *c)
{
    struct replica_ask *ask = c->user;
    const int16_t version = client_version(c, KEY_FETCH, CLIENT_NEWEST);
    struct fetch_request request;
    struct fetch_request_topic topic;
    struct fetch_request_partition partition;
    if (version < VERSION_MIN) {
        client_close(c);
        return;
    }
    init_fetch_request(&request);
    init_fetch_request_topic(&topic);
    init_fetch_request_partition(&partition);
    partition.partition = ask->question.key.partition;
    partition.current_leader_epoch = ask->question.leader_epoch;
    partition.fetch_offset = ask->question.offset;
    partition.partition_max_bytes = RECORD_BYTES_MAX;
    topic.topic_id = ask->question.key.topic_id;
    topic.partitions = &partition;
    topic.partitions_count = 1;
    request.topics = &topic;
    request.topics_count = 1;
    request.session_epoch = -1; /* without a session */
    request.min_bytes = 0;
    request.max_bytes = RECORD_BYTES_MAX;
    struct wr *w = client_begin(c, &ask->call, KEY_FETCH, version);
    (void)write_fetch_request(w, version, &request);
    ask->call.done = on_answer;
    ask->call.user = ask;
    if (!client_send(c, &ask->call, io_now_ns(ask->bs->sh->io) + PATIENCE_NS))
        client_close(c);
}

static void on_lost(struct client *c)
{
    struct replica_ask *ask = c->user;
    if (ask->why == ask->lost)
        (void)snprintf(ask->lost, sizeof(ask->lost), "%s", c->why);
    end(ask);
}

void replica_ask_forget(struct replica_ask *ask)
{
    mem_free(ask->bytes);
    ask->bytes = NULL;
    ask->len = 0;
    ask->why = ask->lost;
}

void replica_ask(struct replica_ask *ask, const struct replica_question *question)
{
    struct io_address address;
    must(!ask->asking);
    replica_ask_forget(ask);
    ask->question = *question;
    ask->asking = true;
    if (broker_address(ask->bs, question->broker, &address)) {
        client_connect(&ask->client, &address);
        return;
    }
    ask->why = "nobody knows where it is reached";
    shard_ready(ask->bs->sh, &ask->unreached);
}

void replica_ask_hurry(struct replica_ask *ask)
{
    client_close(&ask->client);
}

void replica_ask_init(struct replica_ask *ask, struct broker_shard *bs, void (*done)(void *user),
                      void *user)
{
    *ask = (struct replica_ask){.bs = bs, .done = done, .user = user};
    ask->unreached = (struct task){.fn = on_unreached, .name = "replica.ask"};
    broker_client_init(&ask->client, bs->sh,
                       &(struct broker_client){"mend", ANSWER_BYTES_MAX, on_ready, on_lost, ask});
}

void replica_ask_fini(struct replica_ask *ask)
{
    must(!ask->asking);
    replica_ask_forget(ask);
    client_fini(&ask->client);
}
