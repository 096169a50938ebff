/* SPDX-License-Identifier: Apache-2.0
 *
 * Clients of a cluster. Each has one question under way, and a connection to each broker. One asks
 * where the leaders are (makes the topic, and deletes records); producers write to one partition
 * each, consumers read all of them.
 *
 * Producer 3k: not idempotent, what became of a batch is not known after an error, the next one
 * follows. 3k+1: idempotent, the same batch until it is acknowledged. 3k+2: the same with several
 * records per batch. Every fourth batch of a producer 3k asks for acks=1, which promises nothing
 * about others.
 */
#include "tests/sim/cluster_agent.h"

#include "io/mem.h"
#include "net/err.h"
#include "net/kafka.h"

#include <string.h>

#define PATIENCE_NS (3 * S)
#define BATCH_MAX   4U

static bool is_idempotent(const struct agent *a)
{
    return a->number % 3 != 0;
}

void agent_later(struct agent *a, uint64_t within_ns)
{
    timer_set(a->sh, &a->timer, io_now_ns(a->sh->io) + 1 + rng_below(&a->rng, within_ns));
}

/* ---- connections ---- */

static void on_ready(struct client *c)
{
    struct agent *a = c->user;
    if (!a->busy)
        agent_later(a, 100 * US);
}

static void on_lost(struct client *c)
{
    struct agent *a = c->user;
    if (c->status == CLIENT_GARBLED)
        cluster_wrong(&a->cl->facts, "an answer is none: %s", c->why);
    if (!a->busy)
        agent_later(a, 5 * MS);
}

struct client *agent_client(struct agent *a, int32_t broker)
{
    if (broker < 1 || broker > (int32_t)a->cl->count)
        return NULL;
    struct client *c = &a->clients[broker - 1];
    if (c->state == CLIENT_READY)
        return c;
    if (c->state == CLIENT_IDLE) {
        struct io_address address;
        machine_address(a->cl->nodes[broker - 1].machine, NODE_PORT, &address);
        client_connect(c, &address);
    }
    return NULL;
}

void agent_ask(struct agent *a, struct client *c, client_call_fn *done)
{
    a->call.done = done;
    a->call.user = a;
    a->busy = true;
    must(client_send(c, &a->call, io_now_ns(a->sh->io) + PATIENCE_NS));
}

bool agent_answered(struct client_call *call, struct rd *rd)
{
    struct agent *a = call->user;
    a->busy = false;
    if (call->status != CLIENT_ANSWERED)
        return false;
    rd_init(rd, call->answer);
    return true;
}

/* ---- one partition ---- */

void agent_fetch(struct agent *a, struct client *c, const struct agent_fetch *what,
                 client_call_fn *done)
{
    struct fetch_request request;
    struct fetch_request_topic topic;
    struct fetch_request_partition partition;
    int16_t version = what->topic_id ? 15 : 11;
    init_fetch_request(&request);
    init_fetch_request_topic(&topic);
    init_fetch_request_partition(&partition);
    partition.partition = (int32_t)a->partition;
    partition.current_leader_epoch = what->leader_epoch;
    partition.fetch_offset = what->offset;
    partition.partition_max_bytes = 1 << 16;
    topic.topic = str_of(CLUSTER_TOPIC);
    if (what->topic_id)
        topic.topic_id = *what->topic_id;
    topic.partitions = &partition;
    topic.partitions_count = 1;
    request.replica_state.replica_id = what->replica;
    request.replica_state.replica_epoch = what->replica_epoch;
    request.rack_id = str_of(what->rack ? what->rack : "");
    request.max_wait_ms = what->wait_ms;
    request.min_bytes = 1;
    request.topics = &topic;
    request.topics_count = 1;
    struct wr *w = client_begin(c, &a->call, KEY_FETCH, version);
    write_fetch_request(w, version, &request);
    agent_ask(a, c, done);
}

const struct fetch_response_partition *agent_fetched(struct client_call *call,
                                                     struct fetch_response *response)
{
    struct rd rd;
    if (!agent_answered(call, &rd) ||
        !read_fetch_response(&rd, call->arena, call->version, response) ||
        response->responses_count != 1 || response->responses[0].partitions_count != 1)
        return NULL;
    return &response->responses[0].partitions[0];
}

