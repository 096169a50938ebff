/* SPDX-License-Identifier: Apache-2.0
 *
 * The administrator: creates topics, gives them more partitions, deletes them, and looks at what is
 * there. A creation or deletion whose answer was lost is asked for again until one answer says how
 * it stands. The name of a deleted topic is used again in another life of the broker, when nothing
 * that names the old one can be under way.
 */
#include "net/err.h"
#include "tests/sim/actor.h"
#include "tests/sim/promises.h"

#define TOPICS_WANTED 5U

struct admin {
    struct actor actor;
    struct ask ask;
    struct topic_fact *topic; /* that the question is about */
    int32_t partitions;
};

static struct admin *admin_of(struct actor *a)
{
    return container_of(a, struct admin, actor);
}

static void admin_start(struct actor *a)
{
    (void)a;
}

static void again(struct admin *admin)
{
    actor_later(&admin->actor, admin->actor.model->resting ? S : 4 * MS);
}

/* ---- what is there ---- */

static void take_topic(struct admin *admin, const struct metadata_response_topic *seen)
{
    struct topic_fact *topic = admin->topic;
    if (seen->error_code != ERR_NONE) {
        wrong(admin->actor.model, "%s exists and Metadata says %s", topic->name,
              err_name(seen->error_code));
        return;
    }
    topic->id = seen->topic_id;
    topic->partitions = seen->partitions_count;
    topic->partitions_max = seen->partitions_count;
    topic_state_set(admin->actor.model, topic, TOPIC_THERE);
}

static void on_metadata(struct client *c, struct client_call *call)
{
    struct admin *admin = container_of(call, struct admin, ask.call);
    struct metadata_response response;
    (void)c;
    again(admin);
    if (!ask_answered(&admin->ask) || !ask_read(&admin->ask, read_metadata_response, &response))
        return;
    if (!admin->topic)
        model_topics_seen(admin->actor.model, &response, admin->ask.asked_ns);
    else if (response.topics_count == 1)
        take_topic(admin, &response.topics[0]);
}

static void ask_metadata(struct admin *admin, struct topic_fact *topic)
{
    struct metadata_request request;
    struct metadata_request_topic one;
    int16_t version = actor_version(&admin->actor, KEY_METADATA, 10);
    init_metadata_request(&request);
    init_metadata_request_topic(&one);
    request.topics_count = -1;
    if (topic) {
        one.name = str_of(topic->name);
        request.topics = &one;
        request.topics_count = 1;
    }
    admin->topic = topic;
    struct wr *w = ask_begin(&admin->actor, &admin->ask, KEY_METADATA, version);
    write_metadata_request(w, version, &request);
    ask_send(&admin->ask, on_metadata);
}

/* ---- creation ---- */

static void on_created(struct client *c, struct client_call *call)
{
    struct admin *admin = container_of(call, struct admin, ask.call);
    struct topic_fact *topic = admin->topic;
    struct create_topics_response response;
    (void)c;
    again(admin);
    if (!ask_answered(&admin->ask) ||
        !ask_read(&admin->ask, read_create_topics_response, &response) ||
        response.topics_count != 1)
        return;
    int16_t error = response.topics[0].error_code;
    if (model_excuses(admin->actor.model, admin->ask.life, error))
        return;
    if (error == ERR_TOPIC_ALREADY_EXISTS && actor_connected(&admin->actor)) {
        ask_metadata(admin, topic);
        return;
    }
    if (error == ERR_TOPIC_ALREADY_EXISTS)
        return;
    if (error != ERR_NONE) {
        wrong(admin->actor.model, "creating %s: %s", topic->name, err_name(error));
        return;
    }
    topic->id = response.topics[0].topic_id;
    topic->partitions = admin->partitions;
    topic->partitions_max = admin->partitions;
    topic_state_set(admin->actor.model, topic, TOPIC_THERE);
}

