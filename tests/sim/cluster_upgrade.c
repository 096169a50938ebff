/* SPDX-License-Identifier: Apache-2.0
 *
 * Scenario "mixed": two sets of metadata records side by side. Brokers of the older set
 * (millrace.metadata.level) become brokers of the newer one and back, one by one and in any order,
 * while one client asks for the newer level and sets quotas, the records that came with it, again
 * and again. The level is agreed to only when every broker that is there knows it, no quota is
 * written before, and nobody stops for it but an older broker that comes afterwards.
 */
#include "core/metadata/quota_table.h"
#include "net/err.h"
#include "tests/sim/cluster_agent.h"

#include <string.h>

#define OLDER         1
#define NEWER         METADATA_LEVEL_NEWEST
#define STEPS_MAX     6U
#define STOP_NS       (10 * S)
#define START_NS      (20 * S)
#define UNKNOWN_LEVEL METADATA_LEVEL " at level 2, and this broker takes part up to level 1"
#define UNKNOWN_KIND  "a record of kind 13 (client_quota)"

static const struct image *newest_image(const struct cluster *cl)
{
    const struct image *image;
    (void)cluster_newest_topic(cl, &image);
    return image;
}

static bool is_raised(const struct cluster *cl)
{
    const struct image *image = newest_image(cl);
    return image && image_level(image) == NEWER;
}

static void set_level(struct cluster *cl, uint32_t i, int16_t level)
{
    if (cl->upgrade.level[i] != level)
        world_note(cl->world, "broker %d is of level %d from now on", cl->nodes[i].id, level);
    cl->upgrade.level[i] = level;
    (void)snprintf(cl->upgrade.setting[i], sizeof(cl->upgrade.setting[i]), "%d", level);
}

void cluster_upgrade_init(struct cluster *cl)
{
    cl->upgrade.patient = rng_one_in(&cl->rng, 2);
    cl->upgrade.plain = rng_one_in(&cl->rng, 2);
    for (uint32_t i = 0; i < cl->count; i++) {
        struct node *node = &cl->nodes[i];
        set_level(cl, i, OLDER);
        must(node->setting_count < array_count(node->settings));
        node->settings[node->setting_count++] = (struct conf_assignment){
            .name = "millrace.metadata.level", .value = cl->upgrade.setting[i]};
    }
}

/* ---- who stops, and why ---- */

static bool names_level(const struct node *node)
{
    return strstr(node->failure, UNKNOWN_LEVEL) || strstr(node->failure, UNKNOWN_KIND);
}

void cluster_upgrade_ended(struct cluster *cl, uint32_t i)
{
    const struct node *node = &cl->nodes[i];
    if (!names_level(node))
        return;
    world_note(cl->world, "broker %d has stopped: %s", node->id, node->failure);
    if (cl->upgrade.level[i] == NEWER || !cl->upgrade.asked)
        cluster_wrong(&cl->facts, "broker %d of level %d stops: %.300s", node->id,
                      cl->upgrade.level[i], node->failure);
    set_level(cl, i, NEWER);
}

/* ---- the client that asks ---- */

static int64_t registration_of(const struct cluster *cl, int32_t id)
{
    const struct image *image = newest_image(cl);
    const struct broker_image *broker = image ? image_broker(image, id) : NULL;
    return broker && broker->live ? broker->epoch : -1;
}

/* Older brokers that are there, by their registrations. */
static void note_older(struct cluster *cl)
{
    for (uint32_t i = 0; i < cl->count; i++) {
        bool older = cl->upgrade.level[i] == OLDER && cluster_is_up(cl, i);
        cl->upgrade.older[i] = older ? registration_of(cl, cl->nodes[i].id) : -1;
    }
}

