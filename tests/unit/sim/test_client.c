/* SPDX-License-Identifier: Apache-2.0
 *
 * The client against a broker that was written for this test: it knows ApiVersions up to version 2
 * and answers Metadata requests whose body says how: with how many bytes, not at all, or wrongly.
 */
#include "net/client.h"

#include "io/sim/sim.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "io/mem.h"

#include <cmocka.h>

#define PORT            9092
#define MILLISECOND     1000000ULL
#define SECOND          1000000000ULL
#define ANSWER_MAX      (1U << 20)
#define CALLS_IN_FLIGHT 8U

enum wish { ANSWER, SWALLOW, GARBLE, SILENT };

/* ---- the broker ---- */

struct peer {
    struct io *io;
    int socket;
    struct io_recv recv;
    struct io_op send;
    struct iovec iov;
    uint8_t *in, *out, *leaving;
    uint32_t in_len, out_len;
    bool receiving, sending, ending;
};

static void put_i32(uint8_t *to, int32_t value)
{
    uint32_t bits = __builtin_bswap32((uint32_t)value);
    memcpy(to, &bits, sizeof(bits));
}

static int32_t get_i32(const uint8_t *from)
{
    uint32_t bits;
    memcpy(&bits, from, sizeof(bits));
    return (int32_t)__builtin_bswap32(bits);
}

static int16_t get_i16(const uint8_t *from)
{
    return (int16_t)(from[0] << 8 | from[1]);
}

static void peer_end(struct peer *peer)
{
    if (peer->receiving || peer->sending) {
        if (!peer->ending)
            io_shutdown(peer->io, peer->socket);
        peer->ending = true;
        return;
    }
    io_close(peer->io, peer->socket);
    mem_free(peer->in);
    mem_free(peer->out);
    mem_free(peer->leaving);
    mem_free(peer);
}

static uint8_t *peer_room(struct peer *peer, uint32_t len)
{
    peer->out = mem_realloc(peer->out, peer->out_len + len);
    peer->out_len += len;
    return peer->out + peer->out_len - len;
}

/* Version 0 to 2 alike but for the throttle time: error, then keys 18 (0-2) and 3 (5-8). */
static void answer_versions(struct peer *peer, int32_t correlation_id, int16_t version)
{
    bool known = version <= 2;
    bool throttle = known && version >= 1;
    static const uint8_t keys[] = {0, 18, 0, 0, 0, 2, 0, 3, 0, 5, 0, 8};
    uint32_t len = 4 + 2 + 4 + sizeof(keys) + (throttle ? 4 : 0);
    uint8_t *to = peer_room(peer, 4 + len);
    memset(to, 0, 4 + len);
    put_i32(to, (int32_t)len);
    put_i32(to + 4, correlation_id);
    to[9] = known ? 0 : 35;
    put_i32(to + 10, 2);
    memcpy(to + 14, keys, sizeof(keys));
}

static void answer(struct peer *peer, const uint8_t *frame, int32_t len)
{
    int32_t correlation_id = get_i32(frame + 4);
    if (get_i16(frame) == KEY_API_VERSIONS) {
        answer_versions(peer, correlation_id, get_i16(frame + 2));
        return;
    }
    const uint8_t *body = frame + 8 + 2 + get_i16(frame + 8);
    must(body + 12 == frame + len);
    int32_t number = get_i32(body);
    int32_t answer_len = get_i32(body + 4);
    enum wish wish = (enum wish)get_i32(body + 8);
    if (wish == SWALLOW || wish == SILENT)
        return;
    uint8_t *to = peer_room(peer, (uint32_t)answer_len + 12);
    put_i32(to, wish == GARBLE ? INT32_MAX : answer_len + 8);
    put_i32(to + 4, correlation_id);
    put_i32(to + 8, number);
    memset(to + 12, number & 0xff, (size_t)answer_len);
}