/* ---- the router ---- */

/* Whoever is told to be in sync is told to live, too. */
static void check_in_sync(struct cluster *cl, const struct metadata_response *response,
                          const struct metadata_response_partition *pt)
{
    for (int32_t i = 0; i < pt->isr_nodes_count; i++) {
        bool live = false;
        for (int32_t b = 0; b < response->brokers_count; b++)
            live = live || response->brokers[b].node_id == pt->isr_nodes[i];
        if (!live)
            cluster_wrong(&cl->facts, "partition %d: broker %d is in sync, but no broker",
                          pt->partition_index, pt->isr_nodes[i]);
    }
}

static void take_metadata(struct agent *a, const struct metadata_response *response)
{
    struct cluster *cl = a->cl;
    cl->controller = response->controller_id;
    if (response->topics_count != 1 || response->topics[0].error_code != ERR_NONE)
        return;
    cl->topic_made = true;
    for (int32_t i = 0; i < response->topics[0].partitions_count; i++) {
        const struct metadata_response_partition *pt = &response->topics[0].partitions[i];
        if (pt->partition_index < 0 || pt->partition_index >= (int32_t)CLUSTER_PARTITIONS)
            continue;
        struct cluster_partition *fact = &cl->facts.partition[pt->partition_index];
        check_in_sync(cl, response, pt);
        if (pt->leader_epoch < fact->leader_epoch)
            continue; /* who says so does not know yet; real clients see that, too (KIP-320) */
        fact->leader_epoch = pt->leader_epoch;
        cl->facts.elections += fact->leader != pt->leader_id;
        fact->leader = pt->leader_id;
        fact->replicas = (uint32_t)pt->replica_nodes_count;
        for (int32_t r = 0; r < pt->replica_nodes_count && r < (int32_t)CLUSTER_REPLICAS; r++)
            fact->replica[r] = pt->replica_nodes[r];
        fact->in_sync = (uint32_t)pt->isr_nodes_count;
    }
}

static void on_metadata(struct client *c, struct client_call *call)
{
    struct agent *a = call->user;
    struct metadata_response response;
    struct rd rd;
    (void)c;
    if (agent_answered(call, &rd) &&
        read_metadata_response(&rd, call->arena, call->version, &response))
        take_metadata(a, &response);
    agent_later(a, 20 * MS);
}

static void on_done(struct client *c, struct client_call *call)
{
    struct agent *a = call->user;
    struct rd rd;
    (void)c;
    (void)agent_answered(call, &rd);
    agent_later(a, 20 * MS);
}

/* Everything that is known, or a part; what comes of it is seen by who reads. */
static void delete_records(struct agent *a, struct client *c, uint32_t number)
{
    struct cluster_partition *pt = &a->cl->facts.partition[number];
    struct delete_records_request_partition partition = {.partition_index = (int32_t)number,
                                                         .offset = pt->end};
    struct delete_records_request_topic topic = {
        .name = str_of(CLUSTER_TOPIC), .partitions = &partition, .partitions_count = 1};
    struct delete_records_request request = {
        .topics = &topic, .topics_count = 1, .timeout_ms = 1000};
    if (rng_one_in(&a->rng, 2))
        partition.offset = (int64_t)rng_below(&a->rng, (uint64_t)pt->end + 1);
    pt->deleted = max_i64(pt->deleted, partition.offset);
    a->cl->facts.deletions++;
    struct wr *w = client_begin(c, &a->call, KEY_DELETE_RECORDS, 1);
    write_delete_records_request(w, 1, &request);
    agent_ask(a, c, on_done);
}

static void on_moved(struct client *c, struct client_call *call)
{
    struct agent *a = call->user;
    struct alter_partition_reassignments_response response;
    struct rd rd;
    int16_t error = ERR_NOT_CONTROLLER;
    (void)c;
    if (agent_answered(call, &rd) &&
        read_alter_partition_reassignments_response(&rd, call->arena, call->version, &response) &&
        response.error_code == ERR_NONE && response.responses_count == 1 &&
        response.responses[0].partitions_count == 1)
        error = response.responses[0].partitions[0].error_code;
    a->cl->facts.moves += error == ERR_NONE;
    if (error != ERR_NONE && error != ERR_NOT_CONTROLLER &&
        error != ERR_NO_REASSIGNMENT_IN_PROGRESS)
        cluster_wrong(&a->cl->facts, "a move is answered %s", err_name(error));
    agent_later(a, 20 * MS);
}