static void on_asked(struct client *c, struct client_call *call)
{
    struct agent *a = call->user;
    struct cluster *cl = a->cl;
    struct update_features_response response;
    struct rd rd;
    (void)c;
    if (agent_answered(call, &rd) &&
        read_update_features_response(&rd, call->arena, call->version, &response)) {
        cl->upgrade.granted = cl->upgrade.granted || response.error_code == ERR_NONE;
        for (uint32_t i = 0; response.error_code == ERR_NONE && i < cl->count; i++)
            if (cl->upgrade.older[i] >= 0 &&
                cl->upgrade.older[i] == registration_of(cl, cl->nodes[i].id))
                cluster_wrong(&cl->facts,
                              "the level is raised though broker %d, which is there, does not "
                              "know it",
                              cl->nodes[i].id);
        if (response.error_code != ERR_NONE && response.error_code != ERR_NOT_CONTROLLER &&
            response.error_code != ERR_INVALID_UPDATE_VERSION)
            cluster_wrong(&cl->facts, "a level is answered %s", err_name(response.error_code));
    }
    agent_later(a, 200 * MS);
}

static void ask_for_level(struct agent *a, struct client *c)
{
    struct update_features_request request;
    struct update_features_request_feature_update update;
    init_update_features_request(&request);
    init_update_features_request_feature_update(&update);
    update.feature = str_of(METADATA_LEVEL);
    update.max_version_level = NEWER;
    request.feature_updates = &update;
    request.feature_updates_count = 1;
    note_older(a->cl);
    a->cl->upgrade.asked = true;
    struct wr *w = client_begin(c, &a->call, KEY_UPDATE_FEATURES, 2);
    write_update_features_request(w, 2, &request);
    agent_ask(a, c, on_asked);
}

static void on_quota(struct client *c, struct client_call *call)
{
    struct agent *a = call->user;
    struct alter_client_quotas_response response;
    struct rd rd;
    (void)c;
    if (agent_answered(call, &rd) &&
        read_alter_client_quotas_response(&rd, call->arena, call->version, &response) &&
        response.entries_count == 1) {
        int16_t error = response.entries[0].error_code;
        a->cl->upgrade.quotas += error == ERR_NONE;
        if (error == ERR_NONE && !a->cl->upgrade.asked)
            cluster_wrong(&a->cl->facts, "a quota is set before its level is agreed to");
        if (error == ERR_UNSUPPORTED_VERSION && a->cl->upgrade.granted)
            cluster_wrong(&a->cl->facts, "a quota is refused though its level is agreed to");
        if (error != ERR_NONE && error != ERR_UNSUPPORTED_VERSION && error != ERR_NOT_CONTROLLER)
            cluster_wrong(&a->cl->facts, "a quota is answered %s", err_name(error));
    }
    agent_later(a, 200 * MS);
}

static void set_quota(struct agent *a, struct client *c)
{
    struct alter_client_quotas_request_entity entity = {.entity_type = str_of("client-id"),
                                                        .entity_name = str_of("nobody")};
    struct alter_client_quotas_request_op op = {.key = str_of("producer_byte_rate"),
                                                .value = (double)rng_between(&a->rng, 1, 1000)};
    struct alter_client_quotas_request_entry entry = {
        .entity = &entity, .entity_count = 1, .ops = &op, .ops_count = 1};
    struct alter_client_quotas_request request = {.entries = &entry, .entries_count = 1};
    struct wr *w = client_begin(c, &a->call, KEY_ALTER_CLIENT_QUOTAS, 1);
    write_alter_client_quotas_request(w, 1, &request);
    agent_ask(a, c, on_quota);
}

void operator_step(struct agent *a)
{
    struct client *controller = agent_client(a, a->cl->controller);
    if (!controller)
        agent_later(a, 20 * MS);
    else if (!a->cl->upgrade.patient && rng_one_in(&a->rng, 2))
        ask_for_level(a, controller);
    else if (!a->cl->upgrade.plain)
        set_quota(a, controller);
    else
        agent_later(a, 200 * MS);
}

/* ---- the play ---- */

static bool is_down(void *argument)
{
    return !node_runs(argument);
}