static void peer_send(struct peer *peer)
{
    if (peer->sending || peer->out_len == 0)
        return;
    mem_free(peer->leaving);
    peer->leaving = peer->out;
    peer->iov = (struct iovec){.iov_base = peer->leaving, .iov_len = peer->out_len};
    peer->out = NULL;
    peer->out_len = 0;
    peer->sending = true;
    io_send(peer->io, &peer->send, peer->socket, &peer->iov, 1);
}

static void peer_on_sent(struct io_op *op)
{
    struct peer *peer = container_of(op, struct peer, send);
    peer->sending = false;
    if (op->res < 0 || peer->ending)
        peer_end(peer);
    else
        peer_send(peer);
}

static void peer_on_received(struct io_op *op)
{
    struct peer *peer = container_of(op, struct peer, recv.op);
    peer->receiving = false;
    if (op->res <= 0 || peer->ending) {
        if (peer->recv.block)
            io_block_put(peer->io, peer->recv.block);
        peer_end(peer);
        return;
    }
    uint32_t got = (uint32_t)op->res;
    peer->in = mem_realloc(peer->in, peer->in_len + got);
    memcpy(peer->in + peer->in_len, peer->recv.block->data, got);
    io_block_put(peer->io, peer->recv.block);
    peer->in_len += got;
    uint32_t at = 0;
    while (peer->in_len - at >= 4 && (int32_t)(peer->in_len - at) - 4 >= get_i32(peer->in + at)) {
        answer(peer, peer->in + at + 4, get_i32(peer->in + at));
        at += 4 + (uint32_t)get_i32(peer->in + at);
    }
    memmove(peer->in, peer->in + at, peer->in_len - at);
    peer->in_len -= at;
    peer_send(peer);
    peer->receiving = true;
    io_recv(peer->io, &peer->recv, peer->socket);
}

struct server {
    struct io_op accept;
    struct shard *sh;
    int listener;
};

static void server_on_accept(struct io_op *op)
{
    struct server *server = container_of(op, struct server, accept);
    struct io *io = server->sh->io;
    if (op->res >= 0) {
        struct peer *peer = mem_zalloc(sizeof(*peer));
        peer->io = io;
        peer->socket = (int)op->res;
        peer->recv.op.done = peer_on_received;
        peer->send.done = peer_on_sent;
        peer->receiving = true;
        io_recv(io, &peer->recv, peer->socket);
    }
    io_accept(io, &server->accept, server->listener);
}

static void server_start(struct shard *sh, void *nothing)
{
    (void)nothing;
    struct server *server = mem_zalloc(sizeof(*server));
    const struct io_address address = {.ip = {[10] = 0xff, [11] = 0xff}, .port = PORT};
    const struct io_socket_options options = {0};
    server->sh = sh;
    server->accept.done = server_on_accept;
    server->listener = io_listen(sh->io, &address, &options);
    must(server->listener >= 0);
    io_accept(sh->io, &server->accept, server->listener);
}

/* ---- the asking side: a script outside of the process, and what came of it ---- */

struct step {
    enum wish wish;
    uint32_t answer_len;
    uint64_t patience_ns;
};

struct script {
    struct io_address address;
    const struct step *steps; /* one call each, NULL: any number of ordinary ones */
    uint32_t wanted;          /* answers; then the client closes */
    bool reconnect;
    bool holds_blocks;
    uint32_t receive_blocks; /* of the client; 0: as the world draws */
    struct step step;

    uint32_t begun, ended, answered, lost, timed_out, garbled, refused, wrong;
    uint32_t losses, ready;
    int16_t version;
    bool done;
};

struct asker {
    struct script *script;
    struct shard *sh;
    struct client client;
    struct timer again;
    uint32_t expected; /* no answer of an earlier call may come any more */
};

struct ask {
    struct client_call call;
    struct asker *asker;
    struct step step;
    uint32_t number;
    uint8_t tail[12]; /* referenced by the request */
};

static void ask_more(struct asker *asker);