/* To some of the brokers, or back. */
static void move(struct agent *a, struct client *c)
{
    int32_t ids[CLUSTER_REPLICAS];
    uint32_t first = (uint32_t)rng_below(&a->rng, a->cl->count);
    uint32_t step = (uint32_t)rng_between(&a->rng, 1, a->cl->count - 1);
    struct alter_partition_reassignments_request request;
    struct alter_partition_reassignments_request_topic topic;
    struct alter_partition_reassignments_request_partition partition;
    init_alter_partition_reassignments_request(&request);
    init_alter_partition_reassignments_request_topic(&topic);
    init_alter_partition_reassignments_request_partition(&partition);
    for (uint32_t i = 0; i < CLUSTER_REPLICAS; i++)
        ids[i] = (int32_t)((first + i * step) % a->cl->count) + 1;
    bool back = rng_one_in(&a->rng, 4);
    partition.partition_index = (int32_t)rng_below(&a->rng, CLUSTER_PARTITIONS);
    partition.replicas = back ? NULL : ids;
    partition.replicas_count = back ? -1 : (int32_t)CLUSTER_REPLICAS;
    topic.name = str_of(CLUSTER_TOPIC);
    topic.partitions = &partition;
    topic.partitions_count = 1;
    request.topics = &topic;
    request.topics_count = 1;
    struct wr *w = client_begin(c, &a->call, KEY_ALTER_PARTITION_REASSIGNMENTS, 0);
    write_alter_partition_reassignments_request(w, 0, &request);
    agent_ask(a, c, on_moved);
}

static void create_topic(struct agent *a, struct client *c)
{
    struct create_topics_request_config configs[] = {
        {.name = str_of("min.insync.replicas"), .value = str_of(a->cl->insync_one ? "1" : "2")},
        {.name = str_of("unclean.leader.election.enable"),
         .value = str_of(a->cl->unclean ? "true" : "false")},
        {.name = str_of("segment.ms"),
         .value = str_of(a->cl->rots ? a->cl->rot.segment_ms : "604800000")},
    };
    struct create_topics_request request;
    struct create_topics_request_topic topic;
    init_create_topics_request(&request);
    init_create_topics_request_topic(&topic);
    topic.name = str_of(CLUSTER_TOPIC);
    topic.num_partitions = CLUSTER_PARTITIONS;
    topic.replication_factor = CLUSTER_REPLICAS;
    topic.configs = configs;
    topic.configs_count = (int32_t)array_count(configs);
    request.topics = &topic;
    request.topics_count = 1;
    struct wr *w = client_begin(c, &a->call, KEY_CREATE_TOPICS, 5);
    write_create_topics_request(w, 5, &request);
    agent_ask(a, c, on_done);
}

static void ask_metadata(struct agent *a, struct client *c)
{
    struct metadata_request request;
    struct metadata_request_topic topic;
    init_metadata_request(&request);
    init_metadata_request_topic(&topic);
    topic.name = str_of(CLUSTER_TOPIC);
    request.topics = &topic;
    request.topics_count = 1;
    struct wr *w = client_begin(c, &a->call, KEY_METADATA, 9);
    write_metadata_request(w, 9, &request);
    agent_ask(a, c, on_metadata);
}

static void router_step(struct agent *a)
{
    struct cluster *cl = a->cl;
    if (!cl->topic_made && rng_one_in(&a->rng, 2)) {
        struct client *controller = agent_client(a, cl->controller);
        if (controller) {
            create_topic(a, controller);
            return;
        }
    }
    if (cl->deletes && cl->topic_made && !cl->resting && rng_one_in(&a->rng, 8)) {
        uint32_t number = (uint32_t)rng_below(&a->rng, CLUSTER_PARTITIONS);
        struct client *leader = agent_client(a, cl->facts.partition[number].leader);
        if (leader) {
            delete_records(a, leader, number);
            return;
        }
    }
    if (cl->moves && cl->topic_made && !cl->resting && rng_one_in(&a->rng, 12)) {
        struct client *controller = agent_client(a, cl->controller);
        if (controller) {
            move(a, controller);
            return;
        }
    }
    struct client *c = agent_client(a, (int32_t)rng_between(&a->rng, 1, cl->count));
    if (c)
        ask_metadata(a, c);
    else
        agent_later(a, 5 * MS);
}

