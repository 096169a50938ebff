/* SPDX-License-Identifier: Apache-2.0
 *
 * Changing topics: `millrace topic create`, `delete`, `add-partitions` and `alter`. Each prints one
 * row per topic, what came of it, and says errors besides.
 */
#include "io/mem.h"
#include "net/err.h"
#include "tools/millrace/cluster.h"

#include <stdlib.h>
#include <string.h>

#define CONFIGS_MAX 256U
#define SETTLE_MS   2000U

static const struct column columns[] = {
    {.key = "topic", .title = "TOPIC"},
    {.key = "result", .title = "RESULT"},
    {.key = "partitions", .title = "PARTITIONS"},
    {.key = "replication_factor", .title = "REPLICAS"},
    {.key = "topic_id", .title = "ID", .wide = true},
    {.key = "error", .title = "ERROR", .wide = true},
};

/* The rows of a change; for people only unless -q. */
struct report {
    struct session *s;
    struct listing *listing;
    struct tally tally;
};

static void report_open(struct report *report, struct session *s, bool with_counts)
{
    *report = (struct report){.s = s};
    report->listing = listing_open_report(s->inv, columns, with_counts ? array_count(columns) : 2);
}

static int report_close(struct report *report)
{
    listing_close(report->listing);
    return tally_code(&report->tally);
}

/* One topic's outcome. done: what to call a success. more: further members, taken, or NULL. */
static void report_add(struct report *report, struct str name, int16_t error, struct str text,
                       const char *done, json_t *more)
{
    char *topic = text_of(report->s, name);
    int code = EXIT_OK;
    if (error == ERR_UNKNOWN_TOPIC_OR_PARTITION) {
        code = topic_not_found(report->s, topic);
    } else if (error != ERR_NONE) {
        char thing[300];
        (void)snprintf(thing, sizeof(thing), "topic '%s'", topic);
        code = broker_error(report->s, thing, error, text);
    }
    tally_add(&report->tally, code);
    json_t *row = json_pack("{s:o, s:s, s:s?, s:o}", "topic", json_of(name), "result",
                            error ? "failed" : done, "error", error ? err_name(error) : NULL,
                            "message", error ? json_of(text) : json_null());
    if (more) {
        (void)json_object_update(row, more);
        json_decref(more);
    }
    listing_row(report->listing, row);
}

/* Room for an item of the request per topic that was named. */
static void *room_for_operands(struct session *s, size_t size, int32_t *count)
{
    void *items = arena_array(&s->arena, s->inv->operand_count, size);
    must(items != NULL);
    *count = (int32_t)s->inv->operand_count;
    return items;
}

/* KEY=VALUE; false, and said, when it is not. */
static bool split_config(struct session *s, const char *text, struct str *name, struct str *value)
{
    const char *equals = strchr(text, '=');
    if (!equals || equals == text) {
        (void)usage_error(s->inv, "--config %s: KEY=VALUE is wanted", text);
        return false;
    }
    *name = (struct str){text, (int32_t)(equals - text)};
    *value = str_of(equals + 1);
    return true;
}

/* ---- create ---- */

static bool create_configs(struct session *s, struct create_topics_request_config *configs,
                           int32_t *count)
{
    const char *text;
    *count = 0;
    for (uint32_t cursor = 0; (text = option_next(s->inv, "config", &cursor));) {
        if (*count == CONFIGS_MAX) {
            complain(s->inv, "more than %u --config", CONFIGS_MAX);
            return false;
        }
        struct create_topics_request_config *config = &configs[(*count)++];
        init_create_topics_request_config(config);
        if (!split_config(s, text, &config->name, &config->value))
            return false;
    }
    return true;
}

static void create_report(struct report *report, const struct create_topics_response_topic *topic)
{
    const struct invocation *inv = report->s->inv;
    bool exists = topic->error_code == ERR_TOPIC_ALREADY_EXISTS && option_on(inv, "if-not-exists");
    const char *done = exists ? "exists" : option_on(inv, "dry-run") ? "valid" : "created";
    int16_t error = topic->error_code;
    if (exists)
        error = ERR_NONE;
    json_t *more = json_object();
    if (error == ERR_NONE && !exists && topic->num_partitions > 0) {
        (void)json_object_set_new(more, "partitions", json_integer(topic->num_partitions));
        (void)json_object_set_new(more, "replication_factor",
                                  json_integer(topic->replication_factor));
    }
    if (!uuid_is_zero(&topic->topic_id)) {
        char id[UUID_TEXT_LEN + 1];
        uuid_text(&topic->topic_id, id);
        (void)json_object_set_new(more, "topic_id", json_string(id));
    }
    report_add(report, topic->name, error, topic->error_message, done, more);
    if (error == ERR_TOPIC_ALREADY_EXISTS)
        fprintf(stderr, "next:  --if-not-exists takes that for success\n");
}

