/* SPDX-License-Identifier: Apache-2.0
 *
 * A whole broker in a calm simulated world, and a desk from which a test asks it by its protocol:
 * one question after another over as many connections as it likes, with all the time of the world.
 * For tests of what requests do, where the broker's shards, its log and its restarts belong to it.
 */
#pragma once

#include "io/mem.h"
#include "net/client.h"
#include "net/err.h"
#include "net/kafka.h"
#include "tests/sim/node.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define DESK_CONNECTIONS 6U
#define DESK_ADMIN       (DESK_CONNECTIONS - 1) /* may write to internal topics (P11) */
#define DESK_MS          1000000ULL
#define DESK_S           1000000000ULL

struct desk {
    struct world *world;
    struct node node;
    struct process *process;
    struct client clients[DESK_CONNECTIONS];
    struct arena arena; /* of all answers */
    uint32_t ready;
};

/* A question and its answer. */
struct question {
    struct desk *desk;
    unsigned connection;
    int16_t key, version;
    const void *request; /* until it was sent */
    struct client_call call;
    bool sent, done;
    uint8_t *answer;
    uint32_t answer_len;
};

/* ---- connections ---- */

static void desk_on_ready(struct client *c)
{
    ((struct desk *)c->user)->ready++;
}

static void desk_on_lost(struct client *c)
{
    ((struct desk *)c->user)->ready--;
}

static void desk_open(struct shard *sh, void *argument)
{
    struct desk *desk = argument;
    struct client_options options = {.client_id = str_of("desk"),
                                     .software_name = str_of("desk"),
                                     .software_version = str_of("1"),
                                     .answer_bytes_max = 64U << 20,
                                     .connect_timeout_ns = 10 * DESK_S,
                                     .on_ready = desk_on_ready,
                                     .on_lost = desk_on_lost};
    for (unsigned i = 0; i < DESK_CONNECTIONS; i++) {
        if (i == DESK_ADMIN)
            options.client_id = str_of("__admin_client");
        client_init(&desk->clients[i], sh, &options);
        desk->clients[i].user = desk;
    }
}

static void desk_connect(struct shard *sh, void *argument)
{
    struct desk *desk = argument;
    struct io_address address;
    (void)sh;
    machine_address(desk->node.machine, NODE_PORT, &address);
    for (unsigned i = 0; i < DESK_CONNECTIONS; i++)
        if (desk->clients[i].state == CLIENT_IDLE)
            client_connect(&desk->clients[i], &address);
}

static bool desk_node_is_ready(void *argument)
{
    return ((struct desk *)argument)->node.ready;
}

static bool desk_is_connected(void *argument)
{
    return ((struct desk *)argument)->ready == DESK_CONNECTIONS;
}

static bool desk_is_alone(void *argument)
{
    return ((struct desk *)argument)->ready == 0;
}

static bool desk_node_is_gone(void *argument)
{
    return !node_runs(&((struct desk *)argument)->node);
}

static void desk_until(struct desk *desk, bool (*done)(void *argument), void *argument)
{
    assert_true(
        world_run_until(desk->world, done, argument, world_now_ns(desk->world) + 600 * DESK_S));
}

static void desk_pass(struct desk *desk, uint64_t ms)
{
    world_run(desk->world, world_now_ns(desk->world) + ms * DESK_MS);
}

/* ---- lives ---- */

static void desk_broker_start(struct desk *desk, uint16_t shards)
{
    if (!node_start(&desk->node, shards))
        fail_msg("%s", desk->node.failure);
    desk_until(desk, desk_node_is_ready, desk);
    process_call(desk->process, 0, desk_connect, desk);
    desk_until(desk, desk_is_connected, desk);
}

static void desk_broker_stop(struct desk *desk)
{
    node_stop(&desk->node);
    desk_until(desk, desk_node_is_gone, desk);
    assert_int_equal(process_state(desk->node.process), PROCESS_STOPPED);
    assert_int_equal(process_memory(desk->node.process), 0);
    desk_until(desk, desk_is_alone, desk);
}