/* ---- producers ---- */

static uint64_t value_of(const struct agent *a, uint32_t number)
{
    return (uint64_t)a->number << 32 | number;
}

static void batch_forget(struct agent *a, bool done)
{
    if (done) {
        a->value += a->count;
        a->sequence += (int32_t)a->count;
    }
    mem_free(a->bytes);
    a->bytes = NULL;
    a->count = 0;
}

/* What a leader from outside the set does not have. The producer begins anew, with the same values:
 * none of them is in that leader's log. But they may be in the log of one that leads later, which
 * cannot tell that they are the same: from here on they may be there twice. */
static bool has_forgotten(struct agent *a, int16_t error)
{
    if (!a->cl->unclean || !is_idempotent(a) || error != ERR_OUT_OF_ORDER_SEQUENCE_NUMBER)
        return false;
    a->cl->facts.partition[a->partition].begun_anew[a->number % (CLUSTER_PRODUCERS + 1)] = true;
    a->producer_id = -1;
    a->sequence = 0;
    batch_forget(a, false);
    return true;
}

static bool may_come_again(int16_t error)
{
    switch (error) {
    case ERR_NOT_LEADER_OR_FOLLOWER:
    case ERR_UNKNOWN_TOPIC_OR_PARTITION:
    case ERR_REQUEST_TIMED_OUT:
    case ERR_NOT_ENOUGH_REPLICAS:
    case ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND:
    case ERR_KAFKA_STORAGE_ERROR:
        return true;
    default:
        return false;
    }
}

static void take_produced(struct agent *a, const struct produce_response_partition *answer)
{
    if (answer->error_code != ERR_NONE) {
        if (has_forgotten(a, answer->error_code))
            return;
        if (!may_come_again(answer->error_code))
            cluster_wrong(
                &a->cl->facts, "producer %u, values %u to %u, partition %u of broker %d: %s",
                a->number, a->value, a->value + a->count - 1, a->partition,
                a->cl->facts.partition[a->partition].leader, err_name(answer->error_code));
        if (!is_idempotent(a))
            batch_forget(a, true);
        return;
    }
    for (uint32_t i = 0; i < a->count && a->acks == -1; i++)
        cluster_acked(a->cl, a->partition, answer->base_offset + i, value_of(a, a->value + i));
    batch_forget(a, true);
}

static void on_produced(struct client *c, struct client_call *call)
{
    struct agent *a = call->user;
    struct produce_response response;
    struct rd rd;
    (void)c;
    if (agent_answered(call, &rd) &&
        read_produce_response(&rd, call->arena, call->version, &response) &&
        response.responses_count == 1 && response.responses[0].partition_responses_count == 1)
        take_produced(a, &response.responses[0].partition_responses[0]);
    else if (!is_idempotent(a))
        batch_forget(a, true);
    agent_later(a, 30 * MS);
}

static void batch_make(struct agent *a)
{
    const uint8_t *bytes;
    a->count = a->number % 3 == 1 ? 1 : (uint32_t)rng_between(&a->rng, 1, BATCH_MAX);
    a->acks = !is_idempotent(a) && rng_one_in(&a->rng, 4) ? 1 : -1;
    batch_builder_start(&a->builder);
    for (uint32_t i = 0; i < a->count; i++) {
        uint64_t value = value_of(a, a->value + i);
        batch_builder_add(&a->builder, io_wall_ms(a->sh->io), BYTES_NULL,
                          (struct bytes_or_null){&value, sizeof(value)}, NULL, 0);
    }
    if (is_idempotent(a)) {
        a->builder.header.producer_id = a->producer_id;
        a->builder.header.producer_epoch = 0;
        a->builder.header.base_sequence = a->sequence;
    }
    size_t len = batch_builder_finish(&a->builder, NULL, CODEC_NONE, 0, &bytes);
    a->bytes = memcpy(mem_alloc(len), bytes, len);
}