/* The broker that the next command asks may hear of them a moment later than the controller did:
 * who types it should not notice. */
static void created_settle(struct session *s)
{
    const struct invocation *inv = s->inv;
    const uint64_t until_ns = session_now_ns(s) + SETTLE_MS * NS_PER_MS;
    struct metadata_response metadata;
    bool known = false;
    while (!known && session_now_ns(s) < until_ns) {
        if (cluster_metadata(s, inv->operands, inv->operand_count, false, &metadata) != EXIT_OK)
            return;
        known = true;
        for (int32_t i = 0; i < metadata.topics_count; i++)
            known &= metadata.topics[i].error_code != ERR_UNKNOWN_TOPIC_OR_PARTITION;
        if (!known)
            session_pause(s, 20 * NS_PER_MS);
    }
}

static int create(struct session *s)
{
    struct invocation *inv = s->inv;
    int64_t partitions = -1;
    int64_t replicas = -1;
    struct create_topics_request_config configs[CONFIGS_MAX];
    int32_t config_count;
    if (!option_number(inv, "partitions", 1, INT32_MAX, &partitions) ||
        !option_number(inv, "replication-factor", 1, INT16_MAX, &replicas) ||
        !create_configs(s, configs, &config_count))
        return EXIT_USAGE;
    struct create_topics_request request;
    init_create_topics_request(&request);
    request.timeout_ms = (int32_t)s->settings.request_timeout_ms;
    request.validate_only = option_on(inv, "dry-run");
    request.topics = room_for_operands(s, sizeof(*request.topics), &request.topics_count);
    for (uint32_t i = 0; i < inv->operand_count; i++) {
        init_create_topics_request_topic(&request.topics[i]);
        request.topics[i].name = str_of(inv->operands[i]);
        request.topics[i].num_partitions = (int32_t)partitions;
        request.topics[i].replication_factor = (int16_t)replicas;
        request.topics[i].configs = configs;
        request.topics[i].configs_count = config_count;
    }
    struct create_topics_response response;
    int code = cluster_ask_controller(s, KEY_CREATE_TOPICS, &request, &response, &s->arena);
    if (code != EXIT_OK)
        return code;
    struct report report;
    report_open(&report, s, true);
    for (int32_t i = 0; i < response.topics_count; i++)
        create_report(&report, &response.topics[i]);
    code = report_close(&report);
    if (code == EXIT_OK && !request.validate_only)
        created_settle(s);
    return code;
}

int cmd_topic_create(struct invocation *inv)
{
    return session_run(inv, create);
}

/* ---- delete ---- */

static int remove_topics(struct session *s)
{
    struct invocation *inv = s->inv;
    struct delete_topics_request request;
    init_delete_topics_request(&request);
    request.timeout_ms = (int32_t)s->settings.request_timeout_ms;
    /* Which of the two is sent depends on the version. */
    request.topic_names =
        room_for_operands(s, sizeof(*request.topic_names), &request.topic_names_count);
    request.topics = room_for_operands(s, sizeof(*request.topics), &request.topics_count);
    for (uint32_t i = 0; i < inv->operand_count; i++) {
        request.topic_names[i] = str_of(inv->operands[i]);
        init_delete_topics_request_topic(&request.topics[i]);
        request.topics[i].name = str_of(inv->operands[i]);
    }
    struct delete_topics_response response;
    int code = cluster_ask_controller(s, KEY_DELETE_TOPICS, &request, &response, &s->arena);
    if (code != EXIT_OK)
        return code;
    struct report report;
    report_open(&report, s, false);
    for (int32_t i = 0; i < response.responses_count; i++) {
        const struct delete_topics_response_response *topic = &response.responses[i];
        report_add(&report, topic->name, topic->error_code, topic->error_message, "deleted", NULL);
    }
    return report_close(&report);
}

int cmd_topic_delete(struct invocation *inv)
{
    return session_run(inv, remove_topics);
}

/* ---- add-partitions ---- */

static int wanted_count(struct session *s, struct create_partitions_request_topic *topic, bool more,
                        int32_t number)
{
    topic->count = number;
    if (!more)
        return EXIT_OK;
    const char *name = text_of(s, topic->name);
    struct metadata_response metadata;
    int code = cluster_metadata(s, &name, 1, false, &metadata);
    if (code != EXIT_OK || metadata.topics_count < 1)
        return code;
    if (metadata.topics[0].error_code == ERR_NONE)
        topic->count += metadata.topics[0].partitions_count;
    return EXIT_OK; /* the broker says what is wrong with the others */
}