static void ask_create(struct admin *admin, struct topic_fact *topic)
{
    struct create_topics_request request = {.topics_count = 1, .timeout_ms = 60000};
    struct create_topics_request_topic one;
    int16_t version = actor_version(&admin->actor, KEY_CREATE_TOPICS, 7);
    admin->topic = topic;
    admin->partitions = (int32_t)rng_between(&admin->actor.rng, 1, PARTITIONS_MAX - 1);
    topic_state_set(admin->actor.model, topic, TOPIC_ASKED);
    init_create_topics_request_topic(&one);
    one.name = str_of(topic->name);
    one.num_partitions = admin->partitions;
    one.replication_factor = 1;
    struct create_topics_request_config configs[5];
    char messages[16];
    char ms[16];
    one.configs = configs;
    if (topic->append_time)
        configs[one.configs_count++] = (struct create_topics_request_config){
            .name = str_of("message.timestamp.type"), .value = str_of("LogAppendTime")};
    if (topic->zstd)
        configs[one.configs_count++] = (struct create_topics_request_config){
            .name = str_of("compression.type"), .value = str_of("zstd")};
    (void)snprintf(messages, sizeof(messages), "%d", topic->flush_messages);
    (void)snprintf(ms, sizeof(ms), "%d", topic->flush_ms);
    if (topic->mode_first != LOG_DURABLE)
        configs[one.configs_count++] = (struct create_topics_request_config){
            .name = str_of("millrace.durability"),
            .value = str_of(log_durability_text(topic->mode_first))};
    if (topic->flush_messages > 0)
        configs[one.configs_count++] = (struct create_topics_request_config){
            .name = str_of("flush.messages"), .value = str_of(messages)};
    if (admin->actor.model->modes && topic->flush_ms >= 0)
        configs[one.configs_count++] =
            (struct create_topics_request_config){.name = str_of("flush.ms"), .value = str_of(ms)};
    request.topics = &one;
    struct wr *w = ask_begin(&admin->actor, &admin->ask, KEY_CREATE_TOPICS, version);
    write_create_topics_request(w, version, &request);
    ask_send(&admin->ask, on_created);
}

/* ---- more partitions ---- */

static void on_grown(struct client *c, struct client_call *call)
{
    struct admin *admin = container_of(call, struct admin, ask.call);
    struct topic_fact *topic = admin->topic;
    struct create_partitions_response response;
    (void)c;
    again(admin);
    if (!ask_answered(&admin->ask) ||
        !ask_read(&admin->ask, read_create_partitions_response, &response) ||
        response.results_count != 1)
        return;
    int16_t error = response.results[0].error_code;
    if (model_excuses(admin->actor.model, admin->ask.life, error))
        return;
    /* An earlier question whose answer was lost has done it. */
    bool done = error == ERR_NONE ||
                (error == ERR_INVALID_PARTITIONS && admin->partitions == topic->partitions_max);
    if (done)
        topic->partitions = max_i64(topic->partitions, admin->partitions) == admin->partitions
                                ? admin->partitions
                                : topic->partitions;
    else
        wrong(admin->actor.model, "more partitions for %s: %s", topic->name, err_name(error));
}

static void ask_partitions(struct admin *admin, struct topic_fact *topic)
{
    struct create_partitions_request request = {.topics_count = 1, .timeout_ms = 60000};
    struct create_partitions_request_topic one;
    int16_t version = actor_version(&admin->actor, KEY_CREATE_PARTITIONS, 0);
    if (topic->partitions == topic->partitions_max && topic->partitions < (int32_t)PARTITIONS_MAX)
        topic->partitions_max++;
    if (topic->partitions == topic->partitions_max)
        return;
    admin->topic = topic;
    admin->partitions = topic->partitions_max;
    init_create_partitions_request_topic(&one);
    one.name = str_of(topic->name);
    one.count = admin->partitions;
    one.assignments_count = -1;
    request.topics = &one;
    struct wr *w = ask_begin(&admin->actor, &admin->ask, KEY_CREATE_PARTITIONS, version);
    write_create_partitions_request(w, version, &request);
    ask_send(&admin->ask, on_grown);
}

/* ---- deletion ---- */