static void produce(struct agent *a, struct client *c)
{
    struct batch_header header;
    struct piece piece;
    struct span span = span_of(&piece, a->bytes, BATCH_HEADER_SIZE);
    must(batch_header_read(&header, &span));
    struct produce_request_partition partition = {
        .index = (int32_t)a->partition,
        .records = records_ref((uint32_t)batch_size(&header), (uintptr_t)a->bytes)};
    struct produce_request_topic topic = {
        .name = str_of(CLUSTER_TOPIC), .partition_data = &partition, .partition_data_count = 1};
    struct produce_request request = {.transactional_id = str_null(),
                                      .acks = a->acks,
                                      .timeout_ms = 1000,
                                      .topic_data = &topic,
                                      .topic_data_count = 1};
    struct wr *w = client_begin(c, &a->call, KEY_PRODUCE, 9);
    write_produce_request(w, 9, &request);
    agent_ask(a, c, on_produced);
}

static void on_producer_id(struct client *c, struct client_call *call)
{
    struct agent *a = call->user;
    struct init_producer_id_response response;
    struct rd rd;
    (void)c;
    if (agent_answered(call, &rd) &&
        read_init_producer_id_response(&rd, call->arena, call->version, &response)) {
        if (response.error_code == ERR_NONE)
            a->producer_id = response.producer_id;
        else if (response.error_code != ERR_COORDINATOR_LOAD_IN_PROGRESS)
            cluster_wrong(&a->cl->facts, "a producer gives up: InitProducerId is answered %s",
                          err_name(response.error_code));
    }
    agent_later(a, 10 * MS);
}

static void ask_producer_id(struct agent *a, struct client *c)
{
    struct init_producer_id_request request;
    init_init_producer_id_request(&request);
    request.transactional_id = str_null();
    request.transaction_timeout_ms = 60000;
    struct wr *w = client_begin(c, &a->call, KEY_INIT_PRODUCER_ID, 3);
    write_init_producer_id_request(w, 3, &request);
    agent_ask(a, c, on_producer_id);
}

static bool has_values(const struct agent *a)
{
    return a->value + BATCH_MAX < CLUSTER_VALUES_MAX;
}

static void producer_step(struct agent *a)
{
    struct cluster *cl = a->cl;
    bool may_begin = cl->topic_made && !cl->resting && has_values(a);
    if (a->count == 0 && !may_begin) {
        agent_later(a, 50 * MS);
        return;
    }
    struct client *c = agent_client(a, cl->facts.partition[a->partition].leader);
    if (!c) {
        agent_later(a, 5 * MS);
        return;
    }
    if (is_idempotent(a) && a->producer_id < 0) {
        ask_producer_id(a, c);
        return;
    }
    if (a->count == 0) {
        batch_make(a);
        cl->values += a->count;
    }
    produce(a, c);
}

/* ---- consumers ---- */

static void take_batch(struct agent *a, struct span batch)
{
    struct record_iter iter;
    struct inflater inflater;
    struct record record;
    inflater_init(&inflater);
    if (!record_iter_init(&iter, &inflater, batch, 1U << 20)) {
        inflater_fini(&inflater);
        return;
    }
    while (record_iter_next(&iter, &record) == RECORD_READY) {
        uint64_t value = 0;
        if (record.value_len == (int32_t)sizeof(value))
            memcpy(&value, record.value, sizeof(value));
        if (record.offset < a->offset)
            continue;
        cluster_seen(a->cl, a->partition, record.offset, value);
        a->cl->facts.reads++;
        if (a->reckons && !a->cl->facts.failed)
            a->cl->facts.partition[a->partition].read_back[record.offset] = true;
        a->offset = record.offset + 1;
    }
    record_iter_fini(&iter);
    inflater_fini(&inflater);
}

