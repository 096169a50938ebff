/* SPDX-License-Identifier: Apache-2.0
 *
 * millrace-cost LOAD: a broker of one shard in a calm simulated world, always of the same seed, and
 * requests of one kind, so many that tests/cost/run can divide what they cost. Only the broker's
 * turns go through counted_turn(), where callgrind counts: not its start, not the requests before
 * it is in its stride, not the client.
 */
#include "tests/unit/sim/desk_topics.h"

#include <stdio.h>

#define SEED       20261130U
#define WARM       200U
#define MEASURED   400U
#define FLIGHT_MAX 16U
#define PARTS_MAX  12

struct load {
    const char *name;
    int16_t key;
    uint32_t in_flight; /* requests, over four connections */
    int32_t partitions; /* a produce is for one of them, a fetch for all */
    size_t record_bytes;
};

static const struct load loads[] = {
    {"produce-1k-alone", KEY_PRODUCE, 1, 1, 1 << 10},
    {"produce-1k-many", KEY_PRODUCE, FLIGHT_MAX, PARTS_MAX, 1 << 10},
    {"produce-16k-many", KEY_PRODUCE, FLIGHT_MAX, PARTS_MAX, 16 << 10},
    {"fetch-1k-alone", KEY_FETCH, 1, 1, 1 << 10},
    {"fetch-1k-many", KEY_FETCH, FLIGHT_MAX, 1, 1 << 10},
    {"fetch-12-partitions", KEY_FETCH, 1, PARTS_MAX, 16 << 10},
};

/* ---- what is counted ---- */

bool __real_shard_turn(struct shard *sh); /* the linker's name (--wrap) */
bool __wrap_shard_turn(struct shard *sh);
bool counted_turn(struct shard *sh);

static const struct shard_group *counted; /* NULL: nobody's turns */

__attribute__((noinline)) bool counted_turn(struct shard *sh)
{
    bool more = __real_shard_turn(sh);
    __asm__ volatile("" ::: "memory"); /* it returns here: no tail call */
    return more;
}

bool __wrap_shard_turn(struct shard *sh)
{
    return sh->group == counted ? counted_turn(sh) : __real_shard_turn(sh);
}

/* ---- requests ---- */

static uint8_t batch[32 << 10];
static size_t batch_len;

static void batch_make(size_t record_bytes)
{
    struct batch_builder builder;
    const uint8_t *bytes;
    batch_builder_init(&builder);
    batch_builder_start(&builder);
    batch_builder_add(&builder, 1700000000000, BYTES_NULL,
                      (struct bytes_or_null){batch, (int32_t)record_bytes}, NULL, 0);
    batch_len = batch_builder_finish(&builder, NULL, CODEC_NONE, 0, &bytes);
    must(batch_len <= sizeof(batch));
    memcpy(batch, bytes, batch_len);
    batch_builder_fini(&builder);
}

static void produce_send(struct desk *desk, struct question *question, unsigned connection,
                         int32_t partition)
{
    struct one_batch one;
    struct produce_request request = produce_request_of(&one, "t", partition, batch, batch_len);
    desk_send(desk, question, connection, KEY_PRODUCE, 12, &request);
}

static void fetch_send(struct desk *desk, struct question *question, unsigned connection,
                       int32_t partitions)
{
    struct fetch_request_topic topic;
    struct fetch_request_partition parts[PARTS_MAX];
    struct fetch_request request = fetch_request_of(&topic, parts, partitions, "t");
    desk_send(desk, question, connection, KEY_FETCH, 12, &request);
}

static void fetch_check(struct question *question, int32_t partitions)
{
    struct fetch_response response;
    must(desk_answer(question, &response));
    must(response.responses_count == 1 && response.responses[0].partitions_count == partitions);
    for (int32_t i = 0; i < partitions; i++)
        must(response.responses[0].partitions[i].records.span.len == batch_len);
}

/* Of `count` requests; a multiple of what is in flight. */
static void requests(struct desk *desk, const struct load *load, uint32_t count)
{
    struct question questions[FLIGHT_MAX];
    for (uint32_t done = 0; done < count; done += load->in_flight) {
        for (uint32_t i = 0; i < load->in_flight; i++) {
            if (load->key == KEY_PRODUCE)
                produce_send(desk, &questions[i], i % 4,
                             (int32_t)((done + i) % (uint32_t)load->partitions));
            else
                fetch_send(desk, &questions[i], i % 4, load->partitions);
        }
        for (uint32_t i = 0; i < load->in_flight; i++) {
            if (load->key == KEY_PRODUCE)
                must(produce_answer(&questions[i]).error_code == ERR_NONE);
            else
                fetch_check(&questions[i], load->partitions);
        }
        arena_reset(&desk->arena);
    }
}

/* ---- a load ---- */

/* Sizes as on a real machine, not those of the simulation, where every limit is met all the time.
 */
static void node_grow(struct node *node)
{
    node->tail_bytes = 12U << 20;
    node->journal_bytes = 16U << 20;
    node->segment_bytes = 64 << 20;
    node->open_files_max = 64;
    node->bypass_bytes = 64 << 10;
    node->sessions_max = 100;
    node->retention_bytes = -1;
}

static void play(const struct load *load)
{
    struct desk desk;
    desk_begin(&desk, SEED);
    node_grow(&desk.node);
    desk_broker_start(&desk, 1);
    must(topic_ask(&desk, "t", load->partitions) == ERR_NONE);
    desk_pass(&desk, 100);
    batch_make(load->record_bytes);
    for (int32_t i = 0; load->key == KEY_FETCH && i < load->partitions; i++) {
        struct question question;
        produce_send(&desk, &question, 0, i);
        must(produce_answer(&question).error_code == ERR_NONE);
    }
    requests(&desk, load, WARM / load->in_flight * load->in_flight);
    counted = process_shard(desk.node.process, 0)->group;
    requests(&desk, load, MEASURED);
    counted = NULL;
    desk_end(&desk);
}

/* Without a word: each load, and how many of its requests are counted. */
int main(int argc, char **argv)
{
    for (unsigned i = 0; i < array_count(loads); i++) {
        if (argc < 2)
            printf("%s %u\n", loads[i].name, MEASURED);
        else if (strcmp(argv[1], loads[i].name) == 0) {
            play(&loads[i]);
            return 0;
        }
    }
    return argc < 2 ? 0 : 2;
}