static void check_answer(struct ask *ask, struct client_call *call)
{
    struct script *script = ask->asker->script;
    struct span rest = call->answer;
    uint8_t number[4];
    if (rest.len != ask->step.answer_len + 4) {
        script->wrong++;
        return;
    }
    span_take(&rest, number, sizeof(number));
    bool good = get_i32(number) == (int32_t)ask->number;
    while (rest.len > 0) {
        uint32_t run;
        const uint8_t *front = span_front(&rest, &run);
        for (uint32_t i = 0; i < run; i++)
            good &= front[i] == (ask->number & 0xff);
        span_advance(&rest, run);
    }
    script->wrong += !good;
}

static void on_asked(struct client *c, struct client_call *call)
{
    (void)c;
    struct ask *ask = container_of(call, struct ask, call);
    struct asker *asker = ask->asker;
    struct script *script = asker->script;
    script->ended++;
    if (!call->silent) { /* those with an answer end in order */
        script->wrong += ask->number < asker->expected;
        asker->expected = ask->number;
    }
    switch (call->status) {
    case CLIENT_ANSWERED:
        script->answered++;
        if (!call->silent)
            check_answer(ask, call);
        break;
    case CLIENT_LOST:
        script->lost++;
        break;
    case CLIENT_TIMED_OUT:
        script->timed_out++;
        break;
    case CLIENT_GARBLED:
        script->garbled++;
        break;
    }
    mem_free(ask);
    ask_more(asker);
}

/* The body's last bytes go by reference, as records do. False: the client refused it. */
static bool ask_try(struct asker *asker, const struct step *step)
{
    struct ask *ask = mem_zalloc(sizeof(*ask));
    ask->asker = asker;
    ask->step = *step;
    ask->number = asker->script->begun;
    ask->call.done = on_asked;
    put_i32(ask->tail, (int32_t)ask->number);
    put_i32(ask->tail + 4, (int32_t)step->answer_len);
    put_i32(ask->tail + 8, (int32_t)step->wish);
    struct client *c = &asker->client;
    struct wr *w = client_begin(c, &ask->call, KEY_METADATA, asker->script->version);
    wr_records_ref(w, sizeof(ask->tail), (uintptr_t)ask->tail);
    uint64_t deadline_ns = io_now_ns(asker->sh->io) + step->patience_ns;
    bool sent = step->wish == SILENT ? client_send_silent(c, &ask->call, deadline_ns)
                                     : client_send(c, &ask->call, deadline_ns);
    asker->script->begun += sent;
    if (!sent)
        mem_free(ask);
    return sent;
}

static void ask_one(struct asker *asker, const struct step *step)
{
    bool sent = ask_try(asker, step);
    must(sent);
}

/* As one asks who does not know yet that the connection is being lost. */
static void ask_late(struct asker *asker)
{
    const struct step steps[] = {{.patience_ns = SECOND}, {.wish = SILENT, .patience_ns = SECOND}};
    for (size_t i = 0; i < array_count(steps); i++) {
        bool sent = ask_try(asker, &steps[i]);
        asker->script->refused += !sent;
        asker->script->wrong += sent;
    }
}

static void ask_more(struct asker *asker)
{
    struct script *script = asker->script;
    if (asker->client.state == CLIENT_READY && script->answered >= script->wanted)
        client_close(&asker->client);
    if (asker->client.state != CLIENT_READY) {
        ask_late(asker);
        return;
    }
    while (asker->client.calls_in_flight < CALLS_IN_FLIGHT && script->begun < script->wanted &&
           script->steps)
        ask_one(asker, &script->steps[script->begun]);
    while (asker->client.calls_in_flight < CALLS_IN_FLIGHT && !script->steps)
        ask_one(asker, &script->step);
}

static void on_ready(struct client *c)
{
    struct asker *asker = c->user;
    asker->script->ready++;
    asker->script->version = client_version(c, KEY_METADATA, CLIENT_NEWEST);
    if (client_version(c, KEY_FETCH, CLIENT_NEWEST) != -1)
        asker->script->wrong++;
    ask_more(asker);
}