static void take_fetched(struct agent *a, const struct fetch_response_partition *answer)
{
    struct span rest = answer->records.span;
    struct batch_header header;
    int64_t start = answer->log_start_offset;
    if (answer->error_code == ERR_OFFSET_OUT_OF_RANGE && a->cl->unclean)
        a->offset = max_i64(start, 0);
    else if (answer->error_code == ERR_OFFSET_OUT_OF_RANGE && start > a->offset &&
             start <= a->cl->facts.partition[a->partition].deleted)
        a->offset = start;
    else if (answer->error_code == ERR_OFFSET_OUT_OF_RANGE &&
             a->asked == a->cl->facts.partition[a->partition].leader)
        cluster_wrong(&a->cl->facts,
                      "partition %u: offset %lld that was read up to is out of range", a->partition,
                      (long long)a->offset);
    a->near = answer->error_code == ERR_NONE ? answer->preferred_read_replica : -1;
    if (answer->error_code != ERR_NONE || answer->records.kind != RECORDS_SPAN)
        return;
    while (batch_header_read(&header, &rest) && batch_size(&header) <= rest.len) {
        uint32_t size = (uint32_t)batch_size(&header);
        take_batch(a, span_first(rest, size));
        span_advance(&rest, size);
    }
}

static void on_fetched(struct client *c, struct client_call *call)
{
    struct agent *a = call->user;
    struct fetch_response response;
    const struct fetch_response_partition *answer = agent_fetched(call, &response);
    (void)c;
    if (answer)
        take_fetched(a, answer);
    if (a->reckons && a->upto >= 0 && a->offset >= a->upto) {
        a->reckons = false;
        a->cl->reckoning--;
    }
    if (!a->reckons && rng_one_in(&a->rng, 10)) /* again from somewhere: is it the same? */
        a->offset = (int64_t)rng_below(&a->rng, (uint64_t)a->offset + 1);
    agent_later(a, 20 * MS);
}

static void fetch(struct agent *a, struct client *c)
{
    const bool says = a->cl->racks && !a->reckons;
    agent_fetch(a, c,
                &(struct agent_fetch){.offset = a->offset,
                                      .leader_epoch = -1,
                                      .wait_ms = a->reckons ? 0 : 20,
                                      .replica = -1,
                                      .rack = says ? CLUSTER_RACK(a->number) : NULL},
                on_fetched);
}

/* The leader; or a follower, because the leader has named it, or by mistake: what it serves is
 * committed, too. (Who believes to lead, and does not, may not know of what was read.) */
static int32_t served_by(struct agent *a)
{
    if (a->reckons)
        return a->cl->facts.partition[a->partition].leader;
    if (a->near >= 0)
        return a->near;
    if (rng_one_in(&a->rng, 8))
        return 1 + (int32_t)rng_below(&a->rng, a->cl->count);
    return a->cl->facts.partition[a->partition].leader;
}

static void on_end(struct client *c, struct client_call *call)
{
    struct agent *a = call->user;
    struct list_offsets_response response;
    struct rd rd;
    (void)c;
    if (agent_answered(call, &rd) &&
        read_list_offsets_response(&rd, call->arena, call->version, &response) &&
        response.topics_count == 1 && response.topics[0].partitions_count == 1 &&
        response.topics[0].partitions[0].error_code == ERR_NONE)
        a->upto = response.topics[0].partitions[0].offset;
    agent_later(a, 5 * MS);
}

static void ask_end(struct agent *a, struct client *c)
{
    struct list_offsets_request request;
    struct list_offsets_request_topic topic;
    struct list_offsets_request_partition partition;
    init_list_offsets_request(&request);
    init_list_offsets_request_topic(&topic);
    init_list_offsets_request_partition(&partition);
    request.replica_id = -1;
    partition.partition_index = (int32_t)a->partition;
    partition.timestamp = -1;
    topic.name = str_of(CLUSTER_TOPIC);
    topic.partitions = &partition;
    topic.partitions_count = 1;
    request.topics = &topic;
    request.topics_count = 1;
    struct wr *w = client_begin(c, &a->call, KEY_LIST_OFFSETS, 5);
    write_list_offsets_request(w, 5, &request);
    agent_ask(a, c, on_end);
}

