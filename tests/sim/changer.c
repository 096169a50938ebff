/* SPDX-License-Identifier: Apache-2.0
 *
 * The changer gives topics another millrace.durability while they are written to and the broker
 * comes and goes. A change whose answer was lost is asked for again until one says that it is so.
 */
#include "net/err.h"
#include "tests/sim/actor.h"
#include "tests/sim/promises.h"

struct changer {
    struct actor actor;
    struct ask ask;
    struct topic_fact *topic; /* NULL: nothing is open */
    uint32_t incarnation;
};

static struct changer *changer_of(struct actor *a)
{
    return container_of(a, struct changer, actor);
}

static void changer_start(struct actor *a)
{
    (void)a;
}

static bool is_valid(const struct changer *ch)
{
    return ch->topic && ch->topic->state == TOPIC_THERE &&
           ch->topic->incarnation == ch->incarnation;
}

static void changed(struct topic_fact *topic, uint64_t now_ns)
{
    topic->mode_ns[topic->mode] = now_ns;
    topic->mode = topic->mode_asked;
}

static void on_changed(struct client *c, struct client_call *call)
{
    struct changer *ch = container_of(call, struct changer, ask.call);
    struct model *m = ch->actor.model;
    struct incremental_alter_configs_response response;
    (void)c;
    actor_later(&ch->actor, 10 * MS);
    if (!ask_answered(&ch->ask) ||
        !ask_read(&ch->ask, read_incremental_alter_configs_response, &response) ||
        response.responses_count != 1 || !is_valid(ch))
        return;
    int16_t error = response.responses[0].error_code;
    if (model_excuses(m, ch->ask.life, error))
        return;
    if (error != ERR_NONE) {
        wrong(m, "changing %s: %s", ch->topic->name, err_name(error));
        return;
    }
    world_note(m->world, "%s is %s", ch->topic->name, log_durability_text(ch->topic->mode_asked));
    changed(ch->topic, world_now_ns(m->world));
    ch->topic = NULL;
}

static void ask_change(struct changer *ch)
{
    struct incremental_alter_configs_request request;
    struct incremental_alter_configs_request_resource resource;
    struct incremental_alter_configs_request_config config;
    int16_t version = actor_version(&ch->actor, KEY_INCREMENTAL_ALTER_CONFIGS, 0);
    init_incremental_alter_configs_request(&request);
    init_incremental_alter_configs_request_resource(&resource);
    init_incremental_alter_configs_request_config(&config);
    resource.resource_type = 2;
    resource.resource_name = str_of(ch->topic->name);
    config.name = str_of("millrace.durability");
    config.value = str_of(log_durability_text(ch->topic->mode_asked));
    resource.configs = &config;
    resource.configs_count = 1;
    request.resources = &resource;
    request.resources_count = 1;
    struct wr *w = ask_begin(&ch->actor, &ch->ask, KEY_INCREMENTAL_ALTER_CONFIGS, version);
    write_incremental_alter_configs_request(w, version, &request);
    ask_send(&ch->ask, on_changed);
}

static void changer_step(struct actor *a)
{
    struct changer *ch = changer_of(a);
    if (ch->ask.under_way)
        return;
    if (!is_valid(ch)) {
        ch->topic = model_topic(a->model, &a->rng);
        actor_later(a, 10 * MS);
        if (!ch->topic || !ch->topic->changes || a->model->resting) {
            ch->topic = NULL;
            return;
        }
        ch->incarnation = ch->topic->incarnation;
        ch->topic->mode_asked = (uint8_t)rng_below(&a->rng, 3);
    }
    ask_change(ch);
}

static bool changer_busy(const struct actor *a)
{
    return is_valid(container_of(no_const(a), struct changer, actor));
}

const struct actor_kind actor_changer = {
    .name = "changer",
    .size = sizeof(struct changer),
    .start = changer_start,
    .step = changer_step,
    .busy = changer_busy,
};
