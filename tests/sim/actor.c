/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/actor.h"

#include "io/mem.h"

/* ---- connections ---- */

void actor_later(struct actor *a, uint64_t within_ns)
{
    uint64_t at_ns = io_now_ns(a->sh->io) + rng_below(&a->rng, within_ns + 1);
    if (!timer_is_set(&a->timer) || a->timer.at_ns > at_ns)
        timer_set(a->sh, &a->timer, at_ns);
}

bool actor_connected(const struct actor *a)
{
    return a->client.state == CLIENT_READY;
}

static void on_ready(struct client *c)
{
    struct actor *a = container_of(c, struct actor, client);
    a->connection++;
    if (a->kind->connected)
        a->kind->connected(a);
    actor_later(a, 100 * US);
}

static void on_lost(struct client *c)
{
    struct actor *a = container_of(c, struct actor, client);
    world_note(a->model->world, "%s %u: %s", a->kind->name, a->number, c->why);
    if (c->status == CLIENT_GARBLED)
        wrong(a->model, "%s %u: %s", a->kind->name, a->number, c->why);
    actor_later(a, rng_one_in(&a->rng, 4) ? 10 * MS : MS);
}

static void on_timer(struct shard *sh, struct timer *timer)
{
    struct actor *a = container_of(timer, struct actor, timer);
    (void)sh;
    if (a->model->failed)
        return;
    if (a->client.state == CLIENT_IDLE) {
        struct io_address address;
        machine_address(a->model->node->machine, NODE_PORT, &address);
        client_connect(&a->client, &address);
    } else if (a->client.state == CLIENT_READY) {
        a->kind->step(a);
    }
}

/* ---- questions ---- */

int16_t actor_version(struct actor *a, int16_t key, int16_t min)
{
    int16_t newest = client_version(&a->client, key, CLIENT_NEWEST);
    if (newest < min)
        wrong(a->model, "key %d: version %d is the newest", key, newest);
    return (int16_t)rng_between(&a->rng, (uint64_t)min, (uint64_t)newest);
}

struct wr *ask_begin(struct actor *a, struct ask *ask, int16_t key, int16_t version)
{
    must(!ask->under_way);
    ask->actor = a;
    ask->life = a->model->life;
    ask->asked_ns = world_now_ns(a->model->world);
    return client_begin(&a->client, &ask->call, key, version);
}

static uint64_t deadline_ns(const struct ask *ask)
{
    return io_now_ns(ask->actor->sh->io) + ANSWER_PATIENCE_NS;
}

void ask_send(struct ask *ask, client_call_fn *done)
{
    ask->call.done = done;
    ask->under_way = true;
    must(client_send(&ask->actor->client, &ask->call, deadline_ns(ask)));
}

void ask_send_silent(struct ask *ask, client_call_fn *done)
{
    ask->call.done = done;
    ask->under_way = true;
    must(client_send_silent(&ask->actor->client, &ask->call, deadline_ns(ask)));
}

bool ask_answered(struct ask *ask)
{
    struct actor *a = ask->actor;
    ask->under_way = false;
    if (ask->call.status == CLIENT_ANSWERED) {
        a->model->answer_life = ask->life;
        a->model->answer_asked_ns = ask->asked_ns;
        a->model->operations++;
        return true;
    }
    if (ask->call.status == CLIENT_TIMED_OUT && ask->life == a->model->life)
        wrong(a->model, "%s %u: key %d was not answered in %llu s", a->kind->name, a->number,
              ask->call.key, ANSWER_PATIENCE_NS / S);
    return false;
}

struct rd *ask_reader(const struct ask *ask, struct rd *rd)
{
    rd_init(rd, ask->call.answer);
    return rd;
}

bool ask_read_checked(const struct ask *ask, const char *what, bool good)
{
    if (!good)
        wrong(ask->actor->model, "%s at version %d: no answer to be read", what, ask->call.version);
    return good;
}

static void on_coordinator(struct client *c, struct client_call *call)
{
    struct ask *ask = container_of(call, struct ask, call);
    (void)c;
    actor_later(ask->actor, 5 * MS);
    (void)ask_answered(ask);
}

void ask_coordinator(struct actor *a, struct ask *ask, const char *group)
{
    struct find_coordinator_request request;
    init_find_coordinator_request(&request);
    request.key = str_of(group);
    struct wr *w = ask_begin(a, ask, KEY_FIND_COORDINATOR, 2);
    write_find_coordinator_request(w, 2, &request);
    ask_send(ask, on_coordinator);
}

/* ---- the program ---- */

static struct actor *actor_new(struct crowd *crowd, struct shard *sh, const struct actor_kind *kind,
                               uint32_t number)
{
    struct actor *a = mem_zalloc(kind->size);
    const struct client_options options = {
        .client_id = str_of(kind->name),
        .software_name = str_of("simulation"),
        .software_version = str_of("1"),
        .answer_bytes_max = 8U << 20,
        .connect_timeout_ns = 10 * S,
        .on_ready = on_ready,
        .on_lost = on_lost,
    };
    a->kind = kind;
    a->model = crowd->model;
    a->sh = sh;
    a->number = number;
    a->rng = rng_split(&crowd->model->rng);
    a->timer = (struct timer){.fn = on_timer, .name = kind->name};
    client_init(&a->client, sh, &options);
    kind->start(a);
    actor_later(a, MS);
    must(crowd->count < array_count(crowd->actors));
    crowd->actors[crowd->count++] = a;
    return a;
}

static void crowd_begin(struct shard *sh, void *prepared)
{
    struct crowd *crowd = prepared;
    for (size_t k = 0; k < crowd->cast_count; k++)
        for (uint32_t i = 0; i < crowd->cast[k].count; i++)
            actor_new(crowd, sh, crowd->cast[k].kind, i);
    if (crowd->cast_count > 0)
        return;
    for (uint32_t i = 0; i < PRODUCERS_MAX; i++)
        actor_new(crowd, sh, &actor_producer, i);
    for (uint32_t i = 0; i < 2; i++)
        actor_new(crowd, sh, &actor_consumer, i);
    actor_new(crowd, sh, &actor_admin, 0);
    actor_new(crowd, sh, &actor_reader, 0);
    if (rng_one_in(&crowd->model->rng, 2))
        actor_new(crowd, sh, &actor_trimmer, 0);
}

void crowd_start(struct crowd *crowd, struct machine *machine)
{
    const struct program program = {
        .name = "clients", .shards = 1, .start = crowd_begin, .argument = crowd};
    must(machine_start(machine, &program) != NULL);
}

const struct actor *crowd_busy(const struct crowd *crowd)
{
    for (uint32_t i = 0; i < crowd->count; i++) {
        const struct actor *a = crowd->actors[i];
        if (a->kind->busy && a->kind->busy(a))
            return a;
    }
    return NULL;
}
