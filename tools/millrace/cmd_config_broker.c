/* SPDX-License-Identifier: Apache-2.0
 *
 * `millrace config show` and `millrace config set`: what brokers that run are set to.
 */
#include "net/err.h"
#include "tools/millrace/cluster.h"

#include <string.h>

#define ALL_BROKERS (-1)

/* ALL_BROKERS when none is named; false, and said, when that is no number. */
static bool broker_asked(const struct invocation *inv, int32_t *node)
{
    int64_t number = ALL_BROKERS;
    bool good = option_number(inv, "broker", 0, INT32_MAX, &number);
    *node = (int32_t)number;
    return good;
}

static int known(const struct session *s, const struct metadata_response *metadata, int32_t node)
{
    for (int32_t i = 0; i < metadata->brokers_count; i++)
        if (node == ALL_BROKERS || metadata->brokers[i].node_id == node)
            return EXIT_OK;
    complain(s->inv, "broker %d not found", (int)node);
    fputs("next:  millrace cluster brokers\n", stderr);
    return EXIT_PRESENCE;
}

/* ---- show ---- */

static int show_broker(struct session *s, const struct metadata_response *metadata, int32_t node,
                       struct listing *listing)
{
    char name[16];
    const char *part = s->inv->operand_count > 0 ? s->inv->operands[0] : "";
    struct broker_link *link = cluster_broker(s, metadata, node);
    if (!link)
        return EXIT_UNREACHABLE;
    (void)snprintf(name, sizeof(name), "%d", (int)node);
    json_t *rows = json_array();
    int code = cluster_configs(s, link, CONFIG_OF_BROKER, str_of(name), rows);
    size_t index;
    json_t *row;
    json_array_foreach(rows, index, row)
    {
        const char *source = json_string_value(json_object_get(row, "source"));
        bool is_default = strcmp(source, "DEFAULT_CONFIG") == 0;
        if ((is_default && !option_on(s->inv, "all")) ||
            !strstr(json_string_value(json_object_get(row, "name")), part))
            continue;
        (void)json_object_set_new(row, "broker", json_integer(node));
        listing_row(listing, json_incref(row));
    }
    json_decref(rows);
    return code;
}

static int show(struct session *s)
{
    static const struct column columns[] = {
        {.key = "broker", .title = "BROKER"},
        {.key = "name", .title = "KEY"},
        {.key = "value", .title = "VALUE"},
        {.key = "source", .title = "SOURCE"},
        {.key = "read_only", .title = "READ-ONLY", .wide = true},
    };
    int32_t node;
    struct metadata_response metadata;
    if (!broker_asked(s->inv, &node))
        return EXIT_USAGE;
    int code = cluster_metadata(s, NULL, 0, false, &metadata);
    if (code == EXIT_OK)
        code = known(s, &metadata, node);
    if (code != EXIT_OK)
        return code;
    struct tally tally = {0};
    struct listing *listing = listing_open(s->inv, columns, array_count(columns));
    for (int32_t i = 0; i < metadata.brokers_count; i++) {
        int32_t id = metadata.brokers[i].node_id;
        if (node == ALL_BROKERS || node == id)
            tally_add(&tally, show_broker(s, &metadata, id, listing));
    }
    listing_close(listing);
    if (!option_on(s->inv, "all") && format_is_table(s->inv))
        note(s->inv, "what is not as by default; --all shows the rest");
    return tally_code(&tally);
}

int cmd_config_show(struct invocation *inv)
{
    return session_run(inv, show);
}

/* ---- set ---- */

static int change_of(const struct session *s, const char *text,
                     struct incremental_alter_configs_request_config *change)
{
    const char *equals = strchr(text, '=');
    init_incremental_alter_configs_request_config(change);
    if (!equals || equals == text)
        return usage_error(s->inv, "'%s': KEY=VALUE is wanted, or --delete KEY", text);
    change->name = (struct str){text, (int32_t)(equals - text)};
    change->value = str_of(equals + 1);
    change->config_operation = CONFIG_SET;
    return EXIT_OK;
}