static inline void desk_broker_crash(struct desk *desk, enum crash crash)
{
    machine_crash(desk->node.machine, crash);
    world_link_reset(desk->world, NULL, NULL); /* a dead machine says nothing */
    desk_until(desk, desk_is_alone, desk);
}

static inline void desk_set(struct desk *desk, const char *name, const char *value)
{
    must(desk->node.setting_count < array_count(desk->node.settings));
    desk->node.settings[desk->node.setting_count++] =
        (struct conf_assignment){.name = name, .value = value};
}

/* A deliberate mistake of the desks that begin from now on; NULL: none. */
static const char *desk_mistake;

/* The broker is not started yet: settings first. */
static void desk_begin(struct desk *desk, uint64_t seed)
{
    struct world_options options;
    world_options_calm(&options, seed);
    options.mutation = desk_mistake;
    memset(desk, 0, sizeof(*desk));
    desk->world = world_new(&options);
    arena_init(&desk->arena, 1U << 30);
    node_init(&desk->node, desk->world, world_machine(desk->world, "node"));
    const struct program program = {
        .name = "desk", .shards = 1, .start = desk_open, .argument = desk};
    desk->process = machine_start(world_machine(desk->world, "desk"), &program);
    assert_non_null(desk->process);
}

static void desk_end(struct desk *desk)
{
    desk_broker_stop(desk);
    world_free(desk->world);
    arena_fini(&desk->arena);
}

/* ---- questions ---- */

static void desk_on_answer(struct client *c, struct client_call *call)
{
    struct question *question = container_of(call, struct question, call);
    (void)c;
    question->done = true;
    if (call->status != CLIENT_ANSWERED)
        return;
    question->answer_len = call->answer.len;
    question->answer = malloc(call->answer.len + 1);
    must(question->answer != NULL);
    struct span rest = call->answer;
    span_take(&rest, question->answer, question->answer_len);
}

static void desk_do_send(struct shard *sh, void *argument)
{
    struct question *question = argument;
    struct client *c = &question->desk->clients[question->connection];
    struct wr *w = client_begin(c, &question->call, question->key, question->version);
    w->budget = UINT32_MAX;
    must(kafka_write(kafka_request_kind(question->key), w, question->version, question->request));
    question->call.done = desk_on_answer;
    must(client_send(c, &question->call, io_now_ns(sh->io) + 3600 * DESK_S));
    question->sent = true;
}

static bool desk_is_sent(void *argument)
{
    return ((struct question *)argument)->sent;
}

static bool desk_is_done(void *argument)
{
    return ((struct question *)argument)->done;
}

static void desk_send(struct desk *desk, struct question *question, unsigned connection,
                      int16_t key, int16_t version, const void *request)
{
    *question = (struct question){
        .desk = desk, .connection = connection, .key = key, .version = version, .request = request};
    process_call(desk->process, 0, desk_do_send, question);
    desk_until(desk, desk_is_sent, question);
}

/* False: it was not answered, the connection ended. */
static bool desk_answer(struct question *question, void *response)
{
    struct desk *desk = question->desk;
    desk_until(desk, desk_is_done, question);
    if (!question->answer)
        return false;
    /* Texts are views: the bytes stay as long as the arena. */
    uint8_t *bytes = arena_alloc(&desk->arena, question->answer_len);
    struct piece *piece = arena_alloc(&desk->arena, sizeof(*piece));
    must(bytes && piece);
    memcpy(bytes, question->answer, question->answer_len);
    free(question->answer);
    struct rd rd;
    rd_init(&rd, span_of(piece, bytes, question->answer_len));
    must(kafka_read(kafka_response_kind(question->key), &rd, &desk->arena, question->version,
                    response));
    return true;
}

static void desk_ask(struct desk *desk, unsigned connection, int16_t key, int16_t version,
                     const void *request, void *response)
{
    struct question *question = calloc(1, sizeof(*question));
    must(question != NULL);
    desk_send(desk, question, connection, key, version, request);
    must(desk_answer(question, response)); /* else the connection ended */
    free(question);
}