static void on_deleted(struct client *c, struct client_call *call)
{
    struct admin *admin = container_of(call, struct admin, ask.call);
    struct topic_fact *topic = admin->topic;
    struct delete_topics_response response;
    (void)c;
    again(admin);
    if (!ask_answered(&admin->ask) ||
        !ask_read(&admin->ask, read_delete_topics_response, &response) ||
        response.responses_count != 1)
        return;
    int16_t error = response.responses[0].error_code;
    if (model_excuses(admin->actor.model, admin->ask.life, error))
        return;
    if (error != ERR_NONE && error != ERR_UNKNOWN_TOPIC_OR_PARTITION)
        wrong(admin->actor.model, "deleting %s: %s", topic->name, err_name(error));
    else
        topic_state_set(admin->actor.model, topic, TOPIC_FREE);
}

static void ask_delete(struct admin *admin, struct topic_fact *topic)
{
    struct delete_topics_request request = {.timeout_ms = 60000};
    struct delete_topics_request_topic one;
    struct str name = str_of(topic->name);
    int16_t version = actor_version(&admin->actor, KEY_DELETE_TOPICS, 1);
    admin->topic = topic;
    topic_state_set(admin->actor.model, topic, TOPIC_GOING);
    init_delete_topics_request_topic(&one);
    one.name = name;
    request.topics = &one;
    request.topics_count = version >= 6;
    request.topic_names = &name;
    request.topic_names_count = version < 6;
    struct wr *w = ask_begin(&admin->actor, &admin->ask, KEY_DELETE_TOPICS, version);
    write_delete_topics_request(w, version, &request);
    ask_send(&admin->ask, on_deleted);
}

/* ---- what next ---- */

/* Whatever was asked for and not answered. */
static struct topic_fact *unsettled(struct admin *admin)
{
    for (uint32_t i = 0; i < TOPICS_MAX; i++) {
        struct topic_fact *topic = &admin->actor.model->topics[i];
        if (topic->state == TOPIC_ASKED || topic->state == TOPIC_GOING)
            return topic;
    }
    return NULL;
}

static struct topic_fact *free_topic(struct admin *admin, uint32_t *used)
{
    struct model *m = admin->actor.model;
    struct topic_fact *found = NULL;
    *used = 0;
    for (uint32_t i = 0; i < TOPICS_MAX; i++) {
        struct topic_fact *topic = &m->topics[i];
        *used += topic->state != TOPIC_FREE;
        if (topic->state == TOPIC_FREE && (topic->incarnation == 0 || topic->life != m->life))
            found = topic;
    }
    return found;
}

static void admin_step(struct actor *a)
{
    struct admin *admin = admin_of(a);
    uint32_t used;
    if (admin->ask.under_way)
        return;
    struct topic_fact *open = unsettled(admin);
    struct topic_fact *unused = free_topic(admin, &used);
    struct topic_fact *there = model_topic(a->model, &a->rng);
    a->model->sweeping = a->model->sweeping && !open;
    if (open && open->state == TOPIC_ASKED)
        ask_create(admin, open);
    else if (open)
        ask_delete(admin, open);
    else if (there && there->partitions < there->partitions_max)
        ask_partitions(admin, there);
    else if (there && a->model->sweeping)
        ask_delete(admin, there);
    else if (a->model->resting)
        ask_metadata(admin, NULL);
    else if (unused && used < TOPICS_WANTED && (used < 2 || rng_one_in(&a->rng, 3)))
        ask_create(admin, unused);
    else if (there && used > 2 && rng_one_in(&a->rng, 20))
        ask_delete(admin, there);
    else if (there && rng_one_in(&a->rng, 10))
        ask_partitions(admin, there);
    else
        ask_metadata(admin, NULL);
    if (!admin->ask.under_way)
        again(admin);
}

static bool admin_busy(const struct actor *a)
{
    return unsettled(container_of(no_const(a), struct admin, actor)) != NULL;
}

const struct actor_kind actor_admin = {
    .name = "admin",
    .size = sizeof(struct admin),
    .start = admin_start,
    .step = admin_step,
    .busy = admin_busy,
};