/* It stops, or is killed, and comes back with the other version. */
static void change(struct cluster *cl, uint32_t i, int16_t level)
{
    struct node *node = &cl->nodes[i];
    if (rng_one_in(&cl->rng, 3) || !cluster_is_up(cl, i)) {
        machine_crash(node->machine, rng_one_in(&cl->rng, 2) ? CRASH_KILL : CRASH_POWER);
    } else {
        node_stop(node);
        if (!world_run_until(cl->world, is_down, node, world_now_ns(cl->world) + STOP_NS))
            cluster_wrong(&cl->facts, "broker %d does not stop", node->id);
    }
    set_level(cl, i, level);
    cluster_pass(cl, rng_below(&cl->rng, 600 * MS), rng_one_in(&cl->rng, 3) ? 1U << i : 0);
}

/* One after the other, each when the one before it is there. */
static void roll(struct cluster *cl, int16_t level)
{
    uint32_t first = (uint32_t)rng_below(&cl->rng, cl->count);
    world_note(cl->world, "all go to level %d", level);
    for (uint32_t n = 0; n < cl->count && !cl->facts.failed; n++) {
        change(cl, (first + n) % cl->count, level);
        uint64_t end = world_now_ns(cl->world) + START_NS;
        while (!cluster_all_up(cl) && world_now_ns(cl->world) < end && !cl->facts.failed)
            cluster_pass(cl, 20 * MS, 0);
    }
}

void cluster_upgrade_play(struct cluster *cl)
{
    for (uint64_t n = rng_between(&cl->rng, 1, STEPS_MAX); n > 0 && !cl->facts.failed; n--) {
        uint32_t i = (uint32_t)rng_below(&cl->rng, cl->count);
        switch (rng_below(&cl->rng, 6)) {
        case 0:
            roll(cl, NEWER);
            break;
        case 1:
            roll(cl, OLDER);
            break;
        case 2:
            cluster_trouble(cl);
            break;
        default:
            change(cl, i, rng_one_in(&cl->rng, 3) ? OLDER : NEWER);
            break;
        }
    }
}

/* Once the level is agreed to, an older broker says why it does not start. */
static void refuse_one(struct cluster *cl)
{
    uint32_t i = (uint32_t)rng_below(&cl->rng, cl->count);
    struct node *node = &cl->nodes[i];
    machine_crash(node->machine, CRASH_KILL);
    set_level(cl, i, OLDER);
    (void)node_start(node, 1);
    (void)world_run_until(cl->world, is_down, node, world_now_ns(cl->world) + START_NS);
    if (cl->upgrade.plain ? !strstr(node->failure, UNKNOWN_LEVEL) : !names_level(node))
        cluster_wrong(&cl->facts, "broker %d of level 1 starts in a cluster of level 2: %.300s",
                      node->id, node->failure);
}

static bool has_quotas(const struct cluster *cl)
{
    return cl->upgrade.quotas > 0;
}

static bool comes_to_be(struct cluster *cl, bool (*done)(const struct cluster *cl))
{
    uint64_t end = world_now_ns(cl->world) + START_NS;
    while (!(done(cl) && cluster_all_up(cl)) && world_now_ns(cl->world) < end && !cl->facts.failed)
        cluster_pass(cl, 20 * MS, 0);
    return done(cl);
}

void cluster_upgrade_end(struct cluster *cl)
{
    for (uint32_t i = 0; i < cl->count; i++)
        if (cl->upgrade.level[i] != NEWER)
            change(cl, i, NEWER);
    cl->upgrade.patient = false;
    if (!comes_to_be(cl, is_raised))
        cluster_wrong(&cl->facts, "all brokers are upgraded, and the level is not raised");
    if (!cl->facts.failed)
        refuse_one(cl);
    cl->upgrade.plain = false;
    if (!comes_to_be(cl, has_quotas))
        cluster_wrong(&cl->facts, "the level is raised, and no quota can be set");
}