static int add_partitions(struct session *s)
{
    struct invocation *inv = s->inv;
    const char *text = option_text(inv, "partitions");
    int64_t number = 0;
    if (!text)
        return usage_error(inv, "--partitions is wanted: how many in all, or +N for N more");
    if (!option_number(inv, "partitions", 1, INT32_MAX, &number))
        return EXIT_USAGE;
    struct create_partitions_request request;
    init_create_partitions_request(&request);
    request.timeout_ms = (int32_t)s->settings.request_timeout_ms;
    request.validate_only = option_on(inv, "dry-run");
    request.topics = room_for_operands(s, sizeof(*request.topics), &request.topics_count);
    for (uint32_t i = 0; i < inv->operand_count; i++) {
        struct create_partitions_request_topic *topic = &request.topics[i];
        init_create_partitions_request_topic(topic);
        topic->name = str_of(inv->operands[i]);
        topic->assignments_count = -1;
        int code = wanted_count(s, topic, text[0] == '+', (int32_t)number);
        if (code != EXIT_OK)
            return code;
    }
    struct create_partitions_response response;
    int code = cluster_ask_controller(s, KEY_CREATE_PARTITIONS, &request, &response, &s->arena);
    if (code != EXIT_OK)
        return code;
    struct report report;
    report_open(&report, s, false);
    const char *done = request.validate_only ? "valid" : "grown";
    for (int32_t i = 0; i < response.results_count; i++) {
        const struct create_partitions_response_result *topic = &response.results[i];
        report_add(&report, topic->name, topic->error_code, topic->error_message, done, NULL);
    }
    return report_close(&report);
}

int cmd_topic_add_partitions(struct invocation *inv)
{
    return session_run(inv, add_partitions);
}

/* ---- alter ---- */

static bool alter_configs(struct session *s,
                          struct incremental_alter_configs_request_config *configs, int32_t *count)
{
    const char *text;
    *count = 0;
    for (uint32_t cursor = 0; (text = option_next(s->inv, "config", &cursor));) {
        if (*count == CONFIGS_MAX)
            return false;
        struct incremental_alter_configs_request_config *config = &configs[(*count)++];
        init_incremental_alter_configs_request_config(config);
        config->config_operation = CONFIG_SET;
        if (!split_config(s, text, &config->name, &config->value))
            return false;
    }
    for (uint32_t cursor = 0; (text = option_next(s->inv, "delete-config", &cursor));) {
        if (*count == CONFIGS_MAX)
            return false;
        struct incremental_alter_configs_request_config *config = &configs[(*count)++];
        init_incremental_alter_configs_request_config(config);
        config->config_operation = CONFIG_DELETE;
        config->name = str_of(text);
        config->value = str_null();
    }
    if (*count == 0)
        (void)usage_error(s->inv, "--config KEY=VALUE or --delete-config KEY is wanted");
    return *count > 0;
}

static int alter(struct session *s)
{
    struct invocation *inv = s->inv;
    struct incremental_alter_configs_request_config configs[CONFIGS_MAX];
    int32_t count;
    if (!alter_configs(s, configs, &count))
        return EXIT_USAGE;
    struct incremental_alter_configs_request request;
    init_incremental_alter_configs_request(&request);
    request.validate_only = option_on(inv, "dry-run");
    request.resources = room_for_operands(s, sizeof(*request.resources), &request.resources_count);
    for (uint32_t i = 0; i < inv->operand_count; i++) {
        init_incremental_alter_configs_request_resource(&request.resources[i]);
        request.resources[i].resource_type = CONFIG_OF_TOPIC;
        request.resources[i].resource_name = str_of(inv->operands[i]);
        request.resources[i].configs = configs;
        request.resources[i].configs_count = count;
    }
    struct incremental_alter_configs_response response;
    int code =
        cluster_ask_controller(s, KEY_INCREMENTAL_ALTER_CONFIGS, &request, &response, &s->arena);
    if (code != EXIT_OK)
        return code;
    struct report report;
    report_open(&report, s, false);
    const char *done = request.validate_only ? "valid" : "altered";
    for (int32_t i = 0; i < response.responses_count; i++) {
        const struct incremental_alter_configs_response_response *topic = &response.responses[i];
        report_add(&report, topic->resource_name, topic->error_code, topic->error_message, done,
                   NULL);
    }
    return report_close(&report);
}

int cmd_topic_alter(struct invocation *inv)
{
    return session_run(inv, alter);
}