static void on_lost(struct client *c)
{
    struct asker *asker = c->user;
    struct script *script = asker->script;
    script->losses++;
    ask_late(asker);
    script->wrong += c->why[0] == 0 || c->calls_in_flight != 0;
    script->done = script->answered >= script->wanted || !script->reconnect;
    if (!script->done) {
        timer_set(asker->sh, &asker->again, io_now_ns(asker->sh->io) + MILLISECOND);
        return;
    }
    struct shard *sh = asker->sh;
    client_fini(c);
    mem_free(asker);
    shard_stop(sh);
}

static void on_again(struct shard *sh, struct timer *timer)
{
    (void)sh;
    struct asker *asker = container_of(timer, struct asker, again);
    client_connect(&asker->client, &asker->script->address);
}

static void asker_start(struct shard *sh, void *script)
{
    struct asker *asker = mem_zalloc(sizeof(*asker));
    const struct client_options options = {
        .client_id = str_of("test"),
        .answer_bytes_max = ANSWER_MAX,
        .holds_blocks = ((struct script *)script)->holds_blocks,
        .connect_timeout_ns = SECOND,
        .on_ready = on_ready,
        .on_lost = on_lost,
    };
    asker->script = script;
    asker->sh = sh;
    asker->again = (struct timer){.fn = on_again, .name = "test.again"};
    client_init(&asker->client, sh, &options);
    asker->client.user = asker;
    client_connect(&asker->client, &asker->script->address);
}

/* ---- a run ---- */

static bool script_is_done(void *script)
{
    return ((struct script *)script)->done;
}

static void play(struct script *script, const struct world_options *options, bool with_server)
{
    struct world *world = world_new(options);
    struct machine *server = world_machine(world, "broker");
    struct machine *client = world_machine(world, "client");
    machine_address(server, PORT, &script->address);
    if (with_server)
        machine_start(server, &(struct program){.shards = 1, .start = server_start});
    struct process *asker =
        machine_start(client, &(struct program){.shards = 1,
                                                .start = asker_start,
                                                .argument = script,
                                                .receive_blocks = script->receive_blocks});
    assert_true(world_run_until(world, script_is_done, script, 600 * SECOND));
    world_run(world, world_now_ns(world) + SECOND);
    assert_int_equal(process_state(asker), PROCESS_STOPPED);
    assert_int_equal(process_memory(asker), 0);
    assert_int_equal(script->wrong, 0);
    assert_int_equal(script->begun, script->ended);
    world_free(world);
}

static void calm(struct script *script, uint32_t wanted, const struct step *steps)
{
    struct world_options options;
    world_options_calm(&options, 11);
    *script = (struct script){
        .steps = steps, .wanted = wanted, .step = {.answer_len = 40, .patience_ns = 5 * SECOND}};
    play(script, &options, true);
}

static void versions_are_agreed_on_after_a_refusal(void **state)
{
    (void)state;
    struct script script;
    calm(&script, 100, NULL);
    assert_int_equal(script.version, 8); /* the broker has 5 to 8, the codec 0 to 13 */
    assert_int_equal(script.ready, 1);
    assert_true(script.answered >= 100);
    assert_int_equal(script.timed_out + script.garbled, 0);
}

static void answers_of_any_size_come_whole(void **state)
{
    (void)state;
    static const struct step steps[] = {
        {.answer_len = 0, .patience_ns = SECOND * 60},
        {.answer_len = 300000, .patience_ns = SECOND * 60},
        {.answer_len = 65536 - 12, .patience_ns = SECOND * 60},
        {.answer_len = 1, .patience_ns = SECOND * 60},
        {.answer_len = ANSWER_MAX - 8, .patience_ns = SECOND * 60},
        {.answer_len = 5, .patience_ns = SECOND * 60},
    };
    struct script script;
    calm(&script, array_count(steps), steps);
    assert_int_equal(script.answered, array_count(steps));
    /* In receive blocks, with enough of them and with so few that what is held is copied after all.
     */
    for (uint32_t blocks = 2; blocks <= 512; blocks *= 4) {
        struct world_options options;
        world_options_calm(&options, blocks);
        options.receive_blocks_max = blocks;
        script = (struct script){.steps = steps,
                                 .wanted = array_count(steps),
                                 .holds_blocks = true,
                                 .receive_blocks = blocks};
        play(&script, &options, true);
        assert_int_equal(script.answered, array_count(steps));
    }
}