static int changes_of(struct session *s, struct incremental_alter_configs_request_resource *of)
{
    const char *text;
    of->configs =
        arena_array(&s->arena, s->inv->operand_count + s->inv->given_count, sizeof(*of->configs));
    must(of->configs != NULL);
    of->configs_count = 0;
    for (uint32_t i = 0; i < s->inv->operand_count; i++) {
        int code = change_of(s, s->inv->operands[i], &of->configs[of->configs_count++]);
        if (code != EXIT_OK)
            return code;
    }
    for (uint32_t cursor = 0; (text = option_next(s->inv, "delete", &cursor));) {
        struct incremental_alter_configs_request_config *change = &of->configs[of->configs_count++];
        init_incremental_alter_configs_request_config(change);
        change->name = str_of(text);
        change->value = str_null();
        change->config_operation = CONFIG_DELETE;
    }
    return of->configs_count > 0 ? EXIT_OK
                                 : usage_error(s->inv, "KEY=VALUE or --delete KEY is wanted");
}

static int set_report(struct session *s, const struct incremental_alter_configs_request *request,
                      const struct incremental_alter_configs_response *response, int32_t node)
{
    static const struct column columns[] = {
        {.key = "broker", .title = "BROKER"},
        {.key = "key", .title = "KEY"},
        {.key = "result", .title = "RESULT"},
    };
    const struct incremental_alter_configs_request_resource *of = &request->resources[0];
    int16_t error = response->responses_count > 0 ? response->responses[0].error_code
                                                  : (int16_t)ERR_UNKNOWN_SERVER_ERROR;
    const char *done = request->validate_only ? "valid" : "set";
    struct listing *listing = listing_open_report(s->inv, columns, array_count(columns));
    for (int32_t i = 0; i < of->configs_count; i++) {
        const struct incremental_alter_configs_request_config *change = &of->configs[i];
        bool removed = change->config_operation == CONFIG_DELETE && !request->validate_only;
        listing_row(listing,
                    json_pack("{s:o, s:o, s:s, s:s?}", "broker",
                              node == ALL_BROKERS ? json_string("all") : json_integer(node), "key",
                              json_of(change->name), "result",
                              error     ? "failed"
                              : removed ? "deleted"
                                        : done,
                              "error", error ? err_name(error) : NULL));
    }
    listing_close(listing);
    if (error == ERR_NONE)
        return EXIT_OK;
    return broker_error(s, "the configuration", error,
                        response->responses_count > 0 ? response->responses[0].error_message
                                                      : str_null());
}

static int set(struct session *s)
{
    char name[16] = "";
    int32_t node;
    struct metadata_response metadata;
    struct incremental_alter_configs_request request;
    struct incremental_alter_configs_request_resource resource;
    struct incremental_alter_configs_response response;
    init_incremental_alter_configs_request(&request);
    init_incremental_alter_configs_request_resource(&resource);
    if (!broker_asked(s->inv, &node))
        return EXIT_USAGE;
    int code = changes_of(s, &resource);
    if (code == EXIT_OK)
        code = cluster_metadata(s, NULL, 0, false, &metadata);
    if (code == EXIT_OK)
        code = known(s, &metadata, node);
    if (code != EXIT_OK)
        return code;
    if (node != ALL_BROKERS)
        (void)snprintf(name, sizeof(name), "%d", (int)node);
    resource.resource_type = CONFIG_OF_BROKER;
    resource.resource_name = str_of(name);
    request.resources = &resource;
    request.resources_count = 1;
    request.validate_only = option_on(s->inv, "dry-run");
    /* Kafka wants to hear of a broker what is of that broker alone. */
    struct broker_link *link =
        node == ALL_BROKERS ? cluster_controller(s) : cluster_broker(s, &metadata, node);
    if (!link)
        return EXIT_UNREACHABLE;
    code = session_call(s, link, KEY_INCREMENTAL_ALTER_CONFIGS, CLIENT_NEWEST, &request, &response,
                        &s->arena);
    return code == EXIT_OK ? set_report(s, &request, &response, node) : code;
}

int cmd_config_set(struct invocation *inv)
{
    return session_run(inv, set);
}