static void consumer_step(struct agent *a)
{
    if (a->shall_reckon) {
        a->shall_reckon = false;
        a->reckons = true;
        a->offset = 0;
        a->upto = -1;
    }
    a->asked = served_by(a);
    struct client *c = agent_client(a, a->asked);
    if (!c)
        a->near = -1;
    if (!c || !a->cl->topic_made)
        agent_later(a, 5 * MS);
    else if (a->reckons && a->upto < 0)
        ask_end(a, c);
    else
        fetch(a, c);
}

/* ---- the program ---- */

static void on_timer(struct shard *sh, struct timer *timer)
{
    struct agent *a = container_of(timer, struct agent, timer);
    (void)sh;
    if (a->cl->facts.failed || a->busy)
        return;
    if (a->kind == AGENT_ROUTER)
        router_step(a);
    else if (a->kind == AGENT_PRODUCER)
        producer_step(a);
    else if (a->kind == AGENT_CONSUMER)
        consumer_step(a);
    else if (a->kind == AGENT_GHOST)
        ghost_step(a);
    else
        operator_step(a);
}

static void agent_new(struct cluster *cl, struct shard *sh, enum agent_kind kind, uint32_t number)
{
    struct agent *a = mem_zalloc(sizeof(*a));
    const struct client_options options = {.client_id = str_of("cluster"),
                                           .software_name = str_of("simulation"),
                                           .software_version = str_of("1"),
                                           .answer_bytes_max = 8U << 20,
                                           .connect_timeout_ns = 2 * S,
                                           .on_ready = on_ready,
                                           .on_lost = on_lost};
    a->cl = cl;
    a->kind = kind;
    a->number = number;
    a->sh = sh;
    a->rng = rng_split(&cl->rng);
    a->partition = number % CLUSTER_PARTITIONS;
    a->producer_id = -1;
    a->value = 1;
    a->upto = -1;
    a->near = -1;
    a->timer = (struct timer){.fn = on_timer, .name = "cluster.client"};
    batch_builder_init(&a->builder);
    for (uint32_t i = 0; i < cl->count; i++) {
        client_init(&a->clients[i], sh, &options);
        a->clients[i].user = a;
    }
    must(cl->agent_count < array_count(cl->agents));
    cl->agents[cl->agent_count++] = a;
    agent_later(a, MS);
}

static void clients_begin(struct shard *sh, void *prepared)
{
    struct cluster *cl = prepared;
    agent_new(cl, sh, AGENT_ROUTER, 0);
    for (uint32_t i = 1; i <= CLUSTER_PRODUCERS; i++)
        agent_new(cl, sh, AGENT_PRODUCER, i);
    for (uint32_t i = 0; i < CLUSTER_PARTITIONS; i++)
        agent_new(cl, sh, AGENT_CONSUMER, i);
    agent_new(cl, sh, AGENT_GHOST, 0);
    if (cl->mixed)
        agent_new(cl, sh, AGENT_OPERATOR, 0);
}

void cluster_clients_start(struct cluster *cl)
{
    const struct program program = {
        .name = "clients", .shards = 1, .start = clients_begin, .argument = cl};
    must(machine_start(world_machine(cl->world, "clients"), &program) != NULL);
}

const char *cluster_clients_busy(const struct cluster *cl)
{
    for (uint32_t i = 0; i < cl->agent_count; i++) {
        const struct agent *a = cl->agents[i];
        if (a->kind == AGENT_PRODUCER && (a->count > 0 || a->busy))
            return "a producer";
    }
    return cl->reckoning > 0 ? "a consumer that reads back" : NULL;
}

bool cluster_clients_write(const struct cluster *cl, uint32_t partition)
{
    for (uint32_t i = 0; i < cl->agent_count; i++) {
        const struct agent *a = cl->agents[i];
        if (a->kind == AGENT_PRODUCER && a->partition == partition && has_values(a))
            return true;
    }
    return false;
}

void cluster_clients_reckon(struct cluster *cl)
{
    for (uint32_t i = 0; i < cl->agent_count; i++) {
        struct agent *a = cl->agents[i];
        if (a->kind != AGENT_CONSUMER)
            continue;
        a->shall_reckon = true; /* when the question under way is answered */
        cl->reckoning++;
    }
}