static void a_late_answer_ends_the_connection(void **state)
{
    (void)state;
    static const struct step steps[] = {
        {.answer_len = 1, .patience_ns = SECOND},
        {.wish = SWALLOW, .patience_ns = SECOND},
        {.wish = SWALLOW, .patience_ns = SECOND * 9},
    };
    struct script script;
    calm(&script, array_count(steps), steps);
    assert_int_equal(script.answered, 1);
    assert_int_equal(script.timed_out, 1);
    assert_int_equal(script.lost, 1); /* the one behind it */
    assert_int_equal(script.losses, 1);
}

static void garbage_ends_the_connection(void **state)
{
    (void)state;
    static const struct step steps[] = {
        {.answer_len = 1, .patience_ns = SECOND},
        {.wish = GARBLE, .answer_len = 100, .patience_ns = SECOND},
        {.answer_len = 1, .patience_ns = SECOND},
    };
    struct script script;
    calm(&script, array_count(steps), steps);
    assert_int_equal(script.answered, 1);
    assert_int_equal(script.garbled, 2);
}

static void calls_that_come_too_late_are_refused(void **state)
{
    (void)state;
    static const struct step late[] = {
        {.answer_len = 1, .patience_ns = SECOND},
        {.wish = SWALLOW, .patience_ns = SECOND},
        {.wish = SWALLOW, .patience_ns = SECOND * 9},
    };
    struct script script;
    calm(&script, array_count(late), late);
    assert_int_equal(script.timed_out + script.lost, 2);
    assert_int_equal(script.refused, 2 * 3); /* as each of the two ended, and in on_lost */
    calm(&script, 100, NULL);                /* and so when the owner closes it */
    assert_true(script.lost > 0);
    assert_int_equal(script.refused, 2 * (script.lost + 2));
}

static void a_request_without_an_answer_is_over_when_it_has_left(void **state)
{
    (void)state;
    static const struct step steps[] = {
        {.wish = SILENT, .patience_ns = SECOND},
        {.answer_len = 9, .patience_ns = SECOND},
        {.wish = SILENT, .patience_ns = SECOND},
        {.answer_len = 9, .patience_ns = SECOND},
    };
    struct script script;
    calm(&script, array_count(steps), steps);
    assert_int_equal(script.answered, 4);
}

static void a_refused_connection_is_told(void **state)
{
    (void)state;
    struct world_options options;
    world_options_calm(&options, 5);
    struct script script = {.wanted = 1};
    play(&script, &options, false);
    assert_int_equal(script.losses, 1);
    assert_int_equal(script.ready, 0);
}

static void every_call_ends_once_in_a_rough_world(void **state)
{
    (void)state;
    uint32_t lost = 0;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct world_options options;
        world_options_rough(&options, seed);
        options.network.reset_one_in = 40;
        options.network.refuse_one_in = 4;
        struct script script = {
            .wanted = 200,
            .reconnect = true,
            .holds_blocks = seed % 2 == 0,
            .step = {.answer_len = (uint32_t)(seed * 97 % 3000), .patience_ns = 20 * SECOND},
        };
        play(&script, &options, true);
        assert_true(script.answered >= 200);
        assert_int_equal(script.version, 8);
        lost += script.lost;
    }
    assert_true(lost > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(versions_are_agreed_on_after_a_refusal),
        cmocka_unit_test(answers_of_any_size_come_whole),
        cmocka_unit_test(a_late_answer_ends_the_connection),
        cmocka_unit_test(garbage_ends_the_connection),
        cmocka_unit_test(calls_that_come_too_late_are_refused),
        cmocka_unit_test(a_request_without_an_answer_is_over_when_it_has_left),
        cmocka_unit_test(a_refused_connection_is_told),
        cmocka_unit_test(every_call_ends_once_in_a_rough_world),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
